//! The merge queue: which changes are tried together, and whom a red result is blamed on.
//!
//! All submitted changes are probed as one batch. A green batch lands. On a red one the shortest failing prefix in
//! queue order is searched by bisection; every prefix found green lands at once, and the change at its end is
//! sent back. If that change is green alone, a second search names the one it clashes with. A red result is
//! repeated once on the same tree before anyone is blamed; if the two disagree the check is flaky, and counts as
//! green.
//!
//! Runs of the checks for one culprit among `n` changes, besides that of the batch: at most `ceil(log2 n)` to find
//! it and one to confirm; for a clash as many again to find the partner. Once in a run the origin itself is checked,
//! before the first change is blamed: where that is red, nobody can be.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::id::{Oid, ProbeId, TaskId};

/// A change that waits to land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The task that made it.
    pub task: TaskId,
    /// Its commit.
    pub commit: Oid,
}

/// A question to the world: merge these changes onto `base` in this order and run the checks on the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Its number.
    pub id: ProbeId,
    /// The commit to start from.
    pub base: Oid,
    /// The changes. Without any, the checks run on `base` itself.
    pub entries: Vec<Entry>,
    /// Whether the checks must run even if their verdict on this tree is known.
    pub repeat: bool,
}

/// What became of a [`Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probed {
    /// The checks passed.
    Green {
        /// The commit after each of the entries, in order.
        tips: Vec<Oid>,
    },
    /// A check failed.
    Red {
        /// The commit after each of the entries, in order.
        tips: Vec<Oid>,
        /// The end of what the check said.
        message: String,
    },
    /// An entry cannot be merged with those before it.
    Conflict {
        /// Its index among the entries.
        index: usize,
        /// The paths that clash.
        paths: Vec<String>,
    },
}

/// Whom a red result is blamed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The change fails alone.
    Alone,
    /// The change fails only together with another, which has landed before it.
    With(TaskId),
    /// The change cannot be merged with what has landed.
    Conflict(Vec<String>),
}

/// What the merge queue wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Nothing: it is empty, or waits for an answer.
    Nothing,
    /// Ask the world.
    Ask(Probe),
    /// Move the integration ref: these tasks are in it then, each with its merge commit.
    Land {
        /// Where the ref is.
        from: Oid,
        /// The tasks and the commits after each; the ref moves to the last.
        tips: Vec<(TaskId, Oid)>,
    },
    /// Give a change back to its task.
    SendBack {
        /// The task.
        task: TaskId,
        /// Why.
        blame: Blame,
        /// What the check said.
        message: String,
    },
    /// The checks fail on the base itself, so nobody can be blamed.
    BaseIsRed {
        /// What the check said.
        message: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// The whole batch is tried.
    Batch,
    /// The prefix of `lo` is green, that of `hi` is red; the one between is tried.
    Bisect { lo: usize, hi: usize },
    /// The entry at the end of the red prefix of `hi` is tried alone on the origin.
    Alone { hi: usize },
    /// The origin is tried without any change.
    Origin { hi: usize },
    /// The red prefix is tried once more.
    Repeat { hi: usize },
    /// With the first `lo` of all before it the culprit is green, with `hi` red; the number between is tried.
    Partner { culprit: usize, lo: usize, hi: usize },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Search {
    base: Oid,
    entries: Vec<Entry>,
    /// How many changes had landed when it began.
    past: usize,
    /// The commit after each entry, as far as known.
    tips: Vec<Oid>,
    stage: Stage,
    /// How many entries are known green together.
    green: usize,
    /// How many of them have landed.
    landed: usize,
    /// The probe that is out.
    asked: Option<ProbeId>,
    message: String,
    /// Whether the culprit failed alone.
    alone_is_red: bool,
    verdict: Option<(usize, Blame)>,
    base_is_red: bool,
}

/// The merge queue of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landing {
    /// Where the integration ref began.
    origin: Oid,
    origin_is_green: Option<bool>,
    head: Oid,
    /// What has landed, in order.
    history: Vec<Entry>,
    queue: VecDeque<Entry>,
    search: Option<Search>,
    probes: u32,
    flaky: u32,
    /// Whether verdicts of before may not be used again, since what they hung on may have been mended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    afresh: bool,
    /// Whether something that had landed was taken back since: no check has seen the head then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unchecked: bool,
}

/// The most changes that are tried at once. Bounds the time that one red result costs.
pub const BATCH_MAX: usize = 64;

impl Landing {
    /// Makes an empty queue for an integration ref at `head`.
    #[must_use]
    pub fn new(head: Oid) -> Self {
        Self {
            origin: head,
            origin_is_green: None,
            head,
            history: Vec::new(),
            queue: VecDeque::new(),
            search: None,
            probes: 0,
            flaky: 0,
            afresh: false,
            unchecked: false,
        }
    }

    /// Returns where the integration ref is.
    #[must_use]
    pub fn head(&self) -> Oid {
        self.head
    }

    /// Tells whether something that had landed was taken back, so that no check has seen what the head is now.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        self.unchecked
    }

    /// Returns how often a check disagreed with itself on one tree.
    #[must_use]
    pub fn flaky(&self) -> u32 {
        self.flaky
    }

    /// Returns the changes that have not landed, those being tried first.
    pub fn pending(&self) -> impl Iterator<Item = Entry> + '_ {
        let tried = self.search.iter().flat_map(|search| &search.entries[search.landed..]);
        tried.chain(&self.queue).copied()
    }

    /// Tells whether nothing waits to land.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.search.is_none() && self.queue.is_empty()
    }

    /// Returns the probe that is out, if one is.
    #[must_use]
    pub fn asked(&self) -> Option<Probe> {
        let search = self.search.as_ref()?;
        Some(self.probe(search, search.asked?))
    }

    /// Says what to do next. Nothing changes until the answer is recorded.
    #[must_use]
    pub fn wish(&self) -> Wish {
        let Some(search) = &self.search else {
            if self.queue.is_empty() {
                return Wish::Nothing;
            }
            let entries = self.queue.iter().take(BATCH_MAX).copied().collect();
            let repeat = self.afresh;
            return Wish::Ask(Probe { id: ProbeId(self.probes), base: self.head, entries, repeat });
        };
        if search.green > search.landed {
            let tips = (search.landed..search.green).map(|at| (search.entries[at].task, search.tips[at]));
            return Wish::Land { from: self.head, tips: tips.collect() };
        }
        if search.base_is_red {
            return Wish::BaseIsRed { message: search.message.clone() };
        }
        if let Some((culprit, blame)) = &search.verdict {
            let task = search.entries[*culprit].task;
            return Wish::SendBack { task, blame: blame.clone(), message: search.message.clone() };
        }
        if search.asked.is_some() {
            return Wish::Nothing;
        }
        Wish::Ask(self.probe(search, ProbeId(self.probes)))
    }

    /// Tells whether `outcome` answers the probe that is out: it must be about as many changes as were asked about.
    #[must_use]
    pub fn takes(&self, id: ProbeId, outcome: &Probed) -> bool {
        #[cfg(kapell_planted)]
        let id = if crate::planted::is("older_probe_answers") {
            self.search.as_ref().and_then(|search| search.asked).unwrap_or(id)
        } else {
            id
        };
        let Some(asked) = self.asked().filter(|asked| asked.id == id) else { return false };
        match outcome {
            Probed::Green { tips } | Probed::Red { tips, .. } => tips.len() == asked.entries.len(),
            Probed::Conflict { index, .. } => *index < asked.entries.len(),
        }
    }

    /// Tells whether the change of `task` is the next to land, and with it the ref at `tip`.
    pub(crate) fn is_next(&self, task: TaskId, tip: Oid) -> bool {
        self.search.as_ref().is_some_and(|search| {
            let at = search.landed;
            at < search.green && search.entries[at].task == task && search.tips[at] == tip
        })
    }

    /// Tells whether changes are green together that have not landed.
    pub(crate) fn is_landing(&self) -> bool {
        self.search.as_ref().is_some_and(|search| search.landed < search.green)
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.queue.push_back(entry);
    }

    /// Takes a change out again, as when its task is cancelled. A search that it is part of starts over.
    pub(crate) fn withdraw(&mut self, task: TaskId) {
        self.queue.retain(|entry| entry.task != task);
        if self.is_tried(task) {
            self.end_search(task);
        }
    }

    /// Tells whether a change of `task` is part of what is tried now.
    pub(crate) fn is_tried(&self, task: TaskId) -> bool {
        let is_in = |search: &Search| search.entries[search.landed..].iter().any(|entry| entry.task == task);
        self.search.as_ref().is_some_and(is_in)
    }

    /// Tells whether a probe is out.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.search.as_ref().is_some_and(|search| search.asked.is_some())
    }

    /// Takes back the probe that is out.
    pub(crate) fn unask(&mut self) {
        if let Some(search) = &mut self.search {
            search.asked = None;
        }
    }

    /// Tries everything again, the origin too, as if nothing were known, until something is green.
    pub(crate) fn start_over(&mut self) {
        self.origin_is_green = None;
        self.afresh = true;
        if let Some(search) = self.search.take() {
            for entry in search.entries[search.landed..].iter().rev() {
                self.queue.push_front(*entry);
            }
        }
    }

    pub(crate) fn ask(&mut self, probe: &Probe) {
        self.probes = probe.id.0 + 1;
        let search = self.search.get_or_insert_with(|| {
            self.queue.drain(..probe.entries.len().min(self.queue.len()));
            Search {
                base: probe.base,
                entries: probe.entries.clone(),
                past: self.history.len(),
                tips: Vec::new(),
                stage: Stage::Batch,
                green: 0,
                landed: 0,
                asked: None,
                message: String::new(),
                alone_is_red: false,
                verdict: None,
                base_is_red: false,
            }
        });
        search.asked = Some(probe.id);
    }

    /// Records the answer to the probe that is out. An answer to another is ignored.
    pub(crate) fn answer(&mut self, id: ProbeId, probed: &Probed) {
        #[cfg(kapell_planted)]
        let id = if crate::planted::is("older_probe_answers") {
            self.search.as_ref().and_then(|search| search.asked).unwrap_or(id)
        } else {
            id
        };
        let Some(search) = self.search.as_mut().filter(|search| search.asked == Some(id)) else { return };
        search.asked = None;
        match probed {
            Probed::Conflict { index, paths } => self.conflict(*index, paths),
            Probed::Green { tips } => {
                self.afresh = false;
                self.advance(true, tips);
            }
            Probed::Red { tips, message } => {
                search.message.clone_from(message);
                self.advance(false, tips);
            }
        }
    }

    pub(crate) fn landed(&mut self, task: TaskId, tip: Oid) {
        self.head = tip;
        let Some(search) = &mut self.search else { return };
        if let Some(entry) = search.entries.get(search.landed).filter(|entry| entry.task == task) {
            self.history.push(*entry);
            search.landed += 1;
        }
        if search.landed == search.entries.len() {
            self.search = None;
        }
    }

    /// The head has moved on to a commit without something that had landed. It is none of the queue's: a task is taken
    /// back where the head is, and nothing else lands meanwhile.
    pub(crate) fn taken_back(&mut self, tip: Oid) {
        self.head = tip;
        self.unchecked = true;
    }

    pub(crate) fn sent_back(&mut self, task: TaskId) {
        self.end_search(task);
    }

    /// Ends the search; those of its entries that have not landed go to the front of the queue, but for `task`.
    fn end_search(&mut self, task: TaskId) {
        let Some(search) = self.search.take() else { return };
        for entry in search.entries[search.landed..].iter().rev().filter(|entry| entry.task != task) {
            self.queue.push_front(*entry);
        }
    }

    /// All changes in the red prefix of `hi` before its last, from the origin on.
    fn before<'a>(&'a self, search: &'a Search, hi: usize) -> impl Iterator<Item = &'a Entry> {
        self.history[..search.past].iter().chain(&search.entries[..hi - 1])
    }

    fn probe(&self, search: &Search, id: ProbeId) -> Probe {
        let with = |before: usize, culprit: usize| {
            let mut entries: Vec<_> = self.before(search, culprit + 1).take(before).copied().collect();
            entries.push(search.entries[culprit]);
            (self.origin, entries)
        };
        let (base, entries) = match search.stage {
            Stage::Batch => (search.base, search.entries.clone()),
            Stage::Bisect { lo, hi } => (search.base, search.entries[..lo.midpoint(hi)].to_vec()),
            Stage::Repeat { hi } => (search.base, search.entries[..hi].to_vec()),
            Stage::Alone { hi } => with(0, hi - 1),
            Stage::Partner { culprit, lo, hi } => with(lo.midpoint(hi), culprit),
            Stage::Origin { .. } => (self.origin, Vec::new()),
        };
        let repeat = self.afresh || matches!(search.stage, Stage::Repeat { .. });
        Probe { id, base, entries, repeat }
    }

    /// A conflict with an entry before it sends the later one back to the queue, to be tried on the new tip; a conflict
    /// with the head is its own.
    fn conflict(&mut self, index: usize, paths: &[String]) {
        let Some(search) = &mut self.search else { return };
        match search.stage {
            Stage::Batch if index > 0 => {
                // The rest of the batch is tried without it.
                let entry = search.entries.remove(index);
                self.queue.push_front(entry);
            }
            Stage::Batch | Stage::Bisect { .. } | Stage::Repeat { .. } => {
                // What has landed has been merged before: if that no longer goes, what comes after it waits for it.
                let index = index.max(search.landed);
                search.verdict = Some((index, Blame::Conflict(paths.to_vec())));
            }
            // Without what landed before it the culprit does not even merge: it belongs to the last of that.
            Stage::Alone { hi } | Stage::Origin { hi } => self.blame_last_before(hi),
            Stage::Partner { culprit, .. } => self.blame_last_before(culprit + 1),
        }
    }

    fn blame_last_before(&mut self, hi: usize) {
        let Some(search) = &self.search else { return };
        let blame = self.before(search, hi).last().map_or(Blame::Alone, |entry| Blame::With(entry.task));
        self.blame(hi - 1, blame);
    }

    fn blame(&mut self, culprit: usize, blame: Blame) {
        #[cfg(kapell_planted)]
        let culprit = match &self.search {
            Some(search) if crate::planted::is("wrong_change_blamed") => {
                (culprit + 1).min(search.entries.len() - 1)
            }
            _ => culprit,
        };
        if let Some(search) = &mut self.search {
            search.verdict = Some((culprit, blame));
        }
    }

    fn go_on(&mut self, stage: Stage) {
        if let Some(search) = &mut self.search {
            search.stage = stage;
        }
    }

    /// Takes the result of the present stage.
    fn advance(&mut self, green: bool, tips: &[Oid]) {
        let Some(search) = &mut self.search else { return };
        if let Stage::Batch | Stage::Bisect { .. } = search.stage {
            let known = search.tips.len();
            search.tips.extend(tips.iter().skip(known));
        }
        match (search.stage, green) {
            (Stage::Batch, true) => search.green = search.entries.len(),
            #[cfg(kapell_planted)]
            (Stage::Batch, false) if crate::planted::is("untested_tree_lands") => {
                search.green = search.entries.len().div_ceil(2);
            }
            (Stage::Batch, false) => self.narrow(0, None),
            (Stage::Bisect { lo, hi }, true) => {
                search.green = lo.midpoint(hi);
                self.narrow(lo.midpoint(hi), Some(hi));
            }
            (Stage::Bisect { lo, hi }, false) => self.narrow(lo, Some(lo.midpoint(hi))),
            (Stage::Alone { hi }, red_or_green) => {
                search.alone_is_red = !red_or_green;
                match (red_or_green, self.origin_is_green) {
                    (false, Some(true)) => self.blame(hi - 1, Blame::Alone),
                    (false, None) => self.go_on(Stage::Origin { hi }),
                    _ => self.go_on(Stage::Repeat { hi }),
                }
            }
            (Stage::Origin { hi }, green) => {
                self.origin_is_green = Some(green);
                let nothing_landed = search.past == 0 && hi == 1;
                match (green, nothing_landed) {
                    (true, _) => self.blame(hi - 1, Blame::Alone),
                    (false, true) => search.base_is_red = true,
                    (false, false) => self.go_on(Stage::Repeat { hi }),
                }
            }
            (Stage::Repeat { hi }, true) => self.was_flaky(hi),
            (Stage::Repeat { hi }, false) => self.confirmed(hi),
            (Stage::Partner { culprit, lo, hi }, true) => self.partner(culprit, lo.midpoint(hi), hi),
            (Stage::Partner { culprit, lo, hi }, false) => self.partner(culprit, lo, lo.midpoint(hi)),
        }
    }

    /// Goes on between a green prefix of `lo` and a red one of `hi`, which is the whole batch if not given.
    fn narrow(&mut self, lo: usize, hi: Option<usize>) {
        let Some(search) = &self.search else { return };
        let hi = hi.unwrap_or(search.entries.len());
        self.go_on(match hi - lo {
            0 | 1 if search.past == 0 && hi == 1 => Stage::Repeat { hi },
            0 | 1 => Stage::Alone { hi },
            _ => Stage::Bisect { lo, hi },
        });
    }

    /// The prefix of `hi` was red twice.
    fn confirmed(&mut self, hi: usize) {
        let Some(search) = &self.search else { return };
        let before = self.before(search, hi).count();
        match (before, self.origin_is_green) {
            (0, None) => self.go_on(Stage::Origin { hi }),
            (0, _) => self.blame(hi - 1, Blame::Alone),
            _ if search.alone_is_red => self.blame(hi - 1, Blame::Alone),
            (before, _) => self.partner(hi - 1, 0, before),
        }
    }

    fn partner(&mut self, culprit: usize, lo: usize, hi: usize) {
        if hi - lo > 1 {
            return self.go_on(Stage::Partner { culprit, lo, hi });
        }
        let Some(search) = &self.search else { return };
        #[cfg(kapell_planted)]
        let hi = if crate::planted::is("wrong_partner_named") { 1 } else { hi };
        let partner = self.before(search, culprit + 1).nth(hi - 1).map(|entry| entry.task);
        self.blame(culprit, partner.map_or(Blame::Alone, Blame::With));
    }

    /// The prefix of `len` was red once and green once: it lands, and the rest is tried as a batch of its own.
    fn was_flaky(&mut self, len: usize) {
        self.flaky += 1;
        let Some(search) = &mut self.search else { return };
        search.green = len;
        if len < search.entries.len() {
            self.narrow(len, None);
        }
    }
}

#[cfg(test)]
mod tests;
