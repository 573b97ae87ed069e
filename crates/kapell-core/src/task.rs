//! The life of a task: its states, and the table of what may follow what.

use serde::{Deserialize, Serialize};

use crate::{
    budget::Amount,
    id::{AgentId, AttemptNo, GateId, Oid},
    retry::FailureClass,
    time::{Elapsed, Millis, Now, Wall},
};

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It waits for others.
    Blocked {
        /// How many of its needs are not settled.
        open: u32,
        /// Whether one of the settled ones failed or was skipped.
        tainted: bool,
    },
    /// It can start as soon as there is room.
    Ready,
    /// It waits for paths or names that others hold.
    AwaitingClaims,
    /// A person must decide before it goes on.
    AwaitingGate {
        /// The decision.
        gate: GateId,
    },
    /// An attempt is under way.
    Running(Box<Attempt>),
    /// An attempt has ended well; its result is being checked.
    Submitted(Box<Submission>),
    /// The result passed its checks and waits to land.
    Verified(Box<Submission>),
    /// It waits before its next attempt.
    BackingOff {
        /// When the wait ends.
        until: Elapsed,
    },
    /// Its provider has no quota left.
    Parked(Box<Park>),
    /// Finished without a change to the repository.
    Done,
    /// Its change is in the run's integration ref.
    Landed {
        /// The commit of the ref that brought it in.
        commit: Box<Oid>,
    },
    /// Given up.
    Failed {
        /// Why the last attempt failed.
        class: FailureClass,
    },
    /// Not to be done.
    Skipped {
        /// Why.
        why: SkipCause,
    },
    /// Stopped by a person.
    Cancelled,
    /// What it did is being taken back.
    Compensating {
        /// The try at taking it back.
        attempt: AttemptNo,
        /// When it must have ended; `None` once it is being stopped for that. Boxed, as a state is kept for each of a
        /// million tasks.
        deadline: Option<Box<Elapsed>>,
    },
    /// It could not be taken back; a person must decide.
    CompensationStuck {
        /// The decision, once asked for.
        gate: Option<GateId>,
        /// How often it was tried.
        attempt: AttemptNo,
    },
    /// Its compensation changed files, and that waits to be in the run's integration ref.
    CompensationSubmitted(Box<Submission>),
    /// What it did has been taken back.
    Compensated,
}

/// A wait for the quota of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Park {
    /// When the provider says it will have some.
    pub until: Wall,
    /// When it is tried again on the run's own clock, whatever the time of day is said to be.
    pub latest: Elapsed,
}

impl Park {
    /// Returns for how long it still holds.
    #[must_use]
    pub fn left(&self, now: Now) -> Millis {
        let stated = u64::try_from(self.until.0.saturating_sub(now.wall.0)).unwrap_or(0);
        Millis(stated).min(self.latest.since(now.elapsed))
    }
}

/// An attempt under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number.
    pub number: AttemptNo,
    /// When it was decided.
    pub since: Elapsed,
    /// When it must have ended. The time for which it waits for an answer, or its child run for anything, does not count.
    pub deadline: Option<Elapsed>,
    /// Who performs it, if an agent of the plan.
    pub agent: Option<AgentId>,
    /// What is set aside for it.
    pub reserved: Amount,
    /// What it is expected to cost beyond that, as far as nothing else starts on it.
    pub held: Amount,
    /// The slots that it takes up.
    pub slots: Slots,
    /// Why it is being stopped, if it is.
    pub stopping: Option<StopCause>,
    /// The question it waits for, and since when, if it asked one.
    pub question: Option<(GateId, Elapsed)>,
    /// Since when nothing of its child run has been under way, if nothing is.
    pub rests: Option<Elapsed>,
}

impl Attempt {
    /// Tells whether its time stands still.
    pub(crate) fn stands_still(&self) -> bool {
        #[cfg(kapell_planted)]
        if crate::planted::is("rest_of_child_counts") {
            return self.question.is_some();
        }
        self.question.is_some() || self.rests.is_some()
    }

    /// The attempt once its time goes on, after it stood still from `since` to `now`.
    fn gone_on(&self, since: Elapsed, now: Elapsed) -> Self {
        let deadline = self.deadline.map(|deadline| deadline.after(now.since(since)));
        Self { deadline, ..self.clone() }
    }
}

/// Slots of a run: its own, or those granted to a child run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// Of model-driven agents.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub agents: u32,
    /// Of everything else.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jobs: u32,
    /// Memory, in MiB.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_mib: u32,
}

impl Slots {
    /// Returns slots of agents and of everything else, with no memory.
    #[must_use]
    pub const fn new(agents: u32, jobs: u32) -> Self {
        Self { agents, jobs, memory_mib: 0 }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A result that is checked, or waits to land.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The attempt that gave it.
    pub attempt: AttemptNo,
    /// The change to the repository, if there is one.
    pub change: Option<Change>,
}

/// A change to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The commit, which descends from `base`.
    pub commit: Oid,
    /// The tree of that commit.
    pub tree: Oid,
    /// The commit that the attempt started from.
    pub base: Oid,
}

/// Why a task was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipCause {
    /// Its condition is false.
    Condition,
    /// Its condition could not be computed.
    BrokenCondition,
    /// Something it needs failed, or was skipped.
    Need,
    /// A later revision of the plan does without it.
    Superseded,
}

/// Why an attempt is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// It took longer than it may.
    Timeout,
    /// A person cancelled the run.
    Cancelled,
    /// A later revision of the plan does without its task.
    Superseded,
    /// The run's deadline or time budget is over.
    Deadline,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Another attempt, at once.
    Again,
    /// Another attempt, after a pause.
    Retry {
        /// When the pause ends.
        at: Elapsed,
    },
    /// Another attempt, when the provider has quota again.
    Park {
        /// When that is.
        until: Wall,
        /// The same on the run's own clock, for the case that the time of day is wrong now or then.
        #[serde(default = "never")]
        latest: Elapsed,
    },
    /// Another attempt, at once, by another agent.
    Substitute {
        /// Who takes over.
        agent: AgentId,
    },
    /// A person decides.
    Ask {
        /// The decision.
        gate: GateId,
    },
    /// None; the task has failed.
    GiveUp,
    /// None; the run is being cancelled.
    Cancel,
    /// None; a later revision of the plan does without the task.
    Drop,
}

impl Recovery {
    /// Returns its name, as it stands in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::Retry { .. } => "retry",
            Self::Park { .. } => "park",
            Self::Substitute { .. } => "substitute",
            Self::Ask { .. } => "ask",
            Self::GiveUp => "give_up",
            Self::Cancel => "cancel",
            Self::Drop => "drop",
        }
    }
}

/// The end of a park that was recorded before it had one on the run's own clock.
pub(crate) fn never() -> Elapsed {
    Elapsed(u64::MAX)
}

/// What happens to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// One of its needs is settled.
    NeedSettled {
        /// Whether it failed or was skipped.
        tainted: bool,
    },
    /// Nothing stands in its way.
    Unblocked,
    /// It must wait for claims.
    ClaimsAwaited,
    /// It must wait for a person.
    GateOpened(GateId),
    /// An attempt begins.
    Started(Box<Attempt>),
    /// The attempt is to be stopped.
    StopRequested(StopCause),
    /// The attempt has ended, and another agent goes on.
    PassedOn,
    /// The attempt asked a question.
    Asked(GateId, Elapsed),
    /// The question is answered.
    Answered(Elapsed),
    /// Nothing of the child run is under way.
    ChildRested(Elapsed),
    /// Something of it is under way again.
    ChildWentOn(Elapsed),
    /// What a person decided at a gate is taken back.
    GateReopened(GateId),
    /// Something that the task needs is no longer settled.
    NeedReopened {
        /// Whether something else that it needs did not succeed.
        tainted: bool,
    },
    /// It is finished, with nothing to check or to land.
    Completed,
    /// The attempt ended with a result.
    Submitted(Box<Submission>),
    /// The result passed its checks.
    Verified,
    /// The change is in the integration ref.
    Landed(Oid),
    /// The attempt, or its result, failed.
    AttemptFailed(FailureClass, Recovery),
    /// The wait is over.
    Woken,
    /// Not to be done.
    Skipped(SkipCause),
    /// The result of an earlier run is taken over.
    Reused {
        /// The commit that brought its change in, if it has one.
        landed: Option<Oid>,
    },
    /// Stopped by a person.
    Cancelled,
    /// It is being taken back.
    CompensationStarted(AttemptNo, Option<Elapsed>),
    /// The try at taking it back failed.
    CompensationFailed {
        /// Whether it will be tried again.
        again: bool,
        /// When the next try must have ended.
        deadline: Option<Elapsed>,
    },
    /// The try at taking it back ended with a change that is to land.
    CompensationSubmitted(Box<Submission>),
    /// It has been taken back, or a person says to leave it.
    Compensated,
}

/// An event that cannot follow the state that a task is in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot follow {state:?}")]
pub struct IllegalTransition {
    /// The state.
    pub state: TaskState,
    /// The event.
    pub event: TaskEvent,
}

impl TaskState {
    /// Returns the state after `event`. This is the whole table.
    ///
    /// # Errors
    ///
    /// Fails, naming both, if `event` cannot follow this state.
    pub fn next(&self, event: TaskEvent) -> Result<Self, IllegalTransition> {
        use {Recovery as R, TaskEvent as E, TaskState as S};
        match (self, event) {
            (S::Blocked { open, tainted }, E::NeedSettled { tainted: more }) if *open > 0 => {
                Ok(S::Blocked { open: open - 1, tainted: *tainted || more })
            }
            (S::Blocked { open: 0, .. }, E::Unblocked) => Ok(S::Ready),
            (S::Blocked { .. } | S::Ready | S::AwaitingClaims, E::Skipped(why)) => Ok(S::Skipped { why }),
            (S::BackingOff { .. } | S::Parked(_) | S::AwaitingGate { .. }, E::Skipped(why)) => {
                Ok(S::Skipped { why })
            }

            // It is too late for it to begin.
            (S::Blocked { .. } | S::Ready | S::AwaitingClaims, E::AttemptFailed(class, R::GiveUp)) => {
                Ok(S::Failed { class })
            }
            (S::Blocked { .. } | S::Ready | S::AwaitingClaims, E::Reused { landed }) => {
                Ok(landed.map_or(S::Done, |commit| S::Landed { commit: Box::new(commit) }))
            }

            (S::Ready, E::ClaimsAwaited) => Ok(S::AwaitingClaims),
            (S::Ready, E::GateOpened(gate)) => Ok(S::AwaitingGate { gate }),
            (S::Ready | S::AwaitingClaims, E::Started(attempt)) => Ok(S::Running(attempt)),
            // A gate's own task is done by the answer; any other goes on, or is over.
            (S::AwaitingGate { .. } | S::Running(_), E::Completed) => Ok(S::Done),
            (S::AwaitingGate { .. }, E::Unblocked) => Ok(S::Ready),
            (S::AwaitingGate { .. }, E::AttemptFailed(class, R::GiveUp)) => Ok(S::Failed { class }),

            // The way back from an answer, as long as nothing has followed from it.
            (S::Done | S::Failed { .. } | S::Ready | S::AwaitingClaims, E::GateReopened(gate)) => {
                Ok(S::AwaitingGate { gate })
            }
            (S::Verified(submission), E::GateReopened(_)) => Ok(S::Submitted(submission.clone())),
            (S::Blocked { open, .. }, E::NeedReopened { tainted }) => {
                Ok(S::Blocked { open: open + 1, tainted })
            }
            (S::Ready | S::AwaitingClaims, E::NeedReopened { tainted }) => {
                Ok(S::Blocked { open: 1, tainted })
            }

            (S::Running(attempt), E::StopRequested(cause)) if attempt.stopping.is_none() => {
                Ok(S::Running(Box::new(Attempt { stopping: Some(cause), ..(**attempt).clone() })))
            }
            (S::Running(attempt), E::Asked(gate, at)) if attempt.question.is_none() => {
                Ok(S::Running(Box::new(Attempt { question: Some((gate, at)), ..(**attempt).clone() })))
            }
            (S::Running(attempt), E::Answered(at)) if attempt.question.is_some() => {
                let since = attempt.question.map_or(at, |(_, since)| since);
                Ok(S::Running(Box::new(Attempt { question: None, ..attempt.gone_on(since, at) })))
            }
            (S::Running(attempt), E::ChildRested(at)) if attempt.rests.is_none() => {
                Ok(S::Running(Box::new(Attempt { rests: Some(at), ..(**attempt).clone() })))
            }
            (S::Running(attempt), E::ChildWentOn(at)) if attempt.rests.is_some() => {
                let since = attempt.rests.unwrap_or(at);
                #[cfg(kapell_planted)]
                let since = if crate::planted::is("timeout_counts_rest_of_child") { at } else { since };
                Ok(S::Running(Box::new(Attempt { rests: None, ..attempt.gone_on(since, at) })))
            }
            (S::Running(_), E::PassedOn) => Ok(S::Ready),
            (S::Running(_), E::Submitted(submission)) => Ok(S::Submitted(submission)),
            (S::Submitted(submission), E::Verified) if submission.change.is_some() => {
                Ok(S::Verified(submission.clone()))
            }
            (S::Submitted(_), E::Verified) => Ok(S::Done),
            (S::Verified(_), E::Landed(commit)) => Ok(S::Landed { commit: Box::new(commit) }),
            (S::Running(_) | S::Submitted(_) | S::Verified(_), E::AttemptFailed(class, recovery)) => {
                Ok(match recovery {
                    R::Again | R::Substitute { .. } => S::Ready,
                    R::Retry { at } => S::BackingOff { until: at },
                    R::Park { until, latest } => S::Parked(Box::new(Park { until, latest })),
                    R::Ask { gate } => S::AwaitingGate { gate },
                    R::GiveUp => S::Failed { class },
                    R::Cancel => S::Cancelled,
                    R::Drop => S::Skipped { why: SkipCause::Superseded },
                })
            }
            (S::BackingOff { .. } | S::Parked(_), E::Woken) => Ok(S::Ready),

            (
                S::Blocked { .. }
                | S::Ready
                | S::AwaitingClaims
                | S::AwaitingGate { .. }
                | S::BackingOff { .. }
                | S::Parked(_)
                | S::Submitted(_)
                | S::Verified(_),
                E::Cancelled,
            ) => Ok(S::Cancelled),

            (
                S::Done | S::Landed { .. } | S::CompensationStuck { .. },
                E::CompensationStarted(attempt, deadline),
            ) => Ok(S::Compensating { attempt, deadline: deadline.map(Box::new) }),
            (S::Compensating { attempt, deadline: Some(_) }, E::StopRequested(StopCause::Timeout)) => {
                Ok(S::Compensating { attempt: *attempt, deadline: None })
            }
            (S::Compensating { attempt, .. }, E::CompensationFailed { again: true, deadline }) => {
                Ok(S::Compensating { attempt: attempt.next(), deadline: deadline.map(Box::new) })
            }
            (S::Compensating { attempt, .. }, E::CompensationFailed { again: false, .. }) => {
                Ok(S::CompensationStuck { gate: None, attempt: *attempt })
            }
            (S::CompensationStuck { gate: None, attempt }, E::GateOpened(gate)) => {
                Ok(S::CompensationStuck { gate: Some(gate), attempt: *attempt })
            }
            (S::Compensating { .. }, E::CompensationSubmitted(submission)) => {
                Ok(S::CompensationSubmitted(submission))
            }
            (
                S::Compensating { .. } | S::CompensationStuck { .. } | S::CompensationSubmitted(_),
                E::Compensated,
            ) => Ok(S::Compensated),

            (state, event) => Err(IllegalTransition { state: state.clone(), event }),
        }
    }

    /// Tells whether an attempt can begin now or later, without any wait that an attempt before it left.
    #[must_use]
    pub fn is_startable(&self) -> bool {
        matches!(self, Self::Blocked { .. } | Self::Ready | Self::AwaitingClaims)
    }

    /// Tells whether nothing more happens to the task, but for being taken back.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(
            self,
            Self::Done
                | Self::Landed { .. }
                | Self::Failed { .. }
                | Self::Skipped { .. }
                | Self::Cancelled
                | Self::Compensating { .. }
                | Self::CompensationStuck { .. }
                | Self::CompensationSubmitted(_)
                | Self::Compensated
        )
    }

    /// Tells whether the task did what it was to do, so that what needs it may go on.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Done | Self::Landed { .. })
    }

    /// Tells whether the world owes something for the task: the end of an attempt, a check, a compensation.
    pub(crate) fn is_in_flight(&self) -> bool {
        matches!(self, Self::Running(_) | Self::Submitted(_) | Self::Compensating { .. })
    }

    /// Tells whether an attempt is under way whose time stands still.
    pub(crate) fn stands_still(&self) -> bool {
        matches!(self, Self::Running(attempt) if attempt.stands_still())
    }

    /// The names of the states, in alphabetical order.
    pub(crate) const NAMES: [&'static str; 18] = [
        "awaiting_claims",
        "awaiting_gate",
        "backing_off",
        "blocked",
        "cancelled",
        "compensated",
        "compensating",
        "compensation_stuck",
        "compensation_submitted",
        "done",
        "failed",
        "landed",
        "parked",
        "ready",
        "running",
        "skipped",
        "submitted",
        "verified",
    ];

    /// Returns the place of the state's name in [`TaskState::NAMES`].
    pub(crate) fn ordinal(&self) -> usize {
        match self {
            Self::AwaitingClaims => 0,
            Self::AwaitingGate { .. } => 1,
            Self::BackingOff { .. } => 2,
            Self::Blocked { .. } => 3,
            Self::Cancelled => 4,
            Self::Compensated => 5,
            Self::Compensating { .. } => 6,
            Self::CompensationStuck { .. } => 7,
            Self::CompensationSubmitted(_) => 8,
            Self::Done => 9,
            Self::Failed { .. } => 10,
            Self::Landed { .. } => 11,
            Self::Parked(_) => 12,
            Self::Ready => 13,
            Self::Running(_) => 14,
            Self::Skipped { .. } => 15,
            Self::Submitted(_) => 16,
            Self::Verified(_) => 17,
        }
    }

    /// Returns the state's name, as reports and expressions show it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.ordinal()]
    }
}
