//! Needs, conditions, outputs, matrices: from the first task to the end of a run.

use insta::assert_snapshot;

use crate::story::given;

#[test]
fn a_task_starts_once_what_it_needs_is_done() {
    let mut run = given("build; test after build; lint");
    assert_snapshot!(run.when("00:10 done build"), @"
    event  build completed
    event  test started attempt=1
    effect start test #1
    ");
    assert_snapshot!(run.when("
        00:11 done lint
        00:12 done test
    "), @"
    > 00:11 done lint
    event  lint completed
    > 00:12 done test
    event  test completed
    event  finished outcome=succeeded
    ");
    assert_snapshot!(run.stand(), @"finished Succeeded; build done; test done; lint done");
}

#[test]
fn a_run_without_tasks_is_over_at_once() {
    assert_snapshot!(given("mission").stand(), @"finished Succeeded");
}

#[test]
fn the_longest_way_to_the_end_starts_first() {
    let run = given("mission jobs 1; short; a; b after a; c after b");
    assert_snapshot!(run.stand(), @"active; short ready; a running; b blocked; c blocked");
}

#[test]
fn what_needs_a_failed_task_is_skipped_and_so_on() {
    let mut run = given("build; test after build; ship after test; docs");
    assert_snapshot!(run.when("
        00:10 fail build permanent
        00:11 done docs
    "), @r#"
    > 00:10 fail build permanent
    event  build attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    event  test skipped why=need
    event  ship skipped why=need
    > 00:11 done docs
    event  docs completed
    event  finished outcome=failed
    "#);
    assert_snapshot!(run.stand(), @"finished Failed; build failed; test skipped; ship skipped; docs done");
}

#[test]
fn conditions_decide_by_status_and_outputs() {
    let mut run = given(
        "build out kind,flag; \
         clean after build if always(); \
         alarm after build if failure(); \
         ship after build if \"tasks.build.outputs.kind == 'app'\"; \
         docs after build if \"needs.build.outputs.kind == 'lib'\"; \
         odd after build if nothing.there; \
         last after docs,ship if always(); \
         never after docs",
    );
    assert_snapshot!(run.when("00:10 done build kind=lib flag=x"), @"
    event  build completed outputs.flag=x outputs.kind=lib
    event  clean unblocked
    event  alarm skipped why=condition
    event  ship skipped why=condition
    event  docs unblocked
    event  odd skipped why=broken_condition
    event  docs started attempt=1
    event  clean started attempt=1
    effect start docs #1
    effect start clean #1
    ");
    assert_snapshot!(run.stand(), @"active; build done; clean running; alarm skipped; ship skipped; docs running; odd skipped; last blocked; never blocked");
}

#[test]
fn a_failure_is_seen_through_what_was_skipped_for_it() {
    let mut run = given(
        "build; test after build; alarm after test if failure(); clean after test if always(); \
         off if false; calm after off if failure(); cond after build if true",
    );
    assert_snapshot!(run.when("00:10 fail build permanent"), @r#"
    event  build attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    event  test skipped why=need
    event  alarm unblocked
    event  clean unblocked
    event  cond skipped why=need
    event  alarm started attempt=1
    event  clean started attempt=1
    effect start alarm #1
    effect start clean #1
    "#);
    assert_snapshot!(run.when("
        00:11 done alarm
        00:12 done clean
    "), @"
    > 00:11 done alarm
    event  alarm completed
    > 00:12 done clean
    event  clean completed
    event  finished outcome=failed
    ");
}

#[test]
fn inputs_environment_and_run_are_seen_by_conditions() {
    let run = given(
        "mission input level=high; \
         a env \"X=${{ inputs.level }}\" if \"env.X == 'high'\"; \
         b if \"inputs.level == 'low'\"; \
         c if \"task.name == 'c'\"; \
         d env \"X=${{ env.X }}\" if \"env.X == null\"; \
         e if \"run.id != ''\"",
    );
    assert_snapshot!(run.stand(), @"active; a running; b skipped; c running; d running; e running");
}

#[test]
fn promised_outputs_are_computed_or_missed() {
    let mut run = given(
        "build out version; \
         pack after build out \"name=app-${{ tasks.build.outputs.version }}\"; \
         ship after pack; \
         bad out version; worse out \"v=${{ fromJSON('{') }}\"",
    );
    assert_snapshot!(run.when("
        00:10 done build version=7 extra=1
        00:11 done pack
        00:12 done bad extra=1
        00:13 done worse
    "), @r#"
    > 00:10 done build version=7 extra=1
    event  build completed outputs.extra=1 outputs.version=7
    event  pack started attempt=1
    effect start pack #1
    > 00:11 done pack
    event  pack completed outputs.name=app-7
    event  ship started attempt=1
    effect start ship #1
    > 00:12 done bad extra=1
    event  bad attempt_failed attempt=1 class=invalid_output message="output `version` was promised and not set" then=give_up
    > 00:13 done worse
    event  worse attempt_failed attempt=1 class=invalid_output message="output `v` cannot be computed: no valid JSON: EOF while parsing an object at line 1 column 1" then=give_up
    "#);
    assert_eq!(run.run.outputs(run.task("pack")).unwrap()["name"], "app-7");
    assert_eq!(run.run.outputs(run.task("build")).unwrap()["extra"], "1");
    assert_eq!(run.run.outputs(run.task("bad")), None);
    assert_eq!(
        run.run.last_failure(run.task("bad")).unwrap().message,
        "output `version` was promised and not set"
    );
}

#[test]
fn outputs_of_a_failed_attempt_are_not_seen() {
    let mut run = given("a accept check out v; b after a if always()").and("00:01 done a v=1");
    assert_eq!(run.run.outputs(run.task("a")).unwrap()["v"], "1");
    assert_snapshot!(run.when("00:02 judge a fail"), @r#"
    event  a attempt_failed attempt=1 class=verification message="cargo test failed" then=give_up
    event  b unblocked
    event  b started attempt=1
    effect start b #1
    "#);
    assert_eq!(run.run.outputs(run.task("a")), None);
}

#[test]
fn the_cells_of_a_matrix_are_tasks_and_are_needed_together() {
    let mut run = given(
        "build matrix linux,mac out \"name=app-${{ matrix.os }}\"; \
         join after build if \"tasks.build.outputs.name == 'app-mac'\"; \
         alarm after build if \"always() && tasks.build.result == 'failure'\"",
    );
    assert_snapshot!(run.when("
        00:10 done \"build (mac)\"
        00:11 done \"build (linux)\"
    "), @r#"
    > 00:10 done "build (mac)"
    event  build (mac) completed outputs.name=app-mac
    > 00:11 done "build (linux)"
    event  build (linux) completed outputs.name=app-linux
    event  join unblocked
    event  alarm skipped why=condition
    event  join started attempt=1
    effect start join #1
    "#);
    let mut run = given(
        "build matrix linux,mac; \
         alarm after build if \"always() && tasks.build.result == 'failure'\"",
    )
    .and("00:10 fail \"build (mac)\" permanent");
    assert_snapshot!(run.when("00:11 done \"build (linux)\""), @"
    event  build (linux) completed
    event  alarm unblocked
    event  alarm started attempt=1
    effect start alarm #1
    ");
}

#[test]
fn checks_come_between_a_result_and_what_needs_it() {
    let mut run = given("a accept cargo-test; b after a");
    assert_snapshot!(run.when("
        00:10 done a
        00:20 judge a pass #2
        00:21 judge a pass
        00:22 judge a pass
    "), @"
    > 00:10 done a
    event  a submitted attempt=1
    effect check a #1
    > 00:20 judge a pass #2
    refused attempt 2 of task 0 is no longer under way
    > 00:21 judge a pass
    event  a verified
    event  b started attempt=1
    effect start b #1
    > 00:22 judge a pass
    refused attempt 1 of task 0 is no longer under way
    ");
}

#[test]
fn checks_that_fail_or_cannot_run_are_failed_attempts() {
    let mut run = given("a accept cargo-test retry 3 backoff 1..1");
    assert_snapshot!(run.when("
        00:10 done a
        00:11 judge a fail
        00:12 tick
        00:13 done a
        00:14 judge a broken
        00:15 tick
        00:16 done a
        00:17 judge a fail
    "), @r#"
    > 00:10 done a
    event  a submitted attempt=1
    effect check a #1
    > 00:11 judge a fail
    event  a attempt_failed attempt=1 class=verification message="cargo test failed" then.retry.at=00:12
    > 00:12 tick
    event  a woken
    event  a started attempt=2
    effect start a #2
    > 00:13 done a
    event  a submitted attempt=2
    effect check a #2
    > 00:14 judge a broken
    event  a attempt_failed attempt=2 class=transient message="no cargo here" then.retry.at=00:15
    > 00:15 tick
    event  a woken
    event  a started attempt=3
    effect start a #3
    > 00:16 done a
    event  a submitted attempt=3
    effect check a #3
    > 00:17 judge a fail
    event  a attempt_failed attempt=3 class=verification message="cargo test failed" then=give_up
    event  finished outcome=failed
    "#);
}

#[test]
fn late_results_and_unknown_tasks_are_refused() {
    let mut run = given("a retry 2 backoff 1..1; b");
    assert_snapshot!(run.when("
        00:01 fail a transient
        00:01 done a #1
        00:02 tick
        00:03 done a #1
        00:04 note a #1 late
        00:04 ask a #3 early
        00:05 done nobody
        00:05 judge nobody pass
        00:05 undone nobody
        00:05 undone a
        00:06 done a #2
        00:07 done a #2
    "), @r#"
    > 00:01 fail a transient
    event  a attempt_failed attempt=1 class=transient message="it was transient" then.retry.at=00:02
    > 00:01 done a #1
    refused attempt 1 of task 0 is no longer under way
    > 00:02 tick
    event  a woken
    event  a started attempt=2
    effect start a #2
    > 00:03 done a #1
    refused attempt 1 of task 0 is no longer under way
    > 00:04 note a #1 late
    refused attempt 1 of task 0 is no longer under way
    > 00:04 ask a #3 early
    refused attempt 3 of task 0 is no longer under way
    > 00:05 done nobody
    refused there is no task number 99
    > 00:05 judge nobody pass
    refused there is no task number 99
    > 00:05 undone nobody
    refused there is no task number 99
    > 00:05 undone a
    refused attempt 9 of task 0 is no longer under way
    > 00:06 done a #2
    event  a completed
    > 00:07 done a #2
    refused attempt 2 of task 0 is no longer under way
    "#);
}

#[test]
fn what_an_agent_notes_is_kept() {
    let mut run = given("a");
    assert_snapshot!(run.when("00:01 note a \"half done\""), @r#"event  a noted attempt=1 text="half done""#);
}

#[test]
fn several_commands_are_decided_in_order_in_one_batch() {
    let mut run = given("a; b; c after a,b");
    assert_snapshot!(run.when("00:01 done a & done a & fail b transient & open 3"), @r#"
    refused attempt 1 of task 0 is no longer under way
    event  a completed
    event  b attempt_failed attempt=1 class=transient message="it was transient" then=give_up
    event  opened epoch=3
    event  c skipped why=need
    event  finished outcome=failed
    "#);
    let causes: Vec<_> = run.rows.iter().map(|row| row.cause.as_str()).collect();
    assert_eq!(causes, ["create", "finish", "finish", "open"]);
    assert_eq!(run.rows.iter().map(|row| row.n.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(run.rows.iter().all(|row| row.actor == "engine"));
}

#[test]
fn what_follows_by_itself_belongs_to_the_last_decision() {
    let mut run = given("a; b after a").and("00:01 done a");
    assert_eq!(run.rows.len(), 2);
    assert!(run.rows[1].body.contains("started"));
    // Nothing follows from the passing of time: no row.
    assert_eq!(run.when("00:02 tick"), "nothing");
    assert_eq!(run.rows.len(), 2);
    assert_eq!(run.rows[1].at.0, 1000);
    assert_eq!(run.rows[1].elapsed.0, 1000);
}

#[test]
fn results_of_earlier_runs_are_taken_over() {
    let mut run = given("mission base jobs 1; a; b after a; c after b out v; d after c");
    assert_snapshot!(run.when("
        00:01 reuse a
        00:02 reuse c landed v=4
        00:03 reuse c
        00:03 reuse nobody
        00:04 reuse b
        00:05 done a
    "), @"
    > 00:01 reuse a
    refused task 0 has begun already
    > 00:02 reuse c landed v=4
    event  c reused at=00:00.003 from=09144gj289144gj289144gj289 landed=earlier outputs.v=4
    > 00:03 reuse c
    refused task 2 has begun already
    > 00:03 reuse nobody
    refused there is no task number 99
    > 00:04 reuse b
    event  b reused at=00:00.003 from=09144gj289144gj289144gj289
    > 00:05 done a
    event  a completed
    event  d started attempt=1
    effect start d #1
    ");
    assert_eq!(run.run.outputs(run.task("c")).unwrap()["v"], "4");
    assert_snapshot!(run.stand(), @"active; a done; b done; c landed; d running");
}

/// Which of the given conditions of a task `end` that needs all others hold.
fn hold(plan: &str, needs: &str, before: &str, conditions: &[&str]) -> String {
    let held = conditions.iter().filter(|condition| {
        let run = given(&format!("{plan}; end after {needs} if \"always() && ({condition})\"")).and(before);
        match run.state("end").name() {
            "running" => true,
            "skipped" => false,
            state => panic!("{state}: {condition}"),
        }
    });
    held.copied().collect::<Vec<_>>().join("\n")
}

#[test]
fn results_are_told_in_the_words_of_github() {
    let conditions = [
        "tasks.a.result == 'success'",
        "tasks.b.result == 'failure'",
        "tasks.c.result == 'skipped'",
        "tasks.l.result == 'success'",
        "needs.a.result == 'success'",
        "tasks.nobody.result == null",
        "tasks.a.outputs.v == '1'",
        "tasks.b.outputs.v == null",
        "failure()",
        "!success()",
        "!cancelled()",
        "run.objective == ''",
        "tasks.a.result == 'failure'",
        "tasks.c.result == 'failure'",
        "cancelled()",
        "success()",
    ];
    let before = "00:01 done a v=1
        00:02 fail b permanent
        00:03 done l change
        00:04 probe green
        00:05 moved";
    assert_snapshot!(hold("mission base; a; b; c after b; l", "a,b,c,l", before, &conditions), @"
    tasks.a.result == 'success'
    tasks.b.result == 'failure'
    tasks.c.result == 'skipped'
    tasks.l.result == 'success'
    needs.a.result == 'success'
    tasks.nobody.result == null
    tasks.a.outputs.v == '1'
    tasks.b.outputs.v == null
    failure()
    !success()
    !cancelled()
    run.objective == ''
    ");
}

#[test]
fn of_the_cells_of_a_matrix_the_worst_result_and_the_last_output_count() {
    let plan = "build matrix linux,mac if \"matrix.os != 'mac' || inputs.mac\"";
    let conditions = [
        "tasks.build.result == 'success'",
        "tasks.build.result == 'skipped'",
        "tasks.build.result == 'failure'",
        "tasks.build.outputs.v == '2'",
        "tasks['build (linux)'].outputs.v == '1'",
        "tasks['build (mac)'].result == 'success'",
        "tasks['build (linux)'].result == 'failure'",
    ];
    let with = format!("mission input mac=yes; {plan}");
    let hold = |plan: &str, before| hold(plan, "build", before, &conditions);
    assert_snapshot!(hold(&with, "00:01 done \"build (linux)\" v=1 & done \"build (mac)\" v=2"), @"
    tasks.build.result == 'success'
    tasks.build.outputs.v == '2'
    tasks['build (linux)'].outputs.v == '1'
    tasks['build (mac)'].result == 'success'
    ");
    assert_snapshot!(hold(plan, "00:01 done \"build (linux)\" v=1"), @"
    tasks.build.result == 'skipped'
    tasks['build (linux)'].outputs.v == '1'
    ");
    assert_snapshot!(hold(plan, "00:01 fail \"build (linux)\" permanent"), @"
    tasks.build.result == 'failure'
    tasks['build (linux)'].result == 'failure'
    ");
}
