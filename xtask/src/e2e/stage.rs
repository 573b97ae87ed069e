//! A repository with failing tests, a mock for each client's provider, and the settings that bring them together.

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use kapell_mock::{Call, Count, Mock, Scenario, Turn, Usage};
use serde::Deserialize;
use serde_json::Value;

use super::Installed;
use crate::{place::Place, shell};

/// What each request costs: four kinds of tokens, so that none is mistaken for another.
const USAGE: Usage = Usage { input: 100, output: 20, cache_read: 30, cache_write: 7 };

/// What the mock's model costs, in dollars for a million tokens: money is limited, so that must be known.
const PRICES: &str = r#"{"version": "mock", "models": {"mock-1": {"input": 1, "output": 2}}}"#;

/// The variable that holds the real key of all providers, and the key.
pub(super) const KEY: (&str, &str) = ("MOCK_KEY", "sk-mock-the-real-key");

/// kapell's own repository, in which work lands until it is merged.
const HOUSE: &str = "--git-dir=.git/kapell/git";

/// A task of one client.
pub(super) struct Job {
    /// Which of the clients.
    pub(super) client: usize,
    /// Its marker, and the name of its file.
    pub(super) name: String,
}

impl Job {
    /// Returns the name of its task.
    pub(super) fn task(&self) -> String {
        format!("fix-{}", self.name)
    }
}

/// Everything that a run needs.
pub(super) struct Stage<'a> {
    pub(super) place: Place,
    pub(super) clients: &'a [Installed],
    /// The provider of each client.
    pub(super) mocks: Vec<Mock>,
    pub(super) jobs: Vec<Job>,
}

/// A script in which the model writes the file of a job, tries it, and says so.
pub(super) fn fixing(name: &str) -> Scenario {
    let write = Call::Write { path: format!("{name}.sh"), content: "expr 2 + 2\n".to_owned() };
    let test = Call::Shell { command: format!("sh tests/{name}.sh && echo passes") };
    let turns = [Turn::Call(vec![write]), Turn::Call(vec![test]), Turn::Say(format!("{name} is fixed."))];
    Scenario::of(turns).costing(USAGE)
}

/// The same, in which it leaves a note besides: by the tool that kapell's own server offers, and by the command.
pub(super) fn fixing_and_noting(name: &str) -> Scenario {
    let write = Call::Write { path: format!("{name}.sh"), content: "expr 2 + 2\n".to_owned() };
    let input = serde_json::json!({ "text": by_tool(name) });
    let note = Call::Served { server: "kapell".to_owned(), tool: "note".to_owned(), input };
    let test =
        Call::Shell { command: format!("sh tests/{name}.sh && kapell task note '{}'", by_command(name)) };
    let turns = [[write], [note], [test]].map(|calls| Turn::Call(calls.into()));
    let turns = turns.into_iter().chain([Turn::Say(format!("{name} is fixed."))]);
    Scenario::of(turns.collect::<Vec<_>>()).costing(USAGE)
}

/// What is noted by the tool.
pub(super) fn by_tool(name: &str) -> String {
    format!("{name} notes by the tool")
}

/// What is noted by the command.
pub(super) fn by_command(name: &str) -> String {
    format!("{name} notes by the command")
}

impl<'a> Stage<'a> {
    /// Prepares `tasks` tasks for each client, of which four run at the same time. `add` puts more into the repository
    /// before its first commit.
    pub(super) fn build(
        chore: &str,
        clients: &'a [Installed],
        tasks: usize,
        add: impl FnOnce(&Place) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let program = shell::target().join("debug/kapell");
        let place = Place::new(shell::target().join("e2e").join(chore), &program)?;
        let mocks = clients.iter().map(|_| Mock::start()).collect::<Result<Vec<_>, _>>()?;
        // Clients take turns, so that the first ones to run are one of each.
        let job = |at: usize| {
            let client = at % clients.len();
            Job { client, name: format!("{}-{}", clients[client].client.adapter, at / clients.len()) }
        };
        let jobs: Vec<Job> = (0..tasks * clients.len()).map(job).collect();
        let stage = Self { place, clients, mocks, jobs };
        stage.write()?;
        add(&stage.place)?;
        stage.place.begin()?;
        Ok(stage)
    }

    fn write(&self) -> anyhow::Result<()> {
        let mut flow = "mission: Fix every sum\nbudget: { usd: 50, tokens: 5M, agents: 4 }\n\
                        accept: [sh tests/all.sh]\nagents:\n"
            .to_owned();
        let (mut tasks, mut settings) = ("tasks:\n".to_owned(), String::new());
        for (Installed { client, program }, mock) in self.clients.iter().zip(&self.mocks) {
            let name = client.adapter;
            flow += &format!("  {name}: {{ use: {name}, model: mock-1 }}\n");
            settings += &format!(
                "[clients.{name}]\nprogram = {:?}\nbase_url = \"{}{}\"\nkey_env = \"{}\"\n",
                program.display().to_string(),
                mock.url(),
                client.path,
                KEY.0
            );
        }
        for job in &self.jobs {
            let (name, agent) = (&job.name, self.clients[job.client].client.adapter);
            self.place.write(&format!("repo/{name}.sh"), "expr 2 + 3\n")?;
            let test = format!("test \"$(sh {name}.sh)\" = 4\n");
            self.place.write(&format!("repo/tests/{name}.sh"), &test)?;
            tasks += &format!(
                "  {}:\n    agent: {agent}\n    prompt: The test tests/{name}.sh fails, fix {name}.sh. mock:{name}\n    \
                 claims: [{name}.sh]\n    accept: [sh tests/{name}.sh]\n    timeout: 3m\n",
                job.task()
            );
            self.mocks[job.client].play(name, fixing(name));
        }
        // What has landed by then may be a part of it; what has not is not there to fail.
        self.place.write("repo/tests/all.sh", "true\n")?;
        self.place.write("repo/flow.yaml", &(flow + &tasks))?;
        self.place.write("home/.config/kapell/kapell.toml", &settings)?;
        self.place.write("home/.config/kapell/prices.json", PRICES)
    }

    /// Starts kapell, with the key and with what it says in a log.
    pub(super) fn start(&self, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Child> {
        let log = std::fs::File::options().create(true).append(true).open(self.place.path("log"))?;
        let mut kapell = self.place.kapell(args)?;
        kapell.env(KEY.0, KEY.1).envs(env.iter().copied());
        kapell.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        kapell.spawn().context("failed to start kapell")
    }

    /// Runs kapell to its end, which must be a good one; returns how long it took.
    pub(super) fn perform(
        &self,
        args: &[&str],
        env: &[(&str, &str)],
        most: Duration,
    ) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        match shell::wait(self.start(args, env)?, begin + most)? {
            Some(status) if status.success() => Ok(begin.elapsed()),
            Some(status) => bail!("kapell ended with {status}:\n{}", self.log()),
            None => bail!("kapell took longer than {} s:\n{}", most.as_secs(), self.log()),
        }
    }

    /// Answers what is asked, as a person at another terminal does, until the run is over; returns how often. `answer`
    /// says what, by the task that asks and by what can be answered.
    pub(super) fn answer_all(
        &self,
        mut child: Child,
        until: Instant,
        answer: impl Fn(&str, &[String]) -> String,
    ) -> anyhow::Result<usize> {
        let mut answered = 0;
        while child.try_wait()?.is_none() {
            if Instant::now() >= until {
                child.kill()?;
                child.wait()?;
                bail!("it took too long:\n{}", self.log());
            }
            // There is no journal yet, or nothing in it.
            let inbox = self.place.said(&["inbox", "--json"]).unwrap_or_default();
            let inbox: Value = serde_json::from_str(&inbox).unwrap_or_default();
            for item in inbox["items"].as_array().into_iter().flatten() {
                let (run, gate) = (item["run"].as_str().context("no run")?, item["gate"]["gate"].to_string());
                let choices: Vec<String> = Vec::deserialize(&item["gate"]["choices"]).unwrap_or_default();
                let answer = answer(item["gate"]["task"].as_str().unwrap_or_default(), &choices);
                // Whoever asked may have gone meanwhile.
                answered += usize::from(self.place.said(&["answer", run, &gate, &answer]).is_ok());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(answered)
    }

    /// Returns what is kept of the first attempt at a task: its name is that of `name` in the directory of attempts.
    pub(super) fn of_attempt(&self, run: &str, task: usize, name: &str) -> anyhow::Result<String> {
        let path = self.place.repo().join(format!(".git/kapell/attempts/{run}/{task}-1/{name}"));
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// Returns what kapell has said so far.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.place.path("log")).unwrap_or_default()
    }

    /// Returns the events of the last run, oldest first.
    pub(super) fn events(&self) -> anyhow::Result<Vec<Value>> {
        let text = self.place.said(&["logs", "--json"])?;
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// Returns what was asked for a job.
    pub(super) fn count(&self, job: &Job) -> Count {
        self.mocks[job.client].count(&job.name)
    }

    /// Returns how many tokens the model was asked for by a job, and whether just as many were settled.
    pub(super) fn settled(&self, job: &Job, events: &[Value]) -> (u64, bool) {
        let usage = self.count(job).usage;
        let tokens = usage.input + usage.output + usage.cache_read + usage.cache_write;
        let says = |event: &Value| {
            event["text"].as_str().is_some_and(|text| text.contains(&format!(" {tokens} tokens")))
        };
        (tokens, events.iter().any(|event| task_of(event) == job.task() && says(event)))
    }

    /// Looks at what came of a run from outside: every file landed, with tests that pass.
    pub(super) fn check_landed(&self, run: &str) -> anyhow::Result<()> {
        for job in &self.jobs {
            let at = format!("refs/kapell/{run}/head:{}.sh", job.name);
            let text = self.place.git(&[HOUSE, "show", &at])?;
            ensure!(text == "expr 2 + 2\n", "{} holds {text:?}", job.name);
        }
        self.place.said(&["verify", run]).map(drop)
    }

    /// Returns the files of what landed.
    pub(super) fn files_landed(&self, run: &str) -> anyhow::Result<Vec<String>> {
        let head = format!("refs/kapell/{run}/head");
        let listed = self.place.git(&[HOUSE, "ls-tree", "-r", "--name-only", &head])?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Returns the id of the last run.
    pub(super) fn run(&self) -> anyhow::Result<String> {
        let listed: Value = serde_json::from_str(&self.place.said(&["status", "--json"])?)?;
        let id = listed["runs"][0]["run"].as_str().context("there is no run")?;
        Ok(id.to_owned())
    }
}

/// Returns the name of the task that an event is about.
pub(super) fn task_of(event: &Value) -> &str {
    event["task"].as_str().unwrap_or_default()
}
