//! A whole audit of a workflow and an agent, with its fixes: edits are places of the text, and what is fixed reads as well
//! as before.
#![no_main]

use kapell_lint::{
    audit::audit,
    files::Files,
    fix,
    repository::{Depth, Repository},
};
use kapell_spec::{finding::Source, github};
use libfuzzer_sys::fuzz_target;

const WORKFLOW: &str = ".github/workflows/w.yml";

fn errors(text: &str) -> usize {
    let (_, findings) = github::workflow(&Source::new("w.yml", text));
    findings.iter().filter(|finding| finding.is_error()).count()
}

fuzz_target!(|text: &str| {
    let files = [WORKFLOW, ".claude/agents/a.md", ".claude/commands/b.md", ".claude/settings.json"];
    let files = files.map(|path| (path.to_owned(), text.to_owned()));
    let repository = Repository::new(Files::new(files), Depth::Deep);
    let findings = audit(&repository);
    for edit in findings.iter().filter_map(|finding| finding.fix.as_ref()).flat_map(|fix| &fix.edits) {
        assert!(text.get(edit.place.start as usize..edit.place.end as usize).is_some());
    }
    let patch = fix::patch_knowing(&repository, &findings, &findings);
    for change in patch.changes.iter().filter(|change| change.path == WORKFLOW) {
        assert!(errors(&change.after) <= errors(&change.before));
    }
});
