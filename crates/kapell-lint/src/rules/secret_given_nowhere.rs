//! A secret that is used, and that nothing gives.

mod by_command; // secrets that workflows make
mod charts;
mod composed; // what compose files ask for, where a job starts them
mod missing; // objects of Kubernetes that nothing makes
mod names;
mod objects; // of Kubernetes, and their keys
mod projects; // boards that the token of a run cannot reach
mod tools;
mod variables;

use std::collections::BTreeSet;

use kapell_core::expr::Expr;
use kapell_spec::{finding::Span, github::Step};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, tools::Kind},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/secret-given-nowhere.md`.
pub(super) static RULE: Rule = Rule {
    name: "secret-given-nowhere",
    summary: "a secret that is used where nothing gives it",
    group: Group::CrossSystem,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/secret-given-nowhere.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    called_workflows(repository, report);
    projects::check(repository, report);
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for service in compose.services.iter().filter(|service| !service.partial) {
            for secret in &service.secrets {
                if !compose.secrets.iter().any(|known| **known == **secret) {
                    let message = format!(
                        "`{}` takes the secret `{}`, which this file does not declare",
                        &*service.name, &**secret
                    );
                    let hint = "declare it under `secrets:` at the top, with `file:` or `environment:`";
                    report.add(compose.file, secret.span, message).hint(hint).done();
                }
            }
        }
    }
    files_of_secrets(repository, report);
    objects::check(repository, report);
    by_command::check(repository, report);
    in_actions(repository, report);
    variables_of_actions(repository, report);
    charts::check(repository, report);
    tools::check(repository, report);
    variables::check(repository, report);
    composed::check(repository, report);
}

/// Services that are told to read a file among the secrets of compose, and are not given that secret.
fn files_of_secrets(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for service in compose.services.iter().filter(|service| !service.partial && !service.mounts_secrets) {
            for variable in &service.env {
                let Some((_, name)) = variable.split_once("=/run/secrets/") else { continue };
                let name = name.trim();
                let known = compose.secrets.iter().any(|secret| &**secret == name);
                // Another file of compose may give it, on top of this one.
                let elsewhere = repository.systems.composes.iter().any(|other| {
                    let gives = other.partial || other.secrets.iter().any(|secret| &**secret == name);
                    other.path != compose.path && gives
                });
                let plain = !name.contains(['/', '$', ' ']);
                let takes = known || plain && (!service.secrets.is_empty() || !elsewhere);
                if !takes || service.files.iter().any(|file| &**file == name) {
                    continue;
                }
                let (how, hint) = if known {
                    ("declares but does not give it", format!("list `{name}` under its `secrets:`"))
                } else {
                    ("does not declare", format!("declare `{name}`, and list it under its `secrets:`"))
                };
                let message =
                    format!("`{}` reads the secret `{name}`, which this file {how}", &*service.name);
                report.add(compose.file, variable.span, message).hint(hint).done();
            }
        }
    }
}

/// An action sees no secrets at all: what it needs of them it has to be given as an input.
fn in_actions(repository: &Repository, report: &mut Report<'_>) {
    for action in repository.github.actions.values().filter(|action| !action.model.steps.is_empty()) {
        // What describes an input is only shown.
        let Some(start) = action.model.steps.first().map(|step| step.span.start) else { continue };
        let in_steps = action.model.expressions.iter().filter(|one| one.span(&action.text).start >= start);
        let read = in_steps.clone().find_map(|expression| {
            secrets(&expression.expr).into_iter().next().map(|name| (expression, name))
        });
        let Some((expression, name)) = read else { continue };
        let message =
            format!("an action cannot read `secrets.{name}`: its steps know no `secrets`, and it fails");
        report
            .add(action.file, expression.span(&action.text), message)
            .hint("take it as an input, and hand it over where the action is used")
            .done();
    }
}

/// How the names of variables end that hold a secret.
const SECRET: &[&str] = &["_TOKEN", "_SECRET", "_PASSWORD", "_KEY", "_CREDENTIALS", "_DSN", "_AUTH"];

/// Variables that an action takes from those who use it, and that none of them gives.
fn variables_of_actions(repository: &Repository, report: &mut Report<'_>) {
    for action in repository.github.actions.values().filter(|action| !action.model.steps.is_empty()) {
        let mut told = BTreeSet::new();
        for expression in &action.model.expressions {
            let text = expression.expr.to_string();
            let Some(name) = text.trim().strip_prefix("env.").filter(|name| !name.contains(['.', ' ', '[']))
            else {
                continue;
            };
            // Whoever speaks of it may give it, by a file of variables, too.
            let given = || {
                repository.github.flows.iter().any(|flow| flow.text.contains(name))
                    || action.text.contains(&format!("{name}="))
                    || repository
                        .github
                        .actions
                        .values()
                        .any(|other| other.file != action.file && other.text.contains(name))
            };
            let own = repository.files[action.file].path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let used = || {
                repository
                    .github
                    .flows
                    .iter()
                    .find(|flow| !own.is_empty() && flow.text.contains(&format!("./{own}")))
            };
            if !SECRET.iter().any(|end| name.ends_with(end)) || name.starts_with("GITHUB_") || given() {
                continue;
            }
            let Some(flow) = used().filter(|_| told.insert(name.to_owned())) else { continue };
            let message = format!("`env.{name}` is empty here: nothing that uses this action sets it");
            report
                .add(action.file, expression.span(&action.text), message)
                .confidence(Confidence::Medium)
                .hint(format!("take it as an input, or set `{name}` in `{}`", flow.path))
                .done();
        }
    }
}

/// A called workflow sees only the secrets that its caller hands over.
fn called_workflows(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.asked_flows().filter(|flow| flow.model.complete) {
        // Started by itself it has the repository's secrets.
        if flow.model.event("workflow_call").is_none() || flow.model.events.len() > 1 {
            continue;
        }
        let callers = repository.github.callers(flow);
        let given: Vec<Option<BTreeSet<String>>> =
            callers.iter().map(|(caller, job)| given(caller, *job)).collect();
        if given.is_empty() {
            continue;
        }
        let mut seen = BTreeSet::new();
        for job in &flow.model.jobs {
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
                        if job.condition.is_some() || step.is_none_or(|step| step.condition.is_some()) {
                            continue;
                        }
                        let lacking = callers.iter().zip(&given).filter(|(_, names)| lacks(names));
                        let lacking: Vec<(&Flow, usize)> = lacking.map(|(caller, _)| *caller).collect();
                        of_one_caller((flow, span), &name, &lacking, report);
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

/// Words of secrets without which a run is as good: reports of coverage, caches, messages.
const SPARE: &[&str] =
    &["COV", "CACHE", "TURBO", "SONAR", "SLACK", "WEBHOOK", "SENTRY", "GH_", "GITHUB", "NX_", "NPM", "SIGN"];

/// Tells of the one caller that hands over nothing at all, where others hand over what the workflow reads. Runs for pull requests
/// have no secrets, or are not meant to: of a caller that also runs for what is merged it is less certain that it should.
fn of_one_caller(
    (flow, span): (&Flow, Span),
    name: &str,
    lacking: &[(&Flow, usize)],
    report: &mut Report<'_>,
) {
    let &[(caller, at)] = lacking else { return };
    let for_changes = caller.model.events.iter().any(|event| event.name.text.starts_with("pull_request"));
    let for_merged =
        caller.starts("push") && caller.model.jobs[at].condition.is_none() && in_tests(flow, span);
    let spare = SPARE.iter().any(|word| name.contains(word));
    if for_changes && !for_merged || spare || caller.model.jobs[at].keys.get("secrets").is_some() {
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

/// Returns the secrets that an expression reads by name.
fn secrets(expr: &Expr) -> Vec<String> {
    let text = expr.to_string();
    let parts = text.split("secrets.").skip(1);
    // Names of inputs and secrets may have hyphens.
    let of_name = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name = |part: &str| part.chars().take_while(of_name).collect::<String>();
    parts.map(name).filter(|name| !name.is_empty()).map(|name| name.to_ascii_uppercase()).collect()
}
