//! One run in one short line of JSON, kept beside the journal, so that runs can be listed without replay.

use kapell_core::{
    event::{Outcome, PauseCause},
    id::RunId,
    run::{Phase, Run},
    time::{Millis, Now, Wall},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    next::open_gates,
    text::{Line, Style, Table, count, length, usd},
    untrusted::Untrusted,
};

/// The version of [`RunSummary`] that this program writes.
pub const SUMMARY_VERSION: u32 = 1;

/// The most bytes of an objective that a summary keeps, as it stands in JSON.
const OBJECTIVE_BYTES_MAX: usize = 80;

/// What a list shows of a run. As text at most about 300 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// The version of this form: 1.
    pub v: u32,
    /// The beginning of what is asked.
    pub objective: Untrusted,
    /// Where the run stands: `active`, `paused`, `cancelling`, `compensating`, or how it ended.
    pub phase: RunPhase,
    /// How many tasks there are.
    pub tasks: u32,
    /// How many are done, or landed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub done: u32,
    /// How many of those have landed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub landed: u32,
    /// How many are under way.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub running: u32,
    /// How many failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// How many were skipped or cancelled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u32,
    /// How many decisions wait for a person.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gates: u32,
    /// What was paid so far, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub usd_micros: u64,
    /// Whether what landed has been merged into the target branch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub merged: bool,
    /// The branch that it was merged into, if that is not the target of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<Untrusted>,
    /// Whether it started from no branch, so that a merge has to be told into which.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// For how long the run has been executed, in milliseconds.
    pub elapsed_ms: u64,
    /// When this was written: milliseconds since 1970 UTC.
    pub at_ms: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero_u64(number: &u64) -> bool {
    *number == 0
}

/// Where a run stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// Tasks start as soon as they can.
    Active,
    /// A person paused it, or the run that it is part of is paused.
    Paused,
    /// The budget is used up.
    OutOfBudget,
    /// The deadline is over.
    PastDeadline,
    /// The checks fail on the commit that it starts from.
    BaseIsRed,
    /// The merge queue cannot work.
    CannotLand,
    /// What runs is stopped.
    Cancelling,
    /// What was done is taken back.
    Compensating,
    /// Every task is done, landed, or was not to be done.
    Succeeded,
    /// Some task failed.
    Failed,
    /// A person cancelled it.
    Cancelled,
    /// What was done has been taken back.
    Compensated,
}

impl RunPhase {
    /// Finds the word for a run.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        match run.phase() {
            Phase::Active => Self::Active,
            Phase::Paused(PauseCause::Person | PauseCause::Parent { .. }) => Self::Paused,
            Phase::Paused(PauseCause::Budget(_)) => Self::OutOfBudget,
            Phase::Paused(PauseCause::Deadline) => Self::PastDeadline,
            Phase::Paused(PauseCause::BaseIsRed { .. }) => Self::BaseIsRed,
            Phase::Paused(PauseCause::LandingFails { .. }) => Self::CannotLand,
            Phase::Cancelling => Self::Cancelling,
            Phase::Compensating => Self::Compensating,
            Phase::Finished(Outcome::Succeeded) => Self::Succeeded,
            Phase::Finished(Outcome::Failed) => Self::Failed,
            Phase::Finished(Outcome::Cancelled) => Self::Cancelled,
            Phase::Finished(Outcome::Compensated) => Self::Compensated,
        }
    }

    /// Tells whether the run is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Compensated)
    }

    /// Tells whether the run goes on only if a person changes what holds it up.
    pub(crate) fn is_stuck(self) -> bool {
        matches!(self, Self::OutOfBudget | Self::PastDeadline | Self::BaseIsRed)
    }

    /// Returns the words for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::OutOfBudget => "out of budget",
            Self::PastDeadline => "past its deadline",
            Self::BaseIsRed => "base is red",
            Self::CannotLand => "cannot land",
            Self::Cancelling => "cancelling",
            Self::Compensating => "taking back",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Compensated => "taken back",
        }
    }

    pub(crate) fn style(self) -> Style {
        match self {
            Self::Active => Style::Active,
            Self::Succeeded => Style::Good,
            Self::Failed => Style::Bad,
            Self::Cancelled | Self::Compensated => Style::Dim,
            _ => Style::Warn,
        }
    }
}

/// Counts tasks by what a person wants to know of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// All tasks.
    pub tasks: u32,
    /// Done, or landed.
    pub done: u32,
    /// Of those: landed in the run's integration ref.
    pub landed: u32,
    /// An attempt is under way.
    pub running: u32,
    /// The result is being checked.
    pub submitted: u32,
    /// The result passed its checks and waits to land.
    pub verified: u32,
    /// A person must decide first.
    pub gated: u32,
    /// A pause, a quota or a claim is waited for.
    pub waiting: u32,
    /// Can start as soon as there is room.
    pub ready: u32,
    /// Wait for other tasks.
    pub blocked: u32,
    /// Given up.
    pub failed: u32,
    /// Skipped or cancelled.
    pub dropped: u32,
    /// Taken back, or about to be.
    pub taken_back: u32,
}

impl Tally {
    /// Counts the tasks of a run, in constant time.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let mut tally = Self { tasks: u32::try_from(run.len()).unwrap_or(u32::MAX), ..Self::default() };
        // Only states in which there are tasks are listed, and those are few: this is made at every decision.
        for (state, count) in run.counts().iter() {
            let kind = match state {
                "done" => &mut tally.done,
                "landed" => {
                    tally.landed += count;
                    &mut tally.done
                }
                "running" => &mut tally.running,
                "submitted" => &mut tally.submitted,
                "verified" => &mut tally.verified,
                "awaiting_gate" => &mut tally.gated,
                "awaiting_claims" | "backing_off" | "parked" => &mut tally.waiting,
                "ready" => &mut tally.ready,
                "blocked" => &mut tally.blocked,
                "failed" => &mut tally.failed,
                "skipped" | "cancelled" => &mut tally.dropped,
                "compensating" | "compensation_stuck" | "compensation_submitted" | "compensated" => {
                    &mut tally.taken_back
                }
                _ => continue,
            };
            *kind += count;
        }
        tally
    }

    /// Returns how many tasks may still be worked on.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.tasks - self.done - self.failed - self.dropped - self.taken_back
    }

    /// Returns what is not zero, most telling first, as pieces of a line: `12 done, 3 running`.
    #[must_use]
    pub fn spans(&self) -> Line {
        self.spans_with("running")
    }

    /// Returns the same with another word for what is under way.
    pub(crate) fn spans_with(&self, running: &'static str) -> Line {
        let parts = [
            (self.done, "done", Style::Good),
            (self.running, running, Style::Active),
            (self.submitted, "being checked", Style::Active),
            (self.verified, "waiting to land", Style::Active),
            (self.gated, "waiting for you", Style::Warn),
            (self.waiting, "waiting", Style::Plain),
            (self.ready, "ready", Style::Plain),
            (self.blocked, "blocked", Style::Dim),
            (self.failed, "failed", Style::Bad),
            (self.dropped, "not done", Style::Dim),
            (self.taken_back, "taken back", Style::Warn),
        ];
        let mut line = Line::default();
        for (number, what, style) in parts.into_iter().filter(|(number, ..)| *number > 0) {
            line.push(Style::Plain, if line.spans.is_empty() { "" } else { ", " });
            line.push(style, format!("{} {what}", count(u64::from(number))));
        }
        if line.spans.is_empty() { Line::new(Style::Dim, "no tasks") } else { line }
    }
}

impl RunSummary {
    /// Summarises a run as of `now`, in constant time but for the gates.
    #[must_use]
    pub fn of(run: &Run, now: Now) -> Self {
        let tally = Tally::of(run);
        let merged = run.merge().filter(|merge| merge.done);
        let elsewhere = merged.filter(|merge| run.mission().target.as_ref() != Some(&merge.target));
        Self {
            v: SUMMARY_VERSION,
            objective: beginning(&run.mission().objective).into(),
            phase: RunPhase::of(run),
            tasks: tally.tasks,
            done: tally.done,
            landed: tally.landed,
            running: tally.running + tally.submitted + tally.verified,
            failed: tally.failed,
            dropped: tally.dropped + tally.taken_back,
            gates: u32::try_from(open_gates(run).count()).unwrap_or(u32::MAX),
            usd_micros: run.ledger().spent().usd_micros,
            merged: merged.is_some(),
            merged_into: elsewhere.map(|merge| beginning(branch(&merge.target)).into()),
            detached: run.mission().target.is_none()
                && run.mission().parent.is_none()
                && run.landing().is_some(),
            elapsed_ms: run.clock().max(now.elapsed).0,
            at_ms: now.wall.0,
        }
    }

    /// Writes the summary as one line of JSON.
    #[must_use]
    pub fn encode(&self) -> String {
        crate::untrusted::to_json(self)
    }

    /// Reads a summary. `None` if it was written by a newer kapell, or is none: the run is replayed then.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|summary: &Self| summary.v == SUMMARY_VERSION)
    }
}

/// Returns the short name of a branch.
fn branch(target: &str) -> &str {
    target.strip_prefix("refs/heads/").unwrap_or(target)
}

/// Cuts an objective at a character, so that its JSON stays within bounds.
fn beginning(objective: &str) -> String {
    let line = objective.trim().lines().next().unwrap_or_default();
    let mut used = 0;
    let fits = |character: &char| {
        // An escape takes 6 bytes, a surrogate pair 12.
        used += if crate::untrusted::is_deceptive(*character) { 12 } else { character.len_utf8() };
        used += usize::from(matches!(character, '"' | '\\'));
        used <= OBJECTIVE_BYTES_MAX
    };
    let kept: String = line.chars().take_while(fits).collect();
    if kept.len() < line.len() { kept + "…" } else { kept }
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListedRun {
    /// Its id.
    pub run: String,
    /// When it was made: milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// Whether some process executes it now.
    pub owned: bool,
    /// Whether `kapell resume` would go on with it.
    pub resumable: bool,
    /// The run that it is part of, if it is that of a nested workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its summary; none if it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<RunSummary>,
}

/// A list of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListView {
    /// The version of this form: 1.
    pub version: u32,
    /// The runs, in the order in which they were given.
    pub runs: Vec<ListedRun>,
}

/// The word for a run whose process went away.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// Tells whether a run's process went away from what was under way.
pub(crate) fn is_interrupted(phase: RunPhase, owned: bool, waits_for_people: bool) -> bool {
    phase == RunPhase::Active && !owned && !waits_for_people
}

impl ListedRun {
    /// Says where the run stands, in a few words.
    fn state(&self, summary: &RunSummary) -> (Style, String) {
        let waits = summary.gates > 0 && !summary.phase.is_over();
        if is_interrupted(summary.phase, self.owned, waits) {
            return (Style::Warn, INTERRUPTED.to_owned());
        }
        let landed = summary.phase == RunPhase::Succeeded && summary.landed > 0;
        let failed = summary.phase == RunPhase::Failed && summary.merged;
        let state = match &summary.merged_into {
            _ if waits => format!("{} waiting for you", summary.gates),
            Some(branch) if landed => format!("merged into {}", branch.visible()),
            None if landed && summary.merged => "merged".to_owned(),
            Some(branch) if failed => format!("failed, merged into {}", branch.visible()),
            None if failed => "failed, merged".to_owned(),
            // What a part lands is a change of what it is part of.
            None if landed && self.parent.is_none() => "landed, not merged".to_owned(),
            _ => summary.phase.text().to_owned(),
        };
        (summary.phase.style(), state)
    }
}

impl ListView {
    /// Makes a list from run, time of making, whether it is owned, and summary.
    #[must_use]
    pub fn new(runs: impl IntoIterator<Item = (RunId, Wall, bool, Option<RunSummary>)>) -> Self {
        let listed = |(run, created, owned, summary): (RunId, Wall, bool, Option<RunSummary>)| ListedRun {
            run: run.to_string(),
            created_ms: created.0,
            owned,
            resumable: !owned && summary.as_ref().is_none_or(|summary| !summary.phase.is_over()),
            summary,
            parent: None,
        };
        Self { version: 1, runs: runs.into_iter().map(listed).collect() }
    }

    /// Returns the list as lines of at most `columns`, as seen at `now`.
    #[must_use]
    pub fn lines(&self, columns: usize, now: Wall) -> Vec<Line> {
        if self.runs.is_empty() {
            return vec![Line::new(Style::Dim, "no runs yet"), next("kapell run FILE")];
        }
        let mut table = Table::new(&["run", "state", ">done", ">cost", ">age", "objective"]);
        for listed in &self.runs {
            let id: String = listed.run.chars().take(crate::text::SHORT_ID).collect();
            // A part stands below what it is part of.
            let id = if listed.parent.is_some() { format!("  {id}") } else { id };
            let age = Millis(u64::try_from(now.0.saturating_sub(listed.created_ms)).unwrap_or(0));
            let Some(summary) = &listed.summary else {
                let blank = || (Style::Dim, String::new());
                let unknown = (Style::Warn, "unknown".to_owned());
                table.row([
                    (Style::Plain, id),
                    unknown,
                    blank(),
                    blank(),
                    (Style::Dim, length(age)),
                    blank(),
                ]);
                continue;
            };
            let (style, state) = listed.state(summary);
            table.row([
                (Style::Strong, id),
                (style, state),
                (Style::Plain, format!("{}/{}", summary.done, summary.tasks)),
                (Style::Plain, usd(summary.usd_micros)),
                (Style::Dim, length(age)),
                (Style::Plain, summary.objective.visible()),
            ]);
        }
        let mut lines = table.lines(columns);
        lines.extend(self.next());
        lines
    }

    fn next(&self) -> Option<Line> {
        let summary = |listed: &ListedRun, wanted: &dyn Fn(&RunSummary) -> bool| {
            listed.summary.as_ref().is_some_and(wanted)
        };
        let find = |wanted: &dyn Fn(&ListedRun) -> bool| self.runs.iter().find(|listed| wanted(listed));
        let waits = find(&|run| summary(run, &|summary| summary.gates > 0 && !summary.phase.is_over()));
        let left = find(&|run| run.resumable && summary(run, &|it| !it.phase.is_stuck()));
        let landed = |run: &ListedRun| {
            run.parent.is_none()
                && summary(run, &|it| it.phase == RunPhase::Succeeded && it.landed > 0 && !it.merged)
        };
        let stuck = |run: &ListedRun| run.resumable && summary(run, &|it| it.phase.is_stuck());
        // What is stuck for long does not stand before what was done since.
        let rest = find(&|run| landed(run) || stuck(run));
        let id = |run: &ListedRun| -> String { run.run.chars().take(crate::text::SHORT_ID).collect() };
        let detached = |run: &ListedRun| summary(run, &|it| it.detached);
        let of_the_rest = |run: &ListedRun| match run.summary.as_ref().map(|summary| summary.phase) {
            Some(RunPhase::OutOfBudget) => format!("kapell resume {} --budget LIMIT", id(run)),
            Some(RunPhase::BaseIsRed) => format!("kapell cancel {}", id(run)),
            Some(RunPhase::PastDeadline) => format!("kapell resume {}", id(run)),
            _ if detached(run) => format!("kapell merge {} --into BRANCH", id(run)),
            _ => format!("kapell merge {}", id(run)),
        };
        waits
            .map(|run| format!("kapell inbox {}", id(run)))
            .or_else(|| left.map(|run| format!("kapell resume {}", id(run))))
            .or_else(|| rest.map(of_the_rest))
            .map(|command| next(&command))
    }
}

/// Returns the line that says what to type next.
#[must_use]
pub fn next(command: &str) -> Line {
    Line::new(Style::Dim, "next: ").with(Style::Strong, command)
}
