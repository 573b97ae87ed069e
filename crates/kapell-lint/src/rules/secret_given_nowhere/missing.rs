//! Secrets and settings that objects take and nothing makes, while all others of their folder are made there.

use std::collections::BTreeSet;

use kapell_spec::finding::Span;
use kapell_view::audit::Confidence;

use super::{
    names::{is_abbreviation, is_slip},
    objects::Kept,
};
use crate::{
    repository::Repository,
    rule::Report,
    systems::{
        Manifest,
        kubernetes::{What, Workload},
    },
};

/// One of the two kinds that objects take from each other.
#[derive(Clone, Copy)]
struct Kind {
    secret: bool,
    name: &'static str,
    kept: Kept,
}

const KINDS: [Kind; 2] = [
    Kind {
        secret: true,
        name: "secret",
        kept: |what| if let What::Secret(keys) = what { Some(keys) } else { None },
    },
    Kind {
        secret: false,
        name: "config map",
        kept: |what| if let What::Settings(keys) = what { Some(keys) } else { None },
    },
];

/// Something that an object takes: who takes it, its name, its key where one is asked for, its place.
#[derive(Clone, Copy)]
struct Taken<'a> {
    by: &'a Manifest,
    name: &'a str,
    key: Option<&'a str>,
    span: Span,
}

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let manifests = &repository.systems.manifests;
    let mut seen: Vec<&Manifest> = Vec::new();
    for manifest in manifests.iter().filter(|one| matches!(one.what, What::Workload(_))) {
        // A folder is judged once.
        if seen.iter().any(|other| other.is_beside(manifest)) {
            continue;
        }
        seen.push(manifest);
        let beside: Vec<&Manifest> = manifests.iter().filter(|other| other.is_beside(manifest)).collect();
        for kind in KINDS {
            of_folder(repository, &beside, kind, report);
        }
    }
}

fn of_folder(repository: &Repository, beside: &[&Manifest], kind: Kind, report: &mut Report<'_>) {
    let made = |name: &str, kind: Kind| {
        beside.iter().copied().find(|other| (kind.kept)(&other.what).is_some() && *other.name == *name)
    };
    let all = |kind: Kind| {
        beside.iter().flat_map(move |manifest| match &manifest.what {
            What::Workload(workload) => taken(manifest, workload, kind),
            _ => Vec::new(),
        })
    };
    let missing: Vec<Taken<'_>> = all(kind).filter(|one| made(one.name, kind).is_none()).collect();
    let Some(first) = missing.first().filter(|first| missing.iter().all(|one| one.name == first.name)) else {
        return;
    };
    // What is made in another folder may come here.
    let kept = |other: &&Manifest| (kind.kept)(&other.what).is_some();
    if repository.systems.manifests.iter().filter(kept).any(|other| *other.name == *first.name) {
        return;
    }
    let mut same = beside.iter().copied().filter(kept);
    // One that is called nearly so is told as a slip.
    let near = same.any(|other| is_slip(first.name, &other.name) || is_abbreviation(first.name, &other.name));
    if near || comes_about(beside, first.name) {
        return;
    }
    if !left_over(repository, beside, kind, first, report) {
        let here = |kind: Kind| -> BTreeSet<&str> {
            all(kind).map(|one| one.name).filter(|name| made(name, kind).is_some()).collect()
        };
        left_out(repository, (&here(KINDS[0]), &here(KINDS[1])), made, (kind, first), report);
    }
}

/// Returns what a workload takes of a kind.
fn taken<'a>(by: &'a Manifest, workload: &'a Workload, kind: Kind) -> Vec<Taken<'a>> {
    let keyed = if kind.secret { &workload.secrets } else { &workload.settings };
    let keyed = keyed.iter().map(|(name, key, span)| Taken { by, name, key: Some(&**key), span: *span });
    let whole = workload.whole.iter().filter(|(secret, ..)| *secret == kind.secret);
    keyed.chain(whole.map(|(_, name, span)| Taken { by, name, key: None, span: *span })).collect()
}

/// How many others of a folder have to be made there for the one that is not to be forgotten, and not made by hand.
const OTHERS: usize = 2;

/// What is taken and nothing here makes, while what is taken beside it is all made in the same folder.
fn left_out<'a>(
    repository: &Repository,
    (secrets, settings): (&BTreeSet<&str>, &BTreeSet<&str>),
    made: impl Fn(&str, Kind) -> Option<&'a Manifest>,
    (kind, one): (Kind, &Taken<'_>),
    report: &mut Report<'_>,
) {
    let own = if kind.secret { secrets } else { settings };
    // Secrets of other kinds of objects are all declared; plain ones may be made by hand.
    let declared =
        |name: &&str| made(name, kind).is_some_and(|other| *other.kind != *"Secret" || is_generated(other));
    let enough = own.len() >= OTHERS
        || own.iter().any(|name| !kind.secret || declared(name)) && secrets.len() + settings.len() >= OTHERS;
    if !enough || is_told_of(repository, one.name) {
        return;
    }
    let listed = own.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let message = format!(
        "`{}` takes the {} `{}`, which nothing here makes as it makes {listed}",
        &*one.by.name, kind.name, one.name
    );
    report
        .add(one.by.file, one.span, message)
        .confidence(Confidence::Medium)
        .hint("make it where the others are made, or say where it comes from")
        .done();
}

/// Tells whether a kustomization makes it.
fn is_generated(manifest: &Manifest) -> bool {
    manifest.path.rsplit('/').next().is_some_and(|file| file.starts_with("kustomization."))
}

/// What is taken and nothing here makes, while one of its kind is made here that nobody takes.
fn left_over(
    repository: &Repository,
    beside: &[&Manifest],
    kind: Kind,
    one: &Taken<'_>,
    report: &mut Report<'_>,
) -> bool {
    let takes = |other: &Manifest, name: &str| match &other.what {
        What::Workload(workload) => taken(other, workload, kind).iter().any(|taken| taken.name == name),
        _ => false,
    };
    let manifests = &repository.systems.manifests;
    let mut spare = beside.iter().filter(|other| {
        (kind.kept)(&other.what).is_some() && !manifests.iter().any(|workload| takes(workload, &other.name))
    });
    let (Some(other), None) = (spare.next(), spare.next()) else { return false };
    let keys = (kind.kept)(&other.what).map_or(&[][..], Vec::as_slice);
    let fits = one.key.is_none_or(|key| keys.is_empty() || keys.iter().any(|known| **known == *key));
    // A key of several words is nothing that any secret has.
    let same_key = |key: &str| key.contains(['-', '_', '.']) && keys.iter().any(|known| **known == *key);
    let alike = !kind.secret || shares_word(one.name, &other.name) || one.key.is_some_and(same_key);
    if !fits || !alike || is_told_of(repository, one.name) || is_told_of(repository, &other.name) {
        return false;
    }
    let message = format!(
        "`{}` takes the {} `{}`, which nothing here makes; what is made and taken by nobody is `{}`",
        &*one.by.name, kind.name, one.name, &*other.name
    );
    let draft = report.add(one.by.file, one.span, message).confidence(Confidence::Medium);
    let draft = draft.hint("give both the same name");
    draft.also(other.file, other.name.span, format!("the {}", kind.name)).done();
    true
}

/// Words that any secret may be called by.
const GENERAL: &[&str] = &["secret", "secrets", "config", "env", "credentials", "creds", "key", "keys"];

pub(super) fn shares_word(name: &str, other: &str) -> bool {
    let of = |name: &str, word: &str| name.split(['-', '_', '.']).any(|own| own.eq_ignore_ascii_case(word));
    name.split(['-', '_', '.']).any(|word| word.len() > 1 && !GENERAL.contains(&word) && of(other, word))
}

/// Kinds of objects that are no secrets, and of which none comes about.
const PLAIN: &[&str] = &[
    "Namespace",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "HorizontalPodAutoscaler",
    "VerticalPodAutoscaler",
    "ScaledObject",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "StorageClass",
    "PriorityClass",
    "LimitRange",
    "ResourceQuota",
    "Kustomization",
    "SecretStore",
    "ClusterSecretStore",
    "ServiceMonitor",
    "PodMonitor",
    "PrometheusRule",
    "Gateway",
    "VirtualService",
    "DestinationRule",
    "Middleware",
    "ImageRepository",
    "ImagePolicy",
];

/// Tells whether the cluster, an operator or a controller may make what is called so.
fn comes_about(beside: &[&Manifest], name: &str) -> bool {
    let by_cluster =
        ["-tls", "-token", "-ca", ".crt", "-cert", "-certs"].iter().any(|end| name.ends_with(end));
    let others = || beside.iter().filter(|other| matches!(other.what, What::Other));
    by_cluster || name.contains(['$', '{']) || others().any(|other| !PLAIN.contains(&&*other.kind))
}

/// Tells whether a file speaks of a name otherwise than to take it.
fn is_told_of(repository: &Repository, name: &str) -> bool {
    let takes = |line: &str| {
        let line = line.trim_start_matches([' ', '-']);
        line.starts_with("name:") || line.starts_with("secretName:") || line.contains("Ref:")
    };
    let manifests = &repository.systems.manifests;
    repository.files.iter().any(|(id, file)| {
        if !file.text.contains(name) {
            return false;
        }
        let mut own = manifests.iter().filter(|manifest| manifest.file == id).peekable();
        let mut lines =
            file.text.lines().filter(|line| line.contains(name) && !is_path(line, name)).peekable();
        lines.peek().is_some()
            && (own.peek().is_none()
                || own.any(|manifest| {
                    matches!(manifest.what, What::Other) && !PLAIN.contains(&&*manifest.kind)
                })
                || lines.any(|line| !takes(line)))
    })
}

/// Tells whether a line has a name only as that of a file: `- api-credentials.yaml` of a kustomization.
fn is_path(line: &str, name: &str) -> bool {
    line.match_indices(name).all(|(at, _)| {
        let rest = &line[at + name.len()..];
        let rest = rest.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ']')).next();
        rest.is_some_and(|rest| [".yaml", ".yml", ".json"].iter().any(|end| rest.ends_with(end)))
    })
}
