//! A job delivers without waiting for the tests of its own workflow.

mod across; // tests in another workflow that starts on the same push
mod staged; // what is only put ready for a job that waits for the tests, too

use kapell_spec::github::Step;
use kapell_view::audit::{Confidence, Severity};

use self::staged::Staged;
use crate::github::{
    Flow, Github, StepFacts, carry, comments,
    script::Then,
    tools::{self, Kind},
    world::World,
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/delivery-beside-tests.md`.
pub(super) static RULE: Rule = Rule {
    name: "delivery-beside-tests",
    summary: "A job delivers without waiting for the tests of its own workflow",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/delivery-beside-tests.md"),
    check,
};

/// Words in the names of jobs that deliver something to try, or of what is tested.
const TRIAL: &[&str] = &[
    "preview", "nightly", "canary", "staging", "dev", "test", "snapshot", "edge", "review", "cache", "docs",
    "doc", "base",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let github = &repository.github;
    for flow in repository.asked_flows() {
        across::check(github, flow, report);
        for (at, job) in flow.jobs() {
            let Some(what) = delivers(flow, at) else { continue };
            // Who asks for a job until it is over waits for it, too; that is told of as such.
            let polled = super::polling_instead_of_needs::polled(flow, at);
            let tested = |job: usize| job == at || flow.closures[at].contains(&job) || polled.contains(&job);
            // One that waits for some tests was given the others to run beside it.
            promised(github, flow, (at, what), &tested, report);
            if flow.jobs().any(|(other, _)| {
                tested(other) && (tests(github, flow, other) || other != at && by_own_script(flow, other))
            }) {
                continue;
            }
            let beside = flow.jobs().find(|&(other, job)| {
                !flow.closures[other].contains(&at)
                    && (tests(github, flow, other)
                        || by_own_script(flow, other)
                        || judges(flow, at, other)
                        || scans_before(flow, at, other))
                    && job.continue_on_error.is_none()
                    && github.deep(flow, other).iter().all(|(flow, job)| !carry::changes(flow, *job))
                    && together(flow, at, other)
            });
            let Some((judge, beside)) = beside else { continue };
            if what == Kind::Publish && staged::is_handed_over(github, flow, at) {
                continue;
            }
            let staged = staged::of(flow, (at, what), judge);
            if staged == Some(Staged::Unseen) {
                continue;
            }
            report
                .add(
                    flow.file,
                    job.id.span,
                    format!("`{}` {} while `{}` may still fail", job.id.text, what.verb(), beside.id.text),
                )
                .severity(match what {
                    _ if staged == Some(Staged::Named) => Severity::Low,
                    _ if staged == Some(Staged::Newest) => Severity::Medium,
                    // A version that a registry has once is there for ever.
                    Kind::Publish => Severity::High,
                    Kind::Release | Kind::Deploy if job.environment.is_none() => Severity::High,
                    Kind::Deploy if staged::brings_out(flow, at, judge) => Severity::High,
                    _ => Severity::Medium,
                })
                .also(flow.file, beside.id.span, "tests the same commit")
                .hint(format!("add `needs: {}`", beside.id.text))
                .done();
        }
    }
}

/// Words above a check that say that nothing goes out without it.
const PROMISES: &[&str] = &[
    "nothing may",
    "nothing must",
    "nothing is published",
    "nothing is released",
    "nothing goes out",
    "nothing ships",
    "must not be published",
    "must not be released",
    "must not be pushed",
    "never publish",
    "never release",
    "never ship",
    "before anything is",
    "before we publish",
    "before we release",
    "before publishing",
    "before releasing",
    "before a release",
    "blocks the release",
    "blocks a release",
    "gates the release",
    "gate for",
    "release gate",
];

/// A check says that nothing goes out without it, and what goes out waits for another one.
fn promised(
    github: &Github,
    flow: &Flow,
    (at, what): (usize, Kind),
    tested: &impl Fn(usize) -> bool,
    report: &mut Report<'_>,
) {
    // One delivery is enough to tell of: the first, which the others wait for.
    if flow.closures[at].iter().any(|&up| delivers(flow, up).is_some()) {
        return;
    }
    let checks = |at: usize| {
        let does = |(flow, job): &(&Flow, usize)| {
            flow.facts[*job].iter().any(|facts| facts.works.iter().any(|done| done.work.kind.checks()))
        };
        github.deep(flow, at).iter().any(does)
    };
    let says = |other: usize| comments::explains(flow, flow.job_span(other), 1, PROMISES).is_some();
    let beside = flow.jobs().find(|&(other, job)| {
        !tested(other)
            && !flow.closures[other].contains(&at)
            && job.continue_on_error.is_none()
            && says(other)
            && checks(other)
            && together(flow, at, other)
    });
    let Some((judge, beside)) = beside else { return };
    if staged::of(flow, (at, what), judge).is_some() {
        return;
    }
    let job = &flow.model.jobs[at];
    report
        .add(
            flow.file,
            beside.id.span,
            format!(
                "nothing is to go out without `{}`, and `{}` {} without waiting for it",
                beside.id.text,
                job.id.text,
                what.verb()
            ),
        )
        .also(flow.file, job.id.span, "does not wait")
        .hint(format!("add `{}` to the `needs` of `{}`", beside.id.text, job.id.text))
        .done();
}

/// Returns what a job gives to others, if it does so at once and for good.
fn delivers(flow: &Flow, at: usize) -> Option<Kind> {
    let job = &flow.model.jobs[at];
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let trial = name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| TRIAL.contains(&part));
    if trial {
        return None;
    }
    let kinds = [Kind::Publish, Kind::Release, Kind::Deploy, Kind::Tag];
    // What a condition or an expression keeps back may only be for a release.
    let sure = |(step, facts): (&Step, &StepFacts)| {
        let asked =
            step.condition.is_some() || step.input("push").is_some_and(|push| push.literal().is_none());
        let found = facts.mutation().map(|done| done.work.kind);
        // Files that are put where a site is read from.
        let stored = || {
            facts.does(Kind::Store)
                && name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == "deploy")
        };
        let kind = found.filter(|kind| kinds.contains(kind)).or_else(|| stored().then_some(Kind::Deploy))?;
        (!asked).then_some(kind)
    };
    let found = flow.steps(at).filter_map(sure).max()?;
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    let draft = text.contains("draft: true") || text.contains("--draft");
    // What opens pull requests or drafts by itself decides later.
    let by_bot = flow.facts[at].iter().flat_map(|facts| &facts.actions).any(|name| {
        ["release-please", "release-drafter", "changesets/", "release-plz"]
            .iter()
            .any(|bot| name.contains(bot))
    });
    (!draft && !by_bot).then_some(found)
}

fn tests(github: &Github, flow: &Flow, at: usize) -> bool {
    github
        .deep(flow, at)
        .iter()
        .any(|(flow, job)| flow.facts[*job].iter().any(|facts| facts.does(Kind::Test)))
}

/// Tells whether a job is named for tests and runs a script of the repository.
fn by_own_script(flow: &Flow, at: usize) -> bool {
    let id = flow.model.jobs[at].id.text.to_ascii_lowercase();
    let named = id
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|part| ["test", "tests", "smoke", "e2e", "integration"].contains(&part));
    named && flow.facts[at].iter().any(StepFacts::runs_own_script)
}

/// Tells whether a job judges the very artifact that another one delivers: a plan, a bundle.
fn judges(flow: &Flow, at: usize, judge: usize) -> bool {
    let checks = flow.facts[judge].iter().any(|facts| {
        facts.works.iter().any(|done| matches!(done.work.kind, Kind::Audit | Kind::Lint | Kind::Test))
    });
    let taken = |up: usize, by: usize| carry::artifacts_taken(flow, up, by).into_iter().map(|(name, _)| name);
    checks
        && flow.closures[at].iter().any(|&up| {
            let own: Vec<String> = taken(up, at).collect();
            flow.closures[judge].contains(&up) && taken(up, judge).any(|name| own.contains(&name))
        })
}

/// Words in the name of a job that say that something waits for it.
const HOLDS: &[&str] = &["gate", "block", "blocks", "blocking", "guard", "before"];

/// Words in the name of a job of what it holds back.
const HELD: &[&str] = &["release", "publish", "deploy", "promote", "ship", "rollout", "push"];

/// Tells whether a job says by its name that it holds a delivery back, or looks for holes in the image that both it and the
/// delivery take from one job, and fails if it finds some.
fn scans_before(flow: &Flow, at: usize, scan: usize) -> bool {
    let job = &flow.model.jobs[scan];
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let has =
        |words: &[&str]| name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| words.contains(&part));
    let scanned = |up: &usize| {
        flow.closures[scan].contains(up)
            && flow.facts[*up].iter().any(|facts| facts.does(Kind::Publish))
            && flow.steps(scan).any(|(step, facts)| of_image(step, facts))
    };
    flow.steps(scan).any(|(step, facts)| fails_on_holes(step, facts))
        && (has(HOLDS) && has(HELD) || flow.closures[at].iter().any(scanned))
}

/// Tells whether a step looks at an image.
fn of_image(step: &Step, facts: &StepFacts) -> bool {
    ["image-ref", "image", "image-name"].iter().any(|input| step.input(input).is_some())
        || facts.commands.iter().any(|command| {
            matches!(command.program(), "trivy" | "grype" | "snyk" | "docker")
                && command.words.iter().any(|word| matches!(word.as_str(), "image" | "container" | "scout"))
        })
}

/// Tells whether a step looks for known holes and fails if it finds some: by itself, or since it is told so.
///
/// Sources: `exit-code` of aquasecurity/trivy-action (0 by default) and `trivy --exit-code`, `fail-build` of
/// anchore/scan-action (true by default), `grype --fail-on`; `cargo audit`, `npm audit` and `pip-audit` fail by themselves.
fn fails_on_holes(step: &Step, facts: &StepFacts) -> bool {
    const STRICT: &[&str] =
        &["cargo audit", "cargo deny", "npm audit", "pnpm audit", "pip-audit", "govulncheck", "osv-scanner"];
    if step.continue_on_error.is_some() || step.condition.is_some() {
        return false;
    }
    let told = |name: &str| step.input(name).and_then(|text| text.literal());
    let by_action = || {
        step.is("aquasecurity/trivy-action") && told("exit-code").is_some_and(|code| code.trim() != "0")
            || step.is("anchore/scan-action") && told("fail-build") != Some("false")
            || step.action().is_some() && facts.actions.iter().any(|name| name.starts_with("snyk/actions/"))
    };
    let by_command = || {
        facts.commands.iter().filter(|own| !own.asked && own.then == Then::End).any(|command| {
            let flag = |name: &str| {
                let at = command.words.iter().position(|word| word.starts_with(name))?;
                let own = command.words[at].split_once('=').map(|(_, value)| value);
                own.or_else(|| command.words.get(at + 1).map(String::as_str))
            };
            let plain = tools::plain_text(command);
            match command.program() {
                "trivy" => flag("--exit-code").is_some_and(|code| code != "0"),
                "grype" => flag("--fail-on").is_some(),
                _ => STRICT.iter().any(|start| plain.starts_with(start)),
            }
        })
    };
    by_action() || by_command()
}

/// Tells whether two jobs run for the same commit in a situation that is no pull request.
fn together(flow: &Flow, left: usize, right: usize) -> bool {
    use crate::github::conditions::Run;
    let fits = |world: &World| !world.is_pull_request() && world.event.as_deref() != Some("schedule");
    flow.worlds
        .iter()
        .zip(flow.runs.iter())
        .any(|(world, runs)| fits(world) && runs[left] != Run::Never && runs[right] != Run::Never)
}
