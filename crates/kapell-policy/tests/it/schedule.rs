use kapell_core::{id::TaskId, plan::Plan, task::Slots, time::Millis};
use kapell_policy::schedule::{Cause, Problem, Schedule, Simulator, State};
use proptest::prelude::*;

use crate::plans::{Drawn, NOTHING, drawn, id, known, plan};

#[test]
fn known_plans_have_their_known_makespans() {
    for known in known() {
        for (agents, bound, makespan) in &known.answers {
            let problem = Problem::ranked(&known.graph, &known.length, *agents);
            let schedule = problem.schedule(&known.length, &State::default());
            assert_eq!(schedule.makespan().0, *makespan, "{} on {agents}", known.name);
            let ours = problem.bound(&known.length).0;
            assert!(ours >= *bound && ours <= *makespan, "{} on {agents}: {ours}", known.name);
        }
        assert_eq!(known.graph.timing(|task| known.length[task.index()]).total().0, known.critical_path);
    }
}

#[test]
fn intervals_sharpen_the_bound_of_some_known_plans() {
    let sharper = known().into_iter().flat_map(|known| {
        let problem = |agents| Problem::ranked(&known.graph, &known.length, agents).bound(&known.length).0;
        known.answers.iter().map(|(agents, bound, _)| problem(*agents) > *bound).collect::<Vec<_>>()
    });
    let sharper = sharper.filter(|sharper| *sharper).count();
    assert!(sharper > 0);
}

const SLOTS: Slots = Slots::new(2, 3);

fn lengths(tasks: &[Drawn]) -> Vec<Millis> {
    tasks.iter().map(|task| Millis(task.length)).collect()
}

/// Fails unless the schedule keeps every rule; `before` is what was settled at the start.
fn check(plan: &Plan, tasks: &[Drawn], schedule: &Schedule, settled: &[bool]) {
    let is_settled = |task: TaskId| settled.get(task.index()).copied().unwrap_or(false);
    let open: Vec<TaskId> = plan.graph().tasks().filter(|task| !is_settled(*task)).collect();
    for &task in &open {
        assert_eq!(schedule.finish(task).0 - schedule.start(task).0, tasks[task.index()].length);
        for &need in plan.graph().needs(task) {
            assert!(schedule.start(task) >= schedule.finish(need), "{task} starts before {need} ends");
        }
    }
    let runs_at = |task: TaskId, at: Millis| schedule.start(task) <= at && at < schedule.finish(task);
    for &task in &open {
        // What overlaps with others begins while they run, so the starts are all there is to look at.
        let at = schedule.start(task);
        let running: Vec<TaskId> = open.iter().copied().filter(|other| runs_at(*other, at)).collect();
        let of = |room: u8| running.iter().filter(|other| tasks[other.index()].room == room).count();
        assert!(of(0) <= SLOTS.jobs as usize && of(1) <= SLOTS.agents as usize);
        for claim in 0..3 {
            let holders = running.iter().filter(|other| tasks[other.index()].claim == Some(claim)).count();
            assert!(holders <= 1, "claim {claim} is held by {holders}");
        }
    }
    let last = open.iter().map(|task| schedule.finish(*task)).max().unwrap_or_default();
    assert_eq!(schedule.makespan(), last);
}

/// Nothing waits while there is room, and the critical chain has no gaps.
fn check_greedy(plan: &Plan, tasks: &[Drawn], schedule: &Schedule) {
    for task in plan.graph().tasks() {
        let ready =
            plan.graph().needs(task).iter().map(|need| schedule.finish(*need)).max().unwrap_or_default();
        let start = schedule.start(task);
        if tasks[task.index()].room == NOTHING && tasks[task.index()].claim.is_none() {
            assert_eq!(start, ready);
        }
        match schedule.cause(task) {
            None => assert_eq!(start, Millis(0)),
            Some(Cause::Need(need)) => {
                assert!(plan.graph().needs(task).contains(&need));
                assert_eq!(schedule.finish(need), start);
            }
            Some(Cause::Room(other)) => {
                assert!(start > ready);
                assert_eq!(schedule.finish(other), start);
            }
        }
    }
    let chain = schedule.critical_chain();
    let sum: u64 = chain.iter().map(|task| tasks[task.index()].length).sum();
    assert_eq!(sum, schedule.makespan().0);
}

proptest! {
    #[test]
    fn schedules_keep_needs_and_slots(tasks in drawn(false)) {
        let plan = plan(&tasks);
        let problem = Problem::of(&plan, SLOTS);
        let length = lengths(&tasks);
        let schedule = problem.schedule(&length, &State::default());
        check(&plan, &tasks, &schedule, &[]);
        check_greedy(&plan, &tasks, &schedule);
        prop_assert!(schedule.makespan() >= problem.bound(&length));
        prop_assert_eq!(&schedule, &problem.schedule(&length, &State::default()));
        // A simulator gives the same again when it is used again.
        let mut simulator = Simulator::new(&problem);
        let none = vec![Millis(0); length.len()];
        for _ in 0..2 {
            prop_assert_eq!(simulator.makespan(&length, &State::default()), schedule.makespan());
            prop_assert_eq!(simulator.makespan(&none, &State::default()), Millis(0));
        }
        let (jobs, agents) = schedule.utilisation();
        prop_assert!((0.0..=1.0).contains(&jobs) && (0.0..=1.0).contains(&agents));
    }

    #[test]
    fn claims_are_exclusive(tasks in drawn(true)) {
        let plan = plan(&tasks);
        let problem = Problem::of(&plan, SLOTS);
        let schedule = problem.schedule(&lengths(&tasks), &State::default());
        check(&plan, &tasks, &schedule, &[]);
        check_greedy(&plan, &tasks, &schedule);
        prop_assert!(schedule.makespan() >= problem.bound(&lengths(&tasks)));
    }

    #[test]
    fn a_run_under_way_is_carried_on(tasks in drawn(true), until in 0_u64..200) {
        let plan = plan(&tasks);
        let problem = Problem::of(&plan, SLOTS);
        let whole = problem.schedule(&lengths(&tasks), &State::default());
        let mut state = State { settled: vec![false; tasks.len()], ..State::default() };
        let mut rest = tasks.clone();
        for task in plan.graph().tasks() {
            let (start, finish) = (whole.start(task).0, whole.finish(task).0);
            if finish <= until {
                state.settled[task.index()] = true;
            } else if start < until {
                rest[task.index()].length = finish - until;
                state.running.push(task);
            }
        }
        let schedule = problem.schedule(&lengths(&rest), &state);
        check(&plan, &rest, &schedule, &state.settled);
        prop_assert!(state.running.iter().all(|task| schedule.start(*task) == Millis(0)));
    }
}

#[test]
fn a_task_that_must_wait_starts_no_earlier() {
    let drawn = |needs: &[usize]| Drawn { length: 10, room: 0, claim: None, needs: needs.to_vec() };
    let tasks = [drawn(&[]), drawn(&[]), drawn(&[0])];
    let plan = plan(&tasks);
    let state = State { not_before: vec![(id(1), Millis(25)), (id(2), Millis(5))], ..State::default() };
    let schedule = Problem::of(&plan, SLOTS).schedule(&lengths(&tasks), &state);
    let starts: Vec<u64> = plan.graph().tasks().map(|task| schedule.start(task).0).collect();
    assert_eq!((starts, schedule.makespan().0), (vec![0, 25, 10], 35));
}

#[test]
fn the_most_urgent_starts_first_and_the_chain_tells_why() {
    // One slot: the long chain 1 > 2 goes before task 0, though that comes first in the plan.
    let drawn = |length, needs: &[usize]| Drawn { length, room: 0, claim: None, needs: needs.to_vec() };
    let tasks = [drawn(5, &[]), drawn(5, &[]), drawn(20, &[1])];
    let plan = plan(&tasks);
    let problem = Problem::of(&plan, Slots::new(0, 1));
    let schedule = problem.schedule(&lengths(&tasks), &State::default());
    let starts: Vec<u64> = plan.graph().tasks().map(|task| schedule.start(task).0).collect();
    // All definitions are of unknown length, so the rank counts tasks: 1 is the only one with a task after it.
    assert_eq!(starts, [5, 0, 10]);
    assert_eq!(schedule.critical_chain(), [1, 0, 2].map(TaskId));
    assert_eq!(schedule.cause(TaskId(2)), Some(Cause::Room(TaskId(0))));
    assert_eq!(schedule.utilisation(), (1.0, 0.0));
    assert_eq!(problem.bound(&lengths(&tasks)), Millis(30));
}
