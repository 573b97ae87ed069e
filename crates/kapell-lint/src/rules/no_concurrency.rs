//! Superseded runs of an expensive workflow go on.

use crate::github::{Flow, carry, cost, edit, world::World};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, FixClass, Severity};

/// See `docs/rules/no-concurrency.md`.
pub(super) static RULE: Rule = Rule {
    name: "no-concurrency",
    summary: "Superseded runs of an expensive workflow go on",
    group: Group::Safety,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Low,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/no-concurrency.md"),
    check,
};

/// Half an hour of runners for each push that is out of date is worth a note where nothing in the repository stops any,
/// in seconds of all cells. Below it are the tests of small projects, of which readers said that they are short.
const EXPENSIVE: u32 = 1800;
/// Where other workflows of the repository stop superseded runs, this much is worth the same, in seconds of all cells.
const EXPENSIVE_AMONG_SISTERS: u32 = 180;

fn check(repository: &Repository, report: &mut Report<'_>) {
    let sister = repository.github.flows.iter().find(|flow| stops_superseded(flow));
    let expensive = if sister.is_some() { EXPENSIVE_AMONG_SISTERS } else { EXPENSIVE };
    for flow in &repository.github.flows {
        let Some(event) =
            flow.model.event("pull_request").or_else(|| flow.model.event("pull_request_target"))
        else {
            continue;
        };
        own_group(flow, report);
        let grouped =
            flow.model.concurrency.is_some() || flow.jobs().any(|(_, job)| job.concurrency.is_some());
        let again = event.filter("types").is_none_or(|types| {
            types.items.iter().any(|item| matches!(&*item.text, "synchronize" | "labeled"))
        });
        if grouped || !again || flow.starts("workflow_call") {
            continue;
        }
        let model = asks_model(flow);
        let bench = flow.name().to_ascii_lowercase().contains("bench");
        if model || bench || runners(repository, flow) >= expensive {
            tell(flow, event.name.span, model, sister, report);
        }
    }
}

/// Tells whether a job asks a model, which costs money.
fn asks_model(flow: &Flow) -> bool {
    let models = ["claude-code-action", "codex-action", "gemini"];
    let mut actions = flow.facts.iter().flatten().flat_map(|facts| &facts.actions);
    actions.any(|name| models.iter().any(|model| name.contains(model)))
}

/// Returns how long the runners of a pull request work, in seconds of all cells of a standard runner.
fn runners(repository: &Repository, flow: &Flow) -> u32 {
    let seconds =
        cost::runner_seconds(&repository.github, flow, repository.timings.as_ref(), World::is_pull_request);
    if flow.jobs().any(|(_, job)| job.runs_on.iter().any(|label| is_larger(&label.text))) {
        seconds.saturating_mul(LARGER)
    } else {
        seconds
    }
}

/// What a minute of a larger runner costs, in minutes of a standard one: twice the processors at the least, and no free
/// minutes in public repositories either.
///
/// Source: GitHub, "Actions runner pricing".
const LARGER: u32 = 4;

/// Tells whether a label is one of a larger runner.
fn is_larger(label: &str) -> bool {
    let parts = || label.split(['-', '_']);
    !label.contains("self-hosted")
        && (parts().any(|part| matches!(part, "large" | "xlarge" | "gpu" | "8core" | "16core" | "32core"))
            || label.contains("cores"))
}

fn tell(flow: &Flow, place: Span, model: bool, sister: Option<&Flow>, report: &mut Report<'_>) {
    let goes_on = if model { "the model goes on with the old one" } else { "its jobs on the old one go on" };
    let mut draft = report
        .add(flow.file, place, format!("a newer push does not stop `{}`: {goes_on}", flow.name()))
        .severity(if model { Severity::Medium } else { Severity::Low })
        .hint("add a `concurrency` group per pull request with `cancel-in-progress: true`");
    if let Some((sister, key)) =
        sister.and_then(|sister| Some((sister, sister.model.keys.get("concurrency")?)))
    {
        draft = draft.also(sister.file, key.span, format!("`{}` stops superseded runs", sister.name()));
    }
    // Branches of forks often have the same name; each pull request has a number of its own.
    let lines = [
        "concurrency:".to_owned(),
        "  group: ${{ github.workflow }}-${{ github.event.pull_request.number || github.run_id }}".to_owned(),
        "  cancel-in-progress: true".to_owned(),
    ];
    let changes = flow.jobs().any(|(at, _)| carry::changes(flow, at));
    let edit = edit::add_before(&flow.text, &flow.model.keys, "jobs", &lines, true);
    if let Some((span, text)) = edit.filter(|_| !changes) {
        // Where nothing here stops superseded runs, to begin with it is for people to decide: the sisters would follow.
        let custom = sister.is_some() && !model;
        let class = if custom { FixClass::Safe } else { FixClass::Review };
        let title = "let a newer push to a pull request stop the older run";
        draft = draft.fix(title, class, [(flow.file, span, text)]);
    }
    draft.done();
}

/// Tells whether a newer push to a pull request stops the older run of a workflow.
fn stops_superseded(flow: &Flow) -> bool {
    let cancels = |concurrency: &kapell_spec::github::Concurrency| {
        concurrency.cancel.as_ref().is_some_and(|cancel| !cancel.is("false"))
    };
    flow.starts("pull_request") && flow.model.concurrency.as_ref().is_some_and(cancels)
}

/// A group that holds the number of the run is one for each run: nothing is ever stopped, though it is meant to be.
fn own_group(flow: &Flow, report: &mut Report<'_>) {
    let Some(concurrency) = &flow.model.concurrency else { return };
    let cancels = concurrency.cancel.as_ref().is_some_and(|cancel| !cancel.is("false"));
    let Some(group) = concurrency.group.as_ref().filter(|_| cancels) else { return };
    let found =
        ["github.run_id", "github.run_number", "github.sha"].iter().find(|word| group.text.contains(**word));
    // Behind `||` it is for those events that shall not be stopped.
    let chosen = ["||", "&&", "format("].iter().any(|word| group.text.contains(word));
    let Some(word) = found.filter(|_| !chosen) else { return };
    report
        .add(
            flow.file,
            group.span,
            format!("`{word}` gives every run a group of its own, so a newer push stops nothing"),
        )
        .severity(Severity::Low)
        .hint("take `${{ github.event.pull_request.number || github.run_id }}`")
        .done();
}
