//! What the agents that one text starts are each told to ask, and what the steps of one session each read.

use std::collections::BTreeMap;

use kapell_spec::{
    claude::{
        reference::{Names, Strength},
        steps::Step,
    },
    finding::Span,
    line,
};

use super::{ASKED_MIN, EACH, tell_known};
use crate::{
    agents::{AgentId, Asset, Resolved},
    repository::Repository,
    rule::Report,
};

/// Tells of agents that one text starts, and that are each told by their own texts to ask a service the same.
pub(super) fn agents_ask(repository: &Repository, report: &mut Report<'_>, asset: &Asset) {
    let agents = &repository.agents;
    let mut asked: BTreeMap<String, BTreeMap<AgentId, Span>> = BTreeMap::new();
    // A bare name in marks is that of an agent where one of that name is defined.
    let named = asset.references.iter().filter(|reference| {
        let bare = !reference.fenced && reference.name.contains('-');
        reference.names == Names::Agent && (reference.strength >= Strength::Strong || bare)
    });
    for reference in named {
        let Resolved::Found(id) = agents.resolve(asset, reference) else { continue };
        let agent = &agents[id];
        let text = &*repository.files[agent.file].text;
        let mut last_told: Option<Span> = None;
        for mark in agent.definition.document.marks.iter().filter(|mark| mark.code) {
            let what = text[mark.span.range()].trim_matches('`').trim();
            if !EACH.iter().any(|start| what.starts_with(start)) || !what.contains(' ') {
                continue;
            }
            if is_ordered(text, mark.span) || last_told.is_some_and(|last| is_joined(text, last, mark.span)) {
                last_told = Some(mark.span);
                asked.entry(without_arguments(what)).or_default().entry(id).or_insert(mark.span);
            }
        }
    }
    // What the text that starts them has put in before it was read, each could have been handed.
    let own = &*repository.files[asset.file].text;
    let put_in = |what: &str| {
        let mut marks = asset.definition.document.marks.iter().filter(|mark| mark.code);
        let is = |mark: Span| without_arguments(own[mark.range()].trim_matches('`').trim()) == what;
        marks
            .find(|mark| own[..mark.span.start as usize].ends_with('!') && is(mark.span))
            .map(|mark| mark.span)
    };
    let mut again = asked.iter().filter(|(_, places)| places.len() >= 2).peekable();
    let Some((what, places)) = again.next() else { return };
    let Some((&first, &span)) = places.iter().next() else { return };
    let said =
        |id: AgentId, span: Span| repository.files[agents[id].file].text[span.range()].trim_matches('`');
    // What the same agents ask besides is one habit.
    let more = if again.peek().is_some() { " and more" } else { "" };
    let message = format!(
        "{} agents that `{}` starts each run `{}`{more} again",
        places.len(),
        asset.name,
        said(first, span)
    );
    let hint = "fetch it once in what starts them, and hand it to them";
    let mut draft = report.add(agents[first].file, span, message).hint(hint);
    if let Some(known) = put_in(what) {
        draft = draft.also(asset.file, known, "it is known here already");
    }
    for (&id, &span) in places.iter().skip(1).chain(again.flat_map(|(_, places)| places)) {
        draft = draft.also(agents[id].file, span, "fetched again");
    }
    draft.done();
}

/// Tells whether the words before a command order to run it: `with`, `Get the change:`.
fn is_ordered(text: &str, mark: Span) -> bool {
    let start = line::start(text, mark.start as usize);
    let before = text[start..mark.start as usize].trim_end().to_ascii_lowercase();
    let from = before.rfind(". ").map_or(0, |end| end + 2);
    let sentence = &before[from..];
    let denied = ["not ", "never", "n't", "instead", "if ", "without", "example", "user"];
    let told = ["with", "run", "running", "by", "using", "via", "call"].iter().any(|word| {
        sentence.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with([' ', '\n']))
    });
    let named = sentence.strip_suffix(':').is_some_and(|rest| {
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> ".contains(c));
        let rest = ["first ", "first, ", "begin: ", "then "]
            .iter()
            .find_map(|word| rest.strip_prefix(word))
            .unwrap_or(rest);
        ["get ", "fetch ", "read ", "load "].iter().any(|verb| rest.starts_with(verb))
    });
    (told || named) && !denied.iter().any(|word| sentence.contains(word))
}

/// Tells whether a mark goes on the row of one that was ordered: `x` and `y`.
fn is_joined(text: &str, last: Span, mark: Span) -> bool {
    let between = text.get(last.end as usize..mark.start as usize).unwrap_or("-");
    matches!(between, ", " | " and " | ", and ")
        || between.starts_with(" and ") && between.len() <= 24 && {
            ["with ", "by ", "using "].iter().any(|word| between.ends_with(word))
        }
}

/// Returns a command in which what stands for something is always written alike: `<number>`, `$1`, `{pr}`.
fn without_arguments(what: &str) -> String {
    let stands = |word: &str| {
        let shouts = word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let variable = word.strip_prefix('$').is_some_and(|name| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_{}".contains(&byte))
        });
        shouts || variable || word.starts_with(['<', '{', '[']) && word.ends_with(['>', '}', ']'])
    };
    let words = what.split(' ').map(|word| if stands(word.trim_matches('"')) { "<>" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Tells of steps of one session that each begin with reading the same texts, which none of them changes.
pub(super) fn same_texts(repository: &Repository, report: &mut Report<'_>, asset: &Asset, text: &str) {
    if asset.flow.steps.len() < ASKED_MIN {
        return;
    }
    let document = &asset.definition.document;
    let texts = [".md", ".mdx", ".rst", ".adoc", ".txt"];
    let mut read: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for mark in document.marks.iter().filter(|mark| mark.code) {
        let path = text[mark.span.range()].trim_matches('`').trim();
        let start = line::start(text, mark.span.start as usize);
        let before = text[start..mark.span.start as usize]
            .trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> ".contains(c));
        let ordered = before.starts_with("Read ") && !before.contains(". ") && !before.contains(" if ");
        if !ordered || !texts.iter().any(|end| path.ends_with(end)) || !repository.files.exists(path) {
            continue;
        }
        let within = |step: &&Step| step.span.start <= mark.span.start && mark.span.end <= step.span.end;
        // An agent reads for itself.
        let own = asset.flow.steps.iter().find(within).filter(|step| step.agents.is_empty() && !step.starts);
        let places = read.entry(path).or_default();
        if own.is_some_and(|step| places.iter().all(|place| place.end <= step.span.start)) {
            places.push(mark.span);
        }
    }
    // What a step changes is read anew.
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let kept = |path: &&str, places: &[Span]| {
        places.len() >= ASKED_MIN && text.matches(&*name(path)).count() == places.len()
    };
    let again: Vec<(&str, Vec<Span>)> =
        read.into_iter().filter(|(path, places)| kept(path, places)).collect();
    let Some((path, places)) = again.first() else { return };
    let more = if again.len() > 1 { format!(" and {} more", again.len() - 1) } else { String::new() };
    let message = format!("{} steps of one session each read `{path}`{more}", places.len());
    let hint = "read it in the first: the session still has it in the later ones";
    tell_known(report, asset, message, hint, (places, "read again"));
}
