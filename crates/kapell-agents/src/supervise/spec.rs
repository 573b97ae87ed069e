//! What to run, and within which limits.

use std::{ffi::OsString, time::Duration};

use serde::{Deserialize, Serialize};

/// One attempt, as its supervisor is told about it.
///
/// It travels over a socket and is never written to disk, so the environment may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The name of the attempt, unique for ever; every process of it carries it as [`super::MARKER`].
    pub marker: String,
    /// The attempt's directory, which exists.
    pub dir: OsString,
    /// The program (a path, not looked up) and its arguments.
    pub argv: Vec<OsString>,
    /// The directory in which it starts.
    pub cwd: OsString,
    /// Its whole environment, but for [`super::MARKER`].
    pub env: Vec<(OsString, OsString)>,
    /// Its limits.
    pub limits: Limits,
    /// What it reads from its standard input.
    pub stdin: Stdin,
    /// How its output is taken.
    pub output: Output,
    /// The control group that is made for it, and into which its command puts itself; none if there is none.
    #[serde(default)]
    pub cgroup: Option<OsString>,
    /// Whether the exit record is forced to disk, right after the end has been reported.
    ///
    /// Without it the record survives the death of every process, but perhaps not that of the machine.
    pub durable: bool,
}

/// What an attempt reads from its standard input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// Nothing.
    #[default]
    Nothing,
    /// A file.
    File(OsString),
    /// What kapell says while it runs (see [`super::wire::Request::Say`]), until kapell has no more to say.
    Talk,
}

/// How the output of an attempt is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Into one file, in the order in which it is printed.
    #[default]
    Joined,
    /// What it prints as errors into a file of its own. kapell is told whenever something was printed, so that it can
    /// read along.
    Followed,
}

/// What an attempt may take. Zero bytes mean zero; `None` means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How long it may run. A backstop: kapell itself stops an attempt in time.
    pub timeout: Option<Duration>,
    /// How long its processes have between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How many bytes of its output are kept: the beginning and the end. What is read along is kept whole instead.
    pub output_bytes: u64,
    /// How many bytes of output that is read along are kept. What prints more is ended: from there on nobody would hear
    /// its questions, or see what it spends.
    #[serde(default = "followed_bytes")]
    pub followed_bytes: u64,
    /// Memory that all its processes hold together, in bytes. Looked at four times a second: what takes more is ended.
    #[serde(default)]
    pub resident_bytes: Option<u64>,
}

fn followed_bytes() -> u64 {
    1 << 30
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: None,
            grace: Duration::from_secs(10),
            output_bytes: 64 << 20,
            followed_bytes: followed_bytes(),
            resident_bytes: None,
        }
    }
}

/// Reads a number of bytes as people write it: `512M`, `2G`, `100000`.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|each: char| each.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

impl Spec {
    /// Returns how many bytes of each of its streams are kept.
    pub(crate) fn kept_bytes(&self) -> u64 {
        match self.output {
            Output::Joined => self.limits.output_bytes,
            Output::Followed => self.limits.output_bytes.max(self.limits.followed_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("512M", Some(512 << 20)),
            ("2GiB", Some(2 << 30)),
            ("7", Some(7)),
            ("M", None),
            ("1.5G", None),
            ("2 G", None),
            ("99999999999999999999G", None),
            ("18446744073709551615K", None),
        ] {
            assert_eq!(parse_bytes(text), expected, "{text}");
        }
    }
}
