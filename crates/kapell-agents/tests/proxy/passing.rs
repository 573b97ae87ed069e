//! What passes, what does not, and what is counted.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    thread,
};

use kapell_agents::proxy::{Allowance, Pass, Seen, Spent};
use kapell_core::price::Tokens;
use kapell_mock::{How, Mock, Scenario, Turn, Usage};

use crate::rig::{ByHand, PATIENCE, RATE, REAL_KEY, Rig, WAYS, Way, ask, key, receive, send};

/// Every kind that all APIs can state; a chat cannot say what it put into a cache.
const USAGE: Usage = Usage { input: 1_000, output: 50, cache_read: 200, cache_write: 0 };

fn tokens(usage: Usage) -> Tokens {
    let Usage { input, output, cache_read, cache_write } = usage;
    Tokens { input, output, cache_read, cache_write }
}

fn mock() -> Mock {
    let mock = Mock::start().unwrap();
    mock.play("x", Scenario::of([Turn::Say("hello".to_owned())]).costing(USAGE));
    mock
}

#[test]
fn every_api_passes_and_is_counted_to_the_token() {
    let mock = mock();
    let rig = Rig::new(&mock.url());
    let pass = rig.admit(1, Allowance::default());
    let mut asked = 0;
    for way in &WAYS {
        for streams in [false, true] {
            let reply = ask(&pass, way, "mock:x", streams);
            assert_eq!(reply.status, 200, "{}: {}", way.path, reply.text);
            asked += 1;
            let Seen::Used { total, upstream, .. } = rig.booked() else { panic!("{}", way.path) };
            assert_eq!((upstream.as_str(), total.requests), (way.upstream, asked));
            assert_eq!(total.tokens, tokens(mock.count("x").usage), "{} {streams}", way.path);
            assert_eq!(total.estimated, 0, "{}", way.path);
        }
    }
    let one = RATE.cost(tokens(USAGE));
    assert_eq!(rig.proxy.dismiss(key(1)).unwrap().usd_micros, one * asked);
}

#[test]
fn the_real_key_goes_to_the_provider_and_nowhere_else() {
    let provider = ByHand::new();
    let rig = Rig::new(&provider.url());
    let pass = rig.admit(1, Allowance::default());
    let expected = [
        format!("x-api-key: {REAL_KEY}\r\n"),
        format!("authorization: Bearer {REAL_KEY}\r\n"),
        format!("x-goog-api-key: {REAL_KEY}\r\n"),
    ];
    for (way, expected) in [&WAYS[0], &WAYS[1], &WAYS[3]].into_iter().zip(expected) {
        let asking = {
            let (pass, body) = (pass.clone(), (way.body)("hi", false).to_string());
            let (upstream, path) = (way.upstream, way.path);
            thread::spawn(move || receive(send(&pass.base_url(upstream), path, pass.key(), &body)))
        };
        let (head, _, mut stream) = provider.take();
        assert!(head.contains(&expected), "{head}");
        assert!(!head.contains(pass.key()) && !head.contains("gzip") && !head.contains("host: x"), "{head}");
        // Providers repeat what they do not like.
        let text = format!("{{\"error\":\"bad key {REAL_KEY}\"}}");
        write!(
            stream,
            "HTTP/1.1 401 No\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{text}",
            text.len()
        )
        .unwrap();
        drop(stream);
        let reply = asking.join().unwrap();
        assert_eq!(reply.status, 401);
        assert!(
            reply.text.contains("bad key [redacted]") && !reply.text.contains(REAL_KEY),
            "{}",
            reply.text
        );
    }
    // What was refused cost nothing, and gave back what was set aside.
    let spent = rig.proxy.spent(key(1)).unwrap();
    assert_eq!((spent.tokens, spent.usd_micros, spent.requests), (Tokens::default(), 0, 3));
}

#[test]
fn a_stream_is_passed_on_as_it_comes() {
    let provider = ByHand::new();
    let rig = Rig::new(&provider.url());
    let pass = rig.admit(1, Allowance::default());
    let body = (WAYS[0].body)("hi", true).to_string();
    let mut client = BufReader::new(send(&pass.base_url("anthropic"), WAYS[0].path, pass.key(), &body));
    let (_, _, mut stream) = provider.take();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        .unwrap();
    // The next one is written only when the client has read the one before: a proxy that waits for more hangs here.
    for number in 0..20 {
        // In one piece: each piece that comes is a chunk of its own.
        let event = format!("data: {{\"type\":\"ping\",\"n\":{number}}}\n\n");
        stream.write_all(event.as_bytes()).unwrap();
        let mut line = String::new();
        while !line.contains(&format!("\"n\":{number}")) {
            line.clear();
            assert!(client.read_line(&mut line).unwrap() > 0);
        }
    }
}

#[test]
fn strangers_and_other_places_are_turned_away_before_anybody_is_asked() {
    let mock = mock();
    let rig = Rig::new(&mock.url());
    let pass = rig.admit(1, Allowance::default());
    let body = (WAYS[0].body)("mock:x", false).to_string();
    let of = |upstream: &str, path: &str, key: &str, body: &str| {
        receive(send(&pass.base_url(upstream), path, key, body)).status
    };
    assert_eq!(of("anthropic", "/v1/messages", "kapell-guess", &body), 401);
    assert_eq!(of("anthropic", "/v1/messages", "", &body), 401);
    assert_eq!(of("elsewhere", "/v1/messages", pass.key(), &body), 404);
    assert_eq!(of("anthropic", "/v1/files", pass.key(), &body), 403);
    assert_eq!(of("anthropic", "/v1/x/../messages", pass.key(), &body), 403);
    assert_eq!(of("anthropic", "/v1/messages", pass.key(), "not json"), 400);
    rig.proxy.dismiss(key(1));
    assert_eq!(of("anthropic", "/v1/messages", pass.key(), &body), 401);
    assert!(mock.counts().is_empty());
}

#[test]
fn what_might_cost_too_much_is_refused_and_clients_are_told_not_to_try_again() {
    let mock = mock();
    let rig = Rig::new(&mock.url());
    let refused = |allowance: Allowance, way: &Way, prompt: &str| {
        let pass = rig.admit(1, allowance);
        let reply = ask(&pass, way, prompt, true);
        assert_eq!(reply.status, 402, "{}", reply.text);
        assert!(reply.text.contains("x-should-retry: false"), "{}", reply.text);
        let Seen::Refused { why, more_helps } = rig.booked() else { panic!() };
        // What an attempt has set aside for itself does not grow with the budget of the run.
        assert!(!more_helps);
        why
    };
    // A hundred tokens may be written, at 15 millionths each; so much has to be left at least.
    let usd = Allowance { usd_micros: Some(1_499), ..Allowance::default() };
    assert!(refused(usd, &WAYS[0], "mock:x").contains("$0.0014 left"));
    let few = Allowance { tokens: Some(99), ..Allowance::default() };
    assert!(refused(few, &WAYS[2], "mock:x").contains("99 tokens left"));
    let none = Allowance { requests: Some(0), ..Allowance::default() };
    assert!(refused(none, &WAYS[1], "mock:x").contains("0 requests"));
    let plenty = Allowance { usd_micros: Some(1_000_000_000), ..Allowance::default() };
    let unknown = Way {
        body: |prompt, streams| {
            let mut body = (WAYS[0].body)(prompt, streams);
            body["model"] = "unknown".into();
            body
        },
        ..WAYS[0]
    };
    assert!(refused(plenty, &unknown, "mock:x").contains("price of `unknown`"));
    let searches = Way {
        body: |prompt, streams| {
            let mut body = (WAYS[0].body)(prompt, streams);
            body["tools"] = serde_json::json!([{"type": "web_search_20250305"}]);
            body
        },
        ..WAYS[0]
    };
    assert!(refused(plenty, &searches, "mock:x").contains("web_search"));
    assert!(mock.counts().is_empty());
}

#[test]
fn a_client_that_sets_no_limit_gets_the_one_that_fits() {
    let provider = ByHand::new();
    let rig = Rig::new(&provider.url());
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let usd_micros = 3 * (body.len() as u64 + 4_000) + 15 * 1_000;
    let pass = rig.admit(1, Allowance { usd_micros: Some(usd_micros), ..Allowance::default() });
    let client = send(&pass.base_url("openai"), "/chat/completions", pass.key(), body);
    let (_, sent, stream) = provider.take();
    let sent: serde_json::Value = serde_json::from_str(&sent).unwrap();
    let limit = sent["max_tokens"].as_u64().unwrap();
    assert!((1_000..2_000).contains(&limit), "{limit}");
    assert_eq!(sent["stream_options"]["include_usage"], true);
    drop(stream);
    // The provider hung up before the stream began: nothing is booked.
    assert_eq!(receive(client).status, 502);
    assert_eq!(rig.proxy.spent(key(1)).unwrap().usd_micros, 0);
}

#[test]
fn a_request_waits_for_what_others_of_its_run_hold_and_is_refused_only_if_all_of_it_is_too_little() {
    let provider = ByHand::new();
    let rig = Rig::new(&provider.url());
    let body = |max: u64| {
        let messages = r#"[{"role":"user","content":"hi"}]"#;
        format!(r#"{{"model":"m","max_tokens":{max},"stream":true,"messages":{messages}}}"#)
    };
    // One such request fits, with a little over; two do not.
    let usd_micros = 3 * (body(1_000).len() as u64 + 2_048) + 15 * 1_500;
    let allowance = Allowance { usd_micros: Some(usd_micros), is_shared: true, ..Allowance::default() };
    let (one, two) = (rig.admit(1, allowance), rig.admit(2, allowance));
    let ask = |pass: &Pass, max| send(&pass.base_url("anthropic"), "/v1/messages", pass.key(), &body(max));
    let first = ask(&one, 1_000);
    let (_, _, stream) = provider.take();
    let second = ask(&two, 1_000);
    // More than there ever was: it is told so at once, and that the run needs more.
    assert_eq!(receive(ask(&two, 2_000)).status, 402);
    let Seen::Refused { why, more_helps } = rig.booked() else { panic!() };
    assert!(more_helps && why.contains("this run"), "{why}");
    // The first one comes to nothing: what it held is there for the second one.
    drop(stream);
    assert_eq!(receive(first).status, 502);
    let (_, sent, stream) = provider.take();
    assert!(sent.contains("1000"), "{sent}");
    drop(stream);
    assert_eq!(receive(second).status, 502);
}

#[test]
fn attempts_that_share_a_budget_get_equal_parts_of_it_where_they_set_no_limit() {
    let provider = ByHand::new();
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    for (sharers, tokens, expected) in [
        (1, 30_000, 29_000..=31_000),
        (3, 30_000, 9_000..=11_000),
        // A reply that is cut short is worth nothing: so much each may have, if it is there.
        (3, 6_000, 4_096..=4_096),
        // The rest of what is there, less what the request itself may cost.
        (3, 2_000, 1_800..=2_000),
    ] {
        let rig = Rig::new(&provider.url());
        let usd_micros = 3 * (body.len() as u64 + 2_048) + 15 * tokens;
        let allowance = Allowance { usd_micros: Some(usd_micros), is_shared: true, ..Allowance::default() };
        let passes: Vec<_> = (1..=sharers).map(|task| rig.admit(task, allowance)).collect();
        let client = send(&passes[0].base_url("openai"), "/chat/completions", passes[0].key(), body);
        let (_, sent, stream) = provider.take();
        drop(stream);
        assert_eq!(receive(client).status, 502);
        let sent: serde_json::Value = serde_json::from_str(&sent).unwrap();
        let limit = sent["max_tokens"].as_u64().unwrap();
        assert!(expected.contains(&limit), "{sharers} with {tokens}: {limit}");
    }
}

#[test]
fn a_conversation_that_grows_is_not_set_aside_anew_each_time() {
    let mock = Mock::start().unwrap();
    let usage = Usage { input: 25_000, output: 10, ..Usage::default() };
    mock.play("x", Scenario::of([Turn::Say("hello".to_owned())]).costing(usage));
    let rig = Rig::new(&mock.url());
    let prompt = format!("mock:x {}", "word ".repeat(20_000));
    let worst = 3 * (prompt.len() as u64 + 3_000) + 15 * 100;
    let real = RATE.cost(tokens(usage));
    // Enough for one worst case, and then for what such a request really costs, once more.
    let pass = rig.admit(1, Allowance { usd_micros: Some(worst + real), ..Allowance::default() });
    for (turn, expected) in [(0, 200), (1, 200), (2, 200), (3, 200)] {
        let reply = ask(&pass, &WAYS[0], &format!("{prompt} {}", "again ".repeat(turn)), true);
        assert_eq!(reply.status, expected, "turn {turn}: {}", reply.text);
        rig.booked();
    }
    assert_eq!(rig.proxy.spent(key(1)).unwrap().usd_micros, 4 * real);
}

#[test]
fn a_provider_that_is_busy_is_left_alone() {
    let mock = Mock::start().unwrap();
    let pause = std::time::Duration::from_secs(600);
    mock.play("x", Scenario::of([Turn::Say("hello".to_owned())]).failing(0, 1, How::busy_for(pause)));
    let rig = Rig::new(&mock.url());
    let pass = rig.admit(1, Allowance::default());
    assert_eq!(ask(&pass, &WAYS[0], "mock:x", true).status, 429);
    assert_eq!(
        rig.booked(),
        Seen::Busy { upstream: "anthropic".to_owned(), status: 429, pause: Some(pause) }
    );
    let other = rig.admit(2, Allowance::default());
    for pass in [&pass, &other] {
        let reply = ask(pass, &WAYS[0], "mock:x", true);
        assert_eq!(reply.status, 429);
        assert!(
            reply.text.contains("retry-after: 600") || reply.text.contains("retry-after: 599"),
            "{}",
            reply.text
        );
    }
    assert_eq!(mock.count("x").requests, 1);
    // Another provider is another matter.
    assert_eq!(ask(&other, &WAYS[1], "mock:x", true).status, 200);
}

#[test]
fn no_more_requests_begin_in_a_minute_than_may() {
    let mock = mock();
    let rig = Rig::with(&mock.url(), crate::rig::flat_prices(), |config, _| {
        for upstream in config.upstreams.values_mut() {
            upstream.per_minute = Some(2);
        }
    });
    let pass = rig.admit(1, Allowance::default());
    let statuses = [0; 4].map(|_| ask(&pass, &WAYS[0], "mock:x", false).status);
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(mock.count("x").requests, 2);
}

#[test]
fn a_reply_that_breaks_off_is_booked_as_what_it_can_have_cost() {
    let mock = Mock::start().unwrap();
    mock.play("x", Scenario::of([Turn::Say("hello".to_owned())]).costing(USAGE).failing(0, 1, How::Cut));
    let rig = Rig::new(&mock.url());
    let pass = rig.admit(1, Allowance { usd_micros: Some(50_000), ..Allowance::default() });
    ask(&pass, &WAYS[0], "mock:x", true);
    let Seen::Used { total: Spent { tokens, usd_micros, estimated, .. }, .. } = rig.booked() else {
        panic!()
    };
    assert_eq!(estimated, 1);
    // What was read was stated before the break; what was written is at most what was allowed.
    assert_eq!((tokens.input, tokens.cache_read), (USAGE.input, USAGE.cache_read));
    assert!((1..=100).contains(&tokens.output) && usd_micros > 0, "{tokens:?}");
}

/// Asks for a reply of 100 tokens at most, of which a provider by hand gives what `answer` writes; `leaves` says whether the
/// client hangs up before that. Returns what is booked.
fn booked_of(leaves: bool, answer: &str) -> Spent {
    let provider = ByHand::new();
    let rig = Rig::new(&provider.url());
    let pass = rig.admit(1, Allowance { usd_micros: Some(50_000), ..Allowance::default() });
    let body = (WAYS[0].body)("hi", false).to_string();
    let client = send(&pass.base_url("anthropic"), WAYS[0].path, pass.key(), &body);
    let (_, _, mut stream) = provider.take();
    if leaves {
        drop(client);
    } else {
        stream.write_all(answer.as_bytes()).unwrap();
        drop(stream);
        receive(client);
    }
    let Seen::Used { total, .. } = rig.booked() else { panic!() };
    total
}

#[test]
fn a_request_that_has_reached_a_provider_is_booked_whatever_becomes_of_its_reply() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9000\r\n\r\n{\"id\":";
    // Whoever hangs up ends its own connection, and not what the provider does; and what is whole when it is sent was
    // written before.
    for (leaves, answer) in [(true, ""), (false, ""), (false, cut)] {
        let Spent { tokens, usd_micros, estimated, .. } = booked_of(leaves, answer);
        assert_eq!((tokens.output, estimated), (100, 1), "{leaves} {answer}");
        // It may all have been put into a cache, which costs more.
        let least = RATE.cost(Tokens { cache_write: tokens.input, output: 100, ..Tokens::default() });
        assert!(usd_micros >= least, "{usd_micros} {least}");
    }
}

#[test]
fn a_request_that_has_reached_nobody_costs_nothing() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = Rig::new(&format!("http://{nobody}"));
    let pass = rig.admit(1, Allowance { usd_micros: Some(50_000), ..Allowance::default() });
    assert_eq!(ask(&pass, &WAYS[0], "hi", true).status, 502);
    let spent = rig.proxy.dismiss(key(1)).unwrap();
    assert_eq!((spent.tokens, spent.usd_micros, spent.estimated), (Tokens::default(), 0, 0));
}

#[test]
fn the_socket_leads_to_the_same_place() {
    let mock = mock();
    let rig = Rig::new(&mock.url());
    let pass = rig.admit(1, Allowance::default());
    let door = rig.proxy.door();
    assert_eq!(pass.base_url("anthropic"), format!("http://127.0.0.1:{}/anthropic", door.port));
    let mut stream = UnixStream::connect(&door.socket).unwrap();
    let body = (WAYS[0].body)("mock:x", true).to_string();
    write!(
        stream,
        "POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        pass.key(),
        body.len()
    )
    .unwrap();
    let reply = receive(stream);
    assert!(reply.status == 200 && reply.text.contains("message_stop"), "{}", reply.text);
    let socket = door.socket.clone();
    drop(rig);
    assert!(!socket.exists());
}

/// Begins a request whose body of so many MiB is sent only when it is asked for.
fn begin(pass: &Pass, mib: usize) -> TcpStream {
    let base = pass.base_url("anthropic");
    let (address, name) = base.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST /{name}/v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        pass.key(),
        mib << 20
    )
    .unwrap();
    stream
}

fn is_asked_for(stream: &mut TcpStream) {
    let mut line = [0; 12];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(line, *b"HTTP/1.1 100");
}

#[test]
fn an_attempt_waits_for_memory_of_its_own_and_not_for_that_of_others() {
    let mock = mock();
    let rig = Rig::new(&mock.url());
    let (greedy, other) = (rig.admit(1, Allowance::default()), rig.admit(2, Allowance::default()));
    let mut held: Vec<_> = (0..2).map(|_| begin(&greedy, 63)).collect();
    held.iter_mut().for_each(is_asked_for);
    let mut third = begin(&greedy, 8);
    assert_eq!(ask(&other, &WAYS[0], "mock:x", false).status, 200);
    third.set_nonblocking(true).unwrap();
    assert!(third.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    third.set_nonblocking(false).unwrap();
    drop(held);
    is_asked_for(&mut third);
}
