//! Which values a command would read as code.

use super::{
    Problem, Unsafe,
    lex::{Command, Pipeline, Word},
};

/// Shells: `-c` takes code, the first operand is a script, and without either the input is code.
const SHELLS: [&str; 11] =
    ["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "csh", "tcsh", "rbash"];

/// Languages: some options take code, the first operand is a script, and without either the input is code.
const LANGUAGES: [&str; 24] = [
    "python",
    "pypy",
    "perl",
    "ruby",
    "node",
    "nodejs",
    "deno",
    "bun",
    "php",
    "lua",
    "luajit",
    "Rscript",
    "R",
    "osascript",
    "pwsh",
    "powershell",
    "groovy",
    "julia",
    "elixir",
    "erl",
    "runghc",
    "psql",
    "mysql",
    "mariadb",
];

/// Programs whose first operand is code, unless an option brings it.
const FILTERS: [&str; 7] = ["awk", "gawk", "mawk", "nawk", "sed", "gsed", "jshell"];

/// Programs that may read any of their arguments, or their input, as code.
const EVALUATORS: [&str; 29] = [
    "ssh", "rsh", "su", "runuser", "parallel", "watch", "script", "at", "batch", "tmux", "screen", "sqlite3",
    "duckdb", "dc", "bc", "gdb", "lldb", "ed", "ex", "vi", "vim", "nvim", "emacs", "m4", "gnuplot", "expect",
    "tclsh", "entr", "socat",
];

/// Builtins of some shell that evaluate what they are given.
const BUILTINS: [&str; 16] = [
    "eval",
    "trap",
    ".",
    "source",
    "let",
    "declare",
    "typeset",
    "unset",
    "read",
    "mapfile",
    "readarray",
    "getopts",
    "[[",
    "fc",
    "alias",
    "function",
];

/// Commands that run the command given to them.
const WRAPPERS: [&str; 36] = [
    "env",
    "sudo",
    "doas",
    "nohup",
    "nice",
    "ionice",
    "time",
    "exec",
    "command",
    "builtin",
    "setsid",
    "xargs",
    "stdbuf",
    "timeout",
    "chrt",
    "flock",
    "strace",
    "ltrace",
    "unshare",
    "chroot",
    "nsenter",
    "find",
    "fd",
    "docker",
    "podman",
    "kubectl",
    "systemd-run",
    "gosu",
    "tini",
    "dumb-init",
    "bwrap",
    "firejail",
    "taskset",
    "caffeinate",
    "busybox",
    "setpriv",
];

/// Variables whose values are run, or name what is run.
const VARIABLES: [&str; 16] = [
    "ENV",
    "BASH_ENV",
    "PS4",
    "PROMPT_COMMAND",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "PATH",
    "SHELL",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "GIT_SSH_COMMAND",
    "GIT_PAGER",
    "PERL5OPT",
    "RUBYOPT",
];

/// How many interpreters one command may name.
const INTERPRETERS_LIMIT: usize = 20;

/// What a program reads as code.
#[derive(Default)]
struct Reads {
    arguments: Vec<usize>,
    input: bool,
}

pub(super) fn check(pipelines: &[Pipeline], feeds_all: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let feeds_all = feeds_all || pipelines.iter().flatten().any(redirects_all);
    let first_value = pipelines.iter().flatten().flat_map(all_values).min();
    // Up to where values are reported that a group may have printed; each is reported once.
    let mut grouped_to = 0;
    for pipeline in pipelines {
        // Values that flow into the next command, and are not yet reported.
        let mut upstream: Vec<usize> = Vec::new();
        let mut grouped = 0;
        let mut fed = false;
        for command in pipeline {
            let reads = check_command(command, &mut problems, fed);
            if reads.input {
                let values =
                    command.input.iter().copied().chain(upstream.drain(..)).chain(grouped_to..grouped);
                problems.extend(values.map(|placeholder| Problem { placeholder, why: Unsafe::Input }));
                grouped_to = grouped_to.max(grouped);
                if let Some(placeholder) = first_value.filter(|_| feeds_all) {
                    problems.push(Problem { placeholder, why: Unsafe::Input });
                }
            }
            upstream.extend(all_values(command));
            if command.group {
                // What the group printed may be any value before.
                grouped = grouped.max(command.before);
            }
            fed |= !upstream.is_empty() || grouped > 0;
        }
    }
    problems
}

fn all_values(command: &Command) -> impl Iterator<Item = usize> + '_ {
    command.words.iter().flat_map(|word| word.exprs.clone()).chain(command.input.iter().copied())
}

/// Tells whether a command makes a value the input of others: `done <<EOF`, `exec <<EOF`.
fn redirects_all(command: &Command) -> bool {
    let is_exec = command.words.first().is_some_and(|word| word.text == "exec");
    (command.group || is_exec || command.words.is_empty()) && !command.input.is_empty()
}

/// Returns the name of the program that a word names, without its directory.
fn base_name(word: &Word) -> &str {
    word.text.rsplit('/').next().unwrap_or_default()
}

fn is_language(name: &str) -> bool {
    // Also with a version: `python3.12`.
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    LANGUAGES.contains(&bare)
}

fn assigned(word: &Word) -> Option<&str> {
    let (name, _) = word.text.split_once('=')?;
    let name = name.trim_end_matches('+');
    let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (valid && !word.starts_with_expr && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

fn check_command(command: &Command, problems: &mut Vec<Problem>, fed: bool) -> Reads {
    let mut report = |words: &[Word], why: Unsafe| {
        let values = words.iter().flat_map(|word| word.exprs.clone());
        problems.extend(values.map(|placeholder| Problem { placeholder, why }));
    };
    let words = &command.words;
    let start = words.iter().take_while(|word| assigned(word).is_some()).count();
    for word in words.iter().filter(|word| assigned(word).is_some_and(|name| VARIABLES.contains(&name))) {
        report(std::slice::from_ref(word), Unsafe::Variable);
    }
    // What these run is the command, builtins too.
    let prefixes =
        words[start..].iter().take_while(|word| matches!(word.text.as_str(), "command" | "builtin")).count();
    let start = start + prefixes;
    let Some(first) = words.get(start) else { return Reads::default() };
    if !command.group {
        report(std::slice::from_ref(first), Unsafe::Command);
    }
    let arguments = &words[start + 1..];
    let name = base_name(first);
    if BUILTINS.contains(&name) || name == "printf" && arguments.first().is_some_and(|word| word.text == "-v")
    {
        report(arguments, Unsafe::Builtin);
    }
    if matches!(name, "test" | "[") && arguments.iter().any(|word| matches!(word.text.as_str(), "-v" | "-R"))
    {
        report(arguments, Unsafe::Builtin);
    }
    if matches!(name, "export" | "readonly" | "local") {
        let names: Vec<Word> = arguments.iter().filter(|word| assigned(word).is_none()).cloned().collect();
        report(&names, Unsafe::Builtin);
    }
    if matches!(name, "for" | "select") {
        report(&arguments[..arguments.len().min(1)], Unsafe::Command);
    }
    let wrapped = WRAPPERS.contains(&name);
    if wrapped {
        report(&wrapped_name(name, arguments), Unsafe::Command);
    }
    let mut all = Reads::default();
    let mut runs_code = false;
    let mut interpreters = 0;
    for (at, word) in words.iter().enumerate().skip(start) {
        let Some(reads) = interpreter(word, &words[at + 1..], at == start || wrapped) else { continue };
        interpreters += 1;
        if interpreters > INTERPRETERS_LIMIT {
            // No command that is meant well has so many.
            report(arguments, Unsafe::Code);
            break;
        }
        runs_code = true;
        for index in &reads.arguments {
            report(std::slice::from_ref(&words[at + 1 + index]), Unsafe::Code);
        }
        all.input |= reads.input;
    }
    // Its input becomes arguments, perhaps within code.
    all.input |= fed && runs_code && name == "xargs";
    all
}

/// Returns the words that may name the command that a wrapper runs.
fn wrapped_name(wrapper: &str, arguments: &[Word]) -> Vec<Word> {
    let skipped = usize::from(matches!(wrapper, "timeout" | "flock" | "chroot" | "taskset" | "chrt"));
    if matches!(wrapper, "docker" | "podman" | "kubectl" | "find" | "fd") {
        // What follows `-exec` or `--`.
        let runs = ["-exec", "-execdir", "-ok", "-okdir", "-x", "--exec", "--"];
        let at = arguments.iter().position(|word| runs.contains(&word.text.as_str()));
        return at.and_then(|at| arguments.get(at + 1)).cloned().into_iter().collect();
    }
    let operands = arguments.iter().filter(|word| {
        let option = word.text.starts_with('-') && !word.starts_with_expr;
        !option && assigned(word).is_none()
    });
    operands.take(1 + skipped).skip(skipped).cloned().collect()
}

/// Says what a program reads as code; `None` if the word does not name an interpreter, or only looks like one.
fn interpreter(word: &Word, arguments: &[Word], named: bool) -> Option<Reads> {
    let name = base_name(word);
    let has_code_option = arguments.first().is_some_and(|next| is_code_option(&next.text));
    if !named && !has_code_option {
        return None;
    }
    // The shell that busybox is told to be is found as a word of its own.
    if SHELLS.contains(&name) {
        return Some(shell(arguments));
    }
    if is_language(name) {
        return Some(language(name, arguments));
    }
    if FILTERS.contains(&name) {
        return Some(filter(arguments));
    }
    if EVALUATORS.contains(&name) && named {
        return Some(Reads { arguments: (0..arguments.len()).collect(), input: true });
    }
    // A program named by a variable may be any of them.
    (word.expands && has_code_option).then(|| shell(arguments))
}

/// Tells whether an option is one that some interpreter takes code by.
fn is_code_option(text: &str) -> bool {
    let long = [
        "--eval",
        "--print",
        "--command",
        "--execute",
        "--exec",
        "--run",
        "--code",
        "-Command",
        "-EncodedCommand",
    ];
    if long
        .iter()
        .any(|option| text.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
    {
        return true;
    }
    text.starts_with('-') && !text.starts_with("--") && text.contains(['c', 'e', 'E', 'r', 'p', 'B', 'R'])
}

fn shell(arguments: &[Word]) -> Reads {
    let mut reads = Reads::default();
    let (mut code, mut stdin, mut skip) = (false, false, false);
    for (at, word) in arguments.iter().enumerate() {
        let option = word.text.starts_with(['-', '+']) && !word.starts_with_expr && word.text != "-";
        if std::mem::take(&mut skip) {
            reads.arguments.push(at);
        } else if option && word.text != "--" {
            reads.arguments.push(at);
            let short = !word.text.starts_with("--");
            code |= short && word.text.contains('c');
            stdin |= short && word.text.contains('s');
            skip = short && word.text.ends_with(['o', 'O'])
                || matches!(word.text.as_str(), "--rcfile" | "--init-file");
        } else if word.text != "--" {
            if code || !stdin {
                // Code itself, or the script to be read.
                reads.arguments.push(at);
            }
            let from_input = matches!(word.text.as_str(), "-" | "/dev/stdin" | "/dev/fd/0");
            reads.input = !code && (stdin || from_input);
            return reads;
        }
    }
    reads.input = true;
    reads
}

fn language(name: &str, arguments: &[Word]) -> Reads {
    // These read code from their input whatever they are given, and their operands are names.
    let client = matches!(name, "psql" | "mysql" | "mariadb");
    let mut reads = Reads { input: client, ..Reads::default() };
    let (mut code_next, mut has_code) = (false, false);
    for (at, word) in arguments.iter().enumerate() {
        let option = word.text.starts_with('-') && !word.starts_with_expr && word.text.len() > 1;
        if std::mem::take(&mut code_next) {
            reads.arguments.push(at);
        } else if option {
            // Code may be attached to it.
            reads.arguments.push(at);
            code_next = is_code_option(&word.text) && !word.text.contains('=');
            has_code |= is_code_option(&word.text);
        } else if matches!(word.text.as_str(), "eval" | "repl" | "-") && matches!(name, "deno" | "bun") {
            code_next = true;
            has_code = true;
        } else if !client {
            if !has_code {
                // The script to be read.
                reads.arguments.push(at);
                reads.input = matches!(word.text.as_str(), "-" | "/dev/stdin" | "/dev/fd/0");
            }
            return reads;
        }
    }
    reads.input |= !has_code;
    reads
}

fn filter(arguments: &[Word]) -> Reads {
    let mut reads = Reads::default();
    let (mut skip, mut code_next, mut has_code) = (false, false, false);
    for (at, word) in arguments.iter().enumerate() {
        let option = word.text.starts_with('-') && !word.starts_with_expr && word.text.len() > 1;
        if std::mem::take(&mut skip) {
            continue;
        }
        if std::mem::take(&mut code_next) {
            reads.arguments.push(at);
            reads.input |= matches!(word.text.as_str(), "-" | "/dev/stdin");
        } else if option {
            let value_apart =
                matches!(word.text.as_str(), "-v" | "-F" | "--assign" | "--field-separator" | "-l");
            skip = value_apart;
            code_next =
                word.text.ends_with(['e', 'f']) || matches!(word.text.as_str(), "--expression" | "--file");
            has_code |= code_next || word.text.starts_with("--expression") || word.text.starts_with("--file");
            if !word.text.starts_with("-v") && !word.text.starts_with("-F") {
                reads.arguments.push(at);
            }
        } else if !has_code {
            reads.arguments.push(at);
            has_code = true;
        }
    }
    reads
}
