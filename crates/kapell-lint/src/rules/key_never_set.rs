//! Keys that code reads of what a function gives, and that the function never sets.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use kapell_spec::{hash::HashMap, suggest};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{Id, Language, Unit, modules::Modules, service, unit::FUNCTIONS},
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/key-never-set.md`.
pub(super) static RULE: Rule = Rule {
    name: "key-never-set",
    summary: "a key is read of what a function gives, and the function never sets it",
    group: Group::Code,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/key-never-set.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let modules = Modules::new(&repository.code);
    let mut gives = Gives::new();
    for unit in repository.code.iter().filter(|unit| unit.language == Language::Python) {
        let mut told: BTreeSet<(FileId, Id)> = BTreeSet::new();
        let reader = Reader { modules: &modules, unit, names: OnceCell::new() };
        for bound in unit.syntax.of_kind(&["assignment"]) {
            let Some(found) = reader.read_in_vain(bound, &mut gives) else { continue };
            let maker = (found.other.file, found.maker);
            if !told.contains(&maker) && all_alike(repository, unit, &found) {
                told.insert(maker);
                tell(unit, &found, report);
            }
        }
    }
}

/// The keys that functions give, of each that was asked for; nothing where they cannot be seen.
type Gives<'a> = BTreeMap<(FileId, Id), Option<BTreeSet<&'a str>>>;

/// Where each name of a file stands, in the order of the text.
struct Names<'a>(HashMap<&'a str, Vec<Id>>);

impl<'a> Names<'a> {
    fn of(unit: &'a Unit) -> Self {
        let mut all: HashMap<&str, Vec<Id>> = HashMap::default();
        unit.syntax.of_kind(&["identifier"]).for_each(|id| all.entry(unit.text(id)).or_default().push(id));
        Self(all)
    }

    /// Returns where a name stands within a node.
    fn within(&self, unit: &Unit, outer: Id, name: &str) -> &[Id] {
        let all = self.0.get(name).map_or(&[][..], Vec::as_slice);
        let (from, end) = (all.partition_point(|&id| id <= outer), unit.syntax.end(outer));
        &all[from..all.partition_point(|&id| id < end)]
    }
}

/// A key that is read and never set.
struct Found<'a> {
    other: &'a Unit,
    /// The function that gives the dictionary.
    maker: Id,
    keys: BTreeSet<&'a str>,
    /// Where the key is read, and the key.
    read: Id,
    key: String,
}

fn tell(unit: &Unit, found: &Found<'_>, report: &mut Report<'_>) {
    let Found { other, maker, keys, read, key } = found;
    let name = other.syntax.child(*maker, "name").map_or("", |name| other.text(name));
    let gives = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    let then = match (unit.kind(*read), unit.args(*read).len()) {
        ("subscript", _) => "this fails",
        (_, 1) => "this is always `None`",
        _ => "this is always the default",
    };
    let message =
        format!("`{name}` gives {gives} and never `{key}`: {then}{}", service::place_name(unit, *read));
    let near = suggest::nearest(key, keys.iter().copied())
        .or_else(|| keys.iter().copied().find(|own| key.split('_').any(|part| part == *own)));
    let hint = near.map_or_else(
        || "read a key that it gives, or let it give this one".to_owned(),
        |near| format!("read `{near}`"),
    );
    report
        .add(unit.file, unit.span(*read), message)
        .hint(hint)
        .also(other.file, other.span(*maker), "this gives it")
        .done();
}

/// A file that is read.
struct Reader<'a, 'm> {
    modules: &'m Modules<'a>,
    unit: &'a Unit,
    names: OnceCell<Names<'a>>,
}

impl<'a> Reader<'a, '_> {
    /// Finds the first key that is read of what a name is bound to, and that the function which gives it never sets.
    fn read_in_vain(&self, bound: Id, gives: &mut Gives<'a>) -> Option<Found<'a>> {
        let unit = self.unit;
        let name = unit.syntax.child(bound, "left").filter(|&id| unit.kind(id) == "identifier")?;
        let right = unit.syntax.child(bound, "right")?;
        let waits = unit.kind(right) == "await";
        let call = if waits { unit.syntax.children(right).nth(1)? } else { right };
        if unit.kind(call) != "call" || unit.values(name, unit.text(name)).len() != 1 {
            return None;
        }
        let (other, maker) = maker(self.modules, unit, call)?;
        if other.language != Language::Python || other.is_async(maker) != waits {
            return None;
        }
        let keys = gives.entry((other.file, maker)).or_insert_with(|| keys(other, maker)).as_ref()?;
        let names = self.names.get_or_init(|| Names::of(unit));
        let mut found = None;
        let named = names.within(unit, unit.function_of(bound), unit.text(name)).iter().copied();
        for id in named.filter(|&id| id != name) {
            let (read, key) = read(unit, id)?;
            let lost = key.filter(|key| !keys.contains(key));
            if let Some(key) = lost.filter(|_| found.is_none()) {
                found = Some((read, key.to_owned()));
            }
        }
        let (read, key) = found?;
        Some(Found { other, maker, keys: keys.clone(), read, key })
    }
}

/// Finds the function that a call calls: one of a name, or a method of the same object, which its class may inherit.
fn maker<'a>(modules: &Modules<'a>, unit: &'a Unit, call: Id) -> Option<(&'a Unit, Id)> {
    let callee = unit.callee(call)?;
    if unit.kind(callee) == "identifier" {
        let own = unit.function(unit.text(callee)).filter(|&function| !unit.is_method(function));
        return own.map(|own| (unit, own)).or_else(|| {
            modules.exported(unit, call).filter(|(other, function)| !other.is_method(*function))
        });
    }
    if unit.syntax.child(callee, "object").is_none_or(|object| unit.text(object) != "self") {
        return None;
    }
    if let Some(own) = service::own_method(unit, call) {
        return Some((unit, own));
    }
    let class = unit.syntax.around(call).find(|&id| unit.kind(id) == "class_definition")?;
    let parents = unit.syntax.child(class, "superclasses")?;
    let mut parents = unit.syntax.children(parents).filter(|&id| unit.kind(id) == "identifier");
    parents.find_map(|parent| {
        let (name, method) = (unit.text(parent), unit.callee_name(call));
        let own = || Some((unit, unit.method(unit.class(name)?, method)?));
        own().or_else(|| modules.method_of(unit, name, method))
    })
}

/// Returns the keys that a function gives, if each time it gives a dictionary that is written out.
fn keys(unit: &Unit, function: Id) -> Option<BTreeSet<&str>> {
    if unit.kind(unit.syntax[function].parent) == "decorated_definition" {
        return None;
    }
    let mut keys = BTreeSet::new();
    for id in unit.syntax.below(function).filter(|&id| unit.function_of(id) == function) {
        if unit.kind(id) == "yield" {
            return None;
        }
        if unit.kind(id) != "return_statement" {
            continue;
        }
        let given = unit.syntax.children(id).nth(1).filter(|&given| unit.kind(given) == "dictionary")?;
        for part in unit.syntax.children(given) {
            match unit.kind(part) {
                "{" | "}" | "," | "comment" => {}
                "pair" => drop(keys.insert(unit.literal(unit.syntax.child(part, "key")?)?)),
                _ => return None,
            }
        }
    }
    (!keys.is_empty()).then_some(keys)
}

/// Returns where a dictionary is read under a name, and the key if it is written out; `None` where anything else is done with
/// it, which may set further keys.
fn read(unit: &Unit, id: Id) -> Option<(Id, Option<&str>)> {
    let around = unit.syntax[id].parent;
    // What is asked first may be there or not.
    let asked = unit.syntax.around(id).take_while(|&id| !FUNCTIONS.contains(&unit.kind(id)));
    match unit.kind(around) {
        "subscript" => {
            let key = unit.syntax.child(around, "subscript")?;
            let whole = unit.syntax[around].parent;
            let written =
                unit.kind(whole) == "delete_statement" || unit.syntax.child(whole, "left") == Some(around);
            let tried = asked.into_iter().any(|id| unit.kind(id) == "try_statement");
            (!written).then(|| (around, unit.literal(key).filter(|_| !tried)))
        }
        "attribute" => {
            let call = unit.syntax[around].parent;
            let key = unit.args(call).first().map(|arg| arg.value);
            let gets = unit.kind(call) == "call" && unit.syntax.child(call, "function") == Some(around);
            let name = unit.syntax.child(around, "attribute").map_or("", |name| unit.text(name));
            match name {
                "get" if gets => Some((call, key.and_then(|key| unit.literal(key)))),
                "keys" | "values" | "items" if gets => Some((call, None)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Tells whether none of the functions of that name sets the key: a class may have a method of its own instead.
fn all_alike(repository: &Repository, unit: &Unit, found: &Found<'_>) -> bool {
    let Some(name) = found.other.syntax.child(found.maker, "name").map(|name| found.other.text(name)) else {
        return false;
    };
    let text = format!("def {name}(");
    if !found.other.is_method(found.maker) {
        return unit.whole().matches(&*text).count() <= 1;
    }
    let units = repository.code.iter().filter(|unit| unit.whole().contains(&*text));
    let mut all = units.flat_map(|unit| {
        let named = unit.functions().filter(|(own, _)| *own == name);
        named.flat_map(move |(_, functions)| functions.iter().map(move |&function| (unit, function)))
    });
    all.all(|(unit, function)| keys(unit, function).is_some_and(|keys| !keys.contains(&*found.key)))
}
