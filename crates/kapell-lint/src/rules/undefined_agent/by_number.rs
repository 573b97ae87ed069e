//! Numbered lists of an agent that leads others, each item of which begins with who does it.

use std::collections::BTreeSet;

use kapell_spec::{
    claude::{
        markdown::{Item, Mark},
        reference::{Names, is_kebab},
    },
    suggest,
};
use kapell_view::audit::AssetKind;

use crate::{
    agents::{Asset, Home, is_built_in, tools},
    repository::Repository,
    rule::Report,
};

/// How many items have to begin with agents that are defined for the others to be meant as agents.
const DEFINED_MIN: usize = 2;

/// Tells of a name that begins such an item, and is that of nothing here, where all other names that begin one are agents.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let names: BTreeSet<&str> = agents.iter().map(|(_, asset)| &*asset.name).collect();
    let defined: BTreeSet<&str> = agents.of(AssetKind::Agent).map(|(_, agent)| &*agent.name).collect();
    let leads = |asset: &Asset| asset.home == Home::Claude && leads(asset);
    for (_, asset) in agents.of(AssetKind::Agent).filter(|(_, asset)| leads(asset)) {
        let text = &*repository.files[asset.file].text;
        let items = &asset.definition.document.items;
        let first: Vec<(u32, &Mark)> =
            items.iter().filter_map(|item| begins_with(asset, text, item)).collect();
        let lists: BTreeSet<u32> = first.iter().map(|(list, _)| *list).collect();
        for list in lists {
            let own = || first.iter().filter(|(of, _)| *of == list).map(|(_, mark)| *mark);
            let mut unknown = own().filter(|mark| !defined.contains(&*mark.text) && !is_built_in(&mark.text));
            let (Some(mark), None) = (unknown.next(), unknown.next()) else { continue };
            let known: BTreeSet<&str> =
                own().map(|mark| &*mark.text).filter(|name| defined.contains(name)).collect();
            let told = asset.firm(Names::Agent).any(|reference| reference.name == mark.text);
            if known.len() < DEFINED_MIN || told || names.contains(&*mark.text) {
                continue;
            }
            let message = format!("agent `{}` is not defined", mark.text);
            let hint = meant(repository, &mark.text, &defined).map_or_else(
                || "define it, or name one that is".to_owned(),
                |near| format!("name `{near}`, or define it"),
            );
            report.add(asset.file, mark.span, message).hint(hint).done();
        }
    }
}

/// Tells whether an agent is given the tool to start others by name.
fn leads(asset: &Asset) -> bool {
    let granted = tools::granted(asset);
    granted.is_limited() && granted.has("Agent")
}

/// Returns the list of a numbered item, and the name in marks that begins it: ``3. `fix-planner` gets both reports``.
fn begins_with<'a>(asset: &'a Asset, text: &str, item: &Item) -> Option<(u32, &'a Mark)> {
    if !item.ordered || item.depth != 1 {
        return None;
    }
    let own = text.get(item.span.range())?;
    let rest = own.trim_start_matches(|c: char| c.is_ascii_digit() || ".) \t".contains(c));
    let at = item.span.start as usize + own.len() - rest.len();
    let mark = asset.definition.document.marks.iter().find(|mark| mark.span.start as usize == at)?;
    let behind = text.get(mark.span.end as usize..)?;
    let goes_on = behind.starts_with([' ', ':', ',']) || behind.starts_with('\n');
    (goes_on && mark.text.contains('-') && is_kebab(&mark.text)).then_some((item.list, mark))
}

/// Returns the agent that a name means: the one whose file is called so, or whose own name is near.
fn meant<'a>(repository: &'a Repository, name: &str, defined: &BTreeSet<&'a str>) -> Option<&'a str> {
    let letters = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase();
    let by_file = repository.agents.of(AssetKind::Agent).find(|(_, agent)| {
        let file = repository.files[agent.file].name();
        letters(file.split('.').next().unwrap_or(file)) == letters(name)
    });
    by_file.map(|(_, agent)| &*agent.name).or_else(|| suggest::nearest(name, defined.iter().copied()))
}
