//! A file of code, and what its names stand for.

mod learn; // what its nodes say about them

use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
};

use kapell_spec::finding::Span;

use super::{
    imports::{self, Origin},
    syntax::{Id, Language, Syntax},
};
use crate::files::FileId;

/// How many names are followed from one to the next before giving up.
const HOPS: u32 = 12;

/// What a call is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg<'a> {
    /// The name it is given by.
    pub name: Option<&'a str>,
    /// The value.
    pub value: Id,
}

/// What an expression stands for: a dotted name from an import on, `()` for "what it returns".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Such as `openai.OpenAI().chat.completions`.
    pub text: String,
    /// The call that made the object, if just one did.
    pub built: Option<Id>,
}

/// A file of code.
#[derive(Debug)]
pub struct Unit {
    /// The file.
    pub file: FileId,
    /// Its language.
    pub language: Language,
    /// Its tree.
    pub syntax: Syntax,
    text: Box<str>,
    imports: BTreeMap<Box<str>, Box<str>>,
    /// Where names come from that other files export; `import a.b` is known as `a.b`.
    origins: BTreeMap<Box<str>, Origin>,
    classes: BTreeMap<Box<str>, Id>,
    /// What the file exports as its default.
    default: Option<Id>,
    /// Values by how and where a name is bound: most names are bound nowhere.
    bindings: HashMap<Box<str>, BTreeMap<Id, Vec<Id>>>,
    /// Types by how and where a name is declared.
    types: HashMap<Box<str>, BTreeMap<Id, Id>>,
    /// What each call calls, once somebody has asked: every rule asks for all of them.
    paths: OnceLock<Vec<Option<Path>>>,
    /// All calls, in the order of the text.
    calls: Vec<Id>,
    /// Functions and methods by name: asked for at every call.
    functions: BTreeMap<Box<str>, Vec<Id>>,
}

/// Nodes that are functions.
pub const FUNCTIONS: &[&str] = &[
    "function_definition",
    "function_declaration",
    "function_expression",
    "arrow_function",
    "method_definition",
    "generator_function_declaration",
    "lambda",
];

const CALLS: &[&str] = &["call", "call_expression", "new_expression"];

/// Exceptions that stand for whatever fails, also for what will never work.
pub const BROAD: &[&str] = &[
    "Exception",
    "BaseException",
    "httpx.HTTPError",
    "HTTPError",
    "requests.RequestException",
    "RequestException",
    "requests.exceptions.RequestException",
    "aiohttp.ClientError",
    "ClientError",
    "APIError",
    "openai.APIError",
    "anthropic.APIError",
    "OpenAIError",
    "openai.OpenAIError",
    "AnthropicError",
    "anthropic.AnthropicError",
];

/// Returns a text without the quotes around it.
#[must_use]
pub fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\''])
}

impl Unit {
    /// Reads a file; `None` where it is too large or odd to be code that people wrote.
    #[must_use]
    pub fn read(file: FileId, language: Language, text: &str) -> Option<Self> {
        let syntax = Syntax::parse(language, text)?;
        let (imports, bindings, functions) = (BTreeMap::new(), HashMap::new(), BTreeMap::new());
        let (types, origins, classes) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        let text = text.into();
        let mut unit = Self {
            file,
            language,
            syntax,
            text,
            imports,
            origins,
            classes,
            default: None,
            bindings,
            types,
            calls: Vec::new(),
            paths: OnceLock::new(),
            functions,
        };
        unit.calls = unit.syntax.of_kind(CALLS).collect();
        for id in unit.syntax.below(Id::ROOT) {
            unit.learn(id);
        }
        Some(unit)
    }

    /// Returns the text of a node.
    #[must_use]
    pub fn text(&self, id: Id) -> &str {
        &self.text[self.syntax[id].span.range()]
    }

    /// Tells whether a node is a call, which the two languages have under names of their own.
    #[must_use]
    pub fn is_call(&self, id: Id) -> bool {
        matches!(self.kind(id), "call" | "call_expression")
    }

    /// Tells whether a node handles failures: `except`, `catch`.
    #[must_use]
    pub fn is_handler(&self, id: Id) -> bool {
        matches!(self.kind(id), "except_clause" | "catch_clause")
    }

    /// Tells whether a handler takes whatever fails.
    #[must_use]
    pub fn handles_all(&self, handler: Id) -> bool {
        if self.language != Language::Python {
            return true;
        }
        let plain = |&id: &Id| !matches!(self.kind(id), "except" | ":" | "block" | "comment");
        let Some(named) = self.syntax.children(handler).find(plain) else { return true };
        let text = self.text(named);
        BROAD.contains(&text.split(" as ").next().unwrap_or(text).trim())
    }

    /// Returns what a string says that begins with its quote: one with a prefix, or made of parts, may say anything.
    #[must_use]
    pub fn literal(&self, id: Id) -> Option<&str> {
        let text = self.text(id);
        let plain = self.kind(id) == "string" && text.starts_with(['"', '\'']);
        plain.then(|| unquoted(text))
    }

    /// Returns the text of the file.
    #[must_use]
    pub fn whole(&self) -> &str {
        &self.text
    }

    /// Returns a node's kind.
    #[must_use]
    pub fn kind(&self, id: Id) -> &'static str {
        self.syntax[id].kind
    }

    /// Returns where a node stands.
    #[must_use]
    pub fn span(&self, id: Id) -> Span {
        self.syntax[id].span
    }

    /// Returns all calls, constructions included, in the order of the text.
    pub fn calls(&self) -> impl Iterator<Item = Id> + '_ {
        self.calls.iter().copied()
    }

    /// Returns the calls within `id`.
    pub fn calls_in(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        let from = self.calls.partition_point(|&call| call < id);
        let below = self.syntax.end(id);
        self.calls[from..].iter().copied().take_while(move |&call| call < below)
    }

    /// Returns what a call calls.
    #[must_use]
    pub fn callee(&self, call: Id) -> Option<Id> {
        self.syntax.child(call, "function").or_else(|| self.syntax.child(call, "constructor"))
    }

    /// Returns the last word of what a call calls: `run` of `team.agent.run`.
    #[must_use]
    pub fn callee_name(&self, call: Id) -> &str {
        let text = self.callee(call).map_or("", |callee| self.text(callee));
        text.rsplit(['.', ')', ']']).next().unwrap_or(text).trim()
    }

    /// Returns what a call is given, in order.
    #[must_use]
    pub fn args(&self, call: Id) -> Vec<Arg<'_>> {
        let Some(list) = self.syntax.child(call, "arguments") else { return Vec::new() };
        let mut args = Vec::new();
        for id in self.syntax.children(list) {
            match self.kind(id) {
                "(" | ")" | "," | "comment" => {}
                "keyword_argument" => {
                    let name = self.syntax.child(id, "name").map(|name| self.text(name));
                    args.extend(self.syntax.child(id, "value").map(|value| Arg { name, value }));
                }
                _ => args.push(Arg { name: None, value: id }),
            }
        }
        args
    }

    /// Tells whether a call is given values that no text shows: `**kwargs`, `...options`.
    #[must_use]
    pub fn has_splat(&self, call: Id) -> bool {
        self.args(call)
            .iter()
            .any(|arg| matches!(self.kind(arg.value), "dictionary_splat" | "spread_element"))
    }

    /// Returns the value given by a name in Python.
    #[must_use]
    pub fn keyword(&self, call: Id, name: &str) -> Option<Id> {
        self.args(call).iter().find(|arg| arg.name == Some(name)).map(|arg| arg.value)
    }

    /// Returns the function around `id`, or the file.
    #[must_use]
    pub fn function_of(&self, id: Id) -> Id {
        self.syntax.around(id).find(|&around| FUNCTIONS.contains(&self.kind(around))).unwrap_or(Id::ROOT)
    }

    /// Returns where the name of a function stands: its own, or that of the variable which it is given to.
    #[must_use]
    pub fn name_of(&self, function: Id) -> Option<Id> {
        let parent = self.syntax[function].parent;
        let given =
            || self.syntax.child(parent, "name").filter(|_| self.kind(parent) == "variable_declarator");
        self.syntax.child(function, "name").or_else(given)
    }

    /// Tells whether a function is asynchronous.
    #[must_use]
    pub fn is_async(&self, function: Id) -> bool {
        self.syntax.children(function).any(|id| self.kind(id) == "async")
    }

    /// Tells whether `id` is awaited at once.
    #[must_use]
    pub fn awaited(&self, id: Id) -> bool {
        matches!(self.kind(self.syntax[id].parent), "await" | "await_expression")
    }

    /// Finds a function or method of this file by its name, if there is just one.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Id> {
        match self.functions.get(name).map(Vec::as_slice) {
            Some([function]) => Some(*function),
            _ => None,
        }
    }

    /// Finds the function or method of this file that a call calls: the method of the class that made its object, if this
    /// file has that class, else whatever alone is called so.
    #[must_use]
    pub fn called(&self, call: Id) -> Option<Id> {
        let name = self.callee_name(call);
        let all = self.functions.get(name).map_or(&[][..], Vec::as_slice);
        let class_of = |function: Id| {
            let class = self.syntax.around(function).find(|&id| self.is_class(id))?;
            self.syntax.child(class, "name").map(|name| self.text(name))
        };
        let of_object = || {
            let object = self.syntax.child(self.callee(call)?, "object")?;
            let class = self.text(self.callee(self.path(object)?.built?)?);
            all.iter().copied().find(|&function| class_of(function) == Some(class))
        };
        match all {
            [] => None,
            [function] => Some(*function),
            _ => of_object(),
        }
    }

    /// Tells whether a function belongs to a class or an object.
    #[must_use]
    pub fn is_method(&self, function: Id) -> bool {
        let mut around = self.syntax.around(function);
        self.kind(function) == "method_definition"
            || around
                .find(|&id| self.is_class(id) || FUNCTIONS.contains(&self.kind(id)))
                .is_some_and(|id| self.is_class(id))
    }

    /// Returns all functions and methods by name.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &[Id])> {
        self.functions.iter().map(|(name, functions)| (&**name, &**functions))
    }

    /// Returns the scopes that a name of this place may belong to, nearest first.
    fn scopes(&self, at: Id, name: &str) -> impl Iterator<Item = Id> + '_ {
        let own = name.starts_with("self.") || name.starts_with("this.");
        self.syntax.around(at).chain([Id::ROOT]).filter(move |&id| {
            if own { self.is_class(id) } else { id == Id::ROOT || FUNCTIONS.contains(&self.kind(id)) }
        })
    }

    /// Returns the values that a name of this place was bound to.
    #[must_use]
    pub fn values(&self, at: Id, name: &str) -> &[Id] {
        let bound = self.bindings.get(name);
        bound
            .and_then(|bound| self.scopes(at, name).find_map(|scope| bound.get(&scope)))
            .map_or(&[], Vec::as_slice)
    }

    /// Returns what an object of the declared type of a name is: `client: AsyncOpenAI`.
    fn typed(&self, id: Id, hops: u32) -> Option<Path> {
        let name = self.text(id);
        let types = self.types.get(name)?;
        let declared = self.scopes(id, name).find_map(|scope| types.get(&scope))?;
        let named = std::iter::once(*declared).chain(self.syntax.below(*declared)).find(|&part| {
            matches!(self.kind(part), "identifier" | "type_identifier" | "attribute")
                && (self.kind(part) == "attribute" || self.imported(self.text(part)))
        })?;
        Some(Path { text: self.path_within(named, hops)?.text + "()", built: None })
    }

    /// Returns the value of a name, if it was bound just once, or the expression itself if it is no name.
    #[must_use]
    pub fn value(&self, id: Id) -> Option<Id> {
        if !matches!(self.kind(id), "identifier" | "attribute" | "member_expression") {
            return Some(id);
        }
        match self.values(id, self.text(id)) {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// Tells whether `object` has the key, or may have: `None` where it cannot be seen.
    #[must_use]
    pub fn object_key(&self, object: Id, key: &str) -> Option<Option<Id>> {
        let object = self.value(object)?;
        if !matches!(self.kind(object), "object" | "dictionary") {
            return None;
        }
        for child in self.syntax.children(object) {
            match self.kind(child) {
                "spread_element" | "dictionary_splat" => return None,
                "shorthand_property_identifier" if self.text(child) == key => return Some(Some(child)),
                "pair" => {
                    let name = self.syntax.child(child, "key").map(|name| self.text(name));
                    if name.is_some_and(|name| name.trim_matches(['"', '\'']) == key) {
                        return Some(self.syntax.child(child, "value"));
                    }
                }
                _ => {}
            }
        }
        Some(None)
    }

    /// Tells whether a name comes from another file.
    #[must_use]
    pub fn imported(&self, name: &str) -> bool {
        self.imports.contains_key(name)
    }

    /// Returns where a name comes from, if that is another file.
    #[must_use]
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.origins.get(name)
    }

    /// Returns where all names come from that come from other files.
    pub fn origins(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.origins.iter().map(|(name, origin)| (&**name, origin))
    }

    /// Says which file of the repository a name comes from, and what it stands for, if that is an object that a library made.
    pub(super) fn link(&mut self, name: &str, target: Option<imports::Target>, path: Option<String>) {
        if let Some(origin) = self.origins.get_mut(name) {
            origin.target = target;
        }
        if let Some((known, path)) = self.imports.get_mut(name).zip(path) {
            *known = path.into();
            self.paths = OnceLock::new();
        }
    }

    /// Finds a class of this file by its name.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<Id> {
        self.classes.get(name).copied()
    }

    /// Finds a method of a class of this file.
    #[must_use]
    pub fn method(&self, class: Id, name: &str) -> Option<Id> {
        let own = |function: Id| self.syntax.around(function).find(|&id| self.is_class(id)) == Some(class);
        self.functions.get(name)?.iter().copied().find(|&function| own(function))
    }

    /// Returns what the file exports as its default.
    #[must_use]
    pub fn default_export(&self) -> Option<Id> {
        self.default
    }

    /// Returns what an expression stands for.
    #[must_use]
    pub fn path(&self, id: Id) -> Option<Path> {
        let call = self.syntax[id].parent;
        let called = matches!(self.syntax[id].field, "function" | "constructor");
        if called && self.calls.binary_search(&call).is_ok() {
            return self.callee_path(call).cloned();
        }
        self.path_within(id, HOPS)
    }

    /// Returns what a call calls stands for. All of them are found once.
    #[must_use]
    pub fn callee_path(&self, call: Id) -> Option<&Path> {
        let at = self.calls.binary_search(&call).ok()?;
        let every = || self.calls.iter().map(|&call| self.path_within(self.callee(call)?, HOPS)).collect();
        self.paths.get_or_init(every).get(at)?.as_ref()
    }

    fn path_within(&self, id: Id, hops: u32) -> Option<Path> {
        let hops = hops.checked_sub(1)?;
        let inner = |id| self.path_within(id, hops);
        match self.kind(id) {
            "identifier" | "this" | "type_identifier" => self.bound(id, hops).or_else(|| {
                let known = self.imports.get(self.text(id)).map_or(self.text(id), |path| path);
                Some(Path { text: known.to_owned(), built: None })
            }),
            "attribute" | "member_expression" => self.bound(id, hops).or_else(|| {
                let object = inner(self.syntax.child(id, "object")?)?;
                let name =
                    self.syntax.child(id, "attribute").or_else(|| self.syntax.child(id, "property"))?;
                Some(Path { text: format!("{}.{}", object.text, self.text(name)), built: object.built })
            }),
            "call" | "call_expression" | "new_expression" => {
                let callee = inner(self.callee(id)?)?;
                Some(Path { text: callee.text + "()", built: Some(id) })
            }
            "await"
            | "await_expression"
            | "parenthesized_expression"
            | "non_null_expression"
            | "as_expression"
            | "as_pattern" => {
                inner(self.syntax.children(id).find(|&child| !matches!(self.kind(child), "await" | "("))?)
            }
            _ => None,
        }
    }

    /// Follows a name of this file to what it was bound to.
    fn bound(&self, id: Id, hops: u32) -> Option<Path> {
        let values = self.values(id, self.text(id));
        let followed = values.iter().find_map(|&value| {
            // `x = x or default` names itself.
            (!self.syntax.holds(value, id)).then(|| self.path_within(value, hops)).flatten()
        });
        // A name that leads to no object that was made says less than its type.
        let mut path = match followed {
            Some(made) if made.text.contains('(') => made,
            followed => self.typed(id, hops).or(followed)?,
        };
        if values.len() > 1 {
            path.built = None;
        }
        Some(path)
    }

    pub(super) fn is_class(&self, id: Id) -> bool {
        matches!(self.kind(id), "class_definition" | "class_declaration" | "class")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;

    fn paths(name: &str, text: &str) -> Vec<String> {
        let files = Files::new([(name.to_owned(), text.to_owned())]);
        let file = files.find(name).expect("it was given");
        let unit = Unit::read(file, Language::of(name).expect("code"), text).expect("short");
        let callees = unit.calls().filter_map(|call| unit.callee(call));
        callees.filter_map(|callee| unit.path(callee)).map(|path| path.text).collect()
    }

    #[test]
    fn python_names_are_followed() {
        let text = "import requests as r\nfrom openai import AsyncOpenAI\nimport a.b\n\nclass C:\n    def __init__(self):\n        self.client = AsyncOpenAI()\n\n    async def f(self):\n        await self.client.chat.completions.create()\n        r.get(u)\n        a.b.c()\n        with r.Session() as s:\n            s.post(u)\n";
        assert_eq!(
            paths("a.py", text),
            [
                "openai.AsyncOpenAI",
                "openai.AsyncOpenAI().chat.completions.create",
                "requests.get",
                "a.b.c",
                "requests.Session",
                "requests.Session().post"
            ]
        );
    }

    #[test]
    fn typescript_names_are_followed() {
        let text = "import OpenAI from 'openai';\nimport { query as ask } from \"@x/sdk\";\nconst { get: fetchIt } = require('m');\nclass A { private client = new OpenAI(); async f() { await this.client.responses.create({}); ask(1); fetchIt(2); } }\n";
        assert_eq!(
            paths("a.ts", text),
            ["require", "openai", "openai().responses.create", "@x/sdk.query", "m.get"]
        );
    }
}
