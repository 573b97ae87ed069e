//! A port that is asked for where nothing listens.

use std::collections::BTreeSet;

use kapell_view::audit::{Confidence, Severity};

use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    systems::{
        Word,
        kubernetes::{What, Workload},
    },
};

/// The rule.
pub static RULE: Rule = Rule {
    name: "port-mismatch",
    summary: "a port that is asked for where nothing listens",
    group: Group::CrossSystem,
    anti_pattern: None,
    focus: Focus::Conflicts,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/port-mismatch.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    services(repository, report);
    probes(repository, report);
    composes(repository, report);
}

/// Tells whether a port, a number or a name, is among those of a workload.
fn listens(workload: &Workload, port: &str) -> bool {
    match port.parse::<u16>() {
        Ok(number) => workload.ports.iter().any(|(known, _)| *known == number),
        Err(_) => workload.ports.iter().any(|(_, name)| name.as_deref() == Some(port)),
    }
}

fn ports_of(workload: &Workload) -> String {
    let shown: BTreeSet<String> = workload
        .ports
        .iter()
        .map(|(port, name)| match name {
            Some(name) => format!("{port} ({name})"),
            None => port.to_string(),
        })
        .collect();
    shown.into_iter().collect::<Vec<_>>().join(", ")
}

fn services(repository: &Repository, report: &mut Report<'_>) {
    let manifests = &repository.systems.manifests;
    for service in manifests {
        let What::Service { selector, targets } = &service.what else { continue };
        let folder = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let selected: Vec<_> = manifests
            .iter()
            .filter(|other| {
                other.namespace == service.namespace && folder(&other.path) == folder(&service.path)
            })
            .filter_map(|other| match &other.what {
                What::Workload(workload) => Some((other, workload)),
                _ => None,
            })
            .filter(|(_, workload)| {
                !selector.is_empty()
                    && selector.iter().all(|(key, value)| workload.labels.get(key) == Some(value))
            })
            .collect();
        // Two workloads behind one service may be a blue and a green one, or layers of one.
        let [(workload_of, workload)] = selected[..] else { continue };
        if workload.ports.is_empty() {
            continue;
        }
        for target in targets.iter().filter(|target| !listens(workload, target)) {
            let message = format!(
                "the service `{}` sends to port `{}`, but `{}` listens on {}",
                &*service.name,
                &**target,
                &*workload_of.name,
                ports_of(workload)
            );
            let draft = report.add(service.file, target.span, message);
            draft.also(workload_of.file, workload_of.name.span, "its pods are started here").done();
        }
    }
}

fn probes(repository: &Repository, report: &mut Report<'_>) {
    for manifest in &repository.systems.manifests {
        let What::Workload(workload) = &manifest.what else { continue };
        if workload.ports.is_empty() {
            continue;
        }
        for probe in workload.probes.iter().filter(|probe| !listens(workload, probe)) {
            let message = format!(
                "a probe of `{}` asks port `{}`, which is none of its ports: {}",
                &*manifest.name,
                &**probe,
                ports_of(workload)
            );
            // A pod may listen on more than it declares; a name it does not declare is refused.
            let named = probe.parse::<u16>().is_err();
            let confidence = if named { Confidence::Certain } else { Confidence::Medium };
            report.add(manifest.file, probe.span, message).confidence(confidence).done();
        }
    }
}

fn composes(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for service in compose.services.iter().filter(|service| !service.partial && service.image.is_none()) {
            let Some((folder, file)) = &service.build else { continue };
            let path = if folder.is_empty() { file.clone() } else { format!("{folder}/{file}") };
            let Some(recipe) = repository.systems.dockerfiles.iter().find(|recipe| *recipe.path == *path)
            else {
                continue;
            };
            // A port may be chosen by a variable or an argument.
            let chosen = service.env.iter().any(|word: &Word| word.to_ascii_uppercase().contains("PORT"))
                || service.command.contains("port");
            if recipe.ports.is_empty()
                || recipe.variable
                || chosen
                || service.command.chars().any(|c| c.is_ascii_digit())
            {
                continue;
            }
            for (port, span) in
                service.ports.iter().filter(|(port, _)| recipe.ports.iter().all(|(known, _)| known != port))
            {
                let message = format!(
                    "`{}` publishes port {port} of its container, but `{path}` exposes {}",
                    &*service.name,
                    recipe.ports.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ")
                );
                let draft = report
                    .add(compose.file, *span, message)
                    .severity(Severity::Medium)
                    .confidence(Confidence::Medium);
                draft.also(recipe.file, recipe.ports[0].1, "exposed here").done();
            }
        }
    }
}
