//! A job polls for another job of the same workflow instead of needing it.

use kapell_view::audit::{Confidence, Severity};

use kapell_spec::{
    finding::Span,
    github::{Job, Name, Step, Text},
};

use crate::{
    files::FileId,
    github::{
        Flow, StepFacts, carry, comments, own_scripts,
        script::{Command, commands},
        spelling::spelled,
        tools::Kind,
    },
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/polling-instead-of-needs.md`.
pub(super) static RULE: Rule = Rule {
    name: "polling-instead-of-needs",
    summary: "A job polls for another job of the same workflow instead of needing it",
    group: Group::CriticalPath,
    anti_pattern: Some(AntiPattern::Sequential),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/polling-instead-of-needs.md"),
    check,
};

/// Actions that wait for a check, and their inputs that name it.
const WAITERS: &[(&str, &[&str])] = &[
    ("lewagon/wait-on-check-action", &["check-name"]),
    ("fountainhead/action-wait-for-check", &["checkname"]),
    ("jitterbit/await-check-suites", &[]),
    ("kachick/wait-other-jobs", &[]),
    ("mostafahussein/workflow-watcher", &[]),
    ("poseidon/wait-for-status-checks", &[]),
    ("ahmadnassri/action-workflow-run-wait", &[]),
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.asked_flows() {
        for (at, _) in flow.jobs() {
            for (step, facts) in flow.steps(at) {
                by_action(flow, at, step, report);
                by_script(flow, at, step, report);
                for_itself(flow, at, (step, facts), report);
                for_all(flow, at, step, report);
                if facts.runs_own_script() && flow.model.jobs.len() > 1 {
                    in_called(repository, (flow, at), (step, facts), report);
                }
                let own = (flow.file, step.span);
                let told = by_runs(repository, (flow, at), step.script(), own, report);
                if !told && waits_by_push(flow) && facts.runs_own_script() {
                    by_called(repository, (flow, at), (step, facts), report);
                }
            }
        }
    }
}

/// Returns the jobs of its own workflow for which a job waits by asking for them, in its steps.
pub(super) fn polled(flow: &Flow, at: usize) -> Vec<usize> {
    let steps = flow.model.jobs[at].steps.iter();
    steps.filter_map(|step| awaited(flow, at, step).or_else(|| watched(flow, at, step))).collect()
}

/// Finds the job for which an action waits that a step uses.
fn awaited(flow: &Flow, at: usize, step: &Step) -> Option<usize> {
    let (_, inputs) = WAITERS.iter().find(|(name, _)| step.is(name))?;
    let awaited = inputs.iter().find_map(|input| step.input(input));
    let pattern = step.input("check-regexp").and_then(|text| text.literal());
    let names = match awaited.and_then(|text| text.literal()) {
        Some(name) => vec![name.to_owned()],
        None => pattern.map(alternatives).unwrap_or_default(),
    };
    // `^test.*`
    let open = pattern.and_then(|text| text.trim_end_matches('$').strip_suffix(".*")).unwrap_or_default();
    let start = open.trim_start_matches('^');
    let plain =
        start.len() > 2 && start.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' '));
    let found = flow.jobs().find(|(other, known)| {
        let shown = known.name.as_ref().map_or(&*known.id.text, |shown| &shown.text);
        let begins = plain && open.starts_with('^') && shown.starts_with(start);
        let is = |name: &String| {
            known.id.text.eq_ignore_ascii_case(name)
                || known.name.as_ref().is_some_and(|shown| *shown.text == **name)
        };
        *other != at && (begins || names.iter().any(is))
    });
    found.map(|(other, _)| other)
}

/// An action that waits for another job of the workflow.
fn by_action(flow: &Flow, at: usize, step: &Step, report: &mut Report<'_>) {
    let Some(target) = awaited(flow, at, step) else { return };
    let (id, target) = (&flow.model.jobs[at].id.text, &flow.model.jobs[target].id);
    let span = step.uses.as_ref().map_or(step.span, |(text, _)| text.span);
    report
        .add(
            flow.file,
            span,
            format!("`{id}` keeps a runner busy waiting for `{}` of the same workflow", target.text),
        )
        .hint(format!("write `needs: {}` instead", target.text))
        .also(flow.file, target.span, "the job that it waits for")
        .done();
}

/// Returns the names that a pattern stands for, if it is a plain one with at most one group: `go-(test|vet)`.
fn alternatives(pattern: &str) -> Vec<String> {
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
    let (before, rest) = pattern.split_once('(').unwrap_or((pattern, ")"));
    let Some((group, after)) = rest.split_once(')') else { return Vec::new() };
    let plain =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' ' | '|'));
    if !plain(before)
        || !plain(group)
        || !plain(after)
        || before.contains('|') && !group.is_empty()
        || after.contains('|')
    {
        return Vec::new();
    }
    before
        .split('|')
        .flat_map(|before| group.split('|').map(move |name| format!("{before}{name}{after}")))
        .collect()
}

/// Finds the job for which a loop over the checks of the commit waits.
fn watched(flow: &Flow, at: usize, step: &Step) -> Option<usize> {
    let api = step.input("script").filter(|_| step.is("actions/github-script"));
    let script = api.map_or(step.script(), |text| &text.text);
    let sleeps = ["sleep", "setTimeout"].iter().any(|word| script.contains(word));
    if !sleeps || !["while ", "until ", "for "].iter().any(|word| script.contains(word)) {
        return None;
    }
    let asks = ["check-runs", "check_runs", "/jobs", "listJobsForWorkflowRun", "checks.listForRef"];
    // The command line shows the jobs of a run, and so those of its own.
    let own = ["run_id", "RUN_ID"].iter().any(|word| script.contains(word));
    let views = script.contains("gh run view") && script.contains("jobs") && own;
    let watches = asks.iter().any(|word| script.contains(word)) || views;
    if let Some(target) = awaited_image(flow, at, script).or_else(|| awaited_artifact(flow, at, script)) {
        return Some(target);
    }
    if !watches {
        return None;
    }
    let named = |name: &str| {
        script.match_indices(name).any(|(from, _)| {
            let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_');
            edge(script[..from].chars().next_back()) && edge(script[from + name.len()..].chars().next())
        })
    };
    let target = flow.jobs().find(|(other, known)| {
        let shown = known.name.as_ref().and_then(|name| name.literal());
        *other != at
            && [Some(&*known.id.text), shown].into_iter().flatten().any(|name| name.len() > 3 && named(name))
    });
    target.map(|(other, _)| other)
}

/// Tells whether a job neither waits for another nor is waited for by it.
fn beside(flow: &Flow, at: usize, other: usize) -> bool {
    other != at && !flow.closures[at].contains(&other) && !flow.closures[other].contains(&at)
}

/// Commands that ask whether an image is there.
const LOOKS_FOR_IMAGE: &[&[&str]] = &[
    &["docker", "manifest", "inspect"],
    &["docker", "buildx", "imagetools", "inspect"],
    &["docker", "pull"],
    &["crane", "manifest"],
    &["crane", "digest"],
    &["skopeo", "inspect"],
    &["regctl", "manifest", "get"],
];

/// Finds the job that pushes the image for which a loop waits.
fn awaited_image(flow: &Flow, at: usize, script: &str) -> Option<usize> {
    let all = commands(script);
    let image = all.iter().filter(|command| command.depth > 0 || command.asked).find_map(|command| {
        let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
        let known = LOOKS_FOR_IMAGE.iter().find(|start| words.starts_with(start))?;
        words[known.len()..].iter().copied().find(|word| !word.starts_with('-') && word.contains(['/', '$']))
    })?;
    let image = spelled(flow, at, image.trim_start_matches("docker://"));
    let pushes = |other: usize| {
        let by_command = flow.facts[other].iter().flat_map(|facts| &facts.commands).any(|command| {
            command.words.iter().map(String::as_str).take(2).eq(["docker", "push"])
                && command.words.iter().any(|word| spelled(flow, other, word) == image)
        });
        let by_action = flow.steps(other).any(|(step, _)| {
            step.is("docker/build-push-action")
                && step.input("tags").is_some_and(|tags| {
                    tags.text.split([',', '\n']).any(|tag| spelled(flow, other, tag) == image)
                })
        });
        by_command || by_action
    };
    flow.jobs().map(|(other, _)| other).find(|&other| beside(flow, at, other) && pushes(other))
}

/// Finds the job that uploads the artifact of this run for which a loop waits: the one that it names, or else what its own job
/// takes, where the loop only counts the artifacts.
fn awaited_artifact(flow: &Flow, at: usize, script: &str) -> Option<usize> {
    let own = ["run_id", "RUN_ID", "runId"].iter().any(|word| script.contains(word));
    let asks = ["/artifacts", "listWorkflowRunArtifacts", "gh run download"]
        .iter()
        .any(|word| script.contains(word));
    if !own || !asks {
        return None;
    }
    let named = |other: usize| {
        let names =
            flow.facts[other].iter().flat_map(|facts| &facts.uploads).flat_map(|upload| &upload.names);
        names.into_iter().any(|name| name.len() > 2 && !name.contains('*') && script.contains(name.as_str()))
    };
    let taken = |other: usize| !carry::artifacts_taken(flow, other, at).is_empty();
    let others = || (0..flow.model.jobs.len()).filter(|&other| beside(flow, at, other));
    others().find(|&other| named(other)).or_else(|| others().find(|&other| taken(other)))
}

/// A loop over the checks of the commit until one of this workflow is there.
fn by_script(flow: &Flow, at: usize, step: &Step, report: &mut Report<'_>) {
    let Some(target) = watched(flow, at, step).filter(|_| !works_before(flow, at, step)) else { return };
    tell(flow, (at, step), target, goes_on_blindly(flow, at, step), report);
}

/// The same in a script of the repository, to which the step gives the name of the job.
fn in_called(
    repository: &Repository,
    (flow, at): (&Flow, usize),
    (step, facts): (&Step, &StepFacts),
    report: &mut Report<'_>,
) {
    let job = &flow.model.jobs[at];
    // What is called so may be another run.
    let elsewhere =
        |(name, value): &(Name, Text)| name.text.contains("RUN_ID") && !value.text.contains("github.run_id");
    if step.env.iter().chain(&job.env).chain(&flow.model.env).any(elsewhere) || works_before(flow, at, step) {
        return;
    }
    for command in &facts.commands {
        let shell = usize::from(own_scripts::is_shell(command.program()));
        let Some((path, given)) = command.inner().get(shell..).and_then(<[String]>::split_first) else {
            continue;
        };
        let named = |(other, known): &(usize, &Job)| {
            let shown = known.name.as_ref().and_then(|name| name.literal()).unwrap_or(&known.id.text);
            given.iter().any(|word| word == shown) && beside(flow, at, *other)
        };
        // To be told that no job is named is much cheaper than to look for the script.
        let Some((target, _)) = flow.jobs().find(named).filter(|_| path.contains('/')) else { continue };
        let Some(file) = own_scripts::named(&repository.files, flow, (job, step), path) else { continue };
        if polls_jobs(&repository.files[file].text) {
            tell(flow, (at, step), target, false, report);
            return;
        }
    }
}

/// Tells whether a script asks for the jobs of its own run again and again, by the name that it is given.
fn polls_jobs(script: &str) -> bool {
    let any = |words: &[&str]| words.iter().any(|word| script.contains(word));
    any(&["gh run view", "/jobs"])
        && any(&["while ", "until ", "for "])
        && ["RUN_ID", "sleep", "jobs", ".name", "$1"].iter().all(|word| script.contains(word))
}

/// Reports a job that waits for another one in a step.
fn tell(flow: &Flow, (at, step): (usize, &Step), target: usize, blind: bool, report: &mut Report<'_>) {
    let target = &flow.model.jobs[target];
    let draft = report
        .add(
            flow.file,
            step.span,
            format!(
                "`{}` keeps a runner busy asking for `{}` of the same workflow{}",
                flow.model.jobs[at].id.text,
                target.id.text,
                if blind { ", and delivers whatever became of it" } else { "" }
            ),
        )
        .severity(if blind { Severity::High } else { Severity::Medium })
        .confidence(Confidence::Medium)
        .hint(format!("write `needs: {}` instead", target.id.text))
        .also(flow.file, target.id.span, "the job that it waits for");
    match comments::explains(
        flow,
        step.span,
        6,
        &["meanwhile", "while ", "overlap", "in parallel", "beside", "at once"],
    ) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Tells whether a script waits until another job is completed, without asking how, and its job delivers something then.
///
/// Source: GitHub, "REST API endpoints for workflow jobs": `status` is `completed` after a failure too, `conclusion` says how.
fn goes_on_blindly(flow: &Flow, at: usize, step: &Step) -> bool {
    let script = step.script();
    let asks = ["conclusion", "success", "failure", "outcome"].iter().any(|word| script.contains(word));
    let after = flow.steps(at).skip_while(|(known, _)| !std::ptr::eq(*known, step)).skip(1);
    let delivers = after.flat_map(|(_, facts)| &facts.works).any(|done| done.work.kind.delivers());
    script.contains("completed") && script.contains("status") && !asks && delivers
}

/// How long a job has to work before it waits for what it does then to be worth it, in seconds.
const WORTH_OVERLAP: u32 = 60;

/// Tells whether a job builds or tests for long before a step that waits: it would begin with that later if it needed the other.
fn works_before(flow: &Flow, at: usize, step: &Step) -> bool {
    let before = flow.steps(at).take_while(|(known, _)| !std::ptr::eq(*known, step));
    let works = before.flat_map(|(_, facts)| &facts.works);
    let long =
        works.filter(|done| matches!(done.work.kind, Kind::Build | Kind::Test)).map(|done| done.work.seconds);
    long.sum::<u32>() >= WORTH_OVERLAP
}

/// `gh pr checks --watch` in a run for the same pull request: the check of its own job is one of those that it waits for.
///
/// Source: GitHub CLI, manual, `gh pr checks`: `--watch` watches until all checks finish; `--required` asks for some only.
fn for_itself(flow: &Flow, at: usize, (step, facts): (&Step, &StepFacts), report: &mut Report<'_>) {
    let only = flow.model.events.iter().all(|event| &*event.name.text == "pull_request");
    if !only || flow.model.events.is_empty() {
        return;
    }
    let watches = |command: &&Command| {
        let words = command.inner();
        words.len() > 3
            && words[0] == "gh"
            && words[1] == "pr"
            && words[2] == "checks"
            && words.iter().any(|word| word == "--watch")
            && !words.iter().any(|word| word == "--required")
            && is_own(flow, at, step, named(&words[3..]))
    };
    let Some(command) = facts.commands.iter().find(watches) else { return };
    let id = &flow.model.jobs[at].id;
    report
        .add(
            flow.file,
            flow.script_line(step, command.start, "gh"),
            format!("`{}` waits for itself: its own check is one of those of the pull request", id.text),
        )
        .severity(Severity::High)
        .hint("start it with `workflow_run`, let the merge wait with `gh pr merge --auto`, or ask with `--required`")
        .done();
}

/// An action that waits for all checks of the commit where nothing leaves its own job out.
///
/// Source: lewagon/wait-on-check-action, "Parameters", `running-workflow-name`: the check that is not to be waited for.
fn for_all(flow: &Flow, at: usize, step: &Step, report: &mut Report<'_>) {
    const SOME: &[&str] = &["check-name", "check-regexp", "running-workflow-name", "ignore-checks"];
    let own = ["push", "pull_request"];
    let starts = flow.model.events.iter().all(|event| own.contains(&&*event.name.text));
    let all = step.is("lewagon/wait-on-check-action") && SOME.iter().all(|name| step.input(name).is_none());
    if !all || !starts || flow.model.events.is_empty() || flow.text.contains("<<") {
        return;
    }
    let id = &flow.model.jobs[at].id.text;
    report
        .add(
            flow.file,
            step.uses.as_ref().map_or(step.span, |(text, _)| text.span),
            format!("`{id}` waits for itself: its own check is one of all those of the commit"),
        )
        .severity(Severity::High)
        .hint(format!("give `running-workflow-name: {id}`, or name the checks that are waited for"))
        .done();
}

/// Returns the first of some words that is neither a flag nor the value of one.
fn named(words: &[String]) -> Option<&String> {
    const VALUED: &[&str] = &["-i", "--interval", "-R", "--repo", "--json", "-q", "--jq", "-t", "--template"];
    let of_flag = |at: usize| at > 0 && VALUED.contains(&words[at - 1].as_str());
    words.iter().enumerate().find(|(at, word)| !word.starts_with('-') && !of_flag(*at)).map(|(_, word)| word)
}

/// Tells whether a word names the pull request of the run, or none is named.
fn is_own(flow: &Flow, at: usize, step: &Step, word: Option<&String>) -> bool {
    const OWN: &[&str] =
        &["github.event.pull_request.", "github.event.number", "github.head_ref", "GITHUB_HEAD_REF"];
    let says = |text: &str| OWN.iter().any(|own| text.contains(own));
    let Some(word) = word else { return true };
    let name = word.trim_start_matches(['$', '{']).trim_end_matches('}');
    let env = step.env.iter().chain(&flow.model.jobs[at].env).chain(&flow.model.env);
    let mut values = env.filter(|(known, _)| word.starts_with('$') && *known.text == *name);
    says(word) || values.any(|(_, value)| says(&value.text))
}

/// Tells whether a push starts a workflow, and nothing else does but people.
fn waits_by_push(flow: &Flow) -> bool {
    let mut events = flow.model.events.iter();
    flow.starts("push") && events.all(|event| matches!(&*event.name.text, "push" | "workflow_dispatch"))
}

/// The same in a script of the repository that a step runs.
fn by_called(
    repository: &Repository,
    of: (&Flow, usize),
    (step, facts): (&Step, &StepFacts),
    report: &mut Report<'_>,
) {
    for script in own_scripts::of_step(&repository.files, &of.0.model.jobs[of.1], step, facts) {
        let Some((file, at)) = script.file.zip(script.text.find("gh run list")) else { continue };
        let source = &repository.files[file];
        let place = (file, source.line_span(source.line(at as u32)));
        by_runs(repository, of, &script.text, place, report);
    }
}

/// A loop over the runs of another workflow that the same push starts, until one is over.
fn by_runs(
    repository: &Repository,
    (flow, at): (&Flow, usize),
    script: &str,
    (file, span): (FileId, Span),
    report: &mut Report<'_>,
) -> bool {
    // To be told that it is not there is much cheaper than to be told where.
    if !script.contains("gh run list") {
        return false;
    }
    let loops = ["while ", "until ", "for "].iter().any(|word| script.contains(word));
    // What it starts itself, it may wait for.
    let own = ["gh workflow run", "dispatch", "gh run rerun"].iter().any(|word| script.contains(word));
    if !loops || own || !script.contains("sleep") || !waits_by_push(flow) {
        return false;
    }
    let listing = script.split("gh run list").nth(1).and_then(|rest| rest.lines().next());
    let Some(listing) = listing else { return false };
    let mut words = listing.split(|c: char| c.is_whitespace() || c == '=');
    let named = words.find(|word| matches!(*word, "--workflow" | "-w")).and_then(|_| words.next());
    let Some(named) = named.map(|name| name.trim_matches(['"', '\''])) else { return false };
    let is = |other: &Flow| other.path.rsplit('/').next() == Some(named) || other.run_name() == named;
    let flows = &repository.github.flows;
    let mut others = flows.iter().filter(|other| other.starts("push"));
    let Some(target) = others.find(|other| is(other) && !std::ptr::eq(*other, flow)) else { return false };
    report
        .add(
            file,
            span,
            format!(
                "`{}` keeps a runner busy until the workflow `{}` is over",
                flow.model.jobs[at].id.text,
                target.name()
            ),
        )
        .confidence(Confidence::Medium)
        .hint(format!(
            "start it with `on: workflow_run: workflows: [{}]`, and ask for its conclusion",
            target.name()
        ))
        .also(target.file, target.job_span(0), "the workflow that it waits for")
        .done();
    true
}
