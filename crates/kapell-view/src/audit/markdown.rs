//! An audit and an inventory as Markdown, Mermaid and DOT.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{Asset, AssetKind, AuditView, Edge, EdgeKind, Inventory, Scope, Strength};
use crate::untrusted::Untrusted;

impl AuditView {
    /// Returns the audit as a Markdown page: findings in a table, then one section each, then the graph.
    #[must_use]
    pub fn markdown(&self, title: &str) -> String {
        let prose = |text: &str| Untrusted::from(text).markdown_prose();
        let cell = |text: &str| Untrusted::from(text).markdown_cell();
        let mut page = format!("# {}\n\n", prose(title));
        let said = self.headline(&self.inventory.census(), self.warnings().count(), usize::MAX).to_plain();
        let _ = writeln!(page, "{}.\n", prose(&said));
        let warnings: Vec<_> = self.warnings().collect();
        if !warnings.is_empty() {
            page.push_str("| severity | where | what | rule |\n| --- | --- | --- | --- |\n");
        }
        for finding in &warnings {
            let place = format!("{}:{}", finding.place.path, finding.place.line);
            // A bar ends a cell, even in code.
            let what = prose(&finding.message).replace('|', "\\|");
            let _ = writeln!(
                page,
                "| {} | {} | {what} | {} |",
                finding.severity.name(),
                cell(&place),
                finding.rule
            );
        }
        for finding in &warnings {
            let text = |text: &str| Untrusted::from(text).markdown();
            let _ = writeln!(page, "\n## {}: {}\n", finding.rule, prose(&finding.message));
            let _ = writeln!(page, "{}:{}", text(&finding.place.path), finding.place.line);
            for related in &finding.related {
                let place = &related.place;
                let _ = writeln!(page, "- {}:{} {}", text(&place.path), place.line, prose(&related.text));
            }
            for line in finding.fix.iter().map(|fix| &fix.title).chain(&finding.hint) {
                let _ = writeln!(page, "\n{}", prose(line));
            }
        }
        self.add_others(&mut page);
        self.add_patterns(&mut page);
        if !self.inventory.edges.is_empty() {
            let _ = write!(page, "\n## Graph\n\n```mermaid\n{}```\n", self.inventory.mermaid());
        }
        page
    }

    /// Adds the patch, what other tools found, and what was not read.
    fn add_others(&self, page: &mut String) {
        let text = |text: &str| Untrusted::from(text).markdown();
        let prose = |text: &str| Untrusted::from(text).markdown_prose();
        if !self.patch.is_empty() {
            let block = Untrusted::from(&self.patch).markdown_block(usize::MAX);
            let _ = write!(page, "\n## Patch\n\n{}", block.replacen("text\n", "diff\n", 1));
        }
        let mut foreign = self.foreign().peekable();
        if foreign.peek().is_some() {
            page.push_str("\n## By other tools\n\n");
        }
        for found in foreign {
            let (place, rule) = (&found.place, format!("{} {}", found.tool, found.rule));
            let _ = writeln!(
                page,
                "- {}:{} {} ({})",
                text(&place.path),
                place.line,
                prose(&found.message),
                text(&rule)
            );
        }
        if !self.unread.is_empty() {
            page.push_str("\n## Not read\n\n");
        }
        for unread in &self.unread {
            let place = &unread.place;
            let _ = writeln!(page, "- {}:{} {}", text(&place.path), place.line, prose(&unread.text));
        }
    }

    /// Adds the anti-patterns that were found and the patterns in use.
    fn add_patterns(&self, page: &mut String) {
        let found: Vec<_> = self.anti_patterns.iter().filter(|found| found.count > 0).collect();
        if !found.is_empty() {
            page.push_str("\n## Anti-patterns\n\n| anti-pattern | findings | worst | rules |\n| --- | --- | --- | --- |\n");
        }
        for found in found {
            let (worst, rules) = (found.worst.name(), found.rules.join(", "));
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
    asset.kind != AssetKind::Settings
}

fn arrow(kind: EdgeKind, strength: Strength) -> &'static str {
    match (kind, strength) {
        (_, Strength::Weak) | (EdgeKind::Names, _) => "-.->",
        (EdgeKind::Awaits | EdgeKind::Feeds, _) => "-->",
        _ => "==>",
    }
}

/// What a line of the picture leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End<'a> {
    /// An asset.
    Asset(u32),
    /// A name that is no asset: whether nothing here has it, and the name.
    Name(bool, &'a str),
}

/// What is drawn: assets by the workflow they are jobs of, names that are no assets, and lines.
struct Drawing<'a> {
    alone: Vec<&'a Asset>,
    workflows: Vec<(&'a Asset, Vec<&'a Asset>)>,
    names: Vec<(bool, &'a str)>,
    lines: Vec<(u32, End<'a>, &'a Edge)>,
}

impl Drawing<'_> {
    /// Returns what a line ends at, as a picture names it.
    fn end(&self, end: End<'_>) -> String {
        match end {
            End::Asset(id) => format!("a{id}"),
            End::Name(missing, name) => {
                let at = self.names.iter().position(|known| *known == (missing, name));
                format!("n{}", at.unwrap_or(0))
            }
        }
    }
}

fn label(asset: &Asset) -> Untrusted {
    let events = if asset.events.is_empty() || asset.kind == AssetKind::Hook {
        String::new()
    } else {
        format!(" on {}", asset.events.join(", "))
    };
    Untrusted::from(format!("{} {}{events}", kind(asset.kind), asset.name))
}

impl Inventory {
    /// Returns the graph as a Mermaid flowchart. What is not here is dashed.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let drawing = self.drawing();
        let mut text = String::from("flowchart LR\n");
        if drawing.lines.is_empty() && drawing.workflows.is_empty() {
            text.push_str("  none[\"nothing here refers to anything else\"]\n");
        }
        for (workflow, jobs) in &drawing.workflows {
            let _ = writeln!(text, "  subgraph a{}[{}]", workflow.id, label(workflow).mermaid());
            for job in jobs {
                let _ = writeln!(text, "    a{}[{}]", job.id, label(job).mermaid());
            }
            text.push_str("  end\n");
        }
        for asset in &drawing.alone {
            let _ = writeln!(text, "  a{}[{}]", asset.id, label(asset).mermaid());
        }
        for (at, (missing, name)) in drawing.names.iter().enumerate() {
            let class = if *missing { ":::missing" } else { "" };
            let _ = writeln!(text, "  n{at}([{}]){class}", Untrusted::from(*name).mermaid());
        }
        for (from, end, edge) in &drawing.lines {
            let data = edge.data.as_deref().map(|data| format!("|{}|", Untrusted::from(data).mermaid()));
            let (arrow, data) = (arrow(edge.kind, edge.strength), data.unwrap_or_default());
            let _ = writeln!(text, "  a{from} {arrow}{data} {}", drawing.end(*end));
        }
        if drawing.names.iter().any(|(missing, _)| *missing) {
            text.push_str("  classDef missing stroke-dasharray: 4 4\n");
        }
        text
    }

    /// Returns the graph in the DOT language of Graphviz. What is not here is dashed.
    #[must_use]
    pub fn dot(&self) -> String {
        let drawing = self.drawing();
        let mut text = String::from("digraph orchestration {\n  rankdir=LR;\n");
        for (workflow, jobs) in &drawing.workflows {
            let _ = writeln!(text, "  subgraph cluster_a{} {{", workflow.id);
            for asset in [workflow].into_iter().chain(jobs) {
                let _ = writeln!(text, "    a{} [label={}];", asset.id, label(asset).dot());
            }
            text.push_str("  }\n");
        }
        for asset in &drawing.alone {
            let _ = writeln!(text, "  a{} [label={}];", asset.id, label(asset).dot());
        }
        for (at, (missing, name)) in drawing.names.iter().enumerate() {
            let style = if *missing { " style=dashed" } else { "" };
            let _ = writeln!(text, "  n{at} [label={} shape=box{style}];", Untrusted::from(*name).dot());
        }
        for (from, end, edge) in &drawing.lines {
            let dashed = arrow(edge.kind, edge.strength) == "-.->";
            let style = if dashed { Some("style=dashed".to_owned()) } else { None };
            let data = edge.data.as_deref().map(|data| format!("label={}", Untrusted::from(data).dot()));
            let options: Vec<String> = style.into_iter().chain(data).collect();
            let options =
                if options.is_empty() { String::new() } else { format!(" [{}]", options.join(" ")) };
            let _ = writeln!(text, "  a{from} -> {}{options};", drawing.end(*end));
        }
        text.push_str("}\n");
        text
    }

    /// Returns what is drawn: the assets that some line touches, and the workflows of such jobs.
    fn drawing(&self) -> Drawing<'_> {
        let drawn = |id: u32| self.assets.get(id as usize).is_some_and(is_drawn);
        let mut seen = BTreeSet::new();
        let mut lines = Vec::new();
        for edge in self.edges.iter().filter(|edge| drawn(edge.from)) {
            let end = match edge.to {
                Some(to) if !drawn(to) => continue,
                Some(to) => End::Asset(to),
                None => End::Name(edge.is_missing(), &edge.name),
            };
            if seen.insert((edge.from, end, edge.kind, &edge.data)) {
                lines.push((edge.from, end, edge));
            }
        }
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (from, end, _) in &lines {
            ids.insert(*from);
            if let End::Asset(to) = end {
                ids.insert(*to);
            } else if let End::Name(missing, name) = end {
                names.insert((*missing, *name));
            }
        }
        let is_job_of = |job: &Asset, workflow: &Asset| {
            job.kind == AssetKind::Job
                && matches!(&job.scope, Scope::Workflow(path) if *path == workflow.place.path)
        };
        let touched = || self.assets.iter().filter(|asset| ids.contains(&asset.id));
        let workflows = self.assets.iter().filter(|asset| asset.kind == AssetKind::Workflow);
        let with_jobs = workflows.filter_map(|workflow| {
            let jobs: Vec<&Asset> = touched().filter(|job| is_job_of(job, workflow)).collect();
            (!jobs.is_empty()).then_some((workflow, jobs))
        });
        let workflows: Vec<_> = with_jobs.collect();
        let is_within = |asset: &&Asset| {
            workflows
                .iter()
                .any(|(workflow, jobs)| workflow.id == asset.id || jobs.iter().any(|job| job.id == asset.id))
        };
        let alone = touched().filter(|asset| !is_within(asset)).collect();
        Drawing { alone, workflows, names: names.into_iter().collect(), lines }
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
