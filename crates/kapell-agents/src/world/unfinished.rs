//! What an attempt left unfinished, for the workspace of the next one.

use kapell_core::id::{AttemptNo, Oid};
use kapell_engine::port::agents::{AttemptKey, EarlierWork};

use super::repository::{Repository, owner};
use crate::{
    git::{self, Entry, salvage_ref},
    supervise::OUTPUT_FILE,
};

/// The most of a list of changed files that is told, in bytes.
const STAT_BYTES_MAX: usize = 8 << 10;

impl Repository {
    /// Returns what the attempt before `key` left, and the files at `base` with it, if it fits there.
    ///
    /// What cannot be read is as if it was not there: it stays kept, and the attempt begins anew.
    pub(super) fn unfinished(&self, key: AttemptKey, base: Oid) -> Option<(EarlierWork, Option<Oid>)> {
        let commit = self.left_by_last(key)?;
        let stat = self.stat(base, commit).ok()?;
        let by = self.signature(key.run);
        let entry =
            Entry { commit, message: "kapell: unfinished work, on what has landed since\n".to_owned() };
        let joined = self.own_repo().chain(base, &[entry], &by).ok()?;
        let tree = joined.prefixes.first().and_then(|tip| self.own_repo().tree_of(*tip).ok());
        Some((EarlierWork { commit: commit.to_string(), is_restored: tree.is_some(), stat }, tree))
    }

    /// Finds what the last attempt left that worked at all.
    fn left_by_last(&self, key: AttemptKey) -> Option<Oid> {
        for number in (1..key.attempt.0).rev() {
            let earlier = AttemptKey { attempt: AttemptNo(number), ..key };
            // It may still be on its way to being kept.
            self.salvage_now(earlier);
            let name = salvage_ref(key.run, key.task, owner(earlier).attempt);
            if let Some(commit) = self.own_repo().find_ref(&name).ok()? {
                return Some(commit);
            }
            if self.places().attempt(earlier).join(OUTPUT_FILE).exists() {
                return None;
            }
        }
        None
    }

    fn stat(&self, base: Oid, commit: Oid) -> Result<String, git::Error> {
        let since = self.own_repo().call("merge-base").args([base.to_string(), commit.to_string()]).run()?;
        let since = String::from_utf8_lossy(&since).trim().to_owned();
        let call =
            self.own_repo().call("diff-tree").args(["-r", "--stat=100", "--no-color", "--no-ext-diff"]);
        let out = call
            .args(["--no-textconv", "--ignore-submodules=none"])
            .args([since, commit.to_string()])
            .run()?;
        let text = String::from_utf8_lossy(&out);
        let cut = (0..=text.len().min(STAT_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at));
        Ok(text[..cut.unwrap_or(0)].to_owned())
    }
}
