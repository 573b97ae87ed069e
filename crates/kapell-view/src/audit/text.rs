//! An audit as people read it in a terminal.

use super::{
    AntiPattern, AssetKind, AuditView, Census, Finding, FixClass, Foreign, PatternKind, Place, Related,
    Severity,
};
use crate::{
    text::{Line, Style, length, plural, shorten, shorten_path, width, wrap},
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
    (AssetKind::Code, "code part"),
];

impl AuditView {
    /// Returns the findings that warn, worst first.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.warns())
    }

    /// Returns what other tools found and we did not.
    pub fn foreign(&self) -> impl Iterator<Item = &Foreign> {
        self.imported.iter().filter(|foreign| foreign.same_as.is_none())
    }

    /// Returns what other tools found and we did not, one a line, worst first.
    #[must_use]
    pub fn foreign_lines(&self) -> Vec<Line> {
        let mut worst: Vec<&Foreign> = self.foreign().collect();
        worst.sort_by_key(|foreign| std::cmp::Reverse(foreign.severity));
        let line = |foreign: &&Foreign| {
            let Place { path, line, column, .. } = &foreign.place;
            Line::new(style(foreign.severity), format!("{:<10}", foreign.severity.name()))
                .with(
                    Style::Plain,
                    format!("{}:{line}:{column}  {}", visible(path), visible(&foreign.message)),
                )
                .with(Style::Dim, format!("  {} {}", visible(&foreign.tool), visible(&foreign.rule)))
        };
        worst.iter().map(line).collect()
    }

    /// Returns the files that were not read whole, and why.
    #[must_use]
    pub fn unread_lines(&self) -> Vec<Line> {
        let line = |unread: &Related| {
            let place = if unread.place.path.is_empty() { "." } else { &unread.place.path };
            Line::new(Style::Strong, format!("{:<10}", "not read")).with(
                Style::Plain,
                format!("{}:{}  {}", visible(place), unread.place.line, visible(&unread.text)),
            )
        };
        self.unread.iter().map(line).collect()
    }

    /// Returns how much sooner runs would end, in seconds: the largest saving of each file, since those of one
    /// file may lie on the same path.
    #[must_use]
    pub fn saving_seconds(&self) -> u64 {
        largest(self.warnings(), |finding| finding.saving_seconds)
    }

    /// Returns how much less runners would work, in seconds, once for each file.
    #[must_use]
    pub fn spared_seconds(&self) -> u64 {
        largest(self.warnings(), |finding| finding.spared_seconds)
    }

    /// Returns the first screen: a headline, the worst finding in full with what to do about it, and the next ones in a line
    /// each; at most a dozen lines of at most `columns`. Findings of one rule that stand in one file, or say the same, share
    /// a line.
    #[must_use]
    pub fn lines(&self, columns: usize) -> Vec<Line> {
        self.lines_among(&self.inventory.census(), columns, 0)
    }

    /// Does the same where it is known how many assets there are, and the inventory is not at hand; `others` lines more will
    /// stand below it.
    #[must_use]
    pub fn lines_among(&self, census: &Census, columns: usize, others: usize) -> Vec<Line> {
        let warnings: Vec<&Finding> = self.warnings().collect();
        let mut lines = vec![self.headline(census, warnings.len(), columns)];
        let groups = grouped(&warnings);
        let (shown, body) = body(&groups, columns, FIRST_SCREEN - 2 - others.min(FIRST_SCREEN / 4));
        lines.extend(body);
        let told: usize = groups[..shown].iter().map(|(_, count)| count).sum();
        if let Some(more @ 1..) = warnings.len().checked_sub(told) {
            lines.push(Line::new(Style::Dim, format!("and {more} more (--output recommendations)")));
        }
        let footer = self.footer(self.findings.len() - warnings.len());
        if footer.width() > 0 {
            lines.push(footer);
        }
        lines.into_iter().map(|line| line.fit(columns)).collect()
    }

    /// Says how much was found, among what, and what mending it brings; where all that is too long, not among what.
    pub(super) fn headline(&self, census: &Census, warnings: usize, columns: usize) -> Line {
        let counts: Vec<String> =
            COUNTED.iter().filter_map(|&(kind, name)| Some(plural(census.count(kind)?, name))).collect();
        let among = if counts.is_empty() { String::new() } else { format!(" in {}", counts.join(", ")) };
        if warnings == 0 {
            // A note may have a safe fix too.
            let safe = self.findings.iter().filter(|finding| is_safe(finding)).count();
            let (found, extra) = match safe {
                0 => ("nothing to mend", String::new()),
                safe => {
                    ("nothing that warns", format!("; {} can be fixed safely", plural(safe as u64, "note")))
                }
            };
            return match (among.is_empty(), safe) {
                (true, 0) => Line::new(Style::Dim, "nothing here orchestrates agents or workflows"),
                _ => Line::new(Style::Good, found).with(Style::Plain, format!("{among}{extra}")),
            };
        }
        let line = Line::new(Style::Strong, plural(warnings as u64, "finding"));
        let safe = self.warnings().filter(|finding| is_safe(finding)).count();
        let mut extra = Vec::new();
        if safe > 0 {
            extra.push(format!("{safe} can be fixed safely"));
        }
        extra.extend(self.saved());
        let extra: String = extra.iter().map(|text| format!("; {text}")).collect();
        let whole = line.clone().with(Style::Plain, format!("{among}{extra}"));
        if whole.width() <= columns || extra.is_empty() { whole } else { line.with(Style::Plain, extra) }
    }

    /// Says what mending what warns saves: time to the end of a run, or else work of runners.
    fn saved(&self) -> Option<String> {
        let recorded = |of: fn(&Finding) -> Option<u32>| {
            self.warnings().all(|finding| finding.saving_recorded || of(finding).is_none())
        };
        match (self.saving_seconds(), self.spared_seconds()) {
            (0, 0) => None,
            (0, spared) => {
                let basis = basis(recorded(|finding| finding.spared_seconds));
                Some(format!("{} less runner time a push ({basis})", minutes(spared)))
            }
            (sooner, _) => {
                let basis = basis(recorded(|finding| finding.saving_seconds));
                let sooner = length(kapell_core::time::Millis(sooner * 1000));
                Some(format!("runs end up to {sooner} sooner ({basis})"))
            }
        }
    }

    fn footer(&self, notes: usize) -> Line {
        let mut parts = Vec::new();
        if notes > 0 {
            let of_notes =
                self.findings.iter().filter(|finding| !finding.warns() && finding.explained.is_none());
            let sooner = match largest(of_notes, |finding| finding.saving_seconds) {
                0 => String::new(),
                seconds => format!(", up to {} sooner", length(kapell_core::time::Millis(seconds * 1000))),
            };
            parts.push(format!("{} below a warning{sooner} (--output report)", plural(notes as u64, "note")));
        }
        if self.suppressed > 0 {
            parts.push(format!("{} kept quiet by comments or a baseline", self.suppressed));
        }
        if !self.unread.is_empty() {
            parts.push(format!("{} not read whole", plural(self.unread.len() as u64, "file")));
        }
        let mut tools: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
        for foreign in self.foreign() {
            *tools.entry(&foreign.tool).or_default() += 1;
        }
        parts.extend(tools.iter().map(|(tool, count)| format!("{count} more by {}", visible(tool))));
        Line::new(Style::Dim, parts.join("; "))
    }

    /// Returns the anti-patterns that were found, worst first, and how often each pattern is in use with an example.
    #[must_use]
    pub fn summary(&self, columns: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut found: Vec<&AntiPattern> =
            self.anti_patterns.iter().filter(|found| found.count > 0).collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.worst));
        if !found.is_empty() {
            lines.extend([Line::default(), Line::new(Style::Strong, "anti-patterns")]);
        }
        for found in found {
            let count = plural(u64::from(found.count), "finding");
            lines.push(
                Line::new(style(found.worst), format!("  {:8}", found.worst.name()))
                    .with(Style::Plain, format!(" {}, {count}", found.name))
                    .with(Style::Dim, format!(" [{}]", found.rules.join(", "))),
            );
        }
        if !self.patterns.is_empty() {
            lines.extend([Line::default(), Line::new(Style::Strong, "patterns in use")]);
        }
        for kind in PatternKind::ALL {
            let mut seen = self.patterns.iter().filter(|pattern| pattern.kind == kind);
            let Some(first) = seen.next() else { continue };
            let more = match seen.count() {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let place = format!(" {}:{}", visible(&first.place.path), first.place.line);
            lines.push(
                Line::new(Style::Plain, format!("  {}: {}{more}", kind.name(), visible(&first.text)))
                    .with(Style::Dim, place),
            );
        }
        lines.into_iter().map(|line| line.fit(columns)).collect()
    }

    /// Returns all findings as a ranked list of recommendations: what, where, why, and what it saves.
    #[must_use]
    pub fn recommendations(&self, census: &Census, columns: usize) -> Vec<Line> {
        let mut lines = vec![self.headline(census, self.warnings().count(), columns)];
        for (rank, finding) in self.warnings().enumerate() {
            lines.push(Line::default());
            lines.push(
                Line::new(Style::Strong, format!("{}. ", rank + 1))
                    .with(style(finding.severity), finding.severity.name())
                    .with(Style::Plain, format!(" {}", visible(&finding.message)))
                    .with(Style::Dim, format!(" [{}]", finding.rule)),
            );
            lines.push(Line::new(Style::Dim, format!("   {}", at(finding))));
            for text in action(finding).iter().chain(&finding.hint) {
                lines.push(Line::plain(format!("   {}", visible(text))));
            }
            let basis = basis(finding.saving_recorded);
            let time = |seconds: u32| length(kapell_core::time::Millis(u64::from(seconds) * 1000));
            let sooner = finding
                .saving_seconds
                .map(|saving| format!("   a run ends about {} sooner ({basis})", time(saving)));
            let spared = finding
                .spared_seconds
                .map(|spared| format!("   {} less runner time each time ({basis})", minutes(spared.into())));
            lines.extend([sooner, spared].into_iter().flatten().map(|text| Line::new(Style::Good, text)));
        }
        // Messages are sentences: they are wrapped by the terminal rather than cut.
        lines
    }
}

/// Adds up the largest number of each file.
fn largest<'a>(findings: impl Iterator<Item = &'a Finding>, of: impl Fn(&Finding) -> Option<u32>) -> u64 {
    let mut best = std::collections::BTreeMap::<&str, u32>::new();
    for finding in findings {
        let most = best.entry(&finding.place.path).or_default();
        *most = (*most).max(of(finding).unwrap_or(0));
    }
    best.values().map(|&most| u64::from(most)).sum()
}

/// Writes what adds up from many estimates: in whole minutes, where there are some.
fn minutes(seconds: u64) -> String {
    match seconds {
        0..120 => length(kapell_core::time::Millis(seconds * 1000)),
        _ => format!("{}m", (seconds + 30) / 60),
    }
}

/// Says what a saving is computed from.
fn basis(recorded: bool) -> &'static str {
    if recorded { "recorded" } else { "predicted" }
}

fn is_safe(finding: &Finding) -> bool {
    finding.explained.is_none()
        && finding.fix.as_ref().is_some_and(|fix| fix.class == FixClass::Safe && !fix.edits.is_empty())
}

fn at(finding: &Finding) -> String {
    let place = &finding.place;
    format!("{}:{}:{}", visible(&place.path), place.line, place.column)
}

/// The most columns for the place of a finding on a narrow first screen; the message needs them more.
const PLACE_COLUMNS: usize = 26;
/// From how many columns on the rule is named beside the message.
const WIDE_SCREEN: usize = 140;
/// What stands before a message on a line of its own.
const INDENT: &str = "    ";

/// Takes findings of one rule that stand in one file, or say the same, together: the first of them, and how many they are.
fn grouped<'a>(findings: &[&'a Finding]) -> Vec<(&'a Finding, usize)> {
    let mut groups: Vec<(&Finding, usize)> = Vec::new();
    for finding in findings {
        let alike = |(first, _): &&mut (&Finding, usize)| {
            first.rule == finding.rule
                && first.severity == finding.severity
                && (first.place.path == finding.place.path || first.message == finding.message)
        };
        match groups.iter_mut().find(alike) {
            Some((_, count)) => *count += 1,
            None => groups.push((finding, 1)),
        }
    }
    groups
}

/// The fix of a finding, with who may apply it.
fn action(finding: &Finding) -> Option<String> {
    finding.fix.as_ref().map(|fix| match fix.class {
        FixClass::Safe => format!("safe fix: {}", fix.title),
        FixClass::Review => format!("fix to review: {}", fix.title),
        FixClass::Suggestion => fix.title.clone(),
    })
}

/// Writes as many findings as `room` lines hold, those of the first screen beside its headline and its footer; returns how
/// many these are.
///
/// The worst is told in full, with what to do about it: whoever reads no further can act. The others have a line each, where
/// their messages are cut if need be; `--output recommendations` has them whole.
fn body(groups: &[(&Finding, usize)], columns: usize, room: usize) -> (usize, Vec<Line>) {
    let Some((worst, others)) = groups.split_first() else { return (0, Vec::new()) };
    let near = &others[..others.len().min(room)];
    let all = || std::iter::once(worst).chain(near);
    let table = Table::of(all(), columns);
    let mut lines = match table.row(worst, columns) {
        row if columns >= WIDE_SCREEN || row.len() == 1 => row,
        _ => paragraph(worst, columns),
    };
    lines.extend(to_do(worst.0, columns));
    // A line is kept for the number of those that follow.
    let left = room.saturating_sub(lines.len());
    let shown = if others.len() > left { left.saturating_sub(1) } else { others.len() };
    // Where all have room, what is left of it tells the worst of them whole.
    let mut spare = left.saturating_sub(others.len());
    for group in &near[..shown] {
        let row = table.row(group, columns);
        match spare.checked_sub(row.len() - 1) {
            Some(rest) => {
                spare = rest;
                lines.extend(row);
            }
            None => lines.push(table.line(group, columns)),
        }
    }
    (1 + shown, lines)
}

/// The most lines of what to do about the worst finding.
const TO_DO: usize = 2;

/// Says what to do about a finding, in at most two lines.
fn to_do(finding: &Finding, columns: usize) -> Vec<Line> {
    let Some(text) = action(finding).or_else(|| finding.hint.clone()) else { return Vec::new() };
    let start = format!("{INDENT}to do: ");
    let room = columns.saturating_sub(start.len()).max(1);
    let mut told = wrap(&visible(&text), room);
    if told.len() > TO_DO {
        let rest = told.split_off(TO_DO - 1).join(" ");
        told.push(shorten(&rest, room));
    }
    let blank = " ".repeat(start.len());
    let line = |(at, text): (usize, String)| {
        Line::new(Style::Good, if at == 0 { start.clone() } else { blank.clone() }).with(Style::Plain, text)
    };
    told.into_iter().enumerate().map(line).collect()
}

/// Returns the end of a path, and the line.
fn whereabouts(finding: &Finding, most: usize) -> String {
    shorten_path(&format!("{}:{}", visible(&finding.place.path), finding.place.line), most)
}

/// Says how often it is found, if not once, and what mending it saves.
fn aside(finding: &Finding, count: usize) -> String {
    let times = (count > 1).then(|| format!("{count} times"));
    let time = |seconds: u32| length(kapell_core::time::Millis(u64::from(seconds) * 1000));
    let sooner = finding.saving_seconds.map(|seconds| format!("{} sooner", time(seconds)));
    let spared = finding.spared_seconds.map(|seconds| format!("{} runner time", minutes(seconds.into())));
    let parts: Vec<String> = [times, sooner.or(spared)].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) }
}

/// The columns of findings that stand below each other: how bad, where, what.
struct Table {
    /// How wide the severities are.
    bad: usize,
    /// How wide the places are.
    wide: usize,
    /// How wide a place may be.
    most: usize,
    /// Whether the rule is named beside the message.
    is_wide: bool,
}

impl Table {
    fn of<'a>(groups: impl Iterator<Item = &'a (&'a Finding, usize)> + Clone, columns: usize) -> Self {
        let is_wide = columns >= WIDE_SCREEN;
        let most = if is_wide { columns * 28 / 100 } else { PLACE_COLUMNS };
        let bad = groups.clone().map(|(finding, _)| finding.severity.name().len()).max().unwrap_or(0);
        let wide = groups.map(|(finding, _)| width(&whereabouts(finding, most))).max().unwrap_or(0);
        Self { bad, wide, most, is_wide }
    }

    /// What stands before the message.
    fn head(&self, finding: &Finding) -> Line {
        let (bad, place) = (self.bad, whereabouts(finding, self.most));
        let blank = " ".repeat(self.wide.saturating_sub(width(&place)));
        Line::new(style(finding.severity), format!("{:<bad$}  ", finding.severity.name()))
            .with(Style::Plain, format!("{place}{blank}  "))
    }

    /// What stands behind the message.
    fn end(&self, (finding, count): &(&Finding, usize)) -> String {
        aside(finding, *count) + &if self.is_wide { format!("  {}", finding.rule) } else { String::new() }
    }

    /// How many columns there are for the message.
    fn room(&self, columns: usize) -> usize {
        columns.saturating_sub(self.bad + self.wide + 4).max(1)
    }

    /// Writes a finding in full; its message goes on below if it has to.
    fn row(&self, group: &(&Finding, usize), columns: usize) -> Vec<Line> {
        let (end, indent) = (self.end(group), " ".repeat(self.bad + self.wide + 4));
        let mut message = wrap(&visible(&group.0.message), self.room(columns)).into_iter();
        let mut lines = vec![self.head(group.0).with(Style::Plain, message.next().unwrap_or_default())];
        lines.extend(message.map(|rest| Line::plain(format!("{indent}{rest}"))));
        match lines.last_mut() {
            Some(last) if last.width() + width(&end) <= columns => last.push(Style::Dim, end),
            _ => lines.push(Line::new(Style::Dim, format!("{indent}{}", end.trim_start()))),
        }
        lines
    }

    /// Writes a finding in one line; its message is cut if it has to be.
    fn line(&self, group: &(&Finding, usize), columns: usize) -> Line {
        let end = self.end(group);
        let room = self.room(columns).saturating_sub(width(&end));
        self.head(group.0).with(Style::Plain, shorten(&visible(&group.0.message), room)).with(Style::Dim, end)
    }
}

/// Writes a finding on lines of its own: how bad, where, by which rule; below it, what.
fn paragraph((finding, count): &(&Finding, usize), columns: usize) -> Vec<Line> {
    let bad = format!("{}  ", finding.severity.name());
    let end = format!("{}  {}", aside(finding, *count), finding.rule);
    let place = whereabouts(finding, columns.saturating_sub(bad.len() + end.len()));
    let head = Line::new(style(finding.severity), bad).with(Style::Plain, place).with(Style::Dim, end);
    let message = wrap(&visible(&finding.message), columns.saturating_sub(INDENT.len()));
    let message = message.into_iter().map(|line| Line::plain(format!("{INDENT}{line}")));
    std::iter::once(head).chain(message).collect()
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Critical | Severity::High => Style::Bad,
        Severity::Medium => Style::Strong,
        Severity::Low | Severity::Info => Style::Dim,
    }
}
