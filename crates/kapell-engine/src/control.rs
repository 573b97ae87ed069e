//! The owner's socket: commands from other terminals reach the process that executes a run.
//!
//! One JSON line asks, one JSON line answers. The socket can be opened by its user only.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use kapell_core::{command::Command, id::RunId, journal::Actor};
use serde::{Deserialize, Serialize};

use crate::host::{Input, Mailbox};

/// The longest request or answer, in bytes.
const LINE_MAX: u64 = 1 << 20;

/// How long a client may take to send its request, and how long the answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

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
    #[error("the process that executes the run cannot be reached: {0}")]
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
}

impl Control {
    /// Listens on `path` and hands commands on to a host.
    ///
    /// # Errors
    ///
    /// Fails if the socket or its thread cannot be made.
    pub fn listen(path: &Path, mailbox: Mailbox) -> io::Result<Self> {
        // A process of the same number that is gone may have left its socket.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        std::thread::Builder::new().name("kapell-control".to_owned()).spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A client that goes away has no use for the reason.
                let _ = serve(&stream, &mailbox);
            }
        })?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn read_line(stream: &UnixStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_MAX)).read_line(&mut line)?;
    Ok(line)
}

fn write_line(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn serve(stream: &UnixStream, mailbox: &Mailbox) -> io::Result<()> {
    let answer = match serde_json::from_str::<Request>(&read_line(stream)?) {
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
        Err(_) => Answer::Refused("the run did not answer in time".to_owned()),
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
    match serde_json::from_str(&read_line(&stream)?) {
        Ok(Answer::Done) => Ok(()),
        Ok(Answer::Refused(why)) => Err(ControlError::Refused(why)),
        Err(error) => Err(ControlError::Protocol(error.to_string())),
    }
}
