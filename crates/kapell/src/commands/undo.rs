//! `undo`: takes back what can be taken back, and says what else helps where it cannot.

use kapell_core::{command::Command, id::Oid, run::Run};
use kapell_engine::open::load;
use kapell_store::Store;
use kapell_view::text::short;

use super::{Context, control, improve, start};
use crate::{args::OneRun, exit::Exit, fault::Fault, runs, site::Site, wiring::machine};

/// Takes back the last merge of a run; or, without a run, what `init` wrote if that came last.
///
/// # Errors
///
/// Fails with exit code 4 and what can be done instead, if there is nothing that can be taken back.
pub fn undo(context: &Context, args: &OneRun) -> Result<Exit, Fault> {
    let site = context.site()?;
    if args.run.is_none() && improve::was_written_after(&site, last_decision(&site)?) {
        return improve::undo(context, &site);
    }
    if args.run.is_none() && start::was_written_after(&site, last_decision(&site)?) {
        return start::unwrite(context, &site);
    }
    let store = site.existing_store()?;
    let run = match &args.run {
        Some(_) => runs::find(&store, args.run.as_deref())?.run,
        // The last merge, whichever run it was of.
        None => last_merged(&store)?.map_or_else(|| runs::find(&store, None).map(|head| head.run), Ok)?,
    };
    let run = load(&store, run)?;
    let Some(merge) = run.merge().filter(|merge| merge.done).cloned() else {
        return Err(nothing_to_undo(&run));
    };
    let id = run.id();
    take_back(&site, store, &run, &merge.target, merge.from, merge.to)?;
    context.out.note(&format!(
        "{} is at {} again, as before the merge of run {}",
        merge.target,
        merge.from,
        short(id)
    ));
    context.out.next(&format!("kapell merge {}", short(id)));
    Ok(Exit::Done)
}

/// Returns when the last decision of all was taken, in milliseconds since 1970; `None` if there is no store yet.
fn last_decision(site: &Site) -> Result<Option<i64>, Fault> {
    use kapell_engine::port::journal::Journal;
    if !site.store.exists() {
        return Ok(None);
    }
    let store = site.existing_store()?;
    Ok(store.runs()?.iter().map(|head| head.updated.0).max())
}

/// Finds the run whose merge is the youngest that has not been taken back.
fn last_merged(store: &Store) -> Result<Option<kapell_core::id::RunId>, Fault> {
    use kapell_engine::port::journal::Journal;
    let merged = |head: &kapell_engine::port::journal::RunHead| {
        runs::summary(store, head).is_some_and(|summary| summary.merged)
    };
    let runs = store.runs()?;
    Ok(runs.iter().filter(|head| merged(head)).max_by_key(|head| head.updated).map(|head| head.run))
}

/// The branch moves back first: a record of that which never happened would be worse than one that is missing.
fn take_back(site: &Site, store: Store, run: &Run, target: &str, from: Oid, to: Oid) -> Result<(), Fault> {
    let id = run.id();
    let repository = machine(site, Store::open(&site.store)?.0, 1)?.repository;
    let repository =
        repository.ok_or_else(|| Fault::new("K0703", Exit::Usage, "there is no repository here"))?;
    let found = site.repo.as_ref().map(|user| user.find_ref(target)).transpose()?.flatten();
    if found != Some(from) {
        // A crash after the move and before its record leaves only the record to be made.
        repository.undo_merge(target, from, to).map_err(|error| moved_on(error, id, target, from))?;
    }
    drop(repository);
    control::put(site, store, id, Command::UndoMerge { to: from })
}

fn moved_on(error: kapell_agents::git::Error, run: kapell_core::id::RunId, target: &str, from: Oid) -> Fault {
    let moved = matches!(*error.kind, kapell_agents::git::ErrorKind::Moved { .. });
    let fault = Fault::from(error);
    let id = short(run);
    if moved {
        let message = format!("the merge of run {id} cannot be taken back: {target} has moved on since");
        return Fault::new("K0512", Exit::Refused, message)
            .because(fault.because.first().cloned().unwrap_or_default())
            .hint(format!("git log {from}..{target} shows what came in; git revert takes it back by hand"));
    }
    Fault {
        message: format!("the merge of run {id} cannot be taken back now"),
        hint: Some(format!("git stash, then kapell undo {id}")),
        ..fault
    }
}

/// Says why nothing of a run can be taken back, and what can be done instead.
fn nothing_to_undo(run: &Run) -> Fault {
    let id = short(run.id());
    let fault = Fault::new("K0512", Exit::Refused, format!("nothing of run {id} can be taken back"));
    let answered = run.gates().any(|(_, gate)| gate.answer.is_some());
    let fault = fault.because(match answered {
        true => "it has not been merged, and its answers have been acted upon",
        false => {
            "it has not been merged, and what agents did outside of their workspaces is not in kapell's hands"
        }
    });
    match run.outcome() {
        None => fault.hint(format!("kapell cancel {id} ends it; nothing of it reaches your branches")),
        Some(_) => fault.hint(format!(
            "nothing of it is in your branches; kapell fork {id} --at SEQ starts again from an earlier decision"
        )),
    }
}
