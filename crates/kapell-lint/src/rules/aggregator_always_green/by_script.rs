//! A job that hands the results of all others to a script of the repository, which ends well whatever they are.

use kapell_spec::github::Condition;

use crate::{
    github::{
        Flow,
        own_scripts::{self, OwnScript},
        script::{Command, Then},
    },
    repository::Repository,
    rule::Report,
};

/// Tells of the script of a job that runs whatever happened and is handed the results of those that it waits for.
///
/// Source: Bash Reference Manual, "Exit Status" and "The Set Builtin": without `-e` a script ends with the status of its last
/// command, or with that of `exit`.
pub(super) fn check(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    if job.needs.is_empty() || !job.condition.as_ref().is_some_and(Condition::asks_status) {
        return;
    }
    for (step, facts) in flow.steps(at) {
        let text: String = flow.text.get(step.span.range()).unwrap_or_default().split_whitespace().collect();
        let handed =
            ["toJSON(needs)", "toJson(needs)", "needs.*.result"].iter().any(|word| text.contains(word));
        let alone = facts.commands.iter().filter(|command| !command.words.is_empty()).count() == 1;
        if !handed || !alone || step.condition.is_some() || step.continue_on_error.is_some() {
            continue;
        }
        let scripts = own_scripts::of_step(&repository.files, job, step, facts);
        let Some((file, last)) = scripts.iter().find_map(|script| Some((script.file?, ends_well(script)?)))
        else {
            continue;
        };
        let source = &repository.files[file];
        let span = step.run.as_ref().map_or(step.span, |run| run.span);
        report
            .add(
                flow.file,
                span,
                format!(
                    "`{}` hands the results of all jobs to a script that ends well whatever they are",
                    job.id.text
                ),
            )
            .also(file, source.line_span(source.line(last.start as u32)), "it ends here, always with 0")
            .hint("end it with `exit 1` unless every result is `success`")
            .done();
    }
}

/// Returns the last command of a script, if the script looks at results and has no way to fail.
fn ends_well(script: &OwnScript) -> Option<&Command> {
    let first = script.text.lines().next().unwrap_or_default();
    let own = first.starts_with("#!") && first.split(' ').skip(1).any(|word| word.starts_with('-'));
    let others = ["set -", "errexit", "trap ", ":?", "source ", "kill ", "exec "];
    if own || !script.text.contains("result") || others.iter().any(|word| script.text.contains(word)) {
        return None;
    }
    let fails = |command: &Command| {
        command.begins("exit") && command.text() != "exit 0"
            || matches!(command.program(), "." | "eval" | "false")
    };
    let all = &script.facts.commands;
    let last = all.iter().rfind(|command| !command.words.is_empty())?;
    let well = matches!(last.program(), "echo" | "printf" | "true" | ":") || last.text() == "exit 0";
    let plain = last.depth == 0 && last.after == Then::End && last.then == Then::End;
    (well && plain && !all.iter().any(fails)).then_some(last)
}
