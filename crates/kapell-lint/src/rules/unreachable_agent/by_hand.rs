//! Commands and skills that only a person can start, which a text has the model start.

use kapell_spec::{claude::reference::Names, finding::Span, line};
use kapell_view::audit::{AssetKind, Severity};

use crate::{
    agents::{Asset, Home, Resolved, delegation},
    repository::Repository,
    rule::Report,
};

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let off = |asset: &Asset| asset.definition.is_on("disable-model-invocation") == Some(true);
    // Most repositories keep nothing from the model.
    if !agents.iter().any(|(_, asset)| off(asset)) {
        return;
    }
    let reads = |asset: &Asset| asset.home == Home::Claude && asset.kind != AssetKind::Memory;
    for (_, from) in agents.iter().filter(|(_, asset)| reads(asset)) {
        let text = &repository.files[from.file].text;
        let body = from.definition.body;
        let named = from.references.iter().filter(|reference| {
            reference.names == Names::Command && !reference.fenced && reference.span.start >= body
        });
        let lost = named
            .filter(|reference| delegation::is_run(text, reference.span.start as usize))
            .find_map(|reference| match agents.resolve(from, reference) {
                Resolved::Found(id) if off(&agents[id]) && agents[id].file != from.file => {
                    Some((reference, &agents[id]))
                }
                _ => None,
            });
        let lost = lost.map(|(reference, command)| (reference.span, command));
        let Some((span, command)) = lost.or_else(|| skill(repository, from, text)) else { continue };
        let Some(switch) = command.definition.field("disable-model-invocation") else { continue };
        let message = format!("`/{}` cannot be run here: only a person can start it", command.name);
        report
            .add(from.file, span, message)
            .severity(Severity::High)
            .hint("drop `disable-model-invocation`, or have the user type it")
            .also(command.file, switch.key.span, "kept from the model here")
            .done();
    }
}

/// Finds a skill that a text orders by its name, and that only a person can start: ``Invoke the `publish` skill``, or
/// ``the skill `publish` ``.
fn skill<'a>(repository: &'a Repository, from: &Asset, text: &str) -> Option<(Span, &'a Asset)> {
    let marks = from.definition.document.marks.iter().filter(|mark| mark.code);
    marks.filter(|_| from.kind != AssetKind::Agent).find_map(|mark| {
        let behind = text[mark.span.end as usize..].trim_start_matches(['`', '*']).trim_start();
        let start = mark.span.start as usize;
        let before = text[line::start(text, start)..start].trim_end_matches(['`', '*', '"', ' ']);
        let is_called = before.len() > "skill".len()
            && before
                .get(before.len() - "skill".len()..)
                .is_some_and(|word| word.eq_ignore_ascii_case("skill"));
        if !(behind.starts_with("skill") || is_called) || !delegation::is_run(text, mark.span.start as usize)
        {
            return None;
        }
        let mut skills = repository.agents.of(AssetKind::Skill);
        let (_, skill) = skills.find(|(_, skill)| {
            skill.name == mark.text.trim() && skill.scope == from.scope && skill.home == Home::Claude
        })?;
        let off = skill.definition.is_on("disable-model-invocation") == Some(true);
        (off && skill.file != from.file).then_some((mark.span, skill))
    })
}
