//! A gate computes a decision that nobody reads, or lets its failure pass.

mod not_run; // tests of which none is run

mod nothing_found; // tests that are looked for

mod scanned; // images that are scanned when they are out

mod steps; // steps that deliver whatever became of those before

mod unread; // decisions that nobody reads

use std::sync::LazyLock;

use super::masked_failure::SOFT;
use crate::github::{
    Flow, StepFacts, aggregate, carry, comments, conditions,
    conditions::Run,
    lenience::{Lenience, lenience, passes_for},
    tools::Kind,
};
use crate::{
    repository::{Depth, Repository},
    rule::{Draft, Focus, Group, Report, Rule},
};
use kapell_spec::{
    github::{Condition, Job, Text},
    words::Words,
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/gate-gates-nothing.md`.
pub(super) static RULE: Rule = Rule {
    name: "gate-gates-nothing",
    summary: "A gate computes a decision that nobody reads, or lets its failure pass",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/gate-gates-nothing.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, _) in flow.jobs() {
            by_age(flow, at, report);
            unread::check(flow, at, report);
            lenient_gate(flow, at, report);
            other_event(flow, at, report);
            soft_gate(flow, at, report);
            heedless(flow, at, report);
            steps::check(flow, at, report);
            approval_aside(flow, at, report);
            unasked_part(flow, at, report);
            only_says(flow, at, report);
            scanned::check(flow, at, report);
            not_run::compiled(flow, at, report);
            nothing_found::check(flow, at, report);
            not_run::absent(repository, flow, at, report);
        }
    }
}

/// Something is delivered by a job that runs whatever became of the checks for which it waits.
fn heedless(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some(condition) = &job.condition else { return };
    let plain: String = condition.text.split_whitespace().collect();
    let whatever = plain.contains("always()") || plain.contains("!cancelled()");
    let looks = ["failure()", "success()"].iter().any(|word| plain.contains(word));
    if !whatever || looks || plain.contains("github.event.action") {
        return;
    }
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    // What is taken away or told of after a failure too is not what a check is to keep back.
    const ASIDE: &[&str] = &[
        "clean", "tear", "destroy", "delete", "remove", "rollback", "revert", "report", "notif", "result",
        "coverage", "preview",
    ];
    // `changelog` and `login` are no logs.
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let aside = words
        .any(|word| matches!(word, "log" | "logs") || ASIDE.iter().any(|start| word.starts_with(start)))
        || name.contains("roll back");
    if aside {
        return;
    }
    let delivers = flow.steps(at).find_map(|(step, facts)| {
        let done = facts.mutation()?;
        let sure = matches!(done.work.kind, Kind::Deploy | Kind::Publish | Kind::Release)
            || done.work.kind == Kind::Pages && !shows_results(flow, at);
        (sure
            && step.condition.is_none()
            && !["destroy", "delete", "uninstall"].iter().any(|word| done.text.contains(word)))
        .then_some(step.span)
    });
    let direct = conditions::direct(&flow.model, job);
    let read = |need: &usize| {
        let id = &flow.model.jobs[*need].id.text;
        carry::reads(job, id) && !lets_failure_pass(&plain, id)
    };
    // Whoever asks for one that comes after the gate asks for the gate, too.
    let seen = |gate: usize| {
        direct.iter().any(|need| read(need) && (*need == gate || flow.closures[*need].contains(&gate)))
    };
    let gate = direct.iter().copied().find(|&need| {
        flow.model.jobs[need].continue_on_error.is_none()
            && !seen(need)
            && flow.facts[need].iter().any(|facts| facts.does(Kind::Test))
            && !flow.facts[need].iter().any(|facts| facts.mutation().is_some())
    });
    let (Some(delivery), Some(gate)) = (delivers, gate) else { return };
    let gate = &flow.model.jobs[gate].id;
    let draft = report
        .add(
            flow.file,
            condition.span,
            format!("`{}` waits for `{}` and delivers even if that fails", job.id.text, gate.text),
        )
        .severity(Severity::High)
        .also(flow.file, gate.span, "its failure stops nothing")
        .also(flow.file, delivery, "delivered here")
        .hint(format!("ask for it: `needs.{}.result == 'success'`", gate.text));
    match comments::explains(
        flow,
        condition.span,
        2,
        // The name of the function says nothing of why.
        &[
            "even if",
            "regardless",
            "anyway",
            "whatever",
            "always deploy",
            "always publish",
            "always run",
            "always release",
        ],
    ) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Tells whether all that a condition asks of the result of a job is fulfilled by a failure, too: `result != 'cancelled'`, or
/// `result == 'success' || result == 'failure'`.
fn lets_failure_pass(plain: &str, need: &str) -> bool {
    let asked: Vec<&str> = plain.split(&format!("needs.{need}.")).skip(1).collect();
    let passes = |rest: &&str| {
        ["result=='failure'", "result!='cancelled'", "result!='skipped'"]
            .iter()
            .any(|word| rest.starts_with(word))
    };
    let either = plain.contains(&format!("||needs.{need}.result=='failure'"))
        || plain.contains(&format!("needs.{need}.result=='failure'||"));
    !asked.is_empty() && (asked.iter().all(passes) || either)
}

/// Tells whether the pages of a workflow are what its tests have found, which are for the day on which they fail.
fn shows_results(flow: &Flow, at: usize) -> bool {
    let mut said = format!("{} {}", flow.name(), flow.model.jobs[at].id.text);
    let jobs = flow.closures[at].iter().copied().chain([at]);
    let gives = |step: &&kapell_spec::github::Step| {
        step.is("actions/upload-pages-artifact")
            || step.input("publish_dir").is_some()
            || step.input("folder").is_some()
    };
    for step in jobs.flat_map(|job| &flow.model.jobs[job].steps).filter(gives) {
        said.push_str(flow.text.get(step.span.range()).unwrap_or_default());
    }
    for step in &flow.model.jobs[at].steps {
        said.push_str(flow.text.get(step.span.range()).unwrap_or_default());
    }
    let lower = said.to_ascii_lowercase();
    ["report", "allure", "coverage", "results", "storybook", "benchmark"]
        .iter()
        .any(|word| lower.contains(word))
}

/// Somebody has to approve, and what is delivered does not wait for it.
fn approval_aside(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let asks = |facts: &StepFacts| facts.actions.iter().any(|name| name == "trstringer/manual-approval");
    if job.environment.is_none() && !flow.facts[at].iter().any(asks) {
        return;
    }
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let named = ["approv", "sign-off", "signoff", "sign off"].iter().any(|word| name.contains(word));
    let idle = flow.facts[at]
        .iter()
        .all(|facts| asks(facts) || facts.works.iter().all(|done| done.work.kind == Kind::Trivial));
    let needed = flow.jobs().any(|(other, _)| flow.closures[other].contains(&at));
    if !named || !idle || needed || job.steps.is_empty() || !job.outputs.is_empty() {
        return;
    }
    // What a recipe of make does may not be known; a job that is called so delivers.
    let called = |other: usize, job: &Job| {
        let mut words = job.id.text.split(['-', '_']);
        let works = || flow.facts[other].iter().flat_map(|facts| &facts.works);
        words.any(|word| matches!(word, "production" | "prod" | "deploy" | "release" | "publish" | "rollout"))
            && works().any(|done| done.work.kind != Kind::Trivial && done.command.is_some())
    };
    let goes_out = flow.jobs().find(|(other, job)| {
        *other != at
            && !flow.closures[at].contains(other)
            && (carry::delivers(flow, *other) || called(*other, job))
    });
    let Some((_, delivery)) = goes_out else { return };
    report
        .add(
            flow.file,
            job.id.span,
            format!(
                "no job waits for `{}`, so `{}` delivers before anybody has approved",
                job.id.text, delivery.id.text
            ),
        )
        .severity(Severity::High)
        .also(flow.file, delivery.id.span, "does not wait for it")
        .hint(format!("add `{}` to the `needs` of `{}`", job.id.text, delivery.id.text))
        .done();
}

/// What asks when a file was changed.
const AGES: &[&str] =
    &["getmtime(", ".st_mtime", "mtimeMs", "stat -c %Y", "stat -c '%Y'", "stat --format=%Y"];

/// A script compares when files of the checkout were changed: a fresh checkout makes all of them alike.
fn by_age(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    // Hardly a job asks for such times at all; whatever does has one of these in it.
    static ASKS: LazyLock<Words> = LazyLock::new(|| Words::exact(&["mtime", "%Y"]));
    if !ASKS.is_in(text) {
        return;
    }
    // Whatever restores or makes files gives them times of their own.
    let made = flow.facts[at].iter().any(|facts| facts.does(Kind::Cache) || !facts.downloads.is_empty());
    let restores = ["restore-mtime", "restore_mtime", "git log", "utime(", "touch "];
    let Some(checkout) = job.steps.iter().position(|step| step.is("actions/checkout")) else { return };
    if made || restores.iter().any(|word| text.contains(word)) {
        return;
    }
    for (step, facts) in job.steps.iter().zip(&flow.facts[at]).skip(checkout + 1) {
        let script = step.script();
        let Some(found) = AGES.iter().filter_map(|word| script.find(word)).min() else { continue };
        // What the same script writes is no file of the checkout.
        let judges =
            ["max(", "min(", " - ", "-lt", "-gt", " < ", " > "].iter().any(|word| script.contains(word));
        if !judges || facts.does(Kind::Build) {
            continue;
        }
        let span = flow.script_line(step, found, "");
        report
            .add(
                flow.file,
                span,
                "this compares when files were changed, but a fresh checkout makes all of them alike"
                    .to_owned(),
            )
            .also(flow.file, job.steps[checkout].span, "written here, all at once")
            .hint("ask `git log -1 --format=%ct -- FILE`, with the history that it needs")
            .done();
        return;
    }
}

/// A check that may fail is what a job that changes something outside, or stands for all, waits for.
fn lenient_gate(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some(lenient) = job.continue_on_error.as_ref() else { return };
    let always = lenience(flow, lenient) == Some(Lenience::All);
    let lets_pass = |other: usize| always || passes_for(flow, lenient, other) && carry::delivers(flow, other);
    let waiting = flow.jobs().find(|(other, candidate)| {
        lets_pass(*other)
            && candidate.needs.iter().any(|need| need.text.eq_ignore_ascii_case(&job.id.text))
            && !carry::reads(candidate, &job.id.text)
            && (carry::changes(flow, *other) || aggregate::aggregator(flow, *other).is_some())
    });
    let checks = flow.facts[at].iter().any(|facts| facts.works.iter().any(|done| done.work.kind.checks()));
    let Some((gate_at, gated)) = waiting.filter(|_| checks) else { return };
    report
        .add(
            flow.file,
            lenient.span,
            format!("`{}` waits for `{}`, but a failure of it counts as success", gated.id.text, job.id.text),
        )
        .severity(if carry::delivers(flow, gate_at) { Severity::High } else { Severity::Medium })
        .also(flow.file, gated.id.span, "goes on after its failure")
        .hint("drop `continue-on-error`, or do not wait for it")
        .done();
}

/// Something that changes the outside is kept from pull requests by the name of an event that does not start the workflow:
/// `!= 'pull_request'` lets `pull_request_target` pass.
fn other_event(flow: &Flow, at: usize, report: &mut Report<'_>) {
    if !flow.starts("pull_request_target") || flow.starts("pull_request") {
        return;
    }
    let worlds: Vec<usize> = (0..flow.worlds.len())
        .filter(|&world| flow.worlds[world].is_pull_request() && flow.runs[world][at] != Run::Never)
        .collect();
    let passes = |condition: &Condition, in_step: bool| {
        worlds.iter().any(|&world| flow.scope(world, at, in_step).holds(condition) != Some(false))
    };
    let job = &flow.model.jobs[at];
    let of_job =
        job.condition.as_ref().filter(|own| keeps_out(own) && carry::changes(flow, at) && passes(own, false));
    let of_step = || {
        flow.steps(at).find_map(|(step, facts)| {
            step.condition
                .as_ref()
                .filter(|own| keeps_out(own) && facts.mutation().is_some() && passes(own, true))
        })
    };
    let Some(condition) = of_job.or_else(of_step) else { return };
    report
        .add(
            flow.file,
            condition.span,
            format!(
                "`!= 'pull_request'` shall keep `{}` from pull requests, but they come as `pull_request_target` here",
                job.id.text
            ),
        )
        .severity(Severity::High)
        .confidence(Confidence::High)
        .also(flow.file, flow.model.event("pull_request_target").map_or(job.id.span, |event| event.name.span), "starts it")
        .hint("compare with `pull_request_target`, or ask for the events that may pass")
        .done();
}

/// Tells whether a condition holds for all events but `pull_request`.
fn keeps_out(condition: &Condition) -> bool {
    let text: String = condition.text.split_whitespace().collect();
    text.contains("github.event_name!='pull_request'")
}

/// A scanner is told never to fail, and something that changes the outside waits for it.
fn soft_gate(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let soft = flow.model.jobs[at].steps.iter().find_map(|step| {
        // What is kept is looked at somewhere else, and another look at the same may fail.
        let kept = step.input("format").is_some_and(|format| format.text.contains("sarif"));
        let strict = flow.steps(at).any(|(other, _)| {
            !std::ptr::eq(other, step)
                && other.uses.as_ref().map(|(text, _)| &text.text)
                    == step.uses.as_ref().map(|(text, _)| &text.text)
        });
        let tells = |(name, value): &(&str, &str)| step.input(name).filter(|text| text.is(value));
        SOFT.iter().find_map(tells).filter(|_| step.action().is_some() && !kept && !strict)
    });
    let Some(soft) = soft else { return };
    let waiting =
        flow.jobs().find(|(other, _)| flow.closures[*other].contains(&at) && carry::changes(flow, *other));
    let Some((other, waiting)) = waiting else {
        return soft_before(flow, at, soft, report);
    };
    let draft = report
        .add(
            flow.file,
            soft.span,
            format!(
                "`{}` waits for `{}`, which is told never to fail",
                waiting.id.text, flow.model.jobs[at].id.text
            ),
        )
        .severity(if carry::delivers(flow, other) { Severity::High } else { Severity::Medium })
        .also(flow.file, waiting.id.span, "goes on whatever was found")
        .hint("let it fail, with a baseline of what is known");
    tell(flow, soft, draft);
}

/// Tells it, unless a comment at the word says that it is meant so for now: then the comment is told with it.
fn tell(flow: &Flow, soft: &Text, draft: Draft<'_>) {
    const MEANT: &[&str] = &[
        "report only",
        "report-only",
        "only report",
        "reports only",
        "until",
        "todo",
        "advisory",
        "informational",
        "known",
        "for now",
    ];
    match comments::explains(flow, soft.span, 1, MEANT) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// A scanner is told never to fail, and its own job gives to a registry what it has looked at.
fn soft_before(flow: &Flow, at: usize, soft: &Text, report: &mut Report<'_>) {
    let later = flow.steps(at).filter(|(step, _)| step.span.start > soft.span.end).find(|(_, facts)| {
        facts.does(Kind::Publish) || facts.does(Kind::Deploy) || facts.does(Kind::Release)
    });
    let kept = ["upload-artifact", "sarif", "outcome"]
        .iter()
        .any(|word| flow.text.get(flow.model.jobs[at].span.range()).is_some_and(|text| text.contains(word)));
    let Some((later, _)) = later.filter(|_| !kept) else { return };
    let draft = report
        .add(
            flow.file,
            soft.span,
            format!(
                "`{}` delivers whatever this finds: it is told never to fail",
                flow.model.jobs[at].id.text
            ),
        )
        .also(flow.file, later.name_span(), "goes on whatever was found")
        .hint("let it fail, with a baseline of what is known");
    tell(flow, soft, draft);
}

/// A filter of files tells whether a part has changed, and the job of that part runs in any case: `web` asks, `api` does not.
fn unasked_part(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let filters = flow.facts[at].iter().flat_map(|facts| &facts.actions);
    let by_files =
        filters.into_iter().any(|name| name.contains("paths-filter") || name.contains("changed-files"));
    if !by_files || job.outputs.len() < 2 {
        return;
    }
    let asks = |other: usize, output: &str| {
        let own = &flow.model.jobs[other];
        carry::outputs_read(own, &job.id.text)
            .iter()
            .any(|(name, _)| name == "*" || name.eq_ignore_ascii_case(output))
    };
    let all = || flow.jobs().filter(|(other, _)| flow.closures[*other].contains(&at));
    for (output, _) in &job.outputs {
        let read = all().any(|(other, _)| asks(other, &output.text));
        let given = flow.text.contains(&format!("jobs.{}.outputs", job.id.text));
        let of_part = all().find(|(other, own)| {
            own.id.text.eq_ignore_ascii_case(&output.text)
                && own.condition.is_none()
                && conditions::direct(&flow.model, own).contains(&at)
                && !carry::reads(own, &job.id.text)
                && flow.facts[*other].iter().all(|facts| !facts.runs_own_script())
        });
        let (Some((_, part)), false) = (of_part, read || given) else { continue };
        // That nobody asks at all is told of as a whole.
        if !job.outputs.iter().any(|(name, _)| all().any(|(other, _)| asks(other, &name.text))) {
            return;
        }
        report
            .add(
                flow.file,
                output.span,
                format!(
                    "`{}` tells whether `{}` has changed, and the job `{}` runs in any case",
                    job.id.text, output.text, part.id.text
                ),
            )
            .also(flow.file, part.id.span, "does not ask for it")
            .hint(format!("add `if: needs.{}.outputs.{} == 'true'`", job.id.text, output.text))
            .done();
        return;
    }
}

/// A job checks something by a script that only prints an error, and what goes out waits for it.
fn only_says(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let waiting = || {
        flow.jobs().find(|(other, _)| flow.closures[*other].contains(&at) && carry::delivers(flow, *other))
    };
    for (step, facts) in flow.steps(at) {
        let script = step.script();
        if !script.contains("::error") || step.continue_on_error.is_some() {
            continue;
        }
        // It ends with a failure in some way, keeps what it found, or has run something that fails by itself.
        let fails = ["exit", "false", "return", "GITHUB_OUTPUT", "GITHUB_ENV", "fail", "die"];
        let shell =
            step.shell.as_ref().is_none_or(|shell| shell.text.starts_with("bash") || &*shell.text == "sh");
        let says = facts.commands.iter().find(|command| {
            command.program() == "echo"
                && command.depth > 0
                && command.words.iter().any(|word| word.starts_with("::error"))
        });
        let code: String =
            script.lines().filter(|line| !line.contains("::error")).collect::<Vec<_>>().join("\n");
        let (Some(says), Some((_, waiting))) = (says, waiting()) else { continue };
        // What only tells of it before it fails by itself is the way of many.
        let last = facts.commands.iter().rev().find(|command| !command.words.is_empty());
        if !shell
            || fails.iter().any(|word| code.contains(word))
            || !last.is_some_and(|last| std::ptr::eq(last, says))
        {
            continue;
        }
        report
            .add(
                flow.file,
                flow.script_line(step, says.start, "echo"),
                format!(
                    "`{}` only prints this error and stays green, so `{}` goes on",
                    flow.model.jobs[at].id.text, waiting.id.text
                ),
            )
            .severity(Severity::High)
            .also(flow.file, waiting.id.span, "waits for it")
            .hint("add `exit 1` behind it")
            .done();
        return;
    }
}
