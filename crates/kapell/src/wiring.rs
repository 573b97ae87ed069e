//! A host with everything that it needs on this machine.

use std::{
    ffi::OsStr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use kapell_agents::{
    git::{Git, Identity, OwnRepo, OwnRepoOptions},
    proxy::Tape,
    workspace::Pool,
    world::{Broker, CrewAgents, Keeper, Places, Plain, Program, Repository, RepositoryConfig},
};
use kapell_core::{
    plan::{Plan, Supervise, Work},
    run::Run,
    time::Now,
};
use kapell_engine::{
    control::Control,
    host::{Config, Host, Input, Mailbox, Router},
    perform::Performer,
    port::{
        agents::{AttemptKey, Report},
        clock::Clock,
        journal::{Journal, Owner, Summary},
        workspaces::Workspaces,
    },
    socket,
};
use kapell_store::Store;
use kapell_view::summary;

use crate::{
    clock::MachineClock,
    containment,
    exit::Exit,
    fault::Fault,
    registry::{self, Registry},
    site::{self, Site},
};

/// The most workspaces that are kept at a time.
const WORKSPACES_MAX: usize = 64;

/// A host, and what has to live as long as it.
pub struct Machine {
    /// What executes runs.
    pub host: Host,
    /// The journal.
    pub store: Arc<Store>,
    /// What starts attempts.
    agents: Arc<CrewAgents>,
    /// How attempts are contained.
    pub keeper: Arc<Keeper>,
    /// How clients reach their models.
    pub broker: Arc<Broker>,
    /// The repository's workspaces, if there is a repository.
    pub repository: Option<Arc<Repository>>,
    /// The way to this process for other terminals; closed with it.
    _control: Control,
}

impl Machine {
    /// Starts a supervisor for the first attempt of `plan` ahead of need: meanwhile the run is made.
    pub fn expect(&self, plan: &Plan) {
        let supervised = |work: &Work| matches!(work, Work::Run(_) | Work::Prompt(_));
        if plan.definitions().iter().any(|task| supervised(&task.work) && task.supervise == Supervise::Full) {
            // If it cannot be started now, it is tried again when it is needed, and then somebody is told.
            let _ = self.agents.warm(1);
        }
    }
}

/// Opens kapell's own repository and the user's.
///
/// # Errors
///
/// Fails if there is no usable git.
pub fn open_own_repo(site: &Site) -> Result<Option<OwnRepo>, Fault> {
    let Some(user) = &site.repo else { return Ok(None) };
    let git = Arc::new(Git::find(&site::search_path())?);
    let options = OwnRepoOptions { excludes: site.excludes() };
    Ok(Some(OwnRepo::open(git, user, &site.store.join("git"), &options)?))
}

/// Makes a host for the runs of `site`.
///
/// # Errors
///
/// Fails if git, the sockets' directory or the workspaces cannot be used.
pub fn machine(site: &Site, store: Store, jobs: usize) -> Result<Machine, Fault> {
    machine_with(site, store, jobs, Tape::None)
}

/// Makes a host whose agents' sessions are recorded, or played back.
///
/// # Errors
///
/// As [`machine`].
pub fn machine_with(site: &Site, store: Store, jobs: usize, tape: Tape) -> Result<Machine, Fault> {
    let (mailbox, inputs) = Mailbox::new();
    let places = site.places()?;
    let reports = mailbox.clone();
    let sink = Arc::new(move |key: AttemptKey, report: Report| reports.send(Input::Agent(key, report)));
    let runtime = site::runtime_dir()?;
    sweep(&runtime);
    // A process number alone is not enough where several sandboxes share the directory.
    let here = runtime.join(format!("{}-{:x}", std::process::id(), site::random()));
    let desk = here.with_extension("agents");
    let agents =
        CrewAgents::open(Program(program()), places.clone(), jobs, Some(desk), sink).map_err(|error| {
            Fault::new("K0801", Exit::Environment, "attempts cannot be started").because(error)
        })?;
    let keeper = containment::keeper(site)?;
    let broker = broker(site, &places, here.with_extension("proxy"), tape, mailbox.clone())?;
    let secrets = site.redactor().and(broker.late_keys());
    let mut agents = agents.contained_by(keeper.clone()).carried_by(broker.clone()).hiding(secrets);
    if let Some(record) = site::trust_record() {
        agents = agents.trusting(record, site.root.clone());
    }
    let repo = open_own_repo(site)?;
    let agents = Arc::new(agents.lending(repo.as_ref().map(OwnRepo::lends).unwrap_or_default()));
    let repository = match (repo, &site.repo) {
        (Some(repo), Some(user)) => {
            let pool = Pool::open(repo.clone(), &site.cache()?.join("workspaces"), WORKSPACES_MAX)?;
            let pool = pool.within(site.config.workspaces_mib.map(|mib| u64::from(mib) << 20));
            let who = site.identity().unwrap_or_else(|| Identity::new("", ""));
            let (user, places, agents) = (user.clone(), places.clone(), agents.clone());
            Some(Arc::new(Repository::new(RepositoryConfig { user, repo, pool, who, places, agents })))
        }
        _ => None,
    };
    let workspaces: Arc<dyn Workspaces> = match &repository {
        Some(repository) => repository.clone(),
        None => Arc::new(Plain::new(site.root.clone(), places, agents.clone())),
    };
    let socket = here.with_extension("sock");
    let control = Control::listen(&socket, mailbox.clone()).map_err(|error| Fault::io(&socket, &error))?;
    let store = Arc::new(store);
    let owner = Owner {
        pid: std::process::id(),
        host: site::host(),
        since: MachineClock.wall(),
        socket: Some(socket.to_string_lossy().into_owned()),
    };
    let config = Config {
        journal: store.clone() as Arc<dyn Journal>,
        clock: Arc::new(MachineClock),
        performer: Performer::new(agents.clone(), workspaces, jobs + 2),
        owner,
        summarise,
        route: router(site, store.clone())?,
    };
    let host = Host::new(config, mailbox, inputs);
    Ok(Machine { host, store, agents, keeper, broker, repository, _control: control })
}

/// Makes what ranks agents for the tasks of a plan that name skills. It looks at the journal only if there are such.
fn router(site: &Site, store: Arc<Store>) -> Result<Arc<Router>, Fault> {
    let registry = Registry::find(site)?;
    Ok(Arc::new(move |plan: &Plan| match registry::has_skills(plan) {
        true => registry.commands(plan, &registry.records(&store)),
        false => Vec::new(),
    }))
}

/// The sockets of a process, by the endings of their names; the last is that of one that is not finished.
const SOCKETS: [&str; 5] = ["sock", "agents", "proxy", "hosts", socket::UNFINISHED];

/// Removes the sockets of processes that were killed: nobody answers there, and nobody else would remove them. Whoever loses
/// an unfinished one makes it again.
fn sweep(runtime: &Path) {
    let entries = std::fs::read_dir(runtime).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let kind = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        // The number of a process says nothing where several sandboxes share the directory: only a refusal does.
        let is_left = SOCKETS.contains(&kind)
            && UnixStream::connect(&path)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
        if is_left {
            let _ = std::fs::remove_file(&path);
            // Beside it lies the directory in which agents found `kapell`.
            let _ = std::fs::remove_dir_all(path.with_extension("bin"));
        }
    }
}

/// Makes the way of clients to their models; its proxy starts when the first one needs it.
fn broker(
    site: &Site,
    places: &Places,
    socket: PathBuf,
    tape: Tape,
    mailbox: Mailbox,
) -> Result<Arc<Broker>, Fault> {
    let table = site.prices()?;
    let prices = Arc::new(move |model: &str| table.price(model));
    let told = Arc::new(move |key: AttemptKey, report: Report| {
        mailbox.send(Input::Agent(key, report));
    });
    Ok(Arc::new(Broker::new(places.clients.clone(), prices, socket, tape, told)))
}

/// The program itself, for supervisors: the file that runs, even if another has taken its name since.
pub fn program() -> PathBuf {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() { link } else { std::env::current_exe().unwrap_or_else(|_| "kapell".into()) }
}

fn summarise(run: &Run, now: Now) -> Option<Summary> {
    let summary = summary::RunSummary::of(run, now);
    Some(Summary::new(move || summary.encode()))
}
