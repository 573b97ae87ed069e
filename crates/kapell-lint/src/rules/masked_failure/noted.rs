//! Scripts that note which of their checks failed, show that, and end well.

use kapell_spec::github::{Condition, Step};
use kapell_view::audit::Severity;

use super::{Lost, short, ways};
use crate::{
    files::File,
    github::{
        StepFacts, own_scripts,
        script::{Command, Then},
        tools::Kind,
    },
    intent,
};

/// What a failure is noted as, in lower case.
const FAILED: &[&str] = &["fail", "failed", "failure", "ko", "broken"];

/// Parts of names that are those of checks.
const CHECKS: &[&str] =
    &["test", "tests", "suite", "suites", "spec", "specs", "check", "checks", "lint", "e2e"];

/// How names of steps begin that look at something and tell of it, and judge nothing.
const TELLS: &[&str] = &[
    "show", "print", "list", "inspect", "probe", "diagnos", "debug", "detect", "report", "summar", "comment",
    "notif", "annotat",
];

/// Programs whose status answers a question of the script, and is no result of a check.
const PROBES: &[&str] = &[
    "[", "[[", "test", "grep", "egrep", "command", "which", "type", "curl", "wget", "git", "docker", "ping",
    "nc",
];

/// Programs that show a text, or what a file holds.
const SHOWS: &[&str] = &["echo", "printf", "cat", "tail", "head", "column", "sort", "tput", "date"];

/// Kinds of annotations below an error: who writes one has decided that it is none.
const ANNOTATIONS: &[&str] = &["::warning", "::notice"];

/// Returns where a script notes that one of its checks failed, if all that comes after only shows it:
/// `if "$test"; then result=ok; else result=FAILED; fi`, and a table at the end.
///
/// Source: Bash Reference Manual, "The Set Builtin", `-e`, and "Exit Status": what `if` asks or stands before `||` ends no script,
/// and a script ends with the status of its last command.
pub(super) fn lost(script: &File) -> Option<(usize, Lost)> {
    // Most scripts speak of no failure.
    let speaks = ["fail", "FAIL", "Fail"].iter().any(|word| script.text.contains(word));
    if speaks { lost_in(&script.text, &own_scripts::facts_of(script)) } else { None }
}

/// Tells whether a step is only there to tell how something went: by its name, or because its job has failed before.
pub(super) fn only_tells(step: &Step) -> bool {
    let name = step.name.as_ref().map_or(String::new(), |name| name.text.trim().to_ascii_lowercase());
    let late = |own: &Condition| own.text.contains("failure()") && !own.text.contains("!failure()");
    TELLS.iter().any(|verb| name.starts_with(verb)) || step.condition.as_ref().is_some_and(late)
}

/// Looks for it in a script whose commands are known.
pub(super) fn lost_in(text: &str, facts: &StepFacts) -> Option<(usize, Lost)> {
    let all = &facts.commands;
    if all.iter().any(|command| command.program() == "trap") {
        return None;
    }
    let (at, tested) = all.iter().enumerate().find_map(|(at, note)| {
        let tested = notes(note).then(|| noted(text, all, at)).flatten()?;
        is_check(text, facts, tested).then_some((at, tested))
    })?;
    if said_to_pass(facts).is_some() {
        return None;
    }
    // Another round comes to what stands above, too.
    let leaves = |other: &&Command| matches!(other.program(), "exit" | "return" | "break");
    let in_loop = all[..at].iter().filter(leaves).any(|other| other.loops > 0);
    // What else is done where the check passes hangs on it.
    if in_loop || !all[tested + 1..].iter().all(shows) {
        return None;
    }
    let message = format!("a failure of `{}` is only noted, and the script ends well", short(&all[tested]));
    let hint = "count what failed, and end the script with `exit 1` where something did";
    Some((all[at].start, Lost::new(Severity::High, message, hint)))
}

/// Tells whether a command notes a failure: in a variable, or in what people read.
fn notes(command: &Command) -> bool {
    let speaks = matches!(command.program(), "echo" | "printf") && shows(command);
    if speaks {
        let text = command.text().to_ascii_lowercase();
        return text.contains("fail") && !ANNOTATIONS.iter().any(|kind| text.contains(kind));
    }
    let Some((name, value)) = set(command) else { return false };
    let counts = value.starts_with('(') || value.starts_with("$((");
    let value = value.trim_matches(['"', '\'']).to_ascii_lowercase();
    FAILED.contains(&&*value) || counts && name.to_ascii_lowercase().contains("fail")
}

/// Words of what a script prints by which no failure of it stops anybody. What is optional may be something else.
const STOPS_NOBODY: &[&str] = &["informational", "non-blocking", "nonblocking", "not block", "never block"];

/// Returns what a script says by which none of its failures is to stop anybody: `echo "this never blocks a merge"`.
pub(super) fn said_to_pass(facts: &StepFacts) -> Option<String> {
    let speaks = |command: &&Command| matches!(command.program(), "echo" | "printf");
    let texts = facts.commands.iter().filter(speaks).map(Command::text);
    texts.into_iter().find(|text| intent::says(&text.to_ascii_lowercase(), STOPS_NOBODY))
}

/// Returns the variable that a command does nothing but set, and to what: also one of an array, `result[$name]=FAILED`.
fn set(command: &Command) -> Option<(&str, &str)> {
    let only = match (&command.words[..], &command.assigned[..]) {
        ([], [only]) | ([only], []) => only,
        ([first, ..], []) if first.contains("=(") => first,
        _ => return None,
    };
    let (name, value) = only.split_once('=')?;
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        .then(|| (name.trim_end_matches('+'), value))
}

/// Returns the command whose failure another one notes: behind `||`, or in the branch where it failed.
fn noted(text: &str, all: &[Command], at: usize) -> Option<usize> {
    let before = at.checked_sub(1)?;
    if all[at].after == Then::Or {
        return (!all[before].asked).then_some(before);
    }
    let asked = all[..at].iter().rposition(|command| command.asked)?;
    // `else` belongs to the command that follows it on its line.
    let start = (all[at].start + "else ".len()).min(all[at].end);
    let between = text.get(all[asked].end..start)?;
    let has = |word: &str| between.split(|c: char| c.is_whitespace() || c == ';').any(|other| other == word);
    let own = text.get(all[asked].start..all[asked].end)?.trim_start();
    let own = own.trim_start_matches("elif").trim_start_matches("if").trim_start();
    (has("then") && has("else") != own.starts_with('!') && !has("fi") && !has("elif")).then_some(asked)
}

/// Tells whether a command is a check: by what it is, by its name, or by those that a loop goes through.
fn is_check(text: &str, facts: &StepFacts, at: usize) -> bool {
    let command = &facts.commands[at];
    let known = |kind: Kind| matches!(kind, Kind::Test | Kind::Lint);
    if facts.works.iter().any(|done| done.command == Some(at) && known(done.work.kind))
        || matches!(command.program(), "diff" | "cmp")
    {
        return true;
    }
    let named = |word: &str| {
        word.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|part| CHECKS.iter().any(|known| part.eq_ignore_ascii_case(known)))
    };
    let heads = |name: &str| {
        let head = format!("for {name} in ");
        text.lines().filter_map(|line| line.trim_start().strip_prefix(&head)).any(named)
    };
    let variable = |word: &str| word.strip_prefix('$').map(|name| name.trim_matches(['{', '}']).to_owned());
    !PROBES.contains(&command.program())
        && command.words.iter().any(|word| named(word) || variable(word).is_some_and(|name| heads(&name)))
}

/// Tells whether a command only shows something, or keeps it in a variable: nothing of it is the end of a script that failed, or
/// reaches another one.
fn shows(command: &Command) -> bool {
    let speaks = SHOWS.contains(&command.program());
    let kept = |word: &String| {
        word.contains('>') && !["/dev/null", "&2", "SUMMARY"].iter().any(|end| word.contains(end))
    };
    let into = command.words.iter().zip(command.words.iter().skip(1)).any(|(word, next)| {
        matches!(word.as_str(), ">" | ">>")
            && !["/dev/null", "&2"].contains(&next.as_str())
            && !next.contains("SUMMARY")
    });
    let glued = command.words.iter().any(|word| word.len() > 2 && kept(word));
    command.words.is_empty()
        || set(command).is_some()
        || ways::speaks(command)
        || speaks && !into && !glued
        || matches!(command.program(), "declare" | "local")
}
