//! What can go wrong between kapell and git, and what a person can do about it.

use std::{fmt, io, path::PathBuf, time::Duration};

use kapell_core::id::Oid;

/// The result of every operation of this boundary.
pub type Result<T> = std::result::Result<T, Error>;

/// An operation on a repository or a workspace that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing}")]
pub struct Error {
    /// What was being done, as it reads after "failed to".
    pub doing: String,
    /// What went wrong.
    #[source]
    pub kind: Box<ErrorKind>,
}

impl Error {
    pub(crate) fn new(doing: impl Into<String>, kind: ErrorKind) -> Self {
        Self { doing: doing.into(), kind: Box::new(kind) }
    }

    /// Returns what a person can do about it, where something can be done.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        self.kind.hint()
    }
}

/// A git process that ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The arguments that tell what was asked; the hardening options are left out.
    pub argv: Vec<String>,
    /// The exit code; `None` if a signal ended the process.
    pub status: Option<i32>,
    /// The last 4 KiB of its standard error, made printable.
    pub stderr: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`git {}`", self.argv.join(" "))?;
        match self.status {
            Some(code) => write!(f, " exited with {code}")?,
            None => f.write_str(" was ended by a signal")?,
        }
        let said = self.stderr.trim();
        if said.is_empty() { Ok(()) } else { write!(f, ": {said}") }
    }
}

/// The whole space of what can go wrong here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The git program is not there.
    #[error("git was not found")]
    NoGit,
    /// The git program is older than what kapell needs.
    #[error("git {found} is too old: {needed} or newer is needed")]
    TooOld {
        /// The version that was found.
        found: String,
        /// The oldest version that will do.
        needed: &'static str,
    },
    /// A process could not be started or spoken to.
    #[error("`git {}` could not be run", argv.join(" "))]
    Spawn {
        /// What was asked.
        argv: Vec<String>,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A git process ended with an error that fits no other kind.
    #[error("{0}")]
    Exit(Failure),
    /// A git process ran longer than it may, and was ended.
    #[error("`git {}` was ended after {} s", argv.join(" "), after.as_secs())]
    TimedOut {
        /// What was asked.
        argv: Vec<String>,
        /// How long it ran.
        after: Duration,
    },
    /// A git process wrote more than its reader takes.
    #[error("`git {}` wrote more than {limit} bytes", argv.join(" "))]
    OutputTooLarge {
        /// What was asked.
        argv: Vec<String>,
        /// The most that is taken, in bytes.
        limit: usize,
    },
    /// A git process wrote what cannot be understood.
    #[error("unexpected answer of git: {0}")]
    Protocol(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The disk (or a quota) is full.
    #[error("no space left: {0}")]
    Full(Failure),
    /// Somebody holds a lock of git.
    #[error("a lock file is in the way: {lock}")]
    LockHeld {
        /// The lock file, or git's words about it.
        lock: String,
    },
    /// An object that is needed is not there.
    #[error("an object is missing: {0}")]
    MissingObject(Failure),
    /// Objects that came from a workspace are not sound.
    #[error("objects were refused: {0}")]
    BadObjects(Failure),

    /// No repository here.
    #[error("not in a git repository: {}", dir.display())]
    NotARepository {
        /// Where the search began.
        dir: PathBuf,
    },
    /// A `.git` that does not belong to the directory it lies in.
    #[error("{} points to {}, which does not belong to it", file.display(), to.display())]
    GitFileElsewhere {
        /// The `.git` file or link.
        file: PathBuf,
        /// What it points to.
        to: PathBuf,
    },
    /// The repository has no commit yet.
    #[error("the repository has no commit yet")]
    Unborn,
    /// Refs are kept in the reftable format.
    #[error("the repository keeps its refs as a reftable, which kapell does not read")]
    Reftable,
    /// The repository uses a format that is not known here.
    #[error("the repository needs `{name}`, which kapell does not know")]
    UnknownFormat {
        /// The extension or version.
        name: String,
    },
    /// A clone that lacks objects on purpose.
    #[error("the repository is a partial clone")]
    PartialClone,
    /// A sparse checkout where the whole tree is needed.
    #[error("{} is a sparse checkout", worktree.display())]
    Sparse {
        /// The worktree.
        worktree: PathBuf,
    },
    /// A text that is no name of a ref.
    #[error("`{name}` is not a valid name of a ref")]
    BadRefName {
        /// The text.
        name: String,
    },
    /// A ref that is not where it was expected: somebody was first.
    #[error("{name} has moved: expected {}, found {}", show(expected), show(found))]
    Moved {
        /// The ref.
        name: String,
        /// Where it was expected.
        expected: Option<Oid>,
        /// Where it is.
        found: Option<Oid>,
    },
    /// A branch that cannot go, since a worktree has it checked out.
    #[error("{} has {name} checked out", worktree.display())]
    CheckedOut {
        /// The branch, as a full ref.
        name: String,
        /// The worktree.
        worktree: PathBuf,
    },
    /// A worktree that has the target checked out has changes of its own.
    #[error("{} has uncommitted changes: {}", worktree.display(), list(paths))]
    Dirty {
        /// The worktree.
        worktree: PathBuf,
        /// Some of the changed paths.
        paths: Vec<String>,
    },
    /// A worktree that has the target checked out is in the middle of something.
    #[error("{} is in the middle of a {what}", worktree.display())]
    Busy {
        /// The worktree.
        worktree: PathBuf,
        /// A rebase, a merge, ...
        what: &'static str,
    },
    /// Files of a person would be overwritten.
    #[error("{}: untracked or changed files are in the way: {}", worktree.display(), list(paths))]
    InTheWay {
        /// The worktree.
        worktree: PathBuf,
        /// Git's words, or the paths.
        paths: Vec<String>,
    },

    /// The workspace is no longer there, or is another directory than the one that was made.
    #[error("the workspace is gone: {}", dir.display())]
    WorkspaceGone {
        /// Where it was.
        dir: PathBuf,
    },
    /// Every workspace of the pool is in use.
    #[error("all {limit} workspaces are in use")]
    PoolFull {
        /// How many there may be.
        limit: usize,
    },
    /// Another workspace would fill the disk.
    #[error("{} MiB are free in {}, and below {} MiB no workspace is made", free >> 20, dir.display(), needed >> 20)]
    LowSpace {
        /// Where workspaces are.
        dir: PathBuf,
        /// How many bytes are free there.
        free: u64,
        /// How many are to be left free.
        needed: u64,
    },
    /// Files larger than may be submitted.
    #[error("too large to submit: {}", list(paths))]
    TooLarge {
        /// The paths.
        paths: Vec<String>,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A name that git cannot keep.
    #[error("a name that git cannot keep: {0}")]
    BadPath(String),
    /// Files that cannot be read.
    #[error("cannot be read: {}", list(paths))]
    Unreadable {
        /// The paths.
        paths: Vec<String>,
    },
    /// A workspace made for reading was written to.
    #[error("a read-only workspace was changed: {}", list(paths))]
    ReadOnlyChanged {
        /// The paths.
        paths: Vec<String>,
    },
    /// A path that leads out of the tree it belongs in.
    #[error("{path} leads out of the tree")]
    OutsideTree {
        /// The path.
        path: String,
    },
    /// A path to be carried that git does not ignore, so that it would be submitted.
    #[error("{path} is not ignored by git, so it would be submitted")]
    NotIgnored {
        /// The path.
        path: String,
    },
}

impl ErrorKind {
    /// Returns what a person can do about it, where something can be done.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoGit => "install git, or put it on PATH",
            Self::TooOld { .. } => "install a newer git",
            Self::Full(_) => "free some space, or run `kapell gc`",
            Self::LockHeld { .. } => "wait for the other git to end; if none runs, remove the lock file",
            Self::MissingObject(_) => "run `git fsck` in your repository",
            Self::NotARepository { .. } => "run `git init`, or use `workspace: none`",
            Self::GitFileElsewhere { .. } => {
                "run kapell in the repository itself, or mend it with `git worktree repair`"
            }
            Self::Unborn => "make a first commit: git commit --allow-empty -m start",
            Self::Reftable => "run `git refs migrate --ref-format=files`",
            Self::UnknownFormat { .. } => "use a newer kapell, or a clone in the default format",
            Self::PartialClone => "use a full clone: git fetch --refetch --no-filter, or clone again",
            Self::Sparse { .. } => "run `git sparse-checkout disable`, or merge into another branch",
            Self::Moved { .. } => "look at what moved it, then try again",
            Self::Dirty { .. } => "commit or stash the changes, then merge again",
            Self::CheckedOut { .. } => "switch it to another branch, then try again",
            Self::Busy { .. } => "finish or abort it, then merge again",
            Self::InTheWay { .. } => "move the files away, then run the command again",
            Self::PoolFull { .. } => "run with fewer agents or jobs at once",
            Self::LowSpace { .. } => "free some space (`kapell gc` removes what no run needs)",
            Self::TooLarge { .. } => "have the file ignored (.gitignore), or raise the limit",
            Self::NotIgnored { .. } => "add it to .gitignore, or do not carry it",
            _ => return None,
        })
    }
}

fn show(oid: &Option<Oid>) -> String {
    oid.map_or_else(|| "nothing".to_owned(), |oid| oid.to_string())
}

/// Joins the first few of `paths` for a message; names come escaped already.
fn list(paths: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = paths.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if paths.len() > SHOWN {
        text.push_str(&format!(" and {} more", paths.len() - SHOWN));
    }
    text
}

/// Shows bytes that somebody else chose: printable as they are, all else escaped.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Bidirectional controls can make a terminal show one name as another.
            let bidi =
                matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || bidi { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Wraps the error of one file operation.
pub(crate) fn at(path: &std::path::Path, doing: &str) -> impl FnOnce(io::Error) -> Error {
    let (path, doing) = (path.to_path_buf(), doing.to_owned());
    move |source| {
        if source.kind() == io::ErrorKind::StorageFull {
            let failure = Failure {
                argv: vec![doing.clone()],
                status: None,
                stderr: printable(path.as_os_str().as_encoded_bytes()),
            };
            return Error::new(doing, ErrorKind::Full(failure));
        }
        Error::new(doing, ErrorKind::Io { path, source })
    }
}
