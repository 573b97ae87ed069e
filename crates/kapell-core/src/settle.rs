//! What a state calls for without any further wish: deciding conditions, waking, landing, starting, ending.
//!
//! One event at a time, each found in time logarithmic in the number of tasks, until nothing is left to do.

use std::collections::BTreeSet;

use crate::{
    budget::{Amount, Exceeded},
    decide::{compensation_started, recover},
    event::{Event, GateKind, Outcome, PauseCause},
    id::{AttemptNo, GateId, TaskId},
    landing::{Blame, Wish},
    plan::Work,
    retry::FailureClass,
    route::Reroute,
    run::{Lane, Phase, Price, Run},
    task::{Recovery, SkipCause, Slots, StopCause, TaskState},
    time::{Elapsed, Now, Wall},
};

/// The most tasks that wait for claims at a time. Bounds the work of one release; those beyond stay ready.
const CLAIM_QUEUE_MAX: usize = 256;

/// When a run wants to be looked at again though nothing happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wake {
    /// At this point of the run's own clock.
    pub elapsed: Option<Elapsed>,
    /// At this time of day.
    pub wall: Option<Wall>,
}

impl Run {
    /// Returns the number of the next gate.
    pub(crate) fn next_gate(&self) -> GateId {
        GateId(u32::try_from(self.gates_len()).unwrap_or(u32::MAX))
    }

    /// Tells whether a failure has made the run one that only ends and takes back what it did.
    #[must_use]
    pub fn is_doomed(&self) -> bool {
        self.mission().saga && self.counts().of("failed") > 0 && *self.phase() == Phase::Active
    }

    /// Returns when to look at the run again though nothing happens; nothing if it only waits for results, for
    /// people, or is over.
    ///
    /// What was due at the last batch has been done then, or waits for something else: only what comes after it
    /// counts.
    #[must_use]
    pub fn next_wake(&self) -> Wake {
        let relief = self.next_relief();
        if *self.phase() != Phase::Active || self.is_doomed() {
            return relief;
        }
        let wall = self.settled_at().wall;
        let deadline = self.deadline().filter(|at| *at > wall);
        Wake {
            elapsed: relief.elapsed.into_iter().chain(self.wall_budget_end()).min(),
            wall: relief.wall.into_iter().chain(deadline).min(),
        }
    }

    /// Returns when the run goes on by itself: the times of [`Run::next_wake`] but for those that only pause it, its
    /// deadline and the end of its time budget.
    #[must_use]
    pub fn next_relief(&self) -> Wake {
        if !matches!(self.phase(), Phase::Active | Phase::Paused(_) | Phase::Compensating) {
            return Wake::default();
        }
        let Now { elapsed, wall } = self.settled_at();
        let later = Elapsed(elapsed.0.saturating_add(1));
        let next =
            |times: &BTreeSet<(Elapsed, TaskId)>| times.range((later, TaskId(0))..).next().map(|(at, _)| *at);
        let deadline = next(&self.index().deadlines);
        if *self.phase() != Phase::Active || self.is_doomed() {
            return Wake { elapsed: deadline, wall: None };
        }
        let pause = next(&self.index().pauses);
        let agents = self.awaited_agents();
        let rests = agents.iter().filter_map(|agent| self.rest(*agent)).filter(|until| *until > elapsed);
        let closed = agents.iter().filter_map(|agent| {
            let closed = self.closed(self.plan().agent(*agent)?.provider.as_deref()?)?;
            (closed.until > wall && closed.latest > elapsed).then_some(closed)
        });
        let closed: Vec<_> = closed.collect();
        let (providers, latest) =
            (closed.iter().map(|closed| closed.until), closed.iter().map(|closed| closed.latest));
        let parked = self.index().parked.first().map(|(at, _)| *at);
        let start_by = self.index().start_by.first().map(|(at, _)| *at);
        let walls = parked.into_iter().chain(start_by).chain(providers);
        Wake {
            elapsed: deadline.into_iter().chain(pause).chain(rests).chain(latest).min(),
            wall: walls.filter(|at| *at > wall).min(),
        }
    }

    /// Returns the agents for which tasks wait.
    fn wanted_agents(&self) -> BTreeSet<crate::id::AgentId> {
        let ready = self.index().ready.keys().map(|(lane, _)| *lane);
        let claiming = self.claims().waiting().map(|(task, _)| self.lane(task));
        let agent = |lane| match lane {
            Lane::Agent(agent) => Some(agent),
            _ => None,
        };
        ready.chain(claiming).filter_map(agent).collect()
    }

    /// Returns the agents for which tasks wait, and those that could take such a task in their place.
    fn awaited_agents(&self) -> BTreeSet<crate::id::AgentId> {
        let routed = self.index().routed.values().filter_map(|tasks| tasks.first());
        let others = routed.flat_map(|task| self.ranking(*task)).copied();
        self.wanted_agents().into_iter().chain(others).collect()
    }

    /// Returns when the time budget is over if work goes on from now.
    fn wall_budget_end(&self) -> Option<Elapsed> {
        let limit = self.limits().wall.filter(|_| self.is_busy())?;
        Some(self.clock().after(crate::time::Millis(limit.0.saturating_sub(self.busy().0))))
    }
}

/// Returns the next events that the state calls for at `now`, which belong together; none if there is nothing to do.
#[must_use]
pub(crate) fn next_events(run: &Run, now: Now) -> Vec<Event> {
    match next_event(run, now) {
        Some(Event::SentBack { task, blame }) => {
            let message = match run.landing().map(crate::landing::Landing::wish) {
                Some(Wish::SendBack { message, .. }) => message,
                _ => String::new(),
            };
            let failed = send_back(run, task, &blame, &message, now);
            vec![Event::SentBack { task, blame }, failed]
        }
        event => event.into_iter().collect(),
    }
}

fn next_event(run: &Run, now: Now) -> Option<Event> {
    match run.phase() {
        Phase::Finished(_) => None,
        _ if !run.is_created() => None,
        Phase::Paused(_) => stop_for_pause(run).or_else(|| expire(run, now)).or_else(|| land(run)),
        Phase::Cancelling => end_all(run, true).or_else(|| wind_up(run)),
        Phase::Compensating => expire(run, now).or_else(|| compensate(run, now)),
        Phase::Active if run.is_doomed() => {
            expire(run, now).or_else(|| end_all(run, false)).or_else(|| wind_up(run))
        }
        Phase::Active => finish(run)
            .or_else(|| over_limit(run, now))
            .or_else(|| condition(run))
            .or_else(|| too_late(run, now))
            .or_else(|| expire(run, now))
            .or_else(|| wake(run, now))
            .or_else(|| open_gate(run))
            .or_else(|| land(run))
            .or_else(|| reroute(run, now))
            .or_else(|| start_waiting(run, now))
            .or_else(|| start(run, now))
            .or_else(|| out_of_budget(run, now)),
    }
}

fn over_limit(run: &Run, now: Now) -> Option<Event> {
    let (deadline, wall) = (run.deadline(), run.limits().wall);
    #[cfg(kapell_planted)]
    let (deadline, wall) = (
        deadline.filter(|_| !crate::planted::is("deadline_ignored")),
        wall.filter(|_| !crate::planted::is("wall_budget_ignored")),
    );
    if deadline.is_some_and(|deadline| now.wall >= deadline) {
        return Some(Event::Paused { why: PauseCause::Deadline });
    }
    let over = wall.is_some_and(|limit| run.busy_at(now.elapsed) >= limit);
    over.then_some(Event::Paused { why: PauseCause::Budget(Exceeded::Wall) })
}

/// At a deadline what runs is stopped; any other pause lets it end by itself. A child run is paused instead, so that
/// what it has done is not done again.
fn stop_for_pause(run: &Run) -> Option<Event> {
    run.stops().then(|| stop_running(run, StopCause::Deadline)).flatten()
}

fn stop_running(run: &Run, why: StopCause) -> Option<Event> {
    run.in_flight().find_map(|task| match run.state(task) {
        TaskState::Running(_) if why == StopCause::Deadline && run.lane(task) == Lane::Child => None,
        TaskState::Running(attempt) if attempt.stopping.is_none() => {
            Some(Event::StopRequested { task, attempt: attempt.number, why })
        }
        _ => None,
    })
}

fn condition(run: &Run) -> Option<Event> {
    let &task = run.index().unsettled.first()?;
    let TaskState::Blocked { tainted, .. } = run.state(task) else { return None };
    #[cfg(kapell_planted)]
    if crate::planted::is("condition_ignored") {
        return Some(Event::Unblocked { task });
    }
    let skip = |why| Some(Event::Skipped { task, why });
    match &run.plan().definition(task).condition {
        // As in GitHub's workflows, a condition that does not ask for the status means `success() && (...)`.
        Some(condition) if !tainted || condition.asks_status() => match run.holds(task, condition) {
            Some(true) => Some(Event::Unblocked { task }),
            Some(false) => skip(SkipCause::Condition),
            None => skip(SkipCause::BrokenCondition),
        },
        _ if *tainted => skip(SkipCause::Need),
        _ => Some(Event::Unblocked { task }),
    }
}

/// Gives up what has not begun by its deadline.
fn too_late(run: &Run, now: Now) -> Option<Event> {
    let (_, task) = *run.index().start_by.first().filter(|(at, _)| *at <= now.wall)?;
    #[cfg(kapell_planted)]
    if crate::planted::is("deadline_of_a_task_ignored") {
        return None;
    }
    Some(Event::AttemptFailed {
        task,
        attempt: AttemptNo(0),
        class: FailureClass::Timeout,
        message: "had not started by its deadline".to_owned(),
        spent: Amount::ZERO,
        then: Recovery::GiveUp,
    })
}

/// Stops the attempt whose time is up.
fn expire(run: &Run, now: Now) -> Option<Event> {
    let &(_, task) = run.index().deadlines.first().filter(|(at, _)| *at <= now.elapsed)?;
    let attempt = match run.state(task) {
        TaskState::Running(attempt) => attempt.number,
        TaskState::Compensating { attempt, .. } => *attempt,
        _ => return None,
    };
    Some(Event::StopRequested { task, attempt, why: StopCause::Timeout })
}

fn wake(run: &Run, now: Now) -> Option<Event> {
    let pause = run.index().pauses.first().filter(|(at, _)| *at <= now.elapsed).map(|(_, task)| *task);
    let parked = run.index().parked.first().filter(|(at, _)| *at <= now.wall).map(|(_, task)| *task);
    #[cfg(kapell_planted)]
    let parked = parked.filter(|_| !crate::planted::is("parked_never_woken"));
    pause.or(parked).map(|task| Event::Woken { task })
}

fn open_gate(run: &Run) -> Option<Event> {
    let gates = run
        .index()
        .ready
        .range((Lane::Gate, Price::default())..)
        .take_while(|((lane, _), _)| *lane == Lane::Gate);
    let (_, task) = *gates.filter_map(|(_, queue)| queue.first()).min()?;
    let Work::Gate(gate) = &run.plan().definition(task).work else { return None };
    let question = run.render(task, &gate.question).unwrap_or_else(|_| gate.question.source().to_owned());
    let choices = match gate.choices.is_empty() {
        true => vec!["yes".to_owned(), "no".to_owned()],
        false => gate.choices.clone(),
    };
    Some(Event::GateOpened { gate: run.next_gate(), task, kind: GateKind::Task, question, choices })
}

fn land(run: &Run) -> Option<Event> {
    if run.ref_move().is_some() {
        return None;
    }
    match run.landing()?.wish() {
        Wish::Nothing => None,
        Wish::Ask(probe) => Some(Event::ProbeAsked { probe }),
        Wish::Land { from, tips } => {
            let (_, to) = *tips.last()?;
            Some(Event::LandingStarted { from, to })
        }
        Wish::SendBack { task, blame, .. } => Some(Event::SentBack { task, blame }),
        Wish::BaseIsRed { message } => (*run.phase() == Phase::Active)
            .then_some(Event::Paused { why: PauseCause::BaseIsRed { message } }),
    }
}

/// A change that is sent back is a failed attempt at its task.
fn send_back(run: &Run, task: TaskId, blame: &Blame, message: &str, now: Now) -> Event {
    let attempt = match run.state(task) {
        TaskState::Verified(submission) => submission.attempt,
        _ => AttemptNo(run.task(task).map_or(0, |task| task.attempts)),
    };
    let (class, message) = match blame {
        Blame::Alone => (FailureClass::Verification, message.to_owned()),
        Blame::With(other) => {
            let other = run.plan().name(*other);
            (
                FailureClass::Conflict,
                format!("fails only together with `{other}`, which landed first: {message}"),
            )
        }
        Blame::Conflict(paths) => {
            (FailureClass::Conflict, format!("conflicts with what has landed in {}", paths.join(", ")))
        }
    };
    let then = match recover(run, task, class, None, now) {
        // Nothing is gained by waiting: what it failed with has landed.
        Recovery::Retry { .. } => Recovery::Again,
        then => then,
    };
    Event::AttemptFailed { task, attempt, class, message, spent: Amount::ZERO, then }
}

/// Moves a task to the next agent of its ranking that takes work, if the one that it waits for takes none.
fn reroute(run: &Run, now: Now) -> Option<Event> {
    run.index().routed.iter().find_map(|(&(from, _), tasks)| {
        let why = run.unwilling(from, now)?;
        let ranking = run.ranking(*tasks.first()?);
        let willing: Vec<_> = ranking.iter().filter(|agent| run.unwilling(**agent, now).is_none()).collect();
        tasks.iter().find_map(|&task| {
            let agent = **willing.iter().find(|agent| !run.has_tried(task, ***agent))?;
            Some(Event::Rerouted { task, from, agent, why })
        })
    })
}

/// Who asked for claims first gets them first.
fn start_waiting(run: &Run, now: Now) -> Option<Event> {
    run.claims().waiting().find_map(|(task, set)| {
        let lane = run.lane(task);
        (run.has_room(task, lane, now) && run.claims().is_free(task, set) && run.affords(task).is_ok())
            .then(|| start_event(run, task, lane, now))
    })
}

fn start(run: &Run, now: Now) -> Option<Event> {
    let heads = run.index().ready.iter().filter(|((lane, _), _)| *lane != Lane::Gate);
    let heads = heads.filter_map(|((lane, _), queue)| Some((*queue.first()?, *lane)));
    let mut heads: Vec<_> = heads.filter(|((_, task), lane)| run.has_room(*task, *lane, now)).collect();
    heads.sort_unstable();
    for ((_, task), lane) in heads {
        if run.affords(task).is_err() {
            continue;
        }
        let set = run.claim_set(task);
        if set.is_empty() || run.claims().is_free(task, &set) {
            return Some(start_event(run, task, lane, now));
        }
        if run.claims().waiting_len() < CLAIM_QUEUE_MAX {
            return Some(Event::ClaimsAwaited { task });
        }
    }
    None
}

fn start_event(run: &Run, task: TaskId, lane: Lane, now: Now) -> Event {
    let definition = run.plan().definition(task);
    Event::Started {
        task,
        attempt: AttemptNo(run.task(task).map_or(0, |task| task.attempts)).next(),
        agent: run.agent(task),
        deadline: definition.timeout.map(|timeout| now.elapsed.after(timeout)),
        reserved: run.reserve(task),
        held: run.ledger().hold_for(definition.reserve, run.forecast(task)),
        grant: (lane == Lane::Child).then(|| run.grant(task)),
    }
}

impl Run {
    /// Tells whether what is to be set aside for an attempt at `task` is there, and what it is expected to cost beyond that.
    ///
    /// What is not there because others hold it is there once they have settled: the task waits, and what is expected to
    /// cost less goes first. It does not wait for ever, for it starts at the latest when nothing else is under way.
    fn affords(&self, task: TaskId) -> Result<(), Exceeded> {
        #[cfg(kapell_planted)]
        if crate::planted::is("budget_not_asked") {
            return Ok(());
        }
        let reserve = self.plan().definition(task).reserve;
        self.ledger().fits(reserve)?;
        let lane = self.lane(task);
        // A model costs something, even where nothing was set aside for it.
        match self.slots_needed(task, lane).agents {
            0 => Ok(()),
            _ if lane == Lane::Child && self.ledger().shares(reserve) => self.ledger().is_left(),
            _ => {
                if reserve.is_zero() {
                    self.ledger().is_left()?;
                }
                self.ledger().expects(reserve, self.forecast(task))
            }
        }
    }

    /// Returns what is set aside for an attempt at `task`.
    ///
    /// A child run with model-driven agents decides within what it is granted. Where its definition grants nothing of
    /// a kind that is limited, that is half of what is left, as with slots, so that others go on beside it.
    fn reserve(&self, task: TaskId) -> Amount {
        let reserve = self.plan().definition(task).reserve;
        match self.lane(task) {
            Lane::Child if self.grant(task).agents > 0 => self.ledger().share(reserve),
            _ => reserve,
        }
    }

    /// Tells whether the run is paused in a way that stops what runs.
    pub(crate) fn stops(&self) -> bool {
        let own =
            matches!(self.phase(), Phase::Paused(PauseCause::Deadline | PauseCause::Budget(Exceeded::Wall)));
        own || self.held() == Some(true)
    }

    fn slots_needed(&self, task: TaskId, lane: Lane) -> Slots {
        match lane {
            Lane::Child => self.grant(task),
            lane => self.slots_of(lane),
        }
    }

    /// Tells whether one more attempt, at `task`, may start in `lane`.
    fn has_room(&self, task: TaskId, lane: Lane, now: Now) -> bool {
        let used = self.index().slots;
        let limits = self.limits();
        if let Lane::Agent(agent) = lane
            && !self.is_willing(agent, now)
        {
            return false;
        }
        #[cfg(kapell_planted)]
        if crate::planted::is("slots_not_counted") {
            return true;
        }
        let needed = self.slots_needed(task, lane);
        // Whatever the limit, one may run: otherwise none ever would.
        let fits = |used: u32, needed: u32, limit: u32| {
            used.checked_add(needed).is_some_and(|sum| sum <= limit.max(needed))
        };
        #[cfg(kapell_planted)]
        let limits = &crate::budget::Limits {
            memory_mib: limits.memory_mib.filter(|_| !crate::planted::is("memory_not_counted")),
            ..*limits
        };
        fits(used.jobs, needed.jobs, limits.jobs)
            && fits(used.agents, needed.agents, limits.agents)
            && limits.memory_mib.is_none_or(|limit| fits(used.memory_mib, needed.memory_mib, limit))
    }

    /// Tells whether `agent` takes work: its provider is not parked, and it does not rest after failures.
    pub(crate) fn is_willing(&self, agent: crate::id::AgentId, now: Now) -> bool {
        self.unwilling(agent, now).is_none()
    }

    /// Returns why `agent` takes no work, if it takes none.
    fn unwilling(&self, agent: crate::id::AgentId, now: Now) -> Option<Reroute> {
        let provider = self.plan().agent(agent).and_then(|spec| spec.provider.as_deref());
        let closed = provider.and_then(|provider| self.closed(provider));
        let parked = closed.is_some_and(|closed| closed.until > now.wall && closed.latest > now.elapsed);
        let rests = self.rest(agent).is_some_and(|until| {
            // After its rest one attempt shows whether it works again.
            until > now.elapsed || self.index().by_agent.get(&agent).is_some_and(|running| *running > 0)
        });
        #[cfg(kapell_planted)]
        let (parked, rests) = (
            parked && !crate::planted::is("quota_ignored"),
            rests && !crate::planted::is("rest_of_agent_ignored"),
        );
        match (parked, rests) {
            (true, _) => Some(Reroute::Parked),
            (_, true) => Some(Reroute::Resting),
            _ => None,
        }
    }

    /// Returns the slots of a child run: half of what there is, so that others go on beside it, but of each kind that
    /// it needs at least one, for one will run there.
    fn grant(&self, task: TaskId) -> Slots {
        let Work::Workflow(child) = &self.plan().definition(task).work else { return Slots::default() };
        let agents = match child.needs_agents() {
            true => (self.limits().agents / 2).max(1),
            false => 0,
        };
        let memory_mib = self.limits().memory_mib.filter(|_| agents > 0).map_or(0, |limit| limit / 2);
        Slots { agents, jobs: (self.limits().jobs / 2).max(1), memory_mib }
    }
}

/// Ends, one by one, what has begun and is not running; with `stop` also what is.
fn end_all(run: &Run, stop: bool) -> Option<Event> {
    let stopped = stop.then(|| stop_running(run, StopCause::Cancelled)).flatten();
    stopped.or_else(|| {
        // What is about to land lands: the ref may have moved already. What was tried with it waits till then, for
        // taking that out would end the search that knows what lands.
        let landing = run.landing().filter(|_| run.ref_move().is_some());
        let is_tried = |task| landing.is_some_and(|landing| landing.is_tried(task));
        #[cfg(kapell_planted)]
        let is_tried = |task| is_tried(task) && !crate::planted::is("cancelled_task_lands");
        let task = run.index().begun.iter().find(|task| !is_tried(**task))?;
        Some(Event::Cancelled { task: *task })
    })
}

/// Once nothing is in flight, takes back what was done, or ends.
fn wind_up(run: &Run) -> Option<Event> {
    if run.in_flight().next().is_some() || run.ref_move().is_some() || !run.index().begun.is_empty() {
        return None;
    }
    #[cfg(kapell_planted)]
    if crate::planted::is("compensation_skipped") {
        let outcome = if *run.phase() == Phase::Cancelling { Outcome::Cancelled } else { Outcome::Failed };
        return Some(Event::Finished { outcome });
    }
    if run.mission().saga && !run.compensable().is_empty() {
        return Some(Event::CompensationBegun {});
    }
    let outcome = match run.phase() {
        Phase::Cancelling => Outcome::Cancelled,
        _ => Outcome::Failed,
    };
    Some(Event::Finished { outcome })
}

/// Takes back the last completed first, one at a time.
///
/// What a compensation changes lands as it is: it starts from the head, and nothing else lands meanwhile, so there is
/// nothing to merge it with. Nor is it checked. Checks say whether the mission is fulfilled, which it is not, and a base
/// whose tests fail must be a place to go back to.
///
/// Source: Garcia-Molina and Salem, "Sagas", 1987.
fn compensate(run: &Run, now: Now) -> Option<Event> {
    if let Some(&task) = run.index().stuck.first() {
        let name = run.plan().name(task);
        let question = format!("`{name}` could not be taken back: try again, or leave it as it is?");
        let choices = vec!["retry".to_owned(), "skip".to_owned()];
        return Some(Event::GateOpened {
            gate: run.next_gate(),
            task,
            kind: GateKind::Compensation,
            question,
            choices,
        });
    }
    #[cfg(kapell_planted)]
    if crate::planted::is("compensation_in_start_order") {
        if run.compensable().iter().any(|task| !run.state(*task).is_success()) {
            return None;
        }
        let task = run.compensable().iter().min();
        return Some(task.map_or(Event::Finished { outcome: Outcome::Compensated }, |&task| {
            compensation_started(run, task, AttemptNo(1), now)
        }));
    }
    if let Some((_, from, to)) = run.reversal() {
        return run.ref_move().is_none().then_some(Event::LandingStarted { from, to });
    }
    Some(match run.compensable().last() {
        Some(task) if !run.state(*task).is_success() => return None,
        Some(&task) => compensation_started(run, task, AttemptNo(1), now),
        None => Event::Finished { outcome: Outcome::Compensated },
    })
}

/// Ends the run when every task is settled.
fn finish(run: &Run) -> Option<Event> {
    #[cfg(kapell_planted)]
    let early = usize::from(crate::planted::is("finished_too_early"));
    #[cfg(not(kapell_planted))]
    let early = 0;
    if run.index().settled + early < run.len() {
        return None;
    }
    let outcome = match run.counts().of("failed") {
        0 => Outcome::Succeeded,
        _ => Outcome::Failed,
    };
    Some(Event::Finished { outcome })
}

/// Pauses the run when only a higher budget would help.
fn out_of_budget(run: &Run, now: Now) -> Option<Event> {
    if run.in_flight().next().is_some() || run.landing().is_some_and(|landing| !landing.is_idle()) {
        return None;
    }
    // Other tasks go on by themselves after a pause, or when a person has answered.
    let others = run.index().begun.len() > run.claims().waiting_len();
    if others || run.wanted_agents().into_iter().any(|agent| !run.is_willing(agent, now)) {
        return None;
    }
    let waiting = run.claims().waiting().map(|(task, _)| task);
    let ready = run.index().ready.values().filter_map(|queue| queue.first().map(|(_, task)| *task));
    let exceeded = waiting.chain(ready).find_map(|task| run.affords(task).err())?;
    Some(Event::Paused { why: PauseCause::Budget(exceeded) })
}
