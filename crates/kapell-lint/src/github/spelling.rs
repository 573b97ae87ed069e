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
        for written in [format!("${{{{env.{name}}}}}"), format!("${{{name}}}")] {
            text = text.replace(&written, &value);
        }
        text = without_bare(&text, &format!("${name}"), &value);
    }
    text
}

/// Returns a text with a value for a variable without braces; `$TAG` is no part of `$TAG_OF_BASE`.
fn without_bare(text: &str, variable: &str, value: &str) -> String {
    let mut parts = text.split(variable);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        let longer = rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        out.push_str(if longer { variable } else { value });
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_no_part_of_a_longer_one() {
        assert_eq!(without_bare("app:$TAG-$TAG_OF_BASE-$TAG", "$TAG", "1"), "app:1-$TAG_OF_BASE-1");
        assert_eq!(without_bare("app", "$TAG", "1"), "app");
    }
}
