//! Recipes of make and just whose lines let a check fail.

use kapell_spec::finding::Span;
use kapell_view::audit::Severity;

use super::{
    super::{Lost, Script, checks, plain},
    Called,
};
use crate::{
    files::FileId,
    github::{
        facts, own_scripts,
        script::{Command, Then},
        tools::Kind,
    },
};

impl Called<'_> {
    /// A recipe that lets its check fail: the line begins with `-`.
    pub(super) fn recipe(&self, script: Script<'_>, command: &Command) -> Option<(FileId, Span, Lost)> {
        let words = command.inner();
        let folder = words.iter().position(|word| word == "-C").and_then(|at| words.get(at + 1));
        let name = if command.program() == "just" { "justfile" } else { "Makefile" };
        let path = folder
            .map_or_else(|| name.to_owned(), |folder| format!("{}/{name}", folder.trim_end_matches('/')));
        let file = self.find(script, &path)?;
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
            Some((file, super::line(text, start), Lost::new(Severity::High, message, hint)))
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
