//! Metrics of the workflows, alerts on them, and a board that shows them.

use std::fmt::Write as _;

use kapell_view::untrusted::Untrusted;
use serde_json::{Value, json};

use super::{
    Study,
    page::{Page, time},
};
use crate::github::{Flow, cost};

/// What a workflow is expected to take, in seconds.
struct Expected<'a> {
    flow: &'a Flow,
    seconds: u32,
    jobs: Vec<u32>,
    /// Where the times come from.
    basis: &'static str,
}

fn expected<'a>(study: &Study<'a>) -> Vec<Expected<'a>> {
    let of = |flow: &'a Flow| {
        let (github, timings) = (&study.repository.github, study.repository.timings.as_ref());
        let jobs = cost::durations(github, flow, timings);
        let basis = if cost::is_recorded(github, flow, timings) { "recorded" } else { "predicted" };
        Expected { flow, seconds: cost::longest(flow, &jobs, &|_, _| true).0, jobs, basis }
    };
    study.repository.github.flows.iter().filter(|flow| !flow.model.jobs.is_empty()).map(of).collect()
}

pub(super) fn write(study: &Study<'_>) -> Vec<(String, String)> {
    let expected = expected(study);
    if expected.is_empty() {
        return Vec::new();
    }
    vec![
        ("07-monitoring/metrics.md".to_owned(), metrics(&expected)),
        ("07-monitoring/alerts.yaml".to_owned(), alerts(&expected)),
        ("07-monitoring/dashboard.json".to_owned(), dashboard(&expected)),
        ("07-monitoring/export.sh".to_owned(), exporter(&expected)),
    ]
}

fn metrics(expected: &[Expected<'_>]) -> String {
    let mut page = Page::new("Metrics");
    for one in expected {
        let path = &one.flow.path;
        page.section(2, &format!("`{path}`"));
        page.item(format!(
            "`orchestration_run_seconds{{workflow=\"{path}\"}}`: of the last run that came to its end, from `startedAt` to `updatedAt`; {} {}.",
            time(one.seconds),
            one.basis
        ));
        page.item(format!(
            "`orchestration_runs{{workflow=\"{path}\", conclusion}}`: runs of `{path}` that came to their end in the last day, by `conclusion`."
        ));
        for ((_, job), seconds) in one.flow.jobs().zip(&one.jobs) {
            page.item(format!(
                "`orchestration_job_seconds{{workflow=\"{path}\", job=\"{id}\"}}`: of the last run that succeeded, from `startedAt` to `completedAt` of `{id}`; {} {}.",
                time(*seconds),
                one.basis,
                id = &*job.id
            ));
        }
    }
    page.finish()
}

/// A script that writes the metrics, for a collector that reads text files.
fn exporter(expected: &[Expected<'_>]) -> String {
    let files = expected.iter().map(|one| one.flow.path.rsplit('/').next().unwrap_or(&one.flow.path));
    let files: Vec<String> = files.map(|file| Untrusted::from(file).shell()).collect();
    EXPORTER.replace("FILES", &files.join(" "))
}

/// What the script is, but for the workflows.
const EXPORTER: &str = include_str!("export.sh");

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn alerts(expected: &[Expected<'_>]) -> String {
    let mut text = "groups:\n".to_owned();
    for one in expected {
        let path = &*one.flow.path;
        let rule = |text: &mut String, name: &str, expr: &str, summary: &str| {
            let _ = write!(
                text,
                "      - alert: {name}\n        expr: {}\n        for: 15m\n        labels:\n          workflow: {}\n        annotations:\n          summary: {}\n",
                quoted(expr),
                quoted(path),
                quoted(summary)
            );
        };
        let _ = writeln!(text, "  - name: {}\n    rules:", quoted(path));
        // Held against its own past: a prediction is no promise.
        let seconds = format!("orchestration_run_seconds{{workflow={}}}", quoted(path));
        rule(
            &mut text,
            "WorkflowSlow",
            &format!("{seconds} > 2 * quantile_over_time(0.5, {seconds}[7d])"),
            &format!("{path} takes more than twice as long as half of its runs of the last week"),
        );
        let runs = |more: &str| format!("sum(orchestration_runs{{workflow={}{more}}})", quoted(path));
        rule(
            &mut text,
            "WorkflowFails",
            &format!("{} > 0.2 * {}", runs(",conclusion=\"failure\""), runs("")),
            &format!("more than one run in five of {path} failed in the last day"),
        );
    }
    text
}

fn dashboard(expected: &[Expected<'_>]) -> String {
    let mut panels = Vec::new();
    for (at, one) in expected.iter().enumerate() {
        let path = &*one.flow.path;
        let (y, selector) = (at * 8, format!("{{workflow={}}}", quoted(path)));
        let source = json!({ "type": "prometheus", "uid": "${datasource}" });
        let panel = |id: usize, x: usize, title: String, unit: &str, expr: String, legend: &str| {
            json!({
                "id": id, "type": "timeseries", "title": title, "datasource": source,
                "gridPos": { "h": 8, "w": 12, "x": x, "y": y },
                "fieldConfig": { "defaults": { "unit": unit }, "overrides": [] },
                "targets": [{ "refId": "A", "expr": expr, "legendFormat": legend }],
            })
        };
        let jobs = format!("orchestration_job_seconds{selector}");
        panels.push(panel(at * 2 + 1, 0, format!("Jobs of {path}"), "s", jobs, "{{job}}"));
        let runs = format!("sum by (conclusion) (orchestration_runs{selector})");
        panels.push(panel(at * 2 + 2, 12, format!("Runs of {path}"), "short", runs, "{{conclusion}}"));
    }
    let board = json!({
        "title": "Orchestration", "uid": "orchestration", "schemaVersion": 39, "time": { "from": "now-7d", "to": "now" },
        "templating": { "list": [{ "name": "datasource", "type": "datasource", "query": "prometheus" }] },
        "panels": panels,
    });
    format!("{board:#}\n")
}
