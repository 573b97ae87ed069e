//! A job is skipped because a job further up is, although its own condition says otherwise.

mod changes; // jobs that run for the files of their own

mod exclusive; // conditions that ask one thing for two answers

mod vain; // events on which nothing is done of what they are for

use kapell_core::expr::{Literal, Node, NodeKind};
use kapell_spec::github::Condition;
use kapell_view::audit::{Confidence, FixClass, Severity};

use crate::github::{
    Flow, carry,
    conditions::{self, Run},
    simulate,
    tools::Kind,
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/skip-propagation.md`.
pub(super) static RULE: Rule = Rule {
    name: "skip-propagation",
    summary: "A job is skipped because a job further up is, although its own condition says otherwise",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/skip-propagation.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        vain::check(&repository.github, flow, report);
        for (at, _) in flow.jobs() {
            changes::both_changed(flow, at, report);
            if asks(flow, at) {
                continue;
            }
            if !never_runs(flow, at, report)
                && !exclusive::check(flow, at, report)
                && !behind_repair(flow, at, report)
                && !switched_off(flow, at, report)
                && !expects_skipped(flow, at, report)
                && !event_denied(flow, at, report)
                && !changes::another_changed(flow, at, report)
                && !changes::optional_first(flow, at, report)
            {
                through(flow, at, report);
            }
        }
    }
}

fn asks(flow: &Flow, at: usize) -> bool {
    flow.model.jobs[at].condition.as_ref().is_some_and(Condition::asks_status)
}

fn text(flow: &Flow, at: usize) -> &str {
    flow.model.jobs[at].condition.as_ref().map_or("", |condition| &condition.text)
}

/// The condition of the job and those of the jobs that it needs exclude each other.
fn never_runs(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let own = |world: usize| {
        job.condition
            .as_ref()
            .is_none_or(|condition| flow.scope(world, at, false).holds(condition) != Some(false))
    };
    let worlds = 0..flow.worlds.len();
    if !worlds.clone().all(|world| flow.runs[world][at] == Run::Never) {
        return false;
    }
    let possible: Vec<usize> = worlds.filter(|&world| own(world)).collect();
    if possible.is_empty() {
        return false;
    }
    // One that runs in some other situation is to blame; if none ever runs, that is told of them.
    let blamed = flow.closures[at].iter().copied().find(|&up| {
        possible.iter().all(|&world| flow.runs[world][up] == Run::Never)
            && flow.runs.iter().any(|runs| runs[up] != Run::Never)
    });
    let Some(up) = blamed else {
        return exclusive::never_together(flow, at, &possible, report) || behind_off(flow, at, report);
    };
    let blamed = &flow.model.jobs[up];
    let whenever = match (&job.condition, &blamed.condition) {
        (None, _) => "",
        (_, None) => " whenever its own condition holds: there no job runs of those that it calls",
        _ => " whenever its own condition holds",
    };
    let message = format!(
        "`{}` can never run: `{}`, which it waits for, is skipped{whenever}",
        job.id.text, blamed.id.text
    );
    report
        .add(flow.file, job.id.span, message)
        .also(flow.file, blamed.condition_span(), "skipped by this condition")
        .hint(match &job.condition {
            Some(own) => {
                format!(
                    "ask for the status: `!failure() && !cancelled() && ({})`, or drop the need",
                    own.text
                )
            }
            None => "let it run unless one has failed: `if: ${{ !failure() && !cancelled() }}`".to_owned(),
        })
        .done();
    true
}

/// Somebody has turned a job off for a while, and with it for good what only waits for it: `if: false`.
fn behind_off(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let off = |&need: &usize| {
        let other = &flow.model.jobs[need];
        let takes = carry::reads(job, &other.id.text) || !carry::artifacts_taken(flow, need, at).is_empty();
        other.condition.as_ref().is_some_and(super::unsatisfiable_if::is_off) && !takes
    };
    let direct = conditions::direct(&flow.model, job);
    // With all that it waits for turned off, it is so on purpose, unless those are checks.
    let all = direct.iter().all(off);
    let checks = |need: usize| {
        flow.facts[need].iter().any(|facts| facts.works.iter().any(|done| done.work.kind.checks()))
    };
    let found = direct.iter().copied().find(|need| off(need) && (!all || checks(*need)));
    let Some(need) = found else { return false };
    let other = &flow.model.jobs[need];
    let delivers =
        |at: usize| carry::delivers(flow, at) || flow.facts[at].iter().any(|facts| facts.does(Kind::Pages));
    let grave = delivers(at) || flow.jobs().any(|(up, _)| flow.closures[up].contains(&at) && delivers(up));
    report
        .add(
            flow.file,
            job.needs_span(),
            format!("`{}` never runs: `{}`, which it waits for, is turned off", job.id.text, other.id.text),
        )
        .severity(if grave { Severity::High } else { Severity::Medium })
        .also(flow.file, other.condition_span(), "turned off here")
        .hint(format!(
            "drop `{}` from `needs`, or let it run unless one has failed: `if: ${{{{ !failure() && !cancelled() }}}}`",
            other.id.text
        ))
        .done();
    true
}

/// Tells whether a condition lets its job run only after a failure: `failure()`, and whatever else.
fn only_after_failure(condition: &Condition) -> bool {
    let is =
        |node: &Node| matches!(&node.kind, NodeKind::Call { function, .. } if function.name() == "failure");
    condition.expr.as_ref().is_some_and(|expr| match &expr.root().kind {
        NodeKind::And(operands) => operands.iter().any(is),
        _ => is(expr.root()),
    })
}

/// It waits for a job that only runs after a failure, and itself only runs when nothing has failed.
fn behind_repair(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let repairs = |&need: &usize| {
        let other = &flow.model.jobs[need];
        !other.needs.is_empty() && other.condition.as_ref().is_some_and(only_after_failure)
    };
    let Some(need) = conditions::direct(&flow.model, job).into_iter().find(repairs) else { return false };
    let repair = &flow.model.jobs[need];
    report
        .add(
            flow.file,
            job.needs_span(),
            format!(
                "`{}` can never run: `{}` runs only after a failure, and is skipped otherwise",
                job.id.text, repair.id.text
            ),
        )
        .also(flow.file, repair.condition_span(), "only after a failure")
        .hint(format!(
            "drop `{}` from `needs`, or ask for a status: `if: ${{{{ !cancelled() }}}}`",
            repair.id.text
        ))
        .done();
    true
}

/// Somebody may ask to leave a job out, and that takes along what waits for it: `if: ${{ !inputs.skip_tests }}`.
fn switched_off(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let switch = |need: usize| {
        let plain: String = text(flow, need).split_whitespace().collect();
        let plain =
            plain.trim_start_matches("${{").trim_end_matches("}}").replace("github.event.inputs.", "inputs.");
        let name = plain.strip_prefix("!inputs.").or_else(|| {
            let (name, value) = plain.strip_prefix("inputs.")?.split_once(['=', '!'])?;
            let off = matches!(value, "='false'" | "=false" | "='true'" | "=true");
            let turned = plain.contains("!=") == value.contains("true");
            (off && turned).then_some(name)
        })?;
        let word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let skips = name.split(['-', '_']).any(|part| matches!(part, "skip" | "no" | "without" | "bypass"));
        (word && skips).then(|| name.to_owned())
    };
    let takes = |need: usize| {
        !carry::artifacts_taken(flow, need, at).is_empty()
            || carry::reads(job, &flow.model.jobs[need].id.text)
    };
    let found = conditions::direct(&flow.model, job)
        .into_iter()
        .find_map(|need| Some((need, switch(need).filter(|_| !takes(need))?)));
    // With a condition of its own that asks for the same it is meant to go along.
    let Some((need, name)) = found.filter(|(_, name)| !text(flow, at).contains(name.as_str())) else {
        return false;
    };
    let need = &flow.model.jobs[need];
    report
        .add(
            flow.file,
            job.needs_span(),
            format!("whoever sets `{name}` to leave out `{}` leaves out `{}` too", need.id.text, job.id.text),
        )
        .severity(if carry::delivers(flow, at) { Severity::High } else { Severity::Medium })
        .also(flow.file, need.condition_span(), "skipped then")
        .hint("let it run unless one has failed: `if: ${{ !failure() && !cancelled() }}`")
        .done();
    true
}

/// The condition speaks of a skipped job, but without a status function it is never asked then.
fn expects_skipped(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let Some(condition) = &job.condition else { return false };
    let Some(expr) = &condition.expr else { return false };
    let mut skipped = None;
    expr.root().walk(&mut |node| {
        if let NodeKind::Compare { left, right, comparison: kapell_core::expr::Comparison::Equal } =
            &node.kind
        {
            for (path, literal) in [(left, right), (right, left)] {
                if is_text(literal, "skipped")
                    && let Some(need) = result_of(path)
                {
                    skipped = Some(need);
                }
            }
        }
    });
    let Some(need) = skipped else { return false };
    let fixed = format!("${{{{ !cancelled() && ({}) }}}}", condition.text);
    let whole = job.keys.open && !condition.text.contains('\n');
    let draft = report
        .add(
            flow.file,
            condition.span,
            format!("`{}` asks whether `{need}` was skipped, but is skipped itself then", job.id.text),
        )
        .hint(
            "without a status function a condition means `success() && ...`, and a skipped job is no success",
        );
    if whole {
        draft
            .fix(
                "let the condition decide after a skipped job too",
                FixClass::Review,
                [(flow.file, condition.span, fixed)],
            )
            .done();
    } else {
        draft.done();
    }
    true
}

fn is_text(node: &Node, text: &str) -> bool {
    matches!(&node.kind, NodeKind::Literal(Literal::String(found)) if found.eq_ignore_ascii_case(text))
}

fn result_of(node: &Node) -> Option<String> {
    let references = node.references();
    let path = &references.first()?.path;
    (path.len() == 3 && path[0].0.eq_ignore_ascii_case("needs") && path[2].0 == "result")
        .then(|| path[1].0.to_owned())
}

/// The condition names an event in which a job further up is always skipped.
fn event_denied(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let Some(condition) = &job.condition else { return false };
    for (index, world) in flow.worlds.iter().enumerate() {
        let Some(event) = world.event.as_deref() else { continue };
        let named = condition.text.contains(&format!("'{event}'")) && flow.model.events.len() > 1;
        if !named
            || flow.scope(index, at, false).holds(condition) != Some(true)
            || flow.runs[index][at] != Run::Never
        {
            continue;
        }
        let blamed = flow.closures[at].iter().copied().find(|&up| {
            flow.runs[index][up] == Run::Never
                && flow.model.jobs[up]
                    .condition
                    .as_ref()
                    .is_some_and(|own| flow.scope(index, up, false).holds(own) == Some(false))
        });
        let Some(up) = blamed else { continue };
        let blamed = &flow.model.jobs[up];
        let message = format!(
            "on {event} `{}` is skipped although its condition names that event: `{}`, which it waits for, never runs then",
            job.id.text, blamed.id.text
        );
        report
            .add(flow.file, condition.span, message)
            .severity(Severity::Medium)
            .also(flow.file, blamed.condition_span(), "never runs on that event")
            .hint("ask for the status of what it needs: `!failure() && !cancelled() && ...`")
            .done();
        return true;
    }
    false
}

/// A job two steps up is skipped, the one between runs all the same, and this one does not.
fn through(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let direct = conditions::direct(&flow.model, &flow.model.jobs[at]);
    // Those that wait for it say that it may be skipped.
    let tolerated = format!("needs.{}.result == 'skipped'", flow.model.jobs[at].id.text);
    if !direct.iter().any(|&need| asks(flow, need)) || flow.text.contains(&tolerated) {
        return;
    }
    for world in 0..flow.worlds.len() {
        let Some(found) = simulate::skipped_through(flow, world, at) else { continue };
        let (up, between) = (&flow.model.jobs[found.skipped], &flow.model.jobs[found.between]);
        let job = &flow.model.jobs[at];
        let message = format!(
            "`{}` is skipped whenever `{}` is, although `{}`, which it waits for, runs then",
            job.id.text, up.id.text, between.id.text
        );
        let span = job.condition_span();
        let own = if text(flow, at).is_empty() { String::new() } else { format!(" && ({})", text(flow, at)) };
        report
            .add(flow.file, span, message)
            .also(flow.file, up.id.span, "may be skipped")
            .also(flow.file, between.id.span, "runs all the same")
            .hint(format!(
                "write `if: ${{{{ !cancelled() && needs.{}.result == 'success'{own} }}}}`",
                between.id.text
            ))
            .done();
        return;
    }
}
