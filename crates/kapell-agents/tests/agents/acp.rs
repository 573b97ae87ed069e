//! Agents behind the Agent Client Protocol, with a fake one.

use std::{fs, time::Duration};

use kapell_agents::drivers::{
    Job, Report, Work,
    client::{AcpAgent, Client, Order, Resume, Settings, Totals},
};
use kapell_core::price::Tokens;

use crate::rig::{HELPER, Rig, class, key, options, until};

fn job(rig: &Rig, number: u32, prompt: &str, pairs: &[(&str, &str)]) -> Job {
    rig.client_job(number, Client::Acp(AcpAgent::Other), prompt, |order| {
        order.settings = Settings {
            program: Some(HELPER.into()),
            args: vec!["acp-agent".to_owned()],
            idle: Some(Duration::from_secs(3)),
            ..Settings::default()
        };
        order.options = options(pairs);
    })
}

#[test]
fn a_person_is_asked_for_permission_and_what_it_cost_is_told() {
    let rig = Rig::new();
    for (number, answer, expected) in [(0, "Allow once", "ok"), (1, "no", "permission")] {
        let key = key(number);
        let job = job(&rig, number, "fix it", &[("mode", "bold")]);
        let workspace = job.cwd.clone();
        rig.crew.start(key, job).unwrap();
        let mut heard = Vec::new();
        let exit = loop {
            match rig.next(key) {
                Report::Question { question, text, choices } => {
                    assert_eq!(text, "May it use `execute`: echo fixed >fixed.txt");
                    assert_eq!(choices, ["Allow once", "Reject"]);
                    rig.crew.answer(key, question, answer.to_owned());
                }
                Report::ToolUse { tool, .. } => heard.push(format!("tool {tool}")),
                Report::Said { text } => heard.push(format!("said {text}")),
                Report::Refused { tool, text } => heard.push(format!("refused {tool}: {text}")),
                Report::Session { id, .. } => heard.push(format!("session {id}")),
                Report::Finished(exit) => break *exit,
                _ => {}
            }
        };
        assert_eq!(class(&exit), expected, "{}", exit.message);
        let evidence = exit.evidence.unwrap();
        assert_eq!(evidence.tokens, Tokens { input: 7, output: 5, cache_read: 3, cache_write: 2 });
        assert_eq!((evidence.usd_micros, evidence.steps), (Some(250_000), 2));
        let common = ["session s-1", "said I will fix it.", "tool execute"];
        let end: &[&str] = match expected {
            "ok" => &["said It is fixed."],
            _ => &["refused execute: a person said no", "said I am done."],
        };
        assert_eq!(heard, [&common, end].concat());
        assert_eq!(workspace.join("fixed.txt").exists(), expected == "ok");
        assert_eq!(fs::read_to_string(workspace.join("mode.txt")).unwrap(), "bold");
        // It got the workspace, and kapell's own tools.
        let session = fs::read_to_string(workspace.join("session.txt")).unwrap();
        assert_eq!(session, format!("{} 1", fs::canonicalize(&workspace).unwrap().display()));
    }
}

/// What the agent is told to do, the options of its task, and what comes of it.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn every_end_is_taken_for_what_it_is() {
    let rig = Rig::new();
    let allow = [("permissions", "allow"), ("max_turns", "9")];
    let deny = [("permissions", "deny")];
    let cases: [Case; 16] = [
        ("fix", &allow, "ok"),
        ("fix", &deny, "permission"),
        ("harm", &allow, "permission"),
        ("end_turn", &allow, "ok"),
        ("max_tokens", &allow, "invalid output"),
        ("max_turn_requests", &allow, "timeout"),
        ("refusal", &allow, "permanent"),
        ("of_next_year", &allow, "transient"),
        ("many", &allow, "timeout"),
        ("dies", &allow, "transient"),
        ("busy", &allow, "rate limited"),
        ("quota", &allow, "quota"),
        ("broken", &allow, "transient"),
        ("login", &allow, "permanent"),
        ("wrong", &allow, "permanent"),
        ("deaf", &allow, "timeout"),
    ];
    let keys: Vec<_> = (0..).zip(&cases).map(|(number, case)| (number, key(number), case)).collect();
    for (number, key, (case, pairs, _)) in &keys {
        rig.crew.start(*key, job(&rig, *number, case, pairs)).unwrap();
    }
    let mut exits = std::collections::BTreeMap::new();
    while exits.len() < keys.len() {
        let (of, report) = rig.reports.recv_timeout(crate::rig::PATIENCE).unwrap();
        if let Report::Finished(exit) = report {
            exits.insert(of, *exit);
        }
    }
    let mut wrong = String::new();
    for (_, key, (case, options, expected)) in &keys {
        let exit = &exits[key];
        if class(exit) != *expected {
            wrong += &format!("{case} {options:?}: {} and not {expected}: {}\n", class(exit), exit.message);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(exits[&keys[10].1].until.is_some(), "nobody knows until when");
}

#[test]
fn an_agent_hears_that_it_is_to_stop() {
    let rig = Rig::new();
    let (key, job) = (key(1), job(&rig, 1, "hang", &[]));
    let workspace = job.cwd.clone();
    rig.crew.start(key, job).unwrap();
    until(|| workspace.join("begun.txt").exists().then_some(()));
    rig.crew.stop(key, Duration::from_secs(20));
    assert_eq!(class(&rig.finished(key)), "stopped");
    assert!(workspace.join("cancelled.txt").exists(), "it was ended without a word");
}

/// Has an agent go on in a session whose cost is known.
fn going_on(rig: &Rig, number: u32, session: &str) -> Job {
    let mut job = job(rig, number, "fix it", &[("permissions", "allow")]);
    let Work::Client(order) = &mut job.work else { panic!("it is a client") };
    let totals = Totals { tokens: Tokens::default(), usd_micros: 100_000 };
    order.resume = Some(Resume { session: session.to_owned(), totals });
    job
}

#[test]
fn it_goes_on_in_its_session_and_nothing_of_that_is_heard_or_paid_again() {
    let rig = Rig::new();
    let (key, job) = (key(0), going_on(&rig, 0, "s-1"));
    let workspace = job.cwd.clone();
    rig.crew.start(key, job).unwrap();
    let mut said = Vec::new();
    let exit = loop {
        match rig.next(key) {
            Report::Said { text } => said.push(text),
            Report::Session { id, .. } => said.push(id),
            Report::Finished(exit) => break *exit,
            _ => {}
        }
    };
    assert_eq!(class(&exit), "ok", "{}", exit.message);
    assert_eq!(said, ["s-1", "I will fix it.", "It is fixed."]);
    let evidence = exit.evidence.unwrap();
    assert_eq!((evidence.usd_micros, evidence.totals.usd_micros), (Some(150_000), 250_000));
    let loaded = fs::read_to_string(workspace.join("session.txt")).unwrap();
    assert_eq!(loaded, format!("{} 1 of s-1", fs::canonicalize(&workspace).unwrap().display()));
}

#[test]
fn a_session_that_is_gone_is_nobodys_failure() {
    let rig = Rig::new();
    let key = key(0);
    rig.crew.start(key, going_on(&rig, 0, "s-2")).unwrap();
    let exit = rig.finished(key);
    assert_eq!(class(&exit), "lost", "{}", exit.message);
    assert!(exit.message.contains("Session not found: Resource not found"), "{}", exit.message);
}

#[test]
fn what_cannot_work_is_said_before_anything_starts() {
    let rig = Rig::new();
    let order = |change: &dyn Fn(&mut Order)| {
        let Work::Client(mut order) = job(&rig, 1, "", &[]).work else { panic!("it is a client") };
        change(&mut order);
        order.check().unwrap_err()
    };
    assert!(order(&|order| order.settings.program = None).contains("[clients.acp]"));
    let why = order(&|order| drop(order.options.insert("permissions".to_owned(), "some".to_owned())));
    assert!(why.contains("none of `ask`, `allow`, `deny`"), "{why}");
}
