//! An audit as people read it in a terminal.

use super::{AssetKind, AuditView, Finding, FixClass, Severity};
use crate::{
    text::{Line, Style, length, plural, shorten, width},
    untrusted::visible,
};

/// The most lines of the first screen: what a maintainer reads before deciding to read on.
const FIRST_SCREEN: usize = 12;

/// What kinds are counted in the headline, with their names for one and for many.
const COUNTED: &[(AssetKind, &str)] = &[
    (AssetKind::Workflow, "workflow"),
    (AssetKind::Command, "command"),
    (AssetKind::Skill, "skill"),
    (AssetKind::Agent, "agent"),
    (AssetKind::Hook, "hook"),
    (AssetKind::Mission, "mission"),
    (AssetKind::Service, "service"),
    (AssetKind::Workload, "workload"),
];

impl AuditView {
    /// Returns the findings that warn, worst first.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.warns())
    }

    /// Returns how much sooner runs would end, in seconds: the largest saving of each file, since those of one
    /// file may lie on the same path.
    #[must_use]
    pub fn saving_seconds(&self) -> u64 {
        let mut best = std::collections::BTreeMap::<&str, u32>::new();
        for finding in self.warnings() {
            let saving = best.entry(&finding.place.path).or_default();
            *saving = (*saving).max(finding.saving_seconds.unwrap_or(0));
        }
        best.values().map(|&saving| u64::from(saving)).sum()
    }

    /// Returns the first screen: a headline and the worst findings, at most a dozen lines of at most `columns`.
    #[must_use]
    pub fn lines(&self, columns: usize) -> Vec<Line> {
        let warnings: Vec<&Finding> = self.warnings().collect();
        let mut lines = vec![self.headline(warnings.len())];
        let room = FIRST_SCREEN - 2;
        let shown = if warnings.len() <= room { warnings.len() } else { room - 1 };
        let wide = warnings[..shown].iter().map(|finding| width(&whereabouts(finding))).max().unwrap_or(0);
        lines.extend(warnings[..shown].iter().map(|finding| row(finding, wide, columns)));
        if let Some(more @ 1..) = warnings.len().checked_sub(shown) {
            lines.push(Line::new(Style::Dim, format!("and {more} more")));
        }
        let notes = self.findings.len() - warnings.len();
        if notes > 0 || self.suppressed > 0 || !self.unread.is_empty() {
            lines.push(self.footer(notes));
        }
        lines.into_iter().map(|line| line.fit(columns)).collect()
    }

    fn headline(&self, warnings: usize) -> Line {
        let counts: Vec<String> = COUNTED
            .iter()
            .map(|&(kind, name)| (self.inventory.assets.iter().filter(|a| a.kind == kind).count(), name))
            .filter(|&(count, _)| count > 0)
            .map(|(count, name)| plural(count as u64, name))
            .collect();
        let among =
            if counts.is_empty() { "nothing that orchestrates".to_owned() } else { counts.join(", ") };
        if warnings == 0 {
            return Line::new(Style::Good, "nothing to mend").with(Style::Plain, format!(" in {among}"));
        }
        let mut line = Line::new(Style::Strong, plural(warnings as u64, "finding"))
            .with(Style::Plain, format!(" in {among}"));
        let safe = self.warnings().filter(|finding| is_safe(finding)).count();
        let mut extra = Vec::new();
        if safe > 0 {
            extra.push(format!("{safe} can be fixed safely"));
        }
        if let saving @ 1.. = self.saving_seconds() {
            extra.push(format!("runs end up to {} sooner", length(kapell_core::time::Millis(saving * 1000))));
        }
        if !extra.is_empty() {
            line.push(Style::Plain, format!("; {}", extra.join("; ")));
        }
        line
    }

    fn footer(&self, notes: usize) -> Line {
        let mut parts = Vec::new();
        if notes > 0 {
            parts.push(format!("{} below a warning (--output report)", plural(notes as u64, "note")));
        }
        if self.suppressed > 0 {
            parts.push(format!("{} kept quiet by comments or a baseline", self.suppressed));
        }
        if !self.unread.is_empty() {
            parts.push(format!("{} not read whole", plural(self.unread.len() as u64, "file")));
        }
        Line::new(Style::Dim, parts.join("; "))
    }

    /// Returns all findings as a ranked list of recommendations: what, where, why, and what it saves.
    #[must_use]
    pub fn recommendations(&self, columns: usize) -> Vec<Line> {
        let mut lines = vec![self.headline(self.warnings().count())];
        for (rank, finding) in self.warnings().enumerate() {
            lines.push(Line::default());
            lines.push(
                Line::new(Style::Strong, format!("{}. ", rank + 1))
                    .with(style(finding.severity), severity(finding.severity))
                    .with(Style::Plain, format!(" {}", visible(&finding.message)))
                    .with(Style::Dim, format!(" [{}]", finding.rule)),
            );
            lines.push(Line::new(Style::Dim, format!("   {}", at(finding))));
            let action = finding.fix.as_ref().map(|fix| match fix.class {
                FixClass::Safe => format!("safe fix: {}", fix.title),
                FixClass::Review => format!("fix to review: {}", fix.title),
                FixClass::Suggestion => fix.title.clone(),
            });
            for text in action.iter().chain(&finding.hint) {
                lines.push(Line::plain(format!("   {}", visible(text))));
            }
            if let Some(saving) = finding.saving_seconds {
                let saved = length(kapell_core::time::Millis(u64::from(saving) * 1000));
                lines.push(Line::new(Style::Good, format!("   a run ends about {saved} sooner")));
            }
        }
        // Messages are sentences: they are wrapped by the terminal rather than cut.
        let _ = columns;
        lines
    }
}

fn is_safe(finding: &Finding) -> bool {
    finding.fix.as_ref().is_some_and(|fix| fix.class == FixClass::Safe && !fix.edits.is_empty())
}

fn at(finding: &Finding) -> String {
    let place = &finding.place;
    format!("{}:{}:{}", visible(&place.path), place.line, place.column)
}

/// The most columns for the place of a finding on the first screen.
const PLACE_COLUMNS: usize = 34;
/// From how many columns on the rule is named too.
const WIDE_SCREEN: usize = 140;

/// Returns the end of a path, which tells files apart, and the line.
fn whereabouts(finding: &Finding) -> String {
    let line = format!(":{}", finding.place.line);
    let path = visible(&finding.place.path);
    let room = PLACE_COLUMNS - line.len();
    if width(&path) <= room {
        return path + &line;
    }
    let tail: Vec<char> = path.chars().rev().take(room - 1).collect();
    let tail: String = tail.into_iter().rev().collect();
    // Whole names, if the last one fits.
    let tail = tail.split_once('/').map_or(tail.as_str(), |(_, whole)| whole);
    format!("\u{2026}{tail}{line}")
}

/// Writes a finding in a line: how bad, where, what. The message gets all the room that is left.
fn row(finding: &Finding, place: usize, columns: usize) -> Line {
    let at = whereabouts(finding);
    let blank = " ".repeat(place.saturating_sub(width(&at)));
    let rule = if columns >= WIDE_SCREEN { format!("  {}", finding.rule) } else { String::new() };
    let room = columns.saturating_sub(10 + place + 2 + rule.len());
    Line::new(style(finding.severity), format!("{:<10}", severity(finding.severity)))
        .with(Style::Plain, format!("{at}{blank}  "))
        .with(Style::Plain, shorten(&visible(&finding.message), room))
        .with(Style::Dim, rule)
}

/// Names a severity.
#[must_use]
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Critical | Severity::High => Style::Bad,
        Severity::Medium => Style::Strong,
        Severity::Low | Severity::Info => Style::Dim,
    }
}
