//! Plans for tests: from the fixtures, and drawn at random.

use kapell_core::{
    expr::Template,
    graph::{Graph, GraphBuilder},
    id::TaskId,
    plan::{AgentSpec, Definition, Plan, PlanBuilder, PlanLimits, Slot, Work},
    time::Millis,
};
use proptest::prelude::*;

pub(crate) fn id(at: usize) -> TaskId {
    TaskId(u32::try_from(at).unwrap())
}

/// A graph of the fixtures with what another program computed of it; times in milliseconds.
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) graph: Graph,
    pub(crate) length: Vec<Millis>,
    pub(crate) critical_path: u64,
    /// Agents, lower bound (rounded up), makespan by upward rank.
    pub(crate) answers: Vec<(u32, u64, u64)>,
}

pub(crate) fn known() -> Vec<Known> {
    let text = include_str!("fixtures/plans.jsonl");
    text.lines().map(|line| read(&serde_json::from_str(line).unwrap())).collect()
}

fn read(json: &serde_json::Value) -> Known {
    let ms = |value: &serde_json::Value| (value.as_f64().unwrap() * 1000.0).round() as u64;
    let length: Vec<Millis> = json["durations"].as_array().unwrap().iter().map(|it| Millis(ms(it))).collect();
    let mut needs = vec![Vec::new(); length.len()];
    for (task, children) in json["children"].as_array().unwrap().iter().enumerate() {
        for child in children.as_array().unwrap() {
            needs[usize::try_from(child.as_u64().unwrap()).unwrap()].push(id(task));
        }
    }
    let mut builder = GraphBuilder::default();
    needs.iter().for_each(|needs| {
        builder.add(needs);
    });
    let answer = |(agents, answer): (&String, &serde_json::Value)| {
        let bound = (answer["lower_bound"].as_f64().unwrap() * 1000.0 - 1e-6).ceil() as u64;
        (agents.parse().unwrap(), bound, ms(&answer["blevel_makespan"]))
    };
    Known {
        name: json["id"].as_str().unwrap().to_owned(),
        graph: builder.seal().unwrap(),
        length,
        critical_path: ms(&json["critical_path"]),
        answers: json["by_agents"].as_object().unwrap().iter().map(answer).collect(),
    }
}

/// How a task of a drawn plan is: its length, what it takes up, what it claims, and what it needs.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    pub(crate) length: u64,
    pub(crate) room: u8,
    pub(crate) claim: Option<u8>,
    pub(crate) needs: Vec<usize>,
}

pub(crate) fn drawn(claims: bool) -> impl Strategy<Value = Vec<Drawn>> {
    let claim = if claims { prop::option::weighted(0.5, 0_u8..3).boxed() } else { Just(None).boxed() };
    let task = (0_u64..40, 0_u8..3, claim, prop::collection::vec(0_usize..40, 0..4));
    let task = task.prop_map(|(length, room, claim, needs)| Drawn { length, room, claim, needs });
    prop::collection::vec(task, 1..40).prop_map(|mut tasks| {
        for (at, task) in tasks.iter_mut().enumerate() {
            task.needs.retain(|need| *need < at);
        }
        tasks
    })
}

pub(crate) const NOTHING: u8 = 2;

/// A plan in which a task of room 0 takes a job slot, of 1 an agent slot, of 2 none.
pub(crate) fn plan(tasks: &[Drawn]) -> Plan {
    let mut builder = PlanBuilder::new();
    let agents = [Slot::Job, Slot::Agent, Slot::None].map(|slot| {
        builder.agent(AgentSpec {
            name: format!("{slot:?}"),
            adapter: "scripted".to_owned(),
            provider: None,
            slot,
            fallback: None,
            ..AgentSpec::default()
        })
    });
    for (at, task) in tasks.iter().enumerate() {
        let claims = task.claim.map(|claim| Template::parse(&format!("src/{claim}/**")).unwrap());
        let definition = builder.define(Definition {
            agent: Some(agents[usize::from(task.room)]),
            claims: claims.into_iter().collect(),
            ..Definition::new(Work::Noop)
        });
        let needs: Vec<TaskId> = task.needs.iter().copied().map(id).collect();
        builder.task(&format!("t{at}"), definition, &needs);
    }
    builder.seal(PlanLimits::default()).unwrap()
}
