//! Large graphs: small states, and work per event that does not grow with the number of tasks.

use std::{mem::size_of, sync::Arc};

use kapell_core::{
    command::{Command, Exit},
    event::{Event, PlanRef},
    id::{RunId, TaskId},
    journal::Actor,
    mission::Mission,
    plan::{Definition, PlanBuilder, PlanLimits, Work},
    run::{Run, Task},
    task::{TaskEvent, TaskState},
    time::Now,
};

#[test]
fn a_task_costs_tens_of_bytes() {
    assert!(size_of::<TaskState>() <= 16, "{}", size_of::<TaskState>());
    assert!(size_of::<Task>() <= 24, "{}", size_of::<Task>());
    assert!(size_of::<TaskEvent>() <= 48, "{}", size_of::<TaskEvent>());
}

fn done(task: TaskId, attempt: kapell_core::id::AttemptNo) -> Command {
    let exit = Exit::Succeeded { change: None, outputs: Default::default(), spent: Default::default() };
    Command::Finish { task, attempt, exit }
}

/// Runs `tasks` tasks that need what `needs` says to their end; returns how many events and rows that took.
fn run(tasks: u32, needs: impl Fn(u32) -> Vec<u32>, definition: Definition) -> (usize, usize) {
    let mut builder = PlanBuilder::new();
    let definition = builder.define(definition);
    for task in 0..tasks {
        let needs: Vec<_> = needs(task).into_iter().map(TaskId).collect();
        builder.task(&format!("t{task}"), definition, &needs);
    }
    let plan = PlanRef::Inline(Arc::new(builder.seal(PlanLimits::default()).unwrap()));
    let mut mission = Mission::default();
    mission.limits.jobs = 64;
    let mut run = Run::new(RunId([1; 16]));
    let mut commands = vec![(Actor::Engine, Command::Create { mission: Box::new(mission), plan })];
    let (mut events, mut rows) = (0, 0);
    while !commands.is_empty() {
        let batch = run.batch(std::mem::take(&mut commands), Now::default()).unwrap();
        assert!(batch.replies.iter().all(Result::is_ok));
        events += batch.events.len();
        rows += batch.rows.len();
        for event in &batch.events {
            if let Event::Started { task, attempt, .. } = event {
                commands.push((Actor::Engine, done(*task, *attempt)));
            }
        }
    }
    assert!(run.outcome().is_some());
    assert_eq!(run.counts().of("done"), tasks);
    assert_eq!(run.counts().iter().collect::<Vec<_>>(), [("done", tasks)]);
    (events, rows)
}

// A hundred thousand tasks would take minutes if any step looked at all of them: that is what would be noticed.
#[test]
fn a_hundred_thousand_tasks_take_two_events_each() {
    for tasks in [1_000, 100_000] {
        let (events, rows) = run(tasks, |_| vec![], Definition::new(Work::Noop));
        // Made, planned, over; started and completed each.
        assert_eq!(events, 3 + 2 * tasks as usize);
        assert_eq!(rows, 1 + tasks as usize);
    }
}

#[test]
fn a_long_chain_and_a_wide_star_take_two_events_each() {
    let noop = || Definition::new(Work::Noop);
    let (events, _) = run(30_000, |task| task.checked_sub(1).into_iter().collect(), noop());
    assert_eq!(events, 3 + 2 * 30_000);
    let (events, _) = run(30_000, |task| if task == 29_999 { (0..29_999).collect() } else { vec![] }, noop());
    assert_eq!(events, 3 + 2 * 30_000);
}

#[test]
fn claims_that_are_all_the_same_take_turns() {
    let mut definition = Definition::new(Work::Noop);
    definition.claims = vec![kapell_core::expr::Template::parse("one").unwrap()];
    let (events, _) = run(2_000, |_| vec![], definition);
    // All but the first wait for the claim once.
    assert_eq!(events, 3 + 3 * 2_000 - 1);
}
