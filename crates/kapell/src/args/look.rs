//! Commands that show where a run stands and what it did, and put its questions to a person.

use std::path::PathBuf;

use clap::Args;

use super::at_least_one;

/// Arguments of `inbox`.
#[derive(Debug, Args)]
pub struct InboxArgs {
    /// The run's id, or the beginning of it; all runs if not given.
    pub run: Option<String>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The run's id, or the beginning of it; all runs if not given.
    pub run: Option<String>,
    /// Lists the runs of nested workflows, too, each below the run that it is part of.
    #[arg(long, conflicts_with = "run")]
    pub all: bool,
}

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The run's id, or the beginning of it; the last run if not given.
    pub run: Option<String>,
    /// Ends with the exit code of the run.
    #[arg(long)]
    pub exit_status: bool,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The run's id, or the beginning of it; the last run if not given.
    pub run: Option<String>,
    /// Only events of this task.
    #[arg(long)]
    pub task: Option<String>,
    /// Shows what the task printed, or every task, each line with its name; of a coding agent, what it said and did.
    #[arg(long)]
    pub output: bool,
    /// With `--output`: the events of a coding agent as it printed them.
    #[arg(long, requires = "output")]
    pub raw: bool,
    /// What this attempt of the task printed, in the place of the last one.
    #[arg(long, value_name = "N", requires = "task", requires = "output", value_parser = at_least_one())]
    pub attempt: Option<u32>,
    /// Only what went wrong.
    #[arg(long)]
    pub failed: bool,
    /// With the events of nested workflows, each behind the name of its task.
    #[arg(long, conflicts_with_all = ["at", "output", "export"])]
    pub all: bool,
    /// Up to this decision.
    #[arg(long, value_name = "SEQ")]
    pub at: Option<u64>,
    /// Exports whole decisions with their plans, for `kapell import`.
    #[arg(long)]
    pub export: bool,
}

/// Arguments of `answer`.
#[derive(Debug, Args)]
#[command(override_usage = "kapell answer [OPTIONS] [RUN] GATE ANSWER")]
pub struct AnswerArgs {
    /// Run (if other runs have a gate of that number open), gate and answer: `answer [RUN] GATE ANSWER`.
    #[arg(num_args = 0..=3, value_name = "[RUN] GATE ANSWER")]
    pub words: Vec<String>,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run's id, or the beginning of it; the last run if not given.
    pub run: Option<String>,
    /// Up to this decision.
    #[arg(long, value_name = "SEQ")]
    pub at: Option<u64>,
    /// Writes `report.md` and `report.json` there instead of printing.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
