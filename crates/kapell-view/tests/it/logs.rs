use insta::assert_snapshot;
use kapell_core::retry::FailureClass;
use kapell_view::{
    logs::{LogReader, Logs, Weight},
    text::plain,
    untrusted::{is_deceptive, to_json},
};

use crate::world::World;

fn logs(world: &World, weight: Weight, columns: usize) -> String {
    let lines = Logs::new(world.rows.iter().cloned(), LogReader::new(), weight);
    plain(&lines.map(|line| line.line(columns)).collect::<Vec<_>>())
}

#[test]
fn a_run_is_told() {
    let mut world = World::to_the_end();
    world.merges();
    assert_snapshot!(logs(&world, Weight::Fact, 80), @r"
    00:00.0  run      run created: Fix the parser and release
    00:00.0  parser   attempt 1 started by coder, until 20:00.0, $0.50 reserved
    00:00.0  docs     attempt 1 started
    00:30.0  docs     attempt 1 submitted change dddddddddddd, cost $0.20, 4000 tok…
    00:31.0  docs     landed as 111111111111
    00:40.0  parser   attempt 1 failed (transient), again at 00:41.4: note: exit 10…
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
    00:00.0  run      run created: Fix the parser and release
    00:00.0  run      plan adopted, revision 1, 4 tasks
    00:00.0  parser   attempt 1 started by coder, until 20:00.0, $0.50 reserved
    00:00.0  docs     attempt 1 started
    00:00.0  run      executed by its first process
    00:30.0  docs     attempt 1 submitted change dddddddddddd, cost $0.20, 4000 tokens
    00:30.0  docs     verified: its checks passed
    00:30.0  run      probe 0: 1 change on aaaaaaaaaaaa tried
    00:31.0  run      probe 0: green at 111111111111
    00:31.0  run      integration ref moves to 111111111111
    00:31.0  docs     landed as 111111111111
    00:40.0  parser   attempt 1 failed (transient), again at 00:41.4: note: exit 101, cost $0.12, 2500 tokens
    01:00.0  parser   the wait is over
    01:00.0  parser   attempt 2 started by coder, until 21:00.0, $0.50 reserved
    02:40.0  parser   attempt 2 submitted change bbbbbbbbbbbb, gave version, cost $0.20, 4000 tokens
    02:40.0  parser   verified: its checks passed
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
    assert_snapshot!(lines[0].line_of_day(80).to_plain(), @r"2026-11-21 02:00:40Z  parser   attempt 1 failed (transient), again at 00:41.4: …");
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
    assert_snapshot!(to_json(failed), @r#"{"version":1,"n":6,"at_ms":1795226440000,"elapsed_ms":40000,"actor":"engine","cause":"finish","event":"attempt_failed","task":"parser","text":"attempt 1 failed (transient), again at 00:41.4: note: exit 101, cost $0.12, 2500 tokens","data":{"attempt":1,"class":"transient","message":"error: cannot find `Token`\nnote: exit 101\n","spent":{"tokens":2500,"usd_micros":120000},"task":0,"then":{"retry":{"at":41492}}}}"#);
    assert!(entries.iter().all(|entry| !to_json(entry).contains(is_deceptive)));
}
