//! How the ends of coding agents are read: clients that replay what the real ones printed.
//!
//! The streams were recorded from the real clients, each in a directory of its own, against the mock of this workspace:
//! Claude Code 2.1.329, Codex 0.169.0, Gemini CLI 0.61.0, opencode 1.18.33. The first line of a stream says how the
//! process ended; `stopped` means that it did not, and somebody had to end it. Those of opencode by its protocol are played in `acp`.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use kapell_agents::{
    drivers::{
        Ending, Exit, Job, Report, Work,
        client::{Client, Order, Prices, Settings, read_exit},
    },
    protocol::AttemptKey,
    supervise::RECORD_FILE,
};
use kapell_core::{
    price::{Price, Rate, Tokens},
    retry::FailureClass,
};

use crate::rig::{Rig, class, is_alive, key, pids_in, until};

/// A client that prints what is in a file, leaves a process that has its own session, and ends as the real one did.
fn fake(dir: &Path, client: Client, case: &str) -> PathBuf {
    let path = streams().join(client.adapter()).join(format!("{case}.stream"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (end, rest) = text.split_once("\n=== stdout\n").unwrap();
    let (output, errors) = rest.split_once("=== stderr\n").unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.join(format!("{case}.{name}"));
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let end = match end.split_once(' ') {
        Some(("exit", code)) => format!("exit {code}"),
        Some(("signal", signal)) => format!("kill -{signal} $$"),
        _ => "exec sleep 300".to_owned(),
    };
    // One that is talked to is told that this was all only when it is done.
    let reads = if client.is_talked_to() { "read -r _; read -r _" } else { "cat >/dev/null" };
    let script = format!(
        "#!/bin/sh\n{reads}\nsetsid sh -c 'echo $$ >{}; exec sleep 300' >/dev/null 2>&1 &\n\
         while ! test -s {}; do :; done\ncat {}\ncat {} >&2\n{end}\n",
        dir.join(format!("{case}.orphan")).display(),
        dir.join(format!("{case}.orphan")).display(),
        file("out", output),
        file("err", errors),
    );
    let program = PathBuf::from(file("sh", &script));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn streams() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents/streams")
}

/// A dollar for a million tokens that are read, two for those that are written.
fn prices() -> Prices {
    let rate = Rate { input: 1_000_000, cache_read: 1_000_000, cache_write: 1_000_000, output: 2_000_000 };
    Prices::new(move |_| Some(Price { rate, ..Price::default() }))
}

fn job(rig: &Rig, key: AttemptKey, client: Client, case: &str) -> Job {
    let settings = Settings {
        program: Some(fake(rig.dir.path(), client, case)),
        key: Some("sk-test".to_owned()),
        idle: Some(Duration::from_millis(1500)),
        ..Settings::default()
    };
    let options = [("model", "some-model"), ("max_turns", "9")];
    let order = Order {
        kapell: crate::rig::HELPER.into(),
        settings,
        options: options.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        prices: prices(),
        contained: true,
        ..Order::new(client, "fix it", rig.dir.path().join(format!("home-{case}")))
    };
    let mut job = rig.job(key, "");
    job.work = Work::Client(Box::new(order));
    job
}

/// Waits for the ends of so many attempts, in whichever order they come.
pub(crate) fn finished(rig: &Rig, count: usize) -> BTreeMap<AttemptKey, Exit> {
    let mut exits = BTreeMap::new();
    while exits.len() < count {
        let (of, report) = rig.reports.recv_timeout(crate::rig::PATIENCE).unwrap();
        if let Report::Finished(exit) = report {
            exits.insert(of, *exit);
        }
    }
    exits
}

/// Plays all cases at the same time, and looks at each end: the class (`ok`, or a failure's), and the tokens used.
fn check(client: Client, cases: &[(&str, &str, u64)]) {
    let recorded = fs::read_dir(streams().join(client.adapter())).unwrap().count();
    assert_eq!(recorded, cases.len(), "every recorded stream is a case");
    let rig = Rig::new();
    let keys: Vec<_> = (0_u32..).zip(cases).map(|(task, (case, ..))| (key(task), case)).collect();
    for (key, case) in &keys {
        rig.crew.start(*key, job(&rig, *key, client, case)).unwrap();
    }
    let exits = finished(&rig, keys.len());
    let mut wrong = String::new();
    for ((key, case), (_, expected, tokens)) in keys.iter().zip(cases) {
        let exit = &exits[key];
        let found = (class(exit), exit.evidence.as_ref().unwrap().tokens.total());
        if found != ((*expected).to_owned(), *tokens) {
            wrong += &format!("{case}: {found:?} and not {expected} {tokens}: {}\n", exit.message);
        }
        for pid in pids_in(&rig.dir.path().join(format!("{case}.orphan")), 1) {
            assert!(!is_alive(pid), "{case} has left a process");
        }
        reads_the_same_again(&rig, *key, exit);
    }
    assert!(wrong.is_empty(), "{}:\n{wrong}", client.adapter());
}

/// Another kapell comes to the same verdict from the files alone, if the process ended by itself.
fn reads_the_same_again(rig: &Rig, key: AttemptKey, exit: &Exit) {
    let record = exit.record.clone().unwrap();
    if exit.ending == Ending::Failed(FailureClass::Timeout) && record.code.is_none() {
        return;
    }
    let again = read_exit(&rig.attempt_dir(key), Exit::from_record(*record), &prices());
    assert_eq!((again.ending, &again.message, &again.evidence), (exit.ending, &exit.message, &exit.evidence));
}

// Three requests, of 157 tokens each, end well: 471. A request that is refused costs nothing.

#[test]
fn ends_of_claude_code() {
    check(
        Client::ClaudeCode,
        &[
            ("ok", "ok", 471),
            ("two-calls", "ok", 314),
            ("429-twice", "ok", 314),
            ("unknown-tool", "ok", 314),
            ("denied", "permission", 314),
            ("429-forever", "rate limited", 0),
            ("529", "rate limited", 0),
            ("quota", "quota", 0),
            ("500", "transient", 0),
            ("401", "permanent", 0),
            ("400", "permanent", 0),
            ("cut", "transient", 571),
            ("silent", "transient", 0),
            ("turns", "timeout", 314),
            ("bad-session", "permanent", 0),
            ("sigint", "transient", 157),
            ("sigterm", "transient", 138),
            ("sigkill", "transient", 138),
        ],
    );
}

#[test]
fn ends_of_codex() {
    check(
        Client::Codex,
        &[
            ("ok", "ok", 471),
            ("two-calls", "ok", 314),
            ("429-twice", "ok", 314),
            ("unknown-tool", "invalid output", 314),
            ("denied", "permission", 314),
            ("429-forever", "rate limited", 0),
            ("529", "rate limited", 0),
            ("quota", "rate limited", 0),
            ("500", "transient", 0),
            ("401", "permanent", 0),
            ("400", "permanent", 0),
            ("cut", "transient", 0),
            ("silent", "timeout", 0),
            ("turns", "timeout", 0),
            ("bad-session", "permanent", 0),
            ("sigint", "transient", 0),
            ("sigterm", "transient", 0),
            ("sigkill", "transient", 0),
        ],
    );
}

#[test]
fn ends_of_gemini() {
    check(
        Client::Gemini,
        &[
            ("ok", "ok", 471),
            ("two-calls", "ok", 314),
            ("429-twice", "ok", 314),
            ("unknown-tool", "permission", 314),
            ("denied", "permission", 314),
            ("429-forever", "rate limited", 0),
            ("529", "rate limited", 0),
            ("quota", "quota", 0),
            ("500", "transient", 0),
            ("401", "permanent", 0),
            ("400", "permanent", 0),
            ("cut", "transient", 157),
            ("silent", "timeout", 0),
            ("turns", "timeout", 314),
            ("bad-session", "permanent", 0),
            ("sigint", "transient", 0),
            ("sigterm", "transient", 0),
            ("sigkill", "transient", 0),
        ],
    );
}

#[test]
fn ends_of_opencode() {
    check(
        Client::OpencodeRun,
        &[
            ("ok", "ok", 471),
            ("two-calls", "ok", 314),
            ("429-twice", "ok", 314),
            ("unknown-tool", "ok", 314),
            ("denied", "permission", 157),
            ("429-forever", "rate limited", 0),
            ("529", "rate limited", 0),
            ("quota", "quota", 0),
            ("500", "transient", 0),
            ("401", "permanent", 0),
            ("400", "permanent", 0),
            ("cut", "timeout", 157),
            ("silent", "timeout", 0),
            ("turns", "timeout", 1727),
            ("bad-session", "permanent", 0),
            ("sigint", "transient", 0),
            ("sigterm", "transient", 0),
            ("sigkill", "transient", 0),
        ],
    );
}

#[test]
fn what_a_client_says_and_costs_is_reported() {
    let rig = Rig::new();
    let key = key(1);
    rig.crew.start(key, job(&rig, key, Client::Codex, "429-forever")).unwrap();
    let mut limited = 0;
    let exit = loop {
        match rig.next(key) {
            Report::RateLimited { .. } => limited += 1,
            Report::Finished(exit) => break exit,
            _ => {}
        }
    };
    assert_eq!((limited, exit.ending), (4, Ending::Failed(FailureClass::RateLimited)));
    let key = crate::rig::key(2);
    rig.crew.start(key, job(&rig, key, Client::Codex, "ok")).unwrap();
    let mut said = Vec::new();
    let exit = loop {
        match rig.next(key) {
            Report::ToolUse { tool, .. } => said.push(tool),
            Report::Usage(tokens) => {
                assert_eq!(tokens, Tokens { input: 300, output: 60, cache_read: 90, cache_write: 21 });
            }
            Report::Finished(exit) => break exit,
            _ => {}
        }
    };
    let evidence = exit.evidence.unwrap();
    assert!(said.contains(&"apply_patch".to_owned()) && said.contains(&"shell".to_owned()), "{said:?}");
    assert_eq!((evidence.usd_micros, evidence.model.as_deref()), (Some(411 + 120), Some("some-model")));
    assert_eq!(exit.message, "I fixed the sum.");
}

#[test]
fn a_client_that_cannot_be_read_along_any_more_is_ended() {
    let rig = Rig::new();
    let key = key(1);
    let mut job = job(&rig, key, Client::Codex, "ok");
    let program = rig.dir.path().join("endless");
    fs::write(&program, "#!/bin/sh\ncat >/dev/null\nexec yes '{\"type\":\"turn.started\"}'\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    if let Work::Client(order) = &mut job.work {
        order.settings.program = Some(program);
    }
    (job.limits.output_bytes, job.limits.followed_bytes) = (1 << 10, 1 << 16);
    rig.crew.start(key, job).unwrap();
    let exit = rig.finished(key);
    assert_eq!(exit.ending, Ending::Failed(FailureClass::Permanent), "{}", exit.message);
    assert!(exit.message.contains("more than can be read along"), "{}", exit.message);
}

/// Makes a job that panics whoever reads along: they ask for the price of the model that the client says it asks.
fn unreadable(rig: &Rig, key: AttemptKey, case: &str) -> Job {
    let mut broken = job(rig, key, Client::ClaudeCode, case);
    if let Work::Client(order) = &mut broken.work {
        order.prices = Prices::new(|model| match model {
            "some-model" => None,
            other => panic!("no price of {other}"),
        });
    }
    broken
}

#[test]
fn a_reader_that_panics_fails_its_own_attempt_and_the_others_are_heard_on() {
    let rig = Rig::new();
    let (one, other) = (key(1), key(2));
    let broken = unreadable(&rig, one, "two-calls");
    rig.crew.start(one, broken).unwrap();
    rig.crew.start(other, job(&rig, other, Client::Codex, "ok")).unwrap();
    let exits = finished(&rig, 2);
    assert_eq!(exits[&one].ending, Ending::Failed(FailureClass::Transient));
    assert!(exits[&one].message.contains("a bug in kapell"), "{}", exits[&one].message);
    assert_eq!(
        (exits[&other].ending, exits[&other].message.as_str()),
        (Ending::Succeeded, "I fixed the sum.")
    );
    // It hears those that come later, too.
    let later = key(3);
    rig.crew.start(later, job(&rig, later, Client::Gemini, "ok")).unwrap();
    assert_eq!(rig.finished(later).ending, Ending::Succeeded);
}

#[test]
fn a_reader_that_panics_at_what_came_along_with_the_end_still_hears_the_end() {
    let played = [(key(1), "ok"), (key(2), "two-calls"), (key(3), "unknown-tool")];
    let dirs = Arc::new(Mutex::new(Vec::<PathBuf>::new()));
    // Nothing is read before all have ended: then the end of each comes along with what it printed.
    let ended = Arc::clone(&dirs);
    let rig = Rig::heard_by(move |report| {
        if matches!(report, Report::Started { .. }) {
            let dirs = ended.lock().unwrap();
            until(|| dirs.iter().all(|dir| dir.join(RECORD_FILE).exists()).then_some(()));
        }
    });
    *dirs.lock().unwrap() = played.map(|(key, _)| rig.attempt_dir(key)).into();
    for (key, case) in played {
        rig.crew.start(key, unreadable(&rig, key, case)).unwrap();
    }
    let exits = finished(&rig, played.len());
    assert!(exits.values().all(|exit| exit.message.contains("a bug in kapell")), "{exits:?}");
}
