//! Which attempts are contained, and how.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use kapell_core::plan::{AgentSpec, Slot};
use kapell_engine::port::agents::AttemptKey;

use super::Places;
use crate::contain::{Chosen, Contained, Containment, Refused, Room, UnknownSetting, Wish, tools};

/// The containment of this machine, tried when the first attempt needs it, and what was said about it.
#[derive(Debug)]
pub struct Keeper {
    program: PathBuf,
    search_path: OsString,
    scratch: PathBuf,
    granted: Wish,
    asked: Wish,
    /// How checks are contained; not at all without it.
    checks: Option<Wish>,
    found: OnceLock<Containment>,
}

/// Why an agent cannot be contained as its settings say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainError {
    /// A setting says nothing known.
    #[error(transparent)]
    Setting(#[from] UnknownSetting),
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl ContainError {
    /// Returns the code under which `kapell explain` tells more.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Setting(_) => "K0814",
            Self::Refused(refused) => refused.code(),
        }
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Setting(_) => "agents: { NAME: { use: ..., sandbox: required, network: none } }".to_owned(),
            Self::Refused(refused) => refused.hint(),
        }
    }
}

impl Keeper {
    /// Makes one that looks for bubblewrap on `search_path` and tries levels in `scratch`.
    ///
    /// `granted` is what the person who runs kapell says, `asked` what the settings of the place say.
    #[must_use]
    pub fn new(program: &Path, search_path: OsString, scratch: PathBuf, granted: Wish, asked: Wish) -> Self {
        let (program, checks, found) = (program.to_owned(), None, OnceLock::new());
        Self { program, search_path, scratch, granted, asked, checks, found }
    }

    /// Contains checks, too: they run what agents wrote.
    #[must_use]
    pub fn checking(self, checks: Option<Wish>) -> Self {
        Self { checks, ..self }
    }

    /// Says how checks are contained; `None` if they are left as they are.
    ///
    /// # Errors
    ///
    /// Fails if that is refused.
    pub fn choose_check(&self) -> Result<Option<Chosen>, ContainError> {
        let choose = |asked| self.found().choose(granted_to_checks(&asked), asked, false);
        Ok(self.checks.clone().map(choose).transpose()?)
    }

    /// Contains a check in `room`; `None` if it is left as it is.
    ///
    /// # Errors
    ///
    /// As [`Keeper::choose_check`].
    pub fn contain_check(&self, room: Room) -> Result<Option<Contained>, ContainError> {
        let contain = |asked| self.found().contain(granted_to_checks(&asked), asked, room);
        Ok(self.checks.clone().map(contain).transpose()?)
    }

    /// Returns what works on this machine.
    pub fn found(&self) -> &Containment {
        self.found.get_or_init(|| {
            // Where it cannot be made, the trials fail, and say so.
            let _ = std::fs::create_dir_all(&self.scratch);
            Containment::find(&self.program, &self.search_path, &self.scratch)
        })
    }

    /// Says how attempts of `agent` are contained; `None` if they are left as they are.
    ///
    /// An agent that a model drives is contained; a command only if its settings ask for it.
    ///
    /// # Errors
    ///
    /// Fails if that is refused.
    pub fn choose(&self, agent: &AgentSpec, has_proxy: bool) -> Result<Option<Chosen>, ContainError> {
        let Some(asked) = self.wish(agent)? else { return Ok(None) };
        Ok(Some(self.found().choose(self.granted.clone(), asked, has_proxy)?))
    }

    /// Contains an attempt of `agent` in `room`; `None` if it is left as it is.
    ///
    /// # Errors
    ///
    /// As [`Keeper::choose`].
    pub fn contain(&self, agent: &AgentSpec, room: Room) -> Result<Option<Contained>, ContainError> {
        let Some(asked) = self.wish(agent)? else { return Ok(None) };
        Ok(Some(self.found().contain(self.granted.clone(), asked, room)?))
    }

    fn wish(&self, agent: &AgentSpec) -> Result<Option<Wish>, UnknownSetting> {
        let option = |name: &str| agent.options.get(name).map(String::as_str).filter(|text| *text != "auto");
        let asked = Wish {
            level: option("sandbox").map(str::parse).transpose()?,
            network: option("network").map(str::parse).transpose()?,
        };
        let speaks_up = agent.options.contains_key("sandbox") || agent.options.contains_key("network");
        Ok((agent.slot == Slot::Agent || speaks_up).then(|| self.asked.clone().and(asked)))
    }
}

/// Nothing is contained without being asked for here, so the level that is asked for is the one that holds.
fn granted_to_checks(asked: &Wish) -> Wish {
    Wish { level: asked.level, network: None }
}

impl Places {
    /// Returns the HOME of the agents of one task: kept between attempts, so that a client finds its sessions again.
    #[must_use]
    pub fn home(&self, key: AttemptKey) -> PathBuf {
        self.attempts.join(key.run.to_string()).join("homes").join(key.task.to_string())
    }

    /// Returns what whatever is contained may touch besides the system: its HOME, and the directory that it works in.
    #[must_use]
    pub fn room(&self, home: PathBuf, dir: &Path) -> Room {
        let writable = vec![self.shared.clone(), dir.to_owned()];
        let users = self.env.iter().find(|(name, _)| name == "HOME").map(|(_, home)| home.into());
        Room { home, readable: tools(&self.env), users, writable, ..Room::default() }
    }
}
