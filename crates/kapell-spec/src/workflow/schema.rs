//! The JSON Schema of a workflow file.

/// Returns the JSON Schema (draft 2020-12) of a workflow file.
#[must_use]
pub fn schema() -> serde_json::Value {
    serde_json::Value::Null
}
