use insta::assert_snapshot;
use kapell_core::{
    command::Command,
    id::{AttemptNo, TaskId},
    retry::FailureClass,
    time::Millis,
};
use kapell_view::{
    forecast::Forecast,
    status::{SalvagedWork, StatusView},
    text::plain,
    untrusted::is_deceptive,
};

use crate::world::World;

fn status(world: &World, owned: bool, columns: usize) -> String {
    let forecast = Forecast::new(Millis::from_secs(90), Millis::from_secs(240), 400, 7);
    plain(&StatusView::new(&world.run, world.now(), owned, Some(forecast)).lines(columns))
}

#[test]
fn a_run_under_way() {
    let mut world = World::standard();
    world.at(12);
    assert_snapshot!(status(&world, true, 80), @r"
    run     01m7xx9x80ex  active, 12.0s
    asked   Fix the parser and release  (release.yaml)
    tasks   2 running, 2 blocked of 4
      > parser  attempt 1 by coder, 12.0s
      > docs  attempt 1, 12.0s
    budget  $0.00 + $0.50 reserved of $5.00; 0s of 2h 00m used
    finish  in 1m 30s to 4m 00s (P50 to P90)
    next: kapell watch 01m7xx9x80ex
    ");
    assert_snapshot!(status(&world, false, 200), @r"
    run     01m7xx9x80ex  interrupted: no process executes it, 12.0s
    asked   Fix the parser and release  (release.yaml)
    tasks   2 were running, 2 blocked of 4
      > parser  attempt 1 by coder, 12.0s
      > docs  attempt 1, 12.0s
    budget  $0.00 + $0.50 reserved of $5.00; 0s of 2h 00m used
    finish  in 1m 30s to 4m 00s (P50 to P90)
    next: kapell resume 01m7xx9x80ex
    ");
}

#[test]
fn a_run_with_a_retry_and_a_landed_change() {
    let mut world = World::standard();
    world.at(30).gives(1, Some('d'), &[]);
    world.lands(0, '1');
    world.at(40).fails(0, FailureClass::Transient, "error: cannot find `Token`\nnote: exit 101\n");
    assert_snapshot!(status(&world, true, 80), @r"
    run     01m7xx9x80ex  active, 40.0s
    asked   Fix the parser and release  (release.yaml)
    tasks   1 done, 1 waiting, 2 blocked of 4
      ~ parser  waits before its next attempt for 1.4s: note: exit 101
    budget  $0.32 of $5.00; 6500 tokens; 40.0s of 2h 00m used
    finish  in 1m 30s to 4m 00s (P50 to P90)
    landed  1 change at 111111111111: kapell diff 01m7xx9x80ex
            not merged into refs/heads/main
    next: kapell watch 01m7xx9x80ex
    ");
}

#[test]
fn a_run_that_waits_for_a_person() {
    let mut world = World::standard();
    world.at(5).does(Command::Ask {
        task: TaskId(0),
        attempt: AttemptNo(1),
        question: "JSON or \x1b[31mplain?".to_owned(),
        choices: Vec::new(),
    });
    assert_snapshot!(status(&world, true, 80), @r"
    run     01m7xx9x80ex  active, 5.0s
    asked   Fix the parser and release  (release.yaml)
    tasks   2 running, 2 blocked of 4
      > parser  attempt 1 by coder, 5.0s
      > docs  attempt 1, 5.0s
      ? parser  JSON or ␛[31mplain?
          kapell answer 01m7xx9x80ex 0 ANSWER
    budget  $0.00 + $0.50 reserved of $5.00; 5.0s of 2h 00m used
    finish  in 1m 30s to 4m 00s (P50 to P90)
    next: kapell answer 01m7xx9x80ex 0 ANSWER
    ");
}

#[test]
fn a_question_whose_asker_is_gone_is_not_answered() {
    let mut world = World::standard();
    world.at(5).asks_at_length();
    assert!(status(&world, true, 80).contains("kapell answer"));
    let left = status(&world, false, 80);
    assert!(left.contains("who asked ended with its session") && !left.contains("kapell answer"), "{left}");
    assert!(left.trim_end().ends_with("next: kapell resume 01m7xx9x80ex"), "{left}");
}

#[test]
fn a_run_that_failed() {
    let mut world = World::standard();
    world.at(5).fails(0, FailureClass::Permission, "may not write to \u{202e}gpj.src\n");
    world.at(6).gives(1, None, &[]);
    assert_snapshot!(status(&world, false, 80), @r"
    run     01m7xx9x80ex  failed, 6.0s
    asked   Fix the parser and release  (release.yaml)
    tasks   1 done, 1 failed, 2 not done of 4
      x parser  permission after 1 attempt, holds up 2 tasks: may not write to <U+2…
    budget  $0.32 of $5.00; 6500 tokens; 6.0s of 2h 00m used
    next: kapell logs 01m7xx9x80ex --failed
    ");
}

#[test]
fn a_run_that_landed_and_one_that_is_merged() {
    let mut world = World::to_the_end();
    assert_snapshot!(status(&world, false, 80), @r"
    run     01m7xx9x80ex  succeeded, 5m 00s
    asked   Fix the parser and release  (release.yaml)
    tasks   4 done of 4
    budget  $0.72 of $5.00; 14.5k tokens; 2m 30s of 2h 00m used
    landed  2 changes at 222222222222: kapell diff 01m7xx9x80ex
            not merged into refs/heads/main
    next: kapell merge 01m7xx9x80ex
    ");
    world.merges();
    assert_snapshot!(status(&world, false, 200), @r"
    run     01m7xx9x80ex  succeeded, 5m 00s
    asked   Fix the parser and release  (release.yaml)
    tasks   4 done of 4
    budget  $0.72 of $5.00; 14.5k tokens; 2m 30s of 2h 00m used
    landed  2 changes at 222222222222: kapell diff 01m7xx9x80ex
    merged  into refs/heads/main at 333333333333
    ");
}

#[test]
fn a_question_is_shown_whole() {
    let mut world = World::standard();
    world.at(5).asks_at_length();
    let view = StatusView::new(&world.run, world.now(), true, None);
    assert_snapshot!(plain(&view.gates[0].lines(60)), @r"
      ? parser
        The change renames a public function that three other
        crates call. Shall all of them follow now?  [yes | no]
          kapell answer 01m7xx9x80ex 0 yes
    ");
}

#[test]
fn salvaged_work_is_listed_with_what_shows_it() {
    let world = World::to_the_end();
    let mut view = StatusView::new(&world.run, world.now(), false, None);
    view.salvaged.push(SalvagedWork {
        task: "parser".into(),
        attempt: 1,
        bytes: 2_411_724,
        look: "kapell diff 01m7xx9x80ex --task parser --salvaged".to_owned(),
    });
    let text = plain(&view.lines(80));
    assert!(
        text.contains(
            "\nkept    parser, attempt 1, unfinished: 2.2 MiB\n        kapell diff 01m7xx9x80ex --task parser --salvaged\n"
        ),
        "{text}"
    );
}

#[test]
fn nothing_raw_is_shown() {
    let mut world = World::standard();
    world.at(5).fails(0, FailureClass::Permission, "\x1b]0;title\x07 \u{9b}31m \r overwritten");
    let view = StatusView::new(&world.run, world.now(), true, None);
    assert!(!plain(&view.lines(80)).replace('\n', "").contains(is_deceptive));
    let json = kapell_view::untrusted::to_json_pretty(&view);
    assert!(!json.replace('\n', "").contains(is_deceptive));
    assert_eq!(serde_json::from_str::<StatusView>(&json).unwrap(), view);
}

#[test]
fn what_is_under_way_is_expected_to_cost_something() {
    let mut world = crate::world::foreseen();
    world.at(12);
    assert_snapshot!(status(&world, true, 80), @"
    run     01m7xx9x80ex  active, 12.0s
    asked   Fix the parser and release  (release.yaml)
    tasks   2 running, 1 ready, 1 blocked of 4
      > lexer  attempt 1 by coder, 12.0s
      > printer  attempt 1 by coder, 12.0s
    budget  $0.00 + $0.48 expected of $0.60; 0s of 2h 00m used
    finish  in 1m 30s to 4m 00s (P50 to P90)
    next: kapell watch 01m7xx9x80ex
    ");
    world.gives(0, None, &[]).gives(2, None, &[]);
    assert_snapshot!(status(&world, true, 80), @"
    run     01m7xx9x80ex  active, 12.0s
    asked   Fix the parser and release  (release.yaml)
    tasks   2 done, 1 running, 1 ready of 4
      > parser  attempt 1 by coder, 0s
    budget  $0.40 + $0.20 expected of $0.60; 8000 tokens; 12.0s of 2h 00m used
    finish  in 1m 30s to 4m 00s (P50 to P90)
    next: kapell watch 01m7xx9x80ex
    ");
}
