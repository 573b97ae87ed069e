//! Acceptance commands: run by the engine, on a tree, each at most once for a tree and an environment.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kapell_core::id::Oid;
use kapell_engine::port::{agents::AttemptKey, workspaces::CheckCommand};

use super::agents::CrewAgents;
use crate::drivers::Ending;

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
}

impl Checks {
    pub(super) fn new(agents: Arc<CrewAgents>) -> Self {
        Self { agents, verdicts: Mutex::default() }
    }

    /// Returns the verdict of all commands on `tree`, if it is known without running any.
    pub(super) fn known(&self, tree: Oid, commands: &[CheckCommand]) -> Option<Checked> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        for command in commands {
            match verdicts.get(&(tree, command.text.clone(), command.env.clone()))? {
                Checked::Passed => {}
                other => return Some(other.clone()),
            }
        }
        Some(Checked::Passed)
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
            let known = verdict_key.as_ref().filter(|_| !repeat).and_then(|key| {
                self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
            });
            let checked = known.unwrap_or_else(|| self.run_one(key, command, extra, dir));
            if let Some(verdict_key) = verdict_key
                && !matches!(checked, Checked::Broken(_))
            {
                let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
                verdicts.insert(verdict_key, checked.clone());
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
        match exit.ending {
            Ending::Succeeded => Checked::Passed,
            Ending::Failed(_) => Checked::Failed(format!("`{}`: {}", command.text, exit.message)),
            Ending::Stopped => Checked::Broken(format!("`{}` was stopped", command.text)),
        }
    }
}
