//! Loops of a script around agents that nothing but what an agent says ends.

use kapell_spec::finding::Span;

use crate::code::{Id, Unit};

/// Signs of a loop that counts, looks at the clock or at what may still be spent.
const BOUNDED: &[&str] =
    &["++", "+= 1", "-= 1", "--", "budget", "date.now", "performance.now", "deadline", "max", "limit"];

/// Finds such loops: those that always go on but for what an agent says, and those that go on for as long as one says so.
pub(super) fn endless(unit: &Unit) -> Vec<Span> {
    let loops = unit.syntax.of_kind(&["while_statement", "for_statement", "do_statement"]);
    loops.filter(|&each| is_endless(unit, each)).map(|each| head(unit, each)).collect()
}

fn is_endless(unit: &Unit, each: Id) -> bool {
    let condition = unit.syntax.child(each, "condition");
    let plain = condition.map_or("", |condition| unit.text(condition)).trim_matches(['(', ')', ';', ' ']);
    let text = unit.text(each).to_ascii_lowercase();
    if BOUNDED.iter().any(|sign| text.contains(sign)) {
        return false;
    }
    if matches!(plain, "true" | "1") || plain.is_empty() && unit.kind(each) == "for_statement" {
        // A list that gets shorter comes to its end.
        return !text.contains(".length")
            && unit.calls_in(each).any(|call| unit.callee_name(call) == "agent" && unit.awaited(call));
    }
    condition.is_some_and(|condition| goes_by_answers(unit, each, condition) && !is_left(unit, each))
}

/// Tells whether a condition hangs on nothing that a loop changes but on what agents answer in it.
fn goes_by_answers(unit: &Unit, each: Id, condition: Id) -> bool {
    let names = unit.syntax.below(condition).filter(|&id| unit.kind(id) == "identifier");
    let (mut answered, changed) = (false, super::changed(unit, each));
    for name in names.map(|id| unit.text(id)) {
        match is_answer(unit, each, name) {
            Some(true) => answered = true,
            Some(false) => return false,
            None if changed.contains(&name) => return false,
            None => {}
        }
    }
    answered
}

/// Tells whether all that a name is set to in a loop is what agents answer. Nothing where it is not set there.
fn is_answer(unit: &Unit, each: Id, name: &str) -> Option<bool> {
    let set = unit.syntax.below(each).filter(|&id| unit.kind(id) == "assignment_expression");
    let own = set.filter(|&id| unit.syntax.child(id, "left").is_some_and(|left| unit.text(left) == name));
    let answers: Vec<bool> =
        own.map(|id| unit.syntax.child(id, "right").is_some_and(|right| awaits_agent(unit, right))).collect();
    (!answers.is_empty()).then(|| answers.into_iter().all(|answer| answer))
}

/// Tells whether an expression awaits an agent, by itself or by a function of the script that starts one.
fn awaits_agent(unit: &Unit, value: Id) -> bool {
    let call = unit.syntax.children(value).find(|&id| unit.kind(id) == "call_expression");
    let starts = |call: Id| unit.callee_name(call) == "agent";
    let leads = |call: Id| {
        let own = unit.callee(call).is_some_and(|callee| unit.kind(callee) == "identifier");
        let function = unit.function(unit.callee_name(call)).filter(|_| own);
        function.is_some_and(|function| unit.calls_in(function).any(starts))
    };
    unit.kind(value) == "await_expression" && call.is_some_and(|call| starts(call) || leads(call))
}

/// Tells whether something else leaves a loop.
fn is_left(unit: &Unit, each: Id) -> bool {
    let leaves = |id: Id| matches!(unit.kind(id), "break_statement" | "return_statement" | "throw_statement");
    let function = unit.function_of(each);
    unit.syntax.below(each).any(|id| leaves(id) && unit.function_of(id) == function)
}

/// Returns where a loop says how long it goes on.
fn head(unit: &Unit, each: Id) -> Span {
    let (whole, text) = (unit.span(each), unit.text(each));
    let condition = unit.syntax.child(each, "condition").filter(|_| unit.kind(each) == "do_statement");
    if let Some(condition) = condition {
        return unit.span(condition);
    }
    let end = text.find('{').map_or(whole.end as usize, |brace| whole.start as usize + brace);
    Span::new(whole.start as usize, end)
}
