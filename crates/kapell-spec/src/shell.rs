//! Expressions in shell text: each becomes a reference to an environment variable, quoted so that it stays one word.
//!
//! The text of a value never becomes text of the script. Outside of quotes `${{ x }}` turns into `"${NAME}"`, within
//! double quotes and here-documents into `${NAME}`, and the variable is set for the command. Where the shell would not
//! expand that, or where the expanded value would be read as code, it is refused:
//!
//! - single quotes, quoted here-documents, backquotes, `${...}`, arithmetic, right after `\` or `$`;
//! - the name of a command, the code given to an interpreter (`sh -c`, `python -c`, `awk`, `sed`, `eval`, `ssh`, ...)
//!   as an argument, here-document or through a pipe, and builtins that evaluate what they are given.
//!
//! That is as far as text can tell. What a program does with its arguments is its own affair: a script that runs
//! `eval "$1"`, a makefile that expands a variable, or text that is stored first and run later.

mod guard;
mod lex;

#[cfg(test)]
mod tests;

use kapell_core::expr::{Placeholder, Template};

/// Why an expression cannot stand where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    /// Within single quotes.
    #[error("the shell expands nothing within single quotes")]
    SingleQuotes,
    /// Within a here-document whose delimiter is quoted.
    #[error("the shell expands nothing in a here-document with a quoted delimiter")]
    QuotedHeredoc,
    /// In the delimiter of a here-document.
    #[error("the delimiter of a here-document cannot vary")]
    Delimiter,
    /// Within backquotes.
    #[error("quotes within backquotes cannot be relied on")]
    Backquotes,
    /// Within `${...}`.
    #[error("the shell may read the value as a pattern or a number within `${{...}}`")]
    Parameter,
    /// Within `$((...))`.
    #[error("the shell reads the value as code within `$((...))`")]
    Arithmetic,
    /// Right after `\` or `$`.
    #[error("the character before it changes how the shell reads it")]
    Escaped,
    /// After text that shells read in different ways.
    #[error("shells differ in where the quotes before it end")]
    Ambiguous,
    /// As the name of a command.
    #[error("the value would choose which command is run")]
    Command,
    /// In the code of an interpreter.
    #[error("another program would read the value as code")]
    Code,
    /// In what an interpreter reads as code from its input.
    #[error("the value would be piped to a program that reads it as code")]
    Input,
    /// In a builtin that evaluates its arguments.
    #[error("this builtin evaluates what it is given")]
    Builtin,
    /// In the value of a variable that the shell or the loader runs.
    #[error("the value of this variable is run")]
    Variable,
}

impl Unsafe {
    /// Says what to do instead.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::SingleQuotes => {
                "write double quotes in place of the single ones; where they hold code or a `$`, give the value a name under `env:`"
            }
            Self::QuotedHeredoc => "give the value a name under `env:`, or leave the delimiter unquoted",
            Self::Delimiter => "write the delimiter out",
            Self::Backquotes => "use `$(...)` in place of backquotes",
            Self::Parameter | Self::Arithmetic => {
                "give the value a name under `env:`, check that it is what you expect, and use that"
            }
            Self::Escaped | Self::Ambiguous => "put double quotes around it, apart from what stands before",
            Self::Command => {
                "write the command out, for example as a `case` over the values that are allowed"
            }
            Self::Code | Self::Builtin | Self::Variable => {
                "use `env:` to give the value a name, and let the program read it from its environment"
            }
            Self::Input => {
                "use `env:` to give the value a name, and let the code read it from its environment"
            }
        }
    }
}

/// An expression that cannot stand where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// Which of the template's placeholders it is.
    pub placeholder: usize,
    /// Why.
    pub why: Unsafe,
}

/// Replaces every expression of a script by a reference to the variable that `name` gives it.
///
/// # Errors
///
/// Returns every expression that cannot be replaced safely, in order, each once.
pub fn compile(
    script: &Template,
    mut name: impl FnMut(&Placeholder) -> String,
) -> Result<String, Vec<Problem>> {
    if let Some(text) = script.as_literal() {
        return Ok(text.to_owned());
    }
    let lexed = lex::lex(script, &mut name);
    let mut problems = lexed.problems;
    problems.extend(guard::check(&lexed.pipelines, lexed.feeds_all));
    problems.sort_by_key(|problem| problem.placeholder);
    problems.dedup_by_key(|problem| problem.placeholder);
    if problems.is_empty() { Ok(lexed.text) } else { Err(problems) }
}
