use kapell_core::{
    budget::Amount,
    command::{Command, Exit, Verdict},
    id::{AttemptNo, GateId, ProbeId, RunId, TaskId},
    landing::Probed,
    plan::{Definition, PlanBuilder, Work},
    retry::FailureClass,
};
use kapell_view::next::{answer, command};

use crate::world::{World, mission, oid};

fn next(world: &World, owned: bool) -> String {
    let id = kapell_view::text::short(world.run.id());
    command(&world.run, owned).map_or("-".to_owned(), |text| text.replace(&id, "RUN"))
}

#[test]
fn every_standstill_has_a_way_on() {
    let mut world = World::standard();
    assert_eq!(next(&world, true), "kapell watch RUN");
    assert_eq!(next(&world, false), "kapell resume RUN");
    world.does(Command::Pause);
    assert_eq!(next(&world, true), "kapell resume RUN");
    world.does(Command::Cancel);
    assert_eq!(next(&world, true), "kapell watch RUN");
    assert_eq!(next(&world, false), "kapell resume RUN");
    for task in 0..2 {
        let spent = Amount::ZERO;
        let exit =
            Exit::Failed { class: FailureClass::Transient, message: String::new(), spent, until: None };
        world.does(Command::Finish { task: TaskId(task), attempt: AttemptNo(1), exit });
    }
    assert_eq!(next(&world, false), "kapell report RUN");
}

#[test]
fn a_person_who_is_waited_for_is_told_what_to_answer() {
    let mut world = World::standard();
    world.gives(1, None, &[]).gives(0, None, &[]).gives(2, None, &[]);
    assert_eq!(next(&world, true), "kapell answer RUN 0 yes");
    assert_eq!(next(&world, false), "kapell answer RUN 0 yes", "resuming would not help");
    world.answers(0, "no");
    assert_eq!(next(&world, false), "kapell logs RUN --failed");
}

#[test]
fn a_change_that_a_person_must_look_at_is_no_reason_to_resume() {
    let accept = vec!["sh tests/check.sh".parse().unwrap()];
    let mut builder = PlanBuilder::new();
    let work = builder.define(Definition { accept, ..Definition::new(Work::Run("make".to_owned())) });
    builder.task("parser", work, &[]);
    let mut world = World::new(mission(), builder.seal(Default::default()).unwrap());
    world.gives(0, Some('d'), &[]);
    let verdict = Verdict::Doubtful { question: "it touched its test: accept?".to_owned() };
    let (task, attempt) = (TaskId(0), AttemptNo(1));
    assert_eq!(next(&world, false), "kapell resume RUN", "it is still to be checked");
    world.does(Command::Judge { task, attempt, verdict });
    assert_eq!(next(&world, false), "kapell answer RUN 0 accept");
}

#[test]
fn what_landed_is_to_be_merged() {
    let mut world = World::to_the_end();
    assert_eq!(next(&world, false), "kapell merge RUN");
    world.merges();
    assert_eq!(next(&world, false), "-");
    let empty = World::new(mission(), PlanBuilder::new().seal(Default::default()).unwrap());
    assert_eq!(next(&empty, false), "-", "nothing landed, so there is nothing to merge");
}

#[test]
fn pauses_say_what_would_help() {
    let mut poor = mission();
    poor.limits.usd_micros = Some(100_000);
    let mut world = World::new(poor, crate::world::plan());
    world.gives(1, None, &[]);
    assert_eq!(next(&world, true), "kapell resume RUN --budget LIMIT");

    let mut world = World::standard();
    world.fails(0, FailureClass::Permission, "no").gives(1, Some('d'), &[]);
    let red = |probe: u32, tips: Vec<_>| Command::Probed {
        probe: ProbeId(probe),
        outcome: Probed::Red { tips, message: "red".to_owned() },
    };
    world.does(red(0, vec![oid('1')])).does(red(1, vec![oid('1')])).does(red(2, Vec::new()));
    assert_eq!(next(&world, true), "kapell cancel RUN");
}

#[test]
fn answers_are_typed_only_as_they_are_meant() {
    let run = RunId([0; 16]);
    let of =
        |choice: Option<&str>| answer(run, GateId(3), choice).replace("kapell answer 000000000000 3 ", "");
    assert_eq!(of(Some("give up")), "'give up'");
    assert_eq!(of(Some("$(rm -rf ~)")), "'$(rm -rf ~)'");
    assert_eq!([of(None), of(Some("\x1b[2J")), of(Some(&"x".repeat(25)))], ["ANSWER"; 3]);
}
