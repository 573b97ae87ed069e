//! Items handled one after the other, though none needs the one before.

mod made; // coroutines that are made in one go

use std::collections::BTreeSet;

use kapell_view::audit::{Confidence, Severity};

use super::unbounded_fan_out;
use crate::{
    code::{
        Id, Language, Service, Transport, Unit, guards, programs,
        service::{self, Methods},
        unit::FUNCTIONS,
    },
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/await-in-loop.md`.
pub(super) static RULE: Rule = Rule {
    name: "await-in-loop",
    summary: "independent items of a loop wait for each other's model or agent calls",
    group: Group::Code,
    anti_pattern: Some(AntiPattern::Sequential),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/await-in-loop.md"),
    check,
};

/// Words of somebody who wants one after the other.
pub(super) const WANTED: &[&str] = &[
    "sequential",
    "in sequence",
    "one at a time",
    "one by one",
    "in order",
    "rate limit",
    "serially",
    "throttle",
    "avoid",
];

/// Words of what remembers from one call to the next.
const REMEMBERS: &[&str] = &["session", "conversation", "history", "thread", "memory", "context", "state"];

/// Calls of Python itself, which only take what another call gives.
const BUILT_IN: &[&str] = &[
    "deque", "list", "tuple", "set", "dict", "sorted", "next", "any", "all", "sum", "len", "str", "print",
    "bool",
];

/// What handles items one after the other.
const LOOPS: &[&str] = &[
    "for_statement",
    "for_in_statement",
    "while_statement",
    "list_comprehension",
    "dictionary_comprehension",
    "set_comprehension",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let methods = Methods::new(&repository.code);
    for unit in repository.code.iter() {
        made::check(unit, &methods, report);
        for each in unit.syntax.of_kind(LOOPS) {
            let Some((call, what)) = waited(&methods, unit, each) else { continue };
            if !independent(unit, each, call) || rewrites(&methods, unit, call) {
                continue;
            }
            let callee = unit.callee(call).map_or("", |callee| unit.text(callee));
            let blocks = !unit.awaited(call);
            let items = parts(unit, each).map_or("", |(_, items, _)| unit.text(items));
            let message = format!(
                "each item of `{items}`{} waits for the {} call `{callee}` of the item before, and does not need it",
                service::place_name(unit, each),
                what.name(),
            );
            let hint = match unit.language {
                _ if blocks => {
                    "hand them to a `ThreadPoolExecutor` with a few workers, or gather asynchronous calls"
                }
                Language::Python => "gather them, with a semaphore that bounds how many run at once",
                _ => "use `Promise.all` over the items, with a bound such as `pLimit(8)`",
            };
            let mut draft = report.add(unit.file, unit.span(call), message).hint(hint);
            // A script that takes its time may be meant to, and of a few items little time is lost.
            if blocks || is_few(unit, each) {
                draft = draft.severity(Severity::Low);
            }
            draft.done();
        }
    }
}

/// So many items that are written out in the text are a few.
const FEW: usize = 3;

/// Tells whether a loop goes over a few items that are written out.
fn is_few(unit: &Unit, each: Id) -> bool {
    let items = parts(unit, each).and_then(|(_, items, _)| unit.value(items));
    let listed = items.filter(|&id| matches!(unit.kind(id), "list" | "tuple" | "set" | "array"));
    listed.is_some_and(|id| {
        let entries = || {
            unit.syntax
                .children(id)
                .filter(|&id| !matches!(unit.kind(id), "(" | ")" | "[" | "]" | "{" | "}" | "," | "comment"))
        };
        entries().count() <= FEW
            && !entries().any(|id| matches!(unit.kind(id), "list_splat" | "spread_element"))
    })
}

/// Calls that read a file whole, and such that write one.
const READS: &[&str] = &["read_text", "read_bytes", "readFile", "readFileSync", "load"];
const WRITES: &[&str] = &["write_text", "write_bytes", "writeFile", "writeFileSync", "dump"];

/// Tells whether what is called for each item reads a file and writes one: it may go on with what it left for the item before.
fn rewrites(methods: &Methods<'_>, unit: &Unit, call: Id) -> bool {
    let own = unit.called(call).map(|function| (unit, function));
    let Some((other, function)) = own.or_else(|| methods.exported(unit, call)) else { return false };
    let calls =
        |names: &[&str]| other.calls_in(function).any(|call| names.contains(&other.callee_name(call)));
    calls(WRITES) && calls(READS)
}

/// Finds the awaited call of a model or an agent that stands in this loop, and in no inner one or function.
fn waited(methods: &Methods<'_>, unit: &Unit, each: Id) -> Option<(Id, Service)> {
    let (_, items, body) = parts(unit, each)?;
    // What comes when it comes is waited for; a list is there.
    let word = |child: &Id| unit.syntax.below(*child).next().is_none();
    let comes = unit.syntax.children(each).filter(word).any(|id| matches!(unit.kind(id), "async" | "await"));
    let listed = ["map", "filter", "entries", "values", "keys"].contains(&unit.callee_name(items));
    if comes && !(listed && unit.language != Language::Python) {
        return None;
    }
    let nearest = |call: Id| {
        unit.syntax
            .around(call)
            .find(|&around| LOOPS.contains(&unit.kind(around)) || FUNCTIONS.contains(&unit.kind(around)))
            == Some(each)
    };
    // What gathers a part of the items bounds how many run at once, and an agent that is started as a program works on
    // the same files as the next one.
    let waits = |call: Id| {
        (unit.awaited(call) || blocks(unit, call))
            && !unbounded_fan_out::gathers(unit, call)
            && programs::agent(unit, call).is_none()
            && !only_makes(unit, call)
            && !BUILT_IN.contains(&unit.callee_name(call))
    };
    let calls: Vec<Id> = unit.calls_in(body).filter(|&call| waits(call) && nearest(call)).collect();
    let mut served =
        calls.iter().filter_map(|&call| methods.reached(unit, call).map(|(_, what)| (call, what)));
    let found = served.find(|&(call, what)| match what {
        Service::Http(_) if !unit.awaited(call) => false,
        Service::Http(Transport::Fetch) => reads(unit, call),
        Service::Http(_) => unit.callee_name(call) == "get" || only_gets(unit, call),
        _ => true,
    });
    let elsewhere = |call| unit.awaited(call).then(|| fetched(methods, unit, call)).flatten();
    found.or_else(|| calls.iter().find_map(|&call| elsewhere(call).map(|what| (call, what))))
}

/// Tells whether a call that nobody awaits takes what a function of the file makes a function of, which others call later.
fn only_makes(unit: &Unit, call: Id) -> bool {
    let gives_function = |function: Id| {
        unit.syntax.below(function).any(|id| {
            let is_value =
                |&child: &Id| unit.kind(child) == "identifier" || FUNCTIONS.contains(&unit.kind(child));
            let value = unit.syntax.children(id).find(is_value);
            unit.kind(id) == "return_statement"
                && unit.function_of(id) == function
                && value.is_some_and(|value| {
                    let own = |own: Id| own != function && unit.syntax.holds(function, own);
                    unit.kind(value) != "identifier" || unit.function(unit.text(value)).is_some_and(own)
                })
        })
    };
    !unit.awaited(call) && unit.calls_in(call).filter_map(|call| unit.called(call)).any(gives_function)
}

/// Words of functions that say themselves how many of their requests go out at once.
const PACED: &[&str] =
    &["throttle", "limiter", "ratelimit", "rate_limit", "rate limit", "semaphore", "limit(", "queue"];

/// How far requests are followed from function to function.
const STEPS: u32 = 3;

/// Tells what a function of another file that is called here asks over HTTP, if all that it does there is to read.
fn fetched(methods: &Methods<'_>, unit: &Unit, call: Id) -> Option<Service> {
    let (other, function) = methods.exported(unit, call)?;
    let mut asked = Vec::new();
    requests(methods, other, function, STEPS, &mut asked);
    let reads = asked.iter().all(|(_, reads)| *reads);
    let found = asked.first().filter(|_| reads).map(|(what, _)| *what)?;
    let mut within = vec![function];
    for _ in 0..STEPS {
        let called = within.iter().flat_map(|&id| other.calls_in(id)).filter_map(|call| other.called(call));
        let called: Vec<Id> = called.filter(|id| !within.contains(id)).collect();
        within.extend(called);
    }
    (!guards::guarded(other, &within, PACED)).then_some(found)
}

/// Collects what a function asks others for, and whether each time it only reads.
fn requests(methods: &Methods<'_>, unit: &Unit, function: Id, steps: u32, asked: &mut Vec<(Service, bool)>) {
    let Some(steps) = steps.checked_sub(1) else { return };
    for call in unit.calls_in(function) {
        match service::of_call(unit, call) {
            Some(what @ Service::Http(Transport::Fetch)) => asked.push((what, reads(unit, call))),
            Some(what @ Service::Http(_)) => asked.push((what, unit.callee_name(call) == "get")),
            Some(what) => asked.push((what, false)),
            None => {
                let plain = unit.callee(call).is_some_and(|callee| unit.kind(callee) == "identifier");
                let own = unit.function(unit.callee_name(call)).filter(|&own| plain && own != function);
                if let Some((other, function)) =
                    own.map(|own| (unit, own)).or_else(|| methods.exported(unit, call))
                {
                    requests(methods, other, function, steps, asked);
                }
            }
        }
    }
}

/// Tells whether a call is one of a function of this file whose requests only read.
fn only_gets(unit: &Unit, call: Id) -> bool {
    let Some(function) = unit.function(unit.callee_name(call)) else { return false };
    let mut asked = unit
        .calls_in(function)
        .filter(|&call| matches!(service::of_call(unit, call), Some(Service::Http(_))))
        .peekable();
    asked.peek().is_some() && asked.all(|call| unit.callee_name(call) == "get")
}

/// What keeps connections open, and nothing of what was said.
const CONNECTIONS: &[&str] = &["aiohttp.ClientSession", "requests.Session", "requests.session", "httpx."];

/// Tells whether a name is that of a session of requests.
fn connects(unit: &Unit, name: Id) -> bool {
    unit.path(name).is_some_and(|path| CONNECTIONS.iter().any(|known| path.text.starts_with(known)))
}

/// Tells whether a `fetch` only reads.
fn reads(unit: &Unit, call: Id) -> bool {
    match *unit.args(call) {
        [_] => true,
        [_, options] => match unit.object_key(options.value, "method") {
            Some(None) => true,
            Some(Some(method)) => unit.text(method).trim_matches(['"', '\'']).eq_ignore_ascii_case("get"),
            None => false,
        },
        _ => false,
    }
}

/// Tells whether a call is one of plain Python, which comes back with its result: in a plain function, and used at once.
fn blocks(unit: &Unit, call: Id) -> bool {
    let used = matches!(
        unit.kind(unit.syntax[call].parent),
        "assignment" | "argument_list" | "expression_statement" | "subscript" | "attribute" | "pair"
    );
    let function = unit.function_of(call);
    unit.language == Language::Python && used && !unit.is_async(function) && !submits(unit, call)
}

/// Tells whether a call only makes or hands over what others will run.
fn submits(unit: &Unit, call: Id) -> bool {
    ["submit", "create_task", "Thread", "Process", "delay", "apply_async", "map"].iter().any(|name| {
        unit.syntax
            .around(call)
            .any(|around| matches!(unit.kind(around), "call") && unit.callee_name(around) == *name)
    })
}

fn independent(unit: &Unit, each: Id, call: Id) -> bool {
    let Some((item, items, body)) = parts(unit, each) else { return false };
    // What a prompt says is no word of who wrote the loop.
    let mut whole = guards::code(unit, each);
    for comment in unit.syntax.below(each).filter(|&id| unit.kind(id) == "comment") {
        whole.push_str(&unit.text(comment).to_ascii_lowercase());
    }
    let above = &unit.whole()[..unit.span(each).start as usize];
    let above: String = above.lines().rev().take(3).collect::<Vec<_>>().join("\n").to_ascii_lowercase();
    let leaves = [
        "break_statement",
        "return_statement",
        "yield",
        "yield_expression",
        "raise_statement",
        "throw_statement",
    ];
    let stays = unit.syntax.below(body).all(|id| !leaves.contains(&unit.kind(id)));
    let tries =
        unit.text(items).starts_with("range(") || whole.contains("attempt") || whole.contains("sleep");
    let ordered = WANTED.iter().any(|word| whole.contains(word) || above.contains(word));
    if !stays || tries || ordered {
        return false;
    }
    let needed = needed(unit, body, call);
    let given: BTreeSet<&str> = names(unit, item).collect();
    let about_item = needed.iter().any(|name| given.contains(name));
    let remembers = remembers(unit, call);
    // What a round does to its own item is for that item alone.
    let mut own = given.clone();
    if unit.kind(each) == "while_statement" {
        own.extend(names(unit, items));
    }
    let changed: BTreeSet<&str> = changed(unit, body, call, &given).difference(&own).copied().collect();
    // A method may read all that its object keeps.
    let is_own = |name: &&str| ["self.", "this."].iter().any(|own| name.starts_with(own));
    let method = unit.callee(call).is_some_and(|callee| {
        let object = unit.syntax.child(callee, "object");
        object.is_some_and(|object| matches!(unit.text(object), "self" | "this"))
    });
    about_item && !remembers && changed.is_disjoint(&needed) && !(method && changed.iter().any(is_own))
}

/// Tells whether a call goes on with something that remembers, by its names: what a prompt says is no name.
pub(super) fn remembers(unit: &Unit, call: Id) -> bool {
    let named = std::iter::once(call).chain(unit.syntax.below(call)).filter(|&id| {
        matches!(
            unit.kind(id),
            "identifier" | "property_identifier" | "shorthand_property_identifier" | "type_identifier"
        ) && !connects(unit, id)
    });
    let names = named.map(|id| unit.text(id).to_ascii_lowercase());
    // A text of a conversation is the same for all.
    let is_text = |name: &str| ["_str", "_text"].iter().any(|end| name.ends_with(end));
    let mut names = names.filter(|name| !name.starts_with("to_thread") && !is_text(name)).peekable();
    while let Some(name) = names.next() {
        let completes = name == "chat" && names.peek().is_some_and(|next| next == "completions");
        let talks = name == "chat" && !completes || name.starts_with("chat_") || name.ends_with("_chat");
        if talks || REMEMBERS.iter().any(|word| name.contains(word)) {
            return true;
        }
    }
    false
}

/// Returns what a loop calls its item, where the items are, and what is done with each.
fn parts(unit: &Unit, each: Id) -> Option<(Id, Id, Id)> {
    let syntax = &unit.syntax;
    let field = |name| syntax.child(each, name);
    match unit.kind(each) {
        "list_comprehension" | "dictionary_comprehension" | "set_comprehension" => {
            let mut clauses = syntax.children(each).filter(|&child| unit.kind(child) == "for_in_clause");
            let clause = clauses.next().filter(|_| clauses.next().is_none())?;
            Some((syntax.child(clause, "left")?, syntax.child(clause, "right")?, field("body")?))
        }
        "while_statement" => taken(unit, field("condition")?, field("body")?),
        // `for (let i = 0; i < items.length; i++)`
        "for_statement" if field("left").is_none() => {
            let condition = field("condition")?;
            let declared =
                syntax.below(field("initializer")?).find(|&id| unit.kind(id) == "variable_declarator")?;
            let length = syntax
                .below(condition)
                .find(|&id| unit.kind(id) == "member_expression" && unit.text(id).ends_with(".length"))?;
            Some((syntax.child(declared, "name")?, syntax.child(length, "object")?, field("body")?))
        }
        _ => Some((field("left")?, field("right")?, field("body")?)),
    }
}

/// `while todo: item = todo.pop()`, where nothing is put in.
fn taken(unit: &Unit, condition: Id, body: Id) -> Option<(Id, Id, Id)> {
    let (item, list) = bound(unit, body).find_map(|(left, right)| {
        let takes = ["pop", "popleft", "shift"].contains(&unit.callee_name(right));
        let list = unit.syntax.child(unit.callee(right).filter(|_| takes)?, "object")?;
        Some((left, list))
    })?;
    let name = unit.text(list);
    let grows = ["append", "push", "extend", "appendleft", "unshift", "add", "insert"]
        .iter()
        .any(|verb| unit.text(body).contains(&format!("{name}.{verb}(")));
    (unit.text(condition).contains(name) && !grows).then_some((item, list, body))
}

/// Returns the identifiers in a node, keys and attributes left out.
fn names(unit: &Unit, id: Id) -> impl Iterator<Item = &str> {
    let all = std::iter::once(id).chain(unit.syntax.below(id));
    all.filter(|&id| {
        let node = &unit.syntax[id];
        matches!(node.kind, "identifier" | "shorthand_property_identifier" | "this")
            && node.field != "attribute"
            && !(node.field == "name" && unit.kind(node.parent) == "keyword_argument")
    })
    .map(|id| {
        // What an object keeps is told apart: `self.agent` is not `self.log`.
        let parent = unit.syntax[id].parent;
        let own = matches!(unit.text(id), "self" | "this")
            && matches!(unit.kind(parent), "attribute" | "member_expression");
        unit.text(if own { parent } else { id })
    })
}

/// Returns the names whose values the call depends on, in this round of the loop.
fn needed(unit: &Unit, body: Id, call: Id) -> BTreeSet<&str> {
    let mut needed: BTreeSet<&str> = names(unit, call).collect();
    let conditions = unit.syntax.around(call).take_while(|&around| around != body);
    for around in conditions.filter(|&around| unit.kind(around) == "if_statement") {
        needed.extend(unit.syntax.child(around, "condition").into_iter().flat_map(|id| names(unit, id)));
    }
    // Whether there is a call at all may hang on what the rounds before left.
    for id in unit.syntax.below(body).filter(|&id| id < call && unit.kind(id) == "if_statement") {
        if unit.syntax.below(id).any(|id| unit.kind(id) == "continue_statement") {
            needed.extend(unit.syntax.child(id, "condition").into_iter().flat_map(|id| names(unit, id)));
        }
    }
    loop {
        let before = needed.len();
        for (left, right) in bound(unit, body) {
            if left < call && names(unit, left).any(|name| needed.contains(name)) {
                needed.extend(names(unit, right));
            }
        }
        if needed.len() == before {
            return needed;
        }
    }
}

fn bound(unit: &Unit, body: Id) -> impl Iterator<Item = (Id, Id)> {
    unit.syntax.below(body).filter_map(|id| {
        let pair = |left, right| unit.syntax.child(id, left).zip(unit.syntax.child(id, right));
        match unit.kind(id) {
            "assignment" | "assignment_expression" => pair("left", "right"),
            "variable_declarator" => pair("name", "value"),
            _ => None,
        }
    })
}

/// What makes something new.
const NEW: &[&str] = &["list", "dictionary", "set", "array", "object", "new_expression"];

/// Tells whether each round makes something anew before it grows it: `lines = []`, and then `lines.append(line)`.
fn is_of_round(unit: &Unit, body: Id, grown: Id) -> bool {
    let direct = |left: Id| unit.syntax.around(left).nth(2) == Some(body);
    unit.kind(grown) == "identifier"
        && bound(unit, body).any(|(left, right)| {
            left < grown
                && unit.text(left) == unit.text(grown)
                && NEW.contains(&unit.kind(right))
                && direct(left)
        })
}

/// Returns the names that one round leaves changed for the next: grown, counted, written after they were read.
fn changed<'a>(unit: &'a Unit, body: Id, call: Id, item: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let mut changed = BTreeSet::new();
    let text = unit.text(body);
    let looks_back = ["- 1]", "-1]"].iter().any(|back| text.contains(back));
    let root = |id: Id| names(unit, id).next();
    for id in unit.syntax.below(body) {
        match unit.kind(id) {
            "augmented_assignment" | "augmented_assignment_expression" => {
                changed.extend(unit.syntax.child(id, "left").and_then(root));
            }
            "update_expression" => changed.extend(root(id)),
            "call" | "call_expression" => {
                let object = unit.callee(id).and_then(|callee| unit.syntax.child(callee, "object"));
                let verbs = [
                    "append", "push", "extend", "add", "update", "set", "insert", "unshift", "delete", "pop",
                    "remove",
                ];
                if verbs.contains(&unit.callee_name(id)) {
                    let grown = object.filter(|&object| !is_of_round(unit, body, object));
                    changed.extend(grown.and_then(root));
                }
            }
            _ => {}
        }
    }
    for (left, right) in bound(unit, body) {
        let member = matches!(
            unit.kind(left),
            "attribute" | "member_expression" | "subscript" | "subscript_expression"
        );
        // `items[i].text = ...` is of this item alone.
        let places = unit
            .syntax
            .below(left)
            .filter(|&id| unit.syntax[id].field == "index" || unit.syntax[id].field == "subscript");
        let of_item = places.into_iter().any(|id| item.contains(unit.text(id)));
        if of_item && !looks_back && !names(unit, right).any(|name| Some(name) == root(left)) {
            continue;
        }
        let declared = unit.kind(unit.syntax[left].parent) == "variable_declarator";
        let itself = root(left).is_some_and(|name| names(unit, right).any(|read| read == name));
        // A name that is set before the call in every round carries nothing over.
        if member || (!declared && (left > call || unit.syntax.holds(right, call) || itself)) {
            changed.extend(root(left));
        }
    }
    changed
}
