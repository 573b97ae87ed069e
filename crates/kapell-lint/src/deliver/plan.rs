//! In which order to repair, how to go back, and what comes later.

use kapell_view::audit::{Finding, FixClass, Severity};

use super::{
    Study,
    page::{Page, at, remedy, time},
};
use crate::rule::listed;

fn class(finding: &Finding) -> Option<FixClass> {
    finding.fix.as_ref().map(|fix| fix.class)
}

/// Stages by risk: what is proven first, then what a person has read, then what has to be written.
pub(super) fn migration(study: &Study<'_>) -> String {
    let mut page = Page::new("Migration");
    let shown = || study.findings.iter().filter(|finding| finding.warns() || study.is_mended(finding));
    let is_review = |finding: &Finding| class(finding) == Some(FixClass::Review) && !study.is_mended(finding);
    let to_write = |finding: &Finding| !study.is_mended(finding) && !is_review(finding);
    let title = |finding: &Finding| fix_title(finding).to_owned();
    let hint = |finding: &Finding| remedy(finding).unwrap_or(&finding.message).to_owned();
    type Stage<'a> = (&'a str, &'a dyn Fn(&Finding) -> bool, &'a dyn Fn(&Finding) -> String);
    let stages: [Stage<'_>; 3] = [
        ("safe repairs", &|finding| study.is_mended(finding), &title),
        ("repairs to read first", &is_review, &title),
        ("repairs to write", &to_write, &hint),
    ];
    // One that has nothing to do is none, and has no number.
    let busy = stages.iter().filter(|(_, is_in, _)| shown().any(is_in));
    for (number, (name, is_in, what)) in (1..).zip(busy) {
        page.section(2, &format!("Stage {number}: {name}"));
        for finding in shown().filter(|finding| is_in(finding)) {
            page.item(format!("{}: {} (`{}`).", at(finding), what(finding), finding.rule));
        }
    }
    page.section(2, "Going back");
    let patched: Vec<&str> = study.changes.iter().map(|change| change.path.as_str()).collect();
    if !patched.is_empty() {
        let files: Vec<String> = patched.iter().map(|path| format!("`{path}`")).collect();
        page.item(format!(
            "The patch is one commit, which `git revert` takes back. It changes {}.",
            listed(files, usize::MAX)
        ));
    }
    let mut others: Vec<String> = shown()
        .filter(|finding| !study.is_mended(finding))
        .map(|finding| format!("`{}`", finding.place.path))
        .collect();
    others.sort_unstable();
    others.dedup();
    if !others.is_empty() {
        page.item(format!(
            "Each repair of {} in a commit of its own can be taken back alone.",
            listed(others, usize::MAX)
        ));
    }
    page.section(2, "Risks");
    for flow in &study.repository.github.flows {
        for (job, _) in
            flow.jobs().filter(|(job, _)| flow.facts[*job].iter().any(|facts| facts.mutation().is_some()))
        {
            let touched = shown().any(|finding| finding.place.path == *flow.path);
            if touched {
                page.item(format!(
                    "`{}` of `{}` changes things outside: let one run of it pass before the next repair of that file.",
                    &*flow.model.jobs[job].id, flow.path
                ));
            }
        }
    }
    page.finish()
}

fn fix_title(finding: &Finding) -> &str {
    finding.fix.as_ref().map_or(&*finding.message, |fix| &fix.title)
}

pub(super) fn roadmap(study: &Study<'_>) -> String {
    let mut page = Page::new("Roadmap");
    let groups = study.by_rule();
    let mended = |finding: &&&Finding| study.is_mended(finding);
    page.section(2, "Now: repaired by the patch");
    // A note may be mended too, and what warns no more is no part of a group.
    for finding in study.mended.iter().filter_map(|&at| study.findings.get(at)) {
        page.item(format!("{}: {} (`{}`).", at(finding), fix_title(finding), finding.rule));
    }
    let is_bad = |findings: &[&Finding]| findings.iter().any(|finding| finding.severity >= Severity::High);
    for (title, bad) in [("Next: high and critical", true), ("Later", false)] {
        page.section(2, title);
        for (rule, findings) in &groups {
            let left: Vec<&Finding> = findings.iter().filter(|finding| !mended(finding)).copied().collect();
            if left.is_empty() || is_bad(&left) != bad {
                continue;
            }
            let worst = left.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Info);
            let saved: u32 = left.iter().filter_map(|finding| finding.saving_seconds).max().unwrap_or(0);
            let saving = if saved > 0 { format!(", up to {} a run", time(saved)) } else { String::new() };
            page.item(format!("`{}`: {} ({}{saving}).", rule.name, places(&left), worst.name()));
        }
    }
    page.section(2, "To watch");
    for flow in study.repository.github.flows.iter().filter(|flow| flow.model.jobs.len() > 1) {
        page.item(format!("`orchestration_run_seconds{{workflow=\"{}\"}}`, after every stage.", flow.path));
    }
    page.finish()
}

fn places(findings: &[&Finding]) -> String {
    let shown: Vec<String> = findings.iter().take(4).map(|finding| at(finding)).collect();
    let more = findings.len().saturating_sub(4);
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}
