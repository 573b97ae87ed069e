//! The files that were read.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use kapell_spec::{
    finding::{Finding, Source, Span},
    yaml::{self, Tree},
};
use kapell_view::audit::Place;

use crate::generated::generator;

/// The number of a file, in the order of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// Characters are counted once for each so many bytes of a file with long lines.
const STRIDE: usize = 1024;

/// A file that cannot be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The file.
    pub file: FileId,
    /// Where what can be read ends.
    pub span: Span,
    /// Why.
    pub why: String,
}

/// A file that was read. A copy shares its text.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path from the top of the repository, with `/`.
    pub path: Arc<str>,
    /// Its text. What was no UTF-8 is replaced.
    pub text: Arc<str>,
    /// Where its lines start, found when it is first asked: of most files it never is.
    starts: Arc<OnceLock<Box<[u32]>>>,
    /// How many characters stand before each [`STRIDE`] of bytes, counted when a column of a long line is first asked.
    counts: Arc<OnceLock<Box<[u32]>>>,
    /// Its text in lower case, made when it is first asked: several rules look for words in all of it.
    lower: Arc<OnceLock<Box<str>>>,
    /// What generates it, found when it is first asked.
    generator: Arc<OnceLock<Option<Box<str>>>>,
    /// What it reads as, if it is YAML, made when it is first asked: fixes are held against it.
    yaml: Arc<OnceLock<Yaml>>,
    /// What rules made of its text, by its type.
    made: Arc<Mutex<Vec<(TypeId, Made)>>>,
}

/// Something that a rule made of a text.
type Made = Arc<dyn Any + Send + Sync>;

/// A text as YAML: its tree, if there is any, and what is wrong with it.
type Yaml = (Option<Tree>, Vec<Finding>);

impl File {
    /// Takes a text.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            starts: Arc::default(),
            counts: Arc::default(),
            lower: Arc::default(),
            generator: Arc::default(),
            yaml: Arc::default(),
            made: Arc::default(),
        }
    }

    /// Returns what `make` makes of the file, which is made once for each type: an audit after fixes finds it made for
    /// all files that no fix changes. It may hang on nothing but the path and the text.
    pub(crate) fn made<T: Any + Send + Sync>(&self, make: impl FnOnce(&Self) -> T) -> Arc<T> {
        let id = TypeId::of::<T>();
        let known = || {
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.iter().find(|(of, _)| *of == id).map(|(_, made)| made.clone())
        };
        if let Some(made) = known().and_then(|made| made.downcast().ok()) {
            return made;
        }
        let made = Arc::new(make(self));
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push((id, made.clone()));
        made
    }

    fn starts(&self) -> &[u32] {
        let breaks = || memchr::memchr_iter(b'\n', self.text.as_bytes()).map(|end| end as u32 + 1);
        self.starts.get_or_init(|| std::iter::once(0).chain(breaks()).collect())
    }

    /// Returns the file's name without its directories.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Returns its text with the letters of ASCII in lower case. No place moves.
    #[must_use]
    pub fn lower(&self) -> &str {
        self.lower.get_or_init(|| self.text.to_ascii_lowercase().into())
    }

    /// Returns what generates the file, if its header says that something does.
    #[must_use]
    pub fn generator(&self) -> Option<&str> {
        self.generator.get_or_init(|| generator(&self.path, &self.text)).as_deref()
    }

    /// Returns what its text reads as, taken for YAML.
    #[must_use]
    pub fn yaml(&self) -> &Yaml {
        let source = || Source { name: self.path.clone(), text: self.text.clone() };
        self.yaml.get_or_init(|| yaml::read(&source()))
    }

    /// Returns the line of a byte, from 1.
    #[must_use]
    pub fn line(&self, at: u32) -> u32 {
        self.starts().partition_point(|&start| start <= at) as u32
    }

    /// Returns the range of bytes of a line, from 1, without its line break. Empty at the end for lines beyond it.
    #[must_use]
    pub fn line_span(&self, line: u32) -> Span {
        let end_of_text = self.text.len();
        let starts = self.starts();
        let at = |line: u32| starts.get(line as usize).map_or(end_of_text, |&start| start as usize);
        let (start, end) = (at(line.saturating_sub(1)), at(line));
        let text = &self.text[start..end];
        Span::new(start, start + text.trim_end_matches(['\n', '\r']).len())
    }

    /// Returns a line's text, from 1.
    #[must_use]
    pub fn line_text(&self, line: u32) -> &str {
        &self.text[self.line_span(line).range()]
    }

    /// Returns a range with its lines and columns.
    #[must_use]
    pub fn place(&self, span: Span) -> Place {
        let (start, end) = (self.floor(span.start), self.floor(span.end.max(span.start)));
        let (line, column) = self.position(start);
        let (end_line, end_column) = self.position(end);
        Place { path: self.path.to_string(), line, column, end_line, end_column, start, end }
    }

    fn position(&self, at: u32) -> (u32, u32) {
        let line = self.line(at);
        let start = self.starts()[line as usize - 1];
        (line, self.characters(start, at) + 1)
    }

    /// Returns how many characters a range has. In a line that is a whole file each of many places asks for its own.
    fn characters(&self, start: u32, end: u32) -> u32 {
        let bytes = self.text.as_bytes();
        let count = |start: usize, end: usize| {
            bytes[start..end].iter().filter(|&&byte| (byte as i8) >= -0x40).count() as u32
        };
        let (start, end) = (start as usize, end as usize);
        if end - start <= STRIDE {
            return count(start, end);
        }
        let counts = self.counts.get_or_init(|| {
            let mut before = 0;
            let sum = |stride: usize| {
                let counted = before;
                before += count(stride, (stride + STRIDE).min(bytes.len()));
                counted
            };
            (0..bytes.len() + 1).step_by(STRIDE).map(sum).collect()
        });
        let before = |at: usize| counts[at / STRIDE] + count(at / STRIDE * STRIDE, at);
        before(end) - before(start)
    }

    /// Moves an offset back to the start of its character, and into the text.
    fn floor(&self, at: u32) -> u32 {
        let at = (at as usize).min(self.text.len());
        (0..=at).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0) as u32
    }
}

/// Joins a path to the directory of a file. Nothing if it leaves the repository.
#[must_use]
pub fn joined(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Files by path. A copy shares their texts.
#[derive(Debug, Clone, Default)]
pub struct Files {
    files: Vec<File>,
    by_path: Arc<BTreeMap<Arc<str>, FileId>>,
    /// Paths of other files that are there but were not read, in order. There may be very many.
    others: Arc<[Box<str>]>,
}

impl Files {
    /// Takes texts by path. Where a path comes twice, the last one holds.
    pub fn new(texts: impl IntoIterator<Item = (String, String)>) -> Self {
        let sorted: BTreeMap<String, String> = texts.into_iter().collect();
        let files: Vec<File> = sorted.iter().map(|(path, text)| File::new(path, text)).collect();
        let by_path: BTreeMap<_, _> =
            files.iter().enumerate().map(|(at, file)| (file.path.clone(), FileId(at as u32))).collect();
        Self { files, by_path: Arc::new(by_path), others: Arc::default() }
    }

    /// Returns the files with other texts for some of them. Those that were there keep their numbers, unless one
    /// of the texts is for a path that was not there.
    #[must_use]
    pub fn with(&self, texts: &BTreeMap<String, String>) -> Self {
        if texts.keys().any(|path| self.find(path).is_none()) {
            let old = self.files.iter().map(|file| (file.path.to_string(), file.text.to_string()));
            let new = texts.iter().map(|(path, text)| (path.clone(), text.clone()));
            return Self { others: self.others.clone(), ..Self::new(old.chain(new)) };
        }
        self.with_files(texts.iter().map(|(path, text)| File::new(path, text)))
    }

    /// Returns the files with others in the place of those of the same paths.
    #[must_use]
    pub fn with_files(&self, files: impl IntoIterator<Item = File>) -> Self {
        let mut with = self.clone();
        for file in files {
            if let Some(FileId(at)) = self.find(&file.path) {
                with.files[at as usize] = file;
            }
        }
        with
    }

    /// Says which other files are there, though they were not read.
    #[must_use]
    pub fn beside(mut self, others: impl IntoIterator<Item = String>) -> Self {
        let mut others: Vec<Box<str>> = others.into_iter().map(String::into_boxed_str).collect();
        others.sort_unstable();
        others.dedup();
        self.others = others.into();
        self
    }

    /// Returns the files that are there but were not read.
    pub fn others(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(|path| &**path)
    }

    /// Tells whether there is a file or directory of this path, read or not.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let below = format!("{path}/");
        let other = |from: &str| {
            let at = self.others.partition_point(|other| **other < *from);
            self.others.get(at).map(|other| &**other)
        };
        let read = |from: &str| {
            let range = (Bound::Included(from), Bound::Unbounded);
            self.by_path.range::<str, _>(range).next().map(|(found, _)| &**found)
        };
        self.by_path.contains_key(path)
            || other(path) == Some(path)
            || other(&below).is_some_and(|found| found.starts_with(&below))
            || read(&below).is_some_and(|found| found.starts_with(&below))
    }

    /// Finds a file by its path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<FileId> {
        self.by_path.get(path).copied()
    }

    /// Returns all files, by path.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.files.iter().enumerate().map(|(at, file)| (FileId(at as u32), file))
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl std::ops::Index<FileId> for Files {
    type Output = File;

    fn index(&self, id: FileId) -> &File {
        &self.files[id.0 as usize]
    }
}

/// Tells by its ending whether a path or a word is that of a script: a text that a program runs.
#[must_use]
pub fn is_script(path: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(
        extension,
        "sh" | "bash" | "py" | "js" | "mjs" | "cjs" | "ts" | "mts" | "rb" | "php" | "ps1" | "pl"
    )
}

/// Tells by its path whether a file is code that may call models or agents.
#[must_use]
pub fn is_code(path: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(extension, "py" | "ts" | "tsx" | "mts" | "cts" | "js" | "jsx" | "mjs" | "cjs")
        && !path.ends_with(".min.js")
        && !path.ends_with(".d.ts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let files = Files::new([("b/a.yml".to_owned(), "name: é\r\non: push\n".to_owned())]);
        let file = &files[files.find("b/a.yml").expect("it was given")];
        let place = file.place(Span::new(8, 14));
        assert_eq!((place.line, place.column), (1, 8));
        let place = file.place(Span::new(10, 12));
        assert_eq!((place.line, place.column, place.end_column), (2, 1, 3));
        assert_eq!((file.line_text(1), file.line_text(2), file.line_text(9)), ("name: é", "on: push", ""));
        assert_eq!(file.name(), "a.yml");
        let again = files.with(&BTreeMap::from([("b/a.yml".to_owned(), "x".to_owned())]));
        assert_eq!((&*again[FileId(0)].text, &*files[FileId(0)].text), ("x", "name: é\r\non: push\n"));
        let more = files.with(&BTreeMap::from([("a.yml".to_owned(), "y".to_owned())]));
        assert_eq!(more.iter().map(|(_, file)| &*file.path).collect::<Vec<_>>(), ["a.yml", "b/a.yml"]);
        let files = files.beside(["c/d/e.rs".to_owned()]);
        let there = ["b", "b/a.yml", "c", "c/d/", "c/d/e.rs"];
        assert!(
            there.iter().all(|path| files.exists(path)) && !files.exists("b/a") && !files.exists("c/d/e")
        );
    }
    #[test]
    fn columns_of_long_lines_count_characters_too() {
        let long = format!("{}\n{}", "é".repeat(700), "a€".repeat(3_000));
        let files = Files::new([("a.md".to_owned(), long.clone())]);
        for (at, _) in long.char_indices().step_by(97) {
            let start = if at < 1401 { 0 } else { 1401 };
            let column = long[start..at].chars().count() as u32 + 1;
            assert_eq!(files[FileId(0)].place(Span::new(at, at)).column, column, "{at}");
        }
    }
}
