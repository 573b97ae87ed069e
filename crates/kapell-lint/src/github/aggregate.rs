//! Jobs that stand for all others: they wait for many, do nothing of their own, and are what a branch rule asks for.

mod misjudges; // how results are looked at and a failure passes

pub use self::misjudges::{
    asks_for_no_result, asks_whether_all_failed, compares_a_list, fails_only_together, lets_cancelled_pass,
    overlooks_failures, takes_the_last,
};

use kapell_core::expr::{Key, NodeKind};
use kapell_spec::github::Step;

use super::{
    Flow,
    script::{Command, Then},
    tools::Kind,
};

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
    /// The only jobs that may be skipped, where it lists them.
    pub allowed: Option<Vec<String>>,
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
const CHECKED: &[&str] = &[
    "ok",
    "pass",
    "check",
    "checks",
    "mergeable",
    "ready",
    "ci",
    "finished",
    "complete",
    "completed",
    "bors",
];

/// Words of what people read.
const REPORTS: &[&str] =
    &["summary", "report", "result", "results", "status", "notify", "log", "print", "show", "debug"];

/// Recognises a job that stands for others.
#[must_use]
pub fn aggregator(flow: &Flow, at: usize) -> Option<Aggregator> {
    let job = &flow.model.jobs[at];
    if job.needs.is_empty() || job.uses.is_some() || job.environment.is_some() || !job.outputs.is_empty() {
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
                        || done.text.starts_with("Write-")
                        || done.text.starts_with("${{") && done.text.contains("needs.")
                        || judges_results(&done.text, step.script())
                })
    });
    if !idle || job.steps.is_empty() {
        return None;
    }
    // Whoever fails by the results of all stands for them, whatever the name.
    let by_results = || {
        let text = flow.text.get(job.span.range()).unwrap_or_default();
        text.contains("needs.*.result") && can_fail(flow, at)
    };
    let named = has(NAMES) || judges;
    // One need is many jobs if it has a matrix or calls a workflow.
    let many = || {
        let mut needs =
            flow.jobs().filter(|(_, other)| other.id.text.eq_ignore_ascii_case(&job.needs[0].text));
        needs.any(|(_, other)| other.matrix.is_some() || other.uses.is_some())
    };
    let stands = match job.needs.len() {
        1 => judges || (has(STRONG) || by_results()) && many(),
        _ => named || by_results(),
    };
    if !stands {
        return None;
    }
    // `Fail unless everything passed`
    let promises_all = flow.steps(at).filter_map(|(step, _)| step.name.as_ref()).any(|name| {
        let lower = name.text.to_ascii_lowercase();
        ["everything", "all jobs", "all checks", "every job"].iter().any(|words| lower.contains(words))
    });
    let mut found = Aggregator {
        named_strongly: has(STRONG) || name.contains("all ") || stands_for_all(&name) || promises_all,
        named_report: named && (!has(CHECKED) || has(REPORTS)),
        ..Aggregator::default()
    };
    read(flow, at, &mut found);
    if judges {
        // Which skips it allows is an expression in most cases; that is not followed. Its name promises all.
        let mut inputs = flow.steps(at).filter_map(|(step, _)| step.input("allowed-skips"));
        let listed = inputs.next().filter(|text| !text.text.contains("${{"));
        let allowed: Option<Vec<String>> = listed.map(|text| {
            let names = text.text.split([',', '\n']).map(str::trim);
            names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
        });
        let (reads, reads_all, named_strongly) = (true, true, true);
        let accepts_skipped = allowed.is_some();
        return Some(Aggregator { reads, reads_all, named_strongly, accepts_skipped, allowed, ..found });
    }
    found.accepts_skipped = accepts_skipped(flow.text.get(job.span.range()).unwrap_or_default());
    Some(found)
}

/// Tells whether a name says that it is for all of something: `all-tests`, `all_green`.
fn stands_for_all(name: &str) -> bool {
    let wholes = ["tests", "checks", "jobs", "builds", "green", "good", "ok", "pass", "passed", "done"];
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    words.windows(2).any(|pair| pair[0] == "all" && wholes.contains(&pair[1]))
}

/// Tells whether a script of the API only looks at results, and asks the API for nothing.
fn only_judges(flow: &Flow, step: &Step) -> bool {
    let text = flow.text.get(step.span.range()).unwrap_or_default();
    text.contains("needs")
        && !text.contains("github.rest")
        // To write the summary of the run asks the API for nothing.
        && text.matches("await ").count() == text.matches("await core.summary").count()
}

/// What makes a script of the API fail.
const API_FAILS: &[&str] = &["setFailed", "throw ", "process.exit", "exitCode", "assert"];

/// Tells whether a program is given a few lines that look at results.
pub(crate) fn judges_results(command: &str, script: &str) -> bool {
    let inline = ["python", "python3", "node", "ruby"].iter().any(|program| {
        command.split(' ').next() == Some(program)
            && (command.contains(" -c") || command.contains(" -e") || command.contains(" -"))
    });
    inline && script.contains("result")
}

/// Words with which a program of a few lines ends with a failure.
const INLINE_FAILS: &[&str] =
    &["sys.exit", "raise ", "exit(", "abort", "assert", "process.exit", "exitCode", "throw", "die", "quit("];

/// Tells whether a program of a few lines that looks at results has a way to fail.
#[must_use]
pub fn inline_fails(script: &str) -> bool {
    INLINE_FAILS.iter().any(|word| script.contains(word))
}

/// Tells whether a script of PowerShell has a way to fail.
#[must_use]
pub fn power_shell_fails(script: &str) -> bool {
    let code = script.lines().filter(|line| !line.contains("-ErrorAction Continue"));
    let text: String = code.flat_map(|line| [line, "\n"]).collect();
    ["exit 1", "exit $", "exit (", "throw", "LASTEXITCODE", "Write-Error", "[Environment]"]
        .iter()
        .any(|word| text.contains(word))
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
    let text = flow.text.get(flow.model.jobs[at].span.range()).unwrap_or_default();
    found.read.retain(|need| !only_stored(flow, at, text, need));
}

/// Tells whether the result of a job is only put into a variable that nothing reads.
fn only_stored(flow: &Flow, at: usize, text: &str, need: &str) -> bool {
    let job = &flow.model.jobs[at];
    let read = format!("needs.{need}.");
    let all = ["printenv", "env |", "env|", "${!", "declare -p", "os.environ.items", "env.items"];
    let env = job.env.iter().chain(job.steps.iter().flat_map(|step| &step.env));
    let stored = env.filter(|(name, value)| {
        value.text.contains(&read)
            && text.matches(&*name.text).count() == value.text.matches(&*name.text).count() + 1
    });
    let stored = stored.count();
    stored > 0 && text.matches(&read).count() == stored && !all.iter().any(|word| text.contains(word))
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

/// Tells whether a condition holds only as long as nothing has failed, as the one does that holds without any: `success()`,
/// `!cancelled() && !failure()`.
#[must_use]
pub fn is_default(condition: &str) -> bool {
    // Most ask for nothing of what went before.
    if !condition.contains("success") && !condition.contains("failure") {
        return false;
    }
    let text: String = condition.split_whitespace().collect();
    let text = text.trim_start_matches("${{").trim_end_matches("}}");
    if text == "!(failure()||cancelled())" || text == "!(cancelled()||failure())" {
        return true;
    }
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
    let mut parts = inner.split("&&");
    let asks = |part: &str| matches!(part, "success()" | "!failure()");
    parts.clone().any(asks) && parts.all(|part| asks(part) || matches!(part, "!cancelled()" | "always()"))
}

/// Tells whether a job has a way to fail on purpose.
#[must_use]
pub fn can_fail(flow: &Flow, at: usize) -> bool {
    flow.steps(at).any(|(step, facts)| {
        if step.is("actions/github-script") {
            let script = step.input("script").map_or("", |text| &text.text);
            return API_FAILS.iter().any(|word| script.contains(word));
        }
        let inline = |index: usize| {
            judges_results(&facts.commands[index].text(), step.script()) && inline_fails(step.script())
        };
        step.action().is_some()
            || (0..facts.commands.len()).any(|index| fails(&facts.commands, index) || inline(index))
    })
}

/// Tells whether a command of a script is there to end it with a failure.
fn fails(all: &[Command], index: usize) -> bool {
    let command = &all[index];
    let text = command.text();
    if text.starts_with("exit ") && text != "exit 0"
        || command.program() == "false"
        || text.starts_with("return ") && text != "return 0"
    {
        return true;
    }
    let judges = match command.program() {
        "test" | "[" | "[[" | "grep" => true,
        "jq" => {
            let raises = |word: &String| word.contains("error(") || word.contains("halt_error");
            command.words.iter().any(|word| asks_for_status(word) || raises(word))
        }
        _ => false,
    };
    // `if [ ... ]` only asks, and of a list only the last command ends the script: `[ ... ] && echo` fails as its last line.
    let rest = &all[index + 1..];
    let ends = match command.then {
        Then::And => rest.iter().all(|other| other.after == Then::And),
        Then::Or => rest.first().is_some_and(|next| !speaks(next)),
        _ => true,
    };
    // `! grep -q failure` fails as the last line.
    let turned = command.turned && rest.is_empty();
    // `if echo "$RESULTS" | grep -q failure`: what asks for the pipe asks for its last command.
    let piped = all[..=index].iter().rev().take_while(|part| part.after == Then::Pipe).count();
    let asked = command.asked || piped > 0 && all[index - piped].asked;
    judges && (!asked || turned) && ends && !judges_last(command)
}

/// Tells whether an option of `jq` makes its exit code that of its last answer.
fn asks_for_status(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--") && word.contains('e') || word == "--exit-status"
}

/// Tells whether `jq -e` writes one answer after the other: its exit code is that of the last one.
fn judges_last(command: &Command) -> bool {
    let gathers = ["all", "any", "select", "error", "halt", "length", "first", "reduce", "add", "[.", "map("];
    let filter = command.words.iter().skip(1).find(|word| !word.starts_with('-'));
    command.program() == "jq"
        && filter.is_some_and(|text| text.contains("[]") && !gathers.iter().any(|word| text.contains(word)))
}

fn speaks(command: &Command) -> bool {
    matches!(command.program(), "echo" | "printf" | "true" | ":") || command.text() == "exit 0"
}
