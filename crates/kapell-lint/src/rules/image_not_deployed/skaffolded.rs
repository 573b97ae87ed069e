//! Images that Skaffold builds under a name by which no manifest calls them: it replaces none, and the cluster pulls another.

use kapell_spec::finding::Span;
use kapell_view::audit::Confidence;

use super::kustomized::{is_like, is_named};
use crate::{
    repository::Repository,
    rule::Report,
    systems::{self, image_parts, kubernetes::What},
};

/// Tells of an artifact that no manifest runs, beside an image of the same owner that no artifact makes.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let known = |name: &str| matches!(name, "skaffold.yaml" | "skaffold.yml");
    let mut files =
        repository.files.iter().filter(|(_, file)| known(file.name()) && systems::wanted(&file.path));
    let (Some((id, file)), None) = (files.next(), files.next()) else { return };
    let all = &*file.text;
    if !all.contains("artifacts:")
        || ["helm:", "profiles:", "requires:", "remote"].iter().any(|word| all.contains(word))
    {
        return;
    }
    let made = artifacts(all);
    let workloads = repository.systems.manifests.iter().filter_map(|manifest| match &manifest.what {
        What::Workload(workload) => Some((manifest.file, workload)),
        _ => None,
    });
    let run: Vec<_> = workloads
        .flat_map(|(file, workload)| workload.images.iter().map(move |image| (file, image)))
        .collect();
    let owner = |name: &str| name.rsplit_once('/').map(|(owner, _)| owner.to_owned());
    for (span, name) in &made {
        if is_named(repository, name, Some(id)) {
            continue;
        }
        let other = run.iter().find(|(_, image)| {
            let (own, _) = image_parts(image);
            let ours = owner(own) == owner(name) && is_close(own, name);
            ours && !made.iter().any(|(_, name)| *name == own)
        });
        let Some((at, image)) = other else { continue };
        let message = format!(
            "`{image}` is run, which Skaffold does not build: it builds `{name}`, which no manifest runs"
        );
        report
            .add(*at, image.span, message)
            .confidence(Confidence::Medium)
            .hint(format!("run `{name}`"))
            .also(id, *span, "built under this name")
            .done();
    }
}

/// Tells whether two names are those of one image: alike by their parts, or but for a letter at the end.
fn is_close(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    is_like(one, other) || long.strip_prefix(short).is_some_and(|rest| rest.len() < 4)
}

/// Returns the names of the artifacts, and where they stand.
fn artifacts(text: &str) -> Vec<(Span, &str)> {
    let mut at = 0;
    let mut found = Vec::new();
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let own = line.trim_start().trim_start_matches("- ");
        let Some(name) = own.strip_prefix("image:") else { continue };
        let name = name.split(" #").next().unwrap_or(name).trim().trim_matches(['"', '\'']);
        let from = start + line.len() - own.len();
        if !name.is_empty() && !name.contains(['$', '{']) {
            found.push((Span::new(from, from + own.trim_end().len()), image_parts(name).0));
        }
    }
    found
}
