//! What the text of an agent tells it to do: run, write, search, wait, start others.

mod programs; // what only a shell starts

use std::sync::LazyLock;

use kapell_spec::{finding::Span, line, words::Words};

use super::denied;
use crate::agents::Asset;
use programs::PROGRAMS;

/// Returns the spans of code in running text, each with what stands before it in its line, without the mark of a list.
fn code_spans<'a>(agent: &'a Asset, text: &'a str) -> impl Iterator<Item = (Span, &'a str)> {
    agent.definition.document.marks.iter().filter(|mark| mark.code).map(|mark| {
        let start = mark.span.start as usize;
        let line = line::start(text, start);
        let before =
            text[line..start].trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        (mark.span, before)
    })
}

/// Words in what precedes an order that make it one for somebody else, or none.
const OTHERS: &[&str] = &[
    "user",
    "developer",
    "not ",
    "never",
    "n't",
    "cannot",
    "you can ",
    " may ",
    "if ",
    "suggest",
    "recommend",
    " ask",
    "tell",
    "orchestrator",
    "parent",
    "caller",
    "main ",
    "they ",
    "how to",
    " to run",
    "would",
    "when ",
    "example",
    "e.g",
    "instead of",
    "without",
    "human",
    "somebody",
    "someone",
    "cannot",
];

/// Returns the clause that ends where something stands, in small letters, without the marks of a list.
fn clause(before: &str) -> String {
    let lower = before.to_ascii_lowercase();
    let ends = [". ", "; ", ": ", " \u{2014} ", " - ", "** "];
    let from =
        ends.iter().filter_map(|end| Some(lower.trim_end().rfind(end)? + end.len())).max().unwrap_or(0);
    lower[from..].trim_matches(['*', ' ', '`', ':', '(']).to_owned()
}

/// Finds the commands that are run before a text is read, such as `!` and `gh pr view` in marks, each with its program.
/// What only reads files or history runs without being granted.
pub(super) fn run_before<'a>(asset: &'a Asset, text: &'a str) -> impl Iterator<Item = (Span, &'a str)> {
    code_spans(asset, text).filter(|(_, before)| before.ends_with('!')).filter_map(|(span, _)| {
        let command = text[span.range()].trim_matches('`');
        let program = command.split_whitespace().next()?;
        let known = PROGRAMS.contains(&program) && !matches!(program, "git" | "rg");
        (known && is_command(command)).then_some((span, program))
    })
}

/// Verbs of orders that often stand before another one.
const FIRST: &[&str] = &[
    "read",
    "analyze",
    "analyse",
    "review",
    "collect",
    "gather",
    "scan",
    "inspect",
    "explore",
    "study",
    "identify",
    "summarize",
    "summarise",
    "list",
    "draft",
    "find",
];

/// Returns the last order of a clause that is a row of them: `read the code and write the plan to`, `look at it, then write`.
fn last_order(clause: &str) -> &str {
    if let Some((_, last)) = clause.rsplit_once(", then ") {
        return last;
    }
    let first = clause.split(' ').next().unwrap_or_default();
    let last = [" and then ", " and ", " then "]
        .iter()
        .filter_map(|link| Some(clause.rfind(link)? + link.len()))
        .max();
    last.filter(|_| FIRST.contains(&first)).map_or(clause, |at| &clause[at..])
}

/// Tells whether a whole line may be meant for somebody else.
fn is_for_others(text: &str) -> bool {
    let lower = format!("{} ", text.to_ascii_lowercase());
    OTHERS.iter().any(|word| lower.contains(word))
}

/// Tells whether a text is a command line that only a shell understands.
fn is_command(command: &str) -> bool {
    let program = command.split(' ').next().unwrap_or_default();
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
pub(super) fn to_run<'a>(agent: &'a Asset, text: &'a str) -> Option<(Span, &'a str)> {
    all_to_run(agent, text).next().or_else(|| bare(agent, text)).or_else(|| below(agent, text))
}

/// Finds the commands in marks that are told to be run.
pub(super) fn all_to_run<'a>(agent: &'a Asset, text: &'a str) -> impl Iterator<Item = (Span, &'a str)> {
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
        let free = tells && !is_for_others(before) && !is_a_cause(agent, text, span);
        free.then_some((span, command))
    })
}

/// Tells whether a place is in an item of a list of causes: what is to be run there is what the agent shall name.
fn is_a_cause(agent: &Asset, text: &str, span: Span) -> bool {
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
    let words = ["cause", "culprit", "symptom", "known problem", "known issue", "common problem", "pitfall"];
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
        let at = command.as_ptr() as usize - text.as_ptr() as usize;
        (tells && !is_for_others(&lower)).then(|| (Span::new(at, at + command.len()), command))
    })
}

/// Endings of files that agents write.
const WRITTEN: &[&str] = &[
    ".md", ".json", ".yaml", ".yml", ".txt", ".html", ".csv", ".toml", ".ts", ".tsx", ".js", ".py", ".jsonl",
    ".sql",
];

/// Finds the first place that tells to write a file: `Write the plan to \`docs/plan.md\``. What stands in blocks of code
/// is for others.
pub(super) fn to_write<'a>(agent: &Asset, text: &'a str) -> Option<(Span, &'a str)> {
    code_spans(agent, text).find_map(|(span, before)| {
        let clause = clause(before);
        let clause = last_order(&clause);
        let verbs = ["write", "save", "append", "create", "output", "store", "record", "persist", "update"];
        let mut words = clause.split(|c: char| !c.is_ascii_alphanumeric());
        let first = words.next().unwrap_or_default();
        let led = ["then", "and", "must", "always", "should"].contains(&first);
        let tells = (verbs.contains(&first) || led && words.next().is_some_and(|word| verbs.contains(&word)))
            && (["to", "at", "in", "file", "into", "as"]
                .iter()
                .any(|word| clause.ends_with(&format!(" {word}")))
                || first == "update"
                // What is written directly: `create \`docs/adr/0007-title.md\``.
                || direct(clause));
        let path = text[span.range()].trim_matches('`');
        let is_file = !has_blank(path)
            && !path.starts_with(['.', '-', '*'])
            && WRITTEN.iter().any(|end| path.ends_with(end))
            && (path.contains('/') || path.ends_with(".md") || path.ends_with(".json"));
        (tells && is_file && !is_for_others(before)).then_some((span, path))
    })
}

/// Tells whether a path has a blank outside of what stands for something: `docs/adr/<next number>-<slug>.md` has none.
fn has_blank(path: &str) -> bool {
    let mut depth = 0_i32;
    path.chars().any(|c| {
        depth += i32::from(matches!(c, '<' | '{' | '[')) - i32::from(matches!(c, '>' | '}' | ']'));
        c == ' ' && depth <= 0
    })
}

/// Tells whether a clause ends with an order to write what follows: `then create`, `Write the`.
fn direct(clause: &str) -> bool {
    let words = clause.split_whitespace().rev();
    let mut words = words.skip_while(|word| matches!(*word, "a" | "an" | "the" | "new" | "file" | "up"));
    words.next().is_some_and(|word| matches!(word, "create" | "write" | "append" | "generate"))
}

/// Tells whether a place lies in a block of code.
fn is_fenced(agent: &Asset, at: usize) -> bool {
    agent.definition.document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some()
}

/// Finds the words that tell to search the web.
pub(super) fn to_search(agent: &Asset, text: &str) -> Option<Span> {
    static SEARCH: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&[
            "search the web",
            "search online for",
            "search the internet",
            "perform web search",
            "do a web search",
            "look online for",
            "look on the web for",
            "look up on the web",
            "search the net",
            "browse the web",
            "look it up online",
            "google for",
        ])
    });
    let body = agent.definition.body as usize;
    SEARCH.places(&text[body..]).find_map(|(_, at)| {
        let at = body + at;
        let start = line::start(text, at);
        let order = text[start..at].trim_matches(|c: char| c.is_ascii_digit() || "-*+.)># \t".contains(c));
        let lower = order.to_ascii_lowercase();
        // It heads a line, or follows the head of one.
        let tells =
            lower.is_empty() || lower.ends_with(':') || lower.ends_with("then") || lower.ends_with("and");
        let fenced = is_fenced(agent, at);
        (tells && !fenced && !denied(text, at))
            .then(|| Span::new(at, at + "search the web".len().min(text.len() - at)))
    })
}

/// Finds the words that tell an agent to wait for a person. One that starts others may be talked to itself.
pub(super) fn to_wait(agent: &Asset, text: &str) -> Option<Span> {
    static WAIT: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&[
            "wait for user",
            "wait for the user",
            "wait for explicit user",
            "ask the user before proceeding",
            "ask user before proceeding",
            "get user approval before",
            "get user confirmation before",
            "wait for human",
        ])
    });
    let tools = agent.definition.items("tools");
    if tools.iter().any(|tool| ["Agent", "Task"].contains(&tool.text.split('(').next().unwrap_or_default())) {
        return None;
    }
    let body = agent.definition.body as usize;
    WAIT.places(&text[body..]).find_map(|(_, at)| {
        let at = body + at;
        let fenced = is_fenced(agent, at);
        let end = text[at..].find(['\n', ',', '.', ':', ';']).map_or(text.len(), |len| at + len);
        let line = text[at..line::end(text, at)].to_ascii_lowercase();
        // What a page or a script does when a person uses it is no conversation.
        let other = ["input event", "to click", "to type", "to press", "interaction", "gesture"];
        (!fenced && !denied(text, at) && !other.iter().any(|word| line.contains(word)))
            .then(|| Span::new(at, end))
    })
}

/// Finds the words that tell to start agents with the tool for it. What is forbidden in the same line is not told.
pub(super) fn to_start(agent: &Asset, text: &str) -> Option<Span> {
    static STARTS: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&[
            "via the Agent tool",
            "via the Task tool",
            "via Task tool",
            "using the Agent tool",
            "using the Task tool",
            "use the Agent tool",
            "use the Task tool",
            "with the Agent tool",
            "with the Task tool",
            "spawn subagents",
            "spawn sub-agents",
            "spawn parallel agents",
            "spawn parallel subagents",
            "launch subagents",
            "launch sub-agents",
            "launch parallel agents",
            "launch parallel subagents",
            "dispatch subagents",
            "dispatch sub-agents",
            "dispatch parallel agents",
        ])
    });
    let body = agent.definition.body as usize;
    STARTS.places(&text[body..]).find_map(|(_, at)| {
        let at = body + at;
        let line = line::around(text, at);
        let lower = line.to_ascii_lowercase();
        // Who is called so may be told of as well.
        let denied = ["not ", "n't", "never", "cannot", "without", "caller", "parent", "when invoked"]
            .iter()
            .any(|word| lower.contains(word));
        let fenced = is_fenced(agent, at);
        let line = &text[at..line::end(text, at)];
        let words = |word: &str| line.find(word).map(|len| at + len + word.len());
        let end = words(" tool").or_else(|| words("agents")).unwrap_or(at);
        (!denied && !fenced).then(|| Span::new(at, end))
    })
}

/// Tells whether the words right before the name of an agent order whoever reads them to have it work: `- Delegate the design
/// to the `designer` subagent`. That others call each other, or that somebody may, is no order.
pub(super) fn to_delegate(agent: &Asset, text: &str, name: Span) -> bool {
    let at = name.start as usize;
    if name.start < agent.definition.body || is_fenced(agent, at) {
        return false;
    }
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let before = text[line..at].trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
    let lower = clause(before);
    let order = ["delegate", "launch", "spawn", "dispatch"];
    // An item of a list that has its agents work: `Delegate its parts:`.
    if is_led_by(text, name, &order) {
        return true;
    }
    // These verbs have other meanings, unless the name follows at once.
    let at_once =
        ["start", "start the", "call", "call the", "get the", "have the", "and have the", "ask the"]
            .contains(&&*lower);
    let first = lower.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let after = text[name.end as usize..].trim_start_matches(['`', '*', ' ']);
    let named = ["agent", "subagent", "sub-agent"].iter().any(|word| after.starts_with(word));
    (at_once || order.contains(&first)) && named && !is_for_others(before)
}

/// Tells whether a name, with `agent` behind it, stands in a list that a sentence leads to whose last clause is one of the
/// orders.
fn is_led_by(text: &str, name: Span, orders: &[&str]) -> bool {
    let at = name.start as usize;
    let line = line::start(text, at);
    let after = text[name.end as usize..].trim_start_matches(['`', '*', ' ']);
    let named = ["agent", "subagent", "sub-agent"].iter().any(|word| after.starts_with(word));
    if !named || !text[line..].starts_with(['-', '*']) {
        return false;
    }
    let mut above =
        text[..line].lines().rev().skip_while(|line| line.starts_with(['-', '*', ' ']) || line.is_empty());
    let Some(lead) = above.next().filter(|lead| lead.trim_end().ends_with(':')) else { return false };
    let lower = lead.to_ascii_lowercase();
    let last = lower.rsplit([',', '.', ';']).next().unwrap_or_default();
    let first = last.split_whitespace().next().unwrap_or_default();
    orders.contains(&first) && !is_for_others(last)
}

/// Finds the first place that tells to use a tool of a server, with the tool's name.
pub(super) fn to_serve<'a>(agent: &Asset, text: &'a str) -> Option<(Span, &'a str)> {
    code_spans(agent, text).find_map(|(span, before)| {
        let tool = text[span.range()].trim_matches('`');
        let whole = tool.strip_prefix("mcp__")?.split_once("__").is_some_and(|(server, name)| {
            !server.is_empty() && !name.is_empty() && !name.contains(['*', '<', ' ', '(', '{'])
        });
        let clause = clause(before);
        let words: Vec<&str> = clause.split_whitespace().collect();
        let verb = words.iter().any(|word| {
            matches!(
                *word,
                "use" | "using" | "call" | "through" | "via" | "with" | "invoke" | "run" | "query"
            )
        });
        let end =
            text[span.end as usize..].split(['\n', '.']).next().unwrap_or_default().to_ascii_lowercase();
        let maybe = ["if ", "available", "when ", "optional", "unless"].iter().any(|word| end.contains(word));
        (whole && verb && !maybe && !is_for_others(before)).then_some((span, tool))
    })
}

/// Orders to edit, at the head of a sentence.
const EDITS: &[&str] = &[
    "edit the file",
    "edit files ",
    "edit each ",
    "edit the test",
    "edit the code",
    "edit the source",
    "edit the script",
    "edit the config",
    "edit the function",
    "edit the class",
    "edit the module",
    "fix each of them",
    "fix each one",
    "fix each error",
    "fix every error",
    "mend each ",
    "mend every ",
    "repair each ",
    "correct each ",
    "correct the file",
    "fix them in place",
    "fix it in place",
    "apply the fix",
    "apply the change",
    "apply the patch",
    "apply your change",
    "make the edit",
    "modify the file",
    "rewrite the file",
    "update the file",
    "rename the file",
    "extract the class into",
    "extract it into",
    "update all usages",
    "update all callers",
    "update every caller",
    "repair the selectors",
    "repair the test",
    "fix the test",
    "fix the code",
    "fix what it reports",
    "fix what they report",
    "fix what failed",
    "make the change",
    "make the smallest change",
    "delete the dead code",
    "delete the file",
    "replace the import",
    "add the missing import",
    "add the missing test",
];

/// Finds an order to edit files.
pub(super) fn to_edit(agent: &Asset, text: &str) -> Option<Span> {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(EDITS));
    let body = agent.definition.body as usize;
    let document = &agent.definition.document;
    WORDS.places(text.get(body..)?).find_map(|(number, at)| {
        let at = body + at;
        if document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some() {
            return None;
        }
        let before = &text[line::start(text, at)..at];
        let head = before.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        let own = head.is_empty() || head.trim_end().ends_with(['.', ';', ':', ',']);
        let whole = text[line::start(text, at)..line::end(text, at)].to_ascii_lowercase();
        (own && !is_for_others(&whole)).then(|| Span::new(at, at + EDITS[number].trim_end().len()))
    })
}
