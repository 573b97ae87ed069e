//! Less plain ways to lose the failure of a command: blocks that only print, the background, `find -exec`, shells without
//! `-e`, and flags that say so.

use kapell_spec::github::Step;
use kapell_view::audit::Severity;

use super::{Lost, Script, hooks, is_check, noted::only_tells, services, shells, short, undone};
use crate::{
    github::{
        Flow, StepFacts,
        facts::{Done, is_migration},
        script::{Command, Then, commands},
        tools::{self, Kind, nested},
    },
    rule::Report,
};

/// Tells whether a command writes down what happened for those who come later: an output, a variable, a file.
pub(super) fn is_kept(command: &Command) -> bool {
    command
        .words
        .iter()
        .any(|word| ["GITHUB_OUTPUT", "GITHUB_ENV", "set-output"].iter().any(|name| word.contains(name)))
}

/// Tells whether a command only speaks.
pub(super) fn speaks(command: &Command) -> bool {
    matches!(command.program(), "echo" | "printf" | "true" | ":" | "cat") && !is_kept(command)
        || command.text() == "exit 0"
}

/// Tells whether `check && echo fine || echo failed` starts at a command: both ends only speak, and nothing fails later.
pub(super) fn shrugged(all: &[Command], at: usize) -> bool {
    let fine = all[at + 1..].iter().take_while(|other| other.after == Then::And && speaks(other));
    let fine = fine.count();
    let ends = fine > 0 && all[at + fine].then == Then::Or;
    let failed = all.get(at + fine + 1).filter(|other| speaks(other) && other.then != Then::And);
    let later = all[at + 1..].iter().any(|other| other.begins("exit ") && !speaks(other));
    ends && failed.is_some() && !later
}

/// Tells whether a script does more with the status of a command than to print it: `$?`, or a variable that holds it.
pub(super) fn reads_status(script: &str, all: &[Command]) -> bool {
    let prints = |command: &Command| {
        let to_file = command.words.iter().any(|word| word.contains('>'));
        speaks(command) && (!to_file || command.text().contains("GITHUB_STEP_SUMMARY"))
    };
    let printed = |what: &str| -> usize {
        let texts = all.iter().filter(|command| prints(command)).map(Command::text);
        texts.map(|text| text.matches(what).count()).sum()
    };
    let holders: Vec<&str> = all
        .iter()
        .filter(|command| command.words.is_empty())
        .flat_map(|command| &command.assigned)
        .filter_map(|text| text.strip_suffix("=$?").or_else(|| text.strip_suffix("=\"$?\"")))
        .collect();
    // Each is written once where it is set; whatever is neither that nor printed may decide something.
    script.matches("$?").count() > holders.len() + printed("$?")
        || holders.iter().any(|name| script.matches(name).count() > 1 + printed(name))
}

/// Tells whether the status of a command is asked for right behind it, and all that comes of that is a line to read:
/// `if [ $? -ne 0 ]; then echo "it failed"; fi`.
pub(super) fn only_told(script: &str, all: &[Command], at: usize) -> bool {
    let Some(asks) = all.get(at + 1) else { return false };
    let tests = matches!(asks.program(), "test" | "[" | "[[") && asks.text().contains("$?");
    tests && script.matches("$?").count() == 1 && all[at + 2..].iter().all(speaks) && all.len() > at + 2
}

/// `trap 'exit 0' ERR`: whatever fails behind it ends the script well.
fn trapped(script: Script<'_>, at: usize) -> Option<Lost> {
    let all = script.commands();
    let command = &all[at];
    if command.asked || command.then != Then::End || !is_check(script.facts, at) {
        return None;
    }
    let traps = |command: &&Command| {
        let words = &command.words;
        command.program() == "trap"
            && words.iter().any(|word| word.contains("exit 0") || word == "true")
            && words.iter().skip(2).any(|word| matches!(word.as_str(), "ERR" | "EXIT"))
    };
    let trap = all[..at].iter().rfind(traps)?;
    let message = format!("`{}` can fail and the step stays green: `{}`", short(command), short(trap));
    Some(Lost::new(Severity::High, message, "let the trap end with the status that it was called with"))
}

/// `ssh host "check; echo done"`: the shell at the other end goes on, and its last command decides.
fn at_the_other_end(script: Script<'_>, at: usize) -> Option<Lost> {
    let command = &script.commands()[at];
    if command.program() != "ssh" || command.then == Then::Or {
        return None;
    }
    let remote = command.words.last().filter(|word| word.contains(' ')).map(String::as_str);
    let text = remote.or_else(|| handed(script.step.script(), command))?;
    lost_remotely(text, &commands(text)).map(|(_, lost)| lost)
}

/// Returns the text that a command is handed: `ssh host << EOF`, and the lines up to `EOF`.
fn handed<'a>(script: &'a str, command: &Command) -> Option<&'a str> {
    let rest = script.get(command.start..)?;
    let (line, body) = rest.split_once('\n')?;
    let (_, word) = line.split_once("<<").filter(|(_, word)| !word.starts_with('<'))?;
    let word = word.trim_start_matches('-').trim().split([' ', ';', '|', '&', '>']).next()?;
    let end = word.trim_matches(['\'', '"', '\\']);
    let mut len = 0;
    for line in body.split_inclusive('\n') {
        if line.trim() == end && !end.is_empty() {
            return Some(&body[..len]);
        }
        len += line.len();
    }
    None
}

/// Tells whether a command makes what runs later, or brings a database up to date: without it nothing behind it is right.
fn prepares(command: &Command) -> bool {
    let text = command.text();
    let done = Done { work: tools::command(command), text, command: None };
    done.work.kind == Kind::Build || is_migration(&done)
}

/// Finds a change whose failure is lost in a script that runs in a shell of another machine, which has no `-e`, by the number
/// of its command.
pub(super) fn lost_remotely(text: &str, all: &[Command]) -> Option<(usize, Lost)> {
    let stops = ["set -e", "set -o errexit", "set -E", "exit 1", "$?", "trap "];
    if stops.iter().any(|word| text.contains(word)) {
        return None;
    }
    let matters = |command: &Command| {
        let kind = tools::command(command).kind;
        let plain = tools::plain_text(command);
        let up = ["docker compose up", "docker-compose up", "docker stack deploy"];
        matches!(kind, Kind::Test | Kind::Build)
            || prepares(command)
            || up.iter().any(|start| plain.starts_with(start))
    };
    let silent = |word: &String| word.contains("/dev/null");
    let (index, command) = all
        .iter()
        .enumerate()
        .find(|(_, command)| matters(command) && !command.asked && !command.words.iter().any(silent))?;
    let rest = &all[index + 1..];
    let next = rest.first()?;
    let shrugged = command.then == Then::Or && speaks(next) && next.then != Then::And;
    let last = command.then == Then::End && rest.iter().all(|other| speaks(other) && other.then == Then::End);
    // What runs is started anew, whatever became of what it is made of.
    let over = command.then == Then::End && prepares(command) && rest.iter().any(|other| !speaks(other));
    let hint = match shrugged {
        true => format!("drop `|| {}`", next.program()),
        false => "begin with `set -e`, or join the commands with `&&`".to_owned(),
    };
    (shrugged || last || over).then(|| {
        let message =
            format!("the failure of `{}` is lost at the other end: the shell there goes on", short(command));
        (index, Lost::new(Severity::High, message, hint))
    })
}

/// The same in a script that an action runs on another machine.
pub(super) fn remote(
    flow: &Flow,
    step: &Step,
    facts: &StepFacts,
    lenient: impl Fn() -> Option<String>,
    report: &mut Report<'_>,
) {
    let Some(text) = step.input("script").filter(|_| facts.actions.iter().any(|name| name.contains("ssh")))
    else {
        return;
    };
    if step.input("script_stop").is_some_and(|text| text.is("true")) {
        return;
    }
    let Some((_, lost)) = lost_remotely(&text.text, &commands(&text.text)) else { return };
    lost.tell(flow, text.span, lenient, report);
}

/// Finds the less plain ways that hang on one command of a script.
pub(super) fn lost(script: Script<'_>, at: usize) -> Option<Lost> {
    swallowed_by_if(script, at)
        .or_else(|| undone::taken_back(script, at))
        .or_else(|| in_background(script, at))
        .or_else(|| by_find(script, at))
        .or_else(|| services::without_status(script, at))
        .or_else(|| without_errexit(script, at))
        .or_else(|| told_so(script, at))
        .or_else(|| refused(script, at))
        .or_else(|| within(script, at))
        .or_else(|| at_the_other_end(script, at))
        .or_else(|| trapped(script, at))
        .or_else(|| in_power_shell(script, at))
        .or_else(|| shells::in_substitution(script, at))
        .or_else(|| shells::in_loop_of_a_pipe(script, at))
}

/// `sh -c "check || true"`, in a container or not.
fn within(script: Script<'_>, at: usize) -> Option<Lost> {
    let command = &script.commands()[at];
    // Without a bar in it nothing is shrugged off.
    if command.then == Then::Or || !command.words.iter().any(|word| word.contains('|')) {
        return None;
    }
    let mut inner = nested(command);
    // `docker run IMAGE sh -c "..."`
    if let [only] = &inner[..] {
        let deeper = nested(only);
        inner = if deeper.is_empty() { inner } else { deeper };
    }
    shells::shrugged_off(&inner)
}

/// Tells whether a script of PowerShell or `cmd` looks at what its programs came to. Neither tells capitals from small letters.
pub(super) fn asks_in_power_shell(script: &str) -> bool {
    let asks = ["exitcode", "$?", "psnativecommanduseerroractionpreference", "try {", "throw", "errorlevel"];
    let script = script.to_ascii_lowercase();
    asks.iter().any(|word| script.contains(word))
}

/// PowerShell goes on after a program that failed, and the last one decides, or `exit 0`.
///
/// Source: GitHub, "Workflow syntax", section "Exit codes and error action preference".
pub(super) fn in_power_shell(script: Script<'_>, at: usize) -> Option<Lost> {
    let facts = script.facts;
    let command = &facts.commands[at];
    if command.depth > 0 || command.then != Then::End || !is_check(facts, at) {
        return None;
    }
    let named = script.shell().map(|shell| &*shell.text);
    let windows = || {
        script.job.runs_on.iter().any(|label| label.literal().is_some_and(|label| label.contains("windows")))
    };
    // Neither stops at a program that fails.
    let (power, which, hint) = match named.map(str::trim) {
        Some("cmd") => (true, "`cmd`", "write `|| exit /b 1` behind it"),
        named => (
            named.map_or_else(windows, |name| matches!(name, "pwsh" | "powershell")),
            "PowerShell",
            "give each a step of its own, or set `$PSNativeCommandUseErrorActionPreference = $true`",
        ),
    };
    if !power || asks_in_power_shell(script.step.script()) {
        return None;
    }
    let kind =
        |at: usize| facts.works.iter().find(|done| done.command == Some(at)).map(|done| done.work.kind);
    let checks = |at: usize| matches!(kind(at), Some(Kind::Test | Kind::Lint));
    // The same program once more mostly fails for the same reason.
    let other = |later: usize| facts.commands[later].program() != command.program();
    let covers = (at + 1..facts.commands.len()).any(|later| {
        matches!(&*facts.commands[later].text(), "exit 0" | "exit /b 0") || checks(later) && other(later)
    });
    // Cmdlets leave the status of the last program as it is.
    let mut programs = (at + 1..facts.commands.len()).filter(|&later| {
        let program = facts.commands[later].program();
        let known = matches!(kind(later), Some(kind) if kind != Kind::Unknown);
        known && !is_cmdlet(program) || tools::runs_scripts(program)
    });
    let covers = covers || programs.next_back().is_some_and(|last| !checks(last));
    (covers && checks(at)).then(|| {
        let message = format!(
            "the failure of `{}` is lost: {which} goes on after a program that fails",
            short(command)
        );
        Lost::new(Severity::High, message, hint)
    })
}

/// Tells whether a word is one of PowerShell's own commands, or short for one.
///
/// Source: PowerShell, "about_Aliases", and `Get-Alias` on Windows.
fn is_cmdlet(program: &str) -> bool {
    const ALIASES: &[&str] = &[
        "cat", "cd", "clear", "copy", "cp", "curl", "date", "del", "diff", "dir", "echo", "exit", "export",
        "kill", "ls", "md", "mkdir", "move", "mv", "popd", "ps", "pushd", "pwd", "rd", "ren", "return", "rm",
        "rmdir", "set", "sleep", "sort", "tee", "test", "type", "wget", "where",
    ];
    ALIASES.contains(&program)
        || program.contains('-') && program.starts_with(|c: char| c.is_ascii_uppercase())
}

/// `if check; then echo fine; else echo failed; fi`, and nothing else happens.
fn swallowed_by_if(script: Script<'_>, at: usize) -> Option<Lost> {
    let (all, text) = (script.commands(), script.step.script());
    let command = &all[at];
    if !command.asked || command.then != Then::End || !is_check(script.facts, at) || only_tells(script.step) {
        return None;
    }
    let asks = text.get(..command.start).is_some_and(|before| {
        let line = before.rsplit(['\n', ';']).next().unwrap_or_default().trim();
        line.is_empty() || line == "if" || line == "if !" || line.starts_with("if ")
    });
    let loops = text
        .get(command.start..)
        .is_some_and(|rest| ["while", "until", "elif"].iter().any(|word| rest.starts_with(word)));
    if !asks || loops {
        return None;
    }
    let block: Vec<&Command> =
        all[at + 1..].iter().take_while(|other| other.depth >= command.depth).collect();
    let prints = |other: &Command| {
        speaks(other) || matches!(other.program(), "echo" | "printf") && shells::is_only_told(script, other)
    };
    let only_prints = !block.is_empty()
        && block.iter().all(|other| !other.words.is_empty() && other.assigned.is_empty() && prints(other));
    // `! check` within the condition of a loop, or a status that is asked for below.
    let asked_later = text.contains("$?") || text.contains("exit 1") || text.contains("exit $");
    (only_prints && !asked_later).then(|| {
        let message = format!("the step only prints what `{}` came to, and stays green", short(command));
        Lost::new(Severity::High, message, "end the branch that failed with `exit 1`")
    })
}

/// `check &`: a plain `wait` returns 0 whatever became of it.
pub(super) fn in_background(script: Script<'_>, at: usize) -> Option<Lost> {
    let facts = script.facts;
    let command = &facts.commands[at];
    if command.then != Then::Background || !is_check(facts, at) {
        return None;
    }
    let kinds = facts.works.iter().filter(|done| done.command == Some(at)).map(|done| done.work.kind);
    // What serves stands in the background on purpose.
    let serves = ["serve", "start", "dev", "watch", "--watch", "server", "preview", "emulators:start"];
    let checks = kinds.into_iter().any(|kind| matches!(kind, Kind::Test | Kind::Lint))
        && !command.words.iter().any(|word| serves.contains(&word.as_str()));
    let waits = facts.commands[at + 1..]
        .iter()
        .any(|other| other.program() == "wait" && other.words.len() > 1 || other.program() == "jobs");
    (checks && !waits && !script.step.script().contains("$!")).then(|| {
        let message = format!(
            "the failure of `{}` is lost in the background: `wait` without a job is always fine",
            short(command)
        );
        Lost::new(Severity::High, message, "keep its `$!`, and `wait` for that")
    })
}

/// `find -exec check {} \;` is fine whatever the check says; with `+` it is not.
fn by_find(script: Script<'_>, at: usize) -> Option<Lost> {
    let command = &script.commands()[at];
    let each = command.program() == "find"
        && command.words.iter().any(|word| word == "-exec" || word == "-execdir")
        && command.words.iter().any(|word| word == ";");
    // `find tests -name 'test_*.sh' -exec bash {} \;`
    let by_name = || {
        let runs = nested(command).iter().any(|inner| {
            matches!(inner.program(), "bash" | "sh" | "python" | "python3" | "node" | "{}" | "ruby")
                && inner.words.iter().any(|word| word == "{}")
        });
        let named = |word: &String| {
            word.to_ascii_lowercase()
                .split(|c: char| !c.is_ascii_alphanumeric())
                .any(|part| matches!(part, "test" | "tests" | "spec"))
        };
        let named = command.words.windows(2).any(|pair| pair[0] == "-name" && named(&pair[1]));
        runs && named
    };
    (each && (is_check(script.facts, at) || by_name())).then(|| {
        let message = format!("`find` does not fail if `{}` does", short(command));
        // Of several files an interpreter runs the first, and hands it the others.
        let hint =
            if by_name() { "use `xargs -n 1`, which fails too" } else { "end it with `+`, or use `xargs`" };
        Lost::new(Severity::High, message, hint)
    })
}

/// A shell that goes on after a failure: `bash {0}` for one, and PowerShell with programs that are none of its own.
fn without_errexit(script: Script<'_>, at: usize) -> Option<Lost> {
    let all = script.commands();
    let command = &all[at];
    let text = script.shell()?.text.trim();
    if command.asked || command.then != Then::End || command.depth > 0 || !is_check(script.facts, at) {
        return None;
    }
    let plain = text.contains("{0}")
        && (text.starts_with("bash") || text.starts_with("sh") || text.starts_with("zsh"))
        && !text
            .split_whitespace()
            .any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('e'))
        && !text.contains("errexit");
    let sets = all[..at].iter().any(|other| {
        other.program() == "set"
            && other.words.iter().skip(1).any(|word| word.starts_with('-') && word.contains('e'))
    });
    let more = all[at + 1..].iter().any(|other| !other.words.is_empty());
    let asks = ["$?", "PIPESTATUS"].iter().any(|word| script.step.script().contains(word))
        && !only_told(script.step.script(), all, at);
    (plain && !sets && more && !asks).then(|| {
        let message = format!("the failure of `{}` is lost: the shell `{text}` has no `-e`", short(command));
        Lost::new(Severity::High, message, "begin with `set -e`, or write `-e` into the shell")
    })
}

/// Flags that tell a check never to fail.
const NEVER_FAILS: &[&str] = &[
    "--exit-zero",
    "--soft-fail",
    "--no-fail",
    "--no-exit-code",
    "--exit-code=0",
    "--no-error",
    "--fail-never",
    "-fn",
    "-Dmaven.test.failure.ignore",
    "-Dmaven.test.failure.ignore=true",
    "-Dmaven.test.error.ignore=true",
    "-DtestFailureIgnore=true",
    "-Dcheckstyle.failOnViolation=false",
    "-Dpmd.failOnViolation=false",
    "-Dspotbugs.failOnError=false",
    "--issues-exit-code=0",
    "--issues-exit-code 0",
    "--ignore-failures",
    "--suppress-exit-code",
    "--nostatusrc",
];

/// Properties of builds that say the same, whoever named them: `-PignoreFailures=true`, `/p:FailOnError=false`.
const LETS_PASS: &[&str] = &[
    "ignorefailures=true",
    "ignorefailure=true",
    "ignoretestfailures=true",
    "failure.ignore=true",
    "failonerror=false",
    "failonfailure=false",
    "failonviolation=false",
    "ignore_errors_on_exit=1",
];

/// Tells whether a word tells a check never to fail.
pub(super) fn never_fails(word: &str) -> bool {
    let lets_pass = || {
        if !word.contains('=') {
            return false;
        }
        let lower = word.to_ascii_lowercase();
        LETS_PASS.iter().any(|text| lower.ends_with(text))
    };
    word.starts_with(['-', '/']) && (NEVER_FAILS.contains(&word) || lets_pass())
}

/// A check that a flag tells never to fail, without the same check beside it that may.
fn told_so(script: Script<'_>, at: usize) -> Option<Lost> {
    let Script { flow, job, step, facts, reported } = script;
    let command = &facts.commands[at];
    let of_make =
        |word: &&String| command.program() == "make" && matches!(word.as_str(), "-i" | "--ignore-errors");
    let flag = command.words.iter().find(|word| never_fails(word) || of_make(word))?;
    let kinds: Vec<Kind> =
        facts.works.iter().filter(|done| done.command == Some(at)).map(|done| done.work.kind).collect();
    let checks = kinds.iter().any(|kind| matches!(kind, Kind::Lint | Kind::Audit | Kind::Test));
    // The same program without the flag is the gate, and this one only speaks.
    let strict = facts.commands.iter().any(|other| {
        other.program() == command.program() && !other.words.contains(flag) && other.words.len() > 1
    });
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    // What tests found is judged by who publishes reports of tests, and not by being kept.
    let is_kept = ["sarif", "upload-artifact", "GITHUB_STEP_SUMMARY", "reviewdog", "codecov", "sonar"]
        .iter()
        .any(|word| text.contains(word));
    let kept = reported || is_kept && !kinds.contains(&Kind::Test);
    let said = step.script().contains("as warnings");
    (checks && !strict && !kept && !said).then(|| {
        let message = format!("`{}` never fails: `{flag}` tells it so", short(command));
        let worst = if kinds.contains(&Kind::Test) { Severity::High } else { Severity::Medium };
        Lost::new(worst, message, format!("drop `{flag}`, or keep what it finds"))
    })
}

/// `curl -X POST $HOOK`: whoever refuses to deploy answers with an error page, and that is fine for `curl`.
///
/// Source: curl, manual, `--fail`.
fn refused(script: Script<'_>, at: usize) -> Option<Lost> {
    let Script { job, step, facts, .. } = script;
    let command = &facts.commands[at];
    let deploys = facts.works.iter().any(|done| done.command == Some(at) && done.work.kind == Kind::Deploy);
    if command.program() != "curl"
        || !(deploys || hooks::asks(script.flow, job, step, command))
        || command.asked
        || command.then != Then::End
        || command.depth > 0
    {
        return None;
    }
    let reads = command.words.iter().any(|word| {
        word.starts_with("--fail")
            || matches!(word.as_str(), "-w" | "--write-out" | "-o" | "-O" | "--output")
            || word.contains("http_code")
            || word.starts_with('-') && !word.starts_with("--") && word.contains('f')
    });
    let text = script.flow.text.get(job.span.range()).unwrap_or_default();
    // A later step may ask how it went.
    let asked = ["$(curl", "`curl", "--retry-all", "health", "status"].iter().any(|word| text.contains(word));
    (!reads && !asked && !step.script().contains("exit 1")).then(|| {
        let message = format!("`{}` is content with an error page: it has no `--fail`", short(command));
        Lost::new(Severity::High, message, "add `--fail`")
    })
}
