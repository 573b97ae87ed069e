//! Two runs can change the same thing outside at the same time.

mod cells; // cells of one matrix that push to the same branch

use crate::github::{
    Flow,
    conditions::Run,
    facts::{Done, is_migration},
    groups,
    tools::Kind,
};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_spec::github::{Concurrency, Job, Step};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/mutating-no-concurrency.md`.
pub(super) static RULE: Rule = Rule {
    name: "mutating-no-concurrency",
    summary: "Two runs can change the same thing outside at the same time",
    group: Group::Safety,
    anti_pattern: Some(AntiPattern::SharedState),
    focus: Focus::Conflicts,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/mutating-no-concurrency.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        cells::check(flow, report);
        // Several ways to start it, or one that comes often.
        let by_push = flow
            .model
            .event("push")
            .is_some_and(|push| push.filter("tags").is_none() || push.filter("branches").is_some());
        let pushed = by_push || merges(flow) || OFTEN.iter().any(|event| flow.starts(event));
        let starts = ["schedule", "workflow_dispatch", "release", "workflow_run", "repository_dispatch"]
            .iter()
            .filter(|event| flow.starts(event))
            .count()
            + usize::from(by_push);
        let found: Vec<(usize, &str, kapell_spec::finding::Span)> = flow
            .jobs()
            .filter_map(|(at, job)| mutation(flow, at, pushed || overtaken(flow, job).is_some(), starts))
            .collect();
        let [(at, what, span), rest @ ..] = &found[..] else { continue };
        let mild = found.iter().all(|(_, what, _)| *what == PAGES || *what == IMAGE);
        let lasts = found.iter().any(|(at, what, _)| *what == DEPLOYS && changes_what_lasts(flow, *at));
        let replaces = found.iter().any(|(_, what, _)| *what == REPLACES);
        let job = &flow.model.jobs[*at];
        let overtaken = overtaken(flow, job);
        let rare = !is_often(flow) && overtaken.is_none();
        // A group that holds nothing back was written to hold something back.
        let own = flow.model.concurrency.iter().chain(&job.concurrency).next();
        let own = own.and_then(|own| own.group.as_ref());
        let waits = flow
            .model
            .concurrency
            .iter()
            .chain(&job.concurrency)
            .any(|own| own.cancel.as_ref().is_some_and(|text| text.is("false")));
        let hint = match own {
            Some(group) => format!(
                "its group `{}` is another one for each run: leave out what names the run or the commit",
                group.text.trim()
            ),
            None => "add a `concurrency` group with `cancel-in-progress: false`".to_owned(),
        };
        let mut draft = report
            .add(
                flow.file,
                flow.job_span(*at),
                format!("two runs of `{}` can {what} at the same time", job.id.text),
            )
            .also(flow.file, *span, "here")
            .severity(match (mild, rare, lasts) {
                (true, ..) => Severity::Low,
                (_, false, true) => Severity::High,
                (_, false, _) if own.is_some() && waits => Severity::High,
                (_, true, false) if !replaces => Severity::Low,
                _ => Severity::Medium,
            })
            .hint(hint);
        if let Some(group) = own {
            draft = draft.also(flow.file, group.span, "this group is another one for each run");
        }
        if let Some((minutes, most)) = overtaken.zip(job.timeout.as_ref()) {
            let text = format!("a run may take so long, and the next starts after {minutes} minutes");
            draft = draft.also(flow.file, most.span, text);
        }
        for (at, what, _) in rest {
            draft = draft.also(flow.file, flow.job_span(*at), format!("can {what} too"));
        }
        draft.done();
    }
}

/// Tells whether two runs of a job may have the same group: with the number of the run or the commit in it, each has one
/// of its own. `github.head_ref || github.run_id` keeps pull requests apart from each other alone.
fn holds_back(flow: &Flow, at: usize, concurrency: &Concurrency) -> bool {
    let Some(group) = &concurrency.group else { return true };
    if !groups::names_run(&group.text) {
        return true;
    }
    let mut worlds = (0..flow.worlds.len())
        .filter(|&world| flow.runs[world][at] != Run::Never && !flow.worlds[world].is_pull_request());
    worlds.any(|world| !groups::of_one_run(&flow.scope(world, at, false), &group.text))
}

/// Pages are replaced as a whole: the next run mends what two at once got wrong.
const PAGES: &str = "publish pages";

/// A tag that moves points to the image of the run that ends last, which may be the older one.
const IMAGE: &str = "move the same tag of an image";

/// What runs is changed.
const DEPLOYS: &str = "deploy";

/// Programs that go from what they know of an infrastructure to what it is to be.
const INFRASTRUCTURE: &[&str] = &["terraform", "tofu", "terragrunt", "pulumi", "cdk"];

/// Tells whether a job changes what the next deployment does not put right by itself: an infrastructure, or the schema of a
/// database that runs elsewhere.
fn changes_what_lasts(flow: &Flow, at: usize) -> bool {
    let live = flow.model.jobs[at].environment.is_some();
    flow.steps(at).any(|(_, facts)| {
        let of_infrastructure = |done: &Done| {
            let command = done.command.and_then(|at| facts.commands.get(at));
            done.work.kind == Kind::Deploy
                && command.is_some_and(|command| INFRASTRUCTURE.contains(&command.program()))
        };
        // `npm run migrate`, by itself or in a container: where the job names an environment, that is what it says.
        let by_name = |done: &Done| live && done.text.trim_end().ends_with(" run migrate");
        let of_schema =
            |done: &Done| by_name(done) || is_migration(done) && (live || done.work.kind == Kind::Deploy);
        facts.works.iter().any(|done| of_infrastructure(done) || of_schema(done))
    })
}

/// A release that is taken away and made anew.
const REPLACES: &str = "replace the same release";

/// Branches that several people push to within minutes.
const BUSY: &[&str] = &["main", "master", "develop", "dev", "trunk", "next", "*", "**"];

/// Events besides a push that come several at a time: the end of each run of another workflow, and what people write.
const OFTEN: &[&str] = &["workflow_run", "issue_comment"];

/// Tells whether each pull request that is closed starts a workflow: two may be merged at once.
fn merges(flow: &Flow) -> bool {
    let types = flow.model.event("pull_request").and_then(|event| event.filter("types"));
    types.is_some_and(|types| types.items.iter().all(|item| &*item.text == "closed"))
}

/// Tells whether two runs at once are to be expected: it takes two pushes within the time of one run.
fn is_often(flow: &Flow) -> bool {
    if merges(flow) {
        return true;
    }
    let push = flow.model.event("push").or_else(|| OFTEN.iter().find_map(|event| flow.model.event(event)));
    push.is_some_and(|push| {
        push.filter("branches")
            .is_none_or(|filter| filter.items.iter().any(|item| BUSY.contains(&&*item.text)))
    })
}

/// Actions that look for the newest version and push the tag of the next.
const BUMPS: &[&str] = &[
    "anothrnick/github-tag-action",
    "mathieudutour/github-tag-action",
    "phips28/gh-action-bump-version",
    "tripss/conventional-changelog-action",
    "laputansoft/github-tag-action",
    "rymndhng/release-on-push-action",
    "go-semantic-release/action",
    "thejeff77/action-push-tag",
];

/// Returns what a job changes that two runs could change at once.
fn mutation(
    flow: &Flow,
    at: usize,
    pushed: bool,
    starts: usize,
) -> Option<(usize, &'static str, kapell_spec::finding::Span)> {
    let job = &flow.model.jobs[at];
    let mut groups = flow.model.concurrency.iter().chain(&job.concurrency);
    if groups.any(|concurrency| holds_back(flow, at, concurrency)) {
        return None;
    }
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    for (step, facts) in flow.steps(at) {
        for done in &facts.works {
            let script = step.script();
            let what = match done.work.kind {
                // A machine of its own for tests is no deployment.
                Kind::Deploy if tests(job) && done.command.is_some() => continue,
                Kind::Deploy if pushed || starts >= 3 => DEPLOYS,
                Kind::Release if starts >= 2 && rolls(text) => REPLACES,
                Kind::Publish if pushed && rolling_image(flow, step) => IMAGE,
                Kind::Publish if pushed && moves_by_command(done, step.script()) => IMAGE,
                Kind::Pages if pushed => PAGES,
                Kind::Publish
                    if pushed && step.is("changesets/action") && step.input("publish").is_some() =>
                {
                    "publish the same versions"
                }
                Kind::Tag if pushed && BUMPS.contains(&done.text.as_str()) => "make up the same version",
                Kind::Tag if pushed && done.command.is_some() && counts_up(text) => {
                    "make up the same version"
                }
                Kind::Release | Kind::Publish | Kind::Tag
                    if pushed && (releases(flow, at) || makes_up(done)) =>
                {
                    "release the same version"
                }
                // A branch of its own, or a rebase before the push, is safe.
                Kind::Push if pushed && done.command.is_some() && !own_branch(script) => {
                    "push to the same branch"
                }
                _ => continue,
            };
            return Some((at, what, step.span));
        }
    }
    None
}

/// What makes the next version of the last one, in commands: two that run at once make the same.
const COUNTS_UP: &[&str] = &[
    "git describe --tags",
    "git describe --abbrev=0",
    "git tag -l",
    "git tag --list",
    "git tag --sort",
    "sort=-v:refname",
    "sort=-version:refname",
    "npm version ",
    "yarn version ",
    "pnpm version ",
    "lerna version",
    "semver ",
    "bumpversion ",
    "bump2version ",
    "bump-my-version ",
    "cz bump",
    "standard-version",
    "poetry version ",
    "hatch version ",
    "cargo set-version",
    "cargo release ",
    "--bumped-version",
    "svu next",
    "svu patch",
    "svu minor",
];

/// Tells whether a job makes up the version that it tags.
fn counts_up(text: &str) -> bool {
    COUNTS_UP.iter().any(|word| text.contains(word))
}

/// Returns how many minutes lie between two runs of a workflow that a clock starts, where its job says that one of them may
/// take longer: the second starts while the first is at work.
///
/// Source: GitHub, "Events that trigger workflows", `schedule`, and "Workflow syntax", `jobs.<job_id>.timeout-minutes`.
fn overtaken(flow: &Flow, job: &Job) -> Option<u32> {
    let most: u32 = job.timeout.as_ref()?.literal()?.parse().ok()?;
    let mut lines = flow.model.event("schedule")?.crons.iter();
    lines.find_map(|cron| interval(&cron.text).filter(|minutes| *minutes < most))
}

/// Returns how many minutes lie between two times of a line of `cron`, where these are the same all day long.
fn interval(cron: &str) -> Option<u32> {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    let [minute, hour, "*", "*", _] = fields[..] else { return None };
    let step = |field: &str, whole: u32| -> Option<u32> {
        match field.strip_prefix("*/") {
            Some(step) => step.parse().ok().filter(|step| *step > 0 && whole.is_multiple_of(*step)),
            None => (field == "*").then_some(1),
        }
    };
    let listed = |field: &str| field.split(',').all(|part| part.parse::<u32>().is_ok());
    match (step(minute, 60), hour) {
        (Some(minutes), "*") => Some(minutes),
        (None, hour) if listed(minute) && !minute.contains(',') => Some(60 * step(hour, 24)?),
        (None, "*") if listed(minute) => Some(60 / minute.split(',').count() as u32),
        _ => None,
    }
}

/// Tells whether a job is for tests by its name.
fn tests(job: &Job) -> bool {
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let has =
        |words: &[&str]| name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| words.contains(&part));
    has(&["test", "tests", "e2e", "bench", "benchmark", "check", "lint"])
        && !has(&["deploy", "deployment", "release"])
}

/// Tells whether a job makes one release anew again and again: that of a night, or the latest.
fn rolls(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let names = ["nightly", "rolling", "canary", "continuous", "latest-build", "snapshot", "edge"];
    let again =
        ["release delete", "--clobber", "allowupdates", "deleterelease", "overwrite: true", "--force"];
    names.iter().any(|word| lower.contains(word)) && again.iter().any(|word| lower.contains(word))
}

/// Tells whether a step pushes an image under a tag that moves with a branch.
fn rolling_image(flow: &Flow, step: &Step) -> bool {
    let image = step.is("docker/build-push-action") || step.is("docker/bake-action");
    let tags = step.input("tags").map_or("", |tags| &*tags.text);
    let own = tags.to_ascii_lowercase();
    // The tags may come from a step before.
    let text = flow.text.to_ascii_lowercase();
    let made = own.contains("steps.") && text.contains("docker/metadata-action");
    let moves = |text: &str| {
        [
            ":latest",
            "value=latest",
            "value=dev",
            "value=edge",
            "type=ref,event=branch",
            "type=edge",
            ":main",
            ":dev",
            ":edge",
        ]
        .iter()
        .any(|word| text.contains(word))
    };
    let whole = flow.text.get(step.span.range()).unwrap_or_default();
    let by_variable = own.contains("env.") && (whole.contains("'latest'") || whole.contains(": latest"));
    image && is_often(flow) && (moves(&own) || by_variable || made && moves(&text))
}

/// Tells whether a command pushes an image under a tag that moves.
fn moves_by_command(done: &Done, script: &str) -> bool {
    let pushes = [
        "docker push",
        "docker buildx build",
        "docker build",
        "podman push",
        "buildah push",
        "skopeo copy",
        "crane push",
        "crane tag",
        "skaffold build",
    ]
    .iter()
    .any(|start| done.text.starts_with(start));
    let fixed =
        ["tag=\"dev\"", "tag=dev", "TAG=\"dev\"", "TAG=dev", "tag=latest", "TAG=latest", "TAG=\"latest\""];
    let by_variable = done.text.contains('$') && fixed.iter().any(|word| script.contains(word));
    done.command.is_some()
        && pushes
        && (super::delivers_from_pull_request::moves(&done.text)
            || done.text.contains("--tag=latest")
            || by_variable)
}

/// Programs and actions that look for the next version, and tag, push and release it by themselves.
const MAKES_UP: &[&str] = &[
    "semantic-release",
    "release-it",
    "lerna publish",
    "python-semantic-release/python-semantic-release",
    "cycjimmy/semantic-release-action",
    "codfish/semantic-release-action",
];

/// Tells whether what is run is one of them.
fn makes_up(done: &Done) -> bool {
    MAKES_UP.iter().any(|name| match name.contains('/') {
        true => done.text == *name,
        false => done.text.split_whitespace().take(4).collect::<Vec<_>>().join(" ").contains(name),
    }) && !done.text.contains("dry-run")
}

/// Tells whether a job makes up the next version, and both pushes it and makes a release of it.
fn releases(flow: &Flow, at: usize) -> bool {
    let does = |kinds: &[Kind]| flow.facts[at].iter().any(|facts| kinds.iter().any(|&kind| facts.does(kind)));
    does(&[Kind::Push, Kind::Tag]) && does(&[Kind::Release, Kind::Publish])
}

fn own_branch(script: &str) -> bool {
    let own = ["rebase", "checkout -b", "checkout -B", "switch -c", "switch -C", "push -u"];
    // `HEAD:main` is one branch for all runs, `HEAD:$BRANCH` may be one for each.
    let mut targets = script.split("push origin HEAD:").skip(1);
    if targets.any(|rest| rest.split_whitespace().next().is_none_or(|target| target.contains(['$', '`']))) {
        return true;
    }
    let made = ["--orphan", "git init", "subtree split", "filter-branch", "gh-pages"];
    // What replaces a branch as a whole is right when the last run is; what is changed and replaced is that of one run.
    let forced = [" --force", " -f "].iter().any(|word| script.contains(word)) && !script.contains("--amend");
    own.iter().chain(made.iter()).any(|word| script.contains(word)) || forced
}
