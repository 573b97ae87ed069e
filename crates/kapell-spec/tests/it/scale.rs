//! Large files in bounded time.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::{compile, rendered};

fn quick(text: &str) -> (Option<kapell_spec::workflow::Compiled>, String) {
    let start = Instant::now();
    let (source, _, compiled, findings) = compile("x.yaml", text.as_bytes());
    let shown = rendered(&findings, &source);
    // Generous: an unoptimised build on a shared machine. What is quadratic takes hours.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    (compiled, shown)
}

#[test]
fn a_matrix_of_a_million_cells_compiles() {
    let values = (0..1000).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
    let text =
        format!("mission: x\ntasks:\n  a: {{ noop: , matrix: {{ x: [{values}], y: [{values}, more] }} }}\n");
    let (compiled, shown) = quick(&text);
    assert!(compiled.is_none() && shown.contains("K0404"), "{shown}");
    let text = format!(
        "mission: x\ntasks:\n  a:\n    run: echo ${{{{ matrix.x }}}}\n    matrix: {{ x: [{values}], y: [{values}], exclude: [{{ x: 0, y: 0 }}] }}\n  b: {{ noop: , needs: a }}\n"
    );
    let (compiled, shown) = quick(&text);
    assert_eq!(compiled.expect(&shown).plan.len(), 1_000_000);
}

#[test]
fn many_tasks_and_many_needs_compile() {
    let mut text = String::from("mission: x\ntasks:\n");
    for task in 0..5_000_u32 {
        let needs: Vec<String> =
            (0..4).filter(|i| task > *i).map(|i| format!("t{}", task * (i + 1) / 5)).collect();
        let needs: std::collections::BTreeSet<_> =
            needs.into_iter().filter(|need| *need != format!("t{task}")).collect();
        let needs = needs.into_iter().collect::<Vec<_>>().join(", ");
        writeln!(text, "  t{task}: {{ run: echo {task}, needs: [{needs}] }}").unwrap();
    }
    let (compiled, shown) = quick(&text);
    assert_eq!(compiled.expect(&shown).plan.len(), 5_000);
}

#[test]
fn many_mistakes_are_reported_in_bounded_time() {
    let mut text = String::from("mission: x\ntasks:\n");
    for task in 0..1_500 {
        writeln!(text, "  t{task}: {{ rnu: x, needs: [u{task}], if: tasks.v{task}.result }}").unwrap();
    }
    let (compiled, shown) = quick(&text);
    assert!(compiled.is_none());
    assert!(shown.ends_with("more\n"), "{}", &shown[shown.len() - 200..]);
}

#[test]
fn plans_that_would_fill_the_memory_are_refused() {
    let list = |n: usize, item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(", ");
    let values = list(700, &|i| i.to_string());
    let tasks: String = (0..200).map(|i| format!("  t{i}: {{ noop: }}\n")).collect();
    let needs = list(200, &|i| format!("t{i}"));
    let edges = format!(
        "mission: x\ntasks:\n{tasks}  m: {{ noop: , needs: [{needs}], matrix: {{ x: [{values}], y: [{values}] }} }}\n"
    );
    let env = list(3_000, &|i| format!("E{i}: x"));
    let tasks: String = (0..3_000).map(|i| format!("  t{i}: {{ run: x }}\n")).collect();
    let shared = format!("mission: x\nenv: {{ {env} }}\ntasks:\n{tasks}");
    let entries = list(700, &|i| format!("{{ z: {i}, x: 0 }}"));
    let includes = format!(
        "mission: x\ntasks:\n  m: {{ noop: , matrix: {{ x: [0], y: [{values}], w: [{values}], include: [{entries}] }} }}\n"
    );
    for (text, code) in [(edges, "K0404"), (shared, "K0403"), (includes, "K0221")] {
        let (compiled, shown) = quick(&text);
        assert!(compiled.is_none() && shown.contains(code), "{shown}");
    }
}

#[test]
fn names_of_cells_stay_short() {
    let long = "x".repeat(5_000);
    let axes: String = (0..50).map(|i| format!("a{i}: [[[{long}]], {{ {long}: y }}], ")).collect();
    let text = format!("mission: x\ntasks:\n  m: {{ noop: , matrix: {{ {axes} exclude: [] }} }}\n");
    let (compiled, shown) = quick(&text);
    // Two to the fiftieth.
    assert!(compiled.is_none() && shown.contains("K0404"), "{shown}");
    let axes: String = (0..50).map(|i| format!("a{i}: [{long}], ")).collect();
    let text = format!("mission: x\ntasks:\n  m: {{ noop: , matrix: {{ {axes} b: [1, 2] }} }}\n");
    let plan = quick(&text).0.unwrap().plan;
    assert!(plan.graph().tasks().all(|task| plan.name(task).len() < 120));
    assert_eq!(plan.len(), 2);
}

#[test]
fn scripts_meant_to_take_for_ever_do_not() {
    let n = 100_000;
    let value = "${{ run.id }}";
    let scripts = [
        format!("env {}{value}", "ssh ".repeat(n)),
        format!("env {}{value}", "awk -v x ".repeat(n)),
        format!("env {}{value}", "sh ".repeat(n)),
        format!("busybox {}{value}", "sh ".repeat(n)),
        format!("{}{value}", "cat <<A;".repeat(n)),
        format!("{}{value}", "echo $(".repeat(n)),
        format!("{}{value}", "(".repeat(n)),
        format!("{}{value}", "a | { ".repeat(n)),
        format!("echo {value} | {{ {}", "a; ".repeat(n)),
        format!("echo \"{}{value}", "${a".repeat(n)),
        format!("{}{value}", "`".repeat(n)),
        format!("{}{value}", "'\"".repeat(n)),
        format!("echo {}", format!("{value} ").repeat(n / 10)),
        format!("cat <<A\n{}", format!("{value}\n").repeat(n / 10)),
        format!("echo {}", format!("'{value}' ").repeat(n / 10)),
    ];
    for script in scripts {
        let text =
            format!("mission: x\ntasks:\n  a:\n    run: {}\n", serde_json::to_string(&script).unwrap());
        quick(&text);
    }
}
