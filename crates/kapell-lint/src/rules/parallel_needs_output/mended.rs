//! Agents that a list starts side by side, and that each mend the same files.

use std::collections::BTreeMap;

use kapell_spec::{claude::steps::is_parallel, finding::Span};
use kapell_view::audit::{AssetKind, Severity};

use crate::{
    agents::Asset,
    intent,
    repository::Repository,
    rule::{self, Report},
};

/// Words of an agent's text that has it change what it looks at.
const MENDS: &[&str] =
    &["fixes inline", "fix inline", "fix them inline", "edits inline", "fix them in place", "fixes in place"];

/// Words of a sentence that has it only say what is to be changed.
const PROPOSES: &[&str] = &["suggest", "propos", "recommend", "comment", "report", "describe", "quote"];

/// Words before files which are left as they are.
const LEAVES: &[&str] = &["ignor", "skip", "exclud", "except", "leave", "besides", "beyond"];

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
    if agent.definition.field("isolation").is_some() || !mends_in_place(lower) {
        return None;
    }
    Some((&*agent.name, format!("all {} files", whole_kind(lower)?)))
}

/// Tells whether a text in small letters has whoever reads it change files where they lie.
fn mends_in_place(lower: &str) -> bool {
    // Most texts have none of the words.
    MENDS.iter().any(|words| lower.contains(words))
        && lower.split(['.', ';', '\n']).any(|sentence| {
            intent::says(sentence, MENDS) && !PROPOSES.iter().any(|word| sentence.contains(word))
        })
}

/// Returns the kind of which a text in small letters has all files looked at: `shot` of `audit all shot files`.
fn whole_kind(lower: &str) -> Option<&str> {
    lower.match_indices(" all ").find_map(|(at, all)| {
        let (kind, _) = lower[at + all.len()..].split_once(" files")?;
        let before = lower[..at].rsplit(['.', ';', '\n']).next().unwrap_or_default();
        let short = kind.len() < 24 && kind.split(' ').count() < 3 && !kind.contains('\n');
        let left = intent::is_denied(before) || LEAVES.iter().any(|word| before.contains(word));
        (short && !left).then_some(kind)
    })
}
