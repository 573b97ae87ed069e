//! The mechanics of landing: joining commits one after the other on top of a head.

use std::{fs, path::PathBuf};

use kapell_core::id::Oid;

use super::{
    error::{Error, ErrorKind, Result, at, printable},
    index::PrivateIndex,
    own_repo::{OwnRepo, Signature, parse_oid},
    process::Ended,
};

/// The first version that reads attributes from a commit (`GIT_ATTR_SOURCE`).
const ATTR_SOURCE: (u32, u32) = (2, 41);

/// One branch to be joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its tip.
    pub commit: Oid,
    /// The message of the merge commit, should one be needed.
    pub message: String,
}

/// Where a chain stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The index of the entry that cannot be joined.
    pub index: usize,
    /// The paths that clash, as git names them.
    pub paths: Vec<Vec<u8>>,
}

/// Commits joined one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// For each entry that could be joined, the commit that holds it and all before it.
    pub prefixes: Vec<Oid>,
    /// The first entry that could not be joined; those after it were not tried.
    pub conflict: Option<Conflict>,
}

/// What joining two commits gives.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Joined {
    Commit(Oid),
    Conflict(Vec<Vec<u8>>),
}

impl OwnRepo {
    /// Joins `entries` on top of `head`, in order, until one does not fit.
    ///
    /// Each entry stays an ancestor of what holds it: by fast-forward where it descends from what
    /// is there already, else by a merge commit. Nothing is squashed, and no ref moves. The same
    /// arguments give the same commits.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::MissingObject`] if a commit is not there, or why git cannot write.
    pub fn chain(&self, head: Oid, entries: &[Entry], by: &Signature) -> Result<Chain> {
        let mut chain = Chain { prefixes: Vec::with_capacity(entries.len()), conflict: None };
        let mut tip = head;
        for (index, entry) in entries.iter().enumerate() {
            match self.join(tip, entry, by)? {
                Joined::Commit(commit) => {
                    self.note_ancestor(entry.commit, commit);
                    self.note_ancestor(tip, commit);
                    tip = commit;
                    chain.prefixes.push(commit);
                }
                Joined::Conflict(paths) => {
                    chain.conflict = Some(Conflict { index, paths });
                    break;
                }
            }
        }
        Ok(chain)
    }

    fn join(&self, tip: Oid, entry: &Entry, by: &Signature) -> Result<Joined> {
        if self.is_ancestor(tip, entry.commit)? {
            return Ok(Joined::Commit(entry.commit));
        }
        let ended = self.merge_tree(tip, entry.commit)?;
        let clean = ended.ok();
        let mut fields = ended.stdout.split(|&byte| byte == 0);
        let first = fields.next().unwrap_or_default();
        let tree = match parse_oid(first) {
            Ok(tree) => tree,
            // Histories without a common commit end with 1 as well, but name no tree.
            Err(_) => return Err(no_tree(first, ended.stderr)),
        };
        if !clean {
            let paths = fields.filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect();
            return Ok(Joined::Conflict(paths));
        }
        // An entry that changes nothing may be there already; then it needs no merge commit.
        if tree == self.tree_of(tip)? && self.is_ancestor(entry.commit, tip)? {
            return Ok(Joined::Commit(tip));
        }
        self.commit(tree, &[tip, entry.commit], &entry.message, by).map(Joined::Commit)
    }
}

impl OwnRepo {
    /// Merges two commits; attributes come from what has landed, not from the branch that wants to.
    fn merge_tree(&self, tip: Oid, commit: Oid) -> Result<Ended> {
        let options = ["--write-tree", "-z", "--name-only", "--no-messages"];
        let commits = [tip.to_string(), commit.to_string()];
        if self.git().version()? >= ATTR_SOURCE {
            let call = self.call("merge-tree").env("GIT_ATTR_SOURCE", tip.to_string());
            return call.args(options).args(commits).answer();
        }
        // Older ones look for attributes in the working tree alone, so they get one of those files.
        let attributes = Attributes::of(self, tip)?;
        let call = self.call_in(&attributes.dir, &attributes.index.path, "merge-tree");
        call.args(options).args(commits).answer()
    }
}

/// A directory that holds the attribute files of one commit, for one call.
struct Attributes {
    dir: PathBuf,
    index: PrivateIndex,
}

impl Attributes {
    fn of(repo: &OwnRepo, commit: Oid) -> Result<Self> {
        let index = PrivateIndex::new(repo);
        let attributes = Self { dir: index.path.with_extension("tree"), index };
        let (dir, index) = (&attributes.dir, &attributes.index);
        fs::create_dir_all(dir).map_err(at(dir, "join two commits"))?;
        let git = |command: &str| repo.call_in(dir, &index.path, command);
        git("read-tree").arg(commit.to_string()).run()?;
        let files = git("ls-files").args(["-z", "--", ":(top,glob)**/.gitattributes"]).run()?;
        if !files.is_empty() {
            git("checkout-index").args(["-q", "-z", "--stdin"]).input(files).run()?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // One that stays behind takes a little room; `OwnRepo::compact` removes it.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn no_tree(out: &[u8], stderr: Vec<u8>) -> Error {
    let said = if stderr.is_empty() { out.to_vec() } else { stderr };
    Error::new("join two commits", ErrorKind::Protocol(printable(said.trim_ascii())))
}
