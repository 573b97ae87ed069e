//! Commands and skills that only a person can start, which a text has the model start.

use kapell_spec::{
    claude::reference::{Names, Reference, Strength},
    finding::Span,
    line,
};
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
        let Some((span, command)) =
            lost.or_else(|| skill(repository, from, text)).or_else(|| called(repository, from, text))
        else {
            continue;
        };
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

/// Finds a command or skill that a text has the tool of that name run, and that only a person can start: `Skill(team:finish)`.
///
/// Source: Claude Code, "Extend Claude with skills", "Control who invokes a skill": with `disable-model-invocation: true` only the
/// user can.
fn called<'a>(repository: &'a Repository, from: &Asset, text: &str) -> Option<(Span, &'a Asset)> {
    const CALL: &str = "Skill(";
    let agents = &repository.agents;
    let body = from.definition.body as usize;
    memchr::memmem::find_iter(&text.as_bytes()[body..], CALL).find_map(|found| {
        let at = body + found;
        let start = at + CALL.len();
        let given = &text[start..start + text[start..].find([')', '\n'])?];
        let name = given.trim_start_matches("skill:").trim_start_matches("skill=").trim();
        let name = name.trim_matches(['"', '\'']).trim_start_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_:".contains(c);
        if name.is_empty() || !name.chars().all(plain) || !delegation::is_run(text, at) {
            return None;
        }
        let span = Span::new(at, start + given.len() + 1);
        // A name with a colon may be one of a plugin that lies elsewhere.
        let names = if name.contains(':') { Names::Command } else { Names::Skill };
        let named =
            Reference { names, name: name.to_owned(), span, strength: Strength::Strong, fenced: false };
        let Resolved::Found(id) = agents.resolve(from, &named) else { return None };
        let asset = &agents[id];
        let off = asset.definition.is_on("disable-model-invocation") == Some(true);
        (off && asset.file != from.file).then_some((span, asset))
    })
}
