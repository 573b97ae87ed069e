//! An expression without its dollar sign is taken as it stands.

use kapell_spec::github::{Name, Text};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/unevaluated-expression.md`.
pub(super) static RULE: Rule = Rule {
    name: "unevaluated-expression",
    summary: "An expression without its dollar sign is taken as it stands",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/unevaluated-expression.md"),
    check,
};

/// What expressions of workflows start with; templates of other tools start with other words.
const CONTEXTS: &[&str] = &[
    "github.",
    "runner.",
    "matrix.",
    "secrets.",
    "inputs.",
    "steps.",
    "needs.",
    "vars.",
    "hashFiles(",
    "strategy.",
];

/// Inputs that take programs or texts, in which another tool may read its own templates.
const TEXTS: &[&str] =
    &["script", "run", "body", "template", "content", "config", "commands", "prompt", "message", "payload"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (_, job) in flow.jobs() {
            let given = job.steps.iter().flat_map(|step| step.with.iter().chain(&step.env));
            let texts: Vec<&(Name, Text)> =
                given.chain(&job.env).chain(&job.with).chain(&job.outputs).chain(&flow.model.env).collect();
            let Some((text, written)) = texts.iter().find_map(|(name, text)| {
                let written = bare(&text.text)?;
                let name = name.text.to_ascii_lowercase();
                (!TEXTS.iter().any(|word| name.contains(word))).then_some((text, written))
            }) else {
                continue;
            };
            report
                .add(
                    flow.file,
                    text.span,
                    format!("`{written}` has no `$` in front, so it stands for itself and not for its value"),
                )
                .hint(format!("write `${written}`"))
                .done();
        }
    }
}

/// Finds `{{ context. ... }}` without a dollar sign.
fn bare(text: &str) -> Option<&str> {
    text.match_indices("{{").find_map(|(at, _)| {
        let inner = text[at + 2..].trim_start();
        let end = text[at..].find("}}")? + at + 2;
        let dollar = text[..at].ends_with(['$', '{', '\\']);
        (!dollar && CONTEXTS.iter().any(|context| inner.starts_with(context))).then(|| &text[at..end])
    })
}
