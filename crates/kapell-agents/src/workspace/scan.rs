//! Finds what in a working tree differs from its private index, and takes it in.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::OFlags;

use super::{permissions::make_readable, pool::Workspace, remove::remove_tree};
use crate::git::{
    Error, ErrorKind, Result,
    error::at,
    printable,
    process::{Call, Ended},
    transfer::shown,
};

/// How long git may look at a working tree before we look for what holds it up.
///
/// An agent can make it wait for ever with a FIFO in the place of a file that git reads.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How long it may take once nothing of the kind is there.
const SECOND_LOOK: Duration = Duration::from_secs(600);

/// What differs from the index.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Paths that were changed, added or deleted.
    pub(super) changed: BTreeSet<Vec<u8>>,
    /// Directories that are repositories of their own.
    pub(super) nested: BTreeSet<Vec<u8>>,
}

impl Workspace {
    fn git(&self, command: &str) -> Call<'_> {
        self.repo.call_in(&self.tree(), &self.index(), command)
    }

    /// Runs a command that reads files of the agent's, which may be traps.
    fn patiently<'w>(&'w self, call: impl Fn() -> Call<'w>) -> Result<Ended> {
        let tree = self.tree();
        self.unlock_index()?;
        match call().timeout(FIRST_LOOK).finish() {
            Err(error) if matches!(*error.kind, ErrorKind::TimedOut { .. }) => {}
            other => return other,
        }
        self.unlock_index()?;
        remove_traps(&tree).map_err(at(&tree, "read the workspace"))?;
        call().timeout(SECOND_LOOK).finish()
    }

    /// Makes sure that a program can be started in the top directory, which an agent may have shut.
    fn open_top(&self) -> io::Result<()> {
        let tree = self.tree();
        let mode = fs::symlink_metadata(&tree)?.permissions().mode();
        if mode & 0o500 == 0o500 {
            return Ok(());
        }
        fs::set_permissions(&tree, fs::Permissions::from_mode(mode | 0o700))
    }

    /// Removes the lock that a git process of ours left when it was killed.
    ///
    /// Nobody else can hold it: the index lies beside the tree, and the workspace is locked.
    pub(super) fn unlock_index(&self) -> Result<()> {
        let mut lock = self.index().into_os_string();
        lock.push(".lock");
        remove_tree(Path::new(&lock)).map_err(at(Path::new(&lock), "read the workspace"))
    }

    /// Compares the files with the index; ignored ones do not count.
    pub(super) fn scan(&self) -> Result<Scan> {
        let tree = self.tree();
        self.open_top().map_err(at(&tree, "read the workspace"))?;
        let look = || {
            self.patiently(|| self.git("ls-files").args(["-z", "-t", "-o", "-m", "-d", "--exclude-standard"]))
        };
        let mut ended = look()?;
        if !ended.stderr.is_empty() {
            // A directory that may not be read: git warns, and goes on as if it were empty.
            make_readable(&tree).map_err(at(&tree, "read the workspace"))?;
            ended = look()?;
        }
        if !ended.ok() {
            return Err(ended.error());
        }
        let mut scan = Scan::default();
        for record in ended.stdout.split(|&byte| byte == 0) {
            let Some((_, path)) = record.split_at_checked(2) else { continue };
            match path.strip_suffix(b"/") {
                Some(nested) => scan.nested.insert(nested.to_vec()),
                // A submodule that an agent has filled: its commit is not ours to choose.
                None if exists(&tree.join(OsStr::from_bytes(path)).join(".git")) => {
                    scan.nested.insert(path.to_vec())
                }
                None => scan.changed.insert(path.to_vec()),
            };
        }
        Ok(scan)
    }

    /// Takes the files that `scan` found into the index and kapell's own repository.
    ///
    /// Returns the names that git would not take, such as `.GIT`. With `lenient`, those that only
    /// other systems cannot keep are taken.
    pub(super) fn take_in(&self, scan: &Scan, lenient: bool) -> Result<Vec<String>> {
        let tree = self.tree();
        let (mut hidden, mut paths) = (Vec::new(), Vec::new());
        for path in &scan.changed {
            let list = if is_behind_link(&tree, path) { &mut hidden } else { &mut paths };
            list.extend_from_slice(path);
            list.push(0);
        }
        if !hidden.is_empty() {
            self.git("update-index").args(["-z", "--force-remove", "--stdin"]).input(hidden).run()?;
        }
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let ended = self.patiently(|| {
            let call = self.git("update-index");
            let call = call.args(["-z", "--add", "--remove", "--replace", "--stdin"]).input(paths.clone());
            if lenient { call.set("core.protectNTFS=false").set("core.protectHFS=false") } else { call }
        })?;
        if !ended.ok() {
            return Err(ended.error());
        }
        let lines = ended.stderr.split(|&byte| byte == b'\n');
        Ok(lines.filter_map(|line| line.strip_prefix(b"Ignoring path ")).map(printable).collect())
    }

    /// Splits off the paths that cannot be submitted because of their size or permissions.
    pub(super) fn set_aside(&self, scan: &mut Scan, file_max: u64, total_max: u64) -> Aside {
        let tree = self.tree();
        let mut aside = Aside::default();
        let mut total = 0_u64;
        for path in &scan.changed {
            let full = tree.join(OsStr::from_bytes(path));
            let Ok(meta) = fs::symlink_metadata(&full) else { continue };
            if !meta.is_file() {
                continue;
            }
            if meta.len() > file_max || total.saturating_add(meta.len()) > total_max {
                aside.large.push(path.clone());
            } else if let Err(error) = ensure_readable(&full)
                && error.kind() == io::ErrorKind::PermissionDenied
            {
                aside.unreadable.push(path.clone());
            } else {
                total += meta.len();
            }
        }
        for path in aside.large.iter().chain(&aside.unreadable) {
            scan.changed.remove(path);
        }
        aside
    }
}

/// Paths that were not taken in.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub(super) large: Vec<Vec<u8>>,
    pub(super) unreadable: Vec<Vec<u8>>,
}

impl Aside {
    /// Refuses to go on without them.
    pub(super) fn refuse(self, limit: u64) -> Result<()> {
        let doing = "take the submitted files";
        if !self.large.is_empty() {
            return Err(Error::new(doing, ErrorKind::TooLarge { paths: shown(self.large), limit }));
        }
        if !self.unreadable.is_empty() {
            return Err(Error::new(doing, ErrorKind::Unreadable { paths: shown(self.unreadable) }));
        }
        Ok(())
    }
}

fn ensure_readable(path: &Path) -> io::Result<()> {
    let open = || {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        File::options().read(true).custom_flags(flags).open(path).map(drop)
    };
    match open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mode = fs::symlink_metadata(path)?.permissions().mode();
            fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o400))?;
            open()
        }
        other => other,
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Returns whether a directory on the way to `path` has become a link.
fn is_behind_link(tree: &Path, path: &[u8]) -> bool {
    let relative = Path::new(OsStr::from_bytes(path));
    relative
        .ancestors()
        .skip(1)
        .filter(|parent| !parent.as_os_str().is_empty())
        .any(|parent| fs::symlink_metadata(tree.join(parent)).is_ok_and(|meta| meta.is_symlink()))
}

/// Takes away what makes git wait for ever while it looks for rules: a FIFO, socket or device named
/// `.gitignore` or `.gitattributes`. Git could not keep such a file anyway.
fn remove_traps(tree: &Path) -> io::Result<()> {
    let mut dirs: Vec<PathBuf> = vec![tree.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in match fs::read_dir(&dir) {
            Ok(entries) => entries,
            // Told by the scan itself, or gone in between.
            Err(_) if dir != tree => continue,
            Err(error) => return Err(error),
        } {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name();
            if kind.is_dir() {
                if name != ".git" {
                    dirs.push(entry.path());
                }
            } else if (name == ".gitignore" || name == ".gitattributes")
                && !kind.is_file()
                && !kind.is_symlink()
            {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}
