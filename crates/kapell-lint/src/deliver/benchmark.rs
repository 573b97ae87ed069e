//! Before and after, in time.

use super::{
    Study,
    page::{Page, at, time},
};
use crate::github::cost;

pub(super) fn write(study: &Study<'_>) -> String {
    let mut page = Page::new("Before and after");
    let timed = study.repository.timings.is_some();
    let rows: Vec<Vec<String>> = study
        .repository
        .github
        .flows
        .iter()
        .filter(|flow| !flow.model.jobs.is_empty())
        .map(|flow| {
            let durations =
                cost::durations(&study.repository.github, flow, study.repository.timings.as_ref());
            let (before, _) = cost::longest(flow, &durations, &|_, _| true);
            let savings = study.findings.iter().filter(|finding| finding.place.path == *flow.path);
            // Savings of one workflow overlap: the largest one is certain to be reached.
            let saving = savings.filter_map(|finding| finding.saving_seconds).max().unwrap_or(0).min(before);
            let busy: u32 = durations.iter().sum();
            let source = if timed { "recorded where given" } else { "predicted" };
            vec![
                format!("`{}`", flow.path),
                time(before),
                time(before - saving),
                time(busy),
                source.to_owned(),
            ]
        })
        .collect();
    page.table(&["workflow", "before", "after", "all jobs", "source"], rows);
    page.section(2, "Where it comes from");
    let saving = study
        .findings
        .iter()
        .filter_map(|finding| Some((finding, finding.saving_seconds.filter(|&s| s > 0)?)));
    for (finding, seconds) in saving {
        page.item(format!("{}: {} by repairing `{}`.", at(finding), time(seconds), finding.rule));
    }
    page.finish()
}
