//! A variable is written to the file of folders, or a folder to the file of variables.

use kapell_view::audit::Severity;

use crate::{
    github::{
        Flow,
        script::{self, Command},
    },
    rule::Report,
};

/// Tells of `echo "NAME=value" >> "$GITHUB_PATH"`, which sets nothing, and of a folder in `$GITHUB_ENV`, at which the step fails.
///
/// Source: GitHub, "Workflow commands", sections "Setting an environment variable" and "Adding a system path": each line of the one
/// is `NAME=value`, each line of the other a folder.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    for (at, _) in flow.jobs() {
        for (step, facts) in flow.steps(at).filter(|(step, _)| step.script().contains("GITHUB_")) {
            for command in &facts.commands {
                let Some((message, severity, file)) = wrong(command, step.script()) else { continue };
                report
                    .add(flow.file, flow.script_line(step, command.start, ""), message)
                    .severity(severity)
                    .hint(format!("write it to `${file}`"))
                    .done();
            }
        }
    }
}

/// Returns what is wrong with a command of a script, how bad it is, and the file that it should write to.
fn wrong(command: &Command, script: &str) -> Option<(String, Severity, &'static str)> {
    if let Some(name) = variable(command) {
        let message = format!(
            "`{name}` is never set: `GITHUB_PATH` takes folders, and `{name}=...` is taken for the name of one"
        );
        return Some((message, Severity::High, "GITHUB_ENV"));
    }
    // What stands between two markers is the value of a variable.
    let folder = folder(command).filter(|_| !script.contains("<<"))?;
    let message = format!("`{folder}` is no `NAME=value`: the step fails when it is written to `GITHUB_ENV`");
    Some((message, Severity::Medium, "GITHUB_PATH"))
}

/// Returns what a command says, if all of it goes to a file of the runner: `echo "..." >> "$GITHUB_PATH"`.
fn said<'a>(command: &'a Command, file: &str) -> Option<&'a str> {
    let goes_there = |word: &String| {
        let word = word.trim_start_matches('>').trim_matches('"');
        word == format!("${file}") || word == format!("${{{file}}}")
    };
    let [first, said, rest @ ..] = &command.words[..] else { return None };
    (first == "echo" && rest.len() < 3 && rest.iter().any(goes_there)).then_some(said.as_str())
}

/// Returns the name of a variable that a command writes to the file of folders. One of `PATH=$PATH:...` does add folders.
fn variable(command: &Command) -> Option<&str> {
    let (name, _) = said(command, "GITHUB_PATH")?.split_once('=')?;
    (script::is_variable(name) && name.len() > 1 && !name.eq_ignore_ascii_case("path")).then_some(name)
}

/// Returns the folder that a command writes to the file of variables.
fn folder(command: &Command) -> Option<&str> {
    let said = said(command, "GITHUB_ENV")?;
    let starts = ["/", "~/", "$HOME/", "${HOME}/", "$GITHUB_WORKSPACE/", "${GITHUB_WORKSPACE}/"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-~${}".contains(c);
    (starts.iter().any(|start| said.starts_with(start)) && said.chars().all(plain)).then_some(said)
}
