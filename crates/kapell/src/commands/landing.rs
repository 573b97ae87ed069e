//! What has landed, and how it gets into the target: merge.

use kapell_agents::world::MergeError;
use kapell_core::{
    command::Command,
    id::{RunId, TaskId},
    journal::Actor,
    run::{Phase, Run},
    task::TaskState,
};
use kapell_engine::{
    host::{Rest, Unobserved},
    perform::setup_of,
};
use kapell_view::untrusted::Untrusted;

use super::Context;
use crate::{
    args::MergeArgs,
    exit::Exit,
    fault::Fault,
    reply::{Deed, Did},
    runs, site,
    wiring::{Machine, machine},
};

/// How often a merge begins anew because the target moved between its proposal and its own move.
const MOVE_TRIES: usize = 3;

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
    let done = |machine: &Machine| machine.host.run(run)?.merge().filter(|merge| merge.done).cloned();
    let before = done(&machine);
    let exit = merge_here(context, &mut machine, run, args)?;
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

/// Merges a run that this process holds.
///
/// # Errors
///
/// As [`merge`].
pub fn merge_here(
    context: &Context,
    machine: &mut Machine,
    run: RunId,
    args: &MergeArgs,
) -> Result<Exit, Fault> {
    let no_repository = || {
        Fault::new("K0703", Exit::Usage, "outside a repository there is nothing to merge")
            .because("tasks have worked in the directory itself")
            .hint("kapell report says what they did")
    };
    let repository = machine.repository.clone().ok_or_else(no_repository)?;
    settle(machine, run)?;
    let Some(state) = machine.host.run(run) else { return Ok(Exit::Bug) };
    let head = state.landing().map(kapell_core::landing::Landing::head).ok_or_else(no_repository)?;
    refuse_taken_back(state, args.taken_back)?;
    let target = match &args.into {
        Some(branch) => kapell_agents::git::UserRepo::branch_name(branch)?,
        None => state.mission().target.clone().ok_or_else(|| {
            Fault::new("K0704", Exit::Usage, "the run started from no branch")
                .hint("kapell merge --into BRANCH")
        })?,
    };
    let has_landed = |task: &TaskId| matches!(state.state(*task), TaskState::Landed { .. });
    let setup = setup_of(state, state.plan().graph().tasks().filter(has_landed));
    let accept = state.mission().accept.clone();
    let is_unchecked = state.landing().is_some_and(kapell_core::landing::Landing::is_unchecked);
    let is_reversed = state.reversed().next().is_some();
    // Somebody who names a branch that is not there yet wants a new one, with what landed alone.
    let base = state.mission().base.filter(|base| args.into.is_some() && *base != head);
    if let Some(base) = base.filter(|_| repository.tip(&target).is_ok_and(|tip| tip.is_none())) {
        repository.begin_branch(&target, base)?;
    }
    // Merges of other processes wait here; a git of somebody else may still be quicker.
    let turn = repository.merge_turn()?;
    let mut moved = None;
    for _ in 0..MOVE_TRIES {
        let proposed = match is_unchecked {
            true => repository.propose_merge_of_rest(run, &target, head, &accept, &setup),
            false => repository.propose_merge(run, &target, head, &accept, &setup),
        };
        let proposal = match proposed {
            Ok(proposal) => proposal,
            Err(MergeError::NothingToMerge) if is_reversed => {
                context.out.note("what landed has been taken back: nothing is left to merge");
                return Ok(Exit::Done);
            }
            Err(MergeError::NothingToMerge) => {
                context.out.note(&format!("{target} has all that landed already"));
                return Ok(Exit::Done);
            }
            Err(error) => return Err(refused(error)),
        };
        let by = Actor::Person(site::person());
        let begin = Command::BeginMerge { target: target.clone(), from: proposal.from, to: proposal.to };
        machine.host.put(run, by, begin, None);
        settle(machine, run)?;
        if machine.host.run(run).and_then(|run| run.merge()).is_some_and(|merge| merge.done) {
            moved = Some(proposal);
            break;
        }
        // If the target is where it was, something else was in the way.
        if repository.tip(&target)? == Some(proposal.from) {
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

fn short(commit: kapell_core::id::Oid) -> String {
    commit.to_string().chars().take(12).collect()
}

/// Lets the host finish what it has begun.
fn settle(machine: &mut Machine, run: RunId) -> Result<(), Fault> {
    loop {
        machine
            .host
            .step(std::time::Duration::from_millis(5), &mut Unobserved)
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
