//! Deliveries in a script of the repository that has no `set -e` and ends with words: what did not arrive is green.

use kapell_view::audit::Severity;

use super::{Lost, Script, short, ways};
use crate::github::{
    script::Then,
    tools::{self, Kind},
};

/// Finds a command that gives something to others and whose failure is lost, since the script goes on and ends with words.
///
/// Source: Bash Reference Manual, "The Set Builtin", `-e`, and "Exit Status": a script ends with the status of its last command.
pub(super) fn goes_on(script: Script<'_>, at: usize) -> Option<Lost> {
    let Script { flow, job, facts, .. } = script;
    let all = script.commands();
    let command = &all[at];
    if command.asked || command.then != Then::End || tools::is_by_name(command) {
        return None;
    }
    // What goes to a cluster may be what is tested next, and is gone with the runner.
    let gives = facts.works.iter().any(|done| {
        done.command == Some(at)
            && match done.work.kind {
                Kind::Publish | Kind::Release => true,
                Kind::Deploy => job.environment.is_some(),
                _ => false,
            }
    });
    let last = all.iter().rfind(|other| !other.words.is_empty()).filter(|last| {
        last.depth == 0 && last.after == Then::End && last.start > command.start && ways::speaks(last)
    });
    let last_round = last.is_none() && only_last_round(script, at);
    let asks = ["$?", "PIPESTATUS", "exit 1", "exit 2", "exit $", "exit \"", "return 1", "kill "];
    let text = script.step.script();
    if !gives || last.is_none() && !last_round || asks.iter().any(|word| text.contains(word)) {
        return None;
    }
    let index = flow.jobs().position(|(_, other)| std::ptr::eq(other, job))?;
    flow.lets_out(index).then(|| {
        let why = if last_round { "only the last round of its loop decides" } else { "it has no `set -e`" };
        let message = format!("`{}` can fail and the script goes on: {why}", short(command));
        Lost::new(Severity::High, message, "begin the script with `set -e`")
    })
}

/// Tells whether a command ends the body of a loop with which a script ends: the status is that of its last round.
///
/// Source: Bash Reference Manual, "Looping Constructs": a loop returns the status of the last command that ran in its body.
fn only_last_round(script: Script<'_>, at: usize) -> bool {
    let (all, text) = (script.commands(), script.step.script());
    let command = &all[at];
    let last = all[at + 1..].iter().all(|other| other.words.is_empty() && other.assigned.is_empty());
    let (above, below) = (text.get(..command.start), text.get(command.end..));
    let loops = above.is_some_and(|above| {
        above.lines().any(|line| line.starts_with("for ") || line.starts_with("while "))
    });
    let ends = below.is_some_and(|below| {
        below
            .lines()
            .map(|line| line.split('#').next().unwrap_or(line).trim())
            .filter(|line| !line.is_empty())
            .eq(["done"])
    });
    command.depth == 1 && last && loops && ends
}
