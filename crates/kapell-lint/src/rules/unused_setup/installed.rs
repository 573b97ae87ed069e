//! Programs that the last of what a job does installs.

use kapell_spec::github::Step;

use super::{programs::SELF_CONTAINED, works_with};
use crate::{
    github::{Flow, StepFacts, comments, script::Command, tools::Kind},
    repository::Repository,
    rule::Report,
};

/// Commands that install programs by their names.
const INSTALLS: &[&[&str]] = &[
    &["pipx", "install"],
    &["uv", "tool", "install"],
    &["npm", "install"],
    &["npm", "i"],
    &["yarn", "global", "add"],
    &["pnpm", "add"],
    &["cargo", "install"],
    &["cargo", "binstall"],
    &["gem", "install"],
    &["dotnet", "tool", "install"],
    &["brew", "install"],
    &["choco", "install"],
    &["apt-get", "install"],
    &["apt", "install"],
];

/// Returns the one program that a command installs for the whole machine.
fn installed(command: &Command) -> Option<&str> {
    let words = command.inner();
    let start = INSTALLS
        .iter()
        .find(|start| start.len() < words.len() && start.iter().zip(words).all(|(own, word)| own == word))?;
    let of_project = matches!(start[0], "npm" | "pnpm" | "dotnet")
        && !words.iter().any(|word| matches!(word.as_str(), "-g" | "--global"));
    let mut names = words[start.len()..].iter().filter(|word| !word.starts_with('-'));
    let name = names.next().filter(|_| !of_project)?;
    let name = name.split("==").next().and_then(|name| name.split('@').next()).unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    // A flag with a value, a second name and a path are no plain name.
    (names.next().is_none() && name.len() > 2 && name.chars().all(plain)).then_some(name)
}

/// Files that say what a repository itself gives to others.
const MANIFESTS: &[&str] =
    &["Cargo.toml", "pyproject.toml", "package.json", "setup.py", "setup.cfg", "meson.build", "go.mod"];

/// Tells whether the repository may itself be what is installed: then that is a test of it.
fn is_own(repository: &Repository, program: &str) -> bool {
    let names = |path: &&str| {
        repository.files.find(path).is_some_and(|file| repository.files[file].text.contains(program))
    };
    works_with(repository, program) || MANIFESTS.iter().any(names)
}

/// Tells whether a step can use no program that was installed before it: it prints something, or brings along what it runs.
fn brings_its_own(step: &Step, facts: &StepFacts) -> bool {
    let known = |name: &String| SELF_CONTAINED.iter().any(|known| name.starts_with(known));
    let silent = facts
        .commands
        .iter()
        .all(|command| matches!(command.program(), "echo" | "ls" | "cat" | "true" | "exit" | ""));
    silent
        && facts.actions.iter().all(known)
        && (step.uses.is_none() || !facts.actions.is_empty())
        && step.uses.as_ref().is_none_or(|(text, _)| !text.text.starts_with('.'))
}

/// Looks for a program that a job installs after all that it does.
pub(super) fn check(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    // On a machine that stays it is there for the next run.
    let stays = job.container || job.runs_on.iter().any(|label| label.text.contains("self-hosted"));
    let all: Vec<(&Step, &StepFacts)> = flow.steps(at).collect();
    let behind = all.iter().rev().take_while(|(step, facts)| brings_its_own(step, facts)).count();
    let Some(index) = (all.len() - behind).checked_sub(1).filter(|_| !stays) else { return };
    let (step, facts) = all[index];
    let lists = |command: &&Command| command.inner().get(1).is_some_and(|word| word == "update");
    let mut commands = facts.commands.iter().filter(|command| !lists(command));
    let (Some(command), None) = (commands.next(), commands.next()) else { return };
    let Some(program) = installed(command).filter(|_| command.depth == 0 && !command.asked) else { return };
    let works = |kind: Kind| matches!(kind, Kind::Test | Kind::Build | Kind::Lint);
    // Where nothing else is done, the installation is what is tried.
    let tried = !all[..index].iter().any(|(_, facts)| facts.works.iter().any(|done| works(done.work.kind)));
    let text = |from: u32, to: u32| flow.text.get(from as usize..to as usize).unwrap_or_default();
    let named = text(job.span.start, step.span.start).contains(program)
        || text(step.span.end, job.span.end).contains(program);
    if tried || named || is_own(repository, program) {
        return;
    }
    let draft = report
        .add(
            flow.file,
            step.name_span(),
            format!("`{}` installs `{program}`, and nothing behind that uses it", job.id.text),
        )
        .hint("drop the step, or use what it installs");
    match comments::explains(flow, step.span, 4, &["need", "for ", "require", "used", "try", "test"]) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}
