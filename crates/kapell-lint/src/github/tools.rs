//! What programs and actions do, how long they take, and what they cache: data, with a version.
//!
//! Times are priors for a job on a hosted runner with two to four cores, in seconds, from the order of magnitude of
//! public runs; recorded durations replace them.

mod installers;
mod kind;
mod nested;
mod rollouts;
mod special;
mod table;

pub use self::installers::{INSTALLERS, Installer, KEEP_NOTHING, installer};
pub use self::kind::{Kind, Work};
pub(crate) use self::nested::{DEPTH, nested};
pub(crate) use self::rollouts::{Old, goes_back, may_only_ask, only_asks, rollout, waits};

use kapell_spec::github::Step;

use self::kind::work;
use self::special::special;
use self::table::{SCRIPT_WORDS, TRIVIAL};
use super::script::Command;
use crate::files::is_script;

/// The version of the tables, raised with every change of them.
pub const TABLES: u32 = 5;

/// Flags of programs that stand between the program and its command, and take a value.
const VALUE_FLAGS: &[&str] = &[
    "--prefix",
    "-w",
    "--workspace",
    "--filter",
    "-F",
    "-C",
    "--cwd",
    "--dir",
    "-f",
    "--file",
    "--project-name",
    "-p",
];

/// The same flags of programs that speak to something far away, or work in another folder.
const VALUE_FLAGS_OF: &[(&[&str], &[&str])] = &[
    (
        &["kubectl", "oc", "helm"],
        &["-n", "--namespace", "--context", "--kube-context", "--kubeconfig", "--cluster", "-s", "--server"],
    ),
    (
        &["docker", "docker-compose", "podman"],
        &["-f", "--file", "-p", "--project-name", "--env-file", "--profile", "-H", "--host", "--context"],
    ),
    (&["git"], &["-C", "-c", "--git-dir", "--work-tree"]),
    (&["gh"], &["-R", "--repo"]),
    (&["gradle", "gradlew"], &["-x", "--exclude-task", "--project-dir"]),
    (&["aws"], &["--profile", "--region", "--endpoint-url", "--output"]),
    (&["gcloud"], &["--project", "--account", "--format"]),
    (&["uv", "poetry"], &["--directory", "--project", "-C"]),
    (
        &["helmfile"],
        &["-e", "--environment", "-f", "--file", "-l", "--selector", "-n", "--namespace", "--kube-context"],
    ),
];

/// Tells whether the word behind a flag is its value, and no command.
fn takes_value(program: &str, flag: &str) -> bool {
    SCRIPT_RUNNERS.contains(&program) && VALUE_FLAGS.contains(&flag)
        || VALUE_FLAGS_OF.iter().any(|(programs, flags)| programs.contains(&program) && flags.contains(&flag))
}

/// Programs whose commands are named by the words after them.
const SCRIPT_RUNNERS: &[&str] = &[
    "npm", "pnpm", "yarn", "bun", "make", "just", "task", "nx", "turbo", "lerna", "rake", "invoke", "poe",
    "deno",
];

/// Tells whether what a program does is named by the words after it: `npm run report`.
pub(crate) fn runs_scripts(program: &str) -> bool {
    SCRIPT_RUNNERS.contains(&program)
}

/// Tells what a command does.
#[must_use]
pub fn command(command: &Command) -> Work {
    let program = command.program();
    // `{ ...; } >> file` ends with no program.
    if TRIVIAL.contains(&program) || program.is_empty() || program.starts_with('>') {
        // `make install` is written differently, and `install` copies files.
        let seconds = if program == "sleep" {
            command.inner().get(1).and_then(|word| word.parse().ok()).unwrap_or(1)
        } else {
            0
        };
        return work(Kind::Trivial, seconds);
    }
    let words = plain_words(command, program);
    if asks_what_it_is(program, &words) {
        return work(Kind::Trivial, 1);
    }
    if is_dry(command) {
        return work(Kind::Lint, 10);
    }
    if let Some(found) = special(program, &words, command).or_else(|| by_tasks(program, &words)) {
        return found;
    }
    if SCRIPT_RUNNERS.contains(&program)
        && let Some(found) = by_script(&words[1..])
    {
        return found;
    }
    if let Some(found) = by_runner(program, &words) {
        return found;
    }
    let mut prefix = words[..words.len().min(4)].join(" ");
    for len in (1..=words.len().min(4)).rev() {
        if let Some(found) = table::command(&prefix) {
            return found;
        }
        prefix.truncate(prefix.len().saturating_sub(words[len - 1].len() + 1));
    }
    let first = command.inner().first().map_or("", String::as_str);
    let is_path = first.contains('/');
    let interpreter =
        ["bash", "sh", "node", "python", "python3", "ruby", "perl", "pwsh", "tsx", "ts-node", "deno"]
            .contains(&program);
    if is_path || interpreter {
        let name = if interpreter {
            words.iter().skip(1).find(|word| !word.starts_with('-'))
        } else {
            words.first()
        };
        if let Some(name) = name {
            let by_name = || {
                by_words(file_stem(name))
                    .or_else(|| by_folder(if interpreter { name } else { first }))
                    .filter(|work| !work.kind.mutates())
            };
            return mutation_in_name(name)
                .map(|kind| work(kind, 60))
                .or_else(by_name)
                .unwrap_or(work(Kind::Unknown, 20));
        }
    }
    work(Kind::Unknown, 20)
}

/// Tells whether the command only pretends.
fn is_dry(command: &Command) -> bool {
    command.words.iter().any(|word| {
        matches!(
            word.as_str(),
            "--dry-run" | "--dryrun" | "--dry-run=client" | "--dry-run=server" | "--no-push"
        )
    })
}

/// Returns a command as text, without flags in front of what it does: `kubectl apply -f x` of `kubectl -n a apply -f x`.
#[must_use]
pub fn plain_text(command: &Command) -> String {
    plain_words(command, command.program()).join(" ")
}

/// Tells whether a program, or one of its commands, is only asked what it is: `cargo clippy --version`.
#[must_use]
pub fn is_question(command: &Command) -> bool {
    let program = command.program();
    asks_what_it_is(program, &plain_words(command, program))
}

fn asks_what_it_is(program: &str, words: &[String]) -> bool {
    // `ctest -V` says more while it tests.
    let asks = |word: &String| word == "--version" || word == "--help" || word == "-V" && program != "ctest";
    words.len() <= 3 && words.last().is_some_and(asks)
}

/// Returns the words without flags in front of the command they belong to, and without a toolchain.
fn plain_words(command: &Command, program: &str) -> Vec<String> {
    let mut words = vec![program.to_owned()];
    let mut rest = command.inner().iter().skip(1).peekable();
    while let Some(word) = rest.next() {
        if word.starts_with('+') && program == "cargo" {
            continue;
        }
        if word.starts_with('-') && words.len() < 3 {
            if word == "--" {
                break;
            }
            if word == "--version" || word == "--help" || word == "-V" {
                words.push(word.clone());
            }
            if takes_value(program, word) {
                rest.next();
            }
            continue;
        }
        words.push(word.clone());
    }
    words
}

/// Tells what several tasks in a row come to, of which one tests: `rails db:prepare test`, `make build check`.
fn by_tasks(program: &str, words: &[String]) -> Option<Work> {
    if !matches!(program, "rails" | "rake" | "make") || words.len() < 3 {
        return None;
    }
    let task = |word: &String| match program {
        "rails" => table::command(&format!("rails {word}")),
        _ => by_words(word),
    };
    let plain = words[1..].iter().filter(|word| !word.starts_with('-') && !word.contains(['=', '/']));
    let all: Vec<Work> = plain.filter_map(task).collect();
    let outward = all.iter().any(|work| work.kind.mutates());
    all.into_iter().find(|work| work.kind == Kind::Test && !outward)
}

/// Tells what a program does that a package manager runs by its name: `yarn sls deploy`.
fn by_runner(program: &str, words: &[String]) -> Option<Work> {
    if !matches!(program, "npm" | "pnpm" | "yarn" | "bun") {
        return None;
    }
    let rest =
        words.iter().skip(1).filter(|word| !matches!(word.as_str(), "run" | "run-script" | "exec" | "--"));
    let rest: Vec<&str> = rest.map(String::as_str).take(3).collect();
    let named = (2..=rest.len())
        .rev()
        .find_map(|len| table::command(&rest[..len].join(" ")))
        .filter(|work| work.kind.mutates() || work.kind.checks());
    // A program that tests has its name for itself: `pnpm vitest run`.
    let tests = || table::command(rest.first()?).filter(|work| work.kind == Kind::Test);
    named.or_else(tests)
}

/// Tells what `npm run x` or `make x` does, by the name of the script.
fn by_script(words: &[String]) -> Option<Work> {
    let mut words = words
        .iter()
        .filter(|word| !matches!(word.as_str(), "run" | "run-script" | "-s" | "task" | "affected"));
    let name = words.next()?;
    if matches!(
        name.as_str(),
        "ci" | "i"
            | "install"
            | "publish"
            | "audit"
            | "version"
            | "pack"
            | "view"
            | "pkg"
            | "config"
            | "exec"
            | "store"
            | "add"
            | "dlx"
            | "npm"
    ) {
        return None;
    }
    by_words(name)
}

fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty())
}

fn by_words(name: &str) -> Option<Work> {
    let name = name.to_ascii_lowercase();
    // What git runs before it pushes only checks.
    if name.contains("pre-push") || name.contains("pre_push") {
        return Some(work(Kind::Lint, 40));
    }
    SCRIPT_WORDS.iter().find(|row| parts(&name).any(|part| part == row.0)).map(|row| work(row.1, row.2))
}

/// Tells whether the name of a script says that it changes the outside.
fn mutation_in_name(name: &str) -> Option<Kind> {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let mut all = parts(&file);
    let first = all.next()?;
    // What is written about a release is none.
    let about = |part: &str| matches!(part, "note" | "notes" | "changelog");
    match first {
        "deploy" | "promote" => Some(Kind::Deploy),
        "publish" => Some(Kind::Publish),
        "release" if !all.next().is_some_and(about) => Some(Kind::Release),
        _ => None,
    }
}

/// Tells what a script of a general name does by the folder that it lies in: `./suite/run.sh`.
fn by_folder(name: &str) -> Option<Work> {
    let (folders, _) = name.rsplit_once('/')?;
    let folder = folders.rsplit('/').next()?;
    let general = ["run", "main", "all", "start", "index", "ci", "runner"].contains(&file_stem(name));
    by_words(folder).filter(|work| general && work.kind == Kind::Test)
}

fn file_stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.split('.').next().unwrap_or(file)
}

/// What Bundler and Rails write into a repository to start a program: nothing but that program.
///
/// Source: Bundler, "bundle binstubs"; Rails, "Command Line".
const BINSTUBS: &[&str] = &["bin/rails", "bin/rake", "bin/bundle", "bin/rspec"];

/// Tells whether a command runs a script of the repository, of which nothing is known but its name.
#[must_use]
pub fn is_own_script(command: &Command) -> bool {
    let first = command.inner().first().map_or("", String::as_str);
    let wrapper = matches!(command.program(), "gradlew" | "mvnw")
        || BINSTUBS.contains(&first.strip_prefix("./").unwrap_or(first));
    first.contains('/') && !wrapper && !first.starts_with("/usr") && !first.starts_with("/bin")
        || command.inner().iter().take(3).any(|word| is_script(word))
}

/// Tells whether all that is known of a command is the name that somebody gave to a script.
#[must_use]
pub fn is_by_name(command: &Command) -> bool {
    let program = command.program();
    let words = plain_words(command, program);
    let prefix = words[..words.len().min(2)].join(" ");
    SCRIPT_RUNNERS.contains(&program) && table::command(&prefix).is_none()
}

/// Tells what an action does.
#[must_use]
pub fn action(name: &str, step: &Step) -> Work {
    // `owner/name/part` is mostly for what `owner/name` is for.
    let outer = || name.match_indices('/').nth(1).and_then(|(end, _)| table::action(&name[..end]));
    let found =
        table::action(name).or_else(outer).or_else(|| by_convention(name)).unwrap_or(work(Kind::Unknown, 15));
    let yes = |input: &str| step.input(input).is_some_and(|text| !text.is("false"));
    match name {
        "docker/build-push-action" if !yes("push") => {
            let platforms = step.input("platforms").map_or(1, |text| 1 + text.text.matches(',').count());
            work(Kind::Build, 180 * u32::try_from(platforms).unwrap_or(1))
        }
        "docker/build-push-action" | "docker/bake-action" | "depot/build-push-action" if yes("push") => {
            // An expression may say no.
            if step.input("push").is_some_and(|text| text.is("true")) {
                work(Kind::Publish, 200)
            } else {
                work(Kind::Publish, 180)
            }
        }
        "goreleaser/goreleaser-action"
            if step.input("args").is_some_and(|args| {
                let stays = ["--snapshot", "--skip-publish", "--skip=publish", "--skip publish"];
                stays.iter().chain(&["check", "build"]).any(|word| args.contains(word))
            }) =>
        {
            work(Kind::Build, 240)
        }
        "cloudflare/wrangler-action" if step.input("command").is_some_and(|text| text.contains("pages")) => {
            work(Kind::Pages, 30)
        }
        "actions-rs/cargo" => {
            let command = step.input("command").map_or("", |text| text.text.trim());
            let rest = step.input("args").map_or("", |text| &text.text);
            if rest.contains("--dry-run") {
                return work(Kind::Lint, 10);
            }
            table::command(&format!("cargo {command}")).unwrap_or(found)
        }
        "release-drafter/release-drafter" => work(Kind::Report, 4),
        "superfly/flyctl-actions" => work(Kind::Deploy, 90),
        _ => found,
    }
}

/// Tells what an action nobody knows does, where its name follows a custom that nearly all keep.
fn by_convention(name: &str) -> Option<Work> {
    let own = name.split('/').next_back()?.to_ascii_lowercase();
    let words: Vec<&str> =
        parts(&own).filter(|word| !matches!(*word, "action" | "actions" | "gh" | "gha" | "github")).collect();
    let (first, last) = (words.first()?, words.last()?);
    let has = |any: &[&str]| words.iter().any(|word| any.contains(word));
    if *first == "setup" || *first == "install" || *last == "setup" || *last == "installer" {
        return Some(work(Kind::Setup, 10));
    }
    if *first == "lint" || *last == "lint" || *last == "linter" || *last == "lints" {
        return Some(work(Kind::Lint, 20));
    }
    has(&[
        "slack",
        "discord",
        "telegram",
        "notify",
        "notification",
        "notifier",
        "labeler",
        "comment",
        "commenter",
    ])
    .then_some(work(Kind::Report, 3))
}

#[cfg(test)]
mod tests {
    use super::{super::script::commands, *};

    #[test]
    fn commands_are_known_by_their_words() {
        let kind = |script: &str| command(&commands(script)[0]).kind;
        let cases = [
            ("npm ci", Kind::Install),
            ("npm run build --if-present", Kind::Build),
            ("npm --prefix web run lint:fix", Kind::Lint),
            ("pnpm -r test", Kind::Test),
            ("yarn", Kind::Install),
            ("cargo +nightly clippy --all -- -D warnings", Kind::Lint),
            ("uv run pytest -x", Kind::Test),
            ("yarn cdk deploy --all", Kind::Deploy),
            ("pnpm vitest run", Kind::Test),
            ("yarn jest --ci", Kind::Test),
            ("yarn sls deploy --stage prod", Kind::Deploy),
            ("ansible-playbook -i prod --syntax-check site.yml", Kind::Lint),
            ("git push --atomic origin main \"$V\"", Kind::Tag),
            ("make test-all", Kind::Test),
            ("make", Kind::Unknown),
            ("git push", Kind::Push),
            ("git push origin --tags", Kind::Tag),
            ("git commit -m x", Kind::Trivial),
            ("docker buildx build --push .", Kind::Publish),
            ("docker build .", Kind::Build),
            ("npm publish --dry-run", Kind::Lint),
            ("npm publish", Kind::Publish),
            ("./scripts/deploy.sh prod", Kind::Deploy),
            ("bash utils/build/deploy-trace.sh", Kind::Deploy),
            ("./scripts/thing.sh", Kind::Unknown),
            ("echo deploy", Kind::Trivial),
            ("kubectl apply -f x", Kind::Deploy),
            ("go test ./...", Kind::Test),
            ("python -m build", Kind::Build),
            ("node --version", Kind::Trivial),
            ("rsync -a dist/ out/", Kind::Trivial),
            ("rsync -a dist/ host:/srv", Kind::Deploy),
            ("vercel pull --yes", Kind::Setup),
            ("goreleaser release --snapshot", Kind::Build),
        ];
        for (script, expected) in cases {
            assert_eq!(kind(script), expected, "{script}");
        }
    }
}
