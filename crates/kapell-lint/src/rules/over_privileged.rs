//! `over-privileged`: an agent that shall change nothing can write.

use std::sync::LazyLock;

use kapell_spec::words::Words;
use kapell_spec::{claude::definition::Named, finding::Span};
use kapell_view::audit::{AssetKind, Confidence, FixClass, Severity};

use crate::{
    agents::{Asset, Home},
    files::File,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule, names},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "over-privileged",
    summary: "an agent that shall change nothing can write",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Conflicts,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/over-privileged.md"),
    check,
};

/// Words with which an agent is told to change nothing at all.
const READ_ONLY: &[&str] = &[
    "read-only agent",
    "never modify files",
    "never modify any file",
    "do not modify files",
    "do not modify any file",
    "do not modify any code",
    "must not modify files",
    "must not modify any file",
    "never edit files",
    "do not edit files",
    "never write or edit",
    "never change files",
    "do not change any file",
    "do not write any file",
    "do not create or modify any",
    "modify, edit, or write to any file",
    "does not modify files",
    "without modifying files",
    "never modifies files",
    "you cannot edit code",
    "you cannot edit any file",
    "you cannot edit or create any",
    "you cannot modify any file",
    "you cannot modify files",
    "you cannot write or edit",
    "you may not edit any file",
    "no edit/write tools",
];

/// How what follows begins where only some files are meant: `Do not modify files outside of src` allows the others.
const LIMITS: &[&str] = &[
    "outside", "other", "unless", "except", "in ", "until", "without", "beyond", "not ", "that ", "under ",
    "before", "yourself", "directly",
];

/// Finds the words that tell an agent to change nothing.
fn said(file: &File) -> Option<Span> {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(READ_ONLY));
    let lower = file.lower();
    if !WORDS.is_in_lower(lower) {
        return None;
    }
    READ_ONLY.iter().find_map(|words| {
        let at = lower.find(words)?;
        let rest = lower[at + words.len()..].trim_start_matches(['s', '*', ' ']);
        (!LIMITS.iter().any(|word| rest.starts_with(word))).then(|| Span::new(at, at + words.len()))
    })
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut inherit: Vec<(&Asset, Span)> = Vec::new();
    for (_, agent) in repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home != Home::Other) {
        let file = &repository.files[agent.file];
        let restricted = ["tools", "disallowedTools", "permissionMode"];
        if restricted.iter().all(|key| agent.definition.field(key).is_none()) {
            inherit.extend(said(file).map(|said| (agent, said)));
        } else {
            edits(report, agent, file);
        }
    }
    tell_inherited(report, &inherit);
    sessions(repository, report);
}

/// An agent whose list of tools has one that edits what others wrote.
fn edits(report: &mut Report<'_>, agent: &Asset, file: &File) {
    let tools = agent.definition.items("tools");
    // A report of its own may be written; edits are of what others wrote.
    let is_edit = |tool: &Named| matches!(&*tool.text, "Edit" | "MultiEdit" | "NotebookEdit");
    let Some(first) = tools.iter().find(|tool| is_edit(tool)) else { return };
    let Some(said) = said(file) else { return };
    let edits = names(tools.iter().filter(|tool| is_edit(tool)).map(|tool| &*tool.text));
    let message = format!("`{}` shall change nothing, but has {edits}", agent.name);
    let kept: Vec<&str> = tools.iter().filter(|tool| !is_edit(tool)).map(|tool| &*tool.text).collect();
    let mut draft = report.add(agent.file, first.span, message).also(agent.file, said, "what it is told");
    let field = agent.definition.field("tools").and_then(|field| field.text.as_ref());
    if let Some(value) = field.filter(|value| !file.text[value.span.range()].starts_with(['"', '\''])) {
        draft = draft.fix(
            format!("take {edits} away"),
            FixClass::Review,
            [(agent.file, value.span, kept.join(", "))],
        );
    }
    draft.done();
}

/// Agents without a list of tools have all of them: one finding for all.
fn tell_inherited(report: &mut Report<'_>, agents: &[(&Asset, Span)]) {
    let Some(((first, said), rest)) = agents.split_first() else { return };
    let message = match rest.len() {
        0 => format!("`{}` shall change nothing, but has every tool: it lists none", first.name),
        more => format!(
            "`{}` and {more} more shall change nothing, but have every tool: they list none",
            first.name
        ),
    };
    let mut draft = report
        .add(first.file, *said, message)
        .hint("list what they need, such as `tools: Read, Grep, Glob`: what is not listed cannot be used");
    for (agent, said) in rest {
        draft = draft.also(agent.file, *said, format!("what `{}` is told", agent.name));
    }
    draft.done();
}

/// Settings under which nobody is asked.
fn sessions(repository: &Repository, report: &mut Report<'_>) {
    for file in &repository.agents.hooks {
        let Some(mode) = file.hooks.mode.as_ref().filter(|mode| mode.text == "bypassPermissions") else {
            continue;
        };
        if !file.hooks.denies {
            let message = "everyone who opens this repository runs every tool without being asked";
            let hint = "drop `defaultMode` here; whoever wants it can set it in settings.local.json";
            report.add(file.file, mode.span, message).severity(Severity::High).hint(hint).done();
        }
    }
}
