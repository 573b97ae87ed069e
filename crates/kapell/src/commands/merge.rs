//! What has landed, and how it gets into the target: merge.

use std::{
    fs::File,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use kapell_agents::{
    git::MergeTurn,
    world::{MergeError, MergeProposal, MergeRequest, Repository},
};
use kapell_core::{
    command::Command,
    id::{Oid, RunId, TaskId},
    journal::Actor,
    run::{Phase, Run},
    task::TaskState,
};
use kapell_engine::{
    host::{Rest, Unobserved},
    perform::setup_of,
    port::workspaces::Setup,
};
use kapell_view::untrusted::Untrusted;

use super::{Context, diff::must_be_here};
use crate::{
    args::MergeArgs,
    exit::Exit,
    fault::Fault,
    reply::{Deed, Did},
    runs,
    session::Interrupts,
    site,
    wiring::{Machine, machine, open_own_repo},
};

/// How often a merge begins anew because the target moved between its proposal and its own move.
const MOVE_TRIES: usize = 3;

/// How often to look for an interrupt, or whether another process has merged.
const LOOK: Duration = Duration::from_millis(50);

/// How long what is stopped has to end before it is stopped again.
const STOP_PAUSE: Duration = Duration::from_secs(1);

/// Moves the target branch to what has landed.
///
/// # Errors
///
/// Fails if that does not fit, fails its checks, or a working tree is in the way.
pub fn merge(context: &Context, args: &MergeArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let run = runs::find(&store, args.run.as_deref())?.run;
    let mut machine = machine(&site, store, 2)?;
    machine.host.open_to_ask(run)?;
    if let (Some(repo), Some(state)) = (open_own_repo(&site)?, machine.host.run(run)) {
        must_be_here(&repo, state)?;
    }
    let done = |machine: &Machine| machine.host.run(run)?.merge().filter(|merge| merge.done).cloned();
    let before = done(&machine);
    // The intent is recorded, so an interrupt may end the process at any moment.
    let exit = merge_here(context, &mut machine, run, args, &Interrupts::unheeded())?;
    context.out.deed(&match done(&machine).filter(|merge| Some(merge) != before.as_ref()) {
        Some(merge) => Deed {
            target: Some(merge.target),
            from: Some(merge.from.to_string()),
            to: Some(merge.to.to_string()),
            ..Deed::of(Did::Merged, run)
        },
        None => Deed::of(Did::NothingToMerge, run),
    });
    Ok(exit)
}

/// What is to be merged, and into what.
struct Wanted {
    target: String,
    head: Oid,
    /// Where the target begins if it is not there, and may be made.
    beginning: Option<Oid>,
    accept: Vec<String>,
    setup: Setup,
    is_unchecked: bool,
    is_reversed: bool,
}

impl Wanted {
    fn of(run: &Run, args: &MergeArgs) -> Result<Self, Fault> {
        let landing = run.landing().ok_or_else(no_repository)?;
        refuse_taken_back(run, args.taken_back)?;
        let mission = run.mission();
        let target = match &args.into {
            Some(branch) => kapell_agents::git::UserRepo::branch_name(branch)?,
            None => mission.target.clone().ok_or_else(|| {
                Fault::new("K0704", Exit::Usage, "the run started from no branch")
                    .hint("kapell merge --into BRANCH")
            })?,
        };
        let head = landing.head();
        let has_landed = |task: &TaskId| matches!(run.state(*task), TaskState::Landed { .. });
        Ok(Self {
            target,
            head,
            // Somebody who names a branch that is not there yet wants a new one, with what landed alone. What was taken over is part of
            // that, so it begins below it.
            beginning: mission.start().filter(|start| args.into.is_some() && *start != head),
            accept: mission.accept.clone(),
            setup: setup_of(run, run.plan().graph().tasks().filter(has_landed)),
            is_unchecked: landing.is_unchecked(),
            is_reversed: run.reversed().next().is_some(),
        })
    }

    fn request(&self, run: RunId) -> MergeRequest<'_> {
        MergeRequest {
            run,
            target: &self.target,
            beginning: self.beginning,
            head: self.head,
            is_unchecked: self.is_unchecked,
            accept: &self.accept,
            setup: &self.setup,
        }
    }
}

fn no_repository() -> Fault {
    Fault::new("K0703", Exit::Usage, "outside a repository there is nothing to merge")
        .because("tasks have worked in the directory itself")
        .hint("kapell report says what they did")
}

/// Merges a run that this process holds; after an interrupt it moves nothing any more.
///
/// # Errors
///
/// As [`merge`].
pub fn merge_here(
    context: &Context,
    machine: &mut Machine,
    run: RunId,
    args: &MergeArgs,
    interrupts: &Interrupts,
) -> Result<Exit, Fault> {
    let repository = machine.repository.clone().ok_or_else(no_repository)?;
    let Some(state) = machine.host.run(run) else { return Ok(Exit::Bug) };
    // The run is ours, so nothing of this changes while we wait.
    let wanted = Wanted::of(state, args)?;
    let target = &wanted.target;
    let interrupted = || {
        context.out.note(&format!("interrupted: {target} was not moved"));
        Ok(Exit::Interrupted)
    };
    // A merge that was cut short is finished first, in a turn of its own.
    settle(machine, run)?;
    // Merges of other processes are kept out; a git of somebody else may still be quicker.
    let Some(turn) = wait_for_turn(context, &repository, interrupts)? else { return interrupted() };
    let mut moved = None;
    for _ in 0..MOVE_TRIES {
        let proposed = propose(&repository, &wanted.request(run), interrupts);
        if interrupts.any() {
            return interrupted();
        }
        let proposal = match proposed {
            Ok(proposal) => proposal,
            Err(MergeError::NothingToMerge) if wanted.is_reversed => {
                context.out.note("what landed has been taken back: nothing is left to merge");
                return Ok(Exit::Done);
            }
            Err(MergeError::NothingToMerge) => {
                context.out.note(&format!("{target} has all that landed already"));
                return Ok(Exit::Done);
            }
            Err(error) => return Err(refused(error)),
        };
        if move_target(machine, &repository, run, &wanted, &proposal)? {
            moved = Some(proposal);
            break;
        }
        // If the target is where it was, something else was in the way.
        if repository.tip(target)?.or(wanted.beginning) == Some(proposal.from) {
            break;
        }
    }
    drop(turn);
    let Some(proposal) = moved else {
        let fault = Fault::new("K0705", Exit::Refused, format!("{target} was not moved"));
        return Err(match machine.host.trouble(run) {
            Some(why) => fault
                .because(Untrusted::from(why).visible())
                .hint("kapell merge, once that is out of the way: nothing was lost"),
            None => fault
                .because("the repository did not say why")
                .hint("kapell merge tries again: nothing was lost"),
        });
    };
    context.out.note(&format!("merged into {target}: {} -> {}", short(proposal.from), short(proposal.to)));
    machine.host.run(run).and_then(runs::lacking).into_iter().for_each(|told| context.out.note(&told));
    Ok(Exit::Done)
}

/// Waits until no other process merges into the repository, and says so once; `None` after an interrupt.
pub(super) fn wait_for_turn(
    context: &Context,
    repository: &Repository,
    interrupts: &Interrupts,
) -> Result<Option<File>, Fault> {
    let mut is_told = false;
    while !interrupts.any() {
        let other = match repository.merge_turn()? {
            MergeTurn::Ours(turn) => return Ok(Some(turn)),
            MergeTurn::Theirs(other) => other,
        };
        if !is_told {
            let who = other.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            context.out.note(&format!("{who} merges into this repository: waiting for it"));
            is_told = true;
        }
        thread::sleep(LOOK);
    }
    Ok(None)
}

/// Finds a commit to move the target to. An interrupt ends the checks on it.
fn propose(
    repository: &Repository,
    request: &MergeRequest<'_>,
    interrupts: &Interrupts,
) -> Result<MergeProposal, MergeError> {
    let (done, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let proposing = scope.spawn(move || {
            // Dropped at its end, whichever that is.
            let _done = done;
            repository.propose_merge(request)
        });
        let mut pause = LOOK;
        while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            if interrupts.any() {
                // One that has not quite begun is not there to be ended yet, so once more after a while.
                repository.stop_merge(request.run);
                pause = STOP_PAUSE;
            }
        }
        proposing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves the target as proposed, and tells whether it is there. A branch that is made for that does not outlast a failure.
fn move_target(
    machine: &mut Machine,
    repository: &Repository,
    run: RunId,
    wanted: &Wanted,
    proposal: &MergeProposal,
) -> Result<bool, Fault> {
    let &MergeProposal { from, to } = proposal;
    let target = &wanted.target;
    let is_new = wanted.beginning == Some(from) && repository.tip(target)?.is_none();
    if is_new {
        repository.begin_branch(target, from, to)?;
    }
    let begin = Command::BeginMerge { target: target.clone(), from, to };
    machine.host.put(run, Actor::Person(site::person()), begin, None);
    let settled = settle(machine, run);
    let is_moved = machine.host.run(run).and_then(Run::merge).is_some_and(|merge| merge.done);
    if is_new && !is_moved {
        repository.end_branch(target, from);
    }
    settled.map(|()| is_moved)
}

/// Refuses to merge what a person must believe to be gone, unless that is `wanted`.
fn refuse_taken_back(run: &Run, wanted: bool) -> Result<(), Fault> {
    let id = kapell_view::text::short(run.id());
    if *run.phase() == Phase::Compensating {
        return Err(Fault::new("K0714", Exit::Refused, "the run takes back what it did")
            .hint(format!("kapell resume {id}, and then kapell status {id}")));
    }
    let names: Vec<String> = run
        .still_landed()
        .map(|task| format!("`{}`", Untrusted::from(run.plan().name(task)).visible()))
        .collect();
    if names.is_empty() || wanted {
        return Ok(());
    }
    let names = names.join(", ");
    Err(Fault::new("K0713", Exit::Refused, format!("taken back, and landed still: {names}"))
        .because("what took them back changed no file, or a person left them as they were")
        .hint(format!("kapell diff {id} shows what would be merged; kapell merge {id} --taken-back does it")))
}

pub(super) fn short(commit: kapell_core::id::Oid) -> String {
    commit.to_string().chars().take(12).collect()
}

/// Lets the host finish what it has begun.
fn settle(machine: &mut Machine, run: RunId) -> Result<(), Fault> {
    loop {
        machine
            .host
            .step(Duration::from_millis(5), &mut Unobserved)
            .map_err(|bug| Fault::new("K0599", Exit::Bug, "kapell contradicts itself").because(bug))?;
        if let Some(error) = machine.host.failure(run) {
            return Err(Fault::from(error));
        }
        if machine.host.rest(run) != Rest::Busy {
            return Ok(());
        }
    }
}

fn refused(error: MergeError) -> Fault {
    match error {
        MergeError::Git(error) => error.into(),
        MergeError::Conflict(paths) => {
            Fault::new("K0706", Exit::Refused, "what landed conflicts with the target")
                .because(format!("both changed {}", paths.join(", ")))
                .hint("kapell merge --into NEW-BRANCH, and merge that by hand")
        }
        error @ MergeError::Red(_) => Fault::new("K0707", Exit::Refused, error.to_string())
            .hint("kapell diff shows what landed; nothing has been moved"),
        MergeError::NoTarget(_) => {
            Fault::new("K0708", Exit::Usage, error.to_string()).hint("git branch --list")
        }
        error => Fault::new("K0708", Exit::Refused, error.to_string()),
    }
}
