//! How long jobs take, and the longest path through them.
//!
//! Times are priors of [`super::tools`], or durations that were recorded. Times are seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Flow, Github};

/// Recorded durations of jobs, in the shape of `gh run view --json jobs`: one run or a list of runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Seconds by the name of the job as GitHub shows it, one for each run.
    jobs: BTreeMap<String, Vec<u32>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Recorded {
    One(RecordedRun),
    Many(Vec<RecordedRun>),
}

#[derive(Deserialize)]
struct RecordedRun {
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
        let mut timings = Self::default();
        for run in runs {
            let mut longest: BTreeMap<String, u32> = BTreeMap::new();
            for job in run.jobs.iter().filter(|job| job.conclusion.as_deref() != Some("skipped")) {
                let span = job
                    .started_at
                    .as_deref()
                    .and_then(seconds)
                    .zip(job.completed_at.as_deref().and_then(seconds));
                let Some((start, end)) = span else { continue };
                let length = u32::try_from(end.saturating_sub(start)).unwrap_or(0);
                let entry = longest.entry(job.name.clone()).or_default();
                *entry = (*entry).max(length);
            }
            for (name, length) in longest {
                timings.jobs.entry(name).or_default().push(length);
            }
        }
        Ok(timings)
    }

    /// Returns the median of a job over all runs: that of its slowest cell.
    #[must_use]
    pub fn job(&self, id: &str, name: Option<&str>) -> Option<u32> {
        // Cells and called workflows are `name (a, b)` and `name / job`.
        let stem = name.map_or(id, |name| name.split("${{").next().unwrap_or(name).trim_end());
        let fits = |shown: &str| {
            shown == stem
                || !stem.is_empty()
                    && shown.strip_prefix(stem).is_some_and(|rest| {
                        name.is_some_and(|name| name.contains("${{"))
                            || rest.starts_with(" (")
                            || rest.starts_with(" / ")
                    })
        };
        self.jobs.iter().filter(|(shown, _)| fits(shown)).filter_map(|(_, lengths)| median(lengths)).max()
    }
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
    durations_within(github, flow, timings, 0)
}

fn durations_within(github: &Github, flow: &Flow, timings: Option<&Timings>, depth: usize) -> Vec<u32> {
    let of = |(index, job): (usize, &kapell_spec::github::Job)| {
        let recorded =
            timings.and_then(|timings| timings.job(&job.id.text, job.name.as_ref().map(|name| &*name.text)));
        recorded.unwrap_or_else(|| match github.called(job) {
            Some(called) if depth < 4 => {
                let inner = durations_within(github, called, None, depth + 1);
                longest(called, &inner, &|_, _| true).0
            }
            _ if job.uses.is_some() => 120,
            // Ten seconds to find and start a runner.
            _ => 10 + flow.facts[index].iter().map(super::StepFacts::seconds).sum::<u32>(),
        })
    };
    flow.jobs().map(of).collect()
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

/// The earliest end of each job, and the need that decides it. Jobs on a circle have no end.
type Ends = Vec<Option<(u32, Option<usize>)>>;

fn ends_of(needs: &[Vec<usize>], durations: &[u32]) -> Ends {
    let mut ends: Ends = vec![None; needs.len()];
    // As many rounds as there are jobs; a cycle never gets an end.
    for _ in 0..needs.len() {
        for at in 0..needs.len() {
            if ends[at].is_none() && needs[at].iter().all(|&need| ends[need].is_some()) {
                let last = needs[at].iter().copied().max_by_key(|&need| ends[need].map_or(0, |end| end.0));
                let start = last.and_then(|last| ends[last]).map_or(0, |end| end.0);
                ends[at] = Some((start.saturating_add(durations[at]), last));
            }
        }
    }
    ends
}

/// Returns when each job of a workflow ends at the earliest; 0 for those that wait for themselves.
#[must_use]
pub fn ends(flow: &Flow, durations: &[u32]) -> Vec<u32> {
    let needs: Vec<Vec<usize>> =
        flow.jobs().map(|(_, job)| super::conditions::direct(&flow.model, job)).collect();
    ends_of(&needs, durations).into_iter().map(|end| end.map_or(0, |end| end.0)).collect()
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

    #[test]
    fn recorded_durations_are_the_median_of_the_slowest_cell() {
        let run = |a: u32, b: u32| {
            format!(
                r#"{{"jobs":[
                {{"name":"test (linux)","startedAt":"2026-02-28T23:59:00Z","completedAt":"2026-03-01T00:{a:02}:00Z","conclusion":"success"}},
                {{"name":"test (mac)","startedAt":"2026-01-01T00:00:00Z","completedAt":"2026-01-01T00:{b:02}:00Z","conclusion":"success"}},
                {{"name":"tests","startedAt":"2026-01-01T00:00:00Z","completedAt":"2026-01-01T09:00:00Z"}},
                {{"name":"old","startedAt":null,"completedAt":null,"conclusion":"skipped"}}]}}"#
            )
        };
        let timings = Timings::read(&format!("[{},{}]", run(1, 5), run(3, 7))).unwrap();
        assert_eq!(timings.job("test", None), Some(360));
        assert_eq!(timings.job("x", Some("test (${{ matrix.os }})")), Some(360));
        assert_eq!(timings.job("old", None), None);
        assert_eq!(Timings::read(&run(1, 1)).unwrap().job("test", None), Some(120));
        assert!(Timings::read("[1]").is_err());
    }

    #[test]
    fn the_longest_path_counts() {
        let needs = vec![vec![], vec![0], vec![0], vec![1, 2]];
        assert_eq!(longest_path(&needs, &[5, 10, 20, 1]), (26, vec![0, 2, 3]));
        assert_eq!(longest_path(&[vec![1], vec![0]], &[1, 1]), (0, vec![]));
        assert_eq!(longest_path(&[], &[]), (0, vec![]));
    }
}
