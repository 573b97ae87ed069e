//! Commands that help on, ready to be typed.

use kapell_core::{
    event::{GateKind, Outcome, PauseCause},
    id::{GateId, RunId},
    run::{Gate, Phase, Run},
};

use crate::{
    text::short,
    untrusted::{Untrusted, is_deceptive},
};

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
pub(crate) fn open_gates(run: &Run) -> impl Iterator<Item = (GateId, &Gate)> {
    let matter = run.outcome().is_none() && *run.phase() != Phase::Cancelling;
    matter.then(|| run.open_gates()).into_iter().flatten()
}

/// Returns the command that helps a run on; `None` if nothing is to be done, or kapell does it by itself.
///
/// `owned` says whether some process executes the run.
#[must_use]
pub fn command(run: &Run, owned: bool) -> Option<String> {
    let id = short(run.id());
    match run.phase() {
        Phase::Finished(outcome) => after_the_end(run, *outcome),
        // Where only people are waited for, resuming would not help.
        Phase::Active | Phase::Cancelling | Phase::Compensating if !owned && !only_waits(run) => {
            Some(format!("kapell resume {id}"))
        }
        _ if open_gates(run).next().is_some() => {
            let (gate, open) = open_gates(run).min_by_key(|(_, gate)| gate.kind == GateKind::Question)?;
            Some(answer(run.id(), gate, open.choices.first().map(String::as_str)))
        }
        Phase::Paused(PauseCause::Budget(_)) => Some(format!("kapell resume {id} --budget LIMIT")),
        Phase::Paused(PauseCause::BaseIsRed { .. }) => Some(format!("kapell cancel {id}")),
        Phase::Paused(PauseCause::Parent { .. }) => {
            run.mission().parent.map(|parent| format!("kapell resume {}", short(parent.run)))
        }
        Phase::Paused(_) => Some(format!("kapell resume {id}")),
        _ => Some(format!("kapell watch {id}")),
    }
}

/// Tells whether nothing moves until a person answers.
fn only_waits(run: &Run) -> bool {
    open_gates(run).next().is_some() && run.in_flight().next().is_none() && run.counts().of("ready") == 0
}

fn after_the_end(run: &Run, outcome: Outcome) -> Option<String> {
    let id = short(run.id());
    let merged = run.merge().is_some_and(|merge| merge.done);
    let landed = run.counts().of("landed") > 0;
    match outcome {
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
