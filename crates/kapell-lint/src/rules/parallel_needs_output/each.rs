//! What each of several agents does that work at the same time, in one tree of files: it writes one file whole, or changes the
//! branch under the others.

use kapell_spec::{
    claude::{
        definition::Named,
        markdown::Mark,
        reference::{Names, Strength},
        steps::is_parallel,
    },
    finding::Span,
    line,
};
use kapell_view::audit::{AssetKind, Severity};

use crate::{
    agents::{Asset, Resolved},
    repository::Repository,
    rule::Report,
};

/// How a sentence speaks of each of those that work at the same time.
const EACH: &[&str] = &[
    "each of them",
    "each agent",
    "each worker",
    "each subagent",
    "each sub-agent",
    "each reviewer",
    "every agent",
    "every worker",
    "every subagent",
];

/// Words of a text whose agents do not meet, or wait for each other.
const APART: &[&str] = &[
    "worktree",
    "isolation",
    "isolated",
    "lock",
    "own clone",
    "own copy",
    "own checkout",
    "sandbox",
    "container",
];

/// Words of who writes a part of a file, or one of its own.
const PARTLY: &[&str] = &[
    "append",
    "section",
    "own",
    "heading",
    "line",
    "entry",
    "insert",
    "merge",
    "part",
    "add",
    "named",
    "per ",
    "separate",
    "unique",
    "different",
    "suffix",
    "below",
    "comment",
];

pub(super) fn check(repository: &Repository, report: &mut Report<'_>, asset: &Asset) {
    if !matches!(asset.kind, AssetKind::Command | AssetKind::Skill) {
        return;
    }
    let file = &repository.files[asset.file];
    let body = asset.definition.body as usize;
    let Some(lower) = file.lower().get(body..) else { return };
    if !is_parallel(lower) || APART.iter().any(|word| lower.contains(word)) || isolates(repository, asset) {
        return;
    }
    if write_back(repository, report, asset) {
        return;
    }
    for part in parts(lower) {
        let heading = lower[..part.start].rfind("\n#").unwrap_or(0);
        let section = &lower[heading..part.end];
        if !is_parallel(section) || !section.contains("agent") && !section.contains("worker") {
            continue;
        }
        for span in sentences(&file.text, body + part.start, body + part.end) {
            if tell(report, asset, &file.text, span) {
                return;
            }
        }
    }
}

/// How a line speaks of one agent for each of several things.
const PER: &[&str] = &[" per ", "for each", "for every", "each of", "one each"];

/// Tells of agents, one for each of several things and all at the same time, whose own text has each read a file and write the whole
/// of it back; returns whether there are such.
fn write_back(repository: &Repository, report: &mut Report<'_>, asset: &Asset) -> bool {
    let text = &*repository.files[asset.file].text;
    let named = asset.references.iter().filter(|reference| {
        reference.names == Names::Agent && reference.strength >= Strength::Strong && !reference.fenced
    });
    for reference in named {
        let line = line::around(text, reference.span.start as usize);
        let lower = line.to_ascii_lowercase();
        if !is_parallel(&lower) || !PER.iter().any(|word| lower.contains(word)) {
            continue;
        }
        let Resolved::Found(id) = repository.agents.resolve(asset, reference) else { continue };
        let agent = &repository.agents[id];
        let file = &repository.files[agent.file];
        if APART.iter().any(|word| file.lower().contains(word)) || !writes_back(file.lower()) {
            continue;
        }
        let body = agent.definition.body as usize;
        let path = sentences(&file.text, body, file.text.len())
            .into_iter()
            .find_map(|span| back(agent, &file.text, span));
        let Some(path) = path else { continue };
        let message = format!(
            "each `{}` reads `{}` and writes the whole of it back, and several work at the same time: what one adds is lost",
            agent.name, path.text
        );
        let hint = "have each bring back what is to be added, and write it once when all have ended";
        let draft = report.add(agent.file, path.span, message).severity(Severity::High).hint(hint);
        draft.also(asset.file, reference.span, "several are started at the same time here").done();
        return true;
    }
    false
}

/// Words by which a file that was read is written anew.
const BACK: &[&str] =
    &["whole file back", "writes it back", "write it back", "writes the file back", "write the file back"];

/// Tells whether a text in small letters may have a file written anew that was read: by such words, or ``writes `path` back``.
fn writes_back(lower: &str) -> bool {
    BACK.iter().any(|words| lower.contains(words)) || lower.contains("` back")
}

/// Finds the one file that a sentence has written back.
fn path_back<'a>(asset: &'a Asset, text: &str, span: Span, lower: &str) -> Option<&'a Mark> {
    let is_back = |mark: &&Mark| {
        let after = text[mark.span.end as usize..].trim_start_matches('`');
        let before = text[..mark.span.start as usize].trim_end_matches('`').trim_end();
        let verb = before.rsplit([' ', '\n']).next().unwrap_or_default();
        after.starts_with(" back") && matches!(verb, "write" | "writes" | "save" | "saves" | "put" | "puts")
    };
    let mut all = marks(asset, span).filter(|mark| is_one_file(&mark.text));
    if BACK.iter().any(|words| lower.contains(words)) { all.next() } else { all.find(is_back) }
}

/// Finds the one file that a sentence has whoever reads it write back whole.
fn back(asset: &Asset, text: &str, span: Span) -> Option<Named> {
    let lower = text.get(span.range())?.to_ascii_lowercase();
    let denied = ["not ", "n't", "never", "only the", "instead"].iter().any(|word| lower.contains(word));
    let path = path_back(asset, text, span, &lower).filter(|_| !denied)?;
    Some(Named { text: path.text.clone(), span: path.span })
}

/// Tells of what a sentence has each of them do; returns whether that is a fault.
fn tell(report: &mut Report<'_>, asset: &Asset, text: &str, sentence: Span) -> bool {
    let (span, message, hint) = if let Some(path) = written_whole(asset, text, sentence) {
        let message = format!(
            "each of these agents writes `{}` at the same time: the last one to write wins",
            path.text
        );
        (path.span, message, "have each leave a file of its own, and put them together when all have ended")
    } else if let Some(span) = switches(asset, sentence) {
        let message =
            "each of these agents changes the branch of one working tree while the others work in it"
                .to_owned();
        (
            span,
            message,
            "give each a tree of its own: `isolation: worktree` in the agent, or `git worktree add`",
        )
    } else {
        return false;
    };
    report.add(asset.file, span, message).severity(Severity::High).hint(hint).done();
    true
}

/// Tells whether an agent that is named works in a tree of its own.
fn isolates(repository: &Repository, asset: &Asset) -> bool {
    let agents = &repository.agents;
    let own = |resolved: &Resolved| matches!(resolved, Resolved::Found(id) if agents[*id].definition.field("isolation").is_some());
    let named = asset.references.iter().filter(|reference| reference.names == Names::Agent);
    named.map(|reference| agents.resolve(asset, reference)).any(|resolved| own(&resolved))
}

/// Finds what a text in small letters says of each: a sentence, or the list below one that ends with a colon.
fn parts(lower: &str) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, _) in EACH.iter().flat_map(|word| lower.match_indices(word)) {
        let paragraph = lower[at..].find("\n\n").map_or(lower.len(), |len| at + len);
        let sentence = lower[at..paragraph].find(". ").map_or(paragraph, |len| at + len);
        let line = lower[at..].find('\n').map_or(lower.len(), |len| at + len);
        let leads = lower[at..line].trim_end().ends_with(':');
        let end = if leads { line + list(&lower[line..]) } else { sentence };
        if !found.iter().any(|known| known.contains(&at)) {
            found.push(at..end);
        }
    }
    found
}

/// Returns how long the list is that a text begins with.
fn list(text: &str) -> usize {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let plain = line.trim_start();
        let item = plain.starts_with(['-', '*']) || plain.starts_with(|c: char| c.is_ascii_digit());
        if !(plain.is_empty() || item || line.starts_with([' ', '\t'])) {
            break;
        }
        end += line.len();
    }
    end
}

/// Splits a part of a text into sentences and items; a line that goes on in the next one is no end.
fn sentences(text: &str, from: usize, to: usize) -> Vec<Span> {
    let ends = |at: usize| {
        let next = text[at + 1..].trim_start_matches([' ', '\t']);
        let item = next.starts_with(['-', '*', '\n']) || next.starts_with(|c: char| c.is_ascii_digit());
        text[at..].starts_with(". ") || text[at..].starts_with('\n') && item
    };
    let mut spans = Vec::new();
    let mut start = from;
    for at in (from..to).filter(|&at| text.is_char_boundary(at) && ends(at)) {
        spans.push(Span::new(start, at));
        start = at + 1;
    }
    spans.push(Span::new(start, to));
    spans
}

/// Finds the one file that a sentence has each write whole.
fn written_whole(asset: &Asset, text: &str, span: Span) -> Option<Named> {
    let lower = text.get(span.range())?.to_ascii_lowercase();
    let back = path_back(asset, text, span, &lower);
    let path = back.or_else(|| marks(asset, span).find(|mark| is_one_file(&mark.text)))?;
    let before = text.get(span.start as usize..path.span.start as usize)?.to_ascii_lowercase();
    let words: Vec<&str> =
        before.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let puts = words.iter().any(|word| matches!(*word, "write" | "writes" | "save" | "saves"))
        && words.last().is_some_and(|last| matches!(*last, "to" | "into" | "as"));
    let denied = ["not ", "n't", "never", "only the", "instead"].iter().any(|word| lower.contains(word));
    let partly = PARTLY.iter().any(|word| lower.contains(word));
    (!denied && (back.is_some() || puts && !partly))
        .then(|| Named { text: path.text.clone(), span: path.span })
}

/// Returns what stands between marks in a part of a text.
fn marks(asset: &Asset, span: Span) -> impl Iterator<Item = &Mark> {
    let within = move |mark: &Span| span.start <= mark.start && mark.end <= span.end;
    asset.definition.document.marks.iter().filter(move |mark| mark.code && within(&mark.span))
}

/// Tells whether a text in marks is the path of one file, the same for all.
fn is_one_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    !path.contains(['<', '>', '{', '}', '$', '*', '[', ' ', '('])
        && matches!(ending, "md" | "json" | "yaml" | "yml" | "txt" | "csv" | "jsonl" | "toml" | "html")
}

/// Finds where a sentence has each change the branch.
fn switches(asset: &Asset, span: Span) -> Option<Span> {
    let changes = |command: &str| {
        let rest = command.strip_prefix("git checkout ").or_else(|| command.strip_prefix("git switch "));
        rest.is_some_and(|rest| !rest.starts_with("-- ") && !rest.contains(" -- ") && rest.trim() != ".")
    };
    marks(asset, span).find(|mark| changes(mark.text.trim())).map(|mark| mark.span)
}
