//! A job that stands for all others is green whatever they did.

mod by_script; // of the repository

use kapell_spec::github::Condition;
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, aggregate, comments};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule, listed},
};

/// See `docs/rules/aggregator-always-green.md`.
pub(super) static RULE: Rule = Rule {
    name: "aggregator-always-green",
    summary: "A job that stands for all others is green whatever they did",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/aggregator-always-green.md"),
    check,
};

/// Tells whether all that a job does is to print. A report is for people, and no check.
fn only_prints(flow: &Flow, at: usize, named: bool) -> bool {
    flow.steps(at).all(|(step, facts)| {
        let script = step.script();
        if step.shell.as_ref().is_some_and(|shell| matches!(&*shell.text, "pwsh" | "powershell")) {
            return !aggregate::power_shell_fails(script);
        }
        let silent = |text: &str| aggregate::judges_results(text, script) && !aggregate::inline_fails(script);
        let summary = script.contains("GITHUB_STEP_SUMMARY")
            || step.input("script").is_some_and(|script| script.contains("core.summary"));
        (!summary || named || demanded(flow, at))
            && facts.commands.iter().filter(|command| !command.words.is_empty()).all(|command| {
                // What they find is not what ends the script: that is asked for beside this.
                let looks = matches!(command.program(), "test" | "[" | "[[" | "jq" | "grep" | "cat");
                // `{ echo a; } >> summary.md` ends with no program.
                let speaks = matches!(command.program(), "echo" | "printf" | "true" | ":")
                    || command.program().starts_with('>');
                looks || speaks || command.text() == "exit 0" || silent(&command.text())
            })
    })
}

/// Words of the name of what merging waits for.
const PROMISES: &[&str] = &["passed", "pass", "green", "ok", "success", "succeeded", "required", "gate"];

/// Tells whether a job says by its name that all went well, and not that it tells people how.
fn promises(flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    let name = format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text));
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| PROMISES.iter().any(|promise| word.eq_ignore_ascii_case(promise)))
}

/// Tells whether a job compares results, and does not only list them.
fn compares(flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let told = ["summary", "report", "notif", "log", "print", "show", "debug"];
    let asks = flow.facts[at].iter().flat_map(|facts| &facts.commands).any(|command| {
        matches!(command.program(), "test" | "[" | "[[")
            || command.program() == "grep" && command.words.iter().any(|word| word.starts_with("-q"))
    });
    asks && !told.iter().any(|word| name.contains(word))
}

/// Tells whether a comment on a job says that merging waits for it.
fn asked_for(flow: &Flow, at: usize) -> bool {
    let words = [
        "branch protection",
        "branch rule",
        "ruleset",
        "required check",
        "required status",
        "required by",
        "required to merge",
        "merge queue",
    ];
    comments::explains(flow, flow.model.jobs[at].id.span, 1, &words).is_some()
}

/// Tells whether a job says by its name or a comment that nothing is merged without it.
pub(super) fn demanded(flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    let name = format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text));
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| word.eq_ignore_ascii_case("required")) || asked_for(flow, at)
}

/// Tells whether the steps of a job are there for what became of others: one for success, or one that fails.
fn wants_results(flow: &Flow, at: usize) -> bool {
    let mut conditions = flow.steps(at).filter_map(|(step, _)| step.condition.as_ref());
    let by_status = conditions.any(|own| own.text.contains("success()") || own.text.contains("failure()"));
    let text = flow.text.get(flow.model.jobs[at].span.range()).unwrap_or_default();
    by_status || text.contains(".result") && text.contains("needs.") && aggregate::can_fail(flow, at)
}

/// It looks for a result that there never is.
fn never_given(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let Some(word) = aggregate::asks_for_no_result(flow, at) else { return false };
    let id = &flow.model.jobs[at].id;
    let message = format!(
        "`{}` looks for the result `{word}`, which there never is: a job that failed passes",
        id.text
    );
    report
        .add(flow.file, id.span, message)
        .hint("a result is `success`, `failure`, `cancelled` or `skipped`")
        .done();
    true
}

/// It fails only if all of several jobs have failed at once.
fn together(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let Some(names) = aggregate::fails_only_together(flow, at) else { return false };
    let id = &flow.model.jobs[at].id;
    let names = listed(names.iter().map(|name| format!("`{name}`")), 4);
    report
        .add(
            flow.file,
            id.span,
            format!("`{}` fails only if {names} fail all at once: one of them alone passes", id.text),
        )
        .hint("ask with `||`, or for all: `contains(needs.*.result, 'failure') || contains(needs.*.result, 'cancelled')`")
        .done();
    true
}

/// The same in a script that asks whether every result is a failure.
fn every(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let asks = aggregate::asks_whether_all_failed(flow, at);
    if asks {
        let id = &flow.model.jobs[at].id;
        let message = format!(
            "`{}` fails only if all that it waits for fails at once: one failure alone passes",
            id.text
        );
        report.add(flow.file, id.span, message).hint("fail unless every result is `success`").done();
    }
    asks
}

/// It compares all results at once with a single one.
fn as_one_word(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let Some(word) = aggregate::compares_a_list(flow, at) else { return false };
    let job = &flow.model.jobs[at];
    let message = format!(
        "`{}` compares the results of {} jobs at once with the one word `{word}`, which they never are: a job that failed passes",
        job.id.text,
        job.needs.len()
    );
    report
        .add(flow.file, job.id.span, message)
        .hint("ask `contains(needs.*.result, 'failure') || contains(needs.*.result, 'cancelled')`")
        .done();
    true
}

/// It asks for one result after the other, and only the last answer counts.
fn takes_the_last(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let takes = aggregate::takes_the_last(flow, at);
    if takes {
        let id = &flow.model.jobs[at].id;
        let message = format!(
            "`{}` fails for the last result only: that is what `jq -e` takes its exit code from",
            id.text
        );
        report
            .add(flow.file, id.span, message)
            .hint("ask for all at once: `jq -e 'all(.[]; .result == \"success\")'`")
            .done();
    }
    takes
}

/// It looks at results, but for something else than a failure.
fn overlooks(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let Some(word) = aggregate::overlooks_failures(flow, at) else { return };
    let id = &flow.model.jobs[at].id;
    report
        .add(flow.file, id.span, format!("`{}` looks only for `{word}`: a job that failed passes", id.text))
        .hint("look for `failure` too: `contains(needs.*.result, 'failure') || contains(needs.*.result, 'cancelled')`")
        .done();
}

/// It fails by a step with `failure()`, which asks for the steps before it and never for other jobs.
///
/// Source: GitHub, "Evaluate expressions", `failure`, and actions/runner, `FailureFunction`: in a step it is the status of the job.
fn asks_its_own_steps(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let plain = |own: &Condition| -> String {
        let text = own.text.split_whitespace().collect::<String>();
        text.trim_start_matches("${{").trim_end_matches("}}").to_owned()
    };
    let whatever =
        job.condition.as_ref().is_some_and(|own| matches!(&*plain(own), "always()" | "!cancelled()"));
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    if !whatever || job.needs.is_empty() || text.contains("needs.") || text.contains("toJSON(needs)") {
        return false;
    }
    // With a step before it that can fail by itself, it may be for that.
    let asks = |own: &Condition| matches!(&*plain(own), "failure()" | "failure()||cancelled()");
    let mut failing = None;
    for (step, facts) in flow.steps(at) {
        let speaks = |command: &crate::github::script::Command| {
            matches!(command.program(), "echo" | "printf" | "true" | ":" | "")
        };
        if step.condition.as_ref().is_some_and(asks) && step.script().contains("exit 1") {
            failing = Some(step);
        } else if step.run.is_none() || !facts.commands.iter().all(speaks) {
            return false;
        }
    }
    let Some(step) = failing else { return false };
    report
        .add(
            flow.file,
            step.condition_span(),
            format!("`failure()` in a step asks for the steps before it, so `{}` is green whatever the other jobs did", job.id.text),
        )
        .hint("ask `contains(needs.*.result, 'failure') || contains(needs.*.result, 'cancelled')`")
        .done();
    true
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            by_script::check(repository, flow, at, report);
            if asks_its_own_steps(flow, at, report) {
                continue;
            }
            let Some(found) = aggregate::aggregator(flow, at) else { continue };
            // `success()` is what holds without a condition, and beside every one that asks for no status.
            let plain = job
                .condition
                .as_ref()
                .is_none_or(|own| !own.asks_status() || aggregate::is_default(&own.text));
            let asks = !plain && job.condition.as_ref().is_some_and(Condition::asks_status);
            let judges = asks && found.reads && aggregate::can_fail(flow, at);
            if judges
                && !never_given(flow, at, report)
                && !together(flow, at, report)
                && !every(flow, at, report)
                && !as_one_word(flow, at, report)
            {
                overlooks(flow, at, report);
            }
            let stands =
                found.named_strongly || !found.named_report || asked_for(flow, at) || compares(flow, at);
            let prints = asks
                && found.reads
                && stands
                && only_prints(flow, at, found.named_strongly && promises(flow, at));
            if asks && found.reads && !aggregate::can_fail(flow, at) && takes_the_last(flow, at, report) {
                continue;
            }
            // Whatever failed has skipped this by then: there is nothing left to read.
            if !plain && (found.reads && !prints || aggregate::can_fail(flow, at)) {
                continue;
            }
            let draft = if asks {
                let looks = if prints { "only prints the results" } else { "looks at no result" };
                report
                    .add(flow.file, job.id.span, format!("`{}` runs whatever happened and {looks}, so it is always green", job.id.text))
                    .hint("fail it unless every result is `success`: `contains(needs.*.result, 'failure') || contains(needs.*.result, 'cancelled')`")
            } else if plain && (found.named_strongly || wants_results(flow, at)) {
                report
                    .add(flow.file, job.id.span, format!("`{}` is skipped when a job before it fails, and a skipped check counts as passed", job.id.text))
                    .severity(if demanded(flow, at) { Severity::High } else { Severity::Medium })
                    .confidence(Confidence::Medium)
                    .hint("let it run with `if: always()` and fail it unless every result is `success`")
            } else {
                continue;
            };
            match comments::explains(
                flow,
                job.id.span,
                1,
                &[
                    "always green",
                    "placeholder",
                    "only report",
                    "only tell",
                    "only for information",
                    "only inform",
                    "notif",
                ],
            ) {
                Some(comment) => draft.explained(comment).done(),
                None => draft.done(),
            }
        }
    }
}
