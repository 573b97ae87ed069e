//! A plan as text for a terminal.

use kapell_core::{budget::Amount, time::Millis};

use super::{PlanTask, PlanView};
use crate::{
    forecast::Basis,
    text::{Line, Style, Table, amount, count, length, plural, shorten},
};

/// The most tasks that are listed one by one; of larger plans groups are shown.
const TASKS_LISTED_MAX: usize = 100;

/// The most groups that are shown of a large plan.
const GROUPS_LISTED_MAX: usize = 40;

impl PlanView {
    /// Returns the plan as lines of at most `columns` (at least 40). Large plans are summarised.
    #[must_use]
    pub fn lines(&self, columns: usize) -> Vec<Line> {
        let columns = columns.max(40);
        let mut lines = self.head(columns);
        if self.tasks.is_empty() {
            return lines.into_iter().map(|line| line.fit(columns)).collect();
        }
        lines.push(Line::default());
        if self.tasks.len() <= TASKS_LISTED_MAX {
            lines.extend(self.table(columns));
        } else {
            lines.extend(self.summary(columns));
        }
        lines.into_iter().map(|line| line.fit(columns)).collect()
    }

    fn head(&self, columns: usize) -> Vec<Line> {
        let totals = &self.totals;
        let field =
            |name: &str, text: String| Line::new(Style::Dim, format!("{name:<9} ")).with(Style::Plain, text);
        let mut lines = Vec::new();
        if !self.objective.is_empty() {
            lines.push(Line::new(Style::Dim, "plan      ").with(Style::Strong, self.objective.visible()));
        }
        lines.push(field(
            "tasks",
            format!(
                "{} in {}, up to {} at once; {} and {}",
                count(totals.tasks),
                plural(totals.waves.len() as u64, "wave"),
                count(totals.width),
                plural(u64::from(totals.agents), "agent slot"),
                plural(u64::from(totals.jobs), "job slot"),
            ),
        ));
        let bound = length(Millis(totals.bound_ms));
        lines.push(field(
            "finish",
            match &totals.forecast {
                Some(forecast) => format!("{}, never below {bound}", forecast.text()),
                None => format!("not before {bound}"),
            },
        ));
        if let Some(forecast) = &totals.forecast {
            let samples = count(u64::from(forecast.samples));
            lines.push(field("", format!("from {samples} simulated runs, seed {}", forecast.seed)));
        }
        if totals.assumed > 0 {
            let tasks = plural(totals.assumed, "task");
            lines.push(field("", format!("{tasks} of unknown length: defaults are assumed (?)")));
        }
        if totals.gates > 0 {
            lines.push(field("", format!("waiting at {} is not counted", plural(totals.gates, "gate"))));
        }
        if let Some(text) = self.costs() {
            lines.push(field("cost", text));
        }
        if !self.critical_path.is_empty() {
            lines.push(field("critical", self.path(columns - 10)));
        }
        lines
    }

    /// What one attempt at each task is expected to cost, all of them together.
    fn costs(&self) -> Option<String> {
        let known = || self.tasks.iter().filter_map(|task| task.cost);
        let least = known().map(|cost| cost.attempts).min()?;
        let all = known().fold(Amount::ZERO, |sum, cost| sum + cost.amount());
        let (some, tasks) = (count(known().count() as u64), plural(self.totals.tasks, "task"));
        Some(format!("forecast {} for {some} of {tasks} (from {least} attempts or more)", amount(all)))
    }

    /// The critical path with its length; where it is too long, its middle is left out.
    fn path(&self, columns: usize) -> String {
        let total = length(Millis(self.totals.critical_path_ms));
        let name = |id: &u32| shorten(&self.tasks[*id as usize].name.visible(), 24);
        let names: Vec<String> = self.critical_path.iter().map(name).collect();
        let text = |shown: &[String], rest: usize| {
            let last = names.last().map(String::as_str).unwrap_or_default();
            match rest {
                0 => format!("{total}: {}", names.join(" > ")),
                _ => format!("{total}: {} > ({rest} more) > {last}", shown.join(" > ")),
            }
        };
        let whole = text(&names, 0);
        if crate::text::width(&whole) <= columns || names.len() < 3 {
            return whole;
        }
        let fits =
            |shown: &usize| crate::text::width(&text(&names[..*shown], names.len() - 1 - shown)) <= columns;
        let shown = (1..names.len() - 1).rev().find(fits).unwrap_or(1);
        text(&names[..shown], names.len() - 1 - shown)
    }

    fn table(&self, columns: usize) -> Vec<Line> {
        let mut order: Vec<&PlanTask> = self.tasks.iter().collect();
        order.sort_by_key(|task| (task.wave, task.slack_ms, task.id));
        let has_costs = self.tasks.iter().any(|task| task.cost.is_some());
        let titles = [">wave", "task", "kind", ">P50", ">P90", ">slack", ">cost", "needs"];
        let titles: Vec<_> = titles.into_iter().filter(|title| has_costs || *title != ">cost").collect();
        let mut table = Table::new(&titles);
        for task in order {
            let (style, slack) = match task.critical {
                true => (Style::Strong, "critical".to_owned()),
                false => (Style::Plain, length(Millis(task.slack_ms))),
            };
            let unsure = if task.basis == Basis::Assumed { "?" } else { "" };
            let needs: Vec<String> =
                task.needs.iter().map(|need| self.tasks[*need as usize].name.visible()).collect();
            let kind = task.agent.as_ref().map_or_else(|| task.kind.clone(), |agent| agent.visible());
            let waits = task.kind == "gate";
            let time = |time: String| if waits { "-".to_owned() } else { time + unsure };
            let forecast = task.cost.map(|known| amount(known.amount())).unwrap_or_default();
            let forecast = has_costs.then_some((Style::Plain, forecast));
            let cells = [
                (Style::Dim, task.wave.to_string()),
                (style, task.name.visible()),
                (Style::Plain, kind),
                (Style::Plain, time(length(Self::p50(task)))),
                (Style::Plain, time(length(Millis(task.p90_ms)))),
                (style, slack),
            ];
            let cells = cells.into_iter().chain(forecast);
            table.row(cells.chain([(Style::Dim, needs.join(", "))]));
        }
        table.lines(columns)
    }

    fn summary(&self, columns: usize) -> Vec<Line> {
        let groups = self.groups();
        let mut table = Table::new(&[">wave", "tasks", ">number", "kind", ">P50 together", ">least slack"]);
        for group in groups.iter().take(GROUPS_LISTED_MAX) {
            let style = if group.critical { Style::Strong } else { Style::Plain };
            let slack = match group.critical {
                true => "critical".to_owned(),
                false => length(Millis(group.slack_ms)),
            };
            table.row([
                (Style::Dim, group.wave.to_string()),
                (style, group.name.visible() + if group.tasks > 1 { " …" } else { "" }),
                (Style::Plain, count(group.tasks)),
                (Style::Plain, group.kind.clone()),
                (Style::Plain, length(Millis(group.work_ms))),
                (style, slack),
            ]);
        }
        let mut lines = table.lines(columns);
        if let Some(rest) = groups.len().checked_sub(GROUPS_LISTED_MAX).filter(|rest| *rest > 0) {
            let tasks = groups[GROUPS_LISTED_MAX..].iter().map(|group| group.tasks).sum();
            let text = format!(
                "{} more with {}; --json has all",
                plural(rest as u64, "group"),
                plural(tasks, "task")
            );
            lines.push(Line::new(Style::Dim, text));
        }
        lines
    }
}
