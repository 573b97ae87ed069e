//! `asyncio.create_task(work())` by itself.
//!
//! Source: the documentation of Python, `asyncio.create_task`: the event loop keeps only weak references to tasks; one that
//! nobody else refers to may be collected at any time, even before it is done.

use kapell_view::audit::Severity;

use super::super::shared_state_across_tasks::handlers;
use crate::{
    code::{
        Id, Language, Service, Unit,
        service::{self, Methods},
    },
    rule::Report,
};

/// What makes a task.
const MAKERS: &[&str] = &[
    "asyncio.create_task",
    "asyncio.ensure_future",
    "asyncio.get_event_loop().create_task",
    "asyncio.get_running_loop().create_task",
];

/// Tells of the first such task of a file, and of where the others are.
pub(super) fn check(methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    if unit.language != Language::Python || !unit.whole().contains("asyncio") {
        return;
    }
    let lost: Vec<Id> = unit.calls().filter(|&call| is_dropped(unit, call)).collect();
    let asked: Vec<Id> = if lost.is_empty() {
        return;
    } else {
        handlers(unit).into_iter().map(|task| task.function).collect()
    };
    let worth = |&&call: &&Id| {
        let answers = asked.contains(&unit.function_of(call));
        let reaches = matches!(methods.reached(unit, call), Some((_, Service::Model | Service::Agent)));
        answers || reaches
    };
    let told: Vec<Id> = lost.iter().filter(worth).copied().collect();
    let Some((&first, others)) = told.split_first() else { return };
    let answers = asked.contains(&unit.function_of(first));
    let message = format!(
        "nobody keeps the task `{}`{}: it may be collected before it is done, and its failure is lost",
        started(unit, first),
        service::place_name(unit, first),
    );
    let mut draft = report
        .add(unit.file, unit.span(first), message)
        .severity(if answers { Severity::High } else { Severity::Medium })
        .hint("keep it, as in `tasks.add(task)` and `task.add_done_callback(tasks.discard)`, or await it");
    for &other in others.iter().take(4) {
        draft = draft.also(unit.file, unit.span(other), "and this one");
    }
    draft.done();
}

fn is_dropped(unit: &Unit, call: Id) -> bool {
    let maker = unit.callee_path(call).is_some_and(|path| MAKERS.contains(&&*path.text));
    maker && unit.kind(unit.syntax[call].parent) == "expression_statement"
}

/// Returns what a task runs, for people.
fn started(unit: &Unit, call: Id) -> &str {
    let first = unit.args(call).first().map(|arg| arg.value);
    first.map_or("", |first| unit.callee(first).map_or(unit.text(first), |callee| unit.text(callee)))
}
