//! Scripts of the package that let a check fail, or whose failure is lost around them.

use kapell_spec::finding::Span;

use super::{
    super::{Lost, Script, plain, shells, short},
    Called, line,
};
use crate::{
    files::FileId,
    github::{
        facts,
        script::{Command, Then, commands},
        tools::{self, Kind},
    },
    packages::{MANIFEST, Package},
    rule::Report,
};

impl Called<'_> {
    /// A script of the package that checks, and whose failure is lost in the command around it: `echo "$(npm run size)"`.
    pub(super) fn printed(
        &self,
        script: Script<'_>,
        lenient: impl Fn() -> Option<String>,
        report: &mut Report<'_>,
    ) {
        let checks = |command: &Command| {
            // What it is by its name is told of with the script of the step itself.
            tools::command(command).kind != Kind::Test
                && self.own(script, command).is_some_and(|(_, _, own)| {
                    let works = facts::of_text(&own).works;
                    works.iter().any(|done| matches!(done.work.kind, Kind::Test | Kind::Lint))
                })
        };
        let mut all = script.commands().iter().enumerate();
        let found =
            all.find_map(|(at, command)| Some((command, shells::in_substitution_of(script, at, checks)?)));
        let Some((command, lost)) = found else { return };
        let span = script.flow.script_line(script.step, command.start, "");
        let draft = report.add(script.flow.file, span, lost.message).severity(lost.severity).hint(lost.hint);
        match lenient() {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
    }

    /// Returns the file, the name and the text of the script of the package that a command runs.
    fn own<'c>(&self, script: Script<'_>, command: &'c Command) -> Option<(FileId, &'c str, String)> {
        if !matches!(command.program(), "npm" | "pnpm" | "yarn" | "bun") {
            return None;
        }
        let words = &command.inner()[1..];
        let folder = words.iter().position(|word| FOLDERS.contains(&word.as_str())).map(|at| at + 1);
        let mut names =
            words.iter().enumerate().filter(|(at, word)| !word.starts_with('-') && folder != Some(*at));
        let (_, name) = names.find(|(_, word)| !matches!(word.as_str(), "run" | "run-script"))?;
        let name = if name == "t" { "test" } else { name };
        let folder = folder.and_then(|at| words.get(at)).map(|folder| folder.trim_end_matches('/'));
        let path = folder.map_or_else(|| MANIFEST.to_owned(), |folder| format!("{folder}/{MANIFEST}"));
        let file = self.find(script, &path)?;
        let manifest = &self.repository.files[file];
        key(&manifest.text, name)?;
        let own = Package::of(manifest)?.script(name)?.to_owned();
        Some((file, name, own))
    }

    /// A script of the package that lets its check fail: `"test": "jest || exit 0"`.
    pub(super) fn package(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let (file, name, own) = self.own(script, command)?;
        let whole = self.ends_well(script, command, (file, name), &own);
        // `"verify": "npm run lint && npm run test"`
        whole.or_else(|| {
            let parts = commands(&own);
            let mut parts =
                parts.iter().filter(|part| !part.asked && matches!(part.then, Then::End | Then::And));
            parts.find_map(|part| {
                let (file, name, own) = self.own(script, part)?;
                self.ends_well(script, part, (file, name), &own)
            })
        })
    }

    /// Finds a check in a script of the package whose failure does not end the script.
    fn ends_well(
        &self,
        script: Script<'_>,
        command: &Command,
        (file, name): (FileId, &str),
        own: &str,
    ) -> Option<(FileId, Span, Lost)> {
        if !["||", ";", "& "].iter().any(|sign| own.contains(sign)) {
            return None;
        }
        // The shell of a package manager goes on after a failure.
        let whole = format!("set +e\n{own}");
        let facts = facts::of_text(&whole);
        let mut step = script.step.clone();
        step.run = Some(step.run.take()?.with_text(&whole));
        step.name = None;
        let inner = Script { step: &step, facts: &facts, ..script };
        let does = |at: usize, kind: Kind| {
            facts.works.iter().any(|done| done.command == Some(at) && done.work.kind == kind)
        };
        // Others read what it writes down, and a build may go on on purpose.
        let kept = REPORTS.iter().any(|word| own.contains(word));
        let checks = !kept && matches!(tools::command(command).kind, Kind::Lint | Kind::Test);
        let mut all = (0..facts.commands.len()).filter(|&at| facts.commands[at].depth == 0);
        let (at, lost) = all.find_map(|at| {
            let tests = does(at, Kind::Test);
            let shrugged =
                || plain::shrugged_off(inner, at).filter(|_| tests || checks && does(at, Kind::Lint));
            let passed = || plain::passed_over(inner, at).filter(|_| tests);
            Some((at, shrugged().or_else(passed)?))
        })?;
        let checked = short(&facts.commands[at]);
        let message = format!("`{checked}` can fail and `{}` ends well: its script goes on", command.text());
        let text = &*self.repository.files[file].text;
        let lost = Lost { message, hint: "let the script end with the status of its checks".into(), ..lost };
        Some((file, line(text, key(text, name)?), lost))
    }
}

/// Flags of package managers before the folder of the package.
const FOLDERS: &[&str] = &["--prefix", "-C", "--dir", "--cwd"];

/// Words of scripts that write down what they find, for others to judge.
const REPORTS: &[&str] = &["report", "json", "xml", "sarif", "checkstyle", "output"];

/// Returns where the key of a script of the package stands.
fn key(text: &str, name: &str) -> Option<usize> {
    let from = text.find("\"scripts\"")?;
    text[from..].find(&format!("\"{name}\"")).map(|at| from + at)
}
