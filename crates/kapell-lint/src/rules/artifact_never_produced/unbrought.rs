//! A job delivers a folder that a job before it has uploaded, and that nothing brings to it.

use kapell_spec::{
    finding::Span,
    github::{Condition, Job, Step},
};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, StepFacts, script::Command, tools::Kind},
    repository::Repository,
    rule::Report,
};

/// A job takes nothing from more jobs than this.
const MOST: usize = 50;

/// Tells of each job that delivers what it does not have.
pub(super) fn check(repository: &Repository, flow: &Flow, report: &mut Report<'_>) {
    for (at, job) in flow.jobs().filter(|(at, _)| !flow.closures[*at].is_empty()) {
        let Some(first) = flow.facts[at].iter().position(brings_out) else { continue };
        if !has_only_sources(job, &flow.facts[at], first) {
            continue;
        }
        let of_job = |&up: &usize| folders(flow, up).into_iter().map(move |path| (up, path));
        let found = flow.closures[at].iter().take(MOST).flat_map(of_job).find_map(|(up, path)| {
            let sent = sent(flow, job, (&job.steps[first], &flow.facts[at][first]), &path)?;
            (!repository.files.exists(&path)).then_some((up, path, sent))
        });
        let Some((up, path, Sent { place, empties })) = found else { continue };
        let (id, from) = (&job.id, &flow.model.jobs[up].id);
        let what = if empties {
            format!("`{}` puts an empty `{path}` in the place of what is there", id.text)
        } else {
            format!("`{}` delivers `{path}`, which is not there", id.text)
        };
        report
            .add(
                flow.file,
                place,
                format!("{what}: `{}` builds and uploads it, and nothing brings it here", from.text),
            )
            .severity(if empties { Severity::Critical } else { Severity::High })
            .confidence(Confidence::High)
            .also(flow.file, from.span, "uploaded here")
            .hint("download the artifact first: `actions/download-artifact` with its name and the folder as `path`")
            .done();
    }
}

/// Tells whether a step brings something outside.
fn brings_out(facts: &StepFacts) -> bool {
    facts.works.iter().any(|done| done.work.kind.mutates() || done.work.kind == Kind::Store)
}

/// Tells whether a job has what it checks out and nothing else up to a step, on a runner that is new.
fn has_only_sources(job: &Job, facts: &[StepFacts], first: usize) -> bool {
    // A machine of one's own may keep what was built on it.
    let hosted = |label: &str| ["ubuntu-", "windows-", "macos-"].iter().any(|start| label.starts_with(start));
    let new = job.runs_on.iter().all(|label| label.literal().is_some_and(hosted));
    let prepares = |kind: Kind| matches!(kind, Kind::Checkout | Kind::Setup | Kind::Trivial | Kind::Report);
    let plain = |(step, facts): (&Step, &StepFacts)| {
        let of_here = !step.is("actions/checkout")
            || ["repository", "ref"].iter().all(|input| step.input(input).is_none());
        of_here
            && facts.downloads.is_empty()
            && !facts.runs_own_script()
            && facts
                .works
                .iter()
                .all(|done| prepares(done.work.kind) || done.command.is_none() && is_login(&done.text))
            && facts.commands.iter().all(leaves_folders)
    };
    let takes = |facts: &StepFacts| {
        !facts.downloads.is_empty() || facts.works.iter().any(|done| done.text == "local action")
    };
    new && !job.runs_on.is_empty()
        && !job.container
        && job.steps.iter().zip(facts).take(first).all(plain)
        && !facts.iter().any(takes)
}

/// Tells whether an action only gives a job the right to do something.
fn is_login(action: &str) -> bool {
    ["login", "credentials", "/auth"].iter().any(|part| action.contains(part))
}

/// Tells whether a command puts nothing into a folder.
fn leaves_folders(command: &Command) -> bool {
    const PLAIN: &[&str] =
        &["", "mkdir", "echo", "printf", "set", "export", "ls", "test", "[", "[[", "true", "sleep", "rm"];
    let writes = command.words.iter().any(|word| word.contains('>') && !word.contains("GITHUB_"));
    PLAIN.contains(&command.program()) && !writes && !command.assigned.iter().any(|word| word.contains("$("))
}

/// Makes a path plain; `None` for one that is no folder or file below the top that is written out.
fn tidy(path: &str) -> Option<String> {
    let path = path.trim().trim_start_matches("./");
    let path =
        path.trim_end_matches("/**").trim_end_matches("/*").trim_end_matches("/.").trim_end_matches('/');
    let plain = !path.is_empty() && path != "." && !path.starts_with(['/', '~', '!', '-']);
    (plain && !path.contains(['$', '*', '?', ' ', ':'])).then(|| path.to_owned())
}

/// Returns the paths that a job uploads after success, as they are written.
fn folders(flow: &Flow, at: usize) -> Vec<String> {
    let steps = flow.model.jobs[at].steps.iter();
    let kept = steps.filter(|step| {
        step.is("actions/upload-artifact") && !step.condition.as_ref().is_some_and(Condition::asks_status)
    });
    let paths = kept.filter_map(|step| step.input("path")?.literal());
    paths.flat_map(|text| text.lines().filter_map(tidy).collect::<Vec<_>>()).collect()
}

/// How a folder is delivered.
struct Sent {
    place: Span,
    /// Whether an empty folder of that name takes the place of what is there.
    empties: bool,
}

/// Inputs of actions that name what is delivered.
///
/// Sources: the `action.yml` of each.
const INPUTS: &[(&str, &str)] = &[
    ("peaceiris/actions-gh-pages", "publish_dir"),
    ("jamesives/github-pages-deploy-action", "folder"),
    ("cloudflare/pages-action", "directory"),
    ("nwtgck/actions-netlify", "publish-dir"),
    ("softprops/action-gh-release", "files"),
    ("ncipollo/release-action", "artifacts"),
    ("samkirkland/ftp-deploy-action", "local-dir"),
    ("burnett01/rsync-deployments", "path"),
];

/// Returns how a step delivers a path.
fn sent(flow: &Flow, job: &Job, (step, facts): (&Step, &StepFacts), path: &str) -> Option<Sent> {
    if step.condition.is_some() || step.folder.is_some() || job.folder.is_some() {
        return None;
    }
    let is_it = |word: &str| {
        tidy(word).is_some_and(|word| {
            word == path || word.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        }) || word.trim_start_matches("./").strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    };
    let named = INPUTS.iter().find(|(action, _)| step.is(action)).and_then(|(_, input)| step.input(input));
    if let Some(text) = named {
        let is_here = text.literal()?.split(['\n', ',']).any(|line| is_it(line.trim()));
        return is_here.then_some(Sent { place: text.span, empties: false });
    }
    let at = facts.commands.iter().position(|command| delivers(command, &is_it))?;
    let (before, command) = (&facts.commands[..at], &facts.commands[at]);
    if !before.iter().all(leaves_folders) || command.depth > 0 {
        return None;
    }
    // Whatever prepares the folder in a step before it leaves it empty as well.
    let makes = |command: &Command| {
        command.program() == "mkdir" && command.words.iter().skip(1).any(|word| is_it(word))
    };
    let all = || job.steps.iter().filter(|other| other.span.start <= step.span.start);
    let made = before.iter().any(makes)
        || all().any(|step| crate::github::script::commands(step.script()).iter().any(makes));
    Some(Sent { place: flow.script_line(step, command.start, ""), empties: made && clears(command) })
}

/// Tells whether a command delivers what one of its words names: that stands before where it goes to.
fn delivers(command: &Command, is_it: &impl Fn(&str) -> bool) -> bool {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let rest = match words.as_slice() {
        ["aws", "s3", "sync" | "cp", rest @ ..]
        | ["gcloud", "storage", "cp" | "rsync", rest @ ..]
        | ["rclone", "sync" | "copy", rest @ ..]
        | ["gh", "release", "create" | "upload", rest @ ..]
        | ["twine", "upload", rest @ ..]
        | ["wrangler", "pages", "deploy", rest @ ..]
        | ["gsutil" | "rsync" | "scp" | "netlify" | "netlify-cli" | "surge" | "gh-pages", rest @ ..] => rest,
        _ => return false,
    };
    let to = rest.iter().position(|word| word.contains(':') && !word.starts_with('-')).unwrap_or(rest.len());
    rest[..to].iter().any(|word| is_it(word.strip_prefix("--dir=").unwrap_or(word)))
}

/// Tells whether a command takes away what is not in the folder that it brings.
///
/// Sources: `--delete` of `aws s3 sync` and `rsync`, `-d` of `gsutil rsync`; `rclone sync` makes both the same.
fn clears(command: &Command) -> bool {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    match words.as_slice() {
        ["aws" | "rsync", rest @ ..] => rest.iter().any(|word| word.starts_with("--delete")),
        ["gsutil", rest @ ..] => rest.contains(&"rsync") && rest.contains(&"-d"),
        ["gcloud", rest @ ..] => rest.contains(&"--delete-unmatched-destination-objects"),
        ["rclone", "sync", ..] => true,
        _ => false,
    }
}
