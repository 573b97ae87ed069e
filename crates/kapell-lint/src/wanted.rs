//! Which files orchestrate, by their paths alone.

use crate::repository::Depth;

/// Which systems are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// Assets of Claude Code and other agent clients.
    ClaudeCode,
    /// Code and deployments.
    Production,
    /// GitHub workflows and actions.
    Github,
    /// All of them.
    #[default]
    All,
}

/// Directories whose Markdown instructs agents.
const AGENT_DIRECTORIES: &[&str] = &[
    ".claude",
    ".codex",
    ".cursor",
    ".opencode",
    ".gemini",
    ".github",
    "agents",
    "commands",
    "skills",
    "hooks",
    "plugins",
    "prompts",
    "categories",
    "workflows",
    "tools",
    "modes",
    "rules",
];

/// Files whose names say what they are, wherever they lie.
const AGENT_FILES: &[&str] = &[
    "CLAUDE.md",
    "CLAUDE.local.md",
    "AGENTS.md",
    "AGENTS.override.md",
    "GEMINI.md",
    "SKILL.md",
    "plugin.json",
    "marketplace.json",
    "hooks.json",
    "settings.json",
    "settings.local.json",
    ".mcp.json",
    "opencode.json",
];

/// Tells whether a file is read, by its path from the top.
#[must_use]
pub fn is_wanted(path: &str, scope: Scope, depth: Depth) -> bool {
    if is_sample(path) {
        return false;
    }
    let all = scope == Scope::All;
    (all || scope == Scope::Github) && is_github(path)
        || (all || scope == Scope::ClaudeCode) && is_agent(path)
        || (all || scope == Scope::Production) && (is_system(path) || depth == Depth::Deep && is_code(path))
}

/// Directories of what tests work on: nothing in them is in force, and much of it is wrong on purpose.
const SAMPLES: &[&str] = &[
    "fixtures",
    "fixture",
    "__fixtures__",
    "testdata",
    "test-data",
    "test_data",
    "corpus",
    "corpora",
    "golden",
    "__snapshots__",
];

/// Tells whether a path lies among what tests work on. Who wants that judged gives the directory itself.
#[must_use]
pub fn is_sample(path: &str) -> bool {
    let mut folders = path.split('/').rev().skip(1);
    folders.any(|folder| SAMPLES.contains(&folder))
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn extension(path: &str) -> &str {
    name(path).rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// A workflow or action of GitHub.
#[must_use]
pub fn is_github(path: &str) -> bool {
    let yaml = matches!(extension(path), "yml" | "yaml");
    yaml && (path.starts_with(".github/") || matches!(name(path), "action.yml" | "action.yaml"))
}

/// What instructs or configures an agent client.
#[must_use]
pub fn is_agent(path: &str) -> bool {
    let mut directories: Vec<&str> = path.split('/').collect();
    directories.pop();
    let within = |names: &[&str]| directories.iter().any(|directory| names.contains(directory));
    AGENT_FILES.contains(&name(path))
        || matches!(extension(path), "md" | "mdc") && within(AGENT_DIRECTORIES)
        // Dynamic workflows lie in a plugin's own folder.
        || matches!(extension(path), "js" | "mjs") && within(&["workflows"])
        || matches!(extension(path), "json" | "toml" | "js" | "mjs" | "sh" | "py")
            && within(&[".claude", ".claude-plugin", ".codex", "hooks"])
        // Plugins keep what their hooks run there as well.
        || extension(path) == "sh" && within(&["scripts"])
}

/// Compose files, manifests, Dockerfiles.
#[must_use]
pub fn is_system(path: &str) -> bool {
    let name = name(path);
    matches!(extension(path), "yml" | "yaml") && !path.starts_with(".github/")
        || name == "Dockerfile"
        || name.starts_with("Dockerfile.")
        || extension(path) == "dockerfile"
}

/// Code that may call models or agents.
#[must_use]
pub fn is_code(path: &str) -> bool {
    matches!(extension(path), "py" | "ts" | "tsx" | "mts" | "cts" | "js" | "jsx" | "mjs" | "cjs")
        && !name(path).ends_with(".min.js")
        && !name(path).ends_with(".d.ts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_they_are() {
        assert!(is_github(".github/workflows/ci.yml") && is_github("setup/action.yaml"));
        assert!(!is_github("docs/ci.yml"));
        assert!(is_agent("plugins/x/agents/a.md") && is_agent("CLAUDE.md") && is_agent(".claude/hooks/a.py"));
        assert!(!is_agent("docs/guide.md") && !is_agent("src/main.py"));
        assert!(is_system("deploy/compose.yaml") && is_system("Dockerfile.dev"));
        assert!(is_code("src/a.tsx") && !is_code("a.min.js") && !is_code("a.d.ts"));
        assert!(is_sample("tests/fixtures/a/.claude/agents/a.md") && is_sample("corpus/a.md"));
        assert!(!is_sample("agents/corpus.md") && !is_sample("tests/compose.yaml"));
        let wanted = |path, scope, depth| is_wanted(path, scope, depth);
        assert!(wanted("a.py", Scope::All, Depth::Deep) && !wanted("a.py", Scope::All, Depth::Standard));
        assert!(!wanted(".github/workflows/ci.yml", Scope::ClaudeCode, Depth::Deep));
        assert!(!wanted("tests/corpus/x/agents/a.md", Scope::All, Depth::Deep));
    }
}
