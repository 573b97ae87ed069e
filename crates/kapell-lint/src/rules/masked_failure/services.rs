//! Tests that run as a service of compose, whose status nobody asks for.

use kapell_view::audit::Severity;

use super::{Lost, Script, short};
use crate::github::script::Command;

/// What asks for the status of a service, in whichever step of the job.
const ASKS: &[&str] = &[
    "docker wait",
    "podman wait",
    "ExitCode",
    "exit-code",
    "compose ps",
    "compose wait",
    "compose run",
    "compose exec",
    "inspect",
];

/// `docker compose up tests` ends well whatever the tests come to.
///
/// Source: Docker, `docker compose up`: `--exit-code-from` returns the status of a service, and without it none does.
pub(super) fn without_status(script: Script<'_>, at: usize) -> Option<Lost> {
    let command = &script.commands()[at];
    let words = command.inner();
    let up = command.begins("docker compose")
        || command.begins("docker-compose")
        || command.begins("podman compose");
    let up = up.then(|| words.iter().position(|word| word == "up")).flatten()?;
    const ENDS: &[&str] = &["-d", "--detach", "--wait", "--no-start", "--abort-on-container"];
    let ends = words[up..]
        .iter()
        .any(|word| word.contains("exit-code") || ENDS.iter().any(|flag| word.starts_with(flag)));
    let is_test = |word: &String| {
        let mut parts = word.split(|c: char| !c.is_ascii_alphanumeric());
        !word.starts_with('-')
            && parts.any(|part| matches!(part, "test" | "tests" | "e2e" | "spec" | "specs"))
    };
    let named = words[up + 1..].iter().any(is_test);
    let text = script.flow.text.get(script.job.span.range()).unwrap_or_default();
    (named && !ends && plain(command) && !ASKS.iter().any(|word| text.contains(word))).then(|| {
        let message = format!("`{}` ends well whatever its tests come to", short(command));
        Lost::new(Severity::High, message, "add `--exit-code-from` with the service of the tests")
    })
}

/// Tells whether a command stands for itself, and nothing asks for what it prints.
fn plain(command: &Command) -> bool {
    use crate::github::script::Then;
    command.depth == 0 && !command.asked && command.then == Then::End
}
