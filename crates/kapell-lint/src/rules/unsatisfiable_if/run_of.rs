//! The event of a run that a workflow waits for: one of those on which that workflow starts.

use kapell_core::expr::{Comparison, Literal, Node, NodeKind};
use kapell_view::audit::Severity;

use super::{REASONS, is_off};
use crate::{
    github::{Flow, Github, carry, intent},
    rule::{Report, names},
};

/// `github.event.workflow_run.event == 'push'`, where the workflows that are named never start on a push.
pub(super) fn check(github: &Github, flow: &Flow, report: &mut Report<'_>) {
    let Some(filter) = flow.model.event("workflow_run").and_then(|event| event.filter("workflows")) else {
        return;
    };
    // Whoever asks for it has it in the text.
    if !flow.text.contains("workflow_run.event ") {
        return;
    }
    let mut events: Vec<&str> = Vec::new();
    for item in &filter.items {
        let mut named = github.flows.iter().filter(|other| other.run_name() == &*item.text).peekable();
        // One that nobody knows may start on anything.
        if named.peek().is_none() || item.text.contains(['*', '?', '[', '$']) {
            return;
        }
        for other in named {
            if !other.model.complete || other.model.events.is_empty() {
                return;
            }
            events.extend(other.model.events.iter().map(|event| &*event.name.text));
        }
    }
    let conditions = flow.jobs().flat_map(|(at, job)| {
        let steps = job.steps.iter().filter_map(|step| step.condition.as_ref());
        job.condition.iter().chain(steps).map(move |condition| (at, condition))
    });
    for (at, condition) in conditions.filter(|(_, condition)| !is_off(condition)) {
        let Some(expr) = &condition.expr else { continue };
        let root = expr.root();
        let operands = match &root.kind {
            NodeKind::And(operands) => &operands[..],
            _ => std::slice::from_ref(root),
        };
        let never = |asked: &&str| !events.iter().any(|known| known.eq_ignore_ascii_case(asked));
        let Some(needed) = operands.iter().filter_map(asked).find(never) else { continue };
        let waited = names(filter.items.iter().map(|item| &*item.text));
        let draft = report
            .add(flow.file, condition.span, format!("never holds: {waited} does not start on `{needed}`"))
            .severity(if carry::delivers(flow, at) { Severity::High } else { Severity::Medium })
            .hint(format!("it starts on {}", names(events.iter().copied())));
        match intent::explains(flow, condition.span, 1, REASONS) {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
    }
}

/// Returns the event that `github.event.workflow_run.event == '...'` names.
fn asked(node: &Node) -> Option<&str> {
    let NodeKind::Compare { comparison: Comparison::Equal, left, right } = &node.kind else { return None };
    let is_event = |node: &Node| {
        node.references().first().is_some_and(|reference| {
            let path = reference.path.iter().map(|(name, _)| *name);
            reference.whole && path.eq(["github", "event", "workflow_run", "event"])
        })
    };
    let other = match (is_event(left), is_event(right)) {
        (true, false) => right,
        (false, true) => left,
        _ => return None,
    };
    let NodeKind::Literal(Literal::String(text)) = &other.kind else { return None };
    Some(text)
}
