//! Where something goes is asked for, and one of the answers is written out.

use std::collections::BTreeSet;

use kapell_spec::{finding::Span, github::Input};
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, StepFacts, tools::Kind},
    repository::Repository,
    rule::Report,
};

/// Words of names of inputs that say where something goes.
const WHERE: &[&str] = &["environment", "env", "stage", "target", "cluster", "tier", "deployment"];

/// Tells of a delivery that names one of several places, in a workflow which is asked for another one as well: what is meant for
/// production goes to staging.
pub(super) fn check(repository: &Repository, flow: &Flow, input: &Input, report: &mut Report<'_>) {
    let name = &*input.name.text;
    if !WHERE.contains(&name.to_ascii_lowercase().as_str()) {
        return;
    }
    let values = values(repository, flow, input);
    if values.len() < 2 {
        return;
    }
    for (at, job) in flow.jobs().filter(|(_, job)| job.condition.is_none()) {
        for (step, facts) in flow.steps(at).filter(|(step, _)| step.condition.is_none()) {
            let Some((start, word, value)) = written(facts, &values) else { continue };
            let text = flow.text.get(step.span.range()).unwrap_or_default();
            let given = job.env.iter().chain(&flow.model.env).chain(&step.env);
            let read = given
                .filter(|(_, text)| text.text.contains(&format!("inputs.{name}")))
                .any(|(variable, _)| text.contains(&*variable.text));
            if read || text.contains("inputs.") && text.contains(name) {
                continue;
            }
            let other = values.iter().find(|other| **other != value).map_or("", String::as_str);
            let span: Span = flow.script_line(step, start, "");
            report
                .add(
                    flow.file,
                    span,
                    format!("`{word}` is written out, though `{name}` says where: what is meant for `{other}` goes there too"),
                )
                .severity(Severity::Critical)
                .also(flow.file, input.name.span, "asked for here")
                .hint(format!("make the name of `inputs.{name}`"))
                .done();
            return;
        }
    }
}

/// Returns the plain values that an input is given by those who call the workflow, or may be chosen from.
fn values(repository: &Repository, flow: &Flow, input: &Input) -> BTreeSet<String> {
    let chosen = input.options.iter().map(|option| option.text.to_string());
    let callers = repository.github.callers(flow);
    let given = callers.iter().filter_map(|(caller, job)| {
        let with = &caller.model.jobs[*job].with;
        let (_, value) = with.iter().find(|(name, _)| name.text.eq_ignore_ascii_case(&input.name.text))?;
        Some(value.literal()?.to_owned())
    });
    chosen.chain(given).filter(|value| value.len() > 2).collect()
}

/// Finds the first command of a delivery one of whose words has a value as a part: `storefront-staging`.
fn written<'a>(facts: &'a StepFacts, values: &'a BTreeSet<String>) -> Option<(usize, &'a str, &'a str)> {
    let deploys = facts.works.iter().filter(|done| done.work.kind == Kind::Deploy);
    deploys.filter_map(|done| facts.commands.get(done.command?)).find_map(|command| {
        command.words.iter().filter(|word| !word.contains(['$', '/', '='])).find_map(|word| {
            let part = |value: &&String| word.split(['-', '_', '.']).any(|part| part == value.as_str());
            Some((command.start, word.as_str(), values.iter().find(part)?.as_str()))
        })
    })
}
