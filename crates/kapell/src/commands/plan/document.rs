//! What is to be known about a document before it is run: its phases, its agents, and the time that it claims.

use std::{collections::BTreeMap, path::Path};

use kapell_lint::repository::Repository;
use kapell_spec::{
    claude::{plan::Plan, tables::BUILT_IN_AGENTS},
    suggest,
};
use kapell_view::{audit::AssetKind, text::plural, untrusted::visible};

use super::super::improve;
use crate::{
    args::{AuditDepth, AuditScope},
    fault::Fault,
    output::Out,
};

/// How many of the files that define one name are shown.
const FILES_MAX: usize = 3;

/// Notes what a document is made of.
pub(super) fn tell(root: &Path, plan: &Plan, out: Out) -> Result<(), Fault> {
    let (repository, _) = improve::read(root, AuditDepth::Quick, AuditScope::ClaudeCode)?;
    let tasks = plan.stages.iter().map(|stage| stage.members.len() as u64).sum();
    let stages = plan.stages.len() as u64;
    out.note(&format!("document: {} in {}", plural(tasks, "task"), plural(stages, "stage")));
    for line in agents(plan, &repository) {
        out.note(&visible(&line));
    }
    out.note(&time(plan));
    Ok(())
}

/// Says which of the agents that a document names are defined, and where.
fn agents(plan: &Plan, repository: &Repository) -> Vec<String> {
    let mut defined: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, agent) in repository.agents.of(AssetKind::Agent) {
        defined.entry(&agent.name).or_default().push(&repository.files[agent.file].path);
    }
    let is_built_in = |name: &str| BUILT_IN_AGENTS.iter().any(|known| known.eq_ignore_ascii_case(name));
    let lines = plan.agents().into_iter().map(|name| {
        // A plugin's name before a colon says where an agent comes from.
        let local = name.rsplit(':').next().unwrap_or(name);
        match defined.get(local).map(Vec::as_slice) {
            Some([file]) => format!("agent `{name}`: defined in {file}"),
            Some(files) => {
                let shown = files[..files.len().min(FILES_MAX)].join(", ");
                let more = if files.len() > FILES_MAX { ", ..." } else { "" };
                format!("agent `{name}`: defined {} times: {shown}{more}", files.len())
            }
            None if is_built_in(name) => format!("agent `{name}`: always there"),
            None => match suggest::nearest(local, defined.keys().copied()) {
                Some(near) => format!("agent `{name}`: not defined here; the nearest name is `{near}`"),
                None => format!("agent `{name}`: not defined here"),
            },
        }
    });
    lines.collect()
}

/// Holds the longest way through the phases against the time that the document claims.
fn time(plan: &Plan) -> String {
    let (minutes, silent) = plan.critical_minutes();
    let claimed = match plan.flow.minutes {
        Some(claimed) => format!("the document claims {claimed} min"),
        None => "the document claims no time".to_owned(),
    };
    match (minutes, silent) {
        (0, _) => format!("time: {claimed}; no phase says how long it takes"),
        (_, 0) => format!("time: {claimed}; the longest way through its phases is {minutes} min"),
        _ => format!(
            "time: {claimed}; the longest way through its phases is at least {minutes} min, {} of no stated length",
            plural(silent, "task")
        ),
    }
}
