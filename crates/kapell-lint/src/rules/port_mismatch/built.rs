//! Ports of pods whose image is built here, from a recipe that listens on another one.

use kapell_view::audit::Confidence;

use crate::{
    repository::Repository,
    rule::Report,
    systems::{image_parts, images::pushed, kubernetes::What},
};

/// Words of a manifest that may have the image listen elsewhere.
const TOLD: &[&str] = &["PORT", "command:", "args:", "ADDR", "BIND", "LISTEN"];

/// Tells of pods that declare none of the ports on which their image listens, where the workflows push that image and the
/// repository has one recipe.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let [recipe] = &repository.systems.dockerfiles[..] else { return };
    let workloads = repository.systems.manifests.iter().filter_map(|manifest| match &manifest.what {
        What::Workload(workload) if !workload.ports.is_empty() => Some((manifest, workload)),
        _ => None,
    });
    let workloads: Vec<_> = workloads.collect();
    if workloads.is_empty() || recipe.ports.is_empty() || recipe.variable {
        return;
    }
    let names: Vec<String> =
        pushed(&repository.files, &repository.github).into_iter().filter_map(|one| one.name).collect();
    for (manifest, workload) in workloads {
        let [image] = &workload.images[..] else { continue };
        let ours = names.iter().any(|name| name.eq_ignore_ascii_case(image_parts(image).0));
        let text = &repository.files[manifest.file].text;
        let known = |port: u16| recipe.ports.iter().any(|(own, _)| *own == port);
        if !ours
            || workload.ports.iter().any(|(port, _)| known(*port))
            || TOLD.iter().any(|word| text.contains(word))
        {
            continue;
        }
        let message = format!(
            "the pods of `{}` are asked on port {}, but `{}` {} {}",
            &*manifest.name,
            workload.ports[0].0,
            recipe.path,
            recipe.says(),
            recipe.ports[0].0
        );
        report
            .add(manifest.file, manifest.name.span, message)
            .confidence(Confidence::Medium)
            .hint(format!("declare port {}", recipe.ports[0].0))
            .also(recipe.file, recipe.ports[0].1, "said here")
            .done();
    }
}
