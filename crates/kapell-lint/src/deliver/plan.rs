//! In which order to repair, how to go back, and what comes later.

use kapell_view::audit::{Finding, FixClass, Severity};

use super::{
    Study,
    page::{Page, at, severity, time},
};

fn class(finding: &Finding) -> Option<FixClass> {
    finding.fix.as_ref().map(|fix| fix.class)
}

/// Stages by risk: what is proven first, then what a person has read, then what has to be written.
pub(super) fn migration(study: &Study<'_>) -> String {
    let mut page = Page::new("Migration");
    let shown = || study.findings.iter().filter(|finding| finding.warns() || study.is_mended(finding));
    let is_review = |finding: &Finding| class(finding) == Some(FixClass::Review) && !study.is_mended(finding);
    page.section(2, "Stage 1: safe repairs");
    for finding in shown().filter(|finding| study.is_mended(finding)) {
        page.item(format!("{}: {} (`{}`).", at(finding), fix_title(finding), finding.rule));
    }
    page.section(2, "Stage 2: repairs to read first");
    for finding in shown().filter(|finding| is_review(finding)) {
        page.item(format!("{}: {} (`{}`).", at(finding), fix_title(finding), finding.rule));
    }
    page.section(2, "Stage 3: repairs to write");
    for finding in shown().filter(|finding| !study.is_mended(finding) && !is_review(finding)) {
        let hint = finding.hint.as_deref().unwrap_or(&finding.message);
        page.item(format!("{}: {hint} (`{}`).", at(finding), finding.rule));
    }
    page.section(2, "Going back");
    let mut files: Vec<&str> = shown().map(|finding| finding.place.path.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    for file in files {
        page.item(format!("`{file}`: `git log --oneline -- {file}` shows the repair, and `git revert` of that commit takes it back."));
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
            page.item(format!("`{}`: {} ({}{saving}).", rule.name, places(&left), severity(worst)));
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
