//! Decisions and verdicts that nobody reads.

use kapell_spec::github::Step;
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, carry, script::Command, tools},
    rule::Report,
};

/// Words in names of outputs that decide something.
const DECISIONS: &[&str] = &[
    "should", "skip", "changed", "has_", "has-", "is_", "is-", "needs_", "run_", "run-", "allow", "proceed",
    "affected", "any_",
];

/// Whole words in such names.
const VERDICTS: &[&str] = &[
    "approved",
    "valid",
    "safe",
    "passed",
    "drift",
    "drifted",
    "destroy",
    "destroys",
    "destructive",
    "breaking",
    "ready",
    "enabled",
    "due",
    "ok",
    "released",
    "frozen",
    "freeze",
    "blocked",
    "locked",
    "paused",
    "eligible",
    "required",
    "necessary",
];

/// Outputs of actions by which they say that there is something to do, or not.
const SAYS_SO: &[(&str, &str)] = &[
    ("googleapis/release-please-action", "release_created"),
    ("googleapis/release-please-action", "releases_created"),
    ("google-github-actions/release-please-action", "release_created"),
    ("google-github-actions/release-please-action", "releases_created"),
    ("cycjimmy/semantic-release-action", "new_release_published"),
    ("changesets/action", "hasChangesets"),
    ("changesets/action", "published"),
    ("tj-actions/changed-files", "any_changed"),
    ("tj-actions/changed-files", "any_modified"),
    ("fkirc/skip-duplicate-actions", "should_skip"),
    ("technote-space/get-diff-action", "count"),
];

/// Tells whether a script sets an output to `true` in one case and to `false` in another: a decision, whatever its name.
fn either_way(script: &str, output: &str) -> bool {
    ["true", "false"].iter().all(|value| script.contains(&format!("{output}={value}")))
}

/// Tells whether a step decides by one of its outputs whether something is to be done.
fn decided_by(step: &Step, output: &str) -> bool {
    let says = |(action, name): &(&str, &str)| step.is(action) && name.eq_ignore_ascii_case(output);
    SAYS_SO.iter().any(says) || either_way(step.script(), output)
}

/// Looks at the outputs of a job and of its steps.
pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    unread_decision(flow, at, report);
    unread_in_job(flow, at, report);
    unread_verdict(flow, at, report);
}

/// A job gives a decision to those that need it, and none of them reads it.
fn unread_decision(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let dependents: Vec<usize> = flow
        .jobs()
        .filter(|(other, _)| flow.closures[*other].contains(&at))
        .map(|(other, _)| other)
        .collect();
    let decides = |name: &str| {
        let name = name.to_ascii_lowercase();
        DECISIONS.iter().any(|word| name.contains(word))
            || name.split(['-', '_']).any(|part| VERDICTS.contains(&part))
    };
    let by_step = |value: &str| {
        let Some((id, output)) =
            value.split_once("steps.").and_then(|(_, rest)| rest.split_once(".outputs."))
        else {
            return false;
        };
        let output = output.trim_end_matches(['}', ' ']);
        job.steps
            .iter()
            .any(|step| step.id.as_ref().is_some_and(|own| *own.text == *id) && decided_by(step, output))
    };
    if dependents.is_empty()
        || job.outputs.is_empty()
        || !job.outputs.iter().all(|(name, value)| decides(&name.text) || by_step(&value.text))
    {
        return;
    }
    // A called workflow may give it on.
    let given = flow.text.contains(&format!("jobs.{}.outputs", job.id.text));
    if given || dependents.iter().any(|&other| carry::reads(&flow.model.jobs[other], &job.id.text)) {
        return;
    }
    let (name, _) = &job.outputs[0];
    let goes_out = dependents.iter().any(|&other| carry::delivers(flow, other));
    report
        .add(
            flow.file,
            name.span,
            format!("`{}` decides `{}`, and no job that waits for it reads that", job.id.text, name.text),
        )
        .severity(if goes_out { Severity::High } else { Severity::Medium })
        .also(flow.file, flow.job_span(dependents[0]), "runs in any case")
        .hint(format!("add `if: needs.{}.outputs.{} == 'true'`, or drop the job", job.id.text, name.text))
        .done();
}

/// A step decides whether the job is to deliver, and no later step asks for that.
fn unread_in_job(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    for (index, (step, facts)) in flow.steps(at).enumerate() {
        let Some(id) = step.id.as_ref().filter(|_| step.run.is_some() && facts.mutation().is_none()) else {
            continue;
        };
        // Hardly a script sets an output to `true` in one case and to `false` in another.
        if !["GITHUB_OUTPUT", "=true", "=false"].iter().all(|word| step.script().contains(word)) {
            continue;
        }
        // Whatever is read of it, in whatever way, may be the decision.
        let read = [format!("steps.{}.", id.text), format!("steps['{}']", id.text), "(steps)".to_owned()];
        if read.iter().any(|word| text.contains(word)) || text.contains("steps.*") {
            continue;
        }
        let named = |output: &&&str| !output.is_empty() && either_way(step.script(), output);
        let words: Vec<&str> =
            step.script().split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').collect();
        let Some(output) = words.iter().find(named) else { continue };
        let later = flow
            .steps(at)
            .skip(index + 1)
            .find(|(_, facts)| facts.mutation().is_some_and(|done| done.work.kind.delivers()));
        // The delivery may ask for the same by itself.
        let Some((delivery, _)) = later.filter(|(step, _)| step.condition.is_none()) else { continue };
        report
            .add(
                flow.file,
                id.span,
                format!("step `{}` decides `{output}`, and no step of `{}` reads that", id.text, job.id.text),
            )
            .severity(Severity::High)
            .also(flow.file, delivery.name_span(), "delivered in any case")
            .hint(format!("add `if: steps.{}.outputs.{output} == 'true'`", id.text))
            .done();
        return;
    }
}

/// A check that is asked whether it fails, and its answer is an output that nothing reads: its job ends well whatever it finds.
fn unread_verdict(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    if !job.steps.iter().any(|step| step.id.is_some()) {
        return;
    }
    // Those who wait for it may be told of by the outputs; a called workflow may give them on.
    let waited = flow.jobs().any(|(other, _)| flow.closures[other].contains(&at));
    if waited || flow.text.contains(&format!("jobs.{}.outputs", job.id.text)) {
        return;
    }
    for (index, (step, facts)) in flow.steps(at).enumerate() {
        let Some(id) = step.id.as_ref().filter(|_| is_plain(step)) else { continue };
        let asked = |command: &&Command| {
            let known = facts.works.iter().any(|done| {
                let own = done.command.is_some_and(|at| std::ptr::eq(&facts.commands[at], *command));
                own && done.work.kind.checks()
            });
            // A script of the repository that nothing comes behind is what the job is for.
            let last = tools::is_own_script(command) && index + 1 == job.steps.len();
            command.asked && command.loops == 0 && (known || last)
        };
        let Some(asked) = facts.commands.iter().find(asked) else { continue };
        let Some(output) = written(step.script()).filter(|_| !is_read(flow, at, &id.text)) else { continue };
        let place = job.outputs.iter().find(|(_, value)| value.text.contains(&format!("steps.{}.", id.text)));
        let tests = facts.does(tools::Kind::Test);
        report
            .add(
                flow.file,
                place.map_or(id.span, |(name, _)| name.span),
                format!(
                    "`{}` ends well whatever `{}` finds: that goes to `{output}`, which nothing reads",
                    job.id.text,
                    asked.text()
                ),
            )
            .severity(if tests { Severity::High } else { Severity::Medium })
            .also(flow.file, flow.script_line(step, asked.start, ""), "asked here")
            .hint("let the step fail with it, or let a job that needs this one ask for the output")
            .done();
        return;
    }
}

/// Tells whether a script does nothing with what it decides but write it to an output.
fn is_plain(step: &Step) -> bool {
    let script = step.script();
    const SAYS: &[&str] = &["exit", "return", "::", "SUMMARY", "GITHUB_ENV", "curl", "gh ", "mail", "kill"];
    step.run.is_some() && script.contains("GITHUB_OUTPUT") && !SAYS.iter().any(|word| script.contains(word))
}

/// Finds the output that a script sets to `true` in one case and to `false` in another.
fn written(script: &str) -> Option<&str> {
    let mut words = script.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    words.find(|word| !word.is_empty() && either_way(script, word))
}

/// Tells whether anything in a job but its own outputs reads what a step gives, in whatever way.
fn is_read(flow: &Flow, at: usize, id: &str) -> bool {
    let job = &flow.model.jobs[at];
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    let own = format!("steps.{id}.");
    let given: usize = job.outputs.iter().map(|(_, value)| value.text.matches(&own).count()).sum();
    let anyhow = [format!("steps['{id}']"), "(steps)".to_owned(), "steps.*".to_owned()];
    text.matches(&own).count() > given || anyhow.iter().any(|word| text.contains(word))
}
