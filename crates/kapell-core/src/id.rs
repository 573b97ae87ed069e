//! Names of things: runs, tasks, attempts, gates, digests and git objects.
//!
//! Every id is a newtype, so that two kinds cannot be swapped.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseIdError {
    /// The text that was given.
    pub text: String,
    /// What was expected in its place.
    pub expected: &'static str,
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

fn parse_hex(text: &str, into: &mut [u8]) -> Option<()> {
    let bytes = text.as_bytes();
    if bytes.len() != into.len() * 2 {
        return None;
    }
    for (slot, pair) in into.iter_mut().zip(bytes.chunks_exact(2)) {
        *slot = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(())
}

/// Writes at most 32 bytes, in one piece: ids stand in nearly every event.
fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    f.write_str(std::str::from_utf8(&text[..bytes.len() * 2]).unwrap_or_default())
}

macro_rules! text_serde {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

/// Names a run: 128 bits, shown as 26 characters of Crockford's base 32.
///
/// New ids are UUIDs of version 7 (RFC 9562), so they sort by the time of their making.
/// The id of a child run is derived from its parent's (see [`RunId::child`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub [u8; 16]);

const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl RunId {
    /// Derives the id of the child run that `attempt` of `task` starts.
    ///
    /// The same attempt always names the same child, so a restart finds it again.
    #[must_use]
    pub fn child(self, task: TaskId, attempt: AttemptNo) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("kapell 2026 child run id");
        hasher.update(&self.0);
        hasher.update(&task.0.to_be_bytes());
        hasher.update(&attempt.0.to_be_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        // Version 8 (custom) and the variant of RFC 9562.
        id[6] = id[6] & 0x0f | 0x80;
        id[8] = id[8] & 0x3f | 0x80;
        Self(id)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut digits = [0; 26];
        for (place, digit) in digits.iter_mut().rev().enumerate() {
            *digit = CROCKFORD[usize::try_from((bits >> (place * 5)) & 31).unwrap_or(0)];
        }
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error =
            || ParseIdError { text: text.to_owned(), expected: "a run id (26 characters of base 32)" };
        if text.len() != 26 || !text.starts_with(|first| ('0'..='7').contains(&first)) {
            return Err(error());
        }
        text.bytes()
            .try_fold(0_u128, |bits, byte| {
                let digit = CROCKFORD.iter().position(|&known| known == byte.to_ascii_lowercase())?;
                Some(bits << 5 | u128::try_from(digit).ok()?)
            })
            .map(|bits| Self(bits.to_be_bytes()))
            .ok_or_else(error)
    }
}
text_serde!(RunId);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// Returns the id as an index into a column.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// Names a task within its run: its index in the plan, stable over revisions.
    TaskId
);
number_id!(
    /// Counts the attempts at one task, from 1.
    AttemptNo
);
number_id!(
    /// Names a gate within its run, in the order of opening.
    GateId
);
number_id!(
    /// Names an agent within a plan.
    AgentId
);
number_id!(
    /// Names an interned task definition within a plan.
    DefinitionId
);
number_id!(
    /// Names a probe of the merge queue within its run, in the order of asking.
    ProbeId
);

impl AttemptNo {
    /// Returns the number of the attempt after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A BLAKE3 hash (256 bits), shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest before the first: 32 zero bytes.
    pub const ZERO: Self = Self([0; 32]);

    /// Hashes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        parse_hex(text, &mut bytes).map(|()| Self(bytes)).ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected: "a digest (64 hexadecimal digits)",
        })
    }
}
text_serde!(Digest);

/// Names a git object: 20 bytes (SHA-1) or 32 bytes (SHA-256), shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid {
    len: u8,
    bytes: [u8; 32],
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.bytes[..usize::from(self.len)], f)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Oid {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseIdError {
            text: text.to_owned(),
            expected: "a git object id (40 or 64 hexadecimal digits)",
        };
        let len = match text.len() {
            40 => 20,
            64 => 32,
            _ => return Err(error()),
        };
        let mut bytes = [0; 32];
        parse_hex(text, &mut bytes[..usize::from(len)]).ok_or_else(error)?;
        Ok(Self { len, bytes })
    }
}
text_serde!(Oid);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        let run = RunId([0xfe; 16]);
        assert_eq!(run.to_string().parse(), Ok(run));
        assert_eq!(run.to_string().len(), 26);
        let digest = Digest::of(b"kapell");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(format!("{digest:?}"), digest.to_string());
        let oid: Oid = "1234567890abcdef1234567890abcdef12345678".parse().unwrap();
        assert_eq!(oid.to_string(), "1234567890abcdef1234567890abcdef12345678");
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "zz", "8zzzzzzzzzzzzzzzzzzzzzzzzz", "0000000000000000000000000u", "äääääääääääää"]
        {
            assert!(text.parse::<RunId>().is_err(), "{text}");
            assert!(text.parse::<Digest>().is_err(), "{text}");
            assert!(text.parse::<Oid>().is_err(), "{text}");
        }
    }

    #[test]
    fn children_of_different_attempts_differ() {
        let run = RunId([7; 16]);
        let first = run.child(TaskId(1), AttemptNo(1));
        assert_eq!(first, run.child(TaskId(1), AttemptNo(1)));
        assert_ne!(first, run.child(TaskId(1), AttemptNo(2)));
        assert_ne!(first, run.child(TaskId(2), AttemptNo(1)));
        // Each says that it is of version 8 and of the variant of RFC 9562.
        for task in 0..64 {
            let RunId(id) = run.child(TaskId(task), AttemptNo(1));
            assert_eq!((id[6] >> 4, id[8] >> 6), (8, 0b10));
        }
    }
}
