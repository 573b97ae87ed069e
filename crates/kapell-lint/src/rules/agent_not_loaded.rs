//! `agent-not-loaded`: a file among the agents is silently skipped.

use kapell_spec::{claude::definition::Hidden, finding::Span};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home},
    files::File,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "agent-not-loaded",
    summary: "a file among the agents is silently skipped",
    group: Group::AgentGraph,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::Certain,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/agent-not-loaded.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for (_, asset) in repository.agents.of(AssetKind::Agent).filter(|(_, asset)| asset.home != Home::Other) {
        let file = &repository.files[asset.file];
        if asset.definition.front.is_none() && is_beside(&file.path) {
            continue;
        }
        if let Some((span, why)) = skipped(asset, file) {
            let message = format!("{} is not loaded as an agent: {why}", file.name());
            let mut draft = report.add(asset.file, span, message);
            if asset.home == Home::Library {
                draft = draft.severity(Severity::Medium);
            }
            if asset.definition.front.is_none() && asset.definition.hidden.is_none() {
                draft = draft.severity(Severity::Medium).confidence(Confidence::Medium);
            }
            draft.done();
        } else if let Some(problem) = asset.definition.front.as_ref().and_then(|front| front.problem.as_ref())
        {
            let message =
                format!("the frontmatter is no YAML: {}; only lenient readers load it", problem.text);
            let hint = "put the value in quotes, or write it as a block after `|`";
            report.add(asset.file, problem.span, message).severity(Severity::Low).hint(hint).done();
        }
    }
}

/// Tells whether a file lies in a directory of what agents read.
fn is_beside(path: &str) -> bool {
    let folder = path.rsplit('/').nth(1).unwrap_or_default();
    ["checklists", "references", "templates", "prompts", "docs", "examples", "shared", "includes"]
        .contains(&folder)
}

/// Returns why Claude Code skips an agent.
fn skipped(asset: &Asset, file: &File) -> Option<(Span, String)> {
    let definition = &asset.definition;
    let Some(front) = &definition.front else {
        let top = file.line_span(1);
        return match definition.hidden {
            Some(hidden) => Some((hidden.span(), why_hidden(hidden).to_owned())),
            // What is in capitals or starts with `_` explains something to people.
            None if asset.name.chars().all(|c| !c.is_lowercase()) || asset.name.starts_with('_') => None,
            None => Some((top, "it has no frontmatter".to_owned())),
        };
    };
    if !front.readable {
        let problem = front.problem.as_ref()?;
        return Some((problem.span, format!("its frontmatter cannot be read: {}", problem.text)));
    }
    let head = Span::new(front.span.start as usize, front.span.start as usize + 3);
    let Some(name) = definition.text("name") else {
        return Some((head, "its frontmatter has no `name`".to_owned()));
    };
    if name.text.contains(':') || name.text.starts_with('-') {
        return Some((name.span, format!("`{}` is no name for an agent", name.text)));
    }
    if definition.text("description").is_none()
        && definition
            .field("description")
            .is_none_or(|field| field.node.as_ref().is_none_or(|node| node.entries().is_none()))
    {
        return Some((name.span, "its frontmatter has no `description`".to_owned()));
    }
    None
}

/// Says why frontmatter is not seen.
pub(super) fn why_hidden(hidden: Hidden) -> &'static str {
    match hidden {
        Hidden::NotOpened(_) => "the `---` above its frontmatter is missing",
        Hidden::NotClosed(_) => "the `---` below its frontmatter is missing",
        Hidden::Fenced(_) => "its frontmatter stands in a block of code",
        Hidden::Late(_) => "its frontmatter does not start in the first line",
    }
}
