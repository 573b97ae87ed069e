//! Commands that judge what orchestrates here.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `improve`.
#[derive(Debug, Clone, Args)]
pub struct ImproveArgs {
    /// The repository, or a directory or a file of it: all of it is judged, and what lies there is shown.
    pub path: Option<PathBuf>,
    /// Which systems to look at.
    #[arg(long, value_enum, default_value_t = AuditScope::All)]
    pub scope: AuditScope,
    /// How far to look: certain references only, likely ones too, or code, deployments and clones as well.
    #[arg(long, value_enum, default_value_t = AuditDepth::USUAL)]
    pub depth: AuditDepth,
    /// What to look for.
    #[arg(long, value_enum, default_value_t = AuditFocus::All)]
    pub focus: AuditFocus,
    /// What to give: an analysis with snippets, repairs too, or a ranked list.
    #[arg(long, value_enum, default_value_t = AuditOutput::Full)]
    pub output: AuditOutput,
    /// Writes the safe fixes to a branch `kapell/improve-...`. On a terminal that is what happens anyway.
    #[arg(long, conflicts_with_all = ["dry_run", "validate_only"])]
    pub implement: bool,
    /// Shows the patch and writes nothing.
    #[arg(long, conflicts_with = "validate_only")]
    pub dry_run: bool,
    /// Judges, and proposes nothing.
    #[arg(long)]
    pub validate_only: bool,
    /// How to show it.
    #[arg(long, value_enum, default_value_t = AuditFormat::Text)]
    pub format: AuditFormat,
    /// Looks with this rule only; may be given several times.
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<String>,
    /// Recorded durations of jobs, as `gh run view --json workflowName,jobs` prints them; a list of such runs is taken too.
    #[arg(long, value_name = "FILE")]
    pub timings: Option<PathBuf>,
    /// Writes the ten deliverables of an improvement into this directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Keeps the findings of this file quiet.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Writes all findings to this file, as known.
    #[arg(long, value_name = "FILE")]
    pub write_baseline: Option<PathBuf>,
    /// Lists what another tool found too, from its SARIF log; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub import_sarif: Vec<PathBuf>,
    /// Judges anew, whatever was kept of the last time.
    #[arg(long)]
    pub no_cache: bool,
    /// Speaks the Language Server Protocol on standard input and output: findings and fixes while you type.
    #[arg(long, conflicts_with_all = ["implement", "dry_run", "import_sarif", "out", "write_baseline", "baseline", "timings", "validate_only", "output"])]
    pub lsp: bool,
    /// Judges as a run: its stages and families of rules are tasks, which `status`, `logs` and `report` show, and a kill
    /// is gone on from. What comes out is the same.
    #[arg(long, conflicts_with_all = ["lsp", "write_baseline"])]
    pub as_run: bool,
    /// What a task of such a run does.
    #[command(flatten)]
    pub part: PartArgs,
    /// Explains a rule: why, before, after, when not.
    #[arg(long, value_name = "RULE")]
    pub explain: Option<String>,
    /// Lists all rules.
    #[arg(long)]
    pub list_rules: bool,
}

/// Arguments of one task of an audit that is a run. The run writes them.
#[derive(Debug, Clone, Args)]
pub struct PartArgs {
    /// What is shown of what is judged: a path from its top.
    #[arg(long, hide = true, value_name = "PATH", default_value = "")]
    pub below: String,
    /// The task.
    #[arg(long = "part", hide = true, value_name = "TASK", requires = "state", requires = "store")]
    pub task: Option<String>,
    /// The digest of what is judged.
    #[arg(long, hide = true, value_name = "DIGEST")]
    pub state: Option<String>,
    /// Where artifacts are kept.
    #[arg(long, hide = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// What other tasks came to: artifacts, by the task's name.
    #[arg(long, hide = true, value_name = "TASK=DIGEST")]
    pub given: Vec<String>,
    /// Kills itself once so many tasks are done, to show that nothing is lost.
    #[arg(long, hide = true, value_name = "N", requires = "as_run")]
    pub die_after: Option<u32>,
}

/// Which systems are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditScope {
    /// Commands, agents, skills, hooks and settings of agent clients.
    ClaudeCode,
    /// Code and deployments.
    Production,
    /// Workflows and actions.
    Github,
    /// All of them.
    All,
}

/// How far is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditDepth {
    /// References that can mean nothing else.
    Quick,
    /// Likely references too.
    Standard,
    /// Code, cross-system joins and clones too.
    Deep,
}

impl AuditDepth {
    /// How far is looked where nothing is said. Why: `docs/adr/0012-all-by-default.md`.
    pub const USUAL: Self = Self::Deep;
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditFocus {
    /// How long it takes and what it costs.
    Performance,
    /// What happens when something fails.
    Resilience,
    /// Who is in whose way.
    Conflicts,
    /// What is kept, where, and for whom.
    State,
    /// All of it.
    All,
}

/// What an audit gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditOutput {
    /// Every finding in its file.
    Report,
    /// The worst findings, and repairs.
    Full,
    /// A ranked list of what to do.
    Recommendations,
}

/// How an audit is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0, with fixes.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
    /// A page.
    Markdown,
}

/// Arguments of `map`.
#[derive(Debug, Args)]
pub struct MapArgs {
    /// The repository, or a directory or a file of it: all of it is read, and what lies there is shown.
    pub path: Option<PathBuf>,
    /// Which systems to look at.
    #[arg(long, value_enum, default_value_t = AuditScope::All)]
    pub scope: AuditScope,
    /// How far to look.
    #[arg(long, value_enum, default_value_t = AuditDepth::USUAL)]
    pub depth: AuditDepth,
    /// How to show it.
    #[arg(long, value_enum, default_value_t = MapFormat::Text)]
    pub format: MapFormat,
}

/// How an inventory is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MapFormat {
    /// For people.
    Text,
    /// A Mermaid flowchart.
    Mermaid,
    /// A Graphviz graph.
    Dot,
    /// For programs.
    Json,
}
