//! Objects of Kubernetes, and kustomizations.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::joined,
    repository::Repository,
    rule::Report,
    systems::{Kustomization, Manifest, Word, kubernetes::What},
};

/// Tells of autoscalers for an object that nothing makes, beside one of the same kind that none is for.
pub(super) fn scaled(repository: &Repository, report: &mut Report<'_>) {
    let manifests = &repository.systems.manifests;
    let scalers = || {
        manifests.iter().filter_map(|manifest| match &manifest.what {
            What::Scaler(scaler) => Some((manifest, scaler)),
            _ => None,
        })
    };
    // A kustomization may give the objects other names.
    let mut kustomizations = repository.systems.kustomizations.iter();
    let renames = |text: &str| ["namePrefix", "nameSuffix"].iter().any(|key| text.contains(key));
    if kustomizations.any(|one| renames(&repository.files[one.file].text)) {
        return;
    }
    for (manifest, scaler) in scalers() {
        let of_kind = || manifests.iter().filter(|other| other.kind.text == scaler.kind);
        if scaler.target.contains(['$', '{']) || of_kind().any(|other| *other.name == *scaler.target) {
            continue;
        }
        let free = |other: &&Manifest| {
            other.is_beside(manifest) && scalers().all(|(_, one)| *one.target != *other.name)
        };
        let alike = |other: &&Manifest| {
            *other.name == *manifest.name
                || other.name.contains(&*scaler.target)
                || scaler.target.contains(&*other.name)
        };
        let mut beside = of_kind().filter(free).filter(alike);
        let (Some(other), None) = (beside.next(), beside.next()) else { continue };
        let message = format!(
            "there is no {} `{}` to scale: what stands beside it is `{}`, which stays as it is",
            scaler.kind, &*scaler.target, &*other.name
        );
        report
            .add(manifest.file, scaler.target.span, message)
            .severity(Severity::Medium)
            .also(other.file, other.name.span, "this one")
            .hint(format!("name `{}`, if that is meant", &*other.name))
            .done();
    }
}

/// Words of names of files that are made by hand or by a program, and kept out of the repository.
const KEPT_OUT: &[&str] =
    &["secret", "cred", "cert", "key", "token", "password", "env", "local", "generated", "private", "sealed"];

/// Tells of files that a kustomization lists, and that are not there: `kustomize build` fails.
pub(super) fn parts(repository: &Repository, report: &mut Report<'_>) {
    for kustomization in &repository.systems.kustomizations {
        for part in &kustomization.parts {
            let Some(path) = missing(repository, kustomization, part) else { continue };
            let spare = spare(repository, kustomization, &path);
            let message = format!("there is no file `{path}`: nothing of this kustomization can be built");
            let draft = report.add(kustomization.file, part.span, message);
            let draft = if spare.is_some() { draft } else { draft.confidence(Confidence::Medium) };
            match spare {
                Some(name) => draft.hint(format!("list `{name}`, which nothing lists, if that is meant")),
                None => draft.hint("add the file, or drop the line"),
            }
            .done();
        }
    }
}

/// Returns the path of a file of YAML that is listed and is not there, unless something may make it: a name that the
/// repository speaks of elsewhere, or one of what is kept out of it.
fn missing(repository: &Repository, kustomization: &Kustomization, part: &Word) -> Option<String> {
    let plain =
        !part.contains("://") && !part.contains(['$', '{', '\n', '?']) && !part.starts_with("github.com");
    let name = part.rsplit('/').next()?;
    let is_file = [".yaml", ".yml"].iter().any(|end| name.ends_with(end));
    let lower = part.to_ascii_lowercase();
    if !plain || !is_file || KEPT_OUT.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let path = joined(&kustomization.path, part)?;
    // A folder that is not there at all is made as a whole.
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if repository.files.exists(&path) || !folder.is_empty() && !repository.files.exists(folder) {
        return None;
    }
    let told = repository
        .files
        .iter()
        .any(|(_, file)| !file.name().starts_with("kustomization.") && file.text.contains(name));
    (!told).then_some(path)
}

/// Returns the only file of YAML beside one that is missing which no kustomization lists.
fn spare(repository: &Repository, kustomization: &Kustomization, missing: &str) -> Option<String> {
    let folder = missing.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let listed = |path: &str| {
        let all = &repository.systems.kustomizations;
        all.iter().any(|one| {
            one.parts.iter().any(|part| joined(&one.path, part).is_some_and(|listed| listed == path))
        })
    };
    let beside = repository.files.iter().filter_map(|(_, file)| file.path.strip_prefix(&*folder));
    let mut spare = beside.filter(|name| {
        let yaml = [".yaml", ".yml"].iter().any(|end| name.ends_with(end));
        let own = kustomization.path.strip_prefix(&*folder) == Some(*name);
        yaml && !own
            && !name.contains('/')
            && !name.starts_with("kustomization.")
            && !listed(&format!("{folder}{name}"))
    });
    let one = spare.next()?.to_owned();
    spare.next().is_none().then_some(one)
}
