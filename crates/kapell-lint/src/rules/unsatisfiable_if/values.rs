//! Comparisons of outputs with values that they never have.

mod words; // truth values and names of bots that are compared with a word that they never are

pub(super) use self::words::has_pattern;

use kapell_core::expr::{Comparison, Literal, Node, NodeKind};
use kapell_spec::github::{Expression, Input, Step};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, StepFacts, carry, script::Command},
    rule::{Report, listed},
};

/// Looks at all comparisons of a workflow, or of a composite action.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    let composite = flow.worlds.is_empty() && flow.model.events.is_empty();
    for (at, job) in flow.jobs() {
        for expression in job.expressions.iter().filter(|expression| !expression.expr.root().is_plain()) {
            expression.expr.root().walk(&mut |node| {
                words::check(flow, at, node, expression, report);
                let Some((path, differs, other)) = compared(node) else { return };
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let place = Place { flow, at, expression, differs };
                match (&path[..], other) {
                    (["steps", id, "outputs", name], Literal::String(text)) if !differs => {
                        literal(flow, at, (id, name, text), expression, report);
                    }
                    (["needs", id, "outputs", name], Literal::String(text)) if !differs => {
                        of_job(flow, (id, name, text), expression, report);
                    }
                    (["github", "event", rest @ ..], Literal::String(text))
                        if matches!(&**text, "true" | "false") && is_boolean(rest) =>
                    {
                        place.flag(&path.join("."), text, report);
                    }
                    (["steps" | "needs", _, "outputs", _], Literal::Bool(true)) => {
                        place.not_a_text(&path.join("."), "an output", report);
                    }
                    (["github", "event", "inputs", name], Literal::Bool(wanted)) => {
                        place.ticked(name, *wanted, report);
                    }
                    (["inputs", name], Literal::String(text)) if !composite => {
                        place.switch(name, text, report);
                    }
                    (["inputs", _], Literal::Bool(true)) if composite => {
                        place.not_a_text(&path.join("."), "an input of an action", report);
                    }
                    _ => {}
                }
            });
        }
    }
}

/// Returns the path of a comparison `==` or `!=`, whether it is the second, and the literal.
pub(super) fn compared(node: &Node) -> Option<(Vec<String>, bool, &Literal)> {
    let NodeKind::Compare { comparison: sign @ (Comparison::Equal | Comparison::NotEqual), left, right } =
        &node.kind
    else {
        return None;
    };
    let differs = *sign == Comparison::NotEqual;
    let path = |node: &Node| {
        let NodeKind::Access { .. } = &node.kind else { return None };
        let reference = node.references().into_iter().next().filter(|reference| reference.whole)?;
        Some(reference.path.iter().map(|(name, _)| name.to_ascii_lowercase()).collect::<Vec<_>>())
    };
    match (&left.kind, &right.kind) {
        (_, NodeKind::Literal(literal)) => Some((path(left)?, differs, literal)),
        (NodeKind::Literal(literal), _) => Some((path(right)?, differs, literal)),
        _ => None,
    }
}

/// A comparison of two values that are never equal, as one is a text and the other is not.
struct Place<'a> {
    flow: &'a Flow,
    at: usize,
    expression: &'a Expression,
    /// Whether it asks that they differ, and so always holds.
    differs: bool,
}

impl Place<'_> {
    fn tell(&self, path: &str, literal: &str, why: &str, hint: String, report: &mut Report<'_>) {
        let (sign, says) = if self.differs { ("!=", "always") } else { ("==", "never") };
        let span = self.expression.span(&self.flow.text);
        report
            .add(self.flow.file, span, format!("`{path} {sign} {literal}` {says} holds: {why}"))
            .severity(if self.is_grave() { Severity::High } else { Severity::Medium })
            .hint(hint)
            .done();
    }

    /// Tells whether a delivery hangs on it: that of its own job, or of what is skipped with a job that never runs.
    fn is_grave(&self) -> bool {
        let of_job = || {
            let own = self.flow.model.jobs[self.at].condition.as_ref();
            own.is_some_and(|condition| condition.span == self.expression.scalar)
        };
        let needed = || match &self.expression.expr.root().kind {
            NodeKind::And(operands) => operands.iter().any(|operand| compared(operand).is_some()),
            kind => matches!(kind, NodeKind::Compare { .. }),
        };
        carry::delivers(self.flow, self.at)
            || !self.differs && of_job() && needed() && super::is_missed(self.flow, self.at)
    }

    /// Returns how a boolean is asked for that was compared with a word.
    fn plainly(&self, path: &str, wanted: &str) -> String {
        if (wanted == "true") == self.differs {
            format!("write `!{path}`")
        } else {
            format!("write `{path}`")
        }
    }

    /// A text compared with `true`: both are taken for numbers, and a word is none.
    ///
    /// Source: GitHub, "Evaluate expressions in workflows and actions", section "Operators".
    fn not_a_text(&self, path: &str, what: &str, report: &mut Report<'_>) {
        let sign = if self.differs { "!=" } else { "==" };
        let why = format!("{what} is a text, and `'true'` is not `true`");
        self.tell(path, "true", &why, format!("write `{path} {sign} 'true'`"), report);
    }

    /// An input of the event compared with `true` or `false`: the event has it as a text, and as a number that is none.
    ///
    /// Source: GitHub, "Workflow syntax", `on.workflow_dispatch.inputs`, and "Evaluate expressions", section "Operators".
    fn ticked(&self, name: &str, wanted: bool, report: &mut Report<'_>) {
        // Without the event there is no such text, and nothing is as much as `false`.
        let always = self.flow.model.events.iter().all(|event| &*event.name.text == "workflow_dispatch");
        if !wanted && !always {
            return;
        }
        let sign = if self.differs { "!=" } else { "==" };
        let why = format!("the event has a text, and `'{wanted}'` is not `{wanted}`");
        let hint = format!("write `inputs.{name} {sign} {wanted}`, or compare with `'{wanted}'`");
        self.tell(&format!("github.event.inputs.{name}"), &wanted.to_string(), &why, hint, report);
    }

    /// A property of an event that is `true` or `false`, compared with a word.
    ///
    /// Source: GitHub, "Webhook events and payloads": these are booleans.
    fn flag(&self, path: &str, wanted: &str, report: &mut Report<'_>) {
        let why = format!("it is a boolean, and `{wanted}` is not `'{wanted}'`");
        self.tell(path, &format!("'{wanted}'"), &why, self.plainly(path, wanted), report);
    }

    /// A switch compared with a word: `inputs.dry_run` is `true` or `false`, and neither is a text.
    ///
    /// Source: GitHub, "Workflow syntax", `on.workflow_dispatch.inputs`: the `inputs` context keeps a boolean as one, while
    /// `github.event.inputs` makes a text of it.
    fn switch(&self, name: &str, wanted: &str, report: &mut Report<'_>) {
        let inputs = || self.flow.model.events.iter().flat_map(|event| &event.inputs);
        let is = |input: &Input| input.name.text.eq_ignore_ascii_case(name);
        let boolean =
            |input: &Input| is(input) && input.kind.as_ref().is_some_and(|kind| *kind.text == *"boolean");
        let mixed = inputs().any(|input| is(input) && !boolean(input));
        if matches!(wanted, "true" | "false") && inputs().any(boolean) && !mixed {
            self.flag(&format!("inputs.{name}"), wanted, report);
        }
    }
}

/// Tells whether a property of an event is `true` or `false`, and no text.
fn is_boolean(path: &[&str]) -> bool {
    match path {
        ["pull_request", name] => matches!(*name, "merged" | "draft" | "maintainer_can_modify"),
        ["release", name] => matches!(*name, "prerelease" | "draft"),
        ["repository", name] => matches!(*name, "private" | "fork" | "archived"),
        ["created" | "deleted" | "forced"] => true,
        _ => false,
    }
}

/// A value that the step never writes.
fn literal(
    flow: &Flow,
    at: usize,
    (id, name, wanted): (&str, &str, &str),
    expression: &Expression,
    report: &mut Report<'_>,
) {
    let named = |step: &Step| step.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id));
    let Some((step, facts)) = flow.steps(at).find(|(step, _)| named(step)) else { return };
    // A script of the repository may write others.
    let by_script = || written(step, facts, name).filter(|_| !facts.runs_own_script());
    let Some(values) = said(step, name).or_else(by_script) else { return };
    // What is not written at all is empty.
    if wanted.is_empty() || values.iter().any(|value| value.eq_ignore_ascii_case(wanted)) {
        return;
    }
    let known = listed(values.iter().map(|value| format!("`{value}`")), 4);
    report
        .add(
            flow.file,
            expression.span(&flow.text),
            format!("`steps.{id}.outputs.{name}` is {known} and never `{wanted}`, so this never holds"),
        )
        .confidence(Confidence::Medium)
        .also(flow.file, step.run.as_ref().map_or(step.span, |run| run.span), "written here")
        .hint("compare with what the step writes")
        .done();
}

/// A value that no step writes of the job whose output it is.
fn of_job(
    flow: &Flow,
    (id, name, wanted): (&str, &str, &str),
    expression: &Expression,
    report: &mut Report<'_>,
) {
    if let Some((at, step, output)) = handed_on(flow, id, name) {
        literal(flow, at, (step, output, wanted), expression, report);
    }
}

/// Outputs of actions that are one of a few words; an output without a name is any but those that lists and numbers have.
///
/// Sources: the `action.yml` of each.
const SAID: &[(&str, &[&str], &[&str])] = &[
    ("dorny/paths-filter", &[], &["true", "false"]),
    (
        "tj-actions/changed-files",
        &["any_changed", "any_modified", "any_deleted", "only_changed"],
        &["true", "false"],
    ),
    ("fkirc/skip-duplicate-actions", &["should_skip"], &["true", "false"]),
    ("actions/cache", &["cache-hit"], &["true", "false"]),
    ("actions/cache/restore", &["cache-hit"], &["true", "false"]),
    ("actions/setup-node", &["cache-hit"], &["true", "false"]),
    ("actions/setup-python", &["cache-hit"], &["true", "false"]),
];

/// Returns all values of an output that its action is known to give.
fn said(step: &Step, name: &str) -> Option<Vec<String>> {
    let plain = || name != "changes" && !name.ends_with("_count") && !name.ends_with("_files");
    let fits = |names: &[&str]| names.contains(&name) || names.is_empty() && plain();
    let row = SAID.iter().find(|(action, names, _)| step.is(action) && fits(names))?;
    Some(row.2.iter().map(|value| (*value).to_owned()).collect())
}

/// Returns the job, the step and the output that a job hands on as an output of its own, as it is.
pub(in crate::rules) fn handed_on<'a>(
    flow: &'a Flow,
    id: &str,
    name: &str,
) -> Option<(usize, &'a str, &'a str)> {
    let (at, job) = flow.jobs().find(|(_, job)| job.id.text.eq_ignore_ascii_case(id))?;
    let (_, value) = job.outputs.iter().find(|(known, _)| known.text.eq_ignore_ascii_case(name))?;
    let (step, output) = value.expression()?.strip_prefix("steps.")?.split_once(".outputs.")?;
    let plain = output.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    plain.then_some((at, step, output))
}

/// Returns all values of an output that a script is seen to write, if it writes every output in the plainest way: `echo "name=value"`.
pub(super) fn written(step: &Step, facts: &StepFacts, name: &str) -> Option<Vec<String>> {
    let script = step.script();
    let goes_out = |command: &&Command| command.words.iter().any(|word| word.contains("GITHUB_OUTPUT"));
    let writes: Vec<&Command> = facts.commands.iter().filter(goes_out).collect();
    if writes.is_empty()
        || writes.len() != script.matches("GITHUB_OUTPUT").count()
        || script.contains("::set-output")
    {
        return None;
    }
    let mut values = Vec::new();
    for command in writes {
        let (key, value) = command.words.get(1).filter(|_| command.program() == "echo")?.split_once('=')?;
        // A name that is made up may be any.
        if key.contains(['$', '`', '<']) || value.contains('\n') {
            return None;
        }
        if key.trim().eq_ignore_ascii_case(name) {
            let value = value.trim();
            if value.contains(['$', '`']) {
                return None;
            }
            if !values.iter().any(|known| known == value) {
                values.push(value.to_owned());
            }
        }
    }
    (!values.is_empty()).then_some(values)
}
