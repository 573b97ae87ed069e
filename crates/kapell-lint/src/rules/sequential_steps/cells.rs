//! Cells of a matrix of tests or builds that run one after the other, though each has a machine of its own and nothing is shared.

use kapell_spec::github::{Job, Text};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, carry, comments, cost, tools::Kind},
    repository::Repository,
    rule::Report,
};

/// Looks for `max-parallel: 1` with `fail-fast: false`: all cells run in any case, and each waits for the one before.
///
/// Source: GitHub, "Workflow syntax", `jobs.<job_id>.strategy.max-parallel`: each cell is a job of its own.
pub(super) fn check(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some(most) = job.max_parallel.as_ref().filter(|most| most.is("1")) else { return };
    let cells = job.matrix.as_ref().filter(|matrix| !matrix.dynamic).and_then(|matrix| matrix.cells());
    let cells = cells.map_or(0, |cells| cells.len());
    // Who stops at the first failure may want to spare the rest.
    let all = job.fail_fast.as_ref().is_some_and(|text| text.is("false"));
    let awaited = ["pull_request", "merge_group", "push"].iter().any(|event| flow.starts(event));
    let checks = flow.facts[at].iter().any(|facts| facts.does(Kind::Test) || facts.does(Kind::Build));
    if cells < 2 || !all || !awaited || !checks || shares(flow, at) {
        return;
    }
    let seconds = cost::durations(&repository.github, flow, repository.timings.as_ref())[at];
    let rest = u32::try_from(cells - 1).unwrap_or(u32::MAX);
    let less = seconds.saturating_mul(rest);
    let draft = report
        .add(
            flow.file,
            most.span,
            format!("the {cells} cells of `{}` run one after the other, and share nothing", job.id.text),
        )
        .severity(Severity::Medium)
        .confidence(Confidence::Medium)
        .saving(less)
        .hint("drop `max-parallel`, or say in a comment what they share");
    let why = comments::at(flow, most.span, 1);
    match why.trim() {
        "" => draft.done(),
        why => draft.explained(why).done(),
    }
}

/// Tells whether the cells of a job may be in each other's way: on a machine that stays, by something outside, by a cache
/// that the first of them fills, or in a way that no file shows.
fn shares(flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    // Tests that speak to somebody else say so, if nothing else does.
    const REMOTE: &[&str] =
        &["live", "network", "remote", "external", "online", "sandbox", "staging", "upstream", "api", "e2e"];
    let own = [&*flow.path, flow.name(), text];
    let mut words = own.into_iter().flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()));
    let remote = words.any(|word| REMOTE.iter().any(|known| word.eq_ignore_ascii_case(known)));
    let outside = text.contains("http")
        || ["vars.", "actions/cache", "type=gha", "ssh "].iter().any(|word| text.contains(word));
    !job.runs_on.iter().all(|label| is_hosted(job, label))
        || job.environment.is_some()
        || job.concurrency.is_some()
        || job.uses.is_some()
        || outside
        || remote
        || flow.lets_out(at)
        || carry::changes(flow, at)
        || flow.facts[at].iter().any(|facts| facts.runs_own_script() || facts.does(Kind::Store))
}

/// Tells whether a label is one of GitHub's own machines, or takes its name from the matrix.
fn is_hosted(job: &Job, label: &Text) -> bool {
    let known = |label: &str| ["ubuntu-", "windows-", "macos-"].iter().any(|start| label.starts_with(start));
    match label.literal() {
        Some(label) => known(label),
        None => {
            let axis = label.expression().and_then(|text| text.strip_prefix("matrix."));
            let cells = job.matrix.as_ref().and_then(|matrix| matrix.cells()).unwrap_or_default();
            let of = |cell: &Vec<(&str, &kapell_core::expr::Value)>| {
                let value =
                    cell.iter().find(|(name, _)| axis.is_some_and(|axis| name.eq_ignore_ascii_case(axis)));
                value.and_then(|(_, value)| value.text()).is_some_and(|text| known(&text))
            };
            !cells.is_empty() && cells.iter().all(of)
        }
    }
}
