//! `sequential-independent`: neighbouring steps run one after the other though neither reads what the other writes.

use kapell_spec::{
    claude::{
        starts::{Start, without_order},
        steps::Step,
    },
    finding::Span,
};
use kapell_view::audit::{Confidence, Severity};

use super::phase_without_consumer::takes_several;
use crate::{
    agents::{
        Asset,
        beside::{self, Row},
    },
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/sequential-independent.md`.
pub(super) static RULE: Rule = Rule {
    name: "sequential-independent",
    summary: "neighbouring steps run one after the other though neither reads what the other writes",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::Sequential),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/sequential-independent.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    in_scripts(repository, report);
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| asset.is_read()) {
        let mut told: Vec<Span> = Vec::new();
        for (at, pair) in asset.flow.steps.windows(2).enumerate() {
            let text = &repository.files[asset.file].text;
            if independent(asset, at, &pair[0], &pair[1]) && is_taken_up(asset, text, at) {
                tell(report, asset, text, &pair[0], &pair[1]);
            } else if let Some(join) = joined(asset, text, at, &pair[0], &pair[1]) {
                tell_joined(report, asset, &pair[0], &pair[1], join);
                told.push(pair[1].heading);
            }
        }
        for row in beside::rows(asset, &repository.files[asset.file].text).iter().filter(|row| row.counted) {
            // What files settle need not be told by words once more.
            let again =
                |span: Span| told.iter().any(|known| known.start < span.end && span.start < known.end);
            if !row.starts.get(1).is_some_and(|start| again(start.heading)) {
                tell_row(report, asset, row);
            }
        }
    }
}

/// Agents that a script of a dynamic workflow awaits one after the other, though none takes what another one brought.
fn in_scripts(repository: &Repository, report: &mut Report<'_>) {
    for (file, script) in repository.scripts() {
        for span in &script.item_by_item {
            let message = "each item waits for the agent of the one before, and takes nothing of it";
            report.add(*file, *span, message).hint("start the agents of all items with `parallel()`").done();
        }
        for row in &script.in_turn {
            let [first, second, rest @ ..] = &row[..] else { continue };
            let message =
                format!("`{}` takes nothing of `{}`, yet is awaited after it", second.name, first.name);
            let hint = format!("start these {} agents with `parallel()`", row.len());
            let draft = report.add(*file, second.span, message).hint(hint);
            let mut draft = draft.also(*file, first.span, "the one before");
            for other in rest {
                draft = draft.also(*file, other.span, "takes nothing of them either");
            }
            draft.done();
        }
    }
}

/// Tells of agents that are counted one after the other, by the words of their starts.
fn tell_row(report: &mut Report<'_>, asset: &Asset, row: &Row<'_>) {
    let [first, second, ..] = row.starts[..] else { return };
    let number =
        |number: &Option<String>| number.as_ref().map(|number| format!("{number}. ")).unwrap_or_default();
    let name = |start: &Start| format!("`{}{}`", number(&start.number), start.title.trim());
    let message = format!("{} takes nothing from {}, yet is started after it", name(second), name(first));
    let confidence = if row.said { Confidence::High } else { Confidence::Medium };
    // One agent for each of several things: how long that takes, its author knows.
    let again = row.starts.iter().all(|start| start.agent.text == first.agent.text);
    let severity = if again { Severity::Low } else { RULE.severity };
    let hint =
        format!("start these {} agents in one response, so that they run side by side", row.starts.len());
    let draft = report.add(asset.file, second.heading, message).severity(severity);
    let mut draft = draft.confidence(confidence).hint(hint);
    draft = draft.also(asset.file, first.heading, "the one before");
    for other in &row.starts[2..] {
        draft = draft.also(asset.file, other.heading, "takes nothing from them either");
    }
    draft.done();
}

/// What two steps that take nothing from each other may be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// Run side by side.
    Together,
    /// The same, but each in a tree of its own: both write code.
    Apart,
    /// The later one first: it judges what the earlier one lets out.
    Before,
    /// Nothing: to let something out is a step of its own.
    Nothing,
}

/// Words in titles of steps after which what was made is in use.
const LETS_OUT: &[&str] = &["rollout", "roll-out", "roll out", "deploy", "release", "launch", "publish"];

/// Words in titles of steps that judge what was made.
const JUDGES: &[&str] = &["review", "audit", "assess", "inspect"];

fn advice(text: &str, one: &Step, other: &Step) -> Advice {
    let (first, second) = (says(&one.title, LETS_OUT), says(&other.title, LETS_OUT));
    match () {
        () if first && !second && says(&other.title, JUDGES) => Advice::Before,
        () if first || second => Advice::Nothing,
        () if writes_code(text, one) && writes_code(text, other) => Advice::Apart,
        () => Advice::Together,
    }
}

/// Tells whether a step has its agent write code: by a sentence that begins so.
fn writes_code(text: &str, step: &Step) -> bool {
    let own = text.get(step.span.range()).unwrap_or_default().to_ascii_lowercase();
    let mut sentences = own.lines().flat_map(|line| line.split(". "));
    sentences.any(|sentence| {
        let sentence = sentence.trim_start_matches(|c: char| !c.is_alphabetic());
        let verb = sentence.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
        let made = ["code", "files", "tests", "script"].iter().any(|made| sentence.contains(made));
        matches!(verb, "implement" | "refactor") || matches!(verb, "write" | "build" | "fix") && made
    })
}

fn tell(report: &mut Report<'_>, asset: &Asset, text: &str, one: &Step, other: &Step) {
    let advice = advice(text, one, other);
    let names = |step: &Step| {
        step.reads.iter().map(|read| format!("`{}`", short(&read.text))).collect::<Vec<_>>().join(" and ")
    };
    let message = format!(
        "step {} reads {} and nothing of step {}, yet runs after it",
        other.number,
        names(other),
        one.number
    );
    let (severity, hint) = match advice {
        Advice::Together => (
            RULE.severity,
            format!(
                "start the agents of steps {} and {} in one response, so that they run side by side",
                one.number, other.number
            ),
        ),
        Advice::Apart => (
            Severity::Low,
            format!(
                "steps {} and {} both write code: side by side only with a worktree for each",
                one.number, other.number
            ),
        ),
        Advice::Before => (
            RULE.severity,
            format!(
                "let step {} come before step {}: what it finds can then still stop that",
                other.number, one.number
            ),
        ),
        Advice::Nothing => return,
    };
    // The document says how long its steps take; side by side the shorter one costs nothing.
    let sooner = one.minutes.zip(other.minutes).map_or(0, |(one, other)| one.min(other).saturating_mul(60));
    report
        .add(asset.file, other.heading, message)
        .severity(severity)
        .spares(if advice == Advice::Together { sooner } else { 0 })
        .hint(hint)
        .also(asset.file, one.heading, "the step before")
        .done();
}

/// Words by which a step may mean what went before without naming it.
const VAGUE: &[&str] = &[
    "previous",
    "preceding",
    "prior ",
    "earlier",
    "above",
    "so far",
    "result of",
    "results of",
    "result from",
    "results from",
    "findings of",
    "findings from",
    "output of",
    "output from",
    "outcome",
    "based on",
    "builds on",
    "build on",
    "what it found",
    "list from",
    "same files",
    "with its ",
    "on its ",
    "from its ",
    "conflict",
];

/// Finds the later step that reads the files of two neighbours, of which the second neither names nor means what the first
/// one wrote: they meet there, and not before.
fn joined<'a>(asset: &'a Asset, text: &str, at: usize, one: &Step, other: &Step) -> Option<&'a Step> {
    let steps = &asset.flow.steps;
    let of = |step: &Step, reader: &Step| {
        let own = text.get(reader.span.range()).unwrap_or_default();
        step.writes.iter().any(|written| {
            reader.reads.iter().any(|read| read.text == written.text) || takes_several(own, &written.text)
        })
    };
    let join = steps.get(at + 2..)?.iter().find(|later| of(one, later) && of(other, later))?;
    let phase = other.phase.and_then(|phase| asset.flow.phases.get(phase));
    let declared = one.phase == other.phase && phase.is_some_and(|phase| phase.parallel);
    let own = without_order(&text.get(other.span.range()).unwrap_or_default().to_ascii_lowercase());
    let names = |name: &str| own.contains(&short(name).to_ascii_lowercase());
    let title = other.title.to_ascii_lowercase();
    let speaks = one.title.to_ascii_lowercase();
    let speaks = speaks
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.len() >= 5 && !title.contains(word) && own.contains(word));
    let free = !one.asks
        && !other.asks
        && !one.gate
        && !one.reads_all
        && !other.reads_all
        && !(declared || one.parallel || other.parallel || asset.flow.parallel)
        && !says(&other.title, ENDS)
        && (reports(text, one) || !says(&other.title, CHECKS) && !says(&one.title, CHECKS))
        && !says(&one.title, LETS_OUT);
    let apart = one.hands_out()
        && other.hands_out()
        && !one.writes.iter().any(|written| names(&written.text))
        && !one.agents.iter().any(|agent| names(&agent.text))
        && !speaks
        && !VAGUE.iter().any(|word| own.contains(word))
        && advice(text, one, other) == Advice::Together;
    (free && apart).then_some(join)
}

fn tell_joined(report: &mut Report<'_>, asset: &Asset, one: &Step, other: &Step, join: &Step) {
    let message = format!(
        "step {} takes nothing of step {}, yet runs after it: step {} is the first to read both",
        other.number, one.number, join.number
    );
    let sooner = one.minutes.zip(other.minutes).map_or(0, |(one, other)| one.min(other).saturating_mul(60));
    report
        .add(asset.file, other.heading, message)
        .confidence(Confidence::Medium)
        .spares(sooner)
        .hint(format!("start the agents of steps {} and {} in one response", one.number, other.number))
        .also(asset.file, one.heading, "the step before")
        .also(asset.file, join.heading, "where they meet")
        .done();
}

/// Verbs of a step after which the state of things is another.
const ALTERS: &[&str] = &[
    "implement",
    "fix",
    "build",
    "generat",
    "migrat",
    "refactor",
    "apply",
    "applies",
    "updat",
    "creat",
    "add",
    "install",
    "upgrad",
    "edit",
    "chang",
    "deploy",
    "mend",
    "seed",
    "start",
];

/// Tells whether a step has its agent write down what it found, and alter nothing.
fn reports(text: &str, step: &Step) -> bool {
    let noted = |path: &str| [".md", ".json", ".txt", ".csv"].iter().any(|end| path.ends_with(end));
    let own = text.get(step.span.range()).unwrap_or_default().to_ascii_lowercase();
    let mut words = own.split(|c: char| !c.is_ascii_alphanumeric());
    !step.writes.is_empty()
        && step.writes.iter().all(|written| noted(&written.text))
        && !words.any(|word| ALTERS.iter().any(|verb| word.starts_with(verb)))
}

/// Tells whether something behind a step and its neighbour takes up what the step writes. What nothing takes up is no
/// matter of order.
fn is_taken_up(asset: &Asset, text: &str, at: usize) -> bool {
    let steps = &asset.flow.steps;
    if steps.len() <= at + 2 {
        return true;
    }
    let after = text.get(steps[at + 1].span.end as usize..).unwrap_or_default();
    steps[at].writes.iter().any(|written| {
        let read = steps[at + 2..].iter().any(|step| step.reads.iter().any(|read| read.text == written.text));
        read || after.contains(short(&written.text)) || takes_several(after, &written.text)
    }) || steps[at + 2..].iter().any(|step| step.reads_all)
}

/// The last part of a path.
fn short(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Tells whether two neighbours could run side by side, by the files that they name. Where one names none, nothing is known.
fn independent(asset: &Asset, at: usize, one: &Step, other: &Step) -> bool {
    let earlier = &asset.flow.steps[..at];
    let known =
        |read: &str| earlier.iter().any(|step| step.writes.iter().any(|written| written.text == read));
    let phase = |step: &Step| step.phase.and_then(|phase| asset.flow.phases.get(phase));
    let declared = one.phase == other.phase && phase(other).is_some_and(|phase| phase.parallel);
    // Who reads what went in is named too, so that a step without inputs is not taken for one that needs none.
    let complete = |step: &Step| step.hands_out() && !step.reads.is_empty() && !step.reads_all;
    let alike = one.reads.iter().map(|read| &read.text).eq(other.reads.iter().map(|read| &read.text));
    // Two that take in the same are on one level, whatever they are called; else titles tell of a hidden order.
    let free = !one.asks
        && !other.asks
        && !says(&other.title, ENDS)
        && (alike && says(&one.title, CHECKS) == says(&other.title, CHECKS)
            || !says(&other.title, CHECKS) && !says(&one.title, CHECKS));
    complete(other)
        && one.hands_out()
        && !one.writes.is_empty()
        && other.reads.iter().all(|read| known(&read.text))
        && !one.gate
        && !(declared || one.parallel || other.parallel)
        && free
}

/// Words in titles of steps that close something off.
const ENDS: &[&str] =
    &["validat", "verif", "deploy", "commit", "release", "rollout", "merge", "clean", "refactor"];

/// Words in titles of steps that look at the state of things rather than at what they were handed.
const CHECKS: &[&str] = &["test", "validat", "verif"];

/// Tells whether a title has one of the words.
fn says(title: &str, words: &[&str]) -> bool {
    let lower = title.to_ascii_lowercase();
    words.iter().any(|word| lower.contains(word))
}
