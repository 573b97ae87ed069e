//! `fork`: a new run that begins where an earlier one stood after some decision, and takes over its results.
//!
//! A result is taken over if what it depends on is the same, its task was done or landed by then, and so was everything
//! that it needs. Tasks that were skipped count as what they need.
//!
//! The new run starts from the last commit that holds nothing but results that are taken over. What landed after the
//! first change that is not, and what worked on a tree that held it, is done again.

use std::{collections::BTreeSet, sync::Arc};

use kapell_core::{
    id::{Digest, RunId, TaskId},
    journal::Version,
    mission::Mission,
    plan::{Plan, WorkspaceKind},
    run::Run,
};
use kapell_engine::{open::load_at, perform::kind_of, port::journal::Journal};
use kapell_policy::reuse::{Fate, Offer, Past, Source, Terms, Wanted, Why, offer};
use kapell_spec::suggest;
use kapell_store::Store;
use kapell_view::{
    text::{Line, Style, plural, short},
    untrusted::{Untrusted, visible},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, execute};
use crate::{
    args::ForkArgs,
    budget::Budget,
    containment,
    exit::Exit,
    fault::Fault,
    output::{page, paint, screen},
    registry::Registry,
    reuse::{self, Content},
    runs,
    site::Site,
    wiring::{Machine, machine, open_own_repo},
    workflow::{self, Overrides},
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
    /// Why, in one word.
    why: Word,
    /// The task that is the reason, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    because_of: Option<Untrusted>,
}

/// A reason as JSON has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct Word(Why);

impl JsonSchema for Word {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Why".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

fn reason(why: Why) -> &'static str {
    match why {
        Why::NotBegun => "had not begun",
        Why::UnderWay => "was under way: that attempt counts as lost",
        Why::Failed => "had not succeeded",
        Why::TakenBack => "had been taken back",
        Why::Changed => "is defined otherwise now",
        Why::Agent => "has another agent now, or another version of it",
        Why::Inputs => "reads inputs, which are others now",
        Why::Base => "reads what is other now",
        Why::World => "acts outside of git",
        Why::Person => "is for a person to decide",
        Why::NamesRun => "names the run that it is part of",
        Why::Need => "needs",
        Why::Tree => "came after",
        Why::NotThere => "landed what is not there now",
    }
}

/// The run starts from a commit that holds the change of a task that is to run again: only the run that it was forked
/// from has a commit without it.
fn cannot_leave_out(run: &Run, task: TaskId) -> Fault {
    let fault =
        Fault::new("K0512", Exit::Refused, "the change of a task that would run again cannot be left out")
            .at(format!("run {}, task {}", short(run.id()), Untrusted::from(run.plan().name(task)).visible()))
            .because("the run took it over from an earlier one, and starts from a commit that holds it");
    match run.mission().forked_from {
        Some((from, at)) => {
            fault.hint(format!("kapell fork {} --at {at}, with the same options", short(from)))
        }
        None => fault.hint("kapell run FILE starts from the file"),
    }
}

/// Tasks that ran, run again, and worked where git does not see what they did.
fn left_in_the_world(run: &Run, offer: &Offer) -> Vec<TaskId> {
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
    let taken: BTreeSet<TaskId> = offer.fates.iter().filter_map(Fate::taken).collect();
    let again = |task: &TaskId| !taken.contains(task);
    run.plan().graph().tasks().filter(|task| began(task) && again(task) && acts(task)).collect()
}

/// Starts a new run from the middle of another.
///
/// # Errors
///
/// Fails if there is no such run, decision or input, or if the work of the run has been collected.
pub fn fork(context: &Context, args: &ForkArgs) -> Result<Exit, Fault> {
    let mut site = context.site()?;
    containment::grant(&mut site, &args.contain)?;
    let store = site.existing_store()?;
    let head = runs::find(&store, Some(&args.run))?;
    let at = runs::decision(&head, args.at)?;
    let mut past = Past::default();
    let run = load_at(&store as &dyn Journal, head.run, at, |row, events, _| past.see(row.n, events))?;
    let Wish { mut mission, plan, lfs_pointers } = wanted(context, &site, &run, args)?;
    mission.forked_from = Some((run.id(), at));
    let offer = offered(&run, &past, &mission, &plan);
    if let Some(task) = offer.stuck {
        return Err(cannot_leave_out(&run, task));
    }
    let start = mission.start();
    mission.base = offer.base;
    mission.origin = start.filter(|start| offer.base != Some(*start));
    let id = RunId(*uuid::Uuid::now_v7().as_bytes());
    let told = tell(&run, at, &mission, &plan, &offer, (!args.dry_run).then_some(id));
    // What things cost is known better than when the other run was made.
    let plan = Registry::find(&site)?.foreseen(plan, &mission.limits, &store);
    let machine = match args.dry_run {
        true => None,
        false => Some(prepared(context, &site, store, &run, &mission, &plan, lfs_pointers)?),
    };
    // What is done is data only if nothing else is done.
    match (context.out.json, args.dry_run) {
        (true, _) => context.out.value(&told),
        (false, true) => context.out.data(&paint(&told.lines(page()))),
        (false, false) => context.out.note(paint(&told.lines(screen().0)).trim_end()),
    }
    let Some(mut machine) = machine else { return Ok(Exit::Done) };
    machine.host.create_with(id, mission, plan, offer.commands(&run, at))?;
    execute::finish(context, &mut machine, id, false)
}

/// Makes what executes the fork, and says before it is made what is said before any run.
fn prepared(
    context: &Context,
    site: &Site,
    store: Store,
    run: &Run,
    mission: &Mission,
    plan: &Plan,
    lfs_pointers: bool,
) -> Result<Machine, Fault> {
    if let Some(repo) = open_own_repo(site)? {
        reuse::hold(site, &repo, run, mission.base)?;
    }
    let machine = machine(site, store, mission.limits.jobs as usize)?;
    execute::announce(context, site, &machine, mission, plan, lfs_pointers)?;
    Ok(machine)
}

/// Both runs go back to one commit: its name stands for all that is read of it.
fn offered(run: &Run, past: &Past, mission: &Mission, plan: &Plan) -> Offer {
    let content = Content::named(mission.start());
    let mut then = run.mission().clone();
    for (adapter, version) in &mission.versions {
        // Where it was not recorded, the version counts as the same: a person has named the run.
        then.versions.entry(adapter.clone()).or_insert_with(|| version.clone());
    }
    let (old, new) = (content.keys(run.plan(), &then), content.keys(plan, mission));
    let source = Source { run, past, keys: &old };
    offer(&source, &Wanted { plan, mission, keys: &new }, Terms::Fork, &|_, _| true)
}

/// What the new run is asked.
struct Wish {
    mission: Mission,
    plan: Arc<Plan>,
    /// Whether the pointers of files in Git LFS will do.
    lfs_pointers: bool,
}

/// Returns what the new run is asked: what the old run was, or what the file says now.
fn wanted(context: &Context, site: &Site, run: &Run, args: &ForkArgs) -> Result<Wish, Fault> {
    let Some(file) = &args.file else {
        let mut mission = mission(run, args)?;
        mission.versions = reuse::versions(&Registry::find(site)?, run.plan());
        // Either there are none, or its file has said that they will do: else the old run would not be there.
        return Ok(Wish { mission, plan: run.plan().clone(), lfs_pointers: true });
    };
    let budget = workflow::budget(args.budget.as_deref())?;
    let inputs = workflow::inputs(&args.set)?;
    let overrides = Overrides { inputs, budget, ..Overrides::default() };
    let loaded = workflow::load(site, &context.path(file), &overrides, context.out)?;
    loaded.registry.check(&loaded.plan)?;
    let old = run.mission();
    let mission = Mission {
        seed: crate::site::random(),
        target: old.target.clone(),
        base: old.base,
        origin: old.origin,
        versions: reuse::versions(&loaded.registry, &loaded.plan),
        ..loaded.mission
    };
    Ok(Wish { mission, plan: loaded.plan, lfs_pointers: loaded.lfs_pointers })
}

fn mission(run: &Run, args: &ForkArgs) -> Result<Mission, Fault> {
    let mut mission = run.mission().clone();
    let set = workflow::inputs(&args.set)?;
    for (name, value) in set {
        let Some(known) = mission.inputs.get_mut(&name) else {
            let fault =
                Fault::new("K0511", Exit::Usage, format!("the run has no input `{}`", visible(&name)))
                    .at(format!("run {}", short(run.id())));
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
    mission.seed = crate::site::random();
    mission.parent = None;
    Ok(mission)
}

fn tell(run: &Run, at: Version, mission: &Mission, plan: &Plan, offer: &Offer, id: Option<RunId>) -> Fork {
    let name = |task: TaskId| Untrusted::from(plan.name(task));
    let rerun = |task: TaskId| match &offer.fates[task.index()] {
        Fate::Runs(why, of) => {
            let because_of = of.as_deref().map(Untrusted::from);
            Some(Rerun { task: name(task), why: Word(*why), because_of })
        }
        _ => None,
    };
    let is_taken = |task: &TaskId| offer.fates[task.index()].taken().is_some();
    let old_name = |task: TaskId| Untrusted::from(run.plan().name(task));
    Fork {
        version: 1,
        from: run.id().to_string(),
        at: at.0,
        run: id.map(|id| id.to_string()),
        base: mission.base.map(|base| base.to_string()),
        reused: plan.graph().tasks().filter(is_taken).map(name).collect(),
        rerun: plan.graph().tasks().filter_map(rerun).collect(),
        not_taken_back: left_in_the_world(run, offer).into_iter().map(old_name).collect(),
    }
}

impl Fork {
    fn lines(&self, columns: usize) -> Vec<Line> {
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
                Line::plain(format!("    {}: {}{of}", rerun.task.visible(), reason(rerun.why.0)))
                    .fit(columns),
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
