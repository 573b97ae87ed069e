//! Time: nothing stays beyond its own, and the run asks to be looked at before any of it is up.

use kapell_core::{
    settle::Wake,
    time::{Elapsed, Now, Wall},
};

use super::{Checked, Checker, Phase, Stand, TaskId, ensure};

/// When something is up.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// On the run's own clock.
    Clock(Elapsed),
    /// By the time of day.
    Day(Wall),
}

impl Checker {
    /// After everything at one time was decided nothing that is due may be left, and what will be is not slept through:
    /// `wake` is when the run wants to be looked at next.
    pub(crate) fn times(&self, now: Now, wake: Wake) -> Checked {
        for (what, task, due) in self.dues() {
            let (is_up, is_awaited) = match due {
                Due::Clock(at) => (at <= now.elapsed, wake.elapsed.is_some_and(|wake| wake <= at)),
                Due::Day(at) => (at <= now.wall, wake.wall.is_some_and(|wake| wake <= at)),
            };
            ensure!(!is_up, "{what} of {task:?} is over, at {now:?}");
            ensure!(is_awaited, "{what} of {task:?} is slept through: {due:?}, but {wake:?}");
        }
        Ok(())
    }

    /// Lists what time puts an end to: what it is, and of which task, if of one.
    fn dues(&self) -> Vec<(&'static str, Option<TaskId>, Due)> {
        let goes_on = self.phase == Phase::Active && !self.is_doomed();
        let mut dues = Vec::new();
        for (at, task) in self.tasks.iter().enumerate() {
            let id = TaskId(u32::try_from(at).unwrap_or(u32::MAX));
            let mut due = |what: &'static str, due: Due| dues.push((what, Some(id), due));
            match task.stand {
                Stand::Running if matches!(self.phase, Phase::Active | Phase::Paused(_)) => {
                    let runs = task.stopping.is_none() && task.question.is_none() && task.rests.is_none();
                    task.deadline.filter(|_| runs).into_iter().for_each(|at| due("the time", Due::Clock(at)));
                }
                Stand::Compensating(_) => {
                    task.undo_by.into_iter().for_each(|at| due("the time for taking back", Due::Clock(at)));
                }
                Stand::Waiting if goes_on && task.attempts == 0 => {
                    let deadline = self.plan.definition(id).deadline;
                    deadline.into_iter().for_each(|at| due("the deadline", Due::Day(at)));
                }
                Stand::BackingOff(until) if goes_on => due("the pause", Due::Clock(until)),
                Stand::Parked(until, latest) if goes_on => {
                    due("the park", Due::Day(until));
                    due("the longest park", Due::Clock(latest));
                }
                _ => {}
            }
        }
        let deadline = self.deadline.filter(|_| goes_on);
        dues.extend(deadline.map(|at| ("the deadline", None, Due::Day(at))));
        dues
    }
}
