//! The architecture as it should be: C4 diagrams from the inventory, and a record for each structural proposal.

use std::{collections::BTreeSet, fmt::Write as _};

use kapell_view::audit::{Asset, AssetKind, EdgeKind, kind as kind_name};

use super::{
    Study,
    page::{Page, at, label, slug, time},
};
use crate::rule::{Group, Rule, listed};

/// More boxes than this are no picture.
const BOXES: usize = 40;

pub(super) fn write(study: &Study<'_>) -> Vec<(String, String)> {
    let mut page = Page::new("Architecture");
    page.section(2, "Context");
    page.block("mermaid", &context(study));
    page.section(2, "Containers");
    page.block("mermaid", &containers(study));
    page.section(2, "Components");
    components(study, &mut page);
    let mut files = records(study);
    page.section(2, "Decisions");
    for (path, text) in &files {
        let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
        page.item(format!("[{title}]({})", path.trim_start_matches("02-architecture/")));
    }
    files.push(("02-architecture/README.md".to_owned(), page.finish()));
    files
}

/// What starts the workflows, and where they reach.
fn context(study: &Study<'_>) -> String {
    let flows = &study.repository.github.flows;
    let events: BTreeSet<&str> =
        flows.iter().flat_map(|flow| &flow.model.events).map(|event| &*event.name.text).collect();
    if events.is_empty() {
        return String::new();
    }
    let mut text = "C4Context\n  System(repository, \"This repository\")\n".to_owned();
    for event in &events {
        let started = flows.iter().filter(|flow| flow.starts(event)).map(|flow| flow.name().to_owned());
        let started = listed(started, 4);
        let id = slug(event).replace('-', "_");
        let _ = writeln!(text, "  System_Ext(event_{id}, \"{}\")", label(event));
        let _ = writeln!(text, "  Rel(event_{id}, repository, \"starts {}\")", label(&started));
    }
    let mut reached: BTreeSet<String> = BTreeSet::new();
    for works in flows.iter().flat_map(|flow| flow.facts.iter()).flatten().flat_map(|facts| &facts.works) {
        if works.work.kind.mutates() {
            reached.insert(program(&works.text).to_owned());
        }
    }
    for target in reached.iter().filter(|target| !target.is_empty()) {
        let id = slug(target).replace('-', "_");
        let _ = writeln!(
            text,
            "  System_Ext(out_{id}, \"{}\")\n  Rel(repository, out_{id}, \"changes\")",
            label(target)
        );
    }
    text
}

/// Programs that only run the one that is named behind them.
const RUNNERS: &[&str] = &["npx", "bunx", "uvx", "sudo"];

/// The same in two words.
const RUNNERS_OF_TWO: &[(&str, &str)] = &[
    ("pnpm", "dlx"),
    ("yarn", "dlx"),
    ("npm", "exec"),
    ("npm", "x"),
    ("bun", "x"),
    ("pipx", "run"),
    ("uv", "run"),
    ("poetry", "run"),
];

/// Returns the program that a command runs: of one that fetches and runs another, the other.
fn program(text: &str) -> &str {
    let words: Vec<&str> = text.split_whitespace().filter(|word| !word.starts_with('-')).collect();
    let mut rest = &words[..];
    loop {
        rest = match rest {
            [one, behind @ ..] if RUNNERS.contains(one) && !behind.is_empty() => behind,
            [one, two, behind @ ..] if RUNNERS_OF_TWO.contains(&(one, two)) && !behind.is_empty() => behind,
            [first, ..] if rest.len() < words.len() => return unversioned(first),
            [first, ..] => return first,
            [] => return "",
        }
    }
}

/// Returns a package without the version that is asked for: `wrangler` of `wrangler@3`.
fn unversioned(package: &str) -> &str {
    match package.rfind('@') {
        Some(at @ 1..) => &package[..at],
        _ => package,
    }
}

fn containers(study: &Study<'_>) -> String {
    const KINDS: &[AssetKind] = &[
        AssetKind::Workflow,
        AssetKind::Command,
        AssetKind::Skill,
        AssetKind::Service,
        AssetKind::Workload,
        AssetKind::Plugin,
    ];
    let chosen: Vec<&Asset> =
        study.inventory.assets.iter().filter(|asset| KINDS.contains(&asset.kind)).take(BOXES).collect();
    draw(study, "C4Container", "Container", &chosen)
}

fn components(study: &Study<'_>, page: &mut Page) {
    let agents: Vec<&Asset> = study.assets(AssetKind::Agent).take(BOXES).collect();
    page.block("mermaid", &draw(study, "C4Component", "Component", &agents));
    for flow in study.repository.github.flows.iter().filter(|flow| flow.model.jobs.len() > 1) {
        page.section(3, &format!("Jobs of `{}`", flow.path));
        let mut text = "C4Component\n".to_owned();
        for (at, job) in flow.jobs().take(BOXES) {
            let _ = writeln!(text, "  Component(job{at}, \"{}\")", label(&job.id));
        }
        for (at, job) in flow.jobs().take(BOXES) {
            for need in &job.needs {
                let position =
                    flow.model.jobs.iter().take(BOXES).position(|other| other.id.eq_ignore_ascii_case(need));
                if let Some(from) = position {
                    let _ = writeln!(text, "  Rel(job{at}, job{from}, \"needs\")");
                }
            }
        }
        page.block("mermaid", &text);
    }
}

fn draw(study: &Study<'_>, kind: &str, shape: &str, chosen: &[&Asset]) -> String {
    if chosen.is_empty() {
        return String::new();
    }
    let ids: BTreeSet<u32> = chosen.iter().map(|asset| asset.id).collect();
    let mut text = format!("{kind}\n");
    for asset in chosen {
        let (name, what) = (label(&asset.name), kind_name(asset.kind));
        let _ = writeln!(
            text,
            "  {shape}(a{}, \"{name}\", \"{what}\", \"{}\")",
            asset.id,
            label(&asset.place.path)
        );
    }
    let mut seen = BTreeSet::new();
    for edge in &study.inventory.edges {
        let Some(to) = edge.to.filter(|to| ids.contains(to) && ids.contains(&edge.from) && *to != edge.from)
        else {
            continue;
        };
        let says = match edge.kind {
            EdgeKind::Awaits => "awaits",
            EdgeKind::Calls => "calls",
            EdgeKind::Triggers => "starts",
            EdgeKind::Delegates => "delegates to",
            EdgeKind::Names => "names",
            EdgeKind::Imports => "includes",
            EdgeKind::Feeds => "feeds",
        };
        if seen.insert((edge.from, to, says)) {
            let _ = writeln!(text, "  Rel(a{}, a{to}, \"{says}\")", edge.from);
        }
    }
    text
}

/// Tells whether a rule's repair changes who waits for whom, or who calls whom.
fn is_structural(rule: &Rule) -> bool {
    matches!(
        rule.group,
        Group::CriticalPath
            | Group::Dead
            | Group::Reuse
            | Group::CrossSystem
            | Group::AgentGraph
            | Group::AgentFlow
    )
}

/// One record for each rule whose repair changes the structure.
fn records(study: &Study<'_>) -> Vec<(String, String)> {
    let structural = study.by_rule().into_iter().filter(|(rule, _)| is_structural(rule));
    structural
        .enumerate()
        .map(|(index, (rule, findings))| {
            let number = index + 1;
            let first = findings[0];
            let mut page = Page::new(&format!("{number:04}: {} in `{}`", rule.name, first.place.path));
            page.say(format!("Status: proposed for `{}`.", first.place.path));
            page.section(2, "Context");
            for finding in &findings {
                page.item(format!("{} ({}): {}.", at(finding), finding.severity.name(), finding.message));
            }
            page.section(2, "Decision");
            for finding in &findings {
                let title = finding.fix.as_ref().map(|fix| fix.title.as_str());
                if let Some(what) = title.or(finding.hint.as_deref()) {
                    page.item(format!("{}: {what}.", at(finding)));
                }
            }
            page.section(2, "Consequences");
            for finding in &findings {
                if let Some(saving) = finding.saving_seconds.filter(|&saving| saving > 0) {
                    page.item(format!("{}: a run ends {} sooner, as predicted.", at(finding), time(saving)));
                }
                for related in &finding.related {
                    let place = &related.place;
                    page.item(format!("Look at `{}:{}` too: {}.", place.path, place.line, related.text));
                }
            }
            (format!("02-architecture/decisions/{number:04}-{}.md", rule.name), page.finish())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_runner_stands_the_program() {
        let programs = [
            ("npx --yes wrangler@3 pages deploy", "wrangler"),
            ("pnpm dlx @scope/tool@1.2 publish", "@scope/tool"),
            ("sudo npm publish", "npm"),
            ("npm publish", "npm"),
            ("owner/action@v2", "owner/action@v2"),
            ("npx", "npx"),
        ];
        for (text, name) in programs {
            assert_eq!(program(text), name, "{text}");
        }
    }
}
