//! `fuzz`: the readers, fed with what nobody would write.
//!
//! The targets are laid out as cargo-fuzz has them, and it runs them too. Here they are built with its flags but without
//! a sanitizer, which the stable compiler does: the code is safe Rust, so that what is looked for is a panic, a hang or
//! memory without end.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

use crate::shell;

/// The targets, and which files of the tests they start from.
const TARGETS: [(&str, &[&str]); 4] = [
    ("yaml", &["yml", "yaml", "case"]),
    ("markdown", &["md", "json"]),
    ("expression", &["yml", "yaml", "case"]),
    ("audit", &["yml", "md", "json"]),
];

/// What cargo-fuzz gives the compiler for coverage.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// The longest text that is tried, in bytes.
const BYTES_MAX: usize = 8192;

/// Runs the targets, each for so many minutes.
pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let minutes: f64 = shell::number_of(args, "--minutes", 1.0)?;
    let named: Vec<&str> =
        args.iter().copied().filter(|arg| TARGETS.iter().any(|(name, _)| name == arg)).collect();
    let folder = shell::target().join("fuzz");
    let host = host()?;
    build(&folder, &host)?;
    for (name, kinds) in TARGETS.iter().filter(|(name, _)| named.is_empty() || named.contains(name)) {
        let corpus = folder.join("corpus").join(name);
        fs::create_dir_all(&corpus)?;
        let count = seed(&corpus, kinds, *name == "expression")?;
        println!("{name}: {minutes} min from {count} texts");
        fuzz(&folder, &host, name, &corpus, minutes)?;
    }
    Ok(())
}

/// Returns the machine that the compiler builds for: with a target named, the flags spare build scripts.
fn host() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = shell::capture(Command::new(rustc).arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}

fn build(folder: &Path, host: &str) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = shell::root().join("fuzz/Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "--target", host, "--manifest-path"]).arg(manifest);
    command.arg("--target-dir").arg(folder).env("RUSTFLAGS", FLAGS.join(" "));
    let status = command.status().context("failed to start cargo")?;
    ensure!(status.success(), "the targets cannot be built; a C++ compiler is needed");
    Ok(())
}

/// Copies files of the tests, or the expressions within them, as texts to start from.
fn seed(corpus: &Path, kinds: &[&str], expressions: bool) -> anyhow::Result<usize> {
    let mut texts = BTreeSet::new();
    let mut folders = vec![shell::root().join("crates/kapell-lint/tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path: PathBuf = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| kinds.iter().any(|kind| end == *kind)) {
                let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
                if expressions {
                    let inner = |part: &str| part.split_once("}}").map(|(inner, _)| inner.trim().to_owned());
                    texts.extend(text.split("${{").skip(1).filter_map(inner));
                } else if text.len() <= BYTES_MAX {
                    texts.insert(text);
                }
            }
        }
    }
    for (number, text) in texts.iter().enumerate() {
        fs::write(corpus.join(format!("seed-{number}")), text)?;
    }
    Ok(texts.len())
}

fn fuzz(folder: &Path, host: &str, name: &str, corpus: &Path, minutes: f64) -> anyhow::Result<()> {
    let found = folder.join("found");
    fs::create_dir_all(&found)?;
    let program = folder.join(host).join("release").join(name);
    let mut command = Command::new(program);
    command.arg(format!("-max_total_time={}", (minutes * 60.0).ceil()));
    command.arg(format!("-max_len={BYTES_MAX}")).args([
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]);
    command.arg(format!("-artifact_prefix={}/{name}-", found.display())).arg(corpus);
    let output = command.output().context("failed to start the target")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let tail: Vec<&str> = said.lines().rev().take(40).collect();
        bail!(
            "{name} came to harm; what did it is in {}:\n{}",
            found.display(),
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
    for line in said.lines().filter(|line| line.starts_with("stat::")) {
        println!("  {}", line.trim_start_matches("stat::"));
    }
    Ok(())
}
