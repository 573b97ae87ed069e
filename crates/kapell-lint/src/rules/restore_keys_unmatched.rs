//! The fallback keys of a cache fit no key that is ever saved.

use kapell_core::expr::{Piece, Template};
use kapell_spec::github::{Job, Step, Text};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::Flow,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/restore-keys-unmatched.md`.
pub(super) static RULE: Rule = Rule {
    name: "restore-keys-unmatched",
    summary: "The fallback keys of a cache fit no key that is ever saved",
    group: Group::Cache,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/restore-keys-unmatched.md"),
    check,
};

/// Actions that save or restore a cache under a key of the workflow's own.
const CACHES: &[&str] = &["actions/cache", "actions/cache/save", "actions/cache/restore"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let github = &repository.github;
    let of_flows = github.flows.iter().flat_map(|flow| &flow.model.jobs).flat_map(|job| &job.steps);
    let of_actions = github.actions.values().flat_map(|action| &action.model.steps);
    let saved: Vec<Vec<Token>> = of_flows
        .chain(of_actions)
        .filter(|step| CACHES.iter().any(|name| step.is(name)))
        .filter_map(|step| tokens(&step.input("key")?.text))
        .collect();
    for flow in &github.flows {
        for (_, job) in flow.jobs() {
            for step in &job.steps {
                if never_saved(flow, job, step, &saved, report) {
                    continue;
                }
                let Some((fallback, first)) = unmatched(step, &saved) else { continue };
                let key = step.input("key").map_or("", |key| key.text.trim());
                report
                    .add(
                        flow.file,
                        fallback.span,
                        format!("no cache is ever saved under a key that starts with `{first}`, so this restores nothing"),
                    )
                    .hint(format!("take the start of the key `{key}`"))
                    .done();
            }
        }
    }
}

/// A cache is restored under a key with another start than the one under which the same files are saved later in the job.
fn never_saved(flow: &Flow, job: &Job, step: &Step, all: &[Vec<Token>], report: &mut Report<'_>) -> bool {
    let restore = "actions/cache/restore";
    let (Some(key), Some(path)) = (step.input("key"), step.input("path")) else { return false };
    if !step.is(restore) {
        return false;
    }
    let same = |other: &&Step| {
        let files = other.input("path").is_some_and(|other| other.text.trim() == path.text.trim());
        other.is("actions/cache/save") && other.span.start > step.span.start && files
    };
    let Some(save) = job.steps.iter().find(same).and_then(|save| save.input("key")) else { return false };
    let Some(wanted) = tokens(&key.text) else { return false };
    let fallback = step.input("restore-keys").map_or("", |keys| &*keys.text);
    let fallback = fallback.lines().map(str::trim).filter(|line| !line.is_empty());
    let Some(fallback) = fallback.map(tokens).collect::<Option<Vec<_>>>() else { return false };
    let restores =
        |key: &[Token]| may_start(key, &wanted) || fallback.iter().any(|start| may_start(key, start));
    // `${{ steps.restore.outputs.cache-primary-key }}` is the key itself.
    let start =
        |tokens: &[Token]| tokens.iter().take_while(|token| matches!(token, Token::Letter(_))).count();
    let known = tokens(&save.text).is_some_and(|saved| start(&saved) > 0 && !restores(&saved));
    // Another job may save it; the key of the step itself is one of all.
    let others = all.iter().filter(|other| restores(other)).count();
    if !known || start(&wanted) == 0 || others > 1 {
        return false;
    }
    report
        .add(
            flow.file,
            key.span,
            format!(
                "no cache is ever saved under the key `{}`: what is saved of it has another start",
                key.text.trim()
            ),
        )
        .also(flow.file, save.span, "saved under this key")
        .hint("restore and save under the same key")
        .done();
    true
}

/// Returns the fallback keys of a step of which none can be the start of a key that is saved, and the first of them.
fn unmatched<'a>(step: &'a Step, saved: &[Vec<Token>]) -> Option<(&'a Text, &'a str)> {
    if !CACHES.iter().any(|name| step.is(name)) {
        return None;
    }
    let fallback = step.input("restore-keys")?;
    let lines: Vec<&str> = fallback.text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // A list written into one line is another mistake.
    let starts: Option<Vec<Vec<Token>>> = lines.iter().map(|line| tokens(line)).collect();
    let may_fit = |start: &Vec<Token>| saved.iter().any(|key| may_start(key, start));
    (!lines.is_empty() && !starts?.iter().any(may_fit)).then(|| (fallback, lines[0]))
}

/// A letter of a key, or an expression in it.
#[derive(Debug, PartialEq)]
enum Token {
    Letter(char),
    Expression(String),
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let template = Template::parse(text.trim()).ok()?;
    let mut found = Vec::new();
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => found.extend(text.chars().map(Token::Letter)),
            Piece::Expr(placeholder) => {
                let source = placeholder.expr.source();
                found.push(Token::Expression(
                    source.split_whitespace().collect::<String>().to_ascii_lowercase(),
                ));
            }
        }
    }
    Some(found)
}

/// Tells whether a key may start so. Where two expressions first differ, nobody knows.
fn may_start(key: &[Token], start: &[Token]) -> bool {
    for (at, wanted) in start.iter().enumerate() {
        match (key.get(at), wanted) {
            (Some(found), wanted) if found == wanted => {}
            (Some(Token::Letter(_)) | None, Token::Letter(_)) => return false,
            // `Linux`, `Windows`, `macOS`: no other letter is the first of them.
            (Some(Token::Expression(text)), Token::Letter(letter))
            | (Some(Token::Letter(letter)), Token::Expression(text))
                if text == "runner.os" && !"LWm".contains(*letter) =>
            {
                return false;
            }
            _ => return true,
        }
    }
    true
}
