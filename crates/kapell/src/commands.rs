//! The commands: a file for each, or for a few that belong together.

mod agents;
mod background;
mod control;
mod demo;
mod diff;
mod doctor;
mod execute;
mod explain;
mod fork;
mod gc;
mod hook;
mod improve;
mod init;
mod install;
pub mod look;
mod mcp;
mod merge;
mod plan;
mod printed;
pub mod record;
mod reference;
mod replay;
mod report;
mod salvage;
mod sim;
mod slash;
mod task;
mod transfer;
pub mod trust;
mod undo;
mod verify;

use std::path::{Path, PathBuf};

use crate::{
    args::{Cli, Command},
    exit::Exit,
    fault::Fault,
    output::Out,
    site::Site,
};

/// What every command gets.
pub struct Context {
    /// Where to work.
    pub directory: PathBuf,
    /// How to print.
    pub out: Out,
    /// Whether nobody is asked or waited for.
    pub no_input: bool,
}

impl Context {
    /// Finds the place that the command works on.
    ///
    /// # Errors
    ///
    /// Fails if the directory or its repository cannot be used.
    pub fn site(&self) -> Result<Site, Fault> {
        Site::find(&self.directory)
    }

    /// Returns a path that was typed, as seen from the command's directory.
    pub fn path(&self, typed: &Path) -> PathBuf {
        // A path is shown as it was typed.
        if self.directory == Path::new(".") { typed.to_owned() } else { self.directory.join(typed) }
    }
}

/// Carries a command out.
///
/// # Errors
///
/// Fails with what the person should read.
pub fn run(cli: &Cli, out: Out) -> Result<Exit, Fault> {
    let directory = cli.directory.clone().unwrap_or_else(|| PathBuf::from("."));
    let context = Context { directory, out, no_input: cli.no_input };
    match &cli.command {
        Command::Run(args) => execute::run(&context, args),
        Command::Resume(args) => execute::resume(&context, args),
        Command::Status(args) => look::status(&context, args),
        Command::Logs(args) => look::logs(&context, args),
        Command::Inbox(args) => look::inbox(&context, args),
        Command::Watch(args) => look::watch(&context, args),
        Command::Answer(args) => control::answer(&context, args),
        Command::Pause(args) => control::pause(&context, args),
        Command::Cancel(args) => control::cancel(&context, args),
        Command::Merge(args) => merge::merge(&context, args),
        Command::Plan(args) => plan::plan(&context, args),
        Command::Improve(args) => improve::improve(&context, args),
        Command::Map(args) => improve::map(&context, args),
        Command::Diff(args) => diff::diff(&context, args),
        Command::Verify(args) => verify::verify(&context, args),
        Command::Replay(args) if args.agents => record::replay(&context, args),
        Command::Replay(args) => replay::replay(&context, args),
        Command::Record(args) => record::record(&context, args),
        Command::Report(args) => report::report(&context, args),
        Command::Fork(args) => fork::fork(&context, args),
        Command::Undo(args) => undo::undo(&context, args),
        Command::Agents => agents::agents(&context),
        Command::Trust(args) => trust::trust(&context, args),
        Command::Doctor => doctor::doctor(&context),
        Command::Init(args) => init::init(&context, args),
        Command::Schema(args) => reference::schema(&context, args),
        Command::Gc(args) => gc::gc(&context, args),
        Command::Import(args) => transfer::import(&context, args),
        Command::Explain(args) => explain::explain(&context, args),
        Command::Completions(args) => reference::completions(&context, args),
        Command::Task(args) => task::task(&context, args),
        Command::Demo(args) => demo::demo(&context, args),
        Command::Sim(args) => sim::sim(&context, args),
        Command::Mcp(args) => mcp::mcp(&context, args),
        Command::Slash(args) => slash::slash(&context, args),
        Command::Hook(args) => hook::hook(&context, args),
        Command::Statusline => hook::statusline(&context),
        Command::Install(args) => install::install(&context, args),
        Command::Uninstall(args) => install::uninstall(&context, args),
    }
}
