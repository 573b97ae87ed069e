//! Failures that are lost in what a step calls: a script of the repository without `set -e`, a recipe of make whose
//! line begins with `-`.

mod others; // scripts of PowerShell, and what is sent to another machine
mod packages;
mod recipes;

use std::collections::BTreeSet;

use kapell_spec::finding::Span;
use kapell_view::audit::Confidence;

use super::{
    LENIENT, Lost, Script, caught, noted, plain, shells, short, unasked, undelivered, unreturned, ways,
};
use crate::{
    files::FileId,
    github::{
        facts,
        own_scripts::{self, LENGTH_MAX},
        script::{Command, Then, commands},
        tools::Kind,
    },
    repository::Repository,
    rule::Report,
};

/// Tells whether all functions of a script, if it has any, do nothing but print. Others may look at what failed.
fn functions_only_speak(text: &str) -> bool {
    const SPEAK: &[&str] = &["echo", "printf", "tput", "date"];
    let mut rest = text;
    while let Some(at) = ["() {", "(){", "function "].iter().filter_map(|word| rest.find(word)).min() {
        let Some(open) = rest[at..].find('{').map(|open| at + open + 1) else { return false };
        let line = rest[open..].find('\n').map_or(rest.len(), |end| open + end);
        let close = match rest[open..line].rfind('}') {
            Some(close) => open + close,
            None => match rest[open..].find("\n}") {
                Some(close) => open + close + 1,
                None => return false,
            },
        };
        let body = rest[open..close].trim().trim_end_matches(';');
        if !commands(body).iter().all(|command| SPEAK.contains(&command.program())) {
            return false;
        }
        rest = &rest[close..];
    }
    true
}

/// Finds the ways of a step's own script in one that ends at the first failure, too.
fn of_strict(script: Script<'_>, at: usize) -> Option<Lost> {
    let lost = plain::lost(script, at).or_else(|| ways::lost(script, at))?;
    let piped = lost.message.split_once(": the shell `sh` has no `pipefail`");
    Some(match piped {
        Some((message, _)) => Lost {
            message: format!("{message}: the script sets no `pipefail`"),
            hint: "begin the script with `set -eo pipefail`".into(),
            ..lost
        },
        None => lost,
    })
}

/// What steps call, each place told once.
pub(super) struct Called<'a> {
    repository: &'a Repository,
    told: BTreeSet<(FileId, u32)>,
}

impl<'a> Called<'a> {
    pub(super) fn new(repository: &'a Repository) -> Self {
        Self { repository, told: BTreeSet::new() }
    }

    pub(super) fn check(
        &mut self,
        script: Script<'_>,
        lenient: impl Fn() -> Option<String>,
        report: &mut Report<'_>,
    ) {
        self.printed(script, &lenient, report);
        for command in script.commands() {
            // A failure that the caller asks for, or lets pass, is told of there.
            if command.asked || !matches!(command.then, Then::End | Then::And) {
                continue;
            }
            let found = match command.program() {
                "make" | "gmake" | "just" => self.recipe(script, command),
                "npm" | "pnpm" | "yarn" | "bun" => self.package(script, command),
                "ssh" => self.sent(script, command),
                _ => {
                    let shell = self.script(script, command);
                    shell
                        .or_else(|| self.noted(script, command))
                        .or_else(|| self.python(script, command))
                        .or_else(|| self.power(script, command))
                        .or_else(|| self.node(script, command))
                }
            };
            let new = found.filter(|(file, span, _)| self.told.insert((*file, span.start)));
            let Some((file, span, lost)) = new else { continue };
            let draft = report
                .add(file, span, lost.message)
                .severity(lost.severity)
                .confidence(Confidence::Medium)
                .also(
                    script.flow.file,
                    script.flow.script_line(script.step, command.start, &command.words[0]),
                    "called here",
                )
                .hint(lost.hint);
            let said = before(&self.repository.files[file].text, span).or_else(&lenient);
            match said {
                Some(comment) => draft.explained(comment).done(),
                None => draft.done(),
            }
        }
    }

    /// Finds a script by its path, as a step or an action of the repository names it.
    fn find_script(&self, script: Script<'_>, path: &str) -> Option<FileId> {
        own_scripts::named(&self.repository.files, script.flow, (script.job, script.step), path)
    }

    /// Finds a file by its path, as a step sees it.
    fn find(&self, script: Script<'_>, path: &str) -> Option<FileId> {
        own_scripts::find(&self.repository.files, (script.job, script.step), path)
    }

    /// Finds the script of a shell that a command runs. `bash -e ci.sh` is none: it ends at the first failure.
    fn shell(&self, script: Script<'_>, command: &Command) -> Option<FileId> {
        let words = command.inner();
        let shell = own_scripts::is_shell(command.program());
        let path = words
            .get(usize::from(shell))
            .filter(|path| path.contains(['/', '.']) && !path.starts_with('-'))?;
        let file = self.find_script(script, path)?;
        own_scripts::shell_text(&self.repository.files[file], shell).map(|_| file)
    }

    /// A script that only shows which of its checks failed, where nobody else reads that.
    fn noted(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let read = command.words.iter().any(|word| word.contains('>'));
        let file = self.shell(script, command).filter(|_| !read)?;
        let text = &*self.repository.files[file].text;
        let (at, lost) = noted::lost(&self.repository.files[file]).filter(|_| functions_only_speak(text))?;
        Some((file, line(text, at), lost))
    }

    /// A script that goes on after its check has failed, and ends with words.
    fn script(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let file = self.shell(script, command)?;
        let text = &*self.repository.files[file].text;
        let first = text.lines().next().unwrap_or_default();
        let ends = first.starts_with("#!")
            && first.split(' ').skip(1).any(|word| word.starts_with('-') && word.contains('e'));
        let goes_on = !ends
            && !["set -", "errexit", "trap "].iter().any(|word| text.contains(word))
            && functions_only_speak(text);
        let shrugs = ["|| true", "|| :", "|| echo"].iter().any(|word| text.contains(word));
        // Only its end tells whether a check of its own is waited for by name.
        let leaves = text.contains("wait") && text.lines().any(|line| line.trim_end().ends_with('&'));
        // A loop at the end of a pipe is no subshell in every shell.
        let loops = text.contains("while ") && !["zsh", "ksh"].iter().any(|other| first.ends_with(other));
        // One that ends at the first failure is what a step runs: the same ways are open to it.
        let strict = !goes_on
            && ["set -e", "set -o errexit"].iter().any(|word| text.contains(word))
            && !["set +e", "trap "].iter().any(|word| text.contains(word))
            && functions_only_speak(text);
        if !(goes_on || shrugs || leaves || loops || strict) {
            return None;
        }
        const GOES_ON: &str = "set +e\n";
        let whole = if goes_on { format!("{GOES_ON}{text}") } else { text.to_owned() };
        let facts = facts::of_text(&whole);
        let mut step = script.step.clone();
        let run = step.run.take()?.with_text(&whole);
        step.name = None;
        // What the step says of its shell is nothing to the script.
        step.shell = Some(run.clone().with_text("sh"));
        step.run = Some(run);
        let inner = Script { step: &step, facts: &facts, ..script };
        let (at, lost) = (0..facts.commands.len()).find_map(|at| {
            let of = |kinds: &[Kind]| {
                facts.works.iter().any(|done| done.command == Some(at) && kinds.contains(&done.work.kind))
            };
            let command = &facts.commands[at];
            if let Some(lost) = shells::in_loop_of_a_pipe(inner, at).filter(|_| loops) {
                return Some((at, lost));
            }
            if let Some(lost) = undelivered::goes_on(inner, at).filter(|_| goes_on) {
                return Some((at, lost));
            }
            if let Some(lost) = plain::asked_of_pipe(inner, at).filter(|_| strict || goes_on) {
                return Some((at, lost));
            }
            if !of(&[Kind::Test, Kind::Lint]) {
                return None;
            }
            if let Some(lost) = ways::in_background(inner, at).filter(|_| leaves) {
                return Some((at, lost));
            }
            if strict && let Some(lost) = of_strict(inner, at) {
                return Some((at, lost));
            }
            if command.depth > 0 {
                return None;
            }
            let passed = plain::passed_over(inner, at).filter(|_| goes_on).map(|lost| Lost {
                message: format!("`{}` can fail and the script goes on: it has no `set -e`", short(command)),
                hint: "begin the script with `set -e`".into(),
                ..lost
            });
            let shrugged = || plain::shrugged_off(inner, at).filter(|_| of(&[Kind::Test]));
            Some((at, passed.or_else(shrugged)?))
        })?;
        let start = facts.commands[at].start - if goes_on { GOES_ON.len() } else { 0 };
        Some((file, line(text, start), lost))
    }

    /// A script of Python that throws away what its `main` returns, or never asks what the checks came to that it starts.
    fn python(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let by_name = matches!(command.program(), "python" | "python3");
        let mut words = command.inner().iter().skip(usize::from(by_name));
        let path = words.find(|word| !word.starts_with('-')).filter(|path| path.ends_with(".py"))?;
        let file = self.find_script(script, path)?;
        let text = &*self.repository.files[file].text;
        let unasked = || unasked::lost(text).filter(|_| !script.reported && text.len() <= LENGTH_MAX);
        let (at, lost) = unreturned::lost(text).or_else(unasked)?;
        Some((file, line(text, at), lost))
    }

    /// A script of JavaScript that only prints that it failed.
    fn node(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let path = command.inner().get(1).filter(|_| caught::RUNNERS.contains(&command.program()))?;
        let file = self.find_script(script, path)?;
        let text = &*self.repository.files[file].text;
        let (at, lost) = caught::lost(text).filter(|_| text.len() <= LENGTH_MAX)?;
        Some((file, line(text, at), lost))
    }
}

/// Returns the line that a byte stands in, without the blanks before it.
fn line(text: &str, at: usize) -> Span {
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    Span { start: at as u32, end: end as u32 }
}

/// Returns the comment before a line, or in it, that says why its failure may pass.
fn before(text: &str, span: Span) -> Option<String> {
    let above = text[..span.start as usize].lines().rev().skip_while(|line| line.trim().is_empty()).take(3);
    let own = text.get(span.range()).and_then(|line| line.split_once(" #")).map(|(_, said)| said);
    let above = above.map_while(|line| line.trim().strip_prefix('#'));
    above
        .chain(own)
        .find(|said| {
            let lower = said.to_ascii_lowercase();
            LENIENT.iter().any(|word| lower.contains(word))
        })
        .map(|said| said.trim().to_owned())
}
