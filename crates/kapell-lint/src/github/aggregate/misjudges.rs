//! Ways in which a job that stands for others looks at results, and lets a failure pass.

mod words; // words that are no result

pub use self::words::asks_for_no_result;

use kapell_core::expr::{Comparison, Literal, Node, NodeKind};
use kapell_spec::github::Step;

use super::{asks_for_status, judges_last};
use crate::github::{
    Flow, StepFacts,
    script::{Command, Then},
    tools::Kind,
};

/// Returns what a job looks for in results, if that is no failure: `cancelled` or `skipped`. One that failed passes then.
#[must_use]
pub fn overlooks_failures(flow: &Flow, at: usize) -> Option<&'static str> {
    let job = &flow.model.jobs[at];
    // Programs of another language and actions judge in ways of their own.
    let plain = |(step, facts): (&Step, &StepFacts)| {
        step.uses.is_none() && facts.works.iter().all(|done| done.work.kind == Kind::Trivial)
    };
    if !flow.steps(at).all(plain) {
        return None;
    }
    let mut said = String::new();
    for expression in &job.expressions {
        expression.expr.root().walk(&mut |node| match &node.kind {
            NodeKind::Literal(Literal::String(text)) => said.extend([&**text, " "]),
            NodeKind::Call { function, .. } if function.name() != "always" => {
                said.extend([function.name(), " "]);
            }
            _ => {}
        });
    }
    let asks = |command: &&Command| !matches!(command.program(), "echo" | "printf");
    for command in flow.facts[at].iter().flat_map(|facts| &facts.commands).filter(asks) {
        said.extend([&*command.text(), " "]);
    }
    let said = said.to_ascii_lowercase();
    // A list of all results is looked through by whoever made it.
    let sees = ["fail", "success", "join", "tojson"].iter().any(|word| said.contains(word));
    ["cancelled", "skipped"].into_iter().find(|word| !sees && said.contains(word))
}

/// Tells whether a job that stands for others looks for failures and for nothing else: one that was cancelled, as after its
/// time is up, is no failure.
#[must_use]
pub fn lets_cancelled_pass(flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    if flow.steps(at).any(|(step, _)| step.uses.is_some()) {
        return false;
    }
    let code = |line: &&str| {
        let line = line.trim_start().trim_start_matches("- ");
        !line.starts_with('#') && !line.starts_with("name:") && !line.starts_with("echo")
    };
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    // Its id is no result, and what is said to people is none either.
    let said = |line: &&str| {
        !line.trim_start().starts_with("- run: echo") && !line.trim_start().starts_with("run: echo")
    };
    let lines = text.lines().filter(code).filter(said);
    let own = format!("{}:", job.id.text);
    let text =
        lines.filter(|line| line.trim() != own).collect::<Vec<_>>().join("\n").replace("!cancelled()", "");
    let others = [
        "cancel",
        "success",
        "skipped",
        "!=",
        "join(",
        "toJSON",
        "toJson",
        "jq",
        "grep",
        "failure()",
        "case ",
        "fromJSON",
        "*",
    ];
    // The star of `needs.*.result` is no pattern.
    let rest = text.replace("needs.*.result", "");
    let looks = ["'failure'", "\"failure\"", " failure ]"].iter().any(|word| text.contains(word));
    looks && text.contains("needs.") && !others.iter().any(|word| rest.contains(word))
}

/// Returns the one result with which a job compares the results of several jobs at once: `needs.*.result == 'failure'`, or
/// `[ "${{ join(needs.*.result, ' ') }}" = failure ]`. No list of them is ever one word.
#[must_use]
pub fn compares_a_list(flow: &Flow, at: usize) -> Option<&'static str> {
    const RESULTS: &[&str] = &["failure", "cancelled"];
    let job = &flow.model.jobs[at];
    let plain: String = flow.text.get(job.span.range())?.split_whitespace().collect();
    // Whoever looks in another way too may see it there.
    let others = [
        "contains(needs",
        "contains(join",
        "grep",
        "jq",
        "failure()",
        "!='success'",
        "!=\"success",
        "*failure",
    ];
    if job.needs.len() < 2 || flow.steps(at).any(|(step, _)| step.uses.is_some()) {
        return None;
    }
    if others.iter().any(|word| plain.contains(word))
        || job.needs.iter().any(|need| reads_one(&plain, &need.text))
    {
        return None;
    }
    let of_all = |text: &str| text.contains("needs.*.result");
    let list = |word: &str| {
        let name = word.trim_start_matches(['$', '{']).trim_end_matches('}');
        let mut env = job.env.iter().chain(job.steps.iter().flat_map(|step| &step.env));
        of_all(word) && word.starts_with("${{") && word.ends_with("}}")
            || word.starts_with('$') && env.any(|(key, value)| *key.text == *name && of_all(&value.text))
    };
    let in_script = flow.facts[at].iter().flat_map(|facts| &facts.commands).find_map(|command| {
        let tests = matches!(command.program(), "test" | "[" | "[[");
        command.words.windows(3).filter(|_| tests).find_map(|three| {
            let equal = matches!(three[1].as_str(), "=" | "==") && list(&three[0]);
            RESULTS.iter().copied().find(|result| equal && three[2] == **result)
        })
    });
    in_script.or_else(|| {
        let mut conditions = job.steps.iter().filter_map(|step| step.condition.as_ref());
        conditions.find_map(|condition| {
            let text: String = condition.text.split_whitespace().collect();
            RESULTS.iter().copied().find(|result| text.contains(&format!("needs.*.result=='{result}'")))
        })
    })
}

/// Tells whether a text without blanks asks for the result of one job.
fn reads_one(plain: &str, need: &str) -> bool {
    [format!("needs.{need}.result"), format!("needs['{need}']")].iter().any(|read| plain.contains(read))
}

/// Returns whether a job that stands for others asks for all results with one answer after the other, of which `jq -e` counts the last.
#[must_use]
pub fn takes_the_last(flow: &Flow, at: usize) -> bool {
    let asks = |command: &Command| command.words.iter().skip(1).any(|word| asks_for_status(word));
    let commands = flow.facts[at].iter().flat_map(|facts| &facts.commands);
    commands.filter(|command| !command.asked && asks(command)).any(judges_last)
}

/// Returns the jobs of which all have to fail before a job that stands for them does, where it asks for them in one breath:
/// `needs.a.result == 'failure' && needs.b.result == 'failure'`.
#[must_use]
pub fn fails_only_together(flow: &Flow, at: usize) -> Option<Vec<String>> {
    let job = &flow.model.jobs[at];
    let text = flow.text.get(job.span.range())?;
    // Whoever asks in another way too may see the rest.
    if ["||", "contains(", "!= ", "elif", "cancelled'", "join("].iter().any(|word| text.contains(word))
        || text.matches("exit 1").count() != 1
    {
        return None;
    }
    let mut found = None;
    for expression in &job.expressions {
        expression.expr.root().walk(&mut |node| {
            if let NodeKind::And(operands) = &node.kind {
                let failed: Vec<String> = operands.iter().filter_map(asks_for_failure).collect();
                if failed.len() > 1 && failed.len() == operands.len() {
                    found = Some(failed);
                }
            }
        });
    }
    let scripts = || flow.facts[at].iter().map(|facts| &facts.commands);
    found.or_else(|| scripts().find_map(|commands| tested_together(commands)))
}

/// Tells whether a job that stands for others fails only if every result is a failure: `results.every((r) => r === 'failure')`,
/// `all(r == "failure" for r in results)`.
#[must_use]
pub fn asks_whether_all_failed(flow: &Flow, at: usize) -> bool {
    flow.model.jobs[at].steps.iter().any(|step| {
        let script = match step.is("actions/github-script") {
            true => step.input("script").map_or("", |text| &*text.text),
            false => step.script(),
        };
        if !script.contains("failure") {
            return false;
        }
        // Whoever looks in another way too sees the rest.
        let others = [".some(", "any(", "includes(", ".find(", ".filter(", "success", "cancelled", "for ("];
        let plain: String = script.split_whitespace().collect();
        let asks = [".every(", "all("].iter().any(|word| {
            plain.match_indices(word).any(|(at, _)| {
                let (before, rest) = (&plain[..at], &plain[at..]);
                let name = before.rfind(|c: char| !c.is_alphanumeric() && !"_.*".contains(c));
                let turned =
                    name.is_some_and(|name| before[name..].starts_with('!')) || before.ends_with("not");
                let equal = ["=='failure'", "==\"failure\"", "==='failure'", "===\"failure\""];
                !turned && equal.iter().any(|equal| rest.find(equal).is_some_and(|gap| gap < 60))
            })
        });
        let script = without_prints(script);
        asks && !others.iter().any(|word| script.contains(word))
    })
}

/// Returns a script of the API without the lines that only print, and without the loops that do nothing else.
fn without_prints(script: &str) -> String {
    const PRINTS: &[&str] =
        &["core.info(", "core.notice(", "core.debug(", "core.warning(", "console.log(", "print("];
    let prints = |line: &str| PRINTS.iter().any(|word| line.starts_with(word));
    let mut lines: Vec<&str> = Vec::new();
    for line in script.lines().map(str::trim) {
        let of_loop = line.starts_with("for (");
        let behind = line.split_once(") ").map_or("", |(_, rest)| rest.trim());
        let closes =
            line == "}" && lines.last().is_some_and(|last| last.starts_with("for (") && last.ends_with('{'));
        match () {
            () if prints(line) || of_loop && prints(behind) => {}
            () if closes => drop(lines.pop()),
            () => lines.push(line),
        }
    }
    lines.join("\n")
}

/// Returns the job of `needs.JOB.result == 'failure'`.
fn asks_for_failure(node: &Node) -> Option<String> {
    let NodeKind::Compare { comparison: Comparison::Equal, left, right } = &node.kind else { return None };
    let failure = |node: &Node| matches!(&node.kind, NodeKind::Literal(Literal::String(text)) if text.eq_ignore_ascii_case("failure"));
    let path = if failure(right) { left } else { Some(right).filter(|_| failure(left))? };
    let references = path.references();
    let path = &references.first()?.path;
    (path.len() == 3 && path[0].0 == "needs" && path[2].0 == "result").then(|| path[1].0.to_owned())
}

/// The same in a script: `[ A = failure ] && [ B = failure ]`.
fn tested_together(all: &[Command]) -> Option<Vec<String>> {
    let first = all.iter().position(|command| command.asked)?;
    let more = all[first + 1..].iter().take_while(|other| other.after == Then::And);
    let words: Vec<&str> = all[first..=first + more.count()]
        .iter()
        .flat_map(|command| &command.words)
        .map(String::as_str)
        .collect();
    let compared = words.windows(3).filter(|three| matches!(three[1], "=" | "==") && three[2] == "failure");
    let names: Vec<String> = compared
        .filter_map(|three| {
            let path = three[0].split("needs.").nth(1)?;
            Some(path.split(".result").next()?.to_owned())
        })
        .collect();
    (names.len() > 1).then_some(names)
}
