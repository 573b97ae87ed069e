//! Names of agents that are defined here, wherever a text hands work to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kapell_spec::{
    claude::{reference, starts, steps},
    words::Words,
};
use kapell_view::audit::{AssetKind, Scope};

use super::{Asset, Home};
use crate::files::{FileId, Files};

/// The shortest name that is looked for.
const LEN_MIN: usize = 4;

/// Returns the names of the agents that are loaded, by where they are known.
pub(super) fn names(assets: &[Asset]) -> BTreeMap<Scope, BTreeSet<String>> {
    let mut names: BTreeMap<Scope, BTreeSet<String>> = BTreeMap::new();
    let agents = assets.iter().filter(|asset| asset.kind == AssetKind::Agent && asset.home == Home::Claude);
    for agent in
        agents.filter(|agent| agent.name.len() >= LEN_MIN && !agent.name.contains(char::is_whitespace))
    {
        names.entry(agent.scope.clone()).or_default().insert(agent.name.clone());
    }
    names
}

/// Adds the references that are heard only because their names are defined, to all assets or to those of `only`.
pub(super) fn hear(assets: &mut [Asset], files: &Files, only: Option<&BTreeSet<FileId>>) {
    for (scope, names) in names(assets) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let words = Words::exact(&names);
        let within = |asset: &&mut Asset| {
            asset.scope == scope
                && asset.home == Home::Claude
                && only.is_none_or(|only| only.contains(&asset.file))
        };
        for asset in assets.iter_mut().filter(within) {
            add(asset, &files[asset.file].text, &words, &names);
        }
    }
}

fn add(asset: &mut Asset, text: &str, words: &Words, names: &[&str]) {
    let definition = &asset.definition;
    // Instructions speak of agents in many ways; only what they list is sure.
    let memory = asset.kind == AssetKind::Memory;
    let mut heard = if memory {
        Vec::new()
    } else {
        reference::known(text, definition, &asset.references, &asset.name, words, names)
    };
    heard.extend(reference::beside_known(text, definition, names));
    if heard.is_empty() {
        return;
    }
    let mut found = asset.references.to_vec();
    found.extend(heard);
    found.sort_by_key(|found| (found.span.start, found.names, std::cmp::Reverse(found.strength)));
    found.dedup_by(|b, a| a.span == b.span && a.names == b.names);
    if !memory {
        asset.flow = Arc::new(steps::flow_of(text, definition, &found));
        asset.starts = starts::starts(text, definition, &found).into();
    }
    asset.references = found.into();
}
