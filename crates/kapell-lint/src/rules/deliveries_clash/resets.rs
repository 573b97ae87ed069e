//! One workflow deploys to an environment, and another takes its data away meanwhile: their groups differ.

use kapell_spec::finding::Span;
use kapell_view::audit::Confidence;

use crate::{
    github::{Flow, tools::Kind},
    repository::Repository,
    rule::Report,
};

/// Words of commands that take away what an environment keeps, to fill it anew.
const TAKES: &[&str] = &[
    "db:drop",
    "db:reset",
    "db:schema:load",
    "dropdb",
    "drop database",
    "drop schema",
    "migrate:fresh",
    "migrate reset",
    "migrate:reset",
    "pg_restore --clean",
    "terraform destroy",
    "tofu destroy",
];

/// A job that works on an environment, and the group that its runs share.
struct Work<'a> {
    flow: &'a Flow,
    at: usize,
    environment: &'a str,
    group: (&'a str, Span),
}

/// Tells of two workflows that name one environment and two groups, where one of them takes away what the other works on.
///
/// Source: GitHub, "Workflow syntax", `concurrency`: only runs of one group wait for each other; an environment holds nothing back.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    let all: Vec<Work<'_>> =
        flows.iter().flat_map(|flow| flow.jobs().filter_map(move |(at, _)| work(flow, at))).collect();
    for reset in all.iter().filter(|one| takes(one)) {
        let meets = |other: &&Work<'_>| {
            !std::ptr::eq(other.flow, reset.flow)
                && other.environment.eq_ignore_ascii_case(reset.environment)
                && other.group.0 != reset.group.0
                && !takes(other)
                && other.flow.facts[other.at].iter().any(|facts| facts.does(Kind::Deploy))
        };
        // With one group for it and for what is deployed there, somebody has thought of it.
        let held = all.iter().any(|other| {
            !std::ptr::eq(other.flow, reset.flow)
                && other.environment.eq_ignore_ascii_case(reset.environment)
                && other.group.0 == reset.group.0
        });
        let Some(other) = all.iter().find(meets).filter(|_| !held) else { continue };
        report
            .add(
                reset.flow.file,
                reset.group.1,
                format!(
                    "`{}` may take away what `{}` deploys to `{}` at the same time: they have a group each",
                    reset.flow.name(),
                    other.flow.name(),
                    reset.environment
                ),
            )
            .confidence(Confidence::Medium)
            .also(other.flow.file, other.group.1, "the other group")
            .hint("give both the same `concurrency` group")
            .done();
    }
}

fn work(flow: &Flow, at: usize) -> Option<Work<'_>> {
    let job = &flow.model.jobs[at];
    let environment = job.environment.as_ref()?.name.as_ref()?.literal()?;
    // With a group of its own and that of its workflow it may wait for the other by either.
    let mut groups = flow.model.concurrency.iter().chain(&job.concurrency);
    let (Some(own), None) = (groups.next(), groups.next()) else { return None };
    let group = own.group.as_ref()?;
    Some(Work { flow, at, environment, group: (group.literal()?, group.span) })
}

fn takes(one: &Work<'_>) -> bool {
    one.flow.facts[one.at].iter().flat_map(|facts| &facts.commands).any(|command| {
        let text = command.text().to_ascii_lowercase();
        TAKES.iter().any(|word| text.contains(word)) && !matches!(command.program(), "echo" | "printf")
    })
}
