//! What a job reads of other jobs, and never gets.

use kapell_core::expr::Template;
use kapell_spec::{
    finding::Span,
    github::{Job, Word},
};
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, Github, carry, tools::Kind},
    rule::Report,
};

/// What is read of another job: by its name, with what it is, and where.
struct Read<'a> {
    job: &'a str,
    property: &'a str,
    output: Option<&'a str>,
    span: Span,
}

/// Looks at all that a job reads of others; one mistake with a job is made in all places alike.
pub(super) fn check(github: &Github, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let mut told: Vec<&str> = Vec::new();
    for read in reads(flow, job) {
        if told.iter().any(|known| known.eq_ignore_ascii_case(read.job)) {
            continue;
        }
        let needed = job.needs.iter().any(|need| need.text.eq_ignore_ascii_case(read.job));
        let Some(from) = flow.jobs().find(|(_, other)| other.id.text.eq_ignore_ascii_case(read.job)) else {
            continue;
        };
        let known = if needed {
            read.output.is_none_or(|output| gives(github, from.1, output))
        } else {
            read.property == "*"
        };
        if known || from.0 == at {
            continue;
        }
        told.push(read.job);
        add(flow, at, from, (&read, needed), report);
    }
}

/// Looks at the outputs of a called workflow: each is one of a job of its own.
pub(super) fn of_call(github: &Github, flow: &Flow, report: &mut Report<'_>) {
    let Some(event) = flow.model.event("workflow_call").filter(|_| flow.model.complete) else { return };
    for (name, value) in &event.outputs {
        let Ok(template) = Template::parse(&value.text) else { continue };
        let references =
            template.placeholders().iter().flat_map(|placeholder| placeholder.expr.root().references());
        let unknown = references.into_iter().find_map(|reference| {
            let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
            let ["jobs", id, "outputs", output] = path[..] else { return None };
            let job = flow.jobs().find(|(_, job)| job.id.text.eq_ignore_ascii_case(id));
            let there = job.is_some_and(|(_, job)| gives(github, job, output));
            (!there && id != "*").then(|| (id.to_owned(), output.to_owned()))
        });
        let Some((id, output)) = unknown else { continue };
        report
            .add(
                flow.file,
                value.span,
                format!("the output `{}` is always empty: `{id}` has no output `{output}`", name.text),
            )
            .severity(Severity::High)
            .hint(format!("add `{output}` to the `outputs` of `{id}`, or read one that it has"))
            .done();
    }
}

fn reads<'a>(flow: &Flow, job: &'a Job) -> Vec<Read<'a>> {
    let mut found = Vec::new();
    for expression in job.expressions.iter().filter(|expression| expression.says(Word::Needs)) {
        for reference in expression.expr.root().references() {
            let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
            let (job, property, output) = match path[..] {
                ["needs", job, "outputs", output, ..] => (job, "outputs", Some(output)),
                ["needs", job, property @ ("outputs" | "result")] => (job, property, None),
                _ => continue,
            };
            if job != "*" && output != Some("*") {
                found.push(Read { job, property, output, span: expression.span(&flow.text) });
            }
        }
    }
    found
}

/// Tells whether a job gives an output of a name, as far as that can be seen.
fn gives(github: &Github, job: &Job, output: &str) -> bool {
    let has = |outputs: &[(kapell_spec::github::Name, kapell_spec::github::Text)]| {
        outputs.iter().any(|(name, _)| name.text.eq_ignore_ascii_case(output))
    };
    if job.uses.is_none() {
        return has(&job.outputs) || job.keys.get("outputs").is_some_and(|_| job.outputs.is_empty());
    }
    let called = github.called(job);
    called.is_none_or(|called| called.model.event("workflow_call").is_none_or(|event| has(&event.outputs)))
}

/// Tells whether checks of a job never run for what is read: its condition asks for it.
fn never_checks(flow: &Flow, at: usize, read: &Read<'_>) -> bool {
    let asked = flow.model.jobs[at].condition.as_ref().is_some_and(|own| {
        own.span.start <= read.span.start && read.span.end <= own.span.end && own.text.contains("== 'true'")
    });
    asked && flow.facts[at].iter().any(|facts| facts.does(Kind::Test))
}

fn add(
    flow: &Flow,
    at: usize,
    (other, from): (usize, &Job),
    (read, needed): (&Read<'_>, bool),
    report: &mut Report<'_>,
) {
    let own = &flow.model.jobs[at].id.text;
    let id = &from.id.text;
    let what = match read.output {
        Some(output) => format!("needs.{}.outputs.{output}", read.job),
        None => format!("needs.{}.{}", read.job, read.property),
    };
    let (why, hint) = match (needed, from.uses.is_some(), read.output) {
        (true, false, Some(output)) => (
            format!("`{id}` declares no such output"),
            format!(
                "add `outputs:` with `{output}` to `{id}`: outputs of its steps are not those of the job"
            ),
        ),
        (true, ..) => (
            format!("the workflow that `{id}` calls declares no such output"),
            "add it to `on.workflow_call.outputs` there".to_owned(),
        ),
        (false, ..) => {
            let far = if flow.closures[at].contains(&other) { " directly" } else { "" };
            (format!("`{own}` does not need `{id}`{far}"), format!("add `{id}` to `needs` of `{own}`"))
        }
    };
    report
        .add(flow.file, read.span, format!("`{what}` is always empty: {why}"))
        .also(flow.file, from.id.span, "this job")
        .severity(if carry::changes(flow, at) || never_checks(flow, at, read) {
            Severity::High
        } else {
            Severity::Medium
        })
        .hint(hint)
        .done();
}
