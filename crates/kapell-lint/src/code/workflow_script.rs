//! Scripts of dynamic workflows: which agents their `agent()` calls start, in which order, and who reads what comes back.

mod apart; // who works apart, and who writes one file
mod dropped; // agents that failed and are left out of what decides
mod endless; // loops that only agents end
mod unheard; // answers that are thrown away

use kapell_spec::finding::Span;

use super::{Id, Language, Unit};
use crate::files::FileId;
pub use apart::Clash;
pub use dropped::Dropped;
pub use unheard::Unheard;

/// An agent that a script starts by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its name.
    pub name: String,
    /// Where it is named.
    pub span: Span,
}

/// What a script keeps of what an agent brings back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The name that it is bound to.
    pub name: String,
    /// Where that name stands.
    pub span: Span,
}

/// A script of a dynamic workflow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// The agents that it starts by names that stand there as they are.
    pub started: Vec<Started>,
    /// Rows of agents that only look, each awaited after the one before, of which none takes what another one brought.
    pub in_turn: Vec<Vec<Kept>>,
    /// What agents that only look brought back, and nothing reads.
    pub unread: Vec<Kept>,
    /// Loops over a list that await an agent for each item, one that only looks or keeps to its item, and hand none of them what
    /// another one brought.
    pub item_by_item: Vec<Span>,
    /// Loops around agents that nothing but what an agent says ends.
    pub endless: Vec<Span>,
    /// Files that each of several agents writes at the same time.
    pub clashes: Vec<Clash>,
    /// Agents whose answers it gives a shape, and throws away.
    pub unheard: Vec<Unheard>,
    /// Lists of answers without those of agents that failed, by which it decides.
    pub dropped: Vec<Dropped>,
}

/// Keys by which a call names its agent.
const KEYS: &[&str] = &["agentType", "subagent_type", "agent_type"];

/// Verbs of who changes something, in the order that an agent is given.
const CHANGES: &[&str] = &[
    "write",
    "edit",
    "fix",
    "implement",
    "create",
    "commit",
    "apply",
    "update",
    "rewrite",
    "refactor",
    "migrate",
    "delete",
    "remove",
    "add",
    "rename",
    "move",
    "install",
    "deploy",
    "publish",
    "push",
    "merge",
    "mend",
    "repair",
    "build",
    "generate",
    "post",
    "open",
    "save",
    "run",
    "execute",
    "start",
    "set",
    "port",
    "bump",
    "format",
];

impl Script {
    /// Reads a script. One that is too odd to be read has nothing.
    #[must_use]
    pub fn read(file: FileId, text: &str) -> Self {
        let Some(unit) = Unit::read(file, Language::Tsx, text) else { return Self::default() };
        Self {
            started: started(&unit),
            in_turn: in_turn(&unit),
            unread: unread(&unit),
            item_by_item: item_by_item(&unit),
            endless: endless::endless(&unit),
            clashes: apart::clashes(&unit),
            unheard: unheard::unheard(&unit),
            dropped: dropped::dropped(&unit),
        }
    }
}

fn started(unit: &Unit) -> Vec<Started> {
    let mut found = Vec::new();
    for call in unit.calls().filter(|&call| unit.callee_name(call) == "agent") {
        let named = unit
            .args(call)
            .into_iter()
            .find_map(|arg| KEYS.iter().find_map(|key| unit.object_key(arg.value, key).flatten()));
        let Some(value) = named.and_then(|value| unit.value(value)) else { continue };
        let text = unit.text(value);
        let inner = text.get(1..text.len().saturating_sub(1)).filter(|_| unit.kind(value) == "string");
        if let Some(name) = inner.filter(|name| !name.is_empty()) {
            found.push(Started { name: name.to_owned(), span: unit.span(value) });
        }
    }
    found
}

/// A statement `const x = await agent(..)`.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// The name that the answer is bound to.
    name: Id,
    call: Id,
}

/// Reads a statement as one that awaits an agent and keeps what it brings.
fn waits(unit: &Unit, statement: Id) -> Option<Waits> {
    if unit.kind(statement) != "lexical_declaration" {
        return None;
    }
    let mut all = unit.syntax.children(statement).filter(|&id| unit.kind(id) == "variable_declarator");
    let declared = all.next().filter(|_| all.next().is_none())?;
    let (name, value) = (unit.syntax.child(declared, "name")?, unit.syntax.child(declared, "value")?);
    let call = unit.syntax.children(value).find(|&id| unit.kind(id) == "call_expression")?;
    let awaited = unit.kind(value) == "await_expression" && unit.callee_name(call) == "agent";
    (awaited && unit.kind(name) == "identifier").then_some(Waits { name, call })
}

/// Finds rows of neighbouring statements that each await an agent, and take nothing of each other.
fn in_turn(unit: &Unit) -> Vec<Vec<Kept>> {
    let mut rows: Vec<Vec<Kept>> = Vec::new();
    for block in unit.syntax.of_kind(&["program", "statement_block"]) {
        let mut row: Vec<Waits> = Vec::new();
        let silent = |id: Id| {
            let text = unit.text(id);
            matches!(unit.kind(id), "comment" | "{" | "}")
                || text.starts_with("log(")
                || text.starts_with("console.")
        };
        let statements = unit.syntax.children(block).filter(|&id| !silent(id));
        for statement in statements {
            let next = waits(unit, statement).filter(|next| only_looks(unit, next.call));
            let free = next.filter(|next| row.iter().all(|before| !reads(unit, next.call, before.name)));
            if free.is_none() {
                rows.extend(told(unit, &std::mem::take(&mut row)));
            }
            row.extend(next);
        }
        rows.extend(told(unit, &row));
    }
    rows
}

/// Words of an author who wants one after the other.
const IN_ORDER: &[&str] =
    &["sequential", "in sequence", "one at a time", "one by one", "in order", "rate limit", "serially"];

/// Finds loops over a list in which each item waits for the agent of the one before.
fn item_by_item(unit: &Unit) -> Vec<Span> {
    let lower = unit.whole().to_ascii_lowercase();
    if IN_ORDER.iter().any(|word| lower.contains(word)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for each in unit.syntax.of_kind(&["for_in_statement"]) {
        let Some(body) = unit.syntax.child(each, "body") else { continue };
        let mut agents = unit.calls_in(body).filter(|&call| unit.callee_name(call) == "agent");
        let Some(call) = agents.next().filter(|_| agents.next().is_none()) else { continue };
        let leaves =
            |id: Id| matches!(unit.kind(id), "break_statement" | "return_statement" | "throw_statement");
        let others = unit
            .calls_in(body)
            .any(|call| matches!(unit.callee_name(call), "parallel" | "pipeline" | "workflow"));
        let changed = changed(unit, body);
        let free = unit
            .syntax
            .below(call)
            .all(|id| unit.kind(id) != "identifier" || !changed.contains(&unit.text(id)));
        if unit.awaited(call)
            && (only_looks(unit, call) || apart::keeps_apart(unit, each, call))
            && free
            && !others
            && !unit.syntax.below(body).any(leaves)
        {
            found.push(unit.span(call));
        }
    }
    found
}

/// Methods that only read what they are called on.
const READS: &[&str] = &[
    "join",
    "map",
    "filter",
    "slice",
    "concat",
    "includes",
    "find",
    "some",
    "every",
    "at",
    "indexOf",
    "flatMap",
    "reduce",
    "keys",
    "values",
    "entries",
    "get",
    "has",
    "trim",
    "split",
    "replace",
    "startsWith",
    "endsWith",
    "toString",
];

/// Returns the names that a part of a script changes: they are set anew, or something is put into what they stand for.
fn changed(unit: &Unit, part: Id) -> Vec<&str> {
    let set = unit.syntax.below(part).filter_map(|id| match unit.kind(id) {
        "assignment_expression" | "augmented_assignment_expression" => unit.syntax.child(id, "left"),
        "update_expression" => unit.syntax.child(id, "argument"),
        "call_expression" if !READS.contains(&unit.callee_name(id)) => {
            unit.callee(id).and_then(|callee| unit.syntax.child(callee, "object"))
        }
        _ => None,
    });
    set.map(|id| unit.text(id).split(['.', '[']).next().unwrap_or_default()).collect()
}

/// Returns a row that is told: two at least, and each of them is read later on.
fn told(unit: &Unit, row: &[Waits]) -> Option<Vec<Kept>> {
    let read = |waits: &Waits| uses(unit, unit.text(waits.name)) > 1;
    (row.len() > 1 && row.iter().all(read)).then(|| row.iter().map(|waits| kept(unit, waits.name)).collect())
}

/// Finds what agents bring back and nothing reads: a name of its own, or one of those that several are taken apart into.
fn unread(unit: &Unit) -> Vec<Kept> {
    let mut found = Vec::new();
    for declared in unit.syntax.of_kind(&["variable_declarator"]) {
        let (Some(name), Some(value)) =
            (unit.syntax.child(declared, "name"), unit.syntax.child(declared, "value"))
        else {
            continue;
        };
        let call = unit.syntax.children(value).find(|&id| unit.kind(id) == "call_expression");
        let Some(call) = call.filter(|_| unit.kind(value) == "await_expression") else { continue };
        match (unit.kind(name), unit.callee_name(call)) {
            ("identifier", "agent") => found.extend(unread_of(unit, name, call)),
            ("array_pattern", "parallel" | "all") => {
                let names =
                    unit.syntax.children(name).filter(|&id| !matches!(unit.kind(id), "[" | "]" | ","));
                let list =
                    unit.args(call).first().map(|arg| arg.value).filter(|&id| unit.kind(id) == "array");
                let Some(list) = list else { continue };
                let parts = unit.syntax.children(list);
                let parts = parts.filter(|&id| !matches!(unit.kind(id), "[" | "]" | "," | "comment"));
                for (name, part) in names.zip(parts).filter(|(name, _)| unit.kind(*name) == "identifier") {
                    let agent = |&call: &Id| unit.callee_name(call) == "agent";
                    let started = std::iter::once(part)
                        .chain(unit.calls_in(part))
                        .find(|id| unit.kind(*id) == "call_expression" && agent(id));
                    found.extend(started.and_then(|call| unread_of(unit, name, call)));
                }
            }
            _ => {}
        }
    }
    found
}

fn unread_of(unit: &Unit, name: Id, call: Id) -> Option<Kept> {
    let text = unit.text(name);
    (!text.starts_with('_') && uses(unit, text) == 1 && only_looks(unit, call)).then(|| kept(unit, name))
}

fn kept(unit: &Unit, name: Id) -> Kept {
    Kept { name: unit.text(name).to_owned(), span: unit.span(name) }
}

/// Counts where a script has a name.
fn uses(unit: &Unit, name: &str) -> usize {
    let kinds = ["identifier", "shorthand_property_identifier"];
    unit.syntax.of_kind(&kinds).filter(|&id| unit.text(id) == name).count()
}

/// Tells whether a call has a name among what it is given.
fn reads(unit: &Unit, call: Id, name: Id) -> bool {
    let name = unit.text(name);
    unit.syntax.below(call).any(|id| {
        matches!(unit.kind(id), "identifier" | "shorthand_property_identifier") && unit.text(id) == name
    })
}

/// Tells whether an agent is told to find something out, and nothing that changes anything: its order stands there, and no
/// sentence of it begins with such a verb.
fn only_looks(unit: &Unit, call: Id) -> bool {
    let Some(order) = unit.args(call).first().map(|arg| arg.value) else { return false };
    if !matches!(unit.kind(order), "string" | "template_string") {
        return false;
    }
    let text = unit.text(order).to_ascii_lowercase();
    let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "./".contains(c)));
    // A file that it leaves may be what the next one reads.
    let leaves =
        ["write ", "save ", "store ", "commit", "record it", " into "].iter().any(|word| text.contains(word));
    let verb = words.find(|word| !word.is_empty()).unwrap_or_default();
    !leaves && !CHANGES.contains(&verb)
}
