//! Scalars: names, texts with expressions, conditions.

use kapell_core::expr::{Expr, Template};

use crate::{
    finding::Span,
    yaml::{Node, Style},
};

/// A text without expressions, and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Name {
    /// The text.
    pub text: Box<str>,
    /// Where it stands.
    pub span: Span,
}

impl Name {
    pub(super) fn of(node: &Node) -> Option<Self> {
        let scalar = node.scalar().filter(|scalar| !scalar.is_null())?;
        Some(Self { text: (*scalar.text).into(), span: node.place() })
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// A text that may hold expressions, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The text, folding and escapes resolved.
    pub text: Box<str>,
    /// Where it stands. That of an alias is the alias.
    pub span: Span,
    /// How it is written.
    pub style: Style,
    /// Whether an alias stands for it, so that it cannot be changed in this place alone.
    pub aliased: bool,
    /// Whether it holds an expression.
    templated: bool,
}

impl Text {
    pub(super) fn of(node: &Node) -> Option<Self> {
        let scalar = node.scalar().filter(|scalar| !scalar.is_null())?;
        Some(Self {
            text: (*scalar.text).into(),
            span: node.place(),
            style: scalar.style,
            aliased: node.alias.is_some(),
            templated: scalar.text.contains("${{"),
        })
    }

    /// Returns the same place with another text.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        Self { text: text.into(), templated: text.contains("${{"), ..self }
    }

    /// Returns the text, if it holds no expression.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        (!self.templated).then_some(&*self.text)
    }

    /// Returns the expression without its braces and the blanks around it, if the text is one and nothing else.
    #[must_use]
    pub fn expression(&self) -> Option<&str> {
        only_expression(&self.text)
    }

    /// Parses it; `None` if an expression in it is broken.
    #[must_use]
    pub fn template(&self) -> Option<Template> {
        Template::parse(&self.text).ok()
    }

    /// Tells whether it is written as `word`, whatever the case.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.text.trim().eq_ignore_ascii_case(word)
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// Returns the inside of `${{ ... }}`, without the blanks around it, if a text is that and nothing else.
#[must_use]
pub fn only_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("${{")?.strip_suffix("}}")?;
    // Two placeholders, one after the other, start and end alike.
    (!inner.contains("${{")).then(|| inner.trim())
}

/// An expression, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    /// The expression.
    pub expr: Expr,
    /// The scalar that it stands in.
    pub scalar: Span,
    /// Which `${{` of the scalar it is, from 0; `None` if the scalar is the expression.
    pub nth: Option<u32>,
    /// Which [words](Word) it says, one bit for each.
    said: u8,
}

/// A word that rules look for in expressions again and again: one that never says `steps` reads nothing of steps, and has not to
/// be walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `steps`.
    Steps,
    /// `needs`.
    Needs,
    /// `env`.
    Env,
    /// `secrets`.
    Secrets,
    /// `event_name`.
    EventName,
}

impl Word {
    const ALL: [(Self, &str); 5] = [
        (Self::Steps, "steps"),
        (Self::Needs, "needs"),
        (Self::Env, "env"),
        (Self::Secrets, "secrets"),
        (Self::EventName, "event_name"),
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Finds those words in one pass, each where a word begins.
fn said(text: &str) -> u8 {
    let (mut said, mut before) = (0, b' ');
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        // What most words begin with begins none of these.
        if matches!(byte, b's' | b'n' | b'e') && !before.is_ascii_alphanumeric() && before != b'_' {
            let rest = &text.as_bytes()[at..];
            let known = Word::ALL.iter().find(|(_, word)| rest.starts_with(word.as_bytes()));
            said |= known.map_or(0, |(word, _)| word.bit());
        }
        before = byte;
    }
    said
}

impl Expression {
    pub(super) fn new(expr: Expr, scalar: Span, nth: Option<u32>) -> Self {
        let said = said(expr.source());
        Self { expr, scalar, nth, said }
    }

    /// Tells whether a word of its text begins so.
    #[must_use]
    pub fn says(&self, word: Word) -> bool {
        self.said & word.bit() != 0
    }

    /// Finds where it stands in `source`, braces included.
    #[must_use]
    pub fn span(&self, source: &str) -> Span {
        let (Some(nth), Some(raw)) = (self.nth, source.get(self.scalar.range())) else { return self.scalar };
        let Some((start, _)) = raw.match_indices("${{").nth(nth as usize) else { return self.scalar };
        let len = raw[start..].find("}}").map_or(raw.len() - start, |len| len + 2);
        let start = self.scalar.start as usize + start;
        Span::new(start, start + len)
    }
}

/// A condition: `if`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The text, without `${{` and `}}` if they stand around the whole.
    pub text: Box<str>,
    /// Where the value stands.
    pub span: Span,
    /// The expression; `None` if it is broken, or if there is text around `${{ }}`.
    pub expr: Option<Expr>,
    /// Whether there is text around `${{ }}`, and be it the end of a line: a text that is not empty is true.
    pub mixed: bool,
}

impl Condition {
    pub(super) fn of(node: &Node) -> Option<Self> {
        let scalar = node.scalar().filter(|scalar| !scalar.is_null())?;
        let whole = scalar.text.trim();
        let one = only_expression(whole);
        let text = one.unwrap_or(whole);
        // A block (`|`) keeps the end of its line, which is text as well.
        let around = one.is_none() || scalar.text.len() != whole.len();
        let mixed = around && whole.contains("${{");
        let expr = if mixed { None } else { Expr::parse(text).ok() };
        Some(Self { text: text.into(), span: node.place(), expr, mixed })
    }

    /// Tells whether it asks for the status of what went before. Without that, `success()` is meant too.
    #[must_use]
    pub fn asks_status(&self) -> bool {
        match &self.expr {
            Some(expr) => expr.asks_status(),
            // What cannot be read is judged by its words.
            None => {
                let text = self.text.to_ascii_lowercase();
                ["always()", "failure()", "cancelled()", "success()"].iter().any(|call| text.contains(call))
            }
        }
    }
}
