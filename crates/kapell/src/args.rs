//! The command line.

mod help; // the first screen

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use kapell_agents::contain::{Level, Network};

/// Runs teams of coding agents: durable, parallel, reviewable, undoable.
#[derive(Debug, Parser)]
#[command(name = "kapell", version, about, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Works as if started in this directory.
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,

    /// Prints data, and errors, as JSON.
    #[arg(long, global = true)]
    pub json: bool,

    /// Prints nothing but data and errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// When to use colours: auto, always, never.
    #[arg(long, value_enum, default_value_t = Color::Auto, hide_possible_values = true, hide_default_value = true, global = true)]
    pub color: Color,

    /// Never asks or waits for a person.
    #[arg(long, global = true)]
    pub no_input: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line of this process.
    ///
    /// # Errors
    ///
    /// Returns what clap says: what is wrong, or the help that was asked for.
    pub fn read() -> Result<Self, clap::Error> {
        // A recording stays in the foreground, and is of a run that is done.
        let mut command = help::grouped(Self::command()).mut_subcommand("record", |record| {
            ["detach", "plan"]
                .into_iter()
                .fold(record, |record, name| record.mut_arg(name, |arg| arg.hide(true)))
        });
        let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
        let read = Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command));
        // Freeing the tree of all commands takes half as long as reading the line; the end of the program frees it at once.
        std::mem::forget(command);
        read
    }
}

/// Takes numbers from 1 on.
fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// Returns the command that the command line names, whatever else is wrong with it.
pub fn named_command() -> Option<String> {
    let command = Cli::command();
    let words = std::env::args_os().skip(1).filter_map(|word| word.into_string().ok());
    words.take_while(|word| word != "--").find(|word| command.find_subcommand(word).is_some())
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a workflow file, or goes on with its unfinished run.
    Run(RunArgs),
    /// Shows what a file would do: waves, critical path, forecast.
    Plan(PlanArgs),
    /// Finds faults of orchestration, and repairs them on a branch.
    Improve(ImproveArgs),
    /// Shows what orchestrates here, and who names whom.
    Map(MapArgs),
    /// Lists runs, or shows where one stands.
    Status(StatusArgs),
    /// Follows a run that another process executes.
    Watch(WatchArgs),
    /// Shows what happened, event by event.
    Logs(LogsArgs),
    /// Lists the decisions that wait for a person.
    Inbox(InboxArgs),
    /// Makes a decision that a run waits for.
    #[command(override_usage = "kapell answer [OPTIONS] [RUN] <GATE> <ANSWER>")]
    Answer(AnswerArgs),
    /// Shows what has landed and is not merged, or the work of one task.
    Diff(DiffArgs),
    /// Moves the target branch to what has landed.
    Merge(MergeArgs),
    /// Checks the journal, and every claim in it against git.
    Verify(VerifyArgs),
    /// Rebuilds a run at any decision, or plays a recording back.
    Replay(ReplayArgs),
    /// Runs a workflow file, and records what agents and models say.
    Record(RecordArgs),
    /// Starts a new run that takes over the results of an earlier one.
    Fork(ForkArgs),
    /// Writes the report of a run.
    Report(ReportArgs),
    /// Takes back the last merge, answer or other move that can be.
    Undo(OneRun),
    /// Lets a run start nothing new.
    Pause(UnfinishedRun),
    /// Goes on with runs that were paused, interrupted or killed.
    Resume(ResumeArgs),
    /// Ends a run; sagas take back what they did.
    Cancel(UnfinishedRun),
    /// Lists the agents that can be used here.
    Agents,
    /// Shows what this repository brings for agents, and trusts it.
    Trust(TrustArgs),
    /// Says what is there, what is missing, and how to get it.
    Doctor,
    /// Writes a configuration and a first workflow for this repository.
    Init(InitArgs),
    /// Prints a JSON Schema.
    Schema(SchemaArgs),
    /// Removes what no run needs any more.
    Gc(GcArgs),
    /// Takes in runs that `logs --export` wrote.
    Import(ImportArgs),
    /// Shows all of it on a small repository, with a crash in between.
    Demo(DemoArgs),
    /// Explains an error code.
    Explain(ExplainArgs),
    /// Runs simulated worlds against the decider.
    Sim(SimArgs),
    /// Speaks for an agent to the kapell that runs it.
    Task(TaskArgs),
    /// Serves the Model Context Protocol on standard input and output.
    Mcp(McpArgs),
    /// Makes kapell known to Claude Code, Codex, Gemini CLI or opencode.
    Install(InstallArgs),
    /// Takes back what `install` wrote, to the byte.
    Uninstall(InstallArgs),
    /// Carries out a slash command of another program.
    Slash(SlashArgs),
    /// Answers a hook of another program.
    #[command(hide = true)]
    Hook(HookArgs),
    /// Prints a line on the runs here, for the status line of another program.
    #[command(hide = true)]
    Statusline,
    /// Prints a completion script for a shell.
    Completions(CompletionsArgs),
}

/// Arguments of `inbox`.
#[derive(Debug, Args)]
pub struct InboxArgs {
    /// The run's id, or the beginning of it; all runs if not given.
    pub run: Option<String>,
}

/// A run, named by its id or the beginning of it.
#[derive(Debug, Args)]
pub struct OneRun {
    /// The run's id, or the beginning of it; the last run if not given.
    pub run: Option<String>,
}

/// A run, or the last one that is not over.
#[derive(Debug, Args)]
pub struct UnfinishedRun {
    /// The run's id, or the beginning of it; the last unfinished run if not given.
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

/// Arguments of `improve`.
#[derive(Debug, Clone, Args)]
pub struct ImproveArgs {
    /// The repository, or a directory or a file of it: all of it is judged, and what lies there is shown.
    pub path: Option<PathBuf>,
    /// Which systems to look at.
    #[arg(long, value_enum, default_value_t = AuditScope::All)]
    pub scope: AuditScope,
    /// How far to look: certain references only, likely ones too, or code, deployments and clones as well.
    #[arg(long, value_enum, default_value_t = AuditDepth::Standard)]
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
    #[arg(long, value_enum, default_value_t = AuditDepth::Standard)]
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
    /// Shows what the task printed, or every task, each line with its name.
    #[arg(long)]
    pub output: bool,
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

/// Arguments of `task`.
#[derive(Debug, Args)]
#[command(trailing_var_arg = true)]
pub struct TaskArgs {
    /// `output K=V`, `progress 0.5 TEXT`, `ask QUESTION`, `note TEXT`, `brief [NAME]`, `outputs TASK`, `handoff NOTE`.
    #[arg(allow_hyphen_values = true)]
    pub words: Vec<std::ffi::OsString>,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// Arguments of `mcp`.
#[derive(Debug, Args)]
pub struct McpArgs {
    /// Serves the task that this process works on, rather than the person: for agents that kapell runs.
    #[arg(long)]
    pub attempt: bool,
}

/// Arguments of `install` and `uninstall`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The program.
    #[arg(value_enum)]
    pub host: HostProgram,
    /// For all repositories of this user, or for this one.
    #[arg(long, value_enum, default_value_t = Scope::User)]
    pub scope: Scope,
    /// Shows what would be changed, and changes nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Changes it without asking.
    #[arg(short, long)]
    pub yes: bool,
}

/// A program that kapell can be made known to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostProgram {
    /// Claude Code: a plugin with commands, a hook and the server, and a status line.
    #[value(alias = "claude-code")]
    Claude,
    /// Codex: the server, as one entry in its settings.
    Codex,
    /// Gemini CLI: the server, as one entry in its settings.
    Gemini,
    /// opencode: the server, as one entry in its settings.
    Opencode,
}

/// Whose settings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    /// Those of the user, for all repositories.
    User,
    /// Those of this repository.
    Project,
}

/// Arguments of `slash`.
#[derive(Debug, Args)]
#[command(trailing_var_arg = true)]
pub struct SlashArgs {
    /// The command, with or without its slash.
    pub name: String,
    /// What was typed behind it; several words are joined by blanks.
    #[arg(allow_hyphen_values = true)]
    pub raw: Vec<String>,
}

/// Arguments of `hook`.
#[derive(Debug, Args)]
pub struct HookArgs {
    /// The program that calls.
    #[arg(value_enum)]
    pub host: HostProgram,
}
