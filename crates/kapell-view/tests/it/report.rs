use insta::assert_snapshot;
use kapell_core::{
    command::Command,
    id::{AttemptNo, TaskId},
    retry::FailureClass,
};

use crate::world::{World, large, mission};

#[test]
fn a_run_that_was_merged_is_reported() {
    let mut world = World::to_the_end();
    world.merges();
    let markdown = world.report().markdown();
    // The hash depends on the encoding of every event.
    let hash = world.run.hash().to_string();
    assert_snapshot!(markdown.replace(&hash, "HASH"), @r"
    # Run 01m7xx9x80exvqexvqexvqexvq: succeeded

    4 of 4 tasks done, 2 landed, 0 failed, 0 not done, 1 attempt retried or recovered; 5m 00s; $0.72 of $5.00; 14.5k tokens; 2m 30s of 2h 00m used.

    ## What was asked

    ```text
    Fix the parser and release
    ```

    - workflow: `release.yaml`
    - target: `refs/heads/main`
    - base: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`
    - seed: 7

    ## Plan

    4 tasks with 3 needs in 3 waves, up to 2 at once; revision 1.

    ## What happened

    Begun 2026-11-21 02:00:00Z, last decision 2026-11-21 02:05:00Z. Executed for 5m 00s; for 2m 30s of that something was under way.
    Forecast at the start: 2m 40s to 6m 12s (P50 to P90); it was faster than the P50.

    ```text
    00:00.0  run      created: Fix the parser and release
    00:00.0  parser   attempt 1 started by coder, until 20:00.0, $0.50 reserved
    00:00.0  docs     attempt 1 started
    00:30.0  docs     attempt 1 submitted change dddddddddddd, cost $0.20, 4000 tokens
    00:31.0  docs     landed as 111111111111
    00:40.0  parser   attempt 1 failed (transient, $0.12, 2500 tokens), again at 00:41.4: note: exit 101
    01:00.0  parser   attempt 2 started by coder, until 21:00.0, $0.50 reserved
    02:40.0  parser   attempt 2 submitted change bbbbbbbbbbbb, gave version, cost $0.20, 4000 tokens
    02:42.0  parser   landed as 222222222222
    02:42.0  tests    attempt 1 started
    02:50.0  tests    done, cost $0.20, 4000 tokens
    02:50.0  release  a person must decide, gate 0: Publish the release? [yes | no]
    05:00.0  release  gate 0 answered by ada: yes
    05:00.0  release  done, gave answer
    05:00.0  run      finished: succeeded
    05:00.0  run      merged into refs/heads/main as 333333333333
    ```

    ### Critical path as it was

    | task | could start | started | ended | waited | attempts |
    |---|---|---|---|---|---|
    | `parser` | 00:00.0 | 00:00.0 | 02:42.0 | 0s | 2 |
    | `tests` | 02:42.0 | 02:42.0 | 02:50.0 | 0s | 1 |
    | `release` | 02:50.0 | 05:00.0 | 05:00.0 | 2m 10s | 0 |

    ### Utilisation

    - agents: 46.7 % of 2 slots used while something was under way, at most 1 at once
    - jobs: 6.3 % of 4 slots used while something was under way, at most 1 at once

    ## Retries and recoveries

    | at | task | attempt | failure | then | said last |
    |---|---|---|---|---|---|
    | 00:40.0 | `parser` | 1 | transient | retry | `note: exit 101` |

    ## Where the work is

    - 2 changes landed in `refs/kapell/01m7xx9x80exvqexvqexvqexvq/head` of kapell's own repository, at `2222222222222222222222222222222222222222`
    - merged into `refs/heads/main` at `3333333333333333333333333333333333333333`

    | landed at | task | commit |
    |---|---|---|
    | 00:31.0 | `docs` | `1111111111111111111111111111111111111111` |
    | 02:42.0 | `parser` | `2222222222222222222222222222222222222222` |

    ## Cost

    $0.72 of $5.00; 14.5k tokens; 2m 30s of 2h 00m used.

    | task | money | tokens | work | attempts |
    |---|---|---|---|---|
    | `parser` | $0.32 | 6500 | 2m 20s | 2 |
    | `docs` | $0.20 | 4000 | 30.0s | 1 |
    | `tests` | $0.20 | 4000 | 8.0s | 1 |

    ## What was learnt about durations

    | task | measured | P50 | P90 | expected P50 | expected P90 |
    |---|---|---|---|---|---|
    | `parser` | 1 attempt | 1m 40s | 1m 40s | 2m 00s | 5m 00s |
    | `docs` | 1 attempt | 30.0s | 30.0s | 30.0s | 1m 00s |
    | `tests` | 1 attempt | 8.0s | 8.0s | unknown | unknown |

    ## Journal

    Decision 14 with hash `HASH`.

    ## Next steps

    - `kapell verify 01m7xx9x80ex --against 14:HASH`
    ");
}

#[test]
fn a_run_that_failed_is_reported_with_its_message() {
    let mut world = World::standard();
    world.at(3).does(Command::Note { task: TaskId(1), attempt: AttemptNo(1), text: "half-way".to_owned() });
    let message = "line one\n```\n<script>alert(1)</script>\n| cell |\x1b[31m\n";
    world.at(5).fails(0, FailureClass::Permission, message).at(6).gives(1, None, &[]);
    let markdown = world.report().markdown();
    let from = markdown.find("## Retries").unwrap();
    let to = markdown.find("## Cost").unwrap();
    assert_snapshot!(&markdown[from..to], @r"
    ## Retries and recoveries

    | at | task | attempt | failure | then | said last |
    |---|---|---|---|---|---|
    | 00:05.0 | `parser` | 1 | permission | give up | `\| cell \|␛[31m` |

    ## Failures

    `parser`: permission after 1 attempt, holds up 2 tasks.

    ````text
    line one
    ```
    <script>alert(1)</script>
    | cell |␛[31m
    ````

    ## Where the work is

    - 0 changes landed in `refs/kapell/01m7xx9x80exvqexvqexvqexvq/head` of kapell's own repository, at `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`
    - not merged into `refs/heads/main`
    ");
}

#[test]
fn a_report_of_a_large_run_stays_short() {
    let mut limits = mission();
    limits.limits.jobs = 3000;
    let mut world = World::new(limits, large(3000));
    for task in 0..3000 {
        world.ms = 1000 * u64::from(task / 1000 + 1) + u64::from(task % 1000);
        world.gives(task, None, &[]);
    }
    let report = world.report();
    assert!(report.timeline.len() <= 200 && report.timeline_left_out > 5000);
    assert_eq!(report.timeline.last().unwrap().event, "finished");
    assert!(report.markdown().len() < 30_000);
    assert_eq!(report.learnt.len(), 1);
    assert_eq!((report.learnt[0].tasks, report.learnt[0].samples), (3000, 3000));
    // Layers of a thousand: each starts when its need ends, a second before it ends itself.
    assert_eq!((report.learnt[0].p50_ms, report.learnt[0].p90_ms), (1000, 1699));
    assert_eq!(report.utilisation.jobs.peak, 1000);
    assert_eq!(report.critical_path.len(), 3);
}

#[test]
fn what_was_foreseen_of_costs_is_compared_with_what_they_were() {
    let mut world = crate::world::foreseen();
    world.at(30).gives(0, None, &[]).gives(2, None, &[]);
    world.fails(1, FailureClass::Permanent, "no");
    let report = world.report();
    let markdown = report.markdown();
    let from = markdown.find("## Cost").unwrap();
    assert_snapshot!(markdown[from..].lines().take(5).collect::<Vec<_>>().join("\n"), @"
    ## Cost

    $0.52 of $0.60; 10.5k tokens; 30.0s of 2h 00m used.

    Forecast for 3 attempts: $0.72, 12.0k tokens. Spent: $0.52, 10.5k tokens; 3 of them stayed within it.
    ");
    let foreseen = report.foreseen.unwrap();
    assert_eq!((foreseen.attempts, foreseen.within), (3, 3));
    assert_eq!(World::to_the_end().report().foreseen, None);
}

#[test]
fn a_slot_that_is_held_while_a_person_is_waited_for_is_not_used() {
    let mut world = World::standard();
    let (task, attempt) = (TaskId(0), AttemptNo(1));
    world.at(10).gives(1, None, &[]);
    let question = "Which way?".to_owned();
    world.at(20).does(Command::Ask { task, attempt, question, choices: Vec::new() });
    world.at(1020).answers(0, "left");
    world.at(1030).gives(0, None, &[]);
    let agents = world.report().utilisation.agents;
    // Half a minute of work in one of two slots, and a thousand seconds of nothing.
    assert_eq!((agents.held_ms, agents.share), (30_000, 0.5));
}
