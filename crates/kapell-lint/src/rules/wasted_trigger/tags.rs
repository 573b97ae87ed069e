//! A tag that is pushed with the default token starts no workflow that waits for tags.

use std::borrow::Cow;

use kapell_spec::github::Step;
use kapell_view::audit::Severity;

use super::{REASONS, is_default_token};
use crate::{
    github::{
        Flow, Github, StepFacts, carry, comments, facts::Done, globs, own_scripts, script::Command,
        tools::Kind,
    },
    repository::Repository,
    rule::{Report, names},
};

/// Actions that make up a version and push its tag, and the input for another token.
const TAGGERS: &[(&str, &[&str])] = &[
    ("mathieudutour/github-tag-action", &["github_token"]),
    ("anothrnick/github-tag-action", &[]),
    ("rickstaa/action-create-tag", &["github_token"]),
];

/// Tells whether a command of a step pushes a tag: by its own words, or since another one made a tag of that name.
pub(super) fn pushes_tag(facts: &StepFacts, command: &Command) -> bool {
    let begins = |command: &Command, verb: &str| {
        command.program() == "git" && command.inner().get(1).is_some_and(|word| word == verb)
    };
    if !begins(command, "push") || command.depth > 1 {
        return false;
    }
    let own = |done: &Done| done.command.is_some_and(|at| std::ptr::eq(&facts.commands[at], command));
    let known = facts.works.iter().any(|done| done.work.kind == Kind::Tag && own(done));
    let mut named = command.inner().iter().skip(2).filter(|word| !word.starts_with('-') && *word != "origin");
    known
        || named.any(|name| {
            let name = name.trim_start_matches("refs/tags/");
            facts
                .commands
                .iter()
                .any(|made| begins(made, "tag") && made.words.iter().any(|word| word == name))
        })
}

/// Returns the tag that a step pushes by the default token, as a pattern; `script` is what it runs beside its own text.
fn pushed(flow: &Flow, (at, index): (usize, usize), facts: &StepFacts, script: &str) -> Option<String> {
    let job = &flow.model.jobs[at];
    let step = &job.steps[index];
    let own = flow.text.get(step.span.range()).unwrap_or_default().to_owned() + script;
    if let Some((_, inputs)) = TAGGERS.iter().find(|(name, _)| step.is(name)) {
        let given = |name: &&str| step.input(name).is_none_or(|token| is_default_token(&token.text));
        let other = own.contains("secrets.") && !own.contains("secrets.GITHUB_TOKEN");
        return (inputs.iter().all(given) && !other).then(|| "*".to_owned());
    }
    // Git takes the token of the checkout.
    let checkout = job.steps[..index].iter().rev().find(|step| step.is("actions/checkout"))?;
    let default = checkout.input("ssh-key").is_none()
        && checkout.input("token").is_none_or(|token| is_default_token(&token.text));
    let text = flow.text.get(job.span.range()).unwrap_or_default().to_owned() + script;
    let other = ["x-access-token", "remote set-url", "insteadOf", "ssh-agent", "extraheader", "app-token"];
    let push = facts.commands.iter().find(|command| pushes_tag(facts, command))?;
    // A tag that moves is for those who use it, and starts nothing on purpose.
    let moves = push.words.iter().any(|word| matches!(word.as_str(), "-f" | "--force" | "-d" | "--delete"))
        || push.words.iter().any(|word| word.contains("://") || word.contains('@'))
        || own.contains("tag -f")
        || own.contains("tag --force");
    if !default || moves || other.iter().any(|word| text.contains(word)) {
        return None;
    }
    let tag = pushed_name(facts, push);
    Some(if tag.contains('$') { "*".to_owned() } else { tag.to_owned() })
}

/// Returns which of the refs that a command pushes is the tag; `*` if all are pushed, or none is named.
pub(super) fn pushed_name<'a>(facts: &StepFacts, push: &'a Command) -> &'a str {
    let words = push.inner();
    if words.iter().any(|word| matches!(word.as_str(), "--tags" | "--follow-tags" | "--mirror")) {
        return "*";
    }
    // The first is the remote.
    let refs: Vec<&str> =
        words.iter().skip(2).filter(|word| !word.starts_with('-')).skip(1).map(String::as_str).collect();
    let made = |name: &&str| {
        name.starts_with("refs/tags/") || facts.commands.iter().any(|command| makes_tag(command, name))
    };
    let tag = refs.iter().find(|name| made(name)).or(refs.first());
    tag.map_or("*", |name| name.trim_start_matches("refs/tags/"))
}

/// Tells whether a command makes a tag of a name.
fn makes_tag(command: &Command, name: &str) -> bool {
    let words = command.inner();
    words.len() > 2 && words[0] == "git" && words[1] == "tag" && words[2..].iter().any(|word| word == name)
}

/// Tells whether a step, or a script that it runs, pushes a tag.
fn tags(facts: &StepFacts) -> bool {
    facts.does(Kind::Tag) || facts.commands.iter().any(|command| pushes_tag(facts, command))
}

/// Finds the step that pushes a tag, and what does so: its own commands, or a script of the repository that it runs.
pub(super) fn tagger<'a>(
    repository: &Repository,
    flow: &'a Flow,
    at: usize,
) -> Option<(usize, Cow<'a, StepFacts>, String)> {
    let own = |(index, (_, facts)): (usize, (&'a Step, &'a StepFacts))| {
        tags(facts).then(|| (index, Cow::Borrowed(facts), String::new()))
    };
    let called = |(index, (step, facts)): (usize, (&'a Step, &'a StepFacts))| {
        let scripts = own_scripts::of_step(&repository.files, &flow.model.jobs[at], step, facts);
        let script = scripts.into_iter().find(|script| tags(&script.facts))?;
        Some((index, Cow::Owned((*script.facts).clone()), script.text.to_string()))
    };
    flow.steps(at).enumerate().find_map(own).or_else(|| flow.steps(at).enumerate().find_map(called))
}

/// Returns the workflows that only a tag starts, and that give something to others.
pub(super) fn waiting(github: &Github) -> Vec<&Flow> {
    let waits = |other: &&Flow| {
        let push = other.model.event("push").filter(|push| push.filter("tags").is_some());
        let only = push.is_some_and(|push| push.filter("branches").is_none());
        // What is started in another way too is not missed.
        let otherwise =
            ["workflow_run", "workflow_call", "repository_dispatch", "release", "schedule", "create"];
        let outward = || other.jobs().any(|(at, _)| carry::changes(other, at) || other.lets_out(at));
        only && !otherwise.iter().any(|event| other.starts(event)) && outward()
    };
    github.flows.iter().filter(waits).collect()
}

/// Tells of a job that pushes a tag which starts none of those that wait for it.
pub(super) fn check(
    repository: &Repository,
    waiting: &[&Flow],
    flow: &Flow,
    at: usize,
    report: &mut Report<'_>,
) {
    let job = &flow.model.jobs[at];
    let mut waiting = waiting.iter().copied().filter(|other| !std::ptr::eq(*other, flow)).peekable();
    if waiting.peek().is_none() {
        return;
    }
    // What releases by itself after the tag, or starts others by name, needs no other workflow.
    let text = &*flow.text;
    let known =
        ["workflow run", "workflow-dispatch", "createWorkflowDispatch", "/dispatches", "repository-dispatch"];
    let delivers = |kind: Kind| {
        matches!(kind, Kind::Release | Kind::Publish | Kind::Deploy | Kind::Pages | Kind::Dispatch)
    };
    let goes_on = flow.jobs().any(|(other, job)| {
        job.uses.is_some()
            || flow.facts[other].iter().any(|facts| facts.works.iter().any(|done| delivers(done.work.kind)))
    });
    if goes_on {
        return;
    }
    let Some((index, facts, script)) = tagger(repository, flow, at) else { return };
    if known.iter().any(|word| text.contains(word)) {
        return;
    }
    let Some(tag) = pushed(flow, (at, index), &facts, &script) else { return };
    let fits = |other: &&Flow| {
        let filter = other.model.event("push").and_then(|push| push.filter("tags"));
        filter.is_some_and(|filter| {
            filter.items.iter().any(|item| globs::overlap(&globs::widen(&item.text), &tag))
        })
    };
    let waiting: Vec<&Flow> = waiting.filter(fits).collect();
    if waiting.is_empty() {
        return;
    }
    let named = names(waiting.iter().map(|other| other.name()));
    let step = &job.steps[index];
    let mut draft = report
        .add(
            flow.file,
            step.name_span(),
            format!("a tag pushed with the default token starts no workflow, so {named} never runs for it"),
        )
        .severity(Severity::High)
        .hint(format!("push it with the token of an app, or start {named} by `workflow_call`"));
    for other in waiting {
        let span = other.model.event("push").map_or(other.job_span(0), |event| event.name.span);
        draft = draft.also(other.file, span, "not started by it");
    }
    match comments::explains(flow, step.span, 6, REASONS) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}
