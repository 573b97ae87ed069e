//! `cargo xtask coverage`: how many lines of the ground floors their tests reach, beside the floor that they must.
//!
//! Measured by `cargo llvm-cov` with the tools of the LLVM that rustc was built with, or of a later one: the format of
//! what a test leaves behind changes from one to the next.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::shell::{capture, number_of, root};

/// The crates whose lines are counted, and in percent how many of them tests must reach.
const CRATES: [&str; 3] = ["kapell-core", "kapell-store", "kapell-engine"];
const FLOOR: f64 = 90.0;

/// The crates whose tests run.
const TESTS: [&str; 4] = ["kapell-core", "kapell-store", "kapell-engine", "kapell-sim"];

pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let floor = number_of(args, "--floor", FLOOR)?;
    let tools = Tools::find()?;
    tools.cov(&["clean", "--workspace"])?;
    let packages: Vec<&str> = TESTS.iter().flat_map(|name| ["-p", name]).collect();
    tools.cov(&[&["test", "--no-report", "--no-fail-fast", "--locked"], &packages[..]].concat())?;
    if args.contains(&"--missed") {
        return tools.cov(&["report", "--show-missing-lines"]);
    }
    let report = capture(tools.command().args(["report", "--json", "--summary-only"]))?;
    let counted = count(&serde_json::from_str(&report).context("llvm-cov said no JSON")?)?;
    let mut below = Vec::new();
    for name in CRATES {
        let Lines { all, reached } = counted.get(name).copied().unwrap_or_default();
        let percent = 100.0 * reached as f64 / all.max(1) as f64;
        println!("{name:<14} {percent:5.1} % of {all} lines reached (floor {floor} %)");
        if percent < floor {
            below.push(name);
        }
    }
    if !below.is_empty() {
        bail!("too few lines are reached: {} (--missed lists the others)", below.join(", "));
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Lines {
    all: u64,
    reached: u64,
}

/// Adds the lines of a report up by crate. Files that hold tests only do not count.
fn count(report: &Value) -> anyhow::Result<BTreeMap<String, Lines>> {
    let files = report["data"][0]["files"].as_array().context("the report lists no files")?;
    let mut counted: BTreeMap<String, Lines> = BTreeMap::new();
    for file in files {
        let name = file["filename"].as_str().context("a file without a name")?;
        let Some((_, below)) = name.split_once("/crates/") else { continue };
        let Some((name, path)) = below.split_once("/src/") else { continue };
        if Path::new(path).ends_with("tests.rs") {
            continue;
        }
        let lines = &file["summary"]["lines"];
        let number = |what: &str| lines[what].as_u64().with_context(|| format!("{name}: no {what}"));
        let entry = counted.entry(name.to_owned()).or_default();
        entry.all += number("count")?;
        entry.reached += number("covered")?;
    }
    Ok(counted)
}

/// `cargo llvm-cov`, and the tools of LLVM if rustup does not have them.
struct Tools {
    own: Option<(PathBuf, PathBuf)>,
}

impl Tools {
    fn find() -> anyhow::Result<Self> {
        let version = Command::new("cargo").args(["llvm-cov", "--version"]).output();
        if !version.is_ok_and(|output| output.status.success()) {
            bail!("cargo-llvm-cov is not there: cargo install cargo-llvm-cov --locked");
        }
        let is_told = |name: &str| std::env::var_os(name).is_some();
        if is_told("LLVM_COV") && is_told("LLVM_PROFDATA") || has_component()? {
            return Ok(Self { own: None });
        }
        let rustc = capture(Command::new("rustc").arg("-vV"))?;
        let major = llvm_major(&rustc).context("rustc does not say which LLVM it was built with")?;
        let own = (major..major + 4).find_map(|major| {
            Some((program(&format!("llvm-cov-{major}"))?, program(&format!("llvm-profdata-{major}"))?))
        });
        if own.is_none() {
            bail!(
                "llvm-cov of LLVM {major} is not there: rustup component add llvm-tools, or apt install llvm-{major}, \
                 or say where by LLVM_COV and LLVM_PROFDATA"
            );
        }
        Ok(Self { own })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("cargo");
        command.arg("llvm-cov").current_dir(root());
        if let Some((cov, profdata)) = &self.own {
            command.env("LLVM_COV", cov).env("LLVM_PROFDATA", profdata);
        }
        command
    }

    fn cov(&self, args: &[&str]) -> anyhow::Result<()> {
        let status = self.command().args(args).status().context("failed to start cargo llvm-cov")?;
        if !status.success() {
            bail!("cargo llvm-cov {} failed", args.join(" "));
        }
        Ok(())
    }
}

/// Tells whether rustup has put the tools beside the compiler.
fn has_component() -> anyhow::Result<bool> {
    let libdir = capture(Command::new("rustc").args(["--print", "target-libdir"]))?;
    Ok(Path::new(libdir.trim()).with_file_name("bin").join("llvm-profdata").exists())
}

/// Reads the major version of LLVM out of what `rustc -vV` says.
fn llvm_major(rustc: &str) -> Option<u32> {
    let line = rustc.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

fn program(name: &str) -> Option<PathBuf> {
    let path: OsString = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_up_by_crate() {
        let file = |name: &str, count: u32, covered: u32| serde_json::json!({"filename": name, "summary": {"lines": {"count": count, "covered": covered}}});
        let report = serde_json::json!({"data": [{"files": [
            file("/w/crates/kapell-core/src/run.rs", 10, 9),
            file("/w/crates/kapell-core/src/run/fold.rs", 5, 5),
            file("/w/crates/kapell-core/src/expr/tests.rs", 100, 100),
            file("/w/crates/kapell-core/tests/it/main.rs", 100, 100),
            file("/w/crates/kapell-store/src/lib.rs", 3, 0),
        ]}]});
        let counted = count(&report).unwrap();
        assert_eq!(counted["kapell-core"], Lines { all: 15, reached: 14 });
        assert_eq!(counted["kapell-store"], Lines { all: 3, reached: 0 });
        assert_eq!(counted.len(), 2);
        assert!(count(&serde_json::json!({})).is_err());
    }

    #[test]
    fn the_version_of_llvm_is_read() {
        assert_eq!(llvm_major("rustc 1.95.0\nhost: x\nLLVM version: 22.1.2\n"), Some(22));
        assert_eq!(llvm_major("rustc 1.95.0\n"), None);
    }
}
