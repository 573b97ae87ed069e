//! Images that commands of workflows deploy.

use kapell_spec::github::Uses;

use super::{
    plain,
    tags::{Tag, tag_of},
};
use crate::{
    files::FileId,
    repository::Repository,
    rule::Report,
    systems::images::{Deployed, Pushed},
};

/// A command that deploys a tag which no workflow pushes for this image.
pub(super) fn by_command(
    repository: &Repository,
    deployed: &Deployed,
    pushed: &[Pushed],
    report: &mut Report<'_>,
) {
    let Some(tag) = tag_of(&deployed.tag) else { return };
    let same: Vec<&Pushed> = match &deployed.name {
        Some(name) if name.contains("${{") => return,
        Some(name) => pushed.iter().filter(|one| one.written == *name).collect(),
        // A tag alone is that of the one image which this workflow pushes.
        None => pushed.iter().filter(|one| one.file == deployed.file).collect(),
    };
    let Some(first) = same.first() else { return of_nobody(repository, deployed, tag, pushed, report) };
    let one = same.iter().all(|one| one.written == first.written);
    let tags: Option<Vec<Tag<'_>>> = same.iter().map(|one| tag_of(&one.tag)).collect();
    let Some(tags) = tags.filter(|tags| one && !tags.contains(&tag)) else { return };
    // A name may be any text.
    let named = |tag: &Tag<'_>| matches!(tag, Tag::Name | Tag::Reference);
    let version = |tag: &Tag<'_>| matches!(tag, Tag::BareVersion | Tag::PartOfVersion);
    if matches!(tag, Tag::Written(_)) && tags.iter().any(|tag| named(tag) || version(tag)) {
        return;
    }
    let any = |tag: &Tag<'_>| named(tag) || matches!(tag, Tag::Written(_) | Tag::PartOfVersion);
    if named(&tag) && tags.iter().any(any) && !is_bare_version(repository, deployed.file, tag, &tags) {
        return;
    }
    // A version that somebody else released may be deployed by its number.
    let is_number = matches!(tag, Tag::Written(text) if text.chars().any(|c| c.is_ascii_digit()));
    if is_number || tags.is_empty() {
        return;
    }
    let shown: Vec<String> = same.iter().map(|one| format!("`{}`", one.tag)).collect();
    let message = format!(
        "the tag `{}` is deployed, but the workflows push `{}` only as {}",
        deployed.tag,
        first.written,
        shown.join(", ")
    );
    report
        .add(deployed.file, deployed.span, message)
        .hint("deploy the tag that was pushed")
        .also(first.file, first.span, "pushed here")
        .done();
}

/// Tells whether the tags that are pushed are those of versions without the `v` that every tag has on which a workflow starts:
/// what is called after the tag is then never there.
fn is_bare_version(repository: &Repository, file: FileId, tag: Tag<'_>, tags: &[Tag<'_>]) -> bool {
    let flow = repository.github.flows.iter().find(|flow| flow.file == file);
    let marked = flow.is_some_and(|flow| {
        let tags = flow.model.event("push").and_then(|push| push.filter("tags"));
        flow.model.events.len() == 1
            && tags.is_some_and(|tags| tags.items.iter().all(|item| item.text.starts_with('v')))
    });
    let bare = |tag: &Tag<'_>| matches!(tag, Tag::BareVersion | Tag::PartOfVersion | Tag::Written("latest"));
    tag == Tag::Reference && marked && tags.contains(&Tag::BareVersion) && tags.iter().all(bare)
}

/// What else builds images, or brings them to where they are pulled from.
const BUILDERS: &[&str] = &[
    "acr build",
    "acr import",
    "builds submit",
    "kaniko",
    "buildah",
    "podman push",
    "podman manifest",
    "skopeo",
    "crane ",
    "imagetools",
    "docker tag",
    "docker push",
    "compose push",
    "compose build",
    "bake",
    "buildctl",
    "ko build",
    "ko publish",
    "ko apply",
    "pack build",
    "jib",
    "skaffold",
    "earthly",
    "nix build",
    "bazel",
    "werf",
    "docker load",
    "docker save",
    "image load",
    "kind load",
    "image import",
    "make ",
    "--push",
    "/dispatches",
    "workflow run",
    "sbt ",
    "mvn",
    "gradle",
    "dotnet publish",
];

/// Tells whether all that a repository pushes is known, and nothing there builds images in another way.
fn all_known(repository: &Repository, pushed: &[Pushed], other: &[&str]) -> bool {
    let builds = |text: &str| other.iter().any(|word| text.contains(word));
    pushed.iter().all(|one| one.name.is_some())
        && !repository.github.flows.iter().any(|flow| builds(&flow.text.to_ascii_lowercase()))
        && !repository
            .github
            .flows
            .iter()
            .any(|flow| flow.jobs().any(|(_, job)| matches!(job.called(), Some(Uses::Remote { .. }))))
        && repository
            .github
            .flows
            .iter()
            .all(|flow| flow.facts.iter().flatten().all(|facts| !facts.runs_own_script()))
}

/// A command that deploys, at the commit of this run, an image that no workflow pushes: nobody else can have built that.
fn of_nobody(
    repository: &Repository,
    deployed: &Deployed,
    tag: Tag<'_>,
    pushed: &[Pushed],
    report: &mut Report<'_>,
) {
    let own = matches!(
        tag,
        Tag::Commit
            | Tag::ShortCommit
            | Tag::MarkedCommit
            | Tag::MarkedShortCommit
            | Tag::RunNumber
            | Tag::RunId
    );
    // What pushes its images by a command is known by that.
    let others: Vec<&str> = BUILDERS
        .iter()
        .copied()
        .filter(|word| !matches!(*word, "docker push" | "podman push" | "--push"))
        .collect();
    let Some(name) = deployed.name.as_ref().filter(|name| own && !name.contains('$')) else { return };
    let near = pushed.iter().filter(|one| one.file == deployed.file);
    let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let Some(first) = near.min_by_key(|one| last(&one.written) != last(name)) else { return };
    if !name.contains('/')
        || pushed.iter().any(|one| plain(&one.written) == plain(name))
        || !all_known(repository, pushed, &others)
    {
        return;
    }
    let message = format!(
        "`{name}` is deployed at the commit of this run, but no workflow pushes it: what is pushed is `{}`",
        first.written
    );
    report
        .add(deployed.file, deployed.span, message)
        .hint("deploy the image that is pushed")
        .also(first.file, first.span, "pushed here")
        .done();
}

/// An image that is deployed by name, built by name, and pushed nowhere.
pub(super) fn never_pushed(
    repository: &Repository,
    deployed: &Deployed,
    pushed: &[Pushed],
    kept: &[Pushed],
    report: &mut Report<'_>,
) {
    let Some(name) = deployed.name.as_ref() else { return };
    let built = kept.iter().find(|one| one.written == *name && one.tag == deployed.tag);
    let Some(built) = built.filter(|built| built.file == deployed.file) else { return };
    let goes = pushed.iter().any(|one| one.written == *name);
    if goes || !all_known(repository, pushed, BUILDERS) {
        return;
    }
    let message = format!("`{name}` is deployed, but the step that builds it pushes it nowhere");
    report
        .add(deployed.file, deployed.span, message)
        .hint("give the step that builds it `push: true`")
        .also(built.file, built.span, "built here")
        .done();
}
