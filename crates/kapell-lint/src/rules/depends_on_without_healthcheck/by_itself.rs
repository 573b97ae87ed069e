//! Services that wait by themselves: a comment says so, or the script that starts them does it.

use crate::{
    files::joined,
    intent,
    repository::Repository,
    systems::{Compose, Word, compose::Service},
};

/// Tells whether a comment says that a service waits until what it needs answers.
pub(super) fn is_said(repository: &Repository, compose: &Compose, needed: &Word) -> bool {
    let file = &repository.files[compose.file];
    let line = file.line(needed.span.start);
    intent::reason(file, (line, line), super::RULE.name).is_some()
}

/// Tells whether the entry point of a service is a script that asks again and again for what it needs, by its name or by a variable
/// that the file sets to its name.
pub(super) fn by_script(repository: &Repository, compose: &Compose, service: &Service, needed: &str) -> bool {
    let Some((folder, recipe)) = &service.build else { return false };
    let text = &*repository.files[compose.file].text;
    let hosts: Vec<&str> = variables(text, needed).chain([needed]).collect();
    let top = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let read = |path: &str| {
        let id = repository.files.find(&joined(&top, path.trim_start_matches('/'))?)?;
        Some(&*repository.files[id].text)
    };
    let starts = |line: &&str| line.starts_with("ENTRYPOINT") || line.starts_with("CMD");
    let recipe = read(recipe).unwrap_or_default();
    let started = recipe.lines().filter(starts).chain([service.command.as_str()]);
    let words = started.flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"'[],".contains(c)));
    let mut scripts = words.filter(|word| word.ends_with(".sh")).filter_map(|path| {
        // In the image it may lie elsewhere.
        read(path).or_else(|| read(path.rsplit('/').next()?))
    });
    scripts.any(|text| asks_again(text, &hosts))
}

/// Finds the variables that a compose file sets to a value: `DB_HOST: db`, `- DB_HOST=db`.
fn variables<'a>(text: &'a str, value: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = text.lines().filter_map(|line| line.trim().trim_start_matches("- ").split_once([':', '=']));
    let set = pairs.filter(move |(_, given)| given.trim().trim_matches(['"', '\'']) == value);
    set.map(|(name, _)| name).filter(|name| {
        let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        !name.is_empty() && name.bytes().all(plain)
    })
}

/// Tells whether a script goes round with a pause until something answers, and names it by one of some words.
fn asks_again(script: &str, hosts: &[&str]) -> bool {
    let code = || script.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let goes_round = code().any(|line| line.starts_with("until ") || line.starts_with("while "));
    let pauses = code().any(|line| line.starts_with("sleep "));
    let names = |line: &str| {
        line.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c))).any(|word| hosts.contains(&word))
    };
    goes_round && pauses && code().any(names)
}

#[cfg(test)]
mod tests {
    use super::{asks_again, variables};

    #[test]
    fn a_script_waits_for_what_it_names() {
        let script = "# db and mq\nuntil nc -z db 5432; do\n  sleep 1\ndone\nexec app\n";
        assert!(asks_again(script, &["db"]) && !asks_again(script, &["mq"]));
        assert!(!asks_again("nc -z db 5432\nexec app\n", &["db"]));
        assert!(asks_again("until pg_isready -h \"$DB_HOST\"; do\nsleep 1\ndone", &["DB_HOST", "db"]));
    }

    #[test]
    fn variables_hold_the_names_of_services() {
        let text = "environment:\n  DB_HOST: db\n  DB_PORT: \"5432\"\n  - CACHE=\"db\"\ndepends_on: db\n";
        assert_eq!(variables(text, "db").collect::<Vec<_>>(), ["DB_HOST", "CACHE"]);
    }
}
