//! A plan as a diagram: Mermaid for pages, DOT for Graphviz.

use std::fmt::Write as _;

use kapell_core::time::Millis;

use super::PlanView;
use crate::{
    text::{count, length},
    untrusted::Untrusted,
};

/// The most needs that a Mermaid diagram shows: above 500 edges Mermaid refuses by default (`maxEdges`).
const MERMAID_EDGES_MAX: usize = 400;

/// The most tasks that a DOT diagram shows one by one; beyond, Graphviz takes minutes.
const DOT_TASKS_MAX: usize = 5_000;

/// A box of a diagram.
struct Node {
    name: Untrusted,
    note: String,
    kind: String,
    critical: bool,
    needs: Vec<usize>,
}

impl PlanView {
    /// Returns the plan as a Mermaid flowchart; large plans are grouped.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let edges: usize = self.tasks.iter().map(|task| task.needs.len()).sum();
        let nodes = self.nodes(edges.max(self.tasks.len()) <= MERMAID_EDGES_MAX);
        let mut text = String::from("flowchart LR\n");
        for (id, node) in nodes.iter().enumerate() {
            let label = Untrusted::from(format!("{} ({})", node.name.raw(), node.note)).mermaid();
            let (open, close) = if node.kind == "gate" { ("{{", "}}") } else { ("[", "]") };
            let _ = writeln!(text, "  t{id}{open}{label}{close}");
        }
        let mut drawn = 0;
        for (id, node) in nodes.iter().enumerate() {
            for need in &node.needs {
                drawn += 1;
                if drawn <= MERMAID_EDGES_MAX {
                    let _ = writeln!(text, "  t{need} --> t{id}");
                }
            }
        }
        if drawn > MERMAID_EDGES_MAX {
            let _ = writeln!(text, "  %% {} more needs are not drawn", drawn - MERMAID_EDGES_MAX);
        }
        let critical: Vec<String> = (nodes.iter().enumerate())
            .filter(|(_, node)| node.critical)
            .map(|(id, _)| format!("t{id}"))
            .collect();
        if !critical.is_empty() {
            let _ = writeln!(
                text,
                "  classDef critical stroke-width:3px\n  class {} critical",
                critical.join(",")
            );
        }
        text
    }

    /// Returns the plan in the DOT language of Graphviz; large plans are grouped.
    #[must_use]
    pub fn dot(&self) -> String {
        let nodes = self.nodes(self.tasks.len() <= DOT_TASKS_MAX);
        let mut text = String::from("digraph plan {\n  rankdir=LR\n  node [shape=box]\n");
        for (id, node) in nodes.iter().enumerate() {
            let label = Untrusted::from(format!("{} ({})", node.name.raw(), node.note)).dot();
            let shape = if node.kind == "gate" { ", shape=diamond" } else { "" };
            let bold = if node.critical { ", penwidth=3" } else { "" };
            let _ = writeln!(text, "  t{id} [label={label}{shape}{bold}]");
        }
        for (id, node) in nodes.iter().enumerate() {
            for &need in &node.needs {
                let bold = if node.critical && nodes[need].critical { " [penwidth=3]" } else { "" };
                let _ = writeln!(text, "  t{need} -> t{id}{bold}");
            }
        }
        text.push_str("}\n");
        text
    }

    fn nodes(&self, each: bool) -> Vec<Node> {
        if each {
            let node = |task: &super::PlanTask| Node {
                name: task.name.clone(),
                note: if task.kind == "gate" { "gate".to_owned() } else { length(Self::p50(task)) },
                kind: task.kind.clone(),
                critical: task.critical,
                needs: task.needs.iter().map(|need| *need as usize).collect(),
            };
            return self.tasks.iter().map(node).collect();
        }
        let groups = self.groups().into_iter();
        let node = |group: super::group::Group| Node {
            note: match group.tasks {
                1 => length(Millis(group.work_ms)),
                tasks => format!("{} tasks, {}", count(tasks), length(Millis(group.work_ms))),
            },
            name: group.name,
            kind: group.kind,
            critical: group.critical,
            needs: group.needs,
        };
        groups.map(node).collect()
    }
}
