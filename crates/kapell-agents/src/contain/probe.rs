//! Levels are found by trying to break out of them.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    choose::{Chosen, Refused, Wish},
    level::{Level, Network},
    room::Room,
    wrap::Contained,
};
use crate::supervise::{Limits, Output, Spec, cgroup, processes};

/// A level that takes longer to build is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes where it may, and tries to write where it may not, and to read the environment of whoever started it: that may
/// seem to work, but nothing must come of it.
const BREAK_OUT: &str = r#": >"$1/inside" || exit 3
(: >"$2/outside") 2>/dev/null; (cat "/proc/$3/environ" >"$1/told") 2>/dev/null; exit 0"#;

/// Why a level is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// There is no such program on the search path.
    #[error("bubblewrap (bwrap) is not installed")]
    NoBubblewrap,
    /// It was tried, and did not work.
    #[error("{0}")]
    Fails(String),
    /// The attempt of the trial reached what it should not have been able to.
    #[error("it does not hold: {0}")]
    Leaks(&'static str),
    /// This system has no such thing.
    #[error("this system has none")]
    NotHere,
}

impl NotFound {
    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoBubblewrap => "install bubblewrap (apt install bubblewrap, dnf install bubblewrap)",
            Self::Fails(_) => "kapell doctor; user namespaces may be switched off by the administrator",
            Self::Leaks(_) => "please report this with the output of kapell doctor",
            Self::NotHere => "levels 2 and 3 need Linux",
        }
    }
}

/// The levels of this machine.
#[derive(Debug, Clone)]
pub struct Containment {
    program: PathBuf,
    bubblewrap: Option<PathBuf>,
    namespaces: Result<(), NotFound>,
    files: Result<(), NotFound>,
    /// Where control groups can be made, or why they cannot.
    groups: Result<PathBuf, NotFound>,
}

impl Containment {
    /// Tries the levels. `program` is kapell's own, which is started inside; `scratch` is a directory that can be
    /// written; bubblewrap is looked for on `search_path`. Takes some 30 ms.
    #[must_use]
    pub fn find(program: &Path, search_path: &OsStr, scratch: &Path) -> Self {
        // A link into /proc means another program inside.
        let program = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
        let bubblewrap = std::env::split_paths(search_path)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join("bwrap"))
            .find(|path| path.is_file());
        let mut found = Self {
            program,
            bubblewrap,
            namespaces: Err(NotFound::NotHere),
            files: Err(NotFound::NotHere),
            groups: Err(NotFound::NotHere),
        };
        if cfg!(target_os = "linux") {
            found.groups = cgroup::delegated().map_err(|error| NotFound::Fails(error.to_string()));
            found.namespaces = match found.bubblewrap {
                Some(_) => found.attempt(Level::Namespaces, scratch),
                None => Err(NotFound::NoBubblewrap),
            };
            found.files = found.attempt(Level::Files, scratch);
        }
        found
    }

    /// Returns the highest level that works here.
    #[must_use]
    pub fn highest(&self) -> Level {
        Level::ALL.into_iter().find(|level| self.has(*level).is_ok()).unwrap_or(Level::Nothing)
    }

    /// Tells whether `level` works here.
    ///
    /// # Errors
    ///
    /// Says why it does not.
    pub fn has(&self, level: Level) -> Result<(), NotFound> {
        match level {
            Level::Namespaces => self.namespaces.clone(),
            Level::Files => self.files.clone(),
            Level::Supervised | Level::Nothing => Ok(()),
        }
    }

    /// Tells how processes of level 2 are ended: all at once, by the control group below the directory that is returned,
    /// or else as at level 1, where they are found one by one.
    ///
    /// # Errors
    ///
    /// Says why there are no control groups.
    pub fn groups(&self) -> Result<&Path, NotFound> {
        self.groups.as_deref().map_err(Clone::clone)
    }

    /// Chooses level and network (see [`Containment::choose`]), and says how an attempt with this `room` is contained.
    ///
    /// # Errors
    ///
    /// As [`Containment::choose`].
    pub fn contain(&self, granted: Wish, asked: Wish, room: Room) -> Result<Contained, Refused> {
        let chosen = self.choose(granted, asked, room.proxy.is_some())?;
        Ok(self.contained(chosen, room))
    }

    fn contained(&self, chosen: Chosen, room: Room) -> Contained {
        let (program, bubblewrap) = (self.program.clone(), self.bubblewrap.clone());
        Contained { chosen, room, program, bubblewrap, groups: self.groups.clone().ok() }
    }

    fn attempt(&self, level: Level, scratch: &Path) -> Result<(), NotFound> {
        let name = format!("kapell-try-{}-{level}", std::process::id());
        let dir = scratch.join(name);
        let done = self.break_out(level, &dir);
        let (worked, wrote) = (dir.join("workspace/inside").exists(), dir.join("outside").exists());
        let read = fs::metadata(dir.join("workspace/told")).is_ok_and(|told| told.len() > 0);
        let _ = fs::remove_dir_all(&dir);
        match done {
            _ if wrote => Err(NotFound::Leaks("a write outside went through")),
            _ if read => Err(NotFound::Leaks("it could read the environment of kapell")),
            Ok(0) if worked => Ok(()),
            Ok(code) => Err(NotFound::Fails(format!("a program in it ended with {code}"))),
            Err(error) => Err(NotFound::Fails(error.to_string())),
        }
    }

    fn break_out(&self, level: Level, dir: &Path) -> io::Result<i32> {
        let (workspace, home) = (dir.join("workspace"), dir.join("home"));
        fs::create_dir_all(&workspace)?;
        let network = if level == Level::Namespaces { Network::Nothing } else { Network::Open };
        let mut spec = Spec {
            marker: String::new(),
            dir: workspace.clone().into(),
            argv: ["/bin/sh".into(), "-c".into(), BREAK_OUT.into(), "sh".into(), workspace.clone().into()]
                .into(),
            cwd: workspace.into(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            limits: Limits::default(),
            stdin: Default::default(),
            output: Output::Joined,
            cgroup: None,
            durable: false,
        };
        spec.argv.extend([dir.into(), std::process::id().to_string().into()]);
        let room = Room { home, ..Room::default() };
        let mut contained = self.contained(Chosen { level, network }, room);
        // Its group would be made and removed by a supervisor, which there is none of here.
        contained.groups = None;
        contained.wrap(&mut spec)?;
        run(&spec)
    }

    /// Claims that the levels up to `highest` work.
    #[cfg(test)]
    pub(super) fn pretend(highest: Level) -> Self {
        let of = |level| if level <= highest { Ok(()) } else { Err(NotFound::NotHere) };
        let (namespaces, files) = (of(Level::Namespaces), of(Level::Files));
        Self {
            program: "/bin/false".into(),
            bubblewrap: Some("/bin/false".into()),
            namespaces,
            files,
            groups: Err(NotFound::NotHere),
        }
    }
}

/// Runs a command to its end, or ends it.
fn run(spec: &Spec) -> io::Result<i32> {
    let mut child = Command::new(&spec.argv[0])
        .args(&spec.argv[1..])
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.cwd)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    match processes::wait_until(&mut child, Instant::now() + PATIENCE)? {
        Some(status) => Ok(status.code().unwrap_or(-1)),
        None => {
            child.kill()?;
            child.wait()?;
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}
