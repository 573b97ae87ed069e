//! The real coding agents, driven by the real program against the mock: nothing is faked but the model.
//!
//! They are installed from npm, at pinned versions, and kept in the target directory. What they are put through:
//!
//! | regime | what happens, and what must hold |
//! |---|---|
//! | `--fix` (the usual one) | each fixes a failing test of one repository, all at the same time: landed, verified, settled to the token |
//! | `--quota` | every provider answers 429 from its second request on: nothing more starts before the reset, everything ends after it |
//! | `--hostile` | the repository brings along hooks, servers, plugins and helpers, and kapell's environment holds secrets: none runs, none gets out |
//! | `--dialogue` | Claude Code asks, a second terminal allows and denies; plain harm is refused; an output has a shape |
//! | `--tape` | a session is recorded and played back with no provider there: the same result at no cost |
//! | `--kill N` | kapell is killed at N random moments: resumed, nothing finished is asked again, nothing is left |
//! | `--share` | how much of an attempt's time is kapell's own |

pub(crate) mod clients; // which clients, and from where
mod dialogue;
mod fix;
mod hostile;
mod kill;
mod quota;
mod share;
mod stage; // a repository with failing tests, mocks, and settings
mod tape;

use std::time::Instant;

use anyhow::{bail, ensure};

use self::clients::{CLIENTS, Client, Installed};
use crate::shell::{self, number_of};

/// What the clients are put through.
type Regime = fn(&[Installed], &[&str]) -> anyhow::Result<()>;

const REGIMES: &[(&str, Regime)] = &[
    ("--fix", fix::run),
    ("--quota", quota::run),
    ("--hostile", hostile::run),
    ("--dialogue", dialogue::run),
    ("--tape", tape::run),
    ("--kill", kill::run),
    ("--share", share::run),
];

/// Options that are followed by a number.
const NUMBERS: &[&str] = &["--kill", "--seed", "--within"];

pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let begin = Instant::now();
    let within: u64 = number_of(args, "--within", u64::MAX)?;
    let wanted = wanted(args)?;
    let mut regimes: Vec<_> = REGIMES.iter().filter(|(name, _)| args.contains(name)).collect();
    if regimes.is_empty() {
        regimes.extend(REGIMES.first());
    }
    let mut there = Vec::new();
    for client in &wanted {
        match client.install() {
            Ok(installed) => there.push(installed),
            Err(why) => println!("{:12} did not run: {why}", client.adapter),
        }
    }
    if there.is_empty() {
        println!("e2e-agents: no client could be installed, so nothing was tried");
        return Ok(());
    }
    shell::build_debug()?;
    let mut failed = Vec::new();
    for (name, regime) in regimes {
        let name = name.trim_start_matches("--");
        if begin.elapsed().as_secs() >= within {
            println!("{name}: did not run: {within} s were over");
            continue;
        }
        let since = Instant::now();
        if let Err(error) = regime(&there, args) {
            println!("{name}: FAILED: {error:#}");
            failed.push(name);
        }
        println!("{name}: {:.1} s", since.elapsed().as_secs_f64());
    }
    println!(
        "e2e-agents: {} of {} clients ran, {} s in all",
        there.len(),
        wanted.len(),
        begin.elapsed().as_secs()
    );
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Returns the clients that are named, or all.
fn wanted(args: &[&str]) -> anyhow::Result<Vec<&'static Client>> {
    let mut named = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if NUMBERS.contains(word) {
            words.next();
        } else if !REGIMES.iter().any(|(name, _)| name == word) {
            named.push(*word);
        }
    }
    for name in &named {
        if !CLIENTS.iter().any(|client| client.adapter == *name) {
            let known: Vec<_> = CLIENTS.iter().map(|client| client.adapter).collect();
            bail!("`{name}` is neither a regime nor a client; known clients are {}", known.join(", "));
        }
    }
    Ok(CLIENTS.iter().filter(|client| named.is_empty() || named.contains(&client.adapter)).collect())
}
