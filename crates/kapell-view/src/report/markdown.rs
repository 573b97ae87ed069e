//! The report as Markdown. What others wrote stands in code spans and fenced blocks only.

use std::fmt::Write as _;

use kapell_core::{
    budget::Amount,
    time::{Millis, Wall},
};

use super::{Report, SlotUse, TaskCost};
use crate::{
    logs::NAME_COLUMNS_MAX,
    text::{amount, clock, count, instant, length, plural, tokens, usd, width},
    untrusted::Untrusted,
};

/// The most lines of one message.
const MESSAGE_LINES_MAX: usize = 20;

/// The most failed attempts that are told in words; JSON has more.
const RECOVERIES_SHOWN_MAX: usize = 30;

/// The most changes that are listed.
const LANDED_SHOWN_MAX: usize = 200;

/// The money that a task cost, if that is known.
fn money(task: &TaskCost) -> String {
    if task.usd_micros == 0 && task.tokens > 0 { "not known".to_owned() } else { usd(task.usd_micros) }
}

fn ms(milliseconds: u64) -> String {
    length(Millis(milliseconds))
}

impl Report {
    /// Returns the report as Markdown (GitHub's dialect).
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.write_head(&mut text);
        self.write_asked(&mut text);
        self.write_plan(&mut text);
        self.write_routes(&mut text);
        self.write_happened(&mut text);
        self.write_failures(&mut text);
        self.write_work(&mut text);
        self.write_cost(&mut text);
        self.write_learnt(&mut text);
        self.write_end(&mut text);
        text
    }

    fn write_head(&self, text: &mut String) {
        let tally = &self.tally;
        let _ = writeln!(text, "# Run {}: {}\n", self.run, self.phase.text());
        let _ = writeln!(
            text,
            "{} of {} done, {} landed, {} failed, {} not done, {} retried or recovered; {}; {}.\n",
            count(u64::from(tally.done)),
            plural(u64::from(tally.tasks), "task"),
            count(u64::from(tally.landed)),
            count(u64::from(tally.failed)),
            count(u64::from(tally.dropped)),
            plural(self.attempts_failed, "attempt"),
            ms(self.time.elapsed_ms),
            self.cost.text(),
        );
    }

    fn write_asked(&self, text: &mut String) {
        let asked = &self.asked;
        text.push_str("## What was asked\n\n");
        text.push_str(&asked.objective.markdown_block(MESSAGE_LINES_MAX));
        text.push('\n');
        let mut item = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let _ = writeln!(text, "- {name}: {value}");
            }
        };
        item("workflow", asked.source.as_ref().map(Untrusted::markdown));
        item("target", asked.target.as_ref().map(Untrusted::markdown));
        item("base", asked.base.as_ref().map(|base| format!("`{base}`")));
        let nothing = if self.tally.landed == 0 { " (nothing has landed)" } else { "" };
        for command in &asked.accept {
            item("must pass on what lands", Some(format!("{}{nothing}", command.markdown())));
        }
        item("deadline", asked.deadline_ms.map(|at| instant(Wall(at))));
        item("seed", Some(asked.seed.clone()));
        text.push('\n');
    }

    fn write_plan(&self, text: &mut String) {
        let plan = &self.plan;
        let _ = writeln!(
            text,
            "## Plan\n\n{} with {} in {}, up to {} at once; revision {}.\n",
            plural(plan.tasks, "task"),
            plural(plan.edges, "need"),
            plural(u64::from(plan.waves), "wave"),
            count(plan.width),
            plan.revision,
        );
        for taken in &self.taken_over {
            let _ = writeln!(text, "Taken over: {}.\n", taken.text(plan.tasks));
        }
    }

    fn write_routes(&self, text: &mut String) {
        if self.routes.is_empty() {
            return;
        }
        text.push_str("## Who was chosen\n\n");
        for route in &self.routes {
            let names: Vec<String> = route.tasks.iter().map(Untrusted::markdown).collect();
            let more =
                if route.more > 0 { format!(" and {} more", count(route.more)) } else { String::new() };
            let _ = writeln!(text, "- {}{more}", names.join(", "));
            for (at, ranked) in route.ranking.iter().enumerate() {
                let _ =
                    writeln!(text, "  {}. {}: {}", at + 1, ranked.agent.markdown(), ranked.why.markdown());
            }
            for over in &route.passed_over {
                let _ = writeln!(text, "  - not {}: {}", over.agent.markdown(), over.why.markdown());
            }
        }
        text.push('\n');
    }

    fn write_happened(&self, text: &mut String) {
        let time = &self.time;
        let _ = writeln!(
            text,
            "## What happened\n\nBegun {}, last decision {}. Executed for {}; for {} of that something was under way.",
            instant(Wall(time.created_ms)),
            instant(Wall(time.last_ms)),
            ms(time.elapsed_ms),
            ms(time.busy_ms),
        );
        if time.resumed > 0 {
            let _ = writeln!(text, "Resumed {} by another process.", plural(time.resumed, "time"));
        }
        match &time.forecast {
            Some(forecast) => {
                let verdict = match time.busy_ms {
                    _ if !self.phase.is_over() => "",
                    busy if busy <= forecast.p50_ms => "; it was faster than the P50",
                    busy if busy <= forecast.p90_ms => "; it was between P50 and P90",
                    _ => "; it was slower than the P90",
                };
                let _ = writeln!(text, "Forecast at the start: {}{verdict}.", forecast.text());
            }
            None => text.push_str("There is no forecast for its start.\n"),
        }
        text.push('\n');
        let name =
            |task: &Option<Untrusted>| task.as_ref().map_or_else(|| "run".to_owned(), Untrusted::visible);
        let names: Vec<String> = self.timeline.iter().map(|moment| name(&moment.task)).collect();
        let wide = names.iter().map(|name| width(name)).max().unwrap_or(0).min(NAME_COLUMNS_MAX);
        let lines: Vec<String> = names
            .iter()
            .zip(&self.timeline)
            .map(|(task, moment)| {
                let space = " ".repeat(wide.saturating_sub(width(task)));
                format!("{}  {task}{space}  {}", clock(Millis(moment.elapsed_ms)), moment.text)
            })
            .collect();
        text.push_str(&Untrusted::from(lines.join("\n")).markdown_block(usize::MAX));
        if self.timeline_left_out > 0 {
            let left_out = plural(self.timeline_left_out, "fact");
            let _ = writeln!(text, "\n{left_out} left out; `kapell logs` has all.");
        }
        self.write_path(text);
        self.write_utilisation(text);
    }

    fn write_path(&self, text: &mut String) {
        if self.critical_path.is_empty() {
            return;
        }
        text.push_str("\n### Critical path as it was\n\n");
        text.push_str(
            "| task | could start | started | ended | waited | attempts |\n|---|---|---|---|---|---|\n",
        );
        for step in &self.critical_path {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                step.task.markdown_cell(),
                clock(Millis(step.ready_ms)),
                clock(Millis(step.started_ms)),
                clock(Millis(step.ended_ms)),
                ms(step.started_ms.saturating_sub(step.ready_ms)),
                step.attempts,
            );
        }
    }

    fn write_utilisation(&self, text: &mut String) {
        let line = |text: &mut String, name: &str, used: &SlotUse| {
            if used.held_ms > 0 {
                let _ = writeln!(
                    text,
                    "- {name}: {:.1} % of {} used while something was under way, at most {} at once",
                    used.share * 100.0,
                    plural(u64::from(used.slots), "slot"),
                    used.peak,
                );
            }
        };
        text.push_str("\n### Utilisation\n\n");
        line(text, "agents", &self.utilisation.agents);
        line(text, "jobs", &self.utilisation.jobs);
        if self.utilisation.agents.held_ms + self.utilisation.jobs.held_ms == 0 {
            text.push_str("No slot was held.\n");
        }
        text.push('\n');
    }

    fn write_failures(&self, text: &mut String) {
        if !self.recoveries.is_empty() {
            text.push_str("## Retries and recoveries\n\n");
            text.push_str(
                "| at | task | attempt | failure | then | said last |\n|---|---|---|---|---|---|\n",
            );
            for fact in self.recoveries.iter().take(RECOVERIES_SHOWN_MAX) {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} |",
                    clock(Millis(fact.elapsed_ms)),
                    fact.task.markdown_cell(),
                    fact.attempt,
                    fact.class,
                    fact.then.replace('_', " "),
                    Untrusted::from(fact.message.last_line()).markdown_cell(),
                );
            }
            let told = self.recoveries.len().min(RECOVERIES_SHOWN_MAX) as u64;
            if self.attempts_failed > told {
                let _ = writeln!(text, "\nand {} more.", count(self.attempts_failed - told));
            }
            text.push('\n');
        }
        if !self.failed.is_empty() {
            text.push_str("## Failures\n\n");
            for task in &self.failed {
                let _ = writeln!(
                    text,
                    "{}: {}{}, holds up {}.\n",
                    task.task.markdown(),
                    task.class,
                    match task.attempts {
                        0 => String::new(),
                        tried => format!(" after {}", plural(u64::from(tried), "attempt")),
                    },
                    plural(u64::from(task.blocks), "task"),
                );
                text.push_str(&task.message.markdown_block(MESSAGE_LINES_MAX));
                text.push('\n');
            }
        }
    }

    fn write_work(&self, text: &mut String) {
        text.push_str("## Where the work is\n\n");
        let Some(work) = &self.work else {
            text.push_str(
                "Nothing was to land: the tasks only read, or worked outside a git repository.\n\n",
            );
            return;
        };
        let _ = writeln!(
            text,
            "- {} landed in `{}` of kapell's own repository, at `{}`",
            plural(u64::from(work.landed), "change"),
            work.head_ref,
            work.head
        );
        if work.submitted + work.verified > 0 {
            let _ =
                writeln!(text, "- {} submitted and {} verified, not landed", work.submitted, work.verified);
        }
        if work.taken_back > 0 {
            let changes = plural(u64::from(work.taken_back), "change");
            let _ = writeln!(text, "- {changes} taken out again of what had landed");
        }
        if work.still_landed > 0 {
            let changes = plural(u64::from(work.still_landed), "change");
            let _ = writeln!(text, "- {changes} taken back outside git alone, and landed still");
        }
        match (&work.merged, &work.target) {
            (Some(to), Some(target)) => {
                let _ = writeln!(text, "- merged into {} at `{to}`", target.markdown());
            }
            (None, Some(target)) => {
                let _ = writeln!(text, "- not merged into {}", target.markdown());
            }
            _ => {}
        }
        if work.flaky > 0 {
            let times = plural(u64::from(work.flaky), "time");
            let _ = writeln!(text, "- flaky: a check disagreed with itself {times} on one tree");
        }
        text.push('\n');
        if !self.landed.is_empty() {
            text.push_str("| landed at | task | commit |\n|---|---|---|\n");
            for change in self.landed.iter().take(LANDED_SHOWN_MAX) {
                let at = clock(Millis(change.elapsed_ms));
                let back = change.taken_back.as_ref().map(|by| format!(", taken back by `{by}`"));
                let (task, back) = (change.task.markdown_cell(), back.unwrap_or_default());
                let _ = writeln!(text, "| {at} | {task} | `{}`{back} |", change.commit);
            }
            if let Some(more) = self.landed.len().checked_sub(LANDED_SHOWN_MAX).filter(|more| *more > 0) {
                let _ = writeln!(text, "\nand {} more.", count(more as u64));
            }
            text.push('\n');
        }
    }

    fn write_cost(&self, text: &mut String) {
        let _ = writeln!(text, "## Cost\n\n{}.\n", self.cost.text());
        if let Some(foreseen) = self.foreseen {
            let told = |usd_micros, tokens| amount(Amount { usd_micros, tokens });
            let _ = writeln!(
                text,
                "Forecast for {}: {}. Spent: {}; {} of them stayed within it.\n",
                plural(foreseen.attempts, "attempt"),
                told(foreseen.expected_usd_micros, foreseen.expected_tokens),
                told(foreseen.spent_usd_micros, foreseen.spent_tokens),
                foreseen.within,
            );
        }
        self.write_used(text);
        if self.dearest.is_empty() {
            return;
        }
        text.push_str("| task | money | tokens | work | attempts |\n|---|---|---|---|---|\n");
        for task in &self.dearest {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                task.task.markdown_cell(),
                money(task),
                tokens(task.tokens),
                ms(task.work_ms),
                task.attempts,
            );
        }
        text.push('\n');
    }

    fn write_used(&self, text: &mut String) {
        if self.used.is_empty() {
            return;
        }
        text.push_str(
            "| model | attempts | read | from cache | to cache | written |\n|---|---|---|---|---|---|\n",
        );
        for used in &self.used {
            let model =
                used.model.as_ref().map_or_else(|| "not known".to_owned(), |model| model.markdown_cell());
            let _ = writeln!(
                text,
                "| {model} | {} | {} | {} | {} | {} |",
                used.attempts,
                tokens(used.input),
                tokens(used.cache_read),
                tokens(used.cache_write),
                tokens(used.output),
            );
        }
        for used in self.used.iter().filter(|used| used.disputed > 0) {
            let attempts = plural(used.disputed, "attempt");
            let _ = writeln!(
                text,
                "\nThe client counts {:+} tokens beside what is booked, in {attempts}.",
                used.claimed_more
            );
        }
        text.push('\n');
    }

    fn write_learnt(&self, text: &mut String) {
        if self.learnt.is_empty() {
            return;
        }
        text.push_str("## What was learnt about durations\n\n");
        text.push_str(
            "| task | measured | P50 | P90 | expected P50 | expected P90 |\n|---|---|---|---|---|---|\n",
        );
        for learnt in &self.learnt {
            let more = if learnt.tasks > 1 {
                format!(" and {} more", count(learnt.tasks - 1))
            } else {
                String::new()
            };
            let expected = |length: Option<u64>| length.map_or_else(|| "unknown".to_owned(), ms);
            let _ = writeln!(
                text,
                "| {}{more} | {} | {} | {} | {} | {} |",
                learnt.task.markdown_cell(),
                plural(learnt.samples, "attempt"),
                ms(learnt.p50_ms),
                ms(learnt.p90_ms),
                expected(learnt.expected_p50_ms),
                expected(learnt.expected_p90_ms),
            );
        }
        text.push('\n');
    }

    fn write_end(&self, text: &mut String) {
        if !self.gates.is_empty() {
            text.push_str("## Waits for a person\n\n");
            for gate in &self.gates {
                let _ = writeln!(
                    text,
                    "- {}: {}, answer with {}",
                    gate.task.markdown(),
                    gate.question.markdown(),
                    Untrusted::from(&gate.command).markdown(),
                );
            }
            text.push('\n');
        }
        let _ = writeln!(text, "## Journal\n\nDecision {} with hash `{}`.\n", self.head.n, self.head.hash);
        text.push_str("## Next steps\n\n");
        for command in &self.next {
            let _ = writeln!(text, "- {}", Untrusted::from(command).markdown());
        }
    }
}
