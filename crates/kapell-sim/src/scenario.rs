//! What a simulated run is asked to do, and how hostile its world is.

use std::sync::Arc;

use kapell_core::{
    budget::{Amount, Limits},
    expr::{Expr, Template, Value},
    id::{AgentId, DefinitionId, Oid, TaskId},
    mission::Mission,
    plan::{
        AgentSpec, Cell, ChildSpec, CostForecast, Definition, GateSpec, LostPolicy, Matrix, OutputSpec, Plan,
        PlanBuilder, PlanLimits, Slot, Work,
    },
    retry::{Persistence, Retry},
    time::{Millis, Wall},
};

use crate::dice::Dice;

/// The wall clock when a simulation begins: some day in 2027.
pub(crate) const WALL_START: i64 = 1_800_000_000_000;

/// The condition of a task, in a form that a checker can evaluate without the evaluator under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cond {
    None,
    True,
    False,
    Always,
    Failure,
    Broken,
    /// The task before has given `go`.
    Output(TaskId),
}

/// What a checker knows of a definition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) cond: Cond,
    /// One bit for each thing that can be claimed; all of them for a claim on everything.
    pub(crate) claims: u16,
    /// Claims one thing by its matrix cell.
    pub(crate) claims_cell: bool,
}

/// How much of what goes wrong, in thousandths.
#[derive(Default)]
pub(crate) struct Knobs {
    pub(crate) slow: u32,
    pub(crate) failing: u32,
    pub(crate) lying: u32,
    pub(crate) silent: u32,
    pub(crate) flooding: u32,
    pub(crate) duplicate: u32,
    pub(crate) late: u32,
    pub(crate) delayed_report: u32,
    pub(crate) quota: u32,
    pub(crate) overrun: u32,
    pub(crate) changes: u32,
    pub(crate) bad_change: u32,
    pub(crate) clash: u32,
    pub(crate) conflict: u32,
    pub(crate) flaky: u32,
    pub(crate) base_is_red: bool,
    pub(crate) landing_fails: u32,
    pub(crate) doubtful: u32,
    pub(crate) broken_check: u32,
    pub(crate) compensation_fails: u32,
    pub(crate) compensation_hangs: u32,
    /// The first agent fails nearly always.
    pub(crate) bad_agent: u32,
    pub(crate) mute_person: u32,
    pub(crate) wrong_answer: u32,
    pub(crate) window: u64,
    /// The longest that a sync takes.
    pub(crate) sync: u64,
    /// For how many steps things may go wrong.
    pub(crate) fault_steps: u64,
}

pub(crate) struct Scenario {
    pub(crate) mission: Mission,
    pub(crate) plan: Arc<Plan>,
    /// A later plan with more tasks, if there is one.
    pub(crate) revision: Option<Arc<Plan>>,
    /// By definition.
    pub(crate) facts: Vec<Facts>,
    pub(crate) knobs: Knobs,
}

/// Makes the id of a git object out of a number.
pub(crate) fn oid(number: u64) -> Oid {
    let mut text = *b"0000000000000000000000000000000000000000";
    for (place, digit) in text[..16].iter_mut().enumerate() {
        let nibble = usize::try_from(number >> (4 * place) & 15).unwrap_or(0);
        *digit = b"0123456789abcdef"[nibble];
    }
    let text = std::str::from_utf8(&text).unwrap_or_default();
    text.parse().unwrap_or_else(|_| unreachable!("forty hexadecimal digits are an id"))
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap_or_else(|error| unreachable!("{text}: {error}"))
}

struct Maker<'a> {
    dice: &'a mut Dice,
    facts: Vec<Facts>,
    agents: u32,
    has_base: bool,
    tight: bool,
    /// How much memory agents take. Drawn apart, so that what else a seed means stays.
    memory: Dice,
    /// The definition of all matrix cells, once there is one.
    cell: Option<DefinitionId>,
}

impl Scenario {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let tasks = draw_size(dice);
        let mut mission = draw_mission(dice, tasks);
        let mut memory = Dice::new(mission.seed ^ 0x006d_656d_6f72_7900);
        mission.limits.memory_mib = memory.chance(250).then(|| memory.small(0, 40));
        let agents = dice.small(0, 4);
        let tight = mission.limits.usd_micros.is_some() || mission.limits.tokens.is_some();
        let mut maker = Maker {
            facts: Vec::new(),
            agents,
            has_base: mission.base.is_some(),
            tight,
            memory,
            cell: None,
            dice,
        };
        let (plan, revision) = maker.plans(tasks);
        let facts = maker.facts;
        let knobs = draw_knobs(dice, tasks);
        Self { mission, plan, revision, facts, knobs }
    }
}

/// Between 20 and 200 tasks, half of the runs with more than 50.
fn draw_size(dice: &mut Dice) -> u32 {
    match dice.below(100) {
        0..46 => dice.small(20, 50),
        46..94 => dice.small(51, 70),
        94..99 => dice.small(71, 120),
        _ => dice.small(121, 200),
    }
}

fn draw_mission(dice: &mut Dice, tasks: u32) -> Mission {
    let tasks = u64::from(tasks);
    let some = |dice: &mut Dice, permille, low, high| dice.chance(permille).then(|| dice.between(low, high));
    let limits = Limits {
        usd_micros: some(dice, 200, tasks * 200, tasks * 2000),
        tokens: some(dice, 150, tasks * 20, tasks * 400),
        wall: some(dice, 120, tasks * 20, tasks * 2000).map(Millis),
        agents: dice.small(0, 5),
        jobs: dice.small(0, 8),
        memory_mib: None,
    };
    let deadline = some(dice, 80, 1000, tasks * 1500);
    Mission {
        objective: "simulated".to_owned(),
        limits,
        deadline: deadline.map(|after| Wall(WALL_START.saturating_add_unsigned(after))),
        accept: Vec::new(),
        saga: dice.chance(250),
        target: Some("refs/heads/main".to_owned()),
        base: dice.chance(650).then(|| oid(1)),
        persistence: match dice.chance(400) {
            true => Persistence {
                lost: dice.small(1, 4),
                rate_limited: Millis(dice.between(0, 4_000)),
                quota: Millis(dice.between(0, 4_000)),
            },
            false => Persistence::default(),
        },
        seed: dice.bits(),
        inputs: [("go".to_owned(), "yes".to_owned())].into(),
        ..Mission::default()
    }
}

fn draw_knobs(dice: &mut Dice, tasks: u32) -> Knobs {
    // Each kind of trouble is there in some runs only, so that they meet in all combinations.
    let mut some = |permille: u32, high: u32| match dice.chance(permille) {
        true => dice.small(1, high),
        false => 0,
    };
    let mut knobs = Knobs {
        slow: some(500, 300),
        failing: some(600, 200),
        lying: some(300, 80),
        silent: some(200, 40),
        flooding: some(250, 60),
        duplicate: some(250, 100),
        late: some(300, 300),
        delayed_report: some(300, 300),
        quota: some(300, 400),
        overrun: some(250, 200),
        changes: some(900, 900),
        bad_change: some(350, 150),
        clash: some(300, 250),
        conflict: some(300, 250),
        flaky: some(250, 200),
        landing_fails: some(150, 60),
        doubtful: some(200, 150),
        broken_check: some(150, 100),
        compensation_fails: some(400, 400),
        compensation_hangs: some(300, 200),
        bad_agent: some(150, 950),
        mute_person: some(200, 500),
        wrong_answer: some(250, 300),
        ..Knobs::default()
    };
    knobs.base_is_red = dice.chance(15);
    knobs.window = *dice.pick(&[0, 0, 0, 2, 20, 100]);
    knobs.sync = *dice.pick(&[0, 0, 5, 60]);
    knobs.fault_steps = u64::from(tasks) * 3 + 60;
    knobs
}

impl Maker<'_> {
    fn plans(&mut self, tasks: u32) -> (Arc<Plan>, Option<Arc<Plan>>) {
        let mut builder = PlanBuilder::new();
        self.add_agents(&mut builder);
        let pool = self.definitions(&mut builder);
        let cells = self.dice.chance(250).then(|| {
            let values = (0..8).map(|cell| Value::string(&cell.to_string())).collect();
            builder.matrix(Matrix::Product(vec![("x".to_owned(), values)]))
        });
        let mut later = PlanBuilder::new();
        let revised = self.dice.chance(250).then(|| self.dice.small(1, 12));
        let mut recipe: Vec<(DefinitionId, Vec<TaskId>, Option<Cell>)> = Vec::new();
        for task in 0..tasks + revised.unwrap_or(0) {
            let needs = self.needs(task);
            let (definition, cell) = match cells {
                Some(matrix) if self.dice.chance(150) => {
                    let index = self.dice.small(0, 7);
                    (self.cell_definition(&mut builder), Some(Cell { matrix, index }))
                }
                _ if self.dice.chance(40) && !needs.is_empty() && task < tasks => {
                    let on = *self.dice.pick(&needs);
                    (self.output_condition(&mut builder, on), None)
                }
                _ => (*self.dice.pick(&pool), None),
            };
            recipe.push((definition, needs, cell));
        }
        for (task, (definition, needs, cell)) in recipe.iter().enumerate() {
            if task < tasks as usize {
                add(&mut builder, task, *definition, needs, *cell);
            }
        }
        let plan = Arc::new(seal(builder));
        let revision = revised.map(|_| {
            for agent in plan.agents() {
                later.agent(agent.clone());
            }
            for definition in plan.definitions() {
                later.define((**definition).clone());
            }
            if cells.is_some() {
                let values = (0..8).map(|cell| Value::string(&cell.to_string())).collect();
                later.matrix(Matrix::Product(vec![("x".to_owned(), values)]));
            }
            for (task, (definition, needs, cell)) in recipe.iter().enumerate() {
                add(&mut later, task, *definition, needs, *cell);
            }
            Arc::new(seal(later))
        });
        (plan, revision)
    }

    fn needs(&mut self, task: u32) -> Vec<TaskId> {
        let count = match self.dice.below(10) {
            0..3 => 0,
            3..7 => 1,
            7..9 => 2,
            _ => 3,
        };
        let oldest = task.saturating_sub(12);
        let mut needs: Vec<TaskId> = match task {
            0 => Vec::new(),
            _ => (0..count).map(|_| TaskId(self.dice.small(oldest, task - 1))).collect(),
        };
        needs.sort_unstable();
        needs.dedup();
        needs
    }

    fn add_agents(&mut self, builder: &mut PlanBuilder) {
        for number in 0..self.agents {
            let fallback = self.dice.chance(400).then(|| AgentId(self.dice.small(0, self.agents - 1)));
            builder.agent(AgentSpec {
                name: format!("agent{number}"),
                adapter: "simulated".to_owned(),
                provider: self.dice.chance(600).then(|| format!("provider{}", self.dice.below(2))),
                slot: *self.dice.pick(&[Slot::Agent, Slot::Agent, Slot::Agent, Slot::Job, Slot::None]),
                fallback: fallback.filter(|agent| agent.0 != number),
                memory_mib: self.memory.small(0, 20),
                ..AgentSpec::default()
            });
        }
    }

    fn definitions(&mut self, builder: &mut PlanBuilder) -> Vec<DefinitionId> {
        let count = self.dice.between(5, 9);
        let mut pool = Vec::new();
        for _ in 0..count {
            let definition = self.definition();
            // Gates make runs slow, and conditions that do not hold make them short.
            let rare = matches!(definition.0.work, Work::Gate(_)) || definition.1.cond != Cond::None;
            let id = self.define(builder, definition);
            pool.extend(std::iter::repeat_n(id, if rare { 1 } else { 6 }));
        }
        pool
    }

    fn define(
        &mut self,
        builder: &mut PlanBuilder,
        (definition, facts): (Definition, Facts),
    ) -> DefinitionId {
        let id = builder.define(definition);
        if id.index() == self.facts.len() {
            self.facts.push(facts);
        }
        id
    }

    fn definition(&mut self) -> (Definition, Facts) {
        let inner = match self.dice.chance(300) {
            true => self.claims(),
            false => 0,
        };
        let work = match self.dice.below(20) {
            0 => Work::Gate(GateSpec {
                question: template("Go on?"),
                choices: match self.dice.chance(300) {
                    true => vec!["left".to_owned(), "right".to_owned()],
                    false => Vec::new(),
                },
            }),
            1 => self.child(inner),
            2 | 3 => Work::Noop,
            4..12 if self.agents > 0 => Work::Prompt(template("do it")),
            _ => Work::Run("true".to_owned()),
        };
        let mut definition = Definition::new(work);
        let cond = match self.dice.below(30) {
            0 => Cond::True,
            1 => Cond::False,
            2 => Cond::Always,
            3 => Cond::Failure,
            4 if self.dice.chance(500) => Cond::Broken,
            _ => Cond::None,
        };
        definition.condition = condition(cond);
        let mut facts = Facts { cond, claims: 0, claims_cell: false };
        if matches!(definition.work, Work::Gate(_)) {
            return (definition, facts);
        }
        if matches!(definition.work, Work::Prompt(_)) {
            definition.agent = Some(AgentId(self.dice.small(0, self.agents - 1)));
        }
        if self.dice.chance(200) {
            definition.outputs.push(OutputSpec { name: "v".to_owned(), value: None, schema: None });
        }
        if self.dice.chance(60) {
            let value = Some(template("${{ inputs.go }}!"));
            definition.outputs.push(OutputSpec { name: "w".to_owned(), value, schema: None });
        }
        let min = self.dice.between(0, 500);
        definition.retry = Retry {
            attempts: *self.dice.pick(&[1, 2, 3, 3, 4, 5]),
            backoff_min: Millis(min),
            backoff_max: Millis(min + self.dice.between(0, 8000)),
        };
        definition.timeout = self.dice.chance(550).then(|| Millis(self.dice.between(800, 20_000)));
        if self.dice.chance(if self.has_base { 350 } else { 200 }) {
            definition.accept.push("check".to_owned());
        }
        if self.dice.chance(300) {
            facts.claims = self.claims();
            definition.claims = claim_names(facts.claims);
        }
        if matches!(definition.work, Work::Workflow(_)) {
            facts.claims |= inner;
        }
        if self.dice.chance(60) {
            let by = WALL_START.saturating_add_unsigned(self.dice.between(2000, 60_000));
            definition.deadline = Some(Wall(by));
        }
        definition.compensate = self.dice.chance(400).then(|| "undo".to_owned());
        if self.dice.chance(120) {
            definition.retry_lost = LostPolicy::Ask;
        }
        if self.dice.chance(if self.tight { 700 } else { 200 }) {
            definition.reserve =
                Amount { usd_micros: self.dice.between(0, 1000), tokens: self.dice.between(0, 200) };
        }
        if self.tight && matches!(definition.work, Work::Prompt(_)) && self.dice.chance(800) {
            if self.dice.chance(700) {
                definition.reserve = Amount::ZERO;
            }
            definition.forecasts = self.forecasts();
        }
        (definition, facts)
    }

    /// What attempts are expected to cost: some of it is more than there is, and some nothing.
    fn forecasts(&mut self) -> Vec<CostForecast> {
        let agents = (0..self.agents).filter(|_| self.dice.chance(800)).collect::<Vec<_>>();
        let forecast = |agent| {
            let factor = if self.dice.chance(60) { 1000 } else { 1 };
            let amount = Amount {
                usd_micros: self.dice.between(0, 2000) * factor,
                tokens: self.dice.between(0, 400) * factor,
            };
            CostForecast { agent: AgentId(agent), amount, attempts: 3 }
        };
        agents.into_iter().map(forecast).collect()
    }

    fn claims(&mut self) -> u16 {
        match self.dice.below(8) {
            0 => u16::MAX,
            1 | 2 => 1 << self.dice.below(6) | 1 << self.dice.below(6),
            _ => 1 << self.dice.below(6),
        }
    }

    fn child(&mut self, claims: u16) -> Work {
        let mut builder = PlanBuilder::new();
        let claims = claim_names(claims);
        let id = builder.define(Definition { claims, ..Definition::new(Work::Noop) });
        builder.task("inner", id, &[]);
        if self.dice.chance(500) {
            builder.agent(AgentSpec {
                name: "inner".to_owned(),
                adapter: "simulated".to_owned(),
                provider: None,
                slot: Slot::Agent,
                fallback: None,
                ..AgentSpec::default()
            });
        }
        Work::Workflow(Box::new(ChildSpec {
            objective: "inner".to_owned(),
            plan: Arc::new(seal(builder)),
            accept: Vec::new(),
            saga: false,
        }))
    }

    fn cell_definition(&mut self, builder: &mut PlanBuilder) -> DefinitionId {
        if let Some(known) = self.cell {
            return known;
        }
        let mut definition = Definition::new(Work::Run("cell".to_owned()));
        definition.claims = vec![template("c${{ matrix.x }}")];
        let id = self.define(builder, (definition, Facts { cond: Cond::None, claims: 0, claims_cell: true }));
        self.cell = Some(id);
        id
    }

    fn output_condition(&mut self, builder: &mut PlanBuilder, on: TaskId) -> DefinitionId {
        let mut definition = Definition::new(Work::Run("sequel".to_owned()));
        let cond = Cond::Output(on);
        definition.condition = condition(cond);
        self.define(builder, (definition, Facts { cond, claims: 0, claims_cell: false }))
    }
}

fn condition(cond: Cond) -> Option<Expr> {
    let text = match cond {
        Cond::None => return None,
        Cond::True => "inputs.go == 'yes'".to_owned(),
        Cond::False => "inputs.go == 'no'".to_owned(),
        Cond::Always => "always()".to_owned(),
        Cond::Failure => "failure()".to_owned(),
        Cond::Broken => "nothing.known == 'x'".to_owned(),
        Cond::Output(task) => format!("tasks.t{task}.outputs.v == 'go'"),
    };
    Some(Expr::parse(&text).unwrap_or_else(|error| unreachable!("{text}: {error}")))
}

fn claim_names(bits: u16) -> Vec<Template> {
    match bits {
        u16::MAX => vec![template("**")],
        bits => (0..16).filter(|bit| bits & 1 << bit != 0).map(|bit| template(&format!("c{bit}"))).collect(),
    }
}

fn add(
    builder: &mut PlanBuilder,
    task: usize,
    definition: DefinitionId,
    needs: &[TaskId],
    cell: Option<Cell>,
) {
    let name = format!("t{task}");
    match cell {
        Some(cell) => builder.cell(&name, definition, needs, cell),
        None => builder.task(&name, definition, needs),
    };
}

fn seal(builder: PlanBuilder) -> Plan {
    builder.seal(PlanLimits::default()).unwrap_or_else(|error| unreachable!("drawn plans are sound: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_runs_have_more_than_fifty_tasks() {
        let mut sizes: Vec<usize> =
            (0..400).map(|seed| Scenario::draw(&mut Dice::new(seed)).plan.len()).collect();
        sizes.sort_unstable();
        assert!(sizes[0] >= 20 && sizes[399] <= 200, "{sizes:?}");
        assert!(sizes[200] >= 50, "median {}", sizes[200]);
    }

    #[test]
    fn object_ids_differ() {
        assert_ne!(oid(1), oid(2));
        assert_ne!(oid(1), oid(16));
    }
}
