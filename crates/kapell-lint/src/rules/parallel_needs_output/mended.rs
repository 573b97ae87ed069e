//! Agents that a list starts side by side, and that each mend the same files.

use std::collections::BTreeMap;

use kapell_spec::{claude::steps::is_parallel, finding::Span};
use kapell_view::audit::{AssetKind, Severity};

use crate::{
    agents::Asset,
    repository::Repository,
    rule::{self, Report},
};

/// Words of an agent's text that has it change what it looks at.
const MENDS: &[&str] =
    &["fixes inline", "fix inline", "fix them inline", "edits inline", "fix them in place", "fixes in place"];

/// Tells of lists below words that start their agents at once, of which several look at all files of a kind and mend them there.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>, asset: &Asset) {
    if !matches!(asset.kind, AssetKind::Command | AssetKind::Skill | AssetKind::Memory) {
        return;
    }
    let file = &repository.files[asset.file];
    if !file.lower().contains("parallel") || file.lower().contains("worktree") {
        return;
    }
    let body = asset.definition.body as usize;
    let mut at = body;
    let mut led: Option<Span> = None;
    let mut together: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for line in file.text.get(body..).unwrap_or_default().split_inclusive('\n').chain(["end\n"]) {
        let (start, plain) = (at, line.trim());
        at += line.len();
        if let Some(item) =
            plain.strip_prefix(['-', '*']).filter(|item| led.is_some() && item.starts_with(' '))
        {
            if let Some((agent, mended)) = mends(repository, asset, item) {
                together.entry(mended).or_default().push(agent);
            }
            continue;
        }
        if plain.is_empty() {
            continue;
        }
        if let Some(span) = led.take() {
            tell(report, asset, span, &together);
            together.clear();
        }
        if plain.trim_end_matches('*').ends_with(':') && is_parallel(plain) {
            let begin = start + line.find(plain).unwrap_or_default();
            led = Some(Span::new(begin, begin + plain.len()));
        }
    }
}

/// Tells of the first files that several agents of a list mend.
fn tell(report: &mut Report<'_>, asset: &Asset, span: Span, together: &BTreeMap<String, Vec<&str>>) {
    let Some((files, agents)) = together.iter().find(|(_, agents)| agents.len() > 1) else { return };
    let message = format!(
        "{} run at the same time, and each of them mends {files} where they lie: what one mends, another writes over",
        rule::names(agents.iter().copied()),
    );
    report
        .add(asset.file, span, message)
        .severity(Severity::High)
        .hint("have each of them report, and one mend what all have found")
        .done();
}

/// Returns the agent that an item names first, and which files its own text has it mend: `all shot files`.
fn mends<'a>(repository: &'a Repository, asset: &Asset, item: &str) -> Option<(&'a str, String)> {
    let name = item.trim().trim_start_matches(['*', '`']);
    let name = name.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).next()?;
    let own = |agent: &&Asset| &*agent.name == name && agent.home == asset.home;
    let agent = repository.agents.of(AssetKind::Agent).map(|(_, agent)| agent).find(own)?;
    let lower = repository.files[agent.file].lower();
    if agent.definition.field("isolation").is_some() || !MENDS.iter().any(|words| lower.contains(words)) {
        return None;
    }
    let files = lower.match_indices(" all ").find_map(|(at, all)| {
        let (files, _) = lower[at + all.len()..].split_once(" files")?;
        (files.len() < 24 && files.split(' ').count() < 3 && !files.contains('\n')).then_some(files)
    })?;
    Some((&*agent.name, format!("all {files} files")))
}
