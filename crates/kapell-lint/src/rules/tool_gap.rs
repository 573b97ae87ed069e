//! `tool-gap`: an agent is told to use a tool that it does not have.

use std::{collections::BTreeMap, sync::LazyLock};

use kapell_spec::{
    claude::reference::{Names, Strength},
    finding::Span,
    words::Words,
};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "tool-gap",
    summary: "an agent is told to use a tool that it does not have",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/tool-gap.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut listed: Vec<(&Asset, Span)> = Vec::new();
    let mut online = Online::new();
    for (_, agent) in repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home != Home::Other) {
        let text = &repository.files[agent.file].text;
        match agent.definition.items("tools").iter().find(|tool| tool.text == "AskUserQuestion") {
            Some(tool) => listed.push((agent, tool.span)),
            None => asks(report, agent, text),
        }
        if agent.definition.field("tools").is_some()
            && agent.definition.items("tools").iter().all(|tool| tool.text != "*")
        {
            lacks(report, agent, text, &mut online);
        }
    }
    tell_listed(report, &listed);
    for (tool, agents) in online {
        tell_online(report, tool, &agents);
    }
}

/// The agents that are told to use a tool of the web without having it, and where, by the tool.
type Online<'a> = BTreeMap<&'static str, Vec<(&'a Asset, Span)>>;

/// Agents often have one text about the web: one habit, one finding.
fn tell_online(report: &mut Report<'_>, tool: &str, agents: &[(&Asset, Span)]) {
    let Some(((first, span), rest)) = agents.split_first() else { return };
    let message = match rest.len() {
        0 => format!("`{}` has to use `{tool}`, which its tools do not have", first.name),
        more => {
            format!("`{}` and {more} more have to use `{tool}`, which their tools do not have", first.name)
        }
    };
    let mut draft = report.add(first.file, *span, message).hint(format!("add `{tool}` to the tools"));
    for (agent, span) in rest {
        draft = draft.also(agent.file, *span, format!("`{}` too", agent.name));
    }
    draft.done();
}

/// Agents that have the tool to ask with: one habit, one finding.
fn tell_listed(report: &mut Report<'_>, agents: &[(&Asset, Span)]) {
    let Some(((first, span), rest)) = agents.split_first() else { return };
    let message = match rest.len() {
        0 => format!("`{}` has to ask the user, but an agent that another one started cannot", first.name),
        more => format!(
            "`{}` and {more} more have to ask the user, but agents that another one started cannot",
            first.name
        ),
    };
    let mut draft = report.add(first.file, *span, message).hint(ASK_BEFORE);
    for (agent, span) in rest {
        draft = draft.also(agent.file, *span, format!("`{}` too", agent.name));
    }
    draft.done();
}

/// What helps where an agent would have to ask.
const ASK_BEFORE: &str = "have the command that starts it ask, and hand it the answers";

/// An agent that runs below another one cannot ask a person.
fn asks(report: &mut Report<'_>, agent: &Asset, text: &str) {
    let body = agent.definition.body as usize;
    // One that a person talks to itself.
    static IN_FRONT: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&[
            "from this conversation",
            "claude --agent",
            "you are the main agent",
            "you are the main session",
        ])
    });
    if IN_FRONT.is_in(&text[body..]) {
        return;
    }
    static ASKING: LazyLock<Words> =
        LazyLock::new(|| Words::new(&["ask the user", "ask user", "wait for user", "confirm with the user"]));
    let heading = agent.definition.document.headings.iter().find(|heading| ASKING.is_in(&heading.text));
    let named = text[body..]
        .find("AskUserQuestion")
        .map(|at| Span::new(body + at, body + at + "AskUserQuestion".len()));
    let denied = named.is_some_and(|span| {
        let line = text[..span.start as usize].rfind('\n').map_or(0, |at| at + 1);
        let before = text[line..span.start as usize].to_ascii_lowercase();
        ["not ", "never", "cannot", "no "].iter().any(|word| before.contains(word))
    });
    let (span, confidence) = match (named.filter(|_| !denied), heading) {
        (Some(span), _) => (span, Confidence::High),
        (None, Some(heading)) if !denied => (heading.span, Confidence::Medium),
        _ => return,
    };
    let message =
        format!("`{}` has to ask the user, but an agent that another one started cannot", agent.name);
    report.add(agent.file, span, message).confidence(confidence).hint(ASK_BEFORE).done();
}

/// Programs that only a shell starts.
const PROGRAMS: &[&str] = &[
    "git",
    "gh",
    "npm",
    "npx",
    "pnpm",
    "yarn",
    "bun",
    "node",
    "deno",
    "python",
    "python3",
    "pip",
    "uv",
    "pytest",
    "ruff",
    "mypy",
    "eslint",
    "tsc",
    "cargo",
    "go",
    "make",
    "docker",
    "kubectl",
    "helm",
    "terraform",
    "mvn",
    "gradle",
    "bundle",
    "composer",
    "curl",
    "bash",
    "sh",
];

/// Returns the spans of code in running text, each with what stands before it in its line, without the mark of a list.
fn code_spans<'a>(agent: &'a Asset, text: &'a str) -> impl Iterator<Item = (Span, &'a str)> {
    agent.definition.document.marks.iter().filter(|mark| mark.code).map(|mark| {
        let start = mark.span.start as usize;
        let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let before =
            text[line..start].trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        (mark.span, before)
    })
}

/// Finds the first line that tells to run a command: `Run \`npm test\``. Examples in blocks of code are for others.
fn told_to_run<'a>(agent: &Asset, text: &'a str) -> Option<(Span, &'a str)> {
    code_spans(agent, text).find_map(|(span, before)| {
        let tells = ["Run", "Execute"].iter().any(|verb| before.trim_end_matches(['`', ' ']) == *verb);
        let command = text[span.range()].trim_matches('`');
        let known = command.split(' ').next().is_some_and(|program| PROGRAMS.contains(&program));
        (tells && known && command.contains(' ')).then_some((span, command))
    })
}

/// Finds the first line that tells to write a file: `Write the plan to \`docs/plan.md\``. What stands in blocks of code
/// is for others.
fn told_to_write<'a>(agent: &Asset, text: &'a str) -> Option<(Span, &'a str)> {
    code_spans(agent, text).find_map(|(span, before)| {
        let verb = before.split([' ', '*', ':']).next().unwrap_or_default();
        let tells = ["Write", "Save", "Append", "Create"].contains(&verb)
            && [" to", " at", " in", " file"]
                .iter()
                .any(|word| before.trim_end_matches(['`', '*', ' ', ':']).ends_with(word));
        let path = text[span.range()].trim_matches('`');
        let is_file = path.contains('.') && !path.contains(' ') && !path.starts_with(['.', '-', '*']);
        (tells && is_file && path.contains('/')).then_some((span, path))
    })
}

/// Finds the words that tell to start agents with the tool for it. What is forbidden in the same line is not told.
fn told_to_start(agent: &Asset, text: &str) -> Option<Span> {
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
        ])
    });
    let body = agent.definition.body as usize;
    STARTS.places(&text[body..]).find_map(|(_, at)| {
        let at = body + at;
        let document = &agent.definition.document;
        let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let lower = line.to_ascii_lowercase();
        // Who is called so may be told of as well.
        let denied = ["not ", "n't", "never", "cannot", "without", "caller", "parent", "when invoked"]
            .iter()
            .any(|word| lower.contains(word));
        let fenced = document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some();
        let end = text[at..].find(" tool").map_or(at, |len| at + len + " tool".len());
        (!denied && !fenced).then(|| Span::new(at, end))
    })
}

fn lacks<'a>(report: &mut Report<'_>, agent: &'a Asset, text: &str, online: &mut Online<'a>) {
    let has = |names: &[&str]| {
        let tools = agent.definition.items("tools").iter();
        tools.clone().any(|tool| names.contains(&tool.text.split('(').next().unwrap_or_default()))
    };
    let writers = ["Write", "Edit", "MultiEdit", "NotebookEdit", "Bash"];
    // Tools of a server may write too.
    let served = agent.definition.items("tools").iter().any(|tool| tool.text.starts_with("mcp__"));
    if !has(&writers)
        && !served
        && let Some((span, path)) = told_to_write(agent, text)
    {
        let message = format!("`{}` has to write `{path}`, but none of its tools writes", agent.name);
        report
            .add(agent.file, span, message)
            .hint("add `Write` to its tools, or have the one that starts it write the file")
            .done();
    }
    let starts = agent.references.iter().find(|reference| {
        reference.names == Names::Agent && reference.strength == Strength::Certain && !reference.fenced
    });
    if let Some(reference) = starts.filter(|_| !has(&["Agent", "Task"])) {
        let message =
            format!("`{}` has to start `{}`, but its tools do not have `Agent`", agent.name, reference.name);
        report.add(agent.file, reference.span, message).hint("add `Agent` to its tools").done();
    } else if let Some(span) = told_to_start(agent, text).filter(|_| !has(&["Agent", "Task"])) {
        let message = format!("`{}` has to start agents, but its tools do not have `Agent`", agent.name);
        report.add(agent.file, span, message).hint("add `Agent` to its tools").done();
    }
    if !has(&["Bash"])
        && let Some((span, command)) = told_to_run(agent, text)
    {
        let message = format!("`{}` has to run `{command}`, but its tools do not have `Bash`", agent.name);
        report.add(agent.file, span, message).hint("add `Bash` to its tools, as narrow as it can be").done();
    }
    let body = &text[agent.definition.body as usize..];
    // Most speak of no tool of the web at all.
    static WEB: LazyLock<Words> = LazyLock::new(|| Words::new(&["WebFetch", "WebSearch"]));
    if !WEB.is_in(body) {
        return;
    }
    let lower = body.to_ascii_lowercase();
    for (tool, others) in [("WebFetch", &["WebFetch", "Bash"][..]), ("WebSearch", &["WebSearch"][..])] {
        let told = ["use ", "using ", "run ", "with ", "call "].iter().find_map(|verb| {
            [
                format!("{verb}{tool}"),
                format!("{verb}`{tool}`"),
                format!("{verb}the {tool}"),
                format!("{verb}the `{tool}`"),
            ]
            .iter()
            .find_map(|phrase| {
                let at = lower.find(&phrase.to_ascii_lowercase())?;
                Some(Span::new(
                    agent.definition.body as usize + at,
                    agent.definition.body as usize + at + phrase.len(),
                ))
            })
        });
        if let Some(span) = told.filter(|_| !has(others)) {
            online.entry(tool).or_default().push((agent, span));
        }
    }
}
