//! A job that tells people of failures waits for some jobs only: the others fail unheard.

use kapell_spec::github::Job;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, tools::Kind},
    repository::Repository,
    rule::{Report, listed},
};

/// Words of the name of a job that tells people.
const TELLS: &[&str] = &[
    "notify",
    "notification",
    "notifications",
    "slack",
    "alert",
    "alerts",
    "tell",
    "page",
    "pager",
    "discord",
    "teams",
];

fn name(job: &Job) -> String {
    format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase()
}

/// Tells whether a job does nothing but tell people.
fn tells(flow: &Flow, at: usize) -> bool {
    let lower = name(&flow.model.jobs[at]);
    let named = lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| TELLS.contains(&word));
    let mut works = flow.facts[at].iter().flat_map(|facts| &facts.works);
    let aside = |kind: Kind| matches!(kind, Kind::Trivial | Kind::Report | Kind::Checkout | Kind::Setup);
    named && works.all(|done| aside(done.work.kind) || done.text.starts_with("curl "))
}

/// Tells whether a job runs after a failure of what it waits for.
fn after_failure(job: &Job) -> bool {
    let text = job.condition.as_ref().map_or("", |own| &own.text);
    text.contains("failure()") || text.contains("always()") && text.contains("'failure'")
}

pub(super) fn check(repository: &Repository, flow: &Flow, report: &mut Report<'_>) {
    // Whoever opens a pull request sees what it came to.
    if !flow.starts("schedule") && !flow.starts("push") {
        return;
    }
    let telling: Vec<usize> =
        flow.jobs().filter(|(at, job)| after_failure(job) && tells(flow, *at)).map(|(at, _)| at).collect();
    let [at] = telling[..] else { return };
    let job = &flow.model.jobs[at];
    // One that says whose failure it tells of is for that one.
    let body = flow.text.get(job.span.range()).unwrap_or_default().to_ascii_lowercase();
    let own = |line: &&str| !line.trim_start().starts_with("needs:") && !line.trim_start().starts_with("- ");
    let said: Vec<&str> =
        body.lines().filter(own).flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric())).collect();
    if job.needs.is_empty() || job.needs.iter().any(|need| said.contains(&&*need.text.to_ascii_lowercase())) {
        return;
    }
    let unheard = flow.jobs().filter(|(other, known)| {
        let works = || flow.facts[*other].iter().flat_map(|facts| &facts.works);
        let matters = works().any(|done| done.work.kind.checks() || done.work.kind.delivers())
            || flow.facts[*other].iter().any(crate::github::StepFacts::runs_own_script);
        let soft = known.continue_on_error.is_some() || known.condition.is_some();
        let by_itself = known
            .steps
            .iter()
            .any(|step| step.condition.as_ref().is_some_and(|own| own.text.contains("failure()")));
        let called = repository.github.called(known).is_some();
        *other != at && !flow.closures[at].contains(other) && (matters || called) && !soft && !by_itself
    });
    let unheard: Vec<&Job> = unheard.map(|(_, known)| known).collect();
    let [first, ..] = unheard[..] else { return };
    let names = listed(unheard.iter().map(|known| format!("`{}`", known.id.text)), 3);
    let fail = if unheard.len() == 1 { "fails" } else { "fail" };
    report
        .add(
            flow.file,
            job.needs_span(),
            format!(
                "`{}` tells people of failures, and {names} {fail} unheard: it does not need them",
                job.id.text
            ),
        )
        .severity(Severity::Medium)
        .confidence(Confidence::Medium)
        .also(flow.file, first.id.span, "its failure is told to nobody")
        .hint(format!("add {names} to `needs`"))
        .done();
}
