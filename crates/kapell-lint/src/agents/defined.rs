//! Names of agents that are defined here, wherever a text hands work to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kapell_spec::claude::{
    reference::{self, Defined},
    starts, steps,
};
use kapell_view::audit::{AssetKind, Scope};

use super::{Asset, Home, clients::Client};
use crate::files::{FileId, Files};

/// The shortest name that is looked for.
const LEN_MIN: usize = 4;

/// Returns the names of the agents that are loaded, by where they are known and who loads them.
pub(super) fn names(assets: &[Asset]) -> BTreeMap<(Scope, Client), BTreeSet<String>> {
    let mut names: BTreeMap<(Scope, Client), BTreeSet<String>> = BTreeMap::new();
    let agents = assets.iter().filter(|asset| asset.kind == AssetKind::Agent && is_loaded(asset));
    for agent in
        agents.filter(|agent| agent.name.len() >= LEN_MIN && !agent.name.contains(char::is_whitespace))
    {
        names.entry((agent.scope.clone(), agent.client)).or_default().insert(agent.name.clone());
    }
    names
}

/// Tells whether a client loads an asset from where it lies.
fn is_loaded(asset: &Asset) -> bool {
    asset.home == Home::Claude || asset.client != Client::Claude
}

/// Adds the references that are heard only because their names are defined, to all assets or to those of `only`.
pub(super) fn hear(assets: &mut [Asset], files: &Files, only: Option<&BTreeSet<FileId>>) {
    for ((scope, client), names) in names(assets) {
        let names = Defined::new(&names);
        let within = |asset: &&mut Asset| {
            asset.scope == scope
                && asset.client == client
                && is_loaded(asset)
                && only.is_none_or(|only| only.contains(&asset.file))
        };
        for asset in assets.iter_mut().filter(within) {
            let text = &*files[asset.file].text;
            add(asset, asset.until.map_or(text, |end| &text[..end as usize]), &names);
        }
    }
}

fn add(asset: &mut Asset, text: &str, names: &Defined<'_>) {
    let definition = &asset.definition;
    // Instructions speak of agents in many ways; only what they list is sure.
    let memory = asset.kind == AssetKind::Memory;
    let mut heard = if memory {
        Vec::new()
    } else {
        reference::known(text, definition, &asset.references, &asset.name, names)
    };
    heard.extend(reference::beside_known(text, definition, names, !memory));
    let client = asset.client;
    if client != Client::Claude {
        heard.extend(reference::mentioned(text, definition, &asset.name, names, &|name| client.brings(name)));
    }
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
