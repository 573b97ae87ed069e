//! Manifests that are applied as they were, after an image was pushed under the tag that they have already.

use kapell_spec::github::Step;
use kapell_view::audit::Confidence;

use super::plain;
use crate::{
    github::{Flow, StepFacts},
    repository::Repository,
    rule::Report,
    systems::{
        Manifest, Word, image_parts,
        images::Pushed,
        kubernetes::{What, Workload},
        started,
    },
};

/// Words of what makes pods start anew, or changes a manifest before it is applied.
const STARTS: &[&str] = &[
    "rollout restart",
    "set image",
    "set env",
    "sed ",
    "envsubst",
    "kustomize",
    "apply -k",
    "yq ",
    "jq ",
    "helm ",
    "kubectl patch",
    "kubectl delete",
    "kubectl replace",
    "kubectl annotate",
    "kubectl label",
    "kubectl scale",
    "argocd",
    "flux",
    "keel",
    "perl ",
    "python",
    "make ",
    "skaffold",
    "kbld",
    "ko apply",
    "--force",
    "azure/k8s-deploy",
];

/// Tells of an image that is pushed under a fixed tag and of an object with that very tag which the same workflow then applies:
/// nothing changed for Kubernetes, so that the pods of before go on.
///
/// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#updating-a-deployment>: a rollout is
/// triggered if and only if the pod template is changed.
pub(super) fn check(repository: &Repository, pushed: &[Pushed], report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        let own: Vec<&Pushed> = pushed.iter().filter(|one| one.file == flow.file).collect();
        if own.is_empty()
            || !flow.text.contains("kubectl")
            || STARTS.iter().any(|word| flow.text.contains(word))
        {
            continue;
        }
        for (job, _) in flow.jobs() {
            for (step, facts) in flow.steps(job) {
                in_step(repository, (flow, step, facts), &own, report);
            }
        }
    }
}

fn in_step(
    repository: &Repository,
    (flow, step, facts): (&Flow, &Step, &StepFacts),
    pushed: &[&Pushed],
    report: &mut Report<'_>,
) {
    if facts.runs_own_script() || step.folder.is_some() {
        return;
    }
    for command in &facts.commands {
        let applied = started::applied(command);
        let workloads = repository.systems.manifests.iter().filter_map(|manifest| match &manifest.what {
            What::Workload(workload) if started::holds(&applied, &manifest.path) => {
                Some((manifest, workload))
            }
            _ => None,
        });
        let mut found =
            workloads.flat_map(|(manifest, workload)| unmoved(repository, manifest, workload, pushed));
        if let Some((manifest, image, one)) = found.next() {
            let message = format!(
                "`{}` is applied as it was: `{}` is pushed under the same tag, and no pod starts anew for that",
                &*manifest.name, &**image
            );
            report
                .add(flow.file, flow.script_line(step, command.start, ""), message)
                .confidence(Confidence::High)
                .also(manifest.file, image.span, "the same text each time")
                .also(one.file, one.span, "pushed here")
                .hint("set the tag of the commit with `kubectl set image`, or add `kubectl rollout restart`")
                .done();
            return;
        }
    }
}

/// Returns the images of an object that are pushed under the tag which they have there.
fn unmoved<'a>(
    repository: &Repository,
    manifest: &'a Manifest,
    workload: &'a Workload,
    pushed: &[&'a Pushed],
) -> Vec<(&'a Manifest, &'a Word, &'a Pushed)> {
    let goes_on = matches!(&*manifest.kind.text, "Deployment" | "StatefulSet" | "DaemonSet");
    let text = &repository.files[manifest.file].text;
    // Somebody in the cluster looks for new images, or restarts what has changed.
    let watched = ["keel.sh", "$imagepolicy", "reloader.stakater", "image-updater", "wud."];
    if !goes_on || watched.iter().any(|word| text.contains(word)) {
        return Vec::new();
    }
    let same = |image: &&Word| {
        let (name, tag) = image_parts(image);
        let tag = tag.unwrap_or("latest");
        !image.contains(['@', '$']) && {
            let name = plain(name);
            pushed.iter().any(|one| one.tag == tag && one.name.as_deref().map(plain) == Some(name.clone()))
        }
    };
    let one_of = |image: &Word| {
        let name = plain(image_parts(image).0);
        pushed.iter().find(|one| one.name.as_deref().map(plain).as_deref() == Some(&*name)).copied()
    };
    let images = workload.images.iter().filter(same);
    images.filter_map(|image| Some((manifest, image, one_of(image)?))).collect()
}
