//! Lines of JSON-RPC, to the agent and from it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        mpsc::{Receiver, Sender},
    },
    thread,
};

use serde_json::{Value, json};

use super::{aside::Plan, v1::Wish};

/// A longer line is none of the protocol.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// As much may wait to be dealt with, in bytes of lines; then the agent is not listened to until some of it is. An agent
/// that sends on while it does not read what it is answered would fill the memory otherwise.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// JSON-RPC's code for a method that is not there.
const NO_SUCH_METHOD: i32 = -32601;

/// Something that the driver has to deal with.
#[derive(Debug)]
pub(super) enum Input {
    /// The agent sends something, which takes its share of what may wait to be dealt with.
    Message(Message, #[expect(dead_code, reason = "what counts is when it is dropped")] Share),
    /// The agent has gone.
    Gone,
    /// kapell has a word for it while it works.
    More(String),
    /// kapell asks to come to an end.
    Stop,
    /// A person has answered whether the agent may.
    Answered { id: Value, wish: Wish, answer: Result<String, String> },
}

/// What an agent sends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    /// The answer to a request of ours.
    Answer { id: u64, result: Result<Value, Value> },
    /// A request, which wants an answer.
    Request { id: Value, method: String, params: Value },
    /// Something that wants none.
    Notice { method: String, params: Value },
}

impl Message {
    fn of(value: Value) -> Option<Self> {
        let Value::Object(mut fields) = value else { return None };
        let id = fields.remove("id");
        let params = fields.remove("params").unwrap_or_default();
        match (fields.remove("method"), id) {
            (Some(Value::String(method)), None | Some(Value::Null)) => Some(Self::Notice { method, params }),
            (Some(Value::String(method)), Some(id)) => Some(Self::Request { id, method, params }),
            (None, Some(id)) => {
                let result = match fields.remove("error") {
                    Some(error) if !error.is_null() => Err(error),
                    _ => Ok(fields.remove("result").unwrap_or_default()),
                };
                Some(Self::Answer { id: id.as_u64()?, result })
            }
            _ => None,
        }
    }
}

/// How much waits to be dealt with.
#[derive(Debug)]
struct Gauge {
    most: usize,
    held: Mutex<usize>,
    freed: Condvar,
}

/// What a message takes of that, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    gauge: Arc<Gauge>,
    bytes: usize,
}

impl Gauge {
    fn new(most: usize) -> Self {
        Self { most, held: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until there is room. What is larger than all of it has it alone.
    fn share(self: &Arc<Self>, bytes: usize) -> Share {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |held: &mut usize| *held > 0 && *held + bytes > self.most;
        let mut held = self.freed.wait_while(held, is_full).unwrap_or_else(PoisonError::into_inner);
        *held += bytes;
        Share { gauge: self.clone(), bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.gauge.held.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.gauge.freed.notify_one();
    }
}

/// Hands on what the agent sends, until it has gone or nobody wants to hear it.
fn listen(output: impl Read, gauge: &Arc<Gauge>, sender: &Sender<Input>) {
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    while let Ok(1..) = Read::take(&mut lines, LINE_BYTES_MAX).read_until(b'\n', &mut line) {
        // Some print other things, too: what is no message is passed over.
        let message = serde_json::from_slice(&line).ok().and_then(Message::of);
        let bytes = std::mem::take(&mut line).len();
        let input = message.map(|message| Input::Message(message, gauge.share(bytes)));
        if input.is_some_and(|input| sender.send(input).is_err()) {
            return;
        }
    }
    let _ = sender.send(Input::Gone);
}

/// The agent, as a process.
pub(super) struct Agent {
    child: Child,
    input: Option<ChildStdin>,
    next: u64,
    pub(super) inputs: Receiver<Input>,
}

impl Agent {
    /// Starts it. What it sends comes by `inputs`, where others put theirs in too; its errors go where ours go.
    pub(super) fn start(
        argv: &[String],
        plan: Option<&Plan>,
        sender: Sender<Input>,
        inputs: Receiver<Input>,
    ) -> io::Result<Self> {
        let [program, args @ ..] = argv else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(plan) = plan {
            let (name, value) = plan.variable();
            command.args(plan.args()).env(name, value);
        }
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        if let Some(output) = child.stdout.take() {
            let gauge = Arc::new(Gauge::new(WAITING_BYTES_MAX));
            thread::Builder::new().name("agent".to_owned()).spawn(move || listen(output, &gauge, &sender))?;
        }
        Ok(Self { child, input, next: 0, inputs })
    }

    fn send(&mut self, message: &Value) {
        // Whoever has gone says so by the end of what it sends.
        if let Some(input) = &mut self.input {
            let _ = input.write_all(format!("{message}\n").as_bytes()).and_then(|()| input.flush());
        }
    }

    /// Asks for something; the answer names the number that this returns.
    pub(super) fn request(&mut self, method: &str, params: &Value) -> u64 {
        self.next += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }));
        self.next
    }

    pub(super) fn notify(&mut self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    pub(super) fn answer(&mut self, id: &Value, result: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    }

    /// Refuses what is not offered.
    pub(super) fn refuse(&mut self, id: &Value, method: &str) {
        let error = json!({ "code": NO_SUCH_METHOD, "message": format!("`{method}` is not there") });
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "error": error }));
    }

    /// Lets it go: its input ends, and it has until the next `Gone` to put things in order. Returns how it ended, if it
    /// has.
    pub(super) fn dismiss(&mut self, patience: std::time::Duration) -> Option<std::process::ExitStatus> {
        self.input = None;
        let until = std::time::Instant::now() + patience;
        while let Ok(input) =
            self.inputs.recv_timeout(until.saturating_duration_since(std::time::Instant::now()))
        {
            if matches!(input, Input::Gone) {
                break;
            }
        }
        // What is left of it the supervisor ends.
        self.child.try_wait().ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, sync::mpsc, time::Duration};

    use super::*;

    #[test]
    fn an_agent_that_sends_on_is_not_listened_to_while_much_waits() {
        let (mut agent, ours) = UnixStream::pair().unwrap();
        let (sender, inputs) = mpsc::channel();
        let gauge = Arc::new(Gauge::new(1 << 10));
        let listening = thread::spawn(move || listen(ours, &gauge, &sender));
        let line = format!("{{\"method\":\"{}\"}}\n", "m".repeat(200)).repeat(20_000);
        agent.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let stuck = agent.write_all(line.as_bytes()).unwrap_err();
        assert!(matches!(stuck.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{stuck}");
        // What is larger than the room is heard, too, and so is the end.
        drop(agent);
        let heard = inputs.iter().filter(|input| matches!(input, Input::Message(..))).count();
        assert!(heard > 5, "{heard}");
        listening.join().unwrap();
    }

    #[test]
    fn messages_are_told_apart() {
        for (text, expected) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"a":1}}"#,
                Some("Answer { id: 1, result: Ok(Object {\"a\": Number(1)}) }"),
            ),
            (
                r#"{"id":1,"error":{"code":-1}}"#,
                Some("Answer { id: 1, result: Err(Object {\"code\": Number(-1)}) }"),
            ),
            (r#"{"id":1,"result":null,"error":null}"#, Some("Answer { id: 1, result: Ok(Null) }")),
            (
                r#"{"id":"x","method":"m","params":1}"#,
                Some(r#"Request { id: String("x"), method: "m", params: Number(1) }"#),
            ),
            (r#"{"method":"m"}"#, Some(r#"Notice { method: "m", params: Null }"#)),
            (r#"{"id":"theirs","result":1}"#, None),
            ("[]", None),
            ("{}", None),
        ] {
            let found =
                Message::of(serde_json::from_str(text).unwrap()).map(|message| format!("{message:?}"));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
