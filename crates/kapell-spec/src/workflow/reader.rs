//! Helpers for reading a tree: each takes a node, reports what is wrong with it, and returns what could be read.

use std::{collections::HashMap, sync::Arc};

use kapell_core::{
    expr::{Function, ParseErrorKind, Template},
    time::{Millis, Wall},
};

use super::{Spanned, Text, value};
use crate::{
    codes,
    finding::{Finding, Source, Span, report},
    suggest,
    yaml::{Entry, Node},
};

/// Keys of other tools, and what they are called here.
const OTHER_NAMES: [(&str, &str); 27] = [
    ("jobs", "tasks"),
    ("steps", "tasks"),
    ("name", "mission"),
    ("on", "mission"),
    ("strategy", "matrix"),
    ("timeout-minutes", "timeout"),
    ("timeout_minutes", "timeout"),
    ("depends_on", "needs"),
    ("depends-on", "needs"),
    ("dependencies", "needs"),
    ("deps", "needs"),
    ("after", "needs"),
    ("requires", "needs"),
    ("command", "run"),
    ("cmd", "run"),
    ("script", "run"),
    ("shell", "run"),
    ("uses", "workflow"),
    ("environment", "env"),
    ("variables", "env"),
    ("when", "if"),
    ("condition", "if"),
    ("retries", "retry"),
    ("checks", "accept"),
    ("verify", "accept"),
    ("rollback", "compensate"),
    ("locks", "claims"),
];

/// Shortens a text for a message.
fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push_str("...");
    }
    shown
}

pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl<'a> Reader<'a> {
    pub(super) fn report(&mut self, finding: Finding) {
        report(self.findings, finding);
    }

    /// Reports that `node` is of the wrong kind.
    pub(super) fn wrong(&mut self, node: &Node, key: &str, expected: &str) {
        let found = node.kind_name();
        // The whole file has no key.
        let named = if key.contains(' ') { key.to_owned() } else { format!("`{key}`") };
        let message = format!("{named} takes {expected}, not {found}");
        let mut finding = Finding::error(codes::WRONG_TYPE, node.place(), message);
        if let Some(text) = node.text()
            && expected == "`true` or `false`"
        {
            let instead = match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" => Some("true"),
                "no" | "off" | "n" | "false" => Some("false"),
                _ => None,
            };
            if let Some(instead) = instead {
                finding = finding.hint(format!("write `{instead}`: YAML 1.2 reads `{text}` as a text"));
                finding = finding.fix(format!("write `{instead}`"), node.place(), instead);
            }
        }
        self.report(finding);
    }

    /// Reports that `node` is a text without content.
    pub(super) fn empty(&mut self, node: &Node, key: &str) {
        self.report(Finding::error(codes::WRONG_TYPE, node.place(), format!("`{key}` is empty")));
    }

    /// Returns the entries of a mapping that are in force. An empty value counts as no entries, with a finding.
    pub(super) fn entries<'n>(
        &mut self,
        node: &'n Node,
        key: &str,
    ) -> impl Iterator<Item = (&'n str, &'n Entry)> + use<'n> {
        let entries = match node.entries() {
            Some(entries) => entries,
            None => {
                self.wrong(node, key, "a mapping");
                &[]
            }
        };
        entries.iter().filter(|entry| !entry.duplicate).filter_map(|entry| Some((entry.key.text()?, entry)))
    }

    /// Reports a key that means nothing.
    pub(super) fn unknown_key(&mut self, entry: &Entry, place: &str, known: &[&str]) {
        let Some(key) = entry.key.text().filter(|key| *key != "<<") else { return };
        let span = entry.key.place();
        let mut finding =
            Finding::error(codes::UNKNOWN_KEY, span, format!("unknown key `{}` {place}", short(key)));
        let other = OTHER_NAMES
            .iter()
            .find(|(other, ours)| *other == key && known.contains(ours))
            .map(|(_, ours)| *ours);
        let near = suggest::nearest(key, known.iter().copied());
        if let Some(meant) = other {
            finding = finding.hint(format!("it is called `{meant}` here"));
        } else if let Some(meant) = near {
            finding =
                finding.hint(format!("did you mean `{meant}`?")).fix(format!("write `{meant}`"), span, meant);
        } else if let Some(hint) = suggest::hint(key, known) {
            finding = finding.hint(hint);
        }
        self.report(finding);
    }

    /// Reads a text without expressions.
    pub(super) fn text(&mut self, node: &Node, key: &str) -> Option<Spanned<String>> {
        let Some(scalar) = node.scalar().filter(|scalar| !scalar.is_null()) else {
            self.wrong(node, key, "a text");
            return None;
        };
        if let Some(at) = scalar.text.find("${{") {
            let span = node.locate(&self.source.text, at..at + 3);
            let message = format!("`{key}` cannot hold expressions");
            self.report(
                Finding::error(codes::NO_EXPRESSIONS, span, message)
                    .hint("it must be known when the plan is made"),
            );
            return None;
        }
        if scalar.text.trim().is_empty() {
            self.empty(node, key);
            return None;
        }
        Some(Spanned::new(scalar.text.to_string(), node.place()))
    }

    /// Tells whether this is a mapping, and reports it if it is not.
    pub(super) fn mapping(&mut self, node: &Node, key: &str) -> bool {
        let is_one = node.entries().is_some();
        if !is_one {
            self.wrong(node, key, "a mapping");
        }
        is_one
    }

    /// Reads a text that may hold expressions.
    pub(super) fn template(&mut self, node: &Node, key: &str) -> Option<Text> {
        let Some(scalar) = node.scalar().filter(|scalar| !scalar.is_null()) else {
            self.wrong(node, key, "a text");
            return None;
        };
        match Template::parse(&scalar.text) {
            Ok(template) => Some(Text { template, node: Arc::new(node.clone()) }),
            Err(error) => {
                let span = node.locate(&self.source.text, error.span.range());
                self.bad_expression(span, &error.kind);
                None
            }
        }
    }

    /// Reports an expression that cannot be parsed.
    pub(super) fn bad_expression(&mut self, span: Span, kind: &ParseErrorKind) {
        let finding = Finding::error(codes::EXPRESSION, span, format!("not an expression: {kind}"));
        let hint = match kind {
            ParseErrorKind::UnknownFunction(name) => {
                let known: Vec<&str> = Function::names().collect();
                suggest::hint(name, &known)
            }
            ParseErrorKind::Character('"') => Some("strings are written in single quotes".to_owned()),
            ParseErrorKind::Character('=') => Some("equality is written `==`".to_owned()),
            ParseErrorKind::Character('&' | '|') => Some("and and or are written `&&` and `||`".to_owned()),
            ParseErrorKind::Character('+' | '/' | '%' | '-') => {
                Some("there is no arithmetic; compute it in a task and read its output".to_owned())
            }
            ParseErrorKind::OpenString => {
                Some("a quote within a string is written twice: `'it''s'`".to_owned())
            }
            _ => None,
        };
        self.report(match hint {
            Some(hint) => finding.hint(hint),
            None => finding,
        });
    }

    /// Reads one text or a list of them, each by `read`.
    pub(super) fn list<T>(
        &mut self,
        node: &Node,
        key: &str,
        mut read: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> Vec<T> {
        match (node.items(), node.scalar()) {
            (Some(items), _) => items.iter().filter_map(|item| read(self, item, key)).collect(),
            (None, Some(scalar)) if !scalar.is_null() => read(self, node, key).into_iter().collect(),
            _ => {
                self.wrong(node, key, "a text or a list of texts");
                Vec::new()
            }
        }
    }

    pub(super) fn texts(&mut self, node: &Node, key: &str) -> Vec<Spanned<String>> {
        self.list(node, key, Self::text)
    }

    pub(super) fn bool(&mut self, node: &Node, key: &str) -> Option<bool> {
        let value = node.scalar().and_then(|scalar| scalar.as_bool());
        if value.is_none() {
            self.wrong(node, key, "`true` or `false`");
        }
        value
    }

    /// Reads a whole number within bounds.
    pub(super) fn number(&mut self, node: &Node, key: &str, least: u32, most: u32) -> Option<u32> {
        let Some(value) = node.scalar().and_then(|scalar| scalar.as_int()) else {
            self.wrong(node, key, "a whole number");
            return None;
        };
        let number = u32::try_from(value).ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let message = format!("`{key}` takes a number from {least} to {most}, not {value}");
            self.report(Finding::error(codes::NUMBER, node.place(), message));
        }
        number
    }

    /// Reads a text by a grammar of its own.
    fn parsed<T>(
        &mut self,
        node: &Node,
        key: &str,
        (code, what, example): (&'static str, &str, &str),
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(node, key)?;
        let value = parse(&text.value);
        if value.is_none() {
            let message = format!("`{}` is not {what}", text.value.escape_debug());
            self.report(Finding::error(code, text.span, message).hint(format!("for example: `{example}`")));
        }
        value
    }

    pub(super) fn duration(&mut self, node: &Node, key: &str) -> Option<Millis> {
        let what = (codes::DURATION, "a duration", "30s`, `20m`, `1h30m");
        let length = self.parsed(node, key, what, value::duration)?;
        if length.0 == 0 {
            let message = format!("`{key}` must be longer than nothing");
            self.report(Finding::error(codes::NUMBER, node.place(), message));
            return None;
        }
        Some(length)
    }

    /// Reads two durations joined by `..`, or one that stands for both.
    pub(super) fn duration_range(&mut self, node: &Node, key: &str) -> Option<(Millis, Millis)> {
        let read = |text: &str| match text.split_once("..") {
            Some((low, high)) => Some((value::duration(low.trim())?, value::duration(high.trim())?)),
            None => value::duration(text).map(|both| (both, both)),
        };
        let (low, high) =
            self.parsed(node, key, (codes::DURATION, "a duration or a range of them", "2s..1m"), read)?;
        if low > high {
            let message = format!("`{key}` goes from a longer duration to a shorter one");
            self.report(
                Finding::error(codes::RANGE, node.place(), message).hint("write the shorter one first"),
            );
            return None;
        }
        Some((low, high))
    }

    /// Reads a size of memory, in MiB.
    pub(super) fn memory(&mut self, node: &Node, key: &str) -> Option<u32> {
        self.parsed(node, key, (codes::NUMBER, "a size of memory", "2GiB"), value::memory_mib)
    }

    /// Reads names of skills, each once.
    pub(super) fn skills(&mut self, node: &Node, key: &str) -> Vec<Spanned<String>> {
        let mut skills: Vec<Spanned<String>> = Vec::new();
        for text in self.texts(node, key) {
            match value::skill(&text.value) {
                Some(word) if skills.iter().any(|known| known.value == word) => {}
                Some(word) => skills.push(Spanned::new(word, text.span)),
                None => {
                    let message = format!("`{}` cannot name a skill", text.value.escape_debug());
                    let hint = "a skill is one word, such as `rust` or `code-review`";
                    self.report(Finding::error(codes::NAME, text.span, message).hint(hint));
                }
            }
        }
        skills
    }

    pub(super) fn money(&mut self, node: &Node, key: &str) -> Option<u64> {
        self.parsed(node, key, (codes::MONEY, "an amount in US dollars", "2.50"), value::money)
    }

    pub(super) fn tokens(&mut self, node: &Node, key: &str) -> Option<u64> {
        self.parsed(node, key, (codes::TOKENS, "a number of tokens", "200k`, `2M"), value::tokens)
    }

    pub(super) fn instant(&mut self, node: &Node, key: &str) -> Option<Wall> {
        let what = (codes::DATE, "an instant with date, time and offset", "2026-03-01T12:00:00Z");
        self.parsed(node, key, what, value::instant)
    }

    /// Reads one of a few words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, key)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let message = format!("`{key}` does not take `{}`", text.value.escape_debug());
        let finding = Finding::error(codes::CHOICE, text.span, message);
        let hint = suggest::hint(&text.value, &words);
        self.report(match hint {
            Some(hint) => finding.hint(hint),
            None => finding,
        });
        None
    }

    /// Reads a path or pattern within the repository.
    pub(super) fn path(&mut self, node: &Node, key: &str) -> Option<Spanned<String>> {
        let text = self.text(node, key)?;
        match value::wrong_path(&text.value) {
            None => Some(text),
            Some(why) => {
                let message = format!("path `{}` {why}", text.value.escape_debug());
                self.report(
                    Finding::error(codes::PATH, text.span, message)
                        .hint("write it relative to the root of the repository"),
                );
                None
            }
        }
    }

    pub(super) fn paths(&mut self, node: &Node, key: &str) -> Vec<String> {
        self.list(node, key, Self::path).into_iter().map(|path| path.value).collect()
    }

    /// Checks a name that a key gives; a bad one is reported and used none the less.
    pub(super) fn name(&mut self, entry: &Entry, what: &str) -> Option<Spanned<String>> {
        let text = entry.key.text()?.to_owned();
        let span = entry.key.place();
        if !value::is_name(&text) {
            let message = format!("`{}` cannot name {what}", short(&text));
            let hint = "names start with a letter or `_` and go on with letters, digits, `_` and `-`";
            self.report(Finding::error(codes::NAME, span, message).hint(hint));
        }
        Some(Spanned::new(text, span))
    }

    /// Checks the name of a variable.
    pub(super) fn variable(&mut self, entry: &Entry) -> Option<Spanned<String>> {
        let name = Spanned::new(entry.key.text()?.to_owned(), entry.key.place());
        let finding = if !value::is_variable(&name.value) {
            let message = format!("`{}` cannot name a variable", name.value.escape_debug());
            Some(Finding::error(codes::VARIABLE, name.span, message).hint("use letters, digits and `_`"))
        } else if name.value.starts_with("KAPELL_") {
            let message = format!("variable `{}` is set by kapell", name.value);
            Some(Finding::error(codes::VARIABLE, name.span, message).hint("choose a name without `KAPELL_`"))
        } else {
            None
        };
        match finding {
            Some(finding) => {
                self.report(finding);
                None
            }
            None => Some(name),
        }
    }

    /// Reports names that differ in case only.
    pub(super) fn case_clashes<'n>(&mut self, what: &str, names: impl Iterator<Item = &'n Spanned<String>>) {
        let mut seen: HashMap<String, &Spanned<String>> = HashMap::new();
        for name in names {
            if let Some(first) = seen.get(&name.value.to_lowercase()) {
                let message = format!("{what} `{}` and `{}` differ in case only", first.value, name.value);
                let finding = Finding::error(codes::NAME_CASE, name.span, message)
                    .also(first.span, "the other one")
                    .hint("nothing tells them apart; rename one");
                report(self.findings, finding);
            } else {
                seen.insert(name.value.to_lowercase(), name);
            }
        }
    }

    /// Reads variables.
    pub(super) fn env(&mut self, node: &Node, key: &str) -> Vec<(Spanned<String>, Text)> {
        let mut env = Vec::new();
        for (_, entry) in self.entries(node, key) {
            let name = self.variable(entry);
            // An empty value is an empty text here.
            let value = match entry.value.scalar() {
                Some(scalar) if scalar.is_null() => Template::parse("")
                    .ok()
                    .map(|template| Text { template, node: Arc::new(entry.value.clone()) }),
                _ => self.template(&entry.value, entry.key.text().unwrap_or(key)),
            };
            env.extend(name.zip(value));
        }
        env
    }
}
