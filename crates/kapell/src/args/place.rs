//! Commands that set a place up, keep it in order, and explain.

use clap::Args;

/// Arguments of `trust`.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// Trusts all of it, as it is now.
    #[arg(long)]
    pub yes: bool,
    /// Trusts nothing of it any more.
    #[arg(long, conflicts_with = "yes")]
    pub revoke: bool,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Shows what would be written, and writes nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which one; the list of all if not given.
    pub name: Option<String>,
}

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Shows what would be removed, and removes nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// How old salvaged work must be to go, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub older_than: u32,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A code, such as `K0201`, or the name of a task: then it is told who was chosen for it, and why. `route` tells
    /// it for all tasks. All codes if not given.
    pub code: Option<String>,
    /// The run of the task; the last one if not given.
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}
