//! Texts of a plugin that its agents and commands look for where the plugin is used, and that lie in the plugin.

use std::collections::BTreeSet;

use kapell_view::audit::{AssetKind, Scope};
use memchr::memmem;

use crate::{agents::Asset, repository::Repository, rule::Report};

/// What stands for the folder of a plugin.
const ROOT: &str = "${CLAUDE_PLUGIN_ROOT}/";

/// Texts that one part of a plugin names by the plugin's folder, and another by their path alone: an agent or a command works in
/// the folder of whoever uses the plugin, where they are not.
///
/// Source: <https://code.claude.com/docs/en/plugins-reference> ("Environment variables"), as of 2026-08.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for plugin in &repository.agents.plugins {
        let scope = Scope::Plugin(plugin.name.clone());
        let assets = || repository.agents.iter().map(|(_, asset)| asset).filter(|asset| asset.scope == scope);
        let mut known: BTreeSet<&str> = BTreeSet::new();
        for asset in assets() {
            known.extend(by_root(&repository.files[asset.file].text));
        }
        let folder = if plugin.root.is_empty() { String::new() } else { format!("{}/", plugin.root) };
        known.retain(|path| repository.files.exists(&format!("{folder}{path}")));
        if known.is_empty() {
            continue;
        }
        let mut places = assets().filter_map(|asset| {
            let text = &repository.files[asset.file].text;
            let own = matches!(asset.kind, AssetKind::Agent | AssetKind::Command)
                .then(|| lone(asset, text, &known));
            own.flatten().map(|(span, path)| (asset, span, path))
        });
        let Some((asset, span, path)) = places.next() else { continue };
        let message = format!("`{path}` is looked for where the plugin is used, and it lies in the plugin");
        let mut draft = report.add(asset.file, span, message).hint(format!("write `{ROOT}{path}`"));
        for (asset, span, _) in places {
            draft = draft.also(asset.file, span, "so it is here");
        }
        draft.done();
    }
}

/// Returns the texts that are named by the plugin's folder.
fn by_root(text: &str) -> impl Iterator<Item = &str> {
    memmem::find_iter(text.as_bytes(), ROOT).filter_map(|at| {
        let rest = &text[at + ROOT.len()..];
        let len =
            rest.find(|c: char| c.is_whitespace() || "`\"'(),;|<>[]{}$*".contains(c)).unwrap_or(rest.len());
        let path = rest[..len].trim_end_matches(['.', ':']);
        (path.ends_with(".md") && path.contains('/')).then_some(path)
    })
}

/// Finds the first of some texts that stands in marks by its path alone, where the text never names it by the plugin's folder.
fn lone<'a>(
    asset: &Asset,
    text: &'a str,
    known: &BTreeSet<&str>,
) -> Option<(kapell_spec::finding::Span, &'a str)> {
    if text.contains(ROOT) {
        return None;
    }
    let marks = asset.definition.document.marks.iter().filter(|mark| mark.code);
    marks
        .filter_map(|mark| Some((mark.span, text.get(mark.span.range())?.trim_matches('`').trim())))
        .find(|(_, path)| known.contains(path))
}
