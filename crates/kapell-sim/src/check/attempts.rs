//! Attempts: when one may start, how it ends, and what may follow a failure.

use super::{
    AgentId, Amount, AttemptNo, Checked, Checker, Choice, Elapsed, Event, FailureClass, Git, LostPolicy,
    Outputs, Phase, Recovery, SkipCause, Slot, Slots, Stand, StopCause, TaskId, Violation, Wall, Work,
    ensure,
};

impl Checker {
    pub(super) fn started(&mut self, event: &Event, at: Wall) -> Checked {
        let Event::Started { task, attempt, agent, deadline, reserved, held, grant } = event else {
            return Ok(());
        };
        let task = *task;
        ensure!(self.phase == Phase::Active, "an attempt starts while {:?}", self.phase);
        ensure!(!self.is_doomed(), "an attempt starts in a saga that failed");
        ensure!(self.may_start(task), "an attempt starts before its time: {:?}", self.at(task).stand);
        ensure!(
            attempt.0 == self.at(task).attempts + 1,
            "attempt {attempt} after {}",
            self.at(task).attempts
        );
        ensure!(*agent == self.at(task).agent, "the agent is not the one of the task");
        ensure!(self.deadline.is_none_or(|deadline| at < deadline), "an attempt starts after the deadline");
        ensure!(!self.wall_spent(), "an attempt starts after the time budget");
        let definition = self.plan.definition(task).clone();
        let begins = self.at(task).attempts == 0;
        let late = begins && definition.deadline.is_some_and(|by| by <= at);
        ensure!(!late, "a task begins after its deadline");
        let due = definition.timeout.map(|length| self.clock.after(length));
        ensure!(*deadline == due, "a strange deadline");
        ensure!(*reserved == self.price(task), "a strange reservation");
        self.foresee(task, *reserved, *held)?;
        self.reserve(task, *reserved)?;
        self.take_slots(task, *grant)?;
        self.take_claims(task)?;
        self.check_agent(task, at)?;
        if let Some(agent) = agent {
            *self.by_agent.entry(*agent).or_default() += 1;
        }
        let watched = self.watch(task);
        watched.attempts = attempt.0;
        watched.agent_now = *agent;
        watched.deadline = due;
        watched.stopping = None;
        watched.question = None;
        watched.rests = None;
        watched.commit = None;
        watched.stand = Stand::Running;
        Ok(())
    }

    /// What is to be set aside. A child run of agents with no price takes half of what is left.
    fn price(&self, task: TaskId) -> Amount {
        let definition = self.plan.definition(task);
        let mut price = definition.reserve;
        let Work::Workflow(child) = &definition.work else { return price };
        if child.plan.agents().iter().all(|agent| agent.slot != Slot::Agent) {
            return price;
        }
        let taken = self.spent + self.reserved + self.expected;
        let half = |limit: u64, taken: u64| if limit > taken { (limit - taken).div_ceil(2) } else { 0 };
        if let (0, Some(limit)) = (price.usd_micros, self.limits.usd_micros) {
            price.usd_micros = half(limit, taken.usd_micros);
        }
        if let (0, Some(limit)) = (price.tokens, self.limits.tokens) {
            price.tokens = half(limit, taken.tokens);
        }
        price
    }

    /// What it is expected to cost is held, if that is limited and not reserved; it has to be there unless nothing else is
    /// set aside.
    fn foresee(&mut self, task: TaskId, reserved: Amount, held: Amount) -> Checked {
        let definition = self.plan.definition(task);
        let agent = self.at(task).agent.filter(|_| !matches!(definition.work, Work::Workflow(_)));
        let agent =
            agent.filter(|agent| self.plan.agent(*agent).is_some_and(|spec| spec.slot == Slot::Agent));
        let known = definition.forecasts.iter().find(|forecast| Some(forecast.agent) == agent);
        let forecast = known.map_or(Amount::ZERO, |forecast| forecast.amount);
        let taken = self.spent + self.reserved + self.expected;
        let alone = self.reserved.is_zero() && self.expected.is_zero();
        let said = definition.reserve;
        for (limit, said, forecast, taken, held) in [
            (self.limits.usd_micros, said.usd_micros, forecast.usd_micros, taken.usd_micros, held.usd_micros),
            (self.limits.tokens, said.tokens, forecast.tokens, taken.tokens, held.tokens),
        ] {
            let left = limit.map_or(0, |limit| limit.saturating_sub(taken));
            let wanted = if limit.is_none() || said > 0 { 0 } else { forecast };
            ensure!(
                held == wanted.min(left),
                "{held} held for task {task}, which may cost {wanted} of {left}"
            );
            ensure!(alone || wanted <= left, "task {task} starts on what others are expected to cost");
            ensure!(
                reserved.is_zero() || alone || limit.is_none() || said <= left,
                "task {task} reserves it"
            );
        }
        self.expected += held;
        self.watch(task).expected = held;
        Ok(())
    }

    fn reserve(&mut self, task: TaskId, amount: Amount) -> Checked {
        let total = self.spent + self.reserved + amount;
        let fits = |asked: u64, total: u64, limit: Option<u64>| {
            asked == 0 || limit.is_none_or(|limit| total <= limit)
        };
        ensure!(
            fits(amount.usd_micros, total.usd_micros, self.limits.usd_micros)
                && fits(amount.tokens, total.tokens, self.limits.tokens),
            "task {task} starts beyond the budget: {total:?} of {:?}",
            self.limits
        );
        self.reserved += amount;
        self.watch(task).reserved = amount;
        Ok(())
    }

    fn take_slots(&mut self, task: TaskId, grant: Option<Slots>) -> Checked {
        let is_child = matches!(self.plan.definition(task).work, Work::Workflow(_));
        ensure!(is_child == grant.is_some(), "a grant is for child runs");
        let agent = self.at(task).agent.and_then(|agent| self.plan.agent(agent));
        let own = match agent.map_or(Slot::Job, |agent| agent.slot) {
            Slot::Job => Slots::new(0, 1),
            Slot::Agent => Slots::new(1, 0),
            Slot::None => Slots::default(),
        };
        let memory_mib = agent.map_or(0, |agent| agent.memory_mib);
        let needed = grant.unwrap_or(Slots { memory_mib, ..own });
        self.slots.memory_mib += needed.memory_mib;
        // More than there is runs alone.
        let most = self.limits.memory_mib.map(|limit| limit.max(needed.memory_mib));
        ensure!(
            needed.memory_mib == 0 || most.is_none_or(|most| self.slots.memory_mib <= most),
            "{} MiB beyond {most:?}",
            self.slots.memory_mib
        );
        self.slots.agents += needed.agents;
        self.slots.jobs += needed.jobs;
        // Limits of nothing let one run at a time. Limits can be lowered while more than that run.
        ensure!(
            (needed.agents == 0 || self.slots.agents <= self.limits.agents.max(1))
                && (needed.jobs == 0 || self.slots.jobs <= self.limits.jobs.max(1)),
            "slots {:?} beyond {:?}",
            self.slots,
            self.limits
        );
        self.watch(task).slots = needed;
        Ok(())
    }

    fn take_claims(&mut self, task: TaskId) -> Checked {
        let wanted = self.at(task).claims;
        let other = self.held.iter().find(|(holder, held)| **holder != task && **held & wanted != 0);
        ensure!(other.is_none(), "task {task} claims what {:?} holds", other.map(|(holder, _)| holder));
        if wanted != 0 {
            self.held.insert(task, wanted);
        }
        Ok(())
    }

    pub(super) fn routed(&mut self, tasks: &[TaskId], ranking: &[Choice]) -> Checked {
        for &task in tasks {
            ensure!(self.at(task).attempts == 0, "agents are ranked for a task that has begun");
            let watched = self.watch(task);
            watched.ranking = ranking.iter().map(|choice| choice.agent).collect();
            watched.agent = watched.ranking.first().copied();
        }
        Ok(())
    }

    pub(super) fn rerouted(&mut self, task: TaskId, from: AgentId, agent: AgentId, at: Wall) -> Checked {
        let watched = self.at(task);
        ensure!(watched.stand == Stand::Waiting, "a task goes elsewhere that is {:?}", watched.stand);
        ensure!(watched.agent == Some(from), "a task is taken from an agent that does not have it");
        ensure!(watched.ranking.contains(&agent), "a task goes to a stranger");
        ensure!(!watched.had.contains(&agent), "a task goes to an agent that failed at it");
        ensure!(self.takes_work(from, at).is_err(), "a task is taken from an agent that takes work");
        self.takes_work(agent, at)?;
        self.watch(task).agent = Some(agent);
        Ok(())
    }

    fn check_agent(&self, task: TaskId, at: Wall) -> Checked {
        self.at(task).agent.map_or(Ok(()), |agent| self.takes_work(agent, at))
    }

    fn takes_work(&self, agent: AgentId, at: Wall) -> Checked {
        let provider = self.plan.agent(agent).and_then(|spec| spec.provider.as_ref());
        let parked = provider.and_then(|provider| self.providers.get(provider));
        let open = parked.is_none_or(|(until, latest)| *until <= at || *latest <= self.clock);
        ensure!(open, "an attempt starts at a provider without quota");
        if let Some(until) = self.health.get(&agent).and_then(|health| health.rests) {
            ensure!(until <= self.clock, "an attempt starts though its agent rests until {until:?}");
            let others = self.by_agent.get(&agent).copied().unwrap_or(0);
            ensure!(others == 0, "more than one attempt tries an agent after its rest");
        }
        Ok(())
    }

    pub(super) fn stop_requested(&mut self, task: TaskId, attempt: AttemptNo, why: StopCause) -> Checked {
        if self.at(task).stand == Stand::Compensating(attempt) {
            let due = self.watch(task).undo_by.take().is_some_and(|by| by <= self.clock);
            ensure!(due && why == StopCause::Timeout, "a compensation is stopped before its time");
            return Ok(());
        }
        ensure!(self.is_running(task, attempt), "an attempt is stopped that does not run");
        let is_child = matches!(self.plan.definition(task).work, Work::Workflow(_));
        ensure!(!is_child || why != StopCause::Deadline, "a child run is stopped at a deadline");
        ensure!(self.at(task).stopping.is_none(), "an attempt is stopped twice");
        if why == StopCause::Timeout {
            ensure!(self.at(task).question.is_none(), "an attempt is timed out that waits for an answer");
            ensure!(self.at(task).rests.is_none(), "an attempt is timed out whose child run rests");
            let due = self.at(task).deadline.is_some_and(|deadline| deadline <= self.clock);
            ensure!(due, "an attempt is timed out before its time");
        }
        self.watch(task).stopping = Some(why);
        Ok(())
    }

    /// The child run of an attempt comes to rest, or goes on: its time stands still meanwhile.
    pub(super) fn child_rests(&mut self, task: TaskId, attempt: AttemptNo, rests: bool) -> Checked {
        ensure!(self.is_running(task, attempt), "a child run rests that does not run");
        let is_child = matches!(self.plan.definition(task).work, Work::Workflow(_));
        ensure!(is_child, "what is no child run rests");
        let clock = self.clock;
        let watched = self.watch(task);
        ensure!(watched.rests.is_some() != rests, "a child run rests twice, or goes on twice");
        match watched.rests.take() {
            Some(since) => {
                watched.deadline = watched.deadline.map(|deadline| deadline.after(clock.since(since)));
            }
            None => watched.rests = Some(clock),
        }
        Ok(())
    }

    /// The attempt under way has ended: what it took is given back.
    pub(super) fn ends(
        &mut self,
        task: TaskId,
        attempt: AttemptNo,
        outputs: &Outputs,
        spent: Amount,
    ) -> Checked {
        ensure!(
            self.at(task).stand == Stand::Running,
            "an outcome, but the task is {:?}",
            self.at(task).stand
        );
        ensure!(self.at(task).attempts == attempt.0, "an outcome of attempt {attempt}");
        if let Some(made) = outputs.get("by") {
            ensure!(
                *made == format!("{task}.{attempt}"),
                "the result of {made} is taken for {task}.{attempt}"
            );
        }
        let watched = self.watch(task);
        let (reserved, expected) = (watched.reserved, watched.expected);
        let (slots, agent) = (watched.slots, watched.agent_now);
        watched.deadline = None;
        watched.go = outputs.get("v").is_some_and(|value| value == "go");
        watched.question = None;
        self.reserved -= reserved;
        self.expected -= expected;
        self.spent += spent;
        self.slots.agents -= slots.agents;
        self.slots.jobs -= slots.jobs;
        self.slots.memory_mib -= slots.memory_mib;
        if let Some(count) = agent.and_then(|agent| self.by_agent.get_mut(&agent)) {
            *count -= 1;
        }
        Ok(())
    }

    pub(super) fn completed(&mut self, task: TaskId, outputs: &Outputs, spent: Amount) -> Checked {
        if let Stand::Gate(gate) = self.at(task).stand {
            ensure!(self.gates[gate.index()].answered, "a gate's task is done before its answer");
            ensure!(spent.is_zero(), "a gate costs nothing");
        } else {
            ensure!(self.plan.definition(task).accept.is_empty(), "a result is not checked");
            ensure!(self.at(task).stopping.is_none(), "what was stopped is done");
            self.is_not_handed_on(task, None)?;
            let attempt = AttemptNo(self.at(task).attempts);
            self.ends(task, attempt, outputs, spent)?;
            self.fared(task, None);
        }
        self.check_promises(task, outputs)?;
        self.settle(task, Stand::Done);
        Ok(())
    }

    pub(super) fn submitted(&mut self, event: &Event) -> Checked {
        let Event::Submitted { task, attempt, change, outputs, spent } = event else { return Ok(()) };
        ensure!(self.at(*task).stopping.is_none(), "what was stopped is submitted");
        self.is_not_handed_on(*task, *change)?;
        self.ends(*task, *attempt, outputs, *spent)?;
        self.fared(*task, None);
        self.check_promises(*task, outputs)?;
        (self.watch(*task).lost, self.watch(*task).limited) = (0, None);
        self.watch(*task).commit = change.map(|change| change.commit);
        self.leave(*task, Stand::Submitted);
        Ok(())
    }

    fn check_promises(&self, task: TaskId, outputs: &Outputs) -> Checked {
        let missing =
            self.plan.definition(task).outputs.iter().find(|spec| !outputs.contains_key(&spec.name));
        ensure!(missing.is_none(), "a promised output is missing");
        Ok(())
    }

    pub(super) fn verified(&mut self, task: TaskId) -> Checked {
        ensure!(self.at(task).stand == Stand::Submitted, "verified, but not submitted");
        let attempt = AttemptNo(self.at(task).attempts);
        let passed = self.plan.definition(task).accept.is_empty() || self.passed.contains(&(task, attempt));
        ensure!(passed, "verified, but its checks did not pass");
        match self.at(task).commit {
            Some(_) => self.leave(task, Stand::Verified),
            None => self.settle(task, Stand::Done),
        }
        Ok(())
    }

    pub(super) fn fared(&mut self, task: TaskId, failure: Option<FailureClass>) {
        use FailureClass as F;
        let Some(agent) = self.at(task).agent_now else { return };
        match failure {
            None => drop(self.health.remove(&agent)),
            Some(F::Transient | F::Timeout | F::InvalidOutput | F::Permanent) => {
                self.health.entry(agent).or_default().failures += 1;
            }
            Some(_) => {}
        }
    }

    pub(super) fn attempt_failed(&mut self, event: &Event, at: Wall, git: &Git) -> Checked {
        let Event::AttemptFailed { task, attempt, class, spent, then, .. } = event else { return Ok(()) };
        let (task, class) = (*task, *class);
        ensure!(
            attempt.0 == self.at(task).attempts,
            "attempt {attempt} failed, not {}",
            self.at(task).attempts
        );
        match self.at(task).stand {
            Stand::Running => {
                let told = self.at(task).stopping.is_some_and(|why| why != StopCause::Timeout);
                self.ends(task, *attempt, &Outputs::new(), *spent)?;
                if !told {
                    self.fared(task, Some(class));
                }
            }
            Stand::Submitted => {
                ensure!(spent.is_zero(), "it was paid twice");
                self.watch(task).passed_on = None;
            }
            Stand::Gate(_) => ensure!(spent.is_zero(), "it was paid twice"),
            Stand::Waiting => {
                let late = self.plan.definition(task).deadline.is_some_and(|by| by <= at);
                ensure!(late && self.at(task).attempts == 0, "given up before its deadline");
                ensure!(*then == Recovery::GiveUp && spent.is_zero(), "what never began is over");
                self.settle(task, Stand::Failed);
                return Ok(());
            }
            Stand::Verified => {
                self.check_blame(task, class, git)?;
                self.watch(task).passed_on = None;
            }
            other => return Err(Violation(format!("an attempt fails of a task that is {other:?}"))),
        }
        self.check_recovery(task, class, *then, at)?;
        self.set_back(task, class);
        if class.counts() {
            self.watch(task).failures += 1;
        }
        self.recover(task, *then);
        Ok(())
    }

    /// Counts what was no fault of the task, in a row.
    fn set_back(&mut self, task: TaskId, class: FailureClass) {
        let clock = self.clock;
        let watched = self.watch(task);
        if watched.stopping == Some(StopCause::Deadline) && watched.stand == Stand::Running {
            return;
        }
        match class {
            FailureClass::Lost => watched.lost += 1,
            FailureClass::Quota | FailureClass::RateLimited => {
                watched.limited.get_or_insert(clock);
            }
            _ => (watched.lost, watched.limited) = (0, None),
        }
    }

    /// Tells whether one more failure of `class` is more than is borne.
    fn is_too_much(&self, task: TaskId, class: FailureClass) -> bool {
        let watched = self.at(task);
        let bounds = self.mission.persistence;
        let stopped = watched.stand == Stand::Running && watched.stopping.is_some();
        match class {
            FailureClass::Lost => !stopped && watched.lost + 1 >= bounds.lost,
            FailureClass::RateLimited => {
                watched.limited.is_some_and(|since| self.clock.since(since) >= bounds.rate_limited)
            }
            FailureClass::Quota => {
                watched.limited.is_some_and(|since| self.clock.since(since) >= bounds.quota)
            }
            _ => false,
        }
    }

    /// A wait for a provider ends on the run's own clock too, after what was said or as much as is borne.
    pub(super) fn check_bound(&self, until: Wall, latest: Elapsed, at: Wall) -> Checked {
        let said = u64::try_from(until.0 - at.0).unwrap_or(0);
        let bounds = self.mission.persistence;
        let most = bounds.quota.max(bounds.rate_limited).0.min(said);
        ensure!(latest.since(self.clock).0 <= most, "a park until {until:?} has no bound: {latest:?}");
        Ok(())
    }

    fn recover(&mut self, task: TaskId, then: Recovery) {
        match then {
            Recovery::Again => self.leave(task, Stand::Waiting),
            Recovery::Retry { at } => self.leave(task, Stand::BackingOff(at)),
            Recovery::Park { until, latest } => self.leave(task, Stand::Parked(until, latest)),
            Recovery::Substitute { agent } => {
                let watched = self.watch(task);
                watched.had.extend(watched.agent);
                watched.agent = Some(agent);
                watched.failures = 0;
                (watched.lost, watched.limited) = (0, None);
                self.leave(task, Stand::Waiting);
            }
            Recovery::Ask { gate } => self.leave(task, Stand::Gate(gate)),
            Recovery::GiveUp => self.settle(task, Stand::Failed),
            Recovery::Cancel => self.settle(task, Stand::Cancelled),
            Recovery::Drop => self.settle(task, Stand::Skipped(SkipCause::Superseded)),
        }
    }

    fn check_recovery(&self, task: TaskId, class: FailureClass, then: Recovery, at: Wall) -> Checked {
        let definition = self.plan.definition(task);
        let watched = self.at(task);
        let failures = watched.failures + 1;
        let allowed = match class {
            FailureClass::Conflict => definition.retry.attempts.max(3),
            _ => definition.retry.attempts,
        };
        let used_up = failures >= allowed;
        // Another attempt of the same agent is neither forbidden nor pointless.
        let too_much = self.is_too_much(task, class);
        let limited = self.limits.usd_micros.is_some() || self.limits.tokens.is_some();
        // More of what is not limited cannot be had.
        let too_much = too_much || class == FailureClass::Budget && !limited;
        let may_go_on = class.is_retryable() && (!class.counts() || !used_up) && !too_much;
        match then {
            Recovery::Retry { at } => {
                ensure!(may_go_on, "attempt {failures} of {allowed} failed ({class}) and is tried again");
                let pause = at.since(self.clock);
                let (min, max) = (definition.retry.backoff_min, definition.retry.backoff_max);
                ensure!(at >= self.clock && pause >= min && pause <= max.max(min), "a pause of {pause:?}");
            }
            Recovery::Again => {
                ensure!(may_go_on, "attempt {failures} of {allowed} failed ({class}) and is tried again");
                let asks = definition.retry_lost == LostPolicy::Ask;
                let at_once = match class {
                    FailureClass::Lost => !asks,
                    FailureClass::Conflict | FailureClass::Budget => true,
                    FailureClass::Verification => watched.stand == Stand::Verified,
                    _ => false,
                };
                ensure!(at_once, "a {class} failure is tried again at once");
            }
            Recovery::Park { until, latest } => {
                ensure!(!too_much, "parked once more than is borne");
                self.check_bound(until, latest, at)?;
                let quota = matches!(class, FailureClass::Quota | FailureClass::RateLimited);
                ensure!(quota && until > at, "parked until {until:?} after a {class} failure");
            }
            Recovery::Substitute { agent } => {
                let spec = watched.agent.and_then(|agent| self.plan.agent(agent));
                let known = match watched.ranking.is_empty() {
                    true => spec.and_then(|spec| spec.fallback) == Some(agent),
                    false => watched.ranking.contains(&agent),
                };
                ensure!(known, "a stranger takes over");
                let had = watched.had.contains(&agent) || watched.agent == Some(agent);
                ensure!(!had, "an agent takes over that had the task");
                let limited = matches!(class, FailureClass::Quota | FailureClass::RateLimited);
                let elsewhere = limited && !watched.ranking.is_empty();
                ensure!(!may_go_on || elsewhere, "an agent is replaced before its attempts are used up");
            }
            Recovery::Ask { .. } => ensure!(class == FailureClass::Lost, "asked after a {class} failure"),
            Recovery::Cancel => {
                ensure!(self.cancel_asked || self.is_doomed(), "cancelled though nobody asked");
            }
            Recovery::Drop => {
                ensure!(watched.stopping == Some(StopCause::Superseded), "dropped, but not superseded");
            }
            Recovery::GiveUp => {
                let refused = matches!(watched.stand, Stand::Gate(_)) || watched.doubt.is_some();
                let refused = refused || class == FailureClass::Permission;
                ensure!(refused || !may_go_on, "given up after {failures} of {allowed} attempts");
            }
        }
        let stays = matches!(then, Recovery::Drop | Recovery::Cancel);
        let superseded = watched.stand == Stand::Running && watched.stopping == Some(StopCause::Superseded);
        ensure!(!superseded || stays, "a superseded task goes on");
        Ok(())
    }

    pub(super) fn woken(&mut self, task: TaskId, at: Wall) -> Checked {
        match self.at(task).stand {
            Stand::BackingOff(until) => ensure!(until <= self.clock, "woken before its pause is over"),
            Stand::Parked(until, latest) => {
                ensure!(until <= at || latest <= self.clock, "woken before its provider has quota");
            }
            other => return Err(Violation(format!("a task is woken that is {other:?}"))),
        }
        self.watch(task).stand = Stand::Waiting;
        Ok(())
    }
}
