//! Comparisons with a time that the schedule does not have, and with an option that a choice does not have.

use kapell_core::expr::Literal;
use kapell_spec::{
    finding::Span,
    github::{Expression, Input},
};
use kapell_view::audit::Severity;

use super::values::compared;
use crate::{
    github::Flow,
    rule::{Report, names},
};

/// Looks at all comparisons of a workflow, those too that are one of several alternatives; `told` was told as a whole.
///
/// Sources: GitHub, "Events that trigger workflows", `schedule`: `github.event.schedule` is the line of `cron` as it is
/// written; "Workflow syntax", `on.workflow_dispatch.inputs.<input_id>.options`.
pub(super) fn check(flow: &Flow, told: &[Span], report: &mut Report<'_>) {
    // What a caller brings is not known here.
    if flow.starts("workflow_call") || flow.model.events.is_empty() {
        return;
    }
    let all = flow.model.jobs.iter().flat_map(|job| &job.expressions);
    for expression in all.filter(|one| !told.contains(&one.scalar) && !one.expr.root().is_plain()) {
        expression.expr.root().walk(&mut |node| {
            let Some((path, false, Literal::String(wanted))) = compared(node) else { return };
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let found = match &path[..] {
                ["github", "event", "schedule"] => of_schedule(flow, wanted),
                ["inputs", name] | ["github", "event", "inputs", name] => of_choice(flow, name, wanted),
                _ => None,
            };
            if let Some((known, severity)) = found {
                tell(flow, expression, (&path.join("."), wanted), (&known, severity), report);
            }
        });
    }
}

/// Returns the times of the schedule, if a time is none of them.
fn of_schedule<'a>(flow: &'a Flow, wanted: &str) -> Option<(Vec<&'a str>, Severity)> {
    let times: Vec<&str> = flow.model.event("schedule")?.crons.iter().map(|cron| &*cron.text).collect();
    let none = !times.is_empty() && !times.iter().any(|time| time.eq_ignore_ascii_case(wanted));
    none.then_some((times, Severity::High))
}

/// Returns the options of an input, if a text is none of them. What is not asked for is empty.
fn of_choice<'a>(flow: &'a Flow, name: &str, wanted: &str) -> Option<(Vec<&'a str>, Severity)> {
    let mut inputs = flow.model.events.iter().flat_map(|event| &event.inputs);
    let input: &Input = inputs.find(|input| input.name.text.eq_ignore_ascii_case(name))?;
    let options: Vec<&str> = input.options.iter().map(|option| &*option.text).collect();
    let choice = input.kind.as_ref().is_some_and(|kind| *kind.text == *"choice");
    let computed = options.iter().any(|option| option.contains("${{"));
    let none = !wanted.is_empty() && !options.iter().any(|option| option.eq_ignore_ascii_case(wanted));
    (choice && none && !computed && !options.is_empty()).then_some((options, Severity::Medium))
}

fn tell(
    flow: &Flow,
    expression: &Expression,
    (path, wanted): (&str, &str),
    (known, severity): (&[&str], Severity),
    report: &mut Report<'_>,
) {
    let span = expression.span(&flow.text);
    let listed = names(known.iter().copied());
    let message = format!("`{path} == '{wanted}'` never holds: it is one of {listed}");
    report.add(flow.file, span, message).severity(severity).hint(format!("compare with {listed}")).done();
}
