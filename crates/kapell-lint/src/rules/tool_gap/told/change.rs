//! What an agent is told to write and to edit.

use std::sync::LazyLock;

use kapell_spec::{finding::Span, line, words::Words};

use super::{clause, code_spans, is_for_others, is_order_for_others};
use crate::agents::Asset;

/// Verbs of orders that often stand before another one.
const FIRST: &[&str] = &[
    "read",
    "analyze",
    "analyse",
    "review",
    "collect",
    "gather",
    "scan",
    "inspect",
    "explore",
    "study",
    "identify",
    "summarize",
    "summarise",
    "list",
    "draft",
    "find",
];

/// Returns the last order of a clause that is a row of them: `read the code and write the plan to`, `look at it, then write`.
fn last_order(clause: &str) -> &str {
    if let Some((_, last)) = clause.rsplit_once(", then ") {
        return last;
    }
    let first = clause.split(' ').next().unwrap_or_default();
    let last = [" and then ", " and ", " then "]
        .iter()
        .filter_map(|link| Some(clause.rfind(link)? + link.len()))
        .max();
    last.filter(|_| FIRST.contains(&first)).map_or(clause, |at| &clause[at..])
}

/// Endings of files that agents write.
const WRITTEN: &[&str] = &[
    ".md", ".json", ".yaml", ".yml", ".txt", ".html", ".csv", ".toml", ".ts", ".tsx", ".js", ".py", ".jsonl",
    ".sql",
];

/// Finds the first place that tells to write a file: `Write the plan to \`docs/plan.md\``. What stands in blocks of code
/// is for others.
pub(in crate::rules::tool_gap) fn to_write<'a>(agent: &Asset, text: &'a str) -> Option<(Span, &'a str)> {
    code_spans(agent, text).find_map(|(span, before)| {
        let clause = clause(before);
        let clause = last_order(&clause);
        let verbs = [
            "write", "save", "append", "create", "output", "store", "record", "persist", "update", "put",
            "dump",
        ];
        let mut words = clause.split(|c: char| !c.is_ascii_alphanumeric());
        let first = words.next().unwrap_or_default();
        let led = ["then", "and", "must", "always", "should"].contains(&first);
        let tells = (verbs.contains(&first) || led && words.next().is_some_and(|word| verbs.contains(&word)))
            && (["to", "at", "in", "file", "into", "as"]
                .iter()
                .any(|word| clause.ends_with(&format!(" {word}")))
                || first == "update"
                // What is written directly: `create \`docs/adr/0007-title.md\``.
                || direct(clause));
        let path = text[span.range()].trim_matches('`');
        let is_file = !has_blank(path)
            && !path.starts_with(['.', '-', '*'])
            && WRITTEN.iter().any(|end| path.ends_with(end))
            && (path.contains('/') || path.ends_with(".md") || path.ends_with(".json"));
        (tells && is_file && !is_order_for_others(before)).then_some((span, path))
    })
}

/// Tells whether a path has a blank outside of what stands for something: `docs/adr/<next number>-<slug>.md` has none.
fn has_blank(path: &str) -> bool {
    let mut depth = 0_i32;
    path.chars().any(|c| {
        depth += i32::from(matches!(c, '<' | '{' | '[')) - i32::from(matches!(c, '>' | '}' | ']'));
        c == ' ' && depth <= 0
    })
}

/// Tells whether a clause ends with an order to write what follows: `then create`, `Write the`.
fn direct(clause: &str) -> bool {
    let words = clause.split_whitespace().rev();
    let mut words = words.skip_while(|word| matches!(*word, "a" | "an" | "the" | "new" | "file" | "up"));
    words.next().is_some_and(|word| matches!(word, "create" | "write" | "append" | "generate"))
}

/// Orders to edit, at the head of a sentence.
const EDITS: &[&str] = &[
    "edit the file",
    "edit files ",
    "edit each ",
    "edit the test",
    "edit the code",
    "edit the source",
    "edit the script",
    "edit the config",
    "rename the symbol",
    "rename the function",
    "rename the class",
    "rename the variable",
    "update every import",
    "update all imports",
    "update the imports",
    "replace every ",
    "remove the dead code",
    "remove unused imports",
    "split the file",
    "edit the function",
    "edit the class",
    "edit the module",
    "fix each of them",
    "fix each one",
    "fix each error",
    "fix every error",
    "mend each ",
    "mend every ",
    "repair each ",
    "correct each ",
    "correct the file",
    "fix them in place",
    "fix it in place",
    "apply the fix",
    "apply the change",
    "apply the patch",
    "apply your change",
    "make the edit",
    "modify the file",
    "rewrite the file",
    "update the file",
    "rename the file",
    "extract the class into",
    "extract it into",
    "update all usages",
    "update all callers",
    "update every caller",
    "repair the selectors",
    "repair the test",
    "fix the test",
    "fix the code",
    "fix what it reports",
    "fix what they report",
    "fix what failed",
    "make the change",
    "make the smallest change",
    "delete the dead code",
    "delete the file",
    "replace the import",
    "add the missing import",
    "add the missing test",
];

/// Finds an order to edit files.
pub(in crate::rules::tool_gap) fn to_edit(agent: &Asset, text: &str) -> Option<Span> {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(EDITS));
    let body = agent.definition.body as usize;
    let document = &agent.definition.document;
    WORDS.places(text.get(body..)?).find_map(|(number, at)| {
        let at = body + at;
        if document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some() {
            return None;
        }
        let before = &text[line::start(text, at)..at];
        let head = before.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        let own = head.is_empty() || head.trim_end().ends_with(['.', ';', ':', ',']);
        let whole = text[line::start(text, at)..line::end(text, at)].to_ascii_lowercase();
        (own && !is_for_others(&whole)).then(|| Span::new(at, at + EDITS[number].trim_end().len()))
    })
}
