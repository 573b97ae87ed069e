//! kapell's end of the socket, for all attempts together.
//!
//! It never blocks: whoever owns it polls its files and lets it step. Whatever an agent does, the memory held
//! for it is bounded, and it is only let in with the token of an attempt that runs.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::BorrowedFd,
        unix::{
            fs::OpenOptionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use super::{
    AttemptKey, brief,
    brief::Brief,
    message::{Reply, Request, Wish},
    outputs,
};

use crate::lock::lock;

/// The kernel takes no longer path (`sun_path`, unix(7)), less the zero byte at its end.
const PATH_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// A request is at most this long, in bytes: a value of 1 MiB, escaped.
const REQUEST_BYTES_MAX: usize = 3 << 20;
/// All requests that are not complete yet are together at most this long, in bytes.
const PENDING_BYTES_MAX: usize = 16 << 20;
/// At most so many connections are served at once; further ones wait in the kernel.
const CONNECTIONS_MAX: usize = 256;
/// A request must be complete, and its reply taken, within this time.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// An attempt may say so much that is kept: each becomes an event.
const SAYINGS_MAX: u32 = 1000;
/// An attempt may wait for so many answers at once.
const QUESTIONS_OPEN_MAX: usize = 8;
/// Progress is passed on at most this often.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The path is too long for the kernel.
    #[error("the path of the socket is longer than {PATH_BYTES_MAX} bytes: {}", .0.display())]
    PathTooLong(PathBuf),
    /// It cannot be made.
    #[error("the socket {} cannot be made: {source}", path.display())]
    Bind {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ServerError {
    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::PathTooLong(_) => "set XDG_RUNTIME_DIR or TMPDIR to a directory with a short path",
            Self::Bind { .. } => "check that the directory is there and yours",
        }
    }
}

/// What an attempt says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Progress { fraction: f64, text: String },
    Note { text: String },
    HandOff { to: Option<String>, note: String },
    Question { question: u32, text: String, choices: Vec<String> },
}

/// An attempt that is let in.
#[derive(Debug)]
struct Guest {
    key: AttemptKey,
    outputs: PathBuf,
    brief: Arc<Brief>,
    sayings: u32,
    questions: u32,
    progress: Option<Instant>,
}

/// A connection.
struct Connection {
    stream: UnixStream,
    state: State,
    since: Instant,
}

enum State {
    /// The request so far.
    Reads(Vec<u8>),
    /// A person is asked.
    Waits { key: AttemptKey, question: u32 },
    /// What is left of the reply.
    Writes(Vec<u8>),
}

/// The socket, and all that are connected to it.
pub(crate) struct Server {
    listener: UnixListener,
    guests: Guests,
    connections: Vec<Connection>,
}

impl Server {
    /// Makes the socket at `path`, whose directory only its owner should be able to enter.
    pub(crate) fn bind(path: &Path) -> Result<Self, ServerError> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(ServerError::PathTooLong(path.to_owned()));
        }
        let bound = || {
            let listener = kapell_engine::socket::listen(path)?;
            listener.set_nonblocking(true)?;
            let mut secret = [0; 32];
            fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
            Ok((listener, secret))
        };
        let (listener, secret) =
            bound().map_err(|source| ServerError::Bind { path: path.to_owned(), source })?;
        let guests = Guests { path: path.to_owned(), secret, known: Arc::default() };
        Ok(Self { listener, guests, connections: Vec::new() })
    }

    /// Returns the list of those who are let in, for whoever starts attempts.
    pub(crate) fn guests(&self) -> Guests {
        self.guests.clone()
    }

    /// Lets an attempt in no more, and hangs up on it.
    pub(crate) fn dismiss(&mut self, key: AttemptKey) {
        self.guests.remove(key);
        self.connections
            .retain(|connection| !matches!(connection.state, State::Waits { key: of, .. } if of == key));
    }

    /// Tells whether an attempt waits for the answer to a question of its own.
    pub(crate) fn waits(&self, key: AttemptKey) -> bool {
        self.connections
            .iter()
            .any(|connection| matches!(connection.state, State::Waits { key: of, .. } if of == key))
    }

    /// Returns the files to poll: those to read from, and those to write to.
    pub(crate) fn files(&self) -> (Vec<BorrowedFd<'_>>, Vec<BorrowedFd<'_>>) {
        use std::os::fd::AsFd;
        let writes = |connection: &&Connection| matches!(connection.state, State::Writes(_));
        let mut read: Vec<_> =
            (self.connections.len() < CONNECTIONS_MAX).then(|| self.listener.as_fd()).into_iter().collect();
        read.extend(self.connections.iter().filter(|one| !writes(one)).map(|one| one.stream.as_fd()));
        let write = self.connections.iter().filter(writes).map(|one| one.stream.as_fd()).collect();
        (read, write)
    }

    /// Returns when it must step although nothing happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        let hurried = |one: &&Connection| !matches!(one.state, State::Waits { .. });
        self.connections.iter().filter(hurried).map(|one| one.since + REQUEST_PATIENCE).min()
    }

    /// Does what can be done now; returns what was said, in order.
    pub(crate) fn step(&mut self) -> Vec<(AttemptKey, Said)> {
        self.accept();
        let mut said = Vec::new();
        let mut pending = PENDING_BYTES_MAX;
        for mut connection in std::mem::take(&mut self.connections) {
            let goes_on = self.step_one(&mut connection, &mut said);
            let held = if let State::Reads(bytes) = &connection.state { bytes.len() } else { 0 };
            if goes_on && held <= pending {
                pending -= held;
                self.connections.push(connection);
            }
        }
        said
    }

    fn accept(&mut self) {
        while self.connections.len() < CONNECTIONS_MAX {
            // One error is like another: a connection that is not there.
            let Ok((stream, _)) = self.listener.accept() else { return };
            if stream.set_nonblocking(true).is_ok() && is_own(&stream) {
                let state = State::Reads(Vec::new());
                self.connections.push(Connection { stream, state, since: Instant::now() });
            }
        }
    }

    /// Steps one connection; says whether it goes on.
    fn step_one(&mut self, connection: &mut Connection, said: &mut Vec<(AttemptKey, Said)>) -> bool {
        match &mut connection.state {
            State::Reads(bytes) => {
                let more = read_some(&mut connection.stream, bytes);
                if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
                    let line = bytes[..end].to_vec();
                    connection.state = match self.hear(&line, said) {
                        Ok(state) => state,
                        Err(why) => write_reply(&Reply::Refused { why }),
                    };
                    connection.since = Instant::now();
                    return self.step_one(connection, said);
                }
                if bytes.len() > REQUEST_BYTES_MAX {
                    let why = format!("the request is longer than {REQUEST_BYTES_MAX} bytes");
                    connection.state = write_reply(&Reply::Refused { why });
                    return self.step_one(connection, said);
                }
                more && connection.since.elapsed() < REQUEST_PATIENCE
            }
            // It has nothing more to say: what can be read is its end.
            State::Waits { .. } => {
                let mut byte = [0];
                matches!(connection.stream.read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            State::Writes(bytes) => {
                write_some(&mut connection.stream, bytes)
                    && !bytes.is_empty()
                    && connection.since.elapsed() < REQUEST_PATIENCE
            }
        }
    }

    /// Takes a request; says how its connection goes on.
    fn hear(&self, line: &[u8], said: &mut Vec<(AttemptKey, Said)>) -> Result<State, String> {
        let text = std::str::from_utf8(line).map_err(|_| "the request is not UTF-8".to_owned())?;
        let request: Request =
            serde_json::from_str(text).map_err(|error| format!("the request is not one: {error}"))?;
        // Who has no token learns nothing about which attempts there are.
        let known = self.guests.token(&request.attempt);
        let given = blake3::Hash::from_hex(&request.token);
        if !given.is_ok_and(|given| given == known) {
            return Err("the token is not the attempt's".to_owned());
        }
        request.wish.check()?;
        let mut guests = self.guests.lock();
        let guest = guests.get_mut(&request.attempt).ok_or("the attempt is over")?;
        let waiting = |one: &&Connection| matches!(one.state, State::Waits { key, .. } if key == guest.key);
        if matches!(request.wish, Wish::Ask { .. })
            && self.connections.iter().filter(waiting).count() >= QUESTIONS_OPEN_MAX
        {
            return Err(format!("an attempt waits for at most {QUESTIONS_OPEN_MAX} answers at once"));
        }
        guest.take(request.wish, said)
    }

    /// Passes a person's answer on to whoever waits for it.
    pub(crate) fn answer(&mut self, key: AttemptKey, question: u32, text: &str) {
        for connection in &mut self.connections {
            if matches!(connection.state, State::Waits { key: k, question: q } if (k, q) == (key, question)) {
                connection.state = write_reply(&Reply::Answer { text: text.to_owned() });
                connection.since = Instant::now();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.guests.path);
    }
}

impl Guest {
    fn take(&mut self, wish: Wish, said: &mut Vec<(AttemptKey, Said)>) -> Result<State, String> {
        let key = self.key;
        if let Wish::Progress { fraction, text } = wish {
            if self.progress.is_none_or(|last| last.elapsed() >= PROGRESS_PAUSE) {
                self.progress = Some(Instant::now());
                said.push((key, Said::Progress { fraction, text }));
            }
            return Ok(write_reply(&Reply::Done));
        }
        // Reading costs nobody anything, and is not kept.
        match &wish {
            Wish::Brief { section } => {
                let text = brief::read(&self.brief, section.as_deref())?;
                return Ok(write_reply(&Reply::Answer { text }));
            }
            Wish::Sections => {
                let text = self.brief.list.clone();
                return Ok(write_reply(&Reply::Answer { text }));
            }
            _ => {}
        }
        if self.sayings >= SAYINGS_MAX {
            return Err(format!("an attempt says at most {SAYINGS_MAX} things that are kept"));
        }
        // Nobody waits for it: what takes a task back runs to its end.
        let refused = match &wish {
            Wish::Ask { .. } => Some("ask: decide without a person, or end as failed"),
            Wish::HandOff { .. } => Some("hand anything on"),
            _ => None,
        };
        if let Some(what) = refused.filter(|_| key.compensates) {
            return Err(format!("whoever takes a task back cannot {what}"));
        }
        let state = match wish {
            Wish::Ask { question: text, choices } => {
                // The question of a person who is the agent has the number 0.
                self.questions += 1;
                let question = self.questions;
                said.push((key, Said::Question { question, text, choices }));
                State::Waits { key, question }
            }
            Wish::Output { name, value } => {
                append_output(&self.outputs, &name, &value)?;
                write_reply(&Reply::Done)
            }
            Wish::Note { text } => {
                said.push((key, Said::Note { text }));
                write_reply(&Reply::Done)
            }
            Wish::HandOff { to, note } => {
                brief::may_hand_to(&self.brief, to.as_deref())?;
                said.push((key, Said::HandOff { to, note }));
                write_reply(&Reply::Done)
            }
            Wish::Progress { .. } | Wish::Brief { .. } | Wish::Sections => write_reply(&Reply::Done),
        };
        self.sayings += 1;
        Ok(state)
    }
}

/// Those who are let in. Shared with whoever starts attempts, so that none knocks before it is known.
#[derive(Clone)]
pub(crate) struct Guests {
    path: PathBuf,
    secret: [u8; 32],
    known: Arc<Mutex<HashMap<String, Guest>>>,
}

impl Guests {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Guest>> {
        lock(&self.known)
    }

    /// Returns the token of an attempt; comparing it takes the same time however much of it is right.
    fn token(&self, attempt: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.secret, attempt.as_bytes())
    }

    /// Lets an attempt in, whose file for outputs is `outputs` and which can read `brief`; returns the path of the
    /// socket and its token.
    pub(crate) fn admit(&self, key: AttemptKey, outputs: PathBuf, brief: Arc<Brief>) -> (&Path, String) {
        let attempt = key.to_string();
        let token = self.token(&attempt).to_hex().to_string();
        let guest = Guest { key, outputs, brief, sayings: 0, questions: 0, progress: None };
        self.lock().insert(attempt, guest);
        (&self.path, token)
    }

    /// Lets an attempt in no more.
    pub(crate) fn remove(&self, key: AttemptKey) {
        self.lock().remove(&key.to_string());
    }
}

/// Adds an output to the file of an attempt, which is where its end is read from.
///
/// # Errors
///
/// Fails, in words for the agent, if the output is refused or the file is no such one.
pub(super) fn append_output(path: &Path, name: &str, value: &str) -> Result<(), String> {
    let mut given = outputs::read(path).map_err(|error| error.to_string())?;
    outputs::add(&mut given, name, value).map_err(|error| error.to_string())?;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        // An empty line means nothing, and ends the last one if whoever wrote that has not.
        .and_then(|mut file| file.write_all(format!("\n{}", outputs::render(name, value)).as_bytes()));
    written.map_err(|error| format!("the output cannot be kept: {error}"))
}

#[cfg(target_os = "linux")]
fn is_own(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == rustix::process::getuid())
}

/// Only the permissions of the socket and its directory guard it here.
#[cfg(not(target_os = "linux"))]
fn is_own(_stream: &UnixStream) -> bool {
    true
}

fn write_reply(reply: &Reply) -> State {
    let mut bytes = serde_json::to_vec(reply).unwrap_or_default();
    bytes.push(b'\n');
    State::Writes(bytes)
}

/// Reads what is there; says whether more may come.
fn read_some(stream: &mut UnixStream, bytes: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 1 << 14];
    while bytes.len() <= REQUEST_BYTES_MAX {
        match stream.read(&mut chunk) {
            Ok(0) => return false,
            Ok(len) => bytes.extend_from_slice(&chunk[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

/// Writes what is taken; says whether the other end is there.
fn write_some(stream: &mut UnixStream, bytes: &mut Vec<u8>) -> bool {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return false,
            Ok(len) => drop(bytes.drain(..len)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}
