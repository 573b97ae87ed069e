//! Running programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// Runs cargo in the workspace.
pub(crate) fn cargo(args: &[&str]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status =
        Command::new(cargo).args(args).current_dir(root()).status().context("failed to start cargo")?;
    if !status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(())
}

/// Returns the top of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Returns the directory that cargo builds into.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Set when everything is built already, with the features of the whole workspace: a part alone would be built anew with
/// fewer, and most of what it stands on too.
const BUILT: &str = "XTASK_BUILT";

/// Builds a part of the workspace for a look.
pub(crate) fn build_part(args: &[&str]) -> anyhow::Result<()> {
    match std::env::var_os(BUILT) {
        Some(_) => Ok(()),
        None => cargo(&[&["build", "--quiet"], args].concat()),
    }
}

/// Builds the program for a look, and returns where it is.
pub(crate) fn build_debug() -> anyhow::Result<PathBuf> {
    build_part(&["-p", "kapell"])?;
    Ok(target().join("debug/kapell"))
}

/// Builds the program as it is released, and returns where it is.
pub(crate) fn build_kapell() -> anyhow::Result<PathBuf> {
    cargo(&["build", "--release", "--quiet", "-p", "kapell"])?;
    Ok(target().join("release/kapell"))
}

/// Returns the program that `--program PATH` names, or else one that `build` makes.
pub(crate) fn program_of(args: &[&str], build: fn() -> anyhow::Result<PathBuf>) -> anyhow::Result<PathBuf> {
    match args.iter().position(|arg| *arg == "--program") {
        Some(at) => {
            let path = args.get(at + 1).context("--program needs the path of a program")?;
            Path::new(path).canonicalize().with_context(|| format!("{path} is no program"))
        }
        None => build(),
    }
}

/// Runs a program and returns what it prints.
pub(crate) fn capture(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits for the end of a program, and ends it when it is time; returns nothing then.
pub(crate) fn wait(mut child: Child, until: Instant) -> anyhow::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Makes a command that sees nothing of whoever runs it: `dir` holds its home and runtime directory.
pub(crate) fn scrubbed(program: &Path, dir: &Path) -> anyhow::Result<Command> {
    for name in ["home", "run"] {
        fs::create_dir_all(dir.join(name))?;
    }
    fs::set_permissions(dir.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", dir.join("home")).env("XDG_RUNTIME_DIR", dir.join("run"));
    Ok(command)
}

/// Returns the number that follows `name` among the arguments, or `or`.
pub(crate) fn number_of<T: FromStr>(args: &[&str], name: &str, or: T) -> anyhow::Result<T> {
    let Some(at) = args.iter().position(|arg| *arg == name) else { return Ok(or) };
    args.get(at + 1).and_then(|text| text.parse().ok()).with_context(|| format!("{name} takes a number"))
}

/// Returns every file below a directory; links are not followed.
pub(crate) fn files_below(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(found)
}
