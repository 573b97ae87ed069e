//! Secrets that workflows make under another name than the objects take them by.

use kapell_spec::finding::Span;

use super::missing::shares_word;
use crate::{
    files::FileId,
    github::script::Command,
    repository::Repository,
    rule::Report,
    systems::{Manifest, kubernetes::What},
};

/// A secret that a command makes.
struct Made {
    file: FileId,
    span: Span,
    name: String,
    /// Where one is named; a variable is kept as it is written, and is no namespace that an object names.
    namespace: Option<String>,
    keys: Vec<String>,
}

/// Tells of a key that an object takes of a secret which nothing makes, where a workflow makes one in the same namespace that has
/// the key, shares a word of the name, and is taken by nobody.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let manifests = &repository.systems.manifests;
    if manifests.is_empty() {
        return;
    }
    let made = made(repository);
    if made.is_empty() {
        return;
    }
    let taken = || {
        manifests.iter().flat_map(|manifest| match &manifest.what {
            What::Workload(workload) => {
                workload.secrets.iter().map(move |(name, key, span)| (manifest, name, key, *span)).collect()
            }
            _ => Vec::new(),
        })
    };
    let takes = |name: &str| {
        taken().any(|(_, own, ..)| **own == *name)
            || manifests.iter().any(|manifest| match &manifest.what {
                What::Workload(workload) => workload.whole.iter().any(|(_, own, _)| **own == *name),
                _ => false,
            })
    };
    let mut told: Vec<(FileId, &str)> = Vec::new();
    for (manifest, name, key, span) in taken() {
        let one = made.iter().find(|one| {
            let here = one
                .namespace
                .as_deref()
                .is_none_or(|own| manifest.namespace.is_empty() || *manifest.namespace == *own);
            here && one.keys.iter().any(|own| **own == **key)
                && shares_word(name, &one.name)
                && !takes(&one.name)
        });
        let Some(one) = one.filter(|_| !told.contains(&(manifest.file, name)) && !is_made(repository, name))
        else {
            continue;
        };
        told.push((manifest.file, name));
        let message = format!(
            "`{}` takes the secret `{name}`, which nothing makes; what a workflow makes with this key is `{}`",
            &*manifest.name, one.name
        );
        report
            .add(manifest.file, span, message)
            .also(one.file, one.span, "made here, and taken by nobody")
            .hint("give both the same name")
            .done();
    }
}

/// Tells whether anything but who takes it speaks of a name.
fn is_made(repository: &Repository, name: &str) -> bool {
    let workload = |manifest: &&Manifest| matches!(manifest.what, What::Workload(_));
    let takers: Vec<FileId> =
        repository.systems.manifests.iter().filter(workload).map(|manifest| manifest.file).collect();
    let makes = |manifest: &Manifest| !matches!(manifest.what, What::Workload(_)) && *manifest.name == *name;
    repository.systems.manifests.iter().any(makes)
        || repository.files.iter().any(|(id, file)| !takers.contains(&id) && file.text.contains(name))
}

fn made(repository: &Repository) -> Vec<Made> {
    let mut found = Vec::new();
    // Hardly any workflow makes one.
    for flow in repository.github.flows.iter().filter(|flow| flow.text.contains("generic")) {
        for (job, _) in flow.jobs() {
            for (step, facts) in flow.steps(job) {
                for command in &facts.commands {
                    let Some((name, namespace, keys)) = of_command(command) else { continue };
                    let span = flow.script_line(step, command.start, "");
                    found.push(Made { file: flow.file, span, name, namespace, keys });
                }
            }
        }
    }
    found
}

/// Reads `kubectl -n comms create secret generic smtp --from-literal=username=...`: the name, the namespace and the keys.
fn of_command(command: &Command) -> Option<(String, Option<String>, Vec<String>)> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let at = words.windows(3).position(|three| three == ["create", "secret", "generic"])?;
    let name = words.get(at + 3).filter(|name| !name.starts_with('-') && !name.contains('$'))?;
    let apart = |short: &str, long: &str| {
        let behind = words.windows(2).find(|pair| pair[0] == short || pair[0] == long).map(|pair| pair[1]);
        behind.or_else(|| words.iter().find_map(|word| word.strip_prefix(long)?.strip_prefix('=')))
    };
    let namespace = apart("-n", "--namespace");
    if words[0] != "kubectl" {
        return None;
    }
    let given = words.iter().filter_map(|word| {
        word.strip_prefix("--from-literal=").or_else(|| word.strip_prefix("--from-file="))
    });
    let spaced = words
        .windows(2)
        .filter(|pair| matches!(pair[0], "--from-literal" | "--from-file"))
        .map(|pair| pair[1]);
    let keys = given.chain(spaced).filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).collect();
    Some(((*name).to_owned(), namespace.map(str::to_owned), keys))
}
