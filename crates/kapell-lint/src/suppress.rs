//! What people wrote to keep a finding quiet: a comment beside it, or a baseline.
//!
//! `# kapell: ignore[rule-a, rule-b] why` on the line of the finding or in the comments right above it; in Markdown
//! `<!-- kapell: ignore[rule] why -->`, in code `// kapell: ignore[rule] why`.

use std::collections::BTreeMap;

use kapell_view::audit::Finding;
use serde::{Deserialize, Serialize};

use crate::{
    files::{File, Files},
    intent::MARK,
};

/// Splits off the findings that a comment keeps quiet, and returns how many they are.
pub fn by_comments(files: &Files, findings: &mut Vec<Finding>) -> u32 {
    let before = findings.len();
    findings
        .retain(|finding| !files.find(&finding.place.path).is_some_and(|id| is_ignored(&files[id], finding)));
    (before - findings.len()) as u32
}

fn is_ignored(file: &File, finding: &Finding) -> bool {
    let line = finding.place.line;
    let above = (1..line).rev().map(|line| file.line_text(line)).take_while(|text| is_comment(text));
    std::iter::once(file.line_text(line)).chain(above).any(|text| names(text, &finding.rule))
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    ["#", "//", "<!--"].iter().any(|mark| line.starts_with(mark))
}

/// Tells whether a line ignores a rule.
fn names(line: &str, rule: &str) -> bool {
    let Some((_, rest)) = line.split_once(MARK) else { return false };
    let Some((rules, _)) = rest.split_once(']') else { return false };
    rules.split(',').any(|named| named.trim() == rule)
}

/// Findings that are known and left for later: how often each fingerprint was there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The version of this form: 1.
    pub version: u32,
    /// How often each is known, by fingerprint.
    pub known: BTreeMap<String, u32>,
}

impl Baseline {
    /// The version of the form.
    pub const VERSION: u32 = 1;

    /// Takes all findings as known.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Self {
        let mut known = BTreeMap::new();
        for finding in findings {
            *known.entry(finding.fingerprint.clone()).or_default() += 1;
        }
        Self { version: Self::VERSION, known }
    }

    /// Splits off the findings that are known, and returns how many they are.
    pub fn apply(&self, findings: &mut Vec<Finding>) -> u32 {
        let (before, mut left) = (findings.len(), self.known.clone());
        findings.retain(|finding| match left.get_mut(&finding.fingerprint) {
            Some(count @ 1..) => {
                *count -= 1;
                false
            }
            _ => true,
        });
        (before - findings.len()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_names_its_rules() {
        assert!(names("  # kapell: ignore[no-timeout, full-clone] tags are needed", "full-clone"));
        assert!(!names("  # kapell: ignore[no-timeout] tags are needed", "full-clone"));
        assert!(!names("  # kapell: ignore[no-timeout", "no-timeout"));
        assert!(is_comment("  <!-- kapell: ignore[a] -->") && is_comment("// x") && !is_comment("jobs: # x"));
    }
}
