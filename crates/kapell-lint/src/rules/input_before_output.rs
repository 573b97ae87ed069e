//! `input-before-output`: a step hands over a file that only a later step makes.

use kapell_spec::claude::{definition::Named, steps::Step};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::{Asset, Home},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/input-before-output.md`.
pub(super) static RULE: Rule = Rule {
    name: "input-before-output",
    summary: "a step hands over a file that only a later step makes",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::Circular),
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/input-before-output.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| asset.home != Home::Other) {
        let text = &repository.files[asset.file].text;
        for (at, step) in asset.flow.steps.iter().enumerate() {
            for read in &step.reads {
                if let Some((later, written)) = made_later(asset, text, at, read) {
                    let message = format!(
                        "step {} takes `{}`, which step {later} makes: it is not there yet",
                        step.number, read.text
                    );
                    report
                        .add(asset.file, read.span, message)
                        .also(asset.file, written.span, "made here")
                        .hint("make it before, or hand over what there is by then")
                        .done();
                }
            }
        }
    }
}

/// Words of a line that takes a file only where there is one, or from a round before.
const MAYBE: &[&str] = &[
    "if ", "exist", "resum", "previous", "prior", "optional", "any ", "existing", "last ", "again", "templat",
];

/// Finds the step behind that is the first to make a file. A file that the text names before, or that may be left from
/// another time, is none of these.
fn made_later<'a>(asset: &'a Asset, text: &str, at: usize, read: &Named) -> Option<(&'a str, &'a Named)> {
    let steps = &asset.flow.steps;
    let step = &steps[at];
    let makes = |step: &'a Step| step.writes.iter().find(|written| written.text == read.text);
    if step.agents.is_empty() || steps[..=at].iter().any(|step| makes(step).is_some()) {
        return None;
    }
    let later = &steps[at + 1..];
    let (maker, written) = later.iter().find_map(|step| Some((step, makes(step)?)))?;
    let before = text.get(..read.span.start as usize)?;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default().to_ascii_lowercase();
    let first = line.split(". ").next().unwrap_or_default();
    let named_before = before[..start].contains(&*read.text);
    (!named_before && !MAYBE.iter().any(|word| first.contains(word))).then_some((&*maker.number, written))
}
