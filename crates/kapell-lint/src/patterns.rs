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

/// Writes names as a list for people.
fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut shown: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let more = shown.len().saturating_sub(8);
    shown.truncate(8);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    match shown.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => shown.concat(),
    }
}

/// The eight anti-patterns, by the names that the summary gives them.
const ANTI_PATTERNS: [(rule::AntiPattern, &str); 8] = [
    (rule::AntiPattern::Sequential, "sequential though parallel is possible"),
    (rule::AntiPattern::Circular, "circular dependency"),
    (rule::AntiPattern::SharedState, "shared state without a lock"),
    (rule::AntiPattern::NoTimeout, "missing timeout or retry"),
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
