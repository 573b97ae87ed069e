//! A script reads a variable that it has just written for the steps behind it.

use kapell_spec::github::{Job, Step};

use crate::{
    github::{
        Flow,
        script::{Command, is_variable},
    },
    rule::Report,
};

/// Words of scripts that may set a variable in ways that no text shows.
const OPAQUE: &[&str] = &["source ", "\n. ", "eval ", "read ", "set -a", "mapfile", "declare ", "getopts"];

/// Tells of what is written to `$GITHUB_ENV` and read by the same step.
///
/// Source: GitHub, "Workflow commands", section "Setting an environment variable": the step that sets it has no access to
/// the new value.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    for (at, job) in flow.jobs() {
        for (step, facts) in flow.steps(at).filter(|(step, _)| step.script().contains("GITHUB_ENV")) {
            for (name, from) in facts.commands.iter().filter_map(written) {
                let Some(read) = read_behind(step.script(), name, from) else { continue };
                if is_set_elsewhere(flow, job, step, name) {
                    continue;
                }
                report
                    .add(
                        flow.file,
                        flow.script_line(step, read, ""),
                        format!("`${name}` is empty here: what is written to `GITHUB_ENV` is set for the steps behind this one"),
                    )
                    .hint(format!("assign `{name}=...` in the script first, and write that to `$GITHUB_ENV`"))
                    .done();
            }
        }
    }
}

/// Returns the variable that a command writes for the steps behind, `echo "NAME=..." >> $GITHUB_ENV`, and where it ends.
fn written(command: &Command) -> Option<(&str, usize)> {
    let goes_out = command.words.iter().any(|word| word.contains("GITHUB_ENV"));
    let (name, _) =
        command.words.get(1).filter(|_| command.program() == "echo" && goes_out)?.split_once('=')?;
    (name.len() > 1 && is_variable(name)).then_some((name, command.end))
}

/// Returns where a script reads a variable behind a place: `$NAME` or `${NAME}`.
fn read_behind(script: &str, name: &str, from: usize) -> Option<usize> {
    let rest = script.get(from..)?;
    let is_read = |at: usize| {
        let before = &rest[..at];
        let after = &rest[at + name.len()..];
        // In single quotes it is a text.
        let line = &before[before.rfind('\n').map_or(0, |end| end + 1)..];
        let quoted = line.matches('\'').count() % 2 == 1;
        let bare =
            before.ends_with('$') && !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        !quoted && !before.ends_with("\\$") && (bare || before.ends_with("${") && after.starts_with('}'))
    };
    rest.match_indices(name).map(|(at, _)| at).find(|&at| is_read(at)).map(|at| from + at)
}

/// Tells whether a variable may have a value in a script all the same: by an assignment, a step before, or the workflow.
fn is_set_elsewhere(flow: &Flow, job: &Job, step: &Step, name: &str) -> bool {
    let script = step.script();
    let assigns = |text: &str| {
        let all = text.match_indices(name).filter(|(at, _)| {
            let after = &text[at + name.len()..];
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            after.starts_with('=') && !after.starts_with("==") && !text[..*at].ends_with(word)
        });
        all.count()
    };
    let keyed = [&flow.model.env, &job.env, &step.env]
        .iter()
        .any(|env| env.iter().any(|(key, _)| &*key.text == name));
    let before = job.steps.iter().take_while(|other| other.span != step.span);
    keyed
        || assigns(script) > 1
        || OPAQUE.iter().any(|word| script.contains(word))
        || script.contains(&format!("for {name} in"))
        || before
            .into_iter()
            .any(|other| assigns(other.script()) > 0 || other.uses.is_some() && names_it(other, name))
        || job.container
}

/// Tells whether a step hands the name of a variable to an action, which may set it.
fn names_it(step: &Step, name: &str) -> bool {
    step.with.iter().any(|(_, value)| value.text.contains(name))
}
