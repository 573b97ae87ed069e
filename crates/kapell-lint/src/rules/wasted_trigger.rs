//! A trigger starts nothing, or starts what nobody asked for.

mod other_tags; // tags of another form

mod paths; // paths that no file has

mod tags; // tags that start nothing

use kapell_core::expr::{Comparison, Literal, Node, NodeKind};
use kapell_spec::github::{Event, Job, Step};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{
    Flow, Github, carry, comments, conditions::Run, globs, script::commands, tokens, tools::Kind,
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule, names},
};

/// See `docs/rules/wasted-trigger.md`.
pub(super) static RULE: Rule = Rule {
    name: "wasted-trigger",
    summary: "A trigger starts nothing, or starts what nobody asked for",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/wasted-trigger.md"),
    check,
};

/// Words of comments that say that no workflow is meant to start.
const REASONS: &[&str] = &[
    "not trigger",
    "n't trigger",
    "no trigger",
    "not start",
    "n't start",
    "no workflow",
    "retrigger",
    "re-trigger",
    "default token",
    "github_token",
    "on purpose",
    "intentional",
    "endless",
    "loop",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    other_tags::check(repository, report);
    let waiting = tags::waiting(&repository.github);
    for flow in repository.asked_flows() {
        dead_events(flow, report);
        dead_types(flow, report);
        any_label(flow, report);
        never_called(&repository.github, flow, report);
        no_such_filter(flow, report);
        paths::check(repository, flow, report);
        for (at, _) in flow.jobs() {
            silent_pull_request(&repository.github, flow, at, report);
            silent_push(&repository.github, flow, at, report);
            silent_release(&repository.github, flow, at, report);
            silent_update(&repository.github, flow, at, report);
            tags::check(repository, &waiting, flow, at, report);
        }
    }
}

/// A workflow that only others start, which its name keeps for this repository, and none of it does.
fn never_called(github: &Github, flow: &Flow, report: &mut Report<'_>) {
    let [event] = &flow.model.events[..] else { return };
    let name = flow.path.rsplit('/').next().unwrap_or_default();
    // Others may call what is not kept for here; by custom that begins with `_`.
    if &*event.name.text != "workflow_call" || !name.starts_with('_') || !github.callers(flow).is_empty() {
        return;
    }
    report
        .add(
            flow.file,
            event.name.span,
            format!("no workflow here calls `{name}`, and nothing else starts it"),
        )
        .severity(Severity::Low)
        .hint("call it, or drop it")
        .done();
}

/// Filters of branches, tags or paths on events that take none: each such event starts the workflow.
///
/// Source: GitHub, "Events that trigger workflows" and "Workflow syntax", `on.<event>`.
fn no_such_filter(flow: &Flow, report: &mut Report<'_>) {
    const PLAIN: &[&str] = &["create", "delete", "release", "repository_dispatch", "issues", "issue_comment"];
    const FILTERS: &[&str] = &["branches", "branches-ignore", "tags", "tags-ignore", "paths", "paths-ignore"];
    for event in flow.model.events.iter().filter(|event| PLAIN.contains(&&*event.name.text)) {
        let Some(filter) = event.filters.iter().find(|filter| FILTERS.contains(&&*filter.key.text)) else {
            continue;
        };
        let (name, key) = (&event.name.text, &filter.key.text);
        report
            .add(
                flow.file,
                filter.key.span,
                format!("`{name}` takes no `{key}`: every event of the kind starts the workflow"),
            )
            .hint(match &**name {
                "create" => format!("start on `push` with `{key}`"),
                _ => format!("drop `{key}`, and ask in the `if` of the jobs"),
            })
            .done();
    }
}

/// Events on which no job runs.
fn dead_events(flow: &Flow, report: &mut Report<'_>) {
    if flow.model.jobs.is_empty() || flow.model.events.len() < 2 {
        return;
    }
    for event in &flow.model.events {
        let name = event.name.text.to_ascii_lowercase();
        let mut worlds = flow
            .worlds
            .iter()
            .zip(flow.runs.iter())
            .filter(|(world, _)| world.event.as_deref() == Some(name.as_str()))
            .peekable();
        if worlds.peek().is_none() {
            continue;
        }
        let worlds: Vec<&[Run]> = worlds.map(|(_, runs)| &**runs).collect();
        let run = |at: &usize| worlds.iter().any(|runs| runs[*at] != Run::Never);
        let running: Vec<usize> = (0..flow.model.jobs.len()).filter(run).collect();
        if !running.is_empty() {
            only_prepares(flow, event, &running, report);
            continue;
        }
        // All off at once, as with `if: false`, is told of the conditions.
        if flow.runs.iter().all(|runs| runs.iter().all(|run| *run == Run::Never)) {
            continue;
        }
        // What would go out by its own condition does not.
        let missed = flow.jobs().any(|(at, job)| {
            let fits = |world: usize| {
                flow.worlds[world].event.as_deref() == Some(name.as_str())
                    && job
                        .condition
                        .as_ref()
                        .is_some_and(|own| flow.scope(world, at, false).holds(own) == Some(true))
            };
            carry::delivers(flow, at) && (0..flow.worlds.len()).any(fits)
        });
        // A clock, and a queue of what is to be merged, have no other use than that something is checked or goes out.
        let missed = missed || matches!(name.as_str(), "schedule" | "merge_group") && works(flow);
        report
            .add(
                flow.file,
                event.name.span,
                format!("the trigger `{}` starts runs in which no job can run", event.name.text),
            )
            .severity(if missed { Severity::High } else { Severity::Medium })
            .hint("drop the trigger, or let a job run on it")
            .done();
    }
}

/// A trigger on which nothing runs but what prepares for others, none of which run.
fn only_prepares(flow: &Flow, event: &Event, running: &[usize], report: &mut Report<'_>) {
    let idle = |at: &usize| {
        let job = &flow.model.jobs[*at];
        let mut waiting =
            (0..flow.model.jobs.len()).filter(|other| flow.closures[*other].contains(at)).peekable();
        let asked = !job.outputs.is_empty() && waiting.peek().is_some();
        let for_others = asked && !waiting.any(|other| running.contains(&other));
        let kinds = || flow.facts[*at].iter().flat_map(|facts| &facts.works).map(|done| done.work.kind);
        // A command may do anything that nobody waits for.
        let keeps =
            || job.steps.iter().all(|step| step.run.is_none()) && kinds().all(|kind| kind == Kind::Upload);
        let quiet = |kind: Kind| !kind.mutates() && !kind.checks() && kind != Kind::Report;
        job.uses.is_none() && !job.steps.is_empty() && (for_others && kinds().all(quiet) || keeps())
    };
    let checks =
        |at: usize| flow.facts[at].iter().any(|facts| facts.works.iter().any(|done| done.work.kind.checks()));
    let missed =
        flow.jobs().find(|(at, _)| !running.contains(at) && (checks(*at) || carry::delivers(flow, *at)));
    let Some((_, missed)) = missed.filter(|_| running.iter().all(idle)) else { return };
    let listed = names(running.iter().map(|at| &*flow.model.jobs[*at].id.text));
    report
        .add(
            flow.file,
            event.name.span,
            format!("the trigger `{}` starts runs in which nothing but {listed} can run, and what that is for is skipped", event.name.text),
        )
        .also(flow.file, missed.id.span, "skipped on it")
        .hint("drop the trigger, or let the jobs run on it")
        .done();
}

/// Tells whether some job of a workflow tests, looks for known holes, or delivers.
fn works(flow: &Flow) -> bool {
    let checks =
        |at: usize| flow.facts[at].iter().any(|facts| facts.does(Kind::Test) || facts.does(Kind::Audit));
    flow.jobs().any(|(at, _)| carry::delivers(flow, at) || checks(at))
}

/// Activity types of an event for which no job asks, while all ask for others: `types: [opened, edited]` and
/// `github.event.action == 'opened'`.
fn dead_types(flow: &Flow, report: &mut Report<'_>) {
    let [event] = &flow.model.events[..] else { return };
    let Some(types) = event.filter("types").filter(|types| types.items.len() > 1) else { return };
    let mut asked: Vec<String> = Vec::new();
    for (at, job) in flow.jobs() {
        if !flow.closures[at].is_empty() && job.condition.as_ref().is_none_or(|own| !own.asks_status()) {
            continue;
        }
        let Some(actions) = job.condition.as_ref().and_then(|own| actions(own.expr.as_ref()?.root())) else {
            return;
        };
        asked.extend(actions);
    }
    let dead = types.items.iter().find(|item| !asked.iter().any(|known| *known == *item.text));
    let Some(dead) = dead.filter(|_| !asked.is_empty()) else { return };
    report
        .add(
            flow.file,
            dead.span,
            format!("`{}` starts runs in which no job can run: all ask for another action", dead.text),
        )
        .severity(Severity::Low)
        .hint(format!("drop `{}` from `types`, or let a job run on it", dead.text))
        .done();
}

/// Returns the actions of the event one of which a condition needs; `None` if it may hold for any.
fn actions(node: &Node) -> Option<Vec<String>> {
    match &node.kind {
        NodeKind::And(operands) => operands.iter().find_map(actions),
        NodeKind::Or(operands) => {
            let all: Option<Vec<Vec<String>>> = operands.iter().map(actions).collect();
            all.map(|all| all.into_iter().flatten().collect())
        }
        NodeKind::Compare { comparison: Comparison::Equal, left, right } => {
            let is_action = |node: &Node| {
                node.references().first().is_some_and(|reference| {
                    reference.whole
                        && reference.path.iter().map(|(name, _)| *name).eq(["github", "event", "action"])
                })
            };
            let literal = match (is_action(left), is_action(right)) {
                (true, false) => right,
                (false, true) => left,
                _ => return None,
            };
            let NodeKind::Literal(Literal::String(text)) = &literal.kind else { return None };
            Some(vec![text.to_string()])
        }
        _ => None,
    }
}

/// A workflow started by any label, of which only some jobs ask for theirs.
fn any_label(flow: &Flow, report: &mut Report<'_>) {
    let Some(event) = flow.model.event("pull_request").or_else(|| flow.model.event("pull_request_target"))
    else {
        return;
    };
    let Some(types) =
        event.filter("types").filter(|types| types.items.iter().all(|item| &*item.text == "labeled"))
    else {
        return;
    };
    let asks = |job: &Job| job.condition.as_ref().is_some_and(|condition| condition.text.contains("label"));
    let fits = |at: usize| {
        flow.may_run(at, crate::github::world::World::is_pull_request) && flow.closures[at].is_empty()
    };
    let roots: Vec<(usize, &Job)> = flow.jobs().filter(|(at, _)| fits(*at)).collect();
    let (asking, others): (Vec<_>, Vec<_>) = roots.into_iter().partition(|(_, job)| asks(job));
    if asking.is_empty() || others.is_empty() {
        return;
    }
    let names: Vec<String> = others.iter().map(|(_, job)| format!("`{}`", job.id.text)).collect();
    let mut draft = report
        .add(
            flow.file,
            types.span,
            format!(
                "any label starts {}; only {} of {} jobs ask which label it is",
                names.join(", "),
                asking.len(),
                asking.len() + names.len()
            ),
        )
        .hint(format!("give them the condition of `{}`", asking[0].1.id.text));
    for (_, job) in &others {
        draft = draft.also(flow.file, job.id.span, "runs on any label");
    }
    draft.done();
}

/// Tells whether a value is the token that every run has.
fn is_default_token(text: &str) -> bool {
    text.contains("secrets.GITHUB_TOKEN") || text.contains("github.token")
}

/// Workflows that check pull requests when they are opened.
fn checks_pull_requests(github: &Github) -> Option<&Flow> {
    github.flows.iter().find(|flow| {
        let Some(event) = flow.model.event("pull_request") else { return false };
        let opened = event.filter("types").is_none_or(|types| {
            types.items.iter().any(|item| matches!(&*item.text, "opened" | "synchronize"))
        });
        let anything = event.filter("paths").is_none();
        let deep = |at: usize| github.deep(flow, at);
        opened
            && anything
            && flow.jobs().any(|(at, _)| {
                deep(at).iter().any(|(flow, job)| {
                    flow.facts[*job]
                        .iter()
                        .any(|facts| facts.works.iter().any(|done| done.work.kind.checks()))
                })
            })
    })
}

/// A pull request opened with the default token starts no checks.
fn silent_pull_request(github: &Github, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    for step in &job.steps {
        let (span, fixed) = if step.is("peter-evans/create-pull-request") {
            (
                step.uses.as_ref().map_or(step.span, |(text, _)| text.span),
                step.input("token").is_none_or(|token| is_default_token(&token.text)),
            )
        } else if step.script().contains("gh pr create") {
            (
                step.run.as_ref().map_or(step.span, |run| run.span),
                tokens::of_gh(flow, job, step).is_some_and(|token| is_default_token(&token.text)),
            )
        } else {
            continue;
        };
        let Some(checked) = checks_pull_requests(github).filter(|_| fixed) else { continue };
        // A later close and reopen, or a dispatch, starts them all the same.
        let text = flow.text.get(job.span.range()).unwrap_or_default();
        if text.contains("gh workflow run")
            || text.contains("workflow-dispatch")
            || text.contains("gh pr reopen")
        {
            continue;
        }
        let draft = report
            .add(flow.file, span, format!("a pull request opened with the default token starts no workflow, so `{}` never checks it", checked.name()))
            .also(checked.file, checked.model.event("pull_request").map_or(checked.job_span(0), |event| event.name.span), "not started by it")
            .hint("open it with the token of an app, or start the checks by `workflow_dispatch`");
        match comments::explains(flow, step.span, 6, REASONS) {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
        return;
    }
}

/// A commit that is pushed to the branch of a pull request with the default token is checked by nobody.
fn silent_update(github: &Github, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    if !flow.starts("pull_request") {
        return;
    }
    let onto_branch = job.steps.iter().find(|step| {
        let head = |text: &str| text.contains("head_ref") || text.contains("head.ref");
        step.is("actions/checkout") && step.input("ref").is_some_and(|of| head(&of.text))
    });
    let default = onto_branch.is_some_and(|step| {
        step.input("ssh-key").is_none()
            && step.input("token").is_none_or(|token| is_default_token(&token.text))
    });
    let pushes = flow.steps(at).find(|(step, facts)| {
        facts.does(Kind::Push) && step.input("token").or_else(|| step.input("github_token")).is_none()
    });
    let (true, Some((step, _))) = (default, pushes) else { return };
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    let known = ["x-access-token", "remote set-url", "workflow run", "workflow-dispatch", "app-token"];
    let Some(checked) =
        checks_pull_requests(github).filter(|_| !known.iter().any(|word| text.contains(word)))
    else {
        return;
    };
    let draft = report
        .add(
            flow.file,
            step.name_span(),
            format!(
                "a commit pushed to a pull request with the default token starts no workflow, so `{}` does not check it",
                checked.name()
            ),
        )
        .also(checked.file, checked.model.event("pull_request").map_or(checked.job_span(0), |event| event.name.span), "not started by it")
        .hint("push with the token of an app, or start the checks by `workflow_dispatch`");
    match comments::explains(flow, step.span, 6, REASONS) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Tells whether a step is release-please, and makes releases: it can be told to open pull requests only.
fn is_release_please(step: &Step) -> bool {
    let keeps_to_requests = ["skip-github-release", "command"]
        .iter()
        .any(|input| step.input(input).is_some_and(|it| !it.is("false")));
    ["googleapis/release-please-action", "google-github-actions/release-please-action"]
        .iter()
        .any(|action| step.is(action))
        && !keeps_to_requests
}

/// A release made with the default token starts no workflow that waits for releases.
fn silent_release(github: &Github, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let mut releases = flow.steps(at).filter(|(_, facts)| facts.does(Kind::Release));
    let made = releases.find(|(step, _)| {
        let given = || step.input("token").map(|token| &*token.text);
        let of_gh = || tokens::of_gh(flow, job, step).map(|token| &*token.text);
        let token = if step.is("actions/create-release")
            || step.is("cycjimmy/semantic-release-action")
            || ["gh release create", "semantic-release"].iter().any(|maker| step.script().contains(maker))
        {
            of_gh()
        } else if is_release_please(step) {
            given().or(Some("github.token"))
        } else if step.is("softprops/action-gh-release") || step.is("ncipollo/release-action") {
            given().or_else(of_gh).or(Some("github.token"))
        } else {
            None
        };
        token.is_some_and(is_default_token)
    });
    let Some((step, _)) = made else { return };
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    // People publish a draft, and that starts them; so does whoever starts them by name.
    if ["draft: true", "--draft", "workflow run", "workflow-dispatch", "createWorkflowDispatch"]
        .iter()
        .any(|word| text.contains(word))
    {
        return;
    }
    let waits = github.flows.iter().filter_map(|other| {
        let event = other.model.event("release").filter(|_| other.path != flow.path)?;
        // People make a release of what was released before its time, and that starts them.
        let before = ["prerelease: true", "--prerelease"].iter().any(|word| text.contains(word));
        let comes = event.filter("types").is_none_or(|types| {
            types.items.iter().any(|item| match &*item.text {
                "published" | "created" | "prereleased" => true,
                "released" => !before,
                _ => false,
            })
        });
        // One that asks which release it is may not mean this one.
        let any = other.jobs().any(|(at, job)| other.closures[at].is_empty() && job.condition.is_none());
        // What is started in another way too is not missed.
        let otherwise =
            ["workflow_run", "workflow_call", "repository_dispatch"].iter().any(|event| other.starts(event))
                || other.model.event("push").is_some_and(|push| push.filter("tags").is_some());
        (comes && any && !otherwise).then_some((other, event))
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        return;
    }
    let named = names(waits.iter().map(|(other, _)| other.name()));
    let (do_not, hint) = match waits.len() {
        1 => ("does", format!("make it with the token of an app, or start {named} by `workflow_call`")),
        _ => (
            "do",
            format!("start those that are wanted by `workflow_call`; the token of an app starts {named}"),
        ),
    };
    let mut draft = report
        .add(
            flow.file,
            step.name_span(),
            format!(
                "a release made with the default token starts no workflow, so {named} {do_not} not run for it"
            ),
        )
        .severity(Severity::High)
        .hint(hint);
    for (other, event) in waits {
        draft = draft.also(other.file, event.name.span, "not started by it");
    }
    draft.done();
}

/// Commits pushed with the default token start no deployment of what they change.
fn silent_push(github: &Github, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let checkout = job.steps.iter().find(|step| step.is("actions/checkout"));
    let default = checkout.is_some_and(|step| {
        step.input("ssh-key").is_none()
            && step.input("token").is_none_or(|token| is_default_token(&token.text))
    });
    let pushing = flow.steps(at).find(|(_, facts)| facts.does(Kind::Push));
    let (true, Some((step, _))) = (default, pushing) else { return };
    // A remote with another token in it is no default.
    if step.script().contains("x-access-token") || step.script().contains("remote set-url") {
        return;
    }
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    let scripts: Vec<crate::github::script::Command> =
        job.steps.iter().flat_map(|step| commands(step.script())).collect();
    if text.contains("workflow run")
        || text.contains("workflow-dispatch")
        || scripts.iter().any(|command| command.words.iter().any(|word| word == "-b" || word == "-c"))
    {
        return;
    }
    let added: Vec<&String> = scripts
        .iter()
        .filter(|command| command.words.len() > 2 && command.words[0] == "git" && command.words[1] == "add")
        .flat_map(|command| &command.words[2..])
        .filter(|word| word.contains('/') && !word.starts_with('-') && !word.contains('$'))
        .collect();
    for other in github.flows.iter().filter(|other| other.path != flow.path) {
        let Some(push) = other.model.event("push") else { continue };
        let Some(paths) = push.filter("paths") else { continue };
        let hit = paths
            .items
            .iter()
            .find(|path| added.iter().any(|file| globs::overlap(&globs::widen(&path.text), file)));
        let outward = other.jobs().any(|(at, _)| crate::github::carry::changes(other, at));
        let waits = other.starts("workflow_run") || other.starts("schedule");
        let Some(path) = hit.filter(|_| outward && !waits) else { continue };
        report
            .add(
                flow.file,
                step.span,
                format!(
                    "what `{}` pushes with the default token starts no workflow, so `{}` does not run for it",
                    job.id.text,
                    other.name()
                ),
            )
            .severity(Severity::High)
            .also(other.file, path.span, "covers a file that is pushed")
            .hint(format!(
                "start `{}` by `workflow_run` or `gh workflow run`, or push with the token of an app",
                other.name()
            ))
            .done();
        return;
    }
}
