//! What the text of an agent tells it to do: run, write, search, wait, start others.

mod change; // what is to be written and edited
mod programs; // what only a shell starts
mod run; // what is to be run
mod start; // who is to be started

use std::sync::LazyLock;

use kapell_spec::{finding::Span, line, words::Words};

use super::denied;
use crate::agents::Asset;
pub(super) use change::{to_edit, to_write};
pub(super) use run::{all_to_run, in_the_end, is_command, run_before, to_run};
pub(super) use start::{to_delegate, to_start};

/// Returns the spans of code in running text, each with what stands before it in its line, without the mark of a list.
fn code_spans<'a>(agent: &'a Asset, text: &'a str) -> impl Iterator<Item = (Span, &'a str)> {
    agent.definition.document.marks.iter().filter(|mark| mark.code).map(|mark| {
        let start = mark.span.start as usize;
        let line = line::start(text, start);
        let before =
            text[line..start].trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        (mark.span, before)
    })
}

/// Words in what precedes an order that make it one for somebody else, or none.
const OTHERS: &[&str] = &[
    "user",
    "developer",
    "not ",
    "never",
    "n't",
    "cannot",
    "you can ",
    " may ",
    "if ",
    "suggest",
    "recommend",
    " ask",
    "tell",
    "orchestrator",
    "parent",
    "caller",
    "main ",
    "they ",
    "how to",
    " to run",
    "would",
    "when ",
    "example",
    "e.g",
    "instead of",
    "without",
    "human",
    "somebody",
    "someone",
    "cannot",
];

/// Returns the clause that ends where something stands, in small letters, without the marks of a list.
pub(super) fn clause(before: &str) -> String {
    let lower = before.to_ascii_lowercase();
    let ends = [". ", "; ", ": ", " \u{2014} ", " - ", "** "];
    let from =
        ends.iter().filter_map(|end| Some(lower.trim_end().rfind(end)? + end.len())).max().unwrap_or(0);
    let clause = lower[from..].trim_matches(['*', ' ', '`', ':', '(']);
    // `When all is green, run`: what is said of when is no part of the order.
    let led = ["when ", "if ", "once "].iter().any(|word| clause.starts_with(word));
    let order = clause.rsplit_once(", ").map_or(clause, |(_, order)| order);
    if led { order.to_owned() } else { clause.to_owned() }
}

/// Tells whether the order that ends where something stands may be meant for somebody else. What a sentence before says is
/// something else, and a condition with a comma behind it, `When all is green, run`, says when and not who.
pub(super) fn is_order_for_others(before: &str) -> bool {
    let from = [". ", "; "].iter().filter_map(|end| Some(before.rfind(end)? + end.len())).max().unwrap_or(0);
    let sentence = before[from..].trim_start();
    let led = ["If ", "When ", "Once ", "if ", "when ", "once "]
        .iter()
        .find_map(|word| sentence.strip_prefix(word));
    is_for_others(led.filter(|rest| rest.contains(", ")).unwrap_or(sentence))
}

/// Tells whether a whole line may be meant for somebody else.
fn is_for_others(text: &str) -> bool {
    let lower = format!("{} ", text.to_ascii_lowercase());
    OTHERS.iter().any(|word| lower.contains(word))
}

/// Tells whether a place lies in a block of code.
fn is_fenced(agent: &Asset, at: usize) -> bool {
    agent.definition.document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some()
}

/// Finds the words that tell to search the web.
pub(super) fn to_search(agent: &Asset, text: &str) -> Option<Span> {
    static SEARCH: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&[
            "search the web",
            "search online for",
            "search the internet",
            "perform web search",
            "do a web search",
            "look online for",
            "look on the web for",
            "look up on the web",
            "search the net",
            "browse the web",
            "look it up online",
            "google for",
        ])
    });
    let body = agent.definition.body as usize;
    SEARCH.places(&text[body..]).find_map(|(_, at)| {
        let at = body + at;
        let start = line::start(text, at);
        let order = text[start..at].trim_matches(|c: char| c.is_ascii_digit() || "-*+.)># \t".contains(c));
        let lower = order.to_ascii_lowercase();
        // It heads a line, or follows the head of one.
        let tells =
            lower.is_empty() || lower.ends_with(':') || lower.ends_with("then") || lower.ends_with("and");
        let fenced = is_fenced(agent, at);
        (tells && !fenced && !denied(text, at))
            .then(|| Span::new(at, at + "search the web".len().min(text.len() - at)))
    })
}

/// Orders to get a page, at the head of a sentence.
const FETCHES: &[&str] = &["fetch ", "download ", "open ", "visit ", "get ", "read ", "retrieve ", "load "];

/// Finds the order to get something from an address of the web: `Fetch the advisory from https://example.com/x`.
pub(super) fn to_fetch(agent: &Asset, text: &str) -> Option<Span> {
    let body = agent.definition.body as usize;
    memchr::memmem::find_iter(&text.as_bytes()[body..], "https://").map(|at| body + at).find_map(|at| {
        let before = &text[line::start(text, at)..at];
        let order = before.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        let order = order.rsplit(". ").next().unwrap_or(order);
        let lower = order.to_ascii_lowercase();
        let tells = FETCHES.iter().any(|verb| lower.starts_with(verb)) && !order.contains([',', '(', '[']);
        let end = text[at..].find([' ', '\n', ')', '`', '>', ',']).map_or(text.len(), |len| at + len);
        // The agent's own machine needs another tool.
        let local = ["https://localhost", "https://127."].iter().any(|host| text[at..].starts_with(host));
        (tells && !local && !is_fenced(agent, at) && !is_for_others(order)).then(|| Span::new(at, end))
    })
}

/// Finds the words that tell an agent to wait for a person. One that starts others may be talked to itself.
pub(super) fn to_wait(agent: &Asset, text: &str) -> Option<Span> {
    static WAIT: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&[
            "wait for user",
            "wait for the user",
            "wait for explicit user",
            "ask the user before proceeding",
            "ask user before proceeding",
            "get user approval before",
            "get user confirmation before",
            "wait for human",
        ])
    });
    let tools = agent.definition.items("tools");
    if tools.iter().any(|tool| ["Agent", "Task"].contains(&tool.text.split('(').next().unwrap_or_default())) {
        return None;
    }
    let body = agent.definition.body as usize;
    WAIT.places(&text[body..]).find_map(|(_, at)| {
        let at = body + at;
        let fenced = is_fenced(agent, at);
        let end = text[at..].find(['\n', ',', '.', ':', ';']).map_or(text.len(), |len| at + len);
        let line = text[at..line::end(text, at)].to_ascii_lowercase();
        // What a page or a script does when a person uses it is no conversation.
        let other = ["input event", "to click", "to type", "to press", "interaction", "gesture"];
        (!fenced && !denied(text, at) && !other.iter().any(|word| line.contains(word)))
            .then(|| Span::new(at, end))
    })
}

/// Finds the first place that tells to use a tool of a server, with the tool's name.
pub(super) fn to_serve<'a>(
    agent: &Asset,
    text: &'a str,
    granted: impl Fn(&str) -> bool,
) -> Option<(Span, &'a str)> {
    let body = agent.definition.body as usize;
    // What is called so is nothing else, in marks or without.
    memchr::memmem::find_iter(&text.as_bytes()[body..], "mcp__").map(|at| body + at).find_map(|at| {
        let len = text[at..].find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
        let end = len.map_or(text.len(), |len| at + len);
        let tool = text[at..end].trim_end_matches(['_', '-']);
        let whole = tool["mcp__".len()..].split_once("__").is_some_and(|(server, name)| {
            !server.is_empty() && !name.is_empty() && !text[end..].starts_with(['*', '<', '{', '('])
        });
        if !whole || granted(tool) || is_fenced(agent, at) {
            return None;
        }
        let before = text[line::start(text, at)..at].trim_end_matches('`');
        let before = before.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        let clause = clause(before);
        let words: Vec<&str> = clause.split_whitespace().collect();
        let verb = words.iter().any(|word| {
            matches!(
                *word,
                "use" | "using" | "call" | "through" | "via" | "with" | "invoke" | "run" | "query" | "by"
            )
        });
        let after = text[end..].split(['\n', '.']).next().unwrap_or_default().to_ascii_lowercase();
        let maybe =
            ["if ", "available", "when ", "optional", "unless"].iter().any(|word| after.contains(word));
        (verb && !maybe && !is_order_for_others(before)).then(|| (Span::new(at, at + tool.len()), tool))
    })
}
