//! Output kept within a cap: its beginning and its end; what lies between is counted and left out.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

/// How much of the end is kept in memory until it is written.
const TAIL_BYTES_MAX: u64 = 1 << 20;
/// How much of the end goes into the exit record.
const RECORD_TAIL_BYTES: usize = 4096;

/// How much an attempt printed, and how much of it was kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Printed {
    /// Bytes printed.
    pub bytes: u64,
    /// Bytes of them that were not kept.
    pub dropped: u64,
}

/// Takes output as it comes; memory is bounded by [`TAIL_BYTES_MAX`], the file by its cap.
pub(crate) struct Spool {
    path: PathBuf,
    file: Option<File>,
    /// The first error of the file; nothing is written after it.
    pub(crate) error: Option<io::Error>,
    head_max: u64,
    tail_max: usize,
    head: u64,
    bytes: u64,
    tail: VecDeque<u8>,
}

impl Spool {
    /// Keeps at most `cap` bytes at `path`, which is made when the first byte comes.
    pub(crate) fn new(path: PathBuf, cap: u64) -> Self {
        let tail_max = TAIL_BYTES_MAX.min(cap / 4);
        Self {
            path,
            file: None,
            error: None,
            head_max: cap - tail_max,
            tail_max: usize::try_from(tail_max).unwrap_or(usize::MAX),
            head: 0,
            bytes: 0,
            tail: VecDeque::new(),
        }
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        let room = usize::try_from(self.head_max - self.head).unwrap_or(usize::MAX);
        let (head, _) = chunk.split_at(chunk.len().min(room));
        if self.write(head) {
            self.head += head.len() as u64;
        }
        let keep = self.tail_max.max(RECORD_TAIL_BYTES);
        let last = &chunk[chunk.len().saturating_sub(keep)..];
        let excess = (self.tail.len() + last.len()).saturating_sub(keep);
        self.tail.drain(..excess);
        self.tail.extend(last);
    }

    /// Tells whether something was printed that is not in the file by now.
    pub(crate) fn is_behind(&self) -> bool {
        self.bytes > self.head
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        if bytes.is_empty() || self.error.is_some() {
            return bytes.is_empty();
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(bytes),
            none => create(&self.path).and_then(|file| none.insert(file).write_all(bytes)),
        };
        // A full disk must not end the attempt: the output is lost, and the record says so.
        written.map_err(|error| self.error = Some(error)).is_ok()
    }

    /// Writes the end, and returns what was printed and the last of it as text.
    pub(crate) fn finish(&mut self) -> (Printed, String) {
        let after = self.bytes - self.head;
        let kept = usize::try_from(after).unwrap_or(usize::MAX).min(self.tail_max).min(self.tail.len());
        let mut dropped = after - kept as u64;
        self.tail.make_contiguous();
        let tail = std::mem::take(&mut self.tail);
        let (tail, _) = tail.as_slices();
        let end = &tail[tail.len() - kept..];
        let gap = if dropped > 0 { format!("\n[{dropped} bytes left out]\n") } else { String::new() };
        if !(self.write(gap.as_bytes()) && self.write(end)) {
            dropped += kept as u64;
        }
        let last = &tail[tail.len().saturating_sub(RECORD_TAIL_BYTES)..];
        (Printed { bytes: self.bytes, dropped }, String::from_utf8_lossy(last).into_owned())
    }
}

fn create(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spooled(cap: u64, chunks: &[&[u8]]) -> (Printed, String, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output.log");
        let mut spool = Spool::new(path.clone(), cap);
        chunks.iter().for_each(|chunk| spool.take(chunk));
        let (printed, last) = spool.finish();
        (printed, last, std::fs::read(path).unwrap_or_default())
    }

    #[test]
    fn what_fits_is_kept_to_the_byte() {
        let (printed, last, file) = spooled(16, &[b"one ", b"two ", b"three", b"xyz"]);
        assert_eq!(printed, Printed { bytes: 16, dropped: 0 });
        assert_eq!(file, b"one two threexyz");
        assert_eq!(last, "one two threexyz");
    }

    #[test]
    fn nothing_printed_makes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output.log");
        Spool::new(path.clone(), 10).finish();
        assert!(!path.exists());
    }

    #[test]
    fn beginning_and_end_are_kept_of_what_does_not_fit() {
        let (printed, _, file) = spooled(16, &[b"0123456789ab", b"MIDDLE", b"wxyz"]);
        assert_eq!(printed, Printed { bytes: 22, dropped: 6 });
        assert_eq!(file, b"0123456789ab\n[6 bytes left out]\nwxyz");
        let (printed, last, file) = spooled(1000, &[&[b'a'; 100_000], b"end"]);
        assert_eq!(printed, Printed { bytes: 100_003, dropped: 99_003 });
        assert!(file.len() < 1100 && file.ends_with(b"aend"), "{}", file.len());
        assert_eq!(last.len(), 4096);
    }

    #[test]
    fn a_file_that_cannot_be_written_drops_all_and_tells() {
        let mut spool = Spool::new("/dev/null/x".into(), 100);
        spool.take(b"hello");
        let (printed, last) = spool.finish();
        assert_eq!(printed, Printed { bytes: 5, dropped: 5 });
        assert_eq!(last, "hello");
        assert!(spool.error.is_some());
    }
}
