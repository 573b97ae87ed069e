//! Images that kustomize is to replace, and that no manifest runs.

use kapell_spec::finding::Span;
use kapell_view::audit::Confidence;

use crate::{
    files::FileId,
    github::script::Command,
    repository::Repository,
    rule::Report,
    systems::{self, image_parts, images::resolve, kubernetes::What},
};

/// Tells of names that `kustomize edit set image` or `images:` of a kustomization is to replace, and nothing is called by.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    if repository.systems.manifests.is_empty() {
        return;
    }
    let mut named = named(repository);
    let listed = listed(repository);
    if named.is_empty() && listed.is_empty() {
        return;
    }
    let run: Vec<&str> = repository
        .systems
        .manifests
        .iter()
        .filter_map(
            |manifest| if let What::Workload(workload) = &manifest.what { Some(workload) } else { None },
        )
        .flat_map(|workload| &workload.images)
        .map(|image| image_parts(image).0)
        .collect();
    let Some(shown) = run.first().filter(|_| all_here(repository)) else { return };
    // What a kustomization lists besides may be left over from what is gone: it has to be meant for one of these.
    named.extend(listed.into_iter().filter(|(_, _, name)| run.iter().any(|other| is_like(name, other))));
    let near = |name: &str| run.iter().find(|other| is_like(name, other)).map_or(*shown, |other| *other);
    for (file, span, name) in named {
        if run.contains(&&*name) || is_named(repository, &name, None) {
            continue;
        }
        let shown = near(&name);
        let message = format!(
            "no manifest here runs an image `{name}`, so that nothing is replaced: what runs is `{shown}`"
        );
        report
            .add(file, span, message)
            .confidence(Confidence::Medium)
            .hint(format!("name the image as the manifest does: `{shown}`"))
            .done();
    }
}

/// Returns the names that are to be replaced, and where.
fn named(repository: &Repository) -> Vec<(FileId, Span, String)> {
    let mut found = Vec::new();
    for flow in repository.github.flows.iter().filter(|flow| flow.text.contains("edit set image")) {
        for (job, _) in flow.jobs() {
            // What is checked out from elsewhere has manifests of its own.
            if flow
                .steps(job)
                .any(|(step, _)| step.is("actions/checkout") && step.input("repository").is_some())
            {
                continue;
            }
            for (step, facts) in flow.steps(job) {
                let Some(run) = &step.run else { continue };
                // What the step gives to its variables itself is not what the workflow gives to them.
                let own = |name: &str| step.env.iter().any(|(known, _)| name.contains(&*known.text));
                let names = facts.commands.iter().flat_map(set).filter(|name| !own(name));
                let names = names.map(|name| image_parts(&resolve(flow, job, facts, name)).0.to_owned());
                let names = names.filter(|name| !name.contains(['$', '*']));
                found.extend(names.map(|name| (flow.file, run.span, name)));
            }
        }
    }
    found
}

/// Tells whether two names are those of one image which somebody moved or renamed: `registry/api` and `api`, `api-web` and `api`.
pub(super) fn is_like(name: &str, other: &str) -> bool {
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let (one, other) = (last(name), last(other));
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    let rest = long.strip_prefix(&short).or_else(|| long.strip_suffix(&short));
    !short.is_empty()
        && rest
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']) || rest.ends_with(['-', '_']))
}

/// Returns the names that kustomizations list under `images:`, and where.
fn listed(repository: &Repository) -> Vec<(FileId, Span, String)> {
    let mut found = Vec::new();
    let files = repository.files.iter().filter(|(_, file)| {
        file.name().starts_with("kustomization.")
            && systems::wanted(&file.path)
            && file.text.contains("\nimages:")
    });
    for (id, file) in files {
        let (mut at, mut inside) = (0, false);
        for line in file.text.split_inclusive('\n') {
            let start = at;
            at += line.len();
            if !line.starts_with([' ', '-', '#', '\r', '\n']) {
                inside = line.starts_with("images:");
            }
            let own = line.trim_start().trim_start_matches('-').trim_start();
            let Some(name) = own.strip_prefix("name:").filter(|_| inside) else { continue };
            let name = name.split(" #").next().unwrap_or(name).trim().trim_matches(['"', '\'']);
            if !name.is_empty() && !name.contains(['$', '*', '{']) {
                let from = start + line.len() - own.len();
                let span = Span::new(from, from + own.trim_end().len());
                found.push((id, span, image_parts(name).0.to_owned()));
            }
        }
    }
    found
}

/// Returns the names of `kustomize edit set image api=registry/api:1 web=...` as they are written.
fn set(command: &Command) -> Vec<&str> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let ["kustomize", "edit", "set", "image", pairs @ ..] = words.as_slice() else { return Vec::new() };
    let names = pairs.iter().filter(|word| !word.starts_with('-')).filter_map(|word| word.split_once('='));
    names.map(|(name, _)| name).collect()
}

/// Tells whether all that kustomizations are made of stands in the repository.
fn all_here(repository: &Repository) -> bool {
    let mut kustomizations = repository
        .files
        .iter()
        .filter(|(_, file)| matches!(file.name(), "kustomization.yaml" | "kustomization.yml"))
        .peekable();
    let away = ["://", "github.com", "?ref=", "helmCharts", "git@"];
    let elsewhere = |line: &str| {
        let line = line.trim_start();
        !line.starts_with('#')
            && !line.starts_with("apiVersion")
            && away.iter().any(|word| line.contains(word))
    };
    kustomizations.peek().is_some() && !kustomizations.any(|(_, file)| file.text.lines().any(elsewhere))
}

/// Tells whether a file that is read in another way but one names such an image: an object of another kind, a template, a patch.
pub(super) fn is_named(repository: &Repository, name: &str, but: Option<FileId>) -> bool {
    let image = |line: &str| {
        let value = line.trim_start().trim_start_matches("- ").strip_prefix("image:")?;
        Some(image_parts(value.trim().trim_matches(['"', '\''])).0 == name)
    };
    repository.files.iter().any(|(id, file)| {
        but != Some(id)
            && (file.path.ends_with(".yaml") || file.path.ends_with(".yml"))
            && file.text.contains(name)
            && file.text.lines().any(|line| image(line) == Some(true))
    })
}
