//! Questions for the health of what was deployed that cannot be answered with no.

use std::borrow::Cow;

use kapell_spec::github::{Job, Step};
use kapell_view::audit::Severity;

use super::{short, ways::speaks};
use crate::{
    github::{
        Flow, StepFacts, own_scripts,
        script::{Command, Then, commands},
        tools::{self, Kind},
    },
    repository::Repository,
    rule::Report,
};

/// Words of steps that ask whether what was deployed is well.
const HEALTH: &[&str] = &["health", "smoke", "verify", "ready", "alive", "ping", "up and running"];

/// A question for the health of what was deployed that cannot be answered with no.
pub(super) fn check(
    repository: &Repository,
    (flow, at): (&Flow, usize),
    (step, facts): (&Step, &StepFacts),
    lenient: impl Fn() -> Option<String>,
    report: &mut Report<'_>,
) {
    let remote = step.input("script").filter(|_| facts.actions.iter().any(|name| name.contains("ssh")));
    let (script, inner, span) = match (&step.run, remote) {
        (Some(run), _) => (&*run.text, Cow::Borrowed(&facts.commands), run.span),
        (None, Some(text)) => (&*text.text, Cow::Owned(commands(&text.text)), text.span),
        _ => return,
    };
    let deploys = || {
        flow.facts[at].iter().any(|facts| facts.does(Kind::Deploy) || facts.does(Kind::Pages))
            || flow.closures[at].iter().any(|&up| flow.facts[up].iter().any(|facts| facts.does(Kind::Deploy)))
    };
    if !deploys() {
        return;
    }
    let name = step.name.as_ref().map_or("", |name| &*name.text);
    if !inner.iter().any(is_request) {
        return in_called(repository, &flow.model.jobs[at], (step, facts), name, report);
    }
    let Some((command, why)) = never_says_no(name, script, &inner) else { return };
    let line = script[..command.start.min(script.len())].matches('\n').count();
    let place = flow.line_in(span, line, &command.words[0]).unwrap_or(span);
    let hint = "ask with `curl --fail`, and let the step end with its status";
    let worst = if steers_way_back(flow, at, step) { Severity::High } else { Severity::Medium };
    let draft = report.add(flow.file, place, why).severity(worst).hint(hint);
    match lenient() {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Tells whether a later step takes back what was deployed when this one fails: it never comes then.
fn steers_way_back(flow: &Flow, at: usize, step: &Step) -> bool {
    let id = step.id.as_ref().map(|id| format!("steps.{}.", id.text));
    let waits = |text: &str| {
        text.contains("failure()")
            || id.as_ref().is_some_and(|id| text.contains(id.as_str()) && text.contains("'failure'"))
    };
    let back = |text: &str| {
        let lower = text.to_ascii_lowercase();
        ["rollback", "roll back", "roll-back", "revert", "undo", "restore", "previous"]
            .iter()
            .any(|word| lower.contains(word))
    };
    let later = flow.steps(at).filter(|(later, _)| later.span.start > step.span.start);
    later.filter(|(later, _)| later.condition.as_ref().is_some_and(|own| waits(&own.text))).any(
        |(later, facts)| {
            facts.mutation().is_some()
                || later.name.as_ref().is_some_and(|name| back(&name.text))
                || facts
                    .commands
                    .iter()
                    .any(|command| tools::goes_back(&tools::plain_text(command)) || back(&command.text()))
        },
    )
}

/// The same in a script of the repository that the step runs.
fn in_called(
    repository: &Repository,
    job: &Job,
    (step, facts): (&Step, &StepFacts),
    name: &str,
    report: &mut Report<'_>,
) {
    for script in own_scripts::of_step(&repository.files, job, step, facts) {
        let Some(file) = script.file else { continue };
        let source = &repository.files[file];
        let name = format!("{name} {}", source.name());
        let Some((command, why)) = never_says_no(&name, &script.text, &script.facts.commands) else {
            continue;
        };
        let place = source.line_span(source.line(command.start as u32));
        let hint = "ask with `curl --fail`, and let the script end with its status";
        report.add(file, place, why).hint(hint).done();
    }
}

/// Tells whether a command asks a server for something.
fn is_request(command: &Command) -> bool {
    matches!(command.program(), "curl" | "wget")
}

fn never_says_no<'a>(name: &str, script: &str, all: &'a [Command]) -> Option<(&'a Command, String)> {
    let fails = ["exit 1", "exit $", "false", "return 1", "exit 2", "::error"]
        .iter()
        .any(|word| script.contains(word));
    let name = name.to_ascii_lowercase();
    all.iter().enumerate().find_map(|(at, command)| {
        if !is_request(command) {
            return None;
        }
        let health = HEALTH.iter().any(|word| name.contains(word))
            || HEALTH[..2].iter().any(|word| command.text().to_ascii_lowercase().contains(word));
        // `for ...; do if curl ...; then exit 0; fi; sleep 1; done; echo "gave up"`
        let tries = command.depth > 0 && (command.asked || command.then == Then::And);
        let last = all.iter().rev().find(|other| !other.words.is_empty())?;
        let gives_up = tries && !fails && last.depth == 0 && speaks(last) && !std::ptr::eq(last, command);
        if gives_up && script.contains("sleep") {
            let text = format!("if `{}` is never answered, the step is green all the same", short(command));
            return Some((command, text));
        }
        let strict = command.words.iter().any(|word| {
            word.starts_with("--fail")
                || word.contains("http_code")
                || word == "-w"
                || word == "--write-out"
                || word.starts_with('-') && !word.starts_with("--") && word.contains('f')
        });
        // Whoever reads the answer may see from it what is wrong.
        let read = command.then == Then::Pipe
            || script.contains("$(curl")
            || command.words.iter().any(|word| word == "-o" || word == "-O");
        let sends =
            command.words.iter().any(|word| matches!(word.as_str(), "-X" | "-d" | "--data" | "--request"));
        let swallowed = command.then == Then::Or && all.get(at + 1).is_some_and(speaks);
        if health && !fails && swallowed {
            return Some((
                command,
                format!("`{}` asks for the health of it, and no answer is fine too", short(command)),
            ));
        }
        let loose =
            command.program() == "curl" && health && !strict && !read && !sends && command.then != Then::Or;
        loose.then(|| {
            (command, format!("`{}` takes an error page for an answer: it has no `--fail`", short(command)))
        })
    })
}
