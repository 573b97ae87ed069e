//! A crew with its reports in a channel.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use kapell_agents::{
    drivers::{
        Config, Crew, Ending, Exit, Job, Report, Supervision, Work,
        client::{Client, Order},
    },
    protocol::AttemptKey,
    supervise::processes::Process,
};
use kapell_core::id::{AttemptNo, RunId, TaskId};

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_kapell-agents-helper");

pub(crate) struct Rig {
    pub(crate) crew: Crew,
    pub(crate) reports: Receiver<(AttemptKey, Report)>,
    pub(crate) dir: tempfile::TempDir,
}

/// Names an attempt that no other test process has at the same time.
pub(crate) fn key(task: u32) -> AttemptKey {
    use std::sync::atomic::{AtomicU64, Ordering};
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let mut run = [0; 16];
    run[..4].copy_from_slice(&std::process::id().to_le_bytes());
    run[8..].copy_from_slice(&RUNS.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    AttemptKey { run: RunId(run), task: TaskId(task), attempt: AttemptNo(1), compensates: false }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::heard_by(|_| ())
    }

    /// Opens a rig whose crew tells `heard` of each report first; it goes on when that returns.
    pub(crate) fn heard_by(heard: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        let (sender, reports) = channel();
        let dir = tempfile::tempdir().unwrap();
        let config = Config { program: HELPER.into(), idle_max: 4, socket: Some(dir.path().join("s")) };
        let sink = Arc::new(move |key, report| {
            heard(&report);
            drop(sender.send((key, report)));
        });
        Self { crew: Crew::open(config, sink).unwrap(), reports, dir }
    }

    pub(crate) fn attempt_dir(&self, key: AttemptKey) -> PathBuf {
        self.dir.path().join(key.to_string())
    }

    pub(crate) fn job(&self, key: AttemptKey, script: &str) -> Job {
        let work = Work::Shell(script.to_owned());
        let mut job = Job::new(work, "test", self.attempt_dir(key), self.dir.path());
        job.env = vec![("PATH".into(), "/usr/bin:/bin".into()), ("HELPER".into(), HELPER.into())];
        job
    }

    /// Makes a job of an agent of kapell's own, in a workspace and with a home of its number.
    pub(crate) fn client_job(
        &self,
        number: u32,
        client: Client,
        prompt: &str,
        change: impl FnOnce(&mut Order),
    ) -> Job {
        let of = |name: &str| self.dir.path().join(format!("{name}-{number}"));
        std::fs::create_dir_all(of("ws")).unwrap();
        let mut order = Order { kapell: HELPER.into(), ..Order::new(client, prompt, of("home")) };
        change(&mut order);
        order.check().unwrap();
        let mut job = self.job(key(number), "");
        (job.dir, job.cwd) = (of("attempt"), of("ws"));
        job.work = Work::Client(Box::new(order));
        job
    }

    /// Waits for the next report about `key`; those about others are dropped.
    pub(crate) fn next(&self, key: AttemptKey) -> Report {
        loop {
            let (of, report) = self.reports.recv_timeout(PATIENCE).unwrap();
            if of == key {
                return report;
            }
        }
    }

    pub(crate) fn finished(&self, key: AttemptKey) -> Exit {
        loop {
            if let Report::Finished(exit) = self.next(key) {
                return *exit;
            }
        }
    }

    pub(crate) fn run(&self, script: &str) -> Exit {
        self.run_with(script, |_| {})
    }

    pub(crate) fn run_with(&self, script: &str, change: impl FnOnce(&mut Job)) -> Exit {
        let key = key(1);
        let mut job = self.job(key, script);
        change(&mut job);
        self.crew.start(key, job).unwrap();
        self.finished(key)
    }

    pub(crate) fn run_group(&self, script: &str) -> Exit {
        self.run_with(script, |job| job.supervision = Supervision::Group)
    }
}

/// Waits until `path` holds whole lines, and returns them as numbers.
pub(crate) fn pids_in(path: &Path, count: usize) -> Vec<i32> {
    until(|| {
        let text = std::fs::read_to_string(path).ok()?;
        let pids: Vec<_> = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).collect();
        (pids.len() >= count).then(|| pids.iter().map(|pid| pid.trim().parse().unwrap()).collect())
    })
}

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(mut answer: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < end, "it does not happen");
        std::thread::yield_now();
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    Process::of(pid).is_some_and(|entry| !entry.zombie)
}

/// Options as an agent has them.
pub(crate) fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// How an attempt ended, in a word or two.
pub(crate) fn class(exit: &Exit) -> String {
    match exit.ending {
        Ending::Succeeded => "ok".to_owned(),
        Ending::Failed(class) => class.to_string(),
        Ending::Stopped => "stopped".to_owned(),
    }
}
