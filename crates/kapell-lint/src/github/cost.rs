//! How long jobs take, and the longest path through them.
//!
//! Times are priors of [`super::tools`], what comments at the heads of jobs say, or durations that were recorded. Times are
//! seconds.

use std::collections::BTreeMap;

use kapell_spec::{finding::Span, github::Job};
use serde::{Deserialize, Serialize};

use super::{Flow, Github, comments, world::World};

/// Recorded durations of jobs, in the shape of `gh run view --json workflowName,jobs`: one run or a list of runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timings {
    runs: Vec<Recording>,
}

/// What was recorded of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Recording {
    /// The workflow as GitHub names it, where the record says it.
    workflow: Option<String>,
    /// Seconds by the name of the job as GitHub shows it.
    jobs: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "it is neither a run with its jobs nor a list of such runs")]
enum Recorded {
    One(RecordedRun),
    Many(Vec<RecordedRun>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordedRun {
    #[serde(default)]
    workflow_name: Option<String>,
    jobs: Vec<RecordedJob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordedJob {
    name: String,
    #[serde(default)]
    started_at: Option<String>,
    #[serde(default)]
    completed_at: Option<String>,
    #[serde(default)]
    conclusion: Option<String>,
}

impl RecordedJob {
    /// Returns how long it took, in seconds, if it came to its end: what failed or was cancelled says nothing of that, and
    /// of one under way GitHub says that it ended in the year 1.
    fn seconds(&self) -> Option<u32> {
        if self.conclusion.as_deref().is_some_and(|conclusion| conclusion != "success") {
            return None;
        }
        let start = self.started_at.as_deref().and_then(seconds)?;
        let end = self.completed_at.as_deref().and_then(seconds)?;
        u32::try_from(end.checked_sub(start)?).ok()
    }
}

impl Timings {
    /// Reads recorded runs.
    ///
    /// # Errors
    ///
    /// Fails if the text is no JSON of that shape.
    pub fn read(json: &str) -> Result<Self, serde_json::Error> {
        let runs = match serde_json::from_str(json)? {
            Recorded::One(run) => vec![run],
            Recorded::Many(runs) => runs,
        };
        let recording = |run: RecordedRun| {
            let mut jobs: BTreeMap<String, u32> = BTreeMap::new();
            for (job, length) in run.jobs.iter().filter_map(|job| Some((job, job.seconds()?))) {
                let entry = jobs.entry(job.name.clone()).or_default();
                *entry = (*entry).max(length);
            }
            Recording { workflow: run.workflow_name.filter(|name| !name.is_empty()), jobs }
        };
        Ok(Self { runs: runs.into_iter().map(recording).collect() })
    }

    /// Returns what was recorded of a workflow. A record that names none counts where all its jobs are jobs of that workflow
    /// and of no other.
    #[must_use]
    pub fn of(&self, github: &Github, flow: &Flow) -> Lengths {
        let mut all: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let alone = |run: &Recording| {
            let mut fits = github.flows.iter().filter(|other| run.fits(other));
            fits.next().is_some_and(|found| found.path == flow.path) && fits.next().is_none()
        };
        for run in &self.runs {
            let is_of = match &run.workflow {
                Some(name) => name == flow.run_name(),
                None => alone(run),
            };
            for (name, &seconds) in run.jobs.iter().filter(|_| is_of) {
                all.entry(name).or_default().push(seconds);
            }
        }
        let medians =
            all.into_iter().filter_map(|(name, lengths)| Some((name.to_owned(), median(&lengths)?)));
        Lengths(medians.collect())
    }
}

impl Recording {
    /// Tells whether every job of the record is one of a workflow.
    fn fits(&self, flow: &Flow) -> bool {
        let is_of = |shown: &String| flow.jobs().any(|(_, job)| Shown::of(job).is(shown));
        !self.jobs.is_empty() && self.jobs.keys().all(is_of)
    }
}

/// How GitHub shows a job: its cells and the jobs that it calls are `name (a, b)` and `name / job`.
struct Shown<'a> {
    stem: &'a str,
    /// Whether an expression follows.
    open: bool,
}

impl<'a> Shown<'a> {
    fn of(job: &'a Job) -> Self {
        let name = job.name.as_ref().map(|name| &*name.text);
        let open = name.is_some_and(|name| name.contains("${{"));
        let stem = name.map_or(&*job.id.text, |name| name.split("${{").next().unwrap_or(name).trim_end());
        Self { stem, open }
    }

    /// Tells whether a name that GitHub shows is the job's.
    fn is(&self, shown: &str) -> bool {
        self.rest(shown).is_some()
    }

    /// Returns what follows the job's name, if it is the job's.
    fn rest<'s>(&self, shown: &'s str) -> Option<&'s str> {
        let rest = shown.strip_prefix(self.stem)?;
        let goes_on = rest.starts_with(" (") || rest.starts_with(" / ") || self.open;
        (rest.is_empty() || goes_on && !self.stem.is_empty()).then_some(rest)
    }
}

/// Recorded seconds of the jobs of a workflow, by the names that GitHub shows: medians over all runs.
#[derive(Debug, Clone, Default)]
pub struct Lengths(BTreeMap<String, u32>);

impl Lengths {
    /// Returns how long a job took: its slowest cell.
    #[must_use]
    pub fn job(&self, job: &Job) -> Option<u32> {
        let shown = Shown::of(job);
        self.0.iter().filter(|(name, _)| shown.is(name)).map(|(_, &seconds)| seconds).max()
    }

    /// Returns what was recorded of the workflow that a job calls: in its slowest cell, where it has several.
    fn within(&self, job: &Job) -> Self {
        let shown = Shown::of(job);
        let mut inner: BTreeMap<String, u32> = BTreeMap::new();
        for (name, &seconds) in &self.0 {
            let Some((_, name)) = shown.rest(name).and_then(|rest| rest.split_once(" / ")) else { continue };
            let entry = inner.entry(name.to_owned()).or_default();
            *entry = (*entry).max(seconds);
        }
        Self(inner)
    }
}

/// Tells whether any length of a workflow was recorded; the others are predicted.
#[must_use]
pub fn is_recorded(github: &Github, flow: &Flow, timings: Option<&Timings>) -> bool {
    timings.is_some_and(|timings| !timings.of(github, flow).0.is_empty())
}

fn median(lengths: &[u32]) -> Option<u32> {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len().is_multiple_of(2) { u32::midpoint(sorted[middle - 1], upper) } else { upper })
}

/// Reads `2026-01-02T03:04:05Z` as seconds since some day; fractions are cut off.
fn seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    // Days since 1970-03-01 shifted; source: Hinnant, "chrono-compatible low-level date algorithms".
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + day;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Returns how long each job of a workflow takes.
#[must_use]
pub fn durations(github: &Github, flow: &Flow, timings: Option<&Timings>) -> Vec<u32> {
    let lengths = timings.map(|timings| timings.of(github, flow)).unwrap_or_default();
    durations_within(github, flow, &lengths, 0)
}

fn durations_within(github: &Github, flow: &Flow, lengths: &Lengths, depth: usize) -> Vec<u32> {
    let of = |(index, job): (usize, &Job)| match github.called(job) {
        // What it calls is as long as the longest path through that, not as its longest job.
        Some(called) if depth < 4 && !called.model.jobs.is_empty() => {
            let inner = durations_within(github, called, &lengths.within(job), depth + 1);
            longest(called, &inner, &|_, _| true).0
        }
        _ => lengths.job(job).or_else(|| said(flow, job)).unwrap_or_else(|| match job.uses.is_some() {
            true => 120,
            // Ten seconds to find and start a runner.
            false => 10 + flow.facts[index].iter().map(super::StepFacts::seconds).sum::<u32>(),
        }),
    };
    flow.jobs().map(of).collect()
}

/// Returns how long a job takes, in seconds, by a comment at its head: `# takes ~12 min`.
fn said(flow: &Flow, job: &Job) -> Option<u32> {
    if flow.model.comments.is_empty() {
        return None;
    }
    let head = Span { start: job.id.span.start, ..job.span };
    minutes(&comments::at(flow, head, 2)).map(|minutes| minutes * 60)
}

/// The longest that a job of a hosted runner may take, in minutes.
///
/// Source: GitHub, "Actions limits": six hours.
const MINUTES_MAX: u32 = 360;

/// Reads how many minutes something takes, if a text says so and means no limit: `takes about 12 minutes`.
fn minutes(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let mut words = lower.split_whitespace();
    words.find(|word| matches!(*word, "takes" | "take"))?;
    let mut words = words.skip_while(|word| matches!(*word, "about" | "around" | "roughly" | "some" | "~"));
    let number = words.next()?.trim_start_matches('~');
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let unit = if digits == number.len() { words.next()? } else { &number[digits..] };
    let unit = unit.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let minutes = number[..digits].parse().ok().filter(|minutes| (1..=MINUTES_MAX).contains(minutes));
    minutes.filter(|_| matches!(unit, "min" | "mins" | "minutes" | "m"))
}

/// Returns the length of the longest path and the jobs on it, over those edges of `needs` that `kept` keeps.
#[must_use]
pub fn longest(flow: &Flow, durations: &[u32], kept: &dyn Fn(usize, usize) -> bool) -> (u32, Vec<usize>) {
    let needs: Vec<Vec<usize>> = flow
        .jobs()
        .map(|(at, job)| {
            super::conditions::direct(&flow.model, job).into_iter().filter(|&need| kept(need, at)).collect()
        })
        .collect();
    longest_path(&needs, durations)
}

/// Returns how much sooner a run ends if one of its jobs takes so many seconds less.
#[must_use]
pub fn sooner(github: &Github, flow: &Flow, timings: Option<&Timings>, job: usize, less: u32) -> u32 {
    let mut durations = durations(github, flow, timings);
    let length = |durations: &[u32]| longest(flow, durations, &|_, _| true).0;
    let before = length(&durations);
    durations[job] = durations[job].saturating_sub(less);
    before.saturating_sub(length(&durations))
}

/// Returns how long the runners of a workflow work in situations that fit, in seconds of all cells.
#[must_use]
pub fn runner_seconds(
    github: &Github,
    flow: &Flow,
    timings: Option<&Timings>,
    fits: impl Fn(&World) -> bool,
) -> u32 {
    let durations = durations(github, flow, timings);
    // A matrix that an expression makes has a few cells.
    let cells = |job: &Job| {
        let matrix = job.matrix.as_ref();
        matrix.map_or(1, |matrix| matrix.cells().map_or(3, |cells| cells.len().max(1)))
    };
    flow.jobs()
        .filter(|(at, _)| flow.may_run(*at, &fits))
        .map(|(at, job)| durations[at].saturating_mul(u32::try_from(cells(job)).unwrap_or(256)))
        .fold(0, u32::saturating_add)
}

/// The earliest end of each job, and the need that decides it. Jobs on a circle have no end.
type Ends = Vec<Option<(u32, Option<usize>)>>;

fn ends_of(needs: &[Vec<usize>], durations: &[u32]) -> Ends {
    let mut ends: Ends = vec![None; needs.len()];
    for at in order(needs) {
        ends[at] = Some(end_of(&needs[at], durations[at], &ends));
    }
    ends
}

fn end_of(needs: &[usize], duration: u32, ends: &Ends) -> (u32, Option<usize>) {
    let last = needs.iter().copied().max_by_key(|&need| ends[need].map_or(0, |end| end.0));
    let start = last.and_then(|last| ends[last]).map_or(0, |end| end.0);
    (start.saturating_add(duration), last)
}

/// Returns the jobs, each after those that it needs; without those on a circle and those behind one.
fn order(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (at, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|&need| followers[need].push(at));
    }
    let mut order: Vec<usize> = (0..needs.len()).filter(|&at| open[at] == 0).collect();
    let mut next = 0;
    while let Some(&done) = order.get(next) {
        for &at in &followers[done] {
            open[at] -= 1;
            if open[at] == 0 {
                order.push(at);
            }
        }
        next += 1;
    }
    order
}

/// How long the jobs of a workflow take, who waits for whom, and when each is over.
#[derive(Debug)]
pub struct Paths {
    /// How long each job takes, in seconds.
    pub durations: Vec<u32>,
    /// The jobs that each job names in `needs`.
    pub needs: Vec<Vec<usize>>,
    ends: Ends,
    order: Vec<usize>,
    /// How long it takes from the start of each job to the end of the last that waits for it.
    tails: Vec<u32>,
}

impl Paths {
    /// Works out the paths through a workflow.
    #[must_use]
    pub fn of(github: &Github, flow: &Flow, timings: Option<&Timings>) -> Self {
        let needs = flow.jobs().map(|(_, job)| super::conditions::direct(&flow.model, job)).collect();
        Self::new(needs, durations(github, flow, timings))
    }

    fn new(needs: Vec<Vec<usize>>, durations: Vec<u32>) -> Self {
        let (ends, order) = (ends_of(&needs, &durations), order(&needs));
        let mut tails = durations.clone();
        for &at in order.iter().rev() {
            for &need in &needs[at] {
                tails[need] = tails[need].max(durations[need].saturating_add(tails[at]));
            }
        }
        Self { durations, needs, ends, order, tails }
    }

    /// Returns when a job is over at the earliest; 0 for one that waits for itself.
    #[must_use]
    pub fn end(&self, job: usize) -> u32 {
        self.ends[job].map_or(0, |end| end.0)
    }

    /// Returns how much sooner the run is over if `job` waits for none of `gone`.
    #[must_use]
    pub fn sooner(&self, gone: &[usize], job: usize) -> u32 {
        let last = |ends: &Ends| ends.iter().flatten().map(|end| end.0).max().unwrap_or(0);
        let whole = last(&self.ends);
        // On no longest path, it keeps nobody.
        let latest = gone.iter().map(|&need| self.end(need)).max().unwrap_or(0);
        if latest.saturating_add(self.tails[job]) < whole {
            return 0;
        }
        let mut ends = self.ends.clone();
        let from = self.order.iter().position(|&at| at == job).unwrap_or(self.order.len());
        let mut moved = vec![false; self.needs.len()];
        for &at in &self.order[from..] {
            if at == job {
                let rest: Vec<usize> =
                    self.needs[at].iter().copied().filter(|known| !gone.contains(known)).collect();
                ends[at] = Some(end_of(&rest, self.durations[at], &ends));
            } else if self.needs[at].iter().any(|&need| moved[need]) {
                ends[at] = Some(end_of(&self.needs[at], self.durations[at], &ends));
            }
            moved[at] = ends[at] != self.ends[at];
        }
        whole.saturating_sub(last(&ends))
    }
}

/// Returns the length of the longest path and the jobs on it.
#[must_use]
pub fn longest_path(needs: &[Vec<usize>], durations: &[u32]) -> (u32, Vec<usize>) {
    let ends = ends_of(needs, durations);
    let last = (0..needs.len())
        .filter(|&at| ends[at].is_some())
        .max_by_key(|&at| (ends[at].map_or(0, |end| end.0), usize::MAX - at));
    let mut path = Vec::new();
    let mut at = last;
    while let Some(job) = at {
        path.push(job);
        at = ends[job].and_then(|end| end.1);
    }
    path.reverse();
    (last.and_then(|last| ends[last]).map_or(0, |end| end.0), path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;

    fn github(files: &[(&str, &str)]) -> Github {
        let files =
            files.iter().map(|(path, text)| (format!(".github/workflows/{path}"), (*text).to_owned()));
        Github::new(&Files::new(files))
    }

    fn job(name: &str, from: &str, to: &str, conclusion: &str) -> String {
        format!(
            r#"{{"name":"{name}","startedAt":"2026-{from}Z","completedAt":"{to}Z","conclusion":"{conclusion}"}}"#
        )
    }

    fn run(jobs: &[String]) -> String {
        format!(r#"{{"jobs":[{}]}}"#, jobs.join(","))
    }

    #[test]
    fn minutes_are_read_where_they_are_no_limit() {
        let said = ["Takes ~12 min because", "it takes about 12 minutes.", "takes 12m", "take 12 mins,"];
        assert!(said.iter().all(|text| minutes(text) == Some(12)));
        let not = [
            "takes up to 12 minutes",
            "takes 12 s",
            "12 min",
            "takes 0 min",
            "takes ages",
            "takes",
            "takes é",
        ];
        assert!(not.iter().all(|text| minutes(text).is_none()));
    }

    #[test]
    fn recorded_durations_are_the_median_of_the_slowest_cell() {
        let text = "on: push\njobs:\n  test: { runs-on: x, steps: [] }\n  tests: { runs-on: x, steps: [] }\n  \
            x: { name: 'cell (${{ matrix.os }})', runs-on: x, steps: [] }\n  old: { runs-on: x, steps: [] }\n";
        let github = github(&[("ci.yml", text)]);
        let of = |a: u32, b: u32| {
            run(&[
                job("test (linux)", "02-28T23:59:00", &format!("2026-03-01T00:{a:02}:00"), "success"),
                job("test (mac)", "01-01T00:00:00", &format!("2026-01-01T00:{b:02}:00"), "success"),
                job("cell (mac)", "01-01T00:00:00", &format!("2026-01-01T00:{b:02}:00"), "success"),
                job("tests", "01-01T00:00:00", "2026-01-01T09:00:00", "success"),
                job("old", "01-01T00:00:00", "2026-01-01T09:00:00", "cancelled"),
                job("old", "01-01T00:00:00", "0001-01-01T00:00:00", ""),
            ])
        };
        let lengths = |json: &str| {
            let lengths = Timings::read(json).unwrap().of(&github, &github.flows[0]);
            github.flows[0].jobs().map(|(_, job)| lengths.job(job)).collect::<Vec<_>>()
        };
        let hours = Some(9 * 3600);
        assert_eq!(lengths(&format!("[{},{}]", of(1, 5), of(3, 7))), [Some(360), hours, Some(360), None]);
        assert_eq!(lengths(&of(1, 1)), [Some(120), hours, Some(60), None]);
        assert!(Timings::read("[1]").is_err());
    }

    #[test]
    fn a_record_counts_for_its_own_workflow() {
        let text =
            |name: &str| format!("name: {name}\non: push\njobs:\n  test: {{ runs-on: x, steps: [] }}\n");
        let github = github(&[("a.yml", &text("CI")), ("b.yml", &text("Nightly"))]);
        let jobs = run(&[job("test", "01-01T00:00:00", "2026-01-01T00:05:00", "success")]);
        let named = jobs.replacen('{', r#"{"workflowName":"CI","#, 1);
        let recorded = |json: &str| {
            let timings = Timings::read(json).unwrap();
            [0, 1].map(|at| is_recorded(&github, &github.flows[at], Some(&timings)))
        };
        assert_eq!(recorded(&named), [true, false]);
        assert_eq!(recorded(&jobs), [false, false], "it may be of either");
    }

    #[test]
    fn a_called_workflow_is_as_long_as_the_longest_path_through_it() {
        let caller = "on: push\njobs:\n  build: { uses: ./.github/workflows/build.yml }\n  test: { needs: build, runs-on: x, steps: [] }\n";
        let called = "on: workflow_call\njobs:\n  a: { runs-on: x, steps: [] }\n  b: { needs: a, runs-on: x, steps: [] }\n";
        let github = github(&[("build.yml", called), ("ci.yml", caller)]);
        let minutes = |name: &str, from: u32, to: u32| {
            job(name, &format!("01-01T00:{from:02}:00"), &format!("2026-01-01T00:{to:02}:00"), "success")
        };
        let json = run(&[minutes("build / a", 0, 5), minutes("build / b", 5, 9), minutes("test", 9, 11)]);
        let timings = Timings::read(&json).unwrap();
        assert_eq!(durations(&github, &github.flows[1], Some(&timings)), [540, 120]);
    }

    #[test]
    fn the_longest_path_counts() {
        let needs = vec![vec![], vec![0], vec![0], vec![1, 2]];
        assert_eq!(longest_path(&needs, &[5, 10, 20, 1]), (26, vec![0, 2, 3]));
        assert_eq!(longest_path(&[vec![1], vec![0]], &[1, 1]), (0, vec![]));
        assert_eq!(longest_path(&[], &[]), (0, vec![]));
    }

    #[test]
    fn a_run_is_sooner_over_without_an_edge_of_its_only_longest_path() {
        let needs = vec![vec![], vec![0], vec![0], vec![1, 2], vec![3]];
        let durations = vec![5, 10, 20, 1, 3];
        let paths = Paths::new(needs.clone(), durations.clone());
        for (job, direct) in needs.iter().enumerate() {
            for &need in direct {
                let mut without = needs.clone();
                without[job].retain(|&known| known != need);
                let by_hand = longest_path(&needs, &durations).0 - longest_path(&without, &durations).0;
                assert_eq!(paths.sooner(&[need], job), by_hand, "{need} {job}");
            }
        }
        assert_eq!(paths.sooner(&[2], 3), 4, "the job that was waited for is the last then");
        assert_eq!(Paths::new(vec![vec![1], vec![0]], vec![1, 1]).sooner(&[0], 1), 0);
    }
}
