//! Acceptance commands: run by the engine, on a tree, each at most once for a tree and an environment.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use kapell_core::id::Oid;
use kapell_engine::port::{agents::AttemptKey, workspaces::CheckCommand};

use super::agents::CrewAgents;
use crate::{
    drivers::{Ending, Exit},
    lock::lock,
    supervise::Cause,
};

/// The longest that a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(4 * 3600);

/// What checks came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Checked {
    Passed,
    /// One failed: which, and what it said last.
    Failed(String),
    /// One could not be run.
    Broken(String),
}

type VerdictKey = (Oid, String, Vec<(String, String)>);

/// Runs checks, and remembers what they came to.
pub(super) struct Checks {
    agents: Arc<CrewAgents>,
    verdicts: Mutex<HashMap<VerdictKey, Checked>>,
    /// The trees that are being checked.
    busy: (Mutex<HashSet<Oid>>, Condvar),
}

/// A tree that nobody else checks meanwhile, so that no command runs twice on it.
pub(super) struct Turn<'a> {
    checks: &'a Checks,
    tree: Oid,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.checks.busy.0).remove(&self.tree);
        self.checks.busy.1.notify_all();
    }
}

/// Reads the verdict of a command from its end. That it could not run, or was ended from outside, says nothing about
/// what it was to check.
pub(super) fn read_exit(text: &str, exit: &Exit) -> Checked {
    let ran = exit.record.as_ref().is_some_and(|r| matches!(r.cause, Cause::Itself | Cause::TimedOut));
    match exit.ending {
        Ending::Succeeded => Checked::Passed,
        Ending::Failed(_) if ran => Checked::Failed(format!("`{text}`: {}", exit.message)),
        Ending::Failed(_) => Checked::Broken(format!("`{text}`: {}", exit.message)),
        Ending::Stopped => Checked::Broken(format!("`{text}` was stopped")),
    }
}

impl Checks {
    pub(super) fn new(agents: Arc<CrewAgents>) -> Self {
        Self { agents, verdicts: Mutex::default(), busy: Default::default() }
    }

    /// Waits until nobody else checks `tree`.
    pub(super) fn turn(&self, tree: Oid) -> Turn<'_> {
        let mut busy = lock(&self.busy.0);
        while !busy.insert(tree) {
            busy = self.busy.1.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { checks: self, tree }
    }

    /// Returns the verdict of all commands on `tree`, if it is known without running any.
    pub(super) fn known(&self, tree: Oid, commands: &[CheckCommand]) -> Option<Checked> {
        let verdicts = lock(&self.verdicts);
        for command in commands {
            match verdicts.get(&(tree, command.text.clone(), command.env.clone()))? {
                Checked::Passed => {}
                other => return Some(other.clone()),
            }
        }
        Some(Checked::Passed)
    }

    /// Takes in that the commands have passed on `tree`.
    pub(super) fn learn(&self, tree: Oid, commands: &[CheckCommand]) {
        let mut verdicts = lock(&self.verdicts);
        for command in commands {
            // What this process found out itself is as good.
            verdicts.entry((tree, command.text.clone(), command.env.clone())).or_insert(Checked::Passed);
        }
    }

    /// Runs the commands in `dir`, which holds `tree`, until one fails.
    pub(super) fn run(
        &self,
        key: AttemptKey,
        tree: Option<Oid>,
        commands: &[CheckCommand],
        extra: &BTreeMap<String, String>,
        dir: &Path,
        repeat: bool,
    ) -> Checked {
        for command in commands {
            let verdict_key = tree.map(|tree| (tree, command.text.clone(), command.env.clone()));
            let known = verdict_key
                .as_ref()
                .filter(|_| !repeat)
                .and_then(|key| lock(&self.verdicts).get(key).cloned());
            let checked = known.unwrap_or_else(|| self.run_one(key, command, extra, dir));
            if let Some(verdict_key) = verdict_key
                && !matches!(checked, Checked::Broken(_))
            {
                lock(&self.verdicts).insert(verdict_key, checked.clone());
            }
            if checked != Checked::Passed {
                return checked;
            }
        }
        Checked::Passed
    }

    fn run_one(
        &self,
        key: AttemptKey,
        command: &CheckCommand,
        extra: &BTreeMap<String, String>,
        dir: &Path,
    ) -> Checked {
        let mut env = command.env.clone();
        env.extend(extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        let exit = self.agents.run_check(key, &command.text, &env, dir, CHECK_TIMEOUT);
        read_exit(&command.text, &exit)
    }
}
