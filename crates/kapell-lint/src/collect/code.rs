//! What code adds to the inventory: files that ask models or agents, agents that are made or registered there, and graphs of
//! steps.

use std::collections::BTreeMap;

use kapell_spec::finding::Span;
use kapell_view::audit::{AssetKind, EdgeKind, Scope, Strength};

use crate::{
    code::{
        Id, Unit, crews,
        graphs::{self, END, Graph, START},
        registry::Registry,
        service,
    },
    files::FileId,
    inventory::{AssetKey, Builder, Target},
    repository::Repository,
};

/// Adds all of it, as far as code is read at this depth.
pub(super) fn collect(repository: &Repository, builder: &mut Builder<'_>) {
    let mut asked = add_registered(repository, builder);
    add_members(repository, builder);
    for unit in repository.code.iter() {
        let asks = || unit.calls().any(|call| service::asks(unit, call));
        let graphs = graphs::of(unit);
        for graph in &graphs {
            add_graph(graph, builder);
        }
        let asked = asked.remove(&unit.file).unwrap_or_default();
        if asked.is_empty() && (!graphs.is_empty() || !asks()) {
            continue;
        }
        let file = &repository.files[unit.file];
        let span = Span::new(0, file.text.len());
        let key = builder.asset(AssetKind::Code, &file.path, Scope::Repository, unit.file, span);
        for (at, to) in asked {
            let at = (unit.file, unit.span(at));
            builder.edge(key, to, EdgeKind::Delegates, Strength::Certain, at);
        }
    }
}

/// Where files ask a registry for agents, and what each is.
type Asked = BTreeMap<FileId, Vec<(Id, Target)>>;

/// Adds the agents that are registered by name, and returns who is asked for where.
fn add_registered(repository: &Repository, builder: &mut Builder<'_>) -> Asked {
    let mut asked = Asked::default();
    let Some(registry) = Registry::of(&repository.code) else { return asked };
    let mut keys: BTreeMap<&str, AssetKey> = BTreeMap::new();
    for named in &registry.registered {
        let span = named.unit.span(named.call);
        keys.entry(named.name).or_insert_with(|| {
            builder.asset(AssetKind::Agent, named.name, Scope::Repository, named.unit.file, span)
        });
    }
    for named in &registry.asked {
        let to = match keys.get(named.name) {
            Some(&key) => Target::Asset(key),
            None if registry.hides_registered => Target::Beside(named.name.to_owned()),
            None => Target::Missing(named.name.to_owned()),
        };
        asked.entry(named.unit.file).or_default().push((named.at, to));
    }
    asked
}

/// Adds the agents that are made as objects, and who calls whom like a tool.
fn add_members(repository: &Repository, builder: &mut Builder<'_>) {
    let members = crews::members(&repository.code);
    let keys: Vec<AssetKey> = members
        .iter()
        .map(|member| {
            let span = member.unit.span(member.made);
            builder.asset(AssetKind::Agent, member.name, Scope::Repository, member.unit.file, span)
        })
        .collect();
    for held in crews::held(&members) {
        let unit = members[held.from].unit;
        let at = (unit.file, unit.span(held.at));
        let to = Target::Asset(keys[held.to]);
        builder.edge(keys[held.from], to, EdgeKind::Delegates, Strength::Certain, at);
    }
}

/// Adds a graph, its steps, and which of them leads to which.
fn add_graph(graph: &Graph<'_>, builder: &mut Builder<'_>) {
    let unit = graph.unit;
    let code = |builder: &mut Builder<'_>, name: &str, at: Id| {
        builder.asset(AssetKind::Code, name, Scope::Repository, unit.file, unit.span(at))
    };
    let whole = code(builder, variable(unit, graph.made), graph.made);
    let steps: BTreeMap<&str, AssetKey> =
        graph.nodes.iter().map(|(name, node)| (*name, code(builder, name, node.at))).collect();
    let to = |name: &str| match steps.get(name) {
        Some(&key) => Target::Asset(key),
        None if graph.hides_nodes => Target::Beside(name.to_owned()),
        None => Target::Missing(name.to_owned()),
    };
    for edge in graph.edges.iter().filter(|edge| edge.to != END) {
        let from = if edge.from == START { Some(whole) } else { steps.get(edge.from).copied() };
        let at = (unit.file, unit.span(edge.to_at));
        if let Some(from) = from {
            builder.edge(from, to(edge.to), EdgeKind::Triggers, Strength::Certain, at);
        }
    }
}

/// Returns the name of the variable that a graph is built in.
fn variable(unit: &Unit, made: Id) -> &str {
    let bound = unit.syntax[made].parent;
    let name = unit.syntax.child(bound, "left").or_else(|| unit.syntax.child(bound, "name"));
    name.map_or("graph", |name| unit.text(name).rsplit('.').next().unwrap_or("graph"))
}
