//! `run` and `resume`: executing runs in this process.

use std::ffi::OsString;

use kapell_agents::{git::BaseFacts, proxy::Tape};
use kapell_core::{
    budget::Limits,
    command::Command,
    id::RunId,
    journal::Actor,
    mission::Mission,
    plan::Plan,
    run::{Phase, Run},
    task::Slots,
};
use kapell_engine::{
    host::Rest,
    open::{OpenError, load},
    port::journal::{Journal, OwnError},
};
use kapell_store::Store;
use kapell_view::{
    text::{plural, short},
    untrusted::Untrusted,
};

use super::{
    Context,
    background::{self, Begun},
    control, merge, plan,
    record::{Keep, is_played, refuse_played},
};
use crate::{
    args::{MergeArgs, PlanArgs, ResumeArgs, RunArgs},
    budget::Budget,
    containment,
    exit::Exit,
    fault::Fault,
    forecast, ground, memory,
    reply::{Deed, Did},
    reuse, runs,
    session::{self, Interrupts, Patience},
    site::{self, Site},
    wiring::{Machine, machine, machine_with},
    workflow::{self, Loaded, Overrides},
};

/// Runs a workflow file, or goes on with its unfinished run.
///
/// # Errors
///
/// Fails if the file is not as it should be, or the run cannot be executed here.
pub fn run(context: &Context, args: &RunArgs) -> Result<Exit, Fault> {
    run_kept(context, args, None)
}

/// Runs a workflow file; records a new run of it if it is to be kept.
///
/// # Errors
///
/// As [`run`], and if nothing of it could be recorded.
pub fn run_kept(context: &Context, args: &RunArgs, keep: Option<&Keep>) -> Result<Exit, Fault> {
    if args.plan {
        return plan::plan(context, &PlanArgs::of(args));
    }
    let mut site = context.site()?;
    containment::grant(&mut site, &args.contain)?;
    let file = context.path(&args.file);
    let loaded = workflow::load(&site, &file, &Overrides::of(args)?, context.out)?;
    let (store, opened) = site.open_store()?;
    tell_opened(context, &opened);
    let unfinished = Unfinished::of(&store, &loaded.mission)?;
    // A recording of the second half of a run could not be played.
    let may_go_on = !args.new && !args.fresh && keep.is_none();
    if let Some(run) = unfinished.same.filter(|_| may_go_on) {
        if is_cancelled(&store, run)? {
            return run_after(context, args, &site, store, run);
        }
        if args.id.is_none() {
            return resume_same(context, args, &site, store, run);
        }
    }
    if let Some(run) = unfinished.earlier.filter(|_| args.id.is_none()) {
        let id = short(run);
        context.out.note(&format!(
            "run {id} of an earlier version of this file, or of other inputs, is unfinished: kapell resume {id} goes on with it"
        ));
    }
    let id = match &args.id {
        Some(id) => id.parse().map_err(|error| Fault::new("K0501", Exit::Usage, format!("{error}")))?,
        None => RunId(*uuid::Uuid::now_v7().as_bytes()),
    };
    run_new(context, args, keep, &site, store, id, loaded)
}

/// Goes on with an unfinished run of the file.
fn resume_same(
    context: &Context,
    args: &RunArgs,
    site: &Site,
    store: Store,
    run: RunId,
) -> Result<Exit, Fault> {
    if store.owner(run)?.is_none() {
        let what = format!("run {} of this file is unfinished: going on with it", short(run));
        context.out.note(&format!("{what} (--new starts another)"));
    }
    let budget = workflow::budget(args.budget.as_deref())?;
    let wanted = Wanted { budget, jobs: args.jobs, agents: args.agents };
    let how = How { part: None, merge: args.merge, detach: args.detach, wanted };
    resume_one(context, site, store, run, &how)
}

/// Makes a new run of the file, and executes it.
fn run_new(
    context: &Context,
    args: &RunArgs,
    keep: Option<&Keep>,
    site: &Site,
    store: Store,
    id: RunId,
    loaded: Loaded,
) -> Result<Exit, Fault> {
    loaded.registry.check(&loaded.plan)?;
    let mut mission = complete(site, loaded.mission)?;
    mission.versions = reuse::versions(&loaded.registry, &loaded.plan);
    if args.detach {
        return detach(context, &store, id, true);
    }
    let jobs = mission.limits.jobs as usize;
    let slots = Slots::new(mission.limits.agents, mission.limits.jobs);
    // Where all can start at once nothing is to be ordered.
    let plan = match loaded.plan.len() > jobs {
        true => forecast::learnt(loaded.plan, &store, slots),
        false => loaded.plan,
    };
    let plan = loaded.registry.foreseen(plan, &mission.limits, &store);
    let tape = keep.map_or(Ok(Tape::None), |keep| keep.tape(site, id, &plan))?;
    let mut machine = machine_with(site, store, jobs, tape)?;
    if let Some(keep) = keep {
        keep.announce(context, &machine, &plan)?;
    }
    announce(context, site, &machine, &mission, &plan, loaded.lfs_pointers)?;
    ground::announce(site, &machine, &mission, context.out);
    // A recording of the rest of a run could not be played.
    let takes = !args.fresh && keep.is_none();
    let repo = machine.repository.as_ref().map(|repository| repository.own_repo()).filter(|_| takes);
    let taken = repo.and_then(|repo| reuse::take(site, &machine.store, repo, &mut mission, &plan, args.new));
    if let Some(taken) = &taken {
        context.out.note(&taken.told(&plan));
    }
    let commands = taken.map(|taken| taken.commands).unwrap_or_default();
    machine.host.create_with(id, mission, plan, commands)?;
    if let Some(landed) = args.die_after {
        session::drive_to_death(&mut machine, id, context.out, landed)?;
    }
    let exit = finish(context, &mut machine, id, args.merge)?;
    if let Some(keep) = keep {
        // Its file is whole once the proxy is gone.
        drop(machine);
        keep.conclude(context, site, id);
    }
    Ok(exit)
}

/// Tells whether a person cancelled a run and nobody is there to bring that to its end.
fn is_cancelled(store: &Store, run: RunId) -> Result<bool, Fault> {
    Ok(store.owner(run)?.is_none() && matches!(load(store, run)?.phase(), Phase::Cancelling))
}

/// Brings a cancelled run to its end, and then starts the file anew: who cancels a run and runs its file does not mean the same
/// run once more.
fn run_after(
    context: &Context,
    args: &RunArgs,
    site: &Site,
    store: Store,
    cancelled: RunId,
) -> Result<Exit, Fault> {
    let id = short(cancelled);
    context.out.note(&format!("run {id} of this file was cancelled: that comes to its end first"));
    let mut machine = machine(site, store, workflow::default_jobs() as usize)?;
    machine.host.open(cancelled)?;
    let ended =
        session::drive(&mut machine, cancelled, context.out, off_a_terminal(context), &Interrupts::heed())?;
    let rest = machine.host.rest(cancelled);
    // The store is opened anew for the next one.
    drop(machine);
    if rest == Rest::Over {
        return run_kept(context, args, None);
    }
    context.out.next(&format!("kapell resume {id}"));
    Ok(ended)
}

/// Says what a person has to know before a new run is made, and refuses what could mislead it.
///
/// # Errors
///
/// Fails if an agent cannot be contained as it should be, or the base has files that would be pointers in workspaces, unless
/// `lfs_pointers` says that they will do.
pub fn announce(
    context: &Context,
    site: &Site,
    machine: &Machine,
    mission: &Mission,
    plan: &Plan,
    lfs_pointers: bool,
) -> Result<(), Fault> {
    machine.expect(plan);
    containment::announce(&machine.keeper, &machine.broker, plan, context.out)?;
    super::trust::announce(site, plan, context.out);
    memory::announce(&mission.limits, plan, context.out);
    tell_base(context, machine, mission, lfs_pointers)
}

/// Says what of the repository does not take effect in workspaces. Files in Git LFS are not there at all, so somebody
/// must have said that pointers will do.
fn tell_base(
    context: &Context,
    machine: &Machine,
    mission: &Mission,
    lfs_pointers: bool,
) -> Result<(), Fault> {
    let facts = machine.repository.as_ref().zip(mission.base);
    // A base that cannot be read is told when the run is made.
    let facts = facts.and_then(|(repository, base)| repository.own_repo().inspect(base).ok());
    if let Some(file) = facts.as_ref().and_then(|facts| facts.lfs.as_ref()).filter(|_| !lfs_pointers) {
        return Err(Fault::new("K0710", Exit::Refused, "the repository keeps files in Git LFS")
            .at(Untrusted::from(file).visible())
            .because("in workspaces they would be their pointers, not their content")
            .hint("if pointers will do for these tasks, add `lfs: pointers` to the file"));
    }
    facts.iter().flat_map(BaseFacts::told).for_each(|line| context.out.note(&line));
    Ok(())
}

/// Goes on with one run, or with all that are unfinished.
///
/// # Errors
///
/// Fails if there is none, or it is executed elsewhere.
pub fn resume(context: &Context, args: &ResumeArgs) -> Result<Exit, Fault> {
    let mut site = context.site()?;
    containment::grant(&mut site, &args.contain)?;
    let store = site.existing_store()?;
    let wanted = Wanted { budget: workflow::budget(args.budget.as_deref())?, ..Wanted::default() };
    let mut how = How { part: None, merge: args.merge, detach: args.detach, wanted };
    if args.all {
        return resume_all(context, &site, store, &how);
    }
    let named = match &args.run {
        Some(_) => runs::find(&store, args.run.as_deref())?.run,
        None => {
            let nothing = || Fault::new("K0507", Exit::Usage, "no run is unfinished").hint("kapell status");
            runs::unfinished(&store)?.first().ok_or_else(nothing)?.run
        }
    };
    let run = runs::outermost(&store, named)?;
    if run != named {
        context.out.note(&format!("run {} is part of run {}: going on with that", short(named), short(run)));
        how.part = Some(named);
    }
    resume_one(context, &site, store, run, &how)
}

/// How a run is gone on with.
struct How {
    /// The part of it that was named.
    part: Option<RunId>,
    merge: bool,
    detach: bool,
    wanted: Wanted,
}

/// Limits of a run that somebody wants from now on; what is not named stays as it is.
#[derive(Default)]
struct Wanted {
    budget: Budget,
    jobs: Option<u32>,
    agents: Option<u32>,
}

impl Wanted {
    fn over(&self, limits: Limits) -> Limits {
        let (jobs, agents) = (self.jobs.unwrap_or(limits.jobs), self.agents.unwrap_or(limits.agents));
        Limits { jobs, agents, ..self.budget.over(limits) }
    }
}

fn resume_one(context: &Context, site: &Site, store: Store, run: RunId, how: &How) -> Result<Exit, Fault> {
    let mission = runs::mission(&store, run)?;
    refuse_played(&store, run, &mission)?;
    if told_owner(context, &store, run, how)? {
        return Ok(Exit::Done);
    }
    if how.detach {
        return detach(context, &store, run, false);
    }
    let jobs = how.wanted.jobs.unwrap_or(mission.limits.jobs) as usize;
    let mut machine = machine(site, store, jobs)?;
    machine.host.open(run)?;
    if let Some(state) = machine.host.run(run) {
        super::trust::announce(site, state.plan(), context.out);
    }
    go_on(context, &mut machine, run, &how.wanted)?;
    if let Some(part) = how.part.filter(|part| machine.host.run(*part).is_some_and(is_paused)) {
        let resume = Command::Resume { limits: None };
        machine.host.put(part, Actor::Person(site::person()), resume, None);
    }
    finish(context, &mut machine, run, how.merge)
}

/// Lets a run go on in the process that executes it, if it is paused there or is to have other limits; returns whether that was
/// so. Any other run in the hands of a process is to be left alone.
fn told_owner(context: &Context, store: &Store, run: RunId, how: &How) -> Result<bool, Fault> {
    let Some(owner) = store.owner(run)? else { return Ok(false) };
    let mut commands: Vec<(RunId, Command)> =
        wishes(&load(store, run)?, &how.wanted).into_iter().map(|command| (run, command)).collect();
    if let Some(part) = how.part.filter(|_| commands.is_empty())
        && is_paused(&load(store, part)?)
    {
        commands.push((part, Command::Resume { limits: None }));
    }
    if commands.is_empty() {
        return Ok(false);
    }
    for (run, command) in commands {
        match control::put_to(&owner, run, command) {
            // It has come to rest meanwhile, and left the run to us.
            Err(_) if store.owner(run)?.is_none() => return Ok(false),
            told => told?,
        }
    }
    let id = short(run);
    context.out.deed(&Deed::of(Did::Resumed, run));
    context.out.note(&format!("run {id} goes on in the process that executes it"));
    if how.merge {
        context
            .out
            .note(&format!("it merges if it was told so itself; else kapell merge {id}, once it is over"));
    }
    context.out.next(&format!("kapell watch {id}"));
    Ok(true)
}

fn is_paused(run: &Run) -> bool {
    matches!(run.phase(), Phase::Paused(_))
}

/// Returns what is to be put to a run so that it goes on, within new limits if there are any.
fn wishes(run: &Run, wanted: &Wanted) -> Vec<Command> {
    let limits = Some(wanted.over(*run.limits())).filter(|limits| limits != run.limits());
    match (run.phase(), limits) {
        (Phase::Paused(_), limits) => vec![Command::Resume { limits }],
        // Limits change while a run is paused, so that nothing is decided by half of the new ones.
        (Phase::Active, limits @ Some(_)) => vec![Command::Pause, Command::Resume { limits }],
        _ => Vec::new(),
    }
}

/// Lets an opened run go on, within new limits if there are any.
fn go_on(context: &Context, machine: &mut Machine, run: RunId, wanted: &Wanted) -> Result<(), Fault> {
    let Some(state) = machine.host.run(run) else { return Ok(()) };
    containment::announce(&machine.keeper, &machine.broker, state.plan(), context.out)?;
    memory::announce(state.limits(), state.plan(), context.out);
    for command in wishes(state, wanted) {
        machine.host.put(run, Actor::Person(site::person()), command, None);
    }
    Ok(())
}

fn resume_all(context: &Context, site: &Site, store: Store, how: &How) -> Result<Exit, Fault> {
    let mut runs = Vec::new();
    for run in runs::unfinished(&store)?.into_iter().map(|head| head.run) {
        match refuse_played(&store, run, &runs::mission(&store, run)?) {
            Ok(()) => runs.push(run),
            Err(fault) if fault.code == "K0954" => context.out.note(&fault.message),
            // Whatever is the matter with it, the others go on.
            Err(fault) => {
                context.out.note(&format!("run {} is left as it is: {}", short(run), fault.message))
            }
        }
    }
    let jobs = workflow::default_jobs() as usize;
    let mut machine = machine(site, store, jobs)?;
    let mut opened = Vec::new();
    for run in runs {
        match machine.host.open(run) {
            Ok(()) => opened.push(run),
            Err(OpenError::Own(OwnError::Held(_))) => {
                context
                    .out
                    .note(&format!("run {} is executed by another process: it is left to it", short(run)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for run in &opened {
        go_on(context, &mut machine, *run, &how.wanted)?;
    }
    let interrupts = Interrupts::heed();
    let mut exit = Exit::Done;
    for run in opened {
        let patience = off_a_terminal(context);
        let ended = finish_patiently(context, &mut machine, run, how.merge, patience, &interrupts)?;
        exit = exit.or_graver(ended);
        if ended == Exit::Interrupted {
            break;
        }
    }
    Ok(exit)
}

/// Executes a run to its rest, merges if that was asked for, and says what comes next.
///
/// # Errors
///
/// As [`session::drive`] and [`merge::merge_here`].
pub fn finish(context: &Context, machine: &mut Machine, run: RunId, merge: bool) -> Result<Exit, Fault> {
    let patience = match context.out.is_live() {
        true if !context.no_input => Patience::ForPeople,
        _ => off_a_terminal(context),
    };
    finish_patiently(context, machine, run, merge, patience, &Interrupts::heed())
}

/// How long somebody who is not at a terminal waits for people: in the background, those at others can answer.
fn off_a_terminal(context: &Context) -> Patience {
    match context.no_input && std::env::var_os(crate::IN_BACKGROUND).is_none() {
        true => Patience::Never,
        false => Patience::Ends,
    }
}

fn finish_patiently(
    context: &Context,
    machine: &mut Machine,
    run: RunId,
    merge: bool,
    patience: Patience,
    interrupts: &Interrupts,
) -> Result<Exit, Fault> {
    let ended = session::drive(machine, run, context.out, patience, interrupts)?;
    let mut exit = ended;
    if exit == Exit::Done && merge && machine.host.rest(run) == Rest::Over {
        exit = merge::merge_here(context, machine, run, &MergeArgs::default(), interrupts)?;
    }
    if let Some(state) = machine.host.run(run) {
        session::conclude(&machine.store, state, context.out, ended == Exit::Interrupted);
    }
    Ok(exit)
}

/// Adds to a mission what only this place and moment know.
///
/// # Errors
///
/// Fails if its target does not exist.
pub fn complete(site: &Site, mut mission: Mission) -> Result<Mission, Fault> {
    mission.seed = site::random();
    mission.limits.memory_mib = memory::for_agents(site);
    let Some(repo) = &site.repo else { return Ok(mission) };
    let target = match &mission.target {
        Some(branch) => kapell_agents::git::UserRepo::branch_name(branch)?,
        None => match repo.head() {
            kapell_agents::git::Head::Branch { name, .. } => name.clone(),
            _ => String::new(),
        },
    };
    if target.is_empty() {
        mission.base = Some(repo.head_commit()?);
        mission.target = None;
        return Ok(mission);
    }
    let no_branch = || {
        Fault::new("K0702", Exit::Usage, format!("the target `{target}` does not exist"))
            .hint("git branch --list; then set `target:` in the file")
    };
    mission.base = match repo.find_ref(&target)? {
        Some(commit) => Some(commit),
        None if mission.target.is_none() => Some(repo.head_commit()?),
        // Where there is no commit at all, no name of a branch would help.
        None => return Err(repo.head_commit().err().map_or_else(no_branch, Fault::from)),
    };
    mission.target = Some(target);
    Ok(mission)
}

/// The newest unfinished runs of a file.
#[derive(Default)]
struct Unfinished {
    /// Of the file as it is, with the same inputs.
    same: Option<RunId>,
    /// Of what the file was before, or with other inputs.
    earlier: Option<RunId>,
}

impl Unfinished {
    fn of(store: &Store, mission: &Mission) -> Result<Self, Fault> {
        let mut found = Self::default();
        for head in runs::unfinished(store)? {
            let other = runs::mission(store, head.run)?;
            if other.definition.is_none() || is_played(&other) {
                continue;
            }
            if other.definition == mission.definition {
                found.same = Some(head.run);
                break;
            }
            if other.source.is_some() && other.source == mission.source && found.earlier.is_none() {
                found.earlier = Some(head.run);
            }
        }
        Ok(found)
    }
}

fn tell_opened(context: &Context, opened: &kapell_store::Opened) {
    if opened.torn_frames > 0 {
        context.out.note(&format!(
            "the journal had {} at its end, which nobody was told of: cut off",
            plural(opened.torn_frames, "unfinished frame")
        ));
    }
}

/// Starts this program again in a session of its own, and returns once it executes the run.
fn detach(context: &Context, store: &Store, run: RunId, is_new: bool) -> Result<Exit, Fault> {
    let id = is_new.then(|| run.to_string());
    let words = again(std::env::args_os().skip(1), id.as_deref());
    if let Some((exit, said)) = begun(background::spawn(&words, store, run)?, run)? {
        context.out.relay(&said);
        return Ok(exit);
    }
    match context.out.json {
        true => context.out.deed(&Deed::of(Did::Started, run)),
        false => context.out.data(&run.to_string()),
    }
    context.out.next(&format!("kapell watch {}", short(run)));
    Ok(Exit::Done)
}

/// Judges what became of a run that was to begin in the background: how its process ended and what it said, if it was refused.
///
/// # Errors
///
/// Fails if it has not begun yet: its id is none that other commands know.
fn begun(what: Begun, run: RunId) -> Result<Option<(Exit, String)>, Fault> {
    match what {
        Begun::Executed => Ok(None),
        Begun::Refused { exit, said } => Ok(Some((exit, said))),
        Begun::Slow => {
            let seconds = background::BEGIN.as_secs();
            Err(Fault::new(
                "K0904",
                Exit::Environment,
                format!("run {} has not begun in {seconds} s", short(run)),
            )
            .because("its process is there, and goes on trying")
            .hint("kapell status lists the run once it has begun; kapell doctor says how fast the disk is"))
        }
    }
}

/// Returns the same command line once more, in the foreground: it finds the same file, or the same unfinished run. A new run gets
/// `id`.
fn again(words: impl Iterator<Item = OsString>, id: Option<&str>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    // What stands behind `--` is no option.
    let options = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let operands = words.split_off(options);
    words.retain(|word| word != "--detach");
    words.extend(id.into_iter().flat_map(|id| ["--id".into(), id.into()]));
    words.extend(operands);
    words
}

/// Starts a workflow file in the background, or goes on with its unfinished run, and returns the run's id.
///
/// # Errors
///
/// Fails if the file is not as it should be, or no process can be started.
pub fn start(context: &Context, args: &RunArgs) -> Result<RunId, Fault> {
    let site = context.site()?;
    let loaded = workflow::load(&site, &context.path(&args.file), &Overrides::of(args)?, context.out)?;
    let (store, _) = site.open_store()?;
    let mut words: Vec<OsString> = vec!["-C".into(), context.directory.clone().into_os_string()];
    let mut unfinished = Unfinished::of(&store, &loaded.mission)?.same;
    if let Some(run) = unfinished
        && is_cancelled(&store, run)?
    {
        unfinished = None;
    }
    let run = match unfinished.filter(|_| !args.new && !args.fresh) {
        Some(run) if store.owner(run)?.is_some() => return Ok(run),
        Some(run) => {
            words.extend(["resume".into(), run.to_string().into()]);
            run
        }
        None => {
            loaded.registry.check(&loaded.plan)?;
            complete(&site, loaded.mission)?;
            let run = RunId(*uuid::Uuid::now_v7().as_bytes());
            words.extend(["run".into(), "--id".into(), run.to_string().into()]);
            words.extend(args.new.then(|| "--new".into()));
            words.extend(args.fresh.then(|| "--fresh".into()));
            words.extend(args.set.iter().flat_map(|pair| ["--set".into(), pair.into()]));
            words.extend(args.agent.iter().flat_map(|agent| ["--agent".into(), agent.into()]));
            words.extend(args.agents.iter().flat_map(|n| ["--agents".into(), n.to_string().into()]));
            words.extend(args.jobs.iter().flat_map(|n| ["--jobs".into(), n.to_string().into()]));
            run
        }
    };
    words.extend(args.budget.iter().flat_map(|budget| ["--budget".into(), budget.into()]));
    words.extend(args.merge.then(|| "--merge".into()));
    if words.get(2).is_some_and(|command| command == "run") {
        words.extend(["--".into(), args.file.clone().into_os_string()]);
    }
    match begun(background::spawn(&words, &store, run)?, run)? {
        None => Ok(run),
        Some((exit, said)) => {
            Err(Fault::new("K0904", exit, "the run was not started").because(said.trim_end()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_has_not_begun_is_not_told_as_one_that_has() {
        let run = RunId([7; 16]);
        let Fault { message, exit, .. } = begun(Begun::Slow, run).unwrap_err();
        assert_eq!((message, exit), (format!("run {} has not begun in 60 s", short(run)), Exit::Environment));
        assert!(begun(Begun::Executed, run).unwrap().is_none());
        let refused = Begun::Refused { exit: Exit::Usage, said: "no".to_owned() };
        assert_eq!(begun(refused, run).unwrap(), Some((Exit::Usage, "no".to_owned())));
    }

    #[test]
    fn what_is_started_again_has_its_id_before_its_operands() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (typed, expected) in [
            ("run --detach a.yaml", "run a.yaml --id X"),
            ("run --detach --jobs 2 -- a.yaml", "run --jobs 2 --id X -- a.yaml"),
            ("run --detach -- --detach", "run --id X -- --detach"),
        ] {
            assert_eq!(again(words(typed).into_iter(), Some("X")), words(expected), "{typed}");
        }
        assert_eq!(again(words("resume --detach").into_iter(), None), words("resume"));
    }
}
