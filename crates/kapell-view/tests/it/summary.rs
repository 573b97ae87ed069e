use insta::assert_snapshot;
use kapell_core::{
    command::Command,
    id::{AttemptNo, RunId, TaskId},
    mission::Mission,
    time::Wall,
};
use kapell_view::{
    inbox::InboxView,
    summary::{ListView, RunSummary},
    text::plain,
};

use crate::world::{START, World, mission, plan};

#[test]
fn a_summary_is_short_and_comes_back() {
    let nasty = "\u{202e}\x1b\"\\".repeat(40);
    for objective in ["Fix the parser and release", &"ü".repeat(500), &nasty, ""] {
        let mission = Mission { objective: objective.to_owned(), ..mission() };
        let mut world = World::new(mission, plan());
        world.at(30).gives(1, Some('d'), &[]).lands(0, '1');
        let summary = RunSummary::of(&world.run, world.now());
        let text = summary.encode();
        assert!(text.len() <= 300, "{} bytes: {text}", text.len());
        assert_eq!(RunSummary::decode(&text), Some(summary));
    }
    assert_eq!(
        RunSummary::decode(r#"{"v":2,"objective":"","phase":"active","tasks":0,"elapsed_ms":0,"at_ms":0}"#),
        None
    );
    assert_eq!(RunSummary::decode("not JSON"), None);
}

#[test]
fn runs_are_listed() {
    let mut waiting = World::standard();
    waiting.at(30).gives(1, None, &[]).gives(0, None, &[]).gives(2, None, &[]);
    let landed = World::to_the_end();
    let mut active = World::standard();
    active.at(2);
    let summary = |world: &World| Some(RunSummary::of(&world.run, world.now()));
    let id = |at: u8| RunId([at; 16]);
    let runs = [
        (id(1), Wall(START), true, summary(&active)),
        (id(2), Wall(START - 100_000), false, summary(&active)),
        (id(3), Wall(START), false, summary(&landed)),
        (id(4), Wall(START), true, summary(&waiting)),
        (id(5), Wall(START), false, None),
    ];
    let view = ListView::new(runs);
    assert_snapshot!(plain(&view.lines(80, Wall(START + 400_000))), @r"
    run           state               done   cost     age  objective
    01040g208104  active               0/4  $0.00  6m 40s  Fix the parser and relea…
    02081040g208  interrupted          0/4  $0.00  8m 20s  Fix the parser and relea…
    030c1g60r30c  landed, not merged   4/4  $0.72  6m 40s  Fix the parser and relea…
    040g2081040g  1 waiting for you    3/4  $0.60  6m 40s  Fix the parser and relea…
    050m2ga1850m  unknown                          6m 40s
    next: kapell inbox 040g2081040g
    ");
    assert_snapshot!(plain(&view.lines(200, Wall(START + 400_000))), @r"
    run           state               done   cost     age  objective
    01040g208104  active               0/4  $0.00  6m 40s  Fix the parser and release
    02081040g208  interrupted          0/4  $0.00  8m 20s  Fix the parser and release
    030c1g60r30c  landed, not merged   4/4  $0.72  6m 40s  Fix the parser and release
    040g2081040g  1 waiting for you    3/4  $0.60  6m 40s  Fix the parser and release
    050m2ga1850m  unknown                          6m 40s
    next: kapell inbox 040g2081040g
    ");
    assert_snapshot!(plain(&ListView::new([]).lines(80, Wall(0))), @r"
    no runs yet
    next: kapell run FILE
    ");
}

#[test]
fn a_run_that_started_from_no_branch_is_merged_into_one_that_is_named() {
    let mut world = World::new(Mission { target: None, ..mission() }, plan());
    world.at(30).gives(1, Some('d'), &[]).lands(0, '1');
    world.gives(0, None, &[]).gives(2, None, &[]).answers(0, "yes");
    let list =
        ListView::new([(RunId([1; 16]), Wall(START), false, Some(RunSummary::of(&world.run, world.now())))]);
    assert_snapshot!(list.lines(80, Wall(START)).last().map(|line| plain(std::slice::from_ref(line))).unwrap(), @"next: kapell merge 01040g208104 --into BRANCH");
}

#[test]
fn what_waits_for_a_person_is_collected() {
    let mut waiting = World::standard();
    waiting.at(30).gives(1, None, &[]).gives(0, None, &[]).gives(2, None, &[]);
    let mut asking = World::standard();
    let choices = vec!["a rather long way to say it".to_owned()];
    let question = "which \u{202e}way?".to_owned();
    asking.at(1).does(Command::Ask { task: TaskId(0), attempt: AttemptNo(1), question, choices });
    let idle = World::standard();
    let inbox = InboxView::new([(&waiting.run, true), (&idle.run, true), (&asking.run, true)]);
    assert_snapshot!(plain(&inbox.lines(80)), @r"
    01m7xx9x80ex  Fix the parser and release
      ? release  Publish the release?  [yes | no]
          kapell answer 01m7xx9x80ex 0 yes
      ? parser  which <U+202E>way?  [a rather long way to say it]
          kapell answer 01m7xx9x80ex 0 ANSWER
    2 decisions in all
    next: kapell answer 01m7xx9x80ex 0 yes
    ");
    assert_snapshot!(plain(&InboxView::new([(&idle.run, false)]).lines(80)), @r"nothing waits for you");
}
