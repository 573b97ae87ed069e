//! What commands that do something answer to programs, under `--json`.

use kapell_core::id::RunId;
use schemars::JsonSchema;
use serde::Serialize;

/// What a command did.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Deed {
    /// The version of this form: 1.
    pub version: u32,
    /// What it did.
    pub did: Did,
    /// The run that it did it to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The gate that was answered, or is open again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<u32>,
    /// The branch that was moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The commit that it was at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The commit that it is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How many decisions were taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decisions: Option<u64>,
}

/// What a command can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    /// A run goes on in the background.
    Started,
    /// A gate was answered.
    Answered,
    /// What landed was merged.
    Merged,
    /// There was nothing to merge: the target has all of it already.
    NothingToMerge,
    /// An answer was taken back.
    AnswerUndone,
    /// A merge was taken back.
    MergeUndone,
    /// What `init` wrote was removed.
    InitUndone,
    /// What `improve` wrote was taken back.
    ImproveUndone,
    /// A run starts nothing new.
    Paused,
    /// A run goes on in the process that executes it.
    Resumed,
    /// A run is being ended.
    Cancelled,
    /// Exported runs were taken in.
    Imported,
}

impl Deed {
    /// Says what was done, to nothing yet.
    pub fn new(did: Did) -> Self {
        Self { version: 1, did, run: None, gate: None, target: None, from: None, to: None, decisions: None }
    }

    /// Says what was done to a run.
    pub fn of(did: Did, run: RunId) -> Self {
        Self { run: Some(run.to_string()), ..Self::new(did) }
    }
}
