//! `name-mismatch`: an asset is called by a name that it does not have.

use std::collections::BTreeMap;

use kapell_spec::{
    claude::reference::{Names, Strength, is_kebab},
    finding::Span,
    line,
};
use kapell_view::audit::{AssetKind, Confidence, FixClass, Severity};

use crate::{
    agents::{AgentId, Asset, Home, Resolved, is_built_in},
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/name-mismatch.md`.
pub(super) static RULE: Rule = Rule {
    name: "name-mismatch",
    summary: "an agent or skill is called by the name of its file, but has another",
    group: Group::AgentGraph,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/name-mismatch.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    by_file(repository, report);
    skills(repository, report);
}

/// Agents that are called by their file's name.
fn by_file(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let mut calls: BTreeMap<AgentId, Vec<(FileId, String, Span)>> = BTreeMap::new();
    for (_, from) in agents.iter().filter(|(_, from)| from.home != Home::Other) {
        // One word alone counts where the file of an agent is called so.
        let named = from.references.iter().filter(|reference| {
            let plain = !reference.fenced && !reference.name.contains('-');
            reference.names == Names::Agent
                && (reference.strength >= Strength::Strong
                    || plain && agents.by_file(from, &reference.name).is_some())
        });
        for reference in named {
            if from.home == Home::Library && reference.strength < Strength::Certain {
                continue;
            }
            if !matches!(agents.resolve(from, reference), Resolved::Nothing(_)) {
                continue;
            }
            if let Some(id) = agents.by_file(from, &reference.name) {
                calls.entry(id).or_default().push((from.file, reference.name.clone(), reference.span));
            }
        }
        for (id, name, span) in set_to_work(repository, from) {
            let places = calls.entry(id).or_default();
            if !places.iter().any(|(file, _, known)| (*file, *known) == (from.file, span)) {
                places.push((from.file, name, span));
            }
        }
    }
    for (id, places) in calls {
        let agent = &agents[id];
        let Some(((file, name, span), rest)) = places.split_first() else { continue };
        let message =
            format!("agent `{}` is called `{name}` here, which is only its file's name", agent.name);
        let edits: Vec<_> = places.iter().map(|(file, _, span)| (*file, *span, agent.name.clone())).collect();
        let mut draft = report.add(*file, *span, message).also(agent.file, agent.head(), "its name");
        for (file, _, span) in rest {
            draft = draft.also(*file, *span, "called so here too");
        }
        draft.fix(format!("call it `{}`", agent.name), FixClass::Review, edits).done();
    }
}

/// Verbs right before a name in marks that have whoever is called so work.
const SETS_TO_WORK: &[&str] =
    &["let", "have", "ask", "use", "call", "launch", "start", "spawn", "invoke", "dispatch", "engage"];

/// Finds names in marks that are set to work, ``let **x-y** write it``, where a file of an agent is called just so and nothing has
/// that name: beside such a file they need no word `agent`.
fn set_to_work<'a>(
    repository: &'a Repository,
    from: &'a Asset,
) -> impl Iterator<Item = (AgentId, String, Span)> + 'a {
    let text = &*repository.files[from.file].text;
    let marks = from.definition.document.marks.iter().filter(|_| from.home == Home::Claude);
    marks.filter_map(move |mark| {
        let name = mark.text.trim();
        let id = is_kebab(name).then(|| repository.agents.by_file(from, name))??;
        let start = mark.span.start as usize;
        let before = text[line::start(text, start)..start].trim_end().to_ascii_lowercase();
        let before = before.strip_suffix(" the").unwrap_or(&before);
        let verb = before.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let known = repository.agents.iter().any(|(_, asset)| asset.name == name)
            || repository.agents.owns(name)
            || is_built_in(name);
        let at = start + text[mark.span.range()].find(name)?;
        let calls = SETS_TO_WORK.contains(&verb) && !known;
        calls.then(|| (id, name.to_owned(), Span::new(at, at + name.len())))
    })
}

/// Skills whose name is not that of their directory, among others that have both alike.
fn skills(repository: &Repository, report: &mut Report<'_>) {
    let named = |asset: &Asset| asset.definition.text("name").map(|name| name.text.trim().to_owned());
    let alike = |asset: &Asset| named(asset).is_none_or(|name| name == asset.name);
    let skills: Vec<&Asset> = repository
        .agents
        .of(AssetKind::Skill)
        .map(|(_, asset)| asset)
        // Right in the folder of all skills it has no directory of its own.
        .filter(|asset| asset.home == Home::Claude && asset.name != "skills")
        .collect();
    let odd: Vec<&&Asset> = skills.iter().filter(|asset| !alike(asset)).collect();
    for asset in &odd {
        let Some(name) = asset.definition.text("name") else { continue };
        let shown = name.text.contains([' ', ':']);
        let message = format!(
            "skill `{}` lies in a directory called `{}`, which is what calls it",
            name.text, asset.name
        );
        let hint = format!("write `name: {}`", asset.name);
        let mut draft = report
            .add(asset.file, name.span, message)
            .severity(Severity::Medium)
            .confidence(Confidence::Medium)
            .hint(hint);
        // A name with blanks is for showing; where most differ it is a habit.
        if shown {
            draft = draft.severity(Severity::Info);
        } else if skills.len() < 3 || odd.len() * 3 > skills.len() {
            draft = draft.severity(Severity::Low);
        }
        draft.done();
    }
}
