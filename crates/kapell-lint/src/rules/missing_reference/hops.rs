//! Includes of includes that lie further from the instructions than they are followed.

use std::collections::{BTreeMap, VecDeque};

use kapell_spec::{
    claude::{
        definition::Definition,
        reference::{self, Names, Reference},
    },
    finding::Span,
};
use kapell_view::audit::{AssetKind, Severity};

use super::is_own;
use crate::{
    agents::{Asset, Home},
    files::{FileId, joined},
    repository::Repository,
    rule::Report,
};

/// How many includes are followed, one from the text of the other.
///
/// Source: <https://code.claude.com/docs/en/memory> ("Import additional files"): "Imported files can recursively import other
/// files, with a maximum depth of four hops."
const HOPS: u32 = 4;

/// An include: the text it stands in, its place, and where it leads.
#[derive(Debug, Clone, Copy)]
struct Include {
    from: FileId,
    span: Span,
    to: FileId,
}

/// Texts that nobody includes within so many hops. A longer chain is told at the include that is the first to be lost.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let roots = repository.agents.of(AssetKind::Memory).map(|(_, memory)| memory);
    let roots: Vec<&Asset> = roots.filter(|memory| is_read_first(repository, memory)).collect();
    // Most instructions include nothing.
    let includes = |memory: &&Asset| memory.references.iter().any(|named| named.names == Names::Import);
    if !roots.iter().any(includes) {
        return;
    }
    let (far, lost) = walk(repository, &roots);
    // Behind the first that is lost all others are.
    let mut first = lost.iter().filter(|include| far.get(&include.from) == Some(&HOPS)).copied().peekable();
    while let Some(include) = first.next() {
        let name = &repository.files[include.to].path;
        let message = format!(
            "`{name}` is not read: it is include number {} from the instructions on, and {HOPS} are followed",
            HOPS + 1
        );
        let mut draft = report
            .add(include.from, include.span, message)
            .severity(Severity::Medium)
            .hint("include it from a text nearer to the instructions");
        // What the chain goes on to belongs to its last finding.
        if first.peek().is_none() {
            for beyond in lost.iter().filter(|other| far.get(&other.from) > Some(&HOPS)) {
                draft = draft.also(beyond.from, beyond.span, "nor is this");
            }
        }
        draft.done();
    }
}

/// Tells whether a text is read by itself: those of other clients are read where one of these includes them.
fn is_read_first(repository: &Repository, memory: &Asset) -> bool {
    let others = ["AGENTS.md", "AGENTS.override.md", "GEMINI.md"];
    memory.home == Home::Claude && !others.contains(&repository.files[memory.file].name())
}

/// Returns how many includes lie between the instructions and each text, at least, and the includes that lead to texts which
/// are further than is followed.
fn walk(repository: &Repository, roots: &[&Asset]) -> (BTreeMap<FileId, u32>, Vec<Include>) {
    let mut far: BTreeMap<FileId, u32> = roots.iter().map(|root| (root.file, 0)).collect();
    let mut next: VecDeque<FileId> = far.keys().copied().collect();
    let mut found: Vec<Include> = Vec::new();
    while let Some(from) = next.pop_front() {
        let hops = far.get(&from).copied().unwrap_or_default() + 1;
        for include in includes(repository, from) {
            found.push(include);
            far.entry(include.to).or_insert_with(|| {
                next.push_back(include.to);
                hops
            });
        }
    }
    found.retain(|include| far.get(&include.to) > Some(&HOPS));
    found.dedup_by_key(|include| (include.from, include.to));
    (far, found)
}

/// Finds the includes of a text that lead to texts which were read.
fn includes(repository: &Repository, from: FileId) -> Vec<Include> {
    let file = &repository.files[from];
    if !file.text.contains('@') {
        return Vec::new();
    }
    let definition = Definition::read(&file.text);
    let named = reference::references(&file.text, &definition).into_iter();
    let leads = |reference: Reference| {
        let (path, span) = (&*reference.name, reference.span);
        let to = joined(&file.path, path).and_then(|path| repository.files.find(&path));
        (reference.names == Names::Import && is_own(path)).then_some(Include { from, span, to: to? })
    };
    named.filter_map(leads).collect()
}
