//! How a repository is tested and built, by its manifests. Nothing is executed to find out.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A command, and what told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The file that told so.
    pub(super) from: String,
    /// The command.
    pub(super) command: String,
    /// More lines for its task, indented as they stand there.
    pub(super) extra: &'static str,
}

/// What was recognised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Commands {
    /// The command that tests.
    pub(super) test: Option<Found>,
    /// The command that builds.
    pub(super) build: Option<Found>,
}

/// Files larger than this tell nothing, in bytes.
const BYTES_MAX: u64 = 4 << 20;

/// A repository that is looked at.
struct Look<'a>(&'a Path);

impl Look<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    fn text(&self, name: &str) -> Option<String> {
        let path = self.path(name);
        let fits = fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= BYTES_MAX);
        fits.then(|| fs::read(&path).ok()).flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn first(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.has(name))
    }
}

fn found(from: &str, command: impl Into<String>, extra: &'static str) -> Option<Found> {
    Some(Found { from: from.to_owned(), command: command.into(), extra })
}

/// Recognises how the repository at `root` is tested and built.
pub(super) fn commands(root: &Path) -> Commands {
    let look = Look(root);
    // A target that people wrote says more than what a tool does by itself.
    let ways: [fn(&Look<'_>) -> Commands; 12] =
        [just, make, rust, go, node, python, gradle, maven, dotnet, ruby, elixir, cmake];
    let mut all = Commands::default();
    for way in ways {
        let Commands { test, build } = way(&look);
        all.test = all.test.or(test);
        all.build = all.build.or(build);
    }
    all
}

/// Tells whether a line begins a target of a make or just file.
fn is_target(line: &str, name: &str) -> bool {
    let rest = line.strip_prefix('@').unwrap_or(line).strip_prefix(name);
    rest.is_some_and(|rest| {
        rest.starts_with(':') && !rest.starts_with(":=")
            || rest.starts_with(' ') && rest.contains(':') && !rest.contains('=')
    })
}

fn targets(look: &Look<'_>, files: &[&'static str], program: &str) -> Commands {
    let Some(file) = look.first(files) else { return Commands::default() };
    let text = look.text(file).unwrap_or_default();
    let target = |names: &[&str]| {
        let name = names.iter().find(|name| text.lines().any(|line| is_target(line, name)))?;
        found(file, format!("{program} {name}"), "")
    };
    Commands { test: target(&["test", "tests", "check"]), build: target(&["build", "all"]) }
}

fn just(look: &Look<'_>) -> Commands {
    targets(look, &["justfile", "Justfile", ".justfile"], "just")
}

fn make(look: &Look<'_>) -> Commands {
    targets(look, &["GNUmakefile", "makefile", "Makefile"], "make")
}

fn rust(look: &Look<'_>) -> Commands {
    const CACHE: &str = "    cache: { CARGO_TARGET_DIR: target }\n";
    let Some(manifest) = look.text("Cargo.toml") else { return Commands::default() };
    let whole = if manifest.contains("[workspace]") { " --workspace" } else { "" };
    let nextest = look.has(".config/nextest.toml");
    let test = if nextest { format!("cargo nextest run{whole}") } else { format!("cargo test{whole}") };
    Commands {
        test: found("Cargo.toml", test, CACHE),
        build: found("Cargo.toml", format!("cargo build{whole}"), CACHE),
    }
}

fn go(look: &Look<'_>) -> Commands {
    if !look.has("go.mod") {
        return Commands::default();
    }
    Commands { test: found("go.mod", "go test ./...", ""), build: found("go.mod", "go build ./...", "") }
}

/// The package managers of JavaScript, by the file that each leaves: the file, the program, and what installs.
const MANAGERS: [(&str, &str, &str); 6] = [
    ("pnpm-lock.yaml", "pnpm", "    prepare: [pnpm install --frozen-lockfile]\n"),
    ("yarn.lock", "yarn", "    prepare: [yarn install]\n"),
    ("bun.lock", "bun", "    prepare: [bun install --frozen-lockfile]\n"),
    ("bun.lockb", "bun", "    prepare: [bun install --frozen-lockfile]\n"),
    ("package-lock.json", "npm", "    prepare: [npm ci]\n"),
    ("npm-shrinkwrap.json", "npm", "    prepare: [npm ci]\n"),
];

fn node(look: &Look<'_>) -> Commands {
    const FILE: &str = "package.json";
    let Some(text) = look.text(FILE) else { return Commands::default() };
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let named = manifest["packageManager"].as_str().and_then(|name| name.split('@').next());
    let by_name = MANAGERS.iter().find(|(_, program, _)| Some(*program) == named);
    let by_lock = MANAGERS.iter().find(|(lock, ..)| look.has(lock));
    let (program, prepare) = by_lock
        .or(by_name)
        .map_or(("npm", "    carry: [node_modules]\n"), |(_, program, prepare)| (*program, *prepare));
    let script = |name: &str| {
        let script = manifest["scripts"][name].as_str()?;
        // What npm writes into a new manifest tests nothing.
        let is_real = !script.contains("no test specified");
        is_real.then(|| found(FILE, format!("{program} run {name}"), prepare)).flatten()
    };
    Commands { test: script("test"), build: script("build") }
}

fn python(look: &Look<'_>) -> Commands {
    let files = ["pyproject.toml", "tox.ini", "pytest.ini", "setup.cfg", "setup.py", "noxfile.py"];
    let Some(file) = look.first(&files) else { return Commands::default() };
    let text = look.text("pyproject.toml").unwrap_or_default();
    let test = match () {
        () if look.has("tox.ini") || text.contains("[tool.tox]") => found("tox.ini", "tox", ""),
        () if look.has("noxfile.py") => found("noxfile.py", "nox", ""),
        () if look.has("uv.lock") => found("uv.lock", "uv run pytest", ""),
        () if look.has("poetry.lock") => {
            found("poetry.lock", "poetry run pytest", "    prepare: [poetry install]\n")
        }
        () => found(file, "python -m pytest", ""),
    };
    let has_build = text.contains("[build-system]");
    let builder = if look.has("uv.lock") { "uv build" } else { "python -m build" };
    Commands { test, build: has_build.then(|| found("pyproject.toml", builder, "")).flatten() }
}

fn gradle(look: &Look<'_>) -> Commands {
    let Some(file) =
        look.first(&["build.gradle.kts", "build.gradle", "settings.gradle.kts", "settings.gradle"])
    else {
        return Commands::default();
    };
    let program = if look.has("gradlew") { "./gradlew" } else { "gradle" };
    Commands {
        test: found(file, format!("{program} test"), ""),
        build: found(file, format!("{program} assemble"), ""),
    }
}

fn maven(look: &Look<'_>) -> Commands {
    if !look.has("pom.xml") {
        return Commands::default();
    }
    let program = if look.has("mvnw") { "./mvnw" } else { "mvn" };
    Commands {
        test: found("pom.xml", format!("{program} -q test"), ""),
        build: found("pom.xml", format!("{program} -q package -DskipTests"), ""),
    }
}

fn dotnet(look: &Look<'_>) -> Commands {
    let is_project =
        |name: &str| name.ends_with(".sln") || name.ends_with(".slnx") || name.ends_with(".csproj");
    let entries = fs::read_dir(look.0).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let Some(file) = names.into_iter().find(|name| is_project(name)) else { return Commands::default() };
    Commands { test: found(&file, "dotnet test", ""), build: found(&file, "dotnet build", "") }
}

fn ruby(look: &Look<'_>) -> Commands {
    if !look.has("Gemfile") {
        return Commands::default();
    }
    let test = if look.has(".rspec") { "bundle exec rspec" } else { "bundle exec rake test" };
    let known = look.has(".rspec") || look.has("Rakefile");
    Commands { test: known.then(|| found("Gemfile", test, "")).flatten(), build: None }
}

fn elixir(look: &Look<'_>) -> Commands {
    if !look.has("mix.exs") {
        return Commands::default();
    }
    Commands { test: found("mix.exs", "mix test", ""), build: found("mix.exs", "mix compile", "") }
}

fn cmake(look: &Look<'_>) -> Commands {
    if !look.has("CMakeLists.txt") {
        return Commands::default();
    }
    Commands {
        test: found("CMakeLists.txt", "cmake -B build && cmake --build build && ctest --test-dir build", ""),
        build: found("CMakeLists.txt", "cmake -B build && cmake --build build", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let all = commands(dir.path());
        let show = |found: Option<Found>| {
            found.map_or("-".to_owned(), |found| {
                format!("{} ({}){}", found.command, found.from, found.extra.trim_end())
            })
        };
        format!("{} | {}", show(all.test), show(all.build))
    }

    #[test]
    fn manifests_are_recognised() {
        for (files, expected) in [
            (&[][..], "- | -"),
            (
                &[("Cargo.toml", "[workspace]\n")],
                "cargo test --workspace (Cargo.toml)    cache: { CARGO_TARGET_DIR: target } | cargo build --workspace (Cargo.toml)    cache: { CARGO_TARGET_DIR: target }",
            ),
            (&[("go.mod", "")], "go test ./... (go.mod) | go build ./... (go.mod)"),
            (
                &[("package.json", r#"{"scripts":{"test":"vitest","build":"tsc"}}"#), ("pnpm-lock.yaml", "")],
                "pnpm run test (package.json)    prepare: [pnpm install --frozen-lockfile] | pnpm run build (package.json)    prepare: [pnpm install --frozen-lockfile]",
            ),
            (
                &[("package.json", r#"{"packageManager":"yarn@4.1.0","scripts":{"test":"jest"}}"#)],
                "yarn run test (package.json)    prepare: [yarn install] | -",
            ),
            (
                &[("package.json", r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}"#)],
                "- | -",
            ),
            (
                &[("pyproject.toml", "[build-system]\n"), ("uv.lock", "")],
                "uv run pytest (uv.lock) | uv build (pyproject.toml)",
            ),
            (&[("pyproject.toml", ""), ("tox.ini", "")], "tox (tox.ini) | -"),
            (
                &[("build.gradle.kts", ""), ("gradlew", "")],
                "./gradlew test (build.gradle.kts) | ./gradlew assemble (build.gradle.kts)",
            ),
            (&[("pom.xml", "")], "mvn -q test (pom.xml) | mvn -q package -DskipTests (pom.xml)"),
            (
                &[("Makefile", "test := no\nall: build\n\ncheck: all\n\t./check\n"), ("go.mod", "")],
                "make check (Makefile) | make all (Makefile)",
            ),
            (&[("justfile", "test *args:\n  x\n")], "just test (justfile) | -"),
        ] {
            assert_eq!(check(files), expected, "{files:?}");
        }
    }
}
