//! A cache of the folder of programs is restored after these have been built.

use kapell_spec::github::Step;

use crate::{
    github::{Flow, script::Command},
    rule::Report,
};

/// Programs whose `install` builds others, and the folder that these go to.
///
/// Sources: `cargo help install`, `go help install`: what is installed goes to `~/.cargo/bin` and `~/go/bin`.
const BUILDERS: &[(&str, &str)] = &[("cargo", ".cargo/bin"), ("go", "go/bin")];

/// Tells of the cache at `index` where the programs in its folder are installed in front of it, and none behind.
pub(super) fn check(flow: &Flow, at: usize, index: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let step = &job.steps[index];
    let kept = |step: &Step| step.is("actions/cache") || step.is("actions/cache/restore");
    if !kept(step) || step.condition.is_some() || job.steps[..index].iter().any(kept) {
        return;
    }
    let Some(path) = step.input("path") else { return };
    let holds =
        |folder: &str| path.text.lines().any(|line| line.trim().trim_end_matches('/').contains(folder));
    let Some((program, _)) = BUILDERS.iter().find(|(_, folder)| holds(folder)) else { return };
    let installs = |command: &Command| matches!(command.inner(), [own, install, _, ..] if own == program && install == "install");
    let is_first = |index: &usize| {
        flow.facts[at][*index].commands.iter().any(installs) && job.steps[*index].condition.is_none()
    };
    let Some(earlier) = (0..index).find(is_first) else { return };
    let later = (index + 1..job.steps.len()).any(|index| flow.facts[at][index].commands.iter().any(installs));
    if later {
        return;
    }
    report
        .add(
            flow.file,
            step.uses.as_ref().map_or(step.span, |(text, _)| text.span),
            format!(
                "`{}` restores the programs that `{program} install` builds after it has built them",
                job.id.text
            ),
        )
        .also(flow.file, job.steps[earlier].span, "built here")
        .hint("move the cache in front of the install")
        .done();
}
