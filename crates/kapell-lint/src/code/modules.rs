//! Which file of the repository an import leads to, and what of it.

mod items; // objects that a list holds

use std::collections::{BTreeSet, HashMap, HashSet};

pub use self::items::OfEach;
use super::{
    aliases::Alias,
    imports::{Origin, Part, Target},
    reexports,
    syntax::{Id, Language},
    unit::Unit,
};
use crate::files::{FileId, Files};

/// Endings that code names a script by: `./label.js` is `label.ts` where that is what there is.
const SCRIPTS: &[&str] = &["js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx"];

/// How many files that only hand on are followed.
const HOPS: u32 = 4;

/// All files of code by their path without its ending.
#[derive(Debug)]
pub struct Paths<'a> {
    files: &'a Files,
    scripts: HashMap<&'a str, FileId>,
    python: HashMap<&'a str, FileId>,
    aliases: Vec<Alias<'a>>,
}

impl<'a> Paths<'a> {
    /// Lists the files.
    #[must_use]
    pub fn new(files: &'a Files) -> Self {
        let (mut scripts, mut python) = (HashMap::new(), HashMap::new());
        for (id, file) in files.iter() {
            let Some(language) = Language::of(&file.path) else { continue };
            let Some((stem, _)) = file.path.rsplit_once('.') else { continue };
            let known = if language == Language::Python { &mut python } else { &mut scripts };
            known.entry(stem).or_insert(id);
        }
        let aliases = if scripts.is_empty() { Vec::new() } else { Alias::all(files) };
        Self { files, scripts, python, aliases }
    }

    /// Finds what is taken of which file, where other files only hand it on.
    #[must_use]
    pub fn target(&self, from: FileId, language: Language, origin: &Origin) -> Option<Target> {
        let path = &self.files[from].path;
        self.follow(path, language == Language::Python, &origin.module, &origin.part, HOPS)
            .filter(|(file, _)| *file != from)
    }

    fn follow(&self, from: &str, python: bool, module: &str, part: &Part, hops: u32) -> Option<Target> {
        let hops = hops.checked_sub(1)?;
        let Part::Named(name) = part else {
            return Some((self.module(from, python, module)?, Part::Whole));
        };
        if python {
            let joint = if module.ends_with('.') { "" } else { "." };
            if let Some(inner) = self.module(from, true, &format!("{module}{joint}{name}")) {
                return Some((inner, Part::Whole));
            }
        }
        let file = self.module(from, python, module)?;
        let whole = &self.files[file];
        for (module, part) in reexports::of(whole, python, name) {
            if let Some(found) = self.follow(&whole.path, python, &module, &part, hops) {
                return Some(found);
            }
        }
        (hops + 1 == HOPS || reexports::defines(&whole.text, name)).then(|| (file, part.clone()))
    }

    fn module(&self, from: &str, python: bool, module: &str) -> Option<FileId> {
        if python { self.python_module(from, module) } else { self.script_module(from, module) }
    }

    fn script_module(&self, from: &str, module: &str) -> Option<FileId> {
        if module.starts_with("./") || module.starts_with("../") || matches!(module, "." | "..") {
            return self.script(&joined(from, module)?);
        }
        let aliased = self.aliases.iter().filter_map(|alias| alias.path(from, module));
        if let Some(found) = aliased.into_iter().find_map(|path| self.script(&path)) {
            return Some(found);
        }
        let rest = module.strip_prefix("~/").or_else(|| module.strip_prefix("@/"))?;
        ["src/", "app/", ""].iter().find_map(|top| self.script(&format!("{top}{rest}")))
    }

    /// Finds a script by its path with or without an ending, or that of its folder.
    fn script(&self, path: &str) -> Option<FileId> {
        let known = |stem: &str| self.scripts.get(stem).copied();
        known(without_ending(path)).or_else(|| known(path)).or_else(|| {
            let folder = path.trim_end_matches('/');
            let index = if folder.is_empty() { "index".to_owned() } else { format!("{folder}/index") };
            known(&index)
        })
    }

    fn python_module(&self, from: &str, module: &str) -> Option<FileId> {
        let known = |stem: &str| {
            let package = || {
                let inside = if stem.is_empty() { "__init__".to_owned() } else { format!("{stem}/__init__") };
                self.python.get(&*inside).copied()
            };
            self.python.get(stem).copied().or_else(package)
        };
        let mut folders: Vec<&str> = from.split('/').collect();
        folders.pop();
        let name = module.trim_start_matches('.');
        let dots = module.len() - name.len();
        if dots > 0 {
            folders.truncate(folders.len().checked_sub(dots - 1)?);
            folders.extend(name.split('.').filter(|part| !part.is_empty()));
            return known(&folders.join("/"));
        }
        let path = name.replace('.', "/");
        // What is beside a module of a package is not found by its name alone.
        let own = folders.join("/");
        let package = !own.is_empty() && self.python.contains_key(&*format!("{own}/__init__"));
        let tops = (0..=folders.len()).rev().filter(|&len| !(package && len == folders.len()));
        let at = |top: &[&str]| {
            let stem = if top.is_empty() { path.clone() } else { format!("{}/{path}", top.join("/")) };
            known(&stem)
        };
        let first = path.split('/').next().unwrap_or_default();
        // A folder that the path goes through is where it starts.
        let through = folders.iter().rposition(|folder| *folder == first);
        through
            .and_then(|len| at(&folders[..len]))
            .or_else(|| tops.into_iter().find_map(|len| at(&folders[..len])))
            .or_else(|| known(&format!("src/{path}")))
    }
}

/// Joins the path of a module to that of the file which names it.
fn joined(from: &str, module: &str) -> Option<String> {
    let mut folders: Vec<&str> = from.split('/').collect();
    folders.pop();
    for part in module.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(folders.pop()?),
            part => folders.push(part),
        }
    }
    Some(folders.join("/"))
}

pub(super) fn without_ending(module: &str) -> &str {
    match module.rsplit_once('.') {
        Some((plain, ending)) if SCRIPTS.contains(&ending) => plain,
        _ => module,
    }
}

/// Follows the names that files take from each other: to the file that defines them, and for an object that a library made to
/// what made it.
pub(super) fn link(units: &mut [Unit], files: &Files) {
    let paths = Paths::new(files);
    let targets: Vec<Vec<(String, Target)>> = units
        .iter()
        .map(|unit| {
            let found = unit.origins().filter_map(|(name, origin)| {
                Some((name.to_owned(), paths.target(unit.file, unit.language, origin)?))
            });
            found.collect()
        })
        .collect();
    let by_file: HashMap<FileId, &Unit> = units.iter().map(|unit| (unit.file, unit)).collect();
    let made: Vec<Vec<Option<String>>> = targets
        .iter()
        .map(|names| names.iter().map(|(_, (file, part))| made(by_file.get(file)?, part)).collect())
        .collect();
    for ((unit, names), made) in units.iter_mut().zip(targets).zip(made) {
        for ((name, target), path) in names.into_iter().zip(made) {
            unit.link(&name, Some(target), path);
        }
    }
}

/// Words of a file that sets limits for the client which it makes.
const LIMITS: &[&str] = &["timeout", ".mount(", ".request =", ".send ="];

/// Returns what made the object that a file exports under a name: `openai.AsyncOpenAI()`.
fn made(unit: &Unit, part: &Part) -> Option<String> {
    let Part::Named(name) = part else { return None };
    let path = unit.path(exported_value(unit, name)?)?.text;
    let library = path.ends_with("()") && !path.starts_with(['.', '~', '/']);
    let limited = || {
        let text = unit.whole();
        path.starts_with("requests.") && LIMITS.iter().any(|word| text.contains(word))
    };
    (library && !limited()).then_some(path)
}

/// The units of a repository by their files.
#[derive(Debug)]
pub struct Modules<'a> {
    by_file: HashMap<FileId, &'a Unit>,
}

impl<'a> Modules<'a> {
    /// Lists the units.
    #[must_use]
    pub fn new(units: &'a [Unit]) -> Self {
        Self { by_file: units.iter().map(|unit| (unit.file, unit)).collect() }
    }

    /// Returns a file, if it is read as code.
    #[must_use]
    pub fn unit(&self, file: FileId) -> Option<&'a Unit> {
        self.by_file.get(&file).copied()
    }

    /// Finds the function of another file that a call names by its import: `ask(x)`, `model.ask(x)`, or the method of an object
    /// of a class that is imported.
    #[must_use]
    pub fn exported(&self, unit: &Unit, call: Id) -> Option<(&'a Unit, Id)> {
        self.function(unit, unit.callee(call)?)
    }

    /// Finds the function of another file that an expression names.
    #[must_use]
    pub fn function(&self, unit: &Unit, named: Id) -> Option<(&'a Unit, Id)> {
        if unit.kind(named) == "identifier" {
            let (other, part) = self.target(unit, unit.text(named))?;
            let Part::Named(name) = part else { return None };
            return Some((other, function(other, name)?));
        }
        let object = unit.syntax.child(named, "object")?;
        let name = unit.syntax.child(named, "attribute").or_else(|| unit.syntax.child(named, "property"))?;
        let name = unit.text(name);
        match self.target(unit, unit.text(object)) {
            Some((other, Part::Whole)) => return Some((other, function(other, name)?)),
            Some((other, Part::Named(object))) => {
                if let Some(found) = self.member(other, object, name) {
                    return Some(found);
                }
            }
            None => {}
        }
        self.method(unit, object, name)
    }

    /// Finds a method of what another file exports: a class, an object of one, or one that is written out.
    fn member(&self, other: &'a Unit, object: &str, name: &str) -> Option<(&'a Unit, Id)> {
        if let Some(class) = other.class(object) {
            return Some((other, other.method(class, name)?));
        }
        let value = exported_value(other, object)?;
        if other.kind(value) == "object" {
            let inner =
                |id: &Id| other.syntax.around(*id).nth(1) == Some(value) || other.syntax[*id].parent == value;
            let own = other.syntax.below(value).find(|id| inner(id) && is_called(other, *id, name))?;
            return Some((other, own));
        }
        let class = other.callee(value).and_then(|callee| other.class(other.text(callee)));
        match class {
            Some(class) => Some((other, other.method(class, name)?)),
            None => self.method(other, value, name),
        }
    }

    /// Finds a method of the imported class that made an object.
    fn method(&self, unit: &Unit, object: Id, name: &str) -> Option<(&'a Unit, Id)> {
        let made = unit.path(object)?.built?;
        let callee = unit.callee(made)?;
        if unit.kind(callee) != "identifier" {
            return None;
        }
        let (other, part) = self.target(unit, unit.text(callee))?;
        let Part::Named(class) = part else { return None };
        let class = match (other.class(class), &**class) {
            (Some(class), _) => class,
            (None, "default") => other.default_export().filter(|&id| other.is_class(id))?,
            _ => return None,
        };
        Some((other, other.method(class, name)?))
    }

    /// Finds a method of a class that a file imports.
    #[must_use]
    pub fn method_of(&self, unit: &Unit, class: &str, name: &str) -> Option<(&'a Unit, Id)> {
        let (other, part) = self.target(unit, class)?;
        let Part::Named(class) = part else { return None };
        Some((other, other.method(other.class(class)?, name)?))
    }

    /// Returns the only value that a name which a file imports has where it is defined.
    #[must_use]
    pub fn value(&self, unit: &Unit, name: &str) -> Option<(&'a Unit, Id)> {
        let (other, part) = self.target(unit, name)?;
        let Part::Named(name) = part else { return None };
        Some((other, exported_value(other, name)?))
    }

    /// Returns some files and all that they import, directly or not: what is loaded with them.
    #[must_use]
    pub fn with_imported(&self, files: impl IntoIterator<Item = FileId>) -> BTreeSet<FileId> {
        let mut found = BTreeSet::new();
        let mut open: Vec<FileId> = files.into_iter().collect();
        while let Some(file) = open.pop() {
            if found.insert(file) {
                let origins = self.unit(file).into_iter().flat_map(Unit::origins);
                open.extend(origins.filter_map(|(_, origin)| Some(origin.target.as_ref()?.0)));
            }
        }
        found
    }

    fn target<'b>(&self, unit: &'b Unit, name: &str) -> Option<(&'a Unit, &'b Part)> {
        let (file, part) = unit.origin(name)?.target.as_ref()?;
        Some((self.unit(*file)?, part))
    }
}

/// Returns the only value of what a file exports under a name.
fn exported_value(unit: &Unit, name: &str) -> Option<Id> {
    match (unit.values(Id::ROOT, name), name) {
        ([value], _) => Some(*value),
        ([], "default") => unit.default_export(),
        _ => None,
    }
}

/// Finds a function that a file exports.
fn function(unit: &Unit, name: &str) -> Option<Id> {
    if name != "default" {
        return unit.function(name);
    }
    let default = unit.default_export()?;
    if unit.kind(default) == "identifier" { unit.function(unit.text(default)) } else { Some(default) }
}

/// Tells whether a function of an object is called so: `{ ask(x) { } }`, `{ ask: async (x) => y }`.
fn is_called(unit: &Unit, function: Id, name: &str) -> bool {
    match unit.kind(function) {
        "method_definition" => unit.syntax.child(function, "name").is_some_and(|own| unit.text(own) == name),
        "arrow_function" | "function_expression" => {
            let pair = unit.syntax[function].parent;
            unit.kind(pair) == "pair"
                && unit.syntax.child(pair, "key").is_some_and(|key| unit.text(key) == name)
        }
        _ => false,
    }
}

/// Returns the last part of a file's path without its ending, or of its folder where the file only stands for that.
#[must_use]
pub fn last_part(path: &str) -> &str {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    last_of(stem)
}

fn last_of(stem: &str) -> &str {
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    if matches!(name, "index" | "__init__") { folder.rsplit('/').next().unwrap_or(folder) } else { name }
}

/// Tells whether a text waits in a loop, for many, for each who asks, or as a program, and imports a file that is called like one
/// of `names`: what it waits for may be in there.
#[must_use]
pub fn waits_for_one_of(text: &str, names: &HashSet<&str>) -> bool {
    let many = ["for ", "for(", "gather(", "Promise.all", ".map("].iter().any(|word| text.contains(word));
    // What is run by itself is the whole of a program.
    if text.contains("asyncio.run(") && imports_from(text, names) {
        return true;
    }
    let waits = ["await ", "Promise.all("].iter().any(|word| text.contains(word));
    let answers = answers(text);
    // `answer(request).catch(fail)` goes on without waiting, and others ask meanwhile.
    let goes_on = || answers && [".catch(", ".then("].iter().any(|word| text.contains(word));
    (waits && (many || answers) || goes_on()) && imports_from(text, names)
}

/// Tells whether a text seems to answer requests or messages, as many at once as come in.
fn answers(text: &str) -> bool {
    const WORDS: &[&str] = &[
        ".post(",
        ".get(",
        ".put(",
        ".patch(",
        ".delete(",
        ".route(",
        ".websocket(",
        ".all(",
        "createServer(",
        ".serve(",
        "function POST(",
        "function GET(",
        "const POST",
        "const GET",
        ".message(",
        ".on(",
        ".command(",
        ".event(",
        "async fetch(",
        "add_post(",
        "add_get(",
    ];
    WORDS.iter().any(|word| text.contains(word))
}

/// Tells whether a text imports, or hands on, from a file that is called like one of `names`.
#[must_use]
pub fn imports_from(text: &str, names: &HashSet<&str>) -> bool {
    text.lines().any(|line| imports_one_of(line, names))
}

fn imports_one_of(line: &str, names: &HashSet<&str>) -> bool {
    let line = line.trim_end_matches([';', ' ', '\r']);
    if let Some(rest) = line.strip_prefix("from ") {
        let Some((module, imported)) = rest.split_once(" import ") else { return false };
        let last = module.rsplit('.').next().unwrap_or(module);
        return names.contains(last) || imported.split([',', ' ', '(', ')']).any(|name| names.contains(name));
    }
    if let Some(modules) = line.strip_prefix("import ").filter(|rest| !rest.contains(['"', '\''])) {
        let mut modules =
            modules.split(',').map(|module| module.trim().split(' ').next().unwrap_or_default());
        return modules.any(|module| module.contains('.') && names.contains(last_dotted(module)));
    }
    let Some((_, module)) = line.split_once("from \"").or_else(|| line.split_once("from '")) else {
        return false;
    };
    let module = module.trim_end_matches(['"', '\'']);
    let own = module.starts_with(['.', '~', '@', '#', '$']);
    own && names.contains(last_of(without_ending(module)))
}

fn last_dotted(module: &str) -> &str {
    module.rsplit('.').next().unwrap_or(module)
}

/// Files that only hand on what others export, by what imports call them.
pub(super) fn barrels<'a>(
    files: impl Iterator<Item = &'a crate::files::File>,
    names: &HashSet<&'a str>,
) -> HashSet<&'a str> {
    let hands_on = |file: &&crate::files::File| {
        let python = file.path.ends_with(".py");
        reexports::may_hand_on(file, python) && imports_from(&file.text, names)
    };
    files.filter(hands_on).map(|file| last_part(&file.path)).collect()
}
