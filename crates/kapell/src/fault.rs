//! Errors as a person sees them: a code, one sentence, where, why, and a hint that works when pasted.

use std::fmt;

use kapell_agents::git;
use kapell_engine::{
    control::ControlError,
    open::OpenError,
    port::journal::{AppendErrorKind, JournalError, JournalErrorKind, OwnError},
};

use crate::exit::Exit;

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub struct Fault {
    /// The code, for `kapell explain`.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where it is.
    pub place: Option<Box<Place>>,
    /// Why, from the outside in.
    pub because: Vec<String>,
    /// What can be done.
    pub hint: Option<String>,
    /// How the program ends.
    pub exit: Exit,
}

/// Where a fault is.
#[derive(Debug)]
pub struct Place {
    /// A file with line and column, a run with its task, a decision.
    pub at: String,
    /// The whole fault with the lines of the file that it is about, as a person reads it.
    pub picture: Option<String>,
}

impl Fault {
    /// Makes a fault.
    pub fn new(code: &'static str, exit: Exit, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), place: None, because: Vec::new(), hint: None, exit }
    }

    /// Makes a fault of what a run refused.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::new("K0503", Exit::Refused, why)
            .hint("kapell status says where each run stands, kapell inbox what it asks")
    }

    /// Adds what can be done.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds where it is.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(Box::new(Place { at: place.to_string(), picture: None }));
        self
    }

    /// Adds where it is, and how that looks.
    #[must_use]
    pub fn pictured(mut self, at: String, picture: String) -> Self {
        self.place = Some(Box::new(Place { at, picture: Some(picture) }));
        self
    }

    /// Adds a reason.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        self.because.push(why.to_string());
        self
    }

    /// Makes a fault of a file or directory that cannot be used.
    pub fn io(path: &std::path::Path, error: &std::io::Error) -> Self {
        let shown = kapell_view::untrusted::visible(&path.display().to_string());
        if error.kind() != std::io::ErrorKind::NotFound {
            return Self::new("K0900", Exit::Environment, format!("{shown} cannot be used")).because(error);
        }
        let dir =
            path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
        let fault = Self::new("K0900", Exit::Usage, format!("{shown} does not exist"));
        let there = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let there: Vec<String> = there.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        match kapell_spec::suggest::nearest(name, there.iter().map(String::as_str)) {
            Some(near) => {
                let near = path.with_file_name(near).display().to_string();
                fault.hint(format!("did you mean `{}`?", kapell_view::untrusted::visible(&near)))
            }
            None => {
                let dir = kapell_view::untrusted::Untrusted::from(dir.display().to_string()).shell();
                fault.hint(format!("ls {dir}"))
            }
        }
    }
}

impl From<JournalError> for Fault {
    fn from(error: JournalError) -> Self {
        let (code, what) = match &error.kind {
            JournalErrorKind::Full => ("K0601", "the journal cannot grow"),
            JournalErrorKind::Busy => ("K0602", "the journal is in use"),
            JournalErrorKind::Damaged { .. } | JournalErrorKind::Broken(_) => {
                ("K0603", "the journal is damaged")
            }
            JournalErrorKind::FormatTooNew { .. } => ("K0604", "the journal is too new"),
            JournalErrorKind::Io { .. } | JournalErrorKind::Database { .. } => {
                ("K0605", "the journal cannot be used")
            }
        };
        let elsewhere =
            || "KAPELL_STORE=DIR names a directory that you can write to; kapell doctor looks at it";
        let hint = match code {
            "K0605" => Some(
                kapell_store::hint(&error.kind)
                    .map_or_else(|| elsewhere().to_owned(), |hint| format!("{hint}; {}", elsewhere())),
            ),
            _ => kapell_store::hint(&error.kind).map(str::to_owned),
        };
        let fault = Self::new(code, Exit::Store, what).because(&error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

impl From<OwnError> for Fault {
    fn from(error: OwnError) -> Self {
        match error {
            OwnError::Held(owner) => {
                let since = jiff::Timestamp::from_millisecond(owner.since.0).unwrap_or_default();
                Self::new("K0606", Exit::Store, "the run is executed by another process")
                    .because(format!("process {} on {} has held it since {since}", owner.pid, owner.host))
                    .hint("kapell watch shows it; kapell pause, cancel and answer reach it, and resume if it is paused")
            }
            OwnError::Journal(error) => error.into(),
        }
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NoSuchRun(run) => {
                Self::new("K0501", Exit::Usage, format!("there is no run {run}")).hint("kapell status")
            }
            OpenError::Own(error) => error.into(),
            OpenError::Journal(error) => error.into(),
            OpenError::Damage(damage) => Self::new("K0603", Exit::Store, "the journal is damaged")
                .because(damage)
                .hint("kapell verify says what is whole; kapell status lists the other runs"),
            OpenError::Workspace(error) => {
                Self::new("K0701", Exit::Environment, "the repository cannot be used").because(error)
            }
            OpenError::Plan(error) => {
                Self::new("K0502", Exit::Bug, "the plan cannot be written").because(error)
            }
        }
    }
}

impl From<git::Error> for Fault {
    fn from(error: git::Error) -> Self {
        let exit = match *error.kind {
            git::ErrorKind::Dirty { .. } | git::ErrorKind::Moved { .. } | git::ErrorKind::InTheWay { .. } => {
                Exit::Refused
            }
            _ => Exit::Environment,
        };
        let fault = Self::new("K0700", exit, format!("{error}")).because(&error.kind);
        match error.hint() {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

impl From<ControlError> for Fault {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Refused(why) => Self::refused(why),
            other => Self::new("K0504", Exit::Environment, other.to_string()).hint("kapell status"),
        }
    }
}

impl From<&kapell_engine::port::journal::AppendError> for Fault {
    fn from(error: &kapell_engine::port::journal::AppendError) -> Self {
        match &error.kind {
            AppendErrorKind::Journal(journal) => Self::from(journal.clone()),
            kind => Self::new("K0605", Exit::Store, error.to_string()).because(kind),
        }
    }
}
