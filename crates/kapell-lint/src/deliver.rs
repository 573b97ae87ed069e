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

use kapell_view::audit::{Asset, AssetKind, Finding, Inventory};

use crate::{repository::Repository, rule::Rule, rules};

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

impl<'a> Study<'a> {
    /// Returns the assets of a kind.
    fn assets(&self, kind: AssetKind) -> impl Iterator<Item = &'a Asset> + use<'a> {
        self.inventory.assets.iter().filter(move |asset| asset.kind == kind)
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
