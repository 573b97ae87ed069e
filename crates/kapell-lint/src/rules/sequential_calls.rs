//! Agents and models that are asked one after the other, though none needs what another one said.

mod crews; // tasks of a crew that take nothing of each other
mod steps; // steps of a graph that take nothing of each other

use kapell_view::audit::{Confidence, Severity};

use super::await_in_loop::{WANTED, remembers};
use crate::{
    code::{
        Id, Language, Service, Unit,
        guards::{self, has_word},
        programs,
        service::{self, Methods},
    },
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule, names},
    rules::names::words,
};

/// See `docs/rules/sequential-calls.md`.
pub(super) static RULE: Rule = Rule {
    name: "sequential-calls",
    summary: "calls of models or agents that need nothing of each other are awaited one after the other",
    group: Group::Code,
    anti_pattern: Some(AntiPattern::Sequential),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/sequential-calls.md"),
    check,
};

/// As many calls are worth it.
const WORTH: usize = 2;

/// How words of calls begin that change something, or look at what another one changed: their order may matter though no name says so.
const CHANGES: &[&str] = &[
    "fix",
    "edit",
    "write",
    "implement",
    "code",
    "commit",
    "apply",
    "deploy",
    "create",
    "update",
    "delete",
    "save",
    "send",
    "publish",
    "test",
    "verify",
    "refactor",
    "install",
    "setup",
    "init",
    "start",
    "migrate",
    "build",
    "insert",
    "execute",
    "warm",
    "login",
    "connect",
    "next",
    "step",
    "turn",
    "retry",
    "again",
    "reset",
];

/// How such words begin in turn.
const AGAIN: &[&str] = &["re", "un", "pre", "auto", "hot", "bug"];

/// A statement that waits for one call and keeps what it answers.
#[derive(Debug, Clone, Copy)]
struct Asked {
    call: Id,
    name: Id,
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    repository.code.iter().for_each(|unit| crews::check(unit, report));
    let methods = Methods::new(&repository.code);
    repository.code.iter().for_each(|unit| steps::check(repository, &methods, unit, report));
    for unit in repository.code.iter().filter(|unit| unit.whole().contains("await ")) {
        for block in unit.syntax.of_kind(&["block", "statement_block"]) {
            for run in runs(&methods, unit, block) {
                tell(unit, &run, report);
            }
        }
    }
}

/// Tells whether a name has a word that changes something, or looks at what was changed.
fn is_change(name: &str) -> bool {
    words(name).iter().any(|word| CHANGES.iter().any(|change| word.starts_with(change)))
}

fn tell(unit: &Unit, run: &[Asked], report: &mut Report<'_>) {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
    let callees = run.iter().filter_map(|asked| unit.callee(asked.call)).map(|callee| unit.text(callee));
    let message = format!(
        "{}{} are awaited one after the other, and none needs what another one answers",
        names(callees),
        service::place_name(unit, first.call),
    );
    let hint = match unit.language {
        Language::Python => "wait for them together: `a, b = await asyncio.gather(...)`",
        _ => "wait for them together: `const [a, b] = await Promise.all([...])`",
    };
    report
        .add(unit.file, unit.span(first.call), message)
        .hint(hint)
        .also(unit.file, unit.span(last.call), "the last of them")
        .done();
}

/// Finds the statements of a block, one behind the other, that wait for models and agents and need nothing of each other.
fn runs(methods: &Methods<'_>, unit: &Unit, block: Id) -> Vec<Vec<Asked>> {
    let (mut found, mut run): (Vec<Vec<Asked>>, Vec<Asked>) = (Vec::new(), Vec::new());
    for statement in unit.syntax.children(block).filter(|&id| !matches!(unit.kind(id), "{" | "}")) {
        let next = asked(unit, statement).filter(|next| reaches(methods, unit, next.call));
        // Who reads on what an earlier one answered has to wait for it.
        let needs = next.is_some_and(|next| run.iter().any(|before| needs(unit, next.call, before.name)));
        if needs || next.is_none() {
            found.push(std::mem::take(&mut run));
        }
        run.extend(next);
    }
    found.push(run);
    let keeps = |run: &[Asked]| run.iter().any(|asked| keeps(unit, asked.call));
    found.retain(|run| run.len() >= WORTH && differ(unit, run) && !wanted(unit, block, run) && !keeps(run));
    found
}

/// Reads `const answer = await ask(...)` and `answer = await ask(...)`.
fn asked(unit: &Unit, statement: Id) -> Option<Asked> {
    let only = |id: Id, kind: &str| {
        let mut inner = unit.syntax.children(id).filter(|&id| unit.kind(id) == kind);
        inner.next().filter(|_| inner.next().is_none())
    };
    let (name, value) = match unit.kind(statement) {
        "lexical_declaration" => {
            let bound = only(statement, "variable_declarator")?;
            (unit.syntax.child(bound, "name")?, unit.syntax.child(bound, "value")?)
        }
        "expression_statement" => {
            let bound = only(statement, "assignment")?;
            (unit.syntax.child(bound, "left")?, unit.syntax.child(bound, "right")?)
        }
        _ => return None,
    };
    let plain = unit.kind(name) == "identifier" && matches!(unit.kind(value), "await" | "await_expression");
    let call = unit.syntax.children(value).nth(1).filter(|_| plain)?;
    let one =
        unit.syntax.below(value).filter(|&id| matches!(unit.kind(id), "await" | "await_expression")).count();
    // The word itself is a node of that kind, too.
    let call_like = unit.is_call(call) && one <= 1;
    call_like.then_some(Asked { call, name })
}

/// Tells whether a call asks a model or an agent, and neither changes anything nor remembers.
fn reaches(methods: &Methods<'_>, unit: &Unit, call: Id) -> bool {
    let callee = unit.callee(call).map_or("", |callee| unit.text(callee));
    let begins = |word: &str| CHANGES.iter().any(|change| word.starts_with(change));
    // `rewrite` and `autofix` do, `return` does not.
    let again = |word: &str| {
        let rest = AGAIN.iter().find_map(|start| word.strip_prefix(start));
        !word.starts_with("return") && rest.is_some_and(begins)
    };
    let changes =
        words(callee).iter().any(|word| begins(word) || again(word)) && !callee.ends_with(".create");
    let asks = || methods.asks(unit, call);
    !changes && !remembers(unit, call) && programs::agent(unit, call).is_none() && asks()
}

fn needs(unit: &Unit, call: Id, name: Id) -> bool {
    has_word(unit.text(call), unit.text(name))
}

/// Words in names of what calls write to and read from, besides what remembers.
const SHARED: &[&str] =
    &["ctx", "board", "blackboard", "deps", "messages", "scratchpad", "transcript", "store"];

/// Methods that change what they are called on.
const KEEPING: &[&str] =
    &["append", "push", "extend", "add", "update", "set", "insert", "unshift", "setdefault"];

/// Tells whether a call is given what others may write to, or is a method that keeps something in its object: the next one may
/// read it there.
fn keeps(unit: &Unit, call: Id) -> bool {
    let named = unit.syntax.child(call, "arguments").map(|arguments| unit.syntax.below(arguments));
    let is_shared = |id: Id| {
        let plain = matches!(unit.kind(id), "identifier" | "shorthand_property_identifier");
        let key = unit.syntax.child(unit.syntax[id].parent, "name") == Some(id);
        plain && !key && words(unit.text(id)).iter().any(|word| SHARED.contains(&&**word))
    };
    // What a model is asked over its own client stays as it is.
    let sent = service::of_call(unit, call) == Some(Service::Model);
    let bound =
        ["assignment", "augmented_assignment", "assignment_expression", "augmented_assignment_expression"];
    let writes = |function: Id| {
        let mut bound = unit.syntax.below(function).filter(|&id| bound.contains(&unit.kind(id)));
        bound.any(|id| {
            let left = unit.syntax.child(id, "left").map_or("", |left| unit.text(left));
            left.starts_with("self.") || left.starts_with("this.")
        })
    };
    named.is_some_and(|mut named| !sent && named.any(is_shared))
        || service::own_method(unit, call).is_some_and(writes)
        || unit.called(call).is_some_and(|function| writes_to_parameter(unit, function))
}

/// Tells whether a function changes what it is given: a field of a parameter, or by a method of it.
fn writes_to_parameter(unit: &Unit, function: Id) -> bool {
    let Some(parameters) = unit.syntax.child(function, "parameters") else { return false };
    let is_name = |id: &Id| unit.kind(*id) == "identifier";
    let names: Vec<&str> = unit.syntax.below(parameters).filter(is_name).map(|id| unit.text(id)).collect();
    let of = |text: &str| {
        names.iter().any(|name| text.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', '['])))
    };
    unit.syntax.below(function).any(|id| match unit.kind(id) {
        "assignment"
        | "augmented_assignment"
        | "assignment_expression"
        | "augmented_assignment_expression" => {
            unit.syntax.child(id, "left").is_some_and(|left| of(unit.text(left)))
        }
        "call" | "call_expression" => {
            let callee = unit.callee(id).map_or("", |callee| unit.text(callee));
            of(callee) && KEEPING.contains(&unit.callee_name(id))
        }
        _ => false,
    })
}

/// Tells whether these are different agents or functions: the same one may go on from what it was told before.
fn differ(unit: &Unit, run: &[Asked]) -> bool {
    let mut callees: Vec<&str> =
        run.iter().filter_map(|asked| unit.callee(asked.call)).map(|id| unit.text(id)).collect();
    let all = callees.len();
    callees.sort_unstable();
    callees.dedup();
    callees.len() == all
}

/// Tells whether somebody wants one after the other, by a word in the block or above it.
fn wanted(unit: &Unit, block: Id, run: &[Asked]) -> bool {
    let function = run.first().map_or(block, |asked| unit.function_of(asked.call));
    let mut text = guards::code(unit, function);
    for comment in unit.syntax.below(function).filter(|&id| unit.kind(id) == "comment") {
        text.push_str(&unit.text(comment).to_ascii_lowercase());
    }
    WANTED.iter().any(|word| text.contains(word)) || text.contains("semaphore") || text.contains("sleep(")
}
