//! Nothing that others wrote reaches a text raw, wherever they wrote it.

use kapell_core::{
    command::{Command, Verdict},
    expr::Template,
    id::{AttemptNo, GateId, TaskId},
    mission::Mission,
    plan::{AgentSpec, Definition, GateSpec, PlanBuilder, PlanLimits, Slot, Work},
    retry::{FailureClass, Retry},
    time::Wall,
};
use kapell_view::{
    inbox::InboxView,
    logs::{LogReader, Logs, Weight},
    plan::PlanView,
    progress::{Screen, lines},
    status::StatusView,
    summary::{ListView, RunSummary},
    text::plain,
    untrusted::{Untrusted, is_deceptive, to_json},
};
use proptest::prelude::*;

use crate::world::{SLOTS, START, World, mission};

/// A run in which every text that others write is `evil`.
fn world(evil: &str) -> World {
    let mut builder = PlanBuilder::new();
    let agent = |name: &str| AgentSpec {
        name: name.to_owned(),
        adapter: evil.to_owned(),
        provider: Some(evil.to_owned()),
        slot: Slot::Agent,
        fallback: None,
        ..AgentSpec::default()
    };
    let agent = builder.agent(agent(evil));
    let work = Definition {
        agent: Some(agent),
        accept: vec![evil.to_owned()],
        retry: Retry { attempts: 2, ..Retry::default() },
        ..Definition::new(Work::Run(evil.to_owned()))
    };
    let work = builder.define(work);
    let question = Template::parse("${{ run.objective }}").unwrap();
    let gate = GateSpec { question, choices: vec![evil.to_owned(), "no".to_owned()] };
    let gate = builder.define(Definition::new(Work::Gate(gate)));
    builder.task(&format!("{evil}0"), work, &[]);
    builder.task(&format!("{evil}1"), gate, &[]);
    builder.task(&format!("{evil}2"), work, &[TaskId(0)]);
    let plan = builder.seal(PlanLimits::default()).unwrap();
    let mission = Mission {
        objective: evil.to_owned(),
        source: Some(evil.to_owned()),
        target: Some(evil.to_owned()),
        accept: vec![evil.to_owned()],
        ..mission()
    };
    let mut world = World::new(mission, plan);
    let (task, attempt) = (TaskId(0), AttemptNo(1));
    world.at(1).does(Command::Note { task, attempt, text: evil.to_owned() });
    let choices = vec![evil.to_owned()];
    world.does(Command::Ask { task, attempt, question: evil.to_owned(), choices });
    world.does(Command::Answer { gate: GateId(1), answer: evil.to_owned(), by: evil.to_owned() });
    world.at(2).fails(0, FailureClass::Transient, evil);
    world.at(300).gives(0, Some('b'), &[(evil, evil)]);
    let verdict = Verdict::Doubtful { question: evil.to_owned() };
    world.does(Command::Judge { task, attempt: AttemptNo(2), verdict });
    world
}

/// Returns all texts that can be made of a run, each without the newlines between its own lines.
fn texts(world: &World, columns: usize) -> Vec<String> {
    let run = &world.run;
    let length = |_| kapell_view::forecast::TaskLength::given(None);
    let plan = PlanView::new(run.plan(), &run.mission().objective, length, SLOTS, None);
    let status = StatusView::new(run, world.now(), false, None);
    let summary = RunSummary::of(run, world.now());
    let list = ListView::new([(run.id(), Wall(START), false, RunSummary::decode(&summary.encode()))]);
    let said = |_| Some(Untrusted::from(&run.mission().objective));
    let mut texts = vec![
        to_json(&plan),
        to_json(&status),
        summary.encode(),
        to_json(&list),
        to_json(&InboxView::new([(run, false)])),
        to_json(&world.report()),
        world.report().markdown().replace('\n', ""),
        plan.mermaid().replace('\n', ""),
        plan.dot().replace('\n', ""),
    ];
    let mut all = plan.lines(columns);
    all.extend(status.lines(columns));
    all.extend(InboxView::new([(run, false)]).lines(columns));
    all.extend(list.lines(columns, Wall(START)));
    all.extend(lines(run, world.now(), None, &said, Screen { columns, rows: 50 }));
    for line in Logs::new(world.rows.iter().cloned(), LogReader::new(), Weight::Detail) {
        all.push(line.line(columns));
        all.push(line.line_of_day(columns));
        all.extend(line.message_lines(10, columns));
    }
    texts.extend(all.iter().map(|line| plain(std::slice::from_ref(line)).replace('\n', "")));
    texts
}

fn check(evil: &str, columns: usize) {
    for text in texts(&world(evil), columns) {
        assert!(!text.contains(is_deceptive), "{text:?}");
    }
}

#[test]
fn known_tricks_are_shown() {
    for evil in [
        "\x1b[2J\x1b]0;owned\x07",
        "\u{9b}31m\u{9d}0;owned\u{9c}",
        "\u{202e}gnp.exe",
        "a\u{200b}b\u{feff}\u{2066}",
        "x\r\nnext: kapell cancel\x08\x7f",
        "```\n# Heading\n<img src=x onerror=alert(1)>\n| a | b |\n",
        "[link](javascript:alert(1)) @everyone #1 https://example.org",
    ] {
        check(evil, 80);
        check(evil, 200);
    }
}

#[test]
fn markdown_holds_what_others_wrote_in_code_only() {
    let evil = "</code><b>|`x` [a](b)\n# Heading\n```\n- item\n";
    let markdown = world(evil).report().markdown();
    let mut fence: Option<String> = None;
    for line in markdown.lines() {
        let ticks: String = line.chars().take_while(|tick| *tick == '`').collect();
        match &fence {
            Some(open) if line == open => fence = None,
            Some(_) => {}
            None if ticks.len() >= 3 && line.ends_with("text") => fence = Some(ticks),
            None => {
                assert!(!outside_code(line).contains(['<', '[', '@']), "{line}");
                assert!(!line.starts_with('|') || outside_code(line).matches('|').count() >= 4, "{line}");
                assert_ne!(line, "# Heading");
            }
        }
    }
    assert_eq!(fence, None, "a block is left open");
}

/// Takes the code spans out of a line, by the rule of CommonMark: a run of backticks up to the next of the same length.
fn outside_code(line: &str) -> String {
    let mut rest = line;
    let mut outside = String::new();
    while let Some(start) = rest.find('`') {
        outside.push_str(&rest[..start]);
        let ticks = rest[start..].chars().take_while(|tick| *tick == '`').count();
        let mut after = &rest[start + ticks..];
        loop {
            let close = after.find('`').expect("a span that is opened is closed");
            let run = after[close..].chars().take_while(|tick| *tick == '`').count();
            after = &after[close + run..];
            if run == ticks {
                break;
            }
        }
        rest = after;
    }
    outside + rest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_raw_is_shown(evil in "\\PC{0,3}[\\x00-\\x1f\\x7f\u{80}-\u{9f}\u{202a}-\u{202e}\u{200b}`|<\\\\]{1,8}.{0,8}", columns in 0_usize..120) {
        check(&evil, columns);
    }
}
