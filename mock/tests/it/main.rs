//! The mock, asked as clients ask.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use kapell_mock::{Call, How, Mock, Scenario, Turn, Usage};
use serde_json::{Value, json};

/// Asks, and returns all that comes until the server hangs up.
fn ask(mock: &Mock, path: &str, body: &Value) -> String {
    let address = mock.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut reply = Vec::new();
    // A reply that is cut ends as an error on some systems; what came before counts.
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

/// A conversation in each API: the prompt, and so many results of tools.
fn conversations(prompt: &str, results: usize) -> Vec<(&'static str, Value)> {
    let user = json!({ "role": "user", "content": prompt });
    let many = |first: &Value, result: Value| {
        Value::from_iter(std::iter::once(first.clone()).chain(std::iter::repeat_n(result, results)))
    };
    let messages =
        many(&user, json!({ "role": "user", "content": [{ "type": "tool_result", "content": "ok" }] }));
    let input = many(&user, json!({ "type": "function_call_output", "call_id": "c", "output": "ok" }));
    let chat = many(&user, json!({ "role": "tool", "tool_call_id": "c", "content": "ok" }));
    let asked = json!({ "role": "user", "parts": [{ "text": prompt }] });
    let contents = many(
        &asked,
        json!({ "role": "user", "parts": [{ "functionResponse": { "name": "t", "response": {} } }] }),
    );
    let declared = json!([{ "functionDeclarations": [{ "name": "write_file" }] }]);
    let function = json!([{ "type": "function", "function": { "name": "write" } }]);
    vec![
        (
            "/v1/messages?beta=true",
            json!({ "model": "m", "stream": true, "messages": messages, "tools": [{ "name": "Write" }] }),
        ),
        (
            "/v1/responses",
            json!({ "model": "m", "stream": true, "input": input, "tools": [{ "name": "apply_patch" }] }),
        ),
        (
            "/v1/chat/completions",
            json!({ "model": "m", "stream": true, "messages": chat, "tools": function }),
        ),
        (
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            json!({ "contents": contents, "tools": declared }),
        ),
    ]
}

fn fix() -> Scenario {
    let write = Call::Write { path: "a.txt".to_owned(), content: "new\n".to_owned() };
    Scenario::of([Turn::Call(vec![write]), Turn::Say("it is done".to_owned())])
}

#[test]
fn every_api_plays_the_turn_that_the_results_call_for() {
    let mock = Mock::start().unwrap();
    mock.play("fix", fix().costing(Usage { input: 7, output: 5, cache_read: 3, cache_write: 2 }));
    let first: Vec<String> =
        conversations("do mock:fix", 0).iter().map(|(path, body)| ask(&mock, path, body)).collect();
    for (reply, tool) in first.iter().zip(["\"Write\"", "\"apply_patch\"", "\"write\"", "\"write_file\""]) {
        assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains(tool), "{reply}");
    }
    for (path, body) in conversations("do mock:fix", 1) {
        let reply = ask(&mock, path, &body);
        assert!(reply.contains("it is done"), "{path}: {reply}");
    }
    let count = mock.count("fix");
    assert_eq!((count.requests, count.failed, count.said), (8, 0, 4));
    assert_eq!(count.usage, Usage { input: 56, output: 40, cache_read: 24, cache_write: 16 });
}

#[test]
fn requests_fail_in_order_and_are_counted_apart() {
    let mock = Mock::start().unwrap();
    mock.play("busy", fix().failing(1, 2, How::busy_for(Duration::from_secs(9))));
    for (path, body) in conversations("mock:busy", 0) {
        let reply = ask(&mock, path, &body);
        let failed = (1..3).contains(&(mock.count("busy").requests - 1));
        assert_eq!(reply.starts_with("HTTP/1.1 429 "), failed, "{reply}");
        assert_eq!(reply.contains("retry-after: 9"), failed, "{reply}");
    }
    let count = mock.count("busy");
    assert_eq!((count.requests, count.failed), (4, 2));
    assert!(count.first_429_ms.is_some());
}

#[test]
fn a_cut_reply_begins_and_does_not_end() {
    let mock = Mock::start().unwrap();
    mock.play("cut", fix().failing(0, 9, How::Cut));
    for (path, body) in conversations("mock:cut", 1) {
        let reply = ask(&mock, path, &body);
        assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains("data: "), "{reply}");
        let ends = ["message_stop", "response.completed", "[DONE]", "usageMetadata"];
        assert!(!ends.iter().any(|end| reply.contains(end)), "{reply}");
        assert!(!reply.ends_with("0\r\n\r\n"), "the last chunk came: {reply}");
    }
}

#[test]
fn counts_and_scenarios_go_over_http_too() {
    let mock = Mock::start().unwrap();
    let scenario =
        json!({ "turns": [{ "say": "hello" }], "faults": [{ "how": { "status": { "code": 529 } } }] });
    assert!(ask(&mock, "/mock/scenarios/later", &scenario).starts_with("HTTP/1.1 200 "));
    let (path, body) = conversations("mock:later", 0).remove(0);
    assert!(ask(&mock, path, &body).contains("overloaded_error"));
    let counts = ask(&mock, "/mock/counts", &Value::Null);
    assert!(counts.contains(r#""later":{"#) && counts.contains(r#""failed":1"#), "{counts}");
    assert!(ask(&mock, "/mock/scenarios/bad", &json!({ "turns": 1 })).starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_limit_of_the_server_holds_for_all_until_its_reset() {
    let mock = Mock::start().unwrap();
    mock.limit(1, Duration::from_millis(300));
    let (path, body) = conversations("mock:a", 0).swap_remove(0);
    assert_eq!(mock.window_ms(), None);
    assert!(ask(&mock, path, &body).starts_with("HTTP/1.1 200"));
    let refused = ask(&mock, path, &body);
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: 1"), "{refused}");
    let window = mock.window_ms().unwrap();
    assert_eq!(window.end - window.start, 300);
    let begin = std::time::Instant::now();
    while !ask(&mock, path, &body).starts_with("HTTP/1.1 200") {
        assert!(begin.elapsed() < Duration::from_secs(10), "the limit holds for ever");
    }
}

#[test]
fn what_no_request_should_hold_is_found() {
    let mock = Mock::start().unwrap();
    mock.look_for(&["canary", "parrot"]);
    for (path, body) in conversations("a canary in mock:a", 0) {
        ask(&mock, path, &body);
    }
    assert_eq!(mock.found(), ["canary"]);
}
