//! Every push to a pull request starts the workflow twice.

use std::cmp::Reverse;

use crate::github::{Flow, comments, cost, world::World};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule, WORTH_SECONDS},
};
use kapell_spec::{
    finding::Span,
    github::{Event, Job, Uses},
};
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
    let mut found: Vec<Twice<'_>> =
        repository.github.flows.iter().filter_map(|flow| Twice::of(repository, flow)).collect();
    // One habit is one finding, at the workflow that costs most; what somebody explains is a note of its own.
    found.sort_by_key(|twice| (twice.said.is_some(), Reverse((twice.severity, twice.seconds))));
    let (told, noted) = found.split_at(found.partition_point(|twice| twice.said.is_none()));
    for all in told.chunk_by(|one, other| one.severity == other.severity) {
        tell(all, report);
    }
    noted.iter().for_each(|twice| tell(std::slice::from_ref(twice), report));
}

/// A workflow that every push to a pull request starts twice.
struct Twice<'a> {
    flow: &'a Flow,
    push: Span,
    /// How long the runners work for both.
    seconds: u32,
    severity: Severity,
    /// What says that it is meant so.
    said: Option<String>,
}

impl<'a> Twice<'a> {
    fn of(repository: &Repository, flow: &'a Flow) -> Option<Self> {
        let push = flow.model.event("push")?;
        if !is_doubled(flow, push, flow.model.event("pull_request")?) {
            return None;
        }
        let (github, timings) = (&repository.github, repository.timings.as_ref());
        let once: u32 = cost::durations(github, flow, timings).iter().sum();
        let file = &repository.files[flow.file];
        let line = file.line(push.name.span.start);
        let said = comments::explains(flow, push.name.span, 3, &["fork", "branch", "both", "twice"]);
        Some(Self {
            flow,
            push: push.name.span,
            seconds: cost::runner_seconds(github, flow, timings, World::is_pull_request),
            severity: if once < WORTH_SECONDS { Severity::Low } else { Severity::Medium },
            said: said.or_else(|| crate::intent::reason(file, (line, line), RULE.name)),
        })
    }
}

/// Tells of workflows that are started so alike.
fn tell(all: &[Twice<'_>], report: &mut Report<'_>) {
    let Some((first, rest)) = all.split_first() else { return };
    let mut draft = report
        .add(
            first.flow.file,
            first.push,
            format!("every push to the branch of a pull request starts `{}` twice", first.flow.name()),
        )
        .severity(first.severity)
        .runners(all.iter().map(|twice| twice.seconds).sum())
        .hint("give `push` the main branch: `branches: [main]`");
    for other in rest {
        draft = draft.also(other.flow.file, other.push, format!("`{}` as well", other.flow.name()));
    }
    match &first.said {
        Some(comment) => draft.explained(comment.clone()).done(),
        None => draft.done(),
    }
}

/// Tells whether a push to the branch of a pull request starts all of a workflow by both events.
fn is_doubled(flow: &Flow, push: &Event, pull: &Event) -> bool {
    let topic = |name: &str| {
        let lower = name.to_ascii_lowercase();
        lower.ends_with('*') && TOPICS.iter().any(|topic| lower.split(['/', '-', '*']).next() == Some(*topic))
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
    let types = pull.filter("types");
    let on_push = types.is_none_or(|types| types.items.iter().any(|item| &*item.text == "synchronize"));
    all && !filtered && !shared && !asks && on_push && !decided(flow)
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
