//! A run that is driven by commands, with a clock that the test turns.

use std::sync::Arc;

use kapell_core::{
    budget::{Amount, Limits},
    command::{Command, Exit},
    event::{Event, Outputs, PlanRef},
    expr::Template,
    id::{AttemptNo, DefinitionId, GateId, Oid, ProbeId, RunId, TaskId},
    journal::{Actor, Row},
    landing::Probed,
    mission::Mission,
    plan::{
        AgentSpec, CostForecast, Definition, Estimate, GateSpec, Plan, PlanBuilder, PlanLimits, Slot, Work,
    },
    retry::{FailureClass, Retry},
    run::Run,
    task::{Change, Slots},
    time::{Elapsed, Millis, Now, Wall},
};
use kapell_view::{
    forecast::{Forecast, TaskLength},
    plan::PlanView,
    report::{Report, ReportBuilder},
};

/// 2026-11-21 02:00:00 UTC.
pub(crate) const START: i64 = 1_795_226_400_000;

pub(crate) fn oid(digit: char) -> Oid {
    std::iter::repeat_n(digit, 40).collect::<String>().parse().unwrap()
}

pub(crate) struct World {
    pub(crate) run: Run,
    pub(crate) rows: Vec<(Row, Vec<Event>)>,
    pub(crate) ms: u64,
}

pub(crate) fn estimated(work: Work, p50: u64, p90: u64) -> Definition {
    let estimate = Estimate { p50: Millis::from_secs(p50), p90: Millis::from_secs(p90) };
    Definition { estimate: Some(estimate), ..Definition::new(work) }
}

/// `parser` and `docs` are done by an agent and a command, `tests` needs both, `release` asks a person.
pub(crate) fn plan() -> Plan {
    let mut builder = PlanBuilder::new();
    let coder = builder.agent(AgentSpec {
        name: "coder".to_owned(),
        adapter: "scripted".to_owned(),
        provider: None,
        slot: Slot::Agent,
        fallback: None,
        ..AgentSpec::default()
    });
    let retry = Retry { attempts: 3, ..Retry::default() };
    let reserve = Amount { usd_micros: 500_000, tokens: 10_000 };
    let prompt = Work::Scripted("steps: []".to_owned());
    let parser = Definition { agent: Some(coder), retry, reserve, ..estimated(prompt, 120, 300) };
    let parser = builder.define(Definition { timeout: Some(Millis::from_secs(1200)), ..parser });
    let docs = builder.define(estimated(Work::Run("make docs".to_owned()), 30, 60));
    let tests = builder.define(Definition::new(Work::Run("cargo test".to_owned())));
    let question = Template::parse("Publish the release?").unwrap();
    let gate = builder.define(Definition::new(Work::Gate(GateSpec { question, choices: Vec::new() })));
    let parser = builder.task("parser", parser, &[]);
    let docs = builder.task("docs", docs, &[]);
    let tests = builder.task("tests", tests, &[parser, docs]);
    builder.task("release", gate, &[tests]);
    builder.seal(PlanLimits::default()).unwrap()
}

/// Three tasks of the same agent. Of the prompts something is known, and money does for two of them at a time.
pub(crate) fn foreseen() -> World {
    let mut builder = PlanBuilder::new();
    let spec = AgentSpec { name: "coder".to_owned(), slot: Slot::Agent, ..AgentSpec::default() };
    let agent = builder.agent(spec);
    let amount = Amount { usd_micros: 240_000, tokens: 4_000 };
    let forecasts = vec![CostForecast { agent, amount, attempts: 5 }];
    let prompt = Work::Prompt(Template::parse("Fix it").unwrap());
    let known = Definition { agent: Some(agent), forecasts, ..Definition::new(prompt.clone()) };
    let (known, unknown) = (builder.define(known), Definition::new(prompt));
    let unknown = builder.define(Definition { agent: Some(agent), ..unknown });
    builder.task("lexer", known, &[]);
    builder.task("parser", known, &[]);
    let third = builder.task("printer", known, &[]);
    builder.task("docs", unknown, &[third]);
    let limits = Limits { usd_micros: Some(600_000), agents: 4, ..mission().limits };
    World::new(Mission { limits, base: None, ..mission() }, builder.seal(PlanLimits::default()).unwrap())
}

pub(crate) const SLOTS: Slots = Slots::new(2, 4);

pub(crate) fn mission() -> Mission {
    Mission {
        objective: "Fix the parser and release".to_owned(),
        limits: Limits {
            usd_micros: Some(5_000_000),
            tokens: None,
            wall: Some(Millis::from_secs(7200)),
            agents: SLOTS.agents,
            jobs: SLOTS.jobs,
            memory_mib: None,
        },
        target: Some("refs/heads/main".to_owned()),
        base: Some(oid('a')),
        source: Some("release.yaml".to_owned()),
        seed: 7,
        ..Mission::default()
    }
}

pub(crate) fn view(plan: &Plan) -> PlanView {
    let length = |task| TaskLength::given(plan.definition(task).estimate);
    PlanView::new(plan, "Fix the parser and release", length, SLOTS, None)
}

impl World {
    pub(crate) fn new(mission: Mission, plan: Plan) -> Self {
        let mut id = [0x77; 16];
        id[..6].copy_from_slice(&START.to_be_bytes()[2..]);
        let mut world = Self { run: Run::new(RunId(id)), rows: Vec::new(), ms: 0 };
        let plan = PlanRef::Inline(Arc::new(plan));
        world.does(Command::Create { mission: Box::new(mission), plan });
        world.does(Command::Open { epoch: 1 });
        world
    }

    pub(crate) fn standard() -> Self {
        Self::new(mission(), plan())
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: Wall(START + self.ms as i64), elapsed: Elapsed(self.ms) }
    }

    pub(crate) fn does(&mut self, command: Command) -> &mut Self {
        let actor = match command {
            Command::Answer { .. } | Command::Pause | Command::Resume { .. } => {
                Actor::Person("ada".to_owned())
            }
            _ => Actor::Engine,
        };
        let batch = self.run.batch([(actor, command)], self.now()).unwrap();
        for reply in batch.replies {
            reply.unwrap();
        }
        for row in batch.rows {
            let events = kapell_core::event::decode(&row.body).unwrap();
            self.rows.push((row, events));
        }
        self
    }

    pub(crate) fn at(&mut self, secs: u64) -> &mut Self {
        self.ms = secs * 1000;
        self.does(Command::Tick)
    }

    /// The first task asks more than a line takes.
    pub(crate) fn asks_at_length(&mut self) -> &mut Self {
        let question = "The change renames a public function that three other crates call. Shall all of them follow now?";
        self.does(Command::Ask {
            task: TaskId(0),
            attempt: AttemptNo(1),
            question: question.to_owned(),
            choices: vec!["yes".to_owned(), "no".to_owned()],
        })
    }

    fn attempt(&self, task: u32) -> (TaskId, AttemptNo) {
        (TaskId(task), AttemptNo(self.run.task(TaskId(task)).unwrap().attempts))
    }

    pub(crate) fn fails(&mut self, task: u32, class: FailureClass, message: &str) -> &mut Self {
        let (task, attempt) = self.attempt(task);
        let spent = Amount { usd_micros: 120_000, tokens: 2_500 };
        let exit = Exit::Failed { class, message: message.to_owned(), spent, until: None };
        self.does(Command::Finish { task, attempt, exit })
    }

    pub(crate) fn gives(&mut self, task: u32, change: Option<char>, outputs: &[(&str, &str)]) -> &mut Self {
        let (task, attempt) = self.attempt(task);
        let change = change.map(|digit| Change { commit: oid(digit), tree: oid('e'), base: oid('a') });
        let outputs: Outputs =
            outputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let spent = Amount { usd_micros: 200_000, tokens: 4_000 };
        let exit = Exit::Succeeded { change, outputs, spent };
        self.does(Command::Finish { task, attempt, exit })
    }

    /// The merge queue finds all green, and the ref moves.
    pub(crate) fn lands(&mut self, probe: u32, tip: char) -> &mut Self {
        let tips = vec![oid(tip)];
        self.does(Command::Probed { probe: ProbeId(probe), outcome: Probed::Green { tips } });
        self.does(Command::RefMoved { to: oid(tip) })
    }

    pub(crate) fn answers(&mut self, gate: u32, answer: &str) -> &mut Self {
        self.does(Command::Answer { gate: GateId(gate), answer: answer.to_owned(), by: "ada".to_owned() })
    }

    /// The whole way to a merge: `parser` fails once, two changes land, the gate is answered.
    pub(crate) fn to_the_end() -> Self {
        let mut world = Self::standard();
        world.at(30).gives(1, Some('d'), &[]);
        world.at(31).lands(0, '1');
        world.at(40).fails(0, FailureClass::Transient, "error: cannot find `Token`\nnote: exit 101\n");
        world.at(60).at(160).gives(0, Some('b'), &[("version", "1.2")]);
        world.at(162).lands(1, '2');
        world.at(170).gives(2, None, &[]);
        world.at(300).answers(0, "yes");
        world
    }

    /// Folds all rows again, as a program does that reads them from the store.
    pub(crate) fn report(&self) -> Report {
        let mut run = Run::new(self.run.id());
        let mut builder = ReportBuilder::new(run.id());
        builder.forecast(Forecast::new(Millis::from_secs(160), Millis::from_secs(372), 1000, 7));
        for (row, _) in &self.rows {
            let events = run.replay(row, &mut |_| None).unwrap();
            builder.row(row, &events, &run);
        }
        assert!(run.is_same(&self.run));
        builder.finish(&run)
    }

    pub(crate) fn merges(&mut self) -> &mut Self {
        let target = "refs/heads/main".to_owned();
        self.does(Command::BeginMerge { target, from: oid('a'), to: oid('3') });
        self.does(Command::EndMerge { moved: true, why: None })
    }
}

/// A plan of `tasks` tasks in layers of 1000.
pub(crate) fn large(tasks: u32) -> Plan {
    let mut builder = PlanBuilder::new();
    let work: DefinitionId = builder.define(estimated(Work::Noop, 1, 2));
    for task in 0..tasks {
        let need = task.checked_sub(1000).map(TaskId);
        builder.task(&format!("layer{}-{}", task / 1000, task % 1000), work, need.as_slice());
    }
    builder.seal(PlanLimits::default()).unwrap()
}
