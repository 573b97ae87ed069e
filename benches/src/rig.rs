//! A host on the real store, with agents that do no work: for measuring what the engine itself costs.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use kapell_core::{
    command::Verdict,
    id::{Oid, RunId, TaskId},
    landing::Probed,
    mission::Mission,
    plan::{Definition, Plan, PlanBuilder, PlanLimits, Work},
    retry::FailureClass,
    task::Change,
    time::{Millis, Wall},
};
use kapell_engine::{
    host::{Config, Host, Mailbox, Rest, Unobserved},
    perform::Performer,
    port::{
        agents::{Agents, AttemptKey, Failure, Order, Recovered},
        clock::Clock,
        journal::{Journal, Owner, Summary},
        workspaces::{Check, Close, MergeOrder, Merged, Ready, Request, Trial, WorkspaceError, Workspaces},
    },
};
use kapell_store::Store;
use kapell_view::summary::RunSummary;

/// The machine's clocks.
pub struct Clocks(Instant);

impl Clocks {
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Clocks {
    fn wall(&self) -> Wall {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Wall(i64::try_from(since.as_millis()).unwrap_or(0))
    }

    fn boot(&self) -> Millis {
        Millis(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(0))
    }
}

/// Nobody: tasks that do nothing need no agent.
pub struct Nobody;

impl Nobody {
    pub fn arc() -> Arc<dyn Agents> {
        Arc::new(Self)
    }
}

impl Agents for Nobody {
    fn start(&self, _order: &Order) -> Result<(), Failure> {
        Err(Failure { class: FailureClass::Permanent, message: "nobody is here".to_owned(), until: None })
    }

    fn stop(&self, _key: AttemptKey) {}

    fn answer(&self, _key: AttemptKey, _question: u32, _text: &str) {}

    fn recover(&self, _key: AttemptKey, _since: Instant) -> Recovered {
        Recovered::Lost { message: "nobody is here".to_owned(), spent: Default::default(), used: None }
    }

    fn close(&self) {}
}

fn nowhere<T>() -> Result<T, WorkspaceError> {
    Err(WorkspaceError { class: FailureClass::Permanent, message: "there is no repository".to_owned() })
}

impl Workspaces for Nobody {
    fn begin(&self, _run: RunId, _base: Oid) -> Result<(), WorkspaceError> {
        nowhere()
    }

    fn open(&self, _request: &Request, _stopped: &dyn Fn() -> bool) -> Result<Ready, WorkspaceError> {
        Ok(Ready { dir: "/".into(), env: Vec::new(), earlier: None })
    }

    fn capture(&self, _key: AttemptKey, _name: &str) -> Result<Option<Change>, WorkspaceError> {
        nowhere()
    }

    fn close(&self, _key: AttemptKey, _how: Close) {}

    fn sweep(&self, _run: RunId, _in_use: &[AttemptKey]) {}

    fn check(&self, _check: &Check) -> Verdict {
        Verdict::Broken { message: "there is no repository".to_owned() }
    }

    fn probe(&self, _trial: &Trial) -> Result<Probed, WorkspaceError> {
        nowhere()
    }

    fn change(&self, _base: Oid, _commit: Oid) -> Result<Change, WorkspaceError> {
        nowhere()
    }

    fn move_ref(&self, _run: RunId, _from: Oid, _to: Oid) -> Result<(), WorkspaceError> {
        nowhere()
    }

    fn merge(&self, _order: &MergeOrder) -> Result<Merged, WorkspaceError> {
        nowhere()
    }
}

/// Makes a host on a store in `dir`, whose attempts are started by `agents`.
pub fn host(dir: &Path, agents: Arc<dyn Agents>) -> anyhow::Result<(Host, Arc<Store>)> {
    let (store, _) = Store::open(dir)?;
    let store = Arc::new(store);
    let (mailbox, inputs) = Mailbox::new();
    let owner = Owner { pid: std::process::id(), host: "bench".to_owned(), since: Wall(0), socket: None };
    let config = Config {
        journal: store.clone() as Arc<dyn Journal>,
        clock: Arc::new(Clocks::new()),
        performer: Performer::new(agents, Arc::new(Nobody), 1),
        owner,
        summarise: |run, now| {
            let summary = RunSummary::of(run, now);
            Some(Summary::new(move || summary.encode()))
        },
        route: std::sync::Arc::new(|_| Vec::new()),
    };
    Ok((Host::new(config, mailbox, inputs), store))
}

/// Makes a plan of `tasks` tasks that do nothing, one after the other or all at once.
pub fn noops(tasks: u32, sequential: bool) -> anyhow::Result<Arc<Plan>> {
    let mut builder = PlanBuilder::new();
    let definition = builder.define(Definition::new(Work::Noop));
    for task in 0..tasks {
        let needs = match task.checked_sub(1).filter(|_| sequential) {
            Some(before) => vec![TaskId(before)],
            None => Vec::new(),
        };
        builder.task(&format!("task-{task:07}"), definition, &needs);
    }
    Ok(Arc::new(builder.seal(PlanLimits::default())?))
}

/// Returns a run id that is told apart by `number`.
pub fn run_id(number: u64) -> RunId {
    let mut id = [0; 16];
    id[6] = 0x70;
    id[8..].copy_from_slice(&number.to_be_bytes());
    RunId(id)
}

/// Makes `runs` runs of a plan and executes them to their end; returns how long that took.
pub fn execute(host: &mut Host, runs: u64, plan: &Arc<Plan>, jobs: u32) -> anyhow::Result<Duration> {
    let mut mission = Mission { objective: "measure".to_owned(), ..Mission::default() };
    mission.limits.jobs = jobs;
    let start = Instant::now();
    for number in 0..runs {
        host.create(run_id(number), mission.clone(), plan.clone())?;
    }
    let mut open = runs;
    while open > 0 {
        host.step(Duration::from_millis(100), &mut Unobserved).context("the decider contradicts itself")?;
        // Looking at every run after every step would measure the looking.
        if (0..runs).rev().take(1).all(|number| host.rest(run_id(number)) == Rest::Over) {
            open = (0..runs).filter(|number| host.rest(run_id(*number)) != Rest::Over).count() as u64;
        }
    }
    Ok(start.elapsed())
}
