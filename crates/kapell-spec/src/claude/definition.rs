//! Agents, commands, skills and instructions: frontmatter and body.

use super::markdown::Document;
use crate::{
    finding::{Source, Span},
    yaml::{self, Kind, Node},
};

/// A text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A key of the frontmatter with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The key.
    pub key: Named,
    /// The value, if it is a text.
    pub text: Option<Named>,
    /// Its items, if it is a list, or a text that separates names by commas.
    pub items: Vec<Named>,
    /// The tree of it, if the frontmatter is valid YAML.
    pub node: Option<Node>,
}

/// What stands between the two `---` at the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontmatter {
    /// Where it stands, both lines included.
    pub span: Span,
    /// Its keys.
    pub fields: Vec<Field>,
    /// Why it is no YAML, and where.
    pub problem: Option<Named>,
    /// Whether it can be read at all: as YAML, or line by line with its values taken as plain texts, as clients do.
    pub readable: bool,
}

/// Frontmatter that its client does not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// Its first `---` is missing.
    NotOpened(Span),
    /// Its second `---` is missing.
    NotClosed(Span),
    /// It stands in a block of code.
    Fenced(Span),
    /// Something stands before it.
    Late(Span),
    /// The lines around it are drawn otherwise: `--`, `+++`.
    Misdrawn(Span),
}

/// A Markdown file that defines something.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Definition {
    /// Its frontmatter.
    pub front: Option<Frontmatter>,
    /// Frontmatter that its client does not see.
    pub hidden: Option<Hidden>,
    /// Where its body starts.
    pub body: u32,
    /// The parts of its body.
    pub document: Document,
}

impl Hidden {
    /// Returns where it stands.
    #[must_use]
    pub fn span(self) -> Span {
        match self {
            Self::NotOpened(span)
            | Self::NotClosed(span)
            | Self::Fenced(span)
            | Self::Late(span)
            | Self::Misdrawn(span) => span,
        }
    }
}

impl Definition {
    /// Reads a file.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let front = frontmatter(text);
        let body = front.as_ref().map_or(0, |front| front.span.end);
        let document = Document::read(text, body as usize);
        let hidden = if front.is_none() { hidden(text, &document) } else { None };
        Self { front, hidden, body, document }
    }

    /// Finds a key of the frontmatter.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&Field> {
        self.front.as_ref()?.fields.iter().find(|field| field.key.text == key)
    }

    /// Returns the text of a key, if there is one.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&Named> {
        self.field(key)?.text.as_ref().filter(|named| !named.text.trim().is_empty())
    }

    /// Returns the items of a key.
    #[must_use]
    pub fn items(&self, key: &str) -> &[Named] {
        self.field(key).map_or(&[], |field| &field.items)
    }

    /// Tells whether a key is switched on, in any of the ways that clients know.
    #[must_use]
    pub fn is_on(&self, key: &str) -> Option<bool> {
        let text = self.text(key)?.text.trim().to_ascii_lowercase();
        match text.as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        }
    }
}

/// Finds the lines of the frontmatter: its start, where its content ends, and where it ends.
fn bounds(text: &str) -> Option<(usize, usize, usize)> {
    let start = text.strip_prefix('\u{feff}').map_or(0, |_| '\u{feff}'.len_utf8());
    let first = text[start..].lines().next()?;
    if first.trim_end() != "---" {
        return None;
    }
    let mut at = start + text[start..].find('\n')? + 1;
    for line in text[at..].split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some((start, at, at + line.len()));
        }
        at += line.len();
    }
    None
}

fn frontmatter(text: &str) -> Option<Frontmatter> {
    let (start, content, end) = bounds(text)?;
    // The opening line becomes blanks, so that places in the tree are places in the file.
    let mut blank = " ".repeat(start + 3);
    blank.push_str(&text[start + 3..content]);
    let span = Span::new(start, end);
    let (tree, findings) = yaml::read(&Source::new("", &blank));
    let error = findings.iter().find(|finding| finding.is_error());
    let Some(error) = error else {
        let fields = tree.as_ref().and_then(|tree| tree.root.entries()).unwrap_or_default();
        let fields = fields.iter().filter(|entry| !entry.duplicate);
        let fields = fields.filter_map(|entry| field(text, entry)).collect();
        return Some(Frontmatter { span, fields, problem: None, readable: true });
    };
    let below = start + text[start..].find('\n')? + 1;
    let (fields, mut readable) = lenient(text, below, content);
    // A value in quotes or brackets that is broken cannot be saved by taking it as a plain text.
    let line = text[..error.span.start as usize].rfind('\n').map_or(0, |at| at + 1);
    let broken = text[line..content].split_once(':').map_or("", |(_, value)| value.trim_start());
    // `[a] | [b]` is a hint that people write; it is no list, and clients take it as it stands.
    let broken_list =
        broken.starts_with('[') && !broken.lines().next().is_some_and(|line| line.contains(']'));
    readable &=
        !broken.starts_with(['"', '\'', '{', '|', '>', '&', '*', '!']) && !broken_list && !fields.is_empty();
    let problem = Named { text: error.message.clone(), span: error.span };
    Some(Frontmatter { span, fields, problem: Some(problem), readable })
}

fn field(source: &str, entry: &yaml::Entry) -> Option<Field> {
    let key = Named { text: entry.key.text()?.to_owned(), span: entry.key.place() };
    let value = &entry.value;
    let named = |node: &Node| {
        let scalar = node.scalar().filter(|scalar| !scalar.is_null())?;
        Some(Named { text: scalar.text.to_string(), span: node.place() })
    };
    let text = named(value);
    let items = match &value.kind {
        Kind::Sequence(items) => items.iter().filter_map(named).collect(),
        Kind::Scalar(_) => text.iter().flat_map(|named| split(source, named)).collect(),
        Kind::Mapping(_) => Vec::new(),
    };
    Some(Field { key, text, items, node: Some(value.clone()) })
}

/// Splits `Read, Bash(git add:*, x), Write` at the commas outside of parentheses.
///
/// What the source has in quotes, with escapes or over several lines is not the text that it stands for: each part is
/// looked for behind the one before, and stands where the whole does if it is not there as it reads.
fn split(source: &str, named: &Named) -> Vec<Named> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    let written = source.get(named.span.range()).unwrap_or_default();
    let mut seen = 0;
    let mut push = |from: usize, to: usize| {
        let part = named.text[from..to].trim();
        if part.is_empty() {
            return;
        }
        let mut span = named.span;
        if let Some(at) = written[seen..].find(part) {
            let start = named.span.start as usize + seen + at;
            seen += at + part.len();
            span = Span::new(start, start + part.len());
        }
        parts.push(Named { text: part.to_owned(), span });
    };
    for (at, character) in named.text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth <= 0 => {
                push(from, at);
                from = at + 1;
            }
            _ => {}
        }
    }
    push(from, named.text.len());
    parts
}

/// Reads `key: value` line by line. Tells whether every line had that shape, or went on with the one before.
fn lenient(text: &str, from: usize, to: usize) -> (Vec<Field>, bool) {
    let mut fields: Vec<Field> = Vec::new();
    let (mut at, mut all) = (from, true);
    for line in text[from..to].split_inclusive('\n') {
        let start = at;
        at += line.len();
        let content = line.trim_end();
        if content.is_empty() || content.starts_with([' ', '\t', '#', '-']) {
            if let (Some(item), Some(field)) = (content.trim_start().strip_prefix("- "), fields.last_mut()) {
                let span = Span::new(start + content.len() - item.len(), start + content.len());
                field.items.push(Named { text: unquoted(item).to_owned(), span });
            }
            continue;
        }
        let Some((key, value)) = content.split_once(':') else {
            all = false;
            continue;
        };
        let value = value.trim();
        let value_at = start + content.len() - value.len();
        let named =
            Named { text: unquoted(value).to_owned(), span: Span::new(value_at, value_at + value.len()) };
        let items = split(text, &named);
        fields.push(Field {
            key: Named { text: key.trim().to_owned(), span: Span::new(start, start + key.len()) },
            text: Some(named).filter(|named| !named.text.is_empty()),
            items,
            node: None,
        });
    }
    (fields, all)
}

fn unquoted(text: &str) -> &str {
    ['"', '\''].iter().find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(text)
}

/// Tells whether lines read as the keys that definitions have.
fn reads_as_keys(lines: &str) -> bool {
    let keys = [
        "name",
        "description",
        "allowed-tools",
        "tools",
        "argument-hint",
        "category",
        "model",
        "command",
        "purpose",
    ];
    let is_key = |line: &&str| line.split_once(':').is_some_and(|(key, _)| keys.contains(&key.trim_end()));
    let lines: Vec<&str> = lines.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().filter(|line| is_key(line)).count() >= 2
        && lines.first().is_some_and(|line| is_key(line) || *line == "---")
}

/// Returns what stands behind blank lines and comments of HTML.
fn behind_comments(text: &str) -> &str {
    let mut rest = text.trim_start();
    while let Some(behind) = rest.strip_prefix("<!--").and_then(|inner| inner.split_once("-->")) {
        rest = behind.1.trim_start();
    }
    rest
}

fn hidden(text: &str, document: &Document) -> Option<Hidden> {
    let start = text.strip_prefix('\u{feff}').map_or(0, |_| '\u{feff}'.len_utf8());
    let top: String = text[start..].lines().take(40).flat_map(|line| [line, "\n"]).collect();
    if top.trim_end() == "---" || top.starts_with("---\n") || top.starts_with("---\r\n") {
        let keys = top.trim_start_matches("---");
        let end = start + top.find("\n\n").unwrap_or(top.len()).min(200);
        return reads_as_keys(keys).then(|| Hidden::NotClosed(Span::new(start, end)));
    }
    let close = top.find("\n---\n").or_else(|| top.find("\n---\r\n"));
    if let Some(close) = close {
        let before = &top[..close];
        if !before.contains("\n\n") && reads_as_keys(before) {
            return Some(Hidden::NotOpened(Span::new(start, start + close + 4)));
        }
    }
    let fence = document.fences.first().filter(|fence| fence.fenced && fence.span.start < 400);
    if let Some(fence) = fence {
        let before = document.headings.iter().filter(|heading| heading.span.start < fence.span.start).count();
        let lines = text
            .get(fence.span.range())
            .and_then(|block| block.split_once('\n'))
            .map_or("", |(_, rest)| rest);
        let is_first =
            text[start..fence.span.start as usize].lines().filter(|line| !line.trim().is_empty()).count();
        // Right at the top a block of YAML is meant as nothing else.
        let yaml = is_first == 0 && matches!(fence.info.trim(), "yaml" | "yml");
        if before <= 1 && is_first <= 2 && (lines.starts_with("---") || yaml) && reads_as_keys(lines) {
            return Some(Hidden::Fenced(fence.span));
        }
    }
    let first = top.lines().next().unwrap_or_default().trim_end();
    if matches!(first, "--" | "----" | "-----" | "+++" | "\u{2014}" | "\u{2014}\u{2014}" | "***" | "===") {
        let inner: String = top
            .lines()
            .skip(1)
            .take_while(|line| line.trim_end() != first)
            .flat_map(|line| [line, "\n"])
            .collect();
        let keys = inner.replace(" = ", ": ");
        if inner.len() + first.len() + 1 < top.len() && reads_as_keys(&keys) {
            return Some(Hidden::Misdrawn(Span::new(start, start + first.len())));
        }
    }
    // Below a title.
    if let Some(at) =
        top.find("\n---\n").filter(|&at| top[..at].lines().count() <= 3 && top.starts_with("# "))
    {
        let below = &top[at + "\n---\n".len()..];
        let inner = below.find("\n---\n").map_or("", |end| &below[..end]);
        if !inner.contains("\n\n") && reads_as_keys(inner) {
            return Some(Hidden::Late(Span::new(start + at + 1, start + at + 4)));
        }
    }
    let trimmed = behind_comments(&text[start..]);
    let late = text.len() - trimmed.len();
    (late > start && bounds(trimmed).is_some_and(|(_, end, _)| reads_as_keys(&trimmed[4..end])))
        .then(|| Hidden::Late(Span::new(late, late + 3)))
}
