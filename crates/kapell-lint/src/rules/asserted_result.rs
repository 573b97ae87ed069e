//! A step reports success without looking at it.

mod claimed; // results of checks that people are told as constants
mod concluded; // results of steps that may fail, which are always success
mod own_status; // jobs that give their own status for that of others
mod started; // what a command only starts
mod unwaited; // versions that were only asked for

use crate::github::{Flow, StepFacts, aggregate, script::Command, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::github::{Condition, Job, Step};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/asserted-result.md`.
pub(super) static RULE: Rule = Rule {
    name: "asserted-result",
    summary: "A step reports success without looking at it",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/asserted-result.md"),
    check,
};

/// Words that claim a result.
const CLAIMS: &[&str] = &[
    "passed",
    "success",
    "succeeded",
    "published",
    "deployed",
    "released",
    "verified",
    "completed successfully",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        started::check(flow, report);
        claimed::check(&repository.github, flow, report);
        concluded::check(flow, report);
        own_status::check(flow, report);
        unwaited::check(flow, report);
        for (at, job) in flow.jobs() {
            for (index, (step, facts)) in flow.steps(at).enumerate() {
                let whatever = step.condition.as_ref().is_some_and(runs_whatever);
                // One that stands for all others is told of as such.
                let job_whatever = step.condition.is_none()
                    && job_runs_whatever(flow, job)
                    && aggregate::aggregator(flow, at).is_none();
                if whatever && index > 0 || job_whatever {
                    look(flow, at, index, step, facts, report);
                }
                if whatever || job_whatever {
                    posted(flow, at, index, step, facts, report);
                } else if let Some(passed) = let_pass(flow, at, index) {
                    posted_behind(flow, at, (step, facts), passed, report);
                }
            }
        }
    }
}

/// By what a job takes the results of others: from its needs, or from the API.
const OF_OTHERS: &[&str] = &["needs.", "(needs", "/jobs"];

/// Tells whether a job runs after a failure too, and looks at no result of the jobs that it waits for.
fn job_runs_whatever(flow: &Flow, job: &Job) -> bool {
    let whatever = job.condition.as_ref().is_some_and(|condition| {
        let text = condition.text.replace(' ', "");
        text.starts_with("always()") || text.starts_with("!cancelled()")
    });
    let text = || flow.text.get(job.span.range()).unwrap_or_default();
    whatever
        && !job.needs.is_empty()
        && !OF_OTHERS.iter().chain(&["failure()"]).any(|word| text().contains(word))
}

/// What sets the state of a commit for good, where a script writes it as a constant.
const STATES: &[&str] = &[
    "state=success",
    "conclusion=success",
    "\"state\":\"success\"",
    "\"conclusion\":\"success\"",
    "state:'success'",
    "conclusion:'success'",
    "state:\"success\"",
    "conclusion:\"success\"",
];

/// What holds the result of something, and what says that it went well, where a record of it is sent to a machine.
const RECORDS: (&[&str], &[&str]) = (
    &["result", "status", "outcome", "state", "conclusion", "verdict"],
    &["passed", "pass", "success", "succeeded", "ok", "green"],
);

/// Words by which a step looks at what happened, wherever in it they stand.
const LOOKS: &[&str] = &[
    "job.status",
    ".outcome",
    ".conclusion",
    ".result",
    "needs.",
    "$?",
    "if ",
    "if(",
    "case ",
    "jq",
    "grep",
    " ? ",
];

/// Words that a line has which does not say that all went well, or not for certain.
const DOUBTS: &[&str] = &["steps.", "failure", "fail", "error", "not ", "whether"];

/// What a step says of what happened, without looking at it.
struct Said {
    /// In words.
    what: &'static str,
    /// Whether it is a state that is set, or a record for machines.
    state: bool,
    badge: bool,
}

/// Returns what a step says as a constant: a state of a commit, a record, a badge, or a message to people that all went well.
fn said(flow: &Flow, at: usize, step: &Step, facts: &StepFacts) -> Option<Said> {
    let whole = flow.text.get(step.span.range()).unwrap_or_default();
    // The condition is known; what counts is what the step itself says.
    let own =
        step.condition.as_ref().map_or(whole.to_owned(), |condition| whole.replace(&*condition.text, ""));
    let api = step.is("actions/github-script");
    let plain: String = own.split_whitespace().collect();
    let job = &flow.model.jobs[at];
    let marks = |text: &str| {
        ["statuses/", "check-runs", "createCommitStatus", "checks."].iter().any(|word| text.contains(word))
    };
    // The path may stand in a variable of the job.
    let named = job.env.iter().filter(|(name, _)| {
        own.contains(&format!("${}", name.text)) || own.contains(&format!("${{{}", name.text))
    });
    let sets = marks(&own) || named.into_iter().any(|(_, value)| marks(&value.text));
    let badge = is_badge(step, facts, &plain);
    let state = sets && STATES.iter().any(|state| plain.contains(state)) || given(step, facts) || badge;
    let records = facts.commands.iter().any(posts) && plain.lines().any(is_record);
    let sends = facts.commands.iter().any(|command| matches!(command.program(), "curl" | "gh"))
        || facts.actions.iter().any(|name| MESSENGERS.iter().any(|part| name.contains(part)))
        || api && own.contains("createComment");
    // Flags of `curl` say nothing of what happened.
    let lower = own
        .to_ascii_lowercase()
        .replace("--fail-with-body", "")
        .replace("--fail", "")
        .replace("--show-error", "");
    let claim = sends && claims_all(&lower);
    // The constant is what it says, whatever else the action is given.
    let constant = given(step, facts) || badge;
    if !(state || claim || records) || !constant && looks_at_results(&lower) {
        return None;
    }
    let what = match (records, state || records) {
        _ if badge => "makes a badge that says that all went well,",
        (true, _) => "records that all went well,",
        (_, true) => "sets the state `success`",
        _ => "tells people that all went well",
    };
    Some(Said { what, state: state || records, badge })
}

/// A state of a commit, or a message to people, that says that all went well, after a failure too.
fn posted(flow: &Flow, at: usize, index: usize, step: &Step, facts: &StepFacts, report: &mut Report<'_>) {
    let Some(Said { what, state, badge }) = said(flow, at, step, facts) else { return };
    // Something before it must be able to fail.
    let fails = |facts: &StepFacts| {
        facts
            .works
            .iter()
            .any(|done| done.work.kind.checks() || done.work.kind.mutates() || facts.runs_own_script())
            // A state, and the word that all went well, stand for whatever was done, known or not.
            || facts.works.iter().any(|done| done.work.kind == Kind::Unknown && (state || done.command.is_some()))
    };
    let before = flow.facts[at][..index].iter().any(fails)
        || flow.closures[at].iter().any(|&up| flow.facts[up].iter().any(fails));
    if !before {
        return;
    }
    let job = &flow.model.jobs[at];
    let draft = report
        .add(
            flow.file,
            step.name.as_ref().map_or(step.span, |name| name.span),
            format!(
                "`{}` {what} whatever happened: it runs after a failure too and looks at no result",
                job.id.text
            ),
        )
        .hint(
            "do it only `if: success()`, or take what it says from `${{ job.status }}` or `needs.*.result`",
        );
    if state && !badge { draft.severity(Severity::High).done() } else { draft.done() }
}

/// Returns the check that may fail without its job, if a step comes after it and no other check stands between the two: what
/// that step says, it says of this check.
///
/// Source: GitHub, "Workflow syntax", `jobs.<job_id>.steps[*].continue-on-error`: the job passes when the step fails.
fn let_pass(flow: &Flow, at: usize, index: usize) -> Option<&Step> {
    let job = &flow.model.jobs[at];
    let plain = |step: &Step| step.condition.as_ref().is_none_or(|own| aggregate::is_default(&own.text));
    let checks =
        |facts: &StepFacts| facts.works.iter().any(|done| done.work.kind.checks()) || facts.runs_own_script();
    let lenient = |step: &Step| step.continue_on_error.as_ref().is_some_and(|text| text.is("true"));
    if !plain(&job.steps[index]) || !job.needs.is_empty() {
        return None;
    }
    let mut before = flow.steps(at).take(index).filter(|(_, facts)| checks(facts)).map(|(step, _)| step);
    let first = before.next().filter(|step| lenient(step))?;
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    let asked =
        |step: &Step| step.id.as_ref().is_some_and(|id| text.contains(&format!("steps.{}.", id.text)));
    (!asked(first) && before.all(|step| lenient(step) && !asked(step))).then_some(first)
}

/// A state that says that all went well, behind a check that may fail without anybody asking.
fn posted_behind(
    flow: &Flow,
    at: usize,
    (step, facts): (&Step, &StepFacts),
    passed: &Step,
    report: &mut Report<'_>,
) {
    let Some(Said { what, .. }) = said(flow, at, step, facts).filter(|said| said.state && !said.badge) else {
        return;
    };
    let job = &flow.model.jobs[at].id.text;
    let check = passed.name.as_ref().map_or("a check", |name| &name.text);
    let id = passed.id.as_ref().map_or("ID", |id| &id.text);
    report
        .add(
            flow.file,
            step.name_span(),
            format!("`{job}` {what} though `{check}` may have failed: the job goes on behind it"),
        )
        .severity(Severity::High)
        .also(flow.file, passed.name_span(), "may fail")
        .hint(format!("take the state from `steps.{id}.outcome`"))
        .done();
}

/// Tells whether a step looks at what happened, or says what it says with a doubt.
fn looks_at_results(text: &str) -> bool {
    let says = |line: &&str| {
        let plain: String = line.split_whitespace().collect();
        claims_all(line) || STATES.iter().any(|state| plain.contains(state)) || is_record(&plain)
    };
    let doubts = |line: &str| DOUBTS.iter().any(|word| line.contains(word));
    let mut said = text.lines().filter(says).peekable();
    // A sentence may go over several lines.
    let doubted = if said.peek().is_some() { said.any(doubts) } else { doubts(text) };
    doubted || LOOKS.iter().any(|word| text.contains(word))
}

/// Tells whether a command sends something to a machine.
fn posts(command: &Command) -> bool {
    const GIVES: &[&str] =
        &["-d", "--data", "--data-raw", "--json", "-F", "--form", "--data-binary", "--data-urlencode"];
    command.depth == 0
        && command.program() == "curl"
        && command.words.iter().any(|word| GIVES.contains(&word.as_str()))
}

/// Tells whether a text without blanks has a field that says as a constant that something went well.
fn is_record(plain: &str) -> bool {
    let text = plain.to_ascii_lowercase().replace(['"', '\'', '\\'], "");
    let (fields, values) = RECORDS;
    let mut pairs = text.split(['{', '}', ',', '&', '(', ')']).filter_map(|part| part.split_once([':', '=']));
    pairs.any(|(field, value)| {
        fields.iter().any(|known| field.ends_with(known)) && values.contains(&value.trim_end_matches(';'))
    })
}

/// Tells whether a step gives an action that sets the state of a commit or a deployment the constant `success`.
fn given(step: &Step, facts: &StepFacts) -> bool {
    let sets = |name: &String| {
        ["deployment", "status", "check"].iter().any(|part| name.contains(part)) && !name.contains("slack")
    };
    let constant = ["status", "state", "conclusion"]
        .iter()
        .filter_map(|name| step.input(name))
        .any(|text| text.is("success"));
    constant && step.action().is_some() && facts.actions.iter().any(sets)
}

/// Tells whether a step makes a badge with a constant that says that something went well: by an action, or as the file that
/// a service of badges reads.
///
/// Source: shields.io, "Endpoint Badge": `schemaVersion`, `label`, `message`.
fn is_badge(step: &Step, facts: &StepFacts, plain: &str) -> bool {
    const SAYS: &[&str] = &["passing", "passed", "success", "succeeded", "ok", "green", "up"];
    let by_action = facts.actions.iter().any(|name| name.contains("badge"));
    let given = ["message", "status", "value"].iter().filter_map(|name| step.input(name));
    let constant = |text: &str| SAYS.contains(&&*text.trim().to_ascii_lowercase());
    let text = || plain.to_ascii_lowercase().replace(['"', '\'', '\\'], "");
    let written = || {
        let text = text();
        text.contains("schemaversion:") && SAYS.iter().any(|word| text.contains(&format!("message:{word}")))
    };
    by_action && given.into_iter().any(|text| constant(&text.text))
        || plain.contains("schemaVersion") && written()
}

/// Parts of names of actions that send messages.
const MESSENGERS: &[&str] =
    &["slack", "discord", "teams", "telegram", "mattermost", "zulip", "send-mail", "webhook", "comment"];

/// What a text says to have gone well.
const WHOLES: &[&str] = &[
    "all",
    "tests",
    "e2e",
    "integration",
    "smoke",
    "playwright",
    "cypress",
    "specs",
    "checks",
    "suite",
    "suites",
    "build",
    "pipeline",
    "everything",
    "deployment",
    "deploy",
    "release",
    "rollout",
    "migration",
    "evaluation",
    "evals",
    "benchmark",
    "benchmarks",
    "regression",
    "verification",
    "validation",
    "nightly",
    "pipelines",
    "jobs",
    "workflow",
    "backup",
    "scan",
];

/// Tells whether a text claims that everything went well: `all specs passed`, `build passed`.
fn claims_all(text: &str) -> bool {
    let words: Vec<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let near = |at: usize| {
        words[at + 1..]
            .iter()
            .take(3)
            .any(|word| matches!(*word, "passed" | "succeeded" | "green" | "successful"))
    };
    CLAIMS_ALL.iter().any(|known| text.contains(known))
        || (0..words.len()).any(|at| WHOLES.contains(&words[at]) && near(at))
}

/// Words that claim that everything went well.
const CLAIMS_ALL: &[&str] = &[
    "tests passed",
    "checks passed",
    "build passed",
    "build succeeded",
    "all green",
    "deployed successfully",
    "successfully deployed",
    "released successfully",
    "completed successfully",
    "deployment succeeded",
    "has been released",
    "has been deployed",
    "has been published",
    "was released",
    "was deployed",
    "was published",
    "is now live",
    "is live",
    "is out now",
    "finished successfully",
    "went well",
];

/// Tells whether a condition lets a step run after a failure too.
fn runs_whatever(condition: &Condition) -> bool {
    let text = condition.text.replace(' ', "");
    const WHATEVER: &[&str] = &["always()", "!cancelled()", "success()||failure()", "failure()||success()"];
    WHATEVER.iter().any(|start| text.starts_with(start)) && !text.contains("==") && !text.contains("!=")
}

fn look(flow: &Flow, at: usize, index: usize, step: &Step, facts: &StepFacts, report: &mut Report<'_>) {
    let job: &Job = &flow.model.jobs[at];
    let Some(run) = &step.run else { return };
    if looks(step) {
        return;
    }
    let claim = facts.commands.iter().find(|command| {
        let text = command.text();
        let lower = text.to_ascii_lowercase();
        matches!(command.program(), "echo" | "printf" | "Write-Host") && CLAIMS.iter().any(|word| lower.contains(word)) && !["if ", "whether", "fail", "check ", "?", "not "].iter().any(|word| lower.contains(word)) && !text.contains("${{")
            // Not merely a heading or a command to type.
            && command.words.len() > 1
    });
    let Some(claim) = claim else { return };
    // Something before it must be able to fail in a way that matters.
    let fails = |facts: &StepFacts| {
        facts.works.iter().any(|done| done.work.kind.checks() || done.work.kind.mutates())
    };
    let before = flow.facts[at][..index].iter().any(fails)
        || step.condition.is_none() && flow.closures[at].iter().any(|&up| flow.facts[up].iter().any(fails));
    if !before || facts.works.iter().any(|done| !matches!(done.work.kind, Kind::Trivial)) {
        return;
    }
    // What other steps and jobs read is no mere word.
    let handed = claim.words.iter().any(|word| word.contains("GITHUB_OUTPUT") || word.contains("GITHUB_ENV"));
    let changed = flow.facts[at][..index].iter().any(|facts| facts.mutation().is_some());
    let words: Vec<&str> =
        claim.words[1..].iter().map(String::as_str).take_while(|word| !word.contains('>')).collect();
    let said: String = words.join(" ").chars().take(60).collect();
    report
        .add(
            flow.file,
            step.name.as_ref().map_or(run.span, |name| name.span),
            format!(
                "`{}` says \"{}\" whatever happened: it runs after a failure too and looks at no result",
                job.id.text, said
            ),
        )
        .severity(if handed && changed { Severity::High } else { Severity::Medium })
        .hint("say it only `if: success()`, or print `${{ job.status }}`")
        .done();
}

/// Tells whether a step looks at a result, or at files that show one.
fn looks(step: &Step) -> bool {
    let words = [
        "job.status",
        ".outcome",
        ".conclusion",
        ".result",
        "$?",
        "[ -f",
        "[[ -f",
        "-s ",
        "grep",
        "jq",
        "cat ",
        "exit 1",
        "failure()",
        "success()",
        "steps.",
    ];
    let texts = [step.script()].into_iter().chain(step.env.iter().map(|(_, text)| &*text.text));
    texts.into_iter().any(|text| words.iter().any(|word| text.contains(word)))
}
