//! `parallel-needs-output`: a step runs in parallel with the one whose output it reads.

mod each; // what each of several agents does to one file, or to the branch
mod mended; // files that several agents mend

use kapell_spec::{
    claude::definition::Named,
    claude::steps::{Step, is_parallel, parallel_lines},
    finding::Span,
};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::{
        Asset,
        beside::{self, Handed},
    },
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/parallel-needs-output.md`.
pub(super) static RULE: Rule = Rule {
    name: "parallel-needs-output",
    summary: "a step runs in parallel with the one whose output it reads",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::SharedState),
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/parallel-needs-output.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for (file, script) in repository.scripts() {
        for clash in &script.clashes {
            let message = format!(
                "each of these agents writes `{}` at the same time: the last one to write wins",
                clash.path
            );
            let hint = "give each a tree of its own by `isolation: 'worktree'`, or have one agent write what all brought";
            report.add(*file, clash.span, message).hint(hint).done();
        }
    }
    for asset in repository.asked().filter(|asset| asset.is_read()) {
        let mut told: Vec<(Span, &String)> = Vec::new();
        let led = 1..led_together(&repository.files[asset.file].text, asset);
        let together = said_together(&repository.files[asset.file].text, asset);
        let said = |one: &Step, other: &Step| {
            let numbers = [one, other].map(|step| step.number.to_ascii_lowercase());
            together.iter().any(|told| numbers.iter().all(|number| told.contains(number)))
        };
        for (at, step) in asset.flow.steps.iter().enumerate() {
            let handed = asset.flow.steps[..at].iter().filter_map(|other| {
                let written = |read: &&Named| other.writes.iter().any(|written| written.text == read.text);
                Some((other, step.reads.iter().find(written)?))
            });
            let beside = handed.filter(|(other, _)| {
                led.contains(&at) || side_by_side(asset, other, step) || said(other, step)
            });
            for (other, read) in beside {
                let message = format!(
                    "step {} reads `{}`, which step {} writes at the same time",
                    step.number, read.text, other.number
                );
                let hint = format!("start step {} when step {} has ended", step.number, other.number);
                report
                    .add(asset.file, step.heading, message)
                    .also(asset.file, read.span, "read here")
                    .also(asset.file, other.heading, "written by this step")
                    .hint(hint)
                    .done();
                told.push((step.span, &read.text));
            }
        }
        each::check(repository, report, asset);
        mended::check(repository, report, asset);
        tell_handed(report, asset, &repository.files[asset.file].text, &told);
    }
}

/// Tells of agents that one section starts at the same time, of which one reads what another one writes, unless that was
/// told of their steps: once of each file.
fn tell_handed(report: &mut Report<'_>, asset: &Asset, text: &str, told: &[(Span, &String)]) {
    let is_told = |handed: &Handed<'_>| {
        let at = handed.reader.span.start;
        told.iter().any(|(span, file)| *file == handed.file && span.start <= at && at < span.end)
    };
    let mut files: Vec<Vec<Handed<'_>>> = Vec::new();
    for handed in beside::handed_at_once(asset, text).into_iter().filter(|handed| !is_told(handed)) {
        let same =
            |pairs: &&mut Vec<Handed<'_>>| pairs[0].file == handed.file && pairs[0].over == handed.over;
        match files.iter_mut().find(same) {
            Some(pairs) => pairs.push(handed),
            None => files.push(vec![handed]),
        }
    }
    files.iter().for_each(|pairs| tell_pairs(report, asset, pairs));
}

/// Tells of the agents that use one file at the same time, two by two.
fn tell_pairs(report: &mut Report<'_>, asset: &Asset, pairs: &[Handed<'_>]) {
    let [handed, rest @ ..] = pairs else { return };
    let (reader, writer) = (&handed.reader.agent.text, &handed.writer.agent.text);
    let alone = rest.is_empty();
    let (message, also, hint) = match handed.over {
        true => (
            format!(
                "`{reader}` and `{writer}` write `{}` at the same time: what the first one wrote is lost",
                handed.file
            ),
            "written by this one, too",
            "give each a file of its own, or start one when the other has ended".to_owned(),
        ),
        false => (
            format!("`{reader}` reads `{}`, which `{writer}` writes at the same time", handed.file),
            "written by this one",
            match alone {
                true => format!("start `{reader}` when `{writer}` has ended"),
                false => "give each a file of its own, or start one when the other has ended".to_owned(),
            },
        ),
    };
    let mut draft = report.add(asset.file, handed.reader.heading, message).hint(hint);
    draft = draft.also(asset.file, handed.writer.heading, also);
    let mut known = vec![handed.reader.heading, handed.writer.heading];
    for start in rest.iter().flat_map(|pair| [pair.writer, pair.reader]) {
        if !known.contains(&start.heading) {
            known.push(start.heading);
            draft = draft.also(asset.file, start.heading, "at the same time as well");
        }
    }
    draft.done();
}

/// Finds the steps that sentences have run in parallel by their numbers, `Steps 1 and 2 run in parallel`: each with all of
/// its numbers.
fn said_together(text: &str, asset: &Asset) -> Vec<Vec<String>> {
    let body = text.get(asset.definition.body as usize..).unwrap_or_default();
    if asset.flow.steps.len() < 2 {
        return Vec::new();
    }
    let sentences = parallel_lines(body).flat_map(|line| line.split(['.', '\n']));
    let sentences = sentences.filter(|sentence| sentence.contains(|c: char| c.is_ascii_digit()));
    let told = sentences.filter(|sentence| is_parallel(sentence)).map(str::to_ascii_lowercase);
    told.filter(|lower| ["step", "phase", "stage"].iter().any(|word| lower.contains(word)))
        .map(|lower| {
            let words = lower.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
            let numbers = words.map(|word| word.trim_end_matches('.'));
            numbers.filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned).collect()
        })
        .filter(|numbers: &Vec<String>| numbers.len() >= 2)
        .collect()
}

/// Numbers in words, from two on.
const NUMBERS: &[&str] = &["two", "three", "four", "five", "six"];

/// Returns how many of the first steps the sentence above them has run in parallel: `Run these two steps concurrently:`.
fn led_together(text: &str, asset: &Asset) -> usize {
    let Some(first) = asset.flow.steps.first().filter(|_| asset.flow.parallel) else { return 0 };
    let before = text.get(asset.definition.body as usize..first.span.start as usize).unwrap_or_default();
    let lead = before.trim_end().rsplit("\n\n").next().unwrap_or_default().to_ascii_lowercase();
    let mut words = lead.split(|c: char| !c.is_ascii_alphanumeric());
    let counted = words.find_map(|word| match word {
        "both" => Some(2),
        _ => NUMBERS.iter().position(|number| *number == word).map(|at| at + 2),
    });
    // Without a number the last step may be the one that brings the others together.
    counted.unwrap_or_else(|| asset.flow.steps.len().saturating_sub(1)).min(asset.flow.steps.len())
}

/// Tells whether the phase of two lettered steps says that they run in parallel.
fn side_by_side(asset: &Asset, one: &Step, other: &Step) -> bool {
    let stem = |step: &Step| step.number.trim_end_matches(|c: char| c.is_ascii_lowercase()).to_owned();
    let lettered = |step: &Step| step.number.ends_with(|c: char| c.is_ascii_lowercase());
    let phase = other.phase.and_then(|phase| asset.flow.phases.get(phase));
    one.phase == other.phase
        && lettered(one)
        && lettered(other)
        && stem(one) == stem(other)
        && phase.is_some_and(|phase| phase.parallel)
}
