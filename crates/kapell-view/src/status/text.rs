//! The status of a run as text for a terminal.

use kapell_core::time::Millis;

use super::{Budget, NAMED_MAX, OpenGate, SalvagedWork, StatusView, Work};
use crate::{
    summary::{INTERRUPTED, is_interrupted, next},
    text::{Line, Style, bytes, fold, length, plural, tokens, usd},
    untrusted::{Untrusted, visible},
};

/// How many digits of a commit are shown.
const COMMIT_DIGITS: usize = 12;

/// The columns of the name of a field.
const FIELD_COLUMNS: usize = 8;

/// How far a question that takes several lines is moved in.
const QUESTION_INDENT: &str = "    ";

/// The most lines of a kind that are shown in full.
const SHOWN_MAX: usize = 12;

fn field(name: &str, text: impl Into<String>) -> Line {
    Line::new(Style::Dim, format!("{name:<FIELD_COLUMNS$}")).with(Style::Plain, text)
}

impl StatusView {
    /// Returns the status as lines of at most `columns` (at least 40). Commands are never cut off, for they are to be
    /// typed.
    #[must_use]
    pub fn lines(&self, columns: usize) -> Vec<Line> {
        let columns = columns.max(40);
        let mut head = self.head();
        let mut lines = Vec::new();
        if let Some(pause) = &self.pause {
            let why = Line::new(Style::Warn, format!(": {}", pause.visible()));
            match head.width() + why.width() <= columns {
                true => head.spans.extend(why.spans),
                false => {
                    let whole = fold(&pause.visible(), columns - FIELD_COLUMNS);
                    lines.extend(whole.into_iter().map(|text| field("", text)));
                }
            }
        }
        lines.insert(0, head);
        let asked = match &self.source {
            Some(source) => format!("{}  ({})", self.objective.visible(), source.visible()),
            None => self.objective.visible(),
        };
        lines.push(field("asked", asked));
        let mut tasks = field("tasks", "");
        let running = if self.is_interrupted() { "were running" } else { "running" };
        tasks.spans.extend(self.tally.spans_with(running).spans);
        tasks.push(Style::Dim, format!(" of {}", self.tally.tasks));
        lines.push(tasks);
        let all = u64::from(self.tally.tasks);
        lines.extend(self.taken_over.iter().map(|taken| field("taken", taken.text(all))));
        self.push_tasks(&mut lines);
        let mut lines: Vec<Line> = lines.into_iter().map(|line| line.fit(columns)).collect();
        lines.extend(self.gates.iter().flat_map(|gate| gate.lines(columns)));
        let mut rest = wrapped("budget", self.budget.parts(), columns);
        if let Some(forecast) = &self.forecast {
            rest.push(field("finish", format!("in {}", forecast.text())));
        }
        if let Some(work) = &self.work {
            rest.extend(work.lines(&self.short_id()));
        }
        rest.extend(self.salvaged.iter().take(SHOWN_MAX).flat_map(SalvagedWork::lines));
        more(&mut rest, self.salvaged.len());
        lines.extend(rest.into_iter().map(|line| line.fit(columns)));
        lines.extend(self.next.as_ref().map(|command| next(&visible(command))));
        lines
    }

    fn short_id(&self) -> String {
        self.run.chars().take(crate::text::SHORT_ID).collect()
    }

    /// Tells whether its process went away from what was under way.
    fn is_interrupted(&self) -> bool {
        is_interrupted(self.phase, self.owned, self.gates.iter().any(|gate| !gate.moot))
    }

    fn head(&self) -> Line {
        let mut line =
            Line::new(Style::Dim, "run     ").with(Style::Strong, self.short_id()).with(Style::Plain, "  ");
        if self.is_interrupted() {
            line.push(Style::Warn, format!("{INTERRUPTED}: no process executes it"));
        } else {
            line.push(self.phase.style(), self.phase.text());
            if !self.owned && !self.phase.is_over() {
                line.push(Style::Warn, ", no process executes it");
            }
        }
        line.push(Style::Dim, format!(", {}", length(Millis(self.elapsed_ms))));
        line
    }

    fn push_tasks(&self, lines: &mut Vec<Line>) {
        for task in self.running.iter().take(SHOWN_MAX) {
            let doing = match task.state.as_str() {
                "submitted" => "being checked".to_owned(),
                "verified" => "waits to land".to_owned(),
                "compensating" => "being taken back".to_owned(),
                _ if task.stopping => "being stopped".to_owned(),
                _ => format!("attempt {}", task.attempt),
            };
            let time = task.elapsed_ms.map(|ms| format!(", {}", length(Millis(ms)))).unwrap_or_default();
            let who = task.agent.as_ref().map(|agent| format!(" by {}", agent.visible())).unwrap_or_default();
            lines.push(item(Style::Active, ">", &task.task, format!("{doing}{who}{time}")));
        }
        more(lines, self.running.len());
        for task in self.waiting.iter().take(SHOWN_MAX) {
            let left = task.left_ms.map(|ms| format!(" for {}", length(Millis(ms)))).unwrap_or_default();
            let why = match task.state.as_str() {
                "parked" => "waits for quota",
                "awaiting_claims" => "waits for paths that others hold",
                _ => "waits before its next attempt",
            };
            let message = match task.message.is_empty() {
                true => String::new(),
                false => format!(": {}", task.message.last_line()),
            };
            lines.push(item(Style::Plain, "~", &task.task, format!("{why}{left}{message}")));
        }
        more(lines, self.waiting.len());
        for task in self.failed.iter().take(SHOWN_MAX) {
            let blocks = match task.blocks {
                0 => String::new(),
                blocks => format!(", holds up {}", plural(u64::from(blocks), "task")),
            };
            let said = task.message.last_line();
            let text = match task.attempts {
                // A person said no: nothing was tried.
                0 => format!("{said}{blocks}"),
                tried => {
                    format!("{} after {}{blocks}: {said}", task.class, plural(u64::from(tried), "attempt"))
                }
            };
            lines.push(item(Style::Bad, "x", &task.task, text));
        }
        more(lines, self.failed.len());
    }
}

fn item(style: Style, mark: &str, task: &Untrusted, text: String) -> Line {
    Line::new(style, format!("  {mark} {}", task.visible())).with(Style::Plain, format!("  {text}"))
}

fn more(lines: &mut Vec<Line>, named: usize) {
    if named > SHOWN_MAX {
        let at_least = if named == NAMED_MAX { "at least " } else { "" };
        lines.push(Line::new(Style::Dim, format!("    and {at_least}{} more", named - SHOWN_MAX)));
    }
}

impl OpenGate {
    /// Returns the whole question with its choices, on as many lines of `columns` as that takes, and the command that answers
    /// it: who is to decide reads all of it.
    #[must_use]
    pub fn lines(&self, columns: usize) -> Vec<Line> {
        let [question, command] = self.brief(usize::MAX);
        let mut lines = match question.width() <= columns {
            true => vec![question, command],
            false => {
                let asked = fold(&self.asked(), columns.saturating_sub(QUESTION_INDENT.len()));
                let asked = asked.into_iter().map(|text| Line::plain(format!("{QUESTION_INDENT}{text}")));
                std::iter::once(self.head().fit(columns)).chain(asked).chain([command]).collect()
            }
        };
        if self.moot {
            let text = "    who asked ended with its session; the next attempt may ask again";
            lines.push(Line::new(Style::Dim, text).fit(columns));
        }
        lines
    }

    /// Returns the question with its choices, cut to `columns`, and the command that answers it, in full.
    pub(crate) fn brief(&self, columns: usize) -> [Line; 2] {
        let question = self.head().with(Style::Plain, format!("  {}", self.asked()));
        let command = Line::new(Style::Dim, "      ").with(Style::Strong, visible(&self.command));
        [question.fit(columns), command]
    }

    fn head(&self) -> Line {
        Line::new(Style::Warn, format!("  ? {}", self.task.visible()))
    }

    fn asked(&self) -> String {
        let choices: Vec<String> = self.choices.iter().map(Untrusted::visible).collect();
        let choices = if choices.is_empty() { String::new() } else { format!("  [{}]", choices.join(" | ")) };
        format!("{}{choices}", self.question.visible())
    }
}

impl Budget {
    /// Returns the budget in one line.
    #[must_use]
    pub fn text(&self) -> String {
        self.parts().join("; ")
    }

    /// Money, tokens if there are any, time if it is limited.
    fn parts(&self) -> Vec<String> {
        let part = |numbers: [u64; 3], limit: Option<u64>, text: fn(u64) -> String| {
            let [spent, reserved, held] = numbers;
            let some = |number: u64, what: &str| match number {
                0 => String::new(),
                number => format!(" + {} {what}", text(number)),
            };
            let limit = limit.map(|limit| format!(" of {}", text(limit))).unwrap_or_default();
            format!("{}{}{}{limit}", text(spent), some(reserved, "reserved"), some(held, "expected"))
        };
        let money = [self.spent_usd_micros, self.reserved_usd_micros, self.held_usd_micros];
        let mut parts = vec![part(money, self.limit_usd_micros, usd)];
        match self.limit_tokens {
            None if self.spent_tokens == 0 => {}
            None => parts.push(tokens(self.spent_tokens) + " tokens"),
            limit => {
                let numbers = [self.spent_tokens, self.reserved_tokens, self.held_tokens];
                parts.push(part(numbers, limit, tokens) + " tokens");
            }
        }
        if let Some(limit) = self.limit_wall_ms {
            parts.push(format!("{} of {} used", length(Millis(self.busy_ms)), length(Millis(limit))));
        }
        if self.overrun_usd_micros > 0 {
            parts.push(format!("overrun by {}", usd(self.overrun_usd_micros)));
        }
        parts
    }
}

/// Puts parts on as few lines as they fit on.
fn wrapped(name: &str, parts: Vec<String>, columns: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.width() + part.len() + 2 <= columns => {
                line.push(Style::Plain, format!("; {part}"))
            }
            _ => lines.push(field(if lines.is_empty() { name } else { "" }, part)),
        }
    }
    lines
}

impl Work {
    /// Says what of the work that was taken back is out of git, and what is not.
    fn taken_back_lines(&self, run: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.taken_back > 0 {
            let changes = plural(u64::from(self.taken_back), "change");
            lines.push(field("back", format!("{changes} taken out again of what had landed")));
        }
        if self.still_landed > 0 {
            let changes = plural(u64::from(self.still_landed), "change");
            let text = format!("{changes} taken back outside git alone, and landed still: kapell diff {run}");
            lines.push(field(if lines.is_empty() { "back" } else { "" }, text));
        }
        lines
    }

    fn lines(&self, run: &str) -> Vec<Line> {
        let commit = |oid: &str| oid.chars().take(COMMIT_DIGITS).collect::<String>();
        let mut lines = Vec::new();
        if self.submitted + self.verified > 0 {
            let text = format!("{} submitted, {} verified, not landed yet", self.submitted, self.verified);
            lines.push(field("work", text));
        }
        if self.landed > 0 {
            let landed = plural(u64::from(self.landed), "change");
            // The ref is in kapell's own repository, where git does not look by itself.
            lines.push(field("landed", format!("{landed} at {}: kapell diff {run}", commit(&self.head))));
        }
        let not_yet = self.target.as_ref().filter(|_| self.landed > 0);
        match (&self.merged, &self.merged_into, not_yet) {
            (Some(to), Some(branch), _) => {
                lines.push(field("merged", format!("into {} at {}", branch.visible(), commit(to))));
            }
            (_, _, Some(target)) => lines.push(field("", format!("not merged into {}", target.visible()))),
            _ => {}
        }
        lines.extend(self.taken_back_lines(run));
        if self.flaky > 0 {
            let times = plural(u64::from(self.flaky), "time");
            lines.push(field("flaky", format!("a check disagreed with itself {times} on one tree")));
        }
        lines
    }
}

impl SalvagedWork {
    fn lines(&self) -> [Line; 2] {
        let what =
            format!("{}, attempt {}, unfinished: {}", self.task.visible(), self.attempt, bytes(self.bytes));
        [field("kept", what), field("", visible(&self.look))]
    }
}
