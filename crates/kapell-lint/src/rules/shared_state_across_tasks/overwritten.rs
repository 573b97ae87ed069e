//! What an agent of another file is told, set anew where a file is loaded: all who use that agent get it from then on.

use std::collections::BTreeMap;

use kapell_view::audit::Severity;

use crate::{
    code::{Id, Unit, imports::Part},
    files::FileId,
    repository::Repository,
    rule::Report,
};

/// What an agent is told, by the names of what keeps it.
const TOLD: &[&str] = &["instructions", "system", "systemPrompt", "system_prompt", "prompt"];

/// Tells of assignments at the top of a file to what an agent of another file is told, where that file uses it itself.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let sets = |unit: &&Unit| TOLD.iter().any(|key| unit.whole().contains(&format!(".{key} = ")));
    let mut setting = repository.code.iter().filter(sets).peekable();
    if setting.peek().is_none() {
        return;
    }
    let by_file: BTreeMap<FileId, &Unit> = repository.code.iter().map(|unit| (unit.file, unit)).collect();
    for unit in setting {
        for set in unit.syntax.of_kind(&["assignment", "assignment_expression"]) {
            let Some((object, key)) = member(unit, set) else { continue };
            let origin = unit.origin(object).and_then(|origin| origin.target.as_ref());
            let Some((file, Part::Named(name))) = origin else { continue };
            let Some((home, made, used)) = by_file.get(file).and_then(|home| used(home, name, key)) else {
                continue;
            };
            let message = format!(
                "`{object}.{key}` belongs to another file, and is set for all who use it as soon as this one is loaded",
            );
            report
                .add(unit.file, unit.span(set), message)
                .severity(Severity::Medium)
                .hint("make an agent of your own from it, or hand over what it is told")
                .also(home.file, home.span(made), "it is made here")
                .also(home.file, home.span(used), "and used here")
                .done();
        }
    }
}

/// Reads a statement at the top of a file as one that sets what an object of a plain name is told, to a text.
fn member(unit: &Unit, set: Id) -> Option<(&str, &str)> {
    let statement = unit.syntax[set].parent;
    let top = unit.kind(statement) == "expression_statement" && unit.syntax[statement].parent == Id::ROOT;
    let (left, right) = (unit.syntax.child(set, "left")?, unit.syntax.child(set, "right")?);
    let object = unit.syntax.child(left, "object").filter(|&id| unit.kind(id) == "identifier")?;
    let key = unit.syntax.child(left, "attribute").or_else(|| unit.syntax.child(left, "property"))?;
    let text = matches!(unit.kind(right), "string" | "template_string" | "concatenated_string");
    (top && text && TOLD.contains(&unit.text(key))).then(|| (unit.text(object), unit.text(key)))
}

/// Finds where a file makes an agent that it says so to, and where it uses it in a function.
fn used<'a>(home: &'a Unit, name: &str, key: &str) -> Option<(&'a Unit, Id, Id)> {
    let &[value] = home.values(Id::ROOT, name) else { return None };
    let told = match home.kind(value) {
        "object" | "dictionary" => home.object_key(value, key).flatten().is_some(),
        _ => {
            let object = home.args(value).first().map(|arg| arg.value);
            let given = object.and_then(|object| home.object_key(object, key)).flatten();
            home.keyword(value, key).or(given).is_some()
        }
    };
    let mut named = home.syntax.of_kind(&["identifier"]).filter(|&id| home.text(id) == name);
    let used = named.find(|&id| home.function_of(id) != Id::ROOT)?;
    told.then_some((home, value, used))
}
