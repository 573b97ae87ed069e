//! An audit and an inventory as Markdown, Mermaid and DOT.

use std::fmt::Write as _;

use super::{Asset, AssetKind, AuditView, EdgeKind, Inventory, Strength, text::severity};
use crate::untrusted::Untrusted;

impl AuditView {
    /// Returns the audit as a Markdown page: findings in a table, then one section each, then the graph.
    #[must_use]
    pub fn markdown(&self, title: &str) -> String {
        let mut page = format!("# {}\n\n", Untrusted::from(title).markdown());
        let warnings: Vec<_> = self.warnings().collect();
        if warnings.is_empty() {
            page.push_str("Nothing to mend.\n");
        } else {
            page.push_str("| severity | where | what | rule |\n| --- | --- | --- | --- |\n");
        }
        for finding in &warnings {
            let cell = |text: &str| Untrusted::from(text).markdown_cell();
            let place = format!("{}:{}", finding.place.path, finding.place.line);
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} |",
                severity(finding.severity),
                cell(&place),
                cell(&finding.message),
                finding.rule
            );
        }
        for finding in &warnings {
            let text = |text: &str| Untrusted::from(text).markdown();
            let _ = writeln!(page, "\n## {}: {}\n", finding.rule, text(&finding.message));
            let _ = writeln!(page, "{}:{}", text(&finding.place.path), finding.place.line);
            for related in &finding.related {
                let place = &related.place;
                let _ = writeln!(page, "- {}:{} {}", text(&place.path), place.line, text(&related.text));
            }
            for line in finding.fix.iter().map(|fix| &fix.title).chain(&finding.hint) {
                let _ = writeln!(page, "\n{}", text(line));
            }
        }
        self.add_patterns(&mut page);
        if !self.inventory.edges.is_empty() {
            let _ = write!(page, "\n## Graph\n\n```mermaid\n{}```\n", self.inventory.mermaid());
        }
        page
    }

    /// Adds the anti-patterns that were found and the patterns in use.
    fn add_patterns(&self, page: &mut String) {
        let found: Vec<_> = self.anti_patterns.iter().filter(|found| found.count > 0).collect();
        if !found.is_empty() {
            page.push_str("\n## Anti-patterns\n\n| anti-pattern | findings | worst | rules |\n| --- | --- | --- | --- |\n");
        }
        for found in found {
            let (worst, rules) = (severity(found.worst), found.rules.join(", "));
            let _ = writeln!(page, "| {} | {} | {worst} | {rules} |", found.name, found.count);
        }
        if !self.patterns.is_empty() {
            page.push_str("\n## Patterns in use\n\n| pattern | where | seen by |\n| --- | --- | --- |\n");
        }
        for pattern in &self.patterns {
            let cell = |text: &str| Untrusted::from(text).markdown_cell();
            let place = format!("{}:{}", pattern.place.path, pattern.place.line);
            let (kind, text) = (pattern.kind.name(), pattern.text.replace('`', ""));
            let _ = writeln!(page, "| {kind} | {} | {} |", cell(&place), cell(&text));
        }
    }
}

/// Kinds that are drawn; jobs stand in their workflow.
fn is_drawn(asset: &Asset) -> bool {
    !matches!(asset.kind, AssetKind::Settings | AssetKind::Code)
}

fn arrow(kind: EdgeKind, strength: Strength) -> &'static str {
    match (kind, strength) {
        (_, Strength::Weak) | (EdgeKind::Names, _) => "-.->",
        (EdgeKind::Awaits | EdgeKind::Feeds, _) => "-->",
        _ => "==>",
    }
}

impl Inventory {
    /// Returns the graph as a Mermaid flowchart.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for asset in self.linked() {
            let label = Untrusted::from(format!("{} {}", kind(asset.kind), asset.name)).mermaid();
            let _ = writeln!(text, "  a{}[{label}]", asset.id);
        }
        for (from, to, edge) in self.drawn_edges() {
            let _ = writeln!(text, "  a{from} {} a{to}", arrow(edge.kind, edge.strength));
        }
        text
    }

    /// Returns the graph in the DOT language of Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph orchestration {\n  rankdir=LR;\n");
        for asset in self.linked() {
            let label = Untrusted::from(format!("{} {}", kind(asset.kind), asset.name)).dot();
            let _ = writeln!(text, "  a{} [label={label}];", asset.id);
        }
        for (from, to, edge) in self.drawn_edges() {
            let style = if arrow(edge.kind, edge.strength) == "-.->" { " [style=dashed]" } else { "" };
            let _ = writeln!(text, "  a{from} -> a{to}{style};");
        }
        text.push_str("}\n");
        text
    }

    /// Returns the assets that some edge touches.
    fn linked(&self) -> impl Iterator<Item = &Asset> {
        let ids: std::collections::BTreeSet<u32> =
            self.drawn_edges().flat_map(|(from, to, _)| [from, to]).collect();
        self.assets.iter().filter(move |asset| ids.contains(&asset.id))
    }

    fn drawn_edges(&self) -> impl Iterator<Item = (u32, u32, &super::Edge)> {
        let drawn = |id: u32| self.assets.get(id as usize).is_some_and(is_drawn);
        let mut seen = std::collections::BTreeSet::new();
        self.edges
            .iter()
            .filter_map(move |edge| {
                edge.to.filter(|&to| drawn(edge.from) && drawn(to)).map(|to| (edge.from, to, edge))
            })
            .filter(move |&(from, to, edge)| seen.insert((from, to, edge.kind)))
    }
}

/// Names a kind of asset.
#[must_use]
pub fn kind(kind: AssetKind) -> &'static str {
    match kind {
        AssetKind::Workflow => "workflow",
        AssetKind::Job => "job",
        AssetKind::Action => "action",
        AssetKind::Command => "command",
        AssetKind::Skill => "skill",
        AssetKind::Agent => "agent",
        AssetKind::Hook => "hook",
        AssetKind::Settings => "settings",
        AssetKind::Plugin => "plugin",
        AssetKind::Script => "script",
        AssetKind::Memory => "memory",
        AssetKind::Mission => "mission",
        AssetKind::Service => "service",
        AssetKind::Workload => "workload",
        AssetKind::Code => "code",
    }
}
