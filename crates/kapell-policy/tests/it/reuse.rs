//! Keys: what changes them, and that nothing else does.

use std::collections::BTreeMap;

use kapell_core::{
    budget::Amount,
    expr::Template,
    id::{AgentId, Digest, Oid, TaskId},
    mission::Mission,
    plan::{
        AgentSpec, CostForecast, Definition, Estimate, Plan, PlanBuilder, PlanLimits, Variable, Work,
        WorkspaceKind,
    },
    retry::Retry,
    time::Millis,
};
use kapell_policy::reuse::{Ground, keys};
use proptest::prelude::*;

/// What a plan of three tasks is made from: `first`, `second` which needs it, and `apart`.
#[derive(Debug, Clone)]
struct Made {
    names: [&'static str; 3],
    definitions: [Definition; 3],
    agent: AgentSpec,
    mission: Mission,
    tree: Oid,
    reads: BTreeMap<Vec<String>, Digest>,
}

fn oid(digit: char) -> Oid {
    std::iter::repeat_n(digit, 40).collect::<String>().parse().unwrap()
}

fn variable(value: &str) -> Vec<Variable> {
    vec![Variable { name: "V".to_owned(), value: Template::parse(value).unwrap() }]
}

impl Made {
    fn new() -> Self {
        let run = |script: &str| Definition::new(Work::Run(script.to_owned()));
        let first = Definition { env: variable("${{ inputs.version }}"), ..run("make first") };
        let second = Definition { reads: vec!["src/**".to_owned()], ..run("make second") };
        let prompt = Work::Prompt(Template::parse("Look at it").unwrap());
        let mission = Mission {
            objective: "All of it".to_owned(),
            base: Some(oid('a')),
            inputs: [("version", "1"), ("other", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            versions: [("claude-code".to_owned(), "7".to_owned())].into(),
            ..Mission::default()
        };
        Self {
            names: ["first", "second", "apart"],
            definitions: [first, second, Definition::new(prompt)],
            agent: AgentSpec {
                name: "coder".to_owned(),
                adapter: "claude-code".to_owned(),
                ..AgentSpec::default()
            },
            mission,
            tree: oid('b'),
            reads: [(vec!["src/**".to_owned()], Digest::of(b"src"))].into(),
        }
    }

    fn plan(&self) -> Plan {
        let mut builder = PlanBuilder::new();
        let agent = builder.agent(self.agent.clone());
        let [first, second, apart] = self.definitions.clone();
        let apart = Definition { agent: Some(agent), ..apart };
        let [first, second, apart] = [first, second, apart].map(|definition| builder.define(definition));
        builder.task(self.names[0], first, &[]);
        builder.task(self.names[1], second, &[TaskId(0)]);
        builder.task(self.names[2], apart, &[]);
        builder.seal(PlanLimits::default()).unwrap()
    }

    fn keys(&self) -> [Digest; 3] {
        let plan = self.plan();
        let ground =
            Ground { plan: &plan, mission: &self.mission, tree: Some(self.tree), reads: &self.reads };
        keys(&ground).iter().map(|key| key.whole).collect::<Vec<_>>().try_into().unwrap()
    }
}

/// Every change, with the tasks whose keys it changes: first, second, apart.
type Change = (&'static str, [bool; 3], fn(&mut Made));

/// What makes one thing of a result's surroundings other than it was, and which.
type Named = (&'static str, fn(&mut Made));

const CHANGES: &[Change] = &[
    ("the script", [true, true, false], |made| {
        made.definitions[0].work = Work::Run("make it better".to_owned());
    }),
    ("the script of the last", [false, true, false], |made| {
        made.definitions[1].work = Work::Run("make it better".to_owned());
    }),
    ("an expression", [true, true, false], |made| {
        made.definitions[0].env = variable("${{ inputs.VERSION }}.0");
    }),
    ("a check", [false, true, false], |made| made.definitions[1].accept = vec!["make test".to_owned()]),
    ("the workspace", [false, false, true], |made| {
        made.definitions[2].workspace = Some(WorkspaceKind::ReadOnly);
    }),
    ("an input that is named", [true, true, false], |made| {
        made.mission.inputs.insert("version".to_owned(), "2".to_owned());
    }),
    ("the tree", [true, true, true], |made| made.tree = oid('c')),
    ("what is read", [false, true, false], |made| {
        made.reads.insert(vec!["src/**".to_owned()], Digest::of(b"other"));
    }),
    ("which paths are read", [false, true, false], |made| {
        made.definitions[1].reads = vec!["lib/**".to_owned()];
    }),
    ("the agent's model", [false, false, true], |made| {
        made.agent.options.insert("model".to_owned(), "opus".to_owned());
    }),
    ("the agent's version", [false, false, true], |made| {
        made.mission.versions.insert("claude-code".to_owned(), "8".to_owned());
    }),
    ("the objective, of which prompts tell", [false, false, true], |made| {
        made.mission.objective = "Less of it".to_owned();
    }),
    ("the checks of all", [true, true, true], |made| made.mission.accept = vec!["make check".to_owned()]),
    ("the name of what is needed", [false, true, false], |made| made.names[0] = "begin"),
];

const NO_CHANGES: &[Named] = &[
    ("the name of a task that nothing needs", |made| made.names[2] = "alone"),
    ("an input that nothing names", |made| {
        made.mission.inputs.insert("other".to_owned(), "3".to_owned());
    }),
    ("how often", |made| made.definitions[0].retry = Retry { attempts: 9, ..Retry::default() }),
    ("how long", |made| made.definitions[1].timeout = Some(Millis::from_secs(9))),
    ("how long it is thought to take", |made| {
        let length = Millis::from_secs(9);
        made.definitions[2].estimate = Some(Estimate { p50: length, p90: length });
    }),
    ("what it is thought to cost", |made| {
        let amount = Amount { usd_micros: 9, tokens: 9 };
        made.definitions[2].forecasts = vec![CostForecast { agent: AgentId(0), amount, attempts: 3 }];
    }),
    ("the seed", |made| made.mission.seed = 9),
    ("limits", |made| made.mission.limits.jobs = 9),
    ("the target", |made| made.mission.target = Some("refs/heads/next".to_owned())),
    ("the name of the agent", |made| made.agent.name = "writer".to_owned()),
    ("its room", |made| made.agent.memory_mib = 900),
    ("the version of another agent", |made| {
        made.mission.versions.insert("codex".to_owned(), "1".to_owned());
    }),
    ("what others read", |made| {
        made.reads.insert(vec!["docs/**".to_owned()], Digest::of(b"docs"));
    }),
];

proptest! {
    /// A key changes exactly if something that it is made of changes, however many changes there are.
    #[test]
    fn a_key_names_content(
        some in prop::sample::subsequence(CHANGES, 0..=CHANGES.len()),
        others in prop::sample::subsequence(NO_CHANGES, 0..=NO_CHANGES.len()),
    ) {
        let before = Made::new().keys();
        let mut made = Made::new();
        // What is read is looked up by its paths: both changed are one change of the same task.
        some.iter().for_each(|(_, _, change)| change(&mut made));
        others.iter().for_each(|(_, change)| change(&mut made));
        let after = made.keys();
        for at in 0..3 {
            // With paths of its own a task does not see the tree, but what it needs does.
            let changes = some.iter().any(|(_, which, _)| which[at]);
            prop_assert_eq!(before[at] != after[at], changes, "task {} after {:?}", at, some.iter().map(|it| it.0).collect::<Vec<_>>());
        }
    }
}

#[test]
fn each_change_counts_by_itself() {
    let before = Made::new().keys();
    for (name, which, change) in CHANGES {
        let mut made = Made::new();
        change(&mut made);
        let after = made.keys();
        let differ: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
        assert_eq!(differ, which, "{name}");
    }
    for (name, change) in NO_CHANGES {
        let mut made = Made::new();
        change(&mut made);
        assert_eq!(made.keys(), before, "{name}");
    }
}
