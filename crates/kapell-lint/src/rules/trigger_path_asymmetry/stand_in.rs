//! A job that only says yes for a check that is left out by its paths: both lists have to name the same.

use std::borrow::Cow;

use kapell_spec::github::{Filter, Job};
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, tools::Kind},
    repository::Repository,
    rule::Report,
};

/// What a workflow leaves to others, or takes from them.
enum Paths<'a> {
    /// It runs for a change of any of these.
    Only(&'a Filter, Vec<&'a str>),
    /// It runs for a change of anything else.
    But(&'a Filter, Vec<&'a str>),
}

/// Returns what pull requests start a workflow; `**` and then only what is left out are the same as a list of what is
/// ignored.
fn paths<'a>(flow: &'a Flow) -> Option<Paths<'a>> {
    let event = flow.model.event("pull_request")?;
    let texts = |filter: &'a Filter| filter.items.iter().map(|item| &*item.text).collect();
    if let Some(ignored) = event.filter("paths-ignore") {
        return Some(Paths::But(ignored, texts(ignored)));
    }
    let filter = event.filter("paths")?;
    let items: Vec<&str> = texts(filter);
    let left_out: Option<Vec<&str>> = match &items[..] {
        ["**" | "**/*", rest @ ..] if !rest.is_empty() => {
            rest.iter().map(|item| item.strip_prefix('!')).collect()
        }
        _ => None,
    };
    match left_out {
        Some(left_out) => Some(Paths::But(filter, left_out)),
        // What is taken in again after it was left out is not looked at.
        None if items.iter().any(|item| item.starts_with('!')) => None,
        None => Some(Paths::Only(filter, items)),
    }
}

/// Returns the name under which a job is a check.
fn check_name(job: &Job) -> Cow<'_, str> {
    job.name.as_ref().map_or(Cow::Borrowed(&*job.id.text), |name| name.text.trim().to_owned().into())
}

/// Tells whether a job does nothing but end well.
fn only_says_yes(flow: &Flow, at: usize) -> bool {
    let steps = &flow.model.jobs[at].steps;
    !steps.is_empty()
        && steps.iter().all(|step| step.run.is_some())
        && flow.facts[at].iter().all(|facts| facts.works.iter().all(|done| done.work.kind == Kind::Trivial))
}

/// Tells whether each path of `narrow` is one of `wide`, as far as the patterns tell.
fn covers(wide: &str, narrow: &str) -> bool {
    if wide == narrow || matches!(wide, "**" | "**/*") {
        return true;
    }
    match wide.strip_suffix("/**").or_else(|| wide.strip_suffix("/**/*")) {
        Some(folder) if !folder.contains('*') => {
            narrow.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        }
        // `**.md` and `**/*.md` are all files with that end.
        _ => wide.strip_prefix("**/*").or_else(|| wide.strip_prefix("**")).is_some_and(|end| {
            !end.is_empty() && !end.contains(['*', '/', '?', '[']) && narrow.ends_with(end)
        }),
    }
}

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    for flow in flows {
        for (_, job) in flow.jobs().filter(|(at, _)| only_says_yes(flow, *at)) {
            let name = check_name(job);
            let Some(own) = paths(flow).filter(|_| !name.contains("${{")) else { continue };
            let real = flows.iter().filter(|other| !std::ptr::eq(*other, flow)).find_map(|other| {
                let mut jobs = other.jobs();
                let (real, _) = jobs.find(|(_, job)| check_name(job) == name)?;
                (!only_says_yes(other, real)).then_some(())?;
                Some((other, paths(other)?))
            });
            let Some((other, theirs)) = real else { continue };
            tell((flow, &own), (other, &theirs), &name, report);
            break;
        }
    }
}

/// Tells of what starts neither: it is left out of one list, and not in the other one.
fn tell(
    (flow, own): (&Flow, &Paths<'_>),
    (other, theirs): (&Flow, &Paths<'_>),
    name: &str,
    report: &mut Report<'_>,
) {
    let ((Paths::Only(only, wanted), Paths::But(but, left_out))
    | (Paths::But(but, left_out), Paths::Only(only, wanted))) = (own, theirs)
    else {
        return;
    };
    let Some(missing) = left_out.iter().find(|path| !wanted.iter().any(|wide| covers(wide, path))) else {
        return;
    };
    let (only_in, but_in) = match own {
        Paths::Only(..) => (flow, other),
        Paths::But(..) => (other, flow),
    };
    report
        .add(
            only_in.file,
            only.span,
            format!(
                "a change of `{missing}` alone starts neither `{name}` nor what stands in for it: a check that is required never comes"
            ),
        )
        .severity(Severity::High)
        .also(but_in.file, but.span, "left out here")
        .hint(format!("add `{missing}` to the paths"))
        .done();
}
