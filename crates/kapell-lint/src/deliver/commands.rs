//! Commands as they should be, and who is the right agent for what.

use std::ops::Range;

use kapell_spec::claude::{
    definition::Named,
    steps::{Step, is_gate},
};
use kapell_view::audit::{AssetKind, EdgeKind, Edit, Finding, Fix, FixClass};

use super::{
    Study,
    page::{Page, slug},
};
use crate::agents::Asset;

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
    // Nobody can ask one that is not loaded.
    let is_loaded = |agent: &Asset| {
        let path = &study.repository.files[agent.file].path;
        let skips = |finding: &Finding| finding.rule == "agent-not-loaded" && finding.warns();
        !study.findings.iter().any(|finding| skips(finding) && *finding.place.path == **path)
    };
    let rows = agents.of(AssetKind::Agent).filter(|(_, agent)| is_loaded(agent)).map(|(_, agent)| {
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

/// Tells whether `later` needs nothing that `before` writes, as far as both say what they read and write, and neither is a
/// checkpoint.
fn independent(before: &Step, later: &Step) -> bool {
    let told = !before.writes.is_empty() && !later.reads.is_empty();
    let shares = |name: &Named| before.writes.iter().any(|written| written.text == name.text);
    let waits = |step: &Step| step.gate || step.asks || is_gate(&step.title);
    told && !later.reads_all && !waits(before) && !waits(later) && !later.reads.iter().any(shares)
}

/// What stands in for a range of bytes.
type Change = (Range<usize>, String);

/// The command as it is, with its agents' names mended, a list of its steps to begin with, and word of what can run side by
/// side. All else stays, prompts and checkpoints above all; nothing comes of a command that gains nothing.
fn template(study: &Study<'_>, command: &Asset) -> String {
    let file = &study.repository.files[command.file];
    let mut changes = mended(study, &file.path);
    changes.extend(plan_list(command, &file.text));
    changes.extend(side_by_side(command, &file.text));
    changes.sort_by_key(|(range, _)| (range.start, range.end));
    if changes.is_empty() { String::new() } else { changed(&file.text, &changes) }
}

/// Applies changes in order; one that overlaps another is left out.
fn changed(text: &str, changes: &[Change]) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for (range, new) in changes.iter().filter(|(range, _)| text.get(range.clone()).is_some()) {
        if range.start >= at {
            out.push_str(&text[at..range.start]);
            out.push_str(new);
            at = range.end;
        }
    }
    out + &text[at..]
}

/// The edits of the findings in a file that are complete.
fn mended(study: &Study<'_>, path: &str) -> Vec<Change> {
    let fixes = study.findings.iter().filter_map(|finding| finding.fix.as_ref());
    let complete =
        |fix: &&Fix| fix.class >= FixClass::Review && fix.edits.iter().all(|edit| edit.place.path == path);
    let change = |edit: &Edit| (edit.place.start as usize..edit.place.end as usize, edit.text.clone());
    fixes.filter(complete).flat_map(|fix| &fix.edits).map(change).collect()
}

/// A sentence before the first step, where several start agents and nothing lists them yet.
fn plan_list(command: &Asset, text: &str) -> Option<Change> {
    let starting = command.flow.steps.iter().filter(|step| !step.agents.is_empty()).count();
    if starting < 2 || text.to_ascii_lowercase().contains("todo") {
        return None;
    }
    let first = command.flow.steps.iter().map(|step| step.span.start as usize).min()?;
    let first = text[..first].rfind('\n').map_or(0, |at| at + 1);
    let line =
        format!("Make one todo for each step of `{}` before the first agent starts.\n\n", command.name);
    Some((first..first, line))
}

/// A sentence beneath the first of several steps that take nothing from each other.
fn side_by_side(command: &Asset, text: &str) -> Vec<Change> {
    let mut groups: Vec<Vec<&Step>> = Vec::new();
    for step in &command.flow.steps {
        let joins = groups.last().is_some_and(|group| {
            let start = !step.agents.is_empty() && !group[0].agents.is_empty();
            start && group.iter().all(|before| independent(before, step))
        });
        match groups.last_mut() {
            Some(group) if joins => group.push(step),
            _ => groups.push(vec![step]),
        }
    }
    // Between the items of a list there is no room for a sentence.
    let is_heading =
        |step: &Step| text.get(step.span.start as usize..).is_some_and(|rest| rest.starts_with('#'));
    let told = groups.iter().filter(|group| group.len() > 1 && is_heading(group[0]));
    let change = |group: &Vec<&Step>| {
        let start = group[0].heading.start as usize;
        let end = text[start..].find('\n').map_or(text.len(), |line| start + line + 1);
        let numbers: Vec<&str> = group.iter().map(|step| step.number.as_str()).collect();
        let agents: Vec<String> =
            group.iter().flat_map(|step| &step.agents).map(|agent| format!("`{}`", agent.text)).collect();
        let line = format!(
            "\nSteps {} take nothing from each other: start {} side by side, in one message.\n",
            numbers.join(", "),
            agents.join(", ")
        );
        (end..end, line)
    };
    told.map(change).collect()
}
