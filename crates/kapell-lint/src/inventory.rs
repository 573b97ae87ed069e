//! The assets of a repository and the references between them, collected in any order.

use kapell_spec::finding::Span;
use kapell_view::audit::{Asset, AssetKind, Edge, EdgeKind, Inventory, Scope, Strength};

use crate::files::{FileId, Files};

/// An asset while the inventory is being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssetKey(usize);

/// What a reference leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An asset that is there.
    Asset(AssetKey),
    /// What is there and is no asset, by its name: another file, or what its client always has.
    Beside(String),
    /// A name that nothing here has.
    Missing(String),
}

/// Collects assets and references in any order; their numbers do not depend on it.
#[derive(Debug)]
pub struct Builder<'a> {
    files: &'a Files,
    assets: Vec<Asset>,
    edges: Vec<Reference>,
}

/// A reference while the inventory is being built.
#[derive(Debug)]
struct Reference {
    from: AssetKey,
    to: Target,
    kind: EdgeKind,
    strength: Strength,
    at: (FileId, Span),
    data: Option<String>,
}

impl<'a> Builder<'a> {
    /// Starts with nothing.
    #[must_use]
    pub fn new(files: &'a Files) -> Self {
        Self { files, assets: Vec::new(), edges: Vec::new() }
    }

    /// Adds an asset: its name as others call it, and all of the text that defines it.
    pub fn asset(&mut self, kind: AssetKind, name: &str, scope: Scope, file: FileId, span: Span) -> AssetKey {
        let source = &self.files[file];
        let text = source.text.get(span.range()).unwrap_or_default();
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        let place = source.place(span);
        self.assets.push(Asset {
            id: 0,
            kind,
            name: name.to_owned(),
            scope,
            place,
            hash,
            events: Vec::new(),
        });
        AssetKey(self.assets.len() - 1)
    }

    /// Adds a reference, and where it is written.
    pub fn edge(
        &mut self,
        from: AssetKey,
        to: Target,
        kind: EdgeKind,
        strength: Strength,
        at: (FileId, Span),
    ) {
        self.edges.push(Reference { from, to, kind, strength, at, data: None });
    }

    /// Says which events start an asset.
    pub fn events(&mut self, asset: AssetKey, events: Vec<String>) {
        self.assets[asset.0].events = events;
    }

    /// Adds what one asset gives another, once for each thing that it gives.
    pub fn feeds(&mut self, from: AssetKey, to: AssetKey, data: &str, at: (FileId, Span)) {
        let known = |edge: &Reference| {
            edge.from == from && edge.to == Target::Asset(to) && edge.data.as_deref() == Some(data)
        };
        if from != to && !self.edges.iter().any(known) {
            let (kind, strength) = (EdgeKind::Feeds, Strength::Certain);
            let data = Some(data.to_owned());
            self.edges.push(Reference { from, to: Target::Asset(to), kind, strength, at, data });
        }
    }

    /// Finds the asset of a kind that holds a place.
    #[must_use]
    pub fn around(&self, kind: AssetKind, file: FileId, span: Span) -> Option<AssetKey> {
        let path = &*self.files[file].path;
        let holds = |asset: &Asset| {
            asset.kind == kind
                && asset.place.path == path
                && asset.place.start <= span.start
                && span.end <= asset.place.end
        };
        self.assets.iter().position(holds).map(AssetKey)
    }

    /// Numbers what was collected.
    #[must_use]
    pub fn finish(self) -> Inventory {
        let Self { files, assets, edges } = self;
        let mut order: Vec<usize> = (0..assets.len()).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (&assets[a], &assets[b]);
            (a.kind, &a.place, &a.name).cmp(&(b.kind, &b.place, &b.name))
        });
        let mut ids = vec![0; assets.len()];
        order.iter().enumerate().for_each(|(id, &at)| ids[at] = id as u32);
        let mut edges: Vec<Edge> = edges
            .into_iter()
            .map(|Reference { from, to, kind, strength, at: (file, span), data }| {
                let (to, beside, name) = match to {
                    Target::Asset(AssetKey(at)) => (Some(ids[at]), false, assets[at].name.clone()),
                    Target::Beside(name) => (None, true, name),
                    Target::Missing(name) => (None, false, name),
                };
                let place = files[file].place(span);
                Edge { from: ids[from.0], to, beside, name, kind, strength, place, data }
            })
            .collect();
        edges.sort_by(|a, b| {
            (a.from, &a.place, a.kind, &a.name, &a.data).cmp(&(b.from, &b.place, b.kind, &b.name, &b.data))
        });
        let mut assets: Vec<Option<Asset>> = assets.into_iter().map(Some).collect();
        let assets = order
            .iter()
            .enumerate()
            .filter_map(|(id, &at)| assets[at].take().map(|asset| Asset { id: id as u32, ..asset }))
            .collect();
        Inventory { assets, edges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_depend_on_the_order_of_collection() {
        let files = Files::new([("a.md".to_owned(), "one\ntwo\n".to_owned())]);
        let file = files.find("a.md").expect("it was given");
        let build = |backwards: bool| {
            let mut builder = Builder::new(&files);
            let mut spans = [(Span::new(0, 3), "one"), (Span::new(4, 7), "two")];
            if backwards {
                spans.reverse();
            }
            let keys: Vec<AssetKey> = spans
                .iter()
                .map(|&(span, name)| builder.asset(AssetKind::Agent, name, Scope::Repository, file, span))
                .collect();
            let (one, two) = if backwards { (keys[1], keys[0]) } else { (keys[0], keys[1]) };
            let at = (file, Span::new(0, 3));
            builder.edge(two, Target::Missing("three".to_owned()), EdgeKind::Names, Strength::Weak, at);
            builder.edge(one, Target::Asset(two), EdgeKind::Delegates, Strength::Certain, at);
            builder.finish()
        };
        let inventory = build(false);
        assert_eq!(inventory, build(true));
        let edges: Vec<_> = inventory.edges.iter().map(|edge| (edge.from, edge.to, &*edge.name)).collect();
        assert_eq!(edges, [(0, Some(1), "two"), (1, None, "three")]);
    }
}
