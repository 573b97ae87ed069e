//! Which ids the tasks of a file get, and what their cells are called.

use std::{collections::HashMap, fmt::Write as _, ops::Range};

use kapell_core::{
    expr::{Expr, Value},
    id::{DefinitionId, TaskId},
    plan::{Cell, Definition, Matrix, Work as CoreWork},
};

use super::{
    super::{
        Piece, Task, Text, Work,
        cells::{Cells, Kept, cells},
    },
    Compiler,
};
use crate::{codes, finding::Finding};

/// Beyond so many edges between two matrices a task that does nothing is put between them.
const EDGES_BETWEEN: usize = 65_536;

/// The most edges of a plan.
const EDGES_LIMIT: usize = 20_000_000;

/// How much longer than its task's name the name of a cell may be, in characters.
const NAME_LIMIT: usize = 100;

/// How much of that one value may take, in bytes.
const VALUE_LIMIT: usize = 60;

/// The ids of a task's cells, and of the task that joins them, if there is one.
pub(super) struct Placed {
    cells: Option<Cells>,
    ids: Range<usize>,
    join: Option<usize>,
}

fn id(at: usize) -> TaskId {
    TaskId(u32::try_from(at).unwrap_or(u32::MAX))
}

impl<'a> Compiler<'a, '_> {
    /// Refuses a file whose cells need too many others.
    pub(super) fn bounded_edges(&mut self, placed: &[Placed], index: &HashMap<&str, usize>) -> Option<()> {
        let mut edges = 0_usize;
        for (task, own) in self.workflow.tasks.iter().zip(placed) {
            let others = task.needs.iter().filter_map(|need| index.get(need.value.as_str()));
            let each: usize = others.map(|at| needed(own, &placed[*at]).len()).sum();
            edges = edges.saturating_add(each.saturating_mul(own.ids.len()));
            if edges > EDGES_LIMIT {
                let message =
                    format!("with task `{}` there are more than {EDGES_LIMIT} needs", task.name.value);
                let hint = "put a task that does nothing between many tasks and many others";
                self.findings.push(Finding::error(codes::TOO_MANY_TASKS, task.name.span, message).hint(hint));
                return None;
            }
        }
        Some(())
    }

    /// Gives every task its ids, in the order of the file.
    pub(super) fn place(&mut self) -> Option<Vec<Placed>> {
        let all = self.cells()?;
        let joined = self.joined(&all)?;
        let mut next = 0;
        let place = |(task, cells): (&Task, Option<Cells>)| {
            let ids = next..next + count(cells.as_ref());
            next = ids.end;
            let join = joined.contains(&task.name.value.as_str()).then_some(next);
            next += usize::from(join.is_some());
            Placed { cells, ids, join }
        };
        Some(self.workflow.tasks.iter().zip(all).map(place).collect())
    }

    /// Returns the cells of every task that has a matrix.
    fn cells(&mut self) -> Option<Vec<Option<Cells>>> {
        let mut all = Vec::new();
        let mut total = 0;
        for task in &self.workflow.tasks {
            let cells = match &task.matrix {
                Some(matrix) => Some(cells(matrix, self.limits.tasks, self.findings)?),
                None => None,
            };
            let count = count(cells.as_ref());
            if count == 0 {
                let message = format!("nothing is left of the matrix of task `{}`", task.name.value);
                self.findings.push(Finding::error(codes::MATRIX, task.name.span, message));
                return None;
            }
            total += count;
            if total > self.limits.tasks {
                let message = format!("with task `{}` there are {total} tasks", task.name.value);
                let hint = format!("a plan has at most {}", self.limits.tasks);
                let span = task.matrix.as_ref().map_or(task.name.span, |matrix| matrix.span);
                self.findings.push(Finding::error(codes::TOO_MANY_TASKS, span, message).hint(hint));
                return None;
            }
            all.push(cells);
        }
        Some(all)
    }

    /// Returns the names of the tasks whose cells are to be joined by a task that does nothing, since too many cells
    /// of another one need them all.
    fn joined(&mut self, all: &[Option<Cells>]) -> Option<Vec<&'a str>> {
        let tasks = &self.workflow.tasks;
        let counts = all.iter().map(|cells| count(cells.as_ref()));
        let counts: HashMap<&str, usize> =
            tasks.iter().map(|task| task.name.value.as_str()).zip(counts).collect();
        let count = |name: &str| counts.get(name).copied().unwrap_or(1);
        let mut joined: Vec<&str> = Vec::new();
        for task in tasks {
            let own = count(&task.name.value);
            for need in &task.needs {
                let needed = count(&need.value);
                if needed == 1 || own == 1 || needed.saturating_mul(own) <= EDGES_BETWEEN {
                    continue;
                }
                if reads(task, &need.value) {
                    let message = format!("{own} cells would each read {needed} cells of `{}`", need.value);
                    let hint = "put a task between them that collects what is to be read";
                    self.findings.push(Finding::error(codes::TOO_MANY_TASKS, need.span, message).hint(hint));
                    return None;
                }
                joined.push(&need.value);
            }
        }
        Some(joined)
    }

    /// Adds the task, or all its cells.
    pub(super) fn add(&mut self, task: &Task, place: &Placed, definition: DefinitionId, needs: &[TaskId]) {
        let name = &task.name.value;
        let Some(cells) = &place.cells else {
            self.builder.task(name, definition, needs);
            return;
        };
        let product = cells.product.clone().map(|matrix| self.builder.matrix(matrix));
        let written =
            (!cells.written.is_empty()).then(|| self.builder.matrix(Matrix::Cells(cells.written.clone())));
        self.builder.reserve(place.ids.len());
        let mut full = String::new();
        for (number, kept) in cells.iter().enumerate() {
            let (cell, values) = match kept {
                Kept::Product(index) => {
                    let values = cells.product.as_ref().map(|matrix| matrix.cell(index)).unwrap_or_default();
                    (Cell { matrix: product.unwrap_or_default(), index }, values)
                }
                Kept::Written(index) => {
                    let values =
                        cells.written[index as usize].iter().map(|(name, value)| (name.as_str(), value));
                    (Cell { matrix: written.unwrap_or_default(), index }, values.collect())
                }
            };
            write_name(name, &values, &mut full);
            if self.builder.find(&full).is_some() {
                let _ = write!(full, " #{}", number + 1);
            }
            self.builder.cell(&full, definition, needs, cell);
        }
        if place.join.is_some() {
            self.join(name, place);
        }
    }

    /// Adds the task that waits for all cells of another one.
    fn join(&mut self, name: &str, place: &Placed) {
        let mut full = format!("{name} (all)");
        while self.builder.find(&full).is_some() {
            full.push('*');
        }
        let definition = self.builder.define(Definition::new(CoreWork::Noop));
        let cells: Vec<TaskId> = place.ids.clone().map(id).collect();
        self.builder.task(&full, definition, &cells);
    }
}

fn count(cells: Option<&Cells>) -> usize {
    cells.map_or(1, Cells::len)
}

/// Returns the ids that a task needs: for a matrix all its cells, or the task that joins them.
pub(super) fn needs(
    task: &Task,
    own: &Placed,
    placed: &[Placed],
    index: &HashMap<&str, usize>,
) -> Vec<TaskId> {
    let mut needs = Vec::new();
    for need in &task.needs {
        let Some(other) = index.get(need.value.as_str()).map(|at| &placed[*at]) else { continue };
        needs.extend(needed(own, other).map(id));
    }
    needs
}

/// Returns the ids that each cell of `own` needs of `other`: all its cells, or the task that joins them.
fn needed(own: &Placed, other: &Placed) -> Range<usize> {
    match other.join {
        Some(join) if own.ids.len().saturating_mul(other.ids.len()) > EDGES_BETWEEN => join..join + 1,
        _ => other.ids.clone(),
    }
}

/// Tells whether an expression of `task` reads the task called `name`.
fn reads(task: &Task, name: &str) -> bool {
    let mut found = false;
    let mut look = |expr: &Expr| {
        found |= expr.root().references().iter().any(|reference| {
            let root = matches!(reference.path.first(), Some(("tasks" | "needs", _)));
            root && reference.path.get(1).is_none_or(|(key, _)| *key == name)
        });
    };
    let mut texts: Vec<&Text> = task.env.iter().map(|(_, text)| text).collect();
    texts.extend(task.outputs.iter().filter_map(|(_, text)| text.as_ref()));
    texts.extend(task.accept.iter().chain(&task.claims).chain(&task.compensate));
    texts.extend(task.with.iter().filter_map(Piece::text));
    if let Some(Work::Run(text) | Work::Prompt(text) | Work::Gate(text, _)) = &task.work {
        texts.push(text);
    }
    for text in texts {
        text.template.placeholders().iter().for_each(|placeholder| look(&placeholder.expr));
    }
    task.condition.iter().for_each(|condition| look(&condition.expr));
    found
}

/// Writes the name of a cell: that of its task, and the values in brackets.
fn write_name(name: &str, values: &[(&str, &Value)], full: &mut String) {
    full.clear();
    let _ = write!(full, "{name} (");
    for (at, (_, value)) in values.iter().enumerate() {
        if full.len() > name.len() + NAME_LIMIT {
            break;
        }
        full.push_str(if at > 0 { ", " } else { "" });
        let end = full.len() + VALUE_LIMIT;
        show(value, full, end);
    }
    let end = full.char_indices().nth(NAME_LIMIT + name.len()).map_or(full.len(), |(at, _)| at);
    full.truncate(end);
    full.push(')');
}

/// Writes a value as a part of a task's name: on one line, and no longer than up to about `end`.
fn show(value: &Value, into: &mut String, end: usize) {
    match value {
        Value::Null => into.push_str("null"),
        Value::Array(items) => {
            into.push('[');
            for (at, item) in items.iter().enumerate() {
                if into.len() >= end {
                    break;
                }
                into.push_str(if at > 0 { ", " } else { "" });
                show(item, into, end);
            }
            into.push(']');
        }
        Value::Object(object) => {
            into.push('{');
            for (at, (name, item)) in object.entries().iter().enumerate() {
                if into.len() >= end {
                    break;
                }
                into.push_str(if at > 0 { ", " } else { "" });
                into.extend(name.chars().take(VALUE_LIMIT));
                into.push_str(": ");
                show(item, into, end);
            }
            into.push('}');
        }
        value => {
            let text = value.text().unwrap_or_default();
            let room = end.saturating_sub(into.len());
            into.extend(text.chars().take(room).map(|c| if c.is_control() { ' ' } else { c }));
        }
    }
}
