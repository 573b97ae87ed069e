//! What programs and actions do, how long they take, and what they cache: data, with a version.
//!
//! Times are priors for a job on a hosted runner with two to four cores, in seconds, from the order of magnitude of
//! public runs; recorded durations replace them.

mod nested;
mod rollouts;
mod special;
mod table;

pub(crate) use self::nested::{DEPTH, nested};
pub(crate) use self::rollouts::{Old, goes_back, rollout};

use kapell_spec::github::Step;

use self::special::special;
use self::table::{SCRIPT_WORDS, TRIVIAL};
use super::script::Command;

/// The version of the tables, raised with every change of them.
pub const TABLES: u32 = 5;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing that lasts: prints, moves files about, asks for a version.
    Trivial,
    /// Fetches the repository.
    Checkout,
    /// Installs a language or a tool.
    Setup,
    /// Installs dependencies.
    Install,
    /// Restores or saves a cache.
    Cache,
    /// Looks at the code without running it: lint, format, types.
    Lint,
    /// Looks for known holes in dependencies or code.
    Audit,
    /// Runs tests.
    Test,
    /// Builds.
    Build,
    /// Gives files to other jobs or people.
    Upload,
    /// Takes files of other jobs.
    Download,
    /// Tells people: comments, messages, summaries.
    Report,
    /// Opens or changes a pull request.
    PullRequest,
    /// Pushes commits.
    Push,
    /// Makes or pushes a tag.
    Tag,
    /// Makes or changes a release.
    Release,
    /// Gives a package or an image to a registry.
    Publish,
    /// Puts pages online, which the next deployment replaces as a whole.
    Pages,
    /// Changes something that runs.
    Deploy,
    /// Starts another workflow.
    Dispatch,
    /// Keeps files where others find them: object storage.
    Store,
    /// Not known.
    Unknown,
}

impl Kind {
    /// Finds a kind by the name that it has in the tables.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "trivial" => Self::Trivial,
            "checkout" => Self::Checkout,
            "setup" => Self::Setup,
            "install" => Self::Install,
            "cache" => Self::Cache,
            "lint" => Self::Lint,
            "audit" => Self::Audit,
            "test" => Self::Test,
            "build" => Self::Build,
            "upload" => Self::Upload,
            "download" => Self::Download,
            "report" => Self::Report,
            "pull_request" => Self::PullRequest,
            "push" => Self::Push,
            "tag" => Self::Tag,
            "release" => Self::Release,
            "publish" => Self::Publish,
            "pages" => Self::Pages,
            "deploy" => Self::Deploy,
            "dispatch" => Self::Dispatch,
            "store" => Self::Store,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }

    /// Tells whether it changes something outside of the run that others rely on.
    #[must_use]
    pub fn mutates(self) -> bool {
        matches!(
            self,
            Self::Push
                | Self::Tag
                | Self::Release
                | Self::Publish
                | Self::Pages
                | Self::Deploy
                | Self::Dispatch
        )
    }

    /// Tells whether what it changes is there for others at once: all that mutates, but for starting another workflow.
    #[must_use]
    pub fn delivers(self) -> bool {
        self.mutates() && self != Self::Dispatch
    }

    /// Says what a job does that delivers by it.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Push => "pushes commits",
            Self::Tag => "pushes a tag",
            Self::Release => "makes a release",
            Self::Publish => "publishes",
            Self::Pages => "publishes pages",
            _ => "deploys",
        }
    }

    /// Tells whether something goes out through it that another job could rely on.
    #[must_use]
    pub fn may_carry(self) -> bool {
        self.mutates() || matches!(self, Self::Store | Self::PullRequest | Self::Unknown)
    }

    /// Tells whether it can find a fault in what is checked.
    #[must_use]
    pub fn checks(self) -> bool {
        matches!(self, Self::Lint | Self::Test | Self::Build | Self::Audit)
    }
}

/// What a command or an action does, and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// What it does.
    pub kind: Kind,
    /// How long it takes, in seconds.
    pub seconds: u32,
}

const fn work(kind: Kind, seconds: u32) -> Work {
    Work { kind, seconds }
}

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
    if let Some(found) = special(program, &words, command) {
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
            let by_name = || by_words(file_stem(name)).filter(|work| !work.kind.mutates());
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
    let first = parts(&file).next()?;
    match first {
        "deploy" | "promote" => Some(Kind::Deploy),
        "publish" => Some(Kind::Publish),
        "release" => Some(Kind::Release),
        _ => None,
    }
}

fn file_stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.split('.').next().unwrap_or(file)
}

/// Tells whether a command runs a script of the repository, of which nothing is known but its name.
#[must_use]
pub fn is_own_script(command: &Command) -> bool {
    let first = command.inner().first().map_or("", String::as_str);
    let wrapper = matches!(command.program(), "gradlew" | "mvnw");
    let script = |word: &String| {
        [".sh", ".py", ".js", ".mjs", ".ts", ".rb", ".pl", ".ps1", ".bash"]
            .iter()
            .any(|end| word.ends_with(end))
    };
    first.contains('/') && !wrapper && !first.starts_with("/usr") && !first.starts_with("/bin")
        || command.inner().iter().take(3).any(script)
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

/// A tool that installs dependencies, and how they are cached.
#[derive(Debug)]
pub struct Installer {
    /// Its name.
    pub name: &'static str,
    /// The commands that install, by their first words.
    pub commands: &'static [&'static str],
    /// Its lock files.
    pub locks: &'static [&'static str],
    /// Parts of the paths that are worth keeping.
    pub paths: &'static [&'static str],
    /// The action that sets it up, its input for a cache, and the value for this tool.
    pub setup: Option<(&'static str, &'static str, &'static str)>,
    /// A folder that the commands wipe before they install.
    pub wiped: Option<(&'static str, &'static str)>,
    /// Actions that keep its cache by themselves.
    pub cached_by: &'static [&'static str],
}

/// Tools that install dependencies.
pub const INSTALLERS: &[Installer] = &[
    Installer {
        name: "npm",
        commands: &["npm ci", "npm install", "npm i"],
        locks: &["package-lock.json", "npm-shrinkwrap.json"],
        paths: &[".npm", "node_modules", "npm-cache"],
        setup: Some(("actions/setup-node", "cache", "npm")),
        wiped: Some(("npm ci", "node_modules")),
        cached_by: &[],
    },
    Installer {
        name: "pnpm",
        commands: &["pnpm install", "pnpm i"],
        locks: &["pnpm-lock.yaml"],
        paths: &["pnpm", "STORE_PATH", "node_modules"],
        setup: Some(("actions/setup-node", "cache", "pnpm")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "yarn",
        commands: &["yarn install", "yarn"],
        locks: &["yarn.lock"],
        paths: &["yarn", "node_modules"],
        setup: Some(("actions/setup-node", "cache", "yarn")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "pip",
        commands: &["pip install -r", "pip3 install -r"],
        locks: &["requirements.txt", "requirements", "pyproject.toml", "setup.py"],
        paths: &["pip", "venv", "site-packages", "pythonLocation"],
        setup: Some(("actions/setup-python", "cache", "pip")),
        wiped: None,
        cached_by: &["astral-sh/setup-uv"],
    },
    Installer {
        name: "poetry",
        commands: &["poetry install"],
        locks: &["poetry.lock"],
        paths: &["poetry", "venv"],
        setup: Some(("actions/setup-python", "cache", "poetry")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "uv",
        commands: &["uv sync"],
        locks: &["uv.lock"],
        paths: &[".cache/uv", "uv-cache", "uv_cache", "UV_CACHE_DIR", "venv"],
        setup: Some(("astral-sh/setup-uv", "enable-cache", "true")),
        wiped: None,
        cached_by: &["astral-sh/setup-uv"],
    },
    Installer {
        name: "cargo",
        commands: &[
            "cargo build",
            "cargo test",
            "cargo nextest",
            "cargo clippy",
            "cargo check",
            "cargo fetch",
        ],
        locks: &["Cargo.lock"],
        paths: &[".cargo", "target", "CARGO_HOME"],
        setup: None,
        wiped: None,
        cached_by: &[
            "swatinem/rust-cache",
            "actions-rust-lang/setup-rust-toolchain",
            "mozilla-actions/sccache-action",
            "moonrepo/setup-rust",
            "leafwing-studios/cargo-cache",
        ],
    },
    Installer {
        name: "go",
        commands: &["go mod download"],
        locks: &["go.sum"],
        paths: &["go/pkg/mod", "go-build", "GOMODCACHE"],
        // `actions/setup-go` has kept it by itself since v4.
        setup: None,
        wiped: None,
        cached_by: &["actions/setup-go"],
    },
    Installer {
        name: "gradle",
        commands: &["gradle", "gradlew"],
        locks: &["*.gradle*", "gradle-wrapper.properties", "gradle.lockfile", "libs.versions.toml"],
        paths: &[".gradle"],
        setup: Some(("actions/setup-java", "cache", "gradle")),
        wiped: None,
        cached_by: &["gradle/actions/setup-gradle", "gradle/gradle-build-action"],
    },
    Installer {
        name: "maven",
        commands: &["mvn", "mvnw"],
        locks: &["pom.xml"],
        paths: &[".m2"],
        setup: Some(("actions/setup-java", "cache", "maven")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "bundler",
        commands: &["bundle install"],
        locks: &["Gemfile.lock"],
        paths: &["vendor/bundle", ".bundle"],
        setup: Some(("ruby/setup-ruby", "bundler-cache", "true")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "composer",
        commands: &["composer install"],
        locks: &["composer.lock"],
        paths: &["composer", "vendor"],
        setup: None,
        wiped: None,
        cached_by: &["ramsey/composer-install"],
    },
    Installer {
        name: "dotnet",
        commands: &["dotnet restore"],
        locks: &["packages.lock.json", "Directory.Packages.props", ".csproj"],
        paths: &[".nuget"],
        setup: Some(("actions/setup-dotnet", "cache", "true")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "mix",
        commands: &["mix deps.get", "mix do deps.get"],
        locks: &["mix.lock"],
        paths: &["deps", "_build"],
        setup: None,
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "pub",
        commands: &["flutter pub get", "dart pub get"],
        locks: &["pubspec.lock"],
        paths: &[".pub-cache"],
        setup: Some(("subosito/flutter-action", "cache", "true")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "pipenv",
        commands: &["pipenv install", "pipenv sync"],
        locks: &["Pipfile.lock"],
        paths: &["pipenv", "virtualenvs"],
        setup: Some(("actions/setup-python", "cache", "pipenv")),
        wiped: None,
        cached_by: &[],
    },
];

/// Set-up actions of others that keep no dependencies unless an input says so.
pub const KEEP_NOTHING: &[&str] = &[
    "ruby/setup-ruby",
    "oven-sh/setup-bun",
    "shivammathur/setup-php",
    "erlef/setup-beam",
    "erlef/setup-elixir",
    "subosito/flutter-action",
    "dart-lang/setup-dart",
    "pnpm/action-setup",
    "docker/setup-buildx-action",
    "docker/setup-qemu-action",
    "hashicorp/setup-terraform",
    "azure/setup-helm",
    "azure/setup-kubectl",
    "google-github-actions/setup-gcloud",
    "browser-actions/setup-chrome",
];

/// Finds the tool whose dependencies a command installs.
#[must_use]
pub fn installer(command: &Command) -> Option<&'static Installer> {
    let program = command.program();
    let begins = |prefix: &&str| prefix.split(' ').next() == Some(program);
    if !INSTALLERS.iter().any(|installer| installer.commands.iter().any(begins)) {
        return None;
    }
    let words = plain_words(command, program);
    if asks_what_it_is(program, &words) {
        return None;
    }
    // `npm install -g x` installs no dependencies of the repository, and `npm install x` one of its own choice.
    let global = command.words.iter().any(|word| word == "-g" || word == "--global");
    let named = words.len() > 2 && matches!(words[1].as_str(), "install" | "i") && program == "npm";
    if global || named {
        return None;
    }
    let fits = |prefix: &str| {
        if prefix.ends_with("-r") {
            return command.inner().join(" ").starts_with(prefix);
        }
        if prefix == "yarn" {
            return words.len() == 1 && words[0] == "yarn";
        }
        let mut words = words.iter();
        prefix.split(' ').all(|part| words.next().is_some_and(|word| word.trim_end_matches(',') == part))
    };
    INSTALLERS.iter().find(|installer| installer.commands.iter().any(|prefix| fits(prefix)))
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

    #[test]
    fn installers_are_found() {
        let name = |script: &str| installer(&commands(script)[0]).map(|found| found.name);
        let cases = [
            ("npm ci", Some("npm")),
            ("npm install", Some("npm")),
            ("npm install -g yarn", None),
            ("npm install left-pad", None),
            ("pip install -r requirements.txt", Some("pip")),
            ("pip install build", None),
            ("yarn", Some("yarn")),
            ("yarn build", None),
            ("cargo test", Some("cargo")),
            ("./gradlew check", Some("gradle")),
            ("bundle install", Some("bundler")),
            ("go test", None),
        ];
        for (script, expected) in cases {
            assert_eq!(name(script), expected, "{script}");
        }
    }
}
