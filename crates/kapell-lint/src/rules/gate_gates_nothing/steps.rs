//! A step that delivers whatever became of the tests before it in its job.

use kapell_view::audit::Severity;

use crate::{
    github::{Flow, comments, tools::Kind},
    rule::Report,
};

/// Words of what is told or tidied up after a failure, too.
const ASIDE: &[&str] = &[
    "clean",
    "tear",
    "destroy",
    "delete",
    "remove",
    "rollback",
    "roll back",
    "revert",
    "undo",
    "report",
    "notif",
    "result",
    "coverage",
    "preview",
    "log",
    "allure",
    "screenshot",
    "diagnos",
    "badge",
    "status",
    "comment",
    "debug",
    "down",
    "stop",
    "failed",
    "failure",
    "cache",
    "restore",
    "scale",
    "drain",
    "unlock",
    "chromatic",
    "storybook",
    "percy",
];

/// Looks at all steps of a job that have a status function in their condition.
pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    for (index, (step, facts)) in flow.steps(at).enumerate() {
        let Some(condition) = &step.condition else { continue };
        let plain: String = condition.text.split_whitespace().collect();
        let either = plain.contains("success()||failure()") || plain.contains("failure()||success()");
        let whatever = either || plain.contains("always()") || plain.contains("!cancelled()");
        // Whoever looks at what became of a step before has decided.
        let looks = ["steps.", "job.status", "env."].iter().any(|word| plain.contains(word))
            || !either && ["failure()", "success()"].iter().any(|word| plain.contains(word));
        if !whatever || looks {
            continue;
        }
        let goes_out = facts.works.iter().find(|done| {
            let lower = done.text.to_ascii_lowercase();
            matches!(done.work.kind, Kind::Publish | Kind::Release | Kind::Deploy)
                && !ASIDE.iter().any(|word| lower.contains(word))
        });
        let name = step.name.as_ref().map_or(String::new(), |name| name.text.to_ascii_lowercase());
        if goes_out.is_none() || ASIDE.iter().any(|word| name.contains(word)) {
            continue;
        }
        let mut before = flow.steps(at).take(index);
        let gate = before.find(|(other, facts)| {
            facts.does(Kind::Test) && other.condition.is_none() && other.continue_on_error.is_none()
        });
        let Some((gate, _)) = gate else { continue };
        let shown = step.name.as_ref().map_or("this step".to_owned(), |name| format!("step `{}`", name.text));
        let draft = report
            .add(flow.file, condition.span, format!("{shown} delivers even if the tests before it fail"))
            .severity(Severity::High)
            .also(flow.file, gate.name_span(), "its failure stops nothing")
            .hint("drop the status function: a step runs only after success by itself");
        match comments::explains(flow, condition.span, 2, &["even if", "regardless", "anyway", "whatever"]) {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
    }
}
