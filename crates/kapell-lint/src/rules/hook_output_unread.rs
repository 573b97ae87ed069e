//! `hook-output-unread`: what a hook hands back, or asks for, is not part of what its client speaks.

use std::collections::BTreeSet;

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "hook-output-unread",
    summary: "what a hook hands back is not read, or what it asks for is never given",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/hook-output-unread.md"),
    check,
};

/// A place, and who starts the script.
type Place = (FileId, Span, FileId, Span);

fn check(repository: &Repository, report: &mut Report<'_>) {
    let (mut unread, mut ungiven): (Vec<Place>, Vec<Place>) = (Vec::new(), Vec::new());
    let mut judged = BTreeSet::new();
    for from in &repository.agents.hooks {
        for hook in &from.hooks.hooks {
            let Some(script) = repository.agents.hook_script(&repository.files, from, hook) else { continue };
            let Some(file) = repository.files.find(&script.path) else { continue };
            if !judged.insert((file, hook.event.text == "PostToolUse")) {
                continue;
            }
            let text = &*repository.files[file].text;
            // A gate is told of as one.
            if hook.event.text != "PreToolUse"
                && let Some(at) = nameless(text)
            {
                unread.push((file, at, from.file, script.span));
            }
            if hook.event.text == "PostToolUse"
                && let Some(at) = never_given(text)
            {
                ungiven.push((file, at, from.file, script.span));
            }
        }
    }
    tell(
        report,
        &unread,
        "what this hook hands back is not read: it does not say its `hookEventName`",
        "write `{\"hookSpecificOutput\": {\"hookEventName\": \"..\", ..}}`, with the event that started it",
    );
    tell(
        report,
        &ungiven,
        "this hook reads `tool_result`, which it is never given",
        "read `tool_response`, which holds what the tool gave back",
    );
}

/// One habit, one finding.
fn tell(report: &mut Report<'_>, places: &[Place], message: &str, hint: &str) {
    let Some(((file, span, from, start), rest)) = places.split_first() else { return };
    let mut draft = report.add(*file, *span, message).also(*from, *start, "started here").hint(hint);
    for (file, span, ..) in rest {
        draft = draft.also(*file, *span, "so does this one");
    }
    draft.done();
}

/// Finds an answer of the form that has to name its event, in a script that names none.
fn nameless(text: &str) -> Option<Span> {
    let key = "hookSpecificOutput";
    let answers =
        text.lines().find(|line| line.contains(key) && !line.trim_start().starts_with(['#', '/', '*']))?;
    let line = answers.as_ptr() as usize - text.as_ptr() as usize;
    let at = line + answers.find(key)?;
    (!text.contains("hookEventName") && !text.contains("hook_event_name"))
        .then(|| Span::new(at, at + key.len()))
}

/// Finds where a script takes `tool_result` out of its input; what a tool gave back is called `tool_response`.
fn never_given(text: &str) -> Option<Span> {
    let key = "tool_result";
    let forms = [".tool_result", "\"tool_result\"", "'tool_result'"];
    let (at, form) = forms.iter().filter_map(|form| Some((text.find(form)?, form))).min()?;
    let at = at + form.find(key)?;
    let whole = !text[at + key.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    (whole && !text.contains("tool_response")).then(|| Span::new(at, at + key.len()))
}
