//! Commands that count their arguments from one, where `$0` is the first.
//!
//! Source: <https://code.claude.com/docs/en/slash-commands>, as of 2026-08: `$N` is short for `$ARGUMENTS[N]`.

use kapell_spec::{claude::definition::Named, line};
use kapell_view::audit::Confidence;

use super::{Form, read_by_places};
use crate::{agents::Asset, files::File, rule::Report};

/// Signs of a script in which `$1` is its own.
const SCRIPTED: &[&str] = &["awk", "cut -", "sed ", "#!/", "() {", "function ", "$@", "set --"];

/// Returns the hint of a command that reads its arguments by the places behind their own, and the last place that it reads.
pub(super) fn from_one<'a>(asset: &'a Asset, file: &File) -> Option<(&'a Named, usize)> {
    let hint = asset.definition.text("argument-hint")?;
    let text = &file.text[asset.definition.body as usize..];
    let places = places(&hint.text)?;
    if asset.definition.field("arguments").is_some() || SCRIPTED.iter().any(|word| text.contains(word)) {
        return None;
    }
    let (form, read) = read_by_places(text)?;
    let most = read.iter().copied().max().filter(|&most| form == Form::FromOne && most <= places)?;
    let each = (1..=most).all(|place| read.contains(&place));
    (each && (most == places || is_labelled(text, &hint.text))).then_some((hint, most))
}

/// Tells whether a text calls `$1` what the hint calls the first argument: ``Feature name: `$1` `` for `<feature-name> [-y]`.
fn is_labelled(text: &str, hint: &str) -> bool {
    let words = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], " ");
    let first =
        hint.trim().trim_matches(['"', '\'']).strip_prefix('<').and_then(|rest| rest.split('>').next());
    let Some(name) = first.map(words).filter(|name| !name.is_empty()) else { return false };
    text.match_indices("$1").any(|(at, _)| {
        let label = text[line::start(text, at)..at].trim_end_matches(['`', '"', '\'', '*', ' ']);
        label.strip_suffix([':', '=']).is_some_and(|label| {
            let label = words(label.trim_end_matches(['*', ' ']));
            label.strip_suffix(&*name).is_some_and(|rest| !rest.ends_with(char::is_alphanumeric))
        })
    })
}

/// Counts the arguments of a hint in which each stands in brackets of its own: `<commit> [release branch]`.
fn places(hint: &str) -> Option<usize> {
    let mut rest = hint.trim().trim_matches(['"', '\'']).trim();
    let mut count = 0;
    while !rest.is_empty() {
        let close = match rest.chars().next()? {
            '<' => '>',
            '[' => ']',
            _ => return None,
        };
        let (inner, after) = rest[1..].split_once(close)?;
        let plain = |c: char| c.is_alphanumeric() || "-_ ".contains(c);
        // An option may have a value behind it, which is a place of its own.
        let option = inner.starts_with('-');
        if inner.is_empty() || !inner.chars().all(plain) || option && (count == 0 || inner.contains(' ')) {
            return None;
        }
        count += 1;
        rest = after.trim_start();
    }
    (count > 0).then_some(count)
}

/// Tells of such commands: one habit, one finding.
pub(super) fn tell(report: &mut Report<'_>, counted: &[(&Asset, &Named, usize)]) {
    let Some(((asset, hint, places), rest)) = counted.split_first() else { return };
    let several = self::places(&hint.text) > Some(1);
    let message = match places {
        1 if several => "`$1` is not the first argument, but the second: `$0` is the first".to_owned(),
        _ => format!("`${places}` is never given: `$0` is the first argument, and `$1` the second"),
    };
    let mut draft = report.add(asset.file, hint.span, message).confidence(Confidence::Medium);
    draft = draft.hint("count from `$0`, or name them under `arguments`");
    for (other, hint, _) in rest {
        draft = draft.also(other.file, hint.span, "this one counts so, too");
    }
    draft.done();
}
