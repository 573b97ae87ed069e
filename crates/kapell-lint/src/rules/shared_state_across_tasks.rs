//! State of a module that tasks write at the same time, each on what it read before it waited.

use std::collections::{BTreeMap, BTreeSet};

use kapell_view::audit::{Confidence, Severity};

use super::unbounded_fan_out;
use crate::{
    code::{Id, Unit, programs, service, unit::FUNCTIONS},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/shared-state-across-tasks.md`.
pub(super) static RULE: Rule = Rule {
    name: "shared-state-across-tasks",
    summary: "tasks that run at once write the same variable from what they read before waiting",
    group: Group::Code,
    anti_pattern: Some(AntiPattern::SharedState),
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/shared-state-across-tasks.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for unit in repository.code.iter() {
        let text = unit.whole().to_ascii_lowercase();
        if ["lock(", "mutex", "semaphore(1)", "new lock"].iter().any(|word| text.contains(word)) {
            continue;
        }
        conversations(unit, report);
        for at in at_once(unit).into_iter().chain(handlers(unit)) {
            let AtOnce { function, started, of_one, how } = at;
            alone(unit, at, report);
            for write in lost(unit, function, of_one) {
                let Some(target) = unit.syntax.child(write, "left") else { continue };
                let message = format!(
                    "`{}`{} is read before an `await` and written after it, while other tasks do the same: updates are lost",
                    unit.text(target),
                    service::place_name(unit, write),
                );
                let hint =
                    "let each task return its part and add them up after all have ended, or hold a lock";
                report
                    .add(unit.file, unit.span(write), message)
                    .hint(hint)
                    .also(unit.file, unit.span(started), how)
                    .done();
            }
            let asked = how == ASKED;
            for (write, read, path) in
                rewritten(unit, function).into_iter().chain(counted(unit, function, asked))
            {
                let message = format!(
                    "`{path}`{} is read, and written whole after an `await`, while other tasks do the same: updates are lost",
                    service::place_name(unit, write),
                );
                report
                    .add(unit.file, unit.span(write), message)
                    .hint("let each task return its part and write it once, after all have ended, or let the store itself add")
                    .also(unit.file, unit.span(read), "read here")
                    .also(unit.file, unit.span(started), how)
                    .done();
            }
            for (write, read) in mixed(unit, function, of_one) {
                let Some(target) = unit.syntax.child(write, "left") else { continue };
                let message = format!(
                    "`{}`{} is written before an `await` and read after it, while other tasks write it: one reads what another one wrote",
                    unit.text(target),
                    service::place_name(unit, write),
                );
                report
                    .add(unit.file, unit.span(write), message)
                    .hint("keep it in a variable of the task, or hand it on as an argument")
                    .also(unit.file, unit.span(read), "read here, after the wait")
                    .also(unit.file, unit.span(started), how)
                    .done();
            }
        }
    }
}

/// A function that runs many times at once.
#[derive(Debug, Clone, Copy)]
struct AtOnce {
    function: Id,
    /// Where its runs are started.
    started: Id,
    /// Whether all of them are methods of one object.
    of_one: bool,
    /// What is said of where they are started.
    how: &'static str,
}

const STARTED: &str = "they are started here";
const ASKED: &str = "every request runs it";

/// How far what runs at once is followed from function to function.
const STEPS: u32 = 3;

/// Finds the functions that run many times at once, and where they are started.
fn at_once(unit: &Unit) -> Vec<AtOnce> {
    let mut found: Vec<AtOnce> = Vec::new();
    let gathers = unit.calls().filter(|&call| unbounded_fan_out::gathers(unit, call));
    let twice = gathers.filter_map(|gather| Some((started_twice(unit, gather)?, gather)));
    let fans = unbounded_fan_out::fans(unit).into_iter().map(|fan| (fan.body, fan.at));
    let mapped = unit.calls().filter_map(|call| Some((bounded_map(unit, call)?, call)));
    for (body, started) in fans.chain(mapped).chain(twice).chain(grouped_twice(unit)) {
        follow(unit, body, AtOnce { function: body, started, of_one: true, how: STARTED }, STEPS, &mut found);
    }
    found
}

/// Libraries that answer requests, as they are imported.
const SERVERS: &[&str] = &[
    "fastapi",
    "starlette",
    "quart",
    "sanic",
    "litestar",
    "flask",
    "aiohttp.web",
    "aiohttp import web",
    "blacksheep",
    "robyn",
    "falcon",
    "express",
    "fastify",
    "hono",
    "koa",
    "@koa/router",
    "elysia",
    "@hapi/hapi",
];

/// Methods by which such a library is given what answers requests.
const ROUTES: &[&str] = &[
    "get",
    "post",
    "put",
    "patch",
    "delete",
    "route",
    "api_route",
    "all",
    "websocket",
    "add_post",
    "add_get",
    "add_route",
];

/// Finds the functions that answer requests: as many of them run at once as there are visitors.
fn handlers(unit: &Unit) -> Vec<AtOnce> {
    let text = unit.whole();
    let served = |line: &str| {
        let line = line.trim_start();
        let imports = line.starts_with("import ") || line.starts_with("from ") || line.contains("require(");
        imports && SERVERS.iter().any(|name| line.contains(name))
    };
    if !text.lines().any(served) {
        return Vec::new();
    }
    let at = |function: Id, started: Id| AtOnce { function, started, of_one: false, how: ASKED };
    let routed = |call: Id| ROUTES.contains(&unit.callee_name(call)) && is_app(unit, call);
    let mut found: Vec<AtOnce> = Vec::new();
    for call in unit.calls().filter(|&call| routed(call)) {
        if let Some(decorated) = decorated(unit, call) {
            found.push(at(decorated, call));
            continue;
        }
        // Those before the last look at the request first.
        let last = unit.args(call).last().map(|arg| arg.value);
        let named = last.map(|id| unit.function(unit.text(id)).unwrap_or(id));
        let function = named.filter(|&id| FUNCTIONS.contains(&unit.kind(id)));
        found.extend(function.map(|function| at(function, call)));
    }
    // What they call of this file runs at once as well: a plain function, or a method of an object that all have in common.
    for task in found.clone() {
        for call in unit.calls_in(task.function) {
            let function = unit.called(call).filter(|&other| other != task.function);
            let shared = function.filter(|&other| of_one(unit, task.function, call, other));
            let own = unit.is_method(task.function);
            let Some(function) = shared.filter(|_| !own) else { continue };
            follow(unit, function, AtOnce { of_one: true, ..task }, STEPS, &mut found);
        }
    }
    found
}

/// Tells whether what a route is added to is called like an application or a router.
fn is_app(unit: &Unit, call: Id) -> bool {
    let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
    let name = object.map_or("", |object| unit.text(object)).to_ascii_lowercase();
    let last = name.trim_end_matches("()").rsplit('.').next().unwrap_or_default().to_owned();
    ["app", "router", "server", "api", "blueprint", "bp", "routes", "web", "fastify", "route"]
        .iter()
        .any(|known| last.ends_with(known))
}

/// Returns the function that a call decorates.
fn decorated(unit: &Unit, call: Id) -> Option<Id> {
    let decorator = unit.syntax[call].parent;
    let whole = unit.syntax[decorator].parent;
    (unit.kind(decorator) == "decorator").then_some(())?;
    unit.syntax.children(whole).find(|&child| FUNCTIONS.contains(&unit.kind(child)))
}

/// Returns what runs for every item of a call that is told how many may run at once: `pMap(items, f, { concurrency: 4 })`.
fn bounded_map(unit: &Unit, call: Id) -> Option<Id> {
    let path = unit.path(unit.callee(call)?)?.text;
    let known = ["p-map", "bluebird.map", "async.mapLimit", "async.eachLimit"].contains(&&*path);
    let function = unit.args(call).into_iter().filter(|_| known).map(|arg| arg.value);
    let mut named = function.map(|id| unit.function(unit.text(id)).unwrap_or(id));
    named.find(|&id| FUNCTIONS.contains(&unit.kind(id)))
}

/// Finds functions that a group of tasks, or a nursery, is given at least twice, in a loop or without.
fn grouped_twice(unit: &Unit) -> Vec<(Id, Id)> {
    let mut given: BTreeMap<(Id, Id), (usize, Id)> = BTreeMap::new();
    for call in unit.calls().filter(|&call| ["start_soon", "create_task"].contains(&unit.callee_name(call))) {
        let first = unit.args(call).first().map(|arg| arg.value);
        let name = first.map(|first| match unit.kind(first) {
            "call" => unit.callee_name(first),
            _ => unit.text(first).rsplit('.').next().unwrap_or_default(),
        });
        let Some(function) = name.and_then(|name| unit.function(name)) else { continue };
        let around = unit.function_of(call);
        let looped = unit
            .syntax
            .around(call)
            .take_while(|&id| id != around)
            .any(|id| unit.kind(id) == "for_statement");
        given.entry((around, function)).or_insert((0, call)).0 += if looped { 2 } else { 1 };
    }
    let many = given.into_iter().filter(|(_, (count, _))| *count > 1);
    many.map(|((_, function), (_, call))| (function, call)).collect()
}

/// Collects the functions of the file that `body`, which runs many times at once, is made of or calls.
fn follow(unit: &Unit, body: Id, at: AtOnce, steps: u32, found: &mut Vec<AtOnce>) {
    let Some(steps) = steps.checked_sub(1) else { return };
    let is_function = FUNCTIONS.contains(&unit.kind(body));
    if is_function {
        if found.iter().any(|other| other.function == body) {
            return;
        }
        if unit.is_async(body) {
            found.push(AtOnce { function: body, ..at });
        }
    }
    for call in unit.calls_in(body) {
        if is_function && unit.function_of(call) != body && unit.is_async(unit.function_of(call)) {
            continue;
        }
        let Some(function) = unit.called(call) else { continue };
        let of_one = at.of_one && of_one(unit, body, call, function);
        follow(unit, function, AtOnce { of_one, ..at }, steps, found);
    }
}

/// Tells whether all runs call a method of the same object, or a plain function.
fn of_one(unit: &Unit, body: Id, call: Id, function: Id) -> bool {
    let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
    let Some(object) = object else { return true };
    if matches!(unit.text(object), "self" | "this") {
        return true;
    }
    let class = unit.syntax.around(function).find(|&id| unit.kind(id).starts_with("class_d"));
    let name = class.and_then(|class| unit.syntax.child(class, "name"));
    let made = unit.path(object).and_then(|path| path.built);
    let of_class = made
        .and_then(|made| unit.callee(made))
        .zip(name)
        .is_some_and(|(made, name)| unit.text(made) == unit.text(name));
    // What a task makes for itself is its own.
    of_class && made.is_some_and(|made| !unit.syntax.holds(body, made))
}

/// Objects that keep the conversation in themselves, by how their path begins, and the calls that go on with it.
const TALKERS: &[(&str, &[&str])] = &[
    ("autogen_agentchat.agents.", &["run", "run_stream", "on_messages"]),
    ("autogen_agentchat.teams.", &["run", "run_stream"]),
    ("google.genai.Client().chats.create()", &["send_message", "send_message_stream"]),
    ("google.genai.Client().aio.chats.create()", &["send_message", "send_message_stream"]),
    ("@google/genai.GoogleGenAI().chats.create()", &["sendMessage", "sendMessageStream"]),
];

/// Tells of one such object that several tasks go on with at once.
fn conversations(unit: &Unit, report: &mut Report<'_>) {
    let fans = unbounded_fan_out::fans(unit).into_iter().map(|fan| (fan.at, fan.body, 1));
    let gathers = unit.calls().filter(|&call| unbounded_fan_out::gathers(unit, call));
    let listed =
        gathers.filter(|&call| unbounded_fan_out::fanned(unit, call).is_none()).map(|call| (call, call, 2));
    for (at, within, least) in fans.chain(listed) {
        let talks = |&call: &Id| {
            let object = unit.syntax.child(unit.callee(call)?, "object")?;
            let path = unit.path(object)?;
            let made = path.built.filter(|&made| !unit.syntax.holds(within, made))?;
            let known = TALKERS.iter().any(|(start, calls)| {
                path.text.starts_with(start) && calls.contains(&unit.callee_name(call))
            });
            known.then_some((unit.text(object), made))
        };
        let found: Vec<_> = unit.calls_in(within).filter_map(|call| talks(&call)).collect();
        let Some((name, made)) =
            found.iter().find(|one| found.iter().filter(|other| other == one).count() >= least)
        else {
            continue;
        };
        let message = format!(
            "`{name}`{} keeps one conversation, and several tasks go on with it at once: what one is told stands in what another one answers",
            service::place_name(unit, at),
        );
        let hint = "make one for each task";
        report
            .add(unit.file, unit.span(at), message)
            .hint(hint)
            .also(unit.file, unit.span(*made), "made here")
            .done();
    }
}

/// Finds the function of this file that a call waits for at least twice: `Promise.all([ask(a), ask(b)])`.
fn started_twice(unit: &Unit, gather: Id) -> Option<Id> {
    let given: Vec<Id> = unit.args(gather).iter().map(|arg| arg.value).collect();
    let listed = given.first().filter(|&&first| matches!(unit.kind(first), "array" | "list"));
    let parts: Vec<Id> = listed.map_or(given.clone(), |&list| unit.syntax.children(list).collect());
    let called: Vec<Id> = parts
        .into_iter()
        .filter(|&part| matches!(unit.kind(part), "call" | "call_expression"))
        .filter(|&part| unit.callee(part).is_some_and(|callee| unit.kind(callee) == "identifier"))
        .filter_map(|part| unit.function(unit.callee_name(part)))
        .collect();
    called.iter().copied().find(|function| called.iter().filter(|other| *other == function).count() > 1)
}

/// Finds writes of outer variables that await between reading and writing: `total += await f()`,
/// `total = total + await f()`, and `old = total; await f(); total = old + 1`.
fn lost(unit: &Unit, function: Id, of_one: bool) -> Vec<Id> {
    let inner = |id: Id| unit.function_of(id) == function;
    let own: Vec<Id> = unit.syntax.below(function).filter(|&id| inner(id)).collect();
    let before = Before::of(unit, &own);
    let is_lost = |&id: &Id| {
        let (left, right) = (unit.syntax.child(id, "left"), unit.syntax.child(id, "right"));
        let Some((left, right)) = left.zip(right) else { return false };
        let wait = with_below(unit, right).find(|&id| waits(unit, id));
        let reads = match (unit.kind(id), wait) {
            ("augmented_assignment" | "augmented_assignment_expression", wait) => wait.is_some(),
            ("assignment" | "assignment_expression", Some(wait)) => {
                with_below(unit, right).any(|id| id < wait && is_same(unit, id, left))
            }
            ("assignment" | "assignment_expression", None) => before.is_copy_in(unit, id, (left, right)),
            _ => false,
        };
        reads && shared(unit, function, left, of_one)
    };
    own.iter().copied().filter(is_lost).collect()
}

/// Calls that read a whole file, and such that write one.
const READS: &[&str] = &["readFile", "readJson", "readJSON", "read_text", "read_bytes"];
const WRITES: &[&str] = &["writeFile", "writeJson", "writeJSON", "write_text", "write_bytes"];

/// Finds the files, the same for every task, that a function reads, and writes after it waited for something else. Each
/// with the call that writes, the one that reads, and the path as it is written.
fn rewritten(unit: &Unit, function: Id) -> Vec<(Id, Id, &str)> {
    let own: Vec<Id> = unit.calls_in(function).filter(|&id| unit.function_of(id) == function).collect();
    let whole = |names: &[&str]| {
        let calls = own.iter().copied().filter(|&call| names.contains(&unit.callee_name(call)));
        calls.filter_map(|call| Some((call, file_of(unit, call)?))).collect::<Vec<_>>()
    };
    let waiting: Vec<Id> = unit.syntax.below(function).filter(|&id| waits(unit, id)).collect();
    let reads = whole(READS);
    let mut found = Vec::new();
    for (write, file) in whole(WRITES) {
        let path = unit.text(file);
        let Some(&(read, _)) = reads.iter().find(|(read, of)| *read < write && unit.text(*of) == path) else {
            continue;
        };
        let between = |&wait: &Id| wait > read && wait < write && !unit.syntax.holds(wait, write);
        // A path that is put together may be another one for each task.
        let plain = unit.kind(file) == "string" && !path.contains('{');
        let shared = plain || unit.kind(file) == "identifier" && declared_outside(unit, function, path);
        if shared && waiting.iter().any(between) {
            found.push((write, read, path));
        }
    }
    found
}

/// Calls that read a value of a store by its key, and such that write one.
const GETS: &[&str] = &["get", "getItem", "hget", "get_item"];
const SETS: &[&str] = &["set", "setItem", "hset", "put", "set_item"];

/// Finds values of a store that a function reads, and writes anew from what it read, after it waited for something else.
///
/// A key that is put together may be another one for each task; but the same visitor may ask twice at once, and then what is
/// counted up or down is lost.
fn counted(unit: &Unit, function: Id, asked: bool) -> Vec<(Id, Id, &str)> {
    let own: Vec<Id> = unit.calls_in(function).filter(|&id| unit.function_of(id) == function).collect();
    let keyed = |call: Id, names: &[&str]| {
        let object = unit.syntax.child(unit.callee(call)?, "object")?;
        let key = unit.args(call).first().map(|arg| arg.value)?;
        let together = unit.kind(key) == "template_string" || unit.text(key).contains('{');
        let text = matches!(unit.kind(key), "string" | "template_string");
        let plain = text && (asked || !together) && unit.awaited(call);
        (plain && names.contains(&unit.callee_name(call))).then(|| (unit.text(object), unit.text(key)))
    };
    let before = Before::of(unit, &own_nodes(unit, function));
    let mut found = Vec::new();
    for &write in &own {
        let Some(what) = keyed(write, SETS) else { continue };
        let Some(&read) = own.iter().find(|&&read| read < write && keyed(read, GETS) == Some(what)) else {
            continue;
        };
        let copied = unit.args(write).iter().skip(1).any(|arg| {
            let sums = with_below(unit, arg.value)
                .any(|id| matches!(unit.kind(id), "binary_operator" | "binary_expression"));
            let named = with_below(unit, arg.value).filter(|&id| unit.kind(id) == "identifier");
            named.filter(|_| sums || !what.1.contains('{')).any(|name| {
                before
                    .bound
                    .get(unit.text(name))
                    .is_some_and(|bound| bound.iter().any(|(_, value)| unit.syntax.holds(*value, read)))
            })
        });
        let between =
            before.waits.iter().any(|&wait| wait > read && wait < write && !unit.syntax.holds(wait, write));
        if copied && between {
            found.push((write, read, what.1));
        }
    }
    found
}

/// Returns the nodes of a function that belong to no function within it.
fn own_nodes(unit: &Unit, function: Id) -> Vec<Id> {
    unit.syntax.below(function).filter(|&id| unit.function_of(id) == function).collect()
}

/// Returns what names the file of a call: its first argument, or what `read_text` is called on.
fn file_of(unit: &Unit, call: Id) -> Option<Id> {
    let callee = unit.callee(call)?;
    if unit.callee_name(call).contains('_') {
        return unit.syntax.child(callee, "object");
    }
    unit.args(call).first().map(|arg| arg.value)
}

/// What there is one of in a process: calls that set it.
const PROCESS: &[&str] = &["os.chdir", "process.chdir", "node:process.chdir"];

/// Words under which a model is handed what was said before.
const TALK: &[&str] =
    &["messages", "input", "history", "contents", "chat_history", "message_history", "messageHistory"];

/// Tells of what one task must not do beside others: set what the process has one of, and talk in the others' conversation.
fn alone(unit: &Unit, at: AtOnce, report: &mut Report<'_>) {
    let AtOnce { function, started, how, .. } = at;
    let own: Vec<Id> = unit.syntax.below(function).filter(|&id| unit.function_of(id) == function).collect();
    let goes_on = |at: Id| own.iter().any(|&id| id > at && (waits(unit, id) || pauses(unit, id)));
    let add = |at: Id, message: String, hint: &str, report: &mut Report<'_>| {
        let draft = report.add(unit.file, unit.span(at), message).hint(hint);
        draft.also(unit.file, unit.span(started), how).done();
    };
    for &id in own.iter().filter(|&&id| goes_on(id)) {
        if let Some((what, hint)) = sets_process(unit, function, id) {
            let message = format!(
                "`{}`{} sets the {what}, while other tasks set it too: after its next `await` a task works in another one's",
                first_line(unit.text(id)),
                service::place_name(unit, id),
            );
            add(id, message, hint, report);
        }
    }
    for (grown, name) in talks(unit, at, &own) {
        let message = format!(
            "`{name}`{} grows before {} that hands it to a model, while other {} do the same: one is answered what another one asked",
            service::place_name(unit, grown),
            if how == ASKED { "a call" } else { "an `await`" },
            if how == ASKED { "requests" } else { "tasks" },
        );
        let hint = if how == ASKED {
            "keep a list for each conversation, by an id that the request brings"
        } else {
            "give each task a list of its own"
        };
        add(grown, message, hint, report);
    }
}

/// Tells whether a function comes back to its caller here and is gone on with later.
fn pauses(unit: &Unit, id: Id) -> bool {
    matches!(unit.kind(id), "yield" | "yield_expression")
        || matches!(unit.kind(id), "for_statement" | "for_in_statement" | "with_statement")
            && unit.syntax.children(id).any(|child| matches!(unit.kind(child), "async" | "await"))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

const HANDED: &str = "hand it on as an argument: `cwd=`, a client with its own key";

/// Tells whether a call puts the one checkout of the repository on a branch of its own task: `git checkout -b issue-7`.
fn switches_branch(unit: &Unit, function: Id, call: Id) -> bool {
    let Some(words) = programs::words(unit, call) else { return false };
    let switches = words.first() == Some(&"git")
        && words.get(1).is_some_and(|word| matches!(*word, "checkout" | "switch"));
    let apart = unit.text(call).contains("cwd") || unit.text(function).contains("worktree");
    let of_task =
        unit.syntax.below(call).any(|id| unit.kind(id) == "identifier" && is_parameter(unit, function, id));
    switches && !apart && of_task
}

/// Returns what of the process, or of the checkout, a node sets to something of its own task, and what to do instead.
fn sets_process(unit: &Unit, function: Id, id: Id) -> Option<(&'static str, &'static str)> {
    let of_task = |value: Id| {
        let parts = with_below(unit, value)
            .any(|id| unit.kind(id) == "identifier" && is_parameter(unit, function, id));
        parts.then_some(())
    };
    match unit.kind(id) {
        "call" | "call_expression" => {
            if switches_branch(unit, function, id) {
                return Some((
                    "branch of the one checkout",
                    "give each task a checkout of its own: `git worktree add`",
                ));
            }
            let path = unit.path(unit.callee(id)?)?;
            of_task(unit.args(id).first()?.value)?;
            PROCESS.contains(&&*path.text).then_some(("directory of the whole process", HANDED))
        }
        "assignment" | "assignment_expression" => {
            let (left, right) = (unit.syntax.child(id, "left")?, unit.syntax.child(id, "right")?);
            of_task(right)?;
            let text = unit.text(left);
            ["os.environ[", "process.env."]
                .iter()
                .any(|start| text.starts_with(start))
                .then_some(("environment of the whole process", HANDED))
        }
        _ => None,
    }
}

/// Tells whether a name is a parameter of the function.
fn is_parameter(unit: &Unit, function: Id, name: Id) -> bool {
    let lists = unit.syntax.children(function);
    let mut given = lists.filter(|&id| {
        matches!(unit.kind(id), "formal_parameters" | "parameters") || unit.syntax[id].field == "parameter"
    });
    given.any(|list| {
        let mut parts = with_below(unit, list);
        parts.any(|id| unit.kind(id) == "identifier" && unit.text(id) == unit.text(name))
    })
}

/// Returns the outermost expression that is a name, a part of it or a list with it in it.
fn part_of(unit: &Unit, name: Id) -> Id {
    let inside = [
        "subscript",
        "slice",
        "list",
        "array",
        "list_splat",
        "spread_element",
        "binary_operator",
        "subscript_expression",
    ];
    let mut id = name;
    while inside.contains(&unit.kind(unit.syntax[id].parent)) {
        id = unit.syntax[id].parent;
    }
    // `history.slice(-20)`.
    let member = unit.syntax[id].parent;
    let call = unit.syntax[member].parent;
    let sliced = unit.kind(member) == "member_expression"
        && unit.kind(call) == "call_expression"
        && ["slice", "concat", "toSpliced"].contains(&unit.callee_name(call));
    if sliced { call } else { id }
}

/// Finds lists around a function that it appends to, and then hands to what it awaits as the conversation.
fn talks<'a>(unit: &'a Unit, task: AtOnce, own: &[Id]) -> Vec<(Id, &'a str)> {
    let function = task.function;
    let handed = |name: &str, at: Id| {
        own.iter().any(|&id| {
            let name_at = id;
            // `history[-20:]` and `[system, *history]` hand it on, too.
            let id = part_of(unit, id);
            let node = &unit.syntax[id];
            let parent = unit.kind(node.parent);
            let named = matches!(node.kind, "attribute" | "member_expression");
            let kind = if id == name_at && !named { node.kind } else { "identifier" };
            let key = match kind {
                "identifier" if parent == "keyword_argument" && node.field == "value" => {
                    unit.syntax.child(node.parent, "name")
                }
                "identifier" if parent == "pair" && node.field == "value" => {
                    unit.syntax.child(node.parent, "key")
                }
                "shorthand_property_identifier" => Some(id),
                _ => None,
            };
            // Requests mix up what lasts longer than one of them even where none waits.
            let awaited = || {
                task.how == ASKED
                    || unit
                        .syntax
                        .around(id)
                        .take_while(|&around| around != function)
                        .any(|around| waits(unit, around))
            };
            name_at > at
                && unit.text(name_at) == name
                && key.is_some_and(|key| TALK.contains(&unit.text(key)))
                && awaited()
        })
    };
    let mut found: Vec<(Id, &str)> = Vec::new();
    for &call in own.iter().filter(|&&id| ["append", "push", "extend"].contains(&unit.callee_name(id))) {
        let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
        let Some(object) = object else { continue };
        let name = unit.text(object);
        let seen = found.iter().any(|(_, other)| *other == name);
        // What one object keeps is everybody's, where everybody calls the same one.
        let kept = task.of_one
            && task.how == ASKED
            && ["self.", "this."]
                .iter()
                .any(|own| name.strip_prefix(own).is_some_and(|rest| !rest.contains('.')));
        let outer = unit.kind(object) == "identifier"
            && !is_parameter(unit, function, object)
            && declared_outside(unit, function, name);
        if !seen && (kept || outer) && handed(name, call) {
            found.push((call, name));
        }
    }
    found
}

/// Finds what a task writes to an outer variable of its own: `current = name; await f(); use(current)`. Each with the first
/// read after the wait.
fn mixed(unit: &Unit, function: Id, of_one: bool) -> Vec<(Id, Id)> {
    let inner = |id: Id| unit.function_of(id) == function;
    let own: Vec<Id> = unit.syntax.below(function).filter(|&id| inner(id)).collect();
    let mut parameters: BTreeSet<&str> = own
        .iter()
        .filter(|&&id| matches!(unit.kind(id), "formal_parameters" | "parameters"))
        .flat_map(|&id| unit.syntax.below(id))
        .filter(|&id| unit.kind(id) == "identifier")
        .map(|id| unit.text(id))
        // What the object itself gives is the same for every task.
        .filter(|name| !matches!(*name, "self" | "this" | "cls"))
        .collect();
    // What is made of them belongs to the task as well: `const body = request.body`.
    for &made in own.iter().filter(|&&id| matches!(unit.kind(id), "assignment" | "variable_declarator")) {
        let name = unit.syntax.child(made, "left").or_else(|| unit.syntax.child(made, "name"));
        let value = unit.syntax.child(made, "right").or_else(|| unit.syntax.child(made, "value"));
        let Some((name, value)) = name.zip(value) else { continue };
        let local = unit.kind(name) == "identifier" && !outer(unit, function, name);
        if local && with_below(unit, value).take(SHORT).any(|id| parameters.contains(unit.text(id))) {
            parameters.insert(unit.text(name));
        }
    }
    let mut found = Vec::new();
    for &write in own.iter().filter(|&&id| matches!(unit.kind(id), "assignment" | "assignment_expression")) {
        let (left, right) = (unit.syntax.child(write, "left"), unit.syntax.child(write, "right"));
        let Some((left, right)) = left.zip(right) else { continue };
        let member = matches!(unit.kind(left), "attribute" | "member_expression")
            && ["self.", "this."].iter().any(|own| unit.text(left).starts_with(own));
        let plain = (unit.kind(left) == "identifier" || member) && shared(unit, function, left, of_one);
        // What is the same for every task may be written by each.
        let of_task = with_below(unit, right).any(|id| parameters.contains(unit.text(id)));
        let in_branch = unit.syntax.around(write).take_while(|&id| id != function).any(|id| {
            matches!(unit.kind(id), "if_statement" | "while_statement" | "for_statement" | "for_in_statement")
        });
        if !plain || !of_task || in_branch {
            continue;
        }
        let Some(wait) = own.iter().copied().find(|&id| id > right && waits(unit, id)) else { continue };
        let next = own
            .iter()
            .copied()
            .find(|&id| id > wait && !unit.syntax.holds(wait, id) && is_same(unit, id, left));
        // Who writes it again after the wait starts anew.
        let written = |id: Id| {
            let parent = unit.syntax[id].parent;
            matches!(unit.kind(parent), "assignment" | "assignment_expression")
                && unit.syntax.child(parent, "left") == Some(id)
        };
        found.extend(next.filter(|&read| !written(read)).map(|read| (write, read)));
    }
    found
}

fn with_below(unit: &Unit, id: Id) -> impl Iterator<Item = Id> + '_ {
    std::iter::once(id).chain(unit.syntax.below(id))
}

fn waits(unit: &Unit, id: Id) -> bool {
    matches!(unit.kind(id), "await" | "await_expression")
}

/// Tells whether two expressions are written alike.
fn is_same(unit: &Unit, one: Id, other: Id) -> bool {
    unit.kind(one) == unit.kind(other) && unit.text(one) == unit.text(other)
}

/// How many nodes of an expression are looked at for a copy; who keeps one writes little else there.
const SHORT: usize = 32;

/// What a function does before it writes, in the order of its text.
struct Before<'a> {
    /// By name, where it is bound and to what.
    bound: BTreeMap<&'a str, Vec<(Id, Id)>>,
    waits: Vec<Id>,
}

impl<'a> Before<'a> {
    fn of(unit: &'a Unit, own: &[Id]) -> Self {
        let mut bound: BTreeMap<&str, Vec<(Id, Id)>> = BTreeMap::new();
        for &id in own {
            let (name, value) = match unit.kind(id) {
                "assignment" => ("left", "right"),
                "variable_declarator" => ("name", "value"),
                _ => continue,
            };
            if let Some((name, value)) = unit.syntax.child(id, name).zip(unit.syntax.child(id, value)) {
                bound.entry(unit.text(name)).or_default().push((id, value));
            }
        }
        Self { bound, waits: own.iter().copied().filter(|&id| waits(unit, id)).collect() }
    }

    /// Tells whether what is written is made from a copy that a name got before an `await`. Who puts the copy itself back
    /// restores what was there.
    fn is_copy_in(&self, unit: &Unit, write: Id, (left, right): (Id, Id)) -> bool {
        let used = unit.syntax.below(right).take(SHORT).filter(|&id| unit.kind(id) == "identifier");
        used.filter_map(|name| self.bound.get(unit.text(name))).any(|bound| {
            let last = bound.partition_point(|(id, _)| *id < write).checked_sub(1);
            let Some((copy, value)) = last.map(|at| bound[at]) else { return false };
            let of_it = with_below(unit, value).take(SHORT).any(|id| is_same(unit, id, left));
            let next = self.waits.partition_point(|&wait| wait < copy);
            of_it && self.waits.get(next).is_some_and(|&wait| wait < write)
        })
    }
}

/// Tells whether all runs of a function have a variable in common.
fn shared(unit: &Unit, function: Id, target: Id, of_one: bool) -> bool {
    let own = ["self", "this"].iter().any(|own| unit.text(target).starts_with(own));
    (of_one || !own) && outer(unit, function, target)
}

/// Tells whether a variable belongs to something around the function.
fn outer(unit: &Unit, function: Id, target: Id) -> bool {
    let text = unit.text(target);
    let root = text.split(['.', '[']).next().unwrap_or(text);
    if unit.kind(target) == "identifier" {
        let declared = unit.syntax.below(function).any(|id| {
            matches!(unit.kind(id), "global_statement" | "nonlocal_statement")
                && unit.syntax.children(id).any(|name| unit.text(name) == root)
        });
        let python = unit.language == crate::code::Language::Python;
        return if python { declared } else { declared_outside(unit, function, root) };
    }
    declared_outside(unit, function, root)
}

fn declared_outside(unit: &Unit, function: Id, name: &str) -> bool {
    if matches!(name, "self" | "this" | "cls") {
        return true;
    }
    let local = unit.syntax.below(function).any(|id| {
        let node = &unit.syntax[id];
        let binds =
            matches!(node.kind, "variable_declarator" | "assignment" | "for_in_statement" | "for_statement")
                && unit
                    .syntax
                    .child(id, "name")
                    .or(unit.syntax.child(id, "left"))
                    .is_some_and(|left| unit.text(left) == name);
        let parameter = matches!(node.kind, "formal_parameters" | "parameters")
            && unit
                .syntax
                .below(id)
                .any(|inner| unit.kind(inner) == "identifier" && unit.text(inner) == name);
        binds || parameter
    });
    let single = unit.syntax.child(function, "parameter").is_some_and(|given| unit.text(given) == name);
    !local && !single && unit.values(function, name).len() == 1
}
