//! A rule of the audit, for programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Confidence, Severity};

/// The version of [`RulesView`] and of [`RuleView`] on the wire.
pub const RULES_VIEW_VERSION: u32 = 1;

/// A rule of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleView {
    /// The version of this form: 1.
    pub version: u32,
    /// Its name, as findings and comments have it.
    pub name: String,
    /// What it is about, in a line.
    pub summary: String,
    /// The family of rules that it belongs to.
    pub family: String,
    /// What it matters for: `performance`, `resilience`, `conflicts` or `state`.
    pub focus: String,
    /// How bad what it finds is, unless a finding says otherwise.
    pub severity: Severity,
    /// How sure it is, unless a finding says otherwise.
    pub confidence: Confidence,
    /// The least depth at which it looks: `quick`, `standard` or `deep`.
    pub depth: String,
    /// Its page, in Markdown: why, before, after, when not. Lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub page: Option<String>,
}

/// All rules of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RulesView {
    /// The version of this form: 1.
    pub version: u32,
    /// The rules, without their pages.
    pub rules: Vec<RuleView>,
}
