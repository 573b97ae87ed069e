//! The key of a cache never changes, so its content grows old.

use super::cache_after_install::restored;
use crate::github::intent;
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/cache-key-without-lock.md`.
pub(super) static RULE: Rule = Rule {
    name: "cache-key-without-lock",
    summary: "The key of a cache never changes, so its content grows old",
    group: Group::Cache,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/cache-key-without-lock.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (_, job) in flow.jobs() {
            for step in &job.steps {
                let Some(installer) = restored(step) else { continue };
                let Some(key) = step.input("key") else { continue };
                let lower = key.text.to_ascii_lowercase();
                let moves = [
                    "hashfiles",
                    "github.sha",
                    "run_id",
                    "run_number",
                    "steps.",
                    "needs.",
                    "inputs.",
                    "date",
                    "week",
                    "hash",
                    "env.",
                    "version",
                    "vars.",
                    "checksum",
                    "matrix.cache",
                ];
                if moves.iter().any(|word| lower.contains(word))
                    || step.is("actions/cache/restore")
                    || installer.name == "cargo" && lower.contains("toolchain")
                {
                    continue;
                }
                let draft = report
                    .add(
                        flow.file,
                        key.span,
                        format!(
                            "the key `{}` never changes, so what `{}` saved first is kept for ever",
                            key.text.trim(),
                            installer.name
                        ),
                    )
                    .hint(format!("add `${{{{ hashFiles('**/{}') }}}}` to the key", installer.locks[0]));
                match intent::explains(flow, step.span, 8, &["key", "never", "static", "purpose", "rolling"])
                {
                    Some(comment) => draft.explained(comment).done(),
                    None => draft.done(),
                }
            }
        }
    }
}
