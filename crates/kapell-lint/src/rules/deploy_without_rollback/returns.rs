//! Scripts of the repository that are run on another machine, and go back there by themselves where something fails.

use crate::{github::Flow, repository::Repository};

/// Words of scripts that go back, to what they have kept.
const GOES_BACK: &[&str] = &["$prev", "${prev", "$old", "${old", "$last", "${last", "rollback", "revert"];

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
