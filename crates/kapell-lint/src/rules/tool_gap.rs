//! `tool-gap`: an agent is told to use a tool that it does not have.

mod by_settings; // what settings deny to all
mod others; // agents of other clients
mod patterns; // patterns of shells
mod prompted; // sessions of workflows, which ask nobody
mod told; // what a text tells to do

use std::{collections::BTreeMap, sync::LazyLock};

use kapell_spec::{
    claude::{
        definition::Named,
        reference::{Names, Reference, Strength},
    },
    finding::Span,
    line,
    words::Words,
};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home, Resolved},
    files::File,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/tool-gap.md`.
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
    let mut asking: Vec<(&Asset, Span, Confidence)> = Vec::new();
    let mut online = Online::new();
    let mut loading: Vec<(&Asset, Span)> = Vec::new();
    let skills: Vec<&Asset> = repository.agents.of(AssetKind::Skill).map(|(_, skill)| skill).collect();
    others::check(repository, report);
    for (_, agent) in repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home != Home::Other) {
        let file = &repository.files[agent.file];
        match agent.definition.items("tools").iter().find(|tool| tool.text == "AskUserQuestion") {
            Some(_) if is_in_front(file) => {}
            Some(tool) => asking.push((agent, tool.span, Confidence::High)),
            None => {
                let asks = file.made(|file| Asks(asks(agent, file, false)));
                asking.extend(asks.0.map(|(span, sure)| (agent, span, sure)));
            }
        }
        if agent.definition.field("tools").is_some()
            && agent.definition.items("tools").iter().all(|tool| tool.text != "*")
        {
            lacks(repository, report, (agent, file), &mut online);
            leaves_out(repository, report, agent);
            loading.extend(told_to_load(&skills, agent, &file.text).map(|span| (agent, span)));
        }
    }
    forbidden(repository, report);
    tell_asking(repository, report, &asking);
    tell_loading(report, &loading);
    for (tool, agents) in online {
        tell_online(report, tool, &agents);
    }
    forks(repository, report);
    ungranted(repository, report);
    patterns::of_commands(repository, report);
    by_settings::check(repository, report);
    prompted::check(repository, report);
}

/// Something that has all tools but the shell, by the key that says so, and has to run commands.
fn denied_shell(
    repository: &Repository,
    report: &mut Report<'_>,
    agent: &Asset,
    (key, denied): (&str, &Named),
) {
    let Some((span, command)) = told::to_run(agent, &repository.files[agent.file].text) else { return };
    // A server may have a shell of its own.
    if !agent.definition.items("mcpServers").is_empty() {
        return;
    }
    let message = format!("`{}` has to run `{command}`, and is denied the tool for it", agent.name);
    let draft = report.add(agent.file, span, message).severity(Severity::High);
    let draft = draft.hint(format!("drop `Bash` from `{key}`, or have it told what the command says"));
    draft.also(agent.file, denied.span, "denied here").done();
}

/// An agent that has all tools but those that get pages of the web, and has to get one.
fn denied_web(report: &mut Report<'_>, agent: &Asset, text: &str, denied: &Named) {
    // A server may have a browser.
    let Some(span) = told::to_fetch(agent, text).filter(|_| agent.definition.items("mcpServers").is_empty())
    else {
        return;
    };
    let message = format!("`{}` has to get a page of the web, and is denied the tools for it", agent.name);
    let draft = report.add(agent.file, span, message).severity(Severity::High);
    let draft = draft.hint("drop `WebFetch` from `disallowedTools`, or have it told what the page says");
    draft.also(agent.file, denied.span, "denied here").done();
}

/// Agents, commands and skills that have all tools but those that edit or run, and have to.
fn forbidden(repository: &Repository, report: &mut Report<'_>) {
    for kind in [AssetKind::Command, AssetKind::Skill] {
        for (_, asset) in repository.agents.of(kind).filter(|(_, asset)| asset.home == Home::Claude) {
            let denied = asset.definition.items("disallowed-tools");
            if let Some(tool) = denied.iter().find(|tool| matches!(&*tool.text, "Bash" | "Bash(*)")) {
                denied_shell(repository, report, asset, ("disallowed-tools", tool));
            }
        }
    }
    let agents = repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude);
    for (_, agent) in agents {
        let denied = agent.definition.items("disallowedTools");
        let denies = |tool: &str| denied.iter().any(|own| own.text == tool);
        let (tools, free) = (agent.definition.items("tools"), agent.definition.field("tools").is_none());
        let shell = free || tools.iter().any(|tool| tool.text.starts_with("Bash"));
        if let Some(tool) = denied.iter().find(|tool| shell && matches!(&*tool.text, "Bash" | "Bash(*)")) {
            denied_shell(repository, report, agent, ("disallowedTools", tool));
        }
        let text = &*repository.files[agent.file].text;
        if free && denies("WebFetch") && denies("Bash") {
            denied_web(report, agent, text, &denied[0]);
        }
        if !(free && denies("Edit") && denies("Write")) {
            continue;
        }
        let (span, message, tool) = match (told::to_edit(agent, text), told::to_write(agent, text)) {
            (Some(span), _) => {
                (span, format!("`{}` has to edit files, and is denied the tools for it", agent.name), "Edit")
            }
            (None, Some((span, path))) => (
                span,
                format!("`{}` has to write `{path}`, and is denied the tools for it", agent.name),
                "Write",
            ),
            (None, None) => continue,
        };
        // A shell that is left to it may write as well, by a way round.
        let severity = if tool == "Edit" || denies("Bash") { Severity::High } else { Severity::Medium };
        let draft = report.add(agent.file, span, message).severity(severity);
        let draft = draft.hint(format!("drop `{tool}` from `disallowedTools`, or have it return the text"));
        draft.also(agent.file, denied[0].span, "denied here").done();
    }
}

/// Commands whose first lines run what their own list does not grant: nobody is asked there, and the command ends.
fn ungranted(repository: &Repository, report: &mut Report<'_>) {
    let allowed = repository.agents.hooks.iter().flat_map(|file| &file.hooks.allow);
    let settings: Vec<&str> = allowed.map(|tool| &*tool.text).collect();
    let all = repository.agents.iter().map(|(_, asset)| asset);
    let kinds = [AssetKind::Command, AssetKind::Skill];
    for asset in all.filter(|asset| kinds.contains(&asset.kind) && asset.home == Home::Claude) {
        let own = asset.definition.items("allowed-tools").iter().map(|tool| &*tool.text);
        let shells: Vec<&str> = own.filter(|tool| tool.starts_with("Bash")).collect();
        if shells.is_empty() {
            continue;
        }
        let text = &*repository.files[asset.file].text;
        let granted = |program: &str| {
            shells.iter().chain(&settings).any(|tool| {
                let inner = tool.strip_prefix("Bash").map_or("-", |rest| rest.trim_start_matches('('));
                let first = inner.split([' ', ':', ')']).next().unwrap_or_default();
                first.is_empty() || first == program || first.contains('*')
            })
        };
        let missing = told::run_before(asset, text).find(|(_, program)| !granted(program));
        let Some((span, program)) = missing else { continue };
        let message = format!(
            "`/{}` runs `{program}` before it is read, which its `allowed-tools` do not grant",
            asset.name
        );
        let hint = format!("add what it runs to `allowed-tools`, such as `Bash({program}:*)` or narrower");
        report.add(asset.file, span, message).severity(Severity::High).hint(hint).done();
    }
}

/// An agent that may start only some agents, and is told to start another one that is defined here.
fn leaves_out(repository: &Repository, report: &mut Report<'_>, agent: &Asset) {
    let tools = agent.definition.items("tools");
    let listed = |tool: &str| {
        let inner = ["Agent(", "Task("].iter().find_map(|open| tool.strip_prefix(open))?;
        Some(inner.trim_end_matches(')').split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>())
    };
    // One entry without brackets allows all.
    let all = tools.iter().any(|tool| matches!(&*tool.text, "Agent" | "Task" | "Agent(*)" | "Task(*)"));
    let allowed: Vec<String> = tools.iter().filter_map(|tool| listed(&tool.text)).flatten().collect();
    if all || allowed.is_empty() {
        return;
    }
    let body = agent.definition.body;
    let told = agent.firm(Names::Agent).filter(|reference| reference.span.start >= body && !reference.fenced);
    let mut seen: Vec<&str> = Vec::new();
    for reference in told {
        let found = matches!(repository.agents.resolve(agent, reference), Resolved::Found(_));
        let is_new = !seen.contains(&&*reference.name);
        if found && is_new && reference.name != agent.name && !allowed.contains(&reference.name) {
            seen.push(&reference.name);
            let message = format!(
                "`{}` has to start `{}`, but its tools let it start only {}",
                agent.name,
                reference.name,
                allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            );
            let hint = format!("add `{}` to the names in the brackets", reference.name);
            report.add(agent.file, reference.span, message).severity(Severity::High).hint(hint).done();
        }
    }
}

/// Commands and skills that run as an agent of their own, and have to ask.
fn forks(repository: &Repository, report: &mut Report<'_>) {
    let kinds = [AssetKind::Command, AssetKind::Skill];
    let all = repository.agents.iter().map(|(_, asset)| asset);
    for asset in all.filter(|asset| kinds.contains(&asset.kind) && asset.home == Home::Claude) {
        if asset.definition.text("context").is_none_or(|context| context.text.trim() != "fork") {
            continue;
        }
        let Some((span, sure)) = asks(asset, &repository.files[asset.file], true) else { continue };
        let message = format!("`/{}` has to ask the user, but what runs in a fork cannot", asset.name);
        let hint = "drop `context: fork`, or have it return its questions";
        report.add(asset.file, span, message).confidence(sure).hint(hint).done();
    }
}

/// Finds where an agent that has no tool for it is told to load one of the skills that are defined here.
fn told_to_load(skills: &[&Asset], agent: &Asset, text: &str) -> Option<Span> {
    if agent.definition.items("tools").iter().any(|tool| tool.text.starts_with("Skill")) {
        return None;
    }
    let given = agent.definition.items("skills");
    let marks = agent.definition.document.marks.iter().filter(|mark| mark.code);
    let mut named = marks.filter(|mark| {
        let name = mark.text.trim();
        skills.iter().any(|skill| skill.name == name && skill.scope == agent.scope)
            && given.iter().all(|skill| skill.text != name)
    });
    let found = named.find(|mark| {
        let start = line::start(text, mark.span.start as usize);
        let line = text[start..line::end(text, mark.span.start as usize)].to_ascii_lowercase();
        let at = (mark.span.start as usize - start).min(line.len());
        let from = line.get(..at).and_then(|before| before.rfind(". ")).map_or(0, |end| end + 2);
        let to = line.get(at..).and_then(|after| after.find(". ")).map_or(line.len(), |end| at + end);
        let sentence = line.get(from..to).unwrap_or_default();
        let before = line.get(from..at).unwrap_or_default();
        let word = |text: &str, word: &str| {
            text.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word)
        };
        let told = ["load", "invoke", "use", "activate"].iter().any(|verb| word(before, verb));
        let skill = word(sentence, "skill") || word(sentence, "skills");
        let denied = ["not", "never", "don", "without", "if", "when"].iter().any(|no| word(before, no));
        // Whoever is told the file can read it.
        let by_file = ["skills/", ".md", "./"].iter().any(|part| sentence.contains(part));
        told && skill && !denied && !by_file
    });
    found.map(|mark| mark.span)
}

/// Agents that have to load a skill: one habit, one finding.
fn tell_loading(report: &mut Report<'_>, agents: &[(&Asset, Span)]) {
    let Some(((first, span), rest)) = agents.split_first() else { return };
    let message = match rest.len() {
        0 => format!("`{}` has to load a skill, but its tools do not have `Skill`", first.name),
        more => {
            format!(
                "`{}` and {more} more have to load skills, but their tools do not have `Skill`",
                first.name
            )
        }
    };
    let hint = "add `Skill` to the tools, or name the skills under `skills:`, which loads them";
    let mut draft = report.add(first.file, *span, message).hint(hint);
    for (agent, span) in rest {
        draft = draft.also(agent.file, *span, format!("`{}` too", agent.name));
    }
    draft.done();
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

/// Agents that have to ask: one habit, one finding.
fn tell_asking(repository: &Repository, report: &mut Report<'_>, agents: &[(&Asset, Span, Confidence)]) {
    let Some(((first, span, _), rest)) = agents.split_first() else { return };
    let sure = agents.iter().map(|(.., sure)| *sure).max().unwrap_or(Confidence::Medium);
    let message = match rest.len() {
        0 => format!("`{}` has to ask the user, but an agent that another one started cannot", first.name),
        more => format!(
            "`{}` and {more} more have to ask the user, but agents that another one started cannot",
            first.name
        ),
    };
    let mut draft = report.add(first.file, *span, message).confidence(sure).hint(ASK_BEFORE);
    if agents.iter().any(|(agent, ..)| counts_on_answers(repository, agent)) {
        draft = draft.severity(Severity::High);
    }
    for (agent, span, _) in rest {
        draft = draft.also(agent.file, *span, format!("`{}` too", agent.name));
    }
    draft.done();
}

/// Tells whether a step of an agent is to ask by the tool for it, which it names, while another one starts the agent.
fn counts_on_answers(repository: &Repository, agent: &Asset) -> bool {
    let file = &repository.files[agent.file];
    let names = asks(agent, file, false).is_some_and(|(_, sure)| sure == Confidence::High);
    let started = || {
        let agents = &repository.agents;
        agents
            .iter()
            .filter(|(_, from)| from.file != agent.file && from.home == Home::Claude)
            .any(|(_, from)| from.firm(Names::Agent).any(|reference| reference.name == agent.name))
    };
    names && started()
}

/// What helps where an agent would have to ask.
const ASK_BEFORE: &str = "have the command that starts it ask, and hand it the answers";

/// Words of a heading under which a person is asked.
static HEADED: LazyLock<Words> =
    LazyLock::new(|| Words::new(&["ask the user", "ask user", "wait for user", "confirm with the user"]));

/// Words of an order to ask a person, wherever they stand.
static SAID: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "present options to user",
        "present options to the user",
        "present the options to the user",
        "wait for user",
        "wait for the user",
        "ask the user ",
        "ask the user to",
        "ask the user which",
        "ask the user whether",
        "ask the user for",
        "confirm with user",
        "confirm with the user",
    ])
});

/// Where an agent is told to ask a person, and how sure that is, if it is told.
struct Asks(Option<(Span, Confidence)>);

/// Finds where one that runs below another is told to ask a person, and how sure that is. Agents may mean whoever
/// started them, unless a heading says so; for commands running words count `everywhere`.
fn asks(agent: &Asset, file: &File, everywhere: bool) -> Option<(Span, Confidence)> {
    let text = &*file.text;
    let body = agent.definition.body as usize;
    let document = &agent.definition.document;
    let said = if everywhere {
        let mut places = SAID.places(&text[body..]).map(|(_, at)| body + at);
        let fenced = |at: usize| document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some();
        places.find(|&at| !fenced(at) && !denied(text, at)).map(|at| {
            let end = text[at..].find(['\n', ',', '.', ':']).map_or(text.len(), |len| at + len);
            Span::new(at, end)
        })
    } else {
        let headed = document.headings.iter().find(|heading| HEADED.is_in(&heading.text));
        headed.map(|heading| heading.span).or_else(|| told::to_wait(agent, text))
    };
    let tool = "AskUserQuestion";
    let named = memchr::memmem::find_iter(&text.as_bytes()[body..], tool);
    let mut named = named.map(|at| body + at).peekable();
    let any = named.peek().is_some();
    let asked = match (named.find(|&at| !denied(text, at)), said) {
        (Some(at), _) => (Span::new(at, at + tool.len()), Confidence::High),
        (None, Some(said)) if !any => (said, Confidence::Medium),
        _ => return None,
    };
    // Few are told to ask, so that this is seldom looked for.
    (!is_in_front(file)).then_some(asked)
}

/// Tells whether a person talks to an agent itself, as its description or its text says.
fn is_in_front(file: &File) -> bool {
    static WORDS: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&[
            "from this conversation",
            "claude --agent",
            "as the main session",
            "as the main agent",
            "you are the main agent",
            "you are the main session",
        ])
    });
    WORDS.is_in_lower(file.lower())
}

/// Tells whether the clause up to a place denies what stands there: `Don't guess — use X` does not.
fn denied(text: &str, at: usize) -> bool {
    let before = text[line::start(text, at)..at].to_ascii_lowercase();
    let breaks = [". ", "; ", ", ", ": ", " \u{2014} ", " - "];
    let clause = breaks.iter().filter_map(|end| Some(before.rfind(end)? + end.len())).max();
    let before = &before[clause.unwrap_or(0)..];
    ["not ", "never", "cannot", "no ", "n't"].iter().any(|word| before.contains(word))
}

/// Tells whether the tools of an agent have one of a server, by its name, by its server's or by a star.
fn grants(agent: &Asset, tool: &str) -> bool {
    agent.definition.items("tools").iter().any(|own| {
        let own = own.text.split('(').next().unwrap_or_default();
        let stem = own.trim_end_matches('*').trim_end_matches('_');
        own == tool || own.starts_with("mcp__") && tool.starts_with(stem) || own == "*"
    })
}

fn lacks<'a>(
    repository: &Repository,
    report: &mut Report<'_>,
    (agent, file): (&'a Asset, &File),
    online: &mut Online<'a>,
) {
    let text = &*file.text;
    let has = |names: &[&str]| {
        let tools = agent.definition.items("tools").iter();
        tools.clone().any(|tool| names.contains(&tool.text.split('(').next().unwrap_or_default()))
    };
    let writers = ["Write", "Edit", "MultiEdit", "NotebookEdit", "Bash"];
    // Tools of a server may write too.
    let served = agent.definition.items("tools").iter().any(|tool| tool.text.starts_with("mcp__"));
    if !has(&writers)
        && !served
        && let Some((span, path)) = told::to_write(agent, text)
    {
        let message = format!("`{}` has to write `{path}`, but none of its tools writes", agent.name);
        report
            .add(agent.file, span, message)
            .severity(Severity::High)
            .hint("add `Write` to its tools, or have the one that starts it write the file")
            .done();
    }
    if !has(&writers)
        && !served
        && told::to_write(agent, text).is_none()
        && let Some(span) = told::to_edit(agent, text)
    {
        let message = format!("`{}` has to edit files, but none of its tools does", agent.name);
        report
            .add(agent.file, span, message)
            .severity(Severity::High)
            .hint("add `Edit` to its tools, or have it return what is to be changed")
            .done();
    }
    let known = |reference: &Reference| {
        // Nobody is told to start itself.
        reference.name != agent.name
            && matches!(repository.agents.resolve(agent, reference), Resolved::Found(_))
    };
    let starts = agent.references.iter().find(|reference| {
        reference.names == Names::Agent
            && !reference.fenced
            && (reference.strength == Strength::Certain
                || told::to_delegate(agent, text, reference.span, || known(reference)))
    });
    if let Some(reference) = starts.filter(|_| !has(&["Agent", "Task"])) {
        let message =
            format!("`{}` has to start `{}`, but its tools do not have `Agent`", agent.name, reference.name);
        report
            .add(agent.file, reference.span, message)
            .severity(Severity::High)
            .hint("add `Agent` to its tools")
            .done();
    } else if let Some(span) = told::to_start(agent, text).filter(|_| !has(&["Agent", "Task"])) {
        let message = format!("`{}` has to start agents, but its tools do not have `Agent`", agent.name);
        let draft = report.add(agent.file, span, message).severity(Severity::High);
        draft.hint("add `Agent` to its tools").done();
    }
    if let Some((span, tool)) = told::to_serve(agent, text, |tool| grants(agent, tool)) {
        let message = format!("`{}` has to use `{tool}`, which its tools do not have", agent.name);
        let draft = report.add(agent.file, span, message).severity(Severity::High);
        draft.hint(format!("add `{tool}` to its tools")).done();
    }
    if !has(&["Bash"])
        && !served
        && let Some((span, command)) = told::to_run(agent, text)
    {
        let message = format!("`{}` has to run `{command}`, but its tools do not have `Bash`", agent.name);
        report
            .add(agent.file, span, message)
            .severity(Severity::High)
            .hint("add `Bash` to its tools, as narrow as it can be")
            .done();
    }
    patterns::of_agent(report, agent, text);
    let searches = !served && !has(&["WebSearch", "Bash"]);
    if let Some(span) = told::to_search(agent, text).filter(|_| searches) {
        online.entry("WebSearch").or_default().push((agent, span));
        return;
    }
    let online_some = served || has(&["WebFetch", "WebSearch", "Bash"]);
    if let Some(span) = told::to_fetch(agent, text).filter(|_| !online_some) {
        online.entry("WebFetch").or_default().push((agent, span));
        return;
    }
    let lower = &file.lower()[agent.definition.body as usize..];
    // Most speak of no tool of the web at all.
    static WEB: LazyLock<Words> = LazyLock::new(|| Words::new(&["WebFetch", "WebSearch"]));
    if !WEB.is_in_lower(lower) {
        return;
    }
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
        let told = told.filter(|span| !denied(text, span.start as usize));
        if let Some(span) = told.filter(|_| !has(others)) {
            online.entry(tool).or_default().push((agent, span));
        }
    }
}
