//! `gc`: removes what no run needs any more, and never the only copy of anything that landed.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use kapell_agents::{
    git::{self, OwnRepo},
    workspace::{Pool, remove_tree},
};
use kapell_core::{
    id::{Oid, RunId},
    run::Run,
};
use kapell_engine::{
    open::load,
    port::journal::{Journal, RunHead},
};
use kapell_store::Store;
use kapell_view::{
    text::{Line, Style, Table, bytes, plural, short},
    untrusted::visible,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::Context;
use crate::{
    args::GcArgs,
    exit::Exit,
    fault::Fault,
    output::{page, paint},
    site::Site,
    wiring::open_own_repo,
};

/// What was removed, or would be.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Collected {
    /// The version of this form: 1.
    version: u32,
    /// Whether anything was removed.
    removed: bool,
    /// Each thing.
    items: Vec<Item>,
    /// All of it, in bytes.
    bytes: u64,
    /// What is kept though it is old, and why.
    kept: Vec<Kept>,
}

/// A thing that goes.
#[derive(Debug, Serialize, JsonSchema)]
struct Item {
    /// What kind of thing it is.
    kind: Kind,
    /// A path, a ref or a run.
    name: String,
    /// Its size in bytes; none where it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// The run whose refs or directories go.
    #[serde(skip)]
    run: Option<RunId>,
    #[serde(skip)]
    path: Option<PathBuf>,
}

/// A thing that stays.
#[derive(Debug, Serialize, JsonSchema)]
struct Kept {
    /// What.
    name: String,
    /// Why.
    why: String,
}

/// Kinds of things that go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// A workspace that nobody uses.
    Workspace,
    /// A scratch directory of an attempt that is over.
    Scratch,
    /// What attempts of a finished run printed.
    Outputs,
    /// Work that was left unfinished long ago.
    Salvage,
    /// The refs of a run whose work is all in its target.
    Refs,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Scratch => "scratch",
            Self::Outputs => "outputs",
            Self::Salvage => "salvage",
            Self::Refs => "refs",
        }
    }
}

/// A run with what decides over its things.
struct Known {
    run: Run,
    owned: bool,
    updated: i64,
}

/// Everything that is looked at.
struct Sweep<'a> {
    site: &'a Site,
    repo: Option<OwnRepo>,
    pool: Option<Pool>,
    runs: Vec<Known>,
    /// What was last touched before this instant is old, in milliseconds since 1970.
    before_ms: i64,
    collected: Collected,
}

/// Removes what no run needs any more.
///
/// # Errors
///
/// Fails if something cannot be looked at or removed; what was removed before stays removed.
pub fn gc(context: &Context, args: &GcArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let repo = open_own_repo(&site)?;
    let workspaces = site.cache()?.join("workspaces");
    let pool = match &repo {
        Some(repo) if workspaces.is_dir() => Some(Pool::open(repo.clone(), &workspaces, usize::MAX)?),
        _ => None,
    };
    let heads = store.runs()?;
    let runs = heads.iter().map(|head| known(&store, head)).collect::<Result<Vec<_>, _>>()?;
    let age_ms = i64::from(args.older_than) * 24 * 3600 * 1000;
    let before_ms = jiff::Timestamp::now().as_millisecond() - age_ms;
    let collected =
        Collected { version: 1, removed: !args.dry_run, items: Vec::new(), bytes: 0, kept: Vec::new() };
    let mut sweep = Sweep { site: &site, repo, pool, runs, before_ms, collected };
    sweep.look()?;
    if !args.dry_run {
        sweep.remove()?;
    }
    let mut collected = sweep.collected;
    collected.bytes = collected.items.iter().filter_map(|item| item.bytes).sum();
    match context.out.json {
        true => context.out.value(&collected),
        false => context.out.data(&paint(&collected.lines())),
    }
    if args.dry_run && !collected.items.is_empty() {
        context.out.next("kapell gc");
    }
    Ok(Exit::Done)
}

fn known(store: &Store, head: &RunHead) -> Result<Known, Fault> {
    let owned = store.owner(head.run)?.is_some();
    Ok(Known { run: load(store, head.run)?, owned, updated: head.updated.0 })
}

impl Sweep<'_> {
    fn look(&mut self) -> Result<(), Fault> {
        self.outputs();
        self.scratch()?;
        self.refs()?;
        self.salvage()?;
        self.workspaces();
        Ok(())
    }

    fn add(
        &mut self,
        kind: Kind,
        name: String,
        bytes: Option<u64>,
        run: Option<RunId>,
        path: Option<PathBuf>,
    ) {
        self.collected.items.push(Item { kind, name, bytes, run, path });
    }

    /// What attempts printed is kept as long as salvaged work is, once their run is over.
    fn outputs(&mut self) {
        let attempts = self.site.store.join("attempts");
        let mut found = Vec::new();
        for known in &self.runs {
            let dir = attempts.join(known.run.id().to_string());
            if known.run.outcome().is_some() && !known.owned && known.updated < self.before_ms && dir.is_dir()
            {
                found.push((known.run.id(), dir));
            }
        }
        for (run, dir) in found {
            let size = size_of(&dir);
            self.add(Kind::Outputs, format!("run {}", short(run)), Some(size), Some(run), Some(dir));
        }
    }

    /// Scratch directories are named after their run; those of a run that is over, or of none, are left over.
    fn scratch(&mut self) -> Result<(), Fault> {
        let dir = self.site.cache()?.join("scratch");
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let run = name.split(['-', '.']).next().and_then(|id| id.parse::<RunId>().ok());
            let of_live_run = run.is_some_and(|run| {
                self.runs
                    .iter()
                    .any(|known| known.run.id() == run && (known.owned || known.run.outcome().is_none()))
            });
            if !of_live_run && !is_of_live_process(&name) {
                found.push(entry.path());
            }
        }
        for path in found {
            let name = visible(&path.display().to_string());
            self.add(Kind::Scratch, name, Some(size_of(&path)), None, Some(path));
        }
        Ok(())
    }

    /// The refs of a run go once its target holds everything that landed in it: the ref is then a second name.
    fn refs(&mut self) -> Result<(), Fault> {
        let Some(repo) = self.repo.clone() else { return Ok(()) };
        let mut found = Vec::new();
        for known in &self.runs {
            let run = &known.run;
            let Some(head) = repo.run_head(run.id())? else { continue };
            if run.outcome().is_none() || known.owned {
                continue;
            }
            let start = run.mission().start();
            let target = self.target_of(run);
            let tip = target.as_deref().map(|target| self.find_ref(target)).transpose()?.flatten();
            let held = tip.is_some_and(|tip| repo.is_ancestor(head, tip).unwrap_or(false));
            // Work that waits for its checks, or was sent back, is only in commits that nothing else names.
            let pending = run.landing().is_some_and(|landing| landing.pending().next().is_some());
            if (held || start == Some(head)) && !pending {
                found.push(run.id());
            } else {
                let name = format!("run {}", short(run.id()));
                self.collected
                    .kept
                    .push(Kept { name, why: "it has work that is in no branch of yours".to_owned() });
            }
        }
        for run in found {
            self.add(Kind::Refs, git::head_ref(run), None, Some(run), None);
        }
        Ok(())
    }

    /// The branch that what landed in a run goes to. What landed in a part is a change of the run that it is part of.
    fn target_of(&self, run: &Run) -> Option<String> {
        let of = |id: RunId| self.runs.iter().map(|known| &known.run).find(|run| run.id() == id);
        let outermost = std::iter::successors(Some(run), |run| of(run.mission().parent?.run)).last()?;
        let merged = outermost.merge().filter(|merge| merge.done).map(|merge| merge.target.clone());
        merged.or_else(|| outermost.mission().target.clone())
    }

    fn find_ref(&self, name: &str) -> Result<Option<Oid>, git::Error> {
        self.site.repo.as_ref().map_or(Ok(None), |user| user.find_ref(name))
    }

    fn salvage(&mut self) -> Result<(), Fault> {
        let Some(repo) = self.repo.clone() else { return Ok(()) };
        let all = match &self.pool {
            Some(pool) => pool.salvaged(&repo)?,
            None => repo.salvaged()?,
        };
        for kept in all {
            match kept.at * 1000 < self.before_ms {
                true => self.add(Kind::Salvage, kept.name, Some(kept.bytes), None, None),
                false => self.collected.kept.push(Kept {
                    name: kept.name,
                    why: format!("unfinished work of {}, not old enough to go", bytes(kept.bytes)),
                }),
            }
        }
        Ok(())
    }

    /// Workspaces can be made again, and those in use are locked: whoever works in one keeps it.
    fn workspaces(&mut self) {
        let Some(pool) = &self.pool else { return };
        let entries = fs::read_dir(pool.dir()).into_iter().flatten().flatten();
        let is_slot = |path: &Path| path.join("meta.json").is_file();
        let slots: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_slot(path)).collect();
        for slot in slots {
            if is_held(&slot) {
                let name = visible(&slot.display().to_string());
                self.collected.kept.push(Kept { name, why: "it is held for an attempt".to_owned() });
                continue;
            }
            let name = visible(&slot.display().to_string());
            let size = size_of(&slot);
            self.add(Kind::Workspace, name, Some(size), None, None);
        }
    }

    fn remove(&mut self) -> Result<(), Fault> {
        let (mut ended, mut trimmed) = (false, Ok(0));
        for item in &self.collected.items {
            match (item.kind, &item.path, item.run) {
                (Kind::Outputs | Kind::Scratch, Some(path), _) => {
                    remove_tree(path).map_err(|error| Fault::io(path, &error))?;
                }
                (Kind::Refs, _, Some(run)) => {
                    if let (Some(repo), Some(user)) = (&self.repo, &self.site.repo) {
                        repo.end_run(user, run)?;
                        ended = true;
                    }
                }
                _ => {}
            }
        }
        if let (Some(repo), Some(pool)) = (&self.repo, &self.pool) {
            let salvage = self.collected.items.iter().any(|item| item.kind == Kind::Salvage);
            if salvage {
                pool.collect_salvaged(repo, self.before_ms / 1000)?;
                ended = true;
            }
            trimmed = pool.trim(0);
        }
        if let Some(repo) = self.repo.as_ref().filter(|_| ended) {
            repo.compact(&self.needed(), self.before_ms / 1000)?;
        }
        // A workspace that cannot be deleted is named when all else is done.
        trimmed?;
        Ok(())
    }

    /// Commits that no ref names and that a run still needs: submitted, and not landed.
    fn needed(&self) -> Vec<Oid> {
        let pending = |known: &Known| -> Vec<Oid> {
            let run = &known.run;
            let queued =
                run.landing().into_iter().flat_map(|landing| landing.pending().map(|entry| entry.commit));
            let submitted = run.plan().graph().tasks().filter_map(|task| match run.state(task) {
                kapell_core::task::TaskState::Submitted(submission)
                | kapell_core::task::TaskState::Verified(submission) => {
                    submission.change.map(|change| change.commit)
                }
                _ => None,
            });
            queued.chain(submitted).collect()
        };
        self.runs.iter().flat_map(pending).collect()
    }
}

/// Tells whether a name is `WHAT-PID-...` or `WHAT-PID` of a process that lives: it may be working there.
fn is_of_live_process(name: &str) -> bool {
    let pid = name.strip_prefix("kapell-try-").and_then(|rest| rest.split('-').next()?.parse().ok());
    pid.and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Tells whether the note of a workspace names an attempt.
fn is_held(slot: &Path) -> bool {
    #[derive(serde::Deserialize)]
    struct Meta {
        owner: Option<serde_json::Value>,
    }
    let text = fs::read(slot.join("meta.json")).unwrap_or_default();
    serde_json::from_slice::<Meta>(&text).is_ok_and(|meta| meta.owner.is_some())
}

/// Adds up what the files below `path` take on the disk, in bytes.
fn size_of(path: &Path) -> u64 {
    let mut dirs = vec![path.to_owned()];
    let mut sum = 0;
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            sum += meta.blocks() * 512;
            if meta.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    sum
}

impl Collected {
    fn lines(&self) -> Vec<Line> {
        let mut table = Table::new(&["", "", ">"]);
        for item in &self.items {
            table.row([
                (Style::Strong, item.kind.text().to_owned()),
                (Style::Plain, visible(&item.name)),
                (Style::Plain, item.bytes.map(bytes).unwrap_or_default()),
            ]);
        }
        let mut lines = if self.items.is_empty() { Vec::new() } else { table.lines(page()) };
        let verb = if self.removed { "removed" } else { "would go" };
        let things = plural(self.items.len() as u64, "thing");
        lines.push(Line::new(Style::Strong, format!("{things}, {} {verb}", bytes(self.bytes))));
        let kept =
            |kept: &Kept| Line::new(Style::Dim, format!("kept: {}: {}", visible(&kept.name), kept.why));
        lines.extend(self.kept.iter().map(kept));
        lines
    }
}
