//! Work that is started for each of several items.

use crate::code::{Id, Language, Unit, programs, service, unit::FUNCTIONS};

/// Work that is started for each of several items.
pub(in crate::rules) struct Fan {
    /// Where.
    pub(in crate::rules) at: Id,
    /// What starts it, for people.
    pub(in crate::rules) by: Id,
    /// What runs for every item.
    pub(in crate::rules) body: Id,
    /// The items.
    pub(in crate::rules) items: Id,
    /// What bounds it.
    pub(in crate::rules) hint: &'static str,
}

/// Calls that run a function for every item, all at once unless they are told how many.
const MAPPERS: &[&str] = &[
    "p-map",
    "bluebird.map",
    "async.map",
    "async.each",
    "async.forEach",
    "async.mapValues",
    "p-settle",
    "p-props",
    "p-filter",
    "p-each",
];

/// Calls that are handed items, and make one call of a model or an agent of each.
const WHOLESALE: &[&str] = &["abatch", "abatch_as_completed", "kickoff_for_each_async", "akickoff_for_each"];

/// Finds what a call starts for every item by itself: `pMap(items, f)`, `mergeMap(f)`, `chain.abatch(items)`.
fn mapped(unit: &Unit, call: Id) -> Option<(Id, Id)> {
    let wholesale = WHOLESALE.contains(&unit.callee_name(call));
    // The others are calls of scripts.
    if !wholesale && unit.language == Language::Python {
        return None;
    }
    let args = unit.args(call);
    let names_bound = |id: Id| {
        let text = unit.text(id).to_ascii_lowercase();
        text.contains("concurren") || unit.kind(id) == "identifier" || unit.kind(id).contains("splat")
    };
    if wholesale {
        let items = unit.keyword(call, "inputs").or(args.first().map(|arg| arg.value))?;
        let told = args.iter().any(|arg| arg.value != items && names_bound(arg.value));
        return (!told).then_some((call, items));
    }
    let path = &*unit.callee_path(call)?.text;
    if MAPPERS.contains(&path) && args.len() >= 2 && !args[2..].iter().any(|arg| names_bound(arg.value)) {
        return Some((function_or(unit, args[1].value), args[0].value));
    }
    let merges = ["mergeMap", "flatMap"].contains(&unit.callee_name(call)) && path.starts_with("rxjs");
    if !merges || args.len() != 1 {
        return None;
    }
    // `from(items).pipe(mergeMap(f))`
    let mut around = unit.syntax.around(call).filter(|&id| unit.kind(id) == "call_expression");
    let pipe = around.find(|&id| unit.callee_name(id) == "pipe")?;
    let source = unit.syntax.child(unit.callee(pipe)?, "object")?;
    let source = unit.value(source).filter(|&id| unit.kind(id) == "call_expression")?;
    let items = unit.args(source).first().filter(|_| unit.callee_name(source) == "from")?.value;
    Some((function_or(unit, args[0].value), items))
}

/// Returns the function of the file that an expression names, or the expression.
fn function_or(unit: &Unit, id: Id) -> Id {
    let named = matches!(unit.kind(id), "identifier" | "attribute" | "member_expression");
    let name = named.then(|| unit.text(id).rsplit('.').next()).flatten();
    name.and_then(|name| unit.function(name)).unwrap_or(id)
}

/// Finds calls in a loop whose promise nobody waits for.
fn dropped(unit: &Unit, call: Id) -> bool {
    if unit.language == Language::Python || !service::is_known_to_ask(unit, call) {
        return false;
    }
    let mut at = call;
    for around in unit.syntax.around(call) {
        match unit.kind(around) {
            // `run(x).then(f)`
            "member_expression" if unit.syntax.child(around, "object") == Some(at) => {}
            "call_expression"
                if unit.callee(around) == Some(at)
                    && ["then", "catch", "finally"].contains(&unit.callee_name(around)) => {}
            "unary_expression" if unit.text(around).starts_with("void") => {}
            "expression_statement" => return true,
            _ => return false,
        }
        at = around;
    }
    false
}

/// Words without which code of Python starts nothing for each of several items.
const STARTS: &[&str] =
    &["gather", "_completed", "wait(", "create_task", "start_soon", "Thread", "Popen", "abatch", "_for_each"];

/// Tells whether a file may start anything so: most files do not, and need not be gone through.
fn may_fan(unit: &Unit) -> bool {
    unit.language != Language::Python || STARTS.iter().any(|word| unit.whole().contains(word))
}

/// Finds all fans of a file.
pub(in crate::rules) fn fans(unit: &Unit) -> Vec<Fan> {
    if !may_fan(unit) {
        return Vec::new();
    }
    let gathered = match unit.language {
        Language::Python => "take an `asyncio.Semaphore(8)` around each call",
        _ => "bound it, for example with `pLimit(8)`",
    };
    let mut found = Vec::new();
    for call in unit.calls() {
        let Some(callee) = unit.callee(call) else { continue };
        if gathers(unit, call) {
            let fanned = fanned(unit, call);
            found.extend(fanned.map(|(body, items)| Fan {
                at: call,
                by: callee,
                body,
                items,
                hint: gathered,
            }));
            continue;
        }
        if let Some((body, items)) = mapped(unit, call) {
            let hint = match unit.language {
                Language::Python => {
                    "say how many may run at once, such as `config={\"max_concurrency\": 8}`, or take a semaphore"
                }
                _ => "say how many may run at once, such as `{ concurrency: 8 }`",
            };
            found.push(Fan { at: call, by: callee, body, items, hint });
            continue;
        }
        let started = match unit.callee_name(call) {
            _ if dropped(unit, call) || left_running(unit, call) => Some(call),
            // A group of tasks ends with its last one.
            "create_task" | "start_soon" if grouped(unit, call) => {
                unit.args(call).first().map(|arg| arg.value)
            }
            "Thread" => unit.keyword(call, "target"),
            _ => None,
        };
        let Some(started) = started else { continue };
        let body = function_or(unit, started);
        let hint = match unit.callee_name(call) {
            "Thread" => "hand them to a `ThreadPoolExecutor(max_workers=8)`",
            _ => gathered,
        };
        found.extend(looped(unit, call).map(|(_, items)| Fan { at: call, by: callee, body, items, hint }));
    }
    found
}

/// Comprehensions of Python.
const COMPREHENSIONS: &[&str] =
    &["list_comprehension", "set_comprehension", "dictionary_comprehension", "generator_expression"];

/// Finds the nearest loop around a node within its function, and the items it takes one by one: a `forEach` is one, too.
fn looped(unit: &Unit, at: Id) -> Option<(Id, Id)> {
    for id in unit.syntax.around(at) {
        let kind = unit.kind(id);
        if FUNCTIONS.contains(&kind) {
            let call = unit.syntax.around(id).nth(1)?;
            let each = unit.kind(call) == "call_expression" && unit.callee_name(call) == "forEach";
            return each.then(|| Some((call, unit.syntax.child(unit.callee(call)?, "object")?))).flatten();
        }
        let items = match kind {
            "for_statement" | "for_in_statement" => unit.syntax.child(id, "right"),
            kind if COMPREHENSIONS.contains(&kind) => unit
                .syntax
                .children(id)
                .find(|&child| unit.kind(child) == "for_in_clause")
                .and_then(|clause| unit.syntax.child(clause, "right")),
            _ => None,
        };
        if items.is_some() {
            return items.map(|items| (id, items));
        }
    }
    None
}

/// Tells whether a call starts an agent as a program and goes on without waiting for it, in the loop that starts it.
fn left_running(unit: &Unit, call: Id) -> bool {
    let path = unit.callee(call).and_then(|callee| unit.path(callee));
    let goes_on = path.is_some_and(|path| {
        let path = path.text.trim_start_matches("node:");
        ["subprocess.Popen", "child_process.spawn", "cross-spawn", "Bun.spawn"].contains(&path)
    });
    let waits = |(around, _): (Id, Id)| {
        let text = unit.text(around);
        [".wait(", ".communicate(", "poll(", "await ", "join("].iter().any(|word| text.contains(word))
    };
    goes_on && programs::agent(unit, call).is_some() && looped(unit, call).is_some_and(|found| !waits(found))
}

/// Tells whether a task is started in a group that waits for all of its tasks.
fn grouped(unit: &Unit, call: Id) -> bool {
    ["taskgroup", "task_group", "nursery"].iter().any(|group| service::wrapped(unit, call, &[group]))
}

/// Tells whether a call waits for many others.
pub(in crate::rules) fn gathers(unit: &Unit, call: Id) -> bool {
    // What is imported may go by another name here.
    let name = unit.callee_name(call);
    let may =
        ["gather", "as_completed", "wait", "all", "allSettled", "any"].contains(&name) || unit.imported(name);
    may && unit.callee_path(call).is_some_and(|path| {
        matches!(
            path.text.as_str(),
            "asyncio.gather"
                | "asyncio.as_completed"
                | "asyncio.wait"
                | "Promise.all"
                | "Promise.allSettled"
                | "Promise.any"
                | "tqdm.asyncio.tqdm_asyncio.gather"
                | "tqdm.asyncio.tqdm_asyncio.as_completed"
                | "tqdm.asyncio.tqdm.gather"
                | "tqdm.asyncio.tqdm.as_completed"
        )
    })
}

/// Finds what runs for every item, and the items.
pub(in crate::rules) fn fanned(unit: &Unit, gather: Id) -> Option<(Id, Id)> {
    let first = unit.args(gather).first()?.value;
    let inner = if unit.kind(first) == "list_splat" { unit.syntax.children(first).nth(1)? } else { first };
    each(unit, unit.value(inner)?)
}

pub(in crate::rules) fn each(unit: &Unit, many: Id) -> Option<(Id, Id)> {
    match unit.kind(many) {
        "list_comprehension" | "generator_expression" => {
            let body = unit.syntax.child(many, "body")?;
            let clause = unit.syntax.children(many).find(|&child| unit.kind(child) == "for_in_clause")?;
            Some((body, unit.syntax.child(clause, "right")?))
        }
        "dictionary_comprehension" => {
            let body = unit.syntax.child(unit.syntax.child(many, "body")?, "value")?;
            let clause = unit.syntax.children(many).find(|&child| unit.kind(child) == "for_in_clause")?;
            Some((body, unit.syntax.child(clause, "right")?))
        }
        // `map(f, items)`, and the tasks of a dictionary.
        "call" if unit.callee_name(many) == "map" && unit.args(many).len() == 2 => {
            let args = unit.args(many);
            let name = unit.text(args[0].value).rsplit('.').next()?;
            Some((unit.function(name).unwrap_or(args[0].value), args[1].value))
        }
        // `list(map(f, items))`
        "call"
            if !unit.args(many).is_empty()
                && ["list", "tuple", "set", "sorted"].contains(&unit.callee_name(many)) =>
        {
            each(unit, unit.args(many).first()?.value)
        }
        "array" | "list" if unit.syntax.children(many).count() == 3 => {
            let only = unit.syntax.children(many).nth(1)?;
            let spread = matches!(unit.kind(only), "spread_element" | "list_splat");
            each(unit, unit.syntax.children(only).nth(1).filter(|_| spread)?)
        }
        "call" if unit.callee_name(many) == "values" => {
            each(unit, unit.value(unit.syntax.child(unit.callee(many)?, "object")?)?)
        }
        // `Array.from({ length: 6 }, lane)`, `Array.from(items, ask)`
        "call_expression"
            if unit.args(many).len() == 2
                && unit.callee(many).is_some_and(|callee| unit.text(callee) == "Array.from") =>
        {
            let args = unit.args(many);
            let counted = unit.object_key(args[0].value, "length").flatten();
            Some((function_or(unit, args[1].value), counted.unwrap_or(args[0].value)))
        }
        "call_expression" if unit.callee_name(many) == "map" => {
            let items = unit.syntax.child(unit.callee(many)?, "object")?;
            let arg = unit.args(many).first()?.value;
            let body = if unit.kind(arg) == "identifier" { unit.function(unit.text(arg))? } else { arg };
            Some((body, items))
        }
        // `tasks = []`, and a loop that appends to it.
        _ if is_empty(unit, many) => {
            let parent = unit.syntax[many].parent;
            let name = unit.syntax.child(parent, "left").or_else(|| unit.syntax.child(parent, "name"))?;
            let function = unit.function_of(many);
            let pushes = ["append", "push", "add"].map(|verb| format!("{}.{verb}", unit.text(name)));
            let pushed = unit.calls_in(function).find(|&call| {
                unit.callee(call).is_some_and(|callee| pushes.iter().any(|push| push == unit.text(callee)))
            })?;
            let (around, items) = looped(unit, pushed)?;
            Some((made(unit, around, unit.args(pushed).first()?.value), items))
        }
        _ => None,
    }
}

/// Tells whether an expression makes a list or a set of nothing.
fn is_empty(unit: &Unit, many: Id) -> bool {
    match unit.kind(many) {
        "list" | "array" => unit.syntax.children(many).count() == 2,
        "call" => ["list", "set", "deque"].contains(&unit.callee_name(many)) && unit.args(many).is_empty(),
        "new_expression" => ["Set", "Array"].contains(&unit.callee_name(many)) && unit.args(many).is_empty(),
        _ => false,
    }
}

/// Follows `task` to `task = f(x)` in the loop that appends it.
pub(in crate::rules) fn made(unit: &Unit, around: Id, pushed: Id) -> Id {
    if unit.kind(pushed) != "identifier" {
        return pushed;
    }
    let assigned = unit.syntax.below(around).filter(|&id| id < pushed && unit.kind(id) == "assignment");
    let own = assigned
        .filter(|&id| unit.syntax.child(id, "left").is_some_and(|left| unit.text(left) == unit.text(pushed)));
    own.last().and_then(|id| unit.syntax.child(id, "right")).unwrap_or(pushed)
}
