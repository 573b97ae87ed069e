//! Repositories in small, judged by all rules at once: `tests/whole/NAME.case`.
//!
//! They were written before any rule had seen them, half of them with one fault and half that only look like one. The form
//! is that of [`crate::cases`]; `>>> PATH:LINE RULE` names what has to be found. Nothing else in a case may warn.

use std::{fmt::Write as _, fs, path::Path};

use kapell_lint::{
    audit::audit,
    files::Files,
    repository::{Depth, Repository},
    suppress,
};
use kapell_view::audit::{Confidence, Finding, Severity};

use crate::cases::{Case, Verdict, cases};

/// Returns what is shown of a repository where nothing is asked for.
fn shown(case: &Case) -> Vec<Finding> {
    let repository = Repository::new(Files::new(case.files.clone()), Depth::Deep);
    let mut findings = audit(&repository);
    suppress::by_comments(&repository.files, &mut findings);
    findings.retain(|finding| finding.severity >= Severity::Low && finding.confidence >= Confidence::Medium);
    findings
}

fn judge(case: &Case) -> String {
    let mut wrong = String::new();
    let findings = shown(case);
    let at = |finding: &Finding| format!("{}:{} {}", finding.place.path, finding.place.line, finding.rule);
    for expected in &case.expected {
        if !findings.iter().any(|finding| at(finding) == *expected) {
            let shown: Vec<String> = findings.iter().map(at).collect();
            let _ = writeln!(wrong, "  not found: {expected}, but {shown:?}");
        }
    }
    for finding in findings.iter().filter(|finding| finding.warns() && !case.expected.contains(&at(finding)))
    {
        let _ = writeln!(wrong, "  found, but it is fine: {} {}", at(finding), finding.message);
    }
    wrong
}

#[test]
fn a_fault_is_found_and_nothing_else_warns() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whole");
    let mut wrong = String::new();
    let (mut faults, mut fine) = (0, 0);
    for name in ["agents", "code", "systems", "workflows"] {
        for case in cases(&fs::read_to_string(folder.join(format!("{name}.case"))).unwrap()) {
            *(if case.verdict == Verdict::Fault { &mut faults } else { &mut fine }) += 1;
            let judged = judge(&case);
            if !judged.is_empty() {
                let _ = writeln!(wrong, "{name}: {}\n{judged}", case.title);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(faults >= 20 && fine >= 20, "{faults} faults, {fine} fine");
}
