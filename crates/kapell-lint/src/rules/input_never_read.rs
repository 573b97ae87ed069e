//! An input is asked for and never read.

use kapell_view::audit::{Confidence, Severity};

use crate::{
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
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/input-never-read.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        let lower = flow.text.to_ascii_lowercase();
        // Whoever reads all of them, or the event, reads each.
        let whole = [
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
        if whole.iter().any(|word| lower.contains(word)) {
            continue;
        }
        // Inputs of called workflows are an interface that several may share.
        {
            let name = "workflow_dispatch";
            let Some(event) = flow.model.event(name) else { continue };
            for input in &event.inputs {
                let id = input.name.text.to_ascii_lowercase();
                if reads(&lower, &id) {
                    continue;
                }
                report
                    .add(flow.file, input.name.span, format!("the input `{}` is never read", input.name.text))
                    .severity(if input.required && name == "workflow_dispatch" {
                        Severity::Medium
                    } else {
                        Severity::Low
                    })
                    .hint("use it, or drop it: whoever starts the workflow believes that it matters")
                    .done();
            }
        }
    }
}

fn reads(text: &str, id: &str) -> bool {
    let read = format!("inputs.{id}");
    text.match_indices(&read).any(|(at, _)| {
        !text[at + read.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    })
}
