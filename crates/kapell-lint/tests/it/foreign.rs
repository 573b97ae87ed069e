//! Logs of other tools, as zizmor 1.32 and actionlint (its SARIF template) wrote them for `tests/sarif/release.yml`.

use std::{collections::BTreeMap, fs, path::Path};

use insta::assert_snapshot;
use kapell_lint::{
    audit::audit,
    files::Files,
    foreign::{LogError, fold, read},
    repository::{Depth, Repository},
};
use kapell_view::audit::Foreign;

fn kept(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sarif").join(name)).unwrap()
}

const PATH: &str = ".github/workflows/release.yml";

fn repository() -> Repository {
    let files = BTreeMap::from([(PATH.to_owned(), kept("release.yml"))]);
    Repository::new(Files::new(files), Depth::Standard)
}

fn import(logs: &[String]) -> Vec<Foreign> {
    let repository = repository();
    let read = |log: &String| read(log.as_bytes(), "/srv/place", &repository.files).unwrap();
    let mut found: Vec<Foreign> = logs.iter().flat_map(read).collect();
    fold(&mut found, &audit(&repository));
    found
}

#[test]
fn findings_of_other_tools_are_listed_once_and_ours_stands_for_the_same() {
    let (zizmor, actionlint) = (kept("zizmor.sarif"), kept("actionlint.sarif"));
    let found = import(&[actionlint.clone(), zizmor.clone(), actionlint, zizmor]);
    let findings = audit(&repository());
    let lines: Vec<String> = found
        .iter()
        .map(|one| {
            let place = &one.place;
            let same = one.same_as.as_ref().map(|same| {
                let ours = findings.iter().find(|finding| finding.fingerprint == *same).unwrap();
                format!(" = {}", ours.rule)
            });
            format!(
                "{}:{}-{}:{} {:?} {} {}{}",
                place.line,
                place.column,
                place.end_line,
                place.end_column,
                one.severity,
                one.tool,
                one.rule,
                same.unwrap_or_default()
            )
        })
        .collect();
    assert_snapshot!(lines.join("\n"), @r"
    1:1-19:1 Medium zizmor excessive-permissions
    6:3-10:24 Medium zizmor excessive-permissions
    9:9-9:34 Medium zizmor artipacked
    9:15-9:33 High actionlint action
    9:15-9:34 High zizmor unpinned-uses
    13:9-13:11 High actionlint if-cond
    13:13-13:18 Low zizmor obfuscation
    16:15-16:33 High actionlint action
    17:24-17:55 High actionlint expression
    18:9-18:13 High actionlint syntax-check
    ");
    let shel = found.iter().find(|one| one.rule == "syntax-check").unwrap();
    assert_eq!(&kept("release.yml")[shel.place.start as usize..shel.place.start as usize + 4], "shel");
}

#[test]
fn places_are_made_relative_however_the_log_names_them() {
    let log = |location: &str, bases: &str| {
        format!(
            r#"{{"version":"2.1.0","runs":[{{"tool":{{"driver":{{"name":"t"}}}},"originalUriBaseIds":{{{bases}}},
            "results":[{{"message":{{"text":"m"}},"locations":[{{"physicalLocation":{{"artifactLocation":{location}}}}}]}},
            {{"kind":"pass","message":{{"text":"m"}}}},
            {{"suppressions":[{{"kind":"inSource"}}],"message":{{"text":"m"}}}}]}},
            {{"tool":{{"driver":{{"name":"failed to start"}}}},"results":null}}]}}"#
        )
    };
    let root = r#""R":{"uri":"file:///srv/place/"}"#;
    for (location, bases) in [
        (r#"{"uri":".github/workflows/a%20b.yml"}"#, ""),
        (r#"{"uri":"./.github/workflows/a%20b.yml","uriBaseId":"%SRCROOT%"}"#, ""),
        (r#"{"uri":"file:///srv/place/.github/workflows/a%20b.yml"}"#, root),
        (r#"{"uri":".github/workflows/a%20b.yml","uriBaseId":"R"}"#, root),
    ] {
        let found = import(&[log(location, bases)]);
        let places: Vec<_> = found.iter().map(|one| (&*one.place.path, one.place.line, &*one.rule)).collect();
        assert_eq!(places, [(".github/workflows/a b.yml", 1, "unnamed")], "{location}");
    }
}

#[test]
fn what_is_no_log_is_refused() {
    let refused = |text: &str| read(text.as_bytes(), "/", &Files::default()).unwrap_err();
    assert!(matches!(refused("{}"), LogError::NotSarif(_)));
    assert!(matches!(refused(r#"{"version":"2.0.0","runs":[]}"#), LogError::Version(_)));
}
