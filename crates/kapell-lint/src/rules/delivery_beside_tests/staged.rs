//! What a job only puts ready: it goes out by another job, which waits for the tests as well.

use crate::{
    github::{Flow, Github, StepFacts, carry, spelling::spelled, tools::Kind},
    systems::images::{self, Pushed},
};

/// How what is put ready may be seen before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Staged {
    /// By nobody who is not told its name, which is that of this run or commit.
    Unseen,
    /// By whoever asks for a branch.
    Named,
    /// By whoever asks for the newest, or for a version.
    Newest,
}

/// Tells how what a job delivers may be seen before the tests of `judge` end, where all that uses it waits for both.
pub(super) fn of(flow: &Flow, (at, what): (usize, Kind), judge: usize) -> Option<Staged> {
    let uses = |job: &usize| flow.closures[*job].contains(&at) && carry::changes(flow, *job);
    let mut users = (0..flow.model.jobs.len()).filter(uses).peekable();
    users.peek()?;
    // One that brings it out without the tests is told of itself.
    if !users
        .all(|job| flow.closures[job].contains(&judge) || super::delivers(flow, job) == Some(Kind::Deploy))
    {
        return None;
    }
    match what {
        Kind::Publish if flow.facts[at].iter().all(only_images) => Some(seen(&images::pushed_by(flow, at))),
        Kind::Deploy if flow.facts[at].iter().all(gets_nothing) => Some(Staged::Unseen),
        _ => None,
    }
}

/// Tells whether all that a job publishes are images under the name of this run or commit which a job beside it takes to look
/// at, and nothing here deploys.
pub(super) fn is_handed_over(github: &Github, flow: &Flow, at: usize) -> bool {
    let images = images::pushed_by(flow, at);
    if seen(&images) != Staged::Unseen || !flow.facts[at].iter().all(only_images) {
        return false;
    }
    let brings_out = |other: &Flow| {
        let own = std::ptr::eq(other, flow);
        other.jobs().any(|(job, _)| !(own && job == at) && carry::changes(other, job))
    };
    if github.flows.iter().any(brings_out) {
        return false;
    }
    let texts: Vec<String> = flow
        .jobs()
        .filter(|(job, _)| *job != at)
        .map(|(job, known)| spelled(flow, job, flow.text.get(known.span.range()).unwrap_or_default()))
        .collect();
    images.iter().all(|image| {
        let name = spelled(flow, at, &format!("{}:{}", image.written, image.tag));
        texts.iter().any(|text| text.contains(&name))
    })
}

/// Tells whether a job deploys images that another one made for it alone, untested as well.
pub(super) fn brings_out(flow: &Flow, at: usize, judge: usize) -> bool {
    flow.closures[at].iter().any(|&up| {
        !flow.closures[up].contains(&judge)
            && super::delivers(flow, up) == Some(Kind::Publish)
            && of(flow, (up, Kind::Publish), judge) == Some(Staged::Unseen)
    })
}

/// Tells whether all that a step brings outside are images.
fn only_images(facts: &StepFacts) -> bool {
    const ACTIONS: &[&str] = &[
        "docker/build-push-action",
        "docker/bake-action",
        "depot/build-push-action",
        "redhat-actions/push-to-registry",
    ];
    const PROGRAMS: &[&str] =
        &["docker", "podman", "buildah", "skopeo", "crane", "ko", "buildctl", "depot", "nerdctl"];
    facts.works.iter().filter(|done| done.work.kind.mutates()).all(|done| match done.command {
        Some(command) => PROGRAMS.contains(&facts.commands[command].program()),
        None => ACTIONS.contains(&done.text.as_str()),
    })
}

/// Tells whether what a step deploys gets no requests until another command says so.
///
/// Sources: `gcloud run deploy --no-traffic`, `gcloud app deploy --no-promote`, `az webapp deployment slot`, `vercel deploy
/// --skip-domain`.
fn gets_nothing(facts: &StepFacts) -> bool {
    const FLAGS: &[&str] = &["--no-traffic", "--no-promote", "--slot", "--skip-domain"];
    facts.works.iter().filter(|done| done.work.kind.mutates()).all(|done| {
        let words = done.command.map_or(&[][..], |at| &facts.commands[at].words);
        words.iter().any(|word| FLAGS.iter().any(|flag| word.starts_with(flag)))
    })
}

/// Tells by which of its names images are seen.
fn seen(pushed: &[Pushed]) -> Staged {
    let of_branch = ["github.ref", "github.head_ref", "GITHUB_REF", images::BY_NAME, images::BY_REFERENCE];
    let one = |image: &Pushed| match &*image.tag {
        "latest" | "stable" | images::BARE_VERSION | images::PART_OF_VERSION => Staged::Newest,
        tag if of_branch.iter().any(|name| tag.contains(name)) || !tag.contains('$') => Staged::Named,
        _ => Staged::Unseen,
    };
    let all: Vec<Staged> = pushed.iter().map(one).collect();
    // What is not known may be the newest.
    if all.is_empty() || all.contains(&Staged::Newest) {
        Staged::Newest
    } else if all.contains(&Staged::Named) {
        Staged::Named
    } else {
        Staged::Unseen
    }
}
