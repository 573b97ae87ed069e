//! GitHub's expression language: syntax tree with byte offsets, parser, and a pure evaluator.
//!
//! The grammar and the rules of coercion and comparison are those of GitHub's workflow expressions: literals, `!`,
//! `<` `<=` `>` `>=` `==` `!=`, `&&`, `||`, parentheses, `a.b`, `a['b']`, `a.*` and function calls. Strings compare
//! without regard to case, `&&` and `||` return an operand, and unlike kinds are compared as numbers.
//! Source: <https://docs.github.com/actions/reference/workflows-and-actions/expressions>, and where that page is
//! silent the expression code of `actions/runner`.
//!
//! Evaluation is three-valued: a [`Value::Unknown`] stands for anything that it may become, so that a planner can ask
//! whether a condition can ever hold. If a result is known although something it was computed from is not, then every
//! way to fill in the unknowns under which evaluation succeeds gives that same result.
//!
//! Nothing here can run away: source length ([`LIMIT_SOURCE`]), depth ([`LIMIT_DEPTH`]) and work ([`Fuel`]) are
//! bounded.

// Ground first.
mod call;
mod context;
mod eval;
mod function;
mod lex;
mod number;
mod parse;
mod print;
mod syntax;
mod template;
mod value;

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr, sync::Arc};

pub use context::{Context, EvalError, EvalErrorKind, Fuel, Resolved, Status};
pub use eval::evaluate;
pub use function::Function;
pub use parse::{LIMIT_DEPTH, LIMIT_SOURCE, ParseError, ParseErrorKind, parse};
pub use syntax::{Comparison, Key, Literal, Node, NodeKind, Reference, Span, Step};
pub use template::{Piece, Placeholder, Template};
pub use value::{Leaning, Object, Value};

/// An expression: its source text and its syntax tree. A clone is cheap.
///
/// Equality, order of bytes and the serialised form are those of the source text; reading it back parses it again.
#[derive(Clone)]
pub struct Expr {
    source: Arc<str>,
    root: Arc<Node>,
}

impl Expr {
    /// Parses `source`, which stands without `${{` and `}}`.
    ///
    /// # Errors
    ///
    /// Fails where `source` is no expression, is longer than [`LIMIT_SOURCE`] bytes, or nests deeper than
    /// [`LIMIT_DEPTH`].
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        Ok(Self { root: Arc::new(parse(source)?), source: source.into() })
    }

    /// Returns the text that it was parsed from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns its syntax tree.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Evaluates it with the default [`Fuel`].
    ///
    /// # Errors
    ///
    /// Fails on a name that `context` does not know, a call with unusable arguments, and when the fuel is used up.
    pub fn evaluate(&self, context: &dyn Context) -> Result<Value, EvalError> {
        evaluate(&self.root, context, &mut Fuel::default())
    }

    /// Tells whether it holds: `None` if that depends on what is not yet known.
    ///
    /// # Errors
    ///
    /// As [`Expr::evaluate`].
    pub fn holds(&self, context: &dyn Context) -> Result<Option<bool>, EvalError> {
        self.evaluate(context).map(|value| value.truth())
    }

    /// Tells whether a status function occurs in it. A condition without one implies `success()`.
    #[must_use]
    pub fn asks_status(&self) -> bool {
        self.root.asks_status()
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({})", self.source)
    }
}

/// Shows the source text.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl FromStr for Expr {
    type Err = ParseError;

    fn from_str(source: &str) -> Result<Self, ParseError> {
        Self::parse(source)
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expr {}

impl std::hash::Hash for Expr {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

macro_rules! source_serde {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.source())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let source = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&source).map_err(serde::de::Error::custom)
            }
        }
    };
}

source_serde!(Expr);
source_serde!(Template);
