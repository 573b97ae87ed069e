//! Files that one agent reads while another one writes them.

use std::cell::LazyCell;

use kapell_spec::{
    claude::{handled::handled, starts::Start, steps::paths},
    line,
};

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
    let waits = LazyCell::new(|| waits(text));
    for (at, one) in asset.starts.iter().enumerate() {
        let same = asset.starts.iter().filter(|other| other.group == one.group);
        let Some(first) = same.map(|start| start.span.start).min() else { continue };
        let above = text.get(one.group.start as usize..first as usize).unwrap_or_default();
        if !tells_parallel(above) {
            continue;
        }
        for next in at + 1..asset.starts.len() {
            let other = &asset.starts[next];
            if other.group != one.group || is_parted(&waits, one, other) {
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

/// Words in a key about what others have made before.
const BEFORE: &[&str] = &["previous", "prior", "earlier", "upstream", "last"];

/// Tells whether words in small letters end below a key for what others have made: `wave_1_outputs:`, `previous-results:`.
fn is_of_others(sentence: &str) -> bool {
    let Some((head, _)) = sentence.rsplit_once(':') else { return false };
    let key =
        head.rsplit(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))).next().unwrap_or_default();
    let made = ["output", "outputs", "result", "results"];
    let parts = || key.split(['_', '-']);
    parts().next_back().is_some_and(|last| made.contains(&last))
        && parts().any(|part| {
            BEFORE.contains(&part) || !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
        })
}

/// Words that count those who are waited for.
const ALL: &[&str] = &["all", "both", "every", "each", "these", "those"];

/// Beginnings of words for how those end who are waited for.
const ENDED: &[&str] = &["complet", "finish", "return", "done", "end", "report", "succe"];

/// How many words stand between the one that counts those who are waited for and the one that ends them.
const WAITED_MAX: usize = 8;

/// Returns where the lines begin that wait for all that were started before: `After all 4 agents complete, spawn ...`.
fn waits(text: &str) -> Vec<usize> {
    let lines = text.lines().filter(|line| waits_for_all(line));
    lines.map(|line| line::offset(text, line)).collect()
}

/// Tells whether one of the `waits` of a text stands between two starts.
fn is_parted(waits: &[usize], one: &Start, other: &Start) -> bool {
    let (one, other) = (one.span.start as usize, other.span.start as usize);
    let next = waits.partition_point(|wait| *wait <= one.min(other));
    waits.get(next).is_some_and(|wait| *wait <= one.max(other))
}

/// Tells whether a line waits until all that were started have ended.
fn waits_for_all(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    if !ALL.iter().any(|word| lower.contains(word)) {
        return false;
    }
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    (1..words.len()).any(|at| {
        let waits = matches!(words[at - 1], "after" | "once" | "when" | "until")
            || words[at - 1] == "for" && at > 1 && matches!(words[at - 2], "wait" | "waits" | "waiting");
        let behind = &words[at + 1..(at + 1 + WAITED_MAX).min(words.len())];
        let ended = || behind.iter().any(|word| ENDED.iter().any(|known| word.starts_with(known)));
        ALL.contains(&words[at]) && waits && (words[at - 1] == "for" || ended())
    })
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
            marked.push((line::offset(own, name), name));
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
    if is_of_others(&sentence) {
        return Some(Some(false));
    }
    let words: Vec<&str> =
        sentence.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let arrow = sentence.trim_end_matches(['`', ' ']).ends_with(['\u{2192}', '>']);
    let to = words.last().is_some_and(|last| matches!(*last, "to" | "into")) && !words.contains(&"according");
    Some(if arrow || to { Some(true) } else { handled(&words) })
}

#[cfg(test)]
mod tests {
    use super::{is_of_others, waits_for_all};

    #[test]
    fn a_key_may_say_that_others_have_made_it() {
        assert!(is_of_others("note it. wave_1_outputs:\n  - ") && is_of_others("previous-results: "));
        assert!(!is_of_others("outputs:\n  - ") && !is_of_others("write the results to: "));
    }

    #[test]
    fn a_line_that_waits_for_all_parts_those_before_from_those_behind() {
        assert!(waits_for_all("After all 4 agents complete, spawn the synthesizer:"));
        assert!(waits_for_all("Wait for all 3 agents."));
        assert!(waits_for_all("Once both reviewers have returned, start `merger`."));
        assert!(!waits_for_all("After all, this is a small change."));
        assert!(!waits_for_all("Do not wait for one to end; start all of them in one message."));
    }
}
