//! What to know: practices that apply here, patterns with examples from here, what to do when it breaks.

use super::{
    Study,
    page::{Page, at, remedy},
};
use crate::{github::tools::Kind, patterns::by_kind};

pub(super) fn write(study: &Study<'_>) -> Vec<(String, String)> {
    vec![
        ("06-docs/best-practices.md".to_owned(), practices(study)),
        ("06-docs/patterns.md".to_owned(), patterns(study)),
        ("06-docs/runbook.md".to_owned(), runbook(study)),
    ]
}

fn practices(study: &Study<'_>) -> String {
    let mut page = Page::new("Practices that apply here");
    for (rule, findings) in study.by_rule() {
        page.section(2, rule.summary);
        let places: Vec<String> = findings.iter().take(5).map(|finding| at(finding)).collect();
        page.say(format!("Broken in {} (`{}`).", places.join(", "), rule.name));
        let mut told: Vec<&str> = Vec::new();
        for finding in &findings {
            if let Some(what) = remedy(finding).filter(|what| !told.contains(what)) {
                page.item(format!("As for {}: {what}.", at(finding)));
                told.push(what);
            }
        }
    }
    page.finish()
}

/// Names what of the repository is an example of each pattern.
fn patterns(study: &Study<'_>) -> String {
    let mut page = Page::new("Patterns in use here");
    for (kind, seen) in by_kind(&crate::patterns::patterns(study.repository)) {
        page.section(2, kind.name());
        for pattern in seen {
            page.item(format!("{} (`{}:{}`)", pattern.text, pattern.place.path, pattern.place.line));
        }
    }
    page.finish()
}

/// What to look at for each job that changes something outside, when it fails.
fn runbook(study: &Study<'_>) -> String {
    let mut page = Page::new("Runbook");
    for flow in &study.repository.github.flows {
        page.section(2, &format!("When `{}` fails", flow.path));
        let file = flow.path.rsplit('/').next().unwrap_or(&flow.path);
        for (at, job) in flow.jobs() {
            let done: Vec<_> = flow.facts[at]
                .iter()
                .flat_map(|facts| &facts.works)
                .filter(|done| done.work.kind.mutates())
                .collect();
            // What cannot be taken back is what the job is for; the last of equals.
            let weight = |kind: Kind| match kind {
                Kind::Publish | Kind::Deploy | Kind::Pages => 2,
                Kind::Release | Kind::Tag | Kind::Push => 1,
                _ => 0,
            };
            let Some(last) = done.iter().max_by_key(|done| weight(done.work.kind)) else { continue };
            let id = &*job.id;
            let again = match last.work.kind {
                Kind::Publish | Kind::Tag | Kind::Release => {
                    "look first whether it was published: a version is published once"
                }
                Kind::Deploy | Kind::Pages => {
                    "look first what runs now, and deploy the last good commit if it is broken"
                }
                _ => "look first what it has already changed",
            };
            page.item(format!(
                "`{id}` changes things outside by `{}`; before it is run again, {again}.",
                last.text.lines().next().unwrap_or_default()
            ));
            let after: Vec<String> = flow
                .jobs()
                .filter(|(other, _)| flow.closures[*other].contains(&at))
                .map(|(_, other)| format!("`{}`", &*other.id))
                .collect();
            if !after.is_empty() {
                page.item(format!("Without `{id}`, {} do not run.", after.join(", ")));
            }
        }
        if flow.facts.iter().flatten().flat_map(|facts| &facts.works).any(|done| done.work.kind.mutates()) {
            page.item(format!("What failed: `gh run list --workflow {file} --status failure`, then `gh run view ID --log-failed`."));
        }
    }
    for (rule, findings) in study.by_rule() {
        page.section(2, &format!("When {} shows", rule.name));
        for finding in findings.iter().take(5) {
            if let Some(what) = remedy(finding) {
                page.item(format!("{}: {}; {what}.", at(finding), finding.message));
            }
        }
    }
    page.finish()
}
