//! `masked-check`: a command publishes if its checks succeed, and they cannot fail.

use kapell_spec::{finding::Span, line};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::Asset,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    rules::{hook_fan_out, result_in_template},
};

/// See `docs/rules/masked-check.md`.
pub(super) static RULE: Rule = Rule {
    name: "masked-check",
    summary: "a command publishes if its checks succeed, and they cannot fail",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    // What a sentence asks for is a matter of reading.
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/masked-check.md"),
    check,
};

/// Ends of a command that succeed whatever it did.
const MASKS: &[&str] = &["|| true", "|| :", "|| exit 0", "; true"];

/// Words with which a sentence asks whether all went well.
const WELL: &[&str] = &["succeed", "pass", "are green", "is green", "all green"];

/// Words of all that was done before, of which it asks that.
const BEFORE: &[&str] = &["above", "step", "command", "check", "everything", "all "];

/// Words of commands that look for faults.
const CHECKS: &[&str] = &["lint", "test", "tsc", "mypy", "e2e"];

/// Commands that give something away which is hard to take back.
const PUBLISHES: &[&str] = &[
    "npm publish",
    "pnpm publish",
    "yarn npm publish",
    "cargo publish",
    "twine upload",
    "uv publish",
    "poetry publish",
    "gem push",
    "docker push",
    "gh release create",
    "gh pr merge",
    "git push",
    "kubectl apply",
    "helm upgrade",
    "terraform apply",
    "fly deploy",
    "vercel --prod",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let kinds = [AssetKind::Command, AssetKind::Skill];
    for (_, asset) in
        repository.agents.iter().filter(|(_, asset)| asset.is_read() && kinds.contains(&asset.kind))
    {
        of(repository, asset, report);
    }
}

fn of(repository: &Repository, asset: &Asset, report: &mut Report<'_>) {
    let file = &repository.files[asset.file];
    let (text, lower) = (&*file.text, file.lower());
    if lower.len() != text.len() || !MASKS.iter().any(|mask| lower.contains(mask)) {
        return;
    }
    let all = checks(asset, lower);
    let is_masked = |span: &&Span| MASKS.iter().any(|mask| lower[span.range()].ends_with(mask));
    let masked: Vec<Span> = all.iter().filter(is_masked).copied().collect();
    let Some(last) = masked.last() else { return };
    let said: Vec<&str> = masked.iter().map(|span| &lower[span.range()]).collect();
    // A report that says that they passed counts on it as well.
    let reported = || result_in_template::first_said(asset, text).filter(|line| line.start > last.end);
    let asked = relies(lower, last.end as usize, &said);
    let Some(relied) = asked.or_else(reported) else { return };
    // A check that can fail decides as well.
    let fails = |span: &&Span| span.start > last.end && span.end < relied.start && !is_masked(span);
    if all.iter().any(|span| fails(&span)) {
        return;
    }
    let Some((first, rest)) = masked.split_first() else { return };
    let (what, where_to) = match asked {
        Some(_) => ("what is published next counts on it", "asks here whether they succeeded"),
        None => ("the report says that all went well", "says here that they succeeded"),
    };
    let message = format!("`{}` cannot fail, and {what}", &text[first.range()]);
    let mut draft =
        report.add(asset.file, *first, message).hint("let it fail: drop what stands behind the command");
    for span in rest {
        draft = draft.also(asset.file, *span, "nor can this one");
    }
    draft.also(asset.file, relied, where_to).done();
}

/// Finds the checks that are told to run, in marks and in blocks of a shell: suites, builds that are masked, and what is called
/// a check.
fn checks(asset: &Asset, lower: &str) -> Vec<Span> {
    let document = &asset.definition.document;
    let mut at = 0;
    let mut found = Vec::new();
    for line in lower.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let denied = ["never", "not ", "n't", "avoid", "instead", "#"].iter().any(|word| line.contains(word));
        if start < asset.definition.body as usize || denied {
            continue;
        }
        let fenced = u32::try_from(start).is_ok_and(|start| document.fence_at(start).is_some());
        let parts: Vec<&str> =
            if fenced { vec![line.trim()] } else { line.split('`').skip(1).step_by(2).collect() };
        for part in parts.into_iter().map(str::trim) {
            let masked = MASKS.iter().any(|mask| part.ends_with(mask));
            let suite = hook_fan_out::SUITES.iter().any(|suite| hook_fan_out::starts(part, suite));
            let named = CHECKS.iter().any(|word| part.contains(word));
            let runs = suite && !part.contains("build") || named && part.contains(' ');
            if masked && (suite || named) || runs {
                let from = start + line::offset(line, part);
                found.push(Span::new(from, from + part.len()));
            }
        }
    }
    found
}

/// Finds where a sentence behind asks whether all that was done succeeded, or one of these commands, before something is
/// published.
fn relies(lower: &str, behind: usize, said: &[&str]) -> Option<Span> {
    let rest = lower.get(behind..)?;
    let (at, sentence) = rest.match_indices("if ").find_map(|(at, _)| {
        let sentence = rest[at..].split(['.', '\n', ',']).next().unwrap_or_default();
        let whole = at == 0 || !rest[..at].ends_with(char::is_alphanumeric);
        let well = WELL.iter().any(|word| sentence.contains(word));
        let named = |word: &&str| sentence.contains(*word) && said.iter().any(|own| own.contains(*word));
        let before = BEFORE.iter().any(|word| sentence.contains(word)) || CHECKS.iter().any(named);
        let other = ["not ", "n't", "output", "exit code", "log"].iter().any(|word| sentence.contains(word));
        (whole && well && before && !other).then_some((at, sentence))
    })?;
    let publishes = PUBLISHES.iter().any(|command| rest[at..].contains(&format!("`{command}")))
        || PUBLISHES
            .iter()
            .any(|command| rest[at..].lines().any(|line| line.trim_start().starts_with(command)));
    publishes.then(|| Span::new(behind + at, behind + at + sentence.len()))
}
