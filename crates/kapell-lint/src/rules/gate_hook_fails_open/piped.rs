//! An `exit 2` that hangs on a pipe whose last program always succeeds: `npm test | tail -n 20 || exit 2`.
//!
//! Sources: POSIX, Shell Command Language, "Pipelines": the status of a pipe is that of its last command, unless `pipefail` is set;
//! <https://code.claude.com/docs/en/hooks>, "Exit code 2 behavior per event": at `PostToolUse` it blocks nothing, for the tool has
//! run, and shows Claude what was found.

use kapell_spec::claude::hooks::Hook;

use super::script::{GATES, passes::PASSES_ON};
use crate::github::script::{self, Command, Then};

/// Says why a hook never ends with 2, where its command says that it does.
pub(super) fn never_comes(hook: &Hook) -> Option<String> {
    let blocks = GATES.contains(&&*hook.event.text);
    let heard = blocks || hook.event.text == "PostToolUse";
    let command = hook.text.as_ref().filter(|_| heard && hook.kind == "command")?;
    let text = &*command.text;
    // Cheap first: few hooks have both.
    if !text.contains("exit 2") || !text.contains('|') || sees_all(text) {
        return None;
    }
    let all = script::commands(text);
    // Another end with 2 may come for another reason.
    let mut ends = all.iter().enumerate().filter(|(_, command)| command.text() == "exit 2");
    let (end, _) = ends.next().filter(|_| ends.next().is_none())?;
    let masked = all[..end].iter().rposition(|command| command.then != Then::Pipe && !speaks(command))?;
    let last = &all[masked];
    let pipe = all[..masked].iter().rposition(|command| command.then != Then::Pipe).map_or(0, |at| at + 1);
    let fails = last.then == Then::Or || is_denied(text, &all[pipe]);
    let program = last.program();
    // `sed '/x/q 2'` ends as it is told.
    let passes = PASSES_ON.contains(&program) && !last.words.iter().any(|word| word.contains('q'));
    (fails && passes && pipe < masked).then(|| {
        let what = if blocks { "this gate passes whatever it finds" } else { "nobody hears what this finds" };
        format!("{what}: the pipe ends as `{program}` does, and `exit 2` never comes")
    })
}

/// Tells whether `!` stands in front of a command: `if ! npm test | tail; then`.
fn is_denied(text: &str, command: &Command) -> bool {
    let own = text.get(command.start..command.end).unwrap_or_default();
    own.strip_prefix("if ").unwrap_or(own).starts_with("! ")
}

/// Tells whether a shell asks what each program of a pipe came to.
fn sees_all(text: &str) -> bool {
    ["pipefail", "PIPESTATUS", "pipestatus"].iter().any(|word| text.contains(word))
}

/// Tells whether a command only says something, before the end.
fn speaks(command: &Command) -> bool {
    matches!(command.program(), "echo" | "printf")
}
