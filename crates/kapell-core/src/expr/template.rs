//! Text with `${{ }}` in it.

use std::{fmt, sync::Arc};

use super::{
    Expr,
    context::{Context, EvalError, EvalErrorKind},
    parse::{ParseError, ParseErrorKind},
    syntax::Span,
    value::{Leaning, Value},
};

/// An expression in a text, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Placeholder {
    /// From `${{` to `}}`.
    pub span: Span,
    /// Where the source of the expression starts in the text. Add it to a span of the expression.
    pub at: u32,
    /// The expression.
    pub expr: Expr,
}

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Piece<'a> {
    /// Text that stands for itself.
    Text(&'a str),
    /// An expression.
    Expr(&'a Placeholder),
}

/// A text in which `${{ }}` stand for values. A clone is cheap.
///
/// Equality and the serialised form are those of the text; reading it back parses it again.
#[derive(Clone)]
pub struct Template {
    source: Arc<str>,
    /// In order, not overlapping. `None` if there are none, as in most texts.
    placeholders: Option<Arc<[Placeholder]>>,
}

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    ///
    /// Fails where `${{` is not closed or holds no expression; the span is one of `source`.
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        let mut placeholders = Vec::new();
        let mut at = 0;
        while let Some(start) = source[at..].find("${{").map(|offset| at + offset) {
            let inner = start + 3;
            let len = end_of(&source[inner..]).ok_or(ParseError {
                span: Span::new(start, source.len()),
                kind: ParseErrorKind::OpenTemplate,
            })?;
            let text = &source[inner..inner + len];
            let trimmed = text.trim_start();
            let expr_at = inner + (text.len() - trimmed.len());
            let end = inner + len + 2;
            let expr = Expr::parse(trimmed.trim_end()).map_err(|error| match error.kind {
                // There is nothing to point at inside.
                ParseErrorKind::Empty => ParseError { span: Span::new(start, end), kind: error.kind },
                kind => {
                    let Span { start, end } = error.span;
                    let shifted = Span::new(start as usize + expr_at, end as usize + expr_at);
                    ParseError { span: shifted, kind }
                }
            })?;
            let span = Span::new(start, end);
            placeholders.push(Placeholder { span, at: Span::new(expr_at, 0).start, expr });
            at = end;
        }
        let placeholders = (!placeholders.is_empty()).then(|| placeholders.into());
        Ok(Self { source: source.into(), placeholders })
    }

    /// Returns the text that it was parsed from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the expressions in it, in order.
    #[must_use]
    pub fn placeholders(&self) -> &[Placeholder] {
        self.placeholders.as_deref().unwrap_or_default()
    }

    /// Returns the text, if there is no expression in it.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        self.placeholders.is_none().then_some(&*self.source)
    }

    /// Returns its parts in order; no text is empty.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let texts_from = std::iter::once(0).chain(self.placeholders().iter().map(|p| p.span.end as usize));
        texts_from.enumerate().flat_map(|(index, from)| {
            let next = self.placeholders().get(index);
            let to = next.map_or(self.source.len(), |placeholder| placeholder.span.start as usize);
            let text = (from < to).then(|| Piece::Text(&self.source[from..to]));
            text.into_iter().chain(next.map(Piece::Expr))
        })
    }

    /// Evaluates it: the value itself if it is one expression and nothing else, a text otherwise.
    ///
    /// # Errors
    ///
    /// As [`Expr::evaluate`]; the span is one of the text.
    pub fn evaluate(&self, context: &dyn Context) -> Result<Value, EvalError> {
        if let [only] = self.placeholders()
            && only.span.range() == (0..self.source.len())
        {
            return placeholder_value(only, context);
        }
        let mut text = String::new();
        let mut known = true;
        let mut leaning = Leaning::Any;
        for piece in self.pieces() {
            match piece {
                Piece::Text(piece) => {
                    leaning = Leaning::Truthy;
                    text.push_str(piece);
                }
                Piece::Expr(placeholder) => match placeholder_value(placeholder, context)?.text() {
                    Some(piece) => text.push_str(&piece),
                    None => known = false,
                },
            }
        }
        Ok(if known { Value::from(text) } else { Value::Unknown(leaning) })
    }

    /// Renders it as text, each value as GitHub shows it.
    ///
    /// # Errors
    ///
    /// As [`Template::evaluate`], and with [`EvalErrorKind::Unknown`] if a value is not yet known.
    pub fn render(&self, context: &dyn Context) -> Result<String, EvalError> {
        if let Some(text) = self.as_literal() {
            return Ok(text.to_owned());
        }
        let unknown = || EvalError { span: Span::new(0, self.source.len()), kind: EvalErrorKind::Unknown };
        Ok(self.evaluate(context)?.text().ok_or_else(unknown)?.into_owned())
    }
}

fn placeholder_value(placeholder: &Placeholder, context: &dyn Context) -> Result<Value, EvalError> {
    placeholder.expr.evaluate(context).map_err(|EvalError { span, kind }| {
        let Span { start, end } = span;
        EvalError { span: Span { start: start + placeholder.at, end: end + placeholder.at }, kind }
    })
}

/// Finds `}}` outside strings.
fn end_of(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quoted = false;
    bytes.iter().enumerate().find_map(|(at, &byte)| {
        quoted ^= byte == b'\'';
        (!quoted && byte == b'}' && bytes.get(at + 1) == Some(&b'}')).then_some(at)
    })
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}

/// Shows the text that it was parsed from.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl std::str::FromStr for Template {
    type Err = ParseError;

    fn from_str(source: &str) -> Result<Self, ParseError> {
        Self::parse(source)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Template {}

impl std::hash::Hash for Template {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}
