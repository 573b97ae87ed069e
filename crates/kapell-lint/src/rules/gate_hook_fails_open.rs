//! `gate-hook-fails-open`: a hook that shall block lets everything pass when it fails, or never runs.

mod of_clients; // gates of other clients
mod piped; // ends with 2 that stand behind a pipe
mod script; // what a script of the repository does

use std::collections::BTreeSet;

use kapell_spec::{
    claude::{
        definition::Named,
        hooks::{self, Hook},
        tables,
    },
    finding::Span,
    suggest,
};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home, HookFile, clients::Client},
    files::{FileId, is_script},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    rules::hook_fan_out,
};

/// See `docs/rules/gate-hook-fails-open.md`.
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
    let (mut scripts, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for file in &repository.agents.hooks {
        for hook in &file.hooks.hooks {
            if let Some((why, hint)) = open(hook).or_else(|| script::unheard_of(repository, file, hook)) {
                let at = hook.text.as_ref().map_or(hook.span, |text| text.span);
                // What cannot say no is not heard, and lets nothing through.
                let blocks = script::GATES.contains(&&*hook.event.text);
                let severity = if blocks { RULE.severity } else { Severity::Medium };
                report.add(file.file, at, why).severity(severity).hint(hint).done();
            } else if let Some(matcher) = hook.matcher.as_ref().filter(|matcher| is_permission(&matcher.text))
            {
                unmatched(report, file, hook, matcher);
            } else if let Some(matcher) = hook.matcher.as_ref().filter(|matcher| is_in_small(&matcher.text)) {
                misspelt(report, file, hook, matcher);
            } else if let Some((seconds, span, suite)) = cut_short(repository, file, hook) {
                let why = format!(
                    "this gate is given {seconds} s for `{suite}`: one that is not done by then lets everything pass"
                );
                let hint = "give it as long as that takes";
                report.add(file.file, span, why).confidence(Confidence::Medium).hint(hint).done();
            } else {
                script::judge(repository, (file.file, Client::Claude), hook, &mut scripts, report);
            }
        }
        // A plugin may have hooks for other clients, too, whose events have other names.
        let own = repository.files[file.file].path.contains(".claude/")
            || file.hooks.hooks.iter().any(|hook| tables::HOOK_EVENTS.contains(&&*hook.event.text));
        let events = file.hooks.hooks.iter().map(|hook| &hook.event);
        for event in events.filter(|event| own && is_no_event(event)) {
            told_once(&mut unknown, report, file, event);
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
    of_clients::check(repository, &mut scripts, report);
    let kinds = [AssetKind::Command, AssetKind::Skill];
    for (_, asset) in repository
        .agents
        .iter()
        .filter(|(_, asset)| kinds.contains(&asset.kind) && asset.home == Home::Claude)
    {
        installed(repository, report, asset);
    }
}

/// What a whole suite or build takes at least, in seconds, as most of them are.
const SUITE_SECONDS: u64 = 15;

/// What takes at least twice as long, in seconds: builds that start a machine of their own and compile before they test, and
/// what takes minutes by the script's own word.
const BUILD_SECONDS: u64 = 30;

/// Programs whose builds and suites take that long, and what they are then asked for.
const BUILDERS: &[&str] = &["mvn ", "mvnw ", "gradlew ", "gradle ", "sbt ", "bazel ", "dotnet "];
const WHOLE: &[&str] = &["verify", "test", "build", "check", "install", "package"];

/// Tells whether a command is a build that is slow even where little has changed.
fn is_slow(command: &str) -> bool {
    let builds = BUILDERS.iter().any(|builder| hook_fan_out::starts(command, builder));
    builds && command.split([' ', ';', ')']).any(|word| WHOLE.contains(&word))
}

/// Tells whether a comment of a script says that what it does takes minutes.
fn takes_minutes(text: &str) -> bool {
    let comments = text.lines().map(str::trim_start).filter(|line| line.starts_with(['#', '/']));
    comments.map(str::to_ascii_lowercase).any(|line| {
        line.contains("minutes")
            && ["about", "takes", "needs", "several", "some "].iter().any(|word| line.contains(word))
    })
}

/// Returns the seconds that a line gives to a command, and the command: `timeout 180 gitleaks detect`, `timeout 3m make`.
fn bounded(line: &str) -> Option<(u64, &str)> {
    let mut rest = line.strip_prefix("timeout ")?.trim_start();
    while let Some((flag, tail)) = rest.split_once(' ').filter(|(flag, _)| flag.starts_with('-')) {
        let takes_value = matches!(flag, "-k" | "--kill-after" | "-s" | "--signal");
        rest = if takes_value { tail.split_once(' ')?.1 } else { tail };
    }
    let (time, command) = rest.split_once(' ')?;
    let (number, unit) = time.split_at(time.find(|c: char| !c.is_ascii_digit()).unwrap_or(time.len()));
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some((number.parse::<u64>().ok()?.checked_mul(unit)?, command))
}

/// Finds a gate that has to wait for a whole suite or build, or for what it gives more time itself, and is given less.
fn cut_short<'a>(
    repository: &'a Repository,
    file: &HookFile,
    hook: &'a Hook,
) -> Option<(u64, Span, &'a str)> {
    let (seconds, span) = hook.timeout?;
    let command = hook.text.as_ref().filter(|_| hook.kind == "command" && hook.event.text == "PreToolUse")?;
    let script = script_of(repository, file.file, &command.text).map(|id| &*repository.files[id].text);
    let text = script.unwrap_or(&command.text);
    let blocks = ["exit 2", "exit(2)", "sys.exit(2"].iter().any(|end| text.contains(end));
    let run = |line: &'a str| -> Option<&'a str> {
        let line = line.trim_start().trim_start_matches("if ").trim_start_matches("! ");
        if line.starts_with('#') {
            return None;
        }
        let line = line.split_once("$(").map_or(line, |(_, inner)| inner);
        let (given, command) = bounded(line).map_or((None, line), |(given, command)| (Some(given), command));
        if given.is_some_and(|given| given > seconds) {
            return Some(line.split([';', '|', ')', '>']).next().unwrap_or(line).trim());
        }
        let slow = || is_slow(command) || takes_minutes(text);
        let short = seconds <= SUITE_SECONDS || seconds <= BUILD_SECONDS && slow();
        // A pause says itself how long it is.
        let paused = hook_fan_out::paused(command).is_some_and(|pause| pause >= seconds as f32);
        let suite =
            || hook_fan_out::SUITES.iter().copied().find(|suite| hook_fan_out::starts(command, suite));
        if paused { Some("sleep") } else { suite().filter(|_| short) }
    };
    let suite = text.lines().find_map(run).filter(|_| blocks)?;
    Some((seconds, span, suite.trim()))
}

/// Tells whether an event is one that no client has, and so near to one of them that it is meant.
fn is_no_event(event: &Named) -> bool {
    !tables::HOOK_EVENTS.contains(&&*event.text) && meant(&event.text).is_some()
}

/// Finds the event that is meant by a name that is none: in another case, cut short, or written wrong.
fn meant(name: &str) -> Option<&'static str> {
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let own = plain(name);
    let same = tables::HOOK_EVENTS.iter().copied().find(|event| plain(event) == own);
    let short = || match &*own {
        "pretool" | "beforetool" | "beforetooluse" | "pretoolcall" => Some("PreToolUse"),
        "posttool" | "aftertool" | "aftertooluse" | "posttoolcall" => Some("PostToolUse"),
        _ => None,
    };
    same.or_else(short).or_else(|| suggest::mistyped(name, tables::HOOK_EVENTS.iter().copied(), 2))
}

/// Tells of an event that is none, once for each place.
fn told_once(told: &mut BTreeSet<(FileId, u32)>, report: &mut Report<'_>, file: &HookFile, event: &Named) {
    if !told.insert((file.file, event.span.start)) {
        return;
    }
    let right = meant(&event.text).unwrap_or("PreToolUse");
    let message = format!("these hooks never run: no event is called `{}`", event.text);
    let severity = if right == "PreToolUse" { Severity::High } else { Severity::Medium };
    report.add(file.file, event.span, message).severity(severity).hint(format!("write `{right}`")).done();
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
    // `Agent(deployer)`: no tool's name goes on so.
    let of_agent =
        ["Agent", "Task", "Skill"].contains(&tool) && inner.starts_with(|c: char| c.is_ascii_lowercase());
    !tool.is_empty()
        && tool.chars().all(|c| c.is_ascii_alphabetic())
        && !inner.contains(['|', '(', ')', '?', '['])
        && (of_agent || inner.contains([' ', ':', '*', '/', '.']))
}

/// The tools of its client whose names begin in large letters, as of Claude Code 2.1.
const TOOLS: &[&str] = &[
    "Bash",
    "Edit",
    "MultiEdit",
    "Write",
    "Read",
    "Glob",
    "Grep",
    "WebFetch",
    "WebSearch",
    "NotebookEdit",
    "TodoWrite",
    "Task",
    "Agent",
];

/// Tells whether a matcher names tools, and each of them in small letters: names are compared with their case.
fn is_in_small(matcher: &str) -> bool {
    let small = |name: &str| TOOLS.iter().any(|tool| *tool != name && tool.eq_ignore_ascii_case(name));
    matcher.split('|').all(|name| small(name.trim()))
}

/// A hook whose matcher names tools in another case.
fn misspelt(report: &mut Report<'_>, file: &HookFile, hook: &Hook, matcher: &Named) {
    if !hook.event.text.ends_with("ToolUse") {
        return;
    }
    let right: Vec<&str> = matcher
        .text
        .split('|')
        .filter_map(|name| TOOLS.iter().find(|tool| tool.eq_ignore_ascii_case(name.trim())).copied())
        .collect();
    let message = format!(
        "this {} hook never runs: names of tools are compared with their case, and none is called `{}`",
        hook.event.text, matcher.text
    );
    let severity = if hook.event.text == "PreToolUse" { Severity::High } else { Severity::Medium };
    let hint = format!("match `{}`", right.join("|"));
    report.add(file.file, matcher.span, message).severity(severity).hint(hint).done();
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

/// Finds a decision that its client cannot read, so that the tool runs: where it stands, why, and what would be read.
fn unheard(text: &str, lower: &str) -> Option<(Span, &'static str, &'static str)> {
    if let Some(span) = never_set(lower) {
        let why = "this gate reads a variable that is never set: what a tool is given comes as JSON on standard input";
        return Some((span, why, "read it with `jq` from standard input"));
    }
    if let Some(span) = strange_decision(lower) {
        let why = "this decision is not known, and the tool runs: a gate answers `deny`, `ask` or `allow`";
        return Some((span, why, "write `\"permissionDecision\": \"deny\"` in `hookSpecificOutput`"));
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
    if !ends_two && !lower.contains("return 2") && is_complaint(lower) {
        let why = "this decision is not read: it goes to standard error, and the tool runs";
        return Some((span, why, "print it to standard output"));
    }
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

/// Tells whether each decision of a script is printed where only people read it: `print(json.dumps(..), file=sys.stderr)`.
fn is_complaint(lower: &str) -> bool {
    let mut places = lower.match_indices("permissiondecision\"").map(|(at, _)| at).peekable();
    places.peek().is_some() && places.all(|at| goes_to_error(lower, at))
}

/// Tells whether what stands at a place is part of what is printed to standard error.
fn goes_to_error(lower: &str, at: usize) -> bool {
    let start = ["print(", "console.error(", "console.log(", "stderr.write(", "stdout.write("]
        .iter()
        .filter_map(|call| Some(lower[..at].rfind(call)? + call.len()))
        .max();
    let Some(start) = start else { return false };
    let mut depth = 1_i32;
    let end = lower[start..].char_indices().find(|(_, c)| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        depth == 0
    });
    let Some(end) = end.map(|(end, _)| start + end).filter(|end| *end > at) else { return false };
    lower[..start].ends_with("console.error(")
        || lower[..start].ends_with("stderr.write(")
        || lower[start..end].contains("file=sys.stderr")
}

/// Finds a decision of a word that its client does not know: `decision` is `block` or `approve`, `permissionDecision` is
/// `deny`, `ask` or `allow`. Where the script also ends with 2, that is heard.
fn strange_decision(lower: &str) -> Option<Span> {
    if ["exit 2", "exit(2)", "exitcode = 2", "return 2"].iter().any(|end| lower.contains(end)) {
        return None;
    }
    let value = |at: usize, len: usize| {
        let rest = lower[at + len..].trim_start_matches(['"', '\'', '\\']).trim_start();
        let rest = rest.strip_prefix(':')?.trim_start().trim_start_matches('\\');
        let word = rest.strip_prefix(['"', '\''])?;
        Some(&word[..word.find(|c: char| !c.is_ascii_alphabetic())?])
    };
    let refuses =
        |word: &str| matches!(word, "deny" | "denied" | "reject" | "rejected" | "refuse" | "forbid");
    let key = "decision";
    let mut found = lower.match_indices(key).filter(|(at, _)| {
        let permission = lower[..*at].ends_with("permission");
        let Some(word) = value(*at, key.len()) else { return false };
        if permission {
            matches!(word, "block" | "blocked" | "denied" | "reject" | "rejected" | "refuse" | "forbid")
        } else {
            refuses(word) && !lower[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        }
    });
    if let Some((at, _)) = found.next() {
        return Some(Span::new(at, at + key.len()));
    }
    let key = "permission\"";
    let mut bare = lower
        .match_indices(key)
        .filter(|(at, _)| !lower.contains("decision") && value(*at, key.len() - 1).is_some_and(refuses));
    bare.next().map(|(at, _)| Span::new(at, at + key.len() - 1))
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
pub(super) fn script_of(repository: &Repository, from: FileId, command: &str) -> Option<FileId> {
    let words = command.split([' ', '"', '\'', ';', '&', '|']).filter(|word| !word.is_empty());
    let scripts = words.clone().filter(|word| is_script(word) || word.ends_with(".go"));
    // A program without an ending lies among the hooks, and one in Go is run from its folder.
    let bare = words.clone().filter(|word| word.contains("hooks/"));
    let mut rest = words.skip_while(|word| *word != "go").skip(1);
    let of_go = rest.next().filter(|word| *word == "run").and(rest.next());
    if let Some(folder) = of_go.filter(|folder| !folder.ends_with(".go")) {
        return repository.files.find(&format!("{}/main.go", folder.trim_start_matches("./")));
    }
    let scripts = scripts.chain(bare);
    let path = scripts.into_iter().next()?.trim_start_matches("./");
    // `"$CLAUDE_PROJECT_DIR"/.claude/x.sh` comes apart at its quotes.
    let rest = match path.strip_prefix('$') {
        Some(variable) => variable.split_once('/')?.1,
        None => path.trim_start_matches('/'),
    };
    let plugin = repository.files[from].path.strip_suffix("hooks/hooks.json").unwrap_or_default();
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

/// Says how what a gate answers gets lost on its way.
fn swallowed(text: &str, is_async: bool) -> Option<(String, &'static str)> {
    let text = text.trim_end().trim_end_matches(';').trim_end();
    let last = text.rsplit("||").next().filter(|_| text.contains("||")).unwrap_or_default().trim();
    if matches!(last, "true" | "exit 0" | ":" | "/bin/true" | "return 0") || last.starts_with("echo ") {
        return Some((
            "this gate passes whatever it finds: its failure is swallowed".to_owned(),
            "let the command's own exit code through, and exit with 2 to block",
        ));
    }
    let last = text.rsplit_once(';').map_or("", |(_, last)| last.trim());
    let ends_fine = matches!(last, "exit 0" | "true" | ":")
        || ["echo ", "printf "].iter().any(|word| last.starts_with(word)) && !text.contains("$?");
    if ends_fine && !text.contains("exit 2") && !text.contains("decision") {
        return Some((
            "this gate passes whatever it finds: the last thing that it does is to succeed".to_owned(),
            "let the command's own exit code through, and exit with 2 to block",
        ));
    }
    let pipes = text.replace("||", "  ");
    let reader = pipes.rsplit('|').next().filter(|_| pipes.contains('|')).unwrap_or_default();
    let program = reader.split_whitespace().next().unwrap_or_default();
    if matches!(program, "tee" | "logger" | "cat" | "ts") && !text.contains("pipefail") {
        return Some((
            format!("this gate passes whatever it finds: its exit code is that of `{program}`"),
            "let the gate stand last, or write `set -o pipefail;` before it",
        ));
    }
    let behind = text.ends_with('&') && !text.ends_with("&&");
    (is_async || behind).then(|| {
        if behind {
            ("nobody waits for this gate: it runs behind `&`".to_owned(), "drop the `&`")
        } else {
            ("nobody waits for this gate: `async` hooks cannot block".to_owned(), "drop `async`")
        }
    })
}

/// Says why a gate does not hold, and what would.
pub(super) fn open(hook: &Hook) -> Option<(String, &'static str)> {
    if let Some(why) = piped::never_comes(hook) {
        return Some((why, "let the gate stand last, or write `set -o pipefail;` before it"));
    }
    // Who writes an end with 1 by hand wants it to be heard.
    if let Some(command) = hook.text.as_ref().filter(|_| script::GATES.contains(&&*hook.event.text)) {
        let text = command.text.trim_end();
        if hook.kind == "command" && text.ends_with("|| exit 1") && !text.contains("exit 2") {
            let why = "this gate ends with 1, which does not block; only 2 does".to_owned();
            return Some((why, "write `exit 2`"));
        }
    }
    let command = hook.text.as_ref().filter(|_| hook.event.text == "PreToolUse" && hook.kind == "command")?;
    let text = command.text.to_ascii_lowercase();
    // What looks at its input and complains is a gate, in whatever words it does so.
    let complains = text.contains("tool_input") && text.contains(">&2") && text.contains("exit 1");
    if !complains && !JUDGES.iter().any(|word| text.contains(word)) {
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
    if let Some(open) = swallowed(&text, hook.is_async) {
        return Some(open);
    }
    if NEVER_SET.iter().any(|word| text.contains(word)) {
        return Some(("this gate reads a variable that is never set: what a tool is given comes as JSON on standard input".to_owned(), "read it with `jq` from standard input"));
    }
    let ends_one = text.contains("exit 1") && !text.contains("exit 2");
    ends_one
        .then(|| ("this gate ends with 1, which does not block; only 2 does".to_owned(), "write `exit 2`"))
}
