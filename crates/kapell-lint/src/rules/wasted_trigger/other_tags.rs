//! A workflow waits for tags of one form, and what makes tags here makes them of another.

use kapell_view::audit::{Confidence, Severity};

use super::tags::{pushed_name, pushes_tag, tagger};
use crate::{
    github::{Flow, carry, globs},
    repository::Repository,
    rule::Report,
};

/// Words of what else makes tags: programs, actions, and orders to people.
const OTHERS: &[&str] = &[
    "release-please",
    "semantic-release",
    "changesets/action",
    "gh release create",
    "action-gh-release",
    "create-release",
    "tag-action",
    "action-create-tag",
    "git tag v",
    "git tag -a v",
    "git tag -s v",
    "git push origin v",
    "npm version",
    "cargo release",
    "cargo-release",
    "bumpversion",
    "bump-my-version",
    "standard-version",
    "release-it",
    "createRef",
    "git/refs",
];

/// Tells of a workflow that delivers on tags of a form which no tag has that a workflow here pushes.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    let waiting: Vec<&Flow> = flows.iter().filter(|flow| waits(flow)).collect();
    if waiting.is_empty() {
        return;
    }
    let mut made: Vec<(&Flow, usize, String)> = Vec::new();
    for flow in flows {
        for (at, _) in flow.jobs() {
            let Some((_, facts, _)) = tagger(repository, flow, at) else { continue };
            let Some(push) = facts.commands.iter().find(|command| pushes_tag(&facts, command)) else {
                return;
            };
            made.push((flow, at, widened(pushed_name(&facts, push))));
        }
    }
    let known = |(_, _, tag): &(&Flow, usize, String)| {
        tag.bytes().take_while(u8::is_ascii_alphabetic).count() > 2 && tag.ends_with('*')
    };
    let Some((flow, at, tag)) = made.first().filter(|_| made.iter().all(known)) else { return };
    let told = repository.files.iter().any(|(_, file)| OTHERS.iter().any(|word| file.text.contains(word)));
    for other in waiting.into_iter().filter(|_| !told) {
        let Some(filter) = other.model.event("push").and_then(|push| push.filter("tags")) else { continue };
        let fits = |item: &str| made.iter().any(|(_, _, tag)| globs::overlap(&globs::widen(item), tag));
        if filter.items.is_empty()
            || filter.items.iter().any(|item| item.text.starts_with('!') || fits(&item.text))
        {
            continue;
        }
        let item = &filter.items[0];
        report
            .add(
                other.file,
                item.span,
                format!(
                    "`{}` waits for tags like `{}`; what `{}` pushes is called `{tag}`",
                    other.name(),
                    item.text,
                    flow.name()
                ),
            )
            .severity(Severity::High)
            .confidence(Confidence::Medium)
            .also(flow.file, flow.job_span(*at), "pushes tags")
            .hint("give both the same form")
            .done();
    }
}

/// Tells whether nothing but tags starts a workflow that lets something out.
fn waits(flow: &Flow) -> bool {
    let push = flow.model.event("push").filter(|push| push.filter("branches").is_none());
    flow.model.events.len() == 1
        && push.is_some_and(|push| push.filter("tags").is_some())
        && flow.jobs().any(|(at, _)| carry::changes(flow, at) || flow.lets_out(at))
}

/// Puts `*` in the place of what a shell or an expression fills in.
fn widened(name: &str) -> String {
    match name.find('$') {
        Some(at) => format!("{}*", &name[..at]),
        None => name.to_owned(),
    }
}
