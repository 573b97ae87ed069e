//! Which of the eight patterns a repository leads its work by, with the evidence; and the eight anti-patterns as a
//! summary over the findings.

mod agents;
mod github;

use kapell_spec::finding::Span;
use kapell_view::audit::{AntiPattern, Finding, Pattern, PatternKind, Severity};

use crate::{files::FileId, repository::Repository, rule, rules};

/// Finds the patterns in workflows, commands, skills, agents and hooks. In the order of their kinds and places.
#[must_use]
pub fn patterns(repository: &Repository) -> Vec<Pattern> {
    let mut seen = Seen { repository, found: Vec::new() };
    github::look(&mut seen);
    agents::look(&mut seen);
    let mut found = seen.found;
    found.sort();
    found.dedup();
    found
}

/// Leaves out the patterns that a finding says do not work: a way back in a file whose way back is wrong.
pub fn leave_out_contradicted(patterns: &mut Vec<Pattern>, findings: &[Finding]) {
    let warned: Vec<&Finding> = findings.iter().filter(|finding| finding.warns()).collect();
    patterns.retain(|pattern| {
        let no_way_back = |finding: &&&Finding| {
            finding.place.path == pattern.place.path
                && (matches!(&*finding.rule, "no-rollback" | "deploy-without-rollback")
                    || finding.rule == "tool-gap" && says_back(&finding.message))
        };
        pattern.kind != PatternKind::Saga || !warned.iter().any(|finding| no_way_back(&finding))
    });
}

/// Tells whether a message is about taking something back.
fn says_back(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    ["roll", "revert", "undo", "back"].iter().any(|word| lower.contains(word))
}

/// What was seen so far.
struct Seen<'a> {
    repository: &'a Repository,
    found: Vec<Pattern>,
}

impl Seen<'_> {
    fn add(&mut self, kind: PatternKind, (file, span): (FileId, Span), text: String) {
        let place = self.repository.files[file].place(span);
        self.found.push(Pattern { kind, place, text });
    }
}

/// The eight anti-patterns, by the names that the summary gives them.
const ANTI_PATTERNS: [(rule::AntiPattern, &str); 8] = [
    (rule::AntiPattern::Sequential, "sequential though parallel is possible"),
    (rule::AntiPattern::Circular, "circular dependency"),
    (rule::AntiPattern::SharedState, "shared state without a lock"),
    (rule::AntiPattern::NoTimeout, "missing or wrong timeout or retry"),
    (rule::AntiPattern::Coupling, "tight coupling"),
    (rule::AntiPattern::Context, "context not shared"),
    (rule::AntiPattern::NoRollback, "no rollback"),
    (rule::AntiPattern::Hardcoded, "hardcoded selection"),
];

/// Counts the findings that are evidence of each of the eight anti-patterns. All eight, in their order.
#[must_use]
pub fn anti_patterns(findings: &[Finding]) -> Vec<AntiPattern> {
    let of = |(pattern, name): (rule::AntiPattern, &str)| {
        let is = |finding: &&Finding| {
            finding.severity > Severity::Info
                && rules::find(&finding.rule).is_some_and(|rule| rule.anti_pattern == Some(pattern))
        };
        let found: Vec<&Finding> = findings.iter().filter(is).collect();
        let mut rules: Vec<String> = found.iter().map(|finding| finding.rule.clone()).collect();
        rules.sort_unstable();
        rules.dedup();
        let worst = found.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Info);
        AntiPattern { name: name.to_owned(), count: found.len() as u32, worst, rules }
    };
    ANTI_PATTERNS.into_iter().map(of).collect()
}

/// Returns the name of each kind with what was seen of it, leaving out what was not.
pub(crate) fn by_kind(patterns: &[Pattern]) -> impl Iterator<Item = (PatternKind, Vec<&Pattern>)> {
    PatternKind::ALL.into_iter().filter_map(|kind| {
        let seen: Vec<&Pattern> = patterns.iter().filter(|pattern| pattern.kind == kind).collect();
        (!seen.is_empty()).then_some((kind, seen))
    })
}
