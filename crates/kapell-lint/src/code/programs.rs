//! Agents that code starts as programs: `claude -p`, `codex exec`.

use super::{syntax::Id, unit::Unit};

/// Programs that are agents, and what makes each work alone.
const AGENTS: &[(&str, &[&str])] = &[
    ("claude", &["-p", "--print"]),
    ("codex", &["exec"]),
    ("gemini", &["-p", "--prompt", "--yolo"]),
    ("aider", &["--message", "-m", "--message-file"]),
    ("opencode", &["run"]),
    ("goose", &["run"]),
    ("cursor-agent", &["-p", "--print"]),
    ("qwen", &["-p", "--prompt"]),
];

/// What starts a program.
const STARTS: &[&str] = &[
    "subprocess.run",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.Popen",
    "asyncio.create_subprocess_exec",
    "anyio.run_process",
    "anyio.open_process",
    "trio.run_process",
    "child_process.spawn",
    "child_process.spawnSync",
    "child_process.execFile",
    "child_process.execFileSync",
    "cross-spawn",
    "Bun.spawn",
    "Bun.spawnSync",
    "execa",
    "execa.execa",
    "execa.execaSync",
    "execa.$",
    "zx.$",
    "bun.$",
    "Bun.$",
];

/// Returns the agent that a call starts to work alone.
#[must_use]
pub fn agent(unit: &Unit, call: Id) -> Option<&'static str> {
    let path = unit.path(unit.callee(call)?)?.text;
    if !STARTS.contains(&path.trim_start_matches("node:")) {
        return None;
    }
    let mut given = Vec::new();
    for arg in unit.args(call).iter().filter(|arg| arg.name.is_none()) {
        texts(unit, arg.value, 3, &mut given);
    }
    if path.ends_with('$') {
        given = template(unit, call);
    }
    let is = |known: &str| given.contains(&known);
    AGENTS
        .iter()
        .find(|(agent, alone)| is(agent) && alone.iter().any(|flag| is(flag)))
        .map(|(agent, _)| *agent)
}

/// Returns the words, as far as they are texts, of the program that a call starts.
#[must_use]
pub fn words(unit: &Unit, call: Id) -> Option<Vec<&str>> {
    let path = unit.path(unit.callee(call)?)?.text;
    let known = STARTS.contains(&path.trim_start_matches("node:"));
    let mut given = Vec::new();
    for arg in unit.args(call).iter().filter(|arg| known && arg.name.is_none()) {
        texts(unit, arg.value, 3, &mut given);
    }
    known.then_some(given)
}

/// Finds the first agent that is started within `id`, or in functions of the file that it calls.
#[must_use]
pub fn started(unit: &Unit, id: Id, steps: u32) -> Option<(Id, &'static str)> {
    unit.calls_in(id).find_map(|call| {
        let inside = || {
            let function =
                unit.function(unit.callee_name(call)).filter(|&own| !unit.syntax.holds(own, call))?;
            started(unit, function, steps.checked_sub(1)?).map(|(_, agent)| agent)
        };
        agent(unit, call).or_else(inside).map(|agent| (call, agent))
    })
}

/// Returns the words of a command that is written as a template: `$`claude -p ${prompt}``.
fn template(unit: &Unit, call: Id) -> Vec<&str> {
    let command = unit.syntax.child(call, "arguments").map_or("", |template| unit.text(template));
    command
        .trim_matches('`')
        .split_whitespace()
        .take_while(|word| !word.starts_with(['|', '&', ';']))
        .collect()
}

/// Collects the texts in an expression, and in what its names are bound to.
fn texts<'a>(unit: &'a Unit, id: Id, hops: u32, given: &mut Vec<&'a str>) {
    let Some(hops) = hops.checked_sub(1) else { return };
    for node in std::iter::once(id).chain(unit.syntax.below(id)) {
        match unit.kind(node) {
            "string" => given.push(unit.text(node).trim_matches(['"', '\''])),
            "identifier" | "attribute" | "member_expression" => {
                for &value in unit.values(node, unit.text(node)) {
                    if !unit.syntax.holds(value, node) {
                        texts(unit, value, hops, given);
                    }
                }
            }
            _ => {}
        }
    }
}
