//! `agents`: who can be given tasks here, who is installed, which roles the repository defines, and how each has done.

use std::{
    collections::BTreeMap,
    env, fs, io,
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kapell_agents::drivers::client::Client;
use kapell_core::{
    event::Event,
    id::TaskId,
    time::{Elapsed, Millis},
};
use kapell_engine::{open::load_at, port::journal::Journal};
use kapell_policy::history::quantile;
use kapell_spec::claude::{codex, definition::Definition};
use kapell_store::Store;
use kapell_view::{
    text::{Line, Style, Table, length, plural},
    untrusted::visible,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::Context;
use crate::{
    exit::Exit,
    fault::Fault,
    output::{paint, screen},
    site::{self, Site},
};

/// The agents that can be used here.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AgentList {
    /// The version of this form: 1.
    version: u32,
    /// What tasks can be given to.
    agents: Vec<Agent>,
    /// What the repository defines for the agents of other programs.
    roles: Vec<Role>,
}

/// Something that performs tasks.
#[derive(Debug, Serialize, JsonSchema)]
struct Agent {
    /// Its name: what `use:` takes in a workflow.
    name: String,
    /// Whether tasks can be given to it.
    usable: bool,
    /// What it is, or where it was found.
    about: String,
    /// What it says its version is.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// How it has done in the runs of this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Record>,
}

/// A role that a file of the repository defines.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
struct Role {
    /// Its name.
    name: String,
    /// Whose role it is: `claude` or `codex`.
    host: &'static str,
    /// The file, from the root.
    file: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    /// The model that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
}

/// How an agent has done: attempts that ended, from the newest runs of this place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
struct Record {
    /// How many ended well: what they did is done, or went on to its checks.
    succeeded: u32,
    /// How many failed.
    failed: u32,
    /// The median length of those that ended well, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    median_ms: Option<u64>,
    /// What all of them cost, in millionths of a US dollar.
    usd_micros: u64,
}

const BUILT_IN: [(&str, &str); 4] = [
    ("command", "any shell command; a prompt reaches it in KAPELL_PROMPT"),
    ("person", "you, or whoever answers: kapell inbox, kapell answer"),
    ("scripted", "plays a script of delays, edits, outputs and failures: for tests and for learning"),
    ("noop", "does nothing, at once: for joining others and for measuring"),
];

/// How long a program may take to say its version.
const PROBE: Duration = Duration::from_secs(5);

/// The most that is read of what it says, in bytes.
const PROBE_BYTES_MAX: u64 = 4096;

/// How many runs are looked at for records, the newest first, and how many decisions of all together.
const RUNS_MAX: usize = 50;
const DECISIONS_MAX: u64 = 50_000;

/// Files larger than this define no role, in bytes.
const ROLE_BYTES_MAX: u64 = 1 << 20;

/// The most roles that are listed.
const ROLES_MAX: usize = 1000;

/// Lists the agents that can be used here.
///
/// # Errors
///
/// Never fails: what cannot be read has no record and no roles.
pub fn agents(context: &Context) -> Result<Exit, Fault> {
    let site = context.site().ok();
    let mut records = site.as_ref().map(records).unwrap_or_default();
    let mut agents: Vec<Agent> = BUILT_IN
        .iter()
        .map(|(name, about)| Agent {
            name: (*name).to_owned(),
            usable: true,
            about: (*about).to_owned(),
            version: None,
            record: records.remove(*name),
        })
        .collect();
    agents.extend(installed(&mut records));
    agents.extend(records.into_iter().map(|(name, record)| Agent {
        about: "an agent of earlier runs".to_owned(),
        name,
        usable: false,
        version: None,
        record: Some(record),
    }));
    let roles = site.map(|site| roles(&site.root)).unwrap_or_default();
    let list = AgentList { version: 1, agents, roles };
    match context.out.json {
        true => context.out.value(&list),
        false => context.out.data(&paint(&list.lines())),
    }
    Ok(Exit::Done)
}

impl AgentList {
    fn lines(&self) -> Vec<Line> {
        let (columns, _) = screen();
        let mut table = Table::new(&["agent", "", "record", "about"]);
        for agent in &self.agents {
            let usable = if agent.usable { (Style::Good, "ready") } else { (Style::Warn, "found") };
            let version = agent.version.as_ref().map(|version| format!("{version}; ")).unwrap_or_default();
            table.row([
                (Style::Strong, visible(&agent.name)),
                (usable.0, usable.1.to_owned()),
                (Style::Plain, agent.record.as_ref().map(Record::text).unwrap_or_default()),
                (Style::Plain, format!("{version}{}", agent.about)),
            ]);
        }
        let mut lines = table.lines(columns);
        if !self.roles.is_empty() {
            lines.push(Line::default());
            let mut table = Table::new(&["role", "of", "model", "about"]);
            for role in &self.roles {
                table.row([
                    (Style::Strong, visible(&role.name)),
                    (Style::Plain, role.host.to_owned()),
                    (Style::Plain, visible(role.model.as_deref().unwrap_or_default())),
                    (Style::Dim, visible(role.about.as_deref().unwrap_or(&role.file))),
                ]);
            }
            lines.extend(table.lines(columns));
        }
        lines
    }
}

impl Record {
    fn text(&self) -> String {
        let ended = u64::from(self.succeeded + self.failed);
        let mut text = format!("{} of {}", self.succeeded, plural(ended, "attempt"));
        if let Some(median) = self.median_ms {
            text.push_str(&format!(", {}", length(Millis(median))));
        }
        if self.usd_micros > 0 {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            text.push_str(&format!(", ${:.2}", self.usd_micros as f64 / 1e6));
        }
        text
    }
}

/// Finds programs of coding agents, and asks each for its version, all at the same time.
fn installed(records: &mut BTreeMap<String, Record>) -> Vec<Agent> {
    let found = Client::ALL.into_iter().filter_map(|client| Some((client, on_path(client.program())?)));
    let asked: Vec<_> = found
        .map(|(client, path)| (client, path.clone(), std::thread::spawn(move || version(&path))))
        .collect();
    asked
        .into_iter()
        .map(|(client, path, asked)| Agent {
            name: client.adapter().to_owned(),
            usable: true,
            about: format!("at {}; {}", visible(&path.display().to_string()), manner(client)),
            version: asked.join().ok().flatten(),
            record: records.remove(client.adapter()),
        })
        .collect()
}

/// Says how a client is driven.
fn manner(client: Client) -> &'static str {
    match client {
        _ if client.is_talked_to() => {
            "asks you what its rules leave open, and is told when its budget runs out"
        }
        _ if client.resumes() => "is asked once; a later attempt goes on in its session",
        _ => "is asked once",
    }
}

/// Asks a program for its version. It gets no more than its time, an empty environment, and a home that is thrown away.
fn version(program: &Path) -> Option<String> {
    let name = program.file_name()?.to_string_lossy().into_owned();
    let home = env::temp_dir().join(format!("kapell-probe-{}-{name}", std::process::id()));
    fs::create_dir(&home).ok()?;
    let said = ask(program, &home);
    // What it left there is of no use to anybody.
    let _ = fs::remove_dir_all(&home);
    let text = said.ok()?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(visible(&line.chars().take(80).collect::<String>()))
}

fn ask(program: &Path, home: &Path) -> io::Result<String> {
    let mut command = Command::new(program);
    command.arg("--version").env_clear().env("PATH", site::search_path()).env("HOME", home).current_dir(home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn()?;
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > PROBE {
            end(&mut child);
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // Whatever it left running would hold the pipe open.
    end(&mut child);
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(PROBE_BYTES_MAX).read_to_end(&mut text)?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Ends a program and all that it started in its group.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

/// Finds a program on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |path: &PathBuf| {
        path.is_absolute()
            && fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&site::search_path()).map(|dir| dir.join(name)).find(is_program)
}

/// Reads the roles that the repository defines.
fn roles(root: &Path) -> Vec<Role> {
    let mut roles = Vec::new();
    for (dir, end, read) in [
        (".claude/agents", "md", claude_role as fn(&str) -> RoleFacts),
        (".codex/agents", "toml", codex_role as fn(&str) -> RoleFacts),
    ] {
        for path in files(&root.join(dir), end) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let facts = read(&text);
            roles.push(Role {
                name: facts.name.unwrap_or(stem),
                host: if end == "md" { "claude" } else { "codex" },
                file: path.strip_prefix(root).unwrap_or(&path).display().to_string(),
                about: facts.about,
                model: facts.model,
            });
        }
    }
    roles.sort();
    roles
}

#[derive(Default)]
struct RoleFacts {
    name: Option<String>,
    about: Option<String>,
    model: Option<String>,
}

fn claude_role(text: &str) -> RoleFacts {
    let definition = Definition::read(text);
    let get = |key| definition.text(key).map(|named| named.text.clone());
    RoleFacts { name: get("name"), about: get("description"), model: get("model") }
}

fn codex_role(text: &str) -> RoleFacts {
    let read = codex::read(text).unwrap_or_default();
    RoleFacts { name: read.name, about: read.description, model: None }
}

/// Finds files of one kind below a directory, without following links.
fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            if meta.is_dir() {
                left.push(path);
            } else if meta.is_file()
                && meta.len() <= ROLE_BYTES_MAX
                && path.extension().is_some_and(|kind| kind == end)
            {
                found.push(path);
            }
            if found.len() == ROLES_MAX {
                return found;
            }
        }
    }
    found
}

/// How each adapter has done in the newest runs. What cannot be read teaches nothing.
fn records(site: &Site) -> BTreeMap<String, Record> {
    if !site.store.join("journal.sqlite").exists() {
        return BTreeMap::new();
    }
    let Ok(store) = site.existing_store() else { return BTreeMap::new() };
    let mut tally = Tally::default();
    let mut left = DECISIONS_MAX;
    for head in store.runs().unwrap_or_default().iter().take(RUNS_MAX) {
        if head.version.0 > left {
            break;
        }
        left -= head.version.0;
        tally.run(&store, head);
    }
    tally.records()
}

/// Attempts that ended, by adapter.
#[derive(Default)]
struct Tally {
    records: BTreeMap<String, Record>,
    lengths: BTreeMap<String, Vec<Millis>>,
}

impl Tally {
    fn run(&mut self, store: &Store, head: &kapell_engine::port::journal::RunHead) {
        let mut open: BTreeMap<TaskId, Elapsed> = BTreeMap::new();
        let _ = load_at(store as &dyn Journal, head.run, head.version, |row, events, after| {
            for event in events {
                if let Event::Started { task, .. } = event {
                    open.insert(*task, row.elapsed);
                    continue;
                }
                let (task, spent, well) = match event {
                    Event::Completed { task, spent, .. } | Event::Submitted { task, spent, .. } => {
                        (task, spent, true)
                    }
                    Event::AttemptFailed { task, spent, .. } => (task, spent, false),
                    _ => continue,
                };
                // What was checked after its attempt has ended before.
                let Some(since) = open.remove(task) else { continue };
                let plan = after.plan();
                let agent = plan.definition(*task).agent.and_then(|agent| plan.agent(agent));
                let name = agent.map_or("command", |agent| agent.adapter.as_str());
                let record = self.records.entry(name.to_owned()).or_default();
                record.usd_micros += spent.usd_micros;
                match well {
                    true => {
                        record.succeeded += 1;
                        self.lengths.entry(name.to_owned()).or_default().push(row.elapsed.since(since));
                    }
                    false => record.failed += 1,
                }
            }
        });
    }

    fn records(mut self) -> BTreeMap<String, Record> {
        for (name, mut lengths) in self.lengths {
            lengths.sort_unstable();
            if let Some(record) = self.records.get_mut(&name) {
                record.median_ms = Some(quantile(&lengths, 0.5).0);
            }
        }
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(dir: &Path, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("agent");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_program_is_asked_for_its_version_in_a_clean_room() {
        let dir = tempfile::tempdir().unwrap();
        for (body, expected) in [
            ("echo; echo ' 1.2.3 (Agent) '", Some("1.2.3 (Agent)")),
            ("echo \"$1 ${USER:-nobody} $(pwd | grep -c kapell-probe)\"", Some("--version nobody 1")),
            ("exit 3", None),
            ("printf '\\033[2J'", Some("␛[2J")),
        ] {
            assert_eq!(version(&script(dir.path(), body)).as_deref(), expected, "{body}");
        }
        assert_eq!(version(Path::new("/nowhere/agent")), None);
    }

    #[test]
    fn roles_are_read_with_what_they_say_of_themselves() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            (
                ".claude/agents/deep/reviewer.md",
                "---\nname: reviewer\ndescription: Reads\nmodel: opus\n---\nBody",
            ),
            (".claude/agents/plain.md", "No frontmatter"),
            (".claude/agents/notes.txt", "no role"),
            (".codex/agents/tester.toml", "name = \"tester\"\ndescription = \"Tests\"\n"),
            (".codex/agents/broken.toml", "name = "),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let told: Vec<String> = roles(dir.path())
            .into_iter()
            .map(|role| {
                format!("{} {} {:?} {:?}", role.name, role.host, role.about.as_deref(), role.model.as_deref())
            })
            .collect();
        assert_eq!(
            told,
            [
                "broken codex None None",
                "plain claude None None",
                "reviewer claude Some(\"Reads\") Some(\"opus\")",
                "tester codex Some(\"Tests\") None",
            ]
        );
    }
}
