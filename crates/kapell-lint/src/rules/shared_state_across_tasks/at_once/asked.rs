//! Which functions answer requests or messages: as many of them run at once as there are people who ask.

mod sockets; // what answers who is connected

use super::{ASKED, AtOnce, Common, STEPS, follow, of_one};
use crate::code::{Id, Language, Unit, unit::FUNCTIONS};

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

/// Libraries that answer messages, each as soon as it comes.
const BOTS: &[&str] =
    &["@slack/bolt", "slack_bolt.async", "discord", "telegraf", "grammy", "aiogram", "botbuilder"];

/// Methods by which a server is given what answers requests.
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

/// Methods by which a bot is given what answers messages.
const HEARS: &[&str] =
    &["message", "event", "command", "on", "action", "hears", "use", "callback_query", "view"];

/// Functions that a framework calls for each request by what they are exported as.
const EXPORTED: &[&str] = &["POST", "GET", "PUT", "PATCH", "DELETE"];

/// Finds the functions that answer requests.
pub(in crate::rules) fn handlers(unit: &Unit) -> Vec<AtOnce> {
    let at = |function: Id, started: Id| AtOnce {
        function,
        started: (unit.file, unit.span(started)),
        common: Common::NOTHING,
        how: ASKED,
    };
    let mut found: Vec<AtOnce> =
        routed(unit).into_iter().map(|(function, started)| at(function, started)).collect();
    found.extend(sockets::connected(unit).into_iter().map(|(function, started)| at(function, started)));
    found.extend(exported(unit).into_iter().map(|function| at(function, function)));
    // What they call of this file runs at once as well: a plain function, or a method of an object that all have in common.
    for task in found.clone() {
        for call in unit.calls_in(task.function) {
            let function = unit
                .called(call)
                .filter(|&other| other != task.function && !keeps_for(unit, task.function, other));
            let shared =
                function.filter(|&other| of_one(unit, (task.function, Common::NOTHING), call, other));
            let own = unit.is_method(task.function);
            let Some(function) = shared.filter(|_| !own) else { continue };
            follow(unit, function, AtOnce { common: Common::OBJECT, ..task }, STEPS, &mut found);
        }
    }
    found
}

/// Finds the functions that a server or a bot is given, each with the call that does so.
fn routed(unit: &Unit) -> Vec<(Id, Id)> {
    let text = unit.whole();
    let requires = unit.language != Language::Python && text.contains("require(");
    let imports = |line: &str| {
        let line = line.trim_start();
        line.starts_with("import ")
            || line.starts_with("from ")
            || line.starts_with('}') && line.contains(" from ")
            || requires && line.contains("require(")
    };
    let (mut serves, mut hears) = (false, false);
    for line in text.lines().filter(|line| imports(line)) {
        serves |= SERVERS.iter().any(|name| line.contains(name));
        hears |= BOTS.iter().any(|name| line.contains(name));
    }
    // An application that another file makes: `app.post("/chat", async (request) => ...)`.
    let pathed =
        unit.language != Language::Python && ["(\"/", "('/", "(`/"].iter().any(|open| text.contains(open));
    if !serves && !hears && !pathed && !text.contains("createServer(") && !text.contains(".serve(") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for call in unit.calls() {
        let name = unit.callee_name(call);
        let route =
            ROUTES.contains(&name) && (serves || pathed && is_path(unit, call)) && is_app(unit, call, APPS);
        let heard = hears && HEARS.contains(&name) && is_app(unit, call, HEARERS);
        if name == "createServer" || name == "serve" && unit.language != Language::Python {
            found.extend(served(unit, call).map(|function| (function, call)));
        }
        if !route && !heard {
            continue;
        }
        if let Some(decorated) = decorated(unit, call) {
            found.push((decorated, call));
            continue;
        }
        // Those before the last look at the request first.
        let last = unit.args(call).last().map(|arg| arg.value);
        found.extend(last.and_then(|id| function_of(unit, id)).map(|function| (function, call)));
    }
    found
}

/// Tells whether a function lies within another one and uses a variable of it: each run of the outer one has its own.
fn keeps_for(unit: &Unit, outer: Id, inner: Id) -> bool {
    let inside = unit.syntax.holds(outer, inner);
    let declared = unit.syntax.below(outer).filter(|&id| {
        matches!(unit.kind(id), "variable_declarator" | "assignment") && !unit.syntax.holds(inner, id)
    });
    let patterns = declared.filter_map(|id| unit.syntax.child(id, "name").or(unit.syntax.child(id, "left")));
    let parts = patterns.flat_map(|id| std::iter::once(id).chain(unit.syntax.below(id)));
    let mut names =
        parts.filter(|&id| matches!(unit.kind(id), "identifier" | "shorthand_property_identifier_pattern"));
    inside
        && names.any(|name| {
            let mut parts = unit.syntax.below(inner);
            parts.any(|id| unit.kind(id) == "identifier" && unit.text(id) == unit.text(name))
        })
}

/// Returns the function that stands there, or that is named.
fn function_of(unit: &Unit, id: Id) -> Option<Id> {
    Some(unit.function(unit.text(id)).unwrap_or(id)).filter(|&id| FUNCTIONS.contains(&unit.kind(id)))
}

/// Tells whether a call is first given a path of the server's.
fn is_path(unit: &Unit, call: Id) -> bool {
    unit.args(call)
        .first()
        .is_some_and(|arg| unit.text(arg.value).trim_start_matches(['"', '\'', '`']).starts_with('/'))
}

/// Returns what answers the requests of `createServer(async (request, response) => ...)` and `Bun.serve({ fetch(request) ... })`.
fn served(unit: &Unit, call: Id) -> Option<Id> {
    let args = unit.args(call);
    let given = args.iter().find_map(|arg| function_of(unit, arg.value));
    let of_object = || {
        let object = args.iter().map(|arg| arg.value).find(|&id| unit.kind(id) == "object")?;
        fetches(unit, object)
    };
    given.or_else(of_object)
}

/// Returns the method of an object that is called for each request.
fn fetches(unit: &Unit, object: Id) -> Option<Id> {
    unit.syntax.below(object).find(|&id| {
        let name = match unit.kind(id) {
            "method_definition" => unit.syntax.child(id, "name"),
            "arrow_function" | "function_expression" => unit.syntax.child(unit.syntax[id].parent, "key"),
            _ => None,
        };
        name.is_some_and(|name| unit.text(name) == "fetch")
    })
}

/// Finds the functions that a framework calls for each request because of what they are exported as.
fn exported(unit: &Unit) -> Vec<Id> {
    let text = unit.whole();
    if unit.language == Language::Python {
        return Vec::new();
    }
    let mut found = Vec::new();
    if EXPORTED.iter().any(|name| {
        text.contains(&format!("export async function {name}("))
            || text.contains(&format!("export const {name}"))
    }) {
        found.extend(EXPORTED.iter().filter_map(|name| unit.function(name)));
    }
    let object = unit.default_export().filter(|&id| text.contains("fetch(") && unit.kind(id) == "object");
    found.extend(object.and_then(|object| fetches(unit, object)));
    found
}

/// Ends of what people call an application or a router.
const APPS: &[&str] =
    &["app", "router", "server", "api", "blueprint", "bp", "routes", "web", "fastify", "route"];

/// Ends of what people call a bot.
const HEARERS: &[&str] = &["app", "bot", "client", "dp", "router"];

/// Tells whether what a route is added to is called so, or a library of servers or bots made it.
fn is_app(unit: &Unit, call: Id, names: &[&str]) -> bool {
    let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
    let name = object.map_or("", |object| unit.text(object)).to_ascii_lowercase();
    let last = name.trim_end_matches("()").rsplit('.').next().unwrap_or_default().to_owned();
    let made = || {
        let path = object.and_then(|object| unit.path(object)).map_or_else(String::new, |path| path.text);
        let root = path.split(['.', '(']).next().unwrap_or_default();
        path.ends_with("()") && SERVERS.contains(&root)
    };
    names.iter().any(|known| last.ends_with(known)) || made()
}

/// Returns the function that a call decorates.
fn decorated(unit: &Unit, call: Id) -> Option<Id> {
    let decorator = unit.syntax[call].parent;
    let whole = unit.syntax[decorator].parent;
    (unit.kind(decorator) == "decorator").then_some(())?;
    unit.syntax.children(whole).find(|&child| FUNCTIONS.contains(&unit.kind(child)))
}
