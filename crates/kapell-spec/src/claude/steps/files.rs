//! The files that a step takes in and hands on.

use std::iter;

use super::Step;
use crate::{
    claude::{
        definition::{Definition, Named},
        handled::{handled, is_quoted, is_reading},
        markdown::Mark,
    },
    finding::Span,
    line,
};

/// Finds names of files in running words that no marks set apart: `save its numbers in ./tmp/baseline.md`.
pub(super) fn unmarked(text: &str, definition: &Definition, span: Span, marks: &[&Mark]) -> Vec<Mark> {
    let base = span.start as usize;
    let found = paths(&text[span.range()]).filter_map(|(offset, path)| {
        let place = Span::new(base + offset, base + offset + path.len());
        let fenced = definition.document.fence_at(place.start).is_some();
        let within = marks.iter().any(|mark| mark.span.start <= place.start && place.end <= mark.span.end);
        let link = text[..base + offset].ends_with(['(', '@', '[']);
        (!fenced && !within && !link).then(|| Mark { code: true, text: path.to_owned(), span: place })
    });
    found.collect()
}

/// Keys of lines that say which files a step takes in, and hands on.
const TAKES: &[&str] = &["input", "inputs", "reads"];
const GIVES: &[&str] = &["output", "outputs", "writes"];

/// Tells whether a line begins with one of the keys, in bold or not: `**Reads:** `x.md``, `Output: `y.md``.
fn is_keyed(trimmed: &str, keys: &[&str]) -> bool {
    let key = trimmed.split(':').next().unwrap_or_default();
    trimmed.contains(':') && keys.contains(&key.trim_end_matches('*'))
}

/// How many bytes before the name of a file may say what happens to it.
const BEFORE_MAX: usize = 90;

/// Notes a file whose name follows a verb: `writes its result to `x.md``, `from `x.md``, `merge `x.md` and `y.md``.
/// Returns whether it is written, so that the next one of a row is known too.
pub(super) fn marked(
    text: &str,
    span: Span,
    mark: &Mark,
    last: Option<(u32, bool)>,
    step: &mut Step,
) -> Option<bool> {
    let path = mark.text.trim();
    let (_, known) = paths(path).next().filter(|(_, known)| known.len() == path.len())?;
    let noted = |list: &[Named]| list.iter().any(|named| named.text == known);
    if path.contains(['*', '<', '[', '{']) || noted(&step.reads) || noted(&step.writes) {
        return noted(&step.writes).then_some(true).or(Some(false));
    }
    let row = last.filter(|(end, _)| {
        matches!(
            text.get(*end as usize..mark.span.start as usize).map(str::trim),
            Some("," | ", and" | "and" | "&" | "+")
        )
    });
    if let Some((_, written)) = row {
        let list = if written { &mut step.writes } else { &mut step.reads };
        list.push(Named { text: path.to_owned(), span: mark.span });
        return Some(written);
    }
    let at = mark.span.start as usize;
    let from = at.saturating_sub(BEFORE_MAX).max(span.start as usize);
    let from = (from..=at).find(|&from| text.is_char_boundary(from)).unwrap_or(at);
    let before = text[from..at].trim_end_matches('`');
    let breaks = ["\n\n", "\n- ", "\n* ", "\n#", "\n|", ". ", ".\n", "; "];
    let cut = breaks.iter().filter_map(|end| Some(before.rfind(end)? + end.len())).max().unwrap_or(0);
    let clause = before[cut..].to_ascii_lowercase();
    let words: Vec<&str> =
        clause.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // `the `profiler` agent → `profile.json``.
    let arrow = ["\u{2192}", "->", "=>"].iter().any(|arrow| before.trim_end().ends_with(arrow));
    if arrow {
        step.writes.push(Named { text: path.to_owned(), span: mark.span });
        return Some(true);
    }
    let (&last, rest) = words.split_last()?;
    // `as `x.md` says`, `what `x.md` lists`.
    let after = text.get(mark.span.end as usize..).unwrap_or_default().trim_start_matches(['`', '*', '"']);
    let gives = match handled(&words) {
        // `from `a.md` and `b.md``: what a name before it was, this is too.
        None if matches!(last, "and")
            && before.matches('`').count() >= 2
            && rest.first().is_some_and(|word| is_reading(word)) =>
        {
            false
        }
        None if matches!(last, "as" | "what" | "whatever") && is_quoted(after) => false,
        handled => handled?,
    };
    let list = if gives { &mut step.writes } else { &mut step.reads };
    list.push(Named { text: path.to_owned(), span: mark.span });
    Some(gives)
}

/// What stands before the name of a file that a command writes.
const PRINTS: &[&str] = &[
    " > ",
    " -o ",
    " --output ",
    " --output=",
    " --out ",
    " --out=",
    " --path ",
    " -cpuprofile ",
    " --cpuprofile ",
];

/// Notes the file that a command writes: `gh pr diff 1 > pr.diff`.
pub(super) fn printed(mark: &Mark, step: &mut Step) {
    let command = &mark.text;
    // Most marks hold a name and nothing else.
    if !command.as_bytes().windows(2).any(|pair| matches!(pair, b" >" | b" -")) {
        return;
    }
    let Some(at) = PRINTS.iter().filter_map(|flag| Some(command.rfind(flag)? + flag.len())).max() else {
        return;
    };
    let path = command[at..].split_whitespace().next().unwrap_or_default();
    let Some((_, known)) = paths(path).next().filter(|(_, known)| known.len() == path.len()) else { return };
    if !known.contains(['*', '<', '[', '{', '$']) && !step.writes.iter().any(|named| named.text == known) {
        step.writes.push(Named { text: known.to_owned(), span: mark.span });
    }
}

/// Notes which files a line takes in or hands on.
pub(super) fn transfers(line: &str, lower: &str, at: usize, fenced: bool, step: &mut Step) {
    let trimmed = lower.trim_start_matches([' ', '-', '*', '#', '>', '\t']);
    let inserts = lower.contains("[insert");
    let reads = inserts
        || trimmed.starts_with("read ")
        || trimmed.contains(". read ") && !fenced
        || !fenced && is_keyed(trimmed, TAKES);
    let writes = !inserts
        && (trimmed.starts_with("save ")
            || trimmed.starts_with("output file")
            || trimmed.starts_with("output:")
            || !fenced && is_keyed(trimmed, GIVES)
            || lower.contains("consolidate") && lower.contains(" into ")
            || !fenced && trimmed.starts_with("write ")
            || !fenced && (trimmed.starts_with("create ") || trimmed.starts_with("assemble `"))
            || lower.contains("save the output as"));
    step.reads_all |=
        reads && (lower.contains("all previous") || lower.contains("*.md") || lower.contains("all output"));
    let mut last: Option<(usize, bool)> = None;
    for (offset, path) in paths(line) {
        let named = Named { text: path.to_owned(), span: Span::new(at + offset, at + offset + path.len()) };
        let own = own_words(lower, offset, last).filter(|_| !inserts && (reads || writes));
        last = own.map(|made| (offset + path.len(), made));
        let (reads, writes) = own.map_or((reads, writes), |made| (!made, made));
        if path.ends_with("state.json") || path.contains(['*', '<', '[']) {
            continue;
        }
        let list = if reads && !lower.contains("update ") {
            &mut step.reads
        } else if writes {
            &mut step.writes
        } else {
            continue;
        };
        if !list.iter().any(|known| known.text == named.text) {
            list.push(named);
        }
    }
    for (offset, name) in outputs(line) {
        let named = Named { text: name.to_owned(), span: Span::new(at + offset, at + offset + name.len()) };
        if !step.reads.iter().any(|known| known.text == named.text) {
            step.reads.push(named);
        }
    }
}

/// Tells what the words right before a name do with it where its line begins with a word for something else: `Read `a.md` and
/// write the rest to `b.md``. What follows in a row is treated alike.
fn own_words(lower: &str, at: usize, last: Option<(usize, bool)>) -> Option<bool> {
    let near = (at.saturating_sub(BEFORE_MAX)..=at).find(|&near| lower.is_char_boundary(near))?;
    let before = lower.get(near..at)?.trim_end_matches('`');
    let row = |(end, made): (usize, bool)| {
        let between = before.get(end.checked_sub(near)?..)?.trim_start_matches('`').trim();
        matches!(between, "," | ", and" | "and" | "&" | "+").then_some(made)
    };
    if let Some(made) = last.and_then(row) {
        return Some(made);
    }
    let from = [". ", "; "].iter().filter_map(|end| Some(before.rfind(end)? + end.len())).max().unwrap_or(0);
    // The first name of a line belongs to its first word.
    let later = before[from..].contains('`') || before[from..].contains(" from ");
    let words: Vec<&str> =
        before[from..].split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // A sentence of its own that begins with such a verb makes what it names: `Read `a.md`. Write the plan to `b.md``.
    let makes = from > 0 && words.first().is_some_and(|first| matches!(*first, "write" | "save" | "store"));
    (later || makes).then(|| handled(&words)).flatten()
}

/// Notes what a heading leads to, `### 2. `x-y` → `z.json``, and what a line hands over: `Pass: `z.json`. Merge it into
/// `all.json`.` There each sentence is told apart, for what is checked afterwards is not handed over.
pub(super) fn passed(line: &str, at: usize, step: &mut Step) {
    let heading = line.starts_with('#');
    let arrow = ["\u{2192}", "->", "=>"].iter().find_map(|arrow| Some(line.find(arrow)? + arrow.len()));
    let mut first = true;
    for sentence in line.split_inclusive(". ") {
        let start = line::offset(line, sentence);
        let lower = sentence.trim_start().to_ascii_lowercase();
        let reads = first && !heading;
        let writes = !heading && (lower.starts_with("merge into ") || lower.starts_with("write "));
        for (offset, path) in paths(sentence) {
            let behind = arrow.is_some_and(|arrow| start + offset >= arrow);
            let list = match (reads, writes || heading && behind) {
                (_, true) => &mut step.writes,
                (true, false) => &mut step.reads,
                (false, false) => continue,
            };
            let place = at + start + offset;
            if !path.contains(['*', '<', '[', '{']) && !list.iter().any(|known| known.text == path) {
                list.push(Named { text: path.to_owned(), span: Span::new(place, place + path.len()) });
            }
        }
        // The number of a heading ends no sentence.
        first &= heading || sentence.trim().len() < 8;
    }
}

/// What follows the last dot in names of files that hold text or data.
const ENDINGS: &[&str] = &[
    "md", "json", "yaml", "yml", "txt", "csv", "jsonl", "tsv", "ndjson", "xml", "html", "sql", "diff",
    "patch", "log", "mmd", "dot", "puml", "sarif", "parquet", "pprof", "toml", "png", "svg", "pdf", "wav",
    "mp3", "mp4", "ipa", "apk", "zip", "tgz", "sqlite", "pkl", "xlsx", "docx",
];

/// Finds names of files that hold text or data, each with its place in the line.
pub fn paths(line: &str) -> impl Iterator<Item = (usize, &str)> {
    dotted(line).filter_map(move |word| {
        let path = word.trim_end_matches(['.', ':', ']', '*']).trim_start_matches(['*', '[']);
        let known = path.rsplit_once('.').is_some_and(|(_, end)| ENDINGS.contains(&end));
        (known && path.len() > 4).then(|| (line::offset(line, path), path))
    })
}

/// Returns the words with a dot in them: few have one, and the others are not even looked for.
fn dotted(text: &str) -> impl Iterator<Item = &str> {
    let breaks = |c: char| c.is_whitespace() || "`\"'(),;|".contains(c);
    let mut rest = text;
    iter::from_fn(move || {
        let dot = memchr::memchr(b'.', rest.as_bytes())?;
        let start = rest[..dot]
            .rfind(breaks)
            .map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
        let end = rest[dot..].find(breaks).map_or(rest.len(), |len| dot + len);
        let word = &rest[start..end];
        rest = &rest[end..];
        Some(word)
    })
}

/// Finds `{phase1.data-engineer.output}`.
fn outputs(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.match_indices('{').filter_map(|(at, _)| {
        let inner = line[at + 1..].split('}').next()?;
        let is_output = inner.starts_with("phase") && inner.contains(".output") && inner.len() < 100;
        is_output.then_some((at + 1, inner))
    })
}
