//! Workflows start each other in a circle.

use std::{collections::HashMap, sync::LazyLock};

use kapell_spec::{
    finding::Span,
    github::{Condition, Event, Job, Step, Uses},
    words::Words,
};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{
    Flow, Github, StepFacts,
    script::{self, Command, Then},
    tools::Kind,
};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/workflow-cycle.md`.
pub(super) static RULE: Rule = Rule {
    name: "workflow-cycle",
    summary: "Workflows start each other in a circle",
    group: Group::Dead,
    anti_pattern: Some(AntiPattern::Circular),
    focus: Focus::Conflicts,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/workflow-cycle.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    by_completion(&repository.github, report);
    for flow in &repository.github.flows {
        by_push(flow, report);
    }
}

/// Workflows that start when another ends.
fn by_completion(github: &Github, report: &mut Report<'_>) {
    let flows = &github.flows;
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, flow) in flows.iter().enumerate() {
        by_name.entry(flow.run_name()).or_default().push(at);
        by_name.entry(file(flow)).or_default().push(at);
    }
    let named = |name: &str| by_name.get(name).into_iter().flatten().copied();
    // What starts each.
    let mut starts: Vec<Vec<usize>> = vec![Vec::new(); flows.len()];
    for (at, flow) in flows.iter().enumerate() {
        let filter = flow.model.event("workflow_run").and_then(|event| event.filter("workflows"));
        let names = filter.map(|filter| &filter.items[..]).unwrap_or_default();
        let awaited = names
            .iter()
            .flat_map(|name| named(&name.text).filter(|&other| &*name.text == flows[other].run_name()));
        starts[at].extend(awaited);
        let steps = if starts_others(flow) { always(flow) } else { Vec::new() };
        let words: Vec<&str> =
            dispatched(&steps).chain(dispatched_by_action(&steps)).chain(dispatched_by_api(&steps)).collect();
        for other in words.into_iter().flat_map(named).filter(|&other| other != at) {
            // One whose jobs ask for something else is skipped when it is started so.
            let runs = flows[other].jobs().any(|(_, job)| each_round(&flows[other], job.condition.as_ref()));
            if flows[other].starts("workflow_dispatch") && runs {
                starts[other].push(at);
            }
        }
        for sent in sent(&steps) {
            let heard = (0..flows.len()).filter(|&other| hears(&flows[other], sent));
            heard.for_each(|other| starts[other].push(at));
        }
    }
    for starts in &mut starts {
        starts.sort_unstable();
        starts.dedup();
    }
    for at in 0..flows.len() {
        // The first of a circle tells of it.
        let Some(path) = circle(&starts, at) else { continue };
        if path.iter().any(|&other| other < at) {
            continue;
        }
        let span = started(&flows[at]);
        let names: Vec<String> = path.iter().map(|&flow| format!("`{}`", flows[flow].name())).collect();
        let message = match &names[..] {
            [one] => format!("{one} starts itself without end"),
            _ => format!("{} start each other without end", names.join(" and ")),
        };
        let mut draft = report
            .add(flows[at].file, span, message)
            .hint("let one of them start by itself only; GitHub breaks such a chain after three runs");
        for &other in &path[1..] {
            draft = draft.also(flows[other].file, started(&flows[other]), "on the same circle");
        }
        draft.done();
    }
}

/// Returns where it is said what starts a workflow.
fn started(flow: &Flow) -> Span {
    let events = ["workflow_run", "repository_dispatch", "workflow_dispatch"];
    let event = events.iter().find_map(|name| flow.model.event(name));
    event.map_or(flow.job_span(0), |event| event.name.span)
}

/// Returns the name of a workflow's file.
fn file(flow: &Flow) -> &str {
    flow.path.rsplit('/').next().unwrap_or(&flow.path)
}

/// Tells whether a workflow says any of the words by which others are started: most do not.
fn starts_others(flow: &Flow) -> bool {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(&["gh workflow", "dispatch"]));
    WORDS.is_in(&flow.text)
}

/// A step with what it does.
type Doing<'a> = (&'a Step, &'a StepFacts);

/// Returns the words by which a workflow starts others whatever happens. One that asks first may end some time.
fn dispatched<'a>(steps: &[Doing<'a>]) -> impl Iterator<Item = &'a str> {
    let starts = |command: &&Command| {
        command.depth == 0
            && command.after == Then::End
            && command.words.iter().map(String::as_str).take(3).eq(["gh", "workflow", "run"])
    };
    let commands = steps.iter().flat_map(move |(_, facts)| facts.commands.iter().filter(starts));
    commands.filter(|command| is_here(command)).flat_map(|command| command.words.iter().map(String::as_str))
}

/// Tells whether `gh` is told of no other repository.
fn is_here(command: &Command) -> bool {
    let mut words = command.words.iter();
    let other = words.find_map(|word| match word.as_str() {
        "-R" | "--repo" => Some(String::new()),
        word => word.strip_prefix("--repo=").map(str::to_owned),
    });
    match other {
        None => true,
        Some(name) if name.is_empty() => words.next().is_some_and(|name| is_own(name)),
        Some(name) => is_own(&name),
    }
}

/// Tells whether what has a condition happens in each round of a circle in which all goes well: it asks for success, or for
/// what is the same each time.
fn each_round(flow: &Flow, condition: Option<&Condition>) -> bool {
    const SAME: &[&str] = &[
        "success()",
        "always()",
        "!cancelled()",
        "github.event.workflow_run.conclusion=='success'",
        "github.event.workflow_run.conclusion!='failure'",
        "github.event.workflow_run.conclusion!='cancelled'",
        "github.event.workflow_run.conclusion!='skipped'",
        "github.event.workflow_run.head_branch==github.event.repository.default_branch",
        "github.event.workflow_run.head_branch=='main'",
        "github.event.workflow_run.head_branch=='master'",
    ];
    let Some(condition) = condition else { return true };
    let text: String = condition.text.split_whitespace().collect();
    let text = text.trim_start_matches("${{").trim_end_matches("}}").replace('"', "'");
    // Whatever else starts it may not be what this asks for.
    let only_run = ["workflow_dispatch", "repository_dispatch"].iter().all(|event| !flow.starts(event));
    text.split("&&").all(|part| {
        SAME.contains(&part)
            || only_run && part == "github.event_name=='workflow_run'"
            || part.starts_with("github.repository==") && !part.contains("||")
    })
}

/// Returns the workflows of this repository that a script starts by the API: `.../workflows/mirror.yml/dispatches`.
fn dispatched_by_api<'a>(steps: &[Doing<'a>]) -> impl Iterator<Item = &'a str> {
    steps.iter().filter_map(|(step, facts)| {
        let script = step.input("script").filter(|_| step.is("actions/github-script"));
        if let Some(script) = script {
            let named = script.text.split("createWorkflowDispatch").nth(1)?.split("workflow_id:").nth(1)?;
            return quoted(named).filter(|_| script.text.contains("context.repo"));
        }
        let found = facts.commands.iter().find_map(|command| {
            let calls = matches!(command.program(), "gh" | "curl") && command.depth == 0;
            command.words.iter().find(|word| calls && word.contains("/dispatches"))
        })?;
        let (before, rest) = found.split_once("/workflows/")?;
        let own =
            is_own(before) || ["{owner}/{repo}", ":owner/:repo"].iter().any(|name| before.contains(name));
        rest.split_once("/dispatches").map(|(name, _)| name).filter(|_| own)
    })
}

/// Returns what stands between the first quotes of a text.
fn quoted(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"' | '`'))?;
    text[1..].split(quote).next()
}

/// Actions that start a workflow by name, and the input that names it.
pub(super) const STARTERS: &[(&str, &str)] = &[
    ("benc-uk/workflow-dispatch", "workflow"),
    ("convictional/trigger-workflow-and-wait", "workflow_file_name"),
    ("the-actions-org/workflow-dispatch", "workflow"),
    ("aurelien-baudet/workflow-dispatch", "workflow"),
    ("codex-/return-dispatch", "workflow"),
    ("lasith-kg/dispatch-workflow", "workflow"),
];

/// Returns the steps that run whatever happens.
fn always(flow: &Flow) -> Vec<Doing<'_>> {
    let jobs = flow.jobs().filter(|(_, job)| each_round(flow, job.condition.as_ref()));
    let steps = jobs.flat_map(|(at, _)| flow.steps(at));
    steps.filter(|(step, _)| each_round(flow, step.condition.as_ref())).collect()
}

/// Returns the workflows of this repository that a workflow starts by actions.
fn dispatched_by_action<'a>(steps: &[Doing<'a>]) -> impl Iterator<Item = &'a str> {
    steps.iter().filter_map(|(step, _)| {
        let (_, input) = STARTERS.iter().find(|(name, _)| step.is(name))?;
        let elsewhere = ["repo", "repository", "owner"].iter().any(|input| step.input(input).is_some());
        step.input(input).filter(|_| !elsewhere)?.literal().map(str::trim)
    })
}

/// Returns the events of its own repository that a workflow sends whatever happens.
fn sent<'a>(steps: &[Doing<'a>]) -> impl Iterator<Item = &'a str> {
    steps.iter().filter(|(step, _)| step.is("peter-evans/repository-dispatch")).filter_map(|(step, _)| {
        let own = step.input("repository").is_none_or(|text| text.text.contains("github.repository"));
        step.input("event-type").filter(|_| own)?.literal().map(str::trim)
    })
}

/// Tells whether an event that is sent starts a workflow.
fn hears(flow: &Flow, sent: &str) -> bool {
    flow.model.event("repository_dispatch").is_some_and(|event| {
        event.filter("types").is_none_or(|types| types.items.iter().any(|item| *item.text == *sent))
    })
}

/// Returns a way from `start` back to it.
fn circle(edges: &[Vec<usize>], start: usize) -> Option<Vec<usize>> {
    if edges[start].is_empty() {
        return None;
    }
    let mut stack = vec![vec![start]];
    let mut seen = vec![false; edges.len()];
    while let Some(path) = stack.pop() {
        let last = *path.last()?;
        for &next in &edges[last] {
            if next == start {
                return Some(path);
            }
            if !std::mem::replace(&mut seen[next], true) {
                stack.push(path.iter().copied().chain([next]).collect());
            }
        }
    }
    None
}

/// A workflow that pushes to the branch whose pushes start it, with a token that starts workflows.
fn by_push(flow: &Flow, report: &mut Report<'_>) {
    let Some(push) = flow.model.event("push") else { return };
    // Filters of paths may leave out what it writes.
    if push.filters.iter().any(|filter| filter.key.text.starts_with("paths")) {
        return;
    }
    if push.filters.iter().any(|filter| filter.key.text.starts_with("tags")) {
        // With both a tag may be what the branch is there to make.
        if push.filter("branches").is_none() {
            by_tag(flow, push, report);
        }
        return;
    }
    for (at, job) in flow.jobs().filter(|(_, job)| job.condition.is_none()) {
        let runs = flow.may_run(at, |world| {
            world.event.as_deref() == Some("push") && world.reference_type == Some("branch")
        });
        let mut steps = job.steps.iter().filter(|_| runs);
        let own_token = steps
            .find(|step| step.is("actions/checkout") && starts_workflows(job, step) || names_token(step));
        let Some(checkout) = own_token else { continue };
        let pushes = flow
            .steps(at)
            // `git push --follow-tags` pushes both.
            .find(|(step, facts)| {
                (facts.does(Kind::Push) || step.run.is_some() && facts.does(Kind::Tag))
                    && step.condition.is_none()
                    && plain_push(push, step)
            });
        let Some((step, _)) = pushes else { continue };
        // What stops it: nothing to commit, a word in the message.
        let text = flow.text.get(job.span.range()).unwrap_or_default().to_ascii_lowercase();
        if [
            "skip ci",
            "ci skip",
            "no ci",
            "skip actions",
            "git diff",
            "--quiet",
            "status --porcelain",
            "checkout -b",
            "switch -c",
        ]
        .iter()
        .any(|word| text.contains(word))
        {
            continue;
        }
        report
            .add(
                flow.file,
                step.span,
                format!(
                    "`{}` pushes to a branch whose pushes start it, with a token that starts workflows",
                    job.id.text
                ),
            )
            .confidence(Confidence::Medium)
            .also(flow.file, checkout.span, "this token's pushes start workflows")
            .hint("add `[skip ci]` to the message, filter the paths, or push with the default token")
            .done();
    }
}

/// A workflow that any tag starts pushes one, with a token that starts workflows.
fn by_tag(flow: &Flow, push: &Event, report: &mut Report<'_>) {
    let any =
        push.filter("tags").is_some_and(|tags| tags.items.iter().any(|tag| matches!(&*tag.text, "*" | "**")));
    for (at, job) in flow.jobs().filter(|(_, job)| any && job.condition.is_none()) {
        let token = job
            .steps
            .iter()
            .find(|step| step.is("actions/checkout") && starts_workflows(job, step) || names_token(step));
        let pushes = flow
            .steps(at)
            .find(|(step, facts)| step.run.is_some() && step.condition.is_none() && facts.does(Kind::Tag));
        let (Some(token), Some((step, facts))) = (token, pushes) else { continue };
        // One that is there already is not pushed again, and one that is asked for may be.
        let plain = facts.commands.iter().all(|command| command.depth == 0 && !command.asked);
        if !plain || flow.text.get(job.span.range()).is_some_and(|text| text.contains("ls-remote")) {
            continue;
        }
        report
            .add(
                flow.file,
                step.span,
                format!(
                    "`{}` pushes a tag, which any tag starts, with a token that starts workflows",
                    job.id.text
                ),
            )
            .confidence(Confidence::Medium)
            .also(flow.file, token.span, "this token's pushes start workflows")
            .hint("start on tags of one form only, or push with the default token")
            .done();
    }
}

/// Tells whether a script names a token of its own for the repository: `https://x:${{ secrets.PAT }}@github.com/...`.
fn names_token(step: &Step) -> bool {
    step.script().contains("@github.com/")
        && script::commands(step.script()).iter().any(|command| {
            command.program() == "git"
                && command.words.iter().any(|word| {
                    word.starts_with("https://")
                        && word.contains("@github.com/")
                        && word.contains("secrets.")
                        && !word.contains("secrets.GITHUB_TOKEN")
                        && is_own(word)
                })
        })
}

/// Tells whether a remote is the repository itself.
fn is_own(remote: &str) -> bool {
    ["github.repository", "GITHUB_REPOSITORY"].iter().any(|name| remote.contains(name))
}

/// Tells whether a checkout leaves a token behind whose pushes start workflows.
fn starts_workflows(job: &Job, step: &Step) -> bool {
    // The token of an app that a step before has asked for.
    let of_app = |text: &str| {
        job.steps.iter().any(|step| {
            let app = step.action().and_then(Uses::action).is_some_and(|name| name.contains("app-token"));
            app && step
                .id
                .as_ref()
                .is_some_and(|id| text.contains(&format!("steps.{}.outputs.token", id.text)))
        })
    };
    // What is pushed to another repository starts nothing here.
    if step.input("repository").is_some_and(|name| !is_own(&name.text)) {
        return false;
    }
    step.input("ssh-key").is_some()
        || step.input("token").is_some_and(|token| of_app(&token.text))
        || step
            .input("token")
            .is_some_and(|token| token.text.contains("secrets.") && !token.text.contains("GITHUB_TOKEN"))
}

/// Tells whether a step pushes the branch that was checked out, or one that a push has to be to for this to start.
fn plain_push(push: &Event, step: &Step) -> bool {
    let branches = push.filter("branches").map(|filter| &filter.items[..]).unwrap_or_default();
    let starts = |word: &str| {
        let branch = word.strip_prefix("HEAD:").unwrap_or(word);
        let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        // The branch that started it is one of those.
        let own = ["${{ github.ref }}", "${{ github.ref_name }}", "$GITHUB_REF_NAME", "${GITHUB_REF_NAME}"];
        own.contains(&branch) || branches.iter().any(|item| *item.text == *branch)
    };
    step.run.is_none()
        || script::commands(step.script()).iter().any(|command| {
            command.program() == "git"
                && command.words.get(1).is_some_and(|word| word == "push")
                && command.words[2..].iter().all(|word| {
                    matches!(
                        word.trim_matches(['"', '\'']),
                        "origin" | "HEAD" | "--follow-tags" | "-q" | "--quiet"
                    ) || starts(word)
                        || word.starts_with("https://") && is_own(word)
                })
        })
}
