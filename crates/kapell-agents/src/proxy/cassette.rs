//! What was said, kept and played back: one exchange a line, as JSON, without secrets.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// The version of the format of a line.
const VERSION: u32 = 1;

/// One request and its reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The version of this form: 1.
    pub version: u32,
    /// Number of the task within its run.
    pub task: u32,
    /// Number of the attempt.
    pub attempt: u32,
    /// The upstream's name.
    pub upstream: String,
    /// The path behind it, without its query.
    pub path: String,
    /// What was sent, with secrets taken out.
    pub request: String,
    /// The status of the reply.
    pub status: u16,
    /// The type of its content.
    pub content_type: String,
    /// What came back, with secrets taken out.
    pub reply: String,
    /// Whether it came whole.
    pub whole: bool,
}

/// A recording that is made.
#[derive(Debug)]
pub(super) struct Recorder(Mutex<fs::File>);

impl Recorder {
    /// Opens a file to add to; only its owner can read it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    pub(super) fn keep(&self, mut exchange: Exchange) {
        exchange.version = VERSION;
        let Ok(mut line) = serde_json::to_vec(&exchange) else { return };
        line.push(b'\n');
        // A recording with a hole is found out when it is played: what is asked then has no answer.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
    }
}

/// A recording to be played.
#[derive(Debug)]
pub struct Cassette {
    exchanges: Vec<Exchange>,
    used: Mutex<Vec<bool>>,
}

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    /// It cannot be read.
    #[error("failed to read a recording: {0}")]
    Io(#[from] io::Error),
    /// A line is no exchange.
    #[error("line {line} of the recording is no exchange: {source}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// It was made by a newer kapell.
    #[error("line {line} of the recording has version {found}, and {VERSION} is the newest known")]
    Version {
        /// Which, from 1.
        line: usize,
        /// Its version.
        found: u32,
    },
}

impl Cassette {
    /// Reads a recording.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read or is none.
    pub fn read(path: &Path) -> Result<Self, CassetteError> {
        let mut exchanges = Vec::new();
        for (index, line) in fs::read_to_string(path)?.lines().enumerate() {
            let line_no = index + 1;
            let exchange: Exchange =
                serde_json::from_str(line).map_err(|source| CassetteError::Line { line: line_no, source })?;
            if exchange.version > VERSION {
                return Err(CassetteError::Version { line: line_no, found: exchange.version });
            }
            exchanges.push(exchange);
        }
        let used = Mutex::new(vec![false; exchanges.len()]);
        Ok(Self { exchanges, used })
    }

    /// Returns how many exchanges it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Tells whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
    }

    /// Takes the answer to a request: the one that was given to the same words, or else the next one that the same task
    /// got at the same place. Dates, ids and directories in a request differ from one time to the next.
    pub(super) fn take(&self, asked: &Exchange) -> Option<&Exchange> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |index: usize| {
            let kept = &self.exchanges[index];
            let of = |exchange: &Exchange| (exchange.task, exchange.attempt);
            !used[index]
                && of(kept) == of(asked)
                && kept.upstream == asked.upstream
                && kept.path == asked.path
        };
        let candidates: Vec<usize> = (0..self.exchanges.len()).filter(|&index| fits(index)).collect();
        let same = candidates.iter().find(|&&index| self.exchanges[index].request == asked.request);
        let index = *same.or(candidates.first())?;
        used[index] = true;
        Some(&self.exchanges[index])
    }
}
