//! Commands that bring work into a branch, and take that back.

use clap::Args;

/// A run, named by its id or the beginning of it.
#[derive(Debug, Args)]
pub struct OneRun {
    /// The run's id, or the beginning of it; the last run if not given.
    pub run: Option<String>,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The run's id, or the beginning of it; the last run if not given.
    pub run: Option<String>,
    /// Only the work of this task.
    #[arg(long)]
    pub task: Option<String>,
    /// What the last attempt that was lost or failed has left of the task's work, in the place of what was handed in.
    #[arg(long, requires = "task")]
    pub salvaged: bool,
    /// Only the names and numbers of changed lines.
    #[arg(long)]
    pub stat: bool,
}

/// Arguments of `merge`.
#[derive(Debug, Default, Args)]
pub struct MergeArgs {
    /// The run's id, or the beginning of it; the last run if not given.
    pub run: Option<String>,
    /// Another branch than the run's target.
    #[arg(long, value_name = "BRANCH")]
    pub into: Option<String>,
    /// Merge also changes that count as taken back and have landed still.
    #[arg(long)]
    pub taken_back: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The run's id, or the beginning of it; all runs if not given.
    pub run: Option<String>,
    /// The head that a report printed, as `N:HASH`: proves that nothing was cut off.
    #[arg(long, value_name = "N:HASH")]
    pub against: Option<String>,
}
