//! Tests that a script looks for, and that it passes without when it finds none.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{
        Flow, StepFacts,
        script::{self, Command},
    },
    rule::Report,
};

/// Words of what is said where nothing was found.
const SAYS: &[&str] = &["no ", "not found", "nothing", "none", "skipping"];

/// Tells of `if [ -n "$found" ]; then ... else echo "No tests found"; fi` in a step that runs what it has found as tests, where
/// the job has built them: that there is none is a fault, and the job is green.
pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    for (index, (step, facts)) in flow.steps(at).enumerate() {
        let script = step.script();
        // Most scripts look for nothing.
        if !script.contains("find ") || !script.contains("else") || !is_test(flow, at, index) {
            continue;
        }
        let Some((command, name)) = facts.commands.iter().find_map(asks_for_any) else { continue };
        let looked_for =
            script.contains(&format!("{name}=$(find ")) || script.contains(&format!("{name}=\"$(find "));
        if !looked_for || !is_built(&flow.facts[at][..index]) {
            continue;
        }
        let Some(said) = only_says(script, command.end) else { continue };
        report
            .add(
                flow.file,
                flow.script_line(step, said, ""),
                format!(
                    "where it finds no tests, `{}` is green: this only says so",
                    flow.model.jobs[at].id.text
                ),
            )
            .severity(Severity::Medium)
            .confidence(Confidence::High)
            .hint("end it with `exit 1`")
            .done();
    }
}

/// Tells whether a step is called after tests.
fn is_test(flow: &Flow, at: usize, index: usize) -> bool {
    let step = &flow.model.jobs[at].steps[index];
    let name = step.name.as_ref().map_or("", |name| &name.text).to_ascii_lowercase();
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| matches!(word, "test" | "tests"))
}

/// Tells whether steps build something, or compile tests.
fn is_built(steps: &[StepFacts]) -> bool {
    let builds = |command: &Command| {
        let text = command.text();
        text.contains("build") || text.contains("--no-run") || text.contains("make")
    };
    steps.iter().flat_map(|facts| &facts.commands).any(builds)
}

/// Returns the variable that `if [ -n "$name" ]` asks for.
fn asks_for_any(command: &Command) -> Option<(&Command, &str)> {
    let asks = matches!(command.program(), "[" | "[[" | "test") && command.asked;
    let pair = command.words.windows(2).find(|pair| asks && pair[0] == "-n")?;
    let name = pair[1].trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
    (script::is_variable(name) && pair[1].starts_with('$')).then_some((command, name))
}

/// Returns where the `else` behind a place only says that there is nothing, with nothing behind its `fi`.
fn only_says(script: &str, from: usize) -> Option<usize> {
    let rest = script.get(from..)?;
    let mut lines = rest.split_inclusive('\n').scan(from, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line.trim()))
    });
    lines.by_ref().find(|(_, line)| *line == "else")?;
    let (said, line) = lines.next()?;
    let lower = line.to_ascii_lowercase();
    let speaks =
        lower.starts_with("echo ") && SAYS.iter().any(|word| lower.contains(word)) && !lower.contains("exit");
    let (_, end) = lines.next()?;
    let last = lines.all(|(_, line)| line.is_empty());
    (speaks && end == "fi" && last).then_some(said)
}
