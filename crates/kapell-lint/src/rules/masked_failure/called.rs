//! Failures that are lost in what a step calls: a script of the repository without `set -e`, a recipe of make whose
//! line begins with `-`.

use std::collections::BTreeSet;

use kapell_spec::{
    finding::Span,
    github::{Step, Text},
};
use kapell_view::audit::{Confidence, Severity};

use super::{LENIENT, Lost, Script, checks, plain, shells, short, undelivered, unreturned, ways};
use crate::{
    files::FileId,
    github::{
        facts, own_scripts,
        script::{Command, Then, commands},
        tools::{self, Kind},
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

/// What steps call, each read once.
pub(super) struct Called<'a> {
    repository: &'a Repository,
    told: BTreeSet<FileId>,
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
            if command.asked || command.then != Then::End {
                continue;
            }
            let found = match command.program() {
                "make" | "gmake" | "just" => self.recipe(script, command),
                "npm" | "pnpm" | "yarn" | "bun" => self.package(script, command),
                _ => self.script(script, command).or_else(|| self.python(script, command)),
            };
            let Some((file, span, lost)) = found.filter(|(file, ..)| self.told.insert(*file)) else {
                continue;
            };
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
        const OF_ACTION: &[&str] =
            &["${{ github.action_path }}/", "$GITHUB_ACTION_PATH/", "${GITHUB_ACTION_PATH}/"];
        const OF_ALL: &[&str] = &["${{ github.workspace }}/", "$GITHUB_WORKSPACE/", "${GITHUB_WORKSPACE}/"];
        let behind = |starts: &[&str]| starts.iter().find_map(|start| path.strip_prefix(start));
        let Some(rest) = behind(OF_ACTION) else {
            return match behind(OF_ALL) {
                Some(rest) => self.repository.files.find(rest),
                None => self.find(script.step, path),
            };
        };
        let folder = script.flow.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.repository.files.find(format!("{folder}/{rest}").trim_start_matches('/'))
    }

    /// Finds a file by its path, as a step sees it.
    fn find(&self, step: &Step, path: &str) -> Option<FileId> {
        let plain = path.trim_start_matches("./");
        let path = match &step.folder {
            Some(folder) => {
                format!("{}/{plain}", folder.literal()?.trim_start_matches("./").trim_end_matches('/'))
            }
            None => plain.to_owned(),
        };
        self.repository.files.find(path.trim_start_matches('/'))
    }

    /// A script that goes on after its check has failed, and ends with words.
    fn script(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let words = command.inner();
        let shell = matches!(command.program(), "bash" | "sh" | "zsh" | "dash");
        // `bash -e ci.sh` ends at the first failure.
        let path = words
            .get(usize::from(shell))
            .filter(|path| path.contains(['/', '.']) && !path.starts_with('-'))?;
        let file = self.find_script(script, path)?;
        let text = &*self.repository.files[file].text;
        let first = text.lines().next().unwrap_or_default();
        let own = first.starts_with("#!") && (first.ends_with("sh") || first.contains("sh -"));
        if !(own || shell || path.ends_with(".sh") || path.ends_with(".bash")) {
            return None;
        }
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
        if !(goes_on || shrugs || leaves || loops || strict) || text.len() > 40_000 {
            return None;
        }
        const GOES_ON: &str = "set +e\n";
        let whole = if goes_on { format!("{GOES_ON}{text}") } else { text.to_owned() };
        let facts = facts::of_text(&whole);
        let mut step = script.step.clone();
        step.run.as_mut()?.text = whole.into();
        step.name = None;
        // What the step says of its shell is nothing to the script.
        step.shell = step.run.clone().map(|run| Text { text: "sh".into(), ..run });
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

    /// A script of Python that throws away what its `main` returns.
    fn python(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let by_name = matches!(command.program(), "python" | "python3");
        let path = command.inner().get(usize::from(by_name)).filter(|path| path.ends_with(".py"))?;
        let file = self.find_script(script, path)?;
        let text = &*self.repository.files[file].text;
        let (at, lost) = unreturned::lost(text)?;
        Some((file, line(text, at), lost))
    }

    /// A script of the package that checks, and whose failure is lost in the command around it: `echo "$(npm run size)"`.
    fn printed(&self, script: Script<'_>, lenient: impl Fn() -> Option<String>, report: &mut Report<'_>) {
        let checks = |command: &Command| {
            // What it is by its name is told of with the script of the step itself.
            tools::command(command).kind != Kind::Test
                && self.own(script.step, command, |_| true).is_some_and(|(_, _, own)| {
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

    /// Returns the file, the name and the text of the script of the package that a command runs, if its name is `wanted`.
    fn own<'c>(
        &self,
        step: &Step,
        command: &'c Command,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<(FileId, &'c str, String)> {
        if !matches!(command.program(), "npm" | "pnpm" | "yarn" | "bun") {
            return None;
        }
        let mut words = command.inner()[1..].iter().filter(|word| !word.starts_with('-'));
        let name = words.find(|word| !matches!(word.as_str(), "run" | "run-script"))?;
        let name = if name == "t" { "test" } else { name };
        let file = self.find(step, "package.json").filter(|_| wanted(name))?;
        let package: serde_json::Value = serde_json::from_str(&self.repository.files[file].text).ok()?;
        let own = package.get("scripts")?.get(name)?.as_str()?;
        Some((file, name, own.to_owned()))
    }

    /// A script of the package that lets its check fail: `"test": "jest || exit 0"`.
    fn package(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let (file, name, own) = self.own(script.step, command, checks)?;
        let whole = self.ends_well(script, command, (file, name), &own);
        // `"verify": "npm run lint && npm run test"`
        whole.or_else(|| {
            let parts = commands(&own);
            let mut parts =
                parts.iter().filter(|part| !part.asked && matches!(part.then, Then::End | Then::And));
            parts.find_map(|part| {
                let (file, name, own) = self.own(script.step, part, checks)?;
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
        let text = &*self.repository.files[file].text;
        if !["||", ";", "& "].iter().any(|sign| own.contains(sign)) {
            return None;
        }
        // The shell of a package manager goes on after a failure.
        let whole = format!("set +e\n{own}");
        let facts = facts::of_text(&whole);
        let mut step = script.step.clone();
        step.run.as_mut()?.text = whole.into();
        step.name = None;
        let inner = Script { step: &step, facts: &facts, ..script };
        let tests = |at: usize| {
            facts.works.iter().any(|done| done.command == Some(at) && done.work.kind == Kind::Test)
        };
        let mut all = (0..facts.commands.len()).filter(|&at| facts.commands[at].depth == 0 && tests(at));
        let (at, lost) = all.find_map(|at| {
            Some((at, plain::shrugged_off(inner, at).or_else(|| plain::passed_over(inner, at))?))
        })?;
        let tested = short(&facts.commands[at]);
        let message = format!("`{tested}` can fail and `{}` ends well: its script goes on", command.text());
        let key = text.find(&format!("\"{name}\""))?;
        let lost = Lost { message, hint: "let the script end with the status of its tests".into(), ..lost };
        Some((file, line(text, key), lost))
    }

    /// A recipe that lets its check fail: the line begins with `-`.
    fn recipe(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let words = command.inner();
        let folder = words.iter().position(|word| word == "-C").and_then(|at| words.get(at + 1));
        let name = if command.program() == "just" { "justfile" } else { "Makefile" };
        let path = folder
            .map_or_else(|| name.to_owned(), |folder| format!("{}/{name}", folder.trim_end_matches('/')));
        let file = self.find(script.step, &path)?;
        let text = &*self.repository.files[file].text;
        let signs = ["\t-", "\t@-", "  -", "  @-", "|| true\n", "|| :\n", "|| exit 0\n", "; true\n", " | "];
        if !signs.iter().any(|part| text.contains(part)) {
            return None;
        }
        let mut targets =
            words[1..].iter().filter(|word| (checks(word) || tries(word)) && Some(*word) != folder);
        targets.find_map(|target| {
            let (start, line) =
                own_scripts::reached(text, target).into_iter().find_map(|name| let_pass(text, name))?;
            let dashed = text[start..].starts_with('-') || text[start..].starts_with("@-");
            let (why, hint) = match (dashed, is_piped(text, line)) {
                (true, _) => ("its line begins with `-`", "drop the `-`"),
                (_, true) if name == "justfile" => (
                    "the shell of just has no `pipefail`",
                    "write `set shell := [\"bash\", \"-euo\", \"pipefail\", \"-c\"]`",
                ),
                (_, true) => (
                    "the shell of make has no `pipefail`",
                    "set `SHELL := bash` and `.SHELLFLAGS := -eo pipefail -c`",
                ),
                _ => ("its line ends well whatever happens", "drop what follows the command"),
            };
            let message = format!("`{line}` can fail and `{} {target}` goes on: {why}", command.program());
            Some((file, self::line(text, start), Lost::new(Severity::High, message, hint)))
        })
    }
}

/// Tells whether a target of make tries out what was made, by its name; what its recipe runs tells the rest.
fn tries(target: &str) -> bool {
    const WORDS: &[&str] = &["integration", "unit", "unittest", "functional", "acceptance", "smoke", "spec"];
    target.split(['-', '_', '/', ':']).any(|part| WORDS.contains(&part))
}

/// Returns where the line of a recipe begins that lets its check fail, and its command; what follows only speaks.
fn let_pass<'a>(text: &'a str, target: &str) -> Option<(usize, &'a str)> {
    let mut start = 0;
    let mut inside = false;
    let mut found = None;
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        if !line.starts_with(['\t', ' ']) {
            let blank = line.trim().is_empty() || line.starts_with('#');
            if !blank && inside {
                break;
            }
            let head = line.split_once(':').filter(|(_, rest)| !rest.starts_with('='));
            inside |= head.is_some_and(|(names, _)| {
                names.split_whitespace().any(|name| name.trim_start_matches('@') == target)
            });
            continue;
        }
        let own = line.trim().trim_start_matches('@');
        if !inside || own.is_empty() {
            continue;
        }
        // A recipe of just may be a script of its own.
        if own.starts_with("#!") {
            return None;
        }
        let bare = own.trim_start_matches(['-', '@']).trim();
        let shrugged = ["|| true", "|| :", "|| exit 0", "; true"].iter().any(|end| bare.ends_with(end));
        if (own.starts_with('-') || shrugged || is_piped(text, bare)) && is_check(bare) {
            found = Some((at + (line.len() - line.trim_start().len()), bare));
        } else if !only_tells(bare) {
            // A later line may judge.
            found = None;
        }
    }
    found
}

/// Tells whether a line of a recipe is a test whose failure is lost in a pipe: `sh`, by which it is run, has no `pipefail`.
///
/// Sources: GNU make, manual, "Choosing the Shell": `/bin/sh` unless `SHELL` says otherwise; just, manual, "Shell": `sh -cu`.
fn is_piped(text: &str, line: &str) -> bool {
    if !line.contains(" | ") || line.ends_with('\\') || text.contains("pipefail") {
        return false;
    }
    let facts = facts::of_text(line);
    let all = &facts.commands;
    let tests =
        |at: usize| facts.works.iter().any(|done| done.command == Some(at) && done.work.kind == Kind::Test);
    let Some(at) = (0..all.len()).find(|&at| all[at].then == Then::Pipe && tests(at)) else { return false };
    // A part of a list may be judged by the next one.
    let rest = &all[at + 1..];
    rest.iter().all(plain::shows) && rest.iter().rev().skip(1).all(|part| part.then == Then::Pipe)
}

/// Tells whether a line of a recipe only shows something, or takes something away: it judges nothing.
fn only_tells(line: &str) -> bool {
    [
        "echo ",
        "printf ",
        "#",
        "go tool cover ",
        "coverage html",
        "coverage xml",
        "coverage report",
        "coverage combine",
        "lcov ",
        "genhtml ",
        "gcovr ",
        "open ",
        "xdg-open ",
        "rm ",
        "docker stop ",
        "docker rm ",
        "docker kill ",
    ]
    .iter()
    .any(|start| line.starts_with(start))
        || takes_down(line)
        || ["| tail", "| head", "| cat", "| tee "].iter().any(|pipe| line.contains(pipe))
            && !line.contains("exit ")
}

/// Tells whether a line of a recipe only takes away what a check has worked with.
fn takes_down(line: &str) -> bool {
    let compose = ["docker compose ", "docker-compose ", "podman-compose ", "$(COMPOSE) ", "${COMPOSE} "];
    let verbs = ["down", "stop", "rm", "kill"];
    compose.iter().any(|start| line.starts_with(start))
        && line.split_whitespace().any(|word| verbs.contains(&word))
}

/// Tells whether a line of the recipe of a check is the check: by what it runs, or since it is a program of the
/// repository. A variable mostly has the name of its program.
fn is_check(line: &str) -> bool {
    let mut plain = String::new();
    for part in line.split("$(") {
        match part.split_once(')') {
            Some((name, rest)) if !plain.is_empty() || line.starts_with("$(") => {
                plain.push_str(&name.to_ascii_lowercase());
                plain.push_str(rest);
            }
            _ => plain.push_str(part),
        }
    }
    let facts = facts::of_text(&plain);
    facts.does(Kind::Test) || facts.does(Kind::Lint) || facts.runs_own_script() && plain.starts_with("./")
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
