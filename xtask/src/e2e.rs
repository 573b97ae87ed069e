//! The real coding agents, driven by the real program against the mock: nothing is faked but the model.
//!
//! They are installed from npm, at pinned versions, and kept in the target directory. A regime that fails is tried once
//! more, since they are programs of others with clocks of their own; what failed is told, and the second try decides. What
//! they are put through:
//!
//! | regime | what happens, and what must hold |
//! |---|---|
//! | `--fix` (the usual one) | each fixes a failing test of one repository, all at the same time, and leaves notes by kapell's own tools: landed, verified, settled to the token |
//! | `--quota` | every provider answers 429 from its second request on: nothing more starts before the reset, everything ends after it |
//! | `--hostile` | the repository brings along hooks, servers, plugins and helpers, and kapell's environment holds secrets: none runs, none gets out |
//! | `--dialogue` | Claude Code asks, a second terminal allows and denies; plain harm is refused; an output has a shape |
//! | `--acp` | the four behind the Agent Client Protocol, by one driver: asked for permission, allowed, denied, cancelled, counted |
//! | `--trusted` | what the repository brings along is trusted: each client loads what it can |
//! | `--tape` | a session is recorded and played back with no provider there: the same result at no cost |
//! | `--kill N` | kapell is killed at N random moments: resumed, nothing finished is asked again, nothing is left |
//! | `--share` | how much of an attempt's time is kapell's own |

mod acp;
pub(crate) mod clients; // which clients, and from where
mod dialogue;
mod fix;
mod hostile;
mod kill;
mod quota;
mod share;
mod stage; // a repository with failing tests, mocks, and settings
mod tape;
mod trusted;

use std::{collections::BTreeSet, time::Instant};

use anyhow::{bail, ensure};

use self::clients::{BEHIND_ACP, CLIENTS, Client, EVERY_WAY, Installed};
use crate::shell::{self, number_of};

/// Something that clients are put through.
struct Regime {
    name: &'static str,
    clients: &'static [Client],
    run: fn(&[Installed], &[&str]) -> anyhow::Result<()>,
}

const fn regime(name: &'static str, run: fn(&[Installed], &[&str]) -> anyhow::Result<()>) -> Regime {
    Regime { name, clients: CLIENTS, run }
}

const REGIMES: &[Regime] = &[
    Regime { clients: EVERY_WAY, ..regime("--fix", fix::run) },
    regime("--quota", quota::run),
    Regime { clients: EVERY_WAY, ..regime("--hostile", hostile::run) },
    Regime { clients: EVERY_WAY, ..regime("--dialogue", dialogue::run) },
    Regime { clients: BEHIND_ACP, ..regime("--acp", acp::run) },
    regime("--trusted", trusted::run),
    regime("--tape", tape::run),
    Regime { clients: EVERY_WAY, ..regime("--kill", kill::run) },
    regime("--share", share::run),
];

/// Options that are followed by a number.
const NUMBERS: &[&str] = &["--kill", "--seed", "--within"];

pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let begin = Instant::now();
    let within: u64 = number_of(args, "--within", u64::MAX)?;
    let named = named(args)?;
    let mut regimes: Vec<_> = REGIMES.iter().filter(|regime| args.contains(&regime.name)).collect();
    if regimes.is_empty() {
        regimes.extend(REGIMES.first());
    }
    shell::build_debug()?;
    let (mut ran, mut absent) = (BTreeSet::new(), BTreeSet::new());
    let (mut again, mut failed) = (Vec::new(), Vec::new());
    for Regime { name, clients, run } in regimes {
        let name = name.trim_start_matches("--");
        let mut there = Vec::new();
        for client in clients.iter().filter(|one| named.is_empty() || named.contains(&one.adapter)) {
            match client.install() {
                Ok(installed) => there.push(installed),
                Err(why) if absent.insert(client.adapter) => {
                    println!("{:12} did not run: {why}", client.adapter);
                }
                Err(_) => {}
            }
        }
        if there.is_empty() {
            println!("{name}: did not run: none of its clients is there");
            continue;
        }
        if begin.elapsed().as_secs() >= within {
            println!("{name}: did not run: {within} s were over");
            continue;
        }
        ran.extend(there.iter().map(|one| one.client.adapter));
        let since = Instant::now();
        let tried = run(&there, args).or_else(|error| {
            println!("{name}: FAILED, and is tried once more: {error:#}");
            again.push(name);
            run(&there, args)
        });
        if let Err(error) = tried {
            println!("{name}: FAILED: {error:#}");
            failed.push(name);
        }
        println!("{name}: {:.1} s", since.elapsed().as_secs_f64());
    }
    let wanted = ran.union(&absent).count();
    println!("e2e-agents: {} of {wanted} clients ran, {} s in all", ran.len(), begin.elapsed().as_secs());
    if !again.is_empty() {
        println!("e2e-agents: UNSTEADY, looked at once more: {}", again.join(", "));
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Returns the clients that are named.
fn named<'a>(args: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    let mut named = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if NUMBERS.contains(word) {
            words.next();
        } else if !REGIMES.iter().any(|regime| regime.name == *word) {
            named.push(*word);
        }
    }
    let known: Vec<_> = EVERY_WAY.iter().chain(BEHIND_ACP).map(|client| client.adapter).collect();
    if let Some(name) = named.iter().find(|name| !known.contains(name)) {
        bail!("`{name}` is neither a regime nor a client; known clients are {}", known.join(", "));
    }
    Ok(named)
}
