//! Steps that lead on to themselves.

use std::sync::LazyLock;

use kapell_spec::{finding::Span, line, words::Words};
use kapell_view::audit::AssetKind;

use crate::{agents::Asset, repository::Repository, rule::Report};

/// Orders that lead on to another step.
const LEADS_ON: &[&str] = &[
    "proceed to step ",
    "continue to step ",
    "continue with step ",
    "move on to step ",
    "go on to step ",
    "skip to step ",
];

/// As many orders of a text are looked at.
const LED_MAX: usize = 100;

static LEADING: LazyLock<Words> = LazyLock::new(|| Words::new(LEADS_ON));

/// Items of a numbered list that lead on to the step of their own number, where no heading counts steps: what was to come next is
/// never reached.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let kinds = [AssetKind::Agent, AssetKind::Command, AssetKind::Skill];
    for (_, asset) in
        repository.agents.iter().filter(|(_, asset)| kinds.contains(&asset.kind) && asset.is_read())
    {
        let text = &repository.files[asset.file].text;
        let body = asset.definition.body as usize;
        for (order, at) in LEADING.places(&text[body..]).take(LED_MAX) {
            let (at, len) = (body + at, LEADS_ON[order].len());
            let Some(number) = number(&text[at + len..]) else { continue };
            if leads_to_itself(asset, text, at, number) {
                let message = format!("step {number} leads on to step {number}, which is itself");
                let span = Span::new(at, at + len + number.len());
                report.add(asset.file, span, message).hint("name the step that comes next").done();
            }
        }
    }
}

/// Returns the number that a text begins with, if nothing follows that makes it another one: no `2a`, and no `2.1`.
fn number(text: &str) -> Option<&str> {
    let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut rest = text[len..].chars();
    let next = rest.next();
    let part = next.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_')
        || next == Some('.') && rest.next().is_some_and(|c| c.is_ascii_digit());
    (len > 0 && !part).then(|| &text[..len])
}

/// Tells whether the innermost numbered item around a place has the number, in a list at the top whose items alone are counted:
/// headings and outer lists may count steps of their own.
fn leads_to_itself(asset: &Asset, text: &str, at: usize, wanted: &str) -> bool {
    let document = &asset.definition.document;
    let mut around = document.items.iter().filter(|item| item.span.range().contains(&at));
    let Some(item) = around.rfind(|item| item.ordered) else { return false };
    let own = text.get(item.span.range()).and_then(number).unwrap_or_default();
    let counted = document.headings.iter().any(|heading| {
        let text = heading.text.to_ascii_lowercase();
        text.contains("step") || text.starts_with(wanted)
    });
    // A loop is told as one.
    let line = line::around(text, at).to_ascii_lowercase();
    let again = ["again", "repeat", "until", "for each", "next item"].iter().any(|word| line.contains(word));
    item.depth == 1 && own == wanted && !counted && !again && !heads_steps(text, wanted)
}

/// Tells whether a text heads something with the step of a number in bold, or in capitals, as headings do.
fn heads_steps(text: &str, number: &str) -> bool {
    let heads =
        [format!("**Step {number}"), "<step".to_owned(), format!("STEP {number}"), format!("Step {number}:")];
    heads.iter().any(|head| text.contains(head.as_str()))
}
