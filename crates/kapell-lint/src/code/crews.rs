//! Agents that code makes as objects, and which of them is a tool or a part of which.

use std::collections::BTreeMap;

use super::{imports::Part, syntax::Id, unit::Unit};
use crate::files::FileId;

/// An agent that a file makes once, under a name of its own.
#[derive(Debug)]
pub struct Member<'a> {
    /// The file.
    pub unit: &'a Unit,
    /// The variable.
    pub name: &'a str,
    /// Where it is bound.
    pub at: Id,
    /// The call that makes it.
    pub made: Id,
}

/// Where agents are made objects of: how the module begins, and how the class ends.
const MAKERS: &[(&str, &str)] = &[
    ("agents", "Agent"),
    ("@openai/agents", "Agent"),
    ("crewai", "Agent"),
    ("autogen_agentchat.agents", "Agent"),
    ("pydantic_ai", "Agent"),
    ("@mastra/core", "Agent"),
    ("google.adk.agents", "Agent"),
    ("agno.agent", "Agent"),
    ("strands", "Agent"),
    ("smolagents", "Agent"),
    ("@voltagent/core", "Agent"),
];

/// Where an agent is given others that it calls like a tool.
const PARTS: &[&str] = &["tools", "sub_agents", "subAgents", "subagents", "managed_agents", "agents"];

/// Finds the agents that files make once.
#[must_use]
pub fn members(units: &[Unit]) -> Vec<Member<'_>> {
    let mentions = |unit: &&Unit| unit.whole().contains("Agent(") || unit.whole().contains("Agent[");
    let all = units.iter().filter(mentions).flat_map(|unit| {
        let bound = unit.syntax.of_kind(&["assignment", "variable_declarator"]);
        bound.filter_map(move |id| member(unit, id))
    });
    all.collect()
}

fn member(unit: &Unit, bound: Id) -> Option<Member<'_>> {
    let child = |field| unit.syntax.child(bound, field);
    let at = child("left").or_else(|| child("name"))?;
    let made = child("right").or_else(|| child("value"))?;
    if unit.kind(at) != "identifier" || unit.function_of(bound) != Id::ROOT {
        return None;
    }
    let class = unit.callee_name(made).split(['[', '<']).next().unwrap_or_default();
    let origin = unit.origin(class)?;
    let is_maker = |(module, end): &&(&str, &str)| {
        let rest = origin.module.strip_prefix(module);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/'])) && class.ends_with(end)
    };
    MAKERS.iter().find(is_maker).filter(|_| origin.target.is_none())?;
    Some(Member { unit, name: unit.text(at), at, made })
}

/// One agent is a tool or a part of another.
#[derive(Debug, Clone, Copy)]
pub struct Holds {
    /// The number of the agent that has it.
    pub from: usize,
    /// The number of the one that it has.
    pub to: usize,
    /// Where it is named.
    pub at: Id,
}

/// Finds which agent calls which like a tool.
#[must_use]
pub fn held(members: &[Member<'_>]) -> Vec<Holds> {
    let by_name: BTreeMap<(FileId, &str), usize> =
        members.iter().enumerate().map(|(at, member)| ((member.unit.file, member.name), at)).collect();
    let mut found = Vec::new();
    for (from, member) in members.iter().enumerate() {
        let unit = member.unit;
        for list in PARTS.iter().filter_map(|name| given(unit, member.made, name)) {
            let names = unit.syntax.below(list).filter(|&id| unit.kind(id) == "identifier");
            for id in names {
                let name = unit.text(id);
                let target = unit.origin(name).and_then(|origin| origin.target.as_ref());
                let key = match target {
                    Some((file, Part::Named(name))) => (*file, &**name),
                    _ => (unit.file, name),
                };
                let to = by_name.get(&key).copied().filter(|to| *to != from);
                found.extend(to.map(|to| Holds { from, to, at: id }));
            }
        }
    }
    found
}

/// Returns what a call is given by a name, in Python or in an object.
#[must_use]
pub fn given(unit: &Unit, call: Id, name: &str) -> Option<Id> {
    unit.keyword(call, name).or_else(|| {
        let options = unit.args(call).into_iter().map(|arg| arg.value);
        let mut objects = options.filter(|&id| unit.kind(id) == "object");
        objects.find_map(|object| unit.object_key(object, name).flatten())
    })
}

/// Returns the longest chain of agents of which each calls the next like a tool.
#[must_use]
pub fn longest(held: &[Holds], members: usize) -> Vec<Holds> {
    fn from(at: usize, held: &[Holds], path: &mut Vec<Holds>, best: &mut Vec<Holds>) {
        if path.len() > best.len() {
            best.clone_from(path);
        }
        // Longer chains than that are told anyway.
        if path.len() >= 8 {
            return;
        }
        for hold in held.iter().filter(|hold| hold.from == at) {
            if path.iter().all(|other| other.from != hold.to) {
                path.push(*hold);
                from(hold.to, held, path, best);
                path.pop();
            }
        }
    }
    let mut best = Vec::new();
    if held.len() < 64 {
        for at in 0..members {
            from(at, held, &mut Vec::new(), &mut best);
        }
    }
    best
}
