//! `over-privileged`: an agent that shall change nothing can write.

mod unasked; // agents that ask nobody

use std::sync::LazyLock;

use kapell_spec::words::Words;
use kapell_spec::{claude::definition::Named, finding::Span, line};
use kapell_view::audit::{AssetKind, Confidence, FixClass, Severity};

use crate::{
    agents::{
        Asset, Home,
        sessions::{What, sessions as started},
    },
    files::File,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule, names},
};

/// See `docs/rules/over-privileged.md`.
pub(super) static RULE: Rule = Rule {
    name: "over-privileged",
    summary: "an agent that shall change nothing can write",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Conflicts,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/over-privileged.md"),
    check,
};

/// Words with which an agent is told to change nothing at all.
const READ_ONLY: &[&str] = &[
    "read-only agent",
    "never modify files",
    "never modify any file",
    "do not modify files",
    "do not modify any file",
    "do not modify any code",
    "must not modify files",
    "must not modify any file",
    "never edit files",
    "do not edit files",
    "never write or edit",
    "never change files",
    "never changes anything",
    "never change anything",
    "do not change any file",
    "do not write any file",
    "do not create or modify any",
    "modify, edit, or write to any file",
    "does not modify files",
    "without modifying files",
    "never modifies files",
    "you cannot edit code",
    "you cannot edit any file",
    "you cannot edit or create any",
    "you cannot modify any file",
    "you cannot modify files",
    "you cannot write or edit",
    "you may not edit any file",
    "no edit/write tools",
    "do not modify any code",
    "do not modify code",
    "never modify code",
    "never modify any code",
    "never touch code",
    "do not touch any code",
    "do not touch the code",
    "must not modify code",
    "must not modify any code",
    "must not change any file",
    "must not change code",
    "must not change any code",
    "do not change any code",
    "you only read",
    "you only ever read",
    "you must not create or alter files",
    "not create or alter files",
    "don't modify any file",
    "don't modify any code",
    "don't edit any file",
    "don't change any file",
    "don't change any code",
];

/// How what follows begins where only some files are meant: `Do not modify files outside of src` allows the others.
const LIMITS: &[&str] = &[
    "outside", "other", "unless", "except", "in ", "until", "without", "beyond", "not ", "that ", "under ",
    "before", "yourself", "directly",
];

/// Where a text says that nothing is to be changed, if it does.
struct Said(Option<Span>);

/// Finds the words that tell an agent to change nothing.
fn said(file: &File) -> Option<Span> {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(READ_ONLY));
    let lower = file.lower();
    if !WORDS.is_in_lower(lower) {
        return None;
    }
    READ_ONLY.iter().find_map(|words| {
        let at = lower.find(words)?;
        let rest = lower[at + words.len()..].trim_start_matches(['s', '*', ' ']);
        let limited = LIMITS.iter().any(|word| rest.starts_with(word));
        let order = ["must ", "never ", "do not ", "does not "].iter().any(|start| words.starts_with(start));
        let free = !limited && (!order || !is_of_another(before(lower, at)));
        free.then(|| Span::new(at, at + words.len()))
    })
}

/// Returns what stands before a byte in its sentence.
fn before(lower: &str, at: usize) -> &str {
    let sentence = lower[..at].rfind(['.', '\n', ':']).map_or(0, |end| end + 1);
    lower[sentence..at].trim_start()
}

/// Words that stand between who shall not do something and what it is.
const MODALS: &[&str] =
    &["must", "should", "shall", "may", "can", "could", "will", "would", "do", "does", "ca", "is", "are"];

/// Last words before an order that is for the agent itself: who it is, and what leads to another order.
const ITSELF: &[&str] = &[
    "you",
    "it",
    "agent",
    "agents",
    "subagent",
    "assistant",
    "role",
    "reviewer",
    "auditor",
    "analyst",
    "critic",
    "checker",
    "and",
    "but",
    "or",
    "so",
    "then",
    "also",
    "please",
    "that",
    "which",
    "who",
    "ever",
    "always",
];

/// Tells whether what stands before a prohibition names somebody else who shall not do it: `Replays must not ...`.
fn is_of_another(before: &str) -> bool {
    let marks = |text: &str| text.trim_end_matches(['*', '_', ' ']).len();
    let mut rest = &before[..marks(before)];
    while let Some((left, _)) = MODALS.iter().find_map(|word| {
        let left = rest.strip_suffix(word)?;
        (left.is_empty() || left.ends_with(' ')).then_some((left, word))
    }) {
        rest = left.trim_end();
    }
    let last = rest.rsplit(' ').next().unwrap_or_default();
    // A prohibition of its own, not the subject of one.
    let plain = rest.len() == before.len() && !before.ends_with(' ');
    let word = last.trim_matches(|c: char| !c.is_alphanumeric());
    !plain
        && last.ends_with(|c: char| c.is_alphanumeric() || c == '`')
        && !word.ends_with("ly")
        && !ITSELF.contains(&word)
}

/// Verbs of changes.
const CHANGES: &[&str] = &[
    "change",
    "changes",
    "changing",
    "modify",
    "modifies",
    "modifying",
    "edit",
    "edits",
    "editing",
    "touch",
    "touches",
    "touching",
    "alter",
    "write",
    "create",
    "delete",
    "update",
];

/// Finds an order to change nothing in the first words of a text, whatever verbs it is made of: `You never touch a file`.
/// Further down it may be meant for one of several steps.
fn forbids(asset: &Asset, file: &File) -> Option<Span> {
    static NO: LazyLock<Words> =
        LazyLock::new(|| Words::new(&["never ", "not ", "n't ", "cannot ", "without "]));
    let body = asset.definition.body as usize;
    let headings = asset.definition.document.headings.iter();
    let end = headings.filter(|heading| heading.level > 1).map(|heading| heading.span.start as usize).min();
    let first = file.lower().get(body..end.unwrap_or(file.text.len()))?;
    static NOTHING: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&["make no changes", "make no edits", "change nothing", "modify nothing"])
    });
    if let Some((number, at)) = NOTHING.places(first).next() {
        let len = ["make no changes", "make no edits", "change nothing", "modify nothing"][number].len();
        let rest = first[at + len..].trim_start();
        let limited = LIMITS.iter().any(|limit| rest.starts_with(limit));
        let asked = first[..at].rsplit(['.', '\n']).next().is_some_and(|before| before.contains("if "));
        if !limited && !asked {
            return Some(Span::new(body + at, body + at + len));
        }
    }
    NO.places(first).find_map(|(_, at)| {
        let sentence = first[..at].rfind(['.', '\n', ':']).map_or(0, |end| end + 1);
        let before = first[sentence..at].trim_start();
        if ["if ", "when ", "while ", "unless ", "in plan", "during "]
            .iter()
            .any(|word| before.starts_with(word))
        {
            return None;
        }
        if !first[at..].starts_with("without") && is_of_another(before) {
            return None;
        }
        let after = first[at..].find(' ').map(|space| at + space + 1)?;
        let rest = first.get(after..)?;
        let mut words =
            rest.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()).take(8);
        let mut word = words.next()?;
        if word == "ever" {
            word = words.next()?;
        }
        let mut verbs = 0;
        while CHANGES.contains(&word) || verbs > 0 && matches!(word, "or" | "and" | "nor") {
            verbs += 1;
            word = words.next()?;
        }
        while matches!(word, "a" | "an" | "any" | "the" | "source" | "project" | "of") {
            word = words.next()?;
        }
        let end = line::offset(first, word) + word.len();
        let rest = first[end..].trim_start_matches(['s', '*', ' ']);
        let all = matches!(word, "file" | "files" | "anything") && verbs > 0;
        let limited = LIMITS.iter().any(|limit| rest.starts_with(limit));
        (all && !limited).then(|| Span::new(body + at, body + end))
    })
}

/// Finds where an agent calls itself one that only reads, in its description.
fn reads_only(asset: &Asset) -> Option<Span> {
    let description = asset.definition.text("description")?;
    says_read_only(&description.text).then_some(description.span)
}

/// Tells whether a description calls an agent one that only reads.
fn says_read_only(description: &str) -> bool {
    let lower = description.to_ascii_lowercase();
    let ends = [
        "strictly read-only",
        "(read-only)",
        ", read-only.",
        ". read-only.",
        "(view only)",
        "(view-only)",
        "analysis only, no changes",
        "changes nothing",
        "without changing anything",
        "never changes anything",
        "never writes code",
        "makes no changes",
    ];
    if ends.iter().any(|end| lower.contains(end)) || lower.trim_end_matches('.').ends_with(" read-only") {
        return true;
    }
    let Some(at) = lower.find("read-only ").filter(|at| !lower[..*at].ends_with("the ")) else {
        return false;
    };
    let rest = &lower[at + "read-only ".len()..];
    let kinds = [
        "review",
        "audit",
        "agent",
        "analy",
        "explor",
        "research",
        "investigat",
        "check",
        "inspect",
        "scout",
    ];
    kinds.iter().any(|kind| rest.starts_with(kind))
}

/// Finds what tells an asset to change nothing, in any way.
fn told(asset: &Asset, file: &File) -> Option<Span> {
    said(file).or_else(|| forbids(asset, file)).or_else(|| reads_only(asset))
}

/// Tells whether an asset is told to run nothing either.
fn runs_nothing(file: &File) -> bool {
    let run = ["never run", "never execute", "do not run", "do not execute", "don't run"];
    let nothing = [" anything", " any command", " commands", " code"];
    let lower = file.lower();
    run.iter().any(|run| {
        lower
            .match_indices(run)
            .any(|(at, _)| nothing.iter().any(|what| lower[at + run.len()..].starts_with(what)))
    })
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut inherit: Vec<(&Asset, Span)> = Vec::new();
    for (_, agent) in repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home != Home::Other) {
        let file = &repository.files[agent.file];
        let restricted = ["tools", "disallowedTools", "permissionMode"];
        let every = agent.definition.items("tools").iter().any(|tool| tool.text == "*");
        let free = restricted[1..].iter().all(|key| agent.definition.field(key).is_none());
        if free && (every || agent.definition.field("tools").is_none()) {
            inherit.extend(file.made(|file| Said(said(file))).0.map(|said| (agent, said)));
        } else {
            edits(report, agent, file, "tools");
        }
    }
    // What commands and skills list is granted without a question.
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| {
        matches!(asset.kind, AssetKind::Command | AssetKind::Skill) && asset.home == Home::Claude
    }) {
        edits(report, asset, &repository.files[asset.file], "allowed-tools");
    }
    tell_inherited(report, &inherit);
    sessions(repository, report);
    unasked_sessions(repository, report);
    unasked::check(repository, report);
    unasked::of_others(repository, report);
    of_codex(repository, report);
}

/// An agent or a command whose list of tools has one that edits what others wrote.
fn edits(report: &mut Report<'_>, agent: &Asset, file: &File, key: &str) {
    let tools = agent.definition.items(key);
    // A report of its own may be written; edits are of what others wrote.
    let is_edit = |tool: &Named| matches!(&*tool.text, "Edit" | "MultiEdit" | "NotebookEdit");
    // A command that speaks of no file to write needs no tool for it.
    let writes = ["write", "save", "create", "output to", "report to"];
    let body = &file.lower()[agent.definition.body as usize..];
    let more = ["writ", "report", "document", "generat", "produc", "draft", "record", "output"];
    let quiet = |words: &[&str]| !words.iter().any(|word| body.contains(word));
    // Of an agent that can edit, that says enough.
    let idle = quiet(&writes) && (key == "allowed-tools" || quiet(&more) && !tools.iter().any(is_edit));
    let is_edit = |tool: &Named| is_edit(tool) || idle && tool.text == "Write";
    let Some(first) = tools.iter().find(|tool| is_edit(tool)) else {
        return any_shell(report, agent, file, tools.iter().filter(|_| idle));
    };
    let Some(said) = told(agent, file) else { return };
    let idle = runs_nothing(file);
    let silent = quiet(&writes);
    let is_edit = |tool: &Named| {
        is_edit(tool) || silent && tool.text == "Write" || idle && tool.text.starts_with("Bash")
    };
    let edits = names(tools.iter().filter(|tool| is_edit(tool)).map(|tool| &*tool.text));
    // Who is asked could still say no.
    let bypass = |mode: &&Named| mode.text == "bypassPermissions";
    let mode = agent.definition.text("permissionMode").filter(bypass);
    let unasked = if mode.is_some() { ", and uses them unasked" } else { "" };
    let message = format!("`{}` shall change nothing, but has {edits}{unasked}", agent.name);
    let kept: Vec<&str> = tools.iter().filter(|tool| !is_edit(tool)).map(|tool| &*tool.text).collect();
    let mut draft = report.add(agent.file, first.span, message).also(agent.file, said, "what it is told");
    if let Some(mode) = mode {
        draft = draft.also(agent.file, mode.span, "nobody is asked");
    }
    let field = agent.definition.field(key).and_then(|field| field.text.as_ref());
    if let Some(value) = field.filter(|value| !file.text[value.span.range()].starts_with(['"', '\''])) {
        draft = draft.fix(
            format!("take {edits} away"),
            FixClass::Review,
            [(agent.file, value.span, kept.join(", "))],
        );
    }
    draft.done();
}

/// A command that shall change nothing, and for which every line of shell is granted by a star.
fn any_shell<'a>(
    report: &mut Report<'_>,
    agent: &Asset,
    file: &File,
    mut tools: impl Iterator<Item = &'a Named>,
) {
    let Some(shell) = tools.find(|tool| matches!(&*tool.text, "Bash(*)" | "Bash(:*)" | "Bash")) else {
        return;
    };
    // An agent needs one to look with.
    if agent.kind == AssetKind::Agent {
        return;
    }
    let Some(said) = told(agent, file) else { return only_looks(report, agent, file, shell) };
    let message = format!("`{}` shall change nothing, but may run anything: `{}`", agent.name, shell.text);
    let hint = "name the commands that it runs, such as `Bash(git status:*)`";
    report.add(agent.file, shell.span, message).hint(hint).also(agent.file, said, "what it is told").done();
}

/// Commands that only look, as they begin.
const LOOKS: &[&str] = &[
    "git log",
    "git diff",
    "git show",
    "git status",
    "git branch --show",
    "git shortlog",
    "git blame",
    "git rev-parse",
    "git describe",
    "git ls-files",
    "gh pr view",
    "gh pr diff",
    "gh pr list",
    "gh pr checks",
    "gh issue view",
    "gh issue list",
    "gh run view",
    "gh run list",
    "kubectl get",
    "kubectl describe",
    "kubectl logs",
    "docker ps",
    "docker logs",
    "ls ",
    "cat ",
    "date",
];

/// Words of a text that has more done than what its first lines run.
const DOES: &[&str] = &[
    "run ",
    "fix",
    "commit the",
    "push",
    "create",
    "edit",
    "write",
    "test",
    "build",
    "deploy",
    "install",
    "update",
    "change",
    "delete",
    "remove",
    "add ",
    "apply",
    "execute",
    "check",
    "find",
    "search",
    "look ",
    "use ",
];

/// A command that names `Bash(*)` for a few lines that are run before it is read, all of which only look.
fn only_looks(report: &mut Report<'_>, agent: &Asset, file: &File, shell: &Named) {
    // `Bash` alone is how most write that a shell is needed.
    if shell.text == "Bash" {
        return;
    }
    let document = &agent.definition.document;
    let marks: Vec<Span> = document.marks.iter().filter(|mark| mark.code).map(|mark| mark.span).collect();
    let looks = |mark: &Span| {
        let what = file.text[mark.range()].trim_matches('`').trim();
        let joined = [" > ", ">>", "; ", "&& "].iter().any(|sign| what.contains(sign));
        let before = file.text[..mark.start as usize].ends_with('!');
        before && !joined && LOOKS.iter().any(|start| what.starts_with(start))
    };
    let mut rest = file.lower().get(agent.definition.body as usize..).unwrap_or_default().to_owned();
    for mark in &marks {
        rest = rest.replace(&file.lower()[mark.range()], "");
    }
    let alone = !marks.is_empty() && marks.iter().all(looks) && document.fences.is_empty();
    if !alone || DOES.iter().any(|word| rest.contains(word)) {
        return;
    }
    let message = format!("`{}` only looks, but may run anything: `{}`", agent.name, shell.text);
    let hint = "name the commands that it runs, such as `Bash(git log:*)`";
    report.add(agent.file, shell.span, message).confidence(Confidence::Medium).hint(hint).done();
}

/// Agents without a list of tools have all of them: one finding for all.
fn tell_inherited(report: &mut Report<'_>, agents: &[(&Asset, Span)]) {
    let Some(((first, said), rest)) = agents.split_first() else { return };
    let message = match rest.len() {
        0 if first.definition.field("tools").is_some() => {
            format!("`{}` shall change nothing, but has every tool: it asks for all of them", first.name)
        }
        0 => format!("`{}` shall change nothing, but has every tool: it lists none", first.name),
        more => format!(
            "`{}` and {more} more shall change nothing, but have every tool: they list none",
            first.name
        ),
    };
    let mut draft = report
        .add(first.file, *said, message)
        .hint("list what they need, such as `tools: Read, Grep, Glob`: what is not listed cannot be used");
    for (agent, said) in rest {
        draft = draft.also(agent.file, *said, format!("what `{}` is told", agent.name));
    }
    draft.done();
}

/// Events that anybody may bring about, with a text of their own.
const OPEN: &[&str] = &["issue_comment", "issues", "pull_request_target", "discussion", "discussion_comment"];

/// Sessions of workflows that ask nobody, and that anybody may start with a text of their own.
fn unasked_sessions(repository: &Repository, report: &mut Report<'_>) {
    for session in started(&repository.files) {
        let What::Unasked(flag) = session.what else { continue };
        let flow = repository.github.flows.iter().find(|flow| flow.file == session.file);
        let text = &repository.files[session.file].text;
        // Who may start it is asked for by their part in the project.
        let asked =
            ["author_association", "permission", "allowed_users", "github.actor ==", "sender.login =="]
                .iter()
                .any(|word| text.replace("permissions:", "").replace(flag, "").contains(word));
        let event = flow.and_then(|flow| OPEN.iter().find(|event| flow.starts(event)));
        let Some(event) = event.filter(|_| !asked) else { continue };
        let message = format!("anybody can start this session by `{event}`, and it asks nobody: `{flag}`");
        let hint = "name the tools that it needs, and let only those start it who may push";
        report.add(session.file, session.span, message).severity(Severity::High).hint(hint).done();
    }
}

/// Settings of Codex in which nothing is held back, and nobody is asked.
/// Source: <https://github.com/openai/codex/blob/main/docs/config.md>, as of 2026-08.
fn of_codex(repository: &Repository, report: &mut Report<'_>) {
    let settings = repository.files.iter().filter(|(_, file)| &*file.path == ".codex/config.toml");
    for (id, file) in settings {
        // What stands below a table is a profile, which somebody chooses.
        let mut top = file.text.lines().take_while(|line| !line.trim_start().starts_with('['));
        let is = |line: &str, key: &str, value: &str| {
            line.split_once('=').is_some_and(|(own, given)| {
                let given = given.split('#').next().unwrap_or_default();
                own.trim() == key && given.trim().trim_matches(['"', '\'']) == value
            })
        };
        let never = file.text.lines().any(|line| is(line, "approval_policy", "never"));
        let Some(line) = top.find(|line| is(line, "sandbox_mode", "danger-full-access")).filter(|_| never)
        else {
            continue;
        };
        let at = line::offset(&file.text, line);
        let message =
            "everyone who trusts this repository runs every command unasked, and outside of the sandbox";
        let hint = "write `workspace-write`; whoever wants more can set it in a file of their own";
        let span = Span::new(at, at + line.trim_end().len());
        let draft = report.add(id, span, message).severity(Severity::High).hint(hint);
        // What the instructions beside it tell everyone of is known.
        let told = repository.files.find("AGENTS.md").and_then(|id| {
            let mut lines = repository.files[id].text.lines();
            lines.find(|line| line.contains("danger-full-access"))
        });
        match told {
            Some(line) => draft.explained(line.trim_start_matches(['-', '*', ' '])).done(),
            None => draft.done(),
        }
    }
}

/// Tells whether a permission grants what destroys, or takes over, whatever it is given.
fn destroys(tool: &str) -> bool {
    let inner = tool.strip_prefix("Bash(").and_then(|rest| rest.strip_suffix(')')).unwrap_or_default();
    matches!(inner, "rm:*" | "rm *" | "rm -rf:*" | "rm -rf *" | "rm -r:*" | "sudo:*" | "sudo *" | "eval:*")
}

/// Settings under which nobody is asked.
fn sessions(repository: &Repository, report: &mut Report<'_>) {
    for file in repository.agents.hooks.iter().filter(|file| !file.hooks.denies_commands) {
        let shared = repository.files[file.file].path.ends_with(".claude/settings.json");
        let every = |tool: &&Named| matches!(&*tool.text, "Bash" | "Bash(*)" | "Bash(:*)");
        if let Some(tool) = file.hooks.allow.iter().find(every).filter(|_| shared) {
            let message =
                format!("everyone who opens this repository runs every command unasked: `{}`", tool.text);
            let hint = "name the commands, such as `Bash(npm test:*)`, or deny those that do harm";
            report.add(file.file, tool.span, message).hint(hint).done();
        } else if let Some(tool) =
            file.hooks.allow.iter().find(|tool| destroys(&tool.text)).filter(|_| shared)
        {
            let message =
                format!("everyone who opens this repository runs `{}` unasked, on any path", tool.text);
            let hint = "leave it to be asked for, or name what it may touch";
            report.add(file.file, tool.span, message).hint(hint).done();
        }
    }
    for file in &repository.agents.hooks {
        let Some(mode) = file.hooks.mode.as_ref().filter(|mode| mode.text == "bypassPermissions") else {
            continue;
        };
        if !file.hooks.denies_commands {
            let message = "everyone who opens this repository runs every tool without being asked";
            let hint = "drop `defaultMode` here; whoever wants it can set it in settings.local.json";
            report.add(file.file, mode.span, message).severity(Severity::High).hint(hint).done();
        }
    }
}
