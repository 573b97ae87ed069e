//! Names of artifacts with what every run has in them: a number, or the hash of a commit.

use kapell_core::expr::{NodeKind, Piece, Template};

use crate::github::{Flow, facts::Artifact};

/// What a part of a name can be.
enum Part<'a> {
    Text(&'a str),
    /// One digit or more.
    Number,
    /// The hash of a commit: forty digits to the base of sixteen, or twice as many in between.
    Hash,
    Any,
}

/// Values of `github` whose form is known.
///
/// Source: GitHub, "Contexts reference", `github` context: `sha` is a commit's, the numbers count runs and attempts.
const NUMBERS: &[&str] = &["run_id", "run_number", "run_attempt"];

/// Tells whether two artifacts have one name in no run: one is written out, and the other has a number or a hash where that
/// has neither.
pub(super) fn apart((flow, one): (&Flow, &Artifact), (others, other): (&Flow, &Artifact)) -> bool {
    let never = |text: Option<&str>, literal: &Artifact| {
        let [name] = &literal.names[..] else { return false };
        let template = text.and_then(|text| Template::parse(text).ok());
        !name.contains('*') && template.is_some_and(|template| !fits(&parts(&template), name))
    };
    never(written(flow, one), other) || never(written(others, other), one)
}

/// Returns the name of an artifact as it stands in the workflow, if that is a name and no pattern.
fn written<'a>(flow: &'a Flow, artifact: &Artifact) -> Option<&'a str> {
    let text = flow.text.get(artifact.name_span?.range())?.trim().trim_matches(['\'', '"']);
    let plain = text.contains("${{") && !text.contains('\n') && !text.starts_with(['|', '>']);
    let open = text.split("}}").any(|part| {
        let outside = part.split("${{").next().unwrap_or_default();
        outside.contains(['*', '?', '[', '{', '+', '!', '@', '(', '\\'])
    });
    (plain && !open).then_some(text)
}

fn parts<'a>(template: &'a Template) -> Vec<Part<'a>> {
    let of_github = |node: &kapell_core::expr::Node| {
        let references = node.references();
        match &references[..] {
            [reference] if reference.whole && matches!(node.kind, NodeKind::Access { .. }) => {
                match reference.path[..] {
                    [("github", _), ("sha", _)] => Part::Hash,
                    [("github", _), (name, _)] if NUMBERS.contains(&name) => Part::Number,
                    _ => Part::Any,
                }
            }
            _ => Part::Any,
        }
    };
    let piece = |piece: Piece<'a>| match piece {
        Piece::Text(text) => Part::Text(text),
        Piece::Expr(placeholder) => of_github(placeholder.expr.root()),
    };
    template.pieces().map(piece).collect()
}

/// Tells whether a name can be made of such parts.
fn fits(parts: &[Part<'_>], name: &str) -> bool {
    let Some((first, rest)) = parts.split_first() else { return name.is_empty() };
    // A part that may have several lengths: all that it can take.
    let after = |longest: usize, least: usize| {
        (least..=longest).any(|len| name.get(len..).is_some_and(|name| fits(rest, name)))
    };
    let run = |of: fn(&u8) -> bool| name.bytes().take_while(of).count();
    match first {
        Part::Text(text) => name.strip_prefix(text).is_some_and(|name| fits(rest, name)),
        Part::Number => after(run(u8::is_ascii_digit), 1),
        Part::Hash => after(run(u8::is_ascii_hexdigit).min(64), 40),
        Part::Any => after(name.len(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_hashes_are_no_words() {
        let fits = |template: &str, name: &str| fits(&parts(&Template::parse(template).unwrap()), name);
        let hash = "0123456789abcdef0123456789abcdef01234567";
        assert!(fits("a-${{ github.sha }}", &format!("a-{hash}")));
        assert!(!fits("a-${{ github.sha }}", "a-results") && !fits("a-${{ github.sha }}", "a-0123456"));
        assert!(fits("a-${{ github.run_id }}-${{ matrix.os }}", "a-12-linux"));
        assert!(!fits("a-${{ github.run_id }}-${{ matrix.os }}", "a-linux-12"));
        assert!(fits("a-${{ github.ref_name }}", "a-results"));
    }
}
