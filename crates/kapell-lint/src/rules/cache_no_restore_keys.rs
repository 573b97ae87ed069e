//! A cache of downloads is lost with every change of the lock file.

use super::cache_after_install::restored;
use kapell_spec::{finding::Span, github::Text};

use crate::files::FileId;
use crate::github::edit;
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_view::audit::{Confidence, FixClass, Severity};

/// See `docs/rules/cache-no-restore-keys.md`.
pub(super) static RULE: Rule = Rule {
    name: "cache-no-restore-keys",
    summary: "A cache of downloads is lost with every change of the lock file",
    group: Group::Cache,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Low,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/cache-no-restore-keys.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut found: Vec<Vec<Bare<'_>>> = Vec::new();
    for flow in &repository.github.flows {
        for (_, job) in flow.jobs() {
            for step in &job.steps {
                if never_again(repository, flow, job, step, report) {
                    continue;
                }
                let Some(installer) = restored(step) else { continue };
                let (Some(key), None) = (step.input("key"), step.input("restore-keys")) else { continue };
                let path = step.input("path").map_or("", |path| &path.text);
                // A partial `node_modules` or `target` is no use to an install that believes it is whole.
                // What cargo has built is judged by cargo piece by piece.
                let built = path.contains("target") && installer.name != "cargo";
                // So is an environment that an earlier lock file has filled: what it no longer names would stay.
                let filled = ["node_modules", "venv", "site-packages", "pythonLocation", "vendor/bundle"];
                let downloads = !filled.iter().any(|place| path.contains(place)) && !built;
                let (true, Some(at)) =
                    (downloads, key.text.find("${{ hashFiles(").or_else(|| key.text.find("${{hashFiles(")))
                else {
                    continue;
                };
                // A key of the wrong file is told of by itself.
                if super::cache_key_without_lock::hashes_manifest(repository, &key.text).is_some() {
                    continue;
                }
                let prefix = &key.text[..at];
                // What is saved under another start is told of by itself.
                let elsewhere = |other: &kapell_spec::github::Step| {
                    other.is("actions/cache/save")
                        && other.input("key").is_some_and(|saved| {
                            let start = saved.text.split("${{").next().unwrap_or_default();
                            let own = prefix.split("${{").next().unwrap_or_default();
                            !start.is_empty() && !saved.text.contains("cache-primary-key") && start != own
                        })
                };
                if step.is("actions/cache/restore") && job.steps.iter().any(elsewhere) {
                    continue;
                }
                // An expression in front of it may itself be the content, and a prefix of nothing fits everything.
                if prefix.trim().is_empty()
                    || key.text[at..].matches("${{").count() != key.text[at..].matches("hashFiles(").count()
                    || !key.text.trim_end().ends_with("}}")
                {
                    continue;
                }
                let whole = prefix.trim() == prefix && !prefix.contains(['#', ':', '\n']);
                let edit = with_keys(flow, step).filter(|_| whole).and_then(|keys| {
                    edit::add_after(&flow.text, &keys, "key", &[format!("restore-keys: {prefix}")])
                });
                let bare = Bare { file: flow.file, key, prefix, tool: installer.name, edit };
                // One key in several jobs is one cache.
                match found.iter_mut().find(|all| all[0].key.text == key.text) {
                    Some(all) => all.push(bare),
                    None => found.push(vec![bare]),
                }
            }
        }
    }
    for all in found {
        tell(all, report);
    }
}

/// A key without others to fall back to.
struct Bare<'a> {
    file: FileId,
    key: &'a Text,
    /// What stands in front of the hash.
    prefix: &'a str,
    tool: &'static str,
    /// What adds its start as `restore-keys`, if that can be written.
    edit: Option<(Span, String)>,
}

/// Tells of one key, wherever it stands; a fix that leaves one of its places as it was would mend nothing.
fn tell(all: Vec<Bare<'_>>, report: &mut Report<'_>) {
    let first = &all[0];
    let tool = first.tool;
    let message = format!(
        "with every change of the lock file `{tool}` starts from nothing: the cache has no `restore-keys`"
    );
    let mut draft =
        report.add(first.file, first.key.span, message).hint(format!("add `restore-keys: {}`", first.prefix));
    for other in &all[1..] {
        draft = draft.also(other.file, other.key.span, "the same key");
    }
    let edits: Option<Vec<_>> =
        all.into_iter().map(|bare| bare.edit.map(|(span, text)| (bare.file, span, text))).collect();
    match edits {
        Some(edits) => {
            draft.fix("fall back to the newest cache with the same start", FixClass::Safe, edits).done();
        }
        None => draft.done(),
    }
}

/// A key that is another one for every commit or run is never found again, but by a key that is its start.
fn never_again(
    repository: &Repository,
    flow: &crate::github::Flow,
    job: &kapell_spec::github::Job,
    step: &kapell_spec::github::Step,
    report: &mut Report<'_>,
) -> bool {
    let (Some(key), None) = (step.input("key"), step.input("restore-keys")) else { return false };
    let text = key.text.trim();
    let cells = job.matrix.is_some() && !text.contains("matrix.");
    let restores = step.is("actions/cache/restore");
    if !step.is("actions/cache") && !restores || cells || text.contains("||") {
        return false;
    }
    // A later run may be for the same commit.
    let words = ["github.run_id", "github.run_number", "github.sha"];
    let words = if restores { &words[..2] } else { &words[..] };
    let Some(word) = words.iter().find(|word| text.contains(**word)) else { return false };
    let saved_behind = match restores.then(|| saved_behind(job, step, text)) {
        Some(None) => return false,
        Some(Some(saved)) => saved,
        None => 0,
    };
    // The cells of a matrix, other jobs and other workflows may hand it on within one run, or for one commit.
    let flows = repository.github.with_steps();
    let finder = memchr::memmem::Finder::new(text);
    let found = flows.map(|flow| finder.find_iter(flow.text.as_bytes()).count()).sum::<usize>();
    let starts = text.split("${{").next().unwrap_or_default();
    let looked_up =
        repository.github.with_steps().flat_map(|flow| &flow.model.jobs).flat_map(|job| &job.steps);
    let looked_up = looked_up
        .filter_map(|step| step.input("restore-keys"))
        .any(|keys| keys.text.lines().any(|line| !starts.is_empty() && line.trim().starts_with(starts)));
    if found != 1 + saved_behind || looked_up {
        return false;
    }
    report
        .add(
            flow.file,
            key.span,
            format!("`{word}` makes this key another one each time, and without `restore-keys` what is saved is never restored"),
        )
        .severity(Severity::Medium)
        .hint("add the start of the key as `restore-keys`, or hash what the content depends on")
        .done();
    true
}

/// Returns how many steps of a job save what another one restores by the same key; `None` if none does, or one in front of it.
fn saved_behind(
    job: &kapell_spec::github::Job,
    step: &kapell_spec::github::Step,
    key: &str,
) -> Option<usize> {
    let at = job.steps.iter().position(|other| std::ptr::eq(other, step))?;
    let saves = |other: &&kapell_spec::github::Step| {
        other.is("actions/cache/save") && other.input("key").is_some_and(|own| own.text.trim() == key)
    };
    let behind = job.steps[at..].iter().filter(saves).count();
    (behind > 0 && !job.steps[..at].iter().any(|other| saves(&other))).then_some(behind)
}

/// Returns the entries of `with` as keys.
fn with_keys(
    flow: &crate::github::Flow,
    step: &kapell_spec::github::Step,
) -> Option<kapell_spec::github::Keys> {
    let entry = step.keys.get("with")?;
    let entries: Vec<kapell_spec::github::Key> = step
        .with
        .iter()
        .map(|(name, value)| kapell_spec::github::Key {
            name: name.text.clone(),
            span: name.span,
            value: value.span,
        })
        .collect();
    let flows = flow.text[entry.value.range()].starts_with('{');
    (!flows).then_some(kapell_spec::github::Keys { entries, open: true })
}
