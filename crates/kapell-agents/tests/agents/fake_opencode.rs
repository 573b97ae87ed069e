//! opencode as it was recorded: `opencode acp`, and the server of its own beside that.
//!
//! A stream holds what it said over the protocol, by lines, and behind a mark its messages as its server tells them. Our
//! requests are numbered from 1, and each answer of the recording bears the number of what it answers.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;

/// Plays a stream until the input ends.
pub(crate) fn play(stream: &str, args: &[&str], input: impl BufRead, mut out: impl Write) -> Option<()> {
    let text = fs::read_to_string(stream).ok()?;
    let (said, messages) = text.split_once("=== aside\n")?;
    let port = args.iter().skip_while(|word| **word != "--port").nth(1)?;
    let begun = Arc::new(AtomicBool::new(false));
    serve(port.parse().ok()?, messages.trim().to_owned(), begun.clone())?;
    let mut said = said.lines();
    for line in input.lines() {
        let request: Value = serde_json::from_str(&line.ok()?).ok()?;
        if request["method"] == "session/cancel" {
            // Nobody was cancelled when it was recorded.
            writeln!(out, r#"{{"id":3,"result":{{"stopReason":"cancelled"}}}}"#).ok()?;
            out.flush().ok()?;
        }
        let (Some(_), Some(number)) = (request["method"].as_str(), request["id"].as_u64()) else { continue };
        begun.fetch_or(request["method"] == "session/prompt", Ordering::SeqCst);
        for line in said.by_ref() {
            writeln!(out, "{line}").ok()?;
            out.flush().ok()?;
            let value: Value = serde_json::from_str(line).ok()?;
            if value["id"] == number && value["method"].is_null() {
                break;
            }
        }
    }
    Some(())
}

/// Tells the messages to whoever knows the password; none before it is asked anything.
fn serve(port: u16, messages: String, begun: Arc<AtomicBool>) -> Option<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).ok()?;
    let is_secret = std::env::var("OPENCODE_SERVER_PASSWORD").is_ok_and(|password| password.len() == 32);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (messages, begun) = (messages.clone(), begun.clone());
            std::thread::spawn(move || answer(stream, is_secret, &messages, &begun));
        }
    });
    Some(())
}

fn answer(stream: TcpStream, is_secret: bool, messages: &str, begun: &AtomicBool) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(first) = lines.next() {
        let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let is_known =
            headers.iter().any(|header| header.to_ascii_lowercase().starts_with("authorization: basic "));
        let is_told = first.contains("/message") && begun.load(Ordering::SeqCst);
        let body = if is_told { messages } else { "[]" };
        let status = if is_secret && is_known { "200 OK" } else { "401 Unauthorized" };
        write!(out, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()?;
    }
    Some(())
}
