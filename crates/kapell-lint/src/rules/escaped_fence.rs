//! `escaped-fence`: a block of code is opened or closed where it was not meant to be.

use kapell_spec::{claude::markdown::Fence, finding::Span};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/escaped-fence.md`.
pub(super) static RULE: Rule = Rule {
    name: "escaped-fence",
    summary: "a block of code is opened or closed where it was not meant to be",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/escaped-fence.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut open: Vec<(&Asset, Span)> = Vec::new();
    for (_, asset) in repository
        .agents
        .iter()
        .filter(|(_, asset)| asset.kind != AssetKind::Memory && asset.home != Home::Other)
    {
        let text = &repository.files[asset.file].text;
        escaped(report, asset, text);
        if nested(report, asset, text) {
            continue;
        }
        let fences = &asset.definition.document.fences;
        let left = fences
            .iter()
            .find(|fence| fence.fenced && !fence.closed && swallows(text, fence))
            .filter(|_| is_left_open(&text[asset.definition.body as usize..]));
        open.extend(left.map(|fence| {
            let line = text[fence.span.start as usize..].lines().next().unwrap_or_default().len();
            (asset, Span::new(fence.span.start as usize, fence.span.start as usize + line))
        }));
    }
    tell_open(report, &open);
}

/// Whoever nests fences once does it in every file: one habit, one finding.
fn tell_open(report: &mut Report<'_>, open: &[(&Asset, Span)]) {
    let Some(((first, span), rest)) = open.split_first() else { return };
    let more = match rest.len() {
        0 => String::new(),
        1 => "; and so in one more file".to_owned(),
        more => format!("; and so in {more} more files"),
    };
    let message = format!("this fence is never closed: all that follows is code, not instructions{more}");
    let hint = "close it, or give the fence around a nested example one more backtick";
    let mut draft = report.add(first.file, *span, message).hint(hint);
    for (asset, span) in rest {
        draft = draft.also(asset.file, *span, "never closed either");
    }
    draft.done();
}

/// Tells whether the fences of a text, taken line by line, leave one open. Within tags, whose inside is no Markdown until
/// the next empty line, fences stand as well, and whoever reads the text sees them.
fn is_left_open(text: &str) -> bool {
    let mut open: Option<(char, usize)> = None;
    for line in text.lines() {
        let content = line.trim_start_matches([' ', '\t', '>']);
        let Some(mark) = content.chars().next().filter(|mark| matches!(mark, '`' | '~')) else { continue };
        let len = content.chars().take_while(|&character| character == mark).count();
        let bare = content[len..].trim().is_empty();
        open = match open {
            None if len >= 3 && !content[len..].contains(mark) => Some((mark, len)),
            Some((opened, least)) if opened == mark && len >= least && bare => None,
            other => other,
        };
    }
    open.is_some()
}

/// Tells whether an open block holds more than its own code: headings, or lists where it is not said to be code.
fn swallows(text: &str, fence: &Fence) -> bool {
    let block = &text[fence.span.range()];
    let bare = fence.info.trim().is_empty();
    block.lines().skip(1).any(|line| {
        let heading = line.starts_with("## ") || line.starts_with("### ");
        heading
            || !bare && is_code(&fence.info) && is_prose(line)
            || bare && (line.starts_with("- ") || line.starts_with("1. "))
    })
}

/// Tells whether a block says that it holds code of a language.
fn is_code(info: &str) -> bool {
    let language = info.trim().to_ascii_lowercase();
    [
        "bash",
        "sh",
        "shell",
        "sql",
        "python",
        "js",
        "javascript",
        "ts",
        "typescript",
        "go",
        "rust",
        "json",
        "yaml",
        "ruby",
    ]
    .contains(&&*language)
}

/// Tells whether a line is a sentence: code seldom ends with a full stop.
fn is_prose(line: &str) -> bool {
    let line = line.trim_end();
    line.starts_with(|c: char| c.is_ascii_uppercase())
        && line.ends_with('.')
        && line.split(' ').count() >= 6
        && !line.contains(['{', '=', ';'])
}

/// A line that was to open a block, with its backticks escaped.
fn escaped(report: &mut Report<'_>, asset: &Asset, text: &str) {
    let mut at = asset.definition.body as usize;
    if !text[at..].contains("\\`") {
        return;
    }
    let mut found: Vec<Span> = Vec::new();
    for line in text[at..].split_inclusive('\n') {
        let content = line.trim();
        let fenced = asset.definition.document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some();
        if !fenced && (content.starts_with("\\`\\`\\`") || content.starts_with("\\```")) {
            found.push(Span::new(at, at + line.trim_end().len()));
        }
        at += line.len();
    }
    let Some((first, rest)) = found.split_first() else { return };
    let message = "the backticks of this fence are escaped, so that no block of code starts here";
    let mut draft = report.add(asset.file, *first, message).hint("write plain backticks");
    for span in rest {
        draft = draft.also(asset.file, *span, "escaped too");
    }
    draft.done();
}

/// Tells whether a block begins with a sentence, and has a list: it holds what somebody is told.
fn is_prompt(block: &str) -> bool {
    let mut lines = block.lines().skip(1);
    let tells = |line: &str| {
        let ends = line.trim_end().ends_with(['.', ':']);
        ends && line.starts_with(|c: char| c.is_ascii_uppercase()) && line.split(' ').count() >= 5
    };
    lines.next().is_some_and(tells) && lines.any(|line| line.starts_with("1. ") || line.starts_with("- "))
}

/// A block of Markdown, or a prompt, that shows another block with as many backticks: the end of the inner one ends the outer one, and
/// the rest of the example is read as instructions. Tells whether there was one.
fn nested(report: &mut Report<'_>, asset: &Asset, text: &str) -> bool {
    let fences = &asset.definition.document.fences;
    for (at, fence) in fences.iter().enumerate() {
        let info = fence.info.trim().to_ascii_lowercase();
        let block = &text[fence.span.range()];
        // A prompt needs no language, and its examples stand below its lists.
        let prompt = info.is_empty() && !block.starts_with([' ', '\t']) && is_prompt(block);
        if !fence.fenced || !fence.closed || !(prompt || matches!(&*info, "md" | "markdown")) {
            continue;
        }
        let ticks = block.trim_start().chars().take_while(|c| *c == '`').count();
        // A bare line of backticks ends a block, so that only one with a language can open another one.
        let mut inner = None;
        let mut start = fence.span.start as usize;
        for (number, line) in block.split_inclusive('\n').enumerate() {
            let content = line.trim();
            let mine = content.chars().take_while(|c| *c == '`').count();
            let language = &content[mine..];
            let opens = number > 0
                && (!prompt || line.starts_with([' ', '\t']))
                && mine == ticks
                && ticks >= 3
                && !language.is_empty()
                && language.chars().all(|c| c.is_ascii_alphanumeric() || "-_+".contains(c));
            if opens {
                inner = inner.or(Some(Span::new(start, start + line.trim_end().len())));
            }
            start += line.len();
        }
        // The line that was to end the outer block opens one of its own.
        let orphan = fences.get(at + 1).filter(|next| next.fenced && next.info.trim().is_empty());
        if let (Some(inner), Some(orphan)) = (inner, orphan) {
            let line = text[orphan.span.range()].lines().next().unwrap_or_default().len();
            let message = "this block stands in one of as many backticks: its end ends both, and the rest of the example is read as instructions";
            report
                .add(asset.file, inner, message)
                .hint("give the fences around one more backtick")
                .also(
                    asset.file,
                    Span::new(orphan.span.start as usize, orphan.span.start as usize + line),
                    "this opens a block, and was to end one",
                )
                .done();
            return true;
        }
    }
    false
}
