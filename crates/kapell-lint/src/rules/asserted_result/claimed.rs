//! Results of checks that a pull request or a release is told as constants, and that nothing here has looked for.

use std::sync::LazyLock;

use kapell_spec::{github::Step, words::Words};
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, Github, StepFacts, tools::Kind},
    rule::Report,
};

/// What marks a line as done.
const MARKS: &[&str] = &["✅", "✔", "☑", "[x]", ":white_check_mark:"];

/// How such a line ends.
const ENDS: &[&str] = &["passed", "passing", "pass", "success", "succeeded", "ok", "clean"];

/// Words of what is checked, and what a step does that checks it.
const CHECKED: &[(&[&str], Kind)] = &[
    (&["security", "vulnerability", "vulnerabilities", "audit"], Kind::Audit),
    (&["test", "tests"], Kind::Test),
    (&["eslint", "lint", "linting", "linter", "prettier", "ruff", "clippy"], Kind::Lint),
];

/// Actions and commands whose text is read by people who decide.
const ACTIONS: &[&str] =
    &["create-pull-request", "action-gh-release", "create-release", "create-or-update-comment"];
const COMMANDS: &[&str] = &["gh pr create", "gh pr comment", "gh release create"];

/// Tells of steps that say that a check passed, where no step before does such a check, or only one that may fail unseen.
pub(super) fn check(github: &Github, flow: &Flow, report: &mut Report<'_>) {
    static MARKED: LazyLock<Words> = LazyLock::new(|| Words::exact(MARKS));
    if !MARKED.is_in(&flow.text) {
        return;
    }
    // What another run found may be told of here.
    if ["workflow_run", "workflow_call", "repository_dispatch"].iter().any(|event| flow.starts(event)) {
        return;
    }
    for (at, job) in flow.jobs() {
        for (index, (step, facts)) in flow.steps(at).enumerate() {
            let Some(text) = text_of(step, facts) else { continue };
            let unfounded =
                claims(text).find_map(|(line, kind)| Some((line, gap(github, flow, (at, index), kind)?)));
            let Some((line, gap)) = unfounded else { continue };
            let (severity, why) = match gap {
                Gap::Unchecked => (Severity::High, "nothing here has looked for it"),
                Gap::Unseen => (Severity::Medium, "what may have looked for it may fail without its job"),
            };
            let message = format!("`{}` tells people `{line}` as a constant, and {why}", job.id.text);
            report
                .add(flow.file, step.name_span(), message)
                .severity(severity)
                .hint("say it only where a step has found it, from its `outcome` or its output")
                .done();
        }
    }
}

/// Returns the text that a step gives to people.
fn text_of<'a>(step: &'a Step, facts: &StepFacts) -> Option<&'a str> {
    let tells = |name: &String| ACTIONS.iter().any(|part| name.contains(part));
    if facts.actions.iter().any(tells) {
        return step.input("body").map(|text| &*text.text);
    }
    let writes = facts.commands.iter().any(|command| {
        let text = command.text();
        COMMANDS.iter().any(|start| text.starts_with(start))
    });
    writes.then(|| step.script())
}

/// Returns the lines of a text that say as a constant that a check passed, and what does such a check.
fn claims(text: &str) -> impl Iterator<Item = (&str, Kind)> {
    text.lines().map(str::trim).filter(|line| !line.contains('$')).filter_map(|line| {
        let rest = MARKS.iter().find_map(|mark| Some(line.split_once(mark)?.1))?;
        let lower = rest.trim().trim_end_matches(['.', '!', '*', '`']).to_lowercase();
        let (subject, end) = lower.rsplit_once(' ')?;
        let mut words = subject.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let known = words.find_map(|word| CHECKED.iter().find(|(names, _)| names.contains(&word)));
        let short = subject.split_whitespace().count() <= 3;
        known.filter(|_| short && ENDS.contains(&end)).map(|(_, kind)| (line, *kind))
    })
}

/// What a claim lacks.
enum Gap {
    /// Nothing before does such a check.
    Unchecked,
    /// What does may fail while its job goes on.
    Unseen,
}

/// Tells what a step lacks that says how a kind of check ended; nothing where something before may have done it.
fn gap(github: &Github, flow: &Flow, (at, index): (usize, usize), kind: Kind) -> Option<Gap> {
    let may_do = |facts: &StepFacts| facts.does(kind) || facts.is_opaque();
    let job = &flow.model.jobs[at];
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    let unseen = |step: &Step| {
        let asked = step.id.as_ref().is_some_and(|id| text.contains(&format!("steps.{}.", id.text)));
        step.continue_on_error.as_ref().is_some_and(|text| text.is("true")) && !asked
    };
    // A job without the code looks at none of it.
    let elsewhere = flow.closures[at].iter().flat_map(|&up| github.deep(flow, up)).any(|(other, up)| {
        let facts = &other.facts[up];
        let remote = other.model.jobs[up].uses.is_some() && facts.is_empty();
        remote || facts.iter().any(|facts| facts.does(Kind::Checkout)) && facts.iter().any(may_do)
    });
    let before: Vec<&Step> =
        flow.steps(at).take(index).filter(|(_, facts)| may_do(facts)).map(|(step, _)| step).collect();
    let gap = if before.is_empty() { Gap::Unchecked } else { Gap::Unseen };
    (!elsewhere && before.iter().all(|step| unseen(step))).then_some(gap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_claims_what_it_names() {
        let claimed = |text| claims(text).next();
        assert_eq!(claimed("## Done\n- [x] Tests pass\n"), Some(("- [x] Tests pass", Kind::Test)));
        assert_eq!(claimed("✅ Security Scan: Passed"), Some(("✅ Security Scan: Passed", Kind::Audit)));
        assert!(claimed("✅ ${{ steps.x.outputs.n }} tests passed").is_none());
        assert!(claimed("✅ Release published").is_none() && claimed("Tests: passed").is_none());
        assert!(claimed("- [x] I have made sure that the tests of all platforms pass").is_none());
    }
}
