//! The ten deliverables of an improvement, written from the models.
//!
//! Nothing generic: every sentence names a path, a job, an agent or a rule that was found in the repository, or it is
//! left out. A section about which nothing was found is not written.

mod architecture;
mod benchmark;
mod checks;
mod commands;
mod knowledge;
mod monitoring;
mod page;
mod plan;
mod report;

use std::collections::BTreeMap;

use kapell_view::audit::{Asset, AssetKind, Edge, Finding, Inventory, Severity};

use crate::{
    repository::Repository,
    rule::{AntiPattern, Rule},
    rules,
};

/// What an improvement is written from.
#[derive(Debug, Clone, Copy)]
pub struct Study<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// Its assets and references.
    pub inventory: &'a Inventory,
    /// What is wrong, worst first.
    pub findings: &'a [Finding],
    /// The safe fixes as a patch; empty if there are none.
    pub patch: &'a str,
}

/// Writes the deliverables: path below the folder for them, and text. In order of paths; the same every time.
#[must_use]
pub fn deliver(study: &Study<'_>) -> Vec<(String, String)> {
    let mut files = BTreeMap::new();
    files.insert("01-analysis.md".to_owned(), report::write(study));
    files.extend(architecture::write(study));
    if !study.patch.is_empty() {
        files.insert("03-improvements.patch".to_owned(), study.patch.to_owned());
    }
    files.extend(commands::write(study));
    files.extend(checks::write(study));
    files.extend(knowledge::write(study));
    files.extend(monitoring::write(study));
    files.insert("08-benchmark.md".to_owned(), benchmark::write(study));
    files.insert("09-migration.md".to_owned(), plan::migration(study));
    files.insert("10-roadmap.md".to_owned(), plan::roadmap(study));
    files.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

/// What is evidence of one anti-pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Which one.
    pub pattern: AntiPattern,
    /// Its name for people.
    pub name: &'static str,
    /// How many findings.
    pub count: usize,
    /// The worst of them.
    pub worst: Severity,
    /// The rules that found them.
    pub rules: Vec<&'static str>,
}

/// The eight anti-patterns, by the names that the summary gives them.
const ANTI_PATTERNS: [(AntiPattern, &str); 8] = [
    (AntiPattern::Sequential, "sequential though parallel is possible"),
    (AntiPattern::Circular, "circular dependency"),
    (AntiPattern::SharedState, "shared state without a lock"),
    (AntiPattern::NoTimeout, "missing timeout or retry"),
    (AntiPattern::Coupling, "tight coupling"),
    (AntiPattern::Context, "context not shared"),
    (AntiPattern::NoRollback, "no rollback"),
    (AntiPattern::Hardcoded, "hardcoded selection"),
];

/// Counts the findings that are evidence of each of the eight anti-patterns. All eight, in their order.
#[must_use]
pub fn anti_patterns(findings: &[Finding]) -> Vec<Evidence> {
    let of = |(pattern, name)| {
        let found = findings.iter().filter(|finding| finding.severity > Severity::Info);
        let found: Vec<(&Finding, &'static Rule)> = found
            .filter_map(|finding| Some((finding, rules::find(&finding.rule)?)))
            .filter(|(_, rule)| rule.anti_pattern == Some(pattern))
            .collect();
        let mut rules: Vec<&'static str> = found.iter().map(|(_, rule)| rule.name).collect();
        rules.sort_unstable();
        rules.dedup();
        let worst = found.iter().map(|(finding, _)| finding.severity).max().unwrap_or(Severity::Info);
        Evidence { pattern, name, count: found.len(), worst, rules }
    };
    ANTI_PATTERNS.into_iter().map(of).collect()
}

impl<'a> Study<'a> {
    /// Returns the assets of a kind.
    fn assets(&self, kind: AssetKind) -> impl Iterator<Item = &'a Asset> + use<'a> {
        self.inventory.assets.iter().filter(move |asset| asset.kind == kind)
    }

    /// Returns the references of an asset.
    fn edges(&self, asset: &Asset) -> impl Iterator<Item = &'a Edge> + use<'a> {
        let id = asset.id;
        self.inventory.edges.iter().filter(move |edge| edge.from == id)
    }

    /// Returns the findings that are shown as warnings, by rule, worst rule first.
    fn by_rule(&self) -> Vec<(&'static Rule, Vec<&'a Finding>)> {
        let mut groups: Vec<(&'static Rule, Vec<&'a Finding>)> = Vec::new();
        for finding in self.findings.iter().filter(|finding| finding.warns()) {
            let Some(rule) = rules::find(&finding.rule) else { continue };
            match groups.iter_mut().find(|(known, _)| known.name == rule.name) {
                Some((_, findings)) => findings.push(finding),
                None => groups.push((rule, vec![finding])),
            }
        }
        groups
    }
}
