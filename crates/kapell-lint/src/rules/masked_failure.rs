//! A failing check leaves its job green.

mod called; // scripts of the repository, and recipes of make
mod caught; // what a script of JavaScript only prints
mod forgotten; // what is kept in a variable that nothing reads
mod health; // of what was deployed
mod hooks; // that deploy when they are asked
mod lists; // lists with `&&` above other lines
mod noted; // what a script notes of its checks, and only shows
mod plain; // `|| true`, a pipe, `set +e`
mod printed; // an outcome that is only printed
mod scanners; // actions that are told never to fail
mod services; // tests that run as a service of compose
mod shells; // shells within the shell
mod unasked; // what a script of Python starts
mod undelivered; // deliveries in a script without `set -e`
mod undone; // what fails is looked at or taken back, and no more
mod unreturned; // what `main` of a script of Python returns
mod ways; // the less plain ones
mod whole; // jobs
mod words; // of names and comments

use std::borrow::Cow;

use kapell_spec::{
    finding::Span,
    github::{Job, Step, Text},
};
use kapell_view::audit::{Confidence, Severity};

pub(super) use self::scanners::SOFT;
use self::words::{ASIDE, LENIENT, LENIENT_AS_A_WHOLE, MATTERS, is_lenient};
use crate::github::{
    Flow, StepFacts, comments,
    lenience::{Lenience, lenience},
    script::Command,
    tools::{self, Kind},
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule, names},
};

/// See `docs/rules/masked-failure.md`.
pub(super) static RULE: Rule = Rule {
    name: "masked-failure",
    summary: "A failing check leaves its job green",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/masked-failure.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut called = called::Called::new(repository);
    let mut used = repository.github.flows.iter().flat_map(|flow| flow.facts.iter().flatten());
    let reported =
        used.any(|facts| facts.actions.iter().any(|name| REPORTERS.iter().any(|part| name.contains(part))));
    for flow in repository.asked_with_steps() {
        let header: String = flow
            .text
            .lines()
            .take_while(|line| line.trim().is_empty() || line.starts_with('#') || line.starts_with("name:"))
            .collect::<Vec<_>>()
            .join(" ")
            .to_ascii_lowercase();
        for (at, job) in flow.jobs() {
            whole::check(flow, at, &header, report);
            for (index, (step, facts)) in flow.steps(at).enumerate() {
                let lenient = || explained(flow, step, facts, &header);
                let lenient_as = |text: Option<&Text>| text.and_then(|text| lenience(flow, text));
                if lenient_as(step.continue_on_error.as_ref()) == Some(Lenience::All) {
                    // The whole job may fail: that is told once.
                    if lenient_as(job.continue_on_error.as_ref()) == Some(Lenience::All) {
                        continue;
                    }
                    passes(flow, job, index, facts, lenient, report);
                } else {
                    let script = Script { flow, job, step, facts, reported };
                    in_script(script, lenient, report);
                    written(script, lenient, report);
                    called.check(script, lenient, report);
                    scanners::check(flow, at, step, lenient, report);
                    ways::remote(flow, step, facts, lenient, report);
                    shells::in_action(flow, step, facts, lenient, report);
                    health::check(repository, (flow, at), (step, facts), lenient, report);
                }
            }
        }
    }
}

/// Tells of a script of JavaScript that a step writes and then runs, and that ends well whatever became of it.
fn written(script: Script<'_>, lenient: impl Fn() -> Option<String>, report: &mut Report<'_>) {
    let text = script.step.script();
    if !text.contains("<<") {
        return;
    }
    let Some((at, lost)) = caught::lost(text) else { return };
    let runs = |command: &Command| {
        command.start > at && !command.asked && caught::RUNNERS.contains(&command.program())
    };
    if script.commands().iter().any(runs) {
        lost.tell(script.flow, script.flow.script_line(script.step, at, ""), lenient, report);
    }
}

/// Returns by what a step says that its failure is meant to pass: its name, a comment, the head of the workflow, or what it prints.
fn explained(flow: &Flow, step: &Step, facts: &StepFacts, header: &str) -> Option<String> {
    let lines = flow.text.get(step.span.range()).map_or(1, |text| text.lines().count());
    let name = step.name.as_ref().map_or("", |name| &name.text);
    let lenient = is_lenient;
    let in_name = lenient(name).then(|| name.to_owned());
    let in_header = LENIENT_AS_A_WHOLE
        .iter()
        .find(|word| header.contains(**word))
        .map(|word| format!("the header says `{word}`"));
    let script = comments::at(flow, step.span, lines) + &comments_of(step.script());
    let in_comment = lenient(&script).then_some(script);
    in_name.or(in_comment).or(in_header).or_else(|| noted::said_to_pass(facts))
}

fn comments_of(script: &str) -> String {
    script.lines().filter_map(|line| line.trim().strip_prefix('#')).collect::<Vec<_>>().join(" ")
}

/// `continue-on-error` on a check whose outcome nobody reads.
fn passes(
    flow: &Flow,
    job: &Job,
    index: usize,
    facts: &StepFacts,
    lenient: impl Fn() -> Option<String>,
    report: &mut Report<'_>,
) {
    let step = &job.steps[index];
    if half_delivered(flow, job, index, facts, &lenient, report) {
        return;
    }
    let name = step.name.as_ref().map_or_else(
        || facts.works.first().map_or(String::new(), |done| done.text.clone()),
        |name| name.text.to_string(),
    );
    let lower = name.to_ascii_lowercase();
    let checks = facts.works.iter().any(|done| done.work.kind.checks());
    let matters = checks || MATTERS.iter().any(|word| lower.contains(word));
    let aside = ASIDE.iter().any(|word| lower.contains(word))
        || facts
            .works
            .iter()
            .all(|done| matches!(done.work.kind, Kind::Report | Kind::Upload | Kind::Cache | Kind::Download));
    // A later step that fails the job by an output of this one makes it a check.
    let gates = step.id.as_ref().is_some_and(|id| {
        let output = format!("steps.{}.outputs.", id.text);
        job.steps[index + 1..].iter().any(|later| {
            later.condition.as_ref().is_some_and(|condition| condition.text.contains(&output))
                && later.script().contains("exit 1")
        })
    });
    if !(matters || gates) || aside {
        return;
    }
    let id = step.id.as_ref().map(|id| id.text.to_string());
    let reads = |what: &str| {
        id.as_ref().is_some_and(|id| {
            let later = flow.text.get(step.span.end as usize..job.span.end as usize).unwrap_or_default();
            later.contains(&format!("steps.{id}.{what}"))
        }) || job
            .outputs
            .iter()
            .any(|(_, text)| id.as_ref().is_some_and(|id| text.text.contains(&format!("steps.{id}.{what}"))))
    };
    let judged = reads("outcome") || reads("conclusion");
    let printed = judged && facts.does(Kind::Test) && printed::only(flow, job, index);
    if judged && !printed {
        return;
    }
    let span = step.keys.get("continue-on-error").map_or(step.span, |key| key.span.to(key.value));
    let by_output = reads("outputs");
    let draft = if by_output {
        report
            .add(flow.file, span, format!("if step `{name}` fails before it sets its outputs, the steps that ask for them take that for well"))
            .severity(Severity::Medium)
            .hint(format!("ask for `steps.{}.outcome` too", id.unwrap_or_default()))
    } else {
        let high = facts.works.iter().any(|done| matches!(done.work.kind, Kind::Test | Kind::Build | Kind::Audit))
                || lower.contains("security")
                || lower.contains("notariz")
                || lower.contains("sign")
                // What stands for all others.
                || step.is("re-actors/alls-green");
        let untold = untold(flow, job, index);
        let message = match &untold {
            _ if printed => {
                format!("the job stays green though step `{name}` fails: its outcome is only printed")
            }
            None => format!("step `{name}` may fail without anybody being told"),
            Some((others, told)) => format!(
                "on {} step `{name}` may fail without anybody being told; only {told} gets a comment",
                names(others.iter().copied())
            ),
        };
        report
            .add(flow.file, span, message)
            .severity(if high && untold.is_none() { Severity::High } else { Severity::Medium })
            .hint("drop `continue-on-error`, or let a later step look at its `outcome`")
    };
    match lenient() {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// A step that publishes may fail, and what is told to the world after it goes out all the same.
fn half_delivered(
    flow: &Flow,
    job: &Job,
    index: usize,
    facts: &StepFacts,
    lenient: &impl Fn() -> Option<String>,
    report: &mut Report<'_>,
) -> bool {
    let step = &job.steps[index];
    let publishes = |facts: &StepFacts| {
        facts.works.iter().any(|done| matches!(done.work.kind, Kind::Publish | Kind::Release))
    };
    let Some(at) = flow.jobs().position(|(_, other)| std::ptr::eq(other, job)) else { return false };
    let mut later = flow.steps(at).skip(index + 1);
    let goes_on = later.find(|(other, facts)| {
        other.condition.is_none()
            && !other.continue_on_error.as_ref().is_some_and(|text| text.is("true"))
            && facts.does(Kind::Release)
    });
    let Some((next, _)) = goes_on.filter(|_| publishes(facts) && !facts.does(Kind::Report)) else {
        return false;
    };
    // A look at what became of it is a way to go on.
    let asked = step.id.as_ref().is_some_and(|id| flow.text.contains(&format!("steps.{}.", id.text)));
    if asked {
        return false;
    }
    let name = step.name.as_ref().map_or("a step that publishes", |name| &name.text);
    let span = step.keys.get("continue-on-error").map_or(step.span, |key| key.span.to(key.value));
    let draft = report
        .add(flow.file, span, format!("`{name}` may fail, and the release is made all the same"))
        .severity(Severity::High)
        .also(flow.file, next.name_span(), "goes out without it")
        .hint("drop `continue-on-error`: a step that finds its version published can say so by itself");
    match lenient() {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
    true
}

/// Returns the events on which nobody is told of a failure, and the one for which a later step comments, whatever happened.
fn untold<'a>(flow: &'a Flow, job: &Job, index: usize) -> Option<(Vec<&'a str>, &'static str)> {
    const TOLD: &[(&str, &str)] =
        &[("pull_request", "a pull request"), ("issues", "an issue"), ("issue_comment", "an issue")];
    let comments = |step: &&Step| {
        let text = flow.text.get(step.span.range()).unwrap_or_default();
        text.contains("createComment") || text.contains("pr comment") || text.contains("issue comment")
    };
    let conditions =
        job.steps[index + 1..].iter().filter(comments).filter_map(|step| step.condition.as_ref());
    let mut always = conditions
        .filter(|condition| condition.text.contains("always()") || condition.text.contains("cancelled()"));
    let (event, told) = always.find_map(|condition| {
        let names = |event: &str| {
            ['\'', '"']
                .iter()
                .any(|quote| condition.text.contains(&format!("event_name == {quote}{event}{quote}")))
        };
        TOLD.iter().copied().find(|(event, _)| names(event))
    })?;
    let events = flow.model.events.iter().map(|event| &*event.name.text);
    let others: Vec<&str> = events.filter(|name| *name != event).collect();
    (!others.is_empty()).then_some((others, told))
}

/// A step's own script, and where it stands.
#[derive(Clone, Copy)]
struct Script<'a> {
    flow: &'a Flow,
    job: &'a Job,
    step: &'a Step,
    facts: &'a StepFacts,
    /// Whether some workflow here publishes reports of tests, and so judges them.
    reported: bool,
}

/// Parts of names of actions that publish reports of tests.
const REPORTERS: &[&str] =
    &["test-reporter", "junit-report", "publish-unit-test", "test-reporting", "test-summary"];

impl<'a> Script<'a> {
    fn commands(&self) -> &'a [Command] {
        &self.facts.commands
    }

    /// Returns the shell that is named for it; there is a default.
    fn shell(&self) -> Option<&'a Text> {
        self.step.shell.as_ref().or(self.job.shell.as_ref()).or(self.flow.model.shell.as_ref())
    }
}

/// How a failure is lost, and what keeps it.
struct Lost {
    message: String,
    severity: Severity,
    hint: Cow<'static, str>,
}

impl Lost {
    fn new(severity: Severity, message: String, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { message, severity, hint: hint.into() }
    }

    /// Reports it, lower where somebody has explained it.
    fn tell(self, flow: &Flow, span: Span, lenient: impl Fn() -> Option<String>, report: &mut Report<'_>) {
        let draft = report.add(flow.file, span, self.message).severity(self.severity).hint(self.hint);
        match lenient() {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
    }
}

/// Returns a command for people: its first words where it is long.
fn short(command: &Command) -> String {
    let text = command.text();
    match text.char_indices().nth(60) {
        None => text,
        Some((end, _)) => {
            let cut = &text[..end];
            format!("{} …", cut.rsplit_once(' ').map_or(cut, |(whole, _)| whole))
        }
    }
}

fn in_script(script: Script<'_>, lenient: impl Fn() -> Option<String>, report: &mut Report<'_>) {
    let Script { flow, step, .. } = script;
    if step.run.is_none() {
        return;
    }
    let mut all = script.commands().iter().enumerate();
    let found = all.find_map(|(at, command)| {
        Some((command, plain::lost(script, at).or_else(|| ways::lost(script, at))?))
    });
    let by_command = found.map(|(command, lost)| (command.start, &*command.words[0], lost));
    let noted = || {
        let (start, lost) =
            noted::lost_in(step.script(), script.facts).filter(|_| !noted::only_tells(step))?;
        Some((start, "", lost))
    };
    let Some((start, word, lost)) = by_command.or_else(noted) else { return };
    let span = flow.script_line(step, start, word);
    let draft = report.add(flow.file, span, lost.message).severity(lost.severity).hint(lost.hint);
    let draft = if lost.severity == Severity::High { draft.confidence(Confidence::High) } else { draft };
    match lenient() {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Tells whether a target of make is a check, by its name. What the others make, the next command often does without.
fn checks(target: &str) -> bool {
    target
        .split(['-', '_', '/', ':'])
        .any(|part| matches!(part, "test" | "tests" | "check" | "lint" | "verify" | "linkcheck" | "e2e"))
}

/// Tells whether a command of a step's own script finds faults, and fails if it does.
fn is_check(facts: &StepFacts, at: usize) -> bool {
    let command = &facts.commands[at];
    let works = facts.works.iter().filter(|done| done.command == Some(at));
    works.into_iter().any(|done| matches!(done.work.kind, Kind::Test | Kind::Lint | Kind::Build))
        && !command.words.iter().any(|word| {
            matches!(
                word.as_str(),
                "--exit-zero"
                    | "--fix"
                    | "fix"
                    | "--help"
                    | "--fixtures"
                    | "--collect-only"
                    | "--markers"
                    | "--list"
            )
        })
        && !["cargo metadata", "npm pack", "uv lock", "cmake", "uv build"]
            .iter()
            .any(|start| command.begins(start))
        && (command.program() != "make" || tools::plain_text(command).split(' ').nth(1).is_some_and(checks))
}
