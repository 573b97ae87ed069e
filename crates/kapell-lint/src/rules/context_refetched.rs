//! `context-refetched`: several steps fetch the same thing again.

mod asked; // what agents are each told to ask

use std::collections::BTreeMap;

use kapell_spec::{
    claude::reference::{Names, Strength},
    finding::Span,
    line,
};
use kapell_view::audit::{AssetKind, Confidence, Severity};
use memchr::memmem;

use crate::{
    agents::{Asset, Home, clients::Client},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/context-refetched.md`.
pub(super) static RULE: Rule = Rule {
    name: "context-refetched",
    summary: "several steps fetch the same thing again",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/context-refetched.md"),
    check,
};

/// What begins an instruction to fetch something that costs time.
const FETCHES: &[&str] = &[
    "webfetch ",
    "fetch https://",
    "fetch http://",
    "curl ",
    "gh api ",
    "gh pr diff",
    "git clone ",
    "websearch ",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let all = repository.asked();
    for asset in all.filter(|asset| asset.home == Home::Claude || asset.client != Client::Claude) {
        let text = &repository.files[asset.file].text;
        let mut fetched: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for step in asset.flow.steps.iter().filter(|step| !step.agents.is_empty()) {
            let mut at = step.span.start as usize;
            for line in text[step.span.range()].split_inclusive('\n') {
                let content = line.trim().trim_start_matches(['-', '*', ' ', '`', '$']).trim_end_matches('`');
                let fetches = |start: &&str| {
                    content.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
                };
                // Most lines begin with another letter.
                let may = content.starts_with(['w', 'f', 'c', 'g', 'W', 'F', 'C', 'G']);
                if may && FETCHES.iter().any(fetches) && !content.contains(['<', '{', '[']) {
                    let start = at + line.find(content).unwrap_or(0);
                    fetched
                        .entry(content.to_ascii_lowercase())
                        .or_default()
                        .push(Span::new(start, start + content.len()));
                }
                at += line.len();
            }
        }
        let commands = commands(asset, text);
        if !commands.is_empty() {
            asked_again(report, asset, text, &commands);
            each_asks(repository, report, asset, (text, &commands));
            known_already(report, asset, text, &commands);
        }
        same_page(report, asset, text);
        read_again(report, asset, text);
        asked::same_texts(repository, report, asset, text);
        if matches!(asset.kind, AssetKind::Command | AssetKind::Skill) {
            asked::agents_ask(repository, report, asset);
        }
        for (what, places) in fetched.iter().filter(|(_, places)| places.len() >= 2) {
            let message = format!("{} agents each run `{what}` again", places.len());
            tell_agents(report, asset, message, RULE.severity, places);
        }
    }
}

/// Returns the marks that may hold a command that asks a service, or an address: by their first letter, which most code in
/// marks does not have.
fn commands(asset: &Asset, text: &str) -> Vec<Span> {
    let marks = asset.definition.document.marks.iter().filter(|mark| mark.code).map(|mark| mark.span);
    let may = |span: &Span| {
        let said = text[span.range()].bytes().find(|byte| !matches!(byte, b'`' | b' '));
        said.is_some_and(|first| b"acghjktw".contains(&first))
    };
    marks.filter(may).collect()
}

/// Reports at the first of some places what agents each fetch in all of them.
fn tell_agents(report: &mut Report<'_>, asset: &Asset, message: String, severity: Severity, places: &[Span]) {
    let [first, rest @ ..] = places else { return };
    let hint = "fetch it once, save it to a file, and have the agents read that";
    let mut draft = report.add(asset.file, *first, message).severity(severity).hint(hint);
    for place in rest {
        draft = draft.also(asset.file, *place, "fetched again");
    }
    draft.done();
}

/// Tells of agents in one list that are each told to ask a service the same.
fn each_asks(
    repository: &Repository,
    report: &mut Report<'_>,
    asset: &Asset,
    (text, commands): (&str, &[Span]),
) {
    let mut asked: BTreeMap<(u32, &str), Vec<Span>> = BTreeMap::new();
    let document = &asset.definition.document;
    let inside = |outer: Span, inner: Span| outer.start <= inner.start && inner.end <= outer.end;
    let steps = &asset.flow.steps;
    let asks =
        |what: &str| EACH.iter().any(|start| what.starts_with(start)) && !what.contains(['<', '{', '[']);
    let said = |mark: Span| text[mark.range()].trim_matches('`').trim();
    // Few texts have any: only then it is looked up who is told so. What stands in a list within is for the items there.
    let innermost = |mark: Span| {
        let items = document.items.iter().filter(|item| inside(item.span, mark));
        Some((
            mark,
            items.map(|item| item.span).max_by_key(|item| (item.start, std::cmp::Reverse(item.end)))?,
        ))
    };
    let asking: Vec<(Span, Span)> = commands
        .iter()
        .filter(|&&mark| asks(said(mark)) || is_fetched(text, mark))
        .filter_map(|&mark| innermost(mark))
        .collect();
    for item in document.items.iter().filter(|_| asking.len() > 1) {
        let own: Vec<Span> =
            asking.iter().filter(|(_, of)| *of == item.span).map(|(mark, _)| *mark).collect();
        if own.is_empty() {
            continue;
        }
        // Lines of steps that are nothing else were looked at before.
        let stepped = steps.iter().any(|step| !step.agents.is_empty() && inside(step.span, item.span))
            && own.iter().all(|&mark| heads_line(text, mark));
        let named = asset.references.iter().any(|reference| {
            reference.names == Names::Agent
                && reference.strength >= Strength::Strong
                && inside(item.span, reference.span)
        });
        // One that is defined works also where nothing but its name heads what it is to do.
        let own_text = &text[item.span.range()];
        let headed = || {
            let name = heading_name(own_text);
            let mut agents = repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.is_read());
            name.is_some_and(|name| agents.any(|(_, agent)| agent.name == name))
        };
        if stepped || !(named || is_numbered_agent(own_text) || headed()) {
            continue;
        }
        for mark in own {
            asked.entry((item.list, said(mark))).or_default().push(mark);
        }
    }
    for ((_, what), places) in asked.iter().filter(|(_, places)| places.len() >= 2) {
        let severity = if places.len() > 2 { Severity::Medium } else { Severity::Low };
        let message = format!("{} agents each run `{what}` again", places.len());
        tell_agents(report, asset, message, severity, places);
    }
}

/// Tells whether an item is about an agent that has a letter or a number for its name: `- **Agent A**: fetch the ticket`.
fn is_numbered_agent(item: &str) -> bool {
    let words = item.trim_start_matches(|c: char| "-*+.)_ \t".contains(c) || c.is_ascii_digit());
    let name =
        ["Agent ", "Subagent ", "agent ", "subagent "].iter().find_map(|word| words.strip_prefix(word));
    name.is_some_and(|name| {
        let len = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        let numbered = name[..len].bytes().all(|byte| byte.is_ascii_digit());
        (1..=2).contains(&len) && (len == 1 || numbered) && name[len..].starts_with([':', '*', ' ', '.', ')'])
    })
}

/// Returns the name that an item begins with, in marks, and goes on after a colon with what is to be done.
fn heading_name(item: &str) -> Option<&str> {
    let rest = item.trim_start_matches(|c: char| "-+.)_ \t".contains(c) || c.is_ascii_digit());
    let rest = rest.strip_prefix("* ").unwrap_or(rest);
    let name = rest.trim_start_matches(['*', '`']);
    let len = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))?;
    let marked = name.len() < rest.len();
    (marked && name[len..].trim_start_matches(['*', '`']).starts_with(':')).then_some(&name[..len])
}

/// Tells whether a mark begins its line.
fn heads_line(text: &str, mark: Span) -> bool {
    let start = text[..mark.start as usize].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..mark.start as usize].chars().all(|c| c.is_ascii_digit() || "-*+.)`$ \t".contains(c))
}

/// What agents may each be told to ask, which one of them could hand to all.
const EACH: &[&str] = &[
    "gh pr diff",
    "gh pr view",
    "gh issue view",
    "gh issue list",
    "gh pr list",
    "gh api ",
    "gh run view",
    "glab mr diff",
    "glab mr view",
    "glab issue view",
    "jira issue view",
    "az boards ",
    "kubectl get ",
    "kubectl logs ",
    "terraform show",
    "terraform state list",
    "helm get ",
    "aws ",
    "curl ",
    "wget ",
    "git clone ",
];

/// Verbs right before an address that fetch what lies there.
const DOWNLOADS: &[&str] =
    &["download", "downloads", "fetch", "fetches", "get", "gets", "pull", "pulls", "webfetch"];

/// Tells whether a mark is an address that the words before it fetch.
fn is_fetched(text: &str, mark: Span) -> bool {
    let said = text[mark.range()].trim_matches('`');
    let before = text[..mark.start as usize].trim_end();
    let word =
        before.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
    (said.starts_with("https://") || said.starts_with("http://")) && DOWNLOADS.contains(&&*word)
}

/// Verbs that begin an order to look through many things.
const LOOKS: &[&str] = &[
    "read",
    "scan",
    "list",
    "search",
    "collect",
    "crawl",
    "inventory",
    "analyse",
    "analyze",
    "fetch",
    "find",
];

/// How many words two orders have to share before one is the other again.
const SAME_WORDS: usize = 8;

/// Tells of a step that is told to look through the same things, in the same words, as a step before it.
fn read_again(report: &mut Report<'_>, asset: &Asset, text: &str) {
    let mut looked: BTreeMap<Vec<String>, (usize, Span)> = BTreeMap::new();
    for (number, step) in asset.flow.steps.iter().enumerate().filter(|(_, step)| step.agents.is_empty()) {
        let body = &text[step.span.range()];
        let mut from = 0;
        let ends = memchr::memchr2_iter(b'\n', b'.', body.as_bytes()).map(|at| at + 1);
        for end in ends.chain([body.len()]) {
            let sentence = &body[from..end];
            from = end;
            // Most sentences begin with another letter.
            let first = sentence.bytes().find(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
            if !first.is_some_and(|byte| !byte.is_ascii() || b"rslciaf".contains(&(byte | 0x20))) {
                continue;
            }
            let trimmed = sentence.trim().trim_start_matches(|c: char| !c.is_alphabetic());
            let verb = trimmed.split_whitespace().next().unwrap_or_default();
            if !LOOKS.iter().any(|look| look.eq_ignore_ascii_case(verb)) {
                continue;
            }
            let words: Vec<String> = trimmed
                .split_whitespace()
                .map(|word| {
                    word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/' && c != '$')
                        .to_ascii_lowercase()
                })
                .filter(|word| !word.is_empty() && word != "again")
                .take(SAME_WORDS)
                .collect();
            if words.len() < SAME_WORDS {
                continue;
            }
            let at = line::offset(text, trimmed);
            let span = Span::new(at, at + trimmed.len());
            if asset.definition.document.fence_at(span.start).is_some() {
                continue;
            }
            match looked.get(&words) {
                None => {
                    looked.insert(words, (number, span));
                }
                Some(&(before, first)) if before != number => {
                    let message = format!(
                        "step {} looks through again what step {} looked through",
                        step.number, asset.flow.steps[before].number
                    );
                    report
                        .add(asset.file, span, message)
                        .severity(Severity::Low)
                        .hint("have it go on with what that step wrote down")
                        .also(asset.file, first, "looked through here")
                        .done();
                    return;
                }
                Some(_) => {}
            }
        }
    }
}

/// What is put into a text before it is read, `!` and a command in marks, and still the same when it is run again.
const PUT_IN: &[&str] = &["gh pr diff", "gh pr view", "gh issue view", "gh run view", "gh api ", "glab mr "];

/// What changes what such a command says.
const CHANGES: &[&str] = &["commit", "rebase", "merge ", "push", "amend", "fetch", "pull"];

/// Tells of a session that is told to run what was run for it before it read its text.
fn known_already(report: &mut Report<'_>, asset: &Asset, text: &str, commands: &[Span]) {
    let marks = || commands.iter().copied();
    let said = |mark: Span| text[mark.range()].trim_matches('`').trim();
    let put_in = |mark: Span| text[..mark.start as usize].ends_with('!');
    // Between two commits git says the same, whatever was edited.
    let lasts = |what: &str| {
        PUT_IN.iter().any(|start| what.starts_with(start))
            || (what.starts_with("git diff") || what.starts_with("git log")) && what.contains("..")
    };
    for first in marks().filter(|&mark| put_in(mark) && lasts(said(mark))) {
        let what = said(first);
        let again = |mark: Span| {
            let told = || {
                let before = text[..mark.start as usize].trim_end();
                let before = before[line::start(before, before.len())..].to_ascii_lowercase();
                ["run", "rerun", "call", "execute", "with"].iter().any(|verb| before.ends_with(verb))
            };
            mark.start > first.end && !put_in(mark) && said(mark) == what && told()
        };
        let Some(second) = marks().find(|&mark| again(mark)) else { continue };
        let between = text[first.end as usize..second.start as usize].to_ascii_lowercase();
        if CHANGES.iter().any(|word| between.contains(word)) {
            continue;
        }
        let message = format!("`{what}` is run again, though what it says stands in the text already");
        let draft = report.add(asset.file, second, message).severity(Severity::Low);
        let draft = draft.hint("refer to what stands above");
        draft.also(asset.file, first, "it is put in here").done();
    }
}

/// Reports at the second of some places what one session does in all of them, though it knows the answer from the first; a
/// word says what the later ones do.
fn tell_known(
    report: &mut Report<'_>,
    asset: &Asset,
    message: String,
    hint: &str,
    (places, word): (&[Span], &str),
) {
    let [first, second, rest @ ..] = places else { return };
    let mut draft = report.add(asset.file, *second, message).severity(Severity::Low).hint(hint);
    draft = draft.also(asset.file, *first, "it is known from here on");
    for place in rest {
        draft = draft.also(asset.file, *place, word);
    }
    draft.done();
}

/// Tells of steps of one session that each fetch the same page.
fn same_page(report: &mut Report<'_>, asset: &Asset, text: &str) {
    let mut fetched: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for step in asset.flow.steps.iter().filter(|step| step.agents.is_empty()) {
        let own = &text[step.span.range()];
        let Some(at) = memmem::find(own.as_bytes(), b"WebFetch http") else { continue };
        let rest = &own[at..];
        let len = rest["WebFetch ".len()..].find(|c: char| c.is_whitespace() || "`\"')>,".contains(c));
        let what = &rest[..len.map_or(rest.len(), |len| len + "WebFetch ".len())];
        let start = line::offset(text, what);
        fetched.entry(what).or_default().push(Span::new(start, start + what.len()));
    }
    for (what, places) in fetched.iter().filter(|(_, places)| places.len() >= ASKED_MIN) {
        let message = format!("{} steps of one session each fetch the same page: `{what}`", places.len());
        let hint = "fetch it in the first, and go on with what it said";
        tell_known(report, asset, message, hint, (places, "fetched again"));
    }
}

/// What one session asks of a service, which no step of its own changes.
const ASKED: &[&str] = &[
    "gh issue view ",
    "gh pr view ",
    "gh pr diff ",
    "glab issue view ",
    "glab mr view ",
    "glab mr diff ",
    "acli jira workitem view ",
    "jira issue view ",
];

/// How often one session has to ask the same before that is told.
const ASKED_MIN: usize = 3;

/// What adds to a change that others look at.
const ADDS: &[&str] = &["push", "amend", "rebase", "merge ", "commit it", "commit the", "commit and"];

/// Tells whether a service says the same from the first time that it is asked to the last: not of the state of a change, nor of a
/// change that is added to in between.
fn lasts(what: &str, text: &str, (first, last): (Span, Span)) -> bool {
    let between = text.get(first.end as usize..last.start as usize).unwrap_or_default().to_ascii_lowercase();
    let of_change = ["gh pr ", "glab mr "].iter().any(|start| what.starts_with(start));
    let state = ["state", "status", "checks", "mergeable", "reviewdecision"];
    let lower = what.to_ascii_lowercase();
    !(state.iter().any(|word| lower.contains(word))
        || of_change && ADDS.iter().any(|word| between.contains(word)))
}

/// Tells whether a command in marks is one that the line itself begins to order, and not a prompt: `Run `x`, and give it to the agent`.
fn is_own_order(text: &str, mark: Span) -> bool {
    let before = &text[line::start(text, mark.start as usize)..mark.start as usize];
    let order =
        before.trim_matches(|c: char| "-*+.)` \t".contains(c) || c.is_ascii_digit()).to_ascii_lowercase();
    matches!(&*order, "run" | "execute" | "call" | "first run" | "first, run" | "then run")
}

/// Tells of a session that asks a service the same thing in several of its steps, though it has the answer.
fn asked_again(report: &mut Report<'_>, asset: &Asset, text: &str, commands: &[Span]) {
    let said = |mark: Span| text[mark.range()].trim_matches('`').trim();
    let asks =
        |what: &str| ASKED.iter().any(|start| what.starts_with(start)) && !what.contains(['<', '{', '[']);
    let marks: Vec<Span> = commands.iter().copied().filter(|&mark| asks(said(mark))).collect();
    // Most texts ask nothing so often.
    if marks.len() < ASKED_MIN {
        return;
    }
    let mut asked: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    // Where no headings count the steps, the items of a list do.
    let steps = asset.flow.steps.iter().map(|step| (step.span, !step.agents.is_empty()));
    let items = asset.definition.document.items.iter().filter(|item| item.ordered).map(|item| item.span);
    let units: Vec<(Span, bool)> =
        if asset.flow.steps.is_empty() { items.map(|item| (item, false)).collect() } else { steps.collect() };
    for (unit, starts) in units {
        // Of a step that starts an agent the session does itself what it is told to before.
        let own = |span: Span| !starts || is_own_order(text, span);
        let inside = |span: &&Span| unit.start <= span.start && span.end <= unit.end && own(**span);
        // One step may ask twice, before and after what it does.
        let mut own: Vec<&str> = Vec::new();
        for &mark in marks.iter().filter(inside) {
            let what = said(mark);
            let places = asked.entry(what).or_default();
            if !own.contains(&what) && places.last() != Some(&mark) {
                own.push(what);
                places.push(mark);
            }
        }
    }
    // What else the same steps ask is one habit.
    let mut again = asked.into_iter().filter(|(what, places)| {
        places.len() >= ASKED_MIN && lasts(what, text, (places[0], places[places.len() - 1]))
    });
    let Some((what, mut places)) = again.next() else { return };
    let rest: Vec<Vec<Span>> = again.map(|(_, places)| places).collect();
    let more = if rest.is_empty() { "" } else { " and more" };
    let message = format!("{} steps of one session each run `{what}`{more}", places.len());
    let hint = "run it in the first, and go on with what it said";
    places.extend(rest.into_iter().flatten());
    tell_known(report, asset, message, hint, (&places, "asked again"));
}
