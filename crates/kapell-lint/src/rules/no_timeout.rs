//! A job that can hang has no timeout.

mod too_short; // timeouts that always strike

use std::sync::LazyLock;

use kapell_spec::{
    github::{Job, Text, Uses},
    words::Words,
};

use crate::github::{Flow, StepFacts, edit, own_scripts, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_view::audit::{Confidence, FixClass, Severity};

/// See `docs/rules/no-timeout.md`.
pub(super) static RULE: Rule = Rule {
    name: "no-timeout",
    summary: "A job that can hang has no timeout",
    group: Group::Safety,
    anti_pattern: Some(AntiPattern::NoTimeout),
    focus: Focus::Resilience,
    severity: Severity::Low,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/no-timeout.md"),
    check,
};

/// Actions that let a model work.
const MODELS: &[&str] = &[
    "anthropics/claude-code-action",
    "anthropics/claude-code-base-action",
    "openai/codex-action",
    "google-github-actions/run-gemini-cli",
    "actions/ai-inference",
    "google-gemini/gemini-cli-action",
];

/// Actions that wait for what may never come.
const WAITERS: &[(&str, &str)] = &[
    ("reactivecircus/android-emulator-runner", "starts an emulator"),
    ("futureware-tech/simulator-action", "starts a simulator"),
    ("cypress-io/github-action", "runs browsers"),
    ("game-ci/", "starts an editor that asks for a licence"),
    ("hoverkraft-tech/compose-action", "waits for containers"),
    ("isbang/compose-action", "waits for containers"),
    ("lewagon/wait-on-check-action", "waits for a check"),
    ("fountainhead/action-wait-for-check", "waits for a check"),
    ("nev7n/wait_for_response", "waits for a server"),
    ("apple-actions/", "waits for a notary"),
    ("vmactions/", "starts a virtual machine"),
    ("cross-platform-actions/", "starts a virtual machine"),
    ("pguyot/arm-runner-action", "starts a virtual machine"),
    ("mxschmitt/action-tmate", "waits for a person"),
    ("lhotari/action-upterm", "waits for a person"),
    ("trstringer/manual-approval", "waits for a person"),
    ("softprops/turnstyle", "waits for another run"),
    ("malinskiy/action-android/emulator-run-cmd", "starts an emulator"),
    ("hoverkraft-tech/", "waits for containers"),
];

/// Words of commands that wait for others: emulators, servers, browsers, agents.
const WAITS: &[(&str, &str)] = &[
    ("emulator", "starts an emulator"),
    ("avd_start", "starts an emulator"),
    ("simctl", "starts a simulator"),
    ("platform=ios simulator", "starts a simulator"),
    ("connectedandroidtest", "starts an emulator"),
    ("connectedcheck", "starts an emulator"),
    ("testcafe", "runs browsers"),
    ("ng e2e", "runs browsers"),
    ("detox test", "starts an emulator"),
    ("maestro test", "starts an emulator"),
    ("xvfb", "runs a browser or a window"),
    ("playwright test", "runs browsers"),
    ("cypress run", "runs browsers"),
    ("docker compose up", "waits for containers"),
    ("docker-compose up", "waits for containers"),
    ("docker exec", "waits for containers"),
    ("notarytool", "waits for a notary"),
    ("notarize", "waits for a notary"),
    ("copilot", "lets a model work"),
    ("claude -p", "lets a model work"),
    ("claude --print", "lets a model work"),
    ("codex exec", "lets a model work"),
    ("gemini -p", "lets a model work"),
    ("/install | bash", "runs programs fetched from the network"),
    ("install.sh | bash", "runs programs fetched from the network"),
];

/// A loop that ends only when something answers.
const ENDLESS: &str = "waits for a server in a loop without end";

/// How many jobs of a repository have to have a timeout for it to be the custom of the house.
const CUSTOM: usize = 4;

fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows = repository.github.flows.iter();
    let risks: Vec<Risky<'_>> = flows.map(|flow| Risky::of(repository, flow)).collect();
    forgotten(&risks, report);
    for flow in &repository.github.flows {
        flow.jobs().for_each(|(at, _)| too_short::check(repository, flow, at, report));
    }
    for Risky { flow, jobs } in &risks {
        let [(at, why), rest @ ..] = &jobs[..] else { continue };
        let job = &flow.model.jobs[*at];
        let model = jobs.iter().any(|(_, why)| why.contains("model"));
        let endless = jobs.iter().any(|(_, why)| *why == ENDLESS);
        let mut draft = report
            .add(
                flow.file,
                flow.job_span(*at),
                format!("`{}` {why} and has no timeout: if it hangs, it does so for six hours", job.id.text),
            )
            .severity(match (model || endless) && is_open(flow) {
                // Nobody else can use that machine until then.
                true if jobs
                    .iter()
                    .any(|(at, why)| *why == ENDLESS && is_one_machine(&flow.model.jobs[*at])) =>
                {
                    Severity::High
                }
                true => Severity::Medium,
                false => Severity::Low,
            })
            .hint("set `timeout-minutes` to a few times what it takes");
        for (at, why) in rest {
            draft = draft.also(flow.file, flow.job_span(*at), format!("{why} too"));
        }
        let lines = ["timeout-minutes: 60".to_owned()];
        let edits: Vec<_> = jobs
            .iter()
            .filter_map(|(at, _)| edit::add_after(&flow.text, &flow.model.jobs[*at].keys, "runs-on", &lines))
            .map(|(span, text)| (flow.file, span, text))
            .collect();
        if edits.len() == jobs.len() {
            draft = draft.fix("stop them after an hour", FixClass::Review, edits);
        }
        draft.done();
    }
}

/// A workflow and its jobs that can hang, each with why.
struct Risky<'a> {
    flow: &'a Flow,
    jobs: Vec<(usize, &'static str)>,
}

impl<'a> Risky<'a> {
    fn of(repository: &Repository, flow: &'a Flow) -> Self {
        let jobs = flow.jobs().filter_map(|(at, _)| Some((at, risk(repository, flow, at)?)));
        Self { flow, jobs: jobs.collect() }
    }

    /// Counts the jobs with a timeout.
    fn bounded(&self) -> usize {
        self.flow.jobs().filter(|(_, job)| is_own(job) && job.timeout.is_some()).count()
    }

    /// Returns the jobs that test or build, can hang for nothing that is known, and have no timeout.
    fn open(&self) -> impl Iterator<Item = usize> {
        let works = |facts: &StepFacts| facts.does(Kind::Test) || facts.does(Kind::Build);
        let open = self.flow.jobs().filter(move |(at, job)| {
            is_own(job)
                && job.timeout.is_none()
                && job.steps.iter().all(|step| step.timeout.is_none())
                && self.flow.facts[*at].iter().any(works)
                && self.jobs.iter().all(|(risky, _)| risky != at)
        });
        open.map(|(at, _)| at)
    }
}

/// Tells whether a job runs on one machine of its owners: a label says more of it than what it can run.
fn is_one_machine(job: &Job) -> bool {
    const ANY: &[&str] = &["self-hosted", "linux", "windows", "macos", "x64", "x86", "arm", "arm64"];
    let plain =
        |label: &&Text| label.literal().is_some_and(|label| label.eq_ignore_ascii_case("self-hosted"));
    let named =
        |label: &Text| label.literal().is_some_and(|label| !ANY.contains(&&*label.to_ascii_lowercase()));
    job.runs_on.iter().any(|label| plain(&label)) && job.runs_on.iter().any(named)
}

fn is_own(job: &Job) -> bool {
    job.uses.is_none() && !job.steps.is_empty()
}

/// Nearly all jobs of a repository have a timeout, and a few that test or build do not: they were forgotten.
fn forgotten(risks: &[Risky<'_>], report: &mut Report<'_>) {
    let bounded: usize = risks.iter().map(Risky::bounded).sum();
    let open: Vec<(&Flow, usize)> =
        risks.iter().flat_map(|risky| risky.open().map(|at| (risky.flow, at))).collect();
    let [(flow, at), rest @ ..] = &open[..] else { return };
    if bounded < CUSTOM || open.len() * 3 > bounded {
        beside_bounded(risks, report);
        return;
    }
    let job = &flow.model.jobs[*at];
    let mut draft = report
        .add(
            flow.file,
            flow.job_span(*at),
            format!("`{}` has no timeout, while {bounded} other jobs here have one", job.id.text),
        )
        .hint("set `timeout-minutes` as in the others");
    for (flow, at) in rest {
        draft = draft.also(flow.file, flow.job_span(*at), "has none either");
    }
    draft.done();
}

/// Most jobs of one workflow have a timeout, and one that tests or builds there does not.
fn beside_bounded(risks: &[Risky<'_>], report: &mut Report<'_>) {
    for risky in risks {
        let (flow, open) = (risky.flow, risky.open().collect::<Vec<_>>());
        let [at, rest @ ..] = &open[..] else { continue };
        if open.len() > risky.bounded() {
            continue;
        }
        let id = &flow.model.jobs[*at].id.text;
        let mut draft = report
            .add(
                flow.file,
                flow.job_span(*at),
                format!("`{id}` has no timeout, while others in this workflow have one"),
            )
            .hint("set `timeout-minutes` as in the others");
        for at in rest {
            draft = draft.also(flow.file, flow.job_span(*at), "has none either");
        }
        draft.done();
    }
}

/// Tells whether people can start a workflow as often as they like. What a maintainer or a clock starts hangs seldom, and
/// once.
fn is_open(flow: &Flow) -> bool {
    flow.model.events.iter().any(|event| {
        ["pull_request", "issue", "discussion", "push"].iter().any(|start| event.name.text.starts_with(start))
    })
}

/// Tells whether a script asks a server until it answers, and counts nothing: `until curl -f URL; do sleep 1; done`.
fn waits_endlessly(scripts: &str) -> bool {
    // Most scripts have no loop at all.
    if !scripts.contains("while ") && !scripts.contains("until ") {
        return false;
    }
    const PROBES: &[&str] = &[
        "curl ",
        "wget ",
        "nc ",
        "pg_isready",
        "redis-cli",
        "mysqladmin",
        "kubectl ",
        "docker inspect",
        "docker compose exec",
        "docker exec",
        "grpcurl",
        "gh run",
        "gh pr",
        "gh release",
        "gh api",
        "npm view",
        "aws ",
        "gcloud ",
        "az ",
        "psql ",
        "mongosh",
        "cqlsh",
        "rabbitmqctl",
        "kafka-topics",
        "dig ",
        "nslookup",
    ];
    if turns_endlessly(scripts, PROBES) {
        return true;
    }
    let opens = ["until ", "while ! ", "while [ \"$(", "while [[ \"$(", "while [ $(", "while [[ $("]
        .into_iter()
        .flat_map(|word| scripts.match_indices(word));
    opens.map(|(at, _)| &scripts[at..]).any(|rest| {
        let Some((loops, _)) = rest.split_once("done") else { return false };
        let parts = loops.split_once("; do").or_else(|| loops.split_once("\ndo"));
        let Some((probe, body)) = parts else { return false };
        let mut body = body.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty());
        let asks = PROBES.iter().any(|word| probe.contains(word)) && !probe.contains('\n');
        asks && body.all(|line| line.starts_with("sleep") || line.starts_with("echo"))
    })
}

/// Tells whether a script of the repository that a job runs asks a server until it answers.
fn script_waits_endlessly(repository: &Repository, flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    let scripts = |(step, facts)| own_scripts::files_of(&repository.files, (job, step), facts);
    flow.steps(at).flat_map(scripts).any(|script| {
        let text = &script.text;
        let loops = text.contains("while ") || text.contains("until ");
        loops && !text.contains("timeout ") && waits_endlessly(script.lower())
    })
}

/// Tells whether a script turns round for ever until something answers: `while true; do if curl ...; then break; fi; sleep 9; done`.
fn turns_endlessly(scripts: &str, probes: &[&str]) -> bool {
    let opens = ["while true", "while :", "until false", "while [ 1 ]", "while [[ true ]]"];
    opens.iter().flat_map(|word| scripts.match_indices(word)).any(|(at, _)| {
        let rest = &scripts[at..];
        let Some((turn, _)) = rest.split_once("\ndone").or_else(|| rest.split_once(" done")) else {
            return false;
        };
        // What counts, or looks at the clock, ends; so does what leaves for another reason than that it is there.
        let counts =
            ["((", "$((", "expr ", "let ", "seconds", "date", "attempt", "count", "retr", "timeout", "exit"];
        turn.contains("sleep")
            && (turn.contains("break") || turn.contains("return"))
            && probes.iter().any(|probe| turn.contains(probe))
            && !counts.iter().any(|word| turn.contains(word))
    })
}

/// Tells why a job can hang.
fn risk(repository: &Repository, flow: &Flow, at: usize) -> Option<&'static str> {
    let job = &flow.model.jobs[at];
    if job.timeout.is_some() || job.uses.is_some() || job.steps.is_empty() {
        return None;
    }
    // A timeout on the long steps is as good.
    if job.steps.iter().any(|step| step.timeout.is_some()) {
        return None;
    }
    let actions = || flow.facts[at].iter().flat_map(|facts| &facts.actions);
    if actions().any(|name| MODELS.iter().any(|model| name.starts_with(model))) {
        return Some("lets a model work");
    }
    if let Some((_, why)) = WAITERS.iter().find(|(waiter, _)| actions().any(|name| name.starts_with(waiter)))
    {
        return Some(why);
    }
    let mut scripts: String = job.steps.iter().flat_map(|step| [step.script(), "\n"]).collect();
    for step in &job.steps {
        if let Some(Uses::Local(path)) = step.action()
            && let Some(action) = repository.github.actions.get(&**path)
        {
            scripts.extend(action.model.steps.iter().flat_map(|step| [step.script(), "\n"]));
        }
        scripts.extend(
            step.with
                .iter()
                .filter(|(name, _)| name.text.contains("notarize") || name.text.contains("command"))
                .flat_map(|(_, value)| [&*value.text, "\n"]),
        );
    }
    scripts.make_ascii_lowercase();
    // Its own bound on what waits.
    if scripts.contains("timeout ") && !scripts.contains("exec") {
        return None;
    }
    let heavy = flow.facts[at].iter().any(|facts| {
        facts.works.iter().any(|done| matches!(done.work.kind, Kind::Test | Kind::Build | Kind::Unknown))
    });
    let own = job.runs_on.iter().any(|label| label.literal().is_some_and(|label| label == "self-hosted"));
    if waits_endlessly(&scripts) || script_waits_endlessly(repository, flow, at) {
        return Some(ENDLESS);
    }
    static WORDS: LazyLock<Words> =
        LazyLock::new(|| Words::new(&WAITS.iter().map(|(word, _)| *word).collect::<Vec<_>>()));
    let waits = if heavy && WORDS.is_in_lower(&scripts) { WAITS } else { &[] };
    let waits = waits.iter().find(|(word, _)| scripts.contains(word)).map(|(_, why)| *why);
    // There is nobody else's limit on a runner of one's own, and whoever waits for it waits too.
    let delivers = flow.facts[at].iter().any(|facts| facts.mutation().is_some());
    waits.or_else(|| (own && (heavy || delivers)).then_some("holds a runner of your own"))
}
