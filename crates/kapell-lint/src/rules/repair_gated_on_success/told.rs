//! Agents that a text starts on what is broken, and only where nothing is.

use std::sync::LazyLock;

use kapell_spec::{
    claude::reference::{Names, Reference, Strength},
    finding::Span,
    words::Words,
};
use kapell_view::audit::{AssetKind, Confidence};

use crate::{
    agents::{Asset, Home},
    repository::Repository,
    rule::Report,
};

/// Words of a condition that holds where all checks went well.
const WELL: &[&str] = &[
    "green",
    "tests pass",
    "test passes",
    "tests passed",
    "tests succeed",
    "build passes",
    "build passed",
    "build succeeds",
    "suite passes",
    "lint passes",
    "all pass",
    "checks pass",
    "checks passed",
];

/// Words of a condition that also holds where they did not.
const TURNED: &[&str] =
    &["not ", "n't", "fail", "unless", "else", "otherwise", "no longer", " red", "broken", "even if"];

/// What an agent is handed that there is only where some check did not go well.
const BROKEN: &[&str] = &["broken", "failing", "failed", "failures", "red targets", "red tests"];

/// How many bytes around a name may belong to its sentence.
const AROUND: usize = 300;

/// Tells of sentences such as `Only if all tests pass, start the `fixer` agent with the list of failing tests`.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    static ANY: LazyLock<Words> = LazyLock::new(|| Words::new(BROKEN));
    let kinds = [AssetKind::Command, AssetKind::Skill, AssetKind::Agent];
    for (_, asset) in repository
        .agents
        .iter()
        .filter(|(_, asset)| kinds.contains(&asset.kind) && asset.home == Home::Claude)
    {
        let lower = repository.files[asset.file].lower();
        let named = asset.references.iter().filter(|reference| {
            reference.names == Names::Agent && reference.strength >= Strength::Strong && !reference.fenced
        });
        let mut named = named.peekable();
        if named.peek().is_none() || !ANY.is_in_lower(lower) {
            continue;
        }
        named.for_each(|reference| tell(asset, lower, reference, report));
    }
}

fn tell(asset: &Asset, lower: &str, reference: &Reference, report: &mut Report<'_>) {
    let (start, end) = (reference.span.start as usize, reference.span.end as usize);
    let near = |at: usize| (at..lower.len()).find(|&at| lower.is_char_boundary(at)).unwrap_or(lower.len());
    // Letters that are longer in small would move what stands behind them.
    let (Some(before), Some(behind)) =
        (lower.get(near(start.saturating_sub(AROUND)).min(start)..start), lower.get(end..near(end + AROUND)))
    else {
        return;
    };
    let breaks = [". ", ".\n", "\n\n", "\n- ", "; "];
    let from = breaks.iter().filter_map(|end| Some(before.rfind(end)? + end.len())).max().unwrap_or(0);
    let to = breaks.iter().filter_map(|end| behind.find(end)).min().unwrap_or(behind.len());
    let (before, behind) = (before[from..].replace('\n', " "), behind[..to].replace('\n', " "));
    let Some(at) = before.find("if ").filter(|&at| !before[..at].ends_with(char::is_alphanumeric)) else {
        return;
    };
    let condition = &before[at..];
    let well = WELL.iter().any(|word| condition.contains(word))
        && !TURNED.iter().any(|word| condition.contains(word));
    let handed = behind.contains(" with ") && BROKEN.iter().any(|word| behind.contains(word));
    let open =
        ["if ", "still", "before", "last ", "earlier", "previous"].iter().any(|word| behind.contains(word));
    if !well || !handed || open {
        return;
    }
    let message =
        format!("`{}` is handed what is broken, and is only started where nothing is", reference.name);
    report
        .add(asset.file, Span::new(start, end), message)
        .confidence(Confidence::Medium)
        .hint("start it where the checks failed")
        .done();
}
