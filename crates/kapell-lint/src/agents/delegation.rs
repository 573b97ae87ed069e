//! Which agent hands work to which.

mod bans; // what a sentence forbids, and what ends it

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use kapell_spec::{
    claude::reference::{
        Names, Reference, Strength,
        handing::{GIVES, sends_each},
    },
    finding::Span,
    line,
    words::Words,
};
use kapell_view::audit::AssetKind;

use super::{AgentId, Agents, Asset, Home, Resolved, clients::Client, tools};
use crate::files::{FileId, Files};

/// One agent hands work to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    /// Who hands on.
    pub from: AgentId,
    /// To whom.
    pub to: AgentId,
    /// The file that says so.
    pub file: FileId,
    /// Where it does.
    pub span: Span,
    /// Whether both are read by one session: a command that runs another one starts nobody.
    pub in_session: bool,
}

/// All handovers between agents.
#[derive(Debug, Default)]
pub struct Graph {
    edges: BTreeMap<AgentId, Vec<Handover>>,
    /// Those that a text bounds, which makes a circle end and a chain no shorter.
    bounded: BTreeMap<AgentId, Vec<Handover>>,
}

/// The longest chains from agents; `None` for those that are being followed.
type Followed = BTreeMap<AgentId, Option<Vec<Handover>>>;

/// How the words around a name hand work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// They do not, or forbid it.
    Not,
    /// So often at most, or back to where it came from.
    Bounded,
    /// As often as it comes up.
    Freely,
}

/// Words before a name with which work is handed on.
const HANDS_ON: &[&str] = &[
    "delegate",
    "spawn",
    "invoke",
    "launch",
    "dispatch",
    "hand off",
    "hand over",
    "hand it",
    "hand the",
    "hand `",
    "hands it",
    "hands the",
    "pass it",
    "pass the",
    "start `",
    "agent tool",
    "task tool",
    "start the",
    "start one",
    "start a `",
    "start an `",
    "start another",
    "run one `",
    "use one `",
    "call the",
    "call `",
    "use the",
    "use `",
    "use **",
    "run the",
    "run `",
    "pass each",
    "pass every",
    "give it",
    "give the",
    "give each",
    "assign",
    "send it",
    "send the",
    "send each",
    "forward",
    "hand each",
    "hand them",
    "hand on",
    "task(",
    "task (",
    "escalate",
];

static HANDING_ON: LazyLock<Words> = LazyLock::new(|| Words::new(HANDS_ON));

static BOUNDING: LazyLock<Words> = LazyLock::new(|| Words::new(&[BOUNDED, FORBIDS].concat()));

/// Words that forbid a thing, or only show it.
const FORBIDS: &[&str] = &["never", "do not", "don't", "e.g.", "example"];

/// Words that say that the work goes back, or how often it may.
const BOUNDED: &[&str] = &[
    "back to",
    "return to",
    "report to",
    "at most",
    "maximum",
    "max ",
    "iteration",
    "attempt",
    "limit",
    "until",
    " cap",
];

/// Beginnings of words that say how often something is done.
const OFTEN: &[&str] =
    &["time", "round", "iteration", "attempt", "loop", "turn", "retr", "cycle", "pass", "once", "twice"];

/// Tells whether something happens but once: `Once the design stands, go on` is a time, and no bound.
fn is_once(around: &str) -> bool {
    around.match_indices("once").any(|(at, word)| {
        let after = around[at + word.len()..].trim_start_matches(['`', '*']);
        let before = around[..at].trim_end();
        after.starts_with(['.', ',', ';', ')', '\n'])
            || after.is_empty()
            || after.starts_with(" per")
            || after.starts_with(" only")
            || ["only", "just", "exactly", "at most"].iter().any(|word| before.ends_with(word))
    })
}

/// Finds the handovers that are said for sure: of agents, and of commands and skills, which agents may run in turn.
#[must_use]
pub(super) fn graph(agents: &Agents, files: &Files) -> Graph {
    let mut graph = Graph::default();
    let kinds = [AssetKind::Agent, AssetKind::Command, AssetKind::Skill];
    let starts = |asset: &Asset| asset.kind != AssetKind::Agent || can_start(asset) || can_run(asset);
    for (from, asset) in
        agents.iter().filter(|(_, asset)| kinds.contains(&asset.kind) && is_loaded(asset) && starts(asset))
    {
        let text = &files[asset.file].text;
        let mut seen = BTreeSet::new();
        let is_agent = asset.kind == AssetKind::Agent;
        for (to, span) in skills_run(agents, asset, text).filter(|(to, _)| *to != from) {
            if seen.insert(to) {
                let handover = Handover { from, to, file: asset.file, span, in_session: true };
                graph.edges.entry(from).or_default().push(handover);
            }
        }
        let named = asset.references.iter().filter(|reference| match reference.names {
            Names::Agent => !is_agent || can_start(asset),
            // A command that names another one may only say what comes next.
            Names::Command if is_agent => can_run(asset) && reference.strength > Strength::Weak,
            Names::Command => !reference.fenced && runs(text, reference),
            _ => false,
        });
        for reference in named.filter(|reference| {
            let in_session = !is_agent && reference.names == Names::Command;
            in_session || is_firm(reference)
        }) {
            let Resolved::Found(to) = agents.resolve(asset, reference) else { continue };
            // Whom a frontmatter of another client lets it start is not started by that.
            let listed = asset.client != Client::Claude && reference.span.start < asset.definition.body;
            if agents[to].client != asset.client || listed {
                continue;
            }
            let in_session = !is_agent && agents[to].kind != AssetKind::Agent;
            // One that no model can start is only spoken of.
            if in_session && agents[to].definition.is_on("disable-model-invocation") == Some(true) {
                continue;
            }
            if to == from || seen.contains(&to) {
                continue;
            }
            let handover = Handover { from, to, file: asset.file, span: reference.span, in_session };
            // What the words around a name say is looked at last: that takes longest.
            let command = !is_agent && reference.names == Names::Command;
            match if command { Said::Freely } else { said(text, reference) } {
                Said::Not => {}
                Said::Bounded => graph.bounded.entry(from).or_default().push(handover),
                Said::Freely => {
                    seen.insert(to);
                    graph.edges.entry(from).or_default().push(handover);
                }
            }
        }
    }
    graph
}

/// Tells whether a client loads an asset from where it lies.
fn is_loaded(asset: &Asset) -> bool {
    asset.home == Home::Claude || asset.client != Client::Claude
}

/// Tells whether an agent has the tool to start others.
fn can_start(asset: &Asset) -> bool {
    if asset.client != Client::Claude {
        return tools::granted(asset).has("Agent");
    }
    let tools = asset.definition.items("tools");
    let starts = |tool: &str| matches!(tool.split('(').next(), Some("Agent" | "Task" | "*"));
    asset.definition.field("tools").is_none() || tools.iter().any(|tool| starts(&tool.text))
}

/// Tells whether an agent has the tool to run commands.
fn can_run(asset: &Asset) -> bool {
    if asset.client != Client::Claude {
        return false;
    }
    let tools = asset.definition.items("tools");
    let runs = |tool: &str| matches!(tool.split('(').next(), Some("SlashCommand" | "Skill" | "*"));
    asset.definition.field("tools").is_none() || tools.iter().any(|tool| runs(&tool.text))
}

/// Tells whether a name is meant. A single word is, if an agent of that name is defined.
fn is_firm(reference: &Reference) -> bool {
    reference.strength > Strength::Weak || !reference.fenced && !reference.name.contains('-')
}

/// Tells whether the words around a name hand work to whom it names, without a bound.
pub(crate) fn hands_on(text: &str, reference: &Reference) -> bool {
    said(text, reference) == Said::Freely
}

/// Tells how the words around a name hand work to whom it names.
fn said(text: &str, reference: &Reference) -> Said {
    let around = line::block(text, reference.span.start as usize, 1, 1);
    // What a sentence before forbids has nothing to do with how often this is done.
    let at = reference.span.start as usize - line::offset(text, around);
    let from =
        [". ", ".\n", "! ", "\n\n"].iter().filter_map(|end| Some(around[..at].rfind(end)? + end.len())).max();
    // `Whenever` is no `never`, and lines are wrapped anywhere.
    let plain = |text: &str| text.to_ascii_lowercase().replace("whenever", "when").replace('\n', " ");
    let forbids = plain(&around[from.unwrap_or(0)..]);
    let around = plain(around);
    // Users and files are asked, too: here the name must follow.
    let start = reference.span.start as usize;
    let before = line::lead(text, start).trim_end_matches(['`', '*', '@']).to_ascii_lowercase();
    let before = before.replace('\n', " ");
    let asked = before.trim_end().ends_with("ask the") || before.ends_with("ask ");
    // `Pass sources in other languages to the `x` agent`, `have the `x` subagent look it up`, `gets its own `x``.
    let clause = before.rsplit(['.', ';', ':']).next().unwrap_or_default().trim_end();
    let given =
        clause.strip_suffix(" the").unwrap_or(clause).strip_suffix(" to").is_some_and(|rest| {
            rest.split(|c: char| !c.is_ascii_alphabetic()).any(|word| GIVES.contains(&word))
        });
    let told = ["have the", "have", "let the", "let", "call the", "gets its own", "get their own"];
    let worked = told.iter().any(|words| {
        clause.strip_suffix(words).is_some_and(|rest| rest.is_empty() || rest.ends_with([' ', ',']))
    });
    let said = reference.strength == Strength::Certain
        || asked
        || given
        || worked
        || sends_each(clause.trim_start())
        || HANDING_ON.is_in_lower(&around);
    if !said
        || reference.strength < Strength::Certain
            && bans::is_choice(&before, &text[reference.span.end as usize..])
    {
        return Said::Not;
    }
    // `Send it back to the `x` agent via the Task tool` starts it anew, and so does `delegate back to it, so that it plans`.
    let anew = ["task tool", "agent tool", "subagent_type", "start it again", "start that agent again"];
    let delegated = clause.trim_end_matches(" the").ends_with("delegate back to")
        && ["so that it ", "so it can ", "which then ", "to have it "]
            .iter()
            .any(|word| forbids.contains(word));
    let anew = delegated || anew.iter().any(|word| around.contains(word));
    // How many at once is no bound on how often, nor does it bound anything to wait for an answer.
    let together = |text: String| {
        let text = text.replace("wait until", "wait for").replace("waits until", "waits for");
        let text = bans::without_verdicts(&text);
        // What comes back to whoever started it is an answer, and ends no circle.
        let text = ["whoever", "the one that", "your caller", "the caller", "who called"]
            .iter()
            .fold(text, |text, who| text.replace(&format!("back to {who}"), who));
        match text.split_once("at most") {
            Some((before, rest)) if at_once(rest) => format!("{before}{rest}"),
            _ => text,
        }
    };
    let name = reference.name.to_ascii_lowercase();
    let (around, forbids) = (together(around), bans::without_others(&together(forbids), &name));
    // What a sentence before counts is something else, unless it counts how often.
    let counted = |word: &str| {
        around.match_indices(word).any(|(at, _)| {
            let rest: Vec<&str> = around[at + word.len()..].split_whitespace().take(3).collect();
            rest.iter().any(|word| OFTEN.iter().any(|often| word.starts_with(often)))
        })
    };
    let bounded = |word: &&&str| match **word {
        "back to" | "return to" => !anew && around.contains(**word),
        "report to" | "iteration" | "attempt" => around.contains(**word),
        word => forbids.contains(word) || counted(word),
    };
    let is = |words: &[&str]| words.iter().any(|word| bounded(&word));
    // Most say nothing of the kind.
    let speaks = BOUNDING.is_in_lower(&around);
    if speaks && is(FORBIDS) {
        return Said::Not;
    }
    // Only a call in so many words is one however often it is made: `subagent_type: "x"`, and no way back.
    let called = reference.strength == Strength::Certain
        && !around.contains("back to")
        && !around.contains("return to");
    match speaks && is(BOUNDED) {
        true if called => Said::Bounded,
        true => Said::Not,
        // Once for each task is a call as well.
        false if is_once(&forbids) => Said::Bounded,
        false => Said::Freely,
    }
}

/// Tells whether what follows `at most` says how many work at the same time: ` two at a time`.
fn at_once(rest: &str) -> bool {
    let words: Vec<&str> =
        rest.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).take(5).collect();
    words.windows(3).any(|three| three == ["at", "a", "time"])
        || words.windows(2).any(|two| two == ["at", "once"] || two == ["in", "parallel"])
}

/// Orders that run a command, right before its name.
const RUNS: &[&str] = &[
    "run",
    "execute",
    "invoke",
    "call",
    "start",
    "trigger",
    "continue with",
    "go on with",
    "proceed with",
    "proceed to",
    "go to",
    "go back to",
    "start over with",
    "carry on with",
    "go on to",
    "move on to",
    "follow up with",
    "finish with",
    "end with",
    "close with",
    "restart with",
    "chain to",
    "hand over to",
    "then",
    "load",
    "use",
    "invoking",
    "loading",
    "running",
];

/// Words of a sentence that leaves it to somebody whether, or how often, a command is run.
const LEFT_OPEN: &[&str] = &[
    "user",
    "yes ",
    "suggest",
    "recommend",
    " may ",
    "can ",
    "could",
    "optional",
    "tell ",
    " ask",
    "e.g",
    "example",
    "not ",
    "never",
    "n't",
    "instead",
    "offer",
    "would",
    "consider",
    "next step",
    "should you",
    "if you",
    "you want",
    "remind",
    "mention",
    "like ",
    "similar",
    "see ",
    "same as",
    "equivalent",
    "developer",
    "human",
    "at most",
    "maximum",
    "max ",
    "iteration",
    "attempt",
    "limit",
    "until",
    "only once",
    "just once",
    "twice",
];

/// Finds the skills that a command or a skill orders to run: `then invoke the `build` skill`.
fn skills_run<'a>(
    agents: &'a Agents,
    asset: &'a Asset,
    text: &'a str,
) -> impl Iterator<Item = (AgentId, Span)> + 'a {
    let marks = asset.definition.document.marks.iter().filter(|_| asset.kind != AssetKind::Agent);
    marks.filter(|mark| mark.code).filter_map(move |mark| {
        let behind = text[mark.span.end as usize..].trim_start_matches(['`', '*']).trim_start();
        if !behind.starts_with("skill") {
            return None;
        }
        let mut known = agents.of(AssetKind::Skill).filter(|(_, skill)| {
            skill.name == mark.text.trim() && skill.scope == asset.scope && skill.home == Home::Claude
        });
        let (id, skill) = known.next()?;
        let by_hand = skill.definition.is_on("disable-model-invocation") == Some(true);
        (!by_hand && is_run(text, mark.span.start as usize)).then_some((id, mark.span))
    })
}

/// Tells whether a text orders to run the command that it names: `Then run `/verify`.`
fn runs(text: &str, reference: &Reference) -> bool {
    is_run(text, reference.span.start as usize)
}

/// Tells whether a text orders to run what is named at a place.
pub fn is_run(text: &str, at: usize) -> bool {
    let block = line::block(text, at, 2, 2);
    let start = line::offset(text, block);
    let (before, behind) = block.split_at(at.saturating_sub(start).min(block.len()));
    let ends = [". ", ".\n", "\n\n", "; ", "! ", "? ", "\n- ", "\n* ", "\n#", "\n|"];
    let from = ends.iter().filter_map(|end| Some(before.rfind(end)? + end.len())).max().unwrap_or(0);
    let to = ends.iter().filter_map(|end| behind.find(end)).min().unwrap_or(behind.len());
    let clause = before[from..].to_ascii_lowercase().replace('\n', " ");
    let clause = clause.trim_end_matches(['/', '`', '*', '"', ' ']);
    let named = [" skill", " slash command", " command"];
    let clause = named.iter().find_map(|word| clause.strip_suffix(word)).unwrap_or(clause);
    let clause = clause.strip_suffix(" the").unwrap_or(clause).trim_end();
    let ordered = RUNS.iter().any(|order| {
        clause.strip_suffix(order).is_some_and(|rest| {
            (rest.is_empty() || rest.ends_with([' ', '*', '>', '-'])) && !bans::is_advice(rest)
        })
    });
    let sentence = format!(" {} {}", clause, behind[..to].to_ascii_lowercase());
    // What it is run for leaves nothing open: `Then run `/verify` to see that all is green`.
    let sentence = sentence.replace("without asking", "").replace(" to see ", " ");
    ordered && !LEFT_OPEN.iter().any(|word| sentence.contains(word)) && !bans::is_quoted(text, at)
}

/// Returns what somebody calls an asset: a command by its slash.
#[must_use]
pub fn called(asset: &Asset) -> String {
    let slash = if asset.kind == AssetKind::Agent { "" } else { "/" };
    format!("{slash}{}", asset.name)
}

impl Graph {
    /// Returns what an agent hands on.
    #[must_use]
    pub fn of(&self, id: AgentId) -> &[Handover] {
        self.edges.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Finds a circle for each group of agents that reach each other.
    #[must_use]
    pub fn circles(&self) -> Vec<Vec<Handover>> {
        let mut seen: BTreeSet<AgentId> = BTreeSet::new();
        let mut circles = Vec::new();
        for &start in self.edges.keys() {
            if seen.contains(&start) {
                continue;
            }
            if let Some(circle) = self.back_to(start) {
                seen.extend(circle.iter().map(|edge| edge.from));
                circles.push(circle);
            }
        }
        circles
    }

    /// Finds the shortest way from an agent back to itself.
    fn back_to(&self, start: AgentId) -> Option<Vec<Handover>> {
        let mut ways: BTreeMap<AgentId, Vec<Handover>> = BTreeMap::from([(start, Vec::new())]);
        let mut next = std::collections::VecDeque::from([start]);
        while let Some(at) = next.pop_front() {
            let way = ways.get(&at).cloned().unwrap_or_default();
            for &edge in self.of(at) {
                let longer: Vec<Handover> = way.iter().copied().chain([edge]).collect();
                if edge.to == start {
                    return Some(longer);
                }
                if let std::collections::btree_map::Entry::Vacant(new) = ways.entry(edge.to) {
                    new.insert(longer);
                    next.push_back(edge.to);
                }
            }
        }
        None
    }

    /// Finds a longest chain, where there is no circle.
    #[must_use]
    pub fn longest(&self) -> Option<Vec<Handover>> {
        if self.circles().iter().any(|circle| circle.iter().any(|edge| !edge.in_session)) {
            return None;
        }
        let mut known = Followed::new();
        let ids: BTreeSet<AgentId> = self.edges.keys().chain(self.bounded.keys()).copied().collect();
        let chains = ids.into_iter().filter_map(|id| self.chain(id, &mut known));
        chains.max_by_key(Vec::len).filter(|chain| !chain.is_empty())
    }

    /// Returns a longest chain from an agent; `None` while it is followed, which only a bounded circle comes back to.
    fn chain(&self, id: AgentId, known: &mut Followed) -> Option<Vec<Handover>> {
        if let Some(chain) = known.get(&id) {
            return chain.clone();
        }
        known.insert(id, None);
        let mut best: Vec<Handover> = Vec::new();
        let bounded = self.bounded.get(&id).map_or(&[][..], Vec::as_slice);
        for &edge in self.of(id).iter().chain(bounded).filter(|edge| !edge.in_session) {
            let Some(rest) = self.chain(edge.to, known) else { continue };
            if rest.len() + 1 > best.len() {
                best = std::iter::once(edge).chain(rest).collect();
            }
        }
        known.insert(id, Some(best.clone()));
        Some(best)
    }
}
