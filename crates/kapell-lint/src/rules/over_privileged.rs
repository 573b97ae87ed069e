//! `over-privileged`: an agent that shall change nothing can write.

use std::sync::LazyLock;

use kapell_spec::words::Words;
use kapell_spec::{claude::definition::Named, finding::Span};
use kapell_view::audit::{AssetKind, Confidence, FixClass, Severity};

use crate::{
    agents::Home,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
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
    "must not modify files",
    "must not modify any file",
    "never edit files",
    "do not edit files",
    "never write or edit",
    "never change files",
    "do not change any file",
    "do not write any file",
    "you do not write code",
    "never write code",
    "does not modify files",
    "without modifying files",
    "never modifies files",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for (_, agent) in repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home != Home::Other) {
        let tools = agent.definition.items("tools");
        let writes: Vec<&Named> = tools
            .iter()
            .filter(|tool| matches!(&*tool.text, "Edit" | "MultiEdit" | "NotebookEdit" | "Write"))
            .collect();
        let edits: Vec<&Named> = writes.iter().filter(|tool| tool.text != "Write").copied().collect();
        // A report of its own may be written; edits are of what others wrote.
        let Some(first) = edits.first() else { continue };
        let text = &repository.files[agent.file].text;
        static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(READ_ONLY));
        if !WORDS.is_in(text) {
            continue;
        }
        let lower = text.to_ascii_lowercase();
        let said = READ_ONLY.iter().find_map(|words| {
            let at = lower.find(words)?;
            // `Do not modify files outside of src` allows the others.
            let rest = lower[at + words.len()..].trim_start();
            let limited = [
                "outside", "other", "unless", "except", "in ", "until", "without", "beyond", "not ", "that ",
                "under ", "before",
            ];
            (!limited.iter().any(|word| rest.starts_with(word))).then(|| Span::new(at, at + words.len()))
        });
        let Some(said) = said else { continue };
        let message = format!("`{}` shall change nothing, but has `{}`", agent.name, first.text);
        let kept: Vec<&str> = tools
            .iter()
            .map(|tool| &*tool.text)
            .filter(|tool| !edits.iter().any(|edit| edit.text == *tool))
            .collect();
        let mut draft = report.add(agent.file, first.span, message).also(agent.file, said, "what it is told");
        let field = agent.definition.field("tools").and_then(|field| field.text.as_ref());
        if let Some(value) = field.filter(|value| !text[value.span.range()].starts_with(['"', '\''])) {
            draft = draft.fix(
                format!("take `{}` away", first.text),
                FixClass::Review,
                [(agent.file, value.span, kept.join(", "))],
            );
        }
        draft.done();
    }
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
