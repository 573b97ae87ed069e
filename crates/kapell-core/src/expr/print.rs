//! A syntax tree into its canonical text.

use std::fmt::{self, Display as _, Write as _};

use super::{
    lex::is_property,
    syntax::{Comparison, Key, Literal, Node, NodeKind},
};

/// How tightly a node binds; a looser one within a tighter one needs parentheses.
fn binding(kind: &NodeKind) -> u8 {
    match kind {
        NodeKind::Or(_) => 1,
        NodeKind::And(_) => 2,
        NodeKind::Compare { comparison: Comparison::Equal | Comparison::NotEqual, .. } => 3,
        NodeKind::Compare { .. } => 4,
        NodeKind::Not(_) => 5,
        NodeKind::Literal(_) | NodeKind::Name(_) | NodeKind::Access { .. } | NodeKind::Call { .. } => 6,
    }
}

/// Shows the canonical text: one blank around operators, no needless parentheses, functions as GitHub writes them.
/// It parses back to the same tree.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Literal(literal) => literal.fmt(f),
            NodeKind::Name(name) => f.write_str(name),
            NodeKind::Access { base, path } => {
                // `1.a` would be read as a number.
                if matches!(base.kind, NodeKind::Literal(Literal::Number(_))) {
                    write!(f, "({base})")?;
                } else {
                    within(f, base, 6)?;
                }
                path.iter().try_for_each(|step| step.key.fmt(f))
            }
            NodeKind::Call { function, arguments } => {
                write!(f, "{}(", function.name())?;
                joined(f, arguments, ", ", 0)?;
                f.write_char(')')
            }
            NodeKind::Not(operand) => {
                f.write_char('!')?;
                within(f, operand, 5)
            }
            NodeKind::And(operands) => joined(f, operands, " && ", 3),
            NodeKind::Or(operands) => joined(f, operands, " || ", 2),
            NodeKind::Compare { comparison, left, right } => {
                let ours = binding(&self.kind);
                within(f, left, ours)?;
                write!(f, " {comparison} ")?;
                within(f, right, ours + 1)
            }
        }
    }
}

fn within(f: &mut fmt::Formatter<'_>, node: &Node, least: u8) -> fmt::Result {
    if binding(&node.kind) < least { write!(f, "({node})") } else { node.fmt(f) }
}

fn joined(f: &mut fmt::Formatter<'_>, nodes: &[Node], by: &str, least: u8) -> fmt::Result {
    for (at, node) in nodes.iter().enumerate() {
        if at > 0 {
            f.write_str(by)?;
        }
        within(f, node, least)?;
    }
    Ok(())
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(value) if value.is_nan() => f.write_str("NaN"),
            Self::Number(value) if value.is_infinite() => {
                f.write_str(if *value > 0.0 { "Infinity" } else { "-Infinity" })
            }
            // Not the format of the language, which drops digits.
            Self::Number(value) if value.abs() < 1e15 => value.fmt(f),
            Self::Number(value) => write!(f, "{value:e}"),
            Self::String(text) => write!(f, "'{}'", text.replace('\'', "''")),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property(name) if is_property(name) => write!(f, ".{name}"),
            Self::Property(name) => write!(f, "['{}']", name.replace('\'', "''")),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Wildcard => f.write_str(".*"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}
