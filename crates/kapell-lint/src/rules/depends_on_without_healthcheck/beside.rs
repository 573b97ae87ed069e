//! Services that GitHub starts beside a job.

use kapell_view::audit::Severity;

use super::SLOW;
use crate::{github::Flow, repository::Repository, rule::Report, systems::image_parts};

/// Words of what waits for an answer, or tries again.
const WAITS: &[&str] =
    &["pg_isready", "mysqladmin", "until ", "wait", "sleep", "nc -z", "retry", "dockerize", "health:"];

/// Tells of a database that takes seconds to answer and has no health check, while another service of the job has one: the steps
/// start when it has a process.
///
/// Source: "Creating PostgreSQL service containers" in the documentation of GitHub Actions.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs().filter(|(_, job)| job.services.len() > 1) {
            let text = flow.text.get(job.span.range()).unwrap_or_default();
            if WAITS.iter().any(|word| text.contains(word)) {
                continue;
            }
            in_job(flow, at, report);
        }
    }
}

fn in_job(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some(key) = job.keys.get("services") else { return };
    let part = |index: usize| {
        let end = job.services.get(index + 1).map_or(key.value.end, |next| next.span.start);
        flow.text.get(job.services[index].span.end as usize..end as usize).unwrap_or_default()
    };
    let all = || (0..job.services.len()).map(|index| (index, part(index)));
    let Some((checked, _)) = all().find(|(_, text)| text.contains("--health-cmd")) else { return };
    let slow = |text: &str| {
        let image = text.lines().find_map(|line| line.trim().strip_prefix("image:")).unwrap_or_default();
        let name = image_parts(image.trim().trim_matches(['"', '\''])).0;
        let last = name.rsplit('/').next().unwrap_or(name);
        SLOW.contains(&last) && !matches!(last, "redis" | "valkey" | "nats" | "keydb" | "dragonfly")
    };
    let bare = |text: &str| !text.contains("--health") && !text.contains("${{") && !text.contains("&");
    let Some((index, _)) = all().find(|(_, text)| bare(text) && slow(text)) else { return };
    let (service, other) = (&job.services[index], &job.services[checked]);
    report
        .add(
            flow.file,
            service.span,
            format!(
                "the steps of `{}` start as soon as `{}` has a process: unlike `{}` it has no health check",
                job.id.text, service.text, other.text
            ),
        )
        .severity(Severity::Medium)
        .also(flow.file, other.span, "this one has")
        .hint("give it `options: --health-cmd ...`")
        .done();
}
