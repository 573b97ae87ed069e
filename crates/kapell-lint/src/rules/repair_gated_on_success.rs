//! What should happen after a failure only happens after success.

mod status; // conditions that ask for the status of their own job

mod taken; // what is made for a while stays after a failure

mod logs; // what is shown of the tests

mod names; // what names say that it is for a failure

mod told; // agents that a text starts on what is broken

mod own; // what a script of the repository makes, and takes away again

mod unreached; // a way back behind a check that lets its failure pass

pub(super) use self::taken::rents;

use self::names::is_for_failure;

use kapell_core::expr::{Comparison, Function, Key, Literal, Node, NodeKind};
use kapell_spec::github::{Condition, Job, Step, Text};
use kapell_view::audit::{Confidence, FixClass, Severity};

use crate::github::{
    Flow, StepFacts, aggregate, carry,
    facts::is_migration,
    is_action,
    script::{Command, Then},
    tools::{self, Kind},
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/repair-gated-on-success.md`.
pub(super) static RULE: Rule = Rule {
    name: "repair-gated-on-success",
    summary: "What should happen after a failure only happens after success",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/repair-gated-on-success.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    told::check(repository, report);
    for flow in repository.asked_flows() {
        for (at, job) in flow.jobs() {
            rollback(flow, at, report);
            goes_back(flow, at, report);
            if let Some(condition) = job.condition.as_ref().filter(|condition| !condition.asks_status())
                && let Some(("needs", need, _)) = after_failure(condition).or_else(|| not_well(condition))
            {
                let when = match need {
                    "*" => "a job before it failed".to_owned(),
                    need => format!("`{need}` failed"),
                };
                add(flow, &format!("`{}`", job.id.text), condition, &when, "always()", report);
            }
            job_by_name(flow, job, report);
            unseen_report(flow, at, report);
            logs::check(flow, at, report);
            let lasting = taken::lasting(flow, at);
            taken::between_steps(flow, at, &lasting, report);
            taken::between_jobs(repository, (flow, at), &lasting, report);
            own::check(flow, at, report);
            taken::stopped_late(flow, at, report);
            unreached::check(flow, at, report);
            for (index, step) in job.steps.iter().enumerate() {
                let Some(condition) = &step.condition else {
                    by_name(flow, (at, index), report);
                    continue;
                };
                if aggregate::is_default(&condition.text) {
                    asks_for_success(flow, (at, index), condition, report);
                    continue;
                }
                let name = || {
                    step.name.as_ref().map_or("this step".to_owned(), |name| format!("step `{}`", name.text))
                };
                if !condition.asks_status() && index > 0 && status::asks(condition) {
                    add(flow, &name(), condition, "its job failed", "failure()", report);
                    continue;
                }
                by_outcome(flow, (at, index), condition, report);
            }
        }
    }
    for action in repository.github.with_steps().filter(|flow| is_action(&flow.path)) {
        for (at, job) in action.jobs() {
            let steps = job.steps.iter().enumerate();
            for (index, condition) in
                steps.filter_map(|(index, step)| Some((index, step.condition.as_ref()?)))
            {
                by_outcome(action, (at, index), condition, report);
            }
        }
    }
}

/// What runs where an earlier step failed, and asks for no status: it is asked only where none has failed.
///
/// Source: GitHub, "Evaluate expressions", "Status check functions": a condition without one has `success()` added to it; in a
/// composite action that goes by the steps of the action.
fn by_outcome(flow: &Flow, (at, index): (usize, usize), condition: &Condition, report: &mut Report<'_>) {
    let steps = &flow.model.jobs[at].steps;
    let Some(("steps", id, property)) = after_failure(condition) else { return };
    let earlier = steps[..index]
        .iter()
        .find(|known| known.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id)));
    // A step that may fail has an outcome of its own; its conclusion is success then.
    let lenient =
        earlier.is_some_and(|step| step.continue_on_error.as_ref().is_some_and(|text| !text.is("false")));
    if lenient && property == "conclusion" {
        by_conclusion(flow, (at, index), (condition, id), report);
        return;
    }
    if condition.asks_status() || earlier.is_none() || lenient && property == "outcome" {
        return;
    }
    let name =
        steps[index].name.as_ref().map_or("this step".to_owned(), |name| format!("step `{}`", name.text));
    add(flow, &name, condition, &format!("step `{id}` failed"), "failure()", report);
}

/// The conclusion of a step that may fail is never a failure: only its outcome is.
///
/// Source: GitHub, "Contexts reference", `steps.<step_id>.conclusion`.
fn by_conclusion(
    flow: &Flow,
    (at, index): (usize, usize),
    (condition, id): (&Condition, &str),
    report: &mut Report<'_>,
) {
    let step = &flow.model.jobs[at].steps[index];
    let name =
        step.name.as_ref().map_or_else(|| "this step".to_owned(), |name| format!("step `{}`", name.text));
    report
        .add(
            flow.file,
            condition.span,
            format!("{name} never runs: with `continue-on-error` the conclusion of `{id}` is success even if it fails"),
        )
        .hint(format!("ask for `steps.{id}.outcome`"))
        .done();
}

/// A way back that looks at one job only: when a job before that one fails, it is skipped, which is no failure.
fn rollback(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some(condition) = job.condition.as_ref().filter(|condition| condition.asks_status()) else { return };
    let Some(("needs", need, "result")) = after_failure(condition) else { return };
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let goes_back =
        ["rollback", "roll back", "revert", "undo", "restore"].iter().any(|word| name.contains(word));
    let others = ["skipped", "failure()", "needs.*", "!= 'success'", "||"];
    if !goes_back || others.iter().any(|word| condition.text.contains(word)) {
        return;
    }
    let Some(awaited) = flow.jobs().position(|(_, job)| job.id.text.eq_ignore_ascii_case(need)) else {
        return;
    };
    // A way back for what runs takes back no schema.
    let text = flow.text.get(job.span.range()).unwrap_or_default().to_ascii_lowercase();
    let of_data = ["migrat", "database", "schema", "snapshot"].iter().any(|word| text.contains(word));
    let counts = |first: usize| carry::changes(flow, first) && (of_data || !only_migrates(flow, first));
    // What may fail between the change and the job that is looked at.
    let changed = |up: usize| flow.closures[up].iter().any(|&first| counts(first));
    let Some(&between) = flow.closures[awaited].iter().find(|&&up| changed(up)) else { return };
    let between = &flow.model.jobs[between].id;
    report
        .add(
            flow.file,
            condition.span,
            format!(
                "when `{}` fails, `{need}` is skipped and not failed, so `{}` does not run",
                between.text, job.id.text
            ),
        )
        .also(flow.file, between.span, "may fail first")
        .hint("ask for `failure()`, or for a result other than `success`")
        .done();
}

/// Tells whether a job changes nothing but the schema of a database.
fn only_migrates(flow: &Flow, at: usize) -> bool {
    let works = flow.facts[at].iter().flat_map(|facts| &facts.works);
    let mut changes = works.filter(|done| done.work.kind.mutates()).peekable();
    changes.peek().is_some()
        && changes.all(|done| is_migration(done) || done.text.to_ascii_lowercase().contains("migrat"))
}

/// A step takes back what its job has deployed, and runs when that went well.
fn goes_back(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let deploys = |facts: &StepFacts| facts.does(Kind::Deploy);
    if !flow.facts[at].iter().any(deploys) {
        return;
    }
    for (index, (step, facts)) in flow.steps(at).enumerate() {
        // One that is named for a failure is told of by its name.
        let named =
            step.condition.is_none() && step.name.as_ref().is_some_and(|name| is_for_failure(&name.text));
        let plain = !named && step.condition.as_ref().is_none_or(|own| aggregate::is_default(&own.text));
        let back = facts.commands.iter().find(|command| tools::goes_back(&tools::plain_text(command)));
        let Some(back) = back.filter(|_| plain) else { continue };
        // `deploy || undo`, and whatever a script asks before.
        let asked = back.depth > 0
            || back.after != Then::End
            || answers_failure(step.script())
            || facts.commands.iter().any(|command| command.asked);
        let lenient = job.steps[..index].iter().any(|step| step.continue_on_error.is_some());
        // A drill goes back on purpose, and forward again.
        let again = flow.facts[at][index + 1..].iter().any(deploys);
        if asked || lenient || again || !flow.facts[at][..index].iter().any(deploys) {
            continue;
        }
        report
            .add(
                flow.file,
                step.name_span(),
                format!(
                    "`{}` runs after every deployment that went well, and not after one that failed",
                    back.text()
                ),
            )
            .confidence(Confidence::Medium)
            .hint("write `if: failure()`")
            .done();
    }
}

/// Tells whether a script has a group of commands for when one fails, `rollout status || {`, or sets a trap.
fn answers_failure(script: &str) -> bool {
    let group =
        |line: &str| line.rsplit_once("||").is_some_and(|(_, rest)| matches!(rest.trim(), "{" | "(" | "\\"));
    script.lines().any(|line| {
        let line = line.trim();
        group(line) || line.ends_with("||") || line.starts_with("trap ")
    })
}

fn add(flow: &Flow, who: &str, condition: &Condition, when: &str, status: &str, report: &mut Report<'_>) {
    let draft = report
        .add(
            flow.file,
            condition.span,
            format!("{who} is for when {when}, but without a status function it only runs after success"),
        )
        .hint(format!("write `{status} && ({})`", condition.text));
    if condition.text.contains('\n') {
        draft.done();
        return;
    }
    let simple = !condition.text.contains("||");
    let inner = if simple { condition.text.to_string() } else { format!("({})", condition.text) };
    draft
        .fix(
            format!("let it run after a failure: `{status}`"),
            FixClass::Safe,
            [(flow.file, condition.span, format!("${{{{ {status} && {inner} }}}}"))],
        )
        .done();
}

/// Returns base, name and property of a comparison of a result with `failure`, if the condition needs it to hold.
fn after_failure(condition: &Condition) -> Option<(&'static str, &str, &'static str)> {
    required(condition.expr.as_ref()?.root())
}

fn required(node: &Node) -> Option<(&'static str, &str, &'static str)> {
    match &node.kind {
        NodeKind::And(operands) => operands.iter().find_map(required),
        // Each of the alternatives is for a failure.
        NodeKind::Or(operands) => {
            let all: Option<Vec<_>> = operands.iter().map(required).collect();
            all.and_then(|all| all.first().copied())
        }
        NodeKind::Call { function: Function::Contains, arguments } => {
            let [list, wanted] = &arguments[..] else { return None };
            let NodeKind::Literal(Literal::String(text)) = &wanted.kind else { return None };
            let NodeKind::Access { path, .. } = &list.kind else { return None };
            let result =
                matches!(&path.last()?.key, Key::Property(name) if name.eq_ignore_ascii_case("result"));
            let references = list.references();
            let needs = references.first()?.path.first()?.0.eq_ignore_ascii_case("needs");
            let all = result && needs && matches!(path[0].key, Key::Wildcard);
            let bad = ["failure", "cancelled"].iter().any(|word| text.eq_ignore_ascii_case(word));
            (all && bad).then_some(("needs", "*", "result"))
        }
        NodeKind::Compare { comparison: Comparison::Equal, left, right } => {
            let failure = |node: &Node| matches!(&node.kind, NodeKind::Literal(Literal::String(text)) if text.eq_ignore_ascii_case("failure"));
            let path = if failure(right) {
                left
            } else if failure(left) {
                right
            } else {
                return None;
            };
            let references = path.references();
            let reference = references
                .into_iter()
                .next()
                .filter(|reference| reference.whole && reference.path.len() == 3)?;
            let property = match reference.path[2].0 {
                "result" => "result",
                "outcome" => "outcome",
                "conclusion" => "conclusion",
                _ => return None,
            };
            match reference.path[0].0 {
                "needs" => Some(("needs", reference.path[1].0, property)),
                "steps" => Some(("steps", reference.path[1].0, property)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns the same of a comparison `!=` with `success`, alone: without a status function that never holds for a job.
fn not_well(condition: &Condition) -> Option<(&'static str, &str, &'static str)> {
    let NodeKind::Compare { comparison: Comparison::NotEqual, left, right } =
        &condition.expr.as_ref()?.root().kind
    else {
        return None;
    };
    let success = matches!(&right.kind, NodeKind::Literal(Literal::String(text)) if text.eq_ignore_ascii_case("success"));
    let references = left.references();
    let reference = references.into_iter().next().filter(|found| success && found.whole)?;
    let [("needs", _), (need, _), ("result", _)] = reference.path[..] else { return None };
    Some(("needs", need, "result"))
}

/// Actions that show people what a check has found.
const SHOWS: &[&str] = &[
    "github/codeql-action/upload-sarif",
    "dorny/test-reporter",
    "mikepenz/action-junit-report",
    "enricomi/publish-unit-test-result-action",
    "enricomi/publish-unit-test-result-action/linux",
    "enricomi/publish-unit-test-result-action/composite",
    "test-summary/action",
    "phoenix-actions/test-reporting",
];

/// What a check has found is shown only if it found nothing: the step that shows it is skipped after a failure.
fn unseen_report(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let steps: Vec<_> = flow.steps(at).collect();
    for (index, (step, facts)) in steps.iter().enumerate() {
        let sarif = step.is(SHOWS[0]);
        let shows = facts.actions.len() == 1 && SHOWS.iter().any(|name| facts.actions[0] == *name);
        // Whoever asks for success asks for what holds without it.
        let asks = step.condition.as_ref().is_some_and(|own| !aggregate::is_default(&own.text));
        if !shows || asks {
            continue;
        }
        let Some((checked, done)) = steps[..index].iter().rev().find_map(|(step, facts)| {
            let done = facts.works.iter().find(|done| fails(step, done, sarif))?;
            Some((step, done))
        }) else {
            continue;
        };
        let lenient = checked.continue_on_error.is_some() || job.continue_on_error.is_some();
        let kept = [
            "|| true",
            "|| echo",
            "set +e",
            "exit 0",
            "--exit-zero",
            "|| :",
            "$?",
            "failure.ignore",
            "--fail-never",
        ]
        .iter()
        .any(|word| checked.script().contains(word));
        if lenient || kept {
            continue;
        }
        let what: String = done.text.lines().next().unwrap_or_default().chars().take(50).collect();
        let place = step
            .name
            .as_ref()
            .map_or_else(|| step.uses.as_ref().map_or(step.span, |(text, _)| text.span), |name| name.span);
        report
            .add(
                flow.file,
                place,
                format!("what `{what}` finds is not shown when it fails: this step is skipped then"),
            )
            .severity(Severity::Medium)
            .also(flow.file, checked.name.as_ref().map_or(checked.span, |name| name.span), "may fail")
            .hint("add `if: always()`, or `if: ${{ !cancelled() }}`")
            .done();
    }
}

/// Tells whether a step fails if it finds something.
fn fails(step: &Step, done: &crate::github::facts::Done, sarif: bool) -> bool {
    let yes = |name: &str| step.input(name).is_some_and(|text| text.is("true"));
    if !sarif {
        return done.work.kind == Kind::Test;
    }
    let given = |name: &str| {
        step.input(name).is_some_and(|text| text.literal().is_some_and(|text| text.trim() != "0"))
    };
    match done.text.as_str() {
        "aquasecurity/tfsec-action" | "bridgecrewio/checkov-action" => !yes("soft_fail"),
        "aquasecurity/trivy-action" => given("exit-code"),
        "anchore/scan-action" => step.input("fail-build").is_none_or(|text| !text.is("false")),
        "hadolint/hadolint-action" => !yes("no-fail"),
        text => ["snyk test", "snyk code test", "semgrep ci", "checkov", "tfsec", "bandit"]
            .iter()
            .any(|start| text.starts_with(start)),
    }
}

/// A job that says that it is for a failure, waits for others and has no condition: it runs when all is well.
fn job_by_name(flow: &Flow, job: &Job, report: &mut Report<'_>) {
    if job.condition.is_some() || job.needs.is_empty() {
        return;
    }
    let mut names = [Some(&*job.id.text), job.name.as_ref().map(|name| &*name.text)].into_iter().flatten();
    let Some(name) = names.find(|name| is_for_failure(name)) else { return };
    // Its steps may ask by themselves.
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    if ["needs.", "toJSON(needs", "toJson(needs", "failure()"].iter().any(|word| text.contains(word)) {
        return;
    }
    report
        .add(
            flow.file,
            job.id.span,
            format!("`{name}` has no condition, so it runs after success and not after a failure"),
        )
        .hint("add `if: failure()`")
        .done();
}

/// Words with which the name of a delivery begins.
const DELIVERS: &[&str] =
    &["roll out", "rollout", "deploy", "release", "publish", "upgrade", "apply", "install", "ship"];

/// Tells whether a step delivers, and its name says what becomes of that after a failure: `Deploy, roll back on failure`.
fn goes_back_itself(name: &str, facts: &StepFacts) -> bool {
    let flag = |word: &String| {
        ["--atomic", "--rollback", "--cleanup-on-fail", "--auto-rollback"]
            .iter()
            .any(|flag| word.starts_with(flag))
    };
    let lower = name.trim().to_ascii_lowercase();
    facts.works.iter().any(|done| done.work.kind.delivers())
        && (DELIVERS.iter().any(|word| lower.starts_with(word))
            || facts.commands.iter().any(|command| command.words.iter().any(flag)))
}

/// Returns the name of a step if it says that the step is for a failure, and nothing but its condition could tell of one.
fn named_for_failure(flow: &Flow, (at, index): (usize, usize)) -> Option<&Text> {
    let job = &flow.model.jobs[at];
    let step = &job.steps[index];
    let name = step.name.as_ref().filter(|name| is_for_failure(&name.text))?;
    // The first step comes after nothing, but for what its job waits for. A job that is named so is told of as a whole.
    let told =
        is_for_failure(&job.id.text) || job.name.as_ref().is_some_and(|name| is_for_failure(&name.text));
    let after = index > 0 || !job.needs.is_empty() && job.condition.is_none() && !told;
    // Whatever may fail here and let the job go on brings it to this step.
    if !after || job.steps[..index].iter().any(|step| step.continue_on_error.is_some()) {
        return None;
    }
    if goes_back_itself(&name.text, &flow.facts[at][index]) {
        return None;
    }
    // The script may ask by itself.
    let asks = ["job.status", "outcome", "conclusion", "result", "||", "if "].iter().any(|word| {
        step.script().contains(word) || step.env.iter().any(|(_, text)| text.text.contains(word))
    });
    // What an action is given may be a path: `test-results/`.
    let given = ["job.status", ".outcome", ".conclusion", ".result", "||", "if ("]
        .iter()
        .any(|word| step.with.iter().any(|(_, text)| text.text.contains(word)));
    (!asks && !given).then_some(name)
}

/// A step that says that it is for a failure and has no condition.
fn by_name(flow: &Flow, (at, index): (usize, usize), report: &mut Report<'_>) {
    let step = &flow.model.jobs[at].steps[index];
    let Some(name) = named_for_failure(flow, (at, index)) else { return };
    let draft = report
        .add(
            flow.file,
            name.span,
            format!(
                "step `{}` has no condition, so it runs after success and not after a failure",
                name.text
            ),
        )
        .confidence(Confidence::Medium)
        .hint("add `if: failure()`");
    match crate::github::edit::add_after(&flow.text, &step.keys, "name", &["if: failure()".to_owned()]) {
        Some((span, text)) => {
            draft.fix("run it after a failure", FixClass::Review, [(flow.file, span, text)]).done()
        }
        None => draft.done(),
    }
}

/// Commands that show what a program has said so far, which nobody reads where all went well.
const SHOWS_LOGS: &[&[&str]] = &[
    &["docker", "logs"],
    &["docker", "compose", "logs"],
    &["docker-compose", "logs"],
    &["podman", "logs"],
    &["kubectl", "logs"],
    &["kubectl", "describe"],
    &["kubectl", "get", "events"],
    &["journalctl"],
    &["dmesg"],
    &["adb", "logcat"],
    &["pm2", "logs"],
];

/// Tells whether a step shows logs, or keeps files for people.
fn shows_what_happened(facts: &StepFacts) -> bool {
    let shows = |command: &Command| {
        let text = tools::plain_text(command);
        let mut words = text.split(' ');
        let begins = |start: &&[&str]| text.split(' ').take(start.len()).eq(start.iter().copied());
        let of_file = matches!(command.program(), "cat" | "tail") && words.any(|word| word.ends_with(".log"));
        of_file || SHOWS_LOGS.iter().any(begins)
    };
    !facts.uploads.is_empty() || facts.commands.iter().any(shows)
}

/// A step that says that it shows what has failed, and asks for success.
fn asks_for_success(flow: &Flow, (at, index): (usize, usize), own: &Condition, report: &mut Report<'_>) {
    let Some(name) = named_for_failure(flow, (at, index)) else { return };
    // Others may take back what was told of an earlier failure.
    if !shows_what_happened(&flow.facts[at][index]) {
        return;
    }
    let fixed = "failure()".to_owned();
    report
        .add(
            flow.file,
            own.span,
            format!(
                "step `{}` asks for success, so it never runs after the failure that it is for",
                name.text
            ),
        )
        .confidence(Confidence::Medium)
        .hint("write `if: failure()`")
        .fix("run it after a failure", FixClass::Review, [(flow.file, own.span, fixed)])
        .done();
}
