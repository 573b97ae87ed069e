//! Paths that texts tell to read, follow or run.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet, HashSet},
};

use kapell_spec::{finding::Span, line};
use kapell_view::audit::{AssetKind, Confidence, Scope};
use memchr::memmem;

use super::is_own;
use crate::{
    agents::{Asset, Home},
    files::{FileId, joined},
    repository::Repository,
    rule::Report,
};

/// Where something stands, again and again.
type Places = Vec<(FileId, Span)>;

/// Verbs and words after which a path is one that has to be there by then.
const TOLD: &[&str] = &[
    "read",
    "follow",
    "see",
    "load",
    "open",
    "run",
    "execute",
    "consult",
    "from",
    "template",
    "checklist",
    "against",
    "using",
    "source",
    "rules",
    "guide",
];

/// Words of a line about a file that is only made, may be missing, or lies elsewhere.
pub(super) const NOT_YET: &[&str] = &[
    "creat",
    "writ",
    "save",
    "generat",
    "output",
    "produc",
    "append",
    "store",
    "record",
    // What goes to a file makes it; `Go to` at the head of a sentence does not.
    " go to ",
    " goes to ",
    " land in ",
    " lands in ",
    " end up in ",
    " ends up in ",
    "log ",
    "if ",
    "exist",
    "optional",
    "missing",
    "e.g.",
    "example",
    "such as",
    "update",
    "add ",
    "delete",
    "remove",
    "copy",
    "move",
    "rename",
    "target",
    "new ",
    "user's",
    "your project",
    "not ",
    "never",
    "init",
    "would",
    "like ",
];

/// Files of the repository's own that its agents, commands and instructions are told to read, follow or run: in a folder
/// where there are others, and by nothing that makes them.
pub(super) fn told_paths(repository: &Repository, report: &mut Report<'_>) {
    let own = |asset: &Asset| asset.home == Home::Claude && asset.scope == Scope::Repository;
    let mut told: BTreeSet<String> = BTreeSet::new();
    let kept = LazyCell::new(|| kinds(repository));
    let mut often: BTreeMap<&str, Vec<(FileId, Span)>> = BTreeMap::new();
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| own(asset)) {
        let file = &repository.files[asset.file];
        let named = file.made(|file| Paths::of(asset, &file.text));
        slipped(repository, asset, &named.dotted, report);
        // Paths in a skill may be from its own folder.
        if asset.kind == AssetKind::Skill || file.path.matches('/').count() > 3 {
            continue;
        }
        let text = &*file.text;
        for (at, path) in named.marked.iter().map(|place| (place.start as usize, &text[place.range()])) {
            let bare = path.trim_start_matches("./");
            let here = repository.files.exists(bare)
                || joined(&file.path, path).is_some_and(|beside| repository.files.exists(&beside));
            if !here && is_own(path) && bare.starts_with(".claude/") && bare.ends_with(".md") {
                often.entry(bare).or_default().push((asset.file, Span::new(at, at + path.len())));
            }
            if here
                || !is_own(path)
                || !kind(bare).is_some_and(|kind| kept.contains(&kind))
                || told.contains(bare)
            {
                continue;
            }
            let name = bare.rsplit('/').next().unwrap_or(bare);
            let parts =
                text.lines().flat_map(|line| line.split([',', ';'])).flat_map(|part| part.split(". "));
            let made = parts.filter(|part| part.contains(name)).any(|part| {
                let part = part.to_ascii_lowercase();
                // What is told to be done then is no word about the file itself.
                let part = part.split(" before you ").next().unwrap_or_default();
                NOT_YET.iter().any(|word| part.contains(word))
            });
            let before = text[..at].trim_end_matches(['`', ' ', '(']).to_ascii_lowercase();
            // `Read `a.md` and `b.md``: what is said of the first holds of the second.
            let before = match before.strip_suffix(" and").and_then(|rest| rest.strip_suffix('`')) {
                Some(rest) => rest[..rest.rfind('`').unwrap_or(0)].trim_end().to_owned(),
                None => before,
            };
            // `Read `a.md` before you write, and `b.md` before you review.`
            let start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let joined = before.ends_with(", and")
                && before[start..].trim_start_matches(['-', ' ']).starts_with("read ");
            let last = before.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
            // `Follow the checklist in `x.md``; that something is in a file says nothing of the file.
            let sentence = &before[start..];
            let within = last == "in"
                && ["follow ", "read ", "use ", "checklist in", "template in", "rules in"]
                    .iter()
                    .any(|word| sentence.contains(word));
            if !made && (joined || within || TOLD.contains(&last)) {
                told.insert(bare.to_owned());
                let span = Span::new(at, at + path.len());
                let message = format!("`{path}` is to be read or run here, and is not there");
                report.add(asset.file, span, message).confidence(Confidence::Medium).done();
            }
        }
    }
    often.retain(|path, _| !told.contains(*path));
    named_often(repository, report, &often);
    copied(repository, report);
}

/// How many files have to name a text for all of them to count on it.
const OFTEN: usize = 3;

/// Words of a line about a text that somebody makes, or that need not be there.
const MADE: &[&str] =
    &["creat", "writ", "generat", "save", "output", "if ", "optional", "exist", "delet", "remov"];

/// Texts below `.claude` that several files lead to, in a folder that is there, and that nobody makes.
fn named_often(
    repository: &Repository,
    report: &mut Report<'_>,
    often: &BTreeMap<&str, Vec<(FileId, Span)>>,
) {
    for (path, places) in often {
        let files: BTreeSet<FileId> = places.iter().map(|(file, _)| *file).collect();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let made = |(file, span): &(FileId, Span)| {
            let line = line::around(&repository.files[*file].text, span.start as usize).to_ascii_lowercase();
            MADE.iter().any(|word| line.contains(word))
        };
        if files.len() < OFTEN
            || folder == ".claude"
            || !repository.files.exists(folder)
            || places.iter().any(made)
        {
            continue;
        }
        let Some(((file, span), rest)) = places.split_first() else { continue };
        let message = format!("`{path}`, which {} files lead to, is not there", files.len());
        let mut draft = report.add(*file, *span, message);
        for (file, span) in rest {
            draft = draft.also(*file, *span, "named here too");
        }
        draft.done();
    }
}

/// What is told to be copied from below `.claude`, and lies in another folder there: `cp .claude/templates/plan.md`.
fn copied(repository: &Repository, report: &mut Report<'_>) {
    let own = |asset: &Asset| asset.home == Home::Claude && asset.scope == Scope::Repository;
    let mut told: BTreeMap<&str, Vec<(FileId, Span)>> = BTreeMap::new();
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| own(asset)) {
        let file = &repository.files[asset.file];
        for place in &file.made(|file| Paths::of(asset, &file.text)).copied {
            let path = &file.text[place.range()];
            if !repository.files.exists(path) {
                told.entry(path).or_default().push((asset.file, *place));
            }
        }
    }
    // What was moved together is one mistake.
    let mut folders: BTreeMap<&str, Vec<(&str, &str, Places)>> = BTreeMap::new();
    for (path, places) in told {
        if let Some((folder, meant)) = moved_below(repository, path) {
            folders.entry(folder).or_default().push((path, meant, places));
        }
    }
    for moved in folders.into_values() {
        let mut places: Vec<_> = moved
            .iter()
            .flat_map(|(path, meant, places)| places.iter().map(move |place| (*place, *path, *meant)))
            .collect();
        places.sort_by_key(|((file, span), ..)| (*file, span.start));
        let Some((((file, span), path, meant), rest)) = places.split_first() else { continue };
        let more =
            if moved.len() > 1 { format!("; {} more like it", moved.len() - 1) } else { String::new() };
        let message = format!("`{path}` is copied here, and is not there{more}");
        let mut draft = report.add(*file, *span, message).hint(format!("copy `{meant}`, if that is meant"));
        for ((file, span), path, _) in rest {
            draft = draft.also(*file, *span, format!("`{path}` is copied here"));
        }
        draft.done();
    }
}

/// Finds the only file below the folder of a path that has its name, and that folder.
fn moved_below<'a>(repository: &'a Repository, path: &'a str) -> Option<(&'a str, &'a str)> {
    let (folder, name) = path.rsplit_once('/')?;
    let all = repository.files.iter().map(|(_, file)| &*file.path).chain(repository.files.others());
    let below = |other: &&str| {
        let inner = other.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        inner.is_some_and(|inner| inner.rsplit('/').next() == Some(name))
    };
    let mut moved = all.filter(below);
    let only = moved.next()?;
    moved.next().is_none().then_some((folder, only))
}

/// Folders of clients, without the dot before their names and the one before the slash.
const DOTLESS: &[&str] = &["/claude/", "/github/", "/codex/", "/opencode/", "/gemini/", "/cursor/"];

/// Paths whose dot stands before the slash and not behind it: `./claude/x.md`, where there is `.claude/x.md`.
fn slipped(repository: &Repository, asset: &Asset, dotted: &[Span], report: &mut Report<'_>) {
    let text = &*repository.files[asset.file].text;
    let mut places = dotted.iter().filter_map(|&place| {
        let path = &text[place.range()];
        let meant = format!(".{}", &path[2..]);
        let slip = !repository.files.exists(&path[2..]) && repository.files.exists(&meant);
        slip.then_some((place, path, meant))
    });
    let Some((span, path, meant)) = places.next() else { return };
    let message = format!("`{path}` is named here, and is not there");
    let mut draft = report.add(asset.file, span, message).hint(format!("write `{meant}`"));
    for (span, path, _) in places {
        draft = draft.also(asset.file, span, format!("nor is `{path}`"));
    }
    draft.done();
}

/// Where the paths stand that a file names.
struct Paths {
    /// In marks of code, and below `.claude`.
    marked: Vec<Span>,
    /// Below a folder that is called as that of a client, but for its dot: `./claude/x.md`.
    dotted: Vec<Span>,
    /// Copied from below `.claude`.
    copied: Vec<Span>,
}

impl Paths {
    fn of(asset: &Asset, text: &str) -> Self {
        let place = |(at, path): (usize, &str)| Span::new(at, at + path.len());
        Self {
            marked: paths(asset, text).map(place).collect(),
            dotted: dotted(asset, text).map(place).collect(),
            copied: copies(text).map(place).collect(),
        }
    }
}

/// Finds paths below folders that are called as those of clients, but for their dots.
fn dotted<'a>(asset: &Asset, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let body = asset.definition.body as usize;
    let dots = memmem::find_iter(&text.as_bytes()[body..], "./").map(move |at| body + at);
    let below = dots.filter(|from| DOTLESS.iter().any(|folder| text[from + 1..].starts_with(folder)));
    below.filter_map(|from| {
        let rest = &text[from..];
        let len = rest.find(|c: char| c.is_whitespace() || "`\"'(),;".contains(c)).unwrap_or(rest.len());
        let lone = !text[..from].ends_with(|c: char| c.is_alphanumeric() || "./-_".contains(c));
        lone.then(|| (from, rest[..len].trim_end_matches(['.', ':'])))
    })
}

/// Finds paths of texts below `.claude` that are copied. A name that is filled in, or a day, is not known here.
fn copies(text: &str) -> impl Iterator<Item = (usize, &str)> {
    memmem::find_iter(text.as_bytes(), "cp .claude/").filter_map(|at| {
        let from = at + "cp ".len();
        let rest = &text[from..];
        let path =
            &rest[..rest.find(|c: char| c.is_whitespace() || "`\"';".contains(c)).unwrap_or(rest.len())];
        let begins = !text[..at].ends_with(|c: char| c.is_alphanumeric());
        let plain = path.ends_with(".md") && !path.contains(['[', '$', 'Y']);
        (begins && plain && is_own(path)).then_some((from, path))
    })
}

/// Finds paths of files in marks of code, and those below `.claude` wherever they stand.
fn paths<'a>(asset: &'a Asset, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let marks = asset.definition.document.marks.iter().filter(|mark| mark.code).map(|mark| {
        let inner = text[mark.span.range()].trim_matches('`');
        (line::offset(text, inner), inner)
    });
    let body = asset.definition.body as usize;
    let bare = memmem::find_iter(&text.as_bytes()[body..], " .claude/").map(move |at| {
        let from = body + at + 1;
        let len = text[from..]
            .find(|c: char| c.is_whitespace() || "`\"'(),;".contains(c))
            .unwrap_or(text.len() - from);
        (from, text[from..from + len].trim_end_matches(['.', ':', ',']))
    });
    let is_path = |path: &str| {
        path.contains('/')
            && !path.contains(char::is_whitespace)
            && !path.starts_with('@')
            && path.rsplit('/').next().is_some_and(|name| {
                name.rsplit_once('.')
                    .is_some_and(|(stem, end)| !stem.is_empty() && (2..=5).contains(&end.len()))
            })
    };
    marks.chain(bare).filter(move |(_, path)| is_path(path))
}

/// The folder of a file that is not at the top, and the ending of its name.
fn kind(path: &str) -> Option<(&str, &str)> {
    let (folder, name) = path.rsplit_once('/')?;
    Some((folder, name.rsplit('.').next().unwrap_or(name)))
}

/// Which kinds of files the folders of the repository hold.
fn kinds(repository: &Repository) -> HashSet<(&str, &str)> {
    let read = repository.files.iter().map(|(_, file)| &*file.path);
    read.chain(repository.files.others()).filter_map(kind).collect()
}
