//! What other tools found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, Severity};

/// A finding of another tool, taken from its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Foreign {
    /// The tool.
    pub tool: String,
    /// Its name for the rule.
    pub rule: String,
    /// How bad the tool says that it is.
    pub severity: Severity,
    /// What it says.
    pub message: String,
    /// Where. The bytes are 0 if the file was not read here.
    pub place: Place,
    /// The fingerprint of the finding of ours that says the same of the same place; it is shown instead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub same_as: Option<String>,
}
