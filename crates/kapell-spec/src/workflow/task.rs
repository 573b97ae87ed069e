//! Reading a task.

use std::{collections::BTreeMap, sync::Arc};

use kapell_core::{
    expr::{Expr, ParseErrorKind, Piece, Template},
    plan::{Estimate, LostPolicy, Protect, Supervise, WorkspaceKind},
    retry::Retry,
};

use super::{
    Budget, Condition, Settings, Spanned, Task, Text, ToolCall, Work, matrix, read, reader::Reader, value,
};
use crate::{
    codes,
    finding::Finding,
    yaml::{Entry, Node},
};

/// The keys that say what a task does; it has exactly one of them.
pub(super) const WORKS: &[&str] = &["run", "prompt", "gate", "workflow", "scripted", "mcp", "noop"];

/// The keys of a task that can also stand under `defaults`.
pub(super) const SETTINGS: &[&str] = &[
    "agent",
    "skills",
    "retry",
    "timeout",
    "workspace",
    "prepare",
    "carry",
    "cache",
    "retry_lost",
    "supervise",
    "estimate",
];

/// The other keys of a task.
const REST: &[&str] = &[
    "with",
    "needs",
    "if",
    "matrix",
    "env",
    "outputs",
    "accept",
    "claims",
    "compensate",
    "protect",
    "reads",
    "deadline",
    "budget",
];

/// Keys that are refused for now.
const RESERVED: &[&str] = &["team"];

/// Returns all keys of a task.
pub(super) fn keys() -> Vec<&'static str> {
    [WORKS, REST, SETTINGS, RESERVED].concat()
}

pub(super) fn task(reader: &mut Reader<'_>, entry: &Entry) -> Option<Task> {
    let name = reader.name(entry, "a task")?;
    let mut task = Task {
        name,
        work: None,
        with: Vec::new(),
        needs: Vec::new(),
        condition: None,
        matrix: None,
        env: Vec::new(),
        outputs: Vec::new(),
        shapes: BTreeMap::new(),
        accept: Vec::new(),
        claims: Vec::new(),
        compensate: None,
        protect: Protect::default(),
        reads: Vec::new(),
        deadline: None,
        budget: Budget::default(),
        settings: Settings::default(),
        keys: Vec::new(),
    };
    let node = &entry.value;
    if node.entries().is_none() {
        let shown = task.name.value.clone();
        if node.scalar().is_some_and(|scalar| scalar.is_null()) {
            // An alias that names nothing has its own finding.
            if node.alias.is_none() {
                no_work(reader, &task);
            }
        } else {
            reader.wrong(node, &shown, "a mapping");
        }
        return Some(task);
    }
    let mut strange = false;
    for (key, entry) in reader.entries(node, "a task") {
        task.keys.push(Spanned::new(key.to_owned(), entry.key.place()));
        if !field(reader, &mut task, key, entry) && !setting(reader, &mut task.settings, key, &entry.value) {
            reader.unknown_key(entry, "in a task", &keys());
            strange = true;
        }
    }
    works(reader, &task, strange);
    Some(task)
}

fn no_work(reader: &mut Reader<'_>, task: &Task) {
    let message = format!("task `{}` does not say what is to be done", task.name.value);
    let hint = format!("add one of `{}`", WORKS.join("`, `"));
    reader.report(Finding::error(codes::NO_WORK, task.name.span, message).hint(hint));
}

/// Checks that exactly one kind of work is given. If there are `strange` keys, one of them was probably meant as it.
fn works(reader: &mut Reader<'_>, task: &Task, strange: bool) {
    let mut given = task.keys.iter().filter(|key| WORKS.contains(&key.value.as_str()));
    let Some(first) = given.next() else {
        if !strange && !task.keys.iter().any(|key| key.value == "team") {
            no_work(reader, task);
        }
        return;
    };
    for second in given {
        let message = format!("task `{}` has both `{}` and `{}`", task.name.value, first.value, second.value);
        reader.report(
            Finding::error(codes::TWO_WORKS, second.span, message)
                .also(first.span, "the other one")
                .hint("split it into two tasks, the second of which `needs` the first"),
        );
    }
}

/// Reads a key that only a task has; `false` if it is none.
fn field(reader: &mut Reader<'_>, task: &mut Task, key: &str, entry: &Entry) -> bool {
    let node = &entry.value;
    match key {
        "run" => {
            task.work = reader.template(node, key).filter(|text| !is_blank(reader, text, key)).map(Work::Run)
        }
        "prompt" => {
            task.work =
                reader.template(node, key).filter(|text| !is_blank(reader, text, key)).map(Work::Prompt);
        }
        "gate" => task.work = gate(reader, node),
        "workflow" => task.work = reader.path(node, key).map(Work::Workflow),
        "scripted" => task.work = read::script(reader, node).map(Work::Scripted),
        "noop" => {
            let null = node.scalar().is_some_and(|scalar| scalar.is_null());
            if null || reader.bool(node, key) == Some(true) {
                task.work = Some(Work::Noop);
            } else if node.scalar().is_some_and(|scalar| scalar.as_bool() == Some(false)) {
                reader.wrong(node, key, "`true` or nothing");
            }
        }
        "needs" => task.needs = reader.texts(node, key),
        "if" => task.condition = condition(reader, node),
        "matrix" => task.matrix = matrix::matrix(reader, node),
        "env" => task.env = reader.env(node, key),
        "outputs" => task.outputs = outputs(reader, node, &mut task.shapes),
        "accept" => task.accept = reader.list(node, key, Reader::template),
        "claims" => task.claims = reader.list(node, key, claim),
        "compensate" => {
            task.compensate = reader.template(node, key).filter(|text| !is_blank(reader, text, key))
        }
        "protect" => task.protect = read::protect(reader, node),
        "reads" => task.reads = reader.paths(node, key),
        "deadline" => task.deadline = reader.instant(node, key),
        "budget" => task.budget = read::budget(reader, node, &["usd", "tokens"]),
        "mcp" => task.work = tool_call(reader, node),
        "with" => {
            if reader.mapping(node, key) {
                read::pieces(reader, node, &mut task.with);
            }
        }
        "team" => {
            let message = format!("`{key}` is not there yet");
            let hint = "this version runs `run`, `prompt`, `gate`, `workflow`, `scripted`, `mcp` and `noop`";
            reader.report(Finding::error(codes::NOT_YET, entry.key.place(), message).hint(hint));
        }
        _ => return false,
    }
    true
}

/// Reads a key that can also stand under `defaults`; `false` if it is none.
pub(super) fn setting(reader: &mut Reader<'_>, settings: &mut Settings, key: &str, node: &Node) -> bool {
    match key {
        "agent" => settings.agent = reader.text(node, key),
        "skills" => settings.skills = Some(reader.skills(node, key)),
        "retry" => settings.retry = retry(reader, node),
        "timeout" => settings.timeout = reader.duration(node, key),
        "workspace" => {
            let kinds = [
                ("clone", WorkspaceKind::Clone),
                ("read_only", WorkspaceKind::ReadOnly),
                ("none", WorkspaceKind::None),
            ];
            settings.workspace = reader.choice(node, key, &kinds);
        }
        "prepare" => {
            settings.prepare = Some(reader.texts(node, key).into_iter().map(|text| text.value).collect())
        }
        "carry" => settings.carry = Some(reader.paths(node, key)),
        "cache" => settings.cache = Some(cache(reader, node)),
        "retry_lost" => {
            settings.retry_lost =
                reader.choice(node, key, &[("retry", LostPolicy::Retry), ("ask", LostPolicy::Ask)]);
        }
        "supervise" => {
            settings.supervise =
                reader.choice(node, key, &[("full", Supervise::Full), ("group", Supervise::Group)]);
        }
        "estimate" => settings.estimate = estimate(reader, node),
        _ => return false,
    }
    true
}

fn is_blank(reader: &mut Reader<'_>, text: &Text, key: &str) -> bool {
    let blank = text.template.source().trim().is_empty();
    if blank {
        reader.empty(&text.node, key);
    }
    blank
}

fn gate(reader: &mut Reader<'_>, node: &Node) -> Option<Work> {
    if node.entries().is_none() {
        return reader.template(node, "gate").map(|question| Work::Gate(question, Vec::new()));
    }
    let (mut question, mut choices) = (None, Vec::new());
    for (key, entry) in reader.entries(node, "gate") {
        match key {
            "question" => question = reader.template(&entry.value, key),
            "choices" => {
                choices = reader.texts(&entry.value, key).into_iter().map(|text| text.value).collect()
            }
            _ => reader.unknown_key(entry, "in a gate", &["question", "choices"]),
        }
    }
    if node.get("question").is_none() {
        let hint = "for example: `gate: { question: Publish?, choices: [now, later] }`";
        reader.report(
            Finding::error(codes::MISSING_KEY, node.place(), "the gate has no `question`").hint(hint),
        );
    }
    question.map(|question| Work::Gate(question, choices))
}

/// Reads `SERVER.TOOL`.
fn tool_call(reader: &mut Reader<'_>, node: &Node) -> Option<Work> {
    let name = reader.text(node, "mcp")?;
    let parts = name.value.split_once('.').filter(|(server, tool)| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        value::is_name(server) && (1..=128).contains(&tool.len()) && tool.chars().all(fits)
    });
    let Some((server, tool)) = parts else {
        let message = format!("`{}` names no tool of a server", name.value.escape_debug());
        let hint = "for example: `mcp: tickets.create`, with `tickets` from your settings";
        reader.report(Finding::error(codes::NAME, name.span, message).hint(hint));
        return None;
    };
    Some(Work::Mcp(ToolCall { server: server.to_owned(), tool: tool.to_owned() }))
}

/// Reads a condition: an expression, with or without `${{ }}` around it.
fn condition(reader: &mut Reader<'_>, node: &Node) -> Option<Condition> {
    let Some(scalar) = node.scalar().filter(|scalar| !scalar.is_null()) else {
        reader.wrong(node, "if", "an expression");
        return None;
    };
    let text = &*scalar.text;
    let parsed = if text.contains("${{") {
        Template::parse(text).map(|template| {
            let only_blanks = |piece: Piece<'_>| matches!(piece, Piece::Text(text) if text.trim().is_empty());
            let placeholders = template.placeholders();
            let others = template.pieces().filter(|piece| !only_blanks(*piece)).count();
            (placeholders.len() == 1 && others == 1)
                .then(|| (placeholders[0].expr.clone(), placeholders[0].at as usize))
        })
    } else {
        let trimmed = text.trim_start();
        let at = text.len() - trimmed.len();
        match Expr::parse(trimmed.trim_end()) {
            Ok(expr) => Ok(Some((expr, at))),
            Err(mut error) => {
                error.span.start += u32::try_from(at).unwrap_or(0);
                error.span.end += u32::try_from(at).unwrap_or(0);
                Err(error)
            }
        }
    };
    match parsed {
        Ok(Some((expr, at))) => Some(Condition { expr, at, node: Arc::new(node.clone()) }),
        Ok(None) => {
            let message = "a condition with text around `${{ }}` is always true";
            let hint = "put the whole condition into one `${{ }}`, or leave the braces out";
            reader.report(Finding::error(codes::CONSTANT, node.place(), message).hint(hint));
            None
        }
        Err(error) => {
            let empty = error.kind == ParseErrorKind::Empty;
            let tagged =
                |finding: &Finding| finding.code == codes::TAG && finding.span.start == node.span.start;
            if empty && reader.findings.iter().any(tagged) {
                return None;
            }
            let span =
                if empty { node.place() } else { node.locate(&reader.source.text, error.span.range()) };
            reader.bad_expression(span, &error.kind);
            None
        }
    }
}

/// Reads what a task promises; what values must look like is added to `shapes`.
fn outputs(
    reader: &mut Reader<'_>,
    node: &Node,
    shapes: &mut BTreeMap<String, String>,
) -> Vec<(Spanned<String>, Option<Text>)> {
    if node.entries().is_none() {
        let names = reader.texts(node, "outputs");
        for name in &names {
            if !value::is_name(&name.value) {
                let message = format!("`{}` cannot name an output", name.value.escape_debug());
                reader.report(Finding::error(codes::NAME, name.span, message));
            }
        }
        return names.into_iter().map(|name| (name, None)).collect();
    }
    let mut outputs = Vec::new();
    for (key, entry) in reader.entries(node, "outputs") {
        let name = reader.name(entry, "an output");
        if entry.value.entries().is_some() {
            if let Some(name) = &name {
                shapes.insert(name.value.clone(), read::json(&entry.value));
            }
            outputs.extend(name.map(|name| (name, None)));
            continue;
        }
        let set_by_task = entry.value.scalar().is_some_and(|scalar| scalar.is_null());
        let value = if set_by_task { None } else { reader.template(&entry.value, key) };
        outputs.extend(name.map(|name| (name, value)));
    }
    outputs
}

fn claim(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<Text> {
    let text = reader.template(node, key)?;
    if let Some(literal) = text.template.as_literal()
        && let Some(why) = value::wrong_path(literal)
    {
        let message = format!("claim `{}` {why}", literal.escape_debug());
        reader.report(Finding::error(codes::PATH, text.span(), message));
        return None;
    }
    Some(text)
}

fn retry(reader: &mut Reader<'_>, node: &Node) -> Option<Retry> {
    let mut retry = Retry::default();
    if node.entries().is_none() {
        retry.attempts = reader.number(node, "retry", 1, 1000)?;
        return Some(retry);
    }
    let mut attempts = None;
    for (key, entry) in reader.entries(node, "retry") {
        match key {
            "attempts" => attempts = reader.number(&entry.value, key, 1, 1000),
            "backoff" => {
                if let Some((low, high)) = reader.duration_range(&entry.value, key) {
                    (retry.backoff_min, retry.backoff_max) = (low, high);
                }
            }
            _ => reader.unknown_key(entry, "under `retry`", &["attempts", "backoff"]),
        }
    }
    if node.get("attempts").is_none() {
        let hint = "say how often in all: `retry: { attempts: 3 }`";
        reader
            .report(Finding::error(codes::MISSING_KEY, node.place(), "`retry` has no `attempts`").hint(hint));
    }
    attempts.map(|attempts| Retry { attempts, ..retry })
}

fn cache(reader: &mut Reader<'_>, node: &Node) -> Vec<(String, String)> {
    let mut cache = Vec::new();
    for (key, entry) in reader.entries(node, "cache") {
        let variable = reader.variable(entry);
        let Some(name) = reader.text(&entry.value, key) else { continue };
        if !value::is_name(&name.value) {
            let message = format!("`{}` cannot name a kept directory", name.value.escape_debug());
            let hint = "give it a name such as `shared`; where it lies is kapell's affair";
            reader.report(Finding::error(codes::NAME, name.span, message).hint(hint));
            continue;
        }
        cache.extend(variable.map(|variable| (variable.value, name.value)));
    }
    cache
}

/// Reads `5m`, `5m..12m`, or `{ p50: 5m, p90: 12m }`.
fn estimate(reader: &mut Reader<'_>, node: &Node) -> Option<Estimate> {
    if node.entries().is_none() {
        let (p50, p90) = reader.duration_range(node, "estimate")?;
        return Some(Estimate { p50, p90 });
    }
    let (mut p50, mut p90) = (None, None);
    for (key, entry) in reader.entries(node, "estimate") {
        match key {
            "p50" => p50 = reader.duration(&entry.value, key),
            "p90" => p90 = reader.duration(&entry.value, key),
            _ => reader.unknown_key(entry, "under `estimate`", &["p50", "p90"]),
        }
    }
    if node.get("p50").is_none() {
        let hint = "for example: `estimate: { p50: 5m, p90: 12m }`";
        reader.report(Finding::error(codes::MISSING_KEY, node.place(), "`estimate` has no `p50`").hint(hint));
    }
    let p50 = p50?;
    let p90 = p90.unwrap_or(p50);
    if p50 > p90 {
        reader.report(Finding::error(codes::RANGE, node.place(), "`p50` is longer than `p90`"));
        return None;
    }
    Some(Estimate { p50, p90 })
}
