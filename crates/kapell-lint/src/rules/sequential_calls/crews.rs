//! Tasks of a crew that say that they take nothing of each other, and still run one after the other.

use crate::{
    code::{Id, Unit, crews::given},
    rule::{Report, names},
};

/// Tells of the tasks of a crew that are given an empty context, of which none runs asynchronously, where a later task takes what two
/// of them or more bring.
///
/// Source: <https://docs.crewai.com/en/concepts/tasks>, "Task attributes" and "Asynchronous execution": without `context` a task is
/// given what the one before brought, with an empty one nothing; with `async_execution` the crew goes on with the next task, and one
/// whose `context` names it waits for it.
pub(super) fn check(unit: &Unit, report: &mut Report<'_>) {
    let text = unit.whole();
    if !text.contains("crewai") || !text.contains("context=[]") || text.contains("hierarchical") {
        return;
    }
    for crew in unit.calls().filter(|&call| unit.callee_name(call) == "Crew") {
        let Some(list) = given(unit, crew, "tasks").filter(|&list| unit.kind(list) == "list") else {
            continue;
        };
        let tasks: Vec<(&str, Id)> = unit
            .syntax
            .children(list)
            .filter(|&id| unit.kind(id) == "identifier")
            .filter_map(|id| Some((unit.text(id), made(unit, id)?)))
            .collect();
        let apart: Vec<&(&str, Id)> = tasks.iter().filter(|(_, task)| stands_apart(unit, *task)).collect();
        let joined = tasks.iter().any(|(_, task)| {
            let context = given(unit, *task, "context");
            let names: Vec<&str> = context
                .map(|context| unit.syntax.below(context).map(|id| unit.text(id)).collect())
                .unwrap_or_default();
            apart.iter().filter(|(name, _)| names.contains(name)).count() > 1
        });
        let Some((first, last)) = apart.first().zip(apart.last()).filter(|_| apart.len() > 1 && joined)
        else {
            continue;
        };
        let message = format!(
            "{} take nothing of each other, and the crew runs them one after the other",
            names(apart.iter().map(|(name, _)| *name)),
        );
        report
            .add(unit.file, unit.span(first.1), message)
            .hint("give them `async_execution=True`: the task whose `context` names them waits for all")
            .also(unit.file, unit.span(last.1), "the last of them")
            .done();
    }
}

/// Returns the one call that makes the task of a name.
fn made(unit: &Unit, name: Id) -> Option<Id> {
    match unit.values(name, unit.text(name)) {
        &[value] => Some(value).filter(|&value| unit.callee_name(value) == "Task"),
        _ => None,
    }
}

/// Tells whether a task is given an empty context, and has the crew wait until it has ended.
fn stands_apart(unit: &Unit, task: Id) -> bool {
    let empty =
        given(unit, task, "context").is_some_and(|context| unit.text(context).replace(' ', "") == "[]");
    empty && given(unit, task, "async_execution").is_none_or(|told| unit.text(told) == "False")
}
