//! Workers that end with the first failure and leave its item unmarked, while somebody waits for all items:
//! `url = await queue.get(); await fetch(url); queue.task_done()` beside `await queue.join()`.
//!
//! Source: the documentation of Python, "Queues": `join` blocks until `task_done` was called for every item that was put in.

use kapell_view::audit::Severity;

use crate::{
    code::{
        Id, Language, Unit,
        service::{self, Methods},
    },
    rule::Report,
};

/// Tells of the first wait of each worker that may leave an item unmarked.
pub(super) fn check(methods: &Methods<'_>, units: &[Unit], unit: &Unit, report: &mut Report<'_>) {
    if unit.language != Language::Python || !unit.whole().contains(".task_done(") {
        return;
    }
    for round in unit.syntax.of_kind(&["while_statement"]) {
        let Some((wait, queue)) = unmarked(unit, round) else { continue };
        // Whoever imports a worker may be who waits for it.
        let users = units.iter().filter(|other| leads_to(other, unit));
        let joins = std::iter::once(unit).chain(users).find_map(|other| Some((other, joined(other, queue)?)));
        let Some((other, join)) = joins.filter(|_| methods.reached(unit, round).is_some()) else { continue };
        let message = format!(
            "where this fails{}, its item is never marked as done, and `{}` waits for ever",
            service::place_name(unit, wait),
            other.callee(join).map_or("", |callee| other.text(callee)),
        );
        report
            .add(unit.file, unit.span(wait), message)
            .severity(Severity::High)
            .hint("call `task_done()` in a `finally`, and keep what failed")
            .also(other.file, other.span(join), "this waits for all items")
            .done();
    }
}

/// Tells whether a file imports another one.
fn leads_to(unit: &Unit, other: &Unit) -> bool {
    unit.whole().contains(".join()")
        && unit
            .origins()
            .any(|(_, origin)| origin.target.as_ref().is_some_and(|(file, _)| *file == other.file))
}

/// Returns what a worker waits for between an item and its mark, with nothing that catches a failure, and the name of its queue.
fn unmarked(unit: &Unit, round: Id) -> Option<(Id, &str)> {
    let own = |id: &Id| unit.function_of(*id) == unit.function_of(round);
    let calls = |name: &'static str| {
        unit.calls_in(round).filter(own).filter(move |&call| unit.callee_name(call) == name)
    };
    let get = calls("get").find(|&call| unit.awaited(call))?;
    let queue = last_name(unit, get)?;
    let caught = |id: Id| {
        unit.syntax
            .around(id)
            .take_while(|&id| id != round)
            .any(|id| matches!(unit.kind(id), "try_statement" | "finally_clause" | "with_statement"))
    };
    let marks: Vec<Id> = calls("task_done").filter(|&call| last_name(unit, call) == Some(queue)).collect();
    let last = marks.last().filter(|_| !marks.iter().any(|&mark| caught(mark)))?;
    let mut waits = unit.syntax.below(round).filter(|&id| unit.kind(id) == "await" && own(&id));
    let wait = waits.find(|&wait| wait > get && wait < *last && !caught(wait))?;
    Some((wait, queue))
}

/// Finds where somebody waits for all items of a queue, with nothing that ends that.
fn joined(unit: &Unit, queue: &str) -> Option<Id> {
    unit.calls().find(|&call| {
        let awaited = unit.awaited(call)
            && unit.kind(unit.syntax[unit.syntax[call].parent].parent) == "expression_statement";
        let mut around = unit.syntax.around(call);
        let of_queue = unit.callee_name(call) == "join" && last_name(unit, call) == Some(queue);
        awaited && of_queue && !around.any(|id| unit.kind(id) == "with_statement")
    })
}

/// Returns the last name of what a method is called of: `queue` of `self.queue.get()`.
fn last_name(unit: &Unit, call: Id) -> Option<&str> {
    let object = unit.syntax.child(unit.callee(call)?, "object")?;
    unit.text(object).rsplit('.').next()
}
