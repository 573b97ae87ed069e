//! What a function is guarded by: a bound, a lock, a limit.

use super::{syntax::Id, unit::Unit};

/// Tells whether functions speak of one of some words in their code, by themselves or by a name that is bound to what does:
/// `limit(() => ask(x))` after `const limit = pLimit(4)`. The words are in lower case. Comments and texts say nothing.
#[must_use]
pub fn guarded(unit: &Unit, within: &[Id], words: &[&str]) -> bool {
    guarded_by(unit, within, &|text| words.iter().any(|word| text.contains(word)))
}

/// Like [`guarded`], with anything that tells whether a text in lower case speaks of a guard.
#[must_use]
pub fn guarded_by(unit: &Unit, within: &[Id], says: &dyn Fn(&str) -> bool) -> bool {
    let texts: Vec<String> = within.iter().map(|&id| code(unit, id)).collect();
    if texts.iter().any(|text| says(text)) {
        return true;
    }
    let bound = ["assignment", "assignment_expression", "variable_declarator", "public_field_definition"];
    unit.syntax.of_kind(&bound).any(|id| {
        let child = |field| unit.syntax.child(id, field);
        let Some((left, right)) =
            child("left").or_else(|| child("name")).zip(child("right").or_else(|| child("value")))
        else {
            return false;
        };
        let name = unit.text(left).rsplit(['.', '#']).next().unwrap_or_default().to_ascii_lowercase();
        name.len() > 1
            && texts.iter().any(|text| has_word(text, &name))
            && says(&unit.text(right).to_ascii_lowercase())
    })
}

/// Tells whether a word stands in a text by itself.
#[must_use]
pub fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

/// Returns the code of a node, and of what decorates it, in lower case and without comments and texts.
#[must_use]
pub fn code(unit: &Unit, id: Id) -> String {
    let around = unit.syntax[id].parent;
    let id = if unit.kind(around) == "decorated_definition" { around } else { id };
    let (start, whole) = (unit.span(id).start as usize, unit.text(id));
    let (mut kept, mut at) = (String::with_capacity(whole.len()), 0);
    for inner in unit.syntax.below(id) {
        let node = &unit.syntax[inner];
        if !matches!(node.kind, "comment" | "string" | "string_fragment") {
            continue;
        }
        let (from, to) = (node.span.start as usize - start, node.span.end as usize - start);
        // What stands in one that is left out already is left out with it.
        if from >= at {
            kept.push_str(whole.get(at..from).unwrap_or_default());
            at = to;
        }
    }
    kept.push_str(whole.get(at..).unwrap_or_default());
    kept.make_ascii_lowercase();
    kept
}
