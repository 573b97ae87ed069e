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
    if up && words.iter().any(|word| word == "logs") {
        return only_logged(script, command);
    }
    let up = up.then(|| words.iter().position(|word| word == "up")).flatten()?;
    const ENDS: &[&str] = &["-d", "--detach", "--wait", "--no-start", "--abort-on-container"];
    let ends = words[up..]
        .iter()
        .any(|word| word.contains("exit-code") || ENDS.iter().any(|flag| word.starts_with(flag)));
    let named = words[up + 1..].iter().any(|word| is_test(word));
    let text = script.flow.text.get(script.job.span.range()).unwrap_or_default();
    (named && !ends && plain(command) && !ASKS.iter().any(|word| text.contains(word))).then(|| {
        let message = format!("`{}` ends well whatever its tests come to", short(command));
        Lost::new(Severity::High, message, "add `--exit-code-from` with the service of the tests")
    })
}

/// Tells whether a word names a service of tests.
fn is_test(word: &str) -> bool {
    let mut parts = word.split(|c: char| !c.is_ascii_alphanumeric());
    !word.starts_with('-') && parts.any(|part| matches!(part, "test" | "tests" | "e2e" | "spec" | "specs"))
}

/// `docker compose logs -f tests` after `up -d` waits for the end of the tests, and ends well whatever they come to.
fn only_logged(script: Script<'_>, command: &Command) -> Option<Lost> {
    let words = command.inner();
    let at = words.iter().position(|word| word == "logs")?;
    let follows = words[at..].iter().any(|word| matches!(word.as_str(), "-f" | "--follow"));
    let name = words[at + 1..].iter().find(|word| !word.starts_with('-')).filter(|word| is_test(word))?;
    let text = script.flow.text.get(script.job.span.range()).unwrap_or_default();
    let detached = text.contains(" -d") || text.contains("--detach");
    (follows && detached && plain(command) && !ASKS.iter().any(|word| text.contains(word))).then(|| {
        let message =
            format!("what `{name}` comes to is only printed: `{}` ends well in any case", short(command));
        Lost::new(Severity::High, message, "run them by `docker compose run --rm`, or `docker compose wait`")
    })
}

/// Tells whether a command stands for itself, and nothing asks for what it prints.
fn plain(command: &Command) -> bool {
    use crate::github::script::Then;
    command.depth == 0 && !command.asked && command.then == Then::End
}
