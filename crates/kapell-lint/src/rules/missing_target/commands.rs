//! Commands of workflows, and of scripts that they run: `kubectl set image`, `docker compose exec`.

use kapell_spec::{finding::Span, github::Step, suggest};

use super::scripts;
use crate::{
    files::FileId,
    github::{Flow, own_scripts, script::Command},
    repository::Repository,
    rule::{Report, names},
    systems::{
        Manifest,
        kubernetes::{What, Workload},
        started,
    },
};

/// Tells of containers and services that commands name and that are not there.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let systems = &repository.systems;
    if systems.manifests.is_empty() && systems.composes.is_empty() {
        return;
    }
    for flow in repository.asked_flows() {
        for (job, _) in flow.jobs() {
            for (step, facts) in flow.steps(job) {
                for command in &facts.commands {
                    let at = (flow.file, flow.script_line(step, command.start, ""));
                    of_kubectl(repository, flow, command, at, report);
                    of_compose(repository, (flow, job, step), command, at, report);
                }
                for script in own_scripts::of_step(&repository.files, &flow.model.jobs[job], step, facts) {
                    let Some(file) = script.file else { continue };
                    for command in &script.facts.commands {
                        let line = repository.files[file].line(command.start as u32);
                        let at = (file, repository.files[file].line_span(line));
                        of_kubectl(repository, flow, command, at, report);
                    }
                }
            }
        }
    }
}

/// Options of kubectl that have a value behind them.
const VALUED: &[&str] =
    &["-n", "--namespace", "--context", "--kubeconfig", "--cluster", "-s", "--server", "-l"];

/// Kinds of objects with pods, as kubectl takes them.
const KINDS: &[(&str, &[&str])] = &[
    ("Deployment", &["deployment", "deployments", "deploy", "deployment.apps"]),
    ("StatefulSet", &["statefulset", "statefulsets", "sts", "statefulset.apps"]),
    ("DaemonSet", &["daemonset", "daemonsets", "ds", "daemonset.apps"]),
    ("CronJob", &["cronjob", "cronjobs", "cj", "cronjob.batch"]),
];

/// Returns the words of a command of kubectl without its options, and the namespace that it names.
fn plain(command: &Command) -> Option<(Vec<&str>, Option<&str>)> {
    let (program, rest) = command.inner().split_first()?;
    if !matches!(program.as_str(), "kubectl" | "oc") {
        return None;
    }
    let (mut words, mut namespace) = (Vec::new(), None);
    let mut rest = rest.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        if VALUED.contains(&word) {
            let value = rest.next();
            namespace = if matches!(word, "-n" | "--namespace") { value } else { namespace };
        } else if let Some(value) = word.strip_prefix("--namespace=") {
            namespace = Some(value);
        } else if !word.starts_with('-') {
            words.push(word);
        }
    }
    Some((words, namespace))
}

/// `kubectl set image deployment/api web=...`, where no object of that name has a container `web`: kubectl fails with "unable to
/// find container named".
fn of_kubectl(
    repository: &Repository,
    flow: &Flow,
    command: &Command,
    (file, span): (FileId, Span),
    report: &mut Report<'_>,
) {
    let Some((words, namespace)) = plain(command) else { return };
    let ["set", "image", rest @ ..] = words.as_slice() else { return };
    let Some((kind, name, pairs)) = object(rest) else { return };
    let of_kind = KINDS.iter().find(|(_, known)| known.contains(&kind.to_ascii_lowercase().as_str()));
    let Some((kind, _)) = of_kind else { return };
    let other = |manifest: &Manifest| {
        let plain = namespace.filter(|name| !name.contains('$'));
        plain.is_some_and(|name| !manifest.namespace.is_empty() && *manifest.namespace != *name)
    };
    let manifests = repository.systems.manifests.iter();
    let same: Vec<(&Manifest, &Workload)> = manifests
        .filter(|manifest| *manifest.kind == **kind && *manifest.name == *name && !other(manifest))
        .filter_map(|manifest| match &manifest.what {
            What::Workload(workload) => Some((manifest, &**workload)),
            _ => None,
        })
        .collect();
    let Some((first, _)) = same.first() else { return };
    // Made by hand, or brought by a mesh, there may be more.
    if flow.text.contains("create deployment") || same.iter().any(|(_, one)| one.containers.is_empty()) {
        return;
    }
    for container in pairs.iter().filter_map(|pair| Some(pair.split_once('=')?.0)) {
        let known = || same.iter().flat_map(|(_, one)| &one.containers).map(|one| &*one.name);
        if container.is_empty() || container.contains(['$', '*']) || known().any(|own| own == container) {
            continue;
        }
        let message = format!(
            "`{container}` is no container of the {kind} `{name}`, which has {}: kubectl fails",
            names(known())
        );
        let hint = format!("name `{}`", known().next().unwrap_or_default());
        report.add(file, span, message).also(first.file, first.name.span, "this one").hint(hint).done();
    }
}

/// Splits `deployment/api web=...` and `deployment api web=...`.
fn object<'a>(words: &'a [&'a str]) -> Option<(&'a str, &'a str, &'a [&'a str])> {
    let (first, rest) = words.split_first()?;
    if let Some((kind, name)) = first.split_once('/') {
        return Some((kind, name, rest));
    }
    let (name, rest) = rest.split_first()?;
    (!name.contains('=')).then_some((first, *name, rest))
}

/// Verbs of compose that one service stands behind, and their options that have a value behind them.
const VERBS: &[(&str, &[&str])] = &[
    ("exec", &["-e", "--env", "-u", "--user", "-w", "--workdir", "--index"]),
    (
        "run",
        &[
            "-e",
            "--env",
            "-u",
            "--user",
            "-w",
            "--workdir",
            "-v",
            "--volume",
            "-p",
            "--publish",
            "-l",
            "--label",
            "--name",
            "--entrypoint",
            "--pull",
            "--env-from-file",
            "--cap-add",
            "--cap-drop",
        ],
    ),
];

/// Returns the options before the verb, and the service behind it: `-f a.yml exec -T backend ls`.
fn service_of<'a, 'b>(rest: &'b [&'a str]) -> Option<(&'b [&'a str], &'a str)> {
    let of_verb = |(at, word): (usize, &&str)| {
        VERBS.iter().find(|(verb, _)| verb == word).map(|(_, valued)| (at, *valued))
    };
    let (at, valued) = rest.iter().enumerate().find_map(of_verb)?;
    let mut words = rest[at + 1..].iter();
    while let Some(word) = words.next() {
        if valued.contains(word) {
            words.next();
        } else if !word.starts_with('-') {
            return Some((&rest[..at], word));
        }
    }
    None
}

/// `docker compose exec backend ...`, where no compose file has a service of that name.
fn of_compose(
    repository: &Repository,
    (flow, job, step): (&Flow, usize, &Step),
    command: &Command,
    (file, span): (FileId, Span),
    report: &mut Report<'_>,
) {
    let Some(rest) = started::of_compose(command) else { return };
    let Some((before, name)) = service_of(&rest) else { return };
    // What runs elsewhere, or in another repository, may have files of its own.
    let elsewhere = before.iter().any(|word| word.starts_with("--project-directory"))
        || step.script().contains("ssh ")
        || flow.model.jobs[job].steps.iter().any(scripts::checks_out_other);
    if elsewhere {
        return;
    }
    let files = started::files(&repository.systems, (flow, job, step), before);
    let Some(files) = files.into_iter().collect::<Option<Vec<_>>>().filter(|files| !files.is_empty()) else {
        return;
    };
    let composes = &repository.systems.composes;
    let known = |name: &str| composes.iter().any(|compose| compose.service(name).is_some());
    if name.contains(['$', '`']) || files.iter().any(|compose| compose.partial) || known(name) {
        return;
    }
    let services = || files.iter().flat_map(|compose| &compose.services).map(|service| &*service.name);
    let message =
        format!("there is no service `{name}` in `{}`: compose refuses, and the step fails", files[0].path);
    let hint = match suggest::nearest(name, services()) {
        Some(near) => format!("name `{near}`, if that is meant"),
        None => format!("name one of {}", names(services())),
    };
    report.add(file, span, message).hint(hint).done();
}
