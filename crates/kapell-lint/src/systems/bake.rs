//! Images that `docker buildx bake` pushes: targets of `docker-bake.hcl`, where a workflow bakes with `push`.
//!
//! Source: <https://docs.docker.com/build/bake/reference/>, as of 2026-11. Read by lines; a name that a variable makes which
//! the workflow may set is not resolved.

use kapell_spec::finding::Span;

use super::{image_parts, images::Pushed};
use crate::{files::Files, github::Github};

/// The file of the targets.
pub const TARGETS: &str = "docker-bake.hcl";

/// Finds the images that workflows bake and push.
#[must_use]
pub fn pushed(files: &Files, github: &Github) -> Vec<Pushed> {
    let Some(id) = files.find(TARGETS) else { return Vec::new() };
    let steps = || github.flows.iter().flat_map(|flow| flow.jobs().flat_map(|(job, _)| flow.steps(job)));
    let bakes = steps().any(|(step, facts)| {
        let action = step.is("docker/bake-action") && step.input("push").is_some_and(|push| push.is("true"));
        action
            || facts.commands.iter().any(|command| {
                let words = command.inner();
                words.iter().any(|word| word == "bake") && words.iter().any(|word| word == "--push")
            })
    });
    if !bakes {
        return Vec::new();
    }
    let text = &*files[id].text;
    let variables = variables(text);
    let set = |name: &str| github.flows.iter().any(|flow| flow.text.contains(name));
    let mut found = Vec::new();
    for (at, start) in text.match_indices("tags = [") {
        let list = text[at + start.len()..].split(']').next().unwrap_or_default();
        for image in list.split('"').skip(1).step_by(2) {
            let mut image = image.to_owned();
            for (name, value) in variables.iter().filter(|(name, _)| !set(name)) {
                image = image.replace(&format!("${{{name}}}"), value);
            }
            let (written, tag) = image_parts(&image);
            found.push(Pushed {
                file: id,
                span: Span::new(at, at + start.len() + list.len() + 1),
                name: (!written.contains('$')).then(|| written.to_ascii_lowercase()),
                written: written.to_owned(),
                tag: tag.unwrap_or("latest").to_owned(),
            });
        }
    }
    found
}

/// Returns the variables that have a default.
fn variables(text: &str) -> Vec<(&str, &str)> {
    let blocks = text.split("variable \"").skip(1);
    blocks
        .filter_map(|block| {
            let (name, rest) = block.split_once('"')?;
            let (_, value) = rest.split('}').next()?.split_once("default")?;
            Some((name, value.split('"').nth(1)?))
        })
        .collect()
}
