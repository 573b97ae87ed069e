//! Workflows of events that lead back for as long as a step says so, where the timeout that would end them is switched off.
//!
//! Source: llama-index-workflows 2.26, `Workflow`: a step runs for each event of a type that it takes, and what it answers are
//! events; `timeout` is 45 seconds, and `None` disables it.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use kapell_view::audit::Severity;

use super::{COUNTS, rounds::BOUNDS, steps::adds_number};
use crate::{
    code::{Id, Language, Unit, service::Methods},
    rule::Report,
    rules::names::words,
};

/// A step of a workflow.
struct Step<'a> {
    function: Id,
    name: &'a str,
    /// The types of events that it takes.
    takes: Vec<&'a str>,
    /// The types of events that it answers.
    gives: Vec<&'a str>,
}

/// Tells of the first such round of each workflow of a file.
pub(super) fn check<'a>(methods: &Methods<'a>, units: &'a [Unit], unit: &'a Unit, report: &mut Report<'_>) {
    let text = unit.whole();
    let known = text.contains("llama_index") || text.contains("from workflows import");
    if unit.language != Language::Python || !known || !text.contains("@step") {
        return;
    }
    for class in unit.syntax.of_kind(&["class_definition"]).filter(|&class| is_workflow(unit, class)) {
        let name = unit.syntax.child(class, "name").map_or("", |name| unit.text(name));
        let steps = steps(unit, class);
        let Some(round) = round(&steps) else { continue };
        let asks = round.iter().any(|step| methods.asks(unit, step.function));
        if !asks || round.iter().any(|step| counts(unit, step.function)) {
            continue;
        }
        let Some((other, unlimited)) = unlimited(units, name) else { continue };
        let way: Vec<String> =
            round.iter().chain(round.first()).map(|step| format!("`{}`", step.name)).collect();
        let message = format!(
            "`{}` sends this workflow round until it is content ({}): nothing counts the rounds, and no timeout ends them",
            round[0].name,
            way.join(" -> "),
        );
        let place = unit.name_of(round[0].function).unwrap_or(round[0].function);
        report
            .add(unit.file, unit.span(place), message)
            .severity(Severity::High)
            .hint("count the rounds in the context, and stop with what there is after a few of them")
            .also(other.file, other.span(unlimited), "the timeout is switched off here")
            .done();
    }
}

fn is_workflow(unit: &Unit, class: Id) -> bool {
    let bases = unit.syntax.child(class, "superclasses").map_or("", |bases| unit.text(bases));
    bases.split(|c: char| !c.is_alphanumeric() && c != '_').any(|base| base == "Workflow")
}

/// Returns the steps of a workflow, in order.
fn steps<'a>(unit: &'a Unit, class: Id) -> Vec<Step<'a>> {
    let is_step = |id: Id| unit.kind(id) == "decorator" && unit.text(id).starts_with("@step");
    let decorated = unit.syntax.below(class).filter(|&id| unit.kind(id) == "decorated_definition");
    let own = decorated.filter(|&id| unit.syntax.children(id).any(is_step));
    own.filter_map(|id| {
        let function = unit.syntax.child(id, "definition")?;
        let parameters = unit.syntax.child(function, "parameters")?;
        let typed = unit.syntax.children(parameters).filter_map(|id| unit.syntax.child(id, "type"));
        Some(Step {
            function,
            name: unit.syntax.child(function, "name").map(|name| unit.text(name))?,
            takes: typed.flat_map(|id| types(unit.text(id))).collect(),
            gives: unit
                .syntax
                .child(function, "return_type")
                .map_or_else(Vec::new, |id| types(unit.text(id)).collect()),
        })
    })
    .collect()
}

/// Returns the names of types that an annotation has: `Mismatch | StopEvent`.
fn types(annotation: &str) -> impl Iterator<Item = &str> {
    let names = annotation.split(|c: char| !c.is_alphanumeric() && c != '_');
    names.filter(|name| {
        name.starts_with(char::is_uppercase) && !matches!(*name, "Context" | "None" | "Union" | "Optional")
    })
}

/// Finds the first step that may go on elsewhere, and one of whose events leads back to it: the steps of the shortest such way.
fn round<'s, 'a>(steps: &'s [Step<'a>]) -> Option<Vec<&'s Step<'a>>> {
    let next = |step: &Step<'_>| -> Vec<usize> {
        let takes = |other: &Step<'_>| other.takes.iter().any(|event| step.gives.contains(event));
        (0..steps.len()).filter(|&at| takes(&steps[at])).collect()
    };
    let choosing = (0..steps.len()).filter(|&at| steps[at].gives.len() > 1);
    choosing.into_iter().find_map(|first| {
        let mut before: BTreeMap<usize, usize> = BTreeMap::new();
        let mut open = VecDeque::from([first]);
        while let Some(at) = open.pop_front() {
            for after in next(&steps[at]) {
                if after == first {
                    let mut way = vec![at];
                    while let Some(&earlier) = before.get(&way[way.len() - 1]) {
                        way.push(earlier);
                    }
                    way.reverse();
                    return Some(way.into_iter().map(|at| &steps[at]).collect());
                }
                if let Entry::Vacant(free) = before.entry(after) {
                    free.insert(at);
                    open.push_back(after);
                }
            }
        }
        None
    })
}

/// Tells whether a step counts, or asks for something that does.
fn counts(unit: &Unit, function: Id) -> bool {
    let begins = |text: &str| {
        words(text)
            .iter()
            .any(|word| [COUNTS, BOUNDS].iter().copied().flatten().any(|start| word.starts_with(start)))
    };
    unit.syntax.below(function).any(|id| match unit.kind(id) {
        "augmented_assignment" => true,
        "binary_operator" => adds_number(unit, id),
        // Classes of events have names of their own, and to round a number counts nothing.
        "identifier" => {
            let name = unit.text(id);
            !name.starts_with(char::is_uppercase) && !matches!(name, "round" | "max" | "min") && begins(name)
        }
        "string" => {
            let inner = unit.text(id).trim_matches(['"', '\'']);
            inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && begins(inner)
        }
        _ => false,
    })
}

/// Returns the first place that makes a workflow with its timeout switched off, if all places that make one do so.
fn unlimited<'a>(units: &'a [Unit], name: &str) -> Option<(&'a Unit, Id)> {
    let mut found = None;
    for unit in units.iter().filter(|unit| unit.whole().contains(name)) {
        for call in unit.calls().filter(|&call| unit.callee_name(call) == name) {
            let timeout = unit.keyword(call, "timeout").filter(|&timeout| unit.text(timeout) == "None")?;
            found = found.or(Some((unit, timeout)));
        }
    }
    found
}
