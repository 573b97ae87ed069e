//! `run` and `resume`: executing runs in this process.

use std::{
    ffi::OsString,
    process::{self, Stdio},
};

use kapell_agents::proxy::Tape;
use kapell_core::{command::Command, id::RunId, journal::Actor, mission::Mission, run::Phase};
use kapell_engine::{host::Rest, port::journal::Journal};
use kapell_store::Store;

use super::{
    Context, landing, plan,
    record::{Keep, refuse_played},
};
use crate::{
    args::{PlanArgs, ResumeArgs, RunArgs},
    budget::Budget,
    containment,
    exit::Exit,
    fault::Fault,
    memory, runs,
    session::{self, Patience},
    site::Site,
    wiring::{Machine, machine, machine_with},
    workflow::{self, Overrides},
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
    // A recording of the second half of a run could not be played.
    let goes_on = !args.new && args.id.is_none() && keep.is_none();
    if let Some(run) = unfinished_of(&store, &loaded.mission)?.filter(|_| goes_on) {
        context
            .out
            .note(&format!("run {run} of this file is unfinished: going on with it (--new starts another)"));
        let how =
            How { merge: args.merge, detach: args.detach, budget: workflow::budget(args.budget.as_deref())? };
        return resume_one(context, &site, store, run, &how);
    }
    let id = match &args.id {
        Some(id) => id.parse().map_err(|error| Fault::new("K0501", Exit::Usage, format!("{error}")))?,
        None => RunId(*uuid::Uuid::now_v7().as_bytes()),
    };
    loaded.registry.check(&loaded.plan)?;
    let mission = complete(&site, loaded.mission)?;
    if args.detach {
        return detach(context, id, true);
    }
    let jobs = mission.limits.jobs as usize;
    let tape = keep.map_or(Ok(Tape::None), |keep| keep.tape(&site, id, &loaded.plan))?;
    let mut machine = machine_with(&site, store, jobs, tape)?;
    machine.expect(&loaded.plan);
    if let Some(keep) = keep {
        keep.announce(context, &machine, &loaded.plan)?;
    }
    containment::announce(&machine.keeper, &machine.broker, &loaded.plan, context.out)?;
    memory::announce(&mission.limits, &loaded.plan, context.out);
    machine.host.create(id, mission, loaded.plan)?;
    if let Some(landed) = args.die_after {
        session::drive_to_death(&mut machine, id, context.out, landed)?;
    }
    let exit = finish(context, &site, &mut machine, id, args.merge)?;
    if let Some(keep) = keep {
        // Its file is whole once the proxy is gone.
        drop(machine);
        keep.conclude(context, &site, id);
    }
    Ok(exit)
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
    if args.all {
        return resume_all(context, &site, store);
    }
    let run = match &args.run {
        Some(_) => runs::find(&store, args.run.as_deref())?.run,
        None => {
            let nothing = || Fault::new("K0507", Exit::Usage, "no run is unfinished").hint("kapell status");
            runs::unfinished(&store)?.first().ok_or_else(nothing)?.run
        }
    };
    let how =
        How { merge: args.merge, detach: args.detach, budget: workflow::budget(args.budget.as_deref())? };
    resume_one(context, &site, store, run, &how)
}

/// How a run is gone on with.
struct How {
    merge: bool,
    detach: bool,
    budget: Budget,
}

fn resume_one(context: &Context, site: &Site, store: Store, run: RunId, how: &How) -> Result<Exit, Fault> {
    let mission = runs::mission(&store, run)?;
    refuse_played(&store, run, &mission)?;
    if how.detach {
        drop(store);
        return detach(context, run, false);
    }
    let jobs = mission.limits.jobs as usize;
    let mut machine = machine(site, store, jobs)?;
    machine.host.open(run)?;
    if let Some(state) = machine.host.run(run) {
        containment::announce(&machine.keeper, &machine.broker, state.plan(), context.out)?;
        memory::announce(state.limits(), state.plan(), context.out);
    }
    let paused = machine.host.run(run).filter(|state| matches!(state.phase(), Phase::Paused(_)));
    if let Some(state) = paused {
        let limits = Some(how.budget.over(*state.limits())).filter(|limits| limits != state.limits());
        let by = Actor::Person(crate::site::person());
        machine.host.put(run, by, Command::Resume { limits }, None);
    }
    finish(context, site, &mut machine, run, how.merge)
}

fn resume_all(context: &Context, site: &Site, store: Store) -> Result<Exit, Fault> {
    let mut runs = Vec::new();
    for run in runs::unfinished(&store)?.into_iter().map(|head| head.run) {
        match refuse_played(&store, run, &runs::mission(&store, run)?) {
            Ok(()) => runs.push(run),
            Err(_) => context.out.note(&format!("run {run} plays a recording: it is left as it is")),
        }
    }
    let jobs = workflow::default_jobs() as usize;
    let mut machine = machine(site, store, jobs)?;
    for run in &runs {
        machine.host.open(*run)?;
    }
    let mut worst = Exit::Done;
    for run in runs {
        let exit = session::drive(&mut machine, run, context.out, Patience::Ends)?;
        worst = if exit == Exit::Done { worst } else { exit };
        if exit == Exit::Interrupted {
            break;
        }
    }
    Ok(worst)
}

/// Executes a run to its rest, merges if that was asked for, and says what comes next.
///
/// # Errors
///
/// As [`session::drive`] and [`landing::merge_here`].
pub fn finish(
    context: &Context,
    site: &Site,
    machine: &mut Machine,
    run: RunId,
    merge: bool,
) -> Result<Exit, Fault> {
    let patience = match context.no_input || !context.out.is_live() {
        true => Patience::Ends,
        false => Patience::ForPeople,
    };
    let exit = session::drive(machine, run, context.out, patience)?;
    if exit == Exit::Done && merge && machine.host.rest(run) == Rest::Over {
        let merged = landing::merge_here(context, site, machine, run, None)?;
        if merged != Exit::Done {
            return Ok(merged);
        }
    }
    if let Some(state) = machine.host.run(run) {
        session::conclude(state, context.out, exit == Exit::Interrupted);
    }
    Ok(exit)
}

/// Adds to a mission what only this place and moment know.
fn complete(site: &Site, mut mission: Mission) -> Result<Mission, Fault> {
    let mut seed = [0; 8];
    seed.copy_from_slice(&uuid::Uuid::now_v7().as_bytes()[8..]);
    mission.seed = u64::from_le_bytes(seed);
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
        None => return Err(no_branch()),
    };
    mission.target = Some(target);
    Ok(mission)
}

/// Finds the unfinished run of the same file with the same inputs.
fn unfinished_of(store: &Store, mission: &Mission) -> Result<Option<RunId>, Fault> {
    for head in runs::unfinished(store)? {
        let other = runs::mission(store, head.run)?;
        if other.definition.is_some() && other.definition == mission.definition {
            return Ok(Some(head.run));
        }
    }
    Ok(None)
}

fn tell_opened(context: &Context, opened: &kapell_store::Opened) {
    if opened.torn_frames > 0 {
        context.out.note(&format!(
            "the journal had {} unfinished frame(s) at its end, which nobody was told of: cut off",
            opened.torn_frames
        ));
    }
}

/// Starts this program again in a session of its own, and returns.
fn detach(context: &Context, run: RunId, is_new: bool) -> Result<Exit, Fault> {
    // The same command line once more: it finds the same file, or the same unfinished run.
    let mut words: Vec<OsString> = std::env::args_os().skip(1).filter(|arg| arg != "--detach").collect();
    if is_new {
        words.extend(["--id".into(), run.to_string().into()]);
    }
    spawn(words)?;
    context.out.data(&run.to_string());
    context.out.next(&format!("kapell watch {run}"));
    Ok(Exit::Done)
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
    let run = match unfinished_of(&store, &loaded.mission)?.filter(|_| !args.new) {
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
    drop(store);
    spawn(words)?;
    Ok(run)
}

/// Starts this program in the background, in a session of its own.
fn spawn(words: Vec<OsString>) -> Result<(), Fault> {
    let lost = |error: std::io::Error| {
        Fault::new("K0904", Exit::Environment, "the run cannot be started in the background").because(error)
    };
    let program = std::env::current_exe().map_err(lost)?;
    let mut command = process::Command::new(program);
    command.args(["--quiet", "--no-input"]).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env(crate::IN_BACKGROUND, "1").spawn().map_err(lost)?;
    Ok(())
}
