//! The whole history is fetched and nothing reads it.

use kapell_spec::github::{Step, Uses};

use crate::github::{
    Flow, Github, StepFacts, comments,
    script::{self, Command},
    tools::{self, Kind},
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    rules::shallow_history,
};
use kapell_view::audit::{Confidence, FixClass, Severity};

/// See `docs/rules/full-clone.md`.
pub(super) static RULE: Rule = Rule {
    name: "full-clone",
    summary: "The whole history is fetched and nothing reads it",
    group: Group::Waste,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Low,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/full-clone.md"),
    check,
};

/// Programs that may read the history, one line a kind: what runs others, what builds with plugins that make the version
/// of the last tag when they load (sbt-dynver, axion-release, jgitver, nerdbank, setuptools-scm), what makes up versions and
/// notes, what asks which parts have changed, what dates pages, and what looks through all commits.
const READERS: &[&[&str]] = &[
    &[
        "git", "gh", "make", "just", "task", "mage", "rake", "tox", "nox", "python", "python3", "node",
        "docker", "earthly", "dagger",
    ],
    &[
        "mvn", "mvnw", "gradle", "gradlew", "dotnet", "sbt", "sbtn", "mill", "build", "hatch", "poetry",
        "pdm", "flit", "uv", "zig", "nix",
    ],
    &[
        "setuptools-scm",
        "versioneer",
        "gitversion",
        "nbgv",
        "minver",
        "svu",
        "cog",
        "convco",
        "cz",
        "bumpver",
        "towncrier",
        "knope",
        "asv",
    ],
    &[
        "goreleaser",
        "semantic-release",
        "release-it",
        "standard-version",
        "release-plz",
        "git-cliff",
        "git-chglog",
        "auto-changelog",
    ],
    &[
        "changeset",
        "lerna",
        "nx",
        "turbo",
        "rush",
        "moon",
        "pants",
        "bazel",
        "bazelisk",
        "danger",
        "pronto",
        "ct",
    ],
    &["mkdocs", "mike", "hugo", "sphinx-build", "eleventy", "docusaurus", "antora"],
    &["gitleaks", "trufflehog", "commitlint", "gitlint", "committed", "sonar-scanner"],
];

/// Words of manifests that say that what is built with them asks for the history: crates that put the last tag into a
/// program, and scripts of a package that look at commits.
const VERSIONED: &[(&[&str], &str, &[&str])] = &[
    (
        &["cargo", "cross", "maturin"],
        "Cargo.toml",
        &["vergen", "git-version", "git2", "shadow-rs", "built ="],
    ),
    (
        &["npm", "pnpm", "yarn", "bun"],
        "package.json",
        &["\"git ", " git ", "git-", "changelog", "semantic-release", "release-it", "standard-version"],
    ),
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            for step in &job.steps {
                let Some(depth) = step
                    .input("fetch-depth")
                    .filter(|depth| step.is("actions/checkout") && depth.text.trim() == "0")
                else {
                    continue;
                };
                let scripts = || flow.steps(at).any(|step| shallow_history::calls_git(repository, job, step));
                if reads_history(repository, flow, at)
                    || versioned(repository, flow, at)
                    || packed(repository, flow, at)
                    || scripts()
                {
                    continue;
                }
                let draft = report
                    .add(
                        flow.file,
                        depth.span,
                        format!("`{}` fetches the whole history and nothing in it reads that", job.id.text),
                    )
                    .hint("drop `fetch-depth: 0`");
                let draft = if !depth.aliased {
                    draft.fix("fetch one commit", FixClass::Review, [(flow.file, depth.span, "1".to_owned())])
                } else {
                    draft
                };
                match comments::explains(
                    flow,
                    step.span,
                    6,
                    &[
                        "history",
                        "tag",
                        "version",
                        "git",
                        "full",
                        "all",
                        "diff",
                        "blame",
                        "affected",
                        "compare",
                        "base",
                        "merge base",
                        "merge-base",
                        "commits",
                    ],
                ) {
                    Some(comment) => draft.explained(comment).done(),
                    None => draft.done(),
                }
            }
        }
    }
}

/// Tells whether anything in a job reads the history, or may.
fn reads_history(repository: &Repository, flow: &Flow, at: usize) -> bool {
    let github = &repository.github;
    flow.facts[at].iter().any(|facts| {
        facts.is_opaque()
            || facts.works.iter().any(|done| {
                done.work.kind.mutates() && !is_quiet(&done.text)
                    || matches!(done.work.kind, Kind::Audit | Kind::PullRequest) && !is_quiet(&done.text)
            })
            || facts.commands.iter().any(|command| reads(command) || installs_folder(repository, command))
            || facts.actions.iter().any(|name| !is_quiet(name) && !only_prepares(name, facts))
    }) || speaks_of_git(flow.text.get(flow.model.jobs[at].span.range()).unwrap_or_default())
        || flow.model.jobs[at].steps.iter().any(|step| in_action(github, step, 4))
}

/// Tells whether a command reads the history, or may.
fn reads(command: &Command) -> bool {
    is_reader(command.program()) || asks_reader(command) || installs_itself(command)
}

fn speaks_of_git(text: &str) -> bool {
    text.contains("git ") || text.contains("merge-base")
}

/// Tells whether a step uses an action of the repository that reads the history, or may; `deep` more levels are looked into.
fn in_action(github: &Github, step: &Step, deep: usize) -> bool {
    let Some(Uses::Local(path)) = step.action() else { return false };
    let Some(action) = github.actions.get(&**path) else { return false };
    let runs = |step: &Step| {
        let commands = script::commands(step.script());
        commands.iter().any(|command| reads(command) || tools::is_own_script(command))
    };
    speaks_of_git(&action.text)
        || action.model.steps.iter().any(|step| runs(step) || deep > 0 && in_action(github, step, deep - 1))
}

fn is_reader(program: &str) -> bool {
    READERS.iter().any(|row| row.contains(&program))
}

/// Tells whether a job builds with a program whose manifest says that the history is asked for, or runs a command of that
/// program that compares with an earlier version.
fn versioned(repository: &Repository, flow: &Flow, at: usize) -> bool {
    let commands = || flow.facts[at].iter().flat_map(|facts| &facts.commands);
    let compares = ["semver-checks", "public-api", "release", "smart-release", "workspaces", "vergen"];
    let mut rows = VERSIONED.iter();
    rows.any(|(programs, manifest, words)| {
        let mut own = commands().filter(|command| programs.contains(&command.program())).peekable();
        let asks = |path: &str, words: &[&str]| {
            let id = repository.files.find(path);
            id.is_some_and(|id| words.iter().any(|word| repository.files[id].text.contains(word)))
        };
        let bundled = *manifest == "package.json";
        own.peek().is_some()
            && folders(flow, at).iter().any(|folder| {
                asks(&format!("{folder}{manifest}"), words)
                    || bundled && CONFIGS.iter().any(|name| asks(&format!("{folder}{name}"), CONFIGURED))
            })
            || own.any(|command| command.inner().get(1).is_some_and(|verb| compares.contains(&verb.as_str())))
    })
}

/// Tells whether a job builds an image with an action, and the manifest of the package of Python that goes into it makes the version of the
/// last tag: the recipe copies the history along.
fn packed(repository: &Repository, flow: &Flow, at: usize) -> bool {
    const BY_TAG: &[&str] = &[
        "setuptools_scm",
        "setuptools-scm",
        "hatch-vcs",
        "versioningit",
        "pdm-backend",
        "poetry-dynamic-versioning",
    ];
    let images = |name: &String| name.contains("build-push-action") || name == "docker/bake-action";
    flow.facts[at].iter().flat_map(|facts| &facts.actions).any(images)
        && repository.files.find("pyproject.toml").is_some_and(|id| {
            let text = &repository.files[id].text;
            BY_TAG.iter().any(|word| text.contains(word))
        })
}

/// Files in which bundlers are told what to write into what they build.
const CONFIGS: &[&str] = &[
    "vite.config.ts",
    "vite.config.js",
    "vite.config.mts",
    "vite.config.mjs",
    "next.config.js",
    "next.config.mjs",
    "next.config.ts",
    "astro.config.mjs",
    "astro.config.ts",
    "vue.config.js",
    "nuxt.config.ts",
    "svelte.config.js",
    "webpack.config.js",
    "docusaurus.config.js",
    "docusaurus.config.ts",
    ".vitepress/config.ts",
    ".vitepress/config.mts",
    "docs/.vitepress/config.ts",
    "docs/.vitepress/config.mts",
];

/// Words of such files that say that the history is asked for.
const CONFIGURED: &[&str] = &[
    "git describe",
    "git log",
    "git rev-list",
    "simple-git",
    "isomorphic-git",
    "git-revision",
    "lastUpdated",
    "showLastUpdate",
];

/// Returns the folders that the steps of a job work in, each with a slash behind it, and the top.
fn folders(flow: &Flow, at: usize) -> Vec<String> {
    let job = &flow.model.jobs[at];
    let named = job.steps.iter().map(|step| &step.folder).chain([&job.folder]).flatten();
    let tidy = |path: &str| path.trim_start_matches("./").trim_end_matches('/').to_owned();
    let mut found: Vec<String> =
        named.map(|folder| tidy(&folder.text)).filter(|path| !path.is_empty() && path != ".").collect();
    found.sort_unstable();
    found.dedup();
    found.iter_mut().for_each(|path| path.push('/'));
    found.push(String::new());
    found
}

/// Tells whether a command installs the repository itself, or a part of it, which may make its version of the last tag:
/// `pip install -e .[test]`, `pip install -e sdk`.
///
/// Source: pip, "pip install", `--editable`: "Install a project in editable mode from a local project path or a VCS url".
fn installs_itself(command: &Command) -> bool {
    let editable = |word: &str| word == "-e" || word.starts_with("--editable");
    let own = |word: &String| {
        let path = word.split('[').next().unwrap_or(word);
        path == "." || path.starts_with(['.', '/']) && !path.contains("requirements") || editable(word)
    };
    is_pip(command) && command.inner().iter().any(own)
}

fn is_pip(command: &Command) -> bool {
    matches!(command.program(), "pip" | "pip3" | "pipx")
}

/// Tells whether a command installs a folder of the repository by its bare name: `pip wheel sdk`.
fn installs_folder(repository: &Repository, command: &Command) -> bool {
    let words = command.inner();
    // What stands behind a flag may be its value.
    let named = |at: &usize| {
        let path = words[*at].split('[').next().unwrap_or_default();
        let plain = !path.starts_with('-') && !path.contains(['=', '<', '>', '$', '.']);
        let of_flag = words[*at - 1].starts_with('-');
        plain && !of_flag && repository.files.exists(path)
    };
    is_pip(command) && (2..words.len()).any(|at| named(&at))
}

/// Tells whether a command takes in what a program says that may read the history: `echo "list=$(npx nx show projects)"`.
fn asks_reader(command: &Command) -> bool {
    let reads = |text: &str| {
        script::commands(text.trim_start_matches('(')).iter().any(|inner| is_reader(inner.program()))
    };
    command
        .words
        .iter()
        .chain(&command.assigned)
        .flat_map(|word| word.split("$(").skip(1).chain(word.split('`').skip(1)))
        .any(reads)
}

/// Tells whether an action is known not to read the history.
fn is_quiet(name: &str) -> bool {
    QUIET.iter().any(|known| name.starts_with(known))
}

/// Tells whether a step does nothing but set something up, and so has no use for the history.
fn only_prepares(name: &str, facts: &StepFacts) -> bool {
    facts.works.iter().all(|done| {
        done.text == name
            && matches!(
                done.work.kind,
                Kind::Setup | Kind::Cache | Kind::Install | Kind::Upload | Kind::Download
            )
    })
}

/// Actions that are known not to.
const QUIET: &[&str] = &[
    "davidanson/markdownlint-cli2-action",
    "nosborn/github-action-markdown-cli",
    "ibiqlik/action-yamllint",
    "karancode/yamllint-github-action",
    "ludeeus/action-shellcheck",
    "raven-actions/actionlint",
    "lycheeverse/lychee-action",
    "crate-ci/typos",
    "actions/checkout",
    "actions/setup-",
    "actions/cache",
    "actions/upload-artifact",
    "actions/download-artifact",
    "pnpm/",
    "oven-sh/",
    "dtolnay/",
    "swatinem/",
    "ruby/setup-ruby",
    "taiki-e/",
    "golangci/",
    "actions/deploy-pages",
    "actions/configure-pages",
    "actions/upload-pages-artifact",
    "docker/login-action",
    "docker/setup-",
    "docker/build-push-action",
    "peaceiris/actions-mdbook",
    "tj-actions/verify-changed-files",
    "peter-evans/create-pull-request",
    "slackapi/",
    "aws-actions/",
    "google-github-actions/",
    "azure/login",
];
