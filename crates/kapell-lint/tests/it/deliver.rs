//! The deliverables of a small repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use kapell_lint::{
    audit::audit,
    collect::inventory,
    deliver::{Study, deliver},
    files::Files,
    patterns::anti_patterns,
    repository::{Depth, Repository},
    rules::RULES,
};
use kapell_spec::{finding::Source, yaml};
use kapell_view::audit::{Asset, AssetKind, Edge, EdgeKind, Inventory, Severity, Strength};

const FILES: &[(&str, &str)] = &[
    (
        ".github/workflows/ci.yml",
        "name: ci\non: [push, pull_request]\njobs:\n  plan:\n    runs-on: ubuntu-latest\n    timeout-minutes: 5\n    outputs: { go: \"${{ steps.a.outputs.go }}\" }\n    steps:\n      - id: a\n        run: echo go=1 >> $GITHUB_OUTPUT\n  test:\n    needs: plan\n    if: needs.plan.outputs.go\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: cargo test\n  release:\n    needs: [plan, test]\n    if: needs.plan.outputs.go == '1'\n    runs-on: ubuntu-latest\n    steps:\n      - run: cargo publish\n",
    ),
    (
        ".claude/agents/reviewer.md",
        "---\nname: reviewer\ndescription: Reviews changes. Use it last.\ntools: Read, Grep\n---\nRead.\n",
    ),
    (".claude/agents/tester.md", "---\nname: tester\ndescription: Writes tests.\n---\nTest.\n"),
    (
        ".claude/commands/ship.md",
        "---\ndescription: Ships a change\n---\n# Ship\n\n## Phase 1: Tests\n\n1. **tester** - writes tests\n\n## Phase 2: Review\n\n2. **reviewer** - reviews the change\n3. **release-writer** - writes notes\n",
    ),
    ("src/ask.py", "import requests\n\n\ndef ask(url):\n    return requests.get(url)\n"),
    ("compose.yml", "services:\n  api:\n    build: .\n    depends_on: [db]\n  db:\n    image: postgres:17\n"),
];

fn with<T>(look: impl FnOnce(&Study<'_>) -> T) -> T {
    with_files(FILES, look)
}

fn with_files<T>(files: &[(&str, &str)], look: impl FnOnce(&Study<'_>) -> T) -> T {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let repository = Repository::new(Files::new(files), Depth::Deep);
    let (findings, inventory) = (audit(&repository), inventory(&repository));
    look(&Study {
        repository: &repository,
        inventory: &inventory,
        findings: &findings,
        patch: "",
        mended: &[],
        changes: &[],
    })
}

/// Keeps the command and the agents, and one reference: what else is collected grows.
fn small(inventory: &Inventory) -> Inventory {
    let kept = |asset: &&Asset| matches!(asset.kind, AssetKind::Command | AssetKind::Agent);
    let assets = inventory.assets.iter().filter(kept).zip(0..);
    let assets: Vec<Asset> = assets.map(|(asset, id)| Asset { id, ..asset.clone() }).collect();
    let (kind, strength, name) = (EdgeKind::Delegates, Strength::Certain, "reviewer".to_owned());
    let place = assets[0].place.clone();
    Inventory {
        edges: vec![Edge { from: 0, to: Some(1), beside: false, name, kind, strength, place, data: None }],
        assets,
    }
}

#[test]
fn a_small_repository_gets_its_own_texts() {
    let text = with(|study| {
        // Rules come and go; what is written from them is what is looked at here.
        let kept = ["call-without-timeout", "depends-on-without-healthcheck"];
        let findings: Vec<_> =
            study.findings.iter().filter(|finding| kept.contains(&&*finding.rule)).cloned().collect();
        let inventory = small(study.inventory);
        let mut text = String::new();
        for (path, page) in deliver(&Study { findings: &findings, inventory: &inventory, ..*study }) {
            let _ = writeln!(text, "==> {path}\n{page}");
        }
        text
    });
    insta::assert_snapshot!(text);
}

#[test]
fn every_sentence_names_something_of_the_repository() {
    with(|study| {
        let mut names: BTreeSet<&str> = FILES.iter().map(|(path, _)| *path).collect();
        names.extend(study.inventory.assets.iter().map(|asset| asset.name.as_str()));
        names.extend(
            study.repository.github.flows.iter().flat_map(|flow| &flow.model.jobs).map(|job| &*job.id.text),
        );
        names.extend(RULES.iter().map(|rule| rule.name));
        let mut strange = Vec::new();
        // The index is the same everywhere, and a command is the repository's own text.
        let own = |path: &str| {
            path != "README.md" && (!path.starts_with("04-commands/") || path.ends_with("agent-selection.md"))
        };
        for (path, page) in deliver(study).iter().filter(|(path, _)| path.ends_with(".md") && own(path)) {
            let mut fenced = false;
            let mut table = 0;
            for line in page.lines() {
                let fence = line.starts_with("```");
                fenced ^= fence;
                table = if line.starts_with('|') { table + 1 } else { 0 };
                // The head of a table and the line beneath it.
                let form = fence
                    || fenced
                    || line.starts_with('#')
                    || line.starts_with("---")
                    || (1..=2).contains(&table);
                if !form && !line.trim().is_empty() && !names.iter().any(|name| line.contains(name)) {
                    strange.push(format!("{path}: {line}"));
                }
            }
        }
        assert!(strange.is_empty(), "{strange:#?}");
    });
}

#[test]
fn what_a_fix_does_is_told_where_there_is_no_hint_and_nobody_is_sent_to_an_agent_that_is_not_loaded() {
    let files = [
        (".claude/agents/silent.md", "---\nname: silent\ntools: Read\n---\nRead.\n"),
        (".claude/agents/tester.md", "---\nname: tester\ndescription: Writes tests.\n---\nTest.\n"),
        (
            ".claude/settings.json",
            "{\"hooks\": {\"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"true\", \"timeout\": 60000}]}]}}",
        ),
    ];
    with_files(&files, |study| {
        let pages: BTreeMap<String, String> = deliver(study).into_iter().collect();
        for path in ["01-analysis.md", "06-docs/best-practices.md", "06-docs/runbook.md"] {
            let lines = pages[path].lines().filter(|line| line.contains(".claude/settings.json:1"));
            assert!(lines.into_iter().any(|line| line.contains("write 60")), "{path}: {}", pages[path]);
        }
        let selection = &pages["04-commands/agent-selection.md"];
        assert!(selection.contains("`tester`") && !selection.contains("`silent`"), "{selection}");
    });
}

#[test]
fn what_machines_read_is_valid() {
    with(|study| {
        for (path, text) in deliver(study) {
            if path.ends_with(".json") {
                serde_json::from_str::<serde_json::Value>(&text).expect("a board");
            } else if path.ends_with(".yaml") || path.ends_with(".yml") {
                let (tree, findings) = yaml::read(&Source::new(&path, &text));
                assert!(
                    tree.is_some_and(|tree| tree.complete) && findings.is_empty(),
                    "{path}: {findings:?}"
                );
            }
        }
    });
}

#[test]
fn the_eight_anti_patterns_are_counted() {
    let evidence = with(|study| anti_patterns(study.findings));
    assert_eq!(evidence.len(), 8);
    let timeout = &evidence[3];
    assert!(timeout.count >= 2 && timeout.worst >= Severity::Medium, "{timeout:?}");
    assert!(timeout.rules.contains(&"call-without-timeout".to_owned()), "{timeout:?}");
}

#[test]
fn an_improved_command_keeps_its_prompts_and_checkpoints() {
    let command = "---\nargument-hint: \"[what]\"\n---\n# Ship $ARGUMENTS\n\n## Phase 1: Tests\nUse Task tool with subagent_type=\"tester\".\n\
        Read `plan.md`.\nSave to `tests.md`.\n\n## Phase 2: Review\nUse Task tool with subagent_type=\"reviewer\".\nRead `plan.md`.\n\
        Save to `review.md`.\n\n## Phase 3: Release\nUse Task tool with subagent_type=\"tester\".\nRead `review.md`.\n\n\
        ## PHASE CHECKPOINT: approval\nYou MUST stop and wait for explicit user approval.\n";
    let agent = |name: &str| format!("---\nname: {name}\ndescription: Does it.\n---\nDo.\n");
    let files = [
        (".claude/commands/ship.md", command.to_owned()),
        (".claude/agents/tester.md", agent("tester")),
        (".claude/agents/reviewer.md", agent("reviewer")),
    ];
    let files = Files::new(files.map(|(path, text)| (path.to_owned(), text)));
    let repository = Repository::new(files, Depth::Deep);
    let inventory = inventory(&repository);
    let study = Study {
        repository: &repository,
        inventory: &inventory,
        findings: &[],
        patch: "",
        mended: &[],
        changes: &[],
    };
    let written = deliver(&study);
    let (_, improved) =
        written.iter().find(|(path, _)| path == "04-commands/ship.md").expect("it is written");
    let added: Vec<&str> =
        improved.lines().filter(|line| !line.is_empty() && !command.contains(line)).collect();
    assert_eq!(
        added,
        [
            "Make one todo for each step of `ship` before the first agent starts.",
            "Steps 1, 2 take nothing from each other: start `tester`, `reviewer` side by side, in one message.",
        ]
    );
    let mut rest = improved.lines();
    assert!(command.lines().all(|line| rest.any(|other| other == line)), "{improved}");
}
