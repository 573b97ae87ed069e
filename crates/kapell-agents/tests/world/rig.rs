//! A repository, its workspaces and a host over them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kapell_agents::{
    git::Identity,
    workspace::Pool,
    world::{
        CrewAgents, MergeError, MergeProposal, MergeRequest, Places, Program, Repository, RepositoryConfig,
    },
};
use kapell_core::{
    budget::Limits,
    event::Event,
    id::{AttemptNo, Oid, RunId, TaskId},
    journal::Row,
    mission::Mission,
    plan::{Definition, Plan, PlanBuilder, PlanLimits, Protect, Work, WorkspaceKind},
    run::Run,
    task::Change,
    time::{Millis, Wall},
};
use kapell_engine::{
    host::{Config, Host, Input, Mailbox, Observer, Rest},
    perform::Performer,
    port::{
        agents::{AttemptKey, Report},
        clock::Clock,
        journal::{Journal, Owner},
        workspaces::{Check, CheckCommand, Ready, Request, Setup, Workspaces},
    },
};

use crate::{
    journal::MemoryJournal,
    support::{MAIN, World},
};

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_kapell-agents-helper");

/// What the journal says of itself.
#[derive(Clone, Default)]
pub(crate) struct Log;

impl Log {
    pub(crate) fn say(&self, _line: String) {}
}

pub(crate) struct MachineClock(Instant);

impl Clock for MachineClock {
    fn wall(&self) -> Wall {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Wall(i64::try_from(now.as_millis()).unwrap())
    }

    fn boot(&self) -> Millis {
        Millis(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

/// Notes all events, as text.
#[derive(Clone, Default)]
pub(crate) struct Seen(pub(crate) Arc<Mutex<Vec<Event>>>);

impl Observer for Seen {
    fn decided(&mut self, _run: &Run, _rows: &[Row], events: &[Event]) {
        self.0.lock().unwrap().extend_from_slice(events);
    }
}

/// A machine with a repository. Dropped before its directory.
pub(crate) struct Rig {
    pub(crate) host: Host,
    pub(crate) seen: Seen,
    pub(crate) repository: Arc<Repository>,
    pub(crate) agents: Arc<CrewAgents>,
    pub(crate) journal: MemoryJournal,
    pub(crate) world: World,
}

impl Rig {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        Self::over(World::new(files), MemoryJournal::new(Log), 40)
    }

    /// A process over what may have been there before, with so many workspaces.
    pub(crate) fn over(world: World, journal: MemoryJournal, workspaces: usize) -> Self {
        Self::with(world, journal, workspaces, |agents| agents)
    }

    /// The same with agents of another kind.
    pub(crate) fn with(
        world: World,
        journal: MemoryJournal,
        workspaces: usize,
        change: impl FnOnce(CrewAgents) -> CrewAgents,
    ) -> Self {
        let (mailbox, inputs) = Mailbox::new();
        let path = |name: &str| world.path(name);
        let env = vec![
            ("PATH".into(), std::env::var_os("PATH").unwrap()),
            ("OUT".into(), path("out").into()),
            ("HELPER".into(), HELPER.into()),
        ];
        fs::create_dir_all(path("out")).unwrap();
        let places = Places {
            attempts: path("attempts"),
            scratch: path("scratch"),
            shared: path("shared"),
            env,
            servers: Default::default(),
            clients: Default::default(),
            prices: Default::default(),
        };
        let reports = mailbox.clone();
        let sink = Arc::new(move |key: AttemptKey, report: Report| reports.send(Input::Agent(key, report)));
        let program = Program(HELPER.into());
        let agents = CrewAgents::open(program, places.clone(), 4, Some(path("desk")), sink).unwrap();
        let agents = Arc::new(change(agents).lending(world.own_repo().lends()));
        let pool = Pool::open(world.own_repo(), &path("pool"), workspaces).unwrap();
        let repository = Arc::new(Repository::new(RepositoryConfig {
            user: world.user(),
            repo: world.own_repo(),
            pool,
            who: Identity::new("Ada", "ada@example.org"),
            places,
            agents: agents.clone(),
        }));
        let config = Config {
            journal: Arc::new(journal.clone()) as Arc<dyn Journal>,
            clock: Arc::new(MachineClock(Instant::now())),
            performer: Performer::new(agents.clone(), repository.clone(), 4),
            owner: Owner { pid: 1, host: "here".to_owned(), since: Wall(0), socket: None },
            summarise: |_, _| None,
            route: std::sync::Arc::new(|_| Vec::new()),
        };
        let host = Host::new(config, mailbox, inputs);
        Self { host, seen: Seen::default(), repository, agents, journal, world }
    }

    /// Kills nobody, but goes away as a process does that is interrupted; returns what is left.
    pub(crate) fn leave(self) -> (World, MemoryJournal) {
        let Self { host, world, journal, .. } = self;
        drop(host);
        (world, journal)
    }

    pub(crate) fn base(&self) -> Oid {
        self.world.oid("HEAD")
    }

    /// Returns the lines of a file outside that commands write to.
    pub(crate) fn out(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.world.path("out").join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn mission(&self) -> Mission {
        Mission {
            limits: Limits { jobs: 4, agents: 4, ..Limits::default() },
            base: Some(self.base()),
            target: Some(MAIN.to_owned()),
            ..Mission::default()
        }
    }

    pub(crate) fn until(&mut self, what: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !what(self) {
            assert!(Instant::now() < end, "it does not happen; {:#?}", self.seen.0.lock().unwrap());
            self.host.step(Duration::from_millis(20), &mut self.seen.clone()).unwrap();
        }
    }

    pub(crate) fn settle(&mut self, run: RunId) -> Rest {
        self.until(|rig| !matches!(rig.host.rest(run), Rest::Busy | Rest::Waiting));
        self.host.rest(run)
    }

    /// Executes a plan to its rest.
    pub(crate) fn run(&mut self, mission: Mission, plan: Arc<Plan>) -> Rest {
        self.host.create(run_id(), mission, plan).unwrap();
        self.settle(run_id())
    }

    pub(crate) fn state(&self, task: u32) -> String {
        format!("{:?}", self.host.run(run_id()).unwrap().state(TaskId(task)))
    }

    pub(crate) fn why(&self, task: u32) -> String {
        self.host
            .run(run_id())
            .unwrap()
            .last_failure(TaskId(task))
            .map(|why| why.message.clone())
            .unwrap_or_default()
    }

    pub(crate) fn head(&self) -> Oid {
        self.host.run(run_id()).unwrap().landing().unwrap().head()
    }

    /// Finds a commit by which `main` would hold what landed in a run.
    pub(crate) fn propose(
        &self,
        run: RunId,
        head: Oid,
        accept: &[String],
        setup: &Setup,
    ) -> Result<MergeProposal, MergeError> {
        let request =
            MergeRequest { run, target: MAIN, beginning: None, head, is_unchecked: false, accept, setup };
        self.repository.propose_merge(&request)
    }

    /// Returns what a commit has in a file.
    pub(crate) fn file(&self, commit: Oid, name: &str) -> Option<String> {
        let repo = self.world.own_repo().dir().to_owned();
        let out = crate::support::git_raw(&repo, &["show", &format!("{commit}:{name}")]);
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    }

    pub(crate) fn open(&self, key: AttemptKey) -> Ready {
        self.repository.open(&request(key, WorkspaceKind::Clone, self.base()), &|| false).unwrap()
    }

    /// Makes a change as an attempt would.
    pub(crate) fn change(&self, key: AttemptKey, files: &[(&str, &str)]) -> Change {
        let ready = self.open(key);
        for (name, text) in files {
            crate::support::write(&ready.dir, name, text);
        }
        let change = self.repository.capture(key, "work").unwrap().unwrap();
        self.repository.close(key, kapell_engine::port::workspaces::Close::Kept);
        change
    }
}

thread_local! {
    static RUN: RunId = fresh_run();
}

/// Names a run that no other test has: what is left of an attempt is found by its name, on the whole machine.
pub(crate) fn fresh_run() -> RunId {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let mut run = [0; 16];
    run[..4].copy_from_slice(&std::process::id().to_le_bytes());
    run[8..].copy_from_slice(&RUNS.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    RunId(run)
}

/// Returns the run of this test, which has a thread of its own.
pub(crate) fn run_id() -> RunId {
    RUN.with(|run| *run)
}

pub(crate) fn key(task: u32) -> AttemptKey {
    AttemptKey { run: run_id(), task: TaskId(task), attempt: AttemptNo(1), compensates: false }
}

pub(crate) fn request(key: AttemptKey, kind: WorkspaceKind, base: Oid) -> Request {
    Request {
        key,
        name: "some task".to_owned(),
        kind,
        base: Some(base),
        prepare: Vec::new(),
        carry: Vec::new(),
        cache: BTreeMap::new(),
        goes_on: false,
    }
}

pub(crate) fn commands(texts: &[&str]) -> Vec<CheckCommand> {
    texts.iter().map(|text| CheckCommand { text: (*text).to_owned(), env: Vec::new() }).collect()
}

pub(crate) fn check(key: AttemptKey, change: Option<Change>, texts: &[&str]) -> Check {
    Check { key, change, commands: commands(texts), protect: Protect::default(), setup: Setup::default() }
}

pub(crate) fn script(text: &str) -> Definition {
    Definition::new(Work::Run(text.to_owned()))
}

/// Makes a plan: name, definition, the numbers of those that it needs.
pub(crate) fn plan(tasks: &[(&str, Definition, &[u32])]) -> Arc<Plan> {
    let mut builder = PlanBuilder::new();
    for (name, definition, needs) in tasks {
        let definition = builder.define(definition.clone());
        let needs: Vec<_> = needs.iter().map(|need| TaskId(*need)).collect();
        builder.task(name, definition, &needs);
    }
    Arc::new(builder.seal(PlanLimits::default()).unwrap())
}

pub(crate) fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}
