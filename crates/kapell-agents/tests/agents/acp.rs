//! Agents behind the Agent Client Protocol, with a fake one.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use kapell_agents::{
    drivers::{
        Job, Report, Work,
        client::{AcpAgent, Client, Limit, Order, Resume, Settings, Totals},
    },
    protocol::AttemptKey,
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

/// Has an agent spend four fifths of what it may, and says how that ends: what it heard first, and what it was told.
fn spending(rig: &Rig, number: u32, queues: bool, change: impl FnOnce(&mut Order)) -> Job {
    let mut job = job(rig, number, "spends", &[("permissions", "allow")]);
    let Work::Client(order) = &mut job.work else { panic!("it is a client") };
    order.settings.args.extend(queues.then(|| "queues".to_owned()));
    change(order);
    job
}

fn check_told(rig: &Rig, key: AttemptKey, workspace: &Path, heard: &str) {
    let (mut notes, mut refused) = (Vec::new(), 0);
    let exit = loop {
        match rig.next(key) {
            Report::Note { text } => notes.push(text),
            Report::Refused { .. } => refused += 1,
            Report::Finished(exit) => break *exit,
            _ => {}
        }
    };
    assert_eq!((class(&exit).as_str(), exit.message.as_str()), ("ok", "I come to an end."));
    assert_eq!((notes, refused), (vec!["told that its budget is nearly used up".to_owned()], 0));
    let read = |name: &str| fs::read_to_string(workspace.join(name)).unwrap();
    assert_eq!(read("heard.txt"), heard);
    assert!(
        read("word.txt").starts_with("The budget of this task is nearly used up."),
        "{}",
        read("word.txt")
    );
    assert!(!workspace.join("late.txt").exists(), "it was let do something after it was cancelled");
    // Both turns count.
    let evidence = exit.evidence.unwrap();
    assert_eq!((evidence.tokens.output, evidence.usd_micros), (5, Some(850_000)));
}

#[test]
fn at_the_soft_limit_it_is_told_at_once_or_after_its_turn_is_cancelled() {
    let rig = Rig::new();
    for (number, queues, heard) in [(0, true, "session/prompt"), (1, false, "session/cancel")] {
        let job = spending(&rig, number, queues, |order| {
            order.limit = Limit { usd_micros: Some(1_000_000), tokens: None, ends: true };
        });
        let (key, workspace) = (key(number), job.cwd.clone());
        rig.crew.start(key, job).unwrap();
        check_told(&rig, key, &workspace, heard);
    }
}

#[test]
fn what_the_proxy_has_seen_counts_too() {
    let rig = Rig::new();
    // By what it says itself it may spend on.
    let job = spending(&rig, 0, false, |order| order.limit = Limit::default());
    let (key, workspace, output) = (key(0), job.cwd.clone(), job.dir.join("output.log"));
    rig.crew.start(key, job).unwrap();
    until(|| fs::read_to_string(&output).ok().filter(|text| text.contains("850000")));
    let spending = rig.crew.spending();
    spending(key, 79);
    assert!(!workspace.join("heard.txt").exists());
    spending(key, 80);
    spending(key, 90);
    check_told(&rig, key, &workspace, "session/cancel");
}

#[test]
fn one_that_says_more_than_anybody_reads_is_done_all_the_same() {
    let rig = Rig::new();
    let key = key(0);
    rig.crew.start(key, job(&rig, 0, "chatters", &[])).unwrap();
    let exit = rig.finished(key);
    assert_eq!(class(&exit), "ok", "{}", exit.message);
    let text = exit.evidence.unwrap().text;
    assert!(text.starts_with("a word and another a word") && text.len() == 1 << 20, "{}", text.len());
}

#[test]
fn at_the_hard_limit_it_is_ended() {
    let rig = Rig::new();
    let job = spending(&rig, 0, true, |order| {
        order.prompt = "heedless".to_owned();
        order.limit = Limit { usd_micros: Some(600_000), tokens: None, ends: true };
    });
    let key = key(0);
    rig.crew.start(key, job).unwrap();
    let exit = rig.finished(key);
    assert_eq!(class(&exit), "timeout", "{}", exit.message);
    assert!(exit.message.contains("spent all"), "{}", exit.message);
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

/// Makes a program that plays a stream of opencode.
fn player(dir: &Path, number: u32, stream: &str) -> PathBuf {
    let path = dir.join(format!("opencode-{number}"));
    fs::write(&path, format!("#!/bin/sh\nexec {HELPER} opencode {stream} \"$@\"\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Plays streams of opencode, recorded from version 1.18.33 against the mock of this workspace, with what its own server said
/// of them: the end, tokens, and how often the model was asked.
#[test]
fn ends_of_opencode_by_its_protocol() {
    // Each reply that ends well is of 157 tokens. A request that is refused costs nothing.
    let cases: [(&str, &str, u64, u32); 17] = [
        ("ok", "ok", 471, 3),
        ("two-calls", "ok", 314, 2),
        ("429-twice", "ok", 314, 2),
        ("unknown-tool", "ok", 314, 2),
        // The protocol calls all of these an end like any other.
        ("denied", "permission", 157, 1),
        ("ruled-out", "permission", 314, 2),
        ("overrun", "invalid output", 157, 1),
        ("refuse", "permanent", 157, 1),
        // It gives an error in words, and its status only beside the protocol.
        ("429-forever", "rate limited", 0, 0),
        ("529", "rate limited", 0, 0),
        ("quota", "quota", 0, 0),
        ("500", "transient", 0, 0),
        ("401", "permanent", 0, 0),
        ("400", "permanent", 0, 0),
        ("bad-session", "lost", 0, 0),
        // It asks again for ever.
        ("cut", "timeout", 157, 4),
        ("turns", "timeout", 942, 6),
    ];
    let streams = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents/streams/opencode-acp");
    assert_eq!(fs::read_dir(&streams).unwrap().count(), cases.len(), "every recorded stream is a case");
    let rig = Rig::new();
    let keys: Vec<_> = (0..).zip(&cases).map(|(number, _)| key(number)).collect();
    for (number, ((case, ..), key)) in (0..).zip(cases.iter().zip(&keys)) {
        let job = rig.client_job(number, Client::Opencode, "fix it", |order| {
            let stream = streams.join(format!("{case}.stream")).display().to_string();
            order.settings.program = Some(player(rig.dir.path(), number, &stream));
            order.settings.idle = Some(Duration::from_secs(20));
            let permissions = if *case == "denied" { "deny" } else { "allow" };
            order.options = options(&[("permissions", permissions), ("max_turns", "3")]);
            order.resume = (*case == "bad-session")
                .then(|| Resume { session: "ses_no_such".to_owned(), totals: Totals::default() });
        });
        rig.crew.start(*key, job).unwrap();
    }
    let exits = crate::clients::finished(&rig, cases.len());
    let mut wrong = String::new();
    for ((case, expected, tokens, steps), key) in cases.iter().zip(&keys) {
        let exit = &exits[key];
        let evidence = exit.evidence.as_ref().unwrap();
        let found = (class(exit), evidence.tokens.total(), evidence.steps);
        if found != ((*expected).to_owned(), *tokens, *steps) {
            wrong += &format!("{case}: {found:?} and not {expected} {tokens} {steps}: {}\n", exit.message);
        }
        assert_eq!(evidence.usd_micros, None, "a price that it does not know is none");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// What the agent is told to do, the options of its task, and what comes of it.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn every_end_is_taken_for_what_it_is() {
    let rig = Rig::new();
    let allow = [("permissions", "allow"), ("max_turns", "9")];
    let deny = [("permissions", "deny")];
    let cases: [Case; 17] = [
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
        ("writes", &allow, "ok"),
    ];
    let keys: Vec<_> = (0..).zip(&cases).map(|(number, case)| (number, key(number), case)).collect();
    let mut dirs = Vec::new();
    for (number, key, (case, pairs, _)) in &keys {
        let job = job(&rig, *number, case, pairs);
        dirs.push(job.dir.clone());
        rig.crew.start(*key, job).unwrap();
    }
    let exits = crate::clients::finished(&rig, keys.len());
    let mut wrong = String::new();
    for (_, key, (case, options, expected)) in &keys {
        let exit = &exits[key];
        if class(exit) != *expected {
            wrong += &format!("{case} {options:?}: {} and not {expected}: {}\n", class(exit), exit.message);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(exits[&keys[10].1].until.is_some(), "nobody knows until when");
    let of = |case: &str| cases.iter().position(|(name, ..)| *name == case).unwrap();
    assert_eq!(exits[&keys[of("dies")].1].message, "the agent went away\nit printed last: no module `coder`");
    // Whoever only writes is heard to be alive.
    let printed = fs::read_to_string(dirs[of("writes")].join("output.log")).unwrap();
    assert!(printed.contains("{\"type\":\"alive\"}"), "{printed}");
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
