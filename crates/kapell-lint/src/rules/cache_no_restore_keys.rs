//! A cache of downloads is lost with every change of the lock file.

use super::cache_after_install::restored;
use crate::github::edit;
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_view::audit::FixClass;
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/cache-no-restore-keys.md`.
pub(super) static RULE: Rule = Rule {
    name: "cache-no-restore-keys",
    summary: "A cache of downloads is lost with every change of the lock file",
    group: Group::Cache,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Low,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/cache-no-restore-keys.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (_, job) in flow.jobs() {
            for step in &job.steps {
                let Some(installer) = restored(step) else { continue };
                let (Some(key), None) = (step.input("key"), step.input("restore-keys")) else { continue };
                let path = step.input("path").map_or("", |path| &path.text);
                // A partial `node_modules` or `target` is no use to an install that believes it is whole.
                // What cargo has built is judged by cargo piece by piece.
                let built = path.contains("target") && installer.name != "cargo";
                let downloads = !path.contains("node_modules") && !path.contains("venv") && !built;
                let (true, Some(at)) =
                    (downloads, key.text.find("${{ hashFiles(").or_else(|| key.text.find("${{hashFiles(")))
                else {
                    continue;
                };
                let prefix = &key.text[..at];
                // An expression in front of it may itself be the content, and a prefix of nothing fits everything.
                if prefix.trim().is_empty()
                    || key.text[at..].matches("${{").count() != key.text[at..].matches("hashFiles(").count()
                    || !key.text.trim_end().ends_with("}}")
                {
                    continue;
                }
                let draft = report
                    .add(flow.file, key.span, format!("with every change of the lock file `{}` starts from nothing: the cache has no `restore-keys`", installer.name))
                    .hint(format!("add `restore-keys: {prefix}`"));
                let keys = with_keys(flow, step);
                let edited = keys.and_then(|keys| {
                    edit::add_after(&flow.text, &keys, "key", &[format!("restore-keys: {prefix}")])
                });
                match edited.filter(|_| prefix.trim() == prefix && !prefix.contains(['#', ':', '\n'])) {
                    Some((span, text)) => draft
                        .fix(
                            "fall back to the newest cache with the same start",
                            FixClass::Safe,
                            [(flow.file, span, text)],
                        )
                        .done(),
                    None => draft.done(),
                }
            }
        }
    }
}

/// Returns the entries of `with` as keys.
fn with_keys(
    flow: &crate::github::Flow,
    step: &kapell_spec::github::Step,
) -> Option<kapell_spec::github::Keys> {
    let entry = step.keys.get("with")?;
    let entries: Vec<kapell_spec::github::Key> = step
        .with
        .iter()
        .map(|(name, value)| kapell_spec::github::Key {
            name: name.text.clone(),
            span: name.span,
            value: value.span,
        })
        .collect();
    let flows = flow.text[entry.value.range()].starts_with('{');
    (!flows).then_some(kapell_spec::github::Keys { entries, open: true })
}
