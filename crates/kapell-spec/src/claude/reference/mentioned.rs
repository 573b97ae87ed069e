//! Agents that are named by `@name`, as clients other than Claude Code name them: "ask @map-expert for it".

use memchr::memchr_iter;

use super::{
    Names, Reference, Strength,
    defined::Defined,
    handing::{GIVES, tells},
    is_kebab, is_placeholder,
    known::{DENIED, Page},
    spoken::is_somebody,
};
use crate::{claude::definition::Definition, finding::Span, suggest};

/// Words right before a name that hand nothing over.
const SPOKEN_OF: &[&str] = &["from", "of", "for", "like", "than", "as", "see", "cc", "author", "owner", "is"];

/// Words before `by` that have somebody do something: `have your diff read by @reviewer`.
const HAVES: &[&str] = &["have", "get", "let", "be", "must", "should"];

/// Finds the agents that a body names by `@`: those of `names`, and such as are meant to be there, because something is handed
/// to somebody who is called like an agent. What `brings` knows is always there, and `own` is who speaks.
#[must_use]
pub fn mentioned(
    text: &str,
    definition: &Definition,
    own: &str,
    names: &Defined<'_>,
    brings: &dyn Fn(&str) -> bool,
) -> Vec<Reference> {
    let (page, body) = (Page { text, definition }, definition.body as usize);
    let signs = memchr_iter(b'@', text.get(body..).unwrap_or_default().as_bytes()).map(|at| body + at);
    let found = signs.filter_map(|at| {
        let name = name(text, at).filter(|name| *name != own && !is_placeholder(name) && !brings(name))?;
        let span = Span::new(at + 1, at + 1 + name.len());
        let fenced = definition.document.fence_at(span.start).is_some();
        let clause = page.clause(at).to_ascii_lowercase();
        // `If the design is at fault, not its code, ask @x`; but `do not start @a, @b`.
        let part = clause.rsplit(", ").next().unwrap_or_default();
        let bare = !part.contains(|c: char| c.is_ascii_alphanumeric());
        if fenced || DENIED.is_in(if bare { &clause } else { part }) {
            return None;
        }
        let mut words =
            clause.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).rev();
        let last = words.next().unwrap_or_default();
        let passive = last == "by" && words.clone().any(|word| HAVES.contains(&word));
        if SPOKEN_OF.contains(&last) || last == "by" && !passive {
            return None;
        }
        let last = if last == "the" { words.next().unwrap_or_default() } else { last };
        let handed = passive || tells(last) || last == "to" && words.any(|word| GIVES.contains(&word));
        let after = text[span.end as usize..].trim_start_matches(['`', '*', ' ']);
        let titled = ["agent", "subagent"].iter().any(|word| after.starts_with(word));
        let strength = if !names.has(name) {
            // A team or a person may be meant, unless it is nearly the name of an agent, or called one.
            let near = suggest::nearest(name, names.iter()).is_some();
            let meant = handed && is_kebab(name) && (near || titled || is_somebody(name));
            meant.then_some(Strength::Strong)?
        } else if handed {
            Strength::Certain
        } else {
            Strength::Strong
        };
        Some(Reference { names: Names::Agent, name: name.to_owned(), span, strength, fenced })
    });
    found.collect()
}

/// Returns the name behind an `@`, unless that belongs to an address, a package or a file.
fn name(text: &str, at: usize) -> Option<&str> {
    let before = text[..at].chars().next_back();
    if before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '@' | '{')) {
        return None;
    }
    let rest = &text[at + 1..];
    let len =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(rest.len());
    let (name, behind) = rest.split_at(len);
    let mut behind = behind.chars();
    let joins = match behind.next() {
        Some('/' | '@' | '(' | ':') => true,
        Some('.') => behind.next().is_some_and(|c| c.is_ascii_alphanumeric()),
        _ => false,
    };
    (len >= 2 && !joins && name.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Vec<(String, Strength)> {
        let names = ["map-expert", "fixer"].map(str::to_owned).into();
        let definition = Definition::read(text);
        let found = mentioned(text, &definition, "lead", &Defined::new(&names), &|name| name == "general");
        found.into_iter().map(|reference| (reference.name, reference.strength)).collect()
    }

    #[test]
    fn agents_behind_a_sign_are_heard() {
        let sure = |name: &str| vec![(name.to_owned(), Strength::Certain)];
        assert_eq!(heard("Ask @map-expert first."), sure("map-expert"));
        assert_eq!(heard("Hand the design to `@fixer`, and wait."), sure("fixer"));
        assert_eq!(heard("Have the diff read by @fixer."), sure("fixer"));
        assert_eq!(heard("The way is known to @fixer."), [("fixer".to_owned(), Strength::Strong)]);
        assert_eq!(heard("If it is the design, not the code, ask @fixer."), sure("fixer"));
        assert_eq!(heard("Ask @map-expret for it."), [("map-expret".to_owned(), Strength::Strong)]);
    }

    #[test]
    fn addresses_packages_and_people_are_no_agents() {
        for text in [
            "Report back to @fixer.",
            "You are called by @fixer.",
            "Ask @docs-team for a review.",
            "Use @types/node and @angular-eslint/eslint-plugin.",
            "Mail to ops@fixer.example.org, see @fixer.md.",
            "Ask @general.",
            "Call @lead.",
            "Do not start @map-expert, @fixer.",
        ] {
            assert_eq!(heard(text), [], "{text}");
        }
    }
}
