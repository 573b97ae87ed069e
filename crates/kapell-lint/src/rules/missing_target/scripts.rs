//! Scripts of the repository that steps run, and that are not there.

use kapell_spec::{
    github::{Job, Step},
    suggest,
};

use crate::{
    files::is_script,
    github::{Flow, StepFacts, script::Command},
    repository::Repository,
    rule::Report,
};

/// Words of what may bring files into the work tree, or go to another one.
const BRINGS: &[&str] = &[
    "cd ",
    "pushd",
    "git clone",
    "git checkout",
    "git switch",
    "git submodule",
    "curl",
    "wget",
    "tar ",
    "unzip",
    "cp ",
    "mv ",
    "ln ",
    "chmod",
    "make",
    "cmake",
    "configure",
    "install",
    "gh ",
    "download",
    "docker",
    "ssh",
    "generate",
    "build",
    "workspace",
    "cat >",
    "tee ",
    "> ",
];

/// Tells of a step that runs a script by its path where the folder is there and the script is not, right after a plain checkout
/// of the repository: the step fails.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.asked_flows() {
        // What is called from elsewhere has the files of its caller.
        if flow.model.event("workflow_call").is_some() {
            continue;
        }
        for (job, model) in flow.jobs().filter(|(_, job)| job.folder.is_none() && !job.container) {
            for (index, (step, facts)) in flow.steps(job).enumerate() {
                let text = step.script();
                if step.folder.is_some() {
                    continue;
                }
                let missing = missing(repository, (flow, model), facts, text);
                if let Some((command, path)) = missing.filter(|_| is_as_committed(&model.steps[..index])) {
                    tell(repository, (flow, step), command, path, report);
                }
            }
        }
    }
}

/// Tells whether a step checks out something else than the repository as it is, or into a folder of its own.
pub(super) fn checks_out_other(step: &Step) -> bool {
    let elsewhere = ["repository", "path", "ref", "sparse-checkout", "submodules"];
    step.is("actions/checkout") && elsewhere.iter().any(|key| step.input(key).is_some())
}

/// Tells whether steps have done nothing but to check the repository out as it is, and to set tools up.
fn is_as_committed(steps: &[Step]) -> bool {
    let checks_out = |step: &Step| step.is("actions/checkout");
    let plain = |step: &Step| {
        if checks_out(step) {
            return !checks_out_other(step);
        }
        match &step.uses {
            Some((text, _)) => {
                let name = text.split('@').next().unwrap_or(text);
                name.contains("/setup-") || name.contains("login") || name.contains("cache")
            }
            None => !BRINGS.iter().any(|word| step.script().contains(word)),
        }
    };
    steps.iter().any(checks_out) && steps.iter().all(plain)
}

/// Returns the first command that runs a script which is not there, and its path. One that the script asks for, or that another
/// file speaks of, may be made.
fn missing<'a>(
    repository: &Repository,
    (flow, job): (&Flow, &Job),
    facts: &'a StepFacts,
    text: &str,
) -> Option<(&'a Command, &'a str)> {
    for command in &facts.commands {
        let Some(path) = script(command).filter(|_| !command.asked && command.depth == 0) else { continue };
        let before = text.get(..command.start).unwrap_or_default();
        if BRINGS.iter().any(|word| before.contains(word)) {
            return None;
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let there = is_there(repository, job, path) || !repository.files.exists(folder);
        let told = || {
            let here = flow.text.matches(name).count() > 1;
            here || repository.files.iter().any(|(id, file)| id != flow.file && file.text.contains(name))
        };
        if !there && !told() {
            return Some((command, path));
        }
    }
    None
}

/// Tells whether a job finds a file of the repository by this path. Runners of Windows and macOS know no case.
fn is_there(repository: &Repository, job: &Job, path: &str) -> bool {
    let linux = !job.runs_on.is_empty() && job.runs_on.iter().all(|label| label.text.starts_with("ubuntu"));
    let alike = || all_paths(repository).any(|own| own.eq_ignore_ascii_case(path));
    repository.files.exists(path) || !linux && alike()
}

fn all_paths(repository: &Repository) -> impl Iterator<Item = &str> {
    repository.files.iter().map(|(_, file)| &*file.path).chain(repository.files.others())
}

/// Programs that run the script which they are given first.
const RUNNERS: &[&str] = &["bash", "sh", "node", "tsx", "ts-node", "python", "python3", "ruby", "php"];

/// Reads `./scripts/release.sh`, `bash scripts/release.sh`, `npx tsx scripts/report.ts`: a path in a folder of the repository.
fn script(command: &Command) -> Option<&str> {
    let runner = RUNNERS.contains(&command.program());
    let word = command.inner().get(usize::from(runner))?;
    let path = word.strip_prefix("./").unwrap_or(word);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let (folder, name) = path.rsplit_once('/')?;
    let fits =
        is_script(name) && !folder.is_empty() && !path.starts_with(['/', '.']) && path.chars().all(plain);
    let built = ["node_modules", "target", "dist", "build", "vendor", "bin", "out", "venv", ".venv", "tmp"];
    (fits && !folder.split('/').any(|part| built.contains(&part))).then_some(path)
}

fn tell(
    repository: &Repository,
    (flow, step): (&Flow, &Step),
    command: &Command,
    path: &str,
    report: &mut Report<'_>,
) {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let below = format!("{folder}/");
    let beside: Vec<&str> = all_paths(repository)
        .filter_map(|file| file.strip_prefix(&*below))
        .filter(|name| !name.contains('/') && is_script(name))
        .collect();
    let near = suggest::nearest(name, beside.iter().copied());
    let near = near.or(if let [only] = beside[..] { Some(only) } else { None });
    let hint = match near {
        Some(near) => format!("run `{folder}/{near}`, if that is meant"),
        None => "add the script, or drop the command".to_owned(),
    };
    report
        .add(
            flow.file,
            flow.script_line(step, command.start, ""),
            format!("there is no `{path}` in the repository: the step fails"),
        )
        .hint(hint)
        .done();
}
