//! Reading the outermost level: mission, budget, inputs, agents, defaults.

use kapell_core::plan::Protect;

use super::{Agent, Budget, Input, Piece, Settings, Spanned, Workflow, reader::Reader, task, value};
use crate::{
    codes,
    finding::{Finding, Source, Span},
    suggest,
    yaml::{Entry, Kind, Node, Tree},
};

/// The keys of a workflow file.
pub(super) const KEYS: &[&str] = &[
    "mission", "target", "budget", "deadline", "saga", "lfs", "accept", "protect", "env", "inputs", "agents",
    "defaults", "tasks",
];

/// The keys of an agent.
pub(super) const AGENT_KEYS: &[&str] = &[
    "use", "model", "provider", "fallback", "skills", "memory", "sandbox", "network", "run", "script",
    "options",
];

/// The keys of an input.
pub(super) const INPUT_KEYS: &[&str] = &["default", "description"];

/// Reads a workflow; `None` if the document is no mapping.
pub(super) fn workflow(source: &Source, tree: &Tree, findings: &mut Vec<Finding>) -> Option<Workflow> {
    let mut reader = Reader { source, findings };
    let root = &tree.root;
    if root.scalar().is_some_and(|scalar| scalar.is_null()) {
        if tree.complete {
            let hint = "start with `mission:` and `tasks:`, or run `kapell init`";
            reader.report(Finding::error(codes::EMPTY, Span::default(), "the file is empty").hint(hint));
        }
        return None;
    }
    if root.entries().is_none() {
        if tree.complete {
            reader.wrong(root, "a workflow file", "a mapping");
        }
        return None;
    }
    if let Some(finding) = foreign(root) {
        reader.report(finding);
        return None;
    }
    let mut workflow = Workflow {
        source: source.clone(),
        mission: None,
        target: None,
        budget: Budget::default(),
        deadline: None,
        saga: false,
        lfs_pointers: false,
        accept: Vec::new(),
        protect: Protect::default(),
        env: Vec::new(),
        inputs: Vec::new(),
        agents: Vec::new(),
        defaults: Settings::default(),
        tasks: Vec::new(),
        valid: false,
    };
    for (key, entry) in reader.entries(root, "a workflow file") {
        top(&mut reader, &mut workflow, key, entry);
    }
    // A strange key was probably meant as one of those that are missing.
    let strange = root.entries().is_some_and(|entries| {
        entries.iter().any(|entry| entry.key.text().is_none_or(|key| !KEYS.contains(&key)))
    });
    if tree.complete && !strange {
        missing(&mut reader, root);
    }
    Some(workflow)
}

/// Recognises a file that was never meant to be a workflow file: each of its keys would be a finding that helps nobody.
fn foreign(root: &Node) -> Option<Finding> {
    let entries = root.entries()?;
    let first = entries.first()?.key.place();
    if root.get("jobs").is_some() && root.get("on").is_some() && root.get("tasks").is_none() {
        let hint = "`kapell improve` judges those; `kapell init` writes a file of the kind that is run";
        return Some(Finding::error(codes::FOREIGN, first, "this is a GitHub workflow").hint(hint));
    }
    let is_strange = |entry: &Entry| {
        let key = entry.key.text().unwrap_or_default();
        !KEYS.contains(&key) && suggest::nearest(key, KEYS.iter().copied()).is_none()
    };
    // A few strange keys may be those of somebody who guesses.
    (entries.len() > 3 && entries.iter().all(is_strange)).then(|| {
        let hint = "a workflow file begins with `mission:` and has `tasks:`; `kapell init` writes one";
        Finding::error(codes::FOREIGN, first, "this is no workflow file: none of its keys is known")
            .hint(hint)
    })
}

fn top(reader: &mut Reader<'_>, workflow: &mut Workflow, key: &str, entry: &Entry) {
    let node = &entry.value;
    match key {
        "mission" => workflow.mission = reader.text(node, key),
        "target" => workflow.target = target(reader, node),
        "budget" => workflow.budget = budget(reader, node, &["usd", "tokens", "agents", "jobs", "wall"]),
        "deadline" => workflow.deadline = reader.instant(node, key),
        "saga" => workflow.saga = reader.bool(node, key).unwrap_or_default(),
        "lfs" => workflow.lfs_pointers = reader.choice(node, key, &[("pointers", true)]).unwrap_or_default(),
        "accept" => workflow.accept = reader.list(node, key, Reader::template),
        "protect" => workflow.protect = protect(reader, node),
        "env" => workflow.env = reader.env(node, key),
        "inputs" => {
            for (_, entry) in reader.entries(node, key) {
                workflow.inputs.extend(input(reader, entry));
            }
            reader.case_clashes("inputs", workflow.inputs.iter().map(|input| &input.name));
        }
        "agents" => {
            for (_, entry) in reader.entries(node, key) {
                workflow.agents.extend(agent(reader, entry));
            }
            reader.case_clashes("agents", workflow.agents.iter().map(|agent| &agent.name));
        }
        "defaults" => {
            for (key, entry) in reader.entries(node, key) {
                if !task::setting(reader, &mut workflow.defaults, key, &entry.value) {
                    reader.unknown_key(entry, "among the defaults", task::SETTINGS);
                }
            }
        }
        "tasks" => {
            for (_, entry) in reader.entries(node, key) {
                workflow.tasks.extend(task::task(reader, entry));
            }
            reader.case_clashes("tasks", workflow.tasks.iter().map(|task| &task.name));
            if node.entries().is_some_and(<[Entry]>::is_empty) {
                reader.report(Finding::error(codes::MISSING_KEY, entry.key.place(), "there are no tasks"));
            }
        }
        _ => reader.unknown_key(entry, "in a workflow file", KEYS),
    }
}

fn missing(reader: &mut Reader<'_>, root: &Node) {
    // At the first key; the whole file would be too much to show.
    let place = root.entries().and_then(<[Entry]>::first).map_or(root.span, |entry| entry.key.place());
    if root.get("mission").is_none() {
        let hint = "say what is asked: `mission: Fix the failing tests`";
        reader.report(Finding::error(codes::MISSING_KEY, place, "the key `mission` is missing").hint(hint));
    }
    if root.get("tasks").is_none() {
        let hint = "define at least one: `tasks: { build: { run: make } }`";
        reader.report(Finding::error(codes::MISSING_KEY, place, "the key `tasks` is missing").hint(hint));
    }
}

fn target(reader: &mut Reader<'_>, node: &Node) -> Option<Spanned<String>> {
    let target = reader.text(node, "target")?;
    match value::wrong_branch(&target.value) {
        None => Some(target),
        Some(why) => {
            let message = format!("branch `{}` {why}", target.value.escape_debug());
            reader.report(
                Finding::error(codes::NAME, target.span, message).hint("name a branch, such as `main`"),
            );
            None
        }
    }
}

/// Reads limits; `known` says which of them mean something here.
pub(super) fn budget(reader: &mut Reader<'_>, node: &Node, known: &[&str]) -> Budget {
    let mut budget = Budget::default();
    for (key, entry) in reader.entries(node, "budget") {
        let node = &entry.value;
        match key {
            key if !known.contains(&key) => reader.unknown_key(entry, "in a budget", known),
            "usd" => budget.usd_micros = reader.money(node, key),
            "tokens" => budget.tokens = reader.tokens(node, key),
            "agents" => budget.agents = reader.number(node, key, 1, 1000),
            "jobs" => budget.jobs = reader.number(node, key, 1, 10_000),
            _ => budget.wall = reader.duration(node, key),
        }
    }
    budget
}

/// Reads `strict`, a list of patterns, or a mapping with both.
pub(super) fn protect(reader: &mut Reader<'_>, node: &Node) -> Protect {
    if node.text() == Some("strict") {
        return Protect { paths: Vec::new(), strict: true };
    }
    if node.entries().is_none() {
        return Protect { paths: reader.paths(node, "protect"), strict: false };
    }
    let mut protect = Protect::default();
    for (key, entry) in reader.entries(node, "protect") {
        match key {
            "paths" => protect.paths = reader.paths(&entry.value, key),
            "strict" => protect.strict = reader.bool(&entry.value, key).unwrap_or_default(),
            _ => reader.unknown_key(entry, "under `protect`", &["paths", "strict"]),
        }
    }
    protect
}

fn input(reader: &mut Reader<'_>, entry: &Entry) -> Option<Input> {
    let name = reader.name(entry, "an input")?;
    let mut input = Input { name, default: None, description: None };
    let node = &entry.value;
    match node.scalar() {
        Some(scalar) if scalar.is_null() => {}
        Some(_) => input.default = reader.text(node, "default").map(|text| text.value),
        None => {
            for (key, entry) in reader.entries(node, "an input") {
                match key {
                    // May be empty, unlike other texts.
                    "default" => match entry.value.text() {
                        Some(text) if text.trim().is_empty() => input.default = Some(text.to_owned()),
                        _ => input.default = reader.text(&entry.value, key).map(|text| text.value),
                    },
                    "description" => {
                        input.description = reader.text(&entry.value, key).map(|text| text.value)
                    }
                    _ => reader.unknown_key(entry, "in an input", INPUT_KEYS),
                }
            }
        }
    }
    Some(input)
}

fn agent(reader: &mut Reader<'_>, entry: &Entry) -> Option<Agent> {
    let name = reader.name(entry, "an agent")?;
    let node = &entry.value;
    let mut adapter = None;
    let (mut provider, mut fallback, mut options) = (None, None, Vec::new());
    let (mut skills, mut memory_mib) = (Vec::new(), None);
    if node.entries().is_none() {
        // `coder: claude-code`
        adapter = Some(reader.text(node, &name.value)?);
    } else {
        for (key, entry) in reader.entries(node, "an agent") {
            let node = &entry.value;
            match key {
                "use" => adapter = reader.text(node, key),
                "provider" => provider = reader.text(node, key).map(|text| text.value),
                "fallback" => fallback = reader.text(node, key),
                "skills" => skills = reader.skills(node, key),
                "memory" => {
                    memory_mib = reader.memory(node, key);
                    // What is set aside for it is also the most that it may take.
                    let name = Spanned::new(key.to_owned(), entry.key.place());
                    options.extend(memory_mib.map(|mib| (name, format!("{mib}M"))));
                }
                "network" => {
                    // A list of hosts, or the name of a network.
                    let hosts: Vec<String> =
                        reader.texts(node, key).into_iter().map(|text| text.value).collect();
                    let name = Spanned::new(key.to_owned(), entry.key.place());
                    options.push((name, hosts.join(",")));
                }
                "model" | "sandbox" | "run" | "script" => {
                    let key = Spanned::new(key.to_owned(), entry.key.place());
                    let value = if key.value == "script" {
                        script(reader, node)
                    } else {
                        plain(reader, node, &key.value)
                    };
                    options.extend(value.map(|value| (key, value)));
                }
                "options" => {
                    for (key, entry) in reader.entries(node, key) {
                        let name = Spanned::new(key.to_owned(), entry.key.place());
                        options.extend(plain(reader, &entry.value, key).map(|value| (name, value)));
                    }
                }
                _ => reader.unknown_key(entry, "in an agent", AGENT_KEYS),
            }
        }
        let strange = node
            .entries()
            .into_iter()
            .flatten()
            .any(|entry| entry.key.text().is_none_or(|key| !AGENT_KEYS.contains(&key)));
        if node.get("use").is_none() && !strange {
            let message = format!("agent `{}` does not say what it uses", name.value);
            let hint = "name an adapter: `use: claude-code`";
            reader.report(Finding::error(codes::MISSING_KEY, name.span, message).hint(hint));
        }
    }
    let adapter = adapter.unwrap_or_else(|| Spanned::new(String::new(), name.span));
    Some(Agent { name, adapter, provider, fallback, options, skills, memory_mib })
}

fn plain(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<String> {
    reader.text(node, key).map(|text| text.value)
}

/// Reads a script for the scripted agent: a text as it stands, or YAML that is written out as JSON, which is YAML too.
pub(super) fn script(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    match node.scalar() {
        Some(scalar) if scalar.is_null() => {
            reader.wrong(node, "scripted", "a script");
            None
        }
        Some(scalar) => Some(scalar.text.to_string()),
        None => Some(json(node)),
    }
}

/// Reads a value of any shape as pieces of JSON, in which texts may hold expressions.
pub(super) fn pieces(reader: &mut Reader<'_>, node: &Node, into: &mut Vec<Piece>) {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match &node.kind {
        Kind::Scalar(scalar) if scalar.text.contains("${{") => {
            into.extend(reader.template(node, "with").map(Piece::Text));
        }
        Kind::Scalar(_) => add(into, &json(node)),
        Kind::Sequence(items) => {
            add(into, "[");
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    add(into, ",");
                }
                pieces(reader, item, into);
            }
            add(into, "]");
        }
        Kind::Mapping(entries) => {
            add(into, "{");
            for (at, entry) in entries.iter().filter(|entry| !entry.duplicate).enumerate() {
                let comma = if at > 0 { "," } else { "" };
                add(into, &format!("{comma}{}:", quoted(entry.key.text().unwrap_or_default())));
                pieces(reader, &entry.value, into);
            }
            add(into, "}");
        }
    }
}

fn add(into: &mut Vec<Piece>, text: &str) {
    match into.last_mut() {
        Some(Piece::Json(before)) => before.push_str(text),
        _ => into.push(Piece::Json(text.to_owned())),
    }
}

/// Writes YAML as JSON. Numbers keep their spelling, for `1.10` may be a version.
pub(super) fn json(node: &Node) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match &node.kind {
        Kind::Scalar(scalar) if scalar.is_null() => "null".to_owned(),
        Kind::Scalar(scalar) if scalar.as_bool().is_some() => scalar.text.to_lowercase(),
        Kind::Scalar(scalar) => {
            let is_json = serde_json::from_str::<serde_json::Number>(&scalar.text).is_ok();
            if is_json && !scalar.is_text { scalar.text.to_string() } else { quoted(&scalar.text) }
        }
        Kind::Sequence(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        Kind::Mapping(entries) => {
            let in_force = entries.iter().filter(|entry| !entry.duplicate);
            let pairs = in_force.map(|entry| {
                format!("{}:{}", quoted(entry.key.text().unwrap_or_default()), json(&entry.value))
            });
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
    }
}
