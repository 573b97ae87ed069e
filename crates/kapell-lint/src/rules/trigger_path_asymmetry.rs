//! The path filters of push and pull request disagree.

mod built; // what is copied into an image
mod stand_in; // a job that says yes for another one that is left out by its paths

use crate::github::{Flow, carry, comments, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::github::Filter;
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/trigger-path-asymmetry.md`.
pub(super) static RULE: Rule = Rule {
    name: "trigger-path-asymmetry",
    summary: "The path filters of push and pull request disagree",
    group: Group::Waste,
    anti_pattern: None,
    focus: Focus::Conflicts,
    severity: Severity::Low,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/trigger-path-asymmetry.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    stand_in::check(repository, report);
    for flow in &repository.github.flows {
        beside(repository, flow, report);
        let (Some(push), Some(pull)) = (flow.model.event("push"), flow.model.event("pull_request")) else {
            continue;
        };
        let (left, right) = (push.filter("paths"), pull.filter("paths"));
        match (left, right) {
            (Some(left), Some(right)) => compare(repository, flow, left, right, report),
            // Pull requests of some files only, but every push: a workflow that is about these files.
            (None, Some(right))
                if push.filter("paths-ignore").is_none()
                    && push.filter("tags").is_none()
                    && about(flow, right) =>
            {
                let draft = report
                    .add(
                        flow.file,
                        push.name.span,
                        format!(
                            "`{}` is about `{}` on pull requests, but every push starts it",
                            flow.name(),
                            right.items[0].text
                        ),
                    )
                    .also(flow.file, right.span, "the paths of `pull_request`")
                    .hint("give `push` the same paths");
                end(flow, right.span, draft);
            }
            (None, None) => {
                if let (Some(left), Some(right)) = (push.filter("paths-ignore"), pull.filter("paths-ignore"))
                {
                    compare(repository, flow, left, right, report);
                }
            }
            _ => {}
        }
    }
}

/// Returns the paths of an event of a workflow, if it names what it watches and ignores nothing.
fn watched<'a>(flow: &'a Flow, event: &str) -> Option<&'a Filter> {
    let paths = flow.model.event(event)?.filter("paths")?;
    (!paths.items.iter().any(|item| item.text.starts_with('!'))).then_some(paths)
}

/// A delivery builds a folder that it does not watch, where the workflow that checks the same does: `packages/ui/**`.
fn beside(repository: &Repository, flow: &Flow, report: &mut Report<'_>) {
    let Some(own) = watched(flow, "push").filter(|_| flow.jobs().any(|(at, _)| carry::delivers(flow, at)))
    else {
        return;
    };
    let aside = |path: &str| path.starts_with(".github/");
    let watches = |filter: &Filter, path: &str| filter.items.iter().any(|item| *item.text == *path);
    let covered = |folder: &str| {
        own.items.iter().any(|item| {
            let start = item.text.split('*').next().unwrap_or_default();
            start.is_empty() || folder.starts_with(start.trim_end_matches('/'))
        })
    };
    let builds = |folder: &str| {
        let is = |word: &str| word.trim_start_matches("./").trim_end_matches('/') == folder;
        let mut steps = flow.jobs().flat_map(|(at, _)| flow.steps(at));
        steps.any(|(step, facts)| {
            let mut words = facts.commands.iter().flat_map(|command| command.words.iter().skip(1));
            step.folder.as_ref().is_some_and(|own| is(&own.text))
                || words.any(|word| is(word.rsplit('=').next().unwrap_or(word)))
        })
    };
    for other in repository.github.flows.iter().filter(|other| !std::ptr::eq(*other, flow)) {
        let Some(checked) = watched(other, "pull_request").or_else(|| watched(other, "push")) else {
            continue;
        };
        if !own.items.iter().all(|item| aside(&item.text) || watches(checked, &item.text)) {
            continue;
        }
        let missing = checked.items.iter().find_map(|item| {
            let folder = item.text.strip_suffix("/**")?;
            let plain = !folder.contains('*') && !aside(folder);
            (plain && !covered(folder) && builds(folder)).then_some(item)
        });
        let Some(missing) = missing else { continue };
        let draft = report
            .add(
                flow.file,
                own.span,
                format!(
                    "`{}` builds `{}` and does not watch it, as `{}` does: a change of it alone is checked and not delivered",
                    flow.name(),
                    missing.text.trim_end_matches("/**"),
                    other.name()
                ),
            )
            .severity(Severity::High)
            .also(other.file, missing.span, "watched here")
            .hint(format!("add `{}` to the paths", missing.text));
        match comments::explains(flow, own.span, 2, &["on purpose", "intentional", "not need", "by itself"]) {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
        return;
    }
}

/// Two lists that were meant to be one: most of their paths are in both.
fn compare(repository: &Repository, flow: &Flow, left: &Filter, right: &Filter, report: &mut Report<'_>) {
    let names =
        |filter: &Filter| -> Vec<String> { filter.items.iter().map(|item| item.text.to_string()).collect() };
    let own = |path: &String| path.starts_with(".github/");
    let (a, b) = (names(left), names(right));
    let common = a.iter().filter(|path| b.contains(path)).count();
    let differ: Vec<&String> = a
        .iter()
        .filter(|path| !b.contains(path))
        .chain(b.iter().filter(|path| !a.contains(path)))
        .filter(|path| !own(path))
        .collect();
    if common == 0 || differ.is_empty() || differ.len() > 3 || differ.len() > common + 1 {
        return;
    }
    // What one of them ignores starts the other.
    let ignores = &*left.key.text == "paths-ignore";
    let only = if a.contains(differ[0]) == ignores { "pull_request" } else { "push" };
    let unwatched = differ.iter().filter(|path| b.contains(path)).map(|path| &***path);
    if let Some(copied) = built::copied(repository, flow, unwatched).filter(|_| !ignores) {
        let draft = report
            .add(
                flow.file,
                left.span,
                format!(
                    "a change of `{}` is checked on pull requests, and builds no image when it is merged: `{}` copies it",
                    copied.pattern, copied.recipe
                ),
            )
            .severity(Severity::High)
            .confidence(Confidence::High)
            .also(copied.file, copied.span, "copied here")
            .also(flow.file, right.span, "the paths of `pull_request`")
            .hint("give both the same paths");
        return end(flow, left.span, draft);
    }
    let draft = report
        .add(
            flow.file,
            right.span,
            format!("a change of `{}` starts `{}` on {only} only", differ[0], flow.name()),
        )
        .also(
            flow.file,
            left.span,
            format!("the {} of `push`", if ignores { "ignored paths" } else { "paths" }),
        )
        // Nobody hears of what it breaks before it is merged.
        .severity(match !ignores && only == "push" && tests(flow) && !is_prose(differ[0]) {
            true => Severity::Medium,
            false => Severity::Low,
        })
        .hint("give both the same paths, or say why they differ");
    end(flow, right.span, draft);
}

/// Tells whether a workflow tests.
fn tests(flow: &Flow) -> bool {
    flow.facts.iter().flatten().any(|facts| facts.does(Kind::Test))
}

/// Tells whether a pattern of paths is one of what people read.
fn is_prose(pattern: &str) -> bool {
    let ends = [".md", ".mdx", ".rst", ".txt", ".adoc"];
    pattern.starts_with("docs/")
        || pattern.starts_with("doc/")
        || ends.iter().any(|end| pattern.ends_with(end))
}

/// Tells whether a workflow only checks, so that files it does not watch cannot matter to it.
fn about(flow: &Flow, filter: &Filter) -> bool {
    let code = ["src/**", "**/*.rs", "**/*.py", "**/*.ts", "**/*.go", "crates/**", "packages/**", "libs/**"];
    (1..=3).contains(&filter.items.len())
        && !filter.items.iter().any(|item| code.contains(&&*item.text) || item.text.starts_with('!'))
        && !flow.jobs().any(|(at, _)| carry::changes(flow, at))
}

fn end(flow: &Flow, span: kapell_spec::finding::Span, draft: crate::rule::Draft<'_>) {
    match comments::explains(flow, span, 2, &["only", "push", "main", "always", "on purpose", "all of"]) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}
