//! Which files orchestrate, by their paths alone.

use crate::{
    code::aliases::is_typescript,
    files::is_code,
    repository::Depth,
    systems::{bake, is_proxy},
};

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

/// Directories whose settings and programs are those of an agent client.
const CLIENT_DIRECTORIES: &[&str] = &[".claude", ".claude-plugin", ".codex", ".gemini", "hooks"];

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
    "Makefile",
    "justfile",
];

/// Tells whether a file is read, by its path from the top.
#[must_use]
pub fn is_wanted(path: &str, scope: Scope, depth: Depth) -> bool {
    let (parts, all) = (Parts::of(path), scope == Scope::All);
    let counts = (all || scope == Scope::Github) && (parts.is_github() || parts.is_manifest())
        || (all || scope == Scope::ClaudeCode) && parts.is_agent()
        || (all || scope == Scope::Production)
            && (parts.is_system() && (!parts.is_proxy() || is_proxy(path))
                || depth == Depth::Deep && (is_code(path) || parts.maps_modules()));
    // Most files end as none that counts does, so that few need their folders looked at.
    counts && !is_sample(path)
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

/// What the path of a file is made of.
#[derive(Debug, Clone, Copy)]
struct Parts<'a> {
    /// The directories from the top, with slashes between them.
    folders: &'a str,
    name: &'a str,
    /// What follows the last dot of the name.
    extension: &'a str,
}

impl<'a> Parts<'a> {
    fn of(path: &'a str) -> Self {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        Self { folders, name, extension }
    }

    /// Tells whether it lies below a directory of one of these names.
    fn within(self, names: &[&str]) -> bool {
        self.folders.split('/').any(|folder| names.contains(&folder))
    }

    /// Tells whether it lies in the directory of GitHub at the top.
    fn at_github(self) -> bool {
        self.folders.split('/').next() == Some(".github")
    }

    /// A workflow or action of GitHub.
    fn is_github(self) -> bool {
        let yaml = matches!(self.extension, "yml" | "yaml");
        yaml && (self.at_github() || matches!(self.name, "action.yml" | "action.yaml"))
    }

    /// What says how much there is to download, and what scripts run, at the top.
    fn is_manifest(self) -> bool {
        self.folders.is_empty() && matches!(self.name, "Cargo.toml" | "package.json")
    }

    /// What instructs or configures an agent client.
    fn is_agent(self) -> bool {
        AGENT_FILES.contains(&self.name)
            // What a repository says of itself at its top tells who brings the commands that it names.
            || self.folders.is_empty() && self.name == "README.md"
            || match self.extension {
                "md" | "mdc" => self.within(AGENT_DIRECTORIES),
                // Dynamic workflows lie in a plugin's own folder.
                "js" | "mjs" => self.within(CLIENT_DIRECTORIES) || self.within(&["workflows"]),
                // Plugins keep what their hooks run there as well.
                "sh" => {
                    self.within(CLIENT_DIRECTORIES)
                        || self.at_github()
                        || self.folders.is_empty()
                        || self.within(&["scripts", "script", "bin", "ci", ".ci", "deploy"])
                        || self.within(&["hack", "tools", "ops", "infra", "release", "build"])
                }
                "json" | "toml" | "py" | "rb" | "ts" | "mts" | "cjs" | "bash" | "php" | "ps1" | "pl" => {
                    self.within(CLIENT_DIRECTORIES)
                }
                // A hook may be a program without an ending, or one of several files of a language that is compiled. Hooks
                // at the top are those of Git.
                "" => self.folders.ends_with("/hooks"),
                "go" => self.name == "main.go" && self.within(&[".claude", "hooks", "tools", "cmd"]),
                _ => false,
            }
    }

    /// What may be the settings of a proxy; the whole path decides.
    fn is_proxy(self) -> bool {
        matches!(self.extension, "conf" | "template") || self.name == "Caddyfile"
    }

    /// Settings that say which files the names of modules stand for.
    fn maps_modules(self) -> bool {
        self.name == "package.json" || is_typescript(self.name)
    }

    /// Compose files, manifests, Dockerfiles.
    fn is_system(self) -> bool {
        matches!(self.extension, "yml" | "yaml") && !self.at_github()
            || self.name == "Dockerfile"
            || self.name.starts_with("Dockerfile.")
            || self.extension == "dockerfile"
            || self.extension == "toml" && self.name.starts_with("fly.")
            || self.extension == "nomad"
            // What a container starts with may wait for others.
            || self.extension == "sh" && self.name.contains("entrypoint")
            || self.name == bake::TARGETS
            || self.name.ends_with(".nomad.hcl")
            || self.is_proxy()
            // What the templates of a chart share.
            || self.extension == "tpl" && self.within(&["templates"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_they_are() {
        let is_github = |path| Parts::of(path).is_github();
        let is_agent = |path| Parts::of(path).is_agent();
        let is_system = |path| Parts::of(path).is_system();
        assert!(is_github(".github/workflows/ci.yml") && is_github("setup/action.yaml"));
        assert!(!is_github("docs/ci.yml"));
        assert!(is_agent("plugins/x/agents/a.md") && is_agent("CLAUDE.md") && is_agent(".claude/hooks/a.py"));
        assert!(
            is_agent("README.md")
                && !is_agent("src/README.md")
                && !is_agent("docs/guide.md")
                && !is_agent("src/main.py")
        );
        assert!(
            is_agent(".claude/hooks/gate")
                && is_agent("tools/hooks/gate")
                && is_agent(".claude/hooks/a.php")
                && is_agent("tools/guard/main.go")
        );
        assert!(!is_agent("hooks/pre-commit") && !is_agent("cmd/server.go"));
        let is_wanted_system = |path| is_wanted(path, Scope::Production, Depth::Standard);
        assert!(is_wanted_system("web/nginx.conf") && is_wanted_system("proxy/Caddyfile"));
        assert!(!is_wanted_system("etc/mail.conf") && !is_wanted_system("a.template"));
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
