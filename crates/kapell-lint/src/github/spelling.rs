//! Texts of a workflow in one way of writing them, to be held against each other.

use super::Flow;

/// What every script is given, and the expression for the same.
const GIVEN: &[(&str, &str)] = &[
    ("GITHUB_SHA", "${{github.sha}}"),
    ("GITHUB_REF_NAME", "${{github.ref_name}}"),
    ("GITHUB_RUN_ID", "${{github.run_id}}"),
    ("GITHUB_RUN_NUMBER", "${{github.run_number}}"),
    ("GITHUB_REPOSITORY", "${{github.repository}}"),
];

/// Returns a text in one way of writing it: without blanks, and with what the workflow or the job gives to its variables.
#[must_use]
pub fn spelled(flow: &Flow, at: usize, text: &str) -> String {
    let mut text: String = text.split_whitespace().collect();
    let env = flow.model.jobs[at].env.iter().chain(&flow.model.env);
    let own = env.map(|(name, value)| (&*name.text, value.text.split_whitespace().collect::<String>()));
    for (name, value) in own.chain(GIVEN.iter().map(|(name, value)| (*name, (*value).to_owned()))) {
        if !text.contains(name) {
            continue;
        }
        for written in [format!("${{{{env.{name}}}}}"), format!("${{{name}}}"), format!("${name}")] {
            text = text.replace(&written, &value);
        }
    }
    text
}
