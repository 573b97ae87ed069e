//! Paths that a trigger asks for and that no file of the repository has.

use kapell_spec::{
    github::{Event, Name},
    suggest,
};
use kapell_view::audit::Severity;

use crate::{
    files::Files,
    github::{Flow, carry},
    repository::Repository,
    rule::{Report, names},
};

/// Folders that are made by a build, or of which nothing is looked at: whether they are there is not known.
const MADE: &[&str] = &[
    "node_modules",
    "target",
    "vendor",
    "dist",
    "build",
    "out",
    "generated",
    "gen",
    "public",
    "_site",
    "bin",
    "obj",
];

/// Branches that people work on. Others may hold other files.
const MAIN: &[&str] = &["main", "master", "develop", "dev", "trunk", "next", "*", "**"];

/// Files at the top of a repository that is there as a whole, and not only in parts.
const TOPS: &[&str] = &[
    "Cargo.toml",
    "go.mod",
    "package.json",
    "pyproject.toml",
    "setup.py",
    "requirements.txt",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "settings.gradle",
    "settings.gradle.kts",
    "Gemfile",
    "composer.json",
    "mix.exs",
    "Makefile",
    "CMakeLists.txt",
    "WORKSPACE",
    "MODULE.bazel",
    "deno.json",
    "Chart.yaml",
    "mkdocs.yml",
    "go.work",
    "pnpm-workspace.yaml",
    "nx.json",
    "turbo.json",
    "lerna.json",
    "rush.json",
    "uv.lock",
    "flake.nix",
];

/// How a path that is asked for differs from what is there.
enum Lack {
    /// It is there, or that is not known.
    None,
    /// The folder above is there, and it is not.
    Below,
    /// It would stand at the top.
    Top,
}

pub(super) fn check(repository: &Repository, flow: &Flow, report: &mut Report<'_>) {
    for event in &flow.model.events {
        bare_folder(repository, flow, event, report);
        if matches!(&*event.name.text, "push" | "pull_request" | "pull_request_target") && on_main(event) {
            look(repository, flow, event, report);
        }
    }
}

/// A folder that a filter names without what is below it: `paths-ignore: [docs]`. A pattern fits whole paths, and no changed file has
/// that of a folder; only a submodule does.
///
/// Source: GitHub, "Workflow syntax", "Filter pattern cheat sheet": path patterns must match the whole path.
fn bare_folder(repository: &Repository, flow: &Flow, event: &Event, report: &mut Report<'_>) {
    let files = &repository.files;
    let filters = event.filters.iter().filter(|filter| matches!(&*filter.key.text, "paths" | "paths-ignore"));
    for (filter, item) in filters.flat_map(|filter| filter.items.iter().map(move |item| (filter, item))) {
        let path = item.text.trim_start_matches('!');
        let plain = !path.is_empty() && !path.ends_with('/') && !path.contains(['*', '?', '[', '+']);
        if !plain || !files.exists(path) || files.find(path).is_some() || files.exists(".gitmodules") {
            continue;
        }
        if files.others().any(|other| other == path) {
            continue;
        }
        report
            .add(
                flow.file,
                item.span,
                format!("`{path}` is a folder, and this pattern fits no file below it"),
            )
            .severity(if &*filter.key.text == "paths" && filter.items.len() == 1 {
                Severity::High
            } else {
                Severity::Medium
            })
            .hint(format!("write `{path}/**`"))
            .done();
    }
}

/// Tells whether an event is about branches that people work on.
fn on_main(event: &Event) -> bool {
    let Some(branches) = event.filter("branches") else { return event.filter("tags").is_none() };
    branches.items.iter().any(|item| MAIN.contains(&&*item.text))
}

/// Returns the paths that an event asks for, but for those of what runs it.
fn asked(event: &Event) -> Vec<&Name> {
    let items = event.filter("paths").map(|paths| &paths.items[..]).unwrap_or_default();
    items.iter().filter(|item| !item.text.starts_with(['!', '.'])).collect()
}

fn look(repository: &Repository, flow: &Flow, event: &Event, report: &mut Report<'_>) {
    let asked = asked(event);
    let lacks: Vec<Lack> = asked.iter().map(|item| lack(&repository.files, &item.text)).collect();
    if asked.is_empty() || lacks.iter().any(|lack| matches!(lack, Lack::None)) {
        return;
    }
    let other = other_event_has(repository, flow, event);
    let certain = other || lacks.iter().all(|lack| matches!(lack, Lack::Below));
    let beside = |item: &&&Name| beside(&repository.files, fixed(&item.text));
    let near = asked.iter().find_map(|item| {
        let (above, name) = fixed(&item.text).rsplit_once('/').unwrap_or(("", fixed(&item.text)));
        let found = suggest::nearest(name, beside(&item))?;
        Some(if above.is_empty() { found.to_owned() } else { format!("{above}/{found}") })
    });
    // A copy of parts of a repository lacks folders; so does one whose scripts go there.
    let whole = TOPS.iter().any(|top| repository.files.exists(top))
        && asked.iter().all(|item| beside(&item).len() > 1);
    let gone_to = |item: &&Name| goes_to(flow, fixed(&item.text));
    let moved = moved(&repository.files, flow, &asked);
    let known = near.is_some()
        || moved.is_some()
        || certain && (whole || other)
        || whole && works(&repository.files, flow);
    if !known || asked.iter().any(gone_to) {
        return;
    }
    let near = moved.or(near);
    let alone = flow
        .model
        .events
        .iter()
        .all(|other| std::ptr::eq(other, event) || &*other.name.text == "workflow_dispatch");
    let wanted = flow.jobs().any(|(at, _)| {
        let checks =
            || flow.facts[at].iter().any(|facts| facts.works.iter().any(|done| done.work.kind.checks()));
        carry::delivers(flow, at) || checks()
    });
    let pull = event.name.text.starts_with("pull_request");
    report
        .add(
            flow.file,
            asked[0].span,
            format!(
                "`{}` never starts `{}`: the repository has no {}",
                event.name.text,
                flow.name(),
                names(asked.iter().map(|item| &*item.text))
            ),
        )
        .severity(if wanted && (alone || pull) { Severity::High } else { Severity::Medium })
        .hint(match near {
            Some(near) => format!("there is `{near}`: ask for that"),
            None => "ask for the folder that is meant".to_owned(),
        })
        .done();
}

/// Returns where the first of the folders lies that are asked for, if all have another folder above them by now and the
/// workflow goes to one of these.
fn moved(files: &Files, flow: &Flow, asked: &[&Name]) -> Option<String> {
    let all = || files.iter().map(|(_, file)| &*file.path).chain(files.others());
    let of = |item: &&Name| {
        let (_, name) = fixed(&item.text).rsplit_once('/').filter(|(_, name)| name.len() > 2)?;
        let between = format!("/{name}/");
        let mut folders = all().filter_map(|path| Some(&path[..path.find(&between)? + between.len() - 1]));
        let first = folders.next()?;
        folders.all(|other| other == first).then_some(first)
    };
    let found: Option<Vec<&str>> = asked.iter().map(of).collect();
    let found = found.filter(|found| found.iter().any(|folder| goes_to(flow, folder)))?;
    found.first().map(|folder| (*folder).to_owned())
}

/// Returns the folder or file that a pattern names for certain, without what its wildcards stand for.
fn fixed(pattern: &str) -> &str {
    match pattern.find(['*', '?', '[', '+']) {
        Some(at) => pattern[..at].rfind('/').map_or("", |end| &pattern[..end]),
        None => pattern.trim_end_matches('/'),
    }
}

fn lack(files: &Files, pattern: &str) -> Lack {
    let fixed = fixed(pattern);
    let unknown = fixed.is_empty() || fixed.split('/').any(|part| MADE.contains(&part));
    if unknown || files.exists(fixed) || files.exists(".gitmodules") {
        return Lack::None;
    }
    match fixed.rsplit_once('/') {
        // A file may come and go; a folder beside others was meant to be one of them.
        Some((above, _)) if files.exists(above) && fixed.len() < pattern.len() => Lack::Below,
        Some((above, _)) if files.exists(above) => Lack::None,
        _ => Lack::Top,
    }
}

/// Tells whether the other event of a workflow asks for paths all of which are there.
fn other_event_has(repository: &Repository, flow: &Flow, event: &Event) -> bool {
    flow.model.events.iter().filter(|other| !std::ptr::eq(*other, event)).any(|other| {
        let asked = asked(other);
        let there = |item: &&Name| {
            let fixed = fixed(&item.text);
            !fixed.is_empty() && repository.files.exists(fixed)
        };
        !asked.is_empty() && asked.iter().all(there)
    })
}

/// Tells whether a workflow names a folder anywhere but in its filters.
fn goes_to(flow: &Flow, folder: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let whole =
        |at: usize| !flow.text[..at].ends_with(part) && !flow.text[at + folder.len()..].starts_with(part);
    let filters: Vec<_> =
        flow.model.events.iter().flat_map(|event| &event.filters).map(|filter| filter.span.range()).collect();
    let mut all = flow.text.match_indices(folder).map(|(at, _)| at);
    all.any(|at| whole(at) && !filters.iter().any(|filter| filter.contains(&at)))
}

/// Tells whether the steps of a workflow name a folder below another one that is there: what they are for is no part that a
/// copy lacks.
fn works(files: &Files, flow: &Flow) -> bool {
    let split = |c: char| !(c.is_ascii_alphanumeric() || "/-_.".contains(c));
    let steps = flow.model.jobs.iter().flat_map(|job| &job.steps);
    let texts = steps.filter_map(|step| flow.text.get(step.span.range()));
    texts.flat_map(|text| text.split(split)).any(|word| {
        let mut parts = word.trim_start_matches("./").split('/').filter(|part| !part.is_empty());
        let (Some(first), Some(second)) = (parts.next(), parts.next()) else { return false };
        !first.starts_with('.') && !second.starts_with('.') && files.exists(&format!("{first}/{second}"))
    })
}

/// Returns the folders at the same height as another one.
fn beside<'a>(files: &'a Files, folder: &str) -> Vec<&'a str> {
    let above = folder.rsplit_once('/').map(|(above, _)| above);
    let all = files.iter().map(|(_, file)| &*file.path).chain(files.others());
    let mut found: Vec<&str> = all
        .filter_map(|path| match above {
            None => Some(path),
            Some(above) => path.strip_prefix(above)?.strip_prefix('/'),
        })
        .filter_map(|rest| Some(rest.split_once('/')?.0))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}
