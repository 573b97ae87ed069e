//! Outside a repository: tasks work in the directory itself, and there is nothing to land.

use std::{collections::BTreeMap, fs, io, path::PathBuf, sync::Arc};

use kapell_core::{
    command::Verdict,
    id::{Digest, Oid, RunId},
    landing::Probed,
    plan::WorkspaceKind,
    retry::FailureClass,
    task::Change,
};
use kapell_engine::port::{
    agents::AttemptKey,
    workspaces::{Check, Close, MergeOrder, Merged, Ready, Request, Trial, WorkspaceError, Workspaces},
};

use super::{
    Places,
    agents::CrewAgents,
    checks::{Checked, Checks},
    scratch::Scratch,
};

/// Workspaces without a repository.
pub struct Plain {
    root: PathBuf,
    places: Places,
    scratch: Scratch,
    checks: Checks,
}

impl Plain {
    /// Makes them for the directory `root`.
    #[must_use]
    pub fn new(root: PathBuf, places: Places, agents: Arc<CrewAgents>) -> Self {
        let scratch = Scratch::new(places.scratch.clone());
        Self { root, places, scratch, checks: Checks::new(agents) }
    }
}

pub(super) fn io_error(what: &str, error: &io::Error) -> WorkspaceError {
    WorkspaceError { class: FailureClass::Transient, message: format!("{what}: {error}") }
}

pub(super) fn no_scratch(error: &io::Error) -> WorkspaceError {
    io_error("the scratch directory cannot be made", error)
}

fn no_repository() -> WorkspaceError {
    WorkspaceError { class: FailureClass::Permanent, message: "there is no git repository here".to_owned() }
}

/// Returns the shared directories as variables, making those that are not there.
pub(super) fn shared_dirs(
    places: &Places,
    cache: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, WorkspaceError> {
    cache
        .iter()
        .map(|(variable, name)| {
            let dir = places.shared.join(format!("{variable}-{}", file_name(name)));
            fs::create_dir_all(&dir)
                .map_err(|error| io_error("a shared directory cannot be made", &error))?;
            Ok((variable.clone(), dir.to_string_lossy().into_owned()))
        })
        .collect()
}

/// A name of a cache as a part of a file name, which no other name has.
fn file_name(name: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.chars().all(keep) {
        return name.to_owned();
    }
    let kept: String = name.chars().map(|c| if keep(c) { c } else { '_' }).take(60).collect();
    format!("{kept}-{}", &Digest::of(name.as_bytes()).to_string()[..16])
}

pub(super) fn verdict(checked: Checked) -> Verdict {
    match checked {
        Checked::Passed => Verdict::Passed,
        Checked::Failed(message) => Verdict::Failed { message },
        Checked::Broken(message) => Verdict::Broken { message },
    }
}

impl Workspaces for Plain {
    fn begin(&self, _run: RunId, _base: Oid) -> Result<(), WorkspaceError> {
        Err(no_repository())
    }

    fn open(&self, request: &Request, _: &dyn Fn() -> bool) -> Result<Ready, WorkspaceError> {
        let dir = match request.kind {
            WorkspaceKind::None => self.scratch.open(request.key).map_err(|error| no_scratch(&error))?,
            WorkspaceKind::InPlace => self.root.clone(),
            WorkspaceKind::Clone | WorkspaceKind::ReadOnly => return Err(no_repository()),
        };
        let env = shared_dirs(&self.places, &request.cache)?;
        Ok(Ready { dir, env: env.into_iter().collect(), earlier: None })
    }

    fn capture(&self, _key: AttemptKey, _name: &str) -> Result<Option<Change>, WorkspaceError> {
        Ok(None)
    }

    fn close(&self, key: AttemptKey, _how: Close) {
        self.scratch.close(key);
    }

    fn sweep(&self, run: RunId, in_use: &[AttemptKey]) {
        self.scratch.sweep(run, in_use);
    }

    fn check(&self, check: &Check) -> Verdict {
        let scratch = self.scratch.path(check.key);
        let dir = if scratch.is_dir() { scratch } else { self.root.clone() };
        match shared_dirs(&self.places, &check.setup.cache) {
            Ok(env) => verdict(self.checks.run(check.key, None, &check.commands, &env, &dir, true)),
            Err(error) => Verdict::Broken { message: error.message },
        }
    }

    fn probe(&self, _trial: &Trial) -> Result<Probed, WorkspaceError> {
        Err(no_repository())
    }

    fn change(&self, _base: Oid, _commit: Oid) -> Result<Change, WorkspaceError> {
        Err(no_repository())
    }

    fn move_ref(&self, _run: RunId, _from: Oid, _to: Oid) -> Result<(), WorkspaceError> {
        Err(no_repository())
    }

    fn merge(&self, _order: &MergeOrder) -> Result<Merged, WorkspaceError> {
        Err(no_repository())
    }
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_of_caches_that_differ_name_directories_that_differ() {
        assert_eq!(file_name("deps-1_x"), "deps-1_x");
        let names = ["a.b", "a_b", "a/b", "../b", "\u{e4}", "\u{f6}"].map(file_name);
        assert_eq!(std::collections::BTreeSet::from(names.clone()).len(), names.len(), "{names:?}");
        assert!(names.iter().all(|name| !name.contains(['/', '.'])), "{names:?}");
    }
}
