use insta::assert_snapshot;
use kapell_core::{id::TaskId, retry::FailureClass, time::Millis};
use kapell_view::{
    forecast::Forecast,
    progress::{Screen, lines},
    text::plain,
    untrusted::Untrusted,
};

use crate::world::{World, large, mission};

fn display(world: &World, columns: usize, rows: usize) -> String {
    let forecast = Forecast::new(Millis::from_secs(90), Millis::from_secs(240), 400, 7);
    let said = |task: TaskId| (task == TaskId(0)).then(|| Untrusted::from("reading\n\x1b[1mlexer.rs\n"));
    plain(&lines(&world.run, world.now(), Some(&forecast), &said, Screen { columns, rows }))
}

#[test]
fn what_runs_is_shown_with_what_it_says() {
    let mut world = World::standard();
    world.at(12);
    assert_snapshot!(display(&world, 80, 20), @r"
    01m7xx9x80ex  12.0s  Fix the parser and release
    > parser  12.0s  ␛[1mlexer.rs
    > docs  12.0s
    [>>>>>>>>>>>>>.............] 0/4  2 running, 2 blocked
    ends in 1m 30s to 4m 00s (P50 to P90)
    budget $0.00 + $0.50 reserved of $5.00; 0s of 2h 00m used
    ");
    assert_snapshot!(display(&world, 200, 20), @r"
    01m7xx9x80ex  12.0s  Fix the parser and release
    > parser  12.0s  ␛[1mlexer.rs
    > docs  12.0s
    [>>>>>>>>>>>>>>>...............] 0/4  2 running, 2 blocked
    ends in 1m 30s to 4m 00s (P50 to P90)   budget $0.00 + $0.50 reserved of $5.00; 0s of 2h 00m used
    ");
}

#[test]
fn what_waits_for_a_person_is_shown() {
    let mut world = World::standard();
    world.at(30).gives(1, None, &[]).gives(0, None, &[]).gives(2, None, &[]);
    assert_snapshot!(display(&world, 80, 20), @r"
    01m7xx9x80ex  30.0s  Fix the parser and release
      ? release  Publish the release?  [yes | no]
          kapell answer 01m7xx9x80ex 0 yes
    [###################.......] 3/4  1 waiting for you
    ends in 1m 30s to 4m 00s (P50 to P90)
    budget $0.60 of $5.00; 12.0k tokens; 30.0s of 2h 00m used
    ");
}

#[test]
fn a_run_that_is_over_has_a_full_bar() {
    assert_snapshot!(display(&World::to_the_end(), 80, 20), @r"
    01m7xx9x80ex  succeeded  5m 00s  Fix the parser and release
    [##########################] 4/4
    budget $0.72 of $5.00; 14.5k tokens; 2m 30s of 2h 00m used
    ");
    let mut world = World::standard();
    world.at(5).fails(0, FailureClass::Permission, "no").gives(1, None, &[]);
    assert_snapshot!(display(&world, 80, 20), @r"
    01m7xx9x80ex  failed  5.0s  Fix the parser and release
    [######xxxxxxxxxxxxxxxxxxxx] 1/4  1 failed, 2 not done
    budget $0.32 of $5.00; 6500 tokens; 5.0s of 2h 00m used
    ");
}

#[test]
fn the_screen_is_never_left() {
    let mut wide = mission();
    wide.limits.jobs = 50;
    let worlds = [World::standard(), World::to_the_end(), World::new(wide, large(3000))];
    for world in &worlds {
        for columns in [0, 1, 7, 20, 80, 300] {
            for rows in [0, 1, 2, 3, 5, 24] {
                let lines = lines(&world.run, world.now(), None, &|_| None, Screen { columns, rows });
                assert!(lines.len() <= rows);
                assert!(lines.iter().all(|line| line.width() <= columns), "{columns} {lines:?}");
            }
        }
    }
    assert_snapshot!(display(&worlds[2], 60, 7), @r"
    01m7xx9x80ex  0s  Fix the parser and release
    > layer0-0  0s  ␛[1mlexer.rs
    > layer0-1  0s
      and 48 more under way
    [....................] 0/3000  50 running, 950 ready, 2,000…
    ends in 1m 30s to 4m 00s (P50 to P90)
    budget $0.00 of $5.00; 0s of 2h 00m used
    ");
}
