//! Files between steps that a command takes from a folder of its own, and that nobody is told to make.

use std::collections::BTreeMap;

use kapell_spec::{claude::markdown::Mark, finding::Span};
use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};
use memchr::memmem;

use crate::{
    agents::{Asset, Home},
    repository::Repository,
    rule::Report,
};

/// Endings of files that steps hand on.
const ENDINGS: &[&str] = &["json", "jsonl", "md", "yaml", "yml", "csv", "txt"];

/// Words with which a file is made, as they begin.
const MAKES: &[&str] = &[
    "writ", "wrote", "save", "saving", "creat", "generat", "produc", "output", "append", "store", "export",
    "record", "put", "emit", "collect", "dump", "leave", "make", "add",
];

/// Words right before a file that is taken in.
const TAKES: &[&str] = &["of", "from", "read", "reads", "using"];

/// Words of a sentence that takes a file only where there is one.
const MAYBE: &[&str] =
    &["if ", "exist", "optional", "any ", "missing", "previous", "earlier run", "last run"];

/// How many files of one text are looked for elsewhere.
const LOOKED_FOR: usize = 8;

/// Tells of such files, where the same text has another one made in that folder, which is not in the repository.
///
/// A program may make anything: behind one nothing is told.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let own = |asset: &Asset| asset.home == Home::Claude && asset.scope == Scope::Repository;
    let commands = repository.agents.of(AssetKind::Command).filter(|(_, asset)| own(asset));
    for (_, asset) in commands {
        let text = &*repository.files[asset.file].text;
        let taken = unmade(asset, text).into_iter().take(LOOKED_FOR);
        for Unmade { span, path, there, made } in taken.filter(|file| !repository.files.exists(file.folder()))
        {
            if !is_named_once(repository, path) {
                continue;
            }
            let message =
                format!("`{path}` is taken in here, and nobody makes it: what is made there is `{there}`");
            report
                .add(asset.file, span, message)
                .severity(Severity::High)
                .confidence(Confidence::Medium)
                .hint(format!("take `{there}`, or say who makes `{path}`"))
                .also(asset.file, made, "made here")
                .done();
        }
    }
}

/// A file that is taken in, and another one of its folder that is made.
struct Unmade<'a> {
    span: Span,
    path: &'a str,
    there: &'a str,
    made: Span,
}

impl Unmade<'_> {
    fn folder(&self) -> &str {
        folder(self.path).unwrap_or_default()
    }
}

/// Finds the files that a text takes in up to the first program that it runs, and of whose folders it has had another one made.
fn unmade<'a>(asset: &'a Asset, text: &'a str) -> Vec<Unmade<'a>> {
    let document = &asset.definition.document;
    let fence = document.fences.first().map_or(u32::MAX, |fence| fence.span.start);
    let runs = |mark: &&Mark| mark.text.trim().contains(' ') && !mark.text.contains('{');
    let marks = document.marks.iter().filter(|mark| mark.code);
    let mut made: BTreeMap<&str, (&str, Span)> = BTreeMap::new();
    let mut found = Vec::new();
    for mark in marks.take_while(|mark| mark.span.start < fence && !runs(mark)) {
        let path = mark.text.trim();
        let Some(folder) = folder(path) else { continue };
        match made.get(folder) {
            Some(&(there, made)) if there != path && takes(text, mark.span) => {
                found.push(Unmade { span: mark.span, path, there, made });
            }
            None if makes(text, mark.span) => drop(made.insert(folder, (path, mark.span))),
            _ => {}
        }
    }
    found
}

/// Returns the folder of a path that is that of one file which steps may hand on.
fn folder(path: &str) -> Option<&str> {
    let (folder, name) = path.rsplit_once('/')?;
    let (stem, ending) = name.rsplit_once('.')?;
    let plain =
        !path.contains(['$', '{', '}', '<', '>', '*', '[', ' ', '~', ':']) && !path.starts_with(['/', '.']);
    (plain && !stem.is_empty() && ENDINGS.contains(&ending)).then_some(folder)
}

/// How many bytes around a place may belong to its sentence.
const AROUND: usize = 400;

/// Returns the sentence around a place, in small letters and without what stands in marks, and what of it stands before the place.
fn sentence(text: &str, span: Span) -> (String, String) {
    let ends = [". ", ".\n", "\n\n", "\n- ", "\n#", "; ", ".** ", ":** "];
    let near = |at: usize| (at..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    let (start, end) = (span.start as usize, span.end as usize);
    let before = &text[near(start.saturating_sub(AROUND)).min(start)..start];
    let behind = &text[end..near(end + AROUND)];
    let from = ends.iter().filter_map(|end| Some(before.rfind(end)? + end.len())).max().unwrap_or(0);
    let to = ends.iter().filter_map(|end| behind.find(end)).min().unwrap_or(behind.len());
    let plain = |text: &str| text.split('`').step_by(2).collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    let before = plain(&before[from..]);
    (format!("{before} {}", plain(&behind[..to])), before)
}

fn words(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// Tells whether a sentence takes a file in, and says of none that it is made.
fn takes(text: &str, span: Span) -> bool {
    let (whole, before) = sentence(text, span);
    let taken = words(&before).next_back().is_some_and(|last| TAKES.contains(&last));
    taken && !is_making(&whole) && !MAYBE.iter().any(|word| whole.contains(word))
}

/// Tells whether the words before a file have it made.
fn makes(text: &str, span: Span) -> bool {
    is_making(&sentence(text, span).1)
}

fn is_making(lower: &str) -> bool {
    words(lower).any(|word| MAKES.iter().any(|start| word.starts_with(start)))
}

/// Tells whether no file of the repository names this one anywhere but once.
fn is_named_once(repository: &Repository, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let named = repository
        .files
        .iter()
        .map(|(_, file)| memmem::find_iter(file.text.as_bytes(), name).take(2).count());
    named.sum::<usize>() == 1
}
