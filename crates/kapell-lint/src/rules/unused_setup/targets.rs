//! A platform is installed for the compiler, and what is built is for the runner's own.

use kapell_spec::{
    finding::Span,
    github::{Job, Step},
};
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, StepFacts, tools::Kind},
    repository::Repository,
    rule::Report,
};

/// Actions that install a compiler, and the inputs that name further platforms.
const TOOLCHAINS: &[&str] =
    &["dtolnay/rust-toolchain", "actions-rust-lang/setup-rust-toolchain", "actions-rs/toolchain"];

/// Looks for a target of Rust that no later command of its job names.
pub(super) fn check(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    // A matrix, or settings of cargo, may choose it elsewhere.
    if job.matrix.is_some() || job.container {
        return;
    }
    let Some((index, target, span)) = installed(flow, at) else { return };
    let settings = [".cargo/config.toml", ".cargo/config", "rust-toolchain.toml"];
    if settings.iter().any(|path| repository.files.exists(path)) {
        return;
    }
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    let chosen = ["--target", "CARGO_BUILD_TARGET", "cross", "wasm-"];
    let again = text.matches(target).count() > 1 && named_again(job, index, target);
    if again || chosen.iter().any(|word| text.contains(word)) {
        return;
    }
    let later: Vec<(&Step, &StepFacts)> = flow.steps(at).skip(index + 1).collect();
    // All that comes behind it has to be cargo itself, on what it takes for granted.
    let plain = |facts: &StepFacts| {
        facts.commands.iter().filter(|command| !command.words.is_empty()).all(|command| {
            let cargo = command.program() == "cargo"
                && command
                    .words
                    .iter()
                    .any(|word| matches!(word.as_str(), "build" | "check" | "test" | "clippy"));
            cargo || matches!(command.program(), "echo" | "rustup" | "rustc" | "true")
        })
    };
    let asides = ["actions/cache", "swatinem/rust-cache", "actions/checkout"];
    let aside = |step: &Step| step.uses.is_none() || asides.iter().any(|name| step.is(name));
    let builds = later.iter().any(|(_, facts)| {
        facts.works.iter().any(|done| matches!(done.work.kind, Kind::Build | Kind::Test | Kind::Lint))
    });
    if !builds || !later.iter().all(|(step, facts)| aside(step) && plain(facts)) {
        return;
    }
    report
        .add(
            flow.file,
            span,
            format!("`{}` installs `{target}` and builds for the runner's own platform alone", job.id.text),
        )
        .severity(Severity::Medium)
        .hint(format!("write `--target {target}`"))
        .done();
}

/// Finds the step that installs one platform, with its name.
fn installed(flow: &Flow, at: usize) -> Option<(usize, &str, Span)> {
    flow.steps(at).enumerate().find_map(|(index, (step, facts))| {
        let by_action = || {
            let given = ["targets", "target"].iter().find_map(|name| step.input(name))?;
            let known = TOOLCHAINS.iter().any(|name| step.is(name));
            Some((given.literal().filter(|_| known)?.trim(), given.span))
        };
        let by_command = || {
            let command = facts.commands.iter().find(|command| command.begins("rustup target add"))?;
            let name = command.words.get(3).filter(|_| command.words.len() == 4)?;
            Some((name.as_str(), flow.script_line(step, command.start, "rustup")))
        };
        let (name, span) = by_action().or_else(by_command)?;
        let one = name.matches('-').count() >= 1 && !name.contains([',', ' ', '$', '\n']);
        one.then_some((index, name, span))
    })
}

/// Tells whether a step other than the one that installs a platform names it.
fn named_again(job: &Job, index: usize, target: &str) -> bool {
    job.steps.iter().enumerate().any(|(at, step)| at != index && step.script().contains(target))
        || job.env.iter().any(|(_, value)| value.text.contains(target))
}
