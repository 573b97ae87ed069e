//! Commands as they should be, and who is the right agent for what.

use std::fmt::Write as _;

use kapell_spec::claude::{definition::Named, steps::Step};
use kapell_view::audit::{AssetKind, EdgeKind};

use super::{
    Study,
    page::{Page, slug},
};
use crate::agents::{Asset, Resolved};

pub(super) fn write(study: &Study<'_>) -> Vec<(String, String)> {
    let mut files = vec![("04-commands/agent-selection.md".to_owned(), selection(study))];
    for (_, command) in study.repository.agents.of(AssetKind::Command) {
        let text = template(study, command);
        if !text.is_empty() {
            files.push((format!("04-commands/{}.md", slug(&command.name)), text));
        }
    }
    files
}

/// A table of the agents that there are: what each is for, its tools, who asks it.
fn selection(study: &Study<'_>) -> String {
    let agents = &study.repository.agents;
    let mut page = Page::new("Which agent for what");
    let rows = agents.of(AssetKind::Agent).map(|(_, agent)| {
        let text = |key: &str| agent.definition.text(key).map_or("", |value| value.text.as_str());
        let short: String =
            text("description").split(". ").next().unwrap_or_default().chars().take(140).collect();
        let tools: Vec<&str> =
            agent.definition.items("tools").iter().map(|tool| tool.text.as_str()).collect();
        let tools = if tools.is_empty() { "all".to_owned() } else { tools.join(", ") };
        let model = if text("model").is_empty() { "inherit" } else { text("model") };
        vec![
            format!("`{}`", agent.name),
            short.replace("\\n", " "),
            tools,
            model.to_owned(),
            callers(study, &agent.name),
        ]
    });
    page.table(&["agent", "for", "tools", "model", "asked by"], rows);
    page.finish()
}

fn callers(study: &Study<'_>, agent: &str) -> String {
    let edges =
        study.inventory.edges.iter().filter(|edge| edge.name == agent && edge.kind != EdgeKind::Imports);
    let mut names: Vec<String> = edges
        .filter_map(|edge| study.inventory.assets.get(edge.from as usize))
        .map(|asset| format!("`{}`", asset.name))
        .collect();
    names.sort();
    names.dedup();
    names.truncate(6);
    names.join(", ")
}

/// Tells whether `later` needs nothing that `before` writes, as far as both say what they read and write.
fn independent(before: &Step, later: &Step) -> bool {
    let told = !before.writes.is_empty() && !later.reads.is_empty();
    let shares = |name: &Named| before.writes.iter().any(|written| written.text == name.text);
    told && !later.reads_all
        && !later.gate
        && !later.asks
        && !before.asks
        && !before.gate
        && !later.reads.iter().any(shares)
}

/// A command with its steps in groups that can run side by side, each with the agents that are there.
fn template(study: &Study<'_>, command: &Asset) -> String {
    let steps: Vec<&Step> = command.flow.steps.iter().filter(|step| !step.agents.is_empty()).collect();
    if steps.len() < 2 {
        return String::new();
    }
    let mut groups: Vec<Vec<&Step>> = Vec::new();
    for step in steps {
        let joins = groups.last().is_some_and(|group| group.iter().all(|before| independent(before, step)));
        match groups.last_mut() {
            Some(group) if joins => group.push(step),
            _ => groups.push(vec![step]),
        }
    }
    let description = command.definition.text("description").map_or("", |text| text.text.as_str());
    let mut text = String::new();
    if !description.is_empty() {
        let quoted = description.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
        let _ = writeln!(text, "---\ndescription: \"{quoted}\"\n---\n");
    }
    let _ = writeln!(
        text,
        "# {}\n\nMake one todo for each agent of `{}` before the first starts.",
        command.name, command.name
    );
    for (at, group) in groups.iter().enumerate() {
        let side = if group.len() > 1 { ", side by side in one message" } else { "" };
        let titles: Vec<&str> = group.iter().map(|step| step.title.as_str()).collect();
        let _ = writeln!(text, "\n## Step {}: {}{side}\n", at + 1, titles.join("; "));
        for agent in group.iter().flat_map(|step| &step.agents) {
            let _ = writeln!(text, "- {}", line(study, command, agent));
        }
        for written in group.iter().flat_map(|step| &step.writes) {
            let _ = writeln!(text, "- Of `{}`, hand on {}.", command.name, written.text);
        }
    }
    text
}

fn line(study: &Study<'_>, command: &Asset, agent: &Named) -> String {
    let reference = command.references.iter().find(|reference| reference.name == agent.text);
    match reference.map(|reference| study.repository.agents.resolve(command, reference)) {
        Some(Resolved::Nothing(Some(near))) => {
            format!("`{}` is not defined; the nearest agent is `{near}`", agent.text)
        }
        Some(Resolved::Nothing(None)) => {
            format!("`{}` is not defined: define it, or do this part directly", agent.text)
        }
        _ => format!("`{}`", agent.text),
    }
}
