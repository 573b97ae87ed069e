//! Metrics of the workflows, alerts on them, and a board that shows them.

use std::fmt::Write as _;

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
}

fn expected<'a>(study: &Study<'a>) -> Vec<Expected<'a>> {
    let of = |flow: &'a Flow| {
        let jobs = cost::durations(&study.repository.github, flow, study.repository.timings.as_ref());
        Expected { flow, seconds: cost::longest(flow, &jobs, &|_, _| true).0, jobs }
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
    ]
}

fn metrics(expected: &[Expected<'_>]) -> String {
    let mut page = Page::new("Metrics");
    for one in expected {
        let path = &one.flow.path;
        page.section(2, &format!("`{path}`"));
        page.item(format!(
            "`orchestration_run_seconds{{workflow=\"{path}\"}}`: from `createdAt` to `updatedAt` of `gh run list --workflow {}`; {} expected.",
            path.rsplit('/').next().unwrap_or(path),
            time(one.seconds)
        ));
        page.item(format!(
            "`orchestration_runs_total{{workflow=\"{path}\", conclusion}}`: runs of `{path}` by `conclusion`."
        ));
        for ((_, job), seconds) in one.flow.jobs().zip(&one.jobs) {
            page.item(format!(
                "`orchestration_job_seconds{{workflow=\"{path}\", job=\"{id}\"}}`: from `startedAt` to `completedAt` of `{id}`; {} expected.",
                time(*seconds),
                id = &*job.id
            ));
        }
    }
    page.finish()
}

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
        let slow = one.seconds.saturating_mul(2).max(60);
        rule(
            &mut text,
            "WorkflowSlow",
            &format!(
                "quantile_over_time(0.95, orchestration_run_seconds{{workflow={}}}[1d]) > {slow}",
                quoted(path)
            ),
            &format!("{path} takes more than twice the {} expected", time(one.seconds)),
        );
        rule(
            &mut text,
            "WorkflowFails",
            &format!(
                "sum(increase(orchestration_runs_total{{workflow={0}, conclusion=\"failure\"}}[1d])) > 0.2 * sum(increase(orchestration_runs_total{{workflow={0}}}[1d]))",
                quoted(path)
            ),
            &format!("more than one run in five of {path} failed today"),
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
        let runs = format!("sum by (conclusion) (increase(orchestration_runs_total{selector}[1d]))");
        panels.push(panel(at * 2 + 2, 12, format!("Runs of {path}"), "short", runs, "{{conclusion}}"));
    }
    let board = json!({
        "title": "Orchestration", "uid": "orchestration", "schemaVersion": 39, "time": { "from": "now-7d", "to": "now" },
        "templating": { "list": [{ "name": "datasource", "type": "datasource", "query": "prometheus" }] },
        "panels": panels,
    });
    format!("{board:#}\n")
}
