//! `sim`: simulated worlds against the production decider. The same seed always gives the same run.

use std::{num::NonZeroUsize, time::Instant};

use kapell_sim::{Summary, Tally};
use kapell_view::text::{Line, Style, Table, count};
use serde_json::{Value, json};

use super::Context;
use crate::{
    args::SimArgs,
    exit::Exit,
    fault::Fault,
    output::{page, paint},
    workflow,
};

/// From so many runs on, what never occurred counts as a fault: fewer cannot be expected to show everything.
const COVERING_RUNS: u64 = 10_000;

/// Simulates one run and tells all of it, or many and sums them up.
///
/// # Errors
///
/// Fails if there is no room for the seeds above the first.
pub fn sim(context: &Context, args: &SimArgs) -> Result<Exit, Fault> {
    if args.runs <= 1 {
        return Ok(one(context, args.seed));
    }
    let end = args.seed.checked_add(args.runs).ok_or_else(|| {
        Fault::new("K0907", Exit::Usage, "there are not so many seeds above the first")
            .hint(format!("kapell sim --seed 1 --runs {}", args.runs.min(1_000_000)))
    })?;
    let threads = args.threads.or(usize::try_from(workflow::default_jobs()).ok());
    let threads = threads.and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN);
    let begin = Instant::now();
    let summary = kapell_sim::campaign(args.seed..end, threads);
    let secs = begin.elapsed().as_secs_f64().max(1e-9);
    let zeros = summary.zeros();
    match context.out.json {
        true => context.out.value(&as_json(&summary, &zeros, secs)),
        false => context.out.data(&paint(&lines(&summary, &zeros, secs))),
    }
    if let Some((seed, _)) = summary.first.first() {
        context.out.next(&format!("kapell sim --seed {seed}"));
    }
    let uncovered = args.runs >= COVERING_RUNS && summary.check().is_err();
    Ok(if summary.violations > 0 || uncovered { Exit::Failures } else { Exit::Done })
}

fn one(context: &Context, seed: u64) -> Exit {
    let report = kapell_sim::run(seed);
    let broken = report.violation.is_some();
    match context.out.json {
        true => context.out.value(&json!({
            "version": 1, "seed": seed.to_string(), "tasks": report.tasks, "steps": report.steps,
            "decisions": report.decisions, "events": report.events.sorted(), "faults": report.faults.sorted(),
            "violation": report.violation.map(|violation| violation.0),
        })),
        false => context.out.data(&kapell_sim::trace(seed)),
    }
    if broken { Exit::Failures } else { Exit::Done }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(summary: &Summary, secs: f64) -> f64 {
    summary.runs as f64 / secs
}

fn lines(summary: &Summary, zeros: &[String], secs: f64) -> Vec<Line> {
    let columns = page();
    let head = format!(
        "{} runs of {} tasks (median), {} decisions, {:.0} runs a second",
        count(summary.runs),
        count(summary.tasks_median()),
        count(summary.decisions),
        rate(summary, secs)
    );
    let mut lines = vec![Line::new(Style::Strong, head)];
    let groups: [(&str, &Tally); 4] = [
        ("events", &summary.events),
        ("rejections", &summary.rejections),
        ("failures", &summary.classes),
        ("faults", &summary.faults),
    ];
    for (title, tally) in groups {
        lines.push(Line::new(Style::Dim, title));
        let mut table = Table::new(&["", ">"]);
        for (name, number) in tally.sorted() {
            table.row([(Style::Plain, format!("  {name}")), (Style::Plain, count(number))]);
        }
        lines.extend(table.lines(columns));
    }
    lines.push(Line::new(Style::Dim, "what followed"));
    let mut table = Table::new(&["", "", ">"]);
    for ((fault, recovery), number) in &summary.recoveries {
        let plain = |text: String| (Style::Plain, text);
        table.row([plain(format!("  {fault}")), plain((*recovery).to_owned()), plain(count(*number))]);
    }
    lines.extend(table.lines(columns));
    for zero in zeros {
        lines.push(Line::new(Style::Warn, format!("never seen: {zero}")));
    }
    for (seed, violation) in &summary.first {
        lines.push(Line::new(Style::Bad, format!("seed {seed}: {}", violation.0)));
    }
    let violations = Line::new(
        if summary.violations > 0 { Style::Bad } else { Style::Good },
        format!("{} violations", count(summary.violations)),
    );
    lines.push(violations);
    lines
}

fn as_json(summary: &Summary, zeros: &[String], secs: f64) -> Value {
    let recoveries: Vec<Value> = summary
        .recoveries
        .iter()
        .map(|((fault, recovery), number)| json!({"after": fault, "then": recovery, "count": number}))
        .collect();
    let first: Vec<Value> = summary
        .first
        .iter()
        .map(|(seed, violation)| json!({"seed": seed.to_string(), "violation": violation.0}))
        .collect();
    json!({
        "version": 1, "runs": summary.runs, "runs_per_second": rate(summary, secs),
        "tasks_median": summary.tasks_median(), "steps": summary.steps, "decisions": summary.decisions,
        "events": summary.events.sorted(), "rejections": summary.rejections.sorted(),
        "failures": summary.classes.sorted(), "faults": summary.faults.sorted(), "recoveries": recoveries,
        "never": zeros, "violations": summary.violations, "first": first,
    })
}
