//! A version is read as a number and loses its last digit.

use kapell_spec::finding::Span;
use kapell_spec::yaml::Style;
use kapell_view::audit::{Confidence, FixClass, Severity};

use crate::github::Flow;
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/version-as-number.md`.
pub(super) static RULE: Rule = Rule {
    name: "version-as-number",
    summary: "A version is read as a number and loses its last digit",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/version-as-number.md"),
    check,
};

/// Languages whose versions have two parts, in names of axes and inputs.
const LANGUAGES: &[&str] = &["python", "go", "ruby", "php", "perl", "elixir", "julia", "kotlin", "scala"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (_, job) in flow.jobs() {
            let mut places: Vec<Span> = Vec::new();
            for axis in job
                .matrix
                .iter()
                .flat_map(|matrix| &matrix.axes)
                .filter(|axis| names_version(&axis.name.text))
            {
                let values = axis.values.iter().flatten();
                places.extend(values.map(|(_, span)| *span).filter(|&span| loses(text(flow, span))));
            }
            for (name, value) in job.steps.iter().flat_map(|step| &step.with) {
                if names_version(&name.text) && value.style == Style::Plain && loses(text(flow, value.span)) {
                    places.push(value.span);
                }
            }
            for span in places {
                tell(flow, span, report);
            }
        }
    }
}

fn text(flow: &Flow, span: Span) -> &str {
    flow.text.get(span.range()).unwrap_or_default()
}

fn tell(flow: &Flow, span: Span, report: &mut Report<'_>) {
    let written = text(flow, span);
    let read = written.trim_end_matches('0').trim_end_matches('.');
    report
        .add(
            flow.file,
            span,
            format!("`{written}` is a number here, so the version that is asked for is `{read}`"),
        )
        .hint(format!("write `'{written}'`"))
        .fix("put it in quotes", FixClass::Review, [(flow.file, span, format!("'{written}'"))])
        .done();
}

/// Tells whether what a name stands for is the version of a language.
fn names_version(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let mut parts = lower.split(|c: char| !c.is_ascii_alphanumeric());
    parts.any(|part| LANGUAGES.contains(&part))
}

/// Tells whether a scalar is a number with two parts that ends with a zero: `3.10`.
fn loses(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor) && minor.ends_with('0'))
}
