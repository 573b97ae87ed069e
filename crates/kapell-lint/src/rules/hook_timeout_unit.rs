//! `hook-timeout-unit`: a hook's time-out is written in milliseconds, but taken as seconds.

use kapell_spec::claude::tables::HOOK_TIMEOUT_SECONDS_MAX;
use kapell_view::audit::{Confidence, FixClass, Severity};

use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "hook-timeout-unit",
    summary: "a hook's time-out is written in milliseconds, but taken as seconds",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::NoTimeout),
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/hook-timeout-unit.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for file in &repository.agents.hooks {
        for hook in &file.hooks.hooks {
            let Some((seconds, span)) = hook.timeout else { continue };
            let round = seconds >= 1000 && seconds % 500 == 0;
            if !round && seconds <= HOOK_TIMEOUT_SECONDS_MAX {
                continue;
            }
            let minutes = seconds / 60;
            let message = format!(
                "time-outs are in seconds: {seconds} lets the {} hook hang for {minutes} minutes",
                hook.event.text
            );
            let right = seconds.div_ceil(1000);
            let edit = [(file.file, span, right.to_string())];
            report
                .add(file.file, span, message)
                .fix(format!("write {right} (seconds)"), FixClass::Review, edit)
                .done();
        }
    }
}
