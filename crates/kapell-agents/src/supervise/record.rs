//! What is known when an attempt has ended, on disk before anybody is told.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{RECORD_FILE, spool::Printed};
use crate::protocol::outputs::Outputs;

/// The version of the record's format.
pub const VERSION: u32 = 1;
/// A record is at most this long: 1 MiB of outputs, escaped in the worst way, and the rest.
const BYTES_MAX: u64 = 8 << 20;

/// Who ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its process ended by itself.
    Itself,
    /// kapell asked for it.
    Stopped,
    /// It ran longer than its supervisor lets it.
    TimedOut,
    /// kapell was gone.
    OwnerGone,
    /// Its process could not be started.
    NotStarted,
    /// Its processes held more memory than it may.
    OverMemory,
    /// What it printed could not be kept any more, and so not be read along.
    OverOutput,
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Time from start to end, in milliseconds.
    pub wall_ms: u64,
    /// Processor time in user mode of all its processes, in milliseconds; exact to 10 ms.
    pub user_ms: u64,
    /// Processor time in the kernel, likewise.
    pub system_ms: u64,
    /// The most memory that its processes were seen to hold together, in KiB. Sampled, first after a quarter of
    /// a second, then ever more seldom: `None` for an attempt that was over before.
    pub rss_max_kib: Option<u64>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The version of the format.
    pub version: u32,
    /// The name of the attempt.
    pub attempt: String,
    /// Who ended it.
    pub cause: Cause,
    /// The exit code of its process, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended its process.
    pub signal: Option<i32>,
    /// Why its process could not be started.
    pub start_error: Option<String>,
    /// When it started, in milliseconds since 1970.
    pub started_wall_ms: i64,
    /// When it ended, likewise.
    pub ended_wall_ms: i64,
    /// What it used.
    pub usage: Usage,
    /// How much it printed.
    pub printed: Printed,
    /// The last 4 KiB that it printed, as text; not to be shown unescaped.
    pub tail: String,
    /// What it gave, by name.
    pub outputs: Outputs,
    /// Why what it wrote as outputs cannot be taken.
    pub outputs_error: Option<String>,
    /// Processes that it left running and that were ended.
    pub leftover: u32,
    /// Processes that could not be ended.
    pub stubborn: u32,
    /// What else a person should know.
    pub notes: Vec<String>,
}

impl ExitRecord {
    /// Makes the record of an attempt that has not done anything yet.
    #[must_use]
    pub fn new(attempt: &str, cause: Cause) -> Self {
        let now = wall_ms();
        Self {
            version: VERSION,
            attempt: attempt.to_owned(),
            cause,
            code: None,
            signal: None,
            start_error: None,
            started_wall_ms: now,
            ended_wall_ms: now,
            usage: Usage::default(),
            printed: Printed::default(),
            tail: String::new(),
            outputs: Outputs::new(),
            outputs_error: None,
            leftover: 0,
            stubborn: 0,
            notes: Vec::new(),
        }
    }

    /// Writes the record into the attempt's directory, where it outlives every process. `sync` does more.
    ///
    /// # Errors
    ///
    /// Fails as the file system does; then no record is there that is read.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self).map_err(io::Error::other)?;
        let sum = blake3::hash(&text);
        text.extend_from_slice(format!("\n\"{sum}\"\n").as_bytes());
        // Not under another name first: the sum tells a torn record, and this costs one commit of the file
        // system's own journal less.
        write_own(&dir.join(RECORD_FILE), &text)
    }

    /// Reads the record of `attempt` from its directory.
    ///
    /// A record that is torn, changed, of another attempt or another version counts as absent.
    #[must_use]
    pub fn read(dir: &Path, attempt: &str) -> Option<Self> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(dir.join(RECORD_FILE))
            .ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut text = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut text).ok()?;
        let (json, sum) = text.strip_suffix(b"\"\n")?.split_last_chunk::<64>()?;
        let json = json.strip_suffix(b"\n\"")?;
        if blake3::hash(json).to_hex().as_bytes() != sum {
            return None;
        }
        let record: Self = serde_json::from_slice(json).ok()?;
        (record.version == VERSION && record.attempt == attempt).then_some(record)
    }
}

/// Writes a file in an attempt's directory that only kapell writes, over the one of an attempt that had the directory
/// before, if there is one: that takes the file system less than a new one.
///
/// Whatever the attempt may have put in its place goes away, so nothing is written through a link.
pub(crate) fn write_own(path: &Path, text: &[u8]) -> io::Result<()> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let old = OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path);
    let old = old.and_then(|file| Ok((file.metadata()?, file)));
    let own = |found: &fs::Metadata| {
        found.is_file() && found.nlink() == 1 && found.uid() == rustix::process::geteuid().as_raw()
    };
    match old {
        Ok((found, mut file)) if own(&found) => {
            file.write_all(text)?;
            if found.len() > text.len() as u64 {
                file.set_len(text.len() as u64)?;
            }
            Ok(())
        }
        _ => {
            let _ = fs::remove_file(path);
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text)
        }
    }
}

/// Makes the record in an attempt's directory outlive the machine, too.
///
/// Done once the end has been reported, if kapell does not say soon that the same end is durable in its journal. What a
/// power cut takes of both counts as under way, as it would a moment earlier.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir.join(RECORD_FILE))?.sync_all()?;
    File::open(dir)?.sync_all()
}

pub(crate) fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_written_and_any_damage_makes_it_absent() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = ExitRecord::new("r-1-1", Cause::Itself);
        record.code = Some(0);
        record.tail = "fine \u{fffd}\n\"quoted\"".to_owned();
        record.outputs.insert("k".to_owned(), "v".to_owned());
        record.write(dir.path()).unwrap();
        assert_eq!(ExitRecord::read(dir.path(), "r-1-1").as_ref(), Some(&record));
        assert_eq!(ExitRecord::read(dir.path(), "r-1-2"), None);

        let path = dir.path().join(RECORD_FILE);
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(ExitRecord::read(dir.path(), "r-1-1"), None, "cut at {len}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert_eq!(ExitRecord::read(dir.path(), "r-1-1"), None, "flipped at {at}");
        }
    }

    #[test]
    fn a_record_is_written_over_an_older_one_and_through_no_link() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = dir.path().join(RECORD_FILE);
        let mut long = ExitRecord::new("long", Cause::Itself);
        long.tail = "x".repeat(1000);
        let short = ExitRecord::new("short", Cause::Itself);
        for record in [&long, &short, &long] {
            record.write(dir.path()).unwrap();
            assert_eq!(ExitRecord::read(dir.path(), &record.attempt).as_ref(), Some(record));
        }
        assert_eq!(ExitRecord::read(dir.path(), "short"), None);
        let victim = other.path().join("victim");
        for is_hard in [true, false] {
            fs::write(&victim, "untouched").unwrap();
            fs::remove_file(&path).unwrap();
            match is_hard {
                true => fs::hard_link(&victim, &path).unwrap(),
                false => std::os::unix::fs::symlink(&victim, &path).unwrap(),
            }
            short.write(dir.path()).unwrap();
            assert_eq!(ExitRecord::read(dir.path(), "short").as_ref(), Some(&short));
            assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        }
    }

    #[test]
    fn a_link_or_a_pipe_in_place_of_the_record_is_absent() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        ExitRecord::new("a", Cause::Itself).write(other.path()).unwrap();
        std::os::unix::fs::symlink(other.path().join(RECORD_FILE), dir.path().join(RECORD_FILE)).unwrap();
        assert_eq!(ExitRecord::read(dir.path(), "a"), None);
        fs::remove_file(dir.path().join(RECORD_FILE)).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join(RECORD_FILE),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(ExitRecord::read(dir.path(), "a"), None);
    }
}
