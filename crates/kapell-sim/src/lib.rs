//! Seeded worlds that drive the production decider through everything that can go wrong.
//!
//! **Invariant:** no second rule book: `Run::batch`, `effect::react`, `effect::outstanding` and `Run::replay` are those
//! of production; what lies around them is simulated, and the same seed always gives the same run.

mod dice; // ground: randomness from a seed

mod tally; // counting by name

mod planted; // bugs put in on purpose

mod scenario; // what is asked, and how hostile the world is

mod disk; // a journal that tears and forgets

mod world; // processes and git

mod check; // a second opinion on every event

mod report; // what came of it

mod sim; // one run

mod campaign; // many runs

pub use campaign::{CampaignError, Summary, campaign};
pub use check::Violation;
#[cfg(kapell_planted)]
pub use planted::PLANTED;
pub use report::Report;
pub use tally::Tally;

/// Simulates the run of `seed`.
#[must_use]
pub fn run(seed: u64) -> Report {
    play(seed, None).0
}

/// Simulates the run of `seed`, and tells what happens in it up to its end or to what does not hold.
#[must_use]
pub fn trace(seed: u64) -> String {
    let (report, log) = play(seed, Some(String::new()));
    let mut log = log.unwrap_or_default();
    match report.violation {
        Some(Violation(what)) => log.push_str(&format!("violation: {what}\n")),
        None => log.push_str("no violation\n"),
    }
    log
}

fn play(seed: u64, log: Option<String>) -> (Report, Option<String>) {
    let mut sim = sim::Sim::new(seed, log);
    let violation = sim.play().err();
    let mut report = sim.report;
    report.violation = violation;
    (report, sim.log)
}

#[cfg(all(test, not(kapell_planted)))]
mod tests;
