//! What came of one run, and of many.

use std::collections::BTreeMap;

use kapell_core::{command::Rejection, retry::FailureClass};

use crate::{check::Violation, tally::Tally};

/// What came of one simulated run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The seed that it came from.
    pub seed: u64,
    /// How many tasks its first plan had.
    pub tasks: u64,
    /// How many steps of the simulated shell it took.
    pub steps: u64,
    /// How many decisions are in its journal.
    pub decisions: u64,
    /// A fingerprint of all that became durable, in order: equal for equal seeds.
    pub fingerprint: u64,
    /// Events by type.
    pub events: Tally,
    /// Rejections by kind.
    pub rejections: Tally,
    /// Failed attempts by class.
    pub classes: Tally,
    /// What went wrong, by kind.
    pub faults: Tally,
    /// What followed a fault or a class of failures.
    pub recoveries: BTreeMap<(&'static str, &'static str), u64>,
    /// What did not hold, if something did not.
    pub violation: Option<Violation>,
}

impl Report {
    pub(crate) fn mix(&mut self, hash: &[u8; 32]) {
        let mut word = [0; 8];
        word.copy_from_slice(&hash[..8]);
        self.fingerprint = self.fingerprint.rotate_left(5) ^ u64::from_le_bytes(word);
    }
}

pub(crate) fn class_name(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Transient => "transient",
        FailureClass::RateLimited => "rate_limited",
        FailureClass::Quota => "quota",
        FailureClass::Timeout => "timeout",
        FailureClass::InvalidOutput => "invalid_output",
        FailureClass::Conflict => "conflict",
        FailureClass::Verification => "verification",
        FailureClass::Permission => "permission",
        FailureClass::Lost => "lost",
        FailureClass::Budget => "budget",
        FailureClass::Permanent => "permanent",
    }
}

pub(crate) fn rejection_name(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::NotCreated => "not_created",
        Rejection::AlreadyCreated => "already_created",
        Rejection::PlanNotRead => "plan_not_read",
        Rejection::Over => "over",
        Rejection::UnknownTask(_) => "unknown_task",
        Rejection::Late { .. } => "late",
        Rejection::StaleProbe(_) => "stale_probe",
        Rejection::UnexpectedMove => "unexpected_move",
        Rejection::UnknownGate(_) => "unknown_gate",
        Rejection::AlreadyAnswered(_) => "already_answered",
        Rejection::MootGate(_) => "moot_gate",
        Rejection::BadAnswer(_) => "bad_answer",
        Rejection::NotAnswered(_) => "not_answered",
        Rejection::AnswerUsed { .. } => "answer_used",
        Rejection::AlreadyAsking => "already_asking",
        Rejection::NotPaused => "not_paused",
        Rejection::ParentPaused => "parent_paused",
        Rejection::AlreadyPaused => "already_paused",
        Rejection::Cancelling => "cancelling",
        Rejection::BadRevision(_) => "bad_revision",
        Rejection::AlreadyBegun(_) => "already_begun",
        Rejection::Merge(_) => "merge",
        Rejection::BadRanking(_) => "bad_ranking",
        Rejection::NoHandOff(_) => "no_hand_off",
        Rejection::Bug(_) => "bug",
    }
}
