//! What `improve` finds in a repository: its orchestration assets, who names and awaits whom, and what is wrong there.

mod finding;
mod foreign;
mod inventory;
mod map;
mod markdown;
mod overview;
mod pattern;
mod rule;
mod sarif;
mod text;
pub mod uri;

pub use finding::{Confidence, Edit, Finding, Fix, FixClass, Place, Related, Severity};
pub use foreign::Foreign;
pub use inventory::{Asset, AssetKind, Census, Edge, EdgeKind, Inventory, Scope, Strength};
pub use markdown::kind;
pub use overview::{EventRow, MapView, Overview, ResponsibilityRow, WorkflowRow};
pub use pattern::{AntiPattern, Pattern, PatternKind};
pub use rule::{RULES_VIEW_VERSION, RuleView, RulesView};
pub use sarif::RuleText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of [`AuditView`] on the wire.
pub const AUDIT_VIEW_VERSION: u32 = 1;

/// The result of an audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditView {
    /// The version of this form: 1.
    pub version: u32,
    /// The assets and references that were judged.
    pub inventory: Inventory,
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// How many findings a comment or the baseline keeps quiet.
    pub suppressed: u32,
    /// Files that could not be read whole, with the reason.
    pub unread: Vec<Related>,
    /// What other tools found, as far as their logs were given.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub imported: Vec<Foreign>,
    /// The patterns that are in use, with their evidence.
    #[serde(default)]
    pub patterns: Vec<Pattern>,
    /// The eight anti-patterns, and how much of each was found.
    #[serde(default)]
    pub anti_patterns: Vec<AntiPattern>,
    /// The safe fixes as a patch for `patch -p1`, from the top of what was judged; empty if there are none, or none were
    /// asked for.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub patch: String,
}
