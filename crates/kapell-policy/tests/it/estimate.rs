use std::sync::Arc;

use kapell_core::{
    budget::{Amount, Limits},
    command::{Command, Exit},
    event::{Outputs, PlanRef, decode},
    id::{AttemptNo, RunId, TaskId},
    journal::Actor,
    mission::Mission,
    plan::{ChildSpec, Definition, Estimate, Plan, PlanBuilder, PlanLimits, Work},
    run::Run,
    task::Slots,
    time::{Elapsed, Millis, Now, Wall},
};
use kapell_policy::{
    estimate::{Basis, Lengths, Sampling, assumed, finish, remaining},
    history::{History, Observer, key, quantile},
    schedule::{Problem, State},
};

const SLOTS: Slots = Slots::new(2, 2);
const SAMPLING: Sampling = Sampling { samples: 1000, seed: 7 };

fn run_of(script: &str) -> Definition {
    Definition::new(Work::Run(script.to_owned()))
}

fn estimated(p50: u64, p90: u64) -> Definition {
    let estimate = Estimate { p50: Millis::from_secs(p50), p90: Millis::from_secs(p90) };
    Definition { estimate: Some(estimate), ..run_of("make") }
}

/// A chain of tasks of these definitions.
fn chain(definitions: impl IntoIterator<Item = Definition>) -> Plan {
    let mut builder = PlanBuilder::new();
    let mut last: Option<TaskId> = None;
    for (at, definition) in definitions.into_iter().enumerate() {
        let definition = builder.define(definition);
        last = Some(builder.task(&format!("t{at}"), definition, last.as_slice()));
    }
    builder.seal(PlanLimits::default()).unwrap()
}

#[test]
fn one_task_ends_as_its_estimate_says() {
    let plan = chain([estimated(100, 200)]);
    let lengths = Lengths::of(&plan, &History::default(), SLOTS);
    let sampling = Sampling { samples: 4000, ..SAMPLING };
    let end = finish(&plan, &lengths, SLOTS, sampling);
    assert!(end.p50.0.abs_diff(100_000) < 3_000, "{end:?}");
    assert!(end.p90.0.abs_diff(200_000) < 8_000, "{end:?}");
    assert_eq!((end.samples, end.seed, end.assumed), (4000, 7, 0));
    assert_eq!(end, finish(&plan, &lengths, SLOTS, sampling), "the same seed gives the same");
    let other = finish(&plan, &lengths, SLOTS, Sampling { seed: 8, ..sampling });
    assert_ne!(end.p50, other.p50);
}

#[test]
fn many_tasks_vary_less_and_take_longer_than_their_medians() {
    let plan = chain((0..25).map(|_| estimated(100, 200)));
    let lengths = Lengths::of(&plan, &History::default(), SLOTS);
    let end = finish(&plan, &lengths, SLOTS, SAMPLING);
    // The mean of one is 115.7 s with a standard deviation of 67.5 s, so 25 take 2893 s with one of 338 s.
    assert!(end.p50.0.abs_diff(2_875_000) < 60_000, "{end:?}");
    assert!(end.p90.0.abs_diff(3_335_000) < 80_000, "{end:?}");
}

#[test]
fn what_is_known_best_is_taken() {
    let mut history = History::default();
    let plan = chain([run_of("a"), run_of("b"), estimated(5, 9), run_of("d")]);
    let add = |history: &mut History, task: u32, lengths: std::ops::RangeInclusive<u64>| {
        let key = key(&plan, plan.definition(TaskId(task)));
        lengths.for_each(|secs| history.add(key, Millis::from_secs(secs)));
    };
    add(&mut history, 0, 1..=11);
    add(&mut history, 1, 4..=6);
    add(&mut history, 2, 1..=9);
    add(&mut history, 3, 1..=2);
    let lengths = Lengths::of(&plan, &history, SLOTS);
    let of = |task: u32| {
        let known = lengths.task(&plan, TaskId(task));
        (known.estimate.p50.0, known.estimate.p90.0, known.basis)
    };
    assert_eq!(of(0), (6_000, 10_000, Basis::Learnt { samples: 11 }), "ten attempts or more");
    assert_eq!(
        of(1),
        (5_000, 60_000, Basis::Learnt { samples: 3 }),
        "a median, with the spread that is assumed"
    );
    assert_eq!(of(2), (5_000, 9_000, Basis::Given), "nine attempts do not outweigh the file");
    let prior = assumed(&Work::Run(String::new()));
    assert_eq!(of(3), (prior.p50.0, prior.p90.0, Basis::Assumed), "two attempts say nothing");
    assert_eq!(finish(&plan, &lengths, SLOTS, SAMPLING).assumed, 1);
}

#[test]
fn work_is_known_again_by_what_it_does() {
    let plan = chain([run_of("a"), run_of("b")]);
    let of = |definition: &Definition| key(&plan, definition);
    let same = Definition { timeout: Some(Millis(5)), accept: vec!["x".to_owned()], ..run_of("a") };
    assert_eq!(of(&run_of("a")), of(&same));
    assert_ne!(of(&run_of("a")), of(&run_of("b")));
}

#[test]
fn quantiles_lie_between_values() {
    let values = [10, 20, 30, 40].map(Millis);
    assert_eq!([0.0, 0.5, 0.9, 1.0].map(|p| quantile(&values, p).0), [10, 25, 37, 40]);
    assert_eq!(quantile(&values[..1], 0.9), Millis(10));
}

#[test]
fn a_nested_workflow_takes_as_long_as_its_tasks() {
    let inner = chain([estimated(100, 200), estimated(100, 200)]);
    let child =
        ChildSpec { objective: String::new(), plan: Arc::new(inner), accept: Vec::new(), saga: false };
    let plan = chain([Definition::new(Work::Workflow(Box::new(child)))]);
    let known = Lengths::of(&plan, &History::default(), SLOTS).task(&plan, TaskId(0));
    assert_eq!(known.basis, Basis::Given);
    assert!((190_000..260_000).contains(&known.estimate.p50.0), "{known:?}");
    assert!(known.estimate.p90 > known.estimate.p50);
}

#[test]
fn a_timeout_bounds_what_is_drawn() {
    let plan = chain([Definition { timeout: Some(Millis(90_000)), ..estimated(100, 1000) }]);
    let lengths = Lengths::of(&plan, &History::default(), SLOTS);
    assert_eq!(finish(&plan, &lengths, SLOTS, SAMPLING).p90, Millis(90_000));
}

/// A run of two tasks, one after the other, whose rows are kept.
struct World {
    run: Run,
    history: History,
    observer: Observer,
}

impl World {
    fn new(plan: Plan) -> Self {
        let mut world = Self {
            run: Run::new(RunId([1; 16])),
            history: History::default(),
            observer: Observer::default(),
        };
        let limits = Limits { jobs: 2, agents: 2, ..Limits::default() };
        let mission = Box::new(Mission { limits, ..Mission::default() });
        world.does(0, Command::Create { mission, plan: PlanRef::Inline(Arc::new(plan)) });
        world
    }

    fn does(&mut self, secs: u64, command: Command) {
        let batch = self.run.batch([(Actor::Engine, command)], now(secs)).unwrap();
        batch.replies.into_iter().for_each(|reply| reply.unwrap());
        for row in &batch.rows {
            let events = decode(&row.body).unwrap();
            self.observer.row(row, &events, &self.run, &mut self.history);
        }
    }

    fn ends(&mut self, secs: u64, task: u32) {
        let exit = Exit::Succeeded { change: None, outputs: Outputs::new(), spent: Amount::ZERO };
        self.does(secs, Command::Finish { task: TaskId(task), attempt: AttemptNo(1), exit });
    }

    fn left(&self, secs: u64) -> (u64, u64) {
        let lengths = Lengths::of(self.run.plan(), &History::default(), SLOTS);
        let finish = remaining(&self.run, now(secs), &lengths, Sampling { samples: 4000, seed: 3 });
        (finish.p50.0 / 1000, finish.p90.0 / 1000)
    }
}

fn now(secs: u64) -> Now {
    Now { wall: Wall(secs as i64 * 1000), elapsed: Elapsed(secs * 1000) }
}

#[test]
fn what_is_left_shrinks_as_work_is_done() {
    let mut world = World::new(chain([estimated(100, 200), estimated(60, 90)]));
    let (start, _) = world.left(0);
    assert!((160..190).contains(&start), "{start}");
    let (halfway, _) = world.left(80);
    assert!(halfway < start - 30, "{halfway}");
    // Overdue: the first is expected to end soon, and the second is still to come.
    let (late, late_p90) = world.left(400);
    assert!((61..180).contains(&late) && late_p90 < 500, "{late} {late_p90}");
    world.ends(100, 0);
    let (second, p90) = world.left(100);
    assert!(second.abs_diff(60) < 3 && p90.abs_diff(90) < 5, "{second} {p90}");
    world.ends(150, 1);
    assert_eq!(world.left(150), (0, 0));
    assert_eq!(world.run.outcome(), Some(kapell_core::event::Outcome::Succeeded));
}

#[test]
fn attempts_that_end_well_are_learnt_from() {
    let mut world = World::new(chain([run_of("a"), run_of("b")]));
    world.ends(30, 0);
    world.ends(75, 1);
    let plan = world.run.plan();
    let learnt = |task: u32| world.history.samples(key(plan, plan.definition(TaskId(task))));
    assert_eq!((learnt(0), learnt(1)), (1, 1));
    let text = serde_json::to_string(&world.history).unwrap();
    assert_eq!(serde_json::from_str::<History>(&text).unwrap(), world.history);
    assert!(text.contains("[30000]") && text.contains("[45000]"), "{text}");
}

#[test]
fn a_large_plan_is_estimated_in_time() {
    let mut builder = PlanBuilder::new();
    let work = builder.define(estimated(10, 20));
    for task in 0..20_000_u32 {
        let need = task.checked_sub(100).map(TaskId);
        builder.task(&format!("t{task}"), work, need.as_slice());
    }
    let plan = builder.seal(PlanLimits::default()).unwrap();
    let sampling = Sampling::for_plan(&plan, 1);
    assert_eq!(sampling.samples, 100);
    let slots = Slots::new(0, 50);
    let length = vec![Millis::from_secs(10); plan.len()];
    let schedule = Problem::of(&plan, slots).schedule(&length, &State::default());
    assert_eq!(schedule.makespan(), Millis::from_secs(4_000));
    let lengths = Lengths::of(&plan, &History::default(), slots);
    let end = finish(&plan, &lengths, slots, Sampling { samples: 3, ..sampling });
    assert!((4_500_000..5_000_000).contains(&end.p50.0), "{end:?}");
}
