//! Agents of code whose prompts lie in a folder, a file for each: names that no file there has.
//!
//! Which folder is meant is known by its name, of which the repository has one that holds such files, and by the names that are
//! found there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kapell_spec::finding::Span;

use crate::{
    code::{Id, Language, Unit, modules::Modules, unit::FUNCTIONS},
    files::FileId,
    repository::Repository,
    rule::{Report, names},
};

/// Endings of files that hold what an agent is told.
const ENDINGS: &[&str] = &[".md", ".txt", ".prompt", ".j2", ".jinja", ".jinja2", ".yaml", ".yml"];

/// How many names have to be found before one that is not is told.
const FOUND_MIN: usize = 2;

/// How many such functions are followed.
const LOADERS_MAX: usize = 32;

/// How far it is followed from the function that opens the file to those that hand it a name.
const STEPS: u32 = 2;

/// Words of a function that goes on where there is no such file.
const GOES_ON: &[&str] =
    &["except", "catch", "exists", "is_file", "isFile", ".get(", " in ", "fallback", "default", "??", "||"];

/// A function that opens the file of the name that it is given.
#[derive(Clone)]
struct Loader<'a> {
    unit: &'a Unit,
    function: Id,
    /// Which of its parameters is the name.
    at: usize,
    /// What that is called.
    name: &'a str,
    folder: &'a str,
    ending: &'a str,
}

/// A name that is looked up in a folder, and where.
type Asked<'a> = (FileId, Span, &'a str);

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    // Most code opens nothing of the kind.
    let mut opening = repository.code.iter().filter(|unit| may_open(unit)).peekable();
    if opening.peek().is_none() {
        return;
    }
    let folders = folders(repository);
    let mut loaders: Vec<Loader<'_>> =
        opening.flat_map(|unit| openers(&folders, unit)).take(LOADERS_MAX).collect();
    if loaders.is_empty() {
        return;
    }
    let modules = Modules::new(&repository.code);
    let mut last = loaders.clone();
    for _ in 0..STEPS {
        let more = last.iter().flat_map(|loader| handing_on(repository, &modules, loader));
        last = more.take(LOADERS_MAX).collect();
        loaders.extend(last.iter().cloned());
    }
    let mut asked: BTreeMap<(&str, &str), Vec<Asked<'_>>> = BTreeMap::new();
    for loader in &loaders {
        for (unit, given) in given(repository, &modules, loader) {
            if let Some(name) = plain(unit, given) {
                let places = asked.entry((loader.folder, loader.ending)).or_default();
                places.push((unit.file, unit.span(given), name));
            }
        }
    }
    for ((folder, ending), places) in asked {
        tell(repository, report, (folder, ending), places);
    }
}

fn tell(
    repository: &Repository,
    report: &mut Report<'_>,
    (folder, ending): (&str, &str),
    mut places: Vec<Asked<'_>>,
) {
    places.sort_by_key(|(file, span, _)| (*file, span.start));
    places.dedup();
    let there = |name: &str| repository.files.exists(&format!("{folder}/{name}{ending}"));
    let found: BTreeSet<&str> = places.iter().map(|(_, _, name)| *name).filter(|name| there(name)).collect();
    let missing: Vec<_> = places.iter().filter(|(_, _, name)| !there(name)).collect();
    let Some(((file, span, _), rest)) = missing.split_first().filter(|_| found.len() >= FOUND_MIN) else {
        return;
    };
    let mut called: Vec<&str> = missing.iter().map(|(_, _, name)| *name).collect();
    let mut seen = BTreeSet::new();
    called.retain(|name| seen.insert(*name));
    let message = format!(
        "`{folder}` has no file for {}: this fails when it is reached",
        names(called.iter().copied())
    );
    let hint = format!("write `{folder}/{}{ending}`, or name one that is there: {}", called[0], names(found));
    let mut draft = report.add(*file, *span, message).hint(hint);
    for (file, span, _) in rest {
        draft = draft.also(*file, *span, "nor is there one for this");
    }
    draft.done();
}

/// Finds the functions of a file that open the file of a name which they are given, in a folder that is there.
fn openers<'a>(folders: &Folders<'a>, unit: &'a Unit) -> Vec<Loader<'a>> {
    let tables = || tables(folders, unit).into_iter().flat_map(|table| readers(unit, table));
    let mut found: Vec<Loader<'_>> = if joins_name(unit) { templates(folders, unit) } else { Vec::new() };
    if lists_folder(unit) {
        found.extend(tables());
    }
    found
}

/// Tells whether a file may open the file of a name.
fn may_open(unit: &Unit) -> bool {
    joins_name(unit) || lists_folder(unit)
}

fn joins_name(unit: &Unit) -> bool {
    let text = unit.whole();
    text.match_indices("}.").any(|(at, _)| ENDINGS.iter().any(|ending| text[at + 1..].starts_with(ending)))
}

fn lists_folder(unit: &Unit) -> bool {
    let text = unit.whole();
    unit.language == Language::Python && text.contains(".stem") && text.contains(".glob(")
}

/// Finds texts such as `{name}.md` whose name is a parameter of the function around.
fn templates<'a>(folders: &Folders<'a>, unit: &'a Unit) -> Vec<Loader<'a>> {
    let texts = unit.syntax.of_kind(&["string", "template_string"]);
    let read = |id: Id| {
        let inner: Vec<Id> = unit
            .syntax
            .children(id)
            .filter(|&part| matches!(unit.kind(part), "interpolation" | "template_substitution"))
            .collect();
        let &[part] = &inner[..] else { return None };
        let name = unit.syntax.children(part).find(|&id| unit.kind(id) == "identifier")?;
        let (start, end) = (unit.span(id).start as usize, unit.span(part).end as usize);
        let whole = unit.text(id);
        let behind = whole.get(end - start..)?.trim_end_matches(['"', '\'', '`']);
        let ending = ENDINGS.iter().copied().find(|ending| *ending == behind)?;
        let before = whole.get(..unit.span(part).start as usize - start)?;
        let quote = before.find(['"', '\'', '`'])?;
        let before = before[quote..].trim_start_matches(['"', '\'', '`']);
        let function = unit.function_of(id);
        let segment = match before.trim_start_matches("./").strip_suffix('/') {
            Some(folder) => last(folder),
            None if before.is_empty() => segment_before(unit, id)?,
            None => return None,
        };
        let folder = folders.get(&(segment, ending)).copied().flatten()?;
        loader(unit, function, name, (folder, ending))
    };
    texts.filter_map(read).collect()
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the last folder that a path is put together of before a part of it: `PROMPTS / f"{name}.md"`,
/// `join(here, "prompts", file)`.
fn segment_before(unit: &Unit, part: Id) -> Option<&str> {
    let around = unit.syntax[part].parent;
    let before = match unit.kind(around) {
        "binary_operator" => {
            let left = unit.syntax.child(around, "left").filter(|&left| left != part)?;
            match unit.kind(left) {
                "binary_operator" => unit.syntax.child(left, "right")?,
                _ => left,
            }
        }
        "arguments" | "argument_list" => {
            let args = unit.args(unit.syntax[around].parent);
            let at = args.iter().position(|arg| arg.value == part)?;
            args.get(at.checked_sub(1)?)?.value
        }
        _ => return None,
    };
    folder_text(unit, before)
}

/// Returns the last folder that an expression names, or what it is bound to.
fn folder_text(unit: &Unit, id: Id) -> Option<&str> {
    let value = unit.value(id)?;
    let text = std::iter::once(value)
        .chain(unit.syntax.below(value))
        .filter(|&id| unit.kind(id) == "string")
        .last()?;
    let text = unit.text(text).trim_matches(['"', '\'']).trim_end_matches('/');
    let plain = !text.is_empty() && !text.contains(['{', '*', ' ']);
    plain.then(|| last(text))
}

/// The folders that hold files of an ending, by their own name and the ending; nothing where several are called so.
type Folders<'a> = HashMap<(&'a str, &'static str), Option<&'a str>>;

fn folders(repository: &Repository) -> Folders<'_> {
    let read = repository.files.iter().map(|(_, file)| &*file.path);
    let mut found = Folders::new();
    for path in read.chain(repository.files.others()) {
        let Some((folder, name)) = path.rsplit_once('/') else { continue };
        for ending in ENDINGS.iter().filter(|ending| name.ends_with(**ending)) {
            let known = found.entry((last(folder), ending)).or_insert(Some(folder));
            *known = known.filter(|known| *known == folder);
        }
    }
    found
}

/// Returns the function as one that opens files by the name of one of its parameters.
fn loader<'a>(
    unit: &'a Unit,
    function: Id,
    name: Id,
    (folder, ending): (&'a str, &'a str),
) -> Option<Loader<'a>> {
    let name = unit.text(name);
    let at = parameters(unit, function).iter().position(|own| *own == name)?;
    let text = unit.text(function);
    let safe = GOES_ON.iter().any(|word| text.contains(word))
        || !unit.values(unit.syntax.child(function, "body")?, name).is_empty();
    (!safe && !unit.is_method(function)).then_some(Loader { unit, function, at, name, folder, ending })
}

/// Returns what the parameters of a function are called, in order.
fn parameters(unit: &Unit, function: Id) -> Vec<&str> {
    if !FUNCTIONS.contains(&unit.kind(function)) {
        return Vec::new();
    }
    let Some(list) = unit.syntax.child(function, "parameters") else { return Vec::new() };
    let parts =
        unit.syntax.children(list).filter(|&id| !matches!(unit.kind(id), "(" | ")" | "," | "comment"));
    let name = |id: Id| {
        let mut all = std::iter::once(id).chain(unit.syntax.below(id));
        all.find(|&id| unit.kind(id) == "identifier").map_or("", |id| unit.text(id))
    };
    parts.map(name).collect()
}

/// A dictionary that is made of the files of a folder.
struct Table<'a> {
    name: &'a str,
    folder: &'a str,
    ending: &'a str,
}

/// Finds dictionaries of files by their names: `{p.stem: p.read_text() for p in (HERE / "prompts").glob("*.md")}`.
fn tables<'a>(folders: &Folders<'a>, unit: &'a Unit) -> Vec<Table<'a>> {
    let made = unit.syntax.of_kind(&["assignment"]).filter(|&id| unit.function_of(id) == Id::ROOT);
    let read = |made: Id| {
        let (name, value) = (unit.syntax.child(made, "left")?, unit.syntax.child(made, "right")?);
        let body =
            unit.syntax.child(value, "body").filter(|_| unit.kind(value) == "dictionary_comprehension")?;
        let by_stem = unit.syntax.child(body, "key").is_some_and(|key| unit.text(key).ends_with(".stem"));
        let glob = unit.calls_in(value).find(|&call| unit.callee_name(call) == "glob")?;
        let pattern = unit.args(glob).first().map(|arg| unit.text(arg.value).trim_matches(['"', '\'']))?;
        let ending = ENDINGS.iter().copied().find(|ending| pattern.strip_prefix('*') == Some(*ending))?;
        let from = unit.syntax.child(unit.callee(glob)?, "object")?;
        let segment = folder_text(unit, inner(unit, from))?;
        let folder = folders.get(&(segment, ending)).copied().flatten()?;
        by_stem.then(|| Table { name: unit.text(name), folder, ending })
    };
    made.filter_map(read).collect()
}

/// Returns what stands between brackets.
fn inner(unit: &Unit, id: Id) -> Id {
    match unit.kind(id) {
        "parenthesized_expression" => unit.syntax.children(id).nth(1).unwrap_or(id),
        _ => id,
    }
}

/// Finds the functions that look up a name which they are given in such a dictionary, by brackets.
fn readers<'a>(unit: &'a Unit, table: Table<'a>) -> Vec<Loader<'a>> {
    let looked = unit.syntax.of_kind(&["subscript"]);
    let read = |id: Id| {
        let (value, key) = (unit.syntax.child(id, "value")?, unit.syntax.child(id, "subscript")?);
        let own = unit.text(value) == table.name && unit.kind(key) == "identifier";
        loader(unit, unit.function_of(id), key, (table.folder, table.ending)).filter(|_| own)
    };
    looked.filter_map(read).collect()
}

/// Finds the calls of a function, each with what it is given for the name.
fn given<'a>(repository: &'a Repository, modules: &Modules<'a>, loader: &Loader<'a>) -> Vec<(&'a Unit, Id)> {
    let named = loader
        .unit
        .syntax
        .child(loader.function, "name")
        .or_else(|| loader.unit.syntax.child(loader.unit.syntax[loader.function].parent, "name"));
    let name = named.map_or("", |name| loader.unit.text(name));
    let mut found = Vec::new();
    for unit in repository.code.iter().filter(|unit| !name.is_empty() && unit.whole().contains(name)) {
        for call in unit.calls() {
            let callee = unit.callee(call).filter(|&callee| unit.kind(callee) == "identifier");
            if callee.is_none() {
                continue;
            }
            let ours = match unit.file == loader.unit.file {
                true => unit.called(call) == Some(loader.function),
                false => modules.exported(unit, call).is_some_and(|(other, function)| {
                    other.file == loader.unit.file && function == loader.function
                }),
            };
            let plain = unit.args(call).into_iter().filter(|arg| arg.name.is_none()).nth(loader.at);
            let value = unit.keyword(call, loader.name).or(plain.map(|arg| arg.value));
            found.extend(value.filter(|_| ours).map(|value| (unit, value)));
        }
    }
    found
}

/// Returns a text that is a plain name.
fn plain(unit: &Unit, id: Id) -> Option<&str> {
    let text = unit.text(id).trim_matches(['"', '\'']);
    let name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    (unit.kind(id) == "string" && name).then_some(text)
}

/// Finds the functions that hand a parameter of their own on as the name.
fn handing_on<'a>(repository: &'a Repository, modules: &Modules<'a>, known: &Loader<'a>) -> Vec<Loader<'a>> {
    let given = given(repository, modules, known).into_iter();
    let hands = |(unit, value): (&'a Unit, Id)| {
        let function = unit.function_of(value);
        let own = unit.kind(value) == "identifier" && function != known.function;
        loader(unit, function, value, (known.folder, known.ending)).filter(|_| own)
    };
    given.filter_map(hands).collect()
}
