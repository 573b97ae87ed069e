//! Where a gate lets everything pass: however it ends, or where it fails itself.

use kapell_spec::finding::Span;
use kapell_view::audit::Severity;

use super::{Fault, Language, MEANT, lines};

/// Finds what makes a gate pass however it ends.
pub(super) fn always_passes(lower: &str, language: Language) -> Option<Fault> {
    if !["exit 2", "exit(2)", "return 2"].iter().any(|end| lower.contains(end)) {
        return None;
    }
    let why = "this gate passes whatever it finds: here it ends with 0, however it came to an end";
    let lines = lines(lower);
    if let Some(span) = in_a_pipe(&lines).filter(|_| language == Language::Shell) {
        let why = "this ends the loop behind the pipe alone: the gate itself ends with 0";
        return Some((span, why, "read the loop's input with `done < <(..)`", Severity::High));
    }
    if let Some(span) = asks_the_pipe(lower, &lines).filter(|_| language == Language::Shell) {
        let why = "`$?` is what the end of the pipe returned: the gate never sees that the check failed";
        return Some((span, why, "write `set -o pipefail`, or ask `${PIPESTATUS[0]}`", Severity::High));
    }
    if let Some(span) = asks_after_or(&lines).filter(|_| language == Language::Shell) {
        let why = "`$?` is that of `|| true`, which is always 0: the gate never sees that the check failed";
        return Some((span, why, "write `status=0; check || status=$?`", Severity::High));
    }
    if let Some(span) = returns_unheard(lower, &lines).filter(|_| language == Language::Shell) {
        let why = "nobody reads what this function returns: the gate itself ends with 0";
        return Some((span, why, "write `exit 2`, or `check || exit 2` where it is called", Severity::High));
    }
    for (number, (at, line)) in lines.iter().enumerate() {
        let code = line.trim();
        let start = at + (line.len() - line.trim_start().len());
        let span = Span::new(start, start + code.len());
        let traps = language == Language::Shell
            && code.starts_with("trap ")
            && code.contains("exit 0")
            && code.split_whitespace().last().is_some_and(|signal| matches!(signal, "exit" | "0"));
        let finally = language == Language::Python
            && code == "finally:"
            && lines[number + 1..]
                .iter()
                .take(2)
                .any(|(_, line)| matches!(line.trim(), "sys.exit(0)" | "return 0"));
        if traps || finally {
            return Some((span, why, "let the exit code of the gate through", Severity::High));
        }
    }
    None
}

/// Finds where a gate that can say no says yes because it could not judge: a program is missing, or it failed itself.
pub(super) fn swallows(lower: &str, language: Language) -> Option<Fault> {
    if MEANT.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let lines = lines(lower);
    let mut gravest: Option<Fault> = None;
    let passes = |line: &str| {
        ["exit 0", "exit(0)", "exitcode = 0"].iter().any(|end| line.contains(end))
            || ["return 0", "return"].contains(&line.trim())
    };
    for (number, &(start, line)) in lines.iter().enumerate() {
        let next = lines.iter().skip(number + 1).take(2).map(|(_, line)| *line);
        let code = line.trim_start();
        if language.is_comment(code) {
            continue;
        }
        let traps = language == Language::Shell
            && code.starts_with("trap ")
            && code.contains("exit 0")
            && code.trim_end().ends_with(" err");
        let (found, why) = if language == Language::Shell {
            let missing = code.contains("command -v ") || code.contains("which ") && code.contains("exit 0");
            let within = missing
                && (passes(code)
                    || code.starts_with("if !") && next.take_while(|line| line.trim() != "fi").any(passes));
            let unread = reads_or_passes(code);
            let why = if within {
                "this gate lets everything pass where a program that it needs is missing"
            } else {
                "this gate lets everything pass when it fails itself, or cannot read what it is given"
            };
            (within || unread || traps, why)
        } else {
            let caught = match language {
                Language::Python => code.starts_with("except"),
                _ => code.contains("catch") || code.contains("uncaughtexception"),
            };
            let within = caught && (passes(code) || next.into_iter().any(passes));
            let dropped = caught && falls_through(&lines[number + 1..], code, language, passes);
            (
                within || dropped,
                "this gate lets everything pass when it fails itself, or cannot read what it is given",
            )
        };
        if found {
            let start = start + (line.len() - code.len());
            let span = Span::new(start, start + code.trim_end().len());
            // Whatever fails in it, wherever it does, and not one program alone.
            let severity = if traps
                || language == Language::Python && takes_exits(code) && swallows_all(&lines, number)
            {
                Severity::High
            } else if language == Language::Python && swallows_all(&lines, number) {
                Severity::Medium
            } else {
                Severity::Low
            };
            // One that takes every fault may stand behind one that takes a few.
            if gravest.as_ref().is_none_or(|(.., known)| severity > *known) {
                gravest = Some((span, why, "end with 2 there, and say why on standard error", severity));
            }
        }
    }
    gravest
}

/// Tells whether a handler of faults is empty, and what comes next lets everything pass, or is nothing.
fn falls_through(
    next: &[(usize, &str)],
    code: &str,
    language: Language,
    passes: impl Fn(&str) -> bool,
) -> bool {
    let mut closed = language == Language::Python || code.trim_end().ends_with("{}");
    for (_, line) in next {
        let trimmed = line.trim();
        match trimmed {
            "" | "pass" => {}
            "}" | "};" if !closed => closed = true,
            _ if language.is_comment(line) => {}
            _ => return closed && passes(line),
        }
    }
    closed
}

/// Finds a function that returns 2 in a script that ends with 0 whatever its functions return.
fn returns_unheard(lower: &str, lines: &[(usize, &str)]) -> Option<Span> {
    let heard = ["exit 2", "$?", "set -e", "|| exit", "&& exit", "errexit", "if check", "if !"];
    let last = lines.iter().rev().map(|(_, line)| line.trim()).find(|line| !line.is_empty())?;
    if last != "exit 0" || heard.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let at = lines.iter().find_map(|(at, line)| Some(at + line.find("return 2")?))?;
    Some(Span::new(at, at + "return 2".len()))
}

/// Programs at the end of a pipe that take in what another one says, and succeed.
pub(in crate::rules::gate_hook_fails_open) const PASSES_ON: &[&str] =
    &["tee", "cat", "tail", "head", "sed", "ts", "logger"];

/// Finds a line whose pipe ends in a program that succeeds, before one that asks for `$?`.
fn asks_the_pipe(lower: &str, lines: &[(usize, &str)]) -> Option<Span> {
    if lower.contains("pipefail") || lower.contains("pipestatus") {
        return None;
    }
    lines.windows(2).find_map(|pair| {
        let (at, line) = pair[0];
        let code = line.trim();
        let (_, reader) = code.rsplit_once("| ").filter(|(before, _)| !before.ends_with('|'))?;
        let passes = PASSES_ON.contains(&reader.split_whitespace().next()?);
        let asks = pair[1].1.contains("$?") && (pair[1].1.contains("if ") || pair[1].1.contains("=$?"));
        let inside = code.contains("$(") || code.starts_with('#');
        let start = at + (line.len() - line.trim_start().len());
        (passes && asks && !inside).then(|| Span::new(start, start + code.len()))
    })
}

/// Finds a line that succeeds whatever became of its command, before one that asks for `$?`.
fn asks_after_or(lines: &[(usize, &str)]) -> Option<Span> {
    let code = |line: &str| line.trim().trim_end_matches(';').to_owned();
    let lines: Vec<_> =
        lines.iter().filter(|(_, line)| !matches!(code(line).chars().next(), None | Some('#'))).collect();
    lines.windows(2).find_map(|pair| {
        let (at, line) = pair[0];
        let succeeds = ["|| true", "|| :", "||true", "||:"].iter().any(|end| code(line).ends_with(end));
        let next = code(pair[1].1);
        let set = next.split_once("=$?").is_some_and(|(name, rest)| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ' ') && rest.is_empty()
        });
        let tested = next.starts_with("if ") && next.contains("$?");
        let start = at + (line.len() - line.trim_start().len());
        (succeeds && (set || tested)).then(|| Span::new(start, start + line.trim().len()))
    })
}

/// Finds an end with 2 in a loop behind a pipe, which ends the loop alone, before the script ends with 0.
fn in_a_pipe(lines: &[(usize, &str)]) -> Option<Span> {
    let starts = lines
        .iter()
        .enumerate()
        .filter(|(_, (_, line))| line.contains("| while ") || line.contains("|while "));
    for (number, _) in starts {
        let rest = &lines[number + 1..];
        let end = rest.iter().position(|(_, line)| line.trim_start().starts_with("done"))?;
        let behind = rest[end + 1..]
            .iter()
            .map(|(_, line)| line.trim())
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        let alone = matches!(rest[end].1.trim(), "done" | "done;") && matches!(behind, Some("exit 0"));
        let refusal = rest[..end].iter().find_map(|(at, line)| Some(at + line.find("exit 2")?));
        if let Some(at) = refusal.filter(|_| alone) {
            return Some(Span::new(at, at + "exit 2".len()));
        }
    }
    None
}

/// Tells whether a line of shell reads what the hook is given, and lets everything pass where it cannot.
fn reads_or_passes(code: &str) -> bool {
    let ends = code.trim_end();
    let reads = ["$(jq ", "| jq ", "$(cat", "json.load"].iter().any(|word| code.contains(word));
    let last = ends.rsplit("||").next().unwrap_or_default().trim();
    reads && ends.contains(")") && ends.contains("||") && !ends.contains("&&") && last == "exit 0"
}

/// Tells whether an `except` takes the end of the script too, which is a fault of its own kind: the gate never says no.
fn takes_exits(code: &str) -> bool {
    matches!(code.trim_end(), "except:" | "except baseexception:")
        || code.starts_with("except baseexception as")
}

/// Tells whether an `except` takes every fault, of a `try` in which the gate says no as well.
fn swallows_all(lines: &[(usize, &str)], except: usize) -> bool {
    let code = lines[except].1.trim();
    if !matches!(code.split([':', ' ']).nth(1).unwrap_or_default(), "" | "exception" | "baseexception") {
        return false;
    }
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(lines[except].1);
    lines[..except]
        .iter()
        .rev()
        .take_while(|(_, line)| !(line.trim() == "try:" && indent(line) == depth))
        .any(|(_, line)| {
            // `sys.exit(main())` says no where `main` does.
            let of_main = line.contains("main(") && lines.iter().any(|(_, line)| line.trim() == "return 2");
            of_main || ["exit(2)", "return 2"].iter().any(|end| line.contains(end))
        })
}
