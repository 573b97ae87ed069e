//! Results of steps that their job does not have: `steps.smoke.outcome`, and no step has that id.

use kapell_spec::github::Job;
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, carry},
    rule::Report,
};

/// `steps.ID.outcome` and `steps.ID.conclusion` of no step: empty, and so equal to no result.
pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let has = |job: &Job, id: &str| {
        job.steps.iter().any(|step| step.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id)))
    };
    let mut told: Vec<String> = Vec::new();
    for expression in &job.expressions {
        for reference in expression.expr.root().references() {
            let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
            let ["steps", id, property @ ("outcome" | "conclusion")] = path[..] else { continue };
            if has(job, id) || id == "*" || told.iter().any(|known| known == id) {
                continue;
            }
            told.push(id.to_owned());
            let other = flow.jobs().find(|(other, job)| *other != at && has(job, id));
            let (why, hint) = match other {
                Some((_, other)) => (
                    format!("step `{id}` is one of `{}`, not of `{}`", other.id.text, job.id.text),
                    format!("wait for `{}`, and read `needs.{}.result`", other.id.text, other.id.text),
                ),
                None => (
                    format!("no step of `{}` has the id `{id}`", job.id.text),
                    format!("give the step that is meant `id: {id}`"),
                ),
            };
            report
                .add(
                    flow.file,
                    expression.span(&flow.text),
                    format!("`steps.{id}.{property}` is always empty: {why}"),
                )
                .severity(if carry::changes(flow, at) { Severity::High } else { Severity::Medium })
                .hint(hint)
                .done();
        }
    }
}
