//! Waiting for work elsewhere to end well, and for that alone.
//!
//! Sources: OpenAI, "Batch API", "Checking the status of a batch": beside `completed` a batch ends as `failed`, `expired` or `cancelled`;
//! Replicate, "Prediction lifecycle": `succeeded`, `failed` or `canceled`.

use kapell_view::audit::Severity;

use super::COUNTS;
use crate::{
    code::{
        Id, Unit, guards,
        service::{self, place_name},
    },
    rule::Report,
};

/// What work is called that has ended well, in lower case.
const WELL: &[&str] =
    &["completed", "complete", "succeeded", "success", "successful", "done", "finished", "ready"];

/// The last name of what says how far work has come.
const STATUS: &[&str] =
    &["status", "state", "phase", "jobstatus", "job_status", "run_status", "runstatus", "lifecycle"];

/// Parts of words by which people speak of what has not ended well.
const BADLY: &[&str] =
    &["fail", "error", "expire", "cancel", "reject", "abort", "terminal", "timed", "timeout", "dead"];

/// What holds words of bounds, and bounds nothing.
const ASIDE: &[&str] = &["settimeout", "return", "counts", "=>", "->"];

/// Tells of loops that sleep and ask until a status is the good one, and have no word for any other end.
pub(super) fn check(unit: &Unit, report: &mut Report<'_>) {
    for each in unit.syntax.of_kind(&["while_statement", "do_statement"]) {
        let Some((place, good)) = awaited(unit, each).filter(|_| sleeps_and_asks(unit, each)) else {
            continue;
        };
        // A pause by the clock of the engine bounds nothing, nor does what only says how far others are.
        let aside = |text: String| ASIDE.iter().fold(text, |text, word| text.replace(word, ""));
        let whole = aside(unit.text(each).to_ascii_lowercase());
        let code = aside(guards::code(unit, each));
        let compares = code.contains(['<', '>']);
        let counts = COUNTS.iter().any(|word| code.contains(word));
        let wrapped = service::wrapped(unit, each, &["timeout", "wait_for", "fail_after", "race"]);
        if BADLY.iter().any(|word| whole.contains(word)) || compares || counts || wrapped {
            continue;
        }
        let message = format!(
            "this waits{} until it reads `{good}`, and for ever where the work fails, expires or is cancelled",
            place_name(unit, each),
        );
        report
            .add(unit.file, unit.span(place), message)
            .severity(Severity::High)
            .hint(
                "leave the loop on every status that is an end, and take all but the good one for a failure",
            )
            .done();
    }
}

/// Returns what a loop asks of each round, and the only status that ends it.
fn awaited(unit: &Unit, each: Id) -> Option<(Id, &str)> {
    let condition = unit.syntax.child(each, "condition")?;
    if let Some(good) = compared(unit.text(condition), "!=") {
        return (!leaves(unit, each, None)).then_some((condition, good));
    }
    let plain = unit.text(condition).trim_matches(['(', ')']);
    let asks = unit.syntax.below(each).find(|&id| unit.kind(id) == "if_statement")?;
    let condition = unit.syntax.child(asks, "condition")?;
    let good = compared(unit.text(condition), "==")?;
    let for_ever = matches!(plain, "True" | "true" | "1");
    (for_ever && leaves(unit, asks, None) && !leaves(unit, each, Some(asks))).then_some((condition, good))
}

/// Returns the good status that a condition compares one with, if that is all that it asks.
fn compared<'a>(condition: &'a str, sign: &str) -> Option<&'a str> {
    let condition = condition.trim_start_matches('(').trim_end_matches(')').trim();
    let (left, right) = condition.split_once(sign)?;
    let right = right.trim_start_matches('=').trim();
    let good = right.strip_prefix(['"', '\''])?.strip_suffix(['"', '\''])?;
    let lower = good.to_ascii_lowercase();
    let last = left.trim().rsplit(['.', '?', '[', '"', '\'']).find(|part| !matches!(*part, "" | "]"))?;
    let asked = STATUS.contains(&&*last.to_ascii_lowercase());
    let plain = !left.trim().contains([' ', '(']);
    (asked && plain && WELL.contains(&&*lower)).then_some(good)
}

/// Tells whether something in a node leaves the loop or its function, besides what stands in `but`.
fn leaves(unit: &Unit, within: Id, but: Option<Id>) -> bool {
    const LEAVES: &[&str] = &["break_statement", "return_statement", "raise_statement", "throw_statement"];
    let elsewhere = |id: &Id| !but.is_some_and(|but| unit.syntax.holds(but, *id));
    let own = |id: &Id| unit.function_of(*id) == unit.function_of(within);
    unit.syntax.below(within).filter(elsewhere).filter(own).any(|id| LEAVES.contains(&unit.kind(id)))
}

/// Tells whether a loop pauses, and asks somebody else in each round how far it is.
fn sleeps_and_asks(unit: &Unit, each: Id) -> bool {
    const PAUSES: &[&str] = &["sleep", "delay", "settimeout", "wait", "pause"];
    const ASKS: &[&str] =
        &["retrieve", "get", "fetch", "poll", "describe", "reload", "refresh", "check", "status", "load"];
    let says = |words: &[&str], call: Id| {
        let name = unit.callee(call).map_or("", |callee| unit.text(callee)).to_ascii_lowercase();
        let last = name.rsplit('.').next().unwrap_or_default();
        words.iter().any(|word| last.starts_with(word))
    };
    let pauses = unit.calls_in(each).any(|call| says(PAUSES, call));
    pauses && unit.calls_in(each).any(|call| says(ASKS, call) || service::of_call(unit, call).is_some())
}
