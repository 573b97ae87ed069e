//! A command was to go on on the next line, which is taken for a command of its own.

use kapell_view::audit::{Confidence, Severity};

use crate::github::script::Then;
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/lost-continuation.md`.
pub(super) static RULE: Rule = Rule {
    name: "lost-continuation",
    summary: "A command was to go on on the next line, which is taken for a command of its own",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/lost-continuation.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.github.with_steps() {
        for (at, job) in flow.jobs() {
            for (step, facts) in flow.steps(at) {
                if step.run.is_none() {
                    continue;
                }
                let shell = step.shell.as_ref().or(job.shell.as_ref()).or(flow.model.shell.as_ref());
                // Other shells have options of their own at the start of a line.
                let windows = shell.is_none()
                    && job
                        .runs_on
                        .iter()
                        .any(|label| label.literal().is_none_or(|label| label.contains("windows")));
                if windows
                    || shell
                        .is_some_and(|shell| !shell.text.starts_with("bash") && !shell.text.starts_with("sh"))
                {
                    continue;
                }
                let lost = facts.commands.windows(2).find(|pair| {
                    let option = pair[1].words.first().is_some_and(|word| is_option(word));
                    // What follows in the same line belongs to something else: `--notes <(sh notes.sh) --draft`.
                    let before = step.script().get(..pair[1].start).unwrap_or_default();
                    option
                        && before.trim_end_matches([' ', '\t']).ends_with('\n')
                        && pair[0].then == Then::End
                        && !pair[0].words.is_empty()
                        && pair[1].assigned.is_empty()
                });
                let Some([before, after]) = lost else { continue };
                let span = flow.script_line(step, after.start, &after.words[0]);
                report
                    .add(
                        flow.file,
                        span,
                        format!(
                            "`{}` was to belong to `{}`: the line before does not end with `\\`",
                            after.words[0],
                            before.program()
                        ),
                    )
                    .hint("end the line before with a backslash")
                    .done();
            }
        }
    }
}

/// Tells whether a word is a long option: no program has such a name.
fn is_option(word: &str) -> bool {
    word.strip_prefix("--").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}
