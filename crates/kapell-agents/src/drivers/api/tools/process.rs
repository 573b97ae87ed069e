//! A command, bounded in time and output.

use std::{
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::lock::lock;

/// As much of an output is shown, in bytes: the beginning,
const HEAD_BYTES: usize = 8 << 10;
/// and the end, where the outcome mostly stands.
const TAIL_BYTES: usize = 16 << 10;
/// What a command has left running may still write for so long; nobody waits for more.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) timed_out: bool,
    /// What it printed, on both ways, as much of it as is shown.
    pub(super) output: String,
}

/// Runs a command to its end. It gets no input; what it leaves in its process group is ended with it.
pub(super) fn run(mut command: Command, timeout: Duration) -> io::Result<Ran> {
    let (mut output, input) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input).process_group(0);
    let mut child = command.spawn()?;
    // It holds the writing ends, too, and the output would not end.
    drop(command);
    let group = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    let kept = Arc::new(Mutex::new(Kept::default()));
    let (reading, read) = mpsc::channel();
    let keeper = kept.clone();
    thread::spawn(move || {
        let mut chunk = [0; 1 << 14];
        while let Ok(len @ 1..) = output.read(&mut chunk) {
            lock(&keeper).take(&chunk[..len]);
        }
        let _ = reading.send(());
    });
    let (waiting, ended) = mpsc::channel();
    thread::spawn(move || {
        // It stays unreaped, so that its number, which is that of the group, is taken until the group is ended.
        let _ = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let _ = waiting.send(());
    });
    let timed_out = ended.recv_timeout(timeout).is_err();
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait()?;
    let _ = read.recv_timeout(LAST_WORDS);
    let output = lock(&kept).shown();
    Ok(Ran { code: status.code().filter(|_| !timed_out), timed_out, output })
}

/// The beginning and the end of what is printed.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: Vec<u8>,
    left_out: usize,
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.extend_from_slice(rest);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        self.left_out += excess;
    }

    fn shown(&self) -> String {
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&self.tail));
        match self.left_out {
            0 => String::from_utf8_lossy(&[self.head.as_slice(), &self.tail].concat()).into_owned(),
            bytes => format!("{head}\n(... {bytes} bytes are left out ...)\n{tail}"),
        }
    }
}

/// Returns as much of a text as is shown.
pub(super) fn clip(text: &str) -> String {
    let mut kept = Kept::default();
    kept.take(text.as_bytes());
    kept.shown()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_and_end_of_a_long_output_are_kept() {
        let text = clip(&format!("first{}last", "x".repeat(1 << 20)));
        assert!(
            text.starts_with("first") && text.ends_with("last") && text.len() < 26 << 10,
            "{}",
            text.len()
        );
        assert!(text.contains("bytes are left out"));
        assert_eq!(clip("short ü"), "short ü");
    }

    #[test]
    fn a_command_that_leaves_something_behind_is_over_when_it_is_over() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 30 & echo $!"]);
        let begun = std::time::Instant::now();
        let ran = run(command, Duration::from_secs(20)).unwrap();
        assert_eq!(ran.code, Some(0));
        assert!(begun.elapsed() < Duration::from_secs(10));
        let pid = Pid::from_raw(ran.output.trim().parse().unwrap()).unwrap();
        let gone = || rustix::process::test_kill_process(pid).is_err() || is_zombie(pid);
        while !gone() {
            thread::yield_now();
        }
    }

    fn is_zombie(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
    }
}
