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

use kapell_view::{
    audit::{Asset, AssetKind, Finding, Inventory},
    text::plural,
};

use crate::{fix::Change, repository::Repository, rule::Rule, rules};

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
    /// Which findings the patch mends, by their index.
    pub mended: &'a [usize],
    /// The files that it changes.
    pub changes: &'a [Change],
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
    files.retain(|_, text| !text.is_empty());
    files.insert("README.md".to_owned(), index(&files));
    files.into_iter().collect()
}

/// The ten: where each begins, what it is, and what it is written from.
const TEN: [(&str, &str, &str); 10] = [
    ("01-analysis.md", "analysis", "what was found"),
    (
        "02-architecture/",
        "architecture as diagrams, with a record for each structural proposal",
        "workflows, agents, findings",
    ),
    ("03-improvements.patch", "improvements as a patch", "fixes that are proven safe"),
    ("04-commands/", "improved commands, and which agent is for what", "commands and agents"),
    ("05-checks/", "checks that keep the repairs", "findings that warn"),
    ("06-docs/", "practices, patterns and a runbook", "findings, patterns, jobs that change things outside"),
    ("07-monitoring/", "metrics, alerts, a dashboard", "workflows"),
    ("08-benchmark.md", "times before and after", "workflows"),
    ("09-migration.md", "migration in stages", "findings that warn"),
    ("10-roadmap.md", "roadmap", "findings that warn"),
];

/// Names each of the ten, and says of one that is missing what it would have been written from.
fn index(files: &BTreeMap<String, String>) -> String {
    let mut page = page::Page::new("Deliverables");
    let rows = TEN.iter().map(|(path, what, from)| {
        let written = files.keys().filter(|file| file.starts_with(path)).count();
        let cell = match written {
            0 => format!("not written: there is nothing here of what it is made from ({from})"),
            1 if !path.ends_with('/') => format!("[{path}]({path})"),
            count => format!("[{path}]({path}) ({})", plural(count as u64, "file")),
        };
        vec![(*what).to_owned(), cell]
    });
    page.table(&["what", "where"], rows);
    page.finish()
}

impl<'a> Study<'a> {
    /// Returns the assets of a kind.
    fn assets(&self, kind: AssetKind) -> impl Iterator<Item = &'a Asset> + use<'a> {
        self.inventory.assets.iter().filter(move |asset| asset.kind == kind)
    }

    /// Returns the repository with the patch.
    fn mended_repository(&self) -> Repository {
        let texts = self.changes.iter().map(|change| (change.path.clone(), change.after.clone()));
        self.repository.with(&texts.collect())
    }

    /// Tells whether the patch mends a finding.
    fn is_mended(&self, finding: &Finding) -> bool {
        self.mended
            .iter()
            .any(|&at| self.findings.get(at).is_some_and(|mended| std::ptr::eq(mended, finding)))
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
