//! Names of agents in running words: "have the test-writer agent cover it", "delegate to security-auditor",
//! `Agents: a-b, c-d`, and tables with a column for them.
//!
//! A hyphen alone makes no name: a long-running agent is no agent of that name. So the last part has to be somebody who
//! does something, and the words before have to hand something over.

use super::{
    handing::{GIVES, TELLS},
    is_kebab,
};
use crate::{finding::Span, line, words::Words};

/// Ends of words for somebody who does something.
const DOERS: &[&str] =
    &["er", "or", "ist", "ect", "yst", "ian", "ert", "pro", "lead", "agent", "guide", "detective", "scout"];

/// Words with such an end that are nobody.
const THINGS: &[&str] = &[
    "user",
    "layer",
    "browser",
    "folder",
    "tier",
    "order",
    "number",
    "letter",
    "server",
    "container",
    "provider",
    "cluster",
    "computer",
    "customer",
    "header",
    "other",
    "over",
    "under",
    "after",
    "later",
    "ever",
    "pointer",
    "vendor",
    "color",
    "error",
    "factor",
    "sector",
    "vector",
    "minor",
    "major",
    "prior",
    "anchor",
    "behavior",
    "parameter",
    "power",
    "member",
    "object",
    "aspect",
    "project",
    "direct",
    "effect",
    "for",
    "her",
    "docker",
    "paper",
    "higher",
    "lower",
    "faster",
    "newer",
    "older",
    "longer",
    "smaller",
    "larger",
    "per",
    "or",
    "peer",
    "owner",
];

/// First parts that make an adjective of what follows.
const QUALITIES: &[&str] = &[
    "multi", "single", "per", "cross", "two", "three", "first", "second", "non", "self", "inter", "intra",
    "pre", "post", "co", "open", "closed", "long", "short", "high", "low", "top", "third", "one", "any",
    "all", "well", "fine", "your", "my", "some", "more", "less", "most", "read", "fully", "semi", "human",
    "ever", "up",
];

/// Tells whether a word is the name of somebody, such as `code-reviewer`.
pub(super) fn is_somebody(word: &str) -> bool {
    let name = word.rsplit(':').next().unwrap_or(word);
    let (first, last) = (name.split('-').next().unwrap_or(name), name.rsplit('-').next().unwrap_or(name));
    is_kebab(name)
        && DOERS.iter().any(|end| last.ends_with(end))
        && !THINGS.contains(&last)
        && !QUALITIES.contains(&first)
}

/// Words after which somebody is handed something, beside the verbs of an order.
const HANDS: &[&str] = &[
    "uses",
    "invokes",
    "launches",
    "spawns",
    "dispatches",
    "starts",
    "runs",
    "calls",
    "asks",
    "trigger",
    "deploy",
    "with",
    "by",
    "via",
    "through",
    "assign",
    "delegate",
    "involve",
];

/// Words before `to` with which something is handed over.
const OVER: &[&str] = &[
    "delegate",
    "delegates",
    "delegating",
    "hand",
    "hands",
    "off",
    "over",
    "handoff",
    "route",
    "routes",
    "forward",
    "pass",
    "passes",
    "send",
    "sends",
    "assign",
    "assigned",
    "escalate",
    "it",
    "them",
    "work",
    "results",
    "output",
];

/// Words between what hands over and the name.
const ARTICLES: &[&str] = &["the", "a", "an", "our", "both", "all"];

/// Finds such names, as ranges of `text`, from byte `from` on.
pub(super) fn names(text: &str, from: usize, is_code: &dyn Fn(usize) -> bool) -> Vec<Span> {
    let mut found = Vec::new();
    for (at, line) in SPOKEN.lines(text.get(from..).unwrap_or_default()) {
        if !is_code(from + at) {
            prose(line, from + at, &mut found);
            keyed(line, from + at, &mut found);
        }
    }
    table(text, from, is_code, &mut found);
    found
}

/// Words without which a line names nobody.
static SPOKEN: std::sync::LazyLock<Words> = std::sync::LazyLock::new(|| {
    Words::new(&["agent", "delegat", "hand off", "hand over", "hands off", "task("])
});

/// What a row of a table holds.
static ROW: std::sync::LazyLock<Words> = std::sync::LazyLock::new(|| Words::exact(&["|"]));

/// A word of a line without what stands around it, and where it starts.
fn tokens(line: &str) -> Vec<(usize, &str)> {
    let words = line.split([' ', '\t', '\n', '(', ')']);
    words
        .map(|word| {
            let word = word.trim_matches(|c: char| ",.;:!?\"'".contains(c));
            (line::offset(line, word), word)
        })
        .filter(|(_, word)| !word.is_empty())
        .collect()
}

/// Tells whether a word is one of some, in any case.
fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn prose(line: &str, at: usize, found: &mut Vec<Span>) {
    let tokens = tokens(line);
    let mut add = |(start, name): (usize, &str)| {
        let span = Span::new(at + start, at + start + name.len());
        if !found.contains(&span) {
            found.push(span);
        }
    };
    for (index, (_, word)) in tokens.iter().enumerate() {
        match word {
            agents
                if is_one_of(
                    agents,
                    &["agent", "subagent", "sub-agent", "agents", "subagents", "sub-agents"],
                ) =>
            {
                // `a-b, c-d and e-f agents`: back over all of them.
                let plural = agents.ends_with(['s', 'S']);
                let mut first = index;
                while first > 0 {
                    let before = tokens[first - 1].1;
                    let joins = plural && matches!(before, "and" | "&" | "or") && first < index;
                    if !(is_somebody(before) && (plural || first == index) || joins) {
                        break;
                    }
                    first -= 1;
                }
                if first < index && hands(&tokens[..first]) {
                    tokens[first..index]
                        .iter()
                        .filter(|(_, word)| is_somebody(word))
                        .for_each(|token| add(*token));
                }
            }
            to if is_one_of(to, &["to"]) && index > 0 && is_one_of(tokens[index - 1].1, &OVER[..7]) => {
                let next = tokens[index + 1..].iter().find(|(_, word)| !ARTICLES.contains(word));
                next.filter(|(_, word)| is_somebody(word)).into_iter().for_each(|token| add(*token));
            }
            _ => {}
        }
    }
    for open in ["Task(", "Agent("] {
        for (start, _) in line.match_indices(open) {
            let rest = line[start + open.len()..].trim_start_matches(['"', '\'', '`']);
            let len =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-:".contains(c))).unwrap_or(rest.len());
            if is_somebody(&rest[..len]) && !rest[len..].starts_with('=') {
                add((line.len() - rest.len(), &rest[..len]));
            }
        }
    }
}

/// Tells whether the words before a name hand something over.
fn hands(before: &[(usize, &str)]) -> bool {
    let mut words = before.iter().rev().map(|(_, word)| word.to_ascii_lowercase()).peekable();
    while words.peek().is_some_and(|word| ARTICLES.contains(&&**word)) {
        words.next();
    }
    match words.next() {
        // `hand it to the`, and `give what it found to the`.
        Some(word) if word == "to" => {
            words.next().is_some_and(|word| OVER.contains(&&*word))
                || words.take(8).any(|word| GIVES.contains(&&*word))
        }
        Some(word) => TELLS.contains(&&*word) || HANDS.contains(&&*word),
        None => false,
    }
}

/// Keys whose values are agents.
const KEYS: &[&str] =
    &["agent", "agents", "subagent", "subagents", "assigned agent", "lead agent", "primary agent"];

/// `**Agents**: a-b, c-d`.
fn keyed(line: &str, at: usize, found: &mut Vec<Span>) {
    let Some((key, value)) = line.split_once(':') else { return };
    let key = key.trim().trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.># ".contains(c));
    let key = key.trim_end_matches('*').to_ascii_lowercase();
    if !KEYS.contains(&&*key) || value.len() > 300 {
        return;
    }
    let start = line.len() - value.len();
    let parts = value.split([',', '+', '&']).map(|part| {
        let part = part.trim_start_matches("** ").trim().trim_start_matches("and ");
        part.split([' ', '(']).next().unwrap_or_default().trim_matches(|c: char| "*`\"'.@".contains(c))
    });
    for name in parts.filter(|name| is_somebody(name)) {
        let place = at + start + line::offset(value, name);
        let span = Span::new(place, place + name.len());
        if !found.contains(&span) {
            found.push(span);
        }
    }
}

/// A table that says which agent does which step.
fn table(text: &str, from: usize, is_code: &dyn Fn(usize) -> bool, found: &mut Vec<Span>) {
    // The column of the agents, and where the row ends up to which that is known.
    let (mut column, mut end): (Option<usize>, usize) = (None, from);
    let lines = ROW.lines(text.get(from..).unwrap_or_default()).map(|(at, line)| (from + at, line));
    for (at, line) in lines.filter(|(_, line)| line.trim_start().starts_with('|')) {
        column = column.filter(|_| at == end);
        end = at + line.len();
        if let Some(column) = column {
            let cell = line.split('|').nth(column).unwrap_or_default();
            let name = cell.trim().trim_matches(|c: char| "*`\"'@".contains(c));
            if is_somebody(name) {
                let place = at + line::offset(line, name);
                found.push(Span::new(place, place + name.len()));
            }
        } else if !is_code(at) {
            let heads: Vec<String> =
                line.split('|').map(|cell| cell.trim().trim_matches('*').to_ascii_lowercase()).collect();
            let counts = |head: &String| ["step", "phase", "#", "order", "stage", "wave"].contains(&&**head);
            let agents =
                |head: &String| ["agent", "subagent", "sub-agent", "subagent_type"].contains(&&**head);
            column = heads.iter().position(agents).filter(|_| heads.iter().any(counts));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<&str> {
        names(text, 0, &|_| false).into_iter().map(|span| &text[span.range()]).collect()
    }

    #[test]
    fn names_are_heard_where_something_is_handed_over() {
        let cases: &[(&str, &[&str])] = &[
            ("Have the test-writer agent cover it.", &["test-writer"]),
            ("Delegate to security-auditor for a look.", &["security-auditor"]),
            ("Hand it over to the db-migrator subagent.", &["db-migrator"]),
            (
                "Launch the a-reviewer, b-reviewer and c-tester agents.",
                &["a-reviewer", "b-reviewer", "c-tester"],
            ),
            ("Give the design and its limits to the api-builder agent.", &["api-builder"]),
            ("1. **Agent**: `code-reviewer`", &["code-reviewer"]),
            ("- Agents: code-reviewer, test-runner (slow)", &["code-reviewer", "test-runner"]),
            ("Task(\"code-reviewer\", prompt)", &["code-reviewer"]),
            ("| Step | Agent |\n| --- | --- |\n| 1 | `code-reviewer` |\n| 2 | none |\n", &["code-reviewer"]),
        ];
        for (text, expected) in cases {
            assert_eq!(named(text), *expected, "{text}");
        }
    }

    #[test]
    fn hyphens_alone_make_no_name() {
        for text in [
            "Use a long-running agent.",
            "Start the general-purpose agent.",
            "Use a multi-user agent, and cross-browser agents.",
            "Delegate to sub-folders and up-to-date owners.",
            "The local code-reviewer agent is prose.",
            "Task(description=\"x\")",
            "Agent: the one that fits best",
            "| Agent | Purpose |\n| --- | --- |\n| code-reviewer | reads |\n",
        ] {
            assert_eq!(named(text), <[&str; 0]>::default(), "{text}");
        }
    }
}
