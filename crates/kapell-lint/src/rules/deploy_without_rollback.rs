//! A deployment that leaves the broken version running when it fails.

mod checked; // what is looked at afterwards, by whom nothing is taken back
mod returns; // scripts that know a way back

pub(super) use self::checked::looks;

use std::{cell::LazyCell, sync::LazyLock};

use kapell_spec::words::Words;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{
        Flow,
        facts::Done,
        script,
        tools::{self, Kind, Old},
    },
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/deploy-without-rollback.md`.
pub(super) static RULE: Rule = Rule {
    name: "deploy-without-rollback",
    summary: "a deployment to a cluster or a machine with no way back in any workflow",
    group: Group::CrossSystem,
    anti_pattern: Some(AntiPattern::NoRollback),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/deploy-without-rollback.md"),
    check,
};

/// Tells whether a command or an action replaces what runs, whether the new version answers or not.
fn keeps_nothing(text: &str) -> bool {
    tools::rollout(text).is_some_and(|row| matches!(row.old, Old::Replaced | Old::Part))
}

/// Copies over what runs, one file after the other; what happens there may know a way back.
const COPIES: &[&str] = &["rsync ", "scp ", "ssh ", "sshpass "];

/// Actions that do the same.
const COPYING: &[&str] =
    &["appleboy/ssh-action", "appleboy/scp-action", "burnett01/rsync-deployments", "easingthemes/ssh-deploy"];

/// Words of what all rely on.
const LIVE: &[&str] = &["prod", "production", "live"];

/// Words of a way back.
const BACK: &[&str] = &[
    "rollback",
    "roll back",
    "rollout undo",
    "--atomic",
    "revert",
    "undo",
    "canary",
    "blue-green",
    "bluegreen",
];

/// Words of a deployment that nobody relies on.
const TRIAL: &[&str] = &[
    "preview", "staging", "stage", "dev", "test", "e2e", "sandbox", "kind", "minikube", "k3d", "k3s", "demo",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    let back = |flow: &Flow| {
        let text = repository.files[flow.file].lower();
        BACK.iter().any(|word| text.contains(word))
    };
    // Most repositories deploy nothing that could be taken back.
    let taken_back = LazyCell::new(|| flows.iter().any(back));
    for flow in flows {
        // Whoever can name the version to deploy can deploy the one before.
        let chosen = flow.model.event("workflow_dispatch").is_some_and(|event| !event.inputs.is_empty());
        for (at, job) in flow.jobs() {
            if chosen {
                continue;
            }
            let Some((step, done)) = first_deploy(repository, flow, at) else {
                if let Some(found) = checked::find(flow, at).filter(|_| !is_trial(flow, at)) {
                    if *taken_back {
                        return;
                    }
                    checked::tell(flow, at, &found, is_live(flow, at), report);
                }
                continue;
            };
            // What is done on a machine of the run's own is done with it.
            if is_copy(&done.text) && super::repair_gated_on_success::rents(flow, at) {
                continue;
            }
            if is_copy(&done.text)
                && (returns::by_script(repository, flow, at) || returns::by_itself(flow, at))
            {
                continue;
            }
            if is_trial(flow, at) || done.text.starts_with("nomad") && reverts(repository) {
                continue;
            }
            if *taken_back {
                return;
            }
            let message = format!(
                "`{}` deploys with `{}`, and no workflow here can take that back",
                &*job.id,
                done.text.lines().next().unwrap_or_default()
            );
            let hint = "wait for the rollout and undo it where it fails, as a step with `if: failure()`";
            let steps = &flow.model.jobs[at].steps;
            let undone = steps[step..].iter().any(|step| {
                step.condition.as_ref().is_some_and(|condition| condition.text.contains("failure()"))
            });
            if undone {
                continue;
            }
            let span = steps[step].keys.entries.first().map_or(flow.job_span(at), |key| key.span);
            let draft = report.add(flow.file, span, message).hint(hint);
            let live = || is_live(flow, at) || is_given_live(flow, at);
            let copies = is_copy(&done.text) && !(live() && restarts(flow, at));
            draft.severity(if copies { Severity::Low } else { Severity::Medium }).done();
        }
    }
}

/// Tells whether a job of Nomad goes back by itself.
fn reverts(repository: &Repository) -> bool {
    let jobs = repository.files.iter().filter(|(_, file)| file.path.contains(".nomad"));
    jobs.into_iter().any(|(_, file)| {
        let said = |line: &str| line.trim_start().starts_with("auto_revert") && line.contains("true");
        file.text.lines().any(said)
    })
}

/// Tells whether a script of the repository, which a command runs, brings something to a cluster and knows no way back.
fn of_script(repository: &Repository, command: &script::Command) -> bool {
    let mut paths = command.inner().iter().filter(|word| word.ends_with(".sh") || word.ends_with(".bash"));
    let Some(path) = paths.next().filter(|_| tools::is_own_script(command)) else { return false };
    let plain = path.trim_start_matches("./");
    let Some(file) = repository.files.find(plain).map(|id| &repository.files[id]) else { return false };
    let lower = file.text.to_ascii_lowercase();
    let deploys = script::commands(&file.text).iter().any(|command| {
        let text = tools::plain_text(command);
        keeps_nothing(&text) && !text.contains("--dry-run")
    });
    deploys && !BACK.iter().any(|word| lower.contains(word))
}

fn first_deploy<'a>(repository: &Repository, flow: &'a Flow, job: usize) -> Option<(usize, &'a Done)> {
    flow.facts[job].iter().enumerate().find_map(|(step, facts)| {
        let known = |done: &&Done| {
            let own = done.command.and_then(|at| facts.commands.get(at));
            done.work.kind == Kind::Deploy
                && (is_copy(&done.text) || own.is_some_and(|own| of_script(repository, own)) || {
                    let plain = done.command.and_then(|at| facts.commands.get(at)).map(tools::plain_text);
                    let text = plain.as_ref().unwrap_or(&done.text);
                    keeps_nothing(text)
                })
        };
        Some((step, facts.works.iter().find(known)?))
    })
}

/// Words of steps that check what was deployed, or what is to be.
const CHECKED: &[&str] = &["smoke test", "smoke-test", "unit test", " test", "/test", "-test"];

/// Options by which installers are told of groups of dependencies.
const LEFT_OUT: &[&str] = &[
    "--omit=dev",
    "--omit dev",
    "--no-dev",
    "--without=dev",
    "--without dev",
    "--without test",
    "--without=test",
    "--only=prod",
    "--exclude=dev",
    "without development:test",
    "without 'development:test'",
    "--no-group dev",
    "--no-group=dev",
    "without \"development test\"",
    "without 'development test'",
    "without development test",
];

fn is_copy(text: &str) -> bool {
    COPIES.iter().chain(COPYING).any(|command| text.starts_with(command))
}

/// Tells whether a job starts again what runs on another machine, so that what it copied is what answers.
pub(super) fn restarts(flow: &Flow, job: usize) -> bool {
    static AGAIN: LazyLock<Words> = LazyLock::new(|| {
        Words::exact(&[
            "systemctl restart",
            "systemctl reload",
            "systemctl --user restart",
            "service restart",
            "pm2 re",
            "pm2 start",
            "supervisorctl restart",
            "supervisorctl reload",
            "up -d",
            "up --detach",
            "docker restart",
            "docker run -d",
            "docker run --detach",
            "forever restart",
            "tmp/restart.txt",
            "passenger-config restart",
        ])
    });
    AGAIN.is_in(flow.text.get(flow.model.jobs[job].span.range()).unwrap_or_default())
}

/// Tells whether a job says by its name, its environment or what it runs that all rely on what it deploys to.
fn is_live(flow: &Flow, job: usize) -> bool {
    let model = &flow.model.jobs[job];
    let name = model.name.as_ref().map_or("", |name| &*name.text);
    let environment = model.environment.as_ref().and_then(|environment| environment.name.as_ref());
    let runs = flow.facts[job].iter().flat_map(|facts| &facts.works);
    let deploys = runs.filter(|done| done.work.kind == Kind::Deploy).map(|done| &*done.text);
    let named = [&*model.id, name, environment.map_or("", |name| &*name.text)];
    named.into_iter().chain(deploys).any(says_live)
}

/// Tells whether one of the words of a text is one of what all rely on.
fn says_live(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| LIVE.contains(&word))
}

/// Tells whether a step that deploys is given a secret or a variable with such a name: `host: ${{ secrets.PROD_HOST }}`.
fn is_given_live(flow: &Flow, job: usize) -> bool {
    let given =
        flow.steps(job).filter(|(_, facts)| facts.does(Kind::Deploy)).flat_map(|(step, _)| &step.with);
    let mut whole = given.filter_map(|(_, value)| value.expression());
    whole.any(|held| (held.starts_with("secrets.") || held.starts_with("vars.")) && says_live(held))
}

/// Tells whether a job deploys to where nobody relies on it, or where a test looks at it.
pub(super) fn is_trial(flow: &Flow, job: usize) -> bool {
    if is_live(flow, job) {
        return false;
    }
    let model = &flow.model.jobs[job];
    // That a smoke test follows says nothing of where it is deployed to.
    let deploys = |step: usize| flow.facts[job][step].does(Kind::Deploy);
    let mut text = flow.text.get(model.span.range()).unwrap_or_default().to_ascii_lowercase();
    for (_, step) in model.steps.iter().enumerate().filter(|(at, _)| !deploys(*at)) {
        let own = flow.text.get(step.span.range()).unwrap_or_default().to_ascii_lowercase();
        let said = CHECKED.iter().fold(own.clone(), |own, word| own.replace(word, " "));
        text = text.replacen(&own, &said, 1);
    }
    // What a job waits for, and files of the system, say nothing of where it deploys to.
    let said = |line: &&str| !line.trim_start().starts_with("needs:");
    let text = text.lines().filter(said).collect::<Vec<_>>().join("\n").replace("/dev/", "/");
    // A host may lie below `.dev`, and be what all rely on.
    let text = ["/", ":", " ", "\n", "'", "\""]
        .iter()
        .fold(text, |text, end| text.replace(&format!(".dev{end}"), end));
    // What an installation leaves out says nothing of it either.
    let text = LEFT_OUT.iter().fold(text, |text, option| text.replace(option, " "));
    let parts: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let path = flow.path.to_ascii_lowercase();
    TRIAL.iter().any(|word| parts.contains(word) || path.contains(word))
}
