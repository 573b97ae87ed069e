//! The key of a cache never changes, so its content grows old.

mod browsers; // programs of a package that a hit keeps as they are
mod elsewhere; // lock files that lie in a folder, and are looked for at the top
mod systems; // one key for what is built on several systems

use super::cache_after_install::restored;
use crate::github::{
    Flow, StepFacts, comments,
    facts::Done,
    tools::{self, Installer, Kind},
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::github::{Job, Step};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/cache-key-without-lock.md`.
pub(super) static RULE: Rule = Rule {
    name: "cache-key-without-lock",
    summary: "The key of a cache never changes, so its content grows old",
    group: Group::Cache,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/cache-key-without-lock.md"),
    check,
};

/// Parts of a key, in small letters, that change as what is kept does, or that may.
const MOVES: &[&str] = &[
    "hashfiles",
    "github.sha",
    "run_id",
    "run_number",
    "steps.",
    "needs.",
    "inputs.",
    "date",
    "week",
    "hash",
    "env.",
    "version",
    "vars.",
    "checksum",
    "matrix.cache",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            for (index, step) in job.steps.iter().enumerate() {
                systems::check(flow, job, step, report);
                browsers::check(flow, at, index, report);
                if before_checkout(flow, at, index, report)
                    || of_itself(flow, step, report)
                    || slip(repository, flow, step, report)
                    || elsewhere::check(repository, flow, (at, step), report)
                    || of_another_tool(repository, flow, (at, step), report)
                {
                    continue;
                }
                let Some(installer) = restored(step).or_else(|| asked(job, step)) else { continue };
                let Some(key) = step.input("key") else { continue };
                by_manifest(flow, (at, index), installer.name, report);
                other_file(repository, flow, (step, &flow.facts[at]), report);
                // One that was meant to move is told of as an expression.
                if key.text.replace("${{", "").contains("{{") {
                    continue;
                }
                let lower = without_versions(job, &resolved(flow, job, &key.text)).to_ascii_lowercase();
                if MOVES.iter().any(|word| lower.contains(word))
                    || step.is("actions/cache/restore")
                    || installer.name == "cargo" && lower.contains("toolchain")
                {
                    continue;
                }
                let skips = skips_install(flow, at, step);
                let draft = report
                    .add(
                        flow.file,
                        key.span,
                        format!(
                            "the key `{}` never changes, so what `{}` saved first is kept for ever{}",
                            key.text.trim(),
                            installer.name,
                            if skips { ", and nothing is installed beside it" } else { "" }
                        ),
                    )
                    .severity(if skips { Severity::High } else { Severity::Medium })
                    .hint(format!("add `${{{{ hashFiles('**/{}') }}}}` to the key", installer.locks[0]));
                match comments::explains(
                    flow,
                    step.span,
                    8,
                    &[
                        "the key",
                        "this key",
                        "static key",
                        "fixed key",
                        "never",
                        "static",
                        "purpose",
                        "rolling",
                        "by hand",
                        "bump",
                    ],
                ) {
                    Some(comment) => draft.explained(comment).done(),
                    None => draft.done(),
                }
            }
        }
    }
}

/// Tells whether a job installs only where this cache was not found: what the lock file asks for later is never there.
fn skips_install(flow: &Flow, at: usize, cache: &Step) -> bool {
    let Some(id) = &cache.id else { return false };
    let found = format!("steps.{}.outputs.cache-hit", id.text);
    let mut steps = flow.steps(at).filter(|(_, facts)| facts.does(Kind::Install)).peekable();
    let asks = |step: &Step| {
        step.condition.as_ref().is_some_and(|own| own.text.contains(&*found) && own.text.contains("!="))
    };
    steps.peek().is_some() && steps.all(|(step, _)| asks(step))
}

/// Returns what a key hashes, if it does so once.
fn hashed(key: &str) -> Option<&str> {
    let mut all = key.split("hashFiles(").skip(1);
    let (only, None) = (all.next()?, all.next()) else { return None };
    only.split(')').next()
}

/// The key hashes a file that is not there, but for a slip of the fingers: the hash is empty, and the key never changes.
fn slip(repository: &Repository, flow: &Flow, step: &Step, report: &mut Report<'_>) -> bool {
    let Some(key) = step.input("key").filter(|_| step.is("actions/cache")) else { return false };
    let Some(files) = hashed(&key.text) else { return false };
    let names: Vec<&str> = files.split(',').map(|file| file.trim().trim_matches(['\'', '"'])).collect();
    let [pattern] = names[..] else { return false };
    let name = pattern.rsplit('/').next().unwrap_or(pattern);
    let plain = name.len() > 4 && !name.contains(['*', '$', '?', '[', '{']);
    if !plain {
        return false;
    }
    let of = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let there: Vec<String> = repository
        .files
        .others()
        .map(of)
        .chain(repository.files.iter().map(|(_, file)| of(&file.path)))
        .collect();
    let locks = || tools::INSTALLERS.iter().flat_map(|installer| installer.locks).copied();
    if there.iter().any(|known| known == name) || locks().any(|lock| lock == name) {
        return false;
    }
    let lock = kapell_spec::suggest::mistyped(name, locks(), 2)
        .filter(|lock| there.iter().any(|known| known == lock));
    let Some(lock) = lock else { return false };
    report
        .add(
            flow.file,
            key.span,
            format!("there is no `{name}` to hash, so the key never changes: the lock file is `{lock}`"),
        )
        .hint(format!("take `${{{{ hashFiles('**/{lock}') }}}}` for the key"))
        .done();
    true
}

/// The key hashes what it restores: before that there is nothing, so the hash is always the empty one.
fn of_itself(flow: &Flow, step: &Step, report: &mut Report<'_>) -> bool {
    let (Some(key), Some(path)) = (step.input("key"), step.input("path")) else { return false };
    let Some(pattern) = hashed(&key.text) else { return false };
    let clean = |text: &str| text.trim().trim_matches(['\'', '"']).trim_start_matches("./").to_owned();
    let pattern = clean(pattern);
    let mut paths =
        path.text.lines().map(clean).filter(|path| !path.is_empty() && !path.contains(['*', '$', '~']));
    let within = |path: String| {
        let path = path.trim_end_matches('/');
        pattern.strip_prefix(path).is_some_and(|rest| matches!(rest, "/**" | "/**/*" | "/*"))
    };
    // A cache that is only saved comes behind what fills it.
    let own = step.is("actions/cache") && paths.any(within);
    if own {
        report
            .add(
                flow.file,
                key.span,
                format!("the key hashes `{pattern}`, which this cache brings: before that it is empty, so the key never changes"),
            )
            .hint("hash what the content is made from, or add `github.run_id` and `restore-keys`")
            .done();
    }
    own
}

/// The key hashes the lock file of a tool that the repository does not use, as another one's lies there: the hash is empty.
fn of_another_tool(
    repository: &Repository,
    flow: &Flow,
    (at, step): (usize, &Step),
    report: &mut Report<'_>,
) -> bool {
    let Some(key) = step.input("key").filter(|_| step.is("actions/cache")) else { return false };
    let Some(files) = hashed(&key.text) else { return false };
    let name = files.trim().trim_matches(['\'', '"']);
    let name = name.strip_prefix("**/").or_else(|| name.strip_prefix("./")).unwrap_or(name);
    let (folder, name) = name.rsplit_once('/').map_or(("", name), |(folder, name)| (folder, name));
    // Manifests are no locks; they are judged elsewhere.
    if name.contains(['*', ',', '$']) || folder.contains(['*', '$', '{']) || !name.contains("lock") {
        return false;
    }
    let beside = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let named = |path: &str| path.rsplit('/').next() == Some(name) && path.starts_with(folder);
    let files = &repository.files;
    let runs = |installer: &&Installer| {
        let commands = flow.facts[at].iter().flat_map(|facts| &facts.commands);
        commands.filter_map(tools::installer).any(|found| found.name == installer.name)
    };
    let mut used = tools::INSTALLERS.iter().filter(runs).flat_map(|installer| installer.locks);
    let known = tools::INSTALLERS.iter().any(|installer| installer.locks.contains(&name));
    let Some(lock) = used.clone().find(|lock| files.exists(&beside(lock))).filter(|_| known) else {
        return false;
    };
    let there = files.others().any(named) || files.iter().any(|(_, file)| named(&file.path));
    if there || used.any(|lock| *lock == name) {
        return false;
    }
    report
        .add(
            flow.file,
            key.span,
            format!(
                "there is no `{}` to hash, so the key never changes: the lock file is `{lock}`",
                beside(name)
            ),
        )
        .hint(format!("take `${{{{ hashFiles('{}') }}}}` for the key", beside(lock)))
        .done();
    true
}

/// What a tool is asked to learn where it keeps what it has fetched, and its name.
const ASKS_WHERE: &[(&str, &str)] = &[
    ("pnpm store path", "pnpm"),
    ("yarn cache dir", "yarn"),
    ("yarn config get cacheFolder", "yarn"),
    ("npm config get cache", "npm"),
    ("pip cache dir", "pip"),
    ("composer config cache-files-dir", "composer"),
    ("composer config cache-dir", "composer"),
    ("poetry config cache-dir", "poetry"),
    ("poetry config virtualenvs.path", "poetry"),
    ("go env GOMODCACHE", "go"),
];

/// Finds the tool that a step before was asked for the path: `${{ steps.store.outputs.dir }}`.
fn asked(job: &Job, step: &Step) -> Option<&'static Installer> {
    if !step.is("actions/cache") {
        return None;
    }
    let path = step.input("path")?.text.trim();
    let id = path.strip_prefix("${{")?.trim_start().strip_prefix("steps.")?.split('.').next()?;
    let source = job.steps.iter().find(|other| other.id.as_ref().is_some_and(|own| &*own.text == id))?;
    let (_, name) = ASKS_WHERE.iter().find(|(asks, _)| source.script().contains(asks))?;
    tools::INSTALLERS.iter().find(|installer| installer.name == *name)
}

/// The key hashes a file beside the lock file that lies in the repository and decides what is installed.
fn other_file(
    repository: &Repository,
    flow: &Flow,
    (step, facts): (&Step, &[StepFacts]),
    report: &mut Report<'_>,
) {
    let Some(key) = step.input("key").filter(|_| step.id.is_none()) else { return };
    // Of tools with one manifest the one counts that the job runs.
    let runs = |tool: &str| {
        let program = if tool == "bundler" { "bundle" } else { tool };
        facts.iter().flat_map(|facts| &facts.commands).any(|command| command.program() == program)
    };
    let Some((_, manifest, lock)) =
        hashes_manifest(repository, &key.text).into_iter().flatten().find(|(tool, ..)| runs(tool))
    else {
        return;
    };
    let moves = ["github.sha", "run_id", "date", "week", "steps.", "needs."];
    // What is installed is kept here, and not only what was fetched for it.
    let path = step.input("path").map_or("", |path| &path.text);
    let installed = path.lines().any(|line| {
        let line = line.trim().trim_matches(['\'', '"']).trim_end_matches('/');
        INSTALLED.iter().any(|folder| line == *folder || line.ends_with(&format!("/{folder}")))
    });
    if !installed || moves.iter().any(|word| key.text.contains(word)) {
        return;
    }
    report
        .add(
            flow.file,
            key.span,
            format!("the key hashes `{manifest}`, and `{lock}` decides what is installed: an update of it gets what was kept before"),
        )
        .confidence(Confidence::Medium)
        .hint(format!("take `${{{{ hashFiles('{lock}') }}}}` for the key"))
        .done();
}

/// Returns the tools, the manifest and the lock file beside it, where a key hashes the manifest and nothing else.
pub(super) fn hashes_manifest(
    repository: &Repository,
    key: &str,
) -> Option<Vec<(&'static str, &'static str, &'static str)>> {
    let name = hashed(key)?.trim().trim_matches(['\'', '"']);
    let name = name.strip_prefix("**/").or_else(|| name.strip_prefix("./")).unwrap_or(name);
    let lock = |locks: &[&'static str]| locks.iter().copied().find(|lock| repository.files.exists(lock));
    let rows = MANIFESTS.iter().filter(|row| row.1 == name);
    let found: Vec<_> = rows.filter_map(|row| Some((row.0, row.1, lock(row.2)?))).collect();
    (!found.is_empty()).then_some(found)
}

/// What says which dependencies are wanted, where another file says which there are: tool, manifest, lock files.
const MANIFESTS: &[(&str, &str, &[&str])] = &[
    ("npm", "package.json", &["package-lock.json", "npm-shrinkwrap.json"]),
    ("yarn", "package.json", &["yarn.lock"]),
    ("pnpm", "package.json", &["pnpm-lock.yaml"]),
    ("composer", "composer.json", &["composer.lock"]),
    ("bundler", "Gemfile", &["Gemfile.lock"]),
    ("poetry", "pyproject.toml", &["poetry.lock"]),
    ("uv", "pyproject.toml", &["uv.lock"]),
    ("pdm", "pyproject.toml", &["pdm.lock"]),
    ("pipenv", "Pipfile", &["Pipfile.lock"]),
    ("cargo", "Cargo.toml", &["Cargo.lock"]),
    ("mix", "mix.exs", &["mix.lock"]),
    ("pod", "Podfile", &["Podfile.lock"]),
    ("swift", "Package.swift", &["Package.resolved"]),
    ("flutter", "pubspec.yaml", &["pubspec.lock"]),
    ("dart", "pubspec.yaml", &["pubspec.lock"]),
];

/// Folders of what is installed, or built from it.
const INSTALLED: &[&str] = &[
    "node_modules",
    "vendor",
    "vendor/bundle",
    ".venv",
    "venv",
    "target",
    "deps",
    "_build",
    "Pods",
    ".build",
];

/// The key knows the manifest alone, and a hit skips the install: what the lock file says anew never arrives.
fn by_manifest(flow: &Flow, (at, index): (usize, usize), tool: &str, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let step = &job.steps[index];
    let (Some(key), Some(id)) = (step.input("key"), &step.id) else { return };
    let Some((_, manifest, locks)) = MANIFESTS.iter().find(|row| row.0 == tool) else { return };
    // Of a family of tools only one lock is there.
    let all = MANIFESTS.iter().flat_map(|row| row.2);
    let named = key.text.split(['\'', '"']).any(|part| part.rsplit('/').next() == Some(manifest));
    let moves = ["github.sha", "run_id", "date", "week", "steps.", "needs."];
    if !named
        || all.clone().any(|lock| key.text.contains(lock))
        || moves.iter().any(|word| key.text.contains(word))
    {
        return;
    }
    let hit = format!("steps.{}.outputs.cache-hit", id.text);
    let installs =
        |facts: &StepFacts| facts.commands.iter().any(|command| tools::installer(command).is_some());
    let mut later = flow.steps(at).skip(index + 1).filter(|(_, facts)| installs(facts));
    let asks = |step: &Step| step.condition.as_ref().is_some_and(|condition| condition.text.contains(&hit));
    let Some((install, _)) = later.next().filter(|(step, _)| asks(step)) else { return };
    // Whatever installs without asking brings it up to date.
    if later.any(|(step, _)| !asks(step)) {
        return;
    }
    report
        .add(
            flow.file,
            key.span,
            format!("the key knows `{manifest}` and no lock file, and a hit skips the install: an update of the lock alone never arrives"),
        )
        .confidence(Confidence::Medium)
        .also(flow.file, install.span, "skipped on a hit")
        .hint(format!("take `${{{{ hashFiles('**/{}') }}}}` for the key", locks[0]))
        .done();
}

/// `hashFiles` finds nothing before the files are there: the hash is empty, and the key never changes.
fn before_checkout(flow: &Flow, at: usize, index: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let step = &job.steps[index];
    let caches = ["actions/cache", "actions/cache/restore"].iter().any(|name| step.is(name));
    let Some(key) = step.input("key").filter(|key| caches && key.text.contains("hashFiles(")) else {
        return false;
    };
    // Its own runner may have files of another run.
    let own = job.runs_on.iter().any(|label| label.text.contains("self-hosted"));
    let gives = |facts: &StepFacts| {
        let unknown = |done: &Done| done.work.kind == Kind::Unknown && done.command.is_none();
        !facts.downloads.is_empty()
            || facts.works.iter().any(|done| done.work.kind == Kind::Checkout || unknown(done))
    };
    let fetches = ["clone", "checkout", "curl", "wget", "tar ", "unzip", "cp ", "download", "fetch", "sync"];
    let before = flow.facts[at][..index].iter().any(gives)
        || job.steps[..index].iter().any(|step| fetches.iter().any(|word| step.script().contains(word)));
    let after = job.steps[index + 1..]
        .iter()
        .find(|step| step.is("actions/checkout") && step.input("path").is_none());
    let Some(checkout) = after.filter(|_| !before && !own && !job.container) else { return false };
    report
        .add(
            flow.file,
            key.span,
            "`hashFiles` runs before the checkout and finds no file, so this key never changes".to_owned(),
        )
        .also(flow.file, checkout.span, "the files come here")
        .hint("move the checkout in front of the cache")
        .done();
    true
}

/// Returns a key with those variables replaced that the workflow sets to a plain text. One that is there to be raised by
/// hand stays.
fn resolved(flow: &Flow, job: &Job, key: &str) -> String {
    let mut out = key.to_owned();
    for (name, value) in flow.model.env.iter().chain(&job.env) {
        let by_hand = ["cache", "key", "bust", "epoch"]
            .iter()
            .any(|word| name.text.to_ascii_lowercase().contains(word));
        let Some(value) = value.literal().filter(|_| !by_hand) else { continue };
        for written in [format!("${{{{ env.{} }}}}", name.text), format!("${{{{env.{}}}}}", name.text)] {
            out = out.replace(&written, value);
        }
    }
    out
}

/// Returns a key without those expressions that are the version of a language: an output of what sets it up, or a value of
/// the matrix. It says nothing of the dependencies.
fn without_versions(job: &Job, key: &str) -> String {
    let sets_up = |id: &str| {
        let named = |step: &&Step| step.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id));
        let action = job.steps.iter().find(named).and_then(Step::action).and_then(|uses| uses.action());
        action.is_some_and(|name| name.contains("setup-"))
    };
    let mut out = String::with_capacity(key.len());
    let mut rest = key;
    while let Some((before, behind)) = rest.split_once("${{") {
        let Some((inner, after)) = behind.split_once("}}") else { break };
        let path: Vec<&str> = inner.trim().split('.').collect();
        let version = match path[..] {
            ["steps", id, "outputs", name] => name.ends_with("-version") && sets_up(id),
            ["matrix", name] => name.ends_with("-version"),
            _ => false,
        };
        out.push_str(before);
        if !version {
            out.extend(["${{", inner, "}}"]);
        }
        rest = after;
    }
    out + rest
}
