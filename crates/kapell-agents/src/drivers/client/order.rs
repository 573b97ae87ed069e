//! What a client is to do, and how it is made ready for that.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    CLIENT_FILE, Client, IDLE_MAX, Limit, Listener, OWN_SERVER, OWN_SERVER_NEEDS, Opening, PROMPT_FILE,
    Prices, Purse, SCHEMA_FILE, STEPS_MAX, Settings, Shape, Totals, Watch, acp, model, options,
};
use crate::{
    drivers::{acp::Permissions, mcp},
    private,
    supervise::Stdin,
};

/// What a client is to do.
#[derive(Debug, Clone)]
pub struct Order {
    /// Which client.
    pub client: Client,
    /// kapell's own program, which is what runs where the client is one of its own.
    pub kapell: PathBuf,
    /// What it is asked.
    pub prompt: String,
    /// What the user has set for it.
    pub settings: Settings,
    /// What the workflow says about it.
    pub options: BTreeMap<String, String>,
    /// Its HOME; it is made if need be, and kept, so that the client finds its sessions again.
    pub home: PathBuf,
    /// Where the user's own login is looked for.
    pub user_home: Option<PathBuf>,
    /// What models cost.
    pub prices: Prices,
    /// The session of an earlier attempt in which it goes on.
    pub resume: Option<Resume>,
    /// The outputs that its task promises.
    pub shape: Option<Shape>,
    /// Where it works.
    pub workspace: PathBuf,
    /// kapell's own program, which it calls before it uses a tool ([`crate::seat_belt`]), and as a server of tools.
    pub own_program: Option<PathBuf>,
    /// Whether what the repository brings along for it is trusted, as it is in the workspace.
    pub is_trusted: bool,
    /// What it may spend.
    pub limit: Limit,
    /// What it shares that with, if nothing was set aside for it alone and nobody else sees what it spends.
    pub purse: Option<Purse>,
    /// Whether the user has set no server of the model: its usual one is meant, also where the proxy takes its place.
    pub usual_server: bool,
    /// Whether kapell keeps it from the rest of the machine. If so, a client leaves its own sandbox off, for one within
    /// another does not work everywhere, and theirs is the weaker one.
    pub contained: bool,
}

/// A session in which a client goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The client's own name of it.
    pub session: String,
    /// What had been used in it by then.
    pub totals: Totals,
}

impl Order {
    /// Makes an order with nothing but what every one needs.
    #[must_use]
    pub fn new(client: Client, prompt: impl Into<String>, home: impl Into<PathBuf>) -> Self {
        Self {
            client,
            kapell: PathBuf::new(),
            prompt: prompt.into(),
            home: home.into(),
            settings: Settings::default(),
            options: BTreeMap::new(),
            user_home: None,
            prices: Prices::default(),
            resume: None,
            shape: None,
            workspace: PathBuf::new(),
            own_program: None,
            is_trusted: false,
            limit: Limit::default(),
            purse: None,
            usual_server: false,
            contained: false,
        }
    }

    /// Tells whether a person is asked what its own rules leave open.
    pub(super) fn asks(&self) -> bool {
        self.option("permissions") != Some("deny")
    }

    /// Returns the same order, to be asked in the session that it left only for what is missing.
    pub(crate) fn again(&self, session: &str, totals: Totals, text: &str) -> Self {
        let resume = Some(Resume { session: session.to_owned(), totals });
        Self { prompt: text.to_owned(), resume, ..self.clone() }
    }

    /// Returns what it is asked in the end: clients without a mechanism for outputs of a shape are asked in words.
    pub(super) fn asked(&self) -> String {
        match &self.shape {
            Some(shape) if !matches!(self.client, Client::ClaudeCode | Client::Codex | Client::CodexApp) => {
                format!("{}\n\n{}", self.prompt, shape.in_words())
            }
            _ => self.prompt.clone(),
        }
    }

    /// Returns the servers that it is given: those that the repository brings along in its `.mcp.json`, if that is trusted,
    /// and kapell's own. `variable` is how the client is told to take something from its environment: no secret of the
    /// attempt stands in a file or an argument.
    pub(super) fn servers(&self, variable: impl Fn(&str) -> String) -> mcp::Servers {
        let mut servers = if self.is_trusted { mcp::brought(&self.workspace) } else { mcp::Servers::new() };
        if let Some(program) = self.own_server() {
            let argv = [program.display().to_string().as_str(), "mcp", "--attempt"].map(str::to_owned);
            let env: [(OsString, OsString); 3] =
                OWN_SERVER_NEEDS.map(|name| (name.into(), variable(name).into()));
            let reach = mcp::Reach::Program(argv.into());
            let own = mcp::Server { reach, env: env.into(), headers: BTreeMap::new(), timeout: None };
            servers.insert(OWN_SERVER.to_owned(), own);
        }
        servers
    }

    /// Returns the program of kapell's own server, whose tools are those of `kapell task`, if the client is given it.
    ///
    /// Behind the Agent Client Protocol it is given with the session.
    pub(super) fn own_server(&self) -> Option<&Path> {
        let wanted = self.option("kapell_tools") != Some("no") && self.client.behind_acp().is_none();
        self.own_program.as_deref().filter(|_| wanted)
    }

    pub(super) fn model(&self) -> Option<&str> {
        self.option("model").or(self.settings.model.as_deref())
    }

    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    pub(super) fn base_url(&self) -> Option<&str> {
        self.settings.base_url.as_deref().map(|url| url.trim_end_matches('/'))
    }

    pub(super) fn idle(&self) -> Duration {
        self.settings.idle.unwrap_or(IDLE_MAX)
    }

    /// Says what of its settings cannot work, before anything is started.
    ///
    /// # Errors
    ///
    /// Returns it in words for people.
    pub fn check(&self) -> Result<(), String> {
        match (self.client, self.client.behind_acp()) {
            (Client::Model(api), _) => model::check(self, api),
            (_, Some(agent)) => acp::check(self, agent),
            _ => Ok(()),
        }
    }

    /// Returns the program that runs below kapell's own, if one does.
    pub(crate) fn below(&self) -> Option<OsString> {
        self.client.behind_acp().map(|_| self.program().into_os_string())
    }

    /// Returns the program, as it is looked up.
    pub(super) fn program(&self) -> PathBuf {
        self.settings.program.clone().unwrap_or_else(|| self.client.program().into())
    }

    pub(super) fn steps_max(&self) -> u32 {
        self.option(options::MAX_TURNS).and_then(|text| text.parse().ok()).unwrap_or(STEPS_MAX)
    }
}

/// How a client is started, besides its program.
#[derive(Debug, Default)]
pub(super) struct Invocation {
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    /// Files of its home, by their path below it.
    pub(super) files: Vec<(&'static str, String)>,
    /// Directories of its home that must be there, too.
    pub(super) dirs: Vec<&'static str>,
}

impl Invocation {
    pub(super) fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(super) fn args<'a>(&mut self, args: impl IntoIterator<Item = &'a str>) -> &mut Self {
        self.args.extend(args.into_iter().map(OsString::from));
        self
    }

    pub(super) fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }
}

/// A client made ready to start.
pub(crate) struct Prepared {
    pub(crate) argv: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) stdin: Stdin,
}

impl Order {
    /// Writes what the client needs into the attempt's directory, and says how it is started.
    ///
    /// # Errors
    ///
    /// Fails if the files cannot be written.
    pub(crate) fn prepare(&self, dir: &Path) -> io::Result<Prepared> {
        let home = &self.home;
        private::dir(home)?;
        if let Some(shape) = &self.shape {
            private::write(&dir.join(SCHEMA_FILE), shape.text())?;
        }
        let invocation = self.client.invoke(self);
        for (path, text) in &invocation.files {
            private::write_below(home, Path::new(path), text)?;
        }
        for dir in &invocation.dirs {
            private::dir_below(home, Path::new(dir))?;
        }
        if self.settings.key.is_none() {
            self.lend_login()?;
        }
        let prompt = dir.join(PROMPT_FILE);
        private::write(&prompt, self.asked())?;
        private::write(&dir.join(CLIENT_FILE), self.known())?;
        let is_own = matches!(self.client, Client::Model(_)) || self.client.behind_acp().is_some();
        let program = if is_own { self.kapell.clone() } else { self.program() };
        let argv = std::iter::once(program.into_os_string()).chain(invocation.args).collect();
        let mut env: Vec<(OsString, OsString)> = self.tool_homes();
        env.push(("HOME".into(), home.into()));
        env.extend(invocation.env);
        env.extend(self.settings.env.iter().cloned());
        let stdin = match self.client.is_talked_to() {
            true => Stdin::Talk,
            false => Stdin::File(prompt.into_os_string()),
        };
        Ok(Prepared { argv, env, stdin })
    }

    /// Lets the client see its own credentials, and nothing else, of the user's home.
    pub(super) fn lend_login(&self) -> io::Result<()> {
        let Some(user_home) = &self.user_home else { return Ok(()) };
        for path in self.client.credentials() {
            let theirs = user_home.join(path);
            if theirs.is_file() {
                // A link, so that a login that is renewed meanwhile is kept.
                private::link_below(&self.home, Path::new(path), &theirs)?;
            }
        }
        Ok(())
    }

    /// Returns what it must be able to write besides, wherever it is contained: the login that was lent to it.
    pub(crate) fn lent(&self) -> Vec<PathBuf> {
        let Some(user_home) = self.user_home.as_ref().filter(|_| self.settings.key.is_none()) else {
            return Vec::new();
        };
        let paths = self.client.credentials().iter().map(|path| user_home.join(path));
        paths.filter(|path| path.is_file()).collect()
    }

    /// Toolchains that live in a home are found although the home is another one.
    pub(super) fn tool_homes(&self) -> Vec<(OsString, OsString)> {
        let Some(home) = &self.user_home else { return Vec::new() };
        let of = |name: &str, dir: &str| {
            let path = home.join(dir);
            path.is_dir().then(|| (name.into(), path.into_os_string()))
        };
        [of("CARGO_HOME", ".cargo"), of("RUSTUP_HOME", ".rustup")].into_iter().flatten().collect()
    }

    /// Returns what another kapell must know to read how it ended.
    pub(super) fn known(&self) -> String {
        let totals = self.resume.as_ref().and_then(|resume| serde_json::to_string(&resume.totals).ok());
        let totals = totals.unwrap_or_default();
        // A path that is no text is left out: then nobody goes on there.
        let workspace = serde_json::to_string(&self.workspace).unwrap_or_default();
        let (client, model) = (self.client.adapter(), self.model().unwrap_or_default());
        format!("{client}\n{model}\n{totals}\n{workspace}\n")
    }

    /// Begins to read along, and to talk to it if it can be talked to.
    pub(crate) fn listen(&self, dir: &Path) -> Listener {
        let watch = Watch {
            steps_max: self.steps_max(),
            idle_max: self.idle(),
            model: self.model().map(str::to_owned),
            prices: self.prices.clone(),
            is_resumed: self.resume.is_some(),
            totals: self.resume.as_ref().map(|resume| resume.totals).unwrap_or_default(),
            shape: self.shape.clone(),
            limit: self.limit,
            purse: self.purse.as_ref().map(Purse::spender),
        };
        let mut listener = Listener::open(dir, self.client, watch);
        if self.client.is_talked_to() {
            listener.begin(Opening {
                prompt: self.asked(),
                workspace: self.workspace.clone(),
                asks: self.asks(),
                allows: acp::permissions(self) == Some(Permissions::Allow),
                contained: self.contained,
                resume: self.resume.as_ref().map(|resume| resume.session.clone()),
                shape: self.shape.as_ref().map(Shape::text),
            });
        }
        listener
    }
}
