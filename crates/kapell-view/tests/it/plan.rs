use insta::assert_snapshot;
use kapell_core::{
    plan::{Definition, PlanBuilder, PlanLimits, Work},
    time::Millis,
};
use kapell_view::{forecast::Forecast, plan::PlanView, text::plain, untrusted::is_deceptive};
use proptest::prelude::*;

use crate::world;

fn forecast(view: PlanView) -> PlanView {
    let forecast = Some(Forecast::new(Millis::from_secs(150), Millis::from_secs(372), 1000, 7));
    let totals = kapell_view::plan::PlanTotals { forecast, ..view.totals };
    PlanView { totals, ..view }
}

#[test]
fn a_small_plan_is_a_table() {
    let view = forecast(world::view(&world::plan()));
    assert_snapshot!(plain(&view.lines(80)), @r"
    plan      Fix the parser and release
    tasks     4 in 3 waves, up to 2 at once; 2 agent slots and 4 job slots
    finish    2m 30s to 6m 12s (P50 to P90), never below 2m 02s
              from 1,000 simulated runs, seed 7
              2 tasks of unknown length: defaults are assumed (?)
              waiting at 1 gate is not counted
    critical  2m 02s: parser > tests > release

    wave  task     kind      P50     P90     slack  needs
       0  parser   coder  2m 00s  5m 00s  critical
       0  docs     run     30.0s  1m 00s    1m 30s
       1  tests    run     1.0s?   1.0s?  critical  parser, docs
       2  release  gate        -       -  critical  tests
    ");
    assert_snapshot!(plain(&view.lines(200)), @r"
    plan      Fix the parser and release
    tasks     4 in 3 waves, up to 2 at once; 2 agent slots and 4 job slots
    finish    2m 30s to 6m 12s (P50 to P90), never below 2m 02s
              from 1,000 simulated runs, seed 7
              2 tasks of unknown length: defaults are assumed (?)
              waiting at 1 gate is not counted
    critical  2m 02s: parser > tests > release

    wave  task     kind      P50     P90     slack  needs
       0  parser   coder  2m 00s  5m 00s  critical
       0  docs     run     30.0s  1m 00s    1m 30s
       1  tests    run     1.0s?   1.0s?  critical  parser, docs
       2  release  gate        -       -  critical  tests
    ");
}

#[test]
fn a_small_plan_is_a_diagram() {
    let view = world::view(&world::plan());
    assert_snapshot!(view.mermaid(), @r#"
    flowchart LR
      t0["parser (2m 00s)"]
      t1["docs (30.0s)"]
      t2["tests (1.0s)"]
      t3{{"release (gate)"}}
      t0 --> t2
      t1 --> t2
      t2 --> t3
      classDef critical stroke-width:3px
      class t0,t2,t3 critical
    "#);
    assert_snapshot!(view.dot(), @r#"
    digraph plan {
      rankdir=LR
      node [shape=box]
      t0 [label="parser (2m 00s)", penwidth=3]
      t1 [label="docs (30.0s)"]
      t2 [label="tests (1.0s)", penwidth=3]
      t3 [label="release (gate)", shape=diamond, penwidth=3]
      t0 -> t2 [penwidth=3]
      t1 -> t2
      t2 -> t3 [penwidth=3]
    }
    "#);
}

#[test]
fn a_large_plan_is_summarised() {
    let view = world::view(&world::large(50_000));
    assert_snapshot!(plain(&view.lines(80)).lines().take(14).collect::<Vec<_>>().join("\n"), @r"
    plan      Fix the parser and release
    tasks     50,000 in 50 waves, up to 1,000 at once; 2 agent slots and 4 job slots
    finish    not before 3h 28m
    critical  50.0s: layer0-0 > layer1-0 > layer2-0 > (46 more) > layer49-0

    wave  tasks      number  kind  P50 together  least slack
       0  layer0 …    1,000  noop       16m 40s     critical
       1  layer1 …    1,000  noop       16m 40s     critical
       2  layer2 …    1,000  noop       16m 40s     critical
       3  layer3 …    1,000  noop       16m 40s     critical
       4  layer4 …    1,000  noop       16m 40s     critical
       5  layer5 …    1,000  noop       16m 40s     critical
       6  layer6 …    1,000  noop       16m 40s     critical
       7  layer7 …    1,000  noop       16m 40s     critical
    ");
    assert!(view.lines(80).len() < 60);
    assert!(view.mermaid().lines().count() < 120);
    assert!(view.dot().lines().count() < 120);
}

#[test]
fn an_empty_plan_has_nothing_to_show() {
    let view = world::view(&PlanBuilder::new().seal(PlanLimits::default()).unwrap());
    assert_snapshot!(plain(&view.lines(80)), @r"
    plan      Fix the parser and release
    tasks     0 in 0 waves, up to 0 at once; 2 agent slots and 4 job slots
    finish    not before 0s
    ");
    assert_snapshot!(view.mermaid(), @r"flowchart LR");
}

proptest! {
    #[test]
    fn names_cannot_break_out(
        names in prop::collection::btree_set("[\\x00-\\x7f\u{80}-\u{9f}\u{202a}-\u{202e}a-z]{1,12}", 1..6),
        columns in 0_usize..120,
    ) {
        let mut builder = PlanBuilder::new();
        let work = builder.define(Definition::new(Work::Noop));
        let mut last = None;
        for name in &names {
            last = Some(builder.task(name, work, last.as_slice()));
        }
        let view = world::view(&builder.seal(PlanLimits::default()).unwrap());
        for line in view.lines(columns) {
            prop_assert!(!line.to_plain().contains(is_deceptive), "{line:?}");
            prop_assert!(line.width() <= columns.max(40));
        }
        for diagram in [view.mermaid(), view.dot()] {
            prop_assert!(!diagram.replace('\n', "").contains(is_deceptive));
            // One line for each task, each need, and at most five around them.
            prop_assert!(diagram.lines().count() <= 2 * names.len() + 4);
        }
        let json = kapell_view::untrusted::to_json(&view);
        prop_assert!(!json.contains(is_deceptive));
        prop_assert_eq!(serde_json::from_str::<PlanView>(&json).unwrap(), view);
    }
}

#[test]
fn what_attempts_are_expected_to_cost_is_a_column_where_it_is_known() {
    let view = world::view(world::foreseen().run.plan());
    assert_snapshot!(plain(&view.lines(90)), @"
    plan      Fix the parser and release
    tasks     4 in 2 waves, up to 3 at once; 2 agent slots and 4 job slots
    finish    not before 2.0s
              4 tasks of unknown length: defaults are assumed (?)
    cost      forecast $0.72, 12.0k tokens for 3 of 4 tasks (from 5 attempts or more)
    critical  2.0s: printer > docs

    wave  task     kind     P50    P90     slack                cost  needs
       0  printer  coder  1.0s?  1.0s?  critical  $0.24, 4000 tokens
       0  lexer    coder  1.0s?  1.0s?      1.0s  $0.24, 4000 tokens
       0  parser   coder  1.0s?  1.0s?      1.0s  $0.24, 4000 tokens
       1  docs     coder  1.0s?  1.0s?  critical                      printer
    ");
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(
        json["tasks"][0]["cost"],
        serde_json::json!({"usd_micros": 240_000, "tokens": 4000, "attempts": 5})
    );
    assert_eq!(json["tasks"][3].get("cost"), None);
}
