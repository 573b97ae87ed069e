//! Takes what an attempt has left in its workspace, as a commit of ours.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

use kapell_core::id::Oid;

use super::{
    dotgit,
    pool::{Kind, Workspace},
    scan::Scan,
};
use crate::git::{Error, ErrorKind, OwnRepo, Result, Signature, own_repo::parse_oid, transfer::shown};

/// How a capture is made.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// The message of the commit that holds what the agent did not commit itself.
    pub message: String,
    /// Its author and date. The same ones give the same commit again.
    pub by: Signature,
    /// The largest file that is taken, in bytes.
    pub file_max: u64,
    /// The most that all changed files may come to, in bytes.
    pub total_max: u64,
}

/// What happened to one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content or mode is another.
    Modified,
    /// It has become a link, or a link has become a file.
    TypeChanged,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path, as git names it: bytes, with `/` between directories.
    pub path: Vec<u8>,
    /// What happened to it.
    pub status: Status,
    /// Lines added; `None` for a binary file.
    pub added: Option<u64>,
    /// Lines deleted; `None` for a binary file.
    pub deleted: Option<u64>,
}

/// What an attempt has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// The commit that it began from.
    pub base: Oid,
    /// The submitted commit, a descendant of the base; `None` if nothing was changed.
    pub commit: Option<Oid>,
    /// The submitted tree.
    pub tree: Oid,
    /// What differs from the base.
    pub files: Vec<Change>,
    /// How many of the agent's own commits are part of the submitted one.
    pub agent_commits_kept: usize,
    /// Why commits of the agent's are not kept as such; their files are submitted all the same.
    pub agent_commits_dropped: Option<String>,
    /// Directories that are repositories of their own: not submitted, since a link to a commit
    /// that nobody else has would be all that is left of them.
    pub nested: Vec<Vec<u8>>,
    /// Attributes in changed files that name a program: ignored.
    pub ignored_attributes: Vec<String>,
}

/// What of the agent's commits can be built upon.
pub(super) struct Commits {
    pub(super) tip: Oid,
    pub(super) count: usize,
    pub(super) dropped: Option<String>,
    /// Commits that were taken over but do not descend from the base.
    pub(super) stray: Option<Oid>,
}

impl Workspace {
    /// Takes the files as they are (tracked and untracked, not ignored) into a commit.
    ///
    /// The agent's own commits are kept if they descend from the base; the rest becomes one
    /// commit on top. The same files and options give the same commit, so that it can be repeated
    /// after a crash. In a read-only workspace there is nothing to take, and a change is an error.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::WorkspaceGone`] if the agent deleted or replaced it.
    /// - [`ErrorKind::ReadOnlyChanged`] if it was made for reading.
    /// - [`ErrorKind::TooLarge`], [`ErrorKind::Unreadable`] and [`ErrorKind::BadPath`] for files
    ///   that cannot be submitted.
    pub fn capture(&self, options: &CaptureOptions) -> Result<Captured> {
        self.check_there()?;
        let base = self.base()?;
        if self.kind() == Kind::ReadOnly {
            return self.capture_unchanged(base);
        }
        let kept = self.keep_commits(base, options.total_max)?;
        let mut scan = self.scan()?;
        self.set_aside(&mut scan, options.file_max, options.total_max).refuse(options.file_max)?;
        if let Some(first) = self.take_in(&scan, false)?.into_iter().next() {
            return Err(Error::new("take the submitted files", ErrorKind::BadPath(first)));
        }
        let tree = self.write_tree()?;
        let repo = &self.repo;
        let files = repo.changes(base, tree)?;
        self.check_sizes(&files, options.file_max)?;
        let commit = if kept.count == 0 && files.is_empty() {
            None
        } else if kept.count > 0 && repo.tree_of(kept.tip)? == tree {
            Some(kept.tip)
        } else {
            Some(repo.commit(tree, &[kept.tip], &options.message, &options.by)?)
        };
        if let Some(commit) = commit {
            repo.note_ancestor(base, commit);
        }
        let ignored_attributes = self.ignored_attributes(&files, commit)?;
        Ok(Captured {
            base,
            commit,
            tree,
            files,
            agent_commits_kept: kept.count,
            agent_commits_dropped: kept.dropped,
            nested: scan.nested.into_iter().collect(),
            ignored_attributes,
        })
    }

    fn capture_unchanged(&self, base: Oid) -> Result<Captured> {
        let Scan { mut changed, mut nested } = self.scan()?;
        changed.append(&mut nested);
        if !changed.is_empty() {
            let kind = ErrorKind::ReadOnlyChanged { paths: shown(changed) };
            return Err(Error::new("accept the attempt", kind));
        }
        Ok(Captured {
            base,
            commit: None,
            tree: self.repo.tree_of(base)?,
            files: Vec::new(),
            agent_commits_kept: 0,
            agent_commits_dropped: None,
            nested: Vec::new(),
            ignored_attributes: Vec::new(),
        })
    }

    /// Takes over the agent's commits, if there are any that can be.
    ///
    /// Its HEAD is read as a file and its objects through our git: nothing of its configuration
    /// is looked at, and what comes over is hashed and checked again.
    pub(super) fn keep_commits(&self, base: Oid, limit: u64) -> Result<Commits> {
        let none = |dropped| Ok(Commits { tip: base, count: 0, dropped, stray: None });
        if let Err(reason) = self.check_dot_git() {
            return none(Some(reason));
        }
        let tree = self.tree();
        let Some(tip) = dotgit::head(&tree) else {
            return none(Some("HEAD names no commit".to_owned()));
        };
        if tip == base {
            return none(None);
        }
        if let Err(error) = self.repo.import(&tree.join(".git/objects"), tip, base, limit) {
            return match *error.kind {
                ErrorKind::Full(_) | ErrorKind::Spawn { .. } => Err(error),
                kind => none(Some(kind.to_string())),
            };
        }
        let call = self.repo.call("rev-list").args(["--left-right", "--count"]);
        let ended = call.arg(format!("{base}...{tip}")).finish()?;
        let counts = String::from_utf8_lossy(&ended.stdout);
        let mut counts = counts.split_whitespace().map(str::parse::<usize>);
        match (ended.ok(), counts.next(), counts.next()) {
            (true, Some(Ok(0)), Some(Ok(count))) => {
                // What the agent committed although it is ignored must count as tracked.
                self.repo
                    .call_in(&tree, &self.index(), "read-tree")
                    .arg("--reset")
                    .arg(tip.to_string())
                    .run()?;
                Ok(Commits { tip, count, dropped: None, stray: None })
            }
            (true, ..) => {
                let dropped = Some("they do not descend from the base".to_owned());
                Ok(Commits { tip: base, count: 0, dropped, stray: Some(tip) })
            }
            _ => none(Some("HEAD names no commit".to_owned())),
        }
    }

    /// Refuses large files that the agent has committed itself.
    fn check_sizes(&self, files: &[Change], limit: u64) -> Result<()> {
        let tree = self.tree();
        let size =
            |path: &[u8]| fs::symlink_metadata(tree.join(OsStr::from_bytes(path))).map(|meta| meta.len());
        let large = files.iter().filter(|change| size(&change.path).is_ok_and(|size| size > limit));
        let paths = shown(large.map(|change| &change.path));
        if paths.is_empty() {
            return Ok(());
        }
        Err(Error::new("take the submitted files", ErrorKind::TooLarge { paths, limit }))
    }

    pub(super) fn write_tree(&self) -> Result<Oid> {
        parse_oid(&self.repo.call_in(&self.tree(), &self.index(), "write-tree").run()?)
    }

    fn ignored_attributes(&self, files: &[Change], commit: Option<Oid>) -> Result<Vec<String>> {
        let touched = files.iter().any(|change| change.path.ends_with(b".gitattributes"));
        match commit {
            Some(commit) if touched => Ok(self.repo.inspect(commit)?.ignored_attributes),
            _ => Ok(Vec::new()),
        }
    }
}

impl OwnRepo {
    /// Lists what differs between two commits or trees, with the numbers of lines.
    ///
    /// # Errors
    ///
    /// Returns why git cannot compare them.
    pub fn changes(&self, from: Oid, to: Oid) -> Result<Vec<Change>> {
        let call = self.call("diff-tree").args(["-r", "-z", "--raw", "--numstat", "--no-renames"]);
        let call = call.args(["--no-ext-diff", "--no-textconv", "--ignore-submodules=none"]);
        let out = call.args([from.to_string(), to.to_string()]).run()?;
        Ok(parse_changes(&out))
    }
}

/// Reads `git diff-tree -z --raw --numstat`: all raw records, then all counts, in the same order.
fn parse_changes(out: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut counted = 0;
    let mut fields = out.split(|&byte| byte == 0).filter(|field| !field.is_empty()).peekable();
    while let Some(field) = fields.next() {
        if field.starts_with(b":") && counted == 0 {
            let status = match field.last() {
                Some(b'A') => Status::Added,
                Some(b'D') => Status::Deleted,
                Some(b'T') => Status::TypeChanged,
                _ => Status::Modified,
            };
            let path = fields.next().unwrap_or_default().to_vec();
            changes.push(Change { path, status, added: None, deleted: None });
        } else if let Some(change) = changes.get_mut(counted) {
            let mut words = field.splitn(3, |&byte| byte == b'\t');
            let mut number = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
            (change.added, change.deleted) = (number(), number());
            counted += 1;
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_whatever_the_names() {
        let out = b":100644 100644 a b M\0x\ty\0:000000 120000 0 c A\0:odd\0:100644 000000 a 0 D\0-rf\0\
            3\t1\tx\ty\x001\t0\t:odd\0-\t-\t-rf\0";
        let change =
            |path: &[u8], status, added, deleted| Change { path: path.to_vec(), status, added, deleted };
        assert_eq!(
            parse_changes(out),
            [
                change(b"x\ty", Status::Modified, Some(3), Some(1)),
                change(b":odd", Status::Added, Some(1), Some(0)),
                change(b"-rf", Status::Deleted, None, None),
            ]
        );
        assert!(parse_changes(b"").is_empty());
    }
}
