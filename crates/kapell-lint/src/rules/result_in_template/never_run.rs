//! Tests of which a command says that they passed, and that nothing runs.

use kapell_spec::{finding::Span, line};
use kapell_view::audit::{AssetKind, Severity};

use super::is_open;
use crate::{
    agents::Asset,
    packages::{self, Package},
    repository::Repository,
    rule::Report,
};

/// How a line says that tests have passed, in small letters.
const CLAIMS: &[&str] =
    &["all tests pass", "tests passed", "tests pass:", "tests: pass", "tests are green", "tests green"];

/// Words of a line above what is put out as it stands.
const EXACTLY: &[&str] = &[
    "output exactly",
    "print exactly",
    "say exactly",
    "reply exactly",
    "answer exactly",
    "report exactly",
    "exactly this",
    "verbatim",
    "word for word",
];

/// Words of who may run tests, though no word says so.
const MAY_RUN: &[&str] = &[
    "check", "verif", "suite", "green", "spec", "make ", "just ", "validat", "qa", " ci", "coverage",
    "build", "lint",
];

/// Scripts that npm runs by itself.
///
/// Source: npm, "scripts": `npm publish` runs `prepublishOnly` and `prepack`, `npm version` runs `preversion` and `version`.
const BY_ITSELF: &[&str] =
    &["prepublish", "prepublishOnly", "prepack", "prepare", "preversion", "version", "prerelease"];

/// Words of what such a script runs where it may be tests.
const TESTS: &[&str] = &["test", "check", "verif", "valid", " ci", "all", "qa", "release"];

/// Tells of commands that have a line put out as it stands which says that tests passed, though no step, and no agent that they
/// name, speaks of tests.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let kinds = [AssetKind::Command, AssetKind::Skill];
    for asset in repository.asked().filter(|asset| asset.is_read() && kinds.contains(&asset.kind)) {
        let file = &repository.files[asset.file];
        if !CLAIMS.iter().any(|claim| file.lower().contains(claim)) {
            continue;
        }
        let Some((span, block)) = claimed(asset, &file.text) else { continue };
        if speaks_of_tests(repository, asset, file.lower(), block) || runs_by_itself(repository) {
            continue;
        }
        let line = file.text[span.range()].trim();
        let message =
            format!("`{line}` is put out as it stands, and nothing that this command does runs a test");
        report
            .add(asset.file, span, message)
            .severity(Severity::High)
            .hint("run the tests in a step before, and stop where they fail")
            .done();
    }
}

/// Finds the line of a quote or block, put out as it stands, which says that tests passed, and the span of the block.
fn claimed(asset: &Asset, text: &str) -> Option<(Span, Span)> {
    let body = asset.definition.body as usize;
    let mut at = body;
    // Where the quote or block around the line begins, and whether what stands above has it put out as it is.
    let mut block: Option<(usize, bool)> = None;
    let mut above = "";
    let mut found: Option<(Span, usize)> = None;
    for line in text.get(body..)?.split_inclusive('\n') {
        let (start, plain) = (at, line.trim());
        at += line.len();
        let quoted = plain.starts_with('>')
            || asset.definition.document.fence_at(u32::try_from(start).ok()?).is_some();
        if !quoted {
            if let Some((span, from)) = found {
                return Some((span, Span::new(from, start)));
            }
            block = None;
            if !plain.is_empty() {
                above = plain;
            }
            continue;
        }
        let lead = above.to_ascii_lowercase();
        let (from, exact) =
            *block.get_or_insert_with(|| (start, EXACTLY.iter().any(|word| lead.contains(word))));
        let said = plain.trim_start_matches(['>', ' ']);
        let lower = said.to_ascii_lowercase();
        let claims =
            CLAIMS.iter().any(|claim| lower.contains(claim)) && !is_open(said) && !lower.contains("if ");
        if exact && claims && found.is_none() {
            let begin = line::offset(text, said);
            found = Some((Span::new(begin, begin + said.len()), from));
        }
    }
    found.map(|(span, from)| (span, Span::new(from, text.len())))
}

/// Tells whether a command, but for a block of it, or an agent that it names, speaks of tests or of what may run them.
fn speaks_of_tests(repository: &Repository, asset: &Asset, lower: &str, block: Span) -> bool {
    let tests = |text: &str| {
        text.split(|c: char| !c.is_alphanumeric()).any(|word| word.contains("test") && word != "latest")
    };
    let rest =
        [lower.get(..block.start as usize), lower.get(block.end as usize..)].map(Option::unwrap_or_default);
    if rest.iter().any(|text| tests(text) || MAY_RUN.iter().any(|word| text.contains(word))) {
        return true;
    }
    let others = repository.agents.iter().filter(|(_, other)| other.file != asset.file && other.is_read());
    let mut named =
        others.filter(|(_, other)| rest.iter().any(|text| text.contains(&*other.name.to_ascii_lowercase())));
    named.any(|(_, other)| tests(repository.files[other.file].lower()))
}

/// Tells whether something runs by itself when a command publishes or pushes: a script of npm, a hook of git or of Claude Code.
fn runs_by_itself(repository: &Repository) -> bool {
    repository.files.iter().any(|(_, file)| match file.name() {
        packages::MANIFEST => {
            Package::of(file).is_none_or(|package| BY_ITSELF.iter().any(|script| may_test(&package, script)))
        }
        "settings.json" | "settings.local.json" | "hooks.json" => file.text.contains("test"),
        "pre-push" | "pre-commit" | ".pre-commit-config.yaml" | "lefthook.yml" => true,
        _ => false,
    })
}

/// Tells whether a package has a script that may run tests.
fn may_test(package: &Package, script: &str) -> bool {
    package.script(script).is_some_and(|run| TESTS.iter().any(|word| run.contains(word)))
}
