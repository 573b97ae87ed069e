//! Files that one agent reads while another one writes them.

use kapell_spec::claude::{handled::handled, starts::Start, steps::paths};

use super::{Asset, tells_parallel};

/// A file that one agent reads while another one writes it.
#[derive(Debug)]
pub struct Handed<'a> {
    /// The file.
    pub file: &'a str,
    /// Who writes it.
    pub writer: &'a Start,
    /// Who reads it.
    pub reader: &'a Start,
    /// Whether the reader writes it as well, and so over what the other one has written.
    pub over: bool,
}

/// Words of who writes a part of a file, which others leave alone.
const PARTLY: &[&str] = &["append", "section", "add", "heading", "line", "entry", "insert", "merge", "part"];

/// Tells whether two starts each write a file whole.
fn written_over(text: &str, starts: [&Start; 2]) -> bool {
    starts.iter().all(|start| {
        let own = text.get(start.words.start as usize..start.span.end as usize).unwrap_or_default();
        let own = own.to_ascii_lowercase();
        !PARTLY.iter().any(|word| own.contains(word))
    })
}

/// Finds files that are handed on between agents that a section starts at the same time, by what stands above them.
#[must_use]
pub fn handed_at_once<'a>(asset: &'a Asset, text: &'a str) -> Vec<Handed<'a>> {
    let mut found = Vec::new();
    let mut known: Vec<Option<Vec<Used<'a>>>> = vec![None; asset.starts.len()];
    for (at, one) in asset.starts.iter().enumerate() {
        let same = asset.starts.iter().filter(|other| other.group == one.group);
        let Some(first) = same.map(|start| start.span.start).min() else { continue };
        let above = text.get(one.group.start as usize..first as usize).unwrap_or_default();
        if !tells_parallel(above) {
            continue;
        }
        for next in at + 1..asset.starts.len() {
            let other = &asset.starts[next];
            if other.group != one.group {
                continue;
            }
            for (writer, reader) in [(at, next), (next, at)] {
                for start in [writer, reader] {
                    known[start].get_or_insert_with(|| files(text, &asset.starts[start]));
                }
                let (Some(theirs), Some(own)) = (&known[writer], &known[reader]) else { continue };
                let made =
                    |name: &str| theirs.iter().any(|(other, done)| *other == name && *done == Some(true));
                let first = writer < reader;
                let file = own.iter().find(|(name, done)| *done != Some(true) && made(name));
                let twice = own.iter().find(|(name, done)| first && *done == Some(true) && made(name));
                let (writer, reader) = (&asset.starts[writer], &asset.starts[reader]);
                let twice = twice.filter(|_| written_over(text, [writer, reader]));
                found.extend(file.map(|(file, _)| Handed { file, writer, reader, over: false }));
                found.extend(twice.map(|(file, _)| Handed { file, writer, reader, over: true }));
            }
        }
    }
    found
}

/// The name of a file, and whether it is made, taken in, or only named.
type Used<'a> = (&'a str, Option<bool>);

/// The files that the words of a start name, each with whether it is made there, taken in, or only named.
fn files<'a>(text: &'a str, start: &Start) -> Vec<Used<'a>> {
    let own = text.get(start.words.start as usize..start.span.end as usize).unwrap_or_default();
    let mut parts = own.split('`');
    let mut marked = Vec::new();
    // Every second part stands between backticks.
    while let (Some(_), Some(name)) = (parts.next(), parts.next()) {
        if name.contains(['/', '.']) && !name.contains(char::is_whitespace) {
            marked.push((name.as_ptr() as usize - own.as_ptr() as usize, name));
        }
    }
    let bare = paths(own).filter(|(at, _)| marked.binary_search_by_key(at, |(other, _)| *other).is_err());
    let bare: Vec<(usize, &str)> = bare.collect();
    let named = marked.iter().copied().chain(bare);
    named.filter_map(|(at, name)| Some((name, done_with(&own[..at])?))).collect()
}

/// How many bytes before the name of a file may say what is done with it.
const SENTENCE_MAX: usize = 200;

/// Tells what a sentence up to the name of a file does with it; nothing where it says that it leaves it alone, or that it
/// waits for it.
fn done_with(before: &str) -> Option<Option<bool>> {
    let ends = [". ", ".\n", "; ", "\n\n"];
    let near = before.len().saturating_sub(SENTENCE_MAX);
    let before = &before[(near..=before.len()).find(|&near| before.is_char_boundary(near))?..];
    let from = ends.iter().filter_map(|end| Some(before.rfind(end)? + end.len())).max().unwrap_or(0);
    let sentence = before[from..].to_ascii_lowercase();
    let left = [
        "do not ",
        "does not ",
        "must not ",
        "may not ",
        "should not ",
        "n't ",
        "never",
        "except",
        "without",
        "ignore",
        "skip",
        "wait",
        "once ",
        "after ",
        "compared to",
    ];
    if left.iter().any(|word| sentence.contains(word)) {
        return None;
    }
    let words: Vec<&str> =
        sentence.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let arrow = sentence.trim_end_matches(['`', ' ']).ends_with(['\u{2192}', '>']);
    let to = words.last().is_some_and(|last| matches!(*last, "to" | "into")) && !words.contains(&"according");
    Some(if arrow || to { Some(true) } else { handled(&words) })
}
