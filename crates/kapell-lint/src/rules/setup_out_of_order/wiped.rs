//! A second checkout into the same folder takes away what was built before it.

use kapell_spec::github::Step;
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, StepFacts, tools::Kind},
    rule::Report,
};

/// Looks for a build, a checkout behind it, and a delivery behind that.
///
/// Source: README of `actions/checkout`, input `clean`: `git clean -ffdx && git reset --hard HEAD` before fetching.
pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let steps: Vec<(&Step, &StepFacts)> = flow.steps(at).collect();
    let plain = |step: &Step| {
        step.is("actions/checkout")
            && step.condition.is_none()
            && ["path", "repository", "clean", "sparse-checkout"]
                .iter()
                .all(|name| step.input(name).is_none())
    };
    // An image is kept elsewhere than among the files.
    let apart = ["docker", "podman", "buildah", "nix", "pack", "ko", "earthly", "skaffold", "bazel", "sam"];
    let builds = |facts: &StepFacts| {
        facts.works.iter().any(|done| {
            let own = done.command.is_some_and(|at| !apart.contains(&facts.commands[at].program()));
            own && done.work.kind == Kind::Build
        })
    };
    let goes_out = |facts: &StepFacts| {
        facts.works.iter().any(|done| {
            matches!(
                done.work.kind,
                Kind::Deploy | Kind::Publish | Kind::Release | Kind::Pages | Kind::Store | Kind::Upload
            )
        })
    };
    let Some(built) = steps.iter().position(|(_, facts)| builds(facts) && !goes_out(facts)) else { return };
    let again = (built + 1..steps.len()).find(|&later| plain(steps[later].0));
    let Some(again) = again.filter(|_| steps[..built].iter().any(|(step, _)| plain(step))) else { return };
    let saves = |facts: &StepFacts| {
        goes_out(facts)
            || ["cp ", "mv ", "tar ", "stash"]
                .iter()
                .any(|word| facts.commands.iter().any(|command| command.begins(word)))
    };
    let delivered = (again + 1..steps.len()).find(|&later| goes_out(steps[later].1));
    let made_anew = |until: usize| {
        steps[again + 1..=until].iter().any(|(step, facts)| {
            builds(facts)
                || facts.does(Kind::Download)
                || step.uses.is_some() && facts.does(Kind::Unknown)
                || facts.runs_own_script()
        })
    };
    let Some(delivered) = delivered.filter(|&until| !made_anew(until)) else { return };
    if steps[built + 1..again].iter().any(|(_, facts)| saves(facts)) {
        return;
    }
    let span = steps[again].0.uses.as_ref().map_or(steps[again].0.span, |(text, _)| text.span);
    report
        .add(
            flow.file,
            span,
            "this checkout takes away what was built before it: it begins with `git clean`".to_owned(),
        )
        .severity(Severity::High)
        .also(flow.file, steps[built].0.span, "built here")
        .also(flow.file, steps[delivered].0.span, "delivered here")
        .hint("drop the second checkout, or give it a `path` of its own")
        .done();
}
