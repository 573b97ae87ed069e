//! `phase-without-consumer`: a step writes a file that nothing reads.

mod costly; // what takes long, and is for nobody
mod mistaken; // files that are read in place of what was written
mod unhanded; // prompts that speak of what another agent found

use std::sync::LazyLock;

use kapell_spec::{claude::steps::Step, words::Words};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::workflow_script::{Script, Unheard},
    files::FileId,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/phase-without-consumer.md`.
pub(super) static RULE: Rule = Rule {
    name: "phase-without-consumer",
    summary: "a step writes a file that nothing reads",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::Performance,
    severity: Severity::Low,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/phase-without-consumer.md"),
    check,
};

/// Tells whether a line besides hands a file to whoever asked: `Report the path to `x.md``.
fn is_shown(text: &str, name: &str) -> bool {
    static SHOWING: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&["report ", "show", "present", "path to", "tell ", "surface", "summar", "must exist"])
    });
    text.lines().filter(|line| line.contains(name)).any(|line| SHOWING.is_in(&line.replace(name, "")))
}

/// Tells whether a path lies in a folder for what is thrown away.
fn scratch(path: &str) -> bool {
    let first = path.trim_start_matches("./").trim_start_matches('/').split('/').next().unwrap_or_default();
    path.contains('/')
        && matches!(
            first,
            "tmp" | "temp" | "scratch" | "work" | "target" | ".tmp" | ".work" | ".cache" | ".scratch"
        )
}

/// Tells whether a text speaks of a file by the last word of its name: of `client_memo.md` as the memo.
fn speaks_of(text: &str, name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let word = stem.rsplit(['_', '-']).next().unwrap_or_default().to_ascii_lowercase();
    !word.is_empty() && text.to_ascii_lowercase().contains(&word)
}

/// Tells whether a command takes a file in: one in marks or in a block, of which it is an argument.
fn is_argument(text: &str, path: &str) -> bool {
    let takes = |command: &str| {
        let mut words = command.split_whitespace();
        let mut last = words.next().unwrap_or_default();
        words.any(|word| {
            let writes = last.ends_with('>') || matches!(last, "-o" | "--output" | "--out");
            last = word;
            word == path && !writes
        })
    };
    let mut fenced = false;
    text.lines().any(|line| {
        fenced ^= line.trim_start().starts_with("```");
        line.contains(path)
            && if fenced { takes(line) } else { line.split('`').skip(1).step_by(2).any(takes) }
    })
}

/// Words before the name of things that are all taken up at once.
const MANY: &[&str] = &[
    "all", "both", "each", "every", "the", "these", "those", "two", "three", "four", "five", "six", "seven",
    "eight",
];

/// What files of several steps are called together.
const THINGS: &[&str] = &[
    "files",
    "reports",
    "outputs",
    "notes",
    "reviews",
    "documents",
    "results",
    "findings",
    "lists",
    "summaries",
    "answers",
    "drafts",
    "parts",
    "analyses",
    "sections",
    "memos",
    "logs",
];

/// Words that begin what works on them.
const WORKS: &[&str] = &[
    "read",
    "merge",
    "combine",
    "join",
    "collect",
    "gather",
    "compare",
    "consolidate",
    "concatenate",
    "sort",
    "open",
    "load",
    "take",
    "put",
    "go",
    "use",
    "using",
    "from",
    "weigh",
    "cross",
    "look",
    "synthesi",
    "summari",
    "aggregat",
];

/// Tells whether a text takes up several files without their names, `Read the three reports`, or a whole folder of them.
pub(super) fn takes_several(text: &str, path: &str) -> bool {
    let folder = path.rsplit_once('/').map(|(folder, _)| folder).filter(|folder| !folder.is_empty());
    let whole = |folder: &str| {
        text.match_indices(folder).any(|(at, _)| {
            let behind = &text[at + folder.len()..];
            let ends = ["`", "/`", "/*", "/ ", "/.", "/,"].iter().any(|end| behind.starts_with(end));
            ends && !is_thrown_away(&text[..at])
        })
    };
    folder.is_some_and(whole)
        || by_pattern(text, path)
        || text.to_ascii_lowercase().split(['.', ':', ';']).any(several)
}

/// Tells whether a text takes up, by a star or another placeholder, the files whose names have a placeholder in `path`:
/// `Merge all `part-*.md`` for `part-{N}.md`.
fn by_pattern(text: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some((stem, _)) = name.split_once(['{', '<', '[']).filter(|(stem, _)| stem.len() > 2) else {
        return false;
    };
    text.match_indices(stem).any(|(at, _)| {
        text[at + stem.len()..].starts_with(['*', '{', '<', '[', '$']) && !is_thrown_away(&text[..at])
    })
}

/// Tells whether the words of a sentence before a folder only throw it away: `Delete `work/``.
fn is_thrown_away(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default().to_ascii_lowercase();
    let sentence = line.rsplit(". ").next().unwrap_or_default();
    let sentence = sentence.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    ["delete", "remove", "rm ", "clean up", "throw away", "discard", "empty "]
        .iter()
        .any(|verb| sentence.starts_with(verb))
}

/// Tells whether a sentence in lower case works on several things at once, of which at most two words tell more.
fn several(sentence: &str) -> bool {
    let words: Vec<&str> =
        sentence.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let works = words.iter().position(|word| WORKS.iter().any(|start| word.starts_with(start)));
    let after = works.map_or(&[][..], |at| &words[at + 1..]);
    let many = |word: &&str| MANY.contains(word) || word.bytes().all(|byte| byte.is_ascii_digit());
    after.iter().enumerate().any(|(at, word)| {
        // `the findings` may be those of the step before alone.
        let things = if *word == "the" { &THINGS[..6] } else { THINGS };
        many(word) && after.iter().skip(at + 1).take(3).any(|thing| things.contains(thing))
    })
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    costly::check(repository, report);
    for (file, script) in repository.scripts() {
        for kept in &script.unread {
            let message = format!("nothing reads `{}`, which an agent brings back here", kept.name);
            let hint = "hand it to the agent that decides, or do not start this one";
            report.add(*file, kept.span, message).severity(Severity::Medium).hint(hint).done();
        }
        tell_unheard(*file, script, report);
    }
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| asset.is_read()) {
        let steps = &asset.flow.steps;
        let text = &repository.files[asset.file].text;
        unhanded::check(asset, text, report);
        let hands_over = steps.iter().filter(|step| !step.reads.is_empty()).count() >= 2;
        if steps.is_empty() || steps.iter().any(|step| step.reads_all) {
            continue;
        }
        // What one session writes it still knows. But where a file beside it is read again, files are what is handed on.
        let folder = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let is_kept = |step: &Step| {
            step.writes.iter().all(|own| {
                let mut beside = steps.iter().flat_map(|step| &step.writes).filter(|other| {
                    other.text != own.text
                        && folder(&other.text) == folder(&own.text)
                        && own.text.contains('/')
                });
                beside.any(|other| {
                    steps.iter().any(|step| step.reads.iter().any(|read| read.text == other.text))
                })
            })
        };
        // What an agent leaves where nobody looks is there for a later step alone.
        let is_scratch = |step: &Step| step.writes.iter().all(|own| scratch(&own.text));
        let spoken_of = |step: &Step| {
            step.writes.iter().any(|own| {
                let name = own.text.rsplit('/').next().unwrap_or_default();
                speaks_of(&text[step.span.end as usize..], name)
            })
        };
        // What is handed on is notes and data; a file of settings is made to stay.
        let notes = |step: &Step| {
            let ends = [".md", ".json", ".jsonl", ".txt", ".csv", ".tsv"];
            step.writes.iter().all(|written| ends.iter().any(|end| written.text.ends_with(end)))
        };
        for step in
            steps.iter().take(steps.len() - 1).filter(|step| !step.writes.is_empty() && notes(step)).filter(
                |step| {
                    let named_later = step.writes.iter().any(|written| {
                        let name = written.text.rsplit('/').next().unwrap_or_default();
                        text[step.span.end as usize..].contains(name)
                    });
                    hands_over && step.hands_out()
                        || is_kept(step) && !named_later
                        || step.hands_out() && is_scratch(step) && !named_later && !spoken_of(step)
                },
            )
        {
            let (from, after) = (&text[step.span.start as usize..], &text[step.span.end as usize..]);
            let unread = step.writes.iter().all(|written| {
                let name = written.text.rsplit('/').next().unwrap_or_default();
                let is_read =
                    steps.iter().any(|other| other.reads.iter().any(|read| read.text == written.text));
                // What a heading leads to may be meant by its last word.
                let both = after
                    .lines()
                    .any(|line| [" both ", " both.", "all of them"].iter().any(|word| line.contains(word)));
                let led = text[step.heading.range()].contains(&*written.text);
                // Whoever mentions it later may show or judge it.
                let is_meant = (led || step.agents.is_empty()) && speaks_of(after, name)
                    || is_shown(from, name)
                    || after.matches(name).count() > 1;
                !is_read
                    && !is_meant
                    && !both
                    && !is_argument(after, &written.text)
                    && !takes_several(after, &written.text)
            });
            let Some(written) = step.writes.first().filter(|_| unread) else { continue };
            let message = format!("no later step reads `{}` of step {}", written.text, step.number);
            let later =
                steps.iter().position(|other| other.span == step.span).map_or(&[][..], |at| &steps[at + 1..]);
            if let Some((other, read)) = mistaken::read_instead(repository, asset, later, written) {
                let message = format!(
                    "{message}, and step {} reads `{}`, which nothing writes",
                    other.number, read.text
                );
                report
                    .add(asset.file, read.span, message)
                    .severity(Severity::High)
                    .hint("give both the same name")
                    .also(asset.file, written.span, "written here")
                    .done();
                continue;
            }
            // What one session wrote it knows; what an agent found is lost.
            let severity = if step.hands_out() { Severity::Medium } else { RULE.severity };
            report
                .add(asset.file, written.span, message)
                .severity(severity)
                .hint("hand it to the step that decides, or drop the step")
                .done();
        }
    }
}

/// Tells of agents that are made to say what became of their work, to nobody.
fn tell_unheard(file: FileId, script: &Script, report: &mut Report<'_>) {
    for Unheard { span, said } in &script.unheard {
        let message = "nothing reads what this agent is made to answer by `schema`: whether it did its work, nobody learns";
        let severity = if said.is_some() { Severity::High } else { Severity::Medium };
        let draft = report.add(file, *span, message).severity(severity);
        let mut draft = draft.hint("keep the answer, and end or say so where the agent did not do it");
        if let Some(said) = said {
            draft = draft.also(file, *said, "this is said whatever it answers");
        }
        draft.done();
    }
}
