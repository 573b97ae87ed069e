//! An input that a composite action of the repository asks for, and that a step does not give: it is empty.

use kapell_spec::github::{Step, Uses};
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, LocalAction},
    repository::Repository,
    rule::{Report, names},
};

/// Looks at all steps that use a composite action of the repository.
///
/// Source: GitHub, "Metadata syntax", `inputs.<input_id>.required`: actions that ask for an input do not fail if it is missing.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.github.with_steps() {
        for step in flow.model.jobs.iter().flat_map(|job| &job.steps) {
            let Some(Uses::Local(path)) = step.action() else { continue };
            let Some(action) = repository.github.actions.get(&**path) else { continue };
            let composite = action.model.using.as_ref().is_some_and(|using| &*using.text == "composite");
            if composite && action.model.complete {
                of_step(flow, step, (path, action), report);
            }
        }
    }
}

fn of_step(flow: &Flow, step: &Step, (path, action): (&str, &LocalAction), report: &mut Report<'_>) {
    // What is merged into it cannot be seen.
    let merged = || flow.text.get(step.span.range()).is_none_or(|text| text.contains("<<"));
    let missing: Vec<_> = action
        .model
        .inputs
        .iter()
        .filter(|input| input.required && input.default.is_none() && step.input(&input.name.text).is_none())
        .filter(|input| relies_on(action, &input.name.text))
        .collect();
    let Some(first) = missing.first().filter(|_| !merged()) else { return };
    let span = step.uses.as_ref().map_or(step.span, |(text, _)| text.span);
    let listed = names(missing.iter().map(|input| &*input.name.text));
    report
        .add(
            flow.file,
            span,
            format!("`{path}` asks for {listed}, which this step does not give: it is empty there"),
        )
        .severity(if missing.iter().any(|input| is_key(&input.name.text)) {
            Severity::High
        } else {
            Severity::Medium
        })
        .also(action.file, first.name.span, "asked for here, without a default")
        .hint(format!("give {listed} under `with:`: a composite action runs without what it asks for"))
        .done();
}

/// Tells whether an input is a key to something, by its name: nothing lets in who has none.
fn is_key(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "key", "secret", "password", "credential"].iter().any(|word| name.contains(word))
}

/// Tells whether an action takes an input as it is: neither asks whether it is there nor has something in its place.
fn relies_on(action: &LocalAction, name: &str) -> bool {
    let read = format!("inputs.{}", name.to_ascii_lowercase());
    let reads = action.model.expressions.iter().filter(|one| {
        let text = one.expr.to_string().to_ascii_lowercase();
        let whole = |at: usize| {
            !text[at + read.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        text.match_indices(&read).any(|(at, _)| whole(at))
    });
    let mut reads = reads.peekable();
    let plain =
        |one: &kapell_spec::github::Expression| one.expr.to_string().trim().to_ascii_lowercase() == read;
    // A script may ask whether it is empty.
    let asked = ["-z ", "-n ", ":-", "= ''", "== \"\"", "= \"\"", "!= ''", "== ''"];
    let asks = action.model.steps.iter().any(|step| asked.iter().any(|word| step.script().contains(word)));
    reads.peek().is_some() && reads.all(plain) && !asks
}
