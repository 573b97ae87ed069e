//! Scripts of `actions/github-script` that ask their context for what it does not have.

use std::collections::BTreeSet;

use kapell_spec::finding::Span;

use crate::{github::Flow, repository::Repository, rule::Report};

/// An object of the context, and all that it has.
struct Object {
    name: &'static str,
    has: &'static [&'static str],
}

/// Those of which all is known.
///
/// Source: <https://github.com/actions/toolkit/blob/main/packages/github/src/context.ts>, `repo` and `issue`.
const OBJECTS: &[Object] = &[
    Object { name: "context.repo", has: &["owner", "repo"] },
    Object { name: "context.issue", has: &["owner", "repo", "number"] },
];

/// Tells of `context.repo.name`, once for each property of a workflow: it is `undefined`, at which a call of the API fails.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.github.with_steps().filter(|flow| flow.text.contains("context.")) {
        let mut told: BTreeSet<(&str, &str)> = BTreeSet::new();
        let steps = flow.jobs().flat_map(|(_, job)| &job.steps);
        let scripts =
            steps.filter(|step| step.is("actions/github-script")).filter_map(|step| step.input("script"));
        for script in scripts {
            // As it is written, so that its places are those of the file.
            let written = flow.text.get(script.span.range()).unwrap_or_default();
            for object in OBJECTS {
                let lost =
                    unknown(written, object).filter(|(_, property)| told.insert((object.name, property)));
                if let Some((at, property)) = lost {
                    tell(flow, object, (script.span.start as usize + at, property), report);
                }
            }
        }
    }
}

fn tell(flow: &Flow, object: &Object, (at, property): (usize, &str), report: &mut Report<'_>) {
    let (name, has) = (object.name, object.has.join("`, `"));
    let end = at + name.len() + 1 + property.len();
    let message = format!("`{name}.{property}` is undefined: `{name}` has only `{has}`");
    let hint = match property {
        "name" => format!("write `{name}.repo`"),
        _ => format!("write one of `{has}`"),
    };
    report.add(flow.file, Span::new(at, end), message).hint(hint).done();
}

/// Returns the first property that a script asks an object for, and that it does not have, and where the object is named.
fn unknown<'a>(script: &'a str, object: &Object) -> Option<(usize, &'a str)> {
    let mut named = script.match_indices(object.name).filter_map(|(at, name)| {
        let rest = script[at + name.len()..].strip_prefix('.')?;
        let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        // A member of something else may be called alike.
        let whole = !script[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "_.$".contains(c));
        (whole && len > 0).then_some((at, &rest[..len]))
    });
    named.find(|(_, property)| !object.has.contains(property))
}
