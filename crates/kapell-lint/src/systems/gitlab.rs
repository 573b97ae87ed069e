//! Images that the pipeline of GitLab pushes.
//!
//! Source: <https://docs.gitlab.com/ci/yaml/>, as of 2026-11. Read by lines: what is included or extended is not followed,
//! and an image that a variable names which the file does not set is not resolved.

use kapell_spec::finding::Span;

use super::{image_parts, images::Pushed};
use crate::files::Files;

/// The file of the pipeline.
pub const PIPELINE: &str = ".gitlab-ci.yml";

/// Finds the images that the commands of the pipeline push.
#[must_use]
pub fn pushed(files: &Files) -> Vec<Pushed> {
    let Some(id) = files.find(PIPELINE) else { return Vec::new() };
    let text = &*files[id].text;
    let variables = variables(text);
    let mut found = Vec::new();
    for (at, command) in commands(text) {
        for image in images(&command) {
            let image = resolve(&image, &variables);
            let (written, tag) = image_parts(&image);
            found.push(Pushed {
                file: id,
                span: Span::new(at, at + text[at..].lines().next().unwrap_or_default().len()),
                name: (!written.contains('$')).then(|| written.to_ascii_lowercase()),
                written: written.to_owned(),
                tag: tag.unwrap_or("latest").to_owned(),
            });
        }
    }
    found
}

/// Returns the lines of a text with those that they go on in, and where each begins behind its indent.
fn commands(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut at, mut open): (Vec<(usize, String)>, usize, bool) = (Vec::new(), 0, false);
    for line in text.split_inclusive('\n') {
        let start = at + line.len() - line.trim_start().len();
        at += line.len();
        let own = line.trim();
        if own.starts_with('#') {
            continue;
        }
        let part = own.trim_end_matches('\\');
        match found.last_mut().filter(|_| open) {
            Some((_, command)) => {
                command.push(' ');
                command.push_str(part);
            }
            None => found.push((start, part.to_owned())),
        }
        open = own.ends_with('\\');
    }
    found
}

/// Returns the images that a command pushes.
fn images(command: &str) -> Vec<String> {
    let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    let after = |option: &str| -> Vec<String> {
        let apart = words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1]);
        let joined = words.iter().filter_map(|word| word.strip_prefix(option)?.strip_prefix('='));
        apart.chain(joined).map(|word| word.trim_matches(['"', '\'']).to_owned()).collect()
    };
    if words.iter().any(|word| word.ends_with("/executor")) {
        return after("--destination");
    }
    let push = words.windows(2).position(|pair| matches!(pair, ["docker" | "podman" | "buildah", "push"]));
    if let Some(push) = push {
        let given = words[push + 2..].iter().take_while(|word| !matches!(**word, "&&" | ";" | "||"));
        let last = given.filter(|word| !word.starts_with('-')).last();
        return last.map(|word| word.trim_start_matches("docker://").to_owned()).into_iter().collect();
    }
    if words.contains(&"build") && words.contains(&"--push") {
        return after("-t").into_iter().chain(after("--tag")).collect();
    }
    Vec::new()
}

/// Returns the variables that are set in one place only.
fn variables(text: &str) -> Vec<(&str, &str)> {
    let pair = |line: &'_ str| -> Option<(usize, usize)> {
        let name = line.find(':')?;
        let plain = line[..name].trim_start();
        let upper = plain.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        (upper && plain.len() > 1).then_some((line.len() - line.trim_start().len(), name))
    };
    let all: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let (start, end) = pair(line)?;
            let value = line[end + 1..].split(" #").next()?.trim().trim_matches(['"', '\'']);
            Some((&line[start..end], value))
        })
        .collect();
    let once = |name: &str| all.iter().filter(|(other, _)| *other == name).count() == 1;
    all.iter().copied().filter(|(name, value)| once(name) && !value.is_empty()).collect()
}

fn resolve(image: &str, variables: &[(&str, &str)]) -> String {
    let mut image = image.to_owned();
    // A variable may be made of another one.
    for _ in 0..3 {
        for (name, value) in variables {
            image = image.replace(&format!("${{{name}}}"), value);
            let bare = format!("${name}");
            let ends = |at: usize| {
                !image[at + bare.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            };
            if let Some(at) = image.find(&bare).filter(|&at| ends(at)) {
                image.replace_range(at..at + bare.len(), value);
            }
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pipeline_pushes() {
        let text = "variables:\n  IMAGE: registry.example.net/a/b\njob:\n  script:\n    - /kaniko/executor --context . \\\n      --destination \"$IMAGE:$CI_COMMIT_SHA\"\n    - docker push $CI_REGISTRY_IMAGE/c:1\n    - buildah push \"${IMAGE}-base:2\"\n";
        let pushed = pushed(&Files::new([(PIPELINE.to_owned(), text.to_owned())]));
        let names: Vec<_> = pushed.iter().map(|one| (one.name.as_deref(), &*one.tag)).collect();
        assert_eq!(
            names,
            [
                (Some("registry.example.net/a/b"), "$CI_COMMIT_SHA"),
                (None, "1"),
                (Some("registry.example.net/a/b-base"), "2")
            ]
        );
    }
}
