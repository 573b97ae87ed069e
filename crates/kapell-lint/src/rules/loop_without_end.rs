//! Loops around models, agents and services that nothing ends.

mod again; // tries again for ever
mod events; // workflows of events that lead back for ever
mod itself; // functions that call themselves for ever
mod polls; // work elsewhere that ends in another way than well
mod retrying; // decorators that try again for ever
mod rounds; // agents that answer each other for ever
mod steps; // steps of a graph that lead back for ever
mod teams; // agents that talk to each other for ever
mod turns; // an agent's own loop

use std::cell::LazyCell;

use kapell_view::audit::{Confidence, Severity};

pub(super) use self::again::tries;
use crate::{
    code::service::Methods,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/loop-without-end.md`.
pub(super) static RULE: Rule = Rule {
    name: "loop-without-end",
    summary: "a loop of tries, turns or messages between agents has no limit",
    group: Group::Code,
    anti_pattern: Some(AntiPattern::NoTimeout),
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/loop-without-end.md"),
    check,
};

/// What loops.
pub(super) const LOOPS: &[&str] = &["while_statement", "for_statement", "for_in_statement", "do_statement"];

/// Parts of words by which rounds are counted or timed, or ended from outside.
const COUNTS: &[&str] = &[
    "limit",
    "turn",
    "step",
    "attempt",
    "round",
    "budget",
    "deadline",
    "timeout",
    "count",
    "remaining",
    "cancel",
    "elapsed",
    "interrupt",
    "depth",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for (file, script) in repository.scripts() {
        for span in &script.endless {
            let message = "this loop starts agents until one of them says that it is enough, and nothing bounds how often";
            report.add(*file, *span, message).hint("count the rounds, and end after a few of them").done();
        }
    }
    let methods = Methods::new(&repository.code);
    // All files are looked through for it, and once is enough.
    let limit = LazyCell::new(|| steps::limit(repository));
    for unit in repository.code.iter() {
        again::check(&methods, unit, report);
        retrying::check(&methods, unit, report);
        rounds::check(&methods, unit, report);
        turns::check(unit, report);
        itself::check(&methods, unit, report);
        polls::check(unit, report);
        teams::check(unit, report);
        steps::check(repository, &methods, &|| *limit, unit, report);
        events::check(&methods, &repository.code, unit, report);
    }
}
