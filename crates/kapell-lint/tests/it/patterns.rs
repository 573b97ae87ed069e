//! The eight patterns, on the side of the agents and on that of the workflows.

use kapell_lint::{
    files::Files,
    patterns::patterns,
    repository::{Depth, Repository},
};

const AGENTS: &[(&str, &str)] = &[
    (
        ".claude/agents/code-reader.md",
        "---\nname: code-reader\ndescription: Looks\ntools: Read, Grep\n---\nLook.\n",
    ),
    (
        ".claude/agents/code-writer.md",
        "---\nname: code-writer\ndescription: Changes\n---\nDelegate to the `code-reader` agent.\nDelegate to the `code-tester` agent.\n",
    ),
    (".claude/agents/code-tester.md", "---\nname: code-tester\ndescription: Tests\n---\nTest.\n"),
    (
        ".claude/commands/ship.md",
        "# Ship\n\n## Step 1: Plan\n\nUse the `code-reader` agent.\n\nSave the output to `.ship/plan.md`.\n\n\
         ## Step 2: Implement\n\nRead `.ship/plan.md`.\n\nUse the `code-writer` agent.\n\n\
         Append one line to `.ship/events.jsonl`.\n\n## Step 3: Test\n\nRead `.ship/plan.md`.\n\n\
         Use the `code-tester` agent.\n\n## Rollback\n\nGo back to the last tag.\n",
    ),
    (
        ".claude/settings.json",
        "{\"hooks\": {\"SubagentStop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"./next.sh\"}]}]}}\n",
    ),
];

const WORKFLOWS: &[(&str, &str)] = &[
    (
        ".github/workflows/ci.yml",
        "on: push\npermissions: { contents: read }\njobs:\n  plan:\n    runs-on: x\n    outputs: { go: \"${{ steps.a.outputs.go }}\" }\n    \
         steps: [{ id: a, run: 'echo go=1 >> $GITHUB_OUTPUT' }]\n  a:\n    needs: plan\n    if: needs.plan.outputs.go\n    runs-on: x\n    \
         steps: [{ uses: actions/upload-artifact@v4, with: { name: part-a, path: a } }]\n  b:\n    needs: plan\n    if: needs.plan.outputs.go\n    \
         runs-on: x\n    steps: [{ uses: actions/upload-artifact@v4, with: { name: part-b, path: b } }]\n  \
         all:\n    needs: [a, b]\n    runs-on: x\n    permissions: { contents: write }\n    steps:\n      \
         - { uses: actions/download-artifact@v4, with: { pattern: 'part-*' } }\n      - run: gh release create v1\n      \
         - { if: failure(), run: gh release delete v1 }\n",
    ),
    (
        ".github/workflows/all.yml",
        "on: push\njobs:\n  one: { uses: ./.github/workflows/one.yml }\n  two: { uses: ./.github/workflows/two.yml }\n",
    ),
    (".github/workflows/one.yml", "on: workflow_call\njobs:\n  two: { uses: ./.github/workflows/two.yml }\n"),
    (".github/workflows/two.yml", "on: workflow_call\njobs:\n  a: { runs-on: x, steps: [{ run: make }] }\n"),
    (
        ".github/workflows/after.yml",
        "on: { workflow_run: { workflows: [.github/workflows/ci.yml] } }\njobs:\n  a: { runs-on: x, steps: [{ run: make }] }\n",
    ),
];

fn seen(files: &[(&str, &str)]) -> String {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let repository = Repository::new(Files::new(files), Depth::Standard);
    let shown = |pattern: &kapell_view::audit::Pattern| {
        format!("{}: {} ({}:{})\n", pattern.kind.name(), pattern.text, pattern.place.path, pattern.place.line)
    };
    patterns(&repository).iter().map(shown).collect()
}

#[test]
fn agents_lead_their_work_by_all_eight() {
    insta::assert_snapshot!(seen(AGENTS));
}

#[test]
fn workflows_lead_theirs_by_seven() {
    insta::assert_snapshot!(seen(WORKFLOWS));
}

#[test]
fn what_leads_nothing_has_no_pattern() {
    let plain = [
        (".github/workflows/ci.yml", "on: push\njobs:\n  a:\n    runs-on: x\n    steps: [{ run: make }]\n"),
        (".claude/commands/notes.md", "# Notes\n\n1. Plan well.\n2. Read the log.\n"),
        (".claude/agents/one-agent.md", "---\nname: one-agent\ndescription: x\n---\nWork.\n"),
    ];
    assert_eq!(seen(&plain), "");
}

#[test]
fn a_title_that_speaks_of_plans_is_no_plan_that_is_carried_out() {
    let command = |text: &str| seen(&[(".claude/commands/c.md", text)]);
    let steps = |first: &str, second: &str, what: &str| {
        format!(
            "# C\n\n## Step {first}\n\nUse the `code-reader` agent.\n\n## Step {second}\n\nUse the `code-writer` agent. {what}\n"
        )
    };
    let texts = [
        // The later one takes up nothing.
        steps("1: Plan", "2: Build the pages", "Begin with the titles."),
        steps("1: Technical Specialization", "2: Create the file", "Follow the plan."),
        steps("1: Architecture Compliance", "2: Create the file", "Write it."),
        steps("1: Visual Design Review", "2: Fix the code", "Follow the plan."),
        // The numbers go back: these are no steps of one list.
        steps("2: Command Design", "1: Create the file", "Follow the plan."),
    ];
    for text in texts {
        assert_eq!(command(&text), "", "{text}");
    }
    for what in ["Follow the plan.", "Use the result from step 1."] {
        assert!(
            command(&steps("1: Plan", "2: Build the pages", what)).contains("Plan, then execute"),
            "{what}"
        );
    }
}

#[test]
fn steps_are_listed_by_number() {
    let mut text =
        "# C\n\n## Step 1: Look\n\nUse the `a-reader` agent.\n\nSave the output to `x/1.md`.\n\n".to_owned();
    for step in [2, 10, 11] {
        text += &format!("## Step {step}: Go on\n\nRead `x/1.md`.\n\nUse the `a-writer` agent.\n\n");
    }
    let told = seen(&[(".claude/commands/c.md", &text)]);
    assert!(told.contains("read in steps 2, 10, 11"), "{told}");
}

#[test]
fn what_a_workflow_waits_for_in_vain_is_no_pattern() {
    let ci = (
        ".github/workflows/ci.yml",
        "name: CI\non: push\njobs:\n  a: { runs-on: x, steps: [{ run: make }] }\n",
    );
    let after = |names: &str| {
        format!(
            "on: {{ workflow_run: {{ workflows: [{names}] }} }}\njobs:\n  a: {{ runs-on: x, steps: [{{ run: make }}] }}\n"
        )
    };
    let told = seen(&[ci, (".github/workflows/after.yml", &after("CI, Gone"))]);
    assert!(told.contains("starts after `CI`.") && !told.contains("Gone"), "{told}");
    assert_eq!(seen(&[ci, (".github/workflows/after.yml", &after("Gone"))]), "");
}

#[test]
fn a_job_decides_for_those_that_need_it_themselves() {
    let job = |name: &str, needs: &str| {
        format!(
            "  {name}:\n    needs: [{needs}]\n    if: needs.plan.outputs.go\n    runs-on: x\n    steps: [{{ run: make }}]\n"
        )
    };
    let plan = "on: push\njobs:\n  plan:\n    runs-on: x\n    outputs: { go: \"${{ steps.a.outputs.go }}\" }\n    \
                steps: [{ id: a, run: 'echo go=1 >> $GITHUB_OUTPUT' }]\n";
    let flow = |last: &str| format!("{plan}{}{}{}", job("a", "plan"), job("b", "plan"), job("end", last));
    let path = ".github/workflows/ci.yml";
    assert!(seen(&[(path, &flow("plan, a, b"))]).contains("`plan` decides what `a`, `b` and `end` do"));
    assert!(seen(&[(path, &flow("a, b"))]).contains("`plan` decides what `a` and `b` do"));
}
