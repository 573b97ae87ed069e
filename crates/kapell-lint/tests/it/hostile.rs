//! Input that nobody means well with: time and memory stay bounded, it is told where it is, and the rest is judged.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, time::Duration};

use kapell_lint::{
    audit::audit,
    discover::{Bounds, Found, discover_within},
    files::Files,
    fix,
    repository::{Depth, Repository},
    wanted::{Scope, is_wanted},
};
use kapell_view::audit::Finding;

/// A workflow with a fault that is known.
const FAULT: &str = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{ run: make }]\n  b:\n    if: github.event_name == 'issues'\n    runs-on: ubuntu-latest\n    steps: [{ run: make }]\n";
const FAULT_PATH: &str = ".github/workflows/z.yml";

/// Far more of the processor than any of them takes, and far less than what is not bounded would.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long this thread has worked, whoever else is at work.
fn worked() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Judges a file beside one that has a fault, which must be found; returns what is found in the file.
fn judge(path: &str, text: String) -> Vec<Finding> {
    let begin = worked();
    let files = BTreeMap::from([(path.to_owned(), text), (FAULT_PATH.to_owned(), FAULT.to_owned())]);
    let repository = Repository::new(Files::new(files), Depth::Deep);
    let findings = audit(&repository);
    let _ = fix::patch_knowing(&repository, &findings, &findings);
    let took = worked() - begin;
    assert!(took < PATIENCE, "{path}: {took:?}");
    let (here, there): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.place.path == path);
    assert!(there.iter().any(|finding| finding.rule == "unsatisfiable-if"), "{path}: the rest is not judged");
    here
}

fn unreadable(path: &str, text: String, words: &str) {
    let found = judge(path, text);
    let told = found.iter().find(|finding| finding.rule == "unreadable-file");
    let told = told.unwrap_or_else(|| panic!("{path}: nothing is said of it: {found:#?}"));
    assert!(told.message.contains(words) && told.place.line >= 1, "{path}: {}", told.message);
}

#[test]
fn bombs_of_yaml_are_told_where_they_are() {
    const WORKFLOW: &str = ".github/workflows/bomb.yml";
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        aliases.push_str(&format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", ")));
    }
    unreadable(WORKFLOW, aliases, "alias");
    unreadable(WORKFLOW, "[".repeat(10_000), "deep");
    unreadable(WORKFLOW, "- ".repeat(10_000), "deep");
    let indented: String =
        (0..10_000).map(|level| format!("{}a:\n", " ".repeat(level % 1_000 + level / 1_000))).collect();
    unreadable(WORKFLOW, indented, "");
    unreadable(WORKFLOW, "on: push\njobs:\n  a: {steps: [\n".to_owned(), "");
    unreadable(".claude/settings.json", "{\"hooks\":".repeat(10_000), "not valid JSON");
    unreadable("x/action.yml", "runs:\n  steps: [\n".to_owned(), "");
}

#[test]
fn depths_of_expressions_scripts_text_and_code_end() {
    let workflow = |condition: &str, run: &str| {
        format!(
            "on: push\njobs:\n  a:\n    if: ${{{{ {condition} }}}}\n    runs-on: x\n    steps:\n      - run: {run}\n"
        )
    };
    let path = ".github/workflows/deep.yml";
    judge(path, workflow(&"(".repeat(10_000), "x"));
    judge(path, workflow(&format!("{}true{}", "!(".repeat(5_000), ")".repeat(5_000)), "x"));
    judge(path, workflow(&"a && ".repeat(10_000), "x"));
    judge(path, workflow("true", &format!("echo {}", "$(".repeat(10_000))));
    judge(path, workflow("true", &"if x; then ".repeat(3_000)));
    judge(".claude/agents/a.md", format!("---\nname: a\ndescription: x\n---\n{}", "> ".repeat(10_000)));
    judge(".claude/agents/a.md", format!("---\nname: a\ndescription: x\n---\n{}", "*_".repeat(20_000)));
    judge(".claude/agents/a.md", format!("---\nname: a\ndescription: x\n---\n{}", "[a](".repeat(10_000)));
    judge(".claude/commands/c.md", "1. **x-y** agent `a-b` /c @d.md\n".repeat(10_000));
    judge("src/a.py", format!("{}x\n", "(".repeat(10_000)));
    judge("src/a.ts", format!("{}x\n", "if (a) { ".repeat(10_000)));
}

#[test]
fn a_line_that_is_a_whole_file_is_not_read_at_each_of_its_words() {
    let orders = "delegate to the a-tester agent, do not load the `s` skill, write `out/a.md`, subagent_type: x-y, \
        never ask the user to wait for the user, spawn subagents, **x-y** agent `a-b` /c @d.md ";
    let head = "---\nname: a\ndescription: x\ntools: Read\n---\n";
    for path in [".claude/agents/a.md", ".claude/commands/a.md", ".claude/skills/a/SKILL.md"] {
        judge(path, format!("{head}{}", orders.repeat(5_000)));
    }
}

#[test]
fn needs_that_hold_each_other_and_long_lists_end() {
    let mut text = "on: push\njobs:\n".to_owned();
    for job in 0..300 {
        text.push_str(&format!(
            "  j{job}:\n    needs: [{}]\n    runs-on: x\n    steps: [{{ run: make }}]\n",
            (0..job).rev().take(20).map(|need| format!("j{need}")).collect::<Vec<_>>().join(", ")
        ));
    }
    judge(".github/workflows/wide.yml", text);
    judge(
        ".github/workflows/ring.yml",
        "on: push\njobs:\n  a: {needs: b, runs-on: x, steps: []}\n  b: {needs: a, runs-on: x, steps: []}\n"
            .to_owned(),
    );
    let axes: String = (0..12).map(|axis| format!("        a{axis}: [1, 2, 3, 4, 5, 6, 7, 8]\n")).collect();
    judge(
        ".github/workflows/matrix.yml",
        format!(
            "on: push\njobs:\n  a:\n    strategy:\n      matrix:\n{axes}    if: matrix.a1 == 9\n    runs-on: x\n    steps: [{{ run: make }}]\n"
        ),
    );
}

#[test]
fn broken_frontmatter_is_told_and_the_rest_is_judged() {
    let found = judge(".claude/commands/c.md", "---\nname: [a\ndescription: {\n---\nGo.\n".to_owned());
    assert!(found.iter().any(|finding| finding.rule == "broken-frontmatter"), "{found:#?}");
    let found = judge(".claude/agents/a.md", "---\nname: \u{fffd}\u{0}\ndescription: \"\n---\n".to_owned());
    assert!(!found.is_empty());
}

fn found(bounds: Bounds, make: impl FnOnce(&std::path::Path)) -> Found {
    let dir = tempfile::tempdir().unwrap();
    let workflows = dir.path().join(".github/workflows");
    fs::create_dir_all(&workflows).unwrap();
    fs::write(workflows.join("z.yml"), FAULT).unwrap();
    make(&workflows);
    discover_within(dir.path(), &|path| is_wanted(path, Scope::All, Depth::Deep), bounds).unwrap()
}

fn unread(found: &Found) -> Vec<String> {
    found.unread.iter().map(|unread| format!("{}:{} {}", unread.path, unread.line, unread.why)).collect()
}

#[test]
fn files_beyond_the_bounds_are_told_and_the_rest_is_read() {
    let bounds = Bounds { file_bytes: 1_000, bytes: 1_500, entries: 12 };
    let many = found(bounds, |dir| {
        fs::write(dir.join("a.yml"), "x".repeat(1_001)).unwrap();
        fs::write(dir.join("b.yml"), b"on: push\nname: \xff\xfe\n").unwrap();
        fs::write(dir.join("c.yml"), "# ".repeat(400)).unwrap();
        fs::write(dir.join("d.yml"), "# ".repeat(400)).unwrap();
    });
    assert_eq!(
        unread(&many),
        [
            ".github/workflows/a.yml:1 longer than 1000 bytes",
            ".github/workflows/b.yml:2 byte 15 is no UTF-8; what is none is read as a replacement character",
            ".github/workflows/d.yml:1 more than 1500 bytes were read before it",
        ]
    );
    assert!(many.files.find(FAULT_PATH).is_some() && many.files.find(".github/workflows/b.yml").is_some());
    let few = found(Bounds { entries: 5, ..bounds }, |dir| {
        (0..20).for_each(|file| fs::write(dir.join(format!("{file:02}.yml")), "on: push\n").unwrap());
    });
    assert_eq!(unread(&few), [":1 there are more than 5 files; the rest is not looked at"]);
    assert_eq!(few.files.len(), 2, "whatever the file system lists first");
}

#[test]
fn code_is_read_last_and_bundles_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [("a.py", 900), ("b.ts", 900), ("bundle.js", 1_001), ("z.yml", 800)] {
        fs::write(dir.path().join(name), "#".repeat(bytes)).unwrap();
    }
    let bounds = Bounds { file_bytes: 1_000, bytes: 1_700, entries: 12 };
    let found = discover_within(dir.path(), &|_| true, bounds).unwrap();
    assert_eq!(unread(&found), [":1 1 files of code are not read: more than 1700 bytes were before them"]);
    assert!(found.files.find("z.yml").is_some() && found.files.find("a.py").is_some());
    assert!(found.files.find("bundle.js").is_none() && found.files.exists("bundle.js"));
}

#[test]
fn links_in_circles_and_what_is_no_file_are_passed_over() {
    let found = found(Bounds::default(), |dir| {
        symlink(dir, dir.join("loop")).unwrap();
        symlink("b.yml", dir.join("a.yml")).unwrap();
        symlink("a.yml", dir.join("b.yml")).unwrap();
        symlink("/dev/zero", dir.join("endless.yml")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(dir.join("pipe.yml")).status().unwrap().success());
    });
    assert_eq!((found.files.len(), unread(&found).len()), (1, 0));
}

#[test]
fn what_hooks_start_is_read_in_whatever_folder_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let command = r#"\"$CLAUDE_PROJECT_DIR\"/dev/guard/push.sh"#;
    write(
        ".claude/settings.json",
        &format!(r#"{{"hooks": {{"PreToolUse": [{{"hooks": [{{"command": "{command}"}}]}}]}}}}"#),
    );
    write("dev/guard/push.sh", "exit 1\n");
    write("dev/guard/other.sh", "exit 1\n");
    let wanted = |path: &str| is_wanted(path, Scope::All, Depth::Deep);
    let found = discover_within(dir.path(), &wanted, Bounds::default()).unwrap();
    assert!(found.files.find("dev/guard/push.sh").is_some());
    assert!(found.files.find("dev/guard/other.sh").is_none());
}

#[test]
fn what_instructions_include_is_read_in_whatever_folder_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("CLAUDE.md", "First: @docs/index.md, then @docs/../../outside.md and @docs/link.md\n");
    write("docs/index.md", "More: @more.md. And @../CLAUDE.md\n");
    write("docs/more.md", "More.\n");
    write("docs/other.md", "Other.\n");
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/hostname", dir.path().join("docs/link.md")).unwrap();
    let wanted = |path: &str| is_wanted(path, Scope::All, Depth::Deep);
    let found = discover_within(dir.path(), &wanted, Bounds::default()).unwrap();
    let read = |path: &str| found.files.find(path).is_some();
    assert!(read("CLAUDE.md") && read("docs/index.md") && read("docs/more.md"));
    assert!(!read("docs/other.md") && !read("docs/link.md"));
}
