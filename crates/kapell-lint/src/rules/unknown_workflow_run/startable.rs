//! Workflows that a step starts by name, and that nobody can start: they have no `workflow_dispatch`.

use kapell_spec::finding::Span;
use kapell_view::audit::Severity;

use super::super::workflow_cycle::STARTERS;
use super::{file_name, of_another, starts_one};
use crate::{github::Flow, rule::Report};

/// Looks at all that a workflow starts by name.
///
/// Source: GitHub, REST API, "Create a workflow dispatch event": the workflow must have the event `workflow_dispatch`.
pub(super) fn check(flows: &[Flow], flow: &Flow, report: &mut Report<'_>) {
    for (at, job) in flow.jobs() {
        for (step, facts) in flow.steps(at) {
            let by_script = facts.commands.iter().filter(|command| starts_one(command)).find_map(|command| {
                let rest = &command.words[3..];
                let other = rest.iter().any(|word| word == "-R" || word.starts_with("--repo"));
                let moved = step.folder.is_some() || job.folder.is_some() || step.script().contains("cd ");
                let name = rest.iter().find(|word| !word.starts_with('-'))?;
                (!other && !moved).then(|| (name.clone(), flow.script_line(step, command.start, "gh")))
            });
            let by_action = || {
                let (_, input) = STARTERS.iter().find(|(name, _)| step.is(name))?;
                let other = ["repo", "repository", "owner"].iter().any(|input| step.input(input).is_some());
                let name = step.input(input).filter(|_| !other)?;
                Some((name.literal()?.trim().to_owned(), name.span))
            };
            let Some((name, span)) = by_script.or_else(by_action).filter(|_| !of_another(flow, at)) else {
                continue;
            };
            tell(flows, flow, (&name, span), report);
        }
    }
}

fn tell(flows: &[Flow], flow: &Flow, (name, span): (&str, Span), report: &mut Report<'_>) {
    let named = |other: &&Flow| file_name(&other.path) == file_name(name) || other.run_name() == name;
    let Some(other) = flows.iter().find(named).filter(|other| !other.starts("workflow_dispatch")) else {
        return;
    };
    let place = other.model.events.first().map_or(other.job_span(0), |event| event.name.span);
    report
        .add(
            flow.file,
            span,
            format!("`{}` cannot be started like this: it has no `workflow_dispatch`", other.name()),
        )
        .also(other.file, place, "what starts it")
        .severity(Severity::High)
        .hint("add `workflow_dispatch` to its events")
        .done();
}

/// A script sends an event of a type for which no workflow waits.
pub(super) fn by_script(flow: &Flow, at: usize, types: &[&str], report: &mut Report<'_>) {
    for (step, _) in flow.steps(at) {
        let text = match step.is("actions/github-script") {
            true => step.input("script").map_or("", |text| &*text.text),
            false => step.script(),
        };
        let sends = text.contains("/dispatches") || text.contains("createDispatchEvent");
        let own =
            ["github.repository", "GITHUB_REPOSITORY", "{owner}/{repo}", ":owner/:repo", "context.repo"];
        if !sends || !own.iter().any(|word| text.contains(word)) || of_another(flow, at) {
            continue;
        }
        let Some((before, rest)) = text.split_once("event_type") else { continue };
        let rest = rest.trim_start_matches(['\\', '"', '\'', ':', '=', ' ']);
        let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(rest.len());
        let sent = &rest[..len];
        // One that is made up may be any.
        if sent.is_empty() || rest[len..].starts_with(['$', '{']) || types.contains(&sent) {
            continue;
        }
        let span = step
            .input("script")
            .filter(|_| step.run.is_none())
            .map_or_else(|| flow.script_line(step, before.len(), "event_type"), |text| text.span);
        report
            .add(flow.file, span, format!("no workflow waits for the event `{sent}`, so this starts none"))
            .severity(Severity::High)
            .hint(format!(
                "wait for `{sent}` in `on.repository_dispatch.types`, or send one of {}",
                types.join(", ")
            ))
            .done();
    }
}
