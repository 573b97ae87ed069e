//! What fails is looked at, or taken back, and the step ends well.

use kapell_view::audit::Severity;

use super::{Lost, Script, plain::WAITS, short, ways};
use crate::github::{
    script::{Command, Then},
    tools::{self, Kind},
};

/// Tells whether a command only shows what became of another: `docker compose logs`, `cat test.log`.
pub(super) fn looks_on(command: &Command) -> bool {
    let shows =
        |words: &[&str]| command.words.iter().skip(1).take(4).any(|word| words.contains(&word.as_str()));
    match command.program() {
        "cat" | "tail" | "head" | "less" | "ls" | "dmesg" | "journalctl" => true,
        "docker" | "docker-compose" | "podman" => shows(&["logs", "ps"]),
        "kubectl" => shows(&["logs", "describe", "get", "events"]),
        _ => false,
    }
}

/// `if ! rollout status; then rollout undo; fi`: what was to be delivered is not there, and the step says that it is.
pub(super) fn taken_back(script: Script<'_>, at: usize) -> Option<Lost> {
    let all = script.commands();
    let command = &all[at];
    let deploys =
        || script.facts.works.iter().any(|done| done.command == Some(at) && done.work.kind == Kind::Deploy);
    let waits = || {
        let plain = tools::plain_text(command);
        WAITS.iter().any(|start| plain.starts_with(start))
    };
    let counts = command.asked && command.then == Then::End && command.depth > 0;
    if !counts || !(deploys() || waits()) {
        return None;
    }
    let rest = &all[at + 1..];
    let mut block = rest.iter().take_while(|other| other.depth >= command.depth);
    let goes_back = block.any(|other| tools::goes_back(&tools::plain_text(other)));
    let ends = |other: &Command| {
        other.begins("exit ") && other.text() != "exit 0"
            || other.begins("return ")
            || other.program() == "false"
    };
    // What is kept may be asked for by a later step.
    let fails = rest.iter().any(|other| ends(other) || ways::is_kept(other) || !other.assigned.is_empty());
    (goes_back && !fails && !script.step.script().contains("$?")).then(|| {
        let message =
            format!("`{}` fails, what was deployed is taken back, and the step stays green", short(command));
        Lost::new(Severity::High, message, "end what takes it back with `exit 1`")
    })
}
