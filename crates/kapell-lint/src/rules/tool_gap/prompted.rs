//! Sessions that workflows start with a prompt and a list of tools: what the list does not grant is refused, for nobody is asked.
//!
//! Source: <https://github.com/anthropics/claude-code-action/blob/main/docs/usage.md>, as of 2026-08.

use kapell_spec::{claude::definition::Named, finding::Span, line};
use kapell_view::audit::{Confidence, Severity};

use super::{patterns, told};
use crate::{files::FileId, repository::Repository, rule::Report};

/// The action that starts such sessions.
const ACTION: &str = "anthropics/claude-code-action";

/// Keys and flags before the list.
const LISTS: &[&str] = &["--allowedTools", "--allowed-tools", "allowed_tools:"];

/// What grants more than the list says.
const OPEN: &[&str] = &[
    "--dangerously-skip-permissions",
    "bypassPermissions",
    "settings:",
    "--settings",
    "--permission-prompt-tool",
    "mode: auto",
];

/// Commands that only look: some of them run without being granted.
const LOOKS: &[&str] =
    &["view", "list", "diff", "log", "status", "show", "checks", "blame", "rev-parse", "grep"];

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    // Most workflows start no session.
    for flow in repository.github.flows.iter().filter(|flow| flow.text.contains(ACTION)) {
        let text = &*repository.files[flow.file].text;
        for (at, _) in text.match_indices(ACTION) {
            judge(repository, report, flow.file, step(text, at));
        }
    }
}

/// Returns the part of a text that is the step around a place.
fn step(text: &str, at: usize) -> (usize, &str) {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut start = line::start(text, at);
    while start > 0 && !text[start..].trim_start_matches(' ').starts_with("- ") {
        start = line::start(text, start - 1);
    }
    let depth = indent(line::around(text, start));
    let mut end = start;
    for line in text[start..].split_inclusive('\n') {
        if end > start && !line.trim().is_empty() && indent(line) <= depth {
            break;
        }
        end += line.len();
    }
    (start, &text[start..end])
}

fn judge(repository: &Repository, report: &mut Report<'_>, file: FileId, (start, step): (usize, &str)) {
    if OPEN.iter().any(|word| step.contains(word)) {
        return;
    }
    let Some(tools) = listed(step) else { return };
    let Some((from, prompt)) = prompt(step) else { return };
    let own: Vec<Named> =
        tools.iter().map(|tool| Named { text: (*tool).to_owned(), span: Span::new(0, 0) }).collect();
    let settings = repository.agents.hooks.iter().flat_map(|file| &file.hooks.allow);
    let all: Vec<Named> = own.into_iter().chain(settings.cloned()).collect();
    let shells = all.iter().any(|tool| tool.text.starts_with("Bash"));
    let bounded = patterns::patterns(&all);
    let granted = |command: &str| match &bounded {
        Some(bounded) => bounded.iter().any(|pattern| patterns::reaches(pattern, command)),
        None => shells,
    };
    let mut parts = prompt.split('`');
    while let (Some(before), Some(inner)) = (parts.next(), parts.next()) {
        let command = told::in_the_end(inner.trim());
        let at = start + from + line::offset(prompt, inner);
        let looks = command.split(' ').take(4).any(|word| LOOKS.contains(&word));
        if !told::is_command(inner.trim()) || looks || granted(command) || !is_ordered(before) {
            continue;
        }
        let message = format!("this session has to run `{command}`, which its tools do not grant");
        let program = command.split(' ').next().unwrap_or_default();
        let draft = report.add(file, Span::new(at, at + inner.len()), message);
        let draft = draft.severity(Severity::High).confidence(Confidence::Medium);
        draft
            .hint(format!("grant what it runs, such as `Bash({program} ...:*)`: nobody is asked here"))
            .done();
        return;
    }
}

/// Tells whether the words before a command order to run it.
fn is_ordered(before: &str) -> bool {
    let line = before.rsplit("\n\n").next().unwrap_or(before).replace('\n', " ");
    let from = [". ", "; ", ": "].iter().filter_map(|end| Some(line.rfind(end)? + end.len())).max();
    let sentence =
        line[from.unwrap_or(0)..].trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
    let clause = told::clause(sentence);
    let clause = clause.strip_suffix(" the").unwrap_or(&clause);
    let words: Vec<&str> = clause.split(|c: char| !c.is_ascii_alphabetic()).collect();
    let verb = words.last().is_some_and(|word| {
        matches!(*word, "run" | "execute" | "with" | "using" | "via" | "use" | "call" | "through")
    });
    // What is said to be done so is no order.
    let told_of = words.iter().any(|word| matches!(*word, "is" | "are" | "was" | "were" | "been"));
    let read = clause.contains("output of") || clause.contains("result of");
    verb && !told_of && !read && !told::is_order_for_others(sentence)
}

/// Returns the tools of the list, if a step has one.
fn listed(step: &str) -> Option<Vec<&str>> {
    let (at, flag) = LISTS.iter().filter_map(|flag| Some((step.find(flag)?, flag))).min()?;
    let rest = step[at + flag.len()..].trim_start_matches([' ', '=']);
    let quoted = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
    let single = || rest.strip_prefix('\'').and_then(|rest| rest.split('\'').next());
    let plain = || rest.split(" --").next().unwrap_or(rest).split('\n').next();
    let list = quoted.or_else(single).or_else(plain)?;
    // What stands in an expression, or below, is not read.
    if list.contains("${{") || list.trim().is_empty() || list.trim_start().starts_with(['|', '>']) {
        return None;
    }
    let mut depth = 0_i32;
    let tools = list.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth <= 0 && (c == ',' || c.is_whitespace())
    });
    Some(tools.map(|tool| tool.trim_matches(['"', '\''])).filter(|tool| !tool.is_empty()).collect())
}

/// Returns the block of the prompt, and where in the step it begins.
fn prompt(step: &str) -> Option<(usize, &str)> {
    let mut at = 0;
    let mut lines = step.split_inclusive('\n').map(|line| {
        at += line.len();
        (at - line.len(), line)
    });
    let indent = |line: &str| line.len() - line.trim_start().len();
    let (from, head) = lines.find(|(_, line)| {
        let key = line.trim();
        key.strip_prefix("prompt:").or_else(|| key.strip_prefix("direct_prompt:")).is_some()
    })?;
    let begin = from + head.len();
    let end = lines.find(|(_, line)| !line.trim().is_empty() && indent(line) <= indent(head));
    Some((begin, &step[begin..end.map_or(step.len(), |(at, _)| at)]))
}
