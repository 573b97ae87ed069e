//! The parts of a Markdown text that carry meaning for orchestration, with byte ranges.

use std::iter;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::finding::Span;

/// A heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// From 1.
    pub level: u8,
    /// Its text without marks.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// Where it stands, fences included.
    pub span: Span,
    /// What follows the opening fence.
    pub info: String,
    /// Whether it has fences, or else is indented.
    pub fenced: bool,
    /// Whether it ends with a fence, or else with the text around it.
    pub closed: bool,
}

/// Text that is set apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Whether it is code, or else bold.
    pub code: bool,
    /// Its text.
    pub text: String,
    /// Where it stands, marks included.
    pub span: Span,
}

/// An item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The number of its list, in the order of the text.
    pub list: u32,
    /// Whether the list is numbered.
    pub ordered: bool,
    /// How many lists it is in.
    pub depth: u32,
    /// Where it stands.
    pub span: Span,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub target: String,
    /// Where it stands.
    pub span: Span,
}

/// A Markdown text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Its headings.
    pub headings: Vec<Heading>,
    /// Its blocks of code.
    pub fences: Vec<Fence>,
    /// Code spans and bold text.
    pub marks: Vec<Mark>,
    /// Items of lists.
    pub items: Vec<Item>,
    /// Links.
    pub links: Vec<Link>,
}

/// How deep quotes and lists may nest; a line beyond that is read as text. Nobody writes more than a few.
const NESTING: usize = 64;

impl Document {
    /// Reads the text from byte `from` on.
    #[must_use]
    pub fn read(text: &str, from: usize) -> Self {
        let body = text.get(from..).unwrap_or_default();
        if nested_too_deep(body) {
            return Self::default();
        }
        let mut reader = Reader { text, from, ..Reader::default() };
        for (event, range) in Parser::new_ext(body, Options::ENABLE_TABLES).into_offset_iter() {
            reader.event(event, range);
        }
        reader.document
    }

    /// Finds the block of code that a byte stands in.
    #[must_use]
    pub fn fence_at(&self, at: u32) -> Option<&Fence> {
        let after = self.fences.partition_point(|fence| fence.span.start <= at);
        self.fences[..after].iter().rev().take(4).find(|fence| at < fence.span.end)
    }

    /// Finds the last heading before a byte.
    #[must_use]
    pub fn heading_at(&self, at: u32) -> Option<&Heading> {
        let after = self.headings.partition_point(|heading| heading.span.start <= at);
        self.headings[..after].last()
    }

    /// Finds the mark that a byte stands in.
    #[must_use]
    pub fn mark_at(&self, at: u32) -> Option<&Mark> {
        let after = self.marks.partition_point(|mark| mark.span.start <= at);
        self.marks[..after].iter().rev().take(3).find(|mark| at < mark.span.end)
    }
}

/// Tells whether a line opens more quotes or lists than [`NESTING`].
fn nested_too_deep(text: &str) -> bool {
    let starts = iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1));
    starts.map(|start| &text[start..]).any(|rest| {
        let openers = rest.bytes().take(1024).take_while(|byte| b" \t>-*+".contains(byte));
        openers.filter(|byte| b">-*+".contains(byte)).count() > NESTING
            && rest
                .lines()
                .next()
                .is_some_and(|line| line.contains(|c: char| !matches!(c, '-' | '*' | '+' | ' ' | '_')))
    })
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    from: usize,
    document: Document,
    heading: Option<(u8, String)>,
    bold: Vec<(usize, String)>,
    lists: Vec<(u32, bool)>,
    list_count: u32,
}

impl Reader<'_> {
    fn span(&self, range: &std::ops::Range<usize>) -> Span {
        Span::new(range.start + self.from, range.end + self.from)
    }

    fn event(&mut self, event: Event<'_>, range: std::ops::Range<usize>) {
        let span = self.span(&range);
        match event {
            Event::Start(tag) => self.start(tag, span),
            Event::End(tag) => self.end(tag, span),
            Event::Text(text) => self.words(&text),
            Event::Code(text) => {
                self.words(&text);
                self.document.marks.push(Mark { code: true, text: text.into_string(), span });
            }
            Event::SoftBreak | Event::HardBreak => self.words(" "),
            _ => {}
        }
    }

    fn words(&mut self, text: &str) {
        if let Some((_, heading)) = &mut self.heading {
            heading.push_str(text);
        }
        if let Some((_, bold)) = self.bold.last_mut() {
            bold.push_str(text);
        }
    }

    fn start(&mut self, tag: Tag<'_>, span: Span) {
        match tag {
            Tag::Heading { level, .. } => self.heading = Some((depth(level), String::new())),
            Tag::Strong => self.bold.push((self.document.marks.len(), String::new())),
            Tag::CodeBlock(kind) => {
                let fence = match kind {
                    CodeBlockKind::Fenced(info) => Fence {
                        span,
                        info: info.into_string(),
                        fenced: true,
                        closed: closed(self.text, span),
                    },
                    CodeBlockKind::Indented => {
                        Fence { span, info: String::new(), fenced: false, closed: true }
                    }
                };
                self.document.fences.push(fence);
            }
            Tag::List(first) => {
                self.lists.push((self.list_count, first.is_some()));
                self.list_count += 1;
            }
            Tag::Item => {
                let Some(&(list, ordered)) = self.lists.last() else { return };
                let depth = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
                self.document.items.push(Item { list, ordered, depth, span });
            }
            Tag::Link { dest_url, .. } => {
                self.document.links.push(Link { target: dest_url.into_string(), span });
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd, span: Span) {
        match tag {
            TagEnd::Heading(_) => {
                if let Some((level, text)) = self.heading.take() {
                    self.document.headings.push(Heading { level, text: text.trim().to_owned(), span });
                }
            }
            TagEnd::Strong => {
                if let Some((at, text)) = self.bold.pop() {
                    // Marks are in the order of their starts.
                    self.document.marks.insert(at, Mark { code: false, text, span });
                }
            }
            TagEnd::List(_) => {
                self.lists.pop();
            }
            _ => {}
        }
    }
}

fn depth(level: HeadingLevel) -> u8 {
    level as u8
}

/// Tells whether a block's last line is a fence that ends it.
fn closed(text: &str, span: Span) -> bool {
    let block = text.get(span.range()).unwrap_or_default().trim_end();
    let Some((first, rest)) = block.split_once('\n') else { return false };
    let opening = first.trim_start();
    let Some(fence) = opening.chars().next() else { return false };
    let long = opening.chars().take_while(|&c| c == fence).count();
    let last = rest.rsplit('\n').next().unwrap_or_default();
    let last = last.trim_start_matches([' ', '\t', '>']).trim_end();
    last.chars().count() >= long && last.chars().all(|c| c == fence)
}
