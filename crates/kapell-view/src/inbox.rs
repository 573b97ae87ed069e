//! All decisions that wait for a person, over many runs.

use kapell_core::{id::RunId, run::Run};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    status::{OpenGate, gates},
    summary::next,
    text::{Line, Style, plural, short},
    untrusted::Untrusted,
};

/// The version of [`InboxView`] on the wire.
pub const INBOX_VIEW_VERSION: u32 = 1;

/// What waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InboxView {
    /// The version of this form: 1.
    pub version: u32,
    /// The decisions, run by run.
    pub items: Vec<InboxItem>,
}

/// A decision that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InboxItem {
    /// The run.
    pub run: String,
    /// What was asked of it.
    pub objective: Untrusted,
    /// The decision.
    pub gate: OpenGate,
}

impl InboxView {
    /// Collects what waits in these runs, each with whether some process executes it.
    #[must_use]
    pub fn new<'a>(runs: impl IntoIterator<Item = (&'a Run, bool)>) -> Self {
        let items = runs.into_iter().flat_map(|(run, owned)| {
            gates(run, owned).into_iter().map(move |gate| {
                let objective = run.mission().objective.as_str().into();
                InboxItem { run: run.id().to_string(), objective, gate }
            })
        });
        Self { version: INBOX_VIEW_VERSION, items: items.collect() }
    }

    /// Returns the decisions as lines of at most `columns`. Commands are never cut off, for they are to be typed.
    #[must_use]
    pub fn lines(&self, columns: usize) -> Vec<Line> {
        let Some(first) = self.items.first() else {
            return vec![Line::new(Style::Dim, "nothing waits for you")];
        };
        let mut lines = Vec::new();
        let mut last = "";
        for item in &self.items {
            if item.run != last {
                let id = item.run.parse::<RunId>().map_or_else(|_| item.run.clone(), short);
                let head = Line::new(Style::Strong, id);
                lines.push(head.with(Style::Plain, format!("  {}", item.objective.visible())).fit(columns));
            }
            last = &item.run;
            lines.extend(item.gate.lines(columns));
        }
        let more = self.items.len() as u64;
        if more > 1 {
            lines.push(Line::new(Style::Dim, format!("{} in all", plural(more, "decision"))));
        }
        lines.push(next(&first.gate.command));
        lines
    }
}
