//! Before and after, in time.

use super::{
    Study,
    page::{Page, at, time},
};
use crate::{github::cost, rule::names};

pub(super) fn write(study: &Study<'_>) -> String {
    let mut page = Page::new("Before and after");
    let after = study.mended_repository();
    let timings = study.repository.timings.as_ref();
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
            let patched = after.github.flows.iter().find(|other| other.path == flow.path);
            let patched = patched.map_or(before, |flow| {
                cost::longest(flow, &cost::durations(&after.github, flow, timings), &|_, _| true).0
            });
            let busy: u32 = durations.iter().sum();
            let recorded = cost::is_recorded(&study.repository.github, flow, timings);
            let source = if recorded { "recorded" } else { "predicted" };
            vec![
                format!("`{}`", flow.path),
                time(before),
                time(patched),
                time((before - saving).min(patched)),
                time(busy),
                source.to_owned(),
            ]
        })
        .collect();
    let head = ["workflow", "before", "with the patch", "with every repair", "all jobs", "source"];
    let same = |column: usize| rows.iter().all(|row| row[column] == row[1]);
    let told: Vec<usize> = (0..head.len()).filter(|&at| !matches!(at, 2 | 3) || !same(at)).collect();
    let flows = || study.repository.github.flows.iter().map(|flow| &*flow.path);
    let shown = rows.iter().map(|row| told.iter().map(|&at| row[at].clone()).collect());
    page.table(&told.iter().map(|&at| head[at]).collect::<Vec<_>>(), shown);
    if !rows.is_empty() && same(2) && same(3) {
        page.say(format!("No finding changes how long {} take.", names(flows())));
    }
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
