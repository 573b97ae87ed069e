//! The inventory as tables: what there is, who answers for what, and what starts what.

use super::{EdgeKind, Inventory, Scope, markdown::kind};
use crate::{
    text::{Line, Style, Table, plural},
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
        let mut table = Table::new(&["kind", "name", "/where", "refers to", "named by"]);
        for asset in &self.assets {
            table.row([
                (Style::Dim, kind(asset.kind).to_owned()),
                (Style::Strong, self.full_name(asset.id)),
                (Style::Plain, format!("{}:{}", visible(&asset.place.path), asset.place.line)),
                (Style::Plain, self.targets(asset.id)),
                (
                    Style::Plain,
                    self.edges.iter().filter(|edge| edge.to == Some(asset.id)).count().to_string(),
                ),
            ]);
        }
        lines.extend(table.lines(columns));
        lines
    }

    /// Returns a name with the scope that it needs to be unique.
    fn full_name(&self, id: u32) -> String {
        let Some(asset) = self.assets.get(id as usize) else { return String::new() };
        match &asset.scope {
            Scope::Plugin(plugin) => visible(&format!("{plugin}:{}", asset.name)),
            Scope::Repository | Scope::Workflow(_) => visible(&asset.name),
        }
    }

    /// Lists what an asset refers to; what is not there is marked.
    fn targets(&self, id: u32) -> String {
        let mut names: Vec<String> = self
            .edges
            .iter()
            .filter(|edge| edge.from == id)
            .map(|edge| {
                let missing = if edge.to.is_none() { "?" } else { "" };
                format!("{}{}{missing}", sign(edge.kind), visible(&edge.name))
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names.join(" ")
    }
}

/// A sign for each kind of reference, as `kapell map --help` explains them.
fn sign(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Awaits => "<",
        EdgeKind::Calls => "(",
        EdgeKind::Triggers => "!",
        EdgeKind::Delegates => ">",
        EdgeKind::Names => "~",
        EdgeKind::Imports => "+",
        EdgeKind::Feeds => "=",
    }
}
