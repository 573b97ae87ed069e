//! Graphs of steps that lead back for as long as a model, or what fails, says so.
//!
//! Source: the documentation of LangGraph, "Graph API overview": a run ends with `GraphRecursionError`, and without a result,
//! after `recursion_limit` steps. Without one these are 25 in JavaScript; in Python they were until January 2026, when pull request
//! 6676 of langchain-ai/langgraph made them 1,000, and are 10,007 since its pull request 7355.

mod state; // what steps read and write of the state of a run
mod unraised; // bounds that no step raises

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use self::state::{State, is_of_failure};
use super::{COUNTS, rounds::BOUNDS};
use crate::{
    code::{
        Id, Language, Unit,
        graphs::{self, Choice, Graph},
        modules::Modules,
        service::Methods,
        unit::FUNCTIONS,
    },
    files::FileId,
    repository::Repository,
    rule::Report,
    rules::names::words,
};

/// Beginnings of words of steps that work something off, or that hear from a person.
const WORKS_OFF: &[&str] = &[
    "pop", "shift", "pending", "todo", "queue", "index", "idx", "next", "cursor", "page", "len", "length",
    "size", "number", "num", "human", "operator", "version",
];

/// Words of who looks after the bound by other means than a number.
const WATCHED: &[&str] = &[
    "GraphRecursionError",
    "remaining_steps",
    "RemainingSteps",
    "remainingSteps",
    "IsLastStep",
    "langgraph_step",
    "interrupt_before",
    "interrupt_after",
    "interruptBefore",
    "interruptAfter",
];

/// The least limit that bounds nothing, in steps: each round of them asks a model.
const MANY_MIN: u32 = 100;

/// The most nodes of a graph that is looked at: a greater one is generated, and costs too much to go round in.
const NODES_MAX: usize = 64;

/// The most choices of a graph that are looked at.
const CHOICES_MAX: usize = 32;

/// The most answers of a choice that are looked at.
const ANSWERS_MAX: usize = 8;

/// A function, and its file.
type Function<'a> = (&'a Unit, Id);

/// Tells of the first such round of each graph.
pub(super) fn check<'a>(
    repository: &'a Repository,
    methods: &Methods<'a>,
    limit: &dyn Fn() -> Option<Limit>,
    unit: &'a Unit,
    report: &mut Report<'_>,
) {
    let text = unit.whole();
    if !text.contains("add_conditional_edges") && !text.contains("addConditionalEdges") {
        return;
    }
    let modules = methods.modules();
    for graph in graphs::of(unit).iter().filter(|graph| graph.nodes.len() <= NODES_MAX) {
        let routers = Routers::of(modules, graph);
        if unraised::check(repository, modules, &routers, report) {
            continue;
        }
        let found = graph.choices.iter().take(CHOICES_MAX).find_map(|choice| back(methods, &routers, choice));
        let Some((found, limit)) = found.and_then(|found| Some((found, limit()?))) else {
            continue;
        };
        tell(unit, &found, limit, report);
    }
}

/// A round that nothing ends.
struct Round<'a> {
    /// The nodes that it goes through, the one that it leads back to first.
    nodes: Vec<&'a str>,
    /// The answer that leads back.
    answer: (&'a Unit, Id),
    /// What it hangs on.
    key: &'a str,
    /// Where the function that answers is given to the graph.
    router: Id,
}

/// What bounds the steps of a run from outside.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// Nothing in the repository.
    Default,
    /// A number that is too great to bound anything.
    Great(FileId, Span),
}

fn tell(unit: &Unit, round: &Round<'_>, limit: Limit, report: &mut Report<'_>) {
    let way: Vec<String> =
        round.nodes.iter().chain(round.nodes.first()).map(|node| format!("`{node}`")).collect();
    let message = format!(
        "this leads back for as long as `{}` says so ({}), and nothing counts the rounds",
        round.key,
        way.join(" -> ")
    );
    let (other, at) = round.answer;
    // In JavaScript a run fails after 25 steps.
    let short = unit.language != Language::Python && matches!(limit, Limit::Default);
    let mut draft = report
        .add(other.file, other.span(at), message)
        .severity(if short { Severity::Medium } else { Severity::High })
        .confidence(Confidence::Medium)
        .hint("count the rounds in the state, and go on with what there is after a few of them")
        .also(unit.file, unit.span(round.router), "it chooses where this graph goes on");
    if let Limit::Great(file, span) = limit {
        draft = draft.also(file, span, "so many steps bound nothing");
    }
    draft.done();
}

/// Returns what bounds the steps of a run from outside; `None` where something does.
pub(super) fn limit(repository: &Repository) -> Option<Limit> {
    let code = repository.files.iter().filter(|(_, file)| Language::of(&file.path).is_some());
    let mut limit = Limit::Default;
    for (id, file) in code {
        let text = &*file.text;
        if WATCHED.iter().any(|word| text.contains(word)) {
            return None;
        }
        for name in ["recursion_limit", "recursionLimit"] {
            for (at, _) in text.match_indices(name) {
                let rest = text[at + name.len()..].trim_start_matches(['"', '\'', ' ', ':', '=']);
                let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '_').collect();
                // What no text shows may be any number.
                let number: u32 = number.replace('_', "").parse().ok()?;
                if number < MANY_MIN {
                    return None;
                }
                limit = Limit::Great(id, Span::new(at, at + name.len()));
            }
        }
    }
    Some(limit)
}

/// The functions that choose where a graph goes on.
struct Routers<'a, 'g> {
    graph: &'g Graph<'a>,
    /// The nodes that each node may lead to.
    next: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// The functions after each node; `None` for one that cannot be seen.
    after: BTreeMap<&'a str, Vec<Option<Function<'a>>>>,
}

impl<'a, 'g> Routers<'a, 'g> {
    fn of(modules: &Modules<'a>, graph: &'g Graph<'a>) -> Self {
        let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for edge in &graph.edges {
            next.entry(edge.from).or_default().insert(edge.to);
        }
        let mut after: BTreeMap<&str, Vec<Option<Function<'a>>>> = BTreeMap::new();
        for choice in &graph.choices {
            let router = function(modules, graph.unit, choice.router);
            after.entry(choice.from).or_default().push(router);
            let Some((unit, router)) = router else { continue };
            let answers = graphs::given(unit, router).into_iter();
            let ends = answers.filter_map(|answer| graph.led_to(choice, unit, answer));
            next.entry(choice.from).or_default().extend(ends);
        }
        Self { graph, next, after }
    }

    /// Returns the nodes of the shortest way from one node to another, both included.
    fn way(&self, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(at) = open.pop_front() {
            if at == to {
                let mut way = vec![at];
                while let Some(&node) = before.get(way[way.len() - 1]) {
                    way.push(node);
                }
                way.reverse();
                return Some(way);
            }
            for &node in self.next.get(at).into_iter().flatten() {
                if node != from && !before.contains_key(node) {
                    before.insert(node, at);
                    open.push_back(node);
                }
            }
        }
        None
    }
}

/// Finds an answer of a choice that leads back to it, where nothing on the way counts.
fn back<'a>(methods: &Methods<'a>, routers: &Routers<'a, '_>, choice: &Choice<'a>) -> Option<Round<'a>> {
    let (graph, modules) = (routers.graph, methods.modules());
    let (unit, router) = function(modules, graph.unit, choice.router)?;
    let asked = State::read(unit, router)?;
    graphs::given(unit, router).into_iter().take(ANSWERS_MAX).find_map(|answer| {
        let nodes = routers.way(graph.led_to(choice, unit, answer)?, choice.from)?;
        let key = decides(methods, routers, &nodes, &asked.reads)?;
        Some(Round { nodes, answer: (unit, answer), key, router: choice.router })
    })
}

/// Returns what the round hangs on: a key of the state, if each node of it that sets the key takes it from a model or from what
/// failed, and nothing on the way counts or works something off.
fn decides<'a>(
    methods: &Methods<'a>,
    routers: &Routers<'a, '_>,
    nodes: &[&'a str],
    keys: &BTreeSet<&'a str>,
) -> Option<&'a str> {
    let (graph, modules) = (routers.graph, methods.modules());
    let run = |node: &&'a str| function(modules, graph.unit, graph.nodes.get(node)?.runs?);
    let steps: Vec<Function<'a>> = nodes.iter().map(run).collect::<Option<_>>()?;
    let after = nodes.iter().filter_map(|node| routers.after.get(node)).flatten();
    let choosing: Vec<Function<'a>> = after.copied().collect::<Option<_>>()?;
    if steps.iter().chain(&choosing).any(|&(unit, function)| counts(unit, function)) {
        return None;
    }
    let states: Vec<State<'a>> =
        steps.iter().map(|&(unit, function)| State::read(unit, function)).collect::<Option<_>>()?;
    let asks: Vec<bool> = steps.iter().map(|&(unit, function)| methods.asks(unit, function)).collect();
    if !asks.contains(&true) {
        return None;
    }
    let hangs = |key: &&str| {
        let mut is_set = false;
        let mut all = steps.iter().zip(&states).zip(&asks);
        let of_answer = all.all(|((&(unit, _), state), asks)| {
            let mut values = state.values(key).peekable();
            let sets = values.peek().is_some();
            is_set |= sets;
            let mut fails = || values.any(|value| is_of_failure(unit, value));
            !sets || !state.reads.contains(key) && (*asks || fails())
        });
        is_set && of_answer
    };
    keys.iter().copied().find(hangs)
}

/// Finds the function that an expression stands for, of this file or another one.
fn function<'a>(modules: &Modules<'a>, unit: &'a Unit, named: Id) -> Option<Function<'a>> {
    match unit.kind(named) {
        kind if FUNCTIONS.contains(&kind) => Some((unit, named)),
        "identifier" => match unit.function(unit.text(named)) {
            Some(own) if !unit.is_method(own) => Some((unit, own)),
            _ => modules.function(unit, named),
        },
        "attribute" | "member_expression" => {
            let object = unit.syntax.child(named, "object")?;
            if !matches!(unit.text(object), "self" | "this") {
                return modules.function(unit, named);
            }
            let class = unit.syntax.around(named).find(|&id| unit.kind(id).starts_with("class_d"))?;
            let name = unit.text(named).rsplit('.').next()?;
            Some((unit, unit.method(class, name)?))
        }
        _ => None,
    }
}

/// Tells whether a function counts, works something off, or hears from a person.
fn counts(unit: &Unit, function: Id) -> bool {
    let own = unit.syntax.child(function, "name");
    let begins = |text: &str| {
        let known = [COUNTS, BOUNDS, WORKS_OFF];
        words(text).iter().any(|word| known.iter().copied().flatten().any(|start| word.starts_with(start)))
    };
    unit.syntax.below(function).any(|id| {
        let around = unit.syntax[id].parent;
        match unit.kind(id) {
            "update_expression" => true,
            // A text that grows counts nothing.
            "augmented_assignment" | "augmented_assignment_expression" => unit
                .syntax
                .child(id, "right")
                .is_none_or(|right| !matches!(unit.kind(right), "string" | "template_string")),
            "binary_operator" | "binary_expression" => adds_number(unit, id),
            // `steps[1:]`
            "slice" => unit.text(id).starts_with(|c: char| c.is_ascii_digit() && c != '0'),
            // How long a call may take or how much it may give bounds no rounds.
            "identifier" if unit.kind(around) == "keyword_argument" => {
                unit.syntax.child(around, "value") == Some(id) && begins(unit.text(id))
            }
            "identifier" | "property_identifier" | "shorthand_property_identifier" => {
                Some(id) != own && !is_option(unit, id) && begins(unit.text(id))
            }
            "string" => state::is_key(unit, id) && begins(unit.text(id)),
            _ => false,
        }
    })
}

/// Tells whether an expression is one more, or one less.
pub(super) fn adds_number(unit: &Unit, id: Id) -> bool {
    let number =
        |side| unit.syntax.child(id, side).is_some_and(|id| matches!(unit.kind(id), "integer" | "number"));
    let sign = unit.syntax.child(id, "operator").map_or("", |sign| unit.text(sign));
    matches!(sign, "+" | "-") && (number("left") || number("right"))
}

/// Tells whether a name is that of an option which a call is given: `ask({ maxTokens: 900 })`.
fn is_option(unit: &Unit, id: Id) -> bool {
    let pair = unit.syntax[id].parent;
    let object = unit.syntax[pair].parent;
    unit.kind(pair) == "pair"
        && unit.syntax.child(pair, "key") == Some(id)
        && unit.kind(unit.syntax[object].parent) == "arguments"
}
