//! `broken-frontmatter`: the frontmatter of a command or skill is read as its text.

use kapell_view::audit::{AssetKind, Confidence, FixClass, Severity};

use super::agent_not_loaded::{UNREADABLE, unhide, why_hidden};
use crate::{
    agents::Home,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::{claude::definition::Hidden, finding::Span};

/// See `docs/rules/broken-frontmatter.md`.
pub(super) static RULE: Rule = Rule {
    name: "broken-frontmatter",
    summary: "the frontmatter of a command or skill is read as its text",
    group: Group::AgentGraph,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/broken-frontmatter.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let kinds = [AssetKind::Command, AssetKind::Skill];
    let assets = repository
        .agents
        .iter()
        .filter(|(_, asset)| kinds.contains(&asset.kind) && asset.home == Home::Claude);
    for (_, asset) in assets {
        if let Some(hidden) = asset.definition.hidden {
            let message = format!("name and description are not read: {}", why_hidden(hidden));
            let mut draft = report.add(asset.file, hidden.span(), message);
            if !matches!(hidden, Hidden::NotOpened(_)) {
                draft = draft.hint(unhide(hidden));
            }
            if let Hidden::NotOpened(span) = hidden {
                let at = Span::new(span.start as usize, span.start as usize);
                draft =
                    draft.fix("open the frontmatter", FixClass::Safe, [(asset.file, at, "---\n".to_owned())]);
            }
            draft.done();
        } else if let Some(front) = asset.definition.front.as_ref().filter(|front| !front.readable) {
            let Some(problem) = &front.problem else { continue };
            // A skill whose description is not read is never thought of.
            let severity = if asset.kind == AssetKind::Skill { Severity::High } else { Severity::Medium };
            report
                .add(asset.file, problem.span, format!("the frontmatter is no YAML: {}", problem.text))
                .severity(severity)
                .hint(UNREADABLE)
                .done();
        }
    }
}
