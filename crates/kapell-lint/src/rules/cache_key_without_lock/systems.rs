//! One key for what is built on several systems.

use kapell_spec::github::{Job, Step};
use kapell_view::audit::Severity;

use crate::{github::Flow, rule::Report};

/// Folders of what only runs on the system that it was built on.
const BUILT: &[&str] =
    &["target", "node_modules", ".venv", "venv", "vendor/bundle", "_build", ".build", "Pods"];

/// Parts of keys that tell systems apart, or that may.
const APART: &[&str] =
    &["runner.", "matrix", "os", "arch", "platform", "github.job", "env.", "steps.", "inputs."];

/// Tells of a cache that Linux and macOS share; that of Windows is kept apart.
///
/// Source: actions/cache, "Cache Version" and `enableCrossOsArchive`: the version is made of the paths, of how they are packed,
/// and of whether the runner is one of Windows.
pub(super) fn check(flow: &Flow, job: &Job, step: &Step, report: &mut Report<'_>) {
    let (Some(key), Some(path)) = (step.input("key"), step.input("path")) else { return };
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    let several = job.runs_on.iter().any(|label| label.text.contains("matrix."))
        && ["ubuntu-", "macos-"].iter().all(|system| text.contains(system));
    let lower = key.text.to_ascii_lowercase();
    if !several || !step.is("actions/cache") || APART.iter().any(|part| lower.contains(part)) {
        return;
    }
    let clean = |line: &str| line.trim().trim_matches(['\'', '"']).trim_end_matches('/').to_owned();
    let built = |line: &String| BUILT.iter().any(|name| line == name || line.ends_with(&format!("/{name}")));
    let Some(folder) = path.text.lines().map(clean).find(built) else { return };
    report
        .add(
            flow.file,
            key.span,
            format!(
                "Linux and macOS have one key for `{folder}`: what one of them saved first is what both get"
            ),
        )
        .severity(Severity::Medium)
        .hint("put `${{ runner.os }}` into the key")
        .done();
}
