//! Workflows that have nothing to do with each other share a concurrency group.

mod nightly; // what the clock has started
mod one_ref; // events for which the ref is always the same
mod too_wide; // groups that hold nothing of a pull request

use std::collections::BTreeMap;

use kapell_spec::{finding::Span, github::Concurrency};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, conditions::Run};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/shared-concurrency-group.md`.
pub(super) static RULE: Rule = Rule {
    name: "shared-concurrency-group",
    summary: "Workflows cancel each other: they share a concurrency group",
    group: Group::Safety,
    anti_pattern: Some(AntiPattern::SharedState),
    focus: Focus::Conflicts,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/shared-concurrency-group.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    for flow in flows {
        jobs(flow, report);
        too_wide::check(flow, report);
        too_wide::on_push(flow, report);
        one_ref::check(repository, flow, report);
        nightly::check(flow, report);
    }
    let mut by_group: BTreeMap<String, Vec<Holder<'_>>> = BTreeMap::new();
    for flow in flows {
        let Some((own, group)) = group_of(flow) else { continue };
        caller(repository, flow, &group, report);
        // A plain name is one thing that several use.
        if group.contains("${{") {
            by_group.entry(group).or_default().push(Holder { flow, own });
        }
    }
    for (group, holders) in &by_group {
        for (index, holder) in holders.iter().enumerate() {
            holder.tell(group, &holders[index + 1..], report);
        }
    }
}

/// A workflow that runs in a group.
struct Holder<'a> {
    flow: &'a Flow,
    own: &'a Concurrency,
}

impl Holder<'_> {
    fn span(&self) -> Span {
        self.own.group.as_ref().map_or(self.own.span, |group| group.span)
    }

    /// Tells of those of the later workflows in the group that have a run of this one cancelled, or one of theirs by it.
    fn tell(&self, group: &str, later: &[Self], report: &mut Report<'_>) {
        // The name of the workflow keeps it apart from others, but for those of the same name.
        let named = group.contains("github.workflow");
        let by_name = named && !group.contains("github.workflow_ref");
        let clashes = |other: &&Self| {
            (cancels(self.own) || cancels(other.own))
                && meet(self.flow, other.flow)
                && (!named || by_name && self.flow.name() == other.flow.name())
        };
        let mut others = later.iter().filter(clashes).peekable();
        let Some(first) = others.peek() else { return };
        let message = format!(
            "`{}` and `{}` share one concurrency group and cancel each other",
            self.flow.name(),
            first.flow.name()
        );
        let mut draft = report.add(self.flow.file, self.span(), message).hint(match by_name {
            true => "give each workflow a name of its own",
            false => "put `${{ github.workflow }}` into the group",
        });
        for other in others {
            draft = draft.also(other.flow.file, other.own.span, "the same group");
        }
        draft.done();
    }
}

/// Jobs of one run, or the cells of one, that share a group stop each other.
fn jobs(flow: &Flow, report: &mut Report<'_>) {
    let mut seen: Vec<(usize, &Concurrency, String)> = Vec::new();
    for (at, job) in flow.jobs() {
        let Some(concurrency) = &job.concurrency else { continue };
        let Some(group) = concurrency.group.as_ref().filter(|_| stops(concurrency)) else { continue };
        let text = plain(&group.text);
        let cells = job
            .matrix
            .as_ref()
            .filter(|matrix| !matrix.dynamic && matrix.cells().is_some_and(|cells| cells.len() > 1));
        let apart = ["matrix.", "matrix[", "(matrix", "strategy.", "github.run_", "inputs."]
            .iter()
            .any(|word| text.contains(word));
        let in_turn = job.max_parallel.as_ref().is_some_and(|most| most.is("1"));
        if cells.is_some() && !apart && !in_turn {
            let message =
                format!("the cells of `{}` share one concurrency group and cancel each other", job.id.text);
            report
                .add(flow.file, group.span, message)
                .hint("put the value of the matrix into the group, or leave the group to the workflow")
                .done();
            continue;
        }
        // Those that wait for each other, or are never in one run, do not meet.
        let other = seen.iter().find(|(other, _, theirs)| {
            *theirs == text
                && !text.contains("github.job")
                && !flow.closures[at].contains(other)
                && !flow.closures[*other].contains(&at)
                && (0..flow.worlds.len()).any(|world| {
                    flow.runs[world][at] == Run::Always && flow.runs[world][*other] == Run::Always
                })
        });
        if let Some((other, theirs, _)) = other {
            let message = format!(
                "`{}` and `{}` of one run share one concurrency group and cancel each other",
                flow.model.jobs[*other].id.text, job.id.text
            );
            report
                .add(flow.file, theirs.group.as_ref().map_or(theirs.span, |group| group.span), message)
                .hint("put `${{ github.job }}` into the group, or leave it to the workflow")
                .also(flow.file, group.span, "the same group")
                .done();
        }
        seen.push((at, concurrency, text));
    }
}

/// Tells whether a group certainly stops what runs in it.
fn stops(concurrency: &Concurrency) -> bool {
    concurrency.cancel.as_ref().is_some_and(|cancel| cancel.is("true"))
}

fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join("").to_ascii_lowercase()
}

/// A called workflow has the name and the ref of its caller: the same group stops the caller itself.
fn caller(repository: &Repository, flow: &Flow, group: &str, report: &mut Report<'_>) {
    if !flow.starts("workflow_call") {
        return;
    }
    let same = repository
        .github
        .callers(flow)
        .into_iter()
        .find(|(caller, _)| group_of(caller).is_some_and(|(_, theirs)| theirs == group));
    let (Some((caller, at)), Some((own, _))) = (same, group_of(flow)) else { return };
    report
        .add(
            flow.file,
            own.group.as_ref().map_or(own.span, |group| group.span),
            format!(
                "`{}` is called in the group that its caller `{}` holds: one of them is cancelled",
                flow.name(),
                caller.name()
            ),
        )
        .also(caller.file, caller.job_span(at), "calls it")
        .hint("leave the group to the caller, or give this one a word of its own")
        .done();
}

fn group_of(flow: &Flow) -> Option<(&Concurrency, String)> {
    let concurrency = flow.model.concurrency.as_ref()?;
    let text = &concurrency.group.as_ref()?.text;
    Some((concurrency, plain(text)))
}

fn cancels(concurrency: &Concurrency) -> bool {
    concurrency.cancel.as_ref().is_some_and(|cancel| !cancel.is("false"))
}

/// Tells whether one event may start both: the same one, of those that come by themselves.
fn meet(one: &Flow, other: &Flow) -> bool {
    ["push", "pull_request", "pull_request_target", "merge_group", "release"]
        .iter()
        .any(|event| one.starts(event) && other.starts(event))
}
