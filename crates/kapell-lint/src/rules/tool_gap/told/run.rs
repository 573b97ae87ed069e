//! What an agent is told to run.

use std::sync::LazyLock;

use kapell_spec::{finding::Span, line, words::Words};

use super::{clause, code_spans, is_for_others, is_order_for_others, programs::PROGRAMS};
use crate::agents::Asset;

/// Finds the commands that are run before a text is read, such as `!` and `gh pr view` in marks, each with its program.
/// What only reads files or history runs without being granted.
pub(in crate::rules::tool_gap) fn run_before<'a>(
    asset: &'a Asset,
    text: &'a str,
) -> impl Iterator<Item = (Span, &'a str)> {
    code_spans(asset, text).filter(|(_, before)| before.ends_with('!')).filter_map(|(span, _)| {
        let command = text[span.range()].trim_matches('`');
        let program = command.split_whitespace().next()?;
        let known = PROGRAMS.contains(&program) && !matches!(program, "git" | "rg");
        (known && is_command(command)).then_some((span, program))
    })
}

/// Returns what a line does in the end: `cd tests && npm test`, `CI=1 npm test`, `timeout 60 npm test` and
/// `for i in $(seq 30); do npm test; done` all run `npm test`.
pub(in crate::rules::tool_gap) fn in_the_end(line: &str) -> &str {
    let mut rest = line.trim_start();
    while let Some((word, tail)) = rest.split_once(' ') {
        let tail = tail.trim_start();
        let is_variable = word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        });
        let after = |marks: [&str; 2]| {
            let end = |mark: &&str| tail.find(*mark).map(|at| at + mark.len());
            marks.iter().filter_map(end).min().map(|at| tail[at..].trim_start())
        };
        let next = match word {
            "for" | "while" | "until" => {
                after(["; do ", ";do "]).map(|body| body.split("; done").next().unwrap_or(body))
            }
            "cd" | "set" => after(["&& ", "; "]),
            "time" | "exec" | "nice" | "env" | "nohup" => Some(tail),
            "timeout" => tail.split_once(' ').map(|(_, rest)| rest),
            _ => is_variable.then_some(tail),
        };
        let Some(next) = next else { break };
        rest = next;
    }
    rest
}

/// Tells whether a text is a command line that only a shell understands.
pub(in crate::rules::tool_gap) fn is_command(command: &str) -> bool {
    let program = in_the_end(command).split([' ', ';']).next().unwrap_or_default();
    // `./gradlew`, `bin/rails`, `vendor/bin/phpunit`.
    let program = program.rsplit('/').next().unwrap_or(program);
    command.contains(' ') && PROGRAMS.contains(&program)
}

/// Words that may stand before the verb of an order.
const BEFORE_ORDERS: &[&str] = &[
    "always",
    "first",
    "then",
    "now",
    "next",
    "finally",
    "and",
    "please",
    "also",
    "afterwards",
    "must",
    "you",
];

/// Returns an order without what may stand before its verb: `always execute`, `you must then run`.
fn without_lead(clause: &str) -> &str {
    let mut rest = clause;
    while let Some((word, tail)) = rest.split_once(' ') {
        if !BEFORE_ORDERS.contains(&word.trim_end_matches(',')) {
            break;
        }
        rest = tail;
    }
    rest
}

/// Finds the first place that tells to run a command: `Run \`npm test\``, `Run git diff to see what changed`, and a block
/// of shell below `Run:`.
pub(in crate::rules::tool_gap) fn to_run<'a>(agent: &'a Asset, text: &'a str) -> Option<(Span, &'a str)> {
    all_to_run(agent, text).next().or_else(|| bare(agent, text)).or_else(|| below(agent, text))
}

/// Finds the commands in marks that are told to be run.
pub(in crate::rules::tool_gap) fn all_to_run<'a>(
    agent: &'a Asset,
    text: &'a str,
) -> impl Iterator<Item = (Span, &'a str)> {
    code_spans(agent, text).filter_map(move |(span, before)| {
        let command = text[span.range()].trim_matches('`');
        if !is_command(command) {
            return None;
        }
        let clause = clause(before);
        let verbs =
            ["run", "execute", "then run", "first run", "always run", "then execute", "and run", "run:"];
        let tells = verbs.contains(&&*clause)
            || matches!(without_lead(&clause), "run" | "execute")
            || is_counted(agent, text, span)
            || is_only_job(before)
            || clause.ends_with(" then run")
            || clause.ends_with(" and run")
            || leads_to_command(&clause, before);
        let free = tells && !is_order_for_others(before) && !is_a_cause(agent, text, span);
        free.then_some((span, in_the_end(command)))
    })
}

/// Tells whether a place is in an item of a list of causes, or of what the agent is to look for: what is to be done there is
/// what it shall name.
pub(super) fn is_a_cause(agent: &Asset, text: &str, span: Span) -> bool {
    let items = &agent.definition.document.items;
    let Some(item) = items.iter().find(|item| item.span.start <= span.start && span.end <= item.span.end)
    else {
        return false;
    };
    let Some(first) = items.iter().find(|other| other.list == item.list) else { return false };
    let above = text[..first.span.start as usize].trim_end();
    let above = above.rsplit('\n').next().unwrap_or_default().to_ascii_lowercase();
    let last = above.rsplit(". ").next().unwrap_or_default();
    let listed = last.ends_with(':') || last.starts_with('#');
    let words = [
        "cause",
        "culprit",
        "symptom",
        "known problem",
        "known issue",
        "common problem",
        "pitfall",
        "remed",
        "look for",
        "recommend",
        "suggest",
        "smell",
        "finding",
        "anti-pattern",
        "checklist",
        "good fix",
        "typical fix",
        "advice",
        "advise",
    ];
    listed && words.iter().any(|word| last.contains(word))
}

/// Tells whether a command begins an item of a numbered list, in which another item begins with one too: these are steps.
fn is_counted(agent: &Asset, text: &str, span: Span) -> bool {
    let items = &agent.definition.document.items;
    let begins = |at: usize| {
        let rest = text[at..].trim_start_matches(|c: char| c.is_ascii_digit() || ".) ".contains(c));
        let inner = rest.strip_prefix('`').and_then(|rest| rest.split('`').next()).unwrap_or_default();
        let after = rest.get(inner.len() + 2..).unwrap_or_default();
        let ended = after.is_empty()
            || after.starts_with(['\n', '\r', '.', ',', ';'])
            || after.starts_with(" to ")
            || after.starts_with(" and ");
        (is_command(inner) && ended).then(|| text.len() - rest.len())
    };
    let Some(item) = items
        .iter()
        .find(|item| item.ordered && begins(item.span.start as usize) == Some(span.start as usize))
    else {
        return false;
    };
    let same = items.iter().filter(|other| other.list == item.list && other.ordered);
    same.filter(|other| begins(other.span.start as usize).is_some()).count() >= 2
}

/// Tells whether a line says that what follows is all that there is to do: `Your only job: `.
fn is_only_job(before: &str) -> bool {
    // Few lines begin so; a long one is not to be copied for each of its words.
    if !before.get(..5).is_some_and(|first| first.eq_ignore_ascii_case("your ")) {
        return false;
    }
    let lower = before.trim_end_matches('`').trim_end().to_ascii_lowercase();
    ["job:", "task:", "job is", "task is to run"].iter().any(|end| lower.ends_with(end))
}

/// Verbs of orders whose means follows: `Stage the hunks with`, `Format the files by running`.
const BY_MEANS: &[&str] = &[
    "run",
    "execute",
    "stage",
    "commit",
    "push",
    "format",
    "lint",
    "build",
    "test",
    "check",
    "verify",
    "start",
    "deploy",
    "install",
    "generate",
    "publish",
    "tag",
    "fetch",
    "validate",
    "compile",
    "benchmark",
    "profile",
    "reproduce",
    "apply",
    "render",
    "measure",
    "confirm",
];

/// Tells whether a clause names what to run, and its end says that the command follows: `Run the test thirty times:`,
/// `Run the tests with`.
fn leads_to_command(clause: &str, before: &str) -> bool {
    let mut words = clause.split_whitespace();
    let first = words.next().unwrap_or_default();
    let means =
        [" with", " via", " using", " by running", " through"].iter().any(|end| clause.ends_with(end));
    if BY_MEANS.contains(&first) && means && clause.split_whitespace().count() <= RUN_WORDS_MAX + 2 {
        return true;
    }
    let order = matches!(first, "run" | "execute");
    let some = matches!(words.next(), Some("the" | "all" | "each" | "every" | "it" | "them" | "your"));
    let ended = before.trim_end().ends_with(':') || clause.ends_with(" with") || clause.ends_with(" via");
    order && some && ended && clause.split_whitespace().count() <= RUN_WORDS_MAX
}

/// How many words an order to run has before its command; longer ones say more than to run it.
const RUN_WORDS_MAX: usize = 8;

/// Programs whose names mean nothing else in a sentence.
const UNMISTAKABLE: &[&str] =
    &["git", "npm", "npx", "pnpm", "yarn", "pytest", "cargo", "docker", "kubectl", "terraform"];

/// Finds a line that begins with `Run` and a command without marks.
fn bare<'a>(agent: &Asset, text: &'a str) -> Option<(Span, &'a str)> {
    static RUN: LazyLock<Words> = LazyLock::new(|| Words::new(&["run "]));
    let body = agent.definition.body as usize;
    RUN.lines(&text[body..]).find_map(|(start, line)| {
        let start = body + start;
        let order = line.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        let command = order.strip_prefix("Run ")?;
        let mut words = command.split(' ');
        let known = UNMISTAKABLE.contains(&words.next()?);
        let second = words.next()?.trim_end_matches(['.', ',', ';']);
        let plain = second.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !second.is_empty();
        let fenced = agent.definition.document.fence_at(u32::try_from(start).unwrap_or(u32::MAX)).is_some();
        let at = start + (line.len() - order.len()) + "Run ".len();
        let end = at + command.split(' ').take(2).map(|word| word.len() + 1).sum::<usize>() - 1;
        let end = at + text[at..end].trim_end_matches(['.', ',', ';', '\n', '\r']).len();
        let tools = ["commands", "command", "repository", "repo", "history", "scripts", "and", "is", "or"];
        (known && plain && !fenced && !tools.contains(&second)).then(|| (Span::new(at, end), &text[at..end]))
    })
}

/// Finds a block of shell right below a line that tells to run it.
fn below<'a>(agent: &Asset, text: &'a str) -> Option<(Span, &'a str)> {
    let shells = ["bash", "sh", "shell", "zsh", "console"];
    let fences = &agent.definition.document.fences;
    fences.iter().filter(|fence| shells.contains(&fence.info.trim())).find_map(|fence| {
        let start = fence.span.start as usize;
        let above = text[..start].lines().rev().find(|line| !line.trim().is_empty())?;
        let order = above.trim().trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)>#` ".contains(c));
        let lower = order.trim_end_matches(['*', ' ']).to_ascii_lowercase();
        let headed = above.starts_with('#')
            && matches!(
                &*lower,
                "how"
                    | "how you work"
                    | "steps"
                    | "your steps"
                    | "workflow"
                    | "process"
                    | "procedure"
                    | "how to work"
            );
        let tells = headed
            || lower.ends_with(':')
                && ["run", "execute", "first, run", "always run"].iter().any(|verb| {
                    lower.strip_prefix(verb).is_some_and(|rest| rest.starts_with([' ', ':', '*']))
                });
        let (_, block) = text[fence.span.range()].split_once('\n')?;
        let command = block.lines().map(str::trim).find(|line| is_command(line))?;
        let at = line::offset(text, command);
        (tells && !is_for_others(&lower)).then(|| (Span::new(at, at + command.len()), command))
    })
}
