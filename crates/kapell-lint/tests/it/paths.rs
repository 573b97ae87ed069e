//! The longest path of workflows, worked out by hand from the durations given.

use std::collections::BTreeMap;

use kapell_lint::{
    files::Files,
    github::{Flow, cost},
    repository::{Depth, Repository},
};

/// Builds a workflow of jobs `name: seconds <- needs`, and durations recorded for them.
fn check(graph: &str, seconds: u32, path: &str, without: Option<(&str, &str, u32)>) {
    let mut text = "on: push\njobs:\n".to_owned();
    let mut recorded = Vec::new();
    for line in graph.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, rest) = line.split_once(": ").unwrap();
        let (length, needs) = rest.split_once(" <- ").unwrap_or((rest, ""));
        text.push_str(&format!(
            "  {name}:\n    runs-on: ubuntu-latest\n    needs: [{needs}]\n    steps: [{{ run: echo }}]\n"
        ));
        let length: u32 = length.parse().unwrap();
        let end = format!("2026-01-01T{:02}:{:02}:{:02}Z", length / 3600, length / 60 % 60, length % 60);
        recorded.push(format!(r#"{{"name":"{name}","startedAt":"2026-01-01T00:00:00Z","completedAt":"{end}","conclusion":"success"}}"#));
    }
    let timings = cost::Timings::read(&format!(r#"{{"jobs":[{}]}}"#, recorded.join(","))).unwrap();
    let files = BTreeMap::from([(".github/workflows/w.yml".to_owned(), text)]);
    let repository = Repository::new(Files::new(files), Depth::Standard);
    let flow = &repository.github.flows[0];
    let durations = cost::durations(&repository.github, flow, Some(&timings));
    let (found, jobs) = cost::longest(flow, &durations, &|_, _| true);
    let names: Vec<&str> = jobs.iter().map(|&job| &*flow.model.jobs[job].id.text).collect();
    assert_eq!((found, names.join(" ")), (seconds, path.to_owned()), "{graph}");
    assert_eq!(replay(flow, &durations, None), seconds, "{graph}");
    if let Some((need, job, seconds)) = without {
        let index = |name: &str| flow.jobs().find(|(_, job)| &*job.id.text == name).unwrap().0;
        let edge = (index(need), index(job));
        let (found, _) = cost::longest(flow, &durations, &|need, job| (need, job) != edge);
        assert_eq!(found, seconds, "{graph}");
        assert_eq!(replay(flow, &durations, Some(edge)), seconds, "{graph}");
    }
}

/// Plays the schedule second by second: a job starts once all that it needs have ended.
fn replay(flow: &Flow, durations: &[u32], without: Option<(usize, usize)>) -> u32 {
    let needs = |job: usize| -> Vec<usize> {
        let direct = kapell_lint::github::conditions::direct(&flow.model, &flow.model.jobs[job]);
        direct.into_iter().filter(|&need| Some((need, job)) != without).collect()
    };
    let mut left: Vec<u32> = durations.to_vec();
    let mut now = 0;
    while left.iter().any(|&left| left > 0) {
        let running: Vec<usize> = (0..left.len())
            .filter(|&job| left[job] > 0 && needs(job).iter().all(|&need| left[need] == 0))
            .collect();
        running.iter().for_each(|&job| left[job] -= 1);
        now += 1;
    }
    now
}

/// A job and what it waits for, each as long as it says; the scripts take no data from each other.
fn jobs(graph: &[(&str, u32, &str)]) -> (String, cost::Timings) {
    let mut text = "on: pull_request\njobs:\n".to_owned();
    let mut recorded = Vec::new();
    for (name, seconds, needs) in graph {
        text.push_str(&format!("  {name}:\n    runs-on: ubuntu-latest\n"));
        if !needs.is_empty() {
            text.push_str(&format!("    needs: [{needs}]\n"));
        }
        text.push_str(
            "    steps:\n      - uses: actions/checkout@v4\n      - run: npm ci\n      - run: npm test\n",
        );
        let end = format!("2026-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60);
        recorded.push(format!(r#"{{"name":"{name}","startedAt":"2026-01-01T00:00:00Z","completedAt":"{end}","conclusion":"success"}}"#));
    }
    (text, cost::Timings::read(&format!(r#"{{"jobs":[{}]}}"#, recorded.join(","))).unwrap())
}

/// Returns how long a run takes when it is played.
fn played(text: &str, timings: &cost::Timings) -> u32 {
    let files = BTreeMap::from([(".github/workflows/w.yml".to_owned(), text.to_owned())]);
    let repository = Repository::new(Files::new(files), Depth::Standard);
    let flow = &repository.github.flows[0];
    replay(flow, &cost::durations(&repository.github, flow, Some(timings)), None)
}

/// Every proposal says how much sooner a run ends; played with and without it, it does, to a fifth.
#[test]
fn savings_are_those_of_a_played_schedule() {
    let graphs: [&[(&str, u32, &str)]; 4] = [
        &[("lint", 200, ""), ("test", 600, "lint"), ("docs", 100, "lint")],
        // Nothing is won where another path is as long.
        &[("lint", 200, ""), ("test", 300, "lint"), ("bench", 700, "")],
        &[("fmt", 60, ""), ("lint", 300, "fmt"), ("unit", 500, "fmt, lint"), ("all", 30, "unit, lint")],
        &[("a", 120, ""), ("b", 240, ""), ("c", 360, "a, b"), ("d", 90, "c")],
    ];
    let mut proposals = 0;
    for graph in graphs {
        let (text, timings) = jobs(graph);
        let files = BTreeMap::from([(".github/workflows/w.yml".to_owned(), text.clone())]);
        let mut repository = Repository::new(Files::new(files), Depth::Standard);
        repository.timings = Some(timings.clone());
        let findings = kapell_lint::audit::audit(&repository);
        for finding in findings.iter().filter(|finding| finding.rule == "needs-without-data") {
            let Some(fix) = &finding.fix else { continue };
            let mut after = text.clone();
            let mut edits: Vec<_> = fix.edits.iter().collect();
            edits.sort_by_key(|edit| std::cmp::Reverse(edit.place.start));
            for edit in edits {
                after.replace_range(edit.place.start as usize..edit.place.end as usize, &edit.text);
            }
            let won = played(&text, &timings) - played(&after, &timings);
            let said = finding.saving_seconds.unwrap_or(0);
            assert!(said.abs_diff(won) * 5 <= won, "said {said}, won {won}: {}\n{after}", finding.message);
            proposals += 1;
        }
    }
    assert!(proposals >= 5, "{proposals}");
}

#[test]
fn longest_paths_are_those_worked_out_by_hand() {
    // A release chain: version, web, server beside the desktop app, packages, upload, release.
    check(
        "bump: 60\nfront: 180 <- bump\nback: 900 <- bump, front\npack: 60 <- bump, front, back\nupload: 90 <- bump, pack\ntauri: 1200 <- bump, front\nrelease: 30 <- upload, tauri",
        1470,
        "bump front tauri release",
        Some(("front", "tauri", 1320)),
    );
    // Filters in front of checks side by side.
    check(
        "changes: 15\nweb: 240 <- changes\nschema: 300 <- changes\nclippy: 420 <- changes\ntest: 600 <- changes",
        615,
        "changes test",
        Some(("changes", "test", 600)),
    );
    // Checks side by side, and a job that stands for all.
    check(
        "test: 200\nlint: 60\nplugin: 50\ndoctor: 55\nsummary: 5 <- test, lint, plugin, doctor",
        205,
        "test summary",
        Some(("test", "summary", 200)),
    );
    // A plan, binaries, tests of them.
    check(
        "plan: 20\nfmt: 30\nlint: 300 <- plan\nbinaries: 420 <- plan\nsmoke: 60 <- plan, binaries\nsystem: 500 <- plan, binaries\nall: 5 <- fmt, lint, binaries",
        940,
        "plan binaries system",
        Some(("binaries", "system", 520)),
    );
    // A release by approval.
    check(
        "gate: 10\nplan: 60\nbuild: 1500 <- plan\ndocker: 900 <- plan, gate\nsums: 40 <- plan, build\nglobal: 60 <- plan, build, docker, sums\nhost: 50 <- plan, build, docker, global\npypi: 70 <- plan, host, gate\ncrates: 400 <- plan, host, gate, pypi",
        2180,
        "plan build sums global host pypi crates",
        Some(("pypi", "crates", 2110)),
    );
    // A package published in steps.
    check(
        "build: 45\nnotes: 20 <- build\ntestpypi: 60 <- build, notes\nchecks: 240 <- build, notes, testpypi\npublish: 30 <- build, notes, testpypi, checks\nmark: 15 <- build, publish",
        410,
        "build notes testpypi checks publish mark",
        Some(("notes", "testpypi", 390)),
    );
    // A report, and what it leads to.
    check("merge: 120\ntriage: 600 <- merge", 720, "merge triage", Some(("merge", "triage", 600)));
}
