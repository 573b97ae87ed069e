//! A ladder of conditions that knows every agent by name.

mod constants;
mod registry;
mod spelled;

use std::collections::BTreeSet;

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{Id, Language, Unit, service, unit::FUNCTIONS},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/hardcoded-agent-selection.md`.
pub(super) static RULE: Rule = Rule {
    name: "hardcoded-agent-selection",
    summary: "code that picks agents by a ladder of conditions instead of from a registry",
    group: Group::Code,
    anti_pattern: Some(AntiPattern::Hardcoded),
    focus: Focus::Conflicts,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/hardcoded-agent-selection.md"),
    check,
};

/// How many rungs make a ladder: two are a choice that anybody reads at a glance.
const RUNGS: usize = 3;

/// Where names of agents belong.
const REGISTRIES: &[&str] = &["registry", "factory", "register", "config", "builder"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let known = registry::known(repository);
    spelled::tell(repository, report);
    registry::not_listed(repository, report);
    constants::beside(repository, report);
    for unit in repository.code.iter() {
        let path = repository.files[unit.file].path.to_ascii_lowercase();
        if REGISTRIES.iter().any(|word| path.contains(word)) {
            continue;
        }
        let mut told = by_words(unit, report);
        for ladder in unit.syntax.of_kind(&["if_statement", "switch_statement", "match_statement"]) {
            let bodies = rungs(unit, ladder);
            let picked: Vec<&str> = bodies.iter().filter_map(|&rung| agent_of(unit, rung)).collect();
            let given: Vec<&str> = bodies.iter().filter_map(|&rung| assigned(unit, rung)).collect();
            let mut names = if distinct(&picked).len() < RUNGS { given } else { picked };
            if distinct(&names).len() < RUNGS {
                names = bodies.iter().filter_map(|&rung| asked(unit, rung)).collect();
            }
            let distinct = distinct(&names);
            let place = service::place_name(unit, ladder);
            let registry = REGISTRIES.iter().any(|word| place.to_ascii_lowercase().contains(word));
            if distinct.len() < RUNGS || registry {
                continue;
            }
            let message = format!(
                "agents are picked{place} by {} conditions that name them: {}",
                names.len(),
                names.iter().take(4).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            );
            if told.contains(&unit.function_of(ladder)) {
                continue;
            }
            told.push(unit.function_of(ladder));
            let hint = "keep the agents in one table with what each can do, and look it up there";
            let span = unit.span(ladder);
            let head = unit.text(ladder).lines().next().map_or(0, str::len);
            let span = kapell_spec::finding::Span::new(span.start as usize, span.start as usize + head);
            report.add(unit.file, span, message).hint(hint).done();
        }
        by_names(unit, &told, report);
        by_known(unit, &known, &told, report);
        by_ternaries(unit, report);
    }
}

/// Returns the different ones.
fn distinct<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}

/// What people call the variable that holds the agent that was picked.
const HOLDERS: &[&str] = &["agent", "agentname", "agent_name", "subagent", "subagent_type", "specialist"];

/// Returns what a rung sets such a variable to: a name, or an object that is named.
fn assigned(unit: &Unit, rung: Id) -> Option<&str> {
    let crew = || unit.whole().contains("crewai");
    with_below(unit, rung).find_map(|id| {
        if !matches!(unit.kind(id), "assignment" | "assignment_expression") {
            return None;
        }
        let (left, right) = (unit.syntax.child(id, "left")?, unit.syntax.child(id, "right")?);
        let name = unit.text(left).to_ascii_lowercase();
        let holds = HOLDERS.contains(&&*name) || name == "worker" && crew();
        let named = match unit.kind(right) {
            "string" => is_name(unit.text(right)),
            kind => matches!(kind, "attribute" | "member_expression"),
        };
        (holds && named).then(|| unit.text(right).trim_matches(['"', '\'']))
    })
}

/// Returns the name that a rung hands to what runs any agent: `run_agent("billing", text)`.
fn asked(unit: &Unit, rung: Id) -> Option<&str> {
    unit.calls_in(rung).find_map(|call| {
        let runs = unit.callee_name(call).to_ascii_lowercase().ends_with("agent");
        let first = unit.args(call).first().filter(|_| runs).map(|arg| arg.value)?;
        let named = unit.kind(first) == "string" && is_name(unit.text(first));
        named.then(|| unit.text(first).trim_matches(['"', '\'']))
    })
}

/// Tells whether a text is a name and no sentence.
fn is_name(text: &str) -> bool {
    let text = text.trim_matches(['"', '\'']);
    text.len() > 2 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

fn with_below(unit: &Unit, id: Id) -> impl Iterator<Item = Id> + '_ {
    std::iter::once(id).chain(unit.syntax.below(id))
}

/// Functions that are named for finding an agent, and give back one of several names: `agent_for(task)`.
fn by_names(unit: &Unit, told: &[Id], report: &mut Report<'_>) {
    for function in unit.syntax.of_kind(FUNCTIONS).filter(|function| !told.contains(function)) {
        let child = |field| unit.syntax.child(function, field).map_or("", |id| unit.text(id));
        let name = child("name").to_ascii_lowercase();
        let finds =
            CHOOSES.iter().any(|verb| name.contains(verb)) || name.contains("for") || name.ends_with("agent");
        // What a graph's state says comes from an agent's own choice.
        if !finds
            || !(name.contains("agent") || name.contains("specialist"))
            || child("parameters").contains("state")
        {
            continue;
        }
        let inner = |id: Id| unit.function_of(id) == function;
        let named: Vec<(Id, &str)> = unit
            .syntax
            .below(function)
            .filter(|&id| {
                matches!(unit.kind(id), "if_statement" | "elif_clause" | "switch_case" | "case_clause")
                    && inner(id)
            })
            .filter_map(|id| Some((id, returned(unit, id)?)))
            .collect();
        let names: Vec<&str> = named.iter().map(|(_, name)| *name).collect();
        let Some(&(first, _)) = named.first().filter(|_| distinct(&names).len() >= RUNGS) else { continue };
        // A switch is told at its head.
        let head = unit
            .syntax
            .around(first)
            .find(|&id| matches!(unit.kind(id), "switch_statement" | "match_statement"));
        tell_low(unit, head.filter(|&id| inner(id)).unwrap_or(first), &names, report);
    }
}

/// Functions that give back one of three agents or more which the repository defines, whatever they are called themselves.
fn by_known(unit: &Unit, known: &BTreeSet<&str>, told: &[Id], report: &mut Report<'_>) {
    if known.len() < RUNGS {
        return;
    }
    for function in unit.syntax.of_kind(FUNCTIONS).filter(|function| !told.contains(function)) {
        let name =
            unit.syntax.child(function, "name").map_or("", |name| unit.text(name)).to_ascii_lowercase();
        let told_by_name = name.contains("agent") || name.contains("specialist");
        let inner = |id: &Id| unit.function_of(*id) == function;
        let below = || unit.syntax.below(function).filter(inner);
        let given = below().filter(|&id| unit.kind(id) == "return_statement").filter_map(|id| {
            let value = unit.syntax.children(id).nth(1).filter(|&value| unit.kind(value) == "string")?;
            Some(unit.text(value).trim_matches(['"', '\'']))
        });
        let names: Vec<&str> = given.filter(|name| known.contains(name)).collect();
        let first = below().find(|&id| unit.kind(id) == "if_statement");
        if let Some(first) = first.filter(|_| !told_by_name && distinct(&names).len() >= RUNGS) {
            tell_low(unit, first, &names, report);
        }
    }
}

fn tell_low(unit: &Unit, at: Id, names: &[&str], report: &mut Report<'_>) {
    let message = format!(
        "agents are picked{} by {} conditions that name them: {}",
        service::place_name(unit, at),
        names.len(),
        names.iter().take(4).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    );
    let (start, head) = (unit.span(at).start as usize, unit.text(at).lines().next().map_or(0, str::len));
    report
        .add(unit.file, kapell_spec::finding::Span::new(start, start + head), message)
        .severity(Severity::Low)
        .hint("keep the agents in one table with what each can do, and look it up there")
        .done();
}

/// Returns the name that a rung gives back, where its condition holds a text or a pattern.
fn returned(unit: &Unit, rung: Id) -> Option<&str> {
    let told = |id: Id| with_below(unit, id).any(|id| matches!(unit.kind(id), "string" | "regex"));
    let child = |field| unit.syntax.child(rung, field);
    let body = match unit.kind(rung) {
        "switch_case" => child("value").filter(|&value| told(value)).map(|_| rung),
        "case_clause" => {
            let pattern = unit.syntax.children(rung).find(|&id| unit.kind(id) == "case_pattern");
            child("consequence").filter(|_| pattern.is_some_and(told))
        }
        _ => child("consequence").filter(|_| child("condition").is_some_and(told)),
    }?;
    let given = with_below(unit, body).find(|&id| unit.kind(id) == "return_statement")?;
    let value = unit.syntax.children(given).nth(1).filter(|&value| unit.kind(value) == "string")?;
    is_name(unit.text(value)).then(|| unit.text(value).trim_matches(['"', '\'']))
}

/// A chain of `a ? x : b ? y : z` over names of agents.
fn by_ternaries(unit: &Unit, report: &mut Report<'_>) {
    for chain in unit.syntax.of_kind(&["ternary_expression", "conditional_expression"]) {
        let part = |id: Id| matches!(unit.kind(id), "ternary_expression" | "conditional_expression");
        if part(unit.syntax[chain].parent) {
            continue;
        }
        let names: Vec<&str> = unit
            .syntax
            .below(chain)
            .filter(|&id| unit.kind(id) == "string" && part(unit.syntax[id].parent))
            .map(|id| unit.text(id).trim_matches(['"', '\'']))
            .filter(|name| is_name(name) && name.to_ascii_lowercase().ends_with("agent") && name.len() > 5)
            .collect();
        if distinct(&names).len() >= RUNGS {
            tell_low(unit, chain, &names, report);
        }
    }
}

/// Verbs of functions that choose.
const CHOOSES: &[&str] = &[
    "route",
    "select",
    "pick",
    "choose",
    "classify",
    "determine",
    "assign",
    "dispatch",
    "decide",
    "handoff",
    "hand_off",
    "supervis",
    "triage",
];

/// Functions that choose an agent by words that a text holds: `if "refund" in text: return "billing"`.
/// Returns those that were told.
fn by_words(unit: &Unit, report: &mut Report<'_>) -> Vec<Id> {
    let mut told = Vec::new();
    for function in unit.syntax.of_kind(FUNCTIONS) {
        let name =
            unit.syntax.child(function, "name").map_or("", |name| unit.text(name)).to_ascii_lowercase();
        let chooses = CHOOSES.iter().any(|verb| name.contains(verb));
        let of_agents = name.contains("agent") || name.contains("specialist") || name.starts_with("route");
        if !chooses {
            continue;
        }
        let rungs: Vec<Id> = unit
            .syntax
            .below(function)
            .filter(|&id| matches!(unit.kind(id), "if_statement" | "elif_clause"))
            .filter(|&id| holds_words(unit, id) && names_one(unit, id, of_agents))
            .collect();
        let Some((&first, others)) = rungs.split_first().filter(|(_, others)| others.len() + 1 >= RUNGS)
        else {
            continue;
        };
        let message = format!(
            "agents are picked{} by {} lists of words that a text may hold",
            service::place_name(unit, first),
            others.len() + 1
        );
        let head = unit.text(first).lines().next().map_or(0, str::len);
        let start = unit.span(first).start as usize;
        report
            .add(unit.file, kapell_spec::finding::Span::new(start, start + head), message)
            .severity(Severity::Low)
            .hint("keep the agents in one table with what each can do, and let a model or that table choose")
            .done();
        told.push(function);
    }
    told
}

/// Tells whether a condition asks for words in a text: `"x" in text`, `text.includes("x")`, a test of an expression.
fn holds_words(unit: &Unit, rung: Id) -> bool {
    let Some(condition) = unit.syntax.child(rung, "condition") else { return false };
    let text = unit.text(condition);
    let parts = || std::iter::once(condition).chain(unit.syntax.below(condition));
    let told = parts().any(|id| unit.kind(id) == "string");
    // Names that are given back as texts are told with those names.
    let matched = [".test(", ".match(", "re.search(", "re.match("].iter().any(|word| text.contains(word))
        && returned(unit, rung).is_none();
    let told = told || parts().any(|id| unit.kind(id) == "regex");
    let asks =
        matched || text.contains(".includes(") || text.contains(" in ") && unit.language == Language::Python;
    // One value out of several is a comparison: `kind in ("a", "b")`.
    let listed = text.contains(" in (") || text.contains(" in [") && !text.contains("any(");
    told && asks && !listed
}

/// Tells whether a rung gives back, or sets, a name that stands there as a text, or an object that is called an agent. What
/// no name of its function says to be one has to say so itself.
fn names_one(unit: &Unit, rung: Id, of_agents: bool) -> bool {
    let Some(body) = unit.syntax.child(rung, "consequence") else { return false };
    with_below(unit, body).any(|id| {
        let value = match unit.kind(id) {
            "return_statement" => unit.syntax.children(id).nth(1),
            "assignment" | "assignment_expression" => unit.syntax.child(id, "right"),
            _ => None,
        };
        value.is_some_and(|value| match unit.kind(value) {
            "string" | "attribute" | "member_expression" => of_agents,
            "identifier" => unit.text(value).to_ascii_lowercase().ends_with("agent"),
            // A graph goes on with the node of that name: `Command(goto="coder")`.
            "call" | "new_expression" => {
                unit.keyword(value, "goto").is_some_and(|node| unit.kind(node) == "string")
            }
            _ => false,
        })
    })
}

/// Returns the bodies of a ladder whose conditions hold a text; nothing for a rung of another ladder.
fn rungs(unit: &Unit, ladder: Id) -> Vec<Id> {
    let syntax = &unit.syntax;
    let told = |condition: Option<Id>| {
        condition.is_some_and(|condition| {
            std::iter::once(condition).chain(syntax.below(condition)).any(|id| unit.kind(id) == "string")
        })
    };
    match unit.kind(ladder) {
        "switch_statement" => {
            let cases = syntax.below(ladder).filter(|&id| unit.kind(id) == "switch_case");
            let cases: Vec<Id> = cases.filter(|&case| told(syntax.child(case, "value"))).collect();
            let mut rest = syntax.below(ladder).filter(|&id| unit.kind(id) == "switch_default");
            with_rest(cases, rest.next())
        }
        "match_statement" => {
            let cases = syntax.below(ladder).filter(|&id| unit.kind(id) == "case_clause");
            let pattern = |case: Id| syntax.children(case).find(|&id| unit.kind(id) == "case_pattern");
            let (named, others): (Vec<Id>, Vec<Id>) = cases.partition(|&case| told(pattern(case)));
            let any = |case: &Id| pattern(*case).is_some_and(|pattern| unit.text(pattern) == "_");
            let body = |case: Id| syntax.child(case, "consequence");
            with_rest(
                named.into_iter().filter_map(body).collect(),
                others.into_iter().find(any).and_then(body),
            )
        }
        _ if unit.kind(syntax[ladder].parent) == "else_clause" => Vec::new(),
        _ => {
            let mut rungs = Vec::new();
            let mut next = Some(ladder);
            while let Some(at) = next {
                let body = syntax.child(at, "consequence").filter(|_| told(syntax.child(at, "condition")));
                rungs.extend(body);
                let alternatives = syntax.children(at).filter(|&child| syntax[child].field == "alternative");
                next = None;
                for alternative in alternatives {
                    if unit.kind(alternative) == "elif_clause" {
                        let body = syntax.child(alternative, "consequence");
                        rungs.extend(body.filter(|_| told(syntax.child(alternative, "condition"))));
                    }
                    // What is left for everything else is the last of them.
                    if unit.kind(alternative) == "else_clause" && rungs.len() > 1 {
                        let body = syntax.child(alternative, "body").or_else(|| {
                            syntax.children(alternative).find(|&id| unit.kind(id) == "statement_block")
                        });
                        rungs.extend(body);
                    }
                    next = next.or(syntax.children(alternative).find(|&id| unit.kind(id) == "if_statement"));
                }
                next = next.filter(|_| unit.kind(ladder) == "if_statement");
            }
            rungs
        }
    }
}

/// Adds what is left for everything else, where others come before it.
fn with_rest(mut rungs: Vec<Id>, rest: Option<Id>) -> Vec<Id> {
    let several = rungs.len() > 1;
    rungs.extend(rest.filter(|_| several));
    rungs
}

/// Finds the agent that a rung picks: a text or a class that is named for one, directly in its body.
fn agent_of(unit: &Unit, rung: Id) -> Option<&str> {
    unit.syntax.below(rung).find_map(|id| match unit.kind(id) {
        "string" => {
            let text = unit.text(id).trim_matches(['"', '\'']);
            let kebab =
                text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
            let named = text.ends_with("agent") && text.len() > "-agent".len();
            (kebab && named).then_some(text)
        }
        "identifier" => {
            let text = unit.text(id);
            let class = text.starts_with(|c: char| c.is_ascii_uppercase()) && text.ends_with("Agent");
            let function =
                text.ends_with("_agent") || (text.ends_with("Agent") && text.len() > "Agent".len() + 3);
            let verb = ["run", "get", "call", "create", "select", "invoke"];
            let generic = verb.iter().any(|verb| {
                text.to_ascii_lowercase().trim_end_matches("agent").trim_end_matches('_') == *verb
            });
            // In a variable there is whatever was chosen before.
            let known = class || unit.imported(text) || unit.function(text).is_some();
            ((class || function) && known && !generic && text != "Agent").then_some(text)
        }
        _ => None,
    })
}
