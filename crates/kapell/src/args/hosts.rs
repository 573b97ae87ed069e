//! Commands for other programs: those that kapell is made known to, and those that speak to it.

use clap::{Args, ValueEnum};

/// Arguments of `task`.
#[derive(Debug, Args)]
#[command(trailing_var_arg = true)]
pub struct TaskArgs {
    /// `output K=V`, `progress 0.5 TEXT`, `ask QUESTION`, `note TEXT`, `brief [NAME]`, `outputs TASK`, `handoff NOTE`.
    #[arg(allow_hyphen_values = true)]
    pub words: Vec<std::ffi::OsString>,
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
