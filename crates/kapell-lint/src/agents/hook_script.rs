//! The file that a hook runs.

use kapell_spec::{claude::hooks::Hook, finding::Span};

use super::{Agents, HookFile};
use crate::files::{Files, is_script};

/// A file of the repository that a hook runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookScript {
    /// Its path from the top.
    pub path: String,
    /// Where the hook names it.
    pub span: Span,
}

/// Programs that run the file they are given.
const RUNNERS: &[&str] = &[
    "bash", "sh", "zsh", "env", "node", "deno", "bun", "python", "python3", "ruby", "perl", "uv", "npx",
    "tsx", "run", "exec",
];

/// Folders that are made, and not kept.
const MADE: &[&str] = &["dist", "build", "out", "target", "node_modules", "bin", ".venv"];

/// Returns the file that a command runs, as it is written, if people write such files and keep them.
///
/// A command that first looks whether there is such a file names none.
#[must_use]
pub fn script_of(command: &str) -> Option<String> {
    let asks =
        ["-f ", "-x ", "-e ", "test ", "which ", "command -v"].iter().any(|word| command.contains(word));
    let first = command.split([';', '|', '&', '\n']).next().filter(|_| !asks)?;
    let word = first
        .split_whitespace()
        .map(|word| word.replace(['"', '\''], ""))
        .find(|word| !RUNNERS.contains(&&**word) && !word.starts_with('-') && !is_assignment(word))?;
    let made = word.split('/').any(|folder| MADE.contains(&folder));
    (is_script(&word) && !made).then_some(word)
}

impl Agents {
    /// Finds the file that a hook's command runs, if it is one that the repository should hold.
    #[must_use]
    pub fn hook_script(&self, files: &Files, file: &HookFile, hook: &Hook) -> Option<HookScript> {
        let command = hook.text.as_ref().filter(|_| hook.kind == "command")?;
        let path = self.resolved(files, file, &script_of(&command.text)?)?;
        (!path.contains(['$', '*', '{', '~'])).then_some(HookScript { path, span: command.span })
    }

    /// Finds the file of a plugin that its hook's command names as if the plugin were the project: a hook is started in the
    /// project of whoever uses the plugin.
    #[must_use]
    pub fn script_of_plugin(&self, files: &Files, file: &HookFile, hook: &Hook) -> Option<HookScript> {
        let command = hook.text.as_ref().filter(|_| hook.kind == "command" && !file.is_settings)?;
        let word = script_of(&command.text)?;
        let path = word.trim_start_matches("./");
        let plugin = super::assets::owner(self, &files[file.file].path)?;
        let own = if plugin.root.is_empty() { path.to_owned() } else { format!("{}/{path}", plugin.root) };
        let plain = !path.contains(['$', '*', '{', '~', '%']) && !path.starts_with(['/', '.']);
        // A client of its own may start them from there.
        let known = files[file.file].path.ends_with("hooks/hooks.json");
        (plain && known && files.exists(&own))
            .then(|| HookScript { path: path.to_owned(), span: command.span })
    }

    /// Returns a path as it is from the top of the repository.
    fn resolved(&self, files: &Files, file: &HookFile, word: &str) -> Option<String> {
        let path = &*files[file.file].path;
        for variable in ["${CLAUDE_PLUGIN_ROOT}/", "$CLAUDE_PLUGIN_ROOT/"] {
            if let Some(rest) = word.strip_prefix(variable) {
                let root = super::assets::owner(self, path).map(|plugin| &*plugin.root)?;
                return Some(if root.is_empty() { rest.to_owned() } else { format!("{root}/{rest}") });
            }
        }
        // Above `.claude` lies the project.
        let project = path.find(".claude/").map(|at| &path[..at]).filter(|_| file.is_settings)?;
        let variables = ["${CLAUDE_PROJECT_DIR}/", "$CLAUDE_PROJECT_DIR/", "./"];
        let rest = variables.iter().find_map(|variable| word.strip_prefix(variable));
        let rest = rest.or_else(|| (word.contains('/') && !word.starts_with('/')).then_some(word))?;
        Some(format!("{project}{rest}"))
    }
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
