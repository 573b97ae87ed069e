//! Levels and networks.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::hosts::Hosts;

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
    pub fn enforces(self, network: &Network) -> bool {
        match network {
            Network::Open => true,
            // All but a network of one's own leaves ways out that no list of hosts covers.
            Network::Nothing | Network::ModelOnly | Network::AllowList(_) => self == Self::Namespaces,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// What an attempt can reach beyond this machine, the strictest first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nothing at all.
    #[serde(rename = "none")]
    Nothing,
    /// kapell's model proxy, and nothing else.
    ModelOnly,
    /// kapell's model proxy, and hosts on a list.
    AllowList(Hosts),
    /// Everything, this machine's own ports too.
    Open,
}

impl Network {
    const NAMES: [(Self, &'static str); 3] =
        [(Self::Nothing, "none"), (Self::ModelOnly, "model-only"), (Self::Open, "open")];

    fn width(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::ModelOnly => 1,
            Self::AllowList(_) => 2,
            Self::Open => 3,
        }
    }

    /// Tells whether nothing can be reached by this network that cannot be by `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AllowList(own), Self::AllowList(other)) => own.is_within(other),
            _ => self.width() <= other.width(),
        }
    }

    /// Returns the network by which only what both reach can be reached: of two lists without a host in common that is the
    /// model alone.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        match (self, other) {
            (Self::AllowList(one), Self::AllowList(other)) => Some(one.common(&other))
                .filter(|both| !both.is_empty())
                .map_or(Self::ModelOnly, Self::AllowList),
            (one, other) => {
                if one.width() <= other.width() {
                    one
                } else {
                    other
                }
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllowList(hosts) => write!(f, "{hosts}"),
            _ => {
                f.write_str(Self::NAMES.iter().find(|(known, _)| known == self).map_or("", |(_, name)| name))
            }
        }
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
        if let Some((network, _)) = Self::NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(network.clone());
        }
        let unknown = || UnknownSetting {
            what: "network",
            given: text.to_owned(),
            known: "none, model-only, open, or a list of hosts such as example.org,*.example.org",
        };
        // A single word is rather a name that was misspelt.
        let hosts = Some(text).filter(|text| text.contains(['.', ':'])).and_then(|text| text.parse().ok());
        hosts.map(Self::AllowList).ok_or_else(unknown)
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
        let listed: Network = "b.io a.io".parse().unwrap();
        assert_eq!((listed.to_string().as_str(), "a.io,b.io".parse()), ("a.io,b.io", Ok(listed)));
        assert!("allow-list".parse::<Network>().is_err() && "*".parse::<Network>().is_err());
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!("required".parse(), Ok(Level::Namespaces));
        assert!("4".parse::<Level>().is_err() && "closed".parse::<Network>().is_err());
    }

    #[test]
    fn only_namespaces_hold_a_network() {
        for level in Level::ALL {
            assert!(level.enforces(&Network::Open));
            for network in ["none", "model-only", "a.io"] {
                assert_eq!(level.enforces(&network.parse().unwrap()), level == Level::Namespaces);
            }
        }
    }
}
