//! Which attempts are contained, and how.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use kapell_core::plan::{AgentSpec, Slot};
use kapell_engine::port::agents::{AttemptKey, Order};

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
        Self { program: program.to_owned(), search_path, scratch, granted, asked, found: OnceLock::new() }
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
        Ok(Some(self.found().choose(self.granted, asked, has_proxy)?))
    }

    /// Contains an attempt of `agent` in `room`; `None` if it is left as it is.
    ///
    /// # Errors
    ///
    /// As [`Keeper::choose`].
    pub fn contain(&self, agent: &AgentSpec, room: Room) -> Result<Option<Contained>, ContainError> {
        let Some(asked) = self.wish(agent)? else { return Ok(None) };
        Ok(Some(self.found().contain(self.granted, asked, room)?))
    }

    fn wish(&self, agent: &AgentSpec) -> Result<Option<Wish>, UnknownSetting> {
        let option = |name: &str| agent.options.get(name).map(String::as_str).filter(|text| *text != "auto");
        let asked = Wish {
            level: option("sandbox").map(str::parse).transpose()?,
            network: option("network").map(str::parse).transpose()?,
        };
        let speaks_up = agent.options.contains_key("sandbox") || agent.options.contains_key("network");
        Ok((agent.slot == Slot::Agent || speaks_up).then(|| self.asked.and(asked)))
    }
}

impl Places {
    /// Returns the HOME of the agents of one task: kept between attempts, so that a client finds its sessions again.
    #[must_use]
    pub fn home(&self, key: AttemptKey) -> PathBuf {
        self.attempts.join(key.run.to_string()).join("homes").join(key.task.to_string())
    }

    /// Returns what every contained attempt may touch besides its workspace and the system.
    #[must_use]
    pub fn room(&self, order: &Order) -> Room {
        Room {
            home: self.home(order.key),
            readable: tools(&self.env),
            writable: vec![self.shared.clone(), order.dir.clone()],
            ..Room::default()
        }
    }
}
