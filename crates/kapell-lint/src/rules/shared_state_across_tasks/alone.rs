//! What there is one of, and each of many tasks takes for its own: a process, a checkout, a conversation.

use super::{
    at_once::{ASKED, AtOnce},
    declared_outside, waits, with_below,
};
use crate::{
    code::{Id, Language, Unit, programs, service},
    rule::Report,
    rules::unbounded_fan_out,
};

/// Objects that keep the conversation in themselves, by how their path begins, and the calls that go on with it.
const TALKERS: &[(&str, &[&str])] = &[
    ("autogen_agentchat.agents.", &["run", "run_stream", "on_messages"]),
    ("autogen_agentchat.teams.", &["run", "run_stream"]),
    ("google.genai.Client().chats.create()", &["send_message", "send_message_stream"]),
    ("google.genai.Client().aio.chats.create()", &["send_message", "send_message_stream"]),
    ("@google/genai.GoogleGenAI().chats.create()", &["sendMessage", "sendMessageStream"]),
];

/// Tells of one such object that several tasks go on with at once.
pub(super) fn conversations(unit: &Unit, report: &mut Report<'_>) {
    // They are made of what one of these libraries gives.
    if !["autogen_agentchat", "genai"].iter().any(|library| unit.whole().contains(library)) {
        return;
    }
    let fans = unbounded_fan_out::fans(unit).into_iter().map(|fan| (fan.at, fan.body, 1));
    let gathers = unit.calls().filter(|&call| unbounded_fan_out::gathers(unit, call));
    let listed =
        gathers.filter(|&call| unbounded_fan_out::fanned(unit, call).is_none()).map(|call| (call, call, 2));
    for (at, within, least) in fans.chain(listed) {
        let talks = |&call: &Id| {
            let object = unit.syntax.child(unit.callee(call)?, "object")?;
            let path = unit.path(object)?;
            let made = path.built.filter(|&made| !unit.syntax.holds(within, made))?;
            let known = TALKERS.iter().any(|(start, calls)| {
                path.text.starts_with(start) && calls.contains(&unit.callee_name(call))
            });
            known.then_some((unit.text(object), made))
        };
        let found: Vec<_> = unit.calls_in(within).filter_map(|call| talks(&call)).collect();
        let Some((name, made)) =
            found.iter().find(|one| found.iter().filter(|other| other == one).count() >= least)
        else {
            continue;
        };
        let message = format!(
            "`{name}`{} keeps one conversation, and several tasks go on with it at once: what one is told stands in what another one answers",
            service::place_name(unit, at),
        );
        let hint = "make one for each task";
        report
            .add(unit.file, unit.span(at), message)
            .hint(hint)
            .also(unit.file, unit.span(*made), "made here")
            .done();
    }
}

/// What there is one of in a process: calls that set it.
const PROCESS: &[&str] = &["os.chdir", "process.chdir", "node:process.chdir"];

/// Words under which a model is handed what was said before.
const TALK: &[&str] =
    &["messages", "input", "history", "contents", "chat_history", "message_history", "messageHistory"];

/// Tells of what one task must not do beside others: set what the process has one of, and talk in the others' conversation.
pub(super) fn tell(unit: &Unit, at: AtOnce, report: &mut Report<'_>) {
    let AtOnce { function, started, how, .. } = at;
    let own: Vec<Id> = unit.syntax.below(function).filter(|&id| unit.function_of(id) == function).collect();
    // Nodes are in the order of the text.
    let last = own.iter().rfind(|&&id| waits(unit, id) || pauses(unit, id)).copied();
    let goes_on = |at: Id| last.is_some_and(|last| last > at);
    let add = |at: Id, message: String, hint: &str, report: &mut Report<'_>| {
        let draft = report.add(unit.file, unit.span(at), message).hint(hint);
        draft.also(started.0, started.1, how).done();
    };
    for &id in own.iter().filter(|&&id| goes_on(id)) {
        if let Some((what, hint)) = sets_process(unit, function, id) {
            let message = format!(
                "`{}`{} sets the {what}, while other tasks set it too: after its next `await` a task works in another one's",
                first_line(unit.text(id)),
                service::place_name(unit, id),
            );
            add(id, message, hint, report);
        }
    }
    for (grown, name) in talks(unit, at, &own) {
        let message = format!(
            "`{name}`{} grows before {} that hands it to a model, while other {} do the same: one is answered what another one asked",
            service::place_name(unit, grown),
            if how == ASKED { "a call" } else { "an `await`" },
            if how == ASKED { "requests" } else { "tasks" },
        );
        let hint = if how == ASKED {
            "keep a list for each conversation, by an id that the request brings"
        } else {
            "give each task a list of its own"
        };
        add(grown, message, hint, report);
    }
}

/// Tells whether a function comes back to its caller here and is gone on with later.
fn pauses(unit: &Unit, id: Id) -> bool {
    matches!(unit.kind(id), "yield" | "yield_expression")
        || matches!(unit.kind(id), "for_statement" | "for_in_statement" | "with_statement")
            && unit.syntax.children(id).any(|child| matches!(unit.kind(child), "async" | "await"))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

const HANDED: &str = "hand it on as an argument: `cwd=`, a client with its own key";

/// Tells whether a call puts the one checkout of the repository on a branch of its own task: `git checkout -b issue-7`.
fn switches_branch(unit: &Unit, function: Id, call: Id) -> bool {
    let Some(words) = programs::words(unit, call) else { return false };
    let switches = words.first() == Some(&"git")
        && words.get(1).is_some_and(|word| matches!(*word, "checkout" | "switch"));
    let apart = unit.text(call).contains("cwd") || unit.text(function).contains("worktree");
    let of_task =
        unit.syntax.below(call).any(|id| unit.kind(id) == "identifier" && is_parameter(unit, function, id));
    switches && !apart && of_task
}

/// Returns what of the process, or of the checkout, a node sets to something of its own task, and what to do instead.
fn sets_process(unit: &Unit, function: Id, id: Id) -> Option<(&'static str, &'static str)> {
    let of_task = |value: Id| {
        let parts = with_below(unit, value)
            .any(|id| unit.kind(id) == "identifier" && is_parameter(unit, function, id));
        parts.then_some(())
    };
    match unit.kind(id) {
        "call" | "call_expression" => {
            if switches_branch(unit, function, id) {
                return Some((
                    "branch of the one checkout",
                    "give each task a checkout of its own: `git worktree add`",
                ));
            }
            let path = unit.path(unit.callee(id)?)?;
            of_task(unit.args(id).first()?.value)?;
            PROCESS.contains(&&*path.text).then_some(("directory of the whole process", HANDED))
        }
        "assignment" | "assignment_expression" => {
            let (left, right) = (unit.syntax.child(id, "left")?, unit.syntax.child(id, "right")?);
            of_task(right)?;
            let text = unit.text(left);
            ["os.environ[", "process.env."]
                .iter()
                .any(|start| text.starts_with(start))
                .then_some(("environment of the whole process", HANDED))
        }
        _ => None,
    }
}

/// Tells whether a name is a parameter of the function.
fn is_parameter(unit: &Unit, function: Id, name: Id) -> bool {
    let lists = unit.syntax.children(function);
    let mut given = lists.filter(|&id| {
        matches!(unit.kind(id), "formal_parameters" | "parameters") || unit.syntax[id].field == "parameter"
    });
    given.any(|list| {
        let mut parts = with_below(unit, list);
        parts.any(|id| unit.kind(id) == "identifier" && unit.text(id) == unit.text(name))
    })
}

/// Returns the outermost expression that is a name, a part of it or a list with it in it.
fn part_of(unit: &Unit, name: Id) -> Id {
    let inside = [
        "subscript",
        "slice",
        "list",
        "array",
        "list_splat",
        "spread_element",
        "binary_operator",
        "subscript_expression",
    ];
    let mut id = name;
    while inside.contains(&unit.kind(unit.syntax[id].parent)) {
        id = unit.syntax[id].parent;
    }
    // `history.slice(-20)`.
    let member = unit.syntax[id].parent;
    let call = unit.syntax[member].parent;
    let sliced = unit.kind(member) == "member_expression"
        && unit.kind(call) == "call_expression"
        && ["slice", "concat", "toSpliced"].contains(&unit.callee_name(call));
    if sliced { call } else { id }
}

/// Tells whether a list is one of a class of Python, and no object of it has one of its own.
fn is_of_class(unit: &Unit, function: Id, name: &str) -> bool {
    let Some(class) = unit.syntax.around(function).find(|&id| unit.kind(id) == "class_definition") else {
        return false;
    };
    let lists = |id: &Id| unit.kind(*id) == "assignment" && unit.function_of(*id) == unit.function_of(class);
    let set = |id: Id| unit.syntax.child(id, "left").map_or("", |left| unit.text(left));
    let own = format!("self.{name}");
    let mut bound = unit.syntax.below(class).filter(|&id| unit.kind(id) == "assignment");
    let of_class = unit.syntax.below(class).filter(lists).any(|id| {
        let value = unit.syntax.child(id, "right");
        set(id) == name && value.is_some_and(|value| unit.kind(value) == "list")
    });
    let typed = unit.text(class).contains("dataclass") || unit.text(class).contains("BaseModel");
    of_class && !typed && !bound.any(|id| set(id) == own)
}

/// Tells whether a name is a parameter of Python that is a list of its own unless a call gives one, and no call here does: the
/// list is made once, for all calls.
fn is_default(unit: &Unit, function: Id, name: Id) -> bool {
    let text = unit.text(name);
    let Some(list) = unit.syntax.child(function, "parameters") else { return false };
    let listed = |id: Id| {
        let named = unit.syntax.child(id, "name").is_some_and(|own| unit.text(own) == text);
        named && unit.syntax.child(id, "value").is_some_and(|value| unit.kind(value) == "list")
    };
    let Some(place) = unit.syntax.children(list).find(|&id| listed(id)) else { return false };
    let before = unit.syntax.children(list).filter(|&id| id < place && unit.kind(id) != ",");
    let before = before.filter(|&id| !matches!(unit.text(id), "(" | "self")).count();
    let gives = |call: Id| {
        unit.called(call) == Some(function)
            && (unit.args(call).len() > before || unit.keyword(call, text).is_some() || unit.has_splat(call))
    };
    let rebound = unit.syntax.below(function).any(|id| {
        unit.kind(id) == "assignment"
            && unit.syntax.child(id, "left").is_some_and(|left| unit.text(left) == text)
    });
    !rebound && unit.language == Language::Python && !unit.calls().any(gives)
}

/// Finds lists around a function that it appends to, and then hands to what it awaits as the conversation.
fn talks<'a>(unit: &'a Unit, task: AtOnce, own: &[Id]) -> Vec<(Id, &'a str)> {
    let function = task.function;
    let handed = |name: &str, at: Id| {
        own.iter().any(|&id| {
            let name_at = id;
            // `history[-20:]` and `[system, *history]` hand it on, too.
            let id = part_of(unit, id);
            let node = &unit.syntax[id];
            let parent = unit.kind(node.parent);
            let named = matches!(node.kind, "attribute" | "member_expression");
            let kind = if id == name_at && !named { node.kind } else { "identifier" };
            let key = match kind {
                "identifier" if parent == "keyword_argument" && node.field == "value" => {
                    unit.syntax.child(node.parent, "name")
                }
                "identifier" if parent == "pair" && node.field == "value" => {
                    unit.syntax.child(node.parent, "key")
                }
                "shorthand_property_identifier" => Some(id),
                _ => None,
            };
            // Requests mix up what lasts longer than one of them even where none waits.
            let awaited = || {
                task.how == ASKED
                    || unit
                        .syntax
                        .around(id)
                        .take_while(|&around| around != function)
                        .any(|around| waits(unit, around))
            };
            name_at > at
                && unit.text(name_at) == name
                && key.is_some_and(|key| TALK.contains(&unit.text(key)))
                && awaited()
        })
    };
    let mut found: Vec<(Id, &str)> = Vec::new();
    for &call in own.iter().filter(|&&id| ["append", "push", "extend"].contains(&unit.callee_name(id))) {
        let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
        let Some(object) = object else { continue };
        let name = unit.text(object);
        let seen = found.iter().any(|(_, other)| *other == name);
        // What one object keeps is everybody's, where everybody calls the same one.
        let own = ["self.", "this."].iter().find_map(|own| name.strip_prefix(own));
        let own = own.filter(|rest| !rest.contains('.'));
        let kept = own.is_some_and(|own| task.common.object || is_of_class(unit, function, own));
        let kept = kept || is_default(unit, function, object);
        let outer = unit.kind(object) == "identifier"
            && !is_parameter(unit, function, object)
            && declared_outside(unit, function, name);
        if !seen && (kept || outer) && handed(name, call) {
            found.push((call, name));
        }
    }
    found
}
