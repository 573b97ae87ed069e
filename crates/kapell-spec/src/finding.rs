//! What is wrong with a text: where, why, and what helps.

use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
pub use kapell_core::expr::Span;

/// A text that was read, and its name for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name, such as a path.
    pub name: Arc<str>,
    /// Its text. What was no UTF-8 is replaced.
    pub text: Arc<str>,
}

impl Source {
    /// Names a text.
    #[must_use]
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Returns the line and the column of a byte, both from 1; the column counts characters.
    #[must_use]
    pub fn position(&self, at: u32) -> (usize, usize) {
        let at = floor_char(&self.text, at as usize);
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.bytes().filter(|&byte| byte == b'\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// Moves an offset back to the start of its character, and into the text.
fn floor_char(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably not what was meant.
    Warning,
    /// The text cannot be used.
    Error,
}

/// Another place that has to do with a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// Why.
    pub text: String,
}

/// A change of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced.
    pub span: Span,
    /// By what.
    pub text: String,
}

/// Changes that mend what a finding reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What they do.
    pub title: String,
    /// The changes; they do not overlap.
    pub edits: Vec<Edit>,
}

/// Something wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its code, such as `K0203`; see [`crate::codes`].
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to write beneath the place.
    pub label: Option<String>,
    /// Other places.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub hint: Option<String>,
    /// How to mend it.
    pub fix: Option<Fix>,
}

impl Finding {
    /// Reports an error.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            severity: Severity::Error,
            message,
            span,
            label: None,
            labels: Vec::new(),
            hint: None,
            fix: None,
        }
    }

    /// Reports a warning.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says something beneath the place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.label = Some(text.into());
        self
    }

    /// Points at another place.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Says how to mend it by replacing what stands at `span`.
    #[must_use]
    pub fn fix(mut self, title: impl Into<String>, span: Span, text: impl Into<String>) -> Self {
        self.fix = Some(Fix { title: title.into(), edits: vec![Edit { span, text: text.into() }] });
        self
    }

    /// Tells whether the text cannot be used because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The most findings that are kept of one text.
const FINDINGS_LIMIT: usize = 200;

/// Adds a finding, unless there are so many that nobody reads them. The first error is always kept.
pub(crate) fn report(findings: &mut Vec<Finding>, finding: Finding) {
    if findings.len() < FINDINGS_LIMIT || finding.is_error() && !findings.iter().any(Finding::is_error) {
        findings.push(finding);
    }
}

/// Tells whether further findings would be dropped, so that they need not be made.
pub(crate) fn is_full(findings: &[Finding]) -> bool {
    findings.len() >= FINDINGS_LIMIT && findings.iter().any(Finding::is_error)
}

/// The most bytes of the text that are shown around a place.
const CONTEXT_BYTES: usize = 16 * 1024;

/// Renders a finding as people read it: code, message, file:line:col, the lines themselves, hint.
///
/// Control characters are made visible, so that a text cannot steer the terminal.
#[must_use]
pub fn render(finding: &Finding, source: &Source, colours: bool) -> String {
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() }.term_width(120);
    // Titles are shown as they are.
    let message = visible(&finding.message);
    let hint = finding.hint.as_deref().map(visible);
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group = snippets(level.primary_title(message).id(finding.code), finding, source);
    if let Some(hint) = hint {
        group = group.element(Level::HELP.message(hint));
    }
    let mut text = renderer.render(&[group]);
    text.push('\n');
    text
}

/// Adds the places: those near the first are shown with it, the others by their position alone.
fn snippets<'a>(title: annotate_snippets::Title<'a>, finding: &Finding, source: &'a Source) -> Group<'a> {
    let place = within(source, finding.span);
    let window = window(&source.text, place.clone());
    let near = |span: &Span| {
        let place = within(source, *span);
        window.start <= place.start && place.end <= window.end
    };
    let line_start = source.position(Span::new(window.start, 0).start).0;
    let shift = |span: Span| {
        let place = within(source, span);
        place.start.saturating_sub(window.start)..place.end.min(window.end).saturating_sub(window.start)
    };
    let mut snippet = Snippet::source(harmless(&source.text[window.clone()]))
        .line_start(line_start)
        .path(visible(&source.name))
        .annotation(
            AnnotationKind::Primary.span(shift(finding.span)).label(finding.label.as_deref().map(visible)),
        );
    for label in finding.labels.iter().filter(|label| near(&label.span)) {
        snippet =
            snippet.annotation(AnnotationKind::Context.span(shift(label.span)).label(visible(&label.text)));
    }
    let mut group = title.element(snippet);
    for label in finding.labels.iter().filter(|label| !near(&label.span)) {
        let (line, column) = source.position(label.span.start);
        let text = format!("{} ({}:{line}:{column})", visible(&label.text), visible(&source.name));
        group = group.element(Level::NOTE.message(text));
    }
    group
}

/// Renders all findings, worst first within the order of the text, and at most `limit` of them.
#[must_use]
pub fn render_all(findings: &[Finding], source: &Source, colours: bool, limit: usize) -> String {
    let mut text: Vec<String> =
        findings.iter().take(limit).map(|finding| render(finding, source, colours)).collect();
    if let Some(more @ 1..) = findings.len().checked_sub(limit) {
        text.push(format!("and {more} more\n"));
    }
    text.join("\n")
}

/// Returns `span` as a range of whole characters within the text.
fn within(source: &Source, span: Span) -> std::ops::Range<usize> {
    let start = floor_char(&source.text, span.start as usize);
    let end = floor_char(&source.text, (span.end as usize).max(start));
    start..end.max(start)
}

/// Returns the whole lines around `place`, but no more than [`CONTEXT_BYTES`] to either side.
fn window(text: &str, place: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let least = floor_char(text, place.start.saturating_sub(CONTEXT_BYTES));
    let most = floor_char(text, place.start + CONTEXT_BYTES);
    let newlines = |range: &str| range.match_indices('\n').map(|(at, _)| at).collect::<Vec<_>>();
    let before = newlines(&text[least..place.start]);
    // Up to twelve lines before and after, so that near places are shown together.
    let start = match before.len().checked_sub(12) {
        Some(from) => least + before[from] + 1,
        None if least == 0 => 0,
        None => before.first().map_or(least, |at| least + at + 1),
    };
    let after = newlines(&text[place.start..most]);
    let end =
        after.get(24).or(after.last().filter(|_| most < text.len())).map_or(most, |at| place.start + at);
    start..end
}

/// Makes control characters visible, and those that turn the direction of text.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push('\n'),
            '\t' => out.push(' '),
            character if character.is_control() || is_bidi(character) => {
                out.extend(character.escape_unicode())
            }
            character => out.push(character),
        }
    }
    out
}

/// Puts another character of as many bytes in place of each that the renderer would show as it is though it could steer a
/// terminal (C1, U+0080 to U+009F) or turns the direction of text: places stay where they are.
fn harmless(text: &str) -> String {
    let shown = |character: char| match character.len_utf8() {
        2 if character.is_control() || is_bidi(character) => '\u{b7}',
        3 if is_bidi(character) => char::REPLACEMENT_CHARACTER,
        _ => character,
    };
    text.chars().map(shown).collect()
}

/// Tells whether a character turns the direction of text, so that it reads other than it runs.
#[must_use]
pub fn is_bidi(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}
