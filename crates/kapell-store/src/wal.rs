//! Looks through a write-ahead log before SQLite does.
//!
//! SQLite takes the first frame that does not fit for the end of the log and forgets all after it. That is right
//! for a write that a crash has torn, and wrong for a byte that has changed in the middle. A commit is synced
//! before the next one begins, so a crash can leave at most one unfinished: two good commits behind a bad frame
//! mean damage.
//!
//! Format: <https://sqlite.org/fileformat2.html#walformat>.

use std::{
    ffi::OsString,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use kapell_engine::port::journal::JournalError;

use crate::fault::{damaged, io};

/// Bytes of the log's header.
pub(crate) const HEADER: u64 = 32;

/// Bytes of a frame's header; a page follows it.
pub(crate) const FRAME_HEADER: u64 = 24;

/// The name of the log that belongs to the database at `path`.
pub(crate) fn path_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    PathBuf::from(name)
}

/// What a scan found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Frames after the last good commit that were written for this log: SQLite will not read them.
    pub(crate) torn_frames: u64,
    /// Bytes from the end of the last good commit to the end of the last such frame.
    pub(crate) torn_bytes: u64,
}

/// Syncs the log at `path`, whoever wrote it. What is in the database instead was synced here before it got there.
///
/// # Errors
///
/// Fails if it cannot be synced.
pub(crate) fn sync(path: &Path) -> Result<(), JournalError> {
    match File::open(path).and_then(|log| log.sync_data()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(io(path, "syncing the write-ahead log")),
    }
}

/// Looks through the log at `path`.
///
/// # Errors
///
/// Fails if the log cannot be read, or is damaged before its last two commits.
pub(crate) fn scan(path: &Path) -> Result<Scan, JournalError> {
    let first = match scan_once(path)? {
        Ok(scan) => return Ok(scan),
        Err(damage) => damage,
    };
    // A writer that was at work meanwhile can look like damage, but not twice at one place.
    match scan_once(path)? {
        Ok(scan) => Ok(scan),
        Err(second) if second == first => Err(damaged(path, second.offset, second.what)),
        Err(_) => Ok(Scan::default()),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Damage {
    offset: u64,
    what: &'static str,
    header: [u8; 32],
}

fn scan_once(path: &Path) -> Result<Result<Scan, Damage>, JournalError> {
    let failed = io(path, "reading the write-ahead log");
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Ok(Scan::default())),
        Err(error) => return Err(failed(error)),
    };
    let mut file = BufReader::with_capacity(1 << 18, file);
    let mut header = [0; 32];
    let got = read_fully(&mut file, &mut header).map_err(&failed)?;
    if got < header.len() {
        return Ok(Ok(Scan { torn_frames: 0, torn_bytes: got as u64 }));
    }
    let Some(mut log) = Log::new(header) else {
        // Not even the size of a page can be told. A log that was never begun is all zero.
        if header == [0; 32] {
            return Ok(Ok(Scan::default()));
        }
        return Ok(Err(Damage { offset: 0, what: "the header of the write-ahead log", header }));
    };
    let mut frame = vec![0; log.frame_len()];
    loop {
        let got = read_fully(&mut file, &mut frame).map_err(&failed)?;
        if got < frame.len() {
            log.partial(&frame[..got]);
            return Ok(log.verdict());
        }
        log.frame(&frame);
    }
}

fn read_fully(file: &mut impl Read, into: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while got < into.len() {
        match file.read(&mut into[got..])? {
            0 => break,
            some => got += some,
        }
    }
    Ok(got)
}

/// What has been seen of a log so far.
struct Log {
    header: [u8; 32],
    big_endian: bool,
    page: usize,
    header_good: bool,
    /// The checksum that the next frame continues, if all went well.
    sum: (u32, u32),
    /// Where the next frame begins.
    at: u64,
    /// The first frame that does not fit.
    bad: Option<u64>,
    /// Good commits after it.
    commits_after: u32,
    /// Where the last good commit before it ends.
    end: u64,
    /// Frames of this log after that, and where the last one ends.
    torn: (u64, u64),
}

impl Log {
    fn new(header: [u8; 32]) -> Option<Self> {
        let magic = word(&header, 0);
        let page = word(&header, 8);
        let page = if page == 1 { 65_536 } else { page };
        if magic & !1 != 0x377f_0682 || !page.is_power_of_two() || !(512..=65_536).contains(&page) {
            return None;
        }
        let big_endian = magic & 1 == 1;
        let stored = (word(&header, 24), word(&header, 28));
        let header_good =
            word(&header, 4) == 3_007_000 && checksum(big_endian, (0, 0), &header[..24]) == stored;
        Some(Self {
            header,
            big_endian,
            page: page as usize,
            header_good,
            sum: stored,
            at: HEADER,
            bad: (!header_good).then_some(0),
            commits_after: 0,
            end: HEADER,
            torn: (0, HEADER),
        })
    }

    fn frame_len(&self) -> usize {
        FRAME_HEADER as usize + self.page
    }

    fn frame(&mut self, frame: &[u8]) {
        let salts = (frame[8..12] == self.header[16..20], frame[12..16] == self.header[20..24]);
        let stored = (word(frame, 16), word(frame, 20));
        let sum = checksum(self.big_endian, self.sum, &frame[..8]);
        let sum = checksum(self.big_endian, sum, &frame[FRAME_HEADER as usize..]);
        let good = salts == (true, true) && sum == stored && word(frame, 0) != 0;
        let commit = word(frame, 4) != 0;
        let begin = self.at;
        self.at += frame.len() as u64;
        // A later frame is held against the checksum that its neighbour claims to have.
        self.sum = stored;
        if !good && self.bad.is_none() {
            self.bad = Some(begin);
        }
        if good && commit {
            if self.bad.is_some() {
                self.commits_after += 1;
            } else {
                self.end = self.at;
                self.torn = (0, self.at);
                return;
            }
        }
        // What an earlier log has left behind has two other salts.
        if salts.0 || salts.1 {
            self.torn = (self.torn.0 + 1, self.at);
        }
    }

    /// The file ends within a frame.
    fn partial(&mut self, got: &[u8]) {
        let salts = self.header[16..24].iter().zip(got.iter().skip(8));
        let begun = got.iter().any(|byte| *byte != 0) && salts.into_iter().all(|(salt, byte)| salt == byte);
        if begun && self.torn.1 == self.at {
            self.torn = (self.torn.0 + 1, self.at + got.len() as u64);
        }
    }

    fn verdict(&self) -> Result<Scan, Damage> {
        let damage = |offset, what| Err(Damage { offset, what, header: self.header });
        match self.bad {
            // The header is synced before the first frame is written.
            Some(_) if !self.header_good && self.commits_after >= 1 => {
                damage(0, "the header of the write-ahead log")
            }
            Some(offset) if self.commits_after >= 2 => {
                damage(offset, "a frame of the write-ahead log, with later commits behind it")
            }
            _ => Ok(Scan { torn_frames: self.torn.0, torn_bytes: self.torn.1 - self.end }),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// SQLite's checksum of the log: two sums over pairs of 32-bit words, each taken up into the other.
fn checksum(big_endian: bool, from: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let (mut s0, mut s1) = from;
    for pair in bytes.chunks_exact(8) {
        let (a, b) = ([pair[0], pair[1], pair[2], pair[3]], [pair[4], pair[5], pair[6], pair[7]]);
        let (a, b) = if big_endian {
            (u32::from_be_bytes(a), u32::from_be_bytes(b))
        } else {
            (u32::from_le_bytes(a), u32::from_le_bytes(b))
        };
        s0 = s0.wrapping_add(a).wrapping_add(s1);
        s1 = s1.wrapping_add(b).wrapping_add(s0);
    }
    (s0, s1)
}
