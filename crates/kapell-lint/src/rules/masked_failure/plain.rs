//! The ways to lose a failure that everybody writes: `|| true`, an `if` that skips, a pipe, `set +e`.

use kapell_spec::github::Step;
use kapell_view::audit::Severity;

use super::{ASIDE, Lost, Script, forgotten, is_check, lists, short, undone, ways};
use crate::github::{
    StepFacts, own_scripts,
    script::{Command, Then},
    tools::{self, Kind, Old},
};

/// Tells whether `!` stands in front of a command that begins a line, as in `! grep -r SECRET .`.
fn is_denied(script: &str, command: &Command) -> bool {
    script.get(command.start..).is_some_and(|rest| rest.starts_with("! "))
}

/// Tells how bad it is if the failure of a command is lost; `None` if it does not matter, or may be no failure.
fn worth(step: &Step, facts: &StepFacts, at: usize) -> Option<Severity> {
    let command = &facts.commands[at];
    let (text, plain) = (command.text(), tools::plain_text(command));
    let name = step.name.as_ref().map_or(String::new(), |name| name.text.to_ascii_lowercase());
    if is_check(facts, at) {
        return Some(Severity::High);
    }
    let kinds: Vec<Kind> =
        facts.works.iter().filter(|done| done.command == Some(at)).map(|done| done.work.kind).collect();
    let aside = ASIDE.iter().any(|word| name.contains(word));
    let takes_away = ["delete", "destroy", "uninstall", "remove", "undo", "rollback"];
    let takes_away = command.words.iter().any(|word| takes_away.contains(&word.as_str()));
    if kinds.contains(&Kind::Deploy)
        && !aside
        && !takes_away
        && tools::rollout(&plain).is_some_and(|row| !matches!(row.old, Old::Part | Old::Stays))
    {
        return Some(Severity::High);
    }
    // Whoever waits for a rollout does so to learn that it failed.
    if WAITS.iter().any(|start| plain.starts_with(start)) {
        return Some(if aside { Severity::Medium } else { Severity::High });
    }
    if kinds.contains(&Kind::Audit) && !aside {
        return Some(Severity::Medium);
    }
    // A step that is for nothing but a check, by its name: what it runs last decides.
    let last = facts.commands[at + 1..]
        .iter()
        .all(|command| matches!(command.program(), "true" | ":" | "echo" | "printf"));
    let only = facts.commands[..at]
        .iter()
        .all(|command| matches!(command.program(), "echo" | "printf" | "cd" | "set" | "cat"));
    let says = ["check", "verify", "validate", "scan", "lint", "audit"];
    let named = name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| says.contains(&part));
    let reads = kinds.is_empty()
        && matches!(command.program(), "grep" | "egrep" | "find" | "diff" | "test" | "[" | "[[")
        || kinds.iter().all(|&kind| kind == Kind::Trivial)
            && command
                .words
                .iter()
                .any(|word| matches!(word.as_str(), "inspect" | "describe" | "verify" | "status"));
    let sorts = text.contains("/dev/null") || text.contains("grep -q") && !command.asked;
    (named && last && only && !aside && !sorts && (kinds.contains(&Kind::Unknown) || reads))
        .then_some(Severity::Medium)
}

/// Commands that wait for what was changed, and fail if it does not come up.
pub(super) const WAITS: &[&str] =
    &["kubectl rollout status", "kubectl wait", "argocd app wait", "aws ecs wait", "helm test"];

/// Finds the ways that everybody writes: `|| true`, an `if` that skips, a pipe, `set +e`.
pub(super) fn lost(script: Script<'_>, at: usize) -> Option<Lost> {
    shrugged_off(script, at)
        .or_else(|| both_ends_print(script, at))
        .or_else(|| lists::goes_on(script, at))
        .or_else(|| taken_for_absence(script, at))
        .or_else(|| in_pipe(script, at))
        .or_else(|| passed_over(script, at))
}

/// `check || true`
pub(super) fn shrugged_off(script: Script<'_>, at: usize) -> Option<Lost> {
    let Script { step, facts, .. } = script;
    let all = script.commands();
    let command = &all[at];
    // `check | filter || true`: what the pipe ends with does not matter then either.
    let end = at + all[at..].iter().take_while(|part| part.then == Then::Pipe).count();
    let filtered = end > at;
    if all.get(end)?.then != Then::Or || command.asked && !is_denied(step.script(), command) {
        return None;
    }
    let worst = worth(step, facts, at).filter(|worst| !filtered || *worst == Severity::High)?;
    let next = all.get(end + 1)?;
    let shrugs = matches!(next.program(), "true" | ":" | "echo" | "printf") && !ways::is_kept(next)
        || next.then == Then::End && (undone::looks_on(next) || tools::goes_back(&tools::plain_text(next)))
        || forgotten::is_forgotten(step.script(), all, next)
        || matches!(next.text().as_str(), "exit 0" | "return 0" | "return" | "continue");
    // `|| { echo ...; exit 1; }` and `|| failed=1` keep the failure.
    let fails = |other: &Command| {
        let ends = other.words.len() > 1 && matches!(other.words[0].as_str(), "exit" | "return");
        ends && other.words[1..] != ["0"] || other.program() == "false"
    };
    let later = || all[end + 1..].iter().any(fails);
    // A later command may judge what this one has written to a file.
    let files = command.words.iter().filter_map(|word| word.rsplit(['=', ':']).next()).filter(|word| {
        [".json", ".xml", ".sarif", ".txt", ".log", ".out"].iter().any(|end| word.ends_with(end))
    });
    let files: Vec<&str> = files.collect();
    let judges = all[end + 1..].iter().any(|other| {
        matches!(other.program(), "node" | "python" | "python3" | "ruby" | "jq" | "grep" | "test" | "[")
            && files.iter().any(|file| other.text().contains(file))
    });
    if judges {
        return None;
    }
    // Who writes an annotation has decided that it is one.
    let told = next.text().contains("::warning") || next.text().contains("::notice");
    (shrugs && next.then != Then::And && next.after == Then::Or && !later()).then(|| {
        let hint = format!("drop `|| {}`, or say in a comment why a failure does not matter", next.program());
        let message = format!("`{}` can fail and the step stays green", short(command));
        // Tests are a gate: a line that nobody has to read is none.
        let does =
            |kind: Kind| facts.works.iter().any(|done| done.command == Some(at) && done.work.kind == kind);
        let waits = WAITS.iter().any(|start| tools::plain_text(command).starts_with(start));
        let told = told && !does(Kind::Test) && !waits;
        let told = told.then(|| if is_all(script, at) { Severity::Medium } else { Severity::Low });
        Lost::new(told.map_or(worst, |told| told.min(worst)), message, hint)
    })
}

/// Tells whether a job checks nothing but what one command does, so that it can never be red.
fn is_all(script: Script<'_>, at: usize) -> bool {
    let Script { flow, job, facts, .. } = script;
    let Some(job) = flow.jobs().position(|(_, other)| std::ptr::eq(other, job)) else { return false };
    flow.facts[job].iter().all(|other| {
        let own = std::ptr::eq(other, facts);
        other.works.iter().all(|done| own && done.command == Some(at) || !done.work.kind.checks())
            && (own || !other.is_opaque())
    })
}

/// `check && echo fine || echo failed`
fn both_ends_print(script: Script<'_>, at: usize) -> Option<Lost> {
    let all = script.commands();
    let command = &all[at];
    if command.then != Then::And || command.asked || !ways::shrugged(all, at) {
        return None;
    }
    let worst = worth(script.step, script.facts, at)?;
    let message = format!("`{}` can fail and the step stays green", short(command));
    Some(Lost::new(worst, message, "end the last part with `exit 1`"))
}

/// `if check >/dev/null; then check; else echo skipped; fi`
fn taken_for_absence(script: Script<'_>, at: usize) -> Option<Lost> {
    let all = script.commands();
    let command = &all[at];
    if !command.asked || command.then != Then::End {
        return None;
    }
    let bare = bare(command);
    let again = all[at + 1..].iter().take(2).any(|other| self::bare(other) == bare && !other.asked);
    let mut behind = all[at + 1..].iter().skip(1).take(3);
    let otherwise = behind.clone().any(|other| other.program() == "echo" && other.depth >= command.depth);
    let runs_otherwise =
        behind.any(|other| !matches!(other.program(), "echo" | "fi") && self::bare(other) != bare);
    let silent = command.words.iter().any(|word| word.contains("/dev/null"));
    (bare.len() > 1 && again && otherwise && !runs_otherwise && silent).then(|| {
        let message =
            format!("any failure of `{}` is taken for its absence, and the step stays green", bare.join(" "));
        Lost::new(Severity::High, message, "ask whether it is there in another way, and let it fail")
    })
}

/// Programs that turn what a check prints into something else, and are content with whatever it is.
const RENDERS: &[&str] = &[
    "xcpretty",
    "xcbeautify",
    "go-junit-report",
    "cargo2junit",
    "tap-spec",
    "tap-xunit",
    "tap-junit",
    "tap-min",
    "gotestfmt",
    "pino-pretty",
    "bunyan",
    "json.tool",
    "less",
    "nl",
    "fold",
    "column",
    "sort",
    "uniq",
    "wc",
    "sponge",
    "aha",
    "ansi2html",
    "junit2html",
    "tojunit",
    "junitreport:tojunit",
    "trx2junit",
];

/// Tells whether a command behind a bar is content with whatever comes through it.
pub(super) fn shows(command: &Command) -> bool {
    let words = &command.words;
    let asks = |word: &String| {
        word.starts_with("-e")
            || word.contains("exit-status")
            || word.contains("error")
            || word.contains("halt")
    };
    match command.program() {
        "tee" | "tail" | "head" | "cat" | "sed" | "tr" | "cut" | "ts" | "awk" => true,
        // One that only filters what people see; with `-q` it is the check.
        "grep" | "egrep" => !words.iter().any(|word| word.starts_with("-q") || word == "--quiet"),
        "jq" => !words.iter().any(asks),
        // Several of them tell in their manuals to set `pipefail`.
        _ => {
            words.iter().take(3).any(|word| RENDERS.contains(&word.as_str()))
                && !words.iter().any(|word| word.contains("exit-code"))
        }
    }
}

/// `check | tee log` in a shell that has no `pipefail`, such as the default one.
fn in_pipe(script: Script<'_>, at: usize) -> Option<Lost> {
    let all = script.commands();
    let command = &all[at];
    if command.then != Then::Pipe || worth(script.step, script.facts, at) != Some(Severity::High) {
        return None;
    }
    let shell = without_pipefail(script)?;
    // `check | tee log | xcpretty`: none of them asks what the first came to.
    let rest = all.get(at + 1..)?;
    let end = rest.iter().position(|part| part.then != Then::Pipe)?;
    // What is only planned or listed is read by whoever wants to know it.
    let plans = ["dry", "no-run", "query", "graph"];
    if command.words.iter().any(|word| plans.iter().any(|part| word.contains(part))) {
        return None;
    }
    rest[..=end].iter().all(shows).then(|| {
        let message =
            format!("the failure of `{}` is lost in the pipe: {shell} has no `pipefail`", short(command));
        // Who names a whole command wants more of its shell.
        let own = script.shell().is_some_and(|shell| shell.text.contains("{0}"));
        let hint = match own {
            true => "begin the script with `set -eo pipefail`",
            false => "name `shell: bash` for the step, which brings `pipefail`",
        };
        Lost::new(Severity::High, message, hint)
    })
}

/// `if ! kubectl rollout status ... | tee log; then`: what is asked is how the printing went.
///
/// Source: Bash Reference Manual, "Pipelines": without `pipefail` the status of a pipe is that of its last command.
pub(super) fn asked_of_pipe(script: Script<'_>, at: usize) -> Option<Lost> {
    let all = script.commands();
    let command = &all[at];
    let waits = || WAITS.iter().any(|start| tools::plain_text(command).starts_with(start));
    if !command.asked || command.then != Then::Pipe || !waits() {
        return None;
    }
    // The first line may name it, too.
    without_pipefail(script).filter(|_| !script.step.script().contains("pipefail"))?;
    let rest = all.get(at + 1..)?;
    let end = rest.iter().position(|part| part.then != Then::Pipe)?;
    rest[..=end].iter().all(shows).then(|| {
        let message = format!(
            "what becomes of `{}` is never asked: without `pipefail` the answer is that of `{}`",
            short(command),
            rest[end].program()
        );
        Lost::new(Severity::High, message, "say `set -o pipefail` at the top of the script")
    })
}

/// `set +e`, a check, and whatever comes last decides.
pub(super) fn passed_over(script: Script<'_>, at: usize) -> Option<Lost> {
    let all = script.commands();
    let command = &all[at];
    if command.asked || command.then != Then::End || at + 1 >= all.len() {
        return None;
    }
    let scans =
        script.facts.works.iter().any(|done| done.command == Some(at) && done.work.kind == Kind::Audit);
    if !is_check(script.facts, at) && !scans {
        return None;
    }
    let sets = |flag: &str| {
        all[..at].iter().rposition(|command| {
            command.program() == "set" && command.words.iter().skip(1).any(|word| word.starts_with(flag))
        })
    };
    let text = script.step.script();
    // What is only printed ends nothing: `echo "exit $rc"`.
    let ends = |command: &Command| {
        let text = command.text();
        !ways::speaks(command) && (text.contains("exit $") || text.contains("exit \"$"))
    };
    let asks = text.contains("PIPESTATUS")
        || all.iter().any(ends)
        || ways::reads_status(text, all) && !ways::only_told(text, all, at);
    let last = all.last().is_some_and(|last| {
        matches!(last.program(), "true" | ":" | "echo" | "printf") || last.text() == "exit 0"
    }) || only_moves(&all[at + 1..])
        || ways::only_told(text, all, at)
        || judges_another(script, at);
    (sets("+e") > sets("-e") && !asks && last).then(|| {
        let message = format!("`{}` can fail and the step stays green: `set +e` goes on", short(command));
        // What others ask for says that it went well: `echo "passed=true" >> "$GITHUB_OUTPUT"`.
        let claims = |command: &Command| {
            let text = command.text();
            text.contains("=true") && text.contains("GITHUB_OUTPUT")
        };
        let severity = match scans && !all[at + 1..].iter().any(claims) {
            true => Severity::Medium,
            false => Severity::High,
        };
        Lost::new(severity, message, "write `set -e` before it, or end with its status")
    })
}

/// Programs that tell how much was tested, whatever the tests came to.
const REPORTS_ON: &[&str] =
    &["coverage", "nyc", "lcov", "genhtml", "gcovr", "grcov", "allure", "reportgenerator"];

/// Endings of files in which a check leaves what it has found.
const REPORTS: &[&str] = &[".json", ".xml", ".sarif", ".txt", ".log", ".out", ".csv", ".md", ".html"];

/// Tells whether what follows a check is known, and none of it can tell what the check came to: it checks or makes something
/// else, and reads no file that the check has written.
fn judges_another(script: Script<'_>, at: usize) -> bool {
    let all = script.commands();
    let command = &all[at];
    let written = command.words.iter().filter_map(|word| word.rsplit(['=', ':', '>']).next());
    let written: Vec<&str> = written
        .filter(|word| REPORTS.iter().any(|end| word.len() > end.len() && word.ends_with(end)))
        .collect();
    let verb = |command: &Command| -> Vec<String> {
        let words = command.inner().iter().filter(|word| !word.starts_with('-'));
        let count = if matches!(command.program(), "npm" | "pnpm" | "yarn" | "bun") { 3 } else { 2 };
        words.take(count).cloned().collect()
    };
    let own = verb(command);
    // The same once more is another try, and what mends a fault is followed by what looks again.
    let mends = |other: &Command| {
        verb(other) == own
            || other.words.iter().any(|word| {
                ["fix", "write", "format", "retry", "rerun", "last-failed", "--lf"]
                    .iter()
                    .any(|part| word.contains(part))
            })
    };
    // Without what was to be built the next command fails by itself.
    let kind = |done: &crate::github::facts::Done| {
        done.command == Some(at) && matches!(done.work.kind, Kind::Test | Kind::Lint)
    };
    if !script.facts.works.iter().any(kind) {
        return false;
    }
    let rest = &all[at + 1..];
    let known = |(index, other): (usize, &Command)| {
        let works = script.facts.works.iter().filter(|done| done.command == Some(index));
        let kinds: Vec<Kind> = works.map(|done| done.work.kind).collect();
        let judges = kinds.iter().any(|kind| {
            matches!(kind, Kind::Test | Kind::Lint | Kind::Build | Kind::Upload | Kind::Report | Kind::Audit)
        });
        let blind = !other.asked
            && !mends(other)
            && !tools::is_own_script(other)
            && !written.iter().any(|file| other.text().contains(file));
        let reports = REPORTS_ON.contains(&other.program());
        (judges || reports) && blind && matches!(other.then, Then::End)
            || only_moves(std::slice::from_ref(other))
            || shows(other) && RENDERS.contains(&other.program())
    };
    let mut numbered = rest.iter().enumerate().map(|(index, other)| (at + 1 + index, other));
    !rest.is_empty() && numbered.all(known)
}

/// Programs that only move, sort and show files.
const MOVES: &[&str] = &[
    "mkdir", "cp", "mv", "ls", "tail", "head", "cat", "rm", "tar", "zip", "gzip", "chmod", "chown", "touch",
    "find", "sed", "tee", "date", "sleep", "sync", "du", "tree", "echo", "printf", "cd", "popd", "pushd",
    "export", "docker", "rsync", "codecov", "sort", "uniq", "wc", "cut", "tr", "column", "nl",
];

/// Tells whether all that is left of a script only moves and shows files: its status says nothing of what was checked.
fn only_moves(rest: &[Command]) -> bool {
    !rest.is_empty()
        && rest.iter().all(|command| {
            let words = &command.words;
            // A block that goes to a file ends with where it goes.
            let ends = |word: &String| matches!(word.as_str(), "}" | ")" | ">" | ">>");
            let plain = words.first().is_none_or(ends) || MOVES.contains(&command.program());
            let looks_on = command.program() != "docker"
                || words.get(1).is_some_and(|word| {
                    matches!(word.as_str(), "logs" | "cp" | "stop" | "rm" | "compose" | "ps")
                });
            plain && looks_on && !command.asked
        })
}

/// Returns the words without redirections.
fn bare(command: &Command) -> Vec<&str> {
    let mut words = Vec::new();
    let mut skip = false;
    for word in &command.words {
        if std::mem::take(&mut skip) {
            continue;
        }
        if word == ">" || word == "2>" || word == "&>" {
            skip = true;
        } else if !word.contains(">") {
            words.push(word.as_str());
        }
    }
    words
}

/// Names the shell of a script, if it has no `pipefail` and the script sets none.
fn without_pipefail(script: Script<'_>) -> Option<String> {
    // `shell: bash` brings it; without one, the shell is `bash -e`. Windows has another default.
    let windows =
        script.job.runs_on.iter().any(|label| label.text.contains("windows") || label.literal().is_none());
    let sets = script
        .commands()
        .iter()
        .any(|command| command.words.iter().any(|word| word == "pipefail" || word.contains("PIPESTATUS")));
    let reads = script.step.script().contains("PIPESTATUS");
    if sets || reads {
        return None;
    }
    let Some(named) = script.shell().map(|shell| shell.text.trim()) else {
        return (!windows).then(|| "the default shell".to_owned());
    };
    let program = named.split(' ').next().unwrap_or_default();
    let own = named.contains("{0}") && own_scripts::is_shell(program);
    (named == "sh" || own && !named.contains("pipefail")).then(|| format!("the shell `{named}`"))
}
