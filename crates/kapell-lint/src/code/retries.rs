//! Whether what fails once is tried again: by the call itself, what is around it, or the client that it goes through.

use super::{
    guards::has_word,
    syntax::Id,
    unit::{FUNCTIONS, Unit},
};

/// Options that say that nothing is tried again, in lower case and without blanks.
const NEVER: &[&str] = &[
    "retry:{limit:0}",
    "retries:0",
    "retries=0",
    "retry:0",
    "retry=0",
    "retry:false",
    "retries={\"max_attempts\":0}",
    "retries={'max_attempts':0}",
    "retries={\"total_max_attempts\":1}",
];

/// Tells whether a text speaks of trying again.
fn says(text: &str) -> bool {
    let mut text: String =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
    for never in NEVER {
        text = text.replace(never, "");
    }
    let text = text.replace("max_retries", "").replace("maxretries", "");
    ["retry", "retries", "backoff", "tenacity", "attempt"].iter().any(|word| text.contains(word))
}

/// Tells whether a file speaks of trying again anywhere: where it does not, nothing else has to be asked.
#[must_use]
pub fn mentioned(unit: &Unit) -> bool {
    says(unit.whole())
}

/// How far callers are followed.
const STEPS: u32 = 3;

/// Tells whether a call, or what a client that it makes is asked, is tried again: its function, those of the file that lead
/// there, what these are handed to, and what the client is set up by speak of it. Another function of the file that tries
/// something else again says nothing.
#[must_use]
pub fn retried(unit: &Unit, call: Id) -> bool {
    let within = leading(unit, call);
    within.iter().any(|&part| says(unit.text(whole(unit, part)))) || set_up(unit, &within)
}

/// Returns the statement at the top of the file around a node, or the outermost function if it is in one.
fn part(unit: &Unit, id: Id) -> Id {
    let function = unit.function_of(id);
    if function != Id::ROOT {
        return function;
    }
    let mut around = std::iter::once(id).chain(unit.syntax.around(id));
    around.find(|&id| unit.syntax[id].parent == Id::ROOT).unwrap_or(id)
}

/// Returns a function with what decorates it.
fn whole(unit: &Unit, id: Id) -> Id {
    let around = unit.syntax[id].parent;
    if unit.kind(around) == "decorated_definition" { around } else { id }
}

/// Returns the name that a function, or what a statement makes, goes by.
fn name(unit: &Unit, id: Id) -> Option<&str> {
    let syntax = &unit.syntax;
    let bound = |id: Id| syntax.child(id, "left").or_else(|| syntax.child(id, "name"));
    let makes = |id: &Id| {
        matches!(unit.kind(*id), "assignment" | "assignment_expression" | "variable_declarator")
            || matches!(unit.kind(*id), "public_field_definition" | "function_definition")
    };
    let named = if FUNCTIONS.contains(&unit.kind(id)) {
        syntax.child(id, "name").or_else(|| bound(syntax[id].parent))
    } else {
        std::iter::once(id).chain(syntax.below(id).take(3)).find(makes).and_then(bound)
    };
    let last = unit.text(named?).rsplit(['.', '#']).next()?;
    (last.len() > 1 && last.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(last)
}

/// Returns the function around a call, those around that one, and those of the file that name one of them or the client.
fn leading(unit: &Unit, call: Id) -> Vec<Id> {
    let mut within = vec![part(unit, call)];
    within.extend(unit.syntax.around(call).filter(|&id| FUNCTIONS.contains(&unit.kind(id))));
    within.extend(handed_to(unit, call));
    // A client lasts; what an answer is called within a function says nothing.
    let lasts = |id: &Id| unit.function_of(*id) == Id::ROOT || is_member(unit, *id);
    let made = unit.syntax.around(call).take(3).find(lasts).and_then(|id| name(unit, id));
    let mut names: Vec<&str> = within.iter().filter_map(|&id| name(unit, id)).chain(made).collect();
    for _ in 0..STEPS {
        let known = names.len();
        let kinds = ["identifier", "property_identifier", "private_property_identifier"];
        for mention in unit.syntax.of_kind(&kinds).filter(|&id| names.contains(&unit.text(id))) {
            let part = part(unit, mention);
            within.extend(handed_to(unit, mention));
            let around = unit.syntax.around(part).filter(|&id| FUNCTIONS.contains(&unit.kind(id)));
            for part in around.chain([part]) {
                if !within.contains(&part) {
                    within.push(part);
                }
            }
        }
        let more: Vec<&str> = within.iter().filter_map(|&id| name(unit, id)).collect();
        names.extend(more);
        names.sort_unstable();
        names.dedup();
        if names.len() == known {
            break;
        }
    }
    within.sort_unstable();
    within.dedup();
    within
}

/// Tells whether a node sets a part of its object: `self.client = ...`, `this.client = ...`.
fn is_member(unit: &Unit, id: Id) -> bool {
    let left = unit.syntax.child(id, "left").map_or("", |left| unit.text(left));
    ["self.", "this."].iter().any(|own| left.starts_with(own)) || unit.kind(id) == "public_field_definition"
}

/// Returns the functions of the file that a node is handed to: `again(() => ask(prompt))`.
fn handed_to(unit: &Unit, id: Id) -> impl Iterator<Item = Id> + '_ {
    let around = unit.syntax.around(id).take_while(|&id| id != Id::ROOT).take(8);
    let calls = around.filter(|&id| unit.is_call(id));
    calls
        .filter(move |&call| unit.callee(call).is_none_or(|callee| !unit.syntax.holds(callee, id)))
        .filter_map(|call| {
            let plain = unit.callee(call).is_some_and(|callee| unit.kind(callee) == "identifier");
            unit.called(call).filter(|_| plain)
        })
}

/// Tells whether what these parts go through is set up to try again: `session = make_session()`,
/// `client.mount("https://", HTTPAdapter(max_retries=Retry(3)))`, a constructor.
fn set_up(unit: &Unit, within: &[Id]) -> bool {
    let built = |&part: &Id| {
        let class = unit.syntax.around(part).find(|&id| unit.is_class(id))?;
        let made = unit.method(class, "__init__").or_else(|| unit.method(class, "constructor"))?;
        says(unit.text(made)).then_some(())
    };
    if within.iter().any(|part| built(part).is_some()) {
        return true;
    }
    let aside = |id: Id| {
        let id = unit.syntax.child(id, "declaration").unwrap_or(id);
        let values = unit.syntax.children(id).filter_map(|made| unit.syntax.child(made, "value"));
        let kind = unit.kind(id);
        kind.starts_with("import")
            || kind.starts_with("function")
            || kind.starts_with("class")
            || kind == "decorated_definition"
            || values.into_iter().any(|value| FUNCTIONS.contains(&unit.kind(value)))
    };
    let telling = unit.syntax.children(Id::ROOT).filter(|&id| !aside(id) && says(&bound_text(unit, id)));
    let mut names = telling.flat_map(|id| unit.syntax.below(id)).filter(|&id| unit.kind(id) == "identifier");
    names.any(|id| within.iter().any(|&part| has_word(unit.text(whole(unit, part)), unit.text(id))))
}

/// Returns the text of a statement and of the functions of the file that it calls.
fn bound_text(unit: &Unit, id: Id) -> String {
    let called = unit.calls_in(id).filter_map(|call| unit.called(call));
    let mut text = unit.text(id).to_owned();
    for function in called {
        text.push_str(unit.text(function));
    }
    text
}
