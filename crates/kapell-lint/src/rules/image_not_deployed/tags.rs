//! What a tag stands for.

use crate::systems::images;

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
    /// Begins with the day on which it was made.
    Dated,
}

/// Reads a tag; `None` where it may be anything.
pub(super) fn tag_of(tag: &str) -> Option<Tag<'_>> {
    match tag {
        images::BY_NAME => return Some(Tag::Name),
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
    let expression = inner.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
    let variable = inner.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match expression.or(variable).or_else(|| inner.strip_prefix('$')) {
        None => (!tag.contains(['$', '`'])).then_some(Tag::Written(tag)),
        Some(_) if tag.contains("sha-") => None,
        Some("github.sha" | "GITHUB_SHA") => Some(Tag::Commit),
        Some("github.ref_name" | "GITHUB_REF_NAME") => Some(Tag::Reference),
        Some("github.run_number" | "GITHUB_RUN_NUMBER") => Some(Tag::RunNumber),
        Some("github.run_id" | "GITHUB_RUN_ID") => Some(Tag::RunId),
        Some("GITHUB_REF_NAME#v" | "GITHUB_REF#refs/tags/v" | "GITHUB_REF_NAME/v/") => Some(Tag::BareVersion),
        Some("GITHUB_REF#refs/tags/" | "GITHUB_REF##*/") => Some(Tag::Reference),
        Some(cut) if cut.starts_with("GITHUB_SHA:") => Some(Tag::ShortCommit),
        Some(_) => None,
    }
}
