//! Executing runs until they are at rest, with their progress on the screen.

use std::{
    collections::HashMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kapell_core::{
    budget::Exceeded,
    event::{Event, Outcome, PauseCause},
    id::{RunId, TaskId},
    journal::Row,
    run::{Phase, Run},
    time::Now,
};
use kapell_engine::{
    host::{Observer, Rest},
    port::{agents::AttemptKey, clock::Clock},
};
use kapell_store::Store;
use kapell_view::{
    next,
    progress::{self, Screen},
    status::StatusView,
    text::width,
    untrusted::Untrusted,
};

use crate::{
    answers::{Asked, Typist},
    clock::MachineClock,
    commands::look::now_of,
    exit::Exit,
    fault::Fault,
    forecast::Outlook,
    output::{Out, erase, paint, screen},
    runs,
    telling::{Readers, facts},
    wiring::Machine,
};

/// How often the live display is drawn anew.
const FRAME: Duration = Duration::from_millis(100);

/// Interrupts that have come since they are heeded: the first ends what this process does in order, the second at once.
#[derive(Debug, Default)]
pub struct Interrupts(Arc<AtomicUsize>);

impl Interrupts {
    /// Heeds them from now on, up to the end of the process: whoever does has to look at them as long.
    pub fn heed() -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            // Without a handler the signal ends the process, and the run is resumed later all the same.
            let _ = signal_hook::flag::register_conditional_shutdown(
                signal,
                Exit::Interrupted as i32,
                again.clone(),
            );
            let _ = signal_hook::flag::register(signal, again.clone());
            let _ = signal_hook::flag::register_usize(signal, count.clone(), 1);
        }
        Self(count)
    }

    /// Leaves them to the system: the first one ends the process.
    pub fn unheeded() -> Self {
        Self::default()
    }

    /// Tells whether there was one.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Shows what happens: a live display on a terminal, plain lines elsewhere.
struct Display {
    out: Out,
    live: bool,
    readers: Readers,
    /// What the attempts that run have said last, by run and task.
    said: HashMap<(RunId, TaskId), Untrusted>,
    lines: Vec<String>,
    drawn: usize,
    at: Option<Instant>,
    outlook: Outlook,
    /// Whether lines say which run they are of.
    several: bool,
    /// The gate that the person at the terminal is asked about.
    asked: Option<Asked>,
    typist: Typist,
}

impl Display {
    fn new(out: Out) -> Self {
        let live = out.is_live();
        Self {
            out,
            live,
            readers: Readers::new(out.json),
            said: HashMap::new(),
            lines: Vec::new(),
            drawn: 0,
            at: None,
            outlook: Outlook::default(),
            several: false,
            asked: None,
            typist: Typist::default(),
        }
    }

    /// Asks the person at the terminal about a gate, or no longer.
    fn ask(&mut self, asked: Option<Asked>) {
        if self.asked == asked {
            return;
        }
        if asked.is_some() {
            self.typist.listen();
        }
        self.wipe();
        self.asked = asked;
        self.at = None;
    }

    /// Returns what takes the display off the terminal, with what was typed below it.
    fn wiped(&mut self) -> String {
        let below = if self.asked.is_some() { "\r\x1b[J" } else { "" };
        format!("{below}{}", erase(std::mem::take(&mut self.drawn)))
    }

    fn wipe(&mut self) {
        let wiped = self.wiped();
        let mut stderr = anstream::stderr().lock();
        let _ = write!(stderr, "{wiped}").and_then(|()| stderr.flush());
    }

    /// Puts what was typed to the run that asks.
    fn take_answer(&mut self, machine: &mut Machine) {
        let Some(asked) = self.asked.clone() else { return };
        let Some(line) = self.typist.line() else { return };
        // The line that was typed stands there, and the cursor below it.
        let (columns, _) = screen();
        self.drawn += 1 + (width(&asked.prompt) + width(&line)) / columns.max(1);
        self.wipe();
        self.at = None;
        if let Err(why) = asked.put(machine, &line) {
            self.lines.push(format!("{why}\n"));
        }
    }

    /// Learns how long tasks take, once there is a plan and whenever it is another one.
    fn look_ahead(&mut self, store: &Store, run: Option<&Run>) {
        if let Some(run) = run.filter(|_| self.live) {
            self.outlook.learn(store, run);
        }
    }

    /// Draws the display of `run` below what has been printed.
    fn draw(&mut self, run: Option<&Run>, now: Now, last: bool) {
        if !self.live {
            self.flush();
            return;
        }
        // Where somebody types nothing moves of itself.
        let due = self.at.is_none_or(|at| self.asked.is_none() && at.elapsed() >= FRAME);
        if !due && !last && self.lines.is_empty() {
            return;
        }
        self.at = Some(Instant::now());
        let (columns, rows) = screen();
        let wiped = self.wiped();
        let printed: String = self.lines.drain(..).collect();
        let frame = match run {
            Some(run) if !last => {
                let said = |task: TaskId| self.said.get(&(run.id(), task)).cloned();
                let screen = Screen { columns, rows: rows.saturating_sub(2).min(16) };
                let forecast = self.outlook.at(run, now);
                progress::lines(run, now, forecast, &said, screen)
            }
            _ => Vec::new(),
        };
        self.drawn = frame.len();
        let prompt = self.asked.as_ref().filter(|_| !last).map_or("", |asked| asked.prompt.as_str());
        let mut stderr = anstream::stderr().lock();
        let _ = write!(stderr, "{wiped}{printed}{}{prompt}", paint(&frame)).and_then(|()| stderr.flush());
    }

    fn flush(&mut self) {
        for line in self.lines.drain(..) {
            self.out.note(line.trim_end());
        }
    }
}

impl Observer for Display {
    fn decided(&mut self, run: &Run, rows: &[Row], events: &[Event]) {
        for event in events {
            if let Event::Started { task, .. } = event {
                self.said.remove(&(run.id(), *task));
            }
        }
        if self.out.quiet {
            return;
        }
        self.readers.note_parts(run);
        let reader = self.readers.of(run);
        let mut rest = events;
        for row in rows {
            let count = row.body.matches("\n").count() + usize::from(row.body != "[]");
            let (own, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            if self.out.json {
                reader.entries(row, own).iter().for_each(|entry| self.out.line(entry));
                continue;
            }
            let (columns, _) = screen();
            let of = match self.several {
                true => format!("{}  ", kapell_view::text::short(run.id())),
                false => String::new(),
            };
            let text = facts(reader, row, own, columns.saturating_sub(of.len()));
            if !text.is_empty() {
                self.lines.push(text.split_inclusive('\n').map(|line| of.clone() + line).collect());
            }
        }
    }

    fn trouble(&mut self, _run: &Run, message: &str) {
        if !self.out.quiet && !self.out.json {
            self.lines.push(format!("could not be done: {}\n", Untrusted::from(message).last_line()));
        }
    }

    fn progress(&mut self, _run: &Run, key: AttemptKey, fraction: Option<f64>, text: &str) {
        let percent = fraction.map(|fraction| format!("{:.0} % ", fraction.clamp(0.0, 1.0) * 100.0));
        let said = Untrusted::from(format!("{}{text}", percent.unwrap_or_default()));
        self.said.insert((key.run, key.task), said);
    }
}

/// What ends a session before the run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Waits for people, who answer from other terminals.
    ForPeople,
    /// Ends when only people can help, and stays for answers to questions: whoever asked would be lost.
    Ends,
    /// Ends when only people can help, and whoever asks them is lost.
    Never,
}

/// Executes a run until it is at rest.
///
/// # Errors
///
/// Fails if the journal no longer takes decisions, or the decider contradicts itself.
pub fn drive(
    machine: &mut Machine,
    run: RunId,
    out: Out,
    patience: Patience,
    interrupts: &Interrupts,
) -> Result<Exit, Fault> {
    let mut display = Display::new(out);
    display.several = machine.host.runs().filter(|run| !runs::is_child(run.id())).count() > 1;
    for outermost in machine.host.runs().filter(|run| !runs::is_child(run.id())) {
        display.readers.learn(outermost, |part| machine.host.run(part));
    }
    let exit = loop {
        machine
            .host
            .step(FRAME, &mut display)
            .map_err(|bug| Fault::new("K0599", Exit::Bug, "kapell contradicts itself").because(bug))?;
        if interrupts.any() {
            break Exit::Interrupted;
        }
        if let Some(error) = machine.host.failure(run) {
            display.draw(None, Now::default(), true);
            return Err(Fault::from(error));
        }
        let state = machine.host.run(run);
        display.look_ahead(&machine.store, state);
        let asks = patience == Patience::ForPeople && display.live && machine.host.rest(run) == Rest::Gates;
        display.ask(state.filter(|_| asks).and_then(|run| Asked::first(machine, run, screen().0)));
        let now = state.map(|run| now_of(run, true)).unwrap_or_default();
        display.draw(state, now, false);
        display.take_answer(machine);
        let state = machine.host.run(run);
        match machine.host.rest(run) {
            Rest::Over => break exit_of(state),
            Rest::Paused => break exit_of(machine.host.paused(run)),
            Rest::Gates if patience != Patience::ForPeople => break Exit::Waits,
            Rest::Asking if patience == Patience::Never && state.is_none_or(only_asks) => break Exit::Waits,
            // An attempt that waits for an answer would be lost with this process.
            Rest::Gates | Rest::Asking | Rest::Waiting | Rest::Busy => {}
        }
    };
    let state = machine.host.run(run);
    display.draw(state, Now::default(), true);
    display.flush();
    Ok(exit)
}

/// Tells whether no task of a run goes on by itself after a while.
fn only_asks(run: &Run) -> bool {
    ["backing_off", "parked"].iter().all(|state| run.counts().of(state) == 0)
}

/// Executes a run until so many tasks have landed or are done while others are under way, and then kills this process as hard as
/// can be. Returns if the run is over before that.
///
/// # Errors
///
/// As [`drive`].
pub fn drive_to_death(machine: &mut Machine, run: RunId, out: Out, over: u32) -> Result<(), Fault> {
    let mut mortal = Mortal { display: Display::new(out), over: 0 };
    while machine.host.rest(run) != Rest::Over {
        machine
            .host
            .step(FRAME, &mut mortal)
            .map_err(|bug| Fault::new("K0599", Exit::Bug, "kapell contradicts itself").because(bug))?;
        mortal.display.flush();
        let at_work = machine.host.run(run).is_some_and(|run| run.in_flight().next().is_some());
        if mortal.over >= over && at_work {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }
    Ok(())
}

/// A display that counts how many tasks it has shown to be over.
struct Mortal {
    display: Display,
    over: u32,
}

impl Observer for Mortal {
    fn decided(&mut self, run: &Run, rows: &[Row], events: &[Event]) {
        let is_over = |event: &&Event| matches!(event, Event::Landed { .. } | Event::Completed { .. });
        self.over += u32::try_from(events.iter().filter(is_over).count()).unwrap_or(u32::MAX);
        self.display.decided(run, rows, events);
    }

    fn progress(&mut self, run: &Run, key: AttemptKey, fraction: Option<f64>, text: &str) {
        self.display.progress(run, key, fraction, text);
    }

    fn trouble(&mut self, run: &Run, message: &str) {
        self.display.trouble(run, message);
    }
}

/// Returns the exit code that says where a run stands.
pub fn exit_of(run: Option<&Run>) -> Exit {
    match run.map(Run::phase) {
        Some(Phase::Finished(Outcome::Succeeded)) => Exit::Done,
        Some(Phase::Finished(_)) => Exit::Failures,
        Some(Phase::Paused(PauseCause::Deadline)) => Exit::Deadline,
        Some(Phase::Paused(PauseCause::Budget(Exceeded::Usd | Exceeded::Tokens | Exceeded::Wall))) => {
            Exit::Refused
        }
        Some(Phase::Paused(PauseCause::BaseIsRed { .. })) => Exit::Failures,
        Some(Phase::Paused(_)) => Exit::Waits,
        _ => Exit::Interrupted,
    }
}

/// Says where a run stands and what to type next; to a program, in one last line.
pub fn conclude(store: &Store, run: &Run, out: Out, interrupted: bool) {
    // What its parts wait for cannot be told if they cannot be read; that is no reason to say nothing.
    let parts = runs::parts(store, run).unwrap_or_default();
    if out.json {
        let now = Now { wall: MachineClock.wall(), elapsed: run.clock() };
        out.line(&StatusView::new(run, now, false, None).with_parts(run, &parts));
    }
    if interrupted && !out.json {
        out.note("interrupted: what ran is ended, and nothing that landed is lost");
    }
    if let Some(command) = next::command_of(run, &parts, false) {
        out.next(&command);
    } else if interrupted {
        out.next(&format!("kapell resume {}", kapell_view::text::short(run.id())));
    }
}
