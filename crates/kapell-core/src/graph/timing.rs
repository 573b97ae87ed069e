//! Lengths put on a graph: how early and how late each task can run, and how short a run can be at best.

use super::Graph;
use crate::{id::TaskId, time::Millis};

/// The most tasks for which [`Timing::makespan_bound`] looks at intervals: the work grows with their cube.
const INTERVAL_TASKS_MAX: usize = 256;

/// When each task of a graph can and must run if nothing but needs holds it up.
///
/// Source: Kelley and Walker, "Critical-Path Planning and Scheduling", 1959.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    length: Vec<Millis>,
    earliest: Vec<Millis>,
    latest: Vec<Millis>,
    total: Millis,
}

impl Graph {
    /// Computes when each task can and must run, given how long each takes.
    #[must_use]
    pub fn timing(&self, length: impl Fn(TaskId) -> Millis) -> Timing {
        let length: Vec<Millis> = self.tasks().map(length).collect();
        let order = self.order();
        let mut earliest = vec![Millis(0); self.len()];
        let mut total = Millis(0);
        for &task in &order {
            let start =
                self.needs(task).iter().map(|need| after(earliest[need.index()], length[need.index()]));
            let start = start.max().unwrap_or_default();
            earliest[task.index()] = start;
            total = total.max(after(start, length[task.index()]));
        }
        let mut latest = vec![Millis(0); self.len()];
        for &task in order.iter().rev() {
            let end = self.dependents(task).iter().map(|next| latest[next.index()]).min().unwrap_or(total);
            latest[task.index()] = Millis(end.0.saturating_sub(length[task.index()].0));
        }
        Timing { length, earliest, latest, total }
    }

    /// Returns how many tasks the widest wave has: so many can certainly run at the same time.
    ///
    /// No two tasks of one wave need each other, so this is a lower bound of the largest antichain; that itself
    /// would take a matching over the transitive closure (Dilworth, 1950), which large graphs cannot afford.
    #[must_use]
    pub fn width(&self) -> usize {
        let waves = self.waves();
        let mut sizes = vec![0_usize; waves.iter().max().map_or(0, |last| *last as usize + 1)];
        for wave in waves {
            sizes[wave as usize] += 1;
        }
        sizes.into_iter().max().unwrap_or(0)
    }
}

fn after(start: Millis, length: Millis) -> Millis {
    Millis(start.0.saturating_add(length.0))
}

impl Timing {
    /// Returns the length of the critical path: how long the run takes if there is always room.
    #[must_use]
    pub fn total(&self) -> Millis {
        self.total
    }

    /// Returns how long `task` takes.
    #[must_use]
    pub fn length(&self, task: TaskId) -> Millis {
        self.length[task.index()]
    }

    /// Returns when `task` can start at the earliest.
    #[must_use]
    pub fn earliest(&self, task: TaskId) -> Millis {
        self.earliest[task.index()]
    }

    /// Returns when `task` must start at the latest if the run is not to take longer than [`Timing::total`].
    #[must_use]
    pub fn latest(&self, task: TaskId) -> Millis {
        self.latest[task.index()]
    }

    /// Returns how long `task` may start late without delaying the run.
    #[must_use]
    pub fn slack(&self, task: TaskId) -> Millis {
        Millis(self.latest[task.index()].0.saturating_sub(self.earliest[task.index()].0))
    }

    /// Tells whether `task` has no slack.
    #[must_use]
    pub fn is_critical(&self, task: TaskId) -> bool {
        self.slack(task) == Millis(0)
    }

    /// Returns the tasks of one critical path of `graph`, from its start to its end; of several the one with the
    /// smallest ids.
    #[must_use]
    pub fn critical_path(&self, graph: &Graph) -> Vec<TaskId> {
        let first = |task: &TaskId| self.is_critical(*task) && graph.needs(*task).is_empty();
        let mut at = graph.tasks().find(first);
        let mut path = Vec::new();
        while let Some(task) = at {
            path.push(task);
            let end = after(self.earliest(task), self.length(task));
            let follows = |next: &&TaskId| self.is_critical(**next) && self.earliest(**next) == end;
            at = graph.dependents(task).iter().find(follows).copied();
        }
        path
    }

    /// Returns a time in whole milliseconds below which no run can end, if at most `slots` of the tasks that
    /// `counts` picks run at the same time.
    ///
    /// The greatest of: the critical path; the work of the picked tasks divided by `slots`; and, for up to 256 picked
    /// tasks, the critical path prolonged by the worst interval, in which more work must fall than `slots` can do.
    /// Source of the last: Fernandez and Bussell, "Bounds on the number of processors and time for multiprocessor
    /// optimal schedules", 1973.
    #[must_use]
    pub fn makespan_bound(&self, counts: impl Fn(TaskId) -> bool, slots: u32) -> Millis {
        let slots = u64::from(slots.max(1));
        let picked: Vec<TaskId> = (0..u32::try_from(self.length.len()).unwrap_or(u32::MAX))
            .map(TaskId)
            .filter(|&t| counts(t))
            .collect();
        let work = picked.iter().fold(0_u64, |sum, task| sum.saturating_add(self.length(*task).0));
        let simple = self.total.0.max(work.div_ceil(slots));
        if picked.len() > INTERVAL_TASKS_MAX {
            return Millis(simple);
        }
        Millis(simple.max(self.total.0.saturating_add(self.worst_interval(&picked, slots))))
    }

    /// Returns by how much the work that must fall into some interval exceeds what `slots` can do in it, in time.
    fn worst_interval(&self, picked: &[TaskId], slots: u64) -> u64 {
        let ends = |start: Millis, task: TaskId| after(start, self.length(task)).0;
        let mut from: Vec<u64> = picked.iter().map(|task| self.earliest(*task).0).collect();
        let mut to: Vec<u64> = picked.iter().map(|task| ends(self.latest(*task), *task)).collect();
        for bounds in [&mut from, &mut to] {
            bounds.sort_unstable();
            bounds.dedup();
        }
        // A task moved between its earliest and its latest place has the least overlap at one of the two.
        let overlap = |task: TaskId, from: u64, to: u64| {
            let at = |start: Millis| ends(start, task).min(to).saturating_sub(start.0.max(from));
            at(self.earliest(task)).min(at(self.latest(task)))
        };
        let mut worst = 0;
        for &from in &from {
            for &to in to.iter().filter(|to| **to > from) {
                let work: u64 = picked.iter().map(|task| overlap(*task, from, to)).sum();
                worst = worst.max(work.div_ceil(slots).saturating_sub(to - from));
            }
        }
        worst
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::GraphBuilder;

    fn graph(needs: &[&[u32]]) -> Graph {
        let mut builder = GraphBuilder::default();
        for list in needs {
            builder.add(&list.iter().copied().map(TaskId).collect::<Vec<_>>());
        }
        builder.seal().unwrap()
    }

    #[test]
    fn a_diamond_has_slack_on_its_short_side() {
        let diamond = graph(&[&[], &[0], &[0], &[1, 2]]);
        let timing = diamond.timing(|task| Millis([10, 50, 20, 5][task.index()]));
        assert_eq!(timing.total(), Millis(65));
        assert_eq!(diamond.tasks().map(|task| timing.slack(task).0).collect::<Vec<_>>(), [0, 0, 30, 0]);
        assert_eq!(timing.critical_path(&diamond), [0, 1, 3].map(TaskId));
        assert_eq!((timing.earliest(TaskId(2)), timing.latest(TaskId(2))), (Millis(10), Millis(40)));
        assert_eq!(diamond.width(), 2);
    }

    #[test]
    fn tasks_without_length_do_not_break_the_critical_path() {
        let chain = graph(&[&[], &[0], &[1], &[]]);
        let timing = chain.timing(|task| Millis([0, 7, 0, 3][task.index()]));
        assert_eq!(timing.critical_path(&chain), [0, 1, 2].map(TaskId));
        assert_eq!(timing.slack(TaskId(3)), Millis(4));
        assert_eq!(graph(&[]).timing(|_| Millis(1)).total(), Millis(0));
        assert_eq!(graph(&[]).width(), 0);
    }

    #[test]
    fn the_bound_takes_the_worst_of_path_work_and_intervals() {
        // One before, four in the middle, one after; each takes 10.
        let fork = graph(&[&[], &[0], &[0], &[0], &[0], &[1, 2, 3, 4]]);
        let timing = fork.timing(|_| Millis(10));
        let bound = |slots| timing.makespan_bound(|_| true, slots).0;
        assert_eq!(bound(4), 30, "the critical path");
        assert_eq!(bound(1), 60, "all of the work");
        // Neither the path (30) nor the work (60 / 2 = 30) sees that the ends leave a slot idle.
        assert_eq!(bound(2), 40, "the interval of the four");
        assert_eq!(timing.makespan_bound(|task| task.0 == 0, 1).0, 30, "others do not count");
    }

    proptest! {
        #[test]
        fn moving_a_task_within_its_slack_keeps_the_length(
            lists in prop::collection::vec((0_u64..50, prop::collection::vec(0_u32..30, 0..4)), 1..30),
            moved in 0_usize..30,
        ) {
            let needs: Vec<Vec<u32>> = lists.iter().enumerate()
                .map(|(task, (_, needs))| needs.iter().copied().filter(|&need| (need as usize) < task).collect())
                .collect();
            let graph = graph(&needs.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let moved = TaskId(u32::try_from(moved % graph.len()).unwrap());
            let timing = graph.timing(|task| Millis(lists[task.index()].0));
            // Starting a task late by its slack is the same as making it that much longer.
            let longer = |more: u64| graph.timing(|task| {
                Millis(lists[task.index()].0 + if task == moved { more } else { 0 })
            });
            prop_assert_eq!(longer(timing.slack(moved).0).total(), timing.total());
            prop_assert_eq!(longer(timing.slack(moved).0 + 1).total().0, timing.total().0 + 1);
            let path = timing.critical_path(&graph);
            let sum: u64 = path.iter().map(|task| timing.length(*task).0).sum();
            prop_assert_eq!(sum, timing.total().0);
            prop_assert!(graph.tasks().all(|task| timing.earliest(task) <= timing.latest(task)));
        }
    }
}
