//! Every push to a pull request starts the workflow twice.

use crate::github::{Flow, cost, intent, world::World};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule, WORTH_SECONDS},
};
use kapell_spec::github::{Job, Uses};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/double-trigger.md`.
pub(super) static RULE: Rule = Rule {
    name: "double-trigger",
    summary: "Every push to a pull request starts the workflow twice",
    group: Group::Waste,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/double-trigger.md"),
    check,
};

/// Names that branches begin with of which pull requests are made.
const TOPICS: &[&str] =
    &["feature", "features", "feat", "fix", "bugfix", "hotfix", "topic", "chore", "users", "user"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        let (Some(push), Some(_)) = (flow.model.event("push"), flow.model.event("pull_request")) else {
            continue;
        };
        let topic = |name: &str| {
            let lower = name.to_ascii_lowercase();
            lower.ends_with('*')
                && TOPICS.iter().any(|topic| lower.split(['/', '-', '*']).next() == Some(*topic))
        };
        let all = push.filter("branches").is_none_or(|filter| {
            filter.items.iter().any(|item| matches!(&*item.text, "*" | "**") || topic(&item.text))
                && !filter.items.iter().any(|item| item.text.starts_with('!'))
        });
        // With `tags` alone no branch starts it; what is left out of the branches matters where it is most of them.
        let topics = push.filter("branches-ignore").is_some_and(|filter| {
            filter
                .items
                .iter()
                .any(|item| matches!(&*item.text, "*" | "**" | "*/**" | "**/**") || topic(&item.text))
        });
        let filtered = push.filter("branches").is_none() && (push.filter("tags").is_some() || topics);
        // A group shared by both events lets the second run cancel the first.
        let group = flow.model.concurrency.as_ref().and_then(|concurrency| concurrency.group.as_ref());
        // `github.sha` of a pull request is that of a merge, which no push has.
        let shared = group.is_some_and(|group| {
            ["head_ref", "head.ref", "head.sha"].iter().any(|word| group.text.contains(word))
        });
        // Jobs that ask which of the two it is run once.
        let asks = flow.jobs().filter(|(at, _)| flow.closures[*at].is_empty()).all(|(_, job)| {
            job.condition.as_ref().is_some_and(|condition| {
                condition.text.contains("event_name")
                    || condition.text.contains("head.repo")
                    || condition.text.contains("github.ref")
            })
        });
        let types = flow.model.event("pull_request").and_then(|event| event.filter("types"));
        let on_push = types.is_none_or(|types| types.items.iter().any(|item| &*item.text == "synchronize"));
        if !all || filtered || shared || asks || !on_push || decided(flow) {
            continue;
        }
        let draft = report
            .add(
                flow.file,
                push.name.span,
                format!("every push to the branch of a pull request starts `{}` twice", flow.name()),
            )
            .hint("give `push` the main branch: `branches: [main]`");
        let seconds: u32 =
            cost::durations(&repository.github, flow, repository.timings.as_ref()).iter().sum();
        let twice = cost::runner_seconds(
            &repository.github,
            flow,
            repository.timings.as_ref(),
            World::is_pull_request,
        );
        let draft = draft.runners(twice);
        let draft = draft.severity(if seconds < WORTH_SECONDS { Severity::Low } else { Severity::Medium });
        match intent::explains(flow, push.name.span, 3, &["fork", "branch", "both", "twice"]) {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
    }
}

/// Tells whether a job decides which of the two runs goes on, and most others ask it: one that looks for duplicates, or a
/// workflow of another repository made for that.
fn decided(flow: &Flow) -> bool {
    let count = flow.model.jobs.len();
    flow.jobs().any(|(at, gate)| {
        let looks = matches!(gate.called(), Some(Uses::Remote { .. }))
            || flow.facts[at]
                .iter()
                .flat_map(|facts| &facts.actions)
                .any(|name| name.contains("skip-duplicate"));
        let output = format!("needs.{}.outputs", gate.id.text);
        let asks =
            |job: &Job| job.condition.as_ref().is_some_and(|condition| condition.text.contains(&output));
        looks && flow.jobs().filter(|(_, job)| asks(job)).count() * 2 >= count - 1 && count > 1
    })
}
