//! Several parts of a repository, each in a language of its own, are tested one after the other in one job.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, cost, tools::Kind},
    repository::Repository,
    rule::{Report, names},
};

/// Actions that set a language up.
const LANGUAGES: &[&str] = &[
    "actions/setup-python",
    "actions/setup-node",
    "actions/setup-go",
    "actions/setup-java",
    "actions/setup-dotnet",
    "ruby/setup-ruby",
    "shivammathur/setup-php",
    "dtolnay/rust-toolchain",
    "erlef/setup-beam",
    "astral-sh/setup-uv",
];

/// The least number of parts that are worth jobs of their own.
const PARTS: usize = 3;

/// What a job does for a part of the repository.
struct Part<'a> {
    folder: &'a str,
    /// The first of its steps, and the one behind its last.
    steps: (usize, usize),
    seconds: u32,
}

/// Tells of a job that sets up three languages or more, and tests with each of them in a folder of its own.
pub(super) fn check(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let Some(parts) = parts(flow, at).filter(|parts| parts.len() >= PARTS && apart(flow, at, parts)) else {
        return;
    };
    let job = &flow.model.jobs[at];
    let all: u32 = parts.iter().map(|part| part.seconds).sum();
    let longest = parts.iter().map(|part| part.seconds).max().unwrap_or(0);
    let sooner = cost::sooner(&repository.github, flow, repository.timings.as_ref(), at, all - longest);
    report
        .add(
            flow.file,
            job.id.span,
            format!(
                "`{}` tests {} one after the other, and none takes anything from another",
                job.id.text,
                names(parts.iter().map(|part| part.folder))
            ),
        )
        .severity(Severity::Low)
        .confidence(Confidence::Medium)
        .saving(sooner)
        .hint("give each a job of its own")
        .done();
}

/// Returns the parts of a job; `None` where something is tested at the top, in two folders, or in some runs only.
fn parts(flow: &Flow, at: usize) -> Option<Vec<Part<'_>>> {
    let job = &flow.model.jobs[at];
    let starts: Vec<usize> = (0..job.steps.len())
        .filter(|&index| {
            let actions = &flow.facts[at][index].actions;
            LANGUAGES.iter().any(|language| actions.first().is_some_and(|action| action == language))
        })
        .collect();
    if starts.len() < PARTS {
        return None;
    }
    let ends = starts.iter().skip(1).copied().chain([job.steps.len()]);
    let mut found: Vec<Part<'_>> = Vec::new();
    for (start, end) in starts.iter().copied().zip(ends) {
        let mut folder = None;
        for index in start..end {
            let (step, facts) = (&job.steps[index], &flow.facts[at][index]);
            if !facts.does(Kind::Test) {
                continue;
            }
            let own = step.folder.as_ref()?.literal()?.trim_matches(['.', '/']);
            let plain =
                step.condition.is_none() && !own.is_empty() && folder.is_none_or(|folder| folder == own);
            folder = plain.then_some(own);
            folder?;
        }
        let folder = folder?;
        let seconds = flow.facts[at][start..end].iter().map(|facts| facts.seconds()).sum();
        let known = found.iter().any(|part| part.folder == folder);
        (!known).then(|| found.push(Part { folder, steps: (start, end), seconds }))?;
    }
    Some(found)
}

/// Tells whether no part speaks of the folder of another one, and none starts or brings anything that another may use.
fn apart(flow: &Flow, at: usize, parts: &[Part<'_>]) -> bool {
    let steps = &flow.model.jobs[at].steps;
    parts.iter().all(|part| {
        let (start, end) = part.steps;
        let mut own = steps[start..end].iter().zip(&flow.facts[at][start..end]);
        own.all(|(step, facts)| {
            let speaks = |other: &Part<'_>| {
                other.folder != part.folder
                    && step.script().contains(other.folder.rsplit('/').next().unwrap_or(other.folder))
            };
            let known = |kind: Kind| {
                !matches!(kind, Kind::Unknown | Kind::Upload | Kind::Download) && !kind.mutates()
            };
            !parts.iter().any(speaks)
                && !step.script().contains("GITHUB_")
                && facts.works.iter().all(|done| known(done.work.kind))
        })
    })
}
