//! The inventory as tables: what there is, who answers for what, and what starts what.

use super::{Asset, Edge, EdgeKind, Inventory, Scope, markdown::kind};
use crate::{
    text::{Line, Style, Table, plural, wrap},
    untrusted::visible,
};

impl Inventory {
    /// Returns the inventory as text: assets, then the references of each.
    #[must_use]
    pub fn lines(&self, columns: usize) -> Vec<Line> {
        if self.assets.is_empty() {
            return vec![Line::new(Style::Dim, "nothing here orchestrates agents or workflows")];
        }
        let head = format!(
            "{}, {}",
            plural(self.assets.len() as u64, "asset"),
            plural(self.edges.len() as u64, "reference")
        );
        let mut lines = vec![Line::new(Style::Strong, head), Line::default()];
        let mut named = vec![0_u32; self.assets.len()];
        for to in self.edges.iter().filter_map(|edge| edge.to) {
            if let Some(count) = named.get_mut(to as usize) {
                *count += 1;
            }
        }
        let mut table = Table::new(&["kind", "name", "/where", "refers to", ">named"]);
        for asset in &self.assets {
            table.row([
                (Style::Dim, kind(asset.kind).to_owned()),
                (Style::Strong, self.full_name(asset.id)),
                (Style::Plain, whereabouts(asset)),
                (Style::Plain, self.targets(asset.id)),
                (Style::Plain, named.get(asset.id as usize).copied().unwrap_or(0).to_string()),
            ]);
        }
        lines.extend(table.lines(columns));
        lines.push(Line::default());
        lines.extend(self.legend(columns));
        lines.extend(self.overview_lines(columns));
        lines
    }

    /// Returns a name with the scope that it needs to be unique.
    pub(super) fn full_name(&self, id: u32) -> String {
        let Some(asset) = self.assets.get(id as usize) else { return String::new() };
        match &asset.scope {
            Scope::Plugin(plugin) => visible(&format!("{plugin}:{}", asset.name)),
            Scope::Repository | Scope::Workflow(_) => visible(&asset.name),
        }
    }

    /// Explains the signs that are used.
    fn legend(&self, columns: usize) -> Vec<Line> {
        let used = SIGNS.iter().filter(|(kind, ..)| self.edges.iter().any(|edge| edge.kind == *kind));
        let mut parts: Vec<String> = used.map(|(_, sign, says)| format!("{sign} {says}")).collect();
        if self.edges.iter().any(Edge::is_missing) {
            parts.push("? is not here".to_owned());
        }
        let lines = if parts.is_empty() { Vec::new() } else { wrap(&parts.join(", "), columns) };
        lines.into_iter().map(|line| Line::new(Style::Dim, line)).collect()
    }

    /// Returns the references of an asset; they stand in the order of the assets.
    fn edges_of(&self, id: u32) -> &[Edge] {
        let from = self.edges.partition_point(|edge| edge.from < id);
        let to = self.edges.partition_point(|edge| edge.from <= id);
        &self.edges[from..to.max(from)]
    }

    /// Lists what an asset refers to; what is not there is marked.
    fn targets(&self, id: u32) -> String {
        let mut names: Vec<String> = self
            .edges_of(id)
            .iter()
            .map(|edge| {
                let missing = if edge.is_missing() { "?" } else { "" };
                // The last word of what is given is its name.
                let data = edge.data.as_deref().and_then(|data| data.rsplit(' ').next());
                let data = data.map_or_else(String::new, |data| format!("[{}]", visible(data)));
                format!("{}{}{missing}{data}", sign(edge.kind), visible(&edge.name))
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names.join(" ")
    }
}

/// Returns where an asset stands; of one that starts its file, the file says it.
fn whereabouts(asset: &Asset) -> String {
    let path = visible(&asset.place.path);
    if asset.place.start == 0 { path } else { format!("{path}:{}", asset.place.line) }
}

/// The kinds of references, each with its sign and what it says.
const SIGNS: [(EdgeKind, &str, &str); 7] = [
    (EdgeKind::Awaits, "<", "waits for"),
    (EdgeKind::Calls, "(", "calls"),
    (EdgeKind::Triggers, "!", "starts"),
    (EdgeKind::Delegates, ">", "hands work to"),
    (EdgeKind::Names, "~", "names"),
    (EdgeKind::Imports, "+", "includes"),
    (EdgeKind::Feeds, "=", "feeds"),
];

fn sign(kind: EdgeKind) -> &'static str {
    SIGNS.iter().find(|row| row.0 == kind).map_or("", |row| row.1)
}
