//! A job that stands for all others does not see every failure.

mod skipped; // notices in jobs that are skipped
mod unheard; // failures that nobody is told of

use kapell_spec::{
    finding::Span,
    github::{Condition, Job, Uses},
};
use kapell_view::audit::{Confidence, FixClass, Severity};

use crate::github::{Flow, aggregate, conditions, conditions::Run};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/aggregator-incomplete.md`.
pub(super) static RULE: Rule = Rule {
    name: "aggregator-incomplete",
    summary: "A job that stands for all others does not see every failure",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/aggregator-incomplete.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        unheard::check(repository, flow, report);
        skipped::check(flow, report);
        for (at, job) in flow.jobs() {
            let Some(found) = aggregate::aggregator(flow, at) else { continue };
            if found.named_strongly {
                never_comes(repository, flow, at, report);
            }
            let runs = |own: &Condition| own.asks_status() && !aggregate::is_default(&own.text);
            let asks = job.condition.as_ref().is_some_and(runs);
            if !asks || !found.reads {
                continue;
            }
            let told = hidden_root(flow, at, &found, report)
                || unread(flow, at, &found, report)
                || left_out(repository, flow, at, &found, report);
            if !told && (found.named_strongly || !found.named_report) {
                cancelled_passes(flow, at, report);
            }
        }
    }
}

/// What merging waits for is not there for a pull request that changes only what the workflow leaves out: it waits for ever.
///
/// Source: GitHub, "Troubleshooting required status checks", section "Handling skipped but required checks".
fn never_comes(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let Some(filter) = flow.model.event("pull_request").and_then(|event| event.filter("paths-ignore")) else {
        return;
    };
    let job = &flow.model.jobs[at];
    let shown = |job: &Job| job.name.as_ref().map_or(&job.id.text, |name| &name.text).to_ascii_lowercase();
    // One of the same name in another workflow takes its place.
    let twin = repository.github.flows.iter().any(|other| {
        !std::ptr::eq(other, flow)
            && (other.starts("pull_request") || other.starts("pull_request_target"))
            && other.jobs().any(|(_, own)| shown(own) == shown(job))
    });
    if twin {
        return;
    }
    report
        .add(
            flow.file,
            job.id.span,
            format!("`{}` never comes for a pull request that changes only what `paths-ignore` names, and merging waits for it", job.id.text),
        )
        .severity(Severity::Medium)
        .confidence(Confidence::Medium)
        .also(flow.file, filter.items.first().map_or(job.id.span, |item| item.span), "left out here")
        .hint("drop the filter and let a job ask what has changed, or keep a twin of the same name for the rest")
        .done();
}

/// A job further up fails, those that need it are skipped, and skipped is taken for well.
fn hidden_root(flow: &Flow, at: usize, found: &aggregate::Aggregator, report: &mut Report<'_>) -> bool {
    if !found.accepts_skipped {
        return false;
    }
    let job = &flow.model.jobs[at];
    let direct = conditions::direct(&flow.model, job);
    let hidden = flow.closures[at].iter().copied().find(|up| {
        let skips = |need: usize| {
            let id = &flow.model.jobs[need].id.text;
            let listed = |names: &Vec<String>| names.iter().any(|name| name.eq_ignore_ascii_case(id));
            flow.closures[need].contains(up)
                && found.allowed.as_ref().is_none_or(listed)
                && !flow.model.jobs[need].condition.as_ref().is_some_and(Condition::asks_status)
        };
        !direct.contains(up)
            && !flow.model.jobs[*up].continue_on_error.as_ref().is_some_and(|text| text.is("true"))
            && direct.iter().any(|&need| skips(need))
    });
    let Some(up) = hidden else { return false };
    let root = &flow.model.jobs[up].id;
    let draft = report
        .add(flow.file, job.needs_span(), format!("`{}` does not need `{}`: if that fails, the jobs behind it are skipped, and skipped counts as passed here", job.id.text, root.text))
        .also(flow.file, root.span, "its failure is not seen")
        .hint(format!("add `{}` to `needs`", root.text));
    match add_need(flow, at, &root.text) {
        Some((span, text)) => draft
            .fix(
                format!("let `{}` see `{}`", job.id.text, root.text),
                FixClass::Safe,
                [(flow.file, span, text)],
            )
            .done(),
        None => draft.done(),
    }
    true
}

/// Adds a job to `needs`, in the form that it is written in.
fn add_need(flow: &Flow, at: usize, name: &str) -> Option<(Span, String)> {
    let job = &flow.model.jobs[at];
    let last = job.needs.last()?;
    let key = job.keys.get("needs")?;
    let raw = flow.text.get(key.value.range())?;
    if raw.contains(['&', '*', '#']) {
        return None;
    }
    if raw.starts_with('[') {
        return Some((Span::new(last.span.end as usize, last.span.end as usize), format!(", {name}")));
    }
    if !raw.trim_start().starts_with('-') {
        return Some((key.value, format!("[{}, {name}]", last.text)));
    }
    let start = flow.text[..last.span.start as usize].rfind('\n')? + 1;
    let before = &flow.text[start..last.span.start as usize];
    let end = last.span.end as usize;
    let rest = flow.text[end..].lines().next().unwrap_or_default();
    (before.trim() == "-")
        .then(|| (Span::new(end + rest.len(), end + rest.len()), format!("\n{before}{name}")))
}

/// Results are read one by one, and one of them is not.
fn unread(flow: &Flow, at: usize, found: &aggregate::Aggregator, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    // One that only tells of a single result may be after that one alone.
    let least = if aggregate::can_fail(flow, at) { 1 } else { 2 };
    if found.reads_all || found.read.len() < least {
        return false;
    }
    let missing: Vec<&kapell_spec::github::Name> = job
        .needs
        .iter()
        .filter(|need| !found.read.iter().any(|read| read.eq_ignore_ascii_case(&need.text)))
        .collect();
    let [first, ..] = missing[..] else { return false };
    let names: Vec<String> = missing.iter().map(|need| format!("`{}`", need.text)).collect();
    report
        .add(
            flow.file,
            first.span,
            format!("`{}` waits for {} and does not look at the result", job.id.text, names.join(", ")),
        )
        .hint("look at the result of each, or at all with `contains(needs.*.result, 'failure') || contains(needs.*.result, 'cancelled')`")
        .done();
    true
}

/// It looks for failures only: one that was cancelled is none.
fn cancelled_passes(flow: &Flow, at: usize, report: &mut Report<'_>) {
    if !aggregate::can_fail(flow, at) || !aggregate::lets_cancelled_pass(flow, at) {
        return;
    }
    let job = &flow.model.jobs[at];
    let asks = job.steps.iter().find(|step| {
        flow.text
            .get(step.span.range())
            .is_some_and(|text| text.contains("'failure'") || text.contains("needs."))
    });
    let place = asks.map_or(job.id.span, |step| {
        step.condition
            .as_ref()
            .filter(|own| own.text.contains("failure"))
            .map_or(step.name_span(), |own| own.span)
    });
    let draft = report
        .add(
            flow.file,
            place,
            format!("`{}` looks for `failure` only: a job that is cancelled, or whose time is up, passes", job.id.text),
        )
        .severity(Severity::Medium)
        .confidence(Confidence::Medium)
        .hint("ask for `cancelled` too: `contains(needs.*.result, 'failure') || contains(needs.*.result, 'cancelled')`");
    match crate::github::comments::explains(flow, place, 2, &["cancel", "timeout", "time-out"]) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Some checks of the workflow are left out.
fn left_out(
    repository: &Repository,
    flow: &Flow,
    at: usize,
    found: &aggregate::Aggregator,
    report: &mut Report<'_>,
) -> bool {
    let job = &flow.model.jobs[at];
    let listed = job.needs.len();
    let missing: Vec<usize> = flow
        .jobs()
        .filter(|(other, candidate)| {
            *other != at
                && !flow.closures[at].contains(other)
                && !flow.closures[*other].contains(&at)
                && candidate.condition.as_ref().is_none_or(|own| by_needs(&own.text))
                && candidate.continue_on_error.is_none()
                && flow.closures[*other]
                    .iter()
                    .all(|&up| flow.runs.iter().all(|runs| runs[up] == Run::Always))
                && match repository.github.called(candidate) {
                    Some(called) => called.jobs().all(|(at, _)| checks_only(called, at)),
                    None if candidate.uses.is_some() => called_elsewhere(flow, at, candidate),
                    None => checks_only(flow, *other),
                }
        })
        .map(|(other, _)| other)
        .collect();
    // A name that promises all says more than the length of the list.
    let few = if found.named_strongly { 2 } else { 3 };
    // Where it is said that nothing is merged without it, it is for all that checks.
    let demanded = super::aggregator_always_green::demanded(flow, at);
    let most = if demanded { listed - 1 } else { listed / few };
    if listed < few || missing.is_empty() || missing.len() > most.min(3) {
        return false;
    }
    let names: Vec<String> =
        missing.iter().map(|&other| format!("`{}`", flow.model.jobs[other].id.text)).collect();
    let mut draft = report
        .add(
            flow.file,
            job.needs_span(),
            format!("`{}` stands for {listed} checks and leaves out {}", job.id.text, names.join(" and ")),
        )
        .severity(if demanded { Severity::High } else { Severity::Medium })
        .confidence(Confidence::Medium)
        .hint("add it to `needs`, or say in a comment why it may fail");
    for other in missing {
        draft = draft.also(flow.file, flow.job_span(other), "may fail unseen");
    }
    let key = job.needs_span();
    match crate::github::comments::explains(
        flow,
        key,
        job.needs.len() + 2,
        &["not", "except", "optional", "without", "required", "skip"],
    ) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
    true
}

/// Tells whether a job calls a workflow of another repository that checks something, by the words of its name, and the job which
/// stands for all waits for another such call.
fn called_elsewhere(flow: &Flow, at: usize, job: &Job) -> bool {
    const CHECKS: &[&str] =
        &["build", "builds", "test", "tests", "lint", "linters", "check", "checks", "dists", "docs"];
    const GOES_OUT: &[&str] = &["publish", "deploy", "release", "upload", "push", "notify", "pages"];
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let has =
        |words: &[&str]| name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| words.contains(&word));
    let elsewhere = |job: &Job| job.called().is_some_and(|uses| !matches!(uses, Uses::Local(_)));
    let beside = conditions::direct(&flow.model, &flow.model.jobs[at]);
    has(CHECKS)
        && !has(GOES_OUT)
        && elsewhere(job)
        && beside.iter().any(|&need| elsewhere(&flow.model.jobs[need]))
}

/// Tells whether a condition only asks what a job before it decided, as those of the checks that are listed do.
fn by_needs(condition: &str) -> bool {
    condition.contains("needs.")
        && !["event", "ref", "repository", "actor", "always", "cancelled", "failure", "inputs"]
            .iter()
            .any(|word| condition.contains(word))
}

fn checks_only(flow: &Flow, job: usize) -> bool {
    let mut works = flow.facts[job].iter().flat_map(|facts| &facts.works).peekable();
    works.peek().is_some()
        && flow.facts[job].iter().any(|facts| facts.works.iter().any(|done| done.work.kind.checks()))
        && works.all(|done| !done.work.kind.mutates())
}
