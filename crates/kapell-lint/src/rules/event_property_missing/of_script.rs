//! Scripts of `actions/github-script` that ask their context for what it does not have.

use kapell_spec::finding::Span;

use crate::{repository::Repository, rule::Report};

/// Objects of the context, and all that they have.
///
/// Source: <https://github.com/actions/toolkit/blob/main/packages/github/src/context.ts>, `repo` and `issue`.
const OBJECTS: &[(&str, &[&str])] =
    &[("context.repo.", &["owner", "repo"]), ("context.issue.", &["owner", "repo", "number"])];

/// Tells of `context.repo.name`, once for each property of a workflow: it is `undefined`, at which a call of the API fails.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.github.with_steps().filter(|flow| flow.text.contains("context.")) {
        let mut told: Vec<(&str, &str)> = Vec::new();
        for (_, job) in flow.jobs() {
            for step in job.steps.iter().filter(|step| step.is("actions/github-script")) {
                let Some(script) = step.input("script") else { continue };
                for (object, known) in OBJECTS {
                    let Some(name) = unknown(&script.text, object, known) else { continue };
                    let Some(at) = flow.text[script.span.range()].find(&format!("{object}{name}")) else {
                        continue;
                    };
                    if told.contains(&(*object, name)) {
                        continue;
                    }
                    told.push((*object, name));
                    let at = script.span.start as usize + at;
                    let (whole, has) = (object.trim_end_matches('.'), known.join("`, `"));
                    report
                        .add(
                            flow.file,
                            Span::new(at, at + object.len() + name.len()),
                            format!("`{object}{name}` is undefined: `{whole}` has only `{has}`"),
                        )
                        .hint(match name {
                            "name" => format!("write `{object}repo`"),
                            _ => format!("write one of `{has}`"),
                        })
                        .done();
                }
            }
        }
    }
}

/// Returns the first property that a script asks an object for, and that it does not have.
fn unknown<'a>(script: &'a str, object: &str, known: &[&str]) -> Option<&'a str> {
    let mut named = script.match_indices(object).filter_map(|(at, _)| {
        let rest = &script[at + object.len()..];
        let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        // A member of something else is called alike, and a comment names no property.
        let whole = !script[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "_.$".contains(c));
        (whole && len > 0).then_some(&rest[..len])
    });
    named.find(|name| !known.contains(name))
}
