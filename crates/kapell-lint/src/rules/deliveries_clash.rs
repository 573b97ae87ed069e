//! Two workflows, or two cells of a matrix, deliver to one place: the later one takes away what the other brought, or fails.

mod branch; // of pages
mod cells; // of one matrix, that push one tag
mod forced; // pushes that take the place of what came meanwhile
mod images; // of several environments
mod resets; // what another workflow takes away

use kapell_spec::{
    finding::Span,
    github::{Job, Step},
};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, script::Command, tools::Kind},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/deliveries-clash.md`.
pub(super) static RULE: Rule = Rule {
    name: "deliveries-clash",
    summary: "two workflows or cells deliver to one place, and the later takes the other's away or fails",
    group: Group::Safety,
    anti_pattern: Some(AntiPattern::SharedState),
    focus: Focus::Conflicts,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/deliveries-clash.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    buckets(repository, report);
    let brought = branch::brought(repository);
    branch::check(&brought, report);
    forced::check(repository, &brought, report);
    packages(repository, report);
    resets::check(repository, report);
    images::check(repository, report);
    cells::check(repository, report);
}

/// A folder that is made the same as another one.
struct Sync<'a> {
    flow: &'a Flow,
    span: Span,
    /// The folder, from the top of the repository.
    from: String,
    to: &'a str,
    /// Whether what is not in the source is taken away.
    clears: bool,
}

/// Reads a command that brings a folder to a bucket, both of which are written out. One that leaves something out may leave
/// what others bring, and one that only shows what it would do brings nothing.
///
/// Sources: `--delete` of `aws s3 sync`, `-d` of `gsutil rsync`, `rclone sync` makes both the same.
fn sync<'a>(flow: &'a Flow, job: &Job, step: &Step, command: &'a Command) -> Option<Sync<'a>> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let (rest, clears) = match words.as_slice() {
        ["aws", "s3", "sync", rest @ ..] => (rest, rest.contains(&"--delete")),
        ["gsutil", rest @ ..] if rest.contains(&"rsync") => (rest, rest.contains(&"-d")),
        ["gcloud", "storage", "rsync", rest @ ..] => {
            (rest, rest.contains(&"--delete-unmatched-destination-objects"))
        }
        ["rclone", "sync", rest @ ..] => (rest, true),
        _ => return None,
    };
    let parts =
        |word: &&str| ["--exclude", "--include", "-x", "--filter"].iter().any(|own| word.starts_with(own));
    let shows = |word: &&str| matches!(*word, "--dryrun" | "--dry-run" | "-n");
    if rest.iter().any(|word| parts(word) || shows(word)) || moves(step) {
        return None;
    }
    let at = rest.iter().position(|word| word.contains(':'))?;
    let (from, to) = (rest[at.checked_sub(1)?], rest[at].trim_end_matches('/'));
    let plain = !to.contains('$') && !from.contains('$') && !from.starts_with('-');
    let folder = step.folder.as_ref().or(job.folder.as_ref());
    let folder = folder.map_or(Some(""), |folder| folder.literal())?;
    let tidy = |path: &str| path.trim_start_matches("./").trim_end_matches('/').to_owned();
    let from = if folder.is_empty() || from.starts_with(['/', '~']) {
        tidy(from)
    } else {
        format!("{}/{}", tidy(folder), tidy(from))
    };
    plain.then(|| Sync { flow, span: flow.script_line(step, command.start, ""), from, to, clears })
}

/// Tells whether the script of a step goes elsewhere before it does something.
fn moves(step: &Step) -> bool {
    ["cd ", "pushd "].iter().any(|word| step.script().contains(word))
}

/// Tells whether one of two workflows is started by hand alone to put something else in the place of the other's: a way back, or
/// a page that says when it goes on.
fn replaces(one: &Sync<'_>, other: &Sync<'_>) -> bool {
    let by_hand =
        |flow: &Flow| flow.model.events.iter().all(|event| &*event.name.text == "workflow_dispatch");
    one.to == other.to && (by_hand(one.flow) || by_hand(other.flow))
}

/// Tells of folders that two workflows bring to one place in a bucket, where one of them clears away all that is not its own.
fn buckets(repository: &Repository, report: &mut Report<'_>) {
    let mut all: Vec<Sync<'_>> = Vec::new();
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs().filter(|(_, job)| job.condition.is_none()) {
            let steps = flow.steps(at).filter(|(step, _)| step.condition.is_none() && job.uses.is_none());
            for (step, facts) in steps {
                all.extend(facts.commands.iter().filter_map(|command| sync(flow, job, step, command)));
            }
        }
    }
    for (at, one) in all.iter().enumerate() {
        let takes = |one: &Sync<'_>, other: &Sync<'_>| {
            let below = other.to.strip_prefix(one.to);
            one.clears && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let clash = |other: &&Sync<'_>| {
            let apart = !std::ptr::eq(other.flow, one.flow) && other.from != one.from;
            apart && !replaces(one, other) && (takes(one, other) || takes(other, one))
        };
        let Some(other) = all[..at].iter().find(clash) else { continue };
        let (taker, taken) = if takes(one, other) { (one, other) } else { (other, one) };
        report
            .add(
                taker.flow.file,
                taker.span,
                format!(
                    "`{}` takes away from `{}` all that is not in `{}`: also what `{}` brings there",
                    taker.flow.name(),
                    taker.to,
                    taker.from,
                    taken.flow.name()
                ),
            )
            .also(taken.flow.file, taken.span, "brought here")
            .hint("give each a folder of its own, or leave the other's out with `--exclude`")
            .done();
    }
}

/// Programs that publish a version of a package once and for all.
const ONCE: &[&[&str]] = &[
    &["npm", "publish"],
    &["pnpm", "publish"],
    &["yarn", "publish"],
    &["cargo", "publish"],
    &["twine", "upload"],
    &["poetry", "publish"],
    &["uv", "publish"],
    &["gem", "push"],
];

/// Words of what asks whether a version is there, or publishes it elsewhere or under another name.
const LOOKS: &[&str] = &[
    "skip-existing",
    "npm view",
    "npm info",
    "dry-run",
    "--tag ",
    "|| ",
    "--registry",
    "registry-url",
    "repository-url",
];

/// Tells of a package that is published for a tag, and once more for the release which makes that tag.
///
/// Source: "release" in "Events that trigger workflows" of GitHub: a release that is published with a new tag is a push of that
/// tag, too.
fn packages(repository: &Repository, report: &mut Report<'_>) {
    let flows = || repository.github.flows.iter().filter(|flow| flow.model.events.len() == 1);
    let on_tags = |flow: &&Flow| {
        let push = flow.model.event("push");
        // Tags with words of their own are those of one package among several.
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_digit() || "v.*[]+?-".contains(c));
        push.and_then(|push| push.filter("tags").filter(|_| push.filter("branches").is_none()))
            .is_some_and(|tags| tags.items.iter().all(|tag| plain(&tag.text)))
    };
    let on_release = |flow: &&Flow| flow.model.event("release").is_some();
    for release in flows().filter(on_release) {
        let Some((program, span)) = published(release) else { continue };
        let other = flows().filter(on_tags).find_map(|flow| {
            let (own, place) = published(flow)?;
            (own == program).then_some((flow, place))
        });
        let Some((tag, place)) = other else { continue };
        report
            .add(
                release.file,
                span,
                format!(
                    "a release publishes the package here and, by its tag, in `{}`: the second one is refused",
                    tag.name()
                ),
            )
            .also(tag.file, place, "published here")
            .hint("publish on one of the two events")
            .done();
    }
}

/// A program, and the files that it is given.
type Publisher<'a> = (&'static [&'static str], Vec<&'a str>);

/// Returns by what a workflow publishes its one package, whatever tag or release it is, and where.
fn published(flow: &Flow) -> Option<(Publisher<'_>, Span)> {
    if LOOKS.iter().any(|word| flow.text.contains(word)) {
        return None;
    }
    let jobs = flow
        .jobs()
        .filter(|(_, job)| job.condition.is_none() && job.matrix.is_none() && job.folder.is_none());
    let steps = jobs.flat_map(|(at, _)| flow.steps(at));
    let plain = |step: &Step| {
        step.condition.is_none() && step.continue_on_error.is_none() && step.folder.is_none() && !moves(step)
    };
    steps.filter(|(step, _)| plain(step)).find_map(|(step, facts)| {
        let done = facts.works.iter().find(|done| done.work.kind == Kind::Publish)?;
        let command = facts.commands.get(done.command?)?;
        let words = command.inner();
        let known = ONCE
            .iter()
            .find(|known| words.len() >= known.len() && known.iter().zip(words).all(|(a, b)| a == b))?;
        let named = words[known.len()..].iter().map(String::as_str);
        let named: Vec<&str> = named.filter(|word| !word.starts_with('-') && *word != "public").collect();
        // These two are given files; for the others, a folder that is named is a package of its own.
        let whole = named.is_empty() || matches!(known[0], "twine" | "gem");
        whole.then(|| ((*known, named), flow.script_line(step, command.start, "")))
    })
}
