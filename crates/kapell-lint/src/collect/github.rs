//! What workflows and actions add to the inventory.

use std::collections::BTreeMap;

use kapell_spec::{
    finding::Span,
    github::{Event, Filter, Uses},
};
use kapell_view::audit::{AssetKind, EdgeKind, Scope, Strength};

use crate::{
    files::FileId,
    github::{Flow, carry},
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
        builder.events(key, flow.model.events.iter().map(event).collect());
        keys.flows.insert(flow.path.to_string(), key);
    }
    for (folder, action) in github.actions.iter() {
        let name = folder.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("action");
        let key = builder.asset(AssetKind::Action, name, Scope::Repository, action.file, whole(action.file));
        keys.actions.insert(folder.clone(), key);
    }
    for flow in &github.flows {
        jobs(repository, flow, &keys, builder);
        started_by(repository, flow, &keys, builder);
    }
}

/// Says what starts a workflow: the event, and what narrows it.
fn event(event: &Event) -> String {
    let filter = |filter: &Filter| {
        let items: Vec<&str> = filter.items.iter().map(|item| &*item.text).collect();
        format!("{}: {}", filter.key.text, items.join(", "))
    };
    let crons = event.crons.iter().map(|cron| cron.text.to_string());
    let narrowed: Vec<String> = event.filters.iter().map(filter).chain(crons).collect();
    let name = &event.name.text;
    if narrowed.is_empty() { name.to_string() } else { format!("{name} ({})", narrowed.join("; ")) }
}

/// Adds the jobs of a workflow, what each waits for, what it gives to others and what it uses of the repository.
fn jobs(repository: &Repository, flow: &Flow, keys: &Keys, builder: &mut Builder<'_>) {
    let scope = Scope::Workflow(flow.path.to_string());
    let own: BTreeMap<&str, AssetKey> = flow
        .jobs()
        .map(|(_, job)| {
            (&*job.id.text, builder.asset(AssetKind::Job, &job.id.text, scope.clone(), flow.file, job.span))
        })
        .collect();
    for (at, job) in flow.jobs() {
        let from = own[&*job.id.text];
        given(flow, at, &own, builder);
        dispatched(repository, flow, at, from, keys, builder);
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

/// Adds what the other jobs of a workflow give to one of its jobs.
fn given(flow: &Flow, to: usize, own: &BTreeMap<&str, AssetKey>, builder: &mut Builder<'_>) {
    let key = |job: usize| own[&*flow.model.jobs[job].id.text];
    for from in flow.closures[to].iter().copied() {
        let outputs = carry::outputs_read(&flow.model.jobs[to], &flow.model.jobs[from].id.text);
        for (name, span) in outputs {
            builder.feeds(key(from), key(to), &format!("output {name}"), (flow.file, span));
        }
        for (name, span) in carry::artifacts_taken(flow, from, to) {
            builder.feeds(key(from), key(to), &format!("artifact {name}"), (flow.file, span));
        }
        if carry::cache_taken(flow, from, to) {
            builder.feeds(key(from), key(to), "cache", (flow.file, flow.job_span(to)));
        }
    }
}

/// Adds the workflows that a job starts by `gh workflow run`.
fn dispatched(
    repository: &Repository,
    flow: &Flow,
    job: usize,
    from: AssetKey,
    keys: &Keys,
    builder: &mut Builder<'_>,
) {
    for (step, facts) in flow.steps(job) {
        for command in &facts.commands {
            let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
            let ["gh", "workflow", "run", rest @ ..] = words.as_slice() else { continue };
            let Some(name) = rest.iter().find(|word| !word.starts_with('-')) else { continue };
            let is_meant = |other: &&Flow| {
                let file = other.path.rsplit('/').next().unwrap_or(&other.path);
                file == *name || other.run_name() == *name || *other.path == **name
            };
            let found = repository.github.flows.iter().find(is_meant);
            let to = match found.map(|other| keys.flows[&*other.path]) {
                Some(key) => Target::Asset(key),
                None if name.contains(['$', '{']) => continue,
                None => Target::Missing((*name).to_owned()),
            };
            builder.edge(from, to, EdgeKind::Triggers, Strength::Certain, (flow.file, step.span));
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
