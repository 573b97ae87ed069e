//! The event of a run that a workflow waits for: one of those on which that workflow starts.

use kapell_core::expr::{Comparison, Literal, Node, NodeKind};
use kapell_view::audit::Severity;

use super::is_off;
use crate::{
    github::{Flow, Github, carry, world::World},
    rule::{Report, names},
};

/// `github.event.workflow_run.event == 'push'`, where the workflows that are named never start on a push.
pub(super) fn check(github: &Github, flow: &Flow, report: &mut Report<'_>) {
    let Some(filter) = flow.model.event("workflow_run").and_then(|event| event.filter("workflows")) else {
        return;
    };
    // Whoever asks for it has it in the text.
    let has = |word: &str| flow.text.contains(word);
    let no_branches =
        flow.model.event("workflow_run").is_some_and(|event| event.filter("branches").is_none());
    let asks = has("workflow_run.event ") || no_branches && has("workflow_run.head_branch");
    if !asks {
        return;
    }
    let mut events: Vec<&str> = Vec::new();
    let mut worlds: Vec<&World> = Vec::new();
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
            worlds.extend(&*other.worlds);
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
        let of = |property: &'static str| operands.iter().filter_map(move |node| asked(node, property));
        let elsewhere = |asked: &&str| {
            worlds.iter().all(|world| {
                let pushed = world.event.as_deref() == Some("push") && world.reference_type == Some("branch");
                let names = world.reference_name.as_ref().filter(|_| pushed && no_branches);
                names.is_some_and(|names| names.equals(asked) == Some(false))
            })
        };
        let event = of("event").find(never).map(|needed| format!("does not start on `{needed}`"));
        let branch = || {
            of("head_branch").find(elsewhere).map(|needed| format!("never runs for the branch `{needed}`"))
        };
        let Some(what) = event.or_else(branch) else { continue };
        let waited = names(filter.items.iter().map(|item| &*item.text));
        report
            .add(flow.file, condition.span, format!("never holds: {waited} {what}"))
            .severity(if carry::delivers(flow, at) { Severity::High } else { Severity::Medium })
            .hint(format!("it starts on {}", names(events.iter().copied())))
            .done();
    }
}

/// Returns what `github.event.workflow_run.event == '...'` names, or the same of another property.
fn asked<'a>(node: &'a Node, property: &str) -> Option<&'a str> {
    let NodeKind::Compare { comparison: Comparison::Equal, left, right } = &node.kind else { return None };
    let is_asked = |node: &Node| {
        node.references().first().is_some_and(|reference| {
            let path = reference.path.iter().map(|(name, _)| *name);
            reference.whole && path.eq(["github", "event", "workflow_run", property])
        })
    };
    let other = match (is_asked(left), is_asked(right)) {
        (true, false) => right,
        (false, true) => left,
        _ => return None,
    };
    let NodeKind::Literal(Literal::String(text)) = &other.kind else { return None };
    Some(text)
}
