//! Services that compose starts on another machine, where it has an image under that tag already.

use std::borrow::Cow;

use kapell_spec::{
    finding::Span,
    github::{Job, Step},
};
use kapell_view::audit::Confidence;

use super::plain;
use crate::{
    files::FileId,
    github::{Flow, StepFacts, own_scripts},
    repository::Repository,
    rule::Report,
    systems::{Compose, Word, image_parts, images::Pushed},
};

/// Words of a text that brings the new image, or builds it where it runs.
const BRINGS: &[&str] = &["pull", "build", "rmi", "docker load", "watchtower", "docker save"];

/// Tells of an image that is pushed under a fixed tag, and that compose then starts on another machine by that very tag without
/// fetching it: what is there already goes on.
///
/// Source: Docker, "Define services in Docker Compose", `pull_policy`: by default an image is pulled only if it is not available in
/// the platform cache; "The `latest` tag is always pulled".
pub(super) fn check(repository: &Repository, pushed: &[Pushed], report: &mut Report<'_>) {
    if repository.systems.composes.is_empty() {
        return;
    }
    for flow in &repository.github.flows {
        let fixed = |one: &&Pushed| one.file == flow.file && one.tag != "latest" && !one.tag.contains('$');
        let own: Vec<&Pushed> = pushed.iter().filter(fixed).collect();
        if own.is_empty() {
            continue;
        }
        for (at, job) in flow.jobs() {
            for (step, facts) in flow.steps(at) {
                let Some(start) = started(repository, (flow, job, step), facts) else { continue };
                let Some(Stale { compose, image, push }) = stale(repository, &start.text, &own) else {
                    continue;
                };
                let message = format!(
                    "the image `{}` that runs there stays: `docker compose up` fetches none that it has under this tag",
                    &**image
                );
                report
                    .add(start.file, start.span, message)
                    .confidence(Confidence::High)
                    .also(push.file, push.span, "pushed here under the same tag")
                    .also(compose.file, image.span, "the same text each time")
                    .hint("fetch it first: `docker compose pull`, or `up --pull always`")
                    .done();
            }
        }
    }
}

/// Where a text starts services on another machine.
struct Start<'a> {
    text: Cow<'a, str>,
    file: FileId,
    span: Span,
}

/// Finds where a step starts services on another machine and brings no image there: by itself, by an action, or by a script.
fn started<'a>(
    repository: &'a Repository,
    (flow, job, step): (&Flow, &Job, &'a Step),
    facts: &StepFacts,
) -> Option<Start<'a>> {
    let by_action = step.input("script").filter(|_| facts.actions.iter().any(|name| name.contains("ssh")));
    if let Some(script) = by_action {
        line(&script.text)?;
        return Some(Start { text: Cow::Borrowed(&script.text), file: flow.file, span: script.span });
    }
    let over = |text: &str| text.contains("ssh ");
    if let Some(at) = Some(step.script()).filter(|text| over(text)).and_then(line) {
        let span = flow.script_line(step, at, "");
        return Some(Start { text: Cow::Borrowed(step.script()), file: flow.file, span });
    }
    if !facts.runs_own_script() {
        return None;
    }
    own_scripts::of_step(&repository.files, job, step, facts).into_iter().find_map(|script| {
        let at = line(&script.text).filter(|_| over(&script.text))?;
        let file = script.file?;
        let end = script.text[at..].find('\n').map_or(script.text.len(), |len| at + len);
        Some(Start { text: Cow::Owned(script.text.to_string()), file, span: Span::new(at, end) })
    })
}

/// Returns where the line begins that starts services in the background, in a text that brings no image.
fn line(text: &str) -> Option<usize> {
    if BRINGS.iter().any(|word| text.contains(word)) {
        return None;
    }
    let mut at = 0;
    text.split_inclusive('\n').find_map(|line| {
        let start = at + line.len() - line.trim_start().len();
        at += line.len();
        let composes = line.contains("docker compose ") || line.contains("docker-compose ");
        (composes && line.contains(" up ") && line.contains(" -d")).then_some(start)
    })
}

/// An image that stays what it was.
struct Stale<'a> {
    compose: &'a Compose,
    image: &'a Word,
    /// The push of its very tag.
    push: &'a Pushed,
}

/// Finds such an image in the compose file that a text starts.
fn stale<'a>(repository: &'a Repository, text: &str, pushed: &[&'a Pushed]) -> Option<Stale<'a>> {
    let runs = |compose: &&Compose| {
        let name = compose.path.rsplit('/').next().unwrap_or_default();
        let named = text.contains(name);
        let default =
            matches!(name, "compose.yaml" | "compose.yml" | "docker-compose.yml" | "docker-compose.yaml");
        (named || default && !text.contains(" -f "))
            && !repository.files[compose.file].text.contains("pull_policy")
    };
    repository.systems.composes.iter().filter(runs).find_map(|compose| {
        compose.services.iter().filter(|service| service.build.is_none() && !service.profiled).find_map(
            |service| {
                let image = service.image.as_ref().filter(|image| !image.contains(['@', '$']))?;
                let (name, tag) = image_parts(image);
                let name = plain(name);
                let same = |one: &&&Pushed| {
                    Some(&*one.tag) == tag && one.name.as_deref().map(plain).as_ref() == Some(&name)
                };
                Some(Stale { compose, image, push: pushed.iter().find(same)? })
            },
        )
    })
}
