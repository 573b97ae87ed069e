//! Workflows and agents in one graph.

use insta::assert_snapshot;
use kapell_lint::{
    collect::inventory,
    files::Files,
    repository::{Depth, Repository},
};

const FILES: &[(&str, &str)] = &[
    (
        ".github/workflows/ci.yml",
        "name: CI\non: push\njobs:\n  build:\n    runs-on: x\n    steps:\n      - uses: ./.github/actions/setup\n  \
         test:\n    needs: [build, lint]\n    uses: ./.github/workflows/test.yml\n",
    ),
    (
        ".github/workflows/test.yml",
        "on: workflow_call\njobs:\n  unit:\n    runs-on: x\n    steps: [{run: make}]\n",
    ),
    (".github/workflows/after.yml", "on:\n  workflow_run:\n    workflows: [CI, Gone]\njobs: {}\n"),
    (".github/actions/setup/action.yml", "name: s\nruns: {using: composite, steps: []}\n"),
    (".claude/agents/reviewer.md", "---\nname: reviewer\ndescription: reviews\n---\nReview.\n"),
    (
        ".claude/commands/ship.md",
        "Use Task with subagent_type=\"reviewer\", then subagent_type=\"tester\".\n\
         Then subagent_type=\"Explore\" by [style](../style.md).\n",
    ),
    (".claude/style.md", "Short.\n"),
];

#[test]
fn who_waits_for_calls_starts_and_hands_work_to_whom() {
    let files = FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let inventory = inventory(&Repository::new(Files::new(files), Depth::Standard));
    let name = |id: u32| inventory.assets[id as usize].name.clone();
    let lines: Vec<String> = inventory
        .edges
        .iter()
        .map(|edge| {
            let there = if edge.is_missing() { "not there" } else { "no asset" };
            let to = edge.to.map_or_else(|| format!("{} ({there})", edge.name), name);
            format!("{} {:?} {to} at {}:{}", name(edge.from), edge.kind, edge.place.path, edge.place.line)
        })
        .collect();
    assert_snapshot!(lines.join("\n"), @r"
    CI Triggers after.yml at .github/workflows/after.yml:3
    build Calls setup at .github/workflows/ci.yml:7
    test Awaits build at .github/workflows/ci.yml:9
    test Awaits lint (not there) at .github/workflows/ci.yml:9
    test Calls test.yml at .github/workflows/ci.yml:10
    ship Delegates reviewer at .claude/commands/ship.md:1
    ship Delegates tester (not there) at .claude/commands/ship.md:1
    ship Delegates Explore (no asset) at .claude/commands/ship.md:2
    ship Names ../style.md (no asset) at .claude/commands/ship.md:2
    ");
    assert_snapshot!(inventory.mermaid(), @r#"
    flowchart LR
      subgraph a1["workflow CI on push"]
        a3["job build"]
        a4["job test"]
      end
      a0["workflow after.yml on workflow#95;run (workflows: CI, Gone)"]
      a2["workflow test.yml on workflow#95;call"]
      a6["action setup"]
      a7["command ship"]
      a8["agent reviewer"]
      n0(["../style.md"])
      n1(["Explore"])
      n2(["lint"]):::missing
      n3(["tester"]):::missing
      a1 ==> a0
      a3 ==> a6
      a4 --> a3
      a4 --> n2
      a4 ==> a2
      a7 ==> a8
      a7 ==> n3
      a7 ==> n1
      a7 -.-> n0
      classDef missing stroke-dasharray: 4 4
    "#);
}

const CODE: &[(&str, &str)] = &[
    (
        "swarm/registry.py",
        "class Swarm:\n    def register_agent(self, role, agent):\n        self._agents[role] = agent\n\n    \
         def get_agent(self, role):\n        return self._agents.get(role)\n",
    ),
    (
        "swarm/start.py",
        "def start(swarm, coder, tester):\n    swarm.register_agent(\"coder\", coder)\n    \
         swarm.register_agent(\"tester\", tester)\n",
    ),
    (
        "swarm/engine.py",
        "async def run(swarm, task):\n    await swarm.get_agent(\"coder\").run(task)\n    \
         await swarm.get_agent(\"critic\").run(task)\n",
    ),
    (
        "graph/app.py",
        "from langgraph.graph import END, START, StateGraph\n\nworkflow = StateGraph(State)\n\
         workflow.add_node(\"plan\", plan)\nworkflow.add_node(\"write\", write)\n\
         workflow.add_edge(START, \"plan\")\nworkflow.add_edge(\"plan\", \"write\")\nworkflow.add_edge(\"write\", END)\n",
    ),
    (
        "ask.py",
        "from openai import OpenAI\n\nclient = OpenAI()\nclient.responses.create(model=\"m\", input=\"x\")\n",
    ),
    ("plain.py", "import requests\n\nrequests.get(\"https://example.org\", timeout=9)\n"),
];

#[test]
fn code_has_agents_and_graphs_too() {
    let files = CODE.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let inventory = inventory(&Repository::new(Files::new(files), Depth::Deep));
    let name = |id: u32| &*inventory.assets[id as usize].name;
    let assets = inventory.assets.iter().map(|asset| format!("{:?} {}", asset.kind, asset.name));
    let edges = inventory.edges.iter().map(|edge| {
        let missing = if edge.is_missing() { " (not there)" } else { "" };
        format!("{} {:?} {}{missing}", name(edge.from), edge.kind, edge.name)
    });
    assert_snapshot!(assets.chain(edges).collect::<Vec<_>>().join("\n"), @r"
    Agent coder
    Agent tester
    Code ask.py
    Code workflow
    Code plan
    Code write
    Code swarm/engine.py
    workflow Triggers plan
    plan Triggers write
    swarm/engine.py Delegates coder
    swarm/engine.py Delegates critic (not there)
    ");
}
