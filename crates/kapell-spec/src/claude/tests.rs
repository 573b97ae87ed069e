use super::{
    codex,
    definition::{Definition, Hidden},
    hooks, plugin,
    reference::{Names, Strength, has_fallback, is_kebab, references},
    steps::{self, Flow},
};

fn named(text: &str) -> Vec<(Names, String, Strength)> {
    let found = references(text, &Definition::read(text));
    found.into_iter().map(|reference| (reference.names, reference.name, reference.strength)).collect()
}

fn agent(name: &str, strength: Strength) -> (Names, String, Strength) {
    (Names::Agent, name.to_owned(), strength)
}

fn flow(text: &str) -> Flow {
    steps::flow(text, &Definition::read(text))
}

#[test]
fn frontmatter_has_keys_with_places() {
    let text = "---\nname: reviewer\ntools: Read, Bash(git log:*, x), Agent(linter)\n---\n# Hi\n";
    let definition = Definition::read(text);
    let name = definition.text("name").expect("there is a name");
    assert_eq!((&*name.text, &text[name.span.range()]), ("reviewer", "reviewer"));
    let tools: Vec<&str> = definition.items("tools").iter().map(|tool| &text[tool.span.range()]).collect();
    assert_eq!(tools, ["Read", "Bash(git log:*, x)", "Agent(linter)"]);
    assert_eq!(&text[definition.body as usize..], "# Hi\n");
    assert_eq!(named(text), [agent("linter", Strength::Certain)]);
}

#[test]
fn items_stand_where_they_are_written() {
    let places = |text: &str| -> Vec<String> {
        let definition = Definition::read(text);
        let items = definition.items("tools").iter();
        items.map(|item| text.get(item.span.range()).expect("a place of the text").to_owned()).collect()
    };
    assert_eq!(places("---\ntools: \"Read, Write\"\n---\n"), ["Read", "Write"]);
    assert_eq!(places("---\ntools: Read,\n  Read, Gr\u{905}ep\n---\n"), ["Read", "Read", "Gr\u{905}ep"]);
    // An escape is another text than what it stands for: the whole value is the place.
    assert_eq!(places("---\ntools: \"R\\x65ad, Write\"\n---\n"), ["\"R\\x65ad, Write\"", "Write"]);
    // Broken elsewhere: read line by line, with blanks of several bytes behind the marks.
    assert_eq!(places("---\u{a0}\ntools: \"Read, \u{905}\"\nx: a: b\n---\n"), ["Read", "\u{905}"]);
}

#[test]
fn values_that_are_no_yaml_are_read_as_plain_texts() {
    let text =
        "---\nname: writer\ndescription: Use it. Examples: <example>Context: a: b</example>\n---\nbody\n";
    let front = Definition::read(text).front.expect("there is frontmatter");
    assert!(front.problem.is_some() && front.readable);
    assert_eq!(front.fields[0].text.as_ref().map(|name| &*name.text), Some("writer"));
    let text = "---\nname: \"writer\ndescription: x\n---\nbody\n";
    let front = Definition::read(text).front.expect("there is frontmatter");
    assert!(front.problem.is_some() && !front.readable);
}

#[test]
fn frontmatter_that_nobody_sees_is_noticed() {
    let hidden = |text: &str| Definition::read(text).hidden;
    assert!(matches!(hidden("name: a\ndescription: b\n---\n\n# A\n"), Some(Hidden::NotOpened(_))));
    assert!(matches!(hidden("---\nname: a\ndescription: b\n\n# A\n"), Some(Hidden::NotClosed(_))));
    assert!(matches!(hidden("\n\n---\nname: a\ndescription: b\n---\n"), Some(Hidden::Late(_))));
    let fenced = "# A\n\n```yaml\n---\nname: a\ndescription: b\n---\n```\n";
    assert!(matches!(hidden(fenced), Some(Hidden::Fenced(_))));
    assert_eq!(hidden("# A\n\n---\n\ntext\n\n---\n"), None);
    assert_eq!(hidden("---\n"), None);
}

#[test]
fn agents_are_named_in_forms_that_can_mean_nothing_else() {
    use Strength::{Certain, Strong, Weak};
    let cases = [
        ("Use Task with subagent_type=\"a:b-c\".", vec![agent("a:b-c", Certain)]),
        ("```\nTask:\n  subagent_type: code-reviewer\n```\n", vec![agent("code-reviewer", Certain)]),
        ("All `subagent_type` references use local agents.", vec![]),
        ("subagent_type: {role}", vec![]),
        ("subagent_type: agent-name", vec![agent("agent-name", Weak)]),
        ("Ask the `code-reviewer` agent.", vec![agent("code-reviewer", Strong)]),
        ("Ask the **code-reviewer** subagent.", vec![agent("code-reviewer", Strong)]),
        ("Ask the `\ncode-reviewer` agent.", vec![agent("code-reviewer", Strong)]),
        ("Ask the **Code Reviewer** agent.", vec![]),
        // Whether agents here are called so is for others to ask.
        ("The `snake_case` agent and `top-level` code.", vec![agent("snake_case", Strong)]),
        ("e.g. the `code-reviewer` agent", vec![agent("code-reviewer", Weak)]),
        ("```\nUse: context-manager\n```\n", vec![agent("context-manager", Strong)]),
        ("Type `@agent-security`.", vec![agent("security", Strong)]),
    ];
    for (text, expected) in cases {
        assert_eq!(named(text), expected, "{text}");
    }
}

#[test]
fn commands_are_no_paths() {
    let command = |name: &str| (Names::Command, name.to_owned(), Strength::Strong);
    assert_eq!(named("Then run `/deploy` now."), [command("deploy")]);
    assert_eq!(named("/sc:scan --fast and `/sc:fix`"), [command("sc:scan"), command("sc:fix")]);
    assert_eq!(named("Probe `/health` and /usr/bin:/bin, http://a/b:c."), []);
    assert_eq!(named("Run `/usr/bin/env`"), []);
}

#[test]
fn a_fallback_is_heard() {
    let text = "If the plugin is not installed, use general-purpose.\n\nsubagent_type: x-y\n";
    assert!(has_fallback(text, text.len() as u32 - 4));
    assert!(!has_fallback("subagent_type: x-y", 3));
    assert!(is_kebab("a-b2") && !is_kebab("ab") && !is_kebab("A-b") && !is_kebab("a--b"));
}

const STEPS: &str = "# Build

## Phase 1: Plan

### Step 1: Ask

Read `.x/00.md`.

```
Task:
  subagent_type: \"planner\"
  prompt: |
    [Insert full contents of .x/00.md]
```

Save the output to `.x/01.md`.

## PHASE CHECKPOINT 1 - approval

## Phase 2: Do (steps 2-3)

Launch both in parallel.

### Step 2a: Web

Read `.x/01.md`.

Output file: `.x/02.md`

### Step 2b: App

[Insert contents of .x/02.md]
";

#[test]
fn steps_know_what_they_read_and_write() {
    let flow = flow(STEPS);
    let shown: Vec<String> = flow
        .steps
        .iter()
        .map(|step| {
            let names = |list: &[super::definition::Named]| {
                list.iter().map(|named| named.text.clone()).collect::<Vec<_>>().join(",")
            };
            format!(
                "{} {} {}>{} {}",
                step.number,
                step.title,
                names(&step.reads),
                names(&step.writes),
                step.gate
            )
        })
        .collect();
    assert_eq!(
        shown,
        ["1 Ask .x/00.md>.x/01.md true", "2a Web .x/01.md>.x/02.md false", "2b App .x/02.md> false"]
    );
    assert_eq!(flow.steps[0].agents[0].text, "planner");
    assert_eq!(flow.phases.iter().map(|phase| phase.parallel).collect::<Vec<_>>(), [false, true]);
    assert_eq!(flow.steps[2].phase, Some(1));
}

#[test]
fn a_numbered_list_of_a_flow_is_its_steps() {
    let flow = flow("## Behavioral Flow\n1. **Explore**: look\n2. **Build**: make\n\n## Other\n1. x\n2. y\n");
    let titles: Vec<&str> = flow.steps.iter().map(|step| &*step.title).collect();
    assert_eq!(titles, ["Explore", "Build"]);
}

#[test]
fn hooks_are_read_from_json_with_tabs() {
    let text = "{\n\t\"hooks\": {\"PreToolUse\": [{\"matcher\": \".*\", \"hooks\": [{\"type\": \"command\", \
                \"command\": \"x\", \"timeout\": 5000}]}, {\"matcher\": \"Bash\", \"hook\": {}}]}}";
    let (hooks, findings) = hooks::read(text);
    assert!(findings.is_empty(), "{findings:?}");
    assert!(hooks.hooks[0].is_for_all_tools());
    let (seconds, span) = hooks.hooks[0].timeout.expect("it has one");
    assert_eq!((seconds, &text[span.range()]), (5000, "5000"));
    assert_eq!(hooks.lost.len(), 1);
}

#[test]
fn manifests_name_their_parts() {
    let (plugins, _) =
        plugin::marketplace(r#"{"plugins": [{"name": "a", "source": "./a", "agents": ["./x.md"]}]}"#);
    assert_eq!(plugins[0].agents[0].text, "./x.md");
    let (plugin, findings) = plugin::manifest("{\"name\": \"a\", \"commands\": \"./c/\", ");
    assert_eq!(plugin.commands.len(), 1);
    assert!(!findings.is_empty());
}

#[test]
fn agents_of_codex_are_toml() {
    let agent = codex::read("name = \"a\"\ndescription = \"b\"\n").expect("it is TOML");
    assert_eq!(agent.name.as_deref(), Some("a"));
    assert!(codex::read("name = ").is_err());
}

#[test]
fn bombs_and_rubbish_are_bounded() {
    let started = std::time::Instant::now();
    let texts = [
        "> ".repeat(10_000),
        "- ".repeat(10_000) + "x",
        "[".repeat(100_000),
        "*a ".repeat(50_000),
        "`".repeat(100_000),
        format!("---\n{}\n---\n", "a: [".repeat(20_000)),
        "---\n".repeat(50_000),
        "```\n".repeat(50_001),
        "\u{fffd}\u{feff}---\nname\n".repeat(1000),
        "@/`/".repeat(20_000),
    ];
    for text in &texts {
        let definition = Definition::read(text);
        let _ = references(text, &definition);
        let _ = steps::flow(text, &definition);
        let _ = hooks::read(text);
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}
