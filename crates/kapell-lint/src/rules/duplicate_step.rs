//! A job does the same thing twice.

mod covered; // parts of the tests, and then all of them

use crate::github::{
    Flow, Github, StepFacts, comments, cost,
    script::{Command, Then, commands},
    tools::{self, Kind},
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::github::{Job, Step, Uses};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/duplicate-step.md`.
pub(super) static RULE: Rule = Rule {
    name: "duplicate-step",
    summary: "A job does the same thing twice",
    group: Group::Waste,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Low,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/duplicate-step.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            covered::check(repository, flow, at, report);
            let works: Vec<_> = flow.facts[at].iter().map(only_work).collect();
            for (index, (step, facts)) in flow.steps(at).enumerate() {
                if let Some((earlier, what)) = by_action(flow, at, index) {
                    report
                        .add(
                            flow.file,
                            step.name.as_ref().map_or(step.span, |name| name.span),
                            format!("`{}` {what}", job.id.text),
                        )
                        .also(flow.file, job.steps[earlier].span, "the first time")
                        .hint("drop one of the two")
                        .done();
                    continue;
                }
                let again = (0..index).find(|&earlier| {
                    let both = works[earlier].as_ref().zip(works[index].as_ref());
                    both.is_some_and(|(left, right)| repeats(flow, at, (earlier, left), (index, right)))
                });
                if again.is_none()
                    && let Some((earlier, command)) = installs_again(&repository.github, flow, at, index)
                {
                    let what = short(&command.text());
                    report
                        .add(
                            flow.file,
                            flow.script_line(step, command.start, ""),
                            format!(
                                "`{}` runs `{what}` once more, and nothing has changed since",
                                job.id.text
                            ),
                        )
                        .also(flow.file, job.steps[earlier].span, "the first time")
                        .hint("drop one of the two")
                        .done();
                    continue;
                }
                let Some(earlier) = again else { continue };
                let first = &job.steps[earlier];
                let what = facts.works.first().map_or("the same", |done| &done.text);
                let draft = report
                    .add(
                        flow.file,
                        step.name_span(),
                        format!("`{}` runs `{}` twice", job.id.text, short(what)),
                    )
                    .also(flow.file, first.span, "the first time")
                    .spares(cost::sooner(
                        &repository.github,
                        flow,
                        repository.timings.as_ref(),
                        at,
                        facts.seconds(),
                    ))
                    .hint("drop one of the two, or tell them apart with conditions");
                match comments::explains(
                    flow,
                    step.span,
                    6,
                    &["again", "twice", "second", "retry", "strict", "repeat"],
                ) {
                    Some(comment) => draft.explained(comment).done(),
                    None => draft.done(),
                }
            }
        }
    }
}

/// Finds the step before that did by an action what this one does again: a checkout of the same, dependencies of Ruby that
/// their set-up has installed, an image of the same context.
fn by_action(flow: &Flow, at: usize, index: usize) -> Option<(usize, &'static str)> {
    let steps = &flow.model.jobs[at].steps;
    let step = &steps[index];
    let given = |step: &Step| {
        let mut given: Vec<(String, String)> = step
            .with
            .iter()
            .filter(|(name, _)| {
                !matches!(&*name.text, "tags" | "labels" | "outputs" | "cache-to" | "push" | "load")
            })
            .map(|(name, value)| (name.text.to_string(), value.text.to_string()))
            .collect();
        given.sort();
        given
    };
    let before = || steps[..index].iter().enumerate().rev();
    if step.is("actions/checkout") && step.condition.is_none() {
        let same = |other: &Step| {
            other.is("actions/checkout") && other.condition.is_none() && given(other) == given(step)
        };
        let (earlier, _) = before().find(|(_, other)| same(other))?;
        // A commit that was made in between is to be left behind.
        let moved = steps[earlier + 1..index].iter().any(|other| !other.script().is_empty());
        return (!moved).then_some((earlier, "checks the same out twice"));
    }
    if let Some(earlier) = set_up_before(flow, at, index) {
        return Some((earlier, "sets the same up twice"));
    }
    if step.is("docker/build-push-action") && step.input("context").is_some() {
        let same = |other: &Step| {
            other.is("docker/build-push-action")
                && given(other) == given(step)
                && condition(other) == condition(step)
                && step.input("cache-from").is_none()
        };
        // Loaded to be tested, and pushed from the builder's own cache.
        let tried = |other: &Step| other.input("load").is_some();
        let (earlier, _) = before().find(|(_, other)| same(other) && !tried(other))?;
        return Some((earlier, "builds the same image twice"));
    }
    let installs = flow.facts[at][index].commands.iter().any(|command| {
        command.begins("bundle install")
            && !command.words.iter().any(|word| word.starts_with("--gemfile") || word.starts_with("--with"))
    });
    let plain = || step.folder.is_none() && step.env.is_empty() && !step.script().contains("cd ");
    if installs && plain() && step.condition.is_none() {
        let (earlier, _) = before().find(|(_, other)| {
            other.is("ruby/setup-ruby")
                && other.input("bundler-cache").is_some_and(|text| text.is("true"))
                && other.input("working-directory").is_none()
        })?;
        return Some((earlier, "installs gems that its set-up has installed"));
    }
    None
}

/// Finds the step that set up the same before, as it is when two jobs were joined; nothing of it was set up otherwise since.
fn set_up_before(flow: &Flow, at: usize, index: usize) -> Option<usize> {
    let steps = &flow.model.jobs[at].steps;
    let step = &steps[index];
    let name = flow.facts[at][index].actions.first().filter(|name| name.starts_with("actions/setup-"))?;
    let given = |step: &Step| {
        let with = step.with.iter().map(|(name, value)| (name.text.to_string(), value.text.to_string()));
        let mut given: Vec<(String, String)> = with.collect();
        given.sort();
        given
    };
    let plain = |step: &Step| step.condition.is_none() && step.id.is_none() && step.env.is_empty();
    let earlier = (0..index).rev().find(|&earlier| flow.facts[at][earlier].actions.contains(name))?;
    let other = &steps[earlier];
    (plain(step) && plain(other) && given(other) == given(step)).then_some(earlier)
}

/// What brings the same each time until a lock file or a list changes.
const BRINGS: &[&[&str]] = &[
    &["npm", "ci"],
    &["npm", "install"],
    &["yarn", "install"],
    &["pnpm", "install"],
    &["bun", "install"],
    &["pip", "install", "-r"],
    &["poetry", "install"],
    &["uv", "sync"],
    &["bundle", "install"],
    &["composer", "install"],
    &["dotnet", "restore"],
    &["go", "mod", "download"],
    &["cargo", "fetch"],
    &["apt-get", "install"],
    &["terraform", "init"],
    &["tofu", "init"],
    &["go", "build"],
];

/// Returns the words of a command that brings something here, in one way of writing them: `yarn --frozen-lockfile` is
/// `yarn install --frozen-lockfile`.
fn brings(command: &Command) -> Option<Vec<String>> {
    let first = command.inner().first()?.as_str();
    if !matches!(first, "apt" | "pip3") && !BRINGS.iter().any(|start| start[0] == first) {
        return None;
    }
    let mut words: Vec<String> = command.inner().to_vec();
    let flag = |word: &String| word.starts_with('-');
    match words[0].as_str() {
        "yarn" if words.iter().skip(1).all(flag) => words.insert(1, "install".to_owned()),
        "apt" => "apt-get".clone_into(&mut words[0]),
        "pip3" => "pip".clone_into(&mut words[0]),
        _ => {}
    }
    let plain = command.depth == 0 && !command.asked && command.after != Then::Or && command.then != Then::Or;
    let known = BRINGS
        .iter()
        .any(|start| words.len() >= start.len() && start.iter().zip(&words).all(|(a, b)| a == b));
    if !plain || !known || words.iter().any(|word| word.contains(['$', '>'])) {
        return None;
    }
    // What a package manager says while it works, and how it goes about it, is no other work.
    let node = matches!(words[0].as_str(), "npm" | "yarn" | "apt-get" | "pnpm");
    // One of its own choice, or somewhere else.
    let elsewhere = [
        "-g",
        "--global",
        "-t",
        "--target-release",
        "--prefix",
        "-C",
        "--cwd",
        "--production",
        "--omit=dev",
        "--prod",
    ];
    if words.iter().any(|word| elsewhere.contains(&word.as_str()) || word.starts_with("-chdir")) {
        return None;
    }
    if node {
        words.retain(|word| !word.starts_with('-'));
    }
    if words[0] == "npm" {
        "install".clone_into(&mut words[1]);
        if words.len() > 2 {
            return None;
        }
    }
    if words[0] == "apt-get" {
        words[2..].sort();
    }
    Some(words)
}

/// Finds a command that brings here what an earlier step has brought, with nothing in between that may have changed it.
fn installs_again<'a>(
    github: &Github,
    flow: &'a Flow,
    at: usize,
    index: usize,
) -> Option<(usize, &'a Command)> {
    let steps = &flow.model.jobs[at].steps;
    let facts = &flow.facts[at];
    let moves = |commands: &[Command]| {
        let changes = ["cd", "pushd", "rm", "git", "sed", "mv", "cp", "patch", "docker"];
        let lists = [
            "version",
            "pkg",
            "update",
            "upgrade",
            "add",
            "remove",
            "uninstall",
            "link",
            "set",
            "lock",
            "venv",
        ];
        commands.iter().any(|command| {
            changes.contains(&command.program())
                || !matches!(command.program(), "apt-get" | "apt")
                    && command.inner().get(1).is_some_and(|word| lists.contains(&word.as_str()))
        })
    };
    let calm = |at: usize| {
        let works = facts[at].works.iter();
        let same = |kind: Kind| {
            !matches!(kind, Kind::Unknown | Kind::Checkout | Kind::Download | Kind::Cache | Kind::Setup)
                && !kind.mutates()
        };
        let brought = |text: &str| ["terraform ", "tofu ", "apt"].iter().any(|word| text.contains(word));
        works.clone().all(|done| same(done.work.kind) || brought(&done.text))
            && !facts[at].runs_own_script()
            && !moves(&facts[at].commands)
    };
    let bare = |step: &Step| step.condition.is_none() && step.run.is_some() && step.shell.is_none();
    let step = &steps[index];
    if !bare(step) || moves(&facts[index].commands) {
        return None;
    }
    facts[index].commands.iter().find_map(|command| {
        let words = brings(command)?;
        let earlier = (0..index).rev().find(|&earlier| {
            let other = &steps[earlier];
            if brought_by_action(github, other, &words) && folder(step).is_empty() && step.env.is_empty() {
                return flow.model.jobs[at].folder.is_none();
            }
            bare(other)
                && same_env(other, step)
                && folder(other) == folder(step)
                && !moves(&facts[earlier].commands)
                && facts[earlier].commands.iter().filter_map(brings).any(|before| before == words)
        })?;
        (earlier + 1..index).all(calm).then_some((earlier, command))
    })
}

/// Tells whether an action of the repository brings the same, in the folder where it lies.
fn brought_by_action(github: &Github, step: &Step, words: &[String]) -> bool {
    let Some(Uses::Local(path)) = step.action().filter(|_| step.condition.is_none()) else { return false };
    let Some(action) = github.actions.get(&**path) else { return false };
    let plain = |step: &&Step| step.condition.is_none() && step.folder.is_none() && step.env.is_empty();
    let scripts = action.model.steps.iter().filter(plain).map(Step::script);
    scripts.flat_map(commands).any(|command| brings(&command).is_some_and(|own| own == words))
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

fn same_env(left: &Step, right: &Step) -> bool {
    left.env.len() == right.env.len()
        && left
            .env
            .iter()
            .zip(&right.env)
            .all(|((name, text), (other, value))| name.text == other.text && text.text == value.text)
}

fn folder(step: &Step) -> &str {
    step.folder.as_ref().map_or("", |folder| &folder.text)
}

fn condition(step: &Step) -> &str {
    step.condition.as_ref().map_or("", |condition| &condition.text)
}

/// Tells whether a step does again what an earlier one did, with nothing in between that changes its input.
fn repeats(flow: &Flow, at: usize, (earlier, left): (usize, &Only), (later, right): (usize, &Only)) -> bool {
    let job = &flow.model.jobs[at];
    let (first, second) = (&job.steps[earlier], &job.steps[later]);
    if left.1 != right.1
        || !same_env(first, second)
        || folder(first) != folder(second)
        || goes(flow, at, earlier) != goes(flow, at, later)
    {
        return false;
    }
    if left.0 == Kind::Build && compared(job, earlier, later) {
        return false;
    }
    // The tests in between leave something behind, which is to be as it was before.
    let tested = flow.facts[at][earlier + 1..later].iter().any(|facts| facts.does(Kind::Test));
    if left.0 == Kind::Setup && tested && left.1.iter().any(|word| is_reset(word)) {
        return false;
    }
    let changed =
        flow.facts[at][earlier + 1..later].iter().zip(&job.steps[earlier + 1..later]).any(|(facts, step)| {
            facts.is_opaque()
                || facts.works.iter().any(|done| matches!(done.work.kind, Kind::Build | Kind::Checkout))
                || step.script().contains("git ")
                || step.script().contains("sed ")
                || step.script().contains("rm ")
                || facts.commands.iter().any(sets_ground)
        });
    let same_condition = condition(first) == condition(second);
    // The whole suite, and then the same suite again with coverage.
    let beyond = |flags: &[String], others: &[String], allowed: &[&str]| {
        flags
            .iter()
            .filter(|flag| !others.contains(flag))
            .all(|flag| allowed.iter().any(|start| flag.starts_with(start)))
    };
    let tests_again = left.0 == Kind::Test
        && right.0 == Kind::Test
        && condition(first).is_empty()
        && beyond(&right.2, &left.2, &["--cov", "-v", "--tb", "--color", "--junit", "-q", "--report"])
        && beyond(&left.2, &right.2, &["-v", "--tb", "--color", "-q", "-x"]);
    let install_again = left.0 == Kind::Install && right.0 == Kind::Install && same_condition;
    let same = left.2 == right.2
        && same_condition
        && matches!(left.0, Kind::Lint | Kind::Build | Kind::Test | Kind::Setup);
    !changed && (tests_again || install_again || same)
}

/// Tells whether a word says that something is made as it was at first: `db:reset`, `schema:load`.
fn is_reset(word: &str) -> bool {
    ["reset", "seed", "load", "drop", "create", "clean", "truncate", "init"]
        .iter()
        .any(|part| word.contains(part))
}

/// Returns where the script of a step goes before it works: `cd crates/native`.
fn goes(flow: &Flow, at: usize, index: usize) -> Vec<String> {
    let moves = |command: &&Command| matches!(command.program(), "cd" | "pushd");
    flow.facts[at][index].commands.iter().filter(moves).map(Command::text).collect()
}

/// Tells whether a command changes what the next ones work with: versions of dependencies, or of a toolchain.
fn sets_ground(command: &Command) -> bool {
    const VERBS: [&str; 8] = ["update", "upgrade", "add", "remove", "default", "override", "use", "switch"];
    let words = command.inner().iter().skip(1).take(2);
    !matches!(command.program(), "apt-get" | "apt")
        && words.filter(|word| !word.starts_with('+')).any(|word| VERBS.contains(&word.as_str()))
}

/// What holds two results against each other.
const COMPARES: &[&str] = &[
    "diff",
    "cmp",
    "diffoscope",
    "sha256sum",
    "sha1sum",
    "sha512sum",
    "md5sum",
    "b2sum",
    "shasum",
    "comm",
    "hashdeep",
    "reprotest",
];

/// Words that say that the same is to come out twice.
const ALIKE: &[&str] =
    &["reproducib", "determinis", "idempoten", "bit-for-bit", "byte-for-byte", "identical"];

/// Tells whether something is built a second time to be compared with the first: what it gave is put aside or hashed, and
/// held against the other, or a name says so.
fn compared(job: &Job, earlier: usize, later: usize) -> bool {
    let compares = |step: &Step| {
        let words =
            |word: &str| step.script().split(|c: char| !c.is_ascii_alphanumeric()).any(|own| own == word);
        COMPARES.iter().any(|word| words(word)) || step.script().contains("--no-index")
    };
    let names = [&job.steps[earlier], &job.steps[later]].into_iter().filter_map(|step| step.name.as_ref());
    let names = names.map(|name| &*name.text).chain([&*job.id.text]);
    let says = |text: &str| {
        let lower = text.to_ascii_lowercase();
        ALIKE.iter().any(|word| lower.contains(word))
    };
    names.chain(job.name.as_ref().map(|name| &*name.text)).any(says)
        || job.steps[earlier..].iter().any(compares)
}

/// The one thing that a step does: its kind, its words without flags, and its flags.
type Only = (Kind, Vec<String>, Vec<String>);

/// Returns the one thing that a step does, if it does one.
fn only_work(facts: &StepFacts) -> Option<Only> {
    let works: Vec<_> = facts
        .works
        .iter()
        .filter(|done| done.work.kind != Kind::Trivial && !done.text.contains(" list"))
        .collect();
    let [done] = works[..] else { return None };
    let command = facts.commands.get(done.command?)?;
    // A program of the repository is what is tested, not what prepares it.
    if done.text.contains("${{")
        || tools::is_own_script(command)
        || done.text.starts_with(['.', '/', '$', '"'])
    {
        return None;
    }
    let (flags, words): (Vec<String>, Vec<String>) =
        command.inner().iter().cloned().partition(|word| word.starts_with('-'));
    // A flag with its value apart, as in `-m unit`, selects other tests.
    let selects = flags.iter().any(|flag| {
        matches!(
            flag.as_str(),
            "-m" | "-k" | "-p" | "--package" | "--features" | "--test" | "--project" | "--filter"
        )
    });
    (!selects).then_some((done.work.kind, words, flags))
}
