//! Items of a list that run something long for a file which nothing takes up.

use std::sync::LazyLock;

use kapell_spec::{finding::Span, words::Words};

use crate::{agents::Asset, repository::Repository, rule::Report};

use super::{RULE, is_shown, takes_several};

/// Words that say that something takes long.
static LONG: LazyLock<Words> =
    LazyLock::new(|| Words::new(&["minutes", " hours", "an hour", "takes long", "is slow"]));

/// Words right before the name of a file that a command leaves.
const LEAVES: &[&str] =
    &["which writes", "that writes", "it writes", "writes", "which produces", "produces", "to make", "into"];

/// Endings of what is made to be read by the next step.
const DATA: &[&str] = &[".json", ".jsonl", ".csv", ".tsv", ".txt", ".md", ".xml", ".html", ".log"];

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| asset.is_read()) {
        let text = &*repository.files[asset.file].text;
        let items = &asset.definition.document.items;
        for item in items.iter().filter(|item| item.ordered && item.depth == 1) {
            // An item with others below it is a part of the text of its own.
            let own = text.get(item.span.range()).unwrap_or_default();
            let last = items.iter().rev().find(|other| other.list == item.list);
            let ends = last.is_some_and(|last| last.span == item.span);
            if ends || !LONG.is_in(own) {
                continue;
            }
            let Some((span, path)) = left(asset, text, item.span) else { continue };
            let (after, name) = (&text[item.span.end as usize..], path.rsplit('/').next().unwrap_or(path));
            let stem = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
            let spoken = stem
                .split(['-', '_'])
                .any(|word| word.len() >= 3 && after.to_ascii_lowercase().contains(word));
            let elsewhere = repository.agents.iter().any(|(_, other)| {
                other.file != asset.file && repository.files[other.file].text.contains(name)
            });
            let rest = text.get(item.span.start as usize..).unwrap_or_default();
            if spoken || elsewhere || is_shown(rest, name) || takes_several(after, path) {
                continue;
            }
            let message = format!("no later step reads `{path}`, which takes long to make");
            let hint = "hand it to the step that decides, or drop the step";
            report.add(asset.file, span, message).severity(RULE.severity).hint(hint).done();
        }
    }
}

/// Finds the file that an item says its command leaves.
fn left<'a>(asset: &Asset, text: &'a str, item: Span) -> Option<(Span, &'a str)> {
    let marks = asset.definition.document.marks.iter().filter(|mark| mark.code);
    let within = |span: Span| item.start <= span.start && span.end <= item.end;
    marks.filter(|mark| within(mark.span)).find_map(|mark| {
        let path = text[mark.span.range()].trim_matches('`');
        let before = text[item.start as usize..mark.span.start as usize].trim_end().to_ascii_lowercase();
        let data = DATA.iter().any(|end| path.ends_with(end)) && !path.contains([' ', '<', '*', '{']);
        (data && LEAVES.iter().any(|word| before.ends_with(word))).then_some((mark.span, path))
    })
}
