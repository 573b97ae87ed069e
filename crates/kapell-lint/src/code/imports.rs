//! The names that a file takes from other files.

use super::{syntax::Id, unit::Unit};
use crate::files::FileId;

/// What is taken of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it, by a name of its own.
    Whole,
    /// What it exports under this name; `default` in scripts.
    Named(Box<str>),
}

/// A file of the repository, and what is taken of it.
pub type Target = (FileId, Part);

/// Where a name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The module as it is written: `./ask.js`, `..client`, `openai`.
    pub module: Box<str>,
    /// What is taken of it.
    pub part: Part,
    /// The file that this leads to, if it is one of the repository.
    pub target: Option<Target>,
}

impl Origin {
    fn whole(module: &str) -> Self {
        Self { module: module.into(), part: Part::Whole, target: None }
    }

    fn named(module: &str, name: &str) -> Self {
        Self { module: module.into(), part: Part::Named(name.into()), target: None }
    }
}

/// A name that a file takes from another.
#[derive(Debug)]
pub(super) struct Name {
    /// What it is called here.
    pub(super) own: String,
    /// The dotted name that it stands for.
    pub(super) path: String,
    pub(super) origin: Origin,
}

/// `const axios = require("axios")`, `const { a, b: c } = require("m")`, `require("m").default`, `await import("m")`;
/// `None` where it is none of these.
pub(super) fn required(unit: &Unit, name: Id, value: Id) -> Option<Vec<Name>> {
    let text = unit.text(value).trim_start_matches('(');
    let required = ["require(", "await import("].iter().find_map(|start| text.strip_prefix(start))?;
    let (quoted, rest) = required.split_once(')')?;
    let rest = rest.trim_start_matches(')').trim_start_matches(".default");
    let plain = rest.chars().all(|c| c.is_ascii_alphanumeric() || "._$".contains(c));
    if !quoted.starts_with(['"', '\'']) || !plain {
        return None;
    }
    let module = quoted.trim_matches(['"', '\'']);
    let path = format!("{module}{rest}");
    if unit.kind(name) == "object_pattern" {
        let inner = unit.text(name).trim_matches(['{', '}', ' ']).split(',');
        let parts = inner.map(|part| part.split_once(':').unwrap_or((part, part)));
        let named = parts.map(|(from, to)| Name {
            own: to.trim().to_owned(),
            path: format!("{path}.{}", from.trim()),
            origin: Origin::named(module, from.trim()),
        });
        return Some(named.collect());
    }
    let own = unit.text(name).to_owned();
    let origin = match rest.strip_prefix('.') {
        Some(part) => Origin::named(module, part),
        None => Origin::whole(module),
    };
    Some(vec![Name { own, path, origin }])
}

/// `import a.b`, `from .a import b as c`.
pub(super) fn of_python(unit: &Unit, id: Id) -> Vec<Name> {
    let module = unit.syntax.child(id, "module_name").map(|module| unit.text(module));
    let names = unit.syntax.children(id).filter(|&child| unit.syntax[child].field == "name");
    let read = |child: Id| {
        let name = unit.syntax.child(child, "name").map_or(unit.text(child), |name| unit.text(name));
        let alias = unit.syntax.child(child, "alias").map(|alias| unit.text(alias));
        let own = alias.unwrap_or(name).to_owned();
        match (module, alias) {
            // `from . import a`
            (Some(module), _) if module.ends_with('.') => {
                Name { own, path: format!("{module}{name}"), origin: Origin::named(module, name) }
            }
            (Some(module), _) => {
                Name { own, path: format!("{module}.{name}"), origin: Origin::named(module, name) }
            }
            (None, Some(_)) => Name { own, path: name.to_owned(), origin: Origin::whole(name) },
            // `import a.b` binds `a`.
            (None, None) => {
                let first = name.split('.').next().unwrap_or(name).to_owned();
                Name { own, path: first, origin: Origin::whole(name) }
            }
        }
    };
    names.map(read).collect()
}

/// `import a, { b as c } from "m"`, `import * as m from "m"`.
pub(super) fn of_script(unit: &Unit, id: Id) -> Vec<Name> {
    let Some(source) = unit.syntax.child(id, "source") else { return Vec::new() };
    let module = unit.text(source).trim_matches(['"', '\'']);
    let mut names = Vec::new();
    for child in unit.syntax.below(id) {
        let parent = unit.kind(unit.syntax[child].parent);
        let own = || unit.text(child).to_owned();
        match (unit.kind(child), parent) {
            ("identifier", "import_clause") => {
                let origin = Origin::named(module, "default");
                names.push(Name { own: own(), path: module.to_owned(), origin });
            }
            ("identifier", "namespace_import") => {
                let origin = Origin::whole(module);
                names.push(Name { own: own(), path: module.to_owned(), origin });
            }
            ("import_specifier", _) => {
                let Some(name) = unit.syntax.child(child, "name") else { continue };
                let alias = unit.syntax.child(child, "alias").unwrap_or(name);
                names.push(Name {
                    own: unit.text(alias).to_owned(),
                    path: format!("{module}.{}", unit.text(name)),
                    origin: Origin::named(module, unit.text(name)),
                });
            }
            _ => {}
        }
    }
    names
}
