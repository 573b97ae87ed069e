//! What keeps the repairs from coming undone: a workflow that judges every change, and what each finding's repair must
//! show.

use std::fmt::Write as _;

use super::{
    Study,
    page::{Page, at},
};

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
    let mut paths: Vec<&str> = study
        .findings
        .iter()
        .filter(|finding| finding.warns())
        .map(|finding| finding.place.path.as_str())
        .collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let _ = writeln!(workflow, "      - '{}'", path.replace('\'', "''"));
    }
    workflow.push_str(
        "permissions:\n  contents: read\nconcurrency:\n  group: orchestration-${{ github.ref }}\n  cancel-in-progress: true\njobs:\n  judge:\n    runs-on: ubuntu-latest\n    timeout-minutes: 5\n    steps:\n      - uses: actions/checkout@v4\n      - run: cargo install --locked kapell\n      - run: kapell improve --validate-only --format github\n",
    );
    vec![
        ("05-checks/checks.md".to_owned(), page.finish()),
        ("05-checks/orchestration.yml".to_owned(), workflow),
    ]
}
