//! Commands that run something, or show what a run would do.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kapell_agents::contain::{Level, Network};

use super::at_least_one;

/// A run, or the last one that is not over.
#[derive(Debug, Args)]
pub struct UnfinishedRun {
    /// The run's id, or the beginning of it; the last unfinished run if not given.
    pub run: Option<String>,
}

/// Arguments of `run`.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    /// The workflow file, or a Markdown document with numbered phases.
    pub file: PathBuf,
    /// Who performs the phases of a document: `cmd:COMMAND`, which gets each one's text at its standard input, or the
    /// name of a client, such as claude-code.
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Starts anew, even if there is an unfinished run of the same file.
    #[arg(long)]
    pub new: bool,
    /// Starts anew, and takes no results over from earlier runs.
    #[arg(long)]
    pub fresh: bool,
    /// Values for `inputs`, as NAME=VALUE.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// How many agents work at the same time.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one())]
    pub agents: Option<u32>,
    /// How many commands run at the same time; one per core if not given.
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one())]
    pub jobs: Option<u32>,
    /// The budget, such as `5usd`, `2M` tokens or `5usd,2M,2h`.
    #[arg(long)]
    pub budget: Option<String>,
    /// Merges what landed into the target once all is well.
    #[arg(long)]
    pub merge: bool,
    /// How agents are contained.
    #[command(flatten)]
    pub contain: ContainArgs,
    /// Goes on in the background.
    #[arg(long)]
    pub detach: bool,
    /// Shows the plan, and runs nothing.
    #[arg(long)]
    pub plan: bool,
    /// Kills itself once so many tasks have landed, as the demo does.
    #[arg(long, hide = true, value_name = "N")]
    pub die_after: Option<u32>,
    /// The id that the run gets, when it was announced already.
    #[arg(long, hide = true)]
    pub id: Option<String>,
}

/// How agents are contained.
#[derive(Debug, Default, Args)]
pub struct ContainArgs {
    /// The level of containment for agents: required (or 3), 2, 1, 0; the highest that works here if not given.
    #[arg(long, value_name = "LEVEL")]
    pub sandbox: Option<Level>,
    /// What agents can reach: none, model-only, open, or hosts beside their model (example.org,*.example.org); the strictest
    /// that the level holds if not given.
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<Network>,
    /// Accepts that agents run with no containment at all; needed for `--sandbox 0`.
    #[arg(long)]
    pub i_accept_level_0: bool,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The workflow file, or a Markdown document with numbered phases.
    pub file: PathBuf,
    /// Who would perform the phases of a document, as for `run`.
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// How to show it.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
    /// How many agents work at the same time.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one())]
    pub agents: Option<u32>,
    /// How many commands run at the same time.
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one())]
    pub jobs: Option<u32>,
    /// Values for `inputs`, as NAME=VALUE.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// The seed of the forecast.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl PlanArgs {
    /// Takes over what `run --plan` was given.
    pub fn of(run: &RunArgs) -> Self {
        Self {
            file: run.file.clone(),
            agent: run.agent.clone(),
            format: PlanFormat::Text,
            agents: run.agents,
            jobs: run.jobs,
            set: run.set.clone(),
            seed: 1,
        }
    }
}

/// How a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people.
    Text,
    /// A Mermaid flowchart.
    Mermaid,
    /// A Graphviz graph.
    Dot,
    /// For programs.
    Json,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The run's id, or the beginning of it; the last run if not given.
    pub run: Option<String>,
    /// The decision after which the state is shown; the last if not given.
    #[arg(long, value_name = "SEQ", conflicts_with = "agents")]
    pub at: Option<u64>,
    /// Does the work once more, in a new run: the agents work, and a recording answers them in the place of their models.
    #[arg(long)]
    pub agents: bool,
    /// The recording, if it is not the one that is kept with the run.
    #[arg(long, value_name = "FILE", requires = "agents")]
    pub cassette: Option<PathBuf>,
    /// How agents are contained.
    #[command(flatten)]
    pub contain: ContainArgs,
}

/// Arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Where to keep the recording; with the run if not given.
    #[arg(long, value_name = "CASSETTE")]
    pub to: Option<PathBuf>,
    /// What to run, and how.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `fork`.
#[derive(Debug, Args)]
pub struct ForkArgs {
    /// The run's id, or the beginning of it.
    pub run: String,
    /// The decision at which the new run parts from the old one; the last if not given.
    #[arg(long, value_name = "SEQ")]
    pub at: Option<u64>,
    /// The workflow file as it is now, in the place of the plan that the old run had.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Other values for `inputs`, as NAME=VALUE.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Another budget, such as `5usd,2M,2h`.
    #[arg(long)]
    pub budget: Option<String>,
    /// How agents are contained.
    #[command(flatten)]
    pub contain: ContainArgs,
    /// Shows what would be reused and what would run again, and runs nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run's id, or the beginning of it; the last unfinished run if not given.
    pub run: Option<String>,
    /// Goes on with all unfinished runs.
    #[arg(long, conflicts_with_all = ["run", "detach"])]
    pub all: bool,
    /// A larger budget, such as `10usd`.
    #[arg(long)]
    pub budget: Option<String>,
    /// Merges what landed into the target once all is well.
    #[arg(long)]
    pub merge: bool,
    /// How agents are contained.
    #[command(flatten)]
    pub contain: ContainArgs,
    /// Goes on in the background.
    #[arg(long)]
    pub detach: bool,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file that `kapell logs RUN --export` wrote; `-` reads standard input.
    pub file: PathBuf,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where to make the repository; a temporary directory if not given.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Arguments of `sim`.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many runs; one is told in full.
    #[arg(long, default_value_t = 1)]
    pub runs: u64,
    /// How many threads.
    #[arg(long)]
    pub threads: Option<usize>,
}
