//! Which agents that a command starts one after the other could work side by side, by the words of their starts.
//!
//! Two neighbours are independent where the later one says what it takes in and the earlier one is not among it, or where
//! both only look at what is there and neither speaks of the other. Words that may mean anything that went before
//! (`the previous results`) settle nothing, and then nothing is said.

mod handed; // files between agents that work at the same time
mod words;

use std::collections::BTreeSet;

use kapell_spec::claude::{
    starts::{Start, Vague, without_order},
    steps::{Step, is_gate},
};

use self::words::{CHECKS, CHOOSES, COMMON, CONTEXT, ENDS, ORDERS, REASONS};
pub use self::{
    handed::{Handed, handed_at_once},
    words::{tells_parallel, tells_parallel_of},
};
use super::Asset;

/// Neighbours that could work side by side.
#[derive(Debug)]
pub struct Row<'a> {
    /// Them, in the order of the text: at least two.
    pub starts: Vec<&'a Start>,
    /// Whether the text counts them, and so puts them in order.
    pub counted: bool,
    /// Whether each but the first says what it takes in.
    pub said: bool,
}

/// Finds the rows of a command. Where it says that work runs in parallel, or why it does not, there is none.
#[must_use]
pub fn rows<'a>(asset: &'a Asset, text: &str) -> Vec<Row<'a>> {
    let starts = &asset.starts;
    let mut rows: Vec<Row<'a>> = Vec::new();
    let Some(first) = starts.first() else { return rows };
    // What stands above all of them is for all of them.
    let intro = text.get(..first.group.start.max(asset.definition.body) as usize).unwrap_or_default();
    let rest = starts.last().and_then(|last| text.get(last.span.end as usize..)).unwrap_or_default();
    let led = |line: &&str| ORDERS.is_in(line) && !line.starts_with("[Extended thinking");
    if intro.lines().chain(rest.lines()).filter(led).any(tells_parallel) {
        return rows;
    }
    let reasoned = REASONS.is_in(intro);
    let mut row: Vec<&Start> = Vec::new();
    for start in starts.iter() {
        let group = row.last().filter(|last| last.group == start.group);
        // One start that the text names twice.
        if row.last().is_some_and(|last| is_short_for(&last.agent.text, &start.agent.text)) {
            row.pop();
            row.push(start);
            continue;
        }
        if group.is_some() && row.iter().all(|earlier| independent(asset, text, earlier, start).is_some()) {
            row.push(start);
            continue;
        }
        rows.extend(finish(asset, text, std::mem::replace(&mut row, vec![start])));
    }
    rows.extend(finish(asset, text, row));
    // That each works on what the one before has made is soon said; where each says what it takes, that counts.
    rows.retain(|row| row.said || !reasoned);
    // Who does what is listed in any order where the order was told above.
    let above = |row: &Row<'_>| text.get(asset.definition.body as usize..row.starts[0].span.start as usize);
    rows.retain(|row| row.counted || !keeps_order(above(row).unwrap_or_default()));
    rows
}

/// Tells whether a text asks for steps in order: `Complete steps 1-7 in order`. What is done in order to reach something
/// is something else.
fn keeps_order(text: &str) -> bool {
    text.match_indices(" in order").any(|(at, words)| !text[at + words.len()..].starts_with(" to"))
}

fn finish<'a>(asset: &Asset, text: &str, starts: Vec<&'a Start>) -> Option<Row<'a>> {
    let (first, last) = (*starts.first()?, *starts.last()?);
    if starts.len() < 2 || told(text, first, last) {
        return None;
    }
    let counted = starts.iter().all(|start| start.number.is_some()) || first.phase != last.phase;
    let said = starts.windows(2).all(|pair| independent(asset, text, pair[0], pair[1]) == Some(Why::Said));
    Some(Row { starts, counted, said })
}

/// Tells whether the section around says that they run in parallel, or why they do not. Prompts are for the agents.
fn told(text: &str, first: &Start, last: &Start) -> bool {
    let slice = |from: u32, to: u32| text.get(from as usize..to as usize).unwrap_or_default();
    let whole = slice(first.group.start, first.span.start);
    // Where a group is the whole text, what stands far above the first is about something else.
    let preface = whole.rsplit("\n# ").next().unwrap_or(whole);
    let after = slice(last.span.end.min(first.group.end), first.group.end);
    let within = slice(first.span.start, last.span.end);
    let own = within.lines().scan(false, |prompt, line| {
        let lower = line.trim_start_matches(['-', '*', ' ', '\t']).to_ascii_lowercase();
        *prompt =
            lower.starts_with("prompt") || *prompt && !lower.is_empty() && !line.starts_with(['#', '-']);
        Some((*prompt, line))
    });
    let said: String = own.filter(|(prompt, _)| !prompt).flat_map(|(_, line)| [line, "\n"]).collect();
    let gated = said.lines().any(|line| line.starts_with('#') && is_gate(line));
    gated
        || [preface, after, &said].iter().any(|part| tells_parallel(part))
        || REASONS.is_in(preface)
        || CHOOSES.is_in(preface)
}

/// Why two are taken for independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The later one says what it takes in.
    Said,
    /// Both only look, and neither speaks of the other.
    Looks,
    /// One agent is called in the same words, each time for another thing.
    Again,
}

/// Tells whether two starts call one agent in the same words but for one: `Run the `x` agent for `en``, and then for `fr`.
fn calls_again(text: &str, earlier: &Start, later: &Start) -> bool {
    if earlier.agent.text != later.agent.text || earlier.number.is_none() || later.number.is_none() {
        return false;
    }
    let said = |start: &Start| -> Vec<String> {
        let own = text.get(start.span.range()).unwrap_or_default().to_ascii_lowercase();
        let own = without_order(&own);
        let words = own.split(|c: char| c.is_whitespace() || ".,;:()".contains(c));
        let words = words.filter(|word| !word.is_empty() && !word.bytes().all(|byte| byte.is_ascii_digit()));
        words
            .filter(|word| !matches!(*word, "then" | "next" | "finally" | "last" | "-"))
            .map(str::to_owned)
            .collect()
    };
    let (one, other) = (said(earlier), said(later));
    let differ = one.iter().zip(&other).filter(|(one, other)| one != other).count();
    one.len() == other.len() && one.len() <= CALL_WORDS_MAX && differ == 1 && one.last() != other.last()
}

/// How many words a call may have that says nothing but who works on what.
const CALL_WORDS_MAX: usize = 10;

fn independent(asset: &Asset, text: &str, earlier: &Start, later: &Start) -> Option<Why> {
    let lower = own_words(text, later)?;
    // One sentence sends both to work, on the same.
    let led = earlier.led && later.led && earlier.group == later.group;
    let again = calls_again(text, earlier, later);
    let free = earlier.sure
        && later.sure
        && !earlier.asks
        && !later.asks
        && (again || !says(&later.title, ENDS) || led && earlier.looks && later.looks)
        && (led || !says(&later.title, CHECKS) || says(&earlier.title, CHECKS) || earlier.looks)
        && !hands_files(asset, earlier)
        && !hands_files(asset, later)
        && later.takes.vague < Vague::All
        && (led
            || (earlier.looks || says(&earlier.title, CHECKS))
                == (later.looks || says(&later.title, CHECKS)))
        && !means(later, earlier)
        && !refers_back(text, later)
        && !speaks_of(&lower, earlier, later);
    if !free {
        return None;
    }
    if again {
        return Some(Why::Again);
    }
    let before = asset.starts.iter().filter(|start| start.span.end <= earlier.span.start);
    let declares = CONTEXT.iter().any(|key| lower.contains(key));
    let mut taken = before.filter(|start| {
        means(later, start) || mentions(&lower, start, later) || declares && speaks_of(&lower, start, later)
    });
    if taken.next().is_some() {
        return Some(Why::Said);
    }
    // `Wait for phase 2 to finish`, said within phase 2, is about who comes next.
    let own = |phase: &String| later.phase.as_ref() == Some(phase);
    let nothing = later.takes.steps.is_empty() && later.takes.phases.iter().all(own);
    (nothing && later.takes.vague == Vague::No && (later.looks || led)).then_some(Why::Looks)
}

/// Tells whether the files that a start takes and gives are known; then steps tell more than words do.
fn hands_files(asset: &Asset, start: &Start) -> bool {
    let around =
        |span: kapell_spec::finding::Span| span.start <= start.span.start && start.span.start < span.end;
    // What no agent makes was there before, and says nothing of who waits for whom.
    let made = |name: &str| {
        let mut writes =
            asset.flow.steps.iter().filter(|step| step.hands_out()).flat_map(|step| &step.writes);
        writes.any(|written| written.text == name)
    };
    let files = |step: &Step| {
        let mut reads = step.reads.iter().filter(|read| !read.text.starts_with("phase"));
        reads.any(|read| made(&read.text))
    };
    asset.flow.steps.iter().any(|step| around(step.span) && files(step))
}

/// Tells whether a number that a start takes from is that of another.
fn means(later: &Start, other: &Start) -> bool {
    let is = |list: &[String], number: Option<&String>| number.is_some_and(|number| list.contains(number));
    is(&later.takes.steps, other.number.as_ref()) || is(&later.takes.phases, other.phase.as_ref())
}

/// Tells whether two names are one, of which the text gives a part: `scout` and `team-scout`.
fn is_short_for(short: &str, long: &str) -> bool {
    let (short, long) = (short.to_ascii_lowercase(), long.to_ascii_lowercase());
    let (first, last) = short.split_once('-').unwrap_or(("", &short));
    short != long
        && long.len() > short.len()
        && long.starts_with(first)
        && long.strip_suffix(last).is_some_and(|rest| rest.ends_with('-'))
}

/// The words of a start below its heading, but for the lines that name its own agent by the key for it.
fn own_words(text: &str, start: &Start) -> Option<String> {
    let words = text.get(start.words.range())?.to_ascii_lowercase();
    let lines = words.lines().filter(|line| !line.contains("subagent_type") && !line.contains("task tool"));
    Some(lines.flat_map(|line| [line, "\n"]).collect())
}

/// Tells whether the words of a start name the agent of another, with its plugin or without. Where both start the same
/// agent, its name is no sign.
fn mentions(lower: &str, other: &Start, later: &Start) -> bool {
    let local = |name: &str| name.rsplit(':').next().unwrap_or(name).to_ascii_lowercase();
    let name = local(&other.agent.text);
    name.contains('-')
        && name != local(&later.agent.text)
        && (lower.contains(&name) || lower.contains(&name.replace('-', " ")))
}

/// Tells whether a start speaks of what another one brings: its agent, or words of its title where it says what it takes.
fn speaks_of(lower: &str, other: &Start, later: &Start) -> bool {
    if mentions(lower, other, later) {
        return true;
    }
    let agent = other.agent.text.rsplit(':').next().unwrap_or_default();
    let title = format!("{} {agent}", other.title).to_ascii_lowercase();
    let telling: BTreeSet<&str> = title
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() >= 4 && !COMMON.iter().any(|common| word.starts_with(common)))
        .map(|word| &word[..word.len().min(7)])
        .collect();
    clauses(lower).any(|clause| telling.iter().any(|word| clause.contains(word)))
}

/// Tells whether what a start takes in is somebody else's that was named before: `With the path from its stack trace, have the
/// ...`. What stands in front of the agent's name counts, too.
fn refers_back(text: &str, start: &Start) -> bool {
    let from =
        text.get(..start.span.start as usize).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let lower = text.get(from..start.span.end as usize).unwrap_or_default().to_ascii_lowercase();
    let back = |word: &str| matches!(word, "its" | "their" | "theirs" | "those" | "these");
    clauses(&lower).any(|clause| clause.split_whitespace().take(6).any(back)) || points_back(&lower)
}

/// Words for what somebody has made before.
const MADE: &[&str] = &[
    "file", "files", "result", "results", "output", "report", "reports", "list", "findings", "numbers",
    "data", "draft", "notes", "plan", "diff", "answer", "log",
];

/// Tells whether words point at what was made before: `on that file`, `with its result`, `over the same report`.
fn points_back(lower: &str) -> bool {
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // `Wait for its report` is about its own.
    let takes = ["on", "with", "over", "against", "from", "of", "to", "using", "into", "read"];
    words.windows(3).any(|row| {
        takes.contains(&row[0])
            && matches!(row[1], "that" | "its" | "their" | "those")
            && MADE.contains(&row[2])
    })
}

/// Words after which it is said what is taken in.
const TAKING: &[&str] =
    &["from ", "using ", "based on ", "given ", "against ", "leverag", "incorporat", "[include", "with the "];

/// What stands after words that say what is taken in: the rest of the line after a key, else the next few words.
fn clauses(lower: &str) -> impl Iterator<Item = &str> {
    let keyed = lower.lines().filter_map(move |line| {
        let (at, key) = CONTEXT.iter().filter_map(|key| Some((line.find(key)?, key))).min()?;
        Some(&line[at + key.len()..])
    });
    let taken = TAKING.iter().flat_map(move |word| {
        lower.match_indices(word).map(move |(at, _)| {
            let rest = &lower[at..];
            let end = rest
                .char_indices()
                .filter(|(_, c)| c.is_whitespace())
                .nth(7)
                .map_or(rest.len(), |(end, _)| end);
            &rest[..end]
        })
    });
    keyed.chain(taken)
}

fn says(title: &str, words: &[&str]) -> bool {
    let lower = title.to_ascii_lowercase();
    words.iter().any(|word| lower.contains(word))
}
