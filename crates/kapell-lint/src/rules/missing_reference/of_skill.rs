//! Texts that a skill is told to look into, in its own folder for them, set apart by backticks and not linked.

use kapell_spec::{claude::markdown::Mark, finding::Span, line};
use kapell_view::audit::{AssetKind, Confidence, Scope};

use super::paths::NOT_YET;
use crate::{agents::Home, repository::Repository, rule::Report};

/// Folders of a skill for what is read when it is needed.
///
/// Source: <https://agentskills.io/specification>, "references/".
const FOLDERS: &[&str] = &["references/", "reference/"];

/// Words right before a text that is looked into.
const LOOKED_INTO: &[&str] =
    &["in", "from", "read", "see", "follow", "consult", "load", "open", "against", "per", "to", "with"];

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for (_, skill) in repository.agents.of(AssetKind::Skill) {
        let file = &repository.files[skill.file];
        let own = skill.home == Home::Claude
            && skill.scope == Scope::Repository
            && file.path.starts_with(".claude/skills/");
        // One that tells how skills are written names texts of other skills.
        if !own || !file.text.contains("`reference") || file.text.contains("SKILL.md") {
            continue;
        }
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let missing = |mark: &&Mark| {
            let path = mark.text.trim();
            let named = FOLDERS.iter().any(|folder| path.starts_with(folder)) && path.ends_with(".md");
            let plain = !path.contains([' ', '<', '{', '*', '$', '[']);
            let here =
                || repository.files.exists(&format!("{folder}/{path}")) || repository.files.exists(path);
            mark.code && named && plain && !here() && is_looked_into(&file.text, mark.span)
        };
        let mut missing = skill.definition.document.marks.iter().filter(missing);
        let Some(first) = missing.next() else { continue };
        let message = format!("`{}` is to be read here, and is not there", first.text.trim());
        let mut draft = report.add(skill.file, first.span, message).confidence(Confidence::Medium);
        for other in missing {
            draft = draft.also(skill.file, other.span, format!("nor is `{}`", other.text.trim()));
        }
        draft.done();
    }
}

/// Tells whether the words before a text have whoever reads them look into it, and no word says that it is made or may be missing.
fn is_looked_into(text: &str, span: Span) -> bool {
    let at = span.start as usize;
    let start = line::start(text, at);
    let before = text[start..at].to_ascii_lowercase();
    let before = before.rsplit(". ").next().unwrap_or_default().trim_end_matches(['`', ' ']);
    let last = before.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let behind = text[span.end as usize..].split(['\n', '.']).next().unwrap_or_default().to_ascii_lowercase();
    let denied = |part: &str| NOT_YET.iter().any(|word| part.contains(word));
    LOOKED_INTO.contains(&last) && !denied(before) && !denied(&behind)
}
