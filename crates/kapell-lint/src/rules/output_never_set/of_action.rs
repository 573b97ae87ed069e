//! Outputs that are read of an action of the repository, and that it does not declare.

use kapell_core::expr::{Piece, Template};
use kapell_spec::{
    github::{Expression, Step, Text, Uses},
    suggest,
};
use kapell_view::audit::Severity;

use super::{goes_out, never_sets, of_script};
use crate::{files::Files, github::Flow, repository::Repository, rule::Report};

/// Tells of outputs that a composite action takes from a step that it has not, or that never sets them.
pub(super) fn from_steps(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.github.composites.iter() {
        let all = &repository.github.actions;
        let Some(action) = all.values().find(|action| action.file == flow.file) else {
            continue;
        };
        for (name, value) in &action.model.outputs {
            let Some((id, output, there)) = unset(&repository.files, flow, value) else { continue };
            let why = match there {
                true => format!("step `{id}` never sets `{output}`"),
                false => format!("no step of the action has the id `{id}`"),
            };
            let ids: Vec<&str> =
                action.model.steps.iter().filter_map(|step| Some(&*step.id.as_ref()?.text)).collect();
            let near = suggest::mistyped(&id, ids.iter().copied(), 3).or(match ids[..] {
                [only] => Some(only),
                _ => None,
            });
            let hint = match near.filter(|_| !there) {
                Some(near) => format!("read `steps.{near}.outputs.{output}`"),
                None if there => format!("write `echo \"{output}=...\" >> \"$GITHUB_OUTPUT\"`"),
                None => format!("give the step `id: {id}`"),
            };
            report
                .add(action.file, value.span, format!("the output `{}` is always empty: {why}", name.text))
                .severity(Severity::High)
                .hint(hint)
                .done();
        }
    }
}

/// Returns the step and the output that a value is made of, if it is always empty, and whether that step is there.
fn unset(files: &Files, flow: &Flow, value: &Text) -> Option<(String, String, bool)> {
    let template = Template::parse(&value.text).ok()?;
    let pieces: Vec<Piece<'_>> = template.pieces().collect();
    let [Piece::Expr(only)] = pieces[..] else { return None };
    let references = only.expr.root().references();
    let [reference] = &references[..] else { return None };
    let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
    let ["steps", id, "outputs", output] = path[..] else { return None };
    let named = |step: &Step| step.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id));
    if id == "*" || output == "*" {
        return None;
    }
    match flow.steps(0).find(|(step, _)| named(step)) {
        None => Some((id.to_owned(), output.to_owned(), false)),
        Some((step, facts)) => {
            let shell = step.shell.as_ref().is_none_or(|shell| matches!(&*shell.text, "bash" | "sh"));
            let unset = || match of_script::alone(files, flow, (&flow.model.jobs[0], step), facts) {
                Some((script, facts)) => never_sets(script, output, &facts),
                None => never_sets(step.script(), output, facts),
            };
            (shell && unset()).then(|| (id.to_owned(), output.to_owned(), true))
        }
    }
}

/// Tells of an output that a step's action does not declare. Whatever a script within it writes stays within.
///
/// Source: GitHub, "Metadata syntax", `outputs` for composite actions.
pub(super) fn check(
    repository: &Repository,
    flow: &Flow,
    at: usize,
    (id, output): (&str, &str),
    expression: &Expression,
    report: &mut Report<'_>,
) -> bool {
    let job = &flow.model.jobs[at];
    let named = |step: &&Step| step.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id));
    let Some(step) = job.steps.iter().find(named) else { return false };
    let Some(Uses::Local(path)) = step.action() else { return false };
    let Some(action) = repository.github.actions.get(&**path) else { return false };
    // An action of another kind may set outputs that it does not declare.
    let composite = !action.model.steps.is_empty();
    let declared = || action.model.outputs.iter().map(|(name, _)| &*name.text);
    if !composite || output == "*" || declared().any(|name| name.eq_ignore_ascii_case(output)) {
        return false;
    }
    let span = expression.span(&flow.text);
    let in_condition = job
        .condition
        .iter()
        .chain(job.steps.iter().filter_map(|step| step.condition.as_ref()))
        .any(|condition| condition.span == expression.scalar);
    let grave = in_condition || goes_out(flow, at, span);
    let draft = report
        .add(
            flow.file,
            span,
            format!("`steps.{id}.outputs.{output}` is always empty: the action declares no such output"),
        )
        .also(flow.file, step.id.as_ref().map_or(step.span, |id| id.span), "this step")
        .severity(if grave { Severity::High } else { Severity::Medium });
    let alike = |name: &&str| name.replace('-', "_").eq_ignore_ascii_case(&output.replace('-', "_"));
    match declared().find(alike).or_else(|| suggest::mistyped(output, declared(), 2)) {
        Some(near) => draft.hint(format!("read `steps.{id}.outputs.{near}`")).done(),
        None => draft.hint(format!("add `{output}` to `outputs` of the action, with its `value`")).done(),
    }
    true
}
