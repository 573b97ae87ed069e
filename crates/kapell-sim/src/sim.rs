//! One simulated run: a shell like the engine's, on a simulated disk, in a simulated world, at a simulated time.

mod commit;
mod effects;
mod open;
mod people;
mod processes;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use kapell_core::{
    command::{Command, Verdict},
    effect::Hold,
    event::Event,
    id::{AttemptNo, Digest, GateId, Oid, ProbeId, RunId, TaskId},
    journal::{Actor, Row, Version},
    landing::Probed,
    mission::Mission,
    plan::Plan,
    retry::FailureClass,
    run::{Phase, Run},
    task::Change,
    time::{Elapsed, Now, Wall},
};

use crate::{
    check::{Checked, Checker, ensure},
    dice::Dice,
    disk::Disk,
    report::Report,
    scenario::{Knobs, Scenario, WALL_START},
    world::{Git, Process},
};

/// Something that goes wrong with the disk, or with the process at an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFault {
    CrashBefore,
    CrashTorn,
    CrashUnsynced,
    CrashDurable,
    CrashAcked,
    CrashMidEffects,
    Full,
    FullTorn,
    SyncError,
}

impl DiskFault {
    const ALL: [Self; 9] = [
        Self::CrashBefore,
        Self::CrashTorn,
        Self::CrashUnsynced,
        Self::CrashDurable,
        Self::CrashAcked,
        Self::CrashMidEffects,
        Self::Full,
        Self::FullTorn,
        Self::SyncError,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CrashBefore => "crash_before_append",
            Self::CrashTorn => "crash_torn_write",
            Self::CrashUnsynced => "crash_before_sync",
            Self::CrashDurable => "crash_before_ack",
            Self::CrashAcked => "crash_before_effects",
            Self::CrashMidEffects => "crash_amid_effects",
            Self::Full => "disk_full",
            Self::FullTorn => "disk_full_torn_write",
            Self::SyncError => "sync_error",
        }
    }
}

/// What chance has in store for a run, by step.
#[derive(Debug, Clone, Copy)]
enum Chaos {
    /// At the next append.
    Disk(DiskFault),
    /// Between two appends.
    Crash,
    ClockJump,
    Suspend,
    Pause,
    Resume,
    Cancel,
    Revise,
    Reuse,
    Meddle,
    /// The run that this one is part of is paused, and goes on later.
    Hold,
    /// Somebody says what does not fit of answers, rankings and hand-offs.
    Intrude,
}

#[derive(Debug)]
enum Happening {
    /// The process of an attempt ends.
    Ends {
        task: TaskId,
        attempt: AttemptNo,
    },
    /// The end of an attempt is reported.
    Reported {
        task: TaskId,
        attempt: AttemptNo,
    },
    Says {
        actor: Actor,
        command: Box<Command>,
    },
    Judged {
        task: TaskId,
        attempt: AttemptNo,
        verdict: Verdict,
    },
    Probed {
        probe: ProbeId,
        outcome: Probed,
    },
    RefMoved {
        to: Oid,
    },
    UndoEnds {
        task: TaskId,
        attempt: AttemptNo,
        failure: Option<String>,
    },
    MergeEnds,
    /// The disk has synced all decisions up to this one.
    Synced {
        upto: Version,
    },
    Answer {
        gate: GateId,
    },
    /// A person has second thoughts about an answer.
    TakeBack {
        gate: GateId,
    },
    Release,
    Resume,
    Poll,
}

/// A batch on its way to the disk.
struct Pending {
    rows: Vec<Row>,
    events: Vec<Event>,
    now: Now,
    upto: Version,
    /// Whether a probe is out after it.
    asking: bool,
}

struct Entry {
    at: u64,
    seq: u64,
    /// The life of the engine to which it belongs; 0 outlives them all.
    life: u32,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// How a task's compensation went, as its supervisor recorded it.
#[derive(Debug, Clone, Default)]
struct Undo {
    ended: Vec<UndoEnd>,
    under_way: Option<AttemptNo>,
}

/// The end of a try at taking a task back, and what it changed.
#[derive(Debug, Clone)]
struct UndoEnd {
    attempt: AttemptNo,
    failure: Option<String>,
    change: Option<Change>,
}

impl Undo {
    fn known(&self, attempt: AttemptNo) -> Option<UndoEnd> {
        self.ended.iter().find(|end| end.attempt == attempt).cloned()
    }
}

pub(crate) struct Sim {
    dice: Dice,
    /// For what was added to the worlds later, so that what else a seed means stays.
    asides: Dice,
    /// How often an agent hands its work on, in thousandths.
    handing: u32,
    /// How often a person takes an answer back, in thousandths.
    fickle: u32,
    mission: Mission,
    plan: Arc<Plan>,
    revision: Option<Arc<Plan>>,
    knobs: Knobs,
    chaos: Vec<(u64, Chaos)>,
    boot: u64,
    wall_offset: i64,
    queue: BinaryHeap<Reverse<Entry>>,
    seq: u64,
    life: u32,
    opened_at: u64,
    opened_clock: Elapsed,
    epoch: u64,
    pub(crate) run: Run,
    disk: Disk,
    kept: Vec<(Digest, Arc<Plan>)>,
    git: Git,
    processes: Vec<Option<Process>>,
    /// By task: what its child run has last been told of its parent's phase.
    holds: Vec<Hold>,
    undos: Vec<Undo>,
    /// What was taken back in the world, in order.
    undone: Vec<TaskId>,
    checker: Checker,
    next_fault: Option<DiskFault>,
    /// When something was last put to the run.
    settled: Now,
    /// Decided, and not yet synced.
    pending: VecDeque<Pending>,
    /// The process is dead: the run must be opened again.
    down: Option<&'static str>,
    calm: bool,
    calm_at: u64,
    /// How long somebody waits before looking after the run again.
    patience: u64,
    steps: u64,
    /// Commands that came up while other things were done.
    inbox: Vec<(Actor, Command)>,
    pub(crate) report: Report,
    pub(crate) log: Option<String>,
}

macro_rules! log {
    ($sim:expr, $($text:tt)*) => {
        if $sim.log.is_some() {
            $sim.write_log(format_args!($($text)*));
        }
    };
}
pub(crate) use log;

impl Sim {
    pub(crate) fn new(seed: u64, log: Option<String>) -> Self {
        let mut dice = Dice::new(seed);
        let Scenario { mission, plan, revision, facts, knobs } = Scenario::draw(&mut dice);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&dice.bits().to_le_bytes());
        let tasks = revision.as_ref().map_or(plan.len(), |plan| plan.len());
        let git = Git::new(knobs.base_is_red);
        let checker = Checker::new(facts, knobs.flaky > 0, git.head);
        let mut chaos = draw_chaos(&mut dice, knobs.fault_steps);
        let mut asides = Dice::new(mission.seed ^ 0x6173_6964_6573);
        let handing = if asides.chance(400) { asides.small(50, 400) } else { 0 };
        let fickle = if asides.chance(400) { asides.small(100, 600) } else { 0 };
        add_chaos(&mut asides, knobs.fault_steps, &mut chaos);
        let calm_at = knobs.fault_steps;
        let report = Report { seed, tasks: plan.len() as u64, ..Report::default() };
        Self {
            dice,
            asides,
            handing,
            fickle,
            mission,
            plan,
            revision,
            knobs,
            chaos,
            boot: 1000,
            wall_offset: 0,
            queue: BinaryHeap::new(),
            seq: 0,
            life: 1,
            opened_at: 1000,
            opened_clock: Elapsed::default(),
            epoch: 0,
            run: Run::new(RunId(id)),
            disk: Disk::default(),
            kept: Vec::new(),
            git,
            processes: (0..tasks).map(|_| None).collect(),
            holds: vec![Hold::None; tasks],
            undos: vec![Undo::default(); tasks],
            undone: Vec::new(),
            checker,
            next_fault: None,
            settled: Now::default(),
            pending: VecDeque::new(),
            down: None,
            calm: false,
            calm_at,
            patience: 1000,
            steps: 0,
            inbox: Vec::new(),
            report,
            log,
        }
    }

    pub(crate) fn write_log(&mut self, what: std::fmt::Arguments<'_>) {
        use std::fmt::Write as _;
        let (step, boot) = (self.steps, self.boot);
        if let Some(log) = &mut self.log {
            let _ = writeln!(log, "{step:5} {boot:8} {what}");
        }
    }

    /// Runs from the beginning to the end.
    pub(crate) fn play(&mut self) -> Checked {
        if self.dice.chance(30) {
            self.next_fault = Some(*self.dice.pick(&DiskFault::ALL));
        }
        self.begin()?;
        while self.run.outcome().is_none() || self.down.is_some() || !self.pending.is_empty() {
            self.step()?;
        }
        self.epilogue()?;
        self.report.steps = self.steps;
        self.report.decisions = self.checker.n.0;
        Ok(())
    }

    fn now(&self) -> Now {
        let elapsed = Elapsed(self.opened_clock.0 + (self.boot - self.opened_at));
        Now { wall: self.wall(), elapsed }
    }

    fn wall(&self) -> Wall {
        let boot = i64::try_from(self.boot).unwrap_or(i64::MAX);
        Wall(WALL_START.saturating_add(boot).saturating_add(self.wall_offset))
    }

    fn schedule(&mut self, after: u64, life: u32, what: Happening) {
        self.seq += 1;
        self.queue.push(Reverse(Entry { at: self.boot + after, seq: self.seq, life, what }));
    }

    /// Schedules something that the engine's process does or sees.
    fn soon(&mut self, after: u64, what: Happening) {
        self.schedule(after, self.life, what);
    }

    fn step(&mut self) -> Checked {
        self.steps += 1;
        let bound = self.calm_at + 2000 + 40 * self.report.tasks;
        ensure!(self.steps < bound, "no end in sight: {}", self.checker.standing());
        if self.down.is_some() {
            return self.open();
        }
        if !self.calm && self.steps >= self.calm_at {
            self.calm_down();
        }
        self.unleash();
        if self.down.is_some() {
            return Ok(());
        }
        let wake = self.wake_at();
        let next = self.queue.peek().map(|Reverse(entry)| entry.at);
        let Some(at) = next.into_iter().chain(wake).min() else {
            if !self.inbox.is_empty() {
                return self.deliver(false);
            }
            ensure!(!self.calm, "nothing will ever happen: {}", self.checker.standing());
            self.calm_at = self.steps;
            return Ok(());
        };
        self.boot = self.boot.max(at);
        let rings = wake.is_some_and(|wake| wake <= self.boot);
        self.boot += self.knobs.window;
        while self.queue.peek().is_some_and(|Reverse(entry)| entry.at <= self.boot) {
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            if entry.life == 0 || entry.life == self.life {
                self.happen(entry.what)?;
            }
        }
        self.deliver(rings)
    }

    fn deliver(&mut self, rings: bool) -> Checked {
        let mut commands = std::mem::take(&mut self.inbox);
        if rings {
            commands.push((Actor::Clock, Command::Tick));
        }
        if commands.is_empty() {
            return Ok(());
        }
        let before = self.run.version();
        self.commit(commands)?;
        if rings && self.run.version() == before && self.down.is_none() {
            let again = self.wake_at().is_some_and(|at| at <= self.boot);
            ensure!(!again, "a timer rings for ever: {:?} at {:?}", self.run.next_wake(), self.now());
        }
        Ok(())
    }

    /// Returns when the run wants to be looked at, on the boot-time clock.
    fn wake_at(&self) -> Option<u64> {
        let wake = self.run.next_wake();
        let lost = crate::planted::is("timer_lost_on_resume") && self.epoch > 1;
        let by_elapsed = wake
            .elapsed
            .filter(|_| !lost)
            .map(|at| self.opened_at + at.0.saturating_sub(self.opened_clock.0));
        let by_wall = wake.wall.map(|at| {
            let left = at.0.saturating_sub(self.wall().0);
            self.boot + u64::try_from(left).unwrap_or(0)
        });
        by_elapsed.into_iter().chain(by_wall).min()
    }

    fn happen(&mut self, what: Happening) -> Checked {
        let engine = Actor::Engine;
        match what {
            Happening::Ends { task, attempt } => self.process_ends(task, attempt),
            Happening::Reported { task, attempt } => self.report_end(task, attempt),
            Happening::Says { actor, command } => self.inbox.push((actor, *command)),
            Happening::Judged { task, attempt, verdict } => {
                self.inbox.push((engine, Command::Judge { task, attempt, verdict }));
            }
            Happening::Probed { probe, outcome } => {
                self.inbox.push((engine, Command::Probed { probe, outcome }))
            }
            Happening::RefMoved { to } => self.inbox.push((engine, Command::RefMoved { to })),
            Happening::UndoEnds { task, attempt, failure } => self.undo_ends(task, attempt, failure)?,
            Happening::MergeEnds => self.inbox.push((engine, Command::EndMerge { moved: true, why: None })),
            Happening::Synced { upto } => self.synced(upto)?,
            Happening::Answer { gate } => self.answer(gate),
            Happening::TakeBack { gate } => self.take_back(gate),
            Happening::Release => self.release(),
            Happening::Resume => self.resume(),
            Happening::Poll => self.poll(),
        }
        Ok(())
    }

    /// Lets loose what is due by now.
    fn unleash(&mut self) {
        while self.chaos.last().is_some_and(|(step, _)| *step <= self.steps) {
            let Some((_, chaos)) = self.chaos.pop() else { break };
            log!(self, "chaos    {chaos:?}");
            match chaos {
                Chaos::Disk(fault) => self.next_fault = Some(fault),
                Chaos::Crash => {
                    self.crash("crash");
                    return;
                }
                Chaos::ClockJump => {
                    self.report.faults.add("clock_jump");
                    let years = i64::from(self.dice.small(0, 20)) - 10;
                    let hours = i64::from(self.dice.small(0, 48)) - 24;
                    self.wall_offset = years * 31_557_600_000 + hours * 3_600_000;
                }
                Chaos::Suspend => {
                    self.report.faults.add("suspend");
                    self.boot += self.dice.between(1000, 8 * 3_600_000);
                }
                chaos => self.person(chaos),
            }
        }
    }

    fn calm_down(&mut self) {
        log!(self, "calm     no more faults");
        self.calm = true;
        self.calm_at = self.steps;
        self.chaos.clear();
        self.next_fault = None;
        self.wall_offset = 0;
        self.git.base_is_red = false;
        self.knobs = Knobs { changes: self.knobs.changes, window: self.knobs.window, ..Knobs::default() };
        for at in 0..self.processes.len() {
            if let Some(process) = self.processes[at].as_ref().filter(|process| process.alive) {
                let (task, attempt) = (TaskId(u32::try_from(at).unwrap_or(u32::MAX)), process.attempt);
                self.soon(5000, Happening::Ends { task, attempt });
            }
        }
        self.schedule(self.patience, 0, Happening::Poll);
    }

    fn fault(&mut self, name: &'static str) {
        self.report.faults.add(name);
    }
}

/// Draws what goes wrong when; the last comes first. There is at least one fault.
fn draw_chaos(dice: &mut Dice, steps: u64) -> Vec<(u64, Chaos)> {
    let mut chaos = Vec::new();
    // What is certain to be reached: early enough for the shortest run.
    let first = dice.between(1, 25);
    let fault = *dice.pick(&DiskFault::ALL);
    chaos.push((first, Chaos::Disk(fault)));
    let crashes = match dice.below(10) {
        0..5 => 0,
        5..8 => 1,
        8 => 2,
        _ => dice.between(3, 6),
    };
    for _ in 0..crashes {
        let what = match dice.chance(200) {
            true => Chaos::Crash,
            false => Chaos::Disk(*dice.pick(&DiskFault::ALL)),
        };
        chaos.push((dice.between(1, steps / 2), what));
    }
    let mut rare = |permille: u32, what: Chaos| {
        if dice.chance(permille) {
            chaos.push((dice.between(1, steps / 2), what));
        }
    };
    rare(150, Chaos::ClockJump);
    rare(100, Chaos::ClockJump);
    rare(100, Chaos::Suspend);
    rare(150, Chaos::Pause);
    rare(150, Chaos::Resume);
    rare(170, Chaos::Cancel);
    rare(400, Chaos::Revise);
    rare(150, Chaos::Reuse);
    rare(400, Chaos::Meddle);
    rare(400, Chaos::Meddle);
    rare(400, Chaos::Meddle);
    sort(&mut chaos);
    chaos
}

/// Adds what the worlds have learnt since.
fn add_chaos(dice: &mut Dice, steps: u64, chaos: &mut Vec<(u64, Chaos)>) {
    for (permille, what) in [(120, Chaos::Hold), (300, Chaos::Intrude), (300, Chaos::Intrude)] {
        if dice.chance(permille) {
            chaos.push((dice.between(1, steps / 2), what));
        }
    }
    sort(chaos);
}

fn sort(chaos: &mut [(u64, Chaos)]) {
    chaos.sort_by_key(|(step, _)| Reverse(*step));
}
