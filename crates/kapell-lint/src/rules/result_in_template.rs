//! `result-in-template`: a report that a command has written says how its checks ended before they have run.

use kapell_spec::{claude::markdown::Fence, finding::Span};
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
    let kinds = [AssetKind::Command, AssetKind::Skill, AssetKind::Agent];
    for (_, asset) in
        repository.agents.iter().filter(|(_, asset)| asset.is_read() && kinds.contains(&asset.kind))
    {
        let text = &*repository.files[asset.file].text;
        for fence in &asset.definition.document.fences {
            tell(asset, text, fence, report);
        }
    }
}

fn tell(asset: &Asset, text: &str, fence: &Fence, report: &mut Report<'_>) {
    let info = fence.info.trim().to_ascii_lowercase();
    if !fence.fenced || !TEXTS.contains(&&*info) || !is_taken_over(text, fence.span.start as usize) {
        return;
    }
    let lines = lines(text, fence);
    // Where nothing is left open it is no template, but a picture of a report.
    let open = lines.iter().any(|(_, line)| is_open(line));
    let mut said = lines.iter().filter(|(_, line)| !is_open(line) && says_result(line));
    let Some((at, line)) = said.next().filter(|_| open) else { return };
    let span = Span::new(*at, at + line.len());
    let message = format!("this template says `{line}`, however the checks end");
    let mut draft = report
        .add(asset.file, span, message)
        .hint("leave the result open, as `<passed>/<all>`, and say where it comes from");
    for (at, line) in said {
        draft = draft.also(asset.file, Span::new(*at, at + line.len()), "nor is this left open");
    }
    draft.done();
}

/// Tells whether the paragraph above a block has it taken over as it stands.
fn is_taken_over(text: &str, at: usize) -> bool {
    let above = text[..at].trim_end();
    let paragraph = above.rsplit("\n\n").next().unwrap_or_default();
    let sentence = paragraph.lines().next_back().unwrap_or_default().to_ascii_lowercase();
    let shown = paragraph.to_ascii_lowercase();
    TAKEN_OVER.iter().any(|word| sentence.contains(word)) && !SHOWN.iter().any(|word| shown.contains(word))
}

/// Returns the lines of a block without what they are indented by, and where each begins.
fn lines<'a>(text: &'a str, fence: &Fence) -> Vec<(usize, &'a str)> {
    let place = |line: &'a str| (line.as_ptr() as usize - text.as_ptr() as usize, line);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_a_share_that_is_all() {
        assert!(says_result("- Tests: 482/482 passed (100%)") && says_result("12/12 green"));
        assert!(!says_result("3/12 passed") && !says_result("see a/b, all passed") && !says_result("12/12"));
        assert!(is_open("- Tag: <tag>") && is_open("${n}") && is_open("- [name]") && !is_open("- [ ] done"));
    }
}
