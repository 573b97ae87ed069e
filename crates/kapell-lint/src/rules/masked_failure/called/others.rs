//! Scripts of PowerShell, and those that are sent to the shell of another machine.

use kapell_spec::finding::Span;
use kapell_view::audit::Severity;

use super::{
    super::{Lost, Script, short, ways},
    Called, line,
};
use crate::{
    files::FileId,
    github::{
        facts,
        own_scripts::LENGTH_MAX,
        script::{Command, Then, commands},
        tools::Kind,
    },
};

impl Called<'_> {
    /// A script of PowerShell that goes on after a check which failed: `./build/ci.ps1`.
    ///
    /// Sources: PowerShell, "about_Preference_Variables": `$PSNativeCommandUseErrorActionPreference` is false by default;
    /// "about_Pwsh", `-File`: "With normal termination, the exit code is always 0".
    pub(super) fn power(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let by_name = matches!(command.program(), "pwsh" | "powershell");
        // Windows writes paths in its own way, which is no word of other shells.
        let raw = script.step.script().get(command.start..command.end)?;
        let mut words = raw.split_whitespace().skip(usize::from(by_name));
        let path = words.find(|word| !by_name || !word.starts_with('-'))?.trim_matches(['"', '\'']);
        let path = path.replace('\\', "/");
        let file = path.ends_with(".ps1").then(|| self.find_script(script, &path))??;
        let whole = &*self.repository.files[file].text;
        let text = (whole.len() <= LENGTH_MAX).then(|| without_blocks(whole))?;
        let facts = facts::of_text(&text);
        let mut step = script.step.clone();
        let run = step.run.take()?.with_text(&text);
        step.name = None;
        step.shell = Some(run.clone().with_text("pwsh"));
        step.run = Some(run);
        let inner = Script { step: &step, facts: &facts, ..script };
        let commanded = command.words.iter().any(|word| word.to_ascii_lowercase().starts_with("-c"));
        let by_file = command.program() == "pwsh" && !commanded && !ways::asks_in_power_shell(&text);
        let (at, lost) = (0..facts.commands.len()).find_map(|at| {
            let lost = ways::in_power_shell(inner, at);
            let lost = lost.or_else(|| by_file.then(|| at_its_end(inner, at))?)?;
            is_outside(&text[..facts.commands[at].start]).then_some((at, lost))
        })?;
        Some((file, line(&text, facts.commands[at].start), lost))
    }

    /// A script that runs in a shell of another machine, which goes on: `ssh host 'bash -s' < deploy.sh`.
    pub(super) fn sent(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let words = &command.words;
        let at = words.iter().position(|word| word.starts_with('<') && !word.starts_with("<<"))?;
        let glued = words[at].trim_start_matches('<');
        let path = if glued.is_empty() { words.get(at + 1)? } else { glued };
        let remote = words[..at].iter().skip(2).flat_map(|word| word.split_whitespace());
        let mut remote = remote.skip_while(|word| !matches!(*word, "bash" | "sh" | "/bin/bash" | "/bin/sh"));
        remote.next()?;
        // `bash -se` ends at the first failure.
        let plain =
            remote.take_while(|word| *word != "--").all(|word| !word.starts_with('-') || word == "-s");
        let file = self.find_script(script, path).filter(|_| plain)?;
        let text = &*self.repository.files[file].text;
        if text.len() > LENGTH_MAX {
            return None;
        }
        let all = commands(text);
        let (at, lost) = ways::lost_remotely(text, &all).filter(|_| super::functions_only_speak(text))?;
        Some((file, line(text, all[at].start), lost))
    }
}

/// Finds a check in a script that `pwsh` runs as a file, where the script has no status of its own.
fn at_its_end(script: Script<'_>, at: usize) -> Option<Lost> {
    let command = &script.facts.commands[at];
    let tests =
        script.facts.works.iter().any(|done| done.command == Some(at) && done.work.kind == Kind::Test);
    (tests && command.depth == 0 && command.then == Then::End && !command.asked).then(|| {
        let message = format!("`{}` can fail and `pwsh` ends with 0 behind it", short(command));
        Lost::new(Severity::High, message, "end the script with `exit $LASTEXITCODE`")
    })
}

/// Returns a script of PowerShell with blanks for its comments of several lines: no place moves.
fn without_blocks(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, behind)) = rest.split_once("<#") {
        let len = behind.find("#>").map_or(behind.len(), |end| end + 2);
        let blank = |byte: u8| if byte == b'\n' { '\n' } else { ' ' };
        out.push_str(before);
        out.push_str("  ");
        out.extend(behind[..len].bytes().map(blank));
        rest = &behind[len..];
    }
    out.push_str(rest);
    out
}

/// Tells whether what follows a text stands in no block: a function that runs a block may look at what it came to.
fn is_outside(before: &str) -> bool {
    before.matches('{').count() == before.matches('}').count()
}
