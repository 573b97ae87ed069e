//! A failing check leaves its job green.

mod called; // scripts of the repository, and recipes of make
mod forgotten; // what is kept in a variable that nothing reads
mod health; // of what was deployed
mod hooks; // that deploy when they are asked
mod lists; // lists with `&&` above other lines
mod plain; // `|| true`, a pipe, `set +e`
mod printed; // an outcome that is only printed
mod services; // tests that run as a service of compose
mod shells; // shells within the shell
mod undelivered; // deliveries in a script without `set -e`
mod undone; // what fails is looked at or taken back, and no more
mod unreturned; // what `main` of a script of Python returns
mod ways; // the less plain ones

use std::{borrow::Cow, sync::LazyLock};

use kapell_spec::{
    finding::Span,
    github::{Job, Step, Text},
    words::Words,
};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{
    Flow, StepFacts, intent,
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

/// Words that say that a failure is meant to pass.
const LENIENT: &[&str] = &[
    "informational",
    "non-blocking",
    "nonblocking",
    "not block",
    "never block",
    "optional",
    "best effort",
    "best-effort",
    "allowed to fail",
    "allow fail",
    "may fail",
    "can fail",
    "could fail",
    "will fail",
    "likely to fail",
    "might fail",
    "fails on",
    "fails for",
    "is down",
    "not supported",
    "expected",
    "experimental",
    "advisory",
    "report only",
    "reports only",
    "flaky",
    "known",
    "ignore",
    "tolerate",
    "don't fail",
    "do not fail",
    "soft-fail",
    "soft fail",
    "softly",
    "nightly",
    "canary",
    "todo",
    "temporar",
    "unstable",
    "not fatal",
    "non-fatal",
    "later step",
    "below",
];

/// Tells whether a text says that a failure is meant to pass; `unknown` says nothing of what is known.
fn is_lenient(text: &str) -> bool {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(LENIENT));
    let begins = || {
        let lower = text.to_ascii_lowercase();
        LENIENT.iter().any(|word| {
            lower.match_indices(word).any(|(at, _)| !lower[..at].ends_with(char::is_alphanumeric))
        })
    };
    WORDS.is_in(text) && begins()
}

/// Words in the names of jobs that try what others have not released yet.
const AHEAD: &[&str] = &["edge", "next", "rc", "snapshot", "tip", "master", "unreleased"];

/// Words in the names of steps whose failure matters.
const MATTERS: &[&str] = &[
    "test",
    "lint",
    "audit",
    "verify",
    "validat",
    "check",
    "notariz",
    "sign",
    "scan",
    "build",
    "compile",
    "typecheck",
    "clippy",
    "security",
    "smoke",
    "e2e",
    "alls-green",
];

/// Words in the names of steps whose failure does not matter.
const ASIDE: &[&str] = &[
    "upload",
    "comment",
    "notif",
    "report",
    "coverage",
    "sarif",
    "summary",
    "clean",
    "cache",
    "publish result",
    "annotat",
    "label",
    "post ",
    "artifact",
    "codecov",
    "slack",
    "discord",
    "stale",
    "delete",
    "prune",
    "metrics",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut called = called::Called::new(repository);
    let mut used = repository.github.flows.iter().flat_map(|flow| flow.facts.iter().flatten());
    let reported =
        used.any(|facts| facts.actions.iter().any(|name| REPORTERS.iter().any(|part| name.contains(part))));
    for flow in repository.github.with_steps() {
        let header: String = flow
            .text
            .lines()
            .take_while(|line| line.trim().is_empty() || line.starts_with('#') || line.starts_with("name:"))
            .collect::<Vec<_>>()
            .join(" ")
            .to_ascii_lowercase();
        for (at, job) in flow.jobs() {
            whole(flow, at, &header, report);
            for (index, (step, facts)) in flow.steps(at).enumerate() {
                let lenient = || explained(flow, step, &header);
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
                    called.check(script, lenient, report);
                    told_to_pass(flow, at, step, lenient, report);
                    ways::remote(flow, step, facts, lenient, report);
                    shells::in_action(flow, step, facts, lenient, report);
                    health::check(repository, (flow, at), (step, facts), lenient, report);
                }
            }
        }
    }
}

/// A job of checks that may fail as a whole, and nobody asks for its result.
fn whole(flow: &Flow, at: usize, header: &str, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some(lenient) = job.continue_on_error.as_ref() else { return };
    match lenience(flow, lenient) {
        Some(Lenience::All) => {}
        Some(Lenience::AllBut(unsure)) => return wrong_way_round(flow, at, lenient, &unsure, report),
        None => return,
    }
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let does = |kinds: &[Kind]| flow.facts[at].iter().any(|facts| kinds.iter().any(|&kind| facts.does(kind)));
    let tests = does(&[Kind::Test, Kind::Audit, Kind::Build]);
    let only_reads = does(&[Kind::Lint]) && !does(&[Kind::Report]);
    // What waits for it is told of as a gate.
    let awaited = flow.jobs().any(|(other, _)| flow.closures[other].contains(&at));
    let meant = LENIENT.iter().chain(ASIDE).any(|word| name.contains(word))
        || ["bench", "perf", "doc", "beta", "pre-release", "prerelease", "upstream", "future", "head"]
            .iter()
            .any(|word| name.contains(word))
        || name.split(|letter: char| !letter.is_alphanumeric()).any(|word| AHEAD.contains(&word));
    if !(tests || only_reads) || awaited || meant {
        return;
    }
    let span = job.keys.get("continue-on-error").map_or(lenient.span, |key| key.span.to(key.value));
    let comment = intent::comments(flow, job.span, 3) + &intent::comments(flow, span, 1);
    // A comment that lets one cell of the matrix fail says nothing of the others.
    let of_one = names_a_cell(flow, job, &comment);
    let said = is_lenient(&comment).then_some(comment);
    let said = said.filter(|_| !of_one);
    let does_tests = |other: usize| tests_of(flow, other).next().is_some();
    let ahead = LENIENT.iter().any(|word| flow.path.contains(word));
    let only = !ahead && does_tests(at) && tested_nowhere_else(flow, at);
    let severity = match tests {
        true if only => Severity::High,
        true => Severity::Medium,
        false => Severity::Low,
    };
    let draft = report
        .add(flow.file, span, format!("`{}` may fail and the run stays green", job.id.text))
        .severity(severity)
        .hint("drop `continue-on-error`, or say in a comment why a failure does not matter");
    let header = LENIENT[..7].iter().find(|word| header.contains(**word));
    match said.or_else(|| header.map(|word| format!("the header says `{word}`"))) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Returns the commands and actions by which a job tests.
fn tests_of(flow: &Flow, at: usize) -> impl Iterator<Item = &str> {
    let works = flow.facts[at].iter().flat_map(|facts| &facts.works);
    works.filter(|done| done.work.kind == Kind::Test).map(|done| done.text.as_str())
}

/// Tells whether no other job of the workflow runs a program by which a job tests: that others test something else does not
/// make up for it.
fn tested_nowhere_else(flow: &Flow, at: usize) -> bool {
    // What begins with the same two words is the same: options may only choose among the tests.
    let program = |text: &str| text.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
    let own: Vec<Vec<String>> = tests_of(flow, at).map(program).collect();
    flow.jobs()
        .filter(|(other, _)| *other != at)
        .all(|(other, _)| tests_of(flow, other).all(|text| !own.contains(&program(text))))
}

/// All cells of a matrix of checks may fail, but for the one that tries what nobody relies on.
fn wrong_way_round(flow: &Flow, at: usize, lenient: &Text, unsure: &str, report: &mut Report<'_>) {
    let checks = flow.facts[at].iter().flat_map(|facts| &facts.works).any(|done| done.work.kind.checks());
    if !checks {
        return;
    }
    let job = &flow.model.jobs[at];
    let span = job.keys.get("continue-on-error").map_or(lenient.span, |key| key.span.to(key.value));
    report
        .add(flow.file, span, format!("every cell of `{}` may fail but `{unsure}`", job.id.text))
        .hint("turn the condition round: only what is not relied on may fail")
        .done();
}

/// Tells whether a comment names one value of an axis that has others.
fn names_a_cell(flow: &Flow, job: &Job, comment: &str) -> bool {
    let axes = job.matrix.iter().flat_map(|matrix| &matrix.axes);
    axes.filter_map(|axis| axis.values.as_ref()).any(|values| {
        let named = values.iter().filter(|(_, span)| {
            let text = flow.text.get(span.range()).unwrap_or_default();
            let value = text.trim_matches(['\'', '"']);
            value.len() > 1 && comment.split([' ', ',', ':']).any(|word| word.trim_matches('`') == value)
        });
        let named = named.count();
        named > 0 && named < values.len()
    })
}

fn explained(flow: &Flow, step: &Step, header: &str) -> Option<String> {
    let lines = flow.text.get(step.span.range()).map_or(1, |text| text.lines().count());
    let name = step.name.as_ref().map_or("", |name| &name.text);
    let lenient = is_lenient;
    let in_name = lenient(name).then(|| name.to_owned());
    let in_header = LENIENT[..7]
        .iter()
        .find(|word| header.contains(**word))
        .map(|word| format!("the header says `{word}`"));
    let script = intent::comments(flow, step.span, lines) + &comments_of(step.script());
    let in_comment = lenient(&script).then_some(script);
    in_name.or(in_comment).or(in_header)
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
    let Some((command, lost)) = found else { return };
    let span = flow.script_line(step, command.start, &command.words[0]);
    let draft = report.add(flow.file, span, lost.message).severity(lost.severity).hint(lost.hint);
    let draft = if lost.severity == Severity::High { draft.confidence(Confidence::High) } else { draft };
    match lenient() {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Inputs that tell a scanner never to fail, and the value that does.
pub(super) const SOFT: &[(&str, &str)] = &[
    ("exit-code", "0"),
    ("soft_fail", "true"),
    ("soft-fail", "true"),
    ("no-fail", "true"),
    ("fail-build", "false"),
    ("fail_action", "false"),
    ("fail_on_findings", "false"),
];

/// Inputs of actions that run what they are given, and the value that lets a failure pass.
const SOFT_RUNS: &[(&str, &str)] = &[
    ("continue_on_error", "true"),
    ("continue-on-error", "true"),
    ("allow-failure", "true"),
    ("allow_failure", "true"),
];

/// A scanner that is told never to fail, and whose findings nobody keeps. One that something waits for is told of as a gate.
fn told_to_pass(
    flow: &Flow,
    at: usize,
    step: &Step,
    lenient: impl Fn() -> Option<String>,
    report: &mut Report<'_>,
) {
    if step.with.is_empty() || step.action().is_none() {
        return;
    }
    let given = |rows: &[(&str, &str)]| {
        rows.iter().find_map(|(name, value)| step.input(name).filter(|text| text.is(value)))
    };
    let does = |kinds: &[Kind]| {
        let mut steps = flow.steps(at).filter(|(other, _)| std::ptr::eq(*other, step));
        steps.any(|(_, facts)| kinds.iter().any(|&kind| facts.does(kind)))
    };
    let tests = does(&[Kind::Test, Kind::Build]);
    let runs = given(SOFT_RUNS).filter(|_| tests || does(&[Kind::Lint, Kind::Audit]));
    // A scanner that only prints by default says nothing new with the same in words.
    let scans = given(SOFT).filter(|_| !step.is("aquasecurity/trivy-action"));
    let soft = runs.or(scans).or_else(|| by_argument(step));
    let Some(soft) = soft else { return };
    let job = &flow.model.jobs[at];
    let kept = ["sarif", "upload-artifact", "outcome", "steps.", "comment"]
        .iter()
        .any(|word| flow.text.get(job.span.range()).is_some_and(|text| text.contains(word)));
    let waited = flow
        .jobs()
        .any(|(other, _)| flow.closures[other].contains(&at) && crate::github::carry::changes(flow, other));
    if kept || waited {
        return;
    }
    let name =
        step.uses.as_ref().map_or("the scanner", |(text, _)| text.text.split('@').next().unwrap_or_default());
    let draft = report
        .add(flow.file, soft.span, format!("`{name}` is told never to fail, and nothing keeps what it finds"))
        .severity(if tests { Severity::High } else { Severity::Medium })
        .hint("let it fail, with a baseline of what is known, or keep its findings as SARIF");
    match lenient() {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Returns the arguments of an action that checks, if one of them tells it never to fail.
fn by_argument(step: &Step) -> Option<&Text> {
    let text = ["args", "options", "flags", "arguments"].iter().find_map(|name| step.input(name))?;
    let soft = text.text.split_whitespace().any(ways::never_fails);
    let action = step.action().filter(|_| soft)?.action()?;
    tools::action(&action, step).kind.checks().then_some(text)
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
