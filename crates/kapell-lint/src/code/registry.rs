//! Agents that code registers by name with something of its own, and asks it for by that name:
//! `swarm.register_agent("coder", coder)`, `swarm.get_agent("coder")`.

use std::collections::BTreeSet;

use super::{syntax::Id, unit::Unit};

/// How an agent is registered.
const REGISTERS: &[&str] = &["register_agent", "registerAgent"];

/// How one is asked for.
pub(super) const ASKS: &[&str] = &["get_agent", "getAgent"];

/// What an agent is set to work by.
const WORKS: &[&str] =
    &["run", "arun", "execute", "invoke", "ainvoke", "process", "ask", "act", "chat", "call"];

/// A call that names an agent.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The file.
    pub unit: &'a Unit,
    /// The call.
    pub call: Id,
    /// Where the name stands.
    pub at: Id,
    /// The agent's name.
    pub name: &'a str,
}

/// Where a repository has its registry.
struct Home<'a> {
    /// The file.
    unit: &'a Unit,
    /// The function that registers, and the one that is asked.
    functions: [Id; 2],
    /// The attribute that the table is kept in.
    table: &'a str,
}

/// What a repository registers its agents with.
#[derive(Debug)]
pub struct Registry<'a> {
    /// Who is registered.
    pub registered: Vec<Named<'a>>,
    /// Who is asked for.
    pub asked: Vec<Named<'a>>,
    /// Whether others may be registered in a way that cannot be seen.
    pub hides_registered: bool,
    /// Whether others may be asked for so.
    pub hides_asked: bool,
}

impl<'a> Registry<'a> {
    /// Finds the registry of a repository, if it has just one.
    #[must_use]
    pub fn of(units: &'a [Unit]) -> Option<Self> {
        let (unit, register) = only(units, REGISTERS)?;
        let (other, get) = only(units, ASKS)?;
        let table = kept(unit, register).filter(|_| unit.file == other.file);
        let home = table.map(|table| Home { unit, functions: [register, get], table });
        let mut registry = Self {
            registered: Vec::new(),
            asked: Vec::new(),
            hides_registered: home.is_none(),
            hides_asked: home.is_none(),
        };
        for unit in units.iter().filter(|unit| unit.whole().contains("gent")) {
            registry.read_calls(unit);
            if let Some(home) = &home {
                registry.read_uses(unit, home);
            }
        }
        Some(registry)
    }

    fn read_calls(&mut self, unit: &'a Unit) {
        for call in unit.calls() {
            let method = unit.callee_name(call);
            let registers = REGISTERS.contains(&method);
            if !registers && !ASKS.contains(&method) {
                continue;
            }
            let first = unit.args(call).first().filter(|arg| arg.name.is_none()).map(|arg| arg.value);
            match first.and_then(|at| Some((at, unit.literal(at)?))) {
                Some((at, name)) if registers => self.registered.push(Named { unit, call, at, name }),
                Some((at, name)) => self.asked.push(Named { unit, call, at, name }),
                None if registers => self.hides_registered = true,
                None => self.hides_asked = true,
            }
        }
    }

    /// Reads what else is done with the table, by its name.
    fn read_uses(&mut self, unit: &Unit, home: &Home<'_>) {
        if !unit.whole().contains(home.table) {
            return;
        }
        let is_home = unit.file == home.unit.file;
        for id in unit.syntax.of_kind(&["attribute", "member_expression"]) {
            let named =
                |field| unit.syntax.child(id, field).is_some_and(|name| unit.text(name) == home.table);
            let object = unit.syntax.child(id, "object").map_or("", |object| unit.text(object));
            // Another class has another table.
            let mine = is_home || !matches!(object, "self" | "this");
            let inside = is_home && home.functions.iter().any(|&function| unit.syntax.holds(function, id));
            if !mine || inside || !(named("attribute") || named("property")) {
                continue;
            }
            match use_of(unit, id) {
                Use::Counted => {}
                Use::Filled => self.hides_registered = true,
                Use::Other => self.hides_asked = true,
            }
        }
    }

    /// Returns who is asked for and not registered, if all who are can be seen.
    #[must_use]
    pub fn unregistered(&self) -> Vec<Named<'a>> {
        let names: BTreeSet<&str> = self.registered.iter().map(|named| named.name).collect();
        if self.hides_registered || names.len() < WRITTEN_OUT_MIN {
            return Vec::new();
        }
        self.asked.iter().copied().filter(|named| !names.contains(named.name)).collect()
    }

    /// Returns who is registered and never asked for, if all who are asked for can be seen.
    #[must_use]
    pub fn unasked(&self) -> Vec<Named<'a>> {
        let names: BTreeSet<&str> = self.asked.iter().map(|named| named.name).collect();
        if self.hides_asked || names.len() < WRITTEN_OUT_MIN {
            return Vec::new();
        }
        self.registered.iter().copied().filter(|named| !names.contains(named.name)).collect()
    }
}

/// The least number of names that are written out from which on a table is taken to be filled, or asked, by such names: with
/// fewer of them the rest may go by names that are computed.
const WRITTEN_OUT_MIN: usize = 3;

/// What is done with a table.
enum Use {
    /// It is made, counted, or its names are listed.
    Counted,
    /// Something is put in.
    Filled,
    /// Anything else.
    Other,
}

fn use_of(unit: &Unit, table: Id) -> Use {
    let around = unit.syntax[table].parent;
    let field = |name| unit.syntax.child(around, name);
    match unit.kind(around) {
        "assignment" | "assignment_expression" if field("left") == Some(table) => Use::Counted,
        "attribute" | "member_expression" => {
            let name = field("attribute").or_else(|| field("property")).map_or("", |name| unit.text(name));
            match name {
                "keys" | "length" | "size" => Use::Counted,
                "update" | "setdefault" | "set" => Use::Filled,
                _ => Use::Other,
            }
        }
        "subscript" | "subscript_expression" => {
            let whole = unit.syntax[around].parent;
            let filled = matches!(unit.kind(whole), "assignment" | "assignment_expression")
                && unit.syntax.child(whole, "left") == Some(around);
            if filled { Use::Filled } else { Use::Other }
        }
        "argument_list" if unit.callee_name(unit.syntax[around].parent) == "len" => Use::Counted,
        _ => Use::Other,
    }
}

/// Finds the one function of a repository that is called so.
fn only<'a>(units: &'a [Unit], names: &[&str]) -> Option<(&'a Unit, Id)> {
    let mut all = units.iter().flat_map(|unit| {
        let named = unit.functions().filter(|(name, _)| names.contains(name));
        named.flat_map(move |(_, functions)| functions.iter().map(move |&function| (unit, function)))
    });
    all.next().filter(|_| all.next().is_none())
}

/// Returns the attribute that a function keeps agents in: `_agents` of `self._agents[role] = agent`.
fn kept(unit: &Unit, register: Id) -> Option<&str> {
    let table = unit.syntax.below(register).find_map(|id| match unit.kind(id) {
        "assignment" | "assignment_expression" => {
            let left = unit.syntax.child(id, "left")?;
            unit.syntax.child(left, "value").or_else(|| unit.syntax.child(left, "object"))
        }
        "call_expression" if unit.callee_name(id) == "set" => unit.syntax.child(unit.callee(id)?, "object"),
        _ => None,
    })?;
    let name = unit.syntax.child(table, "attribute").or_else(|| unit.syntax.child(table, "property"))?;
    Some(unit.text(name))
}

/// Tells whether a call sets an agent to work that was asked for by its name: `get_agent("coder").run(task)`.
#[must_use]
pub fn works(unit: &Unit, call: Id) -> bool {
    if !WORKS.contains(&unit.callee_name(call)) {
        return false;
    }
    let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
    let mut given = object.and_then(|object| unit.value(object));
    while let Some(id) =
        given.filter(|&id| matches!(unit.kind(id), "await" | "await_expression" | "parenthesized_expression"))
    {
        given = unit.syntax.children(id).nth(1);
    }
    given.is_some_and(|id| unit.is_call(id) && ASKS.contains(&unit.callee_name(id)))
}
