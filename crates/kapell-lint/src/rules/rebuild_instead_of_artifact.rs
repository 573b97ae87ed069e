//! A job builds again what a job before it has built and uploaded.

mod given; // what a build is given: folder and variables

use kapell_spec::github::{Condition, Step};

use self::given::Given;
use crate::github::{Flow, StepFacts, carry, cost, facts::Done, globs, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule, WORTH_SECONDS},
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/rebuild-instead-of-artifact.md`.
pub(super) static RULE: Rule = Rule {
    name: "rebuild-instead-of-artifact",
    summary: "A job builds again what a job before it has built and uploaded",
    group: Group::Dead,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/rebuild-instead-of-artifact.md"),
    check,
};

/// Builds that take less are not worth an artifact, in seconds.
const LEAST: u32 = 20;

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, _) in flow.jobs() {
            for &up in &flow.closures[at] {
                again(repository, flow, (at, up), report);
            }
        }
    }
}

/// Tells whether it is told of a job that it builds again what `up` has built and uploaded: it waits for that with a reason,
/// only makes nothing of it.
pub(super) fn tells(repository: &Repository, flow: &Flow, (at, up): (usize, usize)) -> bool {
    rebuilt(repository, flow, (at, up)).is_some_and(|found| found.uploaded)
}

/// A build of a job.
struct Build<'a> {
    command: String,
    /// How long it takes, in seconds.
    seconds: u32,
    /// What it is given.
    given: Given<'a>,
}

/// Returns the first build of a job that takes long enough to be worth an artifact.
fn first_build(flow: &Flow, job: usize) -> Option<Build<'_>> {
    let mut steps = flow.steps(job).filter(|(step, _)| step.condition.is_none());
    steps.find_map(|(step, facts)| {
        let builds = |done: &&Done| {
            (done.work.kind == Kind::Build || packages(done))
                && done.command.is_some()
                && done.work.seconds >= LEAST
        };
        let done = facts.works.iter().find(builds)?;
        Some(Build {
            command: essence(&done.text),
            seconds: done.work.seconds,
            given: Given::of(flow, job, (step, facts), done),
        })
    })
}

/// Words in the names and paths of artifacts that hold what a run has found out, and nothing that was built.
const FOUND: &[&str] = &[
    "report",
    "result",
    "coverage",
    "screenshot",
    "trace",
    "video",
    "log",
    "junit",
    "snapshot",
    "diff",
    "sarif",
    "sbom",
    "stats",
];

/// Tells whether a step keeps what was built for others: no report, and nothing that is kept after a failure, too.
fn keeps_build((step, facts): (&Step, &StepFacts)) -> bool {
    let path = step.input("path").map_or("", |path| &path.text);
    let found = |text: &str| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| FOUND.iter().any(|known| word.trim_end_matches('s').eq_ignore_ascii_case(known)))
    };
    let of_people = |name: &String| found(name);
    !facts.uploads.is_empty()
        && !step.condition.as_ref().is_some_and(Condition::asks_status)
        && !found(path)
        && !facts.uploads.iter().flat_map(|upload| &upload.names).any(of_people)
}

/// Tells whether tests are run by what packages as well: `mvn verify`, `gradle build`.
fn packages(done: &Done) -> bool {
    done.work.kind == Kind::Test && essence(&done.text) != done.text
}

/// Flags of Maven and Gradle that change nothing of what they build, how they begin.
const ASIDE: &[&str] = &[
    "-B",
    "-ntp",
    "--batch-mode",
    "--no-transfer-progress",
    "-q",
    "--quiet",
    "-U",
    "-e",
    "-DskipTests",
    "-DskipITs",
    "-Dmaven.test.skip",
    "-Dmaven.javadoc.skip",
    "--no-daemon",
    "--info",
    "--stacktrace",
    "--parallel",
    "--build-cache",
];

/// Returns a command as what it builds: without flags that skip tests or say how much is printed. Behind `verify` and
/// `install` the package of Maven is the same.
fn essence(text: &str) -> String {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let program = words.first().map_or("", |word| word.trim_start_matches("./"));
    if let ["docker" | "podman", "build", given @ ..] | ["docker", "buildx", "build", given @ ..] = &words[..]
    {
        return image(given);
    }
    let (maven, gradle) = (matches!(program, "mvn" | "mvnw"), matches!(program, "gradle" | "gradlew"));
    let goals = ["package", "verify", "install"];
    if !(maven && words.iter().any(|word| goals.contains(word)) || gradle && words.contains(&"build")) {
        return text.to_owned();
    }
    while let Some(at) = words.windows(2).position(|pair| gradle && pair[0] == "-x") {
        words.drain(at..at + 2);
    }
    let kept = words[1..].iter().filter(|word| **word != "clean" && !aside(word));
    let kept = kept.map(|word| if maven && goals.contains(word) { "package" } else { word });
    let own = if maven { "maven" } else { "gradle" };
    std::iter::once(own).chain(kept).collect::<Vec<_>>().join(" ")
}

/// Returns how an image is built: whatever it is called, and however much is printed.
///
/// Source: Docker, `docker buildx build`: `--tag` names the image, `--load` and `--push` say where it goes.
fn image(given: &[&str]) -> String {
    let mut kept = vec!["docker build"];
    let mut words = given.iter();
    while let Some(word) = words.next() {
        match *word {
            "-t" | "--tag" => {
                words.next();
            }
            "-q" | "--quiet" | "--load" | "--push" | "--pull" => {}
            word if ["--tag=", "--progress="].iter().any(|flag| word.starts_with(flag)) => {}
            word => kept.push(word),
        }
    }
    kept.join(" ")
}

/// Tells whether a flag changes nothing of what is built.
fn aside(word: &str) -> bool {
    ASIDE
        .iter()
        .any(|flag| word == *flag || word.strip_prefix(flag).is_some_and(|rest| rest.starts_with('=')))
}

/// A build that is done a second time.
struct Rebuilt<'a> {
    command: String,
    /// How long it takes, in seconds.
    seconds: u32,
    /// The second time: file, job, step.
    flow: &'a Flow,
    job: usize,
    step: &'a Step,
    /// Whether the first job uploads something.
    uploaded: bool,
}

/// Finds what a job, or one that it calls, builds again though `up` has built it.
fn rebuilt<'a>(repository: &'a Repository, flow: &'a Flow, (at, up): (usize, usize)) -> Option<Rebuilt<'a>> {
    let github = &repository.github;
    let (first, job) = (&flow.model.jobs[up], &flow.model.jobs[at]);
    if first.matrix.is_some() {
        return None;
    }
    let Build { command, seconds, given } = first_build(flow, up)?;
    let uploaded = flow.steps(up).any(keeps_build);
    github.deep(flow, at).into_iter().find_map(|(other, index)| {
        let second = &other.model.jobs[index];
        let same_system = job.uses.is_some()
            || first
                .runs_on
                .iter()
                .map(|label| &label.text)
                .eq(second.runs_on.iter().map(|label| &label.text));
        // The pages that a job puts online are taken from what it has uploaded itself.
        let own = || other.facts[index].iter().flat_map(|facts| &facts.uploads);
        let takes = other.facts[index]
            .iter()
            .flat_map(|facts| &facts.downloads)
            .any(|down| !own().any(|up| globs::any_overlap(&up.names, &down.names)));
        // What is tried out again may be built again; what goes out should be what was tested.
        // A machine of one's own keeps the layers of an image.
        let kept =
            command.starts_with("docker build") && second.runs_on.iter().any(|label| label.is("self-hosted"));
        if second.matrix.is_some()
            || !same_system
            || takes
            || kept
            || !uploaded && !carry::changes(other, index)
        {
            return None;
        }
        let built = |step: &Step, facts: &StepFacts| {
            let same = |done: &&Done| {
                done.work.kind == Kind::Build
                    && essence(&done.text) == command
                    && Given::of(other, index, (step, facts), done).is_same(&given)
            };
            facts.works.iter().find(same).map(|done| done.text.clone())
        };
        let mut steps = other.steps(index).filter(|(step, _)| step.condition.is_none());
        let (step, written) = steps.find_map(|(step, facts)| Some((step, built(step, facts)?)))?;
        Some(Rebuilt { command: written, seconds, flow: other, job: index, step, uploaded })
    })
}

fn again(repository: &Repository, flow: &Flow, (at, up): (usize, usize), report: &mut Report<'_>) {
    let Some(found) = rebuilt(repository, flow, (at, up)) else { return };
    let (first, job) = (&flow.model.jobs[up], &flow.model.jobs[at]);
    // Of a called workflow it is not known whether the step lies on the longest path through it.
    let sooner = match job.uses {
        None => cost::sooner(&repository.github, flow, repository.timings.as_ref(), at, found.seconds),
        Some(_) => 0,
    };
    report
        .add(
            found.flow.file,
            found.step.span,
            format!(
                "`{}` runs `{}` again, which `{}` has run{}",
                found.flow.model.jobs[found.job].id.text,
                found.command,
                first.id.text,
                if found.uploaded { " and uploaded" } else { ", and delivers what nobody has tested" }
            ),
        )
        .also(flow.file, first.id.span, "built here first")
        .spares(sooner)
        .severity(if found.seconds < WORTH_SECONDS { Severity::Low } else { Severity::Medium })
        .hint(match found.command.contains("docker") || found.command.contains("podman") {
            true => {
                "push it once under a name of the commit, test that, and give it its other names afterwards"
            }
            false => "hand it on as an artifact, so that what is tested is what was built",
        })
        .done();
}
