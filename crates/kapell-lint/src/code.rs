//! Code that calls models, agents and services: TypeScript, JavaScript and Python.
//!
//! Read with tree-sitter, which stands any broken text. Names are followed within one file, and by imports to what another
//! file of the repository exports; what comes from elsewhere is unknown, and rules are silent about it.

pub mod aliases;
pub mod bus;
pub mod crews;
pub mod graphs;
pub mod guards;
pub mod imports;
pub mod libraries;
pub mod modules;
pub mod programs;
mod reexports;
pub mod registry;
pub mod retries;
pub mod service;
pub mod syntax;
pub mod tools;
pub mod unit;
pub mod workflow_script;

use std::{collections::HashSet, num::NonZero, panic::resume_unwind, thread};

use crate::files::{File, FileId, Files};
pub use service::{Service, Transport};
pub use syntax::{Id, Language};
pub use unit::{Arg, Unit};

/// Folders whose code nobody serves with: faults there cost nobody anything.
const ASIDE: &[&str] = &[
    "test",
    "tests",
    "__tests__",
    "__mocks__",
    "testing",
    "e2e",
    "spec",
    "specs",
    "fixtures",
    "mocks",
    "mock",
    "examples",
    "example",
    "docs",
    "doc",
    "benchmarks",
    "bench",
    "benches",
    "cookbook",
    "cookbooks",
    "tutorials",
    "tutorial",
    "demo",
    "demos",
    "samples",
    "sample",
    "notebooks",
    "site-packages",
    "generated",
    "stories",
    "migrations",
    "third_party",
    "vendor",
];

/// Tells whether a file is code that is read: a known language, and neither a test nor an example.
#[must_use]
pub fn wanted(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let test = name.starts_with("test_")
        || name.starts_with("conftest.")
        || ["_test.", ".test.", ".spec.", ".stories.", ".d.ts", ".min.", ".config.", "_pb2"]
            .iter()
            .any(|mark| name.contains(mark));
    Language::of(path).is_some() && !test && !folders.split('/').any(|folder| ASIDE.contains(&folder))
}

/// From how many files on more than one thread reads them: below that, starting one costs more than it saves.
const FILES_FOR_THREADS: usize = 32;

/// Reads all code among `files` that imports or names something of a service, by path.
///
/// What waits for many things at once or in a loop is read as well where it imports such a file.
///
/// It is most of the work of an audit of much code, and no file needs another: the processors share it.
#[must_use]
pub fn read(files: &Files) -> Vec<Unit> {
    let all = files.iter().filter(|(_, file)| wanted(&file.path));
    let (mut code, others): (Vec<_>, Vec<_>) = all.partition(|(_, file)| service::mentioned(&file.text));
    let mut names: HashSet<&str> = code.iter().map(|(_, file)| modules::last_part(&file.path)).collect();
    names.extend(modules::barrels(others.iter().map(|(_, file)| *file), &names));
    let (waiting, others): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|(_, file)| modules::waits_for_one_of(&file.text, &names));
    code.extend(waiting);
    code.extend(keepers(&code, others));
    code.sort_by_key(|(id, _)| *id);
    let mut units = parsed(&code);
    modules::link(&mut units, files);
    units
}

/// How long a file is at most, in bytes, that does little else than to keep something in another one.
const KEEPER: usize = 8 << 10;

/// Words of code that starts many things at once, or answers whoever asks.
const MANY: &[&str] = &[
    "gather(",
    "TaskGroup",
    "start_soon(",
    "create_task(",
    "Promise.all",
    "pMap(",
    "@app.",
    "@router.",
    "app.post(",
    "router.post(",
];

/// Tells whether a text may keep something that it gives and takes, waits between reading and writing it, or bounds what runs at once.
fn keeps_state(text: &str) -> bool {
    const KEEPS: &[&str] = &["self.", "this.", "global ", "[\"", "['", "let ", "Semaphore(", "pLimit("];
    (text.contains("await ") || text.contains("return ")) && KEEPS.iter().any(|word| text.contains(word))
}

/// How a call begins that removes a file.
pub const REMOVES: &[&str] = &["unlink(", "unlinkSync(", "rm(", "rmSync(", "remove("];

/// Tells whether a text may make a file that must not be there yet, and remove one: a lock that others wait for.
#[must_use]
pub fn locks_by_file(text: &str) -> bool {
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    any(&["\"wx\"", "'wx'", "O_EXCL", "\"x\"", "'x'"]) && any(REMOVES)
}

/// Finds the files that read and write another one whole for the code which imports them, those that keep something for code
/// which starts many things at once, and those that lock what several write.
fn keepers<'a>(code: &[(FileId, &'a File)], others: Vec<(FileId, &'a File)>) -> Vec<(FileId, &'a File)> {
    let rewrites = |file: &File| {
        file.text.contains("writeFile(") && file.text.contains("readFile(")
            || ["aiofiles.open(", "anyio.Path("].iter().any(|word| file.text.contains(word))
    };
    let keeps = |file: &File| file.text.len() <= KEEPER && (rewrites(file) || keeps_state(&file.text));
    let mut found: Vec<(FileId, &File)> = others.into_iter().filter(|(_, file)| keeps(file)).collect();
    if found.is_empty() || code.is_empty() {
        return Vec::new();
    }
    let names: HashSet<&str> = found.iter().map(|(_, file)| modules::last_part(&file.path)).collect();
    let used = code.iter().map(|(_, file)| &*file.text).filter(|text| modules::imports_from(text, &names));
    let used: Vec<(&str, bool)> =
        used.map(|text| (text, MANY.iter().any(|word| text.contains(word)))).collect();
    found.retain(|(_, file)| {
        let name = HashSet::from([modules::last_part(&file.path)]);
        let rewrites = rewrites(file);
        locks_by_file(&file.text)
            || used.iter().any(|(text, many)| (rewrites || *many) && modules::imports_from(text, &name))
    });
    found
}

/// Reads files, on as many threads as are worth it.
fn parsed(code: &[(FileId, &File)]) -> Vec<Unit> {
    let read = |(id, file): &(FileId, &File)| Unit::read(*id, Language::of(&file.path)?, &file.text);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(code.len() / FILES_FOR_THREADS);
    if threads < 2 {
        return code.iter().filter_map(read).collect();
    }
    let parts = code.chunks(code.len().div_ceil(threads));
    thread::scope(|scope| {
        let part = |part| move || Vec::from_iter(Iterator::filter_map(<[_]>::iter(part), read));
        let running: Vec<_> = parts.map(|each| scope.spawn(part(each))).collect();
        let join =
            |part: thread::ScopedJoinHandle<'_, _>| part.join().unwrap_or_else(|panic| resume_unwind(panic));
        running.into_iter().flat_map(join).collect()
    })
}
