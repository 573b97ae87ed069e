//! Files below the folder of a client at home, `@~/.claude/kit/rules.md`, where this repository is what is put there.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, HashMap, HashSet},
};

use kapell_spec::{finding::Span, suggest};
use memchr::memmem;

use crate::{files::FileId, repository::Repository, rule::Report};

/// How the home of a person is written before the folder of a client.
const HOMES: &[&str] = &["@~", "@$HOME", "@${HOME}"];

/// How many files that lie here have to be named so for the repository to be what is put there.
const HELD_MIN: usize = 2;

/// Texts that are taken in from the folder of a client at home: one that has others of this repository's beside it, or that lies
/// elsewhere here, and is not there.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut named: BTreeMap<&str, Vec<(FileId, Span)>> = BTreeMap::new();
    for (id, file) in repository.files.iter().filter(|(_, file)| file.name().ends_with(".md")) {
        for (path, span) in &file.made(|file| Named(named_in(&file.text).collect())).0 {
            named.entry(&file.text[path.range()]).or_default().push((id, *span));
        }
    }
    let is_here =
        |path: &str| repository.files.exists(path) || repository.files.exists(&format!(".claude/{path}"));
    let (held, missing): (Vec<_>, Vec<_>) = named.into_iter().partition(|(path, _)| is_here(path));
    if held.len() < HELD_MIN || missing.len() > held.len() {
        return;
    }
    let places = LazyCell::new(|| Places::of(repository));
    for (path, spans) in missing {
        let Some(meant) = places.meant(path) else { continue };
        let Some(((file, span), rest)) = spans.split_first() else { continue };
        let message = format!("`{path}` is taken in here, and is not there");
        let mut draft = report.add(*file, *span, message);
        if let Some(meant) = meant {
            draft = draft.hint(format!("name `{meant}`, if that is meant"));
        }
        for (file, span) in rest {
            draft = draft.also(*file, *span, "taken in here too");
        }
        draft.done();
    }
}

/// The paths that a text names, with the places of all that stands for them.
struct Named(Vec<(Span, Span)>);

/// Finds the paths below `@~/.claude/` in a text, with the places of all that stands for them.
fn named_in(text: &str) -> impl Iterator<Item = (Span, Span)> {
    memmem::find_iter(text.as_bytes(), "/.claude/").filter_map(|at| {
        let home = HOMES.iter().find(|home| text[..at].ends_with(*home))?;
        let from = at + "/.claude/".len();
        let rest = &text[from..];
        let len = rest.find(|c: char| c.is_whitespace() || "`\"'(),;|<>[]".contains(c)).unwrap_or(rest.len());
        let path = rest[..len].trim_end_matches(['.', ':']);
        let name = path.rsplit_once('/')?.1;
        let plain = !path.contains(['{', '}', '$', '*', '~', ':']) && !path.contains("..");
        let stops = !rest[len..].starts_with(['<', '[', '(']);
        let whole = plain && stops && name.ends_with(".md") && name.len() > ".md".len();
        let end = from + path.len();
        whole.then(|| (Span::new(from, end), Span::new(at - home.len(), end)))
    })
}

/// What lies where in a repository.
struct Places<'a> {
    folders: HashMap<&'a str, Vec<&'a str>>,
    names: HashMap<&'a str, Vec<&'a str>>,
    tops: HashSet<&'a str>,
}

impl<'a> Places<'a> {
    fn of(repository: &'a Repository) -> Self {
        let mut places = Self { folders: HashMap::new(), names: HashMap::new(), tops: HashSet::new() };
        let all = repository.files.iter().map(|(_, file)| &*file.path).chain(repository.files.others());
        for path in all {
            let Some((folder, name)) = path.rsplit_once('/') else { continue };
            let below = folder.strip_prefix(".claude/").unwrap_or(folder);
            places.folders.entry(below).or_default().push(name);
            places.names.entry(name).or_default().push(path);
            places.tops.extend(below.split('/').next());
        }
        places
    }

    /// Tells what a path that is not there should be, if it was to be one of this repository's: nothing if that is not known.
    fn meant(&self, path: &str) -> Option<Option<String>> {
        let (folder, name) = path.rsplit_once('/')?;
        if let [only] = self.names.get(name).map_or(&[][..], Vec::as_slice) {
            let own = path.split('/').next().is_some_and(|top| self.tops.contains(top));
            return own.then(|| Some((*only).to_owned()));
        }
        let beside = self.folders.get(folder)?;
        let near = suggest::nearest(name, beside.iter().copied());
        Some(near.map(|near| format!("{folder}/{near}")))
    }
}
