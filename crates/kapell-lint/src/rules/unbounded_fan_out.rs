//! As many calls at once as there happen to be items.

mod bounds; // words of what bounds a fan-out
mod fans;
mod nested; // limits of functions that call themselves

use std::cell::Cell;

use kapell_view::audit::{Confidence, Severity};

pub(super) use self::fans::{fanned, fans, gathers};
use self::{
    bounds::{is_taken, speaks_of_bound},
    fans::{Fan, each},
};
use crate::{
    code::{
        Id, Service, Unit, guards,
        service::{self, Methods},
        unit::FUNCTIONS,
    },
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/unbounded-fan-out.md`.
pub(super) static RULE: Rule = Rule {
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

/// Words of what bounds it right there.
const NEAR: &[&str] = &["concurrency", "max_concurren", "maxconcurren", "chunk", "batch", "islice"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let methods = Methods::new(&repository.code);
    for unit in repository.code.iter() {
        let text = repository.files[unit.file].lower();
        workers(unit, &methods, report);
        let bounds = speaks_of_bound(text);
        if !bounds {
            sends(repository, unit, report);
        }
        for fan in fans(unit) {
            match own_limit(unit, &methods, fan.body) {
                Some(limit) => tell_limit(unit, &methods, &fan, limit, report),
                None if bounds && is_bounded(unit, &fan) => nested::check(unit, &methods, &fan, report),
                None => tell(repository, unit, (&methods, &fan), report),
            }
        }
    }
}

/// Tells whether what starts a fan, or what runs for its items, speaks of a bound. At the top of a file anything may.
fn is_bounded(unit: &Unit, fan: &Fan) -> bool {
    unit.function_of(fan.at) == Id::ROOT || guards::guarded_by(unit, &run_by(unit, fan), &speaks_of_bound)
}

/// Returns the function that starts a fan, what runs for its items, and the functions of the file that this calls.
fn run_by(unit: &Unit, fan: &Fan) -> Vec<Id> {
    let mut within = vec![unit.function_of(fan.at), fan.body];
    let mut next = 1;
    while let Some(&id) = within.get(next).filter(|_| within.len() < 12) {
        let called = unit.calls_in(id).filter_map(|call| unit.called(call));
        let new: Vec<Id> = called.filter(|function| !within.contains(function)).collect();
        within.extend(new);
        next += 1;
    }
    within
}

/// What makes something that bounds how many calls run at once.
const LIMITS: &[&str] = &[
    "Semaphore",
    "BoundedSemaphore",
    "CapacityLimiter",
    "AsyncLimiter",
    "pLimit",
    "PQueue",
    "Bottleneck",
    "Sema",
];

/// Finds a limit that the function which runs for every item makes for itself, and takes itself: it bounds nothing.
fn own_limit<'a>(unit: &'a Unit, methods: &Methods<'a>, body: Id) -> Option<(&'a Unit, Id)> {
    let own = FUNCTIONS.contains(&unit.kind(body)).then_some((unit, body));
    let called = unit.calls_in(body).filter_map(|call| {
        let here = unit.function(unit.callee_name(call)).map(|function| (unit, function));
        here.or_else(|| methods.exported(unit, call))
    });
    own.into_iter().chain(called).find_map(|(unit, function)| Some((unit, limit_of(unit, function)?)))
}

/// Finds a limit that a function makes for itself and takes itself.
fn limit_of(unit: &Unit, function: Id) -> Option<Id> {
    let direct = |id: &Id| unit.function_of(*id) == function;
    let made = unit.calls_in(function).filter(direct).find(|&call| {
        LIMITS.contains(&unit.callee_name(call)) && unit.callee_name(call) != unit.text(function)
    })?;
    let parent = unit.syntax[made].parent;
    let name = unit.syntax.child(parent, "left").or_else(|| unit.syntax.child(parent, "name"));
    let name = name.filter(|&name| unit.kind(name) == "identifier").map(|name| unit.text(name));
    let taken = unit.syntax.below(function).filter(direct).any(|id| match unit.kind(id) {
        "with_item" => unit.syntax.holds(id, made) || name == Some(unit.text(id)),
        "call_expression" => unit.callee(id).is_some_and(|callee| {
            unit.syntax.holds(callee, made) || name.is_some_and(|name| unit.text(callee) == name)
        }),
        _ => false,
    });
    taken.then_some(made)
}

fn tell_limit(
    unit: &Unit,
    methods: &Methods<'_>,
    fan: &Fan,
    (other, limit): (&Unit, Id),
    report: &mut Report<'_>,
) {
    let reached = methods.reached(unit, fan.body).or_else(|| reached_by_given(unit, methods, fan.body));
    let Some((reached, what)) = reached else { return };
    if bounded(unit, fan.items) || matches!(what, Service::Http(_)) {
        return;
    }
    let message = format!(
        "`{}`{} is made anew for every item of `{}`: it bounds nothing, and all {} calls start at once",
        short(other.text(limit)),
        service::place_name(other, limit),
        short(unit.text(fan.items)),
        what.name(),
    );
    report
        .add(other.file, other.span(limit), message)
        .severity(Severity::High)
        .hint("make it once, outside of what runs for every item")
        .also(unit.file, unit.span(fan.at), "they are started here")
        .also(unit.file, unit.span(reached), "this is what runs for every item")
        .done();
}

/// Finds a call that is given a function which asks something: `limited(analyse, item)`.
fn reached_by_given(unit: &Unit, methods: &Methods<'_>, body: Id) -> Option<(Id, Service)> {
    unit.calls_in(body).find_map(|call| {
        let args = unit.args(call);
        let names = args.iter().map(|arg| arg.value).filter(|&value| unit.kind(value) == "identifier");
        let mut asked = names.filter_map(|name| {
            let (other, function) = methods.function(unit, name)?;
            Some((call, methods.reached(other, function)?.1))
        });
        asked.next()
    })
}

fn tell(repository: &Repository, unit: &Unit, (methods, fan): (&Methods<'_>, &Fan), report: &mut Report<'_>) {
    let around = guards::code(unit, unit.function_of(fan.at));
    // What the items are called says nothing: chunks of a text are items like others.
    let items = unit.text(fan.items).to_ascii_lowercase();
    let plain = items.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    let one = items.trim_end_matches('s');
    let around = if plain && one.len() > 3 { around.replace(one, "") } else { around };
    let around = around.replace("_batch(", "(").replace("abatch(", "(");
    let around = without_unread(unit, unit.function_of(fan.at), around);
    if bounded(unit, fan.items) || NEAR.iter().any(|word| around.contains(word)) {
        return;
    }
    // The place for a bound is next to the client, which is where what is called may have it.
    let bounds = Cell::new(false);
    let seen = |other: &Unit| {
        let speaks = || speaks_of_bound(repository.files[other.file].lower());
        bounds.set(bounds.get() || speaks() || is_taken(repository, other, Id::ROOT));
    };
    let started = methods.started(unit, fan.body, 3, &seen);
    if let Some((at, agent)) = started.filter(|_| !bounds.get()) {
        let message = format!(
            "`{}`{} starts the program `{agent}` for every item of `{}` at once",
            unit.text(fan.by),
            service::place_name(unit, fan.at),
            short(unit.text(fan.items)),
        );
        let draft = report.add(unit.file, unit.span(fan.at), message).severity(Severity::High).hint(fan.hint);
        return draft.also(unit.file, unit.span(at), "this is what runs for every item").done();
    }
    let reached = methods.reached_through(unit, fan.body, &seen);
    let Some((reached, what)) = reached.filter(|_| !bounds.get()) else { return };
    let taken = || run_by(unit, fan).into_iter().any(|id| is_taken(repository, unit, id));
    if decorated_bound(repository, unit, fan.body) || taken() {
        return;
    }
    let callee = unit.callee(reached).map_or("", |callee| unit.text(callee));
    let message = format!(
        "`{}`{} starts one {} call (`{callee}`) for every item of `{}` at once",
        unit.text(fan.by),
        service::place_name(unit, fan.at),
        what.name(),
        short(unit.text(fan.items)),
    );
    let mut draft = report.add(unit.file, unit.span(fan.at), message).hint(fan.hint);
    if matches!(what, Service::Http(_)) {
        draft = draft.severity(Severity::Low);
    }
    draft.also(unit.file, unit.span(reached), "this is what runs for every item").done();
}

/// Returns the code of a function without the parameters that speak of a bound and that it never reads.
fn without_unread(unit: &Unit, function: Id, code: String) -> String {
    let Some(parameters) = unit.syntax.child(function, "parameters") else { return code };
    let names = unit.syntax.below(parameters).filter(|&id| unit.kind(id) == "identifier");
    let names = names.map(|id| unit.text(id).to_ascii_lowercase());
    let unread = names.filter(|name| {
        NEAR.iter().any(|word| name.contains(word)) && code.matches(name.as_str()).count() == 1
    });
    let unread: Vec<String> = unread.collect();
    unread.iter().fold(code, |code, name| code.replace(name.as_str(), ""))
}

/// Tells whether what decorates the function that runs for every item comes from a file that bounds it: `@limited(6)`.
fn decorated_bound(repository: &Repository, unit: &Unit, body: Id) -> bool {
    let own = FUNCTIONS.contains(&unit.kind(body)).then_some(body);
    let mut functions = own.into_iter().chain(unit.calls_in(body).filter_map(|call| unit.called(call)));
    functions.any(|function| {
        let whole = unit.syntax[function].parent;
        let decorators = unit.syntax.children(whole).filter(|&id| unit.kind(id) == "decorator");
        let mut names = decorators.map(|decorator| {
            let name = unit.text(decorator).trim_start_matches('@');
            name.split(['(', '.']).next().unwrap_or_default().trim()
        });
        names.any(|name| {
            let target = unit.origin(name).and_then(|origin| origin.target.as_ref());
            target.is_some_and(|(file, _)| speaks_of_bound(repository.files[*file].lower()))
        })
    })
}

/// A pool that has as many workers as there are items.
fn workers(unit: &Unit, methods: &Methods<'_>, report: &mut Report<'_>) {
    for call in unit.calls().filter(|&call| unit.callee_name(call) == "ThreadPoolExecutor") {
        let first = || unit.args(call).first().filter(|arg| arg.name.is_none()).map(|arg| arg.value);
        let Some(count) = unit.keyword(call, "max_workers").or_else(first) else { continue };
        // `max(1, len(items))` is as many; `min(8, len(items))` is not.
        let count = match unit.callee_name(count) {
            "max" => unit.args(count).iter().map(|arg| arg.value).find(|&arg| unit.callee_name(arg) == "len"),
            _ => Some(count),
        };
        let Some(count) = count else { continue };
        let text = unit.text(count);
        let items = text.strip_prefix("len(").and_then(|rest| rest.strip_suffix(')'));
        let Some(items) = items.filter(|items| !items.contains(['(', ')'])) else { continue };
        let counted = unit.args(count).first().is_some_and(|arg| bounded(unit, arg.value));
        let Some(pool) = unit.syntax.around(call).find(|&id| unit.kind(id) == "with_statement") else {
            continue;
        };
        let submits = |inner: &Id| ["submit", "map"].contains(&unit.callee_name(*inner));
        let body = unit.calls_in(pool).filter(submits).find_map(|submit| {
            let function = unit.args(submit).first()?.value;
            let name = unit.text(function).rsplit('.').next()?;
            methods.reached(unit, unit.function(name).unwrap_or(function))
        });
        let Some((_, what)) = body.filter(|(_, what)| !counted && !matches!(what, Service::Http(_))) else {
            continue;
        };
        let message = format!(
            "this pool{} has a worker for every item of `{items}`: as many {} calls run at once as there are items",
            service::place_name(unit, call),
            what.name(),
        );
        let hint = "give it a fixed number, such as `max_workers=8`";
        report.add(unit.file, unit.span(call), message).hint(hint).done();
    }
}

/// Branches of a graph that are made for every item: all of them run in one step.
fn sends(repository: &Repository, unit: &Unit, report: &mut Report<'_>) {
    // The bound stands where the graph is run, which may be in another file.
    let is_run_bounded = || {
        let words = ["max_concurrency", "maxConcurrency"];
        repository.files.iter().any(|(_, file)| words.iter().any(|word| file.text.contains(word)))
    };
    for call in unit.calls() {
        let path = unit.callee(call).and_then(|callee| unit.path(callee));
        let send = path.is_some_and(|path| {
            let root = ["langgraph.", "@langchain/langgraph."].iter().any(|root| path.text.starts_with(root));
            root && path.text.ends_with(".Send")
        });
        let around = unit.syntax.around(call).take_while(|&id| unit.kind(id) != "function_definition");
        let mut many = around.filter_map(|id| match unit.kind(id) {
            "for_statement" | "for_in_statement" => unit.syntax.child(id, "right"),
            _ => each(unit, id).map(|(_, items)| items),
        });
        let Some(items) = many.next().filter(|_| send) else { continue };
        if bounded(unit, items) {
            continue;
        }
        if is_run_bounded() {
            return;
        }
        let message = format!(
            "`Send`{} makes a branch for every item of `{}`, and nothing says how many may run at once",
            service::place_name(unit, call),
            short(unit.text(items)),
        );
        report
            .add(unit.file, unit.span(call), message)
            .severity(Severity::Low)
            .hint("bound it where the graph is run: `config={\"max_concurrency\": 8}`")
            .done();
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

/// Tells whether the text shows how many items there are.
fn bounded(unit: &Unit, items: Id) -> bool {
    let constant =
        |text: &str| text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if unit.imported(unit.text(items)) || constant(unit.text(items)) {
        return true;
    }
    // As many lanes as a number says, unless that is the number of items.
    let text = unit.text(items);
    let lanes = ["Array(", "new Array(", "[...Array(", "[...new Array(", "Array.from({"];
    let length = unit.syntax[items].parent;
    let named = unit.kind(length) == "pair"
        && unit.syntax.child(length, "key").is_some_and(|key| unit.text(key) == "length");
    if (named || lanes.iter().any(|lane| text.starts_with(lane)))
        && !text.contains(".length")
        && !text.contains(".size")
    {
        return true;
    }
    let Some(value) = unit.value(items).map(|value| untyped(unit, value)) else { return false };
    let text = unit.text(value);
    // What is spread into a list may be of any length.
    let spreads = unit.syntax.children(value).any(|part| {
        matches!(unit.kind(part), "spread_element" | "list_splat")
            && unit.syntax.children(part).nth(1).is_some_and(|inner| !bounded(unit, inner))
    });
    let listed =
        !spreads && matches!(unit.kind(value), "list" | "tuple" | "set" | "array" | "dictionary" | "object");
    let grows = || {
        let name = unit.text(items);
        ["append(", "push(", "extend("].iter().any(|verb| unit.whole().contains(&format!("{name}.{verb}")))
    };
    // As many workers as a constant says.
    let counted = text.strip_prefix("range(").and_then(|rest| rest.strip_suffix(')')).is_some_and(|count| {
        let count = unit.args(value).first().filter(|_| !count.contains(',')).map(|arg| arg.value);
        count.is_some_and(|count| constant(unit.text(count)) || is_number(unit, count))
    });
    (listed && !grows())
        || counted
        || is_part(unit, value)
        || text.contains("[:")
        || text.contains(".slice(")
        || object_of_literal(unit, value)
}

/// Tells whether an expression is a number that stands there: by itself, by its name, or as what a parameter is if nobody says
/// otherwise, also where an object keeps that (`self.size = size`).
fn is_number(unit: &Unit, id: Id) -> bool {
    let value = unit.value(id).unwrap_or(id);
    if unit.kind(value) != "identifier" {
        return unit.kind(value) == "integer";
    }
    let Some(parameters) = unit.syntax.child(unit.function_of(value), "parameters") else { return false };
    unit.syntax.children(parameters).any(|parameter| {
        let child = |field| unit.syntax.child(parameter, field);
        child("name").is_some_and(|name| unit.text(name) == unit.text(value))
            && child("value").is_some_and(|default| unit.kind(default) == "integer")
    })
}

/// `jobs[start : start + 5]`
fn is_part(unit: &Unit, value: Id) -> bool {
    let slice = unit.syntax.children(value).find(|&child| unit.kind(child) == "slice");
    unit.kind(value) == "subscript" && slice.is_some_and(|slice| !unit.text(slice).trim_end().ends_with(':'))
}

/// `PROVIDERS.items()`, `Object.entries(PROVIDERS)` where the text shows all of them.
fn object_of_literal(unit: &Unit, value: Id) -> bool {
    if !unit.is_call(value) {
        return false;
    }
    let object = unit.callee(value).and_then(|callee| unit.syntax.child(callee, "object"));
    let given = unit.args(value).first().map(|arg| arg.value);
    [object, given].into_iter().flatten().any(|id| {
        unit.kind(id) == "identifier"
            && unit.value(id).is_some_and(|value| {
                matches!(unit.kind(untyped(unit, value)), "dictionary" | "object" | "list" | "array")
            })
    })
}

/// Returns an expression without what is only said of its type: `{ a: 1 }` of `{ a: 1 } as const`.
fn untyped(unit: &Unit, value: Id) -> Id {
    let mut value = value;
    while matches!(
        unit.kind(value),
        "as_expression" | "satisfies_expression" | "parenthesized_expression" | "non_null_expression"
    ) {
        let mut parts = unit.syntax.children(value).filter(|&id| unit.kind(id) != "(");
        let Some(inner) = parts.next() else { break };
        value = inner;
    }
    value
}
