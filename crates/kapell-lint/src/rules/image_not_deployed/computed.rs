//! Tags that a script makes of the commit in another way than the workflow that pushes them.

use std::collections::BTreeSet;

use kapell_view::audit::Confidence;

use super::{
    plain,
    tags::{Tag, tag_of},
};
use crate::{
    files::FileId,
    github::{own_scripts, script},
    repository::Repository,
    rule::Report,
    systems::{image_parts, images::Pushed},
};

/// What builds or renames images besides what is known to be pushed.
const MAKES: &[&str] = &[
    "docker build",
    "docker tag",
    "compose build",
    "buildx build",
    "imagetools",
    "crane ",
    "skopeo",
    "regctl",
];

/// Tells of scripts that a job runs, which deploy the short name of the commit where only the long one is pushed, or the other
/// way round.
///
/// Source: Git, "git-rev-parse", `--short`: a prefix that is unique, as long as `core.abbrev` and the number of objects ask for.
pub(super) fn check(repository: &Repository, pushed: &[Pushed], report: &mut Report<'_>) {
    if pushed.is_empty() {
        return;
    }
    let mut seen: BTreeSet<FileId> = BTreeSet::new();
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            for (step, facts) in flow.steps(at).filter(|(_, facts)| facts.runs_own_script()) {
                for script in own_scripts::of_step(&repository.files, job, step, facts) {
                    let Some(file) = script.file.filter(|file| seen.insert(*file)) else { continue };
                    in_script(repository, (file, &repository.files[file].text), pushed, report);
                }
            }
        }
    }
}

/// A variable that a script makes of the commit.
struct Made<'a> {
    name: &'a str,
    tag: Tag<'static>,
    /// The number of the line, from 1.
    line: u32,
}

fn in_script(
    repository: &Repository,
    (file, text): (FileId, &str),
    pushed: &[Pushed],
    report: &mut Report<'_>,
) {
    if !text.contains("rev-parse") && !text.contains("GITHUB_SHA")
        || MAKES.iter().any(|word| text.contains(word))
    {
        return;
    }
    let made: Vec<Made<'_>> = (1..).zip(text.lines()).filter_map(|(line, text)| made(line, text)).collect();
    // What is made in two ways is one of them.
    let [Made { name, tag, line }] = made[..] else { return };
    let Some(image) = taken(repository, text, name, pushed) else { return };
    let same: Vec<&Pushed> =
        pushed.iter().filter(|one| one.name.as_deref().map(plain).as_deref() == Some(&*image)).collect();
    let tags: Option<Vec<Tag<'_>>> = same.iter().map(|one| tag_of(&one.tag)).collect();
    let known = |tag: &Tag<'_>| {
        matches!(
            tag,
            Tag::Written(_)
                | Tag::Commit
                | Tag::ShortCommit
                | Tag::MarkedCommit
                | Tag::MarkedShortCommit
                | Tag::RunNumber
                | Tag::RunId
        )
    };
    let Some(tags) = tags.filter(|tags| !tags.is_empty() && tags.iter().all(known)) else { return };
    let renamed =
        repository.github.flows.iter().any(|flow| MAKES[1..].iter().any(|word| flow.text.contains(word)));
    if tags.contains(&tag) || renamed {
        return;
    }
    let how = if tag == Tag::Commit { "the whole name" } else { "the short name" };
    let shown: Vec<String> = same.iter().map(|one| format!("`{}`", one.tag)).collect();
    report
        .add(
            file,
            repository.files[file].line_span(line),
            format!("`{image}` is deployed with {how} of the commit as its tag, but the workflows push it only as {}", shown.join(", ")),
        )
        .confidence(Confidence::High)
        .also(same[0].file, same[0].span, "pushed here")
        .hint("make the tag in the same way at both places, or hand it over")
        .done();
}

/// Reads a line that keeps the name of the commit in a variable: `tag="$(git rev-parse --short HEAD)"`, `TAG=${GITHUB_SHA::7}`.
fn made(line: u32, text: &str) -> Option<Made<'_>> {
    let text = text.trim();
    let text =
        ["export ", "local ", "readonly "].iter().find_map(|word| text.strip_prefix(word)).unwrap_or(text);
    let (name, value) = text.split_once('=')?;
    let value = value.trim().trim_matches('"');
    let command = value.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
    let command = command.or_else(|| value.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')));
    let words: Vec<&str> = command.unwrap_or_default().split_whitespace().collect();
    let tag = match words[..] {
        ["git", "rev-parse", "HEAD"] => Tag::Commit,
        ["git", "rev-parse", short, "HEAD"] if short == "--short" || short.starts_with("--short=") => {
            Tag::ShortCommit
        }
        [] if matches!(value, "$GITHUB_SHA" | "${GITHUB_SHA}") => Tag::Commit,
        [] if value.starts_with("${GITHUB_SHA:") => Tag::ShortCommit,
        _ => return None,
    };
    script::is_variable(name).then_some(Made { name, tag, line })
}

/// Returns the image of which a script takes a variable for the tag: by its own commands, or by a compose file that it starts.
fn taken(repository: &Repository, text: &str, name: &str, pushed: &[Pushed]) -> Option<String> {
    let forms = [format!("${{{name}}}"), format!("${name}")];
    let by_name = pushed.iter().filter_map(|one| one.name.as_deref()).find(|image| {
        let ends = |at: usize| !text[at..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        forms.iter().any(|form| {
            let written = format!("{image}:{form}");
            text.match_indices(&*written).any(|(at, found)| ends(at + found.len()))
        })
    });
    if let Some(image) = by_name {
        return Some(plain(image));
    }
    if !text.contains("compose") {
        return None;
    }
    let services = repository.systems.composes.iter().flat_map(|compose| {
        // Without its name in the script another file may be meant.
        let own = compose.path.rsplit('/').next().is_some_and(|own| text.contains(own));
        compose.services.iter().filter(move |_| own)
    });
    services.filter(|service| service.build.is_none()).find_map(|service| {
        let (image, tag) = image_parts(service.image.as_ref()?);
        let variable = tag?.strip_prefix("${")?.strip_suffix('}')?;
        let variable = variable.split([':', '-', '?']).next()?;
        let image = plain(image);
        let known = pushed.iter().any(|one| one.name.as_deref().map(plain).as_ref() == Some(&image));
        (known && is_given(text, name, variable)).then_some(image)
    })
}

/// Tells whether a script gives a variable the value of another one, itself or as the argument of what it runs elsewhere:
/// `ssh host bash -s -- "$tag"` and `TAG="$1"`.
fn is_given(text: &str, name: &str, variable: &str) -> bool {
    let plain: String = text.replace(['"', '\'', '{', '}'], "");
    let words: Vec<&str> = plain.split_whitespace().collect();
    let has = |wanted: &str| words.iter().any(|word| word.trim_end_matches(';') == wanted);
    let first = || words.windows(3).any(|three| three == ["-s", "--", &format!("${name}")]);
    name == variable || has(&format!("{variable}=${name}")) || has(&format!("{variable}=$1")) && first()
}
