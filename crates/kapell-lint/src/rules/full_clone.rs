//! The whole history is fetched and nothing reads it.

use crate::github::{Flow, intent, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_view::audit::FixClass;
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/full-clone.md`.
pub(super) static RULE: Rule = Rule {
    name: "full-clone",
    summary: "The whole history is fetched and nothing reads it",
    group: Group::Waste,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Low,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/full-clone.md"),
    check,
};

/// Programs that may read the history.
const READERS: &[&str] = &[
    "git",
    "gh",
    "make",
    "just",
    "lerna",
    "nx",
    "turbo",
    "changeset",
    "goreleaser",
    "semantic-release",
    "mkdocs",
    "mike",
    "hugo",
    "gitleaks",
    "sphinx-build",
    "commitlint",
    "tox",
    "nox",
    "build",
    "hatch",
    "poetry",
    "uv",
    "python",
    "python3",
    "node",
    "docker",
    "mvn",
    "mvnw",
    "gradle",
    "gradlew",
    "dotnet",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            for step in &job.steps {
                let Some(depth) = step
                    .input("fetch-depth")
                    .filter(|depth| step.is("actions/checkout") && depth.text.trim() == "0")
                else {
                    continue;
                };
                if reads_history(flow, at) {
                    continue;
                }
                let draft = report
                    .add(
                        flow.file,
                        depth.span,
                        format!("`{}` fetches the whole history and nothing in it reads that", job.id.text),
                    )
                    .hint("drop `fetch-depth: 0`");
                let draft = if !depth.aliased {
                    draft.fix("fetch one commit", FixClass::Review, [(flow.file, depth.span, "1".to_owned())])
                } else {
                    draft
                };
                match intent::explains(
                    flow,
                    step.span,
                    6,
                    &["history", "tag", "version", "git", "full", "all", "diff", "blame"],
                ) {
                    Some(comment) => draft.explained(comment).done(),
                    None => draft.done(),
                }
            }
        }
    }
}

/// Tells whether anything in a job reads the history, or may.
fn reads_history(flow: &Flow, at: usize) -> bool {
    flow.facts[at].iter().any(|facts| {
        facts.is_opaque()
            || facts.works.iter().any(|done| {
                done.work.kind.mutates() || matches!(done.work.kind, Kind::Audit | Kind::PullRequest)
            })
            || facts
                .commands
                .iter()
                .any(|command| READERS.contains(&command.program()) || command.text().contains("$(git"))
            || facts.actions.iter().any(|name| !QUIET.iter().any(|known| name.starts_with(known)))
    }) || flow
        .text
        .get(flow.model.jobs[at].span.range())
        .is_some_and(|text| text.contains("git ") || text.contains("merge-base"))
}

/// Actions that are known not to.
const QUIET: &[&str] = &[
    "actions/checkout",
    "actions/setup-",
    "actions/cache",
    "actions/upload-artifact",
    "actions/download-artifact",
    "pnpm/",
    "oven-sh/",
    "dtolnay/",
    "swatinem/",
    "ruby/setup-ruby",
    "taiki-e/",
    "golangci/",
];
