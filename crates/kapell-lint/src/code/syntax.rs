//! A syntax tree in one vector, within bounds.

use std::{ops::ControlFlow, sync::LazyLock};

use kapell_spec::finding::Span;
use tree_sitter::{ParseOptions, ParseState, Parser, Point};

/// The most nodes that a file may have; more than any file that people wrote.
const NODES: usize = 500_000;

/// A language that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python.
    Python,
    /// TypeScript.
    TypeScript,
    /// JavaScript, and TypeScript with markup.
    Tsx,
}

impl Language {
    /// Returns the language of a file by its ending.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        match path.rsplit_once('.')?.1 {
            "py" => Some(Self::Python),
            "ts" | "mts" | "cts" => Some(Self::TypeScript),
            "tsx" | "js" | "jsx" | "mjs" | "cjs" => Some(Self::Tsx),
            _ => None,
        }
    }

    fn names(self) -> &'static Names {
        static NAMES: LazyLock<[Names; 3]> = LazyLock::new(|| {
            [Language::Python, Language::TypeScript, Language::Tsx]
                .map(|language| Names::of(&language.grammar()))
        });
        &NAMES[self as usize]
    }

    fn grammar(self) -> tree_sitter::Language {
        match self {
            Self::Python => tree_sitter_python::LANGUAGE.into(),
            Self::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
            Self::Tsx => tree_sitter_typescript::LANGUAGE_TSX.into(),
        }
    }
}

/// What a grammar calls its kinds and fields, by their numbers.
#[derive(Debug)]
struct Names {
    kinds: Vec<String>,
    fields: Vec<String>,
}

impl Names {
    fn of(grammar: &tree_sitter::Language) -> Self {
        let kind = |id| grammar.node_kind_for_id(id as u16).unwrap_or_default().to_owned();
        let field = |id| grammar.field_name_for_id(id as u16).unwrap_or_default().to_owned();
        Self {
            kinds: (0..grammar.node_kind_count()).map(kind).collect(),
            fields: (0..=grammar.field_count()).map(field).collect(),
        }
    }
}

/// The number of a node, in the order of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u32);

impl Id {
    /// The whole file.
    pub const ROOT: Self = Self(0);
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Its kind, as the grammar calls it.
    pub kind: &'static str,
    /// What it is to its parent; empty for nothing special.
    pub field: &'static str,
    /// Where it stands.
    pub span: Span,
    /// The node around it; its own number for the root.
    pub parent: Id,
    /// The number after its last descendant's.
    end: u32,
}

/// A file's tree. A node's descendants follow it.
#[derive(Debug)]
pub struct Syntax {
    nodes: Vec<Node>,
    names: &'static Names,
    /// The nodes of each kind, by its number: rules ask for them over and over.
    by_kind: Vec<Vec<Id>>,
}

impl Syntax {
    /// Parses `text`; `None` where that takes more steps or nodes than code that people wrote.
    #[must_use]
    pub fn parse(language: Language, text: &str) -> Option<Self> {
        let mut parser = Parser::new();
        parser.set_language(&language.grammar()).ok()?;
        // Counted in steps, not in time: the same file must give the same answer on every machine.
        let mut left = 10_000 + text.len();
        let mut progress = |_: &ParseState| {
            left = left.saturating_sub(1);
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut input = |at: usize, _: Point| text.as_bytes().get(at..).unwrap_or_default();
        let options = ParseOptions::new().progress_callback(&mut progress);
        let tree = parser.parse_with_options(&mut input, None, Some(options))?;
        Self::flatten(language.names(), &tree)
    }

    /// Copies the tree without recursion, for a text may nest ten thousand deep.
    fn flatten(names: &'static Names, tree: &tree_sitter::Tree) -> Option<Self> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut by_kind = vec![Vec::new(); names.kinds.len()];
        let mut path: Vec<u32> = Vec::new();
        let mut cursor = tree.walk();
        loop {
            let node = cursor.node();
            let at = nodes.len() as u32;
            if nodes.len() == NODES {
                return None;
            }
            let field = cursor.field_id().and_then(|field| names.fields.get(field.get() as usize));
            let kind = names.kinds.get(node.kind_id() as usize);
            if let Some(alike) = by_kind.get_mut(node.kind_id() as usize) {
                alike.push(Id(at));
            }
            nodes.push(Node {
                kind: kind.map_or("ERROR", |kind| kind),
                field: field.map_or("", |field| field),
                span: Span::new(node.start_byte(), node.end_byte()),
                parent: Id(path.last().copied().unwrap_or(0)),
                end: at + 1,
            });
            if cursor.goto_first_child() {
                path.push(at);
                continue;
            }
            while !cursor.goto_next_sibling() {
                let Some(done) = path.pop() else {
                    let mut syntax = Self { nodes, names, by_kind };
                    syntax.mend_awaits();
                    return Some(syntax);
                };
                nodes[done as usize].end = nodes.len() as u32;
                cursor.goto_parent();
            }
        }
    }

    /// Puts `await f<T>(x)` right, which the grammar of TypeScript reads as a call of `await f`.
    fn mend_awaits(&mut self) {
        for wait in self.of_kind(&["await_expression"]) {
            let call = self[wait].parent;
            let misread = self[call].kind == "call_expression"
                && self[wait].field == "function"
                && wait.0 == call.0 + 1
                && self[wait].end > wait.0 + 2;
            if misread {
                self.mend_await(call, wait, Id(wait.0 + 1));
            }
        }
    }

    /// Makes of a call, what it waits with and the word for that: the waiting, the word, and the call that is waited for.
    fn mend_await(&mut self, call: Id, wait: Id, word: Id) {
        let (outer, inner) = (self[call].end, Id(word.0 + 1));
        let kinds = (self[call].kind, self[wait].kind, self[word].kind);
        let (place, end) = (self[word].span, self[call].span.end);
        for list in &mut self.by_kind {
            for id in list.iter_mut() {
                *id = match *id {
                    id if id == call => word,
                    id if id == wait => call,
                    id if id == word => wait,
                    id => id,
                };
            }
        }
        for at in inner.0..outer {
            let node = &mut self.nodes[at as usize];
            if node.parent == call || node.parent == wait {
                node.parent = word;
            }
        }
        let start = self[inner].span.start;
        self.nodes[inner.0 as usize].field = "function";
        let nodes = &mut self.nodes;
        nodes[call.0 as usize].kind = kinds.1;
        let at = &mut nodes[wait.0 as usize];
        (at.kind, at.field, at.span, at.parent, at.end) = (kinds.2, "", place, call, word.0);
        let at = &mut nodes[word.0 as usize];
        (at.kind, at.field, at.parent, at.end) = (kinds.0, "", call, outer);
        at.span = Span { start, end };
    }

    /// Returns the nodes below `id`, in the order of the text.
    pub fn below(&self, id: Id) -> impl Iterator<Item = Id> + use<> {
        (id.0 + 1..self[id].end).map(Id)
    }

    /// Returns the children of `id`.
    pub fn children(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        let end = self[id].end;
        let first = Some(id.0 + 1).filter(|&at| at < end);
        let next = move |&at: &u32| Some(self.nodes[at as usize].end).filter(|&at| at < end);
        std::iter::successors(first, next).map(Id)
    }

    /// Returns the child that is `field` of `id`.
    #[must_use]
    pub fn child(&self, id: Id, field: &str) -> Option<Id> {
        self.children(id).find(|&child| self[child].field == field)
    }

    /// Returns the nodes around `id`, nearest first, without itself.
    pub fn around(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        let up = |&id: &Id| (id != Id::ROOT).then(|| self[id].parent);
        std::iter::successors(up(&id), up)
    }

    /// Tells whether `inner` is `outer` or below it.
    #[must_use]
    pub fn holds(&self, outer: Id, inner: Id) -> bool {
        outer <= inner && inner.0 < self[outer].end
    }

    /// Returns all nodes of some kinds, in the order of the text.
    pub fn of_kind(&self, kinds: &[&str]) -> std::vec::IntoIter<Id> {
        let named = self.names.kinds.iter().zip(&self.by_kind);
        let lists = named.filter(|(name, alike)| !alike.is_empty() && kinds.contains(&name.as_str()));
        let mut found: Vec<Id> = lists.flat_map(|(_, alike)| alike.iter().copied()).collect();
        found.sort_unstable();
        found.into_iter()
    }

    /// Returns the number after that of the last node below `id`.
    #[must_use]
    pub fn end(&self, id: Id) -> Id {
        Id(self[id].end)
    }
}

impl std::ops::Index<Id> for Syntax {
    type Output = Node;

    fn index(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_and_what_is_around_them() {
        let syntax = Syntax::parse(Language::Python, "f(a, b=2)\n").expect("a short text");
        let call = syntax.of_kind(&["call"]).next().expect("there is one");
        let arguments = syntax.child(call, "arguments").expect("it has some");
        let kinds: Vec<_> = syntax.children(arguments).map(|id| syntax[id].kind).collect();
        assert_eq!(kinds, ["(", "identifier", ",", "keyword_argument", ")"]);
        assert_eq!(syntax.around(call).map(|id| syntax[id].kind).last(), Some("module"));
        assert!(syntax.holds(call, arguments) && !syntax.holds(arguments, call));
    }

    #[test]
    fn deep_and_broken_texts_end() {
        for language in [Language::Python, Language::TypeScript, Language::Tsx] {
            for text in
                ["(".repeat(20_000), "[".repeat(10_000) + &"]".repeat(10_000), "\u{fffd}\0".repeat(5_000)]
            {
                if let Some(syntax) = Syntax::parse(language, &text) {
                    assert!(syntax.below(Id::ROOT).count() < NODES);
                }
            }
        }
    }
}
