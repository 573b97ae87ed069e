//! `mcp-conformance`: the protocol's own suite against kapell's server.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{npm::Prefix, shell};

/// The suite, in the two versions that are pinned: the one before knows the older specifications by its own lights.
const PACKAGES: [&str; 2] = [
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "conformance-before@npm:@modelcontextprotocol/conformance@0.1.16",
];

/// Script and arguments of every pass.
const PASSES: [(&str, &[&str]); 4] = [
    ("@modelcontextprotocol/conformance", &["--suite", "all", "--spec-version", "2025-06-18"]),
    ("@modelcontextprotocol/conformance", &["--suite", "all", "--spec-version", "2025-11-25"]),
    ("@modelcontextprotocol/conformance", &["--suite", "all", "--spec-version", "2026-07-28"]),
    ("conformance-before", &[]),
];

/// A process that ends with whoever holds it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs every pass, and fails if any check does.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let verbose = words.contains(&"--verbose");
    let suite = match Prefix::with_node("mcp", &PACKAGES) {
        Ok(suite) => suite,
        Err(why) => {
            println!("mcp-conformance: did not run: {why}");
            return Ok(());
        }
    };
    shell::build_part(&["-p", "kapell-server", "--example", "mcp-conformance"])?;
    let fixture = shell::target().join("debug/examples/mcp-conformance");
    let child =
        Command::new(fixture).stdout(Stdio::piped()).spawn().context("failed to start the fixture")?;
    let mut fixture = Running(child);
    let mut url = String::new();
    let stdout = fixture.0.stdout.take().context("the fixture has no output")?;
    BufReader::new(stdout).read_line(&mut url)?;
    let mut red = 0;
    for (package, arguments) in PASSES {
        let mut pass = suite.node(&format!("{package}/dist/index.js"));
        pass.args(["server", "--url", url.trim()]).args(arguments).env_remove("NODE_OPTIONS");
        let output = pass.output().context("failed to start the suite")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (passed, failed) = totals(&text);
        println!("{package} {}: {passed} passed, {failed} failed", arguments.join(" "));
        if !output.status.success() || failed > 0 || passed == 0 {
            red += 1;
        }
        if verbose || !output.status.success() {
            println!("{text}{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    if red > 0 {
        bail!("{red} pass(es) of the conformance suite failed");
    }
    Ok(())
}

/// Reads how many checks passed and failed from the suite's last word on it: `Total: 40 passed, 0 failed`.
fn totals(text: &str) -> (u32, u32) {
    let line = text.lines().rev().find(|line| line.contains("Total:")).unwrap_or_default();
    let count = |word: &str| {
        let before = line.split(word).next().filter(|_| line.contains(word))?;
        before.split_whitespace().last()?.trim_matches(',').parse().ok()
    };
    (count(" passed").unwrap_or(0), count(" failed").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read() {
        assert_eq!(totals("x\nTotal: 40 passed, 2 failed\n"), (40, 2));
        assert_eq!(totals("nothing"), (0, 0));
    }
}
