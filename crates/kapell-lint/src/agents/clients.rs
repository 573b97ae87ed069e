//! Clients beside Claude Code: where they look for agents and commands, which agents they bring, and what their tools do.
//!
//! Sources: <https://opencode.ai/docs/agents>, <https://opencode.ai/docs/permissions>,
//! <https://docs.github.com/en/copilot/reference/custom-agents-configuration>,
//! <https://code.visualstudio.com/docs/copilot/customization/custom-agents>, <https://cursor.com/docs/context/subagents>,
//! <https://geminicli.com/docs/core/subagents>, <https://developers.openai.com/codex/subagents>, as of 2026-08.

use kapell_view::audit::AssetKind;

/// Who reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Client {
    /// Claude Code, or nobody that is known.
    #[default]
    Claude,
    /// opencode.
    Opencode,
    /// Copilot, in an editor, on a command line or at GitHub.
    Copilot,
    /// Cursor.
    Cursor,
    /// Gemini CLI.
    Gemini,
    /// Codex.
    Codex,
}

/// Folders, the ending of the files that count there, and what those are. Longer endings come first.
const PLACES: &[(&str, &str, Client, AssetKind)] = {
    use {
        AssetKind::{Agent, Command},
        Client::{Codex, Copilot, Cursor, Gemini, Opencode},
    };
    &[
        (".opencode/agent/", ".md", Opencode, Agent),
        (".opencode/agents/", ".md", Opencode, Agent),
        (".opencode/mode/", ".md", Opencode, Agent),
        (".opencode/modes/", ".md", Opencode, Agent),
        (".opencode/command/", ".md", Opencode, Command),
        (".opencode/commands/", ".md", Opencode, Command),
        (".github/agents/", ".agent.md", Copilot, Agent),
        (".github/agents/", ".md", Copilot, Agent),
        (".github/chatmodes/", ".chatmode.md", Copilot, Agent),
        (".github/prompts/", ".prompt.md", Copilot, Command),
        (".cursor/agents/", ".md", Cursor, Agent),
        (".cursor/commands/", ".md", Cursor, Command),
        (".gemini/agents/", ".md", Gemini, Agent),
        (".gemini/commands/", ".toml", Gemini, Command),
        (".codex/agents/", ".toml", Codex, Agent),
        (".codex/prompts/", ".md", Codex, Command),
    ]
};

/// Tells what another client takes a file for, by its path, and the name that the path gives it. Only what lies at the top is
/// read by anybody who opens the repository.
#[must_use]
pub fn place(path: &str) -> Option<(Client, AssetKind, String)> {
    if !path.starts_with('.') {
        return None;
    }
    PLACES.iter().find_map(|&(folder, ending, client, kind)| {
        let name = path.strip_prefix(folder)?.strip_suffix(ending)?;
        // Gemini CLI calls `git/commit.toml` `/git:commit`.
        let separator = if client == Client::Gemini { ":" } else { "/" };
        Some((client, kind, name.replace('/', separator)))
    })
}

impl Client {
    /// Tells whether this client always has an agent of that name.
    #[must_use]
    pub fn brings(self, name: &str) -> bool {
        let own: &[&str] = match self {
            Self::Claude => return super::is_built_in(name),
            Self::Opencode => {
                &["build", "plan", "general", "explore", "scout", "compaction", "title", "summary"]
            }
            Self::Copilot => &[
                "agent",
                "ask",
                "edit",
                "plan",
                "explore",
                "task",
                "research",
                "code-review",
                "general-purpose",
                "copilot",
                "workspace",
            ],
            Self::Cursor => {
                &["explore", "bash", "shell", "browser", "generalPurpose", "plan", "ask", "agent"]
            }
            Self::Gemini => {
                &["codebase_investigator", "codebase-investigator", "cli_help", "generalist", "browser_agent"]
            }
            Self::Codex => &["default", "worker", "explorer", "awaiter", "monitor"],
        };
        own.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Returns what a tool of this client is called in Claude Code: the tools that do the same. `None` if nobody here knows
    /// it: a server may bring it, and it may do anything.
    #[must_use]
    pub fn tool(self, tool: &str) -> Option<&'static [&'static str]> {
        let lower = tool.to_ascii_lowercase();
        match self {
            Self::Copilot => of_copilot(&lower),
            Self::Gemini => of_gemini(&lower),
            _ => None,
        }
    }
}

/// Tools of Copilot, by any of the names that its editor, its command line and its cloud know.
fn of_copilot(tool: &str) -> Option<&'static [&'static str]> {
    // `edit/createFile`: one tool of a set.
    let (set, own) = tool.split_once('/').map_or((tool, ""), |(set, own)| (set, own));
    Some(match (set, own) {
        ("read" | "view" | "notebookread" | "problems" | "readfile", _) => &["Read"],
        ("search" | "grep" | "glob" | "codebase" | "usages" | "changes" | "textsearch" | "filesearch", _)
        | ("listdirectory" | "searchresults" | "findtestfiles", _) => &["Grep", "Glob"],
        ("edit" | "write" | "multiedit" | "notebookedit" | "editfiles" | "new" | "createfile", _)
        | ("create" | "editnotebook" | "createdirectory", _) => &["Write", "Edit"],
        ("execute" | "shell" | "bash" | "powershell" | "runcommands" | "runinterminal" | "runtasks", _)
        | ("runtests" | "terminal" | "runnotebooks", _) => &["Bash"],
        ("agent" | "custom-agent" | "task" | "runsubagent", _) => &["Agent"],
        ("web" | "websearch" | "webfetch" | "fetch", _) => &["WebFetch", "WebSearch"],
        (
            "githubrepo" | "todo" | "todos" | "todowrite" | "vscode" | "vscodeapi" | "extensions" | "think",
            _,
        )
        | ("testfailure" | "opensimplebrowser" | "terminallastcommand" | "terminalselection", _) => &[],
        _ => return None,
    })
}

/// Tools of Gemini CLI.
fn of_gemini(tool: &str) -> Option<&'static [&'static str]> {
    Some(match tool {
        "read_file" | "read_many_files" => &["Read"],
        "grep_search" | "search_file_content" | "glob" | "list_directory" => &["Grep", "Glob"],
        "write_file" => &["Write"],
        "replace" | "edit" => &["Edit"],
        "run_shell_command" => &["Bash"],
        "web_fetch" => &["WebFetch"],
        "google_web_search" => &["WebSearch"],
        "save_memory" | "write_todos" | "ask_user" | "activate_skill" | "enter_plan_mode" => &[],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_who_reads_a_file_and_what_it_is_called() {
        let read = place;
        assert_eq!(
            read(".opencode/agent/map-expert.md"),
            Some((Client::Opencode, AssetKind::Agent, "map-expert".to_owned()))
        );
        assert_eq!(
            read(".github/agents/adr-writer.agent.md").map(|found| found.2).as_deref(),
            Some("adr-writer")
        );
        assert_eq!(
            read(".gemini/commands/git/commit.toml").map(|found| found.2).as_deref(),
            Some("git:commit")
        );
        assert_eq!(read("examples/todo/.github/agents/x.agent.md"), None);
        assert_eq!(read(".claude/agents/x.md"), None);
    }

    #[test]
    fn tools_have_the_names_that_claude_code_gives_them() {
        assert_eq!(Client::Copilot.tool("edit/createFile"), Some(&["Write", "Edit"][..]));
        assert_eq!(Client::Copilot.tool("runCommands"), Some(&["Bash"][..]));
        assert_eq!(Client::Copilot.tool("playwright-test/test_run"), None);
        assert_eq!(Client::Gemini.tool("write_file"), Some(&["Write"][..]));
    }
}
