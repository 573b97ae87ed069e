//! A condition can never hold.

mod choices; // times of a schedule, and options
mod middle; // choices of which one is never made
mod run_of; // the event of the run that a workflow waits for
mod texts; // words that are taken for truth values
mod values; // outputs, and what is written to them

pub(super) use self::values::handed_on;

use kapell_core::expr::{Comparison, Function, Literal, Node, NodeKind};
use kapell_spec::{
    finding::Span,
    github::{Condition, Expression, Job, Word},
};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, carry, conditions::Run, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/unsatisfiable-if.md`.
pub(super) static RULE: Rule = Rule {
    name: "unsatisfiable-if",
    summary: "A condition can never hold",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/unsatisfiable-if.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.asked_with_steps() {
        values::check(flow, report);
        texts::check(&repository.github, flow, report);
        middle::check(flow, report);
    }
    for flow in repository.asked_flows() {
        forms(flow, report);
        text_around(flow, report);
        called(flow, report);
        run_of::check(&repository.github, flow, report);
        if flow.worlds.iter().any(|world| world.event.is_none()) {
            continue;
        }
        let mut told: Vec<Span> = Vec::new();
        for (at, job) in flow.jobs() {
            if let Some(condition) = &job.condition
                && (0..flow.worlds.len())
                    .all(|world| flow.scope(world, at, false).holds(condition) == Some(false))
                && !flow.closures[at].iter().any(|&up| flow.runs.iter().all(|runs| runs[up] == Run::Never))
                && !is_off(condition)
                && !wrong_form_in(condition)
            {
                told.push(condition.span);
                add(
                    flow,
                    condition.span,
                    format!(
                        "`{}` can never run: no trigger of this workflow fulfils `{}`",
                        job.id.text,
                        short(&condition.text)
                    ),
                    if matters(flow, at) { Severity::High } else { Severity::Medium },
                    report,
                );
                continue;
            }
            steps(flow, at, &mut told, report);
        }
        parts(flow, &told, report);
        choices::check(flow, &told, report);
    }
}

/// Tells whether a job that never runs is missed: it tests, delivers, or puts pages online, what does so is skipped with it, or
/// it is the rest of a delivery: with a key it sends something when that is done.
fn matters(flow: &Flow, at: usize) -> bool {
    let does = |at: usize, kind: Kind| flow.facts[at].iter().any(|facts| facts.does(kind));
    let outward = |at: usize| carry::delivers(flow, at) || does(at, Kind::Pages) || does(at, Kind::Test);
    let rest = || carry::sends(flow, at) && flow.closures[at].iter().any(|&up| carry::delivers(flow, up));
    outward(at) || rest() || skips(flow, at).any(outward)
}

/// Tells whether a delivery is skipped together with a job that never runs.
fn is_missed(flow: &Flow, at: usize) -> bool {
    skips(flow, at).any(|other| carry::delivers(flow, other))
}

/// Returns the jobs that are skipped where another one is.
fn skips(flow: &Flow, at: usize) -> impl Iterator<Item = usize> {
    let skipped = move |(other, job): &(usize, &Job)| {
        flow.closures[*other].contains(&at) && !job.condition.as_ref().is_some_and(Condition::asks_status)
    };
    flow.jobs().filter(skipped).map(|(other, _)| other)
}

/// `if: false`, alone or in front of what held before, is how people turn something off.
pub(super) fn is_off(condition: &Condition) -> bool {
    let no = |node: &Node| matches!(&node.kind, NodeKind::Literal(Literal::Bool(false)));
    condition.text.trim() == "false"
        || condition.expr.as_ref().is_some_and(|expr| match &expr.root().kind {
            NodeKind::And(operands) => operands.iter().any(no),
            _ => no(expr.root()),
        })
}

fn short(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > 80 { format!("{}...", line.chars().take(77).collect::<String>()) } else { line }
}

fn add(flow: &Flow, span: Span, message: String, severity: Severity, report: &mut Report<'_>) {
    let triggers: Vec<String> =
        flow.model.events.iter().map(|event| format!("`{}`", event.name.text)).collect();
    report
        .add(flow.file, span, message)
        .severity(severity)
        .hint(format!("the workflow starts on {}", triggers.join(", ")))
        .done();
}

fn steps(flow: &Flow, at: usize, told: &mut Vec<Span>, report: &mut Report<'_>) {
    let worlds: Vec<usize> =
        (0..flow.worlds.len()).filter(|&world| flow.runs[world][at] != Run::Never).collect();
    for (step, facts) in flow.steps(at) {
        let Some(condition) = &step.condition else { continue };
        let never = !worlds.is_empty()
            && worlds.iter().all(|&world| flow.scope(world, at, true).holds(condition) == Some(false));
        if never && !is_off(condition) && !wrong_form_in(condition) {
            told.push(condition.span);
            let name = step
                .name
                .as_ref()
                .map_or_else(|| "a step".to_owned(), |name| format!("step `{}`", name.text));
            add(
                flow,
                condition.span,
                format!(
                    "{name} of `{}` can never run: no trigger of this workflow fulfils `{}`",
                    flow.model.jobs[at].id.text,
                    short(&condition.text)
                ),
                if facts.works.iter().any(|done| done.work.kind.delivers()) {
                    Severity::High
                } else {
                    Severity::Medium
                },
                report,
            );
        }
    }
}

/// A called workflow sees the event of its caller, and never one of the name `workflow_call`.
///
/// Source: GitHub, "Reuse workflows": the `github` context is the caller's.
fn called(flow: &Flow, report: &mut Report<'_>) {
    if !flow.starts("workflow_call") {
        return;
    }
    let conditions = flow.jobs().flat_map(|(at, job)| {
        let steps = job.steps.iter().filter_map(|step| step.condition.as_ref());
        job.condition.iter().chain(steps).map(move |condition| (at, condition))
    });
    for (at, condition) in conditions {
        let Some(expr) = &condition.expr else { continue };
        let root = expr.root();
        let is = |node: &Node| compared_event(node).is_some_and(|event| event == "workflow_call");
        let needed = match &root.kind {
            NodeKind::And(operands) => operands.iter().any(is),
            _ => is(root),
        };
        if !needed {
            continue;
        }
        let goes_out = carry::delivers(flow, at);
        report
            .add(
                flow.file,
                condition.span,
                "`github.event_name` is the event of the caller and never `workflow_call`".to_owned(),
            )
            .severity(if goes_out { Severity::High } else { Severity::Medium })
            .hint("drop the comparison, or ask for an input that only a caller gives")
            .done();
    }
}

/// Comparisons with an event that does not start the workflow, within larger expressions: one finding for each event.
fn parts(flow: &Flow, told: &[Span], report: &mut Report<'_>) {
    let mut found: Vec<(String, Vec<Span>)> = Vec::new();
    let all = flow.model.expressions.iter().chain(flow.model.jobs.iter().flat_map(|job| &job.expressions));
    let asks =
        |expression: &&Expression| expression.says(Word::EventName) && !told.contains(&expression.scalar);
    for expression in all.filter(asks) {
        // One of several alternatives, or a switch of the workflow itself, is kept for copies and for later.
        let spare = alternatives(expression.expr.root());
        let of_head = !flow.model.jobs.iter().any(|job| within(job.span, expression.scalar));
        expression.expr.root().walk(&mut |node| {
            let Some(event) = compared_event(node) else { return };
            if of_head || spare.iter().any(|known| std::ptr::eq(*known, node)) {
                return;
            }
            if flow.model.event(&event).is_none() && !flow.model.events.is_empty() {
                let span = expression.span(&flow.text);
                match found.iter_mut().find(|(known, _)| *known == event) {
                    Some((_, spans)) => spans.push(span),
                    None => found.push((event, vec![span])),
                }
            }
        });
    }
    for (event, spans) in found {
        let mut draft = report
            .add(
                flow.file,
                spans[0],
                format!(
                    "`github.event_name == '{event}'` never holds: the workflow does not start on `{event}`"
                ),
            )
            .severity(Severity::Low)
            .hint(format!("add the trigger `{event}`, or drop the comparison"));
        for span in &spans[1..] {
            draft = draft.also(flow.file, *span, "here too");
        }
        draft.done();
    }
}

/// `if: ${{ a }} && b`: what stands around the expression makes a text of the whole, and no text but the empty one is false.
///
/// Source: GitHub, "Evaluate expressions in workflows and actions": only `${{ }}` is evaluated.
fn text_around(flow: &Flow, report: &mut Report<'_>) {
    for (at, job) in flow.jobs() {
        let own = job.condition.iter().map(|condition| (condition, carry::changes(flow, at)));
        let of_steps = flow
            .steps(at)
            .filter_map(|(step, facts)| Some((step.condition.as_ref()?, facts.mutation().is_some())));
        for (condition, grave) in own.chain(of_steps).filter(|(condition, _)| condition.mixed) {
            // The text of a block was taken out of its expression.
            let block = !condition.text.contains("${{");
            let (what, hint) = match block {
                true => {
                    ("the end of the line behind", "write `>-` in place of `|`, or take the `${{ }}` away")
                }
                false => ("the text around", "put all of it between `${{` and `}}`, or none"),
            };
            report
                .add(
                    flow.file,
                    condition.span,
                    format!("`{}` always holds: {what} `${{{{ }}}}` makes it a text", short(&condition.text)),
                )
                .severity(if grave { Severity::High } else { Severity::Medium })
                .hint(hint)
                .done();
        }
    }
}

/// Comparisons of a ref with a text of another form, wherever they stand: `github.ref == 'main'`.
fn forms(flow: &Flow, report: &mut Report<'_>) {
    let of_jobs =
        flow.jobs().flat_map(|(at, job)| job.expressions.iter().map(move |found| (Some(at), found)));
    let all = flow.model.expressions.iter().map(|found| (None, found)).chain(of_jobs);
    // One mistake is made in all places alike.
    let mut found: Vec<(Form, Vec<Span>)> = Vec::new();
    let mut grave = false;
    for (at, expression) in all.filter(|(_, expression)| !expression.expr.root().is_plain()) {
        expression.expr.root().walk(&mut |node| {
            let Some(form) = wrong_form(node) else { return };
            grave |= at.is_some_and(|at| carry::changes(flow, at));
            let span = expression.span(&flow.text);
            match found.iter_mut().find(|(known, _)| known.path == form.path && known.holds == form.holds) {
                Some((_, spans)) if spans.contains(&span) => {}
                Some((_, spans)) => spans.push(span),
                None => found.push((form, vec![span])),
            }
        });
    }
    for (form, spans) in found {
        let says = if form.holds { "always holds" } else { "never holds" };
        let mut draft = report
            .add(flow.file, spans[0], format!("`{}` {says}: {}", form.text, form.why()))
            .severity(if grave { Severity::High } else { Severity::Medium })
            .hint(form.hint());
        for span in &spans[1..] {
            draft = draft.also(flow.file, *span, "here too");
        }
        draft.done();
    }
}

/// What an event brings: an object, which equals no text.
///
/// Source: GitHub, "Evaluate expressions in workflows and actions": objects are coerced to no number.
const PAYLOAD: &str = "github.event";

/// A comparison of a ref with a text that it never has.
#[derive(Debug, PartialEq)]
struct Form {
    /// What is compared.
    path: &'static str,
    /// The comparison, as text.
    text: String,
    /// The literal.
    literal: String,
    /// Whether it always holds.
    holds: bool,
}

impl Form {
    /// What stands in the way.
    fn why(&self) -> String {
        match self.path {
            PAYLOAD => format!("`{PAYLOAD}` is all that the event brings, and no text"),
            path => format!("`{path}` never has that form"),
        }
    }

    fn hint(&self) -> String {
        if self.path == PAYLOAD {
            return "compare `github.event_name`, or a property of the event".to_owned();
        }
        match self.literal.strip_prefix("refs/heads/").or_else(|| self.literal.strip_prefix("refs/tags/")) {
            Some(short) => format!("compare with `{short}`, or `github.ref` with `{}`", self.literal),
            None => format!("compare with `refs/heads/{}`, or take `github.ref_name`", self.literal),
        }
    }
}

fn wrong_form_in(condition: &Condition) -> bool {
    let mut found = false;
    if let Some(expr) = &condition.expr {
        expr.root().walk(&mut |node| found |= wrong_form(node).is_some());
        found |= values::has_pattern(expr.root());
    }
    found
}

/// Recognises a comparison of a ref with a text of another form, and of the event's payload, which is an object, with any
/// text. `github.ref` starts with `refs/`, the names do not.
fn wrong_form(node: &Node) -> Option<Form> {
    let (path, other, sign, holds) = match &node.kind {
        NodeKind::Compare { comparison: sign @ (Comparison::Equal | Comparison::NotEqual), left, right } => {
            let holds = *sign == Comparison::NotEqual;
            let (path, other) =
                ref_path(left).map(|path| (path, right)).or_else(|| Some((ref_path(right)?, left)))?;
            (path, &**other, if holds { " != " } else { " == " }, holds)
        }
        NodeKind::Call { function: Function::StartsWith, arguments } => {
            let [path, other] = &arguments[..] else { return None };
            (ref_path(path)?, other, ", ", false)
        }
        _ => return None,
    };
    let NodeKind::Literal(Literal::String(literal)) = &other.kind else { return None };
    let lower = literal.to_ascii_lowercase();
    let starts = sign == ", ";
    let full = "refs/".starts_with(&lower) && starts || lower.starts_with("refs/");
    let wrong = match path {
        "github.ref" => !full,
        PAYLOAD => true,
        _ => lower.starts_with("refs/heads/") || lower.starts_with("refs/tags/"),
    };
    let text = match starts {
        true => format!("startsWith({path}, '{literal}')"),
        false => format!("{path}{sign}'{literal}'"),
    };
    (wrong && !literal.is_empty()).then(|| Form { path, text, literal: literal.to_string(), holds })
}

/// Returns the ref, or the payload, that a path stands for.
fn ref_path(node: &Node) -> Option<&'static str> {
    let NodeKind::Access { .. } = &node.kind else { return None };
    let references = node.references();
    let reference = references.first().filter(|reference| reference.whole)?;
    let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
    match path[..] {
        ["github", "ref"] => Some("github.ref"),
        ["github", "event"] => Some(PAYLOAD),
        ["github", "ref_name"] => Some("github.ref_name"),
        ["github", "base_ref"] => Some("github.base_ref"),
        ["github", "head_ref"] => Some("github.head_ref"),
        ["github", "event", "workflow_run", "head_branch"] => Some("github.event.workflow_run.head_branch"),
        ["github", "event", "pull_request", "base", "ref"] => Some("github.event.pull_request.base.ref"),
        ["github", "event", "pull_request", "head", "ref"] => Some("github.event.pull_request.head.ref"),
        _ => None,
    }
}

fn within(outer: Span, inner: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Returns the comparisons with events in alternatives of which several ask for an event: `a || b && c`. The values of
/// `event == 'x' && 1 || 2` are none.
fn alternatives(root: &Node) -> Vec<&Node> {
    let mut found = Vec::new();
    root.walk(&mut |node| {
        let NodeKind::Or(operands) = &node.kind else { return };
        let events: Vec<Vec<&Node>> = operands.iter().map(asked).filter(|asked| !asked.is_empty()).collect();
        if events.len() > 1 {
            found.extend(events.into_iter().flatten());
        }
    });
    found
}

/// Returns the comparisons with events within an expression.
fn asked(root: &Node) -> Vec<&Node> {
    let mut found = Vec::new();
    root.walk(&mut |node| {
        if compared_event(node).is_some() {
            found.push(node);
        }
    });
    found
}

/// Returns the event that `github.event_name == '...'` names.
fn compared_event(node: &Node) -> Option<String> {
    let NodeKind::Compare { comparison: Comparison::Equal, left, right } = &node.kind else { return None };
    let is_name = |node: &Node| {
        node.references().first().is_some_and(|reference| {
            reference.whole && reference.path.iter().map(|(name, _)| *name).eq(["github", "event_name"])
        })
    };
    let (other, _) = if is_name(left) { (right, left) } else { (left, right) };
    let NodeKind::Literal(Literal::String(text)) = &other.kind else { return None };
    (is_name(left) || is_name(right)).then(|| text.to_string())
}
