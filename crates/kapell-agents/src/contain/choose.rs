//! What is asked for, what is there, and what follows from both.

use super::{
    level::{Level, Network},
    probe::{Containment, NotFound},
};

/// What somebody wants. What is `None` is left to others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The level, no more and no less; if `None`, the highest that is there.
    pub level: Option<Level>,
    /// The network; if `None`, the strictest with which the attempt can reach its model.
    pub network: Option<Network>,
}

impl Wish {
    /// Joins two wishes: the stricter one counts.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let network = self.network.into_iter().chain(other.network).reduce(Network::common);
        Self { level: self.level.max(other.level), network }
    }
}

/// What an attempt gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chosen {
    /// The level.
    pub level: Level,
    /// The network. Invariant: the level enforces it.
    pub network: Network,
}

/// Why an attempt is not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The level that was asked for does not work on this machine.
    #[error("containment level {wanted} does not work here: {why}")]
    LevelNotFound {
        /// What was asked for.
        wanted: Level,
        /// What was found when it was tried.
        why: NotFound,
    },
    /// No level can keep it.
    #[error("the network `{network}` cannot be enforced at containment level {level}")]
    NotEnforced {
        /// What was asked for.
        network: Network,
        /// The level that was chosen.
        level: Level,
    },
    /// Level 0, without a word from the person who runs it.
    #[error("containment level 0 was not accepted")]
    LevelZero,
    /// A file asks for a lower level than the person who runs it has chosen.
    #[error("the workflow asks for containment level {asked}, which is weaker than {granted}")]
    LevelLowered {
        /// What the file says.
        asked: Level,
        /// What holds without it.
        granted: Level,
    },
    /// A file asks for more network than the person who runs it has granted.
    #[error("the workflow asks for the network `{asked}`, which is wider than `{granted}`")]
    NetworkWidened {
        /// What the file says.
        asked: Network,
        /// What holds without it.
        granted: Network,
    },
    /// Only the model may be reached, and there is no way to it.
    #[error("the network `model-only` needs kapell's model proxy, which does not run for this agent")]
    NoProxy,
}

impl Refused {
    /// Returns the code under which `kapell explain` tells more.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::LevelNotFound { .. } => "K0810",
            Self::NotEnforced { .. } | Self::NoProxy => "K0811",
            Self::LevelZero => "K0812",
            Self::LevelLowered { .. } | Self::NetworkWidened { .. } => "K0813",
        }
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::LevelNotFound { why, .. } => why.hint().to_owned(),
            Self::NotEnforced { network, .. } => {
                format!("`network: {network}` needs level 3 (kapell doctor); or choose `network: open`")
            }
            Self::LevelZero => "kapell run FILE --sandbox 0 --i-accept-level-0".to_owned(),
            Self::LevelLowered { asked, .. } => {
                format!("kapell run FILE --sandbox {asked}, if that is what you want")
            }
            Self::NetworkWidened { asked, .. } => {
                let asked = asked.to_string();
                // A shell would take a star for names of files.
                let asked = if asked.contains('*') { format!("'{asked}'") } else { asked };
                format!("kapell run FILE --network {asked}, if that is what you want")
            }
            Self::NoProxy => {
                "choose `network: none` or `network: open`; two lists without a host in common are \
                              `model-only`, too"
                    .to_owned()
            }
        }
    }
}

impl Containment {
    /// Chooses level and network for an attempt.
    ///
    /// `granted` is what the person who runs kapell says; `asked` is what a file says, which came with a repository:
    /// it can ask for more containment, never for less. `has_proxy` tells whether the model can be reached through
    /// kapell's proxy.
    ///
    /// # Errors
    ///
    /// Refuses what is not there, what cannot be enforced, and a file that asks for less than was granted.
    pub fn choose(&self, granted: Wish, asked: Wish, has_proxy: bool) -> Result<Chosen, Refused> {
        let floor = granted.level.unwrap_or_else(|| self.highest());
        let level = match asked.level {
            Some(asked) if asked < floor => return Err(Refused::LevelLowered { asked, granted: floor }),
            asked => asked.unwrap_or(floor),
        };
        if let Err(why) = self.has(level) {
            return Err(Refused::LevelNotFound { wanted: level, why });
        }
        let usual = match has_proxy && level.enforces(&Network::ModelOnly) {
            true => Network::ModelOnly,
            false => Network::Open,
        };
        let widest = granted.network.unwrap_or(usual);
        let network = match asked.network {
            Some(asked) if !asked.is_within(&widest) => {
                return Err(Refused::NetworkWidened { asked, granted: widest });
            }
            asked => asked.unwrap_or(widest),
        };
        if !level.enforces(&network) {
            return Err(Refused::NotEnforced { network, level });
        }
        if network == Network::ModelOnly && !has_proxy {
            return Err(Refused::NoProxy);
        }
        Ok(Chosen { level, network })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Wish = Wish { level: None, network: None };

    fn of(level: Option<Level>, network: Option<Network>) -> Wish {
        Wish { level, network }
    }

    fn listed(hosts: &str) -> Network {
        Network::AllowList(hosts.parse().unwrap())
    }

    fn check(there: &Containment, granted: Wish, asked: Wish, has_proxy: bool) -> String {
        match there.choose(granted, asked, has_proxy) {
            Ok(chosen) => format!("{} {}", chosen.level, chosen.network),
            Err(refused) => refused.code().to_owned(),
        }
    }

    #[test]
    fn without_a_wish_the_strongest_is_taken() {
        let (all, two, one) = (
            Containment::pretend(Level::Namespaces),
            Containment::pretend(Level::Files),
            Containment::pretend(Level::Supervised),
        );
        assert_eq!(check(&all, NOTHING, NOTHING, true), "3 model-only");
        assert_eq!(check(&all, NOTHING, NOTHING, false), "3 open");
        assert_eq!(check(&two, NOTHING, NOTHING, true), "2 open");
        assert_eq!(check(&one, NOTHING, NOTHING, true), "1 open");
    }

    #[test]
    fn what_is_not_there_is_refused_and_never_replaced() {
        use {Level as L, Network as N};
        let two = Containment::pretend(L::Files);
        assert_eq!(check(&two, of(Some(L::Namespaces), None), NOTHING, true), "K0810");
        assert_eq!(check(&two, NOTHING, of(Some(L::Namespaces), None), true), "K0810");
        for network in [N::Nothing, N::ModelOnly, listed("a.io")] {
            assert_eq!(check(&two, of(None, Some(network)), NOTHING, true), "K0811");
        }
        let all = Containment::pretend(L::Namespaces);
        assert_eq!(check(&all, of(None, Some(N::ModelOnly)), NOTHING, false), "K0811");
        assert_eq!(check(&all, of(None, Some(N::Nothing)), NOTHING, false), "3 none");
    }

    #[test]
    fn what_is_suggested_can_be_typed() {
        let hint = |asked| Refused::NetworkWidened { asked, granted: Network::ModelOnly }.hint();
        assert!(hint(listed("*.a.io")).contains("--network '*.a.io',"));
        assert!(hint(listed("a.io")).contains("--network a.io,"));
    }

    #[test]
    fn a_file_can_only_ask_for_more() {
        use {Level as L, Network as N};
        let all = Containment::pretend(L::Namespaces);
        assert_eq!(check(&all, NOTHING, of(Some(L::Files), None), true), "K0813");
        assert_eq!(check(&all, NOTHING, of(None, Some(N::Open)), true), "K0813");
        assert_eq!(check(&all, NOTHING, of(None, Some(N::Nothing)), true), "3 none");
        // A list is wider than the model alone, and narrower than everything.
        assert_eq!(check(&all, NOTHING, of(None, Some(listed("a.io"))), true), "K0813");
        assert_eq!(check(&all, NOTHING, of(None, Some(listed("a.io"))), false), "3 a.io");
        let granted = of(None, Some(listed("a.io,*.b.io")));
        assert_eq!(check(&all, granted.clone(), NOTHING, true), "3 *.b.io,a.io");
        assert_eq!(check(&all, granted.clone(), of(None, Some(listed("x.b.io"))), true), "3 x.b.io");
        assert_eq!(check(&all, granted.clone(), of(None, Some(listed("c.io"))), true), "K0813");
        let both = granted.and(of(None, Some(listed("a.io,c.io"))));
        assert_eq!(both.network, Some(listed("a.io")));
        // Lists that have nothing in common leave the model, where there is a way to it.
        let apart = of(None, Some(listed("a.io"))).and(of(None, Some(listed("b.io"))));
        assert_eq!(check(&all, apart.clone(), NOTHING, true), "3 model-only");
        assert_eq!(check(&all, apart, NOTHING, false), "K0811");
        let below = of(None, Some(listed("*.a.io")));
        assert_eq!(check(&all, below, of(None, Some(listed("*.a.io:443"))), true), "3 *.a.io:443");
        let lowered = of(Some(L::Supervised), None);
        assert_eq!(check(&all, lowered.clone(), NOTHING, true), "1 open");
        assert_eq!(check(&all, lowered, of(Some(L::Namespaces), Some(N::Nothing)), true), "3 none");
        let opened = of(None, Some(N::Open));
        assert_eq!(check(&all, opened, of(None, Some(N::Open)), true), "3 open");
    }
}
