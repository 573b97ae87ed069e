//! Images that `docker buildx bake` pushes: targets of `docker-bake.hcl`, where a workflow bakes with `push`.
//!
//! Source: <https://docs.docker.com/build/bake/reference/>, as of 2026-11. Read by lines; a name that a variable makes which
//! the workflow may set is not resolved.

use kapell_spec::{finding::Span, github::Step};

use super::{image_parts, images::Pushed};
use crate::{
    files::Files,
    github::{Github, StepFacts},
};

/// The file of the targets.
pub const TARGETS: &str = "docker-bake.hcl";

/// Finds the images that workflows bake and push.
#[must_use]
pub fn pushed(files: &Files, github: &Github) -> Vec<Pushed> {
    let Some(id) = files.find(TARGETS) else { return Vec::new() };
    let steps = || github.flows.iter().flat_map(|flow| flow.jobs().flat_map(|(job, _)| flow.steps(job)));
    let bakes = |(step, facts): &(&Step, &StepFacts)| {
        let action = step.is("docker/bake-action") && step.input("push").is_some_and(|push| push.is("true"));
        action
            || facts.commands.iter().any(|command| {
                let words = command.inner();
                words.iter().any(|word| word == "bake") && words.iter().any(|word| word == "--push")
            })
    };
    let mut baking = steps().filter(bakes);
    let Some((step, facts)) = baking.next() else { return Vec::new() };
    // Tags that something else makes are not those of the file.
    let other =
        |key: &str| step.input(key).is_some_and(|given| given.contains("tags") || given.contains("${{"));
    if other("set")
        || other("files")
        || facts.commands.iter().any(|command| command.words.iter().any(|word| word == "--set"))
    {
        return Vec::new();
    }
    let alone = baking.next().is_none();
    let text = &*files[id].text;
    let mut variables = variables(text);
    let set = |name: &str| github.flows.iter().any(|flow| flow.text.contains(name));
    // What the one step that bakes says itself is known.
    let given: Vec<(&str, &str)> = step.env.iter().map(|(name, value)| (&*name.text, &*value.text)).collect();
    let once = |name: &str| alone && given.iter().any(|(own, _)| *own == name);
    for (name, value) in &mut variables {
        if let Some((_, own)) = given.iter().find(|(own, _)| own == name) {
            *value = own;
        }
    }
    let mut found = Vec::new();
    for (at, _) in text.match_indices("tags") {
        // People line the signs up.
        let rest = text[at + 4..].trim_start_matches(' ').strip_prefix('=').map(str::trim_start);
        let Some(rest) = rest.and_then(|rest| rest.strip_prefix('[')) else { continue };
        let list = rest.split(']').next().unwrap_or_default();
        let end = text.len() - rest.len() + list.len();
        for image in list.split('"').skip(1).step_by(2) {
            let mut image = image.to_owned();
            for (name, value) in variables.iter().filter(|(name, _)| once(name) || !set(name)) {
                image = image.replace(&format!("${{{name}}}"), value);
            }
            let (written, tag) = image_parts(&image);
            found.push(Pushed {
                file: id,
                span: Span::new(at, end + 1),
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
