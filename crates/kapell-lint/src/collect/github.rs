//! What workflows and actions add to the inventory.

use std::collections::BTreeMap;

use kapell_spec::{finding::Span, github::Uses};
use kapell_view::audit::{AssetKind, EdgeKind, Scope, Strength};

use crate::{
    files::FileId,
    github::Flow,
    inventory::{AssetKey, Builder, Target},
    repository::Repository,
};

/// What was added, by path or folder.
#[derive(Debug, Default)]
struct Keys {
    flows: BTreeMap<String, AssetKey>,
    actions: BTreeMap<String, AssetKey>,
}

/// Adds workflows, their jobs, and actions; who waits for whom, who calls whom, and who is started by whom.
pub(super) fn collect(repository: &Repository, builder: &mut Builder<'_>) {
    let github = &repository.github;
    let whole = |file: FileId| Span::new(0, repository.files[file].text.len());
    let mut keys = Keys::default();
    for flow in &github.flows {
        let key =
            builder.asset(AssetKind::Workflow, flow.name(), Scope::Repository, flow.file, whole(flow.file));
        keys.flows.insert(flow.path.to_string(), key);
    }
    for (folder, action) in &github.actions {
        let name = folder.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("action");
        let key = builder.asset(AssetKind::Action, name, Scope::Repository, action.file, whole(action.file));
        keys.actions.insert(folder.clone(), key);
    }
    for flow in &github.flows {
        jobs(flow, &keys, builder);
        started_by(repository, flow, &keys, builder);
    }
}

/// Adds the jobs of a workflow, what each waits for and what it uses of the repository.
fn jobs(flow: &Flow, keys: &Keys, builder: &mut Builder<'_>) {
    let scope = Scope::Workflow(flow.path.to_string());
    let own: BTreeMap<&str, AssetKey> = flow
        .jobs()
        .map(|(_, job)| {
            (&*job.id.text, builder.asset(AssetKind::Job, &job.id.text, scope.clone(), flow.file, job.span))
        })
        .collect();
    for (_, job) in flow.jobs() {
        let from = own[&*job.id.text];
        for need in &job.needs {
            let to = own
                .get(&*need.text)
                .map_or_else(|| Target::Missing(need.text.to_string()), |&key| Target::Asset(key));
            builder.edge(from, to, EdgeKind::Awaits, Strength::Certain, (flow.file, need.span));
        }
        let called = job.uses.iter().map(|(text, uses)| (text.span, uses));
        let used =
            job.steps.iter().filter_map(|step| step.uses.as_ref()).map(|(text, uses)| (text.span, uses));
        for (span, uses) in called.chain(used) {
            let Some(Uses::Local(path)) = uses else { continue };
            let path = path.trim_end_matches('/');
            let to = keys
                .flows
                .get(path)
                .or_else(|| keys.actions.get(path))
                .map_or_else(|| Target::Missing(path.to_owned()), |&key| Target::Asset(key));
            builder.edge(from, to, EdgeKind::Calls, Strength::Certain, (flow.file, span));
        }
    }
}

/// Adds what `workflow_run` names: the other workflow starts this one.
fn started_by(repository: &Repository, flow: &Flow, keys: &Keys, builder: &mut Builder<'_>) {
    let Some(event) = flow.model.event("workflow_run") else { return };
    let named = event.filters.iter().filter(|filter| &*filter.key.text == "workflows");
    for name in named.flat_map(|filter| &filter.items) {
        let other = repository.github.flows.iter().find(|other| other.run_name() == &*name.text);
        if let Some(other) = other {
            let at = (flow.file, name.span);
            let to = Target::Asset(keys.flows[&*flow.path]);
            builder.edge(keys.flows[&*other.path], to, EdgeKind::Triggers, Strength::Certain, at);
        }
    }
}
