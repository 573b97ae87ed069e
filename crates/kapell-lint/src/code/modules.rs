//! Which file of the repository an import leads to.

use std::collections::{HashMap, HashSet};

use super::{
    syntax::{Id, Language},
    unit::Unit,
};
use crate::files::Files;

/// Endings that code names a script by: `./label.js` is `label.ts` where that is what there is.
const SCRIPTS: &[&str] = &["js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx"];

/// The files of code of a repository by their path without its ending.
#[derive(Debug)]
pub struct Modules<'a> {
    files: &'a Files,
    by_stem: HashMap<&'a str, Vec<&'a Unit>>,
}

impl<'a> Modules<'a> {
    /// Lists the files.
    #[must_use]
    pub fn new(units: &'a [Unit], files: &'a Files) -> Self {
        let mut by_stem: HashMap<&str, Vec<&Unit>> = HashMap::new();
        for unit in units {
            if let Some((stem, _)) = files[unit.file].path.rsplit_once('.') {
                by_stem.entry(stem).or_default().push(unit);
            }
        }
        Self { files, by_stem }
    }

    /// Finds the function of another file that a call names by its import: `ask(x)`, or `model.ask(x)`.
    #[must_use]
    pub fn exported(&self, unit: &Unit, call: Id) -> Option<(&'a Unit, Id)> {
        let callee = unit.callee(call)?;
        let root = unit.syntax.child(callee, "object").unwrap_or(callee);
        if unit.kind(root) != "identifier" || !unit.imported(unit.text(root)) {
            return None;
        }
        let path = unit.path(callee)?.text;
        let (module, name) = path.rsplit_once('.')?;
        let other = self.module(unit, module)?;
        Some((other, other.function(name)?))
    }

    /// Finds the file that a module of an import is.
    #[must_use]
    pub fn module(&self, from: &Unit, module: &str) -> Option<&'a Unit> {
        let script = from.language != Language::Python;
        let module = if script { without_ending(module) } else { module };
        let same = |units: &Vec<&'a Unit>| {
            units.iter().copied().find(|unit| (unit.language != Language::Python) == script)
        };
        let at = |stem: &str| self.by_stem.get(stem).and_then(same);
        if let Some(rest) = module.strip_prefix("~/").or_else(|| module.strip_prefix("@/")) {
            return ["src", "app"].iter().find_map(|top| at(&format!("{top}/{rest}"))).or_else(|| at(rest));
        }
        let stem = stem(&self.files[from.file].path, module)?;
        let inner = if script { "index" } else { "__init__" };
        at(&stem)
            .or_else(|| at(&format!("{stem}/{inner}")))
            .or_else(|| (!script).then(|| at(&format!("src/{stem}"))).flatten())
    }
}

fn without_ending(module: &str) -> &str {
    match module.rsplit_once('.') {
        Some((plain, ending)) if SCRIPTS.contains(&ending) => plain,
        _ => module,
    }
}

/// The path of a module without its extension, from the top of the repository.
fn stem(from: &str, module: &str) -> Option<String> {
    let mut folders: Vec<&str> = from.split('/').collect();
    folders.pop();
    if let Some(rest) = module.strip_prefix("./").or_else(|| module.strip_prefix("../").map(|_| module)) {
        for part in rest.split('/') {
            match part {
                ".." => drop(folders.pop()?),
                part => folders.push(part),
            }
        }
        return Some(folders.join("/"));
    }
    let name = module.trim_start_matches('.');
    let dots = module.len() - name.len();
    if dots == 0 {
        return Some(module.replace('.', "/"));
    }
    folders.truncate(folders.len().checked_sub(dots - 1)?);
    folders.extend(name.split('.'));
    Some(folders.join("/"))
}

/// Returns the last part of a file's path without its ending, or of its folder where the file only stands for that.
#[must_use]
pub fn last_part(path: &str) -> &str {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    if matches!(name, "index" | "__init__") { folder.rsplit('/').next().unwrap_or(folder) } else { name }
}

/// Tells whether a text waits in a loop, or for many, and imports a file that is called like one of `names`: what it
/// waits for may be in there.
#[must_use]
pub fn waits_for_one_of(text: &str, names: &HashSet<&str>) -> bool {
    let many = ["for ", "for(", "gather(", "Promise.all", ".map("].iter().any(|word| text.contains(word));
    many && text.contains("await ") && text.lines().any(|line| imports_one_of(line, names))
}

fn imports_one_of(line: &str, names: &HashSet<&str>) -> bool {
    let line = line.trim_end_matches([';', ' ', '\r']);
    if let Some(rest) = line.strip_prefix("from ") {
        let Some((module, imported)) = rest.split_once(" import ") else { return false };
        let last = module.rsplit('.').next().unwrap_or(module);
        return names.contains(last) || imported.split([',', ' ', '(', ')']).any(|name| names.contains(name));
    }
    let Some((_, module)) = line.split_once("from \"").or_else(|| line.split_once("from '")) else {
        return false;
    };
    let module = module.trim_end_matches(['"', '\'']);
    let own = ["./", "../", "~/", "@/"].iter().any(|start| module.starts_with(start));
    let plain = without_ending(module);
    own && names.contains(plain.rsplit('/').next().unwrap_or(plain))
}
