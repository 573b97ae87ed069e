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
fn where_no_fix_is_safe_that_is_said() {
    let rig = Rig::repository();
    rig.write(
        PATH,
        "on: { push: { branches: [main] } }\njobs:\n  deploy:\n    runs-on: ubuntu-latest\n    \
         environment: production\n    timeout-minutes: 10\n    steps:\n      - run: ./deploy.sh\n",
    );
    rig.commit("a workflow that only a person can mend");
    for option in ["--implement", "--dry-run"] {
        let ended = rig.run(["improve", option]);
        assert!(ended.code == Some(1) && ended.stderr.contains("there is no safe fix"), "{ended}");
        assert_eq!(rig.git(&["branch", "--list", "kapell/*"]), "");
    }
    assert!(!rig.run(["improve"]).stderr.contains("safe fix"));
}

#[test]
fn a_branch_that_is_checked_out_stays() {
    let rig = rig();
    rig.run(["improve", "--implement"]);
    let branch = rig.git(&["branch", "--list", "kapell/*", "--format=%(refname:short)"]).trim().to_owned();
    rig.git(&["switch", "--quiet", &branch]);
    let refused = rig.run(["undo"]);
    assert_eq!(refused.code, Some(4), "{refused}");
    assert!(refused.stderr.contains("K0512") && refused.stderr.contains("is checked out in"), "{refused}");
    assert_eq!(rig.git(&["status", "--short", "--branch"]).trim(), format!("## {branch}"));
    rig.git(&["switch", "--quiet", "-"]);
    assert_eq!(rig.run(["undo"]).code, Some(0));
    assert_eq!(rig.git(&["branch", "--list", "kapell/*"]), "");
}

#[test]
fn the_same_fix_in_two_directories_is_two_branches() {
    let rig = Rig::repository();
    for part in ["one", "two"] {
        rig.write(&format!("{part}/{PATH}"), RELEASE);
    }
    rig.commit("two parts");
    for part in ["one", "two"] {
        let shown = rig.run(["improve", part, "--depth", "standard"]);
        let next = format!("next: kapell improve {part} --depth standard --implement");
        assert!(shown.stderr.contains(&next), "{shown}");
        // What is asked for is done, whatever is shown.
        let done = rig.run(["improve", part, "--implement", "--output", "recommendations"]);
        assert!(done.stderr.contains("1 safe fix is on the branch"), "{done}");
    }
    let branches = rig.git(&["branch", "--list", "kapell/*", "--format=%(refname:short)"]);
    assert_eq!(branches.lines().count(), 2, "{branches}");
    for left in [1, 0] {
        assert_eq!(rig.run(["undo"]).code, Some(0));
        assert_eq!(rig.git(&["branch", "--list", "kapell/*"]).lines().count(), left);
    }
}

#[test]
fn code_is_looked_at_unless_less_is_asked_for() {
    let rig = rig();
    rig.write("src/page.py", "import requests\n\ndef page(url):\n    return requests.get(url).text\n");
    rig.commit("code");
    let told = |arguments: &[&str]| rig.run(arguments).stdout.contains("src/page.py:4");
    assert!(told(&["improve"]) && told(&["improve", "src"]) && told(&["improve", "--depth", "deep"]));
    assert!(!told(&["improve", "--depth", "standard"]) && !told(&["improve", "--depth", "quick"]));
    let next = rig.run(["improve", "--dry-run"]).stderr;
    assert!(!next.contains("--depth"), "{next}");
}

#[test]
fn what_is_generated_is_mended_by_its_generator() {
    let rig = rig();
    rig.write(PATH, &format!("# This file was autogenerated by dist: https://example.org\n{RELEASE}"));
    rig.commit("a generated workflow");
    let shown = rig.run(["improve", "--implement", "--output", "recommendations"]);
    assert!(shown.stdout.contains("is generated by `dist`: change it there"), "{shown}");
    assert_eq!(rig.git(&["branch", "--list", "kapell/*"]), "");
}

#[test]
fn programs_get_json_sarif_and_annotations_and_comments_are_heard() {
    let rig = rig();
    let json = |args: &[&str]| serde_json::from_str::<Value>(&rig.run(args).stdout).unwrap();
    let view = json(&["improve", "--json"]);
    assert!(view["patch"].as_str().unwrap().contains("+  cancel-in-progress: false"), "{view}");
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
    let listed = json(&["improve", "--list-rules", "--json"]);
    let names: Vec<&str> =
        listed["rules"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect();
    let lines = rig.run(["improve", "--list-rules"]).stdout;
    assert_eq!(names, lines.lines().filter_map(|line| line.split(' ').next()).collect::<Vec<_>>());
    let rule = json(&["improve", "--explain", "cancel-on-mutating", "--json"]);
    assert_eq!(rule["name"], "cancel-on-mutating", "{rule}");
    assert!(rule["page"].as_str().unwrap().starts_with("# cancel-on-mutating"), "{rule}");
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
            lines.map(|line| line.split_whitespace().nth(2).unwrap().to_owned()).collect()
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
            let of_task = |line: &&str| line.split_whitespace().nth(2) == Some(&task);
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

/// A command that names an agent of another directory, and one that nobody defines.
const COMMAND: &str = "# Ship\n\nUse the Task tool with subagent_type=\"code-reader\".\n\nUse the Task tool with \
                       subagent_type=\"code-reeder\".\n";

const AGENT: &str = "---\nname: code-reader\ndescription: Reads code\n---\nRead.\n";

#[test]
fn a_path_of_a_repository_is_judged_as_part_of_it() {
    let rig = rig();
    rig.write("tools/ship.md", COMMAND);
    rig.write("agents/code-reader.md", AGENT);
    rig.write("tests/fixtures/one/tools/ship.md", COMMAND);
    rig.commit("commands");
    let places = |shown: &crate::rig::Ended| -> Vec<String> {
        let found: Value = serde_json::from_str(&shown.stdout).expect("JSON");
        let findings = found["findings"].as_array().expect("findings").iter();
        findings.map(|finding| finding["place"]["path"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let whole = places(&rig.run(["improve", "--format", "json"]));
    assert!(whole.iter().any(|path| path == "tools/ship.md"), "{whole:?}");
    assert!(!whole.iter().any(|path| path.contains("fixtures")), "{whole:?}");
    for path in ["tools", "tools/ship.md"] {
        let shown = rig.run(["improve", path, "--format", "json"]);
        let below = places(&shown);
        let expected: Vec<&String> = whole.iter().filter(|path| path.starts_with("tools/")).collect();
        assert_eq!(below.iter().collect::<Vec<_>>(), expected, "{path}");
        assert_eq!(shown.code, Some(1), "{shown}");
        let told = rig.run(["improve", path]);
        assert!(told.stdout.contains("tools/ship.md:5") && told.stdout.contains("to do: "), "{told}");
        assert!(!told.stdout.contains("release.yml"), "{told}");
        let as_run = rig.run(["improve", path, "--as-run", "--format", "json"]);
        assert_eq!(as_run.stdout, shown.stdout, "{as_run}");
        let map = rig.run(["map", path]);
        assert!(map.stdout.contains("ship") && !map.stdout.contains("Release"), "{map}");
    }
    let near = rig.run(["-C", "tools", "improve", "."]);
    assert!(near.stdout.contains(" ship.md:5"), "{near}");
    assert!(!places(&rig.run(["improve", "tests/fixtures/one", "--format", "json"])).is_empty());
    assert_eq!(rig.run(["improve", "agents"]).code, Some(0));
}

#[test]
fn a_file_for_one_option_is_refused_for_another_though_the_audit_was_kept() {
    let rig = rig();
    assert_eq!(rig.run(["improve", "--write-baseline", "b.json"]).code, Some(1));
    for _ in 0..2 {
        assert_eq!(rig.run(["improve", "--baseline", "b.json"]).code, Some(0));
    }
    let refused = rig.run(["improve", "--timings", "b.json"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("K0933"), "{refused}");
    assert!(refused.stderr.contains("because: it is neither a run with its jobs"), "{refused}");
}
