//! Scripts of the repository that are run on another machine, and go back there by themselves where something fails.

use crate::{github::Flow, repository::Repository};

/// Words of scripts that go back, to what they have kept.
const GOES_BACK: &[&str] = &["$prev", "${prev", "$old", "${old", "$last", "${last", "rollback", "revert"];

/// The same of what is done where a command fails.
const KEPT: &[&str] = &["$before", "${before"];

/// Tells whether a step of a job says itself what is done where the new version does not start, and that it is to go back:
/// `up "$TAG" || { up "$before"; exit 1; }`.
pub(super) fn by_itself(flow: &Flow, job: usize) -> bool {
    flow.model.jobs[job].steps.iter().any(|step| answers(step.script()))
}

/// Tells whether a script goes back where a command fails. To say what was there before, or to take it away, is no way back.
fn answers(script: &str) -> bool {
    const OTHER: &[&str] = &["echo", "printf", "rm", "logger"];
    script.split("||").skip(1).any(|rest| {
        let rest = rest.trim_start();
        let own = match rest.strip_prefix('{') {
            // A brace that ends a group stands by itself, that of a variable does not.
            Some(group) => {
                group.split(" }").next().and_then(|group| group.split("\n}").next()).unwrap_or(group)
            }
            None => rest.lines().next().unwrap_or_default(),
        };
        own.split([';', '\n']).any(|command| {
            let lower = command.trim().to_ascii_lowercase();
            let first = lower.split(' ').next().unwrap_or_default();
            !OTHER.contains(&first) && GOES_BACK.iter().chain(KEPT).any(|word| lower.contains(word))
        })
    })
}

/// Tells whether a job names a script of the repository, by the end of its path, that goes back.
pub(super) fn by_script(repository: &Repository, flow: &Flow, job: usize) -> bool {
    let words =
        flow.model.jobs[job].steps.iter().flat_map(|step| step.script().split([' ', '\n', '"', '\'', '`']));
    let scripts = words.filter(|word| word.ends_with(".sh") || word.ends_with(".bash"));
    scripts.filter_map(|path| of_end(repository, path)).any(|text| {
        let lower = text.to_ascii_lowercase();
        GOES_BACK.iter().any(|word| lower.contains(word)) || lower.lines().any(is_trap_of_errors)
    })
}

/// Tells whether a line, in lower case, says what is done on an error. What is done at the end in any case cleans up.
fn is_trap_of_errors(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("trap") && words.any(|word| word == "err")
}

/// Returns the text of the script that a path on another machine ends with, at least its folder and its name.
fn of_end<'a>(repository: &'a Repository, path: &str) -> Option<&'a str> {
    let mut ends =
        std::iter::successors(Some(path.trim_start_matches("./")), |end| Some(end.split_once('/')?.1));
    let found = ends.find_map(|end| repository.files.find(end).filter(|_| end.contains('/')))?;
    Some(&repository.files[found].text)
}
