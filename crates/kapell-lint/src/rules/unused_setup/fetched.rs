//! Files are fetched, of the repository or of another job, and nothing reads them.

use kapell_spec::github::Step;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, StepFacts, script::Command, tools::Kind},
    rule::Report,
};

/// A checkout in a job that reads no file.
pub(super) fn checkout(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some((step, _)) = flow.steps(at).find(|(step, _)| step.is("actions/checkout")) else { return };
    if job.steps.len() < 2
        || job.container
        || step.with.iter().any(|(name, _)| &*name.text != "persist-credentials")
    {
        return;
    }
    let quiet = flow
        .steps(at)
        .filter(|(other, _)| !std::ptr::eq(*other, step))
        .all(|(step, facts)| reads_nothing(step, facts))
        // What is downloaded and only handed on lies where the checkout would.
        && flow.facts[at].iter().any(|facts| !facts.commands.is_empty() || !facts.works.is_empty());
    if !quiet {
        return;
    }
    let span = step.uses.as_ref().map_or(step.span, |(text, _)| text.span);
    report
        .add(flow.file, span, format!("`{}` checks the repository out and reads no file of it", job.id.text))
        .hint("drop the step")
        .done();
}

/// An artifact that is put into a folder which no later step names, where all of them name theirs.
pub(super) fn download(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    for (index, step) in job.steps.iter().enumerate().filter(|(_, step)| step.is("actions/download-artifact"))
    {
        let Some(path) = step.input("path").and_then(|path| path.literal()) else { continue };
        let path = path.trim().trim_start_matches("./").trim_end_matches('/');
        // Where it lies in the way of everything, anything may read it.
        if !path.contains('/') || path.starts_with(['~', '/', '$']) || step.id.is_some() {
            continue;
        }
        let later = || job.steps[index + 1..].iter().zip(&flow.facts[at][index + 1..]);
        let names = |step: &Step| {
            let texts = step.with.iter().map(|(_, text)| &*text.text).chain([step.script()]);
            let folder = step.folder.as_ref().or(job.folder.as_ref()).map_or("", |folder| &folder.text);
            let outer = path.split('/').next().unwrap_or(path);
            let last = path.rsplit('/').next().unwrap_or(path);
            texts.into_iter().any(|text| {
                text.split(|c: char| c.is_whitespace() || "\"'=:,()".contains(c)).any(|word| {
                    let word = word.trim_start_matches("./").trim_end_matches('/');
                    word == "."
                        || word == "*"
                        || word == outer
                        || word.contains(path)
                        || path.contains(word) && word.contains(outer)
                })
            }) || folder.contains(outer)
                || folder.contains(last)
        };
        let plain = |facts: &StepFacts| {
            facts
                .works
                .iter()
                .all(|done| matches!(done.work.kind, Kind::Trivial | Kind::Upload | Kind::Download))
        };
        if later().count() == 0 || !later().all(|(step, facts)| plain(facts) && !names(step)) {
            continue;
        }
        report
            .add(
                flow.file,
                step.name_span(),
                format!("`{}` downloads into `{path}` and reads nothing of it", job.id.text),
            )
            .severity(if job.matrix.is_some() { Severity::Medium } else { Severity::Low })
            .confidence(Confidence::Medium)
            .hint("drop the step")
            .done();
    }
}

/// Actions that read no file of the repository.
const BLIND_ACTIONS: &[&str] = &[
    "actions/setup-node",
    "actions/setup-python",
    "slackapi/slack-github-action",
    "peter-evans/repository-dispatch",
    "aws-actions/configure-aws-credentials",
    "aws-actions/amazon-ecr-login",
    "google-github-actions/auth",
    "google-github-actions/setup-gcloud",
    "azure/login",
    "docker/login-action",
    "docker/setup-buildx-action",
    "webfactory/ssh-agent",
    "shimataro/ssh-key-action",
    "8398a7/action-slack",
    "rtcamp/action-slack-notify",
    "appleboy/ssh-action",
    "actions/download-artifact",
    "actions/deploy-pages",
];

/// Programs that read none, unless they are told to.
const BLIND_PROGRAMS: &[&str] = &[
    "echo",
    "printf",
    "curl",
    "sleep",
    "exit",
    "date",
    "export",
    "set",
    "true",
    ":",
    "[",
    "[[",
    "test",
    "jq",
    "read",
    "shift",
    "break",
    "continue",
    "return",
    "seq",
    "base64",
    "tr",
    "cut",
    "sed",
    "head",
    "tail",
    "wc",
    "mkdir",
    "chmod",
    "ssh-keyscan",
    "ssh",
    "aws",
    "gcloud",
    "az",
    "kill",
];

/// Parts of scripts that read one, or may.
const READS: &[&str] = &[
    "./",
    "../",
    "$(<",
    "cat ",
    "<<<",
    "@",
    ".json",
    ".md",
    ".sh",
    ".py",
    ".js",
    "GITHUB_WORKSPACE",
    "ls ",
    "find ",
    " -f ",
    "-d ",
    "source ",
    "file://",
    "fileb://",
    "--template",
    "--source",
    "-file",
    "s3 sync",
    "s3 cp",
    "deploy --",
    "submit",
    "app deploy",
    "functions deploy",
    "--src",
    " < ",
    "$(git",
    "`git",
];

/// Tells whether a step certainly reads no file of the repository.
fn reads_nothing(step: &Step, facts: &StepFacts) -> bool {
    if step.run.is_some() {
        let blind =
            |command: &Command| command.words.is_empty() || BLIND_PROGRAMS.contains(&command.program());
        return !READS.iter().any(|word| step.script().contains(word)) && facts.commands.iter().all(blind);
    }
    step.uses.as_ref().is_some_and(|(text, _)| !text.text.starts_with('.'))
        // An image has no name here: `docker://` finds the checkout where it starts.
        && !facts.actions.is_empty()
        && facts.actions.iter().all(|name| BLIND_ACTIONS.contains(&name.as_str()))
        && step.with.iter().all(|(name, _)| !name.text.contains("file") && !name.text.contains("cache"))
}
