//! Something is released or deployed in a way that leaves half of it behind when a later part fails.

mod runbook;

use kapell_spec::github::Step;

use crate::github::{
    Flow, StepFacts,
    script::{Command, Then},
    tools::{self, Kind},
};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/no-rollback.md`.
pub(super) static RULE: Rule = Rule {
    name: "no-rollback",
    summary: "Something is released or deployed in a way that leaves half of it behind when a later part fails",
    group: Group::Safety,
    anti_pattern: Some(AntiPattern::NoRollback),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/no-rollback.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, _) in flow.jobs() {
            let leaves = |facts: &StepFacts| facts.does(Kind::Tag) || facts.does(Kind::Release);
            if flow.facts[at].iter().any(leaves) && !cleans(flow, at) {
                early_tag(flow, at, report);
                early_release(flow, at, report);
                gone_release(flow, at, report);
                partial_release(flow, at, report);
            }
            early_pointer(flow, at, report);
        }
    }
    runbook::check(repository, report);
}

/// Words of a way back, in what runs after a failure.
const BACK: &[&str] = &[
    "rollback",
    "roll back",
    "undo",
    "revert",
    "--delete",
    "delete-tag",
    "release delete",
    "tag -d",
    "deleteref",
];

/// Tells whether a failure of this job or one behind it takes back what it did, or whether it is only a draft.
fn cleans(flow: &Flow, at: usize) -> bool {
    let text = flow.text.get(flow.model.jobs[at].span.range()).unwrap_or_default().to_ascii_lowercase();
    let draft = text.contains("draft: true") || text.contains("--draft");
    let undoes = |step: &Step, whole: bool| {
        let fails = |text: &str| text.contains("failure()") || text.contains("'failure'");
        let own = step.condition.as_ref().is_some_and(|condition| fails(&condition.text));
        let script = step.script().to_ascii_lowercase();
        let name = step.name.as_ref().map_or(String::new(), |name| name.text.to_ascii_lowercase());
        (own || whole) && BACK.iter().any(|word| script.contains(word) || name.contains(word))
    };
    let later = flow.jobs().any(|(other, job)| {
        let whole = other != at
            && job.condition.as_ref().is_some_and(|condition| {
                condition.text.contains("failure()") || condition.text.contains("'failure'")
            });
        (other == at || flow.closures[other].contains(&at))
            && job.steps.iter().any(|step| undoes(step, whole))
    });
    draft || later
}

/// A commit and a tag are pushed before anything is built that they stand for.
fn early_tag(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let tags = flow.steps(at).find(|(_, facts)| facts.does(Kind::Tag));
    let Some((step, _)) = tags else { return };
    let before = flow.closures[at]
        .iter()
        .any(|&up| flow.facts[up].iter().any(|facts| facts.does(Kind::Build) || facts.does(Kind::Test)))
        || flow.facts[at].iter().any(|facts| facts.does(Kind::Build) || facts.does(Kind::Test));
    let built = flow.jobs().find(|(other, _)| {
        flow.closures[*other].contains(&at) && flow.facts[*other].iter().any(|facts| facts.does(Kind::Build))
    });
    let (false, Some((_, builder))) = (before, built) else { return };
    report
        .add(
            flow.file,
            step.name_span(),
            format!(
                "`{}` pushes a tag before `{}` has built what it stands for; if that fails, the tag stays",
                flow.model.jobs[at].id.text, builder.id.text
            ),
        )
        .also(flow.file, builder.id.span, "may fail afterwards")
        .hint("push the tag last, or take it back in a job with `if: failure()`")
        .done();
}

/// A release is out before another job has built what it is to hold.
fn early_release(flow: &Flow, at: usize, report: &mut Report<'_>) {
    // One that builds what it releases, or takes what others built, has it at hand.
    let whole = flow.facts[at].iter().any(|facts| {
        builds_release(facts)
            || facts.does(Kind::Build)
            || facts.does(Kind::Download)
            || !facts.downloads.is_empty()
    });
    let creates = |command: &Command| command.text().starts_with("gh release create");
    let made = flow.steps(at).find(|(step, facts)| {
        facts.commands.iter().any(creates)
            || facts.actions.iter().any(|name| CREATES.contains(&name.as_str())) && step.condition.is_none()
    });
    let (false, Some((step, _))) = (whole, made) else { return };
    let adds = |other: usize| {
        let facts = || flow.facts[other].iter();
        facts().any(|facts| facts.does(Kind::Release))
            && facts().any(|facts| builds_release(facts) || facts.does(Kind::Build))
    };
    let Some((_, builder)) =
        flow.jobs().find(|(other, _)| flow.closures[*other].contains(&at) && adds(*other))
    else {
        return;
    };
    report
        .add(
            flow.file,
            step.name_span(),
            format!(
                "the release is out before `{}` has built what it holds; if that fails, it stays without",
                builder.id.text
            ),
        )
        .also(flow.file, builder.id.span, "builds and adds to it afterwards")
        .hint("make it a draft, and publish it in a job that needs all that build")
        .done();
}

/// Actions that do nothing but make a release.
const CREATES: &[&str] = &[
    "actions/create-release",
    "taiki-e/create-gh-release-action",
    "softprops/action-gh-release",
    "ncipollo/release-action",
    "comnoco/create-release-action",
    "elgohr/github-release-action",
];

/// Tells whether an action builds what it adds to a release: those take minutes.
fn builds_release(facts: &StepFacts) -> bool {
    facts.works.iter().any(|done| done.work.kind == Kind::Release && done.work.seconds >= 120)
}

/// A job takes a release away before it has made the one that comes in its place.
fn gone_release(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let steps: Vec<_> = flow.steps(at).collect();
    let deletes = |command: &Command| command.text().starts_with("gh release delete ");
    let Some((index, command)) = steps.iter().enumerate().find_map(|(index, (_, facts))| {
        let at = facts.commands.iter().position(deletes)?;
        // Made anew in the next breath, it is hardly missed.
        let anew = facts.commands[at..].iter().any(|next| next.text().starts_with("gh release create"));
        (!anew).then(|| (index, &facts.commands[at]))
    }) else {
        return;
    };
    let makes = |facts: &StepFacts| {
        facts.commands.iter().any(|command| command.text().starts_with("gh release create"))
            || facts.actions.iter().any(|name| CREATES.contains(&name.as_str()))
    };
    let Some(anew) = steps[index + 1..].iter().position(|(_, facts)| makes(facts)) else { return };
    // Something in between has to be able to fail.
    let between = &steps[index + 1..index + 1 + anew];
    if between.iter().all(|(_, facts)| facts.works.is_empty() && facts.commands.is_empty()) {
        return;
    }
    let step = steps[index].0;
    let span = flow.script_line(step, command.start, "");
    report
        .add(
            flow.file,
            span,
            format!(
                "`{}` deletes the release some steps before it makes the new one; if one of them fails, there is none",
                flow.model.jobs[at].id.text
            ),
        )
        .also(flow.file, steps[index + 1 + anew].0.span, "made anew here")
        .hint("prepare everything first, and delete right before the new one is made")
        .done();
}

/// Each cell of a matrix adds its part to one release, although another cell may fail.
fn partial_release(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let several =
        job.matrix.as_ref().is_some_and(|matrix| matrix.cells().is_none_or(|cells| cells.len() > 1));
    let apart = job.fail_fast.as_ref().is_some_and(|text| text.is("false"));
    let Some((step, _)) = flow.steps(at).find(|(_, facts)| facts.does(Kind::Release)) else { return };
    let builds = flow.facts[at].iter().any(|facts| facts.does(Kind::Build));
    if !several || !apart || !builds {
        return;
    }
    report
        .add(
            flow.file,
            step.name_span(),
            format!(
                "each cell of `{}` adds to the release by itself: if one fails, half a release is out",
                job.id.text
            ),
        )
        .hint("collect artifacts in a job that needs all cells, and release there")
        .done();
}

/// A job moves what people take for the newest before another job has built its part of it.
fn early_pointer(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let moved = flow.steps(at).find_map(|(step, facts)| Some((step, moves_latest(&facts.commands)?)));
    let Some((step, command)) = moved else { return };
    let builds = |other: usize| {
        flow.facts[other].iter().any(|facts| facts.does(Kind::Build) || !facts.uploads.is_empty())
    };
    // What is released after both is not whole when the pointer moves.
    let late = flow.jobs().find_map(|(end, last)| {
        let waits = &flow.closures[end];
        let releases = flow.facts[end].iter().any(|facts| facts.does(Kind::Release));
        let open = |&other: &usize| {
            other != at
                && builds(other)
                && !flow.closures[at].contains(&other)
                && !flow.closures[other].contains(&at)
        };
        let missing = waits.iter().copied().find(open).filter(|_| releases && waits.contains(&at))?;
        Some((last, missing))
    });
    let Some((last, missing)) = late else { return };
    let missing = &flow.model.jobs[missing].id;
    let span = flow.script_line(step, command.start, "");
    report
        .add(
            flow.file,
            span,
            format!(
                "`{}` makes this version the latest before `{}` has built its part of it",
                job.id.text, missing.text
            ),
        )
        .severity(Severity::High)
        .also(flow.file, missing.span, "may fail afterwards")
        .hint(format!("move what is the latest behind `{}`, as the last thing that happens", last.id.text))
        .done();
}

/// Finds a command that writes which version is the latest to a place of no version's own.
fn moves_latest(commands: &[Command]) -> Option<&Command> {
    let says = |command: &Command| command.text().to_ascii_lowercase().contains("latest");
    let own =
        |target: &str| ["tag", "version", "sha", "ref", "inputs"].iter().any(|word| target.contains(word));
    (0..commands.len()).find_map(|at| {
        let command = &commands[at];
        let target = command.words.iter().rev().find(|word| word.contains("://"))?.to_ascii_lowercase();
        let stores = tools::command(command).kind == Kind::Store && !own(&target);
        let piped = at > 0 && commands[at - 1].then == Then::Pipe && says(&commands[at - 1]);
        (stores && (says(command) || piped)).then_some(command)
    })
}
