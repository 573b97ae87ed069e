//! A job publishes what only a job before it builds, and nothing brings that over.

use kapell_spec::github::Step;
use kapell_view::audit::Confidence;

use crate::{
    github::{Flow, StepFacts, script::Command, tools::Kind},
    packages::{MANIFEST, Package},
    repository::Repository,
    rule::Report,
};

/// Programs that may bring files from elsewhere.
const BRINGS: &[&str] = &[
    "curl", "wget", "gh", "aws", "gsutil", "gcloud", "az", "rsync", "scp", "tar", "unzip", "rclone", "oras",
    "docker",
];

pub(super) fn check(repository: &Repository, flow: &Flow, report: &mut Report<'_>) {
    for (at, _) in flow.jobs().filter(|(at, _)| !flow.closures[*at].is_empty()) {
        let published = flow.steps(at).find_map(|(step, facts)| {
            let what = publishes(repository, step, facts)?;
            Some((step, what))
        });
        let Some((step, what)) = published.filter(|_| has_only_sources(flow, at)) else { continue };
        let builds = |up: &&usize| flow.facts[**up].iter().any(|facts| what.built_by(facts));
        let Some(&built) = flow.closures[at].iter().find(builds) else { continue };
        let (id, built) = (&flow.model.jobs[at].id, &flow.model.jobs[built].id);
        report
            .add(
                flow.file,
                step.run.as_ref().map_or(step.name_span(), |run| run.span),
                format!(
                    "`{}` publishes what only `{}` builds: it checks out anew, and nothing brings that here",
                    id.text, built.text
                ),
            )
            .confidence(Confidence::Medium)
            .also(flow.file, built.span, "built here, and gone with its runner")
            .hint("upload what is built, and download it before it is published")
            .done();
    }
}

/// Tells whether a job has what it checks out, and nothing that is built, kept or brought from elsewhere.
fn has_only_sources(flow: &Flow, at: usize) -> bool {
    let plain = |facts: &StepFacts| {
        !facts.is_opaque()
            && facts.downloads.is_empty()
            && !facts.actions.iter().any(|name| name.starts_with("actions/cache"))
            && !facts.works.iter().any(|done| matches!(done.work.kind, Kind::Build | Kind::Download))
            && !facts.commands.iter().any(|command| BRINGS.contains(&command.program()))
    };
    let job = &flow.model.jobs[at];
    let plain_checkout = |step: &Step| {
        step.is("actions/checkout") && step.input("repository").is_none() && step.input("ref").is_none()
    };
    job.steps.iter().any(plain_checkout) && flow.facts[at].iter().all(plain)
}

/// What is published.
#[derive(Clone, Copy)]
enum Published {
    /// A package of npm.
    Npm,
    /// Packages of Python in `dist`.
    Wheels,
}

impl Published {
    /// Tells whether a step builds it.
    fn built_by(self, facts: &StepFacts) -> bool {
        let programs: &[&str] = match self {
            Self::Npm => &["npm", "pnpm", "yarn", "bun", "tsc", "tsup", "rollup", "vite"],
            Self::Wheels => {
                &["build", "uv", "hatch", "poetry", "pdm", "flit", "maturin", "python", "python3"]
            }
        };
        facts.works.iter().any(|done| {
            let command = done.command.map(|at| facts.commands[at].program());
            done.work.kind == Kind::Build && command.is_some_and(|program| programs.contains(&program))
        })
    }
}

/// Returns what a step publishes that has to be built before, and is not built by that.
///
/// Sources: npm, "scripts", section "Life Cycle Operation Order", `npm publish`; pypa/gh-action-pypi-publish, `packages-dir`
/// (`dist/` by default).
fn publishes(repository: &Repository, step: &Step, facts: &StepFacts) -> Option<Published> {
    if step.condition.is_some() {
        return None;
    }
    let folder = step.folder.as_ref().map(|folder| folder.literal()).map_or(Some(""), |folder| folder)?;
    let in_folder = |path: &str| match folder.trim_start_matches("./").trim_end_matches('/') {
        "" | "." => path.trim_start_matches("./").to_owned(),
        folder => format!("{folder}/{}", path.trim_start_matches("./")),
    };
    let wheels = |command: &Command| {
        let plain: Vec<&str> = command.inner().iter().map(String::as_str).take(2).collect();
        plain == ["twine", "upload"] || plain == ["uv", "publish"]
    };
    let by_action = step.is("pypa/gh-action-pypi-publish");
    if by_action || facts.commands.iter().any(|command| wheels(command) && command.depth == 0) {
        return (!repository.files.exists(&in_folder("dist"))).then_some(Published::Wheels);
    }
    let npm = |command: &&Command| {
        let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
        command.depth == 0
            && matches!(
                words[..],
                ["npm" | "pnpm", "publish", ..] | ["yarn", "npm", "publish", ..] | ["yarn", "publish", ..]
            )
    };
    let command = facts.commands.iter().find(npm)?;
    let of_many = ["-w", "--workspace", "--workspaces", "-r", "--recursive", "--filter", "--dry-run"];
    if command.words.iter().any(|word| of_many.iter().any(|flag| word.starts_with(flag))) {
        return None;
    }
    // A folder or an archive that is named.
    let named = command.words.iter().skip(1).find(|word| word.starts_with("./") && word.len() > 2);
    if let Some(path) = named {
        return (!path.contains(['$', '*']) && !repository.files.exists(&in_folder(path)))
            .then_some(Published::Npm);
    }
    let package = Package::of(&repository.files[repository.files.find(&in_folder(MANIFEST))?])?;
    let has = |name: &str| package.script(name).is_some();
    let builds_then = ["prepublishOnly", "prepublish", "prepack", "prepare"];
    let ignored = command.words.iter().any(|word| word == "--ignore-scripts");
    let by_itself = builds_then.into_iter().any(has) && (!ignored || has("prepare"));
    let entries: Vec<String> = package.entries().map(in_folder).collect();
    let there = match &entries[..] {
        [] => ["index.js", "index.mjs", "index.cjs"]
            .iter()
            .any(|name| repository.files.exists(&in_folder(name))),
        entries => entries.iter().any(|entry| repository.files.exists(entry)),
    };
    let plain = package.bin.is_none() && package.exports.is_none() || !entries.is_empty();
    (!by_itself && !there && plain && has("build")).then_some(Published::Npm)
}
