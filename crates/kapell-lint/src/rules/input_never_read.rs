//! An input is asked for and never read.

mod build_args; // what the recipe of an image does not ask for
mod not_given; // an input that is asked for, and not given
mod written_out; // the answer is written out

use std::sync::LazyLock;

use kapell_spec::{
    finding::Span,
    github::{Job, Step, Uses},
    words::Words,
};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, Github},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/input-never-read.md`.
pub(super) static RULE: Rule = Rule {
    name: "input-never-read",
    summary: "An input is asked for and never read",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Low,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/input-never-read.md"),
    check,
};

/// Words of what reads all inputs, or the event, and so each of them.
const WHOLE: &[&str] = &[
    "tojson(inputs",
    "tojson(github",
    "github_event_path",
    "payload.inputs",
    "event.inputs)",
    "inputs[",
    "inputs.*",
    "getinput",
    "github.event }}",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    of_actions(repository, report);
    not_given::check(repository, report);
    build_args::check(repository, report);
    for flow in &repository.github.flows {
        let starts = ["workflow_dispatch", "workflow_call"].map(|name| (name, flow.model.event(name)));
        if starts.iter().all(|(_, event)| event.is_none_or(|event| event.inputs.is_empty())) {
            continue;
        }
        let lower = repository.files[flow.file].lower();
        static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(WHOLE));
        if WORDS.is_in_lower(lower) {
            continue;
        }
        for (name, event) in starts {
            let Some(event) = event else { continue };
            for input in &event.inputs {
                written_out::check(repository, flow, input, report);
                // Inputs of called workflows are an interface; one that a caller here gives is expected to matter.
                let asked =
                    name == "workflow_dispatch" || is_given(&repository.github, flow, &input.name.text);
                if reads(lower, &input.name.text.to_ascii_lowercase()) || !asked {
                    continue;
                }
                let required = input.required && name == "workflow_dispatch";
                report
                    .add(flow.file, input.name.span, format!("the input `{}` is never read", input.name.text))
                    .severity(if required { Severity::Medium } else { Severity::Low })
                    .hint("use it, or drop it: whoever starts the workflow believes that it matters")
                    .done();
            }
        }
    }
}

/// Inputs of the repository's own composite actions: a step that gives one expects it to matter.
fn of_actions(repository: &Repository, report: &mut Report<'_>) {
    for (folder, action) in repository.github.actions.iter() {
        let composite = action.model.using.as_ref().is_some_and(|using| &*using.text == "composite");
        let lower = repository.files[action.file].lower();
        if !composite || !action.model.complete || WHOLE.iter().any(|word| lower.contains(word)) {
            continue;
        }
        for input in &action.model.inputs {
            let name = input.name.text.to_ascii_lowercase();
            if reads(lower, &name) || lower.contains(&format!("inputs['{name}']")) {
                continue;
            }
            let given =
                repository.github.flows.iter().find_map(|flow| Some((flow, given(flow, folder, &name)?)));
            let Some((flow, (span, varies))) = given else { continue };
            report
                .add(action.file, input.name.span, format!("the input `{}` is never read", input.name.text))
                .severity(if varies { Severity::High } else { Severity::Medium })
                .also(flow.file, span, "given here, and nothing comes of it")
                .hint("use it, or drop it: whoever runs the action believes that it matters")
                .done();
        }
    }
}

/// Returns where a workflow gives an input to a local action, first of all as another value in each cell of a matrix, and
/// whether it does that.
fn given(flow: &Flow, folder: &str, input: &str) -> Option<(Span, bool)> {
    let steps = flow.model.jobs.iter().flat_map(|job| &job.steps);
    let of_action = |step: &&Step| matches!(step.action(), Some(Uses::Local(path)) if **path == *folder);
    let values = steps.filter(of_action).flat_map(|step| &step.with);
    let values = values.filter(|(name, _)| name.text.eq_ignore_ascii_case(input));
    let found = values.map(|(_, value)| (value.span, value.text.contains("matrix.")));
    found.max_by_key(|(_, varies)| *varies)
}

/// Tells whether a workflow that calls this one gives an input, and to no other: what all are given is a form that
/// some of them have no use for.
fn is_given(github: &Github, flow: &Flow, input: &str) -> bool {
    let gives = |(caller, job): (&Flow, usize)| {
        let given = |job: &Job| job.with.iter().any(|(name, _)| name.text.eq_ignore_ascii_case(input));
        let called = caller.model.jobs[job].uses.as_ref().map(|(text, _)| &text.text);
        let others = caller
            .model
            .jobs
            .iter()
            .filter(|other| other.uses.as_ref().map(|(text, _)| &text.text) != called);
        given(&caller.model.jobs[job]) && !others.into_iter().any(given)
    };
    github.callers(flow).into_iter().any(gives)
}

fn reads(text: &str, id: &str) -> bool {
    let read = format!("inputs.{id}");
    text.match_indices(&read).any(|(at, _)| {
        !text[at + read.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    })
}
