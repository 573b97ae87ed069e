//! Commands that count their arguments from one, where `$0` is the first.
//!
//! Source: <https://code.claude.com/docs/en/slash-commands>, as of 2026-08: `$N` is short for `$ARGUMENTS[N]`.

use kapell_spec::claude::definition::Named;
use kapell_view::audit::Confidence;

use super::{Form, read_by_places};
use crate::{agents::Asset, files::File, rule::Report};

/// Signs of a script in which `$1` is its own.
const SCRIPTED: &[&str] = &["awk", "cut -", "sed ", "#!/", "() {", "function ", "$@", "set --"];

/// Returns the hint of a command that reads each of its arguments by the place behind its own, so that the last one is never
/// given, and how many they are.
pub(super) fn from_one<'a>(asset: &'a Asset, file: &File) -> Option<(&'a Named, usize)> {
    let hint = asset.definition.text("argument-hint")?;
    let text = &file.text[asset.definition.body as usize..];
    let places = places(&hint.text)?;
    if asset.definition.field("arguments").is_some() || SCRIPTED.iter().any(|word| text.contains(word)) {
        return None;
    }
    let (form, read) = read_by_places(text)?;
    let each = (1..=places).all(|place| read.contains(&place));
    (form == Form::FromOne && each && read.iter().max() == Some(&places)).then_some((hint, places))
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
        if inner.is_empty() || inner.starts_with('-') || !inner.chars().all(plain) {
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
    let message = format!("`${places}` is never given: `$0` is the first argument, and `$1` the second");
    let mut draft = report.add(asset.file, hint.span, message).confidence(Confidence::Medium);
    draft = draft.hint("count from `$0`, or name them under `arguments`");
    for (other, hint, _) in rest {
        draft = draft.also(other.file, hint.span, "this one counts so, too");
    }
    draft.done();
}
