//! An image is scanned when it is out already, and nothing waits for the scan.

use kapell_spec::github::Step;
use kapell_view::audit::Severity;

use crate::{
    github::{
        Flow, StepFacts, carry,
        script::{Command, Then},
        tools::Kind,
    },
    rule::Report,
};

/// Tells of a scan that can fail, and behind which nothing comes that it could keep back.
pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let found = flow.steps(at).enumerate().find_map(|(index, (step, facts))| {
        let image = scanned(step, facts)?;
        let (job, push) = pushed(flow, (at, index), bare(&image))?;
        Some((index, step, job, push))
    });
    let Some((index, step, pusher, push)) = found else { return };
    if goes_on(flow, at, index) || !(for_people(flow, pusher, push) || is_deployed(flow, at, index)) {
        return;
    }
    report
        .add(
            flow.file,
            step.name_span(),
            "the image is out before this looks at it, and nothing waits for the result".to_owned(),
        )
        .severity(Severity::High)
        .also(flow.file, push.name_span(), "pushed here")
        .hint("build with `load: true`, scan that, and push behind the scan")
        .done();
}

/// Returns the image that a step scans, if a finding fails the step.
fn scanned(step: &Step, facts: &StepFacts) -> Option<String> {
    if step.continue_on_error.is_some() {
        return None;
    }
    let fails = |name: &str| step.input(name).and_then(|text| text.literal()).is_some_and(|code| code != "0");
    if step.is("aquasecurity/trivy-action") {
        return step.input("image-ref").filter(|_| fails("exit-code")).map(|text| text.text.to_string());
    }
    if step.is("anchore/scan-action") {
        let lenient = step.input("fail-build").is_some_and(|text| !text.is("true"));
        return step.input("image").filter(|_| !lenient).map(|text| text.text.to_string());
    }
    facts.commands.iter().find_map(by_command)
}

/// Returns the image that a command scans, if it fails for a finding.
fn by_command(command: &Command) -> Option<String> {
    let words = command.inner();
    let has = |flag: &str| words.iter().any(|word| word.starts_with(flag));
    let none =
        words.windows(2).any(|pair| pair[0] == "--exit-code" && pair[1] == "0") || has("--exit-code=0");
    let scans = match command.program() {
        "trivy" => words.get(1).is_some_and(|word| word == "image") && has("--exit-code") && !none,
        "grype" => has("--fail-on") || has("-f"),
        _ => false,
    };
    let plain = scans && command.then != Then::Or && command.then != Then::Pipe && !command.asked;
    words.iter().rev().find(|word| !word.starts_with('-')).filter(|_| plain).cloned()
}

/// Returns an image without its tag.
fn bare(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or_default().trim();
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// Returns the step before a scan, and its job, that pushes the image.
fn pushed<'a>(flow: &'a Flow, (at, index): (usize, usize), image: &str) -> Option<(usize, &'a Step)> {
    let gives = |facts: &StepFacts| facts.commands.iter().any(|command| command.begins("docker push"));
    let pushes = |(step, facts): &(&Step, &StepFacts)| {
        let by_action =
            step.is("docker/build-push-action") && step.input("push").is_some_and(|push| push.is("true"));
        by_action || gives(facts)
    };
    let named = |job: usize| {
        flow.text.get(flow.model.jobs[job].span.range()).is_some_and(|text| text.contains(image))
    };
    if image.len() < 4 {
        return None;
    }
    let own = flow.steps(at).take(index).find(pushes).map(|(step, _)| (at, step));
    let before = || {
        let mut jobs = flow.closures[at].iter().filter(|&&up| named(up));
        jobs.find_map(|&up| flow.steps(up).find(pushes).map(|(step, _)| (up, step)))
    };
    own.or_else(before)
}

/// Tells whether something comes behind a scan that it could keep back.
fn goes_on(flow: &Flow, at: usize, index: usize) -> bool {
    let matters =
        |facts: &StepFacts| facts.mutation().is_some() || facts.is_opaque() || facts.does(Kind::Store);
    flow.steps(at).skip(index + 1).any(|(_, facts)| matters(facts))
        || flow.jobs().any(|(other, job)| {
            flow.closures[other].contains(&at)
                && (job.uses.is_some()
                    || carry::changes(flow, other)
                    || flow.facts[other].iter().any(matters))
        })
}

/// Tells whether a push moves a tag that people take: one of a commit alone is for whoever comes behind the scan.
fn for_people(flow: &Flow, job: usize, push: &Step) -> bool {
    const MOVES: &[&str] =
        &["latest", "ref_name", "REF_NAME", "semver", "version", "VERSION", ":main", ":stable", ":edge"];
    let meta = || {
        flow.model.jobs[job].steps.iter().find(|step| step.is("docker/metadata-action")).map(|step| step.span)
    };
    let says = |text: Option<&str>| text.is_some_and(|text| MOVES.iter().any(|word| text.contains(word)));
    says(flow.text.get(push.span.range())) || meta().is_some_and(|span| says(flow.text.get(span.range())))
}

/// Tells whether a job deploys without waiting for a scan, or the job of the scan before it.
fn is_deployed(flow: &Flow, at: usize, index: usize) -> bool {
    flow.steps(at).take(index).any(|(_, facts)| facts.does(Kind::Deploy))
        || flow.jobs().any(|(other, _)| {
            other != at
                && !flow.closures[other].contains(&at)
                && flow.facts[other].iter().any(|facts| facts.does(Kind::Deploy))
        })
}
