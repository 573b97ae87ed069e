//! Each rule has a file `tests/rules/NAME.case`.
//!
//! A case starts with `=== fault: TITLE`, `=== noted: TITLE` or `=== fine: TITLE`. A line `--- PATH` starts a file. In a
//! fault, lines `>>> PATH:LINE TEXT` after the files name every finding of the rule: its place, and words of its message,
//! which its severity stands before, as in `high: the message`.
//! `+++ PATH` starts what a file must be after the rule's fix. A case `fine` has no finding at all, one that is `noted`
//! only such as do not warn, though the rule may warn elsewhere.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use kapell_lint::{
    files::Files,
    repository::{Depth, Models, Repository},
    rule::{Report, Rule},
    rules::RULES,
};
use kapell_view::audit::Finding;

/// What a rule has to say of the files of a case.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What the case expects.
    Fault,
    /// Notes.
    Noted,
    /// Nothing.
    #[default]
    Fine,
}

#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) verdict: Verdict,
    pub(crate) files: BTreeMap<String, String>,
    fixed: BTreeMap<String, String>,
    pub(crate) expected: Vec<String>,
}

enum Part {
    Nothing,
    File(String),
    Fixed(String),
}

/// Reads the cases of a file.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut target = Part::Nothing;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("=== ") {
            let (kind, title) = title.split_once(": ").expect("=== KIND: TITLE");
            let verdict = match kind {
                "fault" => Verdict::Fault,
                "noted" => Verdict::Noted,
                "fine" => Verdict::Fine,
                _ => panic!("unknown kind {kind}"),
            };
            cases.push(Case { title: title.to_owned(), verdict, ..Case::default() });
            target = Part::Nothing;
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(path) = line.strip_prefix("--- ").filter(|path| !path.contains(' ')) {
            case.files.insert(path.to_owned(), String::new());
            target = Part::File(path.to_owned());
        } else if let Some(path) = line.strip_prefix("+++ ") {
            case.fixed.insert(path.to_owned(), String::new());
            target = Part::Fixed(path.to_owned());
        } else if let Some(expected) = line.strip_prefix(">>> ") {
            case.expected.push(expected.to_owned());
        } else {
            let text = match &target {
                Part::Nothing => continue,
                Part::File(path) => case.files.get_mut(path),
                Part::Fixed(path) => case.fixed.get_mut(path),
            };
            let text = text.expect("it was inserted when it started");
            text.push_str(line);
            text.push('\n');
        }
    }
    cases
}

fn run(rule: &'static Rule, files: &BTreeMap<String, String>) -> Vec<Finding> {
    let repository = Repository::new(Files::new(files.clone()), Depth::Deep);
    let mut report = Report::new(&repository, rule);
    (rule.check)(&repository, &mut report);
    report.into_findings()
}

fn apply(files: &BTreeMap<String, String>, findings: &[Finding]) -> BTreeMap<String, String> {
    let mut files = files.clone();
    let mut edits: Vec<_> =
        findings.iter().filter_map(|finding| finding.fix.as_ref()).flat_map(|fix| &fix.edits).collect();
    edits.sort_by(|a, b| b.place.start.cmp(&a.place.start).then(b.place.end.cmp(&a.place.end)));
    for edit in edits {
        let text = files.get_mut(&edit.place.path).expect("an edit of a file that is there");
        text.replace_range(edit.place.start as usize..edit.place.end as usize, &edit.text);
    }
    files
}

/// Returns what is wrong with a case, or nothing.
fn judge(rule: &'static Rule, case: &Case) -> String {
    let mut wrong = String::new();
    let findings = run(rule, &case.files);
    let shown: Vec<String> = findings
        .iter()
        .map(|finding| {
            let severity = format!("{:?}", finding.severity).to_lowercase();
            format!("{}:{} {severity}: {}", finding.place.path, finding.place.line, finding.message)
        })
        .collect();
    if case.verdict != Verdict::Fault {
        let noted = case.verdict == Verdict::Noted;
        for (finding, shown) in findings.iter().zip(&shown) {
            if finding.warns() || !noted {
                let _ = writeln!(wrong, "  found, but it is {:?}: {shown}", case.verdict);
            }
        }
        if noted && findings.is_empty() {
            wrong.push_str("  nothing noted\n");
        }
        return wrong;
    }
    for expected in &case.expected {
        let (place, words) = expected.split_once(' ').unwrap_or((expected, ""));
        let fits = |shown: &String| {
            shown.split_once(' ').is_some_and(|(at, message)| at == place && message.contains(words))
        };
        if !shown.iter().any(fits) {
            let _ = writeln!(wrong, "  not found: {expected}");
        }
    }
    if case.expected.len() != shown.len() {
        let _ = writeln!(wrong, "  found {} of {}: {shown:#?}", shown.len(), case.expected.len());
    }
    let edits = findings.iter().filter_map(|finding| finding.fix.as_ref()).flat_map(|fix| &fix.edits);
    for edit in edits.filter(|edit| Models::of(&edit.place.path) == Models::default()) {
        // Rules that read such a file, as scripts that steps run, would not be asked again after the fix.
        let _ = writeln!(wrong, "  the fix edits {}, which is part of no model", edit.place.path);
    }
    let fixed = apply(&case.files, &findings);
    for (path, text) in &case.fixed {
        if fixed.get(path) != Some(text) {
            let _ =
                writeln!(wrong, "  {path} after the fix:\n{}", fixed.get(path).map_or("", String::as_str));
        }
    }
    wrong
}

#[test]
fn every_rule_finds_its_faults_and_leaves_the_rest() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let mut wrong = String::new();
    for rule in RULES.iter().copied() {
        let path = folder.join(format!("{}.case", rule.name));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cases = cases(&text);
        let faults =
            cases.iter().filter(|case| case.verdict == Verdict::Fault && !case.expected.is_empty()).count();
        assert!(faults >= 1, "{} has no fault with a place", rule.name);
        assert!(cases.len() - faults >= 2, "{} has less than two cases that are fine", rule.name);
        for case in &cases {
            let judged = judge(rule, case);
            if !judged.is_empty() {
                let _ = writeln!(wrong, "{}: {}\n{judged}", rule.name, case.title);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_rule_has_a_page_with_before_and_after() {
    for rule in RULES {
        assert!(rule.page.starts_with(&format!("# {}\n", rule.name)), "{}: its page has no title", rule.name);
        for section in ["## Before", "## After", "## When not"] {
            assert!(rule.page.contains(section), "{}: its page has no `{section}`", rule.name);
        }
    }
}

#[test]
fn names_are_kebab_case_and_no_two_alike() {
    let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')), "{names:?}");
}
