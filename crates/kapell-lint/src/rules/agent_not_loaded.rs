//! `agent-not-loaded`: a file among the agents is silently skipped.

use std::borrow::Cow;

use kapell_spec::{
    claude::{definition::Hidden, reference::Names},
    finding::Span,
};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home, delegation},
    files::File,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/agent-not-loaded.md`.
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
    other_formats(repository, report);
    for (_, asset) in repository.agents.of(AssetKind::Agent).filter(|(_, asset)| asset.home != Home::Other) {
        let file = &repository.files[asset.file];
        if asset.definition.front.is_none() && is_beside(&file.path) {
            continue;
        }
        if let Some(Skipped { span, why, hint }) = skipped(asset, file) {
            let message = format!("{} is not loaded as an agent: {why}", file.name());
            let mut draft = report.add(asset.file, span, message).hint(hint);
            if asset.home == Home::Library {
                draft = draft.severity(Severity::Medium);
            }
            if asset.definition.front.is_none()
                && asset.definition.hidden.is_none()
                && starter(repository, asset).is_none()
            {
                draft = draft.severity(Severity::Medium).confidence(Confidence::Medium);
            }
            draft.done();
        } else if let Some(problem) = asset.definition.front.as_ref().and_then(|front| front.problem.as_ref())
        {
            let starter = starter(repository, asset).filter(|_| needs_quotes(repository, asset));
            let Some((from, span)) = starter else {
                let message =
                    format!("the frontmatter is no YAML: {}; only lenient readers load it", problem.text);
                report.add(asset.file, problem.span, message).severity(Severity::Low).hint(UNREADABLE).done();
                continue;
            };
            let message = format!(
                "`{}` is silently skipped by strict readers: its frontmatter is no YAML: {}",
                asset.name, problem.text
            );
            let also = format!("`{}` has work handed to it", delegation::called(from));
            report
                .add(asset.file, problem.span, message)
                .confidence(Confidence::High)
                .hint(UNREADABLE)
                .also(from.file, span, also)
                .done();
        }
    }
}

/// Finds what hands work to an agent for sure, and where.
fn starter<'a>(repository: &'a Repository, agent: &Asset) -> Option<(&'a Asset, Span)> {
    repository.agents.iter().find_map(|(_, from)| {
        let mut named = from.firm(Names::Agent).filter(|_| from.file != agent.file);
        let reference = named.find(|reference| reference.name == agent.name)?;
        Some((from, reference.span))
    })
}

/// Tells whether frontmatter that is no YAML is a slip of one agent. Where most agents of its scope are written so, their
/// client has shown that it loads them; so it does with the examples that it writes into descriptions itself.
fn needs_quotes(repository: &Repository, agent: &Asset) -> bool {
    let described = agent.definition.text("description");
    if agent.home != Home::Claude || described.is_some_and(|text| is_generated(&text.text)) {
        return false;
    }
    let beside = repository.agents.of(AssetKind::Agent).filter(|(_, other)| other.scope == agent.scope);
    let fronts = beside.filter_map(|(_, other)| other.definition.front.as_ref());
    let (slips, sound): (Vec<_>, Vec<_>) = fronts.partition(|front| front.problem.is_some());
    slips.len() == 1 || slips.len() <= sound.len()
}

/// Tells whether a description is one of those that the client writes itself: its examples stand in tags or as contexts, or
/// no colon stands in it but the one behind `Examples`.
fn is_generated(description: &str) -> bool {
    let marked = ["<example", "Context:", "\\n"].iter().any(|part| description.contains(part));
    let listed = description.contains("xample") && description.matches(": ").count() <= 1;
    marked || listed
}

/// Agents in YAML, which other clients read.
fn other_formats(repository: &Repository, report: &mut Report<'_>) {
    for (id, file) in repository.files.iter() {
        let yaml = file.path.ends_with(".yaml") || file.path.ends_with(".yml");
        let among = file.path.starts_with(".claude/agents/") || file.path.contains("/.claude/agents/");
        let keys = ["name:", "description:"];
        let defines = || keys.iter().all(|key| file.text.lines().any(|line| line.starts_with(key)));
        if yaml && among && defines() {
            let message = format!("{} is not loaded as an agent: it is no Markdown", file.name());
            report.add(id, file.line_span(1), message).hint("write it as Markdown with frontmatter").done();
        }
    }
}

/// Tells whether a file lies in a directory of what agents read.
fn is_beside(path: &str) -> bool {
    let folder = path.rsplit('/').nth(1).unwrap_or_default();
    ["checklists", "references", "templates", "prompts", "docs", "examples", "shared", "includes"]
        .contains(&folder)
}

/// Why an agent is skipped, and what has it loaded.
struct Skipped {
    span: Span,
    why: Cow<'static, str>,
    hint: &'static str,
}

impl Skipped {
    fn new(span: Span, why: impl Into<Cow<'static, str>>, hint: &'static str) -> Self {
        Self { span, why: why.into(), hint }
    }
}

/// What an agent begins with.
const FRONT: &str = "begin it with `---`, a `name`, a `description` and `---`, or move it out of the agents";

/// Returns why Claude Code skips an agent.
fn skipped(asset: &Asset, file: &File) -> Option<Skipped> {
    let definition = &asset.definition;
    let Some(front) = &definition.front else {
        let top = file.line_span(1);
        return match definition.hidden {
            Some(hidden) => Some(Skipped::new(hidden.span(), why_hidden(hidden), unhide(hidden))),
            // What is in capitals or starts with `_` explains something to people.
            None if asset.name.chars().all(|c| !c.is_lowercase()) || asset.name.starts_with('_') => None,
            None => Some(Skipped::new(top, "it has no frontmatter", FRONT)),
        };
    };
    if !front.readable {
        let problem = front.problem.as_ref()?;
        let why = format!("its frontmatter cannot be read: {}", problem.text);
        return Some(Skipped::new(problem.span, why, UNREADABLE));
    }
    let head = Span::new(front.span.start as usize, front.span.start as usize + 3);
    let Some(name) = definition.text("name") else {
        return Some(Skipped::new(
            head,
            "its frontmatter has no `name`",
            "add a `name`, which is what calls it",
        ));
    };
    if name.text.contains(':') || name.text.starts_with('-') {
        let why = format!("`{}` is no name for an agent", name.text);
        return Some(Skipped::new(
            name.span,
            why,
            "give it a name without a colon that begins with a letter",
        ));
    }
    if definition.text("description").is_none()
        && definition
            .field("description")
            .is_none_or(|field| field.node.as_ref().is_none_or(|node| node.entries().is_none()))
    {
        let hint = "add a `description` that says when to use it";
        return Some(Skipped::new(name.span, "its frontmatter has no `description`", hint));
    }
    None
}

/// What mends frontmatter that is no YAML, in most cases.
pub(super) const UNREADABLE: &str = "put the value in quotes, or write it as a block after `|`";

/// Says what has frontmatter seen.
pub(super) fn unhide(hidden: Hidden) -> &'static str {
    match hidden {
        Hidden::NotOpened(_) => "begin the file with `---`",
        Hidden::NotClosed(_) => "end the frontmatter with a line `---`",
        Hidden::Fenced(_) => "take the fence around it away",
        Hidden::Late(_) => "move it to the first line",
        Hidden::Misdrawn(_) => "draw the lines around it with three hyphens",
    }
}

/// Says why frontmatter is not seen.
pub(super) fn why_hidden(hidden: Hidden) -> &'static str {
    match hidden {
        Hidden::NotOpened(_) => "the `---` above its frontmatter is missing",
        Hidden::NotClosed(_) => "the `---` below its frontmatter is missing",
        Hidden::Fenced(_) => "its frontmatter stands in a block of code",
        Hidden::Late(_) => "its frontmatter does not start in the first line",
        Hidden::Misdrawn(_) => "the lines around its frontmatter are not `---`",
    }
}
