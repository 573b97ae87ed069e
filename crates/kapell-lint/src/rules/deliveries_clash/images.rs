//! One tag of an image that the deployments of several environments push.

use kapell_view::audit::Severity;

use crate::{
    github::Flow,
    repository::Repository,
    rule::{Report, names},
    systems::images::{Pushed, pushed},
};

/// Words by which a workflow says which environment it deploys.
const ENVIRONMENTS: &[&[&str]] = &[
    &["dev", "develop", "development"],
    &["staging", "stage", "stg"],
    &["qa"],
    &["uat"],
    &["preprod", "preproduction"],
    &["prod", "production", "live"],
];

/// Tells of images that workflows for different environments push under one tag which says nothing of the environment or the commit:
/// each deployment replaces what the others start next.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows: Vec<(&Flow, usize)> =
        repository.github.flows.iter().filter_map(|flow| Some((flow, environment(flow)?))).collect();
    // Most repositories deploy to one environment, or by one workflow.
    if !flows.iter().any(|(_, one)| flows.iter().any(|(_, other)| one != other)) {
        return;
    }
    let all = pushed(&repository.files, &repository.github);
    let of = |flow: &Flow| {
        all.iter().filter(|image| image.file == flow.file && is_mutable(&image.tag)).collect::<Vec<_>>()
    };
    let images: Vec<(&Flow, usize, Vec<&Pushed>)> =
        flows.iter().map(|(flow, env)| (*flow, *env, of(flow))).collect();
    // The last one counts as the one that is hurt.
    let Some((live, own, theirs)) = images.iter().max_by_key(|(_, own, _)| own) else { return };
    let mut shared: Vec<(&Pushed, &Flow, &Pushed)> = Vec::new();
    for image in theirs {
        let other = images.iter().filter(|(_, env, _)| env != own).find_map(|(flow, _, others)| {
            let same =
                others.iter().find(|other| other.written == image.written && other.tag == image.tag)?;
            is_one_place(&image.written, live, flow).then_some(())?;
            Some((*flow, *same))
        });
        if let Some((flow, same)) = other {
            shared.push((*image, flow, same));
        }
    }
    let Some((first, flow, same)) = shared.first() else { return };
    let mut listed: Vec<String> =
        shared.iter().map(|(image, ..)| format!("{}:{}", image.written, image.tag)).collect();
    listed.dedup();
    report
        .add(
            live.file,
            first.span,
            format!(
                "`{}` and `{}` push {} to one place: a deployment of one replaces what the other starts",
                live.name(),
                flow.name(),
                names(listed.iter().map(String::as_str))
            ),
        )
        .severity(Severity::High)
        .also(flow.file, same.span, "pushed here, too")
        .hint("put the environment or the commit into the tag")
        .done();
}

/// Returns the environment that a workflow deploys to, by its name and that of its file, if these say but one, and the jobs
/// that build take no secrets of an environment: those may name another registry.
fn environment(flow: &Flow) -> Option<usize> {
    let file = flow.path.rsplit('/').next().unwrap_or_default();
    let name = format!("{file} {}", flow.name()).to_ascii_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let deploys =
        ["deploy", "deployment", "release", "cd", "rollout"].iter().any(|word| words.contains(word));
    let mut said =
        (0..ENVIRONMENTS.len()).filter(|at| words.iter().any(|word| ENVIRONMENTS[*at].contains(word)));
    let own = said.next().filter(|_| said.next().is_none())?;
    let apart = flow.jobs().any(|(_, job)| job.environment.is_some());
    (deploys && !apart).then_some(own)
}

/// Tells whether a tag is the same for each build of each environment.
fn is_mutable(tag: &str) -> bool {
    !tag.contains(['$', '{']) && !tag.contains("cache")
}

/// Tells whether a name means the same in two workflows: the variables in it are set alike in both. What a step says may differ.
fn is_one_place(name: &str, one: &Flow, other: &Flow) -> bool {
    let set = |flow: &'_ Flow, variable: &str| -> Vec<String> {
        let forms = [format!("{variable}="), format!("{variable}:")];
        let lines = flow.text.lines().map(|line| line.trim().trim_start_matches("export "));
        lines
            .filter(|line| forms.iter().any(|form| line.starts_with(form.as_str())))
            .map(str::to_owned)
            .collect()
    };
    let mut variables = name.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches('{');
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    });
    let alike = |variable: &str| {
        let found = set(one, variable);
        !found.is_empty()
            && found == set(other, variable)
            && !found.iter().any(|line| line.contains("steps."))
    };
    !name.contains("${{") && variables.all(alike)
}
