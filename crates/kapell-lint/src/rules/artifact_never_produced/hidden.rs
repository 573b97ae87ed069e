//! Uploads of nothing but hidden files, which are left out unless an input asks for them.

use kapell_spec::github::Step;
use kapell_view::audit::Severity;

use crate::{github::Flow, rule::Report};

/// Looks at all uploads of a workflow.
///
/// Source: README of `actions/upload-artifact`, input `include-hidden-files`: `false` by default since v4.4.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    for (_, job) in flow.jobs() {
        for step in job.steps.iter().filter(|step| step.is("actions/upload-artifact") && is_new(step)) {
            let Some(path) = step.input("path").filter(|path| path.literal().is_some()) else { continue };
            let asked = step.input("include-hidden-files").is_some_and(|text| !text.is("false"));
            let mut lines = path.text.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
            if asked || lines.peek().is_none() || !lines.all(is_hidden) {
                continue;
            }
            report
                .add(
                    flow.file,
                    path.span,
                    format!("nothing of `{}` is uploaded: hidden files are left out", path.text.trim()),
                )
                .severity(Severity::High)
                .hint("add `include-hidden-files: true`")
                .done();
        }
    }
}

/// Tells whether an action is of a version that leaves them out; a commit may be of any.
fn is_new(step: &Step) -> bool {
    let version =
        step.uses.as_ref().and_then(|(text, _)| text.text.split_once('@')).map_or("", |(_, version)| version);
    let Some(numbers) = version.trim().strip_prefix('v') else { return false };
    let mut parts = numbers.split('.').map(|part| part.parse::<u32>().unwrap_or(u32::MAX));
    match (parts.next(), parts.next()) {
        (Some(4), Some(minor)) => minor >= 4,
        (Some(major), _) => (4..100).contains(&major),
        _ => false,
    }
}

/// Tells whether a path leads to hidden files only: what is looked through has such a name, or the pattern does. What lies in
/// a hidden folder is found if the path goes on behind it.
fn is_hidden(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let hidden = |part: &&str| part.starts_with('.') && !matches!(*part, "." | "..");
    let open = parts.iter().position(|part| part.contains(['*', '?', '[']));
    match open {
        None => parts.last().is_some_and(hidden),
        Some(at) => parts[at.saturating_sub(1)..at].iter().any(hidden) || parts[at..].iter().any(hidden),
    }
}
