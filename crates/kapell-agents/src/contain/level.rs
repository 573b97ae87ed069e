//! Levels and networks.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How well an attempt is contained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// 0: as a plain process group, with the user's own HOME.
    Nothing,
    /// 1: under a supervisor that finds and ends all its processes.
    Supervised,
    /// 2: and it writes only where it may, and reads only the system and what it was given.
    Files,
    /// 3: and it has process ids, a file system and a network of its own.
    Namespaces,
}

impl Level {
    /// All of them, the strongest first.
    pub const ALL: [Self; 4] = [Self::Namespaces, Self::Files, Self::Supervised, Self::Nothing];

    /// Returns its number, 0 to 3.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Says in a few words what holds at this level.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Nothing => "not contained",
            Self::Supervised => "supervised: its processes end, its files and network are yours",
            Self::Files => "Landlock: files are held, the network is not",
            Self::Namespaces => "bubblewrap: files, processes and network are held",
        }
    }

    /// Tells whether `network` holds at this level whatever an attempt does.
    #[must_use]
    pub fn enforces(self, network: Network) -> bool {
        match network {
            Network::Open => true,
            Network::Nothing | Network::ModelOnly => self == Self::Namespaces,
            // Names are resolved and connections made by the attempt itself: nothing here can tell hosts apart.
            Network::AllowList => false,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// What an attempt can reach beyond this machine, the strictest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nothing at all.
    #[serde(rename = "none")]
    Nothing,
    /// kapell's model proxy, and nothing else.
    ModelOnly,
    /// Named hosts. Known, so that it can be refused: no level enforces it.
    AllowList,
    /// Everything, this machine's own ports too.
    Open,
}

impl Network {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Nothing, "none"),
        (Self::ModelOnly, "model-only"),
        (Self::AllowList, "allow-list"),
        (Self::Open, "open"),
    ];
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(network, _)| network == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

/// A setting that says nothing known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {what}: it is one of {known}")]
pub struct UnknownSetting {
    /// What it should be.
    pub what: &'static str,
    /// What was given.
    pub given: String,
    /// What is known.
    pub known: &'static str,
}

impl FromStr for Network {
    type Err = UnknownSetting;

    fn from_str(text: &str) -> Result<Self, UnknownSetting> {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text).map(|(network, _)| *network);
        found.ok_or_else(|| UnknownSetting {
            what: "network",
            given: text.to_owned(),
            known: "none, model-only, open",
        })
    }
}

impl FromStr for Level {
    type Err = UnknownSetting;

    fn from_str(text: &str) -> Result<Self, UnknownSetting> {
        match text {
            "required" => Ok(Self::Namespaces),
            _ => {
                Self::ALL.into_iter().find(|level| level.to_string() == text).ok_or_else(|| UnknownSetting {
                    what: "sandbox level",
                    given: text.to_owned(),
                    known: "required, 3, 2, 1, 0",
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (network, name) in Network::NAMES {
            assert_eq!((network.to_string().as_str(), name.parse()), (name, Ok(network)));
        }
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!("required".parse(), Ok(Level::Namespaces));
        assert!("4".parse::<Level>().is_err() && "closed".parse::<Network>().is_err());
    }

    #[test]
    fn only_namespaces_hold_a_network_and_nothing_holds_a_list() {
        for level in Level::ALL {
            assert!(level.enforces(Network::Open) && !level.enforces(Network::AllowList));
            assert_eq!(level.enforces(Network::Nothing), level == Level::Namespaces);
            assert_eq!(level.enforces(Network::ModelOnly), level == Level::Namespaces);
        }
    }
}
