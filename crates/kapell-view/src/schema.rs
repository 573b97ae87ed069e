//! JSON schemas of everything that leaves as JSON.

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

fn of<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

/// Returns the JSON schema (draft 2020-12) of each wire type, by the name under which it is published.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("plan", of::<crate::plan::PlanView>()),
        ("status", of::<crate::status::StatusView>()),
        ("runs", of::<crate::summary::ListView>()),
        ("inbox", of::<crate::inbox::InboxView>()),
        ("summary", of::<crate::summary::RunSummary>()),
        ("log", of::<crate::logs::LogEntry>()),
        ("report", of::<crate::report::Report>()),
        ("audit", of::<crate::audit::AuditView>()),
        ("inventory", of::<crate::audit::Inventory>()),
        ("rule", of::<crate::audit::RuleView>()),
        ("rules", of::<crate::audit::RulesView>()),
    ]
}
