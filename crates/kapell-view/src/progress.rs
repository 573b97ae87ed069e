//! The live display of a run: lines to be drawn again and again, never more than the screen holds.

use kapell_core::{
    id::TaskId,
    run::Run,
    task::TaskState,
    time::{Millis, Now},
};

use crate::{
    forecast::Forecast,
    status::{Budget, gates},
    summary::{RunPhase, Tally},
    text::{Line, Style, length, plural, short, shorten},
    untrusted::Untrusted,
};

/// How much there is to draw on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// The most columns of a line.
    pub columns: usize,
    /// The most lines.
    pub rows: usize,
}

/// The widest bar.
const BAR_COLUMNS_MAX: usize = 30;

/// Returns the display of a run: a bar with counts, what runs, what waits for a person, estimate and budget.
///
/// `said` returns what a task said last about its progress. Work is in proportion to what is under way, not to the
/// number of tasks.
#[must_use]
pub fn lines(
    run: &Run,
    now: Now,
    forecast: Option<&Forecast>,
    said: &dyn Fn(TaskId) -> Option<Untrusted>,
    screen: Screen,
) -> Vec<Line> {
    let tally = Tally::of(run);
    let mut head = vec![title(run, now)];
    let mut foot = vec![bar(&tally, screen.columns)];
    foot.extend(footer(run, forecast, screen.columns));
    let open: Vec<Line> = gates(run, true).iter().flat_map(|gate| gate.brief(screen.columns)).collect();
    // What waits for a person gives way last, for nothing else goes on without them.
    let left = screen.rows.saturating_sub(head.len() + foot.len());
    let gate_rows = open.len().min(left.max(2)) / 2 * 2;
    let task_rows = left.saturating_sub(gate_rows);
    head.extend(tasks(run, now, said, screen.columns, task_rows));
    head.extend(open.into_iter().take(gate_rows));
    head.extend(foot);
    // On a very small screen the end says most.
    let skip = head.len().saturating_sub(screen.rows);
    head.into_iter().skip(skip).map(|line| line.fit(screen.columns)).collect()
}

fn title(run: &Run, now: Now) -> Line {
    let phase = RunPhase::of(run);
    let mut line = Line::new(Style::Strong, short(run.id()));
    if phase != RunPhase::Active {
        line.push(phase.style(), format!("  {}", phase.text()));
    }
    let elapsed = Millis(run.clock().max(now.elapsed).0);
    line.with(Style::Dim, format!("  {}", length(elapsed)))
        .with(Style::Plain, format!("  {}", Untrusted::from(&run.mission().objective).visible()))
}

fn bar(tally: &Tally, columns: usize) -> Line {
    let width = (columns / 3).min(BAR_COLUMNS_MAX);
    let total = u64::from(tally.tasks.max(1));
    // Ends of the parts are rounded down, so that the bar is full only when all is done.
    let column = |tasks: u32| usize::try_from(u64::from(tasks) * width as u64 / total).unwrap_or(width);
    let active = tally.running + tally.submitted + tally.verified;
    let over = tally.failed + tally.dropped + tally.taken_back;
    let ends = [tally.done, tally.done + over, tally.done + over + active].map(column);
    let mut line = Line::plain("[");
    line.push(Style::Good, "#".repeat(ends[0]));
    line.push(Style::Bad, "x".repeat(ends[1] - ends[0]));
    line.push(Style::Active, ">".repeat(ends[2] - ends[1]));
    line.push(Style::Dim, ".".repeat(width - ends[2]));
    line.push(Style::Plain, format!("] {}/{}  ", tally.done, tally.tasks));
    if tally.done < tally.tasks {
        // What is done stands in the bar already.
        line.spans.extend(Tally { done: 0, ..*tally }.spans().spans);
    }
    line
}

fn tasks(
    run: &Run,
    now: Now,
    said: &dyn Fn(TaskId) -> Option<Untrusted>,
    columns: usize,
    rows: usize,
) -> Vec<Line> {
    let mut running: Vec<(u64, TaskId)> = run
        .in_flight()
        .map(|task| match run.state(task) {
            TaskState::Running(attempt) => (attempt.since.0, task),
            _ => (u64::MAX, task),
        })
        .collect();
    // The longest first; those that are being checked come last.
    running.sort_unstable();
    let shown = if running.len() <= rows { running.len() } else { rows.saturating_sub(1) };
    let name_columns = (columns / 3).clamp(8, 32);
    let mut lines: Vec<Line> =
        running[..shown].iter().map(|(_, task)| task_line(run, *task, now, said, name_columns)).collect();
    if shown < running.len() && rows > 0 {
        lines.push(Line::new(Style::Dim, format!("  and {} more under way", running.len() - shown)));
    }
    lines
}

fn task_line(
    run: &Run,
    task: TaskId,
    now: Now,
    said: &dyn Fn(TaskId) -> Option<Untrusted>,
    name_columns: usize,
) -> Line {
    let name = shorten(&Untrusted::from(run.plan().name(task)).visible(), name_columns);
    let line = Line::new(Style::Active, format!("> {name}"));
    match run.state(task) {
        TaskState::Running(attempt) => {
            let time = length(now.elapsed.since(attempt.since));
            let number =
                if attempt.number.0 > 1 { format!("  attempt {}", attempt.number) } else { String::new() };
            let line = line.with(Style::Dim, format!("  {time}{number}"));
            if attempt.stopping.is_some() {
                return line.with(Style::Warn, "  being stopped");
            }
            match said(task) {
                Some(text) if !text.is_empty() => line.with(Style::Plain, format!("  {}", text.last_line())),
                _ => line,
            }
        }
        TaskState::Submitted(_) => line.with(Style::Dim, "  being checked"),
        _ => line.with(Style::Warn, "  being taken back"),
    }
}

fn footer(run: &Run, forecast: Option<&Forecast>, columns: usize) -> Vec<Line> {
    let mut parts = Vec::new();
    if let Some(forecast) = forecast.filter(|_| run.outcome().is_none()) {
        parts.push(format!("ends in {}", forecast.text()));
    }
    let limits = run.limits();
    let limited = limits.usd_micros.is_some() || limits.tokens.is_some() || limits.wall.is_some();
    if limited || !run.ledger().spent().is_zero() {
        parts.push(format!("budget {}", Budget::of(run).text()));
    }
    let parked = run.counts().of("parked");
    if parked > 0 {
        parts.push(format!("without quota: {}", plural(u64::from(parked), "task")));
    }
    let whole = parts.join("   ");
    let parts = if crate::text::width(&whole) <= columns && !parts.is_empty() { vec![whole] } else { parts };
    parts.into_iter().map(|part| Line::new(Style::Dim, part)).collect()
}
