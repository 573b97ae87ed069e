//! The real coding agents, driven by the real program against the mock: nothing is faked but the model.
//!
//! They are installed from npm into `target/e2e`, at the versions below, and kept there. Each of them fixes a failing
//! test of one small repository, all in one run, at the same time. Afterwards everything that kapell claims is looked
//! at from outside: what landed, whether its tests pass, what was paid, and whether anything still runs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use kapell_mock::{Call, Mock, Scenario, Turn, Usage};

use crate::shell;

/// A client and where it comes from.
struct Client {
    adapter: &'static str,
    package: &'static str,
    version: &'static str,
    program: &'static str,
    /// What its base URL has behind the server's.
    path: &'static str,
}

const CLIENTS: &[Client] = &[
    Client {
        adapter: "claude-code",
        package: "@anthropic-ai/claude-code",
        version: "2.1.329",
        program: "claude",
        path: "",
    },
    Client { adapter: "codex", package: "@openai/codex", version: "0.169.0", program: "codex", path: "/v1" },
    Client {
        adapter: "gemini",
        package: "@google/gemini-cli",
        version: "0.61.0",
        program: "gemini",
        path: "",
    },
    Client {
        adapter: "opencode",
        package: "opencode-ai",
        version: "1.18.33",
        program: "opencode",
        path: "/v1",
    },
];

/// How long all of it may take: installing, and running.
const INSTALL_MAX: Duration = Duration::from_secs(240);
const RUN_MAX: Duration = Duration::from_secs(200);

/// kapell's own repository, in which work lands until it is merged.
const HOUSE: &str = "--git-dir=.git/kapell/git";

/// What each request costs: four kinds of tokens, so that none is mistaken for another.
const USAGE: Usage = Usage { input: 100, output: 20, cache_read: 30, cache_write: 7 };

pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let wanted: Vec<&Client> =
        CLIENTS.iter().filter(|client| args.is_empty() || args.contains(&client.adapter)).collect();
    ensure!(!wanted.is_empty(), "known are {}", CLIENTS.map_names());
    let begin = Instant::now();
    let dir = shell::target().join("e2e");
    let (there, absent) = install(&dir.join("npm"), &wanted)?;
    for (client, why) in &absent {
        println!("{:12} did not run: {why}", client.adapter);
    }
    if there.is_empty() {
        println!("e2e-agents: no client could be installed, so nothing was tried");
        return Ok(());
    }
    shell::cargo(&["build", "--quiet", "-p", "kapell"])?;
    let stage = Stage::build(&dir.join("stage"), &there)?;
    let took = stage.perform()?;
    let failures = stage.judge(took)?;
    println!(
        "e2e-agents: {} of {} clients ran, {failures} failed, {} s in all",
        there.len(),
        wanted.len(),
        begin.elapsed().as_secs()
    );
    ensure!(failures == 0, "{failures} client(s) did not do what they should");
    Ok(())
}

trait Names {
    fn map_names(&self) -> String;
}

impl Names for [Client] {
    fn map_names(&self) -> String {
        self.iter().map(|client| client.adapter).collect::<Vec<_>>().join(", ")
    }
}

/// A client that is there, by its program.
struct Installed<'a> {
    client: &'a Client,
    program: PathBuf,
}

type Absent<'a> = Vec<(&'a Client, String)>;

/// Installs what is not there yet at the right version.
fn install<'a>(prefix: &Path, wanted: &[&'a Client]) -> anyhow::Result<(Vec<Installed<'a>>, Absent<'a>)> {
    fs::create_dir_all(prefix)?;
    let until = Instant::now() + INSTALL_MAX;
    let (mut there, mut absent) = (Vec::new(), Vec::new());
    for client in wanted {
        // Each has a directory of its own, so that one that cannot be had does not spoil the others.
        let home = prefix.join(client.adapter);
        let manifest = home.join("node_modules").join(client.package).join("package.json");
        let is_there = || {
            let text = fs::read_to_string(&manifest).unwrap_or_default();
            let manifest: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            manifest["version"] == client.version
        };
        if !is_there()
            && let Err(why) = npm_install(&home, client, until)
        {
            absent.push((*client, why.to_string()));
            continue;
        }
        there.push(Installed { client, program: home.join("node_modules/.bin").join(client.program) });
    }
    Ok((there, absent))
}

fn npm_install(home: &Path, client: &Client, until: Instant) -> anyhow::Result<()> {
    fs::create_dir_all(home)?;
    let log = home.join("install.log");
    let package = format!("{}@{}", client.package, client.version);
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix"])
        .arg(home)
        .arg(package);
    let child = npm
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log)?)
        .stderr(fs::File::options().append(true).open(&log)?)
        .spawn()
        .context("npm cannot be started")?;
    match wait(child, until)? {
        Some(true) => Ok(()),
        Some(false) => {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().rfind(|line| line.contains("npm error code")).unwrap_or("it failed");
            bail!("npm could not install it: {last}")
        }
        None => bail!("npm took too long"),
    }
}

/// Waits for the end of a program; tells whether it went well, or nothing if it had to be ended.
fn wait(mut child: Child, until: Instant) -> anyhow::Result<Option<bool>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the mock's model costs, in dollars for a million tokens.
const PRICES: &str = r#"{"version": "mock", "models": {"mock-1": {"input": 1, "output": 2}}}"#;

/// A repository with a failing test for each client, and a workflow in which each fixes its own.
struct Stage<'a> {
    dir: PathBuf,
    clients: &'a [Installed<'a>],
    mock: Mock,
}

impl<'a> Stage<'a> {
    fn build(dir: &Path, clients: &'a [Installed<'a>]) -> anyhow::Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        let stage = Self { dir: dir.to_owned(), clients, mock: Mock::start()? };
        let (repo, settings) = (stage.repo(), stage.home().join(".config/kapell"));
        fs::create_dir_all(&repo)?;
        fs::create_dir_all(&settings)?;
        let mut flow =
            "mission: Fix every sum\nbudget: { usd: 50, tokens: 5M, agents: 4 }\naccept: [sh tests/all.sh]\n\
                        agents:\n"
                .to_owned();
        let (mut tasks, mut toml) = ("tasks:\n".to_owned(), String::new());
        for Installed { client, program } in clients {
            let name = client.adapter;
            fs::create_dir_all(repo.join("tests"))?;
            fs::write(repo.join(format!("{name}.sh")), "expr 2 + 3\n")?;
            fs::write(repo.join(format!("tests/{name}.sh")), format!("test \"$(sh {name}.sh)\" = 4\n"))?;
            flow += &format!("  {name}: {{ use: {name}, model: mock-1 }}\n");
            tasks += &format!(
                "  fix-{name}:\n    agent: {name}\n    prompt: The test tests/{name}.sh fails, fix {name}.sh. mock:{name}\n    \
                 claims: [{name}.sh]\n    accept: [sh tests/{name}.sh]\n    timeout: 3m\n"
            );
            toml += &format!(
                "[clients.{name}]\nprogram = {:?}\nbase_url = \"{}{}\"\nkey_env = \"MOCK_KEY\"\n",
                program.display().to_string(),
                stage.mock.url(),
                client.path
            );
            let path = format!("{name}.sh");
            let write = Call::Write { path, content: "expr 2 + 2\n".to_owned() };
            let test = Call::Shell { command: format!("sh tests/{name}.sh && echo passes") };
            let turns =
                [Turn::Call(vec![write]), Turn::Call(vec![test]), Turn::Say(format!("{name} is fixed."))];
            stage.mock.play(name, Scenario::of(turns).costing(USAGE));
        }
        // What has landed by then may be a part of it; what has not is not there to fail.
        fs::write(repo.join("tests/all.sh"), "true\n")?;
        fs::write(repo.join("flow.yaml"), flow + &tasks)?;
        fs::write(settings.join("kapell.toml"), toml)?;
        // Money is limited, so what the mock's model costs must be known.
        fs::write(settings.join("prices.json"), PRICES)?;
        for args in
            [&["init", "--quiet", "-b", "main"][..], &["add", "-A"], &["commit", "--quiet", "-m", "base"]]
        {
            stage.git(args)?;
        }
        Ok(stage)
    }

    fn repo(&self) -> PathBuf {
        self.dir.join("repo")
    }

    fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    fn git(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"])
            .args(args)
            .current_dir(self.repo());
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        shell::capture(&mut git)
    }

    /// kapell in a scrubbed environment: no key of anybody is in it, nor in a HOME.
    fn kapell(&self, args: &[&str]) -> Command {
        let mut kapell = Command::new(shell::target().join("debug/kapell"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        kapell.args(args).current_dir(self.repo()).env_clear().env("PATH", path).env("HOME", self.home());
        kapell.env("MOCK_KEY", "sk-mock").stdin(Stdio::null());
        kapell
    }

    fn perform(&self) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let child = self.kapell(&["run", "flow.yaml", "--no-input"]).spawn()?;
        match wait(child, begin + RUN_MAX)? {
            Some(_) => Ok(begin.elapsed()),
            None => bail!("the run took longer than {} s", RUN_MAX.as_secs()),
        }
    }

    /// Looks at what came of it from outside, and tells how many clients failed.
    fn judge(&self, took: Duration) -> anyhow::Result<usize> {
        let heads = self.git(&[HOUSE, "for-each-ref", "--format=%(refname)", "refs/kapell"])?;
        let head = heads.lines().find(|name| name.ends_with("/head")).map(str::to_owned);
        let head = head.with_context(|| format!("the run left no integration ref, only: {heads}"))?;
        let logs = shell::capture(&mut self.kapell(&["logs"]))?;
        let counts = self.mock.counts();
        let mut failures = 0;
        for Installed { client, .. } in self.clients {
            let name = client.adapter;
            let landed = self.git(&[HOUSE, "show", &format!("{head}:{name}.sh")])? == "expr 2 + 2\n";
            let task = format!("fix-{name}");
            let of_task = |words: &str| logs.lines().any(|line| line.contains(&task) && line.contains(words));
            let verified = of_task("verified") && of_task("landed as");
            let count = counts.get(name).cloned().unwrap_or_default();
            let usage = count.usage;
            let tokens = usage.input + usage.output + usage.cache_read + usage.cache_write;
            let paid = of_task(&format!(" {tokens} tokens"));
            let alone = left_running(&self.repo())?;
            let well = landed && verified && paid && alone.is_empty();
            failures += usize::from(!well);
            println!(
                "{name:12} {:10} {}: landed {landed}, verified {verified}, {} requests, {tokens} tokens as settled {paid}, \
                 left running {}",
                client.version,
                if well { "ok" } else { "FAILED" },
                count.requests,
                alone.len()
            );
        }
        if failures > 0 {
            println!("{logs}");
        }
        let versions: BTreeMap<_, _> =
            self.clients.iter().map(|i| (i.client.adapter, i.client.version)).collect();
        println!("{} clients in parallel took {:.1} s", versions.len(), took.as_secs_f64());
        Ok(failures)
    }
}

/// Returns processes of attempts of this repository that still run.
fn left_running(repo: &Path) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    let place = repo.display().to_string();
    for entry in fs::read_dir("/proc")?.flatten() {
        // Processes come and go, and those of others are none of ours.
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        let environment = String::from_utf8_lossy(&environment);
        if environment.contains("KAPELL_ATTEMPT_ID=") && environment.contains(&place) {
            left.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(left)
}
