//! Code that calls models, agents and services: TypeScript, JavaScript and Python.
//!
//! Read with tree-sitter, which stands any broken text. Names are followed within one file, and from a call to a
//! function that another file of the repository exports; what comes from elsewhere is unknown, and rules are silent about it.

pub mod libraries;
pub mod service;
pub mod syntax;
pub mod unit;
pub mod workflow_script;

use crate::files::Files;
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

/// Reads all code among `files` that imports or names something of a service, by path.
#[must_use]
pub fn read(files: &Files) -> Vec<Unit> {
    let code = files.iter().filter(|(_, file)| wanted(&file.path) && service::mentioned(&file.text));
    code.filter_map(|(id, file)| Unit::read(id, Language::of(&file.path)?, &file.text)).collect()
}
