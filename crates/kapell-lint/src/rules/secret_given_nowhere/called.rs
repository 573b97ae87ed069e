//! A called workflow sees only the secrets that its callers hand over.

use std::collections::BTreeSet;

use kapell_spec::{
    finding::Span,
    github::{Event, Name, Step},
};
use kapell_view::audit::{Confidence, Severity};

use super::{secrets, tools};
use crate::{
    github::{Flow, tools::Kind},
    repository::Repository,
    rule::Report,
};

/// A called workflow sees only the secrets that its caller hands over.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.asked_flows().filter(|flow| flow.model.complete) {
        let Some(call) = flow.model.event("workflow_call") else { continue };
        let callers = repository.github.callers(flow);
        let given: Vec<Option<BTreeSet<String>>> =
            callers.iter().map(|(caller, job)| given(caller, *job)).collect();
        let told = refused((flow, call), callers.iter().copied().zip(&given), report);
        // Started by itself it has the repository's secrets.
        if told || given.is_empty() || flow.model.events.len() > 1 {
            continue;
        }
        let mut seen = BTreeSet::new();
        for (at, job) in flow.jobs() {
            for expression in &job.expressions {
                for name in secrets(&expression.expr) {
                    if name == "GITHUB_TOKEN" || may_lack(flow, &name) || !seen.insert(name.clone()) {
                        continue;
                    }
                    let span = expression.span(&flow.text);
                    let lacks = |names: &Option<BTreeSet<String>>| {
                        names.as_ref().is_some_and(|names| !names.contains(&name))
                    };
                    if !given.iter().all(lacks) {
                        // What runs in some cases only may not run for who gives nothing.
                        let step = job
                            .steps
                            .iter()
                            .find(|step| step.span.start <= span.start && span.end <= step.span.end);
                        let always = |step: &Step| step.condition.is_none();
                        let plain = step.map_or_else(|| is_needed(flow, at, &name), always);
                        if job.condition.is_some() || !plain {
                            continue;
                        }
                        let lacking = callers.iter().zip(&given).filter(|(_, names)| lacks(names));
                        let lacking: Vec<(&Flow, usize)> = lacking.map(|(caller, _)| *caller).collect();
                        of_one_caller((flow, at, span), &name, &lacking, report);
                        continue;
                    }
                    let (caller, at) = callers[0];
                    let message = format!(
                        "`secrets.{name}` is always empty here: no workflow that calls `{}` gives it",
                        flow.path
                    );
                    let draft = report.add(flow.file, span, message);
                    let draft = draft.hint(format!("pass `{name}` under `secrets:`, or `secrets: inherit`"));
                    draft.also(caller.file, caller.job_span(at), "called from here").done();
                }
            }
        }
    }
}

/// Tells of callers that leave out a secret without which the workflow is not to be called, and whether there are any.
///
/// Source: GitHub, "Workflow syntax", `on.workflow_call.secrets.<secret_id>.required`: whether the secret must be supplied.
fn refused<'a>(
    (flow, call): (&Flow, &Event),
    callers: impl Iterator<Item = ((&'a Flow, usize), &'a Option<BTreeSet<String>>)>,
    report: &mut Report<'_>,
) -> bool {
    let required = || call.secrets.iter().filter(|secret| secret.required).map(|secret| &secret.name);
    let mut told = false;
    for ((caller, at), names) in callers {
        let lacks = |name: &&Name| {
            names.as_ref().is_some_and(|names| !names.contains(&name.text.to_ascii_uppercase()))
        };
        let Some(lacking) = required().find(lacks) else { continue };
        let name = &lacking.text;
        told = true;
        report
            .add(
                caller.file,
                caller.job_span(at),
                format!(
                    "`{}` is called without `{name}`, which it requires: the run does not start",
                    flow.path
                ),
            )
            .also(flow.file, lacking.span, "required here")
            .hint(format!("pass `{name}` under `secrets:`, or `secrets: inherit`"))
            .done();
    }
    told
}

/// Tells whether a job keeps a secret in the variable without which a program that one of its steps runs in any case does
/// nothing.
fn is_needed(flow: &Flow, at: usize, secret: &str) -> bool {
    let of_job = flow.model.jobs[at].env.iter();
    let mut steps = flow.steps(at).filter(|(step, _)| step.condition.is_none());
    steps.any(|(step, facts)| {
        let holds = |text: &str| text.to_ascii_uppercase().contains(&format!("SECRETS.{secret} "));
        let mut variables =
            of_job.clone().chain(&step.env).filter(|(_, text)| holds(&text.replace('}', " ")));
        variables.any(|(name, _)| facts.commands.iter().any(|command| tools::wants(command, &name.text)))
    })
}

/// Words of secrets without which a run is as good: reports of coverage, caches, messages.
const SPARE: &[&str] =
    &["COV", "CACHE", "TURBO", "SONAR", "SLACK", "WEBHOOK", "SENTRY", "GH_", "GITHUB", "NX_", "NPM", "SIGN"];

/// Tells of the one caller that hands over nothing at all, or not what a program there cannot do without, where others hand over
/// what the workflow reads. Runs for pull requests have no secrets, or are not meant to: of a caller that also runs for what is
/// merged it is less certain that it should.
fn of_one_caller(
    (flow, reader, span): (&Flow, usize, Span),
    name: &str,
    lacking: &[(&Flow, usize)],
    report: &mut Report<'_>,
) {
    let &[(caller, at)] = lacking else { return };
    let for_changes = caller.model.events.iter().any(|event| event.name.text.starts_with("pull_request"));
    let for_merged =
        caller.starts("push") && caller.model.jobs[at].condition.is_none() && in_tests(flow, span);
    let needed = is_needed(flow, reader, name);
    // A registry that trusts the workflow itself takes no token; what is signed needs the same right.
    let trusted = flow.text.contains("id-token") && !flow.text.contains("--provenance");
    let spare = SPARE.iter().any(|word| name.contains(word)) && (!needed || trusted);
    // Who hands over others may have chosen.
    let chosen = caller.model.jobs[at].keys.get("secrets").is_some() && !needed;
    if for_changes && !for_merged || spare || chosen {
        return;
    }
    let message = format!(
        "`{}` is called without `{name}`, which others hand over: it is empty in this run",
        flow.path
    );
    report
        .add(caller.file, caller.job_span(at), message)
        .confidence(Confidence::Medium)
        .severity(if for_changes { Severity::Medium } else { Severity::High })
        .hint(format!("pass `{name}` under `secrets:`"))
        .also(flow.file, span, "read here")
        .done();
}

/// Tells whether a place is within a step that tests: without the secret that tests less than it says.
fn in_tests(flow: &Flow, span: Span) -> bool {
    let within = |step: &Step| step.span.start <= span.start && span.end <= step.span.end;
    let mut steps = flow.jobs().flat_map(|(at, _)| flow.steps(at));
    steps.any(|(step, facts)| within(step) && facts.does(Kind::Test))
}

/// Tells whether a called workflow says itself that it can do without a secret: it asks whether there is one.
fn may_lack(flow: &Flow, name: &str) -> bool {
    let text = flow.text.to_ascii_uppercase();
    let asked = ["!= ''", "== ''", "!=''", "==''", "||"];
    text.match_indices(&format!("SECRETS.{name}")).any(|(at, found)| {
        let rest = text[at + found.len()..].trim_start();
        asked.iter().any(|word| rest.starts_with(word))
    })
}

/// Returns the names that a job hands over; `None` for all.
fn given(caller: &Flow, job: usize) -> Option<BTreeSet<String>> {
    let Some(key) = caller.model.jobs[job].keys.get("secrets") else { return Some(BTreeSet::new()) };
    let text = caller.text.get(key.value.range()).unwrap_or_default();
    if text.trim() == "inherit" || text.contains("<<") || text.starts_with('*') {
        return None;
    }
    let line = |line: &str| {
        line.split_once(':').map(|(name, _)| name.trim().trim_start_matches('{').trim().to_ascii_uppercase())
    };
    Some(text.split(['\n', ',']).filter_map(line).collect())
}
