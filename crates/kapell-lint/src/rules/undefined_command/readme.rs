//! Commands of a plugin's own that its README tells people to run.

use std::collections::BTreeSet;

use kapell_spec::{
    claude::reference::{Names, Reference, Strength, is_placeholder},
    finding::Span,
    line,
};
use kapell_view::audit::{Confidence, Scope};
use memchr::memmem;

use crate::{
    agents::{Asset, PluginFile, Resolved},
    files::File,
    repository::Repository,
    rule::Report,
};

/// Words of a line, or of the headings above it, about commands that are gone, not there yet, or called otherwise.
const OTHER_TIMES: &[&str] = &[
    "remov",
    "renam",
    "replac",
    "deprecat",
    "former",
    " old ",
    "was ",
    "were ",
    "is gone",
    "previous",
    "planned",
    "roadmap",
    "coming",
    "todo",
    "future",
    "changelog",
    "history",
    "migrat",
    "upgrad",
    "instead",
    "no longer",
    "legacy",
    "->",
    "\u{2192}",
    "=>",
    "soon",
    "idea",
    "not yet",
    "example",
    "e.g.",
    "such as",
    "your own",
    "release notes",
    "what's new",
];

/// A command with the name of a plugin in front can only be one of that plugin: what its README tells people to run is told where
/// the plugin has commands, and none of that name.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for plugin in &repository.agents.plugins {
        let scope = Scope::Plugin(plugin.name.clone());
        let Some((_, own)) = repository.agents.iter().find(|(_, asset)| asset.scope == scope) else {
            continue;
        };
        let folder = if plugin.root.is_empty() { String::new() } else { format!("{}/", plugin.root) };
        let Some(id) = repository.files.find(&format!("{folder}README.md")) else { continue };
        let file = &repository.files[id];
        let mut told: BTreeSet<String> = BTreeSet::new();
        for reference in named(file, plugin) {
            if !matches!(repository.agents.resolve(own, &reference), Resolved::Nothing(_))
                || is_of_another_time(file, &reference)
                || is_agent(repository, own, &reference.name)
                || !told.insert(reference.name.clone())
            {
                continue;
            }
            let message = format!("command `/{}` is not defined", reference.name);
            let span = Span::new(reference.span.start as usize - 1, reference.span.end as usize);
            report
                .add(id, span, message)
                .confidence(Confidence::Medium)
                .hint("define it, or name one that is there")
                .done();
        }
    }
}

/// Finds the commands with a plugin's name in front: `/data:backfill`.
fn named<'a>(file: &'a File, plugin: &'a PluginFile) -> impl Iterator<Item = Reference> + 'a {
    let text = &*file.text;
    let begin = format!("/{}:", plugin.name);
    let places: Vec<usize> = memmem::find_iter(text.as_bytes(), &begin).collect();
    places.into_iter().filter_map(move |at| {
        // Elsewhere in a line it may be a path: `-v /data:ro`.
        let before = &text[line::start(text, at)..at];
        let begins = before.ends_with('`')
            || before.chars().all(|c| c.is_whitespace() || c.is_ascii_digit() || "-*+.)>$#".contains(c));
        let rest = &text[at + 1..];
        let len =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c))).unwrap_or(rest.len());
        let ends = !rest[len..].starts_with(['*', '<', '{', '[', '$', '/', '@']);
        let name = rest[..len].trim_end_matches(':');
        let local = name.strip_prefix(&begin[1..])?;
        let whole = begins && ends && local.starts_with(|c: char| c.is_ascii_alphabetic());
        (whole && !local.ends_with(['-', '_']) && !is_placeholder(local)).then(|| Reference {
            names: Names::Command,
            name: name.to_owned(),
            span: Span::new(at + 1, at + 1 + name.len()),
            strength: Strength::Strong,
            fenced: false,
        })
    })
}

/// Tells whether the words around a command, or the headings above it, speak of another time than now.
fn is_of_another_time(file: &File, reference: &Reference) -> bool {
    let lower = file.lower();
    let at = reference.span.start as usize;
    let heading = lower[..at].lines().rev().filter(|line| line.starts_with('#')).take(2);
    let own = line::around(lower, at);
    heading.chain([own]).any(|said| OTHER_TIMES.iter().any(|word| said.contains(word)))
}

/// Tells whether an agent of the plugin has the name: people write it so, too.
fn is_agent(repository: &Repository, own: &Asset, name: &str) -> bool {
    let local = name.rsplit(':').next().unwrap_or(name);
    repository.agents.iter().any(|(_, asset)| asset.scope == own.scope && asset.name == local)
}
