//! Tables of agents in code, each with a list of those that it hands on to: names that the table has under another spelling.

use std::collections::{BTreeMap, BTreeSet};

use kapell_spec::suggest;

use crate::{
    code::{Id, Unit, unit::unquoted},
    repository::Repository,
    rule::Report,
};

/// Keys of the list, in lower case and without underscores.
const LISTS: &[&str] = &[
    "handoffs",
    "handoff",
    "handoffto",
    "handsoffto",
    "canhandoffto",
    "delegates",
    "delegatesto",
    "subagents",
    "transfers",
    "transfersto",
];

/// How many agents a table has.
const AGENTS_MIN: usize = 3;

/// How many names of the lists have to be in the table.
const FOUND_MIN: usize = 2;

/// How many names of one table are looked up among its keys.
const LOOKED_UP: usize = 64;

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for unit in repository.code.iter() {
        let lower = unit.whole();
        if !["andoff", "elegates", "ub_agents", "ubagents", "ubAgents", "ransfers"]
            .iter()
            .any(|word| lower.contains(word))
        {
            continue;
        }
        for table in unit.syntax.of_kind(&["object", "dictionary"]) {
            if unit.function_of(table) == Id::ROOT {
                tell(unit, table, report);
            }
        }
    }
}

/// Tells of the names in the lists of a table's agents that are slips of its keys.
fn tell(unit: &Unit, table: Id, report: &mut Report<'_>) {
    let pairs: Vec<Id> = unit.syntax.children(table).filter(|&id| unit.kind(id) == "pair").collect();
    let whole =
        unit.syntax.children(table).all(|id| !matches!(unit.kind(id), "spread_element" | "dictionary_splat"));
    if !whole || pairs.len() < AGENTS_MIN {
        return;
    }
    let key = |pair: &Id| unit.syntax.child(*pair, "key").map(|key| unquoted(unit.text(key)));
    let keys: BTreeSet<&str> = pairs.iter().filter_map(key).collect();
    let lists = pairs.iter().filter_map(|&pair| list(unit, unit.syntax.child(pair, "value")?));
    let named: Vec<Id> =
        lists.flat_map(|list| unit.syntax.children(list)).filter(|&id| unit.kind(id) == "string").collect();
    let found: BTreeSet<&str> =
        named.iter().map(|&id| unquoted(unit.text(id))).filter(|name| keys.contains(name)).collect();
    if found.len() < FOUND_MIN {
        return;
    }
    let by_letters: BTreeMap<String, &str> = keys.iter().map(|key| (letters(key), *key)).collect();
    let missing = named.into_iter().filter(|&id| !keys.contains(unquoted(unit.text(id))));
    for id in missing.take(LOOKED_UP) {
        let name = unquoted(unit.text(id));
        let same = by_letters.get(&letters(name)).copied();
        let Some(near) = same.or_else(|| suggest::mistyped(name, keys.iter().copied(), 2)) else { continue };
        let message = format!("this table has no agent `{name}`: who is handed to it is lost");
        report.add(unit.file, unit.span(id), message).hint(format!("did you mean `{near}`?")).done();
    }
}

/// Returns the list of those that an agent of a table hands on to.
fn list(unit: &Unit, agent: Id) -> Option<Id> {
    let pairs = match unit.kind(agent) {
        "object" | "dictionary" => agent,
        "call" => unit.syntax.child(agent, "arguments")?,
        _ => return None,
    };
    unit.syntax.children(pairs).find_map(|pair| {
        let key = unit.syntax.child(pair, "key").or_else(|| unit.syntax.child(pair, "name"))?;
        let name = unquoted(unit.text(key)).to_ascii_lowercase().replace('_', "");
        let value = unit.syntax.child(pair, "value")?;
        let listed = matches!(unit.kind(value), "array" | "list" | "tuple");
        (listed && LISTS.contains(&&*name)).then_some(value)
    })
}

/// Returns the letters of a name, in small ones.
fn letters(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
