//! `undo`: takes back what can be taken back, and says what else helps where it cannot.

use kapell_core::{
    command::Command,
    event::{Event, decode},
    id::{GateId, Oid},
    journal::Version,
    run::{Merge, Phase, Run},
};
use kapell_engine::{open::load, port::journal::Journal};
use kapell_store::Store;
use kapell_view::text::short;

use super::{Context, control, improve, init, merge};
use crate::{
    args::OneRun,
    exit::Exit,
    fault::Fault,
    reply::{Deed, Did},
    runs,
    session::Interrupts,
    site::{self, Site},
    wiring::machine,
};

/// Takes back what a person did last to a run: an answer from which nothing has followed yet, or the merge; or, without a
/// run, what `init` wrote if that came last.
///
/// # Errors
///
/// Fails with exit code 4 and what can be done instead, if there is nothing that can be taken back.
pub fn undo(context: &Context, args: &OneRun) -> Result<Exit, Fault> {
    let site = context.site()?;
    if args.run.is_none() && improve::was_written_after(&site, last_decision(&site)?) {
        let exit = improve::undo(context, &site)?;
        context.out.deed(&Deed::new(Did::ImproveUndone));
        return Ok(exit);
    }
    if args.run.is_none() && init::was_written_after(&site, last_decision(&site)?) {
        let exit = init::unwrite(context, &site)?;
        context.out.deed(&Deed::new(Did::InitUndone));
        return Ok(exit);
    }
    let store = site.existing_store()?;
    let newest = load(&store, runs::find(&store, args.run.as_deref())?.run)?;
    let deeds = Deeds::of(&store, &newest)?;
    if let Some(gate) = deeds.answer {
        return take_answer_back(context, &site, store, &newest, gate);
    }
    let (run, deeds) = match last_merged(&store)? {
        // The last merge, whichever run it was of.
        Some(merged) if args.run.is_none() && merged != newest.id() => {
            (load(&store, merged)?, Deeds::default())
        }
        _ => (newest, deeds),
    };
    let Some(merge) = run.merge().filter(|merge| merge.done).cloned() else {
        return Err(match deeds.stays {
            Some((target, to)) => an_earlier_merge_stays(&run, &target, to),
            None => nothing_to_undo(&run, deeds.used),
        });
    };
    let id = run.id();
    take_back(context, &site, store, &run, &merge)?;
    context.out.deed(&Deed {
        target: Some(merge.target.clone()),
        from: Some(merge.to.to_string()),
        to: Some(merge.from.to_string()),
        ..Deed::of(Did::MergeUndone, id)
    });
    context.out.note(&format!(
        "{} is at {} again, as before the merge of run {}",
        merge.target,
        merge.from,
        short(id)
    ));
    context.out.next(&format!("kapell merge {}", short(id)));
    Ok(Exit::Done)
}

/// What people did to a run last, as far as it can be taken back.
#[derive(Default)]
struct Deeds {
    /// The last answer, if nothing has followed from it and the run was not merged since.
    answer: Option<GateId>,
    /// The last answer, and why it cannot be taken back.
    used: Option<(GateId, &'static str)>,
    /// The branch that it was merged into before its last merge was taken back, and as what.
    stays: Option<(String, Oid)>,
}

impl Deeds {
    fn of(store: &Store, run: &Run) -> Result<Self, Fault> {
        let (mut answers, mut merges, mut merged) = (Vec::new(), Vec::new(), Version::default());
        store.read(run.id(), Version::default(), &mut |row| {
            // Only few decisions are those of people, and each says what it was for.
            if matches!(row.cause.as_str(), "answer" | "undo_answer" | "end_merge" | "undo_merge") {
                for event in decode(&row.body).into_iter().flatten() {
                    match event {
                        Event::GateAnswered { gate, .. } => answers.push((row.n, gate)),
                        Event::AnswerUndone { gate, .. } => answers.retain(|(_, other)| *other != gate),
                        Event::Merged { target, to } => {
                            merged = row.n;
                            merges.push((target, to));
                        }
                        // One that did not happen is told likewise.
                        Event::MergeUndone { .. } if row.cause == "undo_merge" => drop(merges.pop()),
                        _ => {}
                    }
                }
            }
            true
        })?;
        let stays = merges.pop();
        let Some((n, gate)) = answers.pop() else { return Ok(Self { stays, ..Self::default() }) };
        let over = match run.phase() {
            Phase::Active | Phase::Paused(_) => None,
            Phase::Finished(_) => Some("the run is over"),
            _ => Some("the run is being cancelled"),
        };
        let used = over.or_else(|| run.follows_from(gate)).map(|why| (gate, why));
        Ok(Self { answer: (used.is_none() && n > merged).then_some(gate), used, stays })
    }
}

fn take_answer_back(
    context: &Context,
    site: &Site,
    store: Store,
    run: &Run,
    gate: GateId,
) -> Result<Exit, Fault> {
    let id = run.id();
    control::put(site, store, id, Command::UndoAnswer { gate, by: site::person() })?;
    context.out.deed(&Deed { gate: Some(gate.0), ..Deed::of(Did::AnswerUndone, id) });
    context.out.note(&format!("the answer to gate {gate} of run {} is taken back", short(id)));
    context.out.next(&format!("kapell inbox {}", short(id)));
    Ok(Exit::Done)
}

/// Returns when the last decision of all was taken, in milliseconds since 1970; `None` if there is no store yet.
fn last_decision(site: &Site) -> Result<Option<i64>, Fault> {
    if !site.store.exists() {
        return Ok(None);
    }
    let store = site.existing_store()?;
    Ok(store.runs()?.iter().map(|head| head.updated.0).max())
}

/// Finds the run whose merge is the youngest that has not been taken back.
fn last_merged(store: &Store) -> Result<Option<kapell_core::id::RunId>, Fault> {
    let merged = |head: &kapell_engine::port::journal::RunHead| {
        runs::summary(store, head).is_some_and(|summary| summary.merged)
    };
    let runs = store.runs()?;
    Ok(runs.iter().filter(|head| merged(head)).max_by_key(|head| head.updated).map(|head| head.run))
}

/// The branch moves back first: a record of that which never happened would be worse than one that is missing.
fn take_back(context: &Context, site: &Site, store: Store, run: &Run, merge: &Merge) -> Result<(), Fault> {
    let id = run.id();
    let Merge { target, from, to, .. } = merge;
    let repository = machine(site, Store::open(&site.store)?.0, 1)?.repository;
    let repository =
        repository.ok_or_else(|| Fault::new("K0703", Exit::Usage, "there is no repository here"))?;
    // Nothing is under way here that an interrupt would have to end in order.
    let turn = merge::wait_for_turn(context, &repository, &Interrupts::unheeded())?;
    if let (Some(base), Some(landing)) = (run.mission().base, run.landing()) {
        // `gc` may have removed the run's ref, and then the branch is all that holds what landed.
        repository.hold_again(id, base, landing.head())?;
    }
    repository.undo_merge(target, *from, *to).map_err(|error| moved_on(error, id, target, *from))?;
    drop((turn, repository));
    control::put(site, store, id, Command::UndoMerge { to: *from })
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

/// A run remembers its last merge only; what it merged before that is taken back by hand.
fn an_earlier_merge_stays(run: &Run, target: &str, to: Oid) -> Fault {
    let start = run.mission().start().map_or_else(String::new, merge::short);
    Fault::new("K0512", Exit::Refused, format!("nothing more of run {} can be taken back", short(run.id())))
        .because(format!(
            "its last merge is taken back; what it merged into {target} before, up to {}, stays",
            merge::short(to)
        ))
        .hint(format!("git log {start}..{} shows it; git revert takes it back by hand", merge::short(to)))
}

/// Says why nothing of a run can be taken back, and what can be done instead.
fn nothing_to_undo(run: &Run, used: Option<(GateId, &'static str)>) -> Fault {
    let id = short(run.id());
    let fault = Fault::new("K0512", Exit::Refused, format!("nothing of run {id} can be taken back"));
    let fault = match used {
        Some((gate, why)) => {
            fault.because(format!("it has not been merged, and the answer to gate {gate} stays: {why}"))
        }
        None => fault.because(
            "it has not been merged, and what agents did outside of their workspaces is not in kapell's hands",
        ),
    };
    match run.outcome() {
        None => fault.hint(format!("kapell cancel {id} ends it; nothing of it reaches your branches")),
        Some(_) if run.landing().is_none() => fault.hint(format!(
            "its tasks worked in the directory itself; kapell report {id} says what they did"
        )),
        Some(_) => fault.hint(format!(
            "nothing of it is in your branches; kapell fork {id} --at SEQ starts again from an earlier decision"
        )),
    }
}
