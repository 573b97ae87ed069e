//! Which results of an earlier run still hold in a new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kapell_core::{
    command::Command,
    event::Event,
    id::{Digest, Oid, RunId, TaskId},
    journal::Version,
    mission::Mission,
    plan::{Plan, Work, WorkspaceKind},
    run::Run,
    task::{Change, SkipCause, TaskState},
};
use serde::Serialize;

use super::key::Key;

/// What the decisions of a run tell that its state does not keep.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// What landed, in order, with the decision.
    landed: Vec<(TaskId, Oid, Version)>,
    /// The decision that started the last attempt of each task.
    started: BTreeMap<TaskId, Version>,
    /// Tasks whose change was taken over from an earlier run still, with its commit.
    taken_over: BTreeMap<TaskId, Oid>,
}

impl Past {
    /// Takes in the events of decision `n`.
    pub fn see(&mut self, n: Version, events: &[Event]) {
        for event in events {
            match event {
                Event::Landed { task, commit } => self.landed.push((*task, *commit, n)),
                Event::Started { task, .. } => {
                    self.started.insert(*task, n);
                }
                Event::Reused { task, landed: Some(commit), .. } => {
                    self.taken_over.insert(*task, *commit);
                }
                _ => {}
            }
        }
    }
}

/// The run whose results are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its state.
    pub run: &'a Run,
    /// Its past up to that state.
    pub past: &'a Past,
    /// The keys of its tasks.
    pub keys: &'a [Key],
}

/// The run that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its tasks.
    pub plan: &'a Plan,
    /// What is asked of it; its base is the commit that it would start from if nothing were taken over.
    pub mission: &'a Mission,
    /// The keys of its tasks.
    pub keys: &'a [Key],
}

/// Who asks for results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// A person who named the run to go on from: what was done by then is done.
    Fork,
    /// Nobody: a file is run. Only what can leave nothing but its change and its outputs is taken over.
    Run,
}

/// Why a task runs though there is an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It had not begun, or was not there.
    NotBegun,
    /// An attempt was under way: it counts as lost.
    UnderWay,
    /// It had failed, or was cancelled.
    Failed,
    /// What it did had been taken back.
    TakenBack,
    /// It is defined otherwise now.
    Changed,
    /// Its agent is another one, or another version of it.
    Agent,
    /// It names inputs that are others now.
    Inputs,
    /// What it reads of the base is other now.
    Base,
    /// It may act on the world outside of git, which is asked for anew.
    World,
    /// A person decides, and decides anew.
    Person,
    /// It names the run that it is part of.
    NamesRun,
    /// Something that it needs runs again.
    Need,
    /// It worked on, or landed on, a tree with the change of a task that runs again.
    Tree,
    /// What it landed is not in the base, or not as it left it.
    NotThere,
}

/// What becomes of a task of the new run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It takes over the result of this task of the earlier run.
    Reused(TaskId),
    /// It is skipped by itself again.
    Skipped,
    /// It runs; the name is that of the task that is the reason, if it is another one.
    Runs(Why, Option<String>),
}

impl Fate {
    /// Returns the task of the earlier run whose result is taken over.
    #[must_use]
    pub fn taken(&self) -> Option<TaskId> {
        match self {
            Self::Reused(task) => Some(*task),
            _ => None,
        }
    }

    fn runs(why: Why) -> Self {
        Self::Runs(why, None)
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Runs(..))
    }
}

/// What a new run can take over of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What becomes of each task of the new run, by index.
    pub fates: Vec<Fate>,
    /// The commit that it then starts from.
    pub base: Option<Oid>,
    /// A task of the earlier run whose change cannot be left out of what it started from, though it is not taken over.
    pub stuck: Option<TaskId>,
}

impl Offer {
    /// Returns how many results are taken over.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fates.iter().filter(|fate| fate.taken().is_some()).count()
    }

    /// Tells whether nothing is taken over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the commands that take the results over, as they stood in `run` after decision `at`.
    #[must_use]
    pub fn commands(&self, run: &Run, at: Version) -> Vec<Command> {
        let from: RunId = run.id();
        let taken = self.fates.iter().enumerate().filter_map(|(index, fate)| Some((index, fate.taken()?)));
        taken
            .map(|(index, old)| {
                let landed = match run.state(old) {
                    TaskState::Landed { commit } => Some(**commit),
                    _ => None,
                };
                let outputs = run.outputs(old).cloned().unwrap_or_default();
                let task = TaskId(u32::try_from(index).unwrap_or(u32::MAX));
                Command::Reuse { task, from, at, landed, change: run.change(old), outputs }
            })
            .collect()
    }
}

/// Finds what a new run can take over of an earlier one.
///
/// A result is taken over if its key is the same, it was a success that still stands, and so is everything that it
/// needs. If both runs go back to one commit, the new one starts from the last commit that holds nothing but results
/// that are taken over; what landed after the first change that is not, and what worked on a tree that held it, is done
/// again. If they do not, `is_there` says whether a change that landed with a commit is in the base of the new run as that
/// commit left it.
pub fn offer(
    source: &Source<'_>,
    wanted: &Wanted<'_>,
    terms: Terms,
    is_there: &dyn Fn(Change, Oid) -> bool,
) -> Offer {
    let same_start = source.run.mission().start() == wanted.mission.start();
    let mut fates = matched(source, wanted, terms);
    if !same_start {
        leave_out(&mut fates, wanted.plan, |old| match source.run.state(old) {
            TaskState::Landed { commit } => {
                let stands = source.run.change(old).is_some_and(|change| is_there(change, **commit));
                (!stands).then_some(Fate::runs(Why::NotThere))
            }
            _ => None,
        });
    }
    let taken = |fates: &[Fate]| -> BTreeSet<TaskId> { fates.iter().filter_map(Fate::taken).collect() };
    let kept = taken(&fates);
    let stuck = source.past.taken_over.keys().find(|task| !kept.contains(task)).copied();
    let landed = source.past.landed.as_slice();
    let first_open = |kept: &BTreeSet<TaskId>| landed.iter().position(|(task, ..)| !kept.contains(task));
    let mut cut = first_open(&kept);
    while let Some(at) = cut {
        leave_out_after(&mut fates, source, wanted, at, same_start);
        // A result that was itself taken over may be older than what it needs: then what needs it goes, too.
        cut = first_open(&taken(&fates));
        if cut == Some(at) {
            break;
        }
    }
    let mut base = if same_start { source.run.mission().base } else { wanted.mission.base };
    if same_start && let Some((_, commit, _)) = landed[..cut.unwrap_or(landed.len())].last() {
        base = Some(*commit);
    }
    Offer { fates, base, stuck }
}

/// Takes out what landed from number `cut` on, or worked on a tree with the change that landed there.
fn leave_out_after(
    fates: &mut [Fate],
    source: &Source<'_>,
    wanted: &Wanted<'_>,
    cut: usize,
    same_start: bool,
) {
    let (of, _, n) = source.past.landed[cut];
    let name = source.run.plan().name(of);
    let after: BTreeSet<TaskId> = source.past.landed[cut..].iter().map(|(task, ..)| *task).collect();
    leave_out(fates, wanted.plan, |old| {
        let definition = source.run.plan().definition(old);
        let kind = definition.kind(source.run.mission().base.is_some());
        let sees_tree = matches!(kind, WorkspaceKind::Clone | WorkspaceKind::ReadOnly);
        let late = sees_tree && source.past.started.get(&old).is_some_and(|started| *started > n);
        let lost = same_start && after.contains(&old);
        (late || lost).then(|| Fate::Runs(Why::Tree, Some(name.to_owned())))
    });
}

/// Takes out of what is taken over what `why` names, and what needs it.
fn leave_out(fates: &mut [Fate], plan: &Plan, why: impl Fn(TaskId) -> Option<Fate>) {
    for task in plan.graph().order() {
        let Some(old) = fates[task.index()].taken() else { continue };
        if let Some(open) = open_need(fates, plan, task).or_else(|| why(old)) {
            fates[task.index()] = open;
        }
    }
}

fn open_need(fates: &[Fate], plan: &Plan, task: TaskId) -> Option<Fate> {
    let open = plan.graph().needs(task).iter().find(|need| fates[need.index()].is_open())?;
    Some(Fate::Runs(Why::Need, Some(plan.name(*open).to_owned())))
}

/// Finds for each task the result with its key, and whether it was a success.
fn matched(source: &Source<'_>, wanted: &Wanted<'_>, terms: Terms) -> Vec<Fate> {
    let (old, plan) = (source.run, wanted.plan);
    let mut by_key = HashMap::<Digest, Vec<TaskId>>::new();
    for task in old.plan().graph().tasks() {
        by_key.entry(source.keys[task.index()].whole).or_default().push(task);
    }
    let mut fates = vec![Fate::runs(Why::NotBegun); plan.len()];
    for task in plan.graph().order() {
        let key = &wanted.keys[task.index()];
        let namesake = old.plan().find(plan.name(task));
        let found = by_key.get_mut(&key.whole).and_then(|same| {
            let at = same.iter().position(|one| Some(*one) == namesake).unwrap_or(0);
            // Each result is taken over once.
            (!same.is_empty()).then(|| same.swap_remove(at))
        });
        let own = found.map(|found| own_fate(found, old.state(found)));
        let unlike = || namesake.and_then(|other| unlike(key, &source.keys[other.index()]));
        let fate = match own {
            Some(Fate::Reused(found)) => refusal(plan, task, key, wanted.mission, terms)
                .map(Fate::runs)
                .or_else(|| open_need(&fates, plan, task))
                .unwrap_or(Fate::Reused(found)),
            Some(Fate::Skipped) => open_need(&fates, plan, task).unwrap_or(Fate::Skipped),
            Some(runs) => runs,
            None => unlike()
                .map(Fate::runs)
                .or_else(|| open_need(&fates, plan, task))
                .unwrap_or(Fate::runs(Why::NotBegun)),
        };
        fates[task.index()] = fate;
    }
    fates
}

/// Says in what two tasks differ by themselves.
fn unlike(new: &Key, old: &Key) -> Option<Why> {
    match () {
        () if new.definition != old.definition => Some(Why::Changed),
        () if new.agent != old.agent => Some(Why::Agent),
        () if new.inputs != old.inputs => Some(Why::Inputs),
        () if new.base != old.base => Some(Why::Base),
        () => None,
    }
}

/// Says why a result is not to be taken over though it was a success.
fn refusal(plan: &Plan, task: TaskId, key: &Key, mission: &Mission, terms: Terms) -> Option<Why> {
    if terms == Terms::Fork {
        return None;
    }
    let in_repository = mission.start().is_some();
    if key.names_run {
        return Some(Why::NamesRun);
    }
    stays_inside(plan, task, in_repository).err()
}

/// Returns how many tasks of a plan, run in a repository, have results that a file that is run may take over.
#[must_use]
pub fn takeable(plan: &Plan) -> usize {
    plan.graph().tasks().filter(|task| stays_inside(plan, *task, true).is_ok()).count()
}

/// Tells whether a task, with all in it, leaves nothing but its change and its outputs, without a person's word.
fn stays_inside(plan: &Plan, task: TaskId, in_repository: bool) -> Result<(), Why> {
    let definition = plan.definition(task);
    let kind = definition.kind(in_repository);
    if definition.compensate.is_some() || !matches!(kind, WorkspaceKind::Clone | WorkspaceKind::ReadOnly) {
        return Err(Why::World);
    }
    let asks = |agent| plan.agent(agent).is_some_and(|spec| spec.adapter == "person");
    match &definition.work {
        Work::Gate(_) => Err(Why::Person),
        _ if definition.agent.is_some_and(asks) => Err(Why::Person),
        Work::Workflow(child) => {
            let mut inner = child.plan.graph().tasks();
            inner.try_for_each(|task| stays_inside(&child.plan, task, in_repository))
        }
        _ => Ok(()),
    }
}

fn own_fate(task: TaskId, state: &TaskState) -> Fate {
    match state {
        TaskState::Done | TaskState::Landed { .. } => Fate::Reused(task),
        // Nothing is taken over of it; its condition is computed again, over the same values.
        TaskState::Skipped { why: SkipCause::Condition | SkipCause::Need } => Fate::Skipped,
        TaskState::Running(_) | TaskState::Submitted(_) | TaskState::Verified(_) => Fate::runs(Why::UnderWay),
        TaskState::Compensating { .. }
        | TaskState::CompensationStuck { .. }
        | TaskState::CompensationSubmitted(_)
        | TaskState::Compensated => Fate::runs(Why::TakenBack),
        TaskState::Failed { .. }
        | TaskState::Cancelled
        | TaskState::Skipped { .. }
        | TaskState::BackingOff { .. }
        | TaskState::Parked(_) => Fate::runs(Why::Failed),
        TaskState::Blocked { .. }
        | TaskState::Ready
        | TaskState::AwaitingClaims
        | TaskState::AwaitingGate { .. } => Fate::runs(Why::NotBegun),
    }
}
