//! The decider: a command against a state gives the events that follow from it, or a reason why none do.
//!
//! Nothing here looks at the world. [`decide`] answers one command; what the new state then calls for without any
//! further wish (starting what is ready, ending what is over) is in [`crate::settle`].

use crate::{
    budget::Amount,
    command::{Command, Exit, Rejection, Verdict},
    event::{Event, GateKind, Outputs, PauseCause, PlanRef},
    id::{AgentId, AttemptNo, GateId, TaskId},
    landing::Wish,
    plan::{LostPolicy, Work},
    retry::FailureClass,
    route::{Choice, HANDOFFS_MAX, PassedOver, RANKED_MAX},
    run::{Phase, Run},
    task::{Attempt, Change, Recovery, StopCause, TaskState},
    time::{Elapsed, Millis, Now, Wall},
};

/// Failures of one agent in a row after which it rests.
///
/// The shape (closed, open, half-open) is Nygard's circuit breaker ("Release It!", 2007); five in a row is the
/// default of the libraries that made it common (resilience4j and Polly use 5 to 100).
pub const BREAKER_FAILURES: u32 = 5;

/// The shortest rest of an agent; it doubles with every further failure, up to [`BREAKER_REST_MAX`].
pub const BREAKER_REST_MIN: Millis = Millis::from_secs(30);

/// The longest rest of an agent.
pub const BREAKER_REST_MAX: Millis = Millis::from_secs(600);

/// How often a task whose change does not fit what has landed meanwhile is tried, however few attempts it has.
pub const CONFLICT_ATTEMPTS: u32 = 3;

/// How long a compensation may take if its task has no time limit of its own. The end of a run waits for it.
pub const COMPENSATION_TIME: Millis = Millis::from_secs(3600);

/// How often a compensation is tried before a person is asked.
pub const COMPENSATION_ATTEMPTS: u32 = 3;

/// Decides what follows from `command`. The state is not changed.
///
/// # Errors
///
/// Returns why the command is refused; nothing follows from it then.
pub fn decide(run: &Run, command: &Command, now: Now) -> Result<Vec<Event>, Rejection> {
    if let Command::Create { mission, plan } = command {
        return create(run, mission, plan);
    }
    if !run.is_created() {
        return Err(Rejection::NotCreated);
    }
    match command {
        Command::Create { .. } => Err(Rejection::AlreadyCreated),
        Command::Open { epoch } => Ok(vec![Event::Opened { epoch: *epoch }]),
        Command::Tick => Ok(Vec::new()),
        Command::Route { tasks, ranking, passed_over } => route(run, tasks, ranking, passed_over),
        Command::HandOff { task, attempt, to, note } => hand_off(run, *task, *attempt, *to, note, now),
        Command::Finish { task, attempt, exit } => finish(run, *task, *attempt, exit, now),
        Command::Ask { task, attempt, question, choices } => ask(run, *task, *attempt, question, choices),
        Command::Note { task, attempt, text } => {
            running(run, *task, *attempt)?;
            Ok(vec![Event::Noted { task: *task, attempt: *attempt, text: text.clone() }])
        }
        Command::Use { task, attempt, tokens, claimed, model } => {
            running(run, *task, *attempt)?;
            let (task, attempt, tokens, model) = (*task, *attempt, *tokens, model.clone());
            let claimed = claimed.filter(|claimed| *claimed != tokens);
            Ok(vec![Event::Used { task, attempt, tokens, claimed, model }])
        }
        Command::Throttled { task, attempt, until } => {
            running(run, *task, *attempt)?;
            // It says so at every request that it makes meanwhile.
            let parked = park(run, *task, FailureClass::RateLimited, *until, now)
                .filter(|event| !is_parked_already(run, event));
            Ok(parked.into_iter().collect())
        }
        Command::Judge { task, attempt, verdict } => judge(run, *task, *attempt, verdict, now),
        Command::Probed { probe, outcome } => {
            if !run.landing().is_some_and(|landing| landing.takes(*probe, outcome)) {
                return Err(Rejection::StaleProbe(*probe));
            }
            Ok(vec![Event::Probed { probe: *probe, outcome: outcome.clone() }])
        }
        Command::RefMoved { to } => ref_moved(run, *to),
        Command::LandingFailed { message } => {
            if run.ref_move().is_none() && !run.landing().is_some_and(crate::landing::Landing::is_asking) {
                return Err(Rejection::UnexpectedMove);
            }
            Ok(match run.phase() {
                Phase::Active | Phase::Paused(_) => {
                    vec![Event::Paused { why: PauseCause::LandingFails { message: message.clone() } }]
                }
                // A run that ends asks again when it is next opened.
                _ => Vec::new(),
            })
        }
        Command::Compensated { task, attempt, failure } => {
            compensated(run, *task, *attempt, failure.as_deref(), now)
        }
        Command::Answer { gate, answer, by } => answer_gate(run, *gate, answer, by, now),
        Command::UndoAnswer { gate, by } => undo_answer(run, *gate, by),
        Command::Pause => match run.phase() {
            Phase::Active => Ok(vec![Event::Paused { why: PauseCause::Person }]),
            Phase::Paused(_) => Err(Rejection::AlreadyPaused),
            phase => Err(refused(phase)),
        },
        Command::Hold { stop } => match run.phase() {
            Phase::Active => Ok(vec![Event::Paused { why: PauseCause::Parent { stop: *stop } }]),
            // What it is paused for holds it as well.
            Phase::Paused(_) => Err(Rejection::AlreadyPaused),
            phase => Err(refused(phase)),
        },
        Command::Release => match run.phase() {
            Phase::Paused(PauseCause::Parent { .. }) => Ok(vec![Event::Resumed { limits: None }]),
            Phase::Active | Phase::Paused(_) => Err(Rejection::NotPaused),
            phase => Err(refused(phase)),
        },
        Command::Resume { limits } => match run.phase() {
            Phase::Paused(PauseCause::Parent { .. }) => Err(Rejection::ParentPaused),
            Phase::Paused(why) => {
                let mut events = vec![Event::Resumed { limits: *limits }];
                // The move of the ref stays intended: it may have been made all the same.
                if let (PauseCause::LandingFails { .. }, Some((from, to))) = (why, run.ref_move()) {
                    events.push(Event::LandingStarted { from, to });
                }
                Ok(events)
            }
            Phase::Active => Err(Rejection::NotPaused),
            phase => Err(refused(phase)),
        },
        Command::Cancel => match run.phase() {
            Phase::Active | Phase::Paused(_) => Ok(vec![Event::CancelRequested {}]),
            phase => Err(refused(phase)),
        },
        Command::Revise { plan, superseded } => revise(run, plan, superseded),
        Command::Reuse { task, from, at, landed, outputs } => {
            let state = &run.task(*task).ok_or(Rejection::UnknownTask(*task))?.state;
            if !matches!(run.phase(), Phase::Active | Phase::Paused(_)) {
                return Err(refused(run.phase()));
            }
            if !matches!(state, TaskState::Blocked { .. } | TaskState::Ready | TaskState::AwaitingClaims) {
                return Err(Rejection::AlreadyBegun(*task));
            }
            let (task, from, at, landed, outputs) = (*task, *from, *at, *landed, outputs.clone());
            Ok(vec![Event::Reused { task, from, at, landed, outputs }])
        }
        Command::BeginMerge { target, from, to } => {
            if run.merge_under_way().is_some() {
                return Err(Rejection::Merge("a merge is under way already"));
            }
            Ok(vec![Event::MergeStarted { target: target.clone(), from: *from, to: *to }])
        }
        Command::EndMerge { moved, why } => {
            let merge = run.merge_under_way().ok_or(Rejection::Merge("no merge is under way"))?;
            let target = merge.target.clone();
            Ok(vec![match moved {
                true => Event::Merged { target, to: merge.to },
                false => Event::MergeUndone { target, to: merge.from, why: why.clone() },
            }])
        }
        Command::UndoMerge { to } => {
            let merge = run.merge().filter(|merge| merge.done && merge.from == *to);
            let merge = merge.ok_or(Rejection::Merge("there is no merge from there to take back"))?;
            Ok(vec![Event::MergeUndone { target: merge.target.clone(), to: *to, why: None }])
        }
    }
}

fn refused(phase: &Phase) -> Rejection {
    match phase {
        Phase::Finished(_) => Rejection::Over,
        _ => Rejection::Cancelling,
    }
}

fn create(run: &Run, mission: &crate::mission::Mission, plan: &PlanRef) -> Result<Vec<Event>, Rejection> {
    if run.is_created() {
        return Err(Rejection::AlreadyCreated);
    }
    plan.plan().ok_or(Rejection::PlanNotRead)?;
    Ok(vec![
        Event::Created { mission: Box::new(mission.clone()) },
        Event::PlanAdopted { revision: 1, plan: plan.clone() },
    ])
}

fn running(run: &Run, task: TaskId, attempt: AttemptNo) -> Result<&Attempt, Rejection> {
    match &run.task(task).ok_or(Rejection::UnknownTask(task))?.state {
        TaskState::Running(running) if running.number == attempt => Ok(running),
        #[cfg(kapell_planted)]
        TaskState::Running(running) if crate::planted::is("late_result_adopted") => Ok(running),
        _ => Err(Rejection::Late { task, attempt }),
    }
}

fn ask(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    question: &str,
    choices: &[String],
) -> Result<Vec<Event>, Rejection> {
    if running(run, task, attempt)?.question.is_some() {
        return Err(Rejection::AlreadyAsking);
    }
    let (question, choices) = (question.to_owned(), choices.to_vec());
    Ok(vec![Event::GateOpened { gate: run.next_gate(), task, kind: GateKind::Question, question, choices }])
}

/// Takes a ranking for tasks that name skills and have not begun.
fn route(
    run: &Run,
    tasks: &[TaskId],
    ranking: &[Choice],
    passed_over: &[PassedOver],
) -> Result<Vec<Event>, Rejection> {
    if !matches!(run.phase(), Phase::Active | Phase::Paused(_)) {
        return Err(refused(run.phase()));
    }
    if ranking.is_empty() {
        return Err(Rejection::BadRanking("is empty"));
    }
    if ranking.len() > RANKED_MAX {
        return Err(Rejection::BadRanking("is too long"));
    }
    if ranking.iter().any(|choice| run.plan().agent(choice.agent).is_none()) {
        return Err(Rejection::BadRanking("names an agent that the plan does not have"));
    }
    for &task in tasks {
        let known = run.task(task).ok_or(Rejection::UnknownTask(task))?;
        if matches!(run.plan().definition(task).work, Work::Gate(_) | Work::Workflow(_)) {
            return Err(Rejection::BadRanking("is for a task that no agent performs"));
        }
        if known.attempts > 0 || !known.state.is_startable() {
            return Err(Rejection::AlreadyBegun(task));
        }
    }
    let (tasks, ranking, passed_over) = (tasks.to_vec(), ranking.to_vec(), passed_over.to_vec());
    Ok(vec![Event::Routed { tasks, ranking, passed_over }])
}

/// Notes that another agent is to go on once this attempt has ended.
fn hand_off(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    to: Option<AgentId>,
    note: &str,
    now: Now,
) -> Result<Vec<Event>, Rejection> {
    let under_way = running(run, task, attempt)?;
    let before = run.handoff(task);
    if before.is_some_and(|before| before.times >= HANDOFFS_MAX) {
        return Err(Rejection::NoHandOff("it has been handed on too often"));
    }
    if before.is_some_and(|before| before.attempt == attempt) {
        return Err(Rejection::NoHandOff("this attempt has handed it on already"));
    }
    let agent = match to {
        Some(agent) if run.plan().agent(agent).is_none() => {
            return Err(Rejection::NoHandOff("the plan has no such agent"));
        }
        Some(agent) => agent,
        None => substitute(run, task, now).ok_or(Rejection::NoHandOff("there is nobody else"))?,
    };
    if under_way.agent == Some(agent) {
        return Err(Rejection::NoHandOff("it is that agent's already"));
    }
    Ok(vec![Event::HandedOff { task, attempt, agent, note: note.to_owned() }])
}

/// An attempt that has handed its work on has ended: the next agent goes on from what it changed. If it failed, what
/// it changed is not to be trusted, and the next agent starts anew.
fn pass_on(run: &Run, task: TaskId, attempt: AttemptNo, exit: &Exit) -> Option<Vec<Event>> {
    #[cfg(kapell_planted)]
    if crate::planted::is("handed_on_counts_as_done") {
        return None;
    }
    let handoff = run.handoff(task).filter(|handoff| handoff.attempt == attempt && !handoff.done)?;
    let Exit::Succeeded { change, spent, .. } = exit else { return None };
    let change = whole(run, task, change.filter(|_| run.landing().is_some()));
    Some(vec![Event::PassedOn { task, attempt, agent: handoff.to, change, spent: *spent }])
}

/// Returns the whole change of a task: one that goes on from what an earlier attempt passed on contains that as well, so
/// that checks see all of it. If nothing was added, it is what was passed on.
fn whole(run: &Run, task: TaskId, change: Option<Change>) -> Option<Change> {
    let before = run.handoff(task).and_then(|handoff| handoff.change);
    #[cfg(kapell_planted)]
    let before = before.filter(|_| !crate::planted::is("handed_on_work_forgotten"));
    match (before, change) {
        (Some(before), Some(change)) => Some(Change { base: before.base, ..change }),
        (before, change) => change.or(before),
    }
}

fn finish(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    exit: &Exit,
    now: Now,
) -> Result<Vec<Event>, Rejection> {
    let under_way = running(run, task, attempt)?;
    // An end that was asked for is that, whatever the attempt says of itself.
    if let Some(why) = under_way.stopping {
        let (Exit::Succeeded { spent, .. } | Exit::Failed { spent, .. }) = exit;
        return Ok(stopped(run, task, under_way, why, *spent, now));
    }
    if let Some(passed_on) = pass_on(run, task, attempt, exit) {
        return Ok(passed_on);
    }
    match exit {
        Exit::Failed { class, message, spent, until } => {
            Ok(failed(run, task, under_way.number, *class, message, *spent, *until, now))
        }
        Exit::Succeeded { change, outputs, spent } => {
            let outputs = match promised(run, task, outputs) {
                Ok(outputs) => outputs,
                Err(message) => {
                    let class = FailureClass::InvalidOutput;
                    return Ok(failed(run, task, under_way.number, class, &message, *spent, None, now));
                }
            };
            let change = whole(run, task, change.filter(|_| run.landing().is_some()));
            #[cfg(kapell_planted)]
            if crate::planted::is("result_not_checked") && change.is_none() {
                return Ok(vec![Event::Completed { task, outputs, spent: *spent }]);
            }
            let attempt = under_way.number;
            if change.is_none() && run.plan().definition(task).accept.is_empty() {
                return Ok(vec![Event::Completed { task, outputs, spent: *spent }]);
            }
            let mut events = vec![Event::Submitted { task, attempt, change, outputs, spent: *spent }];
            if run.plan().definition(task).accept.is_empty() {
                events.push(Event::Verified { task });
            }
            Ok(events)
        }
    }
}

/// Computes the outputs that a task promises from those that it set.
fn promised(run: &Run, task: TaskId, set: &Outputs) -> Result<Outputs, String> {
    #[cfg(kapell_planted)]
    if crate::planted::is("promise_not_kept") {
        return Ok(set.clone());
    }
    let mut outputs = set.clone();
    for promise in &run.plan().definition(task).outputs {
        match &promise.value {
            Some(value) => {
                let value = run
                    .render(task, value)
                    .map_err(|error| format!("output `{}` cannot be computed: {error}", promise.name))?;
                outputs.insert(promise.name.clone(), value);
            }
            None if outputs.contains_key(&promise.name) => {}
            None => return Err(format!("output `{}` was promised and not set", promise.name)),
        }
    }
    Ok(outputs)
}

fn stopped(
    run: &Run,
    task: TaskId,
    attempt: &Attempt,
    why: StopCause,
    spent: Amount,
    now: Now,
) -> Vec<Event> {
    let number = attempt.number;
    let fail = |class, message: &str, then| {
        vec![Event::AttemptFailed { task, attempt: number, class, message: message.to_owned(), spent, then }]
    };
    match why {
        StopCause::Timeout => {
            let limit = run.plan().definition(task).timeout.unwrap_or_default();
            let message = format!("took longer than {} s", limit.as_secs_f64());
            failed(run, task, number, FailureClass::Timeout, &message, spent, None, now)
        }
        StopCause::Cancelled => fail(FailureClass::Permanent, "cancelled", Recovery::Cancel),
        #[cfg(kapell_planted)]
        StopCause::Superseded if crate::planted::is("superseded_task_goes_on") => {
            fail(FailureClass::Lost, "stopped", Recovery::Again)
        }
        StopCause::Superseded => fail(FailureClass::Permanent, "superseded by a later plan", Recovery::Drop),
        // It is not the attempt's fault, and the task goes on when the run is resumed.
        StopCause::Deadline => {
            failed(run, task, number, FailureClass::Lost, "stopped at the deadline", spent, None, now)
        }
    }
}

/// A failed attempt, what follows from it, and what it says about its agent and provider.
#[expect(clippy::too_many_arguments, reason = "they are the facts of one failure")]
fn failed(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    class: FailureClass,
    message: &str,
    spent: Amount,
    until: Option<Wall>,
    now: Now,
) -> Vec<Event> {
    let then = recover(run, task, class, until, now);
    let message = &match gave_out(run, task, class, now) {
        Some(why) if then == Recovery::GiveUp => format!("{message}; {why}"),
        _ => message.to_owned(),
    };
    let mut events =
        vec![Event::AttemptFailed { task, attempt, class, message: message.to_owned(), spent, then }];
    if let Recovery::Ask { gate } = then {
        events.push(Event::GateOpened {
            gate,
            task,
            kind: GateKind::Lost,
            question: format!(
                "attempt {attempt} of `{}` was lost and may have done its work: try again?",
                run.plan().name(task)
            ),
            choices: vec!["retry".to_owned(), "give up".to_owned()],
        });
    }
    // What becomes of a result later on says nothing about who gave it.
    let agent = run.agent(task).filter(|_| matches!(run.state(task), TaskState::Running(_)));
    let Some(agent) = agent else { return events };
    if let FailureClass::Quota | FailureClass::RateLimited = class {
        events.extend(park(run, task, class, until, now));
    }
    events.extend(trip(run, agent, class, now));
    events
}

/// Returns when a park is over at the latest: no clock, ours or that of a provider, can make it longer than it was
/// meant to be, nor than is borne.
fn latest(run: &Run, class: FailureClass, until: Wall, now: Now) -> Elapsed {
    let stated = u64::try_from(until.0.saturating_sub(now.wall.0)).unwrap_or(0);
    #[cfg(kapell_planted)]
    if crate::planted::is("park_without_bound") {
        return crate::task::never();
    }
    now.elapsed.after(Millis(stated).min(run.mission().persistence.of(class)))
}

/// Tells whether one more failure of `class`, by no fault of the task, is one too many, and why.
fn gave_out(run: &Run, task: TaskId, class: FailureClass, now: Now) -> Option<String> {
    let persistence = run.mission().persistence;
    let setback = run.setback(task);
    let stopped = matches!(run.state(task), TaskState::Running(attempt) if attempt.stopping.is_some());
    #[cfg(kapell_planted)]
    if crate::planted::is("setbacks_without_bound") {
        return None;
    }
    match class {
        FailureClass::Lost if !stopped && setback.lost + 1 >= persistence.lost => {
            Some(format!("given up after {} lost attempts in a row", setback.lost + 1))
        }
        FailureClass::RateLimited | FailureClass::Quota => {
            let since = now.elapsed.since(setback.limited_since?);
            (since >= persistence.of(class))
                .then(|| format!("given up after its provider has asked for pauses for {} s", since.0 / 1000))
        }
        _ => None,
    }
}

/// Parks the provider of the agent that performs `task`.
fn park(run: &Run, task: TaskId, class: FailureClass, until: Option<Wall>, now: Now) -> Option<Event> {
    let spec = run.agent(task).and_then(|agent| run.plan().agent(agent))?;
    let provider = spec.provider.clone()?;
    // Without a stated reset that is to come, the backoff of the task holds for its provider too.
    let pause = now.wall.after(pause(run, task));
    let until = until.filter(|until| *until > now.wall).unwrap_or(pause);
    let latest = latest(run, class, until, now);
    Some(Event::ProviderParked { provider, until, latest })
}

/// Tells whether the provider is parked for as long as the event would park it.
fn is_parked_already(run: &Run, event: &Event) -> bool {
    let Event::ProviderParked { provider, until, .. } = event else { return false };
    run.parked_providers().any(|(known, parked)| known == provider && parked >= *until)
}

/// Returns how long to wait before the next attempt at `task`, of which one has just failed.
fn pause(run: &Run, task: TaskId) -> Millis {
    let attempt = AttemptNo(run.task(task).map_or(1, |task| task.attempts));
    run.plan().definition(task).retry.pause(run.mission().seed, task, attempt)
}

/// Lets an agent rest that has just failed once too often.
fn trip(run: &Run, agent: AgentId, class: FailureClass, now: Now) -> Option<Event> {
    let bad = matches!(
        class,
        FailureClass::Transient
            | FailureClass::Timeout
            | FailureClass::InvalidOutput
            | FailureClass::Permanent
    );
    let failures = run.failures_in_a_row(agent) + 1;
    let over = failures.checked_sub(BREAKER_FAILURES).filter(|_| bad)?;
    let rest = BREAKER_REST_MIN.0.saturating_mul(1 << over.min(16)).min(BREAKER_REST_MAX.0);
    Some(Event::BreakerOpened { agent, until: now.elapsed.after(Millis(rest)) })
}

/// Chooses what follows a failure of `class`: the part of the recovery ladder that needs no model.
pub(crate) fn recover(
    run: &Run,
    task: TaskId,
    class: FailureClass,
    until: Option<Wall>,
    now: Now,
) -> Recovery {
    if *run.phase() == Phase::Cancelling || run.is_doomed() {
        return Recovery::Cancel;
    }
    let definition = run.plan().definition(task);
    let tally = run.task(task);
    let failures = tally.map_or(0, |task| task.failures) + 1;
    let pause = || Recovery::Retry { at: now.elapsed.after(pause(run, task)) };
    #[cfg(kapell_planted)]
    if crate::planted::is("retry_without_backoff") {
        return Recovery::Retry { at: now.elapsed };
    }
    let lost_asks = class == FailureClass::Lost && definition.retry_lost == LostPolicy::Ask;
    if !lost_asks && gave_out(run, task, class, now).is_some() {
        return substitute_or_give_up(run, task, now);
    }
    match class {
        FailureClass::Quota | FailureClass::RateLimited if elsewhere(run, task, now).is_some() => {
            elsewhere(run, task, now).map_or_else(pause, |agent| Recovery::Substitute { agent })
        }
        FailureClass::Quota | FailureClass::RateLimited => match until {
            Some(until) if until > now.wall => {
                Recovery::Park { until, latest: latest(run, class, until, now) }
            }
            _ => pause(),
        },
        #[cfg(kapell_planted)]
        FailureClass::Lost if crate::planted::is("lost_never_asked") => Recovery::Again,
        FailureClass::Lost if definition.retry_lost == LostPolicy::Ask => {
            Recovery::Ask { gate: run.next_gate() }
        }
        FailureClass::Lost => Recovery::Again,
        FailureClass::Conflict if failures < definition.retry.attempts.max(CONFLICT_ATTEMPTS) => {
            Recovery::Again
        }
        class if class.is_retryable() && failures < definition.retry.attempts => pause(),
        FailureClass::Permission => Recovery::GiveUp,
        _ => substitute_or_give_up(run, task, now),
    }
}

fn substitute_or_give_up(run: &Run, task: TaskId, now: Now) -> Recovery {
    substitute(run, task, now).map_or(Recovery::GiveUp, |agent| Recovery::Substitute { agent })
}

/// Returns an agent of the task's ranking that takes work now and uses up no quota of the present one's provider.
fn elsewhere(run: &Run, task: TaskId, now: Now) -> Option<AgentId> {
    let provider = |agent| run.plan().agent(agent).and_then(|spec| spec.provider.as_deref());
    let here = run.agent(task)?;
    let mut others = run.ranking(task).iter().copied().filter(|agent| *agent != here);
    others.find(|&agent| {
        (provider(agent).is_none() || provider(agent) != provider(here))
            && !run.has_tried(task, agent)
            && run.is_willing(agent, now)
    })
}

/// Returns the agent that takes over, if there is one that has not had the task yet.
fn substitute(run: &Run, task: TaskId, at: Now) -> Option<AgentId> {
    let now = run.agent(task)?;
    let ranking = run.ranking(task);
    if !ranking.is_empty() {
        let left = ranking.iter().copied().filter(|&agent| agent != now && !run.has_tried(task, agent));
        let willing = left.clone().find(|&agent| run.is_willing(agent, at));
        return willing.or_else(|| left.clone().next());
    }
    let fallback = |agent: AgentId| run.plan().agent(agent).and_then(|spec| spec.fallback);
    let next = fallback(now)?;
    #[cfg(kapell_planted)]
    if crate::planted::is("substitute_loops") {
        return Some(next);
    }
    // After a hand-off the present agent need not stand in the chain, which may be a ring.
    if run.has_tried(task, next) {
        return None;
    }
    // Agents are tried along the chain from the first; one that comes before the present one had its turn.
    let first = run.plan().definition(task).agent;
    let chain = std::iter::successors(first, |agent| fallback(*agent)).take(run.plan().agents().len());
    let had = chain.take_while(|agent| *agent != now).any(|agent| agent == next);
    (next != now && !had).then_some(next)
}

fn judge(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    verdict: &Verdict,
    now: Now,
) -> Result<Vec<Event>, Rejection> {
    match &run.task(task).ok_or(Rejection::UnknownTask(task))?.state {
        TaskState::Submitted(submission) if submission.attempt == attempt && !run.is_doubted(task) => {}
        _ => return Err(Rejection::Late { task, attempt }),
    }
    let fail = |class, message: &str| failed(run, task, attempt, class, message, Amount::ZERO, None, now);
    Ok(match verdict {
        Verdict::Passed => vec![Event::Verified { task }],
        Verdict::Failed { message } => fail(FailureClass::Verification, message),
        Verdict::Broken { message } => fail(FailureClass::Transient, message),
        Verdict::Doubtful { question } => vec![Event::GateOpened {
            gate: run.next_gate(),
            task,
            kind: GateKind::Protect,
            question: question.clone(),
            choices: vec!["accept".to_owned(), "reject".to_owned()],
        }],
    })
}

fn ref_moved(run: &Run, to: crate::id::Oid) -> Result<Vec<Event>, Rejection> {
    let landing = run.landing().ok_or(Rejection::UnexpectedMove)?;
    match (run.ref_move(), landing.wish()) {
        (Some((from, intended)), Wish::Land { from: head, tips }) if intended == to && from == head => {
            Ok(tips.into_iter().map(|(task, commit)| Event::Landed { task, commit }).collect())
        }
        _ => Err(Rejection::UnexpectedMove),
    }
}

fn compensated(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    failure: Option<&str>,
    now: Now,
) -> Result<Vec<Event>, Rejection> {
    match &run.task(task).ok_or(Rejection::UnknownTask(task))?.state {
        TaskState::Compensating { attempt: under_way, .. } if *under_way == attempt => {}
        _ => return Err(Rejection::Late { task, attempt }),
    }
    Ok(vec![match failure {
        None => Event::Compensated { task },
        Some(message) => {
            let again = !attempt.0.is_multiple_of(COMPENSATION_ATTEMPTS);
            let deadline = Some(compensation_deadline(run, task, now)).filter(|_| again);
            Event::CompensationFailed { task, attempt, message: message.to_owned(), again, deadline }
        }
    }])
}

/// The first or next try at taking `task` back, from now.
pub(crate) fn compensation_started(run: &Run, task: TaskId, attempt: AttemptNo, now: Now) -> Event {
    Event::CompensationStarted { task, attempt, deadline: Some(compensation_deadline(run, task, now)) }
}

fn compensation_deadline(run: &Run, task: TaskId, now: Now) -> Elapsed {
    now.elapsed.after(run.plan().definition(task).timeout.unwrap_or(COMPENSATION_TIME))
}

fn answer_gate(run: &Run, id: GateId, answer: &str, by: &str, now: Now) -> Result<Vec<Event>, Rejection> {
    let gate = run.gate(id).ok_or(Rejection::UnknownGate(id))?;
    #[cfg(kapell_planted)]
    if crate::planted::is("gate_answered_twice") && gate.answer.is_some() {
        return Ok(vec![Event::GateAnswered { gate: id, answer: answer.to_owned(), by: by.to_owned() }]);
    }
    if gate.answer.is_some() {
        return Err(Rejection::AlreadyAnswered(id));
    }
    if run.outcome().is_some() {
        return Err(Rejection::Over);
    }
    if !gate.choices.is_empty() && !gate.choices.iter().any(|choice| choice == answer) {
        return Err(Rejection::BadAnswer(gate.choices.clone()));
    }
    if !run.is_owed(id, gate) {
        return Err(Rejection::MootGate(id));
    }
    let task = gate.task;
    let mut events = vec![Event::GateAnswered { gate: id, answer: answer.to_owned(), by: by.to_owned() }];
    let attempt = AttemptNo(run.task(task).map_or(0, |task| task.attempts));
    let give_up = |message: &str| Event::AttemptFailed {
        task,
        attempt,
        class: FailureClass::Permission,
        message: message.to_owned(),
        spent: Amount::ZERO,
        then: Recovery::GiveUp,
    };
    match (gate.kind, answer) {
        (GateKind::Question, _) => {}
        (GateKind::Task, "no") if is_yes_no(run, task) => events.push(give_up("a person said no")),
        (GateKind::Task, _) => {
            let outputs = Outputs::from([("answer".to_owned(), answer.to_owned())]);
            events.push(Event::Completed { task, outputs, spent: Amount::ZERO });
        }
        (GateKind::Lost, "retry") => events.push(Event::Unblocked { task }),
        (GateKind::Lost, _) => events.push(give_up("a person gave the lost attempt up")),
        (GateKind::Protect, "accept") => events.push(Event::Verified { task }),
        (GateKind::Protect, _) => events.push(give_up("a person rejected the change")),
        (GateKind::Compensation, "skip") => events.push(Event::Compensated { task }),
        (GateKind::Compensation, _) => {
            if let TaskState::CompensationStuck { attempt, .. } = run.state(task) {
                events.push(compensation_started(run, task, attempt.next(), now));
            }
        }
    }
    Ok(events)
}

/// Takes an answer back as long as nothing has followed from it.
fn undo_answer(run: &Run, gate: GateId, by: &str) -> Result<Vec<Event>, Rejection> {
    let open = run.gate(gate).ok_or(Rejection::UnknownGate(gate))?;
    if open.answer.is_none() {
        return Err(Rejection::NotAnswered(gate));
    }
    if !matches!(run.phase(), Phase::Active | Phase::Paused(_)) {
        return Err(refused(run.phase()));
    }
    match run.follows_from(gate) {
        Some(why) => Err(Rejection::AnswerUsed { gate, why }),
        None => Ok(vec![Event::AnswerUndone { gate, by: by.to_owned() }]),
    }
}

fn is_yes_no(run: &Run, task: TaskId) -> bool {
    matches!(&run.plan().definition(task).work, Work::Gate(gate) if gate.choices.is_empty())
}

fn revise(run: &Run, plan: &PlanRef, superseded: &[TaskId]) -> Result<Vec<Event>, Rejection> {
    match run.phase() {
        Phase::Active | Phase::Paused(_) => {}
        phase => return Err(refused(phase)),
    }
    let new = plan.plan().ok_or(Rejection::PlanNotRead)?;
    let old = run.plan();
    if new.len() < old.len() {
        return Err(Rejection::BadRevision("has fewer tasks than the one in force"));
    }
    let same = |task| {
        new.name(task) == old.name(task)
            && new.definition(task) == old.definition(task)
            && new.graph().needs(task) == old.graph().needs(task)
            && new.matrix_values(task) == old.matrix_values(task)
    };
    if !old.graph().tasks().all(same) || !new.agents().starts_with(old.agents()) {
        return Err(Rejection::BadRevision("changes what is in force; it can only add, and do without"));
    }
    let mut events = vec![Event::PlanAdopted { revision: run.revision() + 1, plan: plan.clone() }];
    let distinct: std::collections::BTreeSet<TaskId> = superseded.iter().copied().collect();
    for task in distinct {
        let state = &run.task(task).ok_or(Rejection::UnknownTask(task))?.state;
        match state {
            TaskState::Running(attempt) if attempt.stopping.is_none() => {
                let (attempt, why) = (attempt.number, StopCause::Superseded);
                events.push(Event::StopRequested { task, attempt, why });
            }
            TaskState::Running(_) | TaskState::Submitted(_) | TaskState::Verified(_) => {
                return Err(Rejection::AlreadyBegun(task));
            }
            state if state.is_settled() => return Err(Rejection::AlreadyBegun(task)),
            _ => events.push(Event::Skipped { task, why: crate::task::SkipCause::Superseded }),
        }
    }
    Ok(events)
}
