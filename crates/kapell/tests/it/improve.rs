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
