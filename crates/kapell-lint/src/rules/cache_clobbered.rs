//! The install deletes what the cache restored.

use crate::github::tools;
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/cache-clobbered.md`.
pub(super) static RULE: Rule = Rule {
    name: "cache-clobbered",
    summary: "The install deletes what the cache restored",
    group: Group::Cache,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/cache-clobbered.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            for (index, step) in job.steps.iter().enumerate() {
                if !step.is("actions/cache") && !step.is("actions/cache/restore") {
                    continue;
                }
                let Some(path) = step.input("path") else { continue };
                for installer in tools::INSTALLERS {
                    let Some((command, folder)) = installer.wiped else { continue };
                    // Other folders beside it are kept.
                    let only = path
                        .text
                        .split_whitespace()
                        .all(|path| path.ends_with(folder) && !path.starts_with('~'));
                    if !only {
                        continue;
                    }
                    let wiping = (index + 1..job.steps.len()).find(|&later| {
                        let step = &job.steps[later];
                        step.condition.is_none()
                            && flow.facts[at][later]
                                .commands
                                .iter()
                                .any(|found| found.depth == 0 && found.text().starts_with(command))
                    });
                    let Some(later) = wiping else { continue };
                    let span = path.span;
                    let condition =
                        step.id.as_ref().map_or("steps.cache.outputs.cache-hit != 'true'".to_owned(), |id| {
                            format!("steps.{}.outputs.cache-hit != 'true'", id.text)
                        });
                    report
                        .add(
                            flow.file,
                            span,
                            format!(
                                "`{}` restores `{folder}`, which `{command}` deletes before it installs",
                                job.id.text
                            ),
                        )
                        .also(flow.file, job.steps[later].span, "deletes it")
                        .hint(format!("keep `~/.npm` instead, or run `{command}` only `if: {condition}`"))
                        .done();
                }
            }
        }
    }
}
