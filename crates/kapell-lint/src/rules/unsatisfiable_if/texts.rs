//! Texts that are taken for truth values: `'false'` is a text that is not empty, so it counts as true.

use kapell_core::expr::{Node, NodeKind};
use kapell_spec::{
    finding::Span,
    github::{Expression, Input, Job, Name, Step},
};
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, Github, LocalAction, StepFacts, carry},
    rule::Report,
};

use super::values;

/// A text where a truth value is asked for.
struct Asked {
    /// What is asked, in small letters.
    path: String,
    /// Whether what stands there asks for the opposite, so that it never holds.
    negated: bool,
    span: Span,
    /// The job that asks.
    job: usize,
}

/// Looks at all that a workflow, or a composite action, asks of its inputs. One input is one mistake.
pub(super) fn check(github: &Github, flow: &Flow, report: &mut Report<'_>) {
    let action = github.actions.values().find(|action| action.file == flow.file);
    let conditions: Vec<Span> = flow.jobs().flat_map(|(_, job)| conditions(job)).collect();
    let mut found: Vec<Asked> = Vec::new();
    for (at, job) in flow.jobs() {
        for expression in &job.expressions {
            let decides = conditions.contains(&expression.scalar);
            asked(expression, decides, &mut |path, negated| {
                if is_text(flow, action, &path) || is_output(flow, at, &path) {
                    let path = path.join(".");
                    found.push(Asked { path, negated, span: expression.span(&flow.text), job: at });
                }
            });
        }
    }
    while let Some(first) = found.first() {
        let path = first.path.clone();
        let (same, rest): (Vec<Asked>, Vec<Asked>) = found.into_iter().partition(|asked| asked.path == path);
        add(flow, &same, report);
        found = rest;
    }
}

fn add(flow: &Flow, same: &[Asked], report: &mut Report<'_>) {
    let first = &same[0];
    let path = &first.path;
    let grave = same.iter().any(|asked| carry::changes(flow, asked.job)) || same.len() > 1;
    let (says, shown) = match first.negated {
        true => ("never holds", format!("!{path}")),
        false => ("always holds", path.clone()),
    };
    let from = if path.starts_with("github.") { " on `workflow_dispatch`" } else { "" };
    let wanted = if first.negated { "false" } else { "true" };
    let hint = match path.strip_prefix("github.event.") {
        Some(own) => format!("write `{}{own}`, which is a boolean", if first.negated { "!" } else { "" }),
        None => format!("write `{path} == '{wanted}'`"),
    };
    let mut draft = report
        .add(
            flow.file,
            first.span,
            format!("`{shown}` {says}{from}: it is the text `'true'` or `'false'`, and both count as true"),
        )
        .severity(if grave { Severity::High } else { Severity::Medium })
        .hint(hint);
    let mut told = vec![first.span];
    for asked in &same[1..] {
        if !told.contains(&asked.span) {
            told.push(asked.span);
            draft = draft.also(flow.file, asked.span, "here too");
        }
    }
    draft.done();
}

/// Returns where the conditions of a job and its steps stand.
fn conditions(job: &Job) -> impl Iterator<Item = Span> {
    let of_steps = job.steps.iter().filter_map(|step| step.condition.as_ref());
    job.condition.iter().chain(of_steps).map(|condition| condition.span)
}

/// Calls `visit` with each path whose truth decides, and whether its opposite is asked for. The whole of a condition decides,
/// and so does each part of it.
fn asked(expression: &Expression, decides: bool, visit: &mut dyn FnMut(Vec<&str>, bool)) {
    let root = expression.expr.root();
    let mut tell = |node: &Node, negated: bool| {
        let NodeKind::Access { .. } = &node.kind else { return };
        let references = node.references();
        if let Some(reference) = references.first().filter(|reference| reference.whole) {
            visit(reference.path.iter().map(|(name, _)| *name).collect(), negated);
        }
    };
    let mut stack = vec![root];
    while let Some(node) = stack.pop().filter(|_| decides) {
        match &node.kind {
            NodeKind::And(operands) | NodeKind::Or(operands) => stack.extend(operands),
            _ => tell(node, false),
        }
    }
    root.walk(&mut |node| match &node.kind {
        NodeKind::Not(inner) => tell(inner, true),
        // `a && 'x' || 'y'`: all but the last decide. `a || 'y'` is a value that may be left out.
        NodeKind::And(operands) if !decides => {
            operands[..operands.len() - 1].iter().for_each(|operand| tell(operand, false));
        }
        _ => {}
    });
}

/// Tells whether a path is an input that is always one of the texts `true` and `false`.
///
/// Source: GitHub, "Workflow syntax", `on.workflow_dispatch.inputs`: the `inputs` context keeps a boolean as one, while
/// `github.event.inputs` makes a text of it; the inputs of an action are texts.
fn is_text(flow: &Flow, action: Option<&LocalAction>, path: &[&str]) -> bool {
    let lower: Vec<String> = path.iter().map(|part| part.to_ascii_lowercase()).collect();
    let parts: Vec<&str> = lower.iter().map(String::as_str).collect();
    let named = |input: &&Input, name: &str| input.name.text.eq_ignore_ascii_case(name);
    match (&parts[..], action) {
        (["github", "event", "inputs", name], None) => flow
            .model
            .event("workflow_dispatch")
            .and_then(|event| event.inputs.iter().find(|input| named(input, name)))
            .is_some_and(|input| kind(input) == Some("boolean") || either(input)),
        (["inputs", name], None) => {
            let mut given = flow.model.events.iter().flat_map(|event| &event.inputs);
            let mut same = given.by_ref().filter(|input| named(input, name)).peekable();
            same.peek().is_some() && same.all(either)
        }
        (["inputs", name], Some(action)) => {
            action.model.inputs.iter().find(|input| named(input, name)).is_some_and(is_word)
        }
        _ => false,
    }
}

/// Actions with an output that is always one of the texts `true` and `false`.
///
/// Source: their READMEs, sections "Outputs". Those that leave it empty are none of them.
const EITHER: &[(&str, &[&str])] = &[
    ("changesets/action", &["published", "hasChangesets"]),
    ("fkirc/skip-duplicate-actions", &["should_skip"]),
    (
        "tj-actions/changed-files",
        &["any_changed", "any_modified", "any_deleted", "only_changed", "only_modified", "only_deleted"],
    ),
];

/// Tells whether a path is an output, of a step or of a job that hands it on, that is written as `true` and as `false`.
fn is_output(flow: &Flow, at: usize, path: &[&str]) -> bool {
    match path {
        ["steps", id, "outputs", output] => {
            let named =
                |step: &Step| step.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id));
            let found = flow.steps(at).find(|(step, _)| named(step));
            found.is_some_and(|(step, facts)| says_either(step, facts, output))
        }
        ["needs", id, "outputs", name] => values::handed_on(flow, id, name)
            .is_some_and(|(at, step, output)| is_output(flow, at, &["steps", step, "outputs", output])),
        _ => false,
    }
}

fn says_either(step: &Step, facts: &StepFacts, output: &str) -> bool {
    let of_filter = || {
        let filters = step.input("filters").map_or("", |text| &text.text);
        let named = |line: &str| {
            line.trim_end().strip_suffix(':').is_some_and(|name| name.trim() == output)
                || line.trim_start().starts_with(&format!("{output}: "))
        };
        step.is("dorny/paths-filter") && filters.lines().any(named)
    };
    let known = EITHER.iter().any(|(action, outputs)| step.is(action) && outputs.contains(&output));
    let written = || {
        let values = values::written(step, facts, output)?;
        let word = |value: &String| matches!(value.as_str(), "true" | "false");
        Some(values.len() == 2 && values.iter().all(word))
    };
    known || of_filter() || step.run.is_some() && written().unwrap_or(false)
}

fn kind(input: &Input) -> Option<&str> {
    input.kind.as_ref().map(|kind| &*kind.text)
}

/// Tells whether an input is a text that is `true` or `false`: by the words that it may be, or by its default.
fn either(input: &Input) -> bool {
    let word = |name: &Name| matches!(&*name.text, "true" | "false");
    match kind(input) {
        Some("choice") => input.options.len() == 2 && input.options.iter().all(word),
        Some("string") | None => is_word(input),
        _ => false,
    }
}

fn is_word(input: &Input) -> bool {
    input.default.as_ref().is_some_and(|text| matches!(&*text.text, "true" | "false"))
}
