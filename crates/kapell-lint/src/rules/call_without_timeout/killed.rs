//! Programs that outlive their time limit: `child.kill("SIGTERM")`, and later `if (!child.killed) child.kill("SIGKILL")`.
//!
//! Source: the documentation of Node.js, `subprocess.killed`: it says whether a signal was sent successfully by
//! `subprocess.kill()`, and does not indicate that the process has been terminated.

use crate::{
    code::{Id, Language, Unit, service},
    rule::Report,
};

/// Tells of such a second signal, which is never sent, once for each file.
pub(super) fn tell_killed(unit: &Unit, report: &mut Report<'_>) {
    if unit.language == Language::Python || !unit.whole().contains("SIGKILL") {
        return;
    }
    let mut lost = unit.calls().filter(|&call| is_never_sent(unit, call));
    let Some(first) = lost.next() else { return };
    let object = killed(unit, first).map_or("", |(object, _)| unit.text(object));
    let message = format!(
        "`{object}`{} outlives its limit if it ignores the first signal: `{object}.killed` is true as soon as that one is sent, so this one never is",
        service::place_name(unit, first),
    );
    let mut draft = report.add(unit.file, unit.span(first), message).hint(format!(
        "ask whether it has ended: `{object}.exitCode === null && {object}.signalCode === null`"
    ));
    for other in lost {
        draft = draft.also(unit.file, unit.span(other), "nor is this one");
    }
    draft.done();
}

/// Returns the program that a call sends a signal to, and the signal.
fn killed(unit: &Unit, call: Id) -> Option<(Id, &str)> {
    let callee = unit.callee(call).filter(|_| unit.callee_name(call) == "kill")?;
    let object = unit.syntax.child(callee, "object")?;
    let signal =
        unit.args(call).first().map_or("SIGTERM", |arg| unit.text(arg.value).trim_matches(['"', '\'']));
    Some((object, signal))
}

/// Tells whether a signal hangs on `!child.killed`, where the function around has sent one before.
fn is_never_sent(unit: &Unit, call: Id) -> bool {
    let Some((object, "SIGKILL")) = killed(unit, call) else { return false };
    let own = unit.function_of(call);
    let outer = unit.function_of(own);
    // What somebody else may have stopped is asked for a reason.
    let wanted = format!("!{}.killed", unit.text(object));
    let hangs = unit.syntax.around(call).take_while(|&id| id != own).any(|id| {
        let condition = unit.syntax.child(id, "condition").map_or("", |condition| unit.text(condition));
        unit.kind(id) == "if_statement" && condition.trim_matches(['(', ')']) == wanted
    });
    let timed = unit.syntax.around(own).any(|id| {
        unit.kind(id) == "call_expression"
            && unit.callee_name(id) == "setTimeout"
            && unit.syntax.holds(outer, id)
    });
    let before = || {
        unit.calls_in(outer).take_while(|&other| other < own).any(|other| {
            unit.function_of(other) == outer
                && killed(unit, other).is_some_and(|(other, signal)| {
                    unit.text(other) == unit.text(object) && signal != "SIGKILL"
                })
        })
    };
    hangs && timed && outer != Id::ROOT && before()
}
