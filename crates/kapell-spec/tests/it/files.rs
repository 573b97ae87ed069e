//! Every fixture: what is compiled from the valid ones, and what is said about the bad ones.

use std::fmt::Write as _;

use kapell_core::plan::Plan;

use crate::{compile, fixtures, rendered, stem};

/// Compares with the snapshot beside the fixtures.
fn check(dir: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("../fixtures/{dir}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Shows a plan: each definition once, then the tasks.
fn show(plan: &Plan, indent: &str, into: &mut String) {
    for agent in plan.agents() {
        writeln!(into, "{indent}agent {}", serde_json::to_string(agent).unwrap()).unwrap();
    }
    for (at, definition) in plan.definitions().iter().enumerate() {
        let text = serde_json::to_string_pretty(definition).unwrap();
        writeln!(into, "{indent}definition {at} {}", text.replace('\n', &format!("\n{indent}"))).unwrap();
    }
    for task in plan.graph().tasks().take(20) {
        let needs: Vec<_> = plan.graph().needs(task).iter().map(|need| plan.name(*need)).collect();
        let values = plan.matrix_values(task);
        let values: Vec<String> = values
            .iter()
            .map(|(name, value)| format!("{name}={}", serde_json::to_string(value).unwrap()))
            .collect();
        let shown = if needs.len() > 12 { format!("{} tasks", needs.len()) } else { needs.join(", ") };
        let definition = plan.definition_id(task);
        writeln!(
            into,
            "{indent}task {:?} {definition} needs [{shown}] {}",
            plan.name(task),
            values.join(" ")
        )
        .unwrap();
    }
    writeln!(into, "{indent}{} tasks", plan.len()).unwrap();
}

#[test]
fn valid_files_compile() {
    for path in fixtures("valid") {
        let name = stem(&path);
        let (source, _, compiled, findings) =
            compile(&format!("{name}.yaml"), &std::fs::read(&path).unwrap());
        assert!(findings.is_empty(), "{}", rendered(&findings, &source));
        let compiled = compiled.unwrap();
        let mut text = format!("{:#?}\n", compiled.mission(4, 2));
        show(&compiled.plan, "", &mut text);
        check("valid", &name, &text);
        // What is written down is read back.
        let json = serde_json::to_string(&compiled.plan).unwrap();
        let again: Plan = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), json, "{name}");
    }
}

#[test]
fn bad_files_are_explained() {
    let files = fixtures("bad");
    assert!(files.len() >= 150, "{}", files.len());
    for path in files {
        let name = stem(&path);
        let (source, _, compiled, findings) =
            compile(&format!("{name}.yaml"), &std::fs::read(&path).unwrap());
        assert!(!findings.is_empty(), "{name} is found to be fine");
        assert_eq!(compiled.is_some(), !findings.iter().any(|finding| finding.is_error()), "{name}");
        for finding in &findings {
            assert!(kapell_spec::codes::explain(finding.code).is_some(), "{name}: {}", finding.code);
            let end = finding.span.end as usize;
            assert!(
                finding.span.start as usize <= end && end <= source.text.len() + 2,
                "{name}: {finding:?}"
            );
        }
        check("bad", &name, &rendered(&findings, &source));
    }
}

#[test]
fn most_findings_say_what_to_do() {
    let mut all = Vec::new();
    for path in fixtures("bad") {
        all.extend(compile("x", &std::fs::read(&path).unwrap()).3);
    }
    let hinted = all.iter().filter(|finding| finding.hint.is_some()).count();
    assert!(hinted * 100 >= all.len() * 65, "{hinted} of {}", all.len());
}

#[test]
fn every_code_has_a_file_that_shows_it() {
    let mut seen = std::collections::BTreeSet::new();
    for path in fixtures("bad") {
        seen.extend(compile("x", &std::fs::read(&path).unwrap()).3.iter().map(|finding| finding.code));
    }
    // Too large to keep as a file; tested with the reader itself.
    let elsewhere = ["K0401"];
    let missing: Vec<_> = kapell_spec::codes::TABLE
        .iter()
        .map(|explanation| explanation.code)
        .filter(|code| !seen.contains(code) && !elsewhere.contains(code))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
