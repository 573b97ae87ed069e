//! Lists joined by `&&` that stand in the middle of a script.

use kapell_view::audit::Severity;

use super::{Lost, Script, is_check, short, ways};
use crate::github::{
    facts::Done,
    script::{Command, Then},
    tools::Kind,
};

/// `check && echo fine` above other lines: `set -e` ends the shell only where the last command of a list fails, so that the
/// status of the lines below is that of the step.
///
/// Source: POSIX.1-2024, XCU 2.15, `set -e`: "any command of an AND-OR list other than the last".
pub(super) fn goes_on(script: Script<'_>, at: usize) -> Option<Lost> {
    let all = script.commands();
    let command = &all[at];
    if command.then != Then::And || command.asked || !is_check(script.facts, at) {
        return None;
    }
    let rest = all[at + 1..].iter().take_while(|other| other.after == Then::And).count();
    let last = at + rest;
    // What the rest of the list makes is missed by the lines below, which fail then.
    let moves = |other: &Command| {
        matches!(other.program(), "cd" | "popd" | "pushd" | "cp" | "mv" | "rm" | "date") && !other.asked
    };
    // A copy of what a build has made is part of the build.
    let kind = |done: &Done| done.command == Some(at) && matches!(done.work.kind, Kind::Test | Kind::Lint);
    let tests = script.facts.works.iter().any(kind);
    let harmless = |at: usize| {
        ways::speaks(&all[at]) || tests && moves(&all[at]) || !all[at].asked && is_check(script.facts, at)
    };
    if !(at + 1..=last).all(harmless) || all[last].then != Then::End {
        return None;
    }
    let text = script.step.script();
    let begins = all[..=at].iter().rev().take_while(|other| other.after == Then::And).count();
    let above = text.get(..all[at - begins].start)?;
    // A shell of its own ends with the status of its list, and so does a function.
    let apart = above.rsplit('\n').next().is_some_and(|line| line.contains('('))
        || ["() {", "(){", "function "].iter().any(|word| text.contains(word));
    // The next round comes below the list, too.
    let loops = command.depth > 0 && ["for ", "while "].iter().any(|word| above.contains(word));
    if apart || command.depth > 0 && !loops {
        return None;
    }
    // The status of a subshell is that of its last list.
    let closes = text.get(all[last].end..).is_some_and(|rest| rest.trim_start().starts_with([')', '}']));
    let below = &all[last + 1..];
    let asks = |other: &Command| other.begins("exit ") || other.text().contains("$?");
    let posix = script.shell().map_or_else(
        || {
            !script
                .job
                .runs_on
                .iter()
                .any(|label| label.text.contains("windows") || label.literal().is_none())
        },
        |shell| shell.text.starts_with("bash") || shell.text.starts_with("sh"),
    );
    let lost = (!below.is_empty() || loops) && !closes && posix && !below.iter().any(asks);
    (lost && !ways::reads_status(text, all)).then(|| {
        let message = format!(
            "`{}` can fail and the step stays green: a list with `&&` does not end the shell",
            short(command)
        );
        Lost::new(Severity::High, message, "write what stands behind `&&` on a line of its own")
    })
}
