//! Modules are listed ground first, and none imports from above.

use std::collections::BTreeSet;

use super::{Complaint, Tree, source::Code};

/// Crates that are bound whatever their `lib.rs` says. Others are once they claim an order.
const BOUND: &[&str] = &["kapell-core", "kapell-policy"];
const CLAIM: &str = "The modules stand in the order";

/// Modules of one crate that may know each other: the state, and what alone may change it.
const GROUPS: &[(&str, &[&str])] = &[("kapell-core", &["run", "decide", "settle", "effect"])];

/// Looks for a `crate::` that leads up.
pub(super) fn modules(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for name in tree.crates() {
        let src = format!("crates/{name}/src/");
        let Some(lib) = tree.get(&format!("{src}lib.rs")) else { continue };
        if !BOUND.contains(&name) && !lib.contains(CLAIM) {
            continue;
        }
        let listed = listed(lib);
        let place = |module: &str| listed.iter().position(|known| known == module);
        for (path, text) in tree.ending(".rs").filter(|(path, _)| path.starts_with(&src)) {
            let top = path[src.len()..].split('/').next().unwrap_or_default().trim_end_matches(".rs");
            let Some(own) = place(top) else { continue };
            let code: String = Code::of(text).proper().flat_map(|(_, line)| [line, "\n"]).collect();
            for used in imported(&code) {
                if place(&used).is_some_and(|other| other > own) && !are_of_one_group(name, top, &used) {
                    let what = format!("`{top}` imports `{used}`, which lib.rs lists above it");
                    complaints.push(Complaint::new(path, 0, what));
                }
            }
        }
    }
    complaints
}

fn are_of_one_group(name: &str, one: &str, other: &str) -> bool {
    GROUPS.iter().any(|(owner, group)| *owner == name && group.contains(&one) && group.contains(&other))
}

/// Returns the modules of `lib.rs` in their order. One that is there only under a condition is a tool of the others,
/// and has no place.
fn listed(lib: &str) -> Vec<String> {
    let mut modules = Vec::new();
    let mut conditional = false;
    for (_, line) in Code::of(lib).lines() {
        let line = line.trim();
        let declared = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ");
        let module = declared.and_then(|rest| rest.strip_suffix(';'));
        modules.extend(module.filter(|_| !conditional).map(|module| module.trim().to_owned()));
        conditional = line.starts_with("#[cfg");
    }
    modules
}

/// Returns the first names of all paths that start at the crate, in groups as well.
fn imported(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (start, marker) in code.match_indices("crate::") {
        let rest = &code[start + marker.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(heads(group)),
            None => names.extend(name(rest)),
        }
    }
    names
}

/// Returns the first name of each member of a group, up to its closing brace.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut fresh, mut found) = (0_usize, true, Vec::new());
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && depth == 0 && !c.is_whitespace() => {
                found.extend(name(&group[index..]));
                fresh = false;
            }
            _ => {}
        }
    }
    found
}

fn name(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::said, *};

    const LIB: &str = "pub mod id; // ground\npub mod run;\n\nmod decide;\npub mod effect;\n\n#[cfg(x)]\npub mod planted;\n";

    #[test]
    fn an_import_from_above_is_found_however_it_is_written() {
        let files = [
            ("crates/kapell-core/Cargo.toml", ""),
            ("crates/kapell-core/src/lib.rs", LIB),
            ("crates/kapell-core/src/id.rs", "use crate::{\n planted::X,\n effect::{self, run},\n};"),
            ("crates/kapell-core/src/id/deep.rs", "fn f() { crate::decide::go() }"),
            ("crates/kapell-core/src/effect.rs", "use crate::{decide, id};"),
        ];
        assert_eq!(
            said(modules, &files),
            "crates/kapell-core/src/id.rs: `id` imports `effect`, which lib.rs lists above it\n\
             crates/kapell-core/src/id/deep.rs: `id` imports `decide`, which lib.rs lists above it"
        );
    }

    #[test]
    fn the_documented_group_tests_and_comments_are_free() {
        let run = "// crate::effect\nuse crate::decide;\n#[cfg(test)]\nmod tests {\n use crate::effect;\n}";
        let files = [
            ("crates/kapell-core/Cargo.toml", ""),
            ("crates/kapell-core/src/lib.rs", LIB),
            ("crates/kapell-core/src/run.rs", run),
            ("crates/kapell-core/src/id.rs", "#[cfg(test)]\nmod tests {\n use crate::effect;\n}"),
        ];
        assert_eq!(said(modules, &files), "");
    }

    #[test]
    fn a_claim_of_order_is_held_to() {
        let free = "mod a;\nmod b;";
        let bound = format!("//! {CLAIM} in which to read them.\n{free}");
        for (lib, complaints) in [(free, 0), (&*bound, 1)] {
            let files = [
                ("crates/kapell-view/Cargo.toml", ""),
                ("crates/kapell-view/src/lib.rs", lib),
                ("crates/kapell-view/src/a.rs", "use crate::b::B;"),
            ];
            assert_eq!(said(modules, &files).lines().count(), complaints, "{lib}");
        }
    }
}
