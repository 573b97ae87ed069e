//! A throw-away home with a repository in it, and programs with nothing of this process around them.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::ensure;
use serde_json::Value;

use crate::{history::History, shell};

/// A directory with a home, a runtime directory and a repository.
pub(crate) struct Place {
    dir: PathBuf,
    program: PathBuf,
}

impl Place {
    /// Makes one in `dir`, of which nothing older is left. `program` is kapell.
    pub(crate) fn new(dir: PathBuf, program: &Path) -> anyhow::Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(dir.join("repo"))?;
        // Links in the way would make one path two.
        Ok(Self { dir: dir.canonicalize()?, program: program.to_owned() })
    }

    /// Makes one that nobody else has, for a chore.
    pub(crate) fn temporary(chore: &str, program: &Path) -> anyhow::Result<Self> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let name = format!("kapell-{chore}-{}-{}", std::process::id(), now.as_nanos());
        Self::new(std::env::temp_dir().join(name), program)
    }

    /// Returns a path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Writes a file, and the directories that it lies in.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        Ok(fs::write(path, text)?)
    }

    /// Prepares a program that works in the repository.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> anyhow::Result<Command> {
        let mut command = shell::scrubbed(Path::new(program.as_ref()), &self.dir)?;
        command.current_dir(self.repo()).env("GIT_CONFIG_NOSYSTEM", "1").stdin(Stdio::null());
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "chore")
                .env(format!("GIT_{who}_EMAIL"), "chore@localhost");
        }
        Ok(command)
    }

    /// Prepares kapell, which has no terminal: it stays while agents ask, and is answered by other calls of it.
    pub(crate) fn kapell(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.command(&self.program)?;
        command.args(args);
        Ok(command)
    }

    /// Runs kapell and returns what it prints.
    pub(crate) fn said(&self, args: &[&str]) -> anyhow::Result<String> {
        shell::capture(&mut self.kapell(args)?)
    }

    /// Runs git and returns what it prints.
    pub(crate) fn git(&self, args: &[&str]) -> anyhow::Result<String> {
        shell::capture(self.command("git")?.args(args))
    }

    /// Makes the repository of what lies there, with one commit on `main`.
    pub(crate) fn begin(&self) -> anyhow::Result<()> {
        for args in
            [&["init", "--quiet", "-b", "main"][..], &["add", "--all"], &["commit", "--quiet", "-m", "Begin"]]
        {
            self.git(args)?;
        }
        Ok(())
    }

    /// Reads what the journal says about its one run; returns the run's id, too.
    pub(crate) fn history(&self) -> anyhow::Result<(String, History)> {
        History::of_export(&self.said(&["logs", "--export"])?)
    }

    /// Reads what the journal says about each of its runs, with their ids.
    pub(crate) fn histories(&self) -> anyhow::Result<Vec<(String, History)>> {
        let status: Value = serde_json::from_str(&self.said(&["status", "--all", "--json"])?)?;
        let runs = status["runs"].as_array().into_iter().flatten().filter_map(|run| run["run"].as_str());
        runs.map(|run| History::of_export(&self.said(&["logs", run, "--export"])?)).collect()
    }

    /// Tells whether there are runs here, and each came to its end: the last process may have been killed a moment after it
    /// had recorded that. Whoever runs the file once more then starts it anew.
    pub(crate) fn is_over(&self) -> bool {
        let over = |runs: Vec<(String, History)>| {
            !runs.is_empty() && runs.iter().all(|(_, history)| history.is_over())
        };
        self.histories().is_ok_and(over)
    }

    /// Looks whether anything is left of a run that nobody executes: processes, sockets, directories, workspaces that
    /// are still held, control groups.
    pub(crate) fn nothing_is_left(&self, run: &str) -> anyhow::Result<()> {
        let left = processes_of(&format!("KAPELL_ATTEMPT_ID={run}"))?;
        ensure!(left.is_empty(), "processes are left: {}", left.join(", "));
        let names = |dir: &Path| -> Vec<String> {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let sockets = names(&self.path("run/kapell"));
        ensure!(sockets.is_empty(), "left in the runtime directory: {}", sockets.join(", "));
        for site in names(&self.path("home/.cache/kapell")) {
            let site = self.path("home/.cache/kapell").join(site);
            let scratch = names(&site.join("scratch"));
            ensure!(scratch.is_empty(), "scratch directories are left: {}", scratch.join(", "));
            for slot in names(&site.join("workspaces")) {
                let meta =
                    fs::read(site.join("workspaces").join(&slot).join("meta.json")).unwrap_or_default();
                let meta: Value = serde_json::from_slice(&meta).unwrap_or_default();
                ensure!(meta["owner"].is_null(), "workspace {slot} is still held");
            }
        }
        let groups = control_groups(Path::new("/sys/fs/cgroup"), run);
        ensure!(groups.is_empty(), "control groups are left: {groups:?}");
        let status = self.git(&["status", "--porcelain"])?;
        ensure!(status.is_empty(), "the checkout is not clean: {status}");
        Ok(())
    }

    /// Removes all of it.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        Ok(fs::remove_dir_all(&self.dir)?)
    }
}

/// Returns the processes with a variable that begins like this, by their ids.
fn processes_of(variable: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        // Processes come and go, and those of others are none of ours.
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|one| one.starts_with(variable.as_bytes())) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// Returns the control groups that carry the name of a run.
fn control_groups(top: &Path, run: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![top.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(run) {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}
