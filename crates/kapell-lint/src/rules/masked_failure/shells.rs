//! What is lost in a shell within the shell: `$(...)` as a word of another command, a loop at the end of a pipe, the script
//! that an action runs.

use kapell_spec::github::Step;
use kapell_view::audit::Severity;

use super::{Lost, Script, short};
use crate::{
    github::{
        Flow, StepFacts,
        script::{Command, Then, commands},
        tools::{self, Kind},
    },
    rule::Report,
};

/// `echo "result=$(check)"`, `export OUT=$(check)`: the status is that of the command around it. `OUT=$(check | tail)` ends with
/// the filter.
pub(super) fn in_substitution(script: Script<'_>, at: usize) -> Option<Lost> {
    in_substitution_of(script, at, |inner| tools::command(inner).kind == Kind::Test)
}

/// The same, where something else says which commands are checks.
pub(super) fn in_substitution_of(
    script: Script<'_>,
    at: usize,
    is_check: impl Fn(&Command) -> bool,
) -> Option<Lost> {
    let Script { flow, job, facts, .. } = script;
    let command = &facts.commands[at];
    let around = matches!(
        command.program(),
        "echo" | "printf" | "export" | "local" | "declare" | "readonly" | "typeset"
    );
    let texts: &[String] = match command.words.is_empty() {
        true => &command.assigned,
        false if around => &command.words,
        false => return None,
    };
    // Whoever looks at the text judges by it.
    let judges = |other: &Command| {
        other.asked || matches!(other.program(), "test" | "[" | "[[" | "grep" | "exit" | "false" | "jq")
    };
    if !texts.iter().any(|word| word.contains("$("))
        || facts.commands.iter().any(judges)
        || script.step.script().contains("pipefail")
    {
        return None;
    }
    let (inner, index) = texts.iter().filter_map(|word| substituted(word)).find_map(|inner| {
        let index = inner.iter().position(|inner| is_check(inner) && !inner.asked && !only_lists(inner))?;
        let last = index + 1 == inner.len();
        (around || !last && inner[index].then == Then::Pipe).then_some((inner, index))
    })?;
    // What is only wanted for a number was run before.
    let at = flow.jobs().position(|(_, own)| std::ptr::eq(own, job))?;
    let tested = flow.steps(at).any(|(_, other)| other.does(Kind::Test));
    (!tested).then(|| {
        let message = format!(
            "the failure of `{}` is lost: the status is that of the command around it",
            short(&inner[index])
        );
        Lost::new(
            Severity::High,
            message,
            "run it in a line of its own, and keep what it prints with `| tee` and `pipefail`",
        )
    })
}

/// Returns the commands of `$(...)` in a word.
fn substituted(word: &str) -> Option<Vec<Command>> {
    let (_, rest) = word.split_once("$(")?;
    let inner = rest.rfind(')').map_or(rest, |end| &rest[..end]);
    (!inner.starts_with('(')).then(|| commands(inner))
}

/// Tells whether a program of tests is only asked which there are.
fn only_lists(command: &Command) -> bool {
    let lists = [
        "--list",
        "-list",
        "list",
        "--collect-only",
        "--listTests",
        "--list-tests",
        "-N",
        "--show-only",
        "--version",
    ];
    command.words.iter().any(|word| lists.contains(&word.as_str()))
}

/// `... | while read x; do failed=1; done; exit $failed`: the loop at the end of a pipe has variables of its own.
///
/// Source: Bash Reference Manual, "Pipelines": each command of one runs in a subshell.
pub(super) fn in_loop_of_a_pipe(script: Script<'_>, at: usize) -> Option<Lost> {
    let all = script.commands();
    let command = &all[at];
    let text = script.step.script();
    if command.after != Then::Pipe || !command.asked || text.contains("lastpipe") {
        return None;
    }
    // `... | { while ...; done; exit $failed; }` has all of it in one subshell.
    let before = text.get(..command.start)?.trim_end();
    let inside = all[at + 1..].iter().take_while(|other| other.depth >= command.depth);
    let end = at + 1 + inside.clone().count();
    let alone = before.ends_with('|') && text.get(command.start..)?.starts_with("while");
    let names = inside.flat_map(|other| &other.assigned).filter_map(|set| set.split_once('='));
    let name = names.map(|(name, _)| name.trim_end_matches('+')).filter(|_| alone).find(|name| {
        let forms = [format!("${name}"), format!("${{{name}}}"), format!("${{{name}:")];
        // What is set anew behind the loop has nothing to do with it.
        let anew = |later: &&Command| {
            later.assigned.iter().any(|set| set.split_once('=').is_some_and(|(own, _)| own == *name))
        };
        all[end..].iter().take_while(|later| !anew(later)).any(|later| {
            let judges = matches!(later.program(), "exit" | "test" | "[" | "[[");
            judges
                && later
                    .words
                    .iter()
                    .any(|word| *word == forms[0] || *word == forms[1] || word.starts_with(&forms[2]))
        })
    })?;
    // A loop that ends the script by itself is heard, as the last of its pipe.
    let message =
        format!("`{name}` is set in a loop at the end of a pipe, and is what it was before behind it");
    Some(Lost::new(
        Severity::High,
        message,
        "feed the loop with `done < <(...)`, or let it `exit 1` itself under `set -e`",
    ))
}

/// Finds `check || true` in the commands of an inner shell.
pub(super) fn shrugged_off(inner: &[Command]) -> Option<Lost> {
    let shrugged = inner.windows(2).find(|pair| {
        let kind = tools::command(&pair[0]).kind;
        let last =
            matches!(pair[1].program(), "true" | ":" | "echo" | "printf") || pair[1].text() == "exit 0";
        pair[0].then == Then::Or && !pair[0].asked && matches!(kind, Kind::Test | Kind::Lint) && last
    })?;
    // One that fails later on purpose has its reasons.
    let later = inner.iter().any(|other| other.begins("exit ") && other.text() != "exit 0");
    (!later).then(|| {
        let message = format!("`{}` can fail and the step stays green", short(&shrugged[0]));
        Lost::new(Severity::High, message, format!("drop `|| {}`", shrugged[1].program()))
    })
}

/// Inputs of actions that hold a script of the shell: those that start an emulator, another system, a display, another try.
const SCRIPTS: &[&str] = &["script", "run", "runCmd", "command", "cmd"];

/// The same in the script that an action runs.
pub(super) fn in_action(
    flow: &Flow,
    step: &Step,
    facts: &StepFacts,
    lenient: impl Fn() -> Option<String>,
    report: &mut Report<'_>,
) {
    let other = |name: &String| name.contains("ssh") || name == "actions/github-script";
    if step.uses.is_none() || facts.actions.iter().any(other) {
        return;
    }
    let scripts = SCRIPTS.iter().filter_map(|name| step.input(name));
    let Some((text, lost)) = scripts
        .filter(|text| text.text.contains("||"))
        .find_map(|text| Some((text, shrugged_off(&commands(&text.text))?)))
    else {
        return;
    };
    lost.tell(flow, text.span, lenient, report);
}

/// Tells whether what a command writes as an output is only told to people: no condition and no script that may fail reads
/// it.
pub(super) fn is_only_told(script: Script<'_>, command: &Command) -> bool {
    let Script { flow, job, step, .. } = script;
    let Some(id) = &step.id else { return false };
    if !command.words.iter().any(|word| word.contains("GITHUB_OUTPUT")) {
        return false;
    }
    let read = format!("steps.{}.outputs.", id.text);
    let decides = |other: &Step| {
        let text = flow.text.get(other.span.range()).unwrap_or_default();
        let fails = ["exit 1", "exit $", "setFailed", "throw ", "false", "test ", "[ "];
        other.condition.as_ref().is_some_and(|own| own.text.contains(&read))
            || text.contains(&read) && fails.iter().any(|word| text.contains(word))
    };
    // A status or a check that is set by it may hold a merge back.
    let sets = |other: &Step| {
        let text = flow.text.get(other.span.range()).unwrap_or_default();
        text.contains(&read)
            && ["createCommitStatus", "checks.", "/statuses"].iter().any(|word| text.contains(word))
    };
    !job.outputs.iter().any(|(_, text)| text.text.contains(&read))
        && !job.steps.iter().any(|other| decides(other) || sets(other))
}
