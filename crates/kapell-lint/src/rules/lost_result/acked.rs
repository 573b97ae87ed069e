//! Messages that are taken off their queue while the work on them, which was only started, is not done:
//! `asyncio.create_task(handle(message.body)); await queue.delete(message)`.
//!
//! Source: the documentation of Amazon SQS, "Visibility timeout": a message comes again unless the consumer deletes it after it
//! has processed it; that of RabbitMQ, "Consumer Acknowledgements": what was acknowledged is never delivered again.

use super::task;
use crate::{
    code::{Id, Language, Unit, guards::has_word, service},
    rule::Report,
};

/// Calls that take a message off its queue.
const ACKS: &[&str] =
    &["ack", "acknowledge", "basic_ack", "delete_message", "complete_message", "xack", "delete"];

/// Words of what gives messages.
const SOURCES: &[&str] =
    &["receive", "message", "consume", "poll", "pull", "queue", "subscription", "stream"];

/// Tells of them.
pub(super) fn check(unit: &Unit, report: &mut Report<'_>) {
    if unit.language != Language::Python || !unit.whole().contains("asyncio") {
        return;
    }
    for call in unit.calls() {
        let Some((work, ack)) = acked(unit, call) else { continue };
        let callee = |call: Id| unit.callee(call).map_or("", |callee| unit.text(callee));
        let message = format!(
            "`{}`{} is only started, and `{}` takes its message off the queue: where it fails or the program ends, the message is lost",
            callee(work),
            service::place_name(unit, call),
            callee(ack),
        );
        report
            .add(unit.file, unit.span(call), message)
            .hint("take it off the queue at the end of the work on it")
            .also(unit.file, unit.span(ack), "taken off here")
            .done();
    }
}

/// Returns the work on a message that a call only starts, and what takes the message off its queue behind it.
pub(super) fn acked(unit: &Unit, call: Id) -> Option<(Id, Id)> {
    if !task::makes(unit, call) {
        return None;
    }
    let work = unit.args(call).first().map(|arg| arg.value).filter(|&work| unit.kind(work) == "call")?;
    let given = unit.syntax.child(work, "arguments").map(|given| unit.text(given))?;
    let mut loops = unit.syntax.around(call).filter(|&id| unit.kind(id) == "for_statement");
    let message = loops.find_map(|each| {
        let (left, right) = unit.syntax.child(each, "left").zip(unit.syntax.child(each, "right"))?;
        let of_queue = SOURCES.iter().any(|word| unit.text(right).to_ascii_lowercase().contains(word));
        (of_queue && unit.kind(left) == "identifier" && has_word(given, unit.text(left)))
            .then(|| unit.text(left))
    })?;
    let statement = unit.syntax.around(call).find(|&id| unit.kind(unit.syntax[id].parent) == "block")?;
    let bound = unit.syntax.children(statement).next().and_then(|id| unit.syntax.child(id, "left"));
    let block = unit.syntax[statement].parent;
    let mut later = unit.syntax.children(block).filter(|&id| id > statement);
    let ack = later.find_map(|next| {
        // Who waits for the work first is left alone.
        let waits = bound.is_some_and(|task| has_word(unit.text(next), unit.text(task)));
        let mut calls = unit.calls_in(next).filter(|&call| takes(unit, call, message));
        calls.next().map(Some).or_else(|| waits.then_some(None))
    })??;
    Some((work, ack))
}

/// Tells whether a call takes a message off its queue.
fn takes(unit: &Unit, call: Id, message: &str) -> bool {
    let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
    let object = object.map_or("", |object| unit.text(object));
    let of_queue =
        || SOURCES.iter().chain(&["sqs", "channel"]).any(|word| object.to_ascii_lowercase().contains(word));
    let name = unit.callee_name(call);
    ACKS.contains(&name) && has_word(unit.text(call), message) && (name != "delete" || of_queue())
}
