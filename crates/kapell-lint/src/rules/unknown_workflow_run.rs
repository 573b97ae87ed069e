//! A workflow waits for one of a name that no workflow has.

mod startable; // workflows that are started by name, and cannot be

use crate::{
    github::{Flow, script::Command},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::{github::Event, suggest};
use kapell_view::audit::{Confidence, FixClass, Severity};

/// See `docs/rules/unknown-workflow-run.md`.
pub(super) static RULE: Rule = Rule {
    name: "unknown-workflow-run",
    summary: "A workflow waits for one of a name that no workflow has",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/unknown-workflow-run.md"),
    check,
};

/// Workflows of others, such as GitHub's own, which are not among the files.
pub(crate) const OF_OTHERS: &[&str] = &["pages-build-deployment", "CodeQL", "Dependabot Updates", "Copilot"];

/// A name is taken for a slip of the fingers up to so many letters; beyond that it was another workflow's, with a purpose of
/// its own.
const SLIPS: usize = 2;

fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    // A workflow that could not be read may have any name.
    if flows.iter().any(|flow| !flow.model.complete) {
        return;
    }
    let files: Vec<&str> = flows.iter().map(|flow| file_name(&flow.path)).collect();
    let awaited: Vec<&Event> =
        flows.iter().filter_map(|flow| flow.model.event("repository_dispatch")).collect();
    for flow in flows {
        started_by_name(&files, flow, report);
        startable::check(flows, flow, report);
        started_by_event(&awaited, flow, report);
    }
    let names: Vec<&str> = flows.iter().map(|flow| flow.run_name()).collect();
    for flow in flows {
        let Some(filter) = flow.model.event("workflow_run").and_then(|event| event.filter("workflows"))
        else {
            continue;
        };
        for item in &filter.items {
            if names.contains(&&*item.text) || item.text.contains(['*', '$']) {
                continue;
            }
            if OF_OTHERS.contains(&&*item.text) {
                continue;
            }
            let others = names.iter().copied().filter(|name| *name != flow.run_name());
            let near = suggest::mistyped(&item.text, others, SLIPS);
            let draft = report
                .add(
                    flow.file,
                    item.span,
                    format!("no workflow is named `{}`, so its runs never start this one", item.text),
                )
                .severity(if filter.items.len() == 1 { Severity::High } else { Severity::Medium });
            match near {
                Some(near) => {
                    let text = format!("'{}'", near.replace('\'', "''"));
                    draft
                        .fix(format!("wait for `{near}`"), FixClass::Review, [(flow.file, item.span, text)])
                        .done();
                }
                None => draft.hint("drop it from the list, or name the workflow that took its place").done(),
            }
        }
    }
}

/// A step sends an event of a type for which no workflow waits, where some wait for another one.
fn started_by_event(awaited: &[&Event], flow: &Flow, report: &mut Report<'_>) {
    let all = awaited.iter().any(|event| event.filter("types").is_none());
    if all || awaited.is_empty() {
        return;
    }
    let types = || awaited.iter().filter_map(|event| event.filter("types")).flat_map(|filter| &filter.items);
    let listed: Vec<&str> = types().map(|item| &*item.text).collect();
    // Few workflows send any.
    let in_script = flow.text.contains("event_type");
    for (at, job) in flow.jobs() {
        if in_script {
            startable::by_script(flow, at, &listed, report);
        }
        for step in job.steps.iter().filter(|step| step.is("peter-evans/repository-dispatch")) {
            // Another repository has workflows of its own.
            let here = step.input("repository").is_none_or(|text| text.contains("github.repository"));
            let sent = step.input("event-type").filter(|text| here && text.literal().is_some());
            let Some(sent) = sent.filter(|sent| !types().any(|item| *item.text == *sent.text.trim())) else {
                continue;
            };
            let near = suggest::mistyped(&sent.text, types().map(|item| &*item.text), SLIPS)
                .or_else(|| Some(&*types().next()?.text).filter(|_| types().count() == 1));
            let hint = match near {
                Some(near) => format!("send `{near}`, or wait for `{}`", sent.text),
                None => format!("wait for `{}` in `on.repository_dispatch.types`", sent.text),
            };
            report
                .add(
                    flow.file,
                    sent.span,
                    format!("no workflow waits for the event `{}`, so this starts none", sent.text),
                )
                .severity(Severity::High)
                .hint(hint)
                .done();
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Tells whether a command starts a workflow.
fn starts_one(command: &Command) -> bool {
    command.words.iter().map(String::as_str).take(3).eq(["gh", "workflow", "run"])
}

/// Tells whether a job works in another repository, which has workflows of its own.
fn of_another(flow: &Flow, at: usize) -> bool {
    let text = flow.text.get(flow.model.jobs[at].span.range()).unwrap_or_default();
    text.lines().any(|line| {
        line.contains("GH_REPO") && !line.contains("github.repository") && !line.contains("GITHUB_REPOSITORY")
    }) || text.contains("repository:")
        || flow.model.env.iter().any(|(name, _)| &*name.text == "GH_REPO")
}

/// A script starts a workflow by the name of a file that is not there.
fn started_by_name(files: &[&str], flow: &Flow, report: &mut Report<'_>) {
    for (at, job) in flow.jobs() {
        if !flow.steps(at).any(|(_, facts)| facts.commands.iter().any(starts_one)) {
            continue;
        }
        let elsewhere = of_another(flow, at);
        for (step, facts) in flow.steps(at).filter(|_| !elsewhere) {
            let started = facts.commands.iter().filter(|command| starts_one(command)).find_map(|command| {
                let rest = &command.words[3..];
                let other = rest.iter().any(|word| word == "-R" || word.starts_with("--repo"));
                let name = rest.iter().find(|word| word.ends_with(".yml") || word.ends_with(".yaml"))?;
                (!other && !name.contains('$')).then(|| (command.start, file_name(name)))
            });
            let Some((start, name)) = started.filter(|(_, name)| !files.contains(name)) else { continue };
            // `cd`, `git clone`: the command may run in another repository.
            if step.folder.is_some() || job.folder.is_some() || step.script().contains("cd ") {
                continue;
            }
            let near = suggest::mistyped(name, files.iter().copied(), SLIPS);
            let hint = match near {
                Some(near) => format!("start `{near}`"),
                None => "name the workflow that took its place".to_owned(),
            };
            report
                .add(
                    flow.file,
                    flow.script_line(step, start, "gh"),
                    format!("no workflow is in a file `{name}`, so this cannot start it"),
                )
                .severity(Severity::High)
                .hint(hint)
                .done();
        }
    }
}
