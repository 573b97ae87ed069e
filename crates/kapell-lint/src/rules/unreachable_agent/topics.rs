//! Agents that wait for a topic of the repository's own bus on which nobody publishes, beside one on which somebody does and that
//! nobody waits for: `bus.on("research.complete", ...)` and `bus.emit("research.completed", ...)`.

use std::collections::BTreeSet;

use kapell_spec::suggest;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::bus::{Bus, Topic},
    repository::Repository,
    rule::Report,
};

/// Tells of them, where all topics that are published stand there.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    if repository.code.is_empty() {
        return;
    }
    let files = &repository.files;
    let Some(said) = Bus::of(files).and_then(|bus| bus.said(files)) else { return };
    let lost = |one: &&Topic<'_>, others: &[Topic<'_>]| others.iter().all(|other| other.name != one.name);
    let unheard = said.published.iter().filter(|topic| lost(topic, &said.awaited));
    let unheard: Vec<&Topic<'_>> = unheard.collect();
    for topic in said.awaited.iter().filter(|topic| lost(topic, &said.published)) {
        let Some(other) =
            meant(topic.name, &unheard).filter(|_| is_nowhere_else(repository, topic.name, &said.awaited))
        else {
            continue;
        };
        let message = format!("nobody publishes `{}`: what waits for it here never runs", topic.name);
        report
            .add(topic.file, topic.span, message)
            .severity(Severity::High)
            .confidence(Confidence::High)
            .hint(format!("wait for `{}`, which is published, or publish what is waited for", other.name))
            .also(other.file, other.span, "this is published, and nobody waits for it by its name")
            .done();
    }
}

/// Finds the only topic that one may be meant for: of the same parts but the last, or spelt nearly so.
fn meant<'a, 'b>(name: &str, unheard: &[&'b Topic<'a>]) -> Option<&'b Topic<'a>> {
    let parts =
        |name: &'_ str| name.rsplit_once(['.', ':', '/', '-', '_']).map(|(first, _)| first.to_owned());
    let names: BTreeSet<&str> = unheard.iter().map(|topic| topic.name).collect();
    let mut alike =
        names.iter().copied().filter(|other| parts(other).is_some() && parts(other) == parts(name));
    let found = match (alike.next(), alike.next()) {
        (Some(only), None) => Some(only),
        _ => suggest::mistyped(name, names.iter().copied(), 2),
    }?;
    unheard.iter().copied().find(|topic| topic.name == found)
}

/// Tells whether a topic stands in quotes only where somebody waits for it.
fn is_nowhere_else(repository: &Repository, name: &str, awaited: &[Topic<'_>]) -> bool {
    let own = awaited.iter().filter(|topic| topic.name == name).count();
    let quoted = ['"', '\'', '`'].map(|quote| format!("{quote}{name}{quote}"));
    let texts = repository.files.iter().map(|(_, file)| &*file.text);
    let places =
        texts.map(|text| quoted.iter().map(|name| text.matches(name.as_str()).count()).sum::<usize>());
    places.sum::<usize>() == own
}
