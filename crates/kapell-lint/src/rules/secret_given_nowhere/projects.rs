//! Boards that the token of a run cannot reach.

use kapell_spec::{
    finding::Span,
    github::{Job, Step, Text},
};
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, StepFacts, script::Command, tokens},
    repository::Repository,
    rule::Report,
};

/// Actions that write to a board, and the input for their token.
const ACTIONS: &[(&str, &str)] = &[
    ("actions/add-to-project", "github-token"),
    ("titoportas/update-project-fields", "github-token"),
    ("leonsteinhaeuser/project-beta-automations", "gh_token"),
    ("nipe0324/update-project-v2-item-field", "github-token"),
];

/// A step that writes to a board.
struct Writes {
    /// Where it does.
    at: Span,
    /// Its token, which is that of the run.
    token: Span,
}

/// Tells of steps that write to a board of an organization or a person with the token of the run, which is of the repository alone.
///
/// Source: <https://docs.github.com/en/issues/planning-and-tracking-with-projects/automating-your-project/automating-projects-using-actions>:
/// `GITHUB_TOKEN` "is scoped to the repository level and cannot access projects".
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.github.flows.iter().filter(|flow| flow.text.contains("project")) {
        let of_job =
            |(at, job)| flow.steps(at).filter_map(move |(step, facts)| writes(flow, job, step, facts));
        let mut found = flow.jobs().flat_map(of_job);
        let Some(Writes { at, token }) = found.next() else { continue };
        let message = "the token of a run reaches no project: it is of the repository alone";
        let mut draft = report
            .add(flow.file, at, message)
            .severity(Severity::High)
            .hint("make a token of an app or a person that may write projects, and take it as a secret");
        if token != at {
            draft = draft.also(flow.file, token, "this token");
        }
        for other in found {
            draft = draft.also(flow.file, other.at, "here, too");
        }
        draft.done();
    }
}

/// Tells where a step writes to a board with the token of the run, by a command or by an action.
fn writes(flow: &Flow, job: &Job, step: &Step, facts: &StepFacts) -> Option<Writes> {
    let lists = |command: &&Command| command.words.iter().take(2).eq(["gh", "project"]);
    if let Some(command) = facts.commands.iter().find(lists) {
        let token = tokens::of_gh(flow, job, step).filter(|token| is_of_run(token))?;
        return Some(Writes { at: flow.script_line(step, command.start, "gh"), token: token.span });
    }
    let (_, input) = ACTIONS.iter().find(|(name, _)| step.is(name))?;
    let token = step.input(input).filter(|token| is_of_run(token))?;
    Some(Writes { at: token.span, token: token.span })
}

/// Tells whether a value is the token of the run, and nothing else in any case.
fn is_of_run(value: &Text) -> bool {
    matches!(value.expression(), Some("secrets.GITHUB_TOKEN" | "github.token"))
}
