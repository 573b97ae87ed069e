//! Commands that a text orders, and that the settings of the repository deny.

use kapell_spec::claude::definition::Named;
use kapell_view::audit::{AssetKind, Scope, Severity};

use super::told;
use crate::{
    agents::{Asset, Home},
    files::FileId,
    repository::Repository,
    rule::Report,
};

/// The settings that all who work in the repository have.
const SHARED: &str = ".claude/settings.json";

/// Tells of what agents, commands and skills of the repository are told to run, and its own settings deny: no list of tools and
/// nobody who is asked lets it through.
///
/// Source: <https://code.claude.com/docs/en/permissions>, "Manage permissions": rules are evaluated in order, deny, then ask,
/// then allow; the first that matches decides, so that deny rules always take precedence.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let shared = repository.agents.hooks.iter().find(|file| &*repository.files[file.file].path == SHARED);
    let Some(settings) = shared.filter(|file| file.hooks.denies_commands) else { return };
    let kinds = [AssetKind::Agent, AssetKind::Command, AssetKind::Skill];
    let own = |asset: &Asset| {
        kinds.contains(&asset.kind) && asset.home == Home::Claude && asset.scope == Scope::Repository
    };
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| own(asset)) {
        let text = &*repository.files[asset.file].text;
        tell(report, (asset, text), (settings.file, &settings.hooks.deny));
    }
}

fn tell(report: &mut Report<'_>, (asset, text): (&Asset, &str), (file, deny): (FileId, &[Named])) {
    let mut denied = told::all_to_run(asset, text).filter_map(|(span, command)| {
        Some((span, parts(command).find_map(|part| Some((part, rule_for(deny, part)?)))?))
    });
    let Some((span, (command, rule))) = denied.next() else { return };
    let message =
        format!("`{}` has to run `{command}`, which the settings of this repository deny", asset.name);
    let hint = format!("drop `{}` from `deny`, or leave it to a person", rule.text);
    let mut draft = report.add(asset.file, span, message).severity(Severity::High).hint(hint);
    draft = draft.also(file, rule.span, "denied here, whatever else allows it");
    for (span, _) in denied {
        draft = draft.also(asset.file, span, "nor can this be run");
    }
    draft.done();
}

/// Splits a line of a shell into the commands that it joins, up to the first text in quotes.
fn parts(command: &str) -> impl Iterator<Item = &str> {
    let plain = command.split(['"', '\'']).next().unwrap_or(command);
    plain.split(['&', '|', ';']).map(|part| told::in_the_end(part.trim())).filter(|part| !part.is_empty())
}

/// Finds the rule that denies a command.
fn rule_for<'a>(deny: &'a [Named], command: &str) -> Option<&'a Named> {
    deny.iter().find(|rule| match rule.text.strip_prefix("Bash(").and_then(|rest| rest.strip_suffix(')')) {
        Some(pattern) => matches(pattern.trim(), command),
        None => rule.text == "Bash",
    })
}

/// Tells whether a pattern matches a command: as it stands, or as its beginning where it ends with a star. What has a star
/// within is left alone.
///
/// Source: <https://code.claude.com/docs/en/permissions>, "Bash": with a space or a colon before the star, the beginning must be
/// followed by a space or by nothing.
fn matches(pattern: &str, command: &str) -> bool {
    let Some(start) = pattern.strip_suffix('*') else { return pattern == command };
    let whole = start.trim_end_matches([' ', ':']);
    let rest = command.strip_prefix(whole).filter(|_| !whole.contains('*'));
    rest.is_some_and(|rest| whole.len() == start.len() || rest.is_empty() || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_words_before_a_blank() {
        assert!(matches("git push *", "git push") && matches("git push:*", "git push -u origin"));
        assert!(matches("git push*", "git pushx") && !matches("git push *", "git pushx"));
        assert!(matches("git push", "git push") && !matches("git push", "git push -f"));
        assert!(!matches("git * main", "git push main") && matches("*", "ls"));
        assert_eq!(parts("a b && git push; echo 'x; y'").collect::<Vec<_>>(), ["a b", "git push", "echo"]);
    }
}
