//! Events on which jobs only find out what is to be done, or only check, and all that would do it is skipped with another job.

use kapell_spec::github::{Condition, Event};
use kapell_view::audit::Severity;

use crate::{
    github::{
        Flow, Github, StepFacts, carry,
        conditions::{self, Run},
        tools::Kind,
    },
    rule::{Report, names},
};

/// Looks at each event that starts a workflow.
pub(super) fn check(github: &Github, flow: &Flow, report: &mut Report<'_>) {
    // Whoever calls it may read what it finds out.
    if flow.model.events.len() < 2 || flow.starts("workflow_call") {
        return;
    }
    for event in &flow.model.events {
        let name = event.name.text.to_ascii_lowercase();
        let worlds: Vec<usize> = (0..flow.worlds.len())
            .filter(|&world| flow.worlds[world].event.as_deref() == Some(name.as_str()))
            .collect();
        let runs = |at: &usize| worlds.iter().any(|&world| flow.runs[world][*at] != Run::Never);
        let (running, skipped): (Vec<usize>, Vec<usize>) = (0..flow.model.jobs.len()).partition(runs);
        if running.is_empty() {
            continue;
        }
        if !running.iter().all(|&at| only_decides(flow, at)) {
            if is_of_version(event) && running.iter().all(|&at| only_checks(github, flow, at)) {
                undelivered(flow, &Checked { event, worlds: &worlds, skipped: &skipped }, report);
            }
            continue;
        }
        let found = skipped.iter().find_map(|&at| Some((at, blamed(flow, at, &name, &worlds)?)));
        let Some((at, up)) = found else { continue };
        let (job, up) = (&flow.model.jobs[at], &flow.model.jobs[up]);
        // A queue merges what has no failure, and what has not been looked at has none.
        let grave = name == "merge_group" || name.starts_with("pull_request") || carry::delivers(flow, at);
        report
            .add(
                flow.file,
                job.needs_span(),
                format!(
                    "on {name} only {} runs, for nothing: `{}` is skipped with `{}`, which never runs then",
                    names(running.iter().map(|&at| &*flow.model.jobs[at].id.text)),
                    job.id.text,
                    up.id.text
                ),
            )
            .severity(if grave { Severity::High } else { Severity::Medium })
            .also(flow.file, up.condition_span(), "never runs on that event")
            .also(flow.file, event.name.span, "starts it")
            .hint(
                "let it run unless one has failed: `!failure() && !cancelled()`, and what it asks for itself",
            )
            .done();
    }
}

/// An event on which only checks run.
struct Checked<'a> {
    event: &'a Event,
    /// The situations in which it starts the workflow.
    worlds: &'a [usize],
    /// The jobs that never run then.
    skipped: &'a [usize],
}

/// A version that is tagged or released is to be delivered: tells where only checks run for it, and the delivery is skipped with
/// a job that never runs then, though it takes nothing of that.
fn undelivered(flow: &Flow, checked: &Checked<'_>, report: &mut Report<'_>) {
    let Some((at, up)) = held_back(flow, checked) else { return };
    let Some(between) = waiting_for_nothing(flow, at, up) else { return };
    let (job, blamed) = (&flow.model.jobs[between], &flow.model.jobs[up]);
    let event = &checked.event.name;
    report
        .add(
            flow.file,
            job.needs_span(),
            format!(
                "on {} nothing is delivered: `{}` is skipped with `{}`, which never runs then",
                event.text.to_ascii_lowercase(),
                flow.model.jobs[at].id.text,
                blamed.id.text
            ),
        )
        .also(flow.file, blamed.condition_span(), "never runs on that event")
        .also(flow.file, event.span, "starts it")
        .hint(format!(
            "let `{}` run unless one has failed: `if: ${{{{ !failure() && !cancelled() }}}}`",
            job.id.text
        ))
        .done();
}

/// Finds a job that delivers, and the one with which it is skipped.
fn held_back(flow: &Flow, checked: &Checked<'_>) -> Option<(usize, usize)> {
    let name = checked.event.name.text.to_ascii_lowercase();
    let delivered = checked.skipped.iter().copied().filter(|&at| carry::delivers(flow, at));
    let mut found = delivered.filter_map(|at| Some((at, blamed(flow, at, &name, checked.worlds)?)));
    found.next().filter(|&(at, up)| !is_released_by_hand(flow, at, up))
}

/// Tells whether a delivery comes each time that a person starts the workflow, by a job that waits for just that: then it is meant
/// to wait for a person, and a tag is only tested. A job that the person may leave out as well is no such gate.
fn is_released_by_hand(flow: &Flow, at: usize, gate: usize) -> bool {
    let by_hand = |world: &usize| flow.worlds[*world].event.as_deref() == Some("workflow_dispatch");
    let mut worlds = (0..flow.worlds.len()).filter(by_hand);
    worlds.any(|world| flow.runs[world][gate] == Run::Always && flow.runs[world][at] != Run::Never)
}

/// Finds the job on the way to another one that waits for `up` itself, where neither of the two takes anything of that.
fn waiting_for_nothing(flow: &Flow, at: usize, up: usize) -> Option<usize> {
    let waits = |&job: &usize| conditions::direct(&flow.model, &flow.model.jobs[job]).contains(&up);
    let takes = |job: usize| {
        carry::reads(&flow.model.jobs[job], &flow.model.jobs[up].id.text)
            || !carry::artifacts_taken(flow, up, job).is_empty()
    };
    let between = std::iter::once(at).chain(flow.closures[at].iter().copied()).find(waits)?;
    (!takes(between) && !takes(at)).then_some(between)
}

/// Tells whether an event says that there is a new version: a release, or a tag and nothing but tags.
fn is_of_version(event: &Event) -> bool {
    let filtered = |key: &str| event.filter(key).is_some();
    match &*event.name.text {
        "release" => true,
        "push" => filtered("tags") && !filtered("branches") && !filtered("branches-ignore"),
        _ => false,
    }
}

/// Tells whether a job does nothing but look at the code, itself or by the workflow that it calls.
fn only_checks(github: &Github, flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    let checks = |facts: &StepFacts| facts.works.iter().all(|done| is_of_check(done.work.kind));
    let all =
        |flow: &Flow, at: usize| flow.facts[at].iter().all(checks) && flow.model.jobs[at].uses.is_none();
    match &job.uses {
        None => all(flow, at) && job.environment.is_none(),
        Some(_) => github.called(job).is_some_and(|called| called.jobs().all(|(at, _)| all(called, at))),
    }
}

/// Tells whether something is a check, or done for one.
fn is_of_check(kind: Kind) -> bool {
    use Kind::{Audit, Build, Cache, Checkout, Install, Lint, Setup, Test, Trivial, Upload};
    matches!(kind, Audit | Build | Cache | Checkout | Install | Lint | Setup | Test | Trivial | Upload)
}

/// Tells whether a job does nothing but find out something for others: it gives outputs, and its steps look at files, or are
/// asked for what they give.
fn only_decides(flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    let prepares = |kind: Kind| matches!(kind, Kind::Trivial | Kind::Checkout | Kind::Setup | Kind::Cache);
    let plain = |facts: &StepFacts, asked: bool| {
        let known = |kind: Kind| prepares(kind) || asked && kind == Kind::Unknown;
        facts.uploads.is_empty() && facts.works.iter().all(|done| known(done.work.kind))
    };
    job.uses.is_none()
        && job.environment.is_none()
        && !job.outputs.is_empty()
        && flow.steps(at).all(|(step, facts)| plain(facts, step.id.is_some()))
}

/// Finds the job with which another one is skipped on an event, though that would run by its own condition and does so on
/// another event.
fn blamed(flow: &Flow, at: usize, event: &str, worlds: &[usize]) -> Option<usize> {
    let job = &flow.model.jobs[at];
    let own = job.condition.as_ref();
    let matters = job.uses.is_some()
        || carry::delivers(flow, at)
        || flow.facts[at].iter().any(|facts| facts.works.iter().any(|done| done.work.kind.checks()));
    // One that asks for the event or for the status of others knows of it.
    let asks = own.is_some_and(|own| own.asks_status() || own.text.contains(&format!("'{event}'")));
    let elsewhere = |at: usize| flow.runs.iter().any(|runs| runs[at] != Run::Never);
    let denied = |at: usize, condition: &Condition| {
        worlds.iter().all(|&world| flow.scope(world, at, false).holds(condition) == Some(false))
    };
    if !matters || asks || !elsewhere(at) || own.is_some_and(|own| denied(at, own)) {
        return None;
    }
    flow.closures[at].iter().copied().find(|&up| {
        elsewhere(up) && flow.model.jobs[up].condition.as_ref().is_some_and(|condition| denied(up, condition))
    })
}
