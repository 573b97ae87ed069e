//! `gate-hook-fails-open`: a hook that shall block lets everything pass when it fails, or never runs.

use std::collections::BTreeSet;

use kapell_spec::{
    claude::{
        definition::Named,
        hooks::{self, Hook},
    },
    finding::Span,
};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home, HookFile},
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "gate-hook-fails-open",
    summary: "a hook that shall block lets everything pass when it fails, or never runs",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/gate-hook-fails-open.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut scripts = BTreeSet::new();
    for file in &repository.agents.hooks {
        for hook in &file.hooks.hooks {
            if let Some((why, hint)) = open(hook) {
                let at = hook.text.as_ref().map_or(hook.span, |text| text.span);
                report.add(file.file, at, why).hint(hint).done();
            } else if let Some(matcher) = hook.matcher.as_ref().filter(|matcher| is_permission(&matcher.text))
            {
                unmatched(report, file, hook, matcher);
            } else {
                script(repository, file, hook, &mut scripts, report);
            }
        }
        for lost in &file.hooks.lost {
            report
                .add(file.file, lost.span, format!("this {} hook never runs: {}", lost.event, lost.why))
                .done();
        }
    }
    for (id, file) in repository.files.iter().filter(|(_, file)| is_unread(&file.path)) {
        unread(repository, report, id, &file.text);
    }
    let kinds = [AssetKind::Command, AssetKind::Skill];
    for (_, asset) in repository
        .agents
        .iter()
        .filter(|(_, asset)| kinds.contains(&asset.kind) && asset.home == Home::Claude)
    {
        installed(repository, report, asset);
    }
}

/// Tells whether a file lies beside the settings and is called like the file of a plugin: its client looks for hooks in
/// the settings alone.
fn is_unread(path: &str) -> bool {
    path == ".claude/hooks.json" || path.ends_with("/.claude/hooks.json")
}

/// Hooks in a file that nobody reads, and that the settings do not have too.
fn unread(repository: &Repository, report: &mut Report<'_>, id: FileId, text: &str) {
    let (found, findings) = hooks::read(text);
    if findings.iter().any(|finding| finding.is_error()) {
        return;
    }
    let in_force = |command: &str| {
        let all = repository.agents.hooks.iter().flat_map(|file| &file.hooks.hooks);
        all.filter_map(|hook| hook.text.as_ref()).any(|text| text.text == command)
    };
    let lost = |hook: &&Hook| !hook.text.as_ref().is_some_and(|text| in_force(&text.text));
    let gate = found.hooks.iter().filter(lost).find(|hook| hook.event.text == "PreToolUse");
    let Some(hook) = gate.or_else(|| found.hooks.iter().find(lost)) else { return };
    let message = format!(
        "this {} hook never runs: nobody reads `.claude/hooks.json`, which only plugins have as `hooks/hooks.json`",
        hook.event.text
    );
    let severity = if gate.is_some() { Severity::High } else { Severity::Medium };
    let span = hook.text.as_ref().map_or(hook.span, |text| text.span);
    report.add(id, span, message).severity(severity).hint("move `hooks` into `.claude/settings.json`").done();
}

/// Tells whether a matcher is written like a permission, `Bash(git push *)`: it is compared with names of tools, and no tool
/// is called so. A group of an expression, `Edit(or)?`, stands for something else.
fn is_permission(matcher: &str) -> bool {
    let Some((tool, rest)) = matcher.split_once('(') else { return false };
    let Some(inner) = rest.strip_suffix(')') else { return false };
    !tool.is_empty()
        && tool.chars().all(|c| c.is_ascii_alphabetic())
        && !inner.contains(['|', '(', ')', '?', '['])
        && inner.contains([' ', ':', '*', '/', '.'])
}

/// A hook whose matcher matches nothing.
fn unmatched(report: &mut Report<'_>, file: &HookFile, hook: &Hook, matcher: &Named) {
    let tool = matcher.text.split('(').next().unwrap_or_default();
    let message = format!(
        "this {} hook never runs: no tool is called `{}`, and a matcher is compared with nothing but the name",
        hook.event.text, matcher.text
    );
    let hint = format!("match `{tool}`, and give the hook `\"if\": \"{}\"`", matcher.text);
    let severity = if hook.event.text == "PreToolUse" { Severity::High } else { Severity::Medium };
    report.add(file.file, matcher.span, message).severity(severity).hint(hint).done();
}

/// Words with which a script says no.
const REFUSALS: &[&str] = &["block", "denied", "deny", "forbid", "not allowed", "refus", "never ", "reject"];

/// A script of the repository that ends with 1 where it says no. Only 2, or a decision in JSON, is heard.
fn script(
    repository: &Repository,
    from: &HookFile,
    hook: &Hook,
    judged: &mut BTreeSet<FileId>,
    report: &mut Report<'_>,
) {
    let Some(command) =
        hook.text.as_ref().filter(|_| hook.event.text == "PreToolUse" && hook.kind == "command")
    else {
        return;
    };
    let Some(file) = script_of(repository, from, &command.text) else { return };
    // One script is often started for several tools.
    if !judged.insert(file) {
        return;
    }
    let text = &repository.files[file].text;
    let lower = text.to_ascii_lowercase();
    if let Some((span, why, hint)) = unheard(text, &lower) {
        report
            .add(file, span, why)
            .also(from.file, command.span, "started here before a tool is used")
            .hint(hint)
            .done();
        return;
    }
    let heard = ["exit 2", "exit(2)", "permissiondecision", "\"decision\"", "'decision'", "exitcode = 2"];
    if heard.iter().any(|word| lower.contains(word)) {
        if let Some((span, why, hint)) = swallows(&repository.files[file].path, &lower) {
            report
                .add(file, span, why)
                .severity(Severity::Low)
                .confidence(Confidence::Medium)
                .also(from.file, command.span, "started here before a tool is used")
                .hint(hint)
                .done();
        }
        return;
    }
    let mut at = 0;
    let mut before = ["", "", ""];
    for line in lower.split_inclusive('\n') {
        let ends = ["exit 1", "exit(1)"].iter().find_map(|end| Some((line.find(end)?, end.len())));
        let says = |line: &str| REFUSALS.iter().any(|word| line.contains(word));
        if let Some((offset, len)) = ends.filter(|_| says(line) || before.iter().any(|line| says(line))) {
            let span = Span::new(at + offset, at + offset + len);
            report
                .add(file, span, "this gate ends with 1, which does not block; only 2 does")
                .also(from.file, command.span, "started here before a tool is used")
                .hint("end with 2, and say why on standard error")
                .done();
            return;
        }
        before = [before[1], before[2], line];
        at += line.len();
    }
}

/// Words of an author who wants a gate that fails to let everything pass.
const MEANT: &[&str] = &[
    "fail open",
    "fail-open",
    "failopen",
    "never block",
    "not block",
    "n't block",
    "fail safe",
    "fail-safe",
    "gracefully",
];

/// Finds where a gate that can say no says yes because it could not judge: a program is missing, or it failed itself.
fn swallows(path: &str, lower: &str) -> Option<(Span, &'static str, &'static str)> {
    if MEANT.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let mut at = 0;
    let lines: Vec<(usize, &str)> = lower
        .split_inclusive('\n')
        .map(|line| {
            at += line.len();
            (at - line.len(), line)
        })
        .collect();
    let passes = |line: &str| {
        ["exit 0", "exit(0)", "exitcode = 0"].iter().any(|end| line.contains(end))
            || ["return 0", "return"].contains(&line.trim())
    };
    let script = path.rsplit('.').next().unwrap_or_default();
    let python = script == "py";
    let javascript = ["js", "mjs", "cjs", "ts"].contains(&script);
    for (number, &(start, line)) in lines.iter().enumerate() {
        let next = lines.iter().skip(number + 1).take(2).map(|(_, line)| *line);
        let code = line.trim_start();
        let missing = code.contains("command -v ") || code.contains("which ") && code.contains("exit 0");
        let (found, why) = if !python && !javascript {
            let within = missing
                && (passes(code)
                    || code.starts_with("if !") && next.take_while(|line| line.trim() != "fi").any(passes));
            (within, "this gate lets everything pass where a program that it needs is missing")
        } else {
            let caught = python && code.starts_with("except") || javascript && code.contains("catch");
            let within = caught && (passes(code) || next.into_iter().any(passes));
            (within, "this gate lets everything pass when it fails itself, or cannot read what it is given")
        };
        if found && !code.starts_with(['#', '/']) {
            let start = start + (line.len() - code.len());
            return Some((
                Span::new(start, start + code.trim_end().len()),
                why,
                "end with 2 there, and say why on standard error",
            ));
        }
    }
    None
}

/// Finds a decision that its client cannot read, so that the tool runs: where it stands, why, and what would be read.
fn unheard(text: &str, lower: &str) -> Option<(Span, &'static str, &'static str)> {
    if let Some(span) = never_set(lower) {
        let why = "this gate reads a variable that is never set: what a tool is given comes as JSON on standard input";
        return Some((span, why, "read it with `jq` from standard input"));
    }
    let key = "permissiondecision\"";
    let at = lower.find(key)?;
    let span = Span::new(at, at + key.len() - 1);
    let hint = "write `{\"hookSpecificOutput\": {\"hookEventName\": \"PreToolUse\", ..}}`";
    if !lower.contains("hookspecificoutput") {
        let why = "this decision is not read: it does not stand in `hookSpecificOutput`, and the tool runs";
        return Some((span, why, hint));
    }
    let ends_two = ["exit 2", "exit(2)", "exitcode = 2"].iter().any(|end| lower.contains(end));
    if !lower.contains("hookeventname") && !ends_two {
        let why = "this decision is not read: it does not say its `hookEventName`, and the tool runs";
        return Some((span, why, hint));
    }
    let broken = printed(text).find(|document| {
        text[document.clone()].contains("ermissionDecision") && breaks_in_string(&text[document.clone()])
    })?;
    let found = broken.start + text[broken.clone()].find("ermissionDecision")?;
    let span = Span::new(found - 1, found + "ermissionDecision".len());
    let why = "this decision is no JSON, for a line ends within a text: it is not read, and the tool runs";
    Some((span, why, "write `\\n` instead of the end of a line, or make it with `jq -n`"))
}

/// Variables that its client does not set, as a shell reads them.
const NEVER_SET: &[&str] = &[
    "$tool_input",
    "${tool_input",
    "$tool_name",
    "${tool_name",
    "$claude_tool_input",
    "${claude_tool_input",
    "$claude_tool_name",
    "${claude_tool_name",
    "$claude_file_path",
    "${claude_file_path",
    "environ.get(\"claude_tool_",
    "environ[\"claude_tool_",
    "environ.get('claude_tool_",
    "environ['claude_tool_",
    "getenv(\"claude_tool_",
    "getenv('claude_tool_",
    "environ.get(\"tool_input",
    "environ.get('tool_input",
    "process.env.claude_tool_",
    "process.env.claude_file_path",
    "process.env.tool_input",
];

/// Finds a variable that nobody sets, in a shell script that takes nothing in and sets no such variable itself.
fn never_set(lower: &str) -> Option<Span> {
    let (at, word) = NEVER_SET.iter().filter_map(|word| Some((lower.find(word)?, word))).min()?;
    let name = word.trim_start_matches(['$', '{']);
    let takes = ["$(cat", "/dev/stdin", "stdin", "read ", "<&0", "cat |", "`cat`", "jq "];
    // `X="${X:-}"` gives what was there.
    let set = lower.match_indices(&format!("{name}=")).any(|(from, _)| {
        let value = lower[from + name.len() + 1..].lines().next().unwrap_or_default();
        !NEVER_SET.iter().any(|word| value.contains(word))
    });
    let line = lower[at..].lines().next().unwrap_or_default().len().min(word.len());
    (!set && !takes.iter().any(|take| lower.contains(take))).then(|| Span::new(at, at + line))
}

/// Finds what a shell script prints word for word over several lines: the documents of `<<EOF`.
fn printed(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    text.match_indices("<<").filter_map(|(at, _)| {
        let rest = text[at + 2..].trim_start_matches(['-', ' ']);
        let (first, body) = rest.split_once('\n')?;
        let word = first.split([' ', ')', ';', '|', '&', '>']).next()?.trim_matches(['\'', '"']);
        let start = text.len() - body.len();
        let len =
            body.split_inclusive('\n').take_while(|line| line.trim() != word).map(str::len).sum::<usize>();
        (!word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
            .then_some(start..start + len)
    })
}

/// Tells whether a line ends within a text between quotes. What the shell puts in stands for itself.
fn breaks_in_string(json: &str) -> bool {
    // What a command puts in may hold anything.
    if json.contains(['`']) || json.contains("$(") {
        return false;
    }
    let (mut inside, mut escaped) = (false, false);
    for character in json.trim_end().chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => inside = !inside,
            '\n' if inside => return true,
            _ => {}
        }
    }
    false
}

/// Finds the script that a command starts, by its path from the top or from the plugin.
fn script_of(repository: &Repository, from: &HookFile, command: &str) -> Option<FileId> {
    let words = command.split([' ', '"', '\'']).filter(|word| !word.is_empty());
    let scripts = words.filter(|word| {
        [".sh", ".bash", ".py", ".js", ".mjs", ".cjs", ".ts", ".rb"].iter().any(|end| word.ends_with(end))
    });
    let path = scripts.into_iter().next()?.trim_start_matches("./");
    // `"$CLAUDE_PROJECT_DIR"/.claude/x.sh` comes apart at its quotes.
    let rest = match path.strip_prefix('$') {
        Some(variable) => variable.split_once('/')?.1,
        None => path.trim_start_matches('/'),
    };
    let plugin = repository.files[from.file].path.strip_suffix("hooks/hooks.json").unwrap_or_default();
    repository.files.find(rest).or_else(|| repository.files.find(&format!("{plugin}{rest}")))
}

/// Hooks that a command tells to install.
fn installed(repository: &Repository, report: &mut Report<'_>, asset: &Asset) {
    let text = &repository.files[asset.file].text;
    for fence in asset.definition.document.fences.iter().filter(|fence| fence.info.starts_with("json")) {
        let block = &text[fence.span.range()];
        if !block.contains("ToolUse\"") {
            continue;
        }
        let Some((_, rest)) = block.split_once('\n') else { continue };
        let start = fence.span.end as usize - rest.len();
        let body = rest.rsplit_once("```").map_or(rest, |(body, _)| body);
        let (hooks, findings) = hooks::read(body);
        if findings.iter().any(|finding| finding.is_error()) {
            continue;
        }
        for lost in hooks.lost {
            let span = Span::new(start + lost.span.start as usize, start + lost.span.end as usize);
            let message = format!("the {} hook that this installs never runs: {}", lost.event, lost.why);
            report.add(asset.file, span, message).hint("write `\"hooks\": [ { .. } ]`").done();
        }
    }
}

/// Words of commands that judge whether a tool may run.
const JUDGES: &[&str] = &[
    "evaluate",
    "policy",
    "guard",
    "block",
    "deny",
    "forbid",
    "protect",
    "approve",
    "exit 2",
    "\"decision\"",
    "permissiondecision",
];

/// Says why a gate does not hold, and what would.
pub(super) fn open(hook: &Hook) -> Option<(String, &'static str)> {
    let command = hook.text.as_ref().filter(|_| hook.event.text == "PreToolUse" && hook.kind == "command")?;
    let text = command.text.to_ascii_lowercase();
    if !JUDGES.iter().any(|word| text.contains(word)) {
        return None;
    }
    if text.contains("fail-open")
        || text.contains("--fail-on-missing-policy false")
        || text.contains("--fail-on-missing-policy=false")
    {
        return Some((
            "this gate lets everything pass when its policy is missing".to_owned(),
            "fail closed: exit with 2 when the policy is not there",
        ));
    }
    if ["|| true", "|| exit 0", "|| :"].iter().any(|end| text.trim_end().ends_with(end)) {
        return Some((
            "this gate passes whatever it finds: its failure is swallowed".to_owned(),
            "let the command's own exit code through, and exit with 2 to block",
        ));
    }
    if hook.is_async {
        return Some(("nobody waits for this gate: `async` hooks cannot block".to_owned(), "drop `async`"));
    }
    if NEVER_SET.iter().any(|word| text.contains(word)) {
        return Some(("this gate reads a variable that is never set: what a tool is given comes as JSON on standard input".to_owned(), "read it with `jq` from standard input"));
    }
    let ends_fine = ["; exit 0", "; true", "; :"].iter().any(|end| text.trim_end().ends_with(end));
    if ends_fine && !text.contains("exit 2") && !text.contains("decision") {
        return Some((
            "this gate passes whatever it finds: the last thing that it does is to succeed".to_owned(),
            "let the command's own exit code through, and exit with 2 to block",
        ));
    }
    let ends_one = text.contains("exit 1") && !text.contains("exit 2");
    ends_one
        .then(|| ("this gate ends with 1, which does not block; only 2 does".to_owned(), "write `exit 2`"))
}
