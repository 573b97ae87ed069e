//! Reading a matrix, and values as they stand in YAML.

use kapell_core::expr::Value;

use super::{Matrix, Spanned, reader::Reader};
use crate::{
    codes,
    finding::Finding,
    yaml::{Kind, Node},
};

/// Reads any YAML as a value of the expression language.
pub(super) fn value(reader: &mut Reader<'_>, node: &Node) -> Option<Value> {
    match &node.kind {
        Kind::Scalar(scalar) => {
            if let Some(at) = scalar.text.find("${{") {
                let span = node.locate(&reader.source.text, at..at + 3);
                let hint =
                    "a matrix is built when the plan is made; expressions can use its values, not make them";
                reader.report(
                    Finding::error(codes::NO_EXPRESSIONS, span, "expressions are not allowed here")
                        .hint(hint),
                );
                return None;
            }
            if scalar.is_null() {
                return Some(Value::Null);
            }
            if let Some(value) = scalar.as_bool() {
                return Some(Value::Bool(value));
            }
            match scalar.as_float() {
                Some(number) if !number.is_finite() => {
                    let message = format!("`{}` cannot be a value of a matrix", scalar.text);
                    reader.report(Finding::error(codes::MATRIX, node.place(), message));
                    None
                }
                Some(number) => Some(Value::Number(number)),
                None => Some(Value::string(&scalar.text)),
            }
        }
        Kind::Sequence(items) => {
            let items: Vec<_> = items.iter().map(|item| value(reader, item)).collect();
            items.into_iter().collect::<Option<Vec<_>>>().map(Value::array)
        }
        Kind::Mapping(entries) => {
            let in_force = entries.iter().filter(|entry| !entry.duplicate);
            let entries: Vec<_> =
                in_force.filter_map(|entry| Some((entry.key.text()?, value(reader, &entry.value)))).collect();
            let known: Option<Vec<_>> = entries.into_iter().map(|(key, value)| Some((key, value?))).collect();
            known.map(Value::object)
        }
    }
}

pub(super) fn matrix(reader: &mut Reader<'_>, node: &Node) -> Option<Matrix> {
    let mut matrix =
        Matrix { span: node.place(), axes: Vec::new(), exclude: Vec::new(), include: Vec::new() };
    let mut broken = false;
    for (key, entry) in reader.entries(node, "matrix") {
        let found = reader.findings.len();
        match key {
            "include" => matrix.include = combinations(reader, &entry.value, key),
            "exclude" => matrix.exclude = combinations(reader, &entry.value, key),
            _ => {
                let name = reader.name(entry, "an axis");
                let values = axis(reader, &entry.value, key);
                matrix.axes.extend(name.zip(values));
            }
        }
        broken |= reader.findings.len() > found;
    }
    reader.case_clashes("axes", matrix.axes.iter().map(|(name, _)| name));
    if matrix.axes.is_empty() && matrix.include.is_empty() && !broken && node.entries().is_some() {
        let finding = Finding::error(codes::MATRIX, node.place(), "the matrix has no axis");
        reader.report(finding.hint("for example: `matrix: { version: [1, 2] }`"));
        broken = true;
    }
    (!broken && node.entries().is_some()).then_some(matrix)
}

fn axis(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<Vec<Value>> {
    let Some(items) = node.items() else {
        reader.wrong(node, key, "a list of values");
        return None;
    };
    if items.is_empty() {
        let message = format!("axis `{key}` has no values");
        reader.report(Finding::error(codes::MATRIX, node.place(), message));
        return None;
    }
    let values: Vec<_> = items.iter().map(|item| value(reader, item)).collect();
    values.into_iter().collect()
}

/// Reads the mappings of `include` or `exclude`.
fn combinations(reader: &mut Reader<'_>, node: &Node, key: &str) -> Vec<Spanned<Vec<(String, Value)>>> {
    let Some(items) = node.items() else {
        reader.wrong(node, key, "a list of mappings");
        return Vec::new();
    };
    let mut combinations = Vec::new();
    for item in items {
        let entries: Vec<_> = reader.entries(item, key).collect();
        let values: Vec<_> = entries
            .iter()
            .filter_map(|(name, entry)| {
                reader.name(entry, "an axis");
                Some(((*name).to_owned(), value(reader, &entry.value)?))
            })
            .collect();
        combinations.push(Spanned::new(values, item.place()));
    }
    combinations
}
