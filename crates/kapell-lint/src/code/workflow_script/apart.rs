//! Whether agents that a script starts for several items work apart, or write one file.

use kapell_spec::{finding::Span, line};

use crate::code::{Id, Unit};

/// A file that several agents write at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// Its path, as the order names it.
    pub path: String,
    /// Where the order names it.
    pub span: Span,
}

/// Words of an order that keeps its agent to what it is about.
const KEPT: &[&str] = &[
    "this file only",
    "that file only",
    "only this file",
    "only that file",
    "touch only ",
    "edit only ",
    "change only ",
    "no other file",
    "stay inside ",
    "stay within ",
    "this folder only",
    "only this folder",
];

/// Tells whether an agent that is started for an item disturbs none of the others, whatever it changes: it has a working tree of its
/// own, is told to keep to its item, or writes nothing but a file of the item's name.
///
/// Source: <https://code.claude.com/docs/en/sub-agents>, `isolation`: with `worktree` an agent works in a git worktree of its own.
pub(super) fn keeps_apart(unit: &Unit, each: Id, call: Id) -> bool {
    let args = unit.args(call);
    let Some(order) = args.first().map(|arg| arg.value) else { return false };
    let Some(item) = unit.syntax.child(each, "left") else { return false };
    let mut named = unit.syntax.below(order).filter(|&id| unit.kind(id) == "identifier");
    let about = named.any(|id| unit.text(id) == unit.text(item));
    let lower = unit.text(order).to_ascii_lowercase();
    about
        && (has_tree(unit, call) == Some(true)
            || KEPT.iter().any(|words| lower.contains(words))
            || writes_its_own(unit.text(order), unit.text(item)))
}

/// Verbs of who changes more than the file that it is told to write.
const CHANGES_MORE: &[&str] = &[
    "fix",
    "implement",
    "commit",
    "push",
    "merge",
    "refactor",
    "migrate",
    "rename",
    "delete",
    "remove",
    "move",
    "install",
    "edit",
    "update",
    "add",
    "append",
    "run",
];

/// Tells whether an order has files written, and each under the name of an item: ``write them to locales/${language}.json``.
fn writes_its_own(order: &str, item: &str) -> bool {
    let lower = order.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphabetic());
    if words.any(|word| CHANGES_MORE.contains(&word)) {
        return false;
    }
    let name = item.rsplit(' ').next().unwrap_or(item).to_ascii_lowercase();
    let own = |path: &str| ["}", "."].iter().any(|end| path.contains(&format!("${{{name}{end}")));
    let verbs = ["write ", "writes ", "save ", "store ", "put "];
    let places: Vec<usize> =
        verbs.iter().flat_map(|verb| lower.match_indices(verb)).map(|(at, _)| at).collect();
    let to_own = |at: usize| {
        let sentence = lower[at..].split(". ").next().unwrap_or_default();
        let mut words = sentence.split_whitespace().skip_while(|word| !matches!(*word, "to" | "into" | "in"));
        words.nth(1).is_some_and(own)
    };
    !places.is_empty() && places.into_iter().all(to_own)
}

/// Tells whether an agent is given a working tree of its own. Nothing where its options cannot be seen.
fn has_tree(unit: &Unit, call: Id) -> Option<bool> {
    let args = unit.args(call);
    let Some(options) = args.get(1) else { return Some(false) };
    let given = unit.object_key(options.value, "isolation")?;
    Some(given.is_some_and(|value| unit.text(value).trim_matches(['"', '\'', '`']) == "worktree"))
}

/// Finds what agents that are started at once for several items are each told to write, though it is one file.
pub(super) fn clashes(unit: &Unit) -> Vec<Clash> {
    let mut found: Vec<Clash> = Vec::new();
    for call in unit.calls().filter(|&call| unit.callee_name(call) == "agent" && at_once(unit, call)) {
        let Some(order) = unit.args(call).first().map(|arg| arg.value) else { continue };
        if !matches!(unit.kind(order), "string" | "template_string") || has_tree(unit, call) != Some(false) {
            continue;
        }
        let start = unit.span(order).start as usize;
        let clash = written(unit.text(order)).map(|(at, path)| Clash {
            path: path.to_owned(),
            span: Span::new(start + at, start + at + path.len()),
        });
        found.extend(clash);
    }
    found
}

/// Tells whether a call runs for all items at once: `parallel(items.map((item) => () => agent(...)))`.
fn at_once(unit: &Unit, call: Id) -> bool {
    let around = unit.syntax.around(call).filter(|&id| unit.kind(id) == "call_expression");
    let names: Vec<&str> = around.map(|id| unit.callee_name(id)).collect();
    // What runs within another agent's turn, or in a pipeline, has an order of its own.
    matches!(names[..], ["map", "parallel" | "all", ..])
}

/// Verbs that put something into a file.
const WRITES: &[&str] =
    &["write", "add", "append", "save", "put", "insert", "record", "store", "update", "edit", "merge"];

/// Words right before a path that is written.
const INTO: &[&str] = &["to", "into", "as", "update", "edit"];

/// Words before `to` that only refer to a file.
const REFERS: &[&str] =
    &["according", "refer", "compared", "similar", "relative", "adhere", "conform", "keep", "stick", "link"];

/// Words of a sentence that forbids something, or speaks of who does not meet.
const SPARES: &[&str] = &["not ", "n't", "never", "only read", "instead", "lock", "own "];

/// Files that are read and written whole, by their endings: what is added to one is lost where another one writes it meanwhile.
const WHOLE: &[&str] = &["json", "yaml", "yml", "toml", "csv"];

/// Finds the one file that an order has written: neither a part of its path is filled in, nor is it a text that is only added to.
fn written(order: &str) -> Option<(usize, &str)> {
    let mut from = 0;
    for sentence in order.split_inclusive(". ").flat_map(|part| part.split_inclusive(".\n")) {
        let start = from;
        from += sentence.len();
        let lower = sentence.to_ascii_lowercase();
        if lower.len() != sentence.len() || SPARES.iter().any(|word| lower.contains(word)) {
            continue;
        }
        if let Some((at, path)) = paths(sentence).find(|&(at, path)| is_written(&lower[..at], path)) {
            return Some((start + at, path));
        }
    }
    None
}

/// Finds the paths of files in a sentence, none of whose parts are filled in.
fn paths(sentence: &str) -> impl Iterator<Item = (usize, &str)> {
    let words = sentence.split(|c: char| c.is_whitespace() || "`\"',;()".contains(c));
    words.filter_map(move |word| {
        let at = line::offset(sentence, word);
        let path = word.trim_end_matches(['.', ':']);
        let (folder, name) = path.rsplit_once('/')?;
        let (stem, ending) = name.rsplit_once('.')?;
        let plain =
            !path.contains(['$', '{', '}', '<', '>', '*', '[']) && !folder.is_empty() && !stem.is_empty();
        (plain && (2..=5).contains(&ending.len())).then_some((at, path))
    })
}

/// Tells whether what stands before a path in its sentence, in small letters, has it written: what is read and written whole by any
/// such verb, a text where it is written as a whole.
fn is_written(before: &str, path: &str) -> bool {
    let words: Vec<&str> =
        before.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let into = match words[..] {
        [.., refers, "to"] if REFERS.contains(&refers) => false,
        [.., last] => INTO.contains(&last),
        [] => false,
    };
    let whole = path.rsplit('.').next().is_some_and(|ending| WHOLE.contains(&ending));
    let partly = ["add", "append", "insert", "merge", "section", "line", "entry", "below"];
    let verb = words.iter().any(|word| WRITES.contains(word));
    into && verb && (whole || !words.iter().any(|word| partly.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_written() {
        let path = |order| written(order).map(|(_, path)| path);
        assert_eq!(
            path("`In ${page}, wrap the texts. Add the keys to locales/en.json, sorted.`"),
            Some("locales/en.json")
        );
        assert_eq!(path("'Look, then write what you found to `out/report.md`.'"), Some("out/report.md"));
        assert_eq!(path("`Write it to out/${page}.md`"), None);
        assert_eq!(path("`Write tests for ${page} according to docs/testing.md`"), None);
        assert_eq!(path("`Append a line to out/log.md`"), None);
        assert_eq!(path("`Fix ${page}. Do not write to locales/en.json.`"), None);
        assert_eq!(path("`Look up the keys in locales/en.json, and write nothing.`"), None);
    }

    #[test]
    fn a_file_of_the_name_of_an_item_is_its_own() {
        let own = |order| writes_its_own(order, "const language");
        assert!(own("`Translate this into ${language} and write it to locales/${language}.json: ${keys}`"));
        assert!(!own("`Translate this into ${language} and write it to locales/all.json`"));
        assert!(!own(
            "`Translate this into ${language}, write it to locales/${language}.json and commit it`"
        ));
        assert!(!own("`Translate this into ${language}`"));
    }
}
