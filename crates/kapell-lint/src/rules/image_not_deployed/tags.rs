//! What a tag stands for.

use kapell_spec::github::{Event, only_expression};

use crate::{
    github::globs,
    repository::Repository,
    systems::images::{self, Pushed},
};

/// What a tag that is put together stands for. Two kinds are never the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag<'a> {
    Written(&'a str),
    Commit,
    ShortCommit,
    MarkedCommit,
    MarkedShortCommit,
    RunNumber,
    RunId,
    /// The name of a branch or a tag, or what is made of it.
    Name,
    /// The name of the branch or the tag that started the run, as it is.
    Reference,
    /// The same without its `v`.
    BareVersion,
    /// Some of its numbers.
    PartOfVersion,
    /// The number of a pull request, with its mark.
    PullRequest,
    /// Begins with the day on which it was made.
    Dated,
}

/// Reads a tag; `None` where it may be anything.
pub(super) fn tag_of(tag: &str) -> Option<Tag<'_>> {
    match tag {
        images::BY_NAME | images::BY_REFERENCE => return Some(Tag::Name),
        images::BY_PULL_REQUEST => return Some(Tag::PullRequest),
        images::PART_OF_VERSION => return Some(Tag::PartOfVersion),
        images::BARE_VERSION => return Some(Tag::BareVersion),
        images::MARKED_SHORT_SHA => return Some(Tag::MarkedShortCommit),
        images::SHORT_SHA => return Some(Tag::ShortCommit),
        "sha-${{ github.sha }}" | "sha-$GITHUB_SHA" | "sha-${GITHUB_SHA}" => return Some(Tag::MarkedCommit),
        _ => {}
    }
    if tag.starts_with("$(date") {
        return Some(Tag::Dated);
    }
    let inner = tag.trim_matches(['"', '\'']).trim();
    let inner = inner.strip_prefix("sha-").unwrap_or(inner);
    let expression = only_expression(inner);
    let variable = inner.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match expression.or(variable).or_else(|| inner.strip_prefix('$')) {
        None => (!tag.contains(['$', '`'])).then_some(Tag::Written(tag)),
        Some(_) if tag.contains("sha-") => None,
        Some("github.sha" | "GITHUB_SHA") => Some(Tag::Commit),
        Some("github.ref_name" | "GITHUB_REF_NAME" | "github.event.release.tag_name") => Some(Tag::Reference),
        Some("github.run_number" | "GITHUB_RUN_NUMBER") => Some(Tag::RunNumber),
        Some("github.run_id" | "GITHUB_RUN_ID") => Some(Tag::RunId),
        Some("GITHUB_REF_NAME#v" | "GITHUB_REF#refs/tags/v" | "GITHUB_REF_NAME/v/") => Some(Tag::BareVersion),
        Some("GITHUB_REF#refs/tags/" | "GITHUB_REF##*/") => Some(Tag::Reference),
        Some(cut) if cut.starts_with("GITHUB_SHA:") => Some(Tag::ShortCommit),
        Some(_) => None,
    }
}

/// Tells whether a tag that is put together when it is pushed may be this one.
pub(super) fn may_be(repository: &Repository, one: &Pushed, tag: &str) -> bool {
    let around =
        one.tag.split_once("${{").and_then(|(before, rest)| Some((before, rest.rsplit_once("}}")?.1)));
    if around.is_some_and(|(before, after)| !tag.starts_with(before) || !tag.ends_with(after)) {
        return false;
    }
    let flow = repository.github.flows.iter().find(|flow| flow.file == one.file);
    // Started in another way, a workflow may run for any branch.
    let only = flow.filter(|flow| flow.model.events.len() == 1).and_then(|flow| flow.model.event("push"));
    match (tag_of(&one.tag), only) {
        // No branch is called so but where somebody says it.
        _ if one.tag == images::BY_REFERENCE && tag == "latest" => {
            flow.and_then(|flow| flow.model.event("push")).is_some_and(|push| lists(push, tag))
        }
        // Slashes of the name become dashes.
        (_, Some(push)) if one.tag == images::BY_REFERENCE => names(push, tag) || tag.contains('-'),
        (Some(Tag::Reference), Some(push)) => names(push, tag),
        (Some(Tag::BareVersion), Some(push)) => names(push, &format!("v{tag}")) || names(push, tag),
        (Some(Tag::Commit | Tag::ShortCommit), _) => tag.len() > 6 && is_hex(tag),
        (Some(Tag::MarkedCommit | Tag::MarkedShortCommit), _) => tag.strip_prefix("sha-").is_some_and(is_hex),
        (Some(Tag::PullRequest), _) => tag.strip_prefix("pr-").is_some_and(is_number),
        (Some(Tag::PartOfVersion), _) => tag.trim_start_matches('v').split('.').all(is_number),
        (Some(Tag::RunNumber | Tag::RunId), _) => is_number(tag),
        (Some(Tag::Dated), _) => tag.starts_with(|c: char| c.is_ascii_digit()),
        _ => true,
    }
}

fn is_hex(tag: &str) -> bool {
    tag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_number(tag: &str) -> bool {
    tag.bytes().all(|byte| byte.is_ascii_digit())
}

/// Tells whether a workflow names this very branch or tag as one of those that start it.
fn lists(push: &Event, name: &str) -> bool {
    let listed = ["branches", "tags"].iter().filter_map(|key| push.filter(key));
    listed.flat_map(|filter| &filter.items).any(|pattern| *pattern.text == *name)
}

/// Tells whether a push of a branch or a tag of this name starts a workflow.
fn names(push: &Event, name: &str) -> bool {
    let listed = ["branches", "tags"].iter().filter_map(|key| push.filter(key));
    let mut patterns = listed.flat_map(|filter| &filter.items).peekable();
    patterns.peek().is_none()
        || patterns.any(|pattern| {
            pattern.text.starts_with('!') || globs::overlap(&globs::widen(&pattern.text), name)
        })
}
