//! `missing-parallel-directive`: one agent for each of several things is started without a word that they may run side by side.

use kapell_spec::{
    claude::steps::{Step, is_parallel},
    finding::Span,
};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::{Asset, Home},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "missing-parallel-directive",
    summary: "one agent for each of several things is started without a word that they may run side by side",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::Sequential),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/missing-parallel-directive.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| asset.home != Home::Other) {
        let text = &repository.files[asset.file].text;
        // Only a loop over what nobody knows before needs the word; the others are found by what they read.
        let found: Vec<(Span, &Step)> =
            asset.flow.steps.iter().filter_map(|step| Some((loops(text, asset, step)?, step))).collect();
        let Some(((span, first), rest)) = found.split_first() else { continue };
        let message = format!(
            "step {} starts an agent for each item, and does not say that they may run in parallel",
            first.number
        );
        let hint = "say: launch them in parallel, with several calls in one response";
        let mut draft = report.add(asset.file, *span, message).hint(hint);
        for (span, step) in rest {
            draft = draft.also(asset.file, *span, format!("so does step {}", step.number));
        }
        draft.done();
    }
}

/// Finds the line of a step that loops over things and starts an agent right below.
fn loops(text: &str, asset: &Asset, step: &Step) -> Option<Span> {
    let body = text.get(step.span.range()).filter(|_| !step.agents.is_empty())?;
    let lower = body.to_ascii_lowercase();
    let ordered =
        ["sequential", "one at a time", "one by one", "in order", "wait for", "in turn", "before the next"];
    if is_parallel(body) || ordered.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let mut at = 0;
    for line in lower.split_inclusive('\n') {
        let start = step.span.start as usize + at;
        at += line.len();
        let trimmed = line.trim_start();
        let loops = trimmed.starts_with("for each ") || trimmed.starts_with("for every ");
        if !loops
            || !line.trim_end().ends_with(':')
            || asset.definition.document.fence_at(u32::try_from(start).ok()?).is_some()
        {
            continue;
        }
        let near = start + line.len() + 240;
        let starts = step
            .agents
            .iter()
            .any(|agent| (agent.span.start as usize) > start && (agent.span.start as usize) < near);
        return starts.then(|| Span::new(start, start + line.trim_end().len()));
    }
    None
}
