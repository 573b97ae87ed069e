use super::*;

/// What was said on both sides, by what it says and what it is told.
struct Talk {
    reader: CodexApp,
    reports: Vec<Report>,
}

impl Talk {
    /// Begins a conversation up to its first turn.
    fn begin(opening: Opening) -> Self {
        let mut talk = Self { reader: CodexApp::default(), reports: Vec::new() };
        talk.reader.open(Opening { prompt: "fix it".to_owned(), workspace: "/work".into(), ..opening });
        assert_eq!(talk.written()[0]["method"], "initialize");
        talk.hears(json!({ "id": "initialize#1", "result": { "userAgent": "kapell/0.169.0" } }));
        talk
    }

    fn started(opening: Opening) -> Self {
        let mut talk = Self::begin(opening);
        let asked = talk.written().remove(1);
        assert_eq!(asked["method"], "thread/start");
        talk.hears(
            json!({ "id": asked["id"], "result": { "thread": { "id": "t" }, "model": "gpt-5", "cwd": "/work" } }),
        );
        let asked = talk.written().remove(0);
        assert_eq!(
            (asked["method"].as_str(), asked["params"]["input"][0]["text"].as_str()),
            (Some("turn/start"), Some("fix it"))
        );
        talk.notified("turn/started", json!({ "turn": { "id": "one", "status": "inProgress" } }));
        talk
    }

    fn hears(&mut self, event: Value) {
        self.reader.event(&event, Wall(0), &mut self.reports);
    }

    fn notified(&mut self, method: &str, mut params: Value) {
        params["threadId"] = "t".into();
        self.hears(json!({ "method": method, "params": params }));
    }

    fn tells(&mut self, what: Tell<'_>) {
        self.reader.tell(what, &mut self.reports);
    }

    /// Asks whether it may run a command; returns what it was answered, if it was.
    fn may_run(&mut self, id: u64, command: &str) -> Option<Value> {
        let item = format!("call-{id}");
        let params = json!({
            "threadId": "t", "turnId": "one", "itemId": item, "cwd": "/work",
            "command": format!("/bin/bash -lc '{command}'"), "commandActions": [{ "type": "unknown", "command": command }],
        });
        self.hears(json!({ "method": "item/commandExecution/requestApproval", "id": id, "params": params }));
        self.written().pop()
    }

    fn ran(&mut self, id: u64, status: &str) {
        let item = json!({ "type": "commandExecution", "id": format!("call-{id}"), "command": "x", "status": status });
        self.notified("item/completed", json!({ "item": item }));
    }

    fn says(&mut self, text: &str) {
        self.notified(
            "item/completed",
            json!({ "item": { "type": "agentMessage", "id": "m", "text": text } }),
        );
    }

    fn turn_ends(&mut self, status: &str, error: Value) {
        self.notified("turn/completed", json!({ "turn": { "id": "one", "status": status, "error": error } }));
    }

    fn written(&mut self) -> Vec<Value> {
        let bytes = self.reader.outgoing().bytes;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    fn verdict(&self) -> Verdict {
        self.reader.verdict(Ended { code: Some(0), errors: "", at: Wall(0) })
    }

    fn refusals(&self) -> usize {
        self.reports.iter().filter(|report| matches!(report, Report::Refused { .. })).count()
    }
}

fn contained() -> Opening {
    Opening { contained: true, allows: true, ..Opening::default() }
}

fn asking() -> Opening {
    Opening { contained: true, asks: true, ..Opening::default() }
}

#[test]
fn what_is_harmless_is_let_through_and_what_is_not_is_refused_once_with_a_reason() {
    let mut talk = Talk::started(contained());
    assert_eq!(talk.may_run(0, "cargo test"), Some(json!({ "id": 0, "result": { "decision": "accept" } })));
    talk.ran(0, "completed");
    assert_eq!(
        talk.may_run(1, "rm -rf /var/tmp/precious"),
        Some(json!({ "id": 1, "result": { "decision": "decline" } }))
    );
    talk.ran(1, "declined");
    talk.says("I did it.");
    talk.turn_ends("completed", Value::Null);
    assert_eq!(talk.refusals(), 1);
    assert_eq!(talk.verdict().result, Err(FailureClass::Permission));
    assert_eq!(talk.reader.evidence().refused, ["shell"]);
}

#[test]
fn a_person_is_asked_and_the_answer_goes_back_to_the_request() {
    let mut talk = Talk::started(asking());
    for (id, answer, word) in [(0, "allow", "accept"), (1, "no, never", "decline")] {
        assert_eq!(talk.may_run(id, "make deploy"), None);
        assert!(talk.reader.waits());
        let Some(Report::Question { question, text, .. }) = talk.reports.pop() else {
            panic!("{:?}", talk.reports)
        };
        assert_eq!(text, "May it use `shell`: make deploy");
        talk.tells(Tell::Answer { question, text: answer });
        assert_eq!(talk.written(), [json!({ "id": id, "result": { "decision": word } })]);
        assert!(!talk.reader.waits());
        // It is answered once.
        talk.tells(Tell::Answer { question, text: answer });
        assert!(talk.written().is_empty());
    }
}

#[test]
fn a_change_that_moves_a_file_is_judged_and_shown_with_the_place_that_it_is_moved_to() {
    let may_move = |opening: Opening, to: &str| {
        let mut talk = Talk::started(opening);
        let change = json!({ "path": "/w/a.txt", "kind": { "type": "update", "move_path": to }, "diff": "" });
        let item = json!({ "type": "fileChange", "id": "c", "changes": [change], "status": "inProgress" });
        talk.notified("item/started", json!({ "item": item }));
        talk.hears(json!({ "id": 0, "method": "item/fileChange/requestApproval", "params": { "itemId": "c", "cwd": "/w" } }));
        talk
    };
    let at = |opening| Opening { workspace: "/w".into(), ..opening };
    let mut talk = may_move(at(contained()), "/ada/.ssh/authorized_keys");
    assert_eq!(talk.written(), [json!({ "id": 0, "result": { "decision": "decline" } })]);
    let talk = may_move(at(asking()), "/w/b.txt");
    let Some(Report::Question { text, .. }) = talk.reports.last() else { panic!("{:?}", talk.reports) };
    assert_eq!(text, "May it use `apply_patch`: /w/a.txt, /w/b.txt");
}

#[test]
fn without_anybody_to_ask_the_answer_is_no() {
    let mut talk = Talk::started(Opening { contained: true, ..Opening::default() });
    let answer = talk.may_run(0, "make deploy").unwrap();
    assert_eq!(answer["result"]["decision"], "decline");
}

#[test]
fn its_own_questions_are_put_to_a_person_all_before_it_goes_on() {
    let mut talk = Talk::started(asking());
    let questions = json!([
        { "id": "way", "question": "Which way?", "isOther": false, "options": [{ "label": "left" }, { "label": "right" }] },
        { "id": "why", "question": "Why?", "isOther": true, "options": null },
    ]);
    let params = json!({ "threadId": "t", "turnId": "one", "itemId": "q", "questions": questions });
    talk.hears(json!({ "method": "item/tool/requestUserInput", "id": "r", "params": params }));
    let asked: Vec<(u32, Vec<String>)> = talk
        .reports
        .iter()
        .filter_map(|report| match report {
            Report::Question { question, choices, .. } => Some((*question, choices.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(asked[0].1, ["left", "right"]);
    assert!(asked[1].1.is_empty());
    talk.tells(Tell::Answer { question: asked[1].0, text: "because" });
    assert!(talk.written().is_empty());
    talk.tells(Tell::Answer { question: asked[0].0, text: "left" });
    let answers = json!({ "way": { "answers": ["left"] }, "why": { "answers": ["because"] } });
    assert_eq!(talk.written(), [json!({ "id": "r", "result": { "answers": answers } })]);
}

#[test]
fn a_request_without_questions_is_answered_at_once() {
    let mut talk = Talk::started(asking());
    for questions in [json!([]), Value::Null] {
        let params = json!({ "threadId": "t", "turnId": "one", "itemId": "q", "questions": questions });
        talk.hears(json!({ "method": "item/tool/requestUserInput", "id": "r", "params": params }));
        assert_eq!(talk.written(), [json!({ "id": "r", "result": { "answers": {} } })]);
        assert!(!talk.reader.waits());
    }
}

#[test]
fn what_nobody_knows_is_refused_and_not_left_open() {
    let mut talk = Talk::started(contained());
    talk.hears(json!({ "method": "attestation/generate", "id": 9, "params": {} }));
    assert_eq!(talk.written()[0]["error"]["code"], -32601);
}

#[test]
fn a_word_from_kapell_steers_the_turn_and_is_a_turn_of_its_own_if_that_is_over() {
    let mut talk = Talk::started(contained());
    talk.tells(Tell::More("be quick"));
    let steer = talk.written().remove(0);
    assert_eq!(
        (steer["method"].as_str(), steer["params"]["expectedTurnId"].as_str()),
        (Some("turn/steer"), Some("one"))
    );
    talk.turn_ends("completed", Value::Null);
    assert!(talk.reader.is_idle());
    talk.hears(
        json!({ "id": steer["id"], "error": { "code": -32600, "message": "no active turn to steer" } }),
    );
    let again = talk.written().remove(0);
    assert_eq!(again["method"], "turn/start");
    assert_eq!(again["params"]["input"][0]["text"], "be quick");
    assert!(!talk.reader.is_idle());
}

#[test]
fn what_kapell_says_before_the_first_turn_waits_for_it() {
    let mut talk = Talk::begin(contained());
    talk.tells(Tell::More("be quick"));
    let asked = talk.written().remove(1);
    assert_eq!(asked["method"], "thread/start");
    talk.hears(json!({ "id": asked["id"], "result": { "thread": { "id": "t" }, "model": "gpt-5" } }));
    // It is asked for, and has not begun.
    talk.tells(Tell::More("be brief"));
    let [turn] = &talk.written()[..] else { panic!("one turn") };
    assert_eq!(
        (turn["method"].as_str(), turn["params"]["threadId"].as_str()),
        (Some("turn/start"), Some("t"))
    );
    assert_eq!(turn["params"]["input"][0]["text"], "fix it\n\nbe quick");
    talk.notified("turn/started", json!({ "turn": { "id": "one", "status": "inProgress" } }));
    let [steer] = &talk.written()[..] else { panic!("one word") };
    assert_eq!(
        (steer["method"].as_str(), steer["params"]["expectedTurnId"].as_str()),
        (Some("turn/steer"), Some("one"))
    );
    assert_eq!(steer["params"]["input"][0]["text"], "be brief");
}

#[test]
fn a_word_to_a_turn_that_ends_before_it_is_said_to_have_begun_is_not_lost() {
    let mut talk = Talk::started(contained());
    talk.turn_ends("completed", Value::Null);
    talk.tells(Tell::More("go on"));
    talk.tells(Tell::More("be brief"));
    assert_eq!(talk.written().len(), 1);
    talk.turn_ends("completed", Value::Null);
    assert_eq!(talk.written()[0]["params"]["input"][0]["text"], "be brief");
    assert!(!talk.reader.is_idle());
}

#[test]
fn it_is_interrupted_in_its_own_words_and_its_input_ends() {
    let mut talk = Talk::started(contained());
    talk.tells(Tell::Interrupt);
    let outgoing = talk.reader.outgoing();
    assert!(outgoing.last && String::from_utf8(outgoing.bytes).unwrap().contains("turn/interrupt"));
    talk.turn_ends("interrupted", Value::Null);
    assert!(talk.verdict().result.is_err());
}

#[test]
fn its_counts_are_those_of_the_thread_of_which_an_earlier_attempt_has_paid_its_part() {
    let mut talk =
        Talk::begin(Opening { resume: Some("t".to_owned()), shape: Some("{}".to_owned()), ..contained() });
    talk.reader.resumed(Totals {
        tokens: kapell_core::price::Tokens { input: 100, ..Default::default() },
        usd_micros: 0,
    });
    let asked = talk.written().remove(1);
    assert_eq!(
        (asked["method"].as_str(), asked["params"]["threadId"].as_str()),
        (Some("thread/resume"), Some("t"))
    );
    talk.hears(json!({ "id": asked["id"], "result": { "thread": { "id": "t" }, "model": "gpt-5" } }));
    assert_eq!(talk.written()[0]["params"]["outputSchema"], json!({}));
    let total =
        json!({ "inputTokens": 175, "cachedInputTokens": 40, "cacheWriteInputTokens": 5, "outputTokens": 7 });
    talk.notified("thread/tokenUsage/updated", json!({ "tokenUsage": { "total": total } }));
    let tokens = talk.reader.evidence().tokens;
    assert_eq!((tokens.input, tokens.cache_read, tokens.cache_write, tokens.output), (30, 40, 5, 7));
    // Threads that it has started for others are not this one.
    talk.hears(json!({ "method": "turn/completed", "params": { "threadId": "other", "turn": { "status": "completed" } } }));
    assert!(!talk.reader.is_idle());
}

#[test]
fn a_thread_that_is_gone_is_said_so() {
    let mut talk = Talk::begin(Opening { resume: Some("t".to_owned()), ..contained() });
    let asked = talk.written().remove(1);
    let error = json!({ "code": -32600, "message": "no rollout found for thread id t" });
    talk.hears(json!({ "id": asked["id"], "error": error }));
    assert!(talk.reader.outgoing().last);
    let verdict = talk.verdict();
    assert_eq!(verdict.result, Err(FailureClass::Permanent));
    assert!(verdict.message.contains("no rollout found"));
}

#[test]
fn a_provider_that_refuses_is_told_of_at_once_and_ends_the_turn() {
    let mut talk = Talk::started(contained());
    let info = json!({ "responseStreamDisconnected": { "httpStatusCode": 429 } });
    let details = "exceeded retry limit, last status: 429 Too Many Requests";
    let error =
        json!({ "message": "Reconnecting... 1/5", "codexErrorInfo": info, "additionalDetails": details });
    talk.notified("error", json!({ "error": error, "willRetry": true }));
    assert!(talk.reports.iter().any(|report| matches!(report, Report::RateLimited { .. })));
    talk.turn_ends("failed", json!({ "message": details, "additionalDetails": null }));
    assert_eq!(talk.verdict().result, Err(FailureClass::RateLimited));
    talk.reports.clear();
    let window = json!({ "usedPercent": 100, "windowDurationMins": 300, "resetsAt": 60 });
    let limits =
        json!({ "primary": window, "secondary": null, "rateLimitReachedType": "rate_limit_reached" });
    talk.hears(json!({ "method": "account/rateLimits/updated", "params": { "rateLimits": limits } }));
    assert!(
        matches!(talk.reports[..], [Report::RateLimited { until: Some(Wall(60_000)), .. }]),
        "{:?}",
        talk.reports
    );
}
