//! A ladder of conditions that knows every agent by name.

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
    for unit in repository.code.iter() {
        let path = repository.files[unit.file].path.to_ascii_lowercase();
        if REGISTRIES.iter().any(|word| path.contains(word)) {
            continue;
        }
        by_words(unit, report);
        for ladder in unit.syntax.of_kind(&["if_statement", "switch_statement", "match_statement"]) {
            let names: Vec<&str> =
                rungs(unit, ladder).into_iter().filter_map(|rung| agent_of(unit, rung)).collect();
            let mut distinct = names.clone();
            distinct.sort_unstable();
            distinct.dedup();
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
            let hint = "keep the agents in one table with what each can do, and look it up there";
            let span = unit.span(ladder);
            let head = unit.text(ladder).lines().next().map_or(0, str::len);
            let span = kapell_spec::finding::Span::new(span.start as usize, span.start as usize + head);
            report.add(unit.file, span, message).hint(hint).done();
        }
    }
}

/// Verbs of functions that choose.
const CHOOSES: &[&str] =
    &["route", "select", "pick", "choose", "classify", "determine", "assign", "dispatch", "decide"];

/// Functions that choose an agent by words that a text holds: `if "refund" in text: return "billing"`.
fn by_words(unit: &Unit, report: &mut Report<'_>) {
    for function in unit.syntax.of_kind(FUNCTIONS) {
        let name =
            unit.syntax.child(function, "name").map_or("", |name| unit.text(name)).to_ascii_lowercase();
        let chooses = CHOOSES.iter().any(|verb| name.contains(verb));
        let of_agents = name.contains("agent") || name.contains("specialist") || name.starts_with("route");
        if !chooses || !of_agents {
            continue;
        }
        let rungs: Vec<Id> = unit
            .syntax
            .below(function)
            .filter(|&id| matches!(unit.kind(id), "if_statement" | "elif_clause"))
            .filter(|&id| holds_words(unit, id) && names_one(unit, id))
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
    }
}

/// Tells whether a condition asks for words in a text: `"x" in text`, `text.includes("x")`, a test of an expression.
fn holds_words(unit: &Unit, rung: Id) -> bool {
    let Some(condition) = unit.syntax.child(rung, "condition") else { return false };
    let text = unit.text(condition);
    let parts = || std::iter::once(condition).chain(unit.syntax.below(condition));
    let told = parts().any(|id| unit.kind(id) == "string");
    let asks = text.contains(".includes(") || text.contains(" in ") && unit.language == Language::Python;
    // One value out of several is a comparison: `kind in ("a", "b")`.
    let listed = text.contains(" in (") || text.contains(" in [") && !text.contains("any(");
    told && asks && !listed
}

/// Tells whether a rung gives back, or sets, a name that stands there as a text.
fn names_one(unit: &Unit, rung: Id) -> bool {
    let Some(body) = unit.syntax.child(rung, "consequence") else { return false };
    unit.syntax.below(body).any(|id| {
        let value = match unit.kind(id) {
            "return_statement" => unit.syntax.children(id).nth(1),
            "assignment" | "assignment_expression" => unit.syntax.child(id, "right"),
            _ => None,
        };
        value.is_some_and(|value| matches!(unit.kind(value), "string" | "attribute" | "member_expression"))
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
            cases.filter(|&case| told(syntax.child(case, "value"))).collect()
        }
        "match_statement" => {
            let cases = syntax.below(ladder).filter(|&id| unit.kind(id) == "case_clause");
            let pattern = |case: Id| syntax.children(case).find(|&id| unit.kind(id) == "case_pattern");
            cases
                .filter(|&case| told(pattern(case)))
                .filter_map(|case| syntax.child(case, "consequence"))
                .collect()
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
                    next = next.or(syntax.children(alternative).find(|&id| unit.kind(id) == "if_statement"));
                }
                next = next.filter(|_| unit.kind(ladder) == "if_statement");
            }
            rungs
        }
    }
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
