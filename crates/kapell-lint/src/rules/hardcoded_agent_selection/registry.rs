//! Tables of agents, and names of theirs that other files spell out.

mod composed; // keys that are names of constants
mod enrolled; // tables that a function fills with what it is handed
mod kept; // names that an object keeps until they are looked up

use std::collections::BTreeSet;

use kapell_spec::{finding::Span, suggest};
use kapell_view::audit::{AssetKind, Severity};

use crate::{
    code::{
        Id, Language, Unit,
        guards::{self, has_word},
        modules::Modules,
        service,
        unit::unquoted,
    },
    files::FileId,
    repository::Repository,
    rule::Report,
};

/// What people call a table of agents, in lower case and without underscores.
const TABLES: &[&str] =
    &["agents", "agentregistry", "agentsregistry", "agenttable", "agentmap", "subagents", "specialists"];

/// A table of agents that stands in the code.
pub(super) struct Table<'a> {
    pub(super) unit: &'a Unit,
    pub(super) at: Id,
    pub(super) name: &'a str,
    pub(super) keys: Vec<&'a str>,
}

/// Returns the names of the agents that the repository defines, as files or in a table.
pub(super) fn known(repository: &Repository) -> BTreeSet<&str> {
    let files = repository.agents.of(AssetKind::Agent).map(|(_, asset)| &*asset.name);
    files.chain(tables(repository).into_iter().flat_map(|table| table.keys)).collect()
}

fn tables(repository: &Repository) -> Vec<Table<'_>> {
    let all = repository.code.iter().flat_map(|unit| {
        let made = unit.syntax.of_kind(&["assignment", "variable_declarator"]);
        made.filter_map(move |made| table(unit, made))
    });
    all.collect()
}

/// Returns the one table of the repository; where none is called so, the one that lists three agents or more.
pub(super) fn only(repository: &Repository) -> Option<Table<'_>> {
    let mut named = tables(repository);
    if named.is_empty() {
        let likely = || repository.code.iter().filter(|unit| unit.whole().contains("gent"));
        named = likely().flat_map(listed).collect();
        if named.is_empty() {
            named = likely().filter_map(registered).collect();
        }
    }
    // Of two tables nobody can tell whose name it is.
    named.pop().filter(|_| named.is_empty())
}

/// Keys beside its name by which an object says what an agent is told.
const TOLD: &[&str] = &["instructions", "system", "systemPrompt", "system_prompt", "prompt"];

/// Finds lists of agents under any name: `[new Agent({ name: ... }), ...]`, `{spec.name: spec for spec in (AgentSpec(...), ...)}`.
fn listed(unit: &Unit) -> Vec<Table<'_>> {
    let made = unit.syntax.of_kind(&["assignment", "variable_declarator"]);
    let outer = made.filter(|&made| unit.function_of(made) == Id::ROOT);
    let read = |made: Id| {
        let at = unit.syntax.child(made, "left").or_else(|| unit.syntax.child(made, "name"))?;
        let value = unit.syntax.child(made, "right").or_else(|| unit.syntax.child(made, "value"))?;
        let many = ["list", "tuple", "array", "dictionary_comprehension", "dictionary", "object"];
        if !many.contains(&unit.kind(value)) || unit.kind(at) != "identifier" {
            return None;
        }
        let names = unit.syntax.below(value).filter(|&id| unit.kind(id) == "string" && is_agents(unit, id));
        let mut keys: Vec<&str> = names.map(|id| unquoted(unit.text(id))).filter(is_name).collect();
        keys.sort_unstable();
        keys.dedup();
        (keys.len() > 2).then(|| Table { unit, at, name: unit.text(at), keys })
    };
    outer.filter_map(read).collect()
}

/// Finds a table that is empty at first, and that a function of its file fills with agents which have a constant each:
/// `REFUNDS = register(Agent(name="refund-clerk", ...))`.
fn registered(unit: &Unit) -> Option<Table<'_>> {
    let mut made = unit.syntax.of_kind(&["assignment", "variable_declarator"]);
    let (at, name) = made.find_map(|made| {
        let at = unit.syntax.child(made, "left").or_else(|| unit.syntax.child(made, "name"))?;
        let value = unit.syntax.child(made, "right").or_else(|| unit.syntax.child(made, "value"))?;
        let empty = matches!(&*unit.text(value).replace(' ', ""), "{}" | "newMap()" | "dict()")
            || unit.kind(value) == "new_expression"
                && unit.callee_name(value) == "Map"
                && unit.args(value).is_empty();
        (empty && is_table(unit.text(at)) && unit.function_of(made) == Id::ROOT).then(|| (at, unit.text(at)))
    })?;
    let fills = |function: Id| {
        let text = unit.text(function);
        [format!("{name}["), format!("{name}.set(")].iter().any(|form| text.contains(&**form))
    };
    let calls = unit.calls().filter(|&call| unit.function_of(call) == Id::ROOT);
    let registers = calls.filter(|&call| unit.called(call).is_some_and(fills));
    let mut keys: Vec<&str> = registers
        .filter_map(|call| {
            let first = unit.args(call).first()?.value;
            let own = unit.kind(first) == "string";
            let mut within = std::iter::once(first).chain(unit.syntax.below(first));
            within
                .find(|&id| own || unit.kind(id) == "string" && is_agents(unit, id))
                .map(|id| unquoted(unit.text(id)))
        })
        .filter(is_name)
        .collect();
    keys.sort_unstable();
    keys.dedup();
    (keys.len() > 2).then_some(Table { unit, at, name, keys })
}

/// Tells whether a name is that of a table of agents.
fn is_table(name: &str) -> bool {
    TABLES.contains(&&*name.to_ascii_lowercase().replace('_', ""))
}

/// Tells whether a text is the name that an agent is made with.
fn is_agents(unit: &Unit, id: Id) -> bool {
    let parent = unit.syntax[id].parent;
    let made = |list: Id| unit.callee_name(unit.syntax[list].parent).contains("Agent");
    match unit.kind(parent) {
        "keyword_argument" => {
            let named = unit.syntax.child(parent, "name").is_some_and(|name| unit.text(name) == "name");
            named && made(unit.syntax[parent].parent)
        }
        "pair" => {
            let named =
                unit.syntax.child(parent, "key").is_some_and(|key| unquoted(unit.text(key)) == "name");
            let object = unit.syntax[parent].parent;
            named && TOLD.iter().any(|key| unit.object_key(object, key).flatten().is_some())
        }
        "argument_list" | "arguments" => {
            let first = unit.args(unit.syntax[parent].parent).first().is_some_and(|arg| arg.value == id);
            first && made(parent)
        }
        _ => false,
    }
}

fn table(unit: &Unit, made: Id) -> Option<Table<'_>> {
    let at = unit.syntax.child(made, "left").or_else(|| unit.syntax.child(made, "name"))?;
    let name = unit.text(at);
    if !is_table(name) || unit.function_of(made) != Id::ROOT {
        return None;
    }
    let value = unit.syntax.child(made, "right").or_else(|| unit.syntax.child(made, "value"))?;
    let mut within = std::iter::once(value).chain(unit.syntax.children(value));
    let keys = if let Some(keys) = composed::keys(unit, name, value) {
        keys
    } else if unit.kind(value) == "new_expression" && unit.callee_name(value).starts_with("Map") {
        mapped(unit, value)
    } else {
        match within.find(|&id| matches!(unit.kind(id), "object" | "dictionary")) {
            Some(object) => keyed(unit, object),
            None => named(unit, value),
        }
    };
    let mut keys: Vec<&str> = keys.into_iter().filter(is_name).collect();
    keys.sort_unstable();
    keys.dedup();
    (keys.len() > 1).then_some(Table { unit, at, name, keys })
}

/// Returns the keys of `new Map([["billing", ...], ...])`.
fn mapped(unit: &Unit, map: Id) -> Vec<&str> {
    let Some(list) = unit.args(map).first().map(|arg| arg.value) else { return Vec::new() };
    let entries = unit.syntax.children(list).filter(|&id| unit.kind(id) == "array");
    let keys = entries.filter_map(|entry| unit.syntax.children(entry).nth(1));
    keys.filter(|&key| unit.kind(key) == "string").map(|key| unquoted(unit.text(key))).collect()
}

/// Returns the keys of an object that are texts or names.
fn keyed(unit: &Unit, object: Id) -> Vec<&str> {
    let keys = unit.syntax.children(object).filter_map(|part| match unit.kind(part) {
        "pair" => unit.syntax.child(part, "key"),
        "shorthand_property_identifier" => Some(part),
        _ => None,
    });
    let named = ["string", "property_identifier", "shorthand_property_identifier"];
    keys.filter(|&key| named.contains(&unit.kind(key))).map(|key| unquoted(unit.text(key))).collect()
}

/// Returns the names of what is listed: `Agent("billing", ...)`, `Agent(name="billing")`, `{ name: "billing" }`.
fn named(unit: &Unit, list: Id) -> Vec<&str> {
    let names = unit.syntax.below(list).filter(|&id| unit.kind(id) == "string").filter(|&id| {
        let parent = unit.syntax[id].parent;
        match unit.kind(parent) {
            "keyword_argument" => {
                unit.syntax.child(parent, "name").is_some_and(|name| unit.text(name) == "name")
            }
            "pair" => unit.syntax.child(parent, "key").is_some_and(|key| unquoted(unit.text(key)) == "name"),
            "argument_list" | "arguments" => {
                let call = unit.syntax[parent].parent;
                let made = unit.callee_name(call).starts_with(|c: char| c.is_ascii_uppercase());
                made && unit.args(call).first().is_some_and(|arg| arg.value == id)
            }
            _ => false,
        }
    });
    names.map(|id| unquoted(unit.text(id))).collect()
}

/// Names that are handed to a function which looks them up in the table, or to a method which hands them on to it, and that the
/// table has not.
pub(super) fn not_listed(repository: &Repository, report: &mut Report<'_>) {
    let modules = Modules::new(&repository.code);
    let tables = tables(repository);
    let enrolled = if tables.is_empty() { enrolled::only(repository, &modules) } else { None };
    let table = match (&tables[..], &enrolled) {
        ([table], _) if is_whole(repository, table) => table,
        ([], Some(table)) => table,
        _ => return,
    };
    let checked = is_checked(repository, table);
    if !checked {
        kept::check(repository, table, report);
    }
    for unit in repository.code.iter().filter(|_| !checked) {
        asked_by_key(unit, table, report);
        asked_by_member(unit, table, report);
    }
    for unit in repository.code.iter().filter(|unit| unit.file != table.unit.file) {
        for call in unit.calls() {
            let Some(first) = unit.args(call).first().map(|arg| arg.value) else { continue };
            let missing = spelled(unit, first).into_iter().find(|(_, name)| !table.keys.contains(name));
            let Some((at, name)) = missing else { continue };
            // Where a compiler knows the names, a function that takes any text for one still does.
            let own = || Some((unit, service::own_method(unit, call)?));
            let asked = modules
                .exported(unit, call)
                .or_else(own)
                .filter(|&(other, function)| !checked || takes_any(other, function));
            if !asked.is_some_and(|(other, function)| asks(&modules, table, (other, function), STEPS)) {
                continue;
            }
            tell(table, name, "this call", (unit.file, unit.span(at)), report);
        }
    }
}

/// Tells whether a file has the table under its name, of its own or by an import.
fn has(unit: &Unit, table: &Table<'_>) -> bool {
    let taken = || unit.origin(table.name).and_then(|origin| origin.target.as_ref());
    unit.file == table.unit.file || taken().is_some_and(|(file, _)| *file == table.unit.file)
}

/// Tells whether a function says that its first parameter may be any text.
fn takes_any(unit: &Unit, function: Id) -> bool {
    let given = unit.syntax.child(function, "parameters").map_or("", |given| unit.text(given));
    let first = given.trim_matches(['(', ')']).split([',', '=']).next().unwrap_or_default();
    first.split_once(':').is_some_and(|(_, kind)| matches!(kind.trim(), "string" | "str"))
}

/// How far a name is followed from function to function.
const STEPS: u32 = 2;

/// Returns the name of a function's first parameter, after the object of a method.
fn first(unit: &Unit, function: Id) -> Option<&str> {
    let given = unit.syntax.child(function, "parameters")?;
    let names = unit.syntax.below(given).filter(|&id| unit.kind(id) == "identifier");
    names.map(|id| unit.text(id)).find(|name| !matches!(*name, "self" | "cls"))
}

/// Tells whether a function takes its first parameter for a key of the table, by itself or by one that it hands it to first.
fn asks(modules: &Modules<'_>, table: &Table<'_>, (unit, function): (&Unit, Id), steps: u32) -> bool {
    if has(unit, table) && looks_up(table, unit, function) {
        return true;
    }
    let Some((steps, name)) = steps.checked_sub(1).zip(first(unit, function)) else { return false };
    // Who looks whether it is there does not fail.
    let text = unit.text(function);
    if text.contains(" in ") && text.contains(table.name) {
        return false;
    }
    // What may fail is tried.
    let tried = |call| unit.syntax.around(call).any(|id| unit.kind(id) == "try_statement");
    let hands =
        |call: Id| unit.args(call).first().is_some_and(|arg| unit.text(arg.value) == name) && !tried(call);
    unit.calls_in(function).filter(|&call| hands(call)).any(|call| {
        let own = || Some((unit, unit.called(call).filter(|&other| other != function)?));
        let next = modules.exported(unit, call).or_else(own);
        next.is_some_and(|next| asks(modules, table, next, steps))
    })
}

/// Names that stand in the brackets of the table itself: `AGENTS["refunds-agent"]`.
fn asked_by_key(unit: &Unit, table: &Table<'_>, report: &mut Report<'_>) {
    if !has(unit, table) {
        return;
    }
    for asked in unit.syntax.of_kind(&["subscript", "subscript_expression"]) {
        let child = |field| unit.syntax.child(asked, field);
        let of = child("value").or_else(|| child("object"));
        let Some(key) = child("subscript").or_else(|| child("index")) else { continue };
        let missing = spelled(unit, key).into_iter().find(|(_, name)| !table.keys.contains(name));
        let Some((at, name)) = missing else { continue };
        let parent = unit.syntax[asked].parent;
        let written = unit.syntax.child(parent, "left") == Some(asked)
            || matches!(unit.kind(parent), "delete_statement" | "binary_expression");
        let ours = of.is_some_and(|of| unit.kind(of) == "identifier" && unit.text(of) == table.name);
        // What may fail is tried.
        let tried = unit.syntax.around(asked).any(|id| unit.kind(id) == "try_statement");
        if !ours || written || tried {
            continue;
        }
        tell(table, name, "this", (unit.file, unit.span(at)), report);
    }
}

/// Returns the names that an expression may be, where all of them stand there: a text, a choice between two, or a variable
/// that is only ever set to such. Nothing where one of them may be anything.
fn spelled(unit: &Unit, id: Id) -> Vec<(Id, &str)> {
    fn collect<'a>(unit: &'a Unit, id: Id, steps: u32, found: &mut Vec<(Id, &'a str)>) -> Option<()> {
        let steps = steps.checked_sub(1)?;
        match unit.kind(id) {
            "string" => {
                let name = unquoted(unit.text(id));
                found.push(is_name(&name).then_some((id, name))?);
                Some(())
            }
            "ternary_expression" => {
                let (one, other) =
                    (unit.syntax.child(id, "consequence")?, unit.syntax.child(id, "alternative")?);
                collect(unit, one, steps, found)?;
                collect(unit, other, steps, found)
            }
            // `one if asked else other`: the condition stands in the middle.
            "conditional_expression" => {
                let parts: Vec<Id> = unit
                    .syntax
                    .children(id)
                    .filter(|&part| !matches!(unit.kind(part), "if" | "else" | "comment"))
                    .collect();
                let [one, _, other] = parts[..] else { return None };
                collect(unit, one, steps, found)?;
                collect(unit, other, steps, found)
            }
            "parenthesized_expression" => {
                let inner = unit.syntax.children(id).nth(1)?;
                collect(unit, inner, steps, found)
            }
            "identifier" => {
                let (name, values) = (unit.text(id), unit.values(id, unit.text(id)));
                values.first()?;
                // A parameter hides what is called so outside.
                let parameter = unit.syntax.around(id).any(|function| {
                    let given = unit
                        .syntax
                        .child(function, "parameters")
                        .or_else(|| unit.syntax.child(function, "parameter"));
                    given.is_some_and(|given| {
                        let mut parts = std::iter::once(given).chain(unit.syntax.below(given));
                        parts.any(|part| unit.kind(part) == "identifier" && unit.text(part) == name)
                    })
                });
                (!parameter).then_some(())?;
                values.iter().try_for_each(|&value| collect(unit, value, steps, found))
            }
            _ => None,
        }
    }
    let mut found = Vec::new();
    collect(unit, id, CHOICES, &mut found).map(|()| found).unwrap_or_default()
}

/// How far a name is followed through variables and choices.
const CHOICES: u32 = 5;

/// Names that stand behind a dot of a table whose type takes any: `agents.refund` of a `Record<string, Agent>`.
fn asked_by_member(unit: &Unit, table: &Table<'_>, report: &mut Report<'_>) {
    let own = unit.file == table.unit.file;
    let taken = || unit.origin(table.name).and_then(|origin| origin.target.as_ref());
    if table.unit.language == Language::Python
        || !own && taken().is_none_or(|(file, _)| *file != table.unit.file)
    {
        return;
    }
    let made = table.unit.text(table.unit.syntax[table.at].parent);
    if !made.contains("Record<string") && !made.contains("[key: string]") {
        return;
    }
    for asked in unit.syntax.of_kind(&["member_expression"]) {
        let child = |field| unit.syntax.child(asked, field);
        let Some((object, key)) = child("object").zip(child("property")) else { continue };
        let (name, parent) = (unit.text(key), unit.syntax[asked].parent);
        // `agents.refund ?? agents.triage`, and what is set.
        let may_lack =
            matches!(unit.kind(parent), "binary_expression" | "assignment_expression" | "if_statement")
                || unit.kind(parent) == "parenthesized_expression"
                || unit.text(parent).contains("?.")
                || unit.syntax[asked].field == "condition";
        let called = unit.syntax[asked].field == "function";
        if unit.text(object) != table.name || unit.kind(object) != "identifier" || may_lack || called {
            continue;
        }
        if is_name(&name) && !table.keys.contains(&name) {
            tell(table, name, "this", (unit.file, unit.span(key)), report);
        }
    }
}

/// Tells of a name that the table does not have.
fn tell(table: &Table<'_>, name: &str, what: &str, (file, span): (FileId, Span), report: &mut Report<'_>) {
    let message = format!("`{}` has no agent `{name}`: {what} fails when it is reached", table.name);
    let hint = match suggest::mistyped(name, table.keys.iter().copied(), kept::SLIPS) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("name one that is there: {}", table.keys.join(", ")),
    };
    report
        .add(file, span, message)
        .severity(Severity::High)
        .hint(hint)
        .also(table.unit.file, table.unit.span(table.at), "the table")
        .done();
}

fn is_name(key: &&str) -> bool {
    key.len() > 2 && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

/// Tells whether a table stands there whole, and nothing is put in later.
fn is_whole(repository: &Repository, table: &Table<'_>) -> bool {
    let unit = table.unit;
    let made = unit.syntax[table.at].parent;
    let value = unit.syntax.child(made, "right").or_else(|| unit.syntax.child(made, "value"));
    // `{ ... } as Record<string, Agent>`
    let inner = |id: Id| match unit.kind(id) {
        "as_expression" | "satisfies_expression" => unit.syntax.children(id).next(),
        _ => Some(id),
    };
    let value = value.and_then(inner);
    let map = value.filter(|&id| unit.kind(id) == "new_expression");
    if let Some(map) = map {
        let set = format!("{}.set(", table.name);
        let entries = unit.args(map).first().map_or(0, |list| {
            unit.syntax
                .children(list.value)
                .filter(|&id| !matches!(unit.kind(id), "[" | "]" | "," | "comment"))
                .count()
        });
        return entries == table.keys.len()
            && !repository.code.iter().any(|unit| unit.whole().contains(&*set));
    }
    if let Some(keys) = value.and_then(|value| composed::keys(unit, table.name, value)) {
        let looped = composed::filled(unit, table.name).filter(|(_, own)| *own == keys);
        let looped = looped.map(|(each, _)| unit.text(each));
        return keys.len() == table.keys.len()
            && !repository.code.iter().any(|other| {
                // The loop that fills it is read already.
                let filling = looped.filter(|_| other.file == unit.file).unwrap_or_default();
                grows(table.name, &other.whole().replacen(filling, "", usize::from(!filling.is_empty())))
            });
    }
    let Some(object) = value.filter(|&id| matches!(unit.kind(id), "object" | "dictionary")) else {
        return false;
    };
    let parts =
        unit.syntax.children(object).filter(|&id| !matches!(unit.kind(id), "{" | "}" | "," | "comment"));
    let plain = |id: Id| {
        let key = unit.syntax.child(id, "key");
        let short = unit.kind(id) == "shorthand_property_identifier";
        short && is_name(&unit.text(id))
            || unit.kind(id) == "pair"
                && key.is_some_and(|key| {
                    matches!(unit.kind(key), "string" | "property_identifier")
                        && is_name(&unquoted(unit.text(key)))
                })
    };
    let all = parts.into_iter().all(plain);
    all && !repository.code.iter().any(|unit| grows(table.name, unit.whole()))
}

/// Tells whether a text puts something into a table of this name.
fn grows(table: &str, text: &str) -> bool {
    let later = [".update(", ".setdefault(", "[name] =", " |= "]
        .iter()
        .any(|form| text.contains(&format!("{table}{form}")));
    let name = format!("{table}[");
    let set = text.match_indices(&*name).any(|(at, _)| {
        let rest = text[at..].split_once(']').map_or("", |(_, rest)| rest.trim_start());
        rest.starts_with('=') && !rest.starts_with("==")
    });
    later || set || text.contains(&format!("Object.assign({table}"))
}

/// Tells whether a function takes its first parameter for a key of the table, and has nothing else to fall back on.
fn looks_up(table: &Table<'_>, unit: &Unit, function: Id) -> bool {
    let text = unit.text(function);
    let Some(name) = first(unit, function) else { return false };
    let any = |text: &str, forms: &[&str]| forms.iter().any(|form| text.contains(form));
    // What is looked for elsewhere says nothing of the name: `for tool in spec.tools`.
    let of_name = |line: &str| {
        let named = |word: &str| has_word(line, &word.to_ascii_lowercase());
        any(line, &[".get(", " in "]) && (named(name) || named(table.name))
    };
    // What is not there may be refused by hand: `AGENTS.get(name)`, and then `throw`.
    let got = format!("{}.get({name})", table.name);
    let rest = guards::code(unit, function).replace(&got.to_ascii_lowercase(), "");
    let looks = rest.lines().any(of_name);
    let falls_back = |text: &str| looks || any(text, &["??", "||", "?.", " or "]);
    if text.contains(&*got) && ["throw ", "raise "].iter().any(|word| text.contains(word)) {
        return !falls_back(&text.replace(&*got, ""));
    }
    let cast = |open: &str| {
        text.split_once(&format!("({}{open}", table.name))
            .is_some_and(|(_, rest)| rest.contains(&format!(")[{name}]")))
    };
    (text.contains(&format!("{}[{name}]", table.name)) || cast(" as ")) && !falls_back(text)
}

/// Tells whether a compiler knows the names: a type that is made of the table, or that lists them.
pub(super) fn is_checked(repository: &Repository, table: &Table<'_>) -> bool {
    let of_table = format!("keyof typeof {}", table.name);
    let listed: Vec<String> = table
        .keys
        .iter()
        .flat_map(|key| {
            [format!("\"{key}\" |"), format!("'{key}' |"), format!("| \"{key}\""), format!("| '{key}'")]
        })
        .collect();
    repository.code.iter().any(|unit| {
        let text = unit.whole();
        match unit.language {
            Language::Python => text.contains("Literal[") && table.keys.iter().any(|key| text.contains(key)),
            _ => text.contains(&of_table) || listed.iter().any(|one| text.contains(&**one)),
        }
    })
}
