//! Settings: `kapell.toml`, found by walking up from where one stands, then the user's own.
//!
//! A file in a repository is somebody else's text until it is read: it can set nothing that reaches out of its own
//! directory.

pub mod agents; // agents that tasks can name, or be given to
mod clients; // those of coding agents
mod servers; // those of MCP servers

use std::{
    fs, io,
    ops::Range,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use kapell_agents::contain::{Network, NoHost, UnknownSetting, Wish};
use kapell_spec::{
    finding::{Finding, Source, Span, render},
    suggest, workflow,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub use self::{clients::Clients, servers::Servers};
use crate::{budget::Budget, exit::Exit, fault::Fault};

/// The name of the file.
pub const FILE: &str = "kapell.toml";

/// Files larger than this are not settings.
const BYTES_MAX: u64 = 1 << 20;

const KEYS: [&str; 13] = [
    "store",
    "agents",
    "jobs",
    "memory",
    "workspaces",
    "budget",
    "sandbox",
    "network",
    "check-sandbox",
    "check-network",
    "clients",
    "agent",
    "mcp",
];

/// Settings; what nobody set is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Where the store is.
    pub store: Option<PathBuf>,
    /// How many agents work at the same time, if neither the file nor the command line says so.
    pub agents: Option<u32>,
    /// How many commands run at the same time.
    pub jobs: Option<u32>,
    /// How much memory agents may take together, in MiB.
    pub memory_mib: Option<u32>,
    /// How much disk the workspaces may take together, in MiB.
    pub workspaces_mib: Option<u32>,
    /// The limits of runs whose file and command line give none.
    pub budget: Option<Budget>,
    /// Containment as the user's own file grants it.
    pub granted: Wish,
    /// Containment as a file found by walking up asks for it: it can ask for more, never for less.
    pub asked: Wish,
    /// How checks are contained, which are not without it. Every file can ask for more.
    pub checks: Option<Wish>,
    /// What is set for coding agents.
    pub clients: Clients,
    /// Agents that settings define.
    pub defined: agents::Agents,
    /// MCP servers whose tools tasks call.
    pub servers: Servers,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Found by walking up: perhaps it came with a repository.
    Place,
    /// The user's own.
    User,
}

impl Config {
    /// Reads the nearest file above `dir`, then that of the user in `user_dir`; what the nearer one sets counts.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read, or is not as it should be.
    pub fn find(dir: &Path, user_dir: Option<&Path>) -> Result<Self, Fault> {
        let mut config = Self::default();
        let near = dir.ancestors().map(|dir| dir.join(FILE)).find(|path| path.is_file());
        let user = user_dir.map(|dir| dir.join("kapell").join(FILE)).filter(|path| path.is_file());
        let files = [near.map(|path| (path, Whose::Place)), user.map(|path| (path, Whose::User))];
        for (path, whose) in files.into_iter().flatten() {
            config = config.or(read(&path, whose)?);
        }
        Ok(config)
    }

    fn or(self, other: Self) -> Self {
        Self {
            store: self.store.or(other.store),
            agents: self.agents.or(other.agents),
            jobs: self.jobs.or(other.jobs),
            memory_mib: self.memory_mib.or(other.memory_mib),
            workspaces_mib: self.workspaces_mib.or(other.workspaces_mib),
            budget: self.budget.or(other.budget),
            granted: self.granted.and(other.granted),
            asked: self.asked.and(other.asked),
            checks: self.checks.into_iter().chain(other.checks).reduce(Wish::and),
            clients: self.clients.or(other.clients),
            // The nearer one counts.
            defined: other.defined.into_iter().chain(self.defined).collect(),
            servers: self.servers.or(other.servers),
        }
    }
}

fn read(path: &Path, whose: Whose) -> Result<Config, Fault> {
    let failed = |error: io::Error| Fault::io(path, &error);
    if fs::metadata(path).map_err(failed)?.len() > BYTES_MAX {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large to hold settings")));
    }
    let text = String::from_utf8_lossy(&fs::read(path).map_err(failed)?).into_owned();
    let dir = path.parent().unwrap_or(Path::new("."));
    parse(&text, dir, whose)
        .map_err(|finding| to_fault(&finding, &Source::new(&path.display().to_string(), &text)))
}

/// A finding as the error that ends the command.
fn to_fault(finding: &Finding, source: &Source) -> Fault {
    let (line, column) = source.position(finding.span.start);
    let place = format!("{}:{line}:{column}", kapell_view::untrusted::visible(&source.name));
    let mut fault = Fault::new(finding.code, Exit::Usage, finding.message.clone())
        .pictured(place, render(finding, source, false));
    fault.hint.clone_from(&finding.hint);
    fault
}

fn span(range: Range<usize>) -> Span {
    Span::new(range.start, range.end)
}

fn parse(text: &str, dir: &Path, whose: Whose) -> Result<Config, Box<Finding>> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        let finding = Finding::error("K0910", span(at), error.message().to_owned());
        Box::new(finding.hint("settings are lines such as `jobs = 4`"))
    })?;
    let mut config = Config::default();
    // The table is sorted by name; the first fault of the file is told first.
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        match key.get_ref().as_ref() {
            "store" => config.store = Some(store(value, dir, whose)?),
            "agents" => config.agents = Some(number(value, "agents")?),
            "jobs" => config.jobs = Some(number(value, "jobs")?),
            "memory" => config.memory_mib = Some(size(value, "memory", "memory")?),
            "workspaces" => config.workspaces_mib = Some(size(value, "workspaces", "disk space")?),
            "agent" => config.defined = agents::parse(value, whose)?,
            "budget" => config.budget = Some(budget(value)?),
            "sandbox" => wish(&mut config, whose).level = Some(named(value, "sandbox")?),
            "network" => wish(&mut config, whose).network = Some(network(value)?),
            "check-sandbox" => {
                config.checks.get_or_insert_default().level = Some(named(value, "check-sandbox")?);
            }
            "check-network" => {
                let network = named(value, "check-network")?;
                if matches!(network, Network::AllowList(_)) {
                    let finding = wrong(value, "`check-network` takes no list of hosts");
                    return Err(Box::new(finding.hint("check-network = \"none\"")));
                }
                config.checks.get_or_insert_default().network = Some(network);
            }
            "clients" => config.clients = Clients::parse(value, whose)?,
            "mcp" => config.servers = Servers::parse(value, whose)?,
            other => {
                let finding =
                    Finding::error("K0911", span(key.span()), format!("there is no setting `{other}`"));
                return Err(Box::new(match suggest::nearest(other, KEYS) {
                    Some(near) => finding.hint(format!("did you mean `{near}`?")),
                    None => finding.hint(format!("settings are {}", KEYS.join(", "))),
                }));
            }
        }
    }
    Ok(config)
}

/// The part of containment that a file can set.
fn wish(config: &mut Config, whose: Whose) -> &mut Wish {
    match whose {
        Whose::Place => &mut config.asked,
        Whose::User => &mut config.granted,
    }
}

/// Reads one of several names, which may look like a number.
fn named<T: FromStr<Err = UnknownSetting>>(
    value: &Spanned<DeValue<'_>>,
    key: &str,
) -> Result<T, Box<Finding>> {
    let number = value.get_ref().as_integer().map(|number| number.as_str());
    let text = match number {
        Some(number) => number,
        None => text(value, key)?,
    };
    text.parse().map_err(|error: UnknownSetting| {
        Box::new(wrong(value, error.to_string()).hint(format!("{key} = \"{}\"", first(error.known))))
    })
}

/// Reads a network: its name, or a list of hosts.
fn network(value: &Spanned<DeValue<'_>>) -> Result<Network, Box<Finding>> {
    if value.get_ref().as_array().is_none() {
        return named(value, "network");
    }
    let hosts = clients::texts(value, "network")?.join(",");
    let wrong = |error| Box::new(wrong(value, error).hint("network = [\"example.org\", \"*.example.org\"]"));
    hosts.parse().map(Network::AllowList).map_err(|error: NoHost| wrong(error.to_string()))
}

fn first(list: &str) -> &str {
    list.split(',').next().unwrap_or(list)
}

fn wrong(value: &Spanned<DeValue<'_>>, message: impl Into<String>) -> Finding {
    Finding::error("K0912", span(value.span()), message)
}

fn text<'a>(value: &'a Spanned<DeValue<'_>>, key: &str) -> Result<&'a str, Box<Finding>> {
    value.get_ref().as_str().ok_or_else(|| {
        let finding = wrong(value, format!("`{key}` is a text, not {}", value.get_ref().type_str()));
        Box::new(finding.hint(format!("{key} = \"...\"")))
    })
}

/// Reads a size, in MiB.
fn size(value: &Spanned<DeValue<'_>>, key: &str, of: &str) -> Result<u32, Box<Finding>> {
    let word = text(value, key)?;
    workflow::memory_mib(word).ok_or_else(|| {
        let finding = wrong(value, format!("`{}` is no size of {of}", word.escape_debug()));
        Box::new(finding.hint(format!("{key} = \"2GiB\"")))
    })
}

fn number(value: &Spanned<DeValue<'_>>, key: &str) -> Result<u32, Box<Finding>> {
    if key == "agents" && value.get_ref().is_table() {
        let finding = wrong(value, "`agents` is how many may work at a time");
        return Err(Box::new(finding.hint("an agent of your own is a table `[agent.NAME]`")));
    }
    let parsed = value
        .get_ref()
        .as_integer()
        .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
    let fits = parsed.filter(|number| (1..=1024).contains(number));
    fits.ok_or_else(|| {
        let finding = wrong(value, format!("`{key}` is a whole number from 1 to 1024"));
        Box::new(finding.hint(format!("{key} = 4")))
    })
}

fn budget(value: &Spanned<DeValue<'_>>) -> Result<Budget, Box<Finding>> {
    Budget::parse(text(value, "budget")?)
        .map_err(|why| Finding::error("K0913", span(value.span()), why).hint("budget = \"5usd,2M,2h\""))
        .map_err(Box::new)
}

fn store(value: &Spanned<DeValue<'_>>, dir: &Path, whose: Whose) -> Result<PathBuf, Box<Finding>> {
    let path = Path::new(text(value, "store")?);
    let stays = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.as_os_str().is_empty() {
        return Err(Box::new(wrong(value, "`store` is empty").hint("store = \".kapell\"")));
    }
    if whose == Whose::Place && !stays {
        let finding = wrong(value, "`store` leads out of the directory of this file")
            .label("only your own settings and KAPELL_STORE can name any directory");
        return Err(Box::new(finding.hint("export KAPELL_STORE=DIR")));
    }
    Ok(dir.join(path))
}

#[cfg(test)]
mod tests {
    use kapell_agents::contain::Level;

    use super::*;

    fn check(text: &str) -> String {
        match parse(text, Path::new("/repo"), Whose::Place) {
            Ok(config) => format!("{config:?}"),
            Err(finding) => format!(
                "{} {}..{} {} ({})",
                finding.code,
                finding.span.start,
                finding.span.end,
                finding.message,
                finding.hint.unwrap_or_default()
            ),
        }
    }

    #[test]
    fn settings_are_read() {
        assert_eq!(check(""), format!("{:?}", Config::default()));
        let text = "# mine\nstore = \"var/kapell\"\njobs = 0x8\nagents=2\nbudget = \"5usd\"\n";
        let config = parse(text, Path::new("/repo"), Whose::Place).unwrap();
        assert_eq!(config.store.as_deref(), Some(Path::new("/repo/var/kapell")));
        assert_eq!((config.jobs, config.agents), (Some(8), Some(2)));
        assert_eq!(config.budget.unwrap().usd_micros, Some(5_000_000));
    }

    #[test]
    fn every_setting_stands_on_its_page() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
        let page = fs::read_to_string(page).unwrap();
        let parts: Vec<&str> = page.split("\n## ").collect();
        let part = |head: &str| *parts.iter().find(|part| part.starts_with(head)).unwrap();
        for (part, keys) in [
            (
                parts[0],
                KEYS.iter().filter(|key| !["clients", "agent", "mcp"].contains(key)).collect::<Vec<_>>(),
            ),
            (part("`[clients.NAME]`"), clients::KEYS.iter().collect()),
            (part("`[agent.NAME]`"), agents::KEYS.iter().collect()),
            (part("`[mcp.NAME]`"), servers::KEYS.iter().collect()),
        ] {
            let absent: Vec<_> = keys.into_iter().filter(|key| !part.contains(&format!("`{key}`"))).collect();
            assert_eq!(absent, Vec::<&&str>::new(), "in {}", part.lines().next().unwrap());
        }
    }

    #[test]
    fn faults_are_pointed_at() {
        for (text, expected) in [
            ("job = 4", "K0911 0..3 there is no setting `job` (did you mean `jobs`?)"),
            (
                "x = 4",
                "K0911 0..1 there is no setting `x` (settings are store, agents, jobs, memory, workspaces, budget, sandbox, network, check-sandbox, check-network, clients, agent, mcp)",
            ),
            ("jobs = \"4\"", "K0912 7..10 `jobs` is a whole number from 1 to 1024 (jobs = 4)"),
            ("workspaces = \"much\"", "K0912 13..19 `much` is no size of disk space (workspaces = \"2GiB\")"),
            (
                "[agents.mine]",
                "K0912 1..7 `agents` is how many may work at a time (an agent of your own is a table `[agent.NAME]`)",
            ),
            ("jobs = 0", "K0912 7..8 `jobs` is a whole number from 1 to 1024 (jobs = 4)"),
            ("jobs = 99999999999999999999", "K0912 7..27 `jobs` is a whole number from 1 to 1024 (jobs = 4)"),
            (
                "network = \"closed\"",
                "K0912 10..18 `closed` is no network: it is one of none, model-only, open, or a list of hosts such as example.org,*.example.org (network = \"none\")",
            ),
            ("store = 1", "K0912 8..9 `store` is a text, not integer (store = \"...\")"),
            ("store = \"\"", "K0912 8..10 `store` is empty (store = \".kapell\")"),
            (
                "budget = \"lots\"",
                "K0913 9..15 `lots` is no amount of money, tokens or time (budget = \"5usd,2M,2h\")",
            ),
        ] {
            assert_eq!(check(text), expected, "{text}");
        }
        assert!(check("jobs = ").starts_with("K0910 "), "{}", check("jobs = "));
        assert!(check("jobs = 1\njobs = 2").starts_with("K0910 "), "{}", check("jobs = 1\njobs = 2"));
    }

    #[test]
    fn only_the_users_own_file_reaches_elsewhere() {
        for path in ["/elsewhere", "../elsewhere", "a/../../b"] {
            let text = format!("store = \"{path}\"");
            assert!(check(&text).starts_with("K0912"), "{path}");
            assert!(parse(&text, Path::new("/home"), Whose::User).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_file_of_the_place_asks_and_the_users_own_grants() {
        let text = "sandbox = 3\nnetwork = \"none\"";
        let wish = Wish { level: Some(Level::Namespaces), network: Some(Network::Nothing) };
        let of = |whose| parse(text, Path::new("/repo"), whose).unwrap();
        assert_eq!((of(Whose::Place).asked, of(Whose::Place).granted), (wish.clone(), Wish::default()));
        assert_eq!((of(Whose::User).asked, of(Whose::User).granted), (Wish::default(), wish.clone()));
        // Checks are not contained unless somebody asks, so each file can only add to that.
        let of = |text| parse(text, Path::new("/repo"), Whose::Place).unwrap();
        let both = of("check-sandbox = \"required\"").or(of("check-sandbox = 2\ncheck-network = \"none\""));
        assert_eq!((both.checks, of(text).checks), (Some(wish), None));
    }

    #[test]
    fn a_network_can_be_a_list_of_hosts() {
        let of = |text: &str| match parse(text, Path::new("/home"), Whose::User) {
            Ok(config) => config.granted.network.map(|network| network.to_string()).unwrap_or_default(),
            Err(finding) => finding.message,
        };
        assert_eq!(of("network = [\"example.org\", \"*.Example.org\"]"), "*.example.org,example.org");
        assert_eq!(of("network = \"example.org\""), "example.org");
        for (text, expected) in [
            (
                "network = [\"http://example.org\"]",
                "`http://example.org` names no host: example.org, *.example.org, 10.0.0.7:8080",
            ),
            ("network = [1]", "`network` is a text, not integer"),
            ("network = []", "`` names no host: example.org, *.example.org, 10.0.0.7:8080"),
            ("check-network = \"example.org\"", "`check-network` takes no list of hosts"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn the_nearer_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (place, user) = (dir.path().join("a/b/c"), dir.path().join("config"));
        fs::create_dir_all(&place).unwrap();
        fs::create_dir_all(user.join("kapell")).unwrap();
        fs::write(dir.path().join("a").join(FILE), "jobs = 3").unwrap();
        fs::write(user.join("kapell").join(FILE), "jobs = 5\nagents = 7").unwrap();
        let config = Config::find(&place, Some(&user)).unwrap();
        assert_eq!((config.jobs, config.agents), (Some(3), Some(7)));
        assert_eq!(Config::find(&place, None).unwrap().agents, None);
    }
}
