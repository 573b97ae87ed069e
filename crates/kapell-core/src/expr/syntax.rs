//! The syntax tree.

use std::sync::Arc;

use super::Function;

/// A range of bytes of the source, from `start` up to but not including `end`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// Makes a range. Offsets beyond 4 GB are cut off; sources are bounded far below.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let narrow = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    /// Returns the range from the start of this one to the end of `other`.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }

    /// Returns it as a range of indices.
    #[must_use]
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A part of an expression, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands in the source.
    pub span: Span,
    /// What it is.
    pub kind: NodeKind,
}

/// What a part of an expression is.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    /// A value written out.
    Literal(Literal),
    /// A named value, such as `tasks`.
    Name(Arc<str>),
    /// Steps into a value: `base.a['b'].*`. There is at least one step.
    Access {
        /// What is stepped into.
        base: Box<Node>,
        /// The steps, outermost first.
        path: Vec<Step>,
    },
    /// A call.
    Call {
        /// What is called.
        function: Function,
        /// With what. Their number has been checked.
        arguments: Vec<Node>,
    },
    /// `!x`
    Not(Box<Node>),
    /// `x && y && z`: two operands or more, none of them an `And` itself.
    And(Vec<Node>),
    /// `x || y || z`: two operands or more, none of them an `Or` itself.
    Or(Vec<Node>),
    /// `x == y`
    Compare {
        /// How they are compared.
        comparison: Comparison,
        /// The left operand.
        left: Box<Node>,
        /// The right operand.
        right: Box<Node>,
    },
}

/// A step into a value, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where it stands in the source, from `.` or `[` on.
    pub span: Span,
    /// What is stepped to.
    pub key: Key,
}

/// What a step goes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    /// A name known in advance: `.name` or `['name']`.
    Property(Arc<str>),
    /// A name or index to be computed.
    Index(Box<Node>),
    /// All entries: `.*`.
    Wildcard,
}

/// A value written out.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// `42`, `-1.5e3`, `0xff`
    Number(f64),
    /// `'it''s'`
    String(Arc<str>),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A path that starts at a named value, as far as its keys are known in advance.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference<'a> {
    /// The name and the keys after it, each with its place.
    pub path: Vec<(&'a str, Span)>,
    /// Whether the whole path is known; otherwise a computed key or a wildcard follows.
    pub whole: bool,
}

impl Node {
    /// Calls `visit` for this node and every one below it, outermost first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        match &self.kind {
            NodeKind::Literal(_) | NodeKind::Name(_) => {}
            NodeKind::Access { base, path } => {
                base.walk(visit);
                for step in path {
                    if let Key::Index(index) = &step.key {
                        index.walk(visit);
                    }
                }
            }
            NodeKind::Not(operand) => operand.walk(visit),
            NodeKind::Call { arguments: operands, .. } | NodeKind::And(operands) | NodeKind::Or(operands) => {
                operands.iter().for_each(|operand| operand.walk(visit));
            }
            NodeKind::Compare { left, right, .. } => {
                left.walk(visit);
                right.walk(visit);
            }
        }
    }

    /// Tells whether it is a value or a path, and nothing else: no operator and no call stands in it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        match &self.kind {
            NodeKind::Literal(_) | NodeKind::Name(_) => true,
            NodeKind::Access { base, path } => {
                matches!(base.kind, NodeKind::Name(_))
                    && !path.iter().any(|step| matches!(step.key, Key::Index(_)))
            }
            _ => false,
        }
    }

    /// Tells whether a status function is called in it.
    #[must_use]
    pub fn asks_status(&self) -> bool {
        let mut found = false;
        self.walk(&mut |node| {
            found |= matches!(&node.kind, NodeKind::Call { function, .. } if function.status().is_some());
        });
        found
    }

    /// Returns every named value that is read, with the keys that follow it.
    #[must_use]
    pub fn references(&self) -> Vec<Reference<'_>> {
        let mut found = Vec::new();
        let mut stepped_into = None;
        self.walk(&mut |node| match &node.kind {
            NodeKind::Access { base, path } => {
                if let NodeKind::Name(name) = &base.kind {
                    stepped_into = Some(base.span);
                    let known = path.iter().map_while(|step| match &step.key {
                        Key::Property(key) => Some((&**key, step.span)),
                        _ => None,
                    });
                    let path_known: Vec<_> = std::iter::once((&**name, base.span)).chain(known).collect();
                    let whole = path_known.len() == path.len() + 1;
                    found.push(Reference { path: path_known, whole });
                }
            }
            NodeKind::Name(name) if stepped_into != Some(node.span) => {
                found.push(Reference { path: vec![(name, node.span)], whole: true });
            }
            _ => {}
        });
        found
    }
}
