//! Two workflows call the same workflow of the repository with the same inputs, on the same changes.

use kapell_spec::github::Job;
use kapell_view::audit::Severity;

use super::{Changes, LEAST_ALONE};
use crate::{
    github::{Flow, Github, carry, cost, world::World},
    rule::{Report, WORTH_SECONDS},
};

/// Returns what a job gives to the workflow that it calls, in an order of its own.
fn given(job: &Job) -> Vec<(&str, &str)> {
    let mut given: Vec<(&str, &str)> =
        job.with.iter().map(|(name, value)| (&*name.text, value.text.trim())).collect();
    given.sort_unstable();
    given
}

/// Tells whether a workflow does nothing but check: a second call of it changes nothing.
fn only_checks(github: &Github, flow: &Flow) -> bool {
    let checks = |flow: &Flow, at: usize| {
        flow.facts[at].iter().any(|facts| facts.works.iter().any(|done| done.work.kind.checks()))
    };
    let jobs: Vec<(&Flow, usize)> = flow.jobs().flat_map(|(at, _)| github.deep(flow, at)).collect();
    jobs.iter().any(|(flow, at)| checks(flow, *at))
        && !jobs.iter().any(|(flow, at)| carry::changes(flow, *at))
}

/// Tells of a call that both workflows make.
pub(super) fn compare(
    github: &Github,
    first: &Changes<'_>,
    second: &Changes<'_>,
    report: &mut Report<'_>,
) -> bool {
    let on_event = |world: &World| world.event.as_deref() == Some(first.event);
    let calls = |flow: &'_ Flow| -> Vec<usize> {
        let always = |(at, job): (usize, &Job)| {
            let plain = job.condition.is_none() && job.matrix.is_none();
            (plain && github.called(job).is_some() && flow.may_run(at, on_event)).then_some(at)
        };
        flow.jobs().filter_map(always).collect()
    };
    let left = calls(first.flow);
    if left.is_empty() {
        return false;
    }
    for other in calls(second.flow) {
        let job = &second.flow.model.jobs[other];
        let Some(called) = github.called(job) else { continue };
        let same = |at: &&usize| {
            let own = &first.flow.model.jobs[**at];
            github.called(own).is_some_and(|own| std::ptr::eq(own, called)) && given(own) == given(job)
        };
        let Some(&own) = left.iter().find(same) else { continue };
        let seconds: u32 = cost::durations(github, called, None).iter().sum();
        if seconds < LEAST_ALONE || !only_checks(github, called) {
            continue;
        }
        let event = first.event.replace('_', " ");
        let message = format!(
            "on a {event} `{}` and `{}` both call `{}` with the same inputs: it runs twice for the same commit",
            first.flow.name(),
            second.flow.name(),
            called.path.rsplit('/').next().unwrap_or_default()
        );
        report
            .add(first.flow.file, first.flow.job_span(own), message)
            .runners(seconds)
            .severity(if seconds < WORTH_SECONDS { Severity::Low } else { Severity::Medium })
            .also(second.flow.file, second.flow.job_span(other), "called here too")
            .hint("let one of them start on other events, or be one workflow")
            .done();
        return true;
    }
    false
}
