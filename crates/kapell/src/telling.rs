//! Telling runs together with the nested workflows that are part of them.

use std::collections::HashMap;

use kapell_core::{
    event::Event,
    id::RunId,
    journal::Row,
    plan::Work,
    run::Run,
    task::TaskState,
    time::{Elapsed, Wall},
};
use kapell_engine::{
    open::{OpenError, kept_plan},
    port::journal::Journal,
};
use kapell_store::Store;
use kapell_view::logs::{LogReader, Weight};

use crate::{fault::Fault, output::paint};

/// What tells runs: nested workflows as parts of the run that they belong to, by its clock and behind the names of the tasks
/// that lead to them.
#[derive(Debug)]
pub struct Readers {
    /// To programs each run is told by itself.
    apart: bool,
    readers: HashMap<RunId, LogReader>,
    /// When nested workflows began, on the clocks of the runs that they are part of.
    begun: HashMap<RunId, Elapsed>,
}

impl Readers {
    /// Starts with no run; `apart` tells each by itself.
    pub fn new(apart: bool) -> Self {
        Self { apart, readers: HashMap::new(), begun: HashMap::new() }
    }

    /// Learns how runs that are gone on with lie in each other, for a part may be heard of before what it is part of.
    pub fn learn<'a>(&mut self, outermost: &'a Run, find: impl Fn(RunId) -> Option<&'a Run>) {
        let mut left = vec![outermost];
        while let Some(run) = left.pop() {
            if !run.is_created() {
                continue;
            }
            let parts = self.note_parts(run);
            self.of(run);
            left.extend(parts.into_iter().filter_map(&find));
        }
    }

    /// Notes when the nested workflows of a run began that are under way; returns those that it did not know of.
    pub fn note_parts(&mut self, run: &Run) -> Vec<RunId> {
        let mut new = Vec::new();
        for task in run.in_flight() {
            if let (TaskState::Running(attempt), Work::Workflow(_)) =
                (run.state(task), &run.plan().definition(task).work)
            {
                let part = run.id().child(task, attempt.number);
                if self.begun.insert(part, attempt.since).is_none() {
                    new.push(part);
                }
            }
        }
        new
    }

    /// Returns what tells a run.
    pub fn of(&mut self, run: &Run) -> &mut LogReader {
        let new = (!self.readers.contains_key(&run.id())).then(|| self.new_reader(run));
        self.readers.entry(run.id()).or_insert_with(|| new.unwrap_or_default())
    }

    fn new_reader(&self, run: &Run) -> LogReader {
        let as_part = || {
            let parent = run.mission().parent.filter(|_| !self.apart)?;
            let since = *self.begun.get(&run.id())?;
            Some(self.readers.get(&parent.run)?.of_part(parent.task, since, run))
        };
        as_part().unwrap_or_else(|| LogReader::after(run))
    }
}

/// Writes what people want to know of a decision, as lines of at most `columns`.
pub fn facts(reader: &mut LogReader, row: &Row, events: &[Event], columns: usize) -> String {
    let lines = reader.read(row, events).into_iter().filter(|line| line.weight == Weight::Fact);
    lines.map(|line| paint(&[line.line(columns)]) + &paint(&line.message_lines(4, columns))).collect()
}

/// A run with its nested workflows, read from the journal as far as they have come.
pub struct Family {
    readers: Readers,
    /// The run itself, then those of its parts that are not over.
    runs: Vec<Run>,
    /// When parts began, and how deep they lie.
    places: HashMap<RunId, (Wall, i32)>,
}

impl Family {
    /// Starts before the first decision of a run; `apart` tells each of its parts by itself.
    pub fn new(run: RunId, apart: bool) -> Self {
        Self { readers: Readers::new(apart), runs: vec![Run::new(run)], places: HashMap::new() }
    }

    /// Returns the run itself.
    pub fn run(&self) -> &Run {
        &self.runs[0]
    }

    /// Returns the run itself, of which nothing more is to be read.
    pub fn into_run(mut self) -> Run {
        self.runs.swap_remove(0)
    }

    /// Takes in the decisions that are new, and returns what `tell` makes of each, in the order in which they were made.
    ///
    /// Of what was decided in the same millisecond, a part comes before the run that it is part of, which goes by what the
    /// part has done; but what began the part, or took the run over, comes before that.
    ///
    /// # Errors
    ///
    /// Fails if the journal cannot be read, or is damaged.
    pub fn news<T>(
        &mut self,
        store: &Store,
        mut tell: impl FnMut(&mut LogReader, &Row, &[Event]) -> T,
    ) -> Result<Vec<T>, Fault> {
        let mut told: Vec<((Wall, i32), T)> = Vec::new();
        let mut next = 0;
        // Parts that are met on the way are read behind the run that has begun them.
        while let Some(run) = self.runs.get_mut(next) {
            let mut rows = Vec::new();
            store.read(run.id(), run.version(), &mut |row| {
                rows.push(row.clone());
                true
            })?;
            let mut begun = Vec::new();
            let (since, depth) = self.places.get(&run.id()).copied().unwrap_or((Wall(i64::MIN), 0));
            // The clock may have been set back; decisions of one run keep their order.
            let mut at = since;
            for row in &rows {
                let events = run
                    .replay(row, &mut |digest| kept_plan(store, digest))
                    .map_err(|damage| Fault::from(OpenError::from(damage)))?;
                at = at.max(row.at);
                if events.iter().any(|event| matches!(event, Event::Started { .. })) {
                    let new = self.readers.note_parts(run);
                    self.places.extend(new.iter().map(|part| (*part, (at, depth + 1))));
                    begun.extend(new);
                }
                let is_opened = events.iter().any(|event| matches!(event, Event::Opened { .. }));
                let rank = match (at == since, is_opened) {
                    (true, _) => depth,
                    // Whoever takes a run over opens it before its parts.
                    (false, true) => i32::MIN + depth,
                    (false, false) => -depth,
                };
                told.push(((at, rank), tell(self.readers.of(run), row, &events)));
            }
            self.runs.extend(begun.into_iter().map(Run::new));
            next += 1;
        }
        let mut is_first = true;
        self.runs.retain(|run| std::mem::take(&mut is_first) || run.outcome().is_none());
        told.sort_by_key(|(place, _)| *place);
        Ok(told.into_iter().map(|(_, told)| told).collect())
    }
}
