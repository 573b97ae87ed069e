//! A port that is asked for where nothing listens.

use std::collections::BTreeSet;

use kapell_view::audit::{Confidence, Severity};

use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    systems::{
        Compose, Word,
        compose::Service,
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
    addresses(repository, report);
}

/// Variables with the address of another service, and the port that only the host knows it by: within the network a
/// service answers at the port inside.
fn addresses(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for service in &compose.services {
            for word in &service.env {
                let Some((other, port, at)) = address(compose, word) else { continue };
                let inside: BTreeSet<u16> = other.ports.iter().map(|(inside, _)| *inside).collect();
                let outside = other.published.iter().find(|(host, inside)| *host == port && *inside != port);
                let Some((_, meant)) =
                    outside.filter(|_| !inside.contains(&port) && !listens_on(repository, other, port))
                else {
                    continue;
                };
                let message = format!(
                    "`{}` asks `{}` at port {port}, which is published for the host: within the network it is {meant}",
                    &*service.name, &*other.name
                );
                let draft =
                    report.add(compose.file, word.span, message).hint(format!("write `{at}:{meant}`"));
                draft.also(compose.file, other.name.span, "this is asked").done();
            }
        }
    }
}

/// Finds a service of the same file by its name, and the port, in a variable such as `URL=http://api:8081/v1`.
fn address<'a>(compose: &'a Compose, word: &str) -> Option<(&'a Service, u16, String)> {
    let (_, value) = word.split_once('=')?;
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    let host = rest.split(['/', '?', ',']).next()?.rsplit('@').next()?;
    let (name, port) = host.split_once(':')?;
    Some((compose.service(name)?, port.trim_end_matches(['"', '\'']).parse().ok()?, name.to_owned()))
}

/// Tells whether the recipe of a service exposes a port, or its own settings name it.
fn listens_on(repository: &Repository, service: &Service, port: u16) -> bool {
    let number = port.to_string();
    let named = service.command.contains(&number) || service.env.iter().any(|word| word.ends_with(&number));
    let Some((folder, file)) = &service.build else { return named };
    let path = if folder.is_empty() { file.clone() } else { format!("{folder}/{file}") };
    let recipe = repository.systems.dockerfiles.iter().find(|recipe| *recipe.path == *path);
    named
        || recipe
            .is_some_and(|recipe| recipe.variable || recipe.ports.iter().any(|(known, _)| *known == port))
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
