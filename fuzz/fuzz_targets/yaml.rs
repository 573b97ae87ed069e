//! The reader of YAML, and the reader of workflows above it: every place is one of the text.
#![no_main]

use kapell_spec::{
    finding::{Source, Span},
    github,
    yaml::{self, Kind, Node},
};
use libfuzzer_sys::fuzz_target;

fn check(text: &str, span: Span) {
    assert!(text.get(span.range()).is_some(), "{span:?} is no place of the text");
}

fn walk(text: &str, node: &Node) {
    check(text, node.span);
    check(text, node.place());
    match &node.kind {
        Kind::Scalar(_) => check(text, node.locate(text, 0..1)),
        Kind::Sequence(items) => items.iter().for_each(|item| walk(text, item)),
        Kind::Mapping(entries) => entries.iter().for_each(|entry| {
            walk(text, &entry.key);
            walk(text, &entry.value);
        }),
    }
}

fuzz_target!(|text: &str| {
    let source = Source::new("a.yml", text);
    let (tree, findings) = yaml::read(&source);
    findings.iter().for_each(|finding| check(text, finding.span));
    if let Some(tree) = &tree {
        walk(text, &tree.root);
        tree.comments.iter().for_each(|comment| check(text, *comment));
    }
    assert!(tree.is_some() || findings.iter().any(|finding| finding.is_error()), "nothing, and no reason");
    let (workflow, findings) = github::workflow(&source);
    findings.iter().for_each(|finding| check(text, finding.span));
    workflow.jobs.iter().for_each(|job| check(text, job.span));
    let _ = github::action(&source);
});
