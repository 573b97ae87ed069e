//! A port that is asked for where nothing listens.

mod built; // from recipes of the repository
mod charts;
mod composes;
mod hosts; // names that no service has
mod jobs;
mod objects; // of Kubernetes
mod published; // by compose files that a job starts
mod twice; // ports of the machine that two services take

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use self::{
    composes::{addresses, composes, labelled, proxied, told},
    objects::{ingresses, probes, selectors, services},
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    systems::{image_parts, is_fly},
};

/// See `docs/rules/port-mismatch.md`.
pub(super) static RULE: Rule = Rule {
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
    selectors(repository, report);
    told(repository, report);
    probes(repository, report);
    ingresses(repository, report);
    composes(repository, report);
    addresses(repository, report);
    proxied(repository, report);
    labelled(repository, report);
    checked_in_recipes(repository, report);
    flown(repository, report);
    built::check(repository, report);
    charts::check(repository, report);
    jobs::check(repository, report);
    published::check(repository, report);
    twice::check(repository, report);
    hosts::check(repository, report);
}

/// Returns the port on which an image listens unless it is told otherwise.
fn usual(image: &str) -> Option<u16> {
    let (name, _) = image_parts(image.trim_matches(['"', '\'']));
    let base = name.rsplit('/').next()?;
    USUAL.iter().find(|(known, _)| *known == base).map(|(_, port)| *port)
}

/// Health checks of recipes that ask a port which the recipe speaks of nowhere else.
fn checked_in_recipes(repository: &Repository, report: &mut Report<'_>) {
    for recipe in &repository.systems.dockerfiles {
        let Some((port, span)) = recipe.asked.filter(|_| !recipe.variable) else { continue };
        let known: Vec<u16> = recipe.ports.iter().map(|(port, _)| *port).collect();
        if known.is_empty() || known.contains(&port) {
            continue;
        }
        let listed = known.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let message =
            format!("the health check asks port {port}, but `{}` {} {listed}", recipe.path, recipe.says());
        let draft = report.add(recipe.file, span, message).confidence(Confidence::Medium);
        draft.hint(format!("ask port {}", known[0])).also(recipe.file, recipe.ports[0].1, "said here").done();
    }
}

/// Machines of Fly that are asked on another port than their recipe exposes.
fn flown(repository: &Repository, report: &mut Report<'_>) {
    for (id, file) in repository.files.iter().filter(|(_, file)| is_fly(&file.path)) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = if folder.is_empty() { "Dockerfile".to_owned() } else { format!("{folder}/Dockerfile") };
        let Some(recipe) = repository.systems.dockerfiles.iter().find(|recipe| *recipe.path == *path) else {
            continue;
        };
        let other = ["PORT", "image =", "image=", "dockerfile", "build-target", "[processes]"];
        if recipe.ports.is_empty() || recipe.variable || other.iter().any(|word| file.text.contains(word)) {
            continue;
        }
        let mut at = 0;
        for line in file.text.split_inclusive('\n') {
            let start = at;
            at += line.len();
            let Some((key, value)) = line.split_once('=').filter(|(key, _)| key.trim() == "internal_port")
            else {
                continue;
            };
            let Ok(port) = value.split('#').next().unwrap_or(value).trim().parse::<u16>() else { continue };
            if key.trim_start().starts_with('#') || recipe.ports.iter().any(|(known, _)| *known == port) {
                continue;
            }
            let listed = recipe.ports.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ");
            let message =
                format!("Fly asks port {port} of the machine, but `{path}` {} {listed}", recipe.says());
            let draft = report.add(id, Span::new(start, start + line.trim_end().len()), message);
            let draft =
                draft.confidence(Confidence::Medium).hint("write the port on which the program listens");
            draft.also(recipe.file, recipe.ports[0].1, "said here").done();
        }
    }
}

/// Images that listen on one port unless they are told otherwise.
const USUAL: &[(&str, u16)] = &[
    ("postgres", 5432),
    ("postgis", 5432),
    ("pgvector", 5432),
    ("timescaledb", 5432),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("redis", 6379),
    ("valkey", 6379),
    ("mongo", 27017),
    ("memcached", 11211),
];
