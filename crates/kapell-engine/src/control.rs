//! The owner's socket: commands from other terminals reach the process that executes a run.
//!
//! One JSON line asks, one JSON line answers. The socket can be opened by its user only. Each client has a thread of
//! its own, so that one that says nothing keeps no other waiting.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use kapell_core::{command::Command, id::RunId, journal::Actor};
use serde::{Deserialize, Serialize};

use crate::{
    host::{Input, Mailbox},
    socket::{self, Seats},
};

/// The longest request or answer, in bytes.
const LINE_MAX: usize = 1 << 20;

/// The most clients that are served at a time; one more is told to come again.
const CLIENTS_MAX: usize = 32;

/// How long to wait when the system cannot give another connection, as when all file numbers are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take to send its request, and how long the run may take to decide.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client waits for the answer: longer than the run may take, so that what the owner says of it arrives.
const ANSWER_PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    run: RunId,
    by: String,
    command: Command,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done,
    Refused(String),
}

/// Why a command did not reach a run, or was refused there.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The owner cannot be reached.
    #[error("the process that executes the run does not answer: {0}")]
    Io(#[from] io::Error),
    /// What came back is no answer.
    #[error("the process that executes the run does not speak this protocol: {0}")]
    Protocol(String),
    /// The command was refused.
    #[error("{0}")]
    Refused(String),
}

/// A socket that is being listened on. Dropping it removes the socket.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    closed: Arc<AtomicBool>,
}

impl Control {
    /// Listens on `path` and hands commands on to a host.
    ///
    /// # Errors
    ///
    /// Fails if the socket or its thread cannot be made.
    pub fn listen(path: &Path, mailbox: Mailbox) -> io::Result<Self> {
        let listener = socket::listen(path)?;
        let control = Self { path: path.to_owned(), closed: Arc::default() };
        let closed = control.closed.clone();
        std::thread::Builder::new()
            .name("kapell-control".to_owned())
            .spawn(move || accept_all(&listener, &mailbox, &closed))?;
        Ok(control)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // So that the thread sees it; one that cannot be woken ends with the process.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
    }
}

fn accept_all(listener: &UnixListener, mailbox: &Mailbox, closed: &AtomicBool) {
    let seats = Seats::new(CLIENTS_MAX);
    for stream in listener.incoming() {
        if closed.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else {
            std::thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let Some(seat) = seats.take() else {
            let _ = write_line(&stream, &Answer::Refused("too many ask at a time: ask again".to_owned()));
            continue;
        };
        let mailbox = mailbox.clone();
        // Without a thread the client sees that nobody answers; one that goes away has no use for the reason.
        let _ = std::thread::Builder::new().name("kapell-client".to_owned()).spawn(move || {
            let _ = serve(&stream, &mailbox);
            drop(seat);
        });
    }
}

/// Reads one line, which must come within `patience` altogether.
fn read_line(mut stream: &UnixStream, patience: Duration) -> io::Result<Vec<u8>> {
    let end = Instant::now() + patience;
    let late =
        || io::Error::new(io::ErrorKind::TimedOut, "no answer in time; what was asked may still be done");
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        stream.set_read_timeout(Some(left))?;
        let len = match stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // How a socket says that its time is up.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(late()),
            read => read?,
        };
        let newline = chunk[..len].iter().position(|&byte| byte == b'\n');
        line.extend_from_slice(&chunk[..newline.unwrap_or(len)]);
        if newline.is_some() || len == 0 {
            return Ok(line);
        }
        if line.len() > LINE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, too_long()));
        }
    }
}

fn too_long() -> String {
    format!("a message is longer than {LINE_MAX} bytes")
}

fn write_line(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
    if line.len() > LINE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, too_long()));
    }
    line.push(b'\n');
    stream.write_all(&line)
}

fn serve(stream: &UnixStream, mailbox: &Mailbox) -> io::Result<()> {
    let line = match read_line(stream, PATIENCE) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return write_line(stream, &Answer::Refused(error.to_string()));
        }
        line => line?,
    };
    let answer = match serde_json::from_slice::<Request>(&line) {
        Ok(request) if is_for_people(&request.command) => ask(request, mailbox),
        Ok(request) => Answer::Refused(format!("`{}` is not taken from outside", request.command.name())),
        Err(error) => Answer::Refused(format!("not a request: {error}")),
    };
    write_line(stream, &answer)
}

/// Results of the world come from the world; what is left is what a person can wish.
fn is_for_people(command: &Command) -> bool {
    matches!(
        command,
        Command::Answer { .. }
            | Command::UndoAnswer { .. }
            | Command::Pause
            | Command::Resume { .. }
            | Command::Cancel
            | Command::Revise { .. }
            | Command::BeginMerge { .. }
            | Command::UndoMerge { .. }
    )
}

fn ask(request: Request, mailbox: &Mailbox) -> Answer {
    let (sender, receiver) = mpsc::channel();
    let reply = Box::new(move |result: Result<(), crate::Refusal>| {
        let _ = sender.send(result.map_err(|refusal| refusal.to_string()));
    });
    let Request { run, by, command } = request;
    mailbox.send(Input::Command { run, actor: Actor::Person(by), command, reply: Some(reply) });
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(())) => Answer::Done,
        Ok(Err(why)) => Answer::Refused(why),
        Err(RecvTimeoutError::Timeout) => {
            Answer::Refused("its process did not decide in time; it may do so yet".to_owned())
        }
        Err(RecvTimeoutError::Disconnected) => {
            Answer::Refused("the process that executes the run is going away".to_owned())
        }
    }
}

/// Puts a command to a run through the socket of its owner, and returns once its decision is durable.
///
/// # Errors
///
/// Fails if the owner cannot be reached or refuses.
pub fn send(socket: &Path, run: RunId, by: &str, command: Command) -> Result<(), ControlError> {
    let stream = UnixStream::connect(socket)?;
    write_line(&stream, &Request { run, by: by.to_owned(), command })?;
    match serde_json::from_slice(&read_line(&stream, ANSWER_PATIENCE)?) {
        Ok(Answer::Done) => Ok(()),
        Ok(Answer::Refused(why)) => Err(ControlError::Refused(why)),
        Err(error) => Err(ControlError::Protocol(error.to_string())),
    }
}
