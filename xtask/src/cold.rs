//! `cargo xtask cold`: how often a cargo workspace is built from nothing while tasks are verified and land.
//!
//! The workspace has a crate on which all others stand, and a build script of which takes as long as it is told to. Six
//! tasks change a crate each; each has a check of its own, and all of them together another one. The build script notes
//! that it runs: it does so in a cold build only. (What cargo says of the common crate would not do: it is compiled once
//! more for its own tests, in a moment, and the script is not run for that.)

use std::{fs, path::PathBuf, process::Command, time::Instant};

use anyhow::{Context, bail, ensure};

use crate::{
    place::Place,
    shell::{build_debug, capture, number_of, program_of},
};

/// Tasks that change something.
const TASKS: usize = 6;

/// So many cold builds may be needed: one for each tree that is checked at the same time.
const COLD_MAX: usize = 2;

pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let seconds: u32 = number_of(args, "--seconds", 60)?;
    let jobs: usize = number_of(args, "--jobs", 2)?;
    let program = program_of(args, build_debug)?;
    let site = Site { place: Place::temporary("cold", &program)?, toolchain: toolchain()? };
    let kept = || format!("kept for a look: {}", site.place.path("").display());
    let told = site.try_it(seconds, jobs).with_context(kept)?;
    println!("{told}");
    site.place.remove()
}

struct Site {
    place: Place,
    /// The directory of the real cargo and rustc, which need no home.
    toolchain: PathBuf,
}

impl Site {
    fn try_it(&self, seconds: u32, jobs: usize) -> anyhow::Result<String> {
        self.write(seconds)?;
        let begin = Instant::now();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths([self.toolchain.clone()].into_iter().chain(std::env::split_paths(&path)))?;
        let jobs = jobs.to_string();
        let mut kapell = self.place.kapell(&["run", "work.yaml", "--jobs", &jobs])?;
        let said = kapell.env("PATH", path).output().context("failed to start kapell")?;
        let took = begin.elapsed();
        if !said.status.success() {
            bail!("kapell ended with {}: {}", said.status, String::from_utf8_lossy(&said.stderr));
        }
        let (run, history) = self.place.history()?;
        history.check()?;
        ensure!(history.done.len() == TASKS, "{} of {TASKS} tasks landed", history.done.len());
        self.place.said(&["merge", &run])?;
        for task in 1..=TASKS {
            let text = fs::read_to_string(self.place.repo().join(format!("part-{task}/src/answer.txt")))?;
            ensure!(text == format!("{task}\n"), "part-{task} holds {text:?}");
        }
        self.place.said(&["verify", &run])?;
        self.place.nothing_is_left(&run)?;
        let log = fs::read_to_string(self.place.path("cargo.log")).context("no check has run")?;
        let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        let checks = count("Finished `test`");
        let cold =
            fs::read_to_string(self.place.path("cold.log")).context("nothing was built")?.lines().count();
        ensure!(cold <= COLD_MAX, "{cold} cold builds, at most {COLD_MAX} are needed:\n{log}");
        Ok(format!(
            "{TASKS} tasks verified and landed in {took:.0?} with {cold} cold build(s) of {seconds} s each (at most \
             {COLD_MAX}); {checks} runs of the checks"
        ))
    }

    /// Writes the workspace, a check that tells what cargo did, and the workflow.
    fn write(&self, seconds: u32) -> anyhow::Result<()> {
        let place = &self.place;
        let package = |name: &str, more: &str| {
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}")
        };
        let mut lock = "version = 3\n\n[[package]]\nname = \"base\"\nversion = \"0.1.0\"\n".to_owned();
        place
            .write("repo/Cargo.toml", "[workspace]\nresolver = \"2\"\nmembers = [\"base\", \"part-*\"]\n")?;
        place.write("repo/.gitignore", "/target\n")?;
        place.write("repo/base/Cargo.toml", &package("base", ""))?;
        place.write("repo/base/src/lib.rs", "pub fn one() -> u32 {\n    1\n}\n")?;
        let noted = format!("{:?}", place.path("cold.log"));
        let build = BUILD.replace("LOG", &noted).replace("SECONDS", &seconds.to_string());
        place.write("repo/base/build.rs", &build)?;
        let log = place.path("cargo.log");
        place.write(
            "repo/check.sh",
            &format!(
                "cargo test --offline --color never \"$@\" >>'{0}' 2>&1 || {{ tail -n 30 '{0}'; exit 1; }}\n",
                log.display()
            ),
        )?;
        let mut work = "mission: Six changes to a workspace that takes long to build\n\
                        accept: [sh check.sh --workspace]\ntasks:\n"
            .to_owned();
        for task in 1..=TASKS {
            let name = format!("part-{task}");
            place.write(
                &format!("repo/{name}/Cargo.toml"),
                &package(&name, "\n[dependencies]\nbase = { path = \"../base\" }\n"),
            )?;
            place.write(&format!("repo/{name}/src/lib.rs"), LIB)?;
            place.write(&format!("repo/{name}/src/answer.txt"), "0\n")?;
            lock.push_str(&format!(
                "\n[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"base\",\n]\n"
            ));
            work.push_str(&format!(
                "  {name}:\n    run: echo {task} > {name}/src/answer.txt\n    accept: [grep -qx {task} {name}/src/answer.txt, sh check.sh -p {name}]\n"
            ));
        }
        place.write("repo/Cargo.lock", &lock)?;
        place.write("repo/work.yaml", &work)?;
        place.begin()
    }
}

/// What takes long to build, and notes that it is built.
const BUILD: &str = r#"use std::{fs::File, io::Write, thread, time::Duration};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let mut log = File::options().create(true).append(true).open(LOG).unwrap();
    log.write_all(b"cold\n").unwrap();
    thread::sleep(Duration::from_secs(SECONDS));
}
"#;

/// A crate with a test that its change must not break.
const LIB: &str = r#"pub fn answer() -> u32 {
    include_str!("answer.txt").trim().parse().unwrap_or(0) / base::one()
}

#[test]
fn there_is_an_answer() {
    assert!((0..=9).contains(&answer()));
}
"#;

/// Returns where the programs of the toolchain lie. Those on the path may be wrappers that look into a home.
fn toolchain() -> anyhow::Result<PathBuf> {
    let sysroot = capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(sysroot.trim()).join("bin"))
}
