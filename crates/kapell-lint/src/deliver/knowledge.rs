//! What to know: practices that apply here, patterns with examples from here, what to do when it breaks.

use kapell_view::audit::{AssetKind, EdgeKind};

use super::{
    Study,
    page::{Page, at},
};
use crate::github::tools::Kind;

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
        let mut hints: Vec<&str> = findings.iter().filter_map(|finding| finding.hint.as_deref()).collect();
        hints.dedup();
        for hint in hints {
            let place = findings.iter().find(|finding| finding.hint.as_deref() == Some(hint));
            page.item(format!("As for {}: {hint}.", place.map_or_else(String::new, |finding| at(finding))));
        }
    }
    page.finish()
}

/// Names what of the repository is an example of each pattern.
fn patterns(study: &Study<'_>) -> String {
    let mut page = Page::new("Patterns in use here");
    let delegates = |kind: AssetKind| {
        let assets = study.inventory.assets.iter().filter(move |asset| asset.kind == kind);
        assets.filter_map(|asset| {
            let mut to: Vec<&str> = study
                .edges(asset)
                .filter(|edge| {
                    edge.to.is_some() && matches!(edge.kind, EdgeKind::Delegates | EdgeKind::Names)
                })
                .map(|edge| edge.name.as_str())
                .collect();
            to.sort_unstable();
            to.dedup();
            (to.len() > 1).then_some((asset, to))
        })
    };
    page.section(2, "Central orchestration");
    for (asset, to) in delegates(AssetKind::Command).chain(delegates(AssetKind::Skill)) {
        let shown = to.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        page.item(format!("`{}` (`{}`) leads {shown}.", asset.name, asset.place.path));
    }
    page.section(2, "Hierarchical decomposition");
    for (asset, to) in delegates(AssetKind::Agent) {
        let shown = to.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        page.item(format!("The agent `{}` hands on to {shown}.", asset.name));
    }
    page.section(2, "Choreography");
    for flow in &study.repository.github.flows {
        let Some(event) = flow.model.event("workflow_run") else { continue };
        let after: Vec<String> = event.filter("workflows").map_or_else(Vec::new, |filter| {
            filter.items.iter().map(|name| format!("`{}`", &**name)).collect()
        });
        page.item(format!("`{}` starts after {}.", flow.path, after.join(", ")));
    }
    page.section(2, "Plan, then execute");
    for flow in &study.repository.github.flows {
        for (at, job) in flow.jobs() {
            let used = flow.model.jobs.iter().filter(|other| {
                other.expressions.iter().any(|expression| {
                    let text = expression.expr.source();
                    text.contains(&format!("needs.{}.outputs", &*job.id))
                        || text.contains(&format!("needs['{}']", &*job.id))
                })
            });
            let used: Vec<String> = used.map(|other| format!("`{}`", &*other.id)).collect();
            if used.len() > 1 && flow.closures[at].is_empty() {
                page.item(format!("In `{}`, `{}` decides what {} do.", flow.path, &*job.id, used.join(", ")));
            }
        }
    }
    page.finish()
}

/// What to look at for each job that changes something outside, when it fails.
fn runbook(study: &Study<'_>) -> String {
    let mut page = Page::new("Runbook");
    for flow in &study.repository.github.flows {
        page.section(2, &format!("When `{}` fails", flow.path));
        for (at, job) in flow.jobs() {
            let done: Vec<_> = flow.facts[at]
                .iter()
                .flat_map(|facts| &facts.works)
                .filter(|done| done.work.kind.mutates())
                .collect();
            let Some(last) = done.last() else { continue };
            let file = flow.path.rsplit('/').next().unwrap_or(&flow.path);
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
            page.item(format!("See why `{id}` failed: `gh run list --workflow {file} --status failure`, then `gh run view ID --log-failed`."));
        }
    }
    for (rule, findings) in study.by_rule() {
        page.section(2, &format!("When {} shows", rule.name));
        for finding in findings.iter().take(5) {
            if let Some(hint) = &finding.hint {
                page.item(format!("{}: {}; {hint}.", at(finding), finding.message));
            }
        }
    }
    page.finish()
}
