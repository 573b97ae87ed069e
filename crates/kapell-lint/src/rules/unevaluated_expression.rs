//! An expression without its dollar sign is taken as it stands.

use kapell_spec::github::{Job, Name, Step, Text};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::Flow,
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
    for flow in repository.github.with_steps() {
        for (_, job) in flow.jobs() {
            let given = job.steps.iter().flat_map(|step| step.with.iter().chain(&step.env));
            let texts: Vec<&(Name, Text)> =
                given.chain(&job.env).chain(&job.with).chain(&job.outputs).chain(&flow.model.env).collect();
            let Some((text, written)) = texts.iter().find_map(|(name, text)| {
                let written = bare(&text.text)?;
                let name = name.text.to_ascii_lowercase();
                (!TEXTS.iter().any(|word| name.contains(word))).then_some((text, written))
            }) else {
                in_script(flow, job, report);
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

/// Contexts that no other language of templates has, and that a script asks for only in the words of the workflow.
const OF_WORKFLOWS: &[&str] = &["secrets.", "matrix.", "needs.", "github.", "runner.os", "inputs.", "steps."];

/// The same in a script, where it is handed on to a command.
fn in_script(flow: &Flow, job: &Job, report: &mut Report<'_>) {
    // Whatever reads templates of its own may mean its own words.
    let others = [
        "<<",
        "--format",
        "-f ",
        "jinja",
        "j2",
        "gomplate",
        "tpl",
        "template",
        "sed ",
        "cookiecutter",
        "copier",
    ];
    for step in &job.steps {
        let script = step.script();
        if !script.contains("{{") || others.iter().any(|word| script.contains(word)) {
            continue;
        }
        let code = |line: &&str| !line.trim_start().starts_with('#');
        let found = script.lines().filter(code).find_map(|line| {
            let written = bare(line)?;
            let inner = written.trim_start_matches('{').trim_start();
            OF_WORKFLOWS.iter().any(|context| inner.starts_with(context)).then_some(written)
        });
        let Some(written) = found else { continue };
        let start = script.find(written).unwrap_or(0);
        report
            .add(
                flow.file,
                flow.script_line(step, start, ""),
                format!(
                    "`{written}` has no `$` in front, so the script gets these letters and not the value"
                ),
            )
            .severity(if delivers(flow, step) { Severity::High } else { Severity::Medium })
            .hint(format!("write `${written}`"))
            .done();
        return;
    }
}

/// Tells whether a step delivers something.
fn delivers(flow: &Flow, step: &Step) -> bool {
    let all = flow.jobs().flat_map(|(at, _)| flow.steps(at));
    all.into_iter().any(|(own, facts)| std::ptr::eq(own, step) && facts.mutation().is_some())
}

/// Finds `{{ context. ... }}` without a dollar sign.
fn bare(text: &str) -> Option<&str> {
    // To be told that there is none is cheaper than to be told where.
    if !text.contains("{{") {
        return None;
    }
    text.match_indices("{{").find_map(|(at, _)| {
        let inner = text[at + 2..].trim_start();
        let end = text[at..].find("}}")? + at + 2;
        let dollar = text[..at].ends_with(['$', '{', '\\']);
        (!dollar && CONTEXTS.iter().any(|context| inner.starts_with(context))).then(|| &text[at..end])
    })
}
