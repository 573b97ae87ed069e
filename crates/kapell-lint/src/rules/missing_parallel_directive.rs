//! `missing-parallel-directive`: agents that have nothing to do with each other are started without a word that they may run
//! side by side: one for each of several things, or several that nothing puts in order.

mod waits; // loops that wait for each before the next

use std::{iter, sync::LazyLock};

use kapell_spec::{
    claude::{
        definition::Definition,
        reference::{Names, Strength},
    },
    finding::Span,
    line,
    words::Words,
};
use kapell_view::audit::{AssetKind, Confidence, Severity};
use memchr::memmem;

use crate::{
    agents::{
        Asset, Resolved,
        beside::{self, Row, tells_parallel, tells_parallel_of},
    },
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/missing-parallel-directive.md`.
pub(super) static RULE: Rule = Rule {
    name: "missing-parallel-directive",
    summary: "agents that need nothing of each other are started without a word that they may run side by side",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::Sequential),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/missing-parallel-directive.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for asset in repository.asked().filter(|asset| asset.is_read()) {
        let text = &repository.files[asset.file].text;
        let mut found = loops(repository, text, asset);
        found.extend(coded_loops(text, asset));
        tell_loops(report, asset, &found);
        tell_chains(report, asset, text);
        waits::check(repository, asset, text, report);
        for row in beside::rows(asset, text).iter().filter(|row| !row.counted) {
            tell_row(report, asset, row);
        }
    }
}

const HINT: &str = "say: launch them in parallel, with several calls in one response";

fn tell_loops(report: &mut Report<'_>, asset: &Asset, found: &[Span]) {
    let Some((first, rest)) = found.split_first() else { return };
    let step = |span: &Span| {
        let inside =
            asset.flow.steps.iter().find(|step| step.span.start <= span.start && span.start < step.span.end);
        inside.map_or_else(|| "the text".to_owned(), |step| format!("step {}", step.number))
    };
    let message = format!(
        "{} starts an agent for each item, and does not say that they may run in parallel",
        step(first)
    );
    let mut draft = report.add(asset.file, *first, message).hint(HINT);
    for span in rest {
        draft = draft.also(asset.file, *span, format!("so does {}", step(span)));
    }
    draft.done();
}

/// How often one agent is started in a row before that is taken for a loop that is written out.
const CHAIN_MIN: usize = 3;

/// Words by which a start may take what the one before gave back.
const HANDED_ON: &[&str] = &["result", "output", "answer", "previous", "what it", "returned", "its "];

/// What stands behind the name of one that is started.
static AGENT: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new("agent"));

/// Returns the lines that speak of an agent, and where each starts.
fn lines_of_agents(text: &str, from: usize) -> impl Iterator<Item = (usize, &str)> {
    let mut at = from;
    iter::from_fn(move || {
        let found = at + AGENT.find(text.as_bytes().get(at..)?)?;
        let start = at + text[at..found].rfind('\n').map_or(0, |before| before + 1);
        at = text[found..].find('\n').map_or(text.len(), |len| found + len + 1);
        Some((start, &text[start..at]))
    })
}

/// Tells of lines that start one agent again and again, each time for another thing: a loop that is written out.
fn tell_chains(report: &mut Report<'_>, asset: &Asset, text: &str) {
    let lines = lines_of_agents(text, asset.definition.body as usize);
    for (start, line) in lines.filter(|(_, line)| AGENT.find_iter(line.as_bytes()).count() >= CHAIN_MIN) {
        let said = line.replace(", and then ", ". then ").replace(", then ", ". then ");
        if asset.definition.document.fence_at(u32::try_from(start).unwrap_or(u32::MAX)).is_some() {
            continue;
        }
        let starts: Vec<(&str, &str)> = said.split(". ").filter_map(start_for).collect();
        let Some(&(agent, _)) = starts.first().filter(|_| starts.len() >= CHAIN_MIN) else { continue };
        let mut things: Vec<&str> = starts.iter().map(|(_, thing)| *thing).collect();
        things.sort_unstable();
        things.dedup();
        let lower = line.to_ascii_lowercase();
        let handed_on = HANDED_ON.iter().any(|word| lower.contains(word));
        let one_each = things.len() == starts.len() && starts.iter().all(|(name, _)| *name == agent);
        if !one_each || handed_on || is_ordered(line) || changes(line) {
            continue;
        }
        let message = format!(
            "`{agent}` is started {} times, each time for another thing, and nothing says that they may run in parallel",
            starts.len()
        );
        let span = Span::new(start, start + line.trim_end().len());
        report.add(asset.file, span, message).severity(Severity::Low).hint(HINT).done();
    }
}

/// Reads a sentence that starts an agent for one thing: ``Then call the `x` agent for `y` ``.
fn start_for(sentence: &str) -> Option<(&str, &str)> {
    let (before, agent, rest) = started(sentence)?;
    let before = before.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
    let lower = before.to_ascii_lowercase();
    let order = lower.trim_start_matches(['`', ' ']).trim_start_matches("then ").strip_suffix(" the ")?;
    let verbs = ["call", "start", "launch", "run", "use", "invoke", "spawn", "dispatch"];
    let named = [" agent", " subagent"].iter().any(|word| rest.starts_with(word));
    let thing = rest.split('`').nth(1)?;
    (verbs.contains(&order) && named).then_some((agent, thing))
}

/// Splits a sentence before and behind the name of an agent, in marks or with a hyphen in it.
fn started(sentence: &str) -> Option<(&str, &str, &str)> {
    let at = [" agent", " subagent"].iter().filter_map(|word| sentence.find(word)).min()?;
    let (named, rest) = sentence.split_at(at);
    let start = named.rfind(' ')? + 1;
    let name = named[start..].trim_matches('`');
    let marked = named.ends_with('`');
    (marked || name.contains('-')).then_some((&named[..start], name, rest))
}

fn tell_row(report: &mut Report<'_>, asset: &Asset, row: &Row<'_>) {
    let Some((first, rest)) = row.starts.split_first() else { return };
    let names: Vec<String> = row.starts.iter().map(|start| format!("`{}`", start.agent.text)).collect();
    let message = format!(
        "{} need nothing of each other, and nothing says that they may run in parallel",
        names.join(", ")
    );
    let mut draft = report.add(asset.file, first.heading, message).hint(HINT);
    for other in rest {
        draft = draft.also(asset.file, other.heading, "started here");
    }
    draft.done();
}

/// How a line starts that loops over things.
const OVER: &[&str] = &[
    "for each ",
    "for every ",
    "for all ",
    "loop over ",
    "loop through ",
    "iterate over ",
    "iterate through ",
    "repeat for each ",
    "repeat for every ",
    "give each ",
    "hand each ",
    "pass each ",
    "send each ",
];

/// Words that start one agent for each thing, wherever in a line they stand.
const PER: &[&str] = &[
    "one agent per ",
    "one subagent per ",
    "an agent per ",
    "a subagent per ",
    "agent for each ",
    "agent for every ",
    "subagent for each ",
    "subagent for every ",
    " gets its own run of the ",
    " gets its own agent",
    " gets its own subagent",
    " gets an agent of its own",
    " gets a subagent of its own",
];

/// Words that start an agent that has no name.
const STARTS: &[&str] = &[
    "task tool",
    "agent tool",
    "launch a",
    "launch one",
    "spawn a",
    "spawn one",
    "start an agent",
    "start a subagent",
    "use a subagent",
    "use an agent",
    "run a subagent",
    "dispatch a",
    "dispatch one",
];

/// Words that put such starts in order.
const ORDERED: &[&str] = &[
    "sequential",
    " at a time",
    "one after another",
    "one after the other",
    "one by one",
    "in order",
    "wait for",
    "wait until",
    "once it is done",
    "then take the next",
    "for the next",
    "in turn",
    "before the next",
    "before moving",
    "next task",
    "check again",
];

/// Things that are worked off in order: what one does, the next one finds.
const STEPWISE: &[&str] =
    &["task", "step", "phase", "iteration", "round", "commit", "todo", "batch", "story"];

/// Beginnings of words for things that lie in files which others of them share.
const IN_CODE: &[&str] = &[
    "ticket", "issue", "bug", "finding", "failure", "error", "warning", "comment", "conflict", "method",
    "function", "story", "stories", "class",
];

/// Words for what happens now and then.
const EVENTS: &[&str] = &[
    "change", "commit", "question", "request", "release", "incident", "session", "feature", "bug", "issue",
    "edit",
];

/// Words that have things handled by their rank.
const RANKS: &[&str] =
    &["oldest first", "newest first", "smallest first", "largest first", "most urgent first"];

/// Starts of words for work that another one at the same time would disturb.
const CHANGES: &[&str] = &[
    "implement",
    "fix",
    "refactor",
    "commit",
    "edit",
    "modif",
    "migrat",
    "apply",
    "merge",
    "resolve",
    "rewrite",
];

/// Finds loops in blocks of code that start an agent for each thing.
fn coded_loops(text: &str, asset: &Asset) -> Vec<Span> {
    let mut found = Vec::new();
    for fence in &asset.definition.document.fences {
        let block = &text[fence.span.range()];
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let head = line.trim();
            let over =
                (head.starts_with("for ") || head.starts_with("foreach ")) && head.ends_with([':', '{', 'o']);
            let next = lines.peek().map_or("", |next| next.trim_start());
            let starts = ["Task(", "Agent(", "await Task("].iter().any(|call| next.starts_with(call));
            // Most lines do neither.
            if !(over && starts) {
                continue;
            }
            let at = line::offset(text, head);
            let things = STEPWISE.iter().any(|word| head.contains(word));
            if !things && !is_ordered(&text[section(asset, text, at)]) && !changes(next) {
                found.push(Span::new(at, at + head.len()));
            }
        }
    }
    found
}

/// Finds the lines that loop over things and start an agent for each, with no word of how.
fn loops(repository: &Repository, text: &str, asset: &Asset) -> Vec<Span> {
    // Most lines hold none of these.
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(&[OVER, PER].concat()));
    let document = &asset.definition.document;
    let body = asset.definition.body as usize;
    let mut found = Vec::new();
    for (start, line) in WORDS.lines(text.get(body..).unwrap_or_default()) {
        let start = body + start;
        if line.len() < 12 || document.fence_at(u32::try_from(start).unwrap_or(u32::MAX)).is_some() {
            continue;
        }
        let head = line.trim().trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)>` ".contains(c));
        let lower = head.to_ascii_lowercase();
        let per = PER.iter().find_map(|word| Some(&lower[lower.find(word)? + word.len()..]));
        let loops =
            |sentence| OVER.iter().find_map(|word| Some((sentence, str::strip_prefix(sentence, word)?)));
        let over = lower.split(". ").find_map(loops);
        let Some(things) = over.map(|(_, things)| things).or(per) else { continue };
        // Whom a sentence before starts is started once, unless this one speaks of it.
        let again =
            ["start it", "run it", "call it", "launch it", "spawn it", "use it", "that agent", "this agent"];
        let from = over.filter(|_| per.is_none() && !again.iter().any(|word| things.contains(word)));
        let from =
            from.map_or(start, |(sentence, _)| line::offset(text, head) + line::offset(&lower, sentence));
        let what: Vec<&str> = things.split([' ', ',', ':']).take(3).collect();
        // What is to be done whenever something happens is no loop.
        let standing = asset.kind == AssetKind::Memory && what.iter().any(|word| EVENTS.contains(word));
        let by_rank = RANKS.iter().any(|rank| lower.contains(rank));
        // Few are done over, and what is wrong with one may be so for what the others did.
        let over = lower.contains(" again with ") || lower.contains(" again for ");
        if standing
            || by_rank
            || over
            || what.iter().any(|word| STEPWISE.iter().any(|stepwise| word.starts_with(stepwise)))
        {
            continue;
        }
        // What follows belongs to the line only where it says so.
        let goes_on = line.trim_end().trim_end_matches('*').ends_with(':');
        let near =
            if goes_on { text.len().min(start + line.len() + 240) } else { sentence_end(text, start, line) };
        let near = (near..=text.len()).find(|&end| text.is_char_boundary(end)).unwrap_or(text.len());
        // The few that failed are started once more.
        let failed = things.split('.').next().is_some_and(|sentence| sentence.contains(" again"));
        if !failed && (starts_one(asset, &text[from..near], from) || per.is_some()) {
            let section = section(asset, text, start);
            let above = text.get(section.start..start).unwrap_or_default();
            let paragraph = section.start + above.rfind("\n\n").unwrap_or(0);
            let before = text.get(paragraph..start + line.len()).unwrap_or_default();
            let disturbs = changes(&text[start..near])
                || what.iter().any(|word| IN_CODE.iter().any(|start| word.starts_with(start)))
                    && starts_editor(repository, asset, start..near, &|_| true)
                // Who changes what others build on is in their way, whatever it is started for.
                || starts_editor(repository, asset, start..near, &|agent| {
                    agent.text("description").is_some_and(|said| changes(&said.text))
                });
            let back = || starts_back(repository, asset, start..near);
            let ordered = is_ordered(&text[section]) || is_sorted(before);
            if !ordered && !disturbs && !back() && !is_told_elsewhere(asset, text, start) {
                found.push(Span::new(start, start + line.trim_end().len()));
            }
        }
    }
    found
}

/// Returns where the sentence ends that a line begins, within its paragraph.
fn sentence_end(text: &str, start: usize, line: &str) -> usize {
    let end = start + line.len();
    let ended = line.trim_end().ends_with(['.', '!', '?', ';', '|', '`']) || line.contains(". ");
    let rest = &text[end..];
    let next = rest.lines().next().unwrap_or_default();
    let marks = next.trim_start().starts_with(['-', '*', '#', '|', '`', '>'])
        && !next.trim_start().starts_with('`')
        || next.trim_start().starts_with(|c: char| c.is_ascii_digit());
    if ended || next.trim().is_empty() || marks {
        return end;
    }
    end + next
        .find(". ")
        .or_else(|| next.trim_end().ends_with('.').then(|| next.trim_end().len()))
        .unwrap_or(next.len())
}

fn starts_one(asset: &Asset, near: &str, start: usize) -> bool {
    let end = start + near.len();
    let named = asset.references.iter().any(|reference| {
        reference.names == Names::Agent
            && reference.strength >= Strength::Strong
            && (start..end).contains(&(reference.span.start as usize))
    });
    let lower = near.to_ascii_lowercase();
    named || lower.contains("agent") && STARTS.iter().any(|word| lower.contains(word)) || starts_kind(&lower)
}

/// Tells whether the one that is started is given the tool to edit files, in the directory where all others work as well:
/// two at a time may get in each other's way. Only one that `is` the case for counts.
fn starts_editor(
    repository: &Repository,
    asset: &Asset,
    near: std::ops::Range<usize>,
    is: &dyn Fn(&Definition) -> bool,
) -> bool {
    let here = asset.references.iter().filter(|reference| {
        reference.names == Names::Agent
            && reference.strength >= Strength::Strong
            && near.contains(&(reference.span.start as usize))
    });
    here.filter_map(|reference| match repository.agents.resolve(asset, reference) {
        Resolved::Found(id) => Some(&repository.agents[id].definition),
        _ => None,
    })
    .any(|agent| {
        let own = agent.text("isolation").is_some_and(|isolation| isolation.text == "worktree");
        let edits = || agent.items("tools").iter().any(|tool| matches!(&*tool.text, "Edit" | "MultiEdit"));
        !own && edits() && is(agent)
    })
}

/// Tells whether the one that is started starts the one that starts it: that is a circle, and no work to be spread.
fn starts_back(repository: &Repository, asset: &Asset, near: std::ops::Range<usize>) -> bool {
    let here = asset.references.iter().filter(|reference| {
        reference.names == Names::Agent && near.contains(&(reference.span.start as usize))
    });
    here.filter_map(|reference| match repository.agents.resolve(asset, reference) {
        Resolved::Found(id) => Some(&repository.agents[id]),
        _ => None,
    })
    .any(|agent| agent.firm(Names::Agent).any(|reference| reference.name == asset.name))
}

/// Tells whether a text starts an agent of a kind: `start an Explore agent`.
fn starts_kind(lower: &str) -> bool {
    let words: Vec<&str> = lower.split([' ', '\n', ',']).filter(|word| !word.is_empty()).collect();
    words.windows(4).any(|words| {
        matches!(words[0], "start" | "launch" | "spawn" | "dispatch" | "run" | "use")
            && matches!(words[1], "a" | "an" | "one")
            && matches!(words[3].trim_end_matches(['.', ':']), "agent" | "subagent")
    })
}

/// The step or else the section that a place stands in.
fn section(asset: &Asset, text: &str, at: usize) -> std::ops::Range<usize> {
    let place = u32::try_from(at).unwrap_or(u32::MAX);
    let step = asset.flow.steps.iter().find(|step| step.span.start <= place && place < step.span.end);
    let headings = &asset.definition.document.headings;
    let next = headings.partition_point(|heading| heading.span.start <= place);
    let start = next.checked_sub(1).map_or(asset.definition.body, |at| headings[at].span.start);
    let end = headings.get(next).map_or(text.len(), |heading| heading.span.start as usize);
    step.map_or(start as usize..end, |step| step.span.range())
}

/// Tells whether another line says of the step that a place stands in, or of the item with its number, that it runs beside others.
fn is_told_elsewhere(asset: &Asset, text: &str, at: usize) -> bool {
    let place = u32::try_from(at).unwrap_or(u32::MAX);
    let step = asset.flow.steps.iter().find(|step| step.span.start <= place && place < step.span.end);
    let line = text[at..].trim_start_matches(['-', '*', ' ']);
    let digits = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let number = step.map_or(&line[..digits], |step| &step.number);
    tells_parallel_of(&text[asset.definition.body as usize..], number)
}

fn is_ordered(section: &str) -> bool {
    let lower = section.to_ascii_lowercase();
    tells_parallel(section) || ORDERED.iter().any(|word| lower.contains(word))
}

/// Tells whether a paragraph puts the things in order before it loops over them: whoever asks for it wants it kept.
fn is_sorted(before: &str) -> bool {
    let lower = before.to_ascii_lowercase();
    let head = |sentence: &str| {
        sentence.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)>#` ".contains(c)).to_owned()
    };
    lower
        .split(". ")
        .flat_map(|part| part.split(['\n', ';', ':']))
        .map(head)
        .take_while(|sentence| !OVER.iter().any(|over| sentence.starts_with(over)))
        .any(|sentence| {
            let mut words = sentence.split(|c: char| !c.is_ascii_alphanumeric());
            words.next().is_some_and(|verb| matches!(verb, "sort" | "order"))
        })
}

fn changes(near: &str) -> bool {
    let lower = near.to_ascii_lowercase();
    // Who keeps to a file of its own disturbs nobody.
    if ["only that ", "only its ", "its own ", "nothing else"].iter().any(|own| lower.contains(own)) {
        return false;
    }
    lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| CHANGES.iter().any(|change| word.starts_with(change)))
}
