//! The graph of tasks: who needs whom, in what order, and how urgent each is.
//!
//! Edges are kept in compressed sparse rows, 4 bytes each in either direction, so that a graph of a million
//! tasks and two million edges takes tens of megabytes.

mod timing;

pub use timing::Timing;

use crate::id::TaskId;

/// Lists of task ids, one list per task, in two flat columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rows {
    /// `ends[i]` is where the list of task `i` ends in `items`; it begins where the one before ends.
    ends: Vec<u32>,
    items: Vec<TaskId>,
}

impl Rows {
    fn of(&self, task: TaskId) -> &[TaskId] {
        let end = self.ends[task.index()] as usize;
        let start = task.index().checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.items[start..end]
    }

    /// Turns every edge around, by counting sort.
    fn reversed(&self) -> Self {
        let tasks = self.ends.len();
        let mut ends = vec![0_u32; tasks];
        for item in &self.items {
            ends[item.index()] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        // Fill from the back: each end moves down to its list's start, so the lists come out in order.
        let mut items = vec![TaskId(0); self.items.len()];
        let mut starts = ends.clone();
        for task in (0..tasks).rev() {
            let task = TaskId(u32::try_from(task).unwrap_or(u32::MAX));
            for item in self.of(task) {
                let start = &mut starts[item.index()];
                *start -= 1;
                items[*start as usize] = task;
            }
        }
        Self { ends, items }
    }
}

/// An acyclic graph of tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    needs: Rows,
    dependents: Rows,
}

/// Collects the edges of a [`Graph`], one task after the other.
#[derive(Debug, Clone, Default)]
pub struct GraphBuilder {
    needs: Rows,
}

/// Why tasks and their needs are no acyclic graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A task needs one that is not there.
    #[error("task {task} needs task {need}, which does not exist")]
    UnknownNeed {
        /// The task.
        task: TaskId,
        /// What it needs.
        need: TaskId,
    },
    /// Tasks wait for each other.
    #[error("tasks wait for each other in a circle of {}", path.len())]
    Cycle {
        /// The tasks along one circle: each needs the next, and the last needs the first.
        path: Vec<TaskId>,
    },
}

impl GraphBuilder {
    /// Adds the next task with what it needs; a need named twice counts once.
    ///
    /// # Panics
    ///
    /// Panics beyond 4,294,967,295 edges.
    pub fn add(&mut self, needs: &[TaskId]) -> TaskId {
        let task = TaskId(u32::try_from(self.needs.ends.len()).expect("fewer tasks than u32::MAX"));
        let start = self.needs.items.len();
        self.needs.items.extend_from_slice(needs);
        if needs.len() > 1 {
            self.needs.items[start..].sort_unstable();
            let mut kept = start;
            for at in start..self.needs.items.len() {
                if at == start || self.needs.items[at] != self.needs.items[kept - 1] {
                    self.needs.items[kept] = self.needs.items[at];
                    kept += 1;
                }
            }
            self.needs.items.truncate(kept);
        }
        self.needs.ends.push(u32::try_from(self.needs.items.len()).expect("fewer edges than u32::MAX"));
        task
    }

    /// Returns how many tasks there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.needs.ends.len()
    }

    /// Tells whether there is no task yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needs.ends.is_empty()
    }

    /// Checks the edges and makes the graph.
    ///
    /// # Errors
    ///
    /// Fails on the first need that is no task, or on one circle of tasks.
    pub fn seal(mut self) -> Result<Graph, GraphError> {
        self.needs.ends.shrink_to_fit();
        self.needs.items.shrink_to_fit();
        let tasks = self.needs.ends.len();
        for task in ids(tasks) {
            if let Some(&need) = self.needs.of(task).iter().find(|need| need.index() >= tasks) {
                return Err(GraphError::UnknownNeed { task, need });
            }
        }
        let dependents = self.needs.reversed();
        let graph = Graph { needs: self.needs, dependents };
        if graph.order().len() < tasks {
            return Err(GraphError::Cycle { path: graph.cycle() });
        }
        Ok(graph)
    }
}

fn ids(tasks: usize) -> impl DoubleEndedIterator<Item = TaskId> + use<> {
    (0..u32::try_from(tasks).unwrap_or(u32::MAX)).map(TaskId)
}

impl Graph {
    /// Returns how many tasks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.needs.ends.len()
    }

    /// Tells whether there is no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needs.ends.is_empty()
    }

    /// Returns how many edges there are.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.needs.items.len()
    }

    /// Returns all tasks in the order of their ids.
    pub fn tasks(&self) -> impl DoubleEndedIterator<Item = TaskId> + use<> {
        ids(self.len())
    }

    /// Returns what `task` waits for, in the order of ids.
    #[must_use]
    pub fn needs(&self, task: TaskId) -> &[TaskId] {
        self.needs.of(task)
    }

    /// Returns what waits for `task`, in the order of ids.
    #[must_use]
    pub fn dependents(&self, task: TaskId) -> &[TaskId] {
        self.dependents.of(task)
    }

    /// Returns all tasks so that each comes after what it needs.
    ///
    /// Source: Kahn, "Topological sorting of large networks", 1962.
    #[must_use]
    pub fn order(&self) -> Vec<TaskId> {
        let mut open: Vec<u32> =
            self.tasks().map(|task| u32::try_from(self.needs(task).len()).unwrap_or(u32::MAX)).collect();
        let mut order: Vec<TaskId> = Vec::with_capacity(self.len());
        order.extend(self.tasks().filter(|task| open[task.index()] == 0));
        let mut next = 0;
        while let Some(&task) = order.get(next) {
            next += 1;
            for &dependent in self.dependents(task) {
                open[dependent.index()] -= 1;
                if open[dependent.index()] == 0 {
                    order.push(dependent);
                }
            }
        }
        order
    }

    /// Follows needs from a task that is never free until a task comes again.
    fn cycle(&self) -> Vec<TaskId> {
        let mut free = vec![false; self.len()];
        for task in self.order() {
            free[task.index()] = true;
        }
        let Some(start) = self.tasks().find(|task| !free[task.index()]) else { return Vec::new() };
        let mut seen_at = vec![None; self.len()];
        let mut path = Vec::new();
        let mut at = start;
        loop {
            if let Some(first) = seen_at[at.index()] {
                return path.split_off(first);
            }
            seen_at[at.index()] = Some(path.len());
            path.push(at);
            // A task that is never free has at least one need that is never free.
            match self.needs(at).iter().find(|need| !free[need.index()]) {
                Some(&need) => at = need,
                None => return path,
            }
        }
    }

    /// Returns each task's upward rank: the expected length of the longest way from its start to the end of the
    /// run. The more, the more urgent; the unit is that of `length`.
    ///
    /// Source: Topcuoglu, Hariri and Wu, "Performance-effective and low-complexity task scheduling for
    /// heterogeneous computing" (HEFT), 2002, without communication costs.
    #[must_use]
    pub fn upward_rank(&self, length: impl Fn(TaskId) -> f32) -> Vec<f32> {
        let mut rank = vec![0.0_f32; self.len()];
        for &task in self.order().iter().rev() {
            let after = self.dependents(task).iter().map(|next| rank[next.index()]).fold(0.0, f32::max);
            rank[task.index()] = length(task) + after;
        }
        rank
    }

    /// Returns how many levels of workers deep each task stands: 0 without needs, else one more than its deepest
    /// need. Tasks of one wave can run at the same time.
    #[must_use]
    pub fn waves(&self) -> Vec<u32> {
        let mut wave = vec![0; self.len()];
        for task in self.order() {
            wave[task.index()] =
                self.needs(task).iter().map(|need| wave[need.index()] + 1).max().unwrap_or_default();
        }
        wave
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(needs: &[&[u32]]) -> Result<Graph, GraphError> {
        let mut builder = GraphBuilder::default();
        for list in needs {
            builder.add(&list.iter().copied().map(TaskId).collect::<Vec<_>>());
        }
        builder.seal()
    }

    #[test]
    fn a_diamond_has_its_order_waves_and_ranks() {
        let diamond = graph(&[&[], &[0], &[0, 0], &[2, 1]]).unwrap();
        assert_eq!(diamond.order(), [0, 1, 2, 3].map(TaskId));
        assert_eq!(diamond.needs(TaskId(3)), [1, 2].map(TaskId));
        assert_eq!(diamond.needs(TaskId(2)), [TaskId(0)], "a need named twice counts once");
        assert_eq!(diamond.dependents(TaskId(0)), [1, 2].map(TaskId));
        assert_eq!(diamond.waves(), [0, 1, 1, 2]);
        assert_eq!(diamond.upward_rank(|task| if task.0 == 1 { 5.0 } else { 1.0 }), [7.0, 6.0, 2.0, 1.0]);
    }

    #[test]
    fn circles_and_unknown_needs_are_refused() {
        assert_eq!(graph(&[&[0]]), Err(GraphError::Cycle { path: vec![TaskId(0)] }));
        assert_eq!(
            graph(&[&[], &[0, 3], &[1], &[2]]),
            Err(GraphError::Cycle { path: [1, 3, 2].map(TaskId).to_vec() })
        );
        assert_eq!(graph(&[&[7]]), Err(GraphError::UnknownNeed { task: TaskId(0), need: TaskId(7) }));
        assert!(graph(&[]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn every_task_comes_after_its_needs(lists in prop::collection::vec(prop::collection::vec(0_u32..40, 0..4), 1..40)) {
            // Only needs of smaller ids: acyclic by construction.
            let lists: Vec<Vec<u32>> = lists.into_iter().enumerate()
                .map(|(task, needs)| needs.into_iter().filter(|&need| (need as usize) < task).collect()).collect();
            let graph = graph(&lists.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
            let order = graph.order();
            let place = |task: TaskId| order.iter().position(|&other| other == task).unwrap();
            prop_assert_eq!(order.len(), graph.len());
            for task in graph.tasks() {
                for &need in graph.needs(task) {
                    prop_assert!(place(need) < place(task));
                    prop_assert!(graph.dependents(need).contains(&task));
                    prop_assert!(graph.waves()[need.index()] < graph.waves()[task.index()]);
                }
            }
        }
    }
}
