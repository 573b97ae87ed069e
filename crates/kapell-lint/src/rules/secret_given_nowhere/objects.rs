//! Secrets and settings that the objects of Kubernetes take from each other.

use kapell_spec::finding::Span;

use super::{
    missing,
    names::{is_abbreviation, is_slip},
};
use crate::{
    files::joined,
    repository::Repository,
    rule::Report,
    systems::{Manifest, kubernetes::What},
};

/// What kinds of objects a variable takes its value from.
pub(super) type Kept = fn(&What) -> Option<&Vec<Box<str>>>;

/// A secret that the repository itself keeps must have the key. One that it does not keep comes from elsewhere, unless it
/// is called nearly like one that is kept here and has the key.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let secrets: Kept = |what| if let What::Secret(keys) = what { Some(keys) } else { None };
    let settings: Kept = |what| if let What::Settings(keys) = what { Some(keys) } else { None };
    for manifest in &repository.systems.manifests {
        let What::Workload(workload) = &manifest.what else { continue };
        for taken in &workload.secrets {
            key_of(repository, report, manifest, ("secret", secrets), taken);
        }
        for taken in &workload.settings {
            key_of(repository, report, manifest, ("config map", settings), taken);
        }
        for (secret, name, span) in &workload.whole {
            let (kind, kept) = if *secret { ("secret", secrets) } else { ("config map", settings) };
            whole(repository, report, manifest, (kind, kept), (name, *span));
        }
    }
    missing::check(repository, report);
}

fn key_of(
    repository: &Repository,
    report: &mut Report<'_>,
    manifest: &Manifest,
    (kind, kept): (&str, Kept),
    (name, key, span): &(Box<str>, Box<str>, Span),
) {
    let manifests = repository.systems.manifests.iter();
    let beside: Vec<(&Manifest, &Vec<Box<str>>)> = manifests
        .filter(|other| other.shares_namespace(manifest))
        .filter_map(|other| Some((other, kept(&other.what)?)))
        .collect();
    let same: Vec<_> = beside.iter().filter(|(other, _)| *other.name == **name).collect();
    if same.iter().any(|(_, keys)| keys.is_empty() || keys.contains(key)) {
        return;
    }
    let (message, other) = match same.first() {
        Some((other, _)) => (
            format!(
                "`{}` takes the key `{key}` of the {kind} `{name}`, which has no such key",
                &*manifest.name
            ),
            other,
        ),
        None => {
            let near = |(other, keys): &&(&Manifest, &Vec<Box<str>>)| {
                let near = is_slip(name, &other.name) || is_abbreviation(name, &other.name);
                // What a kustomization makes of files is made for the objects beside it.
                let has = keys.contains(key) || keys.is_empty() && is_generated(&other.path);
                has && near && other.is_beside(manifest)
            };
            let Some((other, keys)) = beside.iter().find(near) else {
                return of_other_namespace(repository, report, manifest, (kind, kept), (name, *span));
            };
            let what = if keys.is_empty() { "what is made" } else { "what has it" };
            let message = format!(
                "`{}` takes the key `{key}` of the {kind} `{name}`, but {what} here is `{}`",
                &*manifest.name, &*other.name
            );
            (message, other)
        }
    };
    let draft = report.add(manifest.file, *span, message);
    draft.also(other.file, other.name.span, format!("the {kind}")).done();
}

/// Tells whether a path is that of a kustomization.
fn is_generated(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with("kustomization."))
}

/// What brings objects into another namespace than they name, or copies them there.
const MOVERS: &[&str] = &["reflector", "replicator", "kubed", "namespaces:", "sourceNamespace"];

/// What is taken in one namespace, and made in another one of the same folder only.
fn of_other_namespace(
    repository: &Repository,
    report: &mut Report<'_>,
    manifest: &Manifest,
    (kind, kept): (&str, Kept),
    (name, span): (&str, Span),
) {
    let folder = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let own = folder(&manifest.path);
    let manifests = repository.systems.manifests.iter();
    let mut made = manifests.filter(|other| kept(&other.what).is_some() && *other.name == *name);
    let (Some(other), None) = (made.next(), made.next()) else { return };
    let named = !manifest.namespace.is_empty() && !other.namespace.is_empty();
    let moved = || {
        repository.files.iter().any(|(id, file)| {
            let kustomized = file.name().starts_with("kustomization.") && file.text.contains("namespace:");
            kustomized || id == other.file && MOVERS.iter().any(|word| file.text.contains(word))
        })
    };
    if !named || folder(&other.path) != own || moved() {
        return;
    }
    let message = format!(
        "`{}` of the namespace `{}` takes the {kind} `{name}`, which is made in `{}` only: no pod sees it there",
        &*manifest.name, manifest.namespace, other.namespace
    );
    let draft = report.add(manifest.file, span, message).hint("make it in the namespace of who takes it");
    draft.also(other.file, other.name.span, format!("the {kind}")).done();
}

/// A secret that is taken whole, and is called nearly like the one that is kept beside it.
fn whole(
    repository: &Repository,
    report: &mut Report<'_>,
    manifest: &Manifest,
    (kind, kept): (&str, Kept),
    (name, span): (&str, Span),
) {
    let manifests = repository.systems.manifests.iter();
    let beside: Vec<&Manifest> =
        manifests.filter(|other| other.shares_namespace(manifest) && kept(&other.what).is_some()).collect();
    if beside.iter().any(|other| *other.name == *name) {
        return;
    }
    let near = beside.iter().find(|other| {
        is_slip(name, &other.name) && (other.is_beside(manifest) || is_laid_over(repository, other, manifest))
    });
    let Some(other) = near else { return };
    let message =
        format!("`{}` takes the {kind} `{name}`, but the one here is `{}`", &*manifest.name, &*other.name);
    report.add(manifest.file, span, message).also(other.file, other.name.span, format!("the {kind}")).done();
}

/// Tells whether what a kustomization makes is made for an object that it takes from another folder.
fn is_laid_over(repository: &Repository, made: &Manifest, taker: &Manifest) -> bool {
    let folder = taker.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let all = &repository.systems.kustomizations;
    all.iter().filter(|one| one.file == made.file).any(|one| {
        one.parts
            .iter()
            .any(|part| joined(&one.path, part).is_some_and(|path| path == folder || path == *taker.path))
    })
}
