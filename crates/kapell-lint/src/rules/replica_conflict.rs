//! Two objects that do not agree on how many pods there may be.

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{StepFacts, own_scripts, script::Command},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
    systems::{
        Manifest,
        kubernetes::{Labels, Scaler, What, Workload, scaler_of},
        started,
    },
};

/// See `docs/rules/replica-conflict.md`.
pub(super) static RULE: Rule = Rule {
    name: "replica-conflict",
    summary: "two objects do not agree on how many pods there may be",
    group: Group::CrossSystem,
    anti_pattern: Some(AntiPattern::Coupling),
    focus: Focus::Conflicts,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/replica-conflict.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for manifest in &repository.systems.manifests {
        match &manifest.what {
            What::Budget(selector, Some((least, span))) => {
                undrainable(repository, manifest, (selector, *least, *span), report);
            }
            What::Scaler(scaler) => {
                set_back(repository, manifest, scaler, report);
                without_share(repository, manifest, scaler, report);
            }
            _ => {}
        }
    }
}

fn workloads(repository: &Repository) -> impl Iterator<Item = (&Manifest, &Workload)> {
    repository.systems.manifests.iter().filter_map(|manifest| match &manifest.what {
        What::Workload(workload) => Some((manifest, &**workload)),
        _ => None,
    })
}

/// Returns what an autoscaler scales.
fn scaled_by<'a>(
    repository: &'a Repository,
    manifest: &Manifest,
    scaler: &Scaler,
) -> impl Iterator<Item = (&'a Manifest, &'a Workload)> {
    workloads(repository).filter(move |(other, _)| {
        *other.kind.text == *scaler.kind && *other.name == *scaler.target && other.shares_namespace(manifest)
    })
}

/// Tells of a budget that lets none of several pods go, so that no node can be drained.
///
/// Source: <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>.
fn undrainable(
    repository: &Repository,
    manifest: &Manifest,
    (selector, least, span): (&Labels, u32, Span),
    report: &mut Report<'_>,
) {
    let fits = |(other, workload): &(&Manifest, &Workload)| {
        other.is_beside(manifest)
            && !selector.is_empty()
            && selector.iter().all(|(key, value)| workload.labels.get(key) == Some(value))
    };
    let mut chosen = workloads(repository).filter(fits);
    let (Some((other, workload)), None) = (chosen.next(), chosen.next()) else { return };
    let Some((copies, place)) = workload.replicas.filter(|(copies, _)| *copies > 1 && least >= *copies)
    else {
        return;
    };
    // Another folder may set another number.
    let same = |(one, _): &(&Manifest, &Workload)| {
        one.name.text == other.name.text && one.kind.text == other.kind.text
    };
    let changed = replicas_elsewhere(repository) || workloads(repository).filter(same).count() > 1;
    if changed || scaler_of(&repository.systems.manifests, other).is_some() {
        return;
    }
    let message = format!(
        "{least} pods of `{}` have to stay, and there are {copies}: none may go, and no node can be drained",
        &*other.name
    );
    let hint = format!("ask for {} at most, or for `maxUnavailable: 1`", copies - 1);
    report.add(manifest.file, span, message).also(other.file, place, "so many there are").hint(hint).done();
}

/// Tells whether a kustomization sets how many pods something has.
pub(super) fn replicas_elsewhere(repository: &Repository) -> bool {
    let mut all = repository.systems.kustomizations.iter();
    all.any(|one| repository.files[one.file].text.contains("replicas"))
}

/// Tells of an object that says itself how many pods it has, so that each time it is applied what an autoscaler did is undone.
///
/// Source: "Migrating Deployments and StatefulSets to horizontal autoscaling" in
/// <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>.
fn set_back(repository: &Repository, manifest: &Manifest, scaler: &Scaler, report: &mut Report<'_>) {
    // What lies in another folder may be a part of what is applied, and its number another one.
    let mut targets = scaled_by(repository, manifest, scaler).filter(|(other, _)| other.is_beside(manifest));
    let Some((other, workload)) = targets.next() else { return };
    let Some((copies, place)) = workload.replicas else { return };
    let kept = repository.files.iter().any(|(_, file)| file.text.contains("ignoreDifferences"));
    if kept || replicas_elsewhere(repository) || !is_applied(repository, other) {
        return;
    }
    let message = format!(
        "`{}` is set back to {copies} pods each time it is applied, whatever its autoscaler has made of it",
        &*other.name
    );
    report
        .add(other.file, place, message)
        .also(manifest.file, scaler.target.span, "the autoscaler")
        .hint(format!(
            "take `replicas` out with `kubectl apply edit-last-applied {}/{}` first, then out of the file: else all pods but one end",
            other.kind.to_ascii_lowercase(),
            &*other.name
        ))
        .done();
}

/// Tells whether a step of a workflow, or a script that it runs, applies an object to a cluster.
fn is_applied(repository: &Repository, manifest: &Manifest) -> bool {
    repository.github.flows.iter().any(|flow| {
        let mut all =
            flow.jobs().flat_map(|(at, job)| flow.steps(at).map(move |(step, facts)| (job, step, facts)));
        all.any(|(job, step, facts)| {
            let scripts = own_scripts::of_step(&repository.files, job, step, facts);
            let of_script =
                scripts.iter().any(|script| applies(repository, manifest, &script.facts, &script.text));
            of_script || applies(repository, manifest, facts, step.script())
        })
    })
}

/// Tells whether these commands apply an object: by its file or its folder, by a kustomization that takes it in, or from what
/// another command makes of its file (`envsubst < k8s/api.yaml | kubectl apply -f -`).
fn applies(repository: &Repository, manifest: &Manifest, facts: &StepFacts, text: &str) -> bool {
    let plain = |command: &&Command| {
        !command.words.iter().any(|word| word.starts_with("--dry-run") && word != "--dry-run=none")
    };
    let commands = || facts.commands.iter().filter(plain).map(|command| (command, started::applied(command)));
    let from_others = commands().any(|(_, (paths, _))| paths.contains(&"-"));
    commands().any(|(command, paths)| {
        let built = started::kustomized(command)
            .is_some_and(|folder| started::takes_in(&repository.systems, folder, &manifest.path));
        let applies =
            matches!(command.program(), "kubectl" | "oc") && command.words.iter().any(|word| word == "apply");
        started::holds(&paths, &manifest.path) || built && (applies || from_others)
    }) || from_others && text.contains(&*manifest.path)
}

/// Tells of an autoscaler that goes by the used share of what pods ask for, where a container asks for nothing: it never acts.
///
/// Source: "How does a HorizontalPodAutoscaler work?" in
/// <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>.
fn without_share(repository: &Repository, manifest: &Manifest, scaler: &Scaler, report: &mut Report<'_>) {
    let mut targets = scaled_by(repository, manifest, scaler);
    // Several of one name are laid over each other.
    let (Some((other, workload)), None) = (targets.next(), targets.next()) else { return };
    let filled = repository.systems.manifests.iter().any(|one| {
        matches!(&*one.kind.text, "LimitRange" | "VerticalPodAutoscaler") && one.shares_namespace(manifest)
    });
    let patched = repository.systems.kustomizations.iter().any(|one| {
        let text = &repository.files[one.file].text;
        text.contains("resources/") || text.contains("requests")
    });
    // What is laid over it from another folder may ask.
    let laid_over = workloads(repository).any(|(one, workload)| {
        one.path != other.path
            && *one.name == *other.name
            && one.kind.text == other.kind.text
            && workload.containers.iter().any(|one| one.asks_cpu)
    });
    let mut running = workload.containers.iter().filter(|one| !one.initial);
    let Some(container) = running.find(|one| !one.asks_cpu).filter(|_| scaler.by_cpu_share) else { return };
    if filled || patched || laid_over {
        return;
    }
    let message = format!(
        "`{}` asks for no share of the processor, by which the autoscaler of `{}` goes: it never scales",
        &*container.name, &*other.name
    );
    report
        .add(manifest.file, scaler.target.span, message)
        .severity(Severity::High)
        .also(other.file, container.name.span, "this container")
        .hint("set `resources.requests.cpu` of each container")
        .done();
}
