//! Two workflows run the same checks on the same event.

mod calls; // what both call
mod cells; // a job that is one cell of another one

use kapell_spec::github::{Job, Name, Step};
use kapell_view::audit::{Confidence, Severity};
use std::{cell::OnceCell, collections::BTreeMap};

use crate::github::{Flow, globs, tools::Kind, world::World};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule, WORTH_SECONDS},
};

/// See `docs/rules/duplicate-work.md`.
pub(super) static RULE: Rule = Rule {
    name: "duplicate-work",
    summary: "Two workflows run the same checks on the same event",
    group: Group::Waste,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/duplicate-work.md"),
    check,
};

/// The least that is done twice, in seconds.
const LEAST: u32 = 30;

/// The least that a workflow with nothing else in it does again, in seconds.
const LEAST_ALONE: u32 = 60;

/// A check that runs twice.
struct Twice<'a> {
    /// How long it takes.
    seconds: u32,
    command: &'a str,
    /// Where it runs in the first workflow, and in the second.
    one: At<'a>,
    other: At<'a>,
}

/// Where a check runs.
#[derive(Clone, Copy)]
struct At<'a> {
    flow: &'a Flow,
    /// The number of the job, and that of the step in it.
    job: usize,
    step: usize,
}

impl<'a> At<'a> {
    fn job(self) -> &'a Job {
        &self.flow.model.jobs[self.job]
    }

    fn step(self) -> &'a Step {
        &self.job().steps[self.step]
    }
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    let starts = |flow| ["pull_request", "push"].map(|event| Changes::of(flow, event));
    let flows: Vec<_> = repository.github.flows.iter().map(starts).collect();
    for (index, first) in flows.iter().enumerate() {
        for second in &flows[index + 1..] {
            let mut both =
                first.iter().zip(second).filter_map(|(left, right)| left.as_ref().zip(right.as_ref()));
            if let Some((left, right)) = both.find(|(left, right)| left.overlaps(right))
                && !calls::compare(&repository.github, left, right, report)
            {
                compare(left, right, report);
            }
        }
    }
}

/// The changes by which an event starts a workflow.
struct Changes<'a> {
    flow: &'a Flow,
    event: &'static str,
    branches: Vec<String>,
    paths: Option<Vec<&'a str>>,
    paths_ignore: Option<Vec<&'a str>>,
    checks: OnceCell<Checks<'a>>,
}

impl<'a> Changes<'a> {
    fn of(flow: &'a Flow, name: &'static str) -> Option<Self> {
        let event = flow.model.event(name)?;
        let plain = event
            .filters
            .iter()
            .all(|filter| matches!(&*filter.key.text, "branches" | "types" | "paths" | "paths-ignore"));
        let comes = |item: &Name| matches!(&*item.text, "synchronize" | "opened");
        if !plain || event.filter("types").is_some_and(|types| !types.items.iter().any(comes)) {
            return None;
        }
        let named = |key: &str| -> Option<Vec<&'a str>> {
            let mut names: Vec<&str> = event.filter(key)?.items.iter().map(|item| &*item.text).collect();
            // A workflow that watches its own file is about that file too.
            names.retain(|name| !name.starts_with(".github/"));
            names.sort_unstable();
            Some(names)
        };
        let branches = named("branches").unwrap_or_else(|| vec!["*"]);
        Some(Self {
            flow,
            event: name,
            branches: branches.into_iter().map(globs::widen).collect(),
            paths: named("paths"),
            paths_ignore: named("paths-ignore"),
            checks: OnceCell::new(),
        })
    }

    /// Tells whether both are the same changes: of one branch, and of the same paths or any.
    fn overlaps(&self, other: &Self) -> bool {
        self.paths == other.paths
            && self.paths_ignore == other.paths_ignore
            && globs::any_overlap(&self.branches, &other.branches)
    }

    /// Returns what the workflow always checks then.
    fn checks(&self) -> &Checks<'a> {
        self.checks.get_or_init(|| checks(self.flow, self.event))
    }
}

/// Checks by command and folder.
type Checks<'a> = BTreeMap<(String, String), Check<'a>>;

/// A check of a workflow.
struct Check<'a> {
    /// How long it takes.
    seconds: u32,
    /// Its words without its flags, such as `pytest` or `ruff check src`: each is held against those of all others.
    words: Vec<String>,
    at: At<'a>,
}

impl<'a> Check<'a> {
    fn new(seconds: u32, command: &str, at: At<'a>) -> Self {
        let words = plain(command);
        let words = words.split(' ').filter(|word| !word.starts_with('-'));
        Self { seconds, words: words.map(|word| word.trim_end_matches('/').to_owned()).collect(), at }
    }
}

/// Returns the checks of a workflow that always run on an event.
fn checks<'a>(flow: &'a Flow, event: &str) -> Checks<'a> {
    let on_event = |world: &World| world.event.as_deref() == Some(event);
    let mut found = BTreeMap::new();
    for (at, job) in flow.jobs() {
        if job.condition.is_some() || job.container || !job.services.is_empty() || !flow.may_run(at, on_event)
        {
            continue;
        }
        // The names of systems and versions may differ.
        for (index, (step, facts)) in flow.steps(at).enumerate() {
            if step.condition.is_some() {
                continue;
            }
            let folder = step
                .folder
                .as_ref()
                .or(job.folder.as_ref())
                .map_or(String::new(), |folder| folder.text.to_string());
            for done in facts
                .works
                .iter()
                .filter(|done| done.command.is_some() && matches!(done.work.kind, Kind::Lint | Kind::Test))
            {
                if done.text.contains("${{") || done.text.contains('$') {
                    continue;
                }
                let program = done
                    .command
                    .and_then(|at| facts.commands.get(at))
                    .map_or_else(String::new, |command| command.inner().join(" "));
                let check = Check::new(done.work.seconds, &program, At { flow, job: at, step: index });
                found.entry((program, folder.clone())).or_insert(check);
            }
            // An action that checks, and is given the same.
            let checks = facts.works.iter().find(|done| {
                done.command.is_none() && matches!(done.work.kind, Kind::Lint) && done.text.contains('/')
            });
            if let Some(done) = checks.filter(|_| step.uses.is_some()) {
                let given: Vec<String> =
                    step.with.iter().map(|(name, text)| format!(" {}={}", name.text, text.text)).collect();
                let whole = format!("{}{}", done.text, given.concat());
                if !whole.contains("${{") {
                    let check = Check::new(done.work.seconds, &whole, At { flow, job: at, step: index });
                    found.entry((whole, folder)).or_insert(check);
                }
            }
        }
    }
    found
}

/// Tells whether the words of two checks are the same, or those of one a part of the other.
fn same_check(left: &[String], right: &[String]) -> bool {
    // `pytest tests/unit` is a part of `pytest`.
    left == right
        || left.len() == 1 && right.first() == left.first() && left[0] == "pytest"
        || right.len() == 1 && left.first() == right.first() && right[0] == "pytest"
}

/// Flags that change what a run of tests writes down or how fast it is, and not what it tests.
const ASIDE: &[&str] = &[
    "-cover",
    "--cov",
    "--coverage",
    "-v",
    "--verbose",
    "--color",
    "--junit",
    "-B",
    "--batch-mode",
    "-ntp",
    "--no-transfer-progress",
    "-q",
    "--quiet",
    "--no-daemon",
    "--stacktrace",
    "--info",
    "--no-progress",
    "--testdox",
    "--nologo",
    "--no-build",
    "--no-restore",
    "--memory-limit",
    "-count=1",
];

/// The same flags with their value as the next word.
const ASIDE_VALUES: &[&str] = &[
    "-coverprofile",
    "-covermode",
    "-coverpkg",
    "--cov-report",
    "--verbosity",
    "--logger",
    "--results-directory",
];

/// Returns a script without the flags that only change what it writes down, and without what names its program in another
/// way: `./mvnw clean verify` is `mvn verify`.
fn plain(script: &str) -> String {
    let mut words = script.split_whitespace();
    let mut kept: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        if ASIDE_VALUES.contains(&word) {
            words.next();
        } else if !ASIDE.iter().any(|flag| word.starts_with(flag)) {
            kept.push(word.trim_start_matches("./").to_owned());
        }
    }
    let wrapped = match kept.first().map(String::as_str) {
        Some("mvnw" | "mvn") => Some("mvn"),
        Some("gradlew" | "gradle") => Some("gradle"),
        _ => None,
    };
    if let Some(program) = wrapped {
        program.clone_into(&mut kept[0]);
        kept.retain(|word| word != "clean");
        // The file that it reads anyway.
        if let Some(at) =
            kept.windows(2).position(|pair| pair == ["--file", "pom.xml"] || pair == ["-f", "pom.xml"])
        {
            kept.drain(at..at + 2);
        }
    }
    if kept.first().is_some_and(|word| word == "dotnet") {
        for word in &mut kept {
            if word == "-c" {
                "--configuration".clone_into(word);
            }
        }
    }
    kept.join(" ")
}

/// Tells whether a check is the same in both to the letter, but for what it writes down, on the same runner, or in a cell that does
/// all of the other job: what a workflow is for that has no other.
fn is_copy(&Twice { one, other, .. }: &Twice<'_>) -> bool {
    let script = |at: At<'_>| plain(at.step().script());
    let (left, right) = (one.job(), other.job());
    let runs_alike = match (&left.matrix, &right.matrix) {
        (None, None) => cells::runners(left, &[]) == cells::runners(right, &[]),
        (Some(_), None) => cells::has(left, right, other.step),
        (None, Some(_)) => cells::has(right, left, one.step),
        (Some(_), Some(_)) => false,
    };
    runs_alike && script(one) == script(other) && left.env.is_empty() == right.env.is_empty()
}

/// Tells whether it is the second of two jobs that is one cell of the other one; `None` if neither is.
fn one_cell(&Twice { one, other, .. }: &Twice<'_>) -> Option<bool> {
    let has_cells = |at: At<'_>| at.job().matrix.is_some();
    (has_cells(one) != has_cells(other)).then(|| has_cells(one))
}

/// Tells whether the scripts of a check are the same to the letter.
fn is_same(&Twice { one, other, .. }: &Twice<'_>) -> bool {
    let cover = |script: &str| script.contains("cov");
    let (one, other) = (one.step().script().trim(), other.step().script().trim());
    one == other || !cover(one) && !cover(other)
}

/// Tells whether a job does nothing but one check, and what has to come before it.
fn does_nothing_else(&At { flow, job, step }: &At<'_>) -> bool {
    let prepares = |kind: Kind| {
        matches!(kind, Kind::Trivial | Kind::Checkout | Kind::Setup | Kind::Install | Kind::Cache)
    };
    let own = |index: usize, kind: Kind| index == step && matches!(kind, Kind::Lint | Kind::Test);
    let mut steps = flow.steps(job).enumerate();
    let only = steps.all(|(index, (_, facts))| {
        facts.works.iter().all(|done| prepares(done.work.kind) || own(index, done.work.kind))
    });
    let checks = flow.facts[job][step].works.iter().filter(|done| own(step, done.work.kind));
    only && checks.count() == 1
}

/// What one of two workflows does for nothing.
struct Wasted<'a> {
    twice: Vec<Twice<'a>>,
    /// Whether it is the second workflow that adds nothing.
    swap: bool,
    /// Whether the checks are the same to the letter, where there is but one.
    same: bool,
}

/// Decides whether checks that two workflows have in common are worth a word: half of the smaller one, all of it, or a whole job.
fn wasted<'a>(left: &Checks<'a>, right: &Checks<'a>, mut twice: Vec<Twice<'a>>) -> Option<Wasted<'a>> {
    let total: u32 = twice.iter().map(|found| found.seconds).sum();
    // The smaller workflow is the one that adds nothing; a single check in common is no copy.
    let swap = left.len() > right.len();
    let smaller = left.len().min(right.len());
    if smaller == 1 && total >= LEAST_ALONE && twice.first().is_some_and(is_copy) {
        // Once more for what it writes down: that can be had in one, but nobody has to.
        let same = twice.first().is_some_and(is_same);
        let swap = one_cell(&twice[0]).unwrap_or(swap);
        return Some(Wasted { twice, swap, same });
    }
    if twice.len() >= 2 && total >= LEAST && twice.len() * 2 >= smaller {
        return Some(Wasted { twice, swap, same: true });
    }
    let job = |found: &Twice<'_>| {
        let alone = does_nothing_else(&found.one) || does_nothing_else(&found.other);
        alone && found.seconds >= LEAST_ALONE && is_copy(found) && is_same(found)
    };
    let found = twice.iter().position(job)?;
    let found = twice.swap_remove(found);
    let swap = one_cell(&found).unwrap_or(!does_nothing_else(&found.one));
    Some(Wasted { twice: vec![found], swap, same: true })
}

fn compare(first: &Changes<'_>, second: &Changes<'_>, report: &mut Report<'_>) {
    let (left, right) = (first.checks(), second.checks());
    let (first, second, event) = (first.flow, second.flow, first.event);
    let mut twice: Vec<Twice<'_>> = Vec::new();
    for ((command, folder), Check { seconds, words, at }) in left {
        let same = |((_, place), other): &(&(String, String), &Check<'_>)| {
            place == folder && same_check(words, &other.words)
        };
        if let Some((_, other)) = right.iter().find(same) {
            twice.push(Twice { seconds: *seconds, command, one: *at, other: other.at });
        }
    }
    let Some(Wasted { twice, swap, same }) = wasted(left, right, twice) else { return };
    let total: u32 = twice.iter().map(|found| found.seconds).sum();
    let (flow, other) = if swap { (second, first) } else { (first, second) };
    let commands: Vec<String> = twice.iter().map(|found| format!("`{}`", found.command)).collect();
    let first = if swap { twice[0].other } else { twice[0].one };
    let span = flow.job_span(first.job);
    let mut draft = report
        .add(
            flow.file,
            span,
            format!(
                "on a {} `{}` runs again what `{}` runs: {}",
                event.replace('_', " "),
                flow.name(),
                other.name(),
                commands.join(", ")
            ),
        )
        .runners(total)
        .severity(if total < WORTH_SECONDS || !same { Severity::Low } else { Severity::Medium })
        .hint("let one of them run it, or let the quick one be a gate for the long one");
    for found in &twice {
        let again = if swap { found.one } else { found.other };
        draft = draft.also(again.flow.file, again.step().span, "runs here too");
    }
    draft.done();
}
