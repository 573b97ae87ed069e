//! Tools that install dependencies, and how these are cached.

use std::sync::LazyLock;

use kapell_spec::hash::HashSet;

use super::{super::script::Command, asks_what_it_is, plain_words};

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
        name: "vcpkg",
        commands: &["vcpkg install"],
        locks: &["vcpkg.json", "vcpkg-configuration.json"],
        paths: &["vcpkg"],
        setup: None,
        wiped: None,
        cached_by: &["lukka/run-vcpkg"],
    },
    Installer {
        name: "conan",
        commands: &["conan install"],
        locks: &["conan.lock", "conanfile.txt", "conanfile.py"],
        paths: &[".conan"],
        setup: None,
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
    // Of these only the caches are judged that people keep by themselves: what they download mostly is little, or their
    // set-up actions keep it.
    Installer {
        name: "cabal",
        commands: &[],
        locks: &["plan.json", "cabal.project.freeze", ".cabal"],
        paths: &["cabal"],
        setup: None,
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "stack",
        commands: &[],
        locks: &["stack.yaml"],
        paths: &[".stack"],
        setup: None,
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "swift",
        commands: &[],
        locks: &["Package.resolved"],
        paths: &[".build", "SourcePackages", "swiftpm"],
        setup: None,
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "sbt",
        commands: &[],
        locks: &["build.sbt", ".sbt"],
        paths: &[".ivy2", "coursier", ".sbt"],
        setup: None,
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "bun",
        commands: &[],
        locks: &["bun.lock"],
        paths: &[".bun"],
        setup: None,
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "deno",
        commands: &[],
        locks: &["deno.lock"],
        paths: &[".cache/deno", "DENO_DIR"],
        setup: None,
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "opam",
        commands: &[],
        locks: &[".opam"],
        paths: &[".opam"],
        setup: None,
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
    // Most programs install nothing, and many rules ask of each command.
    static PROGRAMS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        let commands = INSTALLERS.iter().flat_map(|installer| installer.commands);
        commands.filter_map(|command| command.split(' ').next()).collect()
    });
    let program = command.program();
    if !PROGRAMS.contains(program) {
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
    use super::{super::super::script::commands, *};

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
