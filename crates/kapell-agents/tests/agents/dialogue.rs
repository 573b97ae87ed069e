//! Clients that are talked to: fakes that speak as the real ones do, and write down what they are told.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kapell_agents::{
    drivers::{
        Ending, Exit, Report, Work,
        client::{Client, Limit, Order, Prices, Resume, Settings, Shape, Totals},
    },
    protocol::AttemptKey,
};
use kapell_core::{price::Tokens, retry::FailureClass};
use serde_json::Value;

use crate::rig::{Rig, key};

const INIT: &str = r#"say '{"type":"system","subtype":"init","session_id":"s1","model":"m","tools":[]}'"#;
/// A request for permission.
const MAY: &str = r#"say '{"type":"control_request","request_id":"q1","request":{"subtype":"can_use_tool","tool_name":"WebFetch","tool_use_id":"t1","input":{"url":"https://example.org/a"}}}'"#;

/// A reply of the model that used `input` tokens.
fn used(id: &str, input: u64) -> String {
    format!(
        r#"say '{{"type":"assistant","message":{{"id":"{id}","content":[{{"type":"text","text":"so"}}],"usage":{{"input_tokens":{input},"output_tokens":1}}}}}}'"#
    )
}

/// The end of a turn. `since` is what was used in it, `total` in the whole session.
fn result(more: &str, since: u64, total: u64) -> String {
    let usage = |input: u64| format!(r#"{{"m":{{"inputTokens":{input},"outputTokens":0,"costUSD":0.5}}}}"#);
    format!(
        r#"say '{{"type":"result","subtype":"success","is_error":false,"result":"done","total_cost_usd":9.5,"modelUsage":{},"model_usage_since_last_result":{}{more}}}'"#,
        usage(total),
        usage(since)
    )
}

struct Talk {
    rig: Rig,
    key: AttemptKey,
}

impl Talk {
    /// Starts a client that runs `body` after it has heard how it is greeted and what it is asked.
    fn start(client: Client, body: &str, change: impl FnOnce(&mut Order)) -> Self {
        let (rig, key) = (Rig::new(), key(1));
        let greeting = if client.is_talked_to() { "hear; hear" } else { "" };
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {0}/args\nhear() {{ read -r line && printf '%s\\n' \"$line\" >> {0}/said; }}\n\
             say() {{ printf '%s\\n' \"$1\"; }}\n{greeting}\n{body}\nwhile hear; do :; done\n",
            rig.dir.path().display()
        );
        let program = rig.dir.path().join("client");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut order = Order::new(client, "fix it", rig.dir.path().join("home"));
        order.settings = Settings { program: Some(program), ..Settings::default() };
        order.workspace = rig.dir.path().to_owned();
        change(&mut order);
        let mut job = rig.job(key, "");
        job.work = Work::Client(Box::new(order));
        rig.crew.start(key, job).unwrap();
        Self { rig, key }
    }

    fn question(&self) -> (u32, String, Vec<String>) {
        loop {
            match self.rig.next(self.key) {
                Report::Question { question, text, choices } => return (question, text, choices),
                Report::Finished(exit) => panic!("it ended without a question: {}", exit.message),
                _ => {}
            }
        }
    }

    fn answer(&self, question: u32, text: &str) {
        self.rig.crew.answer(self.key, question, text.to_owned());
    }

    fn end(&self) -> Exit {
        self.rig.finished(self.key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.rig.dir.path().join(name)
    }

    /// What it was told, line by line, without the greeting.
    fn told(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("said")).unwrap();
        text.lines().skip(2).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn what_it_is_asked_comes_first() {
    let talk = Talk::start(Client::ClaudeCode, &format!("{INIT}\n{}", result("", 1, 1)), |_| {});
    assert_eq!(talk.end().ending, Ending::Succeeded);
    let said = fs::read_to_string(talk.path("said")).unwrap();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["request"]["subtype"], "initialize");
    assert_eq!(lines[1]["message"]["content"], "fix it");
    assert_eq!(lines.len(), 2, "after its result it is told nothing, only that this was all");
}

#[test]
fn a_person_allows_what_its_rules_leave_open() {
    let talk = Talk::start(Client::ClaudeCode, &format!("{INIT}\n{MAY}\nhear\n{}", result("", 1, 1)), |_| {});
    let (question, text, choices) = talk.question();
    assert_eq!(
        (text.as_str(), choices),
        ("May it use `WebFetch`: https://example.org/a", vec!["allow".to_owned(), "deny".to_owned()])
    );
    talk.answer(question, "allow");
    assert_eq!(talk.end().ending, Ending::Succeeded);
    let response = &talk.told()[0]["response"];
    assert_eq!(response["request_id"], "q1");
    assert_eq!(response["response"]["behavior"], "allow");
    assert_eq!(response["response"]["updatedInput"]["url"], "https://example.org/a");
}

#[test]
fn a_person_denies_it_and_its_cheerful_end_is_no_success() {
    let event = r#"say '{"type":"system","subtype":"permission_denied","tool_name":"WebFetch","tool_use_id":"t1","message":"no"}'"#;
    let refused = r#"say '{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":"no"}]},"tool_result_meta":[{"id":"t1","permission_decision":{"decision":"reject"}}]}'"#;
    let denials = r#","permission_denials":[{"tool_name":"WebFetch","tool_use_id":"t1"}]"#;
    let body = format!("{INIT}\n{MAY}\nhear\n{event}\n{refused}\n{}", result(denials, 1, 1));
    let talk = Talk::start(Client::ClaudeCode, &body, |_| {});
    let (question, ..) = talk.question();
    talk.answer(question, "deny");
    let mut refusals = Vec::new();
    let exit = loop {
        match talk.rig.next(talk.key) {
            Report::Refused { text, .. } => refusals.push(text),
            Report::Finished(exit) => break exit,
            _ => {}
        }
    };
    assert_eq!(exit.ending, Ending::Failed(FailureClass::Permission), "{}", exit.message);
    // It tells of it four times; that is one refusal.
    assert_eq!(refusals, ["a person was asked, and said: deny"]);
    assert_eq!(exit.evidence.unwrap().refused, ["WebFetch"]);
    let response = &talk.told()[0]["response"]["response"];
    assert_eq!(response["behavior"], "deny");
    assert!(response["message"].as_str().unwrap().contains("a person was asked"), "{response}");
}

#[test]
fn what_waits_for_a_person_is_not_silent() {
    let ask = "\"$HELPER\" task ask 'Which way?' >> \"$HOME/answer\"";
    let hasty = |order: &mut Order| order.settings.idle = Some(Duration::from_millis(400));
    let body = format!("{INIT}\n{ask}\n{}", result("", 1, 1));
    let talk = Talk::start(Client::ClaudeCode, &body, hasty);
    let (question, text, _) = talk.question();
    assert_eq!(text, "Which way?");
    // One that is just silent has been ended by now: the first one is not, and has time again once it is answered.
    let silent = Talk::start(Client::ClaudeCode, &format!("{INIT}\nexec sleep 300"), hasty).end();
    assert!(silent.message.contains("silent"), "{}", silent.message);
    talk.answer(question, "left");
    let exit = talk.end();
    assert_eq!(exit.ending, Ending::Succeeded, "{}", exit.message);
    assert_eq!(fs::read_to_string(talk.path("home/answer")).unwrap(), "left\n");
}

#[test]
fn nobody_is_asked_where_that_was_said() {
    let body = format!("{INIT}\n{MAY}\nhear\n{}", result("", 1, 1));
    let talk = Talk::start(Client::ClaudeCode, &body, |order| {
        order.options.insert("permissions".to_owned(), "deny".to_owned());
    });
    talk.end();
    assert_eq!(talk.told()[0]["response"]["response"]["behavior"], "deny");
}

#[test]
fn harm_is_refused_without_asking() {
    let harm = MAY.replace(
        r#""tool_name":"WebFetch","tool_use_id":"t1","input":{"url":"https://example.org/a"}"#,
        r#""tool_name":"Bash","input":{"command":"rm -rf /srv"}"#,
    );
    let talk =
        Talk::start(Client::ClaudeCode, &format!("{INIT}\n{harm}\nhear\n{}", result("", 1, 1)), |_| {});
    talk.end();
    let response = &talk.told()[0]["response"]["response"];
    assert!(response["message"].as_str().unwrap().contains("it deletes `/srv`"), "{response}");
}

#[test]
fn its_questions_are_put_one_by_one_and_answered_together() {
    let ask = r#"say '{"type":"control_request","request_id":"q7","request":{"subtype":"can_use_tool","tool_name":"AskUserQuestion","input":{"questions":[{"question":"Left?","options":[{"label":"left"},{"label":"right"}]},{"question":"Which?","multiSelect":true,"options":[{"label":"a"}]}]}}}'"#;
    let talk = Talk::start(Client::ClaudeCode, &format!("{INIT}\n{ask}\nhear\n{}", result("", 1, 1)), |_| {});
    let (first, _, choices) = talk.question();
    assert_eq!(choices, ["left", "right"]);
    let (second, text, choices) = talk.question();
    assert_eq!((text.as_str(), choices.len()), ("Which?", 0));
    talk.answer(second, "a and b");
    talk.answer(first, "right");
    assert_eq!(talk.end().ending, Ending::Succeeded);
    let told = talk.told();
    let answers = &told[0]["response"]["response"]["updatedInput"]["answers"];
    assert_eq!((&answers["Left?"], &answers["Which?"]), (&"right".into(), &"a and b".into()));
}

#[test]
fn a_client_that_is_stopped_is_told_so_in_its_own_words() {
    let talk = Talk::start(Client::ClaudeCode, &format!("{INIT}\n{MAY}\nhear\nhear\nexit 1"), |_| {});
    talk.question();
    talk.rig.crew.stop(talk.key, Duration::from_secs(20));
    let exit = talk.end();
    assert_eq!((exit.ending, exit.record.unwrap().code), (Ending::Stopped, Some(1)));
    assert_eq!(talk.told()[0]["request"]["subtype"], "interrupt");
}

#[test]
fn one_that_does_not_heed_it_is_ended_all_the_same() {
    let talk = Talk::start(Client::ClaudeCode, &format!("{INIT}\n{MAY}\nexec sleep 300"), |_| {});
    talk.question();
    talk.rig.crew.stop(talk.key, Duration::ZERO);
    let exit = talk.end();
    assert_eq!((exit.ending, exit.record.unwrap().code), (Ending::Stopped, None));
}

#[test]
fn at_the_soft_limit_it_is_told_and_at_the_hard_one_it_is_ended() {
    let limit = |order: &mut Order| order.limit = Limit { tokens: Some(1000), usd_micros: None, ends: true };
    let body = format!("{INIT}\n{}\nhear\n{}", used("1", 850), result("", 860, 860));
    let talk = Talk::start(Client::ClaudeCode, &body, limit);
    assert_eq!(talk.end().ending, Ending::Succeeded);
    let told = talk.told();
    assert!(told[0]["message"]["content"].as_str().unwrap().contains("budget"), "{told:?}");
    assert_eq!(told.len(), 1, "it is told once");

    let body = format!("{INIT}\n{}\n{}\nexec sleep 300", used("1", 850), used("2", 200));
    let exit = Talk::start(Client::ClaudeCode, &body, limit).end();
    assert_eq!(exit.ending, Ending::Failed(FailureClass::Timeout), "{}", exit.message);
    assert!(exit.message.contains("spent all"), "{}", exit.message);
}

fn shape() -> Option<Shape> {
    let text = r#"{"type":"object","properties":{"version":{"type":"string"}},"required":["version"],"additionalProperties":false}"#;
    Some(Shape::parse(text).unwrap())
}

#[test]
fn outputs_that_are_missing_are_asked_for_once() {
    let given = r#","structured_output":{"version":"1.0"}"#;
    let body = format!("{INIT}\n{}\nhear\n{}", result("", 5, 5), result(given, 7, 12));
    let talk = Talk::start(Client::ClaudeCode, &body, |order| order.shape = shape());
    let exit = talk.end();
    assert_eq!((exit.ending, exit.outputs["version"].as_str()), (Ending::Succeeded, "1.0"));
    assert_eq!(exit.evidence.unwrap().tokens.input, 12);
    assert!(talk.told()[0]["message"]["content"].as_str().unwrap().contains("does not fit"));

    let body = format!("{INIT}\n{}\nhear\n{}", result("", 5, 5), result("", 7, 12));
    let talk = Talk::start(Client::ClaudeCode, &body, |order| order.shape = shape());
    let exit = talk.end();
    assert_eq!(exit.ending, Ending::Failed(FailureClass::InvalidOutput), "{}", exit.message);
    assert_eq!(talk.told().len(), 1, "it is asked once");
}

#[test]
fn a_client_that_is_asked_once_is_asked_for_outputs_in_its_session() {
    let thread = r#"say '{"type":"thread.started","thread_id":"t9"}'; say '{"type":"turn.started"}'"#;
    let message = |text: &str| {
        let item = serde_json::json!({"type":"item.completed","item":{"type":"agent_message","text":text}});
        format!("say '{item}'")
    };
    let turn = |input: u64| {
        format!(r#"say '{{"type":"turn.completed","usage":{{"input_tokens":{input},"output_tokens":0}}}}'"#)
    };
    let play = |second: &str| {
        format!(
            "cat >/dev/null\ncase \"$*\" in *resume*)\n{thread}\n{}\n{}\n;; *)\n{thread}\n{}\n{}\n;; esac\nexit 0",
            message(second),
            turn(150),
            message("all done"),
            turn(100)
        )
    };
    let talk = Talk::start(Client::Codex, &play(r#"{"version":"2.0"}"#), |order| order.shape = shape());
    let exit = talk.end();
    assert_eq!(
        (exit.ending, exit.outputs.get("version").map(String::as_str)),
        (Ending::Succeeded, Some("2.0"))
    );
    // Its counts are those of the whole thread: nothing is booked twice.
    assert_eq!(exit.evidence.unwrap().tokens.total(), 150);
    let args = fs::read_to_string(talk.path("args")).unwrap();
    assert!(args.contains("--output-schema") && args.contains("resume t9 -"), "{args}");

    let exit = Talk::start(Client::Codex, &play("no"), |order| order.shape = shape()).end();
    assert_eq!(exit.ending, Ending::Failed(FailureClass::InvalidOutput), "{}", exit.message);
}

#[test]
fn what_a_session_used_before_is_not_booked_again() {
    let totals = Totals { tokens: Tokens { input: 200, ..Tokens::default() }, usd_micros: 9_000_000 };
    let resume = |order: &mut Order| order.resume = Some(Resume { session: "s1".to_owned(), totals });
    let talk = Talk::start(Client::ClaudeCode, &format!("{INIT}\n{}", result("", 100, 300)), resume);
    let evidence = talk.end().evidence.unwrap();
    assert_eq!((evidence.tokens.input, evidence.usd_micros), (100, Some(500_000)));
    assert_eq!(evidence.totals.tokens.input, 300);
    assert!(fs::read_to_string(talk.path("args")).unwrap().contains("--resume s1"));
    // A client that does not say what it used since: its totals, less what was booked.
    let old = result("", 100, 300).replace("model_usage_since_last_result", "other");
    let talk = Talk::start(Client::ClaudeCode, &format!("{INIT}\n{old}"), resume);
    let evidence = talk.end().evidence.unwrap();
    assert_eq!((evidence.tokens.input, evidence.usd_micros), (100, Some(500_000)));
}

#[test]
fn a_session_that_is_gone_is_nobodys_failure() {
    let body = "echo 'No conversation found with session ID: s1' >&2; exit 1";
    let resume = |order: &mut Order| {
        order.resume = Some(Resume { session: "s1".to_owned(), totals: Totals::default() })
    };
    let exit = Talk::start(Client::ClaudeCode, body, resume).end();
    assert_eq!(exit.ending, Ending::Failed(FailureClass::Lost), "{}", exit.message);
}

#[test]
fn what_panics_when_it_is_told_something_fails_its_own_attempt_and_the_others_are_heard_on() {
    let breaks = Arc::new(AtomicBool::new(false));
    let is_broken = breaks.clone();
    let talk = Talk::start(Client::ClaudeCode, &format!("{INIT}\n{MAY}\nhear"), |order| {
        order.prices = Prices::new(move |model| {
            assert!(!is_broken.load(Ordering::Relaxed), "no price of {model}");
            None
        });
    });
    talk.question();
    breaks.store(true, Ordering::Relaxed);
    talk.rig.crew.spending()(talk.key, 100);
    let exit = talk.end();
    assert!(exit.message.contains("a bug in kapell"), "{}", exit.message);
    let later = key(2);
    talk.rig.crew.start(later, talk.rig.job(later, "true")).unwrap();
    assert_eq!(talk.rig.finished(later).ending, Ending::Succeeded);
}
