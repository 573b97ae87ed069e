//! Playing a script, in a process of its own.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use rustix::process::{Signal, kill_process};

use super::{
    ARGUMENT,
    script::{Change, How, Step, parse},
};
use crate::{
    drivers::exit::EXIT_CONFIG,
    protocol::{self, client},
};

/// What a scripted agent gets from its binary.
pub struct Surroundings<'a> {
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Where it prints.
    pub out: &'a mut dyn Write,
}

/// A step that did not work.
#[derive(Debug, thiserror::Error)]
enum PlayError {
    #[error(transparent)]
    Script(#[from] super::ScriptError),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error(transparent)]
    Protocol(#[from] client::ClientError),
    #[error("{0} does not hold the text to replace")]
    NothingToReplace(PathBuf),
    #[error("git {0} failed")]
    Git(&'static str),
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> PlayError {
    let what = what.into();
    move |source| PlayError::Io { what, source }
}

/// Plays the script that the arguments after [`ARGUMENT`] name, and returns how it ends.
///
/// To be called by the binary before it does anything else. A script that cannot be read ends with 78
/// (`EX_CONFIG`), a step that does not work with 1; both say why.
#[must_use]
pub fn main(arguments: &[OsString], mut surroundings: Surroundings<'_>) -> ExitCode {
    let words: Vec<_> = arguments.iter().map(OsString::as_os_str).collect();
    let played = match words.as_slice() {
        [daemon, stage] if *daemon == "--daemon" => become_daemon(stage),
        [file] => play(Path::new(file), 0, &mut surroundings),
        [file, from] => {
            let from = from.to_str().and_then(|from| from.parse().ok()).unwrap_or(0);
            play(Path::new(file), from, &mut surroundings)
        }
        _ => return ExitCode::from(2),
    };
    match played {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Whoever closed its output does not want to know.
            let _ = writeln!(surroundings.out, "scripted agent: {error}");
            ExitCode::from(if matches!(error, PlayError::Script(_)) { EXIT_CONFIG } else { 1 })
        }
    }
}

fn play(file: &Path, from: usize, surroundings: &mut Surroundings<'_>) -> Result<u8, PlayError> {
    let text = fs::read_to_string(file).map_err(io_error(file.display().to_string()))?;
    let steps = parse(&text)?;
    for (number, step) in steps.iter().enumerate().skip(from) {
        if let Some(code) = perform(step, (file, number), surroundings)? {
            return Ok(code);
        }
        let _ = surroundings.out.flush();
    }
    Ok(0)
}

/// Performs a step; returns an exit code if it is the last one. `at` is the script, and the number of the step.
fn perform(
    step: &Step,
    at: (&Path, usize),
    surroundings: &mut Surroundings<'_>,
) -> Result<Option<u8>, PlayError> {
    match step {
        Step::Delay(length) => std::thread::sleep(*length),
        Step::Print(text) => print(surroundings, text)?,
        Step::Output(outputs) => {
            for (name, value) in outputs {
                say(surroundings, &["output", &format!("{name}={value}")])?;
            }
        }
        Step::Note(text) => drop(say(surroundings, &["note", text])?),
        Step::Progress(fraction) => drop(say(surroundings, &["progress", &fraction.to_string()])?),
        Step::Ask { question, choices, output } => {
            let mut words = vec!["ask", question];
            words.extend(choices.iter().flat_map(|choice| ["--choice", choice]));
            let answer = say(surroundings, &words)?.unwrap_or_default();
            print(surroundings, &answer)?;
            if let Some(name) = output {
                say(surroundings, &["output", &format!("{name}={answer}")])?;
            }
        }
        Step::Edit { path, change } => edit(path, change)?,
        Step::Commit(message) => commit(message)?,
        Step::Fail { how, on_attempt, message } => {
            let attempt = (surroundings.env)("KAPELL_ATTEMPT").and_then(|text| text.to_str()?.parse().ok());
            if on_attempt.is_none() || *on_attempt == attempt {
                message.iter().try_for_each(|message| print(surroundings, message))?;
                return end(*how, surroundings).map(Some);
            }
        }
        Step::Garbage { bytes, seed } => garbage(*bytes, *seed, surroundings.out)?,
        Step::IgnoreTerm => return Err(ignore_term(at)),
        Step::ForkDaemon => fork_daemon()?,
        Step::DeleteWorkspace => {
            let workspace = (surroundings.env)("KAPELL_WORKSPACE").unwrap_or_default();
            fs::remove_dir_all(&workspace).map_err(io_error("the workspace cannot be deleted"))?;
        }
        Step::Hang => hang(),
    }
    Ok(None)
}

fn print(surroundings: &mut Surroundings<'_>, text: &str) -> Result<(), PlayError> {
    writeln!(surroundings.out, "{text}").map_err(io_error("nothing can be printed"))
}

fn say(surroundings: &Surroundings<'_>, words: &[&str]) -> Result<Option<String>, PlayError> {
    let words: Vec<_> = words.iter().map(OsString::from).collect();
    match client::run(&words, surroundings.env) {
        // Where nobody listens there is nobody to be told; a question or an output would be missed.
        Err(client::ClientError::Outside(protocol::SOCKET))
            if words[0] == "note" || words[0] == "progress" =>
        {
            Ok(None)
        }
        said => Ok(said?),
    }
}

fn edit(path: &Path, change: &Change) -> Result<(), PlayError> {
    let name = path.display().to_string();
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(io_error(&name))?;
    }
    match change {
        Change::Content(text) => fs::write(path, text).map_err(io_error(name)),
        Change::Append(text) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(io_error(name)),
        Change::Replace { from, to } => {
            let before = fs::read_to_string(path).map_err(io_error(&name))?;
            let after = before.replacen(from.as_str(), to, 1);
            if !before.contains(from.as_str()) {
                return Err(PlayError::NothingToReplace(path.to_owned()));
            }
            fs::write(path, after).map_err(io_error(name))
        }
    }
}

/// Commits as an agent would, with the name of one; the hooks of the repository are not for it.
fn commit(message: &str) -> Result<(), PlayError> {
    let git = |what: &'static str, arguments: &[&str]| {
        let status = Command::new("git")
            .args(["-c", "user.name=scripted", "-c", "user.email=scripted@localhost"])
            .args(["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"])
            .args(arguments)
            .stdin(Stdio::null())
            .status()
            .map_err(io_error("git cannot be started"))?;
        if status.success() { Ok(()) } else { Err(PlayError::Git(what)) }
    };
    git("add", &["add", "--all"])?;
    git("commit", &["commit", "--quiet", "--message", message])
}

fn end(how: How, surroundings: &mut Surroundings<'_>) -> Result<u8, PlayError> {
    let _ = surroundings.out.flush();
    match how {
        How::Exit(code) => Ok(code),
        How::Signal(number) => {
            let signal = Signal::from_named_raw(number)
                .ok_or(io::Error::from(io::ErrorKind::InvalidInput))
                .map_err(io_error(format!("signal {number}")))?;
            kill_process(rustix::process::getpid(), signal)
                .map_err(|error| io_error("no signal can be sent")(error.into()))?;
            // It was one that does not end a process.
            Ok(1)
        }
    }
}

fn garbage(bytes: u64, seed: u64, out: &mut dyn Write) -> Result<(), PlayError> {
    let mut stream = blake3::Hasher::new_derive_key("kapell 2026 scripted garbage");
    stream.update(&seed.to_le_bytes());
    let stream = io::Read::take(stream.finalize_xof(), bytes);
    let mut stream = io::BufReader::with_capacity(1 << 16, stream);
    io::copy(&mut stream, out).map(drop).map_err(io_error("nothing can be printed"))
}

fn own_program() -> Result<PathBuf, PlayError> {
    std::env::current_exe().map_err(io_error("the own program cannot be found"))
}

/// Replaces this process by one that ignores SIGTERM and goes on after this step.
///
/// A signal that is ignored stays so over exec; a shell can ignore one without unsafe code.
fn ignore_term((file, number): (&Path, usize)) -> PlayError {
    let program = match own_program() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let error = Command::new("/bin/sh")
        .args(["-c", r#"trap "" TERM INT HUP; exec "$@""#, "sh"])
        .args([program.as_os_str(), OsStr::new(ARGUMENT), file.as_os_str()])
        .arg((number + 1).to_string())
        .exec();
    io_error("SIGTERM cannot be ignored")(error)
}

fn spawn_daemon(stage: &str) -> Result<(), PlayError> {
    let started = Command::new(own_program()?)
        .args([ARGUMENT, "--daemon", stage])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started.map(drop).map_err(io_error("no daemon can be started"))
}

/// Starts a process that starts another one in a session of its own and ends.
fn fork_daemon() -> Result<(), PlayError> {
    let mut first = Command::new(own_program()?)
        .args([ARGUMENT, "--daemon", "first"])
        .stdin(Stdio::null())
        .spawn()
        .map_err(io_error("no daemon can be started"))?;
    first.wait().map(drop).map_err(io_error("no daemon can be started"))
}

fn become_daemon(stage: &OsStr) -> Result<u8, PlayError> {
    if stage == "first" {
        rustix::process::setsid().map_err(|error| io_error("no session can be made")(error.into()))?;
        return spawn_daemon("second").map(|()| 0);
    }
    hang()
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}
