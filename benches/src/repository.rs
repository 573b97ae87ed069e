//! One task in a repository, from clone to merge, against the git commands that this needs.

use std::{fs, path::Path, process::Command};

use crate::table::{Floor, in_turns, kapell, line, ok, scratch, scrubbed, timed};

const FILES: usize = 200;

fn git(home: &Path, dir: &Path, args: &[&str]) -> anyhow::Result<String> {
    ok(scrubbed(Path::new("git"), home).args(args).current_dir(dir))
}

fn repository(home: &Path, name: &str) -> anyhow::Result<std::path::PathBuf> {
    let dir = home.join(name);
    fs::create_dir(&dir)?;
    for file in 0..FILES {
        fs::write(dir.join(format!("file-{file}.txt")), format!("{file}\n").repeat(20))?;
    }
    git(home, &dir, &["init", "-q", "-b", "main"])?;
    git(home, &dir, &["add", "."])?;
    git(home, &dir, &["commit", "-q", "-m", "base"])?;
    Ok(dir)
}

/// Clone, work, commit, fetch back, land in a ref, merge into the target and its checkout.
fn bare(home: &Path, repo: &Path, number: usize) -> anyhow::Result<()> {
    let work = home.join(format!("clone-{number}"));
    let (from, to) = (repo.display().to_string(), work.display().to_string());
    git(home, home, &["clone", "-q", "--shared", &from, &to])?;
    ok(Command::new("/bin/sh").args(["-e", "-c", &format!("echo {number} > made.txt")]).current_dir(&work))?;
    git(home, &work, &["add", "-A"])?;
    git(home, &work, &["commit", "-q", "-m", "work"])?;
    git(home, repo, &["fetch", "-q", &to, "HEAD"])?;
    git(home, repo, &["update-ref", "refs/landed", "FETCH_HEAD"])?;
    git(home, repo, &["merge", "-q", "--ff-only", "refs/landed"])?;
    Ok(fs::remove_dir_all(&work)?)
}

pub fn measure() -> anyhow::Result<()> {
    let program = kapell()?;
    let dir = scratch()?;
    let home = dir.path();
    let (theirs, ours) = (repository(home, "bare")?, repository(home, "ours")?);
    let (mut bares, mut runs) = (0, 0);
    let turns = in_turns(
        9,
        || {
            runs += 1;
            let file = home.join("one.yaml");
            fs::write(&file, format!("mission: one\ntasks:\n  one:\n    run: echo {runs} > made.txt\n"))?;
            let mut command = scrubbed(&program, home);
            command.args(["run", "--merge", "--quiet", "--no-input"]).arg(&file).current_dir(&ours);
            timed(|| ok(&mut command).map(drop))
        },
        || {
            bares += 1;
            let number = bares;
            timed(|| bare(home, &theirs, number))
        },
    )?;
    let made = git(home, &ours, &["show", "main:made.txt"])?;
    anyhow::ensure!(made.trim() == runs.to_string(), "the last change is not merged: {made}");
    line(
        "one task: clone, commit, land, merge",
        turns.slower(),
        "of bare git",
        Floor::AtMost(2.0),
        format!(
            "first {:.0} ms, last {:.0} ms; git {:.0} ms",
            turns.ours[0] * 1e3,
            turns.ours[8] * 1e3,
            turns.bare[8] * 1e3
        ),
    );
    Ok(())
}
