//! Boards that the token of a run cannot reach.

use kapell_spec::{
    finding::Span,
    github::{Job, Name, Step, Text},
};
use kapell_view::audit::Severity;

use crate::{github::Flow, repository::Repository, rule::Report};

/// Actions that write to a board, and the input for their token.
const ACTIONS: &[(&str, &str)] = &[
    ("actions/add-to-project", "github-token"),
    ("titoportas/update-project-fields", "github-token"),
    ("leonsteinhaeuser/project-beta-automations", "gh_token"),
    ("nipe0324/update-project-v2-item-field", "github-token"),
];

/// Steps that write to a board of an organization or a person with the token of the run, which is of the repository alone.
///
/// Source: <https://docs.github.com/en/issues/planning-and-tracking-with-projects/automating-your-project/automating-projects-using-actions>:
/// `GITHUB_TOKEN` "is scoped to the repository level and cannot access projects".
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        if !flow.text.contains("project") {
            continue;
        }
        let mut found = flow.jobs().flat_map(|(at, job)| {
            flow.steps(at).filter_map(move |(step, facts)| {
                let lists = |command: &crate::github::script::Command| {
                    command.words.iter().take(2).eq(["gh", "project"])
                };
                match facts.commands.iter().find(|command| lists(command)) {
                    Some(command) => {
                        let span = flow.script_line(step, command.start, "gh");
                        by_env(flow, job, step).map(|token| (span, token))
                    }
                    None => by_input(step),
                }
            })
        });
        let Some((span, token)) = found.next() else { continue };
        let message = "the token of a run reaches no project: it is of the repository alone".to_owned();
        let mut draft = report.add(flow.file, span, message).severity(Severity::High);
        draft =
            draft.hint("make a token of an app or a person that may write projects, and take it as a secret");
        if token != span {
            draft = draft.also(flow.file, token, "this token");
        }
        for (span, _) in found {
            draft = draft.also(flow.file, span, "here, too");
        }
        draft.done();
    }
}

/// Tells whether a value is the token of the run.
fn is_of_run(value: &Text) -> bool {
    let inner = value.text.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"));
    matches!(inner.map(str::trim), Some("secrets.GITHUB_TOKEN" | "github.token"))
}

fn by_input(step: &Step) -> Option<(Span, Span)> {
    let (_, input) = ACTIONS.iter().find(|(name, _)| step.is(name))?;
    let token = step.input(input).filter(|token| is_of_run(token))?;
    Some((token.span, token.span))
}

/// Returns where the token that `gh` takes in a step is that of the run: the nearest of its variables counts, and of two the
/// one that is called `GH_TOKEN`.
fn by_env(flow: &Flow, job: &Job, step: &Step) -> Option<Span> {
    let token = |env: &[(Name, Text)]| {
        let named =
            |wanted: &str| env.iter().find(|(name, _)| &*name.text == wanted).map(|(_, value)| value.clone());
        named("GH_TOKEN").or_else(|| named("GITHUB_TOKEN"))
    };
    let own = token(&step.env).or_else(|| token(&job.env)).or_else(|| token(&flow.model.env))?;
    is_of_run(&own).then_some(own.span)
}
