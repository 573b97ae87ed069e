use insta::assert_snapshot;
use kapell_core::{
    budget::{Amount, Exceeded},
    command::Command,
    event::{Event, GateKind, Outcome, Outputs, PauseCause, PlanRef},
    id::{AgentId, AttemptNo, GateId, ProbeId, RunId, TaskId},
    journal::Version,
    landing::{Blame, Entry, Probe, Probed},
    mission::Mission,
    retry::FailureClass,
    route::{Choice, PassedOver, Reroute},
    task::{Change, Recovery, SkipCause, StopCause},
    time::{Elapsed, Wall},
};
use kapell_view::{
    logs::{LogReader, Logs, Weight},
    text::plain,
    untrusted::{is_deceptive, to_json},
};

use crate::world::{World, mission, oid, plan};

fn logs(world: &World, weight: Weight, columns: usize) -> String {
    let lines = Logs::new(world.rows.iter().cloned(), LogReader::new(), weight);
    plain(&lines.map(|line| line.line(columns)).collect::<Vec<_>>())
}

#[test]
fn a_long_question_is_told_whole() {
    let mut world = World::standard();
    world.at(5).asks_at_length();
    let lines = Logs::new(world.rows.iter().cloned(), LogReader::new(), Weight::Fact);
    let asked = lines.last().unwrap();
    assert_snapshot!(plain(&asked.message_lines(4, 60)), @r"
             | its agent asks, gate 0: The change renames a
             | public function that three other crates call.
             | Shall all of them follow now? [yes | no]
    ");
    assert!(asked.message_lines(4, 200).is_empty());
}

#[test]
fn a_message_is_told_once_and_its_line_has_a_number() {
    let mut world = World::standard();
    world.at(40).fails(0, FailureClass::Transient, "one\ntwo\n");
    let line = Logs::new(world.rows.iter().cloned(), LogReader::new(), Weight::Fact).last().unwrap();
    assert_snapshot!(plain(&line.numbered(3, 5, 110)), @r"
      3  00:40.0  parser   attempt 1 failed (transient, $0.12, 2500 tokens), again at 00:41.4: two
                  | one
    ");
    // One that does not fit is left to the lines below.
    let cut = plain(&line.numbered(3, 5, 92));
    assert!(!cut.contains(": two") && cut.contains("| one\n") && cut.contains("| two"), "{cut}");
}

#[test]
fn a_run_is_told() {
    let mut world = World::to_the_end();
    world.merges();
    assert_snapshot!(logs(&world, Weight::Fact, 80), @r"
    00:00.0  run      created: Fix the parser and release
    00:00.0  parser   attempt 1 started by coder, until 20:00.0, $0.50 reserved
    00:00.0  docs     attempt 1 started
    00:30.0  docs     attempt 1 submitted change dddddddddddd, cost $0.20, 4000 tok…
    00:31.0  docs     landed as 111111111111
    00:40.0  parser   attempt 1 failed (transient, $0.12, 2500 tokens), again at 00…
    01:00.0  parser   attempt 2 started by coder, until 21:00.0, $0.50 reserved
    02:40.0  parser   attempt 2 submitted change bbbbbbbbbbbb, gave version, cost $…
    02:42.0  parser   landed as 222222222222
    02:42.0  tests    attempt 1 started
    02:50.0  tests    done, cost $0.20, 4000 tokens
    02:50.0  release  a person must decide, gate 0: Publish the release? [yes | no]
    05:00.0  release  gate 0 answered by ada: yes
    05:00.0  release  done, gave answer
    05:00.0  run      finished: succeeded
    05:00.0  run      merged into refs/heads/main as 333333333333
    ");
    assert_snapshot!(logs(&world, Weight::Detail, 200), @r"
    00:00.0  run      created: Fix the parser and release
    00:00.0  run      plan adopted, revision 1, 4 tasks
    00:00.0  parser   attempt 1 started by coder, until 20:00.0, $0.50 reserved
    00:00.0  docs     attempt 1 started
    00:00.0  run      executed by its first process
    00:30.0  docs     attempt 1 submitted change dddddddddddd, cost $0.20, 4000 tokens
    00:30.0  docs     verified: it has no checks
    00:30.0  run      probe 0: 1 change on aaaaaaaaaaaa tried
    00:31.0  run      probe 0: green at 111111111111
    00:31.0  run      integration ref moves to 111111111111
    00:31.0  docs     landed as 111111111111
    00:40.0  parser   attempt 1 failed (transient, $0.12, 2500 tokens), again at 00:41.4: note: exit 101
    01:00.0  parser   the wait is over
    01:00.0  parser   attempt 2 started by coder, until 21:00.0, $0.50 reserved
    02:40.0  parser   attempt 2 submitted change bbbbbbbbbbbb, gave version, cost $0.20, 4000 tokens
    02:40.0  parser   verified: it has no checks
    02:40.0  run      probe 1: 1 change on 111111111111 tried
    02:42.0  run      probe 1: green at 222222222222
    02:42.0  run      integration ref moves to 222222222222
    02:42.0  parser   landed as 222222222222
    02:42.0  tests    attempt 1 started
    02:50.0  tests    done, cost $0.20, 4000 tokens
    02:50.0  release  a person must decide, gate 0: Publish the release? [yes | no]
    05:00.0  release  gate 0 answered by ada: yes
    05:00.0  release  done, gave answer
    05:00.0  run      finished: succeeded
    05:00.0  run      refs/heads/main is about to move to 333333333333
    05:00.0  run      merged into refs/heads/main as 333333333333
    ");
}

#[test]
fn names_are_known_from_a_state_too() {
    let mut world = World::standard();
    let mut reader = LogReader::after(&world.run);
    let before = world.rows.len();
    world.at(40).fails(0, FailureClass::Transient, "one\n\x1b[2Jtwo\n");
    let (row, events) = &world.rows[before];
    let lines = reader.read(row, events);
    assert_snapshot!(lines[0].line_of_day(80).to_plain(), @r"2026-11-21 02:00:40Z  parser   attempt 1 failed (transient, $0.12, 2500 tokens)…");
    assert_snapshot!(plain(&lines[0].message_lines(5, 80)), @r"
    | one
    | ␛[2Jtwo
    ");
}

#[test]
fn machines_get_the_fields() {
    let world = World::to_the_end();
    let mut reader = LogReader::new();
    let entries: Vec<_> = world.rows.iter().flat_map(|(row, events)| reader.entries(row, events)).collect();
    let failed = entries.iter().find(|entry| entry.event == "attempt_failed").unwrap();
    assert_snapshot!(to_json(failed), @r#"{"version":1,"run":"01m7xx9x80exvqexvqexvqexvq","n":6,"at_ms":1795226440000,"elapsed_ms":40000,"actor":"engine","cause":"finish","event":"attempt_failed","task":"parser","text":"attempt 1 failed (transient, $0.12, 2500 tokens), again at 00:41.4: note: exit 101","data":{"attempt":1,"class":"transient","message":"error: cannot find `Token`\nnote: exit 101\n","spent":{"tokens":2500,"usd_micros":120000},"task":0,"then":{"retry":{"at":41492}}}}"#);
    assert!(entries.iter().all(|entry| !to_json(entry).contains(is_deceptive)));
}

#[test]
fn who_paused_a_run_is_told() {
    let mut world = World::standard();
    let before = world.rows.len();
    world.at(9).does(Command::Pause).at(12).does(Command::Resume { limits: None });
    let mut reader = LogReader::after(&world.run);
    let lines = world.rows[before..].iter().flat_map(|(row, events)| reader.read(row, events));
    assert_snapshot!(plain(&lines.map(|line| line.line(80)).collect::<Vec<_>>()), @r"
    00:09.0  run      paused: a person asked for it, by ada
    00:12.0  run      goes on, by ada
    ");
}

/// One of each event, in an order that no run would have.
fn one_of_each() -> Vec<Event> {
    let (task, attempt, gate, probe) = (TaskId(0), AttemptNo(1), GateId(0), ProbeId(3));
    let target = "refs/heads/main".to_owned();
    let spent = Amount { usd_micros: 1_500, tokens: 20_000 };
    let run = RunId([0x42; 16]);
    let entry = Entry { task, commit: oid('b') };
    let failed = |then| {
        let message = "it broke".to_owned();
        Event::AttemptFailed { task, attempt, class: FailureClass::Timeout, message, spent, then }
    };
    let gate_of = |kind| {
        let choices = vec!["yes".to_owned(), "no".to_owned()];
        Event::GateOpened { gate, task, kind, question: "Go on?".to_owned(), choices }
    };
    let paused = |why| Event::Paused { why };
    let back = Change { commit: oid('e'), tree: oid('f'), base: oid('b') };
    vec![
        Event::Created { mission: Box::new(Mission { forked_from: Some((run, Version(9))), ..mission() }) },
        Event::PlanAdopted { revision: 2, plan: PlanRef::Inline(plan().into()) },
        Event::Opened { epoch: 2 },
        Event::Routed {
            tasks: vec![task],
            ranking: vec![Choice { agent: AgentId(0), why: "covers rust".to_owned() }],
            passed_over: vec![PassedOver { agent: "codex".to_owned(), why: "not installed".to_owned() }],
        },
        Event::Rerouted { task, from: AgentId(0), agent: AgentId(9), why: Reroute::Resting },
        Event::HandedOff { task, attempt, agent: AgentId(9), note: "half\ndone".to_owned() },
        Event::PassedOn { task, attempt, agent: AgentId(9), change: None, spent },
        Event::ChildRested { task, attempt },
        Event::ChildWentOn { task, attempt },
        Event::Unblocked { task },
        Event::Skipped { task, why: SkipCause::Condition },
        Event::Skipped { task, why: SkipCause::BrokenCondition },
        Event::Skipped { task, why: SkipCause::Need },
        Event::Skipped { task, why: SkipCause::Superseded },
        Event::ClaimsAwaited { task },
        Event::Started {
            task,
            attempt,
            agent: Some(AgentId(9)),
            deadline: None,
            reserved: spent,
            held: Amount { tokens: 12_000, ..Amount::ZERO },
            grant: None,
        },
        Event::StopRequested { task, attempt, why: StopCause::Timeout },
        Event::StopRequested { task, attempt, why: StopCause::Deadline },
        Event::Completed { task, outputs: Outputs::new(), spent },
        Event::Submitted { task, attempt, change: None, outputs: Outputs::new(), spent: Amount::ZERO },
        Event::Verified { task },
        failed(Recovery::Again),
        failed(Recovery::Retry { at: Elapsed(61_500) }),
        failed(Recovery::Park { until: Wall(0), latest: Elapsed(0) }),
        failed(Recovery::Substitute { agent: AgentId(0) }),
        failed(Recovery::Ask { gate }),
        failed(Recovery::GiveUp),
        failed(Recovery::Cancel),
        failed(Recovery::Drop),
        Event::Woken { task },
        Event::Reused {
            task,
            from: run,
            at: Version(4),
            landed: Some(oid('c')),
            change: None,
            outputs: Outputs::new(),
        },
        Event::Cancelled { task: TaskId(77) },
        gate_of(GateKind::Question),
        gate_of(GateKind::Lost),
        gate_of(GateKind::Protect),
        gate_of(GateKind::Compensation),
        Event::GateAnswered { gate, answer: "yes".to_owned(), by: "ada".to_owned() },
        Event::AnswerUndone { gate, by: "ada".to_owned() },
        Event::Noted { task, attempt, text: "a thing\nto know".to_owned() },
        Event::ProbeAsked {
            probe: Probe { id: probe, base: oid('a'), entries: vec![entry; 2], repeat: true },
        },
        Event::ProbeAsked { probe: Probe { id: probe, base: oid('a'), entries: vec![], repeat: false } },
        Event::Probed { probe, outcome: Probed::Green { tips: vec![] } },
        Event::Probed { probe, outcome: Probed::Red { tips: vec![], message: "1 test failed\n".to_owned() } },
        Event::Probed { probe, outcome: Probed::Conflict { index: 0, paths: vec!["a.rs".to_owned()] } },
        Event::LandingStarted { from: oid('a'), to: oid('b') },
        Event::Landed { task, commit: oid('b') },
        Event::SentBack { task, blame: Blame::Alone },
        Event::SentBack { task, blame: Blame::With(TaskId(1)) },
        Event::SentBack { task, blame: Blame::Conflict(vec!["a.rs".to_owned(), "b.rs".to_owned()]) },
        Event::ProviderParked { provider: "acme".to_owned(), until: Wall(0), latest: Elapsed(0) },
        Event::BreakerOpened { agent: AgentId(0), until: Elapsed(30_000) },
        Event::CompensationStarted { task, attempt, deadline: None },
        Event::CompensationFailed { task, attempt, message: "gone".to_owned(), again: true, deadline: None },
        Event::CompensationFailed { task, attempt, message: "gone".to_owned(), again: false, deadline: None },
        Event::CompensationSubmitted { task, attempt, change: back },
        Event::Compensated { task, commit: None, left: false },
        Event::Compensated { task, commit: Some(back.commit), left: false },
        Event::Compensated { task, commit: None, left: true },
        paused(PauseCause::Person),
        paused(PauseCause::Budget(Exceeded::Usd)),
        paused(PauseCause::Deadline),
        paused(PauseCause::BaseIsRed { message: "2 tests fail".to_owned() }),
        Event::Resumed { limits: None },
        Event::Resumed { limits: Some(mission().limits) },
        Event::Held { stop: true },
        Event::Released {},
        Event::CancelRequested {},
        Event::CompensationBegun {},
        Event::Finished { outcome: Outcome::Failed },
        Event::Finished { outcome: Outcome::Cancelled },
        Event::Finished { outcome: Outcome::Compensated },
        Event::MergeStarted { target: target.clone(), from: oid('a'), to: oid('b') },
        Event::Merged { target: target.clone(), to: oid('b') },
        Event::MergeUndone { target, to: oid('a'), why: None },
    ]
}

#[test]
fn every_event_has_its_words() {
    let events = one_of_each();
    let names: std::collections::BTreeSet<_> = events.iter().map(Event::name).collect();
    assert_eq!(names.len(), 46, "one of each");
    let row = World::standard().rows[0].0.clone();
    let mut reader = LogReader::new();
    let lines = reader.read(&row, &events);
    let told = |line: &kapell_view::logs::LogLine| {
        let weight = if line.weight == Weight::Fact { ' ' } else { '.' };
        format!(
            "{weight} {}  {}\n",
            line.name.as_ref().map_or("run".to_owned(), |it| it.visible()),
            line.text
        )
    };
    assert_snapshot!(lines.iter().map(told).collect::<String>(), @"
      run  created, forked from 2289144gj289 at 9: Fix the parser and release
      run  plan adopted, revision 2, 4 tasks
      run  resumed by another process
      run  coder for parser: covers rust
      parser  goes from coder to agent 9: it rests after too many failures
      parser  is to be handed on to agent 9: done
      parser  attempt 1 passed its work on to agent 9, cost $0.0015, 20.0k tokens
    . parser  its workflow waits: its time stands still
    . parser  its workflow goes on
    . parser  may start
      parser  skipped: its condition is false
      parser  skipped: its condition could not be computed
      parser  skipped: something it needs failed or was skipped
      parser  skipped: a later plan does without it
    . parser  waits for paths that others hold
      parser  attempt 1 started by agent 9, $0.0015 reserved, 12.0k tokens expected
      parser  attempt 1 is stopped: it took longer than it may
      parser  attempt 1 is stopped: the run's time is over
      parser  done, cost $0.0015, 20.0k tokens
      parser  attempt 1 submitted
    . parser  verified: it has no checks
      parser  attempt 1 failed (timeout, $0.0015, 20.0k tokens), again at once: it broke
      parser  attempt 1 failed (timeout, $0.0015, 20.0k tokens), again at 01:01.5: it broke
      parser  attempt 1 failed (timeout, $0.0015, 20.0k tokens), again at 1970-01-01 00:00:00Z: it broke
      parser  attempt 1 failed (timeout, $0.0015, 20.0k tokens), coder takes over: it broke
      parser  attempt 1 failed (timeout, $0.0015, 20.0k tokens), a person decides: it broke
      parser  attempt 1 failed (timeout, $0.0015, 20.0k tokens), given up: it broke
      parser  attempt 1 failed (timeout, $0.0015, 20.0k tokens), cancelled: it broke
      parser  attempt 1 failed (timeout, $0.0015, 20.0k tokens), no longer wanted: it broke
    . parser  the wait is over
      parser  result of run 2289144gj289 at 4 reused, landed as cccccccccccc
      #77  cancelled
      parser  its agent asks, gate 0: Go on? [yes | no]
      parser  an attempt was lost, gate 0: Go on? [yes | no]
      parser  a change touches its own checks, gate 0: Go on? [yes | no]
      parser  could not be taken back, gate 0: Go on? [yes | no]
      parser  gate 0 answered by ada: yes
      parser  the answer to gate 0 was taken back by ada: it is owed again
      parser  notes: a thing␊to know
    . run  probe 3: 2 changes on aaaaaaaaaaaa tried once more
    . run  probe 3: the base itself on aaaaaaaaaaaa tried
    . run  probe 3: green
    . run  probe 3: red: 1 test failed
    . run  probe 3: change 1 conflicts in a.rs
    . run  integration ref moves to bbbbbbbbbbbb
      parser  landed as bbbbbbbbbbbb
      parser  sent back: it fails alone
      parser  sent back: it fails only together with docs
      parser  sent back: it conflicts in a.rs, b.rs
      run  acme gives nothing until 1970-01-01 00:00:00Z
      run  coder failed too often in a row and rests until 00:30.0
      parser  is taken back, try 1
      parser  could not be taken back, try 1, tried again: gone
      parser  could not be taken back, try 1, a person must decide: gone
    . parser  its compensation changed files: eeeeeeeeeeee is to land
      parser  taken back, with no file changed
      parser  taken back by eeeeeeeeeeee
      parser  left as it is, by a person's word
      run  paused: a person asked for it
      run  paused: too little money is left in the budget
      run  paused: its deadline is over
      run  paused: checks fail on the commit that the run starts from: 2 tests fail
      run  goes on
      run  goes on within new limits
      run  the run that it is part of is paused, too
      run  the run that it is part of goes on; this one stays paused
      run  cancel requested
      run  what was done is taken back
      run  finished: failed
      run  finished: cancelled
      run  finished: what was done has been taken back
    . run  refs/heads/main is about to move to bbbbbbbbbbbb
      run  merged into refs/heads/main as bbbbbbbbbbbb
      run  merge not in force: refs/heads/main is at aaaaaaaaaaaa
    ");
}
