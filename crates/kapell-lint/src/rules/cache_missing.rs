//! Dependencies are downloaded anew in every run.

use kapell_spec::github::{Job, Step, Uses};
use kapell_view::audit::{Confidence, Severity};

use super::cache_after_install::restored;
use crate::github::{
    Flow, Github, StepFacts, carry, comments,
    tools::{self, Installer, Kind},
};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/cache-missing.md`.
pub(super) static RULE: Rule = Rule {
    name: "cache-missing",
    summary: "Dependencies are downloaded anew in every run",
    group: Group::Cache,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::Performance,
    severity: Severity::Low,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/cache-missing.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    written_only(repository, report);
    let mut found: Vec<(&Flow, usize, &'static Installer)> = Vec::new();
    for flow in &repository.github.flows {
        // A run that is rare, or that publishes, is better off without what others may have put into a cache.
        let often =
            ["push", "pull_request", "merge_group", "workflow_call"].iter().any(|event| flow.starts(event));
        if !often || flow.text.contains("ACTIONS_CACHE_MODE") {
            continue;
        }
        for (at, job) in flow.jobs() {
            // One whose work goes out is better off without what others may have put into a cache.
            let goes_out = |at: usize| carry::changes(flow, at);
            let feeds = flow.jobs().any(|(other, _)| goes_out(other) && flow.closures[other].contains(&at));
            let for_all = flow.starts("pull_request") || flow.starts("pull_request_target");
            if job.container || goes_out(at) || feeds && !for_all {
                continue;
            }
            if another_place(flow, at, report) {
                continue;
            }
            if let Some(installer) = uncached(&repository.github, flow, at).filter(|_| !explained(flow, at)) {
                found.push((flow, at, installer));
            }
        }
    }
    found.retain(|(_, _, installer)| !few(repository, installer));
    // One cause, one finding: nobody has set up a cache.
    let [(flow, at, installer), rest @ ..] = &found[..] else { return };
    let mut draft = report
        .add(flow.file, flow.job_span(*at), message(flow, *at, installer, rest.len()))
        .hint(match installer.setup {
            Some((action, input, value)) => format!("give `{action}` the input `{input}: {value}`"),
            None => format!(
                "keep its downloads with `{}`",
                installer.cached_by.first().unwrap_or(&"actions/cache")
            ),
        });
    for (flow, at, installer) in rest {
        draft = draft.also(flow.file, flow.job_span(*at), format!("`{}` too", installer.name));
    }
    draft.done();
}

/// Builds of images keep their layers in a cache that no build asks for.
///
/// Source: Docker, "Cache storage backends": `cache-to` exports, and only what `cache-from` names is imported.
fn written_only(repository: &Repository, report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    let asks = |text: &str| ["cache-from", "cache_from", "cacheFrom"].iter().any(|word| text.contains(word));
    if !flows.iter().any(|flow| flow.text.contains("cache-to:"))
        || repository.files.iter().any(|(_, file)| asks(&file.text))
    {
        return;
    }
    for flow in flows {
        for (step, _) in flow.jobs().flat_map(|(at, _)| flow.steps(at)) {
            let to = step.input("cache-to").filter(|_| step.is("docker/build-push-action"));
            // What goes into the image itself, or into a folder, may be for others.
            let Some(to) = to.filter(|to| to.text.contains("type=gha")) else { continue };
            let message = "the layers are kept in a cache that no build asks for: each run uploads all of them for nothing";
            report
                .add(flow.file, to.span, message.to_owned())
                .severity(Severity::Medium)
                .hint("add `cache-from: type=gha`, with the same scope")
                .done();
        }
    }
}

/// A cache keeps the downloads of a tool that the job does not run, and not those of the only one that it does.
fn another_place(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    const FAMILY: &[&str] = &["npm", "pnpm", "yarn"];
    let job = &flow.model.jobs[at];
    let commands = || flow.facts[at].iter().flat_map(|facts| &facts.commands);
    let Some(own) = commands().find_map(tools::installer) else { return false };
    // Whatever is not known may run the other tool.
    if flow.facts[at].iter().any(StepFacts::is_opaque)
        || commands().filter_map(tools::installer).any(|found| found.name != own.name)
    {
        return false;
    }
    let found = job.steps.iter().filter(|step| step.is("actions/cache")).find_map(|step| {
        let path = step.input("path").filter(|path| !path.text.trim().contains(['\n', '$']))?;
        let other =
            restored(step).filter(|other| FAMILY.contains(&other.name) && FAMILY.contains(&own.name))?;
        let runs = commands().any(|command| command.program() == other.name || command.program() == "npx");
        let shared =
            path.text.contains("node_modules") || own.paths.iter().any(|part| path.text.contains(part));
        (other.name != own.name && !runs && !shared).then_some((path, other))
    });
    let Some((path, other)) = found else { return false };
    report
        .add(
            flow.file,
            path.span,
            format!(
                "`{}` is where `{}` keeps its downloads, and `{}` is what `{}` runs",
                path.text.trim(),
                other.name,
                own.name,
                job.id.text
            ),
        )
        .severity(Severity::Medium)
        .hint(format!("keep what `{}` downloads", own.name))
        .done();
    true
}

/// So few dependencies of its own that a cache of them saves less than it costs to restore.
const FEW: usize = 8;

/// Tells whether the repository is a library that depends on little. A program is built with all that it needs each time.
fn few(repository: &Repository, installer: &Installer) -> bool {
    let files = &repository.files;
    let library = || files.exists("src/lib.rs") && !files.exists("src/main.rs");
    let text = |id| &*files[id].text;
    installer.name == "cargo"
        && library()
        && files.find("Cargo.toml").map(text).and_then(crates).is_some_and(|count| count < FEW)
}

/// Counts the crates that a package depends on by itself, for tests and builds too; `None` for a workspace.
fn crates(manifest: &str) -> Option<usize> {
    let mut count = 0;
    let mut lists = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            if table == "workspace" || table.starts_with("workspace.") {
                return None;
            }
            lists = table.ends_with("dependencies");
            // `[dependencies.serde]`
            count += usize::from(
                !lists && table.rsplit_once('.').is_some_and(|(of, _)| of.ends_with("dependencies")),
            );
        } else if lists && !line.starts_with('#') && line.contains('=') {
            count += 1;
        }
    }
    Some(count)
}

fn message(flow: &Flow, at: usize, installer: &Installer, more: usize) -> String {
    let job: &Job = &flow.model.jobs[at];
    let more = match more {
        0 => String::new(),
        1 => ", as does another job".to_owned(),
        more => format!(", as do {more} other jobs"),
    };
    format!("`{}` downloads what `{}` needs anew in every run{more}", job.id.text, installer.name)
}

/// Returns the tool whose downloads a job does not keep.
fn uncached(github: &Github, flow: &Flow, at: usize) -> Option<&'static Installer> {
    let job = &flow.model.jobs[at];
    let all = || flow.facts[at].iter();
    // What is tried in a folder of no repository, or of another one, has no lock file here.
    let mut checkouts = job.steps.iter().filter(|step| step.is("actions/checkout"));
    let unknown = |facts: &StepFacts| {
        facts.works.iter().any(|done| done.command.is_none() && done.work.kind == Kind::Unknown)
    };
    let fetches = || all().any(|facts| facts.does(Kind::Checkout) || unknown(facts));
    if checkouts.next().map_or(!fetches(), |step| step.input("repository").is_some()) {
        return None;
    }
    let installer = all().flat_map(|facts| &facts.commands).find_map(tools::installer)?;
    let by_action = all().flat_map(|facts: &StepFacts| &facts.actions).any(|name| {
        installer.cached_by.contains(&name.as_str())
            || name.contains("cache") && !name.starts_with("actions/cache")
            || !name.starts_with("actions/")
                && name.contains("setup")
                && !tools::KEEP_NOTHING.contains(&name.as_str())
    });
    // A cache of something else keeps no downloads. Which one it is may be an expression, or stand in an action.
    let kept = |step: &Step| {
        let path = step.input("path").map_or("", |path| &path.text);
        // Another tool's is one of something else, if nothing here runs that.
        let runs = |other: &Installer| {
            let first = |start: &&str| start.split(' ').next().unwrap_or_default().to_owned();
            let programs: Vec<String> = other.commands.iter().map(first).collect();
            let mut commands = all().flat_map(|facts| &facts.commands);
            commands.any(|command| programs.iter().any(|program| program == command.program()))
        };
        let owned = || installer.paths.iter().any(|part| path.contains(part));
        restored(step).is_some_and(|other| owned() || runs(other))
            || path.contains("${{ steps")
            || path.contains("${{ env")
    };
    let own = job.steps.iter().filter(|step| step.is("actions/cache") || step.is("actions/cache/restore"));
    let inner =
        all().flat_map(|facts| &facts.actions).filter(|name| name.starts_with("actions/cache")).count();
    let by_action = by_action || own.clone().any(kept) || inner > own.count();
    let asks = |step: &Step| step.with.iter().any(|(name, _)| name.text.contains("cache"));
    // An action of the repository may ask for it in its own steps.
    let inside = |step: &Step| match step.action() {
        Some(Uses::Local(path)) => {
            github.actions.get(&**path).is_some_and(|action| action.model.steps.iter().any(asks))
        }
        _ => false,
    };
    let by_input = job.steps.iter().any(|step| asks(step) || inside(step));
    let elsewhere =
        all().any(|facts| facts.actions.is_empty() && facts.is_opaque() && facts.commands.is_empty());
    let own_runner = job.runs_on.iter().any(|label| label.text.contains("self-hosted"));
    // A setup action of the newest kind keeps caches by itself.
    let automatic = installer.name == "npm"
        && job
            .steps
            .iter()
            .any(|step| step.is("actions/setup-node") && step.input("package-manager-cache").is_some());
    (!by_action && !by_input && !elsewhere && !own_runner && !automatic).then_some(installer)
}

fn explained(flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    // What is said of one job may be said of all: `no cache in either job, on purpose`.
    let mut comments =
        flow.model.comments.iter().map(|comment| flow.text[comment.range()].to_ascii_lowercase());
    let denies = |said: &str| {
        ["no cach", "without cach", "without a cach", "not cach", "uncached", "never cach"]
            .iter()
            .any(|word| said.contains(word))
    };
    comments::explains(flow, job.span, usize::MAX, &["cache", "caching"]).is_some()
        || comments.any(|said| denies(&said))
}
