//! `cargo xtask faults`: errors and SIGKILL at the n-th system call of the thread that writes the journal.
//!
//! The n-th call is counted from the birth of the thread named `kapell-writer`: one `strace` stops the program as the
//! thread takes its name, another one is attached to this thread alone, and the program goes on. So no call of another
//! thread or of a child is counted, and none is hit. The main thread, which makes the store, is hit in the same way,
//! counted from the program's start: `strace` without `-f` follows the main thread only.
//!
//! After every fault the program must have ended with the code for its store, been killed, or got along; a second
//! start must bring the run to its end; every step that was told to be done must be in the journal, nothing may be
//! there twice, and the chain must hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{
    history::History,
    shell::{build_kapell, capture, number_of, program_of, scrubbed},
};

/// The name of the thread that writes the journal.
const WRITER: &str = "kapell-writer";

/// The calls that can lose something if they fail.
const CALLS: [&str; 7] = ["write", "pwrite64", "fdatasync", "fsync", "ftruncate", "rename", "unlink"];

/// Tasks of the workflow; each but the first waits for the one before, so each makes an append of its own.
const TASKS: usize = 320;

/// Every so many tasks one is a command; the others do nothing.
const COMMAND_EVERY: usize = 20;

/// The exit code of a program that gives up on its store.
const GIVES_UP: i32 = 5;

/// The exit code of a program that cannot have its socket, which only the main thread makes.
const GIVES_UP_ELSEWHERE: i32 = 6;

/// How long a step of the harness may take before it is taken for hung.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Thread {
    Writer,
    Main,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Eio,
    Enospc,
    Kill,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Eio, Self::Enospc, Self::Kill];

    fn as_injection(self) -> &'static str {
        match self {
            Self::Eio => "error=EIO",
            Self::Enospc => "error=ENOSPC",
            Self::Kill => "signal=SIGKILL",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Case {
    thread: Thread,
    call: &'static str,
    fault: Fault,
    n: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} thread, {} {}, {:?}", self.thread, self.call, self.n, self.fault)
    }
}

/// How a program ended under a fault.
#[derive(Debug, Default)]
struct Outcomes {
    gave_up: usize,
    killed: usize,
    got_along: usize,
    /// The program was through before the harness could attach, or did not make the call so often this time.
    missed: usize,
}

pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let calls = number_of(args, "--calls", 300)?;
    let stride = number_of(args, "--stride", 1)?.max(1);
    let side = number_of(args, "--threads", 2)?.max(1);
    let program = program_of(args, build_kapell)?;
    let start = Instant::now();
    let reached = reference(&program)?;
    let mut cases = Vec::new();
    for ((thread, call), count) in &reached {
        // What the main thread writes with `write` goes to the terminal.
        if (*thread, *call) == (Thread::Main, "write") {
            continue;
        }
        for n in (1..=calls.min(*count)).step_by(stride) {
            cases.extend(Fault::ALL.map(|fault| Case { thread: *thread, call, fault, n }));
        }
    }
    println!("{} cases of a workflow with {TASKS} tasks", cases.len());
    let table = try_all(&program, &cases, side)?;
    println!("thread  call       made by a whole run  injected at  gave up  killed  got along  missed");
    for ((thread, call), count) in &reached {
        let row = table.get(&(*thread, *call));
        let last =
            cases.iter().filter(|case| (case.thread, case.call) == (*thread, *call)).map(|case| case.n);
        println!(
            "{:<7} {call:<10} {count:<20} {:<12} {:<8} {:<7} {:<10} {}",
            format!("{thread:?}").to_lowercase(),
            last.max().map_or("-".to_owned(), |last| format!("1..={last}")),
            row.map_or(0, |row| row.gave_up),
            row.map_or(0, |row| row.killed),
            row.map_or(0, |row| row.got_along),
            row.map_or(0, |row| row.missed),
        );
    }
    println!(
        "{} faults in {:.0?}: after each the run was resumed to its end, every step told to be done is in the journal, \
         none was started again after a durable end, and the chain holds",
        cases.len(),
        start.elapsed()
    );
    Ok(())
}

type Table = BTreeMap<(Thread, &'static str), Outcomes>;

fn try_all(program: &Path, cases: &[Case], side: usize) -> anyhow::Result<Table> {
    let (table, failures) = (Mutex::new(Table::new()), Mutex::new(Vec::new()));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..side {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match try_one(program, *case) {
                        Ok(outcome) => {
                            let mut table = table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            outcome(table.entry((case.thread, case.call)).or_default());
                        }
                        Err(error) => {
                            println!("FAILED: {case}: {error:#}");
                            let mut failures =
                                failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            failures.push(error);
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    ensure!(failures.is_empty(), "{} of {} cases failed", failures.len(), cases.len());
    Ok(table.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Counts the calls of a run that nothing disturbs.
fn reference(program: &Path) -> anyhow::Result<BTreeMap<(Thread, &'static str), usize>> {
    let mut counts = BTreeMap::new();
    for thread in [Thread::Writer, Thread::Main] {
        let place = Place::new(program)?;
        let all = CALLS.join(",");
        let mut child =
            place.start_traced(thread, &[&format!("trace={all}")])?.context("it ended too soon")?;
        let status = child.wait()?;
        ensure!(status.success(), "the reference run ended with {status}; see {}", place.dir.display());
        let trace = place.trace()?;
        for call in CALLS {
            let made = trace.lines().filter(|line| line.starts_with(&format!("{call}("))).count();
            counts.insert((thread, call), made);
        }
        place.check()?;
        place.remove()?;
    }
    Ok(counts)
}

fn try_one(program: &Path, case: Case) -> anyhow::Result<fn(&mut Outcomes)> {
    let place = Place::new(program)?;
    place.hit_and_resume(case).with_context(|| format!("kept for a look: {}", place.dir.display())).and_then(
        |outcome| {
            place.remove()?;
            Ok(outcome)
        },
    )
}

struct Place {
    dir: PathBuf,
    program: PathBuf,
}

impl Place {
    fn new(program: &Path) -> anyhow::Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("kapell-faults-{}-{number}", std::process::id()));
        fs::create_dir_all(dir.join("work"))?;
        fs::write(dir.join("work/work.yaml"), workflow())?;
        Ok(Self { dir, program: program.to_owned() })
    }

    fn remove(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.dir).context("cannot clear away")
    }

    fn command(&self, program: &Path) -> anyhow::Result<Command> {
        let mut command = scrubbed(program, &self.dir)?;
        command.current_dir(self.dir.join("work")).stdin(Stdio::null());
        Ok(command)
    }

    fn kapell(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.command(&self.program)?;
        command.args(args).arg("--no-input");
        Ok(command)
    }

    fn trace(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.dir.join("trace")).unwrap_or_default())
    }

    /// Starts the run under `strace` with the expressions `-e`, of one thread. `None` if it ended before that.
    fn start_traced(&self, thread: Thread, expressions: &[&str]) -> anyhow::Result<Option<Child>> {
        let told = fs::File::options().create(true).append(true).open(self.dir.join("told"))?;
        let mut strace = self.command(Path::new("strace"))?;
        strace.stdout(Stdio::null()).stderr(told);
        let run = [self.program.as_os_str(), "run".as_ref(), "work.yaml".as_ref(), "--no-input".as_ref()];
        match thread {
            // With `-D` the program is our child, and the tracer is somebody else's.
            Thread::Main => {
                strace.arg("-D").args(["-qq", "-o"]).arg(self.dir.join("trace"));
                strace.args(expressions.iter().flat_map(|e| ["-e", e])).args(run);
                Ok(Some(strace.spawn().context("failed to start strace")?))
            }
            Thread::Writer => {
                // `-I1`: SIGTERM makes it let go.
                strace.args(["-I1", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=prctl"]);
                strace.args(["-e", "inject=prctl:signal=SIGSTOP:when=1"]).args(run);
                let mut child = strace.spawn().context("failed to start strace")?;
                let Some(writer) = stopped_writer(&mut child)? else { return Ok(None) };
                self.attach(&child, writer, expressions)?;
                Ok(Some(child))
            }
        }
    }

    /// Lets go of the first tracer, attaches the second to the thread `tid`, and lets the program go on.
    fn attach(&self, child: &Child, tid: u32, expressions: &[&str]) -> anyhow::Result<()> {
        let pid = child.id();
        signal("TERM", tracer(pid, pid)?)?;
        until(|| Ok((tracer(pid, pid)? == 0 && tracer(pid, tid)? == 0).then_some(())))?;
        let mut second = self.command(Path::new("strace"))?;
        second.arg("-qq").arg("-o").arg(self.dir.join("trace")).args(["-p", &tid.to_string()]);
        second.args(expressions.iter().flat_map(|e| ["-e", e])).stdout(Stdio::null()).stderr(Stdio::null());
        let mut second = second.spawn().context("failed to start strace")?;
        until(|| Ok((tracer(pid, tid)? != 0).then_some(())))?;
        signal("CONT", pid)?;
        // It ends with the thread.
        std::thread::spawn(move || second.wait());
        Ok(())
    }

    fn hit_and_resume(&self, case: Case) -> anyhow::Result<fn(&mut Outcomes)> {
        let trace = format!("trace={}", case.call);
        let inject = format!("inject={}:{}:when={}", case.call, case.fault.as_injection(), case.n);
        let Some(mut child) = self.start_traced(case.thread, &[&trace, &inject])? else {
            return Ok(|outcomes| outcomes.missed += 1);
        };
        let status = until(|| Ok(child.try_wait()?))?;
        let hit = self.trace()?.contains("INJECTED") || status.code().is_none();
        let outcome: fn(&mut Outcomes) = match status.code() {
            _ if !hit => |outcomes| outcomes.missed += 1,
            Some(0) => |outcomes| outcomes.got_along += 1,
            Some(GIVES_UP) => |outcomes| outcomes.gave_up += 1,
            Some(GIVES_UP_ELSEWHERE) if case.thread == Thread::Main => |outcomes| outcomes.gave_up += 1,
            None if case.fault == Fault::Kill => |outcomes| outcomes.killed += 1,
            _ => bail!("ended with {status}: {}", fs::read_to_string(self.dir.join("told"))?),
        };
        // What is started again after its end would be a new run.
        let is_over = self.history().is_ok_and(|(_, history)| history.is_over());
        if !is_over {
            let told = fs::File::options().append(true).open(self.dir.join("told"))?;
            let mut again = self.kapell(&["run", "work.yaml"])?;
            let status = again.stdout(Stdio::null()).stderr(told).status()?;
            ensure!(
                status.success(),
                "going on ended with {status}: {}",
                fs::read_to_string(self.dir.join("told"))?
            );
        }
        self.check()?;
        Ok(outcome)
    }

    fn history(&self) -> anyhow::Result<(String, History)> {
        History::of_export(&capture(&mut self.kapell(&["logs", "--export"])?)?)
    }

    /// Looks for what was told to be done, for anything done twice, and at the chain.
    fn check(&self) -> anyhow::Result<()> {
        let (run, history) = self.history()?;
        history.check()?;
        ensure!(history.done.len() == TASKS, "{} of {TASKS} tasks are done", history.done.len());
        for (task, words) in told(&fs::read_to_string(self.dir.join("told"))?) {
            let known = match words.as_slice() {
                ["done", ..] => history.done.contains_key(&task),
                ["attempt", attempt, "started", ..] => history.started.contains(&(task, attempt.parse()?)),
                _ => true,
            };
            ensure!(known, "`{}` was told of task {task} and is not in the journal", words.join(" "));
        }
        capture(&mut self.kapell(&["verify", &run])?)?;
        // A command leaves one line for each attempt of it that came so far.
        let text = fs::read_to_string(self.dir.join("work/ran.log"))?;
        let mut ran: BTreeMap<&str, usize> = BTreeMap::new();
        text.lines().for_each(|line| *ran.entry(line).or_default() += 1);
        for task in (0..TASKS).step_by(COMMAND_EVERY) {
            let attempts = history.started.iter().filter(|(started, _)| *started == task as u64).count();
            let times = ran.get(task.to_string().as_str()).copied().unwrap_or(0);
            ensure!((1..=attempts).contains(&times), "task {task} ran {times} times in {attempts} attempts");
        }
        Ok(())
    }
}

/// What the program said about tasks: lines such as `00:00.3  task-007  attempt 1 started`.
fn told(text: &str) -> BTreeSet<(u64, Vec<&str>)> {
    let lines = text.lines().map(|line| line.split_whitespace().skip(1));
    lines
        .filter_map(|mut words| Some((words.next()?.strip_prefix("task-")?.parse().ok()?, words.collect())))
        .collect()
}

fn workflow() -> String {
    let mut text = "mission: A long row of small steps\ntasks:\n".to_owned();
    for task in 0..TASKS {
        let needs = task.checked_sub(1).map(|before| format!("    needs: [task-{before}]\n"));
        let work = match task % COMMAND_EVERY {
            0 => format!("    supervise: group\n    run: echo {task} >> ran.log\n"),
            _ => "    noop: true\n".to_owned(),
        };
        text.push_str(&format!("  task-{task}:\n{}{work}", needs.unwrap_or_default()));
    }
    text
}

/// Waits until the program is stopped at the birth of its writer, and returns that thread's id.
fn stopped_writer(child: &mut Child) -> anyhow::Result<Option<u32>> {
    let pid = child.id();
    until(|| {
        if child.try_wait()?.is_some() {
            return Ok(Some(None));
        }
        let stopped = status_field(pid, pid, "State:")?.starts_with(['T', 't']);
        for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if name.trim_end() == WRITER {
                return Ok(Some(Some(entry.file_name().to_string_lossy().parse()?)));
            }
        }
        // Another thread took its name.
        if stopped {
            signal("CONT", pid)?;
        }
        Ok(None)
    })
}

/// Asks again and again until there is an answer.
fn until<T>(mut ask: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(start.elapsed() < PATIENCE, "it hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn status_field(pid: u32, tid: u32, name: &str) -> anyhow::Result<String> {
    // A process that has ended meanwhile says nothing.
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.unwrap_or_default().trim().to_owned())
}

fn tracer(pid: u32, tid: u32) -> anyhow::Result<u32> {
    Ok(status_field(pid, tid, "TracerPid:")?.parse().unwrap_or(0))
}

fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    ensure!(pid > 1, "no process to send SIG{name} to");
    capture(Command::new("kill").args([&format!("-{name}"), &pid.to_string()])).map(drop)
}
