//! Files that have to be there before those who write them are started.

use std::sync::LazyLock;

use kapell_spec::{finding::Span, line, words::Words};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{agents::Asset, files::File, repository::Repository, rule::Report};

/// Words of a text that goes on only where all of them are there.
const GATES: &[&str] = &[
    "do not continue",
    "don't continue",
    "do not proceed",
    "don't proceed",
    "stop if",
    "stop when",
    "before continuing",
];

/// Whether a text has any of the words of [`GATES`].
struct Gated(bool);

/// How many such files make it certain that they are not those of a run before.
const FILES_MIN: usize = 2;

/// Tells of a list of files, `Verify all expected report files exist:`, without which a text does not go on, and that only agents write
/// which it starts further below.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>, asset: &Asset) {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(GATES));
    let file = &repository.files[asset.file];
    if !file.made(|file| Gated(WORDS.is_in_lower(file.lower()))).0 {
        return;
    }
    let lower = file.lower();
    let body = asset.definition.body as usize;
    let asks = lower.get(body..).unwrap_or_default().match_indices("exist").map(|(at, _)| body + at);
    let found = asks.filter(|&at| is_asked(line::around(lower, at))).find_map(|at| {
        let (start, head) = (line::start(lower, at), line::around(lower, at));
        let (files, end) = listed(&file.text, start + head.len());
        let late = late(repository, file, &files, gate_end(lower, end)?);
        let span = Span::new(start, start + head.trim_end().len());
        (late.len() >= FILES_MIN).then_some((span, late))
    });
    let Some((span, late)) = found else { return };
    let Late { path, writer } = late[0];
    let message = format!(
        "`{path}` and {} more have to be there before `{}` and the others that write them are started",
        late.len() - 1,
        writer.name
    );
    report
        .add(asset.file, span, message)
        .severity(Severity::High)
        .confidence(Confidence::High)
        .also(writer.file, writer.head(), "it alone writes the first of them")
        .hint("ask for them when those who write them have ended")
        .done();
}

/// Tells whether a line in small letters has somebody see whether all of a list is there.
fn is_asked(head: &str) -> bool {
    ["verify", "check", "ensure", "make sure", "confirm"].iter().any(|verb| head.contains(verb))
        && head.trim_end().ends_with(':')
}

/// A file that only an agent writes which is started later.
#[derive(Clone, Copy)]
struct Late<'a> {
    path: &'a str,
    writer: &'a Asset,
}

/// Returns those of some files whose writers a text names behind a place first.
fn late<'a>(repository: &'a Repository, file: &File, files: &[&'a str], gate: usize) -> Vec<Late<'a>> {
    let behind = |late: &Late<'_>| file.text.find(&*late.writer.name).is_some_and(|named| named >= gate);
    let written = files.iter().filter_map(|path| Some(Late { path, writer: writer(repository, path)? }));
    written.filter(behind).collect()
}

/// Returns where the line ends, next behind a list or after one more, that goes on only where nothing of the list is missing.
fn gate_end(lower: &str, from: usize) -> Option<usize> {
    let mut end = from;
    lower.get(from..)?.split_inclusive('\n').take(2).find_map(|line| {
        end += line.len();
        let gate = GATES.iter().any(|words| line.contains(words));
        (gate && ["missing", "exist"].iter().any(|word| line.contains(word))).then_some(end)
    })
}

/// Returns the paths of a list that begins behind a line, and where it ends.
fn listed(text: &str, from: usize) -> (Vec<&str>, usize) {
    let (mut paths, mut end) = (Vec::new(), from);
    for line in text.get(from..).unwrap_or_default().split_inclusive('\n') {
        let plain = line.trim();
        let Some(item) = plain.strip_prefix(['-', '*']) else {
            if plain.is_empty() {
                end += line.len();
                continue;
            }
            break;
        };
        let path = item.split_whitespace().next().unwrap_or_default().trim_matches('`');
        if path.contains('/') && path.contains('.') && !path.contains(['[', '<', '{', '*']) {
            paths.push(path);
        }
        end += line.len();
    }
    (paths, end)
}

/// Words before a file that have it written.
const WRITES: &[&str] = &["Write only", "Write", "write", "Save to", "save to"];

/// Finds the one agent whose text has it write a file: ``Write only `path` ``.
fn writer<'a>(repository: &'a Repository, path: &str) -> Option<&'a Asset> {
    let marked = format!("`{path}`");
    let agents = repository.agents.of(AssetKind::Agent).map(|(_, agent)| agent);
    let mut writing = agents.filter(|agent| {
        let text = &repository.files[agent.file].text;
        text.match_indices(&*marked).any(|(at, _)| {
            let before = text[..at].strip_suffix(' ');
            before.is_some_and(|before| WRITES.iter().any(|verb| before.ends_with(verb)))
        })
    });
    let first = writing.next()?;
    // Copies of it for other clients are called alike.
    writing.all(|other| other.name == first.name).then_some(first)
}
