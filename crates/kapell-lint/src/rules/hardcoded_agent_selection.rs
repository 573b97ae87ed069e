//! A ladder of conditions that knows every agent by name.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{Id, Unit, service},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// The rule.
pub static RULE: Rule = Rule {
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
