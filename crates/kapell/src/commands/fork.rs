//! `fork`: a new run that begins where an earlier one stood after some decision, and takes over its results.
//!
//! A result is taken over if its task was done or landed by then, and so was everything that it needs. Tasks that
//! were skipped count as what they need. With other inputs (`--set`), neither the task nor anything before it may so
//! much as mention `inputs`: what an expression came to is not recorded, so only its absence proves that the result
//! would be the same.
//!
//! The new run starts from the last commit that holds nothing but results that are taken over. What landed after the
//! first change that is not, and what worked on a tree that held it, is done again.

use std::collections::{BTreeMap, BTreeSet};

use kapell_agents::git::{House, base_ref};
use kapell_core::{
    command::Command,
    event::Event,
    id::{DefinitionId, Digest, Oid, RunId, TaskId},
    journal::Version,
    mission::Mission,
    plan::{Definition, WorkspaceKind},
    run::Run,
    task::{SkipCause, TaskState},
};
use kapell_engine::{open::load_at, perform::kind_of, port::journal::Journal};
use kapell_spec::suggest;
use kapell_view::{
    text::{Line, Style, plural, short},
    untrusted::{Untrusted, visible},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, execute, past::decision};
use crate::{
    args::ForkArgs,
    budget::Budget,
    exit::Exit,
    fault::Fault,
    output::{paint, screen},
    runs,
    site::Site,
    wiring::{machine, open_house},
    workflow,
};

/// The most tasks that are named of each kind.
const NAMED_MAX: usize = 50;

/// What a fork takes over, and what it does again.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Fork {
    /// The version of this form: 1.
    version: u32,
    /// The run that it is forked from.
    from: String,
    /// The decision of that run after which it parts.
    at: u64,
    /// The id of the new run; none if it is only looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    /// The commit that it starts from; none outside a git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    /// Tasks whose results are taken over.
    reused: Vec<Untrusted>,
    /// Tasks that run, and why nothing is taken over.
    rerun: Vec<Rerun>,
    /// Tasks that may have acted on the world outside of git in the earlier run: that is not taken back.
    not_taken_back: Vec<Untrusted>,
}

/// A task that runs in the fork.
#[derive(Debug, Serialize, JsonSchema)]
struct Rerun {
    /// Its name.
    task: Untrusted,
    /// Why.
    why: Why,
    /// The task that is the reason, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    because_of: Option<Untrusted>,
}

/// Why a task runs in the fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Why {
    /// It had not begun.
    NotBegun,
    /// An attempt was under way: it counts as lost.
    UnderWay,
    /// It had failed, or was cancelled.
    Failed,
    /// What it did had been taken back.
    TakenBack,
    /// It reads inputs, and they are others now.
    Inputs,
    /// Something that it needs runs again.
    Need,
    /// It worked on, or landed on, a tree with the change of a task that runs again.
    Tree,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Self::NotBegun => "had not begun",
            Self::UnderWay => "was under way: that attempt counts as lost",
            Self::Failed => "had not succeeded",
            Self::TakenBack => "had been taken back",
            Self::Inputs => "may read inputs, which are others now",
            Self::Need => "needs",
            Self::Tree => "came after",
        }
    }
}

/// Whether what a task came to still holds in the fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Reused,
    /// Skipped by itself again.
    Skipped,
    Runs(Why, Option<TaskId>),
}

/// Decides for each task what becomes of its result.
fn fates(run: &Run, other_inputs: bool) -> Vec<Fate> {
    let plan = run.plan();
    let mut reads = BTreeMap::<DefinitionId, bool>::new();
    let mut fates = vec![Fate::Runs(Why::NotBegun, None); run.len()];
    for task in plan.graph().order() {
        let reads = other_inputs
            && *reads
                .entry(plan.definition_id(task))
                .or_insert_with(|| mentions_inputs(plan.definition(task)));
        let open = plan.graph().needs(task).iter().find(|need| matches!(fates[need.index()], Fate::Runs(..)));
        let own = own_fate(run.state(task));
        fates[task.index()] = match (own, reads, open) {
            (Fate::Runs(why, of), ..) => Fate::Runs(why, of),
            (_, true, _) => Fate::Runs(Why::Inputs, None),
            (_, _, Some(need)) => Fate::Runs(Why::Need, Some(*need)),
            (own, ..) => own,
        };
    }
    fates
}

/// What the decisions tell that the state does not keep.
#[derive(Default)]
struct Past {
    /// What landed, in order, with the decision.
    landed: Vec<(TaskId, Oid, Version)>,
    /// The decision that started the last attempt of each task.
    started: BTreeMap<TaskId, Version>,
    /// Tasks whose change was taken over from an earlier run still.
    taken_over: BTreeSet<TaskId>,
}

impl Past {
    fn see(&mut self, n: Version, events: &[Event]) {
        for event in events {
            match event {
                Event::Landed { task, commit } => self.landed.push((*task, *commit, n)),
                Event::Started { task, .. } => {
                    self.started.insert(*task, n);
                }
                Event::Reused { task, landed: Some(_), .. } => {
                    self.taken_over.insert(*task);
                }
                _ => {}
            }
        }
    }

    /// Returns the commit to start from, and lets run again what does not hold without the changes after it.
    fn base(&self, run: &Run, fates: &mut [Fate]) -> Result<Option<Oid>, Fault> {
        if let Some(task) = self.taken_over.iter().find(|task| matches!(fates[task.index()], Fate::Runs(..)))
        {
            return Err(cannot_leave_out(run, *task));
        }
        let mut base = run.mission().base;
        let mut cut = None;
        for (task, commit, n) in &self.landed {
            match (fates[task.index()], cut) {
                (Fate::Reused, None) => base = Some(*commit),
                (Fate::Reused, Some((of, _))) => fates[task.index()] = Fate::Runs(Why::Tree, Some(of)),
                (_, None) => cut = Some((*task, *n)),
                _ => {}
            }
        }
        let Some((of, n)) = cut else { return Ok(base) };
        for task in run.plan().graph().order() {
            if fates[task.index()] != Fate::Reused {
                continue;
            }
            let sees_tree = matches!(kind_of(run, task), WorkspaceKind::Clone | WorkspaceKind::ReadOnly);
            let late = self.started.get(&task).is_some_and(|started| *started > n);
            let open = run
                .plan()
                .graph()
                .needs(task)
                .iter()
                .find(|need| matches!(fates[need.index()], Fate::Runs(..)));
            if let Some(need) = open {
                fates[task.index()] = Fate::Runs(Why::Need, Some(*need));
            } else if sees_tree && late {
                fates[task.index()] = Fate::Runs(Why::Tree, Some(of));
            }
        }
        Ok(base)
    }
}

/// The run starts from a commit that holds the change of a task that is to run again: only the run that it was forked
/// from has a commit without it.
fn cannot_leave_out(run: &Run, task: TaskId) -> Fault {
    let fault =
        Fault::new("K0512", Exit::Refused, "the change of a task that would run again cannot be left out")
            .at(format!("run {}, task {}", run.id(), Untrusted::from(run.plan().name(task)).visible()))
            .because("the run took it over from an earlier one, and starts from a commit that holds it");
    match run.mission().forked_from {
        Some((from, at)) => fault.hint(format!("kapell fork {} --at {at}, with the same --set", short(from))),
        None => fault.hint("kapell run FILE starts from the file"),
    }
}

fn own_fate(state: &TaskState) -> Fate {
    match state {
        TaskState::Done | TaskState::Landed { .. } => Fate::Reused,
        // Nothing is taken over of it; its condition is computed again, over the same values.
        TaskState::Skipped { why: SkipCause::Condition | SkipCause::Need } => Fate::Skipped,
        TaskState::Running(_) | TaskState::Submitted(_) | TaskState::Verified(_) => {
            Fate::Runs(Why::UnderWay, None)
        }
        TaskState::Compensating { .. } | TaskState::CompensationStuck { .. } | TaskState::Compensated => {
            Fate::Runs(Why::TakenBack, None)
        }
        TaskState::Failed { .. } | TaskState::Cancelled | TaskState::Skipped { .. } => {
            Fate::Runs(Why::Failed, None)
        }
        TaskState::BackingOff { .. } | TaskState::Parked(_) => Fate::Runs(Why::Failed, None),
        TaskState::Blocked { .. }
        | TaskState::Ready
        | TaskState::AwaitingClaims
        | TaskState::AwaitingGate { .. } => Fate::Runs(Why::NotBegun, None),
    }
}

/// Tells whether a definition may read the inputs. Names are compared without regard to case, as expressions do.
fn mentions_inputs(definition: &Definition) -> bool {
    let text = serde_json::to_string(definition).unwrap_or_else(|_| "inputs".to_owned());
    text.to_ascii_lowercase().contains("inputs")
}

/// Tasks that ran, run again, and worked where git does not see what they did.
fn left_in_the_world(run: &Run, fates: &[Fate]) -> Vec<TaskId> {
    let began = |task: &TaskId| run.task(*task).is_some_and(|task| task.attempts > 0);
    let acts = |task: &TaskId| {
        let definition = run.plan().definition(*task);
        definition.compensate.is_some()
            || matches!(kind_of(run, *task), WorkspaceKind::None | WorkspaceKind::InPlace)
                && matches!(
                    definition.work,
                    kapell_core::plan::Work::Run(_) | kapell_core::plan::Work::Prompt(_)
                )
    };
    let again = |task: &TaskId| matches!(fates[task.index()], Fate::Runs(..));
    run.plan().graph().tasks().filter(|task| began(task) && again(task) && acts(task)).collect()
}

/// Starts a new run from the middle of another.
///
/// # Errors
///
/// Fails if there is no such run, decision or input, or if the work of the run has been collected.
pub fn fork(context: &Context, args: &ForkArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let head = runs::find(&store, Some(&args.run))?;
    let at = decision(&head, args.at)?;
    let mut past = Past::default();
    let run = load_at(&store as &dyn Journal, head.run, at, |row, events, _| past.see(row.n, events))?;
    let mut mission = mission(&run, at, args)?;
    let mut fates = fates(&run, mission.inputs != run.mission().inputs);
    mission.base = past.base(&run, &mut fates)?;
    let id = RunId(*uuid::Uuid::now_v7().as_bytes());
    let told = tell(&run, at, &mission, &fates, (!args.dry_run).then_some(id));
    // What is done is data only if nothing else is done.
    match (context.out.json, args.dry_run) {
        (true, _) => context.out.value(&told),
        (false, true) => context.out.data(&paint(&told.lines())),
        (false, false) => context.out.note(paint(&told.lines()).trim_end()),
    }
    if args.dry_run {
        return Ok(Exit::Done);
    }
    if let Some(house) = open_house(&site)? {
        hold(&site, &house, &run, &mission)?;
    }
    let jobs = mission.limits.jobs as usize;
    let mut machine = machine(&site, store, jobs)?;
    machine.host.create_with(id, mission, run.plan().clone(), reuse(&run, at, &fates))?;
    execute::finish(context, &mut machine, id, false)
}

fn mission(run: &Run, at: Version, args: &ForkArgs) -> Result<Mission, Fault> {
    let mut mission = run.mission().clone();
    let set = workflow::inputs(&args.set)?;
    for (name, value) in set {
        let Some(known) = mission.inputs.get_mut(&name) else {
            let fault =
                Fault::new("K0511", Exit::Usage, format!("the run has no input `{}`", visible(&name)))
                    .at(format!("run {}", run.id()));
            return Err(match suggest::nearest(&name, mission.inputs.keys().map(String::as_str)) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault.hint("kapell run FILE --set NAME=VALUE starts from the file"),
            });
        };
        *known = value;
    }
    if let Some(text) = &args.budget {
        let budget = Budget::parse(text)
            .map_err(|why| Fault::new("K0913", Exit::Usage, why).hint("--budget 5usd,2M,2h"))?;
        mission.limits = budget.over(mission.limits);
    }
    if mission.inputs != run.mission().inputs {
        // It is no longer what the file with its inputs says, so it is not to be taken for that.
        let text = serde_json::to_vec(&(mission.definition, &mission.inputs)).unwrap_or_default();
        mission.definition = mission.definition.map(|_| Digest::of(&text));
    }
    let mut seed = [0; 8];
    seed.copy_from_slice(&uuid::Uuid::now_v7().as_bytes()[8..]);
    mission.seed = u64::from_le_bytes(seed);
    mission.forked_from = Some((run.id(), at));
    mission.parent = None;
    Ok(mission)
}

/// Brings what had landed into the user's repository, so that a ref there can hold it as the base of the new run.
fn hold(site: &Site, house: &House, run: &Run, mission: &Mission) -> Result<(), Fault> {
    let (Some(user), Some(old), Some(new)) = (&site.repo, run.mission().base, mission.base) else {
        return Ok(());
    };
    if old == new {
        return Ok(());
    }
    let name = base_ref(run.id());
    if user.find_ref(&name)? != Some(old) {
        return Err(Fault::new(
            "K0509",
            Exit::Refused,
            format!("the work of run {} has been collected", short(run.id())),
        )
        .because(format!("{name} is gone"))
        .hint("kapell run FILE starts from the file"));
    }
    // The ref does not move: only objects are brought over, as before a merge.
    house.prepare_merge(user, &name, old, new)?;
    Ok(())
}

fn reuse(run: &Run, at: Version, fates: &[Fate]) -> Vec<Command> {
    let tasks = run.plan().graph().tasks().filter(|task| fates[task.index()] == Fate::Reused);
    tasks
        .map(|task| {
            let landed = match run.state(task) {
                TaskState::Landed { commit } => Some(**commit),
                _ => None,
            };
            let outputs = run.outputs(task).cloned().unwrap_or_default();
            Command::Reuse { task, from: run.id(), at, landed, outputs }
        })
        .collect()
}

fn tell(run: &Run, at: Version, mission: &Mission, fates: &[Fate], id: Option<RunId>) -> Fork {
    let plan = run.plan();
    let name = |task: TaskId| Untrusted::from(plan.name(task));
    let tasks = || plan.graph().tasks();
    let rerun = |task: TaskId| match fates[task.index()] {
        Fate::Runs(why, of) => Some(Rerun { task: name(task), why, because_of: of.map(name) }),
        _ => None,
    };
    Fork {
        version: 1,
        from: run.id().to_string(),
        at: at.0,
        run: id.map(|id| id.to_string()),
        base: mission.base.map(|base| base.to_string()),
        reused: tasks().filter(|task| fates[task.index()] == Fate::Reused).map(name).collect(),
        rerun: tasks().filter_map(rerun).collect(),
        not_taken_back: left_in_the_world(run, fates).into_iter().map(name).collect(),
    }
}

impl Fork {
    fn lines(&self) -> Vec<Line> {
        let (columns, _) = screen();
        let from = self.from.parse::<RunId>().map_or_else(|_| self.from.clone(), short);
        let mut lines = vec![Line::plain(format!("fork of run {from} after decision {}", self.at))];
        let names = |names: &[Untrusted]| {
            let shown: Vec<String> = names.iter().take(NAMED_MAX).map(Untrusted::visible).collect();
            let more = names.len().saturating_sub(NAMED_MAX);
            if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
        };
        let count = plural(self.reused.len() as u64, "result");
        let mut line = Line::new(Style::Good, format!("  reuses {count}"));
        if !self.reused.is_empty() {
            line.push(Style::Plain, format!(": {}", names(&self.reused)));
        }
        lines.push(line.fit(columns));
        lines.push(Line::new(Style::Active, format!("  runs {}", plural(self.rerun.len() as u64, "task"))));
        for rerun in self.rerun.iter().take(NAMED_MAX) {
            let of = rerun
                .because_of
                .as_ref()
                .map(|of| format!(" {}, which runs again", of.visible()))
                .unwrap_or_default();
            lines.push(
                Line::plain(format!("    {}: {}{of}", rerun.task.visible(), rerun.why.text())).fit(columns),
            );
        }
        if self.rerun.len() > NAMED_MAX {
            lines.push(Line::plain(format!("    and {} more", self.rerun.len() - NAMED_MAX)));
        }
        if !self.not_taken_back.is_empty() {
            let text = format!("  not taken back: what {} did outside of git", names(&self.not_taken_back));
            lines.push(Line::new(Style::Warn, text).fit(columns));
        }
        lines
    }
}
