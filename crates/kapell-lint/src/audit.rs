//! All rules over one repository.

use kapell_view::audit::Finding;

use crate::{
    repository::Repository,
    rule::{Report, Rule},
    rules::{RULES, only_advises},
};

/// Runs the rules that look at this depth. Worst first; the order is the same every time.
#[must_use]
pub fn audit(repository: &Repository) -> Vec<Finding> {
    audit_with(repository, &|_| true)
}

/// Runs those rules that look at this depth and are chosen.
#[must_use]
pub fn audit_with(repository: &Repository, chosen: &dyn Fn(&Rule) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES.iter().copied().filter(|rule| rule.depth <= repository.depth && chosen(rule)) {
        let mut report = Report::new(repository, rule);
        (rule.check)(repository, &mut report);
        let found = report.into_findings();
        debug_assert!(!only_advises(rule) || !found.iter().any(Finding::warns), "{} warns", rule.name);
        findings.extend(found);
    }
    sort(&mut findings);
    findings
}

/// Puts findings into the order of an audit. Those that several audits found, each with rules of its own, come into the
/// order of one audit with all of them.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let rank = |finding: &Finding| (finding.severity, finding.confidence, finding.saving_seconds);
        rank(b).cmp(&rank(a)).then_with(|| (&a.place, &a.rule).cmp(&(&b.place, &b.rule)))
    });
}
