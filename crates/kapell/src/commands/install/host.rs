//! The programs that kapell can be made known to: where they keep their settings, and what goes there.

use std::{
    env,
    path::{Path, PathBuf},
};

use kapell_view::untrusted::{Untrusted, visible};
use serde_json::json;

use super::{Context, manifest::Manifest, settings};
use crate::{
    args::{HostProgram, Scope},
    exit::Exit,
    fault::Fault,
    registry,
};

/// By what kapell goes among the servers of another program.
const SERVER: &str = "kapell";

/// What opencode puts into settings that name no schema, as soon as it reads them (tried with version 1.18.33).
const OPENCODE_SCHEMA: &str = "https://opencode.ai/config.json";

/// The list of what was written, beside the settings of programs that have no plugin of ours.
const MANIFEST: &str = "kapell-manifest.json";

impl HostProgram {
    const ALL: [Self; 4] = [Self::Claude, Self::Codex, Self::Gemini, Self::Opencode];

    /// Its name, for people.
    const fn name(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code",
            Self::Codex => "Codex",
            Self::Gemini => "Gemini CLI",
            Self::Opencode => "opencode",
        }
    }

    /// Its name on the command line; that of its program as well.
    const fn word(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
        }
    }

    /// Returns where it keeps the settings of a user, as its own documentation says.
    fn user_dir(self, variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
        let below_home = |dir: &str| variable("HOME").map(|home| home.join(dir));
        match self {
            Self::Claude => variable("CLAUDE_CONFIG_DIR").or_else(|| below_home(".claude")),
            Self::Codex => variable("CODEX_HOME").or_else(|| below_home(".codex")),
            Self::Gemini => {
                variable("GEMINI_CLI_HOME").map(|home| home.join(".gemini")).or_else(|| below_home(".gemini"))
            }
            Self::Opencode => variable("XDG_CONFIG_HOME")
                .map(|dir| dir.join("opencode"))
                .or_else(|| below_home(".config/opencode")),
        }
    }

    /// Returns where it looks in a repository.
    fn project_dir(self, root: &Path) -> PathBuf {
        match self {
            Self::Claude => root.join(".claude"),
            Self::Codex => root.join(".codex"),
            Self::Gemini => root.join(".gemini"),
            Self::Opencode => root.to_owned(),
        }
    }
}

/// A program whose settings are written, and where these are.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) which: HostProgram,
    scope: Scope,
    /// Its directory; all else is below it.
    pub(super) dir: PathBuf,
}

impl Host {
    /// Finds where a program keeps its settings.
    ///
    /// # Errors
    ///
    /// Fails outside of a repository if its settings are meant, and without a home directory.
    pub(super) fn find(context: &Context, which: HostProgram, scope: Scope) -> Result<Self, Fault> {
        let dir = match scope {
            Scope::Project => which.project_dir(&context.site()?.root),
            Scope::User => which.user_dir(&set).ok_or_else(|| {
                let what = format!("it is not known where {} keeps its settings", which.name());
                Fault::new("K0901", Exit::Environment, what).hint("set HOME, or give --scope project")
            })?,
        };
        Ok(Self::new(which, scope, dir))
    }

    pub(super) fn new(which: HostProgram, scope: Scope, dir: PathBuf) -> Self {
        Self { which, scope, dir }
    }

    pub(super) fn name(&self) -> &'static str {
        self.which.name()
    }

    pub(super) fn word(&self) -> &'static str {
        self.which.word()
    }

    /// What to do once it is installed.
    pub(super) fn next(&self) -> &'static str {
        match self.which {
            HostProgram::Claude => "claude, then /meta-orchestrator FILE",
            HostProgram::Codex => "codex, and ask it to use kapell's tools",
            HostProgram::Gemini => "gemini, then /mcp lists kapell's tools",
            HostProgram::Opencode => "opencode, and ask it to use kapell's tools",
        }
    }

    /// The file of settings, by its path in the directory.
    pub(super) fn settings(&self) -> &'static str {
        match self.which {
            HostProgram::Claude | HostProgram::Gemini => "settings.json",
            HostProgram::Codex => "config.toml",
            // It reads both; the one that is there is the person's.
            HostProgram::Opencode => match self.dir.join("opencode.jsonc").is_file() {
                true => "opencode.jsonc",
                false => "opencode.json",
            },
        }
    }

    /// The list of what was written, by its path in the directory.
    pub(super) fn manifest_name(&self) -> &'static str {
        match (self.which, self.scope) {
            (HostProgram::Claude, _) => "skills/kapell/manifest.json",
            // Its directory is the repository itself.
            (HostProgram::Opencode, Scope::Project) => ".opencode/kapell-manifest.json",
            _ => MANIFEST,
        }
    }

    pub(super) fn manifest_path(&self) -> PathBuf {
        self.dir.join(self.manifest_name())
    }

    pub(super) fn manifest(&self) -> Result<Option<Manifest>, Fault> {
        Manifest::read(&self.manifest_path())
    }

    /// Returns what goes into the settings, or why nothing can.
    pub(super) fn edit(&self, before: Option<&str>, program: &str) -> Result<settings::Edit, String> {
        match self.which {
            HostProgram::Claude => {
                let command = format!("{} statusline", Untrusted::from(program).shell());
                let value = json!({"type": "command", "command": command}).to_string();
                settings::insert(before, None, "statusLine", &value)
            }
            HostProgram::Codex => {
                let entry = [
                    ("command".to_owned(), program.into()),
                    ("args".to_owned(), toml::Value::Array(vec!["mcp".into()])),
                ];
                settings::append(before, "mcp_servers", SERVER, &entry.into_iter().collect())
            }
            HostProgram::Gemini => {
                let value = json!({"command": program, "args": ["mcp"]}).to_string();
                settings::insert(before, Some("mcpServers"), SERVER, &value)
            }
            HostProgram::Opencode => {
                let value = json!({"type": "local", "command": [program, "mcp"]}).to_string();
                // A file without it gets it from opencode itself, and would no longer be what was installed.
                let edit = settings::insert(before, Some("mcp"), SERVER, &value)?;
                Ok(edit.headed("$schema", OPENCODE_SCHEMA))
            }
        }
    }
}

fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A program that kapell was made known to.
#[derive(Debug)]
pub struct Known {
    /// Its name, for people, and whose settings these are.
    pub name: String,
    /// What is no longer as it should be, and what to do.
    pub fault: Option<(String, String)>,
}

/// Returns the programs that kapell was made known to, for this user and in the repository at `root`.
pub fn known(root: Option<&Path>) -> Vec<Known> {
    let user = |which: HostProgram| which.user_dir(&set).map(|dir| Host::new(which, Scope::User, dir));
    let project =
        |which: HostProgram| root.map(|root| Host::new(which, Scope::Project, which.project_dir(root)));
    let both = |which| {
        let (user, project) = (user(which), project(which));
        // In a repository that is the home itself they are one.
        let project = project.filter(|project| user.as_ref().is_none_or(|user| user.dir != project.dir));
        [user, project]
    };
    HostProgram::ALL.into_iter().flat_map(both).flatten().filter_map(|host| host.known()).collect()
}

impl Host {
    /// Tells how what was installed is now; `None` if nothing was.
    fn known(&self) -> Option<Known> {
        let (name, option) = match self.scope {
            Scope::User => (self.name().to_owned(), ""),
            Scope::Project => (format!("{} (here)", self.name()), " --scope project"),
        };
        let again = format!("kapell install {}{option}", self.word());
        let fault = match self.manifest() {
            Ok(None) => return None,
            Err(fault) => Some((fault.message, fault.hint.unwrap_or_else(|| again.clone()))),
            Ok(Some(manifest)) => {
                let program = manifest.program();
                let is_there = match program.contains('/') {
                    true => registry::is_program(Path::new(program)),
                    false => registry::on_path(program).is_some(),
                };
                let changed: Vec<String> = manifest
                    .changed(&self.dir)
                    .iter()
                    .map(|path| visible(&path.display().to_string()))
                    .collect();
                match (is_there, changed.is_empty()) {
                    (false, _) => {
                        let found = format!("it starts `{}`, which is not there", visible(program));
                        Some((found, again))
                    }
                    (true, false) => Some((format!("changed since: {}", changed.join(", ")), again)),
                    (true, true) => None,
                }
            }
        };
        Some(Known { name, fault })
    }
}
