//! A command or an object names what is not there.

mod commands;
mod objects;
mod packages; // scripts of `package.json`
mod scripts;
mod values; // of charts

use kapell_view::audit::{Confidence, Severity};

use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/missing-target.md`.
pub(super) static RULE: Rule = Rule {
    name: "missing-target",
    summary: "a command or an object names a container, a service or a file that is not there",
    group: Group::CrossSystem,
    anti_pattern: Some(AntiPattern::Coupling),
    focus: Focus::Conflicts,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/missing-target.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    commands::check(repository, report);
    scripts::check(repository, report);
    packages::check(repository, report);
    values::check(repository, report);
    objects::scaled(repository, report);
    objects::parts(repository, report);
}
