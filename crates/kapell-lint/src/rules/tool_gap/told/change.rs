//! What an agent is told to write and to edit.

use std::sync::LazyLock;

use kapell_spec::{finding::Span, line, words::Words};

use super::{clause, code_spans, is_for_others, is_order_for_others, run::is_a_cause};
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

/// Finds an order to edit files: one of the fixed ones, or one that names the file.
pub(in crate::rules::tool_gap) fn to_edit(agent: &Asset, text: &str) -> Option<Span> {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(EDITS));
    let body = agent.definition.body as usize;
    let document = &agent.definition.document;
    let fixed = WORDS.places(text.get(body..)?).find_map(|(number, at)| {
        let at = body + at;
        if document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some() {
            return None;
        }
        let before = &text[line::start(text, at)..at];
        let head = before.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        let own = head.is_empty() || head.trim_end().ends_with(['.', ';', ':', ',']);
        let whole = text[line::start(text, at)..line::end(text, at)].to_ascii_lowercase();
        let span = Span::new(at, at + EDITS[number].trim_end().len());
        (own && !is_for_others(&whole) && !is_a_cause(agent, text, span)).then_some(span)
    });
    fixed.or_else(|| to_edit_file(agent, text))
}

/// Orders after which a file is another one.
const ALTERS: &[&str] = &[
    "add",
    "insert",
    "append",
    "edit",
    "update",
    "fix",
    "replace",
    "rename",
    "remove",
    "delete",
    "rewrite",
    "modify",
    "change",
    "bump",
    "raise",
    "wrap",
    "convert",
    "apply",
    "translate",
    "register",
    "set",
    "mark",
    "sort",
    "move",
];

/// Words between such an order and the file that it is done to.
const IN_FILE: &[&str] = &["in", "to", "into", "of", "from", "at", "under", "inside"];

/// Endings of files that are kept in repositories.
const KEPT: &[&str] = &[
    ".rs",
    ".go",
    ".java",
    ".kt",
    ".rb",
    ".php",
    ".cs",
    ".swift",
    ".scala",
    ".ex",
    ".exs",
    ".vue",
    ".svelte",
    ".css",
    ".scss",
    ".xml",
    ".gradle",
    ".tf",
    ".proto",
    ".graphql",
    ".lock",
    ".ini",
    ".cfg",
    ".sh",
    ".mod",
    ".po",
    ".dart",
    ".tpl",
    ".properties",
];

/// Names of files that everybody knows.
const KNOWN: &[&str] =
    &["Makefile", "Dockerfile", "Gemfile", "Podfile", "Procfile", "Justfile", "CODEOWNERS"];

/// Tells whether a word is the name of a file.
fn is_file(word: &str) -> bool {
    let word = word.trim_matches(['`', '"', '\'', '*', '(', ')']).trim_end_matches([',', '.', ';', ':']);
    let name = word.rsplit('/').next().unwrap_or(word).trim_matches('`');
    let stem = |end: &&&str| name.len() > end.len() && name.ends_with(**end);
    KNOWN.contains(&name) || WRITTEN.iter().chain(KEPT).find(stem).is_some()
}

/// Finds an order that names the file that it changes: ``Add the key to `locales/en.json` ``.
fn to_edit_file(agent: &Asset, text: &str) -> Option<Span> {
    let body = agent.definition.body as usize;
    let document = &agent.definition.document;
    let mut at = body;
    for line in text.get(body..)?.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let own = line.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        // Most lines have neither a path nor a name with an ending.
        if own.starts_with(['#', '|']) || !own.contains(['.', 'f', 'O']) || own.len() < 12 {
            continue;
        }
        let mut from = start + (line.len() - own.len());
        for sentence in own.split(". ") {
            let begin = from;
            from += sentence.len() + 2;
            let Some(len) = alters_file(sentence) else { continue };
            let span = Span::new(begin, begin + len);
            let fenced = document.fence_at(u32::try_from(begin).unwrap_or(u32::MAX)).is_some();
            if !fenced && !is_for_others(sentence) && !is_a_cause(agent, text, span) {
                return Some(span);
            }
        }
    }
    None
}

/// Returns where the name of the file ends that a sentence orders to be changed. Only what stands in the order itself counts,
/// not what its end tells of.
fn alters_file(sentence: &str) -> Option<usize> {
    let mut words = sentence.split([' ', '\n']).filter(|word| !word.is_empty());
    let mut first = words.next()?;
    if matches!(first, "Then" | "then" | "Finally," | "Always") {
        first = words.next()?;
    }
    if !ALTERS.iter().any(|verb| verb.eq_ignore_ascii_case(first)) {
        return None;
    }
    let mut before = first;
    for (count, word) in words.enumerate() {
        let leads = IN_FILE.contains(&before) || count == 0 || count == 1 && before == "the";
        if leads && is_file(word) {
            return Some(line::offset(sentence, word) + word.len());
        }
        // What follows says how, or is said of something else.
        if word.ends_with([',', ';', ':', ')']) || matches!(word, "that" | "which" | "as" | "so" | "with") {
            return None;
        }
        before = word;
    }
    None
}
