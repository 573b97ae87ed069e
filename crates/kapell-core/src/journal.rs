//! The row of the journal: one decision, chained to the one before it by hash.
//!
//! A row is bytes and numbers only. It does not know what the events in its body mean,
//! so a chain can be verified by a program that knows none of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    id::{AttemptNo, Digest, ParseIdError, RunId, TaskId},
    time::{Elapsed, Wall},
};

/// Number of decisions in a run so far; the sequence number of its last one. 0 before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// Returns the version after one more decision.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Who wished for a decision. Its text form stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// kapell itself: schedules, results, recovery. Text: `engine`.
    Engine,
    /// The passing of time. Text: `clock`.
    Clock,
    /// A person, by the name of their account. Text: `person:NAME`.
    Person(String),
    /// The agent of an attempt, over its local protocol. Text: `agent:TASK.ATTEMPT`.
    Agent(TaskId, AttemptNo),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine => f.write_str("engine"),
            Self::Clock => f.write_str("clock"),
            Self::Person(name) => write!(f, "person:{name}"),
            Self::Agent(task, attempt) => write!(f, "agent:{task}.{attempt}"),
        }
    }
}

impl FromStr for Actor {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseIdError { text: text.to_owned(), expected: "an actor" };
        match text.split_once(':') {
            None if text == "engine" => Ok(Self::Engine),
            None if text == "clock" => Ok(Self::Clock),
            Some(("person", name)) => Ok(Self::Person(name.to_owned())),
            Some(("agent", pair)) => {
                let (task, attempt) = pair.split_once('.').ok_or_else(error)?;
                Ok(Self::Agent(
                    TaskId(task.parse().map_err(|_| error())?),
                    AttemptNo(attempt.parse().map_err(|_| error())?),
                ))
            }
            _ => Err(error()),
        }
    }
}

/// One decision as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The run that it belongs to.
    pub run: RunId,
    /// Its number in the run, from 1, without gaps.
    pub n: Version,
    /// When it was taken, by the wall clock.
    pub at: Wall,
    /// When it was taken, on the run's own clock. Never less than the row before.
    pub elapsed: Elapsed,
    /// Who wished for it, as text ([`Actor`]).
    pub actor: String,
    /// The kind of command that led to it, such as `report` or `tick`.
    pub cause: String,
    /// Hash of the row before; [`Digest::ZERO`] for the first.
    pub prev: Digest,
    /// Hash of this row: see [`Row::seal`].
    pub hash: Digest,
    /// The events: a JSON array with one event a line.
    pub body: String,
}

impl Row {
    /// Computes the hash that this row must carry.
    ///
    /// BLAKE3 over `prev`, `run`, then `n`, `at` and `elapsed` as 8 bytes little-endian, then
    /// `actor`, `cause` and `body`, each with its length in bytes before it (8 bytes little-endian).
    #[must_use]
    pub fn seal(&self) -> Digest {
        let mut content = Content::new();
        content.add(&self.prev.0);
        content.add(&self.run.0);
        for number in [self.n.0, self.at.0.cast_unsigned(), self.elapsed.0] {
            content.add(&number.to_le_bytes());
        }
        for text in [&self.actor, &self.cause, &self.body] {
            content.add(&(text.len() as u64).to_le_bytes());
            content.add(text.as_bytes());
        }
        content.hash()
    }

    /// Checks that this row follows a row with `n` and `hash`, and that its own hash is right.
    ///
    /// # Errors
    ///
    /// Returns which of the three does not hold, the first of them.
    pub fn check_follows(&self, n: Version, hash: Digest) -> Result<(), BrokenChain> {
        self.check_place(n, hash)?;
        match self.seal() == self.hash {
            true => Ok(()),
            false => Err(self.broken(BrokenChainKind::Altered)),
        }
    }

    /// Checks that this row follows a row with `n` and `hash`, whatever it holds.
    ///
    /// # Errors
    ///
    /// Returns which of the two does not hold, the first of them.
    pub fn check_place(&self, n: Version, hash: Digest) -> Result<(), BrokenChain> {
        if self.n != n.next() {
            return Err(self.broken(BrokenChainKind::Gap { expected: n.next() }));
        }
        match self.prev == hash {
            true => Ok(()),
            false => Err(self.broken(BrokenChainKind::OtherPast { expected: hash, found: self.prev })),
        }
    }

    fn broken(&self, kind: BrokenChainKind) -> BrokenChain {
        BrokenChain { run: self.run, n: self.n, kind }
    }
}

/// What is hashed, put together before: a hash of one short piece is made in a third of the time of one of ten.
struct Content {
    piece: [u8; Self::PIECE_BYTES],
    len: usize,
    /// What came before, if it did not fit.
    hasher: Option<Box<blake3::Hasher>>,
}

impl Content {
    /// Nearly every row is shorter. It is what BLAKE3 hashes without a tree.
    const PIECE_BYTES: usize = 1024;

    fn new() -> Self {
        Self { piece: [0; Self::PIECE_BYTES], len: 0, hasher: None }
    }

    fn add(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        } else if let Some(room) = self.piece.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        } else {
            let hasher = self.hasher.insert(Box::default());
            hasher.update(&self.piece[..self.len]).update(bytes);
        }
    }

    fn hash(&self) -> Digest {
        let hash = match &self.hasher {
            Some(hasher) => hasher.finalize(),
            None => blake3::hash(&self.piece[..self.len]),
        };
        Digest(*hash.as_bytes())
    }
}

/// Where a chain of rows is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("decision {n} of run {run} is damaged: {kind}")]
pub struct BrokenChain {
    /// The run whose chain it is.
    pub run: RunId,
    /// The first row that does not fit.
    pub n: Version,
    /// What is wrong with it.
    pub kind: BrokenChainKind,
}

/// What is wrong with a row of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChainKind {
    /// A row is missing or comes twice.
    #[error("decision {expected} should come here")]
    Gap {
        /// The number that should come.
        expected: Version,
    },
    /// The row continues another past.
    #[error("it follows {found}, but the row before it is {expected}")]
    OtherPast {
        /// The hash of the row before.
        expected: Digest,
        /// What this row says it is.
        found: Digest,
    },
    /// The row's content does not have the row's hash.
    #[error("its content does not have its hash")]
    Altered,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: u64, prev: Digest) -> Row {
        let mut row = Row {
            run: RunId([1; 16]),
            n: Version(n),
            at: Wall(5),
            elapsed: Elapsed(6),
            actor: Actor::Engine.to_string(),
            cause: "report".to_owned(),
            prev,
            hash: Digest::ZERO,
            body: "[]".to_owned(),
        };
        row.hash = row.seal();
        row
    }

    #[test]
    fn a_chain_holds_until_something_is_changed() {
        let first = row(1, Digest::ZERO);
        let second = row(2, first.hash);
        assert_eq!(first.check_follows(Version(0), Digest::ZERO), Ok(()));
        assert_eq!(second.check_follows(first.n, first.hash), Ok(()));

        let broken = |row: &Row| row.check_follows(first.n, first.hash).unwrap_err().kind;
        assert_eq!(broken(&first), BrokenChainKind::Gap { expected: Version(2) });
        let other = row(2, Digest::of(b"other"));
        assert!(matches!(broken(&other), BrokenChainKind::OtherPast { .. }));
        for change in [
            |row: &mut Row| row.at.0 += 1,
            |row: &mut Row| row.elapsed.0 += 1,
            |row: &mut Row| row.actor.push('x'),
            |row: &mut Row| row.cause.push('x'),
            |row: &mut Row| row.body.push(' '),
            |row: &mut Row| row.run.0[0] ^= 1,
            |row: &mut Row| row.hash.0[0] ^= 1,
        ] {
            let mut altered = second.clone();
            change(&mut altered);
            assert_eq!(broken(&altered), BrokenChainKind::Altered);
        }
    }

    #[test]
    fn rows_of_every_length_are_hashed_as_their_bytes_in_a_row() {
        for len in (0..40).chain(850..1100).chain([5000]) {
            let row = Row { body: "x".repeat(len), ..row(7, Digest::of(b"before")) };
            let mut bytes = [&row.prev.0[..], &row.run.0[..]].concat();
            bytes.extend([7_u64, 5, 6].iter().flat_map(|number| number.to_le_bytes()));
            for text in [&row.actor, &row.cause, &row.body] {
                bytes.extend((text.len() as u64).to_le_bytes());
                bytes.extend(text.as_bytes());
            }
            assert_eq!(row.seal(), Digest::of(&bytes), "{len}");
        }
    }

    #[test]
    fn actors_survive_their_text() {
        for actor in [
            Actor::Engine,
            Actor::Clock,
            Actor::Person("ada: the first".to_owned()),
            Actor::Agent(TaskId(3), AttemptNo(2)),
        ] {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        for text in ["", "robot", "agent:1", "agent:1.x"] {
            assert!(text.parse::<Actor>().is_err());
        }
    }
}
