//! Keys that are asked for when they are needed: of a keyring, or of a program such as a password manager.

use std::{
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{
    drivers::client::{Denial, KeyGiver, Keyring, Service},
    supervise::processes,
};

/// How long it may take: a keyring may first ask a person to unlock it.
const TIME_MAX: Duration = Duration::from_secs(60);
/// How long a keyring may take to say what it keeps: nobody is asked for that.
const LIST_TIME_MAX: Duration = Duration::from_secs(10);
/// A longer text is no key, in bytes.
const KEY_BYTES_MAX: u64 = 16 << 10;
/// How long what it printed as errors may stay away once it has ended.
const ERRORS_PATIENCE: Duration = Duration::from_secs(1);

/// Why there is no key. What the program printed is in none of them, save the words of a keyring's own program.
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
    #[error("the keyring keeps none for the service `{0}`")]
    NotFound(String),
    #[error("the keyring is locked")]
    Locked,
    #[error("the keyring cannot be asked: {0}")]
    NoKeyring(String),
}

impl KeyError {
    /// Says what a person can do about it.
    pub(super) fn hint(&self, giver: &KeyGiver) -> String {
        let KeyGiver::Keyring(service) = giver else { return self.hint_of_command().to_owned() };
        let store = Keyring::HERE.store(service);
        match self {
            Self::Start { .. } => giver.install_hint().to_owned(),
            Self::NotFound(_) => format!("store it, you will be asked for it: {store}"),
            Self::NoKey { .. } => format!("store the key and nothing else: {store}"),
            Self::Locked | Self::Slow { .. } => {
                format!("unlock it, as by `{}`, which prints the key", giver.argv().join(" "))
            }
            Self::NoKeyring(_) | Self::Failed { .. } => {
                "is this a session of your desktop? Without one take `key_command` or `key_env`".to_owned()
            }
        }
    }

    fn hint_of_command(&self) -> &'static str {
        match self {
            Self::Start { .. } => {
                "`key_command` is a list of a program and its arguments, and no shell reads it"
            }
            Self::Slow { .. } => "unlock the keyring first, or run `key_command` by hand",
            _ => "run `key_command` by hand: it must print the key and nothing else",
        }
    }
}

/// Has a program give a key, or the keyring's. It is started as it is, without a shell, and ended when its time is up.
/// What a program prints as errors is looked at only where it is the keyring's: nobody knows what another one prints.
///
/// # Errors
///
/// Fails if it cannot be started, fails, is too slow, or prints something else than one line that can be a key.
pub(super) fn ask(giver: &KeyGiver) -> Result<String, KeyError> {
    ask_within(giver, TIME_MAX).map_err(|(error, errors)| match (giver, error) {
        (KeyGiver::Keyring(service), KeyError::Failed { status, .. }) => {
            match Keyring::HERE.judge(status.code(), &errors) {
                Denial::NotFound if is_kept(service) => KeyError::Locked,
                Denial::NotFound => KeyError::NotFound(service.name().to_owned()),
                Denial::Locked => KeyError::Locked,
                Denial::Other(words) => KeyError::NoKeyring(words),
            }
        }
        (_, error) => error,
    })
}

/// Tells whether the keyring keeps a key that it did not give.
fn is_kept(service: &Service) -> bool {
    let listed = Keyring::HERE.list(service).map(|argv| print_within(&argv, true, LIST_TIME_MAX));
    // What is printed may hold the key, if somebody has unlocked it meanwhile.
    listed.is_some_and(|listed| listed.is_ok_and(|text| !text.trim_ascii().is_empty()))
}

/// Why there is no key, and what was printed as errors.
type Refused = (KeyError, String);

fn ask_within(giver: &KeyGiver, time: Duration) -> Result<String, Refused> {
    let program = giver.program().to_owned();
    let text = print_within(&giver.argv(), matches!(giver, KeyGiver::Keyring(_)), time)?;
    read(&text).map_err(|why| (KeyError::NoKey { program, why }, String::new()))
}

/// Returns what a program prints; what it says as errors is in English with `in_english`.
fn print_within(argv: &[String], in_english: bool, time: Duration) -> Result<Vec<u8>, Refused> {
    let program = argv.first().cloned().unwrap_or_default();
    let start = |source| (KeyError::Start { program: program.clone(), source }, String::new());
    let mut process = Command::new(&program);
    process.args(argv.get(1..).unwrap_or_default()).process_group(0);
    if in_english {
        process.env("LC_ALL", "C");
    }
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let due = Instant::now() + time;
    let mut child = process.spawn().map_err(start)?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(start(io::ErrorKind::BrokenPipe.into()));
    };
    let (text, errors) = (collect(stdout), collect(stderr));
    let slow = || (KeyError::Slow { program: program.clone(), time }, String::new());
    let Ok(text) = text.recv_timeout(time) else {
        end(&mut child);
        return Err(slow());
    };
    // One that prints on is not waited for; one that has closed its output has what is left of its time.
    if text.len() as u64 > KEY_BYTES_MAX {
        end(&mut child);
        return Err((KeyError::NoKey { program, why: "it is too long" }, String::new()));
    }
    let Some(status) = processes::wait_until(&mut child, due).map_err(start)? else {
        end(&mut child);
        return Err(slow());
    };
    if !status.success() {
        // They are there by now, unless something that it has left behind holds them open.
        let errors = errors.recv_timeout(ERRORS_PATIENCE).unwrap_or_default();
        let errors = String::from_utf8_lossy(&errors).into_owned();
        return Err((KeyError::Failed { program, status }, errors));
    }
    Ok(text)
}

/// Reads what a program prints, as far as a key may be long, and swallows the rest. It ends with the program, or when that
/// is ended.
fn collect(mut printed: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = (&mut printed).take(KEY_BYTES_MAX + 1).read_to_end(&mut text);
        let _ = said.send(text);
        let _ = io::copy(&mut printed, &mut io::sink());
    });
    heard
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

    fn sh(script: &str) -> KeyGiver {
        KeyGiver::Command(["/bin/sh", "-c", script].map(str::to_owned).into())
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
                    let said = format!("{error} {error:?} {}", error.hint(&sh(script)));
                    assert!(said.contains(expected) && !said.contains("canary"), "{said}");
                }
                (Err(error), Ok(_)) => panic!("{script}: {error}"),
            }
        }
        let error = ask(&KeyGiver::Command(vec!["/nowhere/secret-tool".to_owned()])).unwrap_err();
        assert!(matches!(error, KeyError::Start { .. }), "{error}");
    }

    #[test]
    fn one_that_has_closed_its_output_and_goes_on_is_ended_when_its_time_is_up() {
        let begun = Instant::now();
        let script = sh("echo canary; exec >&-; sleep 600");
        let (error, _) = ask_within(&script, Duration::from_millis(500)).unwrap_err();
        assert!(matches!(error, KeyError::Slow { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }

    #[test]
    fn one_that_does_not_answer_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let (error, _) = ask_within(&sh(&script), Duration::from_millis(500)).unwrap_err();
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
