//! Cells of one matrix that push to the same branch: whoever comes second is refused, and its work is lost.

use kapell_spec::github::{Job, Step};
use kapell_view::audit::Severity;

use crate::{
    github::{
        Flow, StepFacts,
        script::{Command, Then},
        tools::Kind,
    },
    rule::Report,
};

/// Words of scripts that fetch what others have pushed before they push, or try again.
const AGAIN: &[&str] = &["rebase", "git pull", "git fetch", "retry"];

/// Tells of each job whose cells commit and push.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    for (at, job) in flow.jobs().filter(|(_, job)| at_once(job)) {
        let Some(step) = flow.steps(at).find_map(|(step, facts)| pushes(step, facts).then_some(step)) else {
            continue;
        };
        report
            .add(
                flow.file,
                step.name_span(),
                format!(
                    "the cells of `{}` push to one branch at once: all but the first are refused",
                    job.id.text
                ),
            )
            .severity(Severity::High)
            .hint("let them upload what they make, and push it in one job that needs them")
            .done();
    }
}

/// Tells whether a job has several cells that run at the same time.
fn at_once(job: &Job) -> bool {
    let several = |matrix: &kapell_spec::github::Matrix| {
        !matrix.dynamic && matrix.cells().is_some_and(|cells| cells.len() > 1)
    };
    job.matrix.as_ref().is_some_and(several) && !job.max_parallel.as_ref().is_some_and(|most| most.is("1"))
}

/// Tells whether a step of each cell commits and pushes to a branch that does not hang on the cell, once and without force.
fn pushes(step: &Step, facts: &StepFacts) -> bool {
    let script = step.script();
    let push = |command: &Command| {
        let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
        let of_branch = |word: &&str| {
            !word.contains(['$', '{'])
                && !matches!(*word, "--tags" | "--delete" | "-d" | "-f")
                && !word.starts_with("--force")
                && !word.starts_with('+')
        };
        words.starts_with(&["git", "push"])
            && words.iter().all(of_branch)
            // `git push || try_again` answers a refusal, and a loop may ask again.
            && command.then != Then::Or
            && command.loops == 0
    };
    step.condition.is_none()
        && facts.does(Kind::Push)
        && script.contains("git commit")
        && !AGAIN.iter().any(|word| script.contains(word))
        && !["checkout -b", "checkout -B", "switch -c", "--orphan", "git init", "worktree"]
            .iter()
            .any(|word| script.contains(word))
        && facts.commands.iter().any(push)
}
