//! What keeps the repairs from coming undone: a workflow that judges every change, and what each finding's repair must
//! show.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    Study,
    page::{Page, at},
};
use crate::suppress::Baseline;

/// The job that judges every change. What is known today is left out, so that it starts green; delete lines of the baseline
/// as they are mended.
const JOB: &str = "      - '.github/orchestration-known.json'
permissions:
  contents: read
concurrency:
  group: orchestration-${{ github.ref }}
  cancel-in-progress: true
jobs:
  judge:
    runs-on: ubuntu-latest
    timeout-minutes: 20
    env:
      # Where kapell's source is: a repository that cargo can read. Set it as a variable of this repository.
      KAPELL_SOURCE: ${{ vars.KAPELL_SOURCE }}
    steps:
      - uses: actions/checkout@v4
      - run: cargo install --locked --git \"$KAPELL_SOURCE\" kapell
      # known.json of this folder, as .github/orchestration-known.json.
      - run: kapell improve --validate-only --format github --baseline .github/orchestration-known.json
";

pub(super) fn write(study: &Study<'_>) -> Vec<(String, String)> {
    let groups = study.by_rule();
    if groups.is_empty() {
        return Vec::new();
    }
    let mut page = Page::new("Checks to add");
    for (rule, findings) in &groups {
        page.section(2, rule.name);
        for finding in findings {
            page.item(format!(
                "{}: fails while `{}` holds, that {}.",
                at(finding),
                rule.name,
                finding.message
            ));
        }
    }
    let mut workflow = "name: orchestration\non:\n  pull_request:\n    paths:\n".to_owned();
    // What orchestrates may come to be wrong in a file that has no finding today.
    let assets = study.inventory.assets.iter().map(|asset| &asset.place.path);
    let paths: BTreeSet<&String> =
        assets.chain(study.findings.iter().map(|finding| &finding.place.path)).collect();
    for path in paths {
        let _ = writeln!(workflow, "      - '{}'", path.replace('\'', "''"));
    }
    workflow.push_str(JOB);
    let known = serde_json::to_string_pretty(&Baseline::of(study.findings)).unwrap_or_default();
    vec![
        ("05-checks/checks.md".to_owned(), page.finish()),
        ("05-checks/known.json".to_owned(), known + "\n"),
        ("05-checks/orchestration.yml".to_owned(), workflow),
    ]
}
