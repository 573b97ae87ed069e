//! The fold: what each event does to the state.

use crate::{
    budget::{Amount, Ledger},
    event::{Event, GateKind, PauseCause, PlanRef},
    id::{AgentId, AttemptNo, Oid, TaskId},
    landing::{Entry, Landing, Wish},
    plan::Work,
    retry::FailureClass,
    route::{Choice, Handoff},
    run::{Closed, Gate, Lane, LastFailure, Merge, Phase, Run, Task},
    task::{Attempt, IllegalTransition, Recovery, StopCause, Submission, TaskEvent, TaskState},
    time::{Elapsed, Millis, Wall},
};

/// Why an event cannot follow the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    /// A task cannot go that way.
    #[error("task {task}: {illegal}")]
    Task {
        /// The task.
        task: TaskId,
        /// What does not fit.
        illegal: Box<IllegalTransition>,
    },
    /// It names a task that does not exist.
    #[error("there is no task {0}")]
    UnknownTask(TaskId),
    /// It names a plan that was not put in.
    #[error("the plan was not read")]
    PlanNotRead,
    /// The run as a whole cannot go that way.
    #[error("{event} cannot happen now")]
    Run {
        /// The event's name.
        event: &'static str,
    },
}

impl Run {
    /// Moves the clocks to the time of the next decision.
    pub(crate) fn pass_time(&mut self, elapsed: Elapsed, wall: Wall) {
        self.busy = self.busy_at(elapsed);
        self.clock = elapsed.max(self.clock);
        self.wall = wall;
    }

    /// Returns for how long the run will have been busy at `elapsed` if nothing happens till then.
    pub(crate) fn busy_at(&self, elapsed: Elapsed) -> Millis {
        match self.is_busy() {
            true => Millis(self.busy.0.saturating_add(elapsed.since(self.clock).0)),
            false => self.busy,
        }
    }

    /// Folds one event in.
    pub(crate) fn evolve(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        if let Some(task) = event.task().filter(|task| task.index() >= self.tasks.len()) {
            return Err(IllegalEvent::UnknownTask(task));
        }
        self.check(event)?;
        match event {
            Event::Created { mission } => {
                self.created = true;
                self.limits = mission.limits;
                self.deadline = mission.deadline;
                self.ledger = Ledger::new(&mission.limits);
                self.landing = mission.base.map(Landing::new);
                self.mission = (**mission).clone();
            }
            Event::PlanAdopted { revision, plan } => self.adopt(*revision, plan)?,
            Event::Opened { .. } | Event::Noted { .. } | Event::Used { .. } => {}
            Event::ChildRested { task, .. } => self.go(*task, TaskEvent::ChildRested(self.clock))?,
            Event::ChildWentOn { task, .. } => self.go(*task, TaskEvent::ChildWentOn(self.clock))?,
            Event::Routed { tasks, ranking, .. } => self.routed_to(event, tasks, ranking)?,
            Event::Rerouted { task, agent, .. } => {
                self.relist(*task, |run| {
                    run.substitutes.insert(*task, *agent);
                });
            }
            Event::HandedOff { task, attempt, agent, note } => {
                let times = self.handoffs.get(task).map_or(0, |before| before.times) + 1;
                let change = self.handoffs.get(task).and_then(|before| before.change);
                let (attempt, from, to, note) = (*attempt, self.agent(*task), *agent, note.clone());
                self.handoffs.insert(*task, Handoff { attempt, from, to, note, change, done: false, times });
            }
            Event::PassedOn { task, agent, change, spent, .. } => {
                let by = self.settle(*task, *spent);
                self.fared(by, None);
                if let Some(handoff) = self.handoffs.get_mut(task) {
                    handoff.done = true;
                    handoff.change = change.or(handoff.change);
                }
                self.tasks[task.index()].failures = 0;
                self.setbacks.remove(task);
                self.substitutes.insert(*task, *agent);
                self.go(*task, TaskEvent::PassedOn)?;
            }
            Event::Unblocked { task } => self.go(*task, TaskEvent::Unblocked)?,
            Event::Skipped { task, why } => self.go(*task, TaskEvent::Skipped(*why))?,
            Event::ClaimsAwaited { task } => {
                self.go(*task, TaskEvent::ClaimsAwaited)?;
                let set = self.claim_set(*task);
                self.claims.wait(*task, set);
            }
            Event::Started { .. } => self.started(event)?,
            Event::StopRequested { task, why, .. } => self.go(*task, TaskEvent::StopRequested(*why))?,
            Event::Completed { task, outputs, spent } => {
                let by = self.settle(*task, *spent);
                self.fared(by, None);
                self.keep_outputs(*task, outputs);
                self.go(*task, TaskEvent::Completed)?;
            }
            Event::Submitted { task, attempt, change, outputs, spent } => {
                let by = self.settle(*task, *spent);
                self.fared(by, None);
                self.keep_outputs(*task, outputs);
                self.changes.extend(change.map(|change| (*task, change)));
                let submission = Submission { attempt: *attempt, change: *change };
                self.go(*task, TaskEvent::Submitted(Box::new(submission)))?;
            }
            Event::Verified { task } => {
                self.go(*task, TaskEvent::Verified)?;
                if let TaskState::Verified(submission) = self.state(*task)
                    && let Some(change) = submission.change
                    && let Some(landing) = &mut self.landing
                {
                    landing.push(Entry { task: *task, commit: change.commit });
                }
            }
            Event::AttemptFailed { .. } => self.attempt_failed(event)?,
            Event::Woken { task } => self.go(*task, TaskEvent::Woken)?,
            Event::Reused { task, from, landed, change, outputs, .. } => {
                self.keep_outputs(*task, outputs);
                #[cfg(kapell_planted)]
                let (landed, change) = (
                    &landed.filter(|_| !crate::planted::is("reused_not_landed")),
                    &change.filter(|_| !crate::planted::is("reused_change_forgotten")),
                );
                self.changes.extend(change.map(|change| (*task, change)));
                *self.taken_over.entry(*from).or_default() += 1;
                self.go(*task, TaskEvent::Reused { landed: *landed })?;
            }
            Event::Cancelled { task } => {
                if let (TaskState::Verified(_), Some(landing)) =
                    (&self.tasks[task.index()].state, &mut self.landing)
                {
                    landing.withdraw(*task);
                }
                self.go(*task, TaskEvent::Cancelled)?;
            }
            Event::GateOpened { .. } => self.gate_opened(event)?,
            Event::GateAnswered { gate, answer, by } => {
                #[cfg(kapell_planted)]
                let twice = crate::planted::is("gate_answered_twice");
                #[cfg(not(kapell_planted))]
                let twice = false;
                let Some(open) = self.gates.get_mut(gate).filter(|gate| twice || gate.answer.is_none())
                else {
                    return Err(IllegalEvent::Run { event: event.name() });
                };
                open.answer = Some((answer.clone(), by.clone()));
                if let Some((task, _)) = self.asked_by(*gate) {
                    self.go(task, TaskEvent::Answered(self.clock))?;
                }
            }
            Event::AnswerUndone { gate, .. } => self.answer_undone(*gate)?,
            Event::ProbeAsked { probe } => self.queue(event)?.ask(probe),
            Event::Probed { probe, outcome } => self.queue(event)?.answer(*probe, outcome),
            Event::LandingStarted { from, to } => self.ref_move = Some((*from, *to)),
            Event::Landed { task, commit } => self.landed(event, *task, *commit)?,
            // What it means for the task follows as a failed attempt.
            Event::SentBack { task, .. } => self.queue(event)?.sent_back(*task),
            Event::ProviderParked { provider, until, latest } => {
                // Of two answers that were under way at once the later reset holds, whichever came first.
                let mut closed = Closed { until: *until, latest: *latest };
                // One that is over no longer counts, however late it said.
                if let Some(before) = self.providers.get(provider).filter(|before| before.latest > self.clock)
                {
                    closed.until = closed.until.max(before.until);
                    closed.latest = closed.latest.max(before.latest);
                }
                self.providers.insert(provider.clone(), closed);
            }
            Event::BreakerOpened { agent, until } => {
                self.breakers.entry(*agent).or_default().until = Some(*until);
            }
            Event::CompensationStarted { task, attempt, deadline } => {
                self.go(*task, TaskEvent::CompensationStarted(*attempt, *deadline))?;
            }
            Event::CompensationFailed { task, again, deadline, .. } => {
                self.go(*task, TaskEvent::CompensationFailed { again: *again, deadline: *deadline })?;
            }
            Event::CompensationSubmitted { task, attempt, change } => {
                let submission = Submission { attempt: *attempt, change: Some(*change) };
                self.go(*task, TaskEvent::CompensationSubmitted(Box::new(submission)))?;
            }
            Event::Compensated { task, commit, .. } => {
                if let Some(commit) = commit {
                    self.queue(event)?.taken_back(*commit);
                    self.ref_move = None;
                    self.taken_back.insert(*task, *commit);
                }
                match self.completed.last() == Some(task) {
                    true => drop(self.completed.pop()),
                    false => self.completed.retain(|other| other != task),
                }
                self.go(*task, TaskEvent::Compensated)?;
            }
            Event::Paused { why } => self.enter(event, Phase::Paused(why.clone()))?,
            Event::Resumed { limits } => {
                #[cfg(kapell_planted)]
                let limits = &limits.filter(|_| !crate::planted::is("resume_forgets_limits"));
                if let Some(limits) = limits {
                    self.limits = *limits;
                    self.ledger.set_limits(limits);
                }
                match &self.phase {
                    // Who goes on after the deadline wants the run without it.
                    Phase::Paused(PauseCause::Deadline) => self.deadline = None,
                    Phase::Paused(PauseCause::BaseIsRed { .. }) => self.queue(event)?.start_over(),
                    // A probe is wished for again.
                    Phase::Paused(PauseCause::LandingFails { .. }) => self.queue(event)?.unask(),
                    _ => {}
                }
                self.enter(event, Phase::Active)?;
            }
            Event::Held { stop } => match &mut self.phase {
                Phase::Paused(PauseCause::Parent { stop: held }) => *held = *stop,
                _ => self.held = Some(*stop),
            },
            Event::Released {} => self.held = None,
            Event::CancelRequested {} => self.enter(event, Phase::Cancelling)?,
            Event::CompensationBegun {} => self.enter(event, Phase::Compensating)?,
            Event::Finished { outcome } => self.enter(event, Phase::Finished(*outcome))?,
            Event::MergeStarted { target, from, to } => {
                let merge = Merge { target: target.clone(), from: *from, to: *to, done: false };
                self.merge_before = self.merge.replace(merge);
                #[cfg(kapell_planted)]
                self.merge_before.take_if(|_| crate::planted::is("failed_merge_forgets_the_one_before"));
            }
            Event::Merged { .. } => {
                self.merge_before = None;
                if let Some(merge) = &mut self.merge {
                    merge.done = true;
                }
            }
            // One that was done has none before it: what came of that is not known any more.
            Event::MergeUndone { .. } => self.merge = self.merge_before.take(),
        }
        Ok(())
    }

    /// Checks what the table of tasks does not say: what the run as a whole allows, and which attempt is meant.
    fn check(&self, event: &Event) -> Result<(), IllegalEvent> {
        let is_current = |task: &TaskId, attempt: &AttemptNo| match self.state(*task) {
            TaskState::Compensating { attempt: under_way, .. } => under_way == attempt,
            _ => self.tasks[task.index()].attempts == attempt.0,
        };
        let merging = self.merge_under_way().is_some();
        let legal = match (&self.phase, event) {
            _ if !self.created => matches!(event, Event::Created { .. }),
            (_, Event::Created { .. }) => false,
            (_, Event::Opened { .. }) => true,
            (_, Event::MergeStarted { .. }) => !merging,
            (_, Event::Merged { .. }) => merging,
            (_, Event::MergeUndone { .. }) => self.merge.is_some(),
            (Phase::Finished(_), _) => false,
            (Phase::Paused(_), Event::Held { .. }) => true,
            (Phase::Paused(_), Event::Released {}) => self.held.is_some(),
            (_, Event::Held { .. } | Event::Released {}) => false,
            (_, Event::ChildRested { task, attempt } | Event::ChildWentOn { task, attempt }) => {
                self.lane(*task) == Lane::Child && is_current(task, attempt)
            }
            (Phase::Active, Event::Started { task, .. }) => self.lane(*task) != Lane::Gate,
            (_, Event::Started { .. }) => false,
            (
                _,
                Event::StopRequested { task, attempt, .. }
                | Event::Submitted { task, attempt, .. }
                | Event::Used { task, attempt, .. }
                | Event::HandedOff { task, attempt, .. }
                | Event::PassedOn { task, attempt, .. }
                | Event::AttemptFailed { task, attempt, .. },
            ) => is_current(task, attempt),
            (Phase::Active | Phase::Paused(_), Event::AnswerUndone { gate, .. }) => {
                self.gate(*gate).is_some_and(|gate| gate.answer.is_some())
                    && self.follows_from(*gate).is_none()
            }
            (_, Event::AnswerUndone { .. }) => false,
            (_, Event::Rerouted { task, agent, .. }) => {
                *self.state(*task) == TaskState::Ready && self.ranking(*task).contains(agent)
            }
            (_, Event::CompensationStarted { task, attempt, .. }) => match self.state(*task) {
                TaskState::CompensationStuck { attempt: before, .. } => *attempt == before.next(),
                _ => *attempt == AttemptNo(1),
            },
            (_, Event::CompensationFailed { task, attempt, .. }) => {
                matches!(self.state(*task), TaskState::Compensating { .. }) && is_current(task, attempt)
            }
            (_, Event::CompensationSubmitted { task, attempt, change }) => {
                matches!(self.state(*task), TaskState::Compensating { .. })
                    && is_current(task, attempt)
                    && self.landing.as_ref().is_some_and(|landing| landing.head() == change.base)
            }
            (_, Event::Compensated { task, commit, .. }) => match self.reversal() {
                Some((reversed, from, to)) if reversed == *task => {
                    *commit == Some(to) && self.ref_move == Some((from, to))
                }
                _ => commit.is_none(),
            },
            (_, event) => self.landing_allows(event),
        };
        match legal {
            true => Ok(()),
            false => Err(IllegalEvent::Run { event: event.name() }),
        }
    }

    fn landing_allows(&self, event: &Event) -> bool {
        let Some(landing) = &self.landing else { return !event.is_of_landing() };
        match event {
            Event::ProbeAsked { probe } => landing.wish() == Wish::Ask(probe.clone()),
            Event::Probed { probe, outcome } => landing.takes(*probe, outcome),
            Event::LandingStarted { from, to } => {
                let wished = match (self.reversal(), landing.wish()) {
                    (Some((_, head, tip)), _) => Some((head, tip)),
                    (None, Wish::Land { from: head, tips }) => tips.last().map(|(_, tip)| (head, *tip)),
                    _ => None,
                };
                // A move that failed is intended once more.
                let again = self.ref_move.is_none_or(|under_way| under_way == (*from, *to));
                again && wished == Some((*from, *to))
            }
            Event::Landed { task, commit } => self.ref_move.is_some() && landing.is_next(*task, *commit),
            Event::SentBack { task, .. } => {
                matches!(landing.wish(), Wish::SendBack { task: wished, .. } if wished == *task)
            }
            _ => true,
        }
    }

    pub(super) fn go(&mut self, task: TaskId, event: TaskEvent) -> Result<(), IllegalEvent> {
        let before = self.state(task);
        let was_settled = before.is_settled();
        let was_waiting = matches!(before, TaskState::AwaitingClaims);
        let next =
            before.next(event).map_err(|illegal| IllegalEvent::Task { task, illegal: Box::new(illegal) })?;
        let holds_claims =
            matches!(next, TaskState::Running(_) | TaskState::Submitted(_) | TaskState::Verified(_));
        #[cfg(kapell_planted)]
        let holds_claims = holds_claims
            || (crate::planted::is("claim_kept_after_failure")
                && matches!(next, TaskState::BackingOff { .. }));
        if !holds_claims {
            self.claims.release(task);
        }
        if was_waiting {
            self.claims.forget_request(task);
        }
        let (settled, success) = (next.is_settled(), next.is_success());
        if settled || matches!(next, TaskState::Submitted(_)) {
            self.setbacks.remove(&task);
        }
        self.set_state(task, next);
        if settled && !was_settled {
            #[cfg(kapell_planted)]
            let forgotten = crate::planted::is("landed_work_not_compensated")
                && matches!(self.state(task), TaskState::Landed { .. });
            #[cfg(not(kapell_planted))]
            let forgotten = false;
            if success && !forgotten && self.plan.definition(task).compensate.is_some() {
                self.completed.push(task);
            }
            self.settle_dependents(task, !success)?;
        }
        Ok(())
    }

    /// Tells those that need `task` that it is settled. They become ready by that, unless something must be decided.
    fn settle_dependents(&mut self, task: TaskId, tainted: bool) -> Result<(), IllegalEvent> {
        #[cfg(kapell_planted)]
        let tainted = tainted && !crate::planted::is("failure_of_a_need_ignored");
        let plan = self.plan.clone();
        for &dependent in plan.graph().dependents(task) {
            if !matches!(self.state(dependent), TaskState::Blocked { .. }) {
                continue;
            }
            self.go(dependent, TaskEvent::NeedSettled { tainted })?;
            self.unblock_if_plain(dependent)?;
        }
        Ok(())
    }

    fn unblock_if_plain(&mut self, task: TaskId) -> Result<(), IllegalEvent> {
        if *self.state(task) == (TaskState::Blocked { open: 0, tainted: false })
            && self.plan.definition(task).condition.is_none()
        {
            self.go(task, TaskEvent::Unblocked)?;
        }
        Ok(())
    }

    fn adopt(&mut self, revision: u32, plan: &PlanRef) -> Result<(), IllegalEvent> {
        let plan = plan.plan().ok_or(IllegalEvent::PlanNotRead)?.clone();
        let old = self.tasks.len();
        if revision != self.revision + 1 || plan.len() < old {
            return Err(IllegalEvent::Run { event: "plan_adopted" });
        }
        self.revision = revision;
        self.plan_at = self.version.next();
        self.plan = plan.clone();
        self.tasks.reserve_exact(plan.len() - old);
        for at in old..plan.len() {
            let task = TaskId(u32::try_from(at).unwrap_or(u32::MAX));
            let settled =
                |need: &TaskId| self.tasks.get(need.index()).is_some_and(|need| need.state.is_settled());
            let failed = |need: &TaskId| settled(need) && !self.tasks[need.index()].state.is_success();
            let needs = plan.graph().needs(task);
            let open = needs.iter().filter(|need| !settled(need)).count();
            let tainted = needs.iter().any(failed);
            let open = u32::try_from(open).unwrap_or(u32::MAX);
            #[cfg(kapell_planted)]
            let open = if crate::planted::is("needs_ignored") { open.saturating_sub(1) } else { open };
            self.tasks.push(Task { state: TaskState::Blocked { open, tainted }, attempts: 0, failures: 0 });
        }
        // Urgencies may have changed for old tasks too.
        self.reindex();
        for at in old..plan.len() {
            self.unblock_if_plain(TaskId(u32::try_from(at).unwrap_or(u32::MAX)))?;
        }
        Ok(())
    }

    /// A result that was refused is no longer built upon, nor is what was handed on to it.
    fn forget_handed_on(&mut self, task: TaskId) {
        if let Some(handoff) = self.handoffs.get_mut(&task) {
            handoff.change = None;
        }
    }

    /// Takes in a ranking of agents for tasks that have not begun.
    fn routed_to(&mut self, event: &Event, tasks: &[TaskId], ranking: &[Choice]) -> Result<(), IllegalEvent> {
        let startable = |task: &TaskId| {
            self.tasks
                .get(task.index())
                .is_some_and(|known| known.attempts == 0 && known.state.is_startable())
        };
        let known = |choice: &Choice| choice.agent.index() < self.plan.agents().len();
        if ranking.is_empty() || !ranking.iter().all(known) || !tasks.iter().all(startable) {
            return Err(IllegalEvent::Run { event: event.name() });
        }
        let route = u32::try_from(self.routes.len()).unwrap_or(u32::MAX);
        self.routes.push(ranking.iter().map(|choice| choice.agent).collect());
        for &task in tasks {
            self.relist(task, |run| {
                run.substitutes.remove(&task);
                run.route_of.insert(task, route);
            });
        }
        Ok(())
    }

    fn started(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        let Event::Started { task, attempt, agent, deadline, reserved, held, grant } = event else {
            return Ok(());
        };
        if attempt.0 != self.tasks[task.index()].attempts + 1 {
            return Err(IllegalEvent::Run { event: event.name() });
        }
        let set = self.claim_set(*task);
        let slots = grant.unwrap_or_else(|| self.slots_of(self.lane(*task)));
        self.tasks[task.index()].attempts = attempt.0;
        let attempt = Attempt {
            number: *attempt,
            since: self.clock,
            deadline: *deadline,
            agent: *agent,
            reserved: *reserved,
            held: *held,
            slots,
            stopping: None,
            question: None,
            rests: None,
        };
        self.ledger.reserve(*reserved);
        self.ledger.hold(*held);
        self.go(*task, TaskEvent::Started(Box::new(attempt)))?;
        self.claims.grant(*task, set);
        Ok(())
    }

    /// Gives back what was set aside and held for the attempt under way at `task`, books what it cost, and returns who
    /// performed it; nothing if there is none.
    fn settle(&mut self, task: TaskId, spent: Amount) -> Option<AgentId> {
        let TaskState::Running(attempt) = self.state(task) else { return None };
        let (reserved, held, agent) = (attempt.reserved, attempt.held, attempt.agent);
        self.ledger.settle(reserved, spent);
        self.ledger.release(held);
        agent
    }

    fn attempt_failed(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        let Event::AttemptFailed { task, class, message, spent, then, .. } = event else { return Ok(()) };
        match self.state(*task) {
            TaskState::Running(attempt) => {
                // One that was told to stop says nothing about its agent.
                let told = matches!(attempt.stopping, Some(why) if why != StopCause::Timeout);
                let agent = self.settle(*task, *spent);
                if !told {
                    self.fared(agent, Some(*class));
                }
            }
            TaskState::Verified(_) => {
                if let Some(landing) = &mut self.landing {
                    landing.withdraw(*task);
                }
                self.forget_handed_on(*task);
            }
            TaskState::Submitted(_) => self.forget_handed_on(*task),
            _ => {}
        }
        self.set_back(*task, *class);
        #[cfg(kapell_planted)]
        let counted = self.tasks[task.index()].failures;
        if class.counts() {
            self.tasks[task.index()].failures += 1;
        }
        #[cfg(kapell_planted)]
        if crate::planted::is("failures_not_counted") {
            self.tasks[task.index()].failures = counted;
        }
        self.outputs.remove(task);
        self.failures.insert(*task, LastFailure { class: *class, message: message.clone() });
        self.changes.remove(task);
        if let Recovery::Substitute { agent } = then {
            let counts = self.route_of.contains_key(task) || self.handoffs.contains_key(task);
            if let (true, Some(had)) = (counts, self.agent(*task)) {
                self.tried.entry(*task).or_default().insert(had);
            }
            self.tasks[task.index()].failures = 0;
            self.setbacks.remove(task);
            self.substitutes.insert(*task, *agent);
        }
        self.go(*task, TaskEvent::AttemptFailed(*class, *then))
    }

    /// Counts in a row what was no fault of the task. What was stopped by kapell itself is none of that.
    fn set_back(&mut self, task: TaskId, class: FailureClass) {
        if let TaskState::Running(attempt) = self.state(task)
            && matches!(attempt.stopping, Some(StopCause::Deadline))
        {
            return;
        }
        let clock = self.clock;
        match class {
            FailureClass::Lost => self.setbacks.entry(task).or_default().lost += 1,
            FailureClass::RateLimited | FailureClass::Quota => {
                self.setbacks.entry(task).or_default().limited_since.get_or_insert(clock);
            }
            _ => drop(self.setbacks.remove(&task)),
        }
    }

    fn gate_opened(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        let Event::GateOpened { gate, task, kind, question, choices } = event else { return Ok(()) };
        if gate.index() != self.gates.len() {
            return Err(IllegalEvent::Run { event: event.name() });
        }
        match kind {
            GateKind::Task | GateKind::Compensation => self.go(*task, TaskEvent::GateOpened(*gate))?,
            GateKind::Question => self.go(*task, TaskEvent::Asked(*gate, self.clock))?,
            // The task has gone to the gate by the failure of its attempt.
            GateKind::Lost if *self.state(*task) == (TaskState::AwaitingGate { gate: *gate }) => {}
            GateKind::Protect if matches!(self.state(*task), TaskState::Submitted(_)) => {}
            GateKind::Lost | GateKind::Protect => return Err(IllegalEvent::Run { event: event.name() }),
        }
        let attempt = AttemptNo(self.tasks[task.index()].attempts);
        let (task, kind, question, choices) = (*task, *kind, question.clone(), choices.clone());
        if kind == GateKind::Protect {
            self.tally.doubted.insert(task);
        }
        self.gates.insert(*gate, Gate { task, kind, question, choices, answer: None, attempt });
        Ok(())
    }

    fn landed(&mut self, event: &Event, task: TaskId, commit: Oid) -> Result<(), IllegalEvent> {
        let queue = self.queue(event)?;
        queue.landed(task, commit);
        // Several changes can be one commit, as when two agents made the same: it is there with the last of them.
        if !queue.is_landing() && self.ref_move.is_some_and(|(_, to)| to == commit) {
            self.ref_move = None;
        }
        self.go(task, TaskEvent::Landed(commit))
    }

    fn queue(&mut self, event: &Event) -> Result<&mut Landing, IllegalEvent> {
        self.landing.as_mut().ok_or(IllegalEvent::Run { event: event.name() })
    }

    fn enter(&mut self, event: &Event, next: Phase) -> Result<(), IllegalEvent> {
        let legal = match (&self.phase, &next) {
            (Phase::Active, Phase::Active | Phase::Finished(_)) => matches!(event, Event::Finished { .. }),
            (Phase::Active, _) => true,
            (Phase::Paused(_), Phase::Active | Phase::Cancelling) => true,
            // So that the resume, whatever the first pause was for, asks again for what failed meanwhile.
            (Phase::Paused(_), Phase::Paused(PauseCause::LandingFails { .. })) => true,
            (Phase::Paused(PauseCause::Parent { .. }), Phase::Paused(PauseCause::Person)) => true,
            (Phase::Cancelling, Phase::Compensating | Phase::Finished(_)) => true,
            (Phase::Compensating, Phase::Finished(_)) => true,
            _ => false,
        };
        if !legal {
            return Err(IllegalEvent::Run { event: event.name() });
        }
        self.held = match next {
            Phase::Paused(PauseCause::Parent { .. }) => None,
            Phase::Paused(_) => self.held(),
            _ => None,
        };
        self.phase = next;
        Ok(())
    }

    fn keep_outputs(&mut self, task: TaskId, outputs: &crate::event::Outputs) {
        if !outputs.is_empty() {
            self.outputs.insert(task, outputs.clone());
        }
    }

    /// Counts failures in a row of an agent; a success ends the row.
    fn fared(&mut self, agent: Option<AgentId>, failure: Option<FailureClass>) {
        use FailureClass as F;
        let Some(agent) = agent else { return };
        match failure {
            None => drop(self.breakers.remove(&agent)),
            Some(F::Transient | F::Timeout | F::InvalidOutput | F::Permanent) => {
                self.breakers.entry(agent).or_default().failures += 1;
            }
            // The others say nothing about how well the agent works.
            Some(_) => {}
        }
    }

    /// Returns the paths and names that an attempt at `task` claims.
    pub(crate) fn claim_set(&self, task: TaskId) -> crate::claims::ClaimSet {
        let definition = self.plan.definition(task);
        let inner = match &definition.work {
            Work::Gate(_) => return crate::claims::ClaimSet::default(),
            #[cfg(kapell_planted)]
            Work::Workflow(_) if crate::planted::is("claims_of_child_not_held") => Default::default(),
            Work::Workflow(child) => child.plan.claims(),
            _ => Default::default(),
        };
        if definition.claims.is_empty() && inner.is_empty() {
            return crate::claims::ClaimSet::default();
        }
        // A claim that cannot be computed is one on everything: unknown overlap counts as overlap.
        let own = definition.claims.iter();
        let own = own.map(|claim| self.render(task, claim).unwrap_or_else(|_| "**".to_owned()));
        // A child run divides what its parent holds for it.
        own.chain(inner.into_iter().map(str::to_owned)).collect()
    }
}
