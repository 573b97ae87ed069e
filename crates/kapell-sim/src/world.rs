//! What lies outside kapell and survives it: processes with the records of their ends, git, and people.

use std::collections::{HashMap, HashSet};

use kapell_core::{
    command::Exit,
    id::{AttemptNo, Oid, TaskId},
    landing::{Probe, Probed},
    task::Change,
};

use crate::{dice::Dice, scenario::oid};

/// What the checks of a task would say about a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    Pass,
    Fail,
    Doubt,
}

/// The process of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) attempt: AttemptNo,
    pub(crate) exit: Exit,
    pub(crate) check: Check,
    pub(crate) alive: bool,
    /// Whether a record of its end is on the disk.
    pub(crate) recorded: bool,
}

/// A change that an attempt made.
#[derive(Debug, Clone, Copy)]
struct Made {
    task: TaskId,
    bad: bool,
    /// Red together with one of the other side.
    clash: Option<bool>,
    /// Cannot be merged with one of the other side.
    conflict: Option<bool>,
}

/// The repository.
pub(crate) struct Git {
    known: HashMap<Oid, usize>,
    /// The changes in each commit, in the order in which they came in.
    trees: Vec<Vec<u32>>,
    merges: HashMap<(usize, usize), usize>,
    made: Vec<Made>,
    /// By commit: the change that it adds.
    adds: HashMap<usize, u32>,
    pub(crate) head: Oid,
    pub(crate) target: Oid,
    pub(crate) green: HashSet<Oid>,
    /// Tasks whose compensations took their changes out again.
    pub(crate) reverted: HashSet<TaskId>,
    pub(crate) base_is_red: bool,
    /// Somebody mends it in the end; what was red till then has been blamed on no one.
    pub(crate) base_was_red: bool,
}

impl Git {
    pub(crate) fn new(base_is_red: bool) -> Self {
        let base = oid(1);
        Self {
            known: [(base, 0)].into(),
            trees: vec![Vec::new()],
            merges: HashMap::new(),
            made: Vec::new(),
            adds: HashMap::new(),
            head: base,
            target: base,
            green: HashSet::new(),
            reverted: HashSet::new(),
            base_is_red,
            base_was_red: base_is_red,
        }
    }

    fn commit(&mut self, tree: Vec<u32>) -> (usize, Oid) {
        let at = self.trees.len();
        self.trees.push(tree);
        let id = oid(at as u64 + 1);
        self.known.insert(id, at);
        (at, id)
    }

    /// An attempt changes something on top of the integration ref.
    pub(crate) fn change(
        &mut self,
        task: TaskId,
        bad: bool,
        clash: Option<bool>,
        conflict: Option<bool>,
    ) -> Change {
        let number = u32::try_from(self.made.len()).unwrap_or(u32::MAX);
        self.made.push(Made { task, bad, clash, conflict });
        let mut tree = self.trees[self.known[&self.head]].clone();
        tree.push(number);
        let (at, commit) = self.commit(tree);
        self.adds.insert(at, number);
        Change { commit, tree: commit, base: self.head }
    }

    /// A compensation takes what `task` changed out again, on top of the integration ref; nothing if it is not there.
    pub(crate) fn revert(&mut self, task: TaskId) -> Option<Change> {
        let mut tree = self.trees[self.known[&self.head]].clone();
        let before = tree.len();
        tree.retain(|change| self.made[*change as usize].task != task);
        if tree.len() == before {
            return None;
        }
        let (_, commit) = self.commit(tree);
        self.reverted.insert(task);
        Some(Change { commit, tree: commit, base: self.head })
    }

    /// Returns the tasks whose changes are in a commit.
    pub(crate) fn tasks_in(&self, commit: Oid) -> Vec<TaskId> {
        self.known.get(&commit).map_or_else(Vec::new, |at| {
            self.trees[*at].iter().map(|change| self.made[*change as usize].task).collect()
        })
    }

    pub(crate) fn is_red(&self, commit: Oid) -> bool {
        self.known.get(&commit).is_none_or(|at| self.tree_is_red(&self.trees[*at]))
    }

    fn tree_is_red(&self, tree: &[u32]) -> bool {
        let made = || tree.iter().map(|change| &self.made[*change as usize]);
        let side = |wanted| made().any(|change| change.clash == Some(wanted));
        self.base_is_red || made().any(|change| change.bad) || (side(true) && side(false))
    }

    /// Tells whether blaming the change of `task` alone is just.
    pub(crate) fn is_culprit(&self, commit: Oid) -> bool {
        let change = self.known.get(&commit).and_then(|at| self.adds.get(at));
        change.is_none_or(|change| {
            let made = &self.made[*change as usize];
            made.bad || made.clash.is_some()
        })
    }

    /// Tells whether two changes are red or in conflict together.
    pub(crate) fn clash(&self, one: Oid, other: Oid) -> bool {
        let made = |commit| {
            let change = self.known.get(&commit).and_then(|at| self.adds.get(at))?;
            Some(self.made[*change as usize])
        };
        let (Some(one), Some(other)) = (made(one), made(other)) else { return false };
        let opposite = |a: Option<bool>, b: Option<bool>| a.is_some() && a == b.map(|side| !side);
        opposite(one.clash, other.clash) || opposite(one.conflict, other.conflict)
    }

    /// Tells whether the change can be in conflict with another.
    pub(crate) fn has_conflicts(&self, commit: Oid) -> bool {
        let change = self.known.get(&commit).and_then(|at| self.adds.get(at));
        change.is_none_or(|change| {
            let made = &self.made[*change as usize];
            made.conflict.is_some() || made.clash.is_some()
        })
    }

    /// Merges and checks.
    pub(crate) fn probe(&mut self, probe: &Probe, flaky: u32, dice: &mut Dice) -> Probed {
        let mut at = self.known[&probe.base];
        let mut tips = Vec::with_capacity(probe.entries.len());
        for (index, entry) in probe.entries.iter().enumerate() {
            let from = self.known[&entry.commit];
            at = match self.merges.get(&(at, from)) {
                Some(known) => *known,
                None => {
                    let change = self.adds[&from];
                    let conflict = self.made[change as usize].conflict;
                    let clashes = |other: &u32| {
                        conflict.is_some()
                            && self.made[*other as usize].conflict == conflict.map(|side| !side)
                    };
                    if self.trees[at].iter().any(clashes) {
                        return Probed::Conflict { index, paths: vec!["shared".to_owned()] };
                    }
                    let mut tree = self.trees[at].clone();
                    tree.push(change);
                    let (merged, _) = self.commit(tree);
                    self.merges.insert((at, from), merged);
                    merged
                }
            };
            tips.push(oid(at as u64 + 1));
        }
        if self.tree_is_red(&self.trees[at]) || dice.chance(flaky) {
            return Probed::Red { tips, message: "red".to_owned() };
        }
        self.green.insert(oid(at as u64 + 1));
        Probed::Green { tips }
    }
}
