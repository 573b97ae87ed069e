//! As many calls at once as there happen to be items.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{
        Id, Language, Service, Unit,
        service::{self, Methods},
    },
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// The rule.
pub static RULE: Rule = Rule {
    name: "unbounded-fan-out",
    summary: "calls of models or agents started all at once, with no bound on how many",
    group: Group::Code,
    anti_pattern: Some(AntiPattern::NoTimeout),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/unbounded-fan-out.md"),
    check,
};

/// Words of what bounds a fan-out, which may be made far from it. A file that has one is taken to know what it does.
const BOUNDS: &[&str] = &[
    "semaphore",
    "limiter",
    "p-limit",
    "plimit",
    "p-map",
    "pmap",
    "bottleneck",
    "throttle",
    "p-queue",
    "pqueue",
    "rate_limit",
    "ratelimit",
    "rate limit",
    "max_parallel",
    "maxparallel",
    "poolexecutor",
    "pool(",
    "async-pool",
    "asyncpool",
    "promise-pool",
    "promisepool",
];

/// Words of what bounds it right there.
const NEAR: &[&str] = &["concurren", "chunk", "batch", "islice"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let methods = Methods::new(&repository.code, &repository.files);
    for unit in repository.code.iter() {
        let text = unit.whole().to_ascii_lowercase();
        if BOUNDS.iter().any(|word| text.contains(word)) {
            continue;
        }
        for call in unit.calls().filter(|&call| gathers(unit, call)) {
            let Some((body, items)) = fanned(unit, call) else { continue };
            if bounded(unit, items) {
                continue;
            }
            let around = unit.text(unit.function_of(call)).to_ascii_lowercase();
            if NEAR.iter().any(|word| around.replace("_batch(", "(").contains(word)) {
                continue;
            }
            let Some((reached, what)) = methods.reached(unit, body) else { continue };
            let (gather, callee) = (unit.callee(call), unit.callee(reached));
            let text = |id: Option<Id>| id.map_or("", |id| unit.text(id));
            let message = format!(
                "`{}`{} starts one {} call (`{}`) for every item of `{}` at once",
                text(gather),
                service::place_name(unit, call),
                what.name(),
                text(callee),
                short(unit.text(items)),
            );
            let hint = match unit.language {
                Language::Python => "take an `asyncio.Semaphore(8)` around each call",
                _ => "bound it, for example with `pLimit(8)`",
            };
            let mut draft = report.add(unit.file, unit.span(call), message).hint(hint);
            if matches!(what, Service::Http(_)) {
                draft = draft.severity(Severity::Low);
            }
            draft.also(unit.file, unit.span(reached), "this is what runs for every item").done();
        }
    }
}

fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > 40 {
        line.chars().take(40).collect::<String>() + "…"
    } else {
        line.to_owned()
    }
}

/// Tells whether a call waits for many others.
pub(super) fn gathers(unit: &Unit, call: Id) -> bool {
    let path = unit.callee(call).and_then(|callee| unit.path(callee));
    path.is_some_and(|path| {
        matches!(
            path.text.as_str(),
            "asyncio.gather"
                | "asyncio.as_completed"
                | "asyncio.wait"
                | "Promise.all"
                | "Promise.allSettled"
                | "Promise.any"
        )
    })
}

/// Finds what runs for every item, and the items.
pub(super) fn fanned(unit: &Unit, gather: Id) -> Option<(Id, Id)> {
    let first = unit.args(gather).first()?.value;
    let inner = if unit.kind(first) == "list_splat" { unit.syntax.children(first).nth(1)? } else { first };
    each(unit, unit.value(inner)?)
}

fn each(unit: &Unit, many: Id) -> Option<(Id, Id)> {
    match unit.kind(many) {
        "list_comprehension" | "generator_expression" => {
            let body = unit.syntax.child(many, "body")?;
            let clause = unit.syntax.children(many).find(|&child| unit.kind(child) == "for_in_clause")?;
            Some((body, unit.syntax.child(clause, "right")?))
        }
        "call_expression" if unit.callee_name(many) == "map" => {
            let items = unit.syntax.child(unit.callee(many)?, "object")?;
            let arg = unit.args(many).first()?.value;
            let body = if unit.kind(arg) == "identifier" { unit.function(unit.text(arg))? } else { arg };
            Some((body, items))
        }
        // `tasks = []`, and a loop that appends to it.
        "list" if unit.syntax.children(many).count() == 2 => {
            let name = unit.syntax.child(unit.syntax[many].parent, "left")?;
            let function = unit.function_of(many);
            let pushed = unit.calls_in(function).find(|&call| {
                unit.callee(call)
                    .is_some_and(|callee| unit.text(callee) == format!("{}.append", unit.text(name)))
            })?;
            let around = unit.syntax.around(pushed).find(|&id| unit.kind(id) == "for_statement")?;
            Some((made(unit, around, unit.args(pushed).first()?.value), unit.syntax.child(around, "right")?))
        }
        _ => None,
    }
}

/// Follows `task` to `task = f(x)` in the loop that appends it.
fn made(unit: &Unit, around: Id, pushed: Id) -> Id {
    if unit.kind(pushed) != "identifier" {
        return pushed;
    }
    let assigned = unit.syntax.below(around).filter(|&id| id < pushed && unit.kind(id) == "assignment");
    let own = assigned
        .filter(|&id| unit.syntax.child(id, "left").is_some_and(|left| unit.text(left) == unit.text(pushed)));
    own.last().and_then(|id| unit.syntax.child(id, "right")).unwrap_or(pushed)
}

/// Tells whether the text shows how many items there are.
fn bounded(unit: &Unit, items: Id) -> bool {
    let constant =
        |text: &str| text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if unit.imported(unit.text(items)) || constant(unit.text(items)) {
        return true;
    }
    let Some(value) = unit.value(items) else { return false };
    let text = unit.text(value);
    let listed = matches!(
        unit.kind(value),
        "list"
            | "tuple"
            | "set"
            | "array"
            | "as_expression"
            | "dictionary"
            | "object"
            | "satisfies_expression"
    );
    let grows = || {
        let name = unit.text(items);
        ["append(", "push(", "extend("].iter().any(|verb| unit.whole().contains(&format!("{name}.{verb}")))
    };
    let counted = text.starts_with("range(")
        && text.trim_matches(|c: char| !c.is_ascii_digit()).len() == text.len() - 7;
    (listed && !grows())
        || counted
        || text.contains("[:")
        || text.contains(".slice(")
        || object_of_literal(unit, value)
}

/// `PROVIDERS.items()`, `Object.entries(PROVIDERS)` where the text shows all of them.
fn object_of_literal(unit: &Unit, value: Id) -> bool {
    if !matches!(unit.kind(value), "call" | "call_expression") {
        return false;
    }
    let object = unit.callee(value).and_then(|callee| unit.syntax.child(callee, "object"));
    let given = unit.args(value).first().map(|arg| arg.value);
    [object, given].into_iter().flatten().any(|id| {
        unit.kind(id) == "identifier"
            && unit
                .value(id)
                .is_some_and(|value| matches!(unit.kind(value), "dictionary" | "object" | "list" | "array"))
    })
}
