//! What is made outside for a while is taken away again, but not after a failure in between: a stack, a cluster, a
//! machine that is paid by the hour.

use std::{collections::BTreeSet, sync::LazyLock};

use kapell_spec::{finding::Span, github::Step};
use kapell_view::audit::Confidence;

use crate::{
    github::{
        Flow, StepFacts, aggregate,
        facts::Done,
        script::{Command, Then},
        tools::Kind,
    },
    repository::Repository,
    rule::Report,
};

/// Programs, words with which they make something, and words with which they take it away: one, or two in a row.
pub(super) type Lasting = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// What makes something that stays when the runner is gone, and what takes it away: the program, and a word of each.
const LASTING: &[Lasting] = &[
    (&["terraform", "tofu", "terragrunt"], &["apply"], &["destroy"]),
    (&["pulumi"], &["up"], &["destroy", "down"]),
    (&["cdk"], &["deploy"], &["destroy"]),
    (
        &["cdktf", "sst", "azd", "ampx"],
        &["deploy", "up", "provision"],
        &["destroy", "remove", "down", "delete"],
    ),
    (&["sam"], &["deploy"], &["delete"]),
    (&["serverless", "sls"], &["deploy"], &["remove"]),
    (
        &["eksctl", "doctl", "gcloud", "az", "heroku", "flyctl", "fly", "neonctl"],
        &["create", "apps:create"],
        &["delete", "destroy", "apps:destroy"],
    ),
    (
        &["aws"],
        &[
            "create-stack",
            "deploy",
            "create-cluster",
            "run-instances",
            "create-db-instance",
            "request-spot-instances",
        ],
        &["delete-stack", "delete-cluster", "terminate-instances", "delete-db-instance"],
    ),
    (&["heroku"], &["maintenance:on"], &["maintenance:off"]),
    (&["eas", "vercel"], &["pause"], &["resume"]),
    (
        &[
            "hcloud",
            "linode-cli",
            "scw",
            "vultr-cli",
            "ibmcloud",
            "oci",
            "civo",
            "openstack",
            "vastai",
            "runpodctl",
        ],
        &["create", "launch"],
        &["delete", "terminate", "destroy", "remove"],
    ),
    (&["copilot"], &["init", "deploy"], &["delete"]),
    (&["kubectl", "oc"], &["create namespace", "create ns"], &["delete namespace", "delete ns"]),
    (&["oc"], &["new-project"], &["delete project"]),
    (&["helm"], &["install", "--install"], &["uninstall", "delete"]),
    (&["helmfile"], &["apply", "sync"], &["destroy"]),
    (&["argocd"], &["app create"], &["app delete"]),
    (&["okteto"], &["deploy", "namespace create"], &["destroy", "namespace delete"]),
    (&["pscale", "supabase"], &["branch create", "branches create"], &["branch delete", "branches delete"]),
    (&["turso"], &["db create"], &["db destroy"]),
    (&["kubectl"], &["cordon", "drain"], &["uncordon"]),
    (&["artisan", "php"], &["down"], &["up"]),
];

/// Actions that do what a program of the list does: the program, and the input that has the word or the word itself.
const ACTIONS: &[(&str, &str, Result<&str, &str>)] = &[
    ("pulumi/actions", "pulumi", Ok("command")),
    ("dflook/terraform-apply", "terraform", Err("apply")),
    ("dflook/terraform-destroy", "terraform", Err("destroy")),
    ("dflook/tofu-apply", "tofu", Err("apply")),
    ("dflook/tofu-destroy", "tofu", Err("destroy")),
    ("aws-actions/aws-cloudformation-github-deploy", "aws", Err("deploy")),
];

/// Returns the program and the word that an action of a step stands for.
fn of_action(step: &Step) -> Option<(&'static str, &str)> {
    let (_, program, word) = ACTIONS.iter().find(|(action, ..)| step.is(action))?;
    let word = match word {
        Ok(input) => step.input(input)?.literal()?,
        Err(word) => word,
    };
    Some((program, word))
}

/// Returns those whose programs a job runs.
pub(super) fn lasting(flow: &Flow, at: usize) -> Vec<&'static Lasting> {
    // Most jobs run none of them.
    static KNOWN: LazyLock<BTreeSet<&str>> =
        LazyLock::new(|| LASTING.iter().flat_map(|(programs, ..)| *programs).copied().collect());
    let all = flow.steps(at).flat_map(|(step, facts)| {
        let acted = of_action(step).map(|(program, _)| program);
        acted.into_iter().chain(facts.commands.iter().map(Command::program))
    });
    // What is in a cluster of its own is gone with it.
    let gone = |program: &str| OF_CLUSTERS.contains(&program) && flow.has_own_cluster(at);
    let run: Vec<&str> = all.filter(|program| KNOWN.contains(program) && !gone(program)).collect();
    LASTING.iter().filter(|(programs, ..)| programs.iter().any(|program| run.contains(program))).collect()
}

/// Tells whether a job, or one that it waits for, makes something for a while.
pub(in crate::rules) fn rents(flow: &Flow, at: usize) -> bool {
    let jobs = || flow.closures[at].iter().copied().chain([at]);
    jobs().any(|job| {
        let mut made = lasting(flow, job);
        // A chart is mostly brought to stay.
        made.retain(|(programs, ..)| !matches!(programs[0], "helm" | "helmfile" | "argocd" | "okteto"));
        let makes = |facts: (&Step, &StepFacts)| {
            made.iter().any(|(programs, makes, _)| does(facts.0, facts.1, programs, makes))
        };
        flow.steps(job).any(makes)
    })
}

/// Tells whether a command is one of some programs with one of some words; what it prints may be kept in a variable:
/// `id=$(aws ec2 run-instances)`.
fn is_call(command: &Command, programs: &[&str], verbs: &[&str]) -> bool {
    if command.depth > 0 {
        return false;
    }
    let kept = || {
        let inner = command.assigned.first().and_then(|text| text.split_once("=$("))?;
        let mut words = inner.1.split_whitespace();
        words.next().filter(|program| programs.contains(program))?;
        words.take(5).find(|word| verbs.contains(&word.trim_end_matches(')')))
    };
    match command.words.is_empty() {
        true => kept().is_some(),
        false => {
            programs.contains(&command.program())
                && (command.words.iter().skip(1).take(5).any(|word| verbs.contains(&word.as_str()))
                    || two_in_a_row(command, verbs))
        }
    }
}

/// Tells whether a command has two words in a row that are one of the verbs: `kubectl -n a delete namespace b`.
fn two_in_a_row(command: &Command, verbs: &[&str]) -> bool {
    let pairs = verbs.iter().filter_map(|verb| verb.split_once(' '));
    pairs.into_iter().any(|(first, second)| {
        command.words.windows(2).skip(1).take(5).any(|pair| pair[0] == first && pair[1] == second)
    })
}

/// Programs that speak to a cluster.
const OF_CLUSTERS: &[&str] = &["kubectl", "oc", "helm", "helmfile", "argocd"];

/// Tells whether what is taken away from a cluster is what was made there: both name it. Elsewhere there is mostly one thing.
fn is_of_one(lasting: Lasting, made: &[&StepFacts], taken: &[&StepFacts]) -> bool {
    let (programs, makes, takes) = lasting;
    if !programs.iter().any(|program| OF_CLUSTERS.contains(program)) {
        return true;
    }
    let named = |all: &[&StepFacts], verbs: &[&str]| -> BTreeSet<String> {
        let calls = all.iter().flat_map(|facts| &facts.commands);
        calls.filter(|command| is_call(command, programs, verbs)).flat_map(names).collect()
    };
    let (made, taken) = (named(made, makes), named(taken, takes));
    made.iter().any(|name| taken.contains(name))
}

/// Returns what a command for a cluster is about: its words without the verbs, the flags and the namespace that these name.
fn names(command: &Command) -> Vec<String> {
    const VERBS: &[&str] =
        &["create", "delete", "install", "upgrade", "uninstall", "namespace", "ns", "project", "new-project"];
    let words = command.inner();
    let of_flag =
        |at: usize| matches!(words[at - 1].as_str(), "-n" | "--namespace" | "--kube-context" | "--context");
    // The first one is a verb, or what the verb is about: `argocd app create`.
    let plain = (2..words.len())
        .filter(|&at| !words[at].starts_with('-') && !VERBS.contains(&words[at].as_str()) && !of_flag(at));
    let found: Vec<String> = plain.map(|at| words[at].clone()).collect();
    // Files of states and nodes are the same for all that is done with them.
    if found.is_empty() { vec![String::new()] } else { found }
}

/// Tells whether a step runs one of some programs with one of some words.
fn does(step: &Step, facts: &StepFacts, programs: &[&str], verbs: &[&str]) -> bool {
    facts.commands.iter().any(|command| is_call(command, programs, verbs))
        || of_action(step).is_some_and(|(program, word)| programs.contains(&program) && verbs.contains(&word))
}

/// Words of what was there before, and makes room for what has been made.
const BEFORE: &[&str] = &[
    "old",
    "older",
    "previous",
    "prev",
    "prior",
    "former",
    "stale",
    "outdated",
    "obsolete",
    "retired",
    "expired",
    "leftover",
    "leftovers",
    "orphan",
    "orphans",
    "orphaned",
    "blue",
    "unused",
];

/// Tells whether a text speaks of what was there before.
fn of_before(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| BEFORE.iter().any(|before| word.eq_ignore_ascii_case(before)))
}

/// Tells whether a step takes away what was there before, and not what its run has made.
fn makes_room(step: &Step) -> bool {
    step.name.as_ref().is_some_and(|name| of_before(&name.text)) || of_before(step.script())
}

/// Programs that do something on another machine.
const REMOTE: &[&str] = &["ssh ", "scp ", "rsync ", "sshpass ", "ansible-playbook ", "ansible "];

/// Tells whether something is done that may fail, with what was made or beside it.
fn may_fail(done: &Done) -> bool {
    matches!(done.work.kind, Kind::Test | Kind::Build | Kind::Unknown)
        || REMOTE.iter().any(|start| done.text.starts_with(start))
}

/// Says that what one job has made stays when another one fails.
pub(super) fn tell(flow: &Flow, job: usize, made: usize, tested: usize, report: &mut Report<'_>) {
    let of = |at: usize| &flow.model.jobs[at].id;
    report
        .add(
            flow.file,
            of(job).span,
            format!(
                "when `{}` fails, `{}` is skipped, and what `{}` has made is not taken away",
                of(tested).text,
                of(job).text,
                of(made).text
            ),
        )
        .confidence(Confidence::Medium)
        .also(flow.file, of(made).span, "made here")
        .also(flow.file, of(tested).span, "may fail")
        .hint("add `if: always()`")
        .done();
}

/// Says that what a step has made stays when a later one fails.
pub(super) fn tell_step(
    flow: &Flow,
    at: usize,
    (made, tested, taken): (usize, usize, usize),
    what: &str,
    report: &mut Report<'_>,
) {
    let steps = &flow.model.jobs[at].steps;
    report
        .add(
            flow.file,
            steps[taken].name.as_ref().map_or(steps[taken].span, |name| name.span),
            format!("when a step before it fails, what `{what}` has made is not taken away"),
        )
        .confidence(Confidence::Medium)
        .also(flow.file, steps[made].span, "made here")
        .also(flow.file, steps[tested].span, "may fail")
        .hint("add `if: always()`")
        .done();
}

/// What one job has made outside and another one works with is taken away by a third, which is skipped when that fails.
pub(super) fn between_jobs(
    repository: &Repository,
    (flow, at): (&Flow, usize),
    lasting: &[&Lasting],
    report: &mut Report<'_>,
) {
    let job = &flow.model.jobs[at];
    if job.condition.as_ref().is_some_and(|own| !aggregate::is_default(&own.text)) {
        return;
    }
    for (programs, makes, takes) in lasting.iter().copied() {
        let any = |flow: &Flow, job: usize, verbs: &[&str]| {
            flow.steps(job).any(|(step, facts)| does(step, facts, programs, verbs))
        };
        if !any(flow, at, takes) || any(flow, at, makes) || job.steps.iter().any(makes_room) {
            continue;
        }
        let Some(&made) = flow.closures[at].iter().find(|&&up| any(flow, up, makes)) else { continue };
        let of = |job: usize| flow.facts[job].iter().collect::<Vec<_>>();
        if !is_of_one((programs, makes, takes), &of(made), &of(at)) {
            continue;
        }
        let fails = |up: usize| {
            flow.model.jobs[up].continue_on_error.is_none()
                && flow.facts[up].iter().any(|facts| facts.works.iter().any(may_fail))
        };
        let tested = flow.closures[at].iter().find(|&&up| flow.closures[up].contains(&made) && fails(up));
        // What is also taken away in another place has nothing to lose.
        let again = repository.github.flows.iter().any(|other| {
            other.jobs().any(|(index, _)| {
                let own = std::ptr::eq(other, flow) && (index == at || index == made);
                !own && any(other, index, takes)
            })
        });
        if let Some(&tested) = tested.filter(|_| !again) {
            return tell(flow, at, made, tested, report);
        }
    }
}

/// What was made outside for the tests of a job is taken away after them, but not if they fail.
pub(super) fn between_steps(flow: &Flow, at: usize, lasting: &[&Lasting], report: &mut Report<'_>) {
    let steps: Vec<_> = flow.steps(at).collect();
    for &&(programs, makes, takes) in lasting {
        if in_one_script(flow, &steps, (programs, makes, takes), report) {
            return;
        }
        let Some(made) = steps.iter().position(|(step, facts)| does(step, facts, programs, makes)) else {
            continue;
        };
        let taken =
            (made + 1..steps.len()).find(|&later| does(steps[later].0, steps[later].1, programs, takes));
        let same = |taken: &usize| is_of_one((programs, makes, takes), &[steps[made].1], &[steps[*taken].1]);
        let Some(taken) = taken.filter(same) else { continue };
        // One that is also taken away after a failure somewhere else has nothing to lose.
        let again = steps[taken + 1..].iter().any(|(step, facts)| does(step, facts, programs, takes));
        // What is made in some runs only is taken away in the same ones.
        let when = |at: usize| {
            // Whoever asks for success asks for what holds without it.
            steps[at].0.condition.as_ref().filter(|own| !aggregate::is_default(&own.text))
        };
        let alike = when(taken)
            .is_none_or(|own| !own.asks_status() && when(made).is_some_and(|made| made.text == own.text));
        let always = when(made).is_none() || when(taken).is_some();
        let fails = |index: usize| {
            let (step, facts) = steps[index];
            // What is switched off for a change is on again only if that went well.
            let switch = ["maintenance:off", "uncordon", "up"];
            let changes = takes.iter().all(|word| switch.contains(word))
                && facts.works.iter().any(|done| done.work.kind != Kind::Trivial);
            step.continue_on_error.is_none() && (facts.works.iter().any(may_fail) || changes)
        };
        let tested = (made + 1..taken).find(|&index| fails(index));
        let (Some(tested), true, false) = (tested, alike && always, again || makes_room(steps[taken].0))
        else {
            continue;
        };
        let mut commands = steps[made].1.commands.iter().map(Command::program);
        let what = commands.find(|program| programs.contains(program)).unwrap_or(programs[0]);
        return tell_step(flow, at, (made, tested, taken), what, report);
    }
}

/// A script makes something, works with it and takes it away: it ends at the first failure in between.
fn in_one_script(
    flow: &Flow,
    steps: &[(&Step, &StepFacts)],
    (programs, makes, takes): Lasting,
    report: &mut Report<'_>,
) -> bool {
    for (step, facts) in steps {
        let commands = &facts.commands;
        let Some(made) = commands.iter().position(|command| is_call(command, programs, makes)) else {
            continue;
        };
        let Some(taken) = commands.iter().rposition(|command| is_call(command, programs, takes)) else {
            continue;
        };
        let script = step.script();
        let ready = ["trap ", "set +e", "set +o errexit"].iter().any(|word| script.contains(word));
        if ready
            || !is_of_one((programs, makes, takes), &[*facts], &[*facts])
            || taken < made
            || makes_room(step)
            || step.shell.as_ref().is_some_and(|shell| !shell.is("bash"))
        {
            continue;
        }
        let ends = |command: &Command| {
            command.depth == 0 && !command.asked && !matches!(command.then, Then::Or | Then::Background)
        };
        let fails = |done: &&Done| {
            let between = done.command.filter(|own| (made + 1..taken).contains(own));
            between.is_some_and(|own| ends(&commands[own])) && may_fail(done)
        };
        let Some(tested) = facts.works.iter().find(fails) else { continue };
        let line = |at: usize| -> Span {
            flow.script_line(step, commands[at].start, commands[at].words.first().map_or("", |word| word))
        };
        let failing = tested.command.unwrap_or_default();
        report
            .add(
                flow.file,
                line(taken),
                format!(
                    "when `{}` fails, the script ends, and what `{}` has made before is not taken away",
                    commands[failing].words.iter().take(3).cloned().collect::<Vec<_>>().join(" "),
                    commands[taken].program()
                ),
            )
            .confidence(Confidence::Medium)
            .also(flow.file, line(made), "made here")
            .also(flow.file, line(failing), "may fail")
            .hint("take it away in a step of its own with `if: always()`, or set a `trap`")
            .done();
        return true;
    }
    false
}

/// Actions that start a machine and stop it again, by the input that says which.
const MACHINES: &[(&str, &str, &str, &str)] = &[
    ("machulav/ec2-github-runner", "mode", "start", "stop"),
    ("related-sciences/gce-github-runner", "command", "start", "stop"),
    ("cyclenerd/hcloud-github-runner", "mode", "create", "delete"),
];

/// Returns what a step does to a machine that is paid by the hour: `true` where it starts one.
fn machine(step: &Step) -> Option<bool> {
    MACHINES.iter().find_map(|(action, input, starts, stops)| {
        let said = step.input(input).filter(|_| step.is(action))?;
        if said.is(starts) { Some(true) } else { said.is(stops).then_some(false) }
    })
}

/// A machine that one job has started is stopped by another one, which is skipped when what ran on it fails.
pub(super) fn stopped_late(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let any = |job: usize, started: bool| {
        flow.model.jobs[job].steps.iter().any(|step| machine(step) == Some(started))
    };
    let plain = job.condition.as_ref().is_none_or(|own| aggregate::is_default(&own.text));
    if !plain || !any(at, false) {
        return;
    }
    let Some(&started) = flow.closures[at].iter().find(|&&up| any(up, true)) else { return };
    let between = flow.closures[at].iter().find(|&&up| flow.closures[up].contains(&started));
    let Some(&between) = between else { return };
    let (started, between) = (&flow.model.jobs[started].id, &flow.model.jobs[between].id);
    report
        .add(
            flow.file,
            job.id.span,
            format!(
                "when `{}` fails, `{}` is skipped, and the machine that `{}` has started goes on",
                between.text, job.id.text, started.text
            ),
        )
        .also(flow.file, started.span, "started here")
        .also(flow.file, between.span, "may fail")
        .hint("add `if: always()`")
        .done();
}
