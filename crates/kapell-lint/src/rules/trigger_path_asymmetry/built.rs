//! Paths that a push leaves out, though the image which it builds is made of them.

use kapell_spec::{finding::Span, github::Condition};

use crate::{
    files::{File, FileId},
    github::{Flow, tools::Kind},
    repository::Repository,
    systems::builds,
};

/// A path that a recipe copies.
pub(super) struct Copied<'a> {
    /// The pattern of the filter that names it.
    pub(super) pattern: &'a str,
    /// The path of the recipe.
    pub(super) recipe: String,
    /// Its file, and the line that copies.
    pub(super) file: FileId,
    pub(super) span: Span,
}

/// Returns the first of these patterns whose folder or file a recipe copies that the workflow builds and delivers.
pub(super) fn copied<'a>(
    repository: &Repository,
    flow: &Flow,
    patterns: impl Iterator<Item = &'a str>,
) -> Option<Copied<'a>> {
    let plain = |pattern: &'a str| {
        let path = pattern.strip_suffix("/**").unwrap_or(pattern);
        (!path.is_empty() && !path.contains(['*', '?', '!', '['])).then_some((pattern, path))
    };
    let patterns: Vec<(&str, &str)> = patterns.filter_map(plain).collect();
    if patterns.is_empty() {
        return None;
    }
    flow.jobs().filter(|(_, job)| job.condition.as_ref().is_none_or(of_push)).find_map(|(at, job)| {
        let steps = flow.steps(at).filter(|(_, facts)| facts.does(Kind::Publish));
        let mut all = steps.flat_map(|(step, facts)| builds::of_step(flow, (job, step), facts));
        all.find_map(|build| {
            let file = repository.files.find(&build.recipe)?;
            let context = build.context.as_deref()?;
            let recipe = &repository.files[file];
            let found =
                patterns.iter().find_map(|&(pattern, path)| Some((pattern, line(recipe, context, path)?)));
            let (pattern, span) = found?;
            Some(Copied { pattern, recipe: build.recipe, file, span })
        })
    })
}

/// Tells whether a condition asks for a push and nothing else.
fn of_push(condition: &Condition) -> bool {
    let plain: String = condition.text.split_whitespace().collect();
    matches!(
        &*plain,
        "github.event_name=='push'" | "github.event_name!='pull_request'" | "github.ref=='refs/heads/main'"
    )
}

/// Returns the line of a recipe that copies a path, or a folder around it, from the checkout. One that copies all that there is
/// says nothing of it.
fn line(recipe: &File, context: &str, path: &str) -> Option<Span> {
    let mut at = 0;
    recipe.text.split_inclusive('\n').find_map(|line| {
        let start = at;
        at += line.len();
        let mut words = line.split_whitespace();
        let copies = words
            .next()
            .is_some_and(|word| ["COPY", "ADD"].iter().any(|copy| word.eq_ignore_ascii_case(copy)));
        if !copies || line.contains("--from=") || line.contains(['[', '$', '*']) {
            return None;
        }
        let words: Vec<&str> = words.filter(|word| !word.starts_with("--")).collect();
        let (_, sources) = words.split_last()?;
        let is = |source: &&str| {
            let source = source.trim_start_matches("./").trim_matches('/');
            let source = if context.is_empty() { source.to_owned() } else { format!("{context}/{source}") };
            let rest = path.strip_prefix(&*source).filter(|_| !matches!(&*source, "" | "."));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        sources.iter().any(is).then(|| Span::new(start, start + line.trim_end().len()))
    })
}
