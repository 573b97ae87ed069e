//! The whole table of a task's life: every state against every event.

use insta::assert_snapshot;
use kapell_core::{
    budget::Amount,
    id::{AgentId, AttemptNo, GateId},
    retry::FailureClass,
    task::{Attempt, Park, Recovery, SkipCause, Slots, StopCause, Submission, TaskEvent, TaskState},
    time::{Elapsed, Wall},
};

use crate::script::{change, oid};

fn attempt() -> Attempt {
    Attempt {
        number: AttemptNo(2),
        since: Elapsed(0),
        deadline: None,
        agent: None,
        reserved: Amount::ZERO,
        held: Amount::ZERO,
        slots: Slots::default(),
        stopping: None,
        question: None,
        rests: None,
    }
}

fn submission(with_change: bool) -> Box<Submission> {
    Box::new(Submission { attempt: AttemptNo(2), change: with_change.then(|| change("x")) })
}

/// Every state, where what it holds decides also with that.
fn states() -> Vec<(&'static str, TaskState)> {
    use TaskState as S;
    vec![
        ("blocked 2", S::Blocked { open: 2, tainted: false }),
        ("blocked 1", S::Blocked { open: 1, tainted: true }),
        ("blocked 0", S::Blocked { open: 0, tainted: false }),
        ("ready", S::Ready),
        ("awaiting_claims", S::AwaitingClaims),
        ("awaiting_gate", S::AwaitingGate { gate: GateId(0) }),
        ("running", S::Running(Box::new(attempt()))),
        (
            "running, stopping",
            S::Running(Box::new(Attempt { stopping: Some(StopCause::Timeout), ..attempt() })),
        ),
        (
            "running, asking",
            S::Running(Box::new(Attempt { question: Some((GateId(0), Elapsed(2))), ..attempt() })),
        ),
        ("running, resting", S::Running(Box::new(Attempt { rests: Some(Elapsed(2)), ..attempt() }))),
        ("submitted", S::Submitted(submission(false))),
        ("submitted change", S::Submitted(submission(true))),
        ("verified", S::Verified(submission(true))),
        ("backing_off", S::BackingOff { until: Elapsed(5) }),
        ("parked", S::Parked(Box::new(Park { until: Wall(5), latest: Elapsed(7) }))),
        ("done", S::Done),
        ("landed", S::Landed { commit: Box::new(oid("tip")) }),
        ("failed", S::Failed { class: FailureClass::Transient }),
        ("skipped", S::Skipped { why: SkipCause::Need }),
        ("cancelled", S::Cancelled),
        ("compensating", S::Compensating { attempt: AttemptNo(1), deadline: Some(Box::new(Elapsed(9))) }),
        ("stuck", S::CompensationStuck { gate: None, attempt: AttemptNo(3) }),
        ("stuck, asked", S::CompensationStuck { gate: Some(GateId(0)), attempt: AttemptNo(3) }),
        ("back", S::CompensationSubmitted(submission(true))),
        ("compensated", S::Compensated),
    ]
}

fn events() -> Vec<(&'static str, TaskEvent)> {
    use {Recovery as R, TaskEvent as E};
    let failed = |then| E::AttemptFailed(FailureClass::Conflict, then);
    vec![
        ("need_settled", E::NeedSettled { tainted: false }),
        ("need_settled tainted", E::NeedSettled { tainted: true }),
        ("unblocked", E::Unblocked),
        ("claims_awaited", E::ClaimsAwaited),
        ("gate_opened", E::GateOpened(GateId(1))),
        ("started", E::Started(Box::new(attempt()))),
        ("stop_requested", E::StopRequested(StopCause::Timeout)),
        ("passed_on", E::PassedOn),
        ("asked", E::Asked(GateId(1), Elapsed(3))),
        ("answered", E::Answered(Elapsed(6))),
        ("child_rested", E::ChildRested(Elapsed(3))),
        ("child_went_on", E::ChildWentOn(Elapsed(6))),
        ("gate_reopened", E::GateReopened(GateId(1))),
        ("need_reopened", E::NeedReopened { tainted: false }),
        ("need_reopened tainted", E::NeedReopened { tainted: true }),
        ("completed", E::Completed),
        ("submitted", E::Submitted(submission(true))),
        ("verified", E::Verified),
        ("landed", E::Landed(oid("tip"))),
        ("failed again", failed(R::Again)),
        ("failed retry", failed(R::Retry { at: Elapsed(9) })),
        ("failed park", failed(R::Park { until: Wall(9), latest: Elapsed(8) })),
        ("failed substitute", failed(R::Substitute { agent: AgentId(1) })),
        ("failed ask", failed(R::Ask { gate: GateId(1) })),
        ("failed give_up", failed(R::GiveUp)),
        ("failed cancel", failed(R::Cancel)),
        ("failed drop", failed(R::Drop)),
        ("woken", E::Woken),
        ("skipped", E::Skipped(SkipCause::Superseded)),
        ("reused", E::Reused { landed: None }),
        ("reused landed", E::Reused { landed: Some(oid("earlier")) }),
        ("cancelled", E::Cancelled),
        ("compensation_started", E::CompensationStarted(AttemptNo(4), Some(Elapsed(9)))),
        ("compensation_failed again", E::CompensationFailed { again: true, deadline: Some(Elapsed(12)) }),
        ("compensation_failed", E::CompensationFailed { again: false, deadline: None }),
        ("compensation_submitted", E::CompensationSubmitted(submission(true))),
        ("compensated", E::Compensated),
    ]
}

fn show(state: &TaskState) -> String {
    use TaskState as S;
    match state {
        S::Blocked { open, tainted } => format!("blocked {open}{}", if *tainted { " tainted" } else { "" }),
        S::AwaitingGate { gate } => format!("awaiting_gate {gate}"),
        S::Running(attempt) => {
            let Attempt { number, stopping, question, rests, .. } = &**attempt;
            let rests = rests.map(|since| format!(" rests={}", since.0)).unwrap_or_default();
            let question = question.map(|(gate, _)| gate.0);
            format!("running #{number} stopping={stopping:?} question={question:?}{rests}")
        }
        S::Submitted(submission) | S::Verified(submission) | S::CompensationSubmitted(submission) => {
            let Submission { attempt, change } = &**submission;
            format!("{} #{attempt} change={}", state.name(), change.is_some())
        }
        S::BackingOff { until } => format!("backing_off {}", until.0),
        S::Parked(park) => format!("parked {} or {}", park.until.0, park.latest.0),
        S::Landed { commit } => format!("landed {}", &commit.to_string()[..6]),
        S::Failed { class } => format!("failed {class}"),
        S::Skipped { why } => format!("skipped {why:?}"),
        S::Compensating { attempt, deadline } => {
            format!("compensating #{attempt} deadline={:?}", deadline.as_deref().map(|at| at.0))
        }
        S::CompensationStuck { gate, attempt } => {
            format!("compensation_stuck #{attempt} gate={:?}", gate.map(|gate| gate.0))
        }
        S::Ready | S::AwaitingClaims | S::Done | S::Cancelled | S::Compensated => state.name().to_owned(),
    }
}

/// The names in the lists above are all there are: a new variant does not compile until it is put in.
#[test]
fn the_lists_are_complete() {
    use {TaskEvent as E, TaskState as S};
    let states: std::collections::BTreeSet<_> = states()
        .iter()
        .map(|(_, state)| match state {
            S::Blocked { .. } => 0,
            S::Ready => 1,
            S::AwaitingClaims => 2,
            S::AwaitingGate { .. } => 3,
            S::Running(_) => 4,
            S::Submitted(_) => 5,
            S::Verified(_) => 6,
            S::BackingOff { .. } => 7,
            S::Parked(_) => 8,
            S::Done => 9,
            S::Landed { .. } => 10,
            S::Failed { .. } => 11,
            S::Skipped { .. } => 12,
            S::Cancelled => 13,
            S::Compensating { .. } => 14,
            S::CompensationStuck { .. } => 15,
            S::Compensated => 16,
            S::CompensationSubmitted(_) => 17,
        })
        .collect();
    assert_eq!(states.len(), 18);
    let events: std::collections::BTreeSet<_> = events()
        .iter()
        .map(|(_, event)| match event {
            E::NeedSettled { .. } => 0,
            E::Unblocked => 1,
            E::ClaimsAwaited => 2,
            E::GateOpened(_) => 3,
            E::Started(_) => 4,
            E::StopRequested(_) => 5,
            E::Asked(..) => 6,
            E::Answered(_) => 7,
            E::Completed => 8,
            E::Submitted(_) => 9,
            E::Verified => 10,
            E::Landed(_) => 11,
            E::AttemptFailed(_, then) => match then {
                Recovery::Again => 12,
                Recovery::Retry { .. } => 13,
                Recovery::Park { .. } => 14,
                Recovery::Substitute { .. } => 15,
                Recovery::Ask { .. } => 16,
                Recovery::GiveUp => 17,
                Recovery::Cancel => 18,
                Recovery::Drop => 19,
            },
            E::Woken => 20,
            E::Skipped(_) => 21,
            E::Reused { .. } => 22,
            E::Cancelled => 23,
            E::CompensationStarted(..) => 24,
            E::CompensationFailed { .. } => 25,
            E::Compensated => 26,
            E::PassedOn => 27,
            E::GateReopened(_) => 28,
            E::NeedReopened { .. } => 29,
            E::CompensationSubmitted(_) => 30,
            E::ChildRested(_) => 31,
            E::ChildWentOn(_) => 32,
        })
        .collect();
    assert_eq!(events.len(), 33);
}

#[test]
fn every_state_against_every_event() {
    let mut text = String::new();
    for (name, state) in states() {
        let (mut legal, mut rejected) = (String::new(), 0);
        for (event_name, event) in events() {
            match state.next(event.clone()) {
                Ok(next) => legal.push_str(&format!("  {event_name:<26} {}\n", show(&next))),
                Err(illegal) => {
                    assert_eq!((&illegal.state, &illegal.event), (&state, &event), "it names both sides");
                    rejected += 1;
                }
            }
        }
        let flags = format!("settled={} success={}", state.is_settled(), state.is_success());
        text.push_str(&format!("{name} ({flags}), rejects {rejected}\n{legal}"));
    }
    assert_snapshot!(text, @"
    blocked 2 (settled=false success=false), rejects 28
      need_settled               blocked 1
      need_settled tainted       blocked 1 tainted
      need_reopened              blocked 3
      need_reopened tainted      blocked 3 tainted
      failed give_up             failed conflict
      skipped                    skipped Superseded
      reused                     done
      reused landed              landed 45fbdd
      cancelled                  cancelled
    blocked 1 (settled=false success=false), rejects 28
      need_settled               blocked 0 tainted
      need_settled tainted       blocked 0 tainted
      need_reopened              blocked 2
      need_reopened tainted      blocked 2 tainted
      failed give_up             failed conflict
      skipped                    skipped Superseded
      reused                     done
      reused landed              landed 45fbdd
      cancelled                  cancelled
    blocked 0 (settled=false success=false), rejects 29
      unblocked                  ready
      need_reopened              blocked 1
      need_reopened tainted      blocked 1 tainted
      failed give_up             failed conflict
      skipped                    skipped Superseded
      reused                     done
      reused landed              landed 45fbdd
      cancelled                  cancelled
    ready (settled=false success=false), rejects 26
      claims_awaited             awaiting_claims
      gate_opened                awaiting_gate 1
      started                    running #2 stopping=None question=None
      gate_reopened              awaiting_gate 1
      need_reopened              blocked 1
      need_reopened tainted      blocked 1 tainted
      failed give_up             failed conflict
      skipped                    skipped Superseded
      reused                     done
      reused landed              landed 45fbdd
      cancelled                  cancelled
    awaiting_claims (settled=false success=false), rejects 28
      started                    running #2 stopping=None question=None
      gate_reopened              awaiting_gate 1
      need_reopened              blocked 1
      need_reopened tainted      blocked 1 tainted
      failed give_up             failed conflict
      skipped                    skipped Superseded
      reused                     done
      reused landed              landed 45fbdd
      cancelled                  cancelled
    awaiting_gate (settled=false success=false), rejects 32
      unblocked                  ready
      completed                  done
      failed give_up             failed conflict
      skipped                    skipped Superseded
      cancelled                  cancelled
    running (settled=false success=false), rejects 23
      stop_requested             running #2 stopping=Some(Timeout) question=None
      passed_on                  ready
      asked                      running #2 stopping=None question=Some(1)
      child_rested               running #2 stopping=None question=None rests=3
      completed                  done
      submitted                  submitted #2 change=true
      failed again               ready
      failed retry               backing_off 9
      failed park                parked 9 or 8
      failed substitute          ready
      failed ask                 awaiting_gate 1
      failed give_up             failed conflict
      failed cancel              cancelled
      failed drop                skipped Superseded
    running, stopping (settled=false success=false), rejects 24
      passed_on                  ready
      asked                      running #2 stopping=Some(Timeout) question=Some(1)
      child_rested               running #2 stopping=Some(Timeout) question=None rests=3
      completed                  done
      submitted                  submitted #2 change=true
      failed again               ready
      failed retry               backing_off 9
      failed park                parked 9 or 8
      failed substitute          ready
      failed ask                 awaiting_gate 1
      failed give_up             failed conflict
      failed cancel              cancelled
      failed drop                skipped Superseded
    running, asking (settled=false success=false), rejects 23
      stop_requested             running #2 stopping=Some(Timeout) question=Some(0)
      passed_on                  ready
      answered                   running #2 stopping=None question=None
      child_rested               running #2 stopping=None question=Some(0) rests=3
      completed                  done
      submitted                  submitted #2 change=true
      failed again               ready
      failed retry               backing_off 9
      failed park                parked 9 or 8
      failed substitute          ready
      failed ask                 awaiting_gate 1
      failed give_up             failed conflict
      failed cancel              cancelled
      failed drop                skipped Superseded
    running, resting (settled=false success=false), rejects 23
      stop_requested             running #2 stopping=Some(Timeout) question=None rests=2
      passed_on                  ready
      asked                      running #2 stopping=None question=Some(1) rests=2
      child_went_on              running #2 stopping=None question=None
      completed                  done
      submitted                  submitted #2 change=true
      failed again               ready
      failed retry               backing_off 9
      failed park                parked 9 or 8
      failed substitute          ready
      failed ask                 awaiting_gate 1
      failed give_up             failed conflict
      failed cancel              cancelled
      failed drop                skipped Superseded
    submitted (settled=false success=false), rejects 27
      verified                   done
      failed again               ready
      failed retry               backing_off 9
      failed park                parked 9 or 8
      failed substitute          ready
      failed ask                 awaiting_gate 1
      failed give_up             failed conflict
      failed cancel              cancelled
      failed drop                skipped Superseded
      cancelled                  cancelled
    submitted change (settled=false success=false), rejects 27
      verified                   verified #2 change=true
      failed again               ready
      failed retry               backing_off 9
      failed park                parked 9 or 8
      failed substitute          ready
      failed ask                 awaiting_gate 1
      failed give_up             failed conflict
      failed cancel              cancelled
      failed drop                skipped Superseded
      cancelled                  cancelled
    verified (settled=false success=false), rejects 26
      gate_reopened              submitted #2 change=true
      landed                     landed de6a4a
      failed again               ready
      failed retry               backing_off 9
      failed park                parked 9 or 8
      failed substitute          ready
      failed ask                 awaiting_gate 1
      failed give_up             failed conflict
      failed cancel              cancelled
      failed drop                skipped Superseded
      cancelled                  cancelled
    backing_off (settled=false success=false), rejects 34
      woken                      ready
      skipped                    skipped Superseded
      cancelled                  cancelled
    parked (settled=false success=false), rejects 34
      woken                      ready
      skipped                    skipped Superseded
      cancelled                  cancelled
    done (settled=true success=true), rejects 35
      gate_reopened              awaiting_gate 1
      compensation_started       compensating #4 deadline=Some(9)
    landed (settled=true success=true), rejects 36
      compensation_started       compensating #4 deadline=Some(9)
    failed (settled=true success=false), rejects 36
      gate_reopened              awaiting_gate 1
    skipped (settled=true success=false), rejects 37
    cancelled (settled=true success=false), rejects 37
    compensating (settled=true success=false), rejects 32
      stop_requested             compensating #1 deadline=None
      compensation_failed again  compensating #2 deadline=Some(12)
      compensation_failed        compensation_stuck #1 gate=None
      compensation_submitted     compensation_submitted #2 change=true
      compensated                compensated
    stuck (settled=true success=false), rejects 34
      gate_opened                compensation_stuck #3 gate=Some(1)
      compensation_started       compensating #4 deadline=Some(9)
      compensated                compensated
    stuck, asked (settled=true success=false), rejects 35
      compensation_started       compensating #4 deadline=Some(9)
      compensated                compensated
    back (settled=true success=false), rejects 36
      compensated                compensated
    compensated (settled=true success=false), rejects 37
    ");
}
