//! An artifact is downloaded that no job of the run uploads in time.

mod hidden; // files that an upload leaves out
mod unbrought; // a folder that is delivered where nothing brings it
mod unhanded; // what is published where it was not built

mod shapes; // names with the number of a run or the hash of a commit

use kapell_spec::{
    finding::Span,
    github::{Condition, Name, Step},
    suggest,
};
use kapell_view::audit::{Confidence, FixClass, Severity};

use crate::github::{
    Flow, Github, StepFacts, carry,
    conditions::Run,
    facts::Artifact,
    globs,
    script::{Command, Then},
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/artifact-never-produced.md`.
pub(super) static RULE: Rule = Rule {
    name: "artifact-never-produced",
    summary: "An artifact is downloaded that no job of the run uploads in time",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/artifact-never-produced.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let github = &repository.github;
    for flow in &github.flows {
        hidden::check(flow, report);
        unhanded::check(repository, flow, report);
        unbrought::check(repository, flow, report);
        if flow.facts.iter().flatten().all(|facts| facts.downloads.is_empty()) {
            continue;
        }
        let Some(jobs) = run_jobs(github, flow) else { continue };
        for (at, _) in flow.jobs() {
            for (step, facts) in flow.steps(at).filter(|(step, _)| step.continue_on_error.is_none()) {
                of_run_before(github, flow, (at, step, facts), report);
                for wanted in facts.downloads.iter().filter(|wanted| !wanted.elsewhere) {
                    let Some(span) = wanted.name_span.or_else(|| by_command(flow, step, facts, wanted))
                    else {
                        continue;
                    };
                    look(github, flow, &jobs, (at, wanted, span), report);
                }
            }
        }
    }
}

/// Returns where a script of a step takes an artifact by its name; whatever may fail there is not told of.
fn by_command(flow: &Flow, step: &Step, facts: &StepFacts, wanted: &Artifact) -> Option<Span> {
    // It takes what `actions/upload-pages-artifact` gives, under a name that nobody writes.
    if step.is("actions/deploy-pages") && step.condition.is_none() && step.with.is_empty() {
        return step.uses.as_ref().map(|(text, _)| text.span);
    }
    let takes = |command: &&Command| {
        command.words.iter().take(3).map(String::as_str).eq(["gh", "run", "download"])
            && command.words.iter().any(|word| *word == wanted.names[0])
    };
    let command = facts.commands.iter().find(takes)?;
    let plain = command.depth == 0 && !command.asked && command.then != Then::Or && !wanted.all;
    plain.then(|| flow.script_line(step, command.start, &command.words[0]))
}

/// An artifact of the run that started this one, which no job there uploads.
fn of_run_before(
    github: &Github,
    flow: &Flow,
    (at, step, facts): (usize, &Step, &StepFacts),
    report: &mut Report<'_>,
) {
    let of_trigger = step.input("run-id").is_some_and(|id| id.text.contains("github.event.workflow_run.id"));
    let [wanted] = &facts.downloads[..] else { return };
    let Some(span) = wanted.name_span.filter(|_| of_trigger && step.input("repository").is_none()) else {
        return;
    };
    let Some(names) = flow.model.event("workflow_run").and_then(|event| event.filter("workflows")) else {
        return;
    };
    let mut jobs: Vec<(&Flow, usize)> = Vec::new();
    for name in &names.items {
        let Some(before) = github.flows.iter().find(|other| other.run_name() == &*name.text) else { return };
        jobs.extend(before.jobs().flat_map(|(at, _)| github.deep(before, at)));
    }
    if jobs.iter().any(|(flow, job)| carry::calls_unknown(github, &flow.model.jobs[*job])) {
        return;
    }
    let given = |(flow, job): &(&Flow, usize)| {
        flow.facts[*job]
            .iter()
            .flat_map(|facts| &facts.uploads)
            .any(|upload| globs::any_overlap(&upload.names, &wanted.names))
    };
    // What is told of here is only that nobody gives it; when it is there is told of nowhere.
    if !jobs.iter().any(given) {
        look(github, flow, &jobs, (at, wanted, span), report);
    }
}

/// All jobs of the runs that a job can be part of; `None` if some of them are not here.
fn run_jobs<'a>(github: &'a Github, flow: &'a Flow) -> Option<Vec<(&'a Flow, usize)>> {
    let mut flows = vec![flow];
    let mut at = 0;
    while at < flows.len() {
        let current = flows[at];
        if current.starts("workflow_call") {
            let callers = github.callers(current);
            // Somebody outside may call it, and give what it wants.
            if callers.is_empty() {
                return None;
            }
            for (caller, _) in callers {
                if !flows.iter().any(|&known| std::ptr::eq(known, caller)) {
                    flows.push(caller);
                }
            }
        }
        at += 1;
    }
    let mut jobs: Vec<(&Flow, usize)> = Vec::new();
    for flow in flows {
        for (at, _) in flow.jobs() {
            for found in github.deep(flow, at) {
                if !jobs.iter().any(|&(known, job)| job == found.1 && std::ptr::eq(known, found.0)) {
                    jobs.push(found);
                }
            }
        }
    }
    let unknown = jobs.iter().any(|(flow, job)| carry::calls_unknown(github, &flow.model.jobs[*job]));
    (!unknown).then_some(jobs)
}

/// Tells whether a name is another one with something behind it.
fn is_part(name: &str, whole: &str) -> bool {
    name.strip_prefix(whole).is_some_and(|rest| rest.starts_with(['-', '_', '.'])) && !whole.contains('*')
}

/// Finds the name that a pattern was meant for, if they begin alike but for signs between the words: `wheel_*` for `wheels-linux`.
fn like<'a>(pattern: &str, mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let start = |text: &str| {
        let start = text.split('*').next().unwrap_or_default();
        start.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let wanted = start(pattern);
    let near = |name: &str| {
        let own = start(name);
        own.len() >= 4 && (own.starts_with(&wanted) || wanted.starts_with(&own))
    };
    if wanted.len() < 4 || !pattern.contains('*') { None } else { names.find(|name| near(name)) }
}

/// Tells whether what uploads an artifact does so after a failure only, of which this job waits for the contrary.
fn in_vain(flow: &Flow, at: usize, (other, giver, upload): &(&Flow, usize, &Artifact)) -> bool {
    let after_failure = |step: &Step| {
        let text = step.condition.as_ref().map(|condition| condition.text.replace(' ', ""));
        text.is_some_and(|text| text == "false" || text == "failure()" || text.starts_with("failure()&&"))
    };
    let of_it = |facts: &StepFacts| facts.uploads.iter().any(|known| std::ptr::eq(known, *upload));
    let waits = !flow.model.jobs[at].condition.as_ref().is_some_and(Condition::asks_status);
    std::ptr::eq(*other, flow)
        && flow.closures[at].contains(giver)
        && waits
        && other.steps(*giver).any(|(step, facts)| of_it(facts) && after_failure(step))
}

/// Finds an event on which an artifact is downloaded and none of the steps that upload it runs.
fn never_on<'a>(
    flow: &'a Flow,
    at: usize,
    span: Span,
    givers: &[&(&Flow, usize, &Artifact)],
) -> Option<(&'a Name, String)> {
    // Whoever calls this one may give it too.
    if givers.iter().any(|(other, ..)| !std::ptr::eq(*other, flow)) || flow.starts("workflow_call") {
        return None;
    }
    let own =
        flow.model.jobs[at].steps.iter().find(|step| step.span.range().contains(&(span.start as usize)))?;
    let denied = |world: usize, job: usize, condition: Option<&Condition>| {
        condition.is_some_and(|condition| flow.scope(world, job, true).holds(condition) == Some(false))
    };
    let gives = |world: usize| {
        givers.iter().any(|(_, job, upload)| {
            let of_it = |facts: &StepFacts| facts.uploads.iter().any(|known| std::ptr::eq(known, *upload));
            let mut steps = flow.steps(*job).filter(|(_, facts)| of_it(facts));
            flow.runs[world][*job] != Run::Never
                && steps.any(|(step, _)| !denied(world, *job, step.condition.as_ref()))
        })
    };
    let takes = |world: usize| {
        flow.runs[world][at] != Run::Never && !denied(world, at, own.condition.as_ref()) && !gives(world)
    };
    let world = (0..flow.worlds.len()).find(|&world| takes(world))?;
    Some((&flow.model.jobs[givers[0].1].id, flow.worlds[world].name()))
}

fn look(
    github: &Github,
    flow: &Flow,
    jobs: &[(&Flow, usize)],
    (at, wanted, span): (usize, &Artifact, Span),
    report: &mut Report<'_>,
) {
    let uploads: Vec<(&Flow, usize, &Artifact)> = jobs
        .iter()
        .flat_map(|(flow, job)| {
            flow.facts[*job].iter().flat_map(|facts| &facts.uploads).map(|upload| (*flow, *job, upload))
        })
        .collect();
    let (givers, apart): (Vec<&(&Flow, usize, &Artifact)>, Vec<_>) = uploads
        .iter()
        .filter(|(_, _, upload)| globs::any_overlap(&upload.names, &wanted.names))
        .partition(|(other, _, upload)| !shapes::apart((other, upload), (flow, wanted)));
    let shown = &wanted.names[0];
    let job = &flow.model.jobs[at];
    if givers.is_empty() {
        // An action that is not known may upload what it likes.
        let known: Vec<&str> = uploads
            .iter()
            .flat_map(|(_, _, upload)| &upload.names)
            .map(String::as_str)
            .filter(|name| !name.contains('*'))
            .collect();
        let near = suggest::nearest(shown, known.iter().copied());
        let all = uploads.iter().flat_map(|(_, _, upload)| &upload.names).map(String::as_str);
        let near = near.or_else(|| like(shown, all));
        // `wheels` for `wheels-linux` and its sisters: one side was given parts, and the other one was not.
        let part = known.iter().find(|name| is_part(name, shown) || is_part(shown, name));
        // What comes after the download, or only after its job, has uploaded nothing by then.
        let in_time = |(other, job): &(&Flow, usize)| -> usize {
            let here = std::ptr::eq(*other, flow);
            let later = here && flow.closures[*job].contains(&at);
            let steps = &other.model.jobs[*job].steps;
            let before =
                || steps.iter().take_while(|step| !step.span.range().contains(&(span.start as usize)));
            if later {
                0
            } else if here && *job == at {
                before().count()
            } else {
                steps.len()
            }
        };
        let unknown = jobs.iter().any(|found| {
            let before = found.0.facts[found.1].iter().take(in_time(found));
            before.into_iter().any(super::artifact_never_consumed::may_upload)
        });
        if near.is_none() && part.is_none() && unknown {
            return;
        }
        let mut draft =
            report.add(flow.file, span, format!("no job of this run uploads the artifact `{shown}`"));
        if let Some((other, job, _)) = apart.first() {
            draft = draft.also(
                other.file,
                other.job_span(*job),
                "uploads one under a name that is never the same",
            );
        }
        // A name within a script is not all that stands at its place.
        match near.filter(|_| !shown.contains('*') && wanted.name_span.is_some()) {
            Some(near) => draft
                .fix(format!("download `{near}`"), FixClass::Review, [(flow.file, span, near.to_owned())])
                .done(),
            None if part.is_some_and(|name| is_part(name, shown)) => {
                draft.hint(format!("download all of them: `pattern: {shown}-*`")).done()
            }
            None if !apart.is_empty() => draft.hint("give it the same name in both places").done(),
            None => {
                draft.hint("upload it in a job that this one needs, or name the run it comes from").done()
            }
        }
        return;
    }
    if let Some((name, event)) = never_on(flow, at, span, &givers) {
        let text =
            format!("on {event} no step uploads `{shown}`: the one of `{}` does not run then", name.text);
        return report
            .add(flow.file, span, text)
            .also(flow.file, name.span, "uploads it on other events only")
            .hint("upload it whenever it is downloaded")
            .done();
    }
    if givers.iter().all(|giver| in_vain(flow, at, giver)) {
        let name = &givers[0].0.model.jobs[givers[0].1].id;
        let text = format!(
            "`{}` uploads `{shown}` only after a failure, and then `{}` does not run",
            name.text, job.id.text
        );
        let draft = report.add(flow.file, span, text).also(
            givers[0].0.file,
            name.span,
            "uploads it after a failure only",
        );
        return draft.hint("upload it without `if: failure()`").done();
    }
    // All who give it are jobs of this workflow for which this one does not wait, nor asks until they are over.
    let polled = super::polling_instead_of_needs::polled(flow, at);
    let waits = |giver: &(&Flow, usize, &Artifact)| {
        flow.path != giver.0.path && {
            let calls = |up: usize| up == at || flow.closures[at].contains(&up);
            let inside = flow.jobs().any(|(up, _)| {
                calls(up) && github.deep(flow, up).iter().any(|(known, _)| known.path == giver.0.path)
            });
            inside || flow.starts("workflow_call")
        } || flow.path == giver.0.path
            && (giver.1 == at
                || flow.closures[at].contains(&giver.1)
                || polled.contains(&giver.1)
                || flow.starts("workflow_call"))
    };
    if givers.iter().any(|giver| waits(giver)) {
        return;
    }
    let giver = givers[0];
    let name = &giver.0.model.jobs[giver.1].id;
    report
        .add(
            flow.file,
            span,
            format!(
                "`{}` downloads `{shown}` and does not need `{}`, which uploads it",
                job.id.text, name.text
            ),
        )
        .also(giver.0.file, name.span, "uploads it")
        .hint(format!("add `{}` to `needs`", name.text))
        .done();
}
