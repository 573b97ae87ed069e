//! Failures that are kept in a variable, and forgotten there.

use super::ways::{is_kept, speaks};
use crate::github::script::{Command, is_variable};

/// Tells whether a command only sets variables that nothing reads, or only shows: `|| failed=1`, and no word of it later.
pub(super) fn is_forgotten(script: &str, all: &[Command], command: &Command) -> bool {
    let unread = |set: &String| {
        let Some((name, value)) = set.split_once('=') else { return false };
        let plain = name.len() > 1 && is_variable(name);
        let reads = |other: &Command| {
            let words = || other.words.iter().chain(&other.assigned);
            words().any(|word| word.contains(&format!("${name}")) || word.contains(&format!("${{{name}")))
        };
        // Whatever else names it may read it: arithmetic, another shell, a file.
        let named = script.matches(name).count() - script.matches(&format!("{name}=")).count();
        let shown = || {
            let shows: Vec<&Command> = all.iter().filter(|other| reads(other)).collect();
            let only = shows.iter().all(|other| speaks(other) && !is_kept(other) && !other.asked);
            only && shows.iter().map(|other| other.text().matches(name).count()).sum::<usize>() >= named
        };
        plain && (named == 0 && !value.contains('$') || value == "$?" && shown())
    };
    command.words.is_empty() && !command.assigned.is_empty() && command.assigned.iter().all(unread)
}
