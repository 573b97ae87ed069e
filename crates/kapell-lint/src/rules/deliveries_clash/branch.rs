//! A branch of pages that one workflow makes the same as a folder, and to which another one adds.

use kapell_spec::{
    finding::Span,
    github::{Condition, Step},
};

use crate::{
    github::{Flow, script::Command},
    repository::Repository,
    rule::Report,
};

/// What a step brings to a branch.
pub(super) struct Brought<'a> {
    pub(super) flow: &'a Flow,
    /// The job, by number.
    pub(super) at: usize,
    pub(super) span: Span,
    pub(super) branch: &'a str,
    /// The folder of the branch; `None` if it may be any.
    below: Option<&'a str>,
    /// The folder of the job.
    from: Option<&'a str>,
    /// How to keep what others have brought, if it takes that away.
    clears: Option<&'static str>,
}

/// An action that commits files to a branch, and its inputs.
struct Publisher {
    name: &'static str,
    branch: &'static str,
    below: &'static str,
    from: &'static str,
    /// An input for another repository.
    elsewhere: &'static str,
    /// What keeps the files of others: inputs with the value that does so; any value does where none is said.
    keeps: &'static [(&'static str, Option<&'static str>)],
    /// What to write.
    hint: &'static str,
}

/// Actions that take away from the branch, or from their folder of it, all that is not in theirs, unless they are told to keep it.
///
/// Sources: the `action.yml` and the README of each: `keep_files` is false by default, `clean` is true.
const PUBLISHERS: &[Publisher] = &[
    Publisher {
        name: "peaceiris/actions-gh-pages",
        branch: "publish_branch",
        below: "destination_dir",
        from: "publish_dir",
        elsewhere: "external_repository",
        keeps: &[("keep_files", Some("true"))],
        hint: "add `keep_files: true`, or give it a folder of its own by `destination_dir`",
    },
    Publisher {
        name: "jamesives/github-pages-deploy-action",
        branch: "branch",
        below: "target-folder",
        from: "folder",
        elsewhere: "repository-name",
        keeps: &[("clean", Some("false")), ("clean-exclude", None)],
        hint: "name the other folder in `clean-exclude`, or give it one of its own by `target-folder`",
    },
];

/// An action that adds files to a branch and keeps what is there.
struct Adder {
    name: &'static str,
    /// The input that names the branch.
    branch: &'static str,
    /// The input that names the folder, and its default; without one it is the root.
    below: Option<(&'static str, &'static str)>,
}

/// Actions that add to what is on the branch.
///
/// Sources: the `action.yml` of each.
const ADDERS: &[Adder] = &[
    Adder { name: "helm/chart-releaser-action", branch: "pages_branch", below: None },
    Adder {
        name: "benchmark-action/github-action-benchmark",
        branch: "gh-pages-branch",
        below: Some(("benchmark-data-dir-path", "dev/bench")),
    },
];

/// The branch that all of them take unless they are told another.
const PAGES: &str = "gh-pages";

/// Returns a text that is written out and plain, of an input or its default.
fn plain<'a>(step: &'a Step, input: &str, default: &'a str) -> Option<&'a str> {
    let Some(given) = step.input(input) else { return Some(default) };
    let given = given.literal()?.trim();
    (!given.contains(['\n', '$'])).then_some(given)
}

/// Cleans the name of a folder.
fn folder(text: &str) -> &str {
    text.trim_start_matches("./").trim_matches('/').trim_matches('.')
}

/// Reads what an action brings.
fn by_action<'a>((flow, at): (&'a Flow, usize), step: &'a Step) -> Option<Brought<'a>> {
    let span = step.uses.as_ref().map_or(step.span, |(text, _)| text.span);
    if let Some(known) = PUBLISHERS.iter().find(|known| step.is(known.name)) {
        let kept = known.keeps.iter().any(|(input, value)| {
            step.input(input)
                .is_some_and(|text| value.is_none_or(|value| text.is(value)) || text.literal().is_none())
        });
        // Before its fourth version the other one kept them.
        let old = step
            .uses
            .as_ref()
            .is_some_and(|(text, _)| text.text.contains("@v3") || text.text.contains("/v3"));
        let below = plain(step, known.below, "").map(folder);
        return step.input(known.elsewhere).is_none().then_some(Brought {
            flow,
            at,
            span,
            branch: plain(step, known.branch, PAGES)?,
            below,
            from: plain(step, known.from, "public").map(folder),
            clears: (!kept && below.is_some() && !(old && known.branch == "branch")).then_some(known.hint),
        });
    }
    let known = ADDERS.iter().find(|known| step.is(known.name))?;
    let below = match known.below {
        Some((input, default)) => plain(step, input, default).map(folder),
        None => Some(""),
    };
    // The second one keeps its data elsewhere, or pushes nothing, unless it is told to.
    let pushes = known.below.is_none()
        || step.input("auto-push").is_some_and(|text| text.is("true"))
            && step.input("gh-repository").is_none()
            && step.input("external-data-json-path").is_none();
    pushes.then_some(Brought {
        flow,
        at,
        span,
        branch: plain(step, known.branch, PAGES)?,
        below,
        from: None,
        clears: None,
    })
}

/// Tells whether a workflow starts from what is on the branch of pages.
fn goes_on_from_pages(text: &str) -> bool {
    let starts = [
        "worktree add",
        "checkout gh-pages",
        "switch gh-pages",
        "ref: gh-pages",
        "-b gh-pages",
        "--branch gh-pages",
    ];
    starts.iter().any(|word| text.contains(word)) && !text.contains("--orphan")
}

/// Reads what a command pushes to the branch of pages, in a workflow that goes on from what is there.
fn by_command<'a>(
    (flow, at): (&'a Flow, usize),
    step: &'a Step,
    command: &'a Command,
) -> Option<Brought<'a>> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let to = |word: &&str| {
        matches!(*word, "gh-pages" | "HEAD:gh-pages" | "HEAD:refs/heads/gh-pages" | "gh-pages:gh-pages")
    };
    let forced = |word: &&str| matches!(*word, "-f" | "--delete" | "-d") || word.starts_with("--force");
    let pushes = words.starts_with(&["git", "push"]) && words.iter().any(to) && !words.iter().any(forced);
    (pushes && goes_on_from_pages(&flow.text)).then(|| Brought {
        flow,
        at,
        span: flow.script_line(step, command.start, ""),
        branch: PAGES,
        below: None,
        from: None,
        clears: None,
    })
}

/// Tells whether a condition asks for nothing but the branch, the event or the repository: what it guards runs again and again.
pub(super) fn is_usual(condition: Option<&Condition>) -> bool {
    let asks = |text: &str| {
        text.split("&&").all(|part| {
            ["github.ref", "github.event_name", "github.repository"].iter().any(|name| part.contains(name))
                && !part.contains("workflow_dispatch")
        })
    };
    condition.is_none_or(|condition| asks(&condition.text))
}

/// Tells whether the rest of a workflow has to do with the branch: it may bring along what was there.
fn knows_branch(brought: &Brought<'_>) -> bool {
    let mut steps = brought.flow.model.jobs.iter().flat_map(|job| &job.steps);
    steps.any(|step| {
        let own = step.span.start <= brought.span.start && brought.span.end <= step.span.end;
        !own && brought.flow.text.get(step.span.range()).is_some_and(|text| text.contains(brought.branch))
    })
}

/// Returns what workflows bring to branches again and again.
pub(super) fn brought(repository: &Repository) -> Vec<Brought<'_>> {
    let mut all: Vec<Brought<'_>> = Vec::new();
    for flow in &repository.github.flows {
        for (at, _) in flow.jobs().filter(|(_, job)| is_usual(job.condition.as_ref())) {
            for (step, facts) in flow.steps(at).filter(|(step, _)| is_usual(step.condition.as_ref())) {
                all.extend(by_action((flow, at), step));
                all.extend(facts.commands.iter().filter_map(|command| by_command((flow, at), step, command)));
            }
        }
    }
    all
}

/// Tells of a workflow that makes a branch, or a folder of it, the same as its own, and takes away what another one brings there.
pub(super) fn check(all: &[Brought<'_>], report: &mut Report<'_>) {
    for taker in all {
        let Some(hint) = taker.clears.filter(|_| !knows_branch(taker)) else { continue };
        let own = taker.below.unwrap_or_default();
        let inside = |other: &&Brought<'_>| match other.below {
            // What is put into the same folder of the same sources is the same.
            Some(below) if below == own => other.from != taker.from,
            Some(below) => {
                own.is_empty() || below.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'))
            }
            // The name of a folder that is not known is still one below the root.
            None => own.is_empty(),
        };
        let mut others = all
            .iter()
            .filter(|other| !std::ptr::eq(other.flow, taker.flow) && other.branch == taker.branch)
            .filter(inside);
        let Some(taken) = others.next() else { continue };
        let place = if own.is_empty() { String::new() } else { format!("`{own}` on ") };
        report
            .add(
                taker.flow.file,
                taker.span,
                format!(
                    "`{}` takes away from {place}the branch `{}` all that is not its own: also what `{}` brings there",
                    taker.flow.name(),
                    taker.branch,
                    taken.flow.name()
                ),
            )
            .also(taken.flow.file, taken.span, "brought here")
            .hint(hint)
            .done();
    }
}
