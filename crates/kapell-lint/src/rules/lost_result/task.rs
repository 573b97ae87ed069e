//! `asyncio.create_task(work())` by itself.
//!
//! Source: the documentation of Python, `asyncio.create_task`: the event loop keeps only weak references to tasks; one that
//! nobody else refers to may be collected at any time, even before it is done. `asyncio.run`, "Runners": what is still at work when
//! `main` ends is cancelled.

use kapell_view::audit::Severity;

use super::{super::shared_state_across_tasks::handlers, acked};
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

/// Tells of the first such task, and of where the others are: one habit, one finding.
pub(super) fn check<'a>(
    methods: &Methods<'_>,
    units: impl Iterator<Item = &'a Unit>,
    report: &mut Report<'_>,
) {
    let all: Vec<Dropped<'_>> = units.flat_map(|unit| dropped(methods, unit)).collect();
    let severity = |task: &&Dropped<'_>| match (task.catches, task.weighs) {
        (true, _) => Severity::Low,
        (false, true) => Severity::High,
        (false, false) => Severity::Medium,
    };
    // The first of the worst.
    let Some(first) = all.iter().rev().max_by_key(severity) else { return };
    let message = format!(
        "nobody keeps the task `{}`{}: {}",
        started(first.unit, first.call),
        service::place_name(first.unit, first.call),
        if first.cancelled {
            "`asyncio.run` cancels what is still at work when the program ends"
        } else {
            "it may be collected before it is done"
        },
    );
    let mut draft = report
        .add(first.unit.file, first.unit.span(first.call), message)
        .severity(severity(&first))
        .hint("keep it, as in `tasks.add(task)` and `task.add_done_callback(tasks.discard)`, or await it");
    for other in all.iter().filter(|other| !std::ptr::eq(*other, first)).take(OTHERS) {
        draft = draft.also(other.unit.file, other.unit.span(other.call), "and this one");
    }
    draft.done();
}

/// How many other places are named.
const OTHERS: usize = 20;

/// A task that is made and not kept.
struct Dropped<'a> {
    unit: &'a Unit,
    call: Id,
    /// Whether it is made by what answers a request, or is the work of an agent.
    weighs: bool,
    /// Whether what it runs sees to its failures itself.
    catches: bool,
    /// Whether it keeps something, in a program that ends without waiting for it.
    cancelled: bool,
}

/// What a file says that runs a program which goes on, or that waits for all of its tasks.
const GOES_ON: &[&str] = &[
    "while True",
    "while not ",
    "serve",
    "run_forever",
    "polling",
    "listen",
    "all_tasks",
    "TaskGroup",
    "uvicorn",
];

/// How the names of functions begin that keep something.
const KEEPS: &[&str] = &[
    "save", "store", "write", "upload", "persist", "record", "commit", "insert", "append", "send", "publish",
    "post",
];

/// Tells whether a task keeps something, in a file that runs its program to an end.
fn is_cancelled(unit: &Unit, call: Id) -> bool {
    let whole = unit.whole();
    let name = started(unit, call).rsplit('.').next().unwrap_or_default().trim_start_matches('_');
    whole.contains("asyncio.run(")
        && !GOES_ON.iter().any(|word| whole.contains(word))
        && KEEPS.iter().any(|start| name.starts_with(start))
}

/// Returns those of a file that answer requests, or reach a model or an agent.
fn dropped<'a>(methods: &Methods<'_>, unit: &'a Unit) -> Vec<Dropped<'a>> {
    if unit.language != Language::Python || !unit.whole().contains("asyncio") {
        return Vec::new();
    }
    let lost: Vec<Id> = unit.calls().filter(|&call| is_dropped(unit, call)).collect();
    if lost.is_empty() {
        return Vec::new();
    }
    let asked: Vec<Id> = handlers(unit).into_iter().map(|task| task.function).collect();
    let tasks = lost.into_iter().filter_map(|call| {
        let answers = asked.contains(&unit.function_of(call));
        let reached = methods.reached(unit, call).map(|(_, service)| service);
        let cancelled = is_cancelled(unit, call);
        if !answers && !cancelled && !reached.is_some_and(Service::answers) {
            return None;
        }
        let weighs = answers || cancelled || reached == Some(Service::Agent);
        let given = unit.args(call).first().map(|arg| arg.value);
        let runs = given.and_then(|given| unit.called(given));
        let catches = runs.is_some_and(|function| super::each::catches_all(methods, unit, function));
        Some(Dropped { unit, call, weighs, catches, cancelled })
    });
    tasks.collect()
}

fn is_dropped(unit: &Unit, call: Id) -> bool {
    let plain = unit.kind(unit.syntax[call].parent) == "expression_statement";
    // Of what loses its message as well, that is told.
    plain && makes(unit, call) && acked::acked(unit, call).is_none()
}

/// Tells whether a call makes a task.
pub(super) fn makes(unit: &Unit, call: Id) -> bool {
    unit.callee_path(call).is_some_and(|path| MAKERS.contains(&&*path.text))
}

/// Returns what a task runs, for people.
fn started(unit: &Unit, call: Id) -> &str {
    let first = unit.args(call).first().map(|arg| arg.value);
    first.map_or("", |first| unit.callee(first).map_or(unit.text(first), |callee| unit.text(callee)))
}
