//! A short-lived artifact is uploaded that nobody downloads.

use crate::github::{Flow, Github, StepFacts, carry, comments, globs, script::Command, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::github::Step;
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/artifact-never-consumed.md`.
pub(super) static RULE: Rule = Rule {
    name: "artifact-never-consumed",
    summary: "A short-lived artifact is uploaded that nobody downloads",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Low,
    confidence: Confidence::Medium,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/artifact-never-consumed.md"),
    check,
};

/// Words that say that a person looks at it, or another system.
const FOR_PEOPLE: &[&str] = &[
    "report",
    "log",
    "screenshot",
    "inspect",
    "debug",
    "preview",
    "coverage",
    "result",
    "trace",
    "crash",
    "dump",
    "video",
    "summary",
    "snapshot",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let github = &repository.github;
    if reads_elsewhere(github) {
        return;
    }
    for flow in &github.flows {
        if flow.starts("workflow_call") || flow.jobs().any(|(_, job)| carry::calls_unknown(github, job)) {
            continue;
        }
        let combined = combined(github, flow, report);
        let all: Vec<(&crate::github::Flow, usize)> =
            flow.jobs().flat_map(|(at, _)| github.deep(flow, at)).collect();
        for (at, _) in flow.jobs() {
            for (step, facts) in flow.steps(at) {
                for upload in facts.uploads.iter().filter(|upload| upload.days == Some(1) && !combined) {
                    let taken = all.iter().any(|(flow, job)| {
                        flow.facts[*job].iter().any(|facts| {
                            facts
                                .downloads
                                .iter()
                                .any(|down| down.all || globs::any_overlap(&upload.names, &down.names))
                        })
                    });
                    let name = upload.names.join(", ").to_ascii_lowercase();
                    if taken
                        || !for_machines(step) && FOR_PEOPLE.iter().any(|word| name.contains(word))
                        || comments::explains(flow, step.span, 8, &["inspect", "debug", "manual"]).is_some()
                    {
                        continue;
                    }
                    report
                        .add(
                            flow.file,
                            upload.name_span.unwrap_or(step.span),
                            format!("`{}` is kept for one day and no job downloads it", upload.names[0]),
                        )
                        .hint("drop the upload, or let the job that wants it download it")
                        .done();
                }
            }
        }
    }
}

/// Parts of the paths of files that a program writes for another one, which puts those of several jobs together.
const RAW: &[&str] = &[
    ".coverage",
    ".profraw",
    ".profdata",
    ".gcda",
    ".gcno",
    "blob-report",
    ".nyc_output",
    ".resultset.json",
];

/// Tells whether a step keeps what only a program reads.
fn for_machines(step: &Step) -> bool {
    step.input("path").is_some_and(|path| {
        let mut lines = path.text.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
        lines.peek().is_some() && lines.all(|line| RAW.iter().any(|part| line.contains(part)))
    })
}

/// Commands that put together what several jobs have written.
const COMBINES: &[&str] = &[
    "coverage combine",
    "llvm-profdata merge",
    "nyc merge",
    "playwright merge-reports",
    "vitest --merge-reports",
    "vitest run --merge-reports",
];

/// Finds the command of a job that puts together what jobs before it have written.
pub(super) fn combines(flow: &Flow, at: usize) -> Option<(&Step, &Command)> {
    flow.steps(at).find_map(|(step, facts)| {
        let combines = |command: &&Command| {
            let plain = command.inner().join(" ");
            COMBINES.iter().any(|start| plain.starts_with(start))
        };
        Some((step, facts.commands.iter().find(combines)?))
    })
}

/// A job puts together what the jobs before it have uploaded, and downloads nothing of it.
fn combined(github: &Github, flow: &Flow, report: &mut Report<'_>) -> bool {
    let given = |at: usize| {
        flow.steps(at)
            .find(|(step, facts)| facts.uploads.len() == 1 && for_machines(step))
            .map(|(step, _)| step)
    };
    let Some((at, from)) = flow.jobs().find_map(|(at, _)| {
        combines(flow, at)?;
        Some((at, flow.closures[at].iter().find_map(|&up| given(up))?))
    }) else {
        return false;
    };
    let opaque = |facts: &StepFacts| {
        !facts.downloads.is_empty()
            || facts.runs_own_script()
            || may_upload(facts)
            || facts.works.iter().any(|done| matches!(done.work.kind, Kind::Download | Kind::Test))
    };
    let calls = flow.model.jobs[at].uses.is_some() || carry::calls_unknown(github, &flow.model.jobs[at]);
    let Some((step, command)) = combines(flow, at).filter(|_| !calls && !flow.facts[at].iter().any(opaque))
    else {
        return false;
    };
    let what: String = command.inner().iter().take(2).cloned().collect::<Vec<_>>().join(" ");
    report
        .add(
            flow.file,
            flow.script_line(step, command.start, ""),
            format!("`{what}` has nothing to put together: `{}` downloads nothing of what was uploaded for it", flow.model.jobs[at].id.text),
        )
        .severity(Severity::High)
        .also(flow.file, from.span, "uploaded here")
        .hint("download it first, all of it: `actions/download-artifact` with `pattern` and `merge-multiple: true`")
        .done();
    true
}

/// Tells whether artifacts are read in ways that name no artifact.
fn reads_elsewhere(github: &Github) -> bool {
    let words = [
        "run download",
        "listWorkflowRunArtifacts",
        "downloadArtifact",
        "/artifacts",
        "action-download-artifact",
    ];
    let texts =
        github.flows.iter().map(|flow| &flow.text).chain(github.actions.values().map(|action| &action.text));
    texts.into_iter().any(|text| words.iter().any(|word| text.contains(word)))
        || github.flows.iter().any(|flow| flow.starts("workflow_run"))
}

/// Tells whether a step uses an action that may upload artifacts by itself.
pub(super) fn may_upload(facts: &StepFacts) -> bool {
    // What sets something up, keeps a cache or delivers has no artifacts of its own.
    let otherwise = |name: &String| {
        let kind = |kind: Kind| {
            matches!(
                kind,
                Kind::Setup | Kind::Cache | Kind::Install | Kind::Checkout | Kind::Tag | Kind::PullRequest
            )
        };
        facts.works.iter().any(|done| done.text == *name && kind(done.work.kind))
            || PREPARES.iter().any(|word| name.contains(word))
    };
    facts.actions.iter().any(|name| !KNOWN.iter().any(|known| name.starts_with(known)) && !otherwise(name))
        || facts.works.iter().any(|done| done.text == "local action")
}

/// Parts of names of actions that only prepare a job.
const PREPARES: &[&str] =
    &["setup", "ccache", "/get-", "toolchain", "msvc-dev-cmd", "disk-space", "install-", "/cache", "login"];

/// Owners whose actions upload nothing but what they are told to.
const KNOWN: &[&str] = &[
    "actions/",
    "docker/setup",
    "docker/login",
    "docker/metadata",
    "pnpm/",
    "astral-sh/setup-uv",
    "dtolnay/",
    "swatinem/",
    "oven-sh/",
    "ruby/setup",
    "taiki-e/",
    "codecov/",
    "pypa/gh-action",
    "pypa/cibuildwheel",
    "joerick/cibuildwheel",
    "softprops/",
    "azure/login",
    "aws-actions/configure",
    "google-github-actions/auth",
    "shivammathur/",
    "gradle/actions/setup",
    "mozilla-actions/",
    "step-security/",
    "ncipollo/",
    "peter-evans/",
];
