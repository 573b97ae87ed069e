//! What an expression is evaluated in: names, status, fuel, and what can go wrong.

use super::{syntax::Span, value::Value};

/// What a status function asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Whether all went well so far.
    Success,
    /// Whether something failed.
    Failure,
    /// Nothing: it always holds.
    Always,
    /// Whether the run was cancelled.
    Cancelled,
}

/// A value found for the first names of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The value.
    pub value: Value,
    /// For how many names of the path it stands; at least 1.
    pub used: usize,
}

/// What an expression is evaluated in.
pub trait Context {
    /// Returns a named value; `None` if there is no such name.
    fn lookup(&self, name: &str) -> Option<Value>;

    /// Returns the value at as many names of `path` as it likes; `None` if there is no such name.
    ///
    /// A context that would be large as one value (all tasks of a run) answers whole paths here. It must agree with
    /// what stepping into [`Context::lookup`] would give.
    fn resolve(&self, path: &[&str]) -> Option<Resolved> {
        let (name, _) = path.split_first()?;
        self.lookup(name).map(|value| Resolved { value, used: 1 })
    }

    /// Answers a status function; `None` if the answer is not yet known. Never asked for [`Status::Always`].
    fn status(&self, status: Status) -> Option<bool>;

    /// Returns the hash of the files that match; `None` if it is not known.
    fn hash_files(&self, patterns: &[&str]) -> Option<String> {
        let _ = patterns;
        None
    }
}

/// The work that an evaluation may still do: one unit for each step and each byte of text handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuel(pub u64);

impl Default for Fuel {
    fn default() -> Self {
        Self(16 << 20)
    }
}

impl Fuel {
    pub(super) fn burn(&mut self, units: usize) -> Result<(), EvalErrorKind> {
        self.0 = self.0.checked_sub(units as u64).ok_or(EvalErrorKind::OutOfFuel)?;
        Ok(())
    }
}

/// Why an expression has no value, and where in its source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct EvalError {
    /// Where it went wrong.
    pub span: Span,
    /// What went wrong.
    pub kind: EvalErrorKind,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalErrorKind {
    /// Nothing has this name.
    #[error("unknown name `{0}`")]
    UnknownName(String),
    /// The text given to `format` is malformed.
    #[error("the format `{0}` is malformed")]
    Format(String),
    /// `format` names an argument that it was not given.
    #[error("the format asks for argument {0}, which is not there")]
    FormatArgument(usize),
    /// The text given to `fromJSON` is no JSON.
    #[error("no valid JSON: {0}")]
    Json(String),
    /// The value cannot be written as JSON.
    #[error("cannot be written as JSON: {0}")]
    NoJson(String),
    /// It took too much work.
    #[error("the expression takes too much work")]
    OutOfFuel,
    /// A text was asked for, and the value is not yet known.
    #[error("the value is not yet known")]
    Unknown,
}
