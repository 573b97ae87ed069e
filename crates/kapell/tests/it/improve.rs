//! Audits of real directories: what is shown, what is written, and what is taken back.

use serde_json::Value;

use crate::rig::Rig;

/// Pushes a tag, and is cancelled while it does.
const RELEASE: &str = "\
name: Release
on: { workflow_dispatch: {} }
concurrency:
  group: release
  cancel-in-progress: true # never two at once
permissions: { contents: write }
jobs:
  release:
    runs-on: ubuntu-latest
    timeout-minutes: 10
    steps:
      - uses: actions/checkout@v4
      - run: git tag v1 && git push origin v1
";

const PATH: &str = ".github/workflows/release.yml";

fn rig() -> Rig {
    let rig = Rig::repository();
    rig.write(PATH, RELEASE);
    rig.commit("a workflow");
    rig
}

#[test]
fn a_safe_fix_goes_to_a_branch_and_away_again() {
    let rig = rig();
    let shown = rig.run(["improve"]);
    assert_eq!(shown.code, Some(1), "{shown}");
    assert!(shown.stdout.lines().count() <= 12 && shown.stdout.contains("release.yml"), "{shown}");
    assert_eq!(rig.git(&["branch", "--list", "kapell/*"]), "", "nothing is written unasked");
    let before = rig.git(&["rev-parse", "HEAD"]);
    let done = rig.run(["improve", "--implement"]);
    assert!(done.stderr.contains("on the branch kapell/improve-"), "{done}");
    let branch = rig.git(&["branch", "--list", "kapell/*", "--format=%(refname:short)"]).trim().to_owned();
    let fixed = rig.git(&["show", &format!("{branch}:{PATH}")]);
    assert_eq!(fixed.trim_end(), RELEASE.replace("progress: true", "progress: false").trim_end());
    assert_eq!((rig.git(&["rev-parse", "HEAD"]), rig.git(&["status", "--short"])), (before, String::new()));
    let again = rig.run(["improve", "--implement"]);
    assert!(again.stderr.contains(&format!("the branch {branch} has these fixes already")), "{again}");
    assert_eq!(rig.run(["undo"]).code, Some(0));
    assert_eq!(rig.git(&["branch", "--list", "kapell/*"]), "");
}

#[test]
fn a_file_that_is_not_committed_is_not_fixed_on_a_branch() {
    let rig = rig();
    rig.write(PATH, &RELEASE.replace("v1", "v2"));
    let refused = rig.run(["improve", "--implement"]);
    assert_eq!(refused.code, Some(4), "{refused}");
    assert!(refused.stderr.contains("K0932"), "{refused}");
    assert_eq!(rig.git(&["branch", "--list", "kapell/*"]), "");
    let patch = rig.run(["improve", "--dry-run"]).stdout;
    assert!(patch.contains("-  cancel-in-progress: true # never two at once"), "{patch}");
}

#[test]
fn programs_get_json_sarif_and_annotations_and_comments_are_heard() {
    let rig = rig();
    let json = |args: &[&str]| serde_json::from_str::<Value>(&rig.run(args).stdout).unwrap();
    let view = json(&["improve", "--json"]);
    let sarif = json(&["improve", "--format", "sarif"]);
    let count = view["findings"].as_array().unwrap().len();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), count);
    let annotated = rig.run(["improve", "--format", "github"]).stdout;
    assert_eq!(annotated.lines().count(), count, "{annotated}");
    assert_eq!(json(&["map", "--json"])["assets"].as_array().unwrap().len(), 2);
    for finding in view["findings"].as_array().unwrap() {
        let rule = finding["rule"].as_str().unwrap();
        assert_eq!(rig.run(["improve", "--explain", rule]).code, Some(0), "{rule}");
    }
    rig.write(
        PATH,
        &RELEASE.replace("  cancel-in", "  # kapell: ignore[cancel-on-mutating] tags are cheap\n  cancel-in"),
    );
    let quiet = json(&["improve", "--json"]);
    assert_eq!(quiet["suppressed"], 1, "{quiet}");
    assert_eq!(rig.run(["improve", "--explain", "cancel"]).code, Some(2));
}

#[test]
fn what_other_tools_found_is_listed_beside_ours() {
    let rig = rig();
    let result = |rule: &str, line: u32| {
        serde_json::json!({"ruleId": rule, "level": "error", "message": {"text": "pin it"}, "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": PATH}, "region": {"startLine": line}}}]})
    };
    let log = serde_json::json!({"version": "2.1.0", "runs": [
        {"tool": {"driver": {"name": "zizmor"}}, "results": [result("zizmor/unpinned-uses", 11), result("zizmor/unpinned-uses", 11)]}]});
    rig.write("zizmor.sarif", &log.to_string());
    let args = ["improve", "--validate-only", "--import-sarif", "zizmor.sarif"];
    let shown = rig.run(args);
    assert!(shown.stdout.contains("1 more by zizmor"), "{shown}");
    let report = rig.run(args.into_iter().chain(["--output", "report"]));
    assert!(report.stdout.contains("release.yml:11:1  pin it  zizmor unpinned-uses"), "{report}");
    let view: Value = serde_json::from_str(&rig.run(args.into_iter().chain(["--json"])).stdout).unwrap();
    assert_eq!(view["imported"][0]["rule"], "unpinned-uses", "{view}");
    let sarif: Value =
        serde_json::from_str(&rig.run(args.into_iter().chain(["--format", "sarif"])).stdout).unwrap();
    assert_eq!(sarif["runs"][1]["results"][0]["ruleId"], "unpinned-uses", "{sarif}");
    rig.write("zizmor.sarif", "{}");
    let refused = rig.run(args);
    assert!(refused.code == Some(2) && refused.stderr.contains("K0934"), "{refused}");
}

#[test]
fn what_was_kept_of_an_audit_is_what_a_new_one_says() {
    let rig = rig();
    // Enough to be worth keeping.
    for copy in 0..60 {
        rig.write(&format!(".github/workflows/{copy}.yml"), &RELEASE.replace("v1", &format!("v{copy}")));
    }
    let args = ["improve", "--dry-run"];
    let (first, again) = (rig.run(args), rig.run(args));
    let kept = rig.dir().join("home/cache/kapell/audits");
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1, "one for the directory and its options");
    let anew = rig.run(args.into_iter().chain(["--no-cache"]));
    assert_eq!((&first.stdout, &first.stdout), (&again.stdout, &anew.stdout));
    // A file that changes is judged, whatever was kept.
    rig.write(PATH, &RELEASE.replace("progress: true", "progress: false"));
    let changed = rig.run(args);
    assert_ne!(changed.stdout, first.stdout);
    assert_eq!(changed.stdout, rig.run(args.into_iter().chain(["--no-cache"])).stdout);
}

/// Everything that people and programs see of an audit, as often as it is asked with `how`.
fn seen(rig: &Rig, how: &[&str]) -> Vec<(Option<i32>, String)> {
    let shapes: [&[&str]; 6] = [
        &["--output", "report"],
        &["--output", "recommendations", "--focus", "resilience"],
        &["--json", "--depth", "deep"],
        &["--format", "sarif", "--rule", "cancel-on-mutating"],
        &["--dry-run", "--baseline", "known.json"],
        &["--format", "markdown", "--out", "out"],
    ];
    let see = |shape: &[&str]| {
        let shown = rig.run(["improve"].iter().chain(shape).chain(how));
        assert!(!shown.stderr.contains("error["), "{shown}");
        (shown.code, shown.stdout)
    };
    shapes.into_iter().map(see).collect()
}

/// Returns what lies below a directory, by name.
fn below(dir: &std::path::Path) -> Vec<(std::path::PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => found.extend(below(&path)),
            path => found.push((path.clone(), std::fs::read_to_string(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn an_audit_as_a_run_says_byte_for_byte_what_a_straight_one_says() {
    for rig in [Rig::repository(), Rig::plain()] {
        rig.write(PATH, RELEASE);
        rig.write(".github/workflows/ci.yml", &RELEASE.replace("v1", "v2").replace("Release", "Again"));
        rig.write(
            ".claude/agents/judge.md",
            "---\nname: judge\ndescription: Judges\n---\nAsk the `jury` agent.\n",
        );
        rig.write("compose.yaml", "services:\n  a: { image: a, depends_on: [b] }\n  b: { image: b }\n");
        rig.run(["improve", "--write-baseline", "known.json", "--rule", "no-timeout"]);
        // What is written below the directory is there for both.
        rig.run(["improve", "--out", "out"]);
        let straight = seen(&rig, &["--no-cache"]);
        let files = below(&rig.work().join("out"));
        std::fs::remove_dir_all(rig.work().join("out")).unwrap();
        rig.run(["improve", "--out", "out", "--as-run"]);
        assert_eq!(seen(&rig, &["--as-run"]), straight);
        assert_eq!(below(&rig.work().join("out")), files);
    }
}

#[test]
fn the_tasks_of_an_audit_are_shown_like_those_of_any_run() {
    let rig = rig();
    let judged = rig.run(["improve", "--as-run"]);
    assert_eq!(judged.code, Some(1), "{judged}");
    let status = rig.run(["status"]);
    assert!(status.stdout.contains("succeeded"), "{status}");
    let [run] = &*rig.runs() else { panic!("one run: {:?}", rig.runs()) };
    let logs = rig.run(["logs", run]);
    for task in ["read", "map", "rules-safety", "rules-agent-flow", "findings", "fixes", "report"] {
        assert!(logs.stdout.contains(task), "{task}: {logs}");
    }
    let said = rig.run(["logs", run, "--task", "rules-safety", "--output"]);
    assert!(said.stdout.contains("finding"), "{said}");
    let report = rig.run(["report", run]);
    assert!(report.stdout.contains("Judge how place orchestrates"), "{report}");
    assert_eq!(rig.run(["verify"]).code, Some(0));
    // Once more the same is asked: nothing is judged again, and the same is said.
    let again = rig.run(["improve", "--as-run"]);
    assert!(again.stderr.contains("has judged these files") && again.stdout == judged.stdout, "{again}");
    assert_eq!(rig.runs().len(), 1);
    let anew = rig.run(["improve", "--as-run", "--no-cache"]);
    assert_eq!((anew.stdout, rig.runs().len()), (judged.stdout, 2));
    // Other files are another run.
    rig.write(PATH, &RELEASE.replace("progress: true", "progress: false"));
    assert_eq!(rig.run(["improve", "--as-run"]).stdout, rig.run(["improve", "--no-cache"]).stdout);
    assert_eq!(rig.runs().len(), 3);
}

#[test]
fn an_audit_that_was_killed_goes_on_where_it_stood() {
    let rig = rig();
    let straight = rig.run(["improve", "--no-cache"]);
    for over in ["2", "3", "8"] {
        let killed = rig.run(["improve", "--as-run", "--no-cache", "--die-after", over]);
        assert_eq!((killed.code, killed.stdout.as_str()), (None, ""), "{killed}");
        let run = rig.runs().remove(0);
        let done = |logs: &str| -> Vec<String> {
            let lines = logs.lines().filter(|line| line.contains(" done, "));
            lines.map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
        };
        let before = done(&rig.run(["logs", &run]).stdout);
        // The last of them may not have reached the journal; that the second was done proves that the first has.
        assert!(!before.is_empty());
        // `resume` brings it to its end; what it came to is shown by whoever asks for the same.
        if over == "3" {
            assert_eq!(rig.run(["resume", &run]).code, Some(0));
        }
        let shown = rig.run(["improve", "--as-run"]);
        assert_eq!((&shown.stdout, shown.code), (&straight.stdout, straight.code), "{shown}");
        assert_eq!(rig.runs()[0], run, "it is the same run");
        let logs = rig.run(["logs", &run]).stdout;
        assert!(done(&logs).len() > before.len(), "{logs}");
        for task in before {
            let of_task = |line: &&str| line.split_whitespace().nth(1) == Some(&task);
            let lines: Vec<&str> = logs.lines().filter(of_task).collect();
            assert_eq!(lines.len(), 2, "started and done, once each: {lines:#?}");
        }
    }
}

#[test]
fn a_run_refuses_what_is_no_longer_what_it_was_begun_for() {
    let rig = rig();
    rig.run(["improve", "--as-run"]);
    let part = |task: &str, state: &str, given: &[&str]| {
        let mut command = rig.command(["improve", "--part", task, "--state", state, "--store"]);
        command.arg(rig.work().join(".git/kapell")).args(given);
        rig.ended(command)
    };
    let changed = part("read", "another", &[]);
    assert!(changed.code == Some(6) && changed.stderr.contains("have changed since"), "{changed}");
    let nothing = format!("read={}", "0".repeat(64));
    let gone = part("map", "another", &["--given", &nothing]);
    assert!(gone.code == Some(6) && gone.stderr.contains("what `read` kept is gone"), "{gone}");
    let unknown = part("rules", "another", &[]);
    assert!(unknown.code == Some(6) && unknown.stderr.contains("no such task"), "{unknown}");
}
