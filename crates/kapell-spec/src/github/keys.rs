//! Mappings: their entries with places, and reading them.

use kapell_core::expr::{Expr, Template};

use super::text::{Expression, Name, Text};
use crate::{
    codes,
    finding::{Finding, Severity, Span, report},
    yaml::{Entry, Kind, Node},
};

/// An entry of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its key.
    pub name: Box<str>,
    /// Where the key stands.
    pub span: Span,
    /// Where the value stands.
    pub value: Span,
}

/// The entries of a mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// The entries, in order.
    pub entries: Vec<Key>,
    /// Whether lines can be added to it: it is written as a block, and no alias stands for it.
    pub open: bool,
}

impl Keys {
    pub(super) fn of(node: &Node) -> Self {
        let entries = node.entries().unwrap_or_default();
        let name = |entry: &Entry| {
            Some(Key { name: entry.key.text()?.into(), span: entry.key.place(), value: entry.value.place() })
        };
        // A flow mapping starts before its first key.
        let open = node.alias.is_none()
            && entries.first().is_some_and(|entry| entry.key.span.start == node.span.start);
        Self { entries: entries.iter().filter_map(name).collect(), open }
    }

    /// Finds an entry.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Key> {
        self.entries.iter().find(|key| &*key.name == name)
    }
}

/// Reads a tree and notes what is wrong with it.
pub(super) struct Reader<'a> {
    source: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a str, findings: &'a mut Vec<Finding>) -> Self {
        Self { source, findings }
    }

    /// Notes a key that is not known.
    pub(super) fn unknown(&mut self, entry: &Entry) {
        let name = entry.key.text().unwrap_or_default();
        if name == "<<" || name.starts_with("x-") {
            return;
        }
        let finding =
            Finding::warning(codes::UNKNOWN_KEY, entry.key.place(), format!("`{name}` is not known here"));
        report(self.findings, Finding { severity: Severity::Note, ..finding });
    }

    fn wrong(&mut self, node: &Node, what: &str, expected: &str) {
        let message = format!("{what} is {expected}, not {}", node.kind_name());
        report(self.findings, Finding::warning(codes::WRONG_TYPE, node.place(), message));
    }

    /// Returns the entries of a mapping that are in force.
    pub(super) fn entries<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
    ) -> impl Iterator<Item = (&'n str, &'n Entry)> + use<'n> {
        if node.entries().is_none() && !node.scalar().is_some_and(|scalar| scalar.is_null()) {
            self.wrong(node, what, "a mapping");
        }
        let entries = node.entries().unwrap_or_default().iter();
        entries.filter(|entry| !entry.duplicate).filter_map(|entry| Some((entry.key.text()?, entry)))
    }

    /// Returns the items of a list.
    pub(super) fn items<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        node.items().unwrap_or_else(|| {
            if !node.scalar().is_some_and(|scalar| scalar.is_null()) {
                self.wrong(node, what, "a list");
            }
            &[]
        })
    }

    /// Returns names that are given as one, or as a list.
    pub(super) fn names(&mut self, node: &Node, what: &str) -> Vec<Name> {
        match &node.kind {
            Kind::Scalar(_) => Name::of(node).into_iter().collect(),
            _ => self.items(node, what).iter().filter_map(Name::of).collect(),
        }
    }

    /// Returns texts by name.
    pub(super) fn texts(&mut self, node: &Node) -> Vec<(Name, Text)> {
        // One expression may stand for all of it.
        let entries = node.entries().unwrap_or_default().iter().filter(|entry| !entry.duplicate);
        entries.filter_map(|entry| Name::of(&entry.key).zip(Text::of(&entry.value))).collect()
    }

    /// Collects the expressions in `node`, and notes those that are broken.
    pub(super) fn expressions(&mut self, node: &Node, found: &mut Vec<Expression>) {
        match &node.kind {
            Kind::Scalar(scalar) => {
                if scalar.text.contains("${{") {
                    self.placeholders(node, &scalar.text, found);
                }
            }
            Kind::Sequence(items) => items.iter().for_each(|item| self.expressions(item, found)),
            Kind::Mapping(entries) => entries.iter().for_each(|entry| {
                let bare = entry.key.text() == Some("if")
                    && entry.value.text().is_some_and(|text| !text.contains("${{"));
                if bare {
                    self.bare(&entry.value, found);
                } else {
                    self.expressions(&entry.value, found);
                }
            }),
        }
    }

    fn bare(&mut self, node: &Node, found: &mut Vec<Expression>) {
        let text = node.text().unwrap_or_default().trim();
        if text.is_empty() {
            return;
        }
        match Expr::parse(text) {
            Ok(expr) => found.push(Expression::new(expr, node.place(), None)),
            Err(error) => self.broken(node, &error),
        }
    }

    fn placeholders(&mut self, node: &Node, text: &str, found: &mut Vec<Expression>) {
        match Template::parse(text) {
            Ok(template) => {
                let of = |(nth, placeholder): (usize, &kapell_core::expr::Placeholder)| {
                    Expression::new(placeholder.expr.clone(), node.place(), u32::try_from(nth).ok())
                };
                found.extend(template.placeholders().iter().enumerate().map(of));
            }
            Err(error) => self.broken(node, &error),
        }
    }

    fn broken(&mut self, node: &Node, error: &kapell_core::expr::ParseError) {
        let span = node.locate(self.source, error.span.range());
        report(self.findings, Finding::warning(codes::EXPRESSION, span, error.to_string()));
    }
}
