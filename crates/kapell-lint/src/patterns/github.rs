//! Patterns in workflows.

use kapell_view::audit::PatternKind;

use super::Seen;
use crate::{
    github::{Flow, carry, globs, script::Command},
    rule::names,
    rules::unknown_workflow_run,
};

pub(super) fn look(seen: &mut Seen<'_>) {
    let repository = seen.repository;
    for flow in &repository.github.flows {
        plans(seen, flow);
        calls(seen, flow);
        reacts(seen, flow);
        shares(seen, flow);
        takes_back(seen, flow);
        divides(seen, flow);
    }
}

/// A job that needs nothing decides what several others do.
fn plans(seen: &mut Seen<'_>, flow: &Flow) {
    for (at, job) in flow.jobs().filter(|(at, job)| flow.closures[*at].is_empty() && !job.outputs.is_empty())
    {
        let led: Vec<&str> = flow
            .jobs()
            .filter(|(other, candidate)| *other != at && carry::reads(candidate, &job.id.text))
            // What a job hands on reaches only those that need it themselves.
            .filter(|(_, candidate)| candidate.needs.iter().any(|need| need.eq_ignore_ascii_case(&job.id)))
            .map(|(_, candidate)| &*candidate.id.text)
            .collect();
        if led.len() > 1 {
            let text = format!("In `{}`, `{}` decides what {} do.", flow.path, job.id.text, names(led));
            seen.add(PatternKind::PlanThenExecute, (flow.file, job.id.span), text);
        }
    }
}

/// A workflow that calls several others, which may call more.
fn calls(seen: &mut Seen<'_>, flow: &Flow) {
    let github = &seen.repository.github;
    let called: Vec<(&Flow, usize)> =
        flow.jobs().filter_map(|(at, job)| Some((github.called(job)?, at))).collect();
    let mut paths: Vec<&str> = called.iter().map(|(flow, _)| &*flow.path).collect();
    paths.sort_unstable();
    paths.dedup();
    let Some(&(_, first)) = called.first() else { return };
    let at = (flow.file, flow.job_span(first));
    if paths.len() > 1 {
        let text = format!("`{}` calls {} and waits for them.", flow.path, names(paths));
        seen.add(PatternKind::CentralOrchestration, at, text);
    }
    let deeper = called.iter().find_map(|(middle, _)| {
        let lower = middle.jobs().find_map(|(_, job)| github.called(job))?;
        Some((*middle, lower))
    });
    if let Some((middle, lower)) = deeper {
        let text = format!("`{}` calls `{}`, which calls `{}`.", flow.path, middle.path, lower.path);
        seen.add(PatternKind::HierarchicalDecomposition, at, text);
    }
}

/// A workflow that starts when another has ended, or when somebody outside says so.
fn reacts(seen: &mut Seen<'_>, flow: &Flow) {
    for event in &flow.model.events {
        let (key, verb) = match &*event.name.text {
            "workflow_run" => ("workflows", "starts after"),
            "repository_dispatch" => ("types", "reacts to"),
            _ => continue,
        };
        // One that waits for a workflow of a name that none has is never started by it.
        let comes = |name: &str| key == "types" || name.contains(['*', '$']) || may_end(seen, name);
        let what = match event.filter(key) {
            None => "any event".to_owned(),
            Some(filter) => names(filter.items.iter().map(|item| &*item.text).filter(|name| comes(name))),
        };
        if what.is_empty() {
            continue;
        }
        let text = format!("`{}` {verb} {what}.", flow.path);
        seen.add(PatternKind::Choreography, (flow.file, event.name.span), text);
    }
}

/// Tells whether a workflow of a name may be there to end: one of this repository, or where one of these could not be read.
fn may_end(seen: &Seen<'_>, name: &str) -> bool {
    let flows = &seen.repository.github.flows;
    flows.iter().any(|flow| !flow.model.complete || flow.run_name() == name)
        || unknown_workflow_run::OF_OTHERS.contains(&name)
}

/// Several jobs put their parts into one place, and one takes all of them.
fn shares(seen: &mut Seen<'_>, flow: &Flow) {
    for (at, job) in flow.jobs() {
        let taken = flow.facts[at].iter().flat_map(|facts| &facts.downloads).filter(|down| !down.elsewhere);
        for down in taken.filter(|down| down.all || down.names.iter().any(|name| name.contains('*'))) {
            let gives = |other: usize| {
                let mut uploads = flow.facts[other].iter().flat_map(|facts| &facts.uploads);
                uploads.any(|up| down.all || globs::any_overlap(&up.names, &down.names))
            };
            let givers: Vec<&str> = flow
                .jobs()
                .filter(|(other, _)| flow.closures[at].contains(other) && gives(*other))
                .map(|(_, giver)| &*giver.id.text)
                .collect();
            if givers.len() > 1 {
                let text = format!(
                    "In `{}`, `{}` takes what {} left among the artifacts.",
                    flow.path,
                    job.id.text,
                    names(givers)
                );
                seen.add(PatternKind::Blackboard, (flow.file, job.id.span), text);
                break;
            }
        }
    }
}

/// Words of commands that take something back.
const BACK: &[&str] =
    &["rollback", "rollout undo", "push --delete", "release delete", "revert", "destroy", "undo"];

/// After a failure, what was changed is taken back.
fn takes_back(seen: &mut Seen<'_>, flow: &Flow) {
    for (at, job) in flow.jobs() {
        let fails = |text: &str| text.contains("failure()") || text.contains("== 'failure'");
        let whole = job.condition.as_ref().is_some_and(|condition| fails(&condition.text));
        for (step, facts) in flow.steps(at) {
            let own = step.condition.as_ref().is_some_and(|condition| fails(&condition.text));
            let back = |command: &Command| {
                let text = command.text().to_ascii_lowercase();
                BACK.iter().any(|word| text.contains(word))
            };
            let Some(command) = facts.commands.iter().find(|command| (whole || own) && back(command)) else {
                continue;
            };
            let shown: String = command.text().chars().take(60).collect();
            let text = format!("In `{}`, a failure makes `{}` run `{shown}`.", flow.path, job.id.text);
            seen.add(PatternKind::Saga, (flow.file, step.span), text);
            break;
        }
    }
}

/// Jobs that may only read beside one that may write.
fn divides(seen: &mut Seen<'_>, flow: &Flow) {
    let rights = |at: usize| flow.model.jobs[at].permissions.as_ref().or(flow.model.permissions.as_ref());
    let writes = |at: usize| {
        rights(at).is_some_and(|rights| rights.scopes.iter().any(|(_, level)| &*level.text == "write"))
    };
    let reads = |at: usize| {
        rights(at).is_some_and(|rights| {
            rights.all.as_ref().is_some_and(|all| &*all.text == "read-all")
                || !rights.scopes.is_empty() && rights.scopes.iter().all(|(_, level)| &*level.text != "write")
        })
    };
    let of = |fits: &dyn Fn(usize) -> bool| -> Vec<&str> {
        flow.jobs().filter(|(at, _)| fits(*at)).map(|(_, job)| &*job.id.text).collect()
    };
    let (readers, writers) = (of(&reads), of(&writes));
    let own = flow.jobs().find(|(at, job)| writes(*at) && job.permissions.is_some());
    if let (Some((_, writer)), false) = (own, readers.is_empty()) {
        let (readers, writers) = (names(readers), names(writers));
        let text = format!("In `{}`, {writers} may write, and {readers} may only read.", flow.path);
        seen.add(PatternKind::Cqrs, (flow.file, writer.id.span), text);
    }
}
