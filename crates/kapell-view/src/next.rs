//! Commands that help on, ready to be typed.

use kapell_core::{
    event::{GateKind, Outcome, PauseCause},
    id::{GateId, RunId, TaskId},
    run::{Gate, Phase, Run},
};

use crate::{
    text::short,
    untrusted::{Untrusted, is_deceptive},
};

/// The run of a nested workflow that is under way, as a part of the run that it belongs to.
#[derive(Debug, Clone)]
pub struct Part {
    /// The names of the tasks that lead to it, outermost first, with `/` between them.
    pub path: String,
    /// Its run.
    pub run: Run,
}

/// The longest choice that is written into a command.
const CHOICE_BYTES_MAX: usize = 24;

/// Returns the command that answers a gate.
///
/// `ANSWER` marks the place of an answer that is free text, is long, or could not be typed as it is shown.
#[must_use]
pub fn answer(run: RunId, gate: GateId, choice: Option<&str>) -> String {
    let choice = choice.filter(|choice| choice.len() <= CHOICE_BYTES_MAX && !choice.contains(is_deceptive));
    let answer = choice.map_or_else(|| "ANSWER".to_owned(), |choice| Untrusted::from(choice).shell());
    format!("kapell answer {} {gate} {answer}", short(run))
}

/// Returns the full name of the ref that holds what has landed in a run.
#[must_use]
pub fn head_ref(run: RunId) -> String {
    format!("refs/kapell/{run}/head")
}

/// Returns the gates whose answers still matter: none once the run is over or is being cancelled, for nothing waits for them.
///
/// Whether a run that it is part of is being cancelled cannot be seen in the run; whoever collects parts leaves those out.
pub(crate) fn open_gates(run: &Run) -> impl Iterator<Item = (GateId, &Gate)> {
    let matter = run.outcome().is_none() && *run.phase() != Phase::Cancelling;
    matter.then(|| run.open_gates()).into_iter().flatten()
}

/// Tells whether nobody can be told the answer any more: its asker ended with the process that executed it.
pub(crate) fn is_moot(gate: &Gate, owned: bool) -> bool {
    !owned && gate.kind == GateKind::Question
}

/// Returns the command that helps a run on; `None` if nothing is to be done, or kapell does it by itself.
///
/// `owned` says whether some process executes the run.
#[must_use]
pub fn command(run: &Run, owned: bool) -> Option<String> {
    command_of(run, &[], owned)
}

/// Returns the command that helps a run on with all its `parts` that are under way, as [`command`] does for one that has none.
#[must_use]
pub fn command_of(run: &Run, parts: &[Part], owned: bool) -> Option<String> {
    let id = short(run.id());
    let answer = best_answer(run, parts, owned);
    match run.phase() {
        Phase::Finished(outcome) => after_the_end(run, *outcome),
        Phase::Active | Phase::Cancelling | Phase::Compensating if !owned => {
            // Where only people are waited for, resuming would not help.
            let helps = answer.or_else(|| parts.iter().find_map(after_a_pause));
            Some(helps.filter(|_| !goes_on(run, parts)).unwrap_or_else(|| format!("kapell resume {id}")))
        }
        _ if answer.is_some() => answer,
        Phase::Paused(PauseCause::Budget(_)) => Some(format!("kapell resume {id} --budget LIMIT")),
        Phase::Paused(PauseCause::BaseIsRed { .. }) => Some(format!("kapell cancel {id}")),
        Phase::Paused(PauseCause::Parent { .. }) => {
            run.mission().parent.map(|parent| format!("kapell resume {}", short(parent.run)))
        }
        Phase::Paused(_) => Some(format!("kapell resume {id}")),
        _ => Some(format!("kapell watch {id}")),
    }
}

/// Returns the command that answers a gate of a run or of its parts; questions of attempts come last.
fn best_answer(run: &Run, parts: &[Part], owned: bool) -> Option<String> {
    let all = std::iter::once(run).chain(parts.iter().map(|part| &part.run));
    let open = all.flat_map(|run| open_gates(run).map(|(id, gate)| (run.id(), id, gate)));
    let best = open.filter(|(_, _, gate)| !is_moot(gate, owned));
    let (run, id, gate) = best.min_by_key(|(_, _, gate)| gate.kind == GateKind::Question)?;
    Some(answer(run, id, gate.choices.first().map(String::as_str)))
}

/// Tells whether something of a run, or of its parts, moves once a process executes it.
fn goes_on(run: &Run, parts: &[Part]) -> bool {
    let is_part = |of: &Run, task: TaskId| {
        let starter = |part: &Part| part.run.mission().parent;
        parts.iter().filter_map(starter).any(|parent| parent.run == of.id() && parent.task == task)
    };
    let moves = |run: &Run| {
        let can_start = run.counts().of("ready") > 0 && !matches!(run.phase(), Phase::Paused(_));
        // A change that somebody has to look at first is in flight, and stays where it is.
        can_start || run.in_flight().any(|task| !is_part(run, task) && !run.is_doubted(task))
    };
    moves(run) || parts.iter().any(|part| moves(&part.run))
}

/// Returns the command that goes on with a part that is paused for itself.
fn after_a_pause(part: &Part) -> Option<String> {
    match part.run.phase() {
        Phase::Paused(PauseCause::Parent { .. }) => None,
        Phase::Paused(_) => command(&part.run, false),
        _ => None,
    }
}

fn after_the_end(run: &Run, outcome: Outcome) -> Option<String> {
    let id = short(run.id());
    let merged = run.merge().is_some_and(|merge| merge.done);
    let landed = run.counts().of("landed") > 0;
    match outcome {
        // What it landed is a change of its parent.
        Outcome::Succeeded if run.mission().parent.is_some() => None,
        // One that started from no branch has none to move.
        Outcome::Succeeded if landed && !merged && run.mission().target.is_none() => {
            Some(format!("kapell merge {id} --into BRANCH"))
        }
        Outcome::Succeeded if landed && !merged => Some(format!("kapell merge {id}")),
        Outcome::Succeeded => None,
        Outcome::Failed => Some(format!("kapell logs {id} --failed")),
        Outcome::Cancelled | Outcome::Compensated => Some(format!("kapell report {id}")),
    }
}
