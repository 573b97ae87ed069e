//! Agents and shells that are started, and waited for without a limit.

use super::{Habit, WRAPPERS, without, written};
use crate::{
    code::{Id, Language, Unit, programs, service},
    rule::Report,
};

/// Agents that are started as programs, and waited for without a limit.
pub(super) fn tell_processes(unit: &Unit, report: &mut Report<'_>) {
    let found = unit.calls().filter(|&call| endless_process(unit, call).is_some());
    let said = |unit: &Unit, call: Id| {
        let (callee, place) = written(unit, call);
        let agent = endless_process(unit, call).unwrap_or_default();
        let message = format!("`{callee}`{place} waits for the agent `{agent}` with no time limit");
        Habit::new(message, "give it a limit, and end the process when that is over", "without a limit too")
    };
    Habit::tell(found.map(|call| (unit, call)), said, report);
}

/// Returns the agent that a call starts to work alone, if nothing limits how long it waits.
fn endless_process(unit: &Unit, call: Id) -> Option<&'static str> {
    let path = unit.path(unit.callee(call)?)?.text;
    let waits = match &*path {
        "subprocess.run" | "subprocess.call" | "subprocess.check_call" | "subprocess.check_output" => {
            unit.keyword(call, "timeout").is_none() && !unit.has_splat(call)
        }
        "subprocess.Popen" | "asyncio.create_subprocess_exec" => {
            let around = around_others(unit, call).to_ascii_lowercase();
            let waits = [".wait()", ".communicate("].iter().any(|wait| around.contains(wait));
            let ends = ["timeout", "wait_for", ".kill(", ".terminate(", "poll("];
            waits && !ends.iter().any(|end| around.contains(end))
        }
        "child_process.execFileSync"
        | "child_process.spawnSync"
        | "node:child_process.execFileSync"
        | "node:child_process.spawnSync" => {
            without(unit, unit.args(call).get(2).map(|arg| arg.value), &["timeout", "signal"])
        }
        "child_process.spawn"
        | "node:child_process.spawn"
        | "cross-spawn"
        | "Bun.spawn"
        | "Bun.spawnSync"
        | "child_process.execFile"
        | "node:child_process.execFile" => {
            let around = unit.whole().to_ascii_lowercase();
            let ends = ["timeout", ".kill(", "signal:", "abort"];
            !ends.iter().any(|end| around.contains(end))
        }
        "zx.$" | "execa.$" | "bun.$" | "Bun.$" => {
            let around = unit.whole().to_ascii_lowercase();
            !["timeout", ".kill(", "signal", "abort"].iter().any(|end| around.contains(end))
        }
        "execa" | "execa.execa" | "execa.execaSync" => {
            without(unit, unit.args(call).get(2).map(|arg| arg.value), &["timeout", "cancelSignal", "signal"])
        }
        _ => false,
    };
    // `timeout 900 claude -p ...` ends by itself.
    let ends = || {
        let words = programs::words(unit, call).unwrap_or_default();
        words.first().is_some_and(|word| matches!(*word, "timeout" | "gtimeout"))
    };
    if !waits || ends() {
        return None;
    }
    programs::agent(unit, call)
}

/// Calls that start a program and wait for it themselves: a limit that they are given is for that program alone.
const WHOLE: &[&str] =
    &["subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output"];

/// Returns the text of the function around a call, without other programs that are started there and waited for at once.
fn around_others(unit: &Unit, call: Id) -> String {
    let function = unit.function_of(call);
    let whole = unit.text(function);
    let (from, mut kept, mut at) = (unit.span(function).start as usize, String::new(), 0);
    for other in unit.calls_in(function) {
        let known = unit.callee_path(other).is_some_and(|path| WHOLE.contains(&&*path.text));
        let span = unit.span(other);
        let (start, end) = (span.start as usize - from, span.end as usize - from);
        if known && start >= at {
            kept.push_str(whole.get(at..start).unwrap_or_default());
            at = end;
        }
    }
    kept.push_str(whole.get(at..).unwrap_or_default());
    kept
}

/// Functions of the agents' own kits that work until they are done.
const UNBOUND: &[&str] = &[
    "claude_agent_sdk.query",
    "claude_code_sdk.query",
    "@anthropic-ai/claude-agent-sdk.query",
    "@anthropic-ai/claude-code.query",
];

/// Words of what ends an agent some time.
const ENDS: &[&str] = &[
    "max_turns",
    "maxturns",
    "timeout",
    "wait_for",
    "abort",
    "max_budget",
    "maxbudget",
    "deadline",
    "interrupt",
];

/// Agents that are started by their kit in a file that bounds neither time nor turns nor cost.
pub(super) fn tell_agents(unit: &Unit, report: &mut Report<'_>) {
    let text = unit.whole().to_ascii_lowercase();
    if ENDS.iter().any(|word| text.contains(word)) {
        return;
    }
    let found = unit.calls().filter(|&call| {
        // Options that another file makes may hold anything.
        let seen = unit
            .args(call)
            .iter()
            .all(|arg| unit.value(arg.value).is_some_and(|value| unit.kind(value) != "identifier"));
        let path = unit.callee(call).and_then(|callee| unit.path(callee));
        seen && path.is_some_and(|path| UNBOUND.contains(&&*path.text))
    });
    let said = |unit: &Unit, call: Id| {
        let (_, place) = written(unit, call);
        let message = format!("this agent{place} is bounded neither in time nor in turns nor in cost");
        let hint = match unit.language {
            Language::Python => "give its options `max_turns`, and put `asyncio.timeout` around it",
            _ => "give its options `maxTurns` and an `abortController`",
        };
        Habit::new(message, hint, "nor is this one")
    };
    Habit::tell(found.map(|call| (unit, call)), said, report);
}

/// Calls that start a program and wait for it, and where their options stand among what they are given.
const SHELLS: &[(&str, Option<usize>)] = &[
    ("subprocess.run", None),
    ("subprocess.call", None),
    ("subprocess.check_call", None),
    ("subprocess.check_output", None),
    ("subprocess.getoutput", None),
    ("subprocess.getstatusoutput", None),
    ("child_process.execSync", Some(1)),
    ("node:child_process.execSync", Some(1)),
];

/// A shell that runs whatever its caller hands it, and waits for that without a limit.
pub(super) fn tell_shells(unit: &Unit, report: &mut Report<'_>) {
    let found = unit.calls().filter(|&call| runs_anything(unit, call));
    let said = |unit: &Unit, call: Id| {
        let (callee, place) = written(unit, call);
        let message = format!("`{callee}`{place} waits with no time limit for whatever command it is given");
        let hint = match unit.language {
            Language::Python => "give it `timeout=600`, and tell the model when that was over",
            _ => "give it `timeout: 600_000`, and tell the model when that was over",
        };
        Habit::new(message, hint, "so does this one")
    };
    Habit::tell(found.map(|call| (unit, call)), said, report);
}

fn runs_anything(unit: &Unit, call: Id) -> bool {
    let path = unit.callee(call).and_then(|callee| unit.path(callee));
    let known = path.and_then(|path| SHELLS.iter().find(|(known, _)| *known == path.text));
    let Some((program, options)) = known else { return false };
    let Some(command) = unit.args(call).first().filter(|arg| arg.name.is_none()).map(|arg| arg.value) else {
        return false;
    };
    // A name that this function was given, and that it does not make itself.
    let function = unit.function_of(call);
    let given = ["parameters", "formal_parameters"].iter().any(|kind| {
        let list = unit.syntax.children(function).find(|&child| unit.kind(child) == *kind);
        list.is_some_and(|list| {
            unit.syntax
                .below(list)
                .any(|id| unit.kind(id) == "identifier" && unit.text(id) == unit.text(command))
        })
    });
    let plain =
        unit.kind(command) == "identifier" && given && unit.values(call, unit.text(command)).is_empty();
    let shell = program.contains("getoutput")
        || program.contains("getstatus")
        || options.is_some()
        || unit.keyword(call, "shell").is_some_and(|value| unit.text(value) == "True");
    let endless = match options {
        Some(at) => without(unit, unit.args(call).get(*at).map(|arg| arg.value), &["timeout", "signal"]),
        None => unit.keyword(call, "timeout").is_none() && !unit.has_splat(call),
    };
    // A script's own short name for its steps is no tool that a model uses.
    let name = unit.syntax.child(function, "name").map_or("", |name| unit.text(name));
    let text = unit.whole().to_ascii_lowercase();
    let of_agent = ["agent", "llm", "tool"].iter().any(|word| text.contains(word))
        && !["run", "exec", "sh", "cmd", "execute", ""].contains(&name);
    plain && shell && endless && of_agent && !service::wrapped(unit, call, WRAPPERS)
}
