//! An install that is skipped on a hit of a cache that holds only what the install downloads.

use kapell_spec::github::{Job, Step};
use kapell_view::audit::Severity;

use crate::{
    github::{
        Flow, StepFacts,
        tools::{self, Kind},
    },
    rule::Report,
};

/// Folders in which tools keep what they have fetched, and from which nothing is loaded.
const FETCHED: &[&str] = &[
    ".npm",
    ".cache/npm",
    ".cache/pip",
    "Library/Caches/pip",
    "pip/Cache",
    ".cache/yarn",
    ".cache/uv",
    ".cache/composer",
    ".cache/composer/files",
    ".composer/cache",
    ".composer/cache/files",
    ".pnpm-store",
    ".local/share/pnpm/store",
    ".bundle/cache",
];

/// What a tool is asked to learn where it keeps what it has fetched.
const ASKS_WHERE: &[&str] = &[
    "pnpm store path",
    "yarn cache dir",
    "yarn config get cacheFolder",
    "npm config get cache",
    "pip cache dir",
    "composer config cache-files-dir",
    "composer config cache-dir",
];

pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    for (index, step) in job.steps.iter().enumerate() {
        let Some(id) = step.id.as_ref().filter(|_| step.is("actions/cache") && only_fetched(job, step))
        else {
            continue;
        };
        let hit = format!("steps.{}.outputs.cache-hit!='true'", id.text);
        let steps: Vec<_> = flow.steps(at).skip(index + 1).collect();
        let skips = |step: &Step| {
            step.condition.as_ref().is_some_and(|own| {
                let plain: String = own.text.split_whitespace().collect();
                plain.trim_start_matches("${{").trim_end_matches("}}").replace('"', "'") == hit
            })
        };
        let installs =
            |facts: &StepFacts| facts.commands.iter().any(|command| tools::installer(command).is_some());
        let Some(first) = steps.iter().position(|(step, facts)| skips(step) && installs(facts)) else {
            continue;
        };
        // Whatever installs without asking makes up for it.
        let otherwise = flow.steps(at).any(|(step, facts)| installs(facts) && !skips(step));
        let needs = |facts: &StepFacts| {
            facts.works.iter().any(|done| matches!(done.work.kind, Kind::Test | Kind::Build | Kind::Lint))
        };
        let needed = steps[first + 1..].iter().find(|(step, facts)| needs(facts) && !skips(step));
        let Some((needed, _)) = needed.filter(|_| !otherwise) else { continue };
        let (install, _) = steps[first];
        report
            .add(
                flow.file,
                install.condition_span(),
                "a hit skips the install, but the cache holds only what it downloads: then nothing is installed"
                    .to_owned(),
            )
            .severity(Severity::High)
            .also(flow.file, step.span, "this cache")
            .also(flow.file, needed.name_span(), "needs what is installed")
            .hint("drop the condition: with the downloads at hand the install is quick")
            .done();
    }
}

/// Tells whether a cache holds nothing but what a tool has fetched.
fn only_fetched(job: &Job, step: &Step) -> bool {
    let Some(path) = step.input("path") else { return false };
    let fetched = |line: &str| {
        let plain = line.trim_end_matches('/');
        let plain = plain.strip_prefix("~/").or_else(|| plain.strip_prefix("$HOME/")).unwrap_or(plain);
        FETCHED.contains(&plain) || asked(job, line)
    };
    let mut lines = path.text.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    lines.peek().is_some() && lines.all(fetched)
}

/// Tells whether a path is an output of a step that has asked a tool where it keeps what it fetches.
fn asked(job: &Job, path: &str) -> bool {
    let id = path.strip_prefix("${{").and_then(|path| path.trim_start().strip_prefix("steps."));
    let id = id.and_then(|path| path.split('.').next());
    let named = |step: &&Step| step.id.as_ref().is_some_and(|own| Some(&*own.text) == id);
    job.steps
        .iter()
        .find(named)
        .is_some_and(|step| ASKS_WHERE.iter().any(|asks| step.script().contains(asks)))
}
