//! Commands that are too short to be compared by their shingles, and say the same line by line.

use std::collections::BTreeMap;

use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};

use super::ALIKE;
use crate::{
    agents::{Asset, Home, delegation, reworded::in_other_words},
    repository::Repository,
    rule::Report,
};

/// More commands than these are a library, written after one pattern.
const MANY: usize = 40;

/// How many words that count a description must have.
const WORDS_MIN: usize = 5;

/// How many lines two commands must have in common, in nearly the same words.
const LINES_MIN: usize = 4;

/// How many words that count a description must have at least where the two commands share a word of their names, and how many
/// lines they must have in common then.
const NAMESAKES_MIN: (usize, usize) = (3, 6);

/// Two commands of one scope whose descriptions differ in no word that counts, and whose lines say the same: nobody can tell
/// which one to type.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut scopes: BTreeMap<&Scope, Vec<&Asset>> = BTreeMap::new();
    for (_, command) in repository.agents.of(AssetKind::Command) {
        if command.home == Home::Claude && command.definition.text("description").is_some() {
            scopes.entry(&command.scope).or_default().push(command);
        }
    }
    for commands in scopes.into_values().filter(|commands| (2..=MANY).contains(&commands.len())) {
        let said: Vec<Vec<String>> = commands.iter().map(|command| words(command)).collect();
        for (at, one) in commands.iter().enumerate() {
            let same = (at + 1..commands.len()).filter(|&other| said[other] == said[at]);
            for other in same.map(|other| commands[other]) {
                match said[at].len() {
                    WORDS_MIN.. => tell(repository, report, (one, other), LINES_MIN),
                    count if count >= NAMESAKES_MIN.0 && are_namesakes(one, other) => {
                        tell(repository, report, (one, other), NAMESAKES_MIN.1);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Returns the words of a description that count. Whoever looks for security looks for issues of security.
fn words(command: &Asset) -> Vec<String> {
    let mut words = command.own_words().to_vec();
    // The branch that one works on is the current one.
    words.retain(|word| word != "issu" && word != "curr");
    words
}

/// Tells whether the words of one name are among those of the other: `review` and `code-review`.
fn are_namesakes(one: &Asset, other: &Asset) -> bool {
    let within = |short: &Asset, long: &Asset| {
        let mut words = short.name.split('-');
        words.all(|word| long.name.split('-').any(|own| own == word))
    };
    within(one, other) || within(other, one)
}

fn tell(repository: &Repository, report: &mut Report<'_>, (one, other): (&Asset, &Asset), lines: usize) {
    let copied = one.sketch(&repository.files).likeness(other.sketch(&repository.files)) >= ALIKE;
    if copied || one.name == other.name || !in_other_words(&repository.files, (one, other), lines) {
        return;
    }
    let message = format!(
        "`{}` and `{}` say the same line by line, in words that hardly differ",
        delegation::called(one),
        delegation::called(other)
    );
    report
        .add(one.file, one.head(), message)
        .severity(Severity::Low)
        .confidence(Confidence::Medium)
        .hint("keep one, or say in both descriptions when the other is meant")
        .also(other.file, other.head(), "the other")
        .done();
}
