//! Keys that a program gives: a keyring's, a password manager's.

use std::{
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::supervise::processes;

/// How long it may take: a keyring may first ask a person to unlock it.
const TIME_MAX: Duration = Duration::from_secs(60);
/// A longer text is no key, in bytes.
const KEY_BYTES_MAX: u64 = 16 << 10;

/// Why a program gave no key. What it printed is in none of them.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("`{program}` cannot be started: {source}")]
    Start { program: String, source: io::Error },
    #[error("`{program}` failed ({status})")]
    Failed { program: String, status: ExitStatus },
    #[error("`{program}` gave no key within {} s", time.as_secs())]
    Slow { program: String, time: Duration },
    #[error("what `{program}` gave is no key: {why}")]
    NoKey { program: String, why: &'static str },
}

impl KeyError {
    /// Says what a person can do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Start { .. } => {
                "`key_command` is a list of a program and its arguments, and no shell reads it"
            }
            Self::Failed { .. } | Self::NoKey { .. } => {
                "run `key_command` by hand: it must print the key and nothing else"
            }
            Self::Slow { .. } => "unlock the keyring first, or run `key_command` by hand",
        }
    }
}

/// Has a program give a key. It is started as it is, without a shell, and ended when its time is up; what it prints as
/// errors is not looked at.
///
/// # Errors
///
/// Fails if it cannot be started, fails, is too slow, or prints something else than one line that can be a key.
pub(super) fn ask(command: &[String]) -> Result<String, KeyError> {
    ask_within(command, TIME_MAX)
}

fn ask_within(command: &[String], time: Duration) -> Result<String, KeyError> {
    let program = command.first().cloned().unwrap_or_default();
    let start = |source| KeyError::Start { program: program.clone(), source };
    let mut process = Command::new(&program);
    process.args(command.get(1..).unwrap_or_default()).process_group(0);
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let due = Instant::now() + time;
    let mut child = process.spawn().map_err(start)?;
    let Some(stdout) = child.stdout.take() else { return Err(start(io::ErrorKind::BrokenPipe.into())) };
    let (said, heard) = mpsc::channel();
    // It ends with the program, or when that is ended below.
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.take(KEY_BYTES_MAX + 1).read_to_end(&mut text);
        let _ = said.send(read.map(|_| text));
    });
    let text = heard.recv_timeout(time);
    if text.is_err() {
        end(&mut child);
        return Err(KeyError::Slow { program, time });
    }
    // One that prints on is not waited for; one that has closed its output has what is left of its time.
    let too_long = matches!(&text, Ok(Ok(text)) if text.len() as u64 > KEY_BYTES_MAX);
    if too_long {
        end(&mut child);
        return Err(KeyError::NoKey { program, why: "it is too long" });
    }
    let Some(status) = processes::wait_until(&mut child, due).map_err(start)? else {
        end(&mut child);
        return Err(KeyError::Slow { program, time });
    };
    if !status.success() {
        return Err(KeyError::Failed { program, status });
    }
    let text = text.ok().and_then(Result::ok).unwrap_or_default();
    read(&text).map_err(|why| KeyError::NoKey { program, why })
}

/// Takes the key out of what was printed: one line, of characters that may stand in a header.
fn read(text: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no text")?.trim_end_matches(['\r', '\n']);
    match text {
        "" => Err("it is empty"),
        text if text.contains('\n') => Err("it has more than one line"),
        text if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("it has blanks or other characters that no key has"),
    }
}

/// Ends a program and all that it has started in its group.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).into()
    }

    #[test]
    fn a_key_is_one_line_and_nothing_that_was_printed_is_told() {
        for (script, expected) in [
            ("echo sk-123", Ok("sk-123")),
            ("printf 'sk-1\\r\\n'; echo noise >&2", Ok("sk-1")),
            ("echo canary; exit 3", Err("`/bin/sh` failed (exit status: 3)")),
            ("true", Err("what `/bin/sh` gave is no key: it is empty")),
            ("printf 'canary\\nb\\n'", Err("what `/bin/sh` gave is no key: it has more than one line")),
            ("echo 'no canary'", Err("no key: it has blanks")),
            ("printf 'canary\\377'", Err("no key: it is no text")),
            ("yes canary | tr -d '\\n'", Err("no key: it is too long")),
        ] {
            match (ask(&sh(script)), expected) {
                (Ok(key), expected) => assert_eq!(Ok(key.as_str()), expected, "{script}"),
                (Err(error), Err(expected)) => {
                    let said = format!("{error} {error:?} {}", error.hint());
                    assert!(said.contains(expected) && !said.contains("canary"), "{said}");
                }
                (Err(error), Ok(_)) => panic!("{script}: {error}"),
            }
        }
        let error = ask(&["/nowhere/secret-tool".to_owned()]).unwrap_err();
        assert!(matches!(error, KeyError::Start { .. }), "{error}");
    }

    #[test]
    fn one_that_has_closed_its_output_and_goes_on_is_ended_when_its_time_is_up() {
        let begun = Instant::now();
        let error =
            ask_within(&sh("echo canary; exec >&-; sleep 600"), Duration::from_millis(500)).unwrap_err();
        assert!(matches!(error, KeyError::Slow { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }

    #[test]
    fn one_that_does_not_answer_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let error = ask_within(&sh(&script), Duration::from_millis(500)).unwrap_err();
        assert!(matches!(error, KeyError::Slow { .. }), "{error}");
        // It may have been ended before it could start the other one.
        let Ok(Ok(pid)) = std::fs::read_to_string(pid).map(|text| text.trim().parse::<i32>()) else { return };
        let is_over = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
        };
        let begun = Instant::now();
        while !is_over() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{pid} goes on");
            thread::yield_now();
        }
    }
}
