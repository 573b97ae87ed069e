//! `slash`: the slash commands of other programs, with their arguments as they were typed.

use std::{
    path::{Path, PathBuf},
    process::{self, Stdio},
};

use clap::CommandFactory;
use kapell_agents::supervise::MARKER;
use kapell_core::id::RunId;
use kapell_view::{text::short, untrusted::visible};

use super::{Context, execute};
use crate::{
    args::{Cli, RunArgs, SlashArgs},
    exit::Exit,
    fault::Fault,
    registry::Registry,
    slash::{self, Asked, Name},
    workflow,
};

/// What became of a slash command.
pub enum Done {
    /// A run was started, or goes on.
    Started {
        /// The run.
        run: RunId,
        /// What was asked for and plays no part in it.
        unused: Vec<&'static str>,
    },
    /// Another command is to be carried out in its place, with these words.
    Instead(Vec<String>),
}

/// Carries out a slash command.
///
/// # Errors
///
/// Fails if it cannot be understood, or needs what is not there.
pub fn slash(context: &Context, args: &SlashArgs) -> Result<Exit, Fault> {
    match carry_out(context, &args.name, &args.raw.join(" "))? {
        Done::Started { run, unused } => {
            context.out.data(&run.to_string());
            for option in unused {
                context.out.note(&format!("--{option} is not used: a workflow file brings its own plan"));
            }
            context.out.next(&format!("kapell watch {}", short(run)));
            Ok(Exit::Done)
        }
        Done::Instead(words) => {
            let status = this_program(context, &words)?.status().map_err(lost)?;
            let code = status.code().and_then(|code| Exit::ALL.into_iter().find(|exit| *exit as i32 == code));
            Ok(code.unwrap_or(Exit::Bug))
        }
    }
}

/// Prepares this program with other words, in the same place.
///
/// # Errors
///
/// Fails if it cannot be found.
fn this_program(context: &Context, words: &[String]) -> Result<process::Command, Fault> {
    let mut command = process::Command::new(std::env::current_exe().map_err(lost)?);
    command.arg("-C").arg(&context.directory).args(words).stdin(Stdio::null());
    Ok(command)
}

/// Carries out other words in this program, and returns what it prints for a program to read.
///
/// # Errors
///
/// Fails if it cannot be started.
pub fn output_of(context: &Context, words: &[String]) -> Result<process::Output, Fault> {
    // Before the words: behind a `--` among them, they would be arguments.
    let flags = ["--color=never", "--no-input", "--quiet"].map(str::to_owned);
    let words: Vec<String> = flags.into_iter().chain(words.iter().cloned()).collect();
    this_program(context, &words)?.output().map_err(lost)
}

fn lost(error: std::io::Error) -> Fault {
    Fault::new("K0904", Exit::Environment, "kapell cannot start itself").because(error)
}

/// Reads a slash command and starts what it asks for.
///
/// # Errors
///
/// As [`slash()`].
pub fn carry_out(context: &Context, name: &str, raw: &str) -> Result<Done, Fault> {
    let name = Name::find(name).ok_or_else(|| {
        let known: Vec<String> = Name::ALL.iter().map(|(name, _)| format!("/{name}")).collect();
        Fault::new("K0921", Exit::Usage, format!("there is no command `{}`", visible(name)))
            .hint(format!("commands are {}", known.join(", ")))
    })?;
    let asked = slash::parse(name, raw)
        .map_err(|error| Fault::new("K0921", Exit::Usage, visible(&error.to_string())).hint(error.hint))?;
    if name == Name::ImproveOrchestration {
        return improve(&asked).map(Done::Instead);
    }
    let mission = asked.mission.as_deref().unwrap_or_default();
    let run = start(context, mission, |args| {
        args.agents = asked.option("agents").and_then(|agents| agents.parse().ok());
        args.budget = asked.option("budget").map(str::to_owned);
    })?;
    let used = ["agents", "budget"];
    let unused = asked.options.iter().map(|(name, _)| *name).filter(|name| !used.contains(name)).collect();
    Ok(Done::Started { run, unused })
}

/// Starts a mission in the background: a workflow file that it names.
///
/// # Errors
///
/// Fails if it names none, or the run cannot be started.
pub fn start(context: &Context, mission: &str, set: impl FnOnce(&mut RunArgs)) -> Result<RunId, Fault> {
    if std::env::var_os(MARKER).is_some() {
        return Err(Fault::new("K0922", Exit::Refused, "a task of a run starts no other runs")
            .because("its budget and its limits would not hold for them")
            .hint("give the task `workflow: FILE` in place of a prompt"));
    }
    let mut args = RunArgs { file: named(context, mission)?, detach: true, ..RunArgs::default() };
    set(&mut args);
    if workflow::is_document(&args.file) && args.agent.is_none() {
        // Its phases are prose for a model: whoever is here first performs them.
        let usable = Registry::find(&context.site()?)?.first_usable();
        args.agent = Some(usable.unwrap_or_else(|| "claude-code".to_owned()));
    }
    execute::start(context, &args)
}

/// Returns the words of `improve` for what was asked.
fn improve(asked: &Asked) -> Result<Vec<String>, Fault> {
    let words = asked.options.iter().map(|(name, value)| match value {
        Some(value) => format!("--{name}={value}"),
        None => format!("--{name}"),
    });
    let words = std::iter::once("improve".to_owned()).chain(words).collect();
    offers("improve").map(|()| words)
}

/// Makes sure that this version has a command.
///
/// # Errors
///
/// Fails if it has not.
pub fn offers(command: &'static str) -> Result<(), Fault> {
    if Cli::command().find_subcommand(command).is_some() {
        return Ok(());
    }
    Err(Fault::new("K0923", Exit::Waits, format!("this version of kapell has no `{command}`"))
        .hint("kapell --help lists what it has"))
}

/// Finds the workflow file that a mission names: by its path, or by its name in `kapell/`.
fn named(context: &Context, mission: &str) -> Result<PathBuf, Fault> {
    let mission = mission.trim();
    let typed = Path::new(mission);
    if is_workflow(typed) && context.path(typed).is_file() {
        return Ok(typed.to_owned());
    }
    let root = context.site()?.root;
    let is_name = !mission.is_empty() && !mission.contains(|c: char| c.is_whitespace() || c == '/');
    if is_name {
        let beside = ["yaml", "yml"].map(|end| root.join("kapell").join(format!("{mission}.{end}")));
        if let Some(file) = beside.into_iter().find(|file| file.is_file()) {
            return Ok(file);
        }
    }
    let document = match is_name {
        true => root.join(".claude/commands").join(format!("{}.md", mission.trim_start_matches('/'))),
        false => context.path(typed),
    };
    if document.extension().is_some_and(|end| end == "md") && document.is_file() {
        return Ok(document);
    }
    Err(in_words(&root, mission))
}

fn is_workflow(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "yaml" || end == "yml")
}

/// Says honestly that a mission in words needs a plan that nobody has made.
fn in_words(root: &Path, mission: &str) -> Fault {
    let fault =
        Fault::new("K0922", Exit::Waits, "a mission in words needs a plan, and this version makes none")
            .because(format!("no workflow file is named `{}`", shown(mission)));
    let mut files: Vec<String> = std::fs::read_dir(root.join("kapell"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| is_workflow(&entry.path()))
        .map(|entry| format!("kapell/{}", entry.file_name().to_string_lossy()))
        .collect();
    files.sort();
    match files.as_slice() {
        [] => fault.hint("kapell init writes a first workflow; put the mission into its tasks"),
        [first, ..] => {
            fault.hint(format!("workflow files here: {}; for example kapell run {first}", files.join(", ")))
        }
    }
}

/// The beginning of a mission, as it can be shown in one line.
fn shown(mission: &str) -> String {
    const CHARS: usize = 60;
    let line = visible(mission.lines().next().unwrap_or_default());
    match line.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
