//! What starts a workflow.

use super::{
    keys::Reader,
    text::{Name, Text},
};
use crate::{
    finding::Span,
    yaml::{Kind, Node},
};

/// An event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    /// Its name, such as `push`.
    pub name: Name,
    /// Where its filters stand.
    pub span: Span,
    /// Filters that name branches, tags, paths, types or workflows, by their key.
    pub filters: Vec<Filter>,
    /// The times of a schedule.
    pub crons: Vec<Name>,
    /// What it takes.
    pub inputs: Vec<Input>,
    /// What a called workflow gives back.
    pub outputs: Vec<(Name, Text)>,
    /// The secrets that a called workflow takes.
    pub secrets: Vec<Input>,
}

/// A filter of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Its key, such as `branches-ignore`.
    pub key: Name,
    /// Where its value stands.
    pub span: Span,
    /// What it names.
    pub items: Vec<Name>,
}

/// A value that a workflow or an action takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: Name,
    /// `string`, `boolean`, `number`, `choice` or `environment`.
    pub kind: Option<Name>,
    /// What it is if none is given.
    pub default: Option<Text>,
    /// Whether it must be given.
    pub required: bool,
    /// The values of a choice.
    pub options: Vec<Name>,
}

impl Event {
    /// Finds a filter by its key.
    #[must_use]
    pub fn filter(&self, key: &str) -> Option<&Filter> {
        self.filters.iter().find(|filter| &*filter.key.text == key)
    }
}

pub(super) fn events(reader: &mut Reader<'_>, node: &Node) -> Vec<Event> {
    if node.entries().is_none() {
        let names = reader.names(node, "`on`");
        return names.into_iter().map(|name| Event { span: name.span, name, ..Event::default() }).collect();
    }
    let entries = reader.entries(node, "`on`");
    entries
        .filter_map(|(_, entry)| {
            let mut event =
                Event { name: Name::of(&entry.key)?, span: entry.value.place(), ..Event::default() };
            filters(reader, &entry.value, &mut event);
            Some(event)
        })
        .collect()
}

fn filters(reader: &mut Reader<'_>, node: &Node, event: &mut Event) {
    if &*event.name.text == "schedule" {
        let crons = reader.items(node, "`schedule`").iter();
        event.crons = crons.filter_map(|item| Name::of(item.get("cron")?)).collect();
        return;
    }
    // `push:` without filters is nothing, and some write a list of types.
    for (key, entry) in reader.entries(node, "an event") {
        match key {
            "branches" | "branches-ignore" | "tags" | "tags-ignore" | "paths" | "paths-ignore" | "types"
            | "workflows" => {
                let Some(key) = Name::of(&entry.key) else { continue };
                let items = reader.names(&entry.value, "a filter");
                event.filters.push(Filter { key, span: entry.value.place(), items });
            }
            "inputs" => event.inputs = inputs(reader, &entry.value),
            "secrets" => event.secrets = inputs(reader, &entry.value),
            "outputs" => event.outputs = outputs(reader, &entry.value),
            _ => reader.unknown(entry),
        }
    }
}

pub(super) fn inputs(reader: &mut Reader<'_>, node: &Node) -> Vec<Input> {
    let entries = reader.entries(node, "`inputs`");
    entries
        .filter_map(|(_, entry)| {
            let node = &entry.value;
            let required = node.get("required").and_then(Node::scalar).and_then(|scalar| scalar.as_bool());
            Some(Input {
                name: Name::of(&entry.key)?,
                kind: node.get("type").and_then(Name::of),
                default: node.get("default").and_then(Text::of),
                required: required.unwrap_or(false),
                options: node.get("options").map(|node| reader.names(node, "`options`")).unwrap_or_default(),
            })
        })
        .collect()
}

pub(super) fn outputs(reader: &mut Reader<'_>, node: &Node) -> Vec<(Name, Text)> {
    let entries = reader.entries(node, "`outputs`");
    entries
        .filter_map(|(_, entry)| {
            let value = match &entry.value.kind {
                Kind::Mapping(_) => entry.value.get("value")?,
                _ => &entry.value,
            };
            Name::of(&entry.key).zip(Text::of(value))
        })
        .collect()
}
