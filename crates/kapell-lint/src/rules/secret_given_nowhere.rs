//! A secret that is used, and that nothing gives.

use std::collections::BTreeSet;

use kapell_core::expr::Expr;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::Flow,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    systems::kubernetes::What,
};

/// The rule.
pub static RULE: Rule = Rule {
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
    keys_of_secrets(repository, report);
}

/// A called workflow sees only the secrets that its caller hands over.
fn called_workflows(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.github.flows.iter().filter(|flow| flow.model.complete) {
        // Started by itself it has the repository's secrets.
        if flow.model.event("workflow_call").is_none() || flow.model.events.len() > 1 {
            continue;
        }
        let callers = repository.github.callers(flow);
        let given: Vec<Option<BTreeSet<String>>> =
            callers.iter().map(|(caller, job)| given(caller, *job)).collect();
        if given.is_empty() || given.iter().any(Option::is_none) {
            continue;
        }
        let mut seen = BTreeSet::new();
        for job in &flow.model.jobs {
            for expression in &job.expressions {
                for name in secrets(&expression.expr) {
                    let missing = given.iter().flatten().all(|names| !names.contains(&name));
                    if name == "GITHUB_TOKEN" || !missing || !seen.insert(name.clone()) {
                        continue;
                    }
                    let (caller, at) = callers[0];
                    let message = format!(
                        "`secrets.{name}` is always empty here: no workflow that calls `{}` gives it",
                        flow.path
                    );
                    let draft = report.add(flow.file, expression.span(&flow.text), message);
                    let draft = draft.hint(format!("pass `{name}` under `secrets:`, or `secrets: inherit`"));
                    draft.also(caller.file, caller.job_span(at), "called from here").done();
                }
            }
        }
    }
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
    let name =
        |part: &str| part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    parts.map(name).filter(|name| !name.is_empty()).map(|name| name.to_ascii_uppercase()).collect()
}

/// A secret that the repository itself keeps must have the key. One that it does not keep comes from elsewhere.
fn keys_of_secrets(repository: &Repository, report: &mut Report<'_>) {
    for manifest in &repository.systems.manifests {
        let What::Workload(workload) = &manifest.what else { continue };
        for (name, key, span) in &workload.secrets {
            let kept = repository.systems.manifests.iter().filter_map(|other| match &other.what {
                What::Secret(keys) if *other.name == **name && other.namespace == manifest.namespace => {
                    Some((other, keys))
                }
                _ => None,
            });
            let kept: Vec<_> = kept.collect();
            let Some((secret, _)) = kept.first() else { continue };
            if kept.iter().any(|(_, keys)| keys.is_empty() || keys.contains(key)) {
                continue;
            }
            let message = format!(
                "`{}` takes the key `{key}` of the secret `{name}`, which has no such key",
                &*manifest.name
            );
            let draft = report.add(manifest.file, *span, message);
            draft.also(secret.file, secret.name.span, "the secret").done();
        }
    }
}
