//! What an attempt is given to read, and what agents say besides how they end.

use std::sync::{Arc, Mutex};

use kapell_core::{
    id::{AgentId, TaskId},
    mission::Mission,
    plan::{AgentSpec, Definition, OutputSpec, Plan, PlanBuilder, PlanLimits, Slot, Work},
    retry::FailureClass,
    time::Wall,
};
use kapell_engine::port::{
    agents::{Brief, Order, Report},
    workspaces::{Facts, FactsRequest},
};

use crate::rig::{RUN, Rig, bad, good, landing_mission, mission, oid, script};

fn agent(name: &str, fallback: Option<u32>, options: &[(&str, &str)]) -> AgentSpec {
    AgentSpec {
        name: name.to_owned(),
        adapter: "reads no guide".to_owned(),
        provider: Some("p".to_owned()),
        slot: Slot::Agent,
        fallback: fallback.map(AgentId),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..AgentSpec::default()
    }
}

/// Two agents, the first of which can be told things, and tasks that need the one before.
fn plan(options: &[(&str, &str)], tasks: Vec<Definition>) -> Arc<Plan> {
    let mut builder = PlanBuilder::new();
    builder.agent(agent("ann", Some(1), options));
    builder.agent(agent("bob", None, &[]));
    for (number, definition) in tasks.into_iter().enumerate() {
        let definition = builder.define(definition);
        let needs: Vec<TaskId> = (0..u32::try_from(number).unwrap()).map(TaskId).collect();
        builder.task(&format!("t{number}"), definition, &needs);
    }
    Arc::new(builder.seal(PlanLimits::default()).unwrap())
}

fn prompt(text: &str) -> Definition {
    Definition { agent: Some(AgentId(0)), ..Definition::new(Work::Prompt(text.parse().unwrap())) }
}

/// Waits for the start of an attempt, and returns what it was asked.
fn order(rig: &mut Rig, task: u32, attempt: u32) -> Order {
    rig.until_said(&format!("start {task}.{attempt}"));
    let orders = rig.agents.orders.lock().unwrap();
    let key = crate::rig::key(task, attempt);
    orders.iter().find(|order| order.key == key).unwrap().clone()
}

fn names(brief: &Brief) -> Vec<&str> {
    brief.sections.iter().map(|(name, _)| name.as_str()).collect()
}

fn section<'b>(brief: &'b Brief, name: &str) -> &'b str {
    let found = brief.sections.iter().find(|(known, _)| known == name);
    &found.unwrap_or_else(|| panic!("no `{name}` in {:?}", names(brief))).1
}

#[test]
fn an_agent_is_told_what_the_plan_its_needs_and_the_repository_say() {
    let mut task = prompt("hold ${{ inputs.who }} ${{ tasks.t0.outputs.word }} ${{ tasks.t0.outputs.odd }}");
    task.accept = vec!["make `all`".to_owned()];
    task.protect.paths = vec!["tests/**".to_owned()];
    task.claims = vec!["src/**".parse().unwrap()];
    let output = |name: &str, value: Option<&str>| OutputSpec {
        name: name.to_owned(),
        value: value.map(|value| value.parse().unwrap()),
        schema: None,
    };
    task.outputs = vec![output("given", None), output("computed", Some("x"))];
    let mut mission = Mission { objective: "Mend all".to_owned(), ..landing_mission() };
    mission.inputs.insert("who".to_owned(), "the <b>".to_owned());
    let role = [("role_text", "You are careful."), ("role_file", "roles/ann.md")];
    let world = crate::rig::World::new();
    let mut rig = world.process();
    let asked = Arc::new(Mutex::new(FactsRequest::default()));
    let seen = asked.clone();
    *rig.spaces.facts.lock().unwrap() = Box::new(move |request| {
        *seen.lock().unwrap() = request.clone();
        Facts {
            files: vec![("GUIDE.md".to_owned(), "Use tabs.".to_owned())],
            changes: vec![("t0".to_owned(), "+a line".to_owned())],
            tree: vec!["src/".to_owned(), "README.md".to_owned()],
        }
    });
    let plan = plan(&role, vec![script("ok word=plain odd=<i>"), task]);
    rig.host.create(RUN, mission, plan).unwrap();
    let order = order(&mut rig, 1, 1);

    let asked = asked.lock().unwrap().clone();
    assert_eq!((asked.base, asked.files), (Some(oid(1)), vec!["GUIDE.md".to_owned()]));
    let changes: Vec<_> = asked.changes.iter().map(|(task, change)| (task.as_str(), change.base)).collect();
    assert_eq!(changes, [("t0", oid(1))]);

    let brief = &*order.brief;
    let own = ["task", "checks", "protected", "promised", "claims", "role", "mission"];
    let others = ["outputs:t0", "GUIDE.md", "diff:t0", "repository"];
    assert_eq!(names(brief), [&own[..], &others].concat());
    // What people wrote stands as it is; what a task gave stands in a fence, unless it is a plain word.
    let task = section(brief, "task");
    assert!(task.contains("hold the <b> plain <"), "{task}");
    assert!(task.contains("><i></"), "{task}");
    assert!(section(brief, "checks").contains("- `make 'all'`"));
    assert!(section(brief, "protected").contains("- `tests/**`"));
    assert!(section(brief, "claims").contains("- `src/**`"));
    let promised = section(brief, "promised");
    assert!(promised.contains("- `given`") && !promised.contains("computed"), "{promised}");
    for (name, from, text) in [
        ("role", "what=\"roles/ann.md\"", "You are careful."),
        ("outputs:t0", "from=\"task t0\"", "word:\nplain"),
        ("GUIDE.md", "from=\"the repository\"", "Use tabs."),
        ("diff:t0", "from=\"task t0\"", "+a line"),
        ("repository", "from=\"the repository\"", "src/\nREADME.md"),
    ] {
        let section = section(brief, name);
        assert!(section.contains(from) && section.contains(text), "{section}");
    }
    assert!(brief.text.contains("Mend all") && brief.text.contains("+a line"));
    assert_eq!(brief.agents, ["bob"]);
    assert_eq!(brief.list.lines().count(), brief.sections.len());
    assert!(order.outputs.unwrap().contains("\"given\""));
}

#[test]
fn what_has_no_room_is_named_and_can_be_asked_for() {
    let plan =
        plan(&[("brief_tokens", "500"), ("role_text", &"Be careful.\n".repeat(500))], vec![prompt("hold")]);
    let mut rig = Rig::with(mission(), plan);
    let brief = order(&mut rig, 0, 1).brief;
    assert!(brief.text.len() < 2_000, "{}", brief.text);
    assert!(brief.text.contains("# Not shown") && brief.text.contains("- `role`"), "{}", brief.text);
    assert!(section(&brief, "role").len() > 5_000);
}

#[test]
fn a_command_is_told_too_and_nobody_looks_into_the_repository_for_it() {
    let world = crate::rig::World::new();
    let mut rig = world.process();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    *rig.spaces.facts.lock().unwrap() = Box::new(move |request| {
        seen.lock().unwrap().push(request.clone());
        Facts::default()
    });
    let scripted = Definition::new(Work::Scripted("hold".to_owned()));
    rig.host.create(RUN, landing_mission(), plan(&[], vec![script("ok"), scripted])).unwrap();
    let brief = order(&mut rig, 0, 1).brief;
    assert!(section(&brief, "task").contains("A command of the plan does it:\n\nok"));
    assert_eq!(brief.agents, ["ann", "bob"]);
    let brief = order(&mut rig, 1, 1).brief;
    assert!(section(&brief, "task").contains("A script of the plan does it."));
    assert_eq!(*asked.lock().unwrap(), []);
}

#[test]
fn whoever_tries_again_is_told_what_failed() {
    let mut task = prompt("hold");
    task.retry.attempts = 2;
    let mut rig = Rig::with(mission(), plan(&[], vec![task]));
    let first = order(&mut rig, 0, 1);
    assert_eq!(names(&first.brief), ["task"]);
    rig.finish(0, 1, bad(FailureClass::Transient, "the compiler <crashed>"));
    rig.until(|rig| rig.state(0).starts_with("BackingOff"));
    rig.world.clock.pass(1_000_000);
    let second = order(&mut rig, 0, 2);
    let failure = section(&second.brief, "failure");
    assert!(failure.starts_with("# The attempt before this one failed (transient)"), "{failure}");
    assert!(failure.contains("the compiler <crashed>"), "{failure}");
    assert_eq!(second.earlier.failure, Some((FailureClass::Transient, "the compiler <crashed>".to_owned())));
}

fn hand_off(rig: &mut Rig, attempt: u32, to: Option<&str>, note: &str) {
    let to = to.map(str::to_owned);
    let before = rig.events().len();
    rig.say(0, attempt, Report::HandOff { to, note: note.to_owned() });
    rig.until(|rig| rig.events()[before..].contains(&"handed_off".to_owned()));
}

#[test]
fn whoever_goes_on_with_work_is_told_what_was_handed_on() {
    let mut task = prompt("hold");
    task.retry.attempts = 3;
    let mut rig = Rig::with(landing_mission(), plan(&[], vec![task]));
    let first = order(&mut rig, 0, 1);
    assert_eq!(first.agent.unwrap().name, "ann");
    // Nobody has that name: it goes to whoever is next.
    hand_off(&mut rig, 1, Some("nobody"), "The parser is done.");
    rig.finish(0, 1, good());
    let second = order(&mut rig, 0, 2);
    assert_eq!(second.agent.unwrap().name, "bob");
    let note = section(&second.brief, "handoff").to_owned();
    assert!(note.starts_with("# Handed on to you") && note.contains("from=\"agent ann\""), "{note}");
    assert!(note.contains("The parser is done."), "{note}");
    assert!(note.contains("(Its change is in your workspace already.)"), "{note}");
    // The second hands it back, and fails before it has ended: what came before that holds.
    hand_off(&mut rig, 2, Some("ann"), "Not worth a word.");
    rig.finish(0, 2, bad(FailureClass::Transient, "it fell over"));
    rig.until(|rig| rig.state(0).starts_with("BackingOff"));
    rig.world.clock.pass(1_000_000);
    let third = order(&mut rig, 0, 3);
    let note = section(&third.brief, "handoff");
    assert!(note.starts_with("# Work so far") && !note.contains("Not worth a word."), "{note}");
    assert!(section(&third.brief, "failure").contains("it fell over"));
}

#[test]
fn an_agent_that_is_asked_to_wait_says_so_and_its_provider_rests() {
    let mut rig = Rig::with(mission(), plan(&[], vec![prompt("hold")]));
    order(&mut rig, 0, 1);
    rig.say(0, 1, Report::Throttled { until: Some(Wall(9_000_000)), text: "slow down".to_owned() });
    rig.until(|rig| rig.events().contains(&"provider_parked".to_owned()));
    assert!(rig.events().contains(&"progress None slow down".to_owned()));
    assert!(rig.state(0).starts_with("Running"), "{}", rig.state(0));
}
