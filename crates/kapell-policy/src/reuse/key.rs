//! The key of a task's result.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kapell_core::{
    budget::Amount,
    expr::{Node, Piece, Template},
    id::{AgentId, DefinitionId, Digest, Oid},
    mission::Mission,
    plan::{AgentSpec, Definition, LostPolicy, Plan, Supervise, Work, WorkspaceKind},
    retry::Retry,
};
use serde::Serialize;

/// Everything that keys are made of.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The tasks.
    pub plan: &'a Plan,
    /// What is asked of the run.
    pub mission: &'a Mission,
    /// The tree that the run starts from; `None` outside a git repository.
    pub tree: Option<Oid>,
    /// What each list of `reads:` matches in that tree.
    pub reads: &'a BTreeMap<Vec<String>, Digest>,
}

/// What a result depends on. Two results with the same [`Key::whole`] can stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// How the task is done, and what its result must pass.
    pub definition: Digest,
    /// Who does it, and in which version.
    pub agent: Digest,
    /// The values of the inputs that it names.
    pub inputs: Digest,
    /// What it reads of the commit that the run starts from: what `reads:` matches, else the whole tree.
    pub base: Digest,
    /// All of that, and the same of what it needs.
    pub whole: Digest,
    /// Whether it names the run that it is part of, so that its result is that run's own.
    pub names_run: bool,
}

/// Returns the lists of `reads:` of a plan.
#[must_use]
pub fn read_sets(plan: &Plan) -> BTreeSet<&[String]> {
    let lists = plan.definitions().iter().map(|definition| definition.reads.as_slice());
    lists.filter(|list| !list.is_empty()).collect()
}

/// Computes the key of every task, by index.
#[must_use]
pub fn keys(ground: &Ground<'_>) -> Vec<Key> {
    let plan = ground.plan;
    let mut known = HashMap::<DefinitionId, Own>::new();
    let mut keys = vec![None::<Key>; plan.len()];
    for task in plan.graph().order() {
        let own =
            known.entry(plan.definition_id(task)).or_insert_with(|| Own::of(ground, plan.definition(task)));
        let mut needs: Vec<(&str, Digest)> = plan
            .graph()
            .needs(task)
            .iter()
            // An order puts what is needed first.
            .filter_map(|need| Some((plan.name(*need), keys[need.index()]?.whole)))
            .collect();
        needs.sort_unstable();
        let name = own.names_task.then(|| plan.name(task));
        let whole = digest(&(
            own.key.definition,
            own.key.agent,
            own.key.inputs,
            own.key.base,
            name,
            plan.matrix_values(task),
            needs,
        ));
        keys[task.index()] = Some(Key { whole, ..own.key });
    }
    keys.into_iter().flatten().collect()
}

/// What all tasks of a definition have in common.
struct Own {
    key: Key,
    /// Whether the name of the task is part of what is done.
    names_task: bool,
}

impl Own {
    fn of(ground: &Ground<'_>, definition: &Definition) -> Self {
        let named = Named::of(definition);
        let mission = ground.mission;
        // Whoever gets a prompt is told what the whole run is for.
        let told = named.objective || matches!(definition.work, Work::Prompt(_) | Work::Workflow(_));
        let objective = told.then_some(mission.objective.as_str());
        let kind = definition.kind(ground.tree.is_some());
        let sees_base = matches!(kind, WorkspaceKind::Clone | WorkspaceKind::ReadOnly);
        let inputs: BTreeMap<&str, &str> = mission
            .inputs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| named.all_inputs || named.inputs.contains(&name.to_ascii_lowercase()))
            .collect();
        let base = match (sees_base, definition.reads.is_empty()) {
            (false, _) => Digest::ZERO,
            (true, true) => digest(&ground.tree),
            (true, false) => digest(&(&definition.reads, ground.reads.get(&definition.reads))),
        };
        let key = Key {
            definition: digest(&(what_is_done(definition), sees_base.then_some(&mission.accept), objective)),
            agent: agents(ground, definition),
            inputs: digest(&inputs),
            base,
            whole: Digest::ZERO,
            names_run: named.run,
        };
        Self { key, names_task: named.task }
    }
}

/// Leaves out what has no part in the result, and what is told apart on its own.
fn what_is_done(definition: &Definition) -> Definition {
    Definition {
        agent: None,
        retry: Retry::default(),
        timeout: None,
        deadline: None,
        claims: Vec::new(),
        compensate: None,
        reads: Vec::new(),
        retry_lost: LostPolicy::default(),
        supervise: Supervise::default(),
        estimate: None,
        reserve: Amount::ZERO,
        forecasts: Vec::new(),
        work: definition.work.without_forecasts().into_owned(),
        ..definition.clone()
    }
}

/// Who may do it: the agent and those who take over for it, or all that have the skills, each with its version.
fn agents(ground: &Ground<'_>, definition: &Definition) -> Digest {
    let plan = ground.plan;
    if let Work::Workflow(_) = definition.work {
        // Its agents are written down in its plan.
        return digest(&ground.mission.versions);
    }
    let mut chosen: Vec<AgentId> = Vec::new();
    let mut next = definition.agent;
    while let Some(agent) = next.filter(|agent| !chosen.contains(agent)) {
        chosen.push(agent);
        next = plan.agent(agent).and_then(|spec| spec.fallback);
    }
    let named = chosen.iter().filter_map(|agent| plan.agent(*agent));
    let skilled = plan.agents().iter().filter(|spec| {
        !definition.skills.is_empty() && definition.skills.iter().all(|skill| spec.skills.contains(skill))
    });
    let who: Vec<_> = named.chain(skilled).map(|spec| performer(spec, &ground.mission.versions)).collect();
    digest(&who)
}

type Performer<'a> =
    (&'a str, Option<&'a str>, &'a BTreeMap<String, String>, &'a [String], Option<&'a String>);

fn performer<'a>(spec: &'a AgentSpec, versions: &'a BTreeMap<String, String>) -> Performer<'a> {
    (&spec.adapter, spec.provider.as_deref(), &spec.options, &spec.skills, versions.get(&spec.adapter))
}

/// What the expressions of a definition name, in small letters: names are compared without regard to case.
#[derive(Default)]
struct Named {
    inputs: BTreeSet<String>,
    all_inputs: bool,
    run: bool,
    objective: bool,
    task: bool,
}

impl Named {
    fn of(definition: &Definition) -> Self {
        let mut named = Self::default();
        if let Some(condition) = &definition.condition {
            named.look(condition.root());
        }
        definition.env.iter().for_each(|variable| named.read(&variable.value));
        definition
            .outputs
            .iter()
            .filter_map(|output| output.value.as_ref())
            .for_each(|text| named.read(text));
        match &definition.work {
            Work::Prompt(prompt) => named.read(prompt),
            Work::Gate(gate) => named.read(&gate.question),
            // Its tasks see what this run is given.
            Work::Workflow(_) => named.all_inputs = true,
            Work::Run(_) | Work::Scripted(_) | Work::Noop => {}
        }
        named
    }

    fn read(&mut self, text: &Template) {
        for piece in text.pieces() {
            if let Piece::Expr(placeholder) = piece {
                self.look(placeholder.expr.root());
            }
        }
    }

    fn look(&mut self, node: &Node) {
        for reference in node.references() {
            let path: Vec<String> = reference.path.iter().map(|(key, _)| key.to_ascii_lowercase()).collect();
            match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["inputs"] => self.all_inputs = true,
                ["inputs", name, ..] => {
                    self.inputs.insert(name.to_owned());
                }
                ["run", "objective", ..] => self.objective = true,
                ["run", ..] => (self.run, self.objective) = (true, true),
                ["task", ..] => self.task = true,
                _ => {}
            }
        }
    }
}

fn digest(value: &impl Serialize) -> Digest {
    // Whatever goes in has been read from JSON, or could have been.
    Digest::of(&serde_json::to_vec(value).unwrap_or_default())
}
