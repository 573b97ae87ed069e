//! A `Job` of Kubernetes that brings a schema up to date, and objects that are applied behind it at once.

use kapell_spec::github::Step;
use kapell_view::audit::{Confidence, Severity};

use super::once;
use crate::{
    github::{Flow, StepFacts, own_scripts},
    repository::Repository,
    rule::Report,
    systems::{
        Manifest,
        kubernetes::{What, Workload},
        started,
    },
};

/// Words of what waits for a job, or orders objects by itself.
const WAITS: &[&str] = &[
    "kubectl wait",
    "wait --for",
    "get job",
    "logs -f",
    "logs --follow",
    "job/",
    "jobs/",
    "status.succeeded",
    "helm",
    "argocd",
    "flux",
    "sleep",
];

/// Tells of a step that applies a migration and, without waiting for its end, what needs the schema.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let migrates = |manifest: &&Manifest| match &manifest.what {
        What::Workload(workload) => *manifest.kind == *"Job" && is_migration(manifest, workload),
        _ => false,
    };
    let migrations: Vec<&Manifest> = repository.systems.manifests.iter().filter(migrates).collect();
    if migrations.is_empty() {
        return;
    }
    for flow in
        repository.github.flows.iter().filter(|flow| !WAITS.iter().any(|word| flow.text.contains(word)))
    {
        for (at, job) in flow.jobs() {
            for (step, facts) in flow.steps(at) {
                let scripts = own_scripts::of_step(&repository.files, job, step, facts);
                if scripts.iter().all(|script| !WAITS.iter().any(|word| script.text.contains(word))) {
                    in_step(repository, (flow, step, facts), &migrations, report);
                }
            }
        }
    }
}

fn in_step(
    repository: &Repository,
    (flow, step, facts): (&Flow, &Step, &StepFacts),
    migrations: &[&Manifest],
    report: &mut Report<'_>,
) {
    if step.folder.is_some() {
        return;
    }
    let applied: Vec<_> = facts.commands.iter().map(|command| (command, started::applied(command))).collect();
    let first = applied.iter().enumerate().find_map(|(at, (command, paths))| {
        let migration = migrations.iter().find(|one| started::holds(paths, &one.path))?;
        Some((at, command, *migration))
    });
    let Some((at, command, migration)) = first else { return };
    let needs = |manifest: &&Manifest| match &manifest.what {
        What::Workload(workload) => {
            matches!(&*manifest.kind.text, "Deployment" | "StatefulSet")
                && shares_image(migration, workload)
                && !workload.containers.iter().any(|one| one.initial)
                && applied[at..].iter().any(|(_, paths)| started::holds(paths, &manifest.path))
        }
        _ => false,
    };
    let Some(other) = repository.systems.manifests.iter().find(needs) else { return };
    let message = format!(
        "`{}` starts while the job `{}` still runs: it may meet the schema of before",
        &*other.name, &*migration.name
    );
    report
        .add(flow.file, flow.script_line(step, command.start, ""), message)
        .severity(Severity::High)
        .confidence(Confidence::High)
        .also(migration.file, migration.name.span, "this runs once, and ends")
        .also(other.file, other.name.span, "this needs it")
        .hint(format!("`kubectl wait --for=condition=complete job/{}` before", &*migration.name))
        .done();
}

/// Tells whether a job brings a schema up to date. What a controller orders by its annotations is waited for.
fn is_migration(manifest: &Manifest, workload: &Workload) -> bool {
    let said = workload.containers.iter().any(|one| once::migrates(&one.said));
    said || manifest.name.split(['-', '_']).any(|word| matches!(word, "migrate" | "migration" | "migrations"))
}

/// Tells whether an object runs an image that the migration runs too.
fn shares_image(migration: &Manifest, workload: &Workload) -> bool {
    let What::Workload(own) = &migration.what else { return false };
    own.images.iter().any(|image| workload.images.iter().any(|other| image.text == other.text))
}
