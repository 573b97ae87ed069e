//! A branch that one workflow pushes by force, while another one brings something to it.

use kapell_spec::github::{Job, Step};
use kapell_view::audit::Confidence;

use super::branch::{Brought, is_usual};
use crate::{
    github::{Flow, script::Command},
    repository::Repository,
    rule::Report,
};

/// Tells of a push by force to a branch to which another workflow brings something, where nothing lets one wait for the other.
///
/// Source: Git, "git-push", `--force`: it "can cause the remote repository to lose commits".
pub(super) fn check(repository: &Repository, brought: &[Brought<'_>], report: &mut Report<'_>) {
    if brought.is_empty() {
        return;
    }
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs().filter(|(_, job)| is_usual(job.condition.as_ref())) {
            for (step, facts) in flow.steps(at).filter(|(step, _)| is_usual(step.condition.as_ref())) {
                let mut all = facts.commands.iter();
                let found = all.find_map(|command| Some((command, pushed(command)?)));
                let Some((command, branch)) =
                    found.filter(|(_, branch)| goes_on_from(flow, (job, step), branch))
                else {
                    continue;
                };
                let other = brought.iter().find(|other| {
                    let apart = !std::ptr::eq(other.flow, flow) && other.branch == branch;
                    apart && !share_a_group((flow, job), (other.flow, &other.flow.model.jobs[other.at]))
                });
                let Some(other) = other else { continue };
                report
                    .add(
                        flow.file,
                        flow.script_line(step, command.start, ""),
                        format!(
                            "`{}` pushes `{branch}` by force: what `{}` brings there after it was fetched is lost",
                            flow.name(),
                            other.flow.name()
                        ),
                    )
                    .confidence(Confidence::Medium)
                    .also(other.flow.file, other.span, "brought here")
                    .hint("drop the force, and give both the same `concurrency` group")
                    .done();
            }
        }
    }
}

/// Returns the branch that a command pushes by force, if that is written out: `git -C out push --force origin HEAD:gh-pages`.
fn pushed(command: &Command) -> Option<&str> {
    let words = command.inner();
    let push = words.iter().position(|word| word == "push").filter(|_| command.program() == "git")?;
    let rest = &words[push + 1..];
    let named: Vec<&str> = rest.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let ["origin", reference] = named[..] else { return None };
    let forced =
        reference.starts_with('+') || rest.iter().any(|word| matches!(word.as_str(), "-f" | "--force"));
    let target = reference.trim_start_matches('+').rsplit(':').next()?;
    let branch = target.strip_prefix("refs/heads/").unwrap_or(target);
    let takes = rest.iter().any(|word| matches!(word.as_str(), "-d" | "--delete" | "--tags"));
    (forced && !takes && !branch.contains('$') && branch != "HEAD").then_some(branch)
}

/// Tells whether a step goes on from what is on a branch: it or a checkout before it has fetched that.
fn goes_on_from(flow: &Flow, (job, step): (&Job, &Step), branch: &str) -> bool {
    let script = step.script();
    let fetched = [format!("origin/{branch}"), format!("fetch origin {branch}"), format!("-b {branch}")];
    let checked_out = job.steps.iter().filter_map(|other| other.input("ref")).any(|text| text.is(branch));
    let anew = ["--orphan", "git init"].iter().any(|word| script.contains(word));
    !anew && (checked_out || fetched.iter().any(|word| script.contains(word))) && flow.text.contains(branch)
}

/// Tells whether the runs of two jobs wait for each other: a group of one is a group of the other.
fn share_a_group(one: (&Flow, &Job), other: (&Flow, &Job)) -> bool {
    let groups = |(flow, job): (&Flow, &Job)| -> Vec<String> {
        let own = flow.model.concurrency.iter().chain(&job.concurrency);
        own.filter_map(|own| Some(own.group.as_ref()?.text.trim().to_owned())).collect()
    };
    let (one, other) = (groups(one), groups(other));
    one.iter().any(|group| other.contains(group) && !group.contains("github.workflow"))
}
