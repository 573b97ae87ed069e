//! What is to be performed.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    sync::Arc,
};

use super::client;
use crate::{
    contain::Contained,
    private,
    protocol::{Brief, outputs::Outputs},
    supervise::Limits,
};

/// Variables that an agent gets from kapell's own environment, if they are set there. No other one is passed on
/// unless it is asked for by name.
pub const ENVIRONMENT_ALLOWED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TZ",
    "TMPDIR",
    "TERM",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// A longer script is passed as a file, for the kernel takes no longer argument (`MAX_ARG_STRLEN`).
const ARGUMENT_BYTES_MAX: usize = 96 << 10;
const SCRIPT_FILE: &str = "script.sh";

/// What performs an attempt.
#[derive(Debug, Clone)]
pub enum Work {
    /// A script, run by `/bin/sh -e`: the first command that fails ends it, as in GitHub's workflows; an unset
    /// variable is empty. The text is passed as it is, nothing is ever put into it.
    Shell(String),
    /// A program and its arguments. Without a slash the program is looked up in the job's `PATH`.
    Program(Vec<OsString>),
    /// A coding agent. It is always supervised in full.
    Client(Box<client::Order>),
    /// Nothing: it succeeds at once, giving these outputs.
    Noop(Outputs),
    /// A person, who is asked. The answer is the output `answer`.
    Person {
        /// What is asked.
        question: String,
        /// What can be answered; anything if empty.
        choices: Vec<String>,
    },
}

/// How its processes are held together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Supervision {
    /// Under a supervisor: nothing is left of it, whatever it does, even if kapell is killed.
    #[default]
    Full,
    /// As a process group below kapell, for trusted, cheap commands. A process that leaves the group survives,
    /// and so does all of it if kapell is killed, until [`crate::supervise::recover()`] finds it by its mark.
    Group,
}

/// One attempt, as its crew is told about it.
#[derive(Debug, Clone)]
pub struct Job {
    /// What performs it.
    pub work: Work,
    /// The name of its task, for `KAPELL_TASK`.
    pub task: String,
    /// The attempt's own directory, used by no other attempt; it is made if need be.
    pub dir: PathBuf,
    /// The directory in which it works.
    pub cwd: PathBuf,
    /// What it is given to read.
    pub brief: Arc<Brief>,
    /// A script of the plan: its directory may become that of a later attempt once nobody will read what is in it.
    pub is_script: bool,
    /// Its environment, besides the variables of the protocol (see [`crate::protocol`]).
    pub env: Vec<(OsString, OsString)>,
    /// How its processes are held together.
    pub supervision: Supervision,
    /// Its limits.
    pub limits: Limits,
    /// How it is contained; if `None`, only its processes are held.
    pub contained: Option<Contained>,
    /// Whether its exit record is forced to disk (see [`crate::supervise::Spec::durable`]).
    pub durable: bool,
}

impl Job {
    /// Makes a job with the usual limits, under a supervisor, with an empty environment.
    #[must_use]
    pub fn new(
        work: Work,
        task: impl Into<String>,
        dir: impl Into<PathBuf>,
        cwd: impl Into<PathBuf>,
    ) -> Self {
        Self {
            work,
            task: task.into(),
            dir: dir.into(),
            cwd: cwd.into(),
            brief: Arc::default(),
            is_script: false,
            env: Vec::new(),
            supervision: Supervision::Full,
            limits: Limits::default(),
            contained: None,
            durable: true,
        }
    }

    /// Returns program and arguments; none if no process performs the work.
    ///
    /// # Errors
    ///
    /// Fails if a script cannot be written to the attempt's directory, which must be there.
    pub(crate) fn argv(&self) -> std::io::Result<Option<Vec<OsString>>> {
        match &self.work {
            Work::Shell(script) if script.len() <= ARGUMENT_BYTES_MAX => {
                Ok(Some(["/bin/sh", "-e", "-c", script].map(OsString::from).into()))
            }
            Work::Shell(script) => {
                let path = self.dir.join(SCRIPT_FILE);
                private::write(&path, script)?;
                Ok(Some(vec!["/bin/sh".into(), "-e".into(), path.into()]))
            }
            Work::Program(argv) => Ok(Some(self.resolved(argv))),
            Work::Client(_) | Work::Noop(_) | Work::Person { .. } => Ok(None),
        }
    }

    pub(crate) fn resolved(&self, argv: &[OsString]) -> Vec<OsString> {
        let mut argv = argv.to_vec();
        if let Some(program) = argv.first_mut() {
            *program = looked_up(program, &self.env).into();
        }
        argv
    }
}

/// Looks up a program in the `PATH` of `env`, unless it has a slash; what is not found stays as it is.
pub(crate) fn looked_up(program: &OsStr, env: &[(OsString, OsString)]) -> PathBuf {
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, path)| path);
    let dirs = path.filter(|_| !program.as_encoded_bytes().contains(&b'/')).map(std::env::split_paths);
    let mut candidates = dirs.into_iter().flatten().map(|dir| dir.join(program));
    candidates.find(|path| path.is_file()).unwrap_or_else(|| program.into())
}

/// Returns the variables of `environment` that are passed on, those in [`ENVIRONMENT_ALLOWED`] and in `more`.
pub fn allowed(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    more: &[&str],
) -> Vec<(OsString, OsString)> {
    let named = |name: &OsStr| ENVIRONMENT_ALLOWED.iter().chain(more).any(|allowed| name == *allowed);
    environment.into_iter().filter(|(name, _)| named(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_allowed_is_passed_on() {
        let of = |name: &str| (OsString::from(name), OsString::from("x"));
        let passed =
            allowed([of("PATH"), of("AWS_SECRET_ACCESS_KEY"), of("EXTRA"), of("LD_PRELOAD")], &["EXTRA"]);
        assert_eq!(passed, [of("PATH"), of("EXTRA")]);
    }

    #[test]
    fn a_long_script_goes_into_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let script = "true\n".repeat(100_000);
        let job = Job::new(Work::Shell(script.clone()), "t", dir.path(), "/");
        let argv = job.argv().unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(&argv[2]).unwrap(), script);
    }
}
