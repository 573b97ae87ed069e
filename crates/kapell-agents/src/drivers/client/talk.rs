//! Talking to a client while it works: what it is asked, told, and answered.

use std::path::PathBuf;

use kapell_core::price::Tokens;
use serde::{Deserialize, Serialize};

use crate::drivers::Report;

/// Questions of clients themselves are numbered from here; below are those asked with `kapell task ask`.
pub(crate) const QUESTIONS_FROM: u32 = 1 << 20;

/// Numbers a client's own questions, in the order in which they are put to a person.
#[derive(Debug, Default)]
pub(super) struct Questions(u32);

impl Questions {
    /// Puts a question to a person; returns its number.
    pub(super) fn put(&mut self, text: String, choices: Vec<String>, reports: &mut Vec<Report>) -> u32 {
        self.0 += 1;
        let question = QUESTIONS_FROM + self.0;
        reports.push(Report::Question { question, text, choices });
        question
    }
}

/// What opens a conversation.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// What is asked.
    pub prompt: String,
    /// Where it works; what it may delete is judged by it.
    pub workspace: PathBuf,
    /// Whether a person is asked what its own rules leave open; otherwise the answer is no.
    pub asks: bool,
    /// Whether it may do what the seat belt lets pass, without anybody being asked.
    pub allows: bool,
    /// Whether kapell keeps it from the rest of the machine.
    pub contained: bool,
    /// The session in which it goes on, for clients that are told so in the conversation.
    pub resume: Option<String>,
    /// The shape of what it shall say at last, likewise.
    pub shape: Option<String>,
}

/// What a client is told while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell<'a> {
    /// A person's answer to one of its questions.
    Answer {
        /// Which.
        question: u32,
        /// What they said.
        text: &'a str,
    },
    /// A turn more: a word from kapell.
    More(&'a str),
    /// It shall stop what it does, and end.
    Interrupt,
    /// That was all: it can end.
    Close,
}

/// What is to be written to a client's standard input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether that is all there will be.
    pub last: bool,
}

impl Outgoing {
    /// Adds a line of JSON.
    pub fn line(&mut self, value: &serde_json::Value) {
        self.bytes.extend(value.to_string().into_bytes());
        self.bytes.push(b'\n');
    }
}

/// What a session had used when it was last left. Clients that are resumed count on from there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Tokens by kind.
    #[serde(default)]
    pub tokens: Tokens,
    /// What the client said that they cost, in millionths of a US dollar.
    #[serde(default)]
    pub usd_micros: u64,
}

impl Totals {
    /// Returns what of `tokens`, counted over the whole session, came after these totals.
    #[must_use]
    pub fn since(self, tokens: Tokens) -> Tokens {
        Tokens {
            input: tokens.input.saturating_sub(self.tokens.input),
            cache_read: tokens.cache_read.saturating_sub(self.tokens.cache_read),
            cache_write: tokens.cache_write.saturating_sub(self.tokens.cache_write),
            output: tokens.output.saturating_sub(self.tokens.output),
        }
    }
}
