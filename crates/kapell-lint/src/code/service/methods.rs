//! What a function reaches, by itself or through those that it calls.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use super::{Service, asked_over_http, of_call, of_words};
use crate::{
    code::{
        modules::{Modules, OfEach},
        programs,
        syntax::Id,
        unit::Unit,
    },
    files::FileId,
};

/// How far calls are followed into functions of the same file.
const STEPS: u32 = 3;

/// Finds the first call within `id`, or in functions of the file that it calls, that reaches a model or an agent; else
/// one that reaches the network.
#[must_use]
pub fn reached(unit: &Unit, id: Id) -> Option<(Id, Service)> {
    reached_within(unit, id, STEPS, &|_, _, _| None)
}

/// All functions of a repository by name: calls of methods are followed to whatever is called so.
#[derive(Debug)]
pub struct Methods<'a> {
    modules: Modules<'a>,
    named: HashMap<&'a str, Vec<(&'a Unit, Id)>>,
    /// Functions of which it is known that they reach no model and no agent, by how far they were followed.
    silent: RefCell<HashSet<(FileId, Id, u32)>>,
}

/// As many functions may answer to a name for it to mean one thing: what is abstract, and those that stand for it.
const NAMESAKES: usize = 6;

/// Names that mean something else in every class.
const COMMON: &[&str] = &[
    "execute",
    "process",
    "invoke",
    "ainvoke",
    "handle",
    "create",
    "update",
    "delete",
    "remove",
    "append",
    "insert",
    "submit",
    "cancel",
    "search",
    "filter",
    "format",
    "render",
    "extend",
    "resolve",
    "connect",
    "initialize",
    "validate",
    "__init__",
    "constructor",
];

/// How names begin of what looks something up or makes something ready: it may ask an agent's object, and no agent.
const PLAIN: &[&str] = &[
    "get", "set", "is_", "has", "filter", "require", "check", "validate", "load", "parse", "from", "to_",
    "list", "register", "build", "add", "add_",
];

/// Tells whether a name is that of plain work: `get_router`, `afilter_accessible`, `_require_permission`.
fn is_plain(name: &str) -> bool {
    let name = name.trim_start_matches('_');
    let starts = |name: &str| PLAIN.iter().any(|verb| name.starts_with(verb));
    // `get_response` asks.
    let asks = ["response", "answer", "completion", "reply"].iter().any(|word| name.contains(word));
    !asks && (starts(name) || name.strip_prefix('a').is_some_and(starts))
}

impl<'a> Methods<'a> {
    /// Lists the functions.
    #[must_use]
    pub fn new(units: &'a [Unit]) -> Self {
        let mut named: HashMap<&str, Vec<(&Unit, Id)>> = HashMap::new();
        for unit in units {
            for (name, functions) in unit.functions() {
                let plain = name.len() >= 6 && !COMMON.contains(&name) && !is_plain(name);
                let all = functions.iter().map(|&function| (unit, function));
                named.entry(name).or_default().extend(all.filter(|_| plain));
            }
        }
        Self { modules: Modules::new(units), named, silent: RefCell::default() }
    }

    /// Like [`reached`], and follows names into other files.
    #[must_use]
    pub fn reached(&self, unit: &Unit, id: Id) -> Option<(Id, Service)> {
        self.reached_through(unit, id, &|_| {})
    }

    /// Tells whether what `id` reaches is a model or an agent.
    #[must_use]
    pub fn asks(&self, unit: &Unit, id: Id) -> bool {
        self.reached(unit, id).is_some_and(|(_, service)| service.answers())
    }

    /// Like [`Self::reached`], and tells `seen` of each other file that leads there.
    #[must_use]
    pub fn reached_through(&self, unit: &Unit, id: Id, seen: &dyn Fn(&Unit)) -> Option<(Id, Service)> {
        reached_within(unit, id, STEPS, &|unit, call, steps| self.elsewhere(unit, call, steps, seen))
    }

    /// Finds the first agent that is started as a program within `id`, or in a function that it calls, of another file, too.
    /// Tells `seen` of each other file that leads there.
    #[must_use]
    pub fn started(
        &self,
        unit: &Unit,
        id: Id,
        steps: u32,
        seen: &dyn Fn(&Unit),
    ) -> Option<(Id, &'static str)> {
        unit.calls_in(id).find_map(|call| {
            let own = || Some((unit, unit.called(call).filter(|&own| !unit.syntax.holds(own, call))?));
            let inside = || {
                let steps = steps.checked_sub(1)?;
                let (other, function) = own().or_else(|| self.exported(unit, call))?;
                let (_, agent) = self.started(other, function, steps, seen)?;
                seen(other);
                Some(agent)
            };
            programs::agent(unit, call).or_else(inside).map(|agent| (call, agent))
        })
    }

    /// Returns the files that functions are looked for in.
    #[must_use]
    pub fn modules(&self) -> &Modules<'a> {
        &self.modules
    }

    /// Finds the function of another file that a call names by its import.
    #[must_use]
    pub fn exported(&self, unit: &Unit, call: Id) -> Option<(&'a Unit, Id)> {
        self.modules.exported(unit, call)
    }

    /// Finds the function of another file that a name means.
    #[must_use]
    pub fn function(&self, unit: &Unit, named: Id) -> Option<(&'a Unit, Id)> {
        self.modules.function(unit, named)
    }

    /// Finds the method that a call names of each object of a list.
    #[must_use]
    pub fn of_each(&self, unit: &'a Unit, call: Id) -> Option<OfEach<'a>> {
        self.modules.of_each(unit, call)
    }

    fn elsewhere(&self, unit: &Unit, call: Id, steps: u32, seen: &dyn Fn(&Unit)) -> Option<Service> {
        let steps = steps.checked_sub(1)?;
        let callee = unit.callee(call)?;
        let within = |(other, function): (&Unit, Id)| {
            let known = (other.file, function, steps);
            if self.silent.borrow().contains(&known) {
                return None;
            }
            let again = |unit: &Unit, call, steps| self.elsewhere(unit, call, steps, seen);
            let service = reached_within(other, function, steps, &again).map(|(_, service)| service);
            let Some(service) = service.filter(|service| !matches!(service, Service::Http(_))) else {
                self.silent.borrow_mut().insert(known);
                return None;
            };
            seen(other);
            Some(service)
        };
        if let Some(found) = self.exported(unit, call) {
            // A method that looks something up may ask an agent's object, and no agent.
            let method = found.0.is_method(found.1) && is_plain(unit.callee_name(call));
            return if method { None } else { within(found) };
        }
        // What the class of the caller has itself is that.
        if unit.kind(callee) == "identifier" || own_method(unit, call).is_some() {
            return None;
        }
        let object = unit.syntax.child(callee, "object")?;
        let root = unit.text(object).split(['.', '(', '[']).next().unwrap_or_default();
        let named = self.named.get(unit.callee_name(call)).filter(|_| !unit.imported(root))?;
        let few = (1..=NAMESAKES).contains(&named.len());
        named.iter().filter(|_| few).filter_map(|&found| within(found)).max()
    }
}

/// Finds the method of the same class that a call of `self` or `this` calls.
#[must_use]
pub fn own_method(unit: &Unit, call: Id) -> Option<Id> {
    let object = unit.syntax.child(unit.callee(call)?, "object")?;
    let class = unit.syntax.around(call).find(|&id| unit.is_class(id));
    let own = matches!(unit.text(object), "self" | "this");
    unit.method(class.filter(|_| own)?, unit.callee_name(call))
}

/// Follows a call out of its file.
type Elsewhere<'a> = dyn Fn(&Unit, Id, u32) -> Option<Service> + 'a;

/// Calls that wait for a function that they are given.
const WAITS_FOR: &[&str] =
    &["to_thread", "run_sync", "run_in_executor", "run_in_threadpool", "runInThread", "retry", "pRetry"];

/// Finds the function of the file that a call waits for, though it does not call it itself.
fn handed(unit: &Unit, call: Id) -> Option<Id> {
    let waits = WAITS_FOR.contains(&unit.callee_name(call));
    let mut named = unit.args(call).into_iter().filter(|arg| unit.kind(arg.value) == "identifier");
    named.find_map(|arg| unit.function(unit.text(arg.value)).filter(|_| waits))
}

fn reached_within(unit: &Unit, id: Id, steps: u32, elsewhere: &Elsewhere<'_>) -> Option<(Id, Service)> {
    let mut found: Option<(Id, Service)> = None;
    for call in unit.calls_in(id) {
        let known = of_call(unit, call);
        let local = || {
            let callee = unit.callee(call)?;
            let plain = unit.kind(callee) == "identifier"
                || ["self.", "this."].iter().any(|own| unit.text(callee).starts_with(own));
            let of_class = own_method(unit, call);
            let called =
                || of_class.or_else(|| plain.then(|| unit.function(unit.callee_name(call))).flatten());
            let function = called().or_else(|| handed(unit, call))?;
            let inside = steps.checked_sub(1).filter(|_| !unit.syntax.holds(function, call))?;
            reached_within(unit, function, inside, elsewhere).map(|(_, service)| service)
        };
        let service =
            known.or_else(local).or_else(|| of_words(unit, call)).or_else(|| elsewhere(unit, call, steps));
        let Some(service) = service else { continue };
        let service = match service {
            Service::Http(_) if known.is_some() => asked_over_http(unit, call).unwrap_or(service),
            service => service,
        };
        if found.is_none_or(|(_, before)| before < service) {
            found = Some((call, service));
        }
    }
    found
}
