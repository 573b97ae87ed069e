//! An audit in a terminal.

use insta::assert_snapshot;
use kapell_view::{
    audit::{AssetKind, AuditView, Finding, Severity},
    text::Line,
};

use crate::schema::audit;

const LONG: &str = "a message that says what goes wrong, in which of all the events it does so, and what comes of it for \
                    whoever waits for the end of the run";

/// An audit with findings: how bad, in which file, saying what.
fn with(findings: &[(Severity, &str, &str)]) -> AuditView {
    let mut view = audit();
    let of = |&(severity, path, message): &(Severity, &str, &str)| {
        let mut finding = Finding { severity, message: message.to_owned(), ..view.findings[0].clone() };
        finding.place.path = path.to_owned();
        finding
    };
    view.findings = findings.iter().map(of).collect();
    view.inventory.assets[0].kind = AssetKind::Workflow;
    (view.suppressed, view.unread, view.imported) = (0, Vec::new(), Vec::new());
    view
}

fn plain(lines: &[Line]) -> String {
    lines.iter().map(Line::to_plain).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_first_screen_tells_the_worst_in_full_and_is_never_longer_than_a_dozen_lines() {
    let paths: Vec<String> = (0..30).map(|n| format!(".github/workflows/with-a-long-name-{n}.yml")).collect();
    let text = |at: usize| {
        if at.is_multiple_of(3) { format!("({at:02}) goes {LONG}") } else { format!("({at:02}) short") }
    };
    let messages: Vec<String> = (0..30).map(text).collect();
    for count in [1, 2, 9, 10, 11, 30] {
        let findings: Vec<_> = (0..count).map(|at| (Severity::High, &*paths[at], &*messages[at])).collect();
        let view = with(&findings);
        for columns in [60, 80, 100, 139, 140, 200] {
            let lines = view.lines(columns);
            assert!(
                lines.len() <= 12 && lines.iter().all(|line| line.width() <= columns),
                "{}",
                plain(&lines)
            );
            assert!(!plain(&lines[2..]).contains("name-0.yml"), "told twice");
            let words = plain(&lines).split_whitespace().collect::<Vec<_>>().join(" ");
            let start = |message: &String| words.contains(&message[..9]);
            let told = messages[..count].iter().filter(|message| start(message)).count();
            let left = if told < count { format!("and {} more", count - told) } else { String::new() };
            assert!(told >= count.min(5) && words.contains(&left), "{columns}: {}", plain(&lines));
            assert!(
                words.contains(&messages[0]) && words.contains("to do: "),
                "{columns}: {}",
                plain(&lines)
            );
        }
    }
}

#[test]
fn the_first_screen_leaves_room_for_what_will_stand_below_it() {
    let messages: Vec<String> = (0..30).map(|at| format!("({at:02}) {LONG}")).collect();
    let findings: Vec<_> = messages.iter().map(|message| (Severity::High, &**message, &**message)).collect();
    let view = with(&findings);
    let lines = |below| view.lines_among(&view.inventory.census(), 80, below).len();
    assert_eq!([lines(0), lines(2)], [11, 9], "no note is left for a footer");
}

#[test]
fn a_finding_says_how_often_it_is_found_and_what_mending_it_saves() {
    let ci = ".github/workflows/ci.yml";
    let view = with(&[
        (Severity::High, ci, "awaits nothing"),
        (Severity::High, ci, "awaits nothing"),
        (Severity::Medium, "a.yml", LONG),
    ]);
    assert_snapshot!(plain(&view.lines(160)), @r"
    3 findings in 1 workflow; 3 can be fixed safely; runs end up to 1m 20s sooner (recorded)
    high    .github/workflows/ci.yml:3  awaits nothing (2 times; 40.0s sooner)  needs-without-data
        to do: safe fix: drop it
    medium  a.yml:3                     a message that says what goes wrong, in which of all the events it does so, and what comes of it for whoever waits for the
                                        end of the run (40.0s sooner)  needs-without-data
    ");
    assert_snapshot!(plain(&view.lines(80)), @r"
    3 findings; 3 can be fixed safely; runs end up to 1m 20s sooner (recorded)
    high    .github/workflows/ci.yml:3  awaits nothing (2 times; 40.0s sooner)
        to do: safe fix: drop it
    medium  a.yml:3                     a message that says what goes wrong, in
                                        which of all the events it does so, and what
                                        comes of it for whoever waits for the end of
                                        the run (40.0s sooner)
    ");
}

#[test]
fn work_of_runners_is_told_where_no_run_ends_sooner() {
    let mut view = with(&[(Severity::Medium, "a.yml", "starts twice"), (Severity::Medium, "b.yml", "hangs")]);
    for finding in &mut view.findings {
        (finding.saving_seconds, finding.saving_recorded) = (None, false);
    }
    view.findings[0].spared_seconds = Some(724);
    assert_snapshot!(plain(&view.lines(100)), @r"
    2 findings in 1 workflow; 2 can be fixed safely; 12m less runner time a push (predicted)
    medium  a.yml:3  starts twice (12m runner time)
        to do: safe fix: drop it
    medium  b.yml:3  hangs
    ");
    let census = view.inventory.census();
    let ranked = plain(&view.recommendations(&census, 100));
    assert!(ranked.contains("   12m less runner time each time (predicted)"), "{ranked}");
}

#[test]
fn a_note_that_can_be_mended_is_something_to_mend() {
    let mut view = with(&[(Severity::Info, "a.yml", "runs twice")]);
    assert_snapshot!(plain(&view.lines(100)), @r"
    nothing that warns in 1 workflow; 1 note can be fixed safely
    1 note below a warning, up to 40.0s sooner (--output report)
    ");
    view.findings[0].explained = Some("it has to".to_owned());
    assert_snapshot!(plain(&view.lines(100)), @r"
    nothing to mend in 1 workflow
    1 note below a warning (--output report)
    ");
}

#[test]
fn the_map_explains_its_signs() {
    let mut map = audit().inventory;
    assert_snapshot!(plain(&map.lines(80)), @r"
    1 asset, 1 reference

    kind  name  where                       refers to    named
    job   test  .github/workflows/ci.yml:3  <lint[dist]      0

    < waits for

    events
    event  starts  and these start
    push   test
    ");
    map.edges[0].beside = false;
    assert_snapshot!(plain(&map.lines(80)), @r"
    1 asset, 1 reference

    kind  name  where                       refers to     named
    job   test  .github/workflows/ci.yml:3  <lint?[dist]      0

    < waits for, ? is not here

    events
    event  starts  and these start
    push   test
    ");
}
