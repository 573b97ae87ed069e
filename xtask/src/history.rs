//! What an exported journal says about one run, and what must hold of it however often the run was cut off.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde_json::Value;

/// What the journal says about one run.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Attempts that were started, by task and number.
    pub(crate) started: BTreeSet<(u64, u64)>,
    /// How often attempts came to an end that is told with their number.
    ended: BTreeMap<(u64, u64), usize>,
    /// How often tasks came to a good end: landed, or completed without a change.
    pub(crate) done: BTreeMap<u64, usize>,
    /// Attempts that ended as lost.
    pub(crate) lost: usize,
    /// Attempts that ended in another process than the one that started them.
    pub(crate) adopted: usize,
    /// Tasks in the order in which they ended well.
    pub(crate) order: Vec<u64>,
    /// Tasks that were taken back, in that order.
    pub(crate) taken_back: Vec<u64>,
    /// How often the target is told to have been moved.
    pub(crate) merged: usize,
    finished: usize,
}

impl History {
    /// Reads what `kapell logs --export` prints of a store with one run; returns its id, too.
    pub(crate) fn of_export(export: &str) -> anyhow::Result<(String, Self)> {
        let lines: Vec<Value> = export.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        // The first line names the format, the last one counts.
        let rows: Vec<Value> = lines.into_iter().filter(|line| line["n"].is_u64()).collect();
        let run = rows.first().and_then(|row| row["run"].as_str()).context("no run in the journal")?;
        ensure!(rows.iter().all(|row| row["run"] == run), "more than one run in the journal");
        Ok((run.to_owned(), Self::read(&rows)?))
    }

    fn read(rows: &[Value]) -> anyhow::Result<Self> {
        let mut history = Self::default();
        let mut since_open: BTreeSet<(u64, u64)> = BTreeSet::new();
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for row in rows {
            for event in row["events"].as_array().context("a row has events")? {
                let (name, payload) =
                    event.as_object().and_then(|event| event.iter().next()).context("an event")?;
                let task = payload["task"].as_u64().unwrap_or(u64::MAX);
                let attempt = payload["attempt"].as_u64().or_else(|| last.get(&task).copied());
                let key = (task, attempt.unwrap_or(u64::MAX));
                match name.as_str() {
                    "opened" => since_open.clear(),
                    "started" => {
                        ensure!(history.started.insert(key), "attempt {} of {task} started twice", key.1);
                        last.insert(task, key.1);
                        since_open.insert(key);
                    }
                    "submitted" | "attempt_failed" | "completed" => {
                        *history.ended.entry(key).or_default() += 1;
                        let lost = payload["class"] == "lost";
                        history.lost += usize::from(lost);
                        history.adopted += usize::from(!lost && !since_open.contains(&key));
                        if name == "completed" {
                            history.ends_well(task);
                        }
                    }
                    "landed" => history.ends_well(task),
                    "compensated" => history.taken_back.push(task),
                    "merged" => history.merged += 1,
                    "finished" => history.finished += 1,
                    _ => {}
                }
            }
        }
        Ok(history)
    }

    fn ends_well(&mut self, task: u64) {
        *self.done.entry(task).or_default() += 1;
        self.order.push(task);
    }

    /// Tells whether the run came to an end.
    pub(crate) fn is_over(&self) -> bool {
        self.finished > 0
    }

    /// Looks for anything lost or done twice in a run that is over and in which every task ended well.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.check_ends()?;
        // Every attempt beyond the first follows one that was lost: nothing that ended well was dispatched again.
        let again = self.started.len() - self.done.len();
        ensure!(again == self.lost, "{again} attempts again for {} that were lost", self.lost);
        Ok(())
    }

    /// Looks for anything that came to an end twice, or to none, in a run that is over.
    pub(crate) fn check_ends(&self) -> anyhow::Result<()> {
        ensure!(self.finished == 1, "the run ended {} times", self.finished);
        for (key, times) in &self.ended {
            ensure!(*times == 1, "attempt {key:?} ended {times} times");
        }
        for key in &self.started {
            ensure!(self.ended.contains_key(key), "attempt {key:?} has no end");
        }
        for (task, times) in &self.done {
            ensure!(*times == 1, "task {task} was done {times} times");
        }
        Ok(())
    }
}
