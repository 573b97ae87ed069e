//! Graphs of steps that code puts together node by node: LangGraph in Python and in TypeScript.
//!
//! Source: langgraph 1.0, `StateGraph`: `compile` refuses a name that no node has; a node that nothing leads to never runs; a
//! run that has gone through `recursion_limit` steps fails.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    modules::Modules,
    syntax::Id,
    unit::{FUNCTIONS, Unit},
};

/// The start of a graph.
pub const START: &str = "__start__";
/// Its end.
pub const END: &str = "__end__";

/// A graph of steps.
#[derive(Debug)]
pub struct Graph<'a> {
    /// The file that builds it.
    pub unit: &'a Unit,
    /// What makes it.
    pub made: Id,
    /// Its nodes by name.
    pub nodes: BTreeMap<&'a str, Step>,
    /// Which leads to which.
    pub edges: Vec<Edge<'a>>,
    /// Where a function chooses how a run goes on, as it is written.
    pub choices: Vec<Choice<'a>>,
    /// Whether there may be nodes that cannot be seen.
    pub hides_nodes: bool,
    /// Whether there may be edges that cannot be seen.
    pub hides_edges: bool,
    /// What the names of a loop stand for in the round that is read.
    given: Round<'a>,
    /// Nodes whose names are put together.
    composed: Vec<Composed<'a>>,
}

/// A node.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Where its name stands.
    pub at: Id,
    /// What it runs, if that is given beside the name.
    pub runs: Option<Id>,
}

/// A node that is named after what it runs: `f"do_{step.__name__}"`.
#[derive(Debug, Clone, Copy)]
struct Composed<'a> {
    step: Step,
    /// What stands before the name of the function, that name, and what stands behind it.
    name: [&'a str; 3],
}

impl Composed<'_> {
    /// Tells whether this is its whole name.
    fn is(&self, name: &str) -> bool {
        let [before, own, behind] = self.name;
        name.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind)) == Some(own)
    }
}

/// What the names of a loop stand for in one round.
type Round<'a> = BTreeMap<&'a str, Id>;

/// A way from one node to another.
#[derive(Debug, Clone, Copy)]
pub struct Edge<'a> {
    /// From where.
    pub from: &'a str,
    /// To where.
    pub to: &'a str,
    /// Where `from` is written.
    pub from_at: Id,
    /// Where `to` is written.
    pub to_at: Id,
    /// Whether it is one of several, of which a function chooses.
    pub chosen: bool,
}

/// An answer of a router that leads nowhere.
#[derive(Debug, Clone, Copy)]
pub struct LostAnswer<'a> {
    /// The file of the router.
    pub unit: &'a Unit,
    /// Where the answer stands there.
    pub at: Id,
    /// What it is.
    pub name: &'a str,
}

/// Where a function chooses how a run goes on.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// The node after which it does.
    pub from: &'a str,
    /// What stands for the function.
    pub router: Id,
    /// The map from its answers to nodes, or the list of nodes, if there is one.
    pub map: Option<Id>,
}

/// Classes that build graphs.
const BUILDERS: &[&str] = &["StateGraph", "MessageGraph", "Graph"];

/// Finds the graphs that a file builds.
#[must_use]
pub fn of(unit: &Unit) -> Vec<Graph<'_>> {
    if !unit.whole().contains("langgraph") {
        return Vec::new();
    }
    let mut graphs: BTreeMap<Id, Graph<'_>> = BTreeMap::new();
    let mut hidden = BTreeSet::new();
    for call in unit.calls() {
        let method = unit.callee_name(call);
        let Some(object) = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object")) else {
            // A function that is handed the builder may do anything with it.
            hidden.extend(unit.args(call).iter().filter_map(|arg| builder(unit, arg.value)));
            continue;
        };
        let Some(made) = builder(unit, object) else {
            hidden.extend(unit.args(call).iter().filter_map(|arg| builder(unit, arg.value)));
            continue;
        };
        let graph = graphs.entry(made).or_insert_with(|| Graph {
            unit,
            made,
            nodes: BTreeMap::new(),
            edges: Vec::new(),
            choices: Vec::new(),
            hides_nodes: false,
            hides_edges: false,
            given: Round::new(),
            composed: Vec::new(),
        });
        for round in rounds(unit, call).unwrap_or_else(|| vec![Round::new()]) {
            graph.given = round;
            graph.read(method, call);
        }
        graph.given = Round::new();
    }
    let mut found: Vec<Graph<'_>> = graphs.into_values().collect();
    for graph in &mut found {
        graph.name_composed();
        let hidden = hidden.contains(&graph.made);
        graph.hides_nodes |= hidden;
        graph.hides_edges |= hidden;
    }
    found
}

/// Returns what the names of the loop around a node stand for in each of its rounds, where the text shows all of them:
/// `for name in ("plan", "write")`, `for name, run in {"plan": plan}.items()`. `None` where there is no loop, or more is needed.
fn rounds(unit: &Unit, id: Id) -> Option<Vec<Round<'_>>> {
    let around = unit.syntax.around(id).take_while(|&id| !FUNCTIONS.contains(&unit.kind(id)));
    let mut loops = around
        .filter(|&id| matches!(unit.kind(id), "for_statement" | "for_in_statement" | "while_statement"));
    let each = loops.next().filter(|_| loops.next().is_none())?;
    rounds_of(unit, each)
}

fn rounds_of(unit: &Unit, each: Id) -> Option<Vec<Round<'_>>> {
    let left = unit.syntax.child(each, "left")?;
    let names: Vec<&str> = match unit.kind(left) {
        "identifier" => vec![unit.text(left)],
        "pattern_list" | "tuple_pattern" | "array_pattern" => parts(unit, left)
            .into_iter()
            .map(|id| (unit.kind(id) == "identifier").then(|| unit.text(id)))
            .collect::<Option<_>>()?,
        _ => return None,
    };
    let mut right = unit.value(unit.syntax.child(each, "right")?)?;
    if unit.callee_name(right) == "items" && unit.kind(right) == "call" {
        right = unit.value(unit.syntax.child(unit.callee(right)?, "object")?)?;
    }
    let values: Vec<Vec<Id>> = match unit.kind(right) {
        "dictionary" => parts(unit, right)
            .into_iter()
            .filter(|&id| !matches!(unit.kind(id), "{" | "}"))
            .map(|pair| Some(vec![unit.syntax.child(pair, "key")?, unit.syntax.child(pair, "value")?]))
            .collect::<Option<_>>()?,
        "list" | "tuple" | "array" => {
            let each = |id: Id| match unit.kind(id) {
                "tuple" | "list" | "array" => parts(unit, id),
                _ => vec![id],
            };
            parts(unit, right).into_iter().map(each).collect()
        }
        _ => return None,
    };
    // Over a dictionary itself go its keys.
    let whole = values.iter().all(|values| values.len() >= names.len());
    whole.then(|| values.into_iter().map(|values| names.iter().copied().zip(values).collect()).collect())
}

/// How far a chain of calls is followed to what was built first.
const CHAIN: usize = 400;

/// Finds what makes the builder that an expression stands for.
fn builder(unit: &Unit, expression: Id) -> Option<Id> {
    let mut at = expression;
    for _ in 0..CHAIN {
        match unit.kind(at) {
            "identifier" | "attribute" | "member_expression" => {
                let values = unit.values(at, unit.text(at));
                at = *values.first().filter(|value| !unit.syntax.holds(**value, at))?;
            }
            "call" | "call_expression" | "new_expression" => {
                let callee = unit.callee(at)?;
                let name = unit.callee_name(at).split(['[', '<']).next().unwrap_or_default();
                if BUILDERS.contains(&name) && matches!(unit.kind(callee), "identifier" | "subscript") {
                    let from = unit.origin(name).map(|origin| &*origin.module);
                    let known = from.is_some_and(|module| {
                        module.starts_with("langgraph") || module.starts_with("@langchain/langgraph")
                    });
                    return known.then_some(at);
                }
                at = unit.syntax.child(callee, "object")?;
            }
            "await" | "await_expression" | "parenthesized_expression" | "as_expression" => {
                at = unit.syntax.children(at).nth(1)?;
            }
            _ => return None,
        }
    }
    None
}

impl<'a> Graph<'a> {
    fn read(&mut self, method: &str, call: Id) {
        let plain = self.unit.args(call).into_iter().filter(|arg| arg.name.is_none());
        let args: Vec<Id> = plain.map(|arg| self.meant(arg.value)).collect();
        match method {
            "add_node" | "addNode" => self.read_node(call, &args),
            "add_edge" | "addEdge" => self.read_edge(&args),
            "add_conditional_edges" | "addConditionalEdges" => self.read_choice(call, &args),
            "set_entry_point" | "setEntryPoint" => self.join_start(call, &args),
            "set_finish_point" | "setFinishPoint" => {}
            "add_sequence" | "addSequence" | "set_conditional_entry_point" => self.hide(),
            _ => {}
        }
    }

    /// Returns what an expression stands for in this round of a loop.
    fn meant(&self, id: Id) -> Id {
        self.given.get(self.unit.text(id)).copied().unwrap_or(id)
    }

    /// Tells whether an expression stands for what builds this graph.
    #[must_use]
    pub fn is_built_by(&self, expression: Id) -> bool {
        builder(self.unit, expression) == Some(self.made)
    }

    fn hide(&mut self) {
        (self.hides_nodes, self.hides_edges) = (true, true);
    }

    fn read_node(&mut self, call: Id, args: &[Id]) {
        let unit = self.unit;
        let named = || {
            let name = self.meant(unit.keyword(call, "node")?);
            Some((name, name_of(unit, name)?, unit.keyword(call, "action").map(|id| self.meant(id))))
        };
        let first = args.first().and_then(|&first| match unit.kind(first) {
            // `add_node(plan)` takes the name of the function.
            "identifier" if args.len() == 1 && text_of(unit, first).is_none() => {
                Some((first, unit.text(first), Some(first)))
            }
            _ => Some((first, name_of(unit, first)?, args.get(1).copied())),
        });
        match first.or_else(named) {
            Some((at, name, runs)) => drop(self.nodes.insert(name, Step { at, runs })),
            None => match args.first().and_then(|&first| self.composed(first, args.get(1).copied())) {
                Some(composed) => self.composed.push(composed),
                None => self.hide(),
            },
        }
        // What a node says of where it goes on.
        let options = args.get(2).map_or("", |&options| unit.text(options));
        if unit.keyword(call, "destinations").is_some() || options.contains("ends") {
            self.hides_edges = true;
        }
    }

    /// Reads a name that is put together of the name of a function.
    fn composed(&self, at: Id, runs: Option<Id>) -> Option<Composed<'a>> {
        let unit = self.unit;
        let text = unit.text(at).strip_prefix('f')?.trim_matches(['"', '\'']);
        let (before, rest) = text.split_once('{')?;
        let (inner, behind) = rest.split_once('}')?;
        let function = self.given.get(inner.strip_suffix(".__name__")?)?;
        let plain =
            unit.kind(at) == "string" && unit.kind(*function) == "identifier" && !behind.contains('{');
        plain.then(|| Composed { step: Step { at, runs }, name: [before, unit.text(*function), behind] })
    }

    /// Gives the nodes whose names are put together the names by which edges lead to them.
    fn name_composed(&mut self) {
        for composed in std::mem::take(&mut self.composed) {
            let mut names = self.edges.iter().flat_map(|edge| [edge.from, edge.to]);
            match names.find(|name| composed.is(name)) {
                Some(name) => drop(self.nodes.insert(name, composed.step)),
                None => self.hide(),
            }
        }
    }

    fn read_edge(&mut self, args: &[Id]) {
        let &[from, to] = args else { return self.hides_edges = true };
        let unit = self.unit;
        let froms: Vec<Id> = match unit.kind(from) {
            "list" | "array" | "tuple" => parts(unit, from),
            _ => vec![from],
        };
        for from in froms.into_iter().map(|from| self.meant(from)).collect::<Vec<_>>() {
            match (name_of(unit, from), name_of(unit, to)) {
                (Some(start), Some(end)) => {
                    self.edges.push(Edge { from: start, to: end, from_at: from, to_at: to, chosen: false });
                }
                _ => self.hides_edges = true,
            }
        }
    }

    fn join_start(&mut self, call: Id, args: &[Id]) {
        let named = args.first().copied().or_else(|| self.unit.keyword(call, "key"));
        match named.and_then(|at| Some((at, name_of(self.unit, at)?))) {
            Some((at, to)) => {
                self.edges.push(Edge { from: START, to, from_at: at, to_at: at, chosen: false })
            }
            None => self.hides_edges = true,
        }
    }

    fn read_choice(&mut self, call: Id, args: &[Id]) {
        let unit = self.unit;
        let map = args.get(2).copied().or_else(|| unit.keyword(call, "path_map"));
        let map = map.and_then(|map| unit.value(map));
        let router = args.get(1).copied().or_else(|| unit.keyword(call, "path"));
        let from = args.first().and_then(|&at| Some((at, name_of(unit, at)?)));
        self.choices.extend(from.zip(router).map(|((_, from), router)| Choice { from, router, map }));
        let Some(((from_at, from), map)) = from.zip(map) else { return self.hides_edges = true };
        let ends: Vec<Id> = match unit.kind(map) {
            "dictionary" | "object" => {
                let plain = |id: &Id| !matches!(unit.kind(*id), "{" | "}" | "," | "comment");
                let pairs = unit.syntax.children(map).filter(plain);
                pairs.map(|pair| unit.syntax.child(pair, "value").unwrap_or(pair)).collect()
            }
            "list" | "array" | "tuple" => parts(unit, map),
            _ => return self.hides_edges = true,
        };
        for end in ends {
            match name_of(unit, end) {
                Some(to) => self.edges.push(Edge { from, to, from_at, to_at: end, chosen: true }),
                None => self.hides_edges = true,
            }
        }
    }

    /// Returns the nodes that nothing leads to, though something else does run.
    #[must_use]
    pub fn unreached(&self) -> Vec<(&'a str, Id)> {
        let starts = self.edges.iter().any(|edge| edge.from == START);
        // An edge to a name that no node has was to lead somewhere.
        if self.hides_nodes || self.hides_edges || !starts || !self.undefined().is_empty() {
            return Vec::new();
        }
        let led_to: BTreeSet<&str> =
            self.edges.iter().filter(|edge| edge.from != edge.to).map(|edge| edge.to).collect();
        let nodes = self.nodes.iter().filter(|(name, _)| !led_to.contains(**name));
        nodes.map(|(name, node)| (*name, node.at)).collect()
    }

    /// Returns the names of edges that no node has.
    #[must_use]
    pub fn undefined(&self) -> Vec<(&'a str, Id)> {
        if self.hides_nodes || self.nodes.len() < 2 {
            return Vec::new();
        }
        let known = |name: &str| matches!(name, START | END) || self.nodes.contains_key(name);
        let ends = self.edges.iter().flat_map(|edge| [(edge.from, edge.from_at), (edge.to, edge.to_at)]);
        let mut found: Vec<(&str, Id)> = ends.filter(|(name, _)| !known(name)).collect();
        found.sort_by_key(|(name, at)| (*name, *at));
        found.dedup_by_key(|(name, _)| *name);
        found
    }

    /// Returns what routers, of this file or another one, answer though no node is called so, and no entry of the map beside
    /// them.
    #[must_use]
    pub fn lost_answers(&self, modules: &Modules<'a>) -> Vec<LostAnswer<'a>> {
        if self.hides_nodes || self.nodes.len() < 2 {
            return Vec::new();
        }
        self.choices.iter().flat_map(|choice| self.lost_of(modules, choice).unwrap_or_default()).collect()
    }

    fn lost_of(&self, modules: &Modules<'a>, choice: &Choice<'a>) -> Option<Vec<LostAnswer<'a>>> {
        let own = self.unit.function(self.unit.text(choice.router)).map(|own| (self.unit, own));
        let (unit, router) = own.or_else(|| modules.function(self.unit, choice.router))?;
        let answers = match choice.map {
            None => None,
            Some(map) => Some(answers(self.unit, map)?),
        };
        let known = |name: &str| match &answers {
            Some(answers) => answers.contains(&name),
            None => matches!(name, START | END) || self.nodes.contains_key(name),
        };
        let texts = given(unit, router).into_iter().filter(|&id| unit.kind(id) == "string");
        let lost = texts.filter_map(|at| Some(LostAnswer { unit, at, name: text_of(unit, at)? }));
        Some(lost.filter(|lost| !known(lost.name)).collect())
    }

    /// Returns the node that an answer of a choice leads to; `unit` is the file of the answer.
    #[must_use]
    pub fn led_to(&self, choice: &Choice<'a>, unit: &'a Unit, answer: Id) -> Option<&'a str> {
        let name = name_of(unit, answer)?;
        let end = match choice.map {
            Some(map) if matches!(self.unit.kind(map), "dictionary" | "object") => {
                name_of(self.unit, self.unit.object_key(map, name)??)?
            }
            _ => name,
        };
        (end == END || self.nodes.contains_key(end)).then_some(end)
    }

    /// Returns a round that a run which enters it never leaves, from its first edge on.
    #[must_use]
    pub fn endless(&self) -> Option<Vec<Edge<'a>>> {
        if self.hides_nodes || self.hides_edges {
            return None;
        }
        let next = |name: &'a str| self.edges.iter().filter(move |edge| edge.from == name);
        let reached = |from: &'a str| {
            let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
            while let Some(name) = left.pop() {
                left.extend(next(name).map(|edge| edge.to).filter(|to| seen.insert(*to)));
            }
            seen
        };
        let started = reached(START);
        let first = self.nodes.keys().copied().filter(|name| started.contains(name)).find(|&name| {
            let after = reached(name);
            // What leads nowhere ends there.
            let ends = after.iter().any(|end| *end == END || next(end).next().is_none());
            after.contains(name) && !ends
        })?;
        let mut round: Vec<Edge<'a>> = Vec::new();
        let mut at = first;
        while !round.iter().any(|edge| edge.from == at) {
            round.push(*next(at).next()?);
            at = round.last()?.to;
        }
        let start = round.iter().position(|edge| edge.from == at)?;
        Some(round.split_off(start))
    }
}

/// Returns what a function may give back, each end of a choice by itself: what it returns, or what an arrow leads to.
#[must_use]
pub fn given(unit: &Unit, function: Id) -> Vec<Id> {
    let own = unit.syntax.below(function).filter(|&id| unit.function_of(id) == function);
    let back = own.filter(|&id| unit.kind(id) == "return_statement");
    let plain = |&id: &Id| !matches!(unit.kind(id), "statement_block" | "block");
    let arrow = unit.syntax.child(function, "body").filter(plain);
    let all = back.filter_map(|back| unit.syntax.children(back).nth(1)).chain(arrow);
    all.filter(|&id| unit.kind(id) != ";").flat_map(|id| chosen(unit, id)).collect()
}

/// Returns the keys of a map from answers to nodes, if all of them are plain texts.
fn answers(unit: &Unit, map: Id) -> Option<Vec<&str>> {
    if !matches!(unit.kind(map), "dictionary" | "object") {
        return None;
    }
    let pairs = unit.syntax.children(map).filter(|&id| !matches!(unit.kind(id), "{" | "}" | "," | "comment"));
    pairs
        .map(|pair| {
            let key = unit.syntax.child(pair, "key")?;
            if unit.kind(key) == "property_identifier" { Some(unit.text(key)) } else { name_of(unit, key) }
        })
        .collect()
}

/// Returns what an expression may come to: both ends of `"a" if x else "b"` and of `x ? "a" : "b"`.
fn chosen(unit: &Unit, id: Id) -> Vec<Id> {
    let (mut found, mut open) = (Vec::new(), vec![id]);
    while let Some(id) = open.pop() {
        match unit.kind(id) {
            "parenthesized_expression" => open.extend(unit.syntax.children(id).nth(1)),
            // In Python the condition stands between the two.
            "conditional_expression" => {
                let children: Vec<Id> = unit.syntax.children(id).collect();
                open.extend(children.last().into_iter().chain(children.first()));
            }
            "ternary_expression" => {
                open.extend(
                    ["alternative", "consequence"].iter().filter_map(|end| unit.syntax.child(id, end)),
                );
            }
            _ => found.push(id),
        }
    }
    found
}

/// Returns the parts of a list.
fn parts(unit: &Unit, list: Id) -> Vec<Id> {
    let plain = |id: &Id| !matches!(unit.kind(*id), "[" | "]" | "(" | ")" | "," | "comment");
    unit.syntax.children(list).filter(plain).collect()
}

/// Returns the name that an expression stands for: a text, a constant, the start or the end.
fn name_of(unit: &Unit, id: Id) -> Option<&str> {
    let text = unit.text(id);
    let last = text.rsplit('.').next().unwrap_or(text);
    if matches!(unit.kind(id), "identifier" | "attribute" | "member_expression")
        && unit.values(id, text).is_empty()
    {
        return match last {
            "START" => Some(START),
            "END" => Some(END),
            // `add_edge(plan, write)` is not read: only texts are names.
            _ => None,
        };
    }
    text_of(unit, id)
}

/// Returns a plain text, or that of a constant.
fn text_of(unit: &Unit, id: Id) -> Option<&str> {
    let value = unit.value(id).filter(|&value| unit.kind(value) == "string")?;
    let text = unit.text(value);
    let plain = text.starts_with(['"', '\'']) && !text.contains('\n');
    plain.then(|| text.trim_matches(['"', '\'']))
}

/// Tells whether what a node runs may say itself where it goes on: a function that cannot be seen may.
#[must_use]
pub fn may_go_anywhere(units: &[Unit], graph: &Graph<'_>) -> bool {
    let says = |unit: &Unit| {
        let text = unit.whole();
        text.contains("Command") && text.contains("goto")
    };
    // Graphs in loops and branches of a function are read as if all of it ran.
    let looped = |id: Id| {
        let around = graph.unit.syntax.around(id).take_while(|&id| !FUNCTIONS.contains(&graph.unit.kind(id)));
        around.into_iter().any(|id| match graph.unit.kind(id) {
            "if_statement" | "while_statement" => true,
            "for_statement" | "for_in_statement" => rounds_of(graph.unit, id).is_none(),
            _ => false,
        })
    };
    graph.nodes.values().any(|node| looped(node.at))
        || graph.edges.iter().any(|edge| looped(edge.to_at))
        || units.iter().any(says)
}
