//! `result-in-template`: a report that a command has written says how its checks ended before they have run.

mod never_run; // tests that nothing runs

use std::sync::LazyLock;

use kapell_spec::{claude::markdown::Fence, finding::Span, line, words::Words};
use kapell_view::audit::{AssetKind, Confidence};

use crate::{
    agents::Asset,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/result-in-template.md`.
pub(super) static RULE: Rule = Rule {
    name: "result-in-template",
    summary: "a template for a report says how the checks ended before they have run",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: kapell_view::audit::Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/result-in-template.md"),
    check,
};

/// Words of a sentence that has a block taken over as it stands.
const TAKEN_OVER: &[&str] =
    &["template", "this form", "verbatim", "as it stands", "exactly this", "word for word"];

/// Words of an order to write a file of which nothing is left to be filled in.
const WHOLE: &[&str] =
    &["with this content", "with the following content", "with exactly this", "with this text"];

/// Words of a text that lets its checks decide whether the report is written at all.
const DECIDES: &[&str] = &[
    "if ",
    "unless",
    "stop",
    "abort",
    "fail",
    "when all",
    "once all",
    "only when",
    "green",
    "succeed",
    "error",
    "until",
];

/// Words of a sentence that only shows what a report may look like, or says that its numbers are to be replaced.
const SHOWN: &[&str] = &[
    "example",
    "e.g.",
    "sample",
    "such as",
    "like this",
    "looks like",
    "similar",
    "replace",
    "fill",
    "number",
    "value",
    "actual",
    "real ",
    "if all",
    "when all",
    "if every",
    "placeholder",
];

/// Languages of blocks that are texts for people.
const TEXTS: &[&str] = &["", "md", "markdown", "text", "txt"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    never_run::check(repository, report);
    let kinds = [AssetKind::Command, AssetKind::Skill, AssetKind::Agent];
    for asset in repository.asked().filter(|asset| asset.is_read() && kinds.contains(&asset.kind)) {
        let text = &*repository.files[asset.file].text;
        for fence in &asset.definition.document.fences {
            tell(asset, text, fence, report);
        }
    }
}

fn tell(asset: &Asset, text: &str, fence: &Fence, report: &mut Report<'_>) {
    let said = said(asset, text, fence);
    let Some((at, line)) = said.first() else { return };
    let span = Span::new(*at, at + line.len());
    let message = format!("this template says `{line}`, however the checks end");
    let mut draft = report
        .add(asset.file, span, message)
        .hint("leave the result open, as `<passed>/<all>`, and say where it comes from");
    for (at, line) in &said[1..] {
        draft = draft.also(asset.file, Span::new(*at, at + line.len()), "nor is this left open");
    }
    draft.done();
}

/// Returns the lines of a template that say how checks ended, and where each begins.
fn said<'a>(asset: &Asset, text: &'a str, fence: &Fence) -> Vec<(usize, &'a str)> {
    let info = fence.info.trim().to_ascii_lowercase();
    if !fence.fenced || !TEXTS.contains(&&*info) {
        return Vec::new();
    }
    // Few examples say how anything ended.
    static ENDED: LazyLock<Words> = LazyLock::new(|| Words::new(&[&["succeed"], WELL].concat()));
    if !ENDED.is_in(&text[fence.span.range()]) {
        return Vec::new();
    }
    let start = fence.span.start as usize;
    let whole = is_written_whole(asset, text, fence);
    if !whole && !is_above(text, start, TAKEN_OVER) {
        return Vec::new();
    }
    let mut lines = lines(text, fence);
    // Where nothing is left open it is no template, but a picture of a report; unless it is to be written as it stands.
    if !whole && !lines.iter().any(|(_, line)| is_open(line)) {
        return Vec::new();
    }
    lines.retain(|(_, line)| !is_open(line) && (says_result(line) || whole && says_passed(line)));
    lines
}

/// Returns the first line of a report that says how the checks ended, and that is written however they do.
pub(super) fn first_said(asset: &Asset, text: &str) -> Option<Span> {
    let fences = asset.definition.document.fences.iter();
    let (at, line) = fences.flat_map(|fence| said(asset, text, fence)).next()?;
    Some(Span::new(at, at + line.len()))
}

/// Tells whether a block is to be written to a file as it stands, and nothing before lets the checks decide about that.
fn is_written_whole(asset: &Asset, text: &str, fence: &Fence) -> bool {
    let start = fence.span.start as usize;
    if !is_above(text, start, WHOLE) {
        return false;
    }
    let before = text.get(asset.definition.body as usize..start).unwrap_or_default().to_ascii_lowercase();
    let behind = text.get(fence.span.end as usize..).unwrap_or_default().to_ascii_lowercase();
    !DECIDES.iter().any(|word| before.contains(word)) && !SHOWN.iter().any(|word| behind.contains(word))
}

/// Tells whether the sentence above a block has one of these words, and its paragraph none of one that only shows something.
fn is_above(text: &str, at: usize, known: &[&str]) -> bool {
    let above = text[..at].trim_end();
    let paragraph = above.rsplit("\n\n").next().unwrap_or_default();
    let sentence = paragraph.lines().next_back().unwrap_or_default().to_ascii_lowercase();
    let shown = paragraph.to_ascii_lowercase();
    known.iter().any(|word| sentence.contains(word)) && !SHOWN.iter().any(|word| shown.contains(word))
}

/// Returns the lines of a block without what they are indented by, and where each begins.
fn lines<'a>(text: &'a str, fence: &Fence) -> Vec<(usize, &'a str)> {
    let place = |line: &'a str| (line::offset(text, line), line);
    let mut lines: Vec<(usize, &str)> =
        text[fence.span.range()].lines().skip(1).map(|line| place(line.trim())).collect();
    if fence.closed {
        lines.pop();
    }
    lines
}

/// Tells whether a line leaves something open: `<tag>`, `{n}`, `[name]`, `$1`, `...`.
fn is_open(line: &str) -> bool {
    let marked = [("<", ">"), ("{", "}"), ("[", "]")].iter().any(|(open, close)| {
        line.split_once(open)
            .and_then(|(_, rest)| rest.split_once(close))
            .is_some_and(|(inner, _)| inner.len() > 1 && inner.starts_with(|c: char| c.is_ascii_alphabetic()))
    });
    marked || line.contains('$') || line.contains("...") || line.contains('\u{2026}') || line.contains("XX")
}

/// Tells whether a line says that all of so many passed: `482/482 passed`.
fn says_result(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let all = lower.match_indices('/').any(|(at, _)| {
        let before = lower[..at].rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let after = lower[at + 1..].split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        !before.is_empty() && before == after && before != "0"
    });
    all && ["pass", "green", "succeed", "succeeded"].iter().any(|word| lower.contains(word))
}

/// Words of what is checked.
const CHECKED: &[&str] = &["test", "lint", "build", "type", "scan", "coverage", "check", "e2e", "smoke"];

/// Words that say that it went well, right behind the colon.
const WELL: &[&str] =
    &["passed", "pass", "green", "all green", "success", "no new issues", "no issues", "no errors", "clean"];

/// Tells whether a line says of a check that it went well: `- Unit tests: passed`.
fn says_passed(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let Some((what, how)) = lower.split_once(':') else { return false };
    let how = how.trim_matches(|c: char| !c.is_alphanumeric());
    CHECKED.iter().any(|word| what.contains(word)) && WELL.contains(&how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_passed_stands_behind_a_colon() {
        assert!(says_passed("- Unit tests: \u{2705} passed") && says_passed("Lint: no new issues."));
        assert!(!says_passed("- Tests: passed or failed") && !says_passed("- Owner: passed"));
    }

    #[test]
    fn a_result_is_a_share_that_is_all() {
        assert!(says_result("- Tests: 482/482 passed (100%)") && says_result("12/12 green"));
        assert!(!says_result("3/12 passed") && !says_result("see a/b, all passed") && !says_result("12/12"));
        assert!(is_open("- Tag: <tag>") && is_open("${n}") && is_open("- [name]") && !is_open("- [ ] done"));
    }
}
