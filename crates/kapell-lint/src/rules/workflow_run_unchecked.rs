//! A workflow goes on after another, whatever became of that.

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, FixClass, Severity};

use crate::github::{Flow, conditions::Run, edit, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/workflow-run-unchecked.md`.
pub(super) static RULE: Rule = Rule {
    name: "workflow-run-unchecked",
    summary: "A workflow changes something after another one, even if that failed",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/workflow-run-unchecked.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        let Some(event) = flow.model.event("workflow_run") else { continue };
        let completed = event
            .filter("types")
            .is_none_or(|types| types.items.iter().any(|item| &*item.text == "completed"));
        // Whoever names the result anywhere has thought of it, and what takes an artifact of that run fails without it.
        let asked = flow.text.contains("workflow_run.id")
            || flow.text.contains("conclusion") && !passes_failure(&flow.text);
        if !completed || asked {
            continue;
        }
        let found: Vec<(usize, Kind, Span)> =
            flow.jobs().filter_map(|(at, _)| change(repository, flow, at)).collect();
        let Some(&(at, kind, span)) = found.iter().max_by_key(|(_, kind, _)| *kind) else { continue };
        let awaited = event.filter("workflows").and_then(|names| names.items.first());
        let awaited = awaited.map_or("the other workflow", |name| &name.text);
        let job = &flow.model.jobs[at];
        let grave = !matches!(kind, Kind::Push | Kind::Pages);
        let mut draft = report
            .add(
                flow.file,
                event.name.span,
                format!("`{}` {} after `{awaited}` has run, even if that failed", job.id.text, kind.verb()),
            )
            .also(flow.file, span, "happens in any case")
            .severity(if grave { Severity::High } else { Severity::Medium })
            .hint("ask for `github.event.workflow_run.conclusion == 'success'`");
        let alone = flow.model.events.len() == 1;
        let passed = "github.event.workflow_run.conclusion == 'success'";
        let asks = match alone {
            true => format!("if: {passed}"),
            false => format!("if: github.event_name != 'workflow_run' || {passed}"),
        };
        let edits: Vec<_> = found
            .iter()
            .filter(|(at, ..)| flow.model.jobs[*at].condition.is_none())
            .filter_map(|(at, ..)| {
                let keys = &flow.model.jobs[*at].keys;
                ["runs-on", "uses"].iter().find_map(|key| {
                    edit::add_before(&flow.text, keys, key, std::slice::from_ref(&asks), false)
                })
            })
            .map(|(span, text)| (flow.file, span, text))
            .collect();
        if edits.len() == found.len() {
            draft = draft.fix("go on only after a success", FixClass::Review, edits);
        }
        draft.done();
    }
}

/// Tells whether all that is asked of the result lets a failure pass: `conclusion != 'cancelled'`.
fn passes_failure(text: &str) -> bool {
    let plain: String = text.split_whitespace().collect::<String>().replace('"', "'");
    let mut asked = plain.split("workflow_run.conclusion").skip(1).peekable();
    let other = plain.matches("conclusion").count() != plain.matches("workflow_run.conclusion").count();
    asked.peek().is_some()
        && !other
        && asked.all(|rest| ["!='cancelled'", "!='skipped'"].iter().any(|word| rest.starts_with(word)))
}

/// Finds the strongest change outside that a job makes when the other workflow ends.
fn change(repository: &Repository, flow: &Flow, at: usize) -> Option<(usize, Kind, Span)> {
    let worlds: Vec<usize> = (0..flow.worlds.len())
        .filter(|&world| flow.worlds[world].event.as_deref() == Some("workflow_run"))
        .filter(|&world| flow.runs[world][at] != Run::Never)
        .collect();
    let mut found: Option<(usize, Kind, Span)> = None;
    for (other, index) in repository.github.deep(flow, at) {
        let own = std::ptr::eq(other, flow);
        if other.facts[index].iter().any(|facts| facts.downloads.iter().any(|taken| taken.elsewhere)) {
            return None;
        }
        for (step, facts) in other.steps(index) {
            let Some(done) = facts.mutation().filter(|done| done.work.kind.delivers()) else { continue };
            let runs = |&world: &usize| {
                step.condition
                    .as_ref()
                    .filter(|_| own)
                    .is_none_or(|condition| flow.scope(world, at, true).holds(condition) != Some(false))
            };
            if worlds.iter().any(runs) && found.is_none_or(|(_, kind, _)| done.work.kind > kind) {
                found = Some((at, done.work.kind, if own { step.span } else { flow.job_span(at) }));
            }
        }
    }
    found
}
