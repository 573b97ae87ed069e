//! `doctor`: what is there, what is missing, and how to get it. Things are tried, not looked up.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kapell_agents::{drivers::client::Client, git::Git};
use kapell_policy::memory::{fitting, need_mib};
use kapell_store::network_file_system;
use kapell_view::{
    text::{Line, Style, bytes, wrap},
    untrusted::visible,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Context,
    install::{Known, known},
};
use crate::{
    config, containment,
    exit::Exit,
    fault::Fault,
    memory,
    output::{page, paint},
    registry::{self, Registry},
    site::{self, Site},
};

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// As it should be.
    Good,
    /// kapell works, but something is weaker or slower for it.
    Weak,
    /// kapell does not work without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, JsonSchema)]
struct Check {
    /// What was looked at.
    name: &'static str,
    /// How well it is.
    level: Level,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, level: Level::Good, found: found.into(), hint: None }
    }

    fn weak(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, level: Level::Weak, found: found.into(), hint: Some(hint.into()) }
    }

    fn missing(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, level: Level::Missing, found: found.into(), hint: Some(hint.into()) }
    }

    fn of(name: &'static str, fault: Fault) -> Self {
        let why = fault.because.first().map(|why| format!(": {why}")).unwrap_or_default();
        let place = fault.place.map(|place| format!("{}: ", place.at)).unwrap_or_default();
        Self {
            name,
            level: Level::Missing,
            found: format!("{place}{}{why}", fault.message),
            hint: Some(fault.hint.unwrap_or_else(|| format!("kapell explain {}", fault.code))),
        }
    }
}

/// What this machine and place offer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Health {
    /// The version of this form: 1.
    version: u32,
    /// The version of kapell.
    kapell: &'static str,
    /// Whether everything is there that kapell needs.
    good: bool,
    /// Everything that was looked at.
    checks: Vec<Check>,
}

/// Says what is there, what is missing, and how to get it.
///
/// # Errors
///
/// Never fails: what is wrong is its answer, and exit code 6.
pub fn doctor(context: &Context) -> Result<Exit, Fault> {
    let mut checks = vec![git()];
    let mut here = None;
    match context.site() {
        Ok(site) => {
            checks.push(repository(&site));
            checks.extend(store(&site));
            checks.push(match site.cache() {
                Ok(cache) => writable("workspaces", &cache),
                Err(fault) => Check::of("workspaces", fault),
            });
            // That may be another disk than the store's.
            checks.extend(site.cache().ok().map(|cache| disk("their disk", &nearest(&cache))));
            checks.extend(levels(&site));
            checks.extend(clients(&site));
            here = Some(site);
        }
        Err(fault) => {
            let at = fault.place.as_ref().map_or("", |place| place.at.as_str());
            let name = if at.contains(config::FILE) { "settings" } else { "repository" };
            checks.push(Check::of(name, fault));
        }
    }
    checks.extend(installed(here.as_ref()));
    checks.push(match site::runtime_dir() {
        Ok(dir) => Check::good("sockets", shown(&dir)),
        Err(fault) => Check::of("sockets", fault),
    });
    checks.extend([home(), shell(), cores(), memory(here.as_ref())]);
    let good = checks.iter().all(|check| check.level != Level::Missing);
    let health = Health { version: 1, kapell: env!("CARGO_PKG_VERSION"), good, checks };
    match context.out.json {
        true => context.out.value(&health),
        false => context.out.data(&paint(&health.lines(page()))),
    }
    if good {
        return Ok(Exit::Done);
    }
    let lacking: Vec<&str> =
        health.checks.iter().filter(|check| check.level == Level::Missing).map(|check| check.name).collect();
    let fault = Fault::new("K0909", Exit::Environment, "something that kapell needs is not there")
        .because(lacking.join(", "));
    Err(
        match health
            .checks
            .iter()
            .find(|check| check.level == Level::Missing)
            .and_then(|check| check.hint.clone())
        {
            Some(hint) => fault.hint(hint),
            None => fault,
        },
    )
}

/// The fewest columns for what was found: on a narrower screen the terminal itself breaks the lines.
const ROOM_MIN: usize = 20;

impl Health {
    /// Returns the answer as lines; what was found goes on below if it does not fit.
    fn lines(&self, columns: usize) -> Vec<Line> {
        let mut lines = vec![Line::new(Style::Strong, format!("kapell {}", self.kapell))];
        let wide = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        for check in &self.checks {
            let (style, word) = match check.level {
                Level::Good => (Style::Good, "ok     "),
                Level::Weak => (Style::Warn, "weak   "),
                Level::Missing => (Style::Bad, "missing"),
            };
            let room = columns.saturating_sub(word.len() + wide + 4).max(ROOM_MIN);
            let mut found = wrap(&check.found, room).into_iter();
            let first = format!("  {:wide$}  {}", check.name, found.next().unwrap_or_default());
            lines.push(Line::new(style, word).with(Style::Plain, first));
            lines.extend(found.map(|more| Line::plain(format!("         {:wide$}  {more}", ""))));
            let hint = check.hint.as_ref();
            lines.extend(hint.map(|hint| Line::new(Style::Dim, format!("         {:wide$}  -> {hint}", ""))));
        }
        lines
    }
}

fn shown(path: &Path) -> String {
    visible(&path.display().to_string())
}

fn git() -> Check {
    let found =
        Git::find(&site::search_path()).and_then(|git| Ok((git.version()?, git.program().to_owned())));
    match found {
        Ok(((major, minor), program)) => {
            Check::good("git", format!("{major}.{minor} at {}", shown(&program)))
        }
        Err(error) => {
            let hint = error.hint().unwrap_or("install git 2.38 or newer");
            Check::missing("git", error.kind.to_string(), hint)
        }
    }
}

fn repository(site: &Site) -> Check {
    let Some(repo) = &site.repo else {
        return Check::weak(
            "repository",
            "none: tasks work in place, and nothing lands",
            "git init, or kapell -C REPOSITORY doctor",
        );
    };
    let mut traits = Vec::new();
    traits.extend(repo.top().is_none().then_some("bare"));
    traits.extend(repo.is_shallow().then_some("shallow"));
    traits.extend(repo.is_sparse().then_some("sparse checkout"));
    let what = match repo.head() {
        kapell_agents::git::Head::Branch { name, .. } => name.trim_start_matches("refs/heads/").to_owned(),
        kapell_agents::git::Head::Detached { oid } => format!("detached at {oid}"),
        kapell_agents::git::Head::Unborn { .. } => {
            return Check::weak("repository", "it has no commit yet", "git commit --allow-empty -m begin");
        }
    };
    let traits = traits.iter().map(|word| format!(", {word}")).collect::<String>();
    Check::good("repository", format!("{}, on {}{traits}", shown(&site.root), visible(&what)))
}

/// The directory that is there: `path` or the nearest above it.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Looks at the place of the store, and times what each durable step costs there.
fn store(site: &Site) -> Vec<Check> {
    let dir = nearest(&site.store);
    let mut checks = Vec::new();
    checks.push(match fsync_time(&dir) {
        Ok(time) => {
            let found =
                format!("{}, a durable write takes {:.2} ms", shown(&site.store), time.as_secs_f64() * 1e3);
            match time > Duration::from_millis(50) {
                true => Check::weak("store", found, "KAPELL_STORE=DIR on a faster disk"),
                false => Check::good("store", found),
            }
        }
        Err(error) => Check::missing(
            "store",
            format!("{}: {error}", shown(&dir)),
            "KAPELL_STORE=DIR that you can write to",
        ),
    });
    checks.push(match network_file_system(&dir) {
        Ok(None) => Check::good("file system", "local"),
        Ok(Some(kind)) => Check::weak(
            "file system",
            format!("{kind}: its locks do not hold, and a journal on it can be damaged"),
            "KAPELL_STORE=DIR on a local disk",
        ),
        Err(error) => Check::weak("file system", error.to_string(), "KAPELL_STORE=DIR on a local disk"),
    });
    checks.push(disk("disk", &dir));
    if site.store.join("journal.sqlite").exists() {
        checks.push(match site.open_store() {
            Ok((store, _)) => match kapell_engine::port::journal::Journal::runs(&store) {
                Ok(runs) => Check::good("journal", kapell_view::text::plural(runs.len() as u64, "run")),
                Err(error) => Check::of("journal", error.into()),
            },
            Err(fault) => Check::of("journal", fault),
        });
    }
    checks
}

/// Returns the median time of a few small writes, each made durable.
fn fsync_time(dir: &Path) -> std::io::Result<Duration> {
    let path = dir.join(format!(".kapell-doctor-{}", std::process::id()));
    let timed = || -> std::io::Result<Duration> {
        let mut file = fs::File::create(&path)?;
        let mut times = Vec::new();
        for _ in 0..5 {
            let begin = Instant::now();
            file.write_all(&[0; 256])?;
            file.sync_data()?;
            times.push(begin.elapsed());
        }
        times.sort();
        Ok(times[2])
    };
    let time = timed();
    let removed = fs::remove_file(&path);
    time.and_then(|time| removed.map(|()| time))
}

fn disk(name: &'static str, dir: &Path) -> Check {
    match rustix::fs::statvfs(dir) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let found = format!("{} free", bytes(free));
            match free < 1 << 30 {
                true => Check::weak(name, found, "kapell gc --dry-run shows what can go"),
                false => Check::good(name, found),
            }
        }
        Err(error) => Check::weak(name, error.to_string(), "df"),
    }
}

fn writable(name: &'static str, dir: &Path) -> Check {
    let there = nearest(dir);
    match fsync_time(&there) {
        Ok(_) => Check::good(name, shown(dir)),
        Err(error) => Check::missing(
            name,
            format!("{}: {error}", shown(&there)),
            "XDG_CACHE_HOME=DIR that you can write to",
        ),
    }
}

fn home() -> Check {
    match env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Check::good("home", shown(Path::new(&home))),
        None => {
            Check::weak("home", "HOME is not set", "export HOME, or set XDG_CACHE_HOME and XDG_CONFIG_HOME")
        }
    }
}

fn shell() -> Check {
    match Path::new("/bin/sh").exists() {
        true => Check::good("shell", "/bin/sh"),
        false => Check::missing(
            "shell",
            "there is no /bin/sh, which runs the commands of tasks",
            "install a POSIX shell",
        ),
    }
}

fn cores() -> Check {
    let cores = crate::workflow::default_jobs();
    Check::good("cores", format!("{cores}: as many commands run at a time (--jobs)"))
}

fn memory(site: Option<&Site>) -> Check {
    let Some(known) = memory::read() else {
        return Check::weak(
            "memory",
            "not known on this system",
            "set `memory` in kapell.toml: agents are limited by it",
        );
    };
    let group = match known.group {
        Some((limit, used)) => {
            format!(", {} of a group of {}", bytes(limit.saturating_sub(used)), bytes(limit))
        }
        None => String::new(),
    };
    let agents = site.and_then(memory::for_agents).unwrap_or_else(|| known.for_agents());
    let fits = fitting(agents, need_mib(Client::ClaudeCode.adapter()));
    let found = format!(
        "{} of {} available{group}; {} for agents: {fits} of Claude Code at a time",
        bytes(known.available),
        bytes(known.total),
        bytes(u64::from(agents) << 20)
    );
    match agents < need_mib(Client::Opencode.adapter()) {
        true => Check::weak(
            "memory",
            found,
            "agents wait for each other: end what you do not need, or set `memory` in kapell.toml",
        ),
        false => Check::good("memory", found),
    }
}

/// Which coding agents are there, and whether they can reach their model. A key is looked for, never at.
fn clients(site: &Site) -> Vec<Check> {
    let registry = match Registry::find(site) {
        Ok(registry) => registry,
        Err(fault) => return vec![Check::of("agents", fault)],
    };
    // What needs no program is of interest only where there is a key for it.
    let of_interest = |client: &Client| match client {
        Client::Acp(_) | Client::OpencodeRun => false,
        Client::Model(_) => {
            registry.access(*client).is_some() || registry.absent_key_giver(*client).is_some()
        }
        _ => true,
    };
    let asked: Vec<_> = Client::ALL
        .into_iter()
        .filter(of_interest)
        .map(|client| {
            let program = registry.program(client);
            (
                client,
                program.clone(),
                program.map(|path| std::thread::spawn(move || registry::probe(&path, client))),
            )
        })
        .collect();
    let check = |(client, program, asked): (Client, Option<PathBuf>, Option<std::thread::JoinHandle<_>>)| {
        let name = client.adapter();
        if let Client::Model(_) = client {
            return accessed(&registry, client, "");
        }
        let Some(program) = program else {
            return Check::weak(name, "not installed", install_hint(client));
        };
        let probed: registry::Probed = asked.and_then(|asked| asked.join().ok()).unwrap_or_default();
        let version = probed.version.unwrap_or_else(|| "does not say its version".to_owned());
        accessed(&registry, client, &format!("{version} at {}; ", shown(&program)))
    };
    asked.into_iter().map(check).collect()
}

/// How a client gets to its model, after what was `found` of it.
fn accessed(registry: &Registry, client: Client, found: &str) -> Check {
    let name = client.adapter();
    if let Some(access) = registry.access(client) {
        return Check::good(name, format!("{found}{access}"));
    }
    let Some(giver) = registry.absent_key_giver(client) else {
        return Check::weak(name, format!("{found}neither a key nor a login"), access_hint(client));
    };
    let (setting, program) = (giver.setting(), visible(giver.program()));
    let absent = format!("{found}`{setting}` starts `{program}`, which is not there");
    Check::weak(name, absent, giver.install_hint())
}

/// Which other programs kapell was made known to, and whether what was installed there is whole.
fn installed(site: Option<&Site>) -> Vec<Check> {
    let mut names = Vec::new();
    let mut checks = Vec::new();
    for Known { name, fault } in known(site.map(|site| site.root.as_path())) {
        match fault {
            None => names.push(name),
            Some((found, hint)) => checks.push(Check::weak("installed", format!("{name}: {found}"), hint)),
        }
    }
    if !names.is_empty() {
        checks.insert(0, Check::good("installed", format!("known to {}", names.join(", "))));
    } else if checks.is_empty() {
        checks.push(Check::good("installed", "known to no other program: kapell install --help"));
    }
    checks
}

fn install_hint(client: Client) -> &'static str {
    match client {
        Client::ClaudeCode => "npm install -g @anthropic-ai/claude-code",
        Client::Codex | Client::CodexApp => "npm install -g @openai/codex",
        Client::Gemini => "npm install -g @google/gemini-cli",
        Client::Opencode | Client::OpencodeRun => "npm install -g opencode-ai",
        Client::Model(_) | Client::Acp(_) => "set `program` under [clients.NAME] in your kapell.toml",
    }
}

fn access_hint(client: Client) -> String {
    let login = match client {
        Client::ClaudeCode => "claude, then /login",
        Client::Codex | Client::CodexApp => "codex login",
        Client::Gemini => "gemini, which asks",
        Client::Opencode | Client::OpencodeRun => "opencode auth login",
        Client::Model(_) | Client::Acp(_) => "a key is the only way",
    };
    format!("export {}=KEY, or `key_keyring` in your own settings, or log in: {login}", client.key_variable())
}

/// Which levels of containment work, by trying to break out of them.
fn levels(site: &Site) -> Vec<Check> {
    use kapell_agents::contain::Level as Held;
    let keeper = match containment::keeper(site) {
        Ok(keeper) => keeper,
        Err(fault) => return vec![Check::of("containment", fault)],
    };
    let found = keeper.found();
    let highest = found.highest();
    let mut checks = vec![Check::good("containment", format!("level {highest}: {}", highest.about()))];
    for (name, level) in [("level 3", Held::Namespaces), ("level 2", Held::Files)] {
        checks.push(match found.has(level) {
            Ok(()) => Check::good(name, format!("{}; tried", level.about())),
            Err(why) => Check::weak(name, why.to_string(), why.hint()),
        });
    }
    checks.push(match found.groups() {
        Ok(dir) => Check::good(
            "control group",
            format!("level 2 ends all processes at once, below {}; tried", shown(dir)),
        ),
        Err(why) => Check::weak(
            "control group",
            format!("{why}: level 2 finds processes one by one"),
            "nothing to do at level 3; else systemd-run --user --scope -p Delegate=yes kapell ...",
        ),
    });
    checks
}
