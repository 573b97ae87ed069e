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
