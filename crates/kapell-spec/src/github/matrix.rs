//! The matrix of a job.

use kapell_core::expr::Value;

use super::{
    keys::Reader,
    text::{Name, Text},
};
use crate::{
    finding::Span,
    yaml::{Kind, Node},
};

/// A matrix.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matrix {
    /// Where it stands.
    pub span: Span,
    /// Its axes.
    pub axes: Vec<Axis>,
    /// Cells added, or extended.
    pub include: Vec<Cell>,
    /// Cells taken out.
    pub exclude: Vec<Cell>,
    /// Whether an expression gives all of it, its inclusions or its exclusions, so that its cells are not known.
    pub dynamic: bool,
}

/// An axis of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Its name.
    pub name: Name,
    /// Its values; `None` if an expression gives them.
    pub values: Option<Vec<(Value, Span)>>,
    /// Where its values stand.
    pub span: Span,
}

/// Values by axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Where it stands.
    pub span: Span,
    /// The values.
    pub values: Vec<(Name, Value)>,
}

impl Matrix {
    /// Tells whether everything about it is written down.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.dynamic
            && self.axes.iter().all(|axis| {
                axis.values.as_ref().is_some_and(|values| values.iter().all(|(value, _)| value.is_known()))
            })
    }

    /// Returns its cells as GitHub makes them; `None` if they are not known, or more than 256.
    #[must_use]
    pub fn cells(&self) -> Option<Vec<Vec<(&str, &Value)>>> {
        if !self.is_known() {
            return None;
        }
        let mut cells: Vec<Vec<(&str, &Value)>> = vec![Vec::new()];
        for axis in &self.axes {
            let values = axis.values.as_ref()?;
            if cells.len() * values.len() > 256 {
                return None;
            }
            let mut wider = Vec::with_capacity(cells.len() * values.len());
            for cell in &cells {
                for (value, _) in values {
                    let mut cell = cell.clone();
                    cell.push((&*axis.name.text, value));
                    wider.push(cell);
                }
            }
            cells = wider;
        }
        let fits = |cell: &[(&str, &Value)], values: &[(Name, Value)]| {
            values.iter().all(|(name, value)| {
                cell.iter().any(|(known, found)| **known == *name.text && same(found, value))
            })
        };
        cells.retain(|cell| !self.exclude.iter().any(|excluded| fits(cell, &excluded.values)));
        if self.axes.is_empty() {
            cells.clear();
        }
        self.add_inclusions(&mut cells);
        Some(cells)
    }

    /// Each inclusion goes into all cells whose axes it does not change; where there are none it is a cell of its own.
    fn add_inclusions<'a>(&'a self, cells: &mut Vec<Vec<(&'a str, &'a Value)>>) {
        let made = cells.len();
        for inclusion in &self.include {
            let on_axes: Vec<_> = inclusion
                .values
                .iter()
                .filter(|(name, _)| self.axes.iter().any(|axis| axis.name.text == name.text))
                .collect();
            let mut placed = false;
            for cell in &mut cells[..made] {
                let agrees = on_axes.iter().all(|(name, value)| {
                    cell.iter().any(|(known, found)| **known == *name.text && same(found, value))
                });
                if agrees {
                    placed = true;
                    for (name, value) in &inclusion.values {
                        match cell.iter_mut().find(|(known, _)| **known == *name.text) {
                            Some(entry) => entry.1 = value,
                            None => cell.push((&name.text, value)),
                        }
                    }
                }
            }
            if !placed {
                cells.push(inclusion.values.iter().map(|(name, value)| (&*name.text, value)).collect());
            }
        }
    }
}

fn same(left: &Value, right: &Value) -> bool {
    left == right || left.loosely_equals(right) == Some(true)
}

pub(super) fn matrix(reader: &mut Reader<'_>, node: &Node) -> Matrix {
    let mut matrix = Matrix { span: node.place(), ..Matrix::default() };
    if node.scalar().is_some() {
        matrix.dynamic = true;
        return matrix;
    }
    for (key, entry) in reader.entries(node, "`matrix`") {
        match key {
            "include" | "exclude" => {
                let cells = if key == "include" { &mut matrix.include } else { &mut matrix.exclude };
                matrix.dynamic |= !entry.value.items().is_some_and(|items| {
                    cells.extend(items.iter().filter_map(cell));
                    items.len() == cells.len()
                });
            }
            _ => {
                let Some(name) = Name::of(&entry.key) else { continue };
                let values = entry
                    .value
                    .items()
                    .map(|items| items.iter().map(|item| (value(item), item.place())).collect());
                matrix.axes.push(Axis { name, values, span: entry.value.place() });
            }
        }
    }
    matrix
}

fn cell(node: &Node) -> Option<Cell> {
    let entries = node.entries()?.iter();
    let values = entries.filter_map(|entry| Some((Name::of(&entry.key)?, value(&entry.value)))).collect();
    Some(Cell { span: node.place(), values })
}

/// Returns a node as a value; an expression is not known.
fn value(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar(scalar) if scalar.is_null() => Value::Null,
        Kind::Scalar(scalar) => match (scalar.as_bool(), scalar.as_float()) {
            (Some(value), _) => value.into(),
            (_, Some(value)) => value.into(),
            _ if scalar.text.contains("${{") => Value::UNKNOWN,
            _ => Value::string(&scalar.text),
        },
        Kind::Sequence(items) => Value::array(items.iter().map(value).collect()),
        Kind::Mapping(entries) => {
            Value::object(entries.iter().filter_map(|entry| Some((entry.key.text()?, value(&entry.value)))))
        }
    }
}

/// Returns the texts that run a job: labels of runners.
pub(super) fn labels(node: &Node) -> Vec<Text> {
    match &node.kind {
        Kind::Scalar(_) => Text::of(node).into_iter().collect(),
        Kind::Sequence(items) => items.iter().filter_map(Text::of).collect(),
        Kind::Mapping(_) => node.get("labels").map(labels).unwrap_or_default(),
    }
}
