//! Expressions reach scripts through variables, and tools as JSON.

use std::{collections::HashMap, fmt::Write as _};

use kapell_core::{
    expr::{Function, Key, Literal, Node, NodeKind, Piece as Part, Span as Place, Step, Template},
    plan::Variable,
};

use super::super::{Piece, Task, Text, Workflow};
use crate::{
    codes,
    finding::{Finding, Span},
    shell,
};

/// The prefix of variables that stand for expressions.
const VARIABLE: &str = "KAPELL_EXPR_";

/// The variables of a task: its own, those of the mission, and those that stand for expressions in scripts.
pub(super) struct Variables<'a> {
    /// By name; a task's own before the mission's.
    named: Vec<(&'a str, &'a Template)>,
    expressions: Vec<(String, Template)>,
    by_text: HashMap<String, usize>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(workflow: &'a Workflow, task: &'a Task) -> Self {
        let own = task.env.iter();
        let inherited =
            workflow.env.iter().filter(|(name, _)| !task.env.iter().any(|(own, _)| own.value == name.value));
        let named = inherited.chain(own).map(|(name, text)| (name.value.as_str(), &text.template)).collect();
        Self { named, expressions: Vec::new(), by_text: HashMap::new() }
    }

    /// Replaces the expressions of a script by references.
    pub(super) fn script(&mut self, text: &Text, findings: &mut Vec<Finding>) -> String {
        let mut too_long = false;
        let compiled = shell::compile(&text.template, |placeholder| {
            let source = self.inline(placeholder.expr.root()).to_string();
            let number = match self.by_text.get(&source) {
                Some(number) => *number,
                None => match Template::parse(&format!("${{{{ {source} }}}}")) {
                    Ok(template) => {
                        let number = self.expressions.len() + 1;
                        self.expressions.push((format!("{VARIABLE}{number}"), template));
                        self.by_text.insert(source, number);
                        number
                    }
                    Err(_) => {
                        too_long = true;
                        0
                    }
                },
            };
            format!("{VARIABLE}{number}")
        });
        if too_long {
            let message = "an expression is too long once the variables in it are written out";
            findings.push(Finding::error(codes::EXPRESSION, text.span(), message));
        }
        // Reading has refused what cannot be compiled.
        compiled.unwrap_or_else(|problems| {
            for problem in problems {
                findings.push(Finding::error(codes::UNQUOTABLE, text.span(), problem.why.to_string()));
            }
            String::new()
        })
    }

    /// Makes one text of the arguments of a tool, which is JSON whatever the expressions in it give.
    pub(super) fn arguments(&self, with: &[Piece], findings: &mut Vec<Finding>) -> Option<Template> {
        let mut source = String::new();
        for piece in with {
            match piece {
                Piece::Json(json) => source.push_str(json),
                Piece::Text(text) => {
                    let only: Vec<_> = text.template.pieces().collect();
                    let value = match only.as_slice() {
                        // Alone, it keeps its kind: a number stays one.
                        [Part::Expr(placeholder)] => self.inline(placeholder.expr.root()),
                        _ => {
                            let kind = as_node(&text.template);
                            self.inline(&Node { span: Place::default(), kind })
                        }
                    };
                    let _ = write!(source, "${{{{ toJSON({value}) }}}}");
                }
            }
        }
        let source = if source.is_empty() { "{}" } else { &source };
        let parsed = Template::parse(source).ok();
        if parsed.is_none() {
            let span = with.iter().find_map(Piece::text).map_or_else(Span::default, Text::span);
            let message = "an expression is too long once the variables in it are written out";
            findings.push(Finding::error(codes::EXPRESSION, span, message));
        }
        parsed
    }

    /// Writes out `env.NAME`, since no variable can be made from another.
    fn inline(&self, node: &Node) -> Node {
        let all = |nodes: &[Node]| nodes.iter().map(|node| self.inline(node)).collect();
        let kind = match &node.kind {
            NodeKind::Access { base, path } => {
                if let (NodeKind::Name(name), Some(Step { key: Key::Property(key), .. })) =
                    (&base.kind, path.first())
                    && &**name == "env"
                {
                    let found = self.named.iter().rev().find(|(name, _)| *name == &**key);
                    let found = found
                        .or_else(|| self.named.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key)));
                    let value =
                        found.map_or(NodeKind::Literal(Literal::Null), |(_, template)| as_node(template));
                    let base = Box::new(Node { span: node.span, kind: value });
                    let path = path[1..].to_vec();
                    return if path.is_empty() {
                        *base
                    } else {
                        Node { span: node.span, kind: NodeKind::Access { base, path } }
                    };
                }
                let path = path.iter().map(|step| match &step.key {
                    Key::Index(index) => {
                        Step { span: step.span, key: Key::Index(Box::new(self.inline(index))) }
                    }
                    _ => step.clone(),
                });
                NodeKind::Access { base: Box::new(self.inline(base)), path: path.collect() }
            }
            NodeKind::Call { function, arguments } => {
                NodeKind::Call { function: *function, arguments: all(arguments) }
            }
            NodeKind::Not(operand) => NodeKind::Not(Box::new(self.inline(operand))),
            NodeKind::And(operands) => NodeKind::And(all(operands)),
            NodeKind::Or(operands) => NodeKind::Or(all(operands)),
            NodeKind::Compare { comparison, left, right } => NodeKind::Compare {
                comparison: *comparison,
                left: Box::new(self.inline(left)),
                right: Box::new(self.inline(right)),
            },
            NodeKind::Literal(_) | NodeKind::Name(_) => node.kind.clone(),
        };
        Node { span: node.span, kind }
    }

    pub(super) fn finish(self) -> Vec<Variable> {
        let named = self.named.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
        named.chain(self.expressions).map(|(name, value)| Variable { name, value }).collect()
    }
}

/// Writes a template as an expression that gives the same text.
fn as_node(template: &Template) -> NodeKind {
    let literal = |text: &str| NodeKind::Literal(Literal::String(text.into()));
    if let Some(text) = template.as_literal() {
        return literal(text);
    }
    let mut format = String::new();
    let mut arguments = Vec::new();
    for piece in template.pieces() {
        match piece {
            Part::Text(text) => format.push_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Expr(placeholder) => {
                let _ = write!(format, "{{{}}}", arguments.len());
                arguments.push(placeholder.expr.root().clone());
            }
        }
    }
    let first = Node { span: Place::default(), kind: literal(&format) };
    arguments.insert(0, first);
    NodeKind::Call { function: Function::Format, arguments }
}
