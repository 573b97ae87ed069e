//! Jobs that stand for all others: they wait for many, do nothing of their own, and are what a branch rule asks for.

use kapell_core::expr::{Key, Literal, NodeKind};
use kapell_spec::github::Step;

use super::{Flow, tools::Kind};

/// A job that stands for others.
#[derive(Debug, Default)]
pub struct Aggregator {
    /// Whether it looks at results at all.
    pub reads: bool,
    /// Whether it looks at all results at once.
    pub reads_all: bool,
    /// The jobs whose results it looks at one by one.
    pub read: Vec<String>,
    /// Whether a skipped job counts as passed.
    pub accepts_skipped: bool,
    /// Whether its name says that it stands for all.
    pub named_strongly: bool,
    /// Whether its name may also be that of something that only tells people.
    pub named_report: bool,
}

/// Words of names of such jobs.
const NAMES: &[&str] = &[
    "success",
    "passed",
    "pass",
    "all",
    "required",
    "gate",
    "complete",
    "completed",
    "done",
    "ci",
    "status",
    "summary",
    "result",
    "results",
    "check",
    "checks",
    "ok",
    "green",
    "conclusion",
    "final",
    "finish",
    "finished",
    "ready",
    "everything",
    "mergeable",
    "aggregate",
    "verdict",
];

/// Words that leave no doubt.
const STRONG: &[&str] = &["success", "passed", "required", "green", "conclusion", "gate"];

/// Words of what merging waits for.
const CHECKED: &[&str] = &["ok", "pass", "check", "checks", "mergeable", "ready", "ci"];

/// Words of what people read.
const REPORTS: &[&str] =
    &["summary", "report", "result", "results", "status", "notify", "log", "print", "show", "debug"];

/// Recognises a job that stands for others.
#[must_use]
pub fn aggregator(flow: &Flow, at: usize) -> Option<Aggregator> {
    let job = &flow.model.jobs[at];
    if job.needs.len() < 2 || job.uses.is_some() || job.environment.is_some() || !job.outputs.is_empty() {
        return None;
    }
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let has =
        |words: &[&str]| name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| words.contains(&part));
    let judges = flow.steps(at).any(|(step, _)| step.is("re-actors/alls-green"));
    let idle = flow.steps(at).all(|(step, facts)| {
        step.is("re-actors/alls-green")
            || step.is("actions/github-script") && only_judges(flow, step)
            || step.run.is_some()
                && facts.works.iter().all(|done| {
                    matches!(done.work.kind, Kind::Trivial)
                        || done.text.starts_with("${{") && done.text.contains("needs.")
                        || judges_results(&done.text, step.script())
                })
    });
    // Nobody waits for one that stands for all but what publishes.
    if !idle || job.steps.is_empty() || !(has(NAMES) || judges) {
        return None;
    }
    // `Fail unless everything passed`
    let promises_all = flow.steps(at).filter_map(|(step, _)| step.name.as_ref()).any(|name| {
        let lower = name.text.to_ascii_lowercase();
        ["everything", "all jobs", "all checks", "every job"].iter().any(|words| lower.contains(words))
    });
    let mut found = Aggregator {
        named_strongly: has(STRONG) || name.contains("all ") || promises_all,
        named_report: !has(CHECKED) || has(REPORTS),
        ..Aggregator::default()
    };
    read(flow, at, &mut found);
    if judges {
        // Which skips it allows is an expression in most cases; that is not followed. Its name promises all.
        return Some(Aggregator { reads: true, reads_all: true, named_strongly: true, ..found });
    }
    found.accepts_skipped = accepts_skipped(flow.text.get(job.span.range()).unwrap_or_default());
    Some(found)
}

/// Tells whether a script of the API only looks at results and fails, and asks the API for nothing.
fn only_judges(flow: &Flow, step: &Step) -> bool {
    let text = flow.text.get(step.span.range()).unwrap_or_default();
    text.contains("needs")
        && text.contains("setFailed")
        && !text.contains("github.rest")
        && !text.contains("await ")
}

/// Tells whether a program is given a few lines that look at results.
fn judges_results(command: &str, script: &str) -> bool {
    let inline = ["python", "python3", "node", "ruby"].iter().any(|program| {
        command.split(' ').next() == Some(program)
            && (command.contains(" -c") || command.contains(" -e") || command.contains(" -"))
    });
    inline && script.contains("result")
}

fn read(flow: &Flow, at: usize, found: &mut Aggregator) {
    for expression in &flow.model.jobs[at].expressions {
        expression.expr.root().walk(&mut |node| match &node.kind {
            NodeKind::Access { base, path } if is_needs(base) => match path.first().map(|step| &step.key) {
                Some(Key::Property(name)) => {
                    found.reads = true;
                    found.read.push(name.to_string());
                }
                _ => {
                    found.reads = true;
                    found.reads_all = true;
                }
            },
            NodeKind::Call { arguments, .. } if arguments.iter().any(is_needs) => {
                found.reads = true;
                found.reads_all = true;
            }
            // `failure()` in a step or in the condition looks at all of them.
            NodeKind::Call { function, .. } if matches!(function.name(), "failure" | "success") => {
                found.reads = true;
                found.reads_all = true;
            }
            _ => {}
        });
    }
}

fn is_needs(node: &kapell_core::expr::Node) -> bool {
    matches!(&node.kind, NodeKind::Name(name) if name.eq_ignore_ascii_case("needs"))
}

/// Tells whether its text takes a skipped job for one that passed.
fn accepts_skipped(text: &str) -> bool {
    let plain = text.replace('"', "'").replace("\\'", "'");
    if beside_success(&plain) {
        return true;
    }
    let rejects_all_but = plain.contains("!= 'success'");
    let names_skipped = plain.contains("'skipped'");
    if rejects_all_but {
        // `!= 'success' && != 'skipped'`
        return plain.contains("!= 'skipped'");
    }
    let looks_for_failure = plain.contains("'failure'");
    looks_for_failure && !names_skipped && !plain.contains("== 'success'")
}

/// Tells whether a text lets `skipped` pass in the same breath as `success`: `== 'success' or == 'skipped'`,
/// `success|skipped)`, `in ['success', 'skipped']`.
fn beside_success(text: &str) -> bool {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let text = code.join("\n");
    let words = [("'success'", "'skipped'"), ("success", "skipped")];
    words.iter().any(|(one, other)| {
        [(one, other), (other, one)].iter().any(|(first, second)| {
            text.match_indices(**first).any(|(at, _)| {
                let rest = &text[at + first.len()..];
                let Some(gap) = rest.find(**second).map(|end| &rest[..end]) else { return false };
                let own = !text[..at].trim_end().ends_with("!=") && !gap.contains("!=");
                let joins = [" or ", "||", "|", ","].iter().any(|join| gap.contains(join));
                // A list of all results is no sign of what passes.
                let others = ["needs.", "\n", "failure", "cancelled"].iter().any(|word| gap.contains(word));
                gap.len() < 60 && own && joins && !others
            })
        })
    })
}

/// Returns what a job looks for in results, if that is no failure: `cancelled` or `skipped`. One that failed passes then.
#[must_use]
pub fn overlooks_failures(flow: &Flow, at: usize) -> Option<&'static str> {
    let job = &flow.model.jobs[at];
    // Programs of another language and actions judge in ways of their own.
    let plain = |(step, facts): (&Step, &super::StepFacts)| {
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
    let asks = |command: &&super::script::Command| !matches!(command.program(), "echo" | "printf");
    for command in flow.facts[at].iter().flat_map(|facts| &facts.commands).filter(asks) {
        said.extend([&*command.text(), " "]);
    }
    let said = said.to_ascii_lowercase();
    // A list of all results is looked through by whoever made it.
    let sees = ["fail", "success", "join", "tojson"].iter().any(|word| said.contains(word));
    ["cancelled", "skipped"].into_iter().find(|word| !sees && said.contains(word))
}

/// Returns what a job looks for in results, if that is no result and it looks for nothing else that tells of a failure.
#[must_use]
pub fn asks_for_no_result(flow: &Flow, at: usize) -> Option<&'static str> {
    const NONE: &[&str] = &["failed", "errored", "error", "canceled"];
    let job = &flow.model.jobs[at];
    if flow.steps(at).any(|(step, _)| step.uses.is_some()) {
        return None;
    }
    let code = |line: &&str| {
        let line = line.trim_start().trim_start_matches("- ");
        !line.starts_with('#') && !line.starts_with("name:") && !line.starts_with("echo")
    };
    let text = flow.text.get(job.span.range())?.lines().filter(code).collect::<Vec<_>>().join("\n");
    // Whoever asks for what is different from such a word is always red, and whoever lists all looks for himself.
    let others = ["failure", "success", "!=", "join(", "toJSON", "toJson", "grep", "jq"];
    if others.iter().any(|word| text.contains(word)) {
        return None;
    }
    let mut said: Vec<String> = Vec::new();
    for expression in &job.expressions {
        expression.expr.root().walk(&mut |node| {
            if let NodeKind::Literal(Literal::String(text)) = &node.kind {
                said.push(text.to_ascii_lowercase());
            }
        });
    }
    for command in flow.facts[at].iter().flat_map(|facts| &facts.commands) {
        let of_result = command.text().contains("needs.") || command.text().to_lowercase().contains("result");
        if matches!(command.program(), "test" | "[" | "[[") && of_result {
            let compared = command.words.windows(2).filter(|pair| matches!(&*pair[0], "=" | "=="));
            said.extend(compared.map(|pair| pair[1].to_ascii_lowercase()));
        }
    }
    NONE.iter().copied().find(|word| said.iter().any(|said| said == word))
}

/// Tells whether a job has a way to fail on purpose.
#[must_use]
pub fn can_fail(flow: &Flow, at: usize) -> bool {
    flow.steps(at).any(|(step, facts)| {
        facts.commands.iter().any(|command| {
            let text = command.text();
            text.starts_with("exit ") && text != "exit 0"
                || command.program() == "false"
                || text.starts_with("return ") && text != "return 0"
                // `if [ ... ]` only asks.
                || !command.asked && matches!(command.program(), "test" | "[" | "[[" | "jq" | "grep")
        }) || step.action().is_some()
    })
}
