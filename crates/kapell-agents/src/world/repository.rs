//! In a repository: each attempt works in a clone, what it changed is captured, checked, joined and landed.

mod merging; // what landed, brought into a branch of the user's, and back

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kapell_core::{
    command::Verdict,
    id::{AttemptNo, Oid, RunId, TaskId},
    landing::Probed,
    plan::{Protect, WorkspaceKind},
    retry::FailureClass,
    task::Change,
};
use kapell_engine::port::{
    agents::AttemptKey,
    workspaces::{
        Check, CheckCommand, Close, Facts, FactsRequest, MergeOrder, Merged, Ready, Request, Setup, Trial,
        WorkspaceError, Workspaces,
    },
};

pub use self::merging::{MergeError, MergeProposal, MergeRequest};
use super::{
    Places,
    agents::CrewAgents,
    checks::{Checked, Checks, read_exit},
    plain::{no_scratch, shared_dirs, verdict},
    scratch::Scratch,
};
use crate::{
    git::{self, Entry, ErrorKind, Identity, OwnRepo, Signature, Stamp, UserRepo, printable, trailers},
    lock::lock,
    workspace::{self, CaptureOptions, Kind, Owner, Pool, Workspace},
};

/// The largest file, and the most in all, that an attempt may submit.
const FILE_BYTES_MAX: u64 = 1 << 30;
const TOTAL_BYTES_MAX: u64 = 4 << 30;

/// How many trees are checked at a time: each lane has a warm workspace of its own, and a cold one can cost minutes.
const CHECK_LANES: usize = 2;

/// The longest that a `prepare` command may take.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long to wait for a workspace when no attempt of this process holds one that it will give back.
const FULL_PATIENCE: Duration = Duration::from_secs(60);

/// How often to look whether another process has given a workspace back.
const FULL_PAUSE: Duration = Duration::from_millis(250);

/// What a [`Repository`] is made of.
pub struct RepositoryConfig {
    /// The user's repository.
    pub user: UserRepo,
    /// Kapell's own.
    pub repo: OwnRepo,
    /// The workspaces.
    pub pool: Pool,
    /// The name under which kapell commits.
    pub who: Identity,
    /// Where everything else is kept.
    pub places: Places,
    /// What runs checks.
    pub agents: Arc<CrewAgents>,
}

/// Workspaces of a git repository.
pub struct Repository {
    user: UserRepo,
    repo: OwnRepo,
    pool: Pool,
    who: Identity,
    places: Places,
    scratch: Scratch,
    agents: Arc<CrewAgents>,
    checks: Checks,
    held: Mutex<HashMap<AttemptKey, Workspace>>,
    lanes: (Mutex<usize>, Condvar),
    /// Held while unfinished work is kept, so that whoever looks for it waits for it.
    salvaging: Mutex<()>,
    /// Told when a workspace is given back.
    given_back: (Mutex<()>, Condvar),
    /// The times that commits of runs carry whose ids have none.
    stamps: Mutex<HashMap<RunId, Stamp>>,
}

pub(super) fn owner(key: AttemptKey) -> Owner {
    // A compensation has a workspace of its own beside that of the attempt with the same number.
    let mark = if key.compensates { 1 << 31 } else { 0 };
    Owner { run: key.run, task: key.task, attempt: AttemptNo(key.attempt.0 | mark) }
}

fn failure(error: &git::Error) -> WorkspaceError {
    let class = match &*error.kind {
        ErrorKind::ReadOnlyChanged { .. } => FailureClass::Permission,
        ErrorKind::Moved { .. } => FailureClass::Permanent,
        ErrorKind::WorkspaceGone { .. }
        | ErrorKind::TooLarge { .. }
        | ErrorKind::Unreadable { .. }
        | ErrorKind::BadPath { .. } => FailureClass::InvalidOutput,
        _ => FailureClass::Transient,
    };
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    WorkspaceError { class, message: format!("{error}: {}{hint}", error.kind) }
}

/// The time at which a run was made, if its id says (a UUID of version 7 begins with milliseconds since 1970).
///
/// Commits carry it rather than the present time, so that a step repeated after a crash gives the same commit.
fn stamp(run: RunId) -> Option<Stamp> {
    let millis = run.0[..6].iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
    let is_v7 = run.0[6] >> 4 == 7;
    is_v7.then_some(Stamp { seconds: millis / 1000, offset_minutes: 0 })
}

/// The name of a task as a part of a branch name.
fn slug(name: &str) -> String {
    let kept: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let kept = kept.trim_matches('-');
    if kept.is_empty() { "task".to_owned() } else { kept.chars().take(60).collect() }
}

impl Repository {
    /// Makes the workspaces of a repository.
    #[must_use]
    pub fn new(config: RepositoryConfig) -> Self {
        let RepositoryConfig { user, repo, pool, who, places, agents } = config;
        let checks = Checks::new(agents.clone());
        let lanes = (Mutex::new(CHECK_LANES), Condvar::new());
        let (held, given_back, stamps, salvaging) = Default::default();
        let scratch = Scratch::new(places.scratch.clone());
        Self {
            user,
            repo,
            pool,
            who,
            places,
            scratch,
            agents,
            checks,
            held,
            lanes,
            salvaging,
            given_back,
            stamps,
        }
    }

    /// Returns kapell's own repository.
    #[must_use]
    pub fn own_repo(&self) -> &OwnRepo {
        &self.repo
    }

    /// Returns the pool of workspaces.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    pub(super) fn signature(&self, run: RunId) -> Signature {
        let noted = || lock(&self.stamps).get(&run).copied();
        let when = stamp(run).or_else(noted).unwrap_or(Stamp { seconds: 0, offset_minutes: 0 });
        Signature { who: self.who.clone(), when }
    }

    /// Notes the time that the commits of a run carry. The id of a child run has none: it is that of its base.
    fn note_stamp(&self, run: RunId, base: Oid) -> Result<(), git::Error> {
        if stamp(run).is_none() && !lock(&self.stamps).contains_key(&run) {
            let out = self.repo.call("show").args(["-s", "--format=%ct", &base.to_string()]).run()?;
            let seconds = String::from_utf8_lossy(&out).trim().parse().unwrap_or(0);
            lock(&self.stamps).insert(run, Stamp { seconds, offset_minutes: 0 });
        }
        Ok(())
    }

    /// Gets a workspace; while all are in use, waits until one is given back, or until it is `stopped`.
    fn acquire(
        &self,
        wanted: &workspace::Request,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Workspace, WorkspaceError> {
        let since = Instant::now();
        loop {
            let full = match self.pool.acquire(wanted) {
                Ok(workspace) => return Ok(workspace),
                Err(error) => error,
            };
            // Somebody else's workspace may be given back, but nobody else's makes room on the disk.
            let patience = match *full.kind {
                ErrorKind::PoolFull { .. } => FULL_PATIENCE,
                ErrorKind::LowSpace { .. } => Duration::ZERO,
                _ => return Err(failure(&full)),
            };
            let hope = !lock(&self.held).is_empty() || since.elapsed() < patience;
            if !hope || stopped() || self.agents.is_closing() {
                return Err(failure(&full));
            }
            let guard = lock(&self.given_back.0);
            drop(self.given_back.1.wait_timeout(guard, FULL_PAUSE));
        }
    }

    fn release(&self, workspace: Workspace) -> Result<(), git::Error> {
        let released = self.pool.release(workspace);
        self.given_back.1.notify_all();
        released
    }

    /// Runs the prepare commands of a workspace that has not been prepared.
    fn make_ready(
        &self,
        workspace: &mut Workspace,
        key: AttemptKey,
        prepare: &[String],
        env: &BTreeMap<String, String>,
    ) -> Result<Checked, WorkspaceError> {
        if workspace.is_prepared() {
            return Ok(Checked::Passed);
        }
        let env: Vec<_> = env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        for line in prepare {
            let exit = self.agents.run_check(key, line, &env, &workspace.tree(), PREPARE_TIMEOUT);
            let prepared = read_exit(&format!("prepare: {line}"), &exit);
            if prepared != Checked::Passed {
                return Ok(prepared);
            }
        }
        workspace.mark_prepared().map_err(|error| failure(&error))?;
        Ok(Checked::Passed)
    }

    fn open_clone(
        &self,
        request: &Request,
        kind: Kind,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Ready, WorkspaceError> {
        let missing = || WorkspaceError {
            class: FailureClass::Permanent,
            message: "a clone needs a commit to start from".to_owned(),
        };
        let base = request.base.ok_or_else(missing)?;
        let env = shared_dirs(&self.places, &request.cache)?;
        let goes_on = request.goes_on && kind == Kind::Clone;
        let (earlier, tree) = goes_on.then(|| self.unfinished(request.key, base)).flatten().unzip();
        let wanted = workspace::Request {
            kind,
            base,
            tree: tree.flatten(),
            owner: Some(owner(request.key)),
            profile: serde_json::to_string(&(&request.prepare, &request.carry)).unwrap_or_default(),
            branch: format!("kapell/{}", slug(&request.name)),
            who: self.who.clone(),
            fresh: false,
        };
        let mut workspace = self.acquire(&wanted, stopped)?;
        let ready = self.fill(&mut workspace, request, &env);
        let dir = workspace.tree();
        match ready {
            Ok(()) => lock(&self.held).insert(request.key, workspace),
            Err(error) => {
                // Nothing was worked on in it yet.
                let _ = self.release(workspace);
                return Err(error);
            }
        };
        Ok(Ready { dir, env: env.into_iter().collect(), earlier })
    }

    fn fill(
        &self,
        workspace: &mut Workspace,
        request: &Request,
        env: &BTreeMap<String, String>,
    ) -> Result<(), WorkspaceError> {
        self.carry(workspace, &request.carry)?;
        match self.make_ready(workspace, request.key, &request.prepare, env)? {
            Checked::Passed => Ok(()),
            Checked::Failed(message) | Checked::Broken(message) => {
                Err(WorkspaceError { class: FailureClass::Transient, message })
            }
        }
    }

    /// Copies ignored files of the checkout into a workspace.
    fn carry(&self, workspace: &Workspace, paths: &[String]) -> Result<(), WorkspaceError> {
        if let Some(top) = self.user.top().filter(|_| !paths.is_empty()) {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            workspace::carry(workspace, top, &paths).map_err(|error| failure(&error))?;
        }
        Ok(())
    }

    /// Takes the workspace of an attempt: held by this process, or left by an earlier one.
    fn take(&self, key: AttemptKey) -> Result<Option<Workspace>, WorkspaceError> {
        if let Some(workspace) = lock(&self.held).remove(&key) {
            return Ok(Some(workspace));
        }
        self.pool.find(owner(key)).map_err(|error| failure(&error))
    }

    /// Keeps what is in the workspace of an attempt that has ended, if that has not been done yet.
    pub(super) fn salvage_now(&self, key: AttemptKey) {
        let _turn = lock(&self.salvaging);
        if let Ok(Some(workspace)) = self.take(key) {
            self.give_back(key, workspace, Close::Salvage);
        }
    }

    fn give_back(&self, key: AttemptKey, workspace: Workspace, how: Close) {
        let by = self.signature(key.run);
        // What cannot be salvaged is left where it is, held for its owner, and `gc` names it.
        if how == Close::Salvage && self.pool.salvage(&workspace, owner(key), &by, FILE_BYTES_MAX).is_err() {
            return;
        }
        let _ = self.release(workspace);
    }

    /// Runs commands on a tree, in a warm workspace whose HEAD is at `commit`.
    fn run_checks(
        &self,
        key: AttemptKey,
        commit: Oid,
        tree: Oid,
        work: &CheckWork<'_>,
        repeat: bool,
    ) -> Result<Checked, WorkspaceError> {
        if work.commands.is_empty() {
            return Ok(Checked::Passed);
        }
        if let Some(known) = self.checks.known(tree, work.commands).filter(|_| !repeat) {
            return Ok(known);
        }
        let _turn = self.checks.turn(tree);
        // Whoever had the turn before may have found it out.
        if let Some(known) = self.checks.known(tree, work.commands).filter(|_| !repeat) {
            return Ok(known);
        }
        let _lane = Lane::take(&self.lanes);
        let env = shared_dirs(&self.places, &work.setup.cache)?;
        let wanted = workspace::Request {
            kind: Kind::Check,
            base: commit,
            tree: Some(tree),
            owner: None,
            // Prepared in another way it is another workspace.
            profile: serde_json::to_string(&("check", &work.setup.prepare, &work.setup.carry))
                .unwrap_or_default(),
            branch: "kapell/check".to_owned(),
            who: self.who.clone(),
            fresh: false,
        };
        let mut workspace = self.acquire(&wanted, &|| false)?;
        let carried = self.carry(&workspace, &work.setup.carry);
        let ready = carried.and_then(|()| self.make_ready(&mut workspace, key, &work.setup.prepare, &env));
        let checked = ready.map(|ready| match ready {
            Checked::Passed => {
                self.checks.run(key, Some(tree), work.commands, &env, &workspace.tree(), repeat)
            }
            unready => unready,
        });
        // What it found stands, whatever becomes of the workspace.
        let _ = self.release(workspace);
        checked
    }

    /// Returns the tree on which the checks of a change run, and what the change touches that it should not.
    fn guarded(&self, change: &Change, protect: &Protect) -> Result<(Oid, Vec<String>), git::Error> {
        let protected = self.repo.protect(change.base, change.commit, &protect.paths)?;
        let touched = protected.touched.iter().map(|path| printable(path)).collect();
        Ok((protected.tree, touched))
    }

    /// Returns the changed files that a check names: a change that edits its own checks deserves a look.
    fn named_by_checks(&self, change: &Change, commands: &[CheckCommand]) -> Result<Vec<String>, git::Error> {
        let files = self.repo.changes(change.base, change.commit)?;
        let names = files.iter().map(|file| printable(&file.path));
        Ok(names.filter(|name| commands.iter().any(|command| command.text.contains(name.as_str()))).collect())
    }

    fn check_change(&self, check: &Check, change: &Change) -> Result<Verdict, WorkspaceError> {
        let (tree, mut touched) = self.guarded(change, &check.protect).map_err(|error| failure(&error))?;
        let work = CheckWork { commands: &check.commands, setup: &check.setup };
        let checked = self.run_checks(check.key, change.commit, tree, &work, false)?;
        if checked == Checked::Passed && check.protect.strict {
            touched.extend(self.named_by_checks(change, &check.commands).map_err(|error| failure(&error))?);
            touched.sort();
            touched.dedup();
            if !touched.is_empty() {
                let question =
                    format!("the change touches what checks it ({}): accept it?", touched.join(", "));
                return Ok(Verdict::Doubtful { question });
            }
        }
        Ok(verdict(checked))
    }
}

/// Commands, and what their workspace needs.
struct CheckWork<'a> {
    commands: &'a [CheckCommand],
    setup: &'a Setup,
}

/// One of the places in which a tree can be checked.
struct Lane<'a>(&'a (Mutex<usize>, Condvar));

impl<'a> Lane<'a> {
    fn take(lanes: &'a (Mutex<usize>, Condvar)) -> Self {
        let mut free = lock(&lanes.0);
        while *free == 0 {
            free = lanes.1.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Self(lanes)
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        *lock(&self.0.0) += 1;
        self.0.1.notify_one();
    }
}

impl Workspaces for Repository {
    fn begin(&self, run: RunId, base: Oid) -> Result<(), WorkspaceError> {
        self.note_stamp(run, base).map_err(|error| failure(&error))?;
        let begun = match self.repo.begin_run(&self.user, run, base) {
            // A child run begins where its parent has landed, and that is in our repository alone.
            Err(error) if matches!(*error.kind, ErrorKind::MissingObject(_)) => {
                self.repo.create_ref(&git::head_ref(run), base)
            }
            begun => begun,
        };
        match begun {
            Ok(_) => Ok(()),
            // It has begun, and its integration ref has moved on since.
            Err(error) if matches!(*error.kind, ErrorKind::Moved { .. }) => Ok(()),
            Err(error) => Err(failure(&error)),
        }
    }

    fn open(&self, request: &Request, stopped: &dyn Fn() -> bool) -> Result<Ready, WorkspaceError> {
        match request.kind {
            WorkspaceKind::Clone => self.open_clone(request, Kind::Clone, stopped),
            WorkspaceKind::ReadOnly => self.open_clone(request, Kind::ReadOnly, stopped),
            WorkspaceKind::None | WorkspaceKind::InPlace => {
                let dir = self.scratch.open(request.key).map_err(|error| no_scratch(&error))?;
                let env = shared_dirs(&self.places, &request.cache)?;
                Ok(Ready { dir, env: env.into_iter().collect(), earlier: None })
            }
        }
    }

    fn capture(&self, key: AttemptKey, name: &str) -> Result<Option<Change>, WorkspaceError> {
        let gone = || WorkspaceError {
            class: FailureClass::InvalidOutput,
            message: "the workspace of the attempt is gone".to_owned(),
        };
        let workspace = self.take(key)?.ok_or_else(gone)?;
        let what = if key.compensates { "Take back " } else { "" };
        let options = CaptureOptions {
            message: format!("{what}{name}\n\n{}", trailers(key.run, name, key.attempt)),
            by: self.signature(key.run),
            file_max: FILE_BYTES_MAX,
            total_max: TOTAL_BYTES_MAX,
        };
        let captured = workspace.capture(&options);
        // It stays held until what became of the attempt is recorded.
        lock(&self.held).insert(key, workspace);
        let captured = captured.map_err(|error| failure(&error))?;
        Ok(captured.commit.map(|commit| Change { commit, tree: captured.tree, base: captured.base }))
    }

    fn close(&self, key: AttemptKey, how: Close) {
        let _turn = (how == Close::Salvage).then(|| lock(&self.salvaging));
        if let Ok(Some(workspace)) = self.take(key) {
            self.give_back(key, workspace, how);
        }
        self.scratch.close(key);
    }

    fn sweep(&self, run: RunId, in_use_keys: &[AttemptKey]) {
        let in_use: Vec<Owner> = in_use_keys.iter().map(|key| owner(*key)).collect();
        // Those in use are not even locked for a look: somebody may be taking them up right now.
        let is_left = |owner: &Owner| owner.run == run && !in_use.contains(owner);
        for left in self.pool.abandoned(is_left).unwrap_or_default() {
            if let Ok(Some(workspace)) = self.pool.find(left) {
                let by = self.signature(run);
                if self.pool.salvage(&workspace, left, &by, FILE_BYTES_MAX).is_ok() {
                    let _ = self.release(workspace);
                }
            }
        }
        self.scratch.sweep(run, in_use_keys);
    }

    fn passed(&self, commit: Oid, commands: &[CheckCommand]) {
        // Without the tree they only run once more.
        if let Ok(tree) = self.repo.tree_of(commit) {
            self.checks.learn(tree, commands);
        }
    }

    fn facts(&self, request: &FactsRequest) -> Facts {
        super::facts::look_up(&self.repo, request)
    }

    fn check(&self, check: &Check) -> Verdict {
        let checked = match &check.change {
            Some(change) => self.check_change(check, change),
            None => self.check_in_place(check),
        };
        checked.unwrap_or_else(|error| Verdict::Broken { message: error.message })
    }

    fn probe(&self, trial: &Trial) -> Result<Probed, WorkspaceError> {
        let probe = &trial.probe;
        let entries: Vec<_> = probe.entries.iter().zip(&trial.names).collect();
        let entries: Vec<Entry> = entries
            .into_iter()
            .map(|(entry, name)| Entry {
                commit: entry.commit,
                message: format!("Land {name}\n\nKapell-Run: {}\nKapell-Task: {name}\n", trial.run),
            })
            .collect();
        let by = self.signature(trial.run);
        let chain = self.repo.chain(probe.base, &entries, &by).map_err(|error| failure(&error))?;
        if let Some(conflict) = chain.conflict {
            let paths = conflict.paths.iter().map(|path| printable(path)).collect();
            return Ok(Probed::Conflict { index: conflict.index, paths });
        }
        let tips = chain.prefixes;
        let tip = tips.last().copied().unwrap_or(probe.base);
        let tree = self.repo.tree_of(tip).map_err(|error| failure(&error))?;
        let work = CheckWork { commands: &trial.commands, setup: &trial.setup };
        let task = probe.entries.last().map_or(TaskId(0), |entry| entry.task);
        let key = AttemptKey { run: trial.run, task, attempt: AttemptNo(0), compensates: false };
        match self.run_checks(key, tip, tree, &work, probe.repeat)? {
            Checked::Passed => Ok(Probed::Green { tips }),
            Checked::Failed(message) => Ok(Probed::Red { tips, message }),
            Checked::Broken(message) => Err(WorkspaceError { class: FailureClass::Transient, message }),
        }
    }

    fn change(&self, base: Oid, commit: Oid) -> Result<Change, WorkspaceError> {
        let tree = self.repo.tree_of(commit).map_err(|error| failure(&error))?;
        Ok(Change { commit, tree, base })
    }

    fn move_ref(&self, run: RunId, from: Oid, to: Oid) -> Result<(), WorkspaceError> {
        self.repo.advance(run, from, to).map(drop).map_err(|error| failure(&error))
    }

    fn merge(&self, order: &MergeOrder) -> Result<Merged, WorkspaceError> {
        // Who begins a merge has its turn; who finishes one that was left has none yet. Such a merge ends by itself: however
        // long the checks of another take, what is recorded as intended must not be given up meanwhile.
        let turn = order.is_left.then(|| self.repo.wait_for_merge_turn());
        let _turn = turn.transpose().map_err(|error| failure(&error))?;
        self.move_to(order)
    }
}

impl Repository {
    /// Runs checks where an attempt without a change worked.
    fn check_in_place(&self, check: &Check) -> Result<Verdict, WorkspaceError> {
        let scratch = self.scratch.path(check.key);
        let env = shared_dirs(&self.places, &check.setup.cache)?;
        let run = |dir: &Path| verdict(self.checks.run(check.key, None, &check.commands, &env, dir, true));
        if scratch.is_dir() {
            return Ok(run(&scratch));
        }
        let gone = || WorkspaceError {
            class: FailureClass::Transient,
            message: "the workspace in which it was to be checked is gone".to_owned(),
        };
        let workspace = self.take(check.key)?.ok_or_else(gone)?;
        let dir = workspace.tree();
        // It stays held until what became of the attempt is recorded.
        lock(&self.held).insert(check.key, workspace);
        Ok(run(&dir))
    }
}
