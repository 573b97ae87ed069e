//! Something is released or deployed in a way that leaves half of it behind when a later part fails.

mod compensation; // ways back that nobody goes
mod provision; // things that code makes elsewhere
mod rollout; // commands that change production and look at nothing
mod runbook; // ways back on another platform

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
    for flow in repository.asked_flows() {
        for (at, _) in flow.jobs() {
            if leaves(flow, at) {
                early_tag(flow, at, report);
                early_release(flow, at, report);
                gone_release(flow, at, report);
            }
            public_first(flow, at, report);
            early_publish(flow, at, report);
            partial_version(flow, at, report);
            early_pointer(flow, at, report);
        }
        partial_releases(flow, report);
    }
    provision::check(repository, report);
    compensation::check(repository, report);
    rollout::check(repository, report);
    runbook::check(repository, report);
}

/// Tells whether a job makes a tag or a release, and nothing takes it back.
fn leaves(flow: &Flow, at: usize) -> bool {
    let makes = |facts: &StepFacts| facts.does(Kind::Tag) || facts.does(Kind::Release);
    flow.facts[at].iter().any(makes) && !cleans(flow, at)
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
    let text = text.replace("--draft=false", "");
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
    draft || later || made_public_later(flow, at) || adds_to_draft(flow, at)
}

/// Tells whether a job only adds files to a release that one before it has made as a draft: nobody sees half of it.
fn adds_to_draft(flow: &Flow, at: usize) -> bool {
    let drafts = |command: &Command| {
        let draft = |word: &String| matches!(word.as_str(), "--draft" | "-d" | "--draft=true");
        command.begins("gh release create") && command.words.iter().any(draft)
    };
    let adds = flow.facts[at].iter().flat_map(|facts| &facts.works).all(|done| match done.work.kind {
        Kind::Release => done.text.starts_with("gh release upload"),
        kind => kind != Kind::Tag,
    });
    let made = |up: &usize| flow.facts[*up].iter().any(|facts| facts.commands.iter().any(drafts));
    adds && flow.closures[at].iter().any(made)
}

/// Tells whether a job behind this one makes a draft public: until then nobody sees half of it.
fn made_public_later(flow: &Flow, at: usize) -> bool {
    let public = |command: &Command| {
        let text = command.text();
        text.starts_with("gh release edit") && text.contains("--draft=false")
    };
    let behind = |other: usize| flow.closures[other].contains(&at);
    flow.jobs().any(|(other, _)| {
        behind(other) && flow.facts[other].iter().any(|facts| facts.commands.iter().any(public))
    })
}

/// A commit and a tag are pushed before anything is built that they stand for.
fn early_tag(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let does = |facts: &StepFacts| facts.does(Kind::Build) || facts.does(Kind::Test);
    let steps: Vec<_> = flow.steps(at).collect();
    let Some(index) = steps.iter().position(|(_, facts)| facts.does(Kind::Tag)) else { return };
    let step = steps[index].0;
    let before = flow.closures[at].iter().any(|&up| flow.facts[up].iter().any(does))
        || steps[..=index].iter().any(|(_, facts)| does(facts));
    if before {
        return;
    }
    // What nobody knows may have built it all, in whatever order.
    let known = !steps[..=index].iter().any(|(_, facts)| facts.is_opaque());
    let releases = |kind: Kind| matches!(kind, Kind::Release | Kind::Publish);
    let job = &flow.model.jobs[at];
    // What the same job builds afterwards is what it releases under the tag.
    let later = &steps[index + 1..];
    let out = later.iter().position(|(_, facts)| facts.works.iter().any(|done| releases(done.work.kind)));
    let own = out.filter(|_| known).and_then(|out| {
        let builder = later[..=out].iter().find(|(step, facts)| does(facts) && step.condition.is_none());
        builder.map(|(step, _)| (step.name_span(), "a later step".to_owned()))
    });
    let other = || {
        let mut jobs = flow.jobs().filter(|(other, _)| flow.closures[*other].contains(&at));
        // What only tests may try what is tagged.
        let builds = |at: usize| {
            let any = |kind: Kind| flow.facts[at].iter().any(|facts| facts.does(kind));
            any(Kind::Build) || any(Kind::Test) && any(Kind::Release)
        };
        let builder = jobs.find(|(other, _)| builds(*other));
        builder.map(|(_, builder)| (builder.id.span, format!("`{}`", builder.id.text)))
    };
    let Some((place, builder)) = own.or_else(other) else { return };
    report
        .add(
            flow.file,
            step.name_span(),
            format!(
                "`{}` pushes a tag before {builder} has built what it stands for; if that fails, the tag stays",
                job.id.text
            ),
        )
        .also(flow.file, place, "may fail afterwards")
        .hint("push the tag last, or take it back in a job with `if: failure()`")
        .done();
}

/// Something is given to people before the tests of the same job say whether it works.
fn early_publish(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let steps: Vec<_> = flow.steps(at).collect();
    let goes_out = |facts: &StepFacts| facts.does(Kind::Publish) || facts.does(Kind::Release);
    let Some(index) = steps.iter().position(|(step, facts)| goes_out(facts) && step.condition.is_none())
    else {
        return;
    };
    let (step, facts) = steps[index];
    // Built and tested in one go, or by what nobody knows.
    let tested = |facts: &StepFacts| facts.does(Kind::Test) || facts.is_opaque();
    let before = flow.closures[at].iter().any(|&up| flow.facts[up].iter().any(tested))
        || steps[..=index].iter().any(|(_, facts)| tested(facts));
    let draft = flow.text.get(step.span.range()).is_some_and(|text| text.contains("draft"));
    if before || draft || facts.works.iter().any(|done| done.text.contains("snapshot")) {
        return;
    }
    // What is tried after it went out is what went out.
    let plain = |step: &Step| {
        let text = flow.text.get(step.span.range()).unwrap_or_default().to_ascii_lowercase();
        !TRIED.iter().any(|word| text.contains(word)) && step.condition.is_none()
    };
    let tests = |facts: &StepFacts| {
        facts.works.iter().any(|done| {
            let known = done.command.and_then(|at| facts.commands.get(at));
            done.work.kind == Kind::Test && known.is_some_and(|command| !tools::is_own_script(command))
        })
    };
    let Some((test, _)) = steps[index + 1..].iter().find(|(step, facts)| tests(facts) && plain(step)) else {
        return;
    };
    report
        .add(
            flow.file,
            step.name_span(),
            format!(
                "`{}` gives it to people before its own tests have run; if they fail, it is out",
                flow.model.jobs[at].id.text
            ),
        )
        .severity(Severity::High)
        .also(flow.file, test.span, "tested afterwards")
        .hint("run the tests first")
        .done();
}

/// Words of tests of what is out already.
const TRIED: &[&str] = &[
    "smoke",
    "published",
    "post-",
    "e2e",
    "install",
    "docker pull",
    "canary",
    "sanity",
    "acceptance",
    "released",
    "integration",
    "deployed",
    "health",
];

/// A release is out before another job has built what it is to hold.
fn early_release(flow: &Flow, at: usize, report: &mut Report<'_>) {
    // One that builds what it releases, or takes what others built, has it at hand.
    let whole = flow.facts[at].iter().any(|facts| {
        builds_release(facts)
            || facts.does(Kind::Build)
            || facts.does(Kind::Download)
            || !facts.downloads.is_empty()
    });
    let creates = |command: &Command| command.begins("gh release create");
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
        // Its README puts it in front of those that build: whoever follows that is told in passing.
        .severity(if step.is("taiki-e/create-gh-release-action") { Severity::Low } else { RULE.severity })
        .also(flow.file, builder.id.span, "builds and adds to it afterwards")
        .hint("make it a draft, and publish it in a job that needs all that build")
        .done();
}

/// A draft is made public before its files are there.
fn public_first(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let edits = |command: &Command| {
        command.begins("gh release edit") && command.words.iter().any(|word| word == "--draft=false")
    };
    let adds = |command: &Command| command.begins("gh release upload");
    let all = || {
        let steps = flow.steps(at);
        steps.flat_map(|(step, facts)| facts.commands.iter().map(move |command| (step, command)))
    };
    let Some((first, (step, _))) = all().enumerate().find(|(_, (_, command))| edits(command)) else { return };
    // What is added before it is what people get.
    let Some((added, (later, _))) = all().enumerate().find(|(_, (_, command))| adds(command)) else { return };
    if added < first || step.condition.is_some() {
        return;
    }
    report
        .add(
            flow.file,
            step.name_span(),
            "the release is public before its files are there; if they do not get there, it stays without"
                .to_owned(),
        )
        .severity(Severity::Medium)
        .also(flow.file, later.name_span(), "adds them afterwards")
        .hint("add the files to the draft, and make it public behind that")
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

/// Actions that take a release away.
const DELETES: &[&str] = &[
    "dev-drprasad/delete-tag-and-release",
    "clementtsang/delete-tag-and-release",
    "larryjoelane/delete-release-action",
    "liudonghua123/delete-release-action",
    "cb80/delrel",
];

/// Tells whether an action builds what it adds to a release: those take minutes.
fn builds_release(facts: &StepFacts) -> bool {
    facts.works.iter().any(|done| done.work.kind == Kind::Release && done.work.seconds >= 120)
}

/// A job takes a release away before it has made the one that comes in its place.
fn gone_release(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let steps: Vec<_> = flow.steps(at).collect();
    let deletes = |command: &Command| command.begins("gh release delete ");
    let Some((index, command)) = steps.iter().enumerate().find_map(|(index, (_, facts))| {
        if facts.actions.iter().any(|name| DELETES.contains(&name.as_str())) {
            return Some((index, None));
        }
        let at = facts.commands.iter().position(deletes)?;
        // Made anew in the next breath, it is hardly missed.
        let anew = facts.commands[at..].iter().any(|next| next.begins("gh release create"));
        (!anew).then(|| (index, Some(&facts.commands[at])))
    }) else {
        return;
    };
    let makes = |facts: &StepFacts| {
        facts.commands.iter().any(|command| command.begins("gh release create"))
            || facts.actions.iter().any(|name| CREATES.contains(&name.as_str()))
    };
    let Some(anew) = steps[index + 1..].iter().position(|(_, facts)| makes(facts)) else { return };
    // Something in between has to be able to fail.
    let between = &steps[index + 1..index + 1 + anew];
    let works = |facts: &StepFacts| facts.works.iter().any(|done| done.work.kind != Kind::Trivial);
    if !between.iter().any(|(_, facts)| works(facts))
        && between.iter().all(|(_, facts)| facts.commands.is_empty())
    {
        return;
    }
    let step = steps[index].0;
    let span = command.map_or(step.name_span(), |command| flow.script_line(step, command.start, ""));
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

/// Each cell of a matrix adds its part to one release, although another cell may fail. All such jobs of a workflow are one finding.
fn partial_releases(flow: &Flow, report: &mut Report<'_>) {
    let parts = |at: usize| leaves(flow, at).then(|| partial_release(flow, at)).flatten();
    let mut jobs = flow.jobs().filter_map(|(at, job)| Some((job, parts(at)?)));
    let Some((job, (step, facts))) = jobs.next() else { return };
    let message = format!(
        "each cell of `{}` adds to the release by itself: if one fails, half a release is out",
        job.id.text
    );
    let mut draft = report
        .add(flow.file, step.name_span(), message)
        .hint("collect artifacts in a job that needs all cells, and release there");
    if is_out_before(flow, facts) {
        draft = draft.severity(Severity::Low);
    }
    for (job, (step, _)) in jobs {
        draft = draft.also(flow.file, step.name_span(), format!("so does each of `{}`", job.id.text));
    }
    draft.done();
}

/// Returns the step by which each cell of a job adds to a release what it builds, whatever comes of the others.
fn partial_release(flow: &Flow, at: usize) -> Option<(&Step, &StepFacts)> {
    let job = &flow.model.jobs[at];
    let several =
        job.matrix.as_ref().is_some_and(|matrix| matrix.cells().is_none_or(|cells| cells.len() > 1));
    let apart = job.fail_fast.as_ref().is_some_and(|text| text.is("false"));
    let builds = flow.facts[at].iter().any(|facts| facts.does(Kind::Build));
    flow.steps(at).find(|(_, facts)| facts.does(Kind::Release)).filter(|_| several && apart && builds)
}

/// Tells whether a release is out before the workflow starts, which only adds files to it: it does so one by one in any case.
fn is_out_before(flow: &Flow, facts: &StepFacts) -> bool {
    let adds = facts.commands.iter().any(|command| command.text().starts_with("gh release upload"));
    let makes = |command: &Command| command.text().starts_with("gh release create");
    let made_here = flow.facts.iter().flatten().any(|facts| facts.commands.iter().any(makes));
    flow.starts("release") || adds && !made_here
}

/// Registries that take each file of a version once and for all.
const ONCE: &[&str] =
    &["twine upload", "uv publish", "poetry publish", "flit publish", "pypa/gh-action-pypi-publish"];

/// Each cell of a matrix builds and publishes its own files of one version, although another cell may fail.
fn partial_version(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some(cells) = job.matrix.as_ref().and_then(|matrix| matrix.cells()) else { return };
    let publishes = flow.steps(at).find(|(step, facts)| {
        let once = facts.works.iter().any(|done| ONCE.iter().any(|start| done.text.starts_with(start)));
        once && step.condition.is_none()
    });
    let builds = flow.facts[at].iter().any(|facts| facts.does(Kind::Build));
    // One that runs after another has its reasons, and so has one that builds another package in each.
    let several =
        cells.len() > 1 && flow.text.get(job.span.range()).is_some_and(|text| !text.contains("max-parallel"));
    let by_system = job.runs_on.iter().any(|label| label.text.contains("matrix."))
        || cells.iter().flatten().any(|(name, _)| name.contains("python") || *name == "os");
    let Some((step, _)) = publishes.filter(|_| several && builds && by_system) else { return };
    report
        .add(
            flow.file,
            step.name_span(),
            format!(
                "each cell of `{}` publishes its own files: if one fails, half a version is out",
                job.id.text
            ),
        )
        .hint("collect artifacts in a job that needs all cells, and publish there")
        .done();
}

/// A job moves what people take for the newest before another job has built its part of it.
fn early_pointer(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let mut storing = flow.steps(at).filter(|(_, facts)| facts.does(Kind::Store));
    let moved = storing.find_map(|(step, facts)| Some((step, facts, moves_latest(&facts.commands)?)));
    let Some((step, facts, command)) = moved else { return };
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
        Some((Some(last), missing))
    });
    // Nobody waits for both, and the other one puts its part where this one put its own.
    let beside = || {
        let stores = |other: usize| {
            let kinds = [Kind::Store, Kind::Release, Kind::Publish];
            flow.facts[other].iter().any(|facts| kinds.iter().any(|&kind| facts.does(kind)))
        };
        let mut others = flow.jobs().filter(|&(other, _)| {
            let apart = !flow.closures[at].contains(&other) && !flow.closures[other].contains(&at);
            other != at && apart && stores(other) && stores_apart(flow, other, step, facts)
        });
        others.next().map(|(other, _)| (None, other))
    };
    let Some((last, missing)) = late.or_else(beside) else { return };
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
        .hint(match last {
            Some(last) => {
                format!("move what is the latest behind `{}`, as the last thing that happens", last.id.text)
            }
            None => "move what is the latest in a job that needs all that build".to_owned(),
        })
        .done();
}

/// Tells whether another job copies what it makes to the place in which a step moves what is the latest: the same bucket or
/// host.
fn stores_apart(flow: &Flow, other: usize, step: &Step, facts: &StepFacts) -> bool {
    let host = |command: &Command| {
        let target = command.words.iter().rev().find_map(|word| word.split_once("://"))?;
        target.1.split('/').next().map(str::to_owned)
    };
    let own: Vec<String> = facts.commands.iter().filter_map(host).collect();
    // Its part is of this version, too.
    let part = |command: &Command| {
        let target = command.words.iter().rev().find(|word| word.contains("://"));
        target.is_some_and(|target| is_versioned(&target.to_ascii_lowercase()))
    };
    let same = |command: &Command| {
        tools::command(command).kind == Kind::Store
            && part(command)
            && host(command).is_some_and(|host| own.contains(&host))
    };
    step.condition.is_none()
        && flow.jobs().any(|(at, job)| at == other && job.condition.is_none())
        && flow.facts[other].iter().any(|facts| facts.commands.iter().any(same))
}

/// Tells whether a place is that of one version.
fn is_versioned(target: &str) -> bool {
    ["tag", "version", "sha", "ref", "inputs"].iter().any(|word| target.contains(word))
}

/// Finds a command that writes which version is the latest to a place of no version's own.
fn moves_latest(commands: &[Command]) -> Option<&Command> {
    let says = |command: &Command| command.text().to_ascii_lowercase().contains("latest");
    (0..commands.len()).find_map(|at| {
        let command = &commands[at];
        let piped = || at > 0 && commands[at - 1].then == Then::Pipe && says(&commands[at - 1]);
        let stores = || {
            let target = command.words.iter().rev().find(|word| word.contains("://"));
            target.is_some_and(|target| !is_versioned(&target.to_ascii_lowercase()))
                && tools::command(command).kind == Kind::Store
        };
        (stores() && (says(command) || piped())).then_some(command)
    })
}
