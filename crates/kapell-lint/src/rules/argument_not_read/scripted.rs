//! Scripts that a command always runs with the same values, though they take just what the command is asked for.

use kapell_spec::finding::Span;
use kapell_view::audit::Severity;

use super::is_plain;
use crate::{
    agents::Asset,
    files::{File, is_script},
    repository::Repository,
    rule::{self, Report},
};

/// Tells of such a script: the hint names its parameters, one by one, and the text that runs it holds nothing of what is given.
///
/// Source: <https://code.claude.com/docs/en/slash-commands>: without a placeholder what is given is put at the end of the text;
/// the line that is to be run stays as it stands.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>, asset: &Asset, file: &File) {
    let Some(hint) = asset.definition.text("argument-hint") else { return };
    let words: Vec<&str> = hint.text.split_whitespace().collect();
    let asked = words.len() >= 2 && words.iter().all(|word| word.starts_with('<') && is_plain(word));
    let body = asset.definition.body as usize;
    let text = &file.text[body..];
    if !asked || text.contains('$') || words.iter().any(|word| text.contains(word)) {
        return;
    }
    let document = &asset.definition.document;
    let fenced = document.fences.iter().flat_map(|fence| lines(&file.text, fence.span));
    let marked = document.marks.iter().filter(|mark| mark.code).flat_map(|mark| lines(&file.text, mark.span));
    let mut runs = fenced.chain(marked).filter(|(_, line)| takes(repository, line, &words));
    let Some((span, line)) = runs.next() else { return };
    let message = format!(
        "`{line}` stands there for good: {} {} read nowhere",
        rule::names(words.iter().copied()),
        if words.len() == 1 { "is" } else { "are" }
    );
    let mut draft = report.add(asset.file, span, message).severity(Severity::High);
    draft = draft.hint("write `$0`, `$1`, in their places").also(asset.file, hint.span, "promised here");
    for (span, _) in runs {
        draft = draft.also(asset.file, span, "here too");
    }
    draft.done();
}

/// Returns the lines of a place that hold a command, with where they stand.
fn lines(text: &str, span: Span) -> impl Iterator<Item = (Span, &str)> {
    let own = text.get(span.range()).unwrap_or_default();
    own.lines().map(move |line| {
        let line = line.trim_matches(['`', ' ', '\t']);
        let at = kapell_spec::line::offset(text, line);
        (Span::new(at, at + line.len()), line)
    })
}

/// Tells whether a line runs a script of the repository with a plain value for each of its first parameters, which it calls as
/// the hint does: `service=${1:?service}`.
fn takes(repository: &Repository, line: &str, words: &[&str]) -> bool {
    let mut given = line.split_whitespace().skip_while(|word| matches!(*word, "bash" | "sh"));
    let Some(script) = given.next().filter(|path| path.contains('/') && is_script(path)) else {
        return false;
    };
    let given: Vec<&str> = given.take_while(|word| !word.starts_with('-')).collect();
    let plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let Some(id) = repository.files.find(script.trim_start_matches("./")) else { return false };
    let text = &*repository.files[id].text;
    let called = |(at, word): (usize, &&str)| {
        let name = word.trim_matches(['<', '>']).replace('-', "_");
        text.lines().any(|line| {
            let line = line.trim_start();
            let set = line.strip_prefix("local ").or_else(|| line.strip_prefix("readonly ")).unwrap_or(line);
            let Some((own, value)) = set.split_once('=') else { return false };
            let value = value.trim_start_matches('"');
            let first = [format!("${}", at + 1), format!("${{{}", at + 1)];
            own.eq_ignore_ascii_case(&name) && first.iter().any(|form| value.starts_with(form.as_str()))
        })
    };
    given.len() == words.len() && given.iter().all(plain) && words.iter().enumerate().all(called)
}
