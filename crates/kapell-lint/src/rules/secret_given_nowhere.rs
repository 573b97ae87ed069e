//! A secret that is used, and that nothing gives.

mod charts;
mod tools;
mod variables;

use std::collections::BTreeSet;

use kapell_core::expr::Expr;
use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::Flow,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    systems::{
        Manifest,
        kubernetes::{What, Workload},
    },
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
    keys_of_secrets(repository, report);
    in_actions(repository, report);
    charts::check(repository, report);
    tools::check(repository, report);
    variables::check(repository, report);
}

/// Services that are told to read a file among the secrets of compose, and are not given that secret.
fn files_of_secrets(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for service in compose.services.iter().filter(|service| !service.partial && !service.mounts_secrets) {
            for variable in &service.env {
                let Some((_, name)) = variable.split_once("=/run/secrets/") else { continue };
                let name = name.trim();
                let known = compose.secrets.iter().any(|secret| &**secret == name);
                if !known || service.files.iter().any(|file| &**file == name) {
                    continue;
                }
                let message = format!(
                    "`{}` reads the secret `{name}`, which this file declares but does not give it",
                    &*service.name
                );
                let hint = format!("list `{name}` under its `secrets:`");
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
                    if name == "GITHUB_TOKEN"
                        || !missing
                        || may_lack(flow, &name)
                        || !seen.insert(name.clone())
                    {
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

/// What kinds of objects a variable takes its value from.
type Kept = fn(&What) -> Option<&Vec<Box<str>>>;

/// A secret that the repository itself keeps must have the key. One that it does not keep comes from elsewhere, unless it
/// is called nearly like one that is kept here and has the key.
fn keys_of_secrets(repository: &Repository, report: &mut Report<'_>) {
    let secrets: Kept = |what| if let What::Secret(keys) = what { Some(keys) } else { None };
    let settings: Kept = |what| if let What::Settings(keys) = what { Some(keys) } else { None };
    for manifest in &repository.systems.manifests {
        let What::Workload(workload) = &manifest.what else { continue };
        left_out(repository, report, manifest, workload, (true, "secret", secrets));
        left_out(repository, report, manifest, workload, (false, "config map", settings));
        for taken in &workload.secrets {
            key_of(repository, report, manifest, ("secret", secrets), taken);
        }
        for taken in &workload.settings {
            key_of(repository, report, manifest, ("config map", settings), taken);
        }
        for (secret, name, span) in &workload.whole {
            let (kind, kept) = if *secret { ("secret", secrets) } else { ("config map", settings) };
            whole(repository, report, manifest, (kind, kept), (name, *span));
            left_over(repository, report, manifest, (name, *span), (kind, kept));
        }
    }
}

/// Kinds of objects that are no secrets, and of which none comes about.
const PLAIN: &[&str] = &[
    "Namespace",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "StorageClass",
    "PriorityClass",
    "LimitRange",
    "ResourceQuota",
    "Kustomization",
];

/// How many others of a workload have to be kept beside it for the one that is not to be forgotten, and not made by hand.
const OTHERS: usize = 2;

/// What a workload takes and nothing here makes, while what it takes beside it is all made in the same folder.
fn left_out(
    repository: &Repository,
    report: &mut Report<'_>,
    manifest: &Manifest,
    workload: &Workload,
    (secret, kind, kept): (bool, &str, Kept),
) {
    let manifests = &repository.systems.manifests;
    let made = |name: &str| {
        manifests
            .iter()
            .any(|other| kept(&other.what).is_some() && *other.name == *name && other.is_beside(manifest))
    };
    let keyed = if secret { &workload.secrets } else { &workload.settings };
    let whole =
        workload.whole.iter().filter(|(of, ..)| *of == secret).map(|(_, name, span)| (&**name, *span));
    let taken: Vec<(&str, Span)> =
        keyed.iter().map(|(name, _, span)| (&**name, *span)).chain(whole).collect();
    let (here, missing): (Vec<_>, Vec<_>) = taken.iter().partition(|(name, _)| made(name));
    let Some((name, span)) = missing.first() else { return };
    let names: BTreeSet<&str> = here.iter().map(|(name, _)| *name).collect();
    let single = missing.iter().all(|(other, _)| other == name);
    // An operator, or a controller, may make it.
    let others =
        || manifests.iter().filter(|other| matches!(other.what, What::Other) && other.is_beside(manifest));
    let comes_about = name.ends_with("-tls") || others().any(|other| !PLAIN.contains(&&*other.kind));
    if names.len() < OTHERS || !single || comes_about || is_told_of(repository, manifest, name) {
        return;
    }
    // One that is called nearly so is told as a slip.
    let near = |other: &&str| is_slip(name, other) || is_abbreviation(name, other);
    if manifests.iter().filter(|other| kept(&other.what).is_some()).any(|other| near(&&*other.name)) {
        return;
    }
    let listed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let message = format!(
        "`{}` takes the {kind} `{name}`, which nothing here makes as it makes {listed}",
        &*manifest.name
    );
    report
        .add(manifest.file, *span, message)
        .confidence(Confidence::Medium)
        .hint("make it where the others are made, or say where it comes from")
        .done();
}

/// What a workload takes whole and nothing here makes, while a kustomization of its folder makes one that nobody takes.
fn left_over(
    repository: &Repository,
    report: &mut Report<'_>,
    manifest: &Manifest,
    (name, span): (&str, Span),
    (kind, kept): (&str, Kept),
) {
    let manifests = &repository.systems.manifests;
    let beside = || manifests.iter().filter(|other| other.is_beside(manifest));
    let takes = |workload: &Workload, name: &str| {
        let keyed = workload.secrets.iter().chain(&workload.settings).map(|(name, ..)| &**name);
        keyed.chain(workload.whole.iter().map(|(_, name, _)| &**name)).any(|other| other == name)
    };
    let taken = |name: &str| {
        beside().any(|other| matches!(&other.what, What::Workload(workload) if takes(workload, name)))
    };
    let made: Vec<&Manifest> = beside().filter(|other| kept(&other.what).is_some()).collect();
    let mut spare = made.iter().filter(|other| {
        other.path.rsplit('/').next().is_some_and(|file| file.starts_with("kustomization."))
            && !taken(&other.name)
    });
    let (Some(other), None) = (spare.next(), spare.next()) else { return };
    let first = |name: &str| name.split(['-', '_', '.']).next().unwrap_or_default().to_owned();
    let told = made.iter().any(|other| *other.name == *name) || is_slip(name, &other.name);
    if told || first(name) != first(&other.name) || is_told_of(repository, manifest, name) {
        return;
    }
    let message = format!(
        "`{}` takes the {kind} `{name}`, which nothing here makes; what is made and taken by nobody is `{}`",
        &*manifest.name, &*other.name
    );
    let draft = report.add(manifest.file, span, message).confidence(Confidence::Medium);
    draft.hint("give both the same name").also(other.file, other.name.span, format!("the {kind}")).done();
}

/// Tells whether a file speaks of a name otherwise than to take it.
fn is_told_of(repository: &Repository, manifest: &Manifest, name: &str) -> bool {
    let takes = |line: &str| {
        let line = line.trim_start_matches([' ', '-']);
        line.starts_with("name:") || line.starts_with("secretName:") || line.contains("Ref:")
    };
    repository.files.iter().any(|(id, file)| {
        file.text.contains(name)
            && (id != manifest.file && !file.text.contains("kind: Deployment")
                || file.text.lines().any(|line| line.contains(name) && !takes(line)))
    })
}

fn key_of(
    repository: &Repository,
    report: &mut Report<'_>,
    manifest: &Manifest,
    (kind, kept): (&str, Kept),
    (name, key, span): &(Box<str>, Box<str>, Span),
) {
    let manifests = repository.systems.manifests.iter();
    let beside: Vec<(&Manifest, &Vec<Box<str>>)> = manifests
        .filter(|other| other.namespace == manifest.namespace)
        .filter_map(|other| Some((other, kept(&other.what)?)))
        .collect();
    let same: Vec<_> = beside.iter().filter(|(other, _)| *other.name == **name).collect();
    if same.iter().any(|(_, keys)| keys.is_empty() || keys.contains(key)) {
        return;
    }
    let (message, other) = match same.first() {
        Some((other, _)) => (
            format!(
                "`{}` takes the key `{key}` of the {kind} `{name}`, which has no such key",
                &*manifest.name
            ),
            other,
        ),
        None => {
            let near = |(other, keys): &&(&Manifest, &Vec<Box<str>>)| {
                let near = is_slip(name, &other.name) || is_abbreviation(name, &other.name);
                keys.contains(key) && near && other.is_beside(manifest)
            };
            let Some((other, _)) = beside.iter().find(near) else { return };
            let message = format!(
                "`{}` takes the key `{key}` of the {kind} `{name}`, but what has it here is `{}`",
                &*manifest.name, &*other.name
            );
            (message, other)
        }
    };
    let draft = report.add(manifest.file, *span, message);
    draft.also(other.file, other.name.span, format!("the {kind}")).done();
}

/// A secret that is taken whole, and is called nearly like the one that is kept beside it.
fn whole(
    repository: &Repository,
    report: &mut Report<'_>,
    manifest: &Manifest,
    (kind, kept): (&str, Kept),
    (name, span): (&str, Span),
) {
    let manifests = repository.systems.manifests.iter();
    let beside: Vec<&Manifest> = manifests
        .filter(|other| other.namespace == manifest.namespace && kept(&other.what).is_some())
        .collect();
    if beside.iter().any(|other| *other.name == *name) {
        return;
    }
    let near = beside.iter().find(|other| is_slip(name, &other.name) && other.is_beside(manifest));
    let Some(other) = near else { return };
    let message =
        format!("`{}` takes the {kind} `{name}`, but the one here is `{}`", &*manifest.name, &*other.name);
    report.add(manifest.file, span, message).also(other.file, other.name.span, format!("the {kind}")).done();
}

/// Words for short that are more than the beginning of what they stand for.
const SHORT: &[(&str, &str)] = &[
    ("db", "database"),
    ("pg", "postgres"),
    ("pg", "postgresql"),
    ("pw", "password"),
    ("pwd", "password"),
    ("svc", "service"),
    ("cfg", "config"),
    ("k8s", "kubernetes"),
    ("es", "elasticsearch"),
    ("ch", "clickhouse"),
    ("sa", "serviceaccount"),
];

/// Tells whether two names are made of the same words but for one, which in one of the two is cut short:
/// `mailer-creds`, `mailer-credentials`.
fn is_abbreviation(name: &str, other: &str) -> bool {
    let words = |text: &str| text.split(['-', '_', '.']).map(str::to_ascii_lowercase).collect::<Vec<_>>();
    let (words, others) = (words(name), words(other));
    let pairs = words.iter().zip(&others);
    let mut differ = pairs.filter(|(word, other)| word != other);
    let (Some((word, other)), None) = (differ.next(), differ.next()) else { return false };
    let (short, long) = if word.len() <= other.len() { (word, other) } else { (other, word) };
    // A plural is cut short as well.
    let short = short.strip_suffix('s').filter(|_| long.ends_with('s')).unwrap_or(short);
    let alike = words.len() == others.len() && words.len() > 1;
    if alike && SHORT.iter().any(|(known, whole)| *known == short && *whole == long.as_str()) {
        return true;
    }
    let Some(rest) = long.strip_prefix(short) else { return false };
    let numbered = rest.bytes().any(|byte| byte.is_ascii_digit());
    alike && short.len() > 2 && !numbered
}

/// Tells whether two names differ by a letter or two, as slips do, and not by a number or a word.
fn is_slip(name: &str, other: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>();
    let (short, long) = if name.len() <= other.len() { (name, other) } else { (other, name) };
    let joined = letters(short) == letters(long);
    let one_more = long.len() - short.len() <= 1
        && (0..=short.len()).any(|at| {
            let tail = at + (long.len() - short.len());
            long.is_char_boundary(at)
                && short.is_char_boundary(at)
                && long.get(tail.max(at)..).is_some()
                && long[..at] == short[..at]
                && long.len() > short.len()
                && long[tail..] == short[at..]
                && !long[at..tail].chars().any(|c| c.is_ascii_digit())
        });
    let swapped = short.len() == long.len() && {
        let differ: Vec<(char, char)> = short.chars().zip(long.chars()).filter(|(a, b)| a != b).collect();
        matches!(differ[..], [(a, b), (c, d)] if a == d && b == c)
    };
    name.len() > 3 && (joined || one_more || swapped)
}
