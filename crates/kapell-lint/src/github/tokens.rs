//! As whom a step asks GitHub.

use kapell_spec::github::{Job, Name, Step, Text};

use super::Flow;

/// The variables that `gh` takes its token from, the first of them first.
///
/// Source: the manual of the GitHub CLI, "gh environment": "`GH_TOKEN`, `GITHUB_TOKEN` (in order of precedence)".
const OF_GH: [&str; 2] = ["GH_TOKEN", "GITHUB_TOKEN"];

/// Returns the token that `gh` takes in a step: that of the step before that of its job, and that of the workflow last.
pub(crate) fn of_gh<'a>(flow: &'a Flow, job: &'a Job, step: &'a Step) -> Option<&'a Text> {
    let named = |env: &'a [(Name, Text)], wanted: &str| env.iter().find(|(name, _)| &*name.text == wanted);
    let given = |env: &'a [(Name, Text)]| OF_GH.iter().find_map(|wanted| named(env, wanted));
    [&step.env[..], &job.env, &flow.model.env].into_iter().find_map(given).map(|(_, token)| token)
}
