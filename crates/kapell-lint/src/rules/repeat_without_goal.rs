//! `repeat-without-goal`: a command goes on until something is good, and says neither what that is nor how often it tries.

mod itself; // steps that lead on to themselves

use kapell_spec::{finding::Span, line};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::Asset,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/repeat-without-goal.md`.
pub(super) static RULE: Rule = Rule {
    name: "repeat-without-goal",
    summary: "a command goes on until something is good, and says neither what that is nor how often it tries",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/repeat-without-goal.md"),
    check,
};

/// Orders to go on.
const GOES_ON: &[&str] = &[
    "keep going",
    "keep trying",
    "keep improving",
    "keep optimising",
    "keep optimizing",
    "keep iterating",
    "keep at it",
    "go on",
    "continue",
    "carry on",
    "repeat",
    "iterate",
    "loop",
    "try again",
    "try another",
    "start over",
];

/// What nobody can measure, where no number says from when on it holds.
const UNMEASURED: &[&str] = &[
    "fast",
    "quick",
    "good",
    "great",
    "nice",
    "perfect",
    "clean",
    "better",
    "polished",
    "beautiful",
    "readable",
    "elegant",
    "excellent",
    "optimal",
    "solid",
    "smooth",
    "snappy",
    "fast enough",
    "good enough",
    "clean enough",
    "quick enough",
    "really good",
    "as good as possible",
    "as fast as possible",
];

/// Words between `until` and what is wished.
const LINKS: &[&str] = &["is", "are", "looks", "look", "feels", "feel", "reads", "runs", "becomes"];

/// Words of a text that says when it is enough: a number to reach, or who decides.
const ENOUGH: &[&str] = &[
    "maximum",
    "max ",
    "no more than",
    "limit",
    "give up",
    "stop after",
    "stop when",
    "stop if",
    "budget",
    "target",
    "goal",
    "threshold",
    "below",
    "under ",
    "less than",
    "faster than",
    "at least",
    " slo ",
    " sla ",
    "ms ",
    " ms",
    "%",
    "percent",
    "user",
    "ask ",
    "approv",
    "reviewer",
    "criteria",
    "criterion",
    "definition of",
    "score",
];

/// Words of a section that says how often it tries, or how long.
const OFTEN: &[&str] =
    &["at most", "times", "rounds", "attempts", "iterations", "minutes", "hours", "once", "twice"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    itself::check(repository, report);
    let kinds = [AssetKind::Command, AssetKind::Skill, AssetKind::Agent];
    for (_, asset) in
        repository.agents.iter().filter(|(_, asset)| asset.is_read() && kinds.contains(&asset.kind))
    {
        let lower = repository.files[asset.file].lower();
        let Some(span) = endless(asset, lower) else { continue };
        let message =
            "this goes on until something is good, and says neither what that is nor how often it tries";
        report
            .add(asset.file, span, message)
            .hint("name a number to reach, and how often it tries at most")
            .done();
    }
}

/// Finds the first sentence that goes on until something holds that nobody can measure, in a step that says no end.
fn endless(asset: &Asset, lower: &str) -> Option<Span> {
    let body = asset.definition.body as usize;
    let mut places = memchr::memmem::find_iter(&lower.as_bytes()[body..], " until ").map(|at| body + at);
    places.find_map(|at| {
        let place = u32::try_from(at).ok()?;
        let document = &asset.definition.document;
        if document.fence_at(place).is_some() || !is_unmeasured(&lower[at + " until ".len()..]) {
            return None;
        }
        let from = line::start(lower, at);
        let before = &lower[from..at];
        let start = from
            + [". ", "; ", ": "].iter().filter_map(|end| Some(before.rfind(end)? + 2)).max().unwrap_or(0);
        let order =
            lower[start..at].trim_start_matches(|c: char| "-*+.)> `".contains(c) || c.is_ascii_digit());
        let denied = ["not ", "n't ", "never "].iter().any(|word| order.contains(word));
        let ordered = !denied && GOES_ON.iter().any(|word| order.starts_with(word) || order.ends_with(word));
        let end = at + lower[at..].find(['.', '\n', ';']).unwrap_or(lower.len() - at);
        // What a step before names as the goal counts as well.
        let bounded = ENOUGH.iter().any(|word| lower[body..].contains(word))
            || OFTEN.iter().any(|word| section(asset, lower, place).contains(word));
        let offset = lower[start..at].len() - order.len();
        (ordered && !bounded).then(|| Span::new(start + offset, end))
    })
}

/// Returns the text between the headings around a place.
fn section<'a>(asset: &Asset, lower: &'a str, at: u32) -> &'a str {
    let headings = &asset.definition.document.headings;
    let next = headings.partition_point(|heading| heading.span.start <= at);
    let start = next.checked_sub(1).map_or(asset.definition.body, |at| headings[at].span.start);
    let end = headings.get(next).map_or(lower.len(), |heading| heading.span.start as usize);
    lower.get(start as usize..end).unwrap_or_default()
}

/// Tells whether what follows `until` is a wish and no test: `it is fast.`
fn is_unmeasured(rest: &str) -> bool {
    let clause = rest.split(['.', '\n', ',', ';', '!', ')']).next().unwrap_or_default();
    let clause = clause.trim().replace("'s ", " is ").replace("'re ", " are ");
    let words: Vec<&str> = clause.split_whitespace().collect();
    let Some(link) = words.iter().position(|word| LINKS.contains(word)).filter(|at| (1..=3).contains(at))
    else {
        return false;
    };
    UNMEASURED.contains(&&*words[link + 1..].join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_no_test() {
        assert!(is_unmeasured("it is fast. Then") && is_unmeasured("the code looks really good\nx"));
        assert!(is_unmeasured("the public page feels snappy.") && is_unmeasured("it's good enough."));
        assert!(
            !is_unmeasured("it is green.") && !is_unmeasured("the tests pass.") && !is_unmeasured("fast.")
        );
        assert!(!is_unmeasured("it is clean of warnings.") && !is_unmeasured("it is fast again"));
    }
}
