//! The pool of workspaces: directories that are made once and reset between uses.
//!
//! Making a tree costs a checkout, and its build state (`target/`, `node_modules/`) costs far
//! more, so a workspace that comes back is reset by touching only what differs.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kapell_core::id::{AttemptNo, Oid, RunId, TaskId};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::{
    dotgit::{self, DirId},
    permissions::{make_readable, set_read_only, size_of},
    remove::remove_tree,
};
use crate::{
    git::{
        Error, ErrorKind, INDEX_VARIABLE, Identity, OwnRepo, Result, error::at, own_repo::replace,
        refs::read_small,
    },
    supervise::processes::wait_for_all_with,
};

/// What a workspace is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An agent works in it, and what it leaves is submitted.
    Clone,
    /// An agent looks at it; a change makes the attempt fail.
    ReadOnly,
    /// Acceptance commands run in it.
    Check,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::ReadOnly => "read",
            Self::Check => "check",
        }
    }
}

/// The attempt that a workspace is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: AttemptNo,
}

/// What is wanted of a workspace.
#[derive(Debug, Clone)]
pub struct Request {
    /// What for.
    pub kind: Kind,
    /// The commit that HEAD is at.
    pub base: Oid,
    /// The tree to be checked out where it is not the commit's own, such as one with protected
    /// files restored. It is for [`Kind::Check`]: a capture would submit the difference.
    pub tree: Option<Oid>,
    /// For whom; noted on disk, so that after a crash the workspace is found again.
    pub owner: Option<Owner>,
    /// A text that stands for `prepare`, `carry` and the like: build state is shared only between
    /// uses with the same one.
    pub profile: String,
    /// The branch on which the agent finds itself (the part after `refs/heads/`).
    pub branch: String,
    /// The name under which the agent commits.
    pub who: Identity,
    /// Whether ignored files of earlier uses are deleted too.
    pub fresh: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    version: u32,
    kind: Kind,
    profile: String,
    base: Option<Oid>,
    owner: Option<Owner>,
    /// The attempt that it was held for before it was given back.
    #[serde(default)]
    last: Option<Owner>,
    /// Both are `None` while the workspace is being made.
    tree: Option<DirId>,
    dot_git: Option<DirId>,
    prepared: bool,
    /// The process that used it last.
    #[serde(default)]
    pid: u32,
    /// How large its files were when it was last given back, in bytes; noted where a quota asks for it.
    #[serde(default)]
    bytes: Option<u64>,
}

const META_VERSION: u32 = 1;

/// A directory in use. The lock on it ends with this value, or with the process.
#[derive(Debug)]
pub struct Workspace {
    pub(crate) repo: OwnRepo,
    slot: PathBuf,
    meta: Meta,
    _lock: SlotLock,
}

/// The lock on a slot.
#[derive(Debug)]
struct SlotLock {
    file: File,
}

impl Drop for SlotLock {
    fn drop(&mut self) {
        // Closing is not enough: a process that another thread is just starting has a copy of the
        // descriptor until it runs its own program, and would keep the lock for that long.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl Workspace {
    /// Returns the top of the files, where the agent or the command runs.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.slot.join("tree")
    }

    /// Returns what it is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.meta.kind
    }

    /// Returns for whom it is held.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.meta.owner
    }

    /// Returns the commit that was checked out.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::WorkspaceGone`] if it was never finished.
    pub fn base(&self) -> Result<Oid> {
        self.meta.base.ok_or_else(|| self.gone())
    }

    /// Returns whether [`Workspace::mark_prepared`] was called since its files were made.
    #[must_use]
    pub fn is_prepared(&self) -> bool {
        self.meta.prepared
    }

    /// Notes that what is done once per workspace has been done.
    ///
    /// # Errors
    ///
    /// Returns why the note cannot be written.
    pub fn mark_prepared(&mut self) -> Result<()> {
        self.meta.prepared = true;
        self.save()
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.slot.join("index")
    }

    pub(crate) fn gone(&self) -> Error {
        Error::new("use the workspace", ErrorKind::WorkspaceGone { dir: self.tree() })
    }

    /// Makes sure that the directory is still the one that was made.
    pub(crate) fn check_there(&self) -> Result<()> {
        if self.meta.tree.is_some() && DirId::of(&self.tree()) == self.meta.tree {
            Ok(())
        } else {
            Err(self.gone())
        }
    }

    /// Says why the agent's commits cannot be taken over, if they cannot.
    pub(crate) fn check_dot_git(&self) -> std::result::Result<(), String> {
        dotgit::check(&self.repo, &self.tree(), self.meta.dot_git)
    }

    fn save(&self) -> Result<()> {
        let path = self.slot.join("meta.json");
        let text = serde_json::to_vec(&self.meta).map_err(io::Error::other).map_err(at(&path, "save"))?;
        replace(&path, &text).map_err(at(&path, "note the state of a workspace"))
    }

    /// Waits for the git commands of a process that was killed while it used this workspace: they go on for a moment,
    /// and would write over what is done now. They are known by the index that they were told to use.
    fn wait_for_strays(&mut self) {
        if self.meta.pid == std::process::id() {
            return;
        }
        self.meta.pid = std::process::id();
        let index = self.index();
        // Those that take longer are overtaken.
        let _ = wait_for_all_with(INDEX_VARIABLE, index.as_os_str().as_encoded_bytes(), STRAY_PATIENCE);
    }

    /// Brings the files to what `request` wants.
    fn fill(&mut self, request: &Request) -> Result<()> {
        let tree = self.tree();
        let reused = self.meta.tree.is_some();
        self.unlock_index()?;
        if reused {
            self.check_there()?;
            remove_tree(&tree.join(".git")).map_err(at(&tree, "reset a workspace"))?;
            if self.meta.kind == Kind::ReadOnly {
                make_readable(&tree).map_err(at(&tree, "reset a workspace"))?;
            }
        } else {
            for old in [self.index(), tree.clone()] {
                remove_tree(&old).map_err(at(&old, "make a workspace"))?;
            }
            fs::create_dir(&tree).map_err(at(&tree, "make a workspace"))?;
        }
        let git = |command: &str| self.repo.call_in(&tree, &self.index(), command);
        let wanted = request.tree.unwrap_or(request.base);
        git("read-tree").args(["--reset", "-u"]).arg(wanted.to_string()).run()?;
        if reused {
            // Twice -f: a repository that an agent made inside goes too.
            git("clean").arg(if request.fresh { "-ffdqx" } else { "-ffdq" }).run()?;
        }
        let made =
            dotgit::make(&self.repo, &tree, &self.index(), request.base, &request.branch, &request.who);
        let dot_git = made.map_err(at(&tree, "make a workspace"))?;
        if request.kind == Kind::ReadOnly {
            set_read_only(&tree).map_err(at(&tree, "make a workspace"))?;
        }
        self.meta.tree = DirId::of(&tree);
        self.meta.dot_git = Some(dot_git);
        self.meta.base = Some(request.base);
        self.meta.prepared &= reused && !request.fresh;
        self.save()
    }
}

/// The workspaces of one repository, in one directory, shared by all kapell processes.
#[derive(Debug, Clone)]
pub struct Pool {
    repo: OwnRepo,
    dir: PathBuf,
    limit: usize,
    space_min: u64,
    quota: Option<u64>,
}

/// How many bytes a new workspace leaves free on its disk: the journal, and whatever else is there, goes on.
const SPACE_MIN: u64 = 1 << 30;

impl Pool {
    /// Opens the pool at `dir`, which holds at most `limit` workspaces.
    ///
    /// # Errors
    ///
    /// Returns why the directory cannot be made.
    pub fn open(repo: OwnRepo, dir: &Path, limit: usize) -> Result<Self> {
        fs::create_dir_all(dir).map_err(at(dir, "open the pool of workspaces"))?;
        let dir = fs::canonicalize(dir).map_err(at(dir, "open the pool of workspaces"))?;
        Ok(Self { repo, dir, limit, space_min: SPACE_MIN, quota: None })
    }

    /// Makes workspaces only while so many bytes are free.
    #[must_use]
    pub fn leaving_free(self, bytes: u64) -> Self {
        Self { space_min: bytes, ..self }
    }

    /// Keeps all workspaces together within so many bytes, as far as those can give way that nobody uses.
    #[must_use]
    pub fn within(self, quota: Option<u64>) -> Self {
        Self { quota, ..self }
    }

    /// Makes sure that there is room for one more workspace; those that nobody uses give way.
    fn make_room(&self) -> Result<()> {
        if self.free_space()? < self.space_min {
            // What cannot be deleted is no reason yet: what is free afterwards counts.
            let _ = self.trim(0);
            let free = self.free_space()?;
            if free < self.space_min {
                let kind = ErrorKind::LowSpace { dir: self.dir.clone(), free, needed: self.space_min };
                return Err(Error::new("get a workspace", kind));
            }
        }
        Ok(())
    }

    fn free_space(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.dir)
            .map_err(|errno| at(&self.dir, "look how much space is free")(errno.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Gets a workspace: one that is free, best that of the task's earlier attempt, whose session may belong to it, then
    /// one with the same base, else a new one.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::PoolFull`] if all are in use.
    /// - [`ErrorKind::LowSpace`] if another one would fill the disk.
    /// - [`ErrorKind::MissingObject`] if the base is not there.
    pub fn acquire(&self, request: &Request) -> Result<Workspace> {
        let slots = self.slots()?;
        let mut free: Vec<_> = slots.iter().filter_map(|slot| Some((slot, read_meta(slot)?))).collect();
        free.retain(|(_, meta)| meta.owner.is_none() && meta.kind == request.kind);
        let was_its = |meta: &Meta| {
            let tasks = [meta.last, request.owner].map(|owner| owner.map(|owner| (owner.run, owner.task)));
            tasks[0].is_some() && tasks[0] == tasks[1]
        };
        free.sort_by_key(|(_, meta)| {
            (meta.profile != request.profile, !was_its(meta), meta.base != Some(request.base))
        });
        for (slot, meta) in &free {
            // One with another profile is worth less than the room for a new one.
            if meta.profile != request.profile && slots.len() < self.limit {
                break;
            }
            let Some(lock) = try_lock(slot)? else { continue };
            // Somebody may have used it between the look and the lock.
            let Some(mut meta) = read_meta(slot).filter(|meta| meta.owner.is_none()) else { continue };
            if meta.profile != request.profile {
                meta.tree = None;
            }
            let repo = self.repo.clone();
            let mut workspace = Workspace { repo, slot: (*slot).clone(), meta, _lock: lock };
            match self.take(&mut workspace, request) {
                Ok(()) => return Ok(workspace),
                Err(error) if is_about_objects(&error) => return Err(error),
                // It was broken by its last user. Deleting it costs a checkout, no more.
                Err(_) => self.discard(workspace)?,
            }
        }
        if self.slots()?.len() >= self.limit {
            return Err(Error::new("get a workspace", ErrorKind::PoolFull { limit: self.limit }));
        }
        self.make_room()?;
        let mut workspace = self.make_slot(request)?;
        match self.take(&mut workspace, request) {
            Ok(()) => Ok(workspace),
            Err(error) => {
                self.discard(workspace)?;
                Err(error)
            }
        }
    }

    fn take(&self, workspace: &mut Workspace, request: &Request) -> Result<()> {
        workspace.wait_for_strays();
        if workspace.meta.tree.is_some() {
            // What was tampered with is not reset but thrown away.
            workspace.check_there()?;
            let dot_git = workspace.tree().join(".git");
            if DirId::of(&dot_git) != workspace.meta.dot_git {
                return Err(workspace.gone());
            }
        }
        workspace.meta.owner = request.owner;
        workspace.meta.profile.clone_from(&request.profile);
        workspace.meta.base = None;
        workspace.save()?;
        workspace.fill(request)
    }

    fn make_slot(&self, request: &Request) -> Result<Workspace> {
        let mut number = 1_u32;
        let slot = loop {
            let slot = self.dir.join(format!("{}-{number}", request.kind.prefix()));
            match fs::create_dir(&slot) {
                Ok(()) => break slot,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(at(&slot, "make a workspace")(error)),
            }
        };
        let Some(lock) = try_lock(&slot)? else {
            return Err(Error::new("make a workspace", ErrorKind::PoolFull { limit: self.limit }));
        };
        let meta = Meta {
            version: META_VERSION,
            kind: request.kind,
            profile: request.profile.clone(),
            base: None,
            owner: request.owner,
            last: None,
            tree: None,
            dot_git: None,
            prepared: false,
            pid: std::process::id(),
            bytes: None,
        };
        Ok(Workspace { repo: self.repo.clone(), slot, meta, _lock: lock })
    }

    /// Finds the workspace that is held for `owner`, after the process that held it is gone.
    ///
    /// Returns `None` if there is none, or if it is in use right now.
    ///
    /// # Errors
    ///
    /// Returns why the pool cannot be read.
    pub fn find(&self, owner: Owner) -> Result<Option<Workspace>> {
        for slot in self.slots()? {
            if read_meta(&slot).is_some_and(|meta| meta.owner == Some(owner)) {
                return self.open_slot(slot);
            }
        }
        Ok(None)
    }

    /// Lists for whom workspaces are held that no process uses, of those that are `wanted`.
    ///
    /// # Errors
    ///
    /// Returns why the pool cannot be read.
    pub fn abandoned(&self, wanted: impl Fn(&Owner) -> bool) -> Result<Vec<Owner>> {
        let mut owners = Vec::new();
        for slot in self.slots()? {
            let owner = read_meta(&slot).and_then(|meta| meta.owner).filter(&wanted);
            let Some(owner) = owner else { continue };
            if try_lock(&slot)?.is_some() {
                owners.push(owner);
            }
        }
        owners.sort_by_key(|owner| (owner.run, owner.task, owner.attempt));
        Ok(owners)
    }

    fn open_slot(&self, slot: PathBuf) -> Result<Option<Workspace>> {
        let Some(lock) = lock_after_a_look(&slot)? else { return Ok(None) };
        let repo = self.repo.clone();
        Ok(read_meta(&slot).map(|meta| {
            let mut workspace = Workspace { repo, slot, meta, _lock: lock };
            workspace.wait_for_strays();
            workspace
        }))
    }

    /// Gives a workspace back. What was to be kept of it has been captured or salvaged. Should all of them be larger than
    /// they may then, those used longest ago are deleted, as far as they can be.
    ///
    /// # Errors
    ///
    /// Returns why it cannot be noted, or a broken one cannot be deleted.
    pub fn release(&self, mut workspace: Workspace) -> Result<()> {
        if workspace.meta.base.is_none() || workspace.check_there().is_err() {
            return self.discard(workspace);
        }
        workspace.meta.last = workspace.meta.owner.take();
        let Some(quota) = self.quota else { return workspace.save() };
        workspace.meta.bytes = Some(size_of(&workspace.slot));
        workspace.save()?;
        // It may be the one that has to go.
        drop(workspace);
        // It has been given back: what cannot be deleted fails nobody's work, and `gc` names it.
        let _ = self.shrink(quota);
        Ok(())
    }

    /// Deletes workspaces that nobody holds, those used longest ago first, until all are within `quota` bytes. One that
    /// cannot be deleted stays, and the next one gives way.
    ///
    /// # Errors
    ///
    /// Returns why the pool cannot be read.
    fn shrink(&self, quota: u64) -> Result<()> {
        let noted = |slot: &Path| read_meta(slot).and_then(|meta| meta.bytes);
        // One that is held counts as it was when it was last given back.
        let mut total: u64 = self.slots()?.iter().filter_map(|slot| noted(slot)).sum();
        for slot in self.free()? {
            if total <= quota {
                break;
            }
            let bytes = noted(&slot).unwrap_or(0);
            if self.delete(&slot).is_ok_and(|gone| gone) {
                total -= bytes.min(total);
            }
        }
        Ok(())
    }

    /// Deletes a workspace.
    ///
    /// # Errors
    ///
    /// Returns why something cannot be deleted.
    pub fn discard(&self, workspace: Workspace) -> Result<()> {
        remove_tree(&workspace.slot).map_err(at(&workspace.slot, "delete a workspace"))
    }

    /// Deletes workspaces that nobody holds, so that at most `keep` of them stay.
    ///
    /// Returns how many were deleted; those used longest ago go first.
    ///
    /// # Errors
    ///
    /// Returns why something cannot be deleted, after all the others are.
    pub fn trim(&self, keep: usize) -> Result<usize> {
        let free = self.free()?;
        let (mut deleted, mut failed) = (0, None);
        for slot in free.iter().take(free.len().saturating_sub(keep)) {
            match self.delete(slot) {
                Ok(gone) => deleted += usize::from(gone),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(deleted), Err)
    }

    /// Returns the workspaces that nobody holds, the one used longest ago first.
    fn free(&self) -> Result<Vec<PathBuf>> {
        let mut free = Vec::new();
        for slot in self.slots()? {
            let used = fs::metadata(slot.join("meta.json")).and_then(|meta| meta.modified()).ok();
            match read_meta(&slot) {
                Some(meta) if meta.owner.is_some() => {}
                // Without a note it was never finished.
                _ => free.push((used, slot)),
            }
        }
        free.sort();
        Ok(free.into_iter().map(|(_, slot)| slot).collect())
    }

    /// Deletes a workspace unless somebody uses it; says whether it did.
    fn delete(&self, slot: &Path) -> Result<bool> {
        let Some(_lock) = try_lock(slot)? else { return Ok(false) };
        remove_tree(slot).map_err(at(slot, "delete a workspace"))?;
        Ok(true)
    }

    /// Returns for whom each workspace is held, and the sizes of its files in bytes.
    ///
    /// It looks at every file, so it is for a person who asks, or for a clean-up.
    ///
    /// # Errors
    ///
    /// Returns why the pool cannot be read.
    pub fn usage(&self) -> Result<Vec<(Option<Owner>, u64)>> {
        let slots = self.slots()?;
        Ok(slots.iter().map(|slot| (read_meta(slot).and_then(|meta| meta.owner), size_of(slot))).collect())
    }

    /// Returns the directory of the pool.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn slots(&self) -> Result<Vec<PathBuf>> {
        let doing = "read the pool of workspaces";
        let mut slots = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(at(&self.dir, doing))? {
            let entry = entry.map_err(at(&self.dir, doing))?;
            let name = entry.file_name();
            let is_slot = ["clone-", "read-", "check-"]
                .iter()
                .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
            if is_slot && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                slots.push(entry.path());
            }
        }
        slots.sort();
        Ok(slots)
    }
}

/// How long a git command of a killed process may go on.
const STRAY_PATIENCE: Duration = Duration::from_secs(30);

/// Whether the base is at fault rather than the workspace.
fn is_about_objects(error: &Error) -> bool {
    matches!(*error.kind, ErrorKind::MissingObject(_) | ErrorKind::Full(_) | ErrorKind::NoGit)
}

fn read_meta(slot: &Path) -> Option<Meta> {
    let bytes = read_small(&slot.join("meta.json")).ok()??;
    serde_json::from_slice::<Meta>(&bytes).ok().filter(|meta| meta.version == META_VERSION)
}

/// How long somebody who only looks whether a slot is in use may hold its lock.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// Locks a slot, and waits for a moment if somebody else has it: whoever lists what is left behind takes each lock to
/// see whether it is free.
fn lock_after_a_look(slot: &Path) -> Result<Option<SlotLock>> {
    let end = Instant::now() + LOOK_PATIENCE;
    loop {
        match try_lock(slot)? {
            None if slot.exists() && Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            locked => return Ok(locked),
        }
    }
}

/// Locks a slot; `None` if somebody else has it, or it has just been deleted.
fn try_lock(slot: &Path) -> Result<Option<SlotLock>> {
    let path = slot.join("lock");
    let file = match File::options().create(true).truncate(false).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&path, "lock a workspace")(error)),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // The name may by now belong to another file, if the slot was deleted in between.
        Ok(()) => Ok(path.exists().then_some(SlotLock { file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(at(&path, "lock a workspace")(errno.into())),
    }
}
