//! Which compose files and manifests a command of a workflow is about.

use kapell_spec::github::Step;

use super::{Compose, Systems};
use crate::{
    files::joined,
    github::{Flow, script::Command},
};

/// Names that compose takes where no file is named, in its own order.
const DEFAULTS: &[&str] = &["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// Returns what a command hands to compose.
pub(crate) fn of_compose(command: &Command) -> Option<Vec<&str>> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    match words.as_slice() {
        ["docker" | "podman", "compose", rest @ ..] | ["docker-compose" | "podman-compose", rest @ ..] => {
            Some(rest.to_vec())
        }
        _ => None,
    }
}

/// Returns the compose files that a command is about by what it hands to compose: each one that it names, where it is one of
/// the repository, else the one that compose takes by itself. Nothing where another folder or variable may name others.
pub(crate) fn files<'a>(
    systems: &'a Systems,
    (flow, job, step): (&Flow, usize, &Step),
    rest: &[&str],
) -> Vec<Option<&'a Compose>> {
    let folder = step.folder.as_ref().or(flow.model.jobs[job].folder.as_ref());
    let Some(folder) = folder.map_or(Some(""), |folder| folder.literal()) else { return Vec::new() };
    let folder = folder.trim_start_matches("./").trim_end_matches('/');
    // Whoever goes elsewhere first starts another file.
    if step.script().contains("cd ") || flow.text.contains("COMPOSE_FILE") {
        return Vec::new();
    }
    let flags = rest.iter().enumerate().filter(|(_, word)| matches!(**word, "-f" | "--file"));
    let spaced = flags.filter_map(|(at, _)| rest.get(at + 1).copied());
    let tied = rest.iter().filter_map(|word| word.strip_prefix("--file="));
    let named: Vec<&str> = spaced.chain(tied).collect();
    let find = |name: &str| {
        let name = name.trim_start_matches("./");
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        systems.composes.iter().find(|compose| *compose.path == *path)
    };
    if named.is_empty() {
        DEFAULTS.iter().find_map(|name| find(name)).map(Some).into_iter().collect()
    } else {
        named.into_iter().map(find).collect()
    }
}

/// Returns the files and folders whose objects a command applies to a cluster, and whether folders within them are too.
pub(crate) fn applied(command: &Command) -> (Vec<&str>, bool) {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let Some(("kubectl" | "oc", rest)) = words.split_first().map(|(first, rest)| (*first, rest)) else {
        return (Vec::new(), false);
    };
    if !rest.contains(&"apply") {
        return (Vec::new(), false);
    }
    let apart = rest.windows(2).filter(|pair| matches!(pair[0], "-f" | "--filename")).map(|pair| pair[1]);
    let joined = rest.iter().filter_map(|word| {
        word.strip_prefix("--filename=")
            .or_else(|| word.strip_prefix("-f="))
            .or_else(|| word.strip_prefix("-f").filter(|path| !path.is_empty()))
    });
    let paths = apart.chain(joined).flat_map(|paths| paths.split(','));
    let paths = paths.map(|path| path.trim_start_matches("./").trim_end_matches('/')).collect();
    (paths, rest.iter().any(|word| matches!(*word, "-R" | "--recursive")))
}

/// Returns the folder whose kustomization a command builds: `kubectl apply -k prod`, `kustomize build prod`.
pub(crate) fn kustomized(command: &Command) -> Option<&str> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let path = match words.as_slice() {
        ["kubectl" | "oc", "kustomize", path, ..] | ["kustomize", "build", path, ..] => *path,
        ["kubectl" | "oc", rest @ ..] if rest.contains(&"apply") => {
            let apart =
                rest.windows(2).find(|pair| matches!(pair[0], "-k" | "--kustomize")).map(|pair| pair[1]);
            apart.or_else(|| rest.iter().find_map(|word| word.strip_prefix("--kustomize=")))?
        }
        _ => return None,
    };
    let path = path.trim_start_matches("./").trim_end_matches('/');
    Some(if path == "." { "" } else { path })
}

/// Tells whether the kustomization of a folder takes in a file, by itself or through others.
pub(crate) fn takes_in(systems: &Systems, folder: &str, path: &str) -> bool {
    let mut folders = vec![folder.to_owned()];
    let mut at = 0;
    // Kustomizations that go in circles end at the bound.
    while at < folders.len() && folders.len() < 50 {
        let own = folders[at].clone();
        let parent = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        for one in systems.kustomizations.iter().filter(|one| parent(&one.path) == own) {
            let parts: Vec<String> = one.parts.iter().filter_map(|part| joined(&one.path, part)).collect();
            if parts.iter().any(|part| part == path) {
                return true;
            }
            folders.extend(parts);
        }
        at += 1;
    }
    false
}

/// Tells whether one of these files and folders has a manifest of this path.
pub(crate) fn holds((paths, deep): &(Vec<&str>, bool), manifest: &str) -> bool {
    let folder = manifest.rsplit_once('/').map_or("", |(folder, _)| folder);
    paths.iter().any(|path| {
        let path = if *path == "." { "" } else { *path };
        path == manifest
            || path == folder
            || *deep && folder.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    })
}
