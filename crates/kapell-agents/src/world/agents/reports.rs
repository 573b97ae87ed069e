//! What the crew reports, in the words of the engine, and with no secret in it.

use kapell_core::{
    budget::Amount,
    retry::{FailureClass, OWN_REFUSAL},
};
use kapell_engine::port::agents::{Ending, Failure, Report, Used};

use super::permanent;
use crate::{
    drivers::{self, Exit, client},
    proxy::Redactor,
    world::broker::Refusal,
};

/// Puts a report into the engine's words; `None` if it is not for the engine.
pub(super) fn translate(report: drivers::Report) -> Option<Report> {
    Some(match report {
        drivers::Report::Started { .. } | drivers::Report::Session { .. } | drivers::Report::Usage(_) => {
            return None;
        }
        drivers::Report::Said { text } => Report::Progress { fraction: None, text },
        drivers::Report::ToolUse { tool, about } => {
            Report::Progress { fraction: None, text: format!("{tool} {about}") }
        }
        drivers::Report::Refused { tool, text } => Report::Note(format!("`{tool}` was refused: {text}")),
        drivers::Report::RateLimited { until, text } => {
            Report::Throttled { until, text: format!("the provider asks for a pause: {text}") }
        }
        drivers::Report::Progress { fraction, text } => Report::Progress { fraction: Some(fraction), text },
        drivers::Report::Note { text } => Report::Note(text),
        drivers::Report::HandOff { to, note } => Report::HandOff { to, note },
        drivers::Report::Question { question, text, choices } => Report::Question { question, text, choices },
        drivers::Report::Finished(exit) => Report::Finished(ending(*exit)),
    })
}

/// Takes secrets out of what an agent says: from here it goes into the journal, and whatever is made of that.
pub(super) fn hide_in_report(secrets: &Redactor, report: &mut Report) {
    match report {
        Report::Progress { text, .. } | Report::Note(text) | Report::Throttled { text, .. } => {
            secrets.clean(text);
        }
        Report::HandOff { note, .. } => secrets.clean(note),
        Report::Question { text, choices, .. } => {
            secrets.clean(text);
            choices.iter_mut().for_each(|choice| secrets.clean(choice));
        }
        Report::Finished(ending) => hide_in_ending(secrets, ending),
    }
}

/// What later tasks compute with is never changed: better no output than a wrong one.
pub(super) fn hide_in_ending(secrets: &Redactor, ending: &mut Ending) {
    if let Some((name, _)) = ending.outputs.iter().find(|(_, value)| secrets.knows(value)) {
        ending.result = Err(permanent(format!(
            "its output `{name}` holds the value of a variable that is named like a secret, or a key of an agent, and outputs \
             are written down"
        )));
        ending.outputs.clear();
    }
    if let Err(failure) = &mut ending.result {
        secrets.clean(&mut failure.message);
    }
}

/// Puts the end of an attempt into the engine's words.
pub(super) fn ending(exit: Exit) -> Ending {
    let result = match exit.ending {
        drivers::Ending::Succeeded => Ok(()),
        drivers::Ending::Failed(class) => Err(Failure { class, message: exit.message, until: exit.until }),
        // The engine knows why, and says that instead.
        drivers::Ending::Stopped => {
            Err(Failure { class: FailureClass::Transient, message: exit.message, until: None })
        }
    };
    let (spent, used) = exit.evidence.as_deref().map(costs).unzip();
    Ending { result, outputs: exit.outputs, spent: spent.unwrap_or(Amount::ZERO), used }
}

/// What a client used, and what that cost.
pub(super) fn costs(evidence: &client::Evidence) -> (Amount, Used) {
    let spent = Amount { usd_micros: evidence.usd_micros.unwrap_or(0), tokens: evidence.tokens.total() };
    (spent, Used { tokens: evidence.tokens, claimed: None, model: evidence.model.clone() })
}

/// Names what kapell itself refused as the cause of a failure. Clients take that for the word of their provider, each for
/// another one; but no provider wants to be left alone, and trying again comes to the same, unless the run gets a larger
/// budget. Ends that a provider's word does not lead to have their own cause: no time left, an output of another shape.
pub(super) fn blame(ending: &mut Ending, Refusal { why, more_helps }: &Refusal) {
    use FailureClass::{Permanent, Permission, Quota, RateLimited, Transient};
    let Err(failure) = &mut ending.result else { return };
    if matches!(failure.class, Transient | RateLimited | Quota | Permission | Permanent) {
        failure.class = if *more_helps { FailureClass::Budget } else { Permanent };
        failure.message = format!("{OWN_REFUSAL}{why}\n{}", failure.message);
        failure.until = None;
    }
}
