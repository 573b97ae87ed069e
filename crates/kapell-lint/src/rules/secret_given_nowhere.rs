//! A secret that is used, and that nothing gives.

mod by_command; // secrets that workflows make
mod called; // what callers hand over to a called workflow
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
use kapell_view::audit::{Confidence, Severity};

use crate::{
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
    called::check(repository, report);
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

/// Returns the secrets that an expression reads by name.
fn secrets(expr: &Expr) -> Vec<String> {
    let text = expr.to_string();
    let parts = text.split("secrets.").skip(1);
    // Names of inputs and secrets may have hyphens.
    let of_name = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name = |part: &str| part.chars().take_while(of_name).collect::<String>();
    parts.map(name).filter(|name| !name.is_empty()).map(|name| name.to_ascii_uppercase()).collect()
}
