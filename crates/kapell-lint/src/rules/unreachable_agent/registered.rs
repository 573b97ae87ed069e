//! Agents that code makes for a registry of its own, and that nobody can ask it for.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{
        Id, Unit,
        registry::{Named, Registry},
    },
    repository::Repository,
    rule::Report,
};

/// Tells of agents that are made and not registered, and of such that are registered and not asked for.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let Some(registry) = Registry::of(&repository.code) else { return };
    forgotten(repository, &registry, report);
    unasked(repository, &registry, report);
}

/// What a class calls the part that it plays.
const PARTS: &[&str] = &["role", "name", "agent_name", "agent_id", "id"];

/// Classes of agents that are asked for by the part they play, and that nobody makes: the part stays empty.
fn forgotten(repository: &Repository, registry: &Registry<'_>, report: &mut Report<'_>) {
    for lost in registry.unregistered() {
        let all = repository.code.iter().filter_map(|unit| Some((unit, of_part(unit, lost.name)?)));
        let unused = |(unit, class): &(&Unit, Id)| uses(repository, unit.text(*class)) == 1;
        let Some((unit, class)) = all.into_iter().find(unused) else { continue };
        let message = format!(
            "nobody registers `{}`: who asks for the agent `{}` gets none, and goes on without it",
            unit.text(class),
            lost.name,
        );
        report
            .add(unit.file, unit.span(class), message)
            .severity(Severity::High)
            .hint(format!("register it: `register_agent(\"{}\", ...)`", lost.name))
            .also(lost.unit.file, lost.unit.span(lost.call), "it is asked for here")
            .done();
    }
}

/// Returns the name of the class that plays a part: `role = "tester"` in its body.
fn of_part(unit: &Unit, part: &str) -> Option<Id> {
    if !unit.whole().contains(part) {
        return None;
    }
    let plays = |class: &Id| {
        let body = unit.syntax.child(*class, "body");
        let fields = body.into_iter().flat_map(|body| unit.syntax.children(body)).flat_map(|id| {
            let inner = unit.syntax.children(id).next();
            [Some(id), inner].into_iter().flatten()
        });
        fields.into_iter().any(|id| {
            let name = unit.syntax.child(id, "left").or_else(|| unit.syntax.child(id, "name"));
            let value = unit.syntax.child(id, "right").or_else(|| unit.syntax.child(id, "value"));
            name.zip(value).is_some_and(|(name, value)| {
                PARTS.contains(&unit.text(name)) && unit.literal(value) == Some(part)
            })
        })
    };
    // What decorates a class may register it.
    let decorated = |class: Id| {
        let around = unit.syntax[class].parent;
        unit.syntax.children(around).chain(unit.syntax.children(class)).any(|id| unit.kind(id) == "decorator")
    };
    let mut classes = unit.syntax.of_kind(&["class_definition", "class_declaration"]);
    let class = classes.find(|class| !decorated(*class) && plays(class))?;
    unit.syntax.child(class, "name")
}

/// Counts how often files name something, by its whole name.
fn uses(repository: &Repository, name: &str) -> usize {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let texts = repository.files.iter().map(|(_, file)| &*file.text);
    let all = texts.flat_map(|text| text.match_indices(name).map(move |(at, _)| (text, at)));
    all.filter(|(text, at)| !text[..*at].ends_with(part) && !text[at + name.len()..].starts_with(part))
        .count()
}

/// Agents beside others that are asked for by name, whose names stand nowhere else.
fn unasked(repository: &Repository, registry: &Registry<'_>, report: &mut Report<'_>) {
    let quoted = |name: &str| {
        ['"', '\'']
            .iter()
            .map(|quote| {
                let text = format!("{quote}{name}{quote}");
                repository.files.iter().map(|(_, file)| file.text.matches(&*text).count()).sum::<usize>()
            })
            .sum::<usize>()
    };
    let lost: Vec<Named<'_>> =
        registry.unasked().into_iter().filter(|named| quoted(named.name) == 1).collect();
    let Some((first, others)) = lost.split_first() else { return };
    let message = format!(
        "nobody asks for the agent `{}`{}: the others are asked for by their names",
        first.name,
        match others.len() {
            0 => String::new(),
            1 => " and one more".to_owned(),
            more => format!(" and {more} more"),
        },
    );
    let mut draft = report
        .add(first.unit.file, first.unit.span(first.call), message)
        .confidence(Confidence::Medium)
        .hint("ask for it where it is to work, or drop it");
    for other in others {
        draft = draft.also(other.unit.file, other.unit.span(other.call), "nor for this one");
    }
    draft.done();
}
