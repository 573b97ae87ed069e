//! Events into a tree.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScanError, Tag};

use super::{
    Entry, Kind, Limits, Node, Tree,
    input::Rest,
    scalar::{Scalar, Style},
};
use crate::{
    codes,
    finding::{Finding, Span, report},
};

/// Turns character offsets into byte offsets.
struct Offsets<'a> {
    text: &'a str,
    /// How many bytes were skipped in front.
    skipped: usize,
    /// The byte offset of every 64th character; empty if all of it is ASCII.
    marks: Vec<u32>,
}

impl<'a> Offsets<'a> {
    fn new(text: &'a str, skipped: usize) -> Self {
        let marks = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().step_by(64).map(|(at, _)| u32::try_from(at).unwrap_or(u32::MAX)).collect()
        };
        Self { text, skipped, marks }
    }

    fn byte(&self, marker: Marker) -> usize {
        let index = marker.index();
        let at = if self.marks.is_empty() {
            index.min(self.text.len())
        } else if let Some(&mark) = self.marks.get(index / 64) {
            let (mark, next) = (mark as usize, self.marks.get(index / 64 + 1));
            // Where 64 characters are 64 bytes, none of them has to be looked at.
            if next.is_some_and(|&next| next as usize == mark + 64) {
                mark + index % 64
            } else {
                let rest = &self.text[mark..];
                mark + rest.char_indices().nth(index % 64).map_or(rest.len(), |(at, _)| at)
            }
        } else {
            self.text.len()
        };
        at + self.skipped
    }

    fn span(&self, span: saphyr_parser::Span) -> Span {
        let start = self.byte(span.start);
        Span::new(start, self.byte(span.end).max(start))
    }
}

/// A collection that is not yet closed.
struct Open {
    start: usize,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, key: Option<Node>, seen: HashMap<Box<str>, usize> },
}

struct Builder<'a> {
    source: &'a str,
    offsets: Offsets<'a>,
    limits: Limits,
    findings: &'a mut Vec<Finding>,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    /// Where keys are that appear twice, so that each is reported once.
    reported: HashSet<u32>,
    nodes: usize,
    alias_nodes: usize,
    /// Scalars in order, for telling comments from them.
    scalars: Vec<(Span, Style)>,
    /// Whether a line of a flow collection was indented too little.
    shallow: bool,
}

/// What an anchor names, how many nodes that are, and how deep they nest.
struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

/// Why building stopped before the end.
struct Stop;

/// Builds the tree of the first document.
pub(super) fn build(source: &str, limits: Limits, findings: &mut Vec<Finding>) -> Option<Tree> {
    let text = source.strip_prefix('\u{feff}').unwrap_or(source);
    let known = findings.len();
    let (found, shallow) = tree(source, text, text, limits, findings);
    if !shallow {
        return found;
    }
    let mut joined = text.to_owned();
    for _ in 0..JOINS.min(JOINED_BYTES / text.len().max(1)) {
        let Some(next) = join(&joined) else { break };
        joined = next;
    }
    findings.truncate(known);
    tree(source, text, &joined, limits, findings).0
}

/// How many lines of flow collections are joined at most.
const JOINS: usize = 256;
/// How many bytes are read at most while lines are joined.
const JOINED_BYTES: usize = 16_000_000;

/// Joins a line of a flow collection that is indented too little with the line before, by blanks of the same length.
///
/// YAML wants each line of `[` ... `]` indented deeper than the block around it. GitHub and most programs do not care, and
/// closing brackets below their key are common. `None` if nothing of that kind is wrong.
fn join(text: &str) -> Option<String> {
    let mut parser = Parser::new(Rest::new(text));
    let error = loop {
        match parser.next_event()? {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    if !is_shallow(&error) {
        return None;
    }
    let characters: Vec<char> = text.chars().collect();
    let at = error.marker().index().min(characters.len());
    let end = characters[..at].iter().rposition(|&character| character == '\n')?;
    let start =
        characters[..end].iter().rposition(|&character| character == '\n').map_or(0, |before| before + 1);
    let line = &characters[start..end];
    let comment =
        (0..line.len()).find(|&index| line[index] == '#' && (index == 0 || line[index - 1].is_whitespace()));
    let from = comment.map_or(end, |index| start + index);
    let blank = |(index, &character): (usize, &char)| {
        if (from..=end).contains(&index) || index + 1 == end && character == '\r' { ' ' } else { character }
    };
    Some(characters.iter().enumerate().map(blank).collect())
}

/// Tells whether a line of a flow collection is indented too little. Outside of them such a line ends a block.
fn is_shallow(error: &ScanError) -> bool {
    matches!(error.info(), "invalid indentation" | "invalid indentation in flow construct")
}

/// Builds the tree of `text`, read as `joined`, which has as many characters; and tells whether only a line of a flow
/// collection that is indented too little ended it.
fn tree(
    source: &str,
    text: &str,
    joined: &str,
    limits: Limits,
    findings: &mut Vec<Finding>,
) -> (Option<Tree>, bool) {
    let skipped = source.len() - text.len();
    let mut builder = Builder {
        source,
        offsets: Offsets::new(text, skipped),
        limits,
        findings,
        open: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        reported: HashSet::new(),
        nodes: 0,
        alias_nodes: 0,
        scalars: Vec::new(),
        shallow: false,
    };
    let complete = builder.run(Parser::new(Rest::new(joined))).is_ok();
    builder.close_all();
    let comments = comments(source, &builder.scalars);
    // Nothing but comments is a document too.
    let root = builder.root.or_else(|| complete.then(|| empty(source.len())));
    (root.map(|root| Tree { root, comments, complete }), builder.shallow)
}

/// Tags that say how a value is put together with that of another file, and leave it what it is.
///
/// Sources: Compose specification, "Merge": `!reset` and `!override`; GitLab, "YAML optimization": `!reference`.
const MERGED: [&str; 3] = ["reset", "override", "reference"];

impl Builder<'_> {
    fn run(&mut self, mut parser: Parser<'_, Rest<'_>>) -> Result<(), Stop> {
        let mut documents = 0;
        loop {
            let (event, span) = match parser.next_event() {
                None => return Ok(()),
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    self.shallow = is_shallow(&error);
                    return Err(self.syntax(&error));
                }
            };
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let span = self.offsets.span(span);
                        let message = "there is more than one document in this file";
                        let hint = "remove the `---` line and what follows, or put it into a file of its own";
                        self.report(Finding::error(codes::DOCUMENTS, span, message).hint(hint));
                        return Ok(());
                    }
                }
                Event::StreamEnd => return Ok(()),
                Event::Alias(anchor) => self.alias(anchor, self.offsets.span(span))?,
                Event::Scalar(text, style, anchor, tag) => {
                    let span = self.scalar_span(span, style, &text);
                    self.tag(tag.as_deref(), span);
                    let is_text = match tag.as_deref() {
                        Some(tag) if tag.is_yaml_core_schema() => tag.suffix == "str",
                        tag => style != Style::Plain || tag.is_some(),
                    };
                    if !span.range().is_empty() {
                        self.scalars.push((span, style));
                    }
                    let scalar = Scalar { text: text.into_owned(), style, is_text };
                    self.add(Node { span, kind: Kind::Scalar(scalar), alias: None }, anchor)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.tag(tag.as_deref(), self.offsets.span(span));
                    self.push(span, anchor, OpenKind::Sequence(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.tag(tag.as_deref(), self.offsets.span(span));
                    self.push(
                        span,
                        anchor,
                        OpenKind::Mapping { entries: Vec::new(), key: None, seen: HashMap::new() },
                    )?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let end = self.offsets.span(span).range();
                    self.pop(Some(end))?;
                }
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            }
        }
    }

    fn report(&mut self, finding: Finding) {
        report(self.findings, finding);
    }

    /// Returns where a scalar stands, without the blanks that a block scalar ends in; an empty one stands right
    /// behind its key.
    fn scalar_span(&self, span: saphyr_parser::Span, style: Style, text: &str) -> Span {
        let span = self.offsets.span(span);
        if style == Style::Plain && text.is_empty() {
            if let Some(Open { kind: OpenKind::Mapping { key: Some(key), .. }, .. }) = self.open.last() {
                let after = key.span.end as usize;
                let rest = self.source.get(after..).unwrap_or_default();
                let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
                let at = if rest[blanks..].starts_with(':') { after + blanks + 1 } else { after };
                return Span::new(at, at);
            }
            return Span::new(span.start as usize, span.start as usize);
        }
        let start = match style {
            Style::Literal | Style::Folded => block_header(self.source, span.start as usize),
            _ => skip_properties(self.source, span.start as usize).min(span.end as usize),
        };
        let raw = self.source.get(start..span.end as usize).unwrap_or_default();
        Span::new(start, start + raw.trim_end().len())
    }

    fn syntax(&mut self, error: &ScanError) -> Stop {
        let at = self.offsets.byte(*error.marker());
        self.report(syntax_finding(self.source, at, error.info()));
        Stop
    }

    fn tag(&mut self, tag: Option<&Tag>, span: Span) {
        let Some(tag) = tag else { return };
        let known = ["str", "int", "float", "bool", "null", "map", "seq"];
        if tag.is_yaml_core_schema() && known.contains(&tag.suffix.as_str()) {
            return;
        }
        let core = tag.is_yaml_core_schema();
        if !core && tag.handle == "!" && MERGED.contains(&tag.suffix.as_str()) {
            return;
        }
        let shown = if core {
            format!("!!{}", tag.suffix)
        } else if tag.handle.is_empty() || tag.handle == "!" {
            format!("!{}", tag.suffix)
        } else {
            tag.to_string()
        };
        self.report(
            Finding::error(codes::TAG, span, format!("tag `{shown}` is not supported"))
                .hint("if `!` starts an expression, put the whole of it into quotes or `${{ }}`"),
        );
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes <= self.limits.nodes {
            return Ok(());
        }
        let message = format!("there are more than {} values", self.limits.nodes);
        self.report(Finding::error(codes::TOO_MANY_NODES, span, message));
        Err(Stop)
    }

    fn push(&mut self, span: saphyr_parser::Span, anchor: usize, kind: OpenKind) -> Result<(), Stop> {
        let span = self.offsets.span(span);
        if self.open.len() >= self.limits.depth {
            let message = format!("collections are nested more than {} deep", self.limits.depth);
            self.report(Finding::error(codes::TOO_DEEP, span, message));
            return Err(Stop);
        }
        let start = skip_properties(self.source, span.start as usize);
        self.open.push(Open { start, anchor, kind });
        Ok(())
    }

    /// Closes the innermost collection, which ends at `end` if it is a flow collection.
    fn pop(&mut self, end: Option<std::ops::Range<usize>>) -> Result<(), Stop> {
        let Some(Open { mut start, anchor, kind }) = self.open.pop() else { return Ok(()) };
        let flow = self.source.as_bytes().get(start).is_some_and(|byte| matches!(byte, b'[' | b'{'));
        let (kind, inner) = match kind {
            OpenKind::Sequence(items) => {
                let last = items.last().map(|item| item.place());
                // A list that is not indented starts, to the parser, behind its first dash.
                if !flow && !self.source[start..].starts_with('-') {
                    let before = self.source[..start].trim_end();
                    start = if before.ends_with('-') { before.len() - 1 } else { start };
                }
                (Kind::Sequence(items), last)
            }
            OpenKind::Mapping { mut entries, key, .. } => {
                if let Some(key) = key {
                    let at = key.span.end as usize;
                    entries.push(Entry { key, value: empty(at), duplicate: false });
                }
                let last = entries.last().map(|entry| entry.value.place());
                (Kind::Mapping(entries), last)
            }
        };
        let inner_end = inner.map_or(start, |span| span.end as usize);
        let closed = end.filter(|end| flow && !end.is_empty()).map(|end| end.end);
        let span = Span::new(start, closed.unwrap_or(inner_end).max(inner_end).max(start));
        self.add(Node { span, kind, alias: None }, anchor)
    }

    /// Closes what an error left open, so that what was read is not lost.
    fn close_all(&mut self) {
        // Nobody will ask for what they name.
        self.open.iter_mut().for_each(|open| open.anchor = 0);
        while !self.open.is_empty() {
            if self.pop(None).is_err() {
                return;
            }
        }
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        self.count(1, node.place())?;
        if anchor > 0 {
            let (nodes, height) = size(&node);
            self.count_copies(nodes, node.place())?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, height });
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { kind: OpenKind::Sequence(items), .. }) => items.push(node),
            Some(Open { kind: OpenKind::Mapping { entries, key, seen }, .. }) => match key.take() {
                None => *key = Some(node),
                Some(key) => {
                    let duplicate = check_key(&key, entries, seen, self.findings, &mut self.reported);
                    entries.push(Entry { key, value: node, duplicate });
                }
            },
        }
        Ok(())
    }

    /// Counts what anchors and aliases copy.
    fn count_copies(&mut self, nodes: usize, span: Span) -> Result<(), Stop> {
        self.alias_nodes += nodes;
        if self.alias_nodes <= self.limits.alias_nodes {
            return Ok(());
        }
        let message = format!("anchors and aliases stand for more than {} values", self.limits.alias_nodes);
        self.report(Finding::error(codes::TOO_MANY_NODES, span, message));
        Err(Stop)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Stop> {
        let Some(Anchored { node, nodes, height }) = self.anchors.get(&anchor) else {
            // The anchor stands around its own alias.
            let message = "an alias stands within what it names";
            self.report(Finding::error(codes::ALIAS, span, message).hint("write it out"));
            return self.add(Node { alias: Some(span), ..empty(span.start as usize) }, 0);
        };
        if self.open.len() + height > self.limits.depth {
            let message = format!("collections are nested more than {} deep", self.limits.depth);
            self.report(Finding::error(codes::TOO_DEEP, span, message));
            return Err(Stop);
        }
        let (nodes, mut node) = (*nodes, node.clone());
        node.alias = Some(span);
        self.count_copies(nodes, span)?;
        // One is counted by `add`.
        self.count(nodes - 1, span)?;
        self.add(node, 0)
    }
}

/// Skips anchor and tag in front of a collection.
fn skip_properties(source: &str, mut at: usize) -> usize {
    while let Some(rest) = source.get(at..).filter(|rest| rest.starts_with(['&', '!'])) {
        let len = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let blanks = rest[len..].len() - rest[len..].trim_start().len();
        at += len + blanks;
    }
    at
}

/// Finds the `|` or `>` of the block scalar whose content starts at `content`: it ends the last line before that is
/// not blank.
fn block_header(source: &str, content: usize) -> usize {
    let mut end = content;
    while let Some(newline) = source.get(..end).and_then(|before| before.rfind('\n')) {
        let start = source[..newline].rfind('\n').map_or(0, |before| before + 1);
        let line = &source[start..newline];
        if !line.trim().is_empty() {
            let is_header = |at: &usize| {
                let rest = line[at + 1..]
                    .trim_start_matches(['-', '+', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
                rest.trim().is_empty() || rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#')
            };
            let header = line.match_indices(['|', '>']).map(|(at, _)| at).find(is_header);
            return header.map_or(content, |at| start + at);
        }
        end = newline;
    }
    // Nothing follows the header.
    source[..content].rfind(['|', '>']).unwrap_or(content)
}

fn empty(at: usize) -> Node {
    let scalar = Scalar { text: String::new(), style: Style::Plain, is_text: false };
    Node { span: Span::new(at, at), kind: Kind::Scalar(scalar), alias: None }
}

/// Counts a node and those in it, and the collections that nest.
fn size(node: &Node) -> (usize, usize) {
    let mut total = (1, 0);
    let mut add = |node: &Node| {
        let (nodes, height) = size(node);
        total = (total.0 + nodes, total.1.max(height + 1));
    };
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::Sequence(items) => items.iter().for_each(add),
        Kind::Mapping(entries) => entries.iter().for_each(|entry| {
            add(&entry.key);
            add(&entry.value);
        }),
    }
    total
}

/// From how many keys on it is quicker to look one up than to compare it with each.
const MANY_KEYS: usize = 16;

/// Finds the entry that has a key already, and else remembers the key as that of the next one.
fn earlier(key: &str, entries: &[Entry], seen: &mut HashMap<Box<str>, usize>) -> Option<usize> {
    fn name(entry: &Entry) -> Option<&str> {
        entry.key.scalar().filter(|scalar| !is_merge_key(scalar)).map(|scalar| &*scalar.text)
    }
    if entries.len() < MANY_KEYS {
        return entries.iter().position(|entry| name(entry) == Some(key));
    }
    if seen.is_empty() {
        for (at, entry) in entries.iter().enumerate() {
            if let Some(name) = name(entry) {
                seen.entry(name.into()).or_insert(at);
            }
        }
    }
    let known = seen.get(key).copied();
    if known.is_none() {
        seen.insert(key.into(), entries.len());
    }
    known
}

fn is_merge_key(scalar: &Scalar) -> bool {
    &*scalar.text == "<<" && !scalar.is_text
}

/// Checks a key against those before it; tells whether one of them is the same.
fn check_key(
    key: &Node,
    entries: &[Entry],
    seen: &mut HashMap<Box<str>, usize>,
    findings: &mut Vec<Finding>,
    reported: &mut HashSet<u32>,
) -> bool {
    let Some(scalar) = key.scalar() else {
        let message = format!("a key must be a text, not {}", key.kind_name());
        findings
            .push(Finding::error(codes::COMPLEX_KEY, key.place(), message).hint("if it is no key, quote it"));
        return false;
    };
    if is_merge_key(scalar) {
        let message = "merge keys are not supported";
        report(findings, Finding::error(codes::MERGE_KEY, key.place(), message).hint("write the keys out"));
        return false;
    }
    let Some(first) = earlier(&scalar.text, entries, seen) else { return false };
    // A thousand copies of one key are one mistake.
    let place = entries[first].key.place();
    if reported.insert(place.start) {
        let message = format!("key `{}` appears twice", scalar.text);
        report(
            findings,
            Finding::error(codes::DUPLICATE_KEY, key.place(), message).also(place, "first here"),
        );
    }
    true
}

/// Says what is wrong with the syntax at byte `at`, and guesses what was meant.
fn syntax_finding(source: &str, at: usize, info: &str) -> Finding {
    let at = (0..=at.min(source.len())).rev().find(|&at| source.is_char_boundary(at)).unwrap_or(0);
    let line_start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = source[at..].find('\n').map_or(source.len(), |newline| at + newline);
    let width = source[at..].chars().next().filter(|c| *c != '\n' && *c != '\r').map_or(0, char::len_utf8);
    let span = Span::new(at, at + width);
    let line = &source[line_start..line_end];
    let indent = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
    if let Some(tab) = indent.find('\t') {
        let span = Span::new(line_start + tab, line_start + tab + 1);
        return Finding::error(codes::TAB, span, "a tab is used for indentation").hint("indent with spaces");
    }
    if info.contains("recursion limit") {
        return Finding::error(codes::TOO_DEEP, span, "collections are nested too deep");
    }
    if info.contains("anchor") && info.contains("unknown") {
        let message = "this alias names no anchor";
        return Finding::error(codes::ALIAS, span, message).hint("if it is a pattern, quote it: `'*.rs'`");
    }
    let finding = Finding::error(codes::SYNTAX, span, format!("not valid YAML: {info}"));
    let value = line.split_once(": ").map_or(line, |(_, value)| value).trim_start().trim_start_matches("- ");
    match value.chars().next() {
        Some('@' | '`' | '%') => finding.hint("a value that starts with this character must be quoted"),
        _ if line.split_once('{').is_some_and(|(_, rest)| rest.contains("${{")) => finding.hint(
            "within `{ }` put the whole text into quotes, `{ run: 'echo ${{ tasks.a.outputs.x }}' }`, or write `run:` on a line of its own",
        ),
        _ if info.contains("mapping values are not allowed") => {
            finding.hint("a value that contains `: ` must be quoted, or written as a block with `|`")
        }
        _ => finding,
    }
}

/// Finds the comments: `#` at the start of a line or after a blank, outside scalars.
fn comments(source: &str, scalars: &[(Span, Style)]) -> Vec<Span> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let mut scalars = scalars.iter().peekable();
    // Up to where it is known what each `#` is.
    let mut known = 0;
    for at in memchr::memchr_iter(b'#', bytes) {
        if at < known {
            continue;
        }
        while scalars.next_if(|(span, _)| span.end as usize <= at).is_some() {}
        let line_end =
            |from: usize| memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |len| from + len);
        let (comment, until) = match scalars.peek() {
            Some((span, style)) if span.start as usize <= at => {
                let (start, end) = (span.start as usize, span.end as usize);
                let block = matches!(style, Style::Literal | Style::Folded);
                // The header line of a block may end in a comment.
                let header_end = line_end(start).min(end);
                ((block && at < header_end).then_some(header_end), end)
            }
            _ if at == 0 || bytes[at - 1].is_ascii_whitespace() => (Some(line_end(at)), line_end(at)),
            _ => (None, at),
        };
        found.extend(comment.map(|end| Span::new(at, at + source[at..end].trim_end().len())));
        known = until;
    }
    found
}
