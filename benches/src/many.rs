//! Many runs in one store: after a kill, at rest, and in a listing.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use kapell_core::{
    budget::Amount,
    event::Outputs,
    mission::Mission,
    plan::{AgentSpec, Definition, Plan, PlanBuilder, PlanLimits, Slot, Work},
    retry::FailureClass,
    time::Wall,
};
use kapell_engine::{
    host::{Host, Input, Rest, Unobserved},
    port::{
        agents::{Agents, AttemptKey, Ending, Failure, Order, Recovered, Report},
        journal::Journal,
    },
};

use crate::{
    rig::{Nobody, execute, host, noops, run_id},
    table::{Floor, kapell, line, median, ok, scratch, scrubbed},
};

/// Agents that start whatever they are told, and never come to an end.
#[derive(Default)]
struct Patient {
    started: AtomicU64,
    first: Mutex<Option<Instant>>,
    keys: Mutex<Vec<AttemptKey>>,
}

impl Agents for Patient {
    fn start(&self, order: &Order) -> Result<(), Failure> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(order.key);
        self.started.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn stop(&self, _key: AttemptKey) {}

    fn answer(&self, _key: AttemptKey, _question: u32, _text: &str) {}

    fn recover(&self, _key: AttemptKey, _since: Instant) -> Recovered {
        Recovered::Lost { message: "its process is gone".to_owned(), spent: Amount::ZERO, used: None }
    }

    fn close(&self) {}
}

fn step_until(host: &mut Host, mut done: impl FnMut(&Host) -> bool) -> anyhow::Result<()> {
    let start = Instant::now();
    while !done(host) {
        host.step(Duration::from_millis(50), &mut Unobserved).context("the decider contradicts itself")?;
        ensure!(start.elapsed() < Duration::from_secs(120), "it hangs");
    }
    Ok(())
}

/// One task that somebody works at, by a command or, if `asks`, by an agent of a provider.
fn one_task(asks: bool) -> anyhow::Result<Arc<Plan>> {
    let mut builder = PlanBuilder::new();
    let definition = match asks {
        false => Definition::new(Work::Run("work".to_owned())),
        true => {
            let agent = builder.agent(AgentSpec {
                name: "one".to_owned(),
                adapter: "bench".to_owned(),
                provider: Some("provider".to_owned()),
                slot: Slot::Agent,
                fallback: None,
                ..AgentSpec::default()
            });
            let work = Work::Prompt("work".parse().map_err(|error| anyhow::anyhow!("{error:?}"))?);
            Definition { agent: Some(agent), ..Definition::new(work) }
        }
    };
    let definition = builder.define(definition);
    builder.task("a", definition, &[]);
    Ok(Arc::new(builder.seal(PlanLimits::default())?))
}

fn mission() -> Mission {
    let mut mission = Mission { objective: "measure".to_owned(), ..Mission::default() };
    mission.limits.jobs = 8;
    mission.limits.agents = 8;
    mission
}

/// Brings many runs to where an attempt of each is under way, says so, and stays.
pub fn live_child(dir: &Path, runs: u64) -> anyhow::Result<()> {
    let agents = Arc::new(Patient::default());
    let (mut host, _store) = host(dir, agents.clone())?;
    let plan = one_task(false)?;
    for number in 0..runs {
        host.create(run_id(number), mission(), plan.clone())?;
    }
    step_until(&mut host, |_| agents.started.load(Ordering::SeqCst) == runs)?;
    println!("ready");
    step_until(&mut host, |_| false)
}

/// Takes the runs over, and prints when the first attempt was started, in microseconds since the start.
pub fn dispatch_child(dir: &Path, runs: u64) -> anyhow::Result<()> {
    let start = Instant::now();
    let agents = Arc::new(Patient::default());
    let (mut host, _store) = host(dir, agents.clone())?;
    for number in 0..runs {
        host.open(run_id(number))?;
        // What one run has to do need not wait until all are there.
        host.step(Duration::ZERO, &mut Unobserved).context("the decider contradicts itself")?;
    }
    step_until(&mut host, |_| agents.started.load(Ordering::SeqCst) > 0)?;
    let first = agents.first.lock().unwrap_or_else(PoisonError::into_inner).context("nothing started")?;
    step_until(&mut host, |_| agents.started.load(Ordering::SeqCst) == runs)?;
    println!("{} {}", (first - start).as_micros(), start.elapsed().as_micros());
    Ok(())
}

/// Returns the first line that a child prints, if it does so in time.
fn first_line(child: &mut Child, within: Duration) -> Option<String> {
    let stdout = child.stdout.take()?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(BufReader::new(stdout).lines().next()));
    told.recv_timeout(within).ok()??.ok()
}

/// A process with 1,000 live runs is killed; how soon does the next one dispatch?
pub fn restart() -> anyhow::Result<()> {
    const RUNS: &str = "1000";
    let (mut firsts, mut alls) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let dir = scratch()?;
        let program = std::env::current_exe()?;
        let mut live =
            Command::new(&program).arg("live").arg(dir.path()).arg(RUNS).stdout(Stdio::piped()).spawn()?;
        let ready = first_line(&mut live, Duration::from_secs(120));
        live.kill()?;
        live.wait()?;
        ensure!(ready.as_deref() == Some("ready"), "it ended by itself, or does not get ready");
        let text = ok(Command::new(&program).arg("dispatch").arg(dir.path()).arg(RUNS))?;
        let mut micros = text.split_whitespace().map(str::parse::<f64>);
        firsts.push(micros.next().context("no time")?? / 1000.0);
        alls.push(micros.next().context("no time")?? / 1000.0);
    }
    line(
        "kill -9 of 1,000 live runs: first new dispatch",
        median(firsts),
        "ms",
        Floor::AtMost(100.0),
        format!("the last of the 1,000 after {:.0} ms", median(alls)),
    );
    Ok(())
}

fn resident() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = text.split(' ').nth(1).context("no pages")?.parse()?;
    Ok(pages * 4096.0)
}

fn switches() -> anyhow::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(thread?.path().join("status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += line.context("no count")?.trim().parse::<u64>()?;
    }
    Ok(sum)
}

/// Parks runs at a quota if there are none; else takes them over and prints what each of them takes.
pub fn parked_child(dir: &Path, runs: u64) -> anyhow::Result<()> {
    let agents = Arc::new(Patient::default());
    let fresh = !dir.join("journal.sqlite").exists();
    let (mut host, _store) = host(dir, agents.clone())?;
    let waits = |host: &Host| (0..runs).all(|number| host.rest(run_id(number)) == Rest::Waiting);
    if fresh {
        let plan = one_task(true)?;
        for number in 0..runs {
            host.create(run_id(number), mission(), plan.clone())?;
        }
        step_until(&mut host, |_| agents.started.load(Ordering::SeqCst) == runs)?;
        for key in std::mem::take(&mut *agents.keys.lock().unwrap_or_else(PoisonError::into_inner)) {
            let until = Some(Wall(i64::MAX / 4));
            let failure = Failure { class: FailureClass::Quota, message: "later".to_owned(), until };
            let ending =
                Ending { result: Err(failure), outputs: Outputs::new(), spent: Amount::ZERO, used: None };
            host.mailbox().send(Input::Agent(key, Report::Finished(ending)));
        }
        return step_until(&mut host, waits);
    }
    let before = resident()?;
    for number in 0..runs {
        host.open(run_id(number))?;
        // As whoever takes many runs over does, so that those that wait can be put to sleep one by one.
        host.step(Duration::ZERO, &mut Unobserved).context("the decider contradicts itself")?;
    }
    step_until(&mut host, waits)?;
    // The journal's writer folds what was appended a second later; after that nothing is left to do.
    host.step(Duration::from_millis(1500), &mut Unobserved).context("the decider contradicts itself")?;
    let each = (resident()? - before) / runs as f64;
    let awake = switches()?;
    host.step(Duration::from_secs(2), &mut Unobserved).context("the decider contradicts itself")?;
    println!("{each} {}", switches()? - awake);
    Ok(())
}

/// What a parked run takes, and whether anything wakes up for it.
pub fn parked() -> anyhow::Result<()> {
    let dir = scratch()?;
    let child = || ok(Command::new(std::env::current_exe()?).arg("parked").arg(dir.path()).arg("10000"));
    child()?;
    let text = child()?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    let each = numbers.next().context("no memory")??;
    let wakes = numbers.next().context("no count")??;
    line(
        "10,000 parked runs: each",
        each,
        "B resident",
        Floor::AtMost(2048.0),
        "with what the store knows of it",
    );
    // The sleep of the measuring itself is one.
    line("  times anything slept in 2 s", wakes, "", Floor::AtMost(2.0), "one of them is the measuring");
    Ok(())
}

/// `kapell status` on a store of a million events.
pub fn status() -> anyhow::Result<()> {
    let dir = scratch()?;
    let place = dir.path().join(".kapell");
    fs::create_dir(&place)?;
    let (runs, tasks) = (100, 5_000);
    let plan = noops(tasks, false)?;
    let (mut engine, store) = host(&place, Nobody::arc())?;
    execute(&mut engine, runs, &plan, 256)?;
    let mut events = 0;
    store.read(run_id(0), kapell_core::journal::Version(0), &mut |row| {
        events += row.body.matches('\n').count() + 1;
        true
    })?;
    (0..runs).for_each(|number| engine.close(run_id(number)));
    drop(engine);
    drop(store);
    let program = kapell()?;
    let mut times = Vec::new();
    for _ in 0..15 {
        let start = Instant::now();
        ok(scrubbed(&program, dir.path()).arg("status").current_dir(dir.path()))?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    let events = events as u64 * runs;
    ensure!(events >= 1_000_000, "only {events} events");
    line(
        "kapell status",
        median(times),
        "ms",
        Floor::AtMost(50.0),
        format!("{events} events in {runs} runs"),
    );
    Ok(())
}
