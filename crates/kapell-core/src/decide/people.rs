//! Questions, and the answers of people.

use super::{
    attempt::{compensation_started, running},
    refused,
};
use crate::{
    budget::Amount,
    command::Rejection,
    event::{Event, GateKind, Outputs},
    id::{AttemptNo, GateId, TaskId},
    plan::Work,
    retry::FailureClass,
    run::{Phase, Run},
    task::{Recovery, TaskState},
    time::Now,
};

pub(super) fn ask(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    question: &str,
    choices: &[String],
) -> Result<Vec<Event>, Rejection> {
    if running(run, task, attempt)?.question.is_some() {
        return Err(Rejection::AlreadyAsking);
    }
    let (question, choices) = (question.to_owned(), choices.to_vec());
    Ok(vec![Event::GateOpened { gate: run.next_gate(), task, kind: GateKind::Question, question, choices }])
}

pub(super) fn answer_gate(
    run: &Run,
    id: GateId,
    answer: &str,
    by: &str,
    now: Now,
) -> Result<Vec<Event>, Rejection> {
    let gate = run.gate(id).ok_or(Rejection::UnknownGate(id))?;
    #[cfg(kapell_planted)]
    if crate::planted::is("gate_answered_twice") && gate.answer.is_some() {
        return Ok(vec![Event::GateAnswered { gate: id, answer: answer.to_owned(), by: by.to_owned() }]);
    }
    if gate.answer.is_some() {
        return Err(Rejection::AlreadyAnswered(id));
    }
    if run.outcome().is_some() {
        return Err(Rejection::Over);
    }
    if !gate.choices.is_empty() && !gate.choices.iter().any(|choice| choice == answer) {
        return Err(Rejection::BadAnswer(gate.choices.clone()));
    }
    if !run.is_owed(id, gate) {
        return Err(Rejection::MootGate(id));
    }
    let task = gate.task;
    let mut events = vec![Event::GateAnswered { gate: id, answer: answer.to_owned(), by: by.to_owned() }];
    let attempt = AttemptNo(run.task(task).map_or(0, |task| task.attempts));
    let give_up = |message: &str| Event::AttemptFailed {
        task,
        attempt,
        class: FailureClass::Permission,
        message: message.to_owned(),
        spent: Amount::ZERO,
        then: Recovery::GiveUp,
    };
    match (gate.kind, answer) {
        (GateKind::Question, _) => {}
        (GateKind::Task, "no") if is_yes_no(run, task) => events.push(give_up("a person said no")),
        (GateKind::Task, _) => {
            let outputs = Outputs::from([("answer".to_owned(), answer.to_owned())]);
            events.push(Event::Completed { task, outputs, spent: Amount::ZERO });
        }
        (GateKind::Lost, "retry") => events.push(Event::Unblocked { task }),
        (GateKind::Lost, _) => events.push(give_up("a person gave the lost attempt up")),
        (GateKind::Protect, "accept") => events.push(Event::Verified { task }),
        (GateKind::Protect, _) => events.push(give_up("a person rejected the change")),
        (GateKind::Compensation, "skip") => {
            events.push(Event::Compensated { task, commit: None, left: true });
        }
        (GateKind::Compensation, _) => {
            if let TaskState::CompensationStuck { attempt, .. } = run.state(task) {
                events.push(compensation_started(run, task, attempt.next(), now));
            }
        }
    }
    Ok(events)
}

/// Takes an answer back as long as nothing has followed from it.
pub(super) fn undo_answer(run: &Run, gate: GateId, by: &str) -> Result<Vec<Event>, Rejection> {
    let open = run.gate(gate).ok_or(Rejection::UnknownGate(gate))?;
    if open.answer.is_none() {
        return Err(Rejection::NotAnswered(gate));
    }
    if !matches!(run.phase(), Phase::Active | Phase::Paused(_)) {
        return Err(refused(run.phase()));
    }
    match run.follows_from(gate) {
        Some(why) => Err(Rejection::AnswerUsed { gate, why }),
        None => Ok(vec![Event::AnswerUndone { gate, by: by.to_owned() }]),
    }
}

/// Tells whether a gate asks for a yes or a no, and nothing else: `no` stops what needs it then, whether a file names the two
/// or leaves them out.
fn is_yes_no(run: &Run, task: TaskId) -> bool {
    let Work::Gate(gate) = &run.plan().definition(task).work else { return false };
    let choices: Vec<&str> = gate.choices.iter().map(String::as_str).collect();
    matches!(choices.as_slice(), [] | ["yes", "no"] | ["no", "yes"])
}
