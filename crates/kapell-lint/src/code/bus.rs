//! The bus over which agents of a repository tell each other what happened: a class of its own with a method that publishes and
//! one that subscribes, or an `EventEmitter` of Node.
//!
//! Source: the documentation of Node.js, "Events": `emit` calls the listeners that are registered for the event of that name, and
//! no others.

use std::collections::HashSet;

use kapell_spec::finding::Span;

use super::{
    modules::{imports_from, last_part},
    syntax::{Id, Language},
    unit::Unit,
    wanted,
};
use crate::files::{File, FileId, Files};

/// Methods that publish, and such that subscribe.
const PUBLISHES: &[&str] = &["emit", "publish", "fire", "dispatch"];
const SUBSCRIBES: &[&str] = &["on", "once", "subscribe", "addListener", "listen"];

/// How such methods call what they are given first.
const TOPICS: &[&str] = &[
    "topic",
    "event",
    "eventname",
    "event_name",
    "eventtype",
    "event_type",
    "name",
    "type",
    "channel",
    "subject",
];

/// Words of what brings messages from elsewhere.
const ELSEWHERE: &[&str] = &[
    "redis",
    "kafka",
    "nats",
    "amqp",
    "rabbit",
    "mqtt",
    "websocket",
    "socket",
    "pubsub",
    "sqs",
    "http",
    "postmessage",
    "broadcastchannel",
    "worker_threads",
    "child_process",
    "process.on",
    "supabase",
    "grpc",
];

/// How long a file with a bus is at most, in bytes: whatever is longer does more than that.
const LONGEST: usize = 16 << 10;

/// A bus.
#[derive(Debug)]
pub struct Bus<'a> {
    file: FileId,
    /// What its objects are called anywhere.
    names: HashSet<&'a str>,
    /// Whether a method of its own hands on whatever it is given, by the places of such calls.
    handed: Vec<Span>,
}

/// A topic where somebody publishes on it, or waits for it.
#[derive(Debug, Clone, Copy)]
pub struct Topic<'a> {
    /// The topic.
    pub name: &'a str,
    /// The file.
    pub file: FileId,
    /// Where it stands there, without its quotes.
    pub span: Span,
}

/// All that is said over a bus.
#[derive(Debug, Default)]
pub struct Said<'a> {
    /// Where something is published.
    pub published: Vec<Topic<'a>>,
    /// Where somebody waits for something.
    pub awaited: Vec<Topic<'a>>,
}

impl<'a> Bus<'a> {
    /// Finds the bus of a repository, if it has just one.
    #[must_use]
    pub fn of(files: &'a Files) -> Option<Self> {
        let code = || files.iter().filter(|(_, file)| wanted(&file.path));
        let mut all = code().filter_map(|(id, file)| Self::in_file(id, file));
        let (mut bus, class) = all.next().filter(|_| all.next().is_none())?;
        if let Some(class) = class {
            for (_, file) in code().filter(|(_, file)| file.text.contains(class)) {
                bus.names.extend(named_of(&file.text, class));
            }
        }
        Some(bus)
    }

    /// Finds a bus that a file makes, and the name of its class.
    fn in_file(id: FileId, file: &'a File) -> Option<(Self, Option<&'a str>)> {
        let text = &*file.text;
        let likely = text.contains("EventEmitter")
            || text.contains("class ") && ["publish(", "emit("].iter().any(|word| text.contains(word));
        if !likely || text.len() > LONGEST || ELSEWHERE.iter().any(|word| file.lower().contains(word)) {
            return None;
        }
        let unit = Unit::read(id, Language::of(&file.path)?, text)?;
        let slice = |id: Id| &text[unit.span(id).range()];
        let is_emitter = |id: Id| unit.text(id).ends_with("EventEmitter");
        let mut classes = unit.syntax.of_kind(&["class_definition", "class_declaration", "class"]);
        if let Some(class) =
            classes.find(|&class| publishes(&unit, class) && unit.syntax.child(class, "name").is_some())
        {
            let name = slice(unit.syntax.child(class, "name")?);
            let handed = handed(&unit, class);
            return Some((Self { file: id, names: HashSet::new(), handed }, Some(name)));
        }
        let made = unit.calls().find_map(|call| {
            let bound = unit.syntax[call].parent;
            let name =
                unit.syntax.child(bound, "name").filter(|_| unit.kind(bound) == "variable_declarator")?;
            let emitter = unit.callee(call).is_some_and(is_emitter) && unit.function_of(call) == Id::ROOT;
            emitter.then(|| slice(name))
        })?;
        Some((Self { file: id, names: HashSet::from([made]), handed: Vec::new() }, None))
    }

    /// Returns all that is said over it; nothing where a topic that is published does not stand there.
    #[must_use]
    pub fn said(&self, files: &'a Files) -> Option<Said<'a>> {
        let module = HashSet::from([last_part(&files[self.file].path)]);
        let mut said = Said::default();
        for (id, file) in files.iter().filter(|(_, file)| wanted(&file.path)) {
            let own = id == self.file;
            let text = &*file.text;
            let uses = PUBLISHES.iter().chain(SUBSCRIBES).any(|verb| text.contains(verb));
            let knows = own || uses && imports_from(text, &module);
            for call in PUBLISHES.iter().filter(|_| uses).flat_map(|verb| calls(text, verb)) {
                let mine = self.names.contains(call.object) || own && matches!(call.object, "this" | "self");
                let inside = own && self.handed.iter().any(|span| span.range().contains(&call.at));
                match call.topic {
                    Some(span) if mine => said.published.push(topic(text, id, span)),
                    None if (mine || knows) && !inside => return None,
                    _ => {}
                }
            }
            for call in SUBSCRIBES.iter().filter(|_| uses).flat_map(|verb| calls(text, verb)) {
                let span = call.topic.filter(|_| self.names.contains(call.object));
                said.awaited.extend(span.map(|span| topic(text, id, span)));
            }
        }
        Some(said)
    }
}

fn topic(text: &str, file: FileId, span: Span) -> Topic<'_> {
    Topic { name: &text[span.range()], file, span }
}

/// Tells whether a class has a method that publishes on a topic, and one that subscribes to it.
fn publishes(unit: &Unit, class: Id) -> bool {
    let has = |verbs: &[&str]| {
        let mut methods = verbs.iter().filter_map(|verb| unit.method(class, verb));
        methods.any(|method| {
            let list = unit.syntax.child(method, "parameters").map_or("", |list| unit.text(list));
            let mut names = list.trim_start_matches('(').split([',', ':', ')', '?']).map(str::trim);
            let first = names.find(|name| !name.is_empty() && *name != "self").unwrap_or_default();
            TOPICS.contains(&&*first.to_ascii_lowercase())
        })
    };
    let heritage = unit.syntax.children(class).find(|&id| unit.kind(id) == "class_heritage");
    let extends = heritage.is_some_and(|id| unit.text(id).contains("EventEmitter"));
    extends || has(PUBLISHES) && has(SUBSCRIBES)
}

/// Returns the methods of a class that publish and subscribe: there a topic is whatever they are given.
fn handed(unit: &Unit, class: Id) -> Vec<Span> {
    let methods = PUBLISHES.iter().chain(SUBSCRIBES).filter_map(|verb| unit.method(class, verb));
    methods.map(|method| unit.span(method)).collect()
}

/// Returns the names that a text declares to be of a class, or gives an object of it: `bus: Bus`, `bus = new Bus()`.
fn named_of<'t>(text: &'t str, class: &str) -> Vec<&'t str> {
    let places = text.match_indices(class).map(|(at, _)| at);
    let named = places.filter_map(|at| {
        let before = text[..at].trim_end_matches("new ").trim_end_matches([' ', '"', '\'']);
        let before = before.strip_suffix([':', '='])?.trim_end_matches(['?', ' ', '!']);
        Some(last_word(before)).filter(|name| !name.is_empty())
    });
    named.collect()
}

fn last_word(text: &str) -> &str {
    text.rsplit(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').next().unwrap_or_default()
}

/// A call of a method, by its text.
struct Called<'t> {
    at: usize,
    /// The last name of its object.
    object: &'t str,
    /// Where the topic stands that it is given first, if it does.
    topic: Option<Span>,
}

/// Finds the calls of a method in a text, without those in comments.
fn calls<'t>(text: &'t str, verb: &str) -> Vec<Called<'t>> {
    let start = format!(".{verb}(");
    let found = text.match_indices(&start).filter_map(|(at, _)| {
        let line = text[..at].rsplit('\n').next().unwrap_or_default().trim_start();
        let comment = ["//", "#", "*", "/*"].iter().any(|mark| line.starts_with(mark));
        let from = at + start.len();
        (!comment).then(|| Called {
            at,
            object: last_word(text[..at].trim_end_matches('?')),
            topic: quoted(text, from),
        })
    });
    found.collect()
}

/// Returns where the text of a literal stands that is all of the first argument, behind a bracket.
fn quoted(text: &str, from: usize) -> Option<Span> {
    let from = from + text[from..].len() - text[from..].trim_start().len();
    let quote = text[from..].chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let inner = &text[from + 1..];
    let len = inner.find(quote)?;
    let plain = !inner[..len].contains(['\n', '{', '\\']) && len > 0;
    let ends = inner[len + 1..].trim_start().starts_with([',', ')']);
    (plain && ends).then(|| Span::new(from + 1, from + 1 + len))
}
