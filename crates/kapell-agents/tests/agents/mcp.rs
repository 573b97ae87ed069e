//! Tools of MCP servers, called as tasks.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    time::Duration,
};

use kapell_agents::{
    drivers::{
        Report,
        mcp::{Reach, Server},
    },
    protocol::AttemptKey,
};

use crate::{
    fake_mcp,
    rig::{HELPER, Rig, class, key},
};

fn program() -> Server {
    Server {
        reach: Reach::Program(vec![HELPER.to_owned(), "mcp-server".to_owned()]),
        env: vec![("MINE".into(), "mine".into())],
        headers: Default::default(),
        timeout: None,
    }
}

/// Begins a call.
fn begin(rig: &Rig, number: u32, server: &Server, tool: &str, arguments: &str) -> AttemptKey {
    let key = key(number);
    let mut job = rig.job(key, "");
    job.work = server.work(HELPER.as_ref(), &job.dir, tool, arguments, &mut job.env).unwrap();
    rig.crew.start(key, job).unwrap();
    key
}

#[test]
fn what_a_tool_gives_becomes_outputs_and_its_progress_is_told() {
    let rig = Rig::new();
    let key = begin(&rig, 1, &program(), "add", r#"{"a":2,"b":3}"#);
    let mut progress = Vec::new();
    let exit = loop {
        match rig.next(key) {
            Report::Progress { fraction, text } => progress.push((fraction, text)),
            Report::Finished(exit) => break *exit,
            _ => {}
        }
    };
    assert_eq!(class(&exit), "ok", "{}", exit.message);
    assert_eq!((exit.outputs["sum"].as_str(), exit.outputs["text"].as_str()), ("5", "added"));
    assert_eq!(progress, [(0.25, "a quarter".to_owned())]);
}

#[test]
fn every_end_of_a_call_is_taken_for_what_it_is() {
    let rig = Rig::new();
    let hurried = Server { timeout: Some(Duration::from_millis(1500)), ..program() };
    let nowhere = Server { reach: Reach::Program(vec!["/no/such/server".to_owned()]), ..program() };
    let mute = Server { reach: Reach::Program(vec!["/bin/false".to_owned()]), ..program() };
    for (number, (server, tool, expected, words)) in (0..).zip([
        (&program(), "fail", "rate limited", "too many"),
        (&program(), "broken", "transient", "a fuse has blown"),
        (&program(), "fly", "permanent", "there is no tool fly"),
        (&program(), "die", "transient", ""),
        (&hurried, "hang", "timeout", "gave no answer within 1.5 s"),
        (&nowhere, "add", "permanent", "cannot be started"),
        (&mute, "add", "transient", "cannot be spoken to"),
    ]) {
        let exit = rig.finished(begin(&rig, number, server, tool, "{}"));
        assert_eq!(class(&exit), expected, "{tool}: {}", exit.message);
        assert!(exit.message.contains(words), "{tool}: {}", exit.message);
    }
}

#[test]
fn a_server_cannot_speak_for_the_task() {
    let rig = Rig::new();
    let exit = rig.finished(begin(&rig, 1, &program(), "env", "{}"));
    assert_eq!(exit.outputs["text"], "[] mine");
}

/// Serves `count` requests over HTTP, one on each connection; returns what their headers said of a right to speak.
fn serve(listener: &TcpListener, count: usize) -> Vec<String> {
    let mut rights = Vec::new();
    for stream in listener.incoming().take(count) {
        let mut stream = stream.unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut length, mut right) = (0, String::new());
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let lower = line.trim().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if lower.starts_with("authorization:") {
                right = line.trim()["authorization:".len()..].trim().to_owned();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        rights.push(right);
        let answer = serde_json::from_slice(&body).ok().and_then(|request| fake_mcp::answer(&request));
        let reply = match answer.map(|answer| answer.to_string()) {
            Some(text) => format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            ),
            None => "HTTP/1.1 202 Accepted\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        stream.write_all(reply.as_bytes()).unwrap();
    }
    rights
}

#[test]
fn a_server_behind_http_gets_its_headers_which_are_written_down_nowhere() {
    let rig = Rig::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let server = Server {
        reach: Reach::Url(format!("http://{}/mcp", listener.local_addr().unwrap())),
        headers: [("authorization".to_owned(), "Bearer canary-51".to_owned())].into(),
        ..program()
    };
    // To discover, to initialize, that it is initialized, the call.
    let served = std::thread::spawn(move || serve(&listener, 4));
    let key = begin(&rig, 1, &server, "add", r#"{"a":2,"b":3}"#);
    let exit = rig.finished(key);
    assert_eq!(class(&exit), "ok", "{}", exit.message);
    assert_eq!(exit.outputs["sum"], "5");
    assert_eq!(served.join().unwrap(), ["Bearer canary-51"; 4]);
    for entry in std::fs::read_dir(rig.attempt_dir(key)).unwrap().flatten() {
        let text = std::fs::read(entry.path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("canary-51"), "{}", entry.path().display());
    }
}
