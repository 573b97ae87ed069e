//! A called workflow sees only the secrets that its callers hand over.

use std::{cell::LazyCell, collections::BTreeSet};

use kapell_spec::{
    finding::Span,
    github::{Event, Name, Step, Word},
};
use kapell_view::audit::{Confidence, Severity};

use super::{secrets, tools};
use crate::{
    github::{Flow, tools::Kind},
    repository::Repository,
    rule::Report,
};

/// A job that calls a workflow.
struct Caller<'a> {
    flow: &'a Flow,
    /// The number of the job.
    job: usize,
    /// The names of the secrets that it hands over, in capitals; `None` for all.
    given: Option<BTreeSet<String>>,
}

impl<'a> Caller<'a> {
    fn new((flow, job): (&'a Flow, usize)) -> Self {
        Self { flow, job, given: given(flow, job) }
    }

    /// Tells whether it surely does not hand over a secret.
    fn lacks(&self, name: &str) -> bool {
        self.given.as_ref().is_some_and(|names| !names.contains(name))
    }

    fn span(&self) -> Span {
        self.flow.job_span(self.job)
    }
}

/// A secret that a called workflow reads.
struct Wanted<'a> {
    flow: &'a Flow,
    /// The number of the job that reads it first.
    job: usize,
    /// Where it does.
    span: Span,
    /// Its name, in capitals.
    name: String,
}

/// Tells of secrets that a called workflow reads or requires, and that its callers, or one of them, do not hand over.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.asked_flows().filter(|flow| flow.model.complete) {
        let Some(call) = flow.model.event("workflow_call") else { continue };
        let callers: Vec<Caller<'_>> = repository.github.callers(flow).into_iter().map(Caller::new).collect();
        let told = refused(flow, call, &callers, report);
        // Started by itself it has the repository's secrets.
        if told || callers.is_empty() || flow.model.events.len() > 1 {
            continue;
        }
        for wanted in wanted(flow) {
            let lacking: Vec<&Caller<'_>> =
                callers.iter().filter(|caller| caller.lacks(&wanted.name)).collect();
            match lacking[..] {
                [first, ..] if lacking.len() == callers.len() => of_no_caller(&wanted, first, report),
                // What runs in some cases only may not run for who gives nothing.
                [only] if is_read_always(&wanted) => of_one_caller(&wanted, only, report),
                _ => {}
            }
        }
    }
}

/// Returns the secrets that a workflow reads and does not say to be able to do without, each where it is read first.
fn wanted(flow: &Flow) -> Vec<Wanted<'_>> {
    let capitals = LazyCell::new(|| flow.text.to_ascii_uppercase());
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (job, model) in flow.jobs() {
        for expression in model.expressions.iter().filter(|expression| expression.says(Word::Secrets)) {
            for name in secrets(&expression.expr) {
                if name == "GITHUB_TOKEN" || !seen.insert(name.clone()) || may_lack(&capitals, &name) {
                    continue;
                }
                found.push(Wanted { flow, job, span: expression.span(&flow.text), name });
            }
        }
    }
    found
}

/// Tells whether a secret is read in every run: in a step without a condition, or by a job for one that cannot do without.
fn is_read_always(wanted: &Wanted<'_>) -> bool {
    let job = &wanted.flow.model.jobs[wanted.job];
    let step = job.steps.iter().find(|step| holds(step, wanted.span));
    let plain = step.map_or_else(|| is_needed(wanted), |step| step.condition.is_none());
    job.condition.is_none() && plain
}

/// Tells of a secret that no caller hands over.
fn of_no_caller(wanted: &Wanted<'_>, caller: &Caller<'_>, report: &mut Report<'_>) {
    let Wanted { flow, span, name, .. } = wanted;
    let message =
        format!("`secrets.{name}` is always empty here: no workflow that calls `{}` gives it", flow.path);
    report
        .add(flow.file, *span, message)
        .hint(format!("pass `{name}` under `secrets:`, or `secrets: inherit`"))
        .also(caller.flow.file, caller.span(), "called from here")
        .done();
}

/// Tells of callers that leave out a secret without which the workflow is not to be called, and whether there are any.
///
/// Source: GitHub, "Workflow syntax", `on.workflow_call.secrets.<secret_id>.required`: whether the secret must be supplied.
fn refused(flow: &Flow, call: &Event, callers: &[Caller<'_>], report: &mut Report<'_>) -> bool {
    let required = || call.secrets.iter().filter(|secret| secret.required).map(|secret| &secret.name);
    let mut told = false;
    for caller in callers {
        let lacking = required().find(|name| caller.lacks(&name.text.to_ascii_uppercase()));
        let Some(Name { text: name, span }) = lacking else { continue };
        let message =
            format!("`{}` is called without `{name}`, which it requires: the run does not start", flow.path);
        report
            .add(caller.flow.file, caller.span(), message)
            .also(flow.file, *span, "required here")
            .hint(format!("pass `{name}` under `secrets:`, or `secrets: inherit`"))
            .done();
        told = true;
    }
    told
}

/// Tells whether a job keeps a secret in the variable without which a program that one of its steps runs in any case does
/// nothing.
fn is_needed(wanted: &Wanted<'_>) -> bool {
    let of_job = wanted.flow.model.jobs[wanted.job].env.iter();
    let secret = format!("SECRETS.{} ", wanted.name);
    let holds = |text: &str| text.to_ascii_uppercase().replace('}', " ").contains(&secret);
    let mut steps = wanted.flow.steps(wanted.job).filter(|(step, _)| step.condition.is_none());
    steps.any(|(step, facts)| {
        let mut variables = of_job.clone().chain(&step.env).filter(|(_, text)| holds(text));
        variables.any(|(name, _)| facts.commands.iter().any(|command| tools::wants(command, &name.text)))
    })
}

/// Words of secrets without which a run is as good: reports of coverage, caches, messages.
const SPARE: &[&str] =
    &["COV", "CACHE", "TURBO", "SONAR", "SLACK", "WEBHOOK", "SENTRY", "GH_", "GITHUB", "NX_", "NPM", "SIGN"];

/// Tells of the one caller that hands over nothing at all, or not what a program there cannot do without, where others hand over
/// what the workflow reads. Runs for pull requests have no secrets, or are not meant to: of a caller that also runs for what is
/// merged it is less certain that it should.
fn of_one_caller(wanted: &Wanted<'_>, caller: &Caller<'_>, report: &mut Report<'_>) {
    let Wanted { flow, span, name, .. } = wanted;
    let model = &caller.flow.model;
    let job = &model.jobs[caller.job];
    let for_changes = model.events.iter().any(|event| event.name.text.starts_with("pull_request"));
    let for_merged = caller.flow.starts("push") && job.condition.is_none() && in_tests(flow, *span);
    let needed = is_needed(wanted);
    // A registry that trusts the workflow itself takes no token; what is signed needs the same right.
    let trusted = flow.text.contains("id-token") && !flow.text.contains("--provenance");
    let spare = SPARE.iter().any(|word| name.contains(word)) && (!needed || trusted);
    // Who hands over others may have chosen.
    let chosen = job.keys.get("secrets").is_some() && !needed;
    if for_changes && !for_merged || spare || chosen {
        return;
    }
    let message = format!(
        "`{}` is called without `{name}`, which others hand over: it is empty in this run",
        flow.path
    );
    report
        .add(caller.flow.file, caller.span(), message)
        .confidence(Confidence::Medium)
        .severity(if for_changes { Severity::Medium } else { Severity::High })
        .hint(format!("pass `{name}` under `secrets:`"))
        .also(flow.file, *span, "read here")
        .done();
}

/// Tells whether a place is within a step.
fn holds(step: &Step, place: Span) -> bool {
    step.span.start <= place.start && place.end <= step.span.end
}

/// Tells whether a place is within a step that tests: without the secret that tests less than it says.
fn in_tests(flow: &Flow, span: Span) -> bool {
    let mut steps = flow.jobs().flat_map(|(at, _)| flow.steps(at));
    steps.any(|(step, facts)| holds(step, span) && facts.does(Kind::Test))
}

/// Tells whether a called workflow, here in capitals, says itself that it can do without a secret: it asks whether there is one.
fn may_lack(capitals: &str, name: &str) -> bool {
    let asked = ["!= ''", "== ''", "!=''", "==''", "||"];
    capitals.match_indices(&format!("SECRETS.{name}")).any(|(at, found)| {
        let rest = capitals[at + found.len()..].trim_start();
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
