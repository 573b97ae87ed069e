//! YAML as a tree that knows where everything stands.
//!
//! One document of YAML 1.2 with the core schema: `no` is a text, `0o17` a number. Anchors and aliases are supported
//! (an alias becomes a copy of what it names, within [`Limits::alias_nodes`]). Not supported, each with its finding:
//! several documents, merge keys (`<<`, which YAML 1.2 does not have), keys that are collections, tags other than
//! those of the core schema, and encodings other than UTF-8. A byte order mark is skipped; CRLF is a line break.
//!
//! The tree keeps byte ranges of keys, values and comments, so that a text can be edited without being written anew.

mod build;
mod input;
mod place;
mod scalar;
mod text;

#[cfg(test)]
mod tests;

pub use scalar::{Scalar, Style};

use crate::finding::{Finding, Source, Span};

/// The bounds within which a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, in bytes.
    pub bytes: usize,
    /// The deepest nesting of collections.
    pub depth: usize,
    /// The most scalars and collections, copies by aliases included.
    pub nodes: usize,
    /// The most scalars and collections that aliases may copy.
    pub alias_nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 10_000_000, depth: 100, nodes: 1_000_000, alias_nodes: 100_000 }
    }
}

/// A document.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// The outermost node.
    pub root: Node,
    /// Where the comments are, from `#` to the end of the line, in order.
    pub comments: Vec<Span>,
    /// Whether all of the text was read; otherwise it ends where the first error stands.
    pub complete: bool,
}

/// A scalar or a collection, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands, without its anchor and tag. A block scalar's range starts at its `|` or `>`.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
    /// Where the alias stands that it was copied for; `span` is then that of the original.
    pub alias: Option<Span>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A text, number, truth value or nothing.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Values by key, in order.
    Mapping(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Node,
    /// The value.
    pub value: Node,
    /// Whether an earlier entry of the mapping has the same key; this one is then not in force.
    pub duplicate: bool,
}

impl Tree {
    /// Returns the comments that start within `span`.
    #[must_use]
    pub fn comments_in(&self, span: Span) -> &[Span] {
        let from = self.comments.partition_point(|comment| comment.start < span.start);
        let to = self.comments.partition_point(|comment| comment.start < span.end);
        &self.comments[from..to.max(from)]
    }
}

impl Node {
    /// Returns the place to point at: that of the alias, if it was copied for one.
    #[must_use]
    pub fn place(&self) -> Span {
        self.alias.unwrap_or(self.span)
    }

    /// Returns it as a scalar.
    #[must_use]
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Returns the text of a scalar, whatever it stands for.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.scalar().map(|scalar| &*scalar.text)
    }

    /// Returns the items of a sequence.
    #[must_use]
    pub fn items(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the entries of a mapping.
    #[must_use]
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.kind {
            Kind::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns the value that a mapping has for `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|entry| entry.key.text() == Some(key)).map(|entry| &entry.value)
    }

    /// Names its kind for people.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.kind_name(),
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }

    /// Returns where bytes `range` of a scalar's text stand in `source`, as near as folding and escapes allow.
    #[must_use]
    pub fn locate(&self, source: &str, range: std::ops::Range<usize>) -> Span {
        if let Some(alias) = self.alias {
            return alias;
        }
        self.scalar().map_or(self.span, |scalar| scalar.locate(source, self.span, range))
    }
}

/// Reads bytes as UTF-8. Where they are not, the rest is kept readable for showing, but is not parsed.
#[must_use]
pub fn decode(name: &str, bytes: &[u8]) -> (Source, Vec<Finding>) {
    text::decode(name, bytes)
}

/// Reads a document within [`Limits::default`].
#[must_use]
pub fn read(source: &Source) -> (Option<Tree>, Vec<Finding>) {
    read_within(source, Limits::default())
}

/// Reads a document.
///
/// Time and memory are bounded by `limits`. Whatever is wrong is a finding; the tree holds what stands before the
/// first error of syntax, and there is none if nothing stands there.
#[must_use]
pub fn read_within(source: &Source, limits: Limits) -> (Option<Tree>, Vec<Finding>) {
    let mut findings = text::check(&source.text, limits);
    if findings.iter().any(Finding::is_error) {
        return (None, findings);
    }
    let tree = build::build(&source.text, limits, &mut findings);
    (tree, findings)
}
