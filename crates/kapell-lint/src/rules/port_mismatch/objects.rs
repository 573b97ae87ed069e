//! Ports of the objects of Kubernetes.

use std::collections::{BTreeMap, BTreeSet};

use kapell_view::audit::Confidence;

use crate::{
    repository::Repository,
    rule::Report,
    systems::{
        Manifest, Word,
        kubernetes::{Listened, What},
    },
};

/// Tells whether a port, a number or a name, is among some.
pub(super) fn listens(ports: &[Listened], port: &str) -> bool {
    match port.parse::<u16>() {
        Ok(number) => ports.iter().any(|(known, _)| *known == number),
        Err(_) => ports.iter().any(|(_, name)| name.as_deref() == Some(port)),
    }
}

fn shown(ports: &[Listened]) -> String {
    let shown: BTreeSet<String> = ports
        .iter()
        .map(|(port, name)| match name {
            Some(name) => format!("{port} ({name})"),
            None => port.to_string(),
        })
        .collect();
    shown.into_iter().collect::<Vec<_>>().join(", ")
}

pub(super) fn services(repository: &Repository, report: &mut Report<'_>) {
    let manifests = &repository.systems.manifests;
    for service in manifests {
        let What::Service { selector, targets, .. } = &service.what else { continue };
        let selected: Vec<_> = manifests
            .iter()
            .filter(|other| other.is_beside(service))
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
        for target in targets.iter().filter(|target| !listens(&workload.ports, target)) {
            let message = format!(
                "the service `{}` sends to port `{}`, but `{}` listens on {}",
                &*service.name,
                &**target,
                &*workload_of.name,
                shown(&workload.ports)
            );
            let hint = "send to a port on which they listen, or declare this one";
            let draft = report.add(service.file, target.span, message).hint(hint);
            draft.also(workload_of.file, workload_of.name.span, "its pods are started here").done();
        }
    }
}

/// Pods that nobody finds by their labels: those of their own workload, or of the service that is called like it.
pub(super) fn selectors(repository: &Repository, report: &mut Report<'_>) {
    let manifests = &repository.systems.manifests;
    let fits = |selector: &BTreeMap<Box<str>, Box<str>>, labels: &BTreeMap<Box<str>, Box<str>>| {
        selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    for manifest in manifests {
        match &manifest.what {
            What::Workload(workload) => {
                let Some((selector, span)) = workload.selects.as_ref() else { continue };
                if !workload.labels.is_empty() && !fits(selector, &workload.labels) {
                    let message = format!(
                        "`{}` selects pods by labels that its own pods do not have: it is refused",
                        &*manifest.name
                    );
                    report.add(manifest.file, *span, message).hint("give both the same labels").done();
                }
            }
            What::Service { selector, targets, .. } if !selector.is_empty() => {
                let beside: Vec<_> = manifests
                    .iter()
                    .filter(|other| other.is_beside(manifest))
                    .filter_map(|other| match &other.what {
                        What::Workload(workload) => Some((other, workload)),
                        _ => None,
                    })
                    .collect();
                let own = beside
                    .iter()
                    .find(|(other, workload)| *other.name == *manifest.name && !workload.labels.is_empty());
                let found = beside.iter().any(|(_, workload)| fits(selector, &workload.labels));
                let (Some((other, _)), Some(target), false) = (own, targets.first(), found) else { continue };
                let message = format!(
                    "the service `{}` sends to nobody: no pod here has the labels that it selects",
                    &*manifest.name
                );
                report
                    .add(manifest.file, target.span, message)
                    .hint("select the labels of the pods")
                    .also(other.file, other.name.span, "its pods are started here")
                    .done();
            }
            _ => {}
        }
    }
}

pub(super) fn probes(repository: &Repository, report: &mut Report<'_>) {
    for manifest in &repository.systems.manifests {
        let What::Workload(workload) = &manifest.what else { continue };
        if workload.ports.is_empty() {
            continue;
        }
        for probe in workload.probes.iter().filter(|probe| !listens(&workload.ports, probe)) {
            let message = format!(
                "a probe of `{}` asks port `{}`, which is none of its ports: {}",
                &*manifest.name,
                &**probe,
                shown(&workload.ports)
            );
            // A pod may listen on more than it declares; a name it does not declare is refused.
            let named = probe.parse::<u16>().is_err();
            let confidence = if named { Confidence::Certain } else { Confidence::Medium };
            let hint = "ask one of them, or declare this one";
            report.add(manifest.file, probe.span, message).confidence(confidence).hint(hint).done();
        }
    }
}

/// A service that an ingress names, and that only stands beside it under a longer or shorter name.
fn nobody(manifests: &[Manifest], ingress: &Manifest, name: &Word, report: &mut Report<'_>) {
    let known = |other: &&Manifest| *other.name == **name && matches!(other.what, What::Service { .. });
    if manifests.iter().any(|other| known(&other)) {
        return;
    }
    let longer = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('-'));
    let mut near = manifests.iter().filter(|other| {
        matches!(other.what, What::Service { .. })
            && other.is_beside(ingress)
            && (longer(name, &other.name) || longer(&other.name, name))
    });
    let (Some(other), None) = (near.next(), near.next()) else { return };
    let message = format!(
        "`{}` sends to the service `{}`, which is called `{}` here: nothing answers",
        &*ingress.name, &**name, &*other.name
    );
    let hint = format!("write `{}`", &*other.name);
    let draft = report.add(ingress.file, name.span, message).confidence(Confidence::Medium).hint(hint);
    draft.also(other.file, other.name.span, "the service").done();
}

pub(super) fn ingresses(repository: &Repository, report: &mut Report<'_>) {
    let manifests = &repository.systems.manifests;
    for ingress in manifests {
        let What::Ingress(backends) = &ingress.what else { continue };
        for (name, port) in backends {
            let mut named = manifests.iter().filter_map(|other| match &other.what {
                What::Service { ports, .. } if other.is_beside(ingress) && *other.name == **name => {
                    Some((other, ports))
                }
                _ => None,
            });
            let (Some((service, ports)), None) = (named.next(), named.next()) else {
                nobody(manifests, ingress, name, report);
                continue;
            };
            if ports.is_empty() || listens(ports, port) {
                continue;
            }
            let message = format!(
                "the {} `{}` asks for port `{}` of the service `{}`, which has {}",
                match &*ingress.kind {
                    "Ingress" => "ingress",
                    _ => "route",
                },
                &*ingress.name,
                &**port,
                &**name,
                shown(ports)
            );
            report
                .add(ingress.file, port.span, message)
                .hint("ask for a port of the service, not of its pods")
                .also(service.file, service.name.span, "the service")
                .done();
        }
    }
}
