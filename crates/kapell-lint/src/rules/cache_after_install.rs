//! A cache is restored after what it should speed up.

mod programs; // that are built to be run

use crate::github::{
    Flow,
    script::Command,
    tools::{self, Installer, Kind},
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::github::Step;
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/cache-after-install.md`.
pub(super) static RULE: Rule = Rule {
    name: "cache-after-install",
    summary: "A cache is restored after what it should speed up",
    group: Group::Cache,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/cache-after-install.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.github.with_steps() {
        for (at, job) in flow.jobs() {
            for (index, step) in job.steps.iter().enumerate() {
                late_action(flow, at, index, report);
                late_compiler(flow, at, index, report);
                programs::check(flow, at, index, report);
                let Some(installer) = restored(step) else { continue };
                // `cargo` builds again and again; only a pure installer is over once it ran.
                if matches!(installer.name, "cargo" | "gradle" | "maven") {
                    after_build(flow, at, index, installer.name, report);
                    continue;
                }
                let installs = |index: usize| {
                    flow.facts[at][index].commands.iter().any(|command| {
                        tools::installer(command).is_some_and(|found| found.name == installer.name)
                    })
                };
                let before =
                    (0..index).find(|&earlier| installs(earlier) && job.steps[earlier].folder.is_none());
                let after = (index + 1..job.steps.len()).any(installs);
                let Some(earlier) = before.filter(|_| !after) else { continue };
                let span = step.uses.as_ref().map_or(step.span, |(text, _)| text.span);
                report
                    .add(
                        flow.file,
                        span,
                        format!(
                            "`{}` restores the cache of `{}` after it has installed everything",
                            job.id.text, installer.name
                        ),
                    )
                    .also(flow.file, job.steps[earlier].span, "installed here")
                    .hint("move the cache in front of the install")
                    .done();
            }
        }
    }
}

/// Actions that restore what a program builds, and the commands of that program that build.
const KEEPERS: &[(&str, &str, &[&str])] = &[
    ("swatinem/rust-cache", "cargo", &["build", "test", "check", "clippy", "nextest", "doc", "bench"]),
    ("gradle/actions/setup-gradle", "gradlew", &["build", "test", "check", "assemble"]),
    ("gradle/gradle-build-action", "gradlew", &["build", "test", "check", "assemble"]),
];

/// Verbs of build programs that need whatever they depend on.
const BUILDS: &[&str] = &[
    "build", "test", "check", "clippy", "nextest", "package", "verify", "install", "compile", "assemble",
    "bench",
];

/// What a program downloads and builds is restored after it has done both.
fn after_build(flow: &Flow, at: usize, index: usize, program: &str, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let kept = |step: &Step| step.is("actions/cache") || step.is("actions/cache/restore");
    let builds = |earlier: &usize| {
        let step = &job.steps[*earlier];
        let works = flow.facts[at][*earlier].commands.iter().any(|command| {
            let verb = |word: &String| BUILDS.contains(&word.as_str()) && word != program;
            // What is installed for the job itself is no part of it.
            let own = program != "cargo" || !command.words.iter().any(|word| word == "install");
            tools::installer(command).is_some_and(|found| found.name == program)
                && command.words.iter().any(verb)
                && !command.words.iter().any(|word| word == "--manifest-path" || word == "-f" || word == "-p")
                && own
        });
        works && step.condition.is_none() && step.folder.is_none()
    };
    let other = job.steps[..index]
        .iter()
        .any(|step| kept(step) || step.with.iter().any(|(name, _)| name.text.contains("cache")));
    let by_action = flow.facts[at][..index]
        .iter()
        .flat_map(|facts| &facts.actions)
        .any(|name| name.contains("cache") || name.contains("setup-gradle"));
    let step = &job.steps[index];
    let Some(earlier) = (0..index).find(builds).filter(|_| !other && !by_action && step.condition.is_none())
    else {
        return;
    };
    restored_late(flow, at, (earlier, index), program, report);
}

/// An action restores what was built by a step in front of it.
fn late_action(flow: &Flow, at: usize, index: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let step = &job.steps[index];
    let Some((_, program, verbs)) = KEEPERS.iter().find(|(name, ..)| step.is(name)) else { return };
    // Another one in front of it keeps what that builds.
    let kept = job.steps[..index].iter().any(|step| {
        step.is("actions/cache")
            || step.is("actions/cache/restore")
            || KEEPERS.iter().any(|(name, ..)| step.is(name))
    });
    let builds = |earlier: &usize| {
        let step = &job.steps[*earlier];
        let works = flow.facts[at][*earlier].commands.iter().any(|command| {
            command.program().trim_start_matches("./") == *program
                && command.words.iter().any(|word| verbs.contains(&word.as_str()))
                && !tools::is_question(command)
                && !command.words.iter().any(|word| word == "--manifest-path")
        });
        works && step.condition.is_none() && step.folder.is_none()
    };
    let Some(earlier) = (0..index).find(builds).filter(|_| !kept && step.condition.is_none()) else { return };
    restored_late(flow, at, (earlier, index), program, report);
}

/// Tells that the second of two steps of a job restores what the first has built without.
fn restored_late(
    flow: &Flow,
    at: usize,
    (earlier, late): (usize, usize),
    program: &str,
    report: &mut Report<'_>,
) {
    let job = &flow.model.jobs[at];
    let step = &job.steps[late];
    report
        .add(
            flow.file,
            step.uses.as_ref().map_or(step.span, |(text, _)| text.span),
            format!("`{}` restores the cache of `{program}` after it has built", job.id.text),
        )
        .also(flow.file, job.steps[earlier].span, "built here")
        .hint("move the cache in front of the first build")
        .done();
}

/// What programs keep for their next time, by parts of its path; the programs, and the kind of work that reads it.
const KEPT: &[(&str, &[&str], Kind)] = &[
    ("ccache", &["cmake", "make", "ninja", "meson", "scons", "xcodebuild"], Kind::Build),
    ("ms-playwright", &["playwright"], Kind::Setup),
    ("pre-commit", &["pre-commit", "prek"], Kind::Lint),
    (".mypy_cache", &["mypy"], Kind::Lint),
    (".eslintcache", &["eslint"], Kind::Lint),
    (".next/cache", &["next"], Kind::Build),
];

/// What a program keeps for its next time is restored after the only time that it runs.
fn late_compiler(flow: &Flow, at: usize, index: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let step = &job.steps[index];
    if !step.is("actions/cache") || step.condition.is_some() {
        return;
    }
    let Some(path) = step.input("path") else { return };
    let Some((part, programs, kind)) = KEPT.iter().find(|row| path.text.contains(row.0)) else { return };
    let runs = |index: &usize| {
        let facts = &flow.facts[at][*index];
        let fits = |command: &Command| {
            programs.contains(&command.program())
                && (*kind != Kind::Setup || command.words.iter().any(|word| word == "install"))
        };
        facts.commands.iter().any(fits) && (*kind != Kind::Build || facts.does(Kind::Build))
    };
    let unknown = |index: &usize| {
        let facts = &flow.facts[at][*index];
        runs(index)
            || facts.is_opaque()
            || facts.does(*kind)
            || job.steps[*index].uses.is_some() && facts.actions.is_empty()
    };
    let earlier = (0..index).find(|index| runs(index) && job.steps[*index].condition.is_none());
    let Some(earlier) = earlier.filter(|_| !(index + 1..job.steps.len()).any(|later| unknown(&later))) else {
        return;
    };
    report
        .add(
            flow.file,
            step.uses.as_ref().map_or(step.span, |(text, _)| text.span),
            format!(
                "`{}` restores what `{}` keeps after the only time that it runs",
                job.id.text,
                part.trim_start_matches('.')
            ),
        )
        .also(flow.file, job.steps[earlier].span, "it runs here")
        .hint("move the cache in front of it")
        .done();
}

/// Returns the tool whose files a step restores.
pub(super) fn restored(step: &Step) -> Option<&'static Installer> {
    if !step.is("actions/cache") && !step.is("actions/cache/restore") {
        return None;
    }
    let path = step.input("path")?;
    let specific = |installer: &&Installer| {
        installer.paths.iter().any(|part| part != &"node_modules" && path.text.contains(part))
    };
    let modules = |installer: &&Installer| {
        path.text.contains("node_modules")
            && installer.paths.contains(&"node_modules")
            && lock_fits(step, installer)
    };
    // Several keep theirs in a folder of one name; the key tells whose it is.
    let owner = |installer: &&Installer| specific(installer) && lock_fits(step, installer);
    tools::INSTALLERS
        .iter()
        .find(owner)
        .or_else(|| tools::INSTALLERS.iter().find(specific))
        .or_else(|| tools::INSTALLERS.iter().find(modules))
        .or_else(|| {
            // A tool was asked where it keeps its downloads: `${{ steps.composer.outputs.dir }}`.
            let asked = path.text.trim().starts_with("${{ steps.") && !path.text.trim().contains('\n');
            let mut owners = tools::INSTALLERS.iter().filter(|installer| lock_fits(step, installer));
            owners.next().filter(|_| asked && owners.next().is_none())
        })
        .or_else(|| {
            path.text
                .contains("node_modules")
                .then(|| tools::INSTALLERS.iter().find(|installer| installer.name == "npm"))
                .flatten()
        })
}

fn lock_fits(step: &Step, installer: &Installer) -> bool {
    step.input("key").is_some_and(|key| installer.locks.iter().any(|lock| key.text.contains(lock)))
}
