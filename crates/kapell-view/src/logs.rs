//! Events as lines for people, and as entries for machines. Each type of event has its renderer in one table.

mod table;

use std::{collections::BTreeMap, sync::Arc};

use kapell_core::{
    event::{Event, PauseCause},
    id::{AgentId, GateId, TaskId},
    journal::{Actor, Row},
    plan::{Plan, Work},
    run::{Phase, Run},
    time::{Elapsed, Millis, Wall},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    text::{Line, Style, clock, fold, instant, shorten, width},
    untrusted::{Untrusted, visible},
};

/// The widest column for names of tasks.
pub(crate) const NAME_COLUMNS_MAX: usize = 24;

/// What stands before a line of what was said.
const QUOTED: &str = "         | ";

/// The most tasks whose names are measured for the width of their column.
const NAMES_MEASURED_MAX: usize = 10_000;

/// The version of [`LogEntry`] on the wire.
pub const LOG_ENTRY_VERSION: u32 = 1;

/// How much an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// A step in between, of interest to those who look closely.
    Detail,
    /// Something that a person wants to know of.
    Fact,
}

/// An event told in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The decision that it belongs to.
    pub n: u64,
    /// When it was, by the wall clock.
    pub at: Wall,
    /// When it was, on the run's own clock.
    pub elapsed: Millis,
    /// The name of the event.
    pub event: &'static str,
    /// The task that it is about.
    pub task: Option<TaskId>,
    /// The name of that task.
    pub name: Option<Untrusted>,
    /// How much it tells.
    pub weight: Weight,
    /// What it means.
    pub style: Style,
    /// What happened, safe to print.
    pub text: String,
    /// What was said at length, such as the output of a failed command.
    pub message: Untrusted,
    /// How many bytes of the text stand before the last line of the message.
    before_message: usize,
    name_columns: usize,
    /// Whether it is told as part of another run, which its number means nothing to.
    is_of_part: bool,
}

impl LogLine {
    /// Returns the line: `00:02.3  parser  attempt 2 started`.
    #[must_use]
    pub fn line(&self, columns: usize) -> Line {
        self.stamped(clock(self.elapsed), columns)
    }

    /// Returns the line with the time of day in place of the run's own clock.
    #[must_use]
    pub fn line_of_day(&self, columns: usize) -> Line {
        self.stamped(instant(self.at), columns)
    }

    fn stamped(&self, stamp: String, columns: usize) -> Line {
        let name = self.name.as_ref().map_or_else(|| "run".to_owned(), Untrusted::visible);
        let name = shorten(&name, self.name_columns);
        let space = " ".repeat(self.name_columns.saturating_sub(width(&name)));
        let style = if self.name.is_some() { Style::Strong } else { Style::Dim };
        let head = Line::new(Style::Dim, stamp).with(Style::Plain, "  ").with(style, name);
        let head = head.with(Style::Plain, format!("{space}  "));
        let whole = head.clone().with(self.style, self.text.clone());
        // A message of which only the beginning would fit is left to `message_lines`.
        match self.text.get(..self.before_message) {
            Some(before) if whole.width() > columns => head.with(self.style, before).fit(columns),
            _ => whole.fit(columns),
        }
    }

    /// Returns the line behind the number of its decision, which takes `digits`, and below it what was said at length, as
    /// [`message_lines`](Self::message_lines) does.
    #[must_use]
    pub fn numbered(&self, digits: usize, limit: usize, columns: usize) -> Vec<Line> {
        let rest = columns.saturating_sub(digits + 2);
        let behind = |number: String, line: Line| {
            let mut numbered = Line::new(Style::Dim, format!("{number:>digits$}  "));
            numbered.spans.extend(line.spans);
            numbered
        };
        let said = self.message_lines(limit, rest).into_iter().map(|line| behind(String::new(), line));
        let number = if self.is_of_part { String::new() } else { self.n.to_string() };
        std::iter::once(behind(number, self.line(rest))).chain(said).collect()
    }

    /// Returns what was said at length, in lines that are broken rather than cut, the last `limit` of them; nothing if
    /// [`line`](Self::line) tells all of it.
    #[must_use]
    pub fn message_lines(&self, limit: usize, columns: usize) -> Vec<Line> {
        let quoted = |text: &str| Line::new(Style::Dim, format!("{QUOTED}{text}"));
        if self.event == "gate_opened" && self.line(usize::MAX).width() > columns {
            // Who is to decide reads all of the question.
            let lines = fold(&self.text, columns.saturating_sub(QUOTED.len()));
            return lines.iter().map(|line| quoted(line)).collect();
        }
        let mut all = self.message.visible_lines();
        // What the line ends with is not said twice.
        if let Some(last) = all.last()
            && self.line(columns).to_plain().ends_with(last.as_str())
        {
            all.pop();
        }
        let all: Vec<String> =
            all.iter().flat_map(|line| fold(line, columns.saturating_sub(QUOTED.len()))).collect();
        let last = &all[all.len().saturating_sub(limit)..];
        last.iter().map(|line| quoted(line).fit(columns)).collect()
    }
}

/// An event for machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogEntry {
    /// The version of this form: 1.
    pub version: u32,
    /// The run's id.
    #[serde(default)]
    pub run: String,
    /// The decision that it belongs to, from 1.
    pub n: u64,
    /// When it was, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// When it was on the run's own clock, in milliseconds.
    pub elapsed_ms: u64,
    /// Who wished for it: `engine`, `clock`, `person:NAME` or `agent:TASK.ATTEMPT`.
    pub actor: Untrusted,
    /// The kind of command that led to it.
    pub cause: String,
    /// The name of the event.
    pub event: String,
    /// The task that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Untrusted>,
    /// What happened, in words.
    pub text: String,
    /// The event's fields as they stand in the journal.
    pub data: serde_json::Value,
}

/// What is needed to tell events: the names in the plan in force, and which gate belongs to which task.
#[derive(Debug, Clone, Default)]
pub struct LogReader {
    plan: Arc<Plan>,
    gates: BTreeMap<GateId, TaskId>,
    name_columns: usize,
    part: Option<PartOf>,
    /// Whether the last pause was for a deadline that is over.
    is_late: bool,
}

/// Where a nested workflow stands in the run that it is part of.
#[derive(Debug, Clone)]
struct PartOf {
    /// The names of the tasks that lead to it.
    path: String,
    /// What the clock of the outermost run showed when that of the part began.
    since: Millis,
}

impl LogReader {
    /// Starts before the first event of a run.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts after the events that a run is folded from.
    #[must_use]
    pub fn after(run: &Run) -> Self {
        let mut reader = Self::default();
        reader.adopt(run.plan());
        reader.gates = run.gates().map(|(id, gate)| (id, gate.task)).collect();
        // Whoever goes on after the deadline wants the run without it.
        let has_lost_it = || run.mission().deadline.is_some() && run.deadline().is_none();
        reader.is_late =
            *run.phase() == Phase::Paused(PauseCause::Deadline) || run.is_created() && has_lost_it();
        reader
    }

    /// Tells a run as a part of the one that `self` tells: by that one's clock, behind the name of `task`, which has begun it at
    /// `since`. That it begins and ends is then a step in between, for its task tells the same.
    #[must_use]
    pub fn of_part(&self, task: TaskId, since: Elapsed, part: &Run) -> Self {
        let path = self.full_name(&self.name(task)).raw().to_owned();
        let since = Millis(since.0 + self.part.as_ref().map_or(0, |part| part.since.0));
        let mut reader = Self { part: Some(PartOf { path, since }), ..Self::after(part) };
        reader.name_columns = reader.name_columns.max(self.name_columns);
        reader
    }

    fn adopt(&mut self, plan: &Arc<Plan>) {
        let outer = self.part.as_ref().map_or(0, |part| width(&visible(&part.path)) + 1);
        let mut left = NAMES_MEASURED_MAX;
        let widest = outer + widest_name(plan, &mut left);
        self.name_columns = widest.clamp(3, NAME_COLUMNS_MAX).max(self.name_columns);
        self.plan = plan.clone();
    }

    /// Returns a name as it is shown: behind those of the tasks that lead there.
    fn full_name(&self, name: &Untrusted) -> Untrusted {
        match &self.part {
            Some(part) => format!("{}/{}", part.path, name.raw()).into(),
            None => name.clone(),
        }
    }

    fn name(&self, task: TaskId) -> Untrusted {
        match self.plan.graph().len() {
            tasks if task.index() < tasks => self.plan.name(task).into(),
            _ => format!("#{task}").into(),
        }
    }

    /// Tells whether the plan in force has checks for a task alone; all of them, if the plan is not known.
    fn has_checks(&self, task: TaskId) -> bool {
        task.index() >= self.plan.graph().len() || !self.plan.definition(task).accept.is_empty()
    }

    fn agent(&self, agent: AgentId) -> String {
        self.plan.agent(agent).map_or_else(|| format!("agent {agent}"), |spec| visible(&spec.name))
    }

    /// Learns from an event what later ones are told by.
    fn learn(&mut self, event: &Event) {
        match event {
            Event::PlanAdopted { plan, .. } => {
                if let Some(plan) = plan.plan() {
                    self.adopt(plan);
                }
            }
            Event::GateOpened { gate, task, .. } => {
                self.gates.insert(*gate, *task);
            }
            Event::Paused { why } => self.is_late = *why == PauseCause::Deadline,
            _ => {}
        }
    }

    /// Tells the events of a decision.
    pub fn read(&mut self, row: &Row, events: &[Event]) -> Vec<LogLine> {
        // A plan that is adopted by a decision gives its names to all of it.
        events.iter().for_each(|event| self.learn(event));
        events.iter().map(|event| self.line(row, event)).collect()
    }

    fn line(&self, row: &Row, event: &Event) -> LogLine {
        let task = match event {
            Event::GateAnswered { gate, .. } | Event::AnswerUndone { gate, .. } => {
                self.gates.get(gate).copied()
            }
            event => event.task(),
        };
        let mut told = table::tell(self, event);
        if let (true, Ok(Actor::Person(who))) = (is_a_wish(event), row.actor.parse()) {
            told.text.push_str(&format!(", by {}", visible(&who)));
        }
        let name = task.map(|task| self.full_name(&self.name(task)));
        let part = self.part.as_ref();
        let is_frame = part.is_some() && matches!(event, Event::Created { .. } | Event::Finished { .. });
        LogLine {
            n: row.n.0,
            at: row.at,
            elapsed: Millis(row.elapsed.0 + part.map_or(0, |part| part.since.0)),
            event: event.name(),
            task,
            name: name.or_else(|| part.map(|part| part.path.as_str().into())),
            weight: if is_frame { Weight::Detail } else { told.weight },
            style: told.style,
            before_message: told.before_message.unwrap_or(told.text.len()),
            text: told.text,
            message: told.message,
            name_columns: self.name_columns.max(3),
            is_of_part: part.is_some(),
        }
    }

    /// Tells the events of a decision to machines.
    pub fn entries(&mut self, row: &Row, events: &[Event]) -> Vec<LogEntry> {
        let actor: Untrusted = match row.actor.parse() {
            Ok(Actor::Agent(task, attempt)) => format!("agent:{}.{attempt}", self.name(task).raw()).into(),
            _ => row.actor.as_str().into(),
        };
        let entry = |(event, line): (&Event, LogLine)| LogEntry {
            version: LOG_ENTRY_VERSION,
            run: row.run.to_string(),
            n: line.n,
            at_ms: line.at.0,
            elapsed_ms: line.elapsed.0,
            actor: actor.clone(),
            cause: row.cause.clone(),
            event: line.event.to_owned(),
            task: line.name,
            text: line.text,
            data: data(event),
        };
        let lines = self.read(row, events);
        events.iter().zip(lines).map(entry).collect()
    }
}

/// Returns the width of the longest name of a plan and of the workflows nested in it; at most `left` are measured.
fn widest_name(plan: &Plan, left: &mut usize) -> usize {
    let mut widest = 0;
    for task in plan.graph().tasks() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let own = width(&visible(plan.name(task)));
        let nested = match &plan.definition(task).work {
            Work::Workflow(nested) => own + 1 + widest_name(&nested.plan, left),
            _ => own,
        };
        widest = widest.max(nested);
    }
    widest
}

/// Tells whether it matters who wished for an event and the event does not say it.
fn is_a_wish(event: &Event) -> bool {
    matches!(
        event,
        Event::Created { .. }
            | Event::Paused { why: PauseCause::Person }
            | Event::Resumed { .. }
            | Event::CancelRequested {}
            | Event::MergeStarted { .. }
            | Event::MergeUndone { .. }
    )
}

/// Returns the fields of an event. In the journal they stand under its name.
fn data(event: &Event) -> serde_json::Value {
    match serde_json::to_value(event) {
        Ok(serde_json::Value::Object(map)) => map.into_iter().next().map(|(_, data)| data),
        _ => None,
    }
    .unwrap_or_default()
}

/// Turns decisions into lines, one after the other.
#[derive(Debug)]
pub struct Logs<I> {
    rows: I,
    reader: LogReader,
    weight: Weight,
    ready: std::vec::IntoIter<LogLine>,
}

impl<I: Iterator<Item = (Row, Vec<Event>)>> Logs<I> {
    /// Tells `rows`, leaving out events of less than `weight`.
    pub fn new(rows: I, reader: LogReader, weight: Weight) -> Self {
        Self { rows, reader, weight, ready: Vec::new().into_iter() }
    }
}

impl<I: Iterator<Item = (Row, Vec<Event>)>> Iterator for Logs<I> {
    type Item = LogLine;

    fn next(&mut self) -> Option<LogLine> {
        loop {
            if let Some(line) = self.ready.find(|line| line.weight >= self.weight) {
                return Some(line);
            }
            let (row, events) = self.rows.next()?;
            self.ready = self.reader.read(&row, &events).into_iter();
        }
    }
}
