//! Plans: what is refused when they are sealed, and what they answer.

use insta::assert_snapshot;
use kapell_core::{
    budget::Amount,
    expr::Value,
    id::{AgentId, DefinitionId, TaskId},
    plan::{
        AgentSpec, Cell, ChildSpec, CostForecast, Definition, Estimate, Matrix, Plan, PlanBuilder, PlanError,
        PlanLimits, Slot, Work,
    },
    time::Millis,
};

use crate::script::plan;

fn noop() -> Definition {
    Definition::new(Work::Noop)
}

fn agent(fallback: Option<u32>) -> AgentSpec {
    AgentSpec {
        name: "m".to_owned(),
        adapter: "command".to_owned(),
        provider: None,
        slot: Slot::Agent,
        fallback: fallback.map(AgentId),
        ..AgentSpec::default()
    }
}

fn within(depth: u32) -> Definition {
    match depth {
        0 => noop(),
        depth => {
            let mut builder = PlanBuilder::new();
            let definition = builder.define(within(depth - 1));
            builder.task("t", definition, &[]);
            let limits = PlanLimits { depth: 99, ..PlanLimits::default() };
            let plan = builder.seal(limits).unwrap().into();
            let child = ChildSpec { objective: String::new(), plan, accept: vec![], saga: false };
            Definition::new(Work::Workflow(Box::new(child)))
        }
    }
}

fn seal(make: impl Fn(&mut PlanBuilder)) -> Result<Plan, PlanError> {
    let mut builder = PlanBuilder::new();
    make(&mut builder);
    builder.seal(PlanLimits { tasks: 3, depth: 5 })
}

#[test]
fn every_way_in_which_a_plan_cannot_be_sealed() {
    let tasks = |needs: &'static [&'static [u32]]| {
        seal(move |builder| {
            let definition = builder.define(noop());
            for (at, needs) in needs.iter().enumerate() {
                let needs: Vec<_> = needs.iter().copied().map(TaskId).collect();
                builder.task(&format!("t{at}"), definition, &needs);
            }
        })
    };
    let with_agent = |agent: Option<u32>| {
        seal(move |builder| {
            let definition = builder.define(Definition { agent: agent.map(AgentId), ..noop() });
            builder.agent(self::agent(None));
            builder.task("t", definition, &[]);
        })
    };
    let deep = |depth| {
        seal(move |builder| {
            let definition = builder.define(within(depth));
            builder.task("t", definition, &[]);
        })
    };
    assert_eq!(tasks(&[&[], &[0], &[0, 1]]).unwrap().len(), 3);
    assert!(with_agent(Some(0)).is_ok() && with_agent(None).is_ok());
    assert!(deep(4).is_ok());
    let errors = [
        tasks(&[&[], &[], &[], &[]]),
        tasks(&[&[], &[2], &[1]]),
        tasks(&[&[0]]),
        tasks(&[&[], &[9]]),
        with_agent(Some(1)),
        seal(|builder| {
            builder.agent(agent(Some(1)));
        }),
        seal(|builder| {
            let (first, mut second) = (agent(Some(1)), agent(Some(7)));
            second.name = "two".to_owned();
            let first = builder.agent(first);
            builder.agent(second);
            let definition = builder.define(Definition { agent: Some(first), ..noop() });
            builder.task("idle", DefinitionId(1), &[]);
            builder.task("t", definition, &[]);
            builder.define(Definition::new(Work::Run("x".to_owned())));
        }),
        seal(|builder| {
            builder.task("t", DefinitionId(1), &[]);
        }),
        seal(|builder| {
            let definition = builder.define(noop());
            builder.task("same", definition, &[]);
            builder.task("same", definition, &[]);
        }),
        deep(5),
    ];
    let said: Vec<_> = errors.into_iter().map(|plan| plan.unwrap_err().to_string()).collect();
    assert_snapshot!(said.join("\n"), @"
    4 tasks are more than the 3 that a plan may have
    tasks wait for each other: t1 needs t2
    tasks wait for each other: t0
    task `t1` needs task number 9, which does not exist
    task `t` names an agent that the plan does not have
    agent `m` names a fallback agent that the plan does not have
    agent `two`, which performs task `t`, names a fallback agent that the plan does not have
    task `t` names a definition that the plan does not have
    two tasks are named `same`
    workflows are nested 6 deep, more than 5
    ");
}

#[test]
fn limits_are_a_million_tasks_and_five_levels() {
    assert_eq!(PlanLimits::default(), PlanLimits { tasks: 1_000_000, depth: 5 });
}

#[test]
fn definitions_that_are_equal_are_kept_once() {
    let mut builder = PlanBuilder::new();
    let first = builder.define(noop());
    let other = builder.define(Definition { timeout: Some(Millis(1)), ..noop() });
    assert_eq!(builder.define(noop()), first);
    assert_ne!(first, other);
    assert!(builder.is_empty());
    let a = builder.task("a", other, &[]);
    let b = builder.task("b", first, &[a]);
    assert_eq!((builder.len(), builder.is_empty()), (2, false));
    assert_eq!((builder.find("a"), builder.find("b"), builder.find("c")), (Some(a), Some(b), None));
    let plan = builder.seal(PlanLimits::default()).unwrap();
    assert_eq!(plan.definitions().len(), 2);
    assert_eq!(plan.definition_id(a), other);
    assert_eq!(plan.definition(b).timeout, None);
    assert_eq!((plan.find("b"), plan.find("x")), (Some(b), None));
    assert_eq!((plan.name(a), plan.name(b)), ("a", "b"));
    assert!(!plan.is_empty() && Plan::default().is_empty());
}

#[test]
fn the_rank_is_the_expected_time_to_the_end() {
    let mut builder = PlanBuilder::new();
    let long = Estimate { p50: Millis(5000), p90: Millis(9000) };
    let long = builder.define(Definition { estimate: Some(long), ..noop() });
    let plain = builder.define(noop());
    let a = builder.task("a", plain, &[]);
    let b = builder.task("b", long, &[a]);
    let c = builder.task("c", plain, &[a]);
    let plan = builder.seal(PlanLimits::default()).unwrap();
    assert_eq!([a, b, c].map(|task| plan.rank(task)), [6.0, 5.0, 1.0]);
    // What is learnt counts where nothing is said, and goes with the plan.
    let learnt = Estimate { p50: Millis(7000), p90: Millis(8000) };
    let plan = plan.expecting(|_| Some(learnt));
    assert_eq!([a, b, c].map(|task| plan.rank(task)), [14.0, 5.0, 7.0]);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn cells_of_a_matrix_are_counted_with_the_last_axis_fastest() {
    let values = |values: &[&str]| values.iter().map(|value| Value::string(value)).collect::<Vec<_>>();
    let product = Matrix::Product(vec![
        ("os".to_owned(), values(&["l", "m"])),
        ("v".to_owned(), values(&["1", "2", "3"])),
    ]);
    let show = |matrix: &Matrix, index| {
        let cell = matrix.cell(index);
        let cell = cell.iter().map(|(name, value)| format!("{name}={}", value.text().unwrap()));
        cell.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(product.len(), 6);
    let cells: Vec<_> = (0..6).map(|index| show(&product, index)).collect();
    assert_eq!(cells, ["os=l v=1", "os=l v=2", "os=l v=3", "os=m v=1", "os=m v=2", "os=m v=3"]);
    let cells = Matrix::Cells(vec![vec![("os".to_owned(), Value::string("w"))], vec![]]);
    assert_eq!((cells.len(), cells.is_empty()), (2, false));
    assert_eq!([0, 1, 2].map(|index| show(&cells, index)), ["os=w", "", ""]);
    assert!(Matrix::Product(vec![("os".to_owned(), vec![])]).is_empty());

    let mut builder = PlanBuilder::new();
    let definition = builder.define(noop());
    let matrix = builder.matrix(product);
    let plain = builder.task("a", definition, &[]);
    let cell = builder.cell("b (m, 2)", definition, &[], Cell { matrix, index: 4 });
    let last = builder.task("c", definition, &[]);
    let plan = builder.seal(PlanLimits::default()).unwrap();
    assert_eq!(plan.matrix_values(cell).len(), 2);
    assert_eq!(plan.cell(cell), Some(Cell { matrix, index: 4 }));
    assert_eq!((plan.cell(plain), plan.cell(last)), (None, None));
    assert_eq!((plan.matrix_values(plain).len(), plan.matrix_values(last).len()), (0, 0));
}

#[test]
fn a_workflow_needs_agents_if_anything_in_it_does() {
    let needs = |text: &str| {
        let (_, plan) = plan(&format!("w workflow \"{text}\""));
        match &plan.definition(TaskId(0)).work {
            Work::Workflow(child) => child.needs_agents(),
            _ => unreachable!(),
        }
    };
    assert!(!needs("x; y after x"));
    assert!(needs("agent m; x agent m"));
    assert!(!needs("agent m slot job; x agent m"));
    assert_eq!([0, 1, 3].map(|depth| within(depth).depth()), [0, 1, 3]);
}

#[test]
fn other_agents_come_into_plans_within_too_and_those_that_take_over_stay() {
    let with_agents = |definition: Definition, agents: [AgentSpec; 2]| {
        let mut builder = PlanBuilder::new();
        for agent in agents {
            builder.agent(agent);
        }
        let definition = builder.define(definition);
        builder.task("t", definition, &[]);
        builder.seal(PlanLimits::default()).unwrap()
    };
    let inner = with_agents(noop(), [agent(None), agent(Some(0))]);
    let child = ChildSpec { objective: "part".to_owned(), plan: inner.into(), accept: vec![], saga: true };
    let outer = with_agents(Definition::new(Work::Workflow(Box::new(child))), [agent(Some(1)), agent(None)]);
    let changed = outer.with_agents(&|plan| {
        let own = plan.agents().iter().map(|spec| AgentSpec { adapter: "other".to_owned(), ..spec.clone() });
        own.map(|spec| AgentSpec { fallback: None, ..spec }).chain([agent(Some(0))]).collect()
    });
    let said = |plan: &Plan| -> Vec<(String, Option<AgentId>)> {
        plan.agents().iter().map(|spec| (spec.adapter.clone(), spec.fallback)).collect()
    };
    let [other, command] = ["other", "command"].map(str::to_owned);
    let kept = [Some(AgentId(1)), None, None];
    assert_eq!(
        said(&changed),
        [other.clone(), other.clone(), command.clone()].into_iter().zip(kept).collect::<Vec<_>>()
    );
    let Work::Workflow(child) = &changed.definition(TaskId(0)).work else { panic!("it has a plan within") };
    assert!(child.saga && child.objective == "part");
    let kept = [None, Some(AgentId(0)), None];
    assert_eq!(said(&child.plan), [other.clone(), other, command].into_iter().zip(kept).collect::<Vec<_>>());
    // Fewer than there were would leave tasks without theirs.
    assert_eq!(said(&outer.with_agents(&|_| vec![])), said(&outer));
}

#[test]
fn what_is_foreseen_is_known_within_and_no_part_of_the_work() {
    let (_, before) = plan("agent m; a agent m; w workflow \"agent n; x agent n\"");
    let amount = Amount { usd_micros: 5, tokens: 0 };
    let foreseen = before.with_forecasts(&|plan| {
        let forecast = CostForecast { agent: AgentId(0), amount, attempts: 3 };
        plan.definitions().iter().map(|one| one.agent.map(|_| forecast).into_iter().collect()).collect()
    });
    let read: Plan = serde_json::from_str(&serde_json::to_string(&foreseen).unwrap()).unwrap();
    assert_eq!(read, foreseen);
    assert_eq!(foreseen.definition(TaskId(0)).forecast(AgentId(0)).unwrap().amount, amount);
    assert_eq!(foreseen.definition(TaskId(0)).forecast(AgentId(1)), None);
    let (old, new) = (&before.definition(TaskId(1)).work, &foreseen.definition(TaskId(1)).work);
    let Work::Workflow(child) = new else { panic!("{new:?}") };
    assert_eq!(child.plan.definition(TaskId(0)).forecast(AgentId(0)).unwrap().amount, amount);
    assert!(old != new && *new.without_forecasts() == *old);
    // What was known when another run was made is forgotten.
    assert_eq!(foreseen.with_forecasts(&|_| vec![]), before);
    assert!(before.needs_agents() && !plan("a; w workflow b").1.needs_agents());
}
