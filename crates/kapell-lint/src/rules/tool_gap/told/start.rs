//! Whom an agent is told to start.

use std::sync::LazyLock;

use kapell_spec::{
    claude::reference::handing::{GIVES, behind_each, sends_each},
    finding::Span,
    line,
    words::Words,
};

use super::{clause, is_fenced, is_for_others};
use crate::agents::Asset;

/// Finds the words that tell to start agents with the tool for it. What is forbidden in the same line is not told.
pub(in crate::rules::tool_gap) fn to_start(agent: &Asset, text: &str) -> Option<Span> {
    static STARTS: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&[
            "via the Agent tool",
            "via the Task tool",
            "via Task tool",
            "using the Agent tool",
            "using the Task tool",
            "use the Agent tool",
            "use the Task tool",
            "with the Agent tool",
            "with the Task tool",
            "spawn subagents",
            "spawn sub-agents",
            "spawn parallel agents",
            "spawn parallel subagents",
            "launch subagents",
            "launch sub-agents",
            "launch parallel agents",
            "launch parallel subagents",
            "dispatch subagents",
            "dispatch sub-agents",
            "dispatch parallel agents",
        ])
    });
    let body = agent.definition.body as usize;
    STARTS.places(&text[body..]).find_map(|(_, at)| {
        let at = body + at;
        let line = line::around(text, at);
        let lower = line.to_ascii_lowercase();
        // Who is called so may be told of as well.
        let denied = ["not ", "n't", "never", "cannot", "without", "caller", "parent", "when invoked"]
            .iter()
            .any(|word| lower.contains(word));
        let fenced = is_fenced(agent, at);
        let line = &text[at..line::end(text, at)];
        let words = |word: &str| line.find(word).map(|len| at + len + word.len());
        let end = words(" tool").or_else(|| words("agents")).unwrap_or(at);
        (!denied && !fenced && !is_in_example(&text[body..at])).then(|| Span::new(at, end))
    })
}

/// Tells whether an example is open at the end of a text: what is told there, whoever calls the agent says.
fn is_in_example(before: &str) -> bool {
    before.rfind("<example>").is_some_and(|open| !before[open..].contains("</example>"))
}

/// Tells whether the words right before the name of an agent order whoever reads them to have it work: `- Delegate the design
/// to the `designer` subagent`. That others call each other, or that somebody may, is no order. Where the name is `known` to be
/// one of an agent, nothing has to say so.
pub(in crate::rules::tool_gap) fn to_delegate(
    agent: &Asset,
    text: &str,
    name: Span,
    known: impl Fn() -> bool,
) -> bool {
    let at = name.start as usize;
    if name.start < agent.definition.body || is_fenced(agent, at) {
        return false;
    }
    let before = line::lead(text, at).replace('\n', " ");
    let item = before.starts_with(|c: char| c.is_ascii_digit());
    let before = before.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
    let lower = clause(before);
    let (lower, each) = behind_each(&lower).map_or((&*lower, false), |order| (order, true));
    let order = ["delegate", "launch", "spawn", "dispatch"];
    // An item of a list that has its agents work: `Delegate its parts:`.
    if is_led_by(text, name, &order) {
        return true;
    }
    // These verbs have other meanings, unless the name follows at once.
    let order_of = lower.strip_prefix("then ").unwrap_or(lower);
    let articles = ["the", "a", "an", "one", "two", "three", "another", "several"];
    let bare = order_of
        .rsplit_once(' ')
        .filter(|(_, last)| articles.contains(last))
        .map_or(order_of, |(bare, _)| bare);
    let at_once = matches!(bare, "start" | "call" | "and start" | "and call")
        || ["get the", "have the", "and have the", "ask the"].contains(&order_of)
        || (each || item) && ["use the", "run the", "invoke the"].contains(&order_of)
        || sends_each(lower);
    let first = lower.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let after = text[name.end as usize..].trim_start_matches(['`', '*', ' ']);
    let named = ["agent", "subagent", "sub-agent"].iter().any(|word| after.starts_with(word));
    // `Give each story to the `x` agent`, and `then have `x` plan the tests`.
    let given =
        GIVES.contains(&first) && lower.strip_suffix(" the").unwrap_or(lower).strip_suffix(" to").is_some();
    let ordered = order.contains(&first) && (named || is_bare(lower) && known());
    (ordered || (at_once || given) && named) && !is_for_others(before)
}

/// Tells whether an order names at once whom it is about: `Spawn the`, `Delegate the diff to`.
fn is_bare(order: &str) -> bool {
    let last = order.split_whitespace().last().unwrap_or_default();
    ["spawn", "launch", "dispatch", "to", "the", "a", "an"].contains(&last)
}

/// Tells whether a name, with `agent` behind it, stands in a list that a sentence leads to whose last clause is one of the
/// orders.
fn is_led_by(text: &str, name: Span, orders: &[&str]) -> bool {
    let at = name.start as usize;
    let line = line::start(text, at);
    let after = text[name.end as usize..].trim_start_matches(['`', '*', ' ']);
    let named = ["agent", "subagent", "sub-agent"].iter().any(|word| after.starts_with(word));
    if !named || !text[line..].starts_with(['-', '*']) {
        return false;
    }
    let mut above =
        text[..line].lines().rev().skip_while(|line| line.starts_with(['-', '*', ' ']) || line.is_empty());
    let Some(lead) = above.next().filter(|lead| lead.trim_end().ends_with(':')) else { return false };
    let lower = lead.to_ascii_lowercase();
    let last = lower.rsplit([',', '.', ';']).next().unwrap_or_default();
    let first = last.split_whitespace().next().unwrap_or_default();
    orders.contains(&first) && !is_for_others(last)
}
