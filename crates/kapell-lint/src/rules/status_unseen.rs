//! A script asks for a failure that has already ended it.

use kapell_spec::{
    finding::Span,
    github::{Job, Step},
};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{
    Flow, StepFacts, comments,
    own_scripts::{self, OwnScript},
    script::{Command, Then},
    tools::Kind,
};
use crate::{
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/status-unseen.md`.
pub(super) static RULE: Rule = Rule {
    name: "status-unseen",
    summary: "A script asks for a failure that has already ended it",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/status-unseen.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut told: Vec<FileId> = Vec::new();
    for flow in repository.asked_with_steps() {
        for (at, job) in flow.jobs() {
            for (step, facts) in flow.steps(at) {
                if ends_at_failures(flow, job, step, facts) {
                    in_script(flow, step, facts, report);
                }
                for script in own_scripts::of_step(&repository.files, job, step, facts) {
                    if let Some(file) = script.file.filter(|file| !told.contains(file)) {
                        told.push(file);
                        in_file(repository, file, &script, report);
                    }
                }
            }
        }
    }
}

/// A script of the repository that asks for a failure which has ended it.
fn in_file(repository: &Repository, file: FileId, script: &OwnScript, report: &mut Report<'_>) {
    let text = &script.text;
    let sets = text.lines().map(str::trim_start).any(|line| {
        let first = line.split([';', '#']).next().unwrap_or_default();
        first.strip_prefix("set -").is_some_and(|flags| {
            flags.contains("errexit") || flags.split(' ').next().is_some_and(|own| own.contains('e'))
        })
    });
    if !sets || ["set +", "trap ", "() {", "(){", "function "].iter().any(|word| text.contains(word)) {
        return;
    }
    let Some((at, what)) = unseen(text, &script.facts) else { return };
    let start = script.facts.commands[at].start;
    let whole = &repository.files[file];
    let line = whole.line(Span::new(start, start).start);
    let message = format!("the failure of `{what}` ends the script, so here `$?` is always 0");
    report.add(file, whole.line_span(line), message).severity(Severity::Medium).hint(HINT).done();
}

/// What helps where a script has ended before it asks.
const HINT: &str = "ask at once, as in `if ! command; then`, or `command || status=$?`";

/// Tells whether the shell of a step ends at the first command that fails: `bash -e`, which is the default everywhere but on
/// Windows.
fn ends_at_failures(flow: &Flow, job: &Job, step: &Step, facts: &StepFacts) -> bool {
    let shell = step.shell.as_ref().or(job.shell.as_ref()).or(flow.model.shell.as_ref());
    let posix = match shell {
        Some(shell) => ["bash", "sh"].iter().any(|name| shell.is(name)),
        None => {
            job.runs_on.iter().all(|label| label.literal().is_some_and(|label| !label.contains("windows")))
        }
    };
    let goes_on = |command: &Command| {
        let off = command.words.iter().skip(1).any(|word| word.starts_with('+'));
        command.program() == "trap" || command.program() == "set" && off
    };
    posix && !facts.commands.iter().any(goes_on) && !step.script().contains("() {")
}

fn in_script(flow: &Flow, step: &Step, facts: &StepFacts, report: &mut Report<'_>) {
    let Some((at, what)) = unseen(step.script(), facts).filter(|_| step.run.is_some()) else { return };
    // What is lost may be no more than a message.
    let all = &facts.commands;
    let work = |command: usize| {
        facts.works.iter().any(|done| done.command == Some(command) && done.work.kind != Kind::Trivial)
    };
    let rest = step.script().get(all[at].end..).unwrap_or_default();
    let matters =
        (at + 1..all.len()).any(work) || rest.contains("GITHUB_OUTPUT") || rest.contains("GITHUB_ENV");
    let span = flow.script_line(step, all[at].start, "$?");
    let draft = report
        .add(flow.file, span, format!("the failure of `{what}` ends the script, so here `$?` is always 0"))
        .severity(if matters { Severity::Medium } else { Severity::Low })
        .hint(HINT);
    match comments::explains(flow, step.span, 3, &["set -e", "errexit"]) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Finds the first command of a script that asks for the status of the one before, which ends the script if it fails: which it
/// is, and what stands before it.
fn unseen(script: &str, facts: &StepFacts) -> Option<(usize, String)> {
    let all = &facts.commands;
    let apart = |at: usize| {
        let between = script.get(all[at - 1].end..all[at].start).unwrap_or_default();
        between.split_whitespace().any(|word| matches!(word, "else" | "elif" | ";;"))
    };
    let at = (1..all.len()).find(|&at| asks(&all[at]) && ends(&all[at - 1], &all[at]) && !apart(at))?;
    let command = &all[at - 1];
    let what = if command.words.is_empty() { command.assigned.join(" ") } else { command.text() };
    Some((at, what.lines().next().unwrap_or_default().chars().take(50).collect()))
}

/// Tells whether a command decides something by the status of the one before.
fn asks(command: &Command) -> bool {
    let kept = command.words.is_empty() && command.assigned.iter().any(|word| word.ends_with("=$?"));
    let tested =
        matches!(command.program(), "[" | "[[" | "test") && command.words.iter().any(|word| word == "$?");
    kept || tested
}

/// Tells whether a command that fails ends the script before the next one.
fn ends(command: &Command, next: &Command) -> bool {
    let shrugs = matches!(
        command.program(),
        "echo"
            | "printf"
            | "local"
            | "export"
            | "declare"
            | "readonly"
            | "set"
            | "true"
            | ":"
            | "["
            | "[["
            | "test"
    );
    let substituted = command.words.is_empty()
        && command.assigned.iter().any(|word| word.contains("$(") || word.contains('`'));
    let runs = !command.words.is_empty() && !shrugs;
    let depth = if next.asked { command.depth + 1 } else { command.depth };
    (runs || substituted)
        && !command.asked
        && command.then == Then::End
        && matches!(command.after, Then::End | Then::Pipe)
        && next.depth == depth
}
