//! Parts of the tests are run, and then all of them.

use kapell_spec::github::{Name, Step, Text};
use kapell_view::audit::{Confidence, Severity};

use super::{folder, short};
use crate::{
    github::{
        Flow, StepFacts, comments, cost,
        script::{Command, Then},
        tools::Kind,
    },
    repository::Repository,
    rule::Report,
};

/// Programs that run all tests unless they are told which.
///
/// Sources: RSpec, "Command line", `--default-path`; pytest, "How to invoke pytest"; Jest and Vitest, "CLI".
const RUNNERS: &[&str] = &["rspec", "pytest", "jest", "vitest"];

/// Flags that only say how much is printed, and how coverage is counted.
const ASIDE: &[&str] = &[
    "--cov",
    "--coverage",
    "-v",
    "-q",
    "--color",
    "--tb",
    "--format",
    "--junit",
    "--ci",
    "--verbose",
    "--silent",
    "--no-color",
];

/// More parts than this no job names one by one.
const MOST: usize = 20;

/// Tells of a command that runs all tests, where two steps before it have run parts of them in the same way.
pub(super) fn check(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let steps: Vec<_> = flow.steps(at).collect();
    let mut all_parts: Vec<usize> = Vec::new();
    for (index, (step, facts)) in steps.iter().enumerate() {
        let Some((whole, paths)) = run(step, facts) else { continue };
        if !paths.is_empty() {
            all_parts.push(index);
        }
        if !paths.is_empty() || all_parts.len() > MOST {
            continue;
        }
        let same = |earlier: &usize| {
            let (other, facts) = &steps[*earlier];
            run(other, facts).is_some_and(|(command, _)| {
                command.program() == whole.program()
                    && folder(other) == folder(step)
                    && given(other, command) == given(step, whole)
            })
        };
        let parts: Vec<usize> = all_parts.iter().copied().filter(same).collect();
        let [first, .., last] = parts[..] else { continue };
        // What was built or brought in between may be tested again.
        let changed = |(_, facts): &(&Step, &StepFacts)| {
            facts.is_opaque()
                || facts.works.iter().any(|done| {
                    matches!(done.work.kind, Kind::Build | Kind::Install | Kind::Setup | Kind::Download)
                })
        };
        if steps[first + 1..index].iter().any(changed) {
            continue;
        }
        let job = &flow.model.jobs[at];
        let seconds = steps[first].1.seconds() + steps[last].1.seconds();
        let sooner = cost::sooner(&repository.github, flow, repository.timings.as_ref(), at, seconds);
        let draft = report
            .add(
                flow.file,
                step.name_span(),
                format!(
                    "`{}` runs with `{}` all tests, of which it has run parts before",
                    job.id.text,
                    short(&whole.text())
                ),
            )
            .severity(Severity::Medium)
            .confidence(Confidence::Medium)
            .also(flow.file, steps[first].0.span, "a part of them")
            .also(flow.file, steps[last].0.span, "another part")
            .spares(sooner)
            .hint("drop the parts, or run only what is left");
        match comments::explains(
            flow,
            steps[first].0.span,
            4,
            &["first", "fast", "quick", "early", "again", "twice"],
        ) {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
        return;
    }
}

/// Returns the one command of a step that tests, and the paths that it is told.
fn run<'a>(step: &Step, facts: &'a StepFacts) -> Option<(&'a Command, Vec<&'a str>)> {
    let [done] = &facts.works[..] else { return None };
    let command = facts.commands.get(done.command?).filter(|_| facts.commands.len() == 1)?;
    let plain = command.depth == 0 && !command.asked && command.then == Then::End;
    if !plain
        || step.condition.is_some()
        || step.continue_on_error.is_some()
        || !RUNNERS.contains(&command.program())
    {
        return None;
    }
    let mut paths = Vec::new();
    for word in command.inner().iter().skip(1).map(String::as_str) {
        if word.starts_with('-') {
            ASIDE.iter().find(|flag| word.starts_with(**flag))?;
        } else if word != "run" {
            let plain = word.contains('/') && !word.contains(['$', ':', '*', '[']);
            plain.then(|| paths.push(word))?;
        }
    }
    Some((command, paths))
}

/// Returns the variables that a command is given, but for those about coverage.
fn given<'a>(step: &'a Step, command: &'a Command) -> Vec<(&'a str, &'a str)> {
    let pair = |(name, value): &'a (Name, Text)| (&*name.text, value.text.trim());
    let assigned = command.assigned.iter().filter_map(|word| word.split_once('='));
    let all = step.env.iter().map(pair).chain(assigned);
    let mut found: Vec<(&str, &str)> =
        all.filter(|(name, _)| !name.to_ascii_uppercase().contains("COV")).collect();
    found.sort_unstable();
    found
}
