//! The analysis: what there is, what is wrong, what it costs.

use std::collections::BTreeMap;

use kapell_view::audit::{EdgeKind, Strength, kind as kind_name};

use super::{
    Study,
    page::{Page, at, remedy, time},
};
use crate::{github::cost, patterns::anti_patterns};

pub(super) fn write(study: &Study<'_>) -> String {
    let mut page = Page::new("Analysis");
    inventory(study, &mut page);
    patterns(study, &mut page);
    bottlenecks(study, &mut page);
    page.section(2, "Findings");
    for (rule, findings) in study.by_rule() {
        page.section(3, rule.name);
        for finding in findings {
            let hint = remedy(finding).map_or_else(String::new, |hint| format!(" To do: {hint}."));
            page.item(format!("{} ({}): {}.{hint}", at(finding), finding.severity.name(), finding.message));
        }
    }
    page.finish()
}

fn inventory(study: &Study<'_>, page: &mut Page) {
    page.section(2, "Inventory");
    let mut kinds: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for asset in &study.inventory.assets {
        kinds.entry(asset.kind).or_default().push(&asset.name);
    }
    let rows = kinds.into_iter().map(|(kind, names)| {
        let shown: Vec<String> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
        let more = names.len().saturating_sub(12);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        vec![kind_name(kind).to_owned(), names.len().to_string(), shown.join(", ") + &rest]
    });
    page.table(&["what", "how many", "names"], rows);
    page.section(2, "Who relies on whom");
    let name = |id: u32| study.inventory.assets.get(id as usize).map_or("", |asset| &asset.name);
    let missing =
        study.inventory.edges.iter().filter(|edge| edge.is_missing() && edge.strength > Strength::Weak);
    for edge in missing {
        let what = format!("`{}` names `{}`, which is not defined here", name(edge.from), edge.name);
        page.item(format!("{what} (`{}:{}`).", edge.place.path, edge.place.line));
    }
    let edges = study.inventory.edges.iter().filter(|edge| edge.to.is_some() && edge.kind != EdgeKind::Names);
    // More lines than this are no picture.
    if (1..=120).contains(&edges.count()) {
        page.block("mermaid", &study.inventory.mermaid());
    }
}

fn patterns(study: &Study<'_>, page: &mut Page) {
    page.section(2, "Anti-patterns");
    let found = anti_patterns(study.findings).into_iter().filter(|evidence| evidence.count > 0);
    let rows = found.map(|evidence| {
        let rules: Vec<String> = evidence.rules.iter().map(|rule| format!("`{rule}`")).collect();
        vec![evidence.name, evidence.count.to_string(), evidence.worst.name().to_owned(), rules.join(", ")]
    });
    page.table(&["anti-pattern", "findings", "worst", "rules"], rows);
}

fn bottlenecks(study: &Study<'_>, page: &mut Page) {
    page.section(2, "Bottlenecks");
    for flow in &study.repository.github.flows {
        let durations = cost::durations(&study.repository.github, flow, study.repository.timings.as_ref());
        let (total, path) = cost::longest(flow, &durations, &|_, _| true);
        let jobs: Vec<String> = path
            .iter()
            .map(|&job| format!("`{}` ({})", &*flow.model.jobs[job].id, time(durations[job])))
            .collect();
        if jobs.len() > 1 {
            page.item(format!("`{}` ends after {}: {}.", flow.path, time(total), jobs.join(", then ")));
        }
    }
}
