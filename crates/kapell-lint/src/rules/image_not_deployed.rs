//! An image that is pushed, while what runs is another one of the same name.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    systems::{
        Word, image_parts,
        images::{Pushed, pushed},
        kubernetes::What,
    },
};

/// The rule.
pub static RULE: Rule = Rule {
    name: "image-not-deployed",
    summary: "an image that is built and pushed, while another one or another tag is deployed",
    group: Group::CrossSystem,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::Medium,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/image-not-deployed.md"),
    check,
};

/// What writes the image into a manifest when it is deployed.
const WRITERS: &[&str] = &[
    "set image",
    "kustomize",
    "sed ",
    "yq ",
    "envsubst",
    "helm ",
    "argocd",
    "flux",
    "set-image",
    "skaffold",
];

/// Bases that everybody has an image of.
const COMMON: &[&str] = &["postgres", "redis", "mysql", "nginx", "mongo", "node", "python", "base", "alpine"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let written = |text: &str| WRITERS.iter().any(|writer| text.contains(writer));
    if repository.github.flows.iter().any(|flow| written(&flow.text)) {
        return;
    }
    let pushed = pushed(&repository.github);
    for (file, image) in deployed(repository) {
        let (name, tag) = image_parts(image);
        let name = plain(name);
        if name.contains('$')
            || tag.is_some_and(|tag| tag.contains('$'))
            || image.contains('@')
            || !name.contains('/')
        {
            continue;
        }
        judge(file, image, &name, tag.unwrap_or("latest"), &pushed, report);
    }
}

fn deployed(repository: &Repository) -> Vec<(FileId, &Word)> {
    let composes = repository.systems.composes.iter().flat_map(|compose| {
        let services = compose.services.iter().filter(|service| service.build.is_none());
        services.filter_map(|service| Some((compose.file, service.image.as_ref()?)))
    });
    let workloads = repository.systems.manifests.iter().flat_map(|manifest| match &manifest.what {
        What::Workload(workload) => workload.images.iter().map(|image| (manifest.file, image)).collect(),
        _ => Vec::new(),
    });
    composes.chain(workloads).collect()
}

fn plain(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_prefix("docker.io/").map_or(name.clone(), str::to_owned)
}

fn judge(file: FileId, image: &Word, name: &str, tag: &str, pushed: &[Pushed], report: &mut Report<'_>) {
    let base = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let known = |one: &&Pushed| one.name.is_some();
    let same: Vec<&Pushed> =
        pushed.iter().filter(|one| one.name.as_deref().map(plain).as_deref() == Some(name)).collect();
    // An image whose name is put together elsewhere may be this one.
    if same.is_empty() && pushed.iter().all(|one| known(&one)) && !COMMON.contains(&base(name).as_str()) {
        let near =
            pushed.iter().find(|one| one.name.as_deref().is_some_and(|other| base(other) == base(name)));
        if let Some(near) = near {
            let other = near.name.as_deref().unwrap_or_default();
            let message = format!("`{image}` is deployed, but the workflows push `{other}`");
            report.add(file, image.span, message).also(near.file, near.span, "pushed here").done();
        }
        return;
    }
    let fits = |one: &&Pushed| match one.tag.as_str() {
        written if !written.contains('$') => written == tag,
        "${{ github.sha }}" | "$GITHUB_SHA" => {
            tag.len() == 40 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        _ => true,
    };
    if let Some(first) = same.first().filter(|_| !same.iter().any(fits)) {
        let tags: Vec<String> = same.iter().map(|one| format!("`{}`", one.tag)).collect();
        let message = format!(
            "the tag `{tag}` of `{name}` is deployed, but the workflows push only {}",
            tags.join(", ")
        );
        report.add(file, image.span, message).also(first.file, first.span, "pushed here").done();
    }
}
