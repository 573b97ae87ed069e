//! The command line.

mod audit; // improve, map
mod execute; // run, plan, record, replay, fork, resume
mod help; // the first screen
mod hosts; // install, mcp, task and what other programs call
mod land; // diff, merge, verify, undo
mod look; // status, watch, logs, inbox, answer, report
mod place; // init, trust, gc, schema, explain

use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub use self::{
    audit::{AuditDepth, AuditFocus, AuditFormat, AuditOutput, AuditScope, ImproveArgs, MapArgs, MapFormat},
    execute::{
        ContainArgs, DemoArgs, ForkArgs, ImportArgs, PlanArgs, PlanFormat, RecordArgs, ReplayArgs,
        ResumeArgs, RunArgs, SimArgs, UnfinishedRun,
    },
    hosts::{HookArgs, HostProgram, InstallArgs, McpArgs, Scope, SlashArgs, TaskArgs},
    land::{DiffArgs, MergeArgs, OneRun, VerifyArgs},
    look::{AnswerArgs, InboxArgs, LogsArgs, ReportArgs, StatusArgs, WatchArgs},
    place::{CompletionsArgs, ExplainArgs, GcArgs, InitArgs, SchemaArgs, TrustArgs},
};

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
