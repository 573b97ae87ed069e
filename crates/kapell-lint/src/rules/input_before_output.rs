//! `input-before-output`: a step hands over a file that only a later step makes.

mod required; // files that have to be there before those who write them are started

use kapell_spec::{
    claude::{definition::Named, steps::Step},
    line, suggest,
};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::Asset,
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
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| asset.is_read()) {
        misnamed(repository, report, asset);
        required::check(repository, report, asset);
        let text = &repository.files[asset.file].text;
        for (at, step) in asset.flow.steps.iter().enumerate() {
            for read in &step.reads {
                let there = !step.hands_out() && repository.files.exists(&read.text);
                if let Some((later, written)) = made_later(asset, text, at, read).filter(|_| !there) {
                    // Who is handed nothing makes something up; who looks for it sees that it is not there.
                    let severity = if step.hands_out() { Severity::High } else { Severity::Medium };
                    let message = format!(
                        "step {} takes `{}`, which step {later} makes: it is not there yet",
                        step.number, read.text
                    );
                    report
                        .add(asset.file, read.span, message)
                        .severity(severity)
                        .also(asset.file, written.span, "made here")
                        .hint("make it before, or hand over what there is by then")
                        .done();
                }
            }
        }
    }
}

/// Tells of files that a step takes and none makes, where one before makes another one in the same place that none takes:
/// it reads `02-architecture.md`, and `02-design.md` is what there is.
fn misnamed(repository: &Repository, report: &mut Report<'_>, asset: &Asset) {
    let (text, steps) = (&repository.files[asset.file].text, &asset.flow.steps);
    let once = |name: &str| text.matches(name).count() == 1;
    let made = |path: &str| steps.iter().flat_map(|step| &step.writes).any(|written| written.text == path);
    let taken = |path: &str| steps.iter().flat_map(|step| &step.reads).any(|read| read.text == path);
    // Only where files are what steps hand on.
    let hands_on = steps.iter().flat_map(|step| &step.writes).any(|written| taken(&written.text));
    if !hands_on || steps.iter().any(|step| step.reads_all) {
        return;
    }
    for (at, step) in steps.iter().enumerate() {
        for read in &step.reads {
            if made(&read.text) || !once(&read.text) || repository.files.exists(&read.text) {
                continue;
            }
            let before =
                steps[..at].iter().flat_map(|step| step.writes.iter().map(move |written| (step, written)));
            let mut meant = before.filter(|(_, written)| {
                !taken(&written.text) && once(&written.text) && is_same_place(&written.text, &read.text)
            });
            let Some((maker, written)) = meant.next().filter(|_| meant.next().is_none()) else { continue };
            let message = format!(
                "step {} takes `{}`, which no step makes: step {} makes `{}`",
                step.number, read.text, maker.number, written.text
            );
            report
                .add(asset.file, read.span, message)
                .severity(Severity::High)
                .confidence(Confidence::High)
                .also(asset.file, written.span, "made here, and taken by none")
                .hint(format!("take `{}`", written.text))
                .done();
        }
    }
}

/// Tells whether two files have the same place in a row: one folder, one ending, and the same number before their names, or
/// names that differ by a slip.
pub(super) fn is_same_place(one: &str, other: &str) -> bool {
    fn parts(path: &str) -> Option<(&str, &str, &str)> {
        let (folder, name) = path.rsplit_once('/')?;
        let (stem, ending) = name.rsplit_once('.')?;
        Some((folder, stem, ending))
    }
    let number = |stem: &str| stem.chars().take_while(char::is_ascii_digit).collect::<String>();
    let (Some((folder, stem, ending)), Some((its, other, kind))) = (parts(one), parts(other)) else {
        return false;
    };
    let numbered = !number(stem).is_empty() && number(stem) == number(other);
    folder == its
        && ending == kind
        && stem != other
        && (numbered || suggest::mistyped(stem, [other], 2).is_some())
}

/// Words of a line that takes a file only where there is one, or from a round before.
const MAYBE: &[&str] = &[
    "if ", "exist", "resum", "previous", "prior", "optional", "any ", "existing", "last ", "again", "templat",
];

/// Parts of names of files that one session leaves for the next.
const LASTING: &[&str] = &[
    "state",
    "progress",
    "todo",
    "status",
    "memory",
    "log",
    "history",
    "cache",
    "checkpoint",
    "session",
    "context",
    "config",
    "settings",
    "baseline",
    "journal",
    "index",
    "readme",
    "changelog",
    "package",
    "claude",
    "agents",
    "backlog",
    "roadmap",
    "lessons",
    "learnings",
    "template",
    "version",
];

/// Tells whether a file is one that steps hand on, by its name alone.
fn is_passed_on(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let name = lower.rsplit('/').next().unwrap_or_default();
    path.contains('/') && !path.contains("..") && !LASTING.iter().any(|part| name.contains(part))
}

/// Tells whether the words around say that a file is kept or changed rather than made.
fn keeps(text: &str, written: &Named) -> bool {
    let line = line::around(text, written.span.start as usize).to_ascii_lowercase();
    [
        "update", "append", "progress", "keep", "back to", "again", "add ", "refine", "revise", "improve",
        "final",
    ]
    .iter()
    .any(|word| line.contains(word))
}

/// Finds the step behind that is the first to make a file. A file that the text names before, or that may be left from
/// another time, is none of these.
fn made_later<'a>(asset: &'a Asset, text: &str, at: usize, read: &Named) -> Option<(&'a str, &'a Named)> {
    let steps = &asset.flow.steps;
    let step = &steps[at];
    let makes = |step: &'a Step| step.writes.iter().find(|written| written.text == read.text);
    if !(step.hands_out() || is_passed_on(&read.text))
        || steps[..=at].iter().any(|step| makes(step).is_some())
    {
        return None;
    }
    let later = &steps[at + 1..];
    let (maker, written) = later.iter().find_map(|step| Some((step, makes(step)?)))?;
    let before = text.get(..read.span.start as usize)?;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default().to_ascii_lowercase();
    let first = line.split(". ").next().unwrap_or_default();
    let named_before = before[..start].contains(&*read.text);
    // What the session keeps for itself is there from the round before.
    let own = !step.hands_out() && keeps(text, written);
    (!named_before && !own && !MAYBE.iter().any(|word| first.contains(word)))
        .then_some((&*maker.number, written))
}
