//! Every pull request delivers what it holds, before anybody has merged it.

use kapell_spec::github::{Job, Step};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{
    Flow, comments,
    conditions::Run,
    facts::Done,
    tools::{self, Kind},
    world::World,
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/delivers-from-pull-request.md`.
pub(super) static RULE: Rule = Rule {
    name: "delivers-from-pull-request",
    summary: "Every pull request delivers what it holds, before anybody has merged it",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Conflicts,
    severity: Severity::High,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/delivers-from-pull-request.md"),
    check,
};

/// Words in a job that say that what it delivers belongs to the pull request.
const OWN: &[&str] = &[
    "preview",
    "review",
    "event.number",
    "event.pull_request",
    "head_ref",
    "head.ref",
    "pr-",
    "pr_",
    "ephemeral",
    "localhost",
    "kind-action",
    "kind create",
    "minikube",
    "k3d",
    "k3s",
    "127.0.0.1",
    "localstack",
    "merged",
    "--dry-run",
    "snapshot",
    "canary",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        closed(flow, report);
        let Some(event) = flow.model.event("pull_request").filter(|event| {
            event.filter("types").is_none_or(|types| {
                types.items.iter().any(|item| matches!(&*item.text, "opened" | "synchronize"))
            })
        }) else {
            continue;
        };
        let found: Vec<_> =
            flow.jobs().filter_map(|(at, job)| Some((job, delivers(flow, at, job)?))).collect();
        let [(job, (step, done)), rest @ ..] = &found[..] else { continue };
        let what: String = done.text.lines().next().unwrap_or_default().chars().take(50).collect();
        let verb = done.work.kind.verb();
        let mut draft = report
            .add(
                flow.file,
                step.name_span(),
                format!("`{}` {verb} with `{what}` for every pull request, merged or not", job.id.text),
            )
            .also(flow.file, event.name.span, "starts it")
            .hint(
                "add `if: github.event_name != 'pull_request'`, or give the delivery a workflow of its own",
            );
        for (job, (step, _)) in rest {
            draft = draft.also(flow.file, step.name_span(), format!("so does `{}`", job.id.text));
        }
        match comments::explains(
            flow,
            step.span,
            3,
            &[
                "each pull request",
                "every pull request",
                "per pull request",
                "from pull requests",
                "each pr",
                "every pr",
                "per pr",
                "from prs",
                "preview",
                "on purpose",
            ],
        ) {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
    }
}

/// A pull request is closed when it is merged, and when it is thrown away: what deploys to production asks which.
///
/// Source: GitHub, "Events that trigger workflows", section "Running your pull_request workflow when a pull request merges".
fn closed(flow: &Flow, report: &mut Report<'_>) {
    /// Words of what takes away what a pull request had of its own.
    const AWAY: &[&str] =
        &["preview", "delete", "destroy", "teardown", "tear down", "clean", "uninstall", "remove", "stop"];
    let events = ["pull_request", "pull_request_target"].iter().find_map(|name| flow.model.event(name));
    let types = events.and_then(|event| event.filter("types"));
    let only = types.is_some_and(|types| types.items.iter().all(|item| &*item.text == "closed"));
    let lower = flow.text.to_ascii_lowercase();
    if !only || lower.contains("merged") || AWAY.iter().any(|word| lower.contains(word)) {
        return;
    }
    let live = |job: &Job| {
        let name = job.environment.as_ref().and_then(|environment| environment.name.as_ref());
        name.is_some_and(|name| ["production", "prod", "live"].contains(&&*name.text.to_ascii_lowercase()))
    };
    let found = flow.jobs().filter(|(_, job)| live(job)).find_map(|(at, job)| {
        let (step, _) =
            flow.steps(at).find(|(_, facts)| facts.works.iter().any(|done| done.work.kind.delivers()))?;
        Some((job, step))
    });
    let Some((job, step)) = found else { return };
    report
        .add(
            flow.file,
            step.name_span(),
            format!("`{}` goes to production when a pull request is closed, merged or not", job.id.text),
        )
        .hint("add `if: github.event.pull_request.merged`, or start it by the push to the branch")
        .done();
}

/// Tells whether a job is for something to try, by its name.
fn is_trial(job: &Job) -> bool {
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let trial = [
        "preview",
        "test",
        "tests",
        "e2e",
        "integration",
        "review",
        "sandbox",
        "ephemeral",
        "smoke",
        "check",
    ];
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| trial.contains(&part))
}

/// Tells whether a whole workflow is for what each pull request has of its own, by its name or that of its file.
fn is_preview(flow: &Flow) -> bool {
    let file = flow.path.rsplit('/').next().unwrap_or(&flow.path);
    let name = format!("{file} {}", flow.name()).to_ascii_lowercase();
    let own = ["preview", "previews", "ephemeral", "sandbox"];
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| own.contains(&part))
}

/// Tells whether the text of a job, in lower case, names a variable of the workflow that each pull request has of its own.
fn own_variable(flow: &Flow, text: &str) -> bool {
    flow.model.env.iter().any(|(name, value)| {
        let value = value.text.to_ascii_lowercase();
        OWN.iter().any(|word| value.contains(word)) && text.contains(&name.text.to_ascii_lowercase())
    })
}

/// Finds what a job delivers in every pull request to a place that all share.
fn delivers<'a>(flow: &'a Flow, at: usize, job: &Job) -> Option<(&'a Step, &'a Done)> {
    let worlds: Vec<usize> = (0..flow.worlds.len())
        .filter(|&world| is_pull_request(&flow.worlds[world]) && flow.runs[world][at] == Run::Always)
        .collect();
    let text = flow.text.get(job.span.range()).unwrap_or_default().to_ascii_lowercase();
    if worlds.is_empty()
        || job.environment.is_some()
        || is_trial(job)
        || is_preview(flow)
        || OWN.iter().any(|word| text.contains(word))
        || own_variable(flow, &text)
    {
        return None;
    }
    let always = |step: &Step| {
        step.condition.as_ref().is_none_or(|condition| {
            worlds.iter().any(|&world| flow.scope(world, at, true).holds(condition) == Some(true))
        })
    };
    // A variable in a script may be what tells the two apart.
    let asks = |step: &Step| {
        ["event_name", "EVENT_NAME", "GITHUB_REF", "github.ref"]
            .iter()
            .any(|word| step.script().contains(word))
    };
    flow.steps(at).find_map(|(step, facts)| {
        let done = facts.works.iter().find(|done| shared(done) || moves_image(step, done))?;
        let command = done.command.and_then(|command| facts.commands.get(command));
        let free = command.is_none_or(|command| command.depth == 0 && !command.asked);
        (always(step) && free && !asks(step)).then_some((step, done))
    })
}

fn is_pull_request(world: &World) -> bool {
    world.event.as_deref() == Some("pull_request")
}

/// Tells whether something is delivered by a command that can mean nothing else, to where the next one replaces it.
fn shared(done: &Done) -> bool {
    let deploys = || tools::rollout(&done.text).is_some_and(|row| !row.tries);
    let pushes_chart = done.text.starts_with("helm push") && done.text.contains("oci://");
    let publishes = [
        "npm publish",
        "cargo publish",
        "twine upload",
        "poetry publish",
        "uv publish",
        "gem push",
        "dotnet nuget push",
        "mvn deploy",
    ];
    let starts = |list: &[&str]| list.iter().any(|start| done.text.starts_with(start));
    let image = done.text.starts_with("docker push") && moves(&done.text);
    done.command.is_some()
        && (done.work.kind == Kind::Deploy && deploys()
            || done.work.kind == Kind::Publish && (image || pushes_chart || starts(&publishes)))
}

/// Tells whether an action pushes an image, in any case, under a tag that the next run moves.
fn moves_image(step: &Step, done: &Done) -> bool {
    let tags = step.input("tags").and_then(|tags| tags.literal());
    done.work.kind == Kind::Publish
        && step.is("docker/build-push-action")
        && step.input("push").is_some_and(|push| push.is("true"))
        && tags.is_some_and(|tags| moves(&tags.replace(',', " ")))
}

/// Tells whether a command names a tag that the next run moves.
pub(super) fn moves(text: &str) -> bool {
    let image = |word: &&str| word.contains('/') || word.contains(':');
    text.split_whitespace().filter(image).any(|word| {
        let tag = word
            .rsplit('/')
            .next()
            .and_then(|name| name.split_once(':'))
            .map(|(_, tag)| tag.trim_matches(['"', '\'']));
        tag.is_some_and(|tag| {
            ["latest", "main", "master", "dev", "develop", "edge", "stable", "staging", "production", "prod"]
                .contains(&tag)
        })
    })
}
