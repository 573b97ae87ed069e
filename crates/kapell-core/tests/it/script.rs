//! Plans and commands as text.
//!
//! A plan is statements between `;`. `mission` and `agent NAME` set what surrounds the tasks; any other first word
//! is a task with its options: `test after build retry 3 backoff 1..60 claims src/**,docs`.

use std::sync::Arc;

use kapell_core::{
    budget::{Amount, Limits},
    command::{Command, Exit, Verdict},
    event::{Outputs, PlanRef},
    expr::{Expr, Template, Value},
    id::{AgentId, AttemptNo, GateId, Oid, ProbeId, RunId, TaskId},
    journal::Version,
    landing::{Probe, Probed},
    mission::Mission,
    plan::{
        AgentSpec, Cell, ChildSpec, CostForecast, Definition, GateSpec, LostPolicy, Matrix, OutputSpec, Plan,
        PlanBuilder, PlanLimits, Slot, Variable, Work,
    },
    retry::{FailureClass, Retry},
    route::Choice,
    run::Run,
    task::{Change, TaskState},
    time::{Elapsed, Millis, Now, Wall},
};

/// Splits at blanks; what stands between `"` is one word.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = vec![];
    let (mut word, mut quoted, mut any) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            c if c.is_whitespace() && !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

fn statements(text: &str, end: char) -> Vec<Vec<String>> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == end && !quoted
    })
    .map(words)
    .filter(|words| !words.is_empty())
    .collect()
}

pub(crate) fn millis(text: &str) -> u64 {
    let (minutes, seconds) = text.split_once(':').unwrap_or(("0", text));
    let seconds: f64 = seconds.parse().unwrap_or_else(|_| panic!("no time: {text}"));
    minutes.parse::<u64>().unwrap() * 60_000 + (seconds * 1000.0).round() as u64
}

/// The wall clock of the tests started with the run.
pub(crate) fn now(text: &str) -> Now {
    let millis = millis(text);
    Now { wall: Wall(i64::try_from(millis).unwrap()), elapsed: Elapsed(millis) }
}

pub(crate) fn oid(seed: &str) -> Oid {
    let hex = kapell_core::id::Digest::of(seed.as_bytes()).to_string();
    hex[..40].parse().unwrap()
}

pub(crate) fn change(seed: &str) -> Change {
    Change { commit: oid(seed), tree: oid(&format!("tree of {seed}")), base: oid("base") }
}

fn limits(words: &mut std::slice::Iter<'_, String>, into: &mut Limits) -> Option<String> {
    while let Some(word) = words.next() {
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        match word.as_str() {
            "usd" => into.usd_micros = Some(number()),
            "tokens" => into.tokens = Some(number()),
            "wall" => into.wall = Some(Millis::from_secs(number())),
            "agents" => into.agents = u32::try_from(number()).unwrap(),
            "jobs" => into.jobs = u32::try_from(number()).unwrap(),
            "memory" => into.memory_mib = Some(u32::try_from(number()).unwrap()),
            _ => return Some(word.clone()),
        }
    }
    None
}

pub(crate) fn default_limits() -> Limits {
    Limits { agents: 4, jobs: 8, ..Limits::default() }
}

fn mission(words: &[String], mission: &mut Mission) {
    let mut words = words.iter();
    while let Some(word) = limits(&mut words, &mut mission.limits) {
        match word.as_str() {
            "saga" => mission.saga = true,
            "base" => mission.base = Some(oid("base")),
            "deadline" => {
                mission.deadline = Some(Wall(i64::try_from(millis(words.next().unwrap())).unwrap()))
            }
            "lost" => mission.persistence.lost = words.next().unwrap().parse().unwrap(),
            "limited" => mission.persistence.rate_limited = Millis(millis(words.next().unwrap())),
            "quota" => mission.persistence.quota = Millis(millis(words.next().unwrap())),
            "seed" => mission.seed = words.next().unwrap().parse().unwrap(),
            "input" => {
                let (name, value) = words.next().unwrap().split_once('=').unwrap();
                mission.inputs.insert(name.to_owned(), value.to_owned());
            }
            word => panic!("no option of a mission: {word}"),
        }
    }
}

fn agent_id(names: &[String], name: &str) -> AgentId {
    let at = names.iter().position(|known| known == name);
    AgentId(u32::try_from(at.unwrap_or_else(|| panic!("no agent: {name}"))).unwrap())
}

fn agent(words: &[String], names: &[String]) -> AgentSpec {
    let mut spec = AgentSpec {
        name: words[0].clone(),
        adapter: "command".to_owned(),
        provider: None,
        slot: Slot::Agent,
        fallback: None,
        ..AgentSpec::default()
    };
    let mut words = words[1..].iter();
    while let Some(word) = words.next() {
        let value = words.next().unwrap();
        match word.as_str() {
            "provider" => spec.provider = Some(value.clone()),
            "fallback" => spec.fallback = Some(agent_id(names, value)),
            "memory" => spec.memory_mib = value.parse().unwrap(),
            "slot" if value == "job" => spec.slot = Slot::Job,
            "slot" if value == "none" => spec.slot = Slot::None,
            word => panic!("no option of an agent: {word}"),
        }
    }
    spec
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

/// Reads `NAME=USD` or `NAME=USD+TOKENS`.
fn forecast(text: &str, agents: &[String]) -> CostForecast {
    let (name, costs) = text.split_once('=').unwrap();
    let (usd, tokens) = costs.split_once('+').unwrap_or((costs, "0"));
    let amount = Amount { usd_micros: usd.parse().unwrap(), tokens: tokens.parse().unwrap() };
    CostForecast { agent: agent_id(agents, name), amount, attempts: 3 }
}

struct TaskText {
    definition: Definition,
    needs: Vec<String>,
    /// The values of the one axis of its matrix.
    cells: Vec<String>,
}

fn task(words: &[String], agents: &[String]) -> TaskText {
    let mut definition = Definition::new(Work::Noop);
    let (mut needs, mut cells) = (vec![], vec![]);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} takes a value"));
        match word.as_str() {
            "after" => needs = list(value()),
            "if" => definition.condition = Some(Expr::parse(value()).unwrap()),
            "agent" => definition.agent = Some(agent_id(agents, value())),
            "retry" => definition.retry.attempts = value().parse().unwrap(),
            "backoff" => {
                let (min, max) = value().split_once("..").unwrap();
                let Retry { attempts, .. } = definition.retry;
                let (backoff_min, backoff_max) = (Millis(millis(min)), Millis(millis(max)));
                definition.retry = Retry { attempts, backoff_min, backoff_max };
            }
            "timeout" => definition.timeout = Some(Millis(millis(value()))),
            "deadline" => definition.deadline = Some(Wall(i64::try_from(millis(value())).unwrap())),
            "accept" => definition.accept = list(value()),
            "claims" => definition.claims = list(value()).iter().map(|claim| template(claim)).collect(),
            "compensate" => definition.compensate = Some(value().clone()),
            "lost" => {
                assert_eq!(value(), "ask");
                definition.retry_lost = LostPolicy::Ask;
            }
            "usd" => definition.reserve.usd_micros = value().parse().unwrap(),
            "tokens" => definition.reserve.tokens = value().parse().unwrap(),
            "forecast" => {
                definition.forecasts = list(value()).iter().map(|known| forecast(known, agents)).collect();
            }
            "gate" => definition.work = Work::Gate(GateSpec { question: template(value()), choices: vec![] }),
            "choices" => {
                if let Work::Gate(gate) = &mut definition.work {
                    gate.choices = list(value());
                }
            }
            "env" => {
                let (name, value) = value().split_once('=').unwrap();
                definition.env.push(Variable { name: name.to_owned(), value: template(value) });
            }
            "out" => {
                definition.outputs.extend(list(value()).iter().map(|promise| match promise.split_once('=') {
                    Some((name, value)) => {
                        OutputSpec { name: name.to_owned(), value: Some(template(value)), schema: None }
                    }
                    None => OutputSpec { name: promise.clone(), value: None, schema: None },
                }))
            }
            "matrix" => cells = list(value()),
            "workflow" => {
                definition.work = Work::Workflow(Box::new(ChildSpec {
                    objective: "part".to_owned(),
                    plan: Arc::new(plan(value()).1),
                    accept: vec![],
                    saga: false,
                }));
            }
            word => panic!("no option of a task: {word}"),
        }
    }
    TaskText { definition, needs, cells }
}

/// Reads a plan and its mission.
pub(crate) fn plan(text: &str) -> (Mission, Plan) {
    let statements = statements(text, ';');
    let agents: Vec<String> =
        statements.iter().filter(|words| words[0] == "agent").map(|words| words[1].clone()).collect();
    let mut asked = Mission { limits: default_limits(), seed: 1, ..Mission::default() };
    let mut builder = PlanBuilder::new();
    let mut ids: Vec<(String, TaskId)> = vec![];
    for words in &statements {
        match words[0].as_str() {
            "mission" => mission(&words[1..], &mut asked),
            "agent" => drop(builder.agent(agent(&words[1..], &agents))),
            name => {
                let TaskText { definition, needs, cells } = task(&words[1..], &agents);
                let find = |need: &String| {
                    let base = |known: &str| known.split(" (").next() == Some(need.as_str());
                    let found: Vec<_> =
                        ids.iter().filter(|(known, _)| base(known)).map(|(_, id)| *id).collect();
                    assert!(!found.is_empty(), "no task: {need}");
                    found
                };
                let needs: Vec<TaskId> = needs.iter().flat_map(find).collect();
                let definition = builder.define(definition);
                if cells.is_empty() {
                    ids.push((name.to_owned(), builder.task(name, definition, &needs)));
                    continue;
                }
                let values = cells.iter().map(|value| Value::string(value)).collect();
                let matrix = builder.matrix(Matrix::Product(vec![("os".to_owned(), values)]));
                for (index, value) in (0..).zip(&cells) {
                    let name = format!("{name} ({value})");
                    let id = builder.cell(&name, definition, &needs, Cell { matrix, index });
                    ids.push((name, id));
                }
            }
        }
    }
    (asked, builder.seal(PlanLimits::default()).unwrap())
}

pub(crate) fn plan_ref(text: &str) -> PlanRef {
    PlanRef::Inline(Arc::new(plan(text).1))
}

/// The commit after each entry of a probe: named by all that is in it.
pub(crate) fn tips(probe: &Probe) -> Vec<Oid> {
    let mut tip = probe.base;
    let mut next = |commit: Oid| {
        tip = oid(&format!("{tip} {commit}"));
        tip
    };
    probe.entries.iter().map(|entry| next(entry.commit)).collect()
}

fn agent_of(run: &Run, name: &str) -> AgentId {
    let at = run.plan().agents().iter().position(|agent| agent.name == name);
    at.map_or(AgentId(99), |at| AgentId(u32::try_from(at).unwrap()))
}

/// Reads one command to `run`.
pub(crate) fn command(run: &Run, text: &str) -> Command {
    let words = words(text);
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let task = || run.plan().find(word(1)).unwrap_or(TaskId(99));
    let attempt = |task: TaskId| {
        let given = words.iter().find_map(|word| word.strip_prefix('#')).map(|no| no.parse().unwrap());
        AttemptNo(given.unwrap_or_else(|| run.task(task).map_or(0, |task| task.attempts)))
    };
    let option = |name: &str| words.iter().position(|word| word == name).map(|at| word(at + 1));
    let spent = Amount {
        usd_micros: option("usd").map_or(0, |usd| usd.parse().unwrap()),
        tokens: option("tokens").map_or(0, |tokens| tokens.parse().unwrap()),
    };
    let outputs = || -> Outputs {
        let pairs = words.iter().filter_map(|word| word.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    match word(0) {
        "tick" => Command::Tick,
        "open" => Command::Open { epoch: word(1).parse().unwrap() },
        "done" => {
            let change = words.iter().any(|word| word == "change");
            let change = change.then(|| self::change(&format!("{} {}", word(1), attempt(task()))));
            let exit = Exit::Succeeded { change, outputs: outputs(), spent };
            Command::Finish { task: task(), attempt: attempt(task()), exit }
        }
        "fail" => {
            let class = serde_json::from_value::<FailureClass>(word(2).into()).unwrap();
            let until = option("until").map(|at| Wall(i64::try_from(millis(at)).unwrap()));
            let exit = Exit::Failed { class, message: format!("it was {}", word(2)), spent, until };
            Command::Finish { task: task(), attempt: attempt(task()), exit }
        }
        "ask" => {
            let choices = option("of").map(list).unwrap_or_default();
            Command::Ask { task: task(), attempt: attempt(task()), question: word(2).to_owned(), choices }
        }
        "rests" | "goes_on" => {
            Command::ChildRests { task: task(), attempt: attempt(task()), rests: word(0) == "rests" }
        }
        "throttled" => {
            let until = option("until").map(|at| Wall(i64::try_from(millis(at)).unwrap()));
            Command::Throttled { task: task(), attempt: attempt(task()), until }
        }
        "route" => {
            let find = |name: &String| run.plan().find(name).unwrap_or(TaskId(99));
            let choice = |name: &String| Choice { agent: agent_of(run, name), why: "drawn".to_owned() };
            let agents = words.get(2).map(|names| list(names)).unwrap_or_default();
            Command::Route {
                tasks: list(word(1)).iter().map(find).collect(),
                ranking: agents.iter().map(choice).collect(),
                passed_over: vec![],
            }
        }
        "handoff" => {
            let to = Some(word(2)).filter(|name| *name != "-").map(|name| agent_of(run, name));
            Command::HandOff { task: task(), attempt: attempt(task()), to, note: word(3).to_owned() }
        }
        "note" => Command::Note { task: task(), attempt: attempt(task()), text: word(2).to_owned() },
        "judge" => {
            let verdict = match word(2) {
                "pass" => Verdict::Passed,
                "fail" => Verdict::Failed { message: "cargo test failed".to_owned() },
                "doubt" => Verdict::Doubtful { question: "it touched its test: accept?".to_owned() },
                "broken" => Verdict::Broken { message: "no cargo here".to_owned() },
                word => panic!("no verdict: {word}"),
            };
            Command::Judge { task: task(), attempt: attempt(task()), verdict }
        }
        "probe" => {
            let asked = run.landing().and_then(|landing| landing.asked());
            let tips = asked.as_ref().map(tips).unwrap_or_default();
            let outcome = match word(1) {
                "green" => Probed::Green { tips },
                "red" => Probed::Red { tips, message: "red".to_owned() },
                "conflict" => {
                    Probed::Conflict { index: word(2).parse().unwrap(), paths: vec!["lib.rs".to_owned()] }
                }
                word => panic!("no outcome: {word}"),
            };
            Command::Probed { probe: asked.map_or(ProbeId(99), |asked| asked.id), outcome }
        }
        "astray" => Command::RefMoved { to: oid("astray") },
        "moved" => Command::RefMoved { to: run.ref_move().map_or(oid("nowhere"), |(_, to)| to) },
        "unlandable" => Command::LandingFailed { message: "disk full".to_owned() },
        "undone" => {
            let back = |head: Oid, name: &str| Change { base: head, ..change(&format!("back {name}")) };
            let changed = words.iter().any(|word| word == "change");
            let head = run.landing().map_or(oid("nowhere"), |landing| landing.head());
            let head = if words.iter().any(|word| word == "astray") { oid("astray") } else { head };
            let change = changed.then(|| back(head, word(1)));
            let attempt = compensation(run, task());
            Command::Compensated { task: task(), attempt, change, failure: None }
        }
        "stuck" => Command::Compensated {
            task: task(),
            attempt: compensation(run, task()),
            change: None,
            failure: Some("no way back".to_owned()),
        },
        "answer" => Command::Answer {
            gate: GateId(word(1).parse().unwrap()),
            answer: word(2).to_owned(),
            by: "ada".to_owned(),
        },
        "unanswer" => Command::UndoAnswer { gate: GateId(word(1).parse().unwrap()), by: "ada".to_owned() },
        "pause" => Command::Pause,
        "resume" => {
            let mut new = *run.limits();
            limits(&mut words[1..].iter(), &mut new);
            Command::Resume { limits: (words.len() > 1).then_some(new) }
        }
        "hold" => Command::Hold { stop: word(1) == "stop" },
        "release" => Command::Release,
        "cancel" => Command::Cancel,
        "revise" => {
            let ids = option("drop").map(list).unwrap_or_default();
            let find = |name: &String| run.plan().find(name).unwrap_or(TaskId(99));
            Command::Revise { plan: plan_ref(word(1)), superseded: ids.iter().map(find).collect() }
        }
        "reuse" => Command::Reuse {
            task: task(),
            from: RunId([9; 16]),
            at: Version(3),
            landed: words.iter().any(|word| word == "landed").then(|| oid("earlier")),
            change: None,
            outputs: outputs(),
        },
        "merge" => match word(1) {
            "begin" => {
                let to = run.landing().map_or(oid("head"), |landing| landing.head());
                Command::BeginMerge { target: "refs/heads/main".to_owned(), from: oid("base"), to }
            }
            "moved" => Command::EndMerge { moved: true, why: None },
            "failed" => Command::EndMerge { moved: false, why: Some("it moved".to_owned()) },
            "undo" => Command::UndoMerge { to: oid(word(2)) },
            word => panic!("no merge: {word}"),
        },
        word => panic!("no command: {word}"),
    }
}

fn compensation(run: &Run, task: TaskId) -> AttemptNo {
    match run.task(task).map(|task| &task.state) {
        Some(TaskState::Compensating { attempt, .. }) => *attempt,
        _ => AttemptNo(9),
    }
}
