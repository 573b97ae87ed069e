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
    let asks = ["$?", "PIPESTATUS", "exit 1", "exit 2", "exit $", "exit \"", "return 1", "kill "];
    let text = script.step.script();
    if !gives || last.is_none() || asks.iter().any(|word| text.contains(word)) {
        return None;
    }
    let index = flow.jobs().position(|(_, other)| std::ptr::eq(other, job))?;
    flow.lets_out(index).then(|| {
        let message = format!("`{}` can fail and the script goes on: it has no `set -e`", short(command));
        Lost::new(Severity::High, message, "begin the script with `set -e`")
    })
}
