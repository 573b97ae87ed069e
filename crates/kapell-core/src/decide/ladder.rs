//! The recovery ladder as far as it needs no model: try again, wait, let somebody else try, ask, give up.

use crate::{
    event::Event,
    id::{AgentId, AttemptNo, TaskId},
    plan::LostPolicy,
    retry::FailureClass,
    run::{Phase, Run},
    task::{Recovery, TaskState},
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
        // The run pauses with it: who resumes it says how much more there is.
        FailureClass::Budget if run.ledger().scarcest().is_some() => Recovery::Again,
        FailureClass::Budget => substitute_or_give_up(run, task, now),
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
pub(super) fn substitute(run: &Run, task: TaskId, at: Now) -> Option<AgentId> {
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
pub(super) fn gave_out(run: &Run, task: TaskId, class: FailureClass, now: Now) -> Option<String> {
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
pub(super) fn park(
    run: &Run,
    task: TaskId,
    class: FailureClass,
    until: Option<Wall>,
    now: Now,
) -> Option<Event> {
    let spec = run.agent(task).and_then(|agent| run.plan().agent(agent))?;
    let provider = spec.provider.clone()?;
    // Without a stated reset that is to come, the backoff of the task holds for its provider too.
    let pause = now.wall.after(pause(run, task));
    let until = until.filter(|until| *until > now.wall).unwrap_or(pause);
    let latest = latest(run, class, until, now);
    Some(Event::ProviderParked { provider, until, latest })
}

/// Tells whether the provider is parked for as long as the event would park it.
pub(super) fn is_parked_already(run: &Run, event: &Event) -> bool {
    let Event::ProviderParked { provider, until, .. } = event else { return false };
    run.parked_providers().any(|(known, parked)| known == provider && parked >= *until)
}

/// Returns how long to wait before the next attempt at `task`, of which one has just failed.
fn pause(run: &Run, task: TaskId) -> Millis {
    let attempt = AttemptNo(run.task(task).map_or(1, |task| task.attempts));
    run.plan().definition(task).retry.pause(run.mission().seed, task, attempt)
}

/// Lets an agent rest that has just failed once too often.
pub(super) fn trip(run: &Run, agent: AgentId, class: FailureClass, now: Now) -> Option<Event> {
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
