//! What a commit holds under some paths, and whether a change is still there.

use kapell_core::id::{Digest, Oid};

use super::{
    error::Result,
    own_repo::{OwnRepo, parse_oid},
    protect::pathspecs,
};

/// A change of more files than this is not looked for: their names would not fit into a command line.
const FILES_MAX: usize = 2_000;

impl OwnRepo {
    /// Returns a digest of the files of `commit` that match `patterns`: their names, modes and contents. The patterns are
    /// those of [`OwnRepo::protect`].
    ///
    /// # Errors
    ///
    /// Returns why git cannot read the commit.
    pub fn content_of(&self, commit: Oid, patterns: &[String]) -> Result<Digest> {
        let pathspecs: Vec<String> = patterns.iter().flat_map(|pattern| pathspecs(pattern)).collect();
        if pathspecs.is_empty() {
            return Ok(Digest::of(b""));
        }
        // Of a tree, `ls-tree` takes no patterns; what is more than in an empty one is all of it.
        let nothing = parse_oid(&self.call("mktree").input(Vec::new()).run()?)?;
        let call = self.call("diff-tree").args(["-r", "-z", "--raw", "--no-renames", "--no-abbrev"]);
        let call = call.args([nothing.to_string(), self.tree_of(commit)?.to_string()]).arg("--");
        Ok(Digest::of(&call.args(pathspecs).run()?))
    }

    /// Tells whether the change from one commit to another is in `base` as it was when it landed with `landed`: that is part
    /// of `base`, and each file of the change, whatever number of commits it has, is the same in both.
    ///
    /// # Errors
    ///
    /// Returns why git cannot compare the commits.
    pub fn stands_in(&self, (from, to): (Oid, Oid), landed: Oid, base: Oid) -> Result<bool> {
        if !self.is_ancestor(landed, base)? {
            return Ok(false);
        }
        let call = self.call("diff-tree").args(["-r", "-z", "--name-only", "--no-renames"]);
        let changed = call.args([from.to_string(), to.to_string()]).run()?;
        let names = changed.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        let names: Vec<String> =
            names.map(|name| format!(":(top,literal){}", String::from_utf8_lossy(name))).collect();
        if names.is_empty() || names.len() > FILES_MAX {
            return Ok(names.is_empty());
        }
        let call = self.call("diff-tree").args(["-r", "-z", "--name-only", "--no-renames"]);
        let differs = call.args([landed.to_string(), base.to_string()]).arg("--").args(names).run()?;
        Ok(differs.is_empty() && !String::from_utf8_lossy(&changed).contains('\u{fffd}'))
    }
}
