//! A push cancels what the clock has started in the same group, and does not do the same itself.

use kapell_view::audit::Severity;

use super::{plain, stops};
use crate::{
    github::{Flow, conditions::Run},
    rule::Report,
};

/// Words of a group that tell the run of a clock from that of a push.
const APART: &[&str] = &["event_name", "run_id", "run_number", "github.sha", "schedule"];

/// Tells of a group that a push to the default branch and the clock share, where checks run on the clock only.
///
/// Source: GitHub, "Events that trigger workflows": `GITHUB_REF` of `schedule` is the default branch, as is that of a push to it.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    let (Some(push), Some(clock)) = (flow.model.event("push"), flow.model.event("schedule")) else { return };
    let own = flow.model.concurrency.as_ref().filter(|own| stops(own));
    let Some(group) = own.and_then(|own| own.group.as_ref()) else { return };
    let text = plain(&group.text);
    let on_default = match push.filter("branches") {
        Some(filter) => filter.items.iter().any(|item| matches!(&*item.text, "main" | "master" | "**" | "*")),
        None => push.filter("tags").is_none(),
    };
    if !on_default || !text.contains("github.ref") || APART.iter().any(|word| text.contains(word)) {
        return;
    }
    // The push does nothing, or does less: what the clock has started is lost.
    let runs = |event: &str, at: usize| {
        let mut worlds = flow.worlds.iter().zip(flow.runs.iter());
        worlds.any(|(world, runs)| world.event.as_deref() == Some(event) && runs[at] != Run::Never)
    };
    let checks =
        |at: usize| flow.facts[at].iter().any(|facts| facts.works.iter().any(|done| done.work.kind.checks()));
    let Some((_, job)) =
        flow.jobs().find(|(at, _)| checks(*at) && runs("schedule", *at) && !runs("push", *at))
    else {
        return;
    };
    report
        .add(
            flow.file,
            group.span,
            format!(
                "a push cancels the run of the clock, and does not run `{}` itself: both have this group",
                job.id.text
            ),
        )
        .severity(Severity::Medium)
        .also(flow.file, clock.name.span, "started by this")
        .hint("put `${{ github.event_name }}` into the group")
        .done();
}
