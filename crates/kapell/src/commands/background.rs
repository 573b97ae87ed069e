//! Starting this program in the background, and seeing it begin.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek},
    os::unix::fs::OpenOptionsExt,
    process::{self, Child, Stdio},
    time::{Duration, Instant},
};

use kapell_core::{id::RunId, journal::Version};
use kapell_engine::port::journal::Journal;
use kapell_store::Store;

use crate::{exit::Exit, fault::Fault, site};

/// How often it is looked whether a run has begun.
const LOOK: Duration = Duration::from_millis(10);

/// How long a run may take to begin before it is left alone.
pub const BEGIN: Duration = Duration::from_secs(60);

/// What became of a run that was to go on in the background.
pub enum Begun {
    /// Another process executes it, or has done so.
    Executed,
    /// The other process goes on, and has not begun with the run in the time given to it.
    Slow,
    /// The other process ended, with what it said on standard error.
    Refused {
        /// How it ended.
        exit: Exit,
        /// What it said, as it would have been shown.
        said: String,
    },
}

/// Starts this program in a session of its own to execute `run`, and waits until it does or has given up.
///
/// # Errors
///
/// Fails if no process can be started, or the journal cannot be read.
pub fn spawn(words: &[OsString], store: &Store, run: RunId) -> Result<Begun, Fault> {
    let lost = |error: io::Error| {
        Fault::new("K0904", Exit::Environment, "the run cannot be started in the background").because(error)
    };
    let before = version(store, run)?;
    let path = site::runtime_dir()?.join(format!("{run}-{}.said", process::id()));
    let said = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    let mut said = said.map_err(lost)?;
    // Both processes have it open; without a name nothing of it is left, whatever becomes of them.
    fs::remove_file(&path).map_err(lost)?;
    let mut child = start(words, said.try_clone().map_err(lost)?).map_err(lost)?;
    let begin = Instant::now();
    while begin.elapsed() < BEGIN {
        // In this order: one that has ended may have executed the run to its end before.
        let ended = child.try_wait().map_err(lost)?;
        let executed = store.owner(run)?.is_some_and(|owner| owner.pid == child.id());
        if executed && version(store, run)? > before {
            return Ok(Begun::Executed);
        }
        if let Some(status) = ended {
            let mut text = String::new();
            said.rewind().and_then(|()| said.read_to_string(&mut text)).map_err(lost)?;
            return Ok(after(status.code(), text));
        }
        std::thread::sleep(LOOK);
    }
    Ok(Begun::Slow)
}

/// Starts this program with its errors in `said`.
fn start(words: &[OsString], said: File) -> io::Result<Child> {
    let mut command = process::Command::new(std::env::current_exe()?);
    command.args(["--quiet", "--no-input"]).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    command.env(crate::IN_BACKGROUND, "1").spawn()
}

fn version(store: &Store, run: RunId) -> Result<Version, Fault> {
    Ok(store.head(run)?.map_or(Version(0), |head| head.version))
}

/// Judges a process that has ended: it says something only if it could not do what it should.
fn after(code: Option<i32>, said: String) -> Begun {
    let exit = Exit::ALL.into_iter().find(|exit| code == Some(i32::from(*exit as u8)));
    match exit {
        Some(_) if said.is_empty() => Begun::Executed,
        exit => Begun::Refused { exit: exit.unwrap_or(Exit::Bug), said },
    }
}
