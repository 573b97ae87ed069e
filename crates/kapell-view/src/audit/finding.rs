//! A fault, where it is, and how it can be mended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a fault costs those who leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; never a warning.
    Info,
    /// Costs a little, now and then.
    Low,
    /// Costs time or clarity on most runs.
    Medium,
    /// Something that people rely on does not happen.
    High,
    /// Wrong results are taken for right ones, or harm is done outside.
    Critical,
}

impl Severity {
    /// Returns its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// How sure it is that this is a fault, apart from how bad it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// A guess from habits; shown on request only.
    Low,
    /// Likely, by the words used.
    Medium,
    /// Follows from the model, but for channels that no file shows.
    High,
    /// Follows from the text alone.
    Certain,
}

/// Who may apply a fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FixClass {
    /// A sketch; somebody has to write it.
    Suggestion,
    /// Complete, but it changes what happens: a person decides.
    Review,
    /// Its meaning is proven to change only as intended.
    Safe,
}

/// A range of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The file, from the top of the repository, with `/`.
    pub path: String,
    /// Its first line, from 1.
    pub line: u32,
    /// Its first column, from 1, in characters.
    pub column: u32,
    /// Its last line, from 1.
    pub end_line: u32,
    /// The column after its last character, from 1.
    pub end_column: u32,
    /// Its first byte, from 0.
    pub start: u32,
    /// The byte after its last.
    pub end: u32,
}

/// Another place that has to do with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Related {
    /// Where.
    pub place: Place,
    /// Why.
    pub text: String,
}

/// The replacement of a range of bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Edit {
    /// What is replaced; empty to insert.
    pub place: Place,
    /// By what.
    pub text: String,
}

/// How a fault is mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fix {
    /// What it does, as a command: "run `lint` and `test` side by side".
    pub title: String,
    /// Who may apply it.
    pub class: FixClass,
    /// Its edits; they do not overlap. Empty for a suggestion in words.
    pub edits: Vec<Edit>,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule that found it, such as `skip-propagation`.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// How sure it is.
    pub confidence: Confidence,
    /// What is wrong, in one sentence without a full stop, naming what stands there.
    pub message: String,
    /// Where to look first.
    pub place: Place,
    /// The other places of the same cause.
    pub related: Vec<Related>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fix: Option<Fix>,
    /// How much sooner a run would end, in seconds, by the model of cost.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub saving_seconds: Option<u32>,
    /// How much less the runners would work each time, in seconds, by the model of cost: where no run ends sooner.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spared_seconds: Option<u32>,
    /// Whether that is computed from recorded durations of the workflow; else from what such steps usually take.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub saving_recorded: bool,
    /// The comment in the file that explains it, if it was lowered for that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub explained: Option<String>,
    /// What stays the same when lines move: rule, file, and the texts at the place. For baselines.
    pub fingerprint: String,
}

impl Finding {
    /// Tells whether it is shown as a warning: of some weight, and more than a guess.
    #[must_use]
    pub fn warns(&self) -> bool {
        self.severity >= Severity::Medium && self.confidence >= Confidence::Medium
    }
}
